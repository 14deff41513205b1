//! Templates of Go's dialect: the input is the text, or (when it begins with a byte below 8) what the grammar makes one of.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pilotfish::template::Dialect;
use pilotfish_fuzz::{go_templates, grammar, limit_memory, render, store, write_seeds};

fuzz_target!(
    init: {
        limit_memory();
        write_seeds(go_templates().into_iter());
    },
    |data: &[u8]| -> Corpus {
        let (text, own) = match grammar::template(data, Dialect::Go) {
            Some(made) => made,
            None => match std::str::from_utf8(data) {
                Ok(text) => (text.to_string(), b"x".to_vec()),
                Err(_) => return Corpus::Reject,
            },
        };
        let _ = render(&text, Dialect::Go, &store(&own));
        Corpus::Keep
    }
);
