//! What pilotfish says of itself: health, readiness and metrics that tell the truth, clients that mean no good, and a real
//! Prometheus that is told of its rules until it takes them.

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

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use util::*;

const WAIT: Duration = secs(40);

/// pilotfish with a folder of keys, and a port for its endpoints.
struct World {
    dir: TempDir,
    port: u16,
}

impl World {
    fn new() -> World {
        let dir = TempDir::new();
        dir.mkdir("keys");
        World { dir, port: free_port() }
    }
    fn put(&self, key: &str, value: &str) {
        let aside = self.dir.write("keys/.aside", value);
        fs::rename(aside, self.dir.join("keys").join(key)).unwrap();
    }
    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
    /// `$D` in the configuration is the world's folder.
    fn cmd(&self, toml: &str) -> Cmd {
        let toml = format!("[source.keys]\nurl = \"dir:$D/keys\"\n{toml}").replace("$D/", &self.path(""));
        pilotfish().env("PILOTFISH_CONFIG", toml).env("PILOTFISH_LISTEN", self.listen())
    }
    fn start(&self, toml: &str) -> Proc {
        let proc = self.cmd(toml).spawn();
        proc.wait_line(&format!("listening on {} for", self.listen()), WAIT);
        proc
    }
    fn listen(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
    fn get(&self, path: &str) -> Reply {
        http("GET", &self.listen(), path, &[], b"").unwrap_or_else(|e| panic!("no answer to {path}: {e}"))
    }
    /// Waits for this answer of /readyz, and a line that holds `why`.
    fn wait_ready(&self, proc: &Proc, status: u16, why: &str) {
        let start = Instant::now();
        loop {
            let reply = self.get("/readyz");
            if reply.status == status && reply.text().contains(why) {
                assert_eq!(reply.text().lines().count(), 1, "one line: {}", reply.text());
                return;
            }
            if start.elapsed() > WAIT {
                proc.fail(&format!("/readyz says {} {}, wanted {status} {why}", reply.status, reply.text()));
            }
            std::thread::sleep(millis(10));
        }
    }
    fn statuses(&self) -> [u16; 3] {
        ["/healthz", "/startupz", "/readyz"].map(|p| self.get(p).status)
    }
    /// A metric's value, label and all in its name.
    fn metric(&self, name: &str) -> Option<u64> {
        let text = self.get("/metrics").text();
        let line = text.lines().find(|l| l.strip_prefix(name).is_some_and(|r| r.starts_with(' ')))?;
        line.rsplit(' ').next()?.parse().ok()
    }
    /// The exit code and the output of `pilotfish health`.
    fn health(&self, args: &[&str]) -> (Exit, String) {
        let proc = pilotfish().arg("health").args(args).env("PILOTFISH_LISTEN", self.listen()).run(WAIT);
        (proc.wait_exit(WAIT), proc.stderr())
    }
}

const TEMPLATE: &str = "[[template]]\nname = 'x.tmpl'\ntext = '{{getv \"/a\"}}'\ndest = '$D/out'\n";

#[test]
fn the_endpoints_tell_the_truth() {
    let w = World::new();
    let reload = "[app]\ncommand = ['sh', '-c', 'trap exit TERM; while :; do sleep 0.1; done']\n\
                  reload = ['sh', '-c', '! grep -q refuse $D/out']\n";
    let proc = w.start(&(TEMPLATE.to_string() + reload));
    // A key is missing: nothing runs.
    w.wait_ready(&proc, 503, "waiting for the first configuration: ");
    w.wait_ready(&proc, 503, "/a");
    assert_eq!(w.statuses(), [200, 503, 503]);
    let (exit, said) = w.health(&[]);
    assert_eq!(exit, Exit::Code(1), "{said}");
    assert!(said.contains("/readyz: 503: waiting for the first configuration: "), "{said}");
    assert_eq!(w.metric("pilotfish_ready"), Some(0));
    assert_eq!(w.metric("pilotfish_app_running"), Some(0));
    assert_eq!(w.metric("pilotfish_last_reload_timestamp_seconds"), None);
    w.put("a", "one");
    w.wait_ready(&proc, 200, "ready");
    assert_eq!(w.statuses(), [200, 200, 200]);
    assert_eq!(w.health(&[]), (Exit::Code(0), String::new()));
    assert_eq!(w.metric("pilotfish_app_running"), Some(1));
    // A template that cannot be rendered: the app goes on with the last good file.
    fs::remove_file(w.dir.join("keys/a")).unwrap();
    w.put("b", "x");
    w.wait_ready(&proc, 503, "/a");
    assert_eq!(w.statuses(), [200, 200, 503]);
    assert_eq!(w.health(&["/startupz"]).0, Exit::Code(0));
    w.put("a", "two");
    w.wait_ready(&proc, 200, "");
    // A reload that fails is tried again; newer content is told at once.
    w.put("a", "refuse");
    w.wait_ready(&proc, 503, "the reload command failed: exit status 1");
    w.wait_ready(&proc, 503, "");
    wait_until(WAIT, "another try", || (w.metric("pilotfish_reloads_total{result=\"failed\"}")? > 3).then_some(()));
    w.put("a", "three");
    w.wait_ready(&proc, 200, "");
    assert!(w.metric("pilotfish_reloads_total{result=\"ok\"}").unwrap() >= 2, "{}", proc.report());
    assert!(w.metric("pilotfish_last_reload_timestamp_seconds").unwrap() > 1_700_000_000);
    // Each word of it is as the log has it.
    assert_eq!(w.metric("pilotfish_app_starts_total"), Some(1));
    assert_eq!(w.metric("pilotfish_updates_total"), Some(proc.lines_matching("has been updated").len() as u64));
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), WAIT);
}

#[test]
fn a_source_in_trouble_counts_after_the_time_that_was_said() {
    let w = World::new();
    w.put("a", "1");
    let proc = w.start(&(TEMPLATE.to_string() + "[telemetry]\nmax_outage = '1s'\n"));
    w.wait_ready(&proc, 200, "");
    fs::rename(w.dir.join("keys"), w.dir.join("away")).unwrap();
    wait_until(WAIT, "the source to be down", || (w.get("/metrics").text().contains("/keys\"} 0")).then_some(()));
    let began = proc.wait_line("No such file or directory", WAIT).at;
    w.wait_ready(&proc, 503, "keys: No such file or directory");
    proc.check(began.elapsed() >= millis(900), "a moment's trouble should not count");
    fs::rename(w.dir.join("away"), w.dir.join("keys")).unwrap();
    w.wait_ready(&proc, 200, "");
}

fn promtool() -> PathBuf {
    fs::canonicalize(server_bin("prometheus")).unwrap().with_file_name("promtool")
}

#[test]
fn prometheus_reads_the_metrics_and_finds_nothing_to_mend() {
    let w = World::new();
    w.put("a", "1");
    let proc = w.start(&(TEMPLATE.to_string() + "reload = 'true'\n[app]\ncommand = ['sleep', '1000']\n"));
    w.wait_ready(&proc, 200, "");
    wait_until(WAIT, "a reload", || (w.metric("pilotfish_reloads_total{result=\"ok\"}")? > 0).then_some(()));
    let reply = w.get("/metrics");
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    lint(&reply);
    for (name, ..) in pilotfish::telemetry::COUNTERS {
        assert!(reply.text().contains(&format!("# TYPE {name} counter\n")), "{name}");
    }
}

/// Prometheus' own tool has nothing against these metrics.
fn lint(reply: &Reply) {
    let mut lint = Command::new(promtool())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    lint.stdin.take().unwrap().write_all(&reply.body).unwrap();
    let done = lint.wait_with_output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success() && said.is_empty(), "{}\n{}", String::from_utf8_lossy(&said), reply.text());
}

#[test]
fn sensors_measure_what_their_commands_print() {
    let w = World::new();
    w.put("a", "1");
    // Each value is taken once: the command fails while there is none.
    let mut more = String::new();
    for (kind, name) in
        [("counter", "app_jobs_total"), ("gauge", "app_queue"), ("histogram", "app_seconds"), ("summary", "app_bytes")]
    {
        more += &format!(
            "[[sensor]]\nname = '{name}'\nhelp = 'Of the {kind}.'\ntype = '{kind}'\ninterval = '20ms'\ntimeout = '30s'\n\
             check = ['sh', '-c', 'cat $D/{kind} 2>/dev/null && rm $D/{kind}']\n"
        );
    }
    let app = "[app]\ncommand = ['sleep', '1000']\nreload = 'none'\n";
    let toml = |more: &str| {
        let toml = format!("[source.keys]\nurl = 'dir:$D/keys'\n{TEMPLATE}{app}{more}");
        toml.replace("$D", w.path("").trim_end_matches('/'))
    };
    w.dir.write("pilotfish.toml", toml(&more));
    let control = w.path("control");
    let vars = |cmd: Cmd| cmd.env("PILOTFISH_LISTEN", w.listen()).env("PILOTFISH_CONTROL", &control);
    let proc = vars(pilotfish().arg("--config").arg(w.path("pilotfish.toml"))).spawn();
    proc.wait_line("listening on ", WAIT);
    w.wait_ready(&proc, 200, "");
    let print = |kind: &str, text: &str| {
        let aside = w.dir.write("aside", text);
        fs::rename(aside, w.dir.join(kind)).unwrap();
        wait_until(WAIT, "the value to be taken", || (!w.dir.join(kind).exists()).then_some(()));
    };
    let shows = |lines: &[&str]| {
        let start = Instant::now();
        loop {
            let text = w.get("/metrics").text();
            match lines.iter().find(|wanted| !text.lines().any(|l| l == **wanted)) {
                None => return,
                Some(line) if start.elapsed() > WAIT => proc.fail(&format!("{line} is not in:\n{text}")),
                Some(_) => std::thread::sleep(millis(10)),
            }
        }
    };
    shows(&[
        "app_jobs_total 0",
        "app_queue 0",
        "app_seconds_bucket{le=\"0.005\"} 0",
        "app_seconds_count 0",
        "app_bytes{quantile=\"0.5\"} NaN",
        "app_bytes_sum 0",
    ]);
    lint(&w.get("/metrics"));
    for (kind, texts) in [
        ("counter", &[" 2.5 ", "2.5\n", "2.5"][..]),
        ("gauge", &["7", "-3.5"]),
        ("histogram", &["0.005", "0.3", "3", "30"]),
        ("summary", &["10", "30", "20"]),
    ] {
        texts.iter().for_each(|text| print(kind, text));
    }
    let good = [
        "app_jobs_total 7.5",
        "app_queue -3.5",
        "app_seconds_bucket{le=\"0.005\"} 1",
        "app_seconds_bucket{le=\"0.5\"} 2",
        "app_seconds_bucket{le=\"10\"} 3",
        "app_seconds_bucket{le=\"+Inf\"} 4",
        "app_seconds_sum 33.305",
        "app_seconds_count 4",
        "app_bytes{quantile=\"0.5\"} 20",
        "app_bytes{quantile=\"0.99\"} 30",
        "app_bytes_sum 60",
        "app_bytes_count 3",
    ];
    shows(&good);
    lint(&w.get("/metrics"));
    // What is no number, or no value for it, is said, without it, and changes nothing.
    for (kind, text, why) in [
        ("counter", "-1", "app_jobs_total: what it printed is below 0"),
        ("counter", "password", "app_jobs_total: what it printed is no number"),
        ("gauge", "", "app_queue: what it printed is no number"),
        ("histogram", "1 2", "app_seconds: what it printed is no number"),
        ("summary", "1e999", "app_bytes: what it printed is no number"),
    ] {
        let mark = proc.mark();
        print(kind, text);
        proc.wait_line_after(mark, why, WAIT);
    }
    proc.check(!proc.stderr().contains("password"), "a value is in the log");
    shows(&good);
    // What stays the same in a new configuration keeps its values; a new name begins anew.
    w.dir.write("pilotfish.toml", toml(&more.replace("app_queue", "app_line")));
    pilotfish().args(["reload", "--control", &control]).run(WAIT).expect_exit(Exit::Code(0), WAIT);
    shows(&["app_line 0"]);
    let kept: Vec<&str> = good.iter().copied().filter(|l| !l.starts_with("app_queue")).collect();
    shows(&kept);
    print("counter", "1");
    shows(&["app_jobs_total 8.5"]);
    assert!(!w.get("/metrics").text().contains("app_queue"));
}

#[test]
fn clients_that_mean_no_good_cost_nobody_anything() {
    let w = World::new();
    w.put("a", "0");
    let proc = w.start(&(TEMPLATE.to_string() + "reload = 'echo told'\n"));
    w.wait_ready(&proc, 200, "");
    let before = (open_fds(proc.pid()), rss_of(proc.pid()));
    let connect = || TcpStream::connect(w.listen()).unwrap();
    // Half-open, some with half a request.
    let mut idle = Vec::new();
    for n in 0..1000 {
        let mut stream = connect();
        if n % 2 == 0 {
            let _ = stream.write_all(b"GET /readyz HTT");
        }
        idle.push(stream);
        if n % 100 == 50 {
            assert_eq!(w.get("/readyz").status, 200);
        }
    }
    proc.check(open_fds(proc.pid()) <= before.0 + 32, "connections should be few at a time");
    // A head that has no end, garbage, and one byte at a time.
    let mut long = connect();
    let _ = long.write_all(b"GET / HTTP/1.1\r\nx: ");
    for _ in 0..1024 {
        if long.write_all(&[b'y'; 1024]).is_err() {
            break;
        }
    }
    let mut garbage = connect();
    garbage.write_all(&[0x16, 3, 1, 2, 0, 1, 0, b'\n', b'\n']).unwrap();
    let mut answer = String::new();
    garbage.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let mut slow = connect();
    let begun = Instant::now();
    while slow.write_all(b"G").is_ok() {
        assert!(begun.elapsed() < secs(30), "one byte at a time is no way to stay");
        std::thread::sleep(millis(50)); // its pace
    }
    proc.check(begun.elapsed() > secs(3), "a slow client should have its time");
    // The work goes on meanwhile.
    w.put("a", "1");
    wait_file(w.dir.join("out"), "1", WAIT);
    proc.wait_nth_line(2, "told", WAIT);
    drop(idle);
    wait_until(WAIT, "the end of all connections", || (open_fds(proc.pid()) <= before.0).then_some(()));
    proc.check(rss_of(proc.pid()) < before.1 + (4 << 20) + emulator_memory(), "memory should be as before");
    assert_eq!(http("POST", &w.listen(), "/readyz", &[], b"x").unwrap().status, 405);
    assert_eq!(http("HEAD", &w.listen(), "/readyz", &[], b"").map(|r| r.status).unwrap_or(200), 200);
    assert_eq!(w.get("/nowhere").status, 404);
    assert_eq!(w.get("/readyz?verbose").status, 200);
}

#[test]
fn a_port_that_is_taken_is_said_before_anything_starts() {
    let w = World::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let proc = w.cmd(TEMPLATE).env("PILOTFISH_LISTEN", &at).run(WAIT);
    proc.expect_exit(Exit::Code(1), WAIT);
    proc.check(proc.stderr().contains(&format!("cannot listen on {at}: Address")), "it should say so");
    let proc = w.cmd(TEMPLATE).env("PILOTFISH_LISTEN", "nonsense").run(WAIT);
    proc.expect_exit(Exit::Code(64), WAIT);
}

#[test]
fn probe_asks_whom_one_names() {
    let server = FakeHttp::start(|r| match r.path.as_str() {
        "/bad" => Answer::reply(503, &[], "not now\nsecond line"),
        "/moved" => Answer::reply(302, &["Location: /"], ""),
        "/hang" => Answer::Hang(Vec::new()),
        _ => Answer::reply(200, &[], "x"),
    });
    let url = |scheme: &str, path: &str| format!("{scheme}://{}{path}", server.addr());
    let nobody = format!("tcp://127.0.0.1:{}", free_port());
    for (args, code, said) in [
        (vec![url("http", "/")], 0, ""),
        (vec![url("http", "/moved")], 0, ""),
        (vec![url("http", "/bad")], 1, "/bad: 503: not now"),
        (vec![url("http", "/hang"), "--timeout=300ms".to_string()], 1, "/hang: "),
        (vec![url("tcp", "")], 0, ""),
        (vec![nobody], 1, "Connection refused"),
        (vec!["ftp://x".to_string()], 64, "usage: pilotfish probe"),
    ] {
        let proc = pilotfish().arg("probe").args(&args).run(WAIT);
        proc.expect_exit(Exit::Code(code), WAIT);
        proc.check(proc.stderr().contains(said) && (code != 0 || proc.stderr().is_empty()), said);
    }
}

#[test]
fn when_a_certificate_ends_is_a_metric_and_probe_speaks_tls() {
    let pki = Pki::new();
    let root = pki.root(&Ask::authority("root"));
    let server = TlsServer::start(&pki.issue(&root, &Ask::server("IP:127.0.0.1").valid(-10, 3 * 86_400)), &[]);
    let w = World::new();
    let toml = "[[template]]\nname = 'x.tmpl'\ntext = '{{getv \"/app/v\"}}'\ndest = '$D/out'\nkeys = ['/app']\n[source.t]\nwait = '1s'\n";
    let toml = format!("{toml}ca = '{}'\nurl = '{}'\n", root.cert(), server.source()).replace("$D/", &w.path(""));
    let proc = pilotfish().env("PILOTFISH_CONFIG", toml).env("PILOTFISH_LISTEN", w.listen()).spawn();
    wait_file(w.dir.join("out"), OVER_TLS, WAIT);
    let name = "pilotfish_certificate_expiry_timestamp_seconds{certificate=\"the certificate of 127.0.0.1\"}";
    let Some(end) = w.metric(name) else { proc.fail(&w.get("/metrics").text()) };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    proc.check((3 * 86_400 - 600..=3 * 86_400).contains(&(end - now)), &format!("{} s from now", end - now));
    let url = server.source().replace("consul+", "") + "/v1/kv/app?recurse";
    let probe = |more: &[&str]| pilotfish().args(["probe", &url]).args(more).run(WAIT);
    probe(&["--ca", root.cert()]).expect_exit(Exit::Code(0), WAIT);
    let proc = probe(&[]);
    proc.expect_exit(Exit::Code(1), WAIT);
    proc.check(proc.stderr().contains("not trusted"), "it should say why");
}

/// A real Prometheus that takes its rules from the folder.
fn prometheus(dir: &TempDir, port: u16) -> Proc {
    let rules = dir.join("rules").display().to_string();
    let config = dir.write("prometheus.yml", format!("rule_files: ['{rules}/*.yml']\n"));
    let proc = Cmd::new(server_bin("prometheus"))
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--web.enable-lifecycle")
        .spawn();
    proc.wait_line("Server is ready to receive web requests", WAIT);
    proc
}

/// The names of the rules it has.
fn rules(port: u16) -> Vec<String> {
    let reply = http("GET", &format!("127.0.0.1:{port}"), "/api/v1/rules", &[], b"").unwrap().json();
    let groups = reply["data"]["groups"].as_array().unwrap().clone();
    let rules = groups.iter().flat_map(|g| g["rules"].as_array().unwrap().clone());
    rules.map(|r| r["name"].as_str().unwrap().to_string()).collect()
}

fn rule(name: &str, expr: &str) -> String {
    format!("groups:\n- name: {name}\n  rules:\n  - record: {name}\n    expr: {expr}\n")
}

#[test]
fn prometheus_is_told_of_its_rules_until_it_takes_them() {
    let w = World::new();
    let port = free_port();
    w.put("one.yml", &rule("one", "vector(1)"));
    let toml =
        format!("[[tree]]\ndest = '$D/rules'\natomic = true\n[app]\nreload = 'http://127.0.0.1:{port}/-/reload'\n");
    // Nobody is there yet: that is no reason to give up, and the first files are no news once it comes.
    let proc = w.start(&toml);
    w.wait_ready(&proc, 503, "Connection refused");
    assert_eq!(w.get("/startupz").status, 200, "who waits for the files may start");
    let server = prometheus(&w.dir, port);
    w.wait_ready(&proc, 200, "");
    wait_until(WAIT, "the first rule", || (rules(port) == ["one"]).then_some(()));
    w.put("two.yml", &rule("two", "vector(2)"));
    wait_until(WAIT, "the second rule", || (rules(port) == ["one", "two"]).then_some(()));
    w.wait_ready(&proc, 200, "");
    // What it cannot read it refuses, each time it is told.
    w.put("two.yml", &rule("three", "vector("));
    w.wait_ready(&proc, 503, "answers 500");
    let failed = w.metric("pilotfish_reloads_total{result=\"failed\"}").unwrap();
    wait_until(WAIT, "two more tries", || {
        (w.metric("pilotfish_reloads_total{result=\"failed\"}")? >= failed + 2).then_some(())
    });
    assert_eq!(rules(port), ["one", "two"], "Prometheus goes on with what it had");
    assert_eq!(w.health(&[]).0, Exit::Code(1));
    w.put("two.yml", &rule("three", "vector(3)"));
    w.wait_ready(&proc, 200, "");
    wait_until(WAIT, "the mended rule", || (rules(port) == ["one", "three"]).then_some(()));
    fs::remove_file(w.dir.join("keys/one.yml")).unwrap();
    wait_until(WAIT, "one rule less", || (rules(port) == ["three"]).then_some(()));
    server.check(server.exited().is_none(), "Prometheus should run");
}
