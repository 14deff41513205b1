//! Where confd hurts its users, and what confd's way in does instead: one test for each row of that list, with the same
//! flags, files and templates.
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

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use site::Site;
use util::*;

/// Everything below `/v`, one line a key.
const ALL: &str = "{{range gets \"/v/*\"}}{{.Key}}={{.Value}}\n{{end}}";

/// Runs as a confd of a Consul, watching, at level debug.
fn watching(site: &Site, node: &str) -> Proc {
    site.confd(&["-watch", "-backend", "consul", "-node", node, "-log-level", "debug"]).spawn()
}

fn end(p: &Proc) {
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));
}

/// The lines a command appended to a file so far.
fn count_lines(site: &Site, name: &str) -> usize {
    std::fs::read_to_string(site.dir.join(name)).unwrap_or_default().lines().count()
}

#[test]
fn a_consul_restored_to_a_lower_index_is_seen_at_once() {
    let n = Arc::new(AtomicUsize::new(0));
    let count = n.clone();
    let fake = FakeHttp::start(move |r| match (count.fetch_add(1, Ordering::SeqCst), r.query("index")) {
        (0, _) => Answer::consul_kv(500, &[("v/a", "before")]),
        (1, Some("500")) => Answer::consul_kv(7, &[("v/a", "restored")]),
        _ if r.query("index") == Some("7") => Answer::consul_kv(8, &[("v/a", "and later")]),
        _ if r.query("index") == Some("8") => Answer::Hang(Vec::new()),
        _ => Answer::consul_kv(7, &[("v/a", "restored")]),
    });
    let site = Site::new();
    site.resource("r", ALL, "keys = [\"/v\"]");
    let p = watching(&site, &fake.addr());
    wait_file(site.out("r"), "/v/a=and later\n", secs(20));
    p.check(fake.requests().iter().any(|r| r.query("index") == Some("7")), "it asks with the lower index");
    end(&p);
}

#[test]
fn an_index_of_0_is_no_busy_loop() {
    let fake = FakeHttp::start(|_| Answer::consul_kv(0, &[("v/a", "1")]));
    let site = Site::new();
    site.resource("r", ALL, "keys = [\"/v\"]");
    let p = watching(&site, &fake.addr());
    wait_file(site.out("r"), "/v/a=1\n", secs(20));
    let mut at = Vec::new();
    wait_until(secs(60), "six requests", || {
        at = fake.requests().iter().map(|r| r.at).collect();
        (at.len() >= 6).then_some(())
    });
    let six = at[5].duration_since(at[0]);
    p.check(six > millis(700), &format!("six requests within {six:?}; confd has a thousand a second"));
    end(&p);
}

#[test]
fn unrelated_keys_render_nothing() {
    let consul = Consul::start();
    consul.put("v/a", "1");
    consul.put("w/a", "1");
    let site = Site::new();
    site.resource("r", ALL, "keys = [\"/v\"]");
    // What it asks for is not all it reads.
    site.resource("one", "{{getv \"/w/a\"}}", "keys = [\"/w\"]");
    let p = watching(&site, &consul.addr());
    wait_file(site.out("r"), "/v/a=1\n", secs(20));
    wait_file(site.out("one"), "1", secs(20));
    let lines = |text: &str| p.lines_matching(text).len();
    wait_until(secs(10), "both in sync", || {
        (lines("r in sync") + lines("r has been updated") > 0 && lines("one has been updated") > 0).then_some(())
    });
    let before = p.mark();
    for n in 0..10 {
        consul.put(&format!("elsewhere/{n}"), "x");
        consul.put(&format!("w/other{n}"), "x");
    }
    consul.put("v/b", "2");
    wait_file(site.out("r"), "/v/a=1\n/v/b=2\n", secs(10));
    consul.put("w/a", "2");
    wait_file(site.out("one"), "2", secs(10));
    wait_until(secs(10), "the second update of one", || (lines("one has been updated") == 2).then_some(()));
    let new = &p.lines()[before..];
    let touched =
        |name: &str| new.iter().filter(|l| l.text.contains(&format!("{} ", site.out(name).display()))).count();
    let synced = |name: &str| new.iter().filter(|l| l.text.contains(&format!("out/{name} in sync"))).count();
    p.check(touched("one") > 0 && synced("one") == 0 && synced("r") == 0, "nothing was rendered to no purpose");
    end(&p);
}

#[test]
fn fifty_puts_in_a_burst_are_few_renders_and_the_last_value_wins() {
    let consul = Consul::start();
    consul.put("v/a", "0");
    let site = Site::new();
    let more = format!("keys = [\"/v\"]\nreload_cmd = \"echo x >> {}\"", site.dir.join("reloads").display());
    site.resource("r", ALL, &more);
    let p = watching(&site, &consul.addr());
    wait_file(site.out("r"), "/v/a=0\n", secs(20));
    wait_until(secs(10), "the first reload", || (count_lines(&site, "reloads") == 1).then_some(()));
    let begin = Instant::now();
    for n in 1..=50 {
        consul.put("v/a", n.to_string());
    }
    wait_file(site.out("r"), "/v/a=50\n", secs(10));
    let took = begin.elapsed();
    consul.put("v/a", "end");
    wait_file(site.out("r"), "/v/a=end\n", secs(10));
    let applied = p.lines_matching("has been updated").len() - 2;
    let most = usize::try_from(took.as_millis() / 100).unwrap() + 2;
    p.check(applied <= most, &format!("{applied} applies of 50 puts in {took:?}"));
    end(&p);
}

#[test]
fn a_failed_reload_stays_pending_until_it_succeeds() {
    let site = Site::new();
    let gate = site.dir.join("gate");
    site.resource("r", "{{getv \"/v\"}}", &format!("keys = [\"/v\"]\nreload_cmd = \"test -e {}\"", gate.display()));
    let p = site.confd(&["-watch", "-backend", "env"]).env("V", "1").spawn();
    p.wait_line("the reload command of", secs(10));
    site.dir.write("gate", "");
    p.wait_line("has succeeded now", secs(20));
    end(&p);
}

#[test]
fn a_change_during_a_slow_reload_does_not_wait_for_others_and_a_hanging_one_is_killed() {
    let consul = Consul::start();
    consul.put("v/a", "1");
    consul.put("w/a", "1");
    let site = Site::new();
    let hang = "keys = [\"/v\"]\nreload_timeout = \"1s\"\nreload_cmd = \"sleep 1000 & echo $! > PID; wait\"";
    site.resource("r", ALL, &hang.replace("PID", &site.dir.join("pid").display().to_string()));
    site.resource("other", "{{getv \"/w/a\"}}", "keys = [\"/w\"]");
    let p = watching(&site, &consul.addr());
    let pid = wait_until(secs(20), "the reload", || {
        std::fs::read_to_string(site.dir.join("pid")).ok()?.trim().parse::<i32>().ok()
    });
    consul.put("w/a", "2");
    wait_file(site.out("other"), "2", secs(10));
    p.check(!p.stderr().contains("was killed"), "the other file did not wait for the slow reload");
    p.wait_line("the reload command of", secs(10));
    wait_until(secs(10), "the end of the command's child", || {
        processes().iter().all(|r| r.pid != pid || r.state == 'Z').then_some(())
    });
    end(&p);
}

#[test]
fn a_missing_folder_is_tried_again_or_made() {
    let site = Site::new();
    let dest = |name: &str| site.dir.join(name).display().to_string();
    site.dir.write("etc/templates/t.tmpl", "{{getv \"/v\"}}");
    let resource =
        |dest: &str, more: &str| format!("[template]\nsrc=\"t.tmpl\"\ndest=\"{dest}\"\nkeys=[\"/v\"]\n{more}\n");
    site.dir.write("etc/conf.d/a.toml", resource(&dest("later/a"), ""));
    site.dir.write("etc/conf.d/b.toml", resource(&dest("made/deep/b"), "make_dirs = true"));
    let p = site.confd(&["-watch", "-backend", "env"]).env("V", "1").spawn();
    wait_file(dest("made/deep/b"), "1", secs(20));
    p.wait_line("later", secs(10));
    site.dir.mkdir("later");
    wait_file(dest("later/a"), "1", secs(40));
    end(&p);
}

#[test]
fn a_reload_needs_no_client_in_the_image() {
    let fake = FakeHttp::start(|_| Answer::reply(204, &[], ""));
    let site = Site::new();
    site.resource(
        "r",
        "{{getv \"/v\"}}",
        &format!("keys = [\"/v\"]\nreload_cmd = \"http://{}/-/reload\"", fake.addr()),
    );
    let p = site.confd(&["-onetime", "-backend", "env"]).env("V", "1").run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    let asked: Vec<String> = fake.requests().iter().map(|r| format!("{} {}", r.method, r.path)).collect();
    assert_eq!(asked, ["POST /-/reload"]);
    site.resource("r", "{{getv \"/v\"}}", "keys = [\"/v\"]\nreload_cmd = \"docker://?signal=HUP\"");
    let p = site.confd(&["-onetime", "-backend", "env"]).env("V", "1").run(secs(20));
    p.expect_exit(Exit::Code(1), secs(1));
    p.check(p.stderr().contains("r.toml:5: `template.reload_cmd`"), "file and line");
}

#[test]
fn a_symlink_stays_and_its_target_is_replaced() {
    let site = Site::new();
    site.dir.write("real/r", "old");
    std::os::unix::fs::symlink("../real/r", site.out("r")).unwrap();
    site.resource("r", "{{getv \"/v\"}}", "keys = [\"/v\"]");
    let p = site.confd(&["-onetime", "-backend", "env"]).env("V", "new").run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    p.check(site.out("r").is_symlink(), "it is a symlink still");
    assert_eq!(site.dir.read("real/r"), "new");
}

#[test]
fn a_bind_mounted_destination_is_written_in_place() {
    let site = Site::new();
    site.dir.write("out/r", "");
    let host = site.dir.write("host", "as the host has it");
    site.resource("r", "{{getv \"/v\"}}", "keys = [\"/v\"]");
    let script = "mount --bind \"$D/host\" \"$D/out/r\" && exec \"$@\"";
    let p = in_pid_namespace(None, "/bin/sh")
        .args(["-c", script, "sh"])
        .arg(pilotfish_bin())
        .args(["confd", "-onetime", "-backend", "env", "-confdir"])
        .arg(site.dir.join("etc"))
        .env("D", site.dir.path())
        .env("V", "new");
    let inode = std::fs::metadata(&host).unwrap().ino();
    let p = p.run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    p.check(p.lines_matching("is a mount point: written in place").len() == 1, "it is said once");
    assert_eq!((site.dir.read("host").as_str(), std::fs::metadata(&host).unwrap().ino()), ("new", inode));
}

#[test]
fn keys_that_vanish_empty_no_upstream() {
    let consul = Consul::start();
    for n in 0..3 {
        consul.put(&format!("v/{n}"), "x");
    }
    consul.put("w/need", "1");
    consul.put("w/other", "1");
    let site = Site::new();
    site.resource("all", ALL, "keys = [\"/v\"]");
    site.resource("two", ALL, "keys = [\"/v\"]\nmin_keys = 2");
    let needy = "{{range gets \"/w/*\"}}{{.Key}} {{end}}";
    site.resource("needy", needy, "keys = [\"/w\"]\nrequire = [\"/w/need\", \"/w/\"]");
    let p = watching(&site, &consul.addr());
    let full = "/v/0=x\n/v/1=x\n/v/2=x\n";
    wait_file(site.out("all"), full, secs(20));
    wait_file(site.out("two"), full, secs(20));
    wait_file(site.out("needy"), "/w/need /w/other ", secs(20));
    consul.delete("v/0");
    wait_file(site.out("two"), "/v/1=x\n/v/2=x\n", secs(10));
    consul.delete("v/1");
    wait_file(site.out("all"), "/v/2=x\n", secs(10));
    p.wait_line("`min_keys`: there are 1 keys and must be 2", secs(10));
    assert_eq!(site.read("two"), "/v/1=x\n/v/2=x\n");
    consul.delete("w/need");
    p.wait_line("`require`: there is no key /w/need", secs(10));
    assert_eq!(site.read("needy"), "/w/need /w/other ");
    // The last one: nobody may want an empty file.
    consul.delete("v/2");
    p.wait_line("all keys under /v of ", secs(20));
    assert_eq!(site.read("all"), "/v/2=x\n");
    consul.put("v/7", "y");
    consul.put("v/8", "y");
    wait_file(site.out("two"), "/v/7=y\n/v/8=y\n", secs(10));
    consul.put("w/need", "2");
    consul.delete("w/other");
    wait_file(site.out("needy"), "/w/need ", secs(10));
    end(&p);

    // Once: what must be there and is not is a failure.
    let once = site.confd(&["-onetime", "-backend", "consul", "-node", &consul.addr()]);
    consul.delete("v/7");
    let p = once.run(secs(20));
    p.expect_exit(Exit::Code(1), secs(1));
    p.check(p.stderr().contains("`min_keys`: there are 1 keys and must be 2"), "what is missing");
}

#[test]
fn a_backend_that_is_down_is_said_at_once_and_once() {
    let node = format!("127.0.0.1:{}", free_port());
    let site = Site::new();
    site.resource("r", ALL, "keys = [\"/v\"]");
    let begin = Instant::now();
    let p = site.confd(&["-watch", "-backend", "consul", "-node", &node]).spawn();
    let line = p.wait_line("next try in", secs(20)).text;
    p.check(line.contains(&node), &format!("it names the node: {line}"));
    p.check(begin.elapsed() < secs(5), "confd is silent for nine seconds");
    p.check(p.lines_matching("next try in").len() == 1, &format!("said more than once: {line}"));
    end(&p);
}

#[test]
fn as_pid_1_it_leaves_no_zombies() {
    let site = Site::new();
    // Each reload leaves an orphan behind, which ends at once.
    let orphans = "i=0; while [ $i -lt 50 ]; do (true &); i=$((i+1)); done";
    let more = format!("keys = [\"/v\"]\nreload_cmd = \"{orphans}; touch {}\"", site.dir.join("ran").display());
    site.resource("r", "{{getv \"/v\"}}", &more);
    let p = in_pid_namespace(None, pilotfish_bin())
        .args(["confd", "-watch", "-backend", "env", "-confdir"])
        .arg(site.dir.join("etc"))
        .env("V", "1")
        .spawn();
    wait_until(secs(20), "the reload", || site.dir.join("ran").exists().then_some(()));
    let pid = p.inner_pid();
    wait_until(secs(20), "the orphans to be reaped", || children_of(pid).is_empty().then_some(()));
    p.signal_inner(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));
}

#[test]
fn owners_names_places_and_prefixes_say_what_they_mean() {
    let site = Site::new();
    let said = site.dir.join("said").display().to_string();
    let more = format!(
        "keys = [\"/c\"]\nprefix = \"/b\"\nprefix_mode = \"concat\"\nowner = \"0\"\nmode = \"644\"
reload_cmd = \"echo {{{{.src}}}} {{{{.dest}}}} > {said}\""
    );
    // Only root may give files away; being oneself is allowed to everybody.
    // SAFETY: plain system call.
    let me = unsafe { libc::geteuid() }.to_string();
    site.resource("r", "{{getv \"/c\"}}", &more.replace("owner = \"0\"", &format!("owner = \"{me}\"")));
    let p = site.confd(&["-onetime", "-backend", "env", "-prefix", "/a"]).env("A_B_C", "x").run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    assert_eq!(site.read("r"), "x");
    assert_eq!(std::fs::metadata(site.out("r")).unwrap().mode() & 0o7777, 0o644);
    let out = site.out("r").display().to_string();
    assert_eq!(site.dir.read("said"), format!("{out} {out}\n"));
}

#[test]
fn resources_have_their_first_turn_one_after_the_other() {
    let site = Site::new();
    let (a, ran) = (site.out("a").display().to_string(), site.dir.join("ran").display().to_string());
    site.resource("a", "{{getv \"/v\"}}", &format!("keys = [\"/v\"]\nreload_cmd = \"touch {ran}\""));
    // As with nginx -t and a file that it includes.
    let more = format!("keys = [\"/v\"]\ncheck_cmd = \"grep -q 1 {a} && test -f {ran}\"");
    site.resource("b", &format!("{{{{fileExists \"{a}\"}}}} {{{{getv \"/v\"}}}}"), &more);
    for mode in ["-onetime", "-watch"] {
        let p = site.confd(&[mode, "-backend", "env"]).env("V", "1").spawn();
        wait_file(site.out("b"), "true 1", secs(20));
        if mode == "-watch" {
            p.signal(libc::SIGTERM);
        }
        p.expect_exit(Exit::Code(0), secs(10));
        p.check(p.lines_matching("Config check failed").is_empty(), "the check saw what came before it");
        for file in ["out/a", "out/b", "ran"] {
            std::fs::remove_file(site.dir.join(file)).unwrap();
        }
    }
}

#[test]
fn one_source_that_fails_once_fails_only_those_that_need_it() {
    let fake = FakeHttp::start(|r| match r.path.contains("/v1/kv/b") {
        true => Answer::reply(403, &[], "Permission denied"),
        false => Answer::consul_kv(5, &[("a", "1"), ("c", "3")]),
    });
    let site = Site::new();
    for name in ["a", "b", "c"] {
        site.resource(name, &format!("{{{{getv \"/{name}\"}}}}"), &format!("keys = [\"/{name}\"]"));
    }
    let p = site.confd(&["-onetime", "-backend", "consul", "-node", &fake.addr()]).run(secs(20));
    p.expect_exit(Exit::Code(1), secs(1));
    assert_eq!((site.read("a").as_str(), site.read("c").as_str()), ("1", "3"));
    p.check(!site.out("b").exists() && !p.stderr().contains("next try in"), "once is once");
    let last = p.stderr().lines().last().unwrap_or("").to_string();
    p.check(last.contains(" FATAL ") && last.contains("403 Permission denied"), "the last line says why");
}

#[test]
fn files_that_others_change_are_put_right_at_the_next_interval_or_hup() {
    let site = Site::new();
    site.resource("a", "{{getv \"/v\"}}", "keys = [\"/v\"]");
    let p = site.confd(&["-interval", "1", "-backend", "env"]).env("V", "1").spawn();
    wait_file(site.out("a"), "1", secs(20));
    site.dir.write("out/a", "tampered");
    wait_file(site.out("a"), "1", secs(20));
    std::fs::remove_file(site.out("a")).unwrap();
    wait_file(site.out("a"), "1", secs(20));
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));

    let p = site.confd(&["-watch", "-backend", "env"]).env("V", "2").spawn();
    wait_file(site.out("a"), "2", secs(20));
    site.dir.write("out/a", "tampered");
    p.signal(libc::SIGHUP);
    wait_file(site.out("a"), "2", secs(20));
    p.check(p.lines_matching("Starting confd").len() == 1, "it starts once");
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));
}

#[test]
fn a_changed_template_counts_at_the_next_change_of_a_key() {
    let consul = Consul::start();
    consul.put("v", "1");
    let site = Site::new();
    site.resource("a", "old {{getv \"/v\"}}", "keys = [\"/v\"]");
    let p = watching(&site, &consul.addr());
    wait_file(site.out("a"), "old 1", secs(20));
    site.dir.write("etc/templates/a.tmpl", "new {{getv \"/v\"}}");
    consul.put("v", "2");
    wait_file(site.out("a"), "new 2", secs(20));
    end(&p);
}

#[test]
fn a_configmap_mounted_as_conf_d_is_one_set_of_resources() {
    let site = Site::new();
    let dest = site.out("a").display().to_string();
    let text = format!("[Template]\nSRC = \"a.tmpl\"\ndest = \"{dest}\"\nkeys = [\"/v\"]\nuid = -1\nmystery = 1\n");
    site.dir.write("etc/conf.d/..v1/a.toml", text);
    site.dir.write("etc/templates/..v1/a.tmpl", "{{getv \"/v\"}}");
    for dir in ["etc/conf.d", "etc/templates"] {
        std::os::unix::fs::symlink("..v1", site.dir.join(dir).join("..data")).unwrap();
    }
    std::os::unix::fs::symlink("..data/a.toml", site.dir.join("etc/conf.d/a.toml")).unwrap();
    std::os::unix::fs::symlink("..data/a.tmpl", site.dir.join("etc/templates/a.tmpl")).unwrap();
    let p = site.confd(&["-onetime", "-backend", "env"]).env("V", "1").env("v_small", "no").run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    assert_eq!(site.read("a"), "1");
    p.check(p.lines_matching("a.toml:6: `Template.mystery` is no key here").len() == 1, "said, and passed over");
    // A link that leads nowhere is no file that is not there.
    std::os::unix::fs::symlink("nowhere", site.dir.join("etc/conf.d/b.toml")).unwrap();
    let p = site.confd(&["-onetime", "-backend", "env"]).env("V", "1").run(secs(20));
    p.expect_exit(Exit::Code(1), secs(1));
    p.check(p.stderr().contains("b.toml"), "it is named");
}
