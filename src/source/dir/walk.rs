//! One look at a folder of keys: which files count, what their keys and values are, and the limits. It arms the watches
//! on its way, each before what it watches is read; when to look is decided elsewhere.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::source::notice::{Look, is_gone};
use crate::store::{Entry, Snapshot};
use crate::text::path;

/// Deepest folder below the root.
const DEPTH: usize = 32;
/// Most folders, so that symlinks that cross cannot keep us busy for ever.
const FOLDERS: usize = 100_000;
/// Most keys.
pub const KEYS: usize = 1_000_000;
/// Most bytes of one value.
pub const VALUE: usize = 16 << 20;
/// Most bytes of all keys and values.
pub const TOTAL: usize = 64 << 20;

/// Reads the folder once: the keys that start with `prefix`.
///
/// # Errors
/// The folder or a file in it cannot be read, or a limit is passed. A file that vanishes meanwhile is no error.
pub fn load(root: &Path, prefix: &str) -> Result<Snapshot> {
    Walk::new(prefix, &mut Look::default()).run(root)
}

/// One look at the folder.
pub struct Walk<'a, 'b> {
    prefix: &'a str,
    /// Only files with such names.
    names: Option<&'a [path::Part]>,
    /// A newline at the end of what a file holds is part of it.
    pub is_exact: bool,
    look: &'a mut Look<'b>,
    entries: Vec<Entry>,
    total: usize,
    folders: usize,
    /// Device and inode of the folders we are in, against symlinks that lead back up.
    trail: Vec<(u64, u64)>,
}

impl<'a, 'b> Walk<'a, 'b> {
    /// Before a look at keys.
    pub fn new(prefix: &'a str, look: &'a mut Look<'b>) -> Walk<'a, 'b> {
        Walk {
            prefix,
            names: None,
            is_exact: false,
            look,
            entries: Vec::new(),
            total: 0,
            folders: 0,
            trail: Vec::new(),
        }
    }

    /// Before a look at files whose names match.
    pub fn files(names: &'a [path::Part], look: &'a mut Look<'b>) -> Walk<'a, 'b> {
        Walk { names: Some(names), is_exact: true, ..Walk::new("/", look) }
    }

    /// Looks.
    pub fn run(&mut self, root: &Path) -> Result<Snapshot> {
        if let Err(e) = fs::metadata(root) {
            return Err(self.no_root(root, &e));
        }
        self.folder(root, "/")?;
        Ok(Snapshot::new(std::mem::take(&mut self.entries)))
    }

    fn no_root(&mut self, root: &Path, e: &io::Error) -> Error {
        if e.kind() == ErrorKind::NotFound {
            self.look.missing = Some(root.to_path_buf());
        }
        cannot_read(root, e)
    }

    /// The keys in one folder; `key` ends in `/`.
    fn folder(&mut self, path: &Path, key: &str) -> Result<()> {
        self.folders = self.folders.saturating_add(1);
        if self.trail.len() > DEPTH || self.folders > FOLDERS {
            let what = if self.folders > FOLDERS { "more than 100000 folders" } else { "more than 32 levels" };
            return Err(limit(path, what));
        }
        self.look.watch(path);
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
            Err(e) if self.trail.is_empty() => return Err(self.no_root(path, &e)),
            Err(e) => return Err(cannot_read(path, &e)),
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
            } else if meta.is_file()
                && key.starts_with(self.prefix)
                && self.names.is_none_or(|names| path::matches(names, name))
            {
                // What a symlink leads to lies where nothing else is watched.
                if entry.file_type().is_ok_and(|t| t.is_symlink()) {
                    self.look.watch(&path);
                }
                self.file(&path, &key)?;
            }
        }
        self.trail.pop();
        Ok(())
    }

    fn file(&mut self, path: &Path, key: &str) -> Result<()> {
        let mut data = match read(path) {
            Ok(data) => data,
            Err(e) if is_gone(&e) => return Ok(()),
            Err(e) => return Err(cannot_read(path, &e)),
        };
        if !self.is_exact && data.last() == Some(&b'\n') {
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

/// What a file holds: of one that is too large, a little too much.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    let most = u64::try_from(VALUE).unwrap_or(u64::MAX).saturating_add(3);
    fs::File::open(path)?.take(most).read_to_end(&mut data)?;
    Ok(data)
}

/// "cannot read PATH: CAUSE"
pub fn cannot_read(path: &Path, e: &io::Error) -> Error {
    let mut what = String::from("read ");
    what.push_str(&path.to_string_lossy());
    Error::io(&what, e)
}

/// "cannot read PATH: more than ..."
pub fn limit(path: &Path, what: &str) -> Error {
    let mut text = String::from("cannot read ");
    text.push_str(&path.to_string_lossy());
    text.push_str(": ");
    text.push_str(what);
    Error::config(text)
}
