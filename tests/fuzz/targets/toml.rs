//! formats/toml.rs: no text crashes it, errors say where, and a document reads the same twice.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pilotfish::formats::toml;
use pilotfish_fuzz::NAME;
use pilotfish_fuzz::value::same;

fuzz_target!(init: pilotfish_fuzz::limit_memory(), |data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else { return Corpus::Reject };
    match toml::parse(NAME, text) {
        Ok(doc) => {
            // A comment and empty lines change nothing.
            let longer = format!("# {{\n\n{text}\n# [\n");
            match toml::parse(NAME, &longer) {
                Ok(again) => assert!(same(&doc.root, &again.root), "a comment changed the document: {text}"),
                // A mark of the byte order stands only at the start; a bare CR only before the added line end.
                Err(e) => assert!(text.starts_with('\u{feff}') || text.ends_with('\r'), "{e}: {text}"),
            }
        }
        Err(e) => assert!(e.text.starts_with("f.t:") && e.text.contains('\n'), "no place: {}", e.text),
    }
    pilotfish_fuzz::check_memory();
    Corpus::Keep
});
