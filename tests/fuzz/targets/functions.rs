//! Each function, called through both dialects with arguments made of the input's bytes: where both give a value, it is
//! the same.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pilotfish::template::Dialect;
use pilotfish::template::funcs::all;
use pilotfish_fuzz::grammar::Maker;
use pilotfish_fuzz::{limit_memory, render, store};

/// Functions whose result differs by design: by Go's element types, which upon does not have, or with the clock.
const NOT_ALIKE: &[&str] = &["reverse", "printf", "datetime", "Format", "String", "Unix", "Add", "include", "is"];

fuzz_target!(init: limit_memory(), |data: &[u8]| -> Corpus {
    let Some((which, rest)) = data.split_first() else { return Corpus::Reject };
    let f = &all()[usize::from(*which) % all().len()];
    if f.name.starts_with("lookup") {
        return Corpus::Reject;
    }
    let (own, rest) = rest.split_at(rest.len().min(4));
    let store = store(own);
    let go = Maker::common(rest, Dialect::Go).call(f);
    let upon = Maker::common(rest, Dialect::Upon).call(f);
    let ours = render(&format!("{{{{toJson {go}}}}}"), Dialect::Go, &store);
    let theirs = render(&format!("{{{{ toJson({upon}) }}}}"), Dialect::Upon, &store);
    let has_names = NOT_ALIKE.iter().any(|n| go.contains(n));
    if let (Ok(a), Ok(b), false) = (&ours, &theirs, has_names) {
        let (a, b) = (String::from_utf8_lossy(a), String::from_utf8_lossy(b));
        assert_eq!(a, b, "{go} gives one thing, {upon} another");
    }
    // As an action prints it.
    let _ = render(&format!("{{{{{go}}}}}"), Dialect::Go, &store);
    let _ = render(&format!("{{{{ {upon} }}}}"), Dialect::Upon, &store);
    Corpus::Keep
});
