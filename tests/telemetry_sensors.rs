//! Sensors in the metrics: a counter, a gauge, a histogram and a summary of what commands print, as promtool and a real
//! Prometheus read them; and clients that mean no good, beside which health checks and sensors go on as they were.

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
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use util::*;

const WAIT: Duration = secs(40);

struct World {
    dir: TempDir,
    port: u16,
    proc: Proc,
}

impl World {
    /// `$D` is the world's folder; `config` gets a telemetry with these sensors.
    fn start(catalog: &str, sensors: Value, mut config: Value) -> World {
        let (dir, port) = (TempDir::new(), free_port());
        config["consul"] = json!(catalog);
        config["telemetry"] = json!({"port": port, "interfaces": "static:127.0.0.1", "sensors": sensors});
        let text = config.to_string().replace("$D", &dir.path().display().to_string());
        let proc = pilotfish().args(["containerpilot", "-config", &text]).arg(static_app()).arg("wait").spawn();
        proc.wait_line("ready pid=", WAIT);
        World { dir, port, proc }
    }
    fn at(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
    fn page(&self) -> Reply {
        http("GET", &self.at(), "/metrics", &[], b"").unwrap_or_else(|e| self.proc.fail(&e.to_string()))
    }
    /// The value of a line of the page, labels and all in its name.
    fn value(&self, name: &str) -> Option<f64> {
        self.page().text().lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }
    fn lines(&self, name: &str) -> usize {
        std::fs::read_to_string(self.dir.join(name)).unwrap_or_default().lines().count()
    }
    fn wait_lines(&self, name: &str, n: usize) {
        let start = Instant::now();
        while self.lines(name) < n {
            self.proc.check(start.elapsed() < WAIT, &format!("{name} should have {n} lines, has {}", self.lines(name)));
            std::thread::sleep(millis(5));
        }
    }
}

/// A sensor that prints the words one by one, one each time, and then nothing more that counts.
fn sensor(name: &str, kind: &str, words: &[&str]) -> Value {
    let mut script = format!("echo run >> $D/{name}; case $(wc -l < $D/{name}) in ");
    for (i, word) in words.iter().enumerate() {
        script.push_str(&format!("{}) echo '{word}';; ", i + 1));
    }
    script.push_str("*) echo;; esac");
    json!({"namespace": "app", "subsystem": "test", "name": name, "help": format!("A {kind}."), "type": kind, "poll": 0.1,
        "check": ["sh", "-c", script]})
}

fn four() -> Value {
    json!([
        sensor("total", "counter", &[" 2.5 "; 5]),
        sensor("level", "gauge", &["7", "nonsense", "-3.25", ""]),
        sensor("size", "histogram", &["0.004", "0.005", "0.3", "10", "11", "1e3", "x"]),
        sensor("time", "summary", &["5", "1", "2", "4", "3", "10", "9", "8", "7", "6"]),
        {"name": "failing", "help": "It fails.", "type": "gauge", "poll": 0.1, "check": ["sh", "-c", "echo 5; echo run >> $D/failing; exit 1"]},
        {"name": "hung", "help": "It hangs.", "type": "counter", "poll": 0.1, "timeout": "100ms",
            "check": ["sh", "-c", "echo 5; echo run >> $D/hung; sleep 1000"]},
    ])
}

/// Waits until each has printed all it has.
fn settle(w: &World) {
    for (name, n) in [("total", 7), ("level", 6), ("size", 9), ("time", 12), ("failing", 3), ("hung", 3)] {
        w.wait_lines(name, n);
    }
}

const WANTED: &str = "\
# HELP app_test_total A counter.
# TYPE app_test_total counter
app_test_total 12.5
# HELP app_test_level A gauge.
# TYPE app_test_level gauge
app_test_level -3.25
# HELP app_test_size A histogram.
# TYPE app_test_size histogram
app_test_size_bucket{le=\"0.005\"} 2
app_test_size_bucket{le=\"0.01\"} 2
app_test_size_bucket{le=\"0.025\"} 2
app_test_size_bucket{le=\"0.05\"} 2
app_test_size_bucket{le=\"0.1\"} 2
app_test_size_bucket{le=\"0.25\"} 2
app_test_size_bucket{le=\"0.5\"} 3
app_test_size_bucket{le=\"1\"} 3
app_test_size_bucket{le=\"2.5\"} 3
app_test_size_bucket{le=\"5\"} 3
app_test_size_bucket{le=\"10\"} 4
app_test_size_bucket{le=\"+Inf\"} 6
app_test_size_sum 1021.309
app_test_size_count 6
# HELP app_test_time A summary.
# TYPE app_test_time summary
app_test_time{quantile=\"0.5\"} 5
app_test_time{quantile=\"0.9\"} 9
app_test_time{quantile=\"0.99\"} 10
app_test_time_sum 55
app_test_time_count 10
# HELP failing It fails.
# TYPE failing gauge
failing 0
# HELP hung It hangs.
# TYPE hung counter
hung 0
";

#[test]
fn sensors_add_set_and_observe_and_promtool_finds_nothing_to_mend() {
    let w = World::start("127.0.0.1:1", four(), json!({}));
    settle(&w);
    let reply = w.page();
    assert!(reply.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let page = reply.text();
    let from = page.find("# HELP app_test_total").unwrap_or_else(|| panic!("{page}"));
    assert_eq!(&page[from..], WANTED);
    let promtool = std::fs::canonicalize(server_bin("prometheus")).unwrap().with_file_name("promtool");
    let mut lint = Command::new(promtool);
    lint.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut lint = lint.spawn().unwrap();
    // `hung` is no good name for a counter, which is its user's affair.
    lint.stdin.take().unwrap().write_all(page.replace("hung", "hung_total").as_bytes()).unwrap();
    let done = lint.wait_with_output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success() && said.is_empty(), "{}\n{page}", String::from_utf8_lossy(&said));
    for path in ["/", "/metric", "/metrics/", "/favicon.ico"] {
        assert_eq!(http("GET", &w.at(), path, &[], b"").unwrap().status, 404, "{path}");
    }
    // What is no number is said, not shown, and not each time anew.
    w.proc.wait_line("app_test_level", WAIT);
    w.proc.check(w.proc.lines_matching("nonsense").is_empty(), "it may be a secret");
    w.proc.signal(libc::SIGTERM);
    w.proc.expect_exit(Exit::Code(0), WAIT);
}

#[test]
fn a_real_prometheus_has_the_same_values() {
    let w = World::start("127.0.0.1:1", four(), json!({}));
    settle(&w);
    let (dir, port) = (TempDir::new(), free_port());
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: app, static_configs: [{{targets: ['{}']}}]}}]\n",
        w.at()
    );
    let config = dir.write("prometheus.yml", config);
    let server = Cmd::new(server_bin("prometheus"))
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .spawn();
    server.wait_line("Server is ready to receive web requests", WAIT);
    let ask = |query: &str| -> Option<String> {
        let path = format!("/api/v1/query?query={query}");
        let reply = http("GET", &format!("127.0.0.1:{port}"), &path, &[], b"").ok()?.json();
        Some(reply.pointer("/data/result/0/value/1")?.as_str()?.to_string())
    };
    for (query, want) in [
        ("up", "1"),
        ("app_test_total", "12.5"),
        ("app_test_level", "-3.25"),
        ("app_test_size_count", "6"),
        ("app_test_size_sum", "1021.309"),
        ("app_test_size_bucket%7Ble=%220.5%22%7D", "3"),
        ("app_test_size_bucket%7Ble=%22%2BInf%22%7D", "6"),
        ("app_test_time%7Bquantile=%220.9%22%7D", "9"),
        ("app_test_time_sum", "55"),
        ("pilotfish_app_running", "1"),
    ] {
        let got = wait_until(WAIT, query, || ask(query));
        assert_eq!(got, want, "{query}");
    }
    // And the types.
    let reply = http("GET", &format!("127.0.0.1:{port}"), "/api/v1/metadata", &[], b"").unwrap().json();
    for (name, kind) in [
        ("app_test_total", "counter"),
        ("app_test_level", "gauge"),
        ("app_test_size", "histogram"),
        ("app_test_time", "summary"),
    ] {
        assert_eq!(reply["data"][name][0]["type"], kind, "{reply}");
    }
}

#[test]
fn hostile_clients_delay_no_beat_no_sensor_and_not_the_app() {
    let consul = Consul::start();
    let seen = recorder(consul.addr(), |_| None);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_string();
    let check = ["sh", "-c", "echo run >> $D/health"];
    let w = World::start(
        &seen.addr(),
        json!([{"name": "ticks", "help": "Ticks.", "type": "counter", "poll": 0.2, "check": ["sh", "-c", "echo run >> $D/ticks; echo 1"]}]),
        json!({"services": [{"name": "app", "port": 1, "poll": 0.2, "ttl": 1, "interfaces": "static:127.0.0.1", "health": check}]}),
    );
    let beats = || -> Vec<Instant> {
        seen.requests().iter().filter(|r| r.path.contains(&format!("/check/pass/app-{host}"))).map(|r| r.at).collect()
    };
    let wait_beats = |n: usize| wait_until(WAIT, "beats", || (beats().len() >= n).then_some(()));
    wait_beats(3);
    let before = (open_fds(w.proc.pid()), rss_of(w.proc.pid()));
    let (begin, first) = (Instant::now(), beats().len());
    // 1000 connections, half-open or with half a request,
    let mut idle = Vec::new();
    for n in 0..1000 {
        let Ok(mut stream) = TcpStream::connect(w.at()) else { continue };
        if n % 2 == 0 {
            let _ = stream.write_all(b"GET /metrics HTT");
        }
        idle.push(stream);
    }
    w.proc.check(open_fds(w.proc.pid()) <= before.0 + 40, "connections should be few at a time");
    // a head of 1 MB,
    let mut long = TcpStream::connect(w.at()).unwrap();
    let _ = long.write_all(b"GET /metrics HTTP/1.1\r\nX: ");
    for _ in 0..1024 {
        if long.write_all(&[b'y'; 1024]).is_err() {
            break;
        }
    }
    let _ = long.set_read_timeout(Some(WAIT));
    let mut answer = Vec::new();
    let _ = long.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"), "such a head is none");
    // one who asks and does not read, again and again.
    let mut deaf = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(w.at()).unwrap();
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        deaf.push(stream);
    }
    let ticks = w.lines("ticks");
    wait_beats(first + 10);
    w.wait_lines("ticks", ticks + 5);
    // The beats came in time all the while, and Consul thought well of the app: no beat was later than the TTL.
    let all = beats();
    let gap = all[first.saturating_sub(1)..].windows(2).map(|w| w[1] - w[0]).max().unwrap();
    w.proc.check(gap < millis(1000), &format!("a beat was {gap:?} late, of {:?}", begin.elapsed()));
    let status = consul.call("GET", "/v1/agent/checks", b"").json()[format!("app-{host}")]["Status"].clone();
    assert_eq!(status, "passing");
    assert!(w.value("ticks").unwrap() > 0.0);
    drop((idle, deaf));
    wait_until(WAIT, "the end of all connections", || (open_fds(w.proc.pid()) <= before.0 + 2).then_some(()));
    w.proc.check(rss_of(w.proc.pid()) < before.1 + (4 << 20) + emulator_memory(), "memory should be as before");
    w.proc.check(w.proc.lines_matching("ready pid=").len() == 1, "the app should run on");
    w.proc.signal(libc::SIGTERM);
    w.proc.expect_exit(Exit::Code(0), WAIT);
}
