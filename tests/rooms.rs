//! The house rules that the compiler does not know: where unsafe code may stand, and that the rooms which decide touch
//! nothing of the world.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    unsafe_code,
    missing_docs,
    dead_code
)]

use std::path::{Path, PathBuf};

/// The source files below a folder of src, with what stands before their unit tests, comments left out.
fn sources(room: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut left = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room)];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(path.read_dir().unwrap().map(|e| e.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let lines = code.lines().map(|l| l.split("//").next().unwrap()).collect::<Vec<_>>().join("\n");
            found.push((path, lines));
        }
    }
    assert!(!found.is_empty(), "src/{room} is gone");
    found
}

/// Whether a word stands in the code by itself.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        !code[..at].ends_with(is_part) && !code[at + word.len()..].starts_with(is_part)
    })
}

#[test]
fn unsafe_code_stands_in_sys_alone() {
    for (path, code) in sources("") {
        let is_sys = path.components().any(|c| c.as_os_str() == "sys");
        assert!(is_sys || !names(&code, "unsafe"), "{} has unsafe code", path.display());
    }
    assert!(sources("sys").iter().any(|(_, code)| names(code, "unsafe")), "the search finds nothing");
}

/// What touches a clock, a file, a socket, a thread or a process.
const WORLD: &[&str] = &[
    "std::time",
    "Instant",
    "SystemTime",
    "std::fs",
    "File::open",
    "std::net",
    "TcpStream",
    "UnixStream",
    "std::thread",
    "std::process",
    "std::env",
    "libc",
    "driver",
    "ureq",
    "httparse",
    "println",
    "eprintln",
    "Mutex",
    "Atomic",
];

#[test]
fn what_decides_touches_nothing() {
    for room in ["state", "front", "plan.rs", "store.rs", "backoff.rs"] {
        for (path, code) in sources(room) {
            // Of the net only what an address is.
            let code = code.replace("std::net::IpAddr", "");
            for word in WORLD {
                assert!(!names(&code, word), "{} names {word}", path.display());
            }
            // Of sys only names of things: how a process ended, what a signal is called.
            for (at, _) in code.match_indices("sys::") {
                let what = &code[at..];
                let is_name = ["sys::process::Ended", "sys::signal;"].iter().any(|n| what.starts_with(n));
                assert!(is_name, "{} uses {}", path.display(), what.lines().next().unwrap());
            }
        }
    }
    let (_, driver) = sources("driver.rs").remove(0);
    assert!(WORLD.iter().any(|w| names(&driver, w)), "the search finds nothing");
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, _) in sources("") {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} opens without saying what it is for", path.display());
    }
}

#[test]
fn arrows_point_down() {
    for (room, above) in [
        ("front", &["source", "driver", "state", "dest::stage"][..]),
        ("state", &["source", "driver", "front"]),
        ("formats", &["source", "driver", "front", "state", "template"]),
        ("text", &["source", "driver", "front", "state", "template", "formats"]),
    ] {
        for (path, text) in sources(room) {
            for name in above {
                let arrow = format!("crate::{name}");
                assert!(!text.contains(&arrow), "{} names {arrow}, which lies above or beside it", path.display());
            }
        }
    }
}
