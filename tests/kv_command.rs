//! `pilotfish kv` on every source that is there: real Consul, real etcd by both interfaces, folders, files and the
//! environment. The same words do the same everywhere; what a source cannot do is said.
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

use util::*;

fn kv(source: &str, args: &[&str]) -> Proc {
    pilotfish().arg("kv").args(args).args(["--source", source]).run(secs(30))
}

fn ok(source: &str, args: &[&str]) -> String {
    let p = kv(source, args);
    p.expect_exit(Exit::Code(0), secs(1));
    p.stdout()
}

fn refused(source: &str, args: &[&str], want: &str) {
    let p = kv(source, args);
    p.expect_exit(Exit::Code(1), secs(1));
    p.check(p.stderr().contains(want) && p.stdout().is_empty(), want);
}

/// What every source that can be written does.
fn all_verbs(source: &str) {
    assert_eq!(ok(source, &["set", "/app/name", "shop"]), "");
    ok(source, &["set", "/app/db/host", "db 1 & more = 100%"]);
    ok(source, &["set", "app/db/port", "5432"]);
    ok(source, &["set", "/apple", "no part of app"]);
    assert_eq!(ok(source, &["get", "/app/name"]), "shop\n");
    assert_eq!(ok(source, &["get", "/app/db/host"]), "db 1 & more = 100%\n");
    assert_eq!(ok(source, &["ls"]), "/app/\n/apple\n");
    assert_eq!(ok(source, &["ls", "/app"]), "/app/db/\n/app/name\n");
    assert_eq!(ok(source, &["ls", "-r", "/app"]), "/app/db/host\n/app/db/port\n/app/name\n");
    assert_eq!(ok(source, &["get", "-r", "/app/db"]), "/app/db/host=db 1 & more = 100%\n/app/db/port=5432\n");
    let json: serde_json::Value = serde_json::from_str(&ok(source, &["get", "--json", "-r", "/app/db"])).unwrap();
    assert_eq!(json, serde_json::json!({"/app/db/host": "db 1 & more = 100%", "/app/db/port": "5432"}));
    let json: serde_json::Value = serde_json::from_str(&ok(source, &["ls", "--json", "/app"])).unwrap();
    assert_eq!(json, serde_json::json!(["/app/db/", "/app/name"]));
    refused(source, &["get", "/app/none"], "there is no key /app/none in ");
    refused(source, &["get", "/app"], "/app is a folder: say -r, or kv ls");
    refused(source, &["del", "/app"], "/app is a folder: say -r");
    refused(source, &["del", "/none"], "there is no key /none in ");
    ok(source, &["del", "/app/name"]);
    refused(source, &["get", "/app/name"], "there is no key /app/name");
    ok(source, &["del", "-r", "/app"]);
    assert_eq!(ok(source, &["ls", "-r"]), "/apple\n");

    // Each change is told; before the first is seen, nobody knows that it watches.
    for json in [false, true] {
        let mut args = vec!["kv", "watch", "-r", "/w", "--source", source];
        args.extend(json.then_some("--json"));
        let p = pilotfish().args(&args).spawn();
        let mut n = 0;
        wait_until(secs(20), "the first change", || {
            n += 1;
            ok(source, &["set", "/w/a", &n.to_string()]);
            (!p.lines().is_empty()).then_some(())
        });
        ok(source, &["set", "/wide", "no part of w"]);
        ok(source, &["set", "/w/b", "new"]);
        p.wait_line(if json { r#"{"action":"set","key":"/w/b","value":"new"}"# } else { "set /w/b=new" }, secs(10));
        ok(source, &["del", "/w/b"]);
        p.wait_line(if json { r#"{"action":"del","key":"/w/b"}"# } else { "del /w/b" }, secs(10));
        p.check(p.lines_matching("wide").is_empty(), "only what is below the key is told");
        p.signal(libc::SIGTERM);
        p.expect_exit(Exit::Signal(libc::SIGTERM), secs(10));
    }
}

#[test]
fn consul_by_hand() {
    let consul = Consul::start();
    let source = format!("consul://{}", consul.addr());
    all_verbs(&source);
    refused(&source, &["set", "/k", "v", "--ttl", "10s"], "Consul's keys have no time to live");
    // Below a prefix, as templates see it.
    let below = format!("{source}/site");
    ok(&below, &["set", "/k", "v"]);
    assert_eq!(consul.get("site/k").as_deref(), Some(&b"v"[..]));
    assert_eq!((ok(&below, &["ls"]), ok(&below, &["get", "k"])), ("/k\n".into(), "v\n".into()));
    // What Consul's pages call a folder is a key too, and goes by the name it is shown by.
    consul.put("fold/", "");
    assert_eq!(ok(&source, &["ls", "-r", "/fold"]), "");
    ok(&source, &["del", "/fold"]);
    assert_eq!(consul.get("fold/"), None);
    consul.put("bin", [0xff, 0xfe]);
    assert_eq!(
        ok(&source, &["get", "--json", "bin"]).replace(char::is_whitespace, ""),
        r#"{"/bin":{"base64":"//4="}}"#
    );
}

#[test]
fn etcd_by_hand() {
    let etcd = Etcd::start_as("etcd", &["--enable-v2"]);
    for scheme in ["etcd", "etcd2"] {
        let source = format!("{scheme}://{}", etcd.addr().trim_start_matches("http://"));
        all_verbs(&source);
        ok(&source, &["set", "/leaf", "v"]);
        refused(&source, &["get", "/leaf/under"], "there is no key /leaf/under");
        ok(&source, &["set", "--ttl", "1s", "/soon/gone", "v"]);
        assert_eq!(ok(&source, &["get", "/soon/gone"]), "v\n");
        wait_until(secs(20), "the end of the key", || {
            (kv(&source, &["get", "/soon/gone"]).exited() == Some(Exit::Code(1))).then_some(())
        });
    }
}

#[test]
fn folders_by_hand_and_what_can_only_be_read() {
    let dir = TempDir::new();
    let source = format!("dir:{}", dir.mkdir("keys").display());
    all_verbs(&source);
    refused(&source, &["set", "/.hidden", "v"], "names that begin with a dot are no keys of a folder");
    refused(&source, &["set", "--ttl=5", "/k", "v"], "files have no time to live");
    let file = dir.write("a.yaml", "a: {b: 1, c: two}\n");
    let file = format!("file:{}", file.display());
    assert_eq!(ok(&file, &["get", "-r", "/a"]), "/a/b=1\n/a/c=two\n");
    refused(&file, &["set", "/a/b", "2"], "it can only be read");
    let p = pilotfish().args(["kv", "get", "/some/name", "--source", "env:"]).env("SOME_NAME", "v").run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    assert_eq!(p.stdout(), "v\n");
    // By variable, by file, and a value from standard input.
    let script = "printf 'skipped\\nfrom\\nhere' | { read x; \"$0\" kv set /k -; }";
    let p = Cmd::new("sh").args(["-c", script]).arg(pilotfish_bin()).env("PILOTFISH_SOURCE", &source).run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    let toml = dir.write("p.toml", format!("[source.x]\nurl = '{source}'\n"));
    let p = pilotfish().args(["kv", "get", "/k", "--config"]).arg(&toml).run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    assert_eq!(p.stdout(), "from\nhere\n");
}

#[test]
fn wrong_words_are_said_with_the_usage() {
    for (args, want) in [
        (&["kv"][..], "nothing to do; usage: pilotfish kv get|ls|watch|del"),
        (&["kv", "put", "k"], "there is no kv put; usage"),
        (&["kv", "get"], "a key is missing; usage"),
        (&["kv", "set", "k"], "a value is missing; usage"),
        (&["kv", "get", "a", "b"], "there are too many words; usage"),
        (&["kv", "set", "a", "b", "--ttl", "x"], "--ttl x: expected a time"),
        (&["kv", "set", "a", "b", "--ttl"], "--ttl"),
        (&["kv", "set", "a", "b", "--ttl", "0"], "--ttl 0: the key would be gone at once; usage"),
        (&["kv", "get", "a", "--ttl", "5"], "--ttl is for kv set; usage"),
        (&["kv", "del", "-r", "/", "--source", "consul://127.0.0.1:1/below"], "/ is no key; usage"),
        (&["kv", "get", "a", "--source", "etcd://me:secret@h:1"], "have settings of their own: username, password"),
        (&["kv", "get", "a", "--nope"], "--nope"),
        (&["kv", "get", "a"], "say which source by --source URL"),
        (&["kv", "del", "-r", "/", "--source", "dir:/nowhere"], "/ is no key; usage"),
    ] {
        let p = pilotfish().args(args).run(secs(20));
        p.expect_exit(Exit::Code(64), secs(1));
        p.check(p.stderr().contains(want), want);
    }
    let p = pilotfish().args(["kv", "get", "a", "--source", "consul://127.0.0.1:1"]).run(secs(20));
    p.expect_exit(Exit::Code(69), secs(1));
    p.check(p.stderr().contains("cannot read /a from Consul at "), "where and why");
}
