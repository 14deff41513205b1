//! Services, hooks, tasks, coprocesses and sensors of pilotfish.toml, with a real Consul: what others find there, what is
//! run when, and what is left behind at the end.
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
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use util::*;

const WAIT: Duration = secs(40);
const TERM: i32 = 15;
// Apps print `$((40+2))`, as their command lines are logged too.

/// Consul, and a folder in which everything runs.
struct Bed {
    consul: Consul,
    dir: TempDir,
}

impl Bed {
    fn new() -> Bed {
        Bed { consul: Consul::start(), dir: TempDir::new() }
    }
    /// pilotfish with a pilotfish.toml of these lines, and the catalog in front of its tables.
    fn pilotfish(&self, top: &str, tables: &str) -> Proc {
        let toml = format!("{top}\n[catalog]\nurl = 'consul://{}'\n{tables}\n", self.consul.addr());
        pilotfish().env("PILOTFISH_CONFIG", toml).cwd(self.dir.path()).spawn()
    }
    /// An instance that is always well, told of by hand.
    fn register(&self, name: &str, id: &str, port: u16, tags: &[&str]) {
        let body = json!({"Name": name, "ID": id, "Address": "10.0.0.1", "Port": port, "Tags": tags});
        self.consul.call("PUT", "/v1/agent/service/register", body.to_string().as_bytes());
    }
    fn deregister(&self, id: &str) {
        self.consul.call("PUT", &format!("/v1/agent/service/deregister/{id}"), b"");
    }
    /// The services that this Consul's agent knows, well or not.
    fn known(&self) -> Value {
        self.consul.call("GET", "/v1/agent/services", b"").json()
    }
    fn is_passing(&self, name: &str) -> bool {
        let all = self.consul.call("GET", &format!("/v1/health/service/{name}?passing"), b"").json();
        !all.as_array().unwrap().is_empty()
    }
    fn wait_passing(&self, proc: &Proc, name: &str, want: bool) {
        let start = Instant::now();
        while self.is_passing(name) != want {
            if start.elapsed() > WAIT {
                proc.fail(&format!("{name} is not passing={want}; known: {}", self.known()));
            }
            std::thread::sleep(millis(10));
        }
    }
    /// The lines of a file, once there are so many.
    fn wait_lines(&self, proc: &Proc, name: &str, count: usize) -> Vec<String> {
        let start = Instant::now();
        loop {
            let text = std::fs::read_to_string(self.dir.join(name)).unwrap_or_default();
            let lines: Vec<String> = text.lines().map(str::to_string).collect();
            if lines.len() >= count && text.ends_with('\n') {
                return lines;
            }
            if start.elapsed() > WAIT {
                proc.fail(&format!("{name} should have {count} lines, but has:\n{text}"));
            }
            std::thread::sleep(millis(10));
        }
    }
    fn wait_file(&self, proc: &Proc, name: &str, want: &str) {
        let start = Instant::now();
        loop {
            let text = std::fs::read_to_string(self.dir.join(name)).ok();
            if text.as_deref() == Some(want) {
                return;
            }
            if start.elapsed() > WAIT {
                proc.fail(&format!("{name} should be {want:?}, but is {text:?}"));
            }
            std::thread::sleep(millis(5));
        }
    }
}

/// Nothing of the process's session is left.
fn expect_nobody(proc: &Proc) {
    let left: Vec<Row> = processes().into_iter().filter(|p| p.session == proc.pid() && p.state != 'Z').collect();
    proc.check(left.is_empty(), &format!("something was left behind: {left:?}"));
}

#[test]
fn a_service_is_told_of_while_its_check_works() {
    let bed = Bed::new();
    let is_well = Arc::new(AtomicBool::new(false));
    let answer = is_well.clone();
    let app = FakeHttp::start(move |_| {
        let status = if answer.load(Ordering::SeqCst) { 204 } else { 503 };
        Answer::reply(status, &[], "")
    });
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let proc = bed.pilotfish(
        "",
        &format!(
            "[[service]]\nname = 'web'\nport = 8080\naddress = '127.0.0.1'\ntags = ['a', 'b']\ninterval = '100ms'\nttl = '2s'\n\
             health = 'http://{}/health'\nnotes = 'by pilotfish'\n\
             [[service]]\nname = 'db'\nid = 'db-1'\nport = 5432\naddress = '127.0.0.2'\ninterval = '1s'\nhealth = 'tcp://{}'\n\
             [app]\ncommand = ['sh', '-c', 'echo ip $PILOTFISH_WEB_IP $PILOTFISH_DB_IP pid $PILOTFISH_PID; exec sleep 100']\n",
            app.addr(),
            socket.local_addr().unwrap()
        ),
    );
    proc.wait_line(&format!("ip 127.0.0.1 127.0.0.2 pid {}", proc.pid()), WAIT);
    bed.wait_passing(&proc, "db", true);
    wait_until(WAIT, "five checks that fail", || (app.count() >= 5).then_some(()));
    proc.check(bed.known().get("web-x").is_none() && !bed.is_passing("web"), "web is not well yet");
    proc.check(!bed.known().to_string().contains("\"web\""), "nothing is told of what was never well");
    proc.check(app.requests().iter().all(|r| r.method == "GET" && r.path == "/health"), "GET /health");

    is_well.store(true, Ordering::SeqCst);
    bed.wait_passing(&proc, "web", true);
    let known = bed.known();
    let web = known.as_object().unwrap().values().find(|s| s["Service"] == "web").unwrap();
    assert_eq!((&web["Address"], &web["Port"], &web["Tags"]), (&json!("127.0.0.1"), &json!(8080), &json!(["a", "b"])));
    assert!(web["ID"].as_str().unwrap().starts_with("web-"), "{web}");
    assert_eq!(known["db-1"]["Port"], 5432);
    let checks = bed.consul.call("GET", "/v1/agent/checks", b"").json();
    assert!(checks.as_object().unwrap().values().any(|c| c["Notes"] == "by pilotfish"), "{checks}");

    // It is known, and not well, when its time is over; the other one goes on.
    is_well.store(false, Ordering::SeqCst);
    bed.wait_passing(&proc, "web", false);
    proc.check(bed.known().to_string().contains("\"web\"") && bed.is_passing("db"), "critical, not forgotten");
    is_well.store(true, Ordering::SeqCst);
    bed.wait_passing(&proc, "web", true);

    // Who deletes it sees it again.
    let id = web["ID"].as_str().unwrap();
    bed.deregister(id);
    bed.wait_passing(&proc, "web", true);

    proc.signal(TERM);
    proc.expect_exit(Exit::Code(143), WAIT);
    proc.check(bed.known() == json!({}), "all services are taken out of the catalog");
    expect_nobody(&proc);
}

#[test]
fn a_file_follows_services_and_the_app_waits_for_them() {
    let bed = Bed::new();
    let port = free_port();
    let proc = bed.pilotfish(
        &format!("wait_for = ['service:web', 'service:web?v2', 'tcp://127.0.0.1:{port}', ['test', '-e', 'ready']]"),
        "[source.up]\nurl = 'services:'\n\
         [[template]]\nname = 'x.tmpl'\ntext = '{{range gets \"/web/*\"}}{{.Key}} {{.Value}};{{end}}'\nkeys = ['/web']\ndest = 'all'\n\
         [[template]]\nname = 'y.tmpl'\ntext = '{{range getvs \"/web/*\"}}{{.}};{{end}}'\nkeys = ['/web?v2']\ndest = 'two'\n\
         [[backend]]\nname = 'web'\non_change = 'echo $(cat all) >>changes'\n\
         [app]\ncommand = ['sh', '-c', 'echo app $((40+2)); exec sleep 100']\nreload = 'none'\n",
    );
    bed.wait_file(&proc, "all", "");
    bed.register("web", "a", 80, &["v1"]);
    let told = Instant::now();
    bed.wait_file(&proc, "all", "/web/a 10.0.0.1:80;");
    proc.check(told.elapsed() < secs(1), "within a second");
    bed.register("web", "b", 81, &["v2"]);
    bed.wait_file(&proc, "all", "/web/a 10.0.0.1:80;/web/b 10.0.0.1:81;");
    bed.wait_file(&proc, "two", "10.0.0.1:81;");
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    listener.accept().unwrap();
    proc.check(proc.lines_matching("app 42").is_empty(), "one thing is not there yet");
    bed.dir.write("ready", "");
    proc.wait_line("app 42", WAIT);
    // At the start, as there are some.
    let first = "/web/a 10.0.0.1:80;/web/b 10.0.0.1:81;";
    assert_eq!(bed.wait_lines(&proc, "changes", 1), [first]);
    // Tags alone are no change of instances.
    bed.register("web", "a", 80, &["v2"]);
    bed.wait_file(&proc, "two", "10.0.0.1:80;10.0.0.1:81;");
    bed.deregister("b");
    bed.wait_file(&proc, "two", "10.0.0.1:80;");
    assert_eq!(bed.wait_lines(&proc, "changes", 2), [first, "/web/a 10.0.0.1:80;"]);
    // No instance is an answer.
    bed.deregister("a");
    bed.wait_file(&proc, "all", "");
    assert_eq!(bed.wait_lines(&proc, "changes", 3)[2], "");
    proc.signal(TERM);
    proc.expect_exit(Exit::Code(143), WAIT);
}

#[test]
fn who_waits_in_vain_gives_up_in_time() {
    let bed = Bed::new();
    let proc = bed.pilotfish(
        "wait_for = 'service:nobody'\nstart_timeout = '2s'",
        "[app]\ncommand = ['sh', '-c', 'echo app $((40+2))']\n",
    );
    proc.expect_exit(Exit::Code(69), WAIT);
    proc.check(proc.lines_matching("app 42").is_empty(), "the app is not started");
    proc.check(proc.stderr().contains("service:nobody"), "what it waits for is said");
}

#[test]
fn instances_by_hand() {
    let bed = Bed::new();
    bed.register("web", "a", 80, &["v1"]);
    bed.register("web", "b", 81, &["v2"]);
    let catalog = format!("consul://{}", bed.consul.addr());
    let kv = |words: &[&str]| {
        let proc = pilotfish().arg("kv").args(words).args(["-s", "services:", "--catalog", &catalog]).run(WAIT);
        (proc.wait_exit(WAIT), proc.stdout())
    };
    assert_eq!(kv(&["get", "/web/b"]), (Exit::Code(0), "10.0.0.1:81\n".to_string()));
    let (exit, names) = kv(&["ls", "/web"]);
    assert_eq!((exit, names.lines().collect::<Vec<_>>()), (Exit::Code(0), vec!["/web/a", "/web/b"]));
    assert_eq!(kv(&["ls"]).0, Exit::Code(64));
    assert_ne!(kv(&["set", "/web/c", "x"]).0, Exit::Code(0));
}

#[test]
fn hooks_have_their_turn_and_their_say() {
    let hooks = |pre_start: u8, pre_stop: u8, post_stop: u8| {
        format!(
            "[hooks]\npre_start = 'echo pre_start >>log; exit {pre_start}'\npre_stop = 'echo pre_stop >>log; exit {pre_stop}'\n\
             post_stop = 'echo post_stop >>log; exit {post_stop}'\n\
             [app]\ncommand = ['sh', '-c', 'trap \"echo term >>log; exit 3\" TERM; echo app >>log; echo up $((40+2)); while :; do sleep 0.05; done']\n"
        )
    };
    for (codes, exit) in [((0, 4, 0), 3), ((0, 0, 9), 9)] {
        let dir = TempDir::new();
        let toml = hooks(codes.0, codes.1, codes.2);
        let proc = pilotfish().env("PILOTFISH_CONFIG", toml).cwd(dir.path()).spawn();
        proc.wait_line("up 42", WAIT);
        proc.signal(TERM);
        proc.expect_exit(Exit::Code(exit), WAIT);
        assert_eq!(dir.read("log"), "pre_start\napp\npre_stop\nterm\npost_stop\n", "{}", proc.report());
    }
    let dir = TempDir::new();
    let proc = pilotfish().env("PILOTFISH_CONFIG", hooks(7, 0, 0)).cwd(dir.path()).spawn();
    proc.expect_exit(Exit::Code(7), WAIT);
    proc.check(!dir.read("log").contains("app"), "the app is not started");
}

#[test]
fn hooks_that_hang_are_over_in_the_time_of_platforms() {
    let toml = "[hooks]\npre_stop = 'sleep 100'\npost_stop = 'sleep 100'\n\
                [app]\ncommand = ['sh', '-c', 'trap \"\" TERM; echo up $((40+2)); while :; do sleep 0.05; done']\n";
    let proc = pilotfish().env("PILOTFISH_CONFIG", toml).spawn();
    proc.wait_line("up 42", WAIT);
    let asked = Instant::now();
    proc.signal(TERM);
    proc.wait_exit(WAIT);
    proc.check(asked.elapsed() < secs(10), &format!("it took {:?}", asked.elapsed()));
    expect_nobody(&proc);
}

#[test]
fn tasks_coprocesses_and_sensors_run_beside_the_app() {
    let dir = TempDir::new();
    let address = format!("127.0.0.1:{}", free_port());
    let toml = format!(
        "[telemetry]\nlisten = '{address}'\n\
         [[task]]\nname = 'tick'\ncommand = 'echo tick >>ticks; echo from the task'\ninterval = '100ms'\n\
         [[task]]\nname = 'slow'\ncommand = 'echo $$ >>slow; exec sleep 100'\ninterval = '200ms'\n\
         [[coprocess]]\nname = 'thrice'\ncommand = ['sh', '-c', 'echo run >>runs; exit 1']\nrestarts = 2\n\
         [[coprocess]]\nname = 'stays'\ncommand = ['sleep', '100']\nrestarts = 'always'\n\
         [[sensor]]\nname = 'app_load'\nhelp = 'Load.'\ntype = 'gauge'\ninterval = '100ms'\ncheck = 'echo \" 4.5 \"'\n\
         [[sensor]]\nname = 'app_ticks'\ntype = 'counter'\ninterval = '100ms'\ncheck = ['echo', '2']\n\
         [[sensor]]\nname = 'app_broken'\ntype = 'gauge'\ninterval = '100ms'\ncheck = ['echo', 'x']\n\
         [app]\ncommand = ['sh', '-c', 'while [ ! -e end ]; do sleep 0.05; done; exit 5']\n"
    );
    let proc = pilotfish().env("PILOTFISH_CONFIG", toml).cwd(dir.path()).spawn();
    proc.wait_line("from the task", WAIT);
    let lines = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default().lines().count();
    let metric = |name: &str| {
        let page = http("GET", &address, "/metrics", &[], b"").map(|r| r.text()).unwrap_or_default();
        page.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<f64>().ok())
    };
    wait_until(WAIT, "runs, ticks and values", || {
        let is_done = lines("runs") >= 3 && lines("ticks") >= 3 && lines("slow") >= 2;
        (is_done && metric("app_load ") == Some(4.5) && metric("app_ticks ") >= Some(6.0)).then_some(())
    });
    let ticks = lines("ticks");
    wait_until(WAIT, "more ticks", || (lines("ticks") >= ticks + 5).then_some(()));
    proc.check(lines("runs") == 3, "once, and twice more");
    proc.check(metric("app_broken ").is_none_or(|v| v == 0.0), "no number is no value");
    dir.write("end", "");
    proc.expect_exit(Exit::Code(5), WAIT);
    expect_nobody(&proc);
}

#[test]
fn of_many_sensors_that_end_at_once_each_is_heard() {
    const COUNT: usize = 80;
    let dir = TempDir::new();
    let address = format!("127.0.0.1:{}", free_port());
    let mut toml = format!("[telemetry]\nlisten = '{address}'\n");
    for n in 0..COUNT {
        toml += &format!(
            "[[sensor]]\nname = 's{n}'\ntype = 'counter'\ninterval = '1h'\ntimeout = '1m'\n\
             check = 'until [ -e go ]; do sleep 0.05; done; echo 1'\n"
        );
    }
    toml += "[app]\ncommand = ['sleep', '1000']\n";
    let proc = pilotfish().env("PILOTFISH_CONFIG", toml).cwd(dir.path()).spawn();
    wait_until(WAIT, "all sensors run", || (children_of(proc.pid()).len() > COUNT).then_some(()));
    proc.signal(libc::SIGSTOP);
    dir.write("go", "");
    wait_until(WAIT, "all have ended", || {
        (children_of(proc.pid()).iter().filter(|child| child.state == 'Z').count() >= COUNT).then_some(())
    });
    proc.signal(libc::SIGCONT);
    wait_until(WAIT, "none is left", || (children_of(proc.pid()).len() == 1).then_some(()));
    let page = http("GET", &address, "/metrics", &[], b"").map(|r| r.text()).unwrap_or_default();
    let heard = (0..COUNT).filter(|n| page.lines().any(|l| l == format!("s{n} 1"))).count();
    proc.check(heard == COUNT, &format!("{heard} of {COUNT} were heard"));
    proc.signal(libc::SIGTERM);
    proc.wait_exit(WAIT);
}

/// The page's example, with addresses of this test.
#[test]
fn the_balancer_of_the_page() {
    let bed = Bed::new();
    let page = include_str!("../README.md");
    let mut blocks = page.split("```toml\n").filter_map(|b| b.split("\n```").next());
    let toml = blocks.find(|b| b.contains("url = \"services:\"")).unwrap();
    let (front, haproxy) = (format!("127.0.0.1:{}", free_port()), server_bin("haproxy"));
    let toml = toml
        .replace("127.0.0.1:8500", &bed.consul.addr())
        .replace("/etc/haproxy/haproxy.cfg", &bed.dir.join("haproxy.cfg").display().to_string())
        .replace("bind :80", &format!("bind {front}"))
        .replace("\"haproxy\"", &format!("\"{}\"", haproxy.display()));
    let node = |name: &'static str| FakeHttp::start(move |_| Answer::reply(200, &[], name));
    let (a, b, api) = (node("a"), node("b"), node("api"));
    let register = |name: &str, id: &str, node: &FakeHttp, tags: &[&str]| {
        let port = node.addr().rsplit(':').next().unwrap().parse::<u16>().unwrap();
        let body = json!({"Name": name, "ID": id, "Address": "127.0.0.1", "Port": port, "Tags": tags});
        bed.consul.call("PUT", "/v1/agent/service/register", body.to_string().as_bytes());
    };
    register("web", "a", &a, &[]);
    register("api", "api", &api, &["v2"]);
    let proc = pilotfish().env("PILOTFISH_CONFIG", toml).cwd(bed.dir.path()).spawn();
    let ask = |path: &str| http("GET", &front, path, &[], b"").map(|r| r.text()).unwrap_or_default();
    let wait = |path: &str, want: &str| {
        let start = Instant::now();
        while ask(path) != want {
            if start.elapsed() > WAIT {
                proc.fail(&format!("{path} should be answered by {want}, but is by {:?}", ask(path)));
            }
            std::thread::sleep(millis(10));
        }
    };
    wait("/", "a");
    wait("/api/x", "api");
    register("web", "b", &b, &[]);
    wait("/", "b");
    bed.deregister("a");
    proc.wait_line("reloading main program now", WAIT);
    // Both had their turn; now it is one alone, each time.
    let is_b = || (0..20).all(|_| ask("/") == "b");
    wait_until(WAIT, "b alone", || is_b().then_some(()));
    proc.signal(TERM);
    proc.wait_exit(secs(10));
    expect_nobody(&proc);
}
