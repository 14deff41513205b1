//! source/http beside ureq, which did its work before: the same odd answers, made by a grammar, come to the same status
//! and body, or to an error, at both. Where they differ it stands here why.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    unsafe_code,
    missing_docs,
    dead_code
)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::spawn;

use pilotfish::plan::Tls;
use pilotfish::source::Stop;
use pilotfish::source::http::Server;

/// A generator of numbers: the same ones in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % n
    }
    fn one<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
    /// One in `n`.
    fn rarely(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

const STATUS: &[&str] = &[
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 404 Not Found",
    "HTTP/1.1 500",
    "HTTP/1.0 200 OK",
    "HTTP/1.1 204 No Content",
    "HTTP/1.1 304 Not Modified",
    "HTTP/1.1 307 Temporary Redirect",
    "HTTP/1.1 600 More",
    "HTTP/1.1 099 Less",
    "HTTP/1.1 20 Short",
    "HTTP/1.2 200 OK",
    "HTTP/2 200 OK",
    "http/1.1 200 OK",
    "HTTP/1.1  200 OK",
    "ICY 200 OK",
];
const HEADERS: &[&str] = &[
    "Server: x",
    "Connection: close",
    "Connection: keep-alive",
    "X-Empty:",
    "X-Tab:\ta\tb",
    "X-High: \u{e9}",
    "Set-Cookie: a=b",
    "Location: http://127.0.0.1:1/",
];
const ODD_HEADERS: &[&str] = &[
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: Chunked",
    "Content-Length: 3",
    "Content-Length: 0",
    "Content-Length: 99",
    "Content-Length: 3, 3",
    "Content-Length: 3, 4",
    "Content-Length: 03",
    "Content-Length: x",
    "Content-Length: -1",
    "Content-Length: 99999999999999999999",
    "Bad Name: x",
    ": no name",
    "no colon",
    " folded",
    "X-Control: a\u{1}b",
    "",
];

/// A body in chunks, mostly well made.
fn chunks(dice: &mut Dice) -> String {
    let mut out = String::new();
    for _ in 0..dice.below(4) {
        let data = "abcdefghijklmnopqrstuvwxyz"[..1 + dice.below(20)].to_string();
        let said = data.len() + usize::from(dice.rarely(12));
        out.push_str(&match dice.below(3) {
            0 => format!("{said:x}"),
            1 => format!("{said:X}"),
            _ => format!("000{said:x}"),
        });
        out.push_str(dice.one(&["", "", "", ";a", ";a=\"b\"", " "]));
        out.push_str(if dice.rarely(12) { dice.one(&["\r", "x\r\n", "\r\n\r\n"]) } else { "\r\n" });
        out.push_str(&data);
        out.push_str(if dice.rarely(12) { dice.one(&["", "x\r\n", "\r\n\r\n"]) } else { "\r\n" });
    }
    out.push_str(dice.one(&[
        "0\r\n\r\n",
        "0\r\n\r\n",
        "0\r\n\r\n",
        "00\r\nX: y\r\n\r\n",
        "0;a\r\nX: y\r\nZ: 1\r\n\r\n",
        "",
        "0\r\n",
        "g\r\n",
    ]));
    out
}

fn answer(dice: &mut Dice) -> String {
    let end = if dice.rarely(10) { "\n" } else { "\r\n" };
    let mut out = String::new();
    let status = if !dice.rarely(4) { STATUS[0] } else { dice.one(STATUS) };
    out.push_str(status);
    out.push_str(end);
    for _ in 0..dice.below(4) {
        out.push_str(if dice.rarely(4) { dice.one(ODD_HEADERS) } else { dice.one(HEADERS) });
        out.push_str(end);
    }
    let body = match dice.below(3) {
        0 => {
            out.push_str("Transfer-Encoding: chunked");
            out.push_str(end);
            chunks(dice)
        }
        1 => {
            let body = "0123456789"[..dice.below(11)].to_string();
            out.push_str(&format!("Content-Length: {}{end}", body.len()));
            body
        }
        _ => dice.one(&["", "abc", "3\r\nabc\r\n0\r\n\r\n", "some text"]).to_string(),
    };
    out.push_str(end);
    out.push_str(&body);
    if dice.rarely(12) {
        let mut at = dice.below(out.len() + 1);
        while !out.is_char_boundary(at) {
            at -= 1;
        }
        out.truncate(at);
    }
    out
}

/// Why ours may differ from ureq's.
fn reason(answer: &str, ours: &Got) -> Option<&'static str> {
    let head = answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
    let codings = head.matches("transfer-encoding:").count();
    let is_refused = matches!(ours, Err(why) if why == "the answer is no HTTP");
    if codings > 1 && is_refused {
        return Some("chunks in chunks are refused (RFC 9112, section 6.1)");
    }
    if codings > 0 && ours.is_ok() && !answer.ends_with("\r\n\r\n") {
        return Some("cut behind the chunk of no length: all of the body has come");
    }
    let is_old = codings > 0 && head.starts_with("http/1.0");
    is_old.then_some("HTTP/1.0 has no chunks: ureq takes them for the body, we for what they are")
}

type Got = Result<(u16, Vec<u8>), String>;

#[test]
fn odd_answers_come_to_the_same() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let answers: Vec<String> = (0..3_000).map(|_| answer(&mut dice)).collect();
    let answers = Arc::new(answers);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let said = answers.clone();
    spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut some = [0; 1024];
                match stream.read(&mut some) {
                    Ok(n) if n > 0 => request.extend_from_slice(&some[..n]),
                    _ => break,
                }
            }
            // The path is the answer's number.
            let text = String::from_utf8(request).unwrap();
            let number: usize = text.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            let _ = stream.write_all(said[number].as_bytes());
        }
    });
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(std::time::Duration::from_secs(20)))
        .build();
    let agent = ureq::Agent::new_with_config(config);
    let stop = Stop::new().unwrap();
    let (mut good, mut bad, mut known, mut wrong) = (0, 0, 0, Vec::new());
    for (n, answer) in answers.iter().enumerate() {
        // Each on a connection of its own: what is left of one answer is no part of the next.
        let ours: Got = Server::new(&base, &Tls::default(), &stop).ask("GET", &format!("/{n}"), &[], b"", 20_000);
        let theirs: Got = agent
            .get(format!("{base}/{n}"))
            .header("connection", "close")
            .call()
            .and_then(|mut r| Ok((r.status().as_u16(), r.body_mut().read_to_vec()?)))
            .map_err(|e| e.to_string());
        match (&ours, &theirs) {
            (Ok(a), Ok(b)) if a == b => good += 1,
            (Err(_), Err(_)) => bad += 1,
            _ if reason(answer, &ours).is_some() => known += 1,
            _ => wrong.push(format!("{answer:?}\n  ours:   {ours:?}\n  theirs: {theirs:?}")),
        }
    }
    eprintln!("{good} the same, {bad} refused by both, {known} differ for a reason");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    assert!(good > 1_000 && bad > 500 && known < 100, "{good} the same, {bad} refused by both, {known} differ");
}
