//! What the world may do to a supervisor: bad things inherited, closed streams, readers that go away, no room for
//! another process, an app that does not stay up.

use super::*;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A folder with one key, a template of it, and the options that keep `a` in step with it.
struct Keys {
    dir: TempDir,
    options: Vec<String>,
}

impl Keys {
    fn new() -> Keys {
        let dir = TempDir::new();
        dir.write("keys/a", "one");
        let template = dir.write("a.tmpl", "{{ getv \"/a\" }}");
        let source = format!("dir:{}", dir.join("keys").display());
        let template = format!("{}:{}", template.display(), dir.join("a").display());
        Keys { options: vec!["--source".into(), source, "--template".into(), template], dir }
    }
    fn set(&self, value: &str) {
        self.dir.write("new", value);
        std::fs::rename(self.dir.join("new"), self.dir.join("keys/a")).unwrap();
    }
    fn file(&self) -> std::path::PathBuf {
        self.dir.join("a")
    }
}

// --- what the app inherits (6) ------------------------------------------------------------------------------------

/// No signal blocked, ignored or caught, and these descriptors and no others.
fn check_status(proc: &Proc, nth: usize, fds: &[&str]) {
    proc.wait_nth_line(nth, "status done", secs(20));
    let lines = proc.stdout();
    let run = lines.split("status done\n").nth(nth - 1).unwrap();
    for name in ["SigBlk", "SigIgn", "SigCgt"] {
        proc.check(run.contains(&format!("{name}:\t0000000000000000")), &format!("{name} should be empty"));
    }
    let open: Vec<&str> =
        run.lines().filter_map(|l| l.strip_prefix("fd ")).map(|l| l.split(' ').next().unwrap()).collect();
    proc.check(open == fds, &format!("open should be {fds:?}, not {open:?}"));
}

#[test]
fn the_app_starts_fresh_whatever_pilotfish_holds_or_inherited() {
    let nohup = "trap '' HUP INT TERM QUIT PIPE CHLD USR1; exec \"$@\"";
    for place in PLACES {
        let keys = Keys::new();
        // The second start comes when pilotfish has had its files, its threads and a first child.
        let options = [&keys.options[..], &["--restart".into(), "always".into()]].concat();
        let proc = place.cmd().args(&options).arg(static_app()).arg("status").spawn();
        check_status(&proc, 1, &["0", "1", "2"]);
        check_status(&proc, 2, &["0", "1", "2"]);

        // Descriptor 9 is the careless parent's and not pilotfish's to close: it may be meant for the app.
        let proc = place.cmd().args(&options).arg(static_app()).arg("status").dirty().spawn();
        check_status(&proc, 1, &["0", "1", "2", "9"]);
        place.signal(&proc, libc::SIGTERM); // blocked when pilotfish started
        proc.wait_exit(secs(20));
    }
    let keys = Keys::new();
    let proc = Cmd::new("sh").args(["-c", nohup, "sh"]).arg(pilotfish_bin()).args(&keys.options);
    let proc = proc.arg(static_app()).arg("status").spawn();
    check_status(&proc, 1, &["0", "1", "2"]);
    proc.expect_exit(Exit::Code(0), secs(20));

    let keys = Keys::new();
    let proc = Cmd::new("sh").args(["-c", nohup, "sh"]).arg(pilotfish_bin()).args(&keys.options);
    let proc = proc.arg(static_app()).arg("config").arg(keys.file()).spawn();
    proc.wait_line("config: one", secs(20));
    proc.signal(libc::SIGUSR1); // ignored when pilotfish started
    proc.wait_line("signal 10", secs(20));
    keys.set("two");
    proc.wait_line("config: two", secs(20));
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), secs(20));
}

// --- closed streams (15) ------------------------------------------------------------------------------------------

/// An app that needs no stream: it says what it sees by files.
const SILENT: &str = "trap 'cat \"$1\" >>\"$2\"; echo \" hup\" >>\"$2\"' HUP; trap 'exit 7' TERM
cat \"$1\" >>\"$2\"; echo \" up\" >>\"$2\"; while :; do sleep 0.02; done";

#[test]
fn with_any_stream_closed_it_renders_starts_reloads_and_ends() {
    let cases: Vec<i32> = (1..8).flat_map(|closed| [closed, closed + 8]).collect();
    in_parallel(cases, |case| {
        let place = if case < 8 { Place::Plain } else { Place::Pid1 };
        let closed: Vec<i32> = (0..3).filter(|fd| case >> fd & 1 == 1).collect();
        let keys = Keys::new();
        let log = keys.dir.join("log");
        let cmd = place.cmd().args(&keys.options).args(["sh", "-c", SILENT, "sh"]).arg(keys.file()).arg(&log);
        let proc = cmd.closed(&closed).spawn();
        wait_file(&log, "one up\n", secs(30));
        keys.set("two");
        wait_file(&log, "one up\ntwo hup\n", secs(30));
        wait_file(keys.file(), "two", secs(30));
        let me = place.pid(&proc);
        for fd in &closed {
            let to = std::fs::read_link(format!("/proc/{me}/fd/{fd}")).unwrap_or_default();
            proc.check(to == Path::new("/dev/null"), &format!("descriptor {fd} should be /dev/null, not {to:?}"));
        }
        place.signal(&proc, libc::SIGTERM);
        proc.expect_exit(Exit::Code(7), secs(30));
    });
}

/// A named pipe for pilotfish's standard error, opened for reading.
fn named_pipe(dir: &TempDir) -> (std::path::PathBuf, std::fs::File) {
    let path = dir.join("pipe");
    Cmd::new("mkfifo").arg(&path).run(secs(20)).expect_exit(Exit::Code(0), secs(20));
    let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    (path, reader)
}

/// pilotfish with a log that goes to the pipe, and an app that prints to standard output.
fn with_log_to(keys: &Keys, pipe: &Path) -> Proc {
    let cmd = Cmd::new("sh").args(["-c", "exec 2>\"$0\"; exec \"$@\""]).arg(pipe).arg(pilotfish_bin());
    let proc = cmd.args(&keys.options).arg(static_app()).arg("config").arg(keys.file()).spawn();
    proc.wait_line("config: one", secs(20));
    proc
}

#[test]
fn when_the_reader_of_its_log_goes_away_it_goes_on() {
    let keys = Keys::new();
    let (pipe, mut reader) = named_pipe(&keys.dir);
    let proc = with_log_to(&keys, &pipe);
    let mut said = vec![0; 65536];
    let n = reader.read(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said[..n]).into_owned();
    proc.check(said.contains("starting main program now"), &format!("the pipe should hold its log, not: {said}"));
    drop(reader); // from here on each line it writes gives EPIPE
    for value in ["two", "three"] {
        keys.set(value);
        proc.wait_line(&format!("config: {value}"), secs(20));
    }
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), secs(20));
}

#[test]
fn when_nobody_reads_its_log_it_goes_on() {
    let keys = Keys::new();
    let (pipe, _reader) = named_pipe(&keys.dir);
    let proc = with_log_to(&keys, &pipe);
    // Fills the pipe to the last byte.
    let mut writer = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&pipe).unwrap();
    let mut piece = vec![b'x'; 65536];
    while !piece.is_empty() {
        use std::io::Write;
        if writer.write(&piece).is_err() {
            piece.truncate(piece.len() / 2);
        }
    }
    for value in ["two", "three"] {
        keys.set(value);
        proc.wait_line(&format!("config: {value}"), secs(20));
    }
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), secs(20));
}

// --- restarts (14) ------------------------------------------------------------------------------------------------

/// Milliseconds of `starting it again in 0.07 s`.
fn said_wait(line: &str) -> u64 {
    let text = line.rsplit("again in ").next().unwrap().trim_end_matches(" s");
    (text.parse::<f64>().unwrap() * 1000.0).round() as u64
}

#[test]
fn a_crash_loop_backs_off() {
    std::thread::scope(|scope| {
        for (option, code) in [("on-failure", 1), ("always", 0)] {
            scope.spawn(move || check_crash_loop(option, code));
        }
    });
}

fn check_crash_loop(option: &str, code: i32) {
    let script = format!("echo start $(date +%s%3N); exit {code}");
    let proc = quiet().args(["--restart", option, "sh", "-c", &script]).spawn();
    proc.wait_nth_line(6, "start ", secs(60));
    let said: Vec<u64> = proc.lines_matching("starting it again in").iter().map(|l| said_wait(&l.text)).collect();
    let starts: Vec<u64> = proc.lines_matching("start ").iter().map(|l| l.text[6..].parse().unwrap()).collect();
    for (i, (wait, whole)) in said.iter().zip([100, 200, 400, 800, 1600]).enumerate() {
        // Said in hundredths of a second, cut off.
        let right = (whole / 2 - 10..=whole).contains(wait);
        proc.check(right, &format!("wait {i} should be between half and all of {whole} ms, not {wait}"));
    }
    // A late first start shortens the span; the waits still have to be most of it.
    let (span, waits) = (starts[5] - starts[0], said.iter().take(5).sum::<u64>());
    proc.check(said.len() >= 5, "each wait should be said");
    proc.check(span + 300 >= waits, &format!("six starts within {span} ms do not keep waits of {waits} ms"));
    proc.signal(libc::SIGTERM); // while it waits for the next start, or runs
    let exit = proc.wait_exit(secs(20));
    proc.check(matches!(exit, Exit::Code(n) if n == 143 || n == code), "TERM should end the loop");
}

#[test]
fn term_between_two_starts_ends_at_once_and_a_success_is_no_failure() {
    let proc = quiet().args(["--restart", "always", "sh", "-c", "echo start; exit 3"]).spawn();
    proc.wait_nth_line(6, "starting it again", secs(60)); // the next start is at least 1.6 s away
    let begin = Instant::now();
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(143), secs(20));
    proc.check(begin.elapsed() < millis(1500), "the end should be prompt");
    proc.check(proc.stdout() == "start\n".repeat(6), "there should be six starts");

    let dir = TempDir::new();
    let script = "echo start; [ -e \"$0\" ] && exit 0; : >\"$0\"; exit 4";
    let proc = quiet().args(["--restart", "on-failure", "sh", "-c", script]).arg(dir.join("mark")).spawn();
    proc.expect_exit(Exit::Code(0), secs(20));
    proc.check(proc.stdout() == "start\n".repeat(2), "a failure is followed by a start, a success by the end");
}

// --- no room (16) -------------------------------------------------------------------------------------------------

#[test]
fn a_start_without_room_for_a_process_is_said_and_tried_again() {
    // Root is not limited: a user of its own is. Any other user has more than this one process already.
    let dir = TempDir::new();
    let copy = |from: &Path, name: &str| {
        let to = dir.join(name);
        std::fs::copy(from, &to).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755)).unwrap();
        to
    };
    let (program, app) = (copy(&pilotfish_bin(), "pilotfish"), copy(&static_app(), "probe"));
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let user = (40_000 + std::process::id() % 20_000).to_string();
    // SAFETY: plain system call.
    let is_root = unsafe { libc::geteuid() } == 0;
    let as_user = |command: &[&str]| {
        let cmd = match is_root {
            true => Cmd::new("setpriv").args(["--reuid", &user, "--regid", &user, "--clear-groups"]),
            false => Cmd::new("env"),
        };
        cmd.cwd("/").args(command)
    };
    let proc = as_user(&["prlimit", "--nproc=1:", "--"]).arg(program).arg(app).arg("wait").spawn();
    proc.wait_nth_line(3, "cannot run", secs(20));
    proc.check(proc.lines_matching("next try in").len() >= 3, "it should say when it tries again");
    proc.check(proc.exited().is_none(), "it should live on");
    proc.check(proc.lines_matching("ready").is_empty(), "the app should not run");
    let pid = proc.pid().to_string();
    as_user(&["prlimit", "--pid", &pid, &format!("--nproc={}:", most_processes())])
        .run(secs(20))
        .expect_exit(Exit::Code(0), secs(1));
    proc.wait_line("ready", secs(60));
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), secs(20));
}

/// The hard limit, in prlimit's words.
fn most_processes() -> String {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: fills a live local.
    unsafe { libc::getrlimit(libc::RLIMIT_NPROC, &mut limit) };
    if limit.rlim_max == libc::RLIM_INFINITY { "unlimited".to_string() } else { limit.rlim_max.to_string() }
}
