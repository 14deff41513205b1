//! ECDSA with P-256 (FIPS 186-5 6): its equations over the p256 crate's points and scalars, whose arithmetic is constant
//! time unless its name says `vartime`, which nothing here uses. Signatures are DER, points uncompressed (RFC 8446
//! 4.2.8.2 and RFC 5480 allow no other in TLS; certificates could have compressed ones, nobody makes them).

use super::hash::Hmac;
use crate::sha::Kind;
use crate::tls::der::{self, Der};
use p256::elliptic_curve::ff::PrimeField;
use p256::elliptic_curve::ops::Reduce;
use p256::elliptic_curve::point::AffineCoordinates;
use p256::elliptic_curve::{Field, Group};
use p256::{AffinePoint, FieldBytes, ProjectivePoint, Scalar};
use zeroize::Zeroizing;

/// A point as it travels: 4, x, y.
pub type Point = [u8; 65];

/// A number from 1 to the order of the curve less one, 32 bytes long.
pub fn scalar(bytes: &[u8]) -> Option<Scalar> {
    let bytes: FieldBytes = <[u8; 32]>::try_from(bytes).ok()?.into();
    let scalar: Option<Scalar> = Scalar::from_repr(bytes).into_option();
    scalar.filter(|s| !bool::from(s.is_zero()))
}

/// A point of the curve; its zero has no such form.
pub fn decode(bytes: &[u8]) -> Option<ProjectivePoint> {
    let bytes: &Point = bytes.try_into().ok()?;
    let (kind, rest) = bytes.split_first()?;
    let (x, y) = rest.split_at_checked(32)?;
    let (x, y): (FieldBytes, FieldBytes) = (<[u8; 32]>::try_from(x).ok()?.into(), <[u8; 32]>::try_from(y).ok()?.into());
    // Checks that both are below the prime and that the curve's equation holds.
    let point: Option<AffinePoint> = AffinePoint::from_coordinates(&x, &y).into_option();
    point.filter(|_| *kind == 4).map(ProjectivePoint::from)
}

/// How a point travels.
pub fn encode(point: &ProjectivePoint) -> Point {
    let point = point.to_affine();
    let mut out = [4; 65];
    for (to, from) in out.iter_mut().skip(1).zip(point.x().iter().chain(&point.y())) {
        *to = *from;
    }
    out
}

/// The leftmost 256 bits of a digest, reduced.
fn number(digest: &[u8]) -> Scalar {
    let mut bytes = FieldBytes::default();
    for (to, from) in bytes.iter_mut().zip(digest) {
        *to = *from;
    }
    <Scalar as Reduce<FieldBytes>>::reduce(&bytes)
}

/// Whether `signature` is one of this digest by this key. Every digest here has 32 bytes or more.
pub fn verify(public: &[u8], digest: &[u8], signature: &[u8]) -> Option<()> {
    let public = decode(public)?;
    let mut pair = Der(der::only(signature, der::SEQUENCE)?);
    let (r, s) = (half(&mut pair)?, half(&mut pair)?);
    pair.end()?;
    let inverse: Scalar = s.invert().into_option()?;
    // What is public may be found out by its time: constant time is slower, and one way to multiply is enough.
    let point = ProjectivePoint::GENERATOR.mul(&(number(digest) * inverse)).add(&public.mul(&(r * inverse)));
    if bool::from(point.is_identity()) {
        return None;
    }
    (number(&point.to_affine().x()) == r).then_some(())
}

/// One of the two numbers of a signature.
fn half(pair: &mut Der) -> Option<Scalar> {
    let bytes = pair.unsigned()?;
    let mut wide = [0; 32];
    let zeros = wide.len().checked_sub(bytes.len())?;
    wide.get_mut(zeros..)?.copy_from_slice(bytes);
    scalar(&wide)
}

/// Signs a digest of SHA-256. The nonce is RFC 6979's (3.2), with `entropy` as the additional data of its 3.6: as good as
/// random with a working random source, and no less than deterministic with a broken one.
pub fn sign(private: &Scalar, digest: &[u8], entropy: &[u8]) -> Option<Vec<u8>> {
    let z = number(digest);
    let key = Zeroizing::new(<[u8; 32]>::from(private.to_bytes()));
    let message = <[u8; 32]>::from(z.to_bytes());
    let (mut k, mut v) = (Zeroizing::new([0; 32]), Zeroizing::new([1; 32]));
    for mark in [0, 1] {
        k = mac(&k, &[&v[..], &[mark], &key[..], &message, entropy]);
        v = mac(&k, &[&v[..]]);
    }
    // Each turn fails once in 2^32; RFC 6979 3.2 h has no bound.
    for _ in 0..100 {
        v = mac(&k, &[&v[..]]);
        if let Some(signature) = scalar(&v[..]).and_then(|nonce| with_nonce(private, &z, &Zeroizing::new(nonce))) {
            return Some(signature);
        }
        k = mac(&k, &[&v[..], &[0]]);
        v = mac(&k, &[&v[..]]);
    }
    None
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    for (to, from) in out.iter_mut().zip(Hmac::new(Kind::Sha256, key).of(parts).bytes()) {
        *to = *from;
    }
    out
}

/// FIPS 186-5 6.4.1, from step 5 on; `None` asks for another nonce.
fn with_nonce(private: &Scalar, z: &Scalar, nonce: &Scalar) -> Option<Vec<u8>> {
    let r = number(&ProjectivePoint::GENERATOR.mul(nonce).to_affine().x());
    let inverse: Zeroizing<Scalar> = Zeroizing::new(nonce.invert().into_option()?);
    let s = *inverse * (*z + r * private);
    if bool::from(r.is_zero() | s.is_zero()) {
        return None;
    }
    let mut pair = Vec::with_capacity(72);
    der::write_unsigned(&mut pair, &r.to_bytes());
    der::write_unsigned(&mut pair, &s.to_bytes());
    let mut out = Vec::with_capacity(72);
    der::write(&mut out, der::SEQUENCE, &pair);
    Some(out)
}
