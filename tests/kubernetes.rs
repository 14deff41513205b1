//! ConfigMaps and Secrets of a real kube-apiserver as keys of templates: found, followed, lost, refused and found again.
//! What the real one cannot be made to do is in tests/kubernetes_faults.rs.
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
use std::path::PathBuf;
use std::sync::Arc;
use util::*;

const ALL: &str = "{{ range gets \"/*\" }}{{ .Key }}={{ .Value }};{{ end }}";

/// A namespace with a service account whose token stands in a file, and a kubeconfig that names both.
struct Bed {
    kube: Arc<Kube>,
    ns: String,
    token: PathBuf,
    config: PathBuf,
    dir: TempDir,
}

impl Bed {
    /// In the cluster that tests share.
    fn new() -> Bed {
        Bed::of(Kube::shared(), None)
    }
    /// In a cluster of its own.
    fn alone() -> Bed {
        Bed::of(Arc::new(Kube::start()), None)
    }
    /// Behind this address.
    fn of(kube: Arc<Kube>, server: Option<&str>) -> Bed {
        let (dir, ns) = (TempDir::new(), kube.namespace());
        let token = dir.write("token", kube.token(&ns, "bound-first"));
        let user = [format!("tokenFile: {}", token.display())];
        let config = kube.kubeconfig(&format!("{ns}.conf"), &ns, server.unwrap_or(&kube.addr()), &user);
        Bed { kube, ns, token, config, dir }
    }
    /// The service account may see this ConfigMap and nothing else.
    fn allow_web(self) -> Bed {
        self.kube.allow(&self.ns, "configmaps", &["web"]);
        self
    }
    /// A source, by what stands behind the namespace. A stream ends after this time.
    fn source(&self, what: &str, wait: &str) -> Setup {
        Setup::new(&format!("k8s://{}/{what}", self.ns))
            .source(&format!("kubeconfig = '{}'", self.config.display()))
            .source(&format!("wait = '{wait}'"))
    }
    /// All keys of the ConfigMap `web` in the file `f`.
    fn web(&self, wait: &str) -> Setup {
        self.source("configmap/web", wait).file("f", &["/"], ALL)
    }
    fn map(&self, data: Value) {
        self.kube.map(&self.ns, "web", data);
    }
}

#[test]
fn a_map_is_made_changed_deleted_and_made_again() {
    let bed = Bed::new().allow_web();
    let fish = bed.web("60s").app("f").spawn();
    let missing = format!("configmap {}/web does not exist: waiting for it", bed.ns);
    fish.proc.wait_line(&missing, LONG);
    bed.map(json!({"a": "1", "b.conf": "x\ny"}));
    fish.proc.wait_line("config: /a=1;/b.conf=x\\ny; pid=", LONG);
    fish.wait_recovery(1);
    bed.map(json!({"a": "2"}));
    fish.wait("f", "/a=2;");
    bed.kube.delete(&bed.ns, "configmaps", "web");
    let gone = format!("configmap {}/web is gone: keeping its last content", bed.ns);
    let line = fish.proc.wait_line(&gone, LONG);
    fish.check(!line.text.contains("next try"), "nothing is tried: the news will come");
    fish.holds("f", "/a=2;");
    let renders = fish.renders("f");
    bed.map(json!({"a": "2"}));
    fish.wait_recovery(2);
    fish.check(fish.renders("f") == renders, "the same content is no news");
    fish.check(fish.count(&gone) == 1, "it is said once");
    bed.kube.delete(&bed.ns, "configmaps", "web");
    fish.proc.wait_nth_line(2, &gone, LONG);
    fish.holds("f", "/a=2;");
    bed.map(json!({"a": "3"}));
    fish.wait("f", "/a=3;");
    fish.check(fish.outages().0 == 0, "the server was there all the time");
    fish.end();
}

#[test]
fn binary_data_and_secrets_come_as_they_are() {
    let bed = Bed::new().allow_web();
    bed.kube.allow(&bed.ns, "secrets", &["db"]);
    let bytes: Vec<u8> = (0..=255).collect();
    let both = json!({"data": {"text": "é\n"}, "binaryData": {"bin": base64(&bytes)}});
    bed.kube.put(&bed.ns, "configmaps", "web", both);
    let secret = json!({"data": {"password": base64(b"s3cret\n"), "bin": base64(&bytes)}});
    bed.kube.put(&bed.ns, "secrets", "db", secret);
    let fish = bed.source("configmap/web", "60s").file("b", &["/"], "{{ getv \"/bin\" }}");
    let fish = fish.file("t", &["/"], "{{ getv \"/text\" }}").spawn();
    fish.wait("b", &bytes);
    fish.wait("t", "é\n");
    fish.end();
    let fish = bed.source("secret/db", "60s").file("b", &["/"], "{{ getv \"/bin\" }}");
    let fish = fish.file("p", &["/"], "{{ getv \"/password\" }}").spawn();
    fish.wait("p", "s3cret\n");
    fish.wait("b", &bytes);
    let secret = json!({"data": {"password": base64(b"0ther"), "bin": ""}});
    bed.kube.put(&bed.ns, "secrets", "db", secret);
    fish.wait("p", "0ther");
    fish.wait("b", "");
    fish.end();
    let said = fish.proc.stderr() + &fish.proc.stdout();
    fish.check(!said.contains("s3cret") && !said.contains("0ther"), "the secret is in the log");
}

#[test]
fn labels_pick_objects_however_many_there_are() {
    let bed = Bed::new();
    bed.kube.allow(&bed.ns, "configmaps", &[]);
    let put = |name: &str, label: &str, value: &str| {
        let body = json!({"metadata": {"labels": {"app": label}}, "data": {"v": value}});
        bed.kube.put(&bed.ns, "configmaps", name, body);
    };
    // More than two pages.
    let mut want = String::new();
    for i in 0..120 {
        put(&format!("m{i:03}"), "web", &i.to_string());
        want.push_str(&format!("/m{i:03}/v={i};"));
    }
    put("other", "db", "no");
    let template = ALL.replace("/*", "/*/*");
    let fish = bed.source("configmap?selector=app=web", "60s").file("f", &["/"], &template).spawn();
    fish.wait("f", &want);
    // One more, one with another label, one that is deleted, one that changes.
    put("other", "web", "yes");
    put("m000", "db", "0");
    bed.kube.delete(&bed.ns, "configmaps", "m001");
    put("m002", "web", "two");
    let want = want.replace("/m000/v=0;/m001/v=1;/m002/v=2;", "/m002/v=two;") + "/other/v=yes;";
    fish.wait("f", &want);
    fish.check(fish.outages() == (0, 0), "nothing failed");
    fish.end();
}

#[test]
fn what_rbac_does_not_allow_is_said_and_the_last_content_stays() {
    let bed = Bed::new();
    bed.map(json!({"a": "1"}));
    let fish = bed.web("2s").spawn();
    let line = fish.wait_outage(1);
    let want = format!(
        "(it needs a rule with resources: configmaps, resourceNames: web, verbs: list, watch in the namespace {})",
        bed.ns
    );
    fish.check(line.text.contains("403 ") && line.text.contains(&want), "the rule that is missing");
    bed.kube.allow(&bed.ns, "configmaps", &["web"]);
    fish.wait("f", "/a=1;");
    fish.wait_recovery(1);
    bed.kube.forbid(&bed.ns, "configmaps", &["web"]);
    // The stream that is there lives on for its time; the next one is refused.
    fish.wait_outage(2);
    bed.map(json!({"a": "2"}));
    let tries = fish.count("403 ");
    fish.proc.wait_nth_line(tries + 2, "403 ", LONG);
    fish.holds("f", "/a=1;");
    bed.kube.allow(&bed.ns, "configmaps", &["web"]);
    fish.wait("f", "/a=2;");
    fish.wait_recovery(2);
    fish.check(fish.outages() == (2, 2), "each refusal is said twice");
    fish.end();
}

/// Another object that may be read does not open this one.
#[test]
fn a_rule_for_one_object_suffices_and_opens_no_other() {
    let bed = Bed::new().allow_web();
    bed.map(json!({"a": "1"}));
    bed.kube.map(&bed.ns, "other", json!({"a": "2"}));
    let fish = bed.web("60s").spawn();
    fish.wait("f", "/a=1;");
    fish.end();
    for what in ["configmap/other", "secret/web", "configmap?selector=", "configmap?selector=app=web"] {
        let fish = bed.source(what, "60s").file("f", &["/"], ALL).spawn();
        let line = fish.wait_outage(1);
        fish.check(line.text.contains("403 "), what);
        fish.end();
    }
}

#[test]
fn a_token_that_rotates_is_read_again() {
    let bed = Bed::new().allow_web();
    bed.map(json!({"a": "1"}));
    let fish = bed.web("2s").spawn();
    fish.wait("f", "/a=1;");
    let old = std::fs::read_to_string(&bed.token).unwrap();
    let end = |bound: &str, token: &str| {
        bed.kube.delete(&bed.ns, "secrets", bound);
        // It is remembered for some seconds.
        wait_until(LONG, "a token that has ended", || (!bed.kube.takes(token)).then_some(()));
    };
    // As the kubelet does it: the new one is there before the old one ends.
    let new = bed.kube.token(&bed.ns, "bound-second");
    bed.dir.write("token.new", &new);
    std::fs::rename(bed.dir.join("token.new"), &bed.token).unwrap();
    end("bound-first", &old);
    bed.map(json!({"a": "2"}));
    fish.wait("f", "/a=2;");
    fish.check(fish.outages() == (0, 0), "nothing failed");
    // The other way round it is said, and heals by itself.
    end("bound-second", &new);
    let line = fish.wait_outage(1);
    fish.check(line.text.contains("401 Unauthorized (is the token or certificate right?)"), "what is wrong");
    fish.check(!line.text.contains(&new), "no token in a message");
    bed.map(json!({"a": "3"}));
    bed.dir.write("token", bed.kube.token(&bed.ns, "bound-third"));
    fish.wait("f", "/a=3;");
    fish.wait_recovery(1);
    fish.end();
}

#[test]
fn the_largest_map_and_a_burst_of_changes() {
    let bed = Bed::new().allow_web();
    let fish = bed.web("60s").spawn();
    // All keys and values of an object may have a MiB.
    let big = |c: &str| c.repeat((1 << 20) - 100);
    for c in ["x", "y"] {
        bed.map(json!({"big": big(c)}));
        fish.wait("f", format!("/big={};", big(c)));
    }
    let many: serde_json::Map<String, Value> = (0..5000).map(|i| (format!("k{i:04}"), json!(i.to_string()))).collect();
    let want: String = (0..5000).map(|i| format!("/k{i:04}={i};")).collect();
    bed.map(Value::Object(many));
    fish.wait("f", want);
    let before = fish.renders("f");
    let start = std::time::Instant::now();
    for i in 1..=50 {
        bed.map(json!({"n": i.to_string()}));
    }
    fish.wait("f", "/n=50;");
    let most = start.elapsed().as_millis() as usize / 100 + 2;
    let renders = fish.renders("f") - before;
    fish.check(renders <= most, &format!("{renders} renders, not more than {most}"));
    fish.end();
}

#[test]
fn streams_that_end_go_on_and_an_apiserver_that_was_killed_is_found_again() {
    let bed = Bed::alone().allow_web();
    bed.map(json!({"a": "1"}));
    let fish = bed.web("2s").app("f").spawn();
    fish.proc.wait_line("config: /a=1; pid=", LONG);
    let ended = || bed.kube.metric("apiserver_request_total", &["resource=\"configmaps\"", "verb=\"WATCH\""]);
    let lists = || bed.kube.metric("apiserver_request_total", &["resource=\"configmaps\"", "verb=\"LIST\""]);
    let (before, listed, renders) = (ended(), lists(), fish.renders("f"));
    wait_until(LONG, "three streams that end", || (ended() >= before + 3).then_some(()));
    fish.check(lists() == listed, "what goes on lists nothing");
    bed.map(json!({"a": "2"}));
    fish.wait("f", "/a=2;");
    fish.expect_renders("f", renders + 1, "only a change is rendered");
    fish.check(fish.outages() == (0, 0), "a stream that ends is no outage");

    bed.kube.kill9();
    let line = fish.wait_outage(1);
    fish.check(line.text.contains(&format!("cannot read configmap {}/web from Kubernetes at", bed.ns)), "what is down");
    bed.kube.restart();
    fish.wait_recovery(1);
    fish.holds("f", "/a=2;");
    fish.expect_renders("f", renders + 1, "an outage is no change");
    // Frozen: its connections stay, and say nothing.
    bed.kube.freeze(true);
    fish.wait_outage(2);
    bed.kube.freeze(false);
    fish.wait_recovery(2);
    bed.map(json!({"a": "3"}));
    fish.wait("f", "/a=3;");
    fish.proc.wait_line("config: /a=3; pid=", LONG);
    fish.check(fish.outages() == (2, 2), "each outage is said twice");
    fish.check(fish.reloads() == 2, "two changes, two reloads");
    fish.end();
}

/// A connection that holds all it is told; meanwhile the server is restarted twice, and what happened before the last
/// start is compacted: there is no way to go on from the version that is known.
#[test]
fn a_version_that_is_too_old_is_listed_again() {
    let kube = Arc::new(Kube::start());
    let wire = Wire::to(&kube.addr());
    let bed = Bed::of(kube.clone(), Some(&wire.addr())).allow_web();
    bed.map(json!({"a": "1"}));
    let fish = bed.web("60s").app("f").spawn();
    fish.proc.wait_line("config: /a=1; pid=", LONG);
    let lists = || kube.metric("apiserver_request_total", &["resource=\"configmaps\"", "verb=\"LIST\""]);
    for value in ["1", "2"] {
        let renders = fish.renders("f");
        wire.hold(true);
        kube.kill9();
        kube.restart();
        if value != "1" {
            bed.map(json!({"a": value}));
        }
        for i in 0..20 {
            kube.map(&bed.ns, "other", json!({"n": i.to_string()}));
        }
        kube.etcd.compact();
        kube.kill9();
        kube.restart();
        let before = lists();
        wire.hold(false);
        wait_until(LONG, "a list that is asked for", || (lists() > before).then_some(()));
        if value == "1" {
            continue;
        }
        fish.wait("f", "/a=2;");
        fish.expect_renders("f", renders + 1, "what is the same is no news");
    }
    fish.check(fish.outages() == (0, 0), "no outage: the server was there when it was asked");
    fish.end();
}

/// Nothing comes any more, not even the end.
#[test]
fn a_dead_connection_is_given_up() {
    let kube = Kube::shared();
    let wire = Wire::to(&kube.addr());
    let bed = Bed::of(kube, Some(&wire.addr())).allow_web();
    bed.map(json!({"a": "1"}));
    let fish = bed.web("2s").spawn();
    fish.wait("f", "/a=1;");
    wire.hold(true);
    bed.map(json!({"a": "2"}));
    fish.wait_outage(1);
    wire.hold(false);
    fish.wait("f", "/a=2;");
    fish.wait_recovery(1);
    fish.end();
}

#[test]
fn kv_reads_and_writes_nothing() {
    let bed = Bed::new().allow_web();
    bed.map(json!({"a": "1", "b": "2"}));
    let kv = |args: &[&str], object: &str| {
        let source = format!("k8s://{}/configmap/{object}", bed.ns);
        let config = bed.config.to_str().unwrap();
        pilotfish().arg("kv").args(args).args(["--source", &source, "--kubeconfig", config]).run(secs(30))
    };
    let ok = |args: &[&str]| {
        let p = kv(args, "web");
        p.expect_exit(Exit::Code(0), secs(1));
        p.stdout()
    };
    assert_eq!(ok(&["ls"]), "/a\n/b\n");
    assert_eq!(ok(&["get", "/a"]), "1\n");
    assert_eq!(ok(&["get", "-r", "/"]), "/a=1\n/b=2\n");
    let p = kv(&["set", "/a", "3"], "web");
    p.expect_exit(Exit::Code(1), secs(1));
    p.check(p.stderr().contains("of Kubernetes: it can only be read"), "it is said");
    bed.kube.delete(&bed.ns, "configmaps", "web");
    let p = kv(&["get", "/a"], "web");
    p.expect_exit(Exit::Code(69), secs(1));
    p.check(p.stderr().contains("web does not exist"), "it is said");
}

/// Each way in that a kubeconfig may name, and each that it may not.
#[test]
fn a_kubeconfig_as_people_have_it() {
    let bed = Bed::new().allow_web();
    bed.map(json!({"a": "1"}));
    let (kube, ns) = (&bed.kube, &bed.ns);
    let person = kube.pki.issue(&kube.ca, &Ask::client("person"));
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings");
    let person_may = json!({"metadata": {"name": "person"}, "subjects": [{"kind": "User", "name": "person"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "configmaps-web"}});
    kube.call("POST", &rbac, person_may);
    let file = |path: &str| base64(&std::fs::read(path).unwrap());
    let token = std::fs::read_to_string(&bed.token).unwrap();
    let ca = format!("certificate-authority-data: {}", file(kube.ca.cert()));
    std::fs::copy(kube.ca.cert(), bed.dir.join("ca.pem")).unwrap();
    let config = |name: &str, cluster: &str, user: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: here\ncontexts:\n- name: there\n  context: {{cluster: x, \
             user: x}}\n- name: here\n  context:\n    cluster: c\n    user: u\nclusters:\n- name: c\n  cluster:\n    \
             server: https://{}\n    {cluster}\nusers:\n- name: u\n  user:\n    {user}\n",
            kube.addr()
        );
        bed.dir.write(name, text)
    };
    let get = |path: &PathBuf| {
        let source = format!("k8s://{ns}/configmap/web");
        pilotfish().args(["kv", "get", "/a", "--source", &source]).env("KUBECONFIG", path).run(secs(30))
    };
    let by_token = format!("token: {token}");
    let by_files = format!("client-certificate: {}\n    client-key: {}", person.cert(), person.key());
    let by_data =
        format!("client-certificate-data: {}\n    client-key-data: {}", file(person.cert()), file(person.key()));
    let wrong_name = format!("{ca}\n    tls-server-name: other.example");
    let right_name = format!("{ca}\n    tls-server-name: kubernetes.default.svc");
    for (cluster, user, want) in [
        (&*ca, &*by_token, "1\n"),
        (&ca, &by_files, "1\n"),
        (&ca, &by_data, "1\n"),
        ("certificate-authority: ca.pem", "tokenFile: token", "1\n"),
        ("insecure-skip-tls-verify: true", &by_token, "1\n"),
        (&right_name, &by_token, "1\n"),
        (&wrong_name, &by_token, "other.example"),
        ("", &by_token, "certificate"),
        (&ca, "username: a\n    password: b", "403"), // this server knows no passwords: nobody
        (&ca, "exec: {command: aws}", "the user u logs in by exec, which needs a program"),
        (&ca, "auth-provider: {name: gcp}", "the user u logs in by auth-provider"),
        (&ca, "client-certificate: ca.pem", "a client-certificate needs a client-key"),
        (&ca, "client-key-data: '!'", "client-key-data is no base64"),
    ] {
        let p = get(&config("kc", cluster, user));
        if want == "1\n" {
            p.check(p.exited() == Some(Exit::Code(0)) && p.stdout() == want, user);
        } else {
            p.check(p.exited() != Some(Exit::Code(0)) && p.stderr().contains(want), want);
        }
        p.check(!p.stderr().contains(&token), "no token in a message");
    }
    // JSON, as other tools write it.
    let json = json!({"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": format!("https://{}", kube.addr()),
            "certificate-authority": kube.ca.cert()}}],
        "users": [{"name": "u", "user": {"token": token}}]});
    let p = get(&bed.dir.write("kc.json", json.to_string()));
    p.check(p.stdout() == "1\n", "JSON");
    // A line that is wrong may hold a token: it is not shown.
    let p = get(&bed.dir.write("kc.bad", format!("users:\n- name: u\n  user: {{token: \"{token}\n")));
    p.expect_exit(Exit::Code(64), secs(1));
    p.check(!p.stderr().contains(&token) && p.stderr().contains("kc.bad"), "no token in a message");
}

/// A pod: nothing but what the kubelet gives it.
#[test]
fn in_a_pod_the_service_account_suffices() {
    let bed = Bed::new().allow_web();
    bed.map(json!({"a": "1"}));
    let root = empty_root(&[(&pilotfish_bin(), "pilotfish"), (&static_app(), "probe")]);
    let account = "var/run/secrets/kubernetes.io/serviceaccount";
    root.write(format!("{account}/token"), std::fs::read(&bed.token).unwrap());
    root.write(format!("{account}/ca.crt"), std::fs::read(bed.kube.ca.cert()).unwrap());
    root.write(format!("{account}/namespace"), &bed.ns);
    root.mkdir("proc");
    let addr = bed.kube.addr();
    let (host, port) = addr.rsplit_once(':').unwrap();
    let toml = "[source.k]\nurl = 'k8s:///configmap/web'\n[[template]]\ntext = '{{ getv(\"/a\") }}'\ndest = '/etc/f'\nmake_dirs = true\n";
    let proc = in_pid_namespace(Some(root.path()), "/pilotfish")
        .env("KUBERNETES_SERVICE_HOST", host)
        .env("KUBERNETES_SERVICE_PORT", port)
        .env("PILOTFISH_CONFIG", toml)
        .args(["--", "/probe", "config", "/etc/f"])
        .spawn();
    proc.wait_line("config: 1 pid=", LONG);
    bed.map(json!({"a": "2"}));
    proc.wait_line("config: 2 pid=", LONG);
    proc.signal_inner(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), secs(20));
}

/// The README's example for a volume that the kubelet swaps: the webhook is called once for each change, and for no other.
#[test]
fn a_mounted_volume_calls_a_webhook() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let example = readme.split("```toml\n# pilotfish.toml\n[source.volume]").nth(1).expect("the README's example");
    let example = example.split("```").next().unwrap();
    let hook = FakeHttp::start(|_| Answer::reply(200, &[], ""));
    let dir = TempDir::new();
    let swap = |n: u32, files: &[(&str, &str)]| {
        for (name, text) in files {
            dir.write(format!("volume/..{n}/{name}"), text);
        }
        let new = dir.join("volume/..data_tmp");
        std::os::unix::fs::symlink(format!("..{n}"), &new).unwrap();
        std::fs::rename(&new, dir.join("volume/..data")).unwrap();
        for (name, _) in files {
            let link = dir.join("volume").join(name);
            if !link.is_symlink() {
                std::os::unix::fs::symlink(format!("..data/{name}"), link).unwrap();
            }
        }
        if n > 1 {
            std::fs::remove_dir_all(dir.join(format!("volume/..{}", n - 1))).unwrap();
        }
    };
    swap(1, &[("a.yml", "1"), ("b.yml", "1")]);
    let toml = ["[source.volume]", example].concat();
    let seen = dir.join("seen");
    let toml = toml
        .replace("/etc/config", &dir.join("volume").display().to_string())
        .replace("/tmp/seen", &seen.display().to_string())
        .replace("http://localhost:9090", &format!("http://{}", hook.addr()));
    let proc = pilotfish().arg("--config").arg(dir.write("pilotfish.toml", toml)).spawn();
    let calls = |n: usize| wait_until(LONG, "a call of the webhook", || (hook.count() >= n).then_some(()));
    calls(1);
    swap(2, &[("a.yml", "2"), ("b.yml", "2")]);
    calls(2);
    swap(3, &[("a.yml", "2"), ("b.yml", "2")]);
    swap(4, &[("a.yml", "2"), ("b.yml", "3")]);
    calls(3);
    proc.check(hook.count() == 3, "a swap that changes nothing calls nobody");
    proc.check(hook.requests()[0].method == "POST" && hook.requests()[0].path == "/-/reload", "as it is written");
    proc.check(std::fs::read_to_string(&seen).unwrap().starts_with("/a.yml "), "a line for each file");
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), secs(20));
}
