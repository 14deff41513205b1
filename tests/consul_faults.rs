//! What Consul, and whatever stands where Consul should be, can do wrong: gone, killed, frozen, emptied, restored,
//! without a leader, flooding, lying, dribbling. The last good file stays, the next change is seen, each outage is said
//! once when it begins and once when it ends, and no bad state makes a busy loop.

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
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use util::*;

const TEMPLATE: &str = "{{ getv \"/app/v\" }}";

/// Watches app/ of these addresses and writes the value of app/v to `f`.
fn watching(addrs: &str) -> Setup {
    Setup::at(addrs).file("f", &["/app"], TEMPLATE)
}

/// The spaces between these moments.
fn gaps(at: &[Instant]) -> Vec<Duration> {
    at.windows(2).map(|w| w[1].duration_since(w[0])).collect()
}

/// The outages said so far are `n` beginnings and `n` ends, one after the other.
#[track_caller]
fn each_outage_is_said_twice(fish: &Fish, n: usize) {
    if n > 0 {
        fish.wait_recovery(n); // a file may be seen before the line that was written ahead of it is read
    }
    fish.check(fish.outages() == (n, n), &format!("{:?} beginnings and ends were said, not {n}", fish.outages()));
    let mut down = false;
    for line in fish.proc.lines() {
        if line.text.contains("ERROR cannot read") {
            fish.check(!down, "an outage was said to begin twice");
            down = true;
        } else if line.text.contains(" answers again after ") {
            fish.check(down, "an outage was said to end twice");
            down = false;
        }
    }
}

/// Tries while it is down, by their debug lines since `mark`: none may follow another in less than a back-off's
/// shortest steps, whose sum grows.
#[track_caller]
fn tries_are_few(fish: &Fish, most_in_first_second: usize) {
    let tries: Vec<Instant> = fish.proc.lines_matching("; next try in ").iter().map(|l| l.at).collect();
    let Some(first) = tries.first() else { fish.proc.fail("no try was said") };
    let early = tries.iter().filter(|t| t.duration_since(*first) < secs(1)).count();
    eprintln!(
        "tries: {early} in the first second, {} in {:?}",
        tries.len(),
        tries[tries.len() - 1].duration_since(*first)
    );
    fish.check(early <= most_in_first_second, &format!("{early} tries in the first second"));
}

#[test]
fn consul_may_be_down_at_start_be_killed_and_lose_everything() {
    let mut consul = Consul::start();
    consul.put("app/v", "v1");
    consul.kill9();
    let fish = watching(&consul.addr()).app("f").spawn();
    let line = fish.wait_outage(1);
    fish.check(line.text.contains(&consul.addr()) && line.text.contains("/app"), "it says what cannot be read where");
    fish.proc.wait_nth_line(5, "; next try in ", LONG);
    tries_are_few(&fish, 6);
    fish.check(fish.outages() == (1, 0) && fish.count("config:") == 0, "said once; nothing is started");
    consul.restart();
    fish.proc.wait_line("config: v1 pid=", LONG);
    each_outage_is_said_twice(&fish, 1);

    consul.kill9();
    fish.wait_outage(2);
    fish.holds("f", "v1");
    consul.restart();
    fish.wait_recovery(2);
    consul.put("app/v", "v2");
    fish.proc.wait_line("config: v2 pid=", LONG);
    each_outage_is_said_twice(&fish, 2);

    // Everything is gone: the index begins at 1 again and all keys are missing. (A Consul that was restarted may have
    // answered so too, before it had read its log again.)
    let (gone, mark) = (fish.count("all keys under"), fish.proc.mark());
    consul.kill9();
    fish.wait_outage(3);
    consul.restart_wiped();
    fish.proc.wait_line_after(mark, "all keys under /app of ", LONG);
    fish.wait_recovery(3);
    fish.holds("f", "v2");
    consul.put("other", "wakes the query of an absent prefix");
    consul.put("app/v", "v3");
    fish.proc.wait_line("config: v3 pid=", LONG);
    each_outage_is_said_twice(&fish, 3);
    fish.check(fish.reloads() == 2, "one reload for each change, none for an outage");
    let (all_gone, back) = (fish.count("all keys under"), fish.count("are back"));
    fish.check(all_gone == gone + 1 && back == all_gone, "said once each");
    fish.end();
}

#[test]
fn a_snapshot_restored_under_a_watch_shows_within_the_wait() {
    let mut consul = Consul::start();
    consul.put("app/v", "old");
    let snapshot = consul.snapshot_save();
    for n in 0..20 {
        consul.put("app/v", format!("new{n}"));
    }
    let fish = watching(&consul.addr()).args(&["--wait", "2s"]).spawn();
    fish.wait("f", "new19");
    consul.put("app/v", "newest");
    fish.wait("f", "newest");
    consul.snapshot_restore(&snapshot);
    let restored = Instant::now();
    let seen = fish.wait("f", "old").duration_since(restored);
    eprintln!("restored -> file: {seen:?} with a wait of 2 s");
    // The wait, Consul's sixteenth more, and what this machine needs.
    fish.check(seen < millis(2125 + 1500), &format!("the restored content took {seen:?}"));
    consul.put("app/v", "after");
    let put = Instant::now();
    let seen = fish.wait("f", "after").duration_since(put);
    fish.check(seen < secs(1), &format!("the change after it took {seen:?}: the index was not reset"));
    fish.check(fish.outages() == (0, 0), "that is no outage");
    // Wiped so quickly that perhaps no request failed: one with the old index then waits on the new Consul.
    consul.restart_wiped();
    fish.proc.wait_line("all keys under /app of ", LONG);
    fish.holds("f", "after");
    consul.put("app/v", "anew");
    fish.wait("f", "anew");
    fish.end();
}

#[test]
fn without_a_leader_the_last_good_file_stays_and_stale_reads_go_on_where_allowed() {
    let mut cluster = Consul::cluster(3);
    cluster.put("app/v", "v1");
    let leader = cluster.leader();
    let at = (leader + 1) % 3;
    let addr = cluster.nodes[at].addr();
    let of = |args: &[&str]| watching(&addr).args(&["--wait", "2s"]).args(args).spawn();
    let plain = of(&[]);
    let stale = of(&["--max-stale", "1h"]);
    let fresh = of(&["--max-stale", "2s"]);
    for fish in [&plain, &stale, &fresh] {
        fish.wait("f", "v1");
    }

    // The leader dies; the other two elect a new one.
    cluster.nodes[leader].kill9();
    cluster.put("app/v", "v2");
    for fish in [&plain, &stale, &fresh] {
        fish.wait("f", "v2");
    }
    let before = plain.outages().0;
    plain.check(before <= 1, "the loss of a leader is at most one outage");
    each_outage_is_said_twice(&plain, before);

    // Another dies: no quorum, no leader.
    let other = (leader + 2) % 3;
    cluster.nodes[other].kill9();
    plain.wait_outage(before + 1);
    let line = fresh.proc.wait_line("more than max_stale allows", LONG);
    fresh.check(line.text.contains("ERROR cannot read /app"), "an answer that is too old is an outage");
    let late = of(&["--max-stale", "1h"]);
    let waits = of(&[]);
    late.wait("f", "v2");
    waits.wait_outage(1);
    for fish in [&plain, &stale, &fresh] {
        fish.holds("f", "v2");
    }
    plain.check(plain.outages() == (before + 1, before), "the outage is said once, however long it lasts");
    stale.check(stale.outages().0 == stale.outages().1, "with stale reads there is no outage");
    waits.check(waits.bytes("f").is_none(), "nothing can be written without an answer");

    cluster.nodes[other].start_again();
    cluster.put("app/v", "v3");
    for fish in [&plain, &stale, &fresh, &late, &waits] {
        fish.wait("f", "v3");
    }
    for fish in [&plain, &waits] {
        let n = fish.outages().0;
        each_outage_is_said_twice(fish, n);
        fish.check(n <= before + 1, "one outage is said once");
    }
    for fish in [&plain, &stale, &fresh, &late, &waits] {
        fish.end();
    }
}

#[test]
fn of_several_addresses_another_is_used_when_one_fails_and_the_first_again_later() {
    let mut cluster = Consul::cluster(3);
    cluster.put("app/v", "v1");
    let leader = cluster.leader();
    let (one, two) = ((leader + 1) % 3, (leader + 2) % 3);
    let fish = watching(&format!("{},{}", cluster.nodes[one].addr(), cluster.nodes[two].addr())).spawn();
    fish.wait("f", "v1");
    cluster.nodes[one].kill9();
    cluster.put("app/v", "v2");
    fish.wait("f", "v2");
    cluster.nodes[one].restart();
    cluster.nodes[two].kill9();
    cluster.put("app/v", "v3");
    fish.wait("f", "v3");
    fish.check(fish.outages() == (0, 0), "as long as one answers there is no outage");
    cluster.nodes[one].kill9();
    fish.wait_outage(1);
    fish.holds("f", "v3");
    cluster.nodes[two].start_again();
    cluster.put("app/v", "v4");
    fish.wait("f", "v4");
    each_outage_is_said_twice(&fish, 1);
    fish.end();
}

/// A listener whose queue is full: the kernel drops what asks for a connection, as a blackhole does.
fn blackhole() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: plain system call on a descriptor that is open; it makes the queue as short as it can be.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, millis(300)) {
        held.push(stream);
        assert!(held.len() < 100, "the queue does not fill");
    }
    (listener, held)
}

/// Sends these bytes one a second on each connection made to it.
fn trickler(head: Vec<u8>, body: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            seen.fetch_add(1, Ordering::SeqCst);
            let (head, body) = (head.clone(), body.clone());
            std::thread::spawn(move || {
                let _ = stream.write_all(&head);
                for byte in body {
                    if stream.write_all(&[byte]).is_err() {
                        return;
                    }
                    std::thread::sleep(secs(1));
                }
            });
        }
    });
    (address, count)
}

#[test]
fn what_hangs_is_given_up_in_time_and_the_next_address_is_asked() {
    let consul = Consul::start();
    consul.put("app/v", "v1");
    let good = consul.addr();
    let short = ["--wait", "1s"];
    // Frozen under a blocking query: the client gives up some 11 s after it asked.
    let frozen = watching(&good).args(&short).spawn();
    frozen.wait("f", "v1");
    // Waiting for a connection, for a head, for a body; each alone and with an address behind it that answers.
    let second = Consul::start();
    second.put("app/v", "w1");
    let other = second.addr();
    let (hole, _held) = blackhole();
    let hole = hole.local_addr().map(|a| (a.to_string(), hole)).unwrap();
    let (slow_head, _) = trickler(Vec::new(), b"HTTP/1.1 200 OK\r\nX-Consul-Index: 5\r\n".repeat(9));
    let head = b"HTTP/1.1 200 OK\r\nX-Consul-Index: 5\r\nContent-Length: 500\r\n\r\n".to_vec();
    let (slow_body, _) = trickler(head, vec![b' '; 500]);
    let begin = Instant::now();
    let mut alone = Vec::new();
    let mut backed = Vec::new();
    for (name, bad, most) in [("connect", &hole.0, 5), ("head", &slow_head, 10), ("body", &slow_body, 10)] {
        alone.push((name, watching(bad).args(&short).app("f").spawn(), most));
        backed.push((name, watching(&format!("{bad},{other}")).args(&short).spawn(), most));
    }
    consul.stop();
    let stopped = Instant::now();

    for (name, fish, most) in &backed {
        fish.wait("f", "w1");
        let took = begin.elapsed();
        eprintln!("{name}: the next address answered after {took:?}");
        fish.check(took < secs(most + 5), &format!("{name}: given up after {took:?}, not {most} s"));
        fish.check(fish.outages() == (0, 0), "as long as one answers there is no outage");
    }
    for (name, fish, most) in &alone {
        let line = fish.wait_outage(1);
        let took = line.at.duration_since(fish.proc.started());
        eprintln!("{name}: {}", line.text);
        fish.check(took >= secs(most - 1) && took < secs(most + 5), &format!("{name}: said after {took:?}"));
        fish.check(line.text.contains("no connection within 5 s") || line.text.contains("no answer in time"), name);
        // In the middle of the next try the end is prompt.
        let asked = Instant::now();
        fish.proc.signal(libc::SIGTERM);
        fish.proc.expect_exit(Exit::Code(143), secs(20));
        fish.check(asked.elapsed() < secs(2), "the end should be prompt");
    }
    let line = frozen.wait_outage(1);
    let took = line.at.duration_since(stopped);
    eprintln!("frozen: said after {took:?}");
    frozen.check(took < secs(15), &format!("a frozen Consul was said after {took:?}"));
    frozen.holds("f", "v1");
    consul.cont();
    consul.wait_ready(LONG);
    consul.put("app/v", "v2");
    frozen.wait("f", "v2");
    each_outage_is_said_twice(&frozen, 1);
    frozen.end();
}

/// A KV answer with any index header, or none.
fn kv_with(index_header: Option<&str>, value: &str) -> Answer {
    let body = format!("[{{\"Key\":\"app/v\",\"Value\":\"{}\"}}]", base64(value.as_bytes()));
    match index_header {
        Some(index) => Answer::reply(200, &[&format!("X-Consul-Index: {index}")], body),
        None => Answer::reply(200, &[], body),
    }
}

#[test]
fn an_index_that_is_none_is_no_busy_loop_and_a_lower_one_starts_again() {
    // All of these answer at once, always: as a broken proxy does.
    let mut all = Vec::new();
    for header in [Some("0"), None, Some("abc"), Some("-5"), Some("1"), Some("7"), Some("99999999999999999999999")] {
        let fake = FakeHttp::start(move |_| kv_with(header, "v1"));
        let fish = watching(&fake.addr()).spawn();
        all.push((header, fake, fish));
    }
    let mut empty = Vec::new();
    for header in ["0", "1"] {
        let fake = FakeHttp::start(move |_| Answer::reply(404, &[&format!("X-Consul-Index: {header}")], ""));
        let fish = watching(&fake.addr()).spawn();
        empty.push((Some(header), fake, fish));
    }
    for (_, _, fish) in &all {
        fish.wait("f", "v1");
    }
    for (header, fake, fish) in all.iter().chain(&empty) {
        let at = wait_until(LONG, "seven requests", || {
            Some(fake.requests().iter().map(|r| r.at).collect::<Vec<_>>()).filter(|r| r.len() >= 7)
        });
        let gaps = gaps(&at[..7]);
        eprintln!("index {header:?}: {gaps:?}");
        let first_second = at.iter().filter(|t| t.duration_since(at[0]) < secs(1)).count();
        fish.check(first_second <= 12, &format!("{first_second} requests in the first second with index {header:?}"));
        fish.check(gaps[5] >= millis(700), &format!("the pace does not slow down: {gaps:?}"));
        for r in fake.requests() {
            let asked = r.query("index");
            fish.check(
                asked != Some("0") && !asked.is_some_and(|i| i.starts_with('-')),
                "an index below 1 was asked with",
            );
        }
        fish.check(fish.outages() == (0, 0) && fish.renders("f") <= 1, "nothing is wrong and nothing is new");
        fish.end();
    }

    // A lower index: the next request has none, so that its answer comes at once.
    let fake = FakeHttp::start(|r| match (r.number, r.query("index")) {
        (1, _) => kv_with(Some("50"), "v1"),
        (2, _) => kv_with(Some("9"), "v1").after(millis(50)),
        (3, None) => kv_with(Some("9"), "v2"),
        (4, Some("9")) => kv_with(Some("10"), "v3").after(millis(50)),
        _ => kv_with(Some("10"), "v3").after(secs(60)),
    });
    let fish = watching(&fake.addr()).spawn();
    fish.wait("f", "v3");
    let asked: Vec<Option<String>> = fake.requests().iter().map(|r| r.query("index").map(str::to_string)).collect();
    let asked: Vec<Option<&str>> = asked.iter().take(4).map(Option::as_deref).collect();
    assert_eq!(asked, [None, Some("50"), None, Some("9")], "what was asked after a lower index");
    fish.end();
}

#[test]
fn an_absent_prefix_woken_by_other_keys_asks_seldom_and_changes_nothing() {
    let consul = Arc::new(Consul::start());
    let to = consul.addr();
    // Counts on its way to the real one.
    let counter = FakeHttp::start(move |r| match http(&r.method, &to, &r.path, &[], b"") {
        Ok(reply) => {
            let index = format!("X-Consul-Index: {}", reply.header("x-consul-index").unwrap_or("0"));
            Answer::reply(reply.status, &[&index], reply.body)
        }
        Err(_) => Answer::Cut(Vec::new()),
    });
    let template = "{{ range gets \"/app/*\" }}{{ .Value }}{{ end }}";
    let fish = Setup::at(&counter.addr()).file("f", &["/app"], template).app("f").spawn();
    fish.proc.wait_line("config:  pid=", LONG);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (consul, stop) = (Arc::clone(&consul), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut n = 0;
            while !stop.load(Ordering::SeqCst) {
                consul.put("other", n.to_string());
                n += 1;
            }
            n
        })
    };
    let at = wait_until(LONG, "eight requests", || {
        Some(counter.requests().iter().map(|r| r.at).collect::<Vec<_>>()).filter(|r| r.len() >= 8)
    });
    let renders = fish.renders("f");
    consul.put("app/v", "here");
    let put = Instant::now();
    fish.proc.wait_line("config: here pid=", LONG);
    let seen = put.elapsed();
    stop.store(true, Ordering::SeqCst);
    let writes = writer.join().unwrap();
    let gaps = gaps(&at[..8]);
    eprintln!("{writes} unrelated writes; gaps between requests {gaps:?}; the key was seen after {seen:?}");
    fish.check(gaps[6] >= millis(700), &format!("the pace does not slow down: {gaps:?}"));
    fish.check(writes > 50, "there should have been many writes");
    fish.check(seen < secs(3), &format!("the key was seen after {seen:?} only"));
    fish.check(renders == 1 && fish.reloads() == 1, "unrelated writes render and reload nothing");
    fish.end();
}

#[test]
fn floods_of_429_and_500_are_met_with_growing_jittered_pauses() {
    let mut all = Vec::new();
    for status in [429u16, 429, 500, 503] {
        let well = Arc::new(AtomicBool::new(false));
        let gate = Arc::clone(&well);
        let fake = FakeHttp::start(move |r| match (r.number, gate.load(Ordering::SeqCst)) {
            (1, _) => kv_with(Some("5"), "v1"),
            (_, false) => Answer::reply(status, &["X-Consul-Index: 6"], "Your IP is issuing too many requests"),
            (_, true) if r.query("index").is_some() => kv_with(Some("7"), "v2").after(secs(60)),
            (_, true) => kv_with(Some("7"), "v2"),
        });
        let fish = watching(&fake.addr()).spawn();
        fish.wait("f", "v1");
        all.push((status, fake, fish, well));
    }
    let mut fractions = Vec::new();
    for (status, fake, fish, well) in &all {
        let at = wait_until(LONG, "eight requests", || {
            Some(fake.requests().iter().map(|r| r.at).collect::<Vec<_>>()).filter(|r| r.len() >= 8)
        });
        let gaps = gaps(&at[1..8]);
        eprintln!("{status}: {gaps:?}");
        // Between half and all of 100, 200, 400, 800, 1600, 3200 ms; the machine adds to it.
        for (n, gap) in gaps.iter().enumerate() {
            let whole = millis(100 << n);
            fish.check(*gap >= whole / 2 && *gap <= whole + millis(700), &format!("pause {n} after {status}: {gap:?}"));
        }
        fractions.push(gaps[5].as_secs_f64() / 3.2);
        let line = fish.wait_outage(1);
        fish.check(line.text.contains(&status.to_string()), "it says the status");
        fish.check(fish.outages() == (1, 0), "said once, however long it lasts");
        fish.holds("f", "v1");
        well.store(true, Ordering::SeqCst);
    }
    fractions.sort_by(f64::total_cmp);
    eprintln!("jitter: {fractions:.3?}");
    assert!(fractions[3] - fractions[0] > 0.01, "four of them pause alike: {fractions:?}");
    for (_, _, fish, _) in &all {
        fish.wait("f", "v2");
        each_outage_is_said_twice(fish, 1);
        fish.end();
    }
}

/// Most memory a process has had.
fn peak_memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn chunked(parts: &[&str], end: &str) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\nX-Consul-Index: 6\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for part in parts {
        bytes.extend_from_slice(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes());
    }
    bytes.extend_from_slice(end.as_bytes());
    bytes
}

#[test]
fn a_bad_answer_is_refused_and_the_last_good_file_stays() {
    const TOKEN: &str = "tok-hush-hush";
    const BODY: &str = "hush-body";
    let thief = FakeHttp::start(|_| kv_with(Some("9"), "stolen"));
    let redirect = format!("Location: http://{}/v1/kv/app?recurse", thief.addr());
    let good = |value: &str| format!("[{{\"Key\":\"app/v\",\"Value\":\"{}\"}}]", base64(value.as_bytes()));
    let list = good("bad");
    type Make = Box<dyn Fn() -> Answer + Send + Sync>;
    let ok = |body: String| -> Make { Box::new(move || Answer::reply(200, &["X-Consul-Index: 6"], &body)) };
    let cut = |bytes: Vec<u8>| -> Make { Box::new(move || Answer::Cut(bytes.clone())) };
    let head = "HTTP/1.1 200 OK\r\nX-Consul-Index: 6\r\n";
    let cases: Vec<(&str, Make, &str)> = vec![
        ("a chunked body without its end", cut(chunked(&[&list], "")), "cut"),
        ("a chunk cut in its middle", cut(chunked(&[&list[..9]], "ff\r\nabc")), "cut"),
        ("a chunk of no length", cut(chunked(&[], "zz\r\nabc\r\n0\r\n\r\n")), ""),
        ("a body shorter than said", cut(format!("{head}Content-Length: 999\r\n\r\n{list}").into_bytes()), "cut"),
        ("a head cut short", cut(head.as_bytes().to_vec()), ""),
        ("no answer at all", cut(Vec::new()), ""),
        ("no HTTP", cut(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), ""),
        ("JSON cut short", ok(list[..20].to_string()), "no list of keys"),
        ("no JSON", ok(format!("<html>{BODY}</html>")), "no list of keys"),
        ("a text", ok(format!("\"{BODY}\"")), "no list of keys"),
        ("a list of texts", ok(format!("[\"{BODY}\"]")), "no list of keys"),
        ("a wrong kind of value", ok(format!("[{{\"Key\": {{\"{BODY}\": 1}}, \"Value\": \"\"}}]")), "no list of keys"),
        ("JSON nested deeply", ok("[".repeat(100_000)), "no list of keys"),
        ("a nesting that is passed over", ok(format!("[{{\"x\":{}", "[".repeat(100_000))), "no list of keys"),
        ("an empty body", ok(String::new()), "no list of keys"),
        ("no base64", ok("[{\"Key\":\"app/odd/one\",\"Value\":\"a-b!\"}]".into()), "key app/odd/one"),
        ("a redirect", Box::new(move || Answer::reply(307, &[&redirect], "")), "307"),
        ("an error that repeats the token", Box::new(|| Answer::reply(500, &[], format!("you sent {TOKEN}"))), "500"),
        (
            "an endless header",
            Box::new(|| Answer::Cut([b"HTTP/1.1 200 OK\r\nX-Long: ".to_vec(), vec![b'x'; 3 << 20]].concat())),
            "head is larger",
        ),
        (
            "endless headers",
            Box::new(|| Answer::Cut([b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-Many: y\r\n".repeat(200_000)].concat())),
            "",
        ),
        (
            "100 MB",
            Box::new(|| Answer::reply(200, &["X-Consul-Index: 6"], vec![b' '; 100_000_000])),
            "larger than 64 MiB",
        ),
        (
            "100 MB in chunks",
            Box::new(|| {
                let part = " ".repeat(1_000_000);
                Answer::Cut(chunked(&vec![part.as_str(); 100], "0\r\n\r\n"))
            }),
            "larger than 64 MiB",
        ),
    ];
    // All at once, each with a server of its own: good, then bad until the test says so, then good.
    let mut all = Vec::new();
    for (name, bad, why) in cases {
        let well = Arc::new(AtomicBool::new(false));
        let gate = Arc::clone(&well);
        let fake = FakeHttp::start(move |r| match (r.number, gate.load(Ordering::SeqCst)) {
            (1, _) => kv_with(Some("5"), "v1"),
            (_, false) => bad(),
            (_, true) if r.query("index").is_some() => kv_with(Some("7"), "v2").after(secs(60)),
            (_, true) => kv_with(Some("7"), "v2"),
        });
        let fish = watching(&fake.addr()).env("CONSUL_HTTP_TOKEN", TOKEN).spawn();
        all.push((name, why, fake, fish, well));
    }
    let wrong = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for case in &all {
            let wrong = &wrong;
            scope.spawn(move || {
                let (name, why, fake, fish, well) = case;
                fish.wait("f", "v1");
                let line = fish.wait_outage(1);
                fish.proc.wait_nth_line(3, "; next try in ", LONG);
                eprintln!("{name}: {}", line.text.split(" ERROR ").last().unwrap());
                if !line.text.contains(why) {
                    wrong.lock().unwrap().push(format!("{name}: it should say {why:?}: {}", line.text));
                }
                fish.holds("f", "v1");
                fish.check(fish.outages() == (1, 0), name);
                let peak = peak_memory(fish.proc.pid());
                if name.starts_with("100 MB") || name.starts_with("endless") {
                    eprintln!("{name}: at most {} KB of memory", peak / 1024);
                }
                let most = if name.starts_with("100 MB") { 160 << 20 } else { 16 << 20 };
                fish.check(peak < most, &format!("{name}: {peak} bytes of memory"));
                let at: Vec<Instant> = fake.requests().iter().map(|r| r.at).collect();
                let early = at.iter().filter(|t| t.duration_since(at[0]) < secs(1)).count();
                fish.check(early <= 12, &format!("{name}: {early} requests in the first second"));
                well.store(true, Ordering::SeqCst);
                fish.wait("f", "v2");
                fish.wait_recovery(1);
                each_outage_is_said_twice(fish, 1);
                let said = [fish.proc.stdout(), fish.proc.stderr()].concat();
                for secret in [TOKEN, BODY] {
                    if said.contains(secret) {
                        wrong.lock().unwrap().push(format!("{name}: {secret} is in the output:\n{said}"));
                    }
                }
                fish.end();
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(thief.count(), 0, "a redirect was followed");
}
