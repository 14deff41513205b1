//! formats/json.rs beside serde_json: both take the same texts and read the same values, `each` agrees with `parse`,
//! and what is written reads back the same.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pilotfish::formats::json;
use pilotfish::value::Value;
use pilotfish_fuzz::value::{same, same_json};

fuzz_target!(init: pilotfish_fuzz::limit_memory(), |data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else { return Corpus::Reject };
    let ours = json::parse(text);
    let theirs = serde_json::from_str::<serde_json::Value>(text);
    let mut elements = Vec::new();
    let each = json::each(text, &mut |v| {
        elements.push(v);
        true
    });
    match (&ours, &theirs) {
        (Ok(a), Ok(b)) => assert!(same_json(a, b), "not the same value: {text}"),
        // Half a character becomes U+FFFD, as in Go; 100 levels are enough.
        (Ok(_), Err(e)) => assert!(e.to_string().contains("surrogate") || text.contains("\\u"), "{e}: {text}"),
        (Err(e), Ok(_)) => assert!(e == "exceeded max depth", "{e}: {text}"),
        (Err(_), Err(_)) => {}
    }
    match (&ours, each) {
        (Ok(Value::List(all)), Ok(true)) => {
            assert!(all.items.len() == elements.len() && all.items.iter().zip(&elements).all(|(a, b)| same(a, b)));
        }
        (Ok(v), Ok(is_list)) => assert!(!is_list && !matches!(v, Value::List(_)), "{text}"),
        (Err(_), Err(_)) => {}
        (a, b) => panic!("parse: {}, each: {}: {text}", a.is_ok(), b.is_ok()),
    }
    if let Ok(value) = &ours {
        for indent in [None, Some(0)] {
            let mut out = Vec::new();
            json::write(&mut out, value, indent).unwrap();
            let back = json::parse(std::str::from_utf8(&out).unwrap()).unwrap();
            assert!(same(value, &back), "not the same after writing: {text}");
        }
    }
    pilotfish_fuzz::check_memory();
    Corpus::Keep
});
