//! `pilotfish status`, `pilotfish maintenance` and `pilotfish reload`: finds the socket of the pilotfish that is meant, asks
//! there, and gives what it says. What is said is decided in `telemetry::control`.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::plan::{Control, Millis, Tls};
use crate::source::Stop;
use crate::source::http::{Server, words};
use crate::sys::host;
use crate::telemetry::control::{folders, is_alive, is_private, sockets};

/// What to ask, and where.
pub struct Call {
    /// GET or POST.
    pub method: &'static str,
    /// What is asked for.
    pub path: &'static str,
    /// Where.
    pub at: Control,
    /// How long an answer is waited for, in milliseconds.
    pub limit: Millis,
}

/// Asks, and gives the exit code and what to print.
///
/// # Errors
/// `Kind::Transient`: nobody answers; `Kind::Usage`: several could, and none was named; `Kind::Fatal`: it was refused.
#[inline(never)]
pub fn run(call: &Call) -> Result<(i32, String)> {
    let path = match &call.at {
        Control::At(path) => path.clone(),
        Control::Usual => only_one(living(host::user()))?,
        Control::None => return Err(Error::transient("there is nobody to ask: --control is none")),
    };
    let stop = Stop::new()?;
    let server = Server::new(&["unix://", &path].concat(), &Tls::default(), &stop);
    let fail = |kind: Kind, why: &str| Error::filled(kind, "pilotfish at %: %", &[&path, why]);
    let answer = server.ask(call.method, call.path, &[], &[], call.limit);
    let (status, body) = answer.map_err(|why| fail(Kind::Transient, &why))?;
    let code = match status {
        200..300 => 0,
        503 => 1,
        _ => return Err(fail(Kind::Fatal, &words(&body, &[]))),
    };
    // It goes to a terminal, which has to obey nobody.
    let plain = |c: char| if c.is_control() && c != '\n' { '?' } else { c };
    Ok((code, String::from_utf8_lossy(&body).chars().map(plain).collect()))
}

/// The sockets somebody listens at, in the folders of this user; of all users where this one is root.
#[inline(never)]
fn living(user: u32) -> Vec<(u32, PathBuf)> {
    let mut places: Vec<(PathBuf, u32)> = folders(user).into_iter().map(|f| (PathBuf::from(f), user)).collect();
    for parent in ["/tmp", "/dev/shm"] {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten().filter(|_| user == 0) {
            let name = entry.file_name();
            let number = name.to_str().and_then(|n| n.strip_prefix("pilotfish-")).and_then(|n| n.parse().ok());
            if let Some(owner @ 1..) = number {
                places.push((entry.path(), owner));
            }
        }
    }
    let mut found = Vec::new();
    for (folder, owner) in places {
        // Whoever else may write there could answer in place of the one that is asked.
        if is_private(&folder, owner) {
            found.extend(sockets(&folder).into_iter().filter(|(_, at)| is_alive(at) == Some(true)));
        }
    }
    found
}

/// The path of the only one there is.
#[inline(never)]
fn only_one(found: Vec<(u32, PathBuf)>) -> Result<String> {
    let name = |path: &Path| path.display().to_string();
    match found.as_slice() {
        [] => Err(Error::transient(
            "no pilotfish is found here that can be asked: it must be PID 1, or be started with --control",
        )),
        [(_, path)] => Ok(name(path)),
        _ => {
            let mut text = "several pilotfish can be asked: choose one with --control".to_string();
            for (pid, path) in &found {
                for part in ["\n  PID ", &pid.to_string(), ": ", &name(path)] {
                    text.push_str(part);
                }
            }
            Err(Error::usage(text))
        }
    }
}
