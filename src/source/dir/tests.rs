use super::*;
use crate::source::bed::{TempDir, line};
use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);

enum Seen {
    Keys(String),
    Trouble(String),
    Recovered,
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
                    News::Trouble(text, _) | News::Note(text) => Seen::Trouble(text),
                    News::Recovered => Seen::Recovered,
                });
            };
            watch_with(&root, "/", false, Some(end.as_fd()), &say, open);
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

/// What the C library says of an error; each has words of its own.
fn words(errno: i32) -> String {
    crate::error::os_text(&io::Error::from_raw_os_error(errno))
}

#[test]
fn errors_name_the_file() {
    let t = TempDir::new("errors");
    let error = |prefix: &str| load(&t.0, prefix).err().unwrap().into_text();
    t.link("self", "self");
    assert!(error("/").contains(&format!("/self: {}", words(libc::ELOOP))), "{}", error("/"));
    fs::remove_file(t.path("self")).unwrap();
    fs::File::create(t.path("big")).unwrap().set_len((16 << 20) + 1).unwrap();
    assert!(error("/").ends_with("/big: more than 16 MiB"), "{}", error("/"));
    assert_eq!(line(&load(&t.0, "/b/").unwrap()), "");
    fs::remove_file(t.path("big")).unwrap();
    t.folder(&["d"; 33].join("/"));
    assert!(error("/").ends_with("more than 32 levels"), "{}", error("/"));
    let e = load(&t.path("nope"), "/").err().unwrap().into_text();
    assert!(e.starts_with("cannot read ") && e.ends_with("/nope: No such file or directory"), "{e}");
    t.write("file", "");
    let e = load(&t.path("file"), "/").err().unwrap().into_text();
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
    let w = Watched::new(t.0.clone(), || Err(io::Error::from_raw_os_error(libc::EMFILE)));
    w.now("a=1"); // the keys come first: they can be read
    let text = w.trouble();
    assert!(text.contains(&format!(": {}", words(libc::EMFILE))) && text.contains("every second"), "{text}");
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
