//! The table of functions both dialects call: its names, its parameters and how to find one. A dialect checks and
//! converts arguments against `sig`; nothing here knows a dialect, and no function blocks except the look-ups of names.

mod builtin;
mod data;
mod keys;
mod path;
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
    /// What it does. The arguments fit `sig`.
    pub call: fn(&Context, &[Value]) -> Result<Value>,
}

const fn f(name: &'static str, sig: &'static str, call: fn(&Context, &[Value]) -> Result<Value>) -> Func {
    Func { name, sig, call }
}

/// Sorted by name (bytes), for the binary search.
static TABLE: &[Func] = &[
    f("add", "ii", text::add),
    f("and", "aa*", builtin::and),
    f("append", "La", data::append),
    f("atoi", "s", text::atoi),
    f("base", "s", path::base_of),
    f("base64Decode", "s", text::base64_decode),
    f("base64Encode", "a", text::base64_encode),
    f("call", "aa*", builtin::call),
    f("coalesce", "a*", builtin::coalesce),
    f("contains", "ss", text::contains),
    f("datetime", "", system::datetime),
    f("default", "aa", builtin::default),
    f("dict", "a*", data::map),
    f("dir", "s", path::dir_of),
    f("div", "ii", text::div),
    f("empty", "a", builtin::empty),
    f("eq", "aa*", builtin::eq),
    f("exists", "s", keys::exists),
    f("fileExists", "s", system::file_exists),
    f("fromJson", "s", data::from_json),
    f("ge", "aa", builtin::ge),
    f("get", "s", keys::get),
    f("getenv", "ss*", system::getenv),
    f("gets", "s", keys::gets),
    f("getv", "ss*", keys::getv),
    f("getvs", "s", keys::getvs),
    f("gt", "aa", builtin::gt),
    f("hasKey", "Ms", data::has_key),
    f("hostname", "", system::hostname),
    f("html", "a*", text::html),
    f("include", "sa?", builtin::include),
    f("indent", "is", text::indent),
    f("index", "aa*", builtin::index),
    f("join", "Ss", text::join),
    f("js", "a*", text::js),
    f("json", "s", data::json_object),
    f("jsonArray", "s", data::json_array),
    f("keys", "M", data::keys),
    f("le", "aa", builtin::le),
    f("len", "a", builtin::len),
    f("list", "a*", data::list),
    f("lookupIP", "s", system::lookup_ip),
    f("lookupIPV4", "s", system::lookup_ipv4),
    f("lookupIPV6", "s", system::lookup_ipv6),
    f("lookupSRV", "sss", system::lookup_srv),
    f("ls", "s", keys::ls),
    f("lsdir", "s", keys::lsdir),
    f("lt", "aa", builtin::lt),
    f("map", "a*", data::map),
    f("mod", "ii", text::modulo),
    f("mul", "ii", text::mul),
    f("ne", "aa", builtin::ne),
    f("nindent", "is", text::nindent),
    f("not", "a", builtin::not),
    f("or", "aa*", builtin::or),
    f("parseBool", "s", text::parse_bool),
    f("print", "a*", text::print),
    f("printf", "sa*", text::printf),
    f("println", "a*", text::println),
    f("quote", "s", text::quote),
    f("repeat", "is", text::repeat),
    f("replace", "sssi", text::replace),
    f("reverse", "a", data::reverse),
    f("seq", "ii", data::seq),
    f("sha256sum", "a", text::sha256sum),
    f("slice", "aa*", builtin::slice),
    f("sortByLength", "S", data::sort_by_length),
    f("sortKVByLength", "L", data::sort_pairs_by_length),
    f("split", "ss", text::split),
    f("squote", "s", text::squote),
    f("sub", "ii", text::sub),
    f("ternary", "aab", builtin::ternary),
    f("toJson", "a", data::to_json),
    f("toLower", "s", text::to_lower),
    f("toPrettyJson", "a", data::to_pretty_json),
    f("toUpper", "s", text::to_upper),
    f("trimPrefix", "ss", text::trim_prefix),
    f("trimSuffix", "ss", text::trim_suffix),
    f("urlquery", "a*", text::urlquery),
    f("values", "M", data::values),
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
