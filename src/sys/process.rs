//! Child processes: start one in a group of its own, reap whatever ended, send signals. Only the loop's thread
//! comes here, so a pid that was reaped is never signalled again.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// What to start.
pub struct Start<'a> {
    /// Program and arguments; the program is searched in PATH.
    pub argv: &'a [String],
    /// Variables to set in addition to the inherited environment.
    pub env: &'a [(String, String)],
    /// Variables to leave out of the inherited environment.
    pub env_remove: &'a [&'a str],
    /// The app gets our standard streams; other commands read nothing and write to standard error.
    pub is_app: bool,
    /// Give the terminal's foreground to the new group.
    pub foreground: bool,
    /// Where what it prints goes: standard output, and with `true` standard error, too.
    pub output: Option<(BorrowedFd<'a>, bool)>,
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
/// By hand rather than by std's Command, which costs 14,000 bytes and cannot set the terminal's group.
///
/// # Errors
/// The program cannot be found or run, or the system has no room for another process.
pub fn start(s: &Start) -> Result<i32, StartError> {
    let Some(program) = s.argv.first() else {
        return Err(StartError { code: 127, text: "no program given".to_string() });
    };
    // Everything that allocates comes before fork: another thread may hold the allocator's lock.
    let (mut argv, mut vars, mut paths) = (Words::default(), Words::default(), Words::default());
    for word in s.argv {
        argv.add([word.as_bytes(), b"", b""]);
    }
    for (name, value) in std::env::vars_os() {
        let is_set = |n: &str| name.as_bytes() == n.as_bytes();
        if !s.env_remove.iter().any(|n| is_set(n)) && !s.env.iter().any(|(n, _)| is_set(n)) {
            vars.add([name.as_bytes(), b"=", value.as_bytes()]);
        }
    }
    for (name, value) in s.env {
        vars.add([name.as_bytes(), b"=", value.as_bytes()]);
    }
    candidates(program, &mut paths);
    let (argv, envp, paths) = (&argv.pointers()?, &vars.pointers()?, &paths.pointers()?);
    let input = if s.is_app { None } else { Some(nothing().map_err(|e| failed(&e))?) };
    let (mut report, told) = io::pipe().map_err(|e| failed(&e))?; // both ends are close-on-exec
    let (stdin, told_fd) = (input.as_ref().map_or(-1, AsRawFd::as_raw_fd), told.as_raw_fd());
    let mask = super::signal::block_all();
    // SAFETY: the child only calls async-signal-safe functions on memory made before the fork, and ends in _exit.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: as above.
        unsafe { child(s, stdin, told_fd, argv, envp, paths) };
    }
    let forked = io::Error::last_os_error();
    mask.restore();
    if pid < 0 {
        return Err(failed(&forked));
    }
    drop(told);
    // A pipe that closes with the exec tells nothing; one with four bytes in it tells why there was none.
    let mut errno = [0u8; 4];
    if report.read_exact(&mut errno).is_err() {
        return Ok(pid);
    }
    let mut status = 0;
    // SAFETY: waits for our own child, which is ending.
    unsafe { libc::waitpid(pid, &mut status, 0) };
    Err(failed(&io::Error::from_raw_os_error(i32::from_ne_bytes(errno))))
}

/// The child's side between fork and exec.
///
/// # Safety
/// Only in a fresh child; the pointer lists end in null and point to null-terminated strings.
unsafe fn child(s: &Start, stdin: i32, told: i32, argv: &Pointers, envp: &Pointers, paths: &Pointers) -> ! {
    // SAFETY: async-signal-safe calls only.
    unsafe {
        // Handlers first, then the mask: a handler run here would write to the parent's self-pipe.
        for n in 1..=64 {
            super::signal::set(n, libc::SIG_DFL);
        }
        libc::setpgid(0, 0);
        if s.foreground {
            super::terminal::give(libc::getpid());
        }
        if stdin >= 0 {
            libc::dup2(stdin, 0);
            libc::dup2(2, 1);
        }
        if let Some((fd, is_all)) = s.output {
            libc::dup2(fd.as_raw_fd(), 1);
            if is_all {
                libc::dup2(1, 2);
            }
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        // As a shell searches: the first that runs; one that may not be run counts if none is found.
        let mut why = libc::ENOENT;
        for path in paths.iter().take_while(|p| !p.is_null()) {
            libc::execve(*path, argv.as_ptr(), envp.as_ptr());
            match *libc::__errno_location() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => why = libc::EACCES,
                other => {
                    why = other;
                    break;
                }
            }
        }
        libc::write(told, (&raw const why).cast(), 4);
        libc::_exit(127)
    }
}

type Pointers = Vec<*const libc::c_char>;

/// Words as C has them: one behind the other, a zero byte after each.
#[derive(Default)]
struct Words {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Words {
    /// One more, of these pieces.
    #[inline(never)]
    fn add(&mut self, pieces: [&[u8]; 3]) {
        self.starts.push(self.bytes.len());
        for piece in pieces {
            self.bytes.extend_from_slice(piece);
        }
        self.bytes.push(0);
    }

    /// Where they begin, with a null behind the last.
    #[inline(never)]
    fn pointers(&self) -> Result<Pointers, StartError> {
        let mut all = Vec::new();
        for start in &self.starts {
            all.push(self.bytes.get(*start..).unwrap_or(&[]).as_ptr().cast());
        }
        all.push(std::ptr::null());
        if self.bytes.iter().filter(|b| **b == 0).count() > self.starts.len() {
            return Err(StartError { code: 126, text: "a word holds a zero byte".to_string() });
        }
        Ok(all)
    }
}

/// Where a program may be: itself if it has a `/`, else in the folders of PATH.
fn candidates(program: &str, paths: &mut Words) {
    if program.contains('/') || program.is_empty() {
        return paths.add([program.as_bytes(), b"", b""]);
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/bin:/usr/bin".into());
    for dir in path.as_bytes().split(|b| *b == b':') {
        paths.add([if dir.is_empty() { b"." } else { dir }, b"/", program.as_bytes()]);
    }
}

fn failed(e: &io::Error) -> StartError {
    let code = match e.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => 127,
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => 0,
        _ => 126,
    };
    StartError { code, text: crate::error::os_text(e) }
}

/// Standard input with nothing in it, also where there is no /dev/null.
fn nothing() -> io::Result<OwnedFd> {
    if let Ok(f) = File::open("/dev/null") {
        return Ok(OwnedFd::from(f));
    }
    Ok(OwnedFd::from(io::pipe()?.0)) // the writing end is closed at once
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

/// Whether a process has a handler for a signal, ignores it, or blocks it (and takes it by sigwait(3) or
/// signalfd(2)). `None` where there is no /proc to tell.
pub fn survives(pid: i32, signal: i32) -> Option<bool> {
    let status = std::fs::read_to_string(["/proc/", &pid.to_string(), "/status"].concat()).ok()?;
    let mut mask = 0;
    for line in status.lines() {
        let sets = ["SigCgt:", "SigIgn:", "SigBlk:"];
        if let Some(hex) = sets.iter().find_map(|set| line.strip_prefix(set)) {
            mask |= u64::from_str_radix(hex.trim(), 16).ok()?;
        }
    }
    // In sigwait(3) itself the kernel shows what is waited for as not blocked.
    let waits = || {
        let call = std::fs::read_to_string(["/proc/", &pid.to_string(), "/syscall"].concat()).unwrap_or_default();
        call.split(' ').next() == Some(&libc::SYS_rt_sigtimedwait.to_string())
    };
    Some(mask >> (signal - 1).clamp(0, 63) & 1 == 1 || waits())
}

/// All processes with what /proc/PID/stat says of them; `None` where there is no /proc to tell.
#[inline(never)]
fn stats() -> Option<Vec<(i32, String)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        if let Ok(stat) = std::fs::read(entry.path().join("stat")) {
            all.push((pid, String::from_utf8_lossy(&stat).into_owned()));
        }
    }
    Some(all)
}

/// Fields of /proc/PID/stat, counted from behind the process's name (proc(5)).
const PARENT: usize = 1;
const GROUP: usize = 2;
/// In hundredths of a second since the system's start.
const STARTED: usize = 19;

/// A field of /proc/PID/stat: pid (name) state parent ...: the name may hold anything, so look behind its last
/// parenthesis.
#[inline(never)]
fn field(stat: &str, n: usize) -> i64 {
    let rest = stat.rsplit(')').next().unwrap_or("");
    rest.split_ascii_whitespace().nth(n).and_then(|f| f.parse().ok()).unwrap_or(0)
}

/// A process younger than this is not signalled, in hundredths of a second: it may have no handler yet, whatever its mask
/// says (see state/reload.rs).
const YOUNG: i64 = 100;
/// One younger than this is only signalled when it is not ended by it.
const HANDLER_WAIT: i64 = 500;

/// Signals the processes of this name (its first 15 bytes count, as the kernel keeps no more), but those whose parent has
/// the name too: nginx's master, not its workers. Commands of ours, whose groups `ours` has, are not meant. Between
/// the look and the signal a process may end and another take its number; the kernel hands numbers out in turn.
///
/// # Errors
/// There is none, or one of them could not be signalled.
#[inline(never)]
pub fn signal_named(name: &str, signal: i32, ours: &[i32]) -> Result<(), String> {
    let Some(mut all) = stats() else { return Err("cannot look for processes: /proc is not mounted".to_string()) };
    let short = String::from_utf8_lossy(name.as_bytes().get(..15).unwrap_or(name.as_bytes()));
    let me = i64::from(std::process::id());
    all.retain(|(pid, stat)| {
        let rest = stat.strip_prefix(&[&pid.to_string(), " (", &short, ") "].concat());
        let is_it = rest.is_some_and(|r| !r.starts_with('Z')); // a zombie bears every signal
        is_it && i64::from(*pid) != me && !ours.iter().any(|g| i64::from(*g) == field(stat, GROUP))
    });
    let mut why = " is not running";
    for (pid, stat) in &all {
        if all.iter().any(|(p, _)| i64::from(*p) == field(stat, PARENT)) {
            continue;
        }
        let age = since_boot() - field(stat, STARTED);
        if age < YOUNG || (age < HANDLER_WAIT && survives(*pid, signal) == Some(false)) {
            return Err([name, " has just started"].concat());
        }
        if !kill(*pid, signal) {
            return Err(["cannot signal ", name, ": ", &crate::error::os_text(&io::Error::last_os_error())].concat());
        }
        why = "";
    }
    if why.is_empty() { Ok(()) } else { Err([name, why].concat()) }
}

/// Hundredths of a second since the system's start, by the clock that /proc/PID/stat uses.
fn since_boot() -> i64 {
    // SAFETY: an all-zero timespec is valid memory, which the call fills.
    let t = unsafe {
        let mut t: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut t);
        t
    };
    t.tv_sec.saturating_mul(100).saturating_add(t.tv_nsec / 10_000_000)
}

/// Signals everything that is left of the app: as PID 1 every process there is, otherwise our children and all that
/// descends from them, as /proc shows them. False where there is no /proc to tell.
pub fn kill_rest(signal: i32) -> bool {
    let me = std::process::id();
    if me == 1 {
        // SAFETY: in a PID namespace's first process, -1 is everyone but ourselves.
        unsafe { libc::kill(-1, signal) };
        return true;
    }
    let Some(mut all) = stats() else { return false };
    // Children's children at once: when their parent is gone they are ours, but then it is too late to find them.
    let is_telling = !all.is_empty();
    let mut parents = vec![i32::try_from(me).unwrap_or(0)];
    while let Some(parent) = parents.pop() {
        all.retain(|(pid, stat)| {
            let is_child = field(stat, PARENT) == i64::from(parent);
            if is_child {
                kill(*pid, signal);
                parents.push(*pid);
            }
            !is_child
        });
    }
    is_telling
}

/// Becomes the parent of orphaned descendants, as PID 1 is without asking.
pub fn become_subreaper() {
    if std::process::id() != 1 {
        // SAFETY: sets one flag of this process (prctl(2), Linux 3.4).
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    }
}
