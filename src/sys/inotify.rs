//! inotify(7): wakes a thread when something under watched directories changes. It says only that there was a change,
//! never what: whoever watches looks for itself, so a lost or overflowed event costs nothing.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Everything that can change which files a directory holds or what is in them. A file written in place counts when
/// it is closed (IN_CLOSE_WRITE), not at each write (IN_MODIFY), so that half of it is rarely looked at; IN_CREATE is
/// for link(2), symlink(2) and mkdir(2), which nothing is closed after; IN_ATTRIB is for permissions.
const CHANGES: u32 = libc::IN_CREATE
    | libc::IN_DELETE
    | libc::IN_MOVED_FROM
    | libc::IN_MOVED_TO
    | libc::IN_CLOSE_WRITE
    | libc::IN_ATTRIB
    | libc::IN_DELETE_SELF
    | libc::IN_MOVE_SELF;

/// One inotify instance with its watches. Dropping it drops them all.
pub struct Inotify {
    fd: OwnedFd,
}

impl Inotify {
    /// A new instance: non-blocking, close-on-exec.
    ///
    /// # Errors
    /// EMFILE at the limit fs.inotify.max_user_instances (inotify_init1(2)), ENOSYS where there is none.
    pub fn new() -> io::Result<Inotify> {
        // SAFETY: takes flags only.
        let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and owned by nobody else.
        Ok(Inotify { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Watches a directory (its own entries, not what is below them) or a file, following symlinks.
    ///
    /// # Errors
    /// ENOSPC at the limit fs.inotify.max_user_watches (inotify_add_watch(2)); ENOENT, ENOTDIR, EACCES.
    pub fn watch(&self, path: &Path) -> io::Result<()> {
        self.add(path, CHANGES)
    }

    /// Watches only whether this directory or symlink itself goes away or is replaced.
    ///
    /// # Errors
    /// As for `watch`.
    pub fn watch_self(&self, path: &Path) -> io::Result<()> {
        self.add(path, libc::IN_DELETE_SELF | libc::IN_MOVE_SELF | libc::IN_DONT_FOLLOW)
    }

    fn add(&self, path: &Path, mask: u32) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: a valid descriptor and a null-terminated path.
        let rc = unsafe { libc::inotify_add_watch(self.fd.as_raw_fd(), path.as_ptr(), mask) };
        if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Throws away what is queued. `unfinished` and the result count the files that were created and neither closed
    /// nor renamed yet: probably somebody is still writing them.
    pub fn drain(&self, mut unfinished: usize) -> usize {
        // One event is at most 16 bytes and a name of 255 with its end (inotify(7)).
        let mut buf = [0u8; 4096];
        loop {
            // SAFETY: the buffer is valid for its length.
            let n = unsafe { libc::read(self.fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) };
            let Some(mut rest) = usize::try_from(n).ok().filter(|n| *n > 0).and_then(|n| buf.get(..n)) else {
                return unfinished;
            };
            // struct inotify_event: wd, mask, cookie, len (four bytes each), then len bytes of name.
            while let Some((head, tail)) = rest.split_first_chunk::<16>() {
                let [_, _, _, _, m0, m1, m2, m3, _, _, _, _, l0, l1, l2, l3] = *head;
                let mask = u32::from_ne_bytes([m0, m1, m2, m3]);
                if mask & (libc::IN_CREATE | libc::IN_ISDIR) == libc::IN_CREATE {
                    unfinished = unfinished.saturating_add(1);
                } else if mask & (libc::IN_CLOSE_WRITE | libc::IN_MOVED_FROM | libc::IN_DELETE) != 0 {
                    unfinished = unfinished.saturating_sub(1);
                }
                let name = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
                rest = tail.get(name..).unwrap_or(&[]);
            }
        }
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What ended a wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// `stop` is readable: the thread is to end.
    Stop,
    /// The other descriptor has something.
    Ready,
    /// The time is over, or a signal came.
    Timeout,
}

/// Sleeps in poll(2), for ever without a `timeout`, until `stop` or `other` is readable or `timeout` milliseconds are over.
pub fn wait(stop: Option<BorrowedFd<'_>>, other: Option<BorrowedFd<'_>>, timeout: Option<u64>) -> Woken {
    let ms = timeout.map_or(-1, |t| i32::try_from(t).unwrap_or(i32::MAX));
    // poll(2) passes over negative descriptors.
    let [first, second] = [stop, other].map(|fd| fd.map_or(-1, |fd| fd.as_raw_fd()));
    let mut fds = [
        libc::pollfd { fd: first, events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: second, events: libc::POLLIN, revents: 0 },
    ];
    // SAFETY: two valid pollfds.
    let n = unsafe { libc::poll(fds.as_mut_ptr(), 2, ms) };
    let [first, second] = fds;
    if n > 0 && first.revents != 0 {
        Woken::Stop
    } else if n > 0 && second.revents != 0 {
        Woken::Ready
    } else {
        Woken::Timeout
    }
}
