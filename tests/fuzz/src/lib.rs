//! What the fuzz targets share: the store that templates read, one render with what must hold after it, the bound on
//! memory, and (in `grammar`) templates made out of bytes.

pub mod grammar;
pub mod value;

use std::path::Path;
use std::sync::Arc;

use pilotfish::error::Error;
use pilotfish::store::{Snapshot, View};
use pilotfish::template::scope::Scope;
use pilotfish::template::{Context, Dialect, Template};

/// The name of what is fuzzed, as errors show it.
pub const NAME: &str = "f.t";
/// Most bytes a render may give.
pub const MOST_OUTPUT: usize = 1 << 16;
/// The process holds no more memory than this, at any time.
const MOST_MEMORY: i64 = 512 << 20;

/// The keys that templates read, and `/x` with the bytes of the input's own.
pub fn store(own: &[u8]) -> Snapshot {
    let all: &[(&str, &[u8])] = &[
        // What ERB sees of a watched folder.
        ("", b""),
        ("/x", own),
        ("/bin", b"\xff\x00\xfe"),
        ("/empty", b""),
        ("/j", b"{\"n\":65535,\"f\":1.50,\"s\":\"str\",\"t\":true,\"z\":null,\"l\":[1,2.5,\"x\",null,{\"k\":\"v\"}],\"o\":{\"p\":{}}}"),
        ("/ja", b"[{\"name\":\"n1\"},{\"name\":\"n2\"}]"),
        ("/lines", b"l1\nl2\n\nl4"),
        ("/n", b"9090"),
        ("/name", "caf\u{e9}".as_bytes()),
        ("/t/1", b"10.0.0.1"),
        ("/t/2", b"10.0.0.2"),
        ("/t/d/deep", b"d"),
        ("/true", b"true"),
    ];
    Snapshot::new(all.iter().map(|(k, v)| (Arc::from(*k), Arc::from(*v))).collect())
}

/// Compiles and renders; checks the output's size, the error's place and the memory that was needed.
pub fn render(text: &str, dialect: Dialect, store: &Snapshot) -> Result<Vec<u8>, Error> {
    if std::env::var_os("PILOTFISH_FUZZ_SHOW").is_some() {
        eprintln!("--- template\n{text}\n---");
    }
    let env = |name: &str| (name == "HOME").then(|| "/root".to_string());
    let context = Context { store: View::new(store), env: &env, max_output: MOST_OUTPUT };
    let scope = (dialect == Dialect::Erb).then(|| Scope {
        key: "/t".to_string(),
        is_tree: true,
        alt: Vec::new(),
        pattern: ("<%".to_string(), "%>".to_string()),
    });
    let result = Template::compile_in(NAME, text, dialect, scope.as_ref()).and_then(|t| t.render(&context));
    match &result {
        Ok(out) => assert!(out.len() <= MOST_OUTPUT, "{} bytes of output", out.len()),
        Err(e) => {
            let has_place = e.text.match_indices(NAME).any(|(at, _)| {
                let rest = e.text[at + NAME.len()..].strip_prefix(':').unwrap_or("");
                rest.starts_with(|c: char| c.is_ascii_digit())
            });
            let is_size = e.text.contains("the output is larger than");
            assert!(has_place || is_size, "the error says no file and line: {}", e.text);
            assert!(e.text.len() < 8 * text.len() + (64 << 10), "an error of {} bytes", e.text.len());
        }
    }
    check_memory();
    result
}

/// Fails when the process ever held too much.
pub fn check_memory() {
    // SAFETY: an all-zero rusage is a valid one, and the call fills it in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let held = usage.ru_maxrss * 1024;
    assert!(held < MOST_MEMORY, "{held} bytes of memory");
}

/// Makes an allocation of more than any input may need fail at once, untouched or not.
pub fn limit_memory() {
    let limit = libc::rlimit { rlim_cur: 2 << 30, rlim_max: 2 << 30 };
    // SAFETY: a plain call with a struct that lives long enough.
    unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
}

/// Writes texts into the folder that PILOTFISH_FUZZ_SEEDS names, as seeds beside those of the target's own folder.
pub fn write_seeds(texts: impl Iterator<Item = impl AsRef<[u8]>>) {
    let Some(folder) = std::env::var_os("PILOTFISH_FUZZ_SEEDS") else { return };
    for (i, text) in texts.enumerate() {
        let path = Path::new(&folder).join(format!("seed-{i}"));
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    }
}

/// The templates of tests/data.
pub fn go_templates() -> Vec<String> {
    let data: serde_json::Value = serde_json::from_str(include_str!("../../data/go-templates.json")).unwrap();
    let cases = data["cases"].as_array().unwrap();
    cases.iter().filter_map(|c| c["template"].as_str()).map(str::to_string).collect()
}
