//! Ruby beside our part of ERB: tests/data/erb-templates.json holds templates with what Erubis 2.7 and Ruby 3.1 made of
//! them (nothing where they failed), over one tree of keys. Where Ruby fails, so do we, with an error that names the
//! template; where we know no such form, we say so and give nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

use std::sync::Arc;

use pilotfish::store::{Snapshot, View};
use pilotfish::template::scope::{Scope, beside};
use pilotfish::template::{Context, Dialect, Template};
use serde_json::Value;

/// What Ruby renders and we do not, or not so, on purpose.
const NOT_ALIKE: &[(&str, &str)] = &[
    ("<%= %>", "an output without anything to put out is a slip"),
    ("<%= JSON %>", "no form of ours"),
    ("<%= \"a,b\".split(nil) %>", "takes a string"),
    ("<%= [1].join(nil) %>", "takes a string"),
    ("<%= \"a\".gsub(\"a\") %>", "an enumerator"),
    ("<%= [1,2].first(1) %>", "takes no argument here"),
    ("<%= \"a\".start_with?(\"a\", \"b\") %>", "takes one argument here"),
    ("<%= 1.size.nil? %>", "the bytes of an integer"),
    ("<%= 0.size %>", "the bytes of an integer"),
    ("<%= -7.size %>", "the bytes of an integer"),
    ("<%= 0[0] %>", "the bits of an integer"),
    ("<%= -7[0] %>", "the bits of an integer"),
];
/// Hashes as subsets of one another, and hashes in an order: Ruby has both, we have neither.
const HASHES: &[&str] = &["JSON.parse(\"{}\")", "JSON.parse('{\"b\":1,\"a\":\"x\"}')"];

fn render(template: &str, scope: &Scope, store: &Snapshot) -> Result<String, String> {
    let compiled = Template::compile_in("t.erb", template, Dialect::Erb, Some(scope)).map_err(|e| e.text.clone())?;
    let context = Context { store: View::new(store), env: &|_| None, max_output: 1 << 20 };
    compiled.render(&context).map(|out| String::from_utf8(out).unwrap()).map_err(|e| e.text.clone())
}

/// The file, the keys it speaks of, and the names for them.
fn recorded() -> (Value, Snapshot, Scope) {
    let all: Value = serde_json::from_str(include_str!("data/erb-templates.json")).unwrap();
    let mut entries = Vec::new();
    let mut put = |front: &dyn Fn(&str) -> String, keys: &Value| {
        for (k, v) in keys.as_object().unwrap() {
            entries.push((Arc::from(front(k)), Arc::from(v.as_str().unwrap().as_bytes())));
        }
    };
    put(&|k| k.to_string(), &all["data"]);
    let mut scope = Scope { key: "/test1".into(), is_tree: true, alt: Vec::new(), pattern: Default::default() };
    // As in the file: serde_json sorts.
    for (n, name) in ["zk", "akey", "none"].into_iter().enumerate() {
        put(&|k| beside(n, k), &all["altdata"][name]);
        scope.alt.push((name.to_string(), String::new()));
    }
    (all, Snapshot::new(entries), scope)
}

#[test]
fn what_ruby_makes_of_templates() {
    let (all, store, mut scope) = recorded();
    let (mut wrong, mut refused) = (Vec::new(), Vec::new());
    let cases = all["cases"].as_array().unwrap();
    for case in cases {
        let template = case[0].as_str().unwrap();
        let (open, close) = case[2].as_str().unwrap_or("<% %>").split_once(' ').unwrap();
        scope.pattern = (open.to_string(), close.to_string());
        let ours = render(template, &scope, &store);
        let hashes = HASHES.iter().any(|a| template.contains(&format!("[{a},{a}].sort")))
            || HASHES
                .iter()
                .flat_map(|a| HASHES.iter().map(move |b| format!("<%= {a} < {b} %>")))
                .any(|t| t == template);
        let is_odd = hashes || NOT_ALIKE.iter().any(|(t, _)| *t == template);
        let fits = match (&ours, case[1].as_str()) {
            (Ok(ours), Some(want)) => ours == want,
            (Err(why), None) => why.contains("t.erb:"),
            _ => false,
        };
        if matches!((&ours, &case[1]), (Err(why), Value::String(_)) if why.contains("cannot understand")) {
            refused.push(template);
        } else if fits == is_odd {
            wrong.push(format!("{template:?}\n  Ruby: {}\n  ours: {ours:?}", case[1]));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() > 1200);
    assert!(refused.len() < 40, "forms of Ruby that are not understood:\n{}", refused.join("\n"));
    for (template, why) in NOT_ALIKE {
        assert!(cases.iter().any(|c| c[0] == *template), "there is no case {template} ({why})");
    }
}

#[test]
fn no_text_is_too_odd() {
    let (all, store, mut scope) = recorded();
    scope.pattern = ("<%".to_string(), "%>".to_string());
    let texts: Vec<&str> = all["cases"].as_array().unwrap().iter().map(|c| c[0].as_str().unwrap()).collect();
    // A generator of our own (Numerical Recipes' constants), so that each run tries the same.
    let mut state = 1u32;
    let mut below = |n: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % n
    };
    let (mut good, mut bad) = (0, 0);
    for _ in 0..20_000 {
        // Pieces of two templates, cut anywhere, a character in between.
        let mut text = String::new();
        for _ in 0..2 {
            let chars: Vec<char> = texts[below(texts.len())].chars().collect();
            let (from, len) = (below(chars.len() + 1), below(chars.len() + 1));
            text.extend(chars.iter().skip(if below(3) == 0 { from } else { 0 }).take(if below(3) == 0 {
                len
            } else {
                999
            }));
            text.extend("<%=#-\"'[]().,|&!é\n\\{}0".chars().nth(below(40)));
        }
        match render(&text, &scope, &store) {
            Ok(_) => good += 1,
            Err(why) => {
                assert!(why.contains("t.erb:"), "{text:?}: {why}");
                bad += 1;
            }
        }
    }
    assert!(good > 1_000 && bad > 1_000, "{good} rendered, {bad} refused");
}
