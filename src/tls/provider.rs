//! The cryptography that rustls asks for, out of RustCrypto's parts: TLS 1.3 only, no C. It decides which algorithms
//! there are, and nothing about trust.
//!
//! | for | what |
//! |---|---|
//! | records | AES-128-GCM with SHA-256, AES-256-GCM with SHA-384 |
//! | key exchange | X25519, P-256 |
//! | signatures of certificates | ECDSA with P-256 and P-384, RSA (PKCS#1 v1.5 and PSS) of 2,048 to 8,192 bits; SHA-256, 384, 512 |
//! | signatures of handshakes, theirs and ours | ECDSA with P-256 and SHA-256, RSA-PSS with SHA-256, 384, 512 |
//! | theirs alone | ECDSA with P-384 and SHA-384 |
//!
//! With the feature `ring` all of it is rustls's provider out of ring instead.

use rustls::crypto::CryptoProvider;

#[cfg(not(feature = "ring"))]
mod aead;
#[cfg(not(feature = "ring"))]
mod ecdsa;
#[cfg(not(feature = "ring"))]
mod exchange;
#[cfg(not(feature = "ring"))]
mod gcm;
#[cfg(not(feature = "ring"))]
mod hash;
#[cfg(not(feature = "ring"))]
mod keys;
#[cfg(not(feature = "ring"))]
mod modulus;
#[cfg(not(feature = "ring"))]
mod p384;
#[cfg(not(feature = "ring"))]
mod rsa;
#[cfg(all(test, not(feature = "ring")))]
mod tests;
#[cfg(not(feature = "ring"))]
mod verify;

/// What rustls is given.
#[cfg(feature = "ring")]
pub fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// What rustls is given.
#[cfg(not(feature = "ring"))]
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: aead::SUITES.to_vec(),
        kx_groups: vec![&exchange::X25519, &exchange::P256],
        signature_verification_algorithms: verify::ALGORITHMS,
        secure_random: &random::Kernel,
        key_provider: &keys::Keys,
    }
}

/// Randomness comes from the kernel alone.
#[cfg(not(feature = "ring"))]
mod random {
    use rustls::Error;
    use rustls::crypto::{GetRandomFailed, SecureRandom};

    /// getrandom(2).
    #[derive(Debug)]
    pub struct Kernel;

    impl SecureRandom for Kernel {
        fn fill(&self, out: &mut [u8]) -> Result<(), GetRandomFailed> {
            if crate::sys::host::fill_random(out) { Ok(()) } else { Err(GetRandomFailed) }
        }
    }

    /// 32 bytes: a private number, a salt, entropy for a nonce.
    pub fn bytes32() -> Result<[u8; 32], Error> {
        let mut out = [0; 32];
        if crate::sys::host::fill_random(&mut out) { Ok(out) } else { Err(Error::FailedToGetRandomBytes) }
    }
}
