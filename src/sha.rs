//! SHA-256, SHA-384 and SHA-512 (FIPS 180-4) behind one face: filling blocks and padding the last one. What is done to a
//! block is the sha2 crate's; its own face, once for each of the three, is 1,500 bytes more.

use sha2::block_api::{compress256, compress512};
use std::slice::from_ref;
use zeroize::Zeroize;

/// Which one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// The most bytes that a block has.
pub const MAX_BLOCK: usize = 128;

impl Kind {
    /// The bytes of a digest.
    pub fn size(self) -> usize {
        match self {
            Kind::Sha256 => 32,
            Kind::Sha384 => 48,
            Kind::Sha512 => 64,
        }
    }

    /// The bytes of a block.
    pub fn block(self) -> usize {
        if self == Kind::Sha256 { 64 } else { MAX_BLOCK }
    }
}

/// What begins a SHA-256: the fractional parts of the square roots of the first eight primes.
static START_256: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
/// The same of the ninth to the sixteenth prime, for SHA-384.
static START_384: [u64; 8] = [
    0xcbbb9d5dc1059ed8,
    0x629a292a367cd507,
    0x9159015a3070dd17,
    0x152fecd8f70e5939,
    0x67332667ffc00b31,
    0x8eb44a8768581511,
    0xdb0c2e0d64f98fa7,
    0x47b5481dbefa4fa4,
];
/// And of the first eight, longer, for SHA-512.
static START_512: [u64; 8] = [
    0x6a09e667f3bcc908,
    0xbb67ae8584caa73b,
    0x3c6ef372fe94f82b,
    0xa54ff53a5f1d36f1,
    0x510e527fade682d1,
    0x9b05688c2b3e6c1f,
    0x1f83d9abfb41bd6b,
    0x5be0cd19137e2179,
];

/// A hash being computed; cleared when dropped, for it may be of a key.
#[derive(Clone)]
pub struct Sha {
    kind: Kind,
    /// Of SHA-256.
    small: [u32; 8],
    /// Of the other two.
    large: [u64; 8],
    /// What does not fill a block yet, in its first `used` bytes.
    pending: [u8; MAX_BLOCK],
    used: usize,
    length: u64,
}

/// A digest; cleared when dropped, for it may be a code or a nonce.
pub struct Digest {
    kind: Kind,
    all: [u8; 64],
}

impl Digest {
    /// As many as the kind has.
    pub fn bytes(&self) -> &[u8] {
        self.all.get(..self.kind.size()).unwrap_or_default()
    }
}

impl Sha {
    /// Of nothing yet.
    pub fn new(kind: Kind) -> Sha {
        let large = if kind == Kind::Sha384 { START_384 } else { START_512 };
        Sha { kind, small: START_256, large, pending: [0; MAX_BLOCK], used: 0, length: 0 }
    }

    /// Which one it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Adds `data`.
    #[inline(never)]
    pub fn add(&mut self, data: &[u8]) {
        self.length = self.length.wrapping_add(data.len() as u64);
        let mut data = data;
        while !data.is_empty() {
            let free = self.pending.get_mut(self.used..self.kind.block()).unwrap_or_default();
            let (now, later) = data.split_at(data.len().min(free.len()));
            for (to, from) in free.iter_mut().zip(now) {
                *to = *from;
            }
            self.used = self.used.wrapping_add(now.len());
            data = later;
            if self.used == self.kind.block() {
                self.used = 0;
                match self.pending.first_chunk() {
                    Some(block) if self.kind == Kind::Sha256 => compress256(&mut self.small, from_ref(block)),
                    _ => compress512(&mut self.large, from_ref(&self.pending)),
                }
            }
        }
    }

    /// Pads and gives the digest.
    #[inline(never)]
    pub fn end(mut self) -> Digest {
        // A bit, zeros, and the number of bits in an eighth of a block: more than 64 bits of it are never used.
        let bits = self.length.wrapping_mul(8);
        let before = self.kind.block().wrapping_sub(self.kind.block() / 8);
        self.add(&[0x80]);
        while self.used != before {
            self.add(&[0]);
        }
        if self.kind != Kind::Sha256 {
            self.add(&[0; 8]);
        }
        self.add(&bits.to_be_bytes());
        let mut digest = Digest { kind: self.kind, all: [0; 64] };
        if self.kind == Kind::Sha256 {
            for (to, word) in digest.all.chunks_exact_mut(4).zip(self.small) {
                to.copy_from_slice(&word.to_be_bytes());
            }
        } else {
            for (to, word) in digest.all.chunks_exact_mut(8).zip(self.large) {
                to.copy_from_slice(&word.to_be_bytes());
            }
        }
        digest
    }
}

impl Drop for Digest {
    fn drop(&mut self) {
        self.all.zeroize();
    }
}

impl Drop for Sha {
    fn drop(&mut self) {
        self.small.zeroize();
        self.large.zeroize();
        self.pending.zeroize();
    }
}

/// The digest of these one after the other.
pub fn digest(kind: Kind, parts: &[&[u8]]) -> Digest {
    let mut sha = Sha::new(kind);
    for part in parts {
        sha.add(part);
    }
    sha.end()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;
    use sha2::Digest as _;

    #[test]
    fn the_crates_own_face_gives_the_same() {
        let data: Vec<u8> = (0..700u32).map(|i| (i * 7) as u8).collect();
        for length in 0..data.len() {
            let data = &data[..length];
            for at in [0, length / 3, length / 2] {
                let (a, b) = data.split_at(at);
                assert_eq!(digest(Kind::Sha256, &[a, b]).bytes(), &sha2::Sha256::digest(data)[..], "{length}");
                assert_eq!(digest(Kind::Sha384, &[a, b]).bytes(), &sha2::Sha384::digest(data)[..], "{length}");
                assert_eq!(digest(Kind::Sha512, &[a, b]).bytes(), &sha2::Sha512::digest(data)[..], "{length}");
            }
        }
    }
}
