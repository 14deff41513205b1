//! The test bed tested: what it says of a process, a server or the static app is what happened.

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

use std::panic::{AssertUnwindSafe, catch_unwind};
use util::*;

fn sh(script: &str) -> Cmd {
    Cmd::new("sh").args(["-c", script])
}

#[test]
fn a_process_is_watched_line_by_line() {
    let proc = sh("echo one; echo two >&2; echo one more; exit 3").spawn();
    assert_eq!(proc.wait_line("two", secs(5)).stream, Stream::Err);
    assert_eq!(proc.wait_nth_line(2, "one", secs(5)).text, "one more");
    assert_eq!(proc.wait_exit(secs(5)), Exit::Code(3));
    assert_eq!(proc.stdout(), "one\none more\n");
    assert_eq!(proc.lines_matching("one").len(), 2);
}

#[test]
fn a_command_starts_in_a_clean_environment() {
    let proc = sh("env").env("A", "b c").run(secs(5));
    let names: Vec<String> =
        proc.stdout().lines().filter_map(|l| l.split_once('=')).map(|(n, _)| n.to_string()).collect();
    for name in names {
        // PWD and its like are the shell's own.
        assert!(["A", "PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name.as_str()), "{name} leaked in");
    }
    assert!(proc.stdout().contains("A=b c\n"));
}

#[test]
fn a_signal_arrives_and_its_end_is_told_from_a_code() {
    let proc = sh("trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.05; done").spawn();
    proc.wait_line("ready", secs(5));
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(9), secs(5));
    let proc = sh("echo ready; exec sleep 60").spawn();
    proc.wait_line("ready", secs(5));
    proc.signal(libc::SIGKILL);
    proc.expect_exit(Exit::Signal(libc::SIGKILL), secs(5));
}

#[test]
fn a_line_that_never_comes_fails_with_everything_known() {
    let proc = sh("echo something else; echo loud >&2; exit 5").spawn();
    let failure = catch_unwind(AssertUnwindSafe(|| proc.wait_line("never", secs(20))));
    let text = failure.err().and_then(|e| e.downcast_ref::<String>().cloned()).expect("a failure with a text");
    for part in ["never", "sh \"-c\"", "folder:", "Code(5)", "something else", "loud"] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn a_process_may_start_with_closed_descriptors() {
    let dir = TempDir::new();
    let out = dir.join("out");
    let script = "for fd in 0 1 2; do [ -e /proc/$$/fd/$fd ] && echo open $fd >>\"$OUT\"; done; echo done >>\"$OUT\"";
    sh(script).env("OUT", &out).closed(&[0, 1]).spawn().wait_exit(secs(5));
    assert_eq!(dir.read("out"), "open 2\ndone\n");
}

#[test]
fn what_a_process_leaves_behind_is_killed() {
    let proc = sh("sleep 61.5 & echo pid $!; set -m; sleep 61.5 & echo pid $!; kill -9 $$").spawn();
    proc.expect_exit(Exit::Signal(libc::SIGKILL), secs(5));
    let pids: Vec<i32> = proc.lines_matching("pid ").iter().map(|l| l.text[4..].parse().unwrap()).collect();
    assert_eq!(pids.len(), 2);
    drop(proc);
    wait_until(secs(5), "the end of both", || {
        let left = processes().into_iter().any(|p| pids.contains(&p.pid) && p.state != 'Z');
        (!left).then_some(())
    });
}

#[test]
fn a_temporary_folder_goes_with_its_owner() {
    let dir = TempDir::new();
    let file = dir.write("a/b.txt", "x");
    assert_eq!((dir.read("a/b.txt").as_str(), dir.names("a")), ("x", vec!["b.txt".to_string()]));
    drop(dir);
    assert!(!file.exists());
}

#[test]
fn the_probe_is_static_and_runs_in_an_empty_root_as_pid_1() {
    let app = static_app();
    let root = empty_root(&[(&app, "probe")]);
    let proc = in_pid_namespace(Some(root.path()), "/probe").arg("wait").spawn();
    proc.wait_line("ready pid=1", secs(10));
    proc.signal_inner(libc::SIGUSR1);
    proc.wait_line("signal 10", secs(5));
    proc.signal_inner(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), secs(5));
}

#[test]
fn the_probe_does_as_its_head_says() {
    let app = static_app();
    let dir = TempDir::new();
    let file = dir.write("f", "one\n");
    let proc = Cmd::new(&app).arg("config").arg(&file).spawn();
    proc.wait_line("config: one\\n pid=", secs(5));
    dir.write("f", "two");
    proc.signal(libc::SIGHUP);
    proc.wait_line("config: two pid=", secs(5));
    for n in (1..=64).filter(|n| ![1, 9, 15, 17, 19].contains(n)) {
        proc.signal(n);
        proc.wait_line(&format!("signal {n}"), secs(5));
    }
    proc.signal(libc::SIGTERM);
    proc.wait_line("term", secs(5));
    proc.expect_exit(Exit::Code(0), secs(5));

    assert_eq!(Cmd::new(&app).args(["exit", "77"]).run(secs(5)).exited(), Some(Exit::Code(77)));
    assert_eq!(Cmd::new(&app).args(["kill-self", "11"]).run(secs(5)).exited(), Some(Exit::Signal(11)));
    assert_eq!(Cmd::new(&app).args(["args", "a b", ""]).run(secs(5)).stdout(), "arg a b\narg \nargs done\n");
    let status = Cmd::new(&app).arg("status").run(secs(5)).stdout();
    for part in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "SigCgt:\t0000000000000000"] {
        assert!(status.contains(part), "no {part:?} in:\n{status}");
    }
    assert_eq!(status.lines().filter(|l| l.starts_with("fd ")).count(), 3, "{status}");

    let status = Cmd::new(&app).arg("status").dirty().run(secs(5)).stdout();
    for part in ["SigBlk:\t0000000000004201", "SigIgn:\t0000000000011804", "fd 9"] {
        assert!(status.contains(part), "no {part:?} in:\n{status}");
    }

    let proc = Cmd::new(&app).args(["orphans", "20"]).spawn();
    proc.wait_line("orphans done", secs(10));
    let proc = Cmd::new(&app).arg("grandchild").spawn();
    let pid: i32 = proc.wait_line("grandchild pid=", secs(5)).text["grandchild pid=".len()..].parse().unwrap();
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), secs(5));
    assert!(processes().iter().any(|p| p.pid == pid), "the grandchild should outlive its parent");
    let proc = Cmd::new(&app).arg("ignore-term").spawn();
    proc.wait_line("ignoring", secs(5));
    proc.signal(libc::SIGTERM);
    proc.signal(libc::SIGUSR1);
    proc.expect_exit(Exit::Signal(libc::SIGUSR1), secs(5));
}

#[test]
fn a_terminal_belongs_to_the_process_that_was_given_one() {
    let app = static_app();
    let proc = Cmd::new(&app).arg("tty").terminal().spawn();
    proc.wait_line("tty foreground", secs(5));
    proc.type_bytes(b"\x03");
    proc.wait_line("signal 2", secs(5));
    drop(proc);
    Cmd::new(&app).arg("tty").spawn().wait_line("tty none", secs(5));
}

#[test]
fn the_fake_server_answers_as_told_and_remembers() {
    let fake = FakeHttp::start(|r| match r.number {
        1 => Answer::consul_kv(7, &[("app/a", "v1")]),
        2 => Answer::Cut(b"HTTP/1.1 200 x\r\nContent-Length: 10\r\n\r\nabc".to_vec()),
        _ => Answer::reply(503, &[], "no").after(millis(50)),
    });
    let reply = http("GET", &fake.addr(), "/v1/kv/app/?recurse&index=3", &["X-Test: y"], b"").unwrap();
    assert_eq!((reply.status, reply.header("x-consul-index")), (200, Some("7")));
    assert_eq!(reply.json()[0]["Value"], "djE=");
    assert!(http("GET", &fake.addr(), "/", &[], b"").is_err());
    let reply = http("PUT", &fake.addr(), "/", &[], b"body").unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (503, "no"));
    let all = fake.requests();
    assert_eq!(fake.count(), 3);
    assert_eq!(
        (all[0].query("index"), all[0].query("recurse"), all[0].header("x-test")),
        (Some("3"), Some(""), Some("y"))
    );
    assert_eq!((all[2].method.as_str(), all[2].body.as_slice()), ("PUT", &b"body"[..]));
}

#[test]
fn consul_keeps_its_keys_through_accidents() {
    let mut consul = Consul::start();
    consul.put("app/a b", "v1");
    consul.put("app/bin", [0u8, 255]);
    assert_eq!(consul.get("app/a b").as_deref(), Some(&b"v1"[..]));
    assert_eq!(consul.get("app/bin").as_deref(), Some(&[0u8, 255][..]));
    consul.delete("app/bin");
    assert_eq!(consul.get("app/bin"), None);
    let snapshot = consul.snapshot_save();
    consul.put("app/a b", "v2");
    consul.snapshot_restore(&snapshot);
    assert_eq!(consul.get("app/a b").as_deref(), Some(&b"v1"[..]));
    consul.restart();
    assert_eq!(consul.get("app/a b").as_deref(), Some(&b"v1"[..]));
    consul.delete_tree("app/");
    assert_eq!(consul.get("app/a b"), None);
    consul.put("app/x", "y");
    consul.restart_wiped();
    assert_eq!(consul.get("app/x"), None);
}

#[test]
fn a_consul_cluster_elects_a_new_leader() {
    let mut cluster = Consul::cluster(3);
    cluster.put("k", "1");
    let leader = cluster.leader();
    cluster.nodes[leader].kill9();
    cluster.put("k", "2");
    assert_ne!(cluster.leader(), leader);
    let follower = cluster.follower();
    assert_eq!(cluster.nodes[follower].get("k").as_deref(), Some(&b"2"[..]));
}

#[test]
fn the_servers_are_where_build_sh_puts_them() {
    for name in ["consul", "prometheus", "nginx", "haproxy", "tini"] {
        let flag = if name == "nginx" || name == "haproxy" { "-v" } else { "--version" };
        let proc = Cmd::new(server_bin(name)).arg(flag).run(secs(10));
        proc.check(proc.exited() == Some(Exit::Code(0)), "it should say its version");
    }
}

#[test]
fn certificates_and_their_servers_are_what_they_say() {
    let pki = Pki::new();
    let client = |server: &TlsServer, args: &[&str]| {
        let port = server.port.to_string();
        let connect = ["s_client", "-verify_return_error", "-ign_eof", "-connect", &format!("127.0.0.1:{port}")];
        let script = r#"printf 'GET /v1/kv/app?recurse HTTP/1.0\r\n\r\n' | openssl "$@""#;
        Cmd::new("sh").args(["-c", script, "-"]).args(connect).args(args).run(secs(20))
    };
    for key in [Key::P256, Key::P384, Key::P521, Key::Rsa, Key::Ed25519] {
        let root = pki.root(&Ask::authority("root").key(key));
        let between = pki.issue(&root, &Ask::authority("between").key(key));
        let cert = pki.issue(&between, &Ask::server("DNS:a.test,IP:127.0.0.1").key(key));
        assert_eq!(std::fs::read_to_string(&cert.cert).unwrap().matches("BEGIN CERT").count(), 2);
        let server = TlsServer::start(&cert, &["-tls1_3"]);
        let ca = ["-CAfile", root.cert()];
        let ip = client(&server, &[&ca[..], &["-verify_ip", "127.0.0.1"]].concat());
        ip.check(ip.stdout().contains("X-Consul-Index: 7") && ip.stdout().contains("TLSv1.3"), "it answers");
        let name = client(&server, &[&ca[..], &["-verify_hostname", "b.test"]].concat());
        name.check(name.stdout().contains("(hostname mismatch)"), "the name is not that of another");
        let other = pki.root(&Ask::authority("root").key(key));
        let other = client(&server, &["-CAfile", other.cert()]);
        other.check(other.exited() != Some(Exit::Code(0)), "another root does not vouch for it");
    }
    let root = pki.root(&Ask::authority("root"));
    let old = pki.issue(&root, &Ask::server("IP:127.0.0.1").valid(-2 * DAY, -DAY));
    let server = TlsServer::start(&old, &[]);
    let late = client(&server, &["-CAfile", root.cert()]);
    late.check(late.stdout().contains("(certificate has expired)"), "yesterday's is told");
    for (key, form, head) in [
        (Key::P256, Form::Pkcs8, "BEGIN PRIVATE KEY"),
        (Key::P256, Form::Own, "BEGIN EC PRIVATE KEY"),
        (Key::Rsa, Form::Own, "BEGIN RSA PRIVATE KEY"),
    ] {
        let me = pki.issue(&root, &Ask::client("me").key(key).form(form));
        assert!(std::fs::read_to_string(&me.key).unwrap().contains(head));
        let server = TlsServer::start(
            &pki.issue(&root, &Ask::server("IP:127.0.0.1")),
            &["-Verify", "2", "-verify_return_error", "-CAfile", root.cert()],
        );
        let with = client(&server, &["-CAfile", root.cert(), "-cert", me.cert(), "-key", me.key()]);
        with.check(with.stdout().contains("X-Consul-Index: 7"), "a client with a certificate is let in");
        let without = client(&server, &["-CAfile", root.cert()]);
        without.check(!without.stdout().contains("X-Consul-Index: 7"), "and one without is not");
    }
}
