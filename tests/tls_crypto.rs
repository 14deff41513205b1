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
use rustls::{ClientConfig, ClientConnection, RootCertStore, SignatureScheme, StreamOwned};
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
        openssl(&self.dir, args);
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
const P384: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"];

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

/// P-384 verifies only: certificates with each hash and key below such an authority, and the server's own signature.
#[test]
fn authorities_and_servers_with_p384_shake_hands_with_openssl() {
    let ca = Authority::new(P384);
    let rsa = Authority::new(RSA);
    let digests = ["-sha256", "-sha384", "-sha512"];
    for (ca, server, kind) in [(&ca, "p384", P384), (&ca, "p256", P256), (&ca, "rsa", RSA), (&rsa, "p384", P384)] {
        for digest in digests {
            ca.sign(server, kind, &[digest]);
            handshake(ca, server, &[], None).unwrap_or_else(|e| panic!("{server} {digest}: {e}"));
        }
    }
    // Another authority of the same name has not signed it.
    let other = Authority::new(P384);
    std::fs::copy(other.dir.join("ca.pem"), ca.dir.join("ca.pem")).unwrap();
    let said = handshake(&ca, "p384", &[], None).unwrap_err();
    assert!(matches!(said, rustls::Error::InvalidCertificate(_)), "{said}");
}

/// Loads a PEM file as rustls does.
fn load(file: &std::path::Path) -> Result<Arc<dyn rustls::sign::SigningKey>, String> {
    let key = PrivateKeyDer::from_pem_file(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    provider().key_provider.load_private_key(key).map_err(|e| e.to_string())
}

/// Signs with a key by each scheme there is for it, and lets openssl check it with the public half that openssl took out
/// of the same key. Gives how many schemes there were.
fn sign_and_verify(dir: &TempDir, file: &str) -> usize {
    let key = load(&dir.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    openssl(dir, &["pkey", "-in", file, "-pubout", "-out", "public.pem"]);
    openssl(dir, &["pkey", "-in", file, "-pubout", "-outform", "der", "-out", "public.der"]);
    assert_eq!(&key.public_key().unwrap()[..], std::fs::read(dir.join("public.der")).unwrap(), "{file}");
    let mut count = 0;
    for (scheme, hash) in [
        (SignatureScheme::ECDSA_NISTP256_SHA256, "-sha256"),
        (SignatureScheme::RSA_PSS_SHA256, "-sha256"),
        (SignatureScheme::RSA_PSS_SHA384, "-sha384"),
        (SignatureScheme::RSA_PSS_SHA512, "-sha512"),
    ] {
        let Some(signer) = key.choose_scheme(&[SignatureScheme::ED25519, scheme]) else { continue };
        assert_eq!(signer.scheme(), scheme);
        let message = format!("{file} {hash} to be signed");
        let signature = signer.sign(message.as_bytes()).unwrap();
        assert_ne!(signature, signer.sign(message.as_bytes()).unwrap(), "no entropy");
        dir.write("message", message);
        dir.write("signature", signature);
        let mut args = vec!["dgst", hash, "-verify", "public.pem", "-signature", "signature"];
        if scheme != SignatureScheme::ECDSA_NISTP256_SHA256 {
            args.extend(["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]);
        }
        openssl(dir, &[&args[..], &["message"]].concat());
        count += 1;
    }
    count
}

fn openssl(dir: &TempDir, args: &[&str]) {
    Cmd::new("openssl").args(args).cwd(dir.path()).run(secs(300)).expect_exit(Exit::Code(0), secs(1));
}

/// Sizes around the ends of bytes and words: the encoded message is a bit shorter than the modulus. Each run has other
/// keys.
#[test]
fn rsa_keys_of_all_sizes_sign_what_openssl_verifies() {
    let dir = TempDir::new();
    for bits in (2048..=2057).chain([2111, 2112, 2113, 3072, 4096]) {
        let bits = bits.to_string();
        openssl(&dir, &["genrsa", "-out", "key", &bits]);
        assert_eq!(sign_and_verify(&dir, "key"), 3, "{bits}");
    }
}

#[test]
fn keys_in_all_encodings_sign_what_openssl_verifies() {
    let dir = TempDir::new();
    openssl(&dir, &["genrsa", "-out", "rsa", "2048"]);
    openssl(&dir, &["rsa", "-in", "rsa", "-traditional", "-out", "rsa.pkcs1"]);
    openssl(&dir, &["genrsa", "-3", "-out", "rsa3", "2048"]);
    openssl(&dir, &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ec"]);
    openssl(&dir, &["ec", "-in", "ec", "-no_public", "-out", "ec.bare"]);
    openssl(&dir, &["ec", "-in", "ec", "-conv_form", "compressed", "-out", "ec.short"]);
    openssl(&dir, &["pkey", "-in", "ec", "-out", "ec.pkcs8"]);
    for (file, label, schemes) in [
        ("rsa", "BEGIN PRIVATE KEY", 3),
        ("rsa.pkcs1", "BEGIN RSA PRIVATE KEY", 3),
        ("rsa3", "BEGIN PRIVATE KEY", 3),
        ("ec", "BEGIN EC PRIVATE KEY", 1),
        ("ec.bare", "BEGIN EC PRIVATE KEY", 1),
        ("ec.pkcs8", "BEGIN PRIVATE KEY", 1),
    ] {
        assert!(dir.read(file).contains(label), "{file}");
        assert_eq!(sign_and_verify(&dir, file), schemes, "{file}");
    }
    // openssl keeps the short form, we give the long one.
    assert_eq!(load(&dir.join("ec.short")).unwrap().public_key(), load(&dir.join("ec")).unwrap().public_key());
    // RFC 5915: the curve may be left out, and the PKCS#8 around says it.
    let der = |file| PrivateKeyDer::from_pem_file(dir.join(file)).unwrap().secret_der().to_vec();
    let ec = der("ec");
    assert_eq!(ec[39..41], [0xa0, 0x0a], "what openssl writes has changed");
    let bare = [&[0x30, ec[1] - 12], &ec[2..39], &ec[51..]].concat();
    let key = PrivateKeyDer::Sec1(bare.into());
    let key = provider().key_provider.load_private_key(key).unwrap();
    assert_eq!(key.public_key(), load(&dir.join("ec")).unwrap().public_key());
}

#[test]
fn keys_that_cannot_be_used_are_told_apart() {
    let dir = TempDir::new();
    let names = [
        ("P-384", "ECDSA with P-384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"][..]),
        ("P-521", "ECDSA with P-521", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]),
        ("k1", "ECDSA with secp256k1", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"]),
        ("Ed25519", "Ed25519", &["-algorithm", "ED25519"]),
        ("Ed448", "Ed448", &["-algorithm", "ED448"]),
        ("pss", "RSA-PSS", &["-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"]),
        ("X25519", "1.3.101.110", &["-algorithm", "X25519"]),
    ];
    for (file, name, args) in names {
        openssl(&dir, &[&["genpkey", "-out", file][..], args].concat());
        let said = load(&dir.join(file)).unwrap_err();
        assert!(said.contains(&format!("the key is for {name};")), "{said}");
    }
    openssl(&dir, &["ec", "-in", "P-384", "-out", "P-384.sec1"]);
    let said = load(&dir.join("P-384.sec1")).unwrap_err();
    assert!(said.contains("the key is for ECDSA with P-384;"), "{said}");
    openssl(&dir, &["genrsa", "-out", "weak", "1024"]);
    openssl(&dir, &["genrsa", "-out", "weak2", "2047"]);
    for file in ["weak", "weak2"] {
        let said = load(&dir.join(file)).unwrap_err();
        assert!(said.contains("less than 2048"), "{said}");
    }
}

/// A key whose halves do not fit, or that is cut off, is refused; no byte of it makes us panic.
#[test]
fn broken_keys_are_refused() {
    let dir = TempDir::new();
    openssl(&dir, &["genrsa", "-out", "rsa", "2048"]);
    openssl(&dir, &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ec"]);
    openssl(&dir, &["pkey", "-in", "ec", "-out", "ec8"]);
    type Make = fn(Vec<u8>) -> PrivateKeyDer<'static>;
    let kinds: [(&str, Make, usize); 3] = [
        ("rsa", |der| PrivateKeyDer::Pkcs8(der.into()), 47),
        ("ec", |der| PrivateKeyDer::Sec1(der.into()), 1),
        ("ec8", |der| PrivateKeyDer::Pkcs8(der.into()), 1),
    ];
    for (file, make, step) in kinds {
        let good = PrivateKeyDer::from_pem_file(dir.join(file)).unwrap().secret_der().to_vec();
        let public = load(&dir.join(file)).unwrap().public_key().unwrap().to_vec();
        let load = |der: Vec<u8>| provider().key_provider.load_private_key(make(der)).ok();
        for length in 0..good.len() {
            assert!(load(good[..length].to_vec()).is_none(), "{file} cut at {length}");
        }
        assert!(load([&good[..], &[0]].concat()).is_none(), "{file} with more behind");
        for at in (0..good.len()).step_by(step) {
            for flip in [1, 0x80] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                // What is still taken is another version's number, an attribute, or the primes, which are not used.
                if let Some(key) = load(bad) {
                    assert!(key.public_key().unwrap()[..] == public[..], "{file}: {flip} at {at}");
                    let signer =
                        key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256]);
                    signer.unwrap().sign(b"message").unwrap();
                }
            }
        }
    }
}
