//! Against real files and real inotify.

use super::*;
use crate::source::bed::{TempDir, line};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);

/// The keys of files of a folder on one line, or why there are none.
fn keys(dir: &TempDir, names: &[&str], filter: &str) -> String {
    let paths: Vec<PathBuf> = names.iter().map(|n| dir.path(n)).collect();
    match load(&paths, filter, "/") {
        Ok(s) => line(&s),
        Err(e) => e.into_text().replace(&*dir.0.to_string_lossy(), "DIR"),
    }
}

/// A watch on its own thread, ended when dropped. Trouble is told as `!text`, recovery as `ok`.
struct Watched {
    news: Receiver<String>,
    stop: Option<io::PipeWriter>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watched {
    fn new(paths: Vec<PathBuf>, filter: &'static str) -> Watched {
        let (sender, news) = channel();
        let (end, stop) = io::pipe().unwrap();
        let thread = std::thread::spawn(move || {
            let say = |news| {
                let _ = sender.send(match news {
                    News::Data(s) => line(&s),
                    News::Trouble(text, _) | News::Note(text) => format!("!{text}"),
                    News::Recovered => "ok".to_string(),
                });
            };
            watch(&paths, filter, "/", Some(end.as_fd()), &say);
        });
        Watched { news, stop: Some(stop), thread: Some(thread) }
    }
    fn next(&self, wanted: &str) -> String {
        match self.news.recv_timeout(DEADLINE) {
            Ok(seen) => seen,
            Err(_) => panic!("nothing came; wanted {wanted}"),
        }
    }
    /// The very next thing told.
    fn now(&self, want: &str) {
        assert_eq!(self.next(want), want);
    }
    /// Told sooner or later; gives what was told before.
    fn then(&self, want: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let seen = self.next(&format!("{want} after {before:?}"));
            if seen == want {
                return before;
            }
            before.push(seen);
        }
    }
    fn trouble(&self) -> String {
        let seen = self.next("trouble");
        assert!(seen.starts_with('!'), "{seen}; wanted trouble");
        seen
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn what_a_file_comes_out_as() {
    let t = TempDir::new("flat");
    let cases = [
        ("a.yaml", "a:\n  b: 1\n  c: [x, {d: e}]\n", "a/b=1 a/c/0=x a/c/1/d=e"),
        ("a.yml", "t: yes\nf: false\nn: null\ne: ''\nm: {}\nl: []\n", "e= f=false t=true"),
        (
            "a.yaml",
            "f: 1.50\ng: 1e21\nh: 0777\ni: .inf\nj: 12345678901234567\n",
            "f=1.5 g=1000000000000000000000 h=511 i=+Inf j=12345678901234567",
        ),
        ("a.yaml", "a/b//c: 1\n'': 2\n1: 3\n", "=2 1=3 a/b/c=1"),
        ("a.yaml", "a: 1\n---\nb: 2\n", "a=1"),
        ("a.yaml", "# nothing\n", ""),
        ("a.yaml", "a: !!binary aGk=\nb: |\n  x\n  y\n", "a=hi b=x\ny\n"),
        ("a.json", "{\"a\":{\"b\":[1.0,true,\"\\ud83d\\ude00\"]}}", "a/b/0=1 a/b/1=true a/b/2=😀"),
        ("a.json", "{\n\t\"a\": 12345678901234567\n}\n", "a=12345678901234567"),
        ("a.toml", "x = 1\n[a]\nb = 'c'\nd = [1.5, 2]\n", "a/b=c a/d/0=1.5 a/d/1=2 x=1"),
        ("a.conf", "a: 1\n", "a=1"),
        ("a.yaml", "- a\n", "cannot read DIR/a.yaml: expected a map at its top"),
        ("a.yaml", "password: [s3cr3t\n", "cannot read DIR/a.yaml:1:11: this `[` or `{` is never closed"),
        ("a.toml", "x 1\n", "cannot read DIR/a.toml:1:3: expected `=` after the key"),
    ];
    for (name, text, want) in cases {
        t.write(name, text);
        assert_eq!(keys(&t, &[name], "*"), want, "{text}");
    }
    fs::write(t.path("a.yaml"), b"a: \xff\n").unwrap();
    assert_eq!(keys(&t, &["a.yaml"], "*"), "cannot read DIR/a.yaml: it is not UTF-8");
    fs::File::create(t.path("big.yaml")).unwrap().set_len((16 << 20) + 1).unwrap();
    assert_eq!(keys(&t, &["big.yaml"], "*"), "cannot read DIR/big.yaml: more than 16 MiB");
    assert_eq!(keys(&t, &["no.yaml"], "*"), "cannot read DIR/no.yaml: No such file or directory");
    assert!(keys(&t, &["a.yaml"], "[").starts_with("cannot use the filter `[`"));
    assert_eq!(load(&[t.path("a.conf")], "*", "/b").map(|s| s.len()).unwrap(), 0);
}

#[test]
fn files_merge_in_order_and_folders_by_filter() {
    let t = TempDir::new("merge");
    t.write("one.yaml", "a: 1\nb: 1\n");
    t.write("two.toml", "b = 2\nc = 2\n");
    assert_eq!(keys(&t, &["one.yaml", "two.toml"], "*"), "a=1 b=2 c=2");
    assert_eq!(keys(&t, &["two.toml", "one.yaml"], "no"), "a=1 b=1 c=2");
    t.write("d/a.yaml", "k: a\na: 1\n");
    t.write("d/a/x.yaml", "k: x\nx: 1\n");
    t.write("d/b.json", "{\"k\": \"b\"}");
    t.write("d/c.txt", "k: txt\n");
    t.write("d/.hidden.yaml", "k: hidden\n");
    t.write("d/..data/z.yaml", "k: z\n");
    assert_eq!(keys(&t, &["d"], "*"), "a=1 k=txt x=1");
    assert_eq!(keys(&t, &["d"], "*.yaml"), "a=1 k=a x=1");
    assert_eq!(keys(&t, &["d"], "[bc].*"), "k=txt");
    assert_eq!(keys(&t, &["d", "one.yaml"], "*.json"), "a=1 b=1 k=b");
    assert_eq!(keys(&t, &["d"], "nothing"), "");
}

#[test]
fn changed_in_place_and_renamed_over() {
    let t = TempDir::new("change");
    t.write("v.yaml", "a: 1\n");
    let w = Watched::new(vec![t.path("v.yaml")], "*");
    w.now("a=1");
    t.write("v.yaml", "a: 2\n");
    w.then("a=2");
    for i in 3..6 {
        t.replace("v.yaml", &format!("a: {i}\n"));
        w.now(&format!("a={i}"));
    }
    t.write("other", "x"); // another file, and the same content again, are told to nobody
    t.replace("v.yaml", "a: 5 # the same\n");
    t.replace("v.yaml", "a: 6\n");
    w.now("a=6");
    fs::remove_file(t.path("v.yaml")).unwrap();
    assert!(w.trouble().ends_with("/v.yaml: No such file or directory"));
    t.replace("v.yaml", "a: 7\n");
    w.then("a=7");
}

#[test]
fn a_syntax_error_and_then_the_fix() {
    let t = TempDir::new("broken");
    t.write("v.yaml", "a: 1\n");
    let w = Watched::new(vec![t.path("v.yaml")], "*");
    w.now("a=1");
    t.replace("v.yaml", "a: 1\nb: 'open\n");
    let text = w.trouble();
    assert!(text.contains("/v.yaml:2:4: this text has no closing quote"), "{text}");
    t.replace("v.yaml", "a: 2\n");
    w.then("a=2");
    t.replace("v.yaml", "a: [\n");
    w.trouble();
    t.replace("v.yaml", "a: 2\n");
    w.then("ok");
}

#[test]
fn missing_and_then_there() {
    let t = TempDir::new("missing");
    t.write("one.yaml", "a: 1\n");
    let w = Watched::new(vec![t.path("one.yaml"), t.path("x/y/two.yaml")], "*");
    assert!(w.trouble().ends_with("/x/y/two.yaml: No such file or directory"));
    t.write("x/y/two.yaml", "b: 2\n");
    w.then("a=1 b=2");
    t.replace("one.yaml", "a: 3\n");
    w.now("a=3 b=2");
    t.replace("x/y/two.yaml", "b: 4\n");
    w.now("a=3 b=4");
}

/// As the kubelet does it: a new folder, `..data` swapped by rename, the old folder removed.
#[test]
fn the_swap_of_a_kubernetes_volume() {
    for whole in [false, true] {
        let t = TempDir::new(if whole { "kube-folder" } else { "kube-file" });
        let publish = |i: usize| {
            let stamp = format!("..2024_{i}");
            t.write(&[&stamp, "/v.yaml"].concat(), &format!("a: {i}\n"));
            symlink(&stamp, t.path("..data_tmp")).unwrap();
            fs::rename(t.path("..data_tmp"), t.path("..data")).unwrap();
            if i > 1 {
                fs::remove_dir_all(t.path(&format!("..2024_{}", i - 1))).unwrap();
            }
        };
        publish(1);
        symlink("..data/v.yaml", t.path("v.yaml")).unwrap();
        let w = Watched::new(vec![if whole { t.0.clone() } else { t.path("v.yaml") }], "*.yaml");
        w.now("a=1");
        for i in 2..6 {
            publish(i);
            w.then(&format!("a={i}"));
        }
    }
}

#[test]
fn a_symlink_to_elsewhere() {
    let t = TempDir::new("link");
    t.write("real/v.yaml", "a: 1\n");
    t.write("etc/other.yaml", "b: 1\n");
    symlink("../real/v.yaml", t.path("etc/v.yaml")).unwrap();
    let w = Watched::new(vec![t.path("etc/v.yaml")], "*");
    w.now("a=1");
    t.write("real/v.yaml", "a: 2\n");
    w.then("a=2");
    t.replace("real/v.yaml", "a: 3\n");
    w.now("a=3");
    t.replace("real/v.yaml", "a: 4\n");
    w.now("a=4");
}

#[test]
fn a_folder_gains_changes_and_loses_files() {
    let t = TempDir::new("folder");
    t.write("d/a.yaml", "a: 1\n");
    let w = Watched::new(vec![t.path("d")], "*.yaml");
    w.now("a=1");
    t.write("d/sub/b.yaml", "b: 2\n");
    w.then("a=1 b=2");
    t.replace("d/c.txt", "c: 3\n"); // passed over
    t.replace("d/sub/b.yaml", "b: 4\n");
    w.then("a=1 b=4");
    fs::remove_file(t.path("d/a.yaml")).unwrap();
    w.then("b=4");
}
