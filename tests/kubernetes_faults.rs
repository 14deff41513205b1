//! What an API server of Kubernetes, and whatever stands where it should be, can do wrong and the real one cannot be made
//! to do: a server that answers as the test says, byte by byte.
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
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use util::*;

/// Watches the ConfigMap `web` of this server and writes the value of its key `v` to `f`.
fn watching(fake: &FakeHttp) -> Setup {
    objects(fake, "configmap/web", "{{ getv \"/v\" }}")
}

fn objects(fake: &FakeHttp, what: &str, template: &str) -> Setup {
    let config = json!({"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{}/clusters/c-1", fake.addr())}}],
        "users": [{"name": "u", "user": {"token": "t0ken-of-a-test"}}]});
    let setup = Setup::new(&format!("k8s://shop/{what}"));
    let path = setup.path("kubeconfig");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, config.to_string()).unwrap();
    setup.source(&format!("kubeconfig = '{}'", path.display())).file("f", &["/"], template)
}

fn object(version: u64, value: &str) -> Value {
    json!({"metadata": {"name": "web", "resourceVersion": version.to_string(), "uid": "1",
        "managedFields": [{"fieldsV1": {"f:data": {".": {}, "f:v": {}}}}]}, "data": {"v": value}})
}

fn list(version: u64, items: &[Value]) -> Answer {
    let body = json!({"kind": "ConfigMapList", "metadata": {"resourceVersion": version.to_string()}, "items": items});
    Answer::reply(200, &["Content-Type: application/json"], body.to_string())
}

fn status(code: u16, message: &str) -> Answer {
    let body = json!({"kind": "Status", "status": "Failure", "message": message, "code": code});
    Answer::reply(code, &[], body.to_string())
}

fn line(kind: &str, object: &Value) -> String {
    json!({"type": kind, "object": object}).to_string() + "\n"
}

/// The head of a stream and these lines.
fn stream(lines: &[String]) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for line in lines {
        bytes.extend_from_slice(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes());
    }
    bytes
}

/// The same with a clean end, after a pause in which the stream has proved that it works.
fn ending(lines: &[String]) -> Answer {
    let mut bytes = stream(lines);
    bytes.extend_from_slice(b"0\r\n\r\n");
    Answer::Bytes(bytes)
}

fn is_watch(r: &Request) -> bool {
    r.query("watch").is_some()
}

/// The versions that were asked for by watches, in order.
fn watched(fake: &FakeHttp) -> Vec<String> {
    fake.requests().iter().filter_map(|r| r.query("resourceVersion").map(str::to_string)).collect()
}

fn lists(fake: &FakeHttp) -> usize {
    fake.requests().iter().filter(|r| !is_watch(r)).count()
}

/// What stands in each request, and where a stream that ended goes on: behind the last event or bookmark.
#[test]
fn a_stream_goes_on_behind_the_last_bookmark() {
    let fake = FakeHttp::start(|r| match r.query("resourceVersion") {
        None => list(5, &[object(4, "one")]),
        Some("5") => ending(&[line("MODIFIED", &object(7, "two"))]).after(millis(1100)),
        Some("7") => {
            let mark = json!({"kind": "ConfigMap", "metadata": {"resourceVersion": "90"}});
            ending(&[line("BOOKMARK", &mark)]).after(millis(1100))
        }
        _ => Answer::Hang(stream(&[line("MODIFIED", &object(91, "three"))])),
    });
    let fish = watching(&fake).spawn();
    fish.wait("f", "three");
    assert_eq!(watched(&fake), ["5", "7", "90"]);
    assert_eq!(lists(&fake), 1);
    fish.check(fish.outages() == (0, 0), "a stream that ends is no outage");
    for r in fake.requests() {
        let path = "/clusters/c-1/api/v1/namespaces/shop/configmaps?fieldSelector=metadata.name%3Dweb&";
        assert!(r.path.starts_with(path), "{}", r.path);
        assert_eq!(r.header("authorization"), Some("Bearer t0ken-of-a-test"));
        if is_watch(&r) {
            let seconds: u64 = r.query("timeoutSeconds").unwrap().parse().unwrap();
            assert!((56..=60).contains(&seconds) && r.query("allowWatchBookmarks") == Some("true"), "{}", r.path);
        }
    }
    fish.end();
}

/// 410 as an event of a stream, as a status, and the 504 of a server that is behind: listed again, with no empty moment and
/// no news where there are none.
#[test]
fn a_lost_place_is_listed_again() {
    let expired =
        json!({"kind": "Status", "reason": "Expired", "code": 410, "message": "too old resource version: 5 (9)"});
    for n in 0..4 {
        let expired = expired.clone();
        let step = AtomicUsize::new(0);
        let fake = FakeHttp::start(move |r| match (r.query("resourceVersion"), step.fetch_add(1, Ordering::SeqCst)) {
            (None, 0) => list(5, &[object(4, "one")]),
            (None, _) => list(9, &[object(4, "one")]),
            (Some("5"), _) => match n {
                0 => ending(&[line("ERROR", &expired)]),
                1 => status(410, "too old resource version: 5 (9)"),
                2 => status(504, "Too large resource version: 5, current: 3"),
                _ => ending(&[line("ERROR", &json!({"kind": "Status", "code": 500, "message": "etcd event lost"}))]),
            },
            _ => Answer::Hang(stream(&[line("MODIFIED", &object(10, "two"))])),
        });
        let fish = watching(&fake).spawn();
        fish.wait("f", "two");
        assert_eq!(watched(&fake), ["5", "9"], "{n}");
        fish.check(fish.outages() == (0, 0), "no outage");
        fish.expect_renders("f", 2, "the second list is no news");
        fish.end();
    }
}

/// A server that loses its place each time is not asked in a frenzy.
#[test]
fn who_loses_its_place_each_time_is_asked_ever_more_slowly() {
    let fake = FakeHttp::start(|r| match is_watch(r) {
        false => list(5, &[object(4, "one")]),
        true => status(410, "gone"),
    });
    let fish = watching(&fake).spawn();
    fish.wait("f", "one");
    let line = fish.wait_outage(1);
    fish.check(line.text.contains("410 gone"), "what is wrong");
    let start = Instant::now();
    let before = fake.count();
    fish.proc.wait_nth_line(6, "410 gone", LONG);
    let (asked, took) = (fake.count() - before, start.elapsed());
    fish.check(asked <= 24 && took > millis(700), &format!("{asked} requests in {took:?}"));
    fish.end();
}

/// Pages, one of which comes too late: begun anew.
#[test]
fn pages_are_read_whole_or_again() {
    let step = AtomicUsize::new(0);
    let named =
        |i: u64| json!({"metadata": {"name": format!("m{i}"), "resourceVersion": "4"}, "data": {"v": i.to_string()}});
    let fake = FakeHttp::start(move |r| {
        let page = |next: &str, i: u64| {
            let meta = json!({"resourceVersion": "5", "continue": next});
            Answer::reply(200, &[], json!({"metadata": meta, "items": [named(i), named(i + 1)]}).to_string())
        };
        match (is_watch(r), r.query("continue"), step.fetch_add(1, Ordering::SeqCst)) {
            (true, ..) => Answer::Hang(stream(&[])),
            (_, None, _) => page("a%2B", 0),
            (_, Some("a%2B"), _) => page("b/", 2),
            (_, Some("a%252B"), 1) => status(410, "The provided continue parameter is too old"),
            (_, Some("a%252B"), _) => page("b/", 2),
            (_, Some("b%2F"), _) => page("", 4),
            other => panic!("{other:?}"),
        }
    });
    let all = "{{ range gets \"/*/*\" }}{{ .Key }}={{ .Value }};{{ end }}";
    let fish = objects(&fake, "configmap?selector=app=web", all).spawn();
    fish.wait("f", "/m0/v=0;/m1/v=1;/m2/v=2;/m3/v=3;/m4/v=4;/m5/v=5;");
    fish.check(fish.outages() == (0, 0), "no outage");
    for r in fake.requests() {
        assert!(r.path.contains("?labelSelector=app%3Dweb&"), "{}", r.path);
        assert!(is_watch(&r) || r.query("limit") == Some("50"), "{}", r.path);
    }
    fish.end();
}

/// Answers that are none of Kubernetes', and streams that hold garbage: said, tried again, and the last content stays.
#[test]
fn garbage_is_said_and_tried_again() {
    let long = format!("{{\"type\":\"MODIFIED\",\"object\":{}\n", "[".repeat(200));
    for (n, want) in [
        (0, "it is no list"),
        (1, "unexpected end of JSON input"),
        (2, "503 busy"),
        (3, "500 Internal Server Error"),
        (4, "it is no event"),
        (5, "an event has no resourceVersion"),
        (6, "exceeded max depth"),
        (7, "the connection was cut"),
        (8, "web: the value of b is no base64"),
        (9, "429 slow down"),
    ] {
        let long = long.clone();
        let (step, good) = (AtomicUsize::new(0), std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)));
        let is_good = good.clone();
        let fake = FakeHttp::start(move |r| {
            let is_first = step.fetch_add(1, Ordering::SeqCst) == 0;
            let is_good = is_good.load(Ordering::SeqCst);
            let wrong = |bytes: &str| Answer::Cut(stream(&[bytes.to_string()]));
            match (is_watch(r), n) {
                (false, _) if is_first => list(5, &[object(4, "one")]),
                (false, _) if is_good => list(9, &[object(8, "two")]),
                (true, _) if is_good => Answer::Hang(stream(&[])),
                (false, 0) => Answer::reply(200, &[], "[]"),
                (false, 1) => Answer::reply(200, &[], "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":["),
                (false, 2) => status(503, "busy"),
                (false, 3) => Answer::reply(500, &[], "Internal Server Error\n"),
                (false, 9) => status(429, "slow down"),
                (false, _) => list(6, &[object(4, "one")]),
                (true, 0..=3 | 9) => Answer::Cut(Vec::new()),
                (true, 4) => wrong("{\"type\":\"NEWS\"}\n"),
                (true, 5) => wrong("{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"web\"}}}\n"),
                (true, 6) => wrong(&long),
                (true, 7) => wrong("{\"type\":\"MODIF"),
                (true, _) => wrong(
                    "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"web\",\"resourceVersion\":\"8\"},\
                     \"binaryData\":{\"b\":\"s3cr!\"}}}\n",
                ),
            }
        });
        let fish = watching(&fake).spawn();
        fish.wait("f", "one");
        fish.wait_outage(1);
        let line = fish.proc.wait_line(want, LONG);
        fish.check(!line.text.contains("s3cr") && !line.text.contains("t0ken"), "no value and no token in a message");
        fish.holds("f", "one");
        good.store(true, Ordering::SeqCst);
        fish.wait("f", "two");
        fish.wait_recovery(1);
        fish.check(fish.outages() == (1, 1), &format!("{want}: said once, and its end"));
        fish.end();
    }
}

/// An object of another name, from a server that knows no field selectors, is nobody's.
#[test]
fn what_was_not_asked_for_is_nobodys() {
    let other = json!({"metadata": {"name": "other", "resourceVersion": "6"}, "data": {"v": "no"}});
    let gone = other.clone();
    let fake = FakeHttp::start(move |r| match is_watch(r) {
        false => list(5, &[other.clone(), object(4, "one"), other.clone()]),
        true => Answer::Hang(stream(&[
            line("DELETED", &gone),
            line("MODIFIED", &gone),
            line("MODIFIED", &object(9, "two")),
        ])),
    });
    let fish = watching(&fake).spawn();
    fish.wait("f", "two");
    fish.check(fish.count("is gone") == 0, "it was there all the time");
    fish.end();
}
