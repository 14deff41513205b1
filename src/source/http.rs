//! HTTP for the sources: an agent over TCP or a unix socket with every time-out set, no proxy, no redirects (a
//! token must not travel), answers bounded. It knows no protocol above HTTP.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Response;
use ureq::http::Uri;
use ureq::http::response::Parts;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};
use ureq::{Agent, Body, Error};

use crate::plan::{Millis, Tls};

/// Most bytes an answer's body may have.
pub const MAX_BODY: u64 = 64 << 20;
/// Bytes of a connection's buffers, and so the longest head: ureq's 128 KiB would be 0.3-0.6 MB for each thread.
const BUFFER: usize = 16 << 10;
/// Longest time a connection may take to be made, in milliseconds.
const CONNECT: Millis = 5_000;

/// When what is being read must be there. Instead of the agent's own limits: to set those anew for each request costs
/// 4,000 bytes, and behind their end they give each read a second more, so that bytes which dribble in never end.
struct Deadline {
    begin: Instant,
    /// Milliseconds behind `begin`.
    until: AtomicU64,
}

impl Deadline {
    fn now(&self) -> Millis {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }
    fn set(&self, wait: Millis) {
        self.until.store(self.now().saturating_add(wait), Ordering::Relaxed);
    }
    fn left(&self) -> Result<Option<Duration>, Error> {
        match self.until.load(Ordering::Relaxed).saturating_sub(self.now()) {
            0 => Err(Error::Timeout(ureq::Timeout::RecvResponse)),
            ms => Ok(Some(Duration::from_millis(ms))),
        }
    }
}

/// One server.
pub struct Server {
    agent: Agent,
    deadline: Arc<Deadline>,
    /// What stands in front of each path: `http://host:port`.
    base: String,
    /// As people know it: the address, or the socket's path.
    pub name: String,
}

/// A whole answer.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    headers: ureq::http::HeaderMap,
    /// The body, at most `MAX_BODY` bytes.
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Server {
    /// `address` is `http://host:port`, `https://host:port` or `unix:///path`. Calls end when `stop` says so.
    #[inline(never)]
    pub fn new(address: &str, _tls: &Tls, stop: &super::Stop) -> Server {
        let unix = address.strip_prefix("unix://");
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("pilotfish/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_millis(CONNECT)))
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(Duration::from_secs(120))
            .build();
        let deadline = Arc::new(Deadline { begin: Instant::now(), until: AtomicU64::new(0) });
        let wires = Wires { unix: unix.map(PathBuf::from), deadline: deadline.clone() };
        let base = if unix.is_some() { "http://localhost".to_string() } else { address.to_string() };
        let agent = Agent::with_parts(config, wires, Names);
        stop.add(agent.clone());
        Server { agent, deadline, base, name: address.to_string() }
    }

    /// GET of `path` (which begins with `/`); the answer's head must be there within `head` milliseconds, its body within
    /// `body` more.
    ///
    /// # Errors
    /// Why there is no whole answer, in words; any status is an answer.
    #[inline(never)]
    pub fn get(&self, path: &str, headers: &[(&str, String)], head: Millis, body: Millis) -> Result<Reply, String> {
        let response = self.call("GET", path, headers, &[], head)?;
        let (head, stream) = self.stream(response);
        Ok(Reply { status: stream.status, headers: head.headers, body: stream.rest(body)? })
    }
}

/// An answer whose body is read as it comes.
pub struct Stream {
    /// The HTTP status.
    pub status: u16,
    body: ureq::BodyReader<'static>,
    deadline: Arc<Deadline>,
    held: Vec<u8>,
    /// So many bytes of `held` have no line end in them.
    seen: usize,
}

impl Server {
    /// POST of `body` to `path`; the answer's head must be there within `head` milliseconds.
    ///
    /// # Errors
    /// Why there is no answer, in words; any status is an answer.
    pub fn post(&self, path: &str, headers: &[(&str, String)], body: &str, head: Millis) -> Result<Stream, String> {
        Ok(self.stream(self.call("POST", path, headers, body.as_bytes(), head)?).1)
    }

    /// Any request with its whole answer: status and body.
    ///
    /// # Errors
    /// Why there is no answer, in words; any status is an answer.
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: &[u8],
        limit: Millis,
    ) -> Result<(u16, Vec<u8>), String> {
        let (_, stream) = self.stream(self.call(method, path, headers, body, limit)?);
        Ok((stream.status, stream.rest(limit)?))
    }

    #[inline(never)]
    fn stream(&self, response: Response<Body>) -> (Parts, Stream) {
        let (head, body) = response.into_parts();
        let (status, deadline) = (head.status.as_u16(), self.deadline.clone());
        (head, Stream { status, body: body.into_reader(), deadline, held: Vec::new(), seen: 0 })
    }
}

impl Stream {
    /// Reads on; how many bytes came, 0 at the end.
    #[inline(never)]
    fn fill(&mut self) -> Result<usize, String> {
        let old = self.held.len();
        if old as u64 > MAX_BODY {
            return Err(why(&Error::BodyExceedsLimit(MAX_BODY)));
        }
        self.held.resize(old + BUFFER, 0);
        let read = self.body.read(self.held.get_mut(old..).unwrap_or(&mut []));
        self.held.truncate(old + read.as_ref().map_or(0, |n| *n));
        read.map_err(|e| why(&Error::from(e)))
    }

    /// The next line without its end; `None` when it is not there within `wait` milliseconds, which loses nothing. With a
    /// wait of 0 only what has been received already is looked at.
    ///
    /// # Errors
    /// The stream was cut, has ended, or has a line longer than 64 MiB.
    pub fn line(&mut self, wait: Millis) -> Result<Option<Vec<u8>>, String> {
        self.deadline.set(wait);
        loop {
            let fresh = self.held.get(self.seen..).unwrap_or(&[]);
            if let Some(i) = fresh.iter().position(|b| *b == b'\n') {
                let rest = self.held.split_off(self.seen + i + 1);
                self.seen = 0;
                let mut line = std::mem::replace(&mut self.held, rest);
                line.pop();
                return Ok(Some(line));
            }
            self.seen = self.held.len();
            match self.fill() {
                Ok(0) => return Err("the server ended the stream".to_string()),
                Ok(_) => {}
                Err(_) if self.deadline.left().is_err() => return Ok(None),
                Err(why) => return Err(why),
            }
        }
    }

    /// All there is, within `wait` milliseconds.
    ///
    /// # Errors
    /// It does not come, is cut, or is larger than 64 MiB.
    pub fn rest(mut self, wait: Millis) -> Result<Vec<u8>, String> {
        self.deadline.set(wait);
        while self.fill()? > 0 {}
        Ok(self.held)
    }
}

/// The beginning of an answer's body, fit for a message: one line, and none of these secrets (some proxies show what they
/// were asked).
pub fn words(body: &[u8], secrets: &[&str]) -> String {
    let mut text = String::from_utf8_lossy(body.get(..4096).unwrap_or(body)).into_owned();
    // What is shorter stands in many a word, and a mark in each of them would tell it.
    for secret in secrets.iter().filter(|s| s.len() >= 4) {
        text = text.replace(secret, "***");
    }
    text.trim().chars().filter(|c| !c.is_control()).take(200).collect()
}

/// ureq's errors in plain words.
fn why(e: &Error) -> String {
    match e {
        Error::Io(e) if e.kind() == ErrorKind::UnexpectedEof => "the connection was cut".to_string(),
        Error::Io(e) => crate::error::os_text(e),
        Error::Timeout(ureq::Timeout::Connect) => "no connection within 5 s".to_string(),
        Error::Timeout(_) => "no answer in time".to_string(),
        Error::HostNotFound => "the host name does not resolve".to_string(),
        Error::BodyExceedsLimit(_) => "the answer is larger than 64 MiB".to_string(),
        Error::LargeResponseHeader(..) => "the answer's head is larger than 16 KiB".to_string(),
        Error::BadUri(_) => "the address is no URL".to_string(),
        Error::Protocol(_) => "the answer is no HTTP".to_string(),
        e => e.to_string(),
    }
}

impl Server {
    /// Any request; the answer's head must be there within `head` milliseconds, and its body is not read yet.
    ///
    /// # Errors
    /// Why there is no answer, in words; any status is an answer.
    #[inline(never)]
    pub fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: &[u8],
        head: Millis,
    ) -> Result<ureq::http::Response<ureq::Body>, String> {
        let mut request = ureq::http::Request::builder().method(method).uri([&self.base, path].concat());
        for (name, value) in headers {
            request = request.header(*name, value.as_str());
        }
        self.deadline.set(head);
        let sent = match request.body(body) {
            Ok(request) => self.agent.run(request),
            Err(e) => Err(e.into()),
        };
        sent.map_err(|e| why(&e))
    }
}

/// Makes connections: TCP, or always to one unix socket.
struct Wires {
    unix: Option<PathBuf>,
    deadline: Arc<Deadline>,
}

impl fmt::Debug for Wires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wires")
    }
}

impl Connector for Wires {
    type Out = Wire;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Wire>, Error> {
        let socket = match &self.unix {
            Some(path) => Socket::Unix(crate::sys::socket::connect_unix(path)?),
            None => {
                let each = details.timeout.not_zero().map_or(Duration::from_millis(CONNECT), |d| *d);
                let mut last = Error::HostNotFound;
                let mut found = None;
                for addr in &details.addrs {
                    match TcpStream::connect_timeout(addr, each) {
                        Ok(s) => {
                            found = Some(s);
                            break;
                        }
                        Err(e) if e.kind() == ErrorKind::TimedOut => last = Error::Timeout(details.timeout.reason),
                        Err(e) => last = Error::Io(e),
                    }
                }
                let stream = found.ok_or(last)?;
                stream.set_nodelay(true)?;
                Socket::Tcp(stream)
            }
        };
        let socket = Arc::new(socket);
        let weak: std::sync::Weak<dyn ShutdownHandle> = Arc::downgrade(&(socket.clone() as Arc<dyn ShutdownHandle>));
        (details.register_shutdown)(weak)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Wire { socket, buffers, deadline: self.deadline.clone() }))
    }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl ShutdownHandle for Socket {
    fn shutdown(&self) {
        let _ = match self {
            Socket::Tcp(s) => s.shutdown(std::net::Shutdown::Both),
            Socket::Unix(s) => s.shutdown(std::net::Shutdown::Both),
        };
    }
}

/// One connection.
struct Wire {
    socket: Arc<Socket>,
    buffers: LazyBuffers,
    deadline: Arc<Deadline>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

/// A socket time-out shows as one of these.
fn timed(e: std::io::Error, timeout: &NextTimeout) -> Error {
    match e.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => Error::Io(e),
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let limit = self.deadline.left()?;
        let out = self.buffers.output().get(..amount).unwrap_or(&[]);
        match &*self.socket {
            Socket::Tcp(s) => s.set_write_timeout(limit).and_then(|()| (&mut &*s).write_all(out)),
            Socket::Unix(s) => s.set_write_timeout(limit).and_then(|()| (&mut &*s).write_all(out)),
        }
        .map_err(|e| timed(e, &timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let limit = self.deadline.left()?;
        let input = self.buffers.input_append_buf();
        if input.is_empty() {
            return Err(Error::LargeResponseHeader(BUFFER, BUFFER)); // what fills it all is not understood yet
        }
        let n = match &*self.socket {
            Socket::Tcp(s) => s.set_read_timeout(limit).and_then(|()| (&mut &*s).read(input)),
            Socket::Unix(s) => s.set_read_timeout(limit).and_then(|()| (&mut &*s).read(input)),
        }
        .map_err(|e| timed(e, &timeout))?;
        self.buffers.input_appended(n);
        Ok(n > 0)
    }

    /// An idle connection that is readable was closed by the server (or is out of step): not to be used again.
    fn is_open(&mut self) -> bool {
        fn quiet(read: std::io::Result<usize>) -> bool {
            matches!(read, Err(e) if e.kind() == ErrorKind::WouldBlock)
        }
        let mut one = [0u8; 1];
        match &*self.socket {
            Socket::Tcp(s) => {
                s.set_nonblocking(true).is_ok() && quiet(s.peek(&mut one)) && s.set_nonblocking(false).is_ok()
            }
            Socket::Unix(s) => {
                s.set_nonblocking(true).is_ok() && quiet((&mut &*s).read(&mut one)) && s.set_nonblocking(false).is_ok()
            }
        }
    }
}

/// Looks names up without a thread of its own; a scratch image has no /etc/hosts, so `localhost` needs no file.
struct Names;

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or("");
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let port = uri.port_u16().unwrap_or(80);
        let mut addrs = self.empty();
        let found: Vec<SocketAddr> = if bare.eq_ignore_ascii_case("gateway")
            && let Some(ip) = crate::sys::host::gateway()
        {
            // A container's host is its gateway: that name needs no file either.
            vec![SocketAddr::new(IpAddr::V4(ip), port)]
        } else if bare == "localhost" {
            let (four, six) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
            vec![SocketAddr::new(four, port), SocketAddr::new(six, port)]
        } else {
            crate::dns::lookup(bare).into_iter().take(16).map(|ip| SocketAddr::new(ip, port)).collect()
        };
        for addr in found {
            addrs.push(addr);
        }
        if addrs.is_empty() { Err(Error::HostNotFound) } else { Ok(addrs) }
    }
}
