//! formats/yaml.rs: no text crashes it, errors say where, and a JSON text reads as the JSON reader has it.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pilotfish::formats::{json, yaml};
use pilotfish::map::Map;
use pilotfish::value::Value;
use pilotfish_fuzz::NAME;
use pilotfish_fuzz::value::same;

/// Whether any object names a key twice, which YAML refuses, or `<<`, which it merges: compared by what is left.
fn is_plain(text: &str, value: &Value) -> bool {
    fn keys(v: &Value) -> usize {
        match v {
            Value::List(l) => l.items.iter().map(keys).sum(),
            Value::Map(m) => m.iter().map(|(k, v)| 1000 * usize::from(k == "<<") + 1 + keys(v)).sum(),
            _ => 0,
        }
    }
    // Every key has its colon; a text with colons inside is left out rather than looked into.
    keys(value) == text.matches(':').count()
}

/// A JSON value as YAML has it: an integer that does not fit stays text.
fn as_yaml(v: &Value) -> Value {
    match v {
        Value::Float(f) if f.fract() == 0.0 && f.abs() >= 9.2e18 => Value::Nil,
        Value::Str(s) if s.strip_prefix('-').unwrap_or(s).bytes().all(|b| b.is_ascii_digit()) => Value::Nil,
        Value::List(l) => Value::list(l.items.iter().map(as_yaml).collect()),
        Value::Map(m) => {
            let mut map = Map::new();
            for (k, v) in m.iter() {
                map.insert(k.clone(), as_yaml(v));
            }
            Value::map(map)
        }
        _ => v.clone(),
    }
}

fuzz_target!(init: pilotfish_fuzz::limit_memory(), |data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else { return Corpus::Reject };
    let yaml = yaml::parse(NAME, text);
    if let Err(e) = &yaml {
        assert!(e.text.starts_with("f.t:") && e.text.contains('\n'), "no place: {}", e.text);
    }
    // YAML alone has rules about a NEL, half a character, long keys and tabs that indent.
    let has_rules = text.contains(['\t', '\r', '\\']) || text.len() > 1000 || !text.is_ascii() || text.contains('\u{7f}');
    if let (Ok(want), false) = (json::parse(text), has_rules)
        && is_plain(text, &want)
    {
        match yaml {
            Ok(docs) => assert!(docs.len() == 1 && same(&as_yaml(&docs[0]), &as_yaml(&want)), "not what JSON is: {text}"),
            Err(e) => panic!("JSON is refused: {e}"),
        }
    }
    pilotfish_fuzz::check_memory();
    Corpus::Keep
});
