//! The map of values: text to value, in the order of the keys. Pieces of sorted pairs, so that an insert moves one piece
//! and a look-up halves twice; the standard library's tree does the same in four times the code.

use crate::value::Value;

/// A piece that grows longer is cut in two.
const LONGEST: usize = 256;

type Entry = (String, Value);

/// Keys with their values.
#[derive(Default)]
pub struct Map {
    /// None is empty, and each ends before the next begins.
    pieces: Vec<Vec<Entry>>,
    len: usize,
}

impl Map {
    /// The empty one.
    pub const EMPTY: &Map = &Map::new();

    /// An empty one.
    pub const fn new() -> Map {
        Map { pieces: Vec::new(), len: 0 }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The piece where a key is or belongs, and where in it.
    #[inline(never)]
    fn find(&self, key: &str) -> (usize, Result<usize, usize>) {
        let after = self.pieces.partition_point(|p| p.first().is_some_and(|e| *e.0 <= *key));
        let piece = after.saturating_sub(1);
        let at = self.pieces.get(piece).map_or(Err(0), |p| p.binary_search_by(|e| e.0.as_str().cmp(key)));
        (piece, at)
    }

    /// A key as it is held, and its value.
    #[inline(never)]
    pub fn get_key_value(&self, key: &str) -> Option<(&String, &Value)> {
        let (piece, at) = self.find(key);
        self.pieces.get(piece)?.get(at.ok()?).map(|e| (&e.0, &e.1))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.get_key_value(key).map(|e| e.1)
    }

    /// Whether there is such a key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Puts a value in, in place of an older one.
    #[inline(never)]
    pub fn insert(&mut self, key: String, value: Value) {
        let (piece, at) = self.find(&key);
        let Some(entries) = self.pieces.get_mut(piece) else {
            self.pieces.push(vec![(key, value)]);
            self.len = 1;
            return;
        };
        match at {
            Ok(at) => {
                if let Some(entry) = entries.get_mut(at) {
                    entry.1 = value;
                }
            }
            Err(at) => {
                entries.insert(at.min(entries.len()), (key, value));
                self.len += 1;
                if entries.len() > LONGEST {
                    let tail = entries.split_off(LONGEST / 2);
                    self.pieces.insert(piece + 1, tail);
                }
            }
        }
    }

    /// The entries, in the order of their keys.
    pub fn iter(&self) -> Iter<'_> {
        Iter { pieces: self.pieces.iter(), now: [].iter() }
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.iter().map(|e| e.0)
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.iter().map(|e| e.1)
    }
}

/// The entries of a map, one by one.
pub struct Iter<'a> {
    pieces: std::slice::Iter<'a, Vec<Entry>>,
    now: std::slice::Iter<'a, Entry>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a String, &'a Value);

    #[inline(never)]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.now.next() {
                return Some((&entry.0, &entry.1));
            }
            self.now = self.pieces.next()?.iter();
        }
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = (&'a String, &'a Value);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;
    use std::collections::BTreeMap;

    /// Whatever the order of the inserts, it holds what the standard library's map holds.
    #[test]
    fn it_is_a_map() {
        let mut n = 88_172_645_463_325_252_u64;
        for keys in [0, 1, 2, 10, 256, 257, 1_000, 20_000] {
            for order in 0..3 {
                let (mut ours, mut theirs) = (Map::new(), BTreeMap::new());
                for i in 0..keys {
                    n ^= n << 13;
                    n ^= n >> 7;
                    n ^= n << 17;
                    let key = format!("{:05}", [n % keys, i, keys - i][order]);
                    ours.insert(key.clone(), Value::Int(i as i64));
                    theirs.insert(key, i as i64);
                }
                assert_eq!(ours.len(), theirs.len());
                assert_eq!(ours.is_empty(), theirs.is_empty());
                assert!(ours.keys().eq(theirs.keys()), "{keys} {order}");
                for i in 0..=keys {
                    let key = format!("{i:05}");
                    let found = ours.get(&key).map(|v| matches!(v, Value::Int(n) if *n == theirs[&key]));
                    assert_eq!(found, theirs.get(&key).map(|_| true), "{keys} {order} {key}");
                }
            }
        }
    }
}
