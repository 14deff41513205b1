//! Child processes: start one in a group of its own, reap whatever ended, send signals. Only the loop's thread
//! comes here, so a pid that was reaped is never signalled again.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// What to start.
pub struct Start<'a> {
    /// Program and arguments; the program is searched in PATH.
    pub argv: &'a [String],
    /// Variables to set in addition to the inherited environment.
    pub env: &'a [(String, String)],
    /// Variables to leave out of the inherited environment.
    pub env_remove: &'a [String],
    /// The app gets our standard streams; other commands read nothing and write to standard error.
    pub is_app: bool,
    /// Give the terminal's foreground to the new group.
    pub foreground: bool,
}

/// Why a start failed.
pub struct StartError {
    /// What a shell's exit code for it would be: 127 not found, 126 cannot be run; 0 when it may work later
    /// (no processes or memory left).
    pub code: i32,
    /// The system's words.
    pub text: String,
}

/// Starts a process: group of its own, default handlers, empty mask. Gives its pid, which is its group's id too.
///
/// # Errors
/// The program cannot be found or run, or the system has no room for another process.
pub fn start(s: &Start) -> Result<i32, StartError> {
    let Some((program, args)) = s.argv.split_first() else {
        return Err(StartError { code: 127, text: "no program given".to_string() });
    };
    let mut c = Command::new(program);
    c.args(args);
    for name in s.env_remove {
        c.env_remove(name);
    }
    for (name, value) in s.env {
        c.env(name, value);
    }
    if !s.is_app {
        c.stdin(nothing().map_err(failed)?);
        let err = io::stderr().as_fd().try_clone_to_owned().map_err(failed)?;
        c.stdout(Stdio::from(err));
    }
    let foreground = s.foreground;
    // SAFETY: the closure runs between fork and exec and calls async-signal-safe functions only.
    unsafe {
        c.pre_exec(move || {
            // Handlers first, then the mask: a handler run here would write to the parent's self-pipe.
            for n in 1..=64 {
                super::signal::set(n, libc::SIG_DFL);
            }
            libc::setpgid(0, 0);
            if foreground {
                super::terminal::give(libc::getpid());
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
            Ok(())
        });
    }
    let mask = super::signal::block_all();
    let started = c.spawn();
    mask.restore();
    match started {
        Ok(child) => Ok(i32::try_from(child.id()).unwrap_or(-1)), // dropping a Child neither kills nor waits
        Err(e) => Err(failed(e)),
    }
}

fn failed(e: io::Error) -> StartError {
    let code = match e.raw_os_error() {
        Some(libc::ENOENT) => 127,
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => 0,
        _ => 126,
    };
    StartError { code, text: crate::error::os_text(&e) }
}

/// Standard input with nothing in it, also where there is no /dev/null.
fn nothing() -> io::Result<Stdio> {
    if let Ok(f) = File::open("/dev/null") {
        return Ok(Stdio::from(f));
    }
    let (reader, writer) = io::pipe()?;
    drop(writer);
    Ok(Stdio::from(OwnedFd::from(reader)))
}

/// How a process ended, or that it was stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this exit code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// Not at all: it was stopped by this signal.
    Stopped(i32),
}

impl Ended {
    /// The exit code a shell would give: the code itself, or 128 + the signal.
    pub fn code(self) -> i32 {
        match self {
            Ended::Exit(n) => n,
            Ended::Signal(n) | Ended::Stopped(n) => 128 + n,
        }
    }
}

/// What `reap` found.
pub enum Reaped {
    /// This process ended or stopped.
    Process(i32, Ended),
    /// There are children, none of them has news.
    Nothing,
    /// There is no child left.
    Childless,
}

/// Takes one piece of news of any child, without waiting.
pub fn reap() -> Reaped {
    loop {
        let mut status = 0;
        // SAFETY: waitpid fills the integer it is given.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | libc::WUNTRACED) };
        if pid == 0 {
            return Reaped::Nothing;
        }
        if pid < 0 {
            if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) {
                continue;
            }
            return Reaped::Childless;
        }
        let ended = if libc::WIFEXITED(status) {
            Ended::Exit(libc::WEXITSTATUS(status))
        } else if libc::WIFSIGNALED(status) {
            Ended::Signal(libc::WTERMSIG(status))
        } else if libc::WIFSTOPPED(status) {
            Ended::Stopped(libc::WSTOPSIG(status))
        } else {
            continue;
        };
        return Reaped::Process(pid, ended);
    }
}

/// Sends a signal to one process (`pid` > 0) or to a whole group (`pid` < 0). False when there is none.
pub fn kill(pid: i32, signal: i32) -> bool {
    // 0 and -1 mean "my group" and "everyone": never by accident.
    if pid == 0 || pid == -1 {
        return false;
    }
    // SAFETY: kill only sends a signal.
    unsafe { libc::kill(pid, signal) == 0 }
}

/// Whether a process has a handler for a signal, or ignores it. `None` where there is no /proc to tell.
pub fn survives(pid: i32, signal: i32) -> Option<bool> {
    let status = std::fs::read_to_string(["/proc/", &pid.to_string(), "/status"].concat()).ok()?;
    let mut mask = 0;
    for line in status.lines() {
        if let Some(hex) = line.strip_prefix("SigCgt:").or_else(|| line.strip_prefix("SigIgn:")) {
            mask |= u64::from_str_radix(hex.trim(), 16).ok()?;
        }
    }
    Some(mask >> (signal - 1).clamp(0, 63) & 1 == 1)
}

/// Signals everything that is left of the app: as PID 1 every process there is, otherwise the children that
/// were handed to us (found in /proc, where there is one) and their groups.
pub fn kill_rest(signal: i32) {
    if std::process::id() == 1 {
        // SAFETY: in a PID namespace's first process, -1 is everyone but ourselves.
        unsafe { libc::kill(-1, signal) };
        return;
    }
    let me = std::process::id().to_string();
    let Ok(dir) = std::fs::read_dir("/proc") else { return };
    for entry in dir.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // pid (comm) state ppid ...: comm may hold anything, so look behind its last parenthesis (proc(5)).
        let ppid = stat.rsplit(')').next().and_then(|rest| rest.split_ascii_whitespace().nth(1));
        if ppid == Some(me.as_str()) {
            kill(pid, signal);
        }
    }
}

/// Becomes the parent of orphaned descendants, as PID 1 is without asking.
pub fn become_subreaper() {
    if std::process::id() != 1 {
        // SAFETY: sets one flag of this process (prctl(2), Linux 3.4).
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    }
}
