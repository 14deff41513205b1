//! How long to wait after a failure: exponential from 100 ms to 30 s, with jitter so that a fleet does not come
//! back in step, reset by success. Pure: the random bits are the caller's.

use crate::plan::Millis;

/// Deterministic pseudo-random bits (xorshift64*), seeded once; for jitter only.
pub struct Random(u64);

impl Random {
    /// Bits that follow from this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed | 1)
    }
    /// A number below `limit` (0 when `limit` is 0).
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11).checked_rem(limit).unwrap_or(0)
    }
}

/// Failures in a row.
#[derive(Default)]
pub struct Backoff {
    failures: u32,
}

/// The first wait, in milliseconds.
const FIRST: Millis = 100;
/// The longest wait, in milliseconds.
const LONGEST: Millis = 30_000;

impl Backoff {
    /// One more failure: how long to wait now. Between half and all of 100 ms, 200 ms, 400 ms, ... 30 s.
    pub fn failed(&mut self, random: &mut Random) -> Millis {
        let whole = FIRST.checked_shl(self.failures).unwrap_or(LONGEST).min(LONGEST);
        self.failures = self.failures.saturating_add(1).min(16);
        whole / 2 + random.below(whole / 2 + 1)
    }
    /// It worked.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
    /// Whether the last try failed.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_cap_and_resets() {
        let mut random = Random::new(7);
        let mut b = Backoff::default();
        for whole in [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000] {
            let wait = b.failed(&mut random);
            assert!((whole / 2..=whole).contains(&wait), "{wait} of {whole}");
        }
        for _ in 0..1000 {
            assert!(b.failed(&mut random) <= 30_000);
        }
        b.succeeded();
        assert!(b.failed(&mut random) <= 100);
    }
}
