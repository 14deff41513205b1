//! The table of functions both dialects call: its names, its parameters and how to find one. A dialect checks and
//! converts arguments against `sig`; nothing here knows a dialect, and no function blocks except the look-ups of names.

mod builtin;
mod data;
mod keys;
mod sha256;
mod system;
mod text;

pub use builtin::truth;
pub use data::reversed;

use crate::error::{Error, Result};
use crate::template::Context;
use crate::value::{Elem, Value};
use std::cmp::Ordering;

/// One function.
pub struct Func {
    /// Its name in a template.
    pub name: &'static str,
    /// One character per parameter: `s` string, `i` int, `f` float, `b` bool, `S` list of strings, `L` any list,
    /// `M` map, `a` anything; `?` after an optional one, `*` after a last one that comes any number of times.
    pub sig: &'static str,
    /// What it does. The arguments fit `sig`; the last one is `op`.
    pub call: Call,
    /// Which of the functions that share a body this is: small functions cost most by their beginnings and ends.
    pub op: u8,
}

/// What a function does with its arguments.
pub type Call = fn(&Context, &[Value], u8) -> Result<Value>;

const fn f(name: &'static str, sig: &'static str, call: Call, op: u8) -> Func {
    Func { name, sig, call, op }
}

/// Sorted by name (bytes), for the binary search.
static TABLE: &[Func] = &[
    f("add", "ii", text::arithmetic, b'+'),
    f("and", "aa*", builtin::choose, b'&'),
    f("append", "La", data::append, 0),
    f("atoi", "s", text::atoi, 0),
    f("base", "s", text::edit, b'/'),
    f("base64Decode", "s", text::base64_decode, 0),
    f("base64Encode", "a", text::base64_encode, 0),
    f("call", "aa*", builtin::call, 0),
    f("coalesce", "a*", builtin::choose, b'c'),
    f("contains", "ss", text::contains, 0),
    f("datetime", "", system::datetime, 0),
    f("default", "aa", builtin::choose, b'd'),
    f("dict", "a*", data::map, 0),
    f("dir", "s", text::edit, b'd'),
    f("div", "ii", text::arithmetic, b'/'),
    f("empty", "a", builtin::not, 0),
    f("eq", "aa*", builtin::equality, b'='),
    f("exists", "s", keys::exists, 0),
    f("fileExists", "s", system::file_exists, 0),
    f("fromJson", "s", data::from_json, b'a'),
    f("ge", "aa", builtin::compare, b']'),
    f("get", "s", keys::get, b'p'),
    f("getenv", "ss*", system::getenv, 0),
    f("gets", "s", keys::gets, b'p'),
    f("getv", "ss*", keys::get, b'v'),
    f("getvs", "s", keys::gets, b'v'),
    f("gt", "aa", builtin::compare, b'>'),
    f("hasKey", "Ms", data::has_key, 0),
    f("hostname", "", system::hostname, 0),
    f("html", "a*", text::escape, b'h'),
    f("include", "sa?", builtin::include, 0),
    f("indent", "is", text::indent, b' '),
    f("index", "aa*", builtin::index, 0),
    f("join", "Ss", text::join, 0),
    f("js", "a*", text::js, 0),
    f("json", "s", data::from_json, b'M'),
    f("jsonArray", "s", data::from_json, b'L'),
    f("keys", "M", data::entries, b'k'),
    f("le", "aa", builtin::compare, b'['),
    f("len", "a", builtin::len, 0),
    f("list", "a*", data::list, 0),
    f("lookupIP", "s", system::lookup, b'0'),
    f("lookupIPV4", "s", system::lookup, b'4'),
    f("lookupIPV6", "s", system::lookup, b'6'),
    f("lookupSRV", "sss", system::lookup_srv, 0),
    f("ls", "s", keys::ls, 0),
    f("lsdir", "s", keys::lsdir, 0),
    f("lt", "aa", builtin::compare, b'<'),
    f("map", "a*", data::map, 0),
    f("mod", "ii", text::arithmetic, b'%'),
    f("mul", "ii", text::arithmetic, b'*'),
    f("ne", "aa", builtin::equality, b'!'),
    f("nindent", "is", text::indent, b'n'),
    f("not", "a", builtin::not, 0),
    f("or", "aa*", builtin::choose, b'|'),
    f("parseBool", "s", text::parse_bool, 0),
    f("print", "a*", text::print, b' '),
    f("printf", "sa*", text::printf, 0),
    f("println", "a*", text::print, b'n'),
    f("quote", "s", text::edit, b'"'),
    f("repeat", "is", text::repeat, 0),
    f("replace", "sssi", text::replace, 0),
    f("reverse", "a", data::reverse, 0),
    f("seq", "ii", data::seq, 0),
    f("sha256sum", "a", text::sha256sum, 0),
    f("slice", "aa*", builtin::slice, 0),
    f("sortByLength", "S", data::sort_by_length, b'S'),
    f("sortKVByLength", "L", data::sort_by_length, b'L'),
    f("split", "ss", text::split, 0),
    f("squote", "s", text::edit, b'\''),
    f("sub", "ii", text::arithmetic, b'-'),
    f("ternary", "aab", builtin::choose, b't'),
    f("toJson", "a", data::to_json, b' '),
    f("toLower", "s", text::edit, b'l'),
    f("toPrettyJson", "a", data::to_json, b'n'),
    f("toUpper", "s", text::edit, b'u'),
    f("trimPrefix", "ss", text::edit, b'^'),
    f("trimSuffix", "ss", text::edit, b'$'),
    f("urlquery", "a*", text::escape, b'u'),
    f("values", "M", data::entries, b'v'),
];

/// The function of this name.
pub fn find(name: &str) -> Option<&'static Func> {
    let at = TABLE.binary_search_by(|f| f.name.cmp(name)).ok()?;
    TABLE.get(at)
}

/// How many arguments it takes: least, and most (`None`: any number).
pub fn arity(f: &Func) -> (usize, Option<usize>) {
    let (mut least, mut most, mut many) = (0, 0, false);
    for c in f.sig.bytes() {
        match c {
            b'?' => least -= 1,
            b'*' => {
                least -= 1;
                many = true;
            }
            _ => {
                least += 1;
                most += 1;
            }
        }
    }
    (least, if many { None } else { Some(most) })
}

/// All functions, in the order of their names.
pub fn all() -> &'static [Func] {
    TABLE
}

/// A list that a function makes has no more elements than this.
pub const MOST_ITEMS: usize = 1_000_000;
/// A text that a function makes has no more bytes than this.
pub const MOST_BYTES: usize = 64 << 20;

/// The text of an argument that `sig` calls a string.
#[inline(never)]
fn text_arg(args: &[Value], at: usize) -> &str {
    args.get(at).and_then(Value::as_str).unwrap_or("")
}

/// The integer of an argument that `sig` calls an int.
#[inline(never)]
fn int_arg(args: &[Value], at: usize) -> i64 {
    match args.get(at) {
        Some(Value::Int(n)) => *n,
        _ => 0,
    }
}

fn fail<T>(parts: &[&str]) -> Result<T> {
    Err(failure(parts))
}

#[inline(never)]
fn failure(parts: &[&str]) -> Error {
    Error::config(parts.concat())
}

/// Refuses a list that grows too long.
#[inline(never)]
fn check_items(n: usize) -> Result<()> {
    if n > MOST_ITEMS { fail(&["the list would have more than 1,000,000 elements"]) } else { Ok(()) }
}

/// Refuses a text that grows too long.
#[inline(never)]
fn check_bytes(n: usize) -> Result<()> {
    if n > MOST_BYTES { fail(&["the text would have more than 64 MiB"]) } else { Ok(()) }
}

#[inline(never)]
fn strings(list: Vec<Value>) -> Value {
    Value::typed_list(Elem::Str, list)
}

/// The one sort of values, so that there is one in the binary. Stable.
#[inline(never)]
fn sort(list: &mut [Value], order: fn(&Value, &Value) -> Ordering) {
    list.sort_by(order);
}

/// Texts by their bytes, each once.
fn distinct(mut list: Vec<Value>) -> Value {
    sort(&mut list, |a, b| a.as_bytes().cmp(&b.as_bytes()));
    list.dedup_by(|a, b| a.as_bytes() == b.as_bytes());
    strings(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_signatures_are_known() {
        for pair in TABLE.windows(2) {
            if let [a, b] = pair {
                assert!(a.name < b.name, "{} stands before {}", a.name, b.name);
            }
        }
        for f in TABLE {
            assert!(f.sig.chars().all(|c| "sifbSLMa?*".contains(c)), "{}", f.name);
            assert!(find(f.name).is_some(), "{}", f.name);
        }
        let of = |name| find(name).map(arity);
        assert_eq!(of("getv"), Some((1, None)));
        assert_eq!(of("include"), Some((1, Some(2))));
        assert_eq!(of("datetime"), Some((0, Some(0))));
        assert!(find("nothing").is_none());
    }
}
