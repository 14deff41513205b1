//! The functions over lists, maps and JSON.

use super::{MOST_ITEMS, check_bytes, check_items, fail, int_arg, sort, text_arg};
use crate::error::{Error, Result};
use crate::formats::json;
use crate::map::Map;
use crate::sys::meter;
use crate::template::Context;
use crate::template::go::fmt::type_name;
use crate::value::{Elem, List, Value};
use std::sync::Arc;

/// Lists and maps that functions build nest no deeper: printing and freeing them walks down.
const DEEPEST: usize = 100;

/// Whether lists and maps nest deeper than `left` levels in it.
pub fn deeper_than(v: &Value, left: usize) -> bool {
    match v {
        Value::List(l) => left == 0 || l.items.iter().any(|e| deeper_than(e, left - 1)),
        Value::Map(m) => left == 0 || m.values().any(|e| deeper_than(e, left - 1)),
        _ => false,
    }
}

/// Counts what is in a value, each time it is there: parts may be shared, and everything that walks them walks each
/// again. False past a limit.
fn weigh(v: &Value, depth: usize, count: &mut usize) -> bool {
    *count += 1;
    if *count > MOST_ITEMS {
        return false;
    }
    match v {
        Value::List(l) => depth < DEEPEST && l.items.iter().all(|e| weigh(e, depth + 1, count)),
        Value::Map(m) => depth < DEEPEST && m.values().all(|e| weigh(e, depth + 1, count)),
        _ => true,
    }
}

fn built(v: Value) -> Result<Value> {
    let mut count = 0;
    let is_small = weigh(&v, 0, &mut count);
    meter::charge(count / 4);
    match is_small {
        true => Ok(v),
        false if count > MOST_ITEMS => {
            fail("the list would have more than 1,000,000 elements, also those inside it", &[])
        }
        false => fail("lists and maps nest deeper than 100 levels", &[]),
    }
}

/// A map from keys and values in turn.
pub fn map(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    if !args.len().is_multiple_of(2) {
        return fail("invalid map call", &[]);
    }
    let mut map = Map::new();
    for pair in args.chunks(2) {
        let [Value::Str(key), value] = pair else {
            return fail("map keys must be strings", &[]);
        };
        map.insert(key.to_string(), value.clone());
    }
    built(Value::map(map))
}

/// The arguments as a list.
pub fn list(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    built(Value::list(args.to_vec()))
}

fn list_arg(args: &[Value]) -> Option<&Arc<List>> {
    match args.first() {
        Some(Value::List(l)) => Some(l),
        _ => None,
    }
}

/// A list with one element more.
pub fn append(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    let mut items = list_arg(args).map_or_else(Vec::new, |l| l.items.clone());
    check_items(items.len() + 1)?;
    items.extend(args.get(1).cloned());
    built(Value::list(items))
}

fn map_arg(args: &[Value]) -> Option<&Map> {
    args.first().and_then(Value::as_map)
}

/// Whether a map has a key.
pub fn has_key(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    Ok(Value::Bool(map_arg(args).is_some_and(|m| m.contains_key(text_arg(args, 1)))))
}

/// The keys of a map, sorted, or its values in the order of the keys.
pub fn entries(_: &Context, args: &[Value], op: u8) -> Result<Value> {
    let is_keys = op == b'k';
    let mut items = Vec::new();
    for (key, value) in map_arg(args).into_iter().flatten() {
        items.push(if is_keys { Value::str(key) } else { value.clone() });
    }
    Ok(Value::typed_list(if is_keys { Elem::Str } else { Elem::Any }, items))
}

/// The integers from the first argument to the second, both included.
pub fn seq(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    let (from, to) = (int_arg(args, 0), int_arg(args, 1));
    if from <= to {
        let count = to.abs_diff(from);
        check_items(usize::try_from(count).unwrap_or(MOST_ITEMS).saturating_add(1))?;
    }
    Ok(Value::typed_list(Elem::Int, (from..=to).map(Value::Int).collect()))
}

/// Any list in reversed order; anything else as it is.
pub fn reversed(v: &Value) -> Value {
    match v {
        Value::List(l) => Value::typed_list(l.elem, l.items.iter().rev().cloned().collect()),
        _ => v.clone(),
    }
}

/// confd's `reverse`: it turns lists of strings and of pairs round and gives anything else back as it is, also
/// what comes straight from `gets` (whose Go type it does not know).
pub fn reverse(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    let v = args.first().unwrap_or(&Value::Nil);
    match v {
        Value::List(l) if matches!(l.elem, Elem::Str | Elem::Pair) => Ok(reversed(v)),
        _ => Ok(v.clone()),
    }
}

/// Strings by their length in bytes, or pairs by the length of their keys.
pub fn sort_by_length(_: &Context, args: &[Value], op: u8) -> Result<Value> {
    let mut items = list_arg(args).map_or_else(Vec::new, |l| l.items.clone());
    if op == b'L' && !items.iter().all(|v| matches!(v, Value::Pair(_))) {
        let got = args.first().map_or("", type_name);
        return fail("wrong type for value; expected []memkv.KVPair; got %", &[got]);
    }
    fn length(v: &Value) -> usize {
        match v {
            Value::Pair(p) => p.key.len(),
            _ => v.as_bytes().map_or(0, <[u8]>::len),
        }
    }
    sort(&mut items, |a, b| length(a).cmp(&length(b)));
    Ok(Value::typed_list(if op == b'L' { Elem::Pair } else { Elem::Str }, items))
}

/// Any JSON, or what must be an object or an array.
pub fn from_json(_: &Context, args: &[Value], op: u8) -> Result<Value> {
    let v = json::parse(text_arg(args, 0)).map_err(Error::config)?;
    let what = match (op, &v) {
        (b'a', _) | (b'M', Value::Map(_)) | (b'L', Value::List(_)) => return Ok(v),
        (b'M', Value::Nil) => return Ok(Value::map(Map::new())),
        (_, Value::Nil) => return Ok(Value::list(Vec::new())),
        (_, Value::Map(_)) => "object",
        (_, Value::List(_)) => "array",
        (_, Value::Str(_)) => "string",
        (_, Value::Float(_)) => "number",
        _ => "bool",
    };
    let into = if op == b'M' { "map[string]interface {}" } else { "[]interface {}" };
    fail("json: cannot unmarshal % into Go value of type %", &[what, into])
}

/// JSON on one line, or with two spaces a level.
pub fn to_json(_: &Context, args: &[Value], op: u8) -> Result<Value> {
    let mut out = Vec::new();
    let indent = (op == b'n').then_some(0);
    json::write(&mut out, args.first().unwrap_or(&Value::Nil), indent).map_err(Error::config)?;
    check_bytes(out.len())?;
    Ok(Value::from_bytes(&Arc::from(""), &out))
}
