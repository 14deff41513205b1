//! Signals: a handler that sets a flag and writes a byte to the self-pipe, and the masks that keep signals off
//! worker threads. What a signal means is decided in state/.
#![allow(unsafe_code)]

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// Highest signal number on Linux, plus one.
const COUNT: usize = 65;

static PENDING: [AtomicBool; COUNT] = [const { AtomicBool::new(false) }; COUNT];
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// The signals pilotfish catches. Left alone: KILL and STOP (cannot be caught), the faults (a handler would
/// loop), and 32-34, which the C library keeps for its threads.
fn is_caught(n: i32) -> bool {
    match n {
        libc::SIGHUP
        | libc::SIGINT
        | libc::SIGQUIT
        | libc::SIGUSR1
        | libc::SIGUSR2
        | libc::SIGALRM
        | libc::SIGTERM
        | libc::SIGCHLD
        | libc::SIGCONT
        | libc::SIGTSTP
        | libc::SIGURG
        | libc::SIGXCPU
        | libc::SIGXFSZ
        | libc::SIGVTALRM
        | libc::SIGPROF
        | libc::SIGWINCH
        | libc::SIGIO
        | libc::SIGPWR => true,
        _ => (35..=64).contains(&n),
    }
}

extern "C" fn on_signal(n: libc::c_int) {
    // SAFETY: __errno_location is async-signal-safe and valid for this thread.
    let errno = unsafe { *libc::__errno_location() };
    if let Some(flag) = usize::try_from(n).ok().and_then(|i| PENDING.get(i)) {
        flag.store(true, Ordering::SeqCst); // the flag first, then the byte: whoever sees the byte sees the flag
    }
    super::pipe::wake(PIPE.load(Ordering::SeqCst));
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Installs the handler for every signal pilotfish acts on or forwards, ignores SIGPIPE (a closed log pipe must not end
/// the supervisor), TTOU and TTIN (a handler would restart a log line's write to a terminal with `tostop` for ever;
/// ignored, the line is written), sets what was inherited as ignored back to its default, and empties the mask.
pub fn install(pipe: RawFd) {
    PIPE.store(pipe, Ordering::SeqCst);
    for n in 1..COUNT as i32 {
        let handler = if is_caught(n) {
            on_signal as *const () as libc::sighandler_t
        } else if matches!(n, libc::SIGPIPE | libc::SIGTTIN | libc::SIGTTOU) {
            libc::SIG_IGN
        } else {
            libc::SIG_DFL
        };
        set(n, handler);
    }
    // SAFETY: an all-zero sigset_t is valid memory for sigemptyset.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Lets a write to a pipe that nobody reads fail instead of ending us.
pub fn ignore_pipe() {
    set(libc::SIGPIPE, libc::SIG_IGN);
}

/// Sets one disposition; KILL, STOP and the C library's own give an error that changes nothing.
pub(super) fn set(n: i32, handler: libc::sighandler_t) {
    // SAFETY: a zeroed sigaction with a handler of the right kind; async-signal-safe.
    unsafe {
        let mut a: libc::sigaction = std::mem::zeroed();
        a.sa_sigaction = handler;
        a.sa_flags = libc::SA_RESTART;
        libc::sigaction(n, &a, std::ptr::null_mut());
    }
}

/// The caught signals that came since the last call, in number order.
pub fn take() -> Vec<i32> {
    let mut got = Vec::new();
    for (n, flag) in (0i32..).zip(PENDING.iter()) {
        if flag.swap(false, Ordering::SeqCst) {
            got.push(n);
        }
    }
    got
}

/// Forgets a signal that came and was not taken yet.
pub fn forget(n: i32) {
    if let Some(flag) = usize::try_from(n).ok().and_then(|i| PENDING.get(i)) {
        flag.store(false, Ordering::SeqCst);
    }
}

/// A signal mask to go back to.
pub struct Mask(libc::sigset_t);

/// Blocks every signal for the calling thread. Workers call it once, so that signals reach the loop alone.
pub fn block_all() -> Mask {
    // SAFETY: both sets are valid memory; pthread_sigmask changes this thread only.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut old: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old);
        Mask(old)
    }
}

impl Mask {
    /// Sets the mask that was in force before `block_all`.
    pub fn restore(self) {
        // SAFETY: the set came from pthread_sigmask.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

/// A signal's number from `HUP`, `SIGHUP`, `hup` or `1`.
pub fn number(name: &str) -> Option<i32> {
    if let Ok(n) = name.parse::<i32>() {
        return (1..COUNT as i32).contains(&n).then_some(n);
    }
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(rest) = bare.strip_prefix("RTMIN") {
        // The numbers people mean are the kernel's and glibc's: RTMIN is 34.
        let plus = if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse::<i32>().ok()? };
        return (0..=30).contains(&plus).then_some(34 + plus);
    }
    NAMES.iter().find(|(n, _)| *n == bare).map(|(_, n)| *n)
}

/// A signal's name without `SIG`, or its number.
pub fn name(n: i32) -> String {
    match NAMES.iter().find(|(_, number)| *number == n) {
        Some((name, _)) => (*name).to_string(),
        None => n.to_string(),
    }
}

static NAMES: [(&str, i32); 29] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for (text, want) in [
            ("HUP", Some(1)),
            ("SIGHUP", Some(1)),
            ("sigusr2", Some(libc::SIGUSR2)),
            ("9", Some(9)),
            ("64", Some(64)),
            ("RTMIN", Some(34)),
            ("SIGRTMIN+2", Some(36)),
            ("0", None),
            ("65", None),
            ("NOPE", None),
            ("RTMIN+31", None),
            ("", None),
        ] {
            assert_eq!(number(text), want, "{text}");
        }
        assert_eq!(name(15), "TERM");
        assert_eq!(name(40), "40");
    }
}
