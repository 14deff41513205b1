//! What a source holds at one index: an immutable, sorted map of key to value; what changed between two;
//! and what a render looked at. Nothing here blocks, and nothing here knows a protocol.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A key and its value. Keys have a leading `/`; values are bytes.
pub type Entry = (Arc<str>, Arc<[u8]>);

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
    exact: BTreeSet<String>,
    under: BTreeSet<String>,
}

impl Reads {
    /// The render looked at this key, whether it exists or not.
    pub fn key(&mut self, key: &str) {
        if !self.exact.contains(key) {
            self.exact.insert(key.to_string());
        }
    }
    /// The render looked at everything that starts with `prefix` (of a glob: what stands before its first wildcard).
    pub fn under(&mut self, prefix: &str) {
        if !self.under.contains(prefix) {
            self.under.insert(prefix.to_string());
        }
    }
    /// Whether a change of `key` could change what was rendered.
    pub fn touches(&self, key: &str) -> bool {
        self.exact.contains(key) || self.under.iter().any(|p| key.starts_with(p.as_str()))
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
    /// What was looked at.
    pub fn into_reads(self) -> Reads {
        self.reads.into_inner()
    }
}
