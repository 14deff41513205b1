//! etcd's keys on real servers of 3.4 and 3.5, by both interfaces: what is seen and when, which keys belong to a prefix,
//! pages at one revision, users and what they may read, confd's ways to name it.

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
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use util::*;

const ALL: &str = "{{ range gets \"/*\" }}{{ .Key }}={{ .Value }}\n{{ end }}";

fn at(addr: &str) -> Setup {
    Setup::new(&format!("etcd://{addr}"))
}

fn at2(addr: &str) -> Setup {
    Setup::new(&format!("etcd2://{addr}"))
}

fn each_change_is_seen_at_once(fish: &Fish, version: &str, put: &dyn Fn(&str, &str), delete: &dyn Fn(&str)) {
    fish.proc.wait_line("config: v0\\n pid=", LONG);
    let (mut to_file, mut to_app) = (Vec::new(), Vec::new());
    for n in 1..=15 {
        let value = format!("v{n}");
        let begin = Instant::now();
        put("/app/v", &value);
        to_file.push(fish.wait("f", format!("{value}\n")).duration_since(begin));
        to_app.push(fish.proc.wait_line(&format!("config: {value}\\n"), LONG).at.duration_since(begin));
        // The next change is no part of this one's pace (two applies are 100 ms apart).
        while begin.elapsed() < millis(130) {
            std::thread::sleep(millis(5));
        }
    }
    to_file.sort();
    to_app.sort();
    eprintln!("{version}: put -> file: median {:?}, worst {:?}", to_file[7], to_file[14]);
    fish.check(to_app[7] < millis(250), &format!("a change takes {:?} (median) to the app", to_app[7]));
    fish.check(fish.reloads() == 15, "each of 15 single changes is one reload");

    // The same value again, another prefix, a sibling: nothing happens, as a later change proves.
    let renders = fish.renders("f");
    put("/app/v", "v15");
    put("/other/v", "x");
    put("/app/sibling", "s");
    delete("/app/sibling");
    put("/app/mark", "set");
    fish.wait("mark", "set");
    fish.proc.wait_nth_line(17, "config: ", LONG);
    fish.check(fish.renders("f") == renders, "the file was rendered without need");
    delete("/app/mark");
    fish.wait("mark", "none");
    fish.check(fish.outages() == (0, 0), "there was no outage");
    fish.end();
}

#[test]
fn each_change_is_seen_at_once_and_nothing_else() {
    for program in ["etcd", "etcd35"] {
        let etcd = Etcd::start_as(program, &[]);
        let setup = |s: Setup| {
            s.file("f", &["/app"], "{{ getv \"/app/v\" }}\n")
                .file("mark", &["/app"], "{{ getv \"/app/mark\" \"none\" }}")
                .app("f")
                .spawn()
        };
        etcd.put("/app/v", "v0");
        each_change_is_seen_at_once(&setup(at(&etcd.addr())), &format!("{program} v3"), &|k, v| etcd.put(k, v), &|k| {
            etcd.delete(k)
        });
        etcd.put2("/app/v", "v0");
        each_change_is_seen_at_once(
            &setup(at2(&etcd.addr())),
            &format!("{program} v2"),
            &|k, v| etcd.put2(k, v),
            &|k| {
                etcd.v2("DELETE", &format!("/keys{k}"), "");
            },
        );
    }
}

#[test]
fn a_prefix_is_whole_parts_of_the_path_and_odd_keys_do_no_harm() {
    let etcd = Etcd::start();
    for key in ["/a", "/a/x", "/a-b", "/a.c/x", "/ab", "/ab/x", "/a//y/", "a/no-slash", "/b/x", "/c/deep/er/x"] {
        etcd.put(key, format!("<{key}>"));
    }
    etcd.put(b"/a/\xff\xfe", "the key is no text");
    etcd.put("/a/bytes", b"\xff\x00");
    etcd.put("/a/empty", "");
    let names = "{{ range gets \"/*\" }}{{ .Key }} {{ end }}{{ range gets \"/*/*\" }}{{ .Key }} {{ end }}";
    let fish = at(&etcd.addr())
        .file("a", &["/a"], names)
        .file("ab", &["/ab"], names)
        .file("all", &["/"], names)
        .file("y", &["/a"], "{{ getv \"/a/y\" }}|{{ getv \"/a/empty\" }}|{{ getv \"/a\" \"none\" }}")
        .spawn();
    fish.wait("a", "/a /a/bytes /a/empty /a/x /a/y ");
    fish.wait("ab", "/ab /ab/x ");
    fish.wait("all", "/a /a-b /ab /a.c/x /a/bytes /a/empty /a/x /a/y /ab/x /b/x ");
    fish.wait("y", "</a//y/>||</a>");
    etcd.put("/a/y", "clean");
    fish.wait("y", "clean||</a>");
    etcd.delete("/a");
    etcd.put("/a/z", "1");
    fish.wait("a", "/a/bytes /a/empty /a/x /a/y /a/z ");
    etcd.delete("/ab");
    etcd.put("/abc", "1");
    fish.wait("ab", "/ab/x ");
    fish.end();
    // A URL's path: all below it, without it.
    let fish = at(&format!("{}/a", etcd.addr())).file("f", &["/"], ALL).spawn();
    fish.wait("f", b"/bytes=\xff\0\n/empty=\n/x=</a/x>\n/y=clean\n/z=1\n");
    fish.end();
}

#[test]
fn five_thousand_keys_are_read_at_one_revision_while_they_are_written() {
    let etcd = Etcd::start();
    let mut expected = String::new();
    for part in 0..50 {
        let keys: Vec<(String, String)> =
            (part * 100..part * 100 + 100).map(|n| (format!("/many/k{n:05}"), format!("{n}"))).collect();
        etcd.put_all(&keys.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>());
        keys.iter().for_each(|(k, v)| expected.push_str(&format!("{k}={v}\n")));
    }
    // The first and the last key always hold the same number: they are of different pages.
    let turn = |n: u64| etcd.put_all(&[("/many/a", &n.to_string()), ("/many/z", &n.to_string())]);
    turn(0);
    let done = AtomicBool::new(false);
    let all = "{{ range gets \"/many/k*\" }}{{ .Key }}={{ .Value }}\n{{ end }}";
    let mut starts = 0;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut n = 0;
            while !done.load(Ordering::SeqCst) {
                n += 1;
                turn(n);
            }
            n
        });
        // Pages of a start that did not hold together would show in its first file.
        for _ in 0..15 {
            let fish = at(&etcd.addr())
                .file("pair", &["/many"], "{{ getv \"/many/a\" }} {{ getv \"/many/z\" }}")
                .file("all", &["/many"], all)
                .spawn();
            fish.wait("all", &expected);
            let mut seen = std::collections::BTreeSet::new();
            wait_until(LONG, "five states of the pair", || {
                let text = fish.text("pair")?;
                let (a, z) = text.split_once(' ').unwrap();
                fish.check(a == z, &format!("the file shows two revisions: {text}"));
                seen.insert(text);
                (seen.len() >= 5).then_some(())
            });
            fish.check(fish.outages() == (0, 0), "there was no outage");
            fish.end();
            starts += 1;
        }
        done.store(true, Ordering::SeqCst);
        let n = writer.join().unwrap();
        eprintln!("{starts} starts while {n} transactions were written");
        let fish = at(&etcd.addr()).file("pair", &["/many"], "{{ getv \"/many/a\" }} {{ getv \"/many/z\" }}").spawn();
        fish.wait("pair", format!("{n} {n}"));
        fish.end();
    });
}

#[test]
fn of_1000_puts_the_last_wins_with_at_most_one_reload_in_100_ms() {
    let etcd = Etcd::start();
    etcd.put("/app/v", "start");
    let fish = at(&etcd.addr()).file("f", &["/app/v"], "{{ getv \"/app/v\" }}").app("f").spawn();
    fish.proc.wait_line("config: start pid=", LONG);
    etcd.put("/app/v", "warm");
    fish.proc.wait_line("config: warm pid=", LONG);
    let (begin, before) = (Instant::now(), fish.reloads());
    std::thread::scope(|scope| {
        for t in 0..4 {
            let etcd = &etcd;
            scope.spawn(move || (0..250).for_each(|n| etcd.put("/app/v", format!("{t}-{n}"))));
        }
    });
    let took = begin.elapsed();
    etcd.put("/app/v", "end");
    let shown = fish.proc.wait_line("config: end pid=", LONG);
    let (elapsed, reloads) = (shown.at.duration_since(begin), fish.reloads() - before);
    let most = elapsed.as_millis() as usize / 100 + 2;
    eprintln!("1000 puts in {took:?}; {reloads} reloads in {elapsed:?} (at most {most})");
    fish.check(reloads > 1 && reloads <= most, &format!("{reloads} reloads in {elapsed:?}"));
    for burst in 0..25 {
        for n in 0..burst % 7 + 1 {
            etcd.put("/app/v", format!("b{burst}-{n}"));
        }
        fish.proc.wait_line(&format!("config: b{burst}-{} pid=", burst % 7), LONG);
    }
    fish.end();
}

/// What a client that was away gets at once is larger than one message, and more than it reads in one go.
#[test]
fn large_values_and_many_events_at_once_come_through() {
    for program in ["etcd", "etcd35"] {
        let etcd = Etcd::start_as(program, &[]);
        etcd.put("/app/n", "0");
        let fish = at(&etcd.addr())
            .file("n", &["/app"], "{{ getv \"/app/n\" }}")
            .file("big", &["/big"], "{{ range getvs \"/big/*\" }}{{ . }}{{ end }}")
            .spawn();
        fish.wait("n", "0");
        fish.proc.signal(libc::SIGSTOP);
        let value = |n: usize| format!("{n:03}").repeat(100_000);
        let mut expected = String::new();
        for n in 0..40 {
            etcd.put(format!("/big/k{n:03}"), value(n));
            expected.push_str(&value(n));
        }
        for n in 1..=300 {
            etcd.put("/app/n", n.to_string());
        }
        fish.proc.signal(libc::SIGCONT);
        fish.wait("n", "300");
        fish.wait("big", &expected);
        etcd.delete_all("/big/");
        etcd.put("/big/last", "x");
        fish.wait("big", "x");
        fish.check(fish.outages() == (0, 0), "there was no outage");
        fish.end();
    }
}

#[test]
fn users_read_what_they_may_and_a_refusal_is_said_without_secrets() {
    for program in ["etcd", "etcd35"] {
        let mut etcd = Etcd::start_as(program, &[]);
        etcd.put("/app/v", "v1");
        etcd.put("/other/v", "o1");
        etcd.put("/whole/v", "w1");
        let of = |user: &str, password: &str, key: &str| {
            at(&etcd.addr())
                .source(&format!("username = '{user}'\npassword = '{password}'"))
                .file("f", &[key], &format!("{{{{ getv \"{key}/v\" }}}}"))
                .spawn()
        };
        // Without authentication in etcd a user does no harm.
        let fish = of("u", "s3cr3t\"<&", "/app");
        fish.wait("f", "v1");
        fish.end();

        etcd.enable_auth("s3cr3t\"<&", &[("/app/", "/app0"), ("/whole", "/wholf")]);
        let of = |user: &str, password: &str, key: &str| {
            at(&etcd.addr())
                .source(&format!("username = '{user}'\npassword = '{password}'"))
                .file("f", &[key], &format!("{{{{ getv \"{key}/v\" }}}}"))
                .spawn()
        };
        let below = of("u", "s3cr3t\"<&", "/app"); // what `--prefix /app/` grants is enough
        let whole = of("u", "s3cr3t\"<&", "/whole");
        let denied = of("u", "s3cr3t\"<&", "/other");
        let wrong = of("u", "guessed-wr0ng", "/app");
        let nobody = at(&etcd.addr()).file("f", &["/app"], "{{ getv \"/app/v\" }}").spawn();
        below.wait("f", "v1");
        whole.wait("f", "w1");
        for (fish, said) in [
            (&denied, "permission denied (may the user read this prefix?)"),
            (&wrong, "cannot authenticate: "),
            (&wrong, "invalid user ID or password"),
            (&nobody, "user name is empty (it wants a user and a password)"),
        ] {
            let line = fish.wait_outage(1);
            fish.check(line.text.contains(said), said);
            fish.check(line.text.contains(&format!("from etcd at http://{}", etcd.addr())), "it says where");
            fish.proc.wait_nth_line(3, "; next try in ", LONG);
            fish.check(fish.outages() == (1, 0), "it is said once");
        }
        etcd.put("/app/v", "v2");
        etcd.put("/whole/v", "w2");
        below.wait("f", "v2");
        whole.wait("f", "w2");
        // A right given later is used without a restart.
        etcd.call(
            "auth/role/grant",
            serde_json::json!({"name": "r", "perm": {"permType": "READ",
                "key": base64(b"/other"), "range_end": base64(b"/other0")}}),
        );
        denied.wait("f", "o1");
        denied.wait_recovery(1);
        for fish in [&below, &whole, &denied, &wrong, &nobody] {
            fish.end();
            let log = fish.proc.stderr();
            fish.check(!log.contains("s3cr3t") && !log.contains("wr0ng"), "a password is in the log");
        }
    }
}

#[test]
fn v2_folders_expire_and_go_and_a_burst_longer_than_its_memory_is_not_missed() {
    let etcd = Etcd::start();
    let fish = at2(&etcd.addr())
        .file("f", &["/app"], "{{ range gets \"/app/*\" }}{{ .Key }}={{ .Value }} {{ end }}|")
        .file("deep", &["/app"], "{{ range gets \"/app/*/*\" }}{{ .Key }} {{ end }}|")
        .source("allow_empty = true")
        .spawn();
    fish.wait("f", "|"); // nothing is there yet
    etcd.put2("/app/v", "1");
    fish.wait("f", "/app/v=1 |");
    etcd.v2("PUT", "/keys/app/short?ttl=1", "value=x");
    fish.wait("f", "/app/short=x /app/v=1 |");
    fish.wait("f", "/app/v=1 |"); // expired
    etcd.v2("PUT", "/keys/app/dir?dir=true&ttl=2", "");
    etcd.put2("/app/dir/k", "1");
    etcd.put2("/app/tree/k", "1");
    fish.wait("deep", "/app/dir/k /app/tree/k |");
    fish.wait("deep", "/app/tree/k |");
    etcd.v2("DELETE", "/keys/app/tree?recursive=true", "");
    fish.wait("deep", "|");
    etcd.v2("PUT", "/keys/app/v?prevValue=1", "value=2");
    fish.wait("f", "/app/v=2 |");
    // More than the 1,000 events that etcd keeps, of other keys and of these, while nobody listens.
    fish.proc.signal(libc::SIGSTOP);
    etcd.put2("/app/v", "3");
    for n in 0..1100 {
        etcd.put2("/other/k", &n.to_string());
    }
    fish.proc.signal(libc::SIGCONT);
    fish.wait("f", "/app/v=3 |");
    for n in 0..1100 {
        etcd.put2("/other/k", &n.to_string());
    }
    etcd.put2("/app/v", "4");
    fish.wait("f", "/app/v=4 |");
    fish.check(fish.outages() == (0, 0), "there was no outage");
    etcd.v2("DELETE", "/keys/app?recursive=true", "");
    fish.wait("f", "|");
    fish.end();

    // A key as the prefix; a prefix that is not there; v2 that is not on; v3 is another set of keys.
    etcd.put2("/leaf", "l");
    let leaf = at2(&etcd.addr()).file("f", &["/leaf"], "{{ getv \"/leaf\" }}").spawn();
    leaf.wait("f", "l");
    leaf.end();
    let off = Etcd::start_as("etcd", &["--enable-v2=false"]);
    let fish = at2(&off.addr()).file("f", &["/app"], "x").spawn();
    let line = fish.wait_outage(1);
    fish.check(line.text.contains("404") && line.text.contains("--enable-v2"), "it says how to turn v2 on");
    fish.end();
}

#[test]
fn v2_takes_a_user_by_basic_authentication() {
    let etcd = Etcd::start();
    etcd.put2("/app/v", "1");
    let json = ["Content-Type: application/json"];
    let put = |path: &str, body: &str| {
        let r = http("PUT", &etcd.addr(), path, &json, body.as_bytes()).unwrap();
        assert!(r.status < 300, "{path}: {r:?}");
    };
    put("/v2/auth/users/root", r#"{"user":"root","password":"rootpw"}"#);
    put("/v2/auth/enable", "");
    let root = format!("Authorization: Basic {}", base64(b"root:rootpw"));
    let guest = http("DELETE", &etcd.addr(), "/v2/auth/roles/guest", &[&root], b"").unwrap();
    assert!(guest.status < 300, "{guest:?}");
    let of = |user: &str, password: &str| {
        at2(&etcd.addr())
            .source(&format!("username = '{user}'\npassword = '{password}'"))
            .file("f", &["/app"], "{{ getv \"/app/v\" }}")
            .spawn()
    };
    let (good, bad) = (of("root", "rootpw"), of("root", "wr0ng-pw"));
    good.wait("f", "1");
    let line = bad.wait_outage(1);
    bad.check(line.text.contains("401") && line.text.contains("user and password"), "it says why");
    for fish in [&good, &bad] {
        fish.end();
        let log = fish.proc.stderr();
        fish.check(!log.contains("rootpw") && !log.contains("wr0ng-pw"), "a password is in the log");
    }
}

#[test]
fn confd_and_confd_sidecar_name_it_as_confd_does() {
    let etcd = Etcd::start();
    etcd.put("/p/app/v", "three");
    etcd.put("/p/app2/v", "no part of it");
    etcd.put2("/p/app/v", "two");
    let resource = "[template]\nsrc = \"t.tmpl\"\ndest = \"DEST\"\nkeys = [\"/app\"]\n";
    let template = "{{ getv \"/app/v\" }}{{ range gets \"/*/*\" }} {{ .Key }}{{ end }}\n";
    let site = |args: &[&str], envs: &[(&str, &str)]| {
        let dir = TempDir::new();
        let dest = dir.join("out");
        dir.write("conf.d/t.toml", resource.replace("DEST", &dest.display().to_string()));
        dir.write("templates/t.tmpl", template);
        let mut cmd = pilotfish().args(args).env("CONFD_CONFDIR", dir.path().display().to_string());
        for (name, value) in envs {
            cmd = cmd.env(*name, *value);
        }
        (dir, dest, cmd)
    };
    let node = format!("http://{}", etcd.addr());
    for (args, envs, want) in [
        (&["confd", "-onetime", "-backend", "etcdv3", "-node", &node, "-prefix", "/p"][..], &[][..], "three /app/v\n"),
        (&["confd", "-onetime", "-backend=etcd", "--node", &node, "-prefix", "/p"], &[], "two /app/v\n"),
        (&["confd", "-onetime", "-prefix", "/p"], &[("ETCDCTL_PEERS", node.as_str())], "two /app/v\n"),
        (
            &["confd", "-onetime", "-prefix", "/p", "-backend", "etcdv3"],
            &[("CONFD_NODE", &etcd.addr())],
            "three /app/v\n",
        ),
    ] {
        let (_dir, dest, cmd) = site(args, envs);
        let p = cmd.run(secs(30));
        p.expect_exit(Exit::Code(0), secs(1));
        assert_eq!(std::fs::read_to_string(&dest).unwrap(), want, "{args:?}");
        assert!(p.stderr().contains("Backend nodes set to "), "{}", p.stderr());
    }
    // Once, with etcd away: said, and ended with 1.
    let (_dir, _, cmd) = site(&["confd", "-onetime"], &[("ETCDCTL_PEERS", "http://127.0.0.1:9")]);
    let p = cmd.run(secs(30));
    p.expect_exit(Exit::Code(1), secs(1));
    assert!(p.stderr().contains("cannot read /app from etcd at http://127.0.0.1:9: "), "{}", p.stderr());

    for (backend, first, second) in [("etcdv3", "three", "drei"), ("etcd", "two", "zwei")] {
        let sidecar = ["confd-sidecar", "--", "sleep", "1000"];
        let envs = [("CONFD_BACKEND", backend), ("CONFD_NODE", &node), ("CONFD_PREFIX", "/p")];
        let (_dir, dest, cmd) = site(&sidecar, &envs);
        let p = cmd.spawn();
        wait_file(&dest, &format!("{first} /app/v\n"), LONG);
        if backend == "etcd" {
            etcd.put2("/p/app/v", second);
        } else {
            etcd.put("/p/app/v", second);
        }
        wait_file(&dest, &format!("{second} /app/v\n"), LONG);
        p.signal(libc::SIGTERM);
        p.expect_exit(Exit::Code(143), secs(20));
    }
}
