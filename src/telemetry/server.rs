//! The connections of those who ask: few at a time, each with a deadline, none of them ever waited for. It lives in the
//! loop, so that whoever has an answer knows that the loop turns. It knows HTTP as far as one request without a body goes, and
//! no path.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use super::Answer;
use crate::error::{Error, Kind, Result};
use crate::plan::Millis;
use crate::sys::socket::{self, Awaited, Wait};
use crate::text::fill;

/// So many connections at a time: one more, and the oldest goes. Who has come to ask has his answer long before.
const MOST: usize = 32;
/// So many are taken in one turn of the loop.
const AT_ONCE: usize = 16;
/// A connection has this long for all it wants, in milliseconds.
const PATIENCE: Millis = 5_000;
/// How long nobody is let in when the system has no room, in milliseconds.
const REST: Millis = 500;
/// Most bytes of a request's head.
const HEAD: usize = 8 << 10;

/// Gives the answer to a method and a path.
pub type Answers<'a> = &'a mut dyn FnMut(&str, &str) -> Answer;

/// Who listens.
pub struct Server {
    listener: OwnedFd,
    /// Only who is our own user, or root, is let in.
    is_private: bool,
    /// The oldest first.
    open: Vec<Connection>,
    /// No connection can be taken until then: the system has no room for it.
    rest: Millis,
}

struct Connection {
    fd: OwnedFd,
    until: Millis,
    got: Vec<u8>,
    /// What is left of the answer.
    out: Vec<u8>,
}

/// The addresses that `host:port` stands for, the best first; without a host: all of this machine's.
#[inline(never)]
pub fn addresses(text: &str) -> Option<Vec<SocketAddr>> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let hosts = match bare {
        "" | "*" => vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        "localhost" => vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
        _ => vec![bare.parse().ok()?],
    };
    Some(hosts.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

impl Server {
    /// Listens at `host:port`.
    ///
    /// # Errors
    /// `Kind::Config`: that is no address; `Kind::Fatal`: somebody else listens there, or it is not ours.
    #[inline(never)]
    pub fn listen(address: &str) -> Result<Server> {
        let fail = |kind: Kind, why: &str| Error::filled(kind, "cannot listen on %: %", &[address, why]);
        let Some(all) = addresses(address) else {
            return Err(fail(Kind::Config, "expected HOST:PORT or :PORT, with an address as the host"));
        };
        let mut why = String::new();
        for at in &all {
            match socket::listen(at) {
                Ok(listener) => return Ok(Server::on(listener, false)),
                Err(e) => why = crate::error::os_text(&e),
            }
        }
        Err(fail(Kind::Fatal, &why))
    }

    /// Takes connections from a socket that listens already; if it is a private one, only those of our own user and root's.
    pub fn on(listener: OwnedFd, is_private: bool) -> Server {
        Server { listener, is_private, open: Vec::new(), rest: 0 }
    }

    /// What the loop is to wait for, beside its own.
    pub fn awaited(&self) -> Vec<Awaited<'_>> {
        let mut all = Vec::new();
        if self.rest == 0 {
            all.push((self.listener.as_fd(), Wait::Read));
        }
        all.extend(self.open.iter().map(|c| (c.fd.as_fd(), if c.out.is_empty() { Wait::Read } else { Wait::Write })));
        all
    }

    /// When the next connection has had its time.
    pub fn deadline(&self) -> Option<Millis> {
        let rest = Some(self.rest).filter(|at| *at > 0);
        self.open.first().map(|c| c.until).into_iter().chain(rest).min()
    }

    /// Takes what has come and answers who has asked; waits for nobody. `answer` is given the method, GET for a HEAD, and
    /// the path.
    #[inline(never)]
    pub fn turn(&mut self, now: Millis, answer: Answers) {
        for _ in 0..AT_ONCE {
            let fd = match socket::accept(self.listener.as_fd()) {
                Ok(fd) => fd,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.rest = 0;
                    break;
                }
                // Whoever waits stays ready: without a rest the loop would find no peace.
                Err(_) => {
                    self.rest = now.saturating_add(REST);
                    break;
                }
            };
            self.rest = 0;
            if self.is_private && !socket::is_ours(fd.as_fd()) {
                continue;
            }
            if self.open.len() >= MOST {
                self.open.remove(0);
            }
            self.open.push(Connection { fd, until: now.saturating_add(PATIENCE), got: Vec::new(), out: Vec::new() });
        }
        self.open.retain_mut(|c| c.until > now && c.turn(answer));
    }
}

impl Connection {
    /// False when it is over.
    #[inline(never)]
    fn turn(&mut self, answer: Answers) -> bool {
        if self.out.is_empty() {
            let mut piece = [0; 1024];
            match socket::receive(self.fd.as_fd(), &mut piece) {
                Ok(0) => return false,
                Ok(n) => crate::text::put(&mut self.got, piece.get(..n).unwrap_or(&[])),
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            }
            match reply(&self.got, answer) {
                Some(out) => self.out = out,
                None => return true,
            }
        }
        match socket::send(self.fd.as_fd(), &self.out) {
            Ok(n) => drop(self.out.drain(..n.min(self.out.len()))),
            Err(e) => return e.kind() == ErrorKind::WouldBlock,
        }
        !self.out.is_empty()
    }
}

/// The whole answer to a request whose head is complete; `None`: it is not yet.
#[inline(never)]
fn reply(got: &[u8], answer: Answers) -> Option<Vec<u8>> {
    let is_whole = got.windows(4).any(|w| w == b"\r\n\r\n") || got.windows(2).any(|w| w == b"\n\n");
    let refuse = |status: &'static str| Answer { status, kind: "text/plain", body: String::new() };
    let line = got.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or(&[]);
    let line = std::str::from_utf8(line).unwrap_or("");
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let answer = if got.len() > HEAD {
        refuse("431 Request Header Fields Too Large")
    } else if !is_whole {
        return None;
    } else if !words.next().is_some_and(|v| v.starts_with("HTTP/1.")) {
        refuse("400 Bad Request")
    } else {
        answer(if method == "HEAD" { "GET" } else { method }, target.split('?').next().unwrap_or(""))
    };
    let length = answer.body.len().to_string();
    let head = "HTTP/1.1 %\r\ncontent-type: %\r\ncontent-length: %\r\nconnection: close\r\n\r\n";
    let mut out = fill(head, &[answer.status, answer.kind, &length]);
    if method != "HEAD" {
        out.push_str(&answer.body);
    }
    Some(out.into_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_to_listen_at() {
        for (text, want) in [
            (":80", Some("[::]:80 0.0.0.0:80")),
            ("*:80", Some("[::]:80 0.0.0.0:80")),
            ("127.0.0.1:9", Some("127.0.0.1:9")),
            ("[::1]:9", Some("[::1]:9")),
            ("localhost:9", Some("127.0.0.1:9 [::1]:9")),
            ("80", None),
            ("", None),
            ("host:9", None),
            ("127.0.0.1:99999", None),
            ("127.0.0.1:", None),
        ] {
            let found = addresses(text).map(|a| a.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
            assert_eq!(found.as_deref(), want, "{text}");
        }
    }

    fn status(request: &str) -> Option<String> {
        let mut answer = |method: &str, path: &str| {
            let status = if method == "GET" { "200 OK" } else { "405 Method Not Allowed" };
            Answer { status, kind: "k", body: path.to_string() }
        };
        let text = String::from_utf8(reply(request.as_bytes(), &mut answer)?).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Some([head.split(' ').nth(1).unwrap(), " ", body].concat())
    }

    #[test]
    fn one_request_one_answer() {
        for (request, want) in [
            ("", None),
            ("GET /a HTTP/1.1\r\n", None),
            ("GET /a HTTP/1.1\r\nhost: x\r\n\r\n", Some("200 /a")),
            ("GET /a?b=c HTTP/1.0\n\n", Some("200 /a")),
            ("HEAD /a HTTP/1.1\r\n\r\n", Some("200 ")),
            ("POST /a HTTP/1.1\r\n\r\nbody", Some("405 /a")),
            ("GET /a\r\n\r\n", Some("400 ")),
            ("\r\n\r\n", Some("400 ")),
            ("\u{1}\u{16}é\r\n\r\n", Some("400 ")),
        ] {
            assert_eq!(status(request).as_deref(), want, "{request:?}");
        }
        assert_eq!(status(&["GET /", &"x".repeat(HEAD)].concat()).as_deref(), Some("431 "));
    }
}
