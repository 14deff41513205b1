//! Hooks and the end: what runs before the app, and in what order all of it ends, however the end comes.

use super::*;
use std::io::Write;

/// A hook that leaves a line with the time, `note NAME ...`, in the log of all.
fn hook(name: &str, code: i32) -> Value {
    json!(["sh", "-c", format!("echo {name} begins; sleep 0.3; echo {name} ends; exit {code}")])
}

#[test]
fn the_end_has_its_order() {
    let consul = Consul::start();
    let (to, dir) = (consul.addr(), TempDir::new());
    let order = dir.join("order");
    // All write into one file: what stands first in it was first.
    let seen = recorder(to, move |r| {
        if let Some(id) = r.path.strip_prefix("/v1/agent/service/deregister/") {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&order).unwrap();
            // One write: two services go at the same time.
            file.write_all(format!("gone {}\n", id.split('-').next().unwrap()).as_bytes()).unwrap();
        }
        None
    });
    let w = World { dir, seen, consul };
    let note = |name: &str, code: i32| {
        json!([
            "sh",
            "-c",
            format!("echo {name} begins >> $D/order; sleep 0.3; echo {name} ends >> $D/order; exit {code}")
        ])
    };
    let config = json!({
        "services": [service("one", json!({})), service("two", json!({"health": "/bin/true"}))],
        // What it says does not matter.
        "preStop": note("prestop", 4),
        "postStop": note("poststop", 0),
    });
    let app = "trap 'echo term >> order; exit 7' TERM; echo ready; while :; do sleep 0.02; done";
    let proc = w.cmd(&config).args(["sh", "-c", app]).cwd(w.dir.path()).spawn();
    proc.wait_line("ready", WAIT);
    for name in ["one", "two"] {
        w.wait_status(&proc, &id(name), "passing");
    }
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(7), WAIT);
    let mut order = w.lines("order");
    order[..2].sort();
    let want = ["gone one", "gone two", "prestop begins", "prestop ends", "term", "poststop begins", "poststop ends"];
    assert_eq!(order, want, "{}", proc.report());
    assert_eq!((w.service(&id("one")), w.service(&id("two"))), (None, None));
    let last = w.told().pop().unwrap();
    assert!(last.path.contains("/deregister/"), "nothing may be told afterwards: {}", w.shown());
}

#[test]
fn codes_are_the_apps_unless_post_stop_has_its_own() {
    let w = World::new();
    for (app, post, code) in [
        (&["exit", "0"][..], 0, 0),
        (&["exit", "3"], 0, 3),
        (&["exit", "3"], 9, 9),
        (&["exit", "0"], 9, 9),
        (&["exit", "255"], 0, 255),
        (&["kill-self", "11"], 0, 139),
        (&["kill-self", "9"], 0, 137),
    ] {
        let config = json!({"services": [service("app", json!({}))], "postStop": hook("poststop", post)});
        let proc = w.start(&config, app);
        proc.expect_exit(Exit::Code(code), WAIT);
        proc.check(proc.lines_matching("poststop ends").len() == 1, "postStop should run");
    }
    // One that ends by itself takes its services with it.
    let config = json!({"services": [service("app", json!({}))], "postStop": hook("poststop", 0)});
    let proc =
        w.cmd(&config).args(["sh", "-c", "while ! test -e end; do sleep 0.05; done; exit 5"]).cwd(w.dir.path()).spawn();
    w.wait_status(&proc, &id("app"), "passing");
    w.set("end", "");
    proc.expect_exit(Exit::Code(5), WAIT);
    assert_eq!(w.service(&id("app")), None, "{}", proc.report());
}

#[test]
fn an_app_that_does_not_stop_is_killed_when_its_time_is_over() {
    let w = World::new();
    let run = |timeout: Value| {
        let mut config = json!({"services": [service("app", json!({}))], "preStop": hook("prestop", 0)});
        if !timeout.is_null() {
            config["stopTimeout"] = timeout;
        }
        let proc = w.start(&config, &["ignore-term"]);
        proc.wait_line("ignoring pid=", WAIT);
        w.wait_status(&proc, &id("app"), "passing");
        proc.signal(libc::SIGTERM);
        proc.expect_exit(Exit::Code(137), WAIT);
        assert_eq!(w.service(&id("app")), None);
        let stopped = proc.lines().into_iter().rfind(|l| l.text.ends_with("prestop ends")).unwrap().at;
        (stopped.elapsed(), proc)
    };
    for (timeout, least, most) in [
        (json!(1), 950, 4_000),
        (json!("1"), 950, 4_000),
        (Value::Null, 4_900, 9_000),
        (json!(0), 4_900, 9_000),
        (json!(-1), 0, 900),
    ] {
        let (took, proc) = run(timeout.clone());
        proc.check(took >= millis(least) && took < millis(most), &format!("{timeout}: killed after {took:?}"));
    }
    // With -1 the app does not even hear of it.
    let config = json!({"services": [service("app", json!({}))], "stopTimeout": -1});
    let proc = w.start(&config, &["wait"]);
    w.wait_status(&proc, &id("app"), "passing");
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(137), WAIT);
    proc.check(proc.lines().iter().all(|l| l.text != "term"), "it should be killed at once");
    assert_eq!(w.service(&id("app")), None);
}

#[test]
fn pre_start_comes_first_and_may_forbid_the_app() {
    let w = World::new();
    for key in ["preStart", "onStart"] {
        let script = w.dir.write("pre", "#!/bin/sh\necho \"pre $#: $*\"\nexit 7\n").display().to_string();
        for command in [json!(format!("sh {script} a b")), json!(["sh", script, "a b"])] {
            let mark = w.told().len();
            let config = json!({key: command, "services": [service("app", json!({}))]});
            let proc = w.start(&config, &["wait"]);
            proc.expect_exit(Exit::Code(7), WAIT);
            proc.check(proc.lines_matching("ready").is_empty(), "the app should not be started");
            let said = if command.is_string() { "pre 2: a b" } else { "pre 1: a b" };
            proc.check(proc.lines_matching(said).len() == 1, said);
            let notice = !proc.lines_matching("deprecated").is_empty();
            proc.check(notice == (key == "onStart"), "onStart has a newer name");
            assert_eq!(w.told().len(), mark, "{}", w.shown());
        }
    }
    // One that works is over before the app begins, and a command that is not there is no start.
    let config = json!({"preStart": hook("prestart", 0), "services": [service("app", json!({}))]});
    let proc = w.start(&config, &["wait"]);
    let ready = proc.wait_line("ready pid=", WAIT);
    proc.check(
        proc.lines().iter().any(|l| l.text.ends_with("prestart ends") && l.at <= ready.at + millis(100)),
        "preStart should be over",
    );
    end(&proc, 0);
    let proc = w.start(&json!({"preStart": "/not/there", "services": []}), &["wait"]);
    proc.expect_exit(Exit::Code(127), WAIT);
    proc.check(proc.lines_matching("ready").is_empty(), "the app should not be started");
    // TERM meanwhile: the app is never started.
    let config = json!({"preStart": ["sh", "-c", "echo hook; sleep 1000"], "services": [service("app", json!({}))]});
    let proc = w.start(&config, &["wait"]);
    proc.wait_nth_line(1, "hook", WAIT);
    let mark = w.told().len();
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(143), WAIT);
    proc.check(proc.lines_matching("ready").is_empty(), "the app should not be started");
    assert_eq!(w.told().len(), mark, "{}", w.shown());
}

#[test]
fn int_is_term_and_others_are_the_apps() {
    let w = World::new();
    let config = json!({"services": [service("app", json!({}))], "preStop": hook("prestop", 0)});
    let proc = w.start(&config, &["wait"]);
    w.wait_status(&proc, &id("app"), "passing");
    proc.wait_line("ready pid=", WAIT);
    for signal in [libc::SIGUSR2, libc::SIGWINCH, libc::SIGQUIT] {
        proc.signal(signal);
        proc.wait_line(&format!("signal {signal}"), WAIT);
    }
    proc.signal(libc::SIGINT);
    proc.expect_exit(Exit::Code(0), WAIT);
    let said = proc.lines();
    proc.check(said.iter().any(|l| l.text.ends_with("prestop ends")), "preStop should run");
    proc.check(said.iter().any(|l| l.text == "term"), "the app should be asked to end, as by TERM");
    assert_eq!(w.service(&id("app")), None);
}

#[test]
fn without_an_app_it_runs_until_it_is_told() {
    let w = World::new();
    let config = json!({
        "services": [service("app", json!({}))],
        "preStart": hook("prestart", 0),
        "preStop": hook("prestop", 3),
        "backends": [{"name": "up", "poll": 1, "onChange": ["echo", "changed"]}],
    });
    let proc = w.cmd(&config).spawn();
    proc.wait_line("prestart ends", WAIT);
    w.wait_status(&proc, &id("app"), "passing");
    w.join("up", "up1", 1, &[], "passing");
    proc.wait_line("changed", WAIT);
    end(&proc, 0);
    proc.check(proc.lines_matching("prestop ends").len() == 1, "preStop should run");
    assert_eq!(w.service(&id("app")), None);
}

#[test]
fn as_pid_1_it_does_what_that_one_owes() {
    let w = World::new();
    let leaves = "sleep 0.2 & echo asked";
    let config = json!({
        "services": [service("app", json!({"health": ["sh", "-c", leaves]}))],
        "postStop": hook("poststop", 0),
    });
    w.write(&config);
    let url = format!("file://{}", w.path("app.json"));
    let start = |app: &[&str]| {
        in_pid_namespace(None, pilotfish_bin())
            .args(["containerpilot", "-config", &url])
            .arg(static_app())
            .args(app)
            .spawn()
    };
    let proc = start(&["wait"]);
    proc.wait_line("ready pid=", WAIT);
    w.wait_status(&proc, &id("app"), "passing");
    let inner = proc.inner_pid();
    // Each check leaves an orphan.
    proc.wait_nth_line(5, "asked", WAIT);
    wait_until(WAIT, "no zombies", || children_of(inner).iter().all(|p| p.state != 'Z').then_some(()));
    proc.signal_inner(libc::SIGUSR1);
    wait_until(WAIT, "maintenance", || w.service(&id("app")).is_none().then_some(()));
    proc.signal_inner(libc::SIGUSR1);
    w.wait_status(&proc, &id("app"), "passing");
    proc.signal_inner(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), WAIT);
    assert_eq!(w.service(&id("app")), None);
    let proc = start(&["env"]);
    proc.expect_exit(Exit::Code(0), WAIT);
    proc.wait_line("env CONTAINERPILOT_PID=1", WAIT);
    for _ in 0..3 {
        start(&["exit", "42"]).expect_exit(Exit::Code(42), WAIT);
    }
    start(&["kill-self", "15"]).expect_exit(Exit::Code(143), WAIT);
}
