//! Consul's keys on a real server: what is seen, when, and how often; what is asked and with which secrets; keys
//! that are missing, vanish, are odd, large or many. What a real server cannot be asked for is counted by a fake one.

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
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Instant;
use util::*;

/// The file's last modification and its inode: neither changes when nothing is written.
fn stamp(fish: &Fish, name: &str) -> (i64, i64, u64) {
    let m = std::fs::metadata(fish.path(name)).unwrap();
    (m.mtime(), m.mtime_nsec(), m.ino())
}

#[test]
fn the_app_starts_on_the_first_render_and_sees_each_change_at_once_and_nothing_else() {
    let consul = Consul::start();
    consul.put("app/v", "v0");
    consul.put("app/sibling", "s0");
    let fish = Setup::at(&consul.addr())
        .file("f", &["/app"], "{{ getv \"/app/v\" }}\n")
        .file("mark", &["/app"], "{{ getv \"/app/mark\" \"none\" }}")
        .app("f")
        .spawn();
    fish.proc.wait_line("config: v0\\n pid=", LONG);

    let (mut to_file, mut to_app) = (Vec::new(), Vec::new());
    for n in 1..=15 {
        let value = format!("v{n}");
        let put = Instant::now();
        consul.put("app/v", &value);
        to_file.push(fish.wait("f", format!("{value}\n")).duration_since(put));
        to_app.push(fish.proc.wait_line(&format!("config: {value}\\n"), LONG).at.duration_since(put));
        // The next change is no part of this one's pace (two applies are 100 ms apart).
        while put.elapsed() < millis(130) {
            std::thread::sleep(millis(5));
        }
    }
    to_file.sort();
    to_app.sort();
    eprintln!("put -> file: median {:?}, worst {:?}", to_file[7], to_file[14]);
    eprintln!("put -> app has the signal: median {:?}, worst {:?}", to_app[7], to_app[14]);
    fish.check(to_app[7] < millis(250), &format!("a change takes {:?} (median) to the app", to_app[7]));
    fish.check(fish.reloads() == 15, "each of 15 single changes is one reload");

    // The same value again, another prefix, a sibling under the same watch: nothing happens ...
    let (before, renders) = (stamp(&fish, "f"), fish.renders("f"));
    consul.put("app/v", "v15");
    consul.put("other/v", "x");
    consul.put("app/sibling", "s1");
    consul.put("app/new/sibling", "s1");
    consul.delete("app/sibling");
    consul.put("app/v", "v15");
    // ... as a later change of the other file proves: what came before it was taken in before it.
    consul.put("app/mark", "set");
    fish.wait("mark", "set");
    fish.proc.wait_nth_line(17, "config: ", LONG);
    fish.check(stamp(&fish, "f") == before, "the file was written without need");
    fish.check(fish.renders("f") == renders, "the file was rendered without need");
    consul.put("app/v", "last");
    fish.proc.wait_line("config: last\\n", LONG);
    fish.expect_renders("f", renders + 1, "something else than the one change was rendered");
    fish.check(fish.reloads() == 17, "something else than the two changes was a reload");
    fish.check(fish.outages() == (0, 0), "there was no outage");
    fish.check(fish.dir.names("out") == ["f", "mark"], "something is left beside the file");
    fish.end();
}

#[test]
fn of_1000_puts_the_last_wins_with_at_most_one_reload_in_100_ms() {
    let consul = Arc::new(Consul::start());
    consul.put("app/v", "start");
    let fish = Setup::at(&consul.addr()).file("f", &["/app/v"], "{{ getv \"/app/v\" }}").app("f").spawn();
    fish.proc.wait_line("config: start pid=", LONG);
    // A fresh app has a second to learn how to reload: the count begins when it did so once.
    consul.put("app/v", "warm");
    fish.proc.wait_line("config: warm pid=", LONG);

    let (begin, before) = (Instant::now(), fish.reloads());
    let threads: Vec<_> = (0..4)
        .map(|t| {
            let consul = Arc::clone(&consul);
            std::thread::spawn(move || (0..250).for_each(|n| consul.put("app/v", format!("{t}-{n}"))))
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    let took = begin.elapsed();
    let last = String::from_utf8(consul.get("app/v").unwrap()).unwrap();
    fish.wait("f", &last);
    let shown = fish.proc.wait_line(&format!("config: {last} pid="), LONG);
    let (elapsed, reloads) = (shown.at.duration_since(begin), fish.reloads() - before);
    let most = elapsed.as_millis() as usize / 100 + 2;
    eprintln!("1000 puts in {took:?}; {reloads} reloads in {elapsed:?} (at most {most})");
    fish.check(reloads > 1, "changes must arrive while others are written");
    fish.check(reloads <= most, &format!("{reloads} reloads in {elapsed:?}"));

    // Short bursts, so that their ends fall anywhere: no last value may be lost.
    for burst in 0..25 {
        for n in 0..burst % 7 + 1 {
            consul.put("app/v", format!("b{burst}-{n}"));
        }
        fish.proc.wait_line(&format!("config: b{burst}-{} pid=", burst % 7), LONG);
    }
    fish.end();
}

#[test]
fn settle_waits_for_quiet_but_not_for_ever() {
    let consul = Consul::start();
    consul.put("app/v", "start");
    let fish = Setup::at(&consul.addr())
        .file("f", &["/app"], "{{ getv \"/app/v\" }}")
        .args(&["--settle", "600ms,1800ms"])
        .app("f")
        .spawn();
    fish.proc.wait_line("config: start pid=", LONG);
    // A few keys, one after the other: one reload, after the last of them.
    let begin = Instant::now();
    for n in 0..8 {
        consul.put("app/v", format!("few{n}"));
        std::thread::sleep(millis(50));
    }
    let last_put = Instant::now() - millis(50);
    let line = fish.proc.wait_line("config: few7 pid=", LONG);
    if last_put.duration_since(begin) < millis(1000) {
        fish.check(fish.reloads() == 1, "a few changes in a row are one reload");
        fish.check(line.at.duration_since(last_put) >= millis(550), "it came before things were quiet");
    }
    // Changed without a pause: applied every 1.8 s.
    let (begin, before) = (Instant::now(), fish.reloads());
    let mut n = 0;
    while begin.elapsed() < millis(4200) {
        consul.put("app/v", format!("flap{n}")); // two values in turn may look alike at each look
        n += 1;
        std::thread::sleep(millis(50));
    }
    consul.put("app/v", "rest");
    let line = fish.proc.wait_line("config: rest pid=", LONG);
    let (elapsed, reloads) = (line.at.duration_since(begin), fish.reloads() - before);
    eprintln!("{n} changes: {reloads} reloads in {elapsed:?}");
    fish.check(reloads >= 2, "with a maximum, changes arrive while the key flaps");
    fish.check(reloads <= elapsed.as_millis() as usize / 1800 + 1, &format!("{reloads} reloads in {elapsed:?}"));
    fish.end();
}

#[test]
fn keys_of_every_shape_are_rendered() {
    let consul = Consul::start();
    let odd = ["a b", "é/ü", "100%", "%41", "who?x=1&y", "a#b", "q\"uo'te", "plus+", "semi;colon", "日本"];
    for (n, key) in odd.iter().enumerate() {
        consul.put(&format!("odd dir/{key}"), format!("odd{n}"));
    }
    let big: String = (0..500_000).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
    consul.put("big/v", &big);
    let mut binary = vec![0u8, 255, 0xC3, 0x28, b'\n', 0];
    consul.put("bin/v", &binary);
    consul.put("pre/a", "1");
    consul.put("pre/ab", "2");
    consul.put("pre/b", "3");
    let mut many = String::new();
    for first in (0..5000).step_by(50) {
        let puts: Vec<_> = (first..first + 50)
            .map(|n| json!({"KV": {"Verb": "set", "Key": format!("many/k{n:04}"), "Value": base64(n.to_string().as_bytes())}}))
            .collect();
        consul.call("PUT", "/v1/txn", serde_json::Value::Array(puts).to_string().as_bytes());
    }
    (0..5000).for_each(|n| many.push_str(&format!("/many/k{n:04}={n}\n")));

    let quoted: String = odd
        .iter()
        .map(|k| format!("{{{{ getv {} }}}},", serde_json::to_string(&format!("/odd dir/{k}")).unwrap()))
        .collect();
    let fish = Setup::at(&consul.addr())
        .file("odd", &["/odd dir"], &quoted)
        .file(
            "odd-prefix",
            &["/odd dir/who?x=1&y", "/odd dir/100%", "/odd dir/a#b"],
            "{{ range gets \"/odd dir/*\" }}{{ .Value }},{{ end }}",
        )
        .file("big", &["/big"], "{{ getv \"/big/v\" }}")
        .file("bin", &["/bin"], "{{ getv \"/bin/v\" }}")
        .file("pre", &["/pre/a"], "{{ range gets \"/pre/*\" }}{{ .Key }}={{ .Value }};{{ end }}")
        .file("many", &["/many/"], "{{ range gets \"/many/*\" }}{{ .Key }}={{ .Value }}\n{{ end }}")
        .file("default", &["/nowhere"], "{{ getv \"/nowhere/x\" \"fallback\" }}")
        .spawn();
    fish.wait("odd", odd.iter().enumerate().map(|(n, _)| format!("odd{n},")).collect::<String>());
    fish.wait("odd-prefix", "odd2,odd5,odd4,");
    fish.wait("big", &big);
    fish.wait("bin", &binary);
    fish.wait("pre", "/pre/a=1;/pre/ab=2;");
    fish.wait("many", &many);
    fish.wait("default", "fallback");

    // Each of them changes like any other.
    consul.put("odd dir/who?x=1&y", "new");
    consul.put("big/v", "small");
    binary.push(254);
    consul.put("bin/v", &binary);
    consul.put("pre/abc", "4");
    consul.delete("pre/ab");
    consul.delete("many/k0000");
    consul.put("nowhere/x", "somewhere");
    fish.wait("odd-prefix", "odd2,odd5,new,");
    fish.wait("big", "small");
    fish.wait("bin", &binary);
    fish.wait("pre", "/pre/a=1;/pre/abc=4;");
    fish.wait("many", &many["/many/k0000=0\n".len()..]);
    fish.wait("default", "somewhere");
    fish.end();

    // In upon bytes that are no text are an error that names the key, and the last good file stays.
    consul.put("bin/w", "text");
    let fish = Setup::at(&consul.addr())
        .template("upon", "upon", &["/bin"], "{{ getv(\"/bin/w\") }}")
        .template("other", "upon", &["/bin"], "{% if exists(\"/bin/v\") %}yes{% endif %}")
        .spawn();
    fish.wait("upon", "text");
    fish.wait("other", "yes");
    consul.put("bin/w", [b'h', 0xFF, b'x']);
    let line = fish.proc.wait_line("ERROR", LONG);
    fish.check(line.text.contains("/bin/w"), "the error names the key");
    fish.holds("upon", "text");
    consul.put("bin/w", "text again");
    fish.wait("upon", "text again");
    fish.end();
}

#[test]
fn a_missing_key_is_waited_for_by_its_name_and_given_up_when_asked() {
    let consul = Consul::start();
    consul.put("here/v", "x");
    let gives_up = Setup::at(&consul.addr())
        .file("f", &["/here"], "{{ getv \"/here/v\" }}{{ getv \"/here/not/there\" }}")
        .args(&["--start-timeout", "1500ms"])
        .app("f")
        .spawn();
    let fish = Setup::at(&consul.addr()).file("f", &["/some/where"], "{{ getv \"/some/where/key\" }}").app("f").spawn();
    let line = fish.proc.wait_line("does not exist: /some/where/key", LONG);
    fish.check(
        line.text.contains("WARNING waiting: template: f.t:1:"),
        "a line names the key, the template and the place",
    );

    gives_up.proc.expect_exit(Exit::Code(69), secs(20));
    let last = gives_up.proc.wait_line("giving up after", secs(1));
    gives_up.check(last.text.contains("/here/not/there"), "giving up says what is missing");
    gives_up.check(gives_up.bytes("f").is_none() && gives_up.count("config:") == 0, "nothing may have started");

    // Writes beside it wake the query of an absent prefix: still one line.
    for n in 0..5 {
        consul.put("elsewhere", n.to_string());
    }
    fish.check(fish.bytes("f").is_none() && fish.count("config:") == 0, "nothing may start before its file is there");
    // As long as the other one lived, which is longer than pilotfish's patience with its own silence.
    consul.put("some/where/key", "found");
    fish.proc.wait_line("config: found pid=", LONG);
    fish.check(fish.count("does not exist: /some/where/key") == 1, "one line, no more, says it");

    // A key of several goes: the last good file stays, said once; it comes back.
    consul.put("some/where/else", "x");
    consul.delete("some/where/key");
    fish.proc.wait_nth_line(2, "WARNING waiting: ", LONG);
    fish.holds("f", "found");
    consul.put("some/where/key", "back");
    fish.proc.wait_line("config: back pid=", LONG);
    fish.check(fish.count("does not exist: /some/where/key") == 2, "said once for each time it was missing");
    fish.end();
}

#[test]
fn keys_that_all_vanish_leave_the_last_good_file_unless_they_may() {
    let consul = Consul::start();
    let template = "{{ range gets \"/app/*\" }}{{ .Key }}={{ .Value }};{{ end }}";
    consul.put("app/a", "1");
    consul.put("app/b", "2");
    let keeps = Setup::at(&consul.addr()).file("f", &["/app"], template).app("f").spawn();
    let empties = Setup::at(&consul.addr()).file("f", &["/app"], template).args(&["--allow-empty"]).app("f").spawn();
    let in_file =
        Setup::at(&consul.addr()).file("f", &["/app"], template).source("allow_empty = true").app("f").spawn();
    for fish in [&keeps, &empties, &in_file] {
        fish.proc.wait_line("config: /app/a=1;/app/b=2; pid=", LONG);
    }
    consul.delete_tree("app/");
    let said = keeps.proc.wait_line("are gone: keeping the last good ones", LONG);
    keeps.check(said.text.contains("/app"), "it says which keys are gone");
    for fish in [&empties, &in_file] {
        fish.proc.wait_line("config:  pid=", LONG);
        fish.holds("f", "");
    }
    for n in 0..5 {
        consul.put("elsewhere", n.to_string()); // wakes the query of an absent prefix
    }
    keeps.holds("f", "/app/a=1;/app/b=2;");
    consul.put("app/c", "3");
    for fish in [&keeps, &empties, &in_file] {
        fish.proc.wait_line("config: /app/c=3; pid=", LONG);
    }
    keeps.check(keeps.count("are gone: keeping") == 1 && keeps.reloads() == 1, "said once, and no reload for it");
    keeps.check(keeps.count("keys under /app of Consul") == 2, "said once when it begins and once when it ends");
    for fish in [&empties, &in_file] {
        fish.check(fish.reloads() == 2 && fish.count("are gone: keeping") == 0, "emptied once, filled once");
        fish.end();
    }
    keeps.end();
}

/// A server that has one key and answers blocking queries when their time is over.
fn quiet_fake() -> FakeHttp {
    FakeHttp::start(|r| match r.query("index") {
        None => Answer::consul_kv(7, &[("a/k", "v"), ("ab", "w")]),
        Some(_) => Answer::consul_kv(7, &[("a/k", "v"), ("ab", "w")]).after(secs(60)),
    })
}

#[test]
fn requests_carry_what_was_asked_for_and_one_query_serves_two_templates() {
    let fake = quiet_fake();
    let fish = Setup::new(&format!("consul://{}", fake.addr()))
        .source("datacenter = 'dc two'\nnamespace = 'team-a'\nmax_stale = '5s'\nwait = '30s'\ntoken = 'tok-in-toml'")
        .source("username = 'Aladdin'\npassword = 'open sesame'")
        .file("one", &["/a"], "{{ getv \"/a/k\" }}")
        .file("two", &["/a/k"], "{{ getv \"/a/k\" }}")
        .file("three", &["/ab"], "{{ getv \"/ab\" }}")
        .spawn();
    fish.wait("one", "v");
    fish.wait("two", "v");
    fish.wait("three", "w");
    let all = wait_until(LONG, "the blocking query", || Some(fake.requests()).filter(|r| r.len() >= 2));
    fish.check(all.len() == 2 && all.iter().all(|r| r.connection == 1), "one query on one connection serves all three");
    for r in &all {
        assert!(r.path.starts_with("/v1/kv/a?recurse"), "{}", r.path);
        assert_eq!((r.query("dc"), r.query("stale")), (Some("dc%20two"), Some("")), "{}", r.path);
        assert_eq!(r.header("x-consul-namespace"), Some("team-a"));
        assert_eq!(r.header("x-consul-token"), Some("tok-in-toml"));
        assert_eq!(r.header("authorization"), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    }
    assert_eq!((all[0].query("index"), all[0].query("wait")), (None, None), "the first is answered at once");
    assert_eq!(all[1].query("index"), Some("7"));
    let wait: u64 = all[1].query("wait").unwrap().trim_end_matches("ms").parse().unwrap();
    assert!((28_125..=30_000).contains(&wait), "30 s less up to a sixteenth, not {wait} ms");
    fish.end();

    // The other ways to say the same, and the defaults: nothing but what was asked for.
    let plain = quiet_fake();
    let fish =
        Setup::new("consul:").env("CONSUL_HTTP_ADDR", &plain.addr()).file("f", &["/a"], "{{ getv \"/a/k\" }}").spawn();
    let told = quiet_fake();
    let other = Setup::new("consul:")
        .env("CONSUL_HTTP_ADDR", &format!("http://{}", told.addr()))
        .env("CONSUL_NAMESPACE", "team-b")
        .env("CONSUL_HTTP_AUTH", "u:p")
        .env("CONSUL_HTTP_TOKEN", "tok-in-env")
        .args(&["--wait", "2s", "--max-stale", "1m"])
        .file("f", &["/a"], "{{ getv \"/a/k\" }}")
        .spawn();
    let get = |fake: &FakeHttp| wait_until(LONG, "a blocking query", || fake.requests().get(1).cloned());
    let r = get(&plain);
    for name in ["x-consul-token", "x-consul-namespace", "authorization"] {
        assert_eq!(r.header(name), None, "{name}");
    }
    assert_eq!((r.query("dc"), r.query("stale")), (None, None), "{}", r.path);
    let wait: u64 = r.query("wait").unwrap().trim_end_matches("ms").parse().unwrap();
    assert!((56_250..=60_000).contains(&wait), "a minute less up to a sixteenth, not {wait} ms");
    let r = get(&told);
    assert_eq!(r.header("x-consul-namespace"), Some("team-b"));
    assert_eq!((r.header("x-consul-token"), r.header("authorization")), (Some("tok-in-env"), Some("Basic dTpw")));
    assert_eq!(r.query("stale"), Some(""));
    let wait: u64 = r.query("wait").unwrap().trim_end_matches("ms").parse().unwrap();
    assert!((1_875..=2_000).contains(&wait), "2 s less up to a sixteenth, not {wait} ms");
    fish.end();
    other.end();
}

#[test]
fn the_address_may_be_a_host_a_url_or_a_unix_socket() {
    let dir = TempDir::new();
    let socket = dir.join("consul.sock");
    let consul = Consul::start_with(json!({"addresses": {"http": format!("$IP unix://{}", socket.display())}}));
    consul.put("app/v", "v1");
    let unix = format!("unix://{}", socket.display());
    let wants = "{{ getv \"/app/v\" }}";
    let mut all = Vec::new();
    for addr in [consul.addr(), format!("http://{}", consul.addr()), unix.clone()] {
        all.push(Setup::new("consul:").env("CONSUL_HTTP_ADDR", &addr).file("f", &["/app"], wants).spawn());
    }
    all.push(Setup::new(&format!("consul+{unix}")).file("f", &["/app"], wants).spawn());
    all.push(
        Setup::new(&format!("consul+http://{}/app", consul.addr())).file("f", &["/v"], "{{ getv \"/v\" }}").spawn(),
    );
    for fish in &all {
        fish.wait("f", "v1");
    }
    consul.put("app/v", "v2");
    for fish in &all {
        fish.wait("f", "v2");
        fish.check(fish.outages() == (0, 0), "there was no outage");
        fish.end();
    }
}

const MASTER: &str = "11111111-aaaa-4bbb-8ccc-0123456789ab";
const READER: &str = "22222222-aaaa-4bbb-8ccc-0123456789ab";
const READER_ID: &str = "33333333-aaaa-4bbb-8ccc-0123456789ab";
const SECOND: &str = "44444444-aaaa-4bbb-8ccc-0123456789ab";
const WRONG: &str = "55555555-aaaa-4bbb-8ccc-0123456789ab";
/// What every value of the ACL test contains.
const HUSH: &str = "hush-4711";

/// A server that denies by default; READER may read what is below app/, on two tokens.
fn consul_with_acl() -> Consul {
    let consul =
        Consul::start_with(json!({"acl": {"enabled": true, "default_policy": "deny", "tokens": {"master": MASTER}}}));
    let policy = json!({"Name": "read-app", "Rules": "key_prefix \"app/\" { policy = \"read\" }"});
    consul.call("PUT", "/v1/acl/policy", policy.to_string().as_bytes());
    make_token(&consul, READER_ID, READER);
    make_token(&consul, "66666666-aaaa-4bbb-8ccc-0123456789ab", SECOND);
    consul
}

fn make_token(consul: &Consul, id: &str, secret: &str) {
    let token = json!({"AccessorID": id, "SecretID": secret, "Policies": [{"Name": "read-app"}]});
    consul.call("PUT", "/v1/acl/token", token.to_string().as_bytes());
}

fn delete_token(consul: &Consul, id: &str) {
    consul.call("DELETE", &format!("/v1/acl/token/{id}"), b"");
}

/// Nothing the process printed, its command line as the test knows it apart, holds a token or a value.
#[track_caller]
fn tells_no_secret(fish: &Fish) {
    let said = [fish.proc.stdout(), fish.proc.stderr()].concat();
    for secret in [READER, SECOND, WRONG, MASTER, HUSH] {
        fish.check(!said.contains(secret), &format!("{secret} is in the output"));
    }
    fish.check(!said.is_empty(), "at debug level something is said");
}

#[test]
fn a_token_comes_from_where_it_is_said_and_is_told_nobody() {
    let consul = consul_with_acl();
    consul.put("app/v", format!("{HUSH}-1"));
    let files = TempDir::new();
    let file = files.write("token", format!("{READER}\n")).display().to_string();
    let at = || Setup::at(&consul.addr()).file("f", &["/app/"], "{{ getv \"/app/v\" }}");
    let ways = [
        ("CONSUL_HTTP_TOKEN", at().env("CONSUL_HTTP_TOKEN", READER)),
        ("CONSUL_HTTP_TOKEN_FILE", at().env("CONSUL_HTTP_TOKEN_FILE", &file)),
        ("--token", at().args(&["--token", READER])),
        ("--token-file", at().args(&["--token-file", &file])),
        ("PILOTFISH_TOKEN", at().env("PILOTFISH_TOKEN", READER)),
        ("token", at().source(&format!("token = '{READER}'"))),
        ("token_file", at().source(&format!("token_file = '{file}'"))),
        ("a flag before the environment", at().args(&["--token", READER]).env("CONSUL_HTTP_TOKEN", WRONG)),
        (
            "the file before the environment",
            at().source(&format!("token = '{READER}'")).env("CONSUL_HTTP_TOKEN", WRONG),
        ),
    ];
    for (name, setup) in ways {
        let fish = setup.args(&["--once"]).spawn();
        let ended = fish.proc.wait_exit(LONG);
        fish.check(ended == Exit::Code(0), &format!("the token by {name} should do"));
        fish.holds("f", &format!("{HUSH}-1"));
        tells_no_secret(&fish);
    }

    // Without a token everything looks empty; with a wrong one Consul says 403.
    let none = at().args(&["--start-timeout", "1s"]).app("f").spawn();
    let wrong = at().env("CONSUL_HTTP_TOKEN", WRONG).app("f").spawn();
    let broken = at().env("CONSUL_HTTP_TOKEN", &format!("{WRONG}\n{WRONG}")).spawn();
    let absent = at().args(&["--token-file", &files.join("later").display().to_string()]).spawn();
    none.proc.expect_exit(Exit::Code(69), LONG);
    none.check(none.count("giving up after") == 1 && none.count("/app/v") >= 1, "it says which key is missing");
    let line = wrong.wait_outage(1);
    wrong.check(line.text.contains("403") && line.text.contains("token"), "it says that the token is wrong");
    let tries = || wrong.count("; next try in") >= 4;
    wait_until(LONG, "more tries", || tries().then_some(()));
    wrong.check(wrong.outages() == (1, 0) && wrong.count("config:") == 0, "said once; nothing started");
    broken.wait_outage(1);
    let line = absent.wait_outage(1);
    absent.check(line.text.contains("token file") && line.text.contains("/later"), "it names the token's file");
    files.write("later", READER);
    absent.wait("f", format!("{HUSH}-1"));
    for fish in [&none, &wrong, &broken, &absent] {
        tells_no_secret(fish);
    }
}

#[test]
fn a_token_that_is_deleted_or_replaced_costs_no_file_and_is_picked_up_again() {
    let consul = consul_with_acl();
    consul.put("app/v", format!("{HUSH}-1"));
    let files = TempDir::new();
    let file = files.write("token", READER).display().to_string();
    let at = || Setup::at(&consul.addr()).file("f", &["/app/"], "{{ getv \"/app/v\" }}").args(&["--wait", "1s"]);
    let by_env = at().env("CONSUL_HTTP_TOKEN", READER).spawn();
    let by_file = at().args(&["--token-file", &file]).spawn();
    for fish in [&by_env, &by_file] {
        fish.wait("f", format!("{HUSH}-1"));
    }
    delete_token(&consul, READER_ID);
    for fish in [&by_env, &by_file] {
        let line = fish.wait_outage(1);
        fish.check(line.text.contains("403"), "it says 403");
        fish.holds("f", &format!("{HUSH}-1"));
    }
    consul.put("app/v", format!("{HUSH}-2"));
    // The file is replaced: that one goes on, without a restart.
    files.write("next", SECOND);
    std::fs::rename(files.join("next"), files.join("token")).unwrap();
    by_file.wait("f", format!("{HUSH}-2"));
    by_env.holds("f", &format!("{HUSH}-1"));
    // The token is made again: so does the other.
    make_token(&consul, READER_ID, READER);
    by_env.wait("f", format!("{HUSH}-2"));
    consul.put("app/v", format!("{HUSH}-3"));
    for fish in [&by_env, &by_file] {
        fish.wait("f", format!("{HUSH}-3"));
        fish.wait_recovery(1);
        fish.check(fish.outages() == (1, 1), "said once when it began and once when it ended");
        tells_no_secret(fish);
        fish.end();
        tells_no_secret(fish);
    }
}

#[test]
fn a_value_is_not_told_by_a_failing_template() {
    let consul = Consul::start();
    consul.put("app/v", format!("{{\"{HUSH}\": {HUSH}}}"));
    consul.put("app/bin", [HUSH.as_bytes(), &[0xFF]].concat());
    let go = [
        "{{ atoi (getv \"/app/v\") }}",
        "{{ json (getv \"/app/v\") }}",
        "{{ jsonArray (getv \"/app/v\") }}",
        "{{ parseBool (getv \"/app/v\") }}",
        "{{ base64Decode (getv \"/app/v\") }}",
        "{{ add 1 (getv \"/app/v\") }}",
        "{{ index (getv \"/app/v\") \"x\" }}",
        "{{ (getv \"/app/v\").Field }}",
        "{{ call (getv \"/app/v\") }}",
        "{{ range getv \"/app/v\" }}{{ end }}",
        "{{ range gets (getv \"/app/v\") }}{{ .Nothing }}{{ end }}{{ atoi (getv \"/app/bin\") }}",
        "{{ include (getv \"/app/v\") }}",
        "{{ slice (getv \"/app/v\") 5000 }}",
    ];
    let upon = [
        "{{ json(getv(\"/app/v\")) }}",
        "{{ atoi(getv(\"/app/v\")) }}",
        "{{ getv(\"/app/v\").field }}",
        "{% for x in getv(\"/app/v\") %}{% endfor %}",
        "{{ getv(\"/app/bin\") }}",
        "{{ add(1, getv(\"/app/v\")) }}",
    ];
    let mut all = Vec::new();
    for (dialect, templates) in [("go", &go[..]), ("upon", &upon[..])] {
        for template in templates {
            let fish = Setup::at(&consul.addr()).template("f", dialect, &["/app"], template).args(&["--once"]).spawn();
            all.push((template, fish));
        }
    }
    let mut told = Vec::new();
    for (template, fish) in &all {
        let ended = fish.proc.wait_exit(LONG);
        fish.check(ended != Exit::Code(0), &format!("{template} should fail"));
        let said = [fish.proc.stdout(), fish.proc.stderr()].concat();
        if said.contains(HUSH) {
            told.push(format!("{template}\n{said}"));
        }
    }
    assert!(told.is_empty(), "a value is in the output of:\n{}", told.join("\n"));
}
