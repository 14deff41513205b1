//! The table of functions both dialects call: its names, its parameters and how to find one. A dialect checks and
//! converts arguments against `sig`; nothing here knows a dialect, and no function blocks except the look-ups of names.

mod builtin;
mod data;
mod keys;
mod pilot;
pub mod regex;
mod system;
mod text;

pub use builtin::truth;
pub use data::{deeper_than, reversed};

use crate::error::{Error, Result};
use crate::sys::meter;
use crate::template::{Context, budget};
use crate::text::fill;
use crate::value::{Elem, Value};
use std::cmp::Ordering;

/// One function.
pub struct Func {
    /// Its name in a template.
    pub name: &'static str,
    /// One character per parameter: `s` string, `i` int, `f` float, `b` bool, `S` list of strings, `L` any list,
    /// `M` map, `a` anything; `?` after an optional one, `*` after a last one that comes any number of times.
    /// A method's first one is its receiver. Bytes that are not used are 0.
    pub sig: [u8; 4],
    /// What it does. The arguments fit `sig`; the last one is `op`.
    pub call: Call,
    /// Which of the functions that share a body this is: small functions cost most by their beginnings and ends.
    pub op: u8,
}

impl Func {
    /// Charges what its arguments cost; a render asks its budget then, and runs it if there is some left.
    pub fn charge(&self, args: &[Value]) {
        budget::charge(args);
    }
    /// What it makes of its arguments, which is charged too.
    ///
    /// # Errors
    /// What it says.
    pub fn run(&self, ctx: &Context, args: &[Value]) -> Result<Value> {
        let value = (self.call)(ctx, args, self.op)?;
        meter::charge(match &value {
            Value::List(l) => l.items.len() / 4,
            v => v.as_bytes().map_or(0, |b| b.len() / 64),
        });
        Ok(value)
    }
}

/// What a function does with its arguments.
pub type Call = fn(&Context, &[Value], u8) -> Result<Value>;

/// A row of a table.
pub const fn f<const N: usize>(name: &'static str, sig: &[u8; N], call: Call, op: u8) -> Func {
    let mut padded = [0; 4];
    padded.split_at_mut(N).0.copy_from_slice(sig);
    Func { name, sig: padded, call, op }
}

/// Sorted by name (bytes), for the binary search.
static TABLE: &[Func] = &[
    f("add", b"ii", text::arithmetic, b'+'),
    f("and", b"aa*", builtin::choose, b'&'),
    f("append", b"La", data::append, 0),
    f("atoi", b"s", text::atoi, 0),
    f("base", b"s", text::edit, b'/'),
    f("base64Decode", b"s", text::base64_decode, 0),
    f("base64Encode", b"a", text::base64_encode, 0),
    f("call", b"aa*", builtin::call, 0),
    f("coalesce", b"a*", builtin::choose, b'c'),
    f("contains", b"ss", text::contains, 0),
    f("datetime", b"", system::datetime, 0),
    f("default", b"aa", builtin::choose, b'd'),
    f("dict", b"a*", data::map, 0),
    f("dir", b"s", text::edit, b'd'),
    f("div", b"ii", text::arithmetic, b'/'),
    f("empty", b"a", builtin::not, 0),
    f("eq", b"aa*", builtin::equality, b'='),
    f("exists", b"s", keys::exists, 0),
    f("fileExists", b"s", system::file_exists, 0),
    f("fromJson", b"s", data::from_json, b'a'),
    f("ge", b"aa", builtin::compare, b']'),
    f("get", b"s", keys::get, b'p'),
    f("getenv", b"ss*", system::getenv, 0),
    f("gets", b"s", keys::gets, b'p'),
    f("getv", b"ss*", keys::get, b'v'),
    f("getvs", b"s", keys::gets, b'v'),
    f("gt", b"aa", builtin::compare, b'>'),
    f("hasKey", b"Ms", data::has_key, 0),
    f("hostname", b"", system::hostname, 0),
    f("html", b"a*", text::escape, b'h'),
    f("include", b"sa?", builtin::include, 0),
    f("indent", b"is", text::indent, b' '),
    f("index", b"aa*", builtin::index, 0),
    f("join", b"Ss", text::join, 0),
    f("js", b"a*", text::js, 0),
    f("json", b"s", data::from_json, b'M'),
    f("jsonArray", b"s", data::from_json, b'L'),
    f("keys", b"M", data::entries, b'k'),
    f("le", b"aa", builtin::compare, b'['),
    f("len", b"a", builtin::len, 0),
    f("list", b"a*", data::list, 0),
    f("lookupIP", b"s", system::lookup, b'0'),
    f("lookupIPV4", b"s", system::lookup, b'4'),
    f("lookupIPV6", b"s", system::lookup, b'6'),
    f("lookupSRV", b"sss", system::lookup_srv, 0),
    f("ls", b"s", keys::ls, 0),
    f("lsdir", b"s", keys::lsdir, 0),
    f("lt", b"aa", builtin::compare, b'<'),
    f("map", b"a*", data::map, 0),
    f("mod", b"ii", text::arithmetic, b'%'),
    f("mul", b"ii", text::arithmetic, b'*'),
    f("ne", b"aa", builtin::equality, b'!'),
    f("nindent", b"is", text::indent, b'n'),
    f("not", b"a", builtin::not, 0),
    f("or", b"aa*", builtin::choose, b'|'),
    f("parseBool", b"s", text::parse_bool, 0),
    f("print", b"a*", text::print, b' '),
    f("printf", b"sa*", text::printf, 0),
    f("println", b"a*", text::print, b'n'),
    f("quote", b"s", text::edit, b'"'),
    f("repeat", b"is", text::repeat, 0),
    f("replace", b"sssi", text::replace, 0),
    f("reverse", b"a", data::reverse, 0),
    f("seq", b"ii", data::seq, 0),
    f("sha256sum", b"a", text::sha256sum, 0),
    f("slice", b"aa*", builtin::slice, 0),
    f("sortByLength", b"S", data::sort_by_length, b'S'),
    f("sortKVByLength", b"L", data::sort_by_length, b'L'),
    f("split", b"ss", text::split, 0),
    f("squote", b"s", text::edit, b'\''),
    f("sub", b"ii", text::arithmetic, b'-'),
    f("ternary", b"aab", builtin::choose, b't'),
    f("toJson", b"a", data::to_json, b' '),
    f("toLower", b"s", text::edit, b'l'),
    f("toPrettyJson", b"a", data::to_json, b'n'),
    f("toUpper", b"s", text::edit, b'u'),
    f("trimPrefix", b"ss", text::edit, b'^'),
    f("trimSuffix", b"ss", text::edit, b'$'),
    f("urlquery", b"a*", text::escape, b'u'),
    f("values", b"M", data::entries, b'v'),
];

/// The function of this name.
pub fn find(name: &str) -> Option<&'static Func> {
    let at = TABLE.binary_search_by(|f| f.name.cmp(name)).ok()?;
    TABLE.get(at)
}

/// The function of this name in ContainerPilot's configuration: its own come first.
pub fn find_pilot(name: &str) -> Option<&'static Func> {
    pilot::TABLE.iter().find(|f| f.name == name).or_else(|| find(name))
}

/// ContainerPilot's own functions.
pub fn all_pilot() -> &'static [Func] {
    pilot::TABLE
}

/// How many arguments it takes: least, and most (`None`: any number).
pub fn arity(f: &Func) -> (usize, Option<usize>) {
    let (mut least, mut most, mut many) = (0, 0, false);
    for c in f.sig {
        match c {
            0 => break,
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

/// The parameter that an argument is for: a last one that repeats stands for all further ones.
#[inline(never)]
pub fn param(f: &Func, at: usize) -> u8 {
    let mut params = f.sig.iter().filter(|c| c.is_ascii_alphabetic());
    params.clone().nth(at).or(params.next_back()).copied().unwrap_or(b'a')
}

/// Whether a value is what a parameter asks for, lists of strings apart.
#[inline(never)]
pub fn fits(param: u8, v: &Value) -> bool {
    matches!(
        (param, v),
        (b'a', _)
            | (b's', Value::Str(_))
            | (b'i', Value::Int(_))
            | (b'f', Value::Float(_))
            | (b'b', Value::Bool(_))
            | (b'L', Value::List(_))
            | (b'M', Value::Map(_))
            | (b't', Value::Time(_))
    )
}

/// All functions, in the order of their names.
pub fn all() -> &'static [Func] {
    TABLE
}

/// A list that a function makes has no more elements than this.
pub const MOST_ITEMS: usize = if cfg!(fuzzing) { 10_000 } else { 1_000_000 };
/// A text that a function makes has no more bytes than this.
pub const MOST_BYTES: usize = crate::text::LARGEST;

/// The text of an argument that `sig` calls a string.
#[inline(never)]
pub fn text_arg(args: &[Value], at: usize) -> &str {
    args.get(at).and_then(Value::as_str).unwrap_or("")
}

/// The integer of an argument that `sig` calls an int.
#[inline(never)]
pub fn int_arg(args: &[Value], at: usize) -> i64 {
    match args.get(at) {
        Some(Value::Int(n)) => *n,
        _ => 0,
    }
}

fn fail<T>(pattern: &str, words: &[&str]) -> Result<T> {
    Err(failure(pattern, words))
}

#[inline(never)]
fn failure(pattern: &str, words: &[&str]) -> Error {
    Error::config(fill(pattern, words))
}

/// Refuses a list that grows too long.
#[inline(never)]
fn check_items(n: usize) -> Result<()> {
    if n > MOST_ITEMS { fail("the list would have more than 1,000,000 elements", &[]) } else { Ok(()) }
}

/// Refuses a text that grows too long.
#[inline(never)]
fn check_bytes(n: usize) -> Result<()> {
    if n > MOST_BYTES { fail("the text would have more than 64 MiB", &[]) } else { Ok(()) }
}

#[inline(never)]
fn strings(list: Vec<Value>) -> Value {
    Value::typed_list(Elem::Str, list)
}

/// The one sort of values, so that there is one in the binary. Stable.
#[inline(never)]
pub fn sort(list: &mut [Value], order: fn(&Value, &Value) -> Ordering) {
    meter::charge(list.len().saturating_mul(list.len().max(1).ilog2() as usize) / 2);
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
            assert!(f.sig.iter().all(|c| b"sifbSLMa?*\0".contains(c)), "{}", f.name);
            assert!(find(f.name).is_some(), "{}", f.name);
        }
        let of = |name| find(name).map(arity);
        assert_eq!(of("getv"), Some((1, None)));
        assert_eq!(of("include"), Some((1, Some(2))));
        assert_eq!(of("datetime"), Some((0, Some(0))));
        assert!(find("nothing").is_none());
    }
}
