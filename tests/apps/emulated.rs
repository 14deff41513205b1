//! Stands for a program of another processor: the emulator with the program and all it was given, the name it was called
//! by included, in this very process. It changes nothing that the program could see: no runtime of Rust's, which would
//! open descriptors and set signals, and no allocation of a fixed size that a long command line could exceed. The tests
//! of `./build.sh test-aarch64` start it in place of pilotfish; where both files are is said when it is compiled.
#![no_main]

use std::ffi::{CStr, c_char, c_int};

const PR_SET_CHILD_SUBREAPER: c_int = 36;
const EMULATOR: &str = concat!(env!("PILOTFISH_EMULATOR"), "\0");
const PROGRAM: &str = concat!(env!("PILOTFISH_PROGRAM"), "\0");

unsafe extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
    fn execv(path: *const c_char, argv: *const *const c_char) -> c_int;
    fn perror(what: *const c_char);
}

/// # Safety
/// As C promises for main.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: `argc` pointers stand there, each to a word that ends in zero.
    let given = unsafe { std::slice::from_raw_parts(argv, argc as usize) };
    let name = given.first().copied().unwrap_or(c"".as_ptr());
    // The emulator's own name is the program's too, for those who look into /proc/PID/cmdline.
    let mut words: Vec<*const c_char> = vec![name, c"-0".as_ptr(), name, PROGRAM.as_ptr().cast()];
    words.extend(given.iter().skip(1));
    words.push(std::ptr::null());
    // The emulator refuses this call of the program's (qemu: it is not implemented); what is set stays through exec.
    // SAFETY: sets one flag of this process (prctl(2)); PID 1 has no need of it.
    unsafe { prctl(PR_SET_CHILD_SUBREAPER, 1usize, 0usize, 0usize, 0usize) };
    let failed: &CStr = c"cannot start the emulator (it is built by ./build.sh test-aarch64)";
    // SAFETY: both are words that end in zero, the list ends in null.
    unsafe {
        execv(EMULATOR.as_ptr().cast(), words.as_ptr());
        perror(failed.as_ptr());
    }
    127
}
