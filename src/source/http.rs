//! HTTP/1.1 for the sources: one server over TCP, TLS or a unix socket, every wait with a deadline, answers bounded; no
//! proxy, no redirects (a token must not travel), no cookies. It knows no protocol above HTTP. Why by hand: ureq, which
//! did this before, with its types for HTTP and its pool for many hosts costs 78,000 bytes; the tests compare the two.

pub mod answer;
mod socket;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use self::answer::{Body, LONG_HEAD, MOST};
use self::socket::{NO_NAME, STOPPED, Socket, after};
use crate::plan::{Millis, Tls};
use crate::secret::Wiped;
use crate::sys::host::clock;
use crate::sys::pipe::Pipe;
use crate::text::{fill, put};
use crate::tls::{self, Context, Session};

/// Most bytes an answer's body may have.
pub const MAX_BODY: u64 = 64 << 20;
/// A body of more.
const LONG_BODY: ErrorKind = ErrorKind::FileTooLarge;
/// A connection that was idle for longer is not used again.
const IDLE: Millis = 120_000;
/// Bytes read at first: a query may wait for a minute, and its memory with it.
const FIRST: usize = 2 << 10;

/// One server, as one thread sees it.
pub struct Server {
    /// As people know it: the address, or the socket's path.
    pub name: String,
    stop: Arc<Pipe>,
    tls: Option<Arc<Context>>,
    is_unix: bool,
    /// The host, or the socket's path.
    host: String,
    port: Option<u16>,
    /// The host as a request names it.
    authority: String,
    /// A connection whose last answer came whole.
    idle: Cell<Option<Box<Connection>>>,
}

/// A whole answer.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body, at most `MAX_BODY` bytes.
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's text. `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|h| h.0 == name).map(|h| h.1.as_str())
    }
}

impl Server {
    /// `address` is `http://host:port`, `https://host:port` or `unix:///path`. Calls end when `stop` says so.
    #[inline(never)]
    pub fn new(address: &str, tls: &Tls, stop: &super::Stop) -> Server {
        let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
        let is_unix = scheme == "unix";
        let is_tls = scheme == "https";
        // The colons of an address of IPv6 stand in brackets.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !is_unix && !port.contains(']') => (host, port.parse().ok()),
            _ => (rest, Some(if is_tls { 443 } else { 80 })),
        };
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        Server {
            name: address.to_string(),
            stop: stop.pipe.clone(),
            tls: is_tls.then(|| Context::new(tls)),
            is_unix,
            host: bare.to_string(),
            port,
            authority: if is_unix { "localhost" } else { rest }.to_string(),
            idle: Cell::new(None),
        }
    }

    /// GET of `path` (which begins with `/`); the answer's head must be there within `head` milliseconds, its body within
    /// `body` more.
    ///
    /// # Errors
    /// Why there is no whole answer, in words; any status is an answer.
    pub fn get(&self, path: &str, headers: &[(&str, String)], head: Millis, body: Millis) -> Result<Reply, String> {
        self.whole(("GET", path), headers, &[], (head, body))
    }

    /// POST of `body` to `path`; the answer's head must be there within `head` milliseconds.
    ///
    /// # Errors
    /// Why there is no answer, in words; any status is an answer.
    pub fn post(&self, path: &str, headers: &[(&str, String)], body: &str, head: Millis) -> Result<Stream<'_>, String> {
        self.call("POST", path, headers, body.as_bytes(), head)
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
        let reply = self.whole((method, path), headers, body, (limit, limit))?;
        Ok((reply.status, reply.body))
    }

    #[inline(never)]
    fn whole(
        &self,
        (method, path): (&str, &str),
        headers: &[(&str, String)],
        sent: &[u8],
        (head, body): (Millis, Millis),
    ) -> Result<Reply, String> {
        let mut stream = self.call(method, path, headers, sent, head)?;
        let headers = std::mem::take(&mut stream.headers);
        Ok(Reply { status: stream.status, headers, body: stream.rest(body)? })
    }

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
    ) -> Result<Stream<'_>, String> {
        let request = self.request(method, path, headers, body)?;
        let until = after(head);
        let mut kept = self.kept();
        loop {
            // The server may end a connection just when it is used again. Who hears nothing cannot know whether the
            // request was heard: what does no harm when done twice is said once more.
            let is_again = kept.is_some() && matches!(method, "GET" | "HEAD" | "PUT" | "DELETE");
            let connection = match kept.take() {
                Some(connection) => connection,
                None => self.connect(until)?,
            };
            let mut stream = Stream {
                status: 0,
                headers: Vec::new(),
                server: self,
                connection: Some(connection),
                is_kept: false,
                raw: Vec::new(),
                body: Body::default(),
                held: Vec::new(),
                seen: 0,
            };
            match stream.begin(&request.0, method, until) {
                Ok(()) => return Ok(stream),
                Err(e) if is_again && stream.raw.is_empty() && e.kind() != STOPPED => {}
                Err(e) => return Err(self.why(&e)),
            }
        }
    }

    /// The bytes of a request.
    #[inline(never)]
    fn request(&self, method: &str, path: &str, headers: &[(&str, String)], body: &[u8]) -> Result<Wiped, String> {
        if self.port.is_none()
            || [method, path, &self.authority].iter().any(|w| w.bytes().any(|b| b <= b' ' || b == 127))
        {
            return Err("the address is no URL".to_string());
        }
        let agent = concat!("pilotfish/", env!("CARGO_PKG_VERSION"));
        let length = body.len().to_string();
        let head = "% % HTTP/1.1\r\nhost: %\r\nuser-agent: %\r\naccept: */*\r\ncontent-length: %\r\n";
        let head = fill(head, &[method, path, &self.authority, agent, &length]);
        let room = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>();
        let mut out = Wiped(Vec::with_capacity(head.len() + room + 2 + body.len()));
        put(&mut out.0, head.as_bytes());
        for (name, value) in headers {
            // What breaks the line would be a header of its own.
            if [*name, value].iter().any(|w| w.bytes().any(|b| b.is_ascii_control() && b != b'\t')) {
                return Err(fill("the header % has a character that no header may hold", &[name]));
            }
            for part in [name, ": ", value, "\r\n"] {
                put(&mut out.0, part.as_bytes());
            }
        }
        put(&mut out.0, b"\r\n");
        put(&mut out.0, body);
        Ok(out)
    }

    /// The idle connection, if it is still good.
    #[inline(never)]
    fn kept(&self) -> Option<Box<Connection>> {
        let c = self.idle.take()?;
        if let Some(session) = &c.session {
            session.look_ahead();
        }
        let is_good = c.socket.until.saturating_add(IDLE) > clock()
            && c.socket.is_quiet()
            && self.tls.as_ref().is_none_or(|tls| tls.is_fresh());
        is_good.then_some(c)
    }

    /// A new connection, before `until`.
    #[inline(never)]
    fn connect(&self, until: Millis) -> Result<Box<Connection>, String> {
        let socket = if self.is_unix {
            Socket::unix(&self.host, &self.stop)
        } else {
            Socket::tcp(&self.host, self.port.unwrap_or(0), until, &self.stop)
        };
        let socket = socket.map_err(|e| match e.kind() {
            ErrorKind::TimedOut if clock() < until => "no connection within 5 s".to_string(),
            _ => why(&e),
        })?;
        let mut connection = Box::new(Connection { socket, session: None });
        connection.socket.until = until;
        if let Some(tls) = &self.tls {
            let mut session = Box::new(tls.session(&self.host)?);
            session.handshake(&mut connection.socket).map_err(|e| self.why(&e))?;
            connection.session = Some(session);
        }
        Ok(connection)
    }

    /// Whether a connection can be made, within `limit` milliseconds.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn reach(&self, limit: Millis) -> Result<(), String> {
        self.connect(after(limit)).map(drop)
    }

    /// What is worth saying of the server's certificates and ours; each thing once.
    pub fn notes(&self) -> Vec<String> {
        self.tls.as_ref().map_or_else(Vec::new, |tls| tls.notes())
    }

    fn why(&self, e: &io::Error) -> String {
        tls::why(e).unwrap_or_else(|| why(e))
    }
}

/// A connection to the server.
struct Connection {
    /// Of an idle one, `until` says since when.
    socket: Socket,
    session: Option<Box<Session>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(session) = &mut self.session {
            self.socket.until = after(100); // a word of farewell is not worth waiting for
            session.close(&mut self.socket);
        }
    }
}

/// An answer whose body is read as it comes.
pub struct Stream<'a> {
    /// The HTTP status.
    pub status: u16,
    headers: Vec<(String, String)>,
    server: &'a Server,
    /// Until the body is whole.
    connection: Option<Box<Connection>>,
    /// Whether it is to be used again then.
    is_kept: bool,
    /// Bytes that came and are not understood yet.
    raw: Vec<u8>,
    body: Body,
    /// Bytes of the body that nobody has asked for yet.
    held: Vec<u8>,
    /// So many bytes of `held` have no line end in them.
    seen: usize,
}

impl Stream<'_> {
    /// Sends the request and reads the answer's head.
    #[inline(never)]
    fn begin(&mut self, request: &[u8], method: &str, until: Millis) -> io::Result<()> {
        let Some(c) = &mut self.connection else { return Ok(()) };
        c.socket.until = until;
        let sent = match &mut c.session {
            Some(session) => session.write(&mut c.socket, request),
            None => c.socket.write_all(request),
        };
        // Who does not want to hear the whole request may have said why.
        let heard = self.head(method);
        if heard.is_err() { sent.and(heard) } else { heard }
    }

    fn head(&mut self, method: &str) -> io::Result<()> {
        loop {
            match answer::head(&self.raw, method)? {
                None if self.receive()? == 0 => return Err(ErrorKind::UnexpectedEof.into()),
                None => {}
                Some((head, used)) => {
                    self.raw.drain(..used);
                    // Below 200 it is not the answer yet.
                    if head.status >= 200 {
                        (self.status, self.headers) = (head.status, head.headers);
                        (self.is_kept, self.body) = (head.is_kept, head.body);
                        return self.understand();
                    }
                }
            }
        }
    }

    /// Waits for more bytes; how many came, 0 at the end.
    #[inline(never)]
    fn receive(&mut self) -> io::Result<usize> {
        let Some(c) = &mut self.connection else { return Ok(0) };
        let old = self.raw.len();
        let step = (old + self.held.len()).clamp(FIRST, MOST).min(MOST.saturating_sub(old));
        self.raw.resize(old + step, 0);
        let into = self.raw.get_mut(old..).unwrap_or(&mut []);
        let read = match &mut c.session {
            Some(session) => session.read(&mut c.socket, into),
            None => c.socket.read(into),
        };
        self.raw.truncate(old + read.as_ref().map_or(0, |n| *n));
        read
    }

    /// Takes what came of the body. A connection whose answer is whole is given back.
    #[inline(never)]
    fn understand(&mut self) -> io::Result<()> {
        let used = self.body.decode(&self.raw, &mut self.held)?;
        self.raw.drain(..used);
        if self.body.is_done()
            && let Some(mut c) = self.connection.take()
            && self.is_kept
            && self.raw.is_empty()
        {
            c.socket.until = clock();
            self.server.idle.set(Some(c));
        }
        Ok(())
    }

    /// Reads on; how many bytes came, 0 at the end.
    #[inline(never)]
    fn fill(&mut self) -> io::Result<usize> {
        if self.body.is_done() {
            return Ok(0);
        }
        if self.held.len() as u64 > MAX_BODY {
            return Err(LONG_BODY.into());
        }
        let n = self.receive()?;
        if n == 0 {
            self.is_kept = false;
            if !self.body.ends() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        self.understand()?;
        Ok(n)
    }

    fn wait(&mut self, wait: Millis) {
        if let Some(c) = &mut self.connection {
            c.socket.until = after(wait);
        }
    }

    /// The next line without its end; `None` when it is not there within `wait` milliseconds, which loses nothing. With a
    /// wait of 0 only what has been received already is looked at.
    ///
    /// # Errors
    /// The stream was cut, has ended, or has a line longer than 64 MiB.
    pub fn line(&mut self, wait: Millis) -> Result<Option<Vec<u8>>, String> {
        self.wait(wait);
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
                Err(e) if e.kind() == ErrorKind::TimedOut && e.raw_os_error().is_none() => return Ok(None),
                Err(e) => return Err(self.server.why(&e)),
            }
        }
    }

    /// All there is, within `wait` milliseconds.
    ///
    /// # Errors
    /// It does not come, is cut, or is larger than 64 MiB.
    pub fn rest(mut self, wait: Millis) -> Result<Vec<u8>, String> {
        self.wait(wait);
        loop {
            match self.fill() {
                Ok(0) => return Ok(std::mem::take(&mut self.held)),
                Ok(_) => {}
                Err(e) => return Err(self.server.why(&e)),
            }
        }
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

/// What each kind of error means here, unless the system says more.
static WORDS: &[(ErrorKind, &str)] = &[
    (ErrorKind::UnexpectedEof, "the connection was cut"),
    (ErrorKind::TimedOut, "no answer in time"),
    (ErrorKind::InvalidData, "the answer is no HTTP"),
    (NO_NAME, "the host name does not resolve"),
    (LONG_BODY, "the answer is larger than 64 MiB"),
    (LONG_HEAD, "the answer's head is larger than 16 KiB or 100 lines"),
    (STOPPED, "stopped"),
];

/// An error in plain words.
#[inline(never)]
fn why(e: &io::Error) -> String {
    let (kind, is_ours) = match e.kind() {
        // Who hangs up is met while reading or while writing, as it happens.
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => (ErrorKind::UnexpectedEof, true),
        kind => (kind, e.raw_os_error().is_none()),
    };
    let known = WORDS.iter().find(|w| w.0 == kind && is_ours);
    known.map_or_else(|| crate::error::os_text(e), |w| w.1.to_string())
}
