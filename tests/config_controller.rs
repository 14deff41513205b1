//! config-controller's way in against a real kube-apiserver: the command lines of its README, and what its users have
//! asked of it since.
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

use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use util::*;

const LONG: Duration = secs(40);

/// A namespace, a service account that may see the ConfigMap `web` in it, and a folder for the files.
struct Bed {
    kube: Arc<Kube>,
    ns: String,
    config: PathBuf,
    dir: TempDir,
}

impl Bed {
    fn new() -> Bed {
        let (kube, dir) = (Kube::shared(), TempDir::new());
        let ns = kube.namespace();
        kube.allow(&ns, "configmaps", &["web"]);
        let token = dir.write("token", kube.token(&ns, "bound"));
        let user = [format!("tokenFile: {}", token.display())];
        let config = kube.kubeconfig(&format!("{ns}.conf"), &ns, &kube.addr(), &user);
        Bed { kube, ns, config, dir }
    }
    /// `config-controller` with these flags; `NS` in them is the namespace.
    fn controller(&self, flags: &[&str]) -> Cmd {
        let root = format!("--configroot={}", self.root().display());
        let kubeconfig = format!("--kubeconfig={}", self.config.display());
        let flags = flags.iter().map(|f| f.replace("NS", &self.ns));
        pilotfish().args(["config-controller", &root, &kubeconfig]).args(flags)
    }
    fn root(&self) -> PathBuf {
        self.dir.join("mnt/config")
    }
    fn file(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }
    fn map(&self, data: Value) {
        self.kube.map(&self.ns, "web", data);
    }
    fn mode(&self, name: &str) -> u32 {
        std::fs::metadata(self.file(name)).unwrap().permissions().mode() & 0o7777
    }
}

fn gone(path: PathBuf) {
    wait_until(LONG, &format!("{} to go", path.display()), || (!path.exists()).then_some(()));
}

/// Sidecar mode.
#[test]
fn a_sidecar_writes_files_and_calls_until_it_is_heard() {
    let bed = Bed::new();
    let tries = AtomicUsize::new(0);
    let hook = FakeHttp::start(move |r| {
        assert!(r.method == "POST" && r.path == "/-/reload", "{r:?}");
        // The second change is not taken at first, in each of the ways there are.
        match tries.fetch_add(1, Ordering::SeqCst) {
            1 => Answer::reply(503, &[], "busy"),
            2 => Answer::reply(400, &[], "bad"),
            3 => Answer::Cut(Vec::new()),
            _ => Answer::reply(202, &[], ""),
        }
    });
    let url = format!("--reload-http=http://{}/-/reload", hook.addr());
    let proc = bed.controller(&["--configmap=NS/web", &url, "--reload-http-method=POST", "--v=2"]).spawn();
    proc.wait_line("/web does not exist: waiting for it", LONG);
    bed.map(json!({"prometheus.yml": "a: 1\n", "rules.yml": "b: 1\n"}));
    wait_file(bed.file("prometheus.yml"), "a: 1\n", LONG);
    wait_file(bed.file("rules.yml"), "b: 1\n", LONG);
    wait_until(LONG, "a call", || (hook.count() == 1).then_some(()));
    assert_eq!((bed.mode("rules.yml"), bed.mode("")), (0o644, 0o755));
    // Somebody else's files stay.
    std::fs::write(bed.file("foreign"), "x").unwrap();
    bed.map(json!({"prometheus.yml": "a: 2\n", "new.yml": ""}));
    wait_file(bed.file("prometheus.yml"), "a: 2\n", LONG);
    wait_file(bed.file("new.yml"), "", LONG);
    gone(bed.file("rules.yml"));
    proc.wait_line("the reload that failed has succeeded now", LONG);
    proc.check(hook.count() == 5, "three tries fail, the fourth is heard");
    bed.kube.delete(&bed.ns, "configmaps", "web");
    proc.wait_line("/web is gone: keeping its last content", LONG);
    wait_file(bed.file("prometheus.yml"), "a: 2\n", LONG);
    bed.map(json!({"prometheus.yml": "a: 3\n"}));
    wait_file(bed.file("prometheus.yml"), "a: 3\n", LONG);
    gone(bed.file("new.yml"));
    wait_until(LONG, "a call", || (hook.count() == 6).then_some(()));
    wait_file(bed.file("foreign"), "x", LONG);
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), secs(20));
}

/// Subprocess mode: files first, then the app; HUP on each change; its exit code is ours.
#[test]
fn a_program_is_started_told_and_ended() {
    let bed = Bed::new();
    let file = bed.file("app.conf");
    let proc =
        bed.controller(&["-configmap", "NS/web", "--logtostderr", "--", static_app().to_str().unwrap(), "config"]);
    let proc = proc.arg(&file).spawn();
    proc.wait_line("/web does not exist: waiting for it", LONG);
    proc.check(proc.lines_matching("config: ").is_empty(), "no file, no app");
    bed.map(json!({"app.conf": "one"}));
    proc.wait_line("config: one pid=", LONG);
    bed.map(json!({"app.conf": "two"}));
    proc.wait_line("config: two pid=", LONG);
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), secs(20));
}

#[test]
fn maps_and_secrets_share_a_folder() {
    let bed = Bed::new();
    let (kube, ns) = (&bed.kube, &bed.ns);
    kube.allow(ns, "configmaps", &["more"]);
    kube.allow(ns, "secrets", &["key"]);
    bed.map(json!({"a": "1", "both": "web"}));
    kube.map(ns, "more", json!({"b": "2", "both": "more"}));
    kube.put(ns, "secrets", "key", json!({"data": {"key.pem": base64(b"s3cret")}}));
    let hook = FakeHttp::start(|_| Answer::reply(200, &[], ""));
    let url = format!("--reload-http=http://{}/", hook.addr());
    let flags = ["--configmap=NS/web", "--configmap=NS/more", "--secret=NS/key", "--mode=0640", &url];
    let proc = bed.controller(&flags).spawn();
    for (name, text) in [("a", "1"), ("b", "2"), ("both", "more"), ("key.pem", "s3cret")] {
        wait_file(bed.file(name), text, LONG);
    }
    assert_eq!(bed.mode("key.pem"), 0o640, "as it was asked for");
    kube.map(ns, "more", json!({"b": "3"}));
    wait_file(bed.file("both"), "web", LONG);
    wait_file(bed.file("b"), "3", LONG);
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), secs(20));
    proc.check(!proc.stderr().contains("s3cret"), "no secret in the log");
    let proc = bed.controller(&["--configmap=NS/web", "--secret=NS/key", "--dir-mode=0700", &url]).spawn();
    wait_until(LONG, "the secret's own mode", || (bed.mode("key.pem") == 0o600).then_some(()));
    wait_until(LONG, "the map's own mode", || (bed.mode("a") == 0o644).then_some(()));
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), secs(20));
}

/// Labels, all at once by a link that changes places; nothing from a stream that has no news.
#[test]
fn labels_and_the_kubelets_way() {
    let bed = Bed::new();
    let (kube, ns) = (&bed.kube, &bed.ns);
    kube.allow(ns, "configmaps", &[]);
    let put = |name: &str, data: Value| {
        kube.put(ns, "configmaps", name, json!({"metadata": {"labels": {"app": "web"}}, "data": data}));
    };
    put("one", json!({"1.conf": "a"}));
    put("two", json!({"2.conf": "a"}));
    let hook = FakeHttp::start(|_| Answer::reply(200, &[], ""));
    let url = format!("--reload-http=http://{}/", hook.addr());
    let proc = bed.controller(&["--selector=NS/app=web", "--atomic-dir", &url]).spawn();
    wait_file(bed.file("1.conf"), "a", LONG);
    wait_file(bed.file("2.conf"), "a", LONG);
    let target = || std::fs::read_link(bed.file("..data")).unwrap();
    let before = target();
    put("one", json!({"1.conf": "b"}));
    wait_file(bed.file("1.conf"), "b", LONG);
    assert_ne!(target(), before);
    kube.delete(ns, "configmaps", "two");
    gone(bed.file("2.conf"));
    wait_until(LONG, "three calls", || (hook.count() == 3).then_some(()));
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), secs(20));
}

/// The endpoints tell the truth: not ready without the map, while a reload fails, and when the map is deleted.
#[test]
fn the_endpoints_tell_how_things_are() {
    let bed = Bed::new();
    let is_deaf = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let deaf = is_deaf.clone();
    let hook = FakeHttp::start(move |_| Answer::reply(if deaf.load(Ordering::SeqCst) { 500 } else { 200 }, &[], ""));
    let port = free_port();
    let url = format!("--reload-http=http://{}/", hook.addr());
    let proc = bed.controller(&["--configmap=NS/web", &url, &format!("--health-port={port}")]).spawn();
    let ask = |path: &str| http("GET", &format!("127.0.0.1:{port}"), path, &[], b"").ok();
    let ready = |status: u16, why: &str| {
        wait_until(LONG, &format!("{status} {why}"), || {
            ask("/readyz").filter(|r| r.status == status && r.text().contains(why)).map(|_| ())
        });
    };
    proc.wait_line("/web does not exist: waiting for it", LONG);
    ready(503, "");
    proc.check(ask("/healthz").is_some_and(|r| r.status == 200), "it is alive all the time");
    bed.map(json!({"a": "1"}));
    ready(200, "");
    is_deaf.store(true, Ordering::SeqCst);
    bed.map(json!({"a": "2"}));
    ready(503, "answers 500");
    wait_file(bed.file("a"), "2", LONG);
    is_deaf.store(false, Ordering::SeqCst);
    ready(200, "");
    bed.kube.delete(&bed.ns, "configmaps", "web");
    ready(503, "/web is gone: keeping its last content");
    let source = format!("{{source=\"configmap {}/web of Kubernetes\"}}", bed.ns);
    let metrics = |line: &str| ask("/metrics").is_some_and(|r| r.text().lines().any(|l| l == line));
    proc.check(metrics(&format!("pilotfish_source_up{source} 0")), "the source is down");
    bed.map(json!({"a": "2"}));
    ready(200, "");
    proc.check(metrics(&format!("pilotfish_source_up{source} 1")), "the source is up");
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), secs(20));
}
