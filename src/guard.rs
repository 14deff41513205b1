//! What must be there before a file is rendered at all, so that a store that was emptied empties no upstream. It decides
//! from the keys alone; that the last good file stays is the loop's doing.

use crate::error::{Error, Kind, Result};
use crate::store::View;

/// The keys one template needs.
#[derive(Clone, Default)]
pub struct Guard {
    /// At least so many keys, of those the template may see.
    pub min_keys: u32,
    /// Each of these: a key, or with a `/` at its end at least one key below it.
    pub require: Vec<String>,
}

impl Guard {
    /// Looks whether they are there; every look is recorded in `view`.
    ///
    /// # Errors
    /// `Kind::MissingKey`, naming what is not there.
    pub fn check(&self, view: &View) -> Result<()> {
        let missing = |text: String| Err(Error::new(Kind::MissingKey, text));
        for name in &self.require {
            let key = crate::store::clean(name);
            let is_there = if name.ends_with('/') {
                !view.under(&[&key, "/"].concat().replace("//", "/")).is_empty()
            } else {
                view.get(&key).is_some()
            };
            if !is_there {
                return missing(
                    ["`require`: there is no key ", if key == "/" { "" } else { &key }, tail(name)].concat(),
                );
            }
        }
        if self.min_keys > 0 {
            let found = view.under("/").len();
            if found < usize::try_from(self.min_keys).unwrap_or(usize::MAX) {
                return missing(format!("`min_keys`: there are {found} keys and must be {}", self.min_keys));
            }
        }
        Ok(())
    }
}

fn tail(name: &str) -> &'static str {
    if name.ends_with('/') { "/..." } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Snapshot;
    use std::sync::Arc;

    #[test]
    fn keys_that_must_be_there() {
        let entry = |k: &str| (Arc::from(k), Arc::from(b"v".as_slice()));
        let snapshot = Snapshot::new(vec![entry("/a/1"), entry("/a/2"), entry("/b")]);
        let check = |min_keys, require: &[&str]| {
            let guard = Guard { min_keys, require: require.iter().map(|r| (*r).to_string()).collect() };
            guard.check(&View::new(&snapshot)).map_err(|e| e.text.clone()).err()
        };
        assert_eq!(check(0, &[]), None);
        assert_eq!(check(3, &["/b", "b", "/a/", "/"]), None);
        assert_eq!(check(4, &[]).as_deref(), Some("`min_keys`: there are 3 keys and must be 4"));
        assert_eq!(check(0, &["/a"]).as_deref(), Some("`require`: there is no key /a"));
        assert_eq!(check(0, &["/c/"]).as_deref(), Some("`require`: there is no key /c/..."));
        assert_eq!(check(0, &["/a/1/"]).as_deref(), Some("`require`: there is no key /a/1/..."));
    }
}
