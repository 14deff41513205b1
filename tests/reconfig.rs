//! The reconfig way in, as a reconfig user has it: JSON files and ERB templates in a folder, the samples of reconfig's own
//! README, each flag, against a real etcd with its first interface.
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

/// A cfgdir, and a folder for targets, which stands for /tmp in what is written to conf.d.
struct Site {
    dir: TempDir,
}

impl Site {
    fn new() -> Site {
        let dir = TempDir::new();
        dir.mkdir("etc/conf.d");
        dir.mkdir("etc/templates");
        dir.mkdir("out");
        Site { dir }
    }

    /// A JSON file, and the template it names.
    fn add(&self, name: &str, json: &str, template: &str) {
        let out = format!("\"{}/", self.dir.join("out").display());
        self.dir.write(format!("etc/conf.d/{name}.json"), json.replace("\"/tmp/", &out));
        let source = json.split("\"source\": \"").nth(1).map(|s| s.split('"').next().unwrap());
        if let Some(source) = source {
            self.dir.write(format!("etc/templates/{source}"), template);
        }
    }

    /// The shortest of both: a leaf as it is, to `out/NAME`.
    fn leaf(&self, name: &str, more: &str) {
        let json = format!(
            "{{\"key\": \"/{name}\", \"source\": \"{name}.erb\", \"target\": \"/tmp/{name}\"{}{more}}}",
            if more.is_empty() { "" } else { ", " }
        );
        self.add(name, &json, &format!("<%= @reconfig[\"data\"][\"/{name}\"] %>\n"));
    }

    fn out(&self, name: &str) -> std::path::PathBuf {
        self.dir.join("out").join(name)
    }

    fn read(&self, name: &str) -> String {
        self.dir.read(format!("out/{name}"))
    }

    fn reconfig(&self, address: &str, args: &[&str]) -> Cmd {
        let (host, port) = address.rsplit_once(':').unwrap();
        let dir = self.dir.join("etc").display().to_string();
        pilotfish().args(["reconfig", "-c", &dir, "--host", host, "--port", port]).args(args)
    }
}

const TEST1: &str = r#"{
"id": "test1",
"source": "test1.conf.erb",
"target": "/tmp/test1.conf",
"key": "/test1",
"recursive": true
}
"#;
const TEST1_ERB: &str = r#"<% @reconfig["data"].keys.sort.each do |x| %>
KEY <%= x %> has VALUE <%= @reconfig["data"][x] %>
<% end %>
"#;
const TEST3: &str = r##"{
"id": "test3_altpattern",
"source": "test3.conf.erb",
"target": "/tmp/test3.conf",
"key": "/test3",
"pattern": "#% %#",
"checkcmd": "CHECK",
"reloadcmd": "RELOAD"
}
"##;
const TEST3_ERB: &str = r##"#% @reconfig["data"].keys.each do |x| %#
Using alternate pattern, Key #%= x %# => #%= @reconfig["data"][x] %#
#% end %#
"##;
const TEST4: &str = r#"{
    "altkeys": {
        "akey1": "/altkey1",
        "akey2": "/altkey2"
    },
    "id": "test4_altkey",
    "key": "/test4",
    "recursive": false,
    "source": "test4.conf.erb",
    "target": "/tmp/test4.conf"
}
"#;
/// As it is printed, with one `end` too many.
const TEST4_ERB: &str = r#"This config uses 'altkeys' too. Using altkeys param, you can pull in values from other etcd keys into your config as well.
(The keys in altkeys are not watched for changed but rather fetched as-is whenever the main key changes)

The main key we watched for was "<%= @reconfig["watched"] %>".

Data based on main key (This key was being watched for changes):
<% @reconfig["data"].keys.each do |x| %>
KEY=<%= x %> VAL=<%= @reconfig["data"][x] %>
<% end %>

Data based on altkeys section (These are not watched but instead fetched from etcd whenever main key changes)
<% @reconfig["altdata"].keys.each do |thiskey| %>
Altkey=<%= thiskey %> - This points to a hash:
<%= JSON.pretty_generate(@reconfig["altdata"][thiskey]) %>
---

<% end %>
---

<% end %>
"#;

fn test4_output(value: &str, altkey1: &str) -> String {
    let head = TEST4_ERB.split("The main key").next().unwrap();
    let head = format!("{head}The main key we watched for was \"/test4\".\n\n");
    let data = format!(
        "Data based on main key (This key was being watched for changes):\nKEY=/test4 VAL={value}\n\n\
         Data based on altkeys section (These are not watched but instead fetched from etcd whenever main key changes)\n"
    );
    let alt = format!(
        "Altkey=akey1 - This points to a hash:\n{{\n  \"/altkey1\": \"{altkey1}\"\n}}\n---\n\n\
         Altkey=akey2 - This points to a hash:\n{{\n  \"/altkey2/x\": \"1\",\n  \"/altkey2/y\": \"2\"\n}}\n---\n\n---\n\n"
    );
    [head, data, alt].concat()
}

#[test]
fn the_three_samples_of_the_readme() {
    let etcd = Etcd::start();
    for (key, value) in [
        ("/test1/123", "hello"),
        ("/test1/456/deep", "helloworld"),
        ("/test3", "three"),
        ("/test4", "four"),
        ("/altkey1", "a1"),
        ("/altkey2/y", "2"),
        ("/altkey2/x", "1"),
        ("/test10/other", "not of test1"),
    ] {
        etcd.put2(key, value);
    }
    let site = Site::new();
    site.add("test1", TEST1, TEST1_ERB);
    let (check, reload) = (site.dir.join("check").display().to_string(), site.dir.join("reload").display().to_string());
    let test3 = TEST3.replace("CHECK", &format!("date >> {check}")).replace("RELOAD", &format!("date >> {reload}"));
    site.add("test3_altpattern", &test3, TEST3_ERB);
    site.add("test4", TEST4, TEST4_ERB);
    let p = site.reconfig(&etcd.addr(), &["-d"]).spawn();
    wait_file(
        site.out("test1.conf"),
        "KEY /test1/123 has VALUE hello\nKEY /test1/456/deep has VALUE helloworld\n",
        secs(20),
    );
    wait_file(site.out("test3.conf"), "Using alternate pattern, Key /test3 => three\n", secs(20));
    wait_file(site.out("test4.conf"), &test4_output("four", "a1"), secs(20));
    wait_until(secs(10), "the reload of test3", || site.dir.join("reload").exists().then_some(()));
    assert!(site.dir.join("check").exists(), "{}", p.report());

    // Changes; a new key; a key that goes; a key that goes by its time.
    etcd.put2("/test1/123", "hi");
    wait_file(
        site.out("test1.conf"),
        "KEY /test1/123 has VALUE hi\nKEY /test1/456/deep has VALUE helloworld\n",
        secs(10),
    );
    etcd.put2("/test1/0", "new");
    etcd.v2("DELETE", "/keys/test1/456/deep", "");
    wait_file(site.out("test1.conf"), "KEY /test1/0 has VALUE new\nKEY /test1/123 has VALUE hi\n", secs(10));
    etcd.v2("PUT", "/keys/test1/0", "value=new&ttl=1");
    wait_file(site.out("test1.conf"), "KEY /test1/123 has VALUE hi\n", secs(20));

    // An alternative key is fetched when the main one is set, and is not watched; the value may be the same.
    etcd.put2("/altkey1", "a2");
    etcd.put2("/test3", "3");
    wait_file(site.out("test3.conf"), "Using alternate pattern, Key /test3 => 3\n", secs(10));
    assert_eq!(site.read("test4.conf"), test4_output("four", "a1"), "{}", p.report());
    etcd.put2("/test4", "four");
    wait_file(site.out("test4.conf"), &test4_output("four", "a2"), secs(10));
    etcd.put2("/altkey1", "a3");
    etcd.put2("/test4", "IV");
    wait_file(site.out("test4.conf"), &test4_output("IV", "a3"), secs(10));
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));
    p.check(p.lines_matching("ERROR").is_empty(), "nothing went wrong");
}

#[test]
fn what_is_deleted_leaves_a_leaf_and_renders_a_tree() {
    let etcd = Etcd::start();
    let site = Site::new();
    site.leaf("leaf", "");
    site.add(
        "tree",
        r#"{"key": "/tree", "source": "tree.erb", "target": "/tmp/tree", "recursive": true}"#,
        "n=<%= @reconfig[\"data\"].size %>\n",
    );
    etcd.put2("/leaf", "1");
    etcd.put2("/tree/a", "1");
    etcd.put2("/tree/b", "2");
    let p = site.reconfig(&etcd.addr(), &["-d"]).spawn();
    wait_file(site.out("leaf"), "1\n", secs(20));
    wait_file(site.out("tree"), "n=2\n", secs(20));

    // A leaf that goes, or goes by its time: the file stays.
    etcd.v2("DELETE", "/keys/leaf", "");
    p.wait_line("all keys under /leaf of etcd", secs(10));
    assert_eq!(site.read("leaf"), "1\n");
    etcd.put2("/leaf", "2");
    wait_file(site.out("leaf"), "2\n", secs(10));
    let mark = p.mark();
    etcd.v2("PUT", "/keys/leaf", "value=2&ttl=1");
    p.wait_line_after(mark, "all keys under /leaf of etcd", secs(20));
    assert_eq!(site.read("leaf"), "2\n");
    // What stands there now is a folder: the file stays, too.
    etcd.put2("/leaf/deep", "3");
    p.wait_line("this key is a folder, and `recursive` is not set: /leaf", secs(10));
    assert_eq!(site.read("leaf"), "2\n");

    // A leaf of a tree that goes: rendered, also when it is the last one.
    etcd.v2("DELETE", "/keys/tree/a", "");
    wait_file(site.out("tree"), "n=1\n", secs(10));
    etcd.v2("DELETE", "/keys/tree/b", "");
    wait_file(site.out("tree"), "n=0\n", secs(10));
    etcd.put2("/tree/c", "3");
    wait_file(site.out("tree"), "n=1\n", secs(10));
    // The whole tree at once: kept until there is one again.
    etcd.v2("DELETE", "/keys/tree?recursive=true", "");
    p.wait_line("all keys under /tree of etcd", secs(10));
    assert_eq!(site.read("tree"), "n=1\n");
    for key in ["x", "y", "z"] {
        etcd.put2(&format!("/tree/{key}"), "");
    }
    wait_file(site.out("tree"), "n=3\n", secs(10));
    p.signal(libc::SIGINT);
    p.expect_exit(Exit::Code(0), secs(10));
}

#[test]
fn once_says_what_failed() {
    let etcd = Etcd::start();
    let site = Site::new();
    for name in ["good", "bad", "gone", "unlike"] {
        site.leaf(name, "");
    }
    for name in ["good", "bad", "unlike"] {
        etcd.put2(&format!("/{name}"), "v");
    }
    let once = || site.reconfig(&etcd.addr(), &["-o"]).run(secs(30));

    // A missing key is a warning, and its target stays as it is.
    site.dir.write("out/gone", "before\n");
    let p = once();
    p.expect_exit(Exit::Code(0), secs(1));
    assert_eq!((site.read("good").as_str(), site.read("gone").as_str()), ("v\n", "before\n"));
    p.check(p.stderr().contains("WARNING key does not exist: /gone: "), "the missing key");

    // A form that is not understood, a value that has no such method, a file that is no JSON.
    site.dir.write("etc/templates/bad.erb", "a\n<%= @reconfig[\"data\"].map { |x| x } %>\n");
    site.dir.write("etc/templates/unlike.erb", "<%= @reconfig[\"data\"][\"/nothing\"].split(\",\") %>");
    site.dir.write("etc/conf.d/z.json", "{\"key\": \"/z\"");
    etcd.put2("/good", "w");
    let p = once();
    p.expect_exit(Exit::Code(1), secs(1));
    assert_eq!(
        (site.read("good").as_str(), site.read("bad").as_str(), site.read("unlike").as_str()),
        ("w\n", "v\n", "v\n")
    );
    for want in [
        "templates/bad.erb:2:22: cannot understand `.map`: it is not in the part of ERB",
        "\n     2 | <%= @reconfig[\"data\"].map { |x| x } %>\n",
        "templates/unlike.erb:1:34: nil has no method split",
        "conf.d/z.json is no JSON: unexpected end of JSON input: this file is skipped",
    ] {
        p.check(p.stderr().contains(want), want);
    }

    // Without etcd.
    let nobody = format!("127.0.0.1:{}", free_port());
    let p = site.reconfig(&nobody, &["--onetime"]).run(secs(30));
    p.expect_exit(Exit::Code(1), secs(1));
    p.check(p.stderr().contains(&format!("from etcd at http://{nobody}: Connection refused")), "it names etcd");
}

#[test]
fn not_really_shows_and_writes_nothing() {
    let etcd = Etcd::start();
    let site = Site::new();
    let ran = site.dir.join("ran").display().to_string();
    site.leaf("r", &format!("\"checkcmd\": \"touch {ran}\", \"reloadcmd\": \"touch {ran}\""));
    site.dir.write("out/r", "old\n");
    etcd.put2("/r", "new");
    let p = site.reconfig(&etcd.addr(), &["-on"]).run(secs(30));
    p.expect_exit(Exit::Code(0), secs(1));
    assert!(p.stdout().contains("-old\n+new\n"), "{}", p.report());
    // Without -o it goes on showing.
    let p = site.reconfig(&etcd.addr(), &["--notreally"]).spawn();
    p.wait_line("+new", secs(20));
    etcd.put2("/r", "newer");
    p.wait_line("+newer", secs(10));
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));
    assert_eq!(site.read("r"), "old\n");
    assert!(!site.dir.join("ran").exists(), "{}", p.report());
}

#[test]
fn checks_come_first_with_and_without_a_reload() {
    let etcd = Etcd::start();
    let site = Site::new();
    let out = site.out("").display().to_string();
    let out = out.trim_end_matches('/');
    let reloaded = site.dir.join("reloaded").display().to_string();
    // The check names the target, as reconfig's users write it; it sees the new content all the same.
    site.leaf("a", &format!("\"checkcmd\": \"grep -q good {out}/a\""));
    site.leaf("b", &format!("\"checkcmd\": \"grep -q good {{src}}\", \"reloadcmd\": \"cat {out}/b >> {reloaded}\""));
    site.leaf("c", &format!("\"reloadcmd\": \"cat {out}/c >> {reloaded}\""));
    for name in ["a", "b"] {
        etcd.put2(&format!("/{name}"), &format!("good {name}"));
    }
    let p = site.reconfig(&etcd.addr(), &[]).spawn();
    wait_file(site.out("a"), "good a\n", secs(20));
    wait_file(&reloaded, "good b\n", secs(20));
    p.wait_line("WARNING key does not exist: /c", secs(10));
    etcd.put2("/a", "evil");
    p.wait_line(&format!("Config check failed: exit status 1: {out}/a is not changed"), secs(10));
    etcd.put2("/b", "evil");
    p.wait_line(&format!("Config check failed: exit status 1: {out}/b is not changed"), secs(10));
    assert_eq!((site.read("a").as_str(), site.read("b").as_str()), ("good a\n", "good b\n"));
    etcd.put2("/c", "good c");
    wait_file(&reloaded, "good b\ngood c\n", secs(10));
    etcd.put2("/b", "good again");
    wait_file(&reloaded, "good b\ngood c\ngood again\n", secs(40));
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));
}

#[test]
fn a_change_during_a_slow_reload_is_not_lost() {
    let etcd = Etcd::start();
    let site = Site::new();
    let (gate, seen) = (site.dir.join("gate").display().to_string(), site.dir.join("seen").display().to_string());
    let out = site.out("r").display().to_string();
    let slow = format!("cat {out} >> {seen}; while ! test -e {gate}; do sleep 0.02; done");
    site.leaf("r", &format!("\"reloadcmd\": \"{slow}\""));
    etcd.put2("/r", "1");
    let p = site.reconfig(&etcd.addr(), &["-d"]).spawn();
    wait_file(&seen, "1\n", secs(20));
    // While the reload hangs: the file follows, the reload comes once more, with the last value.
    for n in 2..=5 {
        etcd.put2("/r", &n.to_string());
    }
    wait_file(site.out("r"), "5\n", secs(10));
    site.dir.write("gate", "");
    wait_file(&seen, "1\n5\n", secs(10));
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));
}

#[test]
fn prefix_patterns_and_upon() {
    let etcd = Etcd::start();
    let site = Site::new();
    etcd.put2("/prod/app/a", "1");
    etcd.put2("/prod/app/b", "x,y");
    etcd.put2("/alt/k", "not under the prefix");
    let json = |name: &str, source: &str, key: &str, pattern: &str| {
        format!(
            r#"{{"key": "{key}", "source": "{source}", "target": "/tmp/{name}", "recursive": true, "pattern": "{pattern}",
                "altkeys": {{"other": "//alt//k", "none": "/none"}}, "unknown": 1}}"#
        )
    };
    site.add(
        "erb",
        &json("erb", "t.erb", "//app/", "<!--% %-->"),
        "<!--% if @reconfig[\"altdata\"][\"none\"].empty? %-->\n<!--%= @reconfig[\"altdata\"][\"other\"][\"/alt/k\"] %-->\n\
         <!--% end %-->\n<!--%# a comment %-->\n<!--%= @reconfig[\"watched\"] %-->\n\
         <!--% @reconfig[\"data\"][\"/prod/app/b\"].split(\",\").reverse.each do |s| %-->\nserver <!--%= s %-->;\n\
         <!--% end %-->\n",
    );
    site.add(
        "upon",
        &json("upon", "t.upon", "/app/a", "<% %>").replace("\"recursive\": true", "\"recursive\": false"),
        "{% for k, v in data %}{{ k }}={{ v }}\n{% endfor %}{{ watched }}\n\
         {% for k, v in altdata.other %}{{ k }}={{ v }}\n{% endfor %}{{ getv(\"/prod/app/a\") }}\n",
    );
    let p = site.reconfig(&etcd.addr(), &["-o", "-p", "/prod/"]).run(secs(30));
    p.expect_exit(Exit::Code(0), secs(1));
    assert_eq!(site.read("erb"), "not under the prefix\n/prod/app\nserver y;\nserver x;\n", "{}", p.report());
    assert_eq!(site.read("upon"), "/prod/app/a=1\n/prod/app/a\n/alt/k=not under the prefix\n1\n", "{}", p.report());
    p.check(p.stderr().contains("WARNING") && p.stderr().contains("`unknown` means nothing here"), "the unknown key");
}

#[test]
fn bad_files_are_skipped_and_mended_ones_taken_up() {
    let etcd = Etcd::start();
    let site = Site::new();
    etcd.put2("/a", "1");
    etcd.put2("/b", "2");
    site.leaf("a", "");
    site.add("b", r#"{"key": "/a", "source": "b.erb", "target": "/tmp/b"}"#, "x");
    site.add("c", r#"{"key": "/c", "source": "c.erb", "target": "/tmp/a"}"#, "x");
    site.dir.write("etc/conf.d/d.json", r#"{"key": "/d", "source": "none.erb", "target": "/tmp/d"}"#);
    site.dir.write("etc/conf.d/e.json", r#"{"key": "e", "source": "a.erb", "target": "/tmp/e"}"#);
    site.dir.write("etc/conf.d/readme.txt", "no JSON");
    let p = site.reconfig(&etcd.addr(), &[]).spawn();
    wait_file(site.out("a"), "1\n", secs(20));
    for want in [
        "b.json: `key` is the key of another file already: this file is skipped",
        "c.json: `target` is the target of another file already: this file is skipped",
        "d.json: cannot read the template",
        "e.json: `key` must begin with /: this file is skipped",
    ] {
        p.wait_line(want, secs(10));
    }
    site.leaf("b", "");
    p.signal(libc::SIGHUP);
    wait_file(site.out("b"), "2\n", secs(10));
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));
}

#[test]
fn usr1_turns_debug_on_and_off() {
    let etcd = Etcd::start();
    let site = Site::new();
    site.leaf("a", "");
    etcd.put2("/a", "1");
    let p = site.reconfig(&etcd.addr(), &[]).spawn();
    wait_file(site.out("a"), "1\n", secs(20));
    p.signal(libc::SIGUSR1);
    p.wait_line("debug is on", secs(10));
    p.signal(libc::SIGHUP);
    p.wait_line("DEBUG the configuration is as it was", secs(10));
    p.signal(libc::SIGUSR1);
    p.wait_line("debug is off", secs(10));
    p.signal(libc::SIGHUP);
    etcd.put2("/a", "2");
    wait_file(site.out("a"), "2\n", secs(10));
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));
    p.check(p.lines_matching("DEBUG").len() == 1, "each step is logged while debug is on");
}

#[test]
fn the_command_line_and_the_folders() {
    let site = Site::new();
    site.leaf("a", "");
    let pem = site.dir.write("ca.pem", "").display().to_string();
    let locked = site.dir.write("locked.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n").display().to_string();
    let locked_key = format!(
        "cannot use the key {locked} of --ssl_key: it is encrypted; decrypt it with: openssl pkey -in {locked} -out NEW.key"
    );
    for (args, code, want) in [
        (&["--nope"][..], 64, "invalid option '--nope'; see reconfig --help"),
        (&["-p", "app"], 64, "--prefix app: it must begin with /"),
        (&["--ssl_cafile", "/nowhere/ca.pem"], 78, "cannot read the file of --ssl_cafile /nowhere/ca.pem"),
        (&["-s", "--ssl_cert", &pem], 78, "--ssl_cert needs --ssl_key beside it"),
        (&["-s", "--ssl_cert", &pem, "--ssl_key", &locked], 78, &locked_key),
        (&["--cfgdir", "/nowhere"], 1, "Missing config dirs: there is no folder /nowhere"),
    ] {
        let p = site.reconfig("127.0.0.1:1", args).run(secs(20));
        p.expect_exit(Exit::Code(code), secs(1));
        p.check(p.stderr().contains(want), want);
    }
    let p = site.reconfig("127.0.0.1:1", &["-h"]).run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    assert!(p.stdout().starts_with("Usage: reconfig (options)\n"), "{}", p.report());
    // Called by its own names.
    for name in ["reconfig", "reconfig.rb"] {
        let link = site.dir.join(name);
        std::os::unix::fs::symlink(pilotfish_bin(), &link).unwrap();
        let p = Cmd::new(&link).arg("--version").run(secs(20));
        p.expect_exit(Exit::Code(0), secs(1));
        assert!(p.stdout().starts_with("reconfig (pilotfish "), "{}", p.report());
    }
}

#[test]
fn an_outage_of_etcd_loses_nothing() {
    let mut etcd = Etcd::start();
    let site = Site::new();
    site.add("test4", TEST4, TEST4_ERB);
    etcd.put2("/altkey1", "a1");
    etcd.put2("/altkey2/x", "1");
    etcd.put2("/altkey2/y", "2");
    etcd.put2("/test4", "four");
    let p = site.reconfig(&etcd.addr(), &[]).spawn();
    wait_file(site.out("test4.conf"), &test4_output("four", "a1"), secs(20));
    etcd.kill9();
    p.wait_line("cannot read /test4 from etcd", secs(20));
    assert_eq!(site.read("test4.conf"), test4_output("four", "a1"));
    etcd.restart();
    etcd.put2("/test4", "V");
    wait_file(site.out("test4.conf"), &test4_output("V", "a1"), secs(60));
    p.wait_line("answers again after", secs(10));
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));
}

/// A name server that gives one SRV record after another; it ends with the test's process.
fn name_server(records: Vec<(u16, String)>) -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let (ip, udp) = wait_until(secs(20), "an address with a free port 53 (it needs root)", || {
        let n = std::process::id() + NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let ip = format!("127.{}.{}.53", 20 + n / 250 % 14, n % 250);
        Some((ip.clone(), std::net::UdpSocket::bind((ip.as_str(), 53)).ok()?))
    });
    std::thread::spawn(move || {
        let mut buf = [0; 2048];
        for i in 0.. {
            let Ok((n, from)) = udp.recv_from(&mut buf) else { return };
            let (port, target) = &records[std::cmp::min(i, records.len() - 1)];
            let mut reply = buf[..n].to_vec();
            reply[2..4].copy_from_slice(&0x8180u16.to_be_bytes());
            reply[6..8].copy_from_slice(&1u16.to_be_bytes());
            let mut data = [0, 1, 0, 1].to_vec();
            data.extend(port.to_be_bytes());
            for label in target.split('.') {
                data.push(label.len() as u8);
                data.extend(label.as_bytes());
            }
            data.push(0);
            reply.extend([0xC0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
            reply.extend(data);
            udp.send_to(&reply, from).unwrap();
        }
    });
    ip
}

#[test]
fn servers_by_a_record_which_is_looked_up_again() {
    let etcd = Etcd::start();
    etcd.put2("/a", "1");
    let site = Site::new();
    site.leaf("a", "");
    // At first the record names a server that is not there.
    let ip = etcd.addr().split(':').next().unwrap().to_string();
    let dns = name_server(vec![(1, ip.clone()), (2379, ip.clone())]);
    let conf = site.dir.write("resolv.conf", format!("nameserver {dns}\n"));
    let dir = site.dir.join("etc").display().to_string();
    let mut cmd = Cmd::new("unshare").arg("--mount");
    if unsafe { libc::geteuid() } != 0 {
        cmd = cmd.args(["--user", "--map-root-user"]);
    }
    let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    let cmd = cmd.args(["sh", "-c", script]).arg(conf).arg(pilotfish_bin());
    let p = cmd.args(["reconfig", "-c", &dir, "--srv", "_etcd._tcp.example.com", "--host", "ignored"]).spawn();
    p.wait_line(&format!("cannot read /a from etcd at http://{ip}:1: Connection refused"), secs(20));
    wait_file(site.out("a"), "1\n", secs(20));
    p.wait_line("etcd by the SRV record _etcd._tcp.example.com answers again", secs(10));
    etcd.put2("/a", "2");
    wait_file(site.out("a"), "2\n", secs(10));
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));
}
