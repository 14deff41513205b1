//! Overwriting memory that held a secret. Nothing else: who owns it decides when.
#![allow(unsafe_code)]

use std::sync::atomic::{Ordering, compiler_fence};

/// Overwrites the bytes, also where the compiler sees that nobody reads them again.
pub fn wipe(bytes: &mut [u8]) {
    for b in bytes {
        // SAFETY: a reference to a byte of ours is valid for a write; volatile, so that it is not left out.
        unsafe { std::ptr::write_volatile(b, 0) };
    }
    compiler_fence(Ordering::SeqCst);
}
