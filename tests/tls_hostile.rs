//! Servers that mean no good, before, in and behind the TLS handshake: garbage, silence, floods, lengths that lie, chains
//! without an end, bodies cut short. Each is given up in a bounded time and memory with a message of its own, and a good
//! server that stands there later is followed.

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

mod kv;
#[path = "tls/peer.rs"]
mod peer;
mod util;

use kv::*;
use peer::*;
use pilotfish::tls::provider::provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::Instant;
use util::*;

/// The longest that anything here may take until it is said: the time-outs of connecting and of a first answer.
const BOUND: std::time::Duration = secs(30);
/// The most memory (VmHWM): a megabyte or two more than with a good server.
const MOST: u64 = 12 << 20;

/// What the server has: certificates as DER, and the key.
struct Shown {
    chain: Vec<Vec<u8>>,
    key: Arc<dyn SigningKey>,
    /// A certificate by nobody, and many that may lead to its issuer.
    maze: Vec<Vec<u8>>,
    root: Cert,
    good: Cert,
    _pki: Pki,
}

fn shown() -> Arc<Shown> {
    let pki = Pki::new();
    let root = pki.root(&Ask::authority("root"));
    let good = pki.issue(&root, &Ask::server("IP:127.0.0.1"));
    let key = PrivateKeyDer::Pkcs8(der(&good.key).remove(0).into());
    let key = provider().key_provider.load_private_key(key).unwrap();
    let mut maze = Vec::new();
    for _ in 0..90 {
        let above = pki.root(&Ask::authority("maze"));
        if maze.is_empty() {
            maze.extend(der(&pki.issue(&above, &Ask::server("IP:127.0.0.1")).cert));
        } else {
            maze.extend(der(&above.cert));
        }
    }
    Arc::new(Shown { maze, chain: der(&good.cert), key, root, good, _pki: pki })
}

/// The blocks of a PEM file.
fn der(path: &std::path::Path) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("-----BEGIN ").skip(1);
    blocks
        .map(|b| {
            let body: String = b.lines().skip(1).take_while(|l| !l.starts_with("-----")).collect();
            pilotfish::base64::decode(&body).unwrap()
        })
        .collect()
}

/// A connection to misbehave on. Its calls end quietly when the other side hangs up.
struct Line {
    stream: TcpStream,
    stop: Arc<AtomicBool>,
    shown: Arc<Shown>,
}

impl Line {
    /// Sends it; says whether the other side still takes it.
    fn send(&mut self, bytes: &[u8]) -> bool {
        !self.stop.load(Ordering::SeqCst) && self.stream.write_all(bytes).is_ok()
    }
    /// The same bytes for as long as they are taken.
    fn flood(&mut self, bytes: &[u8]) {
        while self.send(bytes) {}
    }
    /// Until the other side hangs up.
    fn wait(&mut self) {
        let _ = std::io::copy(&mut self.stream, &mut std::io::sink());
    }
    /// The message of the first record: a ClientHello.
    fn hello(&mut self) -> Vec<u8> {
        let mut head = [0; 5];
        if self.stream.read_exact(&mut head).is_err() {
            return Vec::new();
        }
        let mut body = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        let _ = self.stream.read_exact(&mut body);
        body
    }
    /// After a ServerHello that is good.
    fn peer(&mut self) -> Peer {
        let hello = self.hello();
        let (peer, said) = Peer::answer(&provider(), &hello).expect("a ClientHello with X25519");
        self.send(&said);
        peer
    }
    /// After a handshake that is good.
    fn ready(&mut self) -> Peer {
        let mut peer = self.peer();
        let shown = Arc::clone(&self.shown);
        let flight = peer.good_flight(&shown.chain, &*shown.key);
        self.send(&flight);
        peer
    }
}

type Deed = fn(&mut Line);

/// Does the deed to whoever comes, until it is told to pass all on to a good server.
struct Hostile {
    port: u16,
    good: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    came: Arc<AtomicUsize>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    _server: TlsServer,
}

impl Hostile {
    fn start(shown: &Arc<Shown>, deed: Deed) -> Hostile {
        let server = TlsServer::start(&shown.good, &[]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (good, stop, came) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let hostile = Hostile { port, good, stop, came, open, _server: server };
        let (good, stop, came) = (hostile.good.clone(), hostile.stop.clone(), hostile.came.clone());
        let (open, shown, behind) = (hostile.open.clone(), shown.clone(), hostile._server.port);
        spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                came.fetch_add(1, Ordering::SeqCst);
                open.lock().unwrap().push(stream.try_clone().unwrap());
                let (stop, shown) = (stop.clone(), shown.clone());
                if good.load(Ordering::SeqCst) {
                    let to = TcpStream::connect(("127.0.0.1", behind)).unwrap();
                    for (mut from, mut to) in [(stream.try_clone().unwrap(), to.try_clone().unwrap()), (to, stream)] {
                        spawn(move || {
                            let _ = std::io::copy(&mut from, &mut to);
                            let _ = to.shutdown(Shutdown::Write);
                        });
                    }
                } else {
                    spawn(move || {
                        let mut line = Line { stream, stop, shown };
                        deed(&mut line);
                        let _ = line.stream.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        hostile
    }
    fn becomes_good(&self) {
        self.good.store(true, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        for stream in self.open.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Most memory the process ever had, in bytes.
fn peak_memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or("");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Each of these at once: it is said what is wrong, soon, once, in little memory; then the good server is followed.
fn each(deeds: &[(&'static str, &'static str, Deed)]) {
    let shown = shown();
    let failed: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for (name, said, deed) in deeds {
            let (shown, failed) = (&shown, &failed);
            scope.spawn(move || {
                let hostile = Hostile::start(shown, *deed);
                let fish = Setup::new(&format!("consul+https://127.0.0.1:{}", hostile.port))
                    .file("f", &["/app"], "{{ getv \"/app/v\" }}")
                    .args(&["--ca", shown.root.cert()])
                    .spawn();
                let wrong = |what: &str| {
                    failed.lock().unwrap().push(format!("{name}: {what}\n{}", fish.proc.report()));
                };
                let line = wait_line(&fish, "ERROR cannot read", LONG);
                let Some(line) = line else { return wrong("no outage was said") };
                let took = line.at.duration_since(fish.proc.started());
                // Tried again and again: what one try leaves behind would add up.
                wait_until(secs(120), "three tries", || (fish.count("; next try in ") >= 3).then_some(()));
                let memory = peak_memory(fish.proc.pid());
                eprintln!("{name}: said after {took:?}, at most {} KiB: {}", memory >> 10, line.text);
                if took > BOUND {
                    wrong(&format!("it took {took:?}"));
                }
                if memory > MOST + emulator_memory() {
                    wrong(&format!("it took {} KiB of memory", memory >> 10));
                }
                if !line.text.contains(said) {
                    wrong(&format!("it does not say {said:?} but {:?}", line.text));
                }
                if fish.count("ERROR cannot read") != 1 {
                    wrong("the outage was said more than once");
                }
                hostile.becomes_good();
                let until = Instant::now() + secs(60);
                while fish.text("f").as_deref() != Some(OVER_TLS) && Instant::now() < until {
                    sleep(millis(10));
                }
                if fish.text("f").as_deref() != Some(OVER_TLS) {
                    return wrong("the good server is not followed");
                }
                if wait_line(&fish, " answers again after ", LONG).is_none() {
                    wrong("the end of the outage was not said");
                }
                fish.proc.signal(libc::SIGTERM);
                if fish.proc.wait_exit(secs(20)) != Exit::Code(0) {
                    wrong("it should end well");
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

fn wait_line(fish: &Fish, pattern: &str, deadline: std::time::Duration) -> Option<util::Line> {
    let until = Instant::now() + deadline;
    loop {
        match fish.proc.lines_matching(pattern).first() {
            Some(line) => return Some(line.clone()),
            None if Instant::now() > until || fish.proc.exited().is_some() => return None,
            None => sleep(millis(5)),
        }
    }
}

const NO_TLS: &str = "the server does not speak TLS";
const BREAKS: &str = "the server does not keep to TLS";
const LATE: &str = "time";
const CUT: &str = "the connection";

#[test]
fn who_speaks_no_tls_is_told_from_who_says_nothing() {
    each(&[
        ("closes at once", CUT, |_| {}),
        ("closes after the hello", CUT, |l| drop(l.hello())),
        ("garbage", NO_TLS, |l| {
            l.hello();
            l.flood(&[0x99; 4096]);
        }),
        ("plain HTTP", NO_TLS, |l| {
            l.hello();
            l.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            l.wait();
        }),
        ("SSH", NO_TLS, |l| {
            l.send(b"SSH-2.0-OpenSSH_9.2\r\n");
            l.wait();
        }),
        ("silence", LATE, |l| l.wait()),
        ("half a record", LATE, |l| {
            let hello = record(HANDSHAKE, &server_hello(&[7; 32], &[9; 32]));
            l.send(&hello[..hello.len() / 2]);
            l.wait();
        }),
        ("half a ServerHello", LATE, |l| {
            let hello = server_hello(&[7; 32], &[9; 32]);
            l.send(&record(HANDSHAKE, &hello[..hello.len() / 2]));
            l.wait();
        }),
        ("a byte a second", LATE, |l| {
            for byte in record(HANDSHAKE, &server_hello(&[7; 32], &[9; 32])) {
                if !l.send(&[byte]) {
                    return;
                }
                sleep(secs(1));
            }
        }),
        ("a fragment a second", LATE, |l| {
            for byte in server_hello(&[7; 32], &[9; 32]) {
                if !l.send(&record(HANDSHAKE, &[byte])) {
                    return;
                }
                sleep(secs(1));
            }
        }),
    ]);
}

#[test]
fn floods_and_lies_before_encryption_are_ended() {
    each(&[
        ("alerts of 16 KB", NO_TLS, |l| {
            l.hello();
            l.flood(&record(ALERT, &[1; 16384]));
        }),
        ("warnings", BREAKS, |l| {
            l.hello();
            l.flood(&record(ALERT, &[1, 90]));
        }),
        ("an alert of its own", "alert 80", |l| {
            l.hello();
            l.send(&record(ALERT, &[2, 80]));
            l.wait();
        }),
        ("nothing, often", NO_TLS, |l| {
            l.hello();
            l.flood(&record(HANDSHAKE, &[]));
        }),
        ("changes of cipher", BREAKS, |l| {
            l.hello();
            l.flood(&record(CHANGE_CIPHER_SPEC, &[1]));
        }),
        ("a record of 64 KB", NO_TLS, |l| {
            l.hello();
            l.flood(&[&[HANDSHAKE, 3, 3, 0xff, 0xff][..], &[0; 65535]].concat());
        }),
        ("a ServerHello of 16 MB", NO_TLS, |l| {
            l.hello();
            l.send(&record(HANDSHAKE, &[2, 0xff, 0xff, 0xff]));
            l.flood(&record(HANDSHAKE, &[0; 16384]));
        }),
        ("data before all else", BREAKS, |l| {
            l.hello();
            l.flood(&record(DATA, &[0; 1024]));
        }),
        ("a hello of the client", BREAKS, |l| {
            let hello = l.hello();
            l.send(&record(HANDSHAKE, &hello));
            l.wait();
        }),
        ("a share that is none", BREAKS, |l| {
            let hello = l.hello();
            // An element of small order: the result is zero whatever the other side has chosen (RFC 7748, 6.1).
            l.send(&record(HANDSHAKE, &server_hello(&hello[39..71], &[0; 32])));
            l.wait();
        }),
    ]);
}

#[test]
fn floods_and_lies_inside_the_handshake_are_ended() {
    each(&[
        ("a damaged record", "damaged", |l| {
            let mut peer = l.peer();
            let mut said = peer.say(&message(ENCRYPTED_EXTENSIONS, &[0, 0]));
            *said.last_mut().unwrap() ^= 1;
            l.send(&said);
            l.wait();
        }),
        ("a certificate of 16 MB", BREAKS, |l| {
            let mut peer = l.peer();
            l.send(&peer.say(&message(ENCRYPTED_EXTENSIONS, &[0, 0])));
            l.send(&peer.seal(HANDSHAKE, &[CERTIFICATE, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0xfb]));
            while l.send(&peer.seal(HANDSHAKE, &[0; 16000])) {}
        }),
        ("a chain of 90 that leads nowhere", "certificate", |l| {
            // All have the name of the one who should have signed, so that each may have: the search has an end.
            let mut peer = l.peer();
            l.send(&peer.say(&message(ENCRYPTED_EXTENSIONS, &[0, 0])));
            for part in certificate(&l.shown.maze).chunks(16000) {
                l.send(&peer.say(part));
            }
            let verify = peer.verify(&*l.shown.key);
            l.send(&peer.say(&verify));
            l.wait();
        }),
        ("certificates without an end", BREAKS, |l| {
            let mut peer = l.peer();
            l.send(&peer.say(&message(ENCRYPTED_EXTENSIONS, &[0, 0])));
            let all = certificate(&l.shown.chain);
            while l.send(&peer.say(&all)) {}
        }),
        ("extensions without an end", BREAKS, |l| {
            let mut peer = l.peer();
            while l.send(&peer.say(&message(ENCRYPTED_EXTENSIONS, &[0, 0]))) {}
        }),
        ("nothing, encrypted, often", BREAKS, |l| {
            let mut peer = l.peer();
            while l.send(&peer.seal(HANDSHAKE, &[])) {}
        }),
        ("half the flight, then silence", LATE, |l| {
            let mut peer = l.peer();
            l.send(&peer.say(&message(ENCRYPTED_EXTENSIONS, &[0, 0])));
            l.send(&peer.say(&certificate(&l.shown.chain)));
            l.wait();
        }),
        ("a proof by another key", "has not the key", |l| {
            let mut peer = l.peer();
            l.send(&peer.say(&message(ENCRYPTED_EXTENSIONS, &[0, 0])));
            // A good signature, but of an earlier moment of the handshake.
            let verify = peer.verify(&*l.shown.key);
            l.send(&peer.say(&certificate(&l.shown.chain)));
            l.send(&peer.say(&verify));
            l.wait();
        }),
        ("no certificate", BREAKS, |l| {
            let mut peer = l.peer();
            l.send(&peer.say(&message(ENCRYPTED_EXTENSIONS, &[0, 0])));
            l.send(&peer.say(&certificate(&[])));
            let verify = peer.verify(&*l.shown.key);
            l.send(&peer.say(&verify));
            l.wait();
        }),
        ("no proof", BREAKS, |l| {
            let mut peer = l.peer();
            l.send(&peer.say(&message(ENCRYPTED_EXTENSIONS, &[0, 0])));
            l.send(&peer.say(&certificate(&l.shown.chain)));
            let finished = peer.finished();
            l.send(&peer.say(&finished));
            l.wait();
        }),
        ("no certificate and no proof", BREAKS, |l| {
            let mut peer = l.peer();
            l.send(&peer.say(&message(ENCRYPTED_EXTENSIONS, &[0, 0])));
            let finished = peer.finished();
            l.send(&peer.say(&finished));
            l.wait();
        }),
    ]);
}

#[test]
fn floods_and_lies_behind_the_handshake_are_ended() {
    each(&[
        ("silence behind the handshake", LATE, |l| {
            l.ready();
            l.wait();
        }),
        ("alerts behind the handshake", BREAKS, |l| {
            let mut peer = l.ready();
            while l.send(&peer.seal(ALERT, &[1, 90])) {}
        }),
        ("tickets without an end", LATE, |l| {
            let mut peer = l.ready();
            let body = [&[0, 0, 1, 0, 1, 2, 3, 4, 1, 7, 0x10, 0][..], &[9; 0x1000], &[0, 0]].concat();
            let ticket = message(NEW_SESSION_TICKET, &body);
            while l.send(&peer.seal(HANDSHAKE, &ticket)) {}
        }),
        ("no data, often", BREAKS, |l| {
            let mut peer = l.ready();
            while l.send(&peer.seal(DATA, &[])) {}
        }),
        ("a head without an end", "head is larger", |l| {
            let mut peer = l.ready();
            l.send(&peer.seal(DATA, b"HTTP/1.1 200 OK\r\nA: "));
            while l.send(&peer.seal(DATA, &[b'x'; 4096])) {}
        }),
        ("a byte a second, encrypted", LATE, |l| {
            let mut peer = l.ready();
            for byte in b"HTTP/1.1 200 OK\r\nX-Consul-Index: 1\r\nContent-Length: 2\r\nA: aaaaaaaaaaaaaaaaaaaaaaaa" {
                if !l.send(&peer.seal(DATA, &[*byte])) {
                    return;
                }
                sleep(secs(1));
            }
        }),
        ("another handshake", BREAKS, |l| {
            let mut peer = l.ready();
            l.send(&peer.seal(HANDSHAKE, &server_hello(&[7; 32], &[9; 32])));
            l.wait();
        }),
        // Whoever stands between can cut a connection, but cannot say that this was the end.
        ("a body cut off", CUT, |l| {
            let mut peer = l.ready();
            l.send(&peer.seal(DATA, b"HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nConnection: close\r\n\r\n[]"));
            // Wait for the request, so that what is sent is read before the end is seen.
            let _ = l.stream.read(&mut [0; 4096]);
        }),
        ("damaged data", "damaged", |l| {
            let mut peer = l.ready();
            let mut said = peer.seal(DATA, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]");
            said[20] ^= 1;
            l.send(&said);
            l.wait();
        }),
    ]);
}
