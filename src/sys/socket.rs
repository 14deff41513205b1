//! Sockets that never block: connecting begins and is awaited with poll(2), as is all that follows,
//! together with a pipe that says when to give up. Nobody can wake a thread that blocks in connect(2).
#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A new socket of this kind that is on its way to an address. `WouldBlock`: a unix socket's queue is full.
///
/// # Safety
/// `address` holds `length` bytes that are an address of this family.
#[inline(never)]
unsafe fn begin(family: i32, address: *const libc::sockaddr, length: usize) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: plain calls; the descriptor is new and owned by nobody else; the address is the caller's promise.
    unsafe {
        let fd = libc::socket(family, kind, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let owned = OwnedFd::from_raw_fd(fd);
        if libc::connect(fd, address, length as libc::socklen_t) != 0 {
            let e = io::Error::last_os_error();
            if e.raw_os_error() != Some(libc::EINPROGRESS) {
                return Err(e);
            }
        }
        Ok(owned)
    }
}

/// A path as the address of a unix socket.
#[inline(never)]
fn unix(path: &Path) -> io::Result<libc::sockaddr_un> {
    // SAFETY: an all-zero address is valid memory; every byte of the path fits, with a zero behind it.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    // What begins with a zero would be no path (unix(7)).
    if bytes.len() >= address.sun_path.len() || bytes.is_empty() || bytes.contains(&0) {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    Ok(address)
}

/// Connects to a unix socket at once or not at all (`WouldBlock`: the server's queue is full).
///
/// # Errors
/// As connect(2), and for a path longer than a socket's address may be.
pub fn connect_unix(path: &Path) -> io::Result<OwnedFd> {
    let address = unix(path)?;
    // SAFETY: the address lives through the call.
    unsafe { begin(libc::AF_UNIX, (&raw const address).cast(), size_of::<libc::sockaddr_un>()) }
}

/// A socket that takes connections at this path, which nobody has taken; only our own user may connect, from its first
/// moment on.
///
/// # Errors
/// As bind(2), and for a path longer than a socket's address may be.
#[inline(never)]
pub fn listen_unix(path: &Path) -> io::Result<OwnedFd> {
    let address = unix(path)?;
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: plain calls; the descriptor is new and owned by nobody else; the address lives through them.
    unsafe {
        let fd = libc::socket(libc::AF_UNIX, kind, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let owned = OwnedFd::from_raw_fd(fd);
        // Linux gives the file the mode that the socket has (net/unix/af_unix.c, unix_bind), less the umask, which is every
        // thread's. Where that is not so, `is_ours` still knows who comes.
        libc::fchmod(fd, 0o600);
        if libc::bind(fd, (&raw const address).cast(), length) != 0 || libc::listen(fd, 128) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(owned)
    }
}

/// Who is at the other end of a unix socket, as that was when it connected or began to listen: process and user. The
/// process is 0 when it lives where we cannot see it, as another container's does (unix(7), pid_namespaces(7)).
///
/// # Errors
/// As getsockopt(2).
#[inline(never)]
pub fn peer(fd: BorrowedFd<'_>) -> io::Result<(i32, u32)> {
    let mut peer = libc::ucred { pid: 0, uid: libc::uid_t::MAX, gid: 0 };
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    let (at, length) = ((&raw mut peer).cast(), &raw mut size);
    // SAFETY: the kernel's struct and its size, which live through the call.
    let rc = unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, at, length) };
    if rc == 0 { Ok((peer.pid, peer.uid)) } else { Err(io::Error::last_os_error()) }
}

/// Whether who connected to this unix socket is our own user, or root.
pub fn is_ours(fd: BorrowedFd<'_>) -> bool {
    peer(fd).is_ok_and(|(_, user)| user == 0 || user == super::host::user())
}

/// An address as the kernel has it, and its length.
#[inline(never)]
fn raw(of: &SocketAddr) -> (libc::sockaddr_storage, usize) {
    // SAFETY: all zeros are a valid address of no family.
    let mut all: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let port = of.port().to_be();
    let length = match of {
        SocketAddr::V4(of) => {
            let to = (&raw mut all).cast::<libc::sockaddr_in>();
            // SAFETY: there is room for every kind of address, aligned for each.
            let a = unsafe { &mut *to };
            a.sin_family = libc::AF_INET as libc::sa_family_t;
            a.sin_port = port;
            a.sin_addr.s_addr = u32::from_ne_bytes(of.ip().octets());
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(of) => {
            let to = (&raw mut all).cast::<libc::sockaddr_in6>();
            // SAFETY: as above.
            let a = unsafe { &mut *to };
            a.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            a.sin6_port = port;
            a.sin6_addr.s6_addr = of.ip().octets();
            a.sin6_scope_id = of.scope_id();
            size_of::<libc::sockaddr_in6>()
        }
    };
    (all, length)
}

/// Switches an option of a socket on or off; without it all works.
fn set(fd: &OwnedFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: a plain call with a number that lives through it.
    unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), size) };
}

/// A socket that takes connections at this address. That of all of IPv6 takes those of IPv4, too.
///
/// # Errors
/// As bind(2).
#[inline(never)]
pub fn listen(at: &SocketAddr) -> io::Result<OwnedFd> {
    let (address, length) = raw(at);
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: plain calls; the descriptor is new and owned by nobody else; the address lives through them.
    unsafe {
        let fd = libc::socket(i32::from(address.ss_family), kind, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let owned = OwnedFd::from_raw_fd(fd);
        // A port whose last connections are not forgotten yet is taken all the same (socket(7)).
        set(&owned, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1);
        set(&owned, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0);
        if libc::bind(fd, (&raw const address).cast(), length as libc::socklen_t) != 0 || libc::listen(fd, 128) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(owned)
    }
}

/// The next connection that waits.
///
/// # Errors
/// As accept(2); `WouldBlock`: there is none.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: a plain call; the descriptor is new and owned by nobody else.
    unsafe {
        let fd = libc::accept4(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), flags);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// A descriptor, and what it is awaited for.
pub type Awaited<'a> = (BorrowedFd<'a>, Wait);

/// Waits until one of them is ready or has failed, a signal came, or so many milliseconds have passed (`None`: for ever).
pub fn wait_any(all: &[Awaited<'_>], timeout: Option<u64>) {
    let mut polled = Vec::new();
    for (fd, what) in all {
        polled.push(libc::pollfd { fd: fd.as_raw_fd(), events: what.events(), revents: 0 });
    }
    let ms = timeout.map_or(-1, |t| i32::try_from(t).unwrap_or(i32::MAX));
    // SAFETY: so many valid pollfds.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, ms) };
}

/// Begins to connect; once the socket can be written, `outcome` says what came of it.
///
/// # Errors
/// As connect(2), where that is known at once.
#[inline(never)]
pub fn connect(to: &SocketAddr) -> io::Result<OwnedFd> {
    let (address, length) = raw(to);
    // SAFETY: the address lives through the call.
    let fd = unsafe { begin(i32::from(address.ss_family), (&raw const address).cast(), length) }?;
    // The end of a request that needs several packets is not to wait for a word of the server's.
    set(&fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
    Ok(fd)
}

/// What came of connecting.
///
/// # Errors
/// As connect(2).
pub fn outcome(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut errno: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    let (at, length) = ((&raw mut errno).cast(), &raw mut size);
    // SAFETY: a number and its size, which live through the call.
    if unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, at, length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

/// What a socket is awaited for.
#[derive(Clone, Copy)]
pub enum Wait {
    /// Bytes, or the end.
    Read,
    /// Room for bytes, or the outcome of connecting.
    Write,
}

impl Wait {
    fn events(self) -> libc::c_short {
        match self {
            Wait::Read => libc::POLLIN,
            Wait::Write => libc::POLLOUT,
        }
    }
}

/// Waits until `fd` is ready or has failed.
///
/// # Errors
/// `ConnectionAborted` once `stop` is readable; `TimedOut` after so many milliseconds.
#[inline(never)]
pub fn wait(fd: BorrowedFd<'_>, what: Wait, stop: BorrowedFd<'_>, timeout: u64) -> io::Result<()> {
    let events = what.events();
    let mut both = [
        libc::pollfd { fd: stop.as_raw_fd(), events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 },
    ];
    // A signal ends the wait early, as if it were ready: who finds nothing waits again.
    // SAFETY: two valid pollfds.
    let n = unsafe { libc::poll(both.as_mut_ptr(), 2, i32::try_from(timeout).unwrap_or(i32::MAX)) };
    if n == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    if n > 0 && both[0].revents != 0 {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    Ok(())
}

/// Reads what is there; 0 at the end.
///
/// # Errors
/// As recv(2).
pub fn receive(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    // SAFETY: valid memory of that length.
    let n = unsafe { libc::recv(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), 0) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Writes what there is room for.
///
/// # Errors
/// As send(2); no signal comes with it.
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: valid memory of that length.
    let n = unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn it_connects_or_says_why_not_at_once() {
        let dir = std::env::temp_dir().join(format!("pilotfish-socket-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("s");
        assert!(connect_unix(&path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound));
        let listener = UnixListener::bind(&path).unwrap();
        let mut ours = UnixStream::from(connect_unix(&path).unwrap());
        ours.set_nonblocking(false).unwrap();
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
