//! A connection to a unix socket that never waits: where the server's queue is full, connect(2) would block with no
//! time-out, and nobody could wake it.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Connects at once or not at all (`WouldBlock`: the server's queue is full). The stream that comes back blocks.
///
/// # Errors
/// As connect(2), and for a path longer than a socket's address may be.
pub fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    // SAFETY: an all-zero address is valid memory; every byte of the path fits, with a zero behind it.
    let address = unsafe {
        let mut a: libc::sockaddr_un = std::mem::zeroed();
        a.sun_family = libc::AF_UNIX as libc::sa_family_t;
        let bytes = path.as_os_str().as_bytes();
        if bytes.len() >= a.sun_path.len() {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        for (to, from) in a.sun_path.iter_mut().zip(bytes) {
            *to = *from as libc::c_char;
        }
        a
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: plain calls; the descriptor is new and owned by nobody else, the address lives through connect.
    let stream = unsafe {
        let fd = libc::socket(libc::AF_UNIX, kind, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let owned = OwnedFd::from_raw_fd(fd);
        let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        if libc::connect(fd, (&raw const address).cast(), length) != 0 {
            return Err(io::Error::last_os_error());
        }
        UnixStream::from(owned)
    };
    stream.set_nonblocking(false)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    #[test]
    fn it_connects_or_says_why_not_at_once() {
        let dir = std::env::temp_dir().join(format!("pilotfish-socket-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("s");
        assert!(connect_unix(&path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound));
        let listener = UnixListener::bind(&path).unwrap();
        let mut ours = connect_unix(&path).unwrap();
        let mut theirs = listener.accept().unwrap().0;
        theirs.write_all(b"x").unwrap();
        let mut byte = [0];
        ours.read_exact(&mut byte).unwrap(); // it blocks until the byte is there
        // Nobody accepts: the queue fills up, and then it is said instead of waited for.
        let mut held = Vec::new();
        let full = loop {
            match connect_unix(&path) {
                Ok(s) => held.push(s),
                Err(e) => break e,
            }
        };
        assert!(full.kind() == io::ErrorKind::WouldBlock, "{full}");
        let long = dir.join("x".repeat(200));
        assert!(connect_unix(&long).is_err());
        drop(held);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
