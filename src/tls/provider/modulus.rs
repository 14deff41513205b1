//! Powers modulo an odd number of 2,048 to 8,192 bits, for RSA, and sums and products modulo the two of P-384. Everything
//! but the number of bits (of the modulus and of the exponent) stays out of the time it takes and the addresses it touches: Montgomery's multiplication with a final
//! subtraction that always happens, windows of four bits of the exponent, and a table of powers that is read in whole for
//! each of them. The words' multiplication is the processor's 64 by 64 bits, constant time on x86-64 and on aarch64.
//!
//! By hand because its two alternatives cost more: crypto-bigint's `BoxedMontyForm` 25,000 bytes, its
//! `FixedMontyForm<128>` more than ten thousand and, for a key of 2,048 bits, sixteen times the time.

use std::hint::black_box;
use zeroize::Zeroizing;

/// Words, the least one first.
type Number = Vec<u64>;
/// Bits of the exponent that are taken at a time.
const WINDOW: usize = 4;

/// An odd modulus n of L words, with R = 2^(64 L).
pub struct Modulus {
    n: Number,
    /// R² mod n.
    square: Number,
    /// -1/n mod 2^64.
    inverse: u64,
    bits: usize,
}

impl Modulus {
    /// RSA's, from big-endian bytes without leading zeros.
    pub fn new(bytes: &[u8]) -> Option<Modulus> {
        let top = bytes.first()?.leading_zeros() as usize;
        let bits = bytes.len().checked_mul(8)?.checked_sub(top)?;
        // Below 2,048 is too weak. 8,192 is what others stop at too: a signature's check takes 10 ms there.
        if !(2048..=8192).contains(&bits) || bytes.last()? & 1 == 0 {
            return None;
        }
        Modulus::odd(words(bytes, bytes.len().div_ceil(8))?, bits)
    }

    /// An odd number of that many bits, the highest of them in its last word.
    pub fn odd(n: Number, bits: usize) -> Option<Modulus> {
        // Newton: an odd number is its own inverse modulo 8, and each turn doubles the bits.
        let mut inverse = *n.first()?;
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(n.first()?.wrapping_mul(inverse)));
        }
        let mut modulus = Modulus { square: vec![0; n.len()], n, inverse: inverse.wrapping_neg(), bits };
        // 2^(bits - 1) is below n; doubled until it is R².
        let start = bits.checked_sub(1)?;
        *modulus.square.get_mut(start / 64)? = 1 << (start % 64);
        for _ in start..modulus.n.len().checked_mul(128)? {
            let mut carry = 0;
            for word in &mut modulus.square {
                (*word, carry) = (*word << 1 | carry, *word >> 63);
            }
            reduce(&mut modulus.square, carry, &modulus.n);
        }
        Some(modulus)
    }

    /// The bits of n.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// The bytes of n.
    pub fn size(&self) -> usize {
        self.bits.div_ceil(8)
    }

    /// n itself, big-endian.
    pub fn bytes(&self) -> Vec<u8> {
        bytes(&self.n, self.size())
    }

    /// base^exponent mod n, big-endian and as long as n; `None` where the base is not below n. What the exponent's leading
    /// zeros are is not told by the time; how many bytes it has is.
    pub fn power(&self, base: &[u8], exponent: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let length = self.n.len();
        let mut base = Zeroizing::new(words(base, length)?);
        if borrow(&base, &self.n) == 0 {
            return None;
        }
        let mut one = vec![0; length];
        *one.first_mut()? = 1;
        let mut out = Zeroizing::new(vec![0; length]);
        let mut work = Zeroizing::new(vec![0; length]);
        self.multiply(&base, &self.square, &mut work);
        base.copy_from_slice(&work);
        self.multiply(&one, &self.square, &mut out);
        // The powers 0 to 15 of the base, one after the other.
        let mut table = Zeroizing::new(Vec::with_capacity(length.checked_mul(1 << WINDOW)?));
        work.copy_from_slice(&out);
        let mut next = Zeroizing::new(vec![0; length]);
        for _ in 0..1 << WINDOW {
            table.extend_from_slice(&work);
            self.multiply(&work, &base, &mut next);
            work.copy_from_slice(&next);
        }
        for digit in exponent.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
            for _ in 0..WINDOW {
                self.multiply(&out, &out, &mut work);
                out.copy_from_slice(&work);
            }
            pick(&table, digit, &mut next);
            self.multiply(&out, &next, &mut work);
            out.copy_from_slice(&work);
        }
        self.multiply(&out, &one, &mut work);
        Some(Zeroizing::new(bytes(&work, self.size())))
    }

    /// Whether it is below n.
    pub fn holds(&self, number: &[u64]) -> bool {
        borrow(number, &self.n) == 1
    }

    /// a R mod n, the form of which products of two are of that form too.
    pub fn enter(&self, a: &[u64], out: &mut [u64]) {
        self.multiply(a, &self.square, out);
    }

    /// Adds b to a, modulo n; both are below n.
    pub fn add(&self, a: &mut [u64], b: &[u64]) {
        let carry = add(a, b);
        reduce(a, carry, &self.n);
    }

    /// a - b mod n; both are below n.
    pub fn subtract(&self, a: &[u64], b: &[u64], out: &mut [u64]) {
        let mut borrow = 0;
        for ((out, n), b) in out.iter_mut().zip(&self.n).zip(b) {
            (*out, borrow) = difference(*n, *b, borrow);
        }
        self.add(out, a);
    }

    /// a b / R mod n (Montgomery's multiplication, word by word). One of both is below n, the other below R.
    #[inline(never)]
    pub fn multiply(&self, a: &[u64], b: &[u64], out: &mut [u64]) {
        out.fill(0);
        let mut top = 0;
        for a in a {
            let carry = add_product(out, *a, b);
            let (sum, over) = carry.overflowing_add(top);
            let factor = out.first().map_or(0, |low| low.wrapping_mul(self.inverse));
            // The lowest word becomes zero and is shifted out.
            let carry = add_product(out, factor, &self.n);
            out.rotate_left(1);
            let (sum, over2) = sum.overflowing_add(carry);
            if let Some(last) = out.last_mut() {
                *last = sum;
            }
            top = u64::from(over) | u64::from(over2);
        }
        reduce(out, top, &self.n);
    }
}

/// Adds b to `sum`, which is as long, and gives the carry.
pub fn add(sum: &mut [u64], b: &[u64]) -> u64 {
    let mut carry = 0;
    for (sum, b) in sum.iter_mut().zip(b) {
        let wide = u128::from(*sum) + u128::from(*b) + u128::from(carry);
        (*sum, carry) = (wide as u64, (wide >> 64) as u64);
    }
    carry
}

/// Adds factor b to `sum`, which is as long as b, and gives the carry.
fn add_product(sum: &mut [u64], factor: u64, b: &[u64]) -> u64 {
    let mut carry = 0;
    for (sum, b) in sum.iter_mut().zip(b) {
        // (2^64 - 1)² + 2 (2^64 - 1) = 2^128 - 1: never more than the two words.
        let wide = u128::from(factor) * u128::from(*b) + u128::from(*sum) + u128::from(carry);
        (*sum, carry) = (wide as u64, (wide >> 64) as u64);
    }
    carry
}

/// Subtracts n once where `number`, with `top` above it, is n or more; what is subtracted otherwise is zero.
fn reduce(number: &mut [u64], top: u64, n: &[u64]) {
    // n or more: the top word is set, or n can be subtracted.
    let mask = black_box(top | (borrow(number, n) ^ 1)).wrapping_neg();
    let mut borrow = 0;
    for (word, n) in number.iter_mut().zip(n) {
        (*word, borrow) = difference(*word, n & mask, borrow);
    }
}

/// The borrow of a - b: 1 where a is below b.
fn borrow(a: &[u64], b: &[u64]) -> u64 {
    a.iter().zip(b).fold(0, |borrow, (a, b)| difference(*a, *b, borrow).1)
}

fn difference(a: u64, b: u64, borrow: u64) -> (u64, u64) {
    let (first, one) = a.overflowing_sub(b);
    let (second, two) = first.overflowing_sub(borrow);
    (second, u64::from(one) | u64::from(two))
}

/// Copies the power `digit` out of the table, touching all of them.
fn pick(table: &[u64], digit: u8, out: &mut [u64]) {
    out.fill(0);
    for (power, at) in table.chunks_exact(out.len().max(1)).zip(0u64..) {
        // All ones where both are the same: a difference below 16 has its top bit set once one is subtracted from zero only.
        let differs = u64::from(digit) ^ at;
        let mask = black_box(differs.wrapping_sub(1) >> 63).wrapping_neg();
        for (out, word) in out.iter_mut().zip(power) {
            *out |= word & mask;
        }
    }
}

/// Big-endian bytes as that many words; `None` where they are too many.
fn words(bytes: &[u8], length: usize) -> Option<Number> {
    let mut out = vec![0; length];
    read(bytes, &mut out)?;
    Some(out)
}

/// Big-endian bytes into words that are zero; `None` where they are too many.
pub fn read(bytes: &[u8], out: &mut [u64]) -> Option<()> {
    for (at, byte) in bytes.iter().rev().enumerate() {
        *out.get_mut(at / 8)? |= u64::from(*byte) << (at % 8 * 8);
    }
    Some(())
}

/// That many of the lowest bytes, big-endian.
pub fn bytes(words: &[u64], length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    for (to, word) in out.rchunks_mut(8).zip(words) {
        for (to, from) in to.iter_mut().rev().zip(word.to_le_bytes()) {
            *to = from;
        }
    }
    out
}
