//! Certificates made by the `openssl` command and TLS servers that are `openssl s_server`: real ones, so that nothing
//! of pilotfish's own is used to judge it. It decides nothing about who is to be trusted.

use super::{Cmd, Exit, Proc, TempDir, secs};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a key is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    P256,
    P384,
    P521,
    Rsa,
    /// 1,024 bits.
    ShortRsa,
    Ed25519,
}

/// How a key's file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `BEGIN PRIVATE KEY`.
    Pkcs8,
    /// `BEGIN RSA PRIVATE KEY` (PKCS#1) or `BEGIN EC PRIVATE KEY` (SEC1).
    Own,
}

/// What a certificate is to say.
#[derive(Clone)]
pub struct Ask<'a> {
    /// The common name; empty: none.
    pub name: &'a str,
    /// Subject alternative names (`IP:127.0.0.1,DNS:localhost`); empty: none.
    pub alt: &'a str,
    /// Extended key usage; empty: none.
    pub usage: &'a str,
    pub is_ca: bool,
    pub key: Key,
    pub form: Form,
    /// Valid from and to: seconds from now.
    pub from: i64,
    pub to: i64,
    /// What the issuer hashes with, where that is not what goes with its key.
    pub digest: &'a str,
}

pub const DAY: i64 = 86_400;

impl<'a> Ask<'a> {
    /// A server that has these names.
    pub fn server(alt: &'a str) -> Ask<'a> {
        let (from, to) = (-DAY, 30 * DAY);
        let (name, usage, key, form) = ("server", "serverAuth", Key::P256, Form::Pkcs8);
        Ask { name, alt, usage, is_ca: false, key, form, from, to, digest: "" }
    }
    /// A client.
    pub fn client(name: &'a str) -> Ask<'a> {
        Ask { name, usage: "clientAuth", ..Ask::server("") }
    }
    /// Who signs others.
    pub fn authority(name: &'a str) -> Ask<'a> {
        Ask { name, usage: "", is_ca: true, ..Ask::server("") }
    }
    pub fn key(self, key: Key) -> Ask<'a> {
        Ask { key, ..self }
    }
    pub fn form(self, form: Form) -> Ask<'a> {
        Ask { form, ..self }
    }
    pub fn valid(self, from: i64, to: i64) -> Ask<'a> {
        Ask { from, to, ..self }
    }
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Cert {
    /// The certificate and, below it, those that lead to its root (without the root).
    pub cert: PathBuf,
    pub key: PathBuf,
    /// The certificate alone, and those below it.
    own: PathBuf,
    rest: Option<PathBuf>,
    kind: Key,
    is_root: bool,
}

impl Cert {
    /// The path of the certificates as an argument.
    pub fn cert(&self) -> &str {
        self.cert.to_str().unwrap()
    }
    /// The path of the key as an argument.
    pub fn key(&self) -> &str {
        self.key.to_str().unwrap()
    }
    /// Without those below it.
    pub fn alone(&self) -> Cert {
        Cert { rest: None, ..self.clone() }
    }
    /// Puts copies of both where something reads them, each in one step.
    pub fn install(&self, cert: &Path, key: &Path) {
        for (from, to) in [(&self.key, key), (&self.cert, cert)] {
            let new = to.with_extension("new");
            std::fs::copy(from, &new).unwrap();
            std::fs::rename(&new, to).unwrap();
        }
    }
}

/// Makes certificates in a folder of its own.
pub struct Pki {
    pub dir: TempDir,
    next: AtomicU32,
}

impl Pki {
    pub fn new() -> Pki {
        let pki = Pki { dir: TempDir::new(), next: AtomicU32::new(0) };
        pki.dir.write("index", "");
        pki.dir.write(
            "ca.cnf",
            "[ca]\ndefault_ca = d\n[d]\ndatabase = index\nnew_certs_dir = .\nrand_serial = yes\nunique_subject = no\n\
             policy = p\n[p]\ncommonName = optional\norganizationName = optional\n[req]\ndistinguished_name = n\n[n]\n",
        );
        pki
    }
    /// A certificate that is its own issuer.
    pub fn root(&self, ask: &Ask) -> Cert {
        self.make(None, ask)
    }
    /// A certificate that `issuer` signs.
    pub fn issue(&self, issuer: &Cert, ask: &Ask) -> Cert {
        self.make(Some(issuer), ask)
    }
    /// The same key and names signed again.
    pub fn renew(&self, issuer: &Cert, cert: &Cert, ask: &Ask) -> Cert {
        let stem = self.stem(ask);
        std::fs::copy(&cert.key, self.dir.join(format!("{stem}.key"))).unwrap();
        self.sign(&stem, Some(issuer), ask)
    }

    fn stem(&self, ask: &Ask) -> String {
        let name: String = ask.name.chars().filter(char::is_ascii_alphanumeric).collect();
        format!("{}-{name}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn make(&self, issuer: Option<&Cert>, ask: &Ask) -> Cert {
        let stem = self.stem(ask);
        let file = format!("{stem}.key");
        let curve = |name: &'static str| vec!["-algorithm", "EC", "-pkeyopt", name];
        let kind = match ask.key {
            Key::P256 => curve("ec_paramgen_curve:P-256"),
            Key::P384 => curve("ec_paramgen_curve:P-384"),
            Key::P521 => curve("ec_paramgen_curve:P-521"),
            Key::Rsa => vec!["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            Key::ShortRsa => vec!["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
            Key::Ed25519 => vec!["-algorithm", "ED25519"],
        };
        self.run(&[&["genpkey", "-out", "new.key"][..], &kind].concat());
        let form: &[&str] = if ask.form == Form::Own { &["-traditional"] } else { &[] };
        self.run(&[&["pkey", "-in", "new.key", "-out", &file][..], form].concat());
        self.sign(&stem, issuer, ask)
    }

    fn sign(&self, stem: &str, issuer: Option<&Cert>, ask: &Ask) -> Cert {
        let [key, csr, own, ext, chain] = ["key", "csr", "crt", "cnf", "pem"].map(|end| format!("{stem}.{end}"));
        // A name has at least one part.
        let subject = if ask.name.is_empty() { "/O=nobody".into() } else { format!("/CN={}", ask.name) };
        self.run(&["req", "-config", "ca.cnf", "-new", "-key", &key, "-out", &csr, "-subj", &subject]);
        let mut lines = format!("basicConstraints = critical,CA:{}\n", if ask.is_ca { "TRUE" } else { "FALSE" });
        for (name, value) in [("subjectAltName", ask.alt), ("extendedKeyUsage", ask.usage)] {
            if !value.is_empty() {
                lines.push_str(&format!("{name} = {value}\n"));
            }
        }
        if ask.is_ca {
            lines.push_str("keyUsage = critical,keyCertSign,cRLSign\n");
        }
        self.dir.write(&ext, lines);
        let (from, to) = (asn1_time(ask.from), asn1_time(ask.to));
        let signer = issuer.map_or(ask.key, |i| i.kind);
        let digest = match signer {
            Key::P384 => "sha384",
            Key::P521 => "sha512",
            Key::Ed25519 => "default",
            Key::P256 | Key::Rsa | Key::ShortRsa => "sha256",
        };
        let digest = if ask.digest.is_empty() { digest } else { ask.digest };
        let mut args = vec!["ca", "-batch", "-notext", "-config", "ca.cnf", "-md", digest, "-in", &csr, "-out", &own];
        args.extend(["-extfile", &ext, "-startdate", &from, "-enddate", &to]);
        match issuer {
            None => args.extend(["-selfsign", "-keyfile", &key]),
            Some(i) => args.extend(["-cert", i.own.to_str().unwrap(), "-keyfile", i.key()]),
        }
        self.run(&args);
        let rest = issuer.filter(|i| !i.is_root).map(|i| i.cert.clone());
        let mut all = self.dir.read(&own);
        if let Some(rest) = &rest {
            all.push_str(&std::fs::read_to_string(rest).unwrap());
        }
        let cert = self.dir.write(&chain, all);
        let (key, own) = (self.dir.join(&key), self.dir.join(&own));
        Cert { cert, key, own, rest, kind: ask.key, is_root: issuer.is_none() }
    }

    fn run(&self, args: &[&str]) {
        let proc = Cmd::new("openssl").args(args).cwd(self.dir.path()).run(secs(60));
        proc.expect_exit(Exit::Code(0), secs(1));
    }
}

/// Seconds from now as certificates write a moment, and openssl's commands read it: `20261121170000Z`.
fn asn1_time(seconds: i64) -> String {
    let (date, [h, m, s]) = civil(seconds);
    format!("{}{h:02}{m:02}{s:02}Z", date.replace('-', ""))
}

/// The day so many seconds from now, as messages say it: `2026-11-21`.
pub fn day(seconds: i64) -> String {
    civil(seconds).0
}

fn civil(seconds: i64) -> (String, [i64; 3]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64 + seconds;
    let (mut days, rest) = (now.div_euclid(DAY), now.rem_euclid(DAY));
    let is_leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let mut year = 1970;
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let mut month = 0;
    let lengths = [31, 28 + i64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (format!("{year:04}-{:02}-{:02}", month + 1, days + 1), [rest / 3600, rest / 60 % 60, rest % 60])
}

/// `openssl s_server` on a port of 127.0.0.1: it answers a Consul read of /app with one key, `app/v` = `over tls`.
pub struct TlsServer {
    pub proc: Proc,
    pub port: u16,
    dir: TempDir,
}

/// What the server's key holds.
pub const OVER_TLS: &str = "over tls";

impl TlsServer {
    /// It shows this certificate; `more` is more of `openssl s_server`'s arguments.
    pub fn start(cert: &Cert, more: &[&str]) -> TlsServer {
        let dir = TempDir::new();
        let body = format!(
            r#"[{{"LockIndex":0,"Key":"app/v","Flags":0,"Value":"{}","CreateIndex":7,"ModifyIndex":7}}]"#,
            super::base64(OVER_TLS.as_bytes())
        );
        let answer = format!(
            "HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        // Answers are files, named as the request's path.
        dir.write("v1/kv/app?recurse", &answer);
        dir.write("v1/kv/app/v?recurse", &answer);
        // Whoever waits for news gets the same again; a wait of a second is shortened by up to a sixteenth.
        for wait in 930..=1000 {
            dir.write(format!("v1/kv/app?recurse&index=7&wait={wait}ms"), &answer);
        }
        let mut args = vec!["s_server", "-accept", "127.0.0.1:0", "-HTTP", "-cert", cert.cert(), "-key", cert.key()];
        if let Some(rest) = &cert.rest {
            args.extend(["-cert_chain", rest.to_str().unwrap()]);
        }
        let proc = Cmd::new("openssl").args(args).args(more).cwd(dir.path()).spawn();
        // It listens when it says so, and says which port it was given.
        let line = proc.wait_line("ACCEPT ", secs(20)).text;
        let port = line.rsplit(':').next().and_then(|p| p.trim().parse().ok());
        let Some(port) = port else { proc.fail("openssl s_server names no port") };
        TlsServer { proc, port, dir }
    }
    /// As a source, by its address.
    pub fn source(&self) -> String {
        format!("consul+https://127.0.0.1:{}", self.port)
    }
    /// As a source, by a name that means the same machine.
    pub fn source_at(&self, host: &str) -> String {
        format!("consul+https://{host}:{}", self.port)
    }
}
