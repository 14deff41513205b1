//! What runs beside the app, and the way out with services and hooks.

use super::*;
use crate::catalog::Word;
use crate::plan::{ALWAYS, Handler, Hooks, Role, Run, Sensor, SensorKind, Service, UNLIMITED};

fn run(timeout: Millis) -> Run {
    Run::Command(Command { timeout, ..command() })
}

fn handler(name: &str, role: Role, run: Run) -> Handler {
    Handler { name: name.into(), run, role, poll: 1_000, first: 1_000 }
}

fn service(id: &str) -> Service {
    Service {
        id: id.into(),
        name: id.into(),
        address: "10.0.0.1".into(),
        port: 80,
        tags: Vec::new(),
        ttl: 3_000,
        notes: String::new(),
        enable_tag_override: false,
        deregister_after: String::new(),
    }
}

/// An app with one service and its health check, no files.
fn healthy() -> Plan {
    let mut p = plan(Vec::new(), Reload::None);
    p.watches.clear();
    p.services = vec![service("a-h")];
    p.handlers = vec![handler("health check of a", Role::Health(0), run(1_000))];
    p
}

fn run_ids(actions: &[Action]) -> Vec<u32> {
    actions.iter().filter_map(|a| if let Action::Run { id, .. } = a { Some(*id) } else { None }).collect()
}

impl World {
    /// What is to be done at the next deadline, which must be `after` from now; commands' ids are given, too.
    fn later(&mut self, after: Millis) -> (String, Option<u32>) {
        let actions = self.sleep(after);
        let id = actions.iter().find_map(|a| if let Action::Run { id, .. } = a { Some(*id) } else { None });
        (names(&actions), id)
    }

    fn ended(&mut self, id: u32, code: i32) -> String {
        names(&self.feed(Event::CommandEnded { id, how: Ok(Ended::Exit(code)) }))
    }

    fn start(plan: Plan) -> World {
        let mut w = World::new(plan);
        assert_eq!(names(&w.tick()), "start");
        assert_eq!(names(&w.feed(Event::AppStarted)), "");
        w
    }

    fn instances(&mut self, watch: usize, values: &[&str]) -> String {
        let entries = values.iter().enumerate();
        let entries = entries.map(|(i, v)| (Arc::from(format!("/s/{i}")), Arc::from(v.as_bytes()))).collect();
        names(&self.feed(Event::Data { watch, snapshot: Arc::new(Snapshot::new(entries)) }))
    }

    fn said(&self, text: &str) -> usize {
        self.loud.iter().filter(|l| l.contains(text)).count()
    }
}

#[test]
fn a_service_is_told_of_while_its_check_passes() {
    let mut w = World::start(healthy());
    assert_eq!(names(&w.tick()), "", "nothing before its time");
    let (did, id) = w.later(1_000);
    assert_eq!(did, "handler0");
    assert_eq!(w.ended(id.unwrap(), 1), "", "a failing check sends nothing");
    assert_eq!(w.said("a-h is not well: exit status 1"), 1);
    let (_, id) = w.later(1_000);
    w.ended(id.unwrap(), 1);
    assert_eq!(w.said("is not well"), 1, "said once");
    let (_, id) = w.later(1_000);
    assert_eq!(w.ended(id.unwrap(), 0), "pass0");
    let (_, id) = w.later(1_000);
    assert_eq!(w.ended(id.unwrap(), 0), "pass0", "each time");
    assert_eq!(w.said("a-h is well"), 1);
    // One that hangs is killed at its limit, and the next comes at its time.
    assert_eq!(w.later(1_000).0, "handler0");
    assert_eq!(w.later(1_000).0, "killcommand");
    assert_eq!(names(&w.tick()), "", "not two at a time");
}

#[test]
fn at_the_end_the_catalog_hears_first() {
    let mut p = healthy();
    p.hooks = Hooks { pre_start: None, pre_stop: Some(command()), post_stop: Some(command()) };
    let mut w = World::start(p);
    let (_, id) = w.later(1_000);
    w.ended(id.unwrap(), 0);
    assert_eq!(names(&w.feed(Event::Signal(TERM))), "leave0", "the app is not asked yet");
    w.feed(Event::Word { service: 0, word: Word::Left(true) });
    let actions = w.tick();
    assert_eq!(names(&actions), "stop-the-before");
    let id = command_id(&actions);
    assert_eq!(names(&w.tick()), "");
    assert_eq!(w.ended(id, 4), "signal15", "its code means nothing");
    let actions = w.feed(Event::AppEnded(Ended::Exit(3)));
    assert_eq!(names(&actions), "stop-the-after");
    assert_eq!(w.ended(command_id(&actions), 0), "rest15");
    assert_eq!(names(&w.feed(Event::Childless)), "exit3");
}

#[test]
fn a_slow_catalog_holds_nobody_up_and_is_awaited_at_the_end() {
    let mut w = World::start(healthy());
    let (_, id) = w.later(1_000);
    w.ended(id.unwrap(), 0);
    w.feed(Event::Signal(TERM));
    assert_eq!(names(&w.sleep(1_000)), "signal15");
    assert_eq!(names(&w.feed(Event::AppEnded(Ended::Exit(0)))), "rest15");
    assert_eq!(names(&w.feed(Event::Childless)), "", "the catalog has not heard");
    w.feed(Event::Word { service: 0, word: Word::Left(false) });
    assert_eq!(w.said("a-h may still be in the catalog"), 1, "not that it is deregistered");
    assert_eq!(names(&w.tick()), "exit0");
    // One that never answers is given up.
    let mut w = World::start(healthy());
    let (_, id) = w.later(1_000);
    w.ended(id.unwrap(), 0);
    assert_eq!(names(&w.feed(Event::AppEnded(Ended::Exit(5)))), "leave0 rest15", "the app ended by itself");
    w.feed(Event::Childless);
    assert_eq!(names(&w.sleep(8_500)), "exit5");
}

#[test]
fn the_hook_before_the_start_decides_whether_there_is_one() {
    let hooks = || Hooks { pre_start: Some(command()), pre_stop: Some(command()), post_stop: Some(command()) };
    let begun = || {
        let mut w = World::new(Plan { hooks: hooks(), ..healthy() });
        let actions = w.tick();
        assert_eq!(names(&actions), "start-the-before");
        (w, command_id(&actions))
    };
    let (mut w, id) = begun();
    assert_eq!(w.ended(id, 7), "rest15", "no app, no other hook");
    assert_eq!(names(&w.feed(Event::Childless)), "exit7");
    let (mut w, id) = begun();
    assert_eq!(w.ended(id, 0), "start");
    let (mut w, id) = begun();
    assert_eq!(names(&w.feed(Event::Signal(TERM))), "rest15");
    assert_eq!(w.ended(id, 0), "", "never started after TERM");
    assert_eq!(names(&w.feed(Event::Childless)), "exit143");
    let (mut w, id) = begun();
    assert_eq!(w.later(1_000).0, "killcommand");
    assert_eq!(names(&w.feed(Event::CommandEnded { id, how: Ok(Ended::Signal(9)) })), "rest15");
    assert_eq!(names(&w.feed(Event::Childless)), "exit137");
}

#[test]
fn a_second_term_hurries_a_hook() {
    let unlimited = || Some(Command { timeout: UNLIMITED, ..command() });
    let mut p = healthy();
    p.hooks = Hooks { pre_start: None, pre_stop: unlimited(), post_stop: unlimited() };
    let mut w = World::start(p);
    let actions = w.feed(Event::Signal(TERM));
    let id = command_id(&actions);
    assert_eq!(w.state.deadline(), None, "it has all the time there is");
    assert_eq!(names(&w.feed(Event::Signal(TERM))), "killcommand");
    assert_eq!(names(&w.feed(Event::Signal(TERM))), "", "killed once");
    assert_eq!(names(&w.feed(Event::CommandEnded { id, how: Ok(Ended::Signal(9)) })), "signal15");
    let actions = w.feed(Event::AppEnded(Ended::Exit(0)));
    let id = command_id(&actions);
    assert_eq!(names(&w.feed(Event::Signal(TERM))), "killcommand");
    assert_eq!(names(&w.feed(Event::CommandEnded { id, how: Ok(Ended::Signal(9)) })), "rest15");
    assert_eq!(names(&w.feed(Event::Childless)), "exit0", "what was cut off has no say");
    // The code of one that ended by itself is ours.
    let mut p = healthy();
    p.hooks.post_stop = Some(command());
    let mut w = World::start(p);
    let actions = w.feed(Event::AppEnded(Ended::Exit(3)));
    assert_eq!(w.ended(command_id(&actions), 9), "rest15");
    assert_eq!(names(&w.feed(Event::Childless)), "exit9");
}

#[test]
fn an_app_that_ends_meanwhile_is_not_asked() {
    let mut p = healthy();
    p.hooks.pre_stop = Some(command());
    let mut w = World::start(p);
    let id = command_id(&w.feed(Event::Signal(TERM)));
    assert_eq!(names(&w.feed(Event::AppEnded(Ended::Exit(2)))), "");
    assert_eq!(w.ended(id, 0), "rest15");
    assert_eq!(names(&w.feed(Event::Childless)), "exit2");
}

#[test]
fn maintenance_takes_services_out_and_rests() {
    let mut p = healthy();
    p.toggles_maintenance = true;
    p.handlers.push(handler("task", Role::Task, run(500)));
    let mut w = World::start(p);
    let actions = w.sleep(1_000);
    assert_eq!(names(&actions), "handler0 handler1");
    let ids = run_ids(&actions);
    assert_eq!(w.ended(ids[0], 0), "pass0");
    assert_eq!(names(&w.feed(Event::Signal(10))), "leave0");
    assert_eq!(w.ended(ids[1], 0), "");
    w.feed(Event::Word { service: 0, word: Word::Left(true) });
    assert_eq!(w.state.deadline(), None, "all rests");
    assert_eq!(names(&w.feed(Event::Maintenance(true))), "", "it is so already");
    w.now += 60_000;
    w.feed(Event::Signal(10));
    assert_eq!(names(&w.sleep(1_000)), "handler0 handler1");
    // A check that ends in maintenance brings nothing back.
    assert_eq!(names(&w.feed(Event::Maintenance(true))), "", "nothing is registered");
    let mut w = World::start(healthy());
    let (_, id) = w.later(1_000);
    w.feed(Event::Maintenance(true));
    assert_eq!(w.ended(id.unwrap(), 0), "");
    assert_eq!(names(&w.feed(Event::Signal(TERM))), "signal15", "TERM in maintenance");
}

#[test]
fn a_restarted_app_is_not_found_while_it_is_gone() {
    let mut p = healthy();
    p.app.as_mut().unwrap().restart = Restart::Always;
    let mut w = World::start(p);
    let (_, id) = w.later(1_000);
    w.ended(id.unwrap(), 0);
    assert_eq!(names(&w.feed(Event::AppEnded(Ended::Exit(1)))), "leave0");
    let wait = w.state.deadline().unwrap() - w.now;
    assert_eq!(names(&w.sleep(wait)), "start");
    w.feed(Event::AppStarted);
    let (did, id) = w.later(1_000);
    assert_eq!(did, "handler0");
    // What its check found of the one before counts for nothing.
    w.feed(Event::AppEnded(Ended::Exit(1)));
    w.now = w.state.deadline().unwrap();
    assert_eq!(names(&w.tick()), "start");
    w.feed(Event::AppStarted);
    assert_eq!(w.ended(id.unwrap(), 0), "");
    let (_, id) = w.later(1_000);
    assert_eq!(w.ended(id.unwrap(), 0), "pass0");
}

#[test]
fn changes_of_instances_are_handled_one_at_a_time_and_the_rest_once() {
    let mut p = plan(Vec::new(), Reload::None);
    p.sources[0].allow_empty = true;
    p.handlers = vec![handler("onChange of s", Role::Change(0), run(UNLIMITED))];
    let mut w = World::start(p);
    assert_eq!(w.instances(0, &[]), "");
    assert_eq!(names(&w.tick()), "", "none at the start without instances");
    w.instances(0, &["10.0.0.1:80"]);
    let actions = w.tick();
    assert_eq!(names(&actions), "handler0");
    let id = command_id(&actions);
    for values in [&["10.0.0.1:80", "10.0.0.2:80"][..], &["10.0.0.2:80"], &["10.0.0.3:80"]] {
        w.instances(0, values);
        assert_eq!(names(&w.tick()), "", "one is running");
    }
    w.ended(id, 1);
    assert_eq!(w.said("onChange of s failed: exit status 1"), 1);
    let actions = w.tick();
    assert_eq!(names(&actions), "handler0", "exactly one more");
    w.ended(command_id(&actions), 0);
    assert_eq!(names(&w.tick()), "");
    w.instances(0, &["10.0.0.3:80"]);
    assert_eq!(names(&w.tick()), "", "the same again");
    // Nothing there is a change, too.
    w.instances(0, &[]);
    assert_eq!(names(&w.tick()), "handler0");
}

#[test]
fn files_that_follow_the_same_services_come_first() {
    let mut p = plan(vec![template("/", false, false, 0)], Reload::None);
    p.sources[0].allow_empty = true;
    p.handlers = vec![handler("onChange of s", Role::Change(0), run(UNLIMITED))];
    let mut w = World::new(p);
    w.run_app();
    let actions = w.tick();
    assert_eq!(names(&actions), "handler0");
    w.ended(command_id(&actions), 0);
    w.now += 1_000;
    w.data("2");
    assert_eq!(names(&w.tick()), "render0");
    w.rendered(0, vec![(0, staged())]);
    assert_eq!(names(&w.tick()), "");
    w.committed(0, &[0]);
    assert_eq!(names(&w.tick()), "handler0");
}

#[test]
fn coprocesses_run_as_often_as_they_may() {
    for (restarts, runs) in [(0, 1), (2, 3)] {
        let mut p = plan(Vec::new(), Reload::None);
        p.handlers = vec![handler("coprocess", Role::Coprocess(restarts), run(UNLIMITED))];
        let mut w = World::new(p);
        let mut actions = w.tick();
        assert_eq!(names(&actions), "start handler0");
        actions.remove(0);
        w.feed(Event::AppStarted);
        for n in 1..=runs {
            assert_eq!(w.ended(command_id(&actions), 0), "");
            if n < runs {
                let wait = w.state.deadline().unwrap() - w.now;
                actions = w.sleep(wait);
            }
        }
        assert_eq!(w.state.deadline(), None);
    }
    let mut p = plan(Vec::new(), Reload::None);
    p.handlers = vec![handler("coprocess", Role::Coprocess(ALWAYS), run(UNLIMITED))];
    let mut w = World::start_with(p);
    for _ in 0..20 {
        let wait = w.state.deadline().unwrap() - w.now;
        let actions = w.sleep(wait);
        w.ended(command_id(&actions), 1);
    }
}

impl World {
    /// Starts an app whose one coprocess ends at once.
    fn start_with(plan: Plan) -> World {
        let mut w = World::new(plan);
        let mut actions = w.tick();
        actions.remove(0);
        w.feed(Event::AppStarted);
        w.ended(command_id(&actions), 1);
        w
    }
}

#[test]
fn the_app_waits_for_what_it_needs() {
    let mut p = plan(Vec::new(), Reload::None);
    p.handlers = vec![handler("tcp://db:1", Role::Wait, run(500)), handler("service:s", Role::Wait, Run::Instances(0))];
    p.start_timeout = Some(30_000);
    let mut w = World::new(p);
    let actions = w.tick();
    assert_eq!(names(&actions), "handler0");
    w.ended(command_id(&actions), 1);
    w.now += 1_000;
    let actions = w.tick();
    assert_eq!(names(&actions), "handler0");
    w.ended(command_id(&actions), 0);
    assert_eq!(names(&w.tick()), "", "one of two");
    w.instances(0, &[]);
    assert_eq!(names(&w.tick()), "");
    w.instances(0, &["10.0.0.1:80"]);
    assert_eq!(names(&w.tick()), "");
    assert_eq!(names(&w.tick()), "start");
    // It is given up like files that do not come.
    let mut p = plan(Vec::new(), Reload::None);
    p.handlers = vec![handler("service:s", Role::Wait, Run::Instances(0))];
    p.start_timeout = Some(30_000);
    let mut w = World::new(p);
    w.tick();
    w.now = 30_000;
    assert_eq!(names(&w.tick()), "rest15");
    assert_eq!(names(&w.feed(Event::Childless)), "exit69");
}

#[test]
fn sensors_observe_what_good_commands_print() {
    let mut p = plan(Vec::new(), Reload::None);
    p.sensors = vec![Sensor { name: "n".into(), help: String::new(), kind: SensorKind::Gauge }];
    p.handlers = vec![handler("sensor n", Role::Sensor(0), run(500))];
    let mut w = World::start(p);
    let (_, id) = w.later(1_000);
    assert_eq!(w.ended(id.unwrap(), 0), "observe0");
    let (_, id) = w.later(1_000);
    assert_eq!(w.ended(id.unwrap(), 1), "forget");
}

/// The state that follows with another plan.
fn next(w: World, plan: Plan, kept: &[Option<usize>]) -> (World, String) {
    let mut w = World { state: w.state, now: w.now, logs: Vec::new(), loud: Vec::new(), reads: w.reads };
    assert!(w.state.may_hand_over());
    let mut state = State::new(Arc::new(plan), 1);
    let mut out = Vec::new();
    let before = std::mem::replace(&mut w.state, State::new(Arc::new(Plan::default()), 1));
    state.resume(w.now, before, kept, &mut out);
    w.state = state;
    let mut did = names(&out);
    did.push_str(&names(&w.feed(Event::Start)));
    (w, did)
}

#[test]
fn a_new_configuration_touches_only_what_changed() {
    let both = |first: &str, second: &str| {
        let mut p = healthy();
        p.services = vec![service(first), service(second)];
        p.handlers = vec![
            handler(&["health check of ", first].concat(), Role::Health(0), run(1_000)),
            handler(&["health check of ", second].concat(), Role::Health(1), run(1_000)),
            handler("onChange of s", Role::Change(0), run(UNLIMITED)),
            handler("coprocess", Role::Coprocess(ALWAYS), run(UNLIMITED)),
        ];
        p.watches = vec![Watch { source: 0, prefix: "/s".into() }];
        p
    };
    let mut w = World::new(both("a", "b"));
    let actions = w.tick();
    assert_eq!(names(&actions), "start handler3");
    w.feed(Event::AppStarted);
    w.instances(0, &["10.0.0.1:80"]);
    let change = command_id(&w.tick());
    let actions = w.sleep(1_000);
    let ids = run_ids(&actions);
    w.ended(ids[0], 0);
    w.ended(ids[1], 0);
    // Service b is c now; the handler of the change still runs.
    let (mut w, did) = next(w, both("a", "c"), &[Some(0), None]);
    assert_eq!(did, "", "nothing is started or stopped");
    w.instances(0, &["10.0.0.1:80"]);
    assert_eq!(names(&w.tick()), "", "the same instances are no change");
    w.instances(0, &["10.0.0.2:80"]);
    assert_eq!(names(&w.tick()), "", "the one from before is still running");
    let facts = w.state.facts(w.now);
    assert_eq!(facts.services, [("a".to_string(), "passing"), ("c".to_string(), "not registered")]);
    assert_eq!(w.ended(change, 0), "");
    assert_eq!(names(&w.tick()), "handler2");
    assert_eq!(w.later(1_000).0, "handler0 handler1");
    assert_eq!(names(&w.feed(Event::Signal(TERM))), "leave0", "what was taken over is taken out");
    // What is about another service now begins at once, where it would at a start.
    let mut plans = [both("a", "a"), both("a", "a")];
    for p in &mut plans {
        p.handlers.truncate(2);
        p.handlers.iter_mut().for_each(|h| h.first = 0);
    }
    let [first, second] = plans;
    let mut w = World::new(first);
    w.tick();
    w.feed(Event::AppStarted);
    for id in run_ids(&w.tick()) {
        w.ended(id, 0);
    }
    w.now += 500;
    let (mut w, _) = next(w, second, &[Some(0), None]);
    assert_eq!(names(&w.tick()), "handler1");
    assert_eq!(w.later(500).0, "handler0");
}

#[test]
fn what_an_old_configuration_left_running_is_bounded() {
    let mut p = healthy();
    p.handlers =
        vec![handler("coprocess", Role::Coprocess(ALWAYS), run(UNLIMITED)), handler("task", Role::Task, run(3_000))];
    let mut w = World::new(p);
    w.tick();
    w.feed(Event::AppStarted);
    let (_, task) = w.later(1_000);
    let (mut w, did) = next(w, plan(Vec::new(), Reload::None), &[]);
    assert_eq!(did, "signalcommand15", "a coprocess would run for ever");
    assert_eq!(w.later(3_000).0, "killcommand", "the task at its limit");
    assert_eq!(w.ended(task.unwrap(), 0), "");
    assert_eq!(w.later(2_000).0, "killcommand", "the coprocess does not listen");
}

#[test]
fn a_new_configuration_without_app_and_handlers_does_not_begin_anew() {
    let hooks = || Hooks { pre_start: Some(command()), ..Hooks::default() };
    let bare = || Plan {
        app: None,
        templates: Vec::new(),
        watches: Vec::new(),
        hooks: hooks(),
        ..plan(Vec::new(), Reload::None)
    };
    let mut w = World::new(bare());
    let actions = w.tick();
    w.ended(command_id(&actions), 0);
    assert_eq!(names(&w.tick()), "");
    let (mut w, did) = next(w, bare(), &[]);
    assert_eq!(did, "");
    assert_eq!(names(&w.tick()), "", "the hook before the start has had its time");
    assert_eq!(names(&w.feed(Event::Signal(TERM))), "rest15");
    assert_eq!(names(&w.feed(Event::Childless)), "exit0");
}

#[test]
fn what_the_app_waits_for_is_not_asked_twice_at_once() {
    let waiting = |name: &str| {
        let mut p = plan(Vec::new(), Reload::None);
        p.watches.clear();
        p.handlers = vec![handler(name, Role::Wait, run(3_000))];
        p
    };
    let mut w = World::new(waiting("db"));
    let id = command_id(&w.tick());
    let (mut w, did) = next(w, waiting("db"), &[]);
    assert_eq!((did.as_str(), names(&w.tick()).as_str()), ("", ""), "it is on its way");
    w.ended(id, 0);
    assert_eq!(names(&w.tick()), "start");
    // What is no longer waited for still has its limit.
    let mut w = World::new(waiting("db"));
    w.tick();
    let (mut w, _) = next(w, waiting("cache"), &[]);
    assert_eq!(names(&w.tick()), "handler0");
    assert_eq!(w.later(1_000).0, "", "it says what it waits for");
    assert_eq!(w.later(2_000).0, "killcommand killcommand");
}

#[test]
fn a_coprocess_ends_with_the_configuration_that_had_it() {
    let files = || Plan { app: None, ..plan(vec![template("/", false, false, 0)], Reload::None) };
    let handlers = vec![handler("coprocess", Role::Coprocess(ALWAYS), run(UNLIMITED))];
    let mut w = World::new(Plan { handlers, ..files() });
    w.data("1");
    w.tick();
    w.rendered(0, vec![(0, staged())]);
    w.committed(0, &[0]);
    assert_eq!(names(&w.tick()), "handler0");
    let (mut w, did) = next(w, files(), &[]);
    assert_eq!(did, "signalcommand15", "nobody else knows it");
    w.data("2");
    assert_eq!(names(&w.tick()), "render0");
}
