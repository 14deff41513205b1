//! Values on their way into upon and back, and whether arguments fit a function's signature. It decides how each
//! kind of value looks to a template; it calls no function and prints nothing.
//!
//! upon knows no bytes, times, pairs and element types. A value that is no text, or a time, travels as a map that
//! only this file can read, so it may be handed to a function that takes it; a pair is a map with the fields `key`,
//! `value`, `Key` and `Value`; element types are found again from the elements.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use ::upon::Value as Theirs;

use crate::map::Map;
use crate::template::Context;
use crate::template::funcs::{self, Func};
use crate::text::fill;
use crate::value::{Elem, Pair, Value};

/// Deepest value that goes through.
const DEPTH: usize = 100;
/// The fields of what travels closed. upon's literals have no escape for NUL, so no template can make such a map; one
/// that comes out of a JSON text can at most stand for another value of the same render.
const NUMBER: &str = "\0";
const KEY: &str = "\0key";
const SHOWN: &str = "\0shown";

/// One render's values that travel closed, by number, and what shows times.
pub struct Closed<'a> {
    values: RefCell<Vec<Value>>,
    ctx: &'a Context<'a>,
}

impl<'a> Closed<'a> {
    /// None yet.
    pub fn new(ctx: &'a Context<'a>) -> Closed<'a> {
        Closed { values: RefCell::new(Vec::new()), ctx }
    }
    fn close(&self, value: &Value, field: &str, shown: &str) -> Theirs {
        let mut values = self.values.borrow_mut();
        let mut map = BTreeMap::new();
        put(&mut map, field, Theirs::String(shown.to_string()));
        put(&mut map, NUMBER, Theirs::Integer(i64::try_from(values.len()).unwrap_or(i64::MAX)));
        values.push(value.clone());
        Theirs::Map(map)
    }
}

#[inline(never)]
fn put(map: &mut BTreeMap<String, Theirs>, key: &str, value: Theirs) {
    map.insert(key.to_string(), value);
}

/// Why a value cannot be used as text, for the key it came from.
pub fn not_text(key: &str) -> String {
    fill("the value of % is not UTF-8 text: use base64Encode", &[key])
}

/// What to print for a value that travels closed, or the key of one that is no text.
pub fn shown(value: &Theirs) -> Option<Result<&str, &str>> {
    match value {
        Theirs::Map(m) if m.contains_key(NUMBER) => match (m.get(SHOWN), m.get(KEY)) {
            (Some(Theirs::String(text)), _) => Some(Ok(text)),
            (_, Some(Theirs::String(key))) => Some(Err(key)),
            _ => None,
        },
        _ => None,
    }
}

/// Into upon. `None`: nested more than 100 deep.
pub fn into_upon(value: &Value, closed: &Closed, depth: usize) -> Option<Theirs> {
    let deeper = depth + 1;
    if depth > DEPTH {
        return None;
    }
    Some(match value {
        Value::Nil => Theirs::None,
        Value::Bool(b) => Theirs::Bool(*b),
        Value::Int(n) => Theirs::Integer(*n),
        Value::Float(f) => Theirs::Float(*f),
        Value::Str(s) => Theirs::String(s.to_string()),
        Value::Bytes(b) => closed.close(value, KEY, &b.key),
        Value::Time(_) | Value::Named(..) => {
            let text = funcs::find("print").and_then(|f| (f.call)(closed.ctx, std::slice::from_ref(value), f.op).ok());
            closed.close(value, SHOWN, text.as_ref().and_then(Value::as_str).unwrap_or(""))
        }
        Value::List(l) => {
            let mut list = Vec::with_capacity(l.items.len());
            for item in &l.items {
                list.push(into_upon(item, closed, deeper)?);
            }
            Theirs::List(list)
        }
        Value::Map(m) => {
            let mut map = BTreeMap::new();
            for (key, item) in m.iter() {
                put(&mut map, key, into_upon(item, closed, deeper)?);
            }
            Theirs::Map(map)
        }
        Value::Pair(p) => {
            let item = into_upon(&p.value, closed, deeper)?;
            let mut map = BTreeMap::new();
            for (key, value) in [("Key", "Value"), ("key", "value")] {
                put(&mut map, key, Theirs::String(p.key.to_string()));
                put(&mut map, value, item.clone());
            }
            Theirs::Map(map)
        }
    })
}

/// Out of upon. `None`: nested more than 100 deep.
pub fn from_upon(value: &Theirs, closed: &Closed, depth: usize) -> Option<Value> {
    let deeper = depth + 1;
    if depth > DEPTH {
        return None;
    }
    Some(match value {
        Theirs::None => Value::Nil,
        Theirs::Bool(b) => Value::Bool(*b),
        Theirs::Integer(n) => Value::Int(*n),
        Theirs::Float(f) => Value::Float(*f),
        Theirs::String(s) => Value::str(s),
        Theirs::List(list) => {
            let mut items = Vec::with_capacity(list.len());
            for item in list {
                items.push(from_upon(item, closed, deeper)?);
            }
            Value::typed_list(elements(&items), items)
        }
        Theirs::Map(map) => {
            if let Some(Theirs::Integer(n)) = map.get(NUMBER)
                && let Some(value) = usize::try_from(*n).ok().and_then(|n| closed.values.borrow().get(n).cloned())
            {
                return Some(value);
            }
            if map.len() == 4
                && map.contains_key("key")
                && map.contains_key("value")
                && let Some(Theirs::String(key)) = map.get("Key")
                && let Some(item) = map.get("Value")
            {
                let value = from_upon(item, closed, deeper)?;
                return Some(Value::Pair(Arc::new(Pair { key: Arc::from(key.as_str()), value })));
            }
            let mut ours = Map::new();
            for (key, item) in map {
                ours.insert(key.clone(), from_upon(item, closed, deeper)?);
            }
            Value::map(ours)
        }
    })
}

/// The element type a list must have had.
fn elements(items: &[Value]) -> Elem {
    let kind = |v: &Value| match v {
        Value::Str(_) => Elem::Str,
        Value::Int(_) => Elem::Int,
        Value::Pair(_) => Elem::Pair,
        _ => Elem::Any,
    };
    let Some(first) = items.first().map(kind) else { return Elem::Any };
    if items.iter().all(|v| kind(v) == first) { first } else { Elem::Any }
}

/// Makes `args` fit the signature of `callee`, or says which one does not.
///
/// # Errors
/// The sentence to show.
pub fn fit(callee: &Func, args: &mut [Value]) -> Result<(), String> {
    // A number out of a JSON text is a float, one in a template mostly is not: they compare as floats.
    let is_comparison = matches!(callee.name, "eq" | "ne" | "lt" | "le" | "gt" | "ge");
    if is_comparison && args.iter().any(|v| matches!(v, Value::Float(_))) {
        for arg in args.iter_mut() {
            if let Value::Int(n) = *arg {
                *arg = Value::Float(n as f64);
            }
        }
    }
    for (i, arg) in args.iter_mut().enumerate() {
        let param = funcs::param(callee, i);
        let parts = match (param, &*arg) {
            (b's', arg) => std::slice::from_ref(arg),
            (b'S', Value::List(l)) => &l.items,
            _ => &[],
        };
        for part in parts {
            if let Value::Bytes(b) = part {
                return Err(fill("%: %", &[callee.name, &not_text(&b.key)]));
            }
        }
        if funcs::fits(param, arg) {
            continue;
        }
        let want = match (param, &*arg) {
            // Every number of a JSON text is a float.
            (b'i', Value::Float(f)) if whole(*f).is_some() => {
                *arg = Value::Int(whole(*f).unwrap_or(0));
                continue;
            }
            (b'f', Value::Int(n)) => {
                *arg = Value::Float(*n as f64);
                continue;
            }
            (b'S', Value::List(l)) if l.items.iter().all(|v| v.as_str().is_some()) => {
                if l.elem != Elem::Str {
                    *arg = Value::typed_list(Elem::Str, l.items.clone());
                }
                continue;
            }
            (b't', _) => "a time",
            (b's', _) => "text",
            (b'i', _) => "a whole number",
            (b'f', _) => "a number",
            (b'b', _) => "true or false",
            (b'S', _) => "a list of texts",
            (b'L', _) => "a list",
            _ => "a map",
        };
        let number = (i + 1).to_string();
        return Err(fill("%: argument % must be %, not %", &[callee.name, &number, want, human(arg)]));
    }
    Ok(())
}

/// The integer a float is, when it is one exactly.
fn whole(f: f64) -> Option<i64> {
    let n = f as i64;
    (n as f64 == f && f.abs() < 9.0e15).then_some(n)
}

fn human(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Int(_) | Value::Float(_) => "a number",
        Value::Str(_) => "text",
        Value::Bytes(_) => "bytes",
        Value::List(l) if l.elem == Elem::Str => "a list of texts",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
        Value::Pair(_) => "a key with its value",
        Value::Time(_) => "a time",
        Value::Named(..) => "a month or a day of the week",
    }
}
