//! Values as ContainerPilot takes them: a number may stand in quotes, a time is seconds or as Go writes it, a command is a
//! text cut at single spaces or a list. What is wrong is kept in the document.

use crate::error::Error;
use crate::front::settings::go_bool;
use crate::front::table::Table;
use crate::plan::{Command, Form, Millis, parse_duration};
use crate::template::go::fmt;
use crate::text::fill;
use crate::value::Value;

/// Something is wrong at a key, in the original's words: one in place of each `%`.
#[inline(never)]
pub fn failed(t: &Table, key: &str, pattern: &str, words: &[&str]) {
    t.document().wrong(Error::config([t.place(key), fill(pattern, words)].concat()));
}

/// Every key must be one of these, in any case.
#[inline(never)]
pub fn only(t: &Table, known: &str) {
    let mut first = "";
    let mut all = String::new();
    for key in t.keys().filter(|key| !known.split(' ').any(|k| k.eq_ignore_ascii_case(key))) {
        first = if all.is_empty() { key } else { first };
        all.push_str(if all.is_empty() { "" } else { ", " });
        all.push_str(key);
    }
    if !all.is_empty() {
        failed(t, first, "Unknown config keys: %; there are %", &[&all, &known.replace(' ', ", ")]);
    }
}

/// A value as Go prints it.
#[inline(never)]
pub fn shown(value: &Value) -> String {
    let mut out = Vec::new();
    fmt::display(&mut out, value);
    String::from_utf8_lossy(&out).into_owned()
}

/// A whole number; what stands behind its point does not count.
#[inline(never)]
pub fn int(t: &Table, key: &str) -> Option<i64> {
    let found = match t.get(key)? {
        Value::Int(n) => Some(*n),
        Value::Float(f) if f.is_finite() => Some(*f as i64),
        Value::Str(s) => s.trim().parse().ok(),
        _ => None,
    };
    if found.is_none() {
        t.wrong(key, "must be a number");
    }
    found
}

/// true or false.
#[inline(never)]
pub fn bool_of(t: &Table, key: &str) -> bool {
    match t.get(key).and_then(Value::as_str) {
        Some(text) => go_bool(text).unwrap_or_else(|| t.bool(key, false)),
        None => t.bool(key, false),
    }
}

/// Whether a number or time is below zero.
pub fn is_negative(t: &Table, key: &str) -> bool {
    match t.get(key) {
        Some(Value::Int(n)) => *n < 0,
        Some(Value::Float(f)) => *f < 0.0,
        Some(Value::Str(s)) => s.trim_start().starts_with('-'),
        _ => false,
    }
}

/// A time in milliseconds; 0 for one below zero.
#[inline(never)]
pub fn millis(t: &Table, key: &str) -> Option<Millis> {
    let found = match t.get(key)? {
        Value::Int(n) => Some(u64::try_from(*n).unwrap_or(0).saturating_mul(1_000)),
        Value::Float(f) if !f.is_nan() => Some((f * 1_000.0) as u64),
        Value::Str(s) => duration(s.trim()),
        _ => None,
    };
    if found.is_none() {
        t.wrong(key, "must be a time such as \"500ms\", \"1m30s\" or a number of seconds");
    }
    found
}

/// A time as Go reads it, `1m30s`, or a bare number of seconds. Nothing is shorter than a millisecond.
#[inline(never)]
fn duration(text: &str) -> Option<Millis> {
    let mut rest = text.trim_start_matches('-');
    let (mut sum, mut is_first) = (0u64, true);
    loop {
        // A number with its unit, up to the next number.
        let unit = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let behind = rest.get(unit..)?;
        let end = unit + behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (one, next) = rest.split_at_checked(end)?;
        if unit == rest.len() && !is_first {
            return None; // only a bare number has no unit
        }
        sum = sum.checked_add(parse_duration(one)?)?;
        if next.is_empty() {
            return Some(if text.starts_with('-') { 0 } else { sum });
        }
        (rest, is_first) = (next, false);
    }
}

/// A list of texts, or one text.
#[inline(never)]
pub fn texts(t: &Table, key: &str) -> Option<Vec<String>> {
    let value = t.get(key)?;
    if let Some(text) = value.as_str() {
        return Some(vec![text.to_string()]);
    }
    let Some(items) = value.as_list() else {
        failed(t, key, "`%` must be a string or an array", &[key]);
        return None;
    };
    Some(items.iter().map(shown).collect())
}

/// A command. `what` it is of stands in an error: `service app`.
#[inline(never)]
pub fn command(t: &Table, key: &str, what: &str, timeout: Millis) -> Option<Command> {
    let argv = match t.get(key)? {
        Value::Str(line) if line.trim().is_empty() => return None,
        // No quotes and no shell, as in the original.
        Value::Str(line) => line.trim().split(' ').map(str::to_string).collect(),
        Value::List(l) if l.items.iter().any(|i| matches!(i, Value::List(_) | Value::Map(_))) => Vec::new(),
        Value::List(l) if l.items.is_empty() => return None,
        Value::List(l) => l.items.iter().map(shown).collect(),
        _ => Vec::new(),
    };
    if argv.first().is_none_or(String::is_empty) {
        failed(t, key, "Could not parse `%` in %: a command is a text or a list of texts", &[key, what]);
        return None;
    }
    Some(Command { argv, form: Form::Words, timeout })
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_as_in_go() {
        for (text, want) in [
            ("10", Some(10_000)),
            ("1.5", Some(1_500)),
            ("1h2m3.5s", Some(3_723_500)),
            ("500ms", Some(500)),
            ("1s1ms", Some(1_001)),
            ("0.5ms", Some(0)),
            ("-1", Some(0)),
            ("-5s", Some(0)),
            ("0", Some(0)),
            ("", None),
            ("s", None),
            ("1s5", None),
            ("1d", None),
            ("1..5s", None),
            (".", None),
            ("1 s", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(duration(text), want, "{text}");
        }
    }
}
