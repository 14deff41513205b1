//! Files as a source, as confd's file backend reads them: YAML, JSON or TOML, flattened to keys. It decides which files
//! count, in which order, and what a value's text is; `notice` decides when they are looked at again.
//!
//! A map's entry `b` below `/a` is the key `/a/b`, a list's first element `/a/0`; null and empty collections are no key.
//! Of several files with the same key the later one wins; of several documents in a file the first is read. A folder
//! stands for the files in and below it whose name matches the filter, in lexical order; names that begin with a dot
//! are passed over, so that a Kubernetes volume's files are read once. One file that cannot be read or understood is
//! trouble for all: a mixture of old and new would be neither. No message shows what a file holds.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::formats::{toml, yaml};
use crate::source::News;
use crate::source::dir::walk::{KEYS, TOTAL, VALUE, Walk, cannot_read, limit, read};
use crate::source::notice::{self, Look};
use crate::store::{Entry, Snapshot};
use crate::sys::inotify::Inotify;
use crate::text::{float, path};
use crate::value::Value;

/// Reads the files once: the keys that start with `prefix`. `filter` is a pattern of Go's path.Match for the names of
/// files in folders.
///
/// # Errors
/// A file or folder cannot be read, is no YAML, JSON or TOML, has no map at its top, or a limit is passed.
pub fn load(paths: &[PathBuf], filter: &str, prefix: &str) -> Result<Snapshot> {
    look_at(paths, filter, prefix, &mut Look::default())
}

/// Watches the files until `stop` becomes readable.
pub fn watch(paths: &[PathBuf], filter: &str, prefix: &str, stop: Option<BorrowedFd<'_>>, say: &dyn Fn(News)) {
    let name = paths.first().map_or(Path::new("files"), PathBuf::as_path);
    notice::watch(name, stop, say, Inotify::new, &|look| look_at(paths, filter, prefix, look));
}

fn look_at(paths: &[PathBuf], filter: &str, prefix: &str, look: &mut Look) -> Result<Snapshot> {
    let Some(names) = path::compile(filter) else {
        return Err(Error::config(["cannot use the filter `", filter, "`: it is no pattern such as *.yaml"].concat()));
    };
    for path in paths {
        look.watch_way(path);
    }
    let mut flat = Flat { prefix, entries: Vec::new(), total: 0 };
    for path in paths {
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(e) => {
                if e.kind() == ErrorKind::NotFound {
                    look.missing = Some(path.clone());
                }
                return Err(cannot_read(path, &e));
            }
        };
        if meta.is_dir() {
            let found = Walk::files(&names, look).run(path)?;
            // Folder by folder: `a/x` comes before `a.yaml`. No name holds a zero byte, and nothing sorts before one.
            let mut files = Vec::new();
            for (key, data) in found.entries() {
                files.push((Arc::from(key.replace('/', "\0")), data.clone()));
            }
            for (key, data) in Snapshot::new(files).entries() {
                flat.file(&path.join(key.replace('\0', "/").trim_start_matches('/')), data)?;
            }
            continue;
        }
        if !meta.is_file() {
            return Err(cannot_read(path, &io::Error::new(ErrorKind::InvalidInput, "it is no file and no folder")));
        }
        // The folder, as editors and Kubernetes put a new file in the old one's place; the file, as a symlink may lead
        // to where nothing else is watched.
        match path.parent() {
            Some(up) if up.as_os_str().is_empty() => look.watch(Path::new(".")),
            Some(up) => look.watch(up),
            None => {}
        }
        look.watch(path);
        let data = read(path).map_err(|e| cannot_read(path, &e))?;
        if data.len() > VALUE {
            return Err(limit(path, "more than 16 MiB"));
        }
        flat.file(path, &data)?;
    }
    Ok(Snapshot::new(flat.entries))
}

/// The keys so far.
struct Flat<'a> {
    prefix: &'a str,
    entries: Vec<Entry>,
    total: usize,
}

impl Flat<'_> {
    fn file(&mut self, path: &Path, data: &[u8]) -> Result<()> {
        let Ok(text) = std::str::from_utf8(data) else {
            return Err(cannot_read(path, &io::Error::new(ErrorKind::InvalidData, "it is not UTF-8")));
        };
        let name = path.to_string_lossy();
        // JSON too is read as YAML, as confd does: a whole number stays one, and an error has a line.
        let parsed = match path.extension().is_some_and(|e| e == "toml") {
            true => toml::parse(&name, text).map(|doc| doc.root),
            false => yaml::parse(&name, text).map(|docs| docs.into_iter().next().unwrap_or(Value::Nil)),
        };
        match parsed {
            Ok(Value::Nil) => Ok(()),
            Ok(root @ Value::Map(_)) => self.value(path, "/", &root),
            Ok(_) => Err(Error::config(["cannot read ", &name, ": expected a map at its top"].concat())),
            // The line itself, which follows, may hold a secret.
            Err(e) => Err(Error::config(["cannot read ", e.text.lines().next().unwrap_or("")].concat())),
        }
    }

    fn value(&mut self, path: &Path, key: &str, value: &Value) -> Result<()> {
        let text: Arc<[u8]> = match value {
            Value::Map(map) => {
                for (name, value) in map.iter() {
                    self.below(path, key, name, value)?;
                }
                return Ok(());
            }
            Value::List(list) => {
                for (i, value) in list.items.iter().enumerate() {
                    self.below(path, key, &i.to_string(), value)?;
                }
                return Ok(());
            }
            Value::Bool(b) => Arc::from(if *b { "true" } else { "false" }.as_bytes()),
            Value::Int(n) => Arc::from(n.to_string().as_bytes()),
            Value::Float(f) => Arc::from(float::fmt_float(*f, b'f', None).as_bytes()),
            _ => match value.as_bytes() {
                Some(data) => Arc::from(data),
                None => return Ok(()),
            },
        };
        if key.starts_with(self.prefix) {
            self.total = self.total.saturating_add(key.len()).saturating_add(text.len());
            if self.total > TOTAL {
                return Err(limit(path, "more than 64 MiB in all"));
            }
            if self.entries.len() >= KEYS {
                return Err(limit(path, "more than 1000000 keys"));
            }
            self.entries.push((Arc::from(key), text));
        }
        Ok(())
    }

    fn below(&mut self, path: &Path, key: &str, name: &str, value: &Value) -> Result<()> {
        self.value(path, &path::clean(&[key, "/", name].concat()), value)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
