//! Backends: what others' coming and going calls for, and what does not.

use super::*;

fn backend(more: Value) -> Value {
    let mut all = json!({"name": "up", "poll": 1, "onChange": ["sh", "-c", "echo run >> $D/runs"]});
    for (key, value) in more.as_object().unwrap() {
        all[key.as_str()] = value.clone();
    }
    all
}

/// Another backend, whose change is the proof that earlier ones were seen too.
fn later() -> Value {
    json!({"name": "later", "poll": 1, "onChange": ["sh", "-c", "echo run >> $D/later"]})
}

impl World {
    /// Lets another service change, and waits until that was seen: what came before, was too.
    fn settle(&self, proc: &Proc) {
        let n = self.lines("later").len();
        self.join("later", &format!("later{n}"), 1000 + n as u16, &[], "passing");
        self.wait_lines(proc, "later", n + 1);
        while_others_live(millis(300));
    }
    /// Tells Consul how an instance is.
    fn mark(&self, id: &str, how: &str) {
        self.consul.call("PUT", &format!("/v1/agent/check/{how}/{id}"), b"");
    }
}

#[test]
fn each_change_of_who_is_well_is_one_run() {
    let w = World::new();
    let proc = w.start(&json!({"backends": [backend(json!({})), later()]}), &["wait"]);
    proc.wait_line("ready pid=", WAIT);
    // Nobody is there at the start: none.
    w.settle(&proc);
    assert_eq!(w.lines("runs").len(), 0);
    let mut runs = 0;
    let mut step = |what: &str, is_change: bool| {
        runs += usize::from(is_change);
        w.wait_lines(&proc, "runs", runs);
        w.settle(&proc);
        assert_eq!(w.lines("runs").len(), runs, "{what}\n{}", proc.report());
    };
    w.join("up", "up1", 81, &["a"], "passing");
    step("the first one", true);
    w.join("up", "up1", 81, &["b", "c"], "passing");
    step("only tags", false);
    w.join("up", "up2", 82, &[], "critical");
    step("one that is not well", false);
    w.mark("up2", "warn");
    step("critical becomes warning", false);
    w.mark("up2", "fail");
    step("warning becomes critical", false);
    w.mark("up2", "pass");
    step("a second one", true);
    w.join("up", "up2", 83, &[], "passing");
    step("another port", true);
    w.mark("up2", "fail");
    step("it falls ill", true);
    w.leave("up2");
    step("one that was ill leaves", false);
    w.leave("up1");
    step("the last one leaves", true);
    w.join("up", "other-id", 81, &[], "passing");
    step("one comes back", true);
    w.join("up", "third-id", 81, &[], "passing");
    step("the same place twice: the count is another", true);
    w.leave("other-id");
    step("and once", true);
    end(&proc, 0);
}

#[test]
fn who_is_there_at_the_start_is_one_run() {
    let w = World::new();
    w.join("up", "up1", 81, &[], "passing");
    w.join("up", "up2", 82, &[], "passing");
    let proc = w.start(&json!({"backends": [backend(json!({"poll": "1"})), later()]}), &["wait"]);
    let ready = proc.wait_line("ready pid=", WAIT).at;
    w.wait_lines(&proc, "runs", 1);
    proc.check(ready.elapsed() < secs(5), "by the first poll");
    w.settle(&proc);
    assert_eq!(w.lines("runs").len(), 1);
    end(&proc, 0);
}

#[test]
fn what_changes_while_it_runs_is_one_more_run() {
    let w = World::new();
    let slow =
        json!(["sh", "-c", "echo begin >> $D/runs; while test -e $D/slow; do sleep 0.02; done; echo end >> $D/runs"]);
    let proc = w.start(&json!({"backends": [backend(json!({"onChange": slow})), later()]}), &["wait"]);
    w.set("slow", "");
    w.join("up", "up1", 81, &[], "passing");
    w.wait_lines(&proc, "runs", 1);
    for n in 2..=5 {
        w.join("up", &format!("up{n}"), 80 + n, &[], "passing");
        w.settle(&proc); // another one's change is not held up
    }
    assert_eq!(w.lines("runs"), ["begin"]);
    w.remove("slow");
    w.wait_lines(&proc, "runs", 4);
    w.settle(&proc);
    assert_eq!(w.lines("runs"), ["begin", "end", "begin", "end"]);
    end(&proc, 0);
}

#[test]
fn tags_choose_and_each_name_and_tag_is_seen_for_itself() {
    let w = World::new();
    let to = |file: &str| json!(["sh", "-c", format!("echo run >> $D/{file}")]);
    let config = json!({"backends": [
        backend(json!({"tag": "a", "onChange": to("a")})),
        backend(json!({"tag": "b", "onChange": to("b")})),
        backend(json!({"onChange": to("all")})),
        later(),
    ]});
    let proc = w.start(&config, &["wait"]);
    proc.wait_line("ready pid=", WAIT);
    w.settle(&proc);
    let runs = || ["a", "b", "all"].map(|f| w.lines(f).len());
    let step = |want: [usize; 3]| {
        for (file, n) in ["a", "b", "all"].iter().zip(want) {
            w.wait_lines(&proc, file, n);
        }
        w.settle(&proc);
        assert_eq!(runs(), want, "{}", proc.report());
    };
    w.join("up", "up1", 81, &["a"], "passing");
    step([1, 0, 1]);
    w.join("up", "up2", 82, &["b"], "passing");
    step([1, 1, 2]);
    w.join("up", "up2", 82, &["a", "b"], "passing");
    step([2, 1, 2]);
    w.leave("up1");
    step([3, 1, 3]);
    let asked = w.seen.requests();
    assert!(
        asked.iter().any(|r| r.path.starts_with("/v1/health/service/up?") && r.query("tag") == Some("a")),
        "{}",
        w.shown()
    );
    end(&proc, 0);
}

#[test]
fn a_query_that_fails_is_no_change() {
    let consul = Consul::start();
    let (to, dir) = (consul.addr(), TempDir::new());
    let broken = dir.join("broken");
    let seen = recorder(to, move |r| {
        let kind = std::fs::read_to_string(&broken).ok().filter(|_| r.path.starts_with("/v1/health/"))?;
        Some(match kind.as_str() {
            "500" => Answer::reply(500, &[], "No cluster leader"),
            "cut" => Answer::Cut(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[".to_vec()),
            _ => Answer::reply(200, &["X-Consul-Index: 1"], &kind),
        })
    });
    let w = World { dir, seen, consul };
    w.join("up", "up1", 81, &[], "passing");
    let proc = w.start(&json!({"backends": [backend(json!({})), later()]}), &["wait"]);
    w.wait_lines(&proc, "runs", 1);
    // A server that refuses, one that breaks off, and a proxy's own page.
    for (n, kind) in ["500", "cut", "<html>"].iter().enumerate() {
        let mark = proc.mark();
        w.set("broken", kind);
        for name in ["up", "later"] {
            proc.wait_line_after(mark, &format!("cannot read /{name} from Consul"), WAIT);
        }
        while_others_live(millis(1200));
        w.remove("broken");
        proc.wait_nth_line(2 * (n + 1), "answers again", WAIT);
        w.settle(&proc);
        assert_eq!(w.lines("runs").len(), 1, "{kind}\n{}", proc.report());
    }
    // A server that hangs, and goes on.
    w.consul.stop();
    while_others_live(millis(1500));
    w.consul.cont();
    w.settle(&proc);
    assert_eq!(w.lines("runs").len(), 1, "{}", proc.report());
    // What happens while nobody answers is seen afterwards, once.
    let mark = proc.mark();
    w.set("broken", "500");
    proc.wait_line_after(mark, "cannot read /up from Consul", WAIT);
    w.join("up", "up2", 82, &[], "passing");
    w.join("up", "up3", 83, &[], "passing");
    w.remove("broken");
    w.wait_lines(&proc, "runs", 2);
    w.settle(&proc);
    assert_eq!(w.lines("runs").len(), 2, "{}", proc.report());
    end(&proc, 0);
}

#[test]
fn a_change_is_seen_at_once_whatever_the_poll_is() {
    let w = World::new();
    let proc = w.start(&json!({"backends": [backend(json!({"poll": 30}))]}), &["wait"]);
    proc.wait_line("ready pid=", WAIT);
    wait_until(WAIT, "a blocking query", || w.seen.requests().iter().any(|r| r.query("index").is_some()).then_some(()));
    for n in 1..=3 {
        let begin = Instant::now();
        w.join("up", &format!("up{n}"), 80 + n, &[], "passing");
        w.wait_lines(&proc, "runs", usize::from(n));
        proc.check(begin.elapsed() < secs(3), "a change should be seen long before the poll is over");
    }
    // The poll is the longest wait.
    for wait in w.seen.requests().iter().filter_map(|r| r.query("wait")) {
        let millis: u64 = wait.strip_suffix("ms").unwrap_or_else(|| panic!("{wait}")).parse().unwrap();
        assert!((25_000..=30_000).contains(&millis), "{wait}");
    }
    end(&proc, 0);
}

#[test]
fn an_on_change_that_fails_or_hangs_is_no_end() {
    let w = World::new();
    let config = json!({"backends": [
        backend(json!({"onChange": ["sh", "-c", "echo run >> $D/runs; exit 3"]})),
        json!({"name": "up", "poll": 1, "timeout": "200ms", "onChange": ["sh", "-c", "echo run >> $D/hung; sleep 1000"]}),
        json!({"name": "up", "poll": 1, "onChange": "/not/there"}),
        later(),
    ]});
    let proc = w.start(&config, &["wait"]);
    for n in 1..=2 {
        w.join("up", &format!("up{n}"), 80 + n, &[], "passing");
        w.wait_lines(&proc, "runs", usize::from(n));
        w.wait_lines(&proc, "hung", usize::from(n));
    }
    proc.wait_line("exit status 3", WAIT);
    proc.wait_line("/not/there", WAIT);
    w.settle(&proc);
    end(&proc, 0);
}
