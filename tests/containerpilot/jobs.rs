//! Tasks, coprocesses, and what the app waits for.

use super::*;

#[test]
fn coprocesses_run_as_often_as_they_may() {
    let w = World::new();
    let runs = |name: &str| json!(["sh", "-c", format!("echo run >> $D/{name}")]);
    let mut all = Vec::new();
    let cases = [
        ("absent", Value::Null, 1),
        ("never", json!("never"), 1),
        ("zero", json!(0), 1),
        ("two", json!(2), 3),
        ("quoted", json!("2"), 3),
        ("part", json!(1.7), 2),
    ];
    for (name, restarts, _) in &cases {
        let mut one = json!({"name": name, "command": runs(name)});
        if !restarts.is_null() {
            one["restarts"] = restarts.clone();
        }
        all.push(one);
    }
    all.push(json!({"command": runs("unlimited"), "restarts": "unlimited"}));
    let proc = w.start(&json!({"coprocesses": all}), &["wait"]);
    for (name, _, n) in &cases {
        w.wait_lines(&proc, name, *n);
    }
    w.wait_lines(&proc, "unlimited", 5);
    for (name, _, n) in &cases {
        assert_eq!(w.lines(name).len(), *n, "{name}");
    }
    end(&proc, 0);
    let n = w.lines("unlimited").len();
    while_others_live(millis(500));
    assert_eq!(w.lines("unlimited").len(), n, "none should begin afterwards");
    for restarts in [json!(-1), json!("often"), json!("-2"), json!([1])] {
        let config = json!({"coprocesses": [{"command": "true", "restarts": restarts}]});
        let proc = w.start(&config, &["wait"]);
        proc.expect_exit(Exit::Code(1), WAIT);
        proc.check(!proc.lines_matching("Invalid 'restarts' field").is_empty(), "it should say so");
    }
}

#[test]
fn a_coprocess_runs_beside_the_app_and_ends_with_it() {
    let w = World::new();
    let child = static_app().display().to_string();
    let config = json!({"coprocesses": [{"command": [child, "wait"]}], "preStart": ["sh", "-c", "echo pre"]});
    let proc = w.start(&config, &["ignore-term"]);
    let app = pid_in(&proc.wait_line("ignoring pid=", WAIT).text);
    let beside = pid_in(&proc.wait_line("ready pid=", WAIT).text);
    assert!(is_alive(app) && is_alive(beside) && app != beside);
    // SAFETY: plain system call.
    unsafe { libc::kill(app, libc::SIGKILL) };
    proc.expect_exit(Exit::Code(137), WAIT);
    assert!(!is_alive(beside), "it should end with the app");
}

#[test]
fn what_commands_print_is_lines_of_the_log() {
    let w = World::new();
    let script = "printf 'one\\ntw'; sleep 0.1; printf 'o\\nlast'; echo complaint >&2";
    let config = json!({"logging": {"format": "json"}, "preStart": ["sh", "-c", script],
        "coprocesses": [{"command": ["sh", "-c", "echo beside; sleep 1000"]}]});
    let proc = w.start(&config, &["wait"]);
    let seen = ["one", "two", "beside"].map(|text| proc.wait_line(&format!("\"msg\":\"{text}\""), WAIT).text);
    for line in seen {
        let v: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(v["level"], "info", "{line}");
    }
    for text in ["last", "complaint"] {
        proc.check(!proc.lines_matching(text).is_empty(), "an end without a line's end, and errors, count too");
    }
    end(&proc, 0);
}

#[test]
fn tasks_run_at_their_frequency_within_their_time() {
    let w = World::new();
    let config = json!({"tasks": [
        {"name": "quick", "command": ["sh", "-c", "echo run >> $D/quick"], "frequency": "200ms"},
        {"command": "sh -c true", "frequency": "1ms", "timeout": "5s"},
        {"name": "failing", "command": ["sh", "-c", "echo run >> $D/failing; exit 3"], "frequency": 0.2, "timeout": "5s"},
        {"name": "hung", "command": ["sh", "-c", "echo run >> $D/hung; sleep 1000"], "frequency": "100ms", "timeout": "250ms"},
        {"name": "own", "command": ["sh", "-c", "echo run >> $D/own; sleep 1000"], "frequency": "0.3"},
        {"name": "slow", "command": ["sh", "-c", "echo begin >> $D/slow; sleep 0.5; echo end >> $D/slow"], "frequency": "100ms", "timeout": "5s"},
    ]});
    let proc = w.start(&config, &["wait"]);
    let begin = proc.wait_line("ready pid=", WAIT).at;
    w.wait_lines(&proc, "quick", 5);
    let took = begin.elapsed();
    proc.check(took >= millis(900), &format!("five runs took {took:?}"));
    for name in ["failing", "hung", "own"] {
        w.wait_lines(&proc, name, 3);
    }
    w.wait_lines(&proc, "slow", 4);
    let slow = w.lines("slow");
    assert!(slow.chunks(2).filter(|c| c.len() == 2).all(|c| c == ["begin", "end"]), "never twice at a time: {slow:?}");
    // What fails each time is said once.
    assert_eq!(proc.lines_matching("task failing failed").len(), 1, "{}", proc.report());
    let begin = Instant::now();
    end(&proc, 0);
    proc.check(begin.elapsed() < secs(4), "a task should not delay the end");
    for (task, why) in [
        (json!({"command": "true", "frequency": "0.5ms"}), "cannot be less than 1ms"),
        (json!({"command": "true", "frequency": "-1s"}), "cannot be less than 1ms"),
        (json!({"command": "true", "frequency": "often"}), "frequency` must be a time"),
        (json!({"command": "true"}), "frequency"),
        (json!({"frequency": "1s"}), "did not provide a command"),
    ] {
        let proc = w.start(&json!({"tasks": [task]}), &["wait"]);
        proc.expect_exit(Exit::Code(1), WAIT);
        proc.check(!proc.lines_matching(why).is_empty(), why);
    }
}

#[test]
fn the_app_waits_for_what_it_needs() {
    let w = World::new();
    let port = free_port();
    let config = json!({
        "wait_for": ["service:db", format!("tcp://127.0.0.1:{port}"), format!("test -e {}", w.path("there"))],
        "services": [service("app", json!({}))],
        "preStart": ["sh", "-c", "echo prestart"],
    });
    let proc = w.start(&config, &["wait"]);
    proc.wait_line("waiting for", WAIT);
    w.join("db", "db1", 5432, &[], "critical");
    let _listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    w.set("there", "");
    for what in [format!("test -e {}", w.path("there")), format!("tcp://127.0.0.1:{port}")] {
        proc.wait_line(&format!("{what} is there"), WAIT);
    }
    proc.check(proc.lines_matching("prestart").is_empty(), "not all is there");
    assert!(w.told().is_empty(), "{}", w.shown());
    w.consul.call("PUT", "/v1/agent/check/pass/db1", b"");
    proc.wait_line("prestart", WAIT);
    proc.wait_line("ready pid=", WAIT);
    w.wait_status(&proc, &id("app"), "passing");
    end(&proc, 0);
    let proc = w.start(&json!({"wait_for": "service:nobody"}), &["wait"]);
    proc.wait_line("waiting for", WAIT);
    end(&proc, 143);
    proc.check(proc.lines_matching("ready").is_empty(), "the app should not be started");
}
