//! The controlling terminal: who is in its foreground, and giving that place to the app and back.
#![allow(unsafe_code)]

/// Whether standard input is a terminal of which our process group is in the foreground.
pub fn is_ours() -> bool {
    // SAFETY: tcgetpgrp and getpgrp only ask.
    unsafe { libc::tcgetpgrp(0) == libc::getpgrp() }
}

/// Puts a process group into the terminal's foreground. TTOU is blocked meanwhile: a background process that
/// does this is stopped otherwise (tcsetpgrp(3)). Async-signal-safe.
pub fn give(pgid: i32) {
    // SAFETY: the sets are valid memory; tcsetpgrp on no terminal only gives an error.
    unsafe {
        let mut ttou: libc::sigset_t = std::mem::zeroed();
        let mut old: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut ttou);
        libc::sigaddset(&mut ttou, libc::SIGTTOU);
        libc::pthread_sigmask(libc::SIG_BLOCK, &ttou, &mut old);
        libc::tcsetpgrp(0, pgid);
        libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut());
    }
}

/// Takes the foreground back for our own group.
pub fn take_back() {
    // SAFETY: getpgrp cannot fail.
    give(unsafe { libc::getpgrp() });
}

/// Stops ourselves, as a shell expects when the app in the foreground was stopped from the keyboard.
pub fn suspend() {
    // SAFETY: raise only sends a signal to this process.
    unsafe { libc::raise(libc::SIGSTOP) };
}
