//! Real files in folders of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

use super::*;
use crate::error::Kind;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pilotfish-dest-{}-{n}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }
    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    fn file(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn dest(path: PathBuf) -> Dest {
    Dest { path, mode: None, uid: None, gid: None, make_dirs: false }
}

fn put(dest: &Dest, content: &str) -> Result<Committed> {
    stage(dest, content.as_bytes())?.commit()
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn reasons(dest: &Dest, content: &str) -> Vec<String> {
    match compare(dest, content.as_bytes()).unwrap() {
        Compared::Same => Vec::new(),
        Compared::Differs(reasons) => reasons,
    }
}

/// Some owner that is not the present one, where we may give files away.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

#[test]
fn a_new_file_appears_with_its_mode() {
    for (mode, want) in [(None, 0o644), (Some(0o600), 0o600), (Some(0o4755), 0o4755), (Some(0o666), 0o666)] {
        let folder = Folder::new();
        let d = Dest { mode, ..dest(folder.at("a.conf")) };
        assert_eq!(reasons(&d, "x"), [format!("{} does not exist", d.path.display())]);
        let done = put(&d, "x").unwrap();
        assert!(!done.in_place && done.owner_kept);
        assert_eq!(fs::read(&d.path).unwrap(), b"x");
        assert_eq!(mode_of(&d.path), want);
        assert_eq!(folder.names(), ["a.conf"]);
        assert!(reasons(&d, "x").is_empty());
    }
}

#[test]
fn an_existing_mode_and_owner_are_kept() {
    let folder = Folder::new();
    let d = dest(folder.file("a", "old", 0o640));
    let (uid, gid) = if is_root() {
        (12345, 54321)
    } else {
        (fs::metadata(&d.path).unwrap().uid(), fs::metadata(&d.path).unwrap().gid())
    };
    std::os::unix::fs::chown(&d.path, Some(uid), Some(gid)).unwrap();
    assert!(put(&d, "new").unwrap().owner_kept);
    let m = fs::metadata(&d.path).unwrap();
    assert_eq!((m.mode() & 0o7777, m.uid(), m.gid()), (0o640, uid, gid));
    assert_eq!(fs::read(&d.path).unwrap(), b"new");
}

#[test]
fn what_differs_is_said_in_confds_words() {
    let folder = Folder::new();
    let path = folder.file("a", "abc", 0o644);
    let p = path.display();
    assert_eq!(
        reasons(&Dest { mode: Some(0o600), ..dest(path.clone()) }, ""),
        [
            format!("{p} has mode -rw-r--r-- should be -rw-------"),
            format!("{p} has md5sum 900150983cd24fb0d6963f7d28e17f72 should be d41d8cd98f00b204e9800998ecf8427e"),
        ]
    );
    let m = fs::metadata(&path).unwrap();
    let other = Dest { uid: Some(m.uid() + 1), gid: Some(m.gid() + 2), ..dest(path.clone()) };
    assert_eq!(
        reasons(&other, "abc"),
        [
            format!("{p} has UID {} should be {}", m.uid(), m.uid() + 1),
            format!("{p} has GID {} should be {}", m.gid(), m.gid() + 2),
        ]
    );
}

#[test]
fn contents_are_compared_to_the_last_byte() {
    let folder = Folder::new();
    let long = "x".repeat(40_000);
    let cases = [
        ("", "", true),
        ("", "a", false),
        ("a", "", false),
        (&long, &long, true),
        (&long, &format!("{long}y"), false),
        (&long, &format!("{}y", &long[1..]), false),
        (&long, &format!("y{}", &long[1..]), false),
    ];
    for (i, (old, new, same)) in cases.iter().enumerate() {
        let d = dest(folder.file("f", old, 0o644));
        assert_eq!(reasons(&d, new).is_empty(), *same, "case {i}");
    }
}

#[test]
fn a_dropped_stage_leaves_nothing() {
    let folder = Folder::new();
    let d = dest(folder.file("a", "old", 0o644));
    let mut staged = stage(&d, b"new").unwrap();
    let temp = staged.path().unwrap().to_path_buf();
    assert_eq!(temp.parent(), d.path.parent());
    assert!(temp.file_name().unwrap().to_str().unwrap().starts_with(".a.pilotfish-"));
    assert_eq!(fs::read(&temp).unwrap(), b"new");
    assert_eq!(fs::read(&d.path).unwrap(), b"old");
    drop(staged);
    assert_eq!(folder.names(), ["a"]);
    let kept = stage(&d, b"new").unwrap().keep().unwrap();
    assert_eq!(fs::read(kept).unwrap(), b"new");
}

#[test]
fn symlinks_are_followed_and_stay() {
    let folder = Folder::new();
    fs::create_dir(folder.at("real")).unwrap();
    let target = folder.file("real/t", "old", 0o600);
    symlink("real/t", folder.at("one")).unwrap();
    symlink(folder.at("one"), folder.at("two")).unwrap();
    symlink("real/dangling", folder.at("three")).unwrap();
    symlink("loop", folder.at("loop")).unwrap();

    put(&dest(folder.at("two")), "new").unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"new");
    assert_eq!(mode_of(&target), 0o600);
    assert!(fs::symlink_metadata(folder.at("two")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(folder.at("one")).unwrap().is_symlink());
    assert!(reasons(&dest(folder.at("two")), "new").is_empty());

    put(&dest(folder.at("three")), "made").unwrap();
    assert_eq!(fs::read(folder.at("real/dangling")).unwrap(), b"made");

    let e = put(&dest(folder.at("loop")), "x").err().unwrap();
    assert!(e.text.contains("symlinks"), "{e}");
}

#[test]
fn a_missing_folder_is_named_or_made() {
    let folder = Folder::new();
    let mut d = dest(folder.at("x/y/a"));
    let e = put(&d, "1").err().unwrap();
    assert!(e.kind == Kind::Transient && e.text.contains("make_dirs"), "{e}");
    d.make_dirs = true;
    put(&d, "1").unwrap();
    assert_eq!(fs::read(&d.path).unwrap(), b"1");
    assert_eq!((mode_of(&folder.at("x")), mode_of(&folder.at("x/y"))), (0o755, 0o755));
}

#[test]
fn a_folder_is_refused() {
    let folder = Folder::new();
    for path in [folder.0.clone(), folder.at("sub/"), folder.at(".."), PathBuf::from("/"), PathBuf::new()] {
        let e = stage(&dest(path.clone()), b"x").err().unwrap();
        assert!(e.kind == Kind::Config && e.text.contains("is a folder"), "{}: {e}", path.display());
    }
}

#[test]
fn devices_and_fifos_are_written_straight() {
    let folder = Folder::new();
    put(&dest(PathBuf::from("/dev/null")), "gone").unwrap();
    assert!(!fs::symlink_metadata("/dev/null").unwrap().is_file());
    let e = put(&dest(PathBuf::from("/dev/full")), "x").err().unwrap();
    assert_eq!(e.text, "cannot write /dev/full: No space left on device");

    let fifo = folder.at("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let e = put(&dest(fifo.clone()), "x").err().unwrap();
    assert!(e.text.ends_with("nobody reads from it"), "{e}");
    let from = fifo.clone();
    let reader = std::thread::spawn(move || fs::read(from).unwrap());
    let until = Instant::now() + Duration::from_secs(10);
    while put(&dest(fifo.clone()), "through").is_err() {
        assert!(Instant::now() < until, "no reader came");
        std::thread::yield_now();
    }
    assert_eq!(reader.join().unwrap(), b"through");
    assert_eq!(folder.names(), ["fifo"]);
}

#[test]
fn previous_content_is_put_back() {
    let folder = Folder::new();
    let d = Dest { mode: Some(0o644), ..dest(folder.file("a", "old", 0o751)) };
    assert!(read_for_rollback(&dest(folder.at("none"))).unwrap().is_none());
    let saved = read_for_rollback(&d).unwrap().unwrap();
    put(&d, "new").unwrap();
    assert_eq!(mode_of(&d.path), 0o644);
    restore(&d, &saved).unwrap();
    assert_eq!(fs::read(&d.path).unwrap(), b"old");
    assert_eq!(mode_of(&d.path), 0o751);
    assert_eq!(folder.names(), ["a"]);
}

/// What commit falls back to on a mount point; the mounts themselves are in the black-box tests.
#[test]
fn in_place_keeps_the_inode() {
    let folder = Folder::new();
    for (old, new) in [("short", "much longer"), ("much longer", "short"), ("", "x"), ("x", "")] {
        let d = Dest { mode: Some(0o600), ..dest(folder.file("a", old, 0o644)) };
        let inode = fs::metadata(&d.path).unwrap().ino();
        let mut staged = stage(&d, new.as_bytes()).unwrap();
        staged.temp = None;
        staged.how = How::InPlace;
        staged.content = new.as_bytes().to_vec();
        // The check command's file stands elsewhere then.
        let beside = staged.path().unwrap().to_path_buf();
        assert_ne!(beside.parent(), d.path.parent());
        assert_eq!(fs::read(&beside).unwrap(), new.as_bytes());
        assert!(staged.commit().unwrap().in_place);
        assert!(!beside.exists());
        assert_eq!(fs::metadata(&d.path).unwrap().ino(), inode);
        assert_eq!(fs::read(&d.path).unwrap(), new.as_bytes());
        assert_eq!(mode_of(&d.path), 0o600);
    }
}

#[test]
fn leftovers_go_and_live_files_stay() {
    let folder = Folder::new();
    let d = dest(folder.file("a", "x", 0o644));
    let dead = {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let _ = child.wait();
        child.id()
    };
    let me = std::process::id();
    let staged = stage(&d, b"live").unwrap();
    let live = staged.temp.as_ref().unwrap().path.file_name().unwrap().to_str().unwrap().to_string();
    for name in [
        format!(".a.pilotfish-{dead}-0123456789abcdef"),
        format!(".a.pilotfish-{me}-0123456789abcdef"),
        ".a.pilotfish-1-0123456789abcdef".to_string(), // pid 1 lives, and just made it
        format!(".b.pilotfish-{dead}-0123456789abcdef"),
        format!(".a.pilotfish-{dead}-0123456789abcdeg"),
        format!(".a.pilotfish-{dead}"),
        ".a.pilotfish--0123456789abcdef".to_string(),
        format!("a.pilotfish-{dead}-0123456789abcdef"),
    ] {
        folder.file(&name, "", 0o600);
    }
    // Long ago, by a pid that lives again as something else.
    let old = folder.file(".a.pilotfish-1-1123456789abcdef", "", 0o600);
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(&old).unwrap().set_modified(hour_ago).unwrap();

    assert_eq!(clean_leftovers(&d), 3);
    let mut want = vec![
        live,
        ".a.pilotfish-1-0123456789abcdef".to_string(),
        format!(".b.pilotfish-{dead}-0123456789abcdef"),
        format!(".a.pilotfish-{dead}-0123456789abcdeg"),
        format!(".a.pilotfish-{dead}"),
        ".a.pilotfish--0123456789abcdef".to_string(),
        format!("a.pilotfish-{dead}-0123456789abcdef"),
        "a".to_string(),
    ];
    want.sort();
    assert_eq!(folder.names(), want);
    staged.commit().unwrap();
    assert_eq!(fs::read(&d.path).unwrap(), b"live");
}

#[test]
fn long_names_still_have_room() {
    let folder = Folder::new();
    let d = dest(folder.at(&"n".repeat(255)));
    put(&d, "x").unwrap();
    assert_eq!(fs::read(&d.path).unwrap(), b"x");
}

#[test]
fn a_reader_never_sees_a_mixture() {
    let folder = Folder::new();
    let d = dest(folder.file("a", &"a".repeat(50_000), 0o644));
    let path = d.path.clone();
    let done = std::sync::Arc::new(AtomicU32::new(0));
    let stop = done.clone();
    let reader = std::thread::spawn(move || {
        let mut seen = 0;
        while stop.load(Ordering::Relaxed) == 0 || seen == 0 {
            let content = fs::read(&path).unwrap();
            assert_eq!(content.len(), 50_000);
            assert!(content.iter().all(|b| *b == content[0]));
            seen += 1;
        }
    });
    for i in 0..50u8 {
        put(&d, &((b'a' + i % 26) as char).to_string().repeat(50_000)).unwrap();
    }
    done.store(1, Ordering::Relaxed);
    reader.join().unwrap();
}
