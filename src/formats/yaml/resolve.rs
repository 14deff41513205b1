//! What a scalar is: nothing, a truth value, a number or text, by its spelling or its tag, as Go's yaml.v2 decides it.
//! Text in, value out. An integer that does not fit 64 bits stays text: its digits are worth more than a float.

use crate::base64;
use crate::text::decimal;
use crate::value::Value;
use std::sync::Arc;

/// What a plain scalar stands for.
pub(super) fn plain(text: &str) -> Value {
    let Some(first) = text.as_bytes().first() else { return Value::Nil };
    if among("~ null Null NULL", text) {
        return Value::Nil;
    }
    if among("y Y yes Yes YES true True TRUE on On ON", text) {
        return Value::Bool(true);
    }
    if among("n N no No NO false False FALSE off Off OFF", text) {
        return Value::Bool(false);
    }
    let found = match first {
        b'0'..=b'9' | b'+' | b'-' | b'.' => number(text),
        _ => None,
    };
    found.unwrap_or_else(|| Value::str(text))
}

/// Whether `text` is one of these words.
#[inline(never)]
fn among(words: &str, text: &str) -> bool {
    words.split(' ').any(|word| word == text)
}

/// What a scalar with a tag stands for. `None`: the tag is unknown, or says something else.
pub(super) fn tagged(tag: &str, text: &str) -> Option<Value> {
    let value = plain(text);
    Some(match (tag, value) {
        ("" | "str" | "timestamp", _) => Value::str(text),
        ("binary", _) => Value::from_bytes(&Arc::from(""), &base64::decode(text)?),
        ("float", Value::Int(n)) => Value::Float(n as f64),
        ("int", value @ Value::Int(_))
        | ("float", value @ Value::Float(_))
        | ("bool", value @ Value::Bool(_))
        | ("null", value @ Value::Nil) => value,
        _ => return None,
    })
}

/// The number that `text` spells: underscores count for nothing, 0x, 0o, 0b or a plain leading 0 (octal) for the base.
fn number(text: &str) -> Option<Value> {
    // With a point first it is a float, and Go takes no underscores in it.
    let clean: String = text.chars().filter(|c| *c != '_' || text.starts_with('.')).collect();
    let body = clean.strip_prefix(['+', '-']).unwrap_or(&clean);
    if among(".inf .Inf .INF", body) {
        return Some(Value::Float(if clean.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }));
    }
    if among(".nan .NaN .NAN", text) {
        return Some(Value::Float(f64::NAN));
    }
    let (radix, skip) = match body.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, 2),
        [b'0', b'o' | b'O', ..] => (8, 2),
        [b'0', b'b' | b'B', ..] => (2, 2),
        [b'0', _, ..] => (8, 1),
        _ => (10, 0),
    };
    let digits = body.get(skip..).unwrap_or("");
    if !digits.is_empty() && digits.bytes().all(|b| char::from(b).is_digit(radix)) {
        let sign = if clean.starts_with('-') { "-" } else { "" };
        return i64::from_str_radix(&[sign, digits].concat(), radix).ok().map(Value::Int);
    }
    if !body.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    decimal::read(&clean).filter(|f| f.is_finite()).map(Value::Float)
}
