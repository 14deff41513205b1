//! Key exchange: X25519 (RFC 7748, curve25519-dalek's ladder) and P-256 (the p256 crate's points). Both multiply in
//! constant time; the private number lives for one handshake and is cleared.

use super::ecdsa::{self, Point};
use super::random;
use curve25519_dalek::MontgomeryPoint;
use curve25519_dalek::constants::X25519_BASEPOINT;
use p256::elliptic_curve::point::AffineCoordinates;
use p256::{ProjectivePoint, Scalar};
use rustls::crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::{Error, NamedGroup, PeerMisbehaved};
use zeroize::Zeroizing;

const WRONG_SHARE: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);

/// X25519.
#[derive(Debug)]
pub struct X25519;

impl SupportedKxGroup for X25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let private = Zeroizing::new(random::bytes32()?);
        // The ladder, not `mul_base`: multiplying the base point on the other form of the curve is faster, and 3,000 bytes.
        let public = X25519_BASEPOINT.mul_clamped(*private);
        Ok(Box::new(X25519Exchange { private, public: public.to_bytes() }))
    }
    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct X25519Exchange {
    private: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl ActiveKeyExchange for X25519Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        x25519(&self.private, peer).map(|shared| SharedSecret::from(&shared[..]))
    }
    fn pub_key(&self) -> &[u8] {
        &self.public
    }
    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// RFC 7748 6.1.
pub fn x25519(private: &[u8; 32], peer: &[u8]) -> Result<Zeroizing<[u8; 32]>, Error> {
    let peer = MontgomeryPoint(peer.try_into().map_err(|_| WRONG_SHARE)?);
    let shared = Zeroizing::new(peer.mul_clamped(*private).to_bytes());
    // RFC 8446 7.4.2: a point of small order gives zeros whatever our number is. The time tells nothing secret: all of
    // the bytes are looked at, and zeros end the handshake for all to see.
    if shared.iter().fold(0, |all, byte| all | byte) == 0 {
        return Err(WRONG_SHARE);
    }
    Ok(shared)
}

/// P-256.
#[derive(Debug)]
pub struct P256;

impl SupportedKxGroup for P256 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        // One number in 2^32 is zero or beyond the order; a hundred in a row are no randomness.
        for _ in 0..100 {
            let bytes = Zeroizing::new(random::bytes32()?);
            if let Some(private) = ecdsa::scalar(&bytes[..]) {
                let private = Zeroizing::new(private);
                let public = ecdsa::encode(&ProjectivePoint::GENERATOR.mul(&private));
                return Ok(Box::new(P256Exchange { private, public }));
            }
        }
        Err(Error::FailedToGetRandomBytes)
    }
    fn name(&self) -> NamedGroup {
        NamedGroup::secp256r1
    }
}

struct P256Exchange {
    private: Zeroizing<Scalar>,
    public: Point,
}

impl ActiveKeyExchange for P256Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        ecdh(&self.private, peer).map(|shared| SharedSecret::from(&shared[..]))
    }
    fn pub_key(&self) -> &[u8] {
        &self.public
    }
    fn group(&self) -> NamedGroup {
        NamedGroup::secp256r1
    }
}

/// SEC 1, 3.3.1: the x of the product.
pub fn ecdh(private: &Scalar, peer: &[u8]) -> Result<Zeroizing<[u8; 32]>, Error> {
    // On the curve and not its zero, so that the product is none either: the order is prime.
    let peer = ecdsa::decode(peer).ok_or(WRONG_SHARE)?;
    let shared = Zeroizing::new(peer.mul(private).to_affine());
    Ok(Zeroizing::new(shared.x().into()))
}
