//! Real folders: what differs is written, what is ours goes, what is not stays.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU32, Ordering};

struct Bed {
    path: PathBuf,
    is_swapped: bool,
}

impl Bed {
    fn new(is_swapped: bool) -> Bed {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pilotfish-tree-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("t")).unwrap();
        Bed { path, is_swapped }
    }
    fn dest(&self) -> Dest {
        Dest { path: self.root(), mode: None, uid: None, gid: None, make_dirs: true }
    }
    fn root(&self) -> PathBuf {
        self.path.join("t")
    }
    fn tree(&self) -> Tree {
        Tree { parts: Vec::new(), dir_mode: 0o755, is_swapped: self.is_swapped }
    }
    fn set(files: &[(&str, &str)]) -> Set {
        let mut set = Set::default();
        for (name, text) in files {
            set.add(&["/", name].concat(), false, 0o644, &Arc::from(text.as_bytes()));
        }
        set.settle();
        set
    }
    fn stage(&self, files: &[(&str, &str)]) -> Result<Option<(Staged, String)>> {
        stage(&self.dest(), &self.tree(), &Bed::set(files), false)
    }
    /// Stages and commits; gives what differed, without the folder's path.
    fn apply(&self, files: &[(&str, &str)]) -> Option<String> {
        let (staged, reason) = self.stage(files).unwrap()?;
        staged.commit().unwrap();
        let said = reason.strip_prefix(&*self.root().to_string_lossy()).unwrap().to_string();
        assert!(self.stage(files).unwrap().is_none(), "after a commit nothing differs");
        Some(said)
    }
    /// Files and empty folders as one sees them by going through the folder, without names of ours.
    fn seen(&self) -> Vec<String> {
        fn go(path: &Path, name: &str, all: &mut Vec<String>) {
            let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name()).collect();
            entries.sort();
            for entry in &entries {
                let (entry, path) = (entry.to_str().unwrap(), path.join(entry));
                if entry.starts_with("..") {
                    continue;
                }
                let name = format!("{name}{entry}");
                if path.is_dir() {
                    go(&path, &(name + "/"), all);
                } else {
                    all.push(format!("{name}={}", fs::read_to_string(&path).unwrap_or_default()));
                }
            }
            if entries.is_empty() {
                all.push(name.to_string());
            }
        }
        let mut all = Vec::new();
        go(&self.root(), "", &mut all);
        all
    }
    /// Names of ours in the folder.
    fn ours(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut all: Vec<String> = entries.filter(|n| n.starts_with("..")).collect();
        all.sort();
        all
    }
    fn write(&self, name: &str, text: &str) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn both(test: impl Fn(Bed)) {
    test(Bed::new(false));
    test(Bed::new(true));
}

#[test]
fn differences_are_applied_and_nothing_else_is_written() {
    both(|bed| {
        let said = bed.apply(&[("a", "1"), ("s/b", "2"), ("s/u/c", "3")]);
        assert_eq!(said.as_deref(), Some(": new or changed: a, s/b, s/u/c"));
        assert_eq!(bed.seen(), ["a=1", "s/b=2", "s/u/c=3"]);
        let ids = |name: &str| fs::metadata(bed.root().join(name)).unwrap().ino();
        let before = (ids("a"), ids("s/b"));
        assert!(bed.stage(&[("a", "1"), ("s/b", "2"), ("s/u/c", "3")]).unwrap().is_none());
        assert_eq!((ids("a"), ids("s/b")), before);
        let said = bed.apply(&[("a", "1"), ("s/b", "22"), ("d", "4")]);
        assert_eq!(said.as_deref(), Some(": new or changed: d, s/b; gone: s/u/, s/u/c"));
        assert_eq!(bed.seen(), ["a=1", "d=4", "s/b=22"]);
        assert_eq!(ids("a") == before.0, !bed.is_swapped, "file by file, what is the same is not touched");
        bed.apply(&[]);
        assert_eq!(bed.seen(), [""; 0]);
        assert_eq!(bed.ours().len(), if bed.is_swapped { 3 } else { 1 });
    });
}

#[test]
fn modes_are_as_said_whatever_the_umask() {
    both(|bed| {
        let mut set = Set::default();
        set.add("/a", false, 0o600, &Arc::from(b"1".as_slice()));
        set.add("/s/b", false, 0o666, &Arc::from(b"2".as_slice()));
        let tree = Tree { dir_mode: 0o777, ..bed.tree() };
        let apply =
            |set: &Set| stage(&bed.dest(), &tree, set, false).unwrap().map(|(staged, _)| staged.commit().unwrap());
        apply(&set).unwrap();
        let mode = |name: &str| fs::metadata(bed.root().join(name)).unwrap().mode() & 0o7777;
        assert_eq!([mode("a"), mode("s"), mode("s/b")], [0o600, 0o777, 0o666]);
        if bed.is_swapped {
            assert_eq!(mode("..data"), 0o777);
        }
        set.items[0].mode = 0o640;
        apply(&set).unwrap();
        assert_eq!(mode("a"), 0o640);
        assert!(apply(&set).is_none());
    });
}

#[test]
fn what_is_not_ours_stays() {
    both(|bed| {
        bed.write("theirs", "x");
        bed.write("s/theirs", "x");
        fs::create_dir_all(bed.root().join("empty")).unwrap();
        if bed.is_swapped {
            // A folder that is in the way of a link.
            let e = bed.stage(&[("s/b", "1")]).unwrap().unwrap().0.commit().err().unwrap();
            assert!(e.text.contains("/t/s: "), "{e}");
            assert!(bed.root().join("..data/s/b").exists(), "what is live stays when a link cannot be made");
            bed.apply(&[("a", "1")]);
        } else {
            bed.apply(&[("a", "1"), ("s/b", "1"), ("empty/c", "1"), ("new/d", "1")]);
            assert_eq!(bed.seen(), ["a=1", "empty/c=1", "new/d=1", "s/b=1", "s/theirs=x", "theirs=x"]);
        }
        bed.apply(&[]);
        // The folder that was there before stays though it is empty.
        assert_eq!(bed.seen(), ["empty/", "s/theirs=x", "theirs=x"]);
        // A file of theirs that a key is for is taken over.
        bed.apply(&[("theirs", "ours")]);
        bed.apply(&[]);
        assert_eq!(bed.seen(), ["empty/", "s/theirs=x"]);
    });
}

#[test]
fn what_is_there_as_it_should_be_is_ours_without_a_write() {
    let bed = Bed::new(false);
    bed.write("a", "1");
    fs::set_permissions(bed.root().join("a"), Permissions::from_mode(0o644)).unwrap();
    assert_eq!(bed.apply(&[("a", "1")]), None);
    assert_eq!(bed.apply(&[]).as_deref(), Some(": gone: a"));
    assert_eq!(bed.seen(), [""; 0]);
}

#[test]
fn files_become_folders_and_folders_files() {
    both(|bed| {
        bed.apply(&[("a", "1"), ("b/c/d", "2"), ("b/e", "3")]);
        bed.apply(&[("a/x/y", "1"), ("b", "2")]);
        assert_eq!(bed.seen(), ["a/x/y=1", "b=2"]);
        bed.apply(&[("a", "1"), ("b/c", "2")]);
        assert_eq!(bed.seen(), ["a=1", "b/c=2"]);
    });
}

#[test]
fn from_one_layout_to_the_other() {
    let mut bed = Bed::new(false);
    bed.write("theirs", "x");
    bed.apply(&[("a", "1"), ("b/c", "2"), ("gone", "3")]);
    bed.is_swapped = true;
    bed.apply(&[("a", "1"), ("b/c", "2"), ("e/f", "4")]);
    assert_eq!(bed.seen(), ["a=1", "b/c=2", "e/f=4", "theirs=x"]);
    assert!(bed.root().join("b").is_symlink() && bed.root().join("a").is_symlink());
    assert!(!bed.ours().contains(&LIST.to_string()));
    bed.is_swapped = false;
    let said = bed.apply(&[("a", "1"), ("b/c", "2")]);
    assert!(said.is_some());
    assert_eq!(bed.seen(), ["a=1", "b/c=2", "theirs=x"]);
    assert!(!bed.root().join("b").is_symlink() && !bed.root().join("a").is_symlink());
    assert_eq!(bed.ours(), [LIST]);
}

#[test]
fn planted_symlinks_lead_nowhere() {
    both(|bed| {
        let outside = bed.path.join("outside");
        fs::create_dir_all(outside.join("d")).unwrap();
        fs::write(outside.join("f"), "secret").unwrap();
        fs::write(outside.join("d/f"), "secret").unwrap();
        let untouched = || {
            let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
            let inner: Vec<_> = fs::read_dir(outside.join("d")).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!((names.len(), inner.len()), (2, 1), "{names:?} {inner:?}");
            assert_eq!(fs::read_to_string(outside.join("f")).unwrap(), "secret");
            assert_eq!(fs::read_to_string(outside.join("d/f")).unwrap(), "secret");
        };
        // A link in the place of a file is replaced.
        symlink(outside.join("f"), bed.root().join("f")).unwrap();
        bed.apply(&[("f", "ours")]);
        assert_eq!(bed.seen(), ["f=ours"]);
        untouched();
        // One in the place of a folder is not gone through.
        symlink(outside.join("d"), bed.root().join("d")).unwrap();
        let staged = bed.stage(&[("d/f", "ours"), ("d/g", "ours"), ("f", "ours")]).unwrap().unwrap().0;
        match staged.commit() {
            Err(e) if !bed.is_swapped => {
                assert!(
                    e.text.ends_with("d/f: Not a directory (a file or a symlink that is not ours is in the way)"),
                    "{e}"
                );
                fs::remove_file(bed.root().join("d")).unwrap();
            }
            Ok(()) if bed.is_swapped => {} // the link of ours is in its place
            other => panic!("{:?}", other.err()),
        }
        untouched();
        bed.apply(&[("d/f", "ours"), ("d/g", "ours"), ("f", "ours")]);
        untouched();
        // Names of ours behind a link that was planted later are not removed.
        if !bed.is_swapped {
            fs::remove_dir_all(bed.root().join("d")).unwrap();
            symlink(outside.join("d"), bed.root().join("d")).unwrap();
            bed.apply(&[("f", "ours")]);
        }
        untouched();
        // A list that was forged names nothing outside.
        let list = if bed.is_swapped { "..data/..pilotfish" } else { LIST };
        fs::write(bed.root().join(list), "../outside/f\0/etc/x\0f\0..data\0../outside/\0").unwrap();
        bed.apply(&[]);
        untouched();
        // Nor is a link at ..data that is not ours followed.
        let _ = fs::remove_file(bed.root().join(DATA));
        symlink(&outside, bed.root().join(DATA)).unwrap();
        assert!(bed.stage(&[("f", "ours")]).err().is_some_and(|e| e.text.contains("somebody else's")));
        untouched();
    });
}

#[test]
fn what_was_staged_and_not_committed_leaves_nothing() {
    both(|bed| {
        bed.apply(&[("a", "1")]);
        let before = bed.ours();
        drop(bed.stage(&[("a", "2"), ("b/c", "3")]).unwrap().unwrap());
        assert_eq!((bed.ours(), bed.seen()), (before.clone(), vec!["a=1".to_string()]));
        // Killed in the middle.
        std::mem::forget(bed.stage(&[("a", "2"), ("b/c", "3")]).unwrap().unwrap());
        assert!(bed.ours().len() > before.len());
        clean_leftovers(&bed.dest(), &bed.tree());
        assert_eq!((bed.ours(), bed.seen()), (before, vec!["a=1".to_string()]));
    });
}

#[test]
fn a_check_sees_the_whole_folder() {
    both(|bed| {
        bed.apply(&[("a", "1"), ("s/b", "2")]);
        let set = Bed::set(&[("a", "1"), ("s/b", "3")]);
        let (staged, _) = stage(&bed.dest(), &bed.tree(), &set, true).unwrap().unwrap();
        let read = |name: &str| fs::read_to_string(staged.path().join(name)).unwrap();
        assert_eq!([read("a"), read("s/b")], ["1", "3"]);
        assert_eq!(bed.seen(), ["a=1", "s/b=2"]);
        staged.commit().unwrap();
        assert_eq!(bed.seen(), ["a=1", "s/b=3"]);
    });
}

#[test]
fn the_previous_files_come_back() {
    both(|bed| {
        assert!(read(&bed.dest(), &bed.tree()).is_none());
        bed.write("theirs", "x");
        bed.apply(&[("a", "1"), ("s/b", "2")]);
        let saved = read(&bed.dest(), &bed.tree()).unwrap();
        bed.apply(&[("a", "9"), ("c/d", "8")]);
        restore(&bed.dest(), &bed.tree(), &saved).unwrap();
        assert_eq!(bed.seen(), ["a=1", "s/b=2", "theirs=x"]);
    });
}

/// A swapped folder keeps the content of before for those who are reading it, and no more.
#[test]
fn a_reader_of_the_content_before_is_not_cut_off() {
    let bed = Bed::new(true);
    for i in 0..5 {
        let live = fs::canonicalize(bed.root().join(DATA)).ok();
        bed.apply(&[("a", &i.to_string())]);
        if let Some(live) = live {
            assert_eq!(fs::read_to_string(live.join("a")).unwrap(), (i - 1).to_string());
        }
    }
    assert_eq!(bed.ours().len(), 3, "{:?}", bed.ours());
}

/// It is tried again and again, and said once: as long as it is the same.
#[test]
fn a_folder_that_cannot_be_written_in_gives_the_same_message_each_time() {
    let dest = Dest { path: "/proc".into(), mode: None, uid: None, gid: None, make_dirs: true };
    let tree = Tree { parts: Vec::new(), dir_mode: 0o755, is_swapped: false };
    let say = || stage(&dest, &tree, &Bed::set(&[("a", "1")]), false).err().unwrap().into_text();
    assert_eq!(say(), say());
    assert!(say().starts_with("cannot write in the folder /proc: "), "{}", say());
}
