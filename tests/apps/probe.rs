//! probe: the app that pilotfish starts in tests. Static, without any package, at home in an empty root.
//!
//!   config FILE [CODE]
//!                  prints `config: CONTENT pid=N` (line ends in CONTENT as `\n`; or `config: cannot read ...`) at start
//!                  and at each HUP, `signal N` for each other signal it can get, `term` at TERM; then exits with CODE
//!                  (0 if not said)
//!   wait           the same without a file: `ready pid=N` at start, `signal 1` at HUP
//!   exit N         exits with this code
//!   kill-self N    ends itself with this signal
//!   orphans N      leaves N grandchildren that exit at once, prints `orphans done`, goes on as `wait`
//!   ignore-term    prints `ignoring pid=N`, ignores TERM, goes on for ever
//!   grandchild     starts a child that ignores TERM and HUP, prints `grandchild pid=N`, goes on as `wait`
//!   status         prints SigBlk, SigIgn, SigCgt (if /proc is there), `fd N` for each open descriptor, `status done`
//!   env            prints its environment, one `env NAME=VALUE` a line, then `env done`
//!   args ...       prints its arguments, one `arg TEXT` a line, then `args done`
//!   tty            prints `tty foreground`, `tty background` or `tty none`, goes on as `wait`
//!   outlive MS     prints `ready pid=N`; at TERM prints `term`, lives for MS more, prints `late`, exits 0

// Without Rust's own start, which ignores SIGPIPE and catches SIGSEGV: `status` must show what was inherited.
#![no_main]

use std::ffi::CStr;
use std::io::Write;
use std::os::raw::{c_char, c_int, c_long, c_void};

unsafe extern "C" {
    fn fork() -> c_int;
    fn getpid() -> c_int;
    fn getpgrp() -> c_int;
    fn tcgetpgrp(fd: c_int) -> c_int;
    fn isatty(fd: c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn _exit(code: c_int) -> !;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn signal(number: c_int, handler: usize) -> usize;
    fn prctl(option: c_int, value: usize, ...) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn pause() -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
}

#[cfg(target_arch = "x86_64")]
const RT_SIGPROCMASK: c_long = 14;
#[cfg(target_arch = "x86_64")]
const RT_SIGTIMEDWAIT: c_long = 128;
#[cfg(target_arch = "aarch64")]
const RT_SIGPROCMASK: c_long = 135;
#[cfg(target_arch = "aarch64")]
const RT_SIGTIMEDWAIT: c_long = 137;

const ALL: u64 = !0;
const HUP: c_int = 1;
const TERM: c_int = 15;
const CHLD: c_int = 17;

/// One line, at once, in one write: several processes may share the pipe. A closed output is no reason to end.
fn say(text: &str) {
    let mut line = String::from(text);
    line.push('\n');
    let mut out = std::io::stdout();
    let _ = out.write_all(line.as_bytes());
    let _ = out.flush();
}

/// Blocks every signal by the bare system call: the C library would leave out those it keeps for itself (32-34).
fn block_all() {
    unsafe { syscall(RT_SIGPROCMASK, 0 as c_long, &ALL as *const u64, std::ptr::null::<u64>(), 8 as c_long) };
}

fn next_signal() -> c_int {
    loop {
        let null = std::ptr::null::<c_void>();
        let n = unsafe { syscall(RT_SIGTIMEDWAIT, &ALL as *const u64, null, null, 8 as c_long) };
        if n > 0 {
            return n as c_int;
        }
    }
}

fn show(file: Option<&str>) {
    let Some(file) = file else { return };
    let pid = unsafe { getpid() };
    match std::fs::read(file) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes).replace('\\', "\\\\").replace('\n', "\\n");
            say(&format!("config: {text} pid={pid}"));
        }
        Err(e) => say(&format!("config: cannot read {file}: {e} pid={pid}")),
    }
}

/// Says each signal, and goes at TERM.
fn serve(file: Option<&str>, code: i32) -> ! {
    loop {
        match next_signal() {
            TERM => {
                say("term");
                std::process::exit(code);
            }
            HUP if file.is_some() => show(file),
            CHLD => while unsafe { waitpid(-1, std::ptr::null_mut(), 1) } > 0 {},
            n => say(&format!("signal {n}")),
        }
    }
}

fn ready() {
    say(&format!("ready pid={}", unsafe { getpid() }));
}

#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let arg = |i| unsafe { CStr::from_ptr(*argv.add(i)) }.to_string_lossy().into_owned();
    let args: Vec<String> = (0..argc as usize).map(arg).collect();
    run(&args);
    0
}

fn run(args: &[String]) {
    let mode = args.get(1).map_or("", String::as_str);
    let second = args.get(2).map_or("", String::as_str);
    let number = second.parse::<i32>().unwrap_or(0);
    match mode {
        "config" => {
            block_all();
            show(Some(second));
            serve(Some(second), args.get(3).and_then(|c| c.parse().ok()).unwrap_or(0));
        }
        "wait" => {
            block_all();
            ready();
            serve(None, 0);
        }
        "exit" => std::process::exit(number),
        "kill-self" => unsafe {
            prctl(4, 0); // PR_SET_DUMPABLE: no core files in the folder of a test
            signal(number, 0);
            kill(getpid(), number);
            // It was one of those that do not end a process.
            std::process::exit(0);
        },
        "orphans" => {
            block_all();
            for _ in 0..number {
                match unsafe { fork() } {
                    0 => unsafe {
                        fork();
                        _exit(0);
                    },
                    -1 => say("orphans: fork failed"),
                    pid => while unsafe { waitpid(pid, std::ptr::null_mut(), 0) } == -1 {},
                }
            }
            say("orphans done");
            serve(None, 0);
        }
        "ignore-term" => {
            unsafe { signal(TERM, 1) };
            say(&format!("ignoring pid={}", unsafe { getpid() }));
            loop {
                unsafe { pause() };
            }
        }
        "grandchild" => {
            block_all();
            match unsafe { fork() } {
                0 => loop {
                    next_signal();
                },
                pid => say(&format!("grandchild pid={pid}")),
            }
            serve(None, 0);
        }
        "status" => {
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            for line in status.lines().filter(|l| ["SigBlk", "SigIgn", "SigCgt"].iter().any(|n| l.starts_with(n))) {
                say(line);
            }
            for fd in (0..1024).filter(|fd| unsafe { fcntl(*fd, 1) } >= 0) {
                match std::fs::read_link(format!("/proc/self/fd/{fd}")) {
                    Ok(to) => say(&format!("fd {fd} {}", to.display())),
                    Err(_) => say(&format!("fd {fd}")),
                }
            }
            say("status done");
        }
        "env" => {
            for (name, value) in std::env::vars_os() {
                say(&format!("env {}={}", name.to_string_lossy(), value.to_string_lossy()));
            }
            say("env done");
        }
        "args" => {
            for arg in args.iter().skip(2) {
                say(&format!("arg {arg}"));
            }
            say("args done");
        }
        "tty" => {
            block_all();
            let here = unsafe { isatty(0) } == 1;
            say(match unsafe { tcgetpgrp(0) == getpgrp() } {
                true => "tty foreground",
                false if here => "tty background",
                false => "tty none",
            });
            serve(None, 0);
        }
        "outlive" => {
            block_all();
            ready();
            while next_signal() != TERM {}
            say("term");
            std::thread::sleep(std::time::Duration::from_millis(number as u64));
            say("late");
        }
        _ => {
            say("probe: unknown mode");
            std::process::exit(64);
        }
    }
}
