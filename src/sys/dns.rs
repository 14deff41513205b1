//! One message to the name servers of /etc/resolv.conf and what they answer. The C library's own transport is used,
//! which every look-up of an address has brought into the binary already: all servers at once, tried again within the
//! time-out (resolv.conf(5): `options timeout:S attempts:N`; 5 s in all if not said), answers of others and with
//! another id dropped, TCP where an answer does not fit. It knows no record and no name.
#![allow(unsafe_code)]

use std::io;

/// The longest message there is: its length has 16 bits where it goes over TCP.
const MOST: usize = 65_535;

unsafe extern "C" {
    // resolver(3), in musl and in glibc 2.34 and later.
    fn res_send(message: *const u8, length: libc::c_int, answer: *mut u8, room: libc::c_int) -> libc::c_int;
}

/// Sends the message and waits for the answer.
///
/// # Errors
/// Nobody answered in time.
pub fn ask(message: &[u8]) -> io::Result<Vec<u8>> {
    let mut answer = vec![0u8; MOST];
    // SAFETY: both buffers are valid for the lengths given, which fit an int.
    let n =
        unsafe { res_send(message.as_ptr(), message.len() as libc::c_int, answer.as_mut_ptr(), MOST as libc::c_int) };
    match usize::try_from(n) {
        Ok(n) if n > 0 => {
            answer.truncate(n);
            Ok(answer)
        }
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}
