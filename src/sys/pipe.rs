//! The self-pipe: a byte written anywhere (a signal handler, a worker thread) wakes the loop out of poll(2).
//! Bytes carry no meaning; what happened is read from flags and queues after the pipe is drained.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Both ends, non-blocking and close-on-exec.
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    /// A new pipe.
    ///
    /// # Errors
    /// No descriptors left (pipe2(2)).
    pub fn new() -> io::Result<Pipe> {
        let mut fds: [RawFd; 2] = [-1, -1];
        // SAFETY: pipe2 fills the two integers it is given.
        if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let [r, w] = fds;
        // SAFETY: both descriptors are new and owned by nobody else.
        unsafe { Ok(Pipe { read: OwnedFd::from_raw_fd(r), write: OwnedFd::from_raw_fd(w) }) }
    }

    /// The descriptor a signal handler writes to; valid as long as the pipe lives.
    pub fn writer(&self) -> RawFd {
        self.write.as_raw_fd()
    }

    /// The end to wait on.
    pub fn reader(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.read.as_fd()
    }

    /// Wakes whoever polls the reading end. A full pipe is awake already.
    pub fn wake(&self) {
        wake(self.write.as_raw_fd());
    }

    /// Empties the pipe. Flags and queues are read after this, so nothing is lost.
    pub fn drain(&self) {
        let mut buf = [0u8; 64];
        loop {
            // SAFETY: the buffer is valid for its length.
            let n = unsafe { libc::read(self.read.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) };
            if n <= 0 || (n as usize) < buf.len() {
                return;
            }
        }
    }

    /// Sleeps until the pipe is readable or `timeout` milliseconds are over (`None`: for ever).
    pub fn wait(&self, timeout: Option<u64>) {
        wait_readable(self.reader(), timeout);
    }
}

/// A pipe for what a command prints: the reading end never blocks, the writing end does, as programs expect.
///
/// # Errors
/// No descriptors left (pipe2(2)).
pub fn output() -> io::Result<(OwnedFd, OwnedFd)> {
    let Pipe { read, write } = Pipe::new()?;
    // SAFETY: clears the one flag of a descriptor that is ours.
    unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETFL, 0) };
    Ok((read, write))
}

/// Writes one byte; async-signal-safe.
pub fn wake(fd: RawFd) {
    let byte = 0u8;
    // SAFETY: one byte of valid memory; a bad descriptor only gives EBADF.
    unsafe { libc::write(fd, (&raw const byte).cast(), 1) };
}

/// Whether a write to `fd` would not block, now or within `timeout` milliseconds. A reader that went away, or no
/// descriptor at all, blocks nothing.
pub fn is_writable(fd: RawFd, timeout: u64) -> bool {
    let mut p = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    loop {
        // SAFETY: one valid pollfd.
        let n = unsafe { libc::poll(&mut p, 1, i32::try_from(timeout).unwrap_or(i32::MAX)) };
        if n >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return n != 0;
        }
    }
}

/// Writes all of it, waiting at most `patience` milliseconds for the reader each time.
///
/// # Errors
/// The reader is gone or too slow.
pub fn write_patiently(fd: RawFd, bytes: &[u8], patience: u64) -> io::Result<()> {
    // A pipe with room takes PIPE_BUF bytes at once (pipe(7)); more could block.
    for piece in bytes.chunks(4096) {
        let mut rest = piece;
        while !rest.is_empty() {
            if !is_writable(fd, patience) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            // SAFETY: valid memory of that length.
            let n = unsafe { libc::write(fd, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(n) {
                Ok(n) => rest = rest.get(n..).unwrap_or(&[]),
                Err(_) => {
                    let e = io::Error::last_os_error();
                    if !matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) {
                        return Err(e);
                    }
                }
            }
        }
    }
    Ok(())
}

/// Sleeps in poll(2) until `fd` is readable, a signal came, or `timeout` milliseconds are over.
/// True when the descriptor has something to say (data, end or error).
pub fn wait_readable(fd: BorrowedFd<'_>, timeout: Option<u64>) -> bool {
    let ms = match timeout {
        None => -1,
        Some(t) => i32::try_from(t).unwrap_or(i32::MAX),
    };
    let mut p = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd.
    let n = unsafe { libc::poll(&mut p, 1, ms) };
    n > 0 && p.revents != 0
}
