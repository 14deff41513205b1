//! Whether arguments fit a function's signature, and what makes them fit: a language without types knows no list of
//! texts, and a number out of a JSON text is always a fraction. It calls no function and prints nothing.

use crate::template::funcs::{self, Func};
use crate::text::fill;
use crate::value::{Elem, Value};

/// Why a value cannot be used as text, for the key it came from.
pub const NOT_TEXT: &str = "the value of % is not UTF-8 text: use base64Encode";

/// The element type that fits a list's elements.
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
        if let Value::List(l) = &*arg
            && elements(&l.items) != l.elem
        {
            *arg = Value::typed_list(elements(&l.items), l.items.clone());
        }
        let param = funcs::param(callee, i);
        let parts = match (param, &*arg) {
            (b's', arg) => std::slice::from_ref(arg),
            (b'S', Value::List(l)) => &l.items,
            _ => &[],
        };
        for part in parts {
            if let Value::Bytes(b) = part {
                return Err(fill("%: %", &[callee.name, &fill(NOT_TEXT, &[&b.key])]));
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
