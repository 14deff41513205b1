//! The control socket: what a running pilotfish says and does when it is asked and told, who is let in, where the socket is,
//! and what the commands make of one, several and nobody.

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

use pilotfish::plan::Control;
use pilotfish::state::facts::{Facts, Tally};
use pilotfish::sys::socket::wait_any;
use pilotfish::telemetry::control::{self, Wish};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use util::*;

const WAIT: Duration = secs(40);

/// Runs a command of pilotfish's to its end: the exit code, what it printed, and what it said.
fn say(cmd: Cmd) -> (Exit, String, String) {
    let proc = cmd.run(WAIT);
    (proc.wait_exit(WAIT), proc.stdout(), proc.stderr())
}

fn is_root() -> bool {
    // SAFETY: it cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn facts(unready: Option<&str>, services: &[(&str, &'static str)]) -> Facts {
    Facts {
        unready: unready.map(str::to_string),
        unstarted: None,
        tally: Tally::default(),
        sources: Vec::new(),
        app_runs: Some(true),
        services: services.iter().map(|(id, how)| ((*id).to_string(), *how)).collect(),
        instances: Vec::new(),
        is_maintained: false,
        certificates: Vec::new(),
    }
}

/// Answers at this path as pilotfish does that knows these facts; what it is told comes through the channel.
fn answering(path: &Path, facts: Facts) -> Receiver<&'static str> {
    let at = Control::At(path.display().to_string());
    let mut socket = control::open(&at).unwrap_or_else(|e| panic!("{e}")).0.unwrap();
    let (told, wishes) = channel();
    std::thread::spawn(move || {
        loop {
            wait_any(&socket.server.awaited(), Some(100));
            socket.server.turn(pilotfish::sys::host::clock(), &mut |method, path| {
                let mut wishes = Vec::new();
                let answer = control::answer(method, path, &facts, 0, &mut wishes);
                for wish in wishes {
                    let _ = told.send(match wish {
                        Wish::Maintenance(true) => "on",
                        Wish::Maintenance(false) => "off",
                        Wish::Reload => "reload",
                    });
                }
                answer
            });
        }
    });
    wishes
}

#[test]
fn each_command_says_what_it_is_told() {
    let dir = TempDir::new();
    let path = dir.join("s");
    let asked = |words: &[&str]| say(pilotfish().args(words).env("PILOTFISH_CONTROL", &path));
    // Nobody, a leftover, and somebody who never answers.
    let (exit, out, err) = asked(&["status"]);
    assert_eq!((exit, out.as_str()), (Exit::Code(69), ""));
    assert!(err.contains(&format!("pilotfish at {}: No such file or directory", path.display())), "{err}");
    let silent = UnixListener::bind(&path).unwrap();
    let (exit, _, err) = asked(&["reload", "--timeout", "200ms"]);
    assert!(exit == Exit::Code(69) && err.contains(": no answer in time"), "{exit:?} {err}");
    drop(silent);
    let (exit, _, err) = asked(&["status"]);
    assert!(exit == Exit::Code(69) && err.contains(": Connection refused"), "{exit:?} {err}");
    let told = answering(&path, facts(None, &[("web-1", "passing")]));
    let (exit, out, err) = asked(&["status"]);
    assert_eq!((exit, err.as_str()), (Exit::Code(0), ""));
    assert!(out.starts_with("ready\napp: running\n") && out.contains("\nservice web-1: passing\n"), "{out}");
    for (words, wish) in [(&["maintenance", "on"][..], "on"), (&["maintenance", "off"], "off"), (&["reload"], "reload")]
    {
        let (exit, out, err) = asked(words);
        assert_eq!((exit, err.as_str(), out.lines().count()), (Exit::Code(0), "", 1), "{words:?} {out}");
        assert_eq!(told.recv_timeout(WAIT), Ok(wish));
    }
    assert!(told.try_recv().is_err(), "nothing was told twice, and a question tells nothing");
    // Not ready; without services there is no maintenance.
    let path = dir.join("t");
    let _told = answering(&path, facts(Some("the file is gone"), &[]));
    let at = ["--control", path.to_str().unwrap()];
    let (exit, out, err) = say(pilotfish().arg("status").args(at));
    assert_eq!((exit, err.as_str()), (Exit::Code(1), ""));
    assert!(out.starts_with("not ready: the file is gone\napp: running\n"), "{out}");
    let (exit, out, err) = say(pilotfish().args(["maintenance", "on"]).args(at));
    assert_eq!((exit, out.as_str()), (Exit::Code(1), ""));
    assert!(err.contains("there are no services of ours"), "{err}");
    // The way of those without pilotfish.
    let curl = Cmd::new("curl").args(["-sS", "--unix-socket", path.to_str().unwrap(), "http://localhost/status"]);
    let (exit, out, err) = say(curl);
    assert!(exit == Exit::Code(0) && out.starts_with("not ready: "), "{exit:?} {out} {err}");
}

/// The program where everybody can start it.
fn program_for_all(dir: &TempDir) -> PathBuf {
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let program = dir.join("pilotfish");
    fs::copy(pilotfish_bin(), &program).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    program
}

/// A command as user 65534, who is in no group of ours.
fn as_nobody(program: &Path) -> Cmd {
    Cmd::new("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program).cwd("/")
}

#[test]
fn nobody_else_is_let_in() {
    if !is_root() {
        return; // who is not root cannot be somebody else
    }
    let dir = TempDir::new();
    let program = program_for_all(&dir);
    let path = dir.join("s");
    let told = answering(&path, facts(None, &[("web-1", "passing")]));
    let asked = |words: &[&str]| say(as_nobody(&program).args(words).arg("--control").arg(&path));
    let (exit, out, err) = asked(&["status"]);
    assert_eq!((exit, out.as_str()), (Exit::Code(69), ""));
    assert!(err.contains(": Permission denied"), "{err}");
    // Even where the file lets them.
    fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    for words in [&["status"][..], &["reload"], &["maintenance", "on"]] {
        let (exit, out, err) = asked(words);
        assert_eq!((exit, out.as_str()), (Exit::Code(69), ""));
        assert!(err.contains(": the connection was cut"), "{err}");
    }
    // Whose socket it is, is.
    let (exit, ..) = say(pilotfish().args(["reload", "--control", dir.join("s").to_str().unwrap()]));
    assert_eq!((exit, told.recv_timeout(WAIT)), (Exit::Code(0), Ok("reload")));
    assert!(told.try_recv().is_err());
}

/// pilotfish with a folder of keys, and a file made of one of them.
struct World {
    dir: TempDir,
}

impl World {
    fn new() -> World {
        let dir = TempDir::new();
        dir.mkdir("keys");
        World { dir }
    }
    fn put(&self, key: &str, value: &str) {
        let aside = self.dir.write("keys/.aside", value);
        fs::rename(aside, self.dir.join("keys").join(key)).unwrap();
    }
    fn config(&self, more: &str) -> String {
        let toml = "[source.keys]\nurl = 'dir:$D/keys'\n[[template]]\nname = 'x.tmpl'\ntext = '{{getv \"/a\"}}'\ndest = '$D/out'\n";
        [toml, more].concat().replace("$D", &self.dir.path().display().to_string())
    }
}

const APP: &str = "[app]\ncommand = ['sleep', '1000']\nreload = 'none'\n";

/// Asks until the answer begins so.
fn wait_status(asked: &dyn Fn() -> Cmd, code: i32, begin: &str) -> String {
    wait_until(WAIT, begin, || {
        let (exit, out, _) = say(asked());
        (exit == Exit::Code(code) && out.starts_with(begin)).then_some(out)
    })
}

#[test]
fn a_running_pilotfish_says_how_it_is() {
    let w = World::new();
    let path = w.dir.join("socket");
    let start = || pilotfish().env("PILOTFISH_CONFIG", w.config(APP)).env("PILOTFISH_CONTROL", &path);
    let proc = start().spawn();
    let asked = || pilotfish().arg("status").env("PILOTFISH_CONTROL", &path);
    let out = wait_status(&asked, 1, "not ready: waiting for the first configuration: ");
    assert!(out.contains("\napp: not running\nfiles: not all in place yet\n"), "{out}");
    assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o7777, 0o600);
    w.put("a", "1");
    let out = wait_status(&asked, 0, "ready\napp: running\nfiles: in place\nsource ");
    assert!(out.contains("/keys: up, 1 keys\n") && out.contains("\nupdates: 1, the last "), "{out}");
    assert!(!out.contains("maintenance: "), "{out}");
    // One more at the same path: it says so and ends, and the first one is as it was.
    let second = start().spawn();
    second.expect_exit(Exit::Code(1), WAIT);
    assert!(second.stderr().contains("/socket: another instance listens there"), "{}", second.report());
    wait_status(&asked, 0, "ready\n");
    proc.signal(libc::SIGTERM);
    proc.wait_exit(WAIT);
    assert!(fs::symlink_metadata(&path).is_err(), "the socket stays behind");
    // What is left of one that was killed is replaced.
    let proc = start().spawn();
    wait_status(&asked, 0, "ready\n");
    proc.signal(libc::SIGKILL);
    proc.wait_exit(WAIT);
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    let proc = start().spawn();
    wait_status(&asked, 0, "ready\n");
    proc.signal(libc::SIGTERM);
    proc.wait_exit(WAIT);
}

#[test]
fn reload_reads_the_configuration_again() {
    let w = World::new();
    w.put("a", "1");
    let socket = w.dir.join("socket");
    let config = w.dir.write("pilotfish.toml", w.config(APP));
    let cmd = pilotfish().arg("--config").arg(&config).env("PILOTFISH_CONTROL", &socket);
    let proc = cmd.env("PILOTFISH_LOG_LEVEL", "debug").spawn();
    let reload = || {
        let (exit, out, err) = say(pilotfish().args(["reload", "--control"]).arg(&socket));
        assert_eq!((exit, err.as_str()), (Exit::Code(0), ""));
        assert_eq!(out, "the configuration is read again; the log says how that went\n");
    };
    wait_file(w.dir.join("out"), "1", WAIT);
    reload();
    proc.wait_line("the configuration is as it was", WAIT);
    fs::write(&config, w.config(APP).replace("{{getv", "new {{getv")).unwrap();
    reload();
    wait_file(w.dir.join("out"), "new 1", WAIT);
    // A bad one is said, and the one before goes on.
    fs::write(&config, "[[template]]\nnonsense = 1\n").unwrap();
    let mark = proc.mark();
    reload();
    proc.wait_line_after(mark, "nonsense", WAIT);
    // So is one whose template is none.
    fs::write(&config, w.config(APP).replace("{{getv", "{{if}} {{getv")).unwrap();
    let mark = proc.mark();
    reload();
    proc.wait_line_after(mark, "missing value for if", WAIT);
    w.put("a", "2");
    wait_file(w.dir.join("out"), "new 2", WAIT);
    wait_status(&|| pilotfish().args(["status", "--control"]).arg(&socket), 0, "ready\napp: running\n");
    assert_eq!(children_of(proc.pid()).len(), 1, "{}", proc.report());
    proc.signal(libc::SIGTERM);
    proc.wait_exit(WAIT);
}

#[test]
fn a_port_that_is_taken_keeps_no_new_socket_away() {
    let w = World::new();
    w.put("a", "1");
    let (first, second) = (w.dir.join("first"), w.dir.join("second"));
    let config = format!("control = '{}'\n{}", first.display(), w.config(APP));
    let path = w.dir.write("pilotfish.toml", &config);
    let proc = pilotfish().arg("--config").arg(&path).spawn();
    wait_file(w.dir.join("out"), "1", WAIT);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = config.replace("first", "second");
    fs::write(&path, format!("{config}[telemetry]\nlisten = '{}'\n", taken.local_addr().unwrap())).unwrap();
    say(pilotfish().args(["reload", "--control"]).arg(&first));
    proc.wait_line("cannot listen on 127.0.0.1:", WAIT);
    wait_status(&|| pilotfish().args(["status", "--control"]).arg(&second), 0, "ready\napp: running\n");
    proc.signal(libc::SIGTERM);
    proc.wait_exit(WAIT);
}

/// The state of each check of the agent's, by its service's id.
fn checks(consul: &Consul) -> Vec<(String, String)> {
    let all = consul.call("GET", "/v1/agent/checks", b"").json();
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_string();
    all.as_object().unwrap().values().map(|c| (text(&c["ServiceID"]), text(&c["Status"]))).collect()
}

#[test]
fn maintenance_takes_services_out_and_puts_them_back() {
    let consul = Consul::start();
    let w = World::new();
    w.put("a", "1");
    let socket = w.dir.join("socket");
    let more = "[catalog]\nurl = 'consul://CONSUL'\n[[service]]\nname = 'web'\nid = 'web-1'\nport = 80\n\
        address = '127.0.0.1'\ninterval = '100ms'\nttl = '5s'\n\
        [[backend]]\nname = 'db'\non_change = 'echo changed'\n";
    let toml = w.config(APP) + &more.replace("CONSUL", &consul.addr());
    let proc = pilotfish().env("PILOTFISH_CONFIG", toml).env("PILOTFISH_CONTROL", &socket).spawn();
    let asked = |words: &[&str]| pilotfish().args(words).arg("--control").arg(&socket);
    let has = |line: &str| {
        wait_until(WAIT, line, || say(asked(&["status"])).1.lines().any(|l| l == line).then_some(()));
    };
    let passing = vec![("web-1".to_string(), "passing".to_string())];
    has("service web-1: passing");
    has("maintenance: off");
    has("backend db: 0");
    assert_eq!(checks(&consul), passing, "{}", proc.report());
    for _ in 0..2 {
        let (exit, out, _) = say(asked(&["maintenance", "on"]));
        assert_eq!((exit, out.as_str()), (Exit::Code(0), "our services are taken out of the catalog\n"));
        has("maintenance: on");
        has("service web-1: in maintenance");
        wait_until(WAIT, "the service to be gone", || checks(&consul).is_empty().then_some(()));
    }
    assert_eq!(proc.lines_matching("maintenance begins").len(), 1, "{}", proc.report());
    let (exit, out, _) = say(asked(&["maintenance", "off"]));
    assert_eq!((exit, out.as_str()), (Exit::Code(0), "our services are told of again\n"));
    wait_until(WAIT, "the service to be back", || (checks(&consul) == passing).then_some(()));
    has("service web-1: passing");
    has("maintenance: off");
    // Others come: they are counted.
    let db = r#"{"Name":"db","ID":"db-1","Address":"127.0.0.1","Port":1}"#;
    assert_eq!(consul.call("PUT", "/v1/agent/service/register", db.as_bytes()).status, 200);
    has("backend db: 1");
    proc.signal(libc::SIGTERM);
    proc.wait_exit(WAIT);
    assert!(checks(&consul).is_empty());
}

#[test]
fn hostile_clients_hold_up_nothing() {
    let w = World::new();
    w.put("a", "1");
    let path = w.dir.join("socket");
    let proc = pilotfish().env("PILOTFISH_CONFIG", w.config(APP)).env("PILOTFISH_CONTROL", &path).spawn();
    let asked = || pilotfish().arg("status").env("PILOTFISH_CONTROL", &path);
    wait_status(&asked, 0, "ready\n");
    let (memory, fds) = (rss_of(proc.pid()), open_fds(proc.pid()));
    let connect = || wait_until(WAIT, "a connection", || UnixStream::connect(&path).ok());
    // Half a request, one after another that says nothing, heads without end.
    let mut held = Vec::new();
    for i in 0..1000 {
        let mut client = connect();
        match i % 3 {
            0 => drop(client.write(b"GET /status HTTP/1.1\r\n")),
            1 => {}
            _ => {
                client.set_write_timeout(Some(secs(5))).unwrap();
                let _ = client.write_all(&vec![b'x'; if i % 30 == 2 { 1 << 20 } else { 1 << 10 }]);
            }
        }
        held.push(client);
        assert!(open_fds(proc.pid()) < fds + 64, "{}", open_fds(proc.pid()));
    }
    wait_status(&asked, 0, "ready\n");
    // Files are rendered meanwhile.
    w.put("a", "2");
    wait_file(w.dir.join("out"), "2", WAIT);
    assert!(rss_of(proc.pid()) < memory + (4 << 20), "{} {memory}", rss_of(proc.pid()));
    // Each of them is let go of, and the loop then rests.
    let mut text = Vec::new();
    held[998].set_read_timeout(Some(secs(20))).unwrap();
    let _ = held[998].read_to_end(&mut text);
    wait_until(WAIT, "all connections to be closed", || (open_fds(proc.pid()) == fds).then_some(()));
    proc.signal(libc::SIGTERM);
    proc.wait_exit(WAIT);
}

/// pilotfish as PID 1 of a namespace with a /run and a /dev/shm of its own.
fn as_pid_1(w: &World) -> Proc {
    let mounts = "mount -t tmpfs none /run && mount -t tmpfs none /dev/shm && exec \"$0\" \"$@\"";
    in_pid_namespace(None, "sh")
        .args(["-c", mounts])
        .arg(pilotfish_bin())
        .env("PILOTFISH_CONFIG", w.config(APP))
        .spawn()
}

/// A command in the same namespaces.
fn beside(pid: i32, words: &[&str]) -> Cmd {
    let mut cmd = Cmd::new("nsenter").args(["--target", &pid.to_string(), "--mount", "--pid"]);
    if !is_root() {
        cmd = cmd.args(["--user", "--preserve-credentials"]);
    }
    cmd.arg("--").arg(pilotfish_bin()).args(words)
}

#[test]
fn pid_1_is_found_without_a_word() {
    let w = World::new();
    w.put("a", "1");
    let proc = as_pid_1(&w);
    let pid = proc.inner_pid();
    let asked = || beside(pid, &["status"]);
    wait_status(&asked, 0, "ready\n");
    let folder = PathBuf::from(format!("/proc/{pid}/root/run/pilotfish"));
    let names = || {
        let mut all: Vec<String> =
            fs::read_dir(&folder).unwrap().flatten().map(|e| e.file_name().into_string().unwrap()).collect();
        all.sort();
        all
    };
    assert_eq!(names(), ["1.sock"]);
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(&folder), mode(&folder.join("1.sock"))), (0o700, 0o600));
    // Another one beside it: which is meant has to be said.
    let toml = w.config(APP).replace("/out'", "/other'");
    let other = beside(pid, &["--control", "usual"]).env("PILOTFISH_CONFIG", toml.clone()).spawn();
    wait_file(w.dir.join("other"), "1", WAIT);
    assert_eq!(names().len(), 2);
    let (exit, out, err) = say(asked());
    assert_eq!((exit, out.as_str()), (Exit::Code(64), ""));
    let name = names().into_iter().find(|n| n != "1.sock").unwrap();
    let number = name.strip_suffix(".sock").unwrap();
    assert!(err.contains("several pilotfish can be asked: choose one with --control\n"), "{err}");
    for (pid, name) in [("1", "1.sock"), (number, &name)] {
        assert!(err.contains(&format!("\n  PID {pid}: /run/pilotfish/{name}\n")), "{err}");
    }
    wait_status(&|| beside(pid, &["status", "--control", "/run/pilotfish/1.sock"]), 0, "ready\n");
    // What one leaves that is killed counts as nobody, and the next one clears it away.
    for child in children_of(other.pid()).iter().map(|c| c.pid).chain([other.pid()]) {
        // SAFETY: plain system call; these are ours.
        unsafe { libc::kill(child, libc::SIGKILL) };
    }
    other.wait_exit(WAIT);
    wait_status(&asked, 0, "ready\n");
    assert_eq!(names().len(), 2);
    let _ = fs::remove_file(w.dir.join("other"));
    let third = beside(pid, &["--control", "usual"]).env("PILOTFISH_CONFIG", toml).spawn();
    wait_file(w.dir.join("other"), "1", WAIT);
    assert!(names().len() == 2 && !names().contains(&name), "{:?} {name}", names());
    third.signal(libc::SIGTERM);
    proc.signal_inner(libc::SIGTERM);
    proc.wait_exit(WAIT);
}

#[test]
fn of_two_containers_with_one_run_each_finds_its_own() {
    let (one, two) = (World::new(), World::new());
    let run = TempDir::new();
    let mounts =
        format!("mount --bind {} /run && mount -t tmpfs none /dev/shm && exec \"$0\" \"$@\"", run.path().display());
    let start = |w: &World| {
        w.put("a", "1");
        let cmd = in_pid_namespace(None, "sh").args(["-c", &mounts]).arg(pilotfish_bin());
        let proc = cmd.env("PILOTFISH_CONFIG", w.config(APP)).spawn();
        wait_file(w.dir.join("out"), "1", WAIT);
        proc
    };
    let (first, second) = (start(&one), start(&two));
    for (proc, w) in [(&first, &one), (&second, &two)] {
        let pid = proc.inner_pid();
        let out = wait_status(&|| beside(pid, &["status"]), 0, "ready\n");
        assert!(out.contains(&format!("{}/keys: up", w.dir.path().display())), "{out}");
    }
    for proc in [first, second] {
        proc.signal_inner(libc::SIGTERM);
        proc.wait_exit(WAIT);
    }
}

#[test]
fn without_a_place_for_the_socket_all_else_goes_on() {
    let w = World::new();
    w.put("a", "1");
    // The folders are somebody's who lets others in; pilotfish keeps out.
    let spoil = "mount -t tmpfs none /run && mount -t tmpfs none /dev/shm && mount -t tmpfs none /tmp && \
        mkdir -m 0777 /run/pilotfish /tmp/pilotfish-0 /dev/shm/pilotfish-0";
    let toml = w.config(APP).replace(&w.dir.path().display().to_string(), "/run");
    let keys = "mkdir /run/keys && echo 1 > /run/keys/a && exec \"$0\" \"$@\"";
    // The program is not in a /tmp that is covered.
    let opened = "exec 9< \"$0\"";
    let script = [opened, spoil, keys].join(" && ").replace("exec \"$0\"", "exec /proc/self/fd/9");
    let proc =
        in_pid_namespace(None, "sh").args(["-c", &script]).arg(pilotfish_bin()).env("PILOTFISH_CONFIG", toml).spawn();
    proc.wait_line("no control socket: /run/pilotfish is not a folder that only we may enter: remove it; /tmp/", WAIT);
    let pid = proc.inner_pid();
    wait_until(WAIT, "the file", || fs::read(format!("/proc/{pid}/root/run/out")).ok());
    proc.signal_inner(libc::SIGTERM);
    proc.wait_exit(WAIT);
}
