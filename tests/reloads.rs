//! Reloads that leave the app's process: by a request over HTTP, by Docker's API, by a signal to processes of a name that
//! pilotfish did not start; with an app and without one.
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

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use util::*;

const WAIT: Duration = secs(40);

/// A key, a template of it, and a configuration: `out` is to be in step with the key.
struct Bed {
    dir: TempDir,
}

impl Bed {
    fn new() -> Bed {
        let dir = TempDir::new();
        dir.write("keys/a", "one");
        Bed { dir }
    }
    fn set(&self, value: &str) {
        self.dir.write("new", value);
        std::fs::rename(self.dir.join("new"), self.dir.join("keys/a")).unwrap();
    }
    /// pilotfish.toml: source and template, more for the template, then more.
    fn toml(&self, template: &str, rest: &str) -> String {
        let (keys, out) = (self.dir.join("keys"), self.dir.join("out"));
        let source = format!("[source.kv]\nurl = 'dir:{}'\n", keys.display());
        let of = "[[template]]\ntext = '{{ getv(\"/a\") }}'\ndest = ";
        format!("{source}{of}'{}'\n{template}\n{rest}\n", out.display())
    }
    fn pilotfish(&self, template: &str, rest: &str) -> Cmd {
        pilotfish().env("PILOTFISH_CONFIG", self.toml(template, rest)).cwd(self.dir.path())
    }
    fn wait(&self, want: &str) {
        wait_file(self.dir.join("out"), want, WAIT);
    }
}

fn ok() -> Answer {
    Answer::reply(200, &[], "")
}

fn wait_count(server: &FakeHttp, n: usize) -> Request {
    wait_until(WAIT, &format!("request {n}"), || server.requests().get(n - 1).cloned())
}

// --- requests -----------------------------------------------------------------------------------------------------

#[test]
fn a_request_that_fails_twice_is_sent_until_it_works() {
    let server = FakeHttp::start(|r| if r.number <= 2 { Answer::reply(500, &[], "no") } else { ok() });
    let bed = Bed::new();
    let url = format!("http://{}/-/reload?token=secret", server.addr());
    let proc = bed.pilotfish("", &format!("[app]\nreload = '{url}'\n")).spawn();
    bed.wait("one");
    let shown = format!("POST http://{}/-/reload", server.addr());
    proc.wait_line(&format!("reloading by {shown} now"), WAIT);
    proc.wait_line(&format!("the reload failed: {shown} answers 500; next try in "), WAIT);
    proc.wait_line("the reload that failed has succeeded now", WAIT);
    let all = server.requests();
    proc.check(all.len() == 3, "three requests");
    proc.check(
        all.iter().all(|r| r.method == "POST" && r.path == "/-/reload?token=secret"),
        "each is as it was asked for",
    );
    proc.check(all[2].at - all[1].at >= millis(50), "it backs off");
    proc.check(proc.lines_matching("secret").is_empty(), "what stands behind the ? is not shown");
    // The next change is one request.
    bed.set("two");
    wait_count(&server, 4);
    bed.wait("two");
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), WAIT);
    assert_eq!(server.count(), 4);
}

#[test]
fn a_request_is_as_its_table_says() {
    let server = FakeHttp::start(|_| Answer::reply(302, &["Location: /elsewhere"], ""));
    let bed = Bed::new();
    let table = format!(
        "[app.reload]\nurl = 'http://{}/load'\nmethod = 'PUT'\nheaders = {{ Authorization = 'Bearer secret', X-A = 'b c' }}\n\
         body = '{{\"a\":1}}'\nexpect = [204, 302]\n",
        server.addr()
    );
    let proc = bed.pilotfish("", &table).spawn();
    let r = wait_count(&server, 1);
    proc.check((r.method.as_str(), r.path.as_str()) == ("PUT", "/load"), &format!("{r:?}"));
    proc.check(r.header("authorization") == Some("Bearer secret") && r.header("x-a") == Some("b c"), &format!("{r:?}"));
    proc.check(r.body == b"{\"a\":1}", &format!("{r:?}"));
    bed.set("two");
    wait_count(&server, 2);
    bed.set("three");
    wait_count(&server, 3);
    // 302 is what was expected, and is not followed.
    proc.check(server.requests().iter().all(|r| r.path == "/load"), "nobody went elsewhere");
    proc.check(proc.lines_matching("failed").is_empty(), "302 counts as success");
    proc.check(proc.lines_matching("secret").is_empty(), "no header is shown");
    drop(proc);

    // Any of 2xx is expected if nothing is said; and a GET has no body.
    let server = FakeHttp::start(|r| Answer::reply(if r.number == 1 { 302 } else { 202 }, &[], ""));
    let bed = Bed::new();
    let table = format!("[app]\nreload = {{ url = 'http://{}', method = 'GET' }}\n", server.addr());
    let proc = bed.pilotfish("", &table).spawn();
    proc.wait_line(&format!("the reload failed: GET http://{}/ answers 302", server.addr()), WAIT);
    proc.wait_line("the reload that failed has succeeded now", WAIT);
    assert_eq!(server.requests()[0].method, "GET");
}

#[test]
fn retries_come_before_a_failure_is_one() {
    let server = FakeHttp::start(|r| match r.number {
        1 => Answer::Cut(Vec::new()),
        2 => Answer::reply(503, &[], ""),
        _ => ok(),
    });
    let bed = Bed::new();
    let table = format!("[app]\nreload = {{ url = 'http://{}/r', retries = 3 }}\n", server.addr());
    let proc = bed.pilotfish("", &table).spawn();
    let last = wait_count(&server, 3);
    proc.check(last.at - server.requests()[1].at >= millis(400), "half a second lies between two tries");
    bed.set("two");
    wait_count(&server, 4);
    proc.check(proc.lines_matching("failed").is_empty(), "nothing has failed");
}

#[test]
fn a_server_that_hangs_holds_up_nothing() {
    // The head never comes; the connection stays.
    let server = FakeHttp::start(|r| match r.number {
        1 => Answer::Hang(Vec::new()),
        2 => Answer::Hang(b"HTTP/1.1 20".to_vec()),
        _ => ok(),
    });
    let bed = Bed::new();
    let table = format!("[app]\nreload = {{ url = 'http://{}/r', timeout = '4s' }}\n", server.addr());
    let proc = bed.pilotfish("", &table).spawn();
    wait_count(&server, 1);
    bed.set("two"); // while it hangs
    bed.wait("two");
    proc.check(server.count() == 1, "the file waited for the request");
    proc.wait_line(
        &format!("the reload failed: POST http://{}/r: no answer in time; next try in", server.addr()),
        WAIT,
    );
    wait_count(&server, 3);
    proc.wait_line("the reload that failed has succeeded now", WAIT);

    // A stop does not wait for it either; the app is ours this time.
    let server = FakeHttp::start(|_| Answer::Hang(Vec::new()));
    let bed = Bed::new();
    let table = format!(
        "[app]\ncommand = ['{}', 'wait']\nreload = {{ url = 'http://{}/r', timeout = '10m' }}\n",
        static_app().display(),
        server.addr()
    );
    let proc = bed.pilotfish("", &table).spawn();
    proc.wait_line("ready pid=", WAIT);
    bed.set("two");
    wait_count(&server, 1);
    let begin = Instant::now();
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), secs(10));
    proc.check(begin.elapsed() < secs(5), "it ended at once");
}

#[test]
fn requests_leave_nothing_behind() {
    let server = FakeHttp::start(|r| if r.number % 5 == 0 { Answer::Cut(Vec::new()) } else { ok() });
    let bed = Bed::new();
    let proc = bed.pilotfish("", &format!("[app]\nreload = 'http://{}/r'\n", server.addr())).spawn();
    wait_count(&server, 1);
    let mut open = Vec::new();
    for i in 0..30 {
        let before = server.count();
        bed.set(&format!("value {i}"));
        wait_until(WAIT, "the next request", || (server.count() > before).then_some(()));
        bed.wait(&format!("value {i}"));
        open.push(open_fds(proc.pid()));
    }
    let (early, late) = (open[..15].iter().max(), open[15..].iter().min());
    proc.check(late <= early, &format!("descriptors should not grow: {open:?}"));
    let threads = || std::fs::read_dir(format!("/proc/{}/task", proc.pid())).unwrap().count();
    let most = 2 + usize::from(emulated().is_some()); // an emulator has one of its own
    wait_until(WAIT, "the requests' threads to end", || (threads() <= most).then_some(()));
}

#[test]
fn nobody_there_is_a_failure_that_passes() {
    let bed = Bed::new();
    let port = free_port();
    let proc = bed.pilotfish("", &format!("[app]\nreload = 'http://127.0.0.1:{port}/r'\n")).spawn();
    proc.wait_line(
        &format!("the reload failed: POST http://127.0.0.1:{port}/r: Connection refused; next try in"),
        WAIT,
    );
    let server = FakeHttp::start_at(&format!("127.0.0.1:{port}"), |_| ok());
    wait_count(&server, 1);
    proc.wait_line("the reload that failed has succeeded now", WAIT);
    drop(proc);

    // The app is not told at its start: it reads its files then.
    let server = FakeHttp::start(|_| ok());
    let bed = Bed::new();
    let app = format!("[app]\ncommand = ['{}', 'wait']\n", static_app().display());
    let proc = bed
        .pilotfish("", &format!("{app}reload = 'http://localhost:{}/r'\n", server.addr().rsplit(':').next().unwrap()));
    let proc = proc.spawn();
    proc.wait_line("ready pid=", WAIT);
    bed.set("two");
    wait_count(&server, 1);
    bed.wait("two");
    bed.set("three");
    wait_count(&server, 2);
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), WAIT);
    assert_eq!(server.count(), 2);
}

#[test]
fn an_answer_that_refuses_rolls_back_and_silence_does_not() {
    let server = FakeHttp::start(|r| match r.number {
        1 => Answer::reply(400, &[], ""), // the new file is refused
        3 => Answer::Cut(Vec::new()),     // no answer
        _ => ok(),
    });
    let bed = Bed::new();
    let app =
        format!("[app]\ncommand = ['{}', 'wait']\nreload = 'http://{}/r'\n", static_app().display(), server.addr());
    let proc = bed.pilotfish("rollback = true", &app).spawn();
    proc.wait_line("ready pid=", WAIT);
    bed.wait("one");
    bed.set("bad");
    proc.wait_line(
        &format!("the reload failed (POST http://{}/r answers 400) after its files changed", server.addr()),
        WAIT,
    );
    bed.wait("one");
    wait_count(&server, 2); // it is told of the old one again
    bed.set("two");
    wait_count(&server, 3);
    wait_count(&server, 4);
    proc.wait_line("the reload that failed has succeeded now", WAIT);
    bed.wait("two");
    proc.check(proc.lines_matching("after its files changed").len() == 1, "silence says nothing of the files");
}

#[test]
fn a_template_tells_somebody_of_its_own_as_well() {
    let (own, app) = (FakeHttp::start(|_| ok()), FakeHttp::start(|_| ok()));
    let bed = Bed::new();
    let template = format!("reload = {{ url = 'http://{}/own' }}", own.addr());
    let proc = bed.pilotfish(&template, &format!("[app]\nreload = 'http://{}/app'\n", app.addr())).spawn();
    wait_count(&own, 1);
    wait_count(&app, 1);
    bed.set("two");
    wait_count(&own, 2);
    wait_count(&app, 2);
    proc.check(own.requests()[0].path == "/own" && app.requests()[0].path == "/app", "each has its own path");
    // Without [app] there is only the template's.
    let bed = Bed::new();
    let _proc = bed.pilotfish(&template, "").spawn();
    wait_count(&own, 3);
}

#[test]
fn once_tells_once_and_its_code_says_whether_it_worked() {
    let server = FakeHttp::start(|r| if r.number == 1 { Answer::reply(500, &[], "") } else { ok() });
    let bed = Bed::new();
    let run = || {
        let url = format!("http://{}/r", server.addr());
        bed.pilotfish("", "").args(["--once", "--reload", &url]).run(WAIT)
    };
    run().expect_exit(Exit::Code(1), WAIT);
    assert_eq!(server.count(), 1);
    bed.set("two");
    run().expect_exit(Exit::Code(0), WAIT);
    assert_eq!((server.count(), bed.dir.read("out").as_str()), (2, "two"));
    // Nothing changed, nobody is told.
    run().expect_exit(Exit::Code(0), WAIT);
    assert_eq!(server.count(), 2);
}

#[test]
fn the_host_gateway_is_the_default_gateway() {
    // A network of its own, in which the default route leads to an nginx.
    let bed = Bed::new();
    let dir = bed.dir.path().display().to_string();
    let conf = "server { listen 127.0.0.9:4001; location / { return 204; } }";
    bed.dir.write("nginx.conf", nginx_conf(&dir, 1, conf));
    let script = "ip link set lo up && ip route add default via 127.0.0.9 dev lo || exit 9; \
                  \"$0\" -p . -e stderr -c nginx.conf & exec \"$@\"";
    let mut cmd = Cmd::new("unshare").arg("--net");
    // SAFETY: plain system call.
    if unsafe { libc::geteuid() } != 0 {
        cmd = cmd.args(["--user", "--map-root-user"]);
    }
    let cmd = cmd.args(["sh", "-c", script]).arg(server_bin("nginx")).arg(pilotfish_bin()).cwd(&dir);
    let toml = bed.toml("", "[app]\nreload = 'http://gateway:4001/from-the-host'\n");
    let proc = cmd.env("PILOTFISH_CONFIG", toml).spawn();
    wait_until(WAIT, &format!("nginx to be asked\n{}", proc.report()), || {
        let log = std::fs::read_to_string(bed.dir.join("access.log")).unwrap_or_default();
        log.contains("POST /from-the-host HTTP/1.1\" 204").then_some(())
    });
}

/// A configuration of nginx with these servers, for a folder of its own.
fn nginx_conf(dir: &str, workers: u32, servers: &str) -> String {
    let temp: String =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|n| format!("{n}_temp_path {dir}/tmp-{n};")).concat();
    format!(
        "daemon off; worker_processes {workers}; user root root; pid {dir}/nginx.pid; error_log stderr; events {{}}\n\
         http {{ access_log {dir}/access.log; {temp}\n{servers} }}\n"
    )
}

// --- Docker -------------------------------------------------------------------------------------------------------

/// A small server that speaks what is needed of Docker's API, on a unix socket.
struct Docker {
    socket: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Docker {
    /// The container `web` runs; its state is what `status` says for each request.
    fn start(dir: &TempDir, status: impl Fn(usize) -> u16 + Send + 'static) -> Docker {
        let socket = dir.join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let all = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream);
                let mut head = String::new();
                while reader.read_line(&mut head).is_ok_and(|n| n > 2) {}
                let number = {
                    let mut all = all.lock().unwrap();
                    all.push(head.clone());
                    all.len()
                };
                let code = if head.starts_with("POST /containers/web/kill?signal=") { status(number) } else { 404 };
                let body = if code == 204 { "" } else { "{\"message\":\"x\"}" };
                let length = if code == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
                let _ = reader.get_mut().write_all(format!("HTTP/1.1 {code} x\r\n{length}\r\n{body}").as_bytes());
            }
        });
        Docker { socket, asked }
    }
    fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
    fn wait(&self, n: usize) -> String {
        wait_until(WAIT, &format!("request {n} to Docker"), || self.asked.lock().unwrap().get(n - 1).cloned())
    }
}

#[test]
fn docker_signals_a_container() {
    let bed = Bed::new();
    let docker = Docker::start(&bed.dir, |n| match n {
        2 => 409,
        3 => 500,
        _ => 204,
    });
    let proc =
        bed.pilotfish("", "[app]\nreload = 'docker://web?signal=HUP'\n").env("DOCKER_HOST", docker.host()).spawn();
    let head = docker.wait(1);
    proc.check(head.starts_with("POST /containers/web/kill?signal=HUP HTTP/1.1\r\n"), &head);
    proc.check(head.to_ascii_lowercase().contains("content-length: 0"), &head);
    bed.set("two");
    proc.wait_line("the reload failed: docker://web?signal=HUP: the container is not running; next try in", WAIT);
    proc.wait_line("the reload failed: docker://web?signal=HUP: Docker answers 500; next try in", WAIT);
    proc.wait_line("the reload that failed has succeeded now", WAIT);
    docker.wait(4);
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), WAIT);
}

#[test]
fn docker_says_what_is_wrong() {
    let bed = Bed::new();
    let docker = Docker::start(&bed.dir, |_| 204);
    let run = |how: &str, host: &str| {
        let _ = std::fs::remove_file(bed.dir.join("out"));
        let proc = bed.pilotfish("", "").args(["--once", "-r", how]).env("DOCKER_HOST", host);
        proc.run(WAIT)
    };
    let proc = run("docker://wen", &docker.host());
    proc.expect_exit(Exit::Code(1), WAIT);
    proc.check(proc.stderr().contains("docker://wen?signal=HUP: there is no such container"), "404");
    assert!(docker.wait(1).starts_with("POST /containers/wen/kill?signal=HUP "));
    run("docker://web?signal=SIGUSR2", &docker.host()).expect_exit(Exit::Code(0), WAIT);
    assert!(docker.wait(2).starts_with("POST /containers/web/kill?signal=USR2 "));
    let nowhere = format!("unix://{}", bed.dir.join("no.sock").display());
    let proc = run("docker://web", &nowhere);
    proc.expect_exit(Exit::Code(1), WAIT);
    let want = format!("docker://web?signal=HUP: Docker at {nowhere}: No such file or directory");
    proc.check(proc.stderr().contains(&want), &want);
    // A proxy in front of the socket speaks TCP.
    let server = FakeHttp::start(|_| Answer::Cut(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()));
    run("docker://web", &format!("tcp://{}", server.addr())).expect_exit(Exit::Code(0), WAIT);
    assert_eq!(server.requests()[0].path, "/containers/web/kill?signal=HUP");
    for (host, want) in [
        ("ssh://me@host", "DOCKER_HOST host: expected unix:///path or tcp://host:port"),
        ("tcp://host:x", "DOCKER_HOST tcp://host:x: its port is no number"),
        ("unix://docker.sock", "DOCKER_HOST unix://docker.sock: expected unix:///path or tcp://host:port"),
    ] {
        let proc = run("docker://web", host);
        proc.expect_exit(Exit::Code(78), WAIT);
        proc.check(proc.stderr() == format!("pilotfish: {want}\n"), want);
    }
}

// --- by name ------------------------------------------------------------------------------------------------------

/// A copy of a program under a name that no other test's process has; at most 15 bytes.
fn under_a_name(dir: &TempDir, program: &std::path::Path, name: &str) -> (PathBuf, String) {
    let name = format!("{name}{}", std::process::id() % 1_000_000);
    assert!(name.len() <= 15, "{name}");
    let path = dir.join(format!("bin/{name}"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    // By another process: a descriptor of ours to write to it may be in a child of another test when we run it (ETXTBSY).
    let cp = Cmd::new("cp").arg("--dereference").arg(program).arg(&path);
    cp.run(WAIT).expect_exit(Exit::Code(0), WAIT);
    (path, name)
}

fn pids_of(name: &str) -> Vec<(i32, i32)> {
    let mut all: Vec<(i32, i32)> =
        processes().into_iter().filter(|p| p.name == name && p.state != 'Z').map(|p| (p.pid, p.parent)).collect();
    all.sort_unstable();
    all
}

#[test]
fn nginx_beside_us_is_signalled_by_its_name() {
    let bed = Bed::new();
    let (nginx, name) = under_a_name(&bed.dir, &server_bin("nginx"), "ngx-");
    let port = free_port();
    let dir = bed.dir.path().display().to_string();
    let conf = format!("server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{{{{ getv(\"/a\") }}}}'; }} }}");
    let conf = nginx_conf(&dir, 3, &conf);
    bed.dir.write("n.upon", &conf);
    // The first file, by a pilotfish that finds no nginx to signal.
    let template = format!("n.upon:{dir}/nginx.conf");
    let source = format!("dir:{dir}/keys");
    let ours = || pilotfish().args(["-s", &source, "-t", &template]).cwd(bed.dir.path());
    let first = ours().args(["--once", "-r", &format!("signal:HUP@{name}")]).run(WAIT);
    first.expect_exit(Exit::Code(1), WAIT);
    first.check(first.stderr().contains(&format!("the reload failed: {name} is not running")), "nobody is there");

    let server = Cmd::new(&nginx).args(["-p", &dir, "-e", "stderr", "-c", "nginx.conf"]).spawn();
    let says = |want: &str| {
        wait_until(WAIT, &format!("nginx to say {want}"), || {
            http("GET", &format!("127.0.0.1:{port}"), "/", &[], b"").ok().filter(|r| r.text() == want)
        })
    };
    says("one");
    let before = wait_until(WAIT, "nginx's workers", || Some(pids_of(&name)).filter(|p| p.len() == 4));
    let proc = ours().args(["-r", &format!("signal:HUP@{name}")]).spawn();
    bed.set("two");
    says("two");
    proc.wait_line(&format!("reloading {name} now"), WAIT);
    let after = wait_until(WAIT, "new workers alone", || {
        Some(pids_of(&name)).filter(|p| p.len() == 4 && p.iter().filter(|x| before.contains(x)).count() == 1)
    });
    let masters = |all: &[(i32, i32)]| -> Vec<i32> {
        all.iter().filter(|(_, parent)| !all.iter().any(|(p, _)| p == parent)).map(|(p, _)| *p).collect()
    };
    assert_eq!(masters(&before), [server.pid()]);
    assert_eq!(masters(&after), [server.pid()], "the master goes on");
    bed.set("three");
    says("three");
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), WAIT);
    server.check(server.exited().is_none(), "nginx is not ours to stop");
}

#[test]
fn a_name_that_comes_later_is_signalled_when_it_can_bear_it() {
    let bed = Bed::new();
    let (app, name) = under_a_name(&bed.dir, &static_app(), "late-");
    let reload = format!("[app]\nreload = 'signal:HUP@{name}'\n");
    let proc = bed.pilotfish("", &reload).spawn();
    bed.wait("one");
    proc.wait_line(&format!("the reload failed: {name} is not running; next try in"), WAIT);
    let late = Cmd::new(&app).arg("config").arg(bed.dir.join("out")).spawn();
    late.wait_line("config: one", WAIT);
    late.wait_nth_line(2, "config: one", WAIT); // the HUP
    proc.wait_line("the reload that failed has succeeded now", WAIT);
    late.check(late.lines()[1].at - late.started() > millis(900), "it was left alone for its first second");
    bed.set("two");
    late.wait_line("config: two", WAIT);
    // Two of one name, none the other's parent: both.
    let more = Cmd::new(&app).arg("config").arg(bed.dir.join("out")).spawn();
    more.wait_line("config: two", WAIT);
    bed.set("three");
    late.wait_line("config: three", WAIT);
    more.wait_line("config: three", WAIT);
    drop(late);
    drop(more);
    bed.set("four");
    proc.wait_nth_line(2, &format!("the reload failed: {name} is not running"), WAIT);
}

#[test]
fn a_command_of_ours_with_the_name_is_not_meant() {
    let bed = Bed::new();
    let sh = std::fs::canonicalize("/bin/sh").unwrap();
    let (sh, name) = under_a_name(&bed.dir, &sh, "chk-");
    let check = format!("check = ['{}', '-c', 'test \"$(cat \"$0\")\" = one || sleep 4; :', '{{src}}']", sh.display());
    let proc = bed.pilotfish(&check, &format!("[app]\nreload = 'signal:HUP@{name}'\n")).spawn();
    bed.wait("one");
    proc.wait_line(&format!("the reload failed: {name} is not running; next try in"), WAIT);
    // While the check of the next value runs, the reload is tried again and again: a HUP would end the check.
    bed.set("two");
    wait_until(WAIT, "the check", || (!pids_of(&name).is_empty()).then_some(()));
    bed.wait("two");
    proc.check(proc.lines_matching("has just started").is_empty(), "the check was seen");
    proc.check(proc.lines_matching("Config check failed").is_empty(), "the check was signalled");
}

#[test]
fn a_name_beside_an_app_of_ours() {
    let bed = Bed::new();
    let (app, name) = under_a_name(&bed.dir, &static_app(), "side-");
    let side = Cmd::new(&app).arg("config").arg(bed.dir.join("out")).spawn();
    side.wait_line("config: cannot read", WAIT);
    let rest = format!("[app]\ncommand = ['{}', 'wait']\nreload = 'signal:HUP@{name}'\n", static_app().display());
    let proc = bed.pilotfish("", &rest).spawn();
    proc.wait_line("ready pid=", WAIT);
    bed.set("two");
    side.wait_line("config: two", WAIT);
    proc.check(proc.lines_matching("signal 1").is_empty(), "our app is not meant");
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), WAIT);
}
