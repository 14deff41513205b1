//! Values as ContainerPilot takes them: a number may stand in quotes, a time is seconds or as Go writes it, a command is a
//! text cut at single spaces or a list. What is wrong is kept in the document.

use crate::error::Error;
use crate::front::settings::go_bool;
use crate::front::table::Table;
use crate::plan::{Command, Form, Millis};
use crate::template::go::fmt;
use crate::value::Value;

/// Something is wrong at a key, in the original's words.
#[inline(never)]
pub fn failed(t: &Table, key: &str, text: &str) {
    t.document().wrong(Error::config([&t.place(key), text].concat()));
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
        failed(t, first, &["Unknown config keys: ", &all, "; there are ", &known.replace(' ', ", ")].concat());
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

/// A time in nanoseconds; 0 for one below zero.
#[inline(never)]
pub fn nanos(t: &Table, key: &str) -> Option<u64> {
    const SECOND: u64 = 1_000_000_000;
    let found = match t.get(key)? {
        Value::Int(n) => Some(u64::try_from(*n).unwrap_or(0).saturating_mul(SECOND)),
        Value::Float(f) if !f.is_nan() => Some((f * SECOND as f64) as u64),
        Value::Str(s) => duration(s.trim()),
        _ => None,
    };
    if found.is_none() {
        t.wrong(key, "must be a time such as \"500ms\", \"1m30s\" or a number of seconds");
    }
    found
}

/// The same in milliseconds; a part of one counts as a whole.
pub fn millis(t: &Table, key: &str) -> Option<Millis> {
    nanos(t, key).map(|n| n.div_ceil(1_000_000))
}

/// A time as Go reads it, or a bare number of seconds.
#[inline(never)]
fn duration(text: &str) -> Option<u64> {
    let is_below = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_bare = !rest.ends_with(|c: char| c.is_alphabetic());
    let mut sum = 0u64;
    let mut is_first = true;
    while is_first || !rest.is_empty() {
        let (number, behind) = rest.split_at_checked(rest.find(|c| !is_digit(c)).unwrap_or(rest.len()))?;
        let (unit, next) = behind.split_at_checked(behind.find(is_digit).unwrap_or(behind.len()))?;
        let scale = match unit {
            "" if is_bare && is_first => 1_000_000_000,
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + part.len() == 0 || part.contains('.') {
            return None;
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        sum = sum.checked_add(whole.checked_mul(scale)?)?;
        let mut scale = scale;
        for digit in part.bytes() {
            scale /= 10;
            sum = sum.checked_add(scale * u64::from(digit.saturating_sub(b'0')))?;
        }
        rest = next;
        is_first = false;
    }
    Some(if is_below { 0 } else { sum })
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || c == '.'
}

/// A list of texts, or one text.
#[inline(never)]
pub fn texts(t: &Table, key: &str) -> Option<Vec<String>> {
    let value = t.get(key)?;
    if let Some(text) = value.as_str() {
        return Some(vec![text.to_string()]);
    }
    let Some(items) = value.as_list() else {
        failed(t, key, &["`", key, "` must be a string or an array"].concat());
        return None;
    };
    Some(items.iter().map(shown).collect())
}

/// A command. `what` stands behind the key in an error: ` in service app`.
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
        let text = ["Could not parse `", key, "`", what, ": a command is a text or a list of texts"].concat();
        failed(t, key, &text);
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
            ("10", Some(10_000_000_000)),
            ("1.5", Some(1_500_000_000)),
            ("1h2m3.5s", Some(3_723_500_000_000)),
            ("500ms", Some(500_000_000)),
            (".5s", Some(500_000_000)),
            ("1µs2ns", Some(1_002)),
            ("-1", Some(0)),
            ("0", Some(0)),
            ("", None),
            ("s", None),
            ("1s5", None),
            ("1d", None),
            ("1..5s", None),
            (".", None),
            ("1 s", None),
            ("99999999999999999999h", None),
            ("999999999999h", None),
        ] {
            assert_eq!(duration(text), want, "{text}");
        }
    }
}
