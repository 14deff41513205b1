//! The loop: poll(2), events, `State::step`, actions. The only place where decisions and the world meet. It never
//! blocks but in poll, until the earliest deadline or for ever; it decides nothing.

//!
//! Rooms: `files` (render, stage, commit, restore), `children` (the app, commands, requests, keepers), `ears`
//! (who asks from outside).

mod children;
mod ears;
mod files;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use self::ears::Ears;
use self::files::{Saved, Staged};
use crate::catalog::Keeper;
use crate::dest::{self, tree};
use crate::error::{Error, Result};
use crate::log::Logger;
use crate::output::Output;
use crate::plan::{Level, Millis, Plan};
use crate::source::{self, Answers, News, Post, Stop};
use crate::state::facts::Facts;
use crate::state::{Action, Event, State, Voice};
use crate::sys::host::clock;
use crate::sys::pipe::Pipe;
use crate::sys::process::{self, Ended as ProcessEnded, Reaped};
use crate::sys::socket::{Wait, wait_any};
use crate::sys::{host, signal, terminal};
use crate::telemetry::{self, sensor::Meters};
use crate::template::Template;
use crate::tls;

/// Most bytes one render may give.
const MAX_RENDER: usize = 64 << 20;
/// The deepest template that may be needs 256 KiB.
const RENDER_STACK: usize = 1 << 20;

/// Reads the configuration anew.
pub type Again<'a> = &'a dyn Fn() -> Result<Plan>;

/// What the loop works with.
struct Driver<'a> {
    plan: Arc<Plan>,
    state: State,
    logger: Logger,
    /// Compiled templates, in the plan's order.
    templates: Arc<Vec<Result<Template>>>,
    post: Arc<Post>,
    /// What is rendered and not yet put in place, in the plan's order.
    staged: Vec<Option<Staged>>,
    /// What files held before their last commit, where that may be rolled back, in the plan's order.
    saved: Vec<Option<Saved>>,
    kept: Kept,
    /// Since the start, what `now` counts from.
    begin: Instant,
    /// We were started in the foreground of a terminal, so the app belongs there.
    is_foreground: bool,
    events: VecDeque<Event>,
    /// Services that are well, and whose namesakes of an older plan have to go first.
    owed: Vec<usize>,
    again: Again<'a>,
    /// The plan that takes over.
    next: Option<Box<Plan>>,
}

/// What a plan hands on to the next one.
struct Kept {
    /// The app's pid, which is its group's id too.
    app: Option<i32>,
    /// The app's group, as long as it may have members: it can outlive the app.
    group: Option<i32>,
    /// Running commands.
    commands: Vec<Command>,
    /// What commands print.
    outputs: Vec<Output>,
    /// Requests under way: the ids the state gave them, and what cuts them off.
    requests: Vec<(u32, Arc<Stop>)>,
    answers: Arc<Answers>,
    /// Of our services, in the plan's order.
    keepers: Vec<Keeper>,
    /// Of services that an older plan had: their ids.
    parting: Vec<(String, Keeper)>,
    /// When they have had their time, by `clock`.
    part_by: Millis,
    /// The values of sensors.
    meters: Meters,
    /// What was decided before.
    before: Option<State>,
    /// Wakes the loop.
    wake: i32,
}

/// A running command.
struct Command {
    pid: i32,
    /// The id the state gave it.
    id: u32,
    /// What it leaves behind is ended with it.
    is_swept: bool,
}

/// Compiles every template, as far as a plan can be proved good without touching anything.
///
/// # Errors
/// The first template that does not compile.
pub fn check(plan: &Plan) -> Result<()> {
    for (i, t) in plan.templates.iter().enumerate() {
        Template::compile_in(&t.name, &t.text, t.dialect, plan.scopes.get(i))?;
    }
    Ok(())
}

/// Runs the plan, and what `again` reads after it, to the end and gives the exit code.
///
/// # Errors
/// A template does not compile, or the system has no descriptors or threads left: before anything was started.
pub fn run(mut plan: Plan, again: Again) -> Result<i32> {
    let pipe = Pipe::new().map_err(|e| Error::io("make a pipe", &e))?;
    let is_foreground = terminal::is_ours();
    signal::install(pipe.writer());
    if plan.app.is_some() || !plan.handlers.is_empty() {
        process::become_subreaper();
    }
    let mut ears = Ears::default();
    if !plan.once {
        ears.open(&plan)?;
        ears.tell(&mut plan);
    }
    let begin = Instant::now();
    let mut kept = Kept {
        app: None,
        group: None,
        commands: Vec::new(),
        outputs: Vec::new(),
        requests: Vec::new(),
        answers: Answers::new(pipe.writer()),
        keepers: Vec::new(),
        parting: Vec::new(),
        part_by: 0,
        meters: Meters::default(),
        before: None,
        wake: pipe.writer(),
    };
    loop {
        let stop = Stop::new()?;
        let ended = generation(plan, kept, again, (&pipe, &stop), (begin, is_foreground), &mut ears);
        stop.now();
        match ended? {
            Ended::Code(code) => return Ok(code),
            Ended::Next(next, handed) => (plan, kept) = (*next, *handed),
        }
        if let Err(e) = ears.open(&plan) {
            plan.notes.push((Level::Error, e.into_text()));
        }
    }
}

/// How a plan's time is over.
enum Ended {
    /// All is over.
    Code(i32),
    /// A newer plan goes on, with what is left of this one.
    Next(Box<Plan>, Box<Kept>),
}

#[inline(never)]
fn generation(
    plan: Plan,
    mut kept: Kept,
    again: Again,
    (pipe, stop): (&Pipe, &Arc<Stop>),
    (begin, is_foreground): (Instant, bool),
    ears: &mut Ears,
) -> Result<Ended> {
    let mut templates = Vec::new();
    for (i, t) in plan.templates.iter().enumerate() {
        let compiled = Template::compile_in(&t.name, &t.text, t.dialect, plan.scopes.get(i));
        templates.push(if plan.is_lenient { compiled } else { Ok(compiled?) });
        match &t.tree {
            None => drop(dest::clean_leftovers(&t.dest)),
            Some(of) => tree::clean_leftovers(&t.dest, of),
        }
    }
    let plan = Arc::new(plan);
    let post = Post::new(pipe.writer());
    let before = kept.before.take();
    let mut driver = Driver {
        state: State::new(plan.clone(), host::random()),
        logger: Logger::new(plan.log.clone()),
        staged: plan.templates.iter().map(|_| None).collect(),
        saved: plan.templates.iter().map(|_| None).collect(),
        templates: Arc::new(templates),
        post: post.clone(),
        kept,
        begin,
        is_foreground,
        events: VecDeque::from([Event::Start]),
        owed: Vec::new(),
        plan: plan.clone(),
        again,
        next: None,
    };
    let is_first = before.is_none();
    let began = driver.take_over(before).and_then(|()| source::start(&plan, &post, stop));
    match began {
        Err(why) if is_first => return Err(why),
        // What runs already has its end as if somebody had asked for it.
        Err(why) => {
            driver.logger.line(Level::Fatal, Voice::Supervisor, &why.text);
            driver.events.push_back(Event::Signal(libc::SIGTERM));
        }
        Ok(()) => {}
    }
    let mut end = None;
    loop {
        pipe.drain();
        driver.take_signals();
        driver.take_outputs();
        driver.take_news();
        ears.turn(&mut driver);
        end = end.or_else(|| driver.turn());
        // Services that are no more in the plan are still being taken out.
        let parting = if driver.kept.parting.is_empty() { 0 } else { driver.kept.part_by.saturating_sub(clock()) };
        if let (Some(code), 0) = (end, parting) {
            return Ok(Ended::Code(code));
        }
        // A command of a file, or a reload, belongs to the old plan: it ends first.
        if driver.state.may_hand_over()
            && let Some(next) = driver.next.take()
        {
            let Driver { kept, state, .. } = driver;
            return Ok(Ended::Next(next, Box::new(Kept { before: Some(state), ..kept })));
        }
        let mut all = vec![(pipe.reader(), Wait::Read)];
        all.extend(driver.kept.outputs.iter().filter_map(|o| Some((o.fd()?, Wait::Read))));
        let now = driver.now();
        let deadline = driver.state.deadline().map(|d| d.saturating_sub(now));
        let mut wait = if end.is_some() { Some(parting) } else { deadline };
        for server in ears.servers() {
            all.extend(server.awaited());
            let asked = server.deadline().map(|d| d.saturating_sub(clock()));
            wait = wait.into_iter().chain(asked).min();
        }
        wait_any(&all, wait);
    }
}

impl Driver<'_> {
    /// Milliseconds since the start.
    fn now(&self) -> Millis {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }

    /// Goes on where the plan before ended.
    #[inline(never)]
    fn take_over(&mut self, before: Option<State>) -> Result<()> {
        self.kept.meters = Meters::new(&self.plan.sensors, std::mem::take(&mut self.kept.meters));
        let was = before.as_ref().map(|state| state.plan().clone());
        let is_same = self.same_services(was.as_deref());
        self.start_keepers(was.as_deref(), &is_same)?;
        if let Some(before) = before {
            let mut actions = Vec::new();
            self.state.resume(self.now(), before, &is_same, &mut actions);
            actions.into_iter().for_each(|action| self.perform(action));
        }
        Ok(())
    }

    #[inline(never)]
    fn facts(&self, now: Millis) -> Facts {
        let mut facts = self.state.facts(now);
        facts.certificates = tls::ends();
        facts
    }

    /// What somebody is told who asks by HTTP.
    fn answer(&self, method: &str, path: &str) -> telemetry::Answer {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let now = self.now();
        let facts = self.facts(now);
        let clocks = telemetry::Clocks { now, lasting: clock(), wall };
        telemetry::answer(method, path, &facts, &self.kept.meters, clocks)
    }

    #[inline(never)]
    fn take_signals(&mut self) {
        for n in signal::take() {
            if n == libc::SIGCHLD {
                self.reap();
            } else {
                self.events.push_back(Event::Signal(n));
            }
        }
    }

    /// Takes in what became of children; true when there is none left.
    #[inline(never)]
    fn reap(&mut self) -> bool {
        loop {
            match process::reap() {
                Reaped::Nothing => return false,
                Reaped::Childless => {
                    self.events.push_back(Event::Childless);
                    return true;
                }
                Reaped::Process(pid, ended) if self.kept.app == Some(pid) => {
                    if let ProcessEnded::Stopped(n) = ended {
                        self.events.push_back(Event::AppStopped(n));
                    } else {
                        self.kept.app = None;
                        self.kept.group = self.kept.group.filter(|g| process::kill(-g, 0));
                        self.events.push_back(Event::AppEnded(ended));
                    }
                }
                Reaped::Process(_, ProcessEnded::Stopped(_)) => {}
                Reaped::Process(pid, ended) => {
                    if let Some(i) = self.kept.commands.iter().position(|c| c.pid == pid) {
                        let Command { id, is_swept, .. } = self.kept.commands.swap_remove(i);
                        // What a command leaves behind has no business here.
                        if is_swept {
                            process::kill(-pid, libc::SIGKILL);
                        }
                        self.end_output(id);
                        self.events.push_back(Event::CommandEnded { id, how: Ok(ended) });
                    }
                }
            }
        }
    }

    #[inline(never)]
    fn take_news(&mut self) {
        for (group, renders) in self.post.take_renders() {
            self.stage_all(group, renders);
        }
        for (id, how) in self.kept.answers.take() {
            self.end_request(id, how);
        }
        let news = self.post.take();
        // confd reads a template each time it renders it.
        let reads = self.plan.rereads && !self.plan.templates.is_empty();
        if reads && self.next.is_none() && news.iter().any(|(_, n)| matches!(n, News::Data(_))) {
            self.reread(false);
        }
        for (watch, news) in news {
            self.events.push_back(match news {
                News::Data(snapshot) => Event::Data { watch, snapshot },
                News::Trouble(text, retry) => Event::Trouble { watch, text, retry },
                News::Recovered => Event::Recovered { watch },
                News::Note(text) => {
                    self.logger.line(Level::Warning, Voice::Supervisor, &text);
                    continue;
                }
            });
        }
        self.take_words();
    }

    /// Feeds all events, then `Tick`, and does what they lead to, until nothing follows from anything. The exit
    /// code ends it all.
    #[inline(never)]
    fn turn(&mut self) -> Option<i32> {
        let mut actions = Vec::new();
        loop {
            let event = self.events.pop_front();
            let is_tick = event.is_none();
            self.state.step(self.now(), event.unwrap_or(Event::Tick), &mut actions);
            if is_tick && actions.is_empty() {
                return None;
            }
            for action in actions.drain(..) {
                if let Action::Exit(code) = action {
                    return Some(code);
                }
                self.perform(action);
            }
        }
    }

    #[inline(never)]
    fn perform(&mut self, action: Action) {
        match action {
            Action::Log(level, voice, text) => self.logger.line(level, voice, &text),
            Action::Render { group, templates } => self.render(group, &templates),
            Action::Discard(templates) => {
                for t in templates {
                    // Dropping it removes the file.
                    if let (Some(staged), true) = (self.take_staged(t), self.plan.keep_stage)
                        && let Some(path) = staged.keep()
                    {
                        self.say_kept(&path);
                    }
                }
            }
            Action::Commit { group, templates, keep } => {
                let results = templates.into_iter().map(|t| self.commit(t, keep.contains(&t))).collect();
                self.events.push_back(Event::Committed { group, results });
            }
            Action::Restore(templates) => {
                for template in templates {
                    let result = self.restore(template);
                    self.events.push_back(Event::Restored { template, result });
                }
            }
            Action::Run { id, job } => self.run_command(id, job),
            Action::KillCommand(id) => {
                self.signal_command(id, libc::SIGKILL);
                self.end_request(id, Err("timed out".to_string()));
            }
            Action::SignalCommand(id, n) => self.signal_command(id, n),
            Action::Observe { id, sensor } => self.observe(id, sensor),
            Action::Forget(id) => self.kept.outputs.retain(|o| o.id != id),
            Action::Pass(service) => self.pass(service),
            Action::Leave(service) => self.leave(service),
            Action::StartApp => self.start_app(),
            Action::SignalApp(n) => {
                if let Some(pid) = self.kept.app {
                    process::kill(pid, n);
                }
            }
            Action::ReloadSignal { signal, force } => self.reload_signal(signal, force),
            Action::SignalGroup(n) => self.signal_group(n),
            // Mostly there is nobody left, and no need to look through /proc.
            Action::SignalRest(_) if self.reap() => {}
            Action::SignalRest(n) => {
                for command in &self.kept.commands {
                    process::kill(-command.pid, n);
                }
                if !process::kill_rest(n) {
                    self.signal_group(n); // without /proc this much is known
                }
            }
            Action::ToggleDebug => self.logger.toggle_debug(),
            Action::Reread => self.reread(true),
            Action::Suspend => self.suspend(),
            Action::Exit(_) => {}
        }
    }

    fn signal_command(&self, id: u32, n: i32) {
        if let Some(command) = self.kept.commands.iter().find(|c| c.id == id) {
            process::kill(-command.pid, n);
        }
    }

    #[inline(never)]
    fn signal_group(&self, n: i32) {
        if let (libc::SIGKILL, Some(pid)) = (n, self.kept.app) {
            process::kill(pid, n); // it may have left its group
        }
        if let Some(group) = self.kept.group {
            process::kill(-group, n);
        }
    }

    /// Reads the configuration again: because somebody asked, or because keys came and templates may have changed too.
    #[inline(never)]
    fn reread(&mut self, is_asked: bool) {
        // Once the one before has gone, a template that does not compile would end it all.
        let compiles = |plan: Plan| if plan.is_lenient { Ok(plan) } else { check(&plan).map(|()| plan) };
        match (self.again)().and_then(compiles) {
            // One that waits for a command to end is replaced by this one, even by the one that runs.
            Ok(plan) if self.next.is_none() && plan.fingerprint == self.plan.fingerprint => {
                if is_asked {
                    self.logger.line(Level::Debug, Voice::Confd, "the configuration is as it was");
                    self.events.push_back(Event::Unchanged);
                }
            }
            Ok(mut plan) => {
                self.logger.line(Level::Info, Voice::Confd, "the configuration has changed");
                plan.once = self.plan.once; // a folder that is empty for a moment ends nothing that runs
                plan.notes.retain(|(level, _)| *level > Level::Info); // it does not start anew
                self.state.hand_over();
                self.next = Some(Box::new(plan));
            }
            Err(e) if is_asked => self.logger.line(Level::Error, Voice::Confd, &e.text),
            Err(_) => {}
        }
    }
}
