//! Real Consul over mutual TLS, with certificates by its own `consul tls`: three nodes with ACLs, tokens that go and come
//! back, a leader that dies, certificates and CAs that are replaced under a running watch.

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
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use util::*;

const MASTER: &str = "11111111-aaaa-4bbb-8ccc-0123456789ab";
const READER: &str = "33333333-aaaa-4bbb-8ccc-0123456789ab";
const READER_ID: &str = "22222222-aaaa-4bbb-8ccc-0123456789ab";
const HUSH: &str = "hush-4711";
const TEMPLATE: &str = "{{ getv \"/app/v\" }}";

/// `consul tls` in a folder: a CA and what it signs.
struct Ca {
    dir: TempDir,
}

impl Ca {
    fn new() -> Ca {
        let ca = Ca { dir: TempDir::new() };
        ca.run(&["ca", "create"]);
        ca
    }
    fn run(&self, args: &[&str]) {
        let proc = Cmd::new(server_bin("consul")).arg("tls").args(args).cwd(self.dir.path()).run(secs(20));
        proc.expect_exit(Exit::Code(0), secs(1));
    }
    fn cert(&self) -> PathBuf {
        self.dir.join("consul-agent-ca.pem")
    }
    /// Certificate and key, valid for so many days, named after what is in the folder already.
    fn make(&self, kind: &str, more: &[&str]) -> (PathBuf, PathBuf) {
        let stem = |n: usize| format!("dc1{kind}-consul-{n}");
        let n = (0..).find(|n| !self.dir.join(stem(*n) + ".pem").exists()).unwrap();
        self.run(&[&["cert", "create", kind][..], more].concat());
        (self.dir.join(stem(n) + ".pem"), self.dir.join(stem(n) + "-key.pem"))
    }
    fn server(&self, ip: &str) -> (PathBuf, PathBuf) {
        self.make("-server", &["-additional-ipaddress", ip])
    }
    fn client(&self) -> (PathBuf, PathBuf) {
        self.make("-client", &[])
    }
}

/// Consul's settings for mutual TLS: who comes by https must show a certificate of this CA.
fn settings(ca: &Path, (cert, key): &(PathBuf, PathBuf)) -> Value {
    json!({
        "ports": {"https": 8501}, "verify_incoming": true, "verify_outgoing": true,
        "ca_file": ca, "cert_file": cert, "key_file": key,
        "acl": {"enabled": true, "default_policy": "deny", "tokens": {"master": MASTER, "agent": MASTER}},
    })
}

fn let_reader_in(consul: &Consul) {
    let policy = json!({"Name": "read-app", "Rules": "key_prefix \"app/\" { policy = \"read\" }"});
    consul.call("PUT", "/v1/acl/policy", policy.to_string().as_bytes());
    make_token(consul);
}

fn make_token(consul: &Consul) {
    let token = json!({"AccessorID": READER_ID, "SecretID": READER, "Policies": [{"Name": "read-app"}]});
    consul.call("PUT", "/v1/acl/token", token.to_string().as_bytes());
}

fn https(ips: &[&str]) -> String {
    let list: Vec<String> = ips.iter().map(|ip| format!("{ip}:8501")).collect();
    format!("consul+https://{}", list.join(","))
}

fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Nothing printed holds a token, a value or a line of a private key.
#[track_caller]
fn tells_no_secret(fish: &Fish, keys: &[&Path]) {
    let said = [fish.proc.stdout(), fish.proc.stderr()].concat();
    for secret in [READER, MASTER, HUSH] {
        fish.check(!said.contains(secret), &format!("{secret} is in the output"));
    }
    for key in keys {
        for line in std::fs::read_to_string(key).unwrap().lines().filter(|l| !l.starts_with("-----")) {
            fish.check(!said.contains(line), "a line of the private key is in the output");
        }
    }
    fish.check(!said.is_empty(), "at debug level something is said");
}

#[test]
fn three_nodes_with_acl_and_mutual_tls_are_followed_through_the_loss_of_a_token_and_of_the_leader() {
    let ca = Ca::new();
    let mut cluster = Consul::cluster_with(3, &|ip| settings(&ca.cert(), &ca.server(ip)));
    let_reader_in(&cluster.nodes[cluster.leader()]);
    cluster.put("app/v", format!("{HUSH}-1"));
    let (cert, key) = ca.client();
    let files = TempDir::new();
    let token = files.write("token", READER);
    // The leader first, so that its death is felt.
    let leader = cluster.leader();
    let mut ips: Vec<&str> = cluster.nodes.iter().map(Consul::ip).collect();
    ips.rotate_left(leader);
    let setup = |ips: &[&str]| Setup::new(&https(ips)).file("f", &["/app/"], TEMPLATE).args(&["--ca", arg(&ca.cert())]);
    let mutual = |ips: &[&str]| setup(ips).args(&["--cert", arg(&cert), "--key", arg(&key), "--wait", "2s"]);
    let fish = mutual(&ips).args(&["--token-file", arg(&token)]).spawn();
    fish.wait("f", format!("{HUSH}-1"));
    cluster.put("app/v", format!("{HUSH}-2"));
    fish.wait("f", format!("{HUSH}-2"));

    // Without a certificate there is nothing, and it is said why.
    let without = setup(&ips[..1]).args(&["--token-file", arg(&token)]).spawn();
    let line = without.wait_outage(1);
    without.check(line.text.contains("wants a client certificate"), "it says that the server wants a certificate");

    // The token is deleted, and made again.
    cluster.nodes[leader].call("DELETE", &format!("/v1/acl/token/{READER_ID}"), b"");
    let line = fish.wait_outage(1);
    fish.check(line.text.contains("403"), "it says 403");
    cluster.put("app/v", format!("{HUSH}-3"));
    make_token(&cluster.nodes[leader]);
    fish.wait("f", format!("{HUSH}-3"));
    fish.wait_recovery(1);

    // The leader dies: another node is asked, over TLS too, and knows the next change.
    cluster.nodes[leader].kill9();
    cluster.put("app/v", format!("{HUSH}-4"));
    fish.wait("f", format!("{HUSH}-4"));
    cluster.nodes[leader].restart();
    cluster.put("app/v", format!("{HUSH}-5"));
    fish.wait("f", format!("{HUSH}-5"));
    for fish in [&fish, &without] {
        fish.end();
        tells_no_secret(fish, &[&key]);
    }
}

#[test]
fn certificates_and_cas_are_replaced_under_a_running_watch() {
    let (old, new) = (Ca::new(), Ca::new());
    let files = TempDir::new();
    // What Consul and pilotfish read: copies that are replaced.
    let put = |name: &str, from: &[&Path]| {
        let text: Vec<String> = from.iter().map(|p| std::fs::read_to_string(p).unwrap()).collect();
        let next = files.write(format!("{name}.next"), text.concat());
        std::fs::rename(next, files.join(name)).unwrap();
        files.join(name)
    };
    let server_files = [files.join("server-ca"), files.join("server"), files.join("server-key")];
    let mut ip = String::new();
    let mut cluster = Consul::cluster_with(1, &|ip| {
        let (cert, key) = old.server(ip);
        put("server-ca", &[&old.cert()]);
        put("server", &[&cert]);
        put("server-key", &[&key]);
        settings(&server_files[0], &(server_files[1].clone(), server_files[2].clone()))
    });
    ip.push_str(cluster.nodes[0].ip());
    let_reader_in(&cluster.nodes[0]);
    cluster.put("app/v", format!("{HUSH}-1"));
    let (cert, key) = old.client();
    let (ca_file, cert_file, key_file) = (put("ca", &[&old.cert()]), put("cert", &[&cert]), put("key", &[&key]));
    let fish = Setup::new(&https(&[&ip]))
        .file("f", &["/app/"], TEMPLATE)
        .args(&["--ca", arg(&ca_file), "--cert", arg(&cert_file), "--key", arg(&key_file), "--wait", "1s"])
        .env("CONSUL_HTTP_TOKEN", READER)
        .spawn();
    fish.wait("f", format!("{HUSH}-1"));

    // The server's certificate and CA are replaced, ours are not: it is said that we do not know who signed it.
    let (server, server_key) = new.server(&ip);
    put("server-ca", &[&new.cert()]);
    put("server", &[&server]);
    put("server-key", &[&server_key]);
    cluster.nodes[0].restart();
    cluster.put("app/v", format!("{HUSH}-2"));
    fish.proc.wait_line("which is not trusted (trusted: ", LONG);
    fish.holds("f", &format!("{HUSH}-1"));
    // Our CA file knows both: now it is the server that refuses our certificate.
    put("ca", &[&old.cert(), &new.cert()]);
    fish.proc.wait_line("the server refuses our certificate", LONG);
    // Half of the new pair: the key does not match, and that is said.
    let (cert, new_key) = new.client();
    put("cert", &[&cert]);
    fish.proc.wait_line("does not belong to the certificate", LONG);
    fish.holds("f", &format!("{HUSH}-1"));
    // The whole pair: it goes on by itself.
    put("key", &[&new_key]);
    fish.wait("f", format!("{HUSH}-2"));
    fish.wait_recovery(1);

    // The old CA is taken out and the server gets one more certificate, without a restart of either.
    put("ca", &[&new.cert()]);
    let (server, server_key) = new.server(&ip);
    put("server", &[&server]);
    put("server-key", &[&server_key]);
    cluster.nodes[0].proc().signal(libc::SIGHUP);
    let (cert, last_key) = new.client();
    put("key", &[&last_key]);
    put("cert", &[&cert]);
    cluster.put("app/v", format!("{HUSH}-3"));
    fish.wait("f", format!("{HUSH}-3"));
    cluster.nodes[0].restart();
    cluster.put("app/v", format!("{HUSH}-4"));
    fish.wait("f", format!("{HUSH}-4"));
    fish.end();
    tells_no_secret(&fish, &[&key, &new_key, &last_key]);
}
