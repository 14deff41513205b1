//! What the tests of `dir` and `file` share: a folder of their own, and keys on one line.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::store::Snapshot;

/// A folder, removed with all it holds when dropped.
pub struct TempDir(pub PathBuf);

impl TempDir {
    /// A new, empty one; `name` is for people.
    pub fn new(name: &str) -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pilotfish-source-{name}-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        TempDir(path.canonicalize().unwrap())
    }
    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    /// Writes a file, with the folders it needs.
    pub fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }
    /// Puts a new file in the place of another.
    pub fn replace(&self, name: &str, text: &str) {
        self.write(".new", text);
        self.rename(".new", name);
    }
    /// Renames a file.
    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }
    /// Makes a symlink `name` to `to`.
    pub fn link(&self, to: &str, name: &str) {
        symlink(to, self.path(name)).unwrap();
    }
    /// Makes a folder.
    pub fn folder(&self, name: &str) {
        fs::create_dir_all(self.path(name)).unwrap();
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `a=1 b/c=2`
pub fn line(s: &Snapshot) -> String {
    let all = s.entries().iter().map(|(k, v)| format!("{}={}", k.trim_start_matches('/'), String::from_utf8_lossy(v)));
    all.collect::<Vec<_>>().join(" ")
}
