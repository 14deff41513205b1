//! The same three files, CA, certificate and key, by every way in that can name them: to a Consul and an etcd that want a
//! client certificate, and to who is told of new files over `https://`.

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

mod site;
mod util;

use serde_json::json;
use site::Site;
use util::*;

/// Servers that want a client certificate, and who may come.
struct Bed {
    pki: Pki,
    root: Cert,
    me: Cert,
}

impl Bed {
    fn new() -> Bed {
        let pki = Pki::new();
        let root = pki.root(&Ask::authority("root"));
        // Without a name: etcd's gateway refuses users by password to those who have one.
        let me = pki.issue(&root, &Ask::client(""));
        Bed { pki, root, me }
    }
    fn server(&self, alt: &str) -> Cert {
        self.pki.issue(&self.root, &Ask { usage: "serverAuth,clientAuth", ..Ask::server(alt) })
    }
    fn consul(&self, alt: &dyn Fn(&str) -> String) -> Consul {
        let mut cluster = Consul::cluster_with(1, &|ip| {
            let cert = self.server(&alt(ip));
            json!({"ports": {"https": 8501}, "verify_incoming_https": true,
                "ca_file": self.root.cert, "cert_file": cert.cert, "key_file": cert.key})
        });
        cluster.nodes.remove(0)
    }
    /// Its name in messages, then ours: so that one list serves flags, variables and keys.
    fn files(&self, names: [&str; 3]) -> Vec<(String, String)> {
        let paths = [self.root.cert(), self.me.cert(), self.me.key()];
        names.iter().zip(paths).map(|(name, path)| (name.to_string(), path.to_string())).collect()
    }
    fn flags(&self, names: [&str; 3]) -> Vec<String> {
        self.files(names).into_iter().flat_map(|(name, path)| [name, path]).collect()
    }
}

fn with(cmd: Cmd, vars: &[(String, String)]) -> Cmd {
    vars.iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value))
}

#[track_caller]
fn prints(cmd: Cmd, value: &str) {
    let proc = cmd.run(secs(30));
    proc.check(proc.exited() == Some(Exit::Code(0)) && proc.stdout() == format!("{value}\n"), "the value should come");
}

#[test]
fn every_way_to_consul() {
    let bed = Bed::new();
    let consul = bed.consul(&|ip| format!("IP:{ip}"));
    consul.put("app/v", "sealed");
    let (host, tls) = (format!("{}:8501", consul.ip()), format!("https://{}:8501", consul.ip()));
    let get = || pilotfish().args(["kv", "get", "/app/v"]);
    let at = |source: &str| get().args(["--source", source]);
    let variables = |cmd| with(cmd, &bed.files(["CONSUL_CACERT", "CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY"]));
    let url = format!("consul+https://{host}");
    prints(at(&url).args(bed.flags(["--ca", "--cert", "--key"])), "sealed");
    prints(with(at(&url), &bed.files(["PILOTFISH_CA", "PILOTFISH_CERT", "PILOTFISH_KEY"])), "sealed");
    prints(variables(at(&url)), "sealed");
    prints(variables(at("consul://")).env("CONSUL_HTTP_ADDR", &tls), "sealed");
    prints(variables(at("consul://")).env("CONSUL_HTTP_ADDR", &host).env("CONSUL_HTTP_SSL", "true"), "sealed");
    let folder = bed.pki.dir.mkdir("folder");
    std::fs::copy(&bed.root.cert, folder.join("one.pem")).unwrap();
    let by_folder = variables(at(&url)).env("CONSUL_CACERT", "").env("CONSUL_CAPATH", &folder);
    prints(by_folder, "sealed");
    // One that trusts nobody needs no CA, and says so.
    let unseen = at(&url).env("CONSUL_HTTP_SSL_VERIFY", "false");
    let unseen = unseen.args(["--cert", bed.me.cert(), "--key", bed.me.key()]).run(secs(30));
    unseen.check(unseen.stdout() == "sealed\n" && unseen.stderr().contains("INSECURE"), "it is said loudly");
    // The plain port and the wrong variables: nothing of TLS is expected there.
    prints(variables(at(&format!("consul://{}", consul.addr()))), "sealed");

    // pilotfish.toml, with files and with their texts.
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let out = bed.pki.dir.join("out");
    let [ca, cert, key] = [&bed.root.cert, &bed.me.cert, &bed.me.key].map(|p| p.display().to_string());
    for [ca, cert, key] in [[ca, cert, key], [read(&bed.root.cert), read(&bed.me.cert), read(&bed.me.key)]] {
        let text = format!(
            "[source.kv]\nurl = {}\nca = {}\ncert = {}\nkey = {}\n[[template]]\ntext = '{{{{getv \"/app/v\"}}}}'\n\
             dialect = 'go'\nname = 't'\ndest = {}\n",
            json!(url),
            json!(ca),
            json!(cert),
            json!(key),
            json!(out)
        );
        let config = bed.pki.dir.write("pilotfish.toml", &text);
        let proc = pilotfish().arg("--once").arg("--config").arg(&config).run(secs(30));
        proc.expect_exit(Exit::Code(0), secs(1));
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "sealed");
        std::fs::remove_file(&out).unwrap();
        // All of it in one variable, for images without files.
        let proc = pilotfish().arg("--once").env("PILOTFISH_CONFIG", &text).run(secs(30));
        proc.expect_exit(Exit::Code(0), secs(1));
        std::fs::remove_file(&out).unwrap();
    }

    // confd, by flags and by confd.toml; confd-sidecar.
    let site = Site::new();
    site.resource("r", "{{getv \"/app/v\"}}", "keys = [\"/app\"]");
    let node = format!("-node={host}");
    let base = ["-onetime", "-backend", "consul", "-scheme", "https", &node];
    let names = ["-client-ca-keys", "-client-cert", "-client-key"];
    let proc = site.confd(&base).args(bed.flags(names)).run(secs(30));
    proc.expect_exit(Exit::Code(0), secs(1));
    assert_eq!(site.read("r"), "sealed");
    std::fs::remove_file(site.out("r")).unwrap();
    let mut toml = format!("backend = 'consul'\nscheme = 'https'\nnodes = ['{host}']\n");
    for (name, path) in bed.files(["client_cakeys", "client_cert", "client_key"]) {
        toml.push_str(&format!("{name} = '{path}'\n"));
    }
    let file = site.dir.write("confd.toml", toml).display().to_string();
    let proc = site.confd(&["-onetime", "-config-file", &file]).run(secs(30));
    proc.expect_exit(Exit::Code(0), secs(1));
    assert_eq!(site.read("r"), "sealed");
}

#[test]
fn the_name_of_consuls_servers_is_said_beside_their_address() {
    let bed = Bed::new();
    let consul = bed.consul(&|_| "DNS:server.dc1.consul".to_string());
    consul.put("app/v", "sealed");
    let get = || {
        let source = format!("consul+https://{}:8501", consul.ip());
        pilotfish().args(["kv", "get", "/app/v", "--source", &source]).args(bed.flags(["--ca", "--cert", "--key"]))
    };
    let proc = get().run(secs(30));
    let said = format!("not for {} but for server.dc1.consul", consul.ip());
    proc.check(proc.exited() == Some(Exit::Code(69)) && proc.stderr().contains(&said), &said);
    prints(get().args(["--server-name", "server.dc1.consul"]), "sealed");
    prints(get().env("CONSUL_TLS_SERVER_NAME", "server.dc1.consul"), "sealed");
    prints(get().env("PILOTFISH_SERVER_NAME", "server.dc1.consul"), "sealed");
}

#[test]
fn every_way_to_etcd() {
    let bed = Bed::new();
    let etcd = Etcd::cluster_with("etcd", 1, &|ip| {
        let cert = bed.server(&format!("IP:{ip}"));
        [
            format!("--listen-client-urls=http://{ip}:2379,https://{ip}:2378"),
            "--client-cert-auth".into(),
            format!("--trusted-ca-file={}", bed.root.cert()),
            format!("--cert-file={}", cert.cert()),
            format!("--key-file={}", cert.key()),
        ]
        .to_vec()
    })
    .remove(0);
    etcd.put("/app/v", "sealed");
    etcd.put2("/app/v", "sealed2");
    let host = format!("{}:2378", etcd.ip());
    let at = |scheme: &str| pilotfish().args(["kv", "get", "/app/v", "--source", &format!("{scheme}+https://{host}")]);
    prints(at("etcd").args(bed.flags(["--ca", "--cert", "--key"])), "sealed");
    prints(at("etcd2").args(bed.flags(["--ca", "--cert", "--key"])), "sealed2");
    prints(with(at("etcd"), &bed.files(["ETCDCTL_CACERT", "ETCDCTL_CERT", "ETCDCTL_KEY"])), "sealed");
    prints(with(at("etcd2"), &bed.files(["ETCDCTL_CA_FILE", "ETCDCTL_CERT_FILE", "ETCDCTL_KEY_FILE"])), "sealed2");

    let site = Site::new();
    site.resource("r", "{{getv \"/app/v\"}}", "keys = [\"/app\"]");
    let names = ["-client-ca-keys", "-client-cert", "-client-key"];
    for (backend, node, value) in [
        ("etcd", format!("https://{host}"), "sealed2"),
        ("etcdv3", format!("https://{host}"), "sealed"),
        // Who names a certificate means TLS.
        ("etcdv3", host.clone(), "sealed"),
    ] {
        let proc = site.confd(&["-onetime", "-backend", backend, "-node", &node]).args(bed.flags(names)).run(secs(30));
        proc.expect_exit(Exit::Code(0), secs(1));
        assert_eq!(site.read("r"), value, "{backend}");
        std::fs::remove_file(site.out("r")).unwrap();
    }

    let out = site.dir.join("out/leaf");
    let json = json!({"key": "/app/v", "source": "leaf.erb", "target": out});
    site.dir.write("rc/conf.d/leaf.json", json.to_string());
    site.dir.write("rc/templates/leaf.erb", "<%= @reconfig[\"data\"][\"/app/v\"] %>");
    let rc = site.dir.join("rc").display().to_string();
    let base = ["reconfig", "-c", &rc, "--host", etcd.ip(), "--port", "2378", "--onetime", "--ssl"];
    let proc = pilotfish().args(base).args(bed.flags(["--ssl_cafile", "--ssl_cert", "--ssl_key"])).run(secs(30));
    proc.expect_exit(Exit::Code(0), secs(1));
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "sealed2");
}

#[test]
fn who_is_told_of_new_files_over_tls() {
    let bed = Bed::new();
    let (server, dir, port) = (bed.server("IP:127.0.0.1"), TempDir::new(), free_port());
    let conf = dir.write(
        "nginx.conf",
        format!(
            "daemon off; pid {0}/pid; error_log {0}/error.log; user root;\nevents {{}}\nhttp {{\n\
             log_format us '$request $status \"$ssl_client_s_dn\" $ssl_protocol'; access_log {0}/access.log us;\n\
             client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u;\n\
             scgi_temp_path {0}/s;\nserver {{ listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.3;\n\
             ssl_certificate {1}; ssl_certificate_key {2}; ssl_client_certificate {3}; ssl_verify_client on;\n\
             location / {{ return 204; }} }} }}\n",
            dir.path().display(),
            server.cert(),
            server.key(),
            bed.root.cert()
        ),
    );
    let nginx = Cmd::new(server_bin("nginx")).arg("-c").arg(&conf).cwd(dir.path()).spawn();
    wait_until(secs(20), "nginx to listen", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    let log = || std::fs::read_to_string(dir.join("access.log")).unwrap_or_default();
    let keys = dir.mkdir("keys");
    std::fs::write(keys.join("k"), "v").unwrap();
    let source = format!("dir:{}", keys.display());
    let template = dir.write("t.tmpl", "{{getv \"/k\"}}");
    let out = dir.join("out");
    let template = format!("{}:{}", template.display(), out.display());
    let once = |toml: &str, vars: &[(String, String)]| {
        let _ = std::fs::remove_file(&out);
        let config = dir.write("pilotfish.toml", toml);
        let cmd = pilotfish().args(["--once", "--source", &source, "--template", &template]);
        with(cmd.arg("--config").arg(&config), vars).run(secs(30))
    };

    // A table of its own says whom to trust; the sources' settings are not the reload's.
    let reload = |ca: &str| {
        format!(
            "[app.reload]\nurl = \"https://127.0.0.1:{port}/-/reload\"\nca = {}\ncert = {}\nkey = {}\n",
            json!(ca),
            json!(bed.me.cert()),
            json!(bed.me.key())
        )
    };
    let proc = once(&reload(bed.root.cert()), &[]);
    proc.check(proc.exited() == Some(Exit::Code(0)), &format!("it should be told; nginx: {}", nginx.report()));
    assert_eq!(log(), "POST /-/reload HTTP/1.1 204 \"O=nobody\" TLSv1.3\n");
    let strangers = bed.pki.root(&Ask::authority("strangers"));
    let proc = once(&reload(strangers.cert()), &[]);
    proc.check(proc.exited() == Some(Exit::Code(1)) && proc.stderr().contains("not trusted"), "whom it does not know");

    // Docker's client calls them ca.pem, cert.pem and key.pem.
    let docker = dir.mkdir("docker");
    for (from, to) in [(&bed.root.cert, "ca.pem"), (&bed.me.cert, "cert.pem"), (&bed.me.key, "key.pem")] {
        std::fs::copy(from, docker.join(to)).unwrap();
    }
    let vars = [
        ("DOCKER_HOST", format!("tcp://127.0.0.1:{port}")),
        ("DOCKER_TLS_VERIFY", "1".into()),
        ("DOCKER_CERT_PATH", docker.display().to_string()),
    ]
    .map(|(name, value)| (name.to_string(), value));
    let proc = once("[app]\nreload = 'docker://web?signal=HUP'\n", &vars);
    proc.check(proc.exited() == Some(Exit::Code(0)), "Docker should be told");
    assert_eq!(log().lines().last(), Some("POST /containers/web/kill?signal=HUP HTTP/1.1 204 \"O=nobody\" TLSv1.3"));
}
