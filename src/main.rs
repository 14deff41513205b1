//! The program: read the command line through a front door, run the plan, give the exit code.
#![no_main]

use std::cell::Cell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[path = "sys/entry.rs"]
pub mod entry;

use pilotfish::error::{Error, Result};
use pilotfish::front::{self, Host, Invocation, World};
use pilotfish::plan::Plan;
use pilotfish::{control, driver, kv, probe, secret, sys};

/// What C's main calls: runs and gives the exit code.
pub fn start(words: Vec<OsString>) -> i32 {
    sys::host::occupy_standard_descriptors();
    sys::signal::ignore_pipe();
    match run(words) {
        Ok(code) => code,
        Err(e) => {
            say(2, &["pilotfish: ", &e.text, "\n"].concat());
            e.exit_code()
        }
    }
}

#[inline(never)]
fn run(words: Vec<OsString>) -> Result<i32> {
    let mut args = Vec::new();
    for word in words {
        let wrong = |w: OsString| Error::usage(["an argument is no UTF-8 text: ", &w.to_string_lossy()].concat());
        args.push(word.into_string().map_err(wrong)?);
    }
    let argv0 = if args.is_empty() { "pilotfish".to_string() } else { args.remove(0) };
    let mut vars = Vec::new();
    for (name, value) in std::env::vars_os() {
        if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
            vars.push((name, value));
        }
    }
    let look = || read(&argv0, &args, &vars);
    match look()? {
        Invocation::Print(text) => {
            say(1, text);
            Ok(0)
        }
        Invocation::Show(text) => {
            say(1, &text);
            Ok(0)
        }
        Invocation::Check(plan) => {
            driver::check(&plan)?;
            secret::check(&plan)?.iter().for_each(|text| say_warning(text));
            say(1, "the configuration is good\n");
            Ok(0)
        }
        Invocation::Kv(query) => kv::run(&query),
        Invocation::Probe(request) => probe::run(&request),
        Invocation::Control(call) => {
            let (code, text) = control::run(&call)?;
            say(1, &text);
            Ok(code)
        }
        Invocation::Run(plan) => driver::run(*plan, &|| match look()? {
            Invocation::Run(plan) => Ok(*plan),
            _ => Err(Error::fatal("the command line has changed")), // it cannot
        }),
    }
}

/// Goes through a front door. What it read of the file system is summed up in the plan's fingerprint.
#[inline(never)]
fn read(argv0: &str, args: &[String], vars: &[(String, String)]) -> Result<Invocation> {
    let sum = Cell::new(0xcbf2_9ce4_8422_2325u64);
    let add = |bytes: &[u8]| {
        // FNV-1a, with a mark between two texts.
        let step = |h: u64, b: &u8| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
        sum.set(bytes.iter().chain(&[0xff]).fold(sum.get(), step));
    };
    let read = |path: &Path| {
        let found = std::fs::read(path);
        add(path.as_os_str().as_encoded_bytes());
        add(found.as_deref().unwrap_or(b"\xff"));
        found
    };
    let world = World { vars, read: &read, files: &files, host: &host };
    let mut invocation = front::read(argv0, args, &world)?;
    match &mut invocation {
        Invocation::Run(plan) => {
            // The host may have another name or address than before.
            for service in &plan.services {
                add(service.id.as_bytes());
                add(service.address.as_bytes());
            }
            plan.fingerprint = sum.get();
            secret::warn(plan);
        }
        Invocation::Check(plan) => warn(plan),
        Invocation::Kv(query) => {
            if let Some(plan) = Arc::get_mut(&mut query.plan) {
                warn(plan);
            }
        }
        Invocation::Print(_) | Invocation::Show(_) | Invocation::Probe(_) | Invocation::Control(_) => {}
    }
    Ok(invocation)
}

/// What this host says of itself.
fn host() -> Host {
    Host { name: sys::host::name(), addresses: sys::host::addresses(), pid: std::process::id() }
}

/// Says what a log would say at a start.
fn warn(plan: &mut Plan) {
    plan.notes.clear();
    secret::warn(plan);
    plan.notes.iter().for_each(|(_, text)| say_warning(text));
}

fn say_warning(text: &str) {
    say(2, &["pilotfish: warning: ", text, "\n"].concat());
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

/// The order of paths below one folder: part by part.
fn is_before(a: &Path, b: &Path) -> bool {
    let part = |c: &u8| if *c == b'/' { 0 } else { *c };
    a.as_os_str().as_encoded_bytes().iter().map(part).lt(b.as_os_str().as_encoded_bytes().iter().map(part))
}

/// All files below a folder, sorted. Names that begin with `..` are Kubernetes' own, behind the links that count.
fn files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b"..") {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                left.push(path);
            } else if path.is_file() || !path.exists() {
                // A link that leads nowhere too: to be said.
                let at = found.partition_point(|f: &PathBuf| is_before(f, &path));
                found.insert(at, path);
            }
        }
    }
    Ok(found)
}
