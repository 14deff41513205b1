//! Folders kept in step with keys: what a reader may see at any instant, what hostile keys and neighbours can do, and what
//! is left when pilotfish is killed.

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

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use util::*;

const WAIT: Duration = secs(40);

/// A folder of keys that is replaced as a whole, as the kubelet does it, and the folder that follows it in `out`.
struct World {
    dir: TempDir,
    version: AtomicUsize,
}

impl World {
    fn new() -> World {
        let dir = TempDir::new();
        dir.mkdir("keys");
        World { dir, version: AtomicUsize::new(0) }
    }
    /// These keys and no others, all at once. Keys of one level alone.
    fn publish(&self, keys: &[(&str, &str)]) {
        let n = self.version.fetch_add(1, Ordering::SeqCst);
        let at = format!("keys/..v{n}");
        self.dir.mkdir(&at);
        for (key, value) in keys {
            self.dir.write(format!("{at}/{key}"), value);
        }
        let link = self.dir.join("keys/..tmp");
        symlink(format!("..v{n}"), &link).unwrap();
        let mut tops: Vec<&str> = keys.iter().map(|(k, _)| k.split('/').next().unwrap()).collect();
        tops.dedup();
        for name in self.dir.names("keys").iter().filter(|n| !n.starts_with("..") && !tops.contains(&n.as_str())) {
            fs::remove_file(self.dir.join("keys").join(name)).unwrap();
        }
        fs::rename(link, self.dir.join("keys/..data")).unwrap();
        for top in tops {
            let _ = symlink(format!("..data/{top}"), self.dir.join("keys").join(top));
        }
        if let Some(old) = n.checked_sub(2) {
            let _ = fs::remove_dir_all(self.dir.join(format!("keys/..v{old}")));
        }
    }
    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
    /// pilotfish with this pilotfish.toml and the folder of keys as its source. `$D` is the world's folder.
    fn cmd(&self, toml: &str) -> Cmd {
        let toml = format!("[source.keys]\nurl = \"dir:$D/keys\"\n{toml}").replace("$D", &self.path(""));
        pilotfish().env("PILOTFISH_CONFIG", toml.replace("//", "/").replace("http:/", "http://"))
    }
    fn start(&self, toml: &str) -> Proc {
        self.cmd(toml).spawn()
    }
    fn wait_file(&self, name: &str, content: &str) {
        wait_file(self.dir.join(name), content, WAIT);
    }
    /// Waits until the folder shows these files and nothing else, names of ours aside.
    fn wait_seen(&self, proc: &Proc, want: &[&str]) {
        let mut last = Vec::new();
        let start = std::time::Instant::now();
        while start.elapsed() < WAIT {
            last = seen(&self.dir.join("out"));
            if last == want {
                return;
            }
            std::thread::sleep(millis(5));
        }
        proc.fail(&format!("the folder holds {last:?}, wanted {want:?}"));
    }
}

/// `name=content` of each file, as one sees it by going through the folder.
fn seen(root: &Path) -> Vec<String> {
    fn go(path: &Path, name: &str, all: &mut Vec<String>) {
        let mut entries: Vec<String> = fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .filter(|n| !n.starts_with(".."))
            .collect();
        entries.sort();
        for entry in entries {
            let path = path.join(&entry);
            let name = format!("{name}{entry}");
            match fs::read_to_string(&path) {
                Ok(text) => all.push(format!("{name}={text}")),
                Err(_) => go(&path, &(name + "/"), all),
            }
        }
    }
    let mut all = Vec::new();
    go(root, "", &mut all);
    all
}

/// Names of ours in the folder.
fn ours(root: &Path) -> Vec<String> {
    let all = fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    let mut all: Vec<String> = all.filter(|n| n.starts_with("..")).collect();
    all.sort();
    all
}

const TREE: &str = "[[tree]]\ndest = '$D/out'\n";
const ATOMIC: &str = "[[tree]]\ndest = '$D/out'\natomic = true\n";

#[test]
fn files_follow_keys_and_what_is_not_ours_stays() {
    for tree in [TREE, ATOMIC] {
        let w = World::new();
        w.publish(&[("a", "1\n"), ("s/b", "2\r\n\n"), ("bin", "\0\u{1}")]);
        w.dir.write("out/theirs", "x");
        let proc = w.start(tree);
        // To the last byte.
        w.wait_seen(&proc, &["a=1\n", "bin=\0\u{1}", "s/b=2\r\n\n", "theirs=x"]);
        let mode = |name: &str| fs::metadata(w.dir.join(name)).unwrap().mode() & 0o7777;
        assert_eq!([mode("out/a"), mode("out/s"), mode("out/s/b")], [0o644, 0o755, 0o644]);
        w.publish(&[("a", "1\n"), ("s/c/d", "3")]);
        w.wait_seen(&proc, &["a=1\n", "s/c/d=3", "theirs=x"]);
        w.publish(&[("s", "a file now"), ("e", "")]);
        w.wait_seen(&proc, &["e=", "s=a file now", "theirs=x"]);
        proc.wait_line("new or changed: e, s; gone: a, s/", WAIT);
        proc.signal(libc::SIGTERM);
        proc.expect_exit(Exit::Code(0), WAIT);
    }
}

#[test]
fn the_same_content_is_not_written_again_and_reloads_nothing() {
    for tree in [TREE, ATOMIC] {
        let w = World::new();
        w.publish(&[("a", "1"), ("s/b", "2")]);
        let toml = format!("{tree}mode = '0600'\nreload = 'echo told'\n");
        let proc = w.start(&toml);
        w.wait_seen(&proc, &["a=1", "s/b=2"]);
        proc.wait_line("told", WAIT);
        let ids = || ["out/a", "out/s/b"].map(|n| fs::metadata(w.dir.join(n)).unwrap().ino());
        let before = ids();
        proc.signal(libc::SIGTERM);
        proc.expect_exit(Exit::Code(0), WAIT);
        // Again, and again with other keys first: nothing, then one reload.
        let proc = w.start(&format!("{toml}[log]\nlevel = 'debug'\n"));
        proc.wait_line("out in sync", WAIT);
        w.publish(&[("a", "1"), ("s/b", "2")]);
        w.publish(&[("a", "1"), ("s/b", "3")]);
        w.wait_seen(&proc, &["a=1", "s/b=3"]);
        proc.wait_line("told", WAIT);
        proc.check(proc.lines_matching("told").len() == 1, "one change should be one reload");
        assert_eq!(ids()[0] == before[0], tree == TREE, "what did not change is not touched");
    }
}

/// Text of a number that shows whether it is whole.
fn long(n: usize) -> String {
    format!("{n}\n").repeat(3000 + n % 7)
}

/// The number of a whole text.
fn whole(text: &str) -> Option<usize> {
    let n = text.lines().next()?.parse().ok()?;
    (text == long(n)).then_some(n)
}

/// A reader that looks all the time and remembers what was wrong.
fn reader(root: PathBuf, is_set: bool, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<(usize, Vec<String>)> {
    std::thread::spawn(move || {
        let (mut looks, mut wrong) = (0, Vec::new());
        while !stop.load(Ordering::SeqCst) {
            // As a program does that wants one set: it goes into the folder once.
            let at = if is_set { fs::canonicalize(root.join("..data")).unwrap() } else { root.clone() };
            let mut numbers = Vec::new();
            for name in ["a", "b", "s/c"] {
                match fs::read_to_string(at.join(name)) {
                    Ok(text) => match whole(&text) {
                        Some(n) => numbers.push(n),
                        None => wrong.push(format!("{name} is torn: {} bytes", text.len())),
                    },
                    // Who is slower than two changes has to begin again.
                    Err(_) if is_set && fs::canonicalize(root.join("..data")).unwrap() != at => numbers.truncate(0),
                    Err(e) => wrong.push(format!("{name}: {e}")),
                }
            }
            numbers.dedup();
            if is_set && numbers.len() > 1 {
                wrong.push(format!("a mixed set: {numbers:?}"));
            }
            looks += 1;
        }
        (looks, wrong)
    })
}

fn readers_see_whole_files(tree: &str, is_set: bool) {
    let w = World::new();
    let all = |n: usize| {
        let text = long(n);
        w.publish(&[("a", &text), ("b", &text), ("s/c", &text)]);
    };
    all(0);
    let proc = w.start(tree);
    w.wait_file("out/s/c", &long(0));
    w.wait_file("out/a", &long(0));
    w.wait_file("out/b", &long(0));
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2).map(|_| reader(w.dir.join("out"), is_set, stop.clone())).collect();
    for n in 1..=1000 {
        all(n);
        std::thread::sleep(millis(5)); // a pace, not a wait
    }
    w.wait_file("out/s/c", &long(1000));
    w.wait_file("out/a", &long(1000));
    stop.store(true, Ordering::SeqCst);
    for reader in readers {
        let (looks, wrong) = reader.join().unwrap();
        proc.check(looks > 100, &format!("only {looks} looks"));
        proc.check(wrong.is_empty(), &format!("of {looks} looks: {:?}", &wrong[..wrong.len().min(5)]));
    }
    let updates = proc.lines_matching("out has been updated").len();
    proc.check(updates > 20, &format!("only {updates} updates"));
}

#[test]
fn a_reader_sees_no_missing_and_no_torn_file() {
    readers_see_whole_files(TREE, false);
}

#[test]
fn a_reader_of_a_swapped_folder_sees_no_mixed_set() {
    readers_see_whole_files(ATOMIC, true);
}

#[test]
fn a_reader_of_a_swapped_folder_sees_no_missing_file_by_its_links() {
    readers_see_whole_files(ATOMIC, false);
}

#[test]
fn keys_that_climb_out_or_cannot_be_files_are_said_and_left_out() {
    let long = format!("t/{}", "x".repeat(300));
    let keys = move || {
        vec![
            ("t/../x", "1"),
            ("t/a/../../y", "1"),
            ("t//z", "1"),
            ("t/..data", "1"),
            ("t/..pilotfish", "1"),
            ("t/s/..up/f", "1"),
            (&*long, "1"),
            ("t/f", "file"),
            ("t/f/below", "1"),
            ("t/folder/", ""),
            ("t/folder/in", "1"),
            ("t/good", "good"),
        ]
        .into_iter()
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect::<Vec<_>>()
    };
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = is_mended.clone();
    let consul = FakeHttp::start(move |r| {
        let index: u64 = r.query("index").and_then(|i| i.parse().ok()).unwrap_or(0);
        if mended.load(Ordering::SeqCst) {
            let answer = Answer::consul_kv(6, &[("t/good", "better")]);
            return if index == 6 { answer.after(secs(30)) } else { answer };
        }
        let keys = keys();
        let keys: Vec<(&str, &str)> = keys.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let answer = Answer::consul_kv(5, &keys);
        if index == 5 { answer.after(millis(300)) } else { answer }
    });
    let dir = TempDir::new();
    let out = dir.join("deep/out");
    let port = free_port();
    let toml = format!(
        "[source.c]\nurl = 'consul://{}/t'\n[[tree]]\ndest = '{}'\n[telemetry]\nlisten = '127.0.0.1:{port}'\n",
        consul.addr(),
        out.display()
    );
    let proc = pilotfish().env("PILOTFISH_CONFIG", toml).spawn();
    proc.wait_line("has been updated", WAIT);
    // What Consul's keys mean is settled before they are names: `t//z` is `t/z`.
    assert_eq!(seen(&out), ["f=file", "folder/in=1", "good=good", "z=1"], "{}", proc.report());
    assert_eq!(dir.names(""), ["deep"]);
    assert_eq!(dir.names("deep"), ["out"]);
    for key in [
        "\"..data\": a part of it begins with `..`",
        "\"s/..up/f\": a part",
        "xxx\": a part of it is longer",
        "\"f/below\": f is a file",
    ] {
        proc.wait_line(key, WAIT);
    }
    let reply = http("GET", &format!("127.0.0.1:{port}"), "/readyz", &[], b"").unwrap();
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(reply.text().contains("cannot make a file of the key"), "{}", reply.text());
    is_mended.store(true, Ordering::SeqCst);
    wait_file(out.join("good"), "better", WAIT);
    wait_until(WAIT, "readiness", || {
        (http("GET", &format!("127.0.0.1:{port}"), "/readyz", &[], b"").unwrap().status == 200).then_some(())
    });
    proc.check(proc.lines_matching("\"..data\"").len() == 1, "a refused key should be said once");
}

#[test]
fn a_planted_symlink_leads_nowhere() {
    let w = World::new();
    w.dir.write("outside/f", "secret");
    w.publish(&[("f", "ours"), ("sub/f", "ours")]);
    w.dir.mkdir("out");
    symlink("../outside/f", w.dir.join("out/f")).unwrap();
    symlink("../outside", w.dir.join("out/sub")).unwrap();
    let proc = w.start(TREE);
    proc.wait_line("out/sub/f: Not a directory (a file or a symlink that is not ours is in the way)", WAIT);
    assert_eq!((w.dir.read("outside/f"), w.dir.names("outside")), ("secret".to_string(), vec!["f".to_string()]));
    assert_eq!(w.dir.names("out").iter().filter(|n| n.starts_with("..pilotfish-")).count(), 0);
    fs::remove_file(w.dir.join("out/sub")).unwrap();
    w.wait_seen(&proc, &["f=ours", "sub/f=ours"]);
    assert_eq!(w.dir.read("outside/f"), "secret");
}

#[test]
fn killed_at_any_moment_it_leaves_whole_files_and_the_next_start_no_litter() {
    for tree in [TREE, ATOMIC] {
        let w = World::new();
        let publish = |n: usize| {
            let text = long(n);
            w.publish(&[("a", &text), ("b", &text), ("s/c", &text), (&format!("only{n}"), "x")]);
        };
        publish(0);
        let proc = w.start(tree);
        proc.wait_line("has been updated", WAIT);
        drop(proc);
        let stop = Arc::new(AtomicBool::new(false));
        let reader = reader(w.dir.join("out"), tree == ATOMIC, stop.clone());
        for n in 1..=60 {
            publish(n);
            let proc = w.start(tree);
            // Some moment of its life, from before the first look to after the last write.
            std::thread::sleep(millis((n as u64 * 37) % 120));
            proc.signal(libc::SIGKILL);
            proc.wait_exit(WAIT);
        }
        publish(100);
        let proc = w.start(tree);
        w.wait_file("out/only100", "x");
        w.wait_file("out/s/c", &long(100));
        stop.store(true, Ordering::SeqCst);
        let (looks, wrong) = reader.join().unwrap();
        proc.check(looks > 10 && wrong.is_empty(), &format!("of {looks} looks: {:?}", &wrong[..wrong.len().min(5)]));
        let names = || {
            let mut names = w.dir.names("out");
            names.retain(|n| !n.starts_with("..") && n != "..");
            names
        };
        wait_until(WAIT, "the wanted names", || (names() == ["a", "b", "only100", "s"]).then_some(()));
        wait_until(WAIT, "an end of the litter", || {
            (ours(&w.dir.join("out")).len() == if tree == TREE { 1 } else { 3 }).then_some(())
        });
        assert_eq!(w.dir.names("out/s"), ["c"]);
    }
}

#[test]
fn a_check_sees_the_folder_and_may_refuse_it() {
    for tree in [TREE, ATOMIC] {
        let w = World::new();
        w.publish(&[("a", "good"), ("s/b", "same")]);
        let toml = format!("{tree}check = 'grep -q same {{src}}/s/b && grep -q good {{src}}/a'\n");
        let proc = w.start(&toml);
        w.wait_seen(&proc, &["a=good", "s/b=same"]);
        w.publish(&[("a", "bad"), ("s/b", "same")]);
        proc.wait_line("Config check failed: exit status 1", WAIT);
        assert_eq!(seen(&w.dir.join("out")), ["a=good", "s/b=same"]);
        w.publish(&[("a", "good again"), ("s/b", "same"), ("c", "new")]);
        w.wait_seen(&proc, &["a=good again", "c=new", "s/b=same"]);
        wait_until(WAIT, "an end of what was staged", || {
            (ours(&w.dir.join("out")).len() == if tree == TREE { 1 } else { 3 }).then_some(())
        });
    }
}

#[test]
fn what_the_app_does_not_bear_is_rolled_back() {
    for tree in [TREE, ATOMIC] {
        let w = World::new();
        w.publish(&[("a", "good"), ("b", "1")]);
        let toml = format!("{tree}rollback = true\n[app]\nreload = ['sh', '-c', '! grep -q bad $D/out/a']\n");
        let proc = w.start(&toml);
        w.wait_seen(&proc, &["a=good", "b=1"]);
        w.publish(&[("a", "bad"), ("c", "2")]);
        proc.wait_line("has been rolled back", WAIT);
        w.wait_seen(&proc, &["a=good", "b=1"]);
        w.publish(&[("a", "better"), ("c", "2")]);
        w.wait_seen(&proc, &["a=better", "c=2"]);
    }
}

#[test]
fn two_sources_in_one_folder_and_a_prefix() {
    let dir = TempDir::new();
    dir.write("one/p/a", "1");
    dir.write("one/p/both", "one");
    dir.write("one/other", "x");
    dir.write("two/p/both", "two");
    let at = |name: &str| dir.join(name).display().to_string();
    let toml = format!(
        "[source.one]\nurl = 'dir:{}'\n[source.two]\nurl = 'dir:{}'\n[[tree]]\nsource = ['one', 'two']\nprefix = 'p'\n\
         dest = '{}'\nmode = '0640'\ndir_mode = '0750'\n",
        at("one"),
        at("two"),
        at("out")
    );
    let proc = pilotfish().env("PILOTFISH_CONFIG", &toml).spawn();
    wait_file(dir.join("out/both"), "two", WAIT);
    assert_eq!(seen(&dir.join("out")), ["a=1", "both=two"], "{}", proc.report());
    assert_eq!(fs::metadata(dir.join("out/a")).unwrap().mode() & 0o7777, 0o640);
    drop(proc);
    let wrong = toml.replace("'one', 'two'", "'one', 'three'");
    let proc = pilotfish().env("PILOTFISH_CONFIG", wrong).run(WAIT);
    proc.expect_exit(Exit::Code(78), WAIT);
    proc.check(proc.stderr().contains("`tree.0.source` names no [source.three]"), "the source should be named");
}

/// As scratch-image/examples/kubernetes/nginx.yaml has it: two sources in one folder, checked by nginx where it is staged.
#[test]
fn nginx_takes_a_folder_that_its_own_check_has_seen() {
    let w = World::new();
    let (port, nginx) = (free_port(), server_bin("nginx").display().to_string());
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|n| format!("{n}_temp_path {};", w.path("tmp")))
        .concat();
    let conf = format!(
        "pid {};\nerror_log stderr;\nevents {{}}\nhttp {{ access_log off; {temp}\n\
         server {{ listen 127.0.0.1:{port}; include parts/site.conf; }} }}\n",
        w.path("nginx.pid")
    );
    let part = |text: &str| w.publish(&[("nginx.conf", &conf), ("parts/site.conf", text)]);
    part("location / { return 200 one; }");
    w.dir.write("more/extra", "x");
    let toml = format!(
        "[source.more]\nurl = 'dir:$D/more'\n[[tree]]\ndest = '$D/out'\nsource = ['keys', 'more']\natomic = true\n\
         check = ['{nginx}', '-t', '-q', '-e', 'stderr', '-c', '{{src}}/nginx.conf']\nrollback = true\n\
         [app]\ncommand = ['{nginx}', '-e', 'stderr', '-c', '$D/out/nginx.conf', '-g', 'daemon off;']\n\
         reload = 'HUP'\nstop_signal = 'QUIT'\n"
    );
    let proc = w.start(&toml);
    let says = |want: &str| {
        wait_until(WAIT, &format!("nginx to say {want}"), || {
            http("GET", &format!("127.0.0.1:{port}"), "/", &[], b"").ok().filter(|r| r.text() == want)
        });
    };
    says("one");
    part("location / { return 200 two }"); // no semicolon
    proc.wait_line("Config check failed: exit status 1", WAIT);
    assert_eq!(w.dir.read("out/parts/site.conf"), "location / { return 200 one; }");
    part("location / { return 200 three; }");
    says("three");
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), WAIT);
}

#[test]
fn a_full_disk_keeps_the_old_files_and_leaves_nothing() {
    for tree in [TREE, ATOMIC] {
        let w = World::new();
        w.publish(&[("a", "1"), ("s/b", "2")]);
        w.dir.mkdir("out");
        // SAFETY: plain system call.
        let user: &[&str] = if unsafe { libc::geteuid() } == 0 { &[] } else { &["--user", "--map-root-user"] };
        let toml = format!("[source.keys]\nurl = 'dir:$D/keys'\n{tree}").replace("$D/", &w.path(""));
        let script = format!("mount -t tmpfs -o size=64k none '{}' && exec \"$0\"", w.path("out"));
        let proc = Cmd::new("unshare")
            .arg("--mount")
            .args(user)
            .args(["--", "sh", "-ec", &script])
            .arg(pilotfish_bin())
            .env("PILOTFISH_CONFIG", toml)
            .spawn();
        proc.wait_line("has been updated", WAIT);
        let out = PathBuf::from(format!("/proc/{}/root{}", proc.pid(), w.path("out")));
        assert_eq!(seen(&out), ["a=1", "s/b=2"], "{}", proc.report());
        let big = "x".repeat(100_000);
        w.publish(&[("a", "3"), ("s/b", &big), ("c", "4")]);
        proc.wait_line("s/b: No space left on device", WAIT);
        assert_eq!(seen(&out), ["a=1", "s/b=2"]);
        w.publish(&[("a", "3"), ("s/b", "5")]);
        wait_until(WAIT, "the files that fit", || (seen(&out) == ["a=3", "s/b=5"]).then_some(()));
        wait_until(WAIT, "an end of what was staged", || {
            (ours(&out).len() == if tree == TREE { 1 } else { 3 }).then_some(())
        });
    }
}
