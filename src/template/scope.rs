//! What a template of reconfig sees by name, beside the functions: `data`, `altdata` and `watched`. It decides how a
//! snapshot holds them, and when there is nothing to render from; it fetches nothing and knows no language.
//!
//! In the snapshot, the keys of the watched tree stand as they are, with their leading `/`. What was fetched beside
//! them for the N-th alternative key stands as `N/full/key`, and an empty key says that the watched key exists (a folder
//! of etcd may hold no key at all).

use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::store::Entry;
use crate::template::Context;
use crate::value::Value;

/// One template's names.
#[derive(Clone)]
pub struct Scope {
    /// The watched key in full.
    pub key: String,
    /// It is a folder, seen with all that is below it.
    pub is_tree: bool,
    /// Names with the keys that are fetched beside it, when it changes.
    pub alt: Vec<(String, String)>,
    /// What opens and closes a tag of ERB.
    pub pattern: (String, String),
}

/// Keys and values, by key.
pub type Keys = Vec<(Arc<str>, Value)>;

/// Whether `key` is `top` or lies below it.
pub fn is_below(key: &str, top: &str) -> bool {
    let rest = key.strip_prefix(top.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The key under which a snapshot holds `key`, fetched for alternative `n`.
pub fn beside(n: usize, key: &str) -> String {
    [&n.to_string(), key].concat()
}

impl Scope {
    /// What `data` and `altdata` hold, the latter in the order of `alt`.
    ///
    /// # Errors
    /// `Kind::MissingKey` when the watched key is not there, or is a folder and should not be.
    pub fn read(&self, ctx: &Context) -> Result<(Keys, Vec<Keys>)> {
        // All of it: what stands beside the watched tree changes only with it.
        let all = ctx.store.under("");
        let mut data = Vec::new();
        let mut alt: Vec<Keys> = self.alt.iter().map(|_| Vec::new()).collect();
        let mut is_there = false;
        for entry in all {
            let (number, full) = entry.0.split_at_checked(entry.0.find('/').unwrap_or(0)).unwrap_or(("", &entry.0));
            if let Some(keys) = number.parse().ok().and_then(|n: usize| alt.get_mut(n)) {
                keys.push(pair(full, entry));
            } else if number.is_empty() && (full.is_empty() || is_below(full, &self.key)) {
                is_there = true;
                if !full.is_empty() && (self.is_tree || full == self.key) {
                    data.push(pair(full, entry));
                }
            }
        }
        let why = match (is_there, self.is_tree, data.is_empty()) {
            (false, ..) => "key does not exist: ",
            (true, false, true) => "this key is a folder, and `recursive` is not set: ",
            _ => return Ok((data, alt)),
        };
        Err(Error::new(Kind::MissingKey, [why, &self.key].concat()))
    }
}

fn pair(key: &str, entry: &Entry) -> (Arc<str>, Value) {
    let key: Arc<str> = if key.len() == entry.0.len() { entry.0.clone() } else { Arc::from(key) };
    let value = Value::from_bytes(&key, &entry.1);
    (key, value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::{Snapshot, View};

    fn read(scope: &Scope, keys: &[&str]) -> std::result::Result<String, String> {
        let entries = keys.iter().map(|k| (Arc::from(*k), Arc::from(&b"v"[..]))).collect();
        let snapshot = Snapshot::new(entries);
        let ctx = Context { store: View::new(&snapshot), env: &|_| None, max_output: 1 };
        let (data, alt) = scope.read(&ctx).map_err(Error::into_text)?;
        let names = |keys: &Keys| keys.iter().map(|(k, _)| &**k).collect::<Vec<_>>().join(" ");
        Ok([names(&data)].into_iter().chain(alt.iter().map(names)).collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn a_tree_a_leaf_and_what_stands_beside() {
        let alt = vec![("n".to_string(), "/x".to_string()), ("m".to_string(), "/y".to_string())];
        let mut s = Scope { key: "/a".into(), is_tree: true, alt, pattern: Default::default() };
        assert_eq!(read(&s, &["/a/b", "/a/c/d", "/ab", "0/x", "1/y/z", "2/q", ""]).unwrap(), "/a/b /a/c/d|/x|/y/z");
        assert_eq!(read(&s, &["/a"]).unwrap(), "/a||");
        assert_eq!(read(&s, &[""]).unwrap(), "||", "an empty folder");
        assert_eq!(read(&s, &["/ab", "0/x"]).unwrap_err(), "key does not exist: /a");
        s.is_tree = false;
        assert_eq!(read(&s, &["/a", "/a/b", "/ab"]).unwrap(), "/a||");
        assert_eq!(read(&s, &[]).unwrap_err(), "key does not exist: /a");
        assert!(read(&s, &["/a/b"]).unwrap_err().contains("a folder"));
        assert!(read(&s, &[""]).unwrap_err().contains("a folder"));
        s = Scope { key: "/".into(), is_tree: true, ..s };
        assert_eq!(read(&s, &["/a", "/b/c"]).unwrap(), "/a /b/c||");
        assert!(is_below("/", "/") && is_below("/a", "/") && !is_below("0/a", "/a") && !is_below("/ab", "/a"));
    }
}
