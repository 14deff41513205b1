//! TLS beside real `openssl s_server`s: which certificates, keys and versions are good, which are not and what is said
//! then; where authorities come from; files that change under a running watch.

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
mod util;

use kv::*;
use std::path::Path;
use util::*;

fn get(source: &str, args: &[&str]) -> Cmd {
    pilotfish().args(["kv", "get", "/app/v", "--source", source]).args(args)
}

/// The value comes over TLS.
#[track_caller]
fn good(server: &TlsServer, source: &str, args: &[&str]) -> Proc {
    let proc = get(source, args).run(secs(30));
    let is_good = proc.exited() == Some(Exit::Code(0)) && proc.stdout() == format!("{OVER_TLS}\n");
    proc.check(is_good, &format!("the value should come; the server says:\n{}", server.proc.report()));
    proc
}

/// It does not, and all of these are said; the source is named.
#[track_caller]
fn refused(server: &TlsServer, source: &str, args: &[&str], said: &[&str]) -> Proc {
    let proc = get(source, args).run(secs(30));
    proc.check(proc.exited() == Some(Exit::Code(69)) && proc.stdout().is_empty(), "nothing should come of it");
    let text = proc.stderr();
    let address = source.strip_prefix("consul+").unwrap();
    for wanted in said.iter().chain(&["cannot read /app/v from Consul at ", address]) {
        proc.check(
            text.contains(wanted),
            &format!("it does not say {wanted:?}; the server says:\n{}", server.proc.report()),
        );
    }
    proc
}

const LOCAL: &str = "IP:127.0.0.1,DNS:localhost";

fn root_and_server(pki: &Pki, key: Key) -> (Cert, Cert) {
    let root = pki.root(&Ask::authority("the root").key(key));
    let between = pki.issue(&root, &Ask::authority("between").key(key));
    let cert = pki.issue(&between, &Ask::server(LOCAL).key(key));
    (root, cert)
}

#[test]
fn chains_of_ecdsa_and_rsa_are_followed_to_their_root() {
    let pki = Pki::new();
    for key in [Key::P256, Key::P384, Key::Rsa] {
        let (root, cert) = root_and_server(&pki, key);
        let ca = ["--ca", root.cert()];
        let server = TlsServer::start(&cert, &["-tls1_3"]);
        good(&server, &server.source(), &ca); // by its IP address
        good(&server, &server.source_at("localhost"), &ca); // by its name
        // The certificate between is not sent: nobody can tell who signed.
        let bare = TlsServer::start(&cert.alone(), &[]);
        refused(&bare, &bare.source(), &ca, &["issued by \"between\"", "not trusted", root.cert()]);
    }
    // Mixed: an authority by RSA signs a server by ECDSA, and the other way round.
    for (above, below) in [(Key::Rsa, Key::P256), (Key::P256, Key::Rsa)] {
        let root = pki.root(&Ask::authority("root").key(above));
        let cert = pki.issue(&root, &Ask::server(LOCAL).key(below));
        let server = TlsServer::start(&cert, &[]);
        good(&server, &server.source(), &["--ca", root.cert()]);
    }
}

#[test]
fn every_cipher_and_group_that_is_offered_works_and_others_are_refused_in_words() {
    let pki = Pki::new();
    let (root, cert) = root_and_server(&pki, Key::P256);
    let ca = ["--ca", root.cert()];
    for more in [
        ["-ciphersuites", "TLS_AES_128_GCM_SHA256"],
        ["-ciphersuites", "TLS_AES_256_GCM_SHA384"],
        ["-groups", "X25519"],
        ["-groups", "P-256"],
        // The server wants it first: with a second ClientHello or without.
        ["-groups", "P-256:X25519"],
    ] {
        let server = TlsServer::start(&cert, &more);
        good(&server, &server.source(), &ca);
    }
    for more in [["-ciphersuites", "TLS_AES_128_CCM_SHA256"], ["-groups", "P-521"]] {
        let server = TlsServer::start(&cert, &more);
        refused(&server, &server.source(), &ca, &["no algorithms in common"]);
    }
    let server = TlsServer::start(&cert, &["-no_tls1_3"]);
    refused(&server, &server.source(), &ca, &["the server speaks TLS 1.2 or older only", "TLS 1.3"]);
    let server = TlsServer::start(&cert, &["-tls1_2"]);
    refused(&server, &server.source(), &["--insecure"], &["the server speaks TLS 1.2 or older only"]);
}

#[test]
fn a_certificate_by_an_algorithm_that_is_not_verified_is_refused_by_its_name() {
    let pki = Pki::new();
    for (key, name) in [(Key::P521, "ECDSA with P-521"), (Key::Ed25519, "Ed25519")] {
        let root = pki.root(&Ask::authority("root").key(key));
        let cert = pki.issue(&root, &Ask::server(LOCAL));
        let server = TlsServer::start(&cert, &[]);
        let said = [&format!("is signed with {name}, which pilotfish does not verify")[..]];
        refused(&server, &server.source(), &["--ca", root.cert()], &said);
        // The root is fine, the server's own key is not: the server itself ends the handshake, and knows not why.
        let root = pki.root(&Ask::authority("root"));
        let cert = pki.issue(&root, &Ask::server(LOCAL).key(key));
        let server = TlsServer::start(&cert, &[]);
        refused(
            &server,
            &server.source(),
            &["--ca", root.cert()],
            &["no algorithms in common", "RSA, P-256 and P-384"],
        );
    }
    let sha1 = pki.root(&Ask::authority("root").key(Key::Rsa));
    let cert = pki.issue(&sha1, &Ask { digest: "sha1", ..Ask::server(LOCAL) });
    let server = TlsServer::start(&cert, &["-cipher", "DEFAULT@SECLEVEL=0"]);
    refused(&server, &server.source(), &["--ca", sha1.cert()], &["RSA with SHA-1"]);
}

#[test]
fn who_signed_is_checked() {
    let pki = Pki::new();
    let (root, cert) = root_and_server(&pki, Key::P256);
    let server = TlsServer::start(&cert, &[]);
    let other = pki.root(&Ask::authority("someone else"));
    let said = ["issued by \"between\"", "not trusted", other.cert()];
    refused(&server, &server.source(), &["--ca", other.cert()], &said);
    // An authority that was made anew: it has the name, but not the key.
    let namesake = pki.root(&Ask::authority("the root"));
    refused(
        &server,
        &server.source(),
        &["--ca", namesake.cert()],
        &["names an authority that is trusted but is not signed by its key"],
    );
    // Several in one file, or in a folder.
    let text = |c: &Cert| std::fs::read_to_string(&c.cert).unwrap();
    let both = pki.dir.write("both.pem", ["# two\n", &text(&other), "\nmore\n", &text(&root)].concat());
    good(&server, &server.source(), &["--ca", both.to_str().unwrap()]);
    pki.dir.write("folder/other.pem", text(&other));
    pki.dir.write("folder/root.pem", text(&root));
    pki.dir.write("folder/README", "no certificate");
    good(&server, &server.source(), &["--ca", pki.dir.join("folder").to_str().unwrap()]);
    // The certificate of the server itself may be what is trusted.
    let own = pki.root(&Ask::server(LOCAL));
    let alone = TlsServer::start(&own, &[]);
    good(&alone, &alone.source(), &["--ca", own.cert()]);
    refused(&alone, &alone.source(), &["--ca", root.cert()], &["not trusted"]);
    // Who is no authority cannot sign.
    let false_one = pki.issue(&root, &Ask::server(LOCAL));
    let forged = pki.issue(&false_one, &Ask::server(LOCAL));
    let forger = TlsServer::start(&forged, &[]);
    refused(&forger, &forger.source(), &["--ca", root.cert()], &["certificate"]);
}

#[test]
fn a_trusted_certificate_vouches_for_others_only_if_it_is_an_authoritys() {
    let pki = Pki::new();
    let own = pki.root(&Ask::server(LOCAL));
    let named = ["--ca", own.cert()];
    let server = TlsServer::start(&own, &[]);
    good(&server, &server.source(), &named);
    // Who has its key could sign for any name.
    let forged = TlsServer::start(&pki.issue(&own, &Ask::server(LOCAL)), &[]);
    refused(&forged, &forged.source(), &named, &["not trusted", own.cert(), "vouches for itself alone"]);
    // Its name and its key, but other names and another time: not what was agreed to.
    let again = TlsServer::start(&pki.renew(&own, &own, &Ask::server("IP:127.0.0.1").valid(-DAY, 900 * DAY)), &[]);
    refused(&again, &again.source(), &named, &["not trusted"]);
    // An authority's key, in a certificate for a server: what limits the authority would not limit this.
    let root = pki.root(&Ask::authority("root"));
    let ask = Ask { alt: LOCAL, ..Ask::authority("root") };
    let posing = TlsServer::start(&pki.renew(&root, &root, &ask), &[]);
    refused(&posing, &posing.source(), &["--ca", root.cert()], &["certificate of an authority"]);
    // What is not known for an authority above the server's certificate.
    let between = pki.issue(&root, &Ask::server(LOCAL));
    let forger = TlsServer::start(&pki.issue(&between, &Ask::server(LOCAL)), &[]);
    refused(&forger, &forger.source(), &["--ca", root.cert()], &["signed by one whose own certificate does not allow"]);
}

#[test]
fn keys_that_are_too_short_are_named() {
    let pki = Pki::new();
    let root = pki.root(&Ask::authority("root"));
    let loose = &["-cipher", "DEFAULT@SECLEVEL=0"];
    let server = TlsServer::start(&pki.issue(&root, &Ask::server(LOCAL).key(Key::ShortRsa)), loose);
    refused(&server, &server.source(), &["--ca", root.cert()], &["RSA key of less than 2,048 bits"]);
    let short = pki.root(&Ask::authority("short").key(Key::ShortRsa));
    let server = TlsServer::start(&pki.issue(&short, &Ask::server(LOCAL)), loose);
    refused(&server, &server.source(), &["--ca", short.cert()], &["RSA key of less than 2,048 bits"]);
}

#[test]
fn the_authorities_of_the_system_are_used_when_none_is_set() {
    let pki = Pki::new();
    let (root, cert) = root_and_server(&pki, Key::P256);
    let server = TlsServer::start(&cert, &[]);
    let run = |name: &str, value: &Path| get(&server.source(), &[]).env(name, value).run(secs(30));
    let proc = run("SSL_CERT_FILE", &root.cert);
    proc.check(proc.stdout() == format!("{OVER_TLS}\n"), "SSL_CERT_FILE names it");
    let folder = pki.dir.mkdir("certs");
    std::fs::copy(&root.cert, folder.join("0a1b2c3d.0")).unwrap();
    let proc = run("SSL_CERT_DIR", &folder);
    proc.check(proc.stdout() == format!("{OVER_TLS}\n"), "SSL_CERT_DIR names its folder");
    let proc = run("SSL_CERT_FILE", &pki.root(&Ask::authority("other")).cert);
    proc.check(proc.stderr().contains("not trusted"), "another is not enough");
    // What is set wins.
    let other = pki.root(&Ask::authority("other"));
    let proc = get(&server.source(), &["--ca", other.cert()]).env("SSL_CERT_FILE", &root.cert).run(secs(30));
    proc.check(proc.stderr().contains("not trusted"), "--ca wins over the environment");
    let proc = run("SSL_CERT_FILE", Path::new("/does/not/exist"));
    proc.check(proc.exited() == Some(Exit::Code(69)) && proc.stderr().contains("/does/not/exist"), "it names the file");
}

#[test]
fn the_name_must_be_in_the_certificate() {
    let pki = Pki::new();
    let root = pki.root(&Ask::authority("root"));
    let ca = ["--ca", root.cert()];
    let with = |ask: &Ask| TlsServer::start(&pki.issue(&root, ask), &[]);
    let named = with(&Ask::server("DNS:other.test,DNS:*.wild.test"));
    let wrong = ["not for localhost but for", "other.test", "*.wild.test"];
    refused(&named, &named.source_at("localhost"), &ca, &wrong);
    refused(&named, &named.source(), &ca, &["not for 127.0.0.1 but for", "other.test"]);
    // The name may be said beside the address.
    for name in ["other.test", "a.wild.test"] {
        good(&named, &named.source(), &["--ca", root.cert(), "--server-name", name]);
    }
    for name in ["wild.test", "a.b.wild.test", "xother.test"] {
        let said = [&format!("not for {name} but for")[..], "*.wild.test"];
        refused(&named, &named.source(), &["--ca", root.cert(), "--server-name", name], &said);
    }
    let address = with(&Ask::server("IP:127.0.0.2"));
    refused(&address, &address.source(), &ca, &["not for 127.0.0.1 but for", "127.0.0.2"]);
    refused(&address, &address.source_at("localhost"), &ca, &["not for localhost but for"]);
    good(&address, &address.source(), &["--ca", root.cert(), "--server-name", "127.0.0.2"]);
    // A common name is no name (RFC 6125); an address in a DNS name is no address.
    let common = with(&Ask { name: "localhost", ..Ask::server("") });
    refused(&common, &common.source_at("localhost"), &ca, &["not for localhost but for no name"]);
    let text = with(&Ask::server("DNS:127.0.0.1"));
    refused(&text, &text.source(), &ca, &["not for 127.0.0.1"]);
}

#[test]
fn a_server_with_several_names_is_told_which_is_meant_and_of_an_address_it_is_told_none() {
    let pki = Pki::new();
    let root = pki.root(&Ask::authority("root"));
    let (first, second) = (pki.issue(&root, &Ask::server(LOCAL)), pki.issue(&root, &Ask::server("DNS:second.test")));
    let more = ["-servername", "second.test", "-cert2", second.cert(), "-key2", second.key(), "-tlsextdebug"];
    let server = TlsServer::start(&first, &more);
    good(&server, &server.source(), &["--ca", root.cert()]);
    server.proc.check(server.proc.lines_matching("server name").is_empty(), "an address is no server name (RFC 6066)");
    good(&server, &server.source_at("localhost"), &["--ca", root.cert()]);
    good(&server, &server.source(), &["--ca", root.cert(), "--server-name", "second.test"]);
    server.proc.wait_line("server name", secs(5));
}

#[test]
fn a_certificate_is_good_in_its_time_only() {
    let pki = Pki::new();
    let root = pki.root(&Ask::authority("root"));
    let ca = ["--ca", root.cert()];
    let late = TlsServer::start(&pki.issue(&root, &Ask::server(LOCAL).valid(-9 * DAY, -2 * DAY)), &[]);
    let said = format!("the server's certificate expired on {}", day(-2 * DAY));
    refused(&late, &late.source(), &ca, &[&said]);
    let early = TlsServer::start(&pki.issue(&root, &Ask::server(LOCAL).valid(2 * DAY, 9 * DAY)), &[]);
    let said = format!("the server's certificate is not valid before {}", day(2 * DAY));
    refused(&early, &early.source(), &ca, &[&said, "clock"]);
    // One in between has ended; and a root.
    let between = pki.issue(&root, &Ask::authority("between").valid(-9 * DAY, -3 * DAY));
    let below = TlsServer::start(&pki.issue(&between, &Ask::server(LOCAL)), &[]);
    refused(&below, &below.source(), &ca, &["expired on", &day(-3 * DAY)]);
}

#[test]
fn a_certificate_is_good_for_its_use_only() {
    let pki = Pki::new();
    let root = pki.root(&Ask::authority("root"));
    let client = pki.issue(&root, &Ask { alt: LOCAL, ..Ask::client("me") });
    let server = TlsServer::start(&client, &[]);
    refused(&server, &server.source(), &["--ca", root.cert()], &["not one for servers"]);
    // Without a use it is good for each.
    let any = pki.issue(&root, &Ask { usage: "", ..Ask::server(LOCAL) });
    let server = TlsServer::start(&any, &[]);
    good(&server, &server.source(), &["--ca", root.cert()]);
    // An authority shows itself.
    let authority = pki.issue(&root, &Ask { alt: LOCAL, ..Ask::authority("authority") });
    let server = TlsServer::start(&authority, &[]);
    refused(&server, &server.source(), &["--ca", root.cert()], &["certificate of an authority"]);
}

/// Wants a certificate of this root from each client.
fn strict(server: &Cert, root: &Cert) -> TlsServer {
    TlsServer::start(server, &["-Verify", "2", "-verify_return_error", "-CAfile", root.cert()])
}

#[test]
fn clients_show_certificates_with_keys_of_every_kind_and_form() {
    let pki = Pki::new();
    let root = pki.root(&Ask::authority("root"));
    let server = strict(&pki.issue(&root, &Ask::server(LOCAL)), &root);
    for (key, form) in
        [(Key::P256, Form::Pkcs8), (Key::P256, Form::Own), (Key::Rsa, Form::Pkcs8), (Key::Rsa, Form::Own)]
    {
        let me = pki.issue(&root, &Ask::client("me").key(key).form(form));
        let mark = server.proc.mark();
        let args = ["--ca", root.cert(), "--cert", me.cert(), "--key", me.key()];
        let proc = good(&server, &server.source(), &args);
        tells_no_key(&proc, &me);
        server.proc.wait_line_after(mark, "CN = me", secs(5));
        // Both in one file, in any order.
        let [cert, key] = [&me.cert, &me.key].map(|p| std::fs::read_to_string(p).unwrap());
        let both = pki.dir.write("both.pem", [key, cert].concat());
        let both = both.to_str().unwrap();
        good(&server, &server.source(), &["--ca", root.cert(), "--cert", both, "--key", both]);
    }
    // By an authority in between, whose certificate is sent along.
    let between = pki.issue(&root, &Ask::authority("between"));
    let me = pki.issue(&between, &Ask::client("me"));
    good(&server, &server.source(), &["--ca", root.cert(), "--cert", me.cert(), "--key", me.key()]);
    // Of version 1, as it comes of openssl without extensions.
    let [csr, old] = ["old.csr", "old.crt"].map(|n| pki.dir.join(n).to_str().unwrap().to_string());
    for args in [
        &["req", "-new", "-subj", "/CN=old one", "-key", me.key(), "-out", &csr][..],
        &["x509", "-req", "-CAcreateserial", "-CA", root.cert(), "-CAkey", root.key(), "-in", &csr, "-out", &old],
    ] {
        Cmd::new("openssl").args(args).run(secs(20)).expect_exit(Exit::Code(0), secs(1));
    }
    let mark = server.proc.mark();
    good(&server, &server.source(), &["--ca", root.cert(), "--cert", &old, "--key", me.key()]);
    server.proc.wait_line_after(mark, "CN = old one", secs(5));
    // Who does not ask, is not shown it.
    let open = TlsServer::start(&pki.issue(&root, &Ask::server(LOCAL)), &[]);
    good(&open, &open.source(), &["--ca", root.cert(), "--cert", me.cert(), "--key", me.key()]);
    open.proc.check(open.proc.lines_matching("CN = me").is_empty(), "the client's certificate was shown unasked");
}

#[test]
fn a_server_that_does_not_like_our_certificate_is_understood() {
    let pki = Pki::new();
    let root = pki.root(&Ask::authority("root"));
    let server = strict(&pki.issue(&root, &Ask::server(LOCAL)), &root);
    let said = ["the server wants a client certificate, and none is set"];
    for _ in 0..5 {
        // The server hangs up while the request is written: what it said before must not be lost.
        refused(&server, &server.source(), &["--ca", root.cert()], &said);
    }
    let strangers = pki.root(&Ask::authority("strangers"));
    let with = |me: &Cert, said: &[&str]| {
        let args = ["--ca", root.cert(), "--cert", me.cert(), "--key", me.key()];
        let proc = refused(&server, &server.source(), &args, said);
        tells_no_key(&proc, me);
    };
    with(&pki.issue(&strangers, &Ask::client("me")), &["the server refuses our certificate", "who issued it"]);
    let late = pki.issue(&root, &Ask::client("me").valid(-9 * DAY, -DAY));
    with(&late, &["the server refuses our certificate: it has expired"]);
}

#[test]
fn files_that_are_none_are_named_with_what_is_wrong() {
    let pki = Pki::new();
    let root = pki.root(&Ask::authority("root"));
    let server = strict(&pki.issue(&root, &Ask::server(LOCAL)), &root);
    let me = pki.issue(&root, &Ask::client("me"));
    let other = pki.issue(&root, &Ask::client("other"));
    let empty = pki.dir.write("empty.pem", "");
    let empty = empty.to_str().unwrap();
    let broken = pki.dir.write("broken.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let broken = broken.to_str().unwrap();
    let secret = pki.dir.join("secret.key");
    let encrypt = ["pkey", "-in", me.key(), "-aes256", "-passout", "pass:s3cr3t", "-out", secret.to_str().unwrap()];
    Cmd::new("openssl").args(encrypt).run(secs(20)).expect_exit(Exit::Code(0), secs(1));
    let secret = secret.to_str().unwrap();
    let p384 = pki.issue(&root, &Ask::client("me").key(Key::P521));
    let with = |ca: &str, cert: &str, key: &str, said: &[&str]| {
        let proc = refused(&server, &server.source(), &["--ca", ca, "--cert", cert, "--key", key], said);
        tells_no_key(&proc, &me);
        tells_no_key(&proc, &other);
    };
    with(root.cert(), me.cert(), other.key(), &[other.key(), "does not belong to the certificate in", me.cert()]);
    with("/does/not/exist", me.cert(), me.key(), &["cannot read /does/not/exist: No such file"]);
    with(empty, me.cert(), me.key(), &["empty.pem holds no certificate"]);
    with(me.key(), me.cert(), me.key(), &[me.key(), "holds no certificate"]);
    with(root.cert(), empty, me.key(), &["empty.pem holds no certificate"]);
    with(root.cert(), me.cert(), empty, &["empty.pem holds no private key"]);
    with(root.cert(), me.cert(), me.cert(), &[me.cert(), "holds no private key"]);
    with(root.cert(), me.cert(), broken, &["cannot use the private key in", "broken.key"]);
    with(root.cert(), me.cert(), secret, &["secret.key is encrypted"]);
    with(root.cert(), p384.cert(), p384.key(), &["cannot use the private key in", p384.key()]);
    let der = pki.dir.join("der");
    for (kind, from) in [("x509", root.cert()), ("pkey", me.key())] {
        let args = [kind, "-in", from, "-outform", "DER", "-out", der.to_str().unwrap()];
        Cmd::new("openssl").args(args).run(secs(20)).expect_exit(Exit::Code(0), secs(1));
        match kind {
            "x509" => with(der.to_str().unwrap(), me.cert(), me.key(), &["der holds no certificate in PEM"]),
            _ => with(root.cert(), me.cert(), der.to_str().unwrap(), &["der holds no private key in PEM"]),
        }
    }
    // What stands around the blocks may be in any encoding.
    let latin = |name: &str, path: &Path| {
        let mut bytes = b"M\xfcnchen\r\n".to_vec();
        bytes.extend(std::fs::read(path).unwrap());
        let path = pki.dir.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_string()
    };
    let [ca, cert, key] =
        [("l.ca", &root.cert), ("l.crt", &me.cert), ("l.key", &me.key)].map(|(name, path)| latin(name, path));
    good(&server, &server.source(), &["--ca", &ca, "--cert", &cert, "--key", &key]);
    // And the good ones do.
    good(&server, &server.source(), &["--ca", root.cert(), "--cert", me.cert(), "--key", me.key()]);
}

#[test]
fn check_reads_what_servers_are_spoken_to_with() {
    let pki = Pki::new();
    let root = pki.root(&Ask::authority("root"));
    let [me, other] = ["me", "other"].map(|name| pki.issue(&root, &Ask::client(name)));
    let token = pki.dir.write("token", "t0k3n");
    let empty = pki.dir.write("empty", " \n");
    let [token, empty] = [&token, &empty].map(|p| p.to_str().unwrap());
    let reload = |ca: &str| format!("[app.reload]\nurl = 'https://127.0.0.1:1/'\nca = '{ca}'\n");
    let with = |ca: &str, key: &str, token: &str, more: &str| {
        let toml = format!(
            "[source.a]\nurl = 'consul+https://127.0.0.1:1'\nca = '{ca}'\ncert = '{}'\nkey = '{key}'\n\
             token_file = '{token}'\n{more}[[template]]\ntext = 'x'\ndest = '/nowhere/x'\n",
            me.cert()
        );
        pilotfish().arg("check").env("PILOTFISH_CONFIG", toml).run(secs(30))
    };
    with(root.cert(), me.key(), token, &reload(root.cert())).expect_exit(Exit::Code(0), secs(1));
    let consul = "cannot use Consul at https://127.0.0.1:1: ";
    let post = "cannot use POST https://127.0.0.1:1/: ";
    for (proc, said) in [
        (with(token, me.key(), token, ""), [consul, "token holds no certificate in PEM"]),
        (with(root.cert(), other.key(), token, ""), [consul, "does not belong to the certificate in"]),
        (with(root.cert(), me.key(), empty, ""), [consul, "empty is empty"]),
        (with(root.cert(), me.key(), token, &reload(me.key())), [post, "holds no certificate in PEM"]),
    ] {
        proc.expect_exit(Exit::Code(78), secs(1));
        for wanted in said {
            proc.check(proc.stderr().contains(wanted), wanted);
        }
        tells_no_key(&proc, &me);
        tells_no_key(&proc, &other);
        proc.check(!proc.stderr().contains("t0k3n"), "the token is not shown");
    }
    // A secret may be mounted later.
    for (proc, path) in [
        (with("/nowhere.pem", me.key(), token, ""), "/nowhere.pem"),
        (with(root.cert(), "/nowhere.key", token, ""), "/nowhere.key"),
        (with(root.cert(), me.key(), "/nowhere", ""), "/nowhere"),
    ] {
        proc.expect_exit(Exit::Code(0), secs(1));
        let said = format!("warning: Consul at https://127.0.0.1:1 needs the file {path}, which is not there");
        proc.check(proc.stderr().contains(&said), &said);
    }
}

#[test]
fn whoever_is_trusted_unseen_is_said_so_loudly() {
    let pki = Pki::new();
    let (_, cert) = root_and_server(&pki, Key::P256);
    let server = TlsServer::start(&cert, &[]);
    let proc = good(&server, &server.source(), &["--insecure"]);
    proc.check(proc.stderr().to_lowercase().contains("insecure"), "it is said that nothing is checked");
    let late = pki.root(&Ask::server("DNS:other.test").valid(-9 * DAY, -DAY));
    let server = TlsServer::start(&late, &[]);
    good(&server, &server.source(), &["--insecure"]);
}

#[test]
fn what_is_no_tls_and_what_is_not_there_are_told_apart() {
    let pki = Pki::new();
    let (root, cert) = root_and_server(&pki, Key::P256);
    let server = TlsServer::start(&cert, &[]);
    let nobody = format!("consul+https://127.0.0.1:{}", free_port());
    refused(&server, &nobody, &["--ca", root.cert()], &["Connection refused"]);
    let plain = Consul::start();
    let source = format!("consul+https://{}", plain.addr());
    refused(&server, &source, &["--ca", root.cert()], &["the server does not speak TLS"]);
    // And the other way round: who forgot the s.
    let forgot = format!("consul://127.0.0.1:{}", server.port);
    let proc = get(&forgot, &[]).run(secs(30));
    proc.check(proc.exited() == Some(Exit::Code(69)) && proc.stderr().contains(&forgot[9..]), "it is said where");
}

#[test]
fn files_that_change_are_read_again_under_a_running_watch() {
    let pki = Pki::new();
    let root = pki.root(&Ask::authority("root"));
    let server = strict(&pki.issue(&root, &Ask::server(LOCAL)), &root);
    let [cert, key] = ["mine.crt", "mine.key"].map(|n| pki.dir.join(n));
    let [first, second, third] = ["first", "second", "third"].map(|n| pki.issue(&root, &Ask::client(n)));
    first.install(&cert, &key);
    // Each answer ends its connection, so each request shakes hands anew; the server says with whom.
    let [c, k] = [&cert, &key].map(|p| p.to_str().unwrap());
    let fish = Setup::new(&server.source())
        .file("f", &["/app"], "{{ getv \"/app/v\" }}")
        .args(&["--ca", root.cert(), "--cert", c, "--key", k, "--wait", "1s"])
        .spawn();
    fish.wait("f", OVER_TLS);
    server.proc.wait_line("CN = first", LONG);
    second.install(&cert, &key);
    server.proc.wait_line("CN = second", LONG);
    // One file of the two, then nonsense: the last good pair is used on, and it is said.
    let mark = server.proc.mark();
    std::fs::copy(&third.key, &key).unwrap();
    fish.proc.wait_line("does not belong to the certificate", LONG);
    server.proc.wait_line_after(mark, "CN = second", LONG);
    std::fs::write(&key, "nonsense").unwrap();
    fish.proc.wait_line("holds no private key", LONG);
    third.install(&cert, &key);
    server.proc.wait_line("CN = third", LONG);
    fish.check(fish.outages() == (0, 0), "there was no outage");
    fish.end();
    for me in [&first, &second, &third] {
        tells_no_key(&fish.proc, me);
    }
}

#[test]
fn an_end_that_is_near_is_said_once() {
    let pki = Pki::new();
    let root = pki.root(&Ask::authority("root"));
    let server = TlsServer::start(&pki.issue(&root, &Ask::server(LOCAL).valid(-80 * DAY, 3 * DAY)), &[]);
    let fish =
        Setup::new(&server.source()).file("f", &["/app"], "{{ getv \"/app/v\" }}").args(&["--ca", root.cert()]).spawn();
    fish.wait("f", OVER_TLS);
    let line = fish.proc.wait_line("expires on", LONG);
    fish.check(line.text.contains(&day(3 * DAY)) && line.text.contains("127.0.0.1"), "it says when and whose");
    wait_until(LONG, "more handshakes", || (server.proc.lines_matching("FILE:").len() >= 4).then_some(()));
    fish.check(fish.count("expires on") == 1, "it is said once");
    fish.end();
}

#[test]
fn an_end_that_comes_near_while_nothing_changes_is_said() {
    let pki = Pki::new();
    let root = pki.root(&Ask::authority("root"));
    let server = strict(&pki.issue(&root, &Ask::server(LOCAL)), &root);
    // Of two minutes a tenth is left in eight seconds.
    let me = pki.issue(&root, &Ask::client("me").valid(-100, 20));
    let fish = Setup::new(&server.source())
        .file("f", &["/app"], "{{ getv \"/app/v\" }}")
        .args(&["--ca", root.cert(), "--cert", me.cert(), "--key", me.key(), "--wait", "1s"])
        .spawn();
    fish.wait("f", OVER_TLS);
    fish.proc.wait_line("the client certificate expires on", LONG);
    fish.end();
}

#[test]
fn no_secret_reaches_an_app_or_its_environment() {
    const TOKEN: &str = "11111111-aaaa-4bbb-8ccc-0123456789ab";
    let pki = Pki::new();
    let root = pki.root(&Ask::authority("root"));
    let server = strict(&pki.issue(&root, &Ask::server(LOCAL)), &root);
    let me = pki.issue(&root, &Ask::client("me"));
    let fish = Setup::new(&server.source())
        .file("f", &["/app"], "{{ getv \"/app/v\" }}")
        .args(&["--ca", root.cert(), "--cert", me.cert(), "--key", me.key()])
        .env("CONSUL_HTTP_TOKEN", TOKEN)
        .app("f")
        .spawn();
    fish.proc.wait_line("config: over tls", LONG);
    let app = wait_until(LONG, "the app", || children_of(fish.proc.pid()).first().map(|row| row.pid));
    let of = |what: &str| std::fs::read(format!("/proc/{app}/{what}")).unwrap();
    for what in ["environ", "cmdline"] {
        let text = String::from_utf8_lossy(&of(what)).into_owned();
        fish.check(!text.contains(TOKEN), &format!("the token is in the app's {what}"));
        fish.check(!text.contains("PRIVATE KEY"), &format!("a key is in the app's {what}"));
    }
    fish.check(open_fds(app) == 3, "the app has no descriptor of ours");
    fish.end();
    tells_no_key(&fish.proc, &me);
    let said = [fish.proc.stdout(), fish.proc.stderr()].concat();
    fish.check(!said.contains(TOKEN), "the token is in the output");
}

/// No line of the private key is in what it printed.
#[track_caller]
fn tells_no_key(proc: &Proc, cert: &Cert) {
    let said = [proc.stdout(), proc.stderr()].concat();
    for line in std::fs::read_to_string(&cert.key).unwrap().lines().filter(|l| !l.starts_with("-----")) {
        proc.check(!said.contains(line), "a line of the private key is in the output");
    }
}
