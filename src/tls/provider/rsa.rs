//! RSA signatures (RFC 8017): PKCS#1 v1.5, which certificates have, checked by encoding anew and comparing in whole, and
//! PSS, which handshakes have, with a salt as long as the digest (RFC 8446 4.2.3).

use super::modulus::Modulus;
use crate::sha::{self, Kind};
use crate::tls::der::{self, Der};
use zeroize::Zeroizing;

/// How a digest is made as long as the modulus.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// RSASSA-PKCS1-v1_5.
    Pkcs1,
    /// RSASSA-PSS.
    Pss,
}

/// A public key: RFC 8017 A.1.1.
pub struct Public {
    n: Modulus,
    e: Vec<u8>,
}

impl Public {
    /// From DER.
    pub fn new(key: &[u8]) -> Option<Public> {
        let mut der = Der(der::only(key, der::SEQUENCE)?);
        let key = Public::read(&mut der)?;
        der.end()?;
        Some(key)
    }

    /// Modulus and exponent. The exponent is odd, three or more, and below 2^33, where others draw the line too: what it
    /// is decides how long a check takes.
    fn read(der: &mut Der) -> Option<Public> {
        let (n, e) = (der.unsigned()?, der.unsigned()?);
        match e {
            [] | [1] | [2..=255, _, _, _, _] | [_, _, _, _, _, _, ..] => return None,
            [.., last] if last & 1 == 0 => return None,
            _ => {}
        }
        Some(Public { n: Modulus::new(n)?, e: e.to_vec() })
    }

    /// In DER.
    pub fn encode(&self) -> Vec<u8> {
        let mut pair = Vec::new();
        der::write_unsigned(&mut pair, &self.n.bytes());
        der::write_unsigned(&mut pair, &self.e);
        let mut out = Vec::new();
        der::write(&mut out, der::SEQUENCE, &pair);
        out
    }

    /// Whether `signature` is one of this digest.
    pub fn verify(&self, padding: Padding, hash: Kind, digest: &[u8], signature: &[u8]) -> Option<()> {
        // RFC 8017 8.1.2 and 8.2.2, 1: neither longer nor shorter.
        if signature.len() != self.n.size() {
            return None;
        }
        let encoded = self.n.power(signature, &self.e)?;
        match padding {
            Padding::Pkcs1 => (*encoded == pkcs1(hash, digest, self.n.size())?).then_some(()),
            Padding::Pss => pss_verify(hash, digest, &encoded, self.n.bits()),
        }
    }
}

/// A private key that does what its public half says.
pub struct Private {
    pub public: Public,
    /// As long as the modulus, so that its own length is not told by the time.
    d: Zeroizing<Vec<u8>>,
}

impl Private {
    /// From an RSAPrivateKey (RFC 8017 A.1.2). Of its numbers n, e and d are used: signing by the primes (CRT) is four
    /// times as fast, more code, and what attacks by faults are made for. One handshake takes one signature.
    pub fn new(key: &[u8]) -> Option<Private> {
        let mut der = Der(der::only(key, der::SEQUENCE)?);
        // Version 1 has more than two primes.
        if !der.unsigned()?.is_empty() {
            return None;
        }
        let public = Public::read(&mut der)?;
        let short = der.unsigned()?;
        for _ in 0..5 {
            der.unsigned()?;
        }
        der.end()?;
        let mut d = Zeroizing::new(vec![0; public.n.size()]);
        let zeros = d.len().checked_sub(short.len())?;
        d.get_mut(zeros..)?.copy_from_slice(short);
        let key = Private { public, d };
        // Some number to the power of d and of e is itself again, or the key is broken.
        let mut probe = vec![0x5a; key.public.n.size()];
        *probe.first_mut()? = 0;
        key.power(&probe)?;
        Some(key)
    }

    /// number^d, which never leaves when it is wrong: one wrong result can tell the key (a processor's fault, a bit that
    /// flipped in memory).
    fn power(&self, number: &[u8]) -> Option<Vec<u8>> {
        let result = self.public.n.power(number, &self.d)?;
        let back = self.public.n.power(&result, &self.public.e)?;
        (*back == *number).then(|| result.to_vec())
    }

    /// A PSS signature of a digest.
    pub fn sign(&self, hash: Kind, digest: &[u8], salt: &[u8]) -> Option<Vec<u8>> {
        let encoded = pss_encode(hash, digest, salt, self.public.n.bits())?;
        self.power(&encoded)
    }
}

/// RFC 8017 9.2: 0, 1, a filling of 255, 0, and the digest with the name of its hash.
fn pkcs1(hash: Kind, digest: &[u8], size: usize) -> Option<Vec<u8>> {
    // SEQUENCE { SEQUENCE { OID 2.16.840.1.101.3.4.2.x, NULL }, OCTET STRING }
    let (whole, oid, length) = match hash {
        Kind::Sha256 => (0x31, 1, 0x20),
        Kind::Sha384 => (0x41, 2, 0x30),
        Kind::Sha512 => (0x51, 3, 0x40),
    };
    let head = [0x30, whole, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, oid, 5, 0, 4, length];
    let fill = size.checked_sub(head.len())?.checked_sub(digest.len())?.checked_sub(3)?;
    let mut out = vec![0, 1];
    out.resize(fill.checked_add(2)?, 0xff);
    out.push(0);
    out.extend_from_slice(&head);
    out.extend_from_slice(digest);
    Some(out)
}

/// RFC 8017 B.2.1, put on `data`.
fn mask(hash: Kind, seed: &[u8], data: &mut [u8]) {
    for (chunk, counter) in data.chunks_mut(hash.size()).zip(0u32..) {
        for (byte, mask) in chunk.iter_mut().zip(sha::digest(hash, &[seed, &counter.to_be_bytes()]).bytes()) {
            *byte ^= mask;
        }
    }
}

/// The encoded message has one bit less than the modulus, and these bits of its first byte are used.
fn first_bits(bits: usize) -> u8 {
    match bits.wrapping_sub(1) % 8 {
        0 => 0xff,
        used => (1u8 << used).wrapping_sub(1),
    }
}

/// RFC 8017 9.1.2. `encoded` is as long as the modulus.
fn pss_verify(hash: Kind, digest: &[u8], encoded: &[u8], bits: usize) -> Option<()> {
    // A modulus of one bit more than whole bytes: the message has one byte less, and that one is zero.
    let encoded = if bits % 8 == 1 { encoded.strip_prefix(&[0])? } else { encoded };
    let [rest @ .., 0xbc] = encoded else { return None };
    let (masked, tag) = rest.split_at_checked(rest.len().checked_sub(hash.size())?)?;
    let used = first_bits(bits);
    if masked.first()? & !used != 0 {
        return None;
    }
    let mut block = masked.to_vec();
    mask(hash, tag, &mut block);
    *block.first_mut()? &= used;
    let (fill, salt) = block.split_at_checked(block.len().checked_sub(hash.size())?)?;
    let [zeros @ .., 1] = fill else { return None };
    if zeros.iter().any(|b| *b != 0) {
        return None;
    }
    (sha::digest(hash, &[&[0; 8], digest, salt]).bytes() == tag).then_some(())
}

/// RFC 8017 9.1.1, as long as the modulus. The salt is as long as the digest.
fn pss_encode(hash: Kind, digest: &[u8], salt: &[u8], bits: usize) -> Option<Vec<u8>> {
    let size = bits.checked_sub(1)?.div_ceil(8);
    let tag = sha::digest(hash, &[&[0; 8], digest, salt]);
    let mut out = vec![0; size.checked_sub(hash.size())?.checked_sub(1)?];
    let fill = out.len().checked_sub(salt.len())?;
    *out.get_mut(fill.checked_sub(1)?)? = 1;
    out.get_mut(fill..)?.copy_from_slice(salt);
    mask(hash, tag.bytes(), &mut out);
    *out.first_mut()? &= first_bits(bits);
    out.extend_from_slice(tag.bytes());
    out.push(0xbc);
    if bits % 8 == 1 {
        out.insert(0, 0);
    }
    Some(out)
}
