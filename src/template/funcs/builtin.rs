//! Go's own functions over values: truth, comparison, index, slice, len; and the fork's that choose by emptiness.

use super::{check_bytes, fail};
use crate::error::Result;
use crate::template::Context;
use crate::template::go::fmt::type_name;
use crate::value::{Elem, Value};
use std::cmp::Ordering;
use std::sync::Arc;

/// Go's truth: not the zero value, not empty.
pub fn truth(v: &Value) -> bool {
    match v {
        Value::Nil => false,
        Value::Bool(b) => *b,
        Value::Int(n) | Value::Named(_, n) => *n != 0,
        Value::Float(f) => *f != 0.0,
        Value::Str(_) | Value::Bytes(_) => v.as_bytes().is_some_and(|b| !b.is_empty()),
        Value::List(l) => !l.items.is_empty(),
        Value::Map(m) => !m.is_empty(),
        Value::Pair(_) | Value::Time(_) => true,
    }
}

fn arg(args: &[Value], at: usize) -> &Value {
    args.get(at).unwrap_or(&Value::Nil)
}

/// The functions that give back one of their arguments: `and` the first false one or the last, `or` the first true one
/// or the last, `coalesce` the first that is not empty or nil, `default` the second or, when that is empty, the first,
/// `ternary` the first when the third is true, else the second.
pub fn choose(_: &Context, args: &[Value], op: u8) -> Result<Value> {
    let found = match op {
        b'd' => args.get(usize::from(truth(arg(args, 1)))),
        b't' => args.get(usize::from(!truth(arg(args, 2)))),
        _ => args.iter().find(|v| truth(v) != (op == b'&')).or(args.last().filter(|_| op != b'c')),
    };
    Ok(found.cloned().unwrap_or(Value::Nil))
}

/// Whether the argument is false, which is what empty means.
pub fn not(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    Ok(Value::Bool(!truth(arg(args, 0))))
}

/// No value here is a function.
pub fn call(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    match arg(args, 0) {
        Value::Nil => fail("call of nil", &[]),
        v => fail("non-function of type %", &[type_name(v)]),
    }
}

/// The Go dialect runs this itself, for it alone has named templates.
pub fn include(_: &Context, _: &[Value], _: u8) -> Result<Value> {
    fail("include: only Go templates define templates", &[])
}

/// What can be compared: Go's basic kinds.
#[derive(PartialEq, Eq)]
enum Basic {
    Bool,
    Int,
    Float,
    Text,
    Other,
}

fn basic(v: &Value) -> Basic {
    match v {
        Value::Bool(_) => Basic::Bool,
        Value::Int(_) | Value::Named(..) => Basic::Int,
        Value::Float(_) => Basic::Float,
        Value::Str(_) | Value::Bytes(_) => Basic::Text,
        _ => Basic::Other,
    }
}

/// How two values of one basic kind stand to each other; `None` for NaN.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Int(a) | Value::Named(_, a), Value::Int(b) | Value::Named(_, b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        _ => Some(a.as_bytes().cmp(&b.as_bytes())),
    }
}

fn equal(a: &Value, b: &Value) -> Result<bool> {
    let (ka, kb) = (basic(a), basic(b));
    if ka != kb {
        if matches!(a, Value::Nil) || matches!(b, Value::Nil) {
            return Ok(false);
        }
        return fail("incompatible types for comparison", &[]);
    }
    if ka != Basic::Other {
        return Ok(order(a, b) == Some(Ordering::Equal));
    }
    match (a, b) {
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => Ok(false),
        (Value::Time(a), Value::Time(b)) => Ok(a == b),
        (Value::Pair(a), Value::Pair(b)) => Ok(a.key == b.key && a.value.as_bytes() == b.value.as_bytes()),
        (_, Value::List(_) | Value::Map(_)) => fail("non-comparable type %", &[type_name(b)]),
        _ => fail("non-comparable types %, %", &[type_name(a), type_name(b)]),
    }
}

/// Whether the first argument equals any of the others, or (`ne`) the one other.
pub fn equality(_: &Context, args: &[Value], op: u8) -> Result<Value> {
    if args.len() < 2 {
        return fail("missing argument for comparison", &[]);
    }
    let mut found = false;
    for other in args.iter().skip(1) {
        found = equal(arg(args, 0), other)?;
        if found {
            break;
        }
    }
    Ok(Value::Bool(found == (op == b'=')))
}

/// `a < b`, `a <= b`; `a > b` is not `a <= b`, as in Go (NaN is above everything), and `a >= b` is not `a < b`.
pub fn compare(_: &Context, args: &[Value], op: u8) -> Result<Value> {
    let (a, b) = (arg(args, 0), arg(args, 1));
    let (ka, kb) = (basic(a), basic(b));
    if ka == Basic::Other || kb == Basic::Other || (ka == kb && ka == Basic::Bool) {
        return fail("invalid type for comparison", &[]);
    }
    if ka != kb {
        return fail("incompatible types for comparison", &[]);
    }
    Ok(Value::Bool(match (order(a, b), op) {
        (Some(Ordering::Less), _) => matches!(op, b'<' | b'['),
        (Some(Ordering::Equal), _) => matches!(op, b'[' | b']'),
        _ => matches!(op, b'>' | b']'),
    }))
}

/// How many elements, entries or bytes.
pub fn len(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    let v = arg(args, 0);
    let n = match v {
        Value::List(l) => l.items.len(),
        Value::Map(m) => m.len(),
        Value::Str(_) | Value::Bytes(_) => v.as_bytes().map_or(0, <[u8]>::len),
        Value::Nil => return fail("len of nil pointer", &[]),
        _ => return fail("len of type %", &[type_name(v)]),
    };
    Ok(Value::Int(i64::try_from(n).unwrap_or(i64::MAX)))
}

/// An index into something of `len` elements; `len` itself passes, as in Go.
fn position(v: &Value, len: usize) -> Result<usize> {
    match v {
        Value::Int(n) | Value::Named(_, n) => match usize::try_from(*n) {
            Ok(at) if at <= len => Ok(at),
            _ => fail("index out of range: %", &[&n.to_string()]),
        },
        Value::Nil => fail("cannot index slice/array with nil", &[]),
        _ => fail("cannot index slice/array with type %", &[type_name(v)]),
    }
}

/// `index x 1 "a"` is `x[1]["a"]`.
pub fn index(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    let mut item = arg(args, 0).clone();
    if matches!(item, Value::Nil) {
        return fail("index of untyped nil", &[]);
    }
    for by in args.iter().skip(1) {
        item = match &item {
            Value::List(list) => match list.items.get(position(by, list.items.len())?) {
                Some(v) => v.clone(),
                None => return fail("reflect: slice index out of range", &[]),
            },
            Value::Str(_) | Value::Bytes(_) => {
                let b = item.as_bytes().unwrap_or(&[]);
                match b.get(position(by, b.len())?) {
                    Some(c) => Value::Int(i64::from(*c)),
                    None => return fail("reflect: string index out of range", &[]),
                }
            }
            Value::Map(map) => match by {
                Value::Str(key) => map.get(key).cloned().unwrap_or(Value::Nil),
                Value::Nil => return fail("value is nil; should be of type string", &[]),
                _ => return fail("value has type %; should be string", &[type_name(by)]),
            },
            Value::Nil => return fail("index of nil pointer", &[]),
            _ => return fail("can't index item of type %", &[type_name(&item)]),
        };
    }
    Ok(item)
}

/// `slice x 1 2` is `x[1:2]`.
pub fn slice(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    let item = arg(args, 0);
    let len = match item {
        Value::List(l) => l.items.len(),
        Value::Str(_) | Value::Bytes(_) => item.as_bytes().map_or(0, <[u8]>::len),
        Value::Nil => return fail("slice of untyped nil", &[]),
        _ => return fail("can't slice item of type %", &[type_name(item)]),
    };
    if args.len() > 4 {
        return fail("too many slice indexes: %", &[&(args.len() - 1).to_string()]);
    }
    if args.len() == 4 && item.as_bytes().is_some() {
        return fail("cannot 3-index slice a string", &[]);
    }
    let mut from = 0;
    let mut to = len;
    for (i, by) in args.iter().skip(1).enumerate() {
        let at = position(by, len)?;
        match i {
            0 => from = at,
            1 => to = at,
            _ if to > at => return bad_slice(to, at),
            _ => {}
        }
    }
    if from > to {
        return bad_slice(from, to);
    }
    check_bytes(to - from)?;
    Ok(match item {
        Value::List(l) => {
            let items = l.items.get(from..to).unwrap_or(&[]).to_vec();
            Value::typed_list(if l.elem == Elem::Pairs { Elem::Pairs } else { l.elem }, items)
        }
        _ => Value::from_bytes(&Arc::from(""), item.as_bytes().and_then(|b| b.get(from..to)).unwrap_or(&[])),
    })
}

fn bad_slice(a: usize, b: usize) -> Result<Value> {
    fail("invalid slice index: % > %", &[&a.to_string(), &b.to_string()])
}
