//! SHA-256, SHA-384 and SHA-512 behind one face, and HMAC (RFC 2104) over it. Their compression functions are the sha2
//! crate's; one face for the three is smaller than three of a kind.

use rustls::crypto::hash::{self, Context, HashAlgorithm, Output};
use rustls::crypto::hmac::{self, Key, Tag};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// Which one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// A hash being computed; cleared when dropped.
#[derive(Clone)]
pub enum Running {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Running {
    pub fn add(&mut self, data: &[u8]) {
        match self {
            Running::Sha256(h) => h.update(data),
            Running::Sha384(h) => h.update(data),
            Running::Sha512(h) => h.update(data),
        }
    }

    pub fn end(self) -> Output {
        match self {
            Running::Sha256(h) => Output::new(&h.finalize()),
            Running::Sha384(h) => Output::new(&h.finalize()),
            Running::Sha512(h) => Output::new(&h.finalize()),
        }
    }
}

impl Hash {
    /// Of nothing yet.
    pub fn begin(self) -> Running {
        match self {
            Hash::Sha256 => Running::Sha256(Sha256::new()),
            Hash::Sha384 => Running::Sha384(Sha384::new()),
            Hash::Sha512 => Running::Sha512(Sha512::new()),
        }
    }

    /// Of these one after the other.
    pub fn of(self, parts: &[&[u8]]) -> Output {
        let mut h = self.begin();
        for part in parts {
            h.add(part);
        }
        h.end()
    }

    /// The bytes of a digest.
    pub fn size(self) -> usize {
        match self {
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        }
    }

    /// RFC 2104: a key longer than a block is hashed first; TLS and RFC 6979 have none.
    pub fn keyed(self, key: &[u8]) -> Hmac {
        let mut inner = self.begin();
        let mut outer = self.begin();
        let block = if self == Hash::Sha256 { 64 } else { 128 };
        let hashed;
        let key = if key.len() > block {
            hashed = self.of(&[key]);
            hashed.as_ref()
        } else {
            key
        };
        for at in 0..block {
            let byte = key.get(at).copied().unwrap_or(0);
            inner.add(&[byte ^ 0x36]);
            outer.add(&[byte ^ 0x5c]);
        }
        Hmac { inner, outer }
    }
}

/// A key put into both hashes.
pub struct Hmac {
    inner: Running,
    outer: Running,
}

impl Hmac {
    /// The code of these one after the other.
    pub fn of(&self, parts: &[&[u8]]) -> Tag {
        self.sign_concat(&[], parts, &[])
    }
}

impl Key for Hmac {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> Tag {
        let mut inner = self.inner.clone();
        inner.add(first);
        for part in middle {
            inner.add(part);
        }
        inner.add(last);
        let mut outer = self.outer.clone();
        outer.add(inner.end().as_ref());
        Tag::new(outer.end().as_ref())
    }
    fn tag_len(&self) -> usize {
        match self.outer {
            Running::Sha256(_) => 32,
            Running::Sha384(_) => 48,
            Running::Sha512(_) => 64,
        }
    }
}

impl hmac::Hmac for Hash {
    fn with_key(&self, key: &[u8]) -> Box<dyn Key> {
        Box::new(self.keyed(key))
    }
    fn hash_output_len(&self) -> usize {
        self.size()
    }
}

impl hash::Hash for Hash {
    fn start(&self) -> Box<dyn Context> {
        Box::new(self.begin())
    }
    fn hash(&self, data: &[u8]) -> Output {
        self.of(&[data])
    }
    fn output_len(&self) -> usize {
        self.size()
    }
    fn algorithm(&self) -> HashAlgorithm {
        match self {
            Hash::Sha256 => HashAlgorithm::SHA256,
            Hash::Sha384 => HashAlgorithm::SHA384,
            Hash::Sha512 => HashAlgorithm::SHA512,
        }
    }
}

impl Context for Running {
    fn fork_finish(&self) -> Output {
        self.clone().end()
    }
    fn fork(&self) -> Box<dyn Context> {
        Box::new(self.clone())
    }
    fn finish(self: Box<Self>) -> Output {
        self.end()
    }
    fn update(&mut self, data: &[u8]) {
        self.add(data);
    }
}
