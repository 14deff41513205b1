//! Services in real catalogs, told and watched by the library: Consul, etcd's two interfaces. What becomes of a registration
//! when it is removed, refused, cut off, or when its agent dies; who counts as an instance. What a real server cannot be made
//! to do is done by a fake one, alone or in front of a real one.

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

use pilotfish::catalog::{Keeper, Word};
use pilotfish::plan::{self, Catalog, Pem, Secret, Service, Tls};
use pilotfish::secret::Hidden;
use pilotfish::source::{News, Stop, services};
use pilotfish::sys::pipe::Pipe;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use util::*;

const LONG: Duration = secs(40);
const MASTER: &str = "11111111-aaaa-4bbb-8ccc-0123456789ab";

fn consul_at(addresses: &[&str]) -> plan::Consul {
    let addresses = addresses.iter().map(|a| format!("http://{a}")).collect();
    plan::Consul { addresses, wait: 60_000, ..plan::Consul::default() }
}

fn at(addresses: &[&str]) -> Catalog {
    Catalog::Consul(Box::new(consul_at(addresses)))
}

fn etcd_at(addr: &str, version: u8) -> Catalog {
    let endpoints = vec![format!("http://{addr}")];
    let e = plan::Etcd { endpoints, version, wait: 60_000, ..plan::Etcd::default() };
    Catalog::Etcd(Box::new(e), "/containerpilot".into())
}

/// The service of case 1.
fn app(ttl: u64) -> Service {
    Service {
        id: "app-H".into(),
        name: "app".into(),
        address: "10.0.0.1".into(),
        port: 8080,
        tags: vec!["t1".into(), "t2".into()],
        ttl: ttl * 1000,
        notes: "TTL for app set by containerpilot".into(),
        enable_tag_override: false,
        deregister_after: String::new(),
    }
}

/// A keeper, and what it said.
struct Kept {
    keeper: Keeper,
    pipe: Pipe,
    said: Mutex<(Vec<String>, usize)>,
}

impl Kept {
    fn start(catalog: &Catalog, service: &Service) -> Kept {
        let pipe = Pipe::new().unwrap();
        let keeper = Keeper::start(catalog, service, pipe.writer()).map_err(|e| e.into_text()).unwrap();
        Kept { keeper, pipe, said: Mutex::default() }
    }
    fn fetch(&self) {
        self.pipe.drain();
        let words = self.keeper.news().into_iter().map(|w| match w {
            Word::Registered => "registered".to_string(),
            Word::Left(_) => "left".to_string(),
            Word::Failed(why) => format!("failed: {why}"),
            Word::Recovered => "recovered".to_string(),
        });
        self.said.lock().unwrap().0.extend(words);
    }
    /// The next word that was not waited for yet; it must begin so.
    #[track_caller]
    fn expect(&self, word: &str) -> String {
        self.expect_in(word, LONG, false)
    }
    /// The same, while the service keeps being well.
    #[track_caller]
    fn passing(&self, word: &str) -> String {
        self.expect_in(word, LONG, true)
    }
    #[track_caller]
    fn expect_in(&self, word: &str, deadline: Duration, passes: bool) -> String {
        let start = Instant::now();
        loop {
            self.fetch();
            let mut said = self.said.lock().unwrap();
            if let Some(next) = said.0.get(said.1).cloned() {
                said.1 += 1;
                assert!(next.starts_with(word), "wanted {word:?} next; said: {:#?}", said.0);
                return next;
            }
            assert!(start.elapsed() < deadline, "waited {deadline:?} in vain for {word:?}; said: {:#?}", said.0);
            drop(said);
            if passes {
                self.keeper.pass();
            }
            self.pipe.wait(Some(50));
        }
    }
    fn pass(&self) {
        self.keeper.pass();
    }
    /// Leaves; how long that took.
    #[track_caller]
    fn leave(&self) -> Duration {
        let begin = Instant::now();
        self.keeper.leave();
        self.expect("left");
        begin.elapsed()
    }
    #[track_caller]
    fn is_quiet(&self) {
        self.fetch();
        let said = self.said.lock().unwrap();
        assert!(said.0.len() == said.1, "nothing more was to be said: {:#?}", said.0);
    }
}

/// A watch of services, and what it says.
struct Seen {
    stop: Arc<Stop>,
    news: Receiver<String>,
}

impl Seen {
    fn start(catalog: Catalog, prefix: &str) -> Seen {
        let stop = Stop::new().map_err(|e| e.into_text()).unwrap();
        let (tell, news) = channel();
        let (ours, prefix) = (stop.clone(), prefix.to_string());
        std::thread::spawn(move || {
            services::watch(&catalog, &prefix, &ours, &|news| {
                let pairs = |(k, v): &(Arc<str>, Arc<[u8]>)| format!("{k}={}", String::from_utf8_lossy(v));
                let text = match news {
                    News::Data(s) => s.entries().iter().map(pairs).collect::<Vec<_>>().join(" "),
                    News::Trouble(why, _) => format!("trouble: {why}"),
                    News::Recovered => "recovered".to_string(),
                    News::Note(text) => format!("note: {text}"),
                };
                let _ = tell.send(text);
            });
        });
        Seen { stop, news }
    }
    /// The next news; they must be these.
    #[track_caller]
    fn expect(&self, want: &str) {
        match self.news.recv_timeout(LONG) {
            Ok(news) => assert_eq!(news, want),
            Err(_) => panic!("waited in vain for {want:?}"),
        }
    }
    #[track_caller]
    fn begins(&self, want: &str) -> String {
        let news = self.news.recv_timeout(LONG).unwrap_or_else(|_| panic!("waited in vain for {want:?}"));
        assert!(news.starts_with(want), "{news:?}, wanted {want:?}");
        news
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.stop.now();
    }
}

fn services_of(consul: &Consul) -> Value {
    consul.call("GET", "/v1/agent/services", b"").json()
}

fn check_of(consul: &Consul, id: &str) -> Value {
    consul.call("GET", "/v1/agent/checks", b"").json()[id].clone()
}

#[test]
fn a_service_is_in_consul_as_containerpilot_puts_it_there() {
    let consul = Consul::start();
    let seen = Seen::start(at(&[&consul.addr()]), "/app");
    seen.expect("");
    let mut service = app(2);
    (service.enable_tag_override, service.deregister_after) = (true, "10m".into());
    let kept = Kept::start(&at(&[&consul.addr()]), &service);
    kept.pass();
    kept.expect("registered");
    let all = services_of(&consul);
    let found = &all["app-H"];
    for (name, want) in [
        ("ID", json!("app-H")),
        ("Service", json!("app")),
        ("Tags", json!(["t1", "t2"])),
        ("Port", json!(8080)),
        ("Address", json!("10.0.0.1")),
        ("EnableTagOverride", json!(true)),
    ] {
        assert_eq!(found[name], want, "{name} of {all}");
    }
    let check = check_of(&consul, "app-H");
    for (name, want) in [
        ("CheckID", "app-H"),
        ("Name", "app-H"),
        ("ServiceID", "app-H"),
        ("ServiceName", "app"),
        ("Status", "passing"),
        ("Notes", "TTL for app set by containerpilot"),
        ("Output", "ok"),
        ("Type", "ttl"),
    ] {
        assert_eq!(check[name], want, "{name} of {check}");
    }
    seen.expect("/app/app-H=10.0.0.1:8080");
    // Passes keep it for longer than its TTL; then it is critical, and back at the next pass.
    let begin = Instant::now();
    while begin.elapsed() < secs(4) {
        kept.pass();
        std::thread::sleep(millis(300));
    }
    assert_eq!(check_of(&consul, "app-H")["Status"], "passing");
    seen.expect("");
    assert!(begin.elapsed() > millis(5500), "its TTL was over {:?} after the first of 4 s of passes", begin.elapsed());
    assert_eq!(check_of(&consul, "app-H")["Status"], "critical");
    kept.pass();
    seen.expect("/app/app-H=10.0.0.1:8080");
    kept.leave();
    seen.expect("");
    assert_eq!(services_of(&consul), json!({}));
    // Maintenance is over.
    kept.pass();
    kept.expect("registered");
    seen.expect("/app/app-H=10.0.0.1:8080");
    kept.is_quiet();
}

#[test]
fn nothing_is_sent_before_the_first_pass_and_then_a_registration_and_a_pass() {
    let fake = FakeHttp::start(|_| Answer::reply(200, &[], ""));
    let mut service = app(4);
    (service.id, service.enable_tag_override) = ("a b/c-H".into(), true);
    let kept = Kept::start(&at(&[&fake.addr()]), &service);
    // What never was there has left without a call.
    assert!(kept.leave() < secs(1));
    assert_eq!(fake.count(), 0);
    kept.pass();
    kept.expect("registered");
    kept.pass();
    wait_until(LONG, "the second pass", || (fake.count() == 3).then_some(()));
    kept.leave();
    let all = fake.requests();
    let lines: Vec<String> = all.iter().map(|r| format!("{} {}", r.method, r.path)).collect();
    let want = [
        "PUT /v1/agent/service/register",
        "PUT /v1/agent/check/pass/a%20b%2Fc-H?note=ok",
        "PUT /v1/agent/check/pass/a%20b%2Fc-H?note=ok",
        "PUT /v1/agent/service/deregister/a%20b%2Fc-H",
    ];
    assert_eq!(lines, want);
    let body: Value = serde_json::from_slice(&all[0].body).unwrap();
    let want = json!({
        "ID": "a b/c-H", "Name": "app", "Tags": ["t1", "t2"], "Port": 8080, "Address": "10.0.0.1", "EnableTagOverride": true,
        "Check": {"CheckID": "a b/c-H", "Name": "a b/c-H", "TTL": "4s", "Notes": "TTL for app set by containerpilot", "Status": "passing"},
    });
    assert_eq!(body, want);
    // A keeper that is dropped tells nothing, as the next one's calls prove.
    kept.pass();
    kept.expect("registered");
    drop(kept);
    let other = Kept::start(&at(&[&fake.addr()]), &service);
    other.pass();
    other.expect("registered");
    assert_eq!(fake.count(), 8, "{:#?}", fake.requests());
}

#[test]
fn what_is_removed_from_outside_is_back_at_the_next_pass() {
    let consul = Consul::start();
    let kept = Kept::start(&at(&[&consul.addr()]), &app(10));
    kept.pass();
    kept.expect("registered");
    for _ in 0..3 {
        consul.call("PUT", "/v1/agent/service/deregister/app-H", b"");
        kept.pass();
        kept.expect("registered");
        assert_eq!(check_of(&consul, "app-H")["Status"], "passing");
    }
    // The check alone.
    consul.call("PUT", "/v1/agent/check/deregister/app-H", b"");
    kept.pass();
    kept.expect("registered");
    // What is gone has left.
    consul.call("PUT", "/v1/agent/service/deregister/app-H", b"");
    assert!(kept.leave() < secs(2));
    kept.is_quiet();
}

#[test]
fn words_of_newer_consuls_are_understood() {
    let knows = Arc::new(AtomicBool::new(false));
    let known = knows.clone();
    let fake = FakeHttp::start(move |r| match r.path.as_str() {
        "/v1/agent/service/register" => {
            known.store(true, Ordering::SeqCst);
            Answer::reply(200, &[], "")
        }
        path if path.starts_with("/v1/agent/check/pass/") && known.load(Ordering::SeqCst) => {
            Answer::reply(200, &[], "")
        }
        path if path.starts_with("/v1/agent/check/pass/") => Answer::reply(
            404,
            &[],
            r#"Unknown check ID "app-H". Ensure that the check ID is passed, not the check name."#,
        ),
        _ => Answer::reply(
            404,
            &[],
            r#"Unknown service ID "app-H". Ensure that the service ID is passed, not the name."#,
        ),
    });
    let kept = Kept::start(&at(&[&fake.addr()]), &app(10));
    kept.pass();
    kept.expect("registered");
    knows.store(false, Ordering::SeqCst);
    kept.pass();
    kept.expect("registered");
    assert!(kept.leave() < secs(2));
    kept.is_quiet();
}

#[test]
fn a_token_that_is_wrong_at_first_is_read_anew() {
    let consul = Consul::start_with(json!({"acl": {
        "enabled": true, "default_policy": "deny", "tokens": {"master": MASTER, "agent": MASTER}}}));
    let files = TempDir::new();
    let wrong = "77777777-aaaa-4bbb-8ccc-0123456789ab";
    let path = files.write("token", wrong);
    let mut c = consul_at(&[&consul.addr()]);
    c.token = Secret::File(path);
    let kept = Kept::start(&Catalog::Consul(Box::new(c)), &app(4));
    let why = kept.passing("failed");
    let begin = format!("failed: cannot register app-H in Consul at http://{}: 403 ", consul.addr());
    assert!(why.starts_with(&begin), "{why}");
    assert!(why.ends_with("(is the token right, and may it write this service?)") && !why.contains(wrong), "{why}");
    files.write("token", MASTER);
    kept.passing("recovered");
    kept.passing("registered");
    // It is removed by somebody, where Consul has other words for that.
    consul.call("PUT", "/v1/agent/service/deregister/app-H", b"");
    kept.passing("registered");
    // A token that goes bad is an outage again, and what cannot be taken out is given up.
    files.write("token", wrong);
    let why = kept.passing("failed");
    assert!(why.starts_with("failed: cannot tell Consul at ") && why.contains("that app-H is well: 403"), "{why}");
    assert!(kept.leave() < secs(5));
    files.write("token", MASTER);
    kept.passing("recovered");
    kept.passing("registered");
    consul.call("PUT", "/v1/agent/service/deregister/app-H", b"");
    assert!(kept.leave() < secs(2), "with ACLs, too, what is gone has left");
}

#[test]
fn an_agent_that_died_and_is_back_without_its_data_is_told_again() {
    let mut consul = Consul::start();
    let kept = Kept::start(&at(&[&consul.addr()]), &app(3));
    kept.pass();
    kept.expect("registered");
    consul.kill9();
    let why = kept.passing("failed");
    assert!(why.contains(&consul.addr()), "{why}");
    // The outage is longer than the TTL, and told once.
    let begin = Instant::now();
    while begin.elapsed() < millis(3500) {
        kept.pass();
        std::thread::sleep(millis(100));
    }
    kept.is_quiet();
    consul.restart_wiped();
    kept.passing("recovered");
    kept.passing("registered");
    assert_eq!(check_of(&consul, "app-H")["Status"], "passing");
    // A dead agent does not hold up a leave for long.
    consul.kill9();
    let begin = Instant::now();
    kept.keeper.leave();
    kept.expect("failed: cannot deregister app-H from Consul at ");
    kept.expect("left");
    assert!(begin.elapsed() > millis(1500) && begin.elapsed() < secs(6), "{:?}", begin.elapsed());
}

#[test]
fn one_beat_that_is_held_up_makes_nothing_critical() {
    let consul = Consul::start();
    let (behind, hold) = (consul.addr(), Arc::new(AtomicBool::new(false)));
    let held = hold.clone();
    let front = FakeHttp::start(move |r| {
        if held.swap(false, Ordering::SeqCst) {
            return Answer::Hang(Vec::new());
        }
        let reply = http(&r.method, &behind, &r.path, &[], &r.body).unwrap();
        Answer::reply(reply.status, &[], reply.body)
    });
    let seen = Seen::start(at(&[&consul.addr()]), "/app");
    seen.expect("");
    let kept = Kept::start(&at(&[&front.addr()]), &app(4));
    kept.pass();
    kept.expect("registered");
    seen.expect("/app/app-H=10.0.0.1:8080");
    for _ in 0..3 {
        // Only one pass is asked for, in the last third before the TTL were over: it is tried again by itself.
        let before = front.count();
        hold.store(true, Ordering::SeqCst);
        std::thread::sleep(millis(1500));
        kept.pass();
        wait_until(secs(3), "a second try", || (front.count() > before + 1).then_some(()));
        kept.expect("failed: cannot tell Consul at ");
        kept.expect("recovered");
    }
    kept.leave();
    // Between being there and having left there was nothing else.
    seen.expect("");
    kept.is_quiet();
}

/// A Consul without a quorum: it takes seven seconds for each change.
fn slow(paths: &'static [&'static str]) -> FakeHttp {
    FakeHttp::start(move |r| {
        let is_slow = paths.iter().any(|p| r.path.starts_with(p));
        let answer = Answer::reply(200, &[], "");
        if is_slow { answer.after(secs(7)) } else { answer }
    })
}

#[test]
fn seven_seconds_for_a_call_are_waited_for_but_not_more_than_eight() {
    let leaving = slow(&["/v1/agent/service/deregister/"]);
    let all = slow(&["/v1/agent/service/"]);
    let kept = Kept::start(&at(&[&leaving.addr()]), &app(4));
    kept.pass();
    kept.expect("registered");
    let other = Kept::start(&at(&[&all.addr()]), &app(4));
    other.pass();
    wait_until(LONG, "the registration", || (all.count() == 1).then_some(()));
    other.keeper.leave();
    let took = kept.leave();
    assert!(took >= secs(7) && took < millis(8500), "{took:?}");
    // It registered when it was to leave: that was awaited, and then it was taken out, if not heard of.
    other.expect("failed: cannot deregister app-H from Consul at ");
    other.expect("left");
    let requests = all.requests();
    let paths: Vec<&str> = requests.iter().map(|r| r.path.as_str()).collect();
    assert_eq!(paths, ["/v1/agent/service/register", "/v1/agent/service/deregister/app-H"]);
    let gap = requests[1].at - requests[0].at;
    assert!(gap >= millis(6900), "{gap:?} after the registration began");
    assert!(requests[0].at.elapsed() < secs(9), "{:?}", requests[0].at.elapsed());
    kept.is_quiet();
    other.is_quiet();
}

#[test]
fn a_leave_cuts_off_a_pass_on_its_way() {
    let fake = FakeHttp::start(|r| {
        let is_pass = r.path.contains("/check/pass/") && r.number > 2;
        if is_pass { Answer::Hang(Vec::new()) } else { Answer::reply(200, &[], "") }
    });
    let kept = Kept::start(&at(&[&fake.addr()]), &app(30));
    kept.pass();
    kept.expect("registered");
    kept.pass();
    wait_until(LONG, "the pass", || (fake.count() == 3).then_some(()));
    assert!(kept.leave() < secs(1));
    assert_eq!(fake.requests()[3].path, "/v1/agent/service/deregister/app-H");
    // Also while it rests before another try.
    kept.pass();
    kept.expect_in("failed", secs(20), false);
    let begin = Instant::now();
    kept.keeper.leave();
    kept.expect("recovered");
    kept.expect("left");
    assert!(begin.elapsed() < secs(1), "{:?}", begin.elapsed());
    kept.is_quiet();
}

#[test]
fn a_keeper_that_is_dropped_ends_at_once_whatever_it_does() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let accept = || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    };
    let request = |mut stream: &std::net::TcpStream, path: &str| {
        let (mut seen, mut some) = (String::new(), [0; 4096]);
        while !seen.contains(path) {
            let len = stream.read(&mut some).unwrap();
            assert!(len > 0, "the connection ended before {path}; so far: {seen}");
            seen.push_str(&String::from_utf8_lossy(&some[..len]));
        }
    };
    let answer = |mut stream: &std::net::TcpStream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    };
    // While it registers, while it says that all is well, while it leaves.
    for answered in 0..3 {
        let kept = Kept::start(&at(&[&address]), &app(30));
        kept.pass();
        let mut last = accept();
        request(&last, "PUT /v1/agent/service/register ");
        if answered > 0 {
            answer(&last);
            request(&last, "PUT /v1/agent/check/pass/app-H?");
        }
        if answered > 1 {
            answer(&last);
            kept.expect("registered");
            kept.keeper.leave();
            last = accept();
            request(&last, "PUT /v1/agent/service/deregister/app-H ");
        }
        let begin = Instant::now();
        drop(kept);
        let mut rest = Vec::new();
        last.read_to_end(&mut rest).unwrap();
        assert!(begin.elapsed() < secs(1), "after {answered} answers: {:?}", begin.elapsed());
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(!rest.contains("PUT "), "it goes on with {rest}");
    }
}

#[test]
fn of_many_wishes_the_last_one_counts() {
    let consul = Consul::start();
    let kept = Kept::start(&at(&[&consul.addr()]), &app(60));
    let mut seed = 0x2545_f491_u64;
    for round in 0..40 {
        for _ in 0..round % 7 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if seed >> 40 & 1 == 0 {
                kept.keeper.leave()
            } else {
                kept.pass()
            }
            std::thread::sleep(Duration::from_micros(seed >> 50));
        }
        // What was said on the way is not looked at: wishes may have been taken back before they were seen.
        if round % 2 == 0 {
            kept.pass();
            let is_there = || (check_of(&consul, "app-H")["Status"] == "passing").then_some(());
            wait_until(LONG, "a service that is passing", is_there);
        } else {
            kept.keeper.leave();
            wait_until(LONG, "an empty catalog", || (services_of(&consul) == json!({})).then_some(()));
        }
    }
    kept.fetch();
    let said = std::mem::take(&mut *kept.said.lock().unwrap()).0;
    assert!(said.iter().all(|w| w == "registered" || w == "left"), "{said:?}");
}

#[test]
fn another_agent_is_told_when_the_first_one_dies_and_both_are_left() {
    let mut cluster = Consul::cluster(3);
    let follower = cluster.follower();
    let other = (0..3).find(|i| *i != follower).unwrap();
    let addresses = [cluster.nodes[follower].addr(), cluster.nodes[other].addr()];
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let kept = Kept::start(&at(&addresses), &app(30));
    kept.pass();
    kept.expect("registered");
    assert_eq!(services_of(&cluster.nodes[other]), json!({}), "one agent is enough");
    cluster.nodes[follower].kill9();
    kept.passing("registered");
    assert_eq!(check_of(&cluster.nodes[other], "app-H")["Status"], "passing");
    // The first one is back with what it knew, and forgets it, too.
    cluster.nodes[follower].restart();
    wait_until(LONG, "the service in the agent's data", || {
        (services_of(&cluster.nodes[follower]) != json!({})).then_some(())
    });
    kept.leave();
    for i in [follower, other] {
        assert_eq!(services_of(&cluster.nodes[i]), json!({}));
    }
    kept.is_quiet();
}

#[test]
fn who_is_well_counts_and_only_that() {
    let consul = Consul::start();
    let (all, tagged) = (Seen::start(at(&[&consul.addr()]), "/web"), Seen::start(at(&[&consul.addr()]), "/web?blue"));
    all.expect("");
    tagged.expect("");
    let register = |id: &str, address: &str, tags: &[&str]| {
        let body = json!({"ID": id, "Name": "web", "Address": address, "Port": 80, "Tags": tags,
            "Check": {"CheckID": id, "TTL": "600s", "Status": "passing"}});
        consul.call("PUT", "/v1/agent/service/register", body.to_string().as_bytes());
    };
    let turn = |to: &str, id: &str| {
        consul.call("PUT", &format!("/v1/agent/check/{to}/{id}"), b"");
    };
    // Answers are at least 100 ms apart; this one is the first for longer.
    std::thread::sleep(millis(150));
    let begin = Instant::now();
    register("w1", "10.0.0.1", &["green"]);
    all.expect("/web/w1=10.0.0.1:80");
    eprintln!("registered -> news: {:?}", begin.elapsed());
    assert!(begin.elapsed() < secs(1), "{:?}", begin.elapsed());
    register("w2", "fd00::2", &["blue", "green"]);
    all.expect("/web/w1=10.0.0.1:80 /web/w2=[fd00::2]:80");
    tagged.expect("/web/w2=[fd00::2]:80");
    // Another tag is no news ...
    register("w1", "10.0.0.1", &["red"]);
    // ... as those of a warning prove, which is not passing.
    turn("warn", "w2");
    all.expect("/web/w1=10.0.0.1:80");
    tagged.expect("");
    turn("pass", "w2");
    all.expect("/web/w1=10.0.0.1:80 /web/w2=[fd00::2]:80");
    tagged.expect("/web/w2=[fd00::2]:80");
    turn("fail", "w1");
    all.expect("/web/w2=[fd00::2]:80");
    // One that says nothing of its address is where its node is.
    register("w3", "", &["blue"]);
    let here = format!("/web/w2=[fd00::2]:80 /web/w3={}:80", consul.ip());
    all.expect(&here);
    tagged.expect(&here);
    consul.call("PUT", "/v1/agent/service/deregister/w3", b"");
    all.expect("/web/w2=[fd00::2]:80");
    tagged.expect("/web/w2=[fd00::2]:80");
}

#[test]
fn a_query_that_fails_is_no_change() {
    let mut consul = Consul::start();
    let body = json!({"ID": "w1", "Name": "web", "Address": "10.0.0.1", "Port": 80});
    consul.call("PUT", "/v1/agent/service/register", body.to_string().as_bytes());
    let seen = Seen::start(at(&[&consul.addr()]), "/web");
    seen.expect("/web/w1=10.0.0.1:80");
    consul.kill9();
    seen.begins("trouble: cannot read /web from Consul at ");
    consul.start_again();
    loop {
        let news = seen.begins("");
        if news == "recovered" {
            break;
        }
        // Without a leader it fails, too; what it answers is what it knew.
        assert!(news.starts_with("trouble: "), "{news}");
    }
}

/// Where etcd's catalog has the service.
const KEY: &str = "/containerpilot/app/app-H/service";

fn in_etcd3(etcd: &Etcd) -> Value {
    etcd.call("kv/range", json!({"key": base64(KEY.as_bytes())}))["kvs"][0].clone()
}

#[test]
fn etcd_3_has_a_key_with_a_lease() {
    for program in ["etcd", "etcd35"] {
        let etcd = Etcd::start_as(program, &[]);
        let catalog = etcd_at(&etcd.addr(), 3);
        let seen = Seen::start(catalog.clone(), "/app?tags-do-not-count");
        seen.expect("");
        let kept = Kept::start(&catalog, &app(3));
        // Answers are at least 100 ms apart; this one is the first for longer.
        std::thread::sleep(millis(150));
        let begin = Instant::now();
        kept.pass();
        seen.expect("/app/app-H=10.0.0.1:8080");
        eprintln!("{program}: pass -> news {:?}", begin.elapsed());
        assert!(begin.elapsed() < secs(1), "{:?}", begin.elapsed());
        kept.expect("registered");
        let kv = in_etcd3(&etcd);
        let want = r#"{"id":"app-H","name":"app","address":"10.0.0.1","port":8080}"#;
        assert_eq!(kv["value"], base64(want.as_bytes()));
        // It is kept beyond its TTL.
        let begin = Instant::now();
        while begin.elapsed() < secs(5) {
            kept.pass();
            std::thread::sleep(millis(300));
        }
        kept.is_quiet();
        assert_eq!(in_etcd3(&etcd)["mod_revision"], kv["mod_revision"], "a pass changes no key");
        // Its lease is taken away, then its key alone.
        etcd.call("kv/lease/revoke", json!({"ID": kv["lease"]}));
        seen.expect("");
        kept.pass();
        kept.expect("registered");
        seen.expect("/app/app-H=10.0.0.1:8080");
        etcd.delete(KEY);
        seen.expect("");
        kept.pass();
        kept.expect("registered");
        seen.expect("/app/app-H=10.0.0.1:8080");
        // Without passes it goes by itself.
        seen.expect("");
        kept.pass();
        kept.expect("registered");
        seen.expect("/app/app-H=10.0.0.1:8080");
        // Others', broken ones and what is none.
        etcd.put("/containerpilot/app/plain", want);
        etcd.put("/containerpilot/application/x/service", want);
        etcd.put("/containerpilot/app/other/service", r#"{"id":"other","address":"fd00::1","port":1}"#);
        seen.expect("/app/app-H=10.0.0.1:8080 /app/other=[fd00::1]:1");
        etcd.put("/containerpilot/app/other/service", "{");
        seen.begins("note: the key /containerpilot/app/other/service of etcd is no instance");
        seen.expect("/app/app-H=10.0.0.1:8080");
        let lease = in_etcd3(&etcd)["lease"].clone();
        assert!(kept.leave() < secs(2));
        seen.expect("");
        assert_eq!(in_etcd3(&etcd), Value::Null);
        let left = etcd.call("lease/timetolive", json!({"ID": lease}));
        assert_eq!(left["TTL"], "-1", "the lease is revoked: {left}");
    }
}

#[test]
fn etcd_2_has_a_folder_with_a_time_to_live() {
    for program in ["etcd", "etcd35"] {
        let etcd = Etcd::start_as(program, &[]);
        let catalog = etcd_at(&etcd.addr(), 2);
        let seen = Seen::start(catalog.clone(), "/app");
        seen.expect("");
        let kept = Kept::start(&catalog, &app(3));
        kept.pass();
        seen.expect("/app/app-H=10.0.0.1:8080");
        kept.expect("registered");
        let folder = etcd.v2("GET", "/keys/containerpilot/app/app-H", "").json()["node"].clone();
        // etcd 3.5 cannot prolong the life of a folder: there the key has it.
        let mortal = if program == "etcd" { &folder } else { &folder["nodes"][0] };
        assert!(folder["dir"] == true && (1..=3).contains(&mortal["ttl"].as_i64().unwrap()), "{folder}");
        let want = r#"{"id":"app-H","name":"app","address":"10.0.0.1","port":8080}"#;
        assert_eq!(folder["nodes"][0]["value"], want);
        let begin = Instant::now();
        while begin.elapsed() < secs(5) {
            kept.pass();
            std::thread::sleep(millis(300));
        }
        kept.is_quiet();
        // It is removed, or it ends by itself: back at the next pass.
        etcd.v2("DELETE", "/keys/containerpilot/app/app-H?recursive=true", "");
        seen.expect("");
        kept.pass();
        kept.expect("registered");
        seen.expect("/app/app-H=10.0.0.1:8080");
        seen.expect("");
        kept.pass();
        kept.expect("registered");
        seen.expect("/app/app-H=10.0.0.1:8080");
        // A folder that is there already is taken over.
        let other = Kept::start(&catalog, &app(30));
        other.pass();
        other.expect("registered");
        drop(kept);
        etcd.put2("/containerpilot/app/plain", want);
        etcd.put2("/containerpilot/app/o/service", r#"{"address":"10.0.0.2","port":1}"#);
        seen.expect("/app/app-H=10.0.0.1:8080 /app/o=10.0.0.2:1");
        assert!(other.leave() < secs(2));
        seen.expect("/app/o=10.0.0.2:1");
        assert!(other.leave() < secs(2));
    }
}

#[test]
fn etcd_of_three_is_told_by_whoever_answers_with_a_password() {
    for version in [2, 3] {
        let mut nodes = Etcd::cluster(3);
        if version == 3 {
            nodes[0].enable_auth("hush-4711", &[]);
        }
        let endpoints = nodes.iter().map(|n| format!("http://{}", n.addr())).collect();
        let basic = Some(("root".to_string(), Secret::Text(Hidden::new("rootpw".into()))));
        let basic = basic.filter(|_| version == 3);
        let e = plan::Etcd { endpoints, version, basic, wait: 60_000, ..plan::Etcd::default() };
        let kept = Kept::start(&Catalog::Etcd(Box::new(e), "/containerpilot".into()), &app(10));
        kept.pass();
        kept.expect("registered");
        nodes[0].kill9();
        // The next member is asked at once. That there was an election may be told.
        let begin = Instant::now();
        while begin.elapsed() < secs(12) {
            kept.pass();
            std::thread::sleep(millis(200));
        }
        kept.fetch();
        let said = std::mem::take(&mut *kept.said.lock().unwrap()).0;
        assert!(said.iter().all(|w| !w.contains("rootpw")), "{said:?}");
        assert_eq!(said.iter().filter(|w| *w == "registered").count(), 1, "it was never lost: {said:?}");
        assert!(kept.leave() < secs(3));
    }
}

#[test]
fn consul_with_tls_and_acls() {
    let dir = TempDir::new();
    let run = |args: &[&str]| {
        let proc = Cmd::new(server_bin("consul")).arg("tls").args(args).cwd(dir.path()).run(secs(20));
        proc.expect_exit(Exit::Code(0), secs(1));
    };
    run(&["ca", "create"]);
    run(&["cert", "create", "-client"]);
    let cluster = Consul::cluster_with(1, &|ip| {
        run(&["cert", "create", "-server", "-additional-ipaddress", ip]);
        json!({
            "ports": {"https": 8501}, "verify_incoming": true, "verify_outgoing": true,
            "ca_file": dir.join("consul-agent-ca.pem"), "cert_file": dir.join("dc1-server-consul-0.pem"),
            "key_file": dir.join("dc1-server-consul-0-key.pem"),
            "acl": {"enabled": true, "default_policy": "deny", "tokens": {"master": MASTER, "agent": MASTER}},
        })
    });
    let consul = &cluster.nodes[0];
    let policy = json!({"Name": "app", "Rules": "service \"app\" { policy = \"write\" } node_prefix \"\" { policy = \"read\" }"});
    consul.call("PUT", "/v1/acl/policy", policy.to_string().as_bytes());
    let token = "33333333-aaaa-4bbb-8ccc-0123456789ab";
    let body = json!({"SecretID": token, "Policies": [{"Name": "app"}]});
    consul.call("PUT", "/v1/acl/token", body.to_string().as_bytes());
    let pem = |name: &str| Pem::File(dir.join(name));
    let c = plan::Consul {
        addresses: vec![format!("https://{}:8501", consul.ip())],
        tls: Tls {
            ca: vec![pem("consul-agent-ca.pem")],
            identity: Some((pem("dc1-client-consul-0.pem"), pem("dc1-client-consul-0-key.pem"))),
            ..Tls::default()
        },
        token: Secret::Text(Hidden::new(token.into())),
        wait: 60_000,
        ..plan::Consul::default()
    };
    let catalog = Catalog::Consul(Box::new(c));
    let seen = Seen::start(catalog.clone(), "/app");
    seen.expect("");
    let kept = Kept::start(&catalog, &app(4));
    kept.pass();
    kept.expect("registered");
    seen.expect("/app/app-H=10.0.0.1:8080");
    // Another service is not this token's.
    let mut other = app(4);
    other.name = "other".into();
    other.id = "other-H".into();
    let other = Kept::start(&catalog, &other);
    other.pass();
    let why = other.expect("failed: cannot register other-H in Consul at https://");
    assert!(why.contains(": 403 ") && !why.contains(token), "{why}");
    assert!(other.leave() < secs(1), "it was refused, so there is nothing to take out");
    assert!(kept.leave() < secs(2));
    seen.expect("");
    kept.is_quiet();
}
