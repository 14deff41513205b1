//! A folder as a source: every regular file below it is a key, its content the value. It decides which files count and
//! when the folder is looked at again; it never writes there, and what a change means is decided elsewhere.
//!
//! A key is the file's path below the folder with a leading `/`. One newline at a value's end (`\n` or `\r\n`) is not
//! part of it: people write keys with echo. Names that begin with a dot are passed over, so a Kubernetes volume works
//! as it is mounted: its visible names are symlinks through `..data`. Symlinks to files and folders are followed.
//! File systems that other machines change (NFS) send no events; there only what happens here is seen.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::backoff::{Backoff, Random};
use crate::error::{Error, Result, os_text};
use crate::plan::Millis;
use crate::source::News;
use crate::store::{Entry, Snapshot};
use crate::sys::host;
use crate::sys::inotify::{Inotify, Woken, wait};

/// Deepest folder below the root.
const DEPTH: usize = 32;
/// Most folders, so that symlinks that cross cannot keep us busy for ever.
const FOLDERS: usize = 100_000;
/// Most keys.
const KEYS: usize = 1_000_000;
/// Most bytes of one value.
const VALUE: usize = 16 << 20;
/// Most bytes of all keys and values.
const TOTAL: usize = 64 << 20;

/// Files written together arrive together: a change is taken up after this much quiet ...
const QUIET: Millis = 5;
/// ... or at the latest after this long.
const LATEST: Millis = 50;
/// How many looks in a row may be thrown away because something changed meanwhile.
const DISTURBED: usize = 5;
/// How often to look where there is no inotify, in milliseconds, give or take a quarter.
const POLL: Millis = 1000;

/// Reads the folder once: the keys that start with `prefix`.
///
/// # Errors
/// The folder or a file in it cannot be read, or a limit is passed. A file that vanishes meanwhile is no error.
pub fn load(root: &Path, prefix: &str) -> Result<Snapshot> {
    Walk::new(prefix, None).run(root)
}

/// Watches the folder for ever.
pub fn watch(root: &Path, prefix: &str, say: &dyn Fn(News)) {
    watch_until(root, prefix, None, say);
}

/// Watches the folder until `stop` becomes readable. The keys are told when they differ from the last ones told;
/// trouble is told each time, with the wait before the next look.
pub fn watch_until(root: &Path, prefix: &str, stop: Option<BorrowedFd<'_>>, say: &dyn Fn(News)) {
    watch_with(root, prefix, stop, say, Inotify::new);
}

fn watch_with(
    root: &Path,
    prefix: &str,
    stop: Option<BorrowedFd<'_>>,
    say: &dyn Fn(News),
    open: fn() -> io::Result<Inotify>,
) {
    let mut random = Random::new(host::random());
    let mut backoff = Backoff::default();
    let mut last: Option<Arc<Snapshot>> = None;
    let mut is_blind = false;
    let mut disturbed = 0;
    loop {
        let begin = Instant::now();
        // Everything is armed anew for each look, and each folder before it is read: what changes after that is seen.
        let (eyes, mut blinded) = match open() {
            Ok(eyes) => (Some(eyes), None),
            Err(e) => (None, Some(e)),
        };
        let mut walk = Walk::new(prefix, eyes.as_ref());
        walk.watch_way(root);
        let found = walk.run(root);
        let is_missing = walk.is_missing;
        // What changed while we looked may be half old and half new. Somebody who never rests is not waited for.
        if let Some(eyes) = &eyes
            && disturbed < DISTURBED
            && wait(stop, Some(eyes.as_fd()), Some(0)) == Woken::Ready
        {
            disturbed = disturbed.saturating_add(1);
            if gather(eyes, stop) {
                return;
            }
            continue;
        }
        disturbed = 0;
        blinded = blinded.or(walk.blinded.take());
        let mut is_trouble = backoff.is_failing();
        if let Some(e) = &blinded
            && !is_blind
        {
            let mut text = String::from("cannot watch ");
            text.push_str(&root.to_string_lossy());
            text.push_str(": ");
            text.push_str(&os_text(e));
            text.push_str("; looking every second instead (see the limits in /proc/sys/fs/inotify)");
            say(News::Trouble(text, POLL));
            is_trouble = true;
        }
        is_blind = blinded.is_some();
        let mut pause = is_blind.then(|| POLL - POLL / 4 + random.below(POLL / 2));
        match found {
            Ok(snapshot) => {
                backoff.succeeded();
                if last.as_ref().is_none_or(|l| !l.same(&snapshot)) {
                    let snapshot = Arc::new(snapshot);
                    last = Some(snapshot.clone());
                    say(News::Data(snapshot));
                } else if is_trouble {
                    say(News::Recovered);
                }
            }
            Err(e) => {
                let retry = backoff.failed(&mut random);
                let is_back = is_missing && eyes.as_ref().is_some_and(|eyes| watch_above(eyes, root));
                pause = Some(if is_back { 0 } else { pause.map_or(retry, |p| p.min(retry)) });
                say(News::Trouble(e.text, retry));
            }
        }
        // A large folder that changes all the time may cost half of one processor, not all of it.
        let took = Millis::try_from(begin.elapsed().as_millis()).unwrap_or(POLL).min(POLL);
        let woken = match wait(stop, None, Some(took)) {
            Woken::Stop => Woken::Stop,
            _ => wait(stop, eyes.as_ref().map(AsFd::as_fd), pause),
        };
        match (woken, &eyes) {
            (Woken::Stop, _) => return,
            (Woken::Ready, Some(eyes)) => {
                if gather(eyes, stop) {
                    return;
                }
            }
            (Woken::Ready | Woken::Timeout, _) => {}
        }
    }
}

/// Lets changes come to rest. True when it is time to stop.
fn gather(eyes: &Inotify, stop: Option<BorrowedFd<'_>>) -> bool {
    let begin = Instant::now();
    let mut unfinished = 0;
    loop {
        unfinished = eyes.drain(unfinished);
        let past = Millis::try_from(begin.elapsed().as_millis()).unwrap_or(LATEST);
        let left = LATEST.saturating_sub(past);
        let quiet = if unfinished > 0 { left } else { left.min(QUIET) };
        match wait(stop, Some(eyes.as_fd()), Some(quiet)) {
            Woken::Stop => return true,
            Woken::Ready if left > 0 => {}
            Woken::Ready | Woken::Timeout => return false,
        }
    }
}

/// Watches the nearest folder above a missing one, to see it appear. True when it is there already.
fn watch_above(eyes: &Inotify, root: &Path) -> bool {
    // Each round is for a folder that appeared while we looked; after some rounds the next retry must do.
    for _ in 0..DEPTH {
        let mut at = root;
        if eyes.watch(at).is_ok() {
            return true;
        }
        let below = loop {
            let below = at;
            at = match below.parent() {
                Some(up) if up.as_os_str().is_empty() => Path::new("."),
                Some(up) => up,
                None => return false,
            };
            if eyes.watch(at).is_ok() {
                break below;
            }
            if at == Path::new(".") {
                return false;
            }
        };
        if fs::symlink_metadata(below).is_err() {
            return false;
        }
    }
    false
}

/// One look at the folder.
struct Walk<'a> {
    prefix: &'a str,
    eyes: Option<&'a Inotify>,
    /// Why not everything is watched.
    blinded: Option<io::Error>,
    entries: Vec<Entry>,
    total: usize,
    folders: usize,
    /// Device and inode of the folders we are in, against symlinks that lead back up.
    trail: Vec<(u64, u64)>,
    /// There is no root.
    is_missing: bool,
}

impl<'a> Walk<'a> {
    fn new(prefix: &'a str, eyes: Option<&'a Inotify>) -> Walk<'a> {
        Walk {
            prefix,
            eyes,
            blinded: None,
            entries: Vec::new(),
            total: 0,
            folders: 0,
            trail: Vec::new(),
            is_missing: false,
        }
    }

    fn run(&mut self, root: &Path) -> Result<Snapshot> {
        if let Err(e) = fs::metadata(root) {
            self.is_missing = e.kind() == ErrorKind::NotFound;
            return Err(cannot_read(root, &e));
        }
        self.folder(root, "/")?;
        Ok(Snapshot::new(std::mem::take(&mut self.entries)))
    }

    /// Notes why a watch failed, unless what was to be watched is gone or will fail to be read anyway.
    fn note(&mut self, armed: io::Result<()>) {
        if let Err(e) = armed
            && !is_gone(&e)
            && e.kind() != ErrorKind::PermissionDenied
        {
            self.blinded = Some(e);
        }
    }

    /// Watches the way to the root: a folder or symlink in it may be replaced.
    fn watch_way(&mut self, root: &Path) {
        let Some(eyes) = self.eyes else { return };
        // As it is written, and as it is without symlinks.
        let real = fs::canonicalize(root).unwrap_or_default();
        for at in root.ancestors().chain(real.ancestors()).filter(|at| !at.as_os_str().is_empty()) {
            self.note(eyes.watch_self(at));
        }
    }

    /// The keys in one folder; `key` ends in `/`.
    fn folder(&mut self, path: &Path, key: &str) -> Result<()> {
        self.folders = self.folders.saturating_add(1);
        if self.trail.len() > DEPTH || self.folders > FOLDERS {
            let what = if self.folders > FOLDERS { "more than 100000 folders" } else { "more than 32 levels" };
            return Err(limit(path, what));
        }
        if let Some(eyes) = self.eyes {
            self.note(eyes.watch(path));
        }
        let list = match fs::metadata(path).and_then(|m| Ok((m, fs::read_dir(path)?))) {
            Ok((meta, list)) => {
                let id = (meta.dev(), meta.ino());
                if self.trail.contains(&id) {
                    return Ok(());
                }
                self.trail.push(id);
                list
            }
            Err(e) if is_gone(&e) && !self.trail.is_empty() => return Ok(()),
            Err(e) => {
                self.is_missing = e.kind() == ErrorKind::NotFound;
                return Err(cannot_read(path, &e));
            }
        };
        for entry in list {
            let entry = entry.map_err(|e| cannot_read(path, &e))?;
            let path = entry.path();
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let Some(name) = name.to_str() else {
                return Err(cannot_read(&path, &io::Error::new(ErrorKind::InvalidData, "its name is not UTF-8")));
            };
            let mut key = String::from(key);
            key.push_str(name);
            let meta = match fs::metadata(&path) {
                Ok(meta) => meta,
                Err(e) if is_gone(&e) => continue,
                Err(e) => return Err(cannot_read(&path, &e)),
            };
            if meta.is_dir() {
                key.push('/');
                if key.starts_with(self.prefix) || self.prefix.starts_with(&key) {
                    self.folder(&path, &key)?;
                }
            } else if meta.is_file() && key.starts_with(self.prefix) {
                // What a symlink leads to lies where nothing else is watched.
                if let Some(eyes) = self.eyes
                    && entry.file_type().is_ok_and(|t| t.is_symlink())
                {
                    self.note(eyes.watch(&path));
                }
                self.file(&path, &key)?;
            }
        }
        self.trail.pop();
        Ok(())
    }

    fn file(&mut self, path: &Path, key: &str) -> Result<()> {
        let mut data = Vec::new();
        let most = u64::try_from(VALUE).unwrap_or(u64::MAX).saturating_add(3);
        match fs::File::open(path).and_then(|f| f.take(most).read_to_end(&mut data)) {
            Ok(_) => {}
            Err(e) if is_gone(&e) => return Ok(()),
            Err(e) => return Err(cannot_read(path, &e)),
        }
        if data.last() == Some(&b'\n') {
            data.pop();
            if data.last() == Some(&b'\r') {
                data.pop();
            }
        }
        if data.len() > VALUE {
            return Err(limit(path, "more than 16 MiB"));
        }
        self.total = self.total.saturating_add(data.len()).saturating_add(key.len());
        if self.total > TOTAL {
            return Err(limit(path, "more than 64 MiB in all"));
        }
        if self.entries.len() >= KEYS {
            return Err(limit(path, "more than 1000000 keys"));
        }
        self.entries.push((Arc::from(key), Arc::from(data)));
        Ok(())
    }
}

/// It was there a moment ago.
fn is_gone(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::StaleNetworkFileHandle)
}

fn cannot_read(path: &Path, e: &io::Error) -> Error {
    let mut what = String::from("read ");
    what.push_str(&path.to_string_lossy());
    Error::io(&what, e)
}

fn limit(path: &Path, what: &str) -> Error {
    let mut text = String::from("cannot read ");
    text.push_str(&path.to_string_lossy());
    text.push_str(": ");
    text.push_str(what);
    Error::config(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    const DEADLINE: Duration = Duration::from_secs(20);

    struct TempDir(PathBuf);

    impl TempDir {
        fn new(name: &str) -> TempDir {
            let path = std::env::temp_dir().join(format!("pilotfish-dir-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            TempDir(path.canonicalize().unwrap())
        }
        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
        }
        fn rename(&self, from: &str, to: &str) {
            fs::rename(self.path(from), self.path(to)).unwrap();
        }
        fn link(&self, to: &str, name: &str) {
            symlink(to, self.path(name)).unwrap();
        }
        fn folder(&self, name: &str) {
            fs::create_dir_all(self.path(name)).unwrap();
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    enum Seen {
        Keys(String),
        Trouble(String),
        Recovered,
    }

    /// `a=1 b/c=2`
    fn line(s: &Snapshot) -> String {
        let all =
            s.entries().iter().map(|(k, v)| format!("{}={}", k.trim_start_matches('/'), String::from_utf8_lossy(v)));
        all.collect::<Vec<_>>().join(" ")
    }

    /// A watch on its own thread, ended when dropped.
    struct Watched {
        news: Receiver<Seen>,
        stop: Option<io::PipeWriter>,
        thread: Option<std::thread::JoinHandle<()>>,
    }

    impl Watched {
        fn new(root: PathBuf, open: fn() -> io::Result<Inotify>) -> Watched {
            let (sender, news) = channel();
            let (end, stop) = io::pipe().unwrap();
            let thread = std::thread::spawn(move || {
                let say = |news| {
                    let _ = sender.send(match news {
                        News::Data(s) => Seen::Keys(line(&s)),
                        News::Trouble(text, _) => Seen::Trouble(text),
                        News::Recovered => Seen::Recovered,
                    });
                };
                watch_with(&root, "/", Some(end.as_fd()), &say, open);
            });
            Watched { news, stop: Some(stop), thread: Some(thread) }
        }
        fn of(root: PathBuf) -> Watched {
            Watched::new(root, Inotify::new)
        }
        fn next(&self, wanted: &str) -> Seen {
            match self.news.recv_timeout(DEADLINE) {
                Ok(seen) => seen,
                Err(_) => panic!("nothing came; wanted {wanted}"),
            }
        }
        /// The very next thing told are these keys.
        fn now(&self, want: &str) {
            match self.next(want) {
                Seen::Keys(got) => assert_eq!(got, want),
                Seen::Trouble(text) => panic!("{text}; wanted {want}"),
                Seen::Recovered => panic!("recovered; wanted {want}"),
            }
        }
        /// These keys are told sooner or later. Gives what was told before.
        fn then(&self, want: &str) -> Vec<String> {
            let mut before = Vec::new();
            loop {
                match self.next(&format!("{want} after {before:?}")) {
                    Seen::Keys(got) if got == want => return before,
                    Seen::Keys(got) => before.push(got),
                    Seen::Trouble(text) => before.push(text),
                    Seen::Recovered => before.push("recovered".to_string()),
                }
            }
        }
        fn trouble(&self) -> String {
            match self.next("trouble") {
                Seen::Trouble(text) => text,
                Seen::Keys(got) => panic!("{got}; wanted trouble"),
                Seen::Recovered => panic!("recovered; wanted trouble"),
            }
        }
    }

    impl Drop for Watched {
        fn drop(&mut self) {
            drop(self.stop.take());
            self.thread.take().unwrap().join().unwrap();
        }
    }

    #[test]
    fn one_newline_is_cut() {
        let t = TempDir::new("newline");
        let cases = [("", ""), ("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("\n", ""), ("a\r", "a\r")];
        for (text, want) in cases {
            t.write("k", text);
            assert_eq!(line(&load(&t.0, "/").unwrap()), format!("k={want}"), "{text:?}");
        }
    }

    #[test]
    fn what_counts_as_a_key() {
        let t = TempDir::new("keys");
        t.folder("b/c");
        t.folder(".hidden");
        for (name, text) in [("a", "1"), ("b/c/d", "2"), ("b/x", "3"), (".hidden/k", "n"), (".dot", "n"), ("bc", "4")] {
            t.write(name, text);
        }
        t.link("b", "linked");
        t.link("..", "b/up");
        t.link("nowhere", "dangling");
        t.link("/dev/null", "null");
        assert_eq!(line(&load(&t.0, "/").unwrap()), "a=1 b/c/d=2 b/x=3 bc=4 linked/c/d=2 linked/x=3");
        assert_eq!(line(&load(&t.0, "/b/").unwrap()), "b/c/d=2 b/x=3");
        assert_eq!(line(&load(&t.0, "/b/c/d").unwrap()), "b/c/d=2");
        assert_eq!(line(&load(&t.0, "/b").unwrap()), "b/c/d=2 b/x=3 bc=4");
        assert_eq!(line(&load(&t.0, "/nope/").unwrap()), "");
    }

    #[test]
    fn errors_name_the_file() {
        let t = TempDir::new("errors");
        let error = |prefix: &str| load(&t.0, prefix).err().unwrap().text;
        t.link("self", "self");
        assert!(error("/").contains("/self: Too many levels of symbolic links"), "{}", error("/"));
        fs::remove_file(t.path("self")).unwrap();
        fs::File::create(t.path("big")).unwrap().set_len((16 << 20) + 1).unwrap();
        assert!(error("/").ends_with("/big: more than 16 MiB"), "{}", error("/"));
        assert_eq!(line(&load(&t.0, "/b/").unwrap()), "");
        fs::remove_file(t.path("big")).unwrap();
        t.folder(&["d"; 33].join("/"));
        assert!(error("/").ends_with("more than 32 levels"), "{}", error("/"));
        let e = load(&t.path("nope"), "/").err().unwrap().text;
        assert!(e.starts_with("cannot read ") && e.ends_with("/nope: No such file or directory"), "{e}");
        t.write("file", "");
        let e = load(&t.path("file"), "/").err().unwrap().text;
        assert!(e.ends_with("/file: Not a directory"), "{e}");
    }

    #[test]
    fn new_changed_and_removed() {
        let t = TempDir::new("changes");
        t.write("a", "1\n");
        let w = Watched::of(t.0.clone());
        w.now("a=1");
        t.write("b", "2");
        w.then("a=1 b=2");
        t.write("a", "3");
        w.then("a=3 b=2");
        t.write("a", "3"); // the same again, and what is hidden, are told to nobody
        t.write(".x", "5");
        t.write(".tmp", "4");
        t.rename(".tmp", "b");
        w.now("a=3 b=4");
        fs::remove_file(t.path("a")).unwrap();
        w.now("b=4");
        fs::hard_link(t.path("b"), t.path("c")).unwrap();
        w.now("b=4 c=4");
        fs::rename(t.path("c"), t.path(".c")).unwrap();
        w.now("b=4");
    }

    #[test]
    fn a_new_folder_with_its_files() {
        let t = TempDir::new("folder");
        t.folder("s");
        let w = Watched::of(t.0.clone());
        w.now("");
        t.folder("s/x/y");
        t.write("s/x/y/a", "1");
        t.write("s/b", "2");
        w.then("s/b=2 s/x/y/a=1");
        t.write("s/x/y/a", "3");
        w.then("s/b=2 s/x/y/a=3");
        t.rename("s/x", ".x");
        w.now("s/b=2");
        t.write(".x/y/a", "4");
        t.rename(".x", "z");
        w.now("s/b=2 z/y/a=4");
    }

    #[test]
    fn a_file_being_written_is_waited_for() {
        use std::io::Write;
        let t = TempDir::new("half");
        let w = Watched::of(t.0.clone());
        w.now("");
        t.write("b", "1");
        w.then("b=1");
        let mut file = fs::OpenOptions::new().write(true).open(t.path("b")).unwrap();
        file.write_all(b"half").unwrap();
        file.write_all(b", whole").unwrap();
        drop(file);
        w.now("b=half, whole");
    }

    #[test]
    fn the_swap_of_a_kubernetes_volume() {
        let t = TempDir::new("kube");
        let publish = |stamp: &str, old: Option<&str>, a: &str| {
            t.folder(stamp);
            t.write(&[stamp, "/a"].concat(), a);
            t.write(&[stamp, "/b"].concat(), a);
            t.link(stamp, "..data_tmp");
            t.rename("..data_tmp", "..data");
            if let Some(old) = old {
                fs::remove_dir_all(t.path(old)).unwrap();
            }
        };
        publish("..2024_1", None, "1");
        t.link("..data/a", "a");
        t.link("..data/b", "b");
        let w = Watched::of(t.0.clone());
        w.now("a=1 b=1");
        publish("..2024_2", Some("..2024_1"), "2");
        w.now("a=2 b=2");
        publish("..2024_3", Some("..2024_2"), "3");
        w.now("a=3 b=3");
        publish("..2024_4", Some("..2024_3"), "4");
        w.now("a=4 b=4");
    }

    #[test]
    fn symlinks_to_elsewhere() {
        let t = TempDir::new("links");
        for name in ["root", "v1", "v2"] {
            t.folder(name);
            t.write(&[name, "/k"].concat(), name);
        }
        t.link("../v1/k", "root/l");
        t.link("../v1", "root/d");
        let w = Watched::of(t.path("root"));
        w.now("d/k=v1 k=root l=v1");
        t.write("v1/k", "x");
        // Cut first, then written: in place is no way to replace a file.
        w.then("d/k=x k=root l=x");
        t.link("../v2", "root/.d");
        t.rename("root/.d", "root/d");
        w.now("d/k=v2 k=root l=x");
        t.write(".k", "y");
        t.rename(".k", "v1/k");
        w.now("d/k=v2 k=root l=y");
    }

    #[test]
    fn a_root_behind_a_symlink_that_is_swapped() {
        let t = TempDir::new("current");
        for name in ["v1", "v2"] {
            t.folder(&[name, "/keys"].concat());
            t.write(&[name, "/keys/k"].concat(), name);
        }
        t.link("v1", "current");
        let w = Watched::of(t.path("current/keys"));
        w.now("k=v1");
        t.link("v2", "new");
        t.rename("new", "current");
        w.now("k=v2");
        t.rename("v2", "v3"); // the symlink dangles
        assert!(w.trouble().contains("current/keys: No such file"));
        t.rename("v3", "v2");
        loop {
            match w.next("recovered") {
                Seen::Recovered => return,
                Seen::Trouble(_) => {}
                Seen::Keys(got) => panic!("{got}"),
            }
        }
    }

    #[test]
    fn a_root_that_comes_and_goes() {
        let t = TempDir::new("root");
        let w = Watched::of(t.path("x/y"));
        assert!(w.trouble().ends_with("/x/y: No such file or directory"));
        t.folder("x/y");
        t.write("x/y/k", "1");
        w.then("k=1");
        for i in 2..6 {
            fs::remove_dir_all(t.path("x")).unwrap();
            t.folder("x/y");
            t.write("x/y/k", &i.to_string());
            w.then(&format!("k={i}"));
        }
        t.rename("x/y", "x/z");
        assert!(w.trouble().ends_with("/x/y: No such file or directory"));
        t.rename("x/z", "x/y");
        t.write("x/y/l", "7");
        w.then("k=5 l=7");
    }

    #[test]
    fn without_inotify_the_folder_is_polled() {
        let t = TempDir::new("poll");
        t.write("a", "1");
        let w = Watched::new(t.0.clone(), || Err(io::Error::from_raw_os_error(24)));
        let text = w.trouble();
        assert!(text.contains(": Too many open files") && text.contains("every second"), "{text}");
        w.now("a=1");
        t.write("a", "2");
        w.then("a=2");
        t.write("a", "3");
        w.then("a=3");
    }

    /// Everything written ends up told, whatever the timing.
    #[test]
    fn the_last_value_wins() {
        let t = TempDir::new("storm");
        t.folder("s");
        let w = Watched::of(t.0.clone());
        for i in 0..300 {
            match i % 4 {
                0 => t.write("a", &i.to_string()),
                1 => {
                    t.write(".t", &i.to_string());
                    t.rename(".t", "b");
                }
                2 => {
                    t.folder("n");
                    t.write("n/k", &i.to_string());
                    let _ = fs::remove_dir_all(t.path("s"));
                    t.rename("n", "s");
                }
                _ => {
                    let _ = fs::remove_file(t.path("a"));
                }
            }
        }
        t.write("end", "1");
        w.then("b=297 end=1 s/k=298");
    }
}
