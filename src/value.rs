//! The one value type: what configuration files are read into and what templates compute with.
//! It is walked by hand; nothing is derived from it. Strings are shared, so a clone is cheap, and the
//! type can go to another thread.

use crate::map::Map;
use std::sync::Arc;

/// What a list's elements are, where Go's static type of the slice matters (`[]string` is not `[]interface {}`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Elem {
    /// `[]interface {}`: JSON, TOML, YAML and literal lists.
    Any,
    /// `[]string`.
    Str,
    /// `[]int`.
    Int,
    /// confd's key-value pairs: `[]memkv.KVPair`.
    Pair,
    /// The same as `gets` gives them: `memkv.KVPairs`, which confd's `reverse` leaves as it is.
    Pairs,
}

/// A list with the Go type of its elements.
pub struct List {
    /// The element type.
    pub elem: Elem,
    /// The elements.
    pub items: Vec<Value>,
}

/// A key with its value, as `get` and `gets` give it: fields `.Key` and `.Value`.
pub struct Pair {
    /// The full key, with a leading `/`.
    pub key: Arc<str>,
    /// Its value: `Value::Str`, or `Value::Bytes` when it is no UTF-8.
    pub value: Value,
}

/// A value that is no UTF-8, with the key it came from (for the error where text is needed).
pub struct Binary {
    /// The key.
    pub key: Arc<str>,
    /// The bytes as the source holds them.
    pub data: Arc<[u8]>,
}

/// Any value.
#[derive(Clone)]
#[repr(u64)]
pub enum Value {
    /// Nothing: Go's untyped nil, JSON's null.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number (every JSON number in a template, as in Go).
    Float(f64),
    /// Text.
    Str(Arc<str>),
    /// A value of a key that is no text.
    Bytes(Arc<Binary>),
    /// A list.
    List(Arc<List>),
    /// A map with string keys, in key order.
    Map(Arc<Map>),
    /// A key with its value.
    Pair(Arc<Pair>),
    /// A point in time, in UTC.
    Time(Time),
    /// An integer with a name: a month or a day of the week.
    Named(Named, i64),
}

/// A point in time: seconds since 1970 in UTC, and nanoseconds below a second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub secs: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanos: u32,
}

/// What an integer names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// Go's time.Month: 1 is January.
    Month,
    /// Go's time.Weekday: 0 is Sunday.
    Weekday,
}

impl Value {
    /// Text.
    #[inline(never)]
    pub fn str(s: &str) -> Value {
        Value::Str(Arc::from(s))
    }
    /// A list of anything.
    #[inline(never)]
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(Arc::new(List { elem: Elem::Any, items }))
    }
    /// A list whose element type Go would know.
    #[inline(never)]
    pub fn typed_list(elem: Elem, items: Vec<Value>) -> Value {
        Value::List(Arc::new(List { elem, items }))
    }
    /// A map.
    pub fn map(map: Map) -> Value {
        Value::Map(Arc::new(map))
    }
    /// The text of a `Str`.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }
    /// Text when `data` is UTF-8, else bytes that remember `key`.
    #[inline(never)]
    pub fn from_bytes(key: &Arc<str>, data: &[u8]) -> Value {
        match std::str::from_utf8(data) {
            Ok(s) => Value::str(s),
            Err(_) => Value::Bytes(Arc::new(Binary { key: key.clone(), data: Arc::from(data) })),
        }
    }
    /// The bytes of a `Str` or `Bytes`.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Str(s) => Some(s.as_bytes()),
            Value::Bytes(b) => Some(&b.data),
            _ => None,
        }
    }
    /// The elements of a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(l) => Some(&l.items),
            _ => None,
        }
    }
    /// The entries of a map.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(m) => Some(m),
            _ => None,
        }
    }
}
