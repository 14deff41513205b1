//! TLS for the clients of servers: what is trusted and shown is read from files, again when they change; each connection
//! gets a session of rustls, TLS 1.3 and nothing older; what goes wrong is told in words. How bytes travel and how long
//! they may take, it does not know.
//!
//! Against a peer's greed: rustls takes no record above 16 KiB and no handshake message above 64 KiB, webpki no chain of
//! more than six, and the wire's deadline holds for the whole handshake.

mod certificate;
pub mod der;
pub mod name;
mod pem;
pub mod provider;
mod trust;

use std::fs::Metadata;
use std::io::{self, Error, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{AlertDescription, ClientConfig, ClientConnection, PeerIncompatible};
use zeroize::Zeroizing;

use crate::plan::{Pem, Tls};
use crate::sha::{self, Kind};
use crate::text::fill;
use certificate::{Certificate, date};
use trust::{Anchors, Trust};

/// A connection's two directions, each ending when its time is up.
pub trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// Most bytes of a file of certificates: a system's has 250,000.
const MAX_FILE: u64 = 16 << 20;
/// A certificate is spoken of when less than a tenth of its time is left, but not more than so many seconds ahead.
const AHEAD: i64 = 14 * 86_400;

/// So many certificates are remembered for those who ask.
const SEEN: usize = 16;

/// What the connections to one server, or to several that are trusted in the same way, have in common.
pub struct Context {
    tls: Tls,
    provider: Arc<CryptoProvider>,
    held: Mutex<Held>,
}

/// What was read, and from which state of the files.
#[derive(Default)]
struct Held {
    stamps: Vec<Stamp>,
    anchors: Option<Arc<Anchors>>,
    /// When our certificate is valid.
    ours: Option<[i64; 2]>,
    /// What is to be said, once.
    notes: Vec<String>,
    /// What was said.
    said: Vec<String>,
    /// When certificates that were seen end, in seconds since 1970; the latest first.
    ends: Vec<(String, i64)>,
}

/// A file as it was: its number, length and last change; nothing of a file that is not there.
type Stamp = Option<(u64, u64, i64, i64)>;

fn stamp(of: io::Result<Metadata>) -> Stamp {
    of.ok().map(|m| (m.ino(), m.len(), m.mtime(), m.mtime_nsec()))
}

/// All contexts in use: several watches of one source share the authorities they have read.
static SHARED: Mutex<Vec<std::sync::Weak<Context>>> = Mutex::new(Vec::new());

/// Whose certificates are in use, and when they end, in seconds since 1970.
#[inline(never)]
pub fn ends() -> Vec<(String, i64)> {
    let mut all: Vec<(String, i64)> = Vec::new();
    for context in SHARED.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(std::sync::Weak::upgrade) {
        for (whose, end) in &context.held.lock().unwrap_or_else(PoisonError::into_inner).ends {
            match all.iter_mut().find(|(other, _)| other == whose) {
                Some((_, first)) => *first = (*first).min(*end),
                None => all.push((whose.clone(), *end)),
            }
        }
    }
    all
}

impl Context {
    /// The context of these settings. Nothing is read yet.
    #[inline(never)]
    pub fn new(tls: &Tls) -> Arc<Context> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.retain(|c| c.strong_count() > 0);
        if let Some(same) = shared.iter().filter_map(std::sync::Weak::upgrade).find(|c| c.tls == *tls) {
            return same;
        }
        let new =
            Arc::new(Context { tls: tls.clone(), provider: Arc::new(provider::provider()), held: Mutex::default() });
        shared.push(Arc::downgrade(&new));
        new
    }

    /// Reads the files.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn check(&self) -> Result<(), String> {
        self.anchors().map(drop)
    }

    /// Whether the files are as they were when they were read.
    pub fn is_fresh(&self) -> bool {
        let now = stamps(&self.tls);
        self.held.lock().unwrap_or_else(PoisonError::into_inner).stamps == now
    }

    /// What is worth saying since it was asked last: certificates that end soon, files that cannot be used.
    pub fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner).notes)
    }

    fn note(&self, held: &mut Held, text: String) {
        if !held.said.contains(&text) {
            // A server whose certificates come and go must not fill the memory.
            held.said.truncate(15);
            held.said.insert(0, text.clone());
            held.notes.push(text);
        }
    }

    /// What the files hold now. Files that changed and cannot be used leave what was read before in place.
    ///
    /// # Errors
    /// They cannot be used, and could not before.
    #[inline(never)]
    fn anchors(&self) -> Result<Arc<Anchors>, String> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamps(&self.tls);
        if let (Some(anchors), true) = (&held.anchors, held.stamps == now) {
            return Ok(anchors.clone());
        }
        match (read(&self.tls, &self.provider), &held.anchors) {
            (Ok((anchors, ends)), _) => {
                let anchors = Arc::new(anchors);
                (held.stamps, held.anchors) = (now, Some(anchors.clone()));
                held.ours = ends;
                self.foretell_ours(&mut held);
                Ok(anchors)
            }
            (Err(why), Some(old)) => {
                let old = old.clone();
                self.note(&mut held, [&why, "; what was read before is used on"].concat());
                held.stamps = now;
                Ok(old)
            }
            (Err(why), None) => Err(why),
        }
    }

    fn foretell_ours(&self, held: &mut Held) {
        if let Some(valid) = held.ours {
            self.foretell(held, "the client certificate", valid);
        }
    }

    /// Says when a certificate has ended or soon will, and remembers it.
    #[inline(never)]
    fn foretell(&self, held: &mut Held, what: &str, [begin, end]: [i64; 2]) {
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
        held.ends.retain(|(whose, _)| whose != what);
        held.ends.insert(0, (what.to_string(), end));
        held.ends.truncate(SEEN);
        let ahead = (end.saturating_sub(begin) / 10).clamp(0, AHEAD);
        let pattern = match end.saturating_sub(now) {
            ..0 => "% expired on %",
            left if left <= ahead => "% expires on %",
            _ => return,
        };
        self.note(held, fill(pattern, &[what, &date(end)]));
    }

    /// A session with the server of this name, which has said nothing yet.
    ///
    /// # Errors
    /// The files cannot be used; the name is none.
    #[inline(never)]
    pub fn session(self: &Arc<Context>, host: &str) -> Result<Session, String> {
        let anchors = self.anchors()?;
        let host = self.tls.name.as_deref().unwrap_or(host);
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let name = match host.parse::<std::net::IpAddr>() {
            Ok(ip) => ServerName::IpAddress(ip.into()),
            Err(_) => match DnsName::try_from(host.trim_end_matches('.').to_string()) {
                Ok(name) => ServerName::DnsName(name),
                Err(_) => return Err(fill("\"%\" cannot be the name of a certificate", &[host])),
            },
        };
        let trust = Arc::new(Trust::new(anchors, host));
        let builder = ClientConfig::builder_with_provider(self.provider.clone());
        let Ok(builder) = builder.with_protocol_versions(&[&rustls::version::TLS13]) else {
            return Err("TLS 1.3 cannot be spoken".to_string());
        };
        let verified = builder.dangerous().with_custom_certificate_verifier(trust.clone());
        let mut config = verified.with_client_cert_resolver(trust.clone());
        config.resumption = Resumption::disabled();
        match ClientConnection::new(Arc::new(config), name) {
            Ok(conn) => Ok(Session { conn: Box::new(conn), trust, context: self.clone(), is_known: false }),
            Err(_) => Err("TLS cannot begin: no random numbers".to_string()),
        }
    }
}

/// What went wrong in words, if it is TLS that did.
pub fn why(e: &Error) -> Option<String> {
    (e.kind() == ErrorKind::InvalidData && e.get_ref().is_some()).then(|| e.to_string())
}

/// The places where systems keep the authorities they trust, in the order Go looks at them; the first file that is
/// there counts, else the first folder.
static FILES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
static FOLDERS: &[&str] = &["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// Where the authorities are read from: what is set, else what the environment says, else the system's.
fn authorities(tls: &Tls) -> Vec<Pem> {
    if !tls.ca.is_empty() || tls.insecure {
        return tls.ca.clone();
    }
    let mut found = Vec::new();
    if let Some(file) = std::env::var_os("SSL_CERT_FILE").filter(|f| !f.is_empty()) {
        found.push(Pem::File(PathBuf::from(file)));
    }
    if let Some(folders) = std::env::var_os("SSL_CERT_DIR").filter(|f| !f.is_empty()) {
        found.extend(std::env::split_paths(&folders).map(Pem::File));
    }
    if found.is_empty() {
        let there = FILES.iter().chain(FOLDERS).map(Path::new).find(|p| p.exists());
        found.extend(there.map(|p| Pem::File(p.to_path_buf())));
    }
    found
}

/// The files of a path: itself, or what lies in the folder it is.
fn files(path: &Path) -> Vec<PathBuf> {
    match std::fs::read_dir(path) {
        Ok(entries) => {
            let mut all: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.is_file()).collect();
            all.sort_unstable();
            all
        }
        Err(_) => vec![path.to_path_buf()],
    }
}

/// The state of all files.
#[inline(never)]
fn stamps(tls: &Tls) -> Vec<Stamp> {
    let mut found = Vec::new();
    let (cert, key) = tls.identity.as_ref().map_or((None, None), |(c, k)| (Some(c), Some(k)));
    for pem in authorities(tls).iter().chain(cert).chain(key) {
        if let Pem::File(path) = pem {
            found.extend(files(path).iter().map(|f| stamp(std::fs::metadata(f))));
        }
    }
    found
}

/// The text of a file, or the text that was given.
fn text(pem: &Pem) -> Result<Zeroizing<String>, String> {
    match pem {
        Pem::Text(text) => Ok(Zeroizing::new(text.clone())),
        Pem::File(path) => {
            let mut bytes = Zeroizing::new(Vec::new());
            let read = std::fs::File::open(path).and_then(|file| {
                // With room for all, so that growing leaves no copy of a key behind.
                let length = file.metadata()?.len().min(MAX_FILE);
                bytes.reserve_exact(usize::try_from(length).unwrap_or(0).saturating_add(1));
                file.take(MAX_FILE).read_to_end(&mut bytes)
            });
            if let Err(e) = read {
                return Err(fill("cannot read %: %", &[&path.to_string_lossy(), &crate::error::os_text(&e)]));
            }
            // The blocks are ASCII; what stands around them, in whatever encoding, does not count.
            bytes.iter_mut().filter(|b| !b.is_ascii()).for_each(|b| *b = b'?');
            Ok(Zeroizing::new(String::from_utf8(std::mem::take(&mut *bytes)).unwrap_or_default()))
        }
    }
}

fn shown(pem: &Pem) -> String {
    match pem {
        Pem::File(path) => path.to_string_lossy().into_owned(),
        Pem::Text(_) => "the given text".to_string(),
    }
}

/// The certificates of a text.
fn certificates(text: &str) -> impl Iterator<Item = CertificateDer<'static>> {
    let all = pem::blocks(text).into_iter().filter(|b| matches!(&*b.label, "CERTIFICATE" | "TRUSTED CERTIFICATE"));
    all.filter_map(|b| b.der).map(|mut der| CertificateDer::from(std::mem::take(&mut *der)))
}

/// Reads all files. Beside it: when our certificate is valid.
#[inline(never)]
fn read(tls: &Tls, provider: &CryptoProvider) -> Result<(Anchors, Option<[i64; 2]>), String> {
    let (mut roots, mut own, mut names) = (Vec::new(), Vec::new(), Vec::new());
    let sources = authorities(tls);
    for source in &sources {
        let before = own.len();
        let parts = match source {
            Pem::File(path) => files(path).into_iter().map(Pem::File).collect(),
            Pem::Text(_) => vec![source.clone()],
        };
        for part in &parts {
            // One file of a folder may be anything.
            let text = match text(part) {
                Err(why) if parts.len() == 1 => return Err(why),
                text => text.unwrap_or_default(),
            };
            for der in certificates(&text) {
                if let Ok(anchor) = webpki::anchor_from_trusted_cert(&der) {
                    own.push(sha::digest(Kind::Sha256, &[&der]));
                    // A server's own certificate is no authority: whoever has its key must not sign for other servers.
                    if Certificate::read(&der).is_none_or(|c| c.is_authority()) {
                        roots.push(anchor.to_owned());
                    }
                }
            }
        }
        if own.len() == before && !tls.ca.is_empty() {
            return Err(fill("% holds no certificate in PEM", &[&shown(source)]));
        }
        names.push(shown(source));
    }
    if own.is_empty() && !tls.insecure {
        return Err("there are no authorities to trust: this system has no file of them, and none is set".to_string());
    }
    let mut valid = None;
    let identity = match &tls.identity {
        None => None,
        Some((cert, key)) => {
            let (held, ends) = identity(cert, key, provider)?;
            valid = ends;
            Some(Arc::new(held))
        }
    };
    let algorithms = provider.signature_verification_algorithms;
    Ok((Anchors { roots, own, shown: names.join(", "), identity, algorithms, is_open: tls.insecure }, valid))
}

/// Our certificate and its key, which fit each other.
#[inline(never)]
fn identity(cert: &Pem, key: &Pem, provider: &CryptoProvider) -> Result<(CertifiedKey, Option<[i64; 2]>), String> {
    let chain: Vec<CertificateDer<'static>> = certificates(&text(cert)?).collect();
    let Some(own) = chain.first() else {
        return Err(fill("% holds no certificate in PEM", &[&shown(cert)]));
    };
    let at = shown(key);
    let mut found = None;
    for block in pem::blocks(&text(key)?) {
        let der = block.der.unwrap_or_default();
        let make = match block.label.as_str() {
            "PRIVATE KEY" => |d: Vec<u8>| PrivateKeyDer::Pkcs8(d.into()),
            "RSA PRIVATE KEY" => |d: Vec<u8>| PrivateKeyDer::Pkcs1(d.into()),
            "EC PRIVATE KEY" => |d: Vec<u8>| PrivateKeyDer::Sec1(d.into()),
            _ if !block.is_encrypted => continue,
            _ => |d: Vec<u8>| PrivateKeyDer::Pkcs8(d.into()),
        };
        if block.is_encrypted {
            let text =
                "the key in % is encrypted, and pilotfish asks for no passphrase; openssl pkey -in % writes it plain";
            return Err(fill(text, &[&at, &at]));
        }
        found = Some(make(der.to_vec()));
        break;
    }
    let Some(der) = found else { return Err(fill("% holds no private key in PEM", &[&at])) };
    let made: Arc<dyn SigningKey> = match provider.key_provider.load_private_key(der) {
        Ok(key) => key,
        Err(rustls::Error::General(why)) => return Err(fill("cannot use the private key in %: %", &[&at, &why])),
        Err(_) => return Err(fill("cannot use the private key in %: it is malformed", &[&at])),
    };
    if !fits(own, &*made) {
        return Err(fill("the private key in % does not belong to the certificate in %", &[&at, &shown(cert)]));
    }
    let valid = Certificate::read(own).map(|c| c.valid);
    Ok((CertifiedKey::new(chain, made), valid))
}

/// Whether the key's public half is the certificate's. Of version 1, which openssl makes where no extension is asked for,
/// it may be: servers take it, and it is theirs to judge.
fn fits(cert: &CertificateDer<'_>, key: &dyn SigningKey) -> bool {
    let ours = key.public_key();
    let ours = ours.as_ref().and_then(|key| der::only(key, der::SEQUENCE));
    ours.is_some() && ours == Certificate::read(cert).and_then(|c| c.key())
}

/// One connection's TLS.
pub struct Session {
    conn: Box<ClientConnection>,
    trust: Arc<Trust>,
    context: Arc<Context>,
    /// The server has answered something: it knows who we are.
    is_known: bool,
}

impl Session {
    /// Brings the handshake to its end.
    ///
    /// # Errors
    /// Those of the wire; `InvalidData` with a text for people when TLS fails.
    #[inline(never)]
    pub fn handshake(&mut self, wire: &mut dyn Wire) -> io::Result<()> {
        loop {
            self.flush(wire)?;
            if !self.conn.is_handshaking() {
                break;
            }
            if self.take(wire)? == 0 {
                return Err(self.cut(ErrorKind::UnexpectedEof.into()));
            }
        }
        self.look_ahead();
        Ok(())
    }

    /// Has it noted when their certificate or ours ends soon. Files stay as they are and a connection may live for months:
    /// it is to be asked again and again.
    #[inline(never)]
    pub fn look_ahead(&self) {
        let valid = [0, 1].map(|i: usize| self.trust.valid.get(i).map_or(0, |v| v.load(Ordering::Relaxed)));
        let mut held = self.context.held.lock().unwrap_or_else(PoisonError::into_inner);
        self.context.foretell(&mut held, &self.trust.whose(), valid);
        self.context.foretell_ours(&mut held);
    }

    /// Reads what the server says; 0 when it has said that this is all.
    ///
    /// # Errors
    /// As `handshake`; an end that was not announced is `UnexpectedEof`.
    #[inline(never)]
    pub fn read(&mut self, wire: &mut dyn Wire, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.conn.reader().read(into) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(self.cut(e)),
                read => {
                    self.is_known = true;
                    return read;
                }
            }
            self.flush(wire)?;
            self.take(wire)?;
        }
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// As `handshake`.
    #[inline(never)]
    pub fn write(&mut self, wire: &mut dyn Wire, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.conn.writer().write(bytes)?;
            bytes = bytes.get(taken..).unwrap_or(&[]);
            if let Err(e) = self.flush(wire) {
                // Why the server hung up, it may have said before.
                return match self.take(wire) {
                    Err(said) if said.kind() == ErrorKind::InvalidData => Err(said),
                    _ => Err(e),
                };
            }
        }
        Ok(())
    }

    /// Says goodbye, if the wire takes it.
    pub fn close(&mut self, wire: &mut dyn Wire) {
        self.conn.send_close_notify();
        let _ = self.flush(wire);
    }

    fn flush(&mut self, mut wire: &mut dyn Wire) -> io::Result<()> {
        while self.conn.wants_write() {
            if let Err(e) = self.conn.write_tls(&mut wire) {
                return Err(self.cut(e));
            }
        }
        Ok(())
    }

    /// Reads from the wire once and understands what came.
    fn take(&mut self, mut wire: &mut dyn Wire) -> io::Result<usize> {
        let n = match self.conn.read_tls(&mut wire) {
            Ok(n) => n,
            Err(e) => return Err(self.cut(e)),
        };
        if let Err(e) = self.conn.process_new_packets() {
            // The server is told, if it listens.
            let _ = self.conn.write_tls(&mut wire);
            return Err(Error::new(ErrorKind::InvalidData, self.words(&e)));
        }
        Ok(n)
    }

    /// A connection that was cut may have been cut because of who we are: servers check that last.
    fn cut(&self, e: Error) -> Error {
        let is_cut = matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
        match self.trust.shown() {
            Some(false) if is_cut && !self.is_known => Error::new(ErrorKind::InvalidData, NO_CERTIFICATE),
            _ => e,
        }
    }

    #[inline(never)]
    fn words(&self, e: &rustls::Error) -> String {
        use AlertDescription as A;
        use rustls::Error as E;
        let text = match e {
            E::InvalidCertificate(_) => return self.trust.said(),
            E::General(text) => text,
            E::InvalidMessage(_) if self.conn.protocol_version().is_none() => "the server does not speak TLS",
            E::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled,
            )
            | E::AlertReceived(A::ProtocolVersion) => OLD,
            E::PeerIncompatible(_) | E::AlertReceived(A::HandshakeFailure | A::InsufficientSecurity) => {
                "the server and pilotfish have no algorithms in common; pilotfish knows AES-GCM, X25519 and P-256, and \
                 keys of RSA, P-256 and P-384"
            }
            E::AlertReceived(alert) => return self.alert(*alert),
            E::DecryptError => "what came over TLS was damaged on its way",
            E::PeerSentOversizedRecord => "the server does not keep to TLS: a record is too long",
            _ => "the server does not keep to TLS",
        };
        text.to_string()
    }

    /// What the server has against us.
    fn alert(&self, alert: AlertDescription) -> String {
        use AlertDescription as A;
        let other = || fill("the server ended TLS with alert %", &[&u8::from(alert).to_string()]);
        let why = match alert {
            A::CertificateRequired => return NO_CERTIFICATE.to_string(),
            A::UnrecognisedName => return "the server has no certificate for this name".to_string(),
            A::UnknownCA => "it does not trust who issued it",
            A::CertificateExpired => "it has expired",
            A::CertificateRevoked => "it was revoked",
            A::BadCertificate | A::UnsupportedCertificate | A::CertificateUnknown => "it is not a good one",
            A::AccessDenied => "it may not do this",
            A::DecryptError => "its signature is wrong",
            _ => return other(),
        };
        match self.trust.shown() {
            Some(true) => fill("the server refuses our certificate: %", &[why]),
            Some(false) => NO_CERTIFICATE.to_string(),
            // It did not ask who we are.
            None => other(),
        }
    }
}

const NO_CERTIFICATE: &str = "the server wants a client certificate, and none is set";
const OLD: &str = "the server speaks TLS 1.2 or older only; pilotfish speaks TLS 1.3";
