//! The decisions with a pretend clock: stories one would tell, then every short sequence of events with invariants.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;

use super::*;
use crate::dest::Dest;
use crate::plan::{
    App, Command, Form, Input, Log, LogFormat, Pace, Plan, Reload, Restart, Source, SourceKind, Template, Watch,
};
use crate::template::Dialect;
use crate::template::scope::Scope;

mod beside;

const TERM: i32 = 15;
const HUP: i32 = 1;

fn command() -> Command {
    Command { argv: vec!["c".into()], form: Form::Words, timeout: 1_000 }
}

fn template(keys: &str, check: bool, reload: bool, group: usize) -> Template {
    let command = command();
    let dest = Dest { path: "/d".into(), mode: None, uid: None, gid: None, make_dirs: false };
    Template {
        name: "t".into(),
        text: String::new(),
        dialect: Dialect::Go,
        dest,
        inputs: vec![Input { watch: 0, prefix: keys.into(), strip: 0 }],
        guard: crate::guard::Guard::default(),
        check: check.then(|| command.clone()),
        reload: reload.then_some(Reload::Command(command)),
        rollback: false,
        group,
        tree: None,
    }
}

fn plan(templates: Vec<Template>, reload: Reload) -> Plan {
    Plan {
        sources: vec![Source { name: "src".into(), kind: SourceKind::Env, allow_empty: false }],
        watches: vec![Watch { source: 0, prefix: "/".into() }],
        templates,
        app: Some(App {
            argv: vec!["app".into()],
            reload,
            stop_signal: TERM,
            stop_timeout: 8_000,
            restart: Restart::Never,
            probation: 5_000,
            env_remove: Vec::new(),
        }),
        pace: Pace::default(),
        start_timeout: None,
        once: false,
        log: Log { format: LogFormat::Default, level: Level::Debug, program: "p".into(), is_stdout: false },
        ..Plan::default()
    }
}

/// A state with its pretend clock; actions are collected without the log lines.
struct World {
    state: State,
    now: Millis,
    logs: Vec<String>,
    /// Those that are logged by default.
    loud: Vec<String>,
    /// Reads given with each render.
    reads: Reads,
}

impl World {
    fn new(plan: Plan) -> World {
        let mut reads = Reads::default();
        reads.under("/");
        let mut w = World { state: State::new(Arc::new(plan), 1), now: 0, logs: Vec::new(), loud: Vec::new(), reads };
        assert!(w.feed(Event::Start).is_empty());
        w
    }

    fn feed(&mut self, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        self.state.step(self.now, event, &mut out);
        let mut rest = Vec::new();
        for a in out {
            match a {
                Action::Log(level, _, text) => {
                    if level != Level::Debug {
                        self.loud.push(text.clone());
                    }
                    self.logs.push(text);
                }
                a => rest.push(a),
            }
        }
        rest
    }

    fn tick(&mut self) -> Vec<Action> {
        self.feed(Event::Tick)
    }

    /// Advances to the next deadline, which must be `after` from now.
    fn sleep(&mut self, after: Millis) -> Vec<Action> {
        assert_eq!(self.state.deadline(), Some(self.now + after), "the next deadline");
        self.now += after;
        self.tick()
    }

    fn data(&mut self, value: &str) -> Vec<Action> {
        let entries = if value.is_empty() { vec![] } else { vec![(Arc::from("/k"), Arc::from(value.as_bytes()))] };
        self.feed(Event::Data { watch: 0, snapshot: Arc::new(Snapshot::new(entries)) })
    }

    fn rendered(&mut self, group: usize, outcomes: Vec<(usize, Outcome)>) -> Vec<Action> {
        let reads = self.reads.clone();
        let results = outcomes.into_iter();
        let results = results
            .map(|(template, outcome)| Rendered { template, reads: reads.clone(), refused: Vec::new(), outcome })
            .collect();
        self.feed(Event::Rendered { group, results })
    }

    fn committed(&mut self, group: usize, templates: &[usize]) -> Vec<Action> {
        let results = templates.iter().map(|t| Committed { template: *t, result: Ok(false) }).collect();
        self.feed(Event::Committed { group, results })
    }

    /// Data, render, commit, app started.
    fn run_app(&mut self) {
        self.data("1");
        assert_eq!(names(&self.tick()), "render0");
        assert_eq!(names(&self.rendered(0, vec![(0, staged())])), "commit0");
        assert_eq!(names(&self.committed(0, &[0])), "");
        assert_eq!(names(&self.tick()), "start");
        assert_eq!(names(&self.feed(Event::AppStarted)), "");
    }
}

fn staged() -> Outcome {
    Outcome::Staged(vec!["differs".into()])
}

fn failed(kind: crate::error::Kind) -> Outcome {
    Outcome::Failed(Error::new(kind, "it failed"))
}

/// Actions in short, for comparing.
fn names(actions: &[Action]) -> String {
    let name = |a: &Action| match a {
        Action::Log(..) => "log".to_string(),
        Action::Render { group, .. } => format!("render{group}"),
        Action::Discard(t) => format!("discard{t:?}"),
        Action::Commit { group, .. } => format!("commit{group}"),
        Action::Restore(t) => format!("restore{t:?}"),
        Action::Run { job, .. } => match job {
            Job::Check(t) => format!("check{t}"),
            Job::Reload(t) => format!("reload{t}"),
            Job::AppReload => "appreload".into(),
            Job::Handler(i) => format!("handler{i}"),
            Job::Hook(hook) => hook.name().rsplit(' ').take(3).collect::<Vec<_>>().join("-"),
        },
        Action::SignalCommand(_, n) => format!("signalcommand{n}"),
        Action::Observe { sensor, .. } => format!("observe{sensor}"),
        Action::Forget(_) => "forget".into(),
        Action::Pass(i) => format!("pass{i}"),
        Action::Leave(i) => format!("leave{i}"),
        Action::KillCommand(_) => "killcommand".into(),
        Action::StartApp => "start".into(),
        Action::SignalApp(n) => format!("signal{n}"),
        Action::ReloadSignal { signal, force } => format!("hup{signal}{}", if *force { "!" } else { "" }),
        Action::SignalGroup(n) => format!("group{n}"),
        Action::SignalRest(n) => format!("rest{n}"),
        Action::Suspend => "suspend".into(),
        Action::Reread => "reread".into(),
        Action::ToggleDebug => "toggle".into(),
        Action::Exit(n) => format!("exit{n}"),
    };
    actions.iter().map(name).collect::<Vec<_>>().join(" ")
}

fn command_id(actions: &[Action]) -> u32 {
    match actions {
        [Action::Run { id, .. }] => *id,
        other => panic!("no single command: {}", names(other)),
    }
}

#[test]
fn the_app_starts_after_the_first_render_and_learns_of_changes_at_once() {
    let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::Signal(HUP)));
    assert_eq!(names(&w.tick()), "", "nothing without keys");
    w.run_app();
    assert_eq!(w.state.deadline(), None, "idle is idle");
    w.now += 10_000;
    w.data("2");
    assert_eq!(names(&w.tick()), "render0");
    w.rendered(0, vec![(0, staged())]);
    w.committed(0, &[0]);
    assert_eq!(names(&w.tick()), "hup1!");
    w.feed(Event::ReloadSignalled(Caught::Sent));
    assert_eq!(w.state.deadline(), None);
}

#[test]
fn changes_within_the_gap_are_one_apply() {
    let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::Signal(HUP)));
    w.run_app();
    for (i, ms) in [10, 20, 30].into_iter().enumerate() {
        w.now += ms;
        w.data(&format!("v{i}"));
        assert_eq!(names(&w.tick()), "", "within 100 ms of the last apply");
    }
    assert_eq!(names(&w.sleep(40)), "render0", "100 ms after the last one began");
}

#[test]
fn a_change_during_render_check_or_commit_is_not_lost() {
    let mut w = World::new(plan(vec![template("/", true, false, 0)], Reload::Signal(HUP)));
    w.data("1");
    w.tick();
    w.data("2"); // while it renders
    let run = w.rendered(0, vec![(0, staged())]);
    w.data("3"); // while it is checked
    assert_eq!(names(&w.tick()), "");
    assert_eq!(names(&w.feed(Event::CommandEnded { id: command_id(&run), how: Ok(Ended::Exit(0)) })), "commit0");
    w.data("4"); // while it is put in place
    w.committed(0, &[0]);
    assert_eq!(names(&w.tick()), "start");
    assert_eq!(names(&w.sleep(100)), "render0", "the newest keys are rendered");
}

#[test]
fn keys_the_render_did_not_read_render_nothing() {
    let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::Signal(HUP)));
    w.reads = Reads::default();
    w.reads.key("/other");
    w.run_app();
    w.now += 1_000;
    w.data("2");
    assert_eq!(names(&w.tick()), "");
    assert_eq!(w.state.deadline(), None);
}

#[test]
fn one_failure_of_a_group_keeps_all_its_files() {
    let mut w =
        World::new(plan(vec![template("/", false, false, 0), template("/", false, false, 0)], Reload::Signal(HUP)));
    w.data("1");
    w.tick();
    let kind = crate::error::Kind::MissingKey;
    assert_eq!(names(&w.rendered(0, vec![(0, staged()), (1, failed(kind))])), "discard[0]");
    assert_eq!(w.state.deadline(), Some(1_000), "only to say what is missing");
    assert_eq!(w.logs.last().unwrap(), "waiting: it failed");
    w.now = 500;
    w.data("2");
    let actions = w.tick();
    assert!(matches!(&actions[..], [Action::Render { templates, .. }] if templates[..] == [0, 1]));
    assert_eq!(names(&w.rendered(0, vec![(0, staged()), (1, Outcome::Same)])), "commit0");
    w.committed(0, &[0]);
    assert_eq!(names(&w.tick()), "start");
}

#[test]
fn a_full_disk_is_tried_again_with_backoff() {
    let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::Signal(HUP)));
    w.data("1");
    let mut said = 0;
    for _ in 0..12 {
        assert_eq!(names(&w.tick()), "render0");
        assert_eq!(names(&w.rendered(0, vec![(0, failed(crate::error::Kind::Transient))])), "");
        said += w.logs.drain(..).filter(|l| l == "it failed").count();
        w.state.app.said_waiting_for_tests();
        let next = w.state.deadline().unwrap();
        assert!(next - w.now <= 30_000 && next > w.now, "bounded");
        w.now = next;
    }
    assert_eq!(said, 1, "said once");
}

#[test]
fn a_failing_check_keeps_the_file_and_a_hung_one_is_killed() {
    let mut w = World::new(plan(vec![template("/", true, false, 0)], Reload::Signal(HUP)));
    w.data("1");
    w.tick();
    let run = w.rendered(0, vec![(0, staged())]);
    assert_eq!(names(&run), "check0");
    w.now = 1_000;
    assert_eq!(names(&w.tick()), "killcommand");
    let id = command_id(&run);
    assert_eq!(names(&w.feed(Event::CommandEnded { id, how: Ok(Ended::Signal(9)) })), "discard[0]");
    assert!(w.logs.iter().any(|l| l == "Config check failed: timed out: /d is not changed"), "{:?}", w.logs);
    assert_eq!(names(&w.feed(Event::CommandEnded { id, how: Ok(Ended::Exit(0)) })), "", "a late answer is nothing");
}

#[test]
fn a_failed_reload_stays_pending_until_it_succeeds() {
    let mut p = plan(vec![template("/", false, true, 0)], Reload::None);
    p.app = None;
    let mut w = World::new(p);
    w.data("1");
    w.tick();
    w.rendered(0, vec![(0, staged())]);
    w.committed(0, &[0]);
    for _ in 0..3 {
        let run = w.tick();
        assert_eq!(names(&run), "reload0");
        w.feed(Event::CommandEnded { id: command_id(&run), how: Ok(Ended::Exit(1)) });
        assert!(!w.state.reloads_are_done());
        w.now = w.state.deadline().unwrap();
    }
    let run = w.tick();
    w.feed(Event::CommandEnded { id: command_id(&run), how: Ok(Ended::Exit(0)) });
    assert!(w.state.reloads_are_done());
    assert_eq!(w.state.deadline(), None);
}

#[test]
fn a_reload_waits_for_the_apps_handler() {
    let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::Signal(HUP)));
    w.run_app();
    w.now = 100;
    w.data("2");
    w.tick();
    w.rendered(0, vec![(0, staged())]);
    w.committed(0, &[0]);
    assert_eq!(names(&w.tick()), "", "a program of Go catches what it does not handle yet");
    assert_eq!(names(&w.sleep(900)), "hup1", "a second after the start, and not by force");
    w.feed(Event::ReloadSignalled(Caught::NotYet));
    assert_eq!(names(&w.sleep(20)), "hup1");
    assert_eq!(names(&w.feed(Event::ReloadSignalled(Caught::Unknown))), "hup1!");
    w.feed(Event::ReloadSignalled(Caught::Sent));
    assert_eq!(w.state.deadline(), None);
}

#[test]
fn reload_by_restart_stops_and_starts() {
    let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::Restart));
    w.run_app();
    w.now = 1_000;
    w.data("2");
    w.tick();
    w.rendered(0, vec![(0, staged())]);
    w.committed(0, &[0]);
    assert_eq!(names(&w.tick()), "signal15");
    assert_eq!(names(&w.sleep(8_000)), "group9", "it did not stop in time");
    assert_eq!(names(&w.feed(Event::AppEnded(Ended::Signal(9)))), "group15 start");
    w.feed(Event::AppStarted);
    assert_eq!(w.state.deadline(), None);
}

#[test]
fn an_app_that_dies_of_its_new_files_gets_the_old_ones_back() {
    let mut p = plan(vec![template("/", false, false, 0)], Reload::Signal(HUP));
    p.templates[0].rollback = true;
    let mut w = World::new(p);
    w.run_app();
    w.now = 10_000;
    w.data("2");
    w.tick();
    w.rendered(0, vec![(0, staged())]);
    w.committed(0, &[0]);
    assert_eq!(names(&w.tick()), "hup1!");
    w.feed(Event::ReloadSignalled(Caught::Sent));
    w.now += 4_999;
    assert_eq!(names(&w.feed(Event::AppEnded(Ended::Exit(1)))), "restore[0] start", "though restart is never");
    w.feed(Event::Restored { template: 0, result: Ok(()) });
    w.feed(Event::AppStarted);
    assert_eq!(names(&w.tick()), "", "that content is not tried again");
    assert_eq!(w.state.deadline(), None);
    w.now += 1_000;
    assert_eq!(names(&w.feed(Event::AppEnded(Ended::Exit(1)))), "rest15", "it is not the files");

    let mut p = plan(vec![template("/", false, false, 0)], Reload::Signal(HUP));
    p.templates[0].rollback = true;
    let mut w = World::new(p);
    w.run_app();
    w.now = 1_000;
    assert_eq!(names(&w.feed(Event::AppEnded(Ended::Exit(1)))), "rest15", "nothing to go back to at the start");
}

#[test]
fn a_reload_command_that_fails_rolls_back_and_runs_again() {
    let command = Command { argv: vec!["r".into()], form: Form::Words, timeout: 500 };
    let mut p = plan(vec![template("/", false, false, 0)], Reload::Command(command));
    p.templates[0].rollback = true;
    let mut w = World::new(p);
    w.run_app();
    w.now = 10_000;
    w.data("2");
    w.tick();
    w.rendered(0, vec![(0, staged())]);
    w.committed(0, &[0]);
    let run = w.tick();
    let ended = w.feed(Event::CommandEnded { id: command_id(&run), how: Ok(Ended::Exit(1)) });
    assert_eq!(names(&ended), "restore[0]");
    let run = w.tick();
    assert_eq!(names(&run), "appreload");
    w.feed(Event::CommandEnded { id: command_id(&run), how: Ok(Ended::Exit(0)) });
    assert_eq!(w.state.deadline(), None);
}

fn request(is_docker: bool) -> Reload {
    Reload::Request(Box::new(crate::plan::Request {
        shown: "POST http://h/r".into(),
        address: "http://h".into(),
        tls: crate::plan::Tls::default(),
        path: "/r".into(),
        method: "POST".into(),
        headers: Vec::new(),
        basic: None,
        token: crate::plan::Secret::None,
        body: String::new(),
        expect: Vec::new(),
        timeout: 1_000,
        retries: 1,
        is_docker,
    }))
}

/// A plan without an app, in whose place somebody elsewhere is told.
fn elsewhere(reload: Reload) -> World {
    let mut p = plan(vec![template("/", false, false, 0)], Reload::None);
    p.templates[0].rollback = true;
    p.app = None;
    p.target = Some(reload);
    World::new(p)
}

/// New content is in place; what follows.
fn change(w: &mut World, value: &str) -> Vec<Action> {
    w.now += 10_000;
    w.data(value);
    assert_eq!(names(&w.tick()), "render0");
    assert_eq!(names(&w.rendered(0, vec![(0, staged())])), "commit0");
    w.committed(0, &[0]);
    w.tick()
}

#[test]
fn somebody_elsewhere_is_told_of_the_first_files_too() {
    let mut w = elsewhere(request(false));
    for value in ["1", "2"] {
        let run = change(&mut w, value);
        assert_eq!(names(&run), "appreload");
        w.feed(Event::CommandEnded { id: command_id(&run), how: Ok(Ended::Exit(0)) });
        assert_eq!(w.state.deadline(), None);
    }
    assert_eq!(names(&w.feed(Event::Signal(TERM))), "rest15");
}

/// A reload that failed until we were ended must not be forgotten by the next of us.
#[test]
fn somebody_elsewhere_is_told_at_each_start_of_files_that_are_in_place() {
    for (once, want) in [(false, "appreload"), (true, "rest15")] {
        let mut p = plan(vec![template("/", false, false, 0)], Reload::None);
        (p.app, p.target, p.once) = (None, Some(request(false)), once);
        let mut w = World::new(p);
        w.data("1");
        assert_eq!(names(&w.tick()), "render0");
        w.rendered(0, vec![(0, Outcome::Same)]);
        assert_eq!(names(&w.tick()), want);
    }
    let mut w = elsewhere(request(false));
    let run = change(&mut w, "1");
    w.feed(Event::CommandEnded { id: command_id(&run), how: Ok(Ended::Exit(0)) });
    w.now += 10_000;
    w.data("2");
    assert_eq!(names(&w.tick()), "render0");
    w.rendered(0, vec![(0, Outcome::Same)]);
    assert_eq!(names(&w.tick()), "", "later only of new ones");
}

/// A full disk is tried again and again; what is to be written is said once.
#[test]
fn files_that_cannot_be_put_in_place_are_announced_once() {
    let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::Signal(HUP)));
    w.data("1");
    assert_eq!(names(&w.tick()), "render0");
    for _ in 0..3 {
        w.rendered(0, vec![(0, staged())]);
        let result = Err(Error::new(crate::error::Kind::Transient, "cannot write it"));
        w.feed(Event::Committed { group: 0, results: vec![Committed { template: 0, result }] });
        w.now = w.state.deadline().unwrap().max(w.now + 60_000);
        assert_eq!(names(&w.tick()), "render0");
    }
    for text in ["differs", "cannot write it"] {
        assert_eq!(w.loud.iter().filter(|t| *t == text).count(), 1, "{text}");
    }
}

#[test]
fn a_request_has_the_time_of_all_its_tries_and_is_cut_off_then() {
    let mut w = elsewhere(request(false));
    let run = change(&mut w, "1");
    assert_eq!(names(&w.sleep(2 * 1_500)), "killcommand");
    w.feed(Event::CommandEnded { id: command_id(&run), how: Err("timed out".into()) });
    assert!(w.logs.iter().any(|l| l.starts_with("the reload failed: timed out; next try in ")), "{:?}", w.logs);
    w.now = w.state.deadline().unwrap();
    let again = w.tick();
    assert_eq!(names(&again), "appreload");
    assert_eq!(names(&w.feed(Event::CommandEnded { id: command_id(&run), how: Ok(Ended::Exit(0)) })), "", "too late");
    w.feed(Event::CommandEnded { id: command_id(&again), how: Ok(Ended::Exit(0)) });
    assert!(w.state.reloads_are_done());
}

#[test]
fn only_an_answer_that_refuses_rolls_back() {
    for (reload, how, rolls) in [
        (request(false), Ok(Ended::Exit(400)), true),
        (request(false), Err("Connection refused".to_string()), false),
        (request(true), Err("there is no such container".to_string()), false),
        (
            Reload::Named(crate::plan::Named { signal: HUP, name: "x".into() }),
            Err("x is not running".to_string()),
            false,
        ),
    ] {
        let mut w = elsewhere(reload);
        let run = change(&mut w, "1");
        w.feed(Event::CommandEnded { id: command_id(&run), how: Ok(Ended::Exit(0)) });
        let run = change(&mut w, "2");
        let ended = w.feed(Event::CommandEnded { id: command_id(&run), how });
        assert_eq!(names(&ended), if rolls { "restore[0]" } else { "" }, "{:?}", w.logs);
        w.now = w.state.deadline().unwrap_or(w.now);
        assert_eq!(names(&w.tick()), "appreload", "what is in place now is told");
    }
}

#[test]
fn term_stops_within_the_timeout_whatever_the_app_does() {
    let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::Signal(HUP)));
    w.run_app();
    assert_eq!(names(&w.feed(Event::Signal(TERM))), "signal15");
    w.data("2");
    assert_eq!(names(&w.tick()), "", "no new work on the way out");
    assert_eq!(names(&w.feed(Event::Signal(TERM))), "signal15", "a second one is harmless");
    assert_eq!(names(&w.sleep(8_000)), "group9");
    assert_eq!(names(&w.feed(Event::AppEnded(Ended::Signal(9)))), "rest15");
    assert_eq!(names(&w.sleep(1_000)), "rest9");
    assert_eq!(names(&w.sleep(500)), "exit137", "even if children stay");
    assert!(w.now < 10_000, "below the platform's ten seconds");
}

#[test]
fn int_is_handed_on_or_means_term() {
    for (toggles_maintenance, want) in [(false, "signal2"), (true, "signal15")] {
        let plan = plan(vec![template("/", false, false, 0)], Reload::None);
        let mut w = World::new(Plan { toggles_maintenance, ..plan });
        w.run_app();
        assert_eq!(names(&w.feed(Event::Signal(2))), want);
    }
}

#[test]
fn term_before_the_first_render_ends_at_once() {
    let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::Signal(HUP)));
    assert_eq!(names(&w.feed(Event::Signal(TERM))), "rest15");
    assert_eq!(names(&w.feed(Event::Childless)), "exit143");
}

#[test]
fn the_apps_code_is_passed_on_and_signals_are_forwarded() {
    let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::Signal(HUP)));
    w.run_app();
    for n in [1, 3, 10, 12, 14, 18, 20, 28, 35, 64] {
        assert_eq!(names(&w.feed(Event::Signal(n))), format!("signal{n}"));
    }
    for n in [21, 22] {
        assert_eq!(names(&w.feed(Event::Signal(n))), "", "never stops itself");
    }
    assert_eq!(names(&w.feed(Event::AppEnded(Ended::Exit(7)))), "rest15");
    assert_eq!(names(&w.feed(Event::Childless)), "exit7");
}

#[test]
fn a_crash_loop_backs_off_and_a_long_run_resets_it() {
    let mut p = plan(vec![template("/", false, false, 0)], Reload::Signal(HUP));
    if let Some(app) = &mut p.app {
        app.restart = Restart::OnFailure;
    }
    let mut w = World::new(p);
    w.run_app();
    let mut waits = Vec::new();
    for _ in 0..12 {
        w.feed(Event::AppEnded(Ended::Exit(1)));
        let at = w.state.deadline().unwrap();
        waits.push(at - w.now);
        w.now = at;
        assert_eq!(names(&w.tick()), "start");
        w.feed(Event::AppStarted);
    }
    assert!(waits[0] <= 100 && waits[11] >= 15_000 && waits.iter().all(|w| *w <= 30_000), "{waits:?}");
    w.now += 20_000;
    w.feed(Event::AppEnded(Ended::Exit(1)));
    assert!(w.state.deadline().unwrap() - w.now <= 100, "reset");
    let at = w.state.deadline().unwrap();
    w.now = at;
    w.tick();
    w.feed(Event::AppStarted);
    assert_eq!(names(&w.feed(Event::AppEnded(Ended::Exit(0)))), "rest15", "a good end is the end");
}

#[test]
fn an_app_that_cannot_run_gives_its_code() {
    for (code, want) in [(127, "exit127"), (126, "exit126")] {
        let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::Signal(HUP)));
        w.data("1");
        w.tick();
        w.rendered(0, vec![(0, Outcome::Same)]);
        assert_eq!(names(&w.tick()), "start");
        assert_eq!(names(&w.feed(Event::AppStartFailed { code, text: "no".into() })), "rest15");
        assert_eq!(names(&w.feed(Event::Childless)), want);
    }
}

#[test]
fn no_room_for_a_process_is_tried_again() {
    let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::Signal(HUP)));
    w.data("1");
    w.tick();
    w.rendered(0, vec![(0, Outcome::Same)]);
    w.tick();
    assert_eq!(names(&w.feed(Event::AppStartFailed { code: 0, text: "no".into() })), "");
    w.now = w.state.deadline().unwrap();
    assert_eq!(names(&w.tick()), "start");
}

#[test]
fn keys_that_vanish_are_kept_unless_allowed() {
    let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::Signal(HUP)));
    w.run_app();
    w.now = 1_000;
    w.data("");
    w.data("");
    assert_eq!(names(&w.tick()), "");
    assert_eq!(w.logs.iter().filter(|l| l.contains("are gone")).count(), 1);
    w.data("2");
    assert_eq!(names(&w.tick()), "render0");

    let mut p = plan(vec![template("/", false, false, 0)], Reload::Signal(HUP));
    p.sources[0].allow_empty = true;
    let mut w = World::new(p);
    w.run_app();
    w.now = 1_000;
    w.data("");
    assert_eq!(names(&w.tick()), "render0");
}

#[test]
fn trouble_is_said_when_it_begins_and_when_it_ends() {
    let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::Signal(HUP)));
    w.run_app();
    w.logs.clear();
    for _ in 0..5 {
        let mut out = Vec::new();
        w.state.step(w.now, Event::Trouble { watch: 0, text: "refused".into(), retry: 250 }, &mut out);
        for a in out {
            if let Action::Log(level, _, text) = a
                && level > Level::Debug
            {
                w.logs.push(text);
            }
        }
        w.now += 1_000;
    }
    w.feed(Event::Recovered { watch: 0 });
    w.feed(Event::Recovered { watch: 0 });
    assert_eq!(w.logs, ["refused; next try in 0.25 s", "src answers again after 5.00 s"]);
}

#[test]
fn settle_waits_for_quiet_but_not_for_ever() {
    let mut p = plan(vec![template("/", false, false, 0)], Reload::Signal(HUP));
    p.pace.quiet = 1_000;
    p.pace.max = 3_000;
    let mut w = World::new(p);
    w.run_app(); // the first render does not wait
    w.now = 10_000;
    for i in 0..4 {
        w.data(&format!("x{i}"));
        assert_eq!(names(&w.tick()), "");
        w.now += 700;
    }
    assert_eq!(w.now, 12_800);
    w.data("last");
    assert_eq!(names(&w.tick()), "");
    assert_eq!(names(&w.sleep(200)), "render0", "3 s after the first change");
}

#[test]
fn start_timeout_gives_up_with_69() {
    let mut p = plan(vec![template("/", false, false, 0)], Reload::Signal(HUP));
    p.start_timeout = Some(5_000);
    let mut w = World::new(p);
    w.sleep(1_000);
    assert_eq!(names(&w.sleep(4_000)), "rest15");
    assert!(w.logs.last().unwrap().contains("no answer from src"), "{:?}", w.logs);
    assert_eq!(names(&w.feed(Event::Childless)), "exit69");
}

#[test]
fn once_ends_with_0_or_1() {
    for (outcome, want) in [(Outcome::Same, "exit0"), (failed(crate::error::Kind::MissingKey), "exit1")] {
        let mut p = plan(vec![template("/", false, false, 0)], Reload::None);
        (p.once, p.app) = (true, None);
        let mut w = World::new(p);
        w.data("1");
        assert_eq!(names(&w.tick()), "render0");
        w.rendered(0, vec![(0, outcome)]);
        assert_eq!(names(&w.tick()), "rest15");
        assert_eq!(names(&w.feed(Event::Childless)), want);
    }
}

/// Every sequence of up to `DEPTH` of these events, from every point the state can be in, keeps the invariants.
#[test]
fn every_short_sequence_keeps_the_invariants() {
    const DEPTH: u32 = 6;
    const KINDS: u32 = 9;
    for reload in 0..4 {
        for code in 0..KINDS.pow(DEPTH) {
            let how = match reload {
                0 => Reload::Signal(HUP),
                1 => Reload::Restart,
                2 => request(false),
                _ => Reload::Command(Command { argv: vec!["r".into()], form: Form::Words, timeout: 500 }),
            };
            run_sequence(how, code, DEPTH, KINDS);
        }
    }
}

/// What the world looks like from outside: what the driver would know.
#[derive(Default)]
struct Outside {
    renders: u32,
    commits: u32,
    commands: Vec<u32>,
    app: bool,
    reloading: u32,
    signals: u32,
    term: bool,
    exit: bool,
}

impl Outside {
    fn take(&mut self, actions: &[Action], trace: &str) {
        for a in actions {
            assert!(!self.exit, "after the exit: {} in {trace}", names(actions));
            match a {
                Action::Render { .. } => self.renders += 1,
                Action::Commit { .. } => self.commits += 1,
                Action::Run { id, job } => {
                    assert!(!self.term, "new work after TERM in {trace}");
                    if *job == Job::AppReload {
                        assert_eq!(self.reloading, 0, "two reloads at a time in {trace}");
                        self.reloading = *id;
                    }
                    self.commands.push(*id);
                }
                Action::KillCommand(id) => assert!(self.commands.contains(id), "killed twice in {trace}"),
                Action::StartApp => {
                    assert!(!self.app, "started twice in {trace}");
                    assert!(!self.term, "started after TERM in {trace}");
                    self.app = true;
                }
                Action::ReloadSignal { .. } => self.signals += 1,
                Action::SignalApp(_) => assert!(self.app, "a signal to nobody in {trace}"),
                Action::Exit(_) => {
                    assert!(!self.app, "left the app behind in {trace}");
                    self.exit = true;
                }
                Action::Log(..)
                | Action::SignalCommand(..)
                | Action::Observe { .. }
                | Action::Forget(_)
                | Action::Pass(_)
                | Action::Leave(_)
                | Action::Discard(_)
                | Action::Restore(_)
                | Action::SignalGroup(_)
                | Action::SignalRest(_)
                | Action::Reread
                | Action::ToggleDebug
                | Action::Suspend => {}
            }
        }
        assert!(self.renders <= 1 && self.commits <= 1 && self.signals <= 1, "two at a time in {trace}");
    }
}

fn run_sequence(reload: Reload, mut code: u32, depth: u32, kinds: u32) {
    let mut w = World::new(plan(vec![template("/", true, false, 0)], reload));
    let mut o = Outside::default();
    let mut trace = String::new();
    for i in 0..depth {
        let kind = code % kinds;
        code /= kinds;
        trace.push(char::from_digit(kind, 10).unwrap());
        let actions = match kind {
            0 => w.data(&format!("v{i}")),
            1 if o.renders == 1 => {
                o.renders = 0;
                w.rendered(0, vec![(0, staged())])
            }
            2 if o.renders == 1 => {
                o.renders = 0;
                w.rendered(0, vec![(0, failed(crate::error::Kind::MissingKey))])
            }
            1 | 2 if o.commits == 1 => {
                o.commits = 0;
                w.committed(0, &[0])
            }
            3 | 4 if !o.commands.is_empty() => {
                let id = o.commands.remove(0);
                if o.reloading == id {
                    o.reloading = 0;
                }
                w.feed(Event::CommandEnded { id, how: Ok(Ended::Exit(i32::from(kind == 4))) })
            }
            5 if o.app => {
                o.app = false;
                o.signals = 0;
                w.feed(Event::AppEnded(Ended::Exit(0)))
            }
            6 => {
                o.term = true;
                w.feed(Event::Signal(TERM))
            }
            7 if o.signals == 1 => {
                o.signals = 0;
                w.feed(Event::ReloadSignalled(Caught::Sent))
            }
            8 => {
                w.now += 150;
                Vec::new()
            }
            _ => Vec::new(),
        };
        o.take(&actions, &trace);
        let started = actions.iter().any(|a| matches!(a, Action::StartApp));
        let ticked = w.tick();
        o.take(&ticked, &trace);
        if started || ticked.iter().any(|a| matches!(a, Action::StartApp)) {
            let actions = w.feed(Event::AppStarted);
            o.take(&actions, &trace);
        }
        if o.exit {
            return;
        }
    }
    // Whatever happened: TERM ends it, with an app that ignores everything but KILL.
    o.term = true;
    let actions = w.feed(Event::Signal(TERM));
    o.take(&actions, &trace);
    let begin = w.now;
    while !o.exit {
        let actions = w.tick();
        o.take(&actions, &trace);
        if o.app && actions.iter().any(|a| matches!(a, Action::SignalGroup(9))) {
            o.app = false;
            let actions = w.feed(Event::AppEnded(Ended::Signal(9)));
            o.take(&actions, &trace);
        }
        if !o.exit {
            let at = w.state.deadline();
            w.now = at.unwrap_or_else(|| panic!("it would wait for ever after TERM in {trace}")).max(w.now);
        }
        assert!(w.now - begin <= 10_000, "longer than ten seconds in {trace}");
    }
}

#[test]
fn a_change_during_a_render_on_a_thread_is_not_lost() {
    let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::Signal(HUP)));
    w.data("1");
    assert_eq!(names(&w.tick()), "render0"); // runs on a thread: it looks up names
    w.now = 50;
    w.data("2"); // comes while it renders "1"
    assert_eq!(names(&w.rendered(0, vec![(0, staged())])), "commit0");
    w.committed(0, &[0]);
    w.tick();
    w.feed(Event::AppStarted);
    w.now = 60_000;
    let later = names(&w.tick());
    assert_eq!(later, "render0", "the file holds 1, the source 2");
}

#[test]
fn a_change_of_what_the_render_under_way_reads_is_not_lost() {
    let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::Signal(HUP)));
    w.reads = Reads::default();
    w.reads.key("/switch");
    w.run_app();
    let snap = |a: &str, b: &str| {
        Arc::new(Snapshot::new(vec![
            (Arc::from("/k"), Arc::from(b.as_bytes())),
            (Arc::from("/switch"), Arc::from(a.as_bytes())),
        ]))
    };
    w.now = 1_000;
    w.feed(Event::Data { watch: 0, snapshot: snap("on", "1") });
    assert_eq!(names(&w.tick()), "render0");
    w.now = 1_050;
    w.feed(Event::Data { watch: 0, snapshot: snap("on", "2") });
    w.reads.key("/k"); // the render under way reads /k too
    assert_eq!(names(&w.rendered(0, vec![(0, staged())])), "commit0");
    w.committed(0, &[0]);
    w.now = 60_000;
    let later = names(&w.tick());
    assert!(later.contains("render0"), "{later}");
}

#[test]
fn half_a_group_is_not_told_to_the_app() {
    let mut w =
        World::new(plan(vec![template("/", false, false, 0), template("/", false, false, 0)], Reload::Signal(HUP)));
    w.data("1");
    w.tick();
    w.rendered(0, vec![(0, staged()), (1, staged())]);
    w.committed(0, &[0, 1]);
    assert_eq!(names(&w.tick()), "start");
    w.feed(Event::AppStarted);
    w.now = 60_000;
    w.data("2");
    w.tick();
    w.rendered(0, vec![(0, staged()), (1, staged())]);
    let results = vec![
        Committed { template: 0, result: Ok(false) },
        Committed { template: 1, result: Err(Error::new(crate::error::Kind::Transient, "no space left")) },
    ];
    w.feed(Event::Committed { group: 0, results });
    assert_eq!(names(&w.tick()), "", "the app is told of half a change");
}

#[test]
fn once_has_no_deadline_in_the_past() {
    let mut p = plan(vec![template("/", false, false, 0)], Reload::None);
    p.app = None;
    p.once = true;
    let mut w = World::new(p);
    w.now = 1_500;
    assert_eq!(names(&w.tick()), "");
    assert!(w.state.deadline().is_none_or(|d| d > w.now), "{:?} is over at {}", w.state.deadline(), w.now);
}

#[test]
fn an_app_that_outlives_kill_holds_nobody_up() {
    let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::Signal(HUP)));
    w.run_app();
    w.feed(Event::Signal(TERM));
    assert_eq!(names(&w.sleep(8_000)), "group9");
    assert!(w.state.deadline().is_some(), "waits for ever for an app that KILL does not end");
}

/// A plan of reconfig: one template with a scope and a reload command.
fn scoped(once: bool, splay: Millis) -> Plan {
    let scope = Scope { key: "/k".into(), is_tree: false, alt: Vec::new(), pattern: Default::default() };
    let plan = plan(vec![template("", false, true, 0)], Reload::None);
    Plan { app: None, scopes: vec![scope], splays: vec![splay], once, toggles_debug: true, ..plan }
}

#[test]
fn a_watched_key_that_is_missing_leaves_the_file_and_is_no_failure() {
    for once in [false, true] {
        let mut w = World::new(scoped(once, 0));
        w.data("");
        assert_eq!(names(&w.tick()), "render0");
        assert_eq!(names(&w.rendered(0, vec![(0, failed(crate::error::Kind::MissingKey))])), "");
        assert_eq!(w.logs, ["it failed: /d is not changed"]);
        if once {
            assert_eq!(names(&w.tick()), "rest15");
            assert_eq!(names(&w.feed(Event::Childless)), "exit0");
            continue;
        }
        assert_eq!(names(&w.tick()), "");
        assert_eq!(w.state.deadline(), None, "nothing is tried again");
        w.now += 1_000;
        w.data("1");
        assert_eq!(names(&w.tick()), "render0", "until it is there");
        assert_eq!(names(&w.rendered(0, vec![(0, failed(crate::error::Kind::Config))])), "");
        assert!(w.logs.last().unwrap().starts_with("it failed"));
    }
}

#[test]
fn a_templates_own_reload_waits_for_its_splay_and_no_longer() {
    let mut w = World::new(scoped(false, 5_000));
    w.now = 1_000;
    w.data("1");
    assert_eq!(names(&w.tick()), "render0");
    w.rendered(0, vec![(0, staged())]);
    w.committed(0, &[0]);
    assert_eq!(names(&w.tick()), "");
    let at = w.state.deadline().unwrap();
    assert!((1_001..6_000).contains(&at), "{at}");
    let mut done = String::new();
    for n in 2..=20 {
        w.now = 1_000 + (at - 1_000) * n / 20;
        w.data(&n.to_string());
        done = names(&w.tick());
        if done.contains("reload0") {
            break;
        }
        w.rendered(0, vec![(0, staged())]);
        w.committed(0, &[0]);
    }
    assert!(done.contains("reload0"), "changes put nothing off: {done}");
}

#[test]
fn usr1_is_debug_where_there_is_no_app_for_it() {
    let mut w = World::new(scoped(false, 0));
    assert_eq!(names(&w.feed(Event::Signal(10))), "toggle");
    let mut w = World::new(plan(vec![template("/", false, false, 0)], Reload::None));
    w.run_app();
    assert_eq!(names(&w.feed(Event::Signal(10))), "signal10");
}

#[test]
fn newer_files_are_told_at_once_though_an_older_reload_waits() {
    let mut w = elsewhere(request(false));
    w.data("1");
    w.tick();
    w.rendered(0, vec![(0, staged())]);
    w.committed(0, &[0]);
    for _ in 0..8 {
        let run = w.tick();
        assert_eq!(names(&run), "appreload");
        w.feed(Event::CommandEnded { id: command_id(&run), how: Err("refused".into()) });
        w.now = w.state.deadline().unwrap();
    }
    let run = w.tick();
    w.feed(Event::CommandEnded { id: command_id(&run), how: Err("refused".into()) });
    assert!(w.state.deadline().unwrap() > w.now + 5_000, "ever more slowly");
    w.now += 200;
    let run = change(&mut w, "2");
    assert_eq!(names(&run), "appreload");
    w.feed(Event::CommandEnded { id: command_id(&run), how: Ok(Ended::Exit(0)) });
    assert_eq!((w.tick().len(), w.state.deadline()), (0, None));
}

impl World {
    fn unready(&self) -> String {
        self.state.facts(self.now).unready.unwrap_or_default()
    }
}

#[test]
fn why_it_is_not_ready() {
    let mut p = plan(vec![template("/", true, false, 0)], Reload::Command(command()));
    p.max_outage = Some(1_000);
    let mut w = World::new(p);
    assert_eq!(w.unready(), "waiting for the first configuration: no answer from src");
    w.feed(Event::Trouble { watch: 0, text: "403".into(), retry: 100 });
    assert_eq!(w.unready(), "waiting for the first configuration: 403");
    w.data("1");
    w.tick();
    let reads = w.reads.clone();
    let refused = vec!["cannot make a file of the key x".to_string()];
    w.feed(Event::Rendered {
        group: 0,
        results: vec![Rendered { template: 0, reads, refused, outcome: Outcome::Same }],
    });
    w.tick();
    assert_eq!(w.unready(), "main program is being started");
    w.feed(Event::AppStarted);
    assert_eq!(w.unready(), "cannot make a file of the key x");
    // The key is gone; what is rendered then is refused by its check, and accepted later.
    w.now = 1_000;
    w.data("2");
    w.tick();
    let run = w.rendered(0, vec![(0, staged())]);
    assert_eq!(w.unready(), "", "what is on its way is no failure");
    w.feed(Event::CommandEnded { id: command_id(&run), how: Ok(Ended::Exit(3)) });
    assert_eq!(w.unready(), "Config check failed: exit status 3: /d is not changed");
    w.now = 2_000;
    w.data("3");
    w.tick();
    let run = w.rendered(0, vec![(0, staged())]);
    w.feed(Event::CommandEnded { id: command_id(&run), how: Ok(Ended::Exit(0)) });
    w.committed(0, &[0]);
    // The reload fails, until the app is a new one.
    let run = w.tick();
    assert_eq!((names(&run).as_str(), w.unready().as_str()), ("appreload", ""));
    w.feed(Event::CommandEnded { id: command_id(&run), how: Ok(Ended::Exit(4)) });
    assert_eq!(w.unready(), "the reload command failed: exit status 4");
    w.feed(Event::AppStarted);
    assert_eq!(w.unready(), "");
    // A source in trouble counts when it lasts; one that has not what it was asked for counts at once.
    w.feed(Event::Trouble { watch: 0, text: "down".into(), retry: 100 });
    w.now += 1_000;
    assert_eq!(w.unready(), "");
    w.now += 1;
    assert_eq!(w.unready(), "down");
    w.feed(Event::Recovered { watch: 0 });
    assert_eq!(w.unready(), "");
    w.feed(Event::Trouble { watch: 0, text: "there is no such map".into(), retry: 0 });
    assert_eq!(w.unready(), "there is no such map");
    w.data("3");
    assert_eq!(w.unready(), "");
    w.feed(Event::Signal(TERM));
    assert_eq!(w.unready(), "stopping");
}
