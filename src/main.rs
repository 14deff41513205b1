//! The program: read the command line through a front door, run the plan, give the exit code.
#![no_main]

use std::ffi::OsString;
use std::path::{Path, PathBuf};

#[path = "sys/entry.rs"]
pub mod entry;

use pilotfish::error::{Error, Result};
use pilotfish::front::{self, Invocation, World};
use pilotfish::{driver, sys};

/// What C's main calls: runs and gives the exit code.
pub fn start(words: Vec<OsString>) -> i32 {
    sys::host::occupy_standard_descriptors();
    match run(words) {
        Ok(code) => code,
        Err(e) => {
            say(2, &["pilotfish: ", &e.text, "\n"].concat());
            e.exit_code()
        }
    }
}

fn run(words: Vec<OsString>) -> Result<i32> {
    let mut words = words.into_iter().map(|w| {
        let wrong = |w: OsString| Error::usage(["an argument is no UTF-8 text: ", &w.to_string_lossy()].concat());
        w.into_string().map_err(wrong)
    });
    let argv0 = words.next().unwrap_or_else(|| Ok("pilotfish".to_string()))?;
    let args = words.collect::<Result<Vec<String>>>()?;
    let vars: Vec<(String, String)> =
        std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?))).collect();
    let world = World { vars: &vars, read: &|path| std::fs::read(path), files: &|path| files(path) };
    match front::read(&argv0, args, &world)? {
        Invocation::Print(text) => {
            say(1, &text);
            Ok(0)
        }
        Invocation::Check(plan) => {
            driver::check(&plan)?;
            say(1, "the configuration is good\n");
            Ok(0)
        }
        Invocation::Run(plan) => driver::run(*plan),
    }
}

fn say(fd: i32, text: &str) {
    use std::io::Write;
    let _ = if fd == 1 {
        std::io::stdout().write_all(text.as_bytes())
    } else {
        std::io::stderr().write_all(text.as_bytes())
    };
    let _ = std::io::stdout().flush();
}

/// All files below a folder, sorted.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                left.push(path);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
