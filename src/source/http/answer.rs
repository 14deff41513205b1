//! The bytes of an HTTP/1.1 answer (RFC 9112): its head, how long its body is, and the body out of its chunks. It takes
//! bytes as they come, in whatever pieces, and knows neither sockets nor time.

use std::io::{self, ErrorKind};

use crate::case::lower;
use crate::text::put;

/// Most bytes of a head, and of what stands between two chunks.
pub const MOST: usize = 16 << 10;
/// Most lines of a head.
const LINES: usize = 100;

/// What is no HTTP/1.1.
const NO_HTTP: ErrorKind = ErrorKind::InvalidData;
/// A head of more than `MOST` bytes or `LINES` lines.
pub const LONG_HEAD: ErrorKind = ErrorKind::ArgumentListTooLong;

/// The head of an answer.
pub struct Head {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case, and values; bytes that are no UTF-8 are replaced.
    pub headers: Vec<(String, String)>,
    /// The connection may be used again once the body has come.
    pub is_kept: bool,
    /// How the body comes.
    pub body: Body,
}

/// Reads the head these bytes begin with, if it is there: it, and how many bytes it has. `method` is the request's.
///
/// # Errors
/// `InvalidData` for what is no HTTP/1.1 or does not say how long its body is, `LONG_HEAD`.
#[inline(never)]
pub fn head(raw: &[u8], method: &str) -> io::Result<Option<(Head, usize)>> {
    let mut lines = [httparse::EMPTY_HEADER; LINES];
    let mut read = httparse::Response::new(&mut lines);
    let used = match read.parse(raw) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) if raw.len() < MOST => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(LONG_HEAD.into()),
        Err(_) => return Err(NO_HTTP.into()),
    };
    let status = read.code.unwrap_or(0);
    let mut is_kept = read.version == Some(1);
    let (mut length, mut is_chunked) = (None, false);
    let mut headers = Vec::new();
    for line in read.headers.iter() {
        let value = String::from_utf8_lossy(line.value).into_owned();
        let name = lower(line.name);
        match name.as_str() {
            // Among other words; what only looks like it costs a new connection.
            "connection" => is_kept &= !lower(&value).contains("close"),
            "transfer-encoding" => {
                // We ask for no other coding, and chunks in chunks are none.
                if is_chunked || lower(&value) != "chunked" {
                    return Err(NO_HTTP.into());
                }
                is_chunked = true;
            }
            "content-length" => {
                for part in value.split(',') {
                    let said = number(part.trim());
                    // The same said twice does no harm.
                    if said.is_none() || length.is_some_and(|l| Some(l) != said) {
                        return Err(NO_HTTP.into());
                    }
                    length = said;
                }
            }
            _ => {}
        }
        headers.push((name, value));
    }
    // RFC 9112, section 6.3, in its order.
    let body = match (status, length) {
        // We ask for no other protocol.
        (..100 | 101, _) => return Err(NO_HTTP.into()),
        (..200 | 204 | 304, _) => Body::default(),
        _ if method == "HEAD" => Body::default(),
        _ if is_chunked => {
            is_kept &= length.is_none(); // who says both may not know where the next answer begins
            Body { step: Step::Size, ..Body::default() }
        }
        (_, Some(0)) => Body::default(),
        (_, Some(left)) => Body { step: Step::Length, left, between: 0 },
        (_, None) => {
            is_kept = false;
            Body { step: Step::End, left: u64::MAX, between: 0 }
        }
    };
    Ok(Some((Head { status, headers, is_kept, body }, used)))
}

/// Digits alone.
#[inline(never)]
fn number(text: &str) -> Option<u64> {
    // `parse` takes a sign, too.
    if text.starts_with('+') { None } else { text.parse().ok() }
}

/// How far a body has come.
#[derive(Default)]
pub struct Body {
    step: Step,
    /// Bytes to come of the body or chunk.
    left: u64,
    /// Bytes since the last chunk's.
    between: usize,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Step {
    /// The rest of a body whose length is known.
    Length,
    /// All until the connection ends.
    End,
    /// The first digit of a chunk's length.
    Size,
    /// More digits, or what ends them.
    Digits,
    /// Space behind the digits.
    Space,
    /// What a chunk says beside its length, which means nothing to us.
    Extension,
    /// The line feed behind a chunk's length.
    SizeEnd,
    /// The rest of a chunk.
    Chunk,
    /// The line end behind a chunk.
    ChunkEnd,
    /// Its line feed.
    ChunkFeed,
    /// A line behind the last chunk, or the empty one.
    Trailer,
    /// The rest of such a line.
    TrailerLine,
    /// The line feed of the empty one.
    Feed,
    /// Nothing: the body is whole.
    #[default]
    Done,
}

impl Body {
    /// Whether it is whole.
    pub fn is_done(&self) -> bool {
        self.step == Step::Done
    }

    /// The connection has ended. False: the body was not whole; behind the chunk of no length it is (RFC 9112, section 8).
    pub fn ends(&mut self) -> bool {
        if matches!(self.step, Step::End | Step::Trailer | Step::TrailerLine | Step::Feed) {
            self.step = Step::Done;
        }
        self.is_done()
    }

    /// Appends what these bytes hold of the body to `out`; how many of them were used: all, but for what stands behind
    /// the body's end.
    ///
    /// # Errors
    /// `InvalidData` for what are no chunks.
    #[inline(never)]
    pub fn decode(&mut self, raw: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let mut at = 0;
        while let Some(&b) = raw.get(at)
            && self.step != Step::Done
        {
            if let Step::Length | Step::End | Step::Chunk = self.step {
                let rest = raw.get(at..).unwrap_or(&[]);
                let n = rest.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                put(out, rest.get(..n).unwrap_or(&[]));
                at += n;
                self.left -= n as u64;
                if self.left == 0 {
                    self.between = 0;
                    self.step = if self.step == Step::Chunk { Step::ChunkEnd } else { Step::Done };
                }
                continue;
            }
            at += 1;
            self.between += 1;
            self.step = match (self.step, b) {
                _ if self.between > MOST => return Err(NO_HTTP.into()),
                (Step::Size | Step::Digits, _) if b.is_ascii_hexdigit() => {
                    let digit = u64::from(char::from(b).to_digit(16).unwrap_or(0));
                    self.left = self.left.checked_mul(16).ok_or(NO_HTTP)? | digit;
                    Step::Digits
                }
                (Step::Digits | Step::Space, b' ' | b'\t') => Step::Space,
                (Step::Digits | Step::Space, b';') => Step::Extension,
                (Step::Digits | Step::Space | Step::Extension, b'\r') => Step::SizeEnd,
                (Step::SizeEnd, b'\n') => {
                    if self.left == 0 {
                        Step::Trailer
                    } else {
                        Step::Chunk
                    }
                }
                (Step::ChunkEnd, b'\r') => Step::ChunkFeed,
                (Step::ChunkFeed, b'\n') => Step::Size,
                (Step::Trailer, b'\r') => Step::Feed,
                (Step::TrailerLine, b'\n') => Step::Trailer,
                (Step::Trailer | Step::Feed, b'\n') => Step::Done,
                (Step::Extension, _) if b != b'\n' => Step::Extension,
                (Step::Trailer | Step::TrailerLine, _) => Step::TrailerLine,
                _ => return Err(NO_HTTP.into()),
            };
        }
        Ok(at)
    }
}
