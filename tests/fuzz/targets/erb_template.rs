//! Templates of reconfig's ERB: the input is the text.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pilotfish::template::Dialect;
use pilotfish_fuzz::{limit_memory, render, store};

fuzz_target!(init: limit_memory(), |data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else { return Corpus::Reject };
    let _ = render(text, Dialect::Erb, &store(b"x"));
    Corpus::Keep
});
