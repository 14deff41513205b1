//! template/funcs/regex.rs: no expression crashes it or takes for ever (libFuzzer's time-out), and putting each match in its
//! own place changes nothing.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pilotfish::template::funcs::regex::Regex;

fuzz_target!(init: pilotfish_fuzz::limit_memory(), |data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else { return Corpus::Reject };
    let Some((expression, text)) = text.split_once('\n') else { return Corpus::Reject };
    if let Ok(regex) = Regex::new(expression) {
        assert_eq!(regex.replace_all(text, "${0}"), text, "{expression}");
        regex.replace_all(text, "<$1$2$$x>");
    }
    pilotfish_fuzz::check_memory();
    Corpus::Keep
});
