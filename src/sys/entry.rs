//! C's main, part of the program alone (main.rs includes it; the library and its tests have mains of their own). Rust's
//! own start-up is not used: it aborts where a standard descriptor is closed and there is no /dev/null.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};

/// The symbol the C runtime calls, once.
///
/// # Safety
/// `argc` and `argv` are what C promises for main.
// SAFETY: no other symbol of this name is linked into the program.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: handed on as they came.
    crate::start(unsafe { pilotfish::sys::host::arguments(argc, argv) })
}
