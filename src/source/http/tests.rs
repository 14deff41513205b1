//! Against real sockets: a server that says, byte by byte, what a test wants.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::super::Stop;
use super::*;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

const LONG: Millis = 20_000;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What the server does on a connection, one after the other; then it ends it.
enum Do {
    /// Reads a request, body and all.
    Hear,
    /// Sends these bytes.
    Say(Vec<u8>),
    /// Sends these bytes one by one, some milliseconds apart.
    Dribble(Vec<u8>, u64),
    /// Waits until the client ends the connection.
    Wait,
    /// Waits for a word of the test's.
    Until(Receiver<()>),
}
use Do::*;

fn say(bytes: impl AsRef<[u8]>) -> Do {
    Say(bytes.as_ref().to_vec())
}

/// A server with a script for each connection to come; further ones are taken and ended.
struct Fake {
    address: String,
    /// Which connection (from 1), and the request.
    heard: Arc<Mutex<Vec<(usize, String)>>>,
    /// Connections that were ended, by whichever side.
    done: Receiver<usize>,
}

fn hear(stream: &mut TcpStream) -> Option<String> {
    let mut got = Vec::new();
    let mut byte = [0; 1];
    while !got.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        got.push(byte[0]);
    }
    let head = String::from_utf8(got).unwrap();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |l| l.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8_lossy(&body))
}

fn play(stream: &mut TcpStream, number: usize, script: Vec<Do>, heard: &Mutex<Vec<(usize, String)>>) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_millis(LONG))).ok()?;
    for what in script {
        match what {
            Hear => {
                let request = hear(stream)?;
                heard.lock().unwrap_or_else(PoisonError::into_inner).push((number, request));
            }
            Say(bytes) => stream.write_all(&bytes).ok()?,
            Dribble(bytes, pause) => {
                for b in bytes {
                    sleep(Duration::from_millis(pause));
                    stream.write_all(&[b]).ok()?;
                }
            }
            Wait => while !matches!(stream.read(&mut [0; 4096]), Ok(0) | Err(_)) {},
            Until(word) => word.recv_timeout(Duration::from_millis(LONG)).ok()?,
        }
    }
    Some(())
}

impl Fake {
    fn new(scripts: Vec<Vec<Do>>) -> Fake {
        Fake::at(TcpListener::bind("127.0.0.1:0").unwrap(), scripts)
    }
    fn at(listener: TcpListener, scripts: Vec<Vec<Do>>) -> Fake {
        let address = listener.local_addr().unwrap().to_string();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (tell, done) = channel();
        let all = heard.clone();
        spawn(move || {
            let mut scripts = scripts.into_iter();
            for (n, stream) in listener.incoming().enumerate() {
                let (mut stream, script) = (stream.unwrap(), scripts.next().unwrap_or_default());
                let (all, tell) = (all.clone(), tell.clone());
                spawn(move || {
                    play(&mut stream, n + 1, script, &all);
                    drop(stream);
                    let _ = tell.send(n + 1);
                });
            }
        });
        Fake { address, heard, done }
    }
    fn server(&self, stop: &Stop) -> Server {
        Server::new(&["http://", &self.address].concat(), &Tls::default(), stop)
    }
    /// The requests as `connection method path`.
    fn asked(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        let line = |(n, r): &(usize, String)| format!("{n} {}", r.split(" HTTP").next().unwrap());
        heard.iter().map(line).collect()
    }
    /// Until that connection has ended.
    fn ended(&self, number: usize) {
        while self.done.recv_timeout(Duration::from_millis(LONG)).unwrap() != number {}
    }
}

/// What a GET (or another method) of an answer comes to: `status body`, or the error.
fn outcome(method: &str, script: Vec<Do>) -> String {
    let (stop, fake) = (Stop::new().unwrap(), Fake::new(vec![script]));
    let server = fake.server(&stop);
    match server.ask(method, "/", &[], b"", LONG) {
        Ok((status, body)) => format!("{status} {}", String::from_utf8_lossy(&body)),
        Err(why) => why,
    }
}

fn took(begin: Instant) -> Millis {
    u64::try_from(begin.elapsed().as_millis()).unwrap()
}

#[test]
fn a_request_says_what_it_must_and_no_more() {
    let stop = Stop::new().unwrap();
    let fake = Fake::new(vec![vec![Hear, say(OK), Hear, say(OK)]]);
    let server = fake.server(&stop);
    let headers = [("x-consul-token", "t\u{e9} k\tn".to_string()), ("x-empty", String::new())];
    assert_eq!(server.get("/v1/kv/%C3%A9?recurse&dc=a", &headers, LONG, LONG).unwrap().body, b"ok");
    server.ask("PUT", "/k", &[], b"a\r\n\0b", LONG).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let begin = |line: &str| {
        format!("{line} HTTP/1.1\r\nhost: {}\r\nuser-agent: pilotfish/{version}\r\naccept: */*\r\n", fake.address)
    };
    let want = [
        (
            1,
            begin("GET /v1/kv/%C3%A9?recurse&dc=a")
                + "content-length: 0\r\nx-consul-token: t\u{e9} k\tn\r\nx-empty: \r\n\r\n",
        ),
        (1, begin("PUT /k") + "content-length: 5\r\n\r\na\r\n\0b"),
    ];
    assert_eq!(*fake.heard.lock().unwrap(), want);
}

#[test]
fn what_would_break_a_line_is_never_sent() {
    let stop = Stop::new().unwrap();
    let fake = Fake::new(vec![vec![Hear, say(OK)]]);
    let server = fake.server(&stop);
    for (name, value) in [("a", "b\r\nc: d"), ("a", "b\nc"), ("a", "\0"), ("a", "\x7f"), ("a\r\nb", "c"), ("a", "\r")] {
        let why = server.ask("GET", "/", &[(name, value.to_string())], b"", LONG).unwrap_err();
        assert_eq!(why, format!("the header {name} has a character that no header may hold"));
    }
    for (method, path) in
        [("GET", "/a b"), ("GET", "/a\r\nhost: x"), ("GET\r\nx", "/"), ("GET", "/\x7f"), ("GET", "\t")]
    {
        assert_eq!(server.ask(method, path, &[], b"", LONG).unwrap_err(), "the address is no URL");
    }
    for address in ["http://h:x", "http://h:", "http://h:70000", "http://h h", "http://h\r\nx: y", "http://[::1]:-1"] {
        let server = Server::new(address, &Tls::default(), &stop);
        assert_eq!(server.ask("GET", "/", &[], b"", LONG).unwrap_err(), "the address is no URL", "{address}");
    }
    // The next one is the first that comes.
    server.ask("GET", "/good", &[], b"", LONG).unwrap();
    assert_eq!(fake.asked(), ["1 GET /good"]);
}

/// An answer, the method, and what it comes to.
const ANSWERS: &[(&str, &str, &str)] = &[
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "GET", "200 hello"),
    ("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", "GET", "200 hello"),
    ("\r\nHTTP/1.1 200 OK\ncontent-length:5\n\nhello", "GET", "200 hello"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more", "GET", "200 hello"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", "200 "),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", "GET", "200 ab"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab", "GET", "200 ab"),
    (
        "HTTP/1.1 500 x\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0a\r\n0123456789\r\n0\r\n\r\n",
        "GET",
        "500 abc0123456789",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n1 \t\r\nd\r\n000;x\r\nX-Sum: 1\r\nY: 2\r\n\r\n",
        "GET",
        "200 abcd",
    ),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\nab\r\n0\r\n\r\n", "GET", "200 ab"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\nHTTP", "GET", "200 "),
    // Who has sent the chunk of no length has said all.
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", "GET", "200 a"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y", "GET", "200 "),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r", "GET", "200 "),
    ("HTTP/1.1 200 OK\r\n\r\nall that comes", "GET", "200 all that comes"),
    ("HTTP/1.0 200 OK\r\n\r\nall that comes", "GET", "200 all that comes"),
    ("HTTP/1.1 200 OK\r\n\r\n", "GET", "200 "),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", "200 "),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", "200 "),
    ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "GET", "204 "),
    ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", "304 "),
    ("HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "GET", "307 "),
    (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nContent-Length: 9\r\n\r\nHTTP/1.1 201 x\r\nContent-Length: 1\r\n\r\nz",
        "PUT",
        "201 z",
    ),
    ("HTTP/1.1 999 x\r\nContent-Length: 1\r\nX: \u{e9}\r\n\r\nz", "GET", "999 z"),
    // What has no end.
    ("", "GET", "the connection was cut"),
    ("HTTP/1.1 200 OK\r\nContent-Le", "GET", "the connection was cut"),
    ("HTTP/1.1 100 Continue\r\n\r\n", "GET", "the connection was cut"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "GET", "the connection was cut"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", "GET", "the connection was cut"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "GET", "the connection was cut"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0", "GET", "the connection was cut"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r", "GET", "the connection was cut"),
    // What is none.
    ("SSH-2.0-OpenSSH_9.2\r\n", "GET", "the answer is no HTTP"),
    ("\u{15}\u{3}\u{3}\0\u{2}\u{2}F", "GET", "the answer is no HTTP"),
    ("HTTP/2 200 OK\r\n\r\n", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 20 OK\r\n\r\n", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 099 OK\r\n\r\n", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nabc", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nabc", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nabc", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nabc", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nabc", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "GET", "the answer is no HTTP"),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET",
        "the answer is no HTTP",
    ),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n;x\r\n", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3 x\r\nabc\r\n0\r\n\r\n", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\rabc\r\n", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a\nabc\r\n", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\rd", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n", "GET", "the answer is no HTTP"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n", "GET", "the answer is no HTTP"),
];

#[test]
fn answers_whole_and_byte_by_byte() {
    for (answer, method, want) in ANSWERS {
        assert_eq!(outcome(method, vec![Hear, say(answer)]), *want, "{answer:?}");
    }
    std::thread::scope(|scope| {
        for (answer, method, want) in ANSWERS {
            scope.spawn(move || {
                let bytes = answer.as_bytes().to_vec();
                assert_eq!(outcome(method, vec![Hear, Dribble(bytes, 1)]), *want, "{answer:?}");
            });
        }
    });
}

#[test]
fn headers_are_found_by_their_names() {
    let stop = Stop::new().unwrap();
    let answer = b"HTTP/1.1 200 OK\r\nX-Index:  17 \r\nx-bytes: a\xffb\r\nContent-Length: 0\r\n\r\n";
    let fake = Fake::new(vec![vec![Hear, say(answer)]]);
    let reply = fake.server(&stop).get("/", &[], LONG, LONG).unwrap();
    assert_eq!(reply.header("x-index"), Some("17"));
    assert_eq!(reply.header("x-bytes"), Some("a\u{fffd}b"));
    assert_eq!(reply.header("x"), None);
}

#[test]
fn what_is_too_large_is_refused() {
    let long_head = "the answer's head is larger than 16 KiB or 100 lines";
    let lines = |n: usize| ["HTTP/1.1 200 OK\r\n", &"A: b\r\n".repeat(n), "Content-Length: 0\r\n\r\n"].concat();
    assert_eq!(outcome("GET", vec![Hear, say(lines(99))]), "200 ");
    assert_eq!(outcome("GET", vec![Hear, say(lines(100))]), long_head);
    let long = |n: usize| format!("HTTP/1.1 200 OK\r\nA: {}\r\nContent-Length: 2\r\n\r\nok", "x".repeat(n));
    let exact = MOST - long(0).len() + 2;
    assert_eq!(outcome("GET", vec![Hear, say(long(exact))]), "200 ok");
    assert_eq!(outcome("GET", vec![Hear, say(long(exact + 1))]), long_head);
    assert_eq!(outcome("GET", vec![Hear, say(long(3 << 20))]), long_head);
    assert_eq!(outcome("GET", vec![Hear, say("\r\n".repeat(9_000))]), long_head);
    // Between chunks, and behind the last one.
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let extension = |n: usize| [chunked, "1;", &"x".repeat(n), "\r\na\r\n0\r\n\r\n"].concat();
    assert_eq!(outcome("GET", vec![Hear, say(extension(16_000))]), "200 a");
    assert_eq!(outcome("GET", vec![Hear, say(extension(17_000))]), "the answer is no HTTP");
    let trailers = [chunked, "0\r\n", &"A: b\r\n".repeat(4_000), "\r\n"].concat();
    assert_eq!(outcome("GET", vec![Hear, say(trailers)]), "the answer is no HTTP");
    let zeros = [chunked, &"0".repeat(17_000), "1\r\na\r\n0\r\n\r\n"].concat();
    assert_eq!(outcome("GET", vec![Hear, say(zeros)]), "the answer is no HTTP");
    // A body.
    let body = |head: &str, n: usize| vec![Hear, say(head), Say(vec![b'x'; n])];
    assert_eq!(outcome("GET", body("HTTP/1.1 200 OK\r\n\r\n", 65 << 20)), "the answer is larger than 64 MiB");
    let most = format!("HTTP/1.1 200 OK\r\nContent-Length: {MAX_BODY}\r\n\r\n");
    assert_eq!(outcome("GET", body(&most, 64 << 20)).len(), 4 + (64 << 20));
}

#[test]
fn a_large_answer_comes_as_it_was_sent() {
    let stop = Stop::new().unwrap();
    let mut body = Vec::new();
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for n in 0..3_000_usize {
        let part: Vec<u8> = (0..(n * 7919) % 9_973 + 1).map(|i| (i * n % 251) as u8).collect();
        body.extend_from_slice(&part);
        chunked.extend_from_slice(format!("{:X}\r\n", part.len()).as_bytes());
        chunked.extend_from_slice(&part);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let plain =
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes(), body.clone()].concat();
    let fake = Fake::new(vec![vec![Hear, say(chunked), Hear, say(plain)]]);
    let server = fake.server(&stop);
    for _ in 0..2 {
        let (_, got) = server.ask("GET", "/", &[], b"", LONG).unwrap();
        assert!(got == body, "{} bytes, not {}", got.len(), body.len());
    }
    assert_eq!(fake.asked(), ["1 GET /", "1 GET /"]);
}

#[test]
fn a_connection_is_used_again_only_when_its_answer_came_whole() {
    let stop = Stop::new().unwrap();
    let close = b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok";
    let both = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let old = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let more = [OK, b"HTTP/1.1 200 OK\r\n"].concat();
    let (go, unasked) = channel();
    let late = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n";
    let none = b"HTTP/1.1 204 x\r\n\r\n";
    let fake = Fake::new(vec![
        vec![Hear, say(OK), Hear, say(none), Hear, say(close), Wait],
        vec![Hear, say(both), Wait],
        vec![Hear, say(old), Wait],
        vec![Hear, say(more), Wait],
        // Ended while idle.
        vec![Hear, say(OK), Until(unasked)],
        // A body that nobody reads.
        vec![Hear, say(late), Wait],
        // Idle for too long.
        vec![Hear, say(OK), Wait],
        vec![Hear, say(OK)],
    ]);
    let server = fake.server(&stop);
    let ask = |path: &str| server.get(path, &[], LONG, LONG).unwrap().status;
    for path in ["/1", "/none", "/close", "/both", "/old", "/more"] {
        ask(path);
    }
    assert_eq!(ask("/idle"), 200);
    go.send(()).unwrap();
    fake.ended(5);
    // The end may be on its way for a moment yet; a POST would not be said twice.
    let kept = server.idle.take().unwrap();
    let begin = Instant::now();
    while kept.socket.is_quiet() {
        assert!(took(begin) < LONG, "the end does not come");
    }
    server.idle.set(Some(kept));
    let stream = server.post("/unread", &[], "", LONG).unwrap();
    assert_eq!(stream.status, 200);
    drop(stream);
    ask("/last");
    let mut kept = server.idle.take().unwrap();
    kept.socket.until = clock().saturating_sub(IDLE + 1);
    server.idle.set(Some(kept));
    ask("/too-old");
    let want = [
        "1 GET /1",
        "1 GET /none",
        "1 GET /close",
        "2 GET /both",
        "3 GET /old",
        "4 GET /more",
        "5 GET /idle",
        "6 POST /unread",
        "7 GET /last",
        "8 GET /too-old",
    ];
    assert_eq!(fake.asked(), want);
}

#[test]
fn two_requests_at_once_have_a_connection_each() {
    let stop = Stop::new().unwrap();
    let begin = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n";
    let (go, more) = channel();
    let fake = Fake::new(vec![
        vec![Hear, say(begin), Until(more), say("8\r\ntwo\nthre\r\n2\r\ne\n\r\n0\r\n\r\n"), Wait],
        vec![Hear, say(OK), Hear, say(OK), Wait],
    ]);
    let server = fake.server(&stop);
    let mut stream = server.post("/watch", &[], "{}", LONG).unwrap();
    let line = |stream: &mut Stream, wait| stream.line(wait).map(|l| l.map(|l| String::from_utf8(l).unwrap()));
    assert_eq!(line(&mut stream, LONG), Ok(Some("one".to_string())));
    assert_eq!(line(&mut stream, 0), Ok(None));
    assert_eq!(line(&mut stream, 30), Ok(None));
    assert_eq!(server.ask("POST", "/range", &[], b"", LONG).unwrap().1, b"ok");
    go.send(()).unwrap();
    for want in ["two", "three"] {
        assert_eq!(line(&mut stream, LONG), Ok(Some(want.to_string())));
    }
    assert_eq!(line(&mut stream, LONG), Err("the server ended the stream".to_string()));
    assert_eq!(line(&mut stream, 0), Err("the server ended the stream".to_string()));
    drop(stream);
    // Of the two connections the last one is kept.
    assert!(server.idle.take().is_some());
    assert_eq!(fake.asked(), ["1 POST /watch", "2 POST /range"]);
}

#[test]
fn a_kept_connection_that_fails_is_made_anew_once_for_what_does_no_harm_twice() {
    for (method, want) in [
        ("GET", "200"),
        ("HEAD", "200"),
        ("PUT", "200"),
        ("DELETE", "200"),
        ("POST", "the connection was cut"),
        ("PATCH", "the connection was cut"),
    ] {
        let stop = Stop::new().unwrap();
        let fake = Fake::new(vec![vec![Hear, say(OK), Hear], vec![Hear, say(OK), Wait]]);
        let server = fake.server(&stop);
        server.get("/first", &[], LONG, LONG).unwrap();
        let got = server.ask(method, "/second", &[], b"x", LONG).map_or_else(|why| why, |r| r.0.to_string());
        assert_eq!(got, want, "{method}");
        let mut all = vec!["1 GET /first".to_string(), format!("1 {method} /second")];
        if want == "200" {
            all.push(format!("2 {method} /second"));
        }
        assert_eq!(fake.asked(), all);
    }
    // Not where an answer has begun, nor on a new connection, nor for ever.
    for (first, second, want) in [
        (vec![Hear, say(OK), Hear, say("H")], vec![Hear, say(OK)], 2),
        (vec![], vec![Hear, say(OK)], 0),
        (vec![Hear, say(OK), Hear], vec![Hear], 3),
    ] {
        let stop = Stop::new().unwrap();
        let is_new = first.is_empty();
        let fake = Fake::new(vec![first, second, vec![Hear, say(OK)]]);
        let server = fake.server(&stop);
        if !is_new {
            server.get("/first", &[], LONG, LONG).unwrap();
        }
        let why = server.ask("GET", "/second", &[], b"", LONG).unwrap_err();
        assert_eq!(why, "the connection was cut");
        assert_eq!(fake.asked().len(), want, "{:?}", fake.asked());
    }
}

#[test]
fn who_answers_before_the_request_is_whole_is_heard() {
    let stop = Stop::new().unwrap();
    let head = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\n413";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let peer = spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(head).unwrap();
        // The end of the connection with bytes unread makes the client's next ones fail.
    });
    let got = Server::new(&address, &Tls::default(), &stop).ask("PUT", "/k", &[], &vec![b'x'; 32 << 20], LONG);
    assert_eq!(got, Ok((413, b"413".to_vec())));
    peer.join().unwrap();
}

#[test]
fn bytes_that_dribble_in_extend_no_deadline() {
    let slow = |bytes: &[u8]| Dribble(bytes.to_vec(), 20);
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
    let lines = b"HTTP/1.1 200 OK\r\n\r\nabc";
    let stop = Stop::new().unwrap();
    let late = "no answer in time";
    for (name, script) in [
        ("head", vec![Hear, slow(&[&head[..], &[b'x'; 500]].concat())]),
        ("body", vec![Hear, say(head), slow(&[b'x'; 500])]),
        ("line", vec![Hear, say(lines), slow(&[b'x'; 500])]),
    ] {
        let fake = Fake::new(vec![script]);
        let server = fake.server(&stop);
        let begin = Instant::now();
        match name {
            "head" => assert_eq!(server.post("/", &[], "", 400).err().unwrap(), late),
            "body" => assert_eq!(server.get("/", &[], LONG, 400).err().unwrap(), late),
            _ => assert_eq!(server.post("/", &[], "", LONG).unwrap().line(400), Ok(None)),
        }
        let took = took(begin);
        assert!((399..2_000).contains(&took), "{name}: {took} ms");
    }
}

/// A port whose queue is full: nobody takes a connection, and none is refused.
fn silent(address: &str) -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind(address).unwrap();
    let at = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&at, Duration::from_millis(300)) {
        held.push(stream);
        assert!(held.len() < 10_000, "the queue does not fill");
    }
    (listener, held)
}

#[test]
fn a_connection_has_five_seconds_and_no_address_takes_the_time_of_another() {
    let stop = Stop::new().unwrap();
    let (four, _held) = silent("127.0.0.1:0");
    let port = four.local_addr().unwrap().port();
    let six = TcpListener::bind(("::1", port)).unwrap();
    let fake = Fake::at(six, vec![vec![Hear, say(OK)], vec![Hear, say(OK)]]);
    let server = |host: &str| Server::new(&format!("http://{host}:{port}"), &Tls::default(), &stop);
    let (one, two) = std::thread::scope(|scope| {
        let alone = scope.spawn(|| {
            let begin = Instant::now();
            let stop = Stop::new().unwrap();
            let server = Server::new(&format!("http://127.0.0.1:{port}"), &Tls::default(), &stop);
            let short = server.ask("GET", "/", &[], b"", 300).unwrap_err();
            (short, took(begin), server.ask("GET", "/", &[], b"", LONG).unwrap_err(), took(begin))
        });
        let begin = Instant::now();
        assert_eq!(server("localhost").ask("GET", "/a", &[], b"", LONG).unwrap().1, b"ok");
        let two = took(begin);
        (alone.join().unwrap(), two)
    });
    let (short, first, long, both) = one;
    assert_eq!((short.as_str(), long.as_str()), ("no answer in time", "no connection within 5 s"));
    assert!((299..1_500).contains(&first) && (5_298..7_000).contains(&both), "{first} ms, {both} ms");
    assert!((2_400..4_000).contains(&two), "the second address had its turn after {two} ms");
    assert_eq!(server("[::1]").ask("GET", "/b", &[], b"", LONG).unwrap().1, b"ok");
    assert_eq!(fake.asked(), ["1 GET /a", "2 GET /b"]);
    let heard = fake.heard.lock().unwrap();
    assert!(heard[0].1.contains(&format!("\r\nhost: localhost:{port}\r\n")), "{}", heard[0].1);
    assert!(heard[1].1.contains(&format!("\r\nhost: [::1]:{port}\r\n")), "{}", heard[1].1);
}

#[test]
fn addresses_are_read_as_they_are_written() {
    let stop = Stop::new().unwrap();
    for (address, host, port, authority) in [
        ("http://h:8500", "h", Some(8500), "h:8500"),
        ("http://h", "h", Some(80), "h"),
        ("https://h", "h", Some(443), "h"),
        ("https://[fe80::1]", "fe80::1", Some(443), "[fe80::1]"),
        ("http://[::1]:1", "::1", Some(1), "[::1]:1"),
        ("unix:///run/a:b", "/run/a:b", Some(80), "localhost"),
        ("http://h:65536", "h", None, "h:65536"),
    ] {
        let s = Server::new(address, &Tls::default(), &stop);
        assert_eq!((s.host.as_str(), s.port, s.authority.as_str()), (host, port, authority), "{address}");
        assert_eq!((s.tls.is_some(), s.name.as_str()), (address.starts_with("https"), address));
    }
}

#[test]
fn who_is_not_there_is_named_in_words() {
    let stop = Stop::new().unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let why = |address: &str| Server::new(address, &Tls::default(), &stop).ask("GET", "/", &[], b"", LONG).unwrap_err();
    assert_eq!(why(&format!("http://{gone}")), "Connection refused");
    assert_eq!(why("http://no-such-host.invalid:1"), "the host name does not resolve");
    assert_eq!(why("http://:1"), "the host name does not resolve");
    assert_eq!(why("unix:///no/such/socket"), "No such file or directory");
}

#[test]
fn a_unix_socket_is_a_server_like_any_other() {
    let folder = crate::source::bed::TempDir::new("http");
    let path = folder.path("s");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let peer = spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        for _ in 0..2 {
            let mut got = Vec::new();
            while !got.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                got.push(byte[0]);
            }
            stream.write_all(OK).unwrap();
            heard.push(String::from_utf8(got).unwrap());
        }
        heard
    });
    let stop = Stop::new().unwrap();
    let server = Server::new(&format!("unix://{}", path.display()), &Tls::default(), &stop);
    for _ in 0..2 {
        assert_eq!(server.get("/x", &[], LONG, LONG).unwrap().body, b"ok");
    }
    let heard = peer.join().unwrap();
    assert!(heard.iter().all(|h| h.starts_with("GET /x HTTP/1.1\r\nhost: localhost\r\n")), "{heard:?}");
}

/// Runs it on a thread of its own, and all is stopped once `ready`; what it came to, and how long that took.
fn stopped(
    address: String,
    ask: impl FnOnce(&Server) -> Result<(), String> + Send + 'static,
    ready: impl FnOnce(&JoinHandle<(Result<(), String>, Instant)>),
) -> (Result<(), String>, Millis) {
    let stop = Stop::new().unwrap();
    let theirs = stop.clone();
    let thread = spawn(move || {
        let server = Server::new(&address, &Tls::default(), &theirs);
        let first = ask(&server);
        let at = Instant::now();
        // A call made after the stop fails, too.
        if stop_is_told(&theirs) {
            let again = server.ask("GET", "/again", &[], b"", LONG);
            assert_eq!(again, Err("stopped".to_string()));
        }
        (first, at)
    });
    ready(&thread);
    let begin = Instant::now();
    stop.now();
    let (result, at) = thread.join().unwrap();
    (result, u64::try_from(at.saturating_duration_since(begin).as_millis()).unwrap())
}

fn stop_is_told(stop: &Stop) -> bool {
    stop.sleep(0)
}

#[test]
fn a_stop_ends_what_waits_at_once() {
    // For a connection.
    let (hole, _held) = silent("127.0.0.1:0");
    let address = format!("http://{}", hole.local_addr().unwrap());
    let at = hole.local_addr().unwrap().port();
    let all = vec![
        (
            "connect",
            stopped(
                address,
                |s| s.ask("GET", "/", &[], b"", LONG).map(drop),
                // Until the kernel shows a connection that is being made.
                |_| until(|| syn_sent(at)),
            ),
        ),
        ("head", {
            let fake = Fake::new(vec![vec![Hear, Wait]]);
            let address = format!("http://{}", fake.address);
            stopped(address, |s| s.ask("GET", "/", &[], b"", LONG).map(drop), |_| until(|| !fake.asked().is_empty()))
        }),
        ("body", {
            let fake = Fake::new(vec![vec![Hear, say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), Wait]]);
            let address = format!("http://{}", fake.address);
            let (tell, told) = channel();
            let ask = move |s: &Server| {
                let stream = s.call("GET", "/", &[], b"", LONG)?;
                tell.send(()).unwrap();
                stream.rest(LONG).map(drop)
            };
            stopped(address, ask, |_| told.recv_timeout(Duration::from_millis(LONG)).unwrap())
        }),
        ("request", {
            // The other side reads one byte, then nothing: the request fills all buffers.
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            let ask = |s: &Server| s.ask("PUT", "/", &[], &vec![0; 32 << 20], LONG).map(drop);
            stopped(address, ask, |_| {
                let (mut stream, _) = listener.accept().unwrap();
                stream.read_exact(&mut [0]).unwrap();
                std::mem::forget(stream);
            })
        }),
    ];
    for (name, (result, took)) in all {
        assert_eq!(result, Err("stopped".to_string()), "{name}");
        assert!(took < LONG / 2, "{name}: {took} ms");
    }
}

fn until(is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(took(begin) < LONG, "waited in vain");
        sleep(Duration::from_millis(2));
    }
}

/// Whether a connection to this port of 127.0.0.1 is being made (proc(5): the state is 02).
fn syn_sent(port: u16) -> bool {
    let to = format!("0100007F:{port:04X} 02 ");
    std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&to)
}
