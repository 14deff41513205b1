//! The loop: poll(2), events, `State::step`, actions. The only place where decisions and the world meet. It never
//! blocks but in poll, until the earliest deadline or for ever; it decides nothing.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::dest::set::Set;
use crate::dest::{self, tree};
use crate::diff;
use crate::error::{Error, Kind, Result};
use crate::log::Logger;
use crate::plan::{self, Level, Millis, Plan};
use crate::request;
use crate::source::{self, News, Post, Render, Stop};
use crate::state::{Action, Caught, Committed, Event, Job, Outcome, Rendered, State, Voice};
use crate::store::{Reads, Snapshot, View};
use crate::sys::host::clock;
use crate::sys::pipe::{Pipe, write_patiently};
use crate::sys::process::{self, Ended as ProcessEnded, Reaped, Start};
use crate::sys::socket::{Wait, wait_any};
use crate::sys::{host, signal, terminal, thread};
use crate::telemetry::{self, server::Server};
use crate::template::{Context, Template};
use crate::tls;

/// Most bytes one render may give.
const MAX_RENDER: usize = 64 << 20;
/// The deepest template that may be needs 256 KiB.
const RENDER_STACK: usize = 1 << 20;

/// Reads the configuration anew.
pub type Again<'a> = &'a dyn Fn() -> Result<Plan>;

/// New content on its way to its place.
enum Staged {
    File(dest::Staged),
    Tree(tree::Staged),
}

impl Staged {
    fn path(&mut self) -> Result<PathBuf> {
        match self {
            Staged::File(file) => file.path().map(PathBuf::from),
            Staged::Tree(tree) => Ok(tree.path()),
        }
    }

    fn keep(self) -> Option<PathBuf> {
        match self {
            Staged::File(file) => file.keep(),
            Staged::Tree(_) => None,
        }
    }
}

/// What was in place before.
enum Saved {
    File(dest::Saved),
    Tree(Set),
}

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
    /// The app's pid, which is its group's id too.
    app: Option<i32>,
    /// The app's group, as long as it may have members: it can outlive the app.
    group: Option<i32>,
    /// Running commands: their pids with the ids the state gave them.
    commands: Vec<(i32, u32)>,
    /// Requests under way: the ids the state gave them, and what cuts them off.
    requests: Vec<(u32, Arc<Stop>)>,
    /// We were started in the foreground of a terminal, so the app belongs there.
    is_foreground: bool,
    events: VecDeque<Event>,
    again: Again<'a>,
    /// The plan that takes over.
    next: Option<Box<Plan>>,
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
    if plan.app.is_some() {
        process::become_subreaper();
    }
    let mut server = match &plan.telemetry {
        Some(address) if !plan.once => Some(Server::listen(address)?),
        _ => None,
    };
    if let (Some(address), false) = (&plan.telemetry, plan.once) {
        let text = crate::text::fill("listening on % for /healthz, /startupz, /readyz and /metrics", &[address]);
        plan.notes.push((Level::Info, text));
    }
    let mut unfinished = Vec::new();
    loop {
        let stop = Stop::new()?;
        let ended = generation(plan, &unfinished, again, &pipe, &stop, is_foreground, &mut server);
        stop.now();
        match ended? {
            Ended::Code(code) => return Ok(code),
            Ended::Next(next, left) => (plan, unfinished) = (*next, left),
        }
    }
}

/// How a plan's time is over.
enum Ended {
    /// All is over.
    Code(i32),
    /// A newer plan goes on, with the reloads that are left to do.
    Next(Box<Plan>, Vec<PathBuf>),
}

#[inline(never)]
fn generation(
    plan: Plan,
    unfinished: &[PathBuf],
    again: Again,
    pipe: &Pipe,
    stop: &Arc<Stop>,
    is_foreground: bool,
    server: &mut Option<Server>,
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
    let mut driver = Driver {
        state: State::new(plan.clone(), host::random()),
        logger: Logger::new(plan.log.clone()),
        staged: plan.templates.iter().map(|_| None).collect(),
        saved: plan.templates.iter().map(|_| None).collect(),
        templates: Arc::new(templates),
        post: post.clone(),
        app: None,
        group: None,
        commands: Vec::new(),
        requests: Vec::new(),
        is_foreground,
        events: VecDeque::from([Event::Start]),
        plan: plan.clone(),
        again,
        next: None,
    };
    driver.state.resume(unfinished);
    source::start(&plan, &post, stop)?;
    let begin = Instant::now();
    let now = || u64::try_from(begin.elapsed().as_millis()).unwrap_or(Millis::MAX);
    loop {
        pipe.drain();
        driver.take_signals();
        driver.take_news();
        if let Some(code) = driver.turn(&now) {
            return Ok(Ended::Code(code));
        }
        // A running command belongs to the old plan: it ends first.
        if driver.commands.is_empty()
            && driver.requests.is_empty()
            && !driver.state.is_ending()
            && let Some(next) = driver.next.take()
        {
            return Ok(Ended::Next(next, driver.state.unfinished()));
        }
        let deadline = driver.state.deadline();
        match server {
            None => pipe.wait(deadline.map(|d| d.saturating_sub(now()))),
            Some(server) => {
                let moment = now();
                server.turn(clock(), &|path| {
                    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
                    let mut facts = driver.state.facts(moment);
                    facts.certificates = tls::ends();
                    telemetry::answer(path, &facts, moment, wall)
                });
                let mut all = server.awaited();
                all.push((pipe.reader(), Wait::Read));
                let asked = server.deadline().map(|d| d.saturating_sub(clock()));
                let next = deadline.map(|d| d.saturating_sub(now()));
                wait_any(&all, next.into_iter().chain(asked).min());
            }
        }
    }
}

impl Driver<'_> {
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
    fn reap(&mut self) -> bool {
        loop {
            match process::reap() {
                Reaped::Nothing => return false,
                Reaped::Childless => {
                    self.events.push_back(Event::Childless);
                    return true;
                }
                Reaped::Process(pid, ended) if self.app == Some(pid) => {
                    if let ProcessEnded::Stopped(n) = ended {
                        self.events.push_back(Event::AppStopped(n));
                    } else {
                        self.app = None;
                        self.group = self.group.filter(|g| process::kill(-g, 0));
                        self.events.push_back(Event::AppEnded(ended));
                    }
                }
                Reaped::Process(_, ProcessEnded::Stopped(_)) => {}
                Reaped::Process(pid, ended) => {
                    if let Some(i) = self.commands.iter().position(|(p, _)| *p == pid) {
                        let (_, id) = self.commands.swap_remove(i);
                        // What a command leaves behind has no business here.
                        if self.plan.app.is_some() {
                            process::kill(-pid, libc::SIGKILL);
                        }
                        self.events.push_back(Event::CommandEnded { id, how: Ok(ended) });
                    }
                }
            }
        }
    }

    fn take_news(&mut self) {
        for (group, renders) in self.post.take_renders() {
            self.stage_all(group, renders);
        }
        for (id, how) in self.post.take_answers() {
            self.end_request(id, how);
        }
        let news = self.post.take();
        // confd reads a template each time it renders it.
        if self.plan.rereads && self.next.is_none() && news.iter().any(|(_, n)| matches!(n, News::Data(_))) {
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
    }

    /// Feeds all events, then `Tick`, and does what they lead to, until nothing follows from anything. The exit
    /// code ends it all.
    #[inline(never)]
    fn turn(&mut self, now: &dyn Fn() -> Millis) -> Option<i32> {
        let mut actions = Vec::new();
        loop {
            let event = self.events.pop_front();
            let is_tick = event.is_none();
            self.state.step(now(), event.unwrap_or(Event::Tick), &mut actions);
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
                if let Some((pid, _)) = self.commands.iter().find(|(_, i)| *i == id) {
                    process::kill(-pid, libc::SIGKILL);
                }
                self.end_request(id, Err("timed out".to_string()));
            }
            Action::StartApp => self.start_app(),
            Action::SignalApp(n) => {
                if let Some(pid) = self.app {
                    process::kill(pid, n);
                }
            }
            Action::ReloadSignal { signal, force } => self.reload_signal(signal, force),
            Action::SignalGroup(n) => self.signal_group(n),
            // Mostly there is nobody left, and no need to look through /proc.
            Action::SignalRest(_) if self.reap() => {}
            Action::SignalRest(n) => {
                for (pid, _) in &self.commands {
                    process::kill(-pid, n);
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

    fn signal_group(&self, n: i32) {
        if let (libc::SIGKILL, Some(pid)) = (n, self.app) {
            process::kill(pid, n); // it may have left its group
        }
        if let Some(group) = self.group {
            process::kill(-group, n);
        }
    }

    /// Reads the configuration again: because somebody asked, or because keys came and templates may have changed too.
    fn reread(&mut self, is_asked: bool) {
        match (self.again)() {
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

    fn take_staged(&mut self, t: usize) -> Option<Staged> {
        self.staged.get_mut(t).and_then(Option::take)
    }

    /// Renders a group here, or on a thread of its own when a template looks up names: the loop waits for no
    /// name server.
    fn render(&mut self, group: usize, templates: &[usize]) {
        let plans = &self.plan.templates;
        let blocks = templates.iter().filter_map(|t| plans.get(*t)).any(|p| p.text.contains("lookup"));
        let views: Vec<(usize, Arc<Snapshot>)> =
            templates.iter().filter_map(|t| Some((*t, self.visible(plans.get(*t)?)))).collect();
        let compiled = self.templates.clone();
        if !blocks {
            self.stage_all(group, render_all(plans, &compiled, &views));
            return;
        }
        let post = self.post.clone();
        let plan = self.plan.clone();
        let work = Box::new(move || post.put_renders(group, render_all(&plan.templates, &compiled, &views)));
        if let Err(e) = thread::start(RENDER_STACK, work) {
            let error = Error::io("start a thread for a render", &e);
            let fail = |t: &usize| Render { template: *t, reads: Reads::default(), content: Err(error.clone()) };
            self.stage_all(group, templates.iter().map(fail).collect());
        }
    }

    fn stage_all(&mut self, group: usize, renders: Vec<Render>) {
        let mut results = Vec::new();
        for r in renders {
            let mut refused = Vec::new();
            let staged = r.content.and_then(|content| self.stage(r.template, &content, &mut refused));
            let outcome = staged.unwrap_or_else(Outcome::Failed);
            results.push(Rendered { template: r.template, reads: r.reads, refused, outcome });
        }
        self.events.push_back(Event::Rendered { group, results });
    }

    #[inline(never)]
    fn stage(&mut self, t: usize, content: &[u8], refused: &mut Vec<String>) -> Result<Outcome> {
        let Some(plan) = self.plan.templates.get(t) else { return Err(Error::fatal("no such template")) };
        if let Some(tree) = &plan.tree {
            let set = self.set(plan, tree)?;
            let staged = tree::stage(&plan.dest, tree, &set, plan.check.is_some())?;
            *refused = set.refused;
            return Ok(match (staged, self.staged.get_mut(t)) {
                (Some((staged, reason)), Some(slot)) => {
                    *slot = Some(Staged::Tree(staged));
                    Outcome::Staged(vec![reason])
                }
                _ => Outcome::Same,
            });
        }
        match dest::compare(&plan.dest, content)? {
            dest::Compared::Same => {
                self.keep_stage(plan, content)?;
                Ok(Outcome::Same)
            }
            dest::Compared::Differs(reasons) if self.plan.noop => {
                self.keep_stage(plan, content)?;
                let old = std::fs::read(&plan.dest.path).unwrap_or_default();
                let path = plan.dest.path.to_string_lossy();
                let diff = diff::unified(&old, content, &path, &path);
                if write_patiently(1, diff.as_bytes(), 2_000).is_err() {
                    self.logger.line(Level::Warning, Voice::Confd, "the diff could not be written: nobody reads it");
                }
                Ok(Outcome::Shown(reasons))
            }
            dest::Compared::Differs(reasons) => {
                let staged = dest::stage(&plan.dest, content)?;
                if let Some(slot) = self.staged.get_mut(t) {
                    *slot = Some(Staged::File(staged));
                }
                Ok(Outcome::Staged(reasons))
            }
        }
    }

    /// Content that is not put in place is left where its user can look at it, if he asked.
    fn keep_stage(&self, plan: &plan::Template, content: &[u8]) -> Result<()> {
        if self.plan.keep_stage
            && let Some(path) = dest::stage(&plan.dest, content)?.keep()
        {
            self.say_kept(&path);
        }
        Ok(())
    }

    fn say_kept(&self, path: &std::path::Path) {
        self.logger.line(Level::Info, Voice::Confd, &["Keeping staged file: ", &path.to_string_lossy()].concat());
    }

    /// The keys as this template sees them.
    #[inline(never)]
    fn visible(&self, template: &plan::Template) -> Arc<Snapshot> {
        if let [only] = template.inputs.as_slice() {
            let watch = self.plan.watches.get(only.watch);
            let whole = only.prefix.is_empty() || watch.is_some_and(|w| w.prefix == only.prefix);
            if let (0, true, Some(s)) = (only.strip, whole, self.state.snapshot(only.watch)) {
                return s.clone();
            }
        }
        let mut entries = Vec::new();
        for input in &template.inputs {
            let Some(snapshot) = self.state.snapshot(input.watch) else { continue };
            let source = self.plan.watches.get(input.watch).and_then(|w| self.plan.sources.get(w.source));
            let is_tree = source.is_some_and(|s| s.kind.is_tree());
            for (key, value) in snapshot.under(&input.prefix) {
                if is_tree && !crate::store::is_under(&input.prefix, key) {
                    continue;
                }
                let key = if input.strip == 0 { key.clone() } else { Arc::from(&*input.seen(key)) };
                entries.push((key, value.clone()));
            }
        }
        Arc::new(Snapshot::new(entries))
    }

    /// The files a folder shall have.
    #[inline(never)]
    fn set(&self, template: &plan::Template, tree: &plan::Tree) -> Result<Set> {
        let mut set = Set::default();
        for (input, part) in template.inputs.iter().zip(&tree.parts) {
            let Some(snapshot) = self.state.snapshot(input.watch) else { continue };
            for (key, value) in snapshot.under(&input.prefix) {
                set.add(&input.seen(key), part.is_flat, part.mode, value);
            }
        }
        set.settle();
        if set.bytes() > MAX_RENDER {
            let path = template.dest.path.to_string_lossy();
            return Err(Error::filled(
                Kind::Config,
                "cannot write the folder %: its files have more than 64 MiB",
                &[&path],
            ));
        }
        Ok(set)
    }

    #[inline(never)]
    fn commit(&mut self, t: usize, keep: bool) -> Committed {
        if let (Some(plan), Some(slot), false) =
            (self.plan.templates.get(t).filter(|p| p.rollback), self.saved.get_mut(t), keep)
        {
            // A file that cannot be read, or is not there, is one that cannot be rolled back.
            *slot = match &plan.tree {
                None => dest::read_for_rollback(&plan.dest).ok().flatten().map(Saved::File),
                Some(tree) => tree::read(&plan.dest, tree).map(Saved::Tree),
            };
        }
        let result = match self.take_staged(t) {
            Some(Staged::File(staged)) => staged.commit().map(|c| c.in_place),
            Some(Staged::Tree(staged)) => staged.commit().map(|()| false),
            None => Err(Error::fatal("nothing is staged")),
        };
        Committed { template: t, result }
    }

    fn restore(&mut self, t: usize) -> Result<()> {
        match (self.plan.templates.get(t), self.saved.get_mut(t).and_then(Option::take)) {
            (Some(plan), Some(Saved::File(saved))) => dest::restore(&plan.dest, &saved).map(drop),
            (Some(plan::Template { dest, tree: Some(tree), .. }), Some(Saved::Tree(set))) => {
                tree::restore(dest, tree, &set)
            }
            _ => Err(Error::transient("there was no previous content")),
        }
    }

    #[inline(never)]
    fn run_command(&mut self, id: u32, job: Job) {
        let (command, t) = match job {
            Job::Check(t) => (self.plan.templates.get(t).and_then(|p| p.check.as_ref()), Some(t)),
            Job::Reload(_) | Job::AppReload => {
                let t = if let Job::Reload(t) = job { Some(t) } else { None };
                let i = t.unwrap_or(self.plan.templates.len());
                match self.plan.reload(i) {
                    Some(plan::Reload::Command(c)) => (Some(c), t),
                    Some(plan::Reload::Request(_)) => return self.send_request(id, i),
                    Some(plan::Reload::Named(n)) => {
                        let ours: Vec<i32> = self.commands.iter().map(|(pid, _)| *pid).collect();
                        let how = process::signal_named(&n.name, n.signal, &ours).map(|()| ProcessEnded::Exit(0));
                        self.events.push_back(Event::CommandEnded { id, how });
                        return;
                    }
                    _ => (None, t),
                }
            }
        };
        let Some(command) = command else { return };
        let dest = t.map(|t| self.plan.file(t)).unwrap_or_default();
        let staged = t.and_then(|t| self.staged.get_mut(t)).and_then(Option::as_mut);
        match start_command(command, staged, dest, &self.plan.env_remove) {
            Ok(pid) => self.commands.push((pid, id)),
            Err(e) => self.events.push_back(Event::CommandEnded { id, how: Err(e.into_text()) }),
        }
    }

    /// Sends it from a thread of its own: the loop waits for no server.
    #[inline(never)]
    fn send_request(&mut self, id: u32, i: usize) {
        let (plan, post) = (self.plan.clone(), self.post.clone());
        let started = Stop::new().and_then(|stop| {
            let held = stop.clone();
            let work = move || {
                if let Some(plan::Reload::Request(r)) = plan.reload(i) {
                    post.put_answer((id, request::send(r, &stop)));
                }
            };
            thread::start(source::STACK, Box::new(work)).map_err(|e| Error::io("start a thread for a request", &e))?;
            Ok(held)
        });
        match started {
            Ok(stop) => self.requests.push((id, stop)),
            Err(e) => self.events.push_back(Event::CommandEnded { id, how: Err(e.into_text()) }),
        }
    }

    /// A request has its answer, or had its time; what comes after that is dropped.
    fn end_request(&mut self, id: u32, how: std::result::Result<ProcessEnded, String>) {
        if let Some(i) = self.requests.iter().position(|(r, _)| *r == id) {
            self.requests.swap_remove(i).1.now();
            self.events.push_back(Event::CommandEnded { id, how });
        }
    }

    #[inline(never)]
    fn start_app(&mut self) {
        let Some(app) = &self.plan.app else { return };
        let start = Start {
            argv: &app.argv,
            env: &[],
            env_remove: &app.env_remove,
            is_app: true,
            foreground: self.is_foreground,
        };
        self.events.push_back(match process::start(&start) {
            Ok(pid) => {
                self.app = Some(pid);
                self.group = self.app;
                self.logger.line(
                    Level::Debug,
                    Voice::Supervisor,
                    &["main program has pid ", &pid.to_string()].concat(),
                );
                Event::AppStarted
            }
            Err(e) => Event::AppStartFailed { code: e.code, text: e.text },
        });
    }

    /// A signal that would end the app, as it has no handler yet, is not sent unless it must be.
    #[inline(never)]
    fn reload_signal(&mut self, n: i32, force: bool) {
        let Some(pid) = self.app else { return }; // it ended: its event is on the way
        let caught = match process::survives(pid, n) {
            _ if force => Caught::Sent,
            Some(true) => Caught::Sent,
            Some(false) => Caught::NotYet,
            None => Caught::Unknown,
        };
        if caught == Caught::Sent {
            process::kill(pid, n);
        }
        self.events.push_back(Event::ReloadSignalled(caught));
    }

    fn suspend(&mut self) {
        if !self.is_foreground || std::process::id() == 1 {
            return;
        }
        terminal::take_back();
        terminal::suspend(); // returns when a shell continues us
        // The app gets its CONT below. Ours, passed on later, would undo a stop that was typed in between.
        signal::forget(libc::SIGCONT);
        if let Some(pid) = self.app {
            terminal::give(pid);
            process::kill(-pid, libc::SIGCONT);
        }
    }
}

/// Starts a command for what is staged for `dest`, if anything is; gives its pid.
#[inline(never)]
fn start_command(
    command: &plan::Command,
    staged: Option<&mut Staged>,
    dest: String,
    env_remove: &[&str],
) -> Result<i32> {
    let src = match staged {
        None => dest.clone(),
        Some(staged) => staged.path()?.to_string_lossy().into_owned(),
    };
    let argv = command.words(&src, &dest, std::path::Path::new("/bin/sh").exists())?;
    let start = Start { argv: &argv, env: &[], env_remove, is_app: false, foreground: false };
    process::start(&start).map_err(|e| {
        let program = argv.first().map_or("", String::as_str);
        Error::transient(["cannot run ", program, ": ", &e.text].concat())
    })
}

/// Renders templates, each with the keys it sees; on whatever thread.
#[inline(never)]
fn render_all(
    plans: &[plan::Template],
    templates: &[Result<Template>],
    views: &[(usize, Arc<Snapshot>)],
) -> Vec<Render> {
    let mut all = Vec::new();
    for (t, view) in views {
        let template = match templates.get(*t) {
            Some(Ok(template)) => template,
            Some(Err(e)) => {
                all.push(Render { template: *t, reads: Reads::default(), content: Err(e.clone()) });
                continue;
            }
            None => continue,
        };
        let env = |name: &str| std::env::var(name).ok();
        let context = Context { store: View::new(view), env: &env, max_output: MAX_RENDER };
        let guard = plans.get(*t).map_or(Ok(()), |p| {
            if p.tree.is_some() {
                context.store.under("/"); // each key is a file
            }
            p.guard.check(&context.store)
        });
        let content = guard.and_then(|()| template.render(&context));
        all.push(Render { template: *t, reads: context.store.into_reads(), content });
    }
    all
}
