//! A root with nothing in it but pilotfish and a static app: no /proc, /dev, /tmp, /etc, no shell and no libraries.
//! The environment of confd-sidecar's README and a folder of keys, as PID 1 of a process namespace and not, as root
//! and as others. What is run is the release binary, as that is what people put into such a root.

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

use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use util::*;

/// The static release binary.
fn release() -> PathBuf {
    if let Some(path) = std::env::var_os("PILOTFISH_BIN").filter(|p| !p.is_empty()) {
        return path.into();
    }
    let built = format!("target/dist/{}/pilotfish", std::env::consts::ARCH);
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join(built);
    assert!(built.exists(), "there is no static binary at {}: run ./build.sh build", built.display());
    built
}

/// The whole content of the root: pilotfish by this name, and the app.
fn root_with(name: &str) -> TempDir {
    let root = empty_root(&[(&release(), name), (&static_app(), "probe")]);
    let mut expected = vec![name.to_string(), "probe".to_string()];
    expected.sort();
    assert_eq!(root.names(""), expected);
    root
}

/// Where the README's example puts its file.
const DEST: &str = "/tmp/prometheus/prometheus.yml";

const CONFDFILE: &str = r#"prometheus.toml
[template]
src = "prometheus.yml.tmpl"
dest = "/tmp/prometheus/prometheus.yml"
keys = ["/prometheus/config/nodes"]
"#;

const TEMPLATE: &str = r#"prometheus.yml.tmpl
global:
    scrape_interval:     15s
    evaluation_interval: 15s
scrape_configs:
    - job_name: "prometheus"
    static_configs:
        - targets: ["localhost:9090"]
    - job_name: "node"
    static_configs:
        - targets: {{ getv "/prometheus/config/nodes" }}
"#;

const KEY: &str = "prometheus/config/nodes";

/// What the file holds when the key holds this.
fn rendered(nodes: &str) -> String {
    TEMPLATE.split_once('\n').unwrap().1.replace("{{ getv \"/prometheus/config/nodes\" }}", nodes)
}

/// The line the app prints for such a file.
fn shown(nodes: &str) -> String {
    format!("config: {}", rendered(nodes).replace('\n', "\\n"))
}

/// The README's environment, with Consul at `node`. The folder of the destination is not there: it is made.
fn readme(cmd: Cmd, node: &str) -> Cmd {
    cmd.env("CONFD_CONFDIR", "/tmp/confd")
        .env("CONFD_BACKEND", "consul")
        .env("CONFD_NODE", node)
        .env("CONFD_CONFDFILE_1", CONFDFILE)
        .env("CONFD_TEMPLATE_1", TEMPLATE)
}

/// From the first render to the end, as people see it: the app's output.
fn drive(proc: &Proc, root: &TempDir, consul: &Consul, nodes: &str, signal: impl Fn(i32)) {
    proc.wait_line(&shown(nodes), secs(30));
    let changed = format!("[\"{nodes}-changed:9100\"]");
    consul.put(KEY, &changed);
    proc.wait_line(&shown(&changed), secs(30)); // the app prints again at HUP alone
    wait_file(root.join(&DEST[1..]), &rendered(&changed), secs(5));
    signal(libc::SIGTERM);
    proc.wait_line("term", secs(20));
    proc.expect_exit(Exit::Code(7), secs(20));
    // Nothing is left behind, and nothing was made that was not asked for.
    assert_eq!(root.names("tmp"), ["prometheus"]);
    assert_eq!(root.names("tmp/prometheus"), ["prometheus.yml"]);
    let dirs = root.names("");
    assert!(!dirs.iter().any(|n| ["dev", "etc"].contains(&n.as_str())), "{dirs:?}");
}

const APP: [&str; 4] = ["/probe", "config", DEST, "7"];

/// Takes connections on 127.0.0.1 and hands them on to `to`: Consul as `localhost`. Gives the port.
fn relay(to: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for ours in listener.incoming().flatten() {
            let Ok(theirs) = TcpStream::connect(&to) else { continue };
            for (mut from, mut into) in [(ours.try_clone().unwrap(), theirs.try_clone().unwrap()), (theirs, ours)] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut into);
                    let _ = into.shutdown(Shutdown::Both);
                    let _ = from.shutdown(Shutdown::Both);
                });
            }
        }
    });
    port
}

#[test]
fn the_readme_works_as_pid_1_of_an_empty_root() {
    let consul = Consul::start();
    let localhost = format!("localhost:{}", relay(consul.addr()));
    // By address and by name, though there is no /etc/hosts; under either name; with and without /proc.
    for (case, node, name, proc_folder) in [
        ("address", consul.addr().as_str(), "pilotfish", false),
        ("localhost", &localhost, "confd-sidecar", false),
        ("with-proc", &localhost, "pilotfish", true),
    ] {
        consul.delete(KEY);
        let root = root_with(name);
        if proc_folder {
            root.mkdir("proc");
        }
        let cmd = in_pid_namespace(Some(root.path()), format!("/{name}"));
        let proc = readme(cmd, node).args(APP).spawn();
        // The key is not there yet: it waits, and says for what.
        proc.wait_line("key does not exist: /prometheus/config/nodes", secs(30));
        proc.check(!proc.lines_matching("supervisor[1]").is_empty(), "it should be PID 1");
        proc.check(proc.lines_matching("config:").is_empty(), "the app should not run yet");
        consul.put(KEY, case);
        drive(&proc, &root, &consul, case, |n| proc.signal_inner(n));
    }
}

#[test]
fn the_readme_works_in_an_empty_root_with_streams_closed() {
    let consul = Consul::start();
    for (case, closed) in [("in", &[0][..]), ("err", &[2]), ("in-err", &[0, 2]), ("out", &[1]), ("all", &[0, 1, 2])] {
        consul.put(KEY, case);
        let root = root_with("pilotfish");
        let cmd = in_pid_namespace(Some(root.path()), "/pilotfish").arg("confd-sidecar");
        let proc = readme(cmd, &consul.addr()).args(APP).closed(closed).spawn();
        if !closed.contains(&1) {
            drive(&proc, &root, &consul, case, |n| proc.signal_inner(n));
            continue;
        }
        // The app has no way to print; its end shows that it was there.
        let file = root.join(&DEST[1..]);
        wait_file(&file, &rendered(case), secs(30));
        consul.put(KEY, "changed");
        wait_file(&file, &rendered("changed"), secs(30));
        let me = proc.inner_pid();
        wait_until(secs(20), "the app", || children_of(me).iter().any(|p| p.name == "probe").then_some(()));
        for fd in closed {
            let to = std::fs::read_link(format!("/proc/{me}/fd/{fd}")).unwrap_or_default();
            proc.check(to.to_string_lossy().starts_with("pipe:"), &format!("{fd} should be taken, it is {to:?}"));
        }
        proc.signal_inner(libc::SIGTERM);
        proc.expect_exit(Exit::Code(7), secs(20));
    }
}

/// Inside a namespace nobody but this process is; it is not PID 1 and has no /proc, so it sees no process.
fn chroot(root: &TempDir) -> Cmd {
    let cmd = Cmd::new("unshare").args(["--user", "--map-root-user"]);
    let mut option = std::ffi::OsString::from("--root=");
    option.push(root.path());
    cmd.arg(option).args(["--wd=/", "--", "/pilotfish"])
}

#[test]
fn the_readme_works_for_users_who_are_not_root_and_without_a_namespace() {
    const NOBODY: u32 = 65534;
    let consul = Consul::start();
    // Not PID 1, in a plain chroot.
    consul.put(KEY, "chroot");
    let root = root_with("pilotfish");
    carry_emulator(root.path());
    let proc = readme(chroot(&root), &consul.addr()).args(APP).spawn();
    drive(&proc, &root, &consul, "chroot", |n| proc.signal(n));

    // SAFETY: plain system call.
    let is_root = unsafe { libc::geteuid() } == 0;
    let unshare = ["unshare", "--pid", "--mount", "--fork", "--kill-child"];
    let user = ["--user", "--map-root-user"].as_slice();
    let give = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].as_slice();
    let inside = ["--setuid=65534", "--setgid=65534"].as_slice();
    // An ordinary user's own namespace; as root also a container whose USER is not root.
    let cases: &[(&str, Vec<&str>)] = &match is_root {
        true => vec![("user-namespace", [give, &unshare, user].concat()), ("user-nobody", [&unshare, inside].concat())],
        false => vec![("user-namespace", [&unshare, user].concat())],
    };
    for (case, command) in cases {
        consul.put(KEY, case);
        let root = root_with("pilotfish");
        carry_emulator(root.path());
        if is_root {
            chown(root.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut option = std::ffi::OsString::from("--root=");
        option.push(root.path());
        let cmd = Cmd::new(command[0]).args(&command[1..]).arg(option).args(["--wd=/", "--", "/pilotfish"]);
        let proc = readme(cmd, &consul.addr()).args(APP).spawn();
        drive(&proc, &root, &consul, case, |n| proc.signal_inner(n));
        proc.check(proc.lines_matching("supervisor[1]").len() >= 2, "it should be PID 1");
    }
}

#[test]
fn a_folder_of_keys_works_in_an_empty_root() {
    let root = root_with("pilotfish");
    root.write("keys/a", "one");
    root.write("a.tmpl", "a = {{ getv \"/a\" }}");
    let options = ["--source", "dir:/keys", "--template", "/a.tmpl:/a"];
    let proc =
        in_pid_namespace(Some(root.path()), "/pilotfish").args(options).args(["/probe", "config", "/a", "7"]).spawn();
    proc.wait_line("config: a = one", secs(30));
    for value in ["two", "three"] {
        root.write("new", value);
        std::fs::rename(root.join("new"), root.join("keys/a")).unwrap();
        proc.wait_line(&format!("config: a = {value}"), secs(30));
    }
    proc.signal_inner(libc::SIGTERM);
    proc.expect_exit(Exit::Code(7), secs(20));
    let mut names = root.names("");
    names.retain(|name| !emulated().is_some_and(|home| home.starts_with(Path::new("/").join(name))));
    assert_eq!(names, ["a", "a.tmpl", "keys", "pilotfish", "probe"]);
}

#[test]
fn supervision_works_without_proc() {
    // Orphans of PID 1.
    let root = root_with("pilotfish");
    let proc = in_pid_namespace(Some(root.path()), "/pilotfish").args(["/probe", "orphans", "200"]).spawn();
    proc.wait_line("orphans done", secs(30));
    let me = proc.inner_pid();
    wait_until(secs(20), "the app alone", || (children_of(me).len() == 1).then_some(()));
    proc.signal_inner(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), secs(20));

    // A grandchild that ignores TERM, which only its group gives away where there is no /proc.
    let proc = chroot(&root).args(["/probe", "grandchild"]).spawn();
    let line = proc.wait_line("grandchild pid=", secs(30)).text;
    let pid: i32 = line["grandchild pid=".len()..].parse().unwrap();
    proc.signal(libc::SIGTERM);
    proc.wait_line("term", secs(20));
    proc.expect_exit(Exit::Code(0), secs(20));
    let left = processes().into_iter().any(|p| p.pid == pid && p.state != 'Z');
    proc.check(!left, "the grandchild should be gone");

    // Codes, and what cannot be run.
    for (args, code) in
        [(&["/probe", "exit", "77"][..], 77), (&["/probe", "kill-self", "11"], 139), (&["/absent"], 127), (&["/"], 126)]
    {
        let proc = in_pid_namespace(Some(root.path()), "/pilotfish").args(args).spawn();
        proc.expect_exit(Exit::Code(code), secs(20));
    }
}

#[test]
fn a_name_that_cannot_be_resolved_does_not_hold_up_the_end() {
    // No /etc/resolv.conf and no /etc/hosts: the resolver asks 127.0.0.1 in vain, for seconds.
    let root = root_with("pilotfish");
    let proc = readme(in_pid_namespace(Some(root.path()), "/pilotfish"), "consul.example:8500").args(APP).spawn();
    proc.wait_line("waiting for the first configuration", secs(30));
    let begin = std::time::Instant::now();
    proc.signal_inner(libc::SIGTERM);
    proc.expect_exit(Exit::Code(143), secs(20));
    proc.check(begin.elapsed() < secs(3), "the end should be prompt");
}
