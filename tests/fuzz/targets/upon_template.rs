//! Templates of the native dialect: the input is the text, or (when it begins with a byte below 8) what the grammar makes one of.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pilotfish::template::Dialect;
use pilotfish_fuzz::{grammar, limit_memory, render, store};

fuzz_target!(
    init: limit_memory(),
    |data: &[u8]| -> Corpus {
        let (text, own) = match grammar::template(data, Dialect::Upon) {
            Some(made) => made,
            None => match std::str::from_utf8(data) {
                Ok(text) => (text.to_string(), b"x".to_vec()),
                Err(_) => return Corpus::Reject,
            },
        };
        let _ = render(&text, Dialect::Upon, &store(&own));
        Corpus::Keep
    }
);
