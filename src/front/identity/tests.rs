//! What each way in says of TLS and of secrets, from words and variables to the plan.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use crate::front::{self, Invocation, World};
use crate::plan::{Pem, Plan, Reload, Secret, SourceKind, Tls};

/// What comes of a command line and an environment, where no file is but conf.d's folder.
fn enter(args: &[&str], vars: &[(&str, &str)]) -> Result<Plan, String> {
    let vars: Vec<(String, String)> = vars.iter().map(|(n, v)| ((*n).to_string(), (*v).to_string())).collect();
    let read = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let world = World { vars: &vars, read: &read, files: &|_| Ok(Vec::new()), host: &crate::front::Host::default };
    let args: Vec<String> = args.iter().map(|a| (*a).to_string()).collect();
    match front::read("pilotfish", &args, &world) {
        Ok(Invocation::Run(plan)) => Ok(*plan),
        Ok(Invocation::Kv(query)) => match std::sync::Arc::try_unwrap(query.plan) {
            Ok(plan) => Ok(plan),
            Err(_) => panic!("the plan is shared"),
        },
        Ok(_) => panic!("nothing to run"),
        Err(e) => Err(e.into_text()),
    }
}

fn secret(secret: &Secret) -> String {
    match secret {
        Secret::None => String::new(),
        Secret::Text(text) => text.to_string(),
        Secret::File(path) => format!("<{}", path.display()),
    }
}

fn pem(pem: &Pem) -> String {
    match pem {
        Pem::File(path) => path.display().to_string(),
        Pem::Text(text) => format!("{} bytes", text.len()),
    }
}

/// `ca,ca cert key name !` of a plan's TLS.
fn shown(tls: &Tls) -> String {
    let ca: Vec<String> = tls.ca.iter().map(pem).collect();
    let mut text = ca.join(",");
    if let Some((cert, key)) = &tls.identity {
        text += &format!(" {} {}", pem(cert), pem(key));
    }
    if let Some(name) = &tls.name {
        text += &format!(" {name}");
    }
    text + if tls.insecure { " !" } else { "" }
}

/// Addresses, TLS, token and basic authentication of the one source.
fn source(plan: &Plan) -> [String; 4] {
    let (addresses, tls, token, basic) = match &plan.sources[0].kind {
        SourceKind::Consul(c) => (&c.addresses, &c.tls, secret(&c.token), &c.basic),
        SourceKind::Etcd(e) => (&e.endpoints, &e.tls, e.version.to_string(), &e.basic),
        _ => panic!("a source without servers"),
    };
    let basic = basic.as_ref().map_or(String::new(), |(user, p)| format!("{user}:{}", secret(p)));
    [addresses.join(" "), shown(tls), token, basic]
}

const PEM: &str = "-----BEGIN CERTIFICATE-----\n";

#[test]
fn every_way_in_says_whom_to_trust() {
    let toml = |more: &str| format!("[source.a]\n{more}\n[[template]]\ndest = '/d'\ntext = ''\n");
    let of_consul: &[(&str, &str)] = &[
        ("CONSUL_HTTP_ADDR", "https://c:8501"),
        ("CONSUL_CACERT", "/ca"),
        ("CONSUL_CAPATH", "/cas"),
        ("CONSUL_CLIENT_CERT", "/cert"),
        ("CONSUL_CLIENT_KEY", "/key"),
        ("CONSUL_TLS_SERVER_NAME", "n"),
        ("CONSUL_HTTP_AUTH", "u:p:q"),
    ];
    let of_etcd: &[(&str, &str)] = &[
        ("ETCDCTL_ENDPOINTS", "https://a:1,b"),
        ("ETCDCTL_CACERT", "/ca"),
        ("ETCDCTL_CERT", "/cert"),
        ("ETCDCTL_KEY", "/key"),
        ("ETCDCTL_USER", "u"),
        ("ETCDCTL_PASSWORD", "p"),
    ];
    let of_etcd2: &[(&str, &str)] = &[
        ("ETCDCTL_PEERS", "https://a:1"),
        ("ETCDCTL_CA_FILE", "/ca2"),
        ("ETCDCTL_CERT_FILE", "/cert2"),
        ("ETCDCTL_KEY_FILE", "/key2"),
        ("ETCDCTL_USER", "u:p"),
    ];
    let files: &[&str] = &["-client-ca-keys", "/ca", "-client-cert=/cert", "-client-key", "/key"];
    let kv = |args: &[&'static str]| [&["kv", "get", "/a"], args].concat();
    let confd = |args: &[&'static str]| [&["confd"], args].concat();
    let native = ["-c", "[x=\n"];
    for (args, vars, want) in [
        // Consul's own variables, wherever its address counts.
        (kv(&["-s", "consul:"]), of_consul, ["https://c:8501", "/ca /cert /key n", "", "u:p:q"]),
        (confd(&["-backend=consul"]), of_consul, ["https://c:8501", "/ca /cert /key n", "", "u:p:q"]),
        (kv(&["-s", "consul://h:1"]), of_consul, ["http://h:1", "/ca /cert /key n", "", "u:p:q"]),
        (
            kv(&["-s", "consul:"]),
            &[("CONSUL_HTTP_SSL", "1"), ("CONSUL_CAPATH", "/cas"), ("CONSUL_HTTP_SSL_VERIFY", "false")],
            ["https://127.0.0.1:8500", "/cas !", "", ""],
        ),
        (kv(&["-s", "consul:"]), &[("CONSUL_HTTP_SSL", "no")], ["http://127.0.0.1:8500", "", "", ""]),
        (kv(&["-s", "consul+https:"]), &[("CONSUL_HTTP_ADDR", "h")], ["https://h:8501", "", "", ""]),
        (kv(&["-s", "consul://h"]), &[("CONSUL_HTTP_SSL", "true")], ["http://h:8500", "", "", ""]),
        (confd(&["-backend=consul", "-node=h"]), &[("CONSUL_HTTP_SSL", "true")], ["https://h:8501", "", "", ""]),
        (
            confd(&["-backend=consul", "-node=h", "-scheme=http"]),
            &[("CONSUL_HTTP_SSL", "true")],
            ["http://h:8500", "", "", ""],
        ),
        // etcdctl's.
        (kv(&["-s", "etcd+https:"]), of_etcd, ["https://a:1 https://b:2379", "/ca /cert /key", "3", "u:p"]),
        (kv(&["-s", "etcd:///p"]), of_etcd, ["https://a:1 http://b:2379", "/ca /cert /key", "3", "u:p"]),
        (confd(&[]), of_etcd2, ["https://a:1", "/ca2 /cert2 /key2", "2", "u:p"]),
        (confd(&["-backend", "etcdv3"]), of_etcd2, ["https://a:1", "/ca2 /cert2 /key2", "3", "u:p"]),
        (confd(&["-username", "v", "-password=w"]), of_etcd2, ["https://a:1", "/ca2 /cert2 /key2", "2", "v:w"]),
        (
            kv(&["-s", "etcd2+https://h"]),
            &[("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "true")],
            ["https://h:2379", " !", "2", ""],
        ),
        // confd's flags and variables.
        (
            [&confd(&["-backend=consul", "-node=h:1", "-scheme=https"]), files].concat(),
            of_consul,
            ["https://h:1", "/ca /cert /key n", "", "u:p:q"],
        ),
        (
            [&confd(&["-node=h:1", "-client-insecure", "-auth-token=t"]), files].concat(),
            &[],
            ["https://h:1", "/ca /cert /key !", "2", ""],
        ),
        (
            [&confd(&["-backend=etcdv3", "-node=http://h:1"]), files].concat(),
            &[],
            ["http://h:1", "/ca /cert /key", "3", ""],
        ),
        (
            vec!["confd-sidecar", "x"],
            &[
                ("CONFD_NODE", "https://h:1"),
                ("CONFD_CLIENT_CAKEYS", "/ca"),
                ("CONFD_CLIENT_CERT", "/cert"),
                ("CONFD_CLIENT_KEY", "/key"),
                ("CONFD_AUTH_TOKEN", "t"),
            ],
            ["https://h:1", "/ca /cert /key", "t", ""],
        ),
        (
            vec!["confd-sidecar", "--ca=/x", "--server-name=n", "x"],
            &[("CONFD_NODE", "https://h:1"), ("CONFD_CLIENT_CAKEYS", "/ca"), ("CONFD_BACKEND", "etcdv3")],
            ["https://h:1", "/x n", "3", ""],
        ),
        (confd(&["-srv-domain", "d", "-scheme", "https"]), &[], ["srv+https://_etcd._tcp.d.", "", "2", ""]),
        // Options, variables and pilotfish.toml.
        (
            kv(&["-s", "consul+https://h/p", "--ca", "/a", "--ca=/b", "--cert=/c", "--key=/k", "--server-name=n"]),
            &[],
            ["https://h:8501", "/a,/b /c /k n", "", ""],
        ),
        (
            kv(&["-s", "etcd+https://h", "--insecure", "--key=/k"]),
            &[("PILOTFISH_CA", PEM), ("PILOTFISH_CERT", "/c"), ("PILOTFISH_KEY", "/x")],
            ["https://h:2379", "28 bytes /c /k !", "3", ""],
        ),
        (
            native.to_vec(),
            &[(
                "TOML",
                "url = 'consul+https://h'\nca = ['/a', '/b']\ncert = '/c'\nkey = '/k'\nserver_name = 'n'\n\
                    username = 'u'\npassword_file = '/p'\ntoken = 'x'\ntoken_file = '/t'",
            )],
            ["https://h:8501", "/a,/b /c /k n", "</t", "u:</p"],
        ),
        (
            [&native[..], &["--cert", "/d", "--ca", "/x"]].concat(),
            &[("TOML", "url = 'etcd+https://h:1,g:2'\nca = '/a'\ncert = '/c'\nkey = '/k'\ninsecure = true")],
            ["https://h:1 https://g:2", "/x /d /k !", "3", ""],
        ),
        (
            native.to_vec(),
            &[
                ("TOML", "url = 'consul:'\ninsecure = false\nca = '/x'"),
                ("CONSUL_HTTP_SSL_VERIFY", "false"),
                ("CONSUL_HTTP_ADDR", "https://h"),
            ],
            ["https://h:443", "/x", "", ""],
        ),
        (
            native.to_vec(),
            &[("TOML", "url = 'etcd+https:'\nsrv_domain = 'd'\npassword = 'p'\nusername = 'u'")],
            ["srv+https://_etcd-client-ssl._tcp.d.", "", "3", "u:p"],
        ),
    ] {
        let whole = vars.iter().find(|(n, _)| *n == "TOML").map(|(_, text)| toml(text)).unwrap_or_default();
        let args: Vec<&str> = args.iter().map(|a| if *a == native[1] { whole.as_str() } else { a }).collect();
        let plan = enter(&args, vars).unwrap_or_else(|e| panic!("{args:?} {vars:?}: {e}"));
        assert_eq!(source(&plan), want, "{args:?} {vars:?}");
    }
}

#[test]
fn what_does_not_go_together_is_wrong() {
    let toml = |more: &str| format!("[source.a]\nurl = '{more}\n[[template]]\ndest = '/d'\ntext = ''\n");
    for (args, want) in [
        (&["confd", "-client-cert=/c"][..], "-client-cert needs -client-key beside it"),
        (&["confd", "-backend=consul", "-client-key=/k"], "-client-key needs -client-cert beside it"),
        (&["confd", "-backend=consul", "-scheme=ftp"], "cannot use Consul at ftp://127.0.0.1:8500: expected host:port"),
        (&["kv", "ls", "-s", "etcd+https://h", "--cert=/c"], "--source etcd+https://h: --cert needs --key beside it"),
        (&["kv", "ls", "-s", "etcd://h", "--ca=/c"], "--source etcd://h: --ca is for TLS: the URL must say https"),
        (&["kv", "ls", "-s", "consul+unix:///s", "--insecure"], "--insecure is for TLS: the URL must say https"),
        (&["-c", &toml("consul+https://h'\nkey = '/k'")], "PILOTFISH_CONFIG:3: `source.a.key` needs `cert` beside it"),
        (&["-c", &toml("consul://h'\nserver_name = 'n'")], "PILOTFISH_CONFIG:3: `source.a.server_name` is for TLS"),
        (&["-c", &toml("etcd://h'\nusername = 'n'")], "`source.a.username` needs `password` or `password_file`"),
        (&["-c", &toml("consul://h'\npassword_file = 'n'")], "`source.a.password_file` needs `username` beside it"),
        (&["-c", &toml("etcd+https://h'\nca = 1")], "`source.a.ca` must be a list of texts"),
    ] {
        let e = enter(args, &[]).err().unwrap_or_default();
        assert!(e.contains(want), "{args:?}: {e}\nwanted {want}");
    }
    let e = enter(&["kv", "ls", "-s", "consul:"], &[("CONSUL_CLIENT_CERT", "/c")]).err().unwrap();
    assert_eq!(e, "--source consul:: CONSUL_CLIENT_CERT needs CONSUL_CLIENT_KEY beside it");
    let plain = "no node is https://: ";
    let alone = "a user without a password, or a password without a user, counts for nothing";
    for (args, noted) in [
        (&["confd", "-backend=consul", "-client-cert=/c", "-client-key=/k"][..], plain),
        (&["confd", "-backend=etcdv3", "-node=http://h", "-client-ca-keys=/c"], plain),
        (&["confd", "-node=h", "-client-insecure"], plain),
        (&["confd", "-node=h", "-username=u"], alone),
        (&["confd", "-backend=consul", "-password=p"], alone),
        (&["confd", "-node=https://h", "-client-ca-keys=/c", "-username=u", "-password=p"], ""),
    ] {
        let notes: Vec<String> = enter(args, &[]).unwrap().notes.into_iter().map(|(_, n)| n).collect();
        for text in [plain, alone] {
            assert_eq!(notes.iter().any(|n| n.starts_with(text)), text == noted, "{args:?}: {notes:?}");
        }
    }
}

#[test]
fn children_do_not_see_what_the_plan_uses() {
    let all = |args: &[&str], vars: &[(&str, &str)]| {
        let plan = enter(args, vars).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        let app = plan.app.map(|app| app.env_remove.join(" ")).unwrap_or_default();
        (plan.env_remove.join(" "), app)
    };
    let own = "PILOTFISH_TOKEN PILOTFISH_CONFIG PILOTFISH_KEY";
    let of_consul = [own, " CONSUL_HTTP_TOKEN CONSUL_HTTP_AUTH"].concat();
    assert_eq!(all(&["-s", "env:", "x"], &[]), (own.to_string(), own.to_string()));
    assert_eq!(all(&["-s", "consul:", "x"], &[]), (of_consul.clone(), of_consul.clone()));
    let etcd = all(&["-s", "etcd:", "--pass-env=PILOTFISH_TOKEN,ETCDCTL_USER", "x"], &[]).1;
    assert_eq!(etcd, "PILOTFISH_CONFIG PILOTFISH_KEY ETCDCTL_PASSWORD");
    let toml = "pass_env = ['CONSUL_HTTP_AUTH']\n[source.a]\nurl = 'consul:'\n[app]\ncommand = 'x'\n\
                pass_env = ['CONSUL_HTTP_TOKEN', 'HOME']\n";
    assert_eq!(all(&["-c", toml], &[]), ([own, " CONSUL_HTTP_TOKEN"].concat(), own.to_string()));
    let vars = &[("PILOTFISH_PASS_ENV", "CONFD_PASSWORD")];
    let confd = [own, " CONFD_AUTH_TOKEN CONSUL_HTTP_TOKEN CONSUL_HTTP_AUTH"].concat();
    assert_eq!(all(&["confd-sidecar", "x"], vars).1, confd);
    let confd = "CONFD_AUTH_TOKEN CONFD_PASSWORD ETCDCTL_USER ETCDCTL_PASSWORD";
    assert_eq!(all(&["confd"], vars).0, confd);
    assert_eq!(all(&["confd", "-backend=env", "-pass-env=CONFD_PASSWORD"], &[]).0, "CONFD_AUTH_TOKEN");
}

#[test]
fn reloads_say_whom_to_trust() {
    let read = |text: &str, vars: &[(&str, &str)]| {
        let toml = format!("[app]\nreload = {text}\n[[template]]\ndest = '/d'\ntext = ''\n");
        let plan = enter(&["-c", &toml], vars)?;
        let Some(Reload::Request(r)) = plan.target else { panic!("no request") };
        let basic = r.basic.as_ref().map_or(String::new(), |(user, p)| format!("{user}:{}", secret(p)));
        Ok([r.shown.clone(), r.address.clone(), shown(&r.tls), secret(&r.token), basic])
    };
    let docker = &[("DOCKER_HOST", "tcp://d"), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", "/c")];
    let docker6 = &[("DOCKER_HOST", "tcp://[::1]:1"), ("DOCKER_TLS_VERIFY", "1"), ("HOME", "/h")];
    for (text, vars, want) in [
        ("'https://h/r?x'", &[][..], ["POST https://h/r", "https://h", "", "", ""]),
        (
            "{url = 'https://h:1', ca = '/a', cert = '/c', key = '/k', server_name = 'n', token_file = '/t'}",
            &[],
            ["POST https://h:1", "https://h:1", "/a /c /k n", "</t", ""],
        ),
        (
            "{url = 'http://h', method = 'PUT', username = 'u', password = 'p'}",
            &[],
            ["PUT http://h", "http://h", "", "", "u:p"],
        ),
        ("{url = 'https://h', insecure = true}", &[], ["POST https://h", "https://h", " !", "", ""]),
        (
            "'docker://n'",
            docker,
            ["docker://n?signal=HUP", "https://d:2376", "/c/ca.pem /c/cert.pem /c/key.pem", "", ""],
        ),
        (
            "'docker://n'",
            docker6,
            [
                "docker://n?signal=HUP",
                "https://[::1]:1",
                "/h/.docker/ca.pem /h/.docker/cert.pem /h/.docker/key.pem",
                "",
                "",
            ],
        ),
        ("'docker://n'", &docker[..1], ["docker://n?signal=HUP", "http://d:2375", "", "", ""]),
    ] {
        let got = read(text, vars).unwrap_or_else(|e: String| panic!("{text}: {e}"));
        // A path that is not said is `/`.
        assert_eq!(got.map(|g| g.trim_end_matches('/').to_string()), want, "{text}");
    }
    for (text, want) in [
        ("{url = 'http://h', ca = '/a'}", "`app.reload.ca` is for TLS: the URL must say https"),
        ("{url = 'https://h', cert = '/a'}", "`app.reload.cert` needs `key` beside it"),
        ("{url = 'https://h', token = 'a', username = 'u', password = 'p'}", "are two ways to say who asks"),
        ("{url = 'https://h', password = 'p'}", "`app.reload.password` needs `username` beside it"),
        ("{url = 'docker://h', ca = '/a'}", "`app.reload.ca` is no key here; there are url, timeout, retries"),
    ] {
        let e = read(text, &[]).err().unwrap_or_default();
        assert!(e.contains(want), "{text}: {e}\nwanted {want}");
    }
}
