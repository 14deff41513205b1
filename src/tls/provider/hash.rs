//! The hashes of crate::sha as rustls wants them, and HMAC (RFC 2104) over them. It computes nothing by itself.

use crate::sha::{self, Digest, Kind, Sha};
use rustls::crypto::hash::{self, Context, HashAlgorithm, Output};
use rustls::crypto::hmac::{self, Key, Tag};
use zeroize::Zeroizing;

/// A key put into both hashes, the inner and the outer one.
pub struct Hmac {
    inner: Sha,
    outer: Sha,
}

impl Hmac {
    /// A key longer than a block is hashed first.
    pub fn new(kind: Kind, key: &[u8]) -> Hmac {
        let mut pad = Zeroizing::new([0x36; sha::MAX_BLOCK]);
        let hashed;
        let key = if key.len() > kind.block() {
            hashed = sha::digest(kind, &[key]);
            hashed.bytes()
        } else {
            key
        };
        for (pad, key) in pad.iter_mut().zip(key) {
            *pad ^= key;
        }
        let (mut inner, mut outer) = (Sha::new(kind), Sha::new(kind));
        inner.add(pad.get(..kind.block()).unwrap_or_default());
        for pad in pad.iter_mut() {
            *pad ^= 0x36 ^ 0x5c;
        }
        outer.add(pad.get(..kind.block()).unwrap_or_default());
        Hmac { inner, outer }
    }

    /// The code of these one after the other.
    pub fn of(&self, parts: &[&[u8]]) -> Digest {
        let mut inner = self.inner.clone();
        for part in parts {
            inner.add(part);
        }
        let mut outer = self.outer.clone();
        outer.add(inner.end().bytes());
        outer.end()
    }
}

impl Key for Hmac {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> Tag {
        Tag::new(self.of(&[&[first], middle, &[last]].concat()).bytes())
    }
    fn tag_len(&self) -> usize {
        self.outer.kind().size()
    }
}

impl hmac::Hmac for Kind {
    fn with_key(&self, key: &[u8]) -> Box<dyn Key> {
        Box::new(Hmac::new(*self, key))
    }
    fn hash_output_len(&self) -> usize {
        self.size()
    }
}

impl hash::Hash for Kind {
    fn start(&self) -> Box<dyn Context> {
        Box::new(Sha::new(*self))
    }
    fn hash(&self, data: &[u8]) -> Output {
        Output::new(sha::digest(*self, &[data]).bytes())
    }
    fn output_len(&self) -> usize {
        self.size()
    }
    fn algorithm(&self) -> HashAlgorithm {
        match self {
            Kind::Sha256 => HashAlgorithm::SHA256,
            Kind::Sha384 => HashAlgorithm::SHA384,
            Kind::Sha512 => HashAlgorithm::SHA512,
        }
    }
}

impl Context for Sha {
    fn fork_finish(&self) -> Output {
        Output::new(self.clone().end().bytes())
    }
    fn fork(&self) -> Box<dyn Context> {
        Box::new(self.clone())
    }
    fn finish(self: Box<Self>) -> Output {
        Output::new(self.end().bytes())
    }
    fn update(&mut self, data: &[u8]) {
        self.add(data);
    }
}
