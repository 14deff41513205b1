//! What Ruby's strings, numbers, arrays and hashes do: the methods there are, how values compare and how they look as
//! text. It knows nothing of templates. Errors are words without a place.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::case;
use crate::template::funcs::{self, MOST_BYTES};
use crate::text::{decode, float, hex, put};
use crate::value::{Elem, Value};

/// A value, or why there is none.
pub type Answer = Result<Value, String>;

/// A method, and how many arguments it takes.
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub is: Is,
    /// At least so many arguments.
    pub least: u8,
    /// At most so many.
    pub most: u8,
}

/// What a method does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Is {
    /// A hash's keys.
    Keys,
    /// A hash's values.
    Values,
    /// In order.
    Sort,
    /// Backwards.
    Reverse,
    /// Each once.
    Uniq,
    /// How many.
    Size,
    /// Whether there is nothing in it.
    Empty,
    /// The first element.
    First,
    /// The last element.
    Last,
    /// A string's parts.
    Split,
    /// An array as one string.
    Join,
    /// Without white space at its ends.
    Strip,
    /// In capitals.
    Upcase,
    /// In small letters.
    Downcase,
    /// As an integer.
    ToI,
    /// As text.
    ToS,
    /// Whether it is nil.
    Nil,
    /// Whether it begins so.
    StartWith,
    /// Whether it ends so.
    EndWith,
    /// Whether it holds this.
    Include,
    /// The first of these replaced.
    Sub,
    /// All of these replaced.
    Gsub,
}

const fn method(name: &'static str, is: Is, least: u8, most: u8) -> Method {
    Method { name, is, least, most }
}

impl Method {
    /// Whether it takes no longer for a long list than for a short one.
    pub fn is_cheap(&self) -> bool {
        matches!(self.is, Is::Size | Is::Empty | Is::First | Is::Last | Is::Nil)
    }
}

/// All methods there are, `each` aside.
pub static METHODS: &[Method] = &[
    method("keys", Is::Keys, 0, 0),
    method("values", Is::Values, 0, 0),
    method("sort", Is::Sort, 0, 0),
    method("reverse", Is::Reverse, 0, 0),
    method("uniq", Is::Uniq, 0, 0),
    method("size", Is::Size, 0, 0),
    method("length", Is::Size, 0, 0),
    method("empty?", Is::Empty, 0, 0),
    method("first", Is::First, 0, 0),
    method("last", Is::Last, 0, 0),
    method("split", Is::Split, 0, 1),
    method("join", Is::Join, 0, 1),
    method("strip", Is::Strip, 0, 0),
    method("upcase", Is::Upcase, 0, 0),
    method("downcase", Is::Downcase, 0, 0),
    method("to_i", Is::ToI, 0, 0),
    method("to_s", Is::ToS, 0, 0),
    method("nil?", Is::Nil, 0, 0),
    method("start_with?", Is::StartWith, 1, 1),
    method("end_with?", Is::EndWith, 1, 1),
    method("include?", Is::Include, 1, 1),
    method("sub", Is::Sub, 2, 2),
    method("gsub", Is::Gsub, 2, 2),
];

/// Whether a value counts as true.
pub fn truth(v: &Value) -> bool {
    !matches!(v, Value::Nil | Value::Bool(false))
}

/// What a value is, for messages.
pub fn class(v: &Value) -> &'static str {
    match v {
        Value::Nil => "nil",
        Value::Bool(_) => "true or false",
        Value::Int(_) | Value::Float(_) => "a number",
        Value::Str(_) => "a string",
        Value::Bytes(_) => "a value that is no UTF-8 text",
        _ if is_hash(v) => "a hash",
        _ => "an array",
    }
}

/// Whether it is a hash.
pub fn is_hash(v: &Value) -> bool {
    matches!(v, Value::List(l) if matches!(l.elem, Elem::Pair | Elem::Pairs))
}

/// A key of a hash and its value, as two.
fn halves(v: &Value) -> (Value, Value) {
    match v {
        Value::Pair(p) => (Value::Str(p.key.clone()), p.value.clone()),
        v => (v.clone(), Value::Nil),
    }
}

/// What `first` and a loop with one variable give for an element: of a hash, an array of key and value.
pub fn element(v: &Value) -> Value {
    match v {
        Value::Pair(_) => {
            let (key, value) = halves(v);
            Value::list(vec![key, value])
        }
        v => v.clone(),
    }
}

/// What a loop gives its variables for an element.
#[inline(never)]
pub fn two(v: &Value, is_one: bool) -> (Value, Option<Value>) {
    if is_one {
        return (element(v), None);
    }
    let (first, second) = match v.as_list().filter(|_| !is_hash(v)) {
        Some(items) => {
            let at = |i: usize| items.get(i).cloned().unwrap_or(Value::Nil);
            (at(0), at(1))
        }
        None => halves(v),
    };
    (first, Some(second))
}

/// The value of a key of a hash.
fn look<'v>(v: &'v Value, key: &str) -> Option<&'v Value> {
    let Value::List(l) = v else { return None };
    let name = |v: &'v Value| match v {
        Value::Pair(p) => &*p.key,
        _ => "",
    };
    let at = match l.elem {
        Elem::Pairs => l.items.binary_search_by(|item| name(item).cmp(key)).ok(),
        _ => l.items.iter().position(|item| name(item) == key),
    };
    match l.items.get(at?) {
        Some(Value::Pair(p)) => Some(&p.value),
        _ => None,
    }
}

/// What a look-up costs: a hash in the order of a JSON text is searched from its beginning.
pub fn look_cost(v: &Value) -> usize {
    match v {
        Value::List(l) if l.elem == Elem::Pair => l.items.len() / 8,
        _ => 0,
    }
}

/// What it costs to go through a value.
#[inline(never)]
pub fn cost(v: &Value) -> usize {
    match v {
        Value::List(l) => l.items.len() / 8,
        _ => v.as_bytes().map_or(0, |b| b.len() / 64),
    }
}

/// Why something cannot be: what `v` is, what is wrong with it, and with what.
#[inline(never)]
fn cannot(v: &Value, what: &str, with: &str) -> String {
    [class(v), what, with].concat()
}

/// A place counted from the end if it is below 0, of so many.
#[inline(never)]
fn place(n: i64, len: usize) -> usize {
    let n = if n < 0 { n.saturating_add_unsigned(len as u64) } else { n };
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// `X[Y]`.
///
/// # Errors
/// X has no such thing, or Y is none for X.
#[inline(never)]
pub fn index(v: &Value, by: &Value) -> Answer {
    let found = match (v, by) {
        (Value::List(_), _) if is_hash(v) => by.as_str().and_then(|key| look(v, key)).cloned(),
        (Value::List(l), Value::Int(n)) => l.items.get(place(*n, l.items.len())).cloned(),
        (Value::Str(s), Value::Int(n)) => {
            let len = if *n < 0 { s.chars().count() } else { 0 };
            let (at, mut found) = (place(*n, len), None);
            for (i, c) in s.chars().enumerate() {
                if i == at {
                    found = Some(Value::str(c.encode_utf8(&mut [0; 4])));
                    break;
                }
            }
            found
        }
        (Value::Str(s), Value::Str(part)) => find(s, part, 0).map(|_| by.clone()),
        (Value::List(_) | Value::Str(_), _) => return Err(cannot(v, " cannot be indexed with ", class(by))),
        _ => return Err(cannot(v, " has no []", "")),
    };
    Ok(found.unwrap_or(Value::Nil))
}

/// `X == Y` and its like, by the operator's first character.
///
/// # Errors
/// They have no order.
#[inline(never)]
pub fn operator(op: u8, a: &Value, b: &Value) -> Result<bool, String> {
    if matches!(op, b'=' | b'!') {
        return Ok(equal(a, b) == (op == b'='));
    }
    match compare(a, b).filter(|_| matches!(a, Value::Int(_) | Value::Float(_) | Value::Str(_))) {
        Some(order) => Ok(if op == b'<' { order.is_lt() } else { order.is_gt() }),
        None => Err(cannot(a, " cannot be compared with ", class(b))),
    }
}

/// Calls a method.
///
/// # Errors
/// The value has none of this name, or the argument is none for it; naming both.
pub fn call(m: &Method, v: &Value, args: &[Value]) -> Answer {
    match (m.is, v) {
        (Is::Nil, _) => Ok(Value::Bool(matches!(v, Value::Nil))),
        (Is::ToS, Value::Str(_) | Value::Bytes(_)) | (Is::ToI, Value::Int(_)) => Ok(v.clone()),
        (Is::ToS, _) => {
            let mut out = Vec::new();
            to_s(&mut out, v);
            string(out)
        }
        (Is::ToI, Value::Nil) => Ok(Value::Int(0)),
        // Saturating: beyond 64 bits lies no port and no weight.
        (Is::ToI, Value::Float(f)) => Ok(Value::Int(*f as i64)),
        (Is::ToI, Value::Str(s)) => to_i(s),
        (_, Value::Str(s)) => on_string(m, s, args),
        (_, Value::List(list)) => on_list(m, v, &list.items, args),
        _ => Err(cannot(v, " has no method ", m.name)),
    }
}

fn number(n: usize) -> Value {
    Value::Int(n as i64)
}

/// Methods of arrays and hashes.
#[inline(never)]
fn on_list(m: &Method, v: &Value, items: &[Value], args: &[Value]) -> Answer {
    let first = args.first().unwrap_or(&Value::Nil);
    Ok(match (m.is, is_hash(v)) {
        (Is::Size, _) => number(items.len()),
        (Is::Empty, _) => Value::Bool(items.is_empty()),
        (Is::First, _) => items.first().map_or(Value::Nil, element),
        (Is::Last, false) => items.last().cloned().unwrap_or(Value::Nil),
        (Is::Include, true) => Value::Bool(first.as_str().is_some_and(|k| look(v, k).is_some())),
        (Is::Include, false) => Value::Bool(items.iter().any(|i| equal(i, first))),
        (Is::Join, false) => {
            let by = if args.is_empty() { "" } else { text(m, first)? };
            let mut out = Vec::new();
            join(&mut out, items, by)?;
            return string(out);
        }
        (Is::Keys | Is::Values, true) | (Is::Sort | Is::Uniq, _) | (Is::Reverse, false) => {
            let mut all = Vec::new();
            for item in items {
                all.push(match m.is {
                    Is::Keys => halves(item).0,
                    Is::Values => halves(item).1,
                    _ => element(item),
                });
            }
            match m.is {
                Is::Reverse => all.reverse(),
                Is::Uniq => all = uniq(&all),
                Is::Sort => sort(&mut all)?,
                _ => {}
            }
            Value::list(all)
        }
        _ => return Err(cannot(v, " has no method ", m.name)),
    })
}

fn sort(all: &mut [Value]) -> Result<(), String> {
    funcs::sort(all, order);
    let mut last: Option<&Value> = None;
    for v in all.iter() {
        if let Some(last) = last
            && compare(last, v).is_none()
        {
            return Err(cannot(last, " cannot be sorted with ", class(v)));
        }
        last = Some(v);
    }
    Ok(())
}

/// An argument that must be a string.
#[inline(never)]
fn text<'v>(m: &Method, arg: &'v Value) -> Result<&'v str, String> {
    arg.as_str().ok_or_else(|| [m.name, " takes a string, not ", class(arg)].concat())
}

/// A string of these bytes.
///
/// # Errors
/// They are none of UTF-8.
#[inline(never)]
pub fn string(bytes: Vec<u8>) -> Answer {
    check(bytes.len())?;
    match String::from_utf8(bytes) {
        Ok(s) => Ok(Value::Str(Arc::from(s))),
        Err(_) => Err(String::from("a value that is no UTF-8 text cannot be part of a string")),
    }
}

/// Where a text comes next.
#[inline(never)]
pub fn find(s: &str, what: &str, from: usize) -> Option<usize> {
    s.get(from..)?.find(what).map(|at| at + from)
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t'..=b'\r')
}

/// Without what `is_out` says at both ends.
fn trimmed(s: &str, is_out: fn(u8) -> bool) -> &str {
    let mut bytes = s.as_bytes();
    while let [first, rest @ ..] = bytes
        && is_out(*first)
    {
        bytes = rest;
    }
    let start = s.len() - bytes.len();
    while let [rest @ .., last] = bytes
        && is_out(*last)
    {
        bytes = rest;
    }
    s.get(start..start + bytes.len()).unwrap_or("")
}

#[inline(never)]
fn on_string(m: &Method, s: &str, args: &[Value]) -> Answer {
    let arg = args.first().unwrap_or(&Value::Nil);
    let made = match m.is {
        Is::Size => return Ok(number(s.chars().count())),
        Is::Empty => return Ok(Value::Bool(s.is_empty())),
        Is::StartWith => return Ok(Value::Bool(s.starts_with(text(m, arg)?))),
        Is::EndWith => return Ok(Value::Bool(s.ends_with(text(m, arg)?))),
        Is::Include => return Ok(Value::Bool(find(s, text(m, arg)?, 0).is_some())),
        Is::Split => return Ok(split(s, if args.is_empty() { " " } else { text(m, arg)? })),
        Is::Strip => return Ok(Value::str(trimmed(s, |b| b == 0 || is_space(b)))),
        Is::Reverse => s.chars().rev().collect(),
        Is::Upcase => case::upper(s),
        Is::Downcase => case::lower(s),
        Is::Sub | Is::Gsub => {
            let new = text(m, args.get(1).unwrap_or(&Value::Nil))?;
            replace(s, text(m, arg)?, new, m.is == Is::Gsub)?
        }
        _ => return Err(["a string has no method ", m.name].concat()),
    };
    string(made.into_bytes())
}

/// A space stands for any white space; nothing, for each character. Empty parts at the end are left out.
#[inline(never)]
fn split(s: &str, by: &str) -> Value {
    let mut parts = Vec::new();
    let mut rest = s;
    let is_blank = by == " ";
    loop {
        if is_blank {
            rest = trimmed(rest, is_space);
        }
        let (end, next) = match by {
            "" => {
                let len = rest.chars().next().map_or(0, char::len_utf8);
                (len, len)
            }
            " " => {
                let len = rest.bytes().position(is_space).unwrap_or(rest.len());
                (len, len)
            }
            _ => find(rest, by, 0).map_or((rest.len(), rest.len()), |at| (at, at + by.len())),
        };
        parts.push(Value::str(rest.get(..end).unwrap_or("")));
        if end == rest.len() {
            break;
        }
        rest = rest.get(next..).unwrap_or("");
    }
    while parts.last().is_some_and(|p| p.as_str() == Some("")) {
        parts.pop();
    }
    Value::list(parts)
}

/// `sub` and `gsub` with strings: `\0`, `\&`, `` \` ``, `\'` and `\\` mean something in the new text.
#[inline(never)]
fn replace(s: &str, old: &str, new: &str, all: bool) -> Result<String, String> {
    let mut out = String::new();
    let (mut done, mut from) = (0, 0);
    let part = |from: usize, to: usize| s.get(from..to).unwrap_or("");
    while let Some(at) = find(s, old, from) {
        out.push_str(part(done, at));
        done = at + old.len();
        let mut chars = new.chars();
        while let Some(c) = chars.next() {
            match (c, chars.clone().next()) {
                ('\\', Some('0' | '&')) => out.push_str(old),
                ('\\', Some('1'..='9')) => {}
                ('\\', Some('`')) => out.push_str(part(0, at)),
                ('\\', Some('\'')) => out.push_str(part(done, s.len())),
                ('\\', Some('\\')) => out.push('\\'),
                _ => {
                    out.push(c);
                    continue;
                }
            }
            chars.next();
        }
        check(out.len())?;
        // Nothing is found between all characters.
        from = done;
        if old.is_empty() {
            from += part(at, s.len()).chars().next().map_or(1, char::len_utf8);
        }
        if !all {
            break;
        }
    }
    out.push_str(part(done, s.len()));
    Ok(out)
}

fn check(n: usize) -> Result<(), String> {
    if n > MOST_BYTES { Err(String::from("the string would have more than 64 MiB")) } else { Ok(()) }
}

/// `"12 apples".to_i` is 12.
#[inline(never)]
fn to_i(s: &str) -> Answer {
    let mut s = s.as_bytes();
    while let [b, rest @ ..] = s
        && is_space(*b)
    {
        s = rest;
    }
    let sign = if s.first() == Some(&b'-') { -1 } else { 1 };
    if let [b'-' | b'+', rest @ ..] = s {
        s = rest;
    }
    if let [b'0', b'd' | b'D', rest @ ..] = s
        && rest.first().is_some_and(u8::is_ascii_digit)
    {
        s = rest;
    }
    let (mut n, mut after_digit) = (0i64, false);
    for b in s {
        match b {
            b'0'..=b'9' => {
                let next = n.checked_mul(10).and_then(|n| n.checked_add(sign * i64::from(b - b'0')));
                n = next.ok_or("the number has more than 64 bits")?;
                after_digit = true;
            }
            b'_' if after_digit => after_digit = false,
            _ => break,
        }
    }
    Ok(Value::Int(n))
}

/// Arrays in arrays are joined the same way.
fn join(out: &mut Vec<u8>, items: &[Value], by: &str) -> Result<(), String> {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            put(out, by.as_bytes());
        }
        match item.as_list() {
            Some(inner) if !is_hash(item) => join(out, inner, by)?,
            _ => to_s(out, item),
        }
        check(out.len())?;
    }
    Ok(())
}

/// Each value once, in the order of the first.
#[inline(never)]
fn uniq(all: &[Value]) -> Vec<Value> {
    let mut sorted = all.to_vec();
    funcs::sort(&mut sorted, order);
    let mut seen = vec![false; sorted.len()];
    let mut once = Vec::new();
    for v in all {
        let at = sorted.partition_point(|s| order(s, v).is_lt());
        if let Some(seen) = seen.get_mut(at)
            && !std::mem::replace(seen, true)
        {
            once.push(v.clone());
        }
    }
    once
}

/// `<=>` where Ruby has an answer.
pub fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Nil, Value::Nil) => Some(Ordering::Equal),
        (Value::Bool(a), Value::Bool(b)) => (a == b).then_some(Ordering::Equal),
        (Value::List(x), Value::List(y)) if !is_hash(a) && !is_hash(b) => {
            for (a, b) in x.items.iter().zip(&y.items) {
                match compare(a, b)? {
                    Ordering::Equal => {}
                    other => return Some(other),
                }
            }
            Some(x.items.len().cmp(&y.items.len()))
        }
        _ if rank(a) == rank(b) && rank(a) < 5 => Some(order(a, b)),
        _ => None,
    }
}

fn rank(v: &Value) -> u8 {
    match v {
        Value::Nil => 0,
        Value::Bool(_) => 1,
        Value::Int(_) | Value::Float(_) => 2,
        Value::Str(_) => 3,
        Value::Bytes(_) => 4,
        Value::Pair(_) => 5,
        _ => 6,
    }
}

/// A total order of all values, whatever they are, for the sort.
fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (Value::Int(a), Value::Float(b)) => mixed(*a, *b),
        (Value::Float(a), Value::Int(b)) => mixed(*b, *a).reverse(),
        (Value::Pair(a), Value::Pair(b)) => a.key.cmp(&b.key).then_with(|| order(&a.value, &b.value)),
        (Value::List(a), Value::List(b)) => {
            let both = a.items.iter().zip(&b.items);
            let first = both.map(|(a, b)| order(a, b)).find(|o| o.is_ne());
            first.unwrap_or(a.items.len().cmp(&b.items.len()))
        }
        _ => a.as_bytes().cmp(&b.as_bytes()).then(rank(a).cmp(&rank(b))),
    }
}

/// Exactly, as the order must be one.
fn mixed(a: i64, b: f64) -> Ordering {
    const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;
    if b >= TOO_LARGE {
        return Ordering::Less;
    }
    if b < -TOO_LARGE {
        return Ordering::Greater;
    }
    let whole = b.trunc();
    a.cmp(&(whole as i64)).then(whole.partial_cmp(&b).unwrap_or(Ordering::Equal))
}

/// `==`.
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::List(x), Value::List(y)) => {
            let is_same = is_hash(a) == is_hash(b) && x.items.len() == y.items.len();
            is_same
                && if is_hash(a) {
                    let mut pairs = x.items.iter().map(halves);
                    pairs.all(|(k, v)| k.as_str().and_then(|k| look(b, k)).is_some_and(|w| equal(&v, w)))
                } else {
                    x.items.iter().zip(&y.items).all(|(a, b)| equal(a, b))
                }
        }
        _ => compare(a, b) == Some(Ordering::Equal),
    }
}

/// Appends a value as `<%= %>` prints it.
pub fn to_s(out: &mut Vec<u8>, v: &Value) {
    match v {
        Value::Nil => {}
        Value::Str(_) | Value::Bytes(_) => put(out, v.as_bytes().unwrap_or(&[])),
        _ => inspect(out, v),
    }
}

/// Appends a value as Ruby shows it inside of an array.
fn inspect(out: &mut Vec<u8>, v: &Value) {
    match v {
        Value::Nil => put(out, b"nil"),
        Value::Bool(b) => put(out, if *b { b"true" } else { b"false" }),
        Value::Int(n) => put(out, n.to_string().as_bytes()),
        Value::Float(f) => put(out, of_float(*f).as_bytes()),
        Value::List(l) => {
            let (open, close) = if is_hash(v) { (b'{', b'}') } else { (b'[', b']') };
            out.push(open);
            for (i, item) in l.items.iter().enumerate() {
                put(out, if i > 0 { b", " } else { b"" });
                inspect(out, item);
            }
            out.push(close);
        }
        Value::Pair(p) => {
            quoted(out, p.key.as_bytes(), false);
            put(out, b"=>");
            inspect(out, &p.value);
        }
        _ => quoted(out, v.as_bytes().unwrap_or(&[]), false),
    }
}

/// Ruby writes a whole number as `1.0`, and exponents from 16 digits in front of the point on.
fn of_float(f: f64) -> String {
    let size = f.abs();
    if f == 0.0 || (1e-4..1e15).contains(&size) {
        let text = float::fmt_float(f, b'f', None);
        return if text.contains('.') { text } else { text + ".0" };
    }
    let text = float::fmt_float(f, b'e', None);
    if text.contains('.') { text } else { text.replace('e', ".0e") }
}

/// A string in double quotes, as JSON has it or as Ruby does.
fn quoted(out: &mut Vec<u8>, text: &[u8], is_json: bool) {
    out.push(b'"');
    let mut at = 0;
    while let Some((c, size)) = text.get(at..).and_then(decode) {
        let bytes = text.get(at..at + size).unwrap_or(&[]);
        at += size;
        let short = match c {
            '"' | '\\' => c,
            '\n' => 'n',
            '\t' => 't',
            '\r' => 'r',
            '\x08' => 'b',
            '\x0c' => 'f',
            '\x07' if !is_json => 'a',
            '\x0b' if !is_json => 'v',
            '\x1b' if !is_json => 'e',
            '#' if !is_json && matches!(text.get(at), Some(b'{' | b'@' | b'$')) => '#',
            '\0'..='\x1f' | '\x7f' if !(is_json && c == '\x7f') => {
                put(out, b"\\u");
                hex(out, u32::from(c), 4, !is_json);
                continue;
            }
            _ => {
                put(out, bytes);
                continue;
            }
        };
        out.push(b'\\');
        out.push(short as u8);
    }
    out.push(b'"');
}

/// Appends a value as `JSON.pretty_generate` has it, at this level.
///
/// # Errors
/// A value that is no text.
pub fn pretty(out: &mut Vec<u8>, v: &Value, level: usize) -> Result<(), String> {
    match v {
        Value::Nil => put(out, b"null"),
        Value::List(l) => {
            let (open, close) = if is_hash(v) { (b'{', b'}') } else { (b'[', b']') };
            out.push(open);
            for (i, item) in l.items.iter().enumerate() {
                put(out, if i > 0 { b",\n" } else { b"\n" });
                indent(out, level + 1);
                if let Value::Pair(p) = item {
                    quoted(out, p.key.as_bytes(), true);
                    put(out, b": ");
                    pretty(out, &p.value, level + 1)?;
                } else {
                    pretty(out, item, level + 1)?;
                }
                check(out.len())?;
            }
            // An empty hash is `{`, a new line, `}`; an empty array has an empty line in it.
            put(out, if l.items.is_empty() && !is_hash(v) { b"\n\n" } else { b"\n" });
            indent(out, level);
            out.push(close);
        }
        Value::Str(s) => quoted(out, s.as_bytes(), true),
        Value::Bytes(b) => return Err(["the value of ", &b.key, " is not UTF-8 text"].concat()),
        _ => inspect(out, v),
    }
    Ok(())
}

fn indent(out: &mut Vec<u8>, level: usize) {
    out.resize(out.len() + level * 2, b' ');
}
