//! Services: what the catalog is told of them, and when.

use super::*;
use std::ffi::CStr;

/// This host's addresses of IPv4 that are no loopback's, in the original's order.
fn own_addresses() -> Vec<String> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the list is freed below; what is read of it is copied before.
    assert_eq!(unsafe { libc::getifaddrs(&mut list) }, 0);
    let (mut at, mut all) = (list, Vec::new());
    while !at.is_null() {
        // SAFETY: an entry of the list; an address of this family is a sockaddr_in.
        let entry = unsafe { &*at };
        if !entry.ifa_addr.is_null() && i32::from(unsafe { (*entry.ifa_addr).sa_family }) == libc::AF_INET {
            // SAFETY: as above; the name ends with 0.
            let (name, ip) = unsafe {
                let ip = (*entry.ifa_addr.cast::<libc::sockaddr_in>()).sin_addr.s_addr.to_ne_bytes();
                (CStr::from_ptr(entry.ifa_name).to_owned(), ip)
            };
            if ip[0] != 127 {
                all.push((name, ip));
            }
        }
        at = entry.ifa_next;
    }
    // SAFETY: made by getifaddrs, used no more.
    unsafe { libc::freeifaddrs(list) };
    all.sort();
    all.into_iter().map(|(_, ip)| std::net::Ipv4Addr::from(ip).to_string()).collect()
}

#[test]
fn a_service_is_told_of_at_its_first_poll_and_is_well_with_each_one() {
    let w = World::new();
    let app = json!({"name": "app", "port": 8000, "poll": 1, "ttl": 4, "health": "/bin/true", "tags": ["t1", "t2"],
        "interfaces": ["inet", "static:192.0.2.99"]});
    let proc = w.start(&json!({"services": [app]}), &["wait"]);
    let ready = proc.wait_line("ready pid=", WAIT).at;
    let third = w.wait_told(&proc, "/v1/agent/check/pass/", 3);
    let told = w.told();
    proc.check(told[0].at >= proc.started() + millis(990), "nothing should be told before the first poll");
    proc.check(told[0].at <= ready + secs(4), "it should be told at the first poll");
    assert_eq!((told[0].method.as_str(), told[0].path.as_str()), ("PUT", "/v1/agent/service/register"));
    let body: Value = serde_json::from_slice(&told[0].body).unwrap();
    let address = own_addresses().into_iter().next().unwrap_or_else(|| "192.0.2.99".to_string());
    for (path, want) in [
        ("/ID", json!(id("app"))),
        ("/Name", json!("app")),
        ("/Tags", json!(["t1", "t2"])),
        ("/Port", json!(8000)),
        ("/Address", json!(address)),
        ("/Check/TTL", json!("4s")),
        ("/Check/Notes", json!("TTL for app set by containerpilot")),
    ] {
        assert_eq!(body.pointer(path), Some(&want), "{path} of {body}");
    }
    for r in &told[1..] {
        assert_eq!(r.path, format!("/v1/agent/check/pass/{}?note=ok", id("app")), "{}", w.shown());
        assert_eq!(r.method, "PUT");
    }
    let second = w.told_of("/check/pass/")[1].clone();
    let gap = third.at - second.at;
    proc.check(gap >= millis(600) && gap < secs(4), &format!("a beat each poll, not after {gap:?}"));
    let check = w.check(&id("app"));
    for (key, want) in [
        ("CheckID", id("app")),
        ("Name", id("app")),
        ("ServiceID", id("app")),
        ("ServiceName", "app".to_string()),
        ("Status", "passing".to_string()),
        ("Notes", "TTL for app set by containerpilot".to_string()),
        ("Output", "ok".to_string()),
        ("Type", "ttl".to_string()),
    ] {
        assert_eq!(check[key], want, "{key} of {check}");
    }
    // Not each beat is a line of the log.
    proc.check(proc.lines_matching(&id("app")).len() <= 2, "only what changes should be logged");
    end(&proc, 0);
    assert_eq!(w.service(&id("app")), None);
}

#[test]
fn a_service_that_is_ill_is_not_told_of_and_one_that_falls_ill_runs_out() {
    let w = World::new();
    let ill = service("ill", json!({"health": ["sh", "-c", "echo asked >> $D/asked; test -e $D/well"]}));
    let none = service("none", json!({}));
    let proc = w.start(&json!({"services": [ill, none]}), &["wait"]);
    w.wait_lines(&proc, "asked", 4);
    // Without a check it is always well; it was told of meanwhile.
    w.wait_told(&proc, &id("none"), 3);
    assert!(!w.told().iter().any(|r| String::from_utf8_lossy(&r.body).contains("ill") || r.path.contains("ill")));
    assert_eq!(w.service(&id("ill")), None);
    w.set("well", "");
    w.wait_status(&proc, &id("ill"), "passing");
    // It fails: nothing is sent; what others know runs out.
    w.remove("well");
    let asked = w.lines("asked").len();
    w.wait_lines(&proc, "asked", asked + 2);
    let (mark, other) = (w.told_of(&id("ill")).len(), w.told_of(&id("none")).len());
    w.wait_status(&proc, &id("ill"), "critical");
    assert_eq!(w.told_of(&id("ill")).len(), mark, "{}", w.shown());
    assert!(w.told_of(&id("none")).len() > other + 3, "the other one should go on");
    assert_eq!(w.check(&id("none"))["Status"], "passing");
    assert!(w.service(&id("ill")).is_some(), "it stays, critical");
    // Well again: a beat is enough.
    w.set("well", "");
    w.wait_status(&proc, &id("ill"), "passing");
    let registered = |name: &str| {
        w.told_of("/service/register").iter().filter(|r| String::from_utf8_lossy(&r.body).contains(&id(name))).count()
    };
    assert_eq!((registered("ill"), registered("none")), (1, 1), "{}", w.shown());
    end(&proc, 0);
}

#[test]
fn who_is_deregistered_from_outside_is_back_with_the_next_poll() {
    let w = World::new();
    let proc = w.start(&json!({"services": [service("app", json!({"health": "/bin/true"}))]}), &["wait"]);
    for _ in 0..3 {
        w.wait_status(&proc, &id("app"), "passing");
        w.leave(&id("app"));
        assert_eq!(w.check(&id("app")), Value::Null);
    }
    w.wait_status(&proc, &id("app"), "passing");
    assert_eq!(w.told_of("/service/register").len(), 4, "{}", w.shown());
    end(&proc, 0);
}

#[test]
fn maintenance_silences_everything_and_ends_as_it_began() {
    let w = World::new();
    let check = |name: &str| json!(["sh", "-c", format!("echo asked >> $D/{name}")]);
    let config = json!({
        "services": [service("one", json!({"health": check("one")})), service("two", json!({"health": check("two")}))],
        "tasks": [{"name": "t", "command": check("task"), "frequency": "100ms"}],
        "backends": [{"name": "up", "poll": 1, "onChange": check("change")}],
    });
    let proc = w.start(&config, &["wait"]);
    for name in ["one", "two"] {
        w.wait_status(&proc, &id(name), "passing");
    }
    w.wait_lines(&proc, "task", 2);
    for round in 1..=2 {
        proc.signal(libc::SIGUSR1);
        for name in ["one", "two"] {
            w.wait_told(&proc, &format!("/v1/agent/service/deregister/{}", id(name)), round);
        }
        proc.wait_nth_line(round, "maintenance begins", WAIT);
        wait_until(WAIT, "both gone", || w.service(&id("one")).or(w.service(&id("two"))).is_none().then_some(()));
        // One that had begun may end.
        while_others_live(millis(300));
        let before = (w.told().len(), w.lines("one").len(), w.lines("two").len(), w.lines("task").len());
        while_others_live(millis(1500));
        let after = (w.told().len(), w.lines("one").len(), w.lines("two").len(), w.lines("task").len());
        assert_eq!(before, after, "{}", w.shown());
        if round == 1 {
            w.join("up", "up1", 1, &[], "passing");
        }
        assert_eq!(w.lines("change").len(), round - 1, "onChange rests, too");
        proc.signal(libc::SIGUSR1);
        for name in ["one", "two"] {
            w.wait_status(&proc, &id(name), "passing");
        }
        w.wait_lines(&proc, "task", before.3 + 1);
        w.wait_lines(&proc, "change", 1);
    }
    proc.signal(libc::SIGUSR1);
    w.wait_told(&proc, &id("one"), 3);
    end(&proc, 0);
    proc.check(proc.lines_matching("signal ").is_empty(), "the app should not hear of it");
    assert_eq!(w.lines("change").len(), 1);
}

#[test]
fn a_hung_check_is_killed_with_its_group_and_holds_up_nobody() {
    let w = World::new();
    let hung = |name: &str| {
        json!(["sh", "-c", format!("echo begun >> $D/{name}; sleep 1000 & echo $! > $D/{name}.pid; wait")])
    };
    let config = json!({"services": [
        service("said", json!({"health": hung("said"), "timeout": "300ms", "poll": 0.5})),
        service("poll", json!({"health": hung("poll"), "poll": 0.5})),
        service("fine", json!({"health": "/bin/true"})),
    ]});
    let proc = w.start(&config, &["wait"]);
    w.wait_lines(&proc, "said", 1);
    wait_until(WAIT, "the pid", || (!w.lines("said.pid").is_empty()).then_some(()));
    let grandchild: i32 = w.lines("said.pid")[0].parse().unwrap();
    wait_until(WAIT, "the end of the group", || (!is_alive(grandchild)).then_some(()));
    for name in ["said", "poll"] {
        w.wait_lines(&proc, name, 3);
    }
    w.wait_told(&proc, &id("fine"), 5);
    assert!(w.told().iter().all(|r| !r.path.contains("said") && !r.path.contains("poll")), "{}", w.shown());
    assert_eq!(w.told_of("/register").len(), 1, "{}", w.shown());
    let begin = Instant::now();
    end(&proc, 0);
    proc.check(begin.elapsed() < secs(4), "a hung check should not delay the end");
    for name in ["said", "poll"] {
        let pid: i32 = w.lines(&format!("{name}.pid"))[0].parse().unwrap();
        wait_until(WAIT, "the end of the last check", || (!is_alive(pid)).then_some(()));
    }
}

#[test]
fn a_check_may_ask_by_http_or_tcp_without_curl() {
    let w = World::new();
    let web = FakeHttp::start(|r| Answer::reply(if r.path == "/well" { 200 } else { 500 }, &[], ""));
    let url = |path: &str| format!("http://{}{path}", web.addr());
    let config = json!({"services": [
        service("http", json!({"health": url("/well")})),
        service("broken", json!({"health": url("/ill")})),
        service("tcp", json!({"health": format!("tcp://{}", web.addr())})),
        service("closed", json!({"health": format!("tcp://127.0.0.1:{}", free_port())})),
    ]});
    let proc = w.start(&config, &["wait"]);
    w.wait_status(&proc, &id("http"), "passing");
    w.wait_status(&proc, &id("tcp"), "passing");
    proc.wait_line("500", WAIT);
    proc.wait_line("refused", WAIT);
    w.wait_told(&proc, &id("http"), 5);
    assert_eq!((w.service(&id("broken")), w.service(&id("closed"))), (None, None), "{}", w.shown());
    end(&proc, 0);
}

#[test]
fn what_consul_has_beyond_others_is_told_it_too() {
    let w = World::new();
    let more = json!({"enableTagOverride": true, "deregisterCriticalServiceAfter": "10m"});
    let proc = w.start(&json!({"services": [service("app", json!({"consul": more}))]}), &["wait"]);
    w.wait_status(&proc, &id("app"), "passing");
    let body: Value = serde_json::from_slice(&w.told_of("/register")[0].body).unwrap();
    assert_eq!(body["EnableTagOverride"], true, "{body}");
    assert_eq!(body["Check"]["DeregisterCriticalServiceAfter"], "10m", "{body}");
    assert_eq!(w.service(&id("app")).unwrap()["EnableTagOverride"], true);
    end(&proc, 0);
}

#[test]
fn tokens_open_a_consul_that_asks_for_them() {
    let acl = json!({"acl": {"enabled": true, "default_policy": "deny", "tokens": {"master": "s3cret-token"}}});
    let consul = Consul::start_with(acl);
    let seen = recorder(consul.addr(), |_| None);
    let dir = TempDir::new();
    let file = dir.write("token", "s3cret-token\n").display().to_string();
    let w = World { dir, seen, consul };
    let addr = w.seen.addr();
    let map = json!({"address": addr, "scheme": "http", "token": "s3cret-token"});
    let wrong = json!({"address": addr, "token": "not-this-token"});
    for (consul, variable) in [
        (json!(addr), Some("s3cret-token")),
        (json!(format!("http://{addr}")), Some("s3cret-token")),
        (map, None),
        (wrong, Some("s3cret-token")),
        (json!({"address": addr, "token_file": file}), None),
    ] {
        let mark = w.told().len();
        let config = json!({"consul": consul, "services": [service("app", json!({}))]});
        let mut cmd = w.cmd(&config).arg(static_app()).arg("wait");
        if let Some(token) = variable {
            cmd = cmd.env("CONSUL_HTTP_TOKEN", token);
        }
        let proc = cmd.spawn();
        w.wait_status(&proc, &id("app"), "passing");
        for r in &w.told()[mark..] {
            assert_eq!(r.header("x-consul-token"), Some("s3cret-token"), "{consul}");
            assert!(!r.path.contains("token"), "{}", r.path);
        }
        end(&proc, 0);
        assert_eq!(w.service(&id("app")), None, "{consul}");
        proc.check(!proc.stdout().contains("s3cret") && !proc.stderr().contains("s3cret"), "a token in the log");
    }
    // Without one: said, tried again, and the app runs.
    let config =
        json!({"consul": {"address": addr, "token": "not-this-token"}, "services": [service("app", json!({}))]});
    let proc = w.start(&config, &["wait"]);
    proc.wait_line("ready pid=", WAIT);
    proc.wait_line("403", WAIT);
    proc.check(!proc.stdout().contains("not-this-token"), "a token in the log");
    end(&proc, 0);
}

#[test]
fn children_know_whom_they_belong_to() {
    let w = World::new();
    let config = json!({
        "services": [service("app", json!({"health": ["sh", "-c", "env > $D/health.new; mv $D/health.new $D/health"]})),
            service("my-web", json!({"interfaces": "static:10.1.2.4"}))],
        "preStart": ["sh", "-c", "env > $D/prestart"],
    });
    let proc = w.cmd(&config).arg(static_app()).arg("env").env("OWN", "x=y").env("CONSUL_HTTP_TOKEN", "t0").run(WAIT);
    proc.expect_exit(Exit::Code(0), WAIT);
    let want = [
        format!("CONTAINERPILOT_PID={}", proc.pid()),
        "CONTAINERPILOT_APP_IP=10.1.2.3".to_string(),
        "CONTAINERPILOT_MY_WEB_IP=10.1.2.4".to_string(),
        "OWN=x=y".to_string(),
        // Scripts of the original's users ask Consul themselves.
        "CONSUL_HTTP_TOKEN=t0".to_string(),
    ];
    for line in &want {
        proc.wait_line(&format!("env {line}"), WAIT);
        assert!(w.lines("prestart").contains(line), "{line}");
    }
    let proc = w.start(&config, &["wait"]);
    wait_until(WAIT, "a check", || {
        w.lines("health").contains(&"CONTAINERPILOT_APP_IP=10.1.2.3".to_string()).then_some(())
    });
    assert!(w.lines("health").contains(&format!("CONTAINERPILOT_PID={}", proc.pid())));
    end(&proc, 0);
}
