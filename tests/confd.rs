//! The confd way in, as a confd user has it: a folder of resources and templates, flags in Go's style, each mode, against
//! a real Consul and the environment.
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

mod site;
mod util;

use std::os::unix::fs::PermissionsExt;

use site::Site;
use util::*;

#[test]
fn ten_resources_of_a_consul_each_for_itself() {
    let consul = Consul::start();
    let site = Site::new();
    for i in 0..8 {
        consul.put(&format!("app/{i}/v"), format!("a{i}"));
        let keys = format!("keys = [\"/{i}\"]\nprefix = \"/app\"");
        site.resource(&format!("r{i}"), &format!("{i} {{{{getv \"/{i}/v\"}}}}\n"), &keys);
    }
    site.resource("missing", "{{getv \"/none\"}}", "keys = [\"/none\"]");
    site.resource("broken", "{{getv", "keys = [\"/app\"]");
    site.dir.write("etc/conf.d/bad.toml", "[template]\nsrc = 1\n");
    let node = consul.addr();
    let once = site.confd(&["-backend", "consul", "-node", &node, "-onetime"]).run(secs(30));
    once.expect_exit(Exit::Code(1), secs(1));
    for i in 0..8 {
        assert_eq!(site.read(&format!("r{i}")), format!("{i} a{i}\n"));
    }
    let text = once.stderr();
    for want in [
        "INFO Backend set to consul",
        "INFO Starting confd",
        &format!("INFO Backend nodes set to {node}"),
        "key does not exist: /none",
        "broken.tmpl",
        "bad.toml:2: `template.src` must be text",
    ] {
        once.check(text.contains(want), want);
    }

    // Watching: one key, one file; the broken ones are said once and hold nobody up.
    let p = site.confd(&["-watch", "-backend=consul", "--node", &node, "-log-level", "debug"]).spawn();
    p.wait_line("r7 in sync", secs(30));
    consul.put("app/3/v", "b3");
    wait_file(site.out("r3"), "3 b3\n", secs(10));
    consul.put("none", "here");
    wait_file(site.out("missing"), "here", secs(10));
    p.wait_nth_line(2, "has been updated", secs(10));
    p.check(p.lines_matching("has been updated").len() == 2, "two files were updated");
    p.check(p.lines_matching("bad.toml").len() == 1, "the bad resource is said once");
    p.check(p.lines_matching("broken.tmpl").len() == 1, "the broken template is said once");
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));
}

#[test]
fn flags_variables_and_confd_toml_in_that_order() {
    let site = Site::new();
    site.resource("r", "{{getv \"/v\"}}", "keys = [\"/v\"]");
    site.dir.write("confd.toml", "backend = \"env\"\nprefix = \"/toml\"\nlog-level = \"error\"\n");
    let toml = site.dir.join("confd.toml").display().to_string();
    let with = |args: &[&str], prefix: &str| {
        let mut all = vec!["-onetime", "-config-file", &toml];
        all.extend(args);
        let mut c = site.confd(&all).env("TOML_V", "t").env("VAR_V", "v").env("FLAG_V", "f");
        if !prefix.is_empty() {
            c = c.env("CONFD_PREFIX", prefix);
        }
        c.run(secs(20)).expect_exit(Exit::Code(0), secs(1));
        site.read("r")
    };
    assert_eq!(with(&[], ""), "t");
    assert_eq!(with(&[], "/var"), "v");
    assert_eq!(with(&["-prefix", "/flag"], "/var"), "f");
    // What confd does not know counts for nothing, to confd too; what is no TOML ends with confd's code.
    let odd = site.dir.write("odd.toml", "Backend = \"env\"\nbakend = \"x\"\nPREFIX = '/toml'\n").display().to_string();
    let p = site.confd(&["-onetime", "-config-file", &odd]).env("TOML_V", "odd").run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    p.check(
        p.stderr().contains("WARNING") && p.stderr().contains("odd.toml:2: `bakend` is no key here"),
        "the key and its line",
    );
    assert_eq!(site.read("r"), "odd");
    let bad = site.dir.write("bad.toml", "backend = env\n").display().to_string();
    let p = site.confd(&["-onetime", "-config-file", &bad]).run(secs(20));
    p.expect_exit(Exit::Code(1), secs(1));
    p.check(p.stderr().contains("bad.toml:1:"), "the file and its line");
    let p = site.confd(&["-onetime", "-backend", "env", "-config-file", "/nonexistent", "-table", "t", "-path=p"]);
    let p = p.env("V", "plain").run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    assert_eq!(site.read("r"), "plain");
}

#[test]
fn the_command_line_is_gos() {
    let site = Site::new();
    for (args, want) in [
        (&["-nope"][..], "flag provided but not defined: -nope"),
        (&["-watch=maybe"], "invalid boolean value \"maybe\" for -watch: parse error"),
        (&["-interval", "x"], "invalid value \"x\" for flag -interval: parse error"),
        (&["-node"], "flag needs an argument: -node"),
        (&["---watch"], "bad flag syntax: ---watch"),
    ] {
        let p = site.confd(args).run(secs(20));
        p.expect_exit(Exit::Code(2), secs(1));
        p.check(p.stderr().contains(want) && p.stderr().contains("Usage of confd"), want);
    }
    let p = site.confd(&["-version"]).run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    assert!(p.stdout().starts_with("confd 0.16.0"), "{}", p.report());
    let p = site.confd(&["-backend", "vault"]).run(secs(20));
    p.expect_exit(Exit::Code(64), secs(1));
    p.check(p.stderr().contains("there are consul, env, etcd, etcdv3 and file"), "it names what there is");
    let p = site.confd(&["-onetime"]).run(secs(20));
    p.check(p.stderr().contains("Backend nodes set to http://127.0.0.1:4001"), "confd's default is etcd's old port");
    let p = site.confd(&["-onetime", "-backend", "etcdv3"]).run(secs(20));
    p.check(p.stderr().contains("Backend nodes set to 127.0.0.1:2379"), "etcd's port");
    let p = site.confd(&["-backend", "env", "-onetime"]).run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    p.check(p.stderr().contains("WARNING Found no templates"), "no resource is no failure");
}

#[test]
fn noop_shows_and_sync_only_runs_nothing() {
    let site = Site::new();
    let ran = site.dir.join("ran").display().to_string();
    site.resource(
        "r",
        "new {{getv \"/v\"}}\n",
        &format!("keys = [\"/v\"]\nreload_cmd = \"echo {{{{.dest}}}} >> {ran}\""),
    );
    site.dir.write("out/r", "old\n");
    let p = site.confd(&["-backend", "env", "-noop"]).env("V", "1").run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    assert_eq!(site.read("r"), "old\n");
    assert!(p.stdout().contains("-old\n+new 1\n"), "{}", p.report());
    p.check(p.stderr().contains("WARNING Noop mode enabled."), "it says so");

    let p = site.confd(&["-backend", "env", "-onetime", "-sync-only"]).env("V", "1").run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    assert_eq!(site.read("r"), "new 1\n");
    assert!(!site.dir.join("ran").exists(), "{}", p.report());

    let p = site.confd(&["-backend", "env", "-onetime"]).env("V", "2").run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    assert_eq!(site.dir.read("ran"), format!("{}\n", site.out("r").display()));

    let p = site.confd(&["-backend", "env", "-noop", "-keep-stage-file"]).env("V", "3").run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    let kept: Vec<String> = site.dir.names("out").into_iter().filter(|n| n.starts_with(".r")).collect();
    assert_eq!(kept.len(), 1, "{}", p.report());
    assert_eq!(site.read(&kept[0]), "new 3\n");
}

#[test]
fn checks_refuse_and_reloads_are_tried_again() {
    let consul = Consul::start();
    consul.put("v", "good");
    let site = Site::new();
    let gate = site.dir.join("gate").display().to_string();
    let more = format!(
        "keys = [\"/v\"]\nmode = \"0640\"\ncheck_cmd = \"grep -q good {{{{.src}}}}\"\nreload_cmd = \"test -e {gate}\""
    );
    site.resource("r", "{{getv \"/v\"}}", &more);
    let p = site.confd(&["-watch", "-backend", "consul", "-node", &consul.addr()]).spawn();
    wait_file(site.out("r"), "good", secs(20));
    assert_eq!(std::fs::metadata(site.out("r")).unwrap().permissions().mode() & 0o777, 0o640);
    p.wait_line("the reload command of", secs(10));
    site.dir.write("gate", "");
    p.wait_line("has succeeded now", secs(20));
    consul.put("v", "evil");
    p.wait_line("Config check failed: exit status 1", secs(10));
    assert_eq!(site.read("r"), "good");
    consul.put("v", "good again");
    wait_file(site.out("r"), "good again", secs(40));
    p.signal(libc::SIGINT);
    p.expect_exit(Exit::Code(0), secs(10));

    let once = site.confd(&["-onetime", "-backend", "consul", "-node", &consul.addr()]);
    consul.put("v", "good but the gate is shut");
    std::fs::remove_file(site.dir.join("gate")).unwrap();
    once.run(secs(20)).expect_exit(Exit::Code(1), secs(1));
}

#[test]
fn the_folder_is_read_again_at_hup_and_at_each_interval() {
    let site = Site::new();
    site.resource("a", "a {{getv \"/v\"}}", "keys = [\"/v\"]");
    let p = site.confd(&["-watch", "-backend", "env"]).env("V", "1").spawn();
    wait_file(site.out("a"), "a 1", secs(20));
    site.resource("b", "b {{getv \"/v\"}}", "keys = [\"/v\"]");
    site.dir.write("etc/templates/a.tmpl", "changed {{getv \"/v\"}}");
    p.signal(libc::SIGHUP);
    wait_file(site.out("a"), "changed 1", secs(10));
    wait_file(site.out("b"), "b 1", secs(10));
    // A bad resource: said, the others go on; mended: taken up.
    site.dir.write("etc/conf.d/c.toml", "[template]\n");
    let mark = p.mark();
    p.signal(libc::SIGHUP);
    p.wait_line_after(mark, "`template.src` is missing", secs(10));
    site.resource("c", "c {{getv \"/v\"}}", "keys = [\"/v\"]");
    p.signal(libc::SIGHUP);
    wait_file(site.out("c"), "c 1", secs(10));
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));

    let p = site.confd(&["-interval", "1", "-backend", "env"]).env("V", "2").spawn();
    wait_file(site.out("c"), "c 2", secs(20));
    site.resource("d", "d {{getv \"/v\"}}", "keys = [\"/v\"]");
    wait_file(site.out("d"), "d 2", secs(10));
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));
}

#[test]
fn called_confd_it_is_confd() {
    let site = Site::new();
    site.resource("r", "{{getv \"/a/b\"}} {{range gets \"/a/*\"}}{{.Key}}{{end}}", "keys = [\"/a_b\", \"/A\"]");
    let link = site.dir.join("confd");
    std::os::unix::fs::symlink(pilotfish_bin(), &link).unwrap();
    let dir = site.dir.join("etc").display().to_string();
    let p = Cmd::new(&link).args(["-backend", "env", "-confdir", &dir, "-onetime"]).env("A_B", "x").run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    assert_eq!(site.read("r"), "x /a/b");
}

#[test]
fn one_failing_reload_loses_no_other_and_daemons_it_started_live_on() {
    let site = Site::new();
    let (touched, pid) = (site.dir.join("touched"), site.dir.join("pid"));
    site.resource("a", "{{getv \"/v\"}}", "keys = [\"/v\"]\nreload_cmd = \"false\"");
    let slow = format!("keys = [\"/v\"]\nreload_cmd = \"sleep 0.3; touch {}\"", touched.display());
    site.resource("b", "{{getv \"/v\"}}", &slow);
    let daemon = format!("keys = [\"/v\"]\nreload_cmd = \"setsid sleep 60 & echo $! > {}\"", pid.display());
    site.resource("c", "{{getv \"/v\"}}", &daemon);
    // Many an image says of what version its confd is.
    let p = site.confd(&["-backend", "env", "-onetime"]).env("V", "1").env("CONFD_VERSION", "0.16.0").run(secs(30));
    p.expect_exit(Exit::Code(1), secs(1));
    p.check(touched.exists(), "the reload of b ran to its end");
    let pid: i32 = site.dir.read("pid").trim().parse().unwrap();
    p.check(processes().iter().any(|r| r.pid == pid && r.state != 'Z'), "the daemon lives");
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

#[test]
fn once_is_no_success_when_it_is_cut_off() {
    let silent = FakeHttp::start(|_| Answer::Hang(Vec::new()));
    let site = Site::new();
    site.resource("r", "{{getv \"/v\"}}", "keys = [\"/v\"]");
    let p = site.confd(&["-onetime", "-backend", "consul", "-node", &silent.addr()]).spawn();
    wait_until(secs(20), "a request", || (silent.count() > 0).then_some(()));
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(143), secs(10));
}

#[test]
fn what_answers_404_without_an_index_is_no_consul() {
    let other = FakeHttp::start(|_| Answer::reply(404, &["Content-Type: text/plain"], "not here"));
    let site = Site::new();
    site.resource("r", "{{range gets \"/v/*\"}}{{.Value}}{{end}}", "keys = [\"/v\"]");
    let p = site.confd(&["-onetime", "-backend", "consul", "-node", &other.addr()]).run(secs(20));
    p.expect_exit(Exit::Code(1), secs(1));
    p.check(!site.out("r").exists() && p.stderr().contains("404 not here"), "nothing is written");
}

#[test]
fn term_is_not_lost_while_a_new_configuration_waits_for_a_command() {
    let site = Site::new();
    let busy = site.dir.join("busy");
    // It ignores TERM and outlives its shell.
    let more = format!("keys = [\"/v\"]\nreload_cmd = \"touch {}; trap '' TERM; sleep 30\"", busy.display());
    site.resource("r", "{{getv \"/v\"}}", &more);
    let p = site.confd(&["-watch", "-backend", "env"]).env("V", "1").spawn();
    wait_until(secs(20), "the reload", || busy.exists().then_some(()));
    site.resource("s", "{{getv \"/v\"}}", "keys = [\"/v\"]");
    p.signal(libc::SIGHUP);
    p.wait_line("the configuration has changed", secs(10));
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));
}
