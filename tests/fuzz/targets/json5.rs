//! formats/json5.rs: no text crashes it, an error says where, whatever is JSON is read as the same value, and comments
//! change nothing.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pilotfish::formats::{json, json5};
use pilotfish::value::Value;
use pilotfish_fuzz::value::same;

/// Whether it is JSON's value; what is null there is not here at all.
fn is_it(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::List(a), Value::List(b)) => {
            let mut kept = b.items.iter().filter(|v| !matches!(v, Value::Nil));
            a.items.iter().all(|v| kept.next().is_some_and(|w| is_it(v, w))) && kept.next().is_none()
        }
        (Value::Map(a), Value::Map(b)) => {
            let mut kept = b.iter().filter(|(_, v)| !matches!(v, Value::Nil));
            a.iter().all(|(k, v)| kept.next().is_some_and(|(l, w)| k == l && is_it(v, w))) && kept.next().is_none()
        }
        _ => same(ours, theirs),
    }
}

fuzz_target!(init: pilotfish_fuzz::limit_memory(), |data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else { return Corpus::Reject };
    match (json5::parse(text), json::parse(text)) {
        (Ok(doc), plain) => {
            if let Ok(value) = plain {
                assert!(is_it(&doc.root, &value), "not what JSON says: {text}");
            }
            let longer = format!("/* [ */ // {{\n{text}\n// ]\n/* }} */");
            match json5::parse(&longer) {
                Ok(again) => assert!(same(&doc.root, &again.root), "a comment changed it: {text}"),
                Err(e) => assert!(text.starts_with('\u{feff}'), "{}: {text}", e.text),
            }
        }
        (Err(e), plain) => {
            assert!(e.text.contains("[") && e.text.contains(':'), "no place: {}", e.text);
            let is_object = plain.is_ok_and(|v| matches!(v, Value::Map(_)));
            assert!(!is_object || e.text.contains("deep"), "JSON is refused: {}: {text}", e.text);
        }
    }
    pilotfish_fuzz::check_memory();
    Corpus::Keep
});
