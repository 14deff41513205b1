//! What the app leaves behind: orphans are reaped, all of them, and those that stay are ended before pilotfish ends,
//! within the ten seconds that platforms give.

use super::*;

/// Waits until the app is pilotfish's only child, which says that every orphan came and was reaped.
fn wait_reaped(me: i32, app: i32, what: &str) {
    let mut last = Vec::new();
    let start = Instant::now();
    while start.elapsed() < secs(30) {
        last = children_of(me);
        if last.len() == 1 && last[0].pid == app {
            return;
        }
        std::thread::sleep(millis(5));
    }
    panic!("{what}: left are {} children, {} zombies", last.len(), last.iter().filter(|p| p.state == 'Z').count());
}

#[test]
fn a_thousand_orphans_leave_no_zombie() {
    for place in PLACES {
        let proc = place.cmd().arg(static_app()).args(["orphans", "1000"]).spawn();
        proc.wait_line("orphans done", secs(60));
        let me = place.pid(&proc);
        let app = children_of(me).into_iter().filter(|p| p.name == "probe" && p.state != 'Z').map(|p| p.pid).min();
        wait_reaped(me, app.expect("the app"), &format!("{place:?}"));
        proc.check(proc.lines_matching("fork failed").is_empty(), "there should be a thousand");
        place.signal(&proc, libc::SIGTERM);
        proc.expect_exit(Exit::Code(0), secs(20));
    }
}

#[test]
fn five_hundred_exits_at_once_leave_no_zombie() {
    for place in PLACES {
        // A crowd in a group of its own, and one kill for all of it: 500 SIGCHLD become a few.
        let crowd = "for i in $(seq 500); do sleep 1000 & done; echo crowd; exec sleep 1000";
        let script = format!("echo app; setsid sh -c '{crowd}' & exec \"$0\" wait");
        let proc = place.cmd().args(["sh", "-c", &script]).arg(static_app()).spawn();
        proc.wait_line("crowd", secs(60));
        proc.wait_line("ready", secs(60));
        let me = place.pid(&proc);
        let app = app_of(me);
        let head = app_of(app);
        proc.check(children_of(head).len() == 500, "the crowd should be 500");
        // SAFETY: plain system call. The parent of the 500 dies with them, so they are pilotfish's to reap.
        unsafe { libc::kill(-head, libc::SIGKILL) };
        wait_reaped(me, app, &format!("{place:?}"));
        place.signal(&proc, libc::SIGTERM);
        proc.expect_exit(Exit::Code(0), secs(20));
    }
}

/// A chain of processes, each in a session of its own, that ignore TERM and HUP: `kin N` for each.
const CHAIN: &str = "trap '' TERM HUP; echo \"kin $1\"
[ $1 -gt 0 ] && setsid sh -c \"$CHAIN\" kin-$TAG $(($1 - 1)) &
while :; do sleep 100; done";

/// The processes of a chain, by the name that only they carry.
fn chain(tag: &str) -> Vec<i32> {
    let name = format!("kin-{tag}");
    let is_one = |pid: i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|b| *b == 0).any(|word| word == name.as_bytes())
    };
    processes().iter().map(|p| p.pid).filter(|pid| is_one(*pid)).collect()
}

/// Kills what is left of a chain, which no session or parent leads to, when the test is over.
struct Cleanup(String);

impl Drop for Cleanup {
    fn drop(&mut self) {
        for pid in chain(&self.0) {
            // SAFETY: plain system call.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

fn with_chain(pilotfish: Cmd, tag: &str, app: &str) -> Proc {
    let script = format!("setsid sh -c \"$CHAIN\" kin-{tag} 3 & {app}");
    let proc = pilotfish.env("CHAIN", CHAIN).env("TAG", tag).args(["sh", "-c", &script]).spawn();
    proc.wait_line("kin 0", secs(30));
    // A shell between fork and exec counts as one more for a moment.
    wait_until(secs(20), "there should be four of a chain", || (chain(tag).len() == 4).then_some(()));
    proc
}

#[test]
fn grandchildren_that_ignore_term_are_killed_before_the_end() {
    // The app ends by TERM, or by itself.
    let by_itself = "echo here; while [ ! -e \"$GO\" ]; do sleep 0.02; done; exit 9";
    let cases = [("term", "echo here; exec sleep 1000", 143), ("self", by_itself, 9)];
    let all = PLACES.into_iter().flat_map(|place| cases.into_iter().map(move |case| (place, case)));
    std::thread::scope(|scope| {
        for (place, (case, app, code)) in all {
            scope.spawn(move || {
                let tag = format!("{}-{case}-{place:?}", std::process::id());
                let dir = TempDir::new();
                let _cleanup = Cleanup(tag.clone());
                let proc = with_chain(place.cmd().env("GO", dir.join("go")), &tag, app);
                proc.wait_line("here", secs(20));
                match case {
                    "term" => place.signal(&proc, libc::SIGTERM),
                    _ => drop(dir.write("go", "")),
                }
                proc.expect_exit(Exit::Code(code), secs(30));
                let left = chain(&tag);
                proc.check(left.is_empty(), &format!("all grandchildren should be gone, left are {left:?}, {place:?}"));
            });
        }
    });
}

#[test]
fn with_defaults_the_worst_end_takes_less_than_ten_seconds() {
    std::thread::scope(|scope| {
        for place in PLACES {
            scope.spawn(move || {
                let tag = format!("{}-worst-{place:?}", std::process::id());
                let app = "trap '' TERM; echo here; while :; do sleep 100; done";
                let _cleanup = Cleanup(tag.clone());
                let proc = with_chain(place.cmd(), &tag, app);
                proc.wait_line("here", secs(20));
                let begin = Instant::now();
                place.signal(&proc, libc::SIGTERM);
                proc.expect_exit(Exit::Code(137), secs(30));
                let took = begin.elapsed();
                eprintln!("measured: stop of an app and a chain that ignore TERM, {place:?}: {took:?}");
                proc.check(took < secs(10), &format!("the end took {took:?}"));
                proc.check(chain(&tag).is_empty(), "nothing should be left");
            });
        }
    });
}

#[test]
fn a_restart_ends_what_the_old_app_left_in_its_group() {
    let dir = TempDir::new();
    dir.write("keys/a", "1");
    let template = dir.write("a.tmpl", "{{ getv \"/a\" }}");
    let script = "cat \"$0\"; echo; sleep 1000 & echo left $!; exec sleep 1000";
    let proc = quiet()
        .args(["--reload", "restart", "--source"])
        .arg(format!("dir:{}", dir.join("keys").display()))
        .arg("--template")
        .arg(format!("{}:{}", template.display(), dir.join("a").display()))
        .args(["sh", "-c", script])
        .arg(dir.join("a"))
        .spawn();
    let left = |n| -> i32 { proc.wait_nth_line(n, "left ", secs(20)).text["left ".len()..].parse().unwrap() };
    let first = left(1);
    assert!(lives(first));
    dir.write("keys/a", "2");
    let second = left(2);
    wait_until(secs(20), "the end of what the first app left", || (!lives(first)).then_some(()));
    assert!(lives(second));
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(143), secs(20));
    assert!(!lives(second));
}
