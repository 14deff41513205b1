//! Supervision seen from outside (RELIABILITY 1-17): exit codes, signals, stopping; and in the files of supervision/
//! orphans, terminals, and what the world may do to a supervisor. What can differ is tried in both places: as PID 1 of
//! a process namespace, and as an ordinary process.

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

mod util;

#[path = "supervision/orphans.rs"]
mod orphans;
#[path = "supervision/terminal.rs"]
mod terminal;
#[path = "supervision/world.rs"]
mod world;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;
use util::*;

/// Where pilotfish runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// An ordinary process with a parent; a subreaper.
    Plain,
    /// The first process of a process namespace.
    Pid1,
}

/// pilotfish, not telling what it is about to run: scripts hold the words that tests wait for.
fn quiet() -> Cmd {
    pilotfish().env("PILOTFISH_LOG_LEVEL", "warning")
}

const PLACES: [Place; 2] = [Place::Plain, Place::Pid1];

impl Place {
    fn cmd(self) -> Cmd {
        match self {
            Place::Plain => quiet(),
            Place::Pid1 => in_pid_namespace(None, pilotfish_bin()).env("PILOTFISH_LOG_LEVEL", "warning"),
        }
    }
    /// pilotfish's own pid, as we see it.
    fn pid(self, proc: &Proc) -> i32 {
        match self {
            Place::Plain => proc.pid(),
            Place::Pid1 => proc.inner_pid(),
        }
    }
    fn signal(self, proc: &Proc, number: i32) {
        match self {
            Place::Plain => proc.signal(number),
            Place::Pid1 => proc.signal_inner(number),
        }
    }
}

/// Whether this process is there and is no zombie.
fn lives(pid: i32) -> bool {
    processes().iter().any(|p| p.pid == pid && p.state != 'Z')
}

fn state_of(pid: i32) -> char {
    processes().iter().find(|p| p.pid == pid).map_or('-', |p| p.state)
}

/// The app, which is pilotfish's only child.
fn app_of(pilotfish: i32) -> i32 {
    wait_until(secs(20), "pilotfish's only child", || match children_of(pilotfish).as_slice() {
        [app] => Some(app.pid),
        _ => None,
    })
}

/// Does `work` for each number, on a few threads; the first panic is the test's.
fn in_parallel(numbers: Vec<i32>, work: impl Fn(i32) + Sync) {
    let next = AtomicI32::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while let Some(n) = numbers.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                        work(*n);
                    }
                })
            })
            .collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

// --- exit codes (7) -----------------------------------------------------------------------------------------------

#[test]
fn every_exit_code_is_passed_on() {
    let app = static_app();
    in_parallel((0..256).collect(), |code| {
        let proc = pilotfish().arg(&app).args(["exit", &code.to_string()]).spawn();
        proc.expect_exit(Exit::Code(code), secs(60));
    });
}

#[test]
fn a_signal_that_ends_the_app_becomes_128_and_its_number() {
    let app = static_app();
    // CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG and WINCH end nobody.
    let fatal = (1..=last_signal()).filter(|n| ![17, 18, 19, 20, 21, 22, 23, 28].contains(n)).collect();
    in_parallel(fatal, |number| {
        let proc = pilotfish().arg(&app).args(["kill-self", &number.to_string()]).spawn();
        proc.expect_exit(Exit::Code(128 + number), secs(60));
    });
}

#[test]
fn pid_1_passes_codes_and_signals_on() {
    let (app, last) = (static_app(), last_signal());
    for (what, number, code) in
        [("exit", 0, 0), ("exit", 1, 1), ("exit", 255, 255), ("kill-self", 9, 137), ("kill-self", last, 128 + last)]
    {
        let proc = Place::Pid1.cmd().arg(&app).args([what, &number.to_string()]).spawn();
        proc.expect_exit(Exit::Code(code), secs(30));
    }
}

#[test]
fn what_cannot_be_run_gives_127_or_126_and_says_why() {
    let dir = TempDir::new();
    let mode = |name: &str, text: &str, mode: u32| {
        let path = dir.write(name, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let no_bit = mode("bin/no-bit", "#!/bin/sh\n", 0o644);
    let no_header = mode("bin/no-header", "neither ELF nor script\n", 0o755);
    let path = dir.join("bin").display().to_string();
    let folder = dir.mkdir("folder").display().to_string();
    let absent = dir.join("absent").display().to_string();
    let below_a_file = dir.join("bin/no-bit/x").display().to_string();
    for place in PLACES {
        for (program, code) in [
            (absent.as_str(), 127),
            ("not-in-path", 127),
            (no_bit.as_str(), 126),
            ("no-bit", 126), // found in PATH, and may not be run
            (no_header.as_str(), 126),
            (folder.as_str(), 126),
            (below_a_file.as_str(), 127),
        ] {
            let path = format!("{path}:/usr/bin:/bin:/usr/sbin:/sbin");
            let proc = place.cmd().env("PATH", &path).arg(program).spawn();
            proc.expect_exit(Exit::Code(code), secs(30));
            proc.check(proc.stderr().contains(&format!("cannot run {program}: ")), "it should say what cannot be run");
        }
    }
}

// --- signals (3, 4) -----------------------------------------------------------------------------------------------

/// Everything that goes to the app as it came. TERM and INT are passed on too, and pilotfish stops with the app.
/// Not in the list: KILL and STOP, which nobody can catch; 32 to 34, which the C library keeps for itself; CHLD; the
/// faults and PIPE; XCPU and XFSZ, which speak of pilotfish's own limits; TTIN and TTOU, of its own terminal.
fn forwarded() -> Vec<i32> {
    let mut all = vec![
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGCONT,
        libc::SIGTSTP,
        libc::SIGURG,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGWINCH,
        libc::SIGIO,
        libc::SIGPWR,
    ];
    all.extend(35..=last_signal());
    all
}

#[test]
fn every_signal_reaches_the_app_and_the_rest_harms_nobody() {
    for place in PLACES {
        let proc = place.cmd().arg(static_app()).arg("wait").spawn();
        proc.wait_line("ready", secs(20));
        let arrives = |number: i32| {
            let mark = proc.mark();
            place.signal(&proc, number);
            let line = proc.wait_line_after(mark, "signal ", secs(20)).text;
            proc.check(line == format!("signal {number}"), &format!("the app should have got {number}, {place:?}"));
        };
        for number in forwarded() {
            arrives(number);
        }
        let mut harmless =
            vec![libc::SIGPIPE, libc::SIGCHLD, libc::SIGTTIN, libc::SIGTTOU, libc::SIGXCPU, libc::SIGXFSZ];
        if place == Place::Pid1 && emulated().is_none() {
            // Without a handler the kernel keeps these from a namespace's first process.
            harmless.extend([libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGBUS, libc::SIGFPE, libc::SIGSEGV]);
            harmless.extend([libc::SIGSTKFLT, libc::SIGSYS, 32, 33, 34]);
        }
        for number in harmless {
            place.signal(&proc, number);
        }
        arrives(libc::SIGUSR1); // one of the harmless would have come before it
        proc.check(state_of(place.pid(&proc)) != 'T', "pilotfish should not be stopped");
        arrives(libc::SIGINT); // as INT, not as TERM
        place.signal(&proc, libc::SIGTERM);
        proc.wait_line("term", secs(20));
        proc.expect_exit(Exit::Code(0), secs(20));
    }
}

#[test]
fn a_stop_stops_the_app_alone_and_continue_wakes_it() {
    for place in PLACES {
        let proc = place.cmd().args(["sh", "-c", "echo begun; exec sleep 1000"]).spawn();
        proc.wait_line("begun", secs(20));
        let me = place.pid(&proc);
        let app = app_of(me);
        for _ in 0..2 {
            place.signal(&proc, libc::SIGTSTP);
            wait_until(secs(20), "the app to be stopped", || (state_of(app) == 'T').then_some(()));
            place.signal(&proc, libc::SIGTTIN);
            place.signal(&proc, libc::SIGTTOU);
            place.signal(&proc, libc::SIGCONT);
            wait_until(secs(20), "the app to go on", || (state_of(app) == 'S').then_some(()));
            proc.check(state_of(me) != 'T', "pilotfish should never be stopped");
        }
        place.signal(&proc, libc::SIGTERM);
        proc.expect_exit(Exit::Code(143), secs(20));
    }
}

#[test]
fn the_stop_signal_is_the_one_asked_for() {
    let proc = pilotfish().args(["--stop-signal", "SIGRTMIN+3"]).arg(static_app()).arg("wait").spawn();
    proc.wait_line("ready", secs(20));
    proc.signal(libc::SIGTERM);
    proc.wait_line("signal 37", secs(20));
    proc.check(proc.lines_matching("term").is_empty(), "TERM should not be sent");
    app_end(&proc);
}

/// Ends the app by KILL, which pilotfish passes on.
fn app_end(proc: &Proc) {
    // SAFETY: plain system call.
    unsafe { libc::kill(app_of(proc.pid()), libc::SIGKILL) };
    proc.expect_exit(Exit::Code(137), secs(20));
}

// --- stopping (8, 10, 11) -----------------------------------------------------------------------------------------

#[test]
fn an_app_that_ignores_term_is_killed_with_its_group() {
    for place in PLACES {
        let script = "trap '' TERM; sleep 1000 & echo member; wait; sleep 1000";
        let proc = place.cmd().args(["--stop-timeout", "400ms", "sh", "-c", script]).spawn();
        proc.wait_line("member", secs(20));
        let app = app_of(place.pid(&proc));
        let member = app_of(app);
        let begin = Instant::now();
        place.signal(&proc, libc::SIGTERM);
        proc.expect_exit(Exit::Code(137), secs(20));
        proc.check(begin.elapsed() >= millis(400), "the app should have had its time");
        proc.check(proc.stderr().contains("did not stop in time"), "it should say that it killed the app");
        proc.check(!lives(app) && !lives(member), "the whole group should be gone");
    }
}

#[test]
fn a_second_term_neither_restarts_the_app_nor_loses_its_end() {
    for place in PLACES {
        let options = ["--restart", "always", "--reload", "restart"];
        let proc = place.cmd().args(options).arg(static_app()).args(["outlive", "300"]).spawn();
        proc.wait_line("ready", secs(20));
        place.signal(&proc, libc::SIGTERM);
        proc.wait_line("term", secs(20));
        place.signal(&proc, libc::SIGTERM);
        place.signal(&proc, libc::SIGINT);
        proc.expect_exit(Exit::Code(0), secs(20));
        proc.check(proc.lines_matching("late").len() == 1, "the app should have come to its end");
        proc.check(proc.lines_matching("ready").len() == 1, "the app should not be started again");
    }
}

#[test]
fn a_second_term_reaches_an_app_that_waits_for_it() {
    let script = "trap 'n=$((n+1)); echo got $n; [ $n = 2 ] && exit 5' TERM; echo begun; while :; do sleep 0.02; done";
    let proc = quiet().args(["sh", "-c", script]).spawn();
    proc.wait_line("begun", secs(20));
    proc.signal(libc::SIGTERM);
    proc.wait_line("got 1", secs(20));
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(5), secs(20));
}

#[test]
fn term_before_the_first_render_ends_at_once() {
    let dir = TempDir::new();
    let template = dir.write("a.tmpl", "{{ getv \"/app/key\" }}");
    let template = format!("{}:{}", template.display(), dir.join("a").display());
    // One refuses connections; the other takes them and never answers.
    let refuses = format!("consul://127.0.0.1:{}/", free_port());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hangs = format!("consul://{}/", silent.local_addr().unwrap());
    let check = &|place: Place, source: &str, signal: i32, code: i32| {
        let options = ["--log-level", "info", "--source", source, "--template", &template, "--"];
        let proc = place.cmd().args(options).arg(static_app()).arg("wait").spawn();
        proc.wait_line("waiting for the first configuration", secs(20));
        // What is meant for an app that is not there yet must not end pilotfish.
        for early in [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM, 40] {
            place.signal(&proc, early);
        }
        let begin = Instant::now();
        place.signal(&proc, signal);
        proc.expect_exit(Exit::Code(code), secs(20));
        let took = begin.elapsed();
        eprintln!("measured: signal {signal} before the first render, {place:?}, {source}: {took:?}");
        proc.check(proc.lines_matching("ready").is_empty(), "the app should not have been started");
        proc.check(took < secs(3), "the end should be prompt");
    };
    std::thread::scope(|scope| {
        for place in PLACES {
            for source in [&refuses, &hangs] {
                for (signal, code) in [(libc::SIGTERM, 143), (libc::SIGINT, 130), (libc::SIGQUIT, 131)] {
                    scope.spawn(move || check(place, source, signal, code));
                }
            }
        }
    });
    assert!(!dir.join("a").exists());
}
