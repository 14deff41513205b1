//! AES-GCM (NIST SP 800-38D) for nonces of 96 bits: counter mode and the order of things, over the aes crate's cipher and
//! the ghash crate's hash, which are constant time. The aes-gcm crate does the same once for each length of key, and for
//! one block at a time too: 3,000 bytes more.

use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::{BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit};
use aes::{Aes128, Aes256, Block};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use p256::elliptic_curve::subtle::ConstantTimeEq;

/// Bytes of a tag.
pub const TAG: usize = 16;
/// Bytes of a nonce.
pub const NONCE: usize = 12;
/// Blocks of the key stream made at a time.
const BLOCKS: usize = 32;

/// A key; cleared when dropped, by both crates.
pub struct Gcm {
    cipher: Cipher,
    hash: GHash,
}

#[allow(clippy::large_enum_variant)] // there are two of them a connection
enum Cipher {
    Aes128(Aes128),
    Aes256(Aes256),
}

impl Gcm {
    /// Of 16 or 32 bytes.
    pub fn new(key: &[u8]) -> Option<Gcm> {
        let cipher = match key.len() {
            16 => Cipher::Aes128(Aes128::new_from_slice(key).ok()?),
            _ => Cipher::Aes256(Aes256::new_from_slice(key).ok()?),
        };
        let mut zero = [Block::default()];
        cipher.encrypt(&mut zero);
        let [key] = &zero;
        Some(Gcm { hash: GHash::new(key), cipher })
    }

    /// Encrypts in place and gives the tag. A nonce must never come twice; `data` is shorter than 2^36 - 32 bytes.
    pub fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> Block {
        self.cipher.apply(nonce, data);
        self.tag(nonce, aad, data)
    }

    /// Decrypts in place, once the tag is right. The comparison tells nothing by its time.
    pub fn open(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8], tag: &[u8]) -> Option<()> {
        if !bool::from(self.tag(nonce, aad, data).as_slice().ct_eq(tag)) {
            return None;
        }
        self.cipher.apply(nonce, data);
        Some(())
    }

    #[inline(never)]
    fn tag(&self, nonce: &[u8; NONCE], aad: &[u8], data: &[u8]) -> Block {
        let mut hash = self.hash.clone();
        hash.update_padded(aad);
        hash.update_padded(data);
        let bits = |bytes: &[u8]| (bytes.len() as u64).wrapping_mul(8);
        hash.update(&[Array((u128::from(bits(aad)) << 64 | u128::from(bits(data))).to_be_bytes())]);
        let mut mask = [counter(nonce, 1)];
        self.cipher.encrypt(&mut mask);
        let mut tag = hash.finalize();
        for (tag, mask) in tag.iter_mut().zip(mask.iter().flatten()) {
            *tag ^= mask;
        }
        tag
    }
}

impl Cipher {
    fn encrypt(&self, blocks: &mut [Block]) {
        match self {
            Cipher::Aes128(aes) => aes.encrypt_with_backend(All(blocks)),
            Cipher::Aes256(aes) => aes.encrypt_with_backend(All(blocks)),
        }
    }

    /// The key stream, from the counter 2 on, put on `data`.
    #[inline(never)]
    fn apply(&self, nonce: &[u8; NONCE], data: &mut [u8]) {
        let mut next = 2u32;
        for chunk in data.chunks_mut(BLOCKS * 16) {
            let mut stream = [Block::default(); BLOCKS];
            let used = stream.get_mut(..chunk.len().div_ceil(16)).unwrap_or_default();
            for block in &mut *used {
                *block = counter(nonce, next);
                next = next.wrapping_add(1);
            }
            self.encrypt(used);
            for (byte, key) in chunk.iter_mut().zip(used.iter().flatten()) {
                *byte ^= key;
            }
        }
    }
}

fn counter(nonce: &[u8; NONCE], number: u32) -> Block {
    let mut block = Block::default();
    for (to, from) in block.iter_mut().zip(nonce.iter().chain(&number.to_be_bytes())) {
        *to = *from;
    }
    block
}

/// Encrypts blocks by as many at a time as the cipher takes; one by one would be more code.
struct All<'a>(&'a mut [Block]);

impl BlockSizeUser for All<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for All<'_> {
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let (chunks, rest) = Array::<Block, B::ParBlocksSize>::slice_as_chunks_mut(self.0);
        for chunk in chunks {
            backend.encrypt_par_blocks(chunk.into());
        }
        if rest.is_empty() {
            return;
        }
        let mut last = Array::<Block, B::ParBlocksSize>::default();
        for (to, from) in last.iter_mut().zip(rest.iter()) {
            *to = *from;
        }
        backend.encrypt_par_blocks((&mut last).into());
        for (to, from) in rest.iter_mut().zip(&last) {
            *to = *from;
        }
    }
}
