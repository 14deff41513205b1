//! The crypto provider against another's: rustls with it on our side, the openssl program as the server, which asks for
//! a certificate of ours. A handshake that is done proves the key exchange, both directions of the record cipher, the
//! server's signature and ours.
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

mod util;

use pilotfish::tls::provider::provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use util::*;

/// A CA and what it has signed, in a folder.
struct Authority {
    dir: TempDir,
}

impl Authority {
    /// `kind` is what `openssl req -newkey` takes.
    fn new(kind: &[&str]) -> Authority {
        let made = Authority { dir: TempDir::new() };
        made.openssl(
            &[
                &[
                    "req",
                    "-x509",
                    "-nodes",
                    "-days",
                    "2",
                    "-subj",
                    "/CN=pilotfish test CA",
                    "-keyout",
                    "ca.key",
                    "-out",
                    "ca.pem",
                ][..],
                &["-newkey"][..],
                kind,
            ]
            .concat(),
        );
        made
    }
    fn openssl(&self, args: &[&str]) {
        let done = Cmd::new("openssl").args(args).cwd(self.dir.path()).run(secs(120));
        done.expect_exit(Exit::Code(0), secs(1));
    }
    /// NAME.key and NAME.pem, for 127.0.0.1.
    fn sign(&self, name: &str, kind: &[&str], hash: &[&str]) {
        self.dir.write("ext", "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n");
        let (key, csr, pem) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        self.openssl(&[&["req", "-nodes", "-subj", "/CN=x", "-keyout", &key, "-out", &csr, "-newkey"], kind].concat());
        let sign = ["x509", "-req", "-in", &csr, "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"];
        self.openssl(&[&sign[..], &["-extfile", "ext", "-out", &pem], hash].concat());
    }
    fn certificates(&self, name: &str) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(self.dir.join(name)).unwrap().map(|c| c.unwrap()).collect()
    }
}

const RSA: &[&str] = &["rsa:2048"];
const P256: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// Talks to `openssl s_server` with SERVER.pem, which must see a certificate of ours; gives what it said of us.
fn handshake(ca: &Authority, server: &str, args: &[&str], ours: Option<(&str, &str)>) -> Result<String, rustls::Error> {
    let port = free_port().to_string();
    let (pem, key) = (format!("{server}.pem"), format!("{server}.key"));
    let mut cmd = Cmd::new("openssl")
        .args([
            "s_server",
            "-accept",
            &format!("127.0.0.1:{port}"),
            "-cert",
            &pem,
            "-key",
            &key,
            "-rev",
            "-CAfile",
            "ca.pem",
        ])
        .args(args)
        .cwd(ca.dir.path());
    if ours.is_some() {
        cmd = cmd.args(["-Verify", "2", "-verify_return_error"]);
    }
    let process = cmd.spawn();
    process.wait_line("ACCEPT", secs(20));
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificates("ca.pem").remove(0)).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let config = match ours {
        None => builder.with_no_client_auth(),
        Some((pem, key)) => {
            let key = PrivateKeyDer::from_pem_file(ca.dir.join(key)).unwrap();
            builder.with_client_auth_cert(ca.certificates(pem), key)?
        }
    };
    let socket = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    socket.set_read_timeout(Some(secs(20))).unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket);
    let as_tls = |e: std::io::Error| {
        let text = e.to_string();
        match e.into_inner().map(|e| e.downcast::<rustls::Error>()) {
            Some(Ok(e)) => *e,
            _ => rustls::Error::General(text),
        }
    };
    // Many records each way; -rev gives each line back reversed.
    for n in 1..100 {
        let line = format!("{n} {}", "0123456789abcdef".repeat(n));
        stream.write_all(format!("{line}\n").as_bytes()).map_err(as_tls)?;
        let mut back = vec![0; line.len() + 1];
        stream.read_exact(&mut back).map_err(as_tls)?;
        assert_eq!(String::from_utf8(back).unwrap().trim_end(), line.chars().rev().collect::<String>());
    }
    Ok(process.text(Stream::Err) + &process.text(Stream::Out))
}

#[test]
fn every_suite_group_and_signature_shakes_hands_with_openssl() {
    for ca in [RSA, P256] {
        let ca = Authority::new(ca);
        ca.sign("rsa", RSA, &["-sha256"]);
        ca.sign("ec", P256, &["-sha384"]);
        for (server, args) in [
            ("rsa", &["-ciphersuites", "TLS_AES_128_GCM_SHA256", "-groups", "X25519"][..]),
            ("rsa", &["-ciphersuites", "TLS_AES_256_GCM_SHA384", "-groups", "P-256"]),
            ("ec", &["-ciphersuites", "TLS_AES_128_GCM_SHA256", "-groups", "P-256"]),
            ("ec", &["-ciphersuites", "TLS_AES_256_GCM_SHA384", "-groups", "X25519"]),
        ] {
            handshake(&ca, server, args, None).unwrap_or_else(|e| panic!("{server} {args:?}: {e}"));
            for ours in ["rsa", "ec"] {
                let files = (&*format!("{ours}.pem"), &*format!("{ours}.key"));
                handshake(&ca, server, args, Some(files)).unwrap_or_else(|e| panic!("{server} {args:?} {ours}: {e}"));
            }
        }
    }
}
