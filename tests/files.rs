//! Files: a folder of keys as the source, destinations that are complete at every instant and survive what disks and
//! mounts do, checks by real validators, and reloads by signal, command and restart.

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

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use util::*;

const WAIT: Duration = secs(40);

/// A folder with keys in `keys`, and what is written for the tests beside it.
struct World {
    dir: TempDir,
}

impl World {
    fn new() -> World {
        let dir = TempDir::new();
        dir.mkdir("keys");
        World { dir }
    }
    /// A key appears whole: written aside and renamed.
    fn put(&self, key: &str, value: &str) {
        let aside = self.dir.write("keys/.aside", value);
        std::fs::rename(aside, self.dir.join("keys").join(key)).unwrap();
    }
    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
    /// pilotfish with this pilotfish.toml and the folder of keys as its source. `$D` is the folder.
    fn start(&self, toml: &str) -> Proc {
        self.run_in(pilotfish(), toml).spawn()
    }
    fn run_in(&self, cmd: Cmd, toml: &str) -> Cmd {
        let toml = format!("[source.keys]\nurl = \"dir:$D/keys\"\n{toml}").replace("$D", &self.path(""));
        cmd.env("PILOTFISH_CONFIG", toml.replace("//", "/"))
    }
    fn wait_file(&self, name: &str, content: &str) {
        wait_file(self.dir.join(name), content, WAIT);
    }
}

/// `[[template]]` of one key to one file; more lines may follow.
fn template(key: &str, dest: &str) -> String {
    format!("[[template]]\nname = 'x.tmpl'\ntext = '{{{{getv \"/{key}\"}}}}'\ndest = '$D/{dest}'\n")
}

fn app(words: &[&str]) -> String {
    format!("[app]\ncommand = {words:?}\n")
}

fn probe(words: &[&str]) -> String {
    let program = static_app().display().to_string();
    let mut all = vec![program.as_str()];
    all.extend(words);
    app(&all)
}

fn is_root() -> bool {
    // SAFETY: plain system call.
    unsafe { libc::geteuid() == 0 }
}

/// A command that runs behind `script` in a mount namespace of its own; the process's pid is the command's.
fn mounted(script: &str, program: impl AsRef<std::ffi::OsStr>) -> Cmd {
    let mut cmd = Cmd::new("unshare").arg("--mount");
    if !is_root() {
        cmd = cmd.args(["--user", "--map-root-user"]);
    }
    cmd.args(["--", "sh", "-ec", &format!("{script}\nexec \"$@\""), "sh"]).arg(program)
}

/// A path as the process sees it.
fn inside(proc: &Proc, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{path}", proc.pid()))
}

/// Runs a shell line in the process's mount namespace.
fn run_inside(proc: &Proc, line: &str) {
    let mut cmd = Cmd::new("nsenter").arg(format!("--target={}", proc.pid())).arg("--mount");
    if !is_root() {
        cmd = cmd.args(["--user", "--preserve-credentials"]);
    }
    cmd.args(["sh", "-ec", line]).run(WAIT).expect_exit(Exit::Code(0), WAIT);
}

/// Changes a key once and waits for the probe to see it: in an app's first second the reload signal is held back, and
/// several changes would be one reload whatever they are.
fn warm_up(w: &World, proc: &Proc, key: &str, value: &str) {
    w.put(key, value);
    proc.wait_line(&format!("config: {value} pid"), WAIT);
}

fn count(proc: &Proc, pattern: &str) -> usize {
    proc.lines_matching(pattern).len()
}

fn names(folder: &Path) -> Vec<String> {
    let mut all: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    all.sort();
    all
}

// ---- the source ----

#[test]
fn new_changed_and_removed_keys_of_a_folder_arrive() {
    let w = World::new();
    w.put("a", "1\n");
    let list = "[[template]]\nname = 'x.tmpl'\ndest = '$D/out'\n\
        text = '{{range gets \"/*\"}}{{.Key}}={{.Value}} {{end}}'\n";
    let proc = w.start(&(list.to_string() + &probe(&["config", &w.path("out")])));
    proc.wait_line("config: /a=1 ", WAIT);
    w.put("b", "2");
    proc.wait_line("config: /a=1 /b=2 ", WAIT);
    w.put("a", "3");
    proc.wait_line("config: /a=3 /b=2 ", WAIT);
    std::fs::remove_file(w.dir.join("keys/a")).unwrap();
    proc.wait_line("config: /b=2 ", WAIT);
    // In place, as an editor may write it: the last state wins.
    w.dir.write("keys/b", "4");
    proc.wait_line("config: /b=4 ", WAIT);
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), WAIT);
    proc.check(count(&proc, "ERROR") + count(&proc, "WARNING") == 0, "nothing went wrong");
}

#[test]
fn a_configmap_volume_is_followed_through_its_swaps() {
    let w = World::new();
    let keys = w.dir.join("keys");
    // As the kubelet does it: a folder with a time stamp, `..data` swapped onto it, the old folder removed.
    let publish = |stamp: &str, old: Option<&str>, a: &str, b: &str| {
        w.dir.write(format!("keys/{stamp}/a"), a);
        w.dir.write(format!("keys/{stamp}/b"), b);
        symlink(stamp, keys.join("..data_tmp")).unwrap();
        std::fs::rename(keys.join("..data_tmp"), keys.join("..data")).unwrap();
        if let Some(old) = old {
            std::fs::remove_dir_all(keys.join(old)).unwrap();
        }
    };
    publish("..2026_1", None, "a1", "b1");
    symlink("..data/a", keys.join("a")).unwrap();
    symlink("..data/b", keys.join("b")).unwrap();
    let toml = "[[template]]\nname='x.tmpl'\ntext='{{getv \"/a\"}} {{getv \"/b\"}}'\ndest='$D/out'\n";
    let proc = w.start(&(toml.to_string() + &probe(&["config", &w.path("out")])));
    proc.wait_line("config: a1 b1 pid", WAIT);
    for i in 2..=5 {
        publish(&format!("..2026_{i}"), Some(&format!("..2026_{}", i - 1)), &format!("a{i}"), &format!("b{i}"));
        proc.wait_line(&format!("config: a{i} b{i} pid"), WAIT);
    }
    proc.wait_nth_line(5, "has been updated", WAIT); // the app's words may be read before ours
    // Each swap was one change: no empty and no mixed moment.
    proc.check(count(&proc, "config: ") == 5, "five contents should be five configurations");
    proc.check(count(&proc, "has been updated") == 5, "five contents should be five writes");
}

#[test]
fn a_source_that_vanishes_leaves_the_last_good_file_until_it_is_back() {
    let w = World::new();
    w.put("a", "1");
    let proc = w.start(&(template("a", "out") + &probe(&["config", &w.path("out")])));
    proc.wait_line("config: 1 pid", WAIT);
    std::fs::rename(w.dir.join("keys"), w.dir.join("gone")).unwrap();
    let text = format!("ERROR cannot read {}: No such file or directory; next try in ", w.path("keys"));
    proc.wait_line(&text, WAIT);
    assert_eq!(w.dir.read("out"), "1");
    w.dir.write("gone/a", "2");
    std::fs::rename(w.dir.join("gone"), w.dir.join("keys")).unwrap();
    proc.wait_line("config: 2 pid", WAIT);
    proc.wait_line(&format!("folder {} answers again after ", w.path("keys")), WAIT);
    // An empty folder may be a volume that is not mounted yet.
    std::fs::remove_file(w.dir.join("keys/a")).unwrap();
    proc.wait_line("are gone: keeping the last good ones", WAIT);
    assert_eq!(w.dir.read("out"), "2");
    w.put("a", "3");
    proc.wait_line("config: 3 pid", WAIT);
    proc.check(count(&proc, "config: ") == 3, "three contents should be three configurations");
}

#[test]
fn own_writes_in_the_watched_folder_lead_to_nothing() {
    let w = World::new();
    w.put("a", "1");
    let proc = w.start(&(template("a", "keys/out") + &template("a", "keys/sub/out") + "make_dirs = true\n"));
    w.wait_file("keys/out", "1");
    w.put("a", "2");
    w.wait_file("keys/sub/out", "2");
    w.put("a", "3");
    w.wait_file("keys/sub/out", "3");
    w.wait_file("keys/out", "3");
    // If own writes led on, there would be more of them before this one.
    w.put("a", "4");
    w.wait_file("keys/sub/out", "4");
    wait_until(WAIT, "the line of the last write", || (count(&proc, "sub/out has been updated") == 4).then_some(()));
    proc.check(count(&proc, "has been updated") == 8, "four changes of two files should be eight writes");
    assert_eq!(w.dir.names("keys"), ["a", "out", "sub"]);
}

// ---- complete at every instant ----

const FILES: usize = 20;
const LINES: usize = 250;

/// Reads all files for ever; gives reads, contents seen, and what was wrong.
fn reader(folder: PathBuf, stop: Arc<AtomicBool>, reads: Arc<AtomicUsize>) -> (usize, Vec<String>) {
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    while !stop.load(Ordering::Relaxed) && wrong.len() < 5 {
        for i in 0..FILES {
            reads.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("f{i}"));
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(e) => {
                    wrong.push(format!("{}: {e}", path.display()));
                    continue;
                }
            };
            let first = text.lines().next().unwrap_or("");
            if text.lines().count() != LINES || !text.ends_with('\n') || text.lines().any(|l| l != first) {
                wrong.push(format!("{} is torn: {} bytes, begins {first:?}", path.display(), text.len()));
            }
            if !seen.contains(first) {
                seen.insert(first.to_string());
            }
        }
    }
    (seen.len(), wrong)
}

#[test]
fn a_reader_never_sees_a_torn_or_missing_file_through_1000_swaps_and_100_kills() {
    let w = World::new();
    let out = w.dir.mkdir("out");
    let mut toml = String::new();
    for i in 0..FILES {
        let text = "{{getv \"/k\"}}\n".repeat(LINES);
        toml.push_str(&format!("[[template]]\nname='x.tmpl'\ntext='''{text}'''\ndest='$D/out/f{i}'\n"));
    }
    let value = |n: usize| format!("{n:06}-{}", "x".repeat(n % 60 + 20));
    let content = |n: usize| (value(n) + "\n").repeat(LINES);
    let last = out.join(format!("f{}", FILES - 1));
    w.put("k", &value(0));
    let mut proc = w.start(&toml);
    wait_file(&last, &content(0), WAIT);

    let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let thread = {
        let (folder, stop, reads) = (out.clone(), stop.clone(), reads.clone());
        std::thread::spawn(move || reader(folder, stop, reads))
    };
    let begin = std::time::Instant::now();
    let mut n = 0;
    while n < 52 {
        n += 1;
        w.put("k", &value(n));
        wait_file(&last, &content(n), WAIT);
    }
    wait_until(WAIT, "the log of the swaps", || (count(&proc, "has been updated") == FILES * (n + 1)).then_some(()));
    let swaps = count(&proc, "has been updated") - FILES;
    let swapped_in = begin.elapsed();
    let reads_then = reads.load(Ordering::Relaxed);

    // Killed at moments that walk over the start, the render and the writes.
    let begin = std::time::Instant::now();
    let (mut midway, mut temps) = (0, 0);
    for kill in 0..100 {
        n += 1;
        w.put("k", &value(n));
        proc.signal(libc::SIGKILL);
        proc.expect_exit(Exit::Signal(libc::SIGKILL), WAIT);
        // What it was at: files staged, some files swapped and some not yet.
        let new = (0..FILES).filter(|i| w.dir.read(format!("out/f{i}")).starts_with(&value(n - 1))).count();
        midway += usize::from(new > 0 && new < FILES);
        temps += usize::from(names(&out).len() > FILES);
        drop(proc);
        proc = w.start(&toml);
        if kill % 10 == 0 {
            wait_file(&last, &content(n), WAIT); // the next one comes between changes
        }
        std::thread::sleep(Duration::from_micros(kill * 700 % 50_000)); // the moment, not a synchronisation
    }
    w.put("k", &value(n + 1));
    wait_file(&last, &content(n + 1), WAIT);
    let killed_in = begin.elapsed();
    stop.store(true, Ordering::Relaxed);
    let (seen, wrong) = thread.join().unwrap();
    let all = reads.load(Ordering::Relaxed);
    eprintln!(
        "{swaps} swaps in {swapped_in:?} with {reads_then} reads; 100 kill -9 in {killed_in:?} with {} reads, {temps} of \
         them between staging and the swap, {midway} between two swaps; {seen} contents seen, {} torn or missing",
        all - reads_then,
        wrong.len()
    );
    proc.check(wrong.is_empty(), &format!("{wrong:#?}"));
    assert!(swaps >= 1000 && reads_then >= 10_000, "{swaps} swaps and {reads_then} reads are too few to prove it");
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), WAIT);
    for i in 0..FILES {
        assert_eq!(w.dir.read(format!("out/f{i}")), content(n + 1));
    }
    assert_eq!(names(&out).len(), FILES, "temporary files were left behind: {:?}", names(&out));
}

// ---- what disks and mounts do ----

#[test]
fn a_full_disk_keeps_the_old_file_and_is_tried_again() {
    let w = World::new();
    w.dir.mkdir("small");
    w.put("a", "old");
    let script = "mount -t tmpfs -o size=16k tmpfs \"$D/small\"";
    let cmd = mounted(script, pilotfish_bin()).env("D", w.dir.path());
    let proc = w.run_in(cmd, &(template("a", "small/out") + &probe(&["config", &w.path("small/out")]))).spawn();
    proc.wait_line("config: old pid", WAIT);
    let small = inside(&proc, &w.path("small"));
    std::fs::write(small.join("filler"), [b'x'; 12288]).unwrap();
    w.put("a", "new");
    let text = format!("cannot write {}: No space left on device", w.path("small/out"));
    proc.wait_line(&text, WAIT);
    assert_eq!(std::fs::read_to_string(small.join("out")).unwrap(), "old");
    std::fs::remove_file(small.join("filler")).unwrap();
    proc.wait_line("config: new pid", WAIT); // by the retry alone: no key changed
    // A value that never fits: the same again, until there is one that does.
    w.put("a", &"x".repeat(20_000));
    proc.wait_nth_line(2, &text, WAIT);
    assert_eq!(names(&small), ["out"], "the half-written file should be gone");
    w.put("a", "last");
    proc.wait_line("config: last pid", WAIT);
    proc.check(count(&proc, "No space left") == 2, "each time the disk is full should be said once");
    proc.check(count(&proc, "config: ") == 3, "three good contents should be three configurations");
}

#[test]
fn a_read_only_mount_keeps_the_old_file_and_is_tried_again() {
    let w = World::new();
    w.dir.write("ro/out", "old");
    w.put("a", "new");
    let script = "mount --bind \"$D/ro\" \"$D/ro\"; mount -o remount,bind,ro \"$D/ro\"";
    let cmd = mounted(script, pilotfish_bin()).env("D", w.dir.path());
    let proc = w.run_in(cmd, &(template("a", "ro/out") + &probe(&["config", &w.path("ro/out")]))).spawn();
    proc.wait_line(&format!("cannot write {}: Read-only file system", w.path("ro/out")), WAIT);
    assert_eq!(w.dir.read("ro/out"), "old");
    proc.check(count(&proc, "config:") == 0, "the app should wait for its file");
    run_inside(&proc, &format!("mount -o remount,bind,rw {}", w.path("ro")));
    proc.wait_line("config: new pid", WAIT);
    assert_eq!(w.dir.names("ro"), ["out"]);
}

/// pilotfish as a user who is not root, from a place that user can reach.
fn as_nobody(w: &World) -> Cmd {
    if !is_root() {
        return pilotfish();
    }
    let program = w.dir.join("pilotfish");
    if !program.exists() {
        std::fs::copy(pilotfish_bin(), &program).unwrap();
    }
    std::fs::set_permissions(w.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    Cmd::new("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program)
}

fn give_to_nobody(path: &Path) {
    if is_root() {
        chown(path, Some(65534), Some(65534)).unwrap();
    }
}

#[test]
fn a_folder_without_permission_keeps_the_old_file_and_is_tried_again() {
    let w = World::new();
    let (closed, file) = (w.dir.mkdir("closed"), w.dir.write("closed/out", "old"));
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o444)).unwrap();
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o555)).unwrap();
    w.put("a", "new");
    let proc = w.run_in(as_nobody(&w), &template("a", "closed/out")).spawn();
    proc.wait_line(&format!("cannot write {}: Permission denied", file.display()), WAIT);
    assert_eq!(w.dir.read("closed/out"), "old");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o777)).unwrap();
    w.wait_file("closed/out", "new");
    assert_eq!(w.dir.names("closed"), ["out"]);
    proc.wait_line("has been updated", WAIT);
    proc.check(count(&proc, "Permission denied") == 1, "the same failure should be said once");
}

#[test]
fn a_file_that_may_be_written_in_a_folder_that_may_not_is_written_in_place() {
    let w = World::new();
    let (closed, file) = (w.dir.mkdir("closed"), w.dir.write("closed/out", "old and longer"));
    give_to_nobody(&file);
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o555)).unwrap();
    let tmp = w.dir.mkdir("tmp");
    std::fs::set_permissions(&tmp, PermissionsExt::from_mode(0o777)).unwrap();
    w.put("a", "new");
    let inode = std::fs::metadata(&file).unwrap().ino();
    // Its check gets the new content at a place where it can be.
    let check = "check = ['grep', '-q', 'n[e]w', '{src}']\n";
    let cmd = as_nobody(&w).env("TMPDIR", &tmp);
    let proc = w.run_in(cmd, &(template("a", "closed/out") + check)).spawn();
    w.wait_file("closed/out", "new");
    proc.wait_line("has been updated", WAIT);
    assert_eq!(std::fs::metadata(&file).unwrap().ino(), inode);
    w.put("a", "bad");
    proc.wait_line("Config check failed", WAIT);
    w.put("a", "new and again longer");
    w.wait_file("closed/out", "new and again longer");
    proc.wait_nth_line(2, "has been updated", WAIT);
    assert_eq!(std::fs::metadata(&file).unwrap().ino(), inode);
    assert_eq!(w.dir.names("tmp"), [""; 0]);
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn a_missing_folder_is_said_and_made_where_that_is_asked_for() {
    let w = World::new();
    w.put("a", "1");
    let proc = w.start(&template("a", "no/such/out"));
    let out = w.path("no/such/out");
    let text = format!(
        "ERROR cannot write {out}: No such file or directory: its folder does not exist; create it or set make_dirs = \
         true"
    );
    proc.wait_line(&text, WAIT);
    w.dir.mkdir("no/such");
    w.wait_file("no/such/out", "1");

    w.start(&(template("a", "made/by/toml/out") + "make_dirs = true\n")).wait_line("has been updated", WAIT);
    let file = w.dir.write("t.tmpl", "option {{getv \"/a\"}}");
    let source = format!("--source=dir:{}", w.path("keys"));
    let given = format!("--template={}:{}", file.display(), w.path("made/by/option/out"));
    let proc = pilotfish().args([&source, &given, "--make-dirs", "--once"]).run(WAIT);
    proc.expect_exit(Exit::Code(0), WAIT);
    assert_eq!((w.dir.read("made/by/toml/out"), w.dir.read("made/by/option/out")), ("1".into(), "option 1".into()));
    assert_eq!(std::fs::metadata(w.dir.join("made/by")).unwrap().mode() & 0o777, 0o755);
}

#[test]
fn a_folder_as_destination_is_refused_and_left_alone() {
    let w = World::new();
    w.put("a", "1");
    w.dir.write("out/inside", "x");
    let text = format!("cannot write {}: it is a folder; dest must name a file", w.path("out"));
    let once = w.run_in(pilotfish().arg("--once"), &template("a", "out")).run(WAIT);
    once.expect_exit(Exit::Code(1), WAIT);
    once.check(count(&once, &text) == 1, "the folder should be named");
    assert_eq!(w.dir.names(""), ["keys", "out"]);
    assert_eq!(w.dir.read("out/inside"), "x");
}

#[test]
fn a_bind_mounted_file_is_written_in_place() {
    let w = World::new();
    w.dir.write("etc/app.conf", "");
    let host = w.dir.write("host.conf", "what the host wrote, and that is long");
    w.put("a", "short");
    let script = "mount --bind \"$D/host.conf\" \"$D/etc/app.conf\"";
    let cmd = mounted(script, pilotfish_bin()).env("D", w.dir.path());
    let inode = std::fs::metadata(&host).unwrap().ino();
    let toml = template("a", "etc/app.conf") + &probe(&["config", &w.path("etc/app.conf")]);
    let proc = w.run_in(cmd, &toml).spawn();
    proc.wait_line("config: short pid", WAIT);
    assert_eq!(w.dir.read("host.conf"), "short");
    let long = "long ".repeat(3000);
    w.put("a", long.trim());
    w.wait_file("host.conf", long.trim());
    w.put("a", "end");
    proc.wait_line("config: end pid", WAIT);
    assert_eq!(w.dir.read("host.conf"), "end");
    assert_eq!(std::fs::metadata(&host).unwrap().ino(), inode, "in place");
    let said = format!("{} is a mount point: written in place", w.path("etc/app.conf"));
    proc.check(count(&proc, &said) == 1, "that it cannot be replaced at once should be said once");
    assert_eq!(w.dir.names("etc"), ["app.conf"]);
}

#[test]
fn a_bind_mounted_file_that_cannot_be_written_keeps_its_old_content() {
    let w = World::new();
    w.dir.mkdir("small");
    w.dir.write("etc/app.conf", "");
    w.put("a", "old");
    let script = "mount -t tmpfs -o size=16k tmpfs \"$D/small\"; echo first >\"$D/small/f\"
        mount --bind \"$D/small/f\" \"$D/etc/app.conf\"";
    let cmd = mounted(script, pilotfish_bin()).env("D", w.dir.path());
    let proc = w.run_in(cmd, &template("a", "etc/app.conf")).spawn();
    proc.wait_line("has been updated", WAIT);
    w.put("a", &"x".repeat(20_000));
    let line = proc.wait_line("No space left on device", WAIT).text;
    proc.check(line.contains("(in place; its old content was put back)"), "the file was put back");
    assert_eq!(std::fs::read_to_string(inside(&proc, &w.path("small/f"))).unwrap(), "old");
    w.put("a", "new");
    proc.wait_nth_line(2, "has been updated", WAIT);
    assert_eq!(std::fs::read_to_string(inside(&proc, &w.path("small/f"))).unwrap(), "new");
    assert_eq!(w.dir.names("etc"), ["app.conf"]);
}

#[test]
fn symlinks_are_followed_and_stay() {
    let w = World::new();
    w.put("a", "1");
    w.dir.mkdir("links/deep");
    w.dir.write("real/relative", "old");
    w.dir.write("real/chain", "old");
    symlink("../real/relative", w.dir.join("links/relative")).unwrap();
    symlink("deep/second", w.dir.join("links/chain")).unwrap();
    symlink(w.dir.join("real/chain"), w.dir.join("links/deep/second")).unwrap();
    symlink("../real/made", w.dir.join("links/dangling")).unwrap();
    symlink("loop", w.dir.join("links/loop")).unwrap();
    let all: String = ["relative", "chain", "dangling"].map(|n| template("a", &format!("links/{n}"))).concat();
    let proc = w.start(&all);
    for round in ["1", "2"] {
        w.put("a", round);
        for file in ["real/relative", "real/chain", "real/made"] {
            w.wait_file(file, round);
        }
    }
    proc.wait_nth_line(2, "links/dangling has been updated", WAIT);
    for link in ["relative", "chain", "deep/second", "dangling"] {
        let path = w.dir.join("links").join(link);
        assert!(path.is_symlink(), "{} is no symlink any more", path.display());
    }
    assert_eq!(w.dir.names("real"), ["chain", "made", "relative"]);
    let proc = w.run_in(pilotfish().arg("--once"), &template("a", "links/loop")).run(WAIT);
    proc.expect_exit(Exit::Code(1), WAIT);
    proc.check(count(&proc, "more than 40 symlinks lead on from it") == 1, "a loop is named");
}

#[test]
fn mode_and_owner_are_right_before_the_file_is_visible_and_kept_where_not_said() {
    let w = World::new();
    w.put("a", "0");
    // A user who is not root can only give files to themselves.
    // SAFETY: plain system calls.
    let (uid, gid) = if is_root() { (12345, 23456) } else { unsafe { (libc::geteuid(), libc::getegid()) } };
    let kept = w.dir.write("kept", "old");
    if is_root() {
        chown(&kept, Some(4321), Some(5432)).unwrap();
    }
    std::fs::set_permissions(&kept, PermissionsExt::from_mode(0o604)).unwrap();
    let kept_was = std::fs::metadata(&kept).unwrap();
    let toml = template("a", "said")
        + &format!("mode = '0640'\nuid = {uid}\ngid = {gid}\n")
        + &template("a", "kept")
        + &template("a", "new")
        + &template("a", "root")
        + "owner = 'root'\n";
    let toml = if is_root() { toml } else { toml.replace("owner = 'root'\n", "") };

    let stop = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (said, stop) = (w.dir.join("said"), stop.clone());
        std::thread::spawn(move || {
            let (mut seen, mut inodes) = (BTreeSet::new(), BTreeSet::new());
            while !stop.load(Ordering::Relaxed) {
                if let Ok(m) = std::fs::metadata(&said) {
                    seen.insert((m.mode() & 0o7777, m.uid(), m.gid()));
                    inodes.insert(m.ino());
                }
            }
            (seen, inodes.len())
        })
    };
    let proc = w.start(&toml);
    for n in 1..15 {
        w.put("a", &n.to_string());
        w.wait_file("said", &n.to_string());
    }
    stop.store(true, Ordering::Relaxed);
    let (seen, inodes) = watcher.join().unwrap();
    assert!(inodes > 1, "the file was looked at before and after a swap");
    assert_eq!(seen, BTreeSet::from([(0o640, uid, gid)]), "anything else was visible for a moment");
    w.wait_file("kept", "14");
    let is = std::fs::metadata(&kept).unwrap();
    assert_eq!((is.mode(), is.uid(), is.gid()), (kept_was.mode(), kept_was.uid(), kept_was.gid()), "{}", proc.report());
    assert_eq!(std::fs::metadata(w.dir.join("new")).unwrap().mode() & 0o7777, 0o644);
    // Mode alone differs: set right at the next start, with confd's words.
    std::fs::set_permissions(w.dir.join("said"), PermissionsExt::from_mode(0o600)).unwrap();
    drop(proc);
    let proc = w.start(&toml);
    proc.wait_line(&format!("{} has mode -rw------- should be -rw-r-----", w.path("said")), WAIT);
    proc.wait_line("said has been updated", WAIT);
    assert_eq!(std::fs::metadata(w.dir.join("said")).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn the_same_content_is_neither_written_nor_reloaded() {
    let w = World::new();
    w.put("a", "1");
    w.put("b", "1");
    // Two renders of `same` give the same text whatever `b` is.
    let same = "[[template]]\nname='s.tmpl'\ntext='{{getv \"/a\"}}{{if exists \"/b\"}}{{end}}{{with getv \"/b\"}}{{end}}'\n\
        dest='$D/same'\n";
    let toml = same.to_string() + &template("c", "other");
    w.put("c", "1");
    let proc = w.start(&(toml.clone() + &probe(&["config", &w.path("other")])));
    proc.wait_line("config: 1 pid", WAIT);
    let look = || {
        let m = std::fs::metadata(w.dir.join("same")).unwrap();
        (m.ino(), m.mtime(), m.mtime_nsec())
    };
    let before = look();
    for n in 2..6 {
        w.put("b", &n.to_string());
        w.put("a", "1"); // the same again
        w.put("c", &n.to_string());
        proc.wait_line(&format!("config: {n} pid"), WAIT);
    }
    w.put("b", "again");
    w.put("c", "end");
    proc.wait_line("config: end pid", WAIT);
    assert_eq!(look(), before, "{}", proc.report());
    proc.check(count(&proc, "same has been updated") == 1, "the same content should not be written");
    drop(proc);
    // Nor at a start that finds everything in place.
    let proc = w.run_in(pilotfish().args(["--log-level=debug"]), &(toml + &probe(&["wait"]))).spawn();
    proc.wait_line("ready pid=", WAIT);
    proc.wait_line("other in sync", WAIT); // the log is another stream, and its last line may be read later
    proc.check(count(&proc, "same in sync") == 1 && count(&proc, "has been updated") == 0, "all is in sync");
    assert_eq!(look(), before);
}

// ---- checks ----

#[test]
fn nginx_checks_its_configuration_and_reloads_it() {
    let w = World::new();
    let (port, nginx) = (free_port(), server_bin("nginx").display().to_string());
    w.dir.mkdir("tmp");
    let conf = |line: &str| {
        let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|n| format!("{n}_temp_path {};", w.path("tmp")))
            .concat();
        format!(
            "daemon off; master_process on; worker_processes 1; user root root; pid {};\nerror_log stderr;\nevents {{}}\n\
             http {{ access_log off; {temp}\nserver {{ listen 127.0.0.1:{port}; location / {{ {line} }} }} }}\n",
            w.path("nginx.pid")
        )
    };
    w.put("conf", &conf("return 200 one;"));
    let toml = template("conf", "nginx.conf")
        + &format!("check = ['{nginx}', '-t', '-q', '-p', '$D', '-e', 'stderr', '-c', '{{src}}']\n")
        + &app(&[&nginx, "-p", &w.path(""), "-e", "stderr", "-c", &w.path("nginx.conf")]);
    let proc = w.start(&toml);
    let says = |want: &str| {
        let address = format!("127.0.0.1:{port}");
        wait_until(WAIT, &format!("nginx to say {want}"), || {
            http("GET", &address, "/", &[], b"").ok().filter(|r| r.text() == want)
        });
    };
    says("one");
    let good = w.dir.read("nginx.conf");
    w.put("conf", &conf("return 200 two")); // no semicolon
    proc.wait_line("unexpected \"}\"", WAIT); // nginx's own words reach the log
    let text = format!("Config check failed: exit status 1: {} is not changed", w.path("nginx.conf"));
    proc.wait_line(&text, WAIT);
    assert_eq!(w.dir.read("nginx.conf"), good);
    w.put("conf", &conf("return 200 three;"));
    says("three");
    proc.check(count(&proc, "reloading main program now") == 1, "only the good one should be a reload");
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), WAIT);
}

#[test]
fn haproxy_refuses_what_it_cannot_read() {
    let w = World::new();
    // HAProxy wants its last line ended; one line end at a key's end is not part of the value.
    let haproxy = server_bin("haproxy").display().to_string();
    let conf = |line: &str| {
        format!(
            "defaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\nlisten l\n {line}\n server s 127.0.0.1:9\n\n"
        )
    };
    w.put("conf", &conf("bind 127.0.0.1:1"));
    // A line for the shell, as confd writes it.
    let toml = template("conf", "haproxy.cfg") + &format!("check = '{haproxy} -c -f {{{{.src}}}}'\n");
    let proc = w.start(&toml);
    let file = |line: &str| conf(line).trim_end().to_string() + "\n";
    w.wait_file("haproxy.cfg", &file("bind 127.0.0.1:1"));
    w.put("conf", &conf("blind 127.0.0.1:2"));
    proc.wait_line("unknown keyword 'blind'", WAIT);
    proc.wait_line("Config check failed: exit status 1", WAIT);
    assert_eq!(w.dir.read("haproxy.cfg"), file("bind 127.0.0.1:1"));
    w.put("conf", &conf("bind 127.0.0.1:3"));
    w.wait_file("haproxy.cfg", &file("bind 127.0.0.1:3"));
}

#[test]
fn a_check_that_fails_keeps_the_old_file_and_is_said_once() {
    let w = World::new();
    w.put("a", "good 1");
    let check = "check = ['sh', '-c', 'echo x >>\"$1/tries\"; exec grep -q good \"$0\"', '{src}', '$D']\n";
    let proc = w.start(&(template("a", "out") + check + &probe(&["config", &w.path("out")])));
    proc.wait_line("config: good 1 pid", WAIT);
    warm_up(&w, &proc, "a", "good 0");
    w.put("a", "bad");
    // It is tried again, as what it looks at may be anywhere; it is not said again.
    wait_until(WAIT, "more tries", || (w.dir.read("tries").lines().count() >= 5).then_some(()));
    assert_eq!(w.dir.read("out"), "good 0");
    w.put("a", "good 2");
    proc.wait_line("config: good 2 pid", WAIT);
    proc.check(count(&proc, "Config check failed") == 1, "the same failure should be said once");
    proc.check(count(&proc, "config: ") == 3, "the bad content should be no reload");
    // The next failure is a new one.
    w.put("a", "bad");
    proc.wait_nth_line(2, "Config check failed: exit status 1", WAIT);
    w.put("a", "good 3");
    proc.wait_line("config: good 3 pid", WAIT);
    assert_eq!(w.dir.names(""), ["keys", "out", "tries"]);
}

#[test]
fn a_check_that_hangs_is_killed_with_its_whole_group() {
    let w = World::new();
    w.put("a", "good");
    let mark = format!("77.{}", std::process::id());
    let check = format!(
        "check = 'grep -q good {{src}} || {{ sleep {mark} & trap \"\" TERM; sleep {mark}; }}'\ncheck_timeout = '300ms'\n"
    );
    let proc = w.start(&(template("a", "out") + &check + &probe(&["config", &w.path("out")])));
    proc.wait_line("config: good pid", WAIT);
    w.put("a", "bad");
    let sleeping = || {
        let line = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        processes().into_iter().filter(|p| line(p.pid) == format!("sleep\0{mark}\0")).count()
    };
    wait_until(WAIT, "the check to hang", || (sleeping() == 2).then_some(()));
    proc.wait_line("Config check failed: timed out: ", WAIT);
    assert_eq!(w.dir.read("out"), "good");
    w.put("a", "good again");
    proc.wait_line("config: good again pid", WAIT);
    wait_until(WAIT, "the end of all that the check started", || (sleeping() == 0).then_some(()));
    proc.check(count(&proc, "Config check failed") == 1, "the same failure should be said once");
    proc.check(count(&proc, "config: ") == 2, "the bad content should be no reload");
}

#[test]
fn a_check_that_is_not_there_keeps_the_old_file() {
    let w = World::new();
    w.put("a", "1");
    let tool = w.dir.join("validator");
    let check = "check = ['$D/validator', '{src}']\n";
    w.dir.write("out", "old");
    let proc = w.start(&(template("a", "out") + check + &probe(&["config", &w.path("out")])));
    let line = proc.wait_line("Config check failed: ", WAIT).text;
    let want = format!("cannot run {}: No such file or directory: {} is not changed", tool.display(), w.path("out"));
    proc.check(line.contains(&want), &format!("it should say: {want}"));
    assert_eq!(w.dir.read("out"), "old");
    proc.check(count(&proc, "config: ") == 0, "the app should not start with a file that was not checked");
    let aside = w.dir.write("aside", "#!/bin/sh\nexit 0\n");
    std::fs::set_permissions(&aside, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::rename(aside, &tool).unwrap();
    proc.wait_line("config: 1 pid", WAIT);
    proc.check(count(&proc, "Config check failed") == 1, "the same failure should be said once");
}

#[test]
fn of_several_files_none_changes_while_one_is_invalid_and_all_are_one_reload() {
    let w = World::new();
    for key in ["a", "b", "c"] {
        w.put(key, "good 1");
    }
    let check = "check = ['grep', '-q', 'good', '{src}']\n";
    let toml = template("a", "out-a") + &template("b", "out-b") + check + &template("c", "out-c") + check;
    let proc = w.start(&(toml + &probe(&["config", &w.path("out-b")])));
    proc.wait_line("config: good 1 pid", WAIT);
    warm_up(&w, &proc, "b", "good 0");
    w.put("b", "good 1");
    proc.wait_nth_line(2, "config: good 1 pid", WAIT);
    w.put("b", "bad");
    proc.wait_line("Config check failed", WAIT);
    w.put("a", "good 2");
    w.put("c", "bad too");
    proc.wait_line("out-c is not changed", WAIT);
    w.put("c", "good 2");
    // A later failure of another kind proves that `a` and `c` were tried again and held back.
    w.put("b", "bad still");
    proc.wait_nth_line(2, "out-c out of sync", WAIT);
    for name in ["out-a", "out-b", "out-c"] {
        assert_eq!(w.dir.read(name), "good 1", "{name}\n{}", proc.report());
    }
    proc.check(count(&proc, "config: ") == 3 && count(&proc, "reloading") == 2, "nothing changed, so no reload");
    w.put("b", "good 2");
    proc.wait_line("config: good 2 pid", WAIT);
    for name in ["out-a", "out-b", "out-c"] {
        assert_eq!(w.dir.read(name), "good 2", "{name}\n{}", proc.report());
    }
    w.put("b", "good 3");
    proc.wait_line("config: good 3 pid", WAIT);
    proc.check(count(&proc, "config: ") == 5, "three files that change together should be one reload");
    proc.check(count(&proc, "has been updated") == 9, "three files, one, one, three, one");
}

// ---- reloads ----

#[test]
fn a_template_s_own_reload_command_is_tried_again_until_it_succeeds() {
    let w = World::new();
    w.put("a", "1");
    let reload = "reload = ['sh', '-c', 'test -e \"$0/ok\" || exit 3; cat \"$1\" >>\"$0/ran\"; echo >>\"$0/ran\"', '$D', \
        '{dest}']\n";
    let proc = w.start(&(template("a", "out") + reload + &probe(&["wait"])));
    proc.wait_line(&format!("the reload command of {} failed: exit status 3; next try in ", w.path("out")), WAIT);
    proc.wait_line("ready pid=", WAIT); // the app has its file and need not wait for that
    w.put("a", "2"); // newest content counts when it goes through at last
    w.wait_file("out", "2");
    w.dir.write("ok", "");
    proc.wait_line("the reload that failed has succeeded now", WAIT);
    assert_eq!(w.dir.read("ran"), "2\n");
    w.put("a", "3");
    w.wait_file("ran", "2\n3\n");
    proc.check(count(&proc, "ERROR the reload command") == 1, "the same failure should be said once");
}

#[test]
fn the_app_can_be_reloaded_by_a_command_with_words_as_they_are() {
    let w = World::new();
    w.put("a", "1");
    let words = "reload = ['sh', '-c', 'echo \"reload $# $1 $2\"; cat \"$0\"', '$D/out', 'a b', '$HOME;{x}']\n";
    let proc = w.start(&(template("a", "out") + &probe(&["config", &w.path("out")]) + words));
    proc.wait_line("config: 1 pid", WAIT);
    w.put("a", "2");
    // Nobody but the shell that was asked for looks at them.
    proc.wait_line("reload 2 a b $HOME;{x}", WAIT);
    proc.wait_line("reloading main program now", WAIT);
    w.put("a", "3");
    proc.wait_nth_line(2, "reload 2 a b", WAIT);
    proc.check(count(&proc, "config: ") == 1, "the app itself should get no signal");
}

#[test]
fn source_and_destination_stand_in_commands_and_a_line_goes_to_the_shell() {
    let w = World::new();
    w.put("a", "1");
    let toml = template("a", "out")
        + "check = 'cat {src} >>$D/checked && echo \" as {{ .dest }}\" >>$D/checked; test -n \"$$\"'\n\
           reload = ['sh', '-c', 'echo \"$0|$1|$2\" >>\"$3\"', 'to={dest}', '{{.dest}}', '{src}', '$D/reloaded']\n";
    w.dir.write("out", "0");
    let proc = w.start(&toml);
    let out = w.path("out");
    w.wait_file("checked", &format!("1 as {out}\n"));
    // After the commit both are the file itself. In a list only {src} and {dest} mean anything.
    w.wait_file("reloaded", &format!("to={out}|{{{{.dest}}}}|{out}\n"));
    w.put("a", "2");
    w.wait_file("checked", &format!("1 as {out}\n2 as {out}\n"));
    proc.check(count(&proc, "ERROR") == 0, "nothing went wrong");
}

#[test]
fn a_restart_takes_the_place_of_a_reload() {
    let w = World::new();
    w.put("a", "1");
    let proc = w.start(&(template("a", "out") + &probe(&["config", &w.path("out")]) + "reload = 'restart'\n"));
    proc.wait_line("config: 1 pid", WAIT);
    w.put("a", "2");
    proc.wait_line("restarting main program now", WAIT);
    proc.wait_line("config: 2 pid", WAIT);
    proc.check(count(&proc, "term") == 1, "the old one was asked to stop");
    // Changes while the old one still stops: the last value wins, and nothing is started twice.
    drop(proc);
    let slow = format!("[app]\ncommand = ['{}', 'outlive', '600']\nreload = 'restart'\n", static_app().display());
    let proc = w.start(&(template("a", "out") + &slow));
    proc.wait_line("ready pid=", WAIT);
    w.put("a", "3");
    proc.wait_line("term", WAIT);
    w.put("a", "4");
    w.wait_file("out", "4");
    w.put("a", "5");
    w.wait_file("out", "5");
    proc.wait_nth_line(2, "ready pid=", WAIT);
    let (late, ready) = (proc.wait_line("late", WAIT).at, proc.wait_nth_line(2, "ready pid=", WAIT).at);
    proc.check(late < ready, "the old one should be gone before the new one starts");
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), WAIT);
    proc.check(count(&proc, "ready pid=") == 2, "files that the new one read at its start need no further restart");
}

#[test]
fn changes_during_a_slow_reload_are_one_more_with_the_last_value() {
    let w = World::new();
    w.put("a", "1");
    let script = w.dir.write(
        "reload.sh",
        "cat \"$1/out\" >>\"$1/begun\"; echo >>\"$1/begun\"\nuntil [ -e \"$1/go\" ]; do sleep 0.02; done\n\
         echo >>\"$1/ended\"\n",
    );
    let words = format!("reload = ['sh', '{}', '$D']\n", script.display());
    let proc = w.start(&(template("a", "out") + &probe(&["wait"]) + &words));
    proc.wait_line("ready pid=", WAIT);
    w.put("a", "2");
    w.wait_file("begun", "2\n");
    for n in 3..7 {
        w.put("a", &n.to_string());
        w.wait_file("out", &n.to_string()); // files do not wait for reloads
    }
    assert_eq!(w.dir.read("begun"), "2\n", "one reload at a time");
    w.dir.write("go", "");
    w.wait_file("begun", "2\n6\n");
    w.wait_file("ended", "\n\n");
    w.put("a", "7");
    w.wait_file("begun", "2\n6\n7\n");
    proc.check(proc.exited().is_none(), "it goes on");
}

#[test]
fn a_storm_of_changes_ends_with_the_last_value_and_few_reloads() {
    let w = World::new();
    w.put("a", "0");
    let proc = w.start(&(template("a", "out") + &probe(&["config", &w.path("out")])));
    proc.wait_line("config: 0 pid", WAIT);
    warm_up(&w, &proc, "a", "warm");
    let begin = std::time::Instant::now();
    for n in 1..=2000 {
        w.put("a", &n.to_string());
    }
    proc.wait_line("config: 2000 pid", WAIT);
    let tenths = begin.elapsed().as_millis() as usize / 100;
    let reloads = count(&proc, "reloading main program now");
    eprintln!("2000 changes in {:?}: {reloads} reloads", begin.elapsed());
    proc.check(reloads <= tenths + 2, &format!("{reloads} reloads in {tenths} tenths of a second"));
    assert_eq!(w.dir.read("out"), "2000");
}

// ---- roll back ----

/// An app that says what it read at its start and at each HUP, and ends with 3 when that begins with `bad`.
const PICKY: &str =
    "show() { read -r c <\"$1\"; case $c in bad*) echo \"dies of $c\"; exit 3;; esac; echo \"runs with $c\"; }
    trap 'show \"$1\"' HUP; show \"$1\"; echo is up; while :; do sleep 0.02; done";

#[test]
fn content_that_the_app_dies_of_is_rolled_back_and_not_tried_again() {
    let w = World::new();
    let script = w.dir.write("app.sh", PICKY);
    let app = app(&["sh", &script.display().to_string(), &w.path("out")]);
    let file = |key: &str, dest: &str| {
        format!(
            "[[template]]\nname = 'x.tmpl'\ntext = \"{{{{getv `/d/{key}`}}}}\\n\"\ndest = '$D/{dest}'\nrollback = true\n"
        )
    };
    let toml = file("a", "out") + &file("b", "beside") + &app;
    // Both keys change at one moment, as in a mounted volume.
    let publish = |version: usize, a: &str, b: &str| {
        w.dir.write(format!("keys/.v{version}/a"), a);
        w.dir.write(format!("keys/.v{version}/b"), b);
        symlink(format!(".v{version}"), w.dir.join("keys/.aside")).unwrap();
        std::fs::rename(w.dir.join("keys/.aside"), w.dir.join("keys/d")).unwrap();
    };
    publish(1, "good 1", "b1");
    let proc = w.start(&toml);
    proc.wait_line("is up", WAIT);
    publish(2, "bad 1", "b2");
    proc.wait_line("dies of bad 1", WAIT);
    proc.wait_nth_line(2, "runs with good 1", WAIT);
    assert_eq!((w.dir.read("out"), w.dir.read("beside")), ("good 1\n".into(), "b1\n".into()));
    proc.wait_line("the previous content is put back", WAIT);
    // Better data for one of them: the other one was never to blame.
    publish(3, "good 2", "b2");
    proc.wait_line("runs with good 2", WAIT);
    w.wait_file("beside", "b2\n");
    // One alone was to blame: it is not tried again when the other one changes.
    publish(4, "bad 2", "b2");
    proc.wait_line("dies of bad 2", WAIT);
    proc.wait_nth_line(2, "runs with good 2", WAIT);
    publish(5, "bad 2", "b3");
    w.wait_file("beside", "b3\n");
    proc.wait_nth_line(3, "runs with good 2", WAIT);
    publish(6, "good 3", "b3");
    proc.wait_line("runs with good 3", WAIT);
    proc.check(count(&proc, "dies of bad 1") == 1 && count(&proc, "dies of bad 2") == 1, "each should be tried once");
    assert_eq!(w.dir.names(""), ["app.sh", "beside", "keys", "out"]);
    drop(proc);

    // Without `rollback` the app's end is the end, and the file is what the source says.
    let proc = w.start(&toml.replace("rollback = true\n", ""));
    proc.wait_line("is up", WAIT);
    publish(7, "bad 3", "b3");
    proc.wait_line("dies of bad 3", WAIT);
    proc.expect_exit(Exit::Code(3), WAIT);
    assert_eq!(w.dir.read("out"), "bad 3\n");
}

#[test]
fn content_that_the_reload_command_refuses_is_rolled_back() {
    let w = World::new();
    w.put("a", "good 1");
    let reload =
        "reload = ['sh', '-c', 'cat \"$0\" >>\"$1\"; echo >>\"$1\"; grep -q good \"$0\"', '$D/out', '$D/seen']\n";
    let proc = w.start(&(template("a", "out") + "rollback = true\n" + &probe(&["wait"]) + reload));
    proc.wait_line("ready pid=", WAIT);
    w.put("a", "bad");
    w.wait_file("seen", "bad\ngood 1\n"); // and the app is told that it is back
    assert_eq!(w.dir.read("out"), "good 1");
    w.put("a", "good 2");
    w.wait_file("seen", "bad\ngood 1\ngood 2\n");
    assert_eq!(w.dir.read("out"), "good 2");
    proc.check(proc.exited().is_none(), "it goes on");
}

#[test]
fn several_changes_before_the_app_dies_are_rolled_back_together() {
    let w = World::new();
    let script = w.dir.write("app.sh", PICKY);
    let file = |key: &str, dest: &str| template(key, dest).replace("}}'", "}}\\n\"").replace("text = '", "text = \"");
    let toml = (file("a", "out") + "rollback = true\n" + &file("b", "beside") + "rollback = true\n")
        .replace("getv \"/a\"", "getv `/a`")
        .replace("getv \"/b\"", "getv `/b`")
        + &app(&["sh", &script.display().to_string(), &w.path("out")]);
    w.put("a", "good 1");
    w.put("b", "b1");
    let proc = w.start(&toml);
    proc.wait_line("is up", WAIT);
    // In the app's first second no reload signal is sent: it dies of all three at once.
    w.put("a", "bad 1");
    w.wait_file("out", "bad 1\n");
    w.put("a", "bad 2");
    w.wait_file("out", "bad 2\n");
    w.put("b", "b2");
    w.wait_file("beside", "b2\n");
    proc.wait_line("dies of bad 2", WAIT);
    proc.wait_nth_line(2, "runs with good 1", WAIT); // what it bore last, not what came last before
    w.wait_file("beside", "b1\n");
    w.put("a", "good 2");
    proc.wait_line("runs with good 2", WAIT);
    w.wait_file("beside", "b2\n");
}
