//! HUP: a new configuration takes the old one's place without the app's notice, and a bad one does not.

use super::*;

impl World {
    /// Writes another configuration and tells of it.
    fn change(&self, proc: &Proc, config: &Value) {
        self.write(config);
        proc.signal(libc::SIGHUP);
    }
}

fn metrics(port: u16) -> String {
    http("GET", &format!("127.0.0.1:{port}"), "/metrics", &[], b"").map(|r| r.text()).unwrap_or_default()
}

#[test]
fn a_new_configuration_takes_the_place_of_the_old_one() {
    let w = World::new();
    let note = |name: &str| json!(["sh", "-c", format!("echo run >> $D/{name}")]);
    let config = |name: &str| {
        json!({
            "preStart": note("prestart"),
            "preStop": note(&format!("prestop-{name}")),
            "postStop": note(&format!("poststop-{name}")),
            "services": [service("same", json!({})), service(name, json!({"health": note(&format!("health-{name}"))}))],
            "backends": [{"name": "up", "poll": 1, "onChange": note(&format!("change-{name}"))}],
        })
    };
    let proc = w.start(&config("old"), &["wait"]);
    let pid = pid_in(&proc.wait_line("ready pid=", WAIT).text);
    for name in ["same", "old"] {
        w.wait_status(&proc, &id(name), "passing");
    }
    w.change(&proc, &config("new"));
    w.wait_told(&proc, &format!("/deregister/{}", id("old")), 1);
    w.wait_status(&proc, &id("new"), "passing");
    wait_until(WAIT, "the end of the old one", || w.service(&id("old")).is_none().then_some(()));
    let health = w.lines("health-old").len();
    w.join("up", "up1", 81, &[], "passing");
    w.wait_lines(&proc, "change-new", 1);
    w.wait_lines(&proc, "health-new", 3);
    assert_eq!(w.lines("health-old").len(), health, "the old check should be run no longer");
    assert!(w.lines("change-old").is_empty());
    // What is the same was not touched.
    assert!(w.told_of(&format!("/deregister/{}", id("same"))).is_empty(), "{}", w.shown());
    let same = w.told_of("/register").iter().filter(|r| String::from_utf8_lossy(&r.body).contains(&id("same"))).count();
    assert_eq!(same, 1, "{}", w.shown());
    // Broken ones are said, and the old goes on.
    for (n, broken) in ["{ \"consul\": ", "{}", "{ \"consul\": \"c\", \"nonsense\": 1 }", "{{ .X "].iter().enumerate() {
        let mark = proc.mark();
        w.set("app.json", broken);
        proc.signal(libc::SIGHUP);
        let beats = w.told_of(&id("new")).len();
        wait_until(WAIT, "a word of it", || {
            let said = proc.lines();
            let what = ["Parse error", "No discovery backend", "nonsense", "template"][n];
            said[mark..].iter().any(|l| l.text.contains(what)).then_some(())
        });
        w.wait_told(&proc, &format!("/pass/{}", id("new")), beats + 2);
    }
    w.remove("app.json");
    proc.signal(libc::SIGHUP);
    proc.wait_line("Could not read config file", WAIT);
    let beats = w.told_of(&id("new")).len();
    w.wait_told(&proc, &format!("/pass/{}", id("new")), beats + 2);
    assert_eq!(w.check(&id("new"))["Status"], "passing");
    // USR1 and TERM work as before.
    proc.signal(libc::SIGUSR1);
    wait_until(WAIT, "maintenance", || w.service(&id("new")).or(w.service(&id("same"))).is_none().then_some(()));
    proc.signal(libc::SIGUSR1);
    w.wait_status(&proc, &id("new"), "passing");
    assert!(is_alive(pid));
    proc.check(proc.lines_matching("ready pid=").len() == 1, "the app should run on");
    proc.check(!proc.lines().iter().any(|l| l.text.starts_with("signal ")), "the app should hear of nothing");
    end(&proc, 0);
    assert_eq!(w.lines("prestart").len(), 1, "the start is over");
    assert_eq!((w.lines("prestop-new").len(), w.lines("poststop-new").len()), (1, 1));
    assert_eq!((w.lines("prestop-old").len(), w.lines("poststop-old").len()), (0, 0));
    assert_eq!((w.service(&id("new")), w.service(&id("same"))), (None, None));
}

#[test]
fn telemetry_moves_with_its_port_and_keeps_what_it_counted() {
    let w = World::new();
    let (first, second) = (free_port(), free_port());
    let config = |port: u16, help: &str| {
        let sensor = |name: &str, help: &str| {
            json!({"namespace": "n", "subsystem": "s", "name": name, "help": help, "type": "counter", "poll": 0.2,
                "check": ["sh", "-c", format!("test -e $D/quiet || echo 1; echo run >> $D/{name}")]})
        };
        json!({"telemetry": {"port": port, "interfaces": "static:127.0.0.1", "tags": ["m"],
            "sensors": [sensor("kept", "as it was"), sensor("changed", help)]}})
    };
    let value = |port: u16, name: &str| -> Option<f64> {
        metrics(port).lines().find_map(|l| l.strip_prefix(&format!("n_s_{name} "))?.parse().ok())
    };
    let proc = w.start(&config(first, "old"), &["wait"]);
    wait_until(WAIT, "some values", || (value(first, "kept")? >= 3.0 && value(first, "changed")? >= 3.0).then_some(()));
    w.wait_status(&proc, &id("containerpilot"), "passing");
    let me = w.service(&id("containerpilot")).unwrap();
    assert_eq!((&me["Service"], &me["Port"], &me["Tags"]), (&json!("containerpilot"), &json!(first), &json!(["m"])));
    let body: Value = serde_json::from_slice(&w.told_of("/register")[0].body).unwrap();
    assert_eq!(body["Check"]["TTL"], "15s");
    w.set("quiet", "");
    for name in ["kept", "changed"] {
        let n = w.lines(name).len();
        w.wait_lines(&proc, name, n + 2);
    }
    let kept = value(first, "kept");
    w.change(&proc, &config(second, "new"));
    wait_until(WAIT, "the new port", || value(second, "kept"));
    assert_eq!(value(second, "kept"), kept, "a metric that is the same should go on");
    assert_eq!(value(second, "changed"), Some(0.0), "another one should begin");
    wait_until(WAIT, "the end of the old port", || {
        std::net::TcpStream::connect(("127.0.0.1", first)).is_err().then_some(())
    });
    wait_until(WAIT, "the new port in Consul", || (w.service(&id("containerpilot"))?["Port"] == second).then_some(()));
    w.wait_status(&proc, &id("containerpilot"), "passing");
    // A port that is somebody else's: the old configuration goes on.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mark = proc.mark();
    w.change(&proc, &config(taken.local_addr().unwrap().port(), "new"));
    proc.wait_line_after(mark, "cannot listen on", WAIT);
    assert_eq!(value(second, "kept"), kept);
    // Back again, and away.
    w.change(&proc, &config(first, "new"));
    wait_until(WAIT, "the old port", || value(first, "kept"));
    w.change(&proc, &json!({}));
    wait_until(WAIT, "the end of it", || std::net::TcpStream::connect(("127.0.0.1", first)).is_err().then_some(()));
    wait_until(WAIT, "its end in Consul", || w.service(&id("containerpilot")).is_none().then_some(()));
    w.change(&proc, &config(second, "new"));
    wait_until(WAIT, "the new port", || value(second, "kept"));
    end(&proc, 0);
    assert_eq!(w.service(&id("containerpilot")), None);
}

#[test]
fn coprocesses_and_tasks_follow_the_configuration() {
    let w = World::new();
    let probe = static_app().display().to_string();
    let config = |argument: &str, task: &str| {
        json!({
            "coprocesses": [{"name": "same", "command": [probe, "wait"]},
                {"name": "other", "command": ["sh", "-c", format!("echo {argument} pid=$$; exec sleep 1000")]}],
            "tasks": [{"name": "t", "command": ["sh", "-c", format!("echo run >> $D/{task}")], "frequency": "200ms"}],
        })
    };
    let proc = w.start(&config("first", "one"), &["ignore-term"]);
    let same = pid_in(&proc.wait_line("ready pid=", WAIT).text);
    let first = pid_in(&proc.wait_line("first pid=", WAIT).text);
    w.wait_lines(&proc, "one", 2);
    w.change(&proc, &config("second", "two"));
    let second = pid_in(&proc.wait_line("second pid=", WAIT).text);
    wait_until(WAIT, "the end of the first", || (!is_alive(first)).then_some(()));
    w.wait_lines(&proc, "two", 2);
    let n = w.lines("one").len();
    w.wait_lines(&proc, "two", 5);
    assert_eq!(w.lines("one").len(), n);
    assert!(is_alive(same) && is_alive(second));
    proc.check(proc.lines_matching("ready pid=").len() == 1, "what is the same should go on");
    end(&proc, 137);
    assert!(!is_alive(same) && !is_alive(second));
}
