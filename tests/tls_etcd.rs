//! Real etcd 3.4 and 3.5 over TLS, by both interfaces: client certificates that are asked for, users on top of them,
//! certificates that are replaced under a running watch.

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

const PASSWORD: &str = "s3cr3t\"<&";
const TEMPLATE: &str = "{{ getv \"/app/v\" }}";

/// Where it speaks TLS; at `Etcd::addr` it speaks to the test's own client without.
const PORT: u16 = 2378;

/// `n` nodes that want a client certificate of `root`; theirs stand in this folder, by address, to be replaced.
fn mutual(program: &'static str, n: usize, pki: &Pki, root: &Cert, at: &Path) -> Vec<Etcd> {
    std::fs::copy(&root.cert, at.join("server-ca")).unwrap();
    Etcd::cluster_with(program, n, &|ip| {
        let [cert, key] = ["crt", "key"].map(|end| at.join(format!("{ip}.{end}")));
        server_cert(pki, root, ip).install(&cert, &key);
        [
            format!("--listen-client-urls=http://{ip}:2379,https://{ip}:{PORT}"),
            "--client-cert-auth".into(),
            format!("--trusted-ca-file={}", at.join("server-ca").display()),
            format!("--cert-file={}", cert.display()),
            format!("--key-file={}", key.display()),
        ]
        .to_vec()
    })
}

/// etcd's gateway is a client of etcd itself, with the server's certificate.
fn server_cert(pki: &Pki, root: &Cert, ip: &str) -> Cert {
    pki.issue(root, &Ask { usage: "serverAuth,clientAuth", ..Ask::server(&format!("IP:{ip}")) })
}

fn addrs(nodes: &[Etcd]) -> String {
    nodes.iter().map(|n| format!("{}:{PORT}", n.ip())).collect::<Vec<_>>().join(",")
}

#[track_caller]
fn tells_no_secret(fish: &Fish, keys: &[&Cert]) {
    let said = [fish.proc.stdout(), fish.proc.stderr()].concat();
    fish.check(!said.contains("s3cr3t"), "a password is in the output");
    for key in keys {
        for line in std::fs::read_to_string(&key.key).unwrap().lines().filter(|l| !l.starts_with("-----")) {
            fish.check(!said.contains(line), "a line of the private key is in the output");
        }
    }
}

#[test]
fn a_client_certificate_opens_both_interfaces_and_users_are_asked_for_beside_it() {
    for program in ["etcd", "etcd35"] {
        let (pki, files) = (Pki::new(), TempDir::new());
        let root = pki.root(&Ask::authority("root"));
        // etcd's gateway takes no user from a certificate, and refuses users by password to whoever has a name in it.
        let [me, named] = ["", "u"].map(|name| pki.issue(&root, &Ask::client(name)));
        let mut etcd = mutual(program, 1, &pki, &root, files.path()).remove(0);
        etcd.put("/app/v", "v1");
        etcd.put2("/app/v", "w1");
        let addr = format!("{}:{PORT}", etcd.ip());
        let at = |scheme: &str| {
            Setup::new(&format!("{scheme}+https://{addr}")).file("f", &["/app"], TEMPLATE).args(&[
                "--ca",
                root.cert(),
                "--wait",
                "2s",
            ])
        };
        let identity = ["--cert", me.cert(), "--key", me.key()];
        let (v3, v2) = (at("etcd").args(&identity).spawn(), at("etcd2").args(&identity).spawn());
        v3.wait("f", "v1");
        v2.wait("f", "w1");
        let nobody = at("etcd").spawn();
        let line = nobody.wait_outage(1);
        nobody.check(line.text.contains("wants a client certificate"), "it says that the server wants a certificate");
        etcd.put("/app/v", "v2");
        etcd.put2("/app/v", "w2");
        v3.wait("f", "v2");
        v2.wait("f", "w2");

        etcd.enable_auth(PASSWORD, &[("/app/", "/app0")]);
        let user = at("etcd").args(&identity).source(&format!("username = 'u'\npassword = '{PASSWORD}'")).spawn();
        user.wait("f", "v2");
        let anonymous = at("etcd").args(&identity).spawn();
        let line = anonymous.wait_outage(1);
        anonymous.check(line.text.contains("user name is empty"), "etcd wants a user, and that is said");
        let named = at("etcd")
            .args(&["--cert", named.cert(), "--key", named.key()])
            .source(&format!("username = 'u'\npassword = '{PASSWORD}'"))
            .spawn();
        let line = named.wait_outage(1);
        named.check(line.text.contains("CommonName"), "what etcd has against the certificate is said");
        etcd.put("/app/v", "v3");
        user.wait("f", "v3");
        for fish in [&v3, &v2, &nobody, &user, &anonymous, &named] {
            fish.end();
            tells_no_secret(fish, &[&me]);
        }
    }
}

#[test]
fn the_name_in_a_certificate_is_a_user_of_v2() {
    let (pki, files) = (Pki::new(), TempDir::new());
    // etcd looks at every name of the chain: an authority called root would make a root of everybody.
    let root = pki.root(&Ask::authority("authority"));
    let mut nodes = mutual("etcd", 1, &pki, &root, files.path());
    let etcd = &mut nodes[0];
    etcd.put2("/app/v", "w1");
    etcd.v2("PUT", "/auth/users/root", r#"{"user":"root","password":"rootpw"}"#);
    etcd.v2("PUT", "/auth/roles/r", r#"{"role":"r","permissions":{"kv":{"read":["/app*"],"write":[]}}}"#);
    etcd.v2("PUT", "/auth/users/u", &format!(r#"{{"user":"u","password":"{}","roles":["r"]}}"#, "s3cr3t"));
    etcd.v2("PUT", "/auth/enable", "");
    let addr = format!("{}:{PORT}", etcd.ip());
    // Guests may do everything until their role is taken away.
    let basic = format!("Authorization: Basic {}", base64(b"root:rootpw"));
    let reply = http("DELETE", &etcd.addr(), "/v2/auth/roles/guest", &[&basic], b"").unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let of = |name: &str| {
        let me = pki.issue(&root, &Ask::client(name));
        Setup::new(&format!("etcd2+https://{addr}"))
            .file("f", &["/app"], TEMPLATE)
            .args(&["--ca", root.cert(), "--cert", me.cert(), "--key", me.key()])
            .spawn()
    };
    let user = of("u");
    user.wait("f", "w1");
    let stranger = of("x");
    let line = stranger.wait_outage(1);
    stranger.check(line.text.contains("40"), "a name that is no user may not read");
    for fish in [&user, &stranger] {
        fish.end();
    }
}

#[test]
fn certificates_are_replaced_under_a_running_watch_of_a_cluster() {
    let (pki, files) = (Pki::new(), TempDir::new());
    let root = pki.root(&Ask::authority("root"));
    let mut nodes = mutual("etcd", 3, &pki, &root, files.path());
    etcd_put(&nodes, "/app/v", "v1");
    let [cert, key, ca] = ["mine.crt", "mine.key", "ca"].map(|n| files.join(n));
    // Ours runs out in a moment.
    let short = pki.issue(&root, &Ask::client("short").valid(-DAY, 10));
    short.install(&cert, &key);
    std::fs::copy(&root.cert, &ca).unwrap();
    let [c, k, a] = [&cert, &key, &ca].map(|p| p.to_str().unwrap());
    let fish = Setup::new(&format!("etcd+https://{}", addrs(&nodes)))
        .file("f", &["/app"], TEMPLATE)
        .args(&["--ca", a, "--cert", c, "--key", k, "--wait", "1s"])
        .spawn();
    fish.wait("f", "v1");
    etcd_put(&nodes, "/app/v", "v2");
    fish.wait("f", "v2");

    // The servers' certificates change; each is read at the next handshake. Ours follows before it is too late.
    for node in &nodes {
        let [cert, key] = ["crt", "key"].map(|end| files.join(format!("{}.{end}", node.ip())));
        server_cert(&pki, &root, node.ip()).install(&cert, &key);
    }
    let long = pki.issue(&root, &Ask::client("long"));
    long.install(&cert, &key);
    // Every connection is made again, when the old certificate would be refused.
    wait_until(secs(40), "the end of the old certificate", || {
        let ended = Cmd::new("openssl").args(["x509", "-checkend", "0", "-noout", "-in", short.cert()]).run(secs(10));
        (ended.exited() == Some(Exit::Code(1))).then_some(())
    });
    for node in &mut nodes {
        node.restart();
    }
    etcd_put(&nodes, "/app/v", "v3");
    fish.wait("f", "v3");
    fish.end();
    tells_no_secret(&fish, &[&short, &long]);
}
