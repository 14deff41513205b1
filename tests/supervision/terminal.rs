//! At a terminal: the app is in its foreground and gets what is typed; pilotfish steps back, and out of the way.

use super::*;

/// An interactive shell on a terminal of its own, where jobs are started by typing.
fn shell() -> Proc {
    let proc =
        Cmd::new("bash").args(["--norc", "--noprofile", "-i"]).env("PS1", "").env("HISTFILE", "").terminal().spawn();
    type_line(&proc, "echo at-$((40 + 2))");
    proc.wait_line("at-42", secs(20));
    proc
}

fn type_line(proc: &Proc, line: &str) {
    proc.type_bytes(format!("{line}\n").as_bytes());
}

/// pilotfish as the shell's child.
fn job_of(shell: &Proc) -> i32 {
    wait_until(secs(20), "pilotfish under the shell", || {
        children_of(shell.pid()).into_iter().find(|p| p.name == "pilotfish").map(|p| p.pid)
    })
}

#[test]
fn the_app_is_in_the_foreground_and_gets_what_is_typed() {
    for place in PLACES {
        let proc = place.cmd().arg(static_app()).arg("tty").terminal().spawn();
        proc.wait_line("tty foreground", secs(20));
        for (typed, number) in [(b"\x03", 2), (b"\x1c", 3), (b"\x1a", 20)] {
            let mark = proc.mark();
            proc.type_bytes(typed);
            let line = proc.wait_line_after(mark, "signal ", secs(20)).text;
            // Behind what the terminal echoes (^C), on the same line.
            proc.check(line.ends_with(&format!("signal {number}")), "the app should have got it");
        }
        place.signal(&proc, libc::SIGTERM);
        proc.wait_line("term", secs(20));
        proc.expect_exit(Exit::Code(0), secs(20));
    }
}

#[test]
fn control_c_ends_the_app_and_its_exit_is_passed_on() {
    for (trap, code) in [("trap 'exit 7' INT;", 7), ("", 130)] {
        let script = format!("{trap} echo begun; while :; do sleep 0.02; done");
        let proc = quiet().args(["sh", "-c", &script]).terminal().spawn();
        proc.wait_line("begun", secs(20));
        proc.type_bytes(b"\x03");
        proc.expect_exit(Exit::Code(code), secs(20));
    }
}

#[test]
fn control_z_stops_app_and_pilotfish_and_fg_resumes_both() {
    let shell = shell();
    let dir = TempDir::new();
    // It must not fork: a shell that waits for the exec of its child in vfork(2) cannot be stopped.
    let app = "trap 'echo int; exit 7' INT; echo begun; while :; do read x; done\n";
    type_line(&shell, &format!("'{}' sh '{}'", pilotfish_bin().display(), dir.write("app", app).display()));
    shell.wait_line("begun", secs(20));
    let me = job_of(&shell);
    let child = app_of(me);
    for _ in 0..2 {
        shell.type_bytes(b"\x1a");
        for (who, pid) in [("the app", child), ("pilotfish", me)] {
            wait_state(&shell, who, pid, true);
        }
        let mark = shell.mark();
        type_line(&shell, "echo back-$((40 + 2))");
        shell.wait_line_after(mark, "back-42", secs(20));
        type_line(&shell, "fg");
        for (who, pid) in [("the app", child), ("pilotfish", me)] {
            wait_state(&shell, who, pid, false);
        }
        // The app has the terminal again: its group is in the foreground.
        wait_until(secs(20), "the app in the foreground", || (foreground_of(child) == child).then_some(()));
    }
    let mark = shell.mark();
    shell.type_bytes(b"\x03");
    shell.wait_line_after(mark, "int", secs(20));
    type_line(&shell, "echo last=$?; exit 0");
    shell.expect_exit(Exit::Code(0), secs(20));
    shell.check(shell.lines_matching("last=7").len() == 1, "the app's code should have come to the shell");
}

/// Waits until a process is stopped, or is not.
fn wait_state(shell: &Proc, who: &str, pid: i32, stopped: bool) {
    let start = Instant::now();
    while (state_of(pid) == 'T') != stopped {
        if start.elapsed() > secs(20) {
            let jobs: Vec<Row> = processes().into_iter().filter(|p| p.session == shell.pid()).collect();
            shell.fail(&format!("{who} ({pid}) should be stopped: {stopped}; there are {jobs:#?}"));
        }
        std::thread::sleep(millis(5));
    }
}

/// The foreground group of a process's terminal (field 8 of /proc/PID/stat).
fn foreground_of(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit(')').next().unwrap_or("");
    rest.split_whitespace().nth(5).and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[test]
fn a_job_in_the_background_leaves_the_terminal_alone() {
    let shell = shell();
    type_line(&shell, &format!("'{}' '{}' tty &", pilotfish_bin().display(), static_app().display()));
    shell.wait_line("tty background", secs(20));
    type_line(&shell, "echo still-$((40 + 2))");
    shell.wait_line("still-42", secs(20));
    let me = job_of(&shell);
    type_line(&shell, "kill $!; wait $!; echo code=$((0+$?)); exit 0");
    shell.wait_line("code=0", secs(20));
    wait_until(secs(20), "the end of pilotfish", || (!lives(me)).then_some(()));
}

#[test]
fn a_terminal_that_stops_background_writers_does_not_stop_pilotfish() {
    let dir = TempDir::new();
    dir.write("keys/a", "one");
    let template = dir.write("a.tmpl", "{{ getv \"/a\" }}");
    let run = dir.write(
        "run",
        format!(
            "exec '{}' --source 'dir:{}' --template '{}:{}' '{}' config '{}'\n",
            pilotfish_bin().display(),
            dir.join("keys").display(),
            template.display(),
            dir.join("a").display(),
            static_app().display(),
            dir.join("a").display()
        ),
    );
    let shell = shell();
    type_line(&shell, "stty tostop");
    type_line(&shell, &format!("sh '{}'", run.display()));
    shell.wait_line("config: one", secs(20));
    let me = job_of(&shell);
    // Its log lines come from the background now: the app has the foreground.
    for value in ["two", "three"] {
        dir.write("keys/a", value);
        shell.wait_line(&format!("config: {value}"), secs(20));
        shell.check(state_of(me) != 'T', "pilotfish should not be stopped");
    }
    // SAFETY: plain system call.
    unsafe { libc::kill(me, libc::SIGTERM) };
    type_line(&shell, "echo code=$((0+$?)); exit 0");
    shell.wait_line("code=0", secs(20));
}
