//! Which files a folder shall have: the keys of its inputs as names below it. It decides which keys make no file and says
//! why; it touches nothing.

use std::sync::Arc;

use crate::text::{fill, quoted};

/// In front of the names we keep for ourselves. Nobody's key begins so in any part.
pub const OURS: &str = "..";
/// Most bytes of a part of a name (path_resolution(7): NAME_MAX).
const PART: usize = 255;
/// Most bytes of a name: with the folder's own it must stay below PATH_MAX.
const NAME: usize = 2048;
/// Most folders above a file.
const DEPTH: usize = 100;
/// So many refused keys are named.
const NAMED: usize = 8;

/// A file to be.
#[derive(Clone)]
pub struct Item {
    /// Its path below the folder.
    pub name: String,
    /// Its permission bits.
    pub mode: u32,
    /// What it holds.
    pub bytes: Arc<[u8]>,
}

/// The files a folder shall have.
#[derive(Default)]
pub struct Set {
    /// In the order of their names.
    pub items: Vec<Item>,
    /// Why keys are left out: the first few.
    pub refused: Vec<String>,
}

impl Set {
    /// Adds what a key stands for, in place of what an earlier one gave; `key` is as the template sees it, with a `/` in
    /// front.
    #[inline(never)]
    pub fn add(&mut self, key: &str, is_flat: bool, mode: u32, bytes: &Arc<[u8]>) {
        let mut name = key.strip_prefix('/').unwrap_or(key);
        if is_flat {
            name = name.split_once('/').map_or(name, |(_, rest)| rest);
        }
        if let Some(why) = flaw(name) {
            return self.refuse(name, why);
        }
        let item = Item { name: name.to_string(), mode, bytes: bytes.clone() };
        match self.items.binary_search_by(|i| i.name.as_str().cmp(name)) {
            Ok(at) => {
                if let Some(old) = self.items.get_mut(at) {
                    *old = item;
                }
            }
            Err(at) => self.items.insert(at, item),
        }
    }

    /// Leaves out what lies below a file, once all is added. An empty file with others below it is a folder, as some
    /// stores mark them.
    #[inline(never)]
    pub fn settle(&mut self) {
        let mut items = Vec::new();
        let mut all = std::mem::take(&mut self.items).into_iter();
        while let Some(item) = all.next() {
            let below = [&item.name, "/"].concat();
            let rest = all.as_slice();
            let next = rest.get(rest.partition_point(|i| i.name < below));
            if item.bytes.is_empty() && next.is_some_and(|i| i.name.starts_with(&below)) {
                continue;
            }
            // The folders stand in front of what is in them.
            let is_file = |folder: &&str| items.binary_search_by(|i: &Item| i.name.as_str().cmp(folder)).is_ok();
            let why = folders_of(&item.name).find(is_file).map(|folder| fill("% is a file", &[folder]));
            match why {
                Some(why) => self.refuse(&item.name, &why),
                None => items.push(item),
            }
        }
        self.items = items;
    }

    fn refuse(&mut self, name: &str, why: &str) {
        if self.refused.len() < NAMED {
            self.refused.push(fill("cannot make a file of the key %: %; it is left out", &[&quoted(name), why]));
        }
    }

    /// How many bytes all files have.
    pub fn bytes(&self) -> usize {
        self.items.iter().map(|i| i.bytes.len()).sum()
    }
}

/// What is wrong with a name.
#[inline(never)]
pub fn flaw(name: &str) -> Option<&'static str> {
    if name.len() > NAME || name.split('/').count() > DEPTH {
        return Some("it is too long");
    }
    for part in name.split('/') {
        let why = match part {
            "" => "a part of it is empty",
            "." => "a part of it is `.`",
            _ if part.starts_with(OURS) => "a part of it begins with `..`",
            _ if part.len() > PART => "a part of it is longer than 255 bytes",
            _ if part.contains('\0') => "it has a NUL",
            _ => continue,
        };
        return Some(why);
    }
    None
}

/// The folders a file lies in, from the outermost: `a`, `a/b` of `a/b/c`.
pub fn folders_of(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').filter_map(|(at, _)| name.get(..at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(keys: &[(&str, bool)]) -> (Vec<String>, Vec<String>) {
        let mut set = Set::default();
        for (key, is_flat) in keys {
            set.add(key, *is_flat, 0o644, &Arc::from(key.as_bytes()));
        }
        set.settle();
        (set.items.into_iter().map(|i| i.name).collect(), set.refused)
    }

    #[test]
    fn keys_become_names() {
        let keys = ["/b/c", "/a", "/b.d", "/b/a/x", "/ö", "/.hidden", "/a b\n"].map(|k| (k, false));
        let (names, refused) = set(&keys);
        assert_eq!(names, [".hidden", "a", "a b\n", "b.d", "b/a/x", "b/c", "ö"]);
        assert!(refused.is_empty());
        let (names, refused) = set(&[("/one/a/b", true), ("/two/c", true), ("/plain", true)]);
        assert_eq!(names, ["a/b", "c", "plain"]);
        assert!(refused.is_empty());
    }

    #[test]
    fn of_two_keys_for_one_file_the_later_one_counts() {
        let mut set = Set::default();
        set.add("/one/a", true, 0o600, &Arc::from(b"1".as_slice()));
        set.add("/two/a", true, 0o644, &Arc::from(b"2".as_slice()));
        let found: Vec<(u32, &[u8])> = set.items.iter().map(|i| (i.mode, &*i.bytes)).collect();
        assert_eq!(found, [(0o644, b"2".as_slice())]);
        assert_eq!(set.bytes(), 1);
    }

    #[test]
    fn keys_that_would_climb_out_or_cannot_be_files_are_left_out() {
        let long = format!("/{}", "x".repeat(256));
        let longer = "/x".repeat(2000);
        let deep = "/x".repeat(101);
        for key in [
            "/../x",
            "//x",
            "/a/../../x",
            "/..data",
            "/..",
            "/.",
            "/a/./b",
            "/",
            "",
            "/a//b",
            "/a/..b/c",
            "/a\0b",
            &long,
            &longer,
            &deep,
        ] {
            let (names, refused) = set(&[(key, false), ("/good", false)]);
            assert_eq!(names, ["good"], "{key}");
            assert_eq!(refused.len(), 1, "{key}");
        }
        let (names, refused) = set(&[(&format!("/{}", "x".repeat(255)), false), (&"/x".repeat(100), false)]);
        assert_eq!((names.len(), refused.len()), (2, 0));
        let refused = set(&[("/a/../../x\u{1b}", false)]).1;
        let why = r#"cannot make a file of the key "a/../../x\x1b": a part of it begins with `..`; it is left out"#;
        assert_eq!(refused, [why]);
    }

    #[test]
    fn a_file_is_no_folder() {
        let keys = ["/a/b", "/a", "/a-", "/a/c/d", "/b/c/d", "/b/c"].map(|k| (k, false));
        let (names, refused) = set(&keys);
        assert_eq!(names, ["a", "a-", "b/c"]);
        assert_eq!(refused.len(), 3);
        assert_eq!(
            refused.first().map(String::as_str),
            Some("cannot make a file of the key \"a/b\": a is a file; it is left out")
        );
        // Consul's folders are empty keys.
        let mut set = Set::default();
        for key in ["/a", "/a/b", "/a-", "/c", "/c-", "/c/d/e"] {
            set.add(key, false, 0o644, &Arc::from(b"".as_slice()));
        }
        set.settle();
        let names: Vec<&str> = set.items.iter().map(|i| i.name.as_str()).collect();
        assert_eq!((names, set.refused.len()), (vec!["a-", "a/b", "c-", "c/d/e"], 0));
    }
}
