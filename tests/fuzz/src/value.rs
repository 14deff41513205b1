//! Values compared: ours with ours, and with serde_json's.

use pilotfish::value::Value;
use serde_json::Value as Json;

/// Whether both are the same, numbers by their bits.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Nil, Value::Nil) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
        (Value::Int(a), Value::Float(b)) | (Value::Float(b), Value::Int(a)) => *a as f64 == *b,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            a.items.len() == b.items.len() && a.items.iter().zip(&b.items).all(|(a, b)| same(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|((k, a), (l, b))| k == l && same(a, b))
        }
        _ => false,
    }
}

/// Whether serde_json read the same.
pub fn same_json(ours: &Value, theirs: &Json) -> bool {
    match (ours, theirs) {
        (Value::Nil, Json::Null) => true,
        (Value::Bool(a), Json::Bool(b)) => a == b,
        (Value::Float(a), Json::Number(b)) => b.as_f64().is_some_and(|b| *a == b),
        (Value::Str(a), Json::String(b)) => **a == **b,
        (Value::List(a), Json::Array(b)) => {
            a.items.len() == b.len() && a.items.iter().zip(b).all(|(a, b)| same_json(a, b))
        }
        (Value::Map(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|b| same_json(v, b)))
        }
        _ => false,
    }
}
