//! Services, hooks and handlers when things go wrong, by both front doors: checks that hang, hooks that are slow, catalogs
//! that take their time, TERM in every phase, apps that die, configurations that change while something runs. Each end is
//! within the grace of platforms, leaves no process, and nothing in the catalog where that could be told.

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

mod node;
mod util;

use node::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use util::*;

/// A service that lives on this address.
fn service(name: &str, health: Value) -> Value {
    json!({"name": name, "port": 8000, "interfaces": ["static:127.0.0.9"], "poll": 1, "ttl": 3, "health": health})
}

/// A configuration with more in it than this address of Consul's.
fn config(addr: &str, more: Value) -> Value {
    let mut all = json!({"consul": addr});
    for (key, value) in more.as_object().unwrap() {
        all[key] = value.clone();
    }
    all
}

/// Runs this for both doors at the same time; the first panic is the test's.
fn by_each_door(work: impl Fn(Door) + Sync) {
    std::thread::scope(|scope| {
        let work = &work;
        let all = DOORS.map(|door| scope.spawn(move || work(door)));
        for one in all {
            if let Err(panic) = one.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// The process groups that were said: `NAME 123`.
fn said_numbers(node: &Node, name: &str) -> Vec<(Instant, i32)> {
    let number = |l: &Line| l.text.rsplit(' ').next().unwrap().parse().unwrap();
    node.proc.lines_matching(name).iter().map(|l| (l.at, number(l))).collect()
}

/// No two of these are further apart.
#[track_caller]
fn check_gaps(node: &Node, what: &str, most: Duration) {
    let at: Vec<Instant> = node.proc.lines_matching(what).iter().map(|l| l.at).collect();
    node.check(at.len() > 2, &format!("there should be more of '{what}'"));
    for w in at.windows(2) {
        let gap = w[1] - w[0];
        node.check(gap <= most, &format!("{gap:?} between two of '{what}'"));
    }
}

// --- checks -------------------------------------------------------------------------------------------------------

#[test]
fn a_hung_check_is_killed_with_all_it_started_and_delays_nobody() {
    by_each_door(|door| {
        let consul = Consul::start();
        let hung = shell("echo slow-begins $$; test ! -e hang || { sleep 1000 & sleep 1000; }");
        let all = [service("slow", hung), service("quick", shell("echo quick-checks"))];
        let node = node(door, config(&consul.addr(), json!({"services": all}))).start();
        wait_services(&consul, 2);
        node.dir.write("hang", "");
        let from = Instant::now();
        wait_until(WAIT, "the TTL to run out", || passing(&consul, "slow").is_empty().then_some(()));
        let took = from.elapsed();
        node.check(took < secs(5), &format!("the TTL of 3 s ran out after {took:?}"));
        let begun = said_numbers(&node, "slow-begins").len();
        node.proc.wait_nth_line(begun + 3, "slow-begins", WAIT);
        // All but the last one are gone, with what they started.
        let said = said_numbers(&node, "slow-begins");
        let (_, old) = said.split_last().unwrap();
        let left: Vec<Row> = processes().into_iter().filter(|p| old.iter().any(|(_, g)| *g == p.group)).collect();
        node.check(left.is_empty(), &format!("{left:?} are left of checks that were given up"));
        check_gaps(&node, "quick-checks", millis(1900));
        check_gaps(&node, "slow-begins", millis(2500));
        node.check(passing(&consul, "quick").len() == 1, "the other service should be well");
        // Well again as soon as it answers.
        std::fs::remove_file(node.dir.join("hang")).unwrap();
        wait_until(WAIT, "the service to be well again", || (passing(&consul, "slow").len() == 1).then_some(()));
        node.dir.write("hang", "");
        let begun = said_numbers(&node, "slow-begins").len();
        node.proc.wait_nth_line(begun + 2, "slow-begins", WAIT);
        let took = node.stop(0);
        node.check(took < secs(3), &format!("a hung check delayed the end: {took:?}"));
        node.check(services(&consul).is_empty(), "nothing should be left in Consul");
    });
}

// --- slow catalogs ------------------------------------------------------------------------------------------------

/// A Consul that takes this long for each call of its agent, and knows of no instance of anything.
fn slow_consul(pause: Duration) -> FakeHttp {
    FakeHttp::start(move |r| match r.path.starts_with("/v1/agent/") {
        true => Answer::reply(200, &[], "").after(pause),
        false => Answer::reply(200, &["X-Consul-Index: 1"], "[]").after(secs(5)),
    })
}

fn asked(fake: &FakeHttp, what: &str) -> usize {
    fake.requests().iter().filter(|r| r.path.contains(what)).count()
}

#[test]
fn a_catalog_that_takes_seven_seconds_delays_no_check_and_no_end() {
    by_each_door(|door| {
        let fake = slow_consul(secs(7));
        let mut web = service("web", shell("echo checks"));
        web["ttl"] = json!(30);
        let node =
            node(door, config(&fake.addr(), json!({"services": [web], "preStop": shell("echo pre-stop")}))).start();
        node.line("is registered");
        check_gaps(&node, "checks", millis(1900));
        let from = Instant::now();
        let took = node.stop(0);
        eprintln!("{door:?}: ended after {took:?}");
        let hook = node.line("pre-stop").at - from;
        node.check(hook < secs(3), &format!("the hook waited {hook:?} for the catalog"));
        node.check(asked(&fake, "service/deregister/web-") > 0, "it should have been deregistered");
    });
}

#[test]
fn term_while_the_registration_is_on_its_way_takes_it_back() {
    by_each_door(|door| {
        for pause in [secs(2), secs(7)] {
            let fake = slow_consul(pause);
            let services = json!({"services": [service("web", shell("true"))]});
            let node = node(door, config(&fake.addr(), services)).start();
            wait_until(WAIT, "the registration", || (asked(&fake, "service/register") == 1).then_some(()));
            let took = node.stop(0);
            eprintln!("{door:?}: a call takes {pause:?}, the end took {took:?}");
            let all = fake.requests();
            let last = all.iter().rfind(|r| r.path.starts_with("/v1/agent/")).unwrap();
            node.check(last.path.contains("service/deregister/web-"), &format!("{} was the last word", last.path));
            let register = all.iter().find(|r| r.path.contains("service/register")).unwrap();
            node.check(last.at - register.at >= pause, "what was on its way is awaited: it would come behind");
        }
    });
}

#[test]
fn without_a_majority_the_end_is_bounded_and_the_agent_knows() {
    let settings = json!({"performance": {"raft_multiplier": 1, "rpc_hold_timeout": "7s"}});
    let mut cluster = Consul::cluster_with(3, &|_| settings.clone());
    let leader = cluster.leader();
    let (mine, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let addr = cluster.nodes[mine].addr();
    let nodes = DOORS.map(|door| {
        let web = service(if door == Door::Native { "native" } else { "pilot" }, shell("echo checks"));
        node(door, config(&addr, json!({"services": [web], "preStop": shell("echo pre-stop")}))).start()
    });
    wait_services(&cluster.nodes[mine], DOORS.len());
    for n in &nodes {
        n.line("is registered");
    }
    cluster.nodes[leader].kill9();
    cluster.nodes[other].kill9();
    let marks = nodes.each_ref().map(|n| n.count("checks"));
    for (n, mark) in nodes.iter().zip(marks) {
        n.proc.wait_nth_line(mark + 3, "checks", WAIT);
        check_gaps(n, "checks", millis(1900));
    }
    let from = Instant::now();
    for n in &nodes {
        n.signal(libc::SIGTERM);
    }
    for n in &nodes {
        let took = n.ends(0, from);
        let hook = n.line("pre-stop").at - from;
        eprintln!("{:?}: ended after {took:?}, pre-stop after {hook:?}", n.door);
        n.check(hook < secs(3), &format!("the hook waited {hook:?} for the catalog"));
    }
    // Consul's agent does one thing at a time, 7 s each: what was asked second is done behind both ends.
    wait_services(&cluster.nodes[mine], 0);
}

// --- TERM in every phase ------------------------------------------------------------------------------------------

#[test]
fn term_before_the_start_ends_it_unstarted() {
    let consul = Consul::start();
    let web = config(
        &consul.addr(),
        json!({"services": [service("web", shell("true"))], "preStart": shell("echo pre-start")}),
    );
    // What is waited for is not there; the file cannot be made.
    let port = free_port();
    let waits = node(Door::Native, web.clone()).toml(&format!("wait_for = [\"tcp://127.0.0.1:{port}\"]\n")).start();
    waits.line("is not there yet");
    let files = "template = [{ name = \"t.tmpl\", text = '{{getv \"/missing\"}}', dest = \"$D/out\", keys = [\"/\"] }]\n\
                 source.keys = { url = \"dir:$D/keys\" }\n";
    let files = node(Door::Native, web).file("keys/a", "a").toml(files).start();
    files.line("/missing");
    for node in [waits, files] {
        let took = node.stop(143);
        node.check(took < secs(2), &format!("the end took {took:?}"));
        node.check(
            node.count("ready") == 0 && node.count("hook before the start: pre-start") == 0,
            "nothing is started",
        );
        node.check(services(&consul).is_empty(), "nothing is registered");
    }
}

#[test]
fn term_during_pre_start_never_starts_the_app() {
    by_each_door(|door| {
        let consul = Consul::start();
        // The second one ignores TERM, and what it started does.
        for hook in ["echo begun; sleep 1000", "trap '' TERM; echo begun; sleep 1000; sleep 1000"] {
            let more = json!({"services": [service("web", shell("true"))], "preStart": shell(hook), "postStop": shell("echo post-stop; exit 4")});
            let node = node(door, config(&consul.addr(), more)).start();
            node.line("begun");
            let took = node.stop(143);
            eprintln!("{door:?}: {hook}: {took:?}");
            node.check(took < secs(3), &format!("the end took {took:?}"));
            node.check(node.count("ready") == 0, "the app is never started");
            node.check(services(&consul).is_empty(), "nothing is registered");
        }
        // One that fails gives its code.
        let more = json!({"services": [service("web", shell("true"))], "preStart": shell("exit 7")});
        let node = node(door, config(&consul.addr(), more)).start();
        node.ends(7, Instant::now());
        node.check(node.count("ready") == 0 && services(&consul).is_empty(), "nothing begins");
    });
}

#[test]
fn term_in_each_later_phase_ends_in_time_and_leaves_nothing() {
    by_each_door(|door| {
        let consul = Consul::start();
        let calm = || service("web", shell("true"));
        // What is under way when TERM comes (a line says so), and the code of the end.
        let hang = "sleep 1000 & sleep 1000";
        let backend = json!({"name": "web", "poll": 1, "onChange": shell(&format!("echo changing; {hang}"))});
        let task = json!({"name": "t", "command": shell(&format!("echo in-task; {hang}")), "frequency": "100ms", "timeout": "100s"});
        let beside = json!({"name": "c", "command": shell(&format!("trap '' TERM; echo beside; {hang}; {hang}"))});
        let mut slow =
            service("web", shell(&format!("test -e first || {{ touch first; exit 0; }}; echo checking; {hang}")));
        slow["timeout"] = json!("100s");
        let cases = [
            ("checking", json!({"services": [slow]})),
            ("changing", json!({"services": [calm()], "backends": [backend]})),
            ("in-task", json!({"services": [calm()], "tasks": [task]})),
            ("beside", json!({"services": [calm()], "coprocesses": [beside]})),
        ];
        for (what, more) in cases {
            let more = config(&consul.addr(), more);
            let node = node(door, more).start();
            node.line(what);
            node.line("is registered");
            wait_services(&consul, 1);
            let took = node.stop(0);
            eprintln!("{door:?}: TERM while {what}: {took:?}");
            node.check(took < secs(3), &format!("TERM while {what}: the end took {took:?}"));
            node.check(services(&consul).is_empty(), &format!("{what}: it should be deregistered"));
            node.check(node.count("term") == 1, "the app is asked once");
        }
        // Maintenance.
        let node = node(door, config(&consul.addr(), json!({"services": [calm()], "preStop": shell("echo pre-stop")})))
            .start();
        wait_services(&consul, 1);
        node.maintain(true);
        wait_services(&consul, 0);
        let took = node.stop(0);
        node.check(took < secs(2) && node.count("pre-stop") > 0, &format!("maintenance: the end took {took:?}"));
        node.check(services(&consul).is_empty(), "it stays deregistered");
    });
}

#[test]
fn a_slow_pre_stop_runs_to_its_end_and_a_second_term_hurries_it() {
    by_each_door(|door| {
        let consul = Consul::start();
        let hook = "echo pre-stop; sleep 3; echo pre-stopped";
        let more = json!({"services": [service("web", shell("echo checks"))], "preStop": shell(hook)});
        let all = config(&consul.addr(), more);
        let node = node(door, all.clone()).start();
        node.line("is registered");
        let from = Instant::now();
        node.signal(libc::SIGTERM);
        node.line("pre-stop");
        node.check(services(&consul).is_empty(), "it is deregistered before the hook");
        let mark = node.proc.mark();
        let took = node.ends(0, from);
        node.check(took >= secs(3) && took < secs(6), &format!("the end took {took:?}"));
        let term = node.line("term").at - from;
        node.check(node.count("pre-stopped") == 1 && term >= secs(3), "the app is asked behind the hook");
        let lines = node.proc.lines();
        node.check(!lines[mark..].iter().any(|l| l.text.contains("checks")), "checks are over");

        let node = crate::node::node(door, all).start();
        node.line("is registered");
        let from = Instant::now();
        node.signal(libc::SIGTERM);
        node.line("pre-stop");
        node.signal(libc::SIGTERM);
        let took = node.ends(0, from);
        node.check(took < millis(2500), &format!("the second TERM should hurry: {took:?}"));
        node.check(node.count("pre-stopped") == 0 && node.count("term") == 1, "the hook is cut off, the app is asked");
        node.check(services(&consul).is_empty(), "it is deregistered");
    });
}

#[test]
fn a_second_term_hurries_post_stop() {
    by_each_door(|door| {
        let consul = Consul::start();
        let more =
            json!({"services": [service("web", shell("true"))], "postStop": shell("echo post-stop; sleep 1000")});
        let node = node(door, config(&consul.addr(), more)).start();
        node.line("is registered");
        let from = Instant::now();
        node.signal(libc::SIGTERM);
        node.line("post-stop");
        node.check(services(&consul).is_empty(), "it is deregistered");
        node.signal(libc::SIGTERM);
        let took = node.ends(0, from);
        node.check(took < secs(3), &format!("the end took {took:?}"));
    });
}

// --- the app's own end --------------------------------------------------------------------------------------------

#[test]
fn an_app_that_ends_by_itself_is_deregistered_and_its_code_passed_on() {
    by_each_door(|door| {
        let consul = Consul::start();
        let web = |hook: Option<&str>| {
            let mut more = json!({"services": [service("web", shell("true"))], "preStop": shell("echo pre-stop")});
            if let Some(hook) = hook {
                more["postStop"] = shell(hook);
            }
            config(&consul.addr(), more)
        };
        // (its code, its last hook, the code of the end)
        let cases =
            [(0, None, 0), (3, None, 3), (255, Some("exit 0"), 255), (0, Some("exit 9"), 9), (3, Some("exit 9"), 9)];
        for (code, hook, wanted) in cases {
            let script = format!("while ! test -e go; do sleep 0.02; done; exit {code}");
            let node = node(door, web(hook)).app(&["sh", "-c", &script]).start();
            node.line("is registered");
            wait_services(&consul, 1);
            let from = Instant::now();
            node.dir.write("go", "");
            node.ends(wanted, from);
            node.check(services(&consul).is_empty(), "it is deregistered");
        }
        let node = node(door, web(None)).start();
        node.line("is registered");
        let said = node.line("ready pid=").text;
        let app: i32 = said.rsplit('=').next().unwrap().parse().unwrap();
        let from = Instant::now();
        // SAFETY: plain system call; the app is pilotfish's child, and not reaped yet.
        unsafe { libc::kill(app, libc::SIGKILL) };
        let took = node.ends(137, from);
        node.check(took < secs(2), &format!("the end took {took:?}"));
        node.check(services(&consul).is_empty(), "it is deregistered");
    });
}

// --- PID 1 --------------------------------------------------------------------------------------------------------

#[test]
fn as_pid_1_it_reaps_what_handlers_leave_and_gives_the_apps_code() {
    by_each_door(|door| {
        let consul = Consul::start();
        // Each leaves a process whose parent is gone, and one that is a child of that.
        let leave = "(sh -c 'sleep 0.1 & sleep 0.2' &) ; true";
        let backend = json!({"name": "web", "poll": 1, "onChange": shell(&format!("{leave}; echo changed"))});
        let task = json!({"name": "t", "command": shell(&format!("{leave}; echo in-task")), "frequency": "100ms", "timeout": "5s"});
        let more = json!({"services": [service("web", shell(leave))], "backends": [backend], "tasks": [task],
            "preStart": shell(leave), "preStop": shell(leave), "postStop": shell(leave)});
        let app = static_app().display().to_string();
        let setup = node(door, config(&consul.addr(), more)).file("f", "x").pid_1();
        let file = setup.path().join("f").display().to_string();
        let node = setup.app(&[&app, "config", &file, "7"]).start();
        node.line("is registered");
        node.line("changed");
        node.proc.wait_nth_line(20, "in-task", WAIT);
        let me = node.proc.inner_pid();
        // A zombie that is seen is a moment old: none of them stays.
        let dead = |all: Vec<Row>| all.into_iter().filter(|p| p.state == 'Z').map(|p| p.pid).collect::<Vec<_>>();
        let seen = dead(children_of(me));
        wait_until(secs(2), "zombies to be reaped", || {
            (!dead(children_of(me)).iter().any(|z| seen.contains(z))).then_some(())
        });
        let all = children_of(me).len();
        node.check(all < 20, &format!("it has {all} children"));
        node.stop(7);
        node.check(services(&consul).is_empty(), "it is deregistered");
    });
}

// --- another configuration ----------------------------------------------------------------------------------------

/// When the catalog wrote these services last, by name.
fn written(consul: &Consul, name: &str) -> (u64, u64, u64) {
    let all = consul.call("GET", &format!("/v1/catalog/service/{name}"), b"").json();
    let one = &all[0];
    let n = |key: &str| one[key].as_u64().unwrap_or(0);
    (n("CreateIndex"), n("ModifyIndex"), n("ServicePort"))
}

#[test]
fn a_new_configuration_touches_only_what_changed() {
    by_each_door(|door| {
        let consul = Consul::start();
        let backend =
            json!({"name": "there", "poll": 1, "onChange": shell("echo change-begins $$; sleep 5; echo change-ends")});
        let beside = |script: &str| json!({"name": "beside", "command": shell(script), "restarts": "unlimited"});
        let mut other = service("other", shell("true"));
        let first = config(
            &consul.addr(),
            json!({"services": [service("web", shell("echo checks")), other.clone()], "backends": [backend],
                "coprocesses": [beside("echo beside-one $$; exec sleep 1000")]}),
        );
        let first = unlimited(door, first);
        let node = node(door, first.clone()).start();
        wait_services(&consul, 2);
        node.proc.wait_nth_line(2, "is registered", WAIT);
        let (web, there) = (written(&consul, "web"), written(&consul, "other"));
        let body = json!({"ID": "there", "Name": "there", "Address": "127.0.0.7", "Port": 1});
        consul.call("PUT", "/v1/agent/service/register", body.to_string().as_bytes());
        node.line("change-begins");

        // A good one, while that runs.
        let from = Instant::now();
        other["port"] = json!(8001);
        let mut second = first.clone();
        second["services"][1] = other;
        node.reload(&second);
        let port = || written(&consul, "other").2;
        wait_until(WAIT, "the changed service", || (passing(&consul, "other") == ["127.0.0.9:8001"]).then_some(()));
        let took = from.elapsed();
        node.check(took < secs(4), &format!("the changed service took {took:?}"));
        node.check(node.count("change-ends") == 0, "the handler runs on meanwhile");
        node.check(port() == 8001 && written(&consul, "other").0 != there.0, "it is deregistered and registered anew");
        node.check(
            written(&consul, "web") == web,
            &format!("{:?} was {web:?}: the other is untouched", written(&consul, "web")),
        );
        node.line("change-ends");
        node.check(node.count("change-begins") == 1, "it is not run again");
        node.check(said_numbers(&node, "beside-one").len() == 1, "the coprocess keeps its process");

        // A bad one.
        let mark = node.proc.mark();
        node.reload_text("{\"consul\": ");
        let until = node.count("checks") + 4;
        node.proc.wait_nth_line(until, "checks", WAIT); // longer than the TTL
        let is_said = node.proc.lines()[mark..].iter().any(|l| l.text.to_lowercase().contains("error"));
        node.check(is_said, "a bad configuration is said");
        node.check(passing(&consul, "web").len() == 1 && passing(&consul, "other").len() == 1, "the old one goes on");
        node.check(written(&consul, "web") == web, "nothing is touched");

        // Another coprocess.
        let old = said_numbers(&node, "beside-one")[0].1;
        let mut third = second.clone();
        third["coprocesses"][0] =
            unlimited(door, json!({"coprocesses": [beside("echo beside-two $$; exec sleep 1000")]}))["coprocesses"][0]
                .clone();
        node.reload(&third);
        node.line("beside-two");
        wait_until(WAIT, "the old coprocess to end", || processes().iter().all(|p| p.pid != old).then_some(()));
        node.check(node.count("beside-one") == 1 && node.count("beside-two") == 1, "one took the other's place");
        node.check(written(&consul, "web") == web, "nothing else is touched");

        node.check(
            node.count("ready") == 1 && node.count("signal ") == 0,
            "the app is neither signalled nor restarted",
        );
        let took = node.stop(0);
        node.check(took < secs(3), &format!("TERM behind it: {took:?}"));
        node.check(services(&consul) == ["there"], "ours are deregistered");
    });
}

#[test]
fn services_that_are_no_more_in_the_configuration_are_deregistered() {
    by_each_door(|door| {
        let consul = Consul::start();
        let all = config(&consul.addr(), json!({"services": [service("web", shell("true"))]}));
        let node = node(door, all.clone()).start();
        wait_services(&consul, 1);
        node.reload(&config(&consul.addr(), json!({"services": []})));
        wait_services(&consul, 0);
        node.reload(&all);
        wait_services(&consul, 1);
        if door == Door::Native {
            // Not even a catalog.
            node.reload(&Value::Null);
            wait_services(&consul, 0);
        }
        node.stop(0);
        node.check(services(&consul).is_empty() && node.count("ready") == 1, "nothing is left, the app was let alone");
    });
}

#[test]
fn term_behind_a_reload_waits_for_what_still_leaves() {
    by_each_door(|door| {
        let fake = slow_consul(secs(3));
        let node = node(door, config(&fake.addr(), json!({"services": [service("web", shell("true"))]}))).start();
        wait_until(WAIT, "the registration", || (asked(&fake, "service/register") == 1).then_some(()));
        node.reload(&config(&fake.addr(), json!({"services": []})));
        node.line("the configuration has changed");
        node.stop(0);
        node.check(asked(&fake, "service/deregister/web-") == 1, "it should be deregistered before the end");
    });
}

/// ContainerPilot's word for always.
fn unlimited(door: Door, config: Value) -> Value {
    match door {
        Door::Native => serde_json::from_str(&config.to_string().replace("\"unlimited\"", "\"always\"")).unwrap(),
        Door::ContainerPilot => config,
    }
}
