//! A connection's socket: made, read and written within a deadline, which bytes that dribble in never extend, and given
//! up at once when all is stopped. It never blocks but in poll(2), together with the stop's pipe.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use crate::plan::Millis;
use crate::sys::host::{self, clock};
use crate::sys::pipe::Pipe;
use crate::sys::socket::{self, Wait};

/// The host name has no address.
pub const NO_NAME: ErrorKind = ErrorKind::AddrNotAvailable;
/// All was stopped.
pub const STOPPED: ErrorKind = ErrorKind::ConnectionAborted;
/// Longest time a connection may take to be made, in milliseconds.
const CONNECT: Millis = 5_000;
/// Most addresses of a name that are tried.
const ADDRESSES: usize = 16;

/// So many milliseconds from now.
pub fn after(wait: Millis) -> Millis {
    clock().saturating_add(wait)
}

/// The socket of one connection.
pub struct Socket {
    fd: OwnedFd,
    stop: Arc<Pipe>,
    /// When what is being read or written must be done, by `clock`.
    pub until: Millis,
}

impl Socket {
    /// Connects to a unix socket, which is there at once or not at all.
    ///
    /// # Errors
    /// As connect(2).
    pub fn unix(path: &str, stop: &Arc<Pipe>) -> io::Result<Socket> {
        Ok(Socket { fd: socket::connect_unix(Path::new(path))?, stop: stop.clone(), until: 0 })
    }

    /// Connects to the first address of a host that answers; none of them takes the time of those behind it.
    ///
    /// # Errors
    /// What went wrong at the first address, `NO_NAME`, or `TimedOut`: five seconds have passed, or `until` came first.
    #[inline(never)]
    pub fn tcp(name: &str, port: u16, until: Millis, stop: &Arc<Pipe>) -> io::Result<Socket> {
        let found = resolve(name, port)?;
        let until = until.min(after(CONNECT));
        let mut first = None;
        for (i, address) in found.iter().enumerate() {
            let left = until.saturating_sub(clock());
            let share = left / (found.len() - i) as u64;
            match Socket::at(address, after(share), stop) {
                Ok(socket) => return Ok(socket),
                Err(e) => drop(first.get_or_insert(e)),
            }
        }
        Err(first.unwrap_or_else(|| NO_NAME.into()))
    }

    fn at(address: &SocketAddr, until: Millis, stop: &Arc<Pipe>) -> io::Result<Socket> {
        let socket = Socket { fd: socket::connect(address)?, stop: stop.clone(), until };
        socket.wait(Wait::Write)?;
        socket::outcome(socket.fd.as_fd())?;
        Ok(socket)
    }

    /// Waits until the socket can be read or written.
    #[inline(never)]
    fn wait(&self, what: Wait) -> io::Result<()> {
        match self.until.saturating_sub(clock()) {
            0 => Err(ErrorKind::TimedOut.into()),
            left => socket::wait(self.fd.as_fd(), what, self.stop.reader(), left),
        }
    }

    /// Whether nothing has come, not even an end. Otherwise an idle connection was closed by the server, or is out of
    /// step: not to be used again.
    pub fn is_quiet(&self) -> bool {
        let quiet = socket::wait(self.fd.as_fd(), Wait::Read, self.stop.reader(), 0);
        quiet.is_err_and(|e| e.kind() == ErrorKind::TimedOut)
    }
}

/// Whether to wait once more: what poll(2) saw may be gone, and a signal means nothing here.
fn is_vain(done: &io::Result<usize>) -> bool {
    done.as_ref().is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted))
}

impl Read for Socket {
    #[inline(never)]
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            self.wait(Wait::Read)?;
            let done = socket::receive(self.fd.as_fd(), into);
            if !is_vain(&done) {
                return done;
            }
        }
    }
    // Nobody asks for these two; the ones of their own that they would have are 700 bytes.
    fn read_to_end(&mut self, _: &mut Vec<u8>) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }
    fn read_to_string(&mut self, _: &mut String) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }
}

impl Write for Socket {
    #[inline(never)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.wait(Wait::Write)?;
            let done = socket::send(self.fd.as_fd(), bytes);
            if !is_vain(&done) {
                return done;
            }
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
    // As above.
    fn write_fmt(&mut self, _: std::fmt::Arguments<'_>) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// The addresses of a host. A scratch image has no /etc/hosts, so two names need no file: `localhost`, and `gateway`,
/// which in a container is its host.
#[inline(never)]
fn resolve(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if name == "gateway"
        && let Some(ip) = host::gateway()
    {
        return Ok(vec![SocketAddr::new(IpAddr::V4(ip), port)]);
    }
    if name == "localhost" {
        let (four, six) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
        return Ok(vec![SocketAddr::new(four, port), SocketAddr::new(six, port)]);
    }
    let found: Vec<SocketAddr> =
        crate::dns::lookup(name).into_iter().take(ADDRESSES).map(|ip| SocketAddr::new(ip, port)).collect();
    if found.is_empty() { Err(NO_NAME.into()) } else { Ok(found) }
}
