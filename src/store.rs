//! What a source holds at one index: an immutable, sorted map of key to value; what changed between two;
//! and what a render looked at. Nothing here blocks, and nothing here knows a protocol.

use std::cell::RefCell;
use std::sync::Arc;

/// A key and its value. Keys have a leading `/`; values are bytes.
pub type Entry = (Arc<str>, Arc<[u8]>);

/// A key as templates know it: with a `/` in front and none at the end, no empty parts, `.` and `..` resolved, as confd has
/// it by Go's path.Join.
pub fn clean(key: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in key.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            p => parts.push(p),
        }
    }
    ["/", &parts.join("/")].concat()
}

/// Whether `key` lies under `prefix` by whole parts of its path: itself, too, unless a `/` ends the prefix.
pub fn is_under(prefix: &str, key: &str) -> bool {
    key.strip_prefix(prefix).is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

/// All keys of one source under one prefix, at one index or revision.
#[derive(Clone, Default)]
pub struct Snapshot {
    entries: Vec<Entry>,
}

impl Snapshot {
    /// Sorts by key; of equal keys the last wins.
    pub fn new(mut entries: Vec<Entry>) -> Snapshot {
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries.reverse(); // the sort is stable: the last of equal keys now comes first
        entries.dedup_by(|later, earlier| later.0 == earlier.0);
        entries.reverse();
        Snapshot { entries }
    }
    /// All entries in key order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    /// The value of exactly this key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|e| (*e.0).cmp(key)).ok()?;
        self.entries.get(at)
    }
    /// The entries whose key starts with `prefix`, in key order.
    pub fn under(&self, prefix: &str) -> &[Entry] {
        let from = self.entries.partition_point(|e| &*e.0 < prefix);
        let tail = self.entries.get(from..).unwrap_or(&[]);
        let n = tail.partition_point(|e| e.0.starts_with(prefix));
        tail.get(..n).unwrap_or(&[])
    }
    /// Whether both hold the same keys with the same values.
    pub fn same(&self, other: &Snapshot) -> bool {
        self.entries == other.entries
    }
    /// The keys that were added, removed or changed between `self` and `newer`, in key order.
    pub fn changed<'a>(&'a self, newer: &'a Snapshot) -> Vec<&'a str> {
        let (mut a, mut b) = (self.entries.iter().peekable(), newer.entries.iter().peekable());
        let mut keys = Vec::new();
        loop {
            match (a.peek(), b.peek()) {
                (None, None) => return keys,
                (Some(x), Some(y)) if x.0 == y.0 => {
                    if x.1 != y.1 {
                        keys.push(&*x.0);
                    }
                    a.next();
                    b.next();
                }
                (Some(x), Some(y)) if x.0 < y.0 => {
                    keys.push(&*x.0);
                    a.next();
                }
                (Some(x), None) => {
                    keys.push(&*x.0);
                    a.next();
                }
                (_, Some(y)) => {
                    keys.push(&*y.0);
                    b.next();
                }
            }
        }
    }
}

/// What one render looked at, so that a change elsewhere renders nothing again.
#[derive(Clone, Default)]
pub struct Reads {
    exact: Names,
    under: Names,
}

impl Reads {
    /// The render looked at this key, whether it exists or not.
    pub fn key(&mut self, key: &str) {
        self.exact.add(key, same);
    }
    /// The render looked at everything that starts with `prefix` (of a glob: what stands before its first wildcard).
    pub fn under(&mut self, prefix: &str) {
        self.under.add(prefix, begins);
    }
    /// Whether a change of `key` could change what was rendered.
    pub fn touches(&self, key: &str) -> bool {
        self.exact.has(key, same) || self.under.has(key, begins)
    }
}

/// Whether one name stands for another: whatever stands for `name` and sorts before it, sorts right before it.
type Covers = fn(&str, &str) -> bool;

fn same(of: &str, name: &str) -> bool {
    of == name
}

fn begins(of: &str, name: &str) -> bool {
    name.starts_with(of)
}

/// A set of names: in front sorted, none covered by another; newly added at the end. A template in a loop asks for the
/// same ones again and again, so the end is sorted in when it has grown as long as the front.
#[derive(Clone, Default)]
struct Names {
    names: Vec<String>,
    sorted: usize,
}

impl Names {
    fn add(&mut self, name: &str, covers: Covers) {
        if self.names.last().is_some_and(|n| covers(n, name)) {
            return;
        }
        self.names.push(name.to_string());
        if self.names.len() > self.sorted * 2 + 64 {
            self.settle(covers);
        }
    }
    #[inline(never)]
    fn settle(&mut self, covers: Covers) {
        if self.sorted < self.names.len() {
            self.names.sort_unstable();
            self.names.dedup_by(|later, earlier| covers(earlier, later));
            self.sorted = self.names.len();
        }
    }
    fn has(&self, name: &str, covers: Covers) -> bool {
        let (front, end) = self.names.split_at_checked(self.sorted).unwrap_or((&self.names, &[]));
        let after = front.partition_point(|n| n.as_str() <= name);
        let before = after.checked_sub(1).and_then(|i| front.get(i));
        before.into_iter().chain(end).any(|n| covers(n, name))
    }
}

/// A snapshot as a render sees it: every look is recorded.
pub struct View<'a> {
    snapshot: &'a Snapshot,
    reads: RefCell<Reads>,
}

impl<'a> View<'a> {
    /// A view with nothing recorded yet.
    pub fn new(snapshot: &'a Snapshot) -> View<'a> {
        View { snapshot, reads: RefCell::new(Reads::default()) }
    }
    /// The entry of exactly this key.
    pub fn get(&self, key: &str) -> Option<&'a Entry> {
        self.reads.borrow_mut().key(key);
        self.snapshot.get(key)
    }
    /// The entries whose key starts with `prefix`.
    pub fn under(&self, prefix: &str) -> &'a [Entry] {
        self.reads.borrow_mut().under(prefix);
        self.snapshot.under(prefix)
    }
    /// What was looked at, sorted: a change asks for every key that changed.
    pub fn into_reads(self) -> Reads {
        let mut reads = self.reads.into_inner();
        reads.exact.settle(same);
        reads.under.settle(begins);
        reads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(pairs: &[(&str, &str)]) -> Snapshot {
        Snapshot::new(pairs.iter().map(|(k, v)| (Arc::from(*k), Arc::from(v.as_bytes()))).collect())
    }

    #[test]
    fn of_equal_keys_the_last_wins_and_prefixes_are_plain() {
        let s = snapshot(&[("/b", "1"), ("/a/x", "2"), ("/b", "3"), ("/ab", "4"), ("/a", "5")]);
        assert_eq!(s.len(), 4);
        assert_eq!(s.get("/b").map(|e| &*e.1), Some(&b"3"[..]));
        let keys: Vec<&str> = s.under("/a").iter().map(|e| &*e.0).collect();
        assert_eq!(keys, ["/a", "/a/x", "/ab"]);
        assert!(s.under("/zz").is_empty() && s.get("/a/").is_none());
    }

    #[test]
    fn what_changed() {
        let old = snapshot(&[("/a", "1"), ("/b", "1"), ("/d", "1")]);
        let new = snapshot(&[("/a", "1"), ("/b", "2"), ("/c", "1")]);
        assert_eq!(old.changed(&new), ["/b", "/c", "/d"]);
        assert_eq!(new.changed(&old), ["/b", "/c", "/d"]);
        assert!(old.changed(&old).is_empty() && old.same(&old) && !old.same(&new));
    }

    #[test]
    fn reads_are_remembered_however_many() {
        let mut r = Reads::default();
        for i in (0..10_000).rev() {
            r.key(["/k/", &(i % 5_000).to_string()].concat().as_str());
        }
        r.under("/g/");
        assert!((0..5_000).all(|i| r.touches(&["/k/", &i.to_string()].concat())));
        assert!(r.touches("/g/x") && !r.touches("/g") && !r.touches("/k/5000") && !r.touches("/k"));
    }

    /// Short and long prefixes in every order, settled or not, beside looking at each of them.
    #[test]
    fn a_prefix_covers_what_begins_with_it() {
        let prefixes = ["/", "/a", "/a/", "/a/b", "/a-", "/ab/", "/b/c/", "é"];
        let keys = ["/", "/a", "/a/", "/a/b/c", "/a-b", "/a!", "/ab", "/ab/x", "/b/c", "/b/c/d", "/c", "", "é/x", "zz"];
        let triples = prefixes.iter().flat_map(|a| prefixes.map(|b| prefixes.map(|c| [*a, b, c]))).flatten();
        for some in triples {
            for many in [0, 100] {
                let snapshot = Snapshot::default();
                let view = View::new(&snapshot);
                for p in some {
                    view.under(p);
                    for i in 0..many {
                        view.under(&format!("/z/{i}"));
                    }
                }
                let mut unsettled = Reads::default();
                some.iter().for_each(|p| unsettled.under(p));
                let settled = view.into_reads();
                for key in keys {
                    let want = some.iter().any(|p| key.starts_with(p));
                    assert_eq!(settled.touches(key), want, "{some:?} {key}");
                    assert_eq!(unsettled.touches(key), want, "{some:?} {key}, not settled");
                }
            }
        }
    }
}
