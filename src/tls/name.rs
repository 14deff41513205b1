//! What an algorithm is called, for the messages that say which one is not supported. It decides nothing.

use super::der::{Der, OID};

/// Names by the content of an OBJECT IDENTIFIER. One that ends in a blank wants the parameter (the curve) behind it.
static NAMES: [(&[u8], &str); 25] = [
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", "RSA"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", "RSA with MD5"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", "RSA with SHA-1"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", "RSA-PSS"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", "RSA with SHA-256"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", "RSA with SHA-384"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", "RSA with SHA-512"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0e", "RSA with SHA-224"),
    (b"\x2a\x86\x48\xce\x38\x04\x01", "DSA"),
    (b"\x2a\x86\x48\xce\x3d\x02\x01", "ECDSA with "),
    (b"\x2a\x86\x48\xce\x3d\x04\x01", "ECDSA with SHA-1"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x01", "ECDSA with SHA-224"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", "ECDSA with SHA-256"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", "ECDSA with SHA-384"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x04", "ECDSA with SHA-512"),
    (b"\x2a\x86\x48\xce\x3d\x03\x01\x07", "P-256"),
    (b"\x2b\x81\x04\x00\x0a", "secp256k1"),
    (b"\x2b\x81\x04\x00\x21", "P-224"),
    (b"\x2b\x81\x04\x00\x22", "P-384"),
    (b"\x2b\x81\x04\x00\x23", "P-521"),
    (b"\x2b\x65\x70", "Ed25519"),
    (b"\x2b\x65\x71", "Ed448"),
    (b"\x60\x86\x48\x01\x65\x03\x04\x03\x11", "ML-DSA-44"),
    (b"\x60\x86\x48\x01\x65\x03\x04\x03\x12", "ML-DSA-65"),
    (b"\x60\x86\x48\x01\x65\x03\x04\x03\x13", "ML-DSA-87"),
];

/// The name of the algorithm of an AlgorithmIdentifier, given without its outer SEQUENCE (as webpki's errors hold it):
/// `ECDSA with P-384`, `RSA with SHA-1`, or the numbers of an unknown one.
pub fn algorithm(id: &[u8]) -> String {
    let mut der = Der(id);
    let mut name = String::new();
    while let Some(oid) = der.expect(OID) {
        match NAMES.iter().find(|(known, _)| *known == oid) {
            Some((_, text)) => name.push_str(text),
            None => numbers(&mut name, oid),
        }
        // The parameter counts where the name asks for it only; an identifier without a number has no name at all.
        if !name.is_empty() && !name.ends_with(' ') {
            return name;
        }
    }
    name.push_str("an unknown algorithm");
    name
}

/// X.690 8.19: seven bits a byte; the first number stands for two.
fn numbers(name: &mut String, oid: &[u8]) {
    let mut number = 0u64;
    let mut is_first = true;
    for byte in oid {
        number = number.wrapping_shl(7) | u64::from(byte & 0x7f);
        if *byte >= 0x80 {
            continue;
        }
        if is_first {
            let root = (number / 40).min(2);
            name.push_str(&root.to_string());
            number = number.wrapping_sub(root.wrapping_mul(40));
            is_first = false;
        }
        name.push('.');
        name.push_str(&number.to_string());
        number = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_have_names() {
        for (id, want) in [
            (&b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00"[..], "RSA with SHA-256"),
            (b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22", "ECDSA with P-384"),
            (b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x30\x00", "ECDSA with an unknown algorithm"),
            (b"\x06\x03\x2b\x65\x70", "Ed25519"),
            (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x63", "1.2.840.113549.1.1.99"),
            (b"\x06\x03\x88\x37\x03", "2.999.3"),
            (b"", "an unknown algorithm"),
            (b"\x06\x20\x2b", "an unknown algorithm"),
            (b"\x06\x00", "an unknown algorithm"),
            (b"\x06\x02\x80\x80\x05\x00", "an unknown algorithm"),
            (b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x01\xff", "ECDSA with an unknown algorithm"),
        ] {
            assert_eq!(algorithm(id), want, "{id:x?}");
        }
    }
}
