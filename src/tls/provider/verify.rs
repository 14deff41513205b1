//! Which signatures can be checked: the table that webpki and rustls look into.

use super::rsa::{Padding, Public};
use super::{ecdsa, p384};
use crate::sha::{self, Kind};
use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use std::fmt;

/// What all of them do in common is `verify_signature`.
struct Algorithm {
    by: By,
    hash: Kind,
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
}

#[derive(Clone, Copy)]
enum By {
    P256,
    P384,
    Rsa(Padding),
}

const fn ecdsa(hash: Kind, signature: AlgorithmIdentifier) -> Algorithm {
    Algorithm { by: By::P256, hash, key: alg_id::ECDSA_P256, signature }
}
const fn p384(hash: Kind, signature: AlgorithmIdentifier) -> Algorithm {
    Algorithm { by: By::P384, hash, key: alg_id::ECDSA_P384, signature }
}
const fn pkcs1(hash: Kind, signature: AlgorithmIdentifier) -> Algorithm {
    Algorithm { by: By::Rsa(Padding::Pkcs1), hash, key: alg_id::RSA_ENCRYPTION, signature }
}
const fn pss(hash: Kind, signature: AlgorithmIdentifier) -> Algorithm {
    Algorithm { by: By::Rsa(Padding::Pss), hash, key: alg_id::RSA_ENCRYPTION, signature }
}

static ECDSA_256: Algorithm = ecdsa(Kind::Sha256, alg_id::ECDSA_SHA256);
static ECDSA_384: Algorithm = ecdsa(Kind::Sha384, alg_id::ECDSA_SHA384);
static ECDSA_512: Algorithm = ecdsa(Kind::Sha512, alg_id::ECDSA_SHA512);
static P384_256: Algorithm = p384(Kind::Sha256, alg_id::ECDSA_SHA256);
static P384_384: Algorithm = p384(Kind::Sha384, alg_id::ECDSA_SHA384);
static P384_512: Algorithm = p384(Kind::Sha512, alg_id::ECDSA_SHA512);
static PKCS1_256: Algorithm = pkcs1(Kind::Sha256, alg_id::RSA_PKCS1_SHA256);
static PKCS1_384: Algorithm = pkcs1(Kind::Sha384, alg_id::RSA_PKCS1_SHA384);
static PKCS1_512: Algorithm = pkcs1(Kind::Sha512, alg_id::RSA_PKCS1_SHA512);
static PSS_256: Algorithm = pss(Kind::Sha256, alg_id::RSA_PSS_SHA256);
static PSS_384: Algorithm = pss(Kind::Sha384, alg_id::RSA_PSS_SHA384);
static PSS_512: Algorithm = pss(Kind::Sha512, alg_id::RSA_PSS_SHA512);

/// Certificates are checked by `all`. `mapping` is what the client hello offers and what handshakes are checked by; the
/// kinds of PKCS#1 v1.5 in it say that certificates may have them, rustls takes none of them in a handshake. A key of
/// P-256 signs handshakes with SHA-256 alone, one of P-384 with SHA-384 (RFC 8446 4.2.3).
pub static ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        &ECDSA_256, &ECDSA_384, &ECDSA_512, &P384_256, &P384_384, &P384_512, &PKCS1_256, &PKCS1_384, &PKCS1_512,
        &PSS_256, &PSS_384, &PSS_512,
    ],
    mapping: &[
        (SignatureScheme::ECDSA_NISTP256_SHA256, &[&ECDSA_256]),
        (SignatureScheme::ECDSA_NISTP384_SHA384, &[&P384_384]),
        (SignatureScheme::RSA_PSS_SHA256, &[&PSS_256]),
        (SignatureScheme::RSA_PSS_SHA384, &[&PSS_384]),
        (SignatureScheme::RSA_PSS_SHA512, &[&PSS_512]),
        (SignatureScheme::RSA_PKCS1_SHA256, &[&PKCS1_256]),
        (SignatureScheme::RSA_PKCS1_SHA384, &[&PKCS1_384]),
        (SignatureScheme::RSA_PKCS1_SHA512, &[&PKCS1_512]),
    ],
};

impl SignatureVerificationAlgorithm for Algorithm {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let digest = sha::digest(self.hash, &[message]);
        let found = match self.by {
            By::P256 => ecdsa::verify(key, digest.bytes(), signature),
            By::P384 => p384::verify(key, digest.bytes(), signature),
            By::Rsa(padding) => {
                Public::new(key).and_then(|key| key.verify(padding, self.hash, digest.bytes(), signature))
            }
        };
        found.ok_or(InvalidSignature)
    }
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }
    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

impl fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Algorithm")
    }
}
