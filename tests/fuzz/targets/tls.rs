//! The TLS client's input: the steps of a server, in any order, each encrypted with the keys of that moment, so that
//! what is odd is met behind the encryption too. Whatever the server does, the client ends with data or with words; data
//! comes only from who has shown the right certificate and proved that it has its key.
#![no_main]

#[path = "../../tls/peer.rs"]
mod peer;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, OnceLock};

use libfuzzer_sys::{Corpus, fuzz_target};
use peer::*;
use pilotfish::base64;
use pilotfish::plan::{Pem, Tls};
use pilotfish::tls::Context;
use pilotfish::tls::provider::provider;
use pilotfish_fuzz::{check_memory, limit_memory, write_seeds};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;

// Keys for nothing but this, valid until 2099.
const ROOT: &str = include_str!("../tls/root.pem");
const LEAF: &str = include_str!("../tls/leaf.pem");
const KEY: &str = include_str!("../tls/leaf.key");

/// What is made once.
struct World {
    context: Arc<Context>,
    provider: CryptoProvider,
    leaf: Vec<u8>,
    key: Arc<dyn SigningKey>,
}

fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|l| !l.starts_with("-----")).collect();
    base64::decode(&body).unwrap()
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let text = |t: &str| Pem::Text(t.to_string());
        let tls = Tls { ca: vec![text(ROOT)], identity: Some((text(LEAF), text(KEY))), ..Tls::default() };
        let provider = provider();
        let key = provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(der(KEY).into())).unwrap();
        World { context: Context::new(&tls), provider, leaf: der(LEAF), key }
    })
}

// What a step does; its bytes follow their length (one byte; for RAW two).
const RAW: u8 = 0;
const PLAIN_RECORD: u8 = 1;
const SEALED_RECORD: u8 = 2;
const MESSAGE: u8 = 3;
const CERTIFICATES: u8 = 4;
const VERIFY: u8 = 5;
const FINISH: u8 = 6;
const SWITCH: u8 = 7;
const DATA_RECORD: u8 = 8;
const EXTENSIONS: u8 = 9;
const FLIGHT: u8 = 10;
const DAMAGED_HELLO: u8 = 11;
const KINDS: u8 = 12;

/// The other end of the wire: it does one step whenever the client has read all there is.
struct Server<'a> {
    steps: &'a [u8],
    heard: Vec<u8>,
    out: VecDeque<u8>,
    peer: Option<Peer>,
    /// Most bytes of one read.
    piece: usize,
    /// The last certificates it showed were the good ones.
    is_genuine: bool,
    has_proved: bool,
    has_finished: bool,
}

impl<'a> Server<'a> {
    /// The client's first message.
    fn hello(&self) -> Option<&[u8]> {
        let length = usize::from(u16::from_be_bytes([*self.heard.get(3)?, *self.heard.get(4)?]));
        self.heard.get(5..5 + length)
    }

    /// Behind a ServerHello, which is said when it has not been.
    fn peer(&mut self) -> Option<&mut Peer> {
        if self.peer.is_none() {
            let (peer, said) = Peer::answer(&world().provider, self.hello()?)?;
            self.out.extend(said);
            self.peer = Some(peer);
        }
        self.peer.as_mut()
    }

    fn say(&mut self, message: &[u8]) {
        if let Some(peer) = self.peer() {
            let said = peer.say(message);
            self.out.extend(said);
        }
    }

    fn step(&mut self) -> Option<()> {
        let (kind, rest) = self.steps.split_first()?;
        let kind = kind % KINDS;
        let wide = if kind == RAW { 2 } else { 1 };
        let (length, rest) = rest.split_at_checked(wide)?;
        let length = length.iter().fold(0, |n, b| n << 8 | usize::from(*b)).min(rest.len());
        let (bytes, rest) = rest.split_at(length);
        self.steps = rest;
        let world = world();
        match kind {
            RAW => self.out.extend(bytes),
            PLAIN_RECORD => {
                let (kind, body) = bytes.split_first()?;
                self.out.extend(record(*kind, body));
            }
            SEALED_RECORD => {
                let (kind, body) = bytes.split_first()?;
                let said = self.peer()?.seal(*kind, body);
                self.out.extend(said);
            }
            MESSAGE => {
                let (kind, body) = bytes.split_first()?;
                self.say(&message(*kind, body));
            }
            CERTIFICATES => {
                // Each three bytes are a place and what is changed there.
                let mut leaf = world.leaf.clone();
                for change in bytes.chunks_exact(3) {
                    let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % leaf.len();
                    leaf[at] ^= change[2];
                }
                self.is_genuine = leaf == world.leaf;
                self.say(&certificate(&[leaf]));
            }
            VERIFY => {
                let mut said = self.peer()?.verify(&*world.key);
                for change in bytes.chunks_exact(2) {
                    let at = usize::from(change[0]) % said.len();
                    said[at] ^= change[1];
                }
                self.has_proved = true;
                self.say(&said);
            }
            FINISH => {
                let mut said = self.peer()?.finished();
                for change in bytes.chunks_exact(2) {
                    let at = usize::from(change[0]) % said.len();
                    said[at] ^= change[1];
                }
                self.has_finished = true;
                self.say(&said);
            }
            SWITCH => self.peer()?.switch(),
            DATA_RECORD => {
                let said = self.peer()?.seal(DATA, bytes);
                self.out.extend(said);
            }
            EXTENSIONS => self.say(&message(ENCRYPTED_EXTENSIONS, &[0, 0])),
            FLIGHT => {
                let said = self.peer()?.good_flight(&[world.leaf.clone()], &*world.key);
                self.out.extend(said);
                (self.is_genuine, self.has_proved, self.has_finished) = (true, true, true);
            }
            DAMAGED_HELLO => {
                let (_, mut said) = Peer::answer(&world.provider, self.hello()?)?;
                for change in bytes.chunks_exact(2) {
                    let at = usize::from(change[0]) % said.len();
                    said[at] ^= change[1];
                }
                self.out.extend(said);
            }
            _ => {}
        }
        Some(())
    }
}

impl Read for Server<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.out.is_empty() && !self.steps.is_empty() {
            if self.step().is_none() {
                self.steps = &[];
            }
        }
        let most = into.len().min(self.piece);
        self.out.read(&mut into[..most])
    }
}

impl Write for Server<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.heard.len() < 1 << 16 {
            self.heard.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let step = |kind: u8, bytes: &[u8]| [&[kind, bytes.len() as u8], bytes].concat();
    let raw = |bytes: &[u8]| [&[RAW][..], &(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let one_by_one = [
        step(EXTENSIONS, &[]),
        step(CERTIFICATES, &[]),
        step(VERIFY, &[]),
        step(FINISH, &[]),
        step(SWITCH, &[]),
        step(DATA_RECORD, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"),
    ]
    .concat();
    let request = [&[CERTIFICATE_REQUEST, 0, 0, 10, 0, 13, 0, 6, 0, 4, 4, 3, 8, 4][..]].concat();
    let mutual = [
        step(EXTENSIONS, &[]),
        step(MESSAGE, &request),
        step(CERTIFICATES, &[]),
        step(VERIFY, &[]),
        step(FINISH, &[]),
        step(SWITCH, &[]),
        step(DATA_RECORD, b"hello"),
    ]
    .concat();
    let flight = step(FLIGHT, &[]);
    let ticket =
        [&[HANDSHAKE, NEW_SESSION_TICKET, 0, 0, 16, 0, 0, 1, 0, 1, 2, 3, 4, 1, 7, 0, 2, 9, 9, 0, 0][..]].concat();
    let behind = [
        flight.clone(),
        step(SEALED_RECORD, &ticket),
        step(SEALED_RECORD, &[HANDSHAKE, KEY_UPDATE, 0, 0, 1, 1]),
        step(SEALED_RECORD, &[ALERT, 1, 0]),
    ]
    .concat();
    let mut all = vec![
        one_by_one,
        mutual,
        behind,
        raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        raw(&record(ALERT, &[2, 40])),
        [step(CHANGE_CIPHER_SPEC_STEP, &[CHANGE_CIPHER_SPEC, 1]), flight].concat(),
        step(DAMAGED_HELLO, &[6, 0xff]),
        [step(EXTENSIONS, &[]), step(CERTIFICATES, &[0, 40, 1]), step(VERIFY, &[]), step(FINISH, &[])].concat(),
        step(SEALED_RECORD, &[HANDSHAKE, CERTIFICATE, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0xfb]),
    ];
    // In front of all: how much is read at once.
    all.iter_mut().for_each(|seed| seed.insert(0, 255));
    all
}

/// A change of cipher is a plain record wherever it stands.
const CHANGE_CIPHER_SPEC_STEP: u8 = PLAIN_RECORD;

fuzz_target!(
    init: {
        limit_memory();
        write_seeds(seeds().into_iter());
    },
    |data: &[u8]| -> Corpus {
        let Some((piece, steps)) = data.split_first() else { return Corpus::Reject };
        let piece = if *piece < 8 { usize::from(*piece) + 1 } else { 1 << 14 };
        let mut server = Server {
            steps,
            heard: Vec::new(),
            out: VecDeque::new(),
            peer: None,
            piece,
            is_genuine: false,
            has_proved: false,
            has_finished: false,
        };
        let mut session = world().context.session("fuzz.test").unwrap();
        let shaken = session.handshake(&mut server);
        if shaken.is_ok() {
            assert!(server.is_genuine && server.has_proved && server.has_finished, "a false server was believed");
        }
        let result = shaken.and_then(|()| session.write(&mut server, b"GET / HTTP/1.1\r\n\r\n")).and_then(|()| {
            let (mut into, mut all) = ([0; 1024], 0);
            loop {
                match session.read(&mut server, &mut into)? {
                    0 => return Ok(all),
                    n => all += n,
                }
            }
        });
        match result {
            Ok(n) => assert!(n <= data.len(), "{n} bytes out of nothing"),
            Err(e) => {
                let text = pilotfish::tls::why(&e).unwrap_or_default();
                assert!(!text.contains(char::is_control), "a control character in {text:?}");
                assert!(text.len() < 4096, "an error of {} bytes", text.len());
            }
        }
        session.close(&mut server);
        check_memory();
        Corpus::Keep
    }
);
