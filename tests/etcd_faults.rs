//! What etcd, and whatever stands where etcd should be, can do wrong: members killed and frozen, no majority, revisions
//! compacted, data folders emptied, tokens forgotten, streams that hold garbage or nothing. The last good file stays,
//! nothing is lost and nothing goes backwards, each outage is said once when it begins and once when it ends.

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

mod kv;
mod util;

use kv::*;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;
use util::*;

const TEMPLATE: &str = "{{ getv \"/app/v\" }}";

/// Watches /app of these endpoints and writes the value of /app/v to `f`.
fn watching(addrs: &str) -> Setup {
    Setup::new(&format!("etcd://{addrs}")).file("f", &["/app"], TEMPLATE)
}

fn watching2(addrs: &str) -> Setup {
    Setup::new(&format!("etcd2://{addrs}")).file("f", &["/app"], TEMPLATE)
}

fn addrs(nodes: &[Etcd]) -> String {
    nodes.iter().map(Etcd::addr).collect::<Vec<_>>().join(",")
}

/// The outages said so far are `n` beginnings and `n` ends, one after the other.
#[track_caller]
fn each_outage_is_said_twice(fish: &Fish, n: usize) {
    if n > 0 {
        fish.wait_recovery(n); // a file may be seen before the line that was written ahead of it is read
    }
    fish.check(fish.outages() == (n, n), &format!("{:?} beginnings and ends were said, not {n}", fish.outages()));
}

/// 1000 puts by several writers while members are killed one after the other: each key ends with its last value, and a
/// counter in the file never goes backwards.
#[test]
fn of_1000_puts_while_members_are_killed_none_is_lost_and_none_comes_twice() {
    for program in ["etcd", "etcd35"] {
        let mut nodes = Etcd::cluster_as(program, 3, &[]);
        etcd_put(&nodes, "/app/n", "0");
        let all = "{{ range gets \"/app/k*\" }}{{ .Key }}={{ .Value }}\n{{ end }}";
        let fish = Setup::new(&format!("etcd://{}", addrs(&nodes)))
            .file("n", &["/app"], "{{ getv \"/app/n\" }}")
            .file("all", &["/app"], all)
            .app("n")
            .spawn();
        fish.proc.wait_line("config: 0 pid=", LONG);
        let done = AtomicBool::new(false);
        let mut expected = std::collections::BTreeMap::new();
        let seen = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let (mut last, mut seen) = (0u64, 0);
                while !done.load(Ordering::SeqCst) {
                    if let Some(n) = fish.text("n").and_then(|t| t.parse::<u64>().ok()) {
                        assert!(n >= last, "the counter went back from {last} to {n}");
                        seen += usize::from(n != last);
                        last = n;
                    }
                    std::thread::sleep(millis(1));
                }
                seen
            });
            for n in 1..=1000u64 {
                etcd_put(&nodes, "/app/n", &n.to_string());
                let key = format!("/app/k{:02}", n % 40);
                etcd_put(&nodes, &key, &n.to_string());
                expected.insert(key, n);
                // The one it talks to first, then the next; each comes back before another goes.
                match n {
                    200 => nodes[0].kill9(),
                    400 => nodes[0].restart(),
                    600 => nodes[1].kill9(),
                    800 => nodes[1].restart(),
                    900 => nodes[2].kill9(),
                    _ => {}
                }
            }
            let text: String = expected.iter().map(|(k, v)| format!("{k}={v}\n")).collect();
            fish.wait("all", text);
            fish.wait("n", "1000");
            done.store(true, Ordering::SeqCst);
            reader.join().unwrap()
        });
        fish.proc.wait_line("config: 1000 pid=", LONG);
        let outages = fish.outages();
        eprintln!("{program}: {seen} states of the file, {} reloads, outages {outages:?}", fish.reloads());
        let shown: Vec<u64> = fish
            .proc
            .lines_matching("config: ")
            .iter()
            .filter_map(|l| l.text.split("config: ").nth(1)?.split(' ').next()?.parse().ok())
            .collect();
        // A reload may come of another key alone: the same number again is right, a lower one is not.
        fish.check(shown.windows(2).all(|w| w[0] <= w[1]), &format!("the app saw {shown:?}"));
        // Until the rest has elected, no member can answer: each kill is one outage at most.
        fish.check(outages.0 == outages.1 && outages.0 <= 3, "the loss of a leader is at most one outage");
        fish.end();
    }
}

/// Frozen while its member dies, more is written and the past is compacted: it wakes up with a revision that is gone.
#[test]
fn what_was_compacted_in_the_gap_is_read_anew() {
    for program in ["etcd", "etcd35"] {
        let mut nodes = Etcd::cluster_as(program, 3, &[]);
        etcd_put(&nodes, "/app/v", "v1");
        etcd_put(&nodes, "/app/gone", "x");
        let fish = Setup::new(&format!("etcd://{}", addrs(&nodes)))
            .file("f", &["/app"], "{{ range gets \"/app/*\" }}{{ .Key }}={{ .Value }} {{ end }}")
            .spawn();
        fish.wait("f", "/app/gone=x /app/v=v1 ");
        etcd_put(&nodes, "/app/v", "v2"); // by the stream: it stands
        fish.wait("f", "/app/gone=x /app/v=v2 ");
        fish.proc.signal(libc::SIGSTOP);
        nodes[0].kill9();
        for n in 0..50 {
            etcd_put(&nodes, "/app/v", &format!("w{n}"));
        }
        nodes[1].delete("/app/gone");
        nodes[1].compact();
        nodes[1].put("/app/v", "v3");
        fish.proc.signal(libc::SIGCONT);
        fish.wait("f", "/app/v=v3 ");
        nodes[1].put("/app/v", "v4");
        fish.wait("f", "/app/v=v4 ");
        fish.check(fish.outages() == (0, 0), "that is no outage");
        fish.end();
    }
}

#[test]
fn a_cluster_made_anew_is_read_from_its_beginning() {
    for (url, program) in [("etcd", "etcd"), ("etcd", "etcd35"), ("etcd2", "etcd")] {
        let mut etcd = Etcd::start_as(program, &[]);
        let put = |etcd: &Etcd, value: &str| match url {
            "etcd" => etcd.put("/app/v", value),
            _ => etcd.put2("/app/v", value),
        };
        put(&etcd, "old");
        for n in 0..30 {
            put(&etcd, &n.to_string());
        }
        let fish = Setup::new(&format!("{url}://{}", etcd.addr())).file("f", &["/app"], TEMPLATE).spawn();
        fish.wait("f", "29");
        // The same settings give the same cluster id: only the revision is lower. Empty at first: the last good file
        // stays.
        etcd.restart_wiped("same");
        fish.proc.wait_line("all keys under /app of ", LONG);
        fish.holds("f", "29");
        put(&etcd, "new");
        fish.wait("f", "new");
        put(&etcd, "newer");
        fish.wait("f", "newer");
        // Another id, and a revision that soon is higher than the one it had.
        etcd.restart_wiped("another");
        for n in 0..30 {
            put(&etcd, &format!("another{n}"));
        }
        fish.wait("f", "another29");
        put(&etcd, "last");
        fish.wait("f", "last");
        let (begun, ended) = fish.outages();
        fish.check(begun == ended && begun <= 2, "each outage is said twice");
        fish.end();
    }
}

#[test]
fn without_a_majority_the_last_good_file_stays() {
    for url in ["etcd", "etcd2"] {
        let mut nodes = Etcd::cluster(3);
        let put = |nodes: &[Etcd], value: &str| match url {
            "etcd" => etcd_put(nodes, "/app/v", value),
            _ => wait_until(LONG, "a node that takes a write", || {
                let form = ["Content-Type: application/x-www-form-urlencoded"];
                let body = format!("value={value}");
                let sent = http("PUT", &nodes[2].addr(), "/v2/keys/app/v", &form, body.as_bytes());
                sent.is_ok_and(|r| r.status < 300).then_some(())
            }),
        };
        put(&nodes, "v1");
        // One knows all members, one only the member that will be left.
        let all = Setup::new(&format!("{url}://{}", addrs(&nodes))).file("f", &["/app"], TEMPLATE).app("f").spawn();
        let one = Setup::new(&format!("{url}://{}", nodes[2].addr()))
            .file("f", &["/app"], TEMPLATE)
            .args(&["--wait", "2s"])
            .spawn();
        for fish in [&all, &one] {
            fish.wait("f", "v1");
        }
        nodes[0].kill9();
        nodes[1].kill9();
        for fish in [&all, &one] {
            let line = fish.wait_outage(1);
            eprintln!("{url}: {}", line.text);
            fish.holds("f", "v1");
        }
        one.proc.wait_nth_line(2, "; next try in ", LONG);
        nodes[0].start_again();
        put(&nodes, "v2");
        for fish in [&all, &one] {
            fish.wait("f", "v2");
            each_outage_is_said_twice(fish, 1);
        }
        nodes[1].restart();
        put(&nodes, "v3");
        for fish in [&all, &one] {
            fish.wait("f", "v3");
        }
        all.proc.wait_line("config: v3 pid=", LONG);
        all.check(all.reloads() == 2, "one reload for each change");
        for fish in [&all, &one] {
            fish.end();
        }
    }
}

/// A frozen member keeps its connections and is silent, as one is that has nothing to say.
#[test]
fn a_frozen_member_is_noticed_after_the_wait() {
    for url in ["etcd", "etcd2"] {
        let nodes = Etcd::cluster(3);
        let put = |value: &str| match url {
            "etcd" => etcd_put(&nodes[1..], "/app/v", value),
            _ => nodes[1].put2("/app/v", value),
        };
        put("v1");
        let of = |addrs: &str| {
            let setup = Setup::new(&format!("{url}://{addrs}")).args(&["--wait", "2s"]);
            setup.file("f", &["/app"], TEMPLATE).spawn()
        };
        let (all, one) = (of(&addrs(&nodes)), of(&nodes[0].addr()));
        for fish in [&all, &one] {
            fish.wait("f", "v1");
        }
        // It lives, though nothing happens for more than the wait: that is no outage.
        std::thread::sleep(secs(5));
        nodes[0].stop();
        let stopped = Instant::now();
        wait_until(LONG, "a new leader", || nodes[1].try_put("/app/x", "x").then_some(()));
        put("v2");
        let took = all.wait("f", "v2").duration_since(stopped);
        eprintln!("{url}: seen by another member after {took:?}");
        all.check(took < secs(20), &format!("another member was asked after {took:?}"));
        all.check(all.outages() == (0, 0), "as long as one answers there is no outage");
        let took = one.wait_outage(1).at.duration_since(stopped);
        one.check(took < secs(20), &format!("the outage was said after {took:?}"));
        one.holds("f", "v1");
        nodes[0].cont();
        one.wait("f", "v2");
        each_outage_is_said_twice(&one, 1);
        put("v3");
        for fish in [&all, &one] {
            fish.wait("f", "v3");
            fish.end();
        }
    }
}

#[test]
fn members_that_were_restarted_forget_tokens_and_a_new_one_is_asked_for() {
    for program in ["etcd", "etcd35"] {
        let mut etcd = Etcd::start_as(program, &["--auth-token-ttl=3"]);
        etcd.put("/app/v", "v1");
        etcd.enable_auth("pw", &[("/app", "/app0")]);
        let of = |wait: &str| {
            let setup = watching(&etcd.addr()).source("username = 'u'\npassword = 'pw'");
            setup.args(&["--wait", wait]).spawn()
        };
        let fish = of("60s");
        // Its probes keep the token alive, or find it gone and get another.
        let (often, seldom) = (of("1s"), of("5s"));
        for fish in [&fish, &often, &seldom] {
            fish.wait("f", "v1");
        }
        std::thread::sleep(secs(8));
        etcd.put("/app/v", "v2");
        for fish in [&fish, &often, &seldom] {
            fish.wait("f", "v2");
            fish.check(fish.outages() == (0, 0), "a token that ended is no outage");
        }
        etcd.restart();
        etcd.put("/app/v", "v3");
        for fish in [&fish, &often, &seldom] {
            fish.wait("f", "v3");
            let n = fish.outages().0;
            fish.check(n <= 1, "the restart is one outage at most");
            each_outage_is_said_twice(fish, n);
            fish.end();
        }
    }
}

// What real servers cannot be made to do.

fn header(revision: u64) -> serde_json::Value {
    json!({"cluster_id": "7", "member_id": "8", "revision": revision.to_string(), "raft_term": "2"})
}

fn kv(value: &str, revision: u64) -> serde_json::Value {
    json!({"key": base64(b"/app/v"), "mod_revision": revision.to_string(), "value": base64(value.as_bytes())})
}

fn range(value: &str, revision: u64) -> Answer {
    Answer::reply(200, &[], json!({"header": header(revision), "kvs": [kv(value, revision)], "count": "1"}).to_string())
}

fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut all = format!("{:x}\r\n", bytes.as_ref().len()).into_bytes();
    all.extend_from_slice(bytes.as_ref());
    all.extend_from_slice(b"\r\n");
    all
}

/// The beginning of a stream: its head and these lines.
fn stream(lines: &[String]) -> Vec<u8> {
    let mut all = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for line in lines {
        all.extend(chunk(format!("{line}\n")));
    }
    all
}

fn created(revision: u64) -> String {
    json!({"result": {"header": header(revision), "created": true}}).to_string()
}

fn event(value: &str, revision: u64) -> String {
    json!({"result": {"header": header(revision), "events": [{"kv": kv(value, revision)}]}}).to_string()
}

fn is_watch(r: &Request) -> bool {
    r.path == "/v3/watch"
}

/// The revision that a request for a watch begins with.
fn start_of(r: &Request) -> u64 {
    let v: serde_json::Value = serde_json::from_slice(&r.body).unwrap();
    v["create_request"]["start_revision"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_cut_stream_goes_on_behind_the_last_whole_event_at_the_next_endpoint() {
    // The first stream lives a while, brings revision 11, half of 12, and dies; nothing may be read anew.
    let answer = |r: &Request| {
        if !is_watch(r) {
            return range("v10", 10);
        }
        assert_eq!(r.header("grpc-metadata-hasleader"), Some("true"));
        match start_of(r) {
            11 => {
                let mut bytes = stream(&[created(10), event("v11", 11)]);
                let half = json!({"result": {"header": header(12), "fragment": true,
                    "events": [{"kv": kv("half", 12)}]}});
                bytes.extend(chunk(format!("{half}\n")));
                bytes.extend(chunk(&event("v12", 12)[..40]));
                Answer::Hang(bytes)
            }
            12 => Answer::Hang(stream(&[created(12), event("v12", 12)])),
            n => panic!("it begins with {n}"),
        }
    };
    let first = FakeHttp::start(answer);
    let second = FakeHttp::start(answer);
    let fish = watching(&format!("{},{}", first.addr(), second.addr())).spawn();
    fish.wait("f", "v11");
    std::thread::sleep(millis(1300)); // it did work for a while
    drop(first);
    fish.wait("f", "v12");
    let asked: Vec<String> = second.requests().iter().map(|r| r.path.clone()).collect();
    fish.check(asked == ["/v3/watch"], &format!("the second endpoint was asked {asked:?}"));
    fish.check(fish.outages() == (0, 0), "that is no outage");
    fish.end();
}

#[test]
fn streams_that_hold_no_events_are_refused_in_words_and_bounded_in_memory() {
    let mut all = Vec::new();
    let error = json!({"error": {"grpc_code": 14, "http_code": 503, "message": "etcdserver: no leader"}}).to_string();
    let canceled = |reason: &str| {
        json!({"result": {"header": header(10), "created": true, "canceled": true, "cancel_reason": reason}})
            .to_string()
    };
    let denied = canceled("rpc error: code = PermissionDenied desc = etcdserver: permission denied");
    let deep = "[".repeat(5000);
    let bad_value =
        json!({"result": {"header": header(11), "events": [{"kv": {"key": base64(b"/app/v"), "value": "!"}}]}});
    for (what, said) in [
        (Answer::Cut(stream(&["garbage".into()])), "the answer is none of etcd's"),
        (Answer::Cut(stream(&["{}".into()])), "the stream holds what is none of etcd's"),
        (Answer::Cut(stream(&[created(10), "{\"result\":".into()])), "the answer is none of etcd's"),
        (Answer::Cut(stream(&[created(10), deep])), "exceeded max depth"),
        (Answer::Cut(stream(&[created(10), bad_value.to_string()])), "key /app/v: its value is no base64"),
        (Answer::Cut(stream(&[created(10)])), "the connection was cut"),
        (Answer::Cut([stream(&[created(10)]), b"ffff\r\n{".to_vec()].concat()), "the connection was cut"),
        (Answer::Cut([stream(&[created(10)]), b"0\r\n\r\n".to_vec()].concat()), "the server ended the stream"),
        (Answer::Cut([stream(&[created(10)]), b"zz\r\n".to_vec()].concat()), "the answer is no HTTP"),
        (Answer::Cut(stream(std::slice::from_ref(&error))), "etcdserver: no leader"),
        (Answer::Cut(stream(&[created(10), error])), "etcdserver: no leader"),
        (Answer::Cut(stream(&[denied])), "permission denied (may the user read this prefix?)"),
        (
            Answer::reply(503, &[], r#"{"error":"x","message":"etcdserver: request timed out","code":14}"#),
            "503 etcdserver: request timed out",
        ),
        (Answer::reply(200, &[], "[1,2]"), "the server ended the stream"),
        (Answer::reply(200, &[], "[1,2]\n"), "the answer is none of etcd's"),
    ] {
        let bytes = match what {
            Answer::Bytes(b) => (b, true),
            Answer::Cut(b) => (b, false),
            _ => panic!("bytes or a cut"),
        };
        let fake = FakeHttp::start(move |r| match (is_watch(r), bytes.1) {
            (false, _) => range("v10", 10),
            (true, true) => Answer::Bytes(bytes.0.clone()),
            (true, false) => Answer::Cut(bytes.0.clone()),
        });
        let fish = watching(&fake.addr()).spawn();
        all.push((fake, fish, said));
    }
    for (_, fish, said) in &all {
        fish.wait("f", "v10");
        let line = fish.wait_outage(1);
        fish.check(line.text.contains(said), &format!("it should say {said:?}"));
    }
    std::thread::sleep(secs(3));
    for (fake, fish, said) in &all {
        let times: Vec<Instant> = fake.requests().iter().filter(|r| is_watch(r)).map(|r| r.at).collect();
        let early = times.iter().filter(|t| t.duration_since(times[0]) < secs(3)).count();
        fish.check(early <= 14, &format!("{said}: {early} requests in three seconds"));
        fish.holds("f", "v10");
        fish.end();
    }
}

#[test]
fn pages_that_are_none_are_refused_in_words_and_bounded_in_memory() {
    let head = header(10);
    let page = |rest: &str| Answer::reply(200, &[], format!("{{\"header\":{head},{rest}}}"));
    let many = "{\"a\":1},".repeat(4_000_000);
    let kvs = format!("{{\"key\":\"{}\"}},", base64(b"/app/k")).repeat(2_000_000);
    let mut all = Vec::new();
    for (answer, said) in [
        (Answer::reply(200, &[], ""), "the answer is none of etcd's"),
        (Answer::reply(200, &[], "null"), "the answer is none of etcd's"),
        (Answer::reply(200, &[], "{}"), "names no revision"),
        (Answer::reply(200, &[], b"\xff\xfe"), "it is no UTF-8"),
        (Answer::reply(200, &[], format!("{{\"header\":[{many}{{}}]}}")), "it holds too much"),
        (Answer::reply(200, &[], format!("{{\"kvs\":[{kvs}{{}}]}}")), "there are more than 1000000 keys"),
        (Answer::reply(200, &[], vec![b' '; 80 << 20]), "the answer is larger than 64 MiB"),
        (page(r#""kvs":[{"key":"!"}]"#), "a key is no base64"),
        (page(r#""more":true"#), "its pages do not go on"),
        (page(&format!("\"kvs\":[{}],\"more\":true", kv("x", 5))), "its pages do not go on"),
        (
            Answer::reply(401, &[], r#"{"code":16,"message":"etcdserver: invalid auth token"}"#),
            "401 etcdserver: invalid auth token",
        ),
        (Answer::reply(404, &[], "Not Found"), "404 Not Found (is it etcd 3.3 or later with its JSON gateway?)"),
        (Answer::reply(429, &[], "slow\ndown"), "429 slowdown"),
    ] {
        let (Answer::Bytes(bytes) | Answer::Cut(bytes)) = answer else { panic!("bytes or a cut") };
        let bytes = Arc::new(bytes);
        let fake = FakeHttp::start(move |_| Answer::Bytes(bytes.to_vec()));
        let fish = watching(&fake.addr()).spawn();
        let line = fish.wait_outage(1);
        fish.check(line.text.contains(said), &format!("it should say {said:?}"));
        let rss = rss_of(fish.proc.pid());
        eprintln!("{said}: {} MB resident", rss >> 20);
        fish.check(rss < 300 << 20, &format!("{} MB resident", rss >> 20));
        all.push((fake, fish));
    }
    for (_, fish) in &all {
        fish.check(fish.bytes("f").is_none(), "nothing is written");
        fish.end();
    }
}

#[test]
fn a_token_that_is_never_taken_is_asked_for_once_a_try() {
    let fake = FakeHttp::start(|r| match r.path.as_str() {
        "/v3/auth/authenticate" => Answer::reply(200, &[], format!("{{\"token\":\"t0ken{}\"}}", r.number)),
        _ => Answer::reply(401, &[], r#"{"error":"etcdserver: invalid auth token","code":16}"#),
    });
    let fish = watching(&fake.addr()).source("username = 'u'\npassword = 'pw'").spawn();
    let line = fish.wait_outage(1);
    fish.check(line.text.contains("401 etcdserver: invalid auth token"), "it says why");
    // The one it began with, and one more: then it is an outage.
    let before = fake.requests().iter().filter(|r| r.at <= line.at).count();
    fish.check(before <= 4, &format!("{before} requests before the outage was said"));
    fish.proc.wait_nth_line(5, "; next try in ", LONG);
    let asked = fake.requests().iter().filter(|r| r.path.ends_with("authenticate")).count();
    fish.check(asked <= 7, &format!("{asked} tokens were asked for"));
    fish.check(!fish.proc.stderr().contains("t0ken"), "a token is in the log");
    fish.end();
}

#[test]
fn the_gateway_of_3_3_is_found_and_used_without_fragments() {
    let fake = FakeHttp::start(|r| match r.path.as_str() {
        "/v3beta/kv/range" => range("v10", 10),
        "/v3beta/watch" => {
            assert!(!String::from_utf8_lossy(&r.body).contains("fragment"), "3.3 knows no fragments");
            Answer::Hang(stream(&[created(10), event("v11", 11)]))
        }
        _ => Answer::reply(404, &[], "404 page not found\n"),
    });
    let fish = watching(&fake.addr()).spawn();
    fish.wait("f", "v11");
    fish.check(fish.outages() == (0, 0), "that is no outage");
    fish.end();
}

#[test]
fn v2_answers_that_are_none_are_refused_and_waits_that_end_at_once_are_no_busy_loop() {
    let get = |value: &str| {
        let body = json!({"action": "get", "node": {"key": "/app", "dir": true, "nodes": [
            {"key": "/app/v", "value": value, "modifiedIndex": 5}]}});
        Answer::reply(200, &["X-Etcd-Index: 5"], body.to_string())
    };
    // Each wait ends at once: empty, garbage, an error, an index that is cleared, a cut.
    let mut all = Vec::new();
    for kind in 0..5 {
        let fake = FakeHttp::start(move |r| match (r.query("wait"), kind) {
            (None, _) => get("v1"),
            (_, 0) => Answer::reply(200, &["X-Etcd-Index: 5"], ""),
            (_, 1) => Answer::reply(200, &[], "garbage"),
            (_, 2) => Answer::reply(500, &[], "no"),
            (_, 3) => Answer::reply(400, &["X-Etcd-Index: 3000"], r#"{"errorCode":401,"message":"cleared"}"#),
            _ => Answer::Cut(b"HTTP/1.1 200 OK\r\n".to_vec()),
        });
        let fish = watching2(&fake.addr()).spawn();
        all.push((kind, fake, fish));
    }
    for (kind, fake, fish) in &all {
        fish.wait("f", "v1");
        let at = wait_until(LONG, "seven reads", || {
            let reads = fake.requests().into_iter().filter(|r| r.query("wait").is_none());
            Some(reads.map(|r| r.at).collect::<Vec<_>>()).filter(|r| r.len() >= 7)
        });
        let early = at.iter().filter(|t| t.duration_since(at[0]) < secs(1)).count();
        fish.check(early <= 5, &format!("kind {kind}: {early} reads in the first second"));
        fish.check(
            fake.requests().iter().all(|r| r.query("wait").is_none() || r.query("waitIndex") == Some("6")),
            "it waits behind the index",
        );
        fish.check(fish.outages() == (0, 0), "the reads went well");
        fish.end();
    }

    let many = "{\"a\":1},".repeat(4_000_000);
    let tree = |nodes: &str| {
        Answer::reply(200, &["X-Etcd-Index: 5"], format!("{{\"node\":{{\"dir\":true,\"nodes\":[{nodes}]}}}}"))
    };
    let deep = format!("{}{}", "{\"nodes\":[".repeat(3000), "]}".repeat(3000));
    let count = Arc::new(AtomicUsize::new(0));
    for (answer, said) in [
        (Answer::reply(200, &[], "{}"), "names no index"),
        (Answer::reply(200, &["X-Etcd-Index: 5"], "{}"), "the answer is no tree of keys"),
        (Answer::reply(200, &["X-Etcd-Index: 5"], "<html>"), "the answer is no tree of keys"),
        (tree(&deep), "exceeded max depth"),
        (Answer::reply(200, &["X-Etcd-Index: 5"], format!("{{\"node\":[{many}{{}}]}}")), "it holds too much"),
        (
            Answer::reply(
                500,
                &["X-Etcd-Index: 5"],
                r#"{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: request timed out"}"#,
            ),
            "Raft Internal Error",
        ),
        (Answer::reply(404, &[], "404 page not found"), "--enable-v2"),
    ] {
        let Answer::Bytes(bytes) = answer else { panic!("bytes or a cut") };
        let seen = count.clone();
        let fake = FakeHttp::start(move |_| {
            seen.fetch_add(1, Ordering::SeqCst);
            Answer::Bytes(bytes.clone())
        });
        let fish = watching2(&fake.addr()).spawn();
        let line = fish.wait_outage(1);
        fish.check(line.text.contains(said), &format!("it should say {said:?}"));
        let rss = rss_of(fish.proc.pid());
        fish.check(rss < 300 << 20, &format!("{} MB resident", rss >> 20));
        fish.check(fish.bytes("f").is_none(), "nothing is written");
        fish.end();
    }
}
