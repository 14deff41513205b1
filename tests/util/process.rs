//! A process under watch: started in a clean environment and a session of its own, every line it prints kept with
//! its time, every wait with a deadline, and everything it started killed at the end.

use super::millis;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Where a line came from. A terminal's lines count as `Out`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    Out,
    Err,
}

/// One line a process printed, without its line end.
#[derive(Clone, Debug)]
pub struct Line {
    /// When it was read.
    pub at: Instant,
    /// From where.
    pub stream: Stream,
    /// What is not UTF-8 is shown as U+FFFD.
    pub text: String,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

/// A command to be: its environment holds PATH and what `env` adds, its input is /dev/null, and it inherits no other
/// descriptor, no ignored and no blocked signal.
pub struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    cwd: PathBuf,
    closed: Vec<i32>,
    terminal: bool,
    dirty: bool,
}

impl Cmd {
    pub fn new(program: impl AsRef<OsStr>) -> Cmd {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        Cmd {
            program: program.as_ref().into(),
            args: Vec::new(),
            envs: vec![("PATH".into(), path)],
            cwd: std::env::temp_dir(),
            closed: Vec::new(),
            terminal: false,
            dirty: false,
        }
    }
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Cmd {
        self.args.push(arg.as_ref().into());
        self
    }
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Cmd {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_os_string()));
        self
    }
    /// The last one said of a name wins; PATH may be replaced too.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Cmd {
        self.envs.push((name.as_ref().into(), value.as_ref().into()));
        self
    }
    /// The working folder; the system's folder for temporary files if not said.
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Cmd {
        self.cwd = dir.as_ref().into();
        self
    }
    /// Starts with these descriptors closed (of 0, 1, 2).
    pub fn closed(mut self, fds: &[i32]) -> Cmd {
        self.closed = fds.to_vec();
        self
    }
    /// Input and output are a new terminal, which controls the process; see `Proc::type_bytes`.
    pub fn terminal(mut self) -> Cmd {
        self.terminal = true;
        self
    }
    /// Starts as a careless parent leaves things: QUIT, PIPE, USR2 and CHLD ignored, HUP, TERM and USR1 blocked,
    /// descriptor 9 open.
    pub fn dirty(mut self) -> Cmd {
        self.dirty = true;
        self
    }

    /// Starts it.
    pub fn spawn(self) -> Proc {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(self.envs.iter().map(|(k, v)| (k, v))).current_dir(&self.cwd);
        let mut master = None;
        if self.terminal {
            let (ours, theirs) = open_terminal();
            command.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap()).stderr(theirs);
            master = Some(ours);
        } else {
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let closed = self.closed.clone();
        let (terminal, dirty) = (self.terminal, self.dirty);
        // SAFETY: only async-signal-safe calls between fork and exec, and no allocation.
        unsafe {
            command.pre_exec(move || {
                libc::setsid();
                inherit_nothing();
                if dirty {
                    inherit_rubbish();
                }
                if terminal {
                    libc::ioctl(0, libc::TIOCSCTTY, 0);
                }
                for fd in &closed {
                    libc::close(*fd);
                }
                Ok(())
            });
        }
        let shown = show(&self);
        let started = Instant::now();
        let mut child =
            command.spawn().unwrap_or_else(|e| panic!("cannot start {shown} in {}: {e}", self.cwd.display()));
        drop(command); // with its copies of the terminal, so that the end of the process is the end of the output
        let log = Arc::new((Mutex::new(Log { lines: Vec::new(), open: 0 }), Condvar::new()));
        if let Some(master) = &master {
            read_lines(&log, Stream::Out, File::from(master.try_clone().unwrap()));
        } else {
            read_lines(&log, Stream::Out, child.stdout.take().unwrap());
            read_lines(&log, Stream::Err, child.stderr.take().unwrap());
        }
        Proc { child, shown, cwd: self.cwd, started, log, status: Mutex::new(None), master: master.map(File::from) }
    }

    /// Runs it to its end, which must come before the deadline.
    pub fn run(self, deadline: Duration) -> Proc {
        let proc = self.spawn();
        proc.wait_exit(deadline);
        proc
    }
}

fn show(cmd: &Cmd) -> String {
    let mut text = String::new();
    for (name, value) in cmd.envs.iter().skip(1) {
        text.push_str(&format!("{}={:?} ", name.to_string_lossy(), value));
    }
    text.push_str(&cmd.program.to_string_lossy());
    for arg in &cmd.args {
        text.push_str(&format!(" {:?}", arg));
    }
    text
}

/// Between fork and exec: every signal as at the start of the world, and 0, 1, 2 the only descriptors to come through
/// exec (whoever runs the tests may have left others open).
unsafe fn inherit_nothing() {
    // The bare system call: the C library refuses 32 and 33, and glibc's posix_spawn leaves 32 ignored. All zeros is the
    // kernel's SIG_DFL with no flags and an empty mask (32 bytes on x86_64, 24 on aarch64).
    let default = [0u64; 4];
    for number in 1..=64i32 {
        // SAFETY: plain system call; `default` is a live local; those that cannot be set (9, 19), stay.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), std::ptr::null::<u64>(), 8usize) };
    }
    // SAFETY: the set is a live local; sigset functions fill it before it is used.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
    for fd in 3..1024 {
        // SAFETY: plain system call; closed numbers are refused. Only marked: Rust's own pipe reports a failed exec.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

unsafe fn inherit_rubbish() {
    // SAFETY: as above.
    unsafe {
        for number in [libc::SIGQUIT, libc::SIGPIPE, libc::SIGUSR2, libc::SIGCHLD] {
            libc::signal(number, libc::SIG_IGN);
        }
        let mut some: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut some);
        for number in [libc::SIGHUP, libc::SIGTERM, libc::SIGUSR1] {
            libc::sigaddset(&mut some, number);
        }
        libc::sigprocmask(libc::SIG_SETMASK, &some, std::ptr::null_mut());
        libc::dup2(2, 9);
    }
}

fn open_terminal() -> (OwnedFd, OwnedFd) {
    let (mut ours, mut theirs) = (-1, -1);
    // SAFETY: both pointers are to live integers; the name, settings and size may be null.
    let rc = unsafe {
        libc::openpty(&mut ours, &mut theirs, std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut())
    };
    assert_eq!(rc, 0, "openpty: {}", std::io::Error::last_os_error());
    // SAFETY: openpty just gave both, nobody else owns them. Other children must not inherit either.
    unsafe {
        libc::fcntl(ours, libc::F_SETFD, libc::FD_CLOEXEC);
        libc::fcntl(theirs, libc::F_SETFD, libc::FD_CLOEXEC);
        (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs))
    }
}

struct Log {
    lines: Vec<Line>,
    /// Streams that have not ended.
    open: u32,
}

type SharedLog = Arc<(Mutex<Log>, Condvar)>;

fn read_lines(log: &SharedLog, stream: Stream, from: impl Read + Send + 'static) {
    let log = Arc::clone(log);
    log.0.lock().unwrap().open += 1;
    std::thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut bytes = Vec::new();
        // A terminal ends with EIO when its last process has closed it: as good as the end.
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(n) if n > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_string();
            log.0.lock().unwrap().lines.push(Line { at: Instant::now(), stream, text });
            log.1.notify_all();
            bytes.clear();
        }
        log.0.lock().unwrap().open -= 1;
        log.1.notify_all();
    });
}

/// A running (or ended) process. Dropping it kills its whole session.
pub struct Proc {
    child: Child,
    shown: String,
    cwd: PathBuf,
    started: Instant,
    log: SharedLog,
    status: Mutex<Option<ExitStatus>>,
    master: Option<File>,
}

impl Proc {
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }
    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }
    /// The one child of the process, for what stands behind `unshare --fork` (see `in_pid_namespace`).
    pub fn inner_pid(&self) -> i32 {
        let me = self.pid();
        super::wait_until(millis(5000), "the process inside", || {
            processes().into_iter().find(|p| p.parent == me).map(|p| p.pid)
        })
    }

    /// The first line that holds `pattern`, of those already printed and those to come.
    pub fn wait_line(&self, pattern: &str, deadline: Duration) -> Line {
        self.wait_after(0, 1, pattern, deadline)
    }
    /// The `n`th (from 1) such line.
    pub fn wait_nth_line(&self, n: usize, pattern: &str, deadline: Duration) -> Line {
        self.wait_after(0, n, pattern, deadline)
    }
    /// The first such line after a `mark`.
    pub fn wait_line_after(&self, mark: usize, pattern: &str, deadline: Duration) -> Line {
        self.wait_after(mark, 1, pattern, deadline)
    }
    /// How many lines there are now: give it to `wait_line_after`.
    pub fn mark(&self) -> usize {
        self.lock().lines.len()
    }

    fn wait_after(&self, mark: usize, n: usize, pattern: &str, deadline: Duration) -> Line {
        let until = Instant::now() + deadline;
        let mut log = self.lock();
        loop {
            let found = log.lines.iter().skip(mark).filter(|l| l.text.contains(pattern)).nth(n - 1);
            if let Some(line) = found {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || log.open == 0 {
                let why = if log.open == 0 { "its output ended" } else { "the deadline passed" };
                drop(log);
                // The end of the output is mostly the end of the process, a moment earlier: say how it ended.
                let until = Instant::now() + millis(500);
                while self.exited().is_none() && Instant::now() < until {
                    sleep(millis(2));
                }
                self.fail(&format!("line {n} with {pattern:?} was not printed within {deadline:?} ({why})"));
            }
            log = self.log.1.wait_timeout(log, left).unwrap().0;
        }
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lock().lines.clone()
    }
    /// The lines so far that hold `pattern`.
    pub fn lines_matching(&self, pattern: &str) -> Vec<Line> {
        self.lock().lines.iter().filter(|l| l.text.contains(pattern)).cloned().collect()
    }
    /// Everything printed to this stream so far.
    pub fn text(&self, stream: Stream) -> String {
        let mut text = String::new();
        for line in self.lock().lines.iter().filter(|l| l.stream == stream) {
            text.push_str(&line.text);
            text.push('\n');
        }
        text
    }
    /// Everything printed to stdout so far.
    pub fn stdout(&self) -> String {
        self.text(Stream::Out)
    }
    /// Everything printed to stderr so far.
    pub fn stderr(&self) -> String {
        self.text(Stream::Err)
    }

    /// Sends a signal to the process alone. To a process that is already reaped nothing is sent.
    pub fn signal(&self, number: i32) {
        let status = self.status.lock().unwrap();
        if status.is_none() {
            // SAFETY: plain system call; the process is ours and not reaped, its number is still its own.
            unsafe { libc::kill(self.pid(), number) };
        }
    }
    /// Sends a signal to the process inside (`inner_pid`).
    pub fn signal_inner(&self, number: i32) {
        // SAFETY: plain system call.
        unsafe { libc::kill(self.inner_pid(), number) };
    }
    /// Types into the process's terminal.
    pub fn type_bytes(&self, bytes: &[u8]) {
        self.master.as_ref().expect("a process with a terminal").write_all(bytes).unwrap();
    }

    /// How it ended, if it has.
    pub fn exited(&self) -> Option<Exit> {
        let mut status = self.status.lock().unwrap();
        if status.is_none() {
            let mut raw = 0;
            // SAFETY: our own child, reaped here and nowhere else; `raw` outlives the call.
            if unsafe { libc::waitpid(self.pid(), &mut raw, libc::WNOHANG) } == self.pid() {
                *status = Some(ExitStatus::from_raw(raw));
            }
        }
        status.map(exit_of)
    }
    /// Waits for its end. All it printed itself can be read afterwards.
    pub fn wait_exit(&self, deadline: Duration) -> Exit {
        let until = Instant::now() + deadline;
        let exit = loop {
            if let Some(exit) = self.exited() {
                break exit;
            }
            if Instant::now() >= until {
                self.fail(&format!("the process did not end within {deadline:?}"));
            }
            sleep(millis(2));
        };
        // What it left in the pipes is read by the other threads; somebody it started may hold them open for ever.
        let until = Instant::now() + millis(300);
        let mut log = self.lock();
        while log.open > 0 && Instant::now() < until {
            log = self.log.1.wait_timeout(log, millis(20)).unwrap().0;
        }
        exit
    }
    /// Waits for its end, and fails with all that is known unless it is the wanted one.
    pub fn expect_exit(&self, wanted: Exit, deadline: Duration) {
        let got = self.wait_exit(deadline);
        if got != wanted {
            self.fail(&format!("the process should have ended with {wanted:?}"));
        }
    }
    /// Fails the test with all that is known of this process.
    #[track_caller]
    pub fn fail(&self, what: &str) -> ! {
        panic!("{what}\n{}", self.report());
    }
    /// `assert!` that says all that is known of this process.
    #[track_caller]
    pub fn check(&self, holds: bool, what: &str) {
        if !holds {
            self.fail(what);
        }
    }
    /// Command, folder, status and output.
    pub fn report(&self) -> String {
        let status = match self.exited() {
            None => "still running".to_string(),
            Some(exit) => format!("{exit:?}"),
        };
        let mut text = format!(
            "command: {}\nfolder:  {}\nstatus:  {status} after {:?}\n",
            self.shown,
            self.cwd.display(),
            self.started.elapsed()
        );
        let log = self.lock();
        for line in &log.lines {
            let at = line.at.saturating_duration_since(self.started).as_secs_f64();
            let mark = if line.stream == Stream::Out { "out" } else { "err" };
            text.push_str(&format!("{at:9.3} {mark}| {}\n", line.text));
        }
        if log.lines.is_empty() {
            text.push_str("(it printed nothing)\n");
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.0.lock().unwrap()
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        // Its session outlives it when it left something behind: a killed pilotfish leaves its app.
        let me = self.pid();
        for _ in 0..50 {
            let rest: Vec<i32> = processes()
                .into_iter()
                .filter(|p| (p.session == me || p.pid == me) && p.state != 'Z')
                .map(|p| p.pid)
                .collect();
            for pid in &rest {
                // SAFETY: plain system call.
                unsafe { libc::kill(*pid, libc::SIGKILL) };
            }
            self.exited();
            if rest.is_empty() {
                break;
            }
            sleep(millis(2));
        }
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}

/// A row of /proc.
#[derive(Clone, Debug)]
pub struct Row {
    pub pid: i32,
    pub name: String,
    pub state: char,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
}

/// Every process there is, as /proc/PID/stat says (proc(5)).
pub fn processes() -> Vec<Row> {
    let mut rows = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name stands in parentheses and may hold any of them itself.
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else { continue };
        let fields: Vec<&str> = stat[close + 1..].split_whitespace().collect();
        let number = |i: usize| fields.get(i).and_then(|f| f.parse::<i32>().ok()).unwrap_or(0);
        rows.push(Row {
            pid,
            name: stat[open + 1..close].to_string(),
            state: fields.first().and_then(|f| f.chars().next()).unwrap_or('?'),
            parent: number(1),
            group: number(2),
            session: number(3),
        });
    }
    rows
}

/// The children of a process.
pub fn children_of(pid: i32) -> Vec<Row> {
    processes().into_iter().filter(|p| p.parent == pid).collect()
}

/// Resident memory of a process in bytes (VmRSS of /proc/PID/status); 0 if it is gone.
pub fn rss_of(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or("");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Open descriptors of a process.
pub fn open_fds(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map(|d| d.count()).unwrap_or(0)
}
