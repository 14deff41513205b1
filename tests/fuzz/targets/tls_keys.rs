//! What the cryptography reads of a stranger or of a file: private keys in three encodings, public keys and signatures of
//! each kind, names of algorithms. Nothing ends it; a key that is taken signs what it verifies itself.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pilotfish::tls::name;
use pilotfish::tls::provider::provider;
use pilotfish_fuzz::{check_memory, limit_memory};
use rustls::SignatureScheme;
use rustls::pki_types::{PrivateKeyDer, alg_id};

const SCHEMES: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256];

// The first byte says what it is: 0, 1, 2 a private key; 3 a name; from 4 on one of the algorithms, and then the length
// of the public key, two bytes, which the signature follows.
fuzz_target!(init: limit_memory(), |data: &[u8]| -> Corpus {
    let Some((first, data)) = data.split_first() else { return Corpus::Reject };
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms.all;
    let key = match first {
        0 => PrivateKeyDer::Pkcs8(data.to_vec().into()),
        1 => PrivateKeyDer::Pkcs1(data.to_vec().into()),
        2 => PrivateKeyDer::Sec1(data.to_vec().into()),
        3 => {
            assert!(!name::algorithm(data).is_empty());
            return Corpus::Keep;
        }
        n => {
            let (Some(algorithm), Some((length, rest))) =
                (algorithms.get(usize::from(*n) - 4), data.split_first_chunk::<2>())
            else {
                return Corpus::Reject;
            };
            let Some((key, signature)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))) else {
                return Corpus::Reject;
            };
            // Nobody signs this message without the key, which the inputs do not hold.
            let found = algorithm.verify_signature(key, b"pilotfish never signed this", signature);
            // With a modulus chosen at will anything can be made to fit; not with a curve.
            assert!(found.is_err() || algorithm.public_key_alg_id() == alg_id::RSA_ENCRYPTION);
            check_memory();
            return Corpus::Keep;
        }
    };
    if let Ok(key) = provider.key_provider.load_private_key(key) {
        let signer = key.choose_scheme(SCHEMES).unwrap();
        let signature = signer.sign(b"message").unwrap();
        let spki = key.public_key().unwrap();
        let (tag, skip) = match signer.scheme() {
            SignatureScheme::ECDSA_NISTP256_SHA256 => (alg_id::ECDSA_SHA256, spki.len() - 65),
            _ => (alg_id::RSA_PSS_SHA256, 24),
        };
        let algorithm = algorithms.iter().find(|a| a.signature_alg_id() == tag).unwrap();
        algorithm.verify_signature(&spki[skip..], b"message", &signature).unwrap();
    }
    check_memory();
    Corpus::Keep
});
