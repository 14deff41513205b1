//! `pilotfish status`, `pilotfish maintenance` and `pilotfish reload`: finds the socket of the pilotfish that is meant, asks
//! there, and gives what it says. What is said is decided in `telemetry::control`.

use std::os::fd::AsFd;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::plan::{Control, Millis, Tls};
use crate::source::Stop;
use crate::source::http::{Server, words};
use crate::sys::{host, socket};
use crate::telemetry::control::{BEGIN, OPEN, folders, is_private, numbered, sockets};
use crate::text::fill;

/// What to ask, and where.
pub struct Call {
    /// GET or POST.
    pub method: &'static str,
    /// What is asked for.
    pub path: String,
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
    let answer = server.ask(call.method, &call.path, &[], &[], call.limit);
    let (status, mut body) = answer.map_err(|why| fail(Kind::Transient, &why))?;
    let code = match status {
        200..300 => 0,
        503 => 1,
        _ => return Err(fail(Kind::Fatal, &words(&body, &[]))),
    };
    // It goes to a terminal, which has to obey nobody.
    for byte in body.iter_mut().filter(|b| b.is_ascii_control() && **b != b'\n') {
        *byte = b'?';
    }
    Ok((code, String::from_utf8_lossy(&body).into_owned()))
}

/// The sockets somebody listens at, in the folders of this user; of all users where this one is root.
#[inline(never)]
fn living(user: u32) -> Vec<(u32, String)> {
    let mut places = Vec::new();
    for folder in folders(user) {
        places.push((user, folder));
    }
    for parent in OPEN {
        if user == 0 {
            places.extend(numbered(parent, BEGIN, ""));
        }
    }
    let mut found = Vec::new();
    for (owner, folder) in places {
        // Whoever else may write there could answer in place of the one that is asked.
        if is_private(&folder, owner) {
            for one in sockets(&folder) {
                if is_here(&one.1) && !found.contains(&one) {
                    found.push(one);
                }
            }
        }
    }
    found
}

/// Whether somebody listens at this path who is not in another container, which may share a folder with us.
#[inline(never)]
fn is_here(path: &str) -> bool {
    socket::connect_unix(Path::new(path)).and_then(|fd| socket::peer(fd.as_fd())).is_ok_and(|(pid, _)| pid > 0)
}

/// The path of the only one there is.
#[inline(never)]
fn only_one(mut found: Vec<(u32, String)>) -> Result<String> {
    if found.len() < 2 {
        let none = "no pilotfish is found here that can be asked: it must be PID 1, or be started with --control";
        return found.pop().map(|(_, path)| path).ok_or_else(|| Error::transient(none));
    }
    let mut text = "several pilotfish can be asked: choose one with --control".to_string();
    for (pid, path) in &found {
        text.push_str(&fill("\n  PID %: %", &[&pid.to_string(), path]));
    }
    Err(Error::usage(text))
}
