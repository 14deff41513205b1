//! The decisions: `step(now, event) -> actions`. Pure: no clock, socket, file, process or thread comes in here; time
//! is a number. What an action leads to comes back as an event; there is no second path for results.
//!
//! Rooms: `watch` (what the sources said), `group` (render, check, commit), `reload` (telling the app), `app`
//! (start, stop, restart, signals, the end), `hook` (what is run at its turns), `handler` (what is run beside it), `service` (what
//! the catalog is told), `facts` (what those who ask are told). `Tick` is fed last in each round of the loop, when everything that was
//! ready has been taken in: only `Tick` begins new work, so many changes become one render.

mod app;
pub mod facts;
mod group;
mod handler;
mod hook;
mod reload;
mod service;
mod watch;

pub use service::left;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::backoff::Random;
use crate::catalog::Word;
use crate::error::Error;
use crate::plan::{Level, Millis, Plan};
use crate::store::{Reads, Snapshot};
use crate::sys::process::Ended;

/// Something that happened.
pub enum Event {
    /// The loop runs. The first event.
    Start,
    /// A watch holds these keys now.
    Data {
        /// Index into `Plan::watches`.
        watch: usize,
        /// All of them.
        snapshot: Arc<Snapshot>,
    },
    /// A watch failed and will try again.
    Trouble {
        /// Index into `Plan::watches`.
        watch: usize,
        /// Why.
        text: String,
        /// When it tries again; 0: it does not have to, news will come.
        retry: Millis,
    },
    /// A watch works (again), with or without new data.
    Recovered {
        /// Index into `Plan::watches`.
        watch: usize,
    },
    /// This signal came.
    Signal(i32),
    /// `Action::Render` is done.
    Rendered {
        /// Of this group.
        group: usize,
        /// One for each template asked for.
        results: Vec<Rendered>,
    },
    /// `Action::Commit` is done.
    Committed {
        /// Of this group.
        group: usize,
        /// One for each template asked for.
        results: Vec<Committed>,
    },
    /// `Action::Restore` is done.
    Restored {
        /// Index into `Plan::templates`.
        template: usize,
        /// Whether the previous content is back.
        result: Result<(), Error>,
    },
    /// A command ended, could not be started, or was killed; a request has its answer.
    CommandEnded {
        /// The one given in `Action::Run`.
        id: u32,
        /// `Err`: it could not be started. Of a request: `Exit(0)` as wanted, `Exit(status)` any other answer, `Err` none.
        how: Result<Ended, String>,
    },
    /// The app runs.
    AppStarted,
    /// The app could not be started.
    AppStartFailed {
        /// 126, 127, or 0 when it may work later.
        code: i32,
        /// Why.
        text: String,
    },
    /// The answer to `Action::ReloadSignal`.
    ReloadSignalled(Caught),
    /// The app ended.
    AppEnded(Ended),
    /// The app was stopped (job control) by this signal.
    AppStopped(i32),
    /// No child of ours is left.
    Childless,
    /// A service's keeper has something to say.
    Word {
        /// Index into `Plan::services`.
        service: usize,
        /// What.
        word: Word,
    },
    /// Somebody wants our services out of the catalog, or back in.
    Maintenance(bool),
    /// Somebody wants the configuration read again.
    Reread,
    /// The configuration was read again and is as it was: the files may not be.
    Unchanged,
    /// Everything that was ready has been fed.
    Tick,
}

/// One template's render.
pub struct Rendered {
    /// Index into `Plan::templates`.
    pub template: usize,
    /// What it looked at.
    pub reads: Reads,
    /// Keys that make no file, and why.
    pub refused: Vec<String>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a render.
pub enum Outcome {
    /// The destination has this content, owner and mode already.
    Same,
    /// It differs (in these ways) and the new content is staged.
    Staged(Vec<String>),
    /// It differs (in these ways), and that is all that was asked.
    Shown(Vec<String>),
    /// It could not be rendered or staged.
    Failed(Error),
}

/// One template's commit.
pub struct Committed {
    /// Index into `Plan::templates`.
    pub template: usize,
    /// `Ok(true)`: written in place, as the destination is a mount point.
    pub result: Result<bool, Error>,
}

/// Whether the app has a handler for its reload signal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Caught {
    /// The signal was sent.
    Sent,
    /// Not sent: the signal would end the app as it is now.
    NotYet,
    /// Not sent: nobody can tell (there is no /proc).
    Unknown,
}

/// Something to do.
#[derive(Clone)]
pub enum Action {
    /// Write a log line.
    Log(Level, Voice, String),
    /// Render and stage these templates.
    Render {
        /// Their group.
        group: usize,
        /// Indices into `Plan::templates`.
        templates: Vec<usize>,
    },
    /// Throw away what is staged of these templates.
    Discard(Vec<usize>),
    /// Put what is staged in place.
    Commit {
        /// Their group.
        group: usize,
        /// Indices into `Plan::templates`.
        templates: Vec<usize>,
        /// The app was not told yet what these hold now: what they held before stays what a rollback goes to.
        keep: Vec<usize>,
    },
    /// Put back what these files held before the last commit.
    Restore(Vec<usize>),
    /// Start a command.
    Run {
        /// Comes back in `CommandEnded`.
        id: u32,
        /// Which.
        job: Job,
    },
    /// Kill a command's process group, or cut a request off.
    KillCommand(u32),
    /// Send a command's process group a signal.
    SignalCommand(u32, i32),
    /// Take in what a sensor's command printed.
    Observe {
        /// The command's.
        id: u32,
        /// Index into `Plan::sensors`.
        sensor: usize,
    },
    /// Nobody wants what this command printed.
    Forget(u32),
    /// This service (index into `Plan::services`) is well: the catalog is to know.
    Pass(usize),
    /// This service is to be found no longer.
    Leave(usize),
    /// Start the app.
    StartApp,
    /// Send the app's process a signal.
    SignalApp(i32),
    /// Send the app its reload signal if it has a handler for it, or in any case.
    ReloadSignal {
        /// The signal.
        signal: i32,
        /// Send it whether it is caught or not.
        force: bool,
    },
    /// Send a signal to the app's whole process group.
    SignalGroup(i32),
    /// Send a signal to everything that is left, commands included.
    SignalRest(i32),
    /// Log each step from now on, or no longer.
    ToggleDebug,
    /// Read the configuration again, and go on with the new one if it differs.
    Reread,
    /// The app was stopped from the keyboard: stop ourselves too, and wake it when we are woken.
    Suspend,
    /// End with this code.
    Exit(i32),
}

/// Whose line it is; the default log format prints them differently.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// What confd would say.
    Confd,
    /// What the supervisor says.
    Supervisor,
}

/// A command and what it is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Check a template's staged file.
    Check(usize),
    /// Do as a template's own `reload` says.
    Reload(usize),
    /// Do as the app's `reload` says, or what stands in its place.
    AppReload,
    /// Do what a handler does.
    Handler(usize),
    /// Run a hook.
    Hook(Hook),
}

/// A turn of the app's life.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Before it is started.
    PreStart,
    /// Before it is asked to stop.
    PreStop,
    /// Behind its end.
    PostStop,
}

impl Hook {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Hook::PreStart => "the hook before the start",
            Hook::PreStop => "the hook before the stop",
            Hook::PostStop => "the hook after the stop",
        }
    }
}

/// Everything that is remembered between events.
pub struct State {
    plan: Arc<Plan>,
    watches: Vec<watch::Watch>,
    groups: Vec<group::Group>,
    templates: Vec<group::Template>,
    reloads: Vec<reload::Reload>,
    handlers: Vec<handler::Handler>,
    /// Commands of the configuration before this one.
    leftovers: Vec<reload::Running>,
    services: Vec<service::Service>,
    /// When the catalog has had its time for the services that leave.
    left_by: Millis,
    is_maintained: bool,
    hook: Option<(Hook, reload::Running)>,
    app: app::App,
    random: Random,
    last_id: u32,
    tally: facts::Tally,
    started: Millis,
    /// When the configuration is read again.
    refresh: Option<Millis>,
    /// Another state takes over as soon as no command runs: nothing new begins.
    is_handing_over: bool,
}

impl State {
    /// Nothing happened yet. `seed` is for jitter.
    pub fn new(plan: Arc<Plan>, seed: u64) -> State {
        let groups = plan.templates.iter().map(|t| t.group + 1).max().unwrap_or(0);
        // Who runs elsewhere may not have heard of files that are in place: their reload may have failed until we were
        // ended. It is told at each start; but not by who is started again and again to look (--once).
        let is_told = plan.app.is_none() && plan.target.is_some() && !plan.once && !plan.noop;
        State {
            watches: plan.watches.iter().map(|_| watch::Watch::default()).collect(),
            groups: (0..groups).map(|_| group::Group::new(is_told)).collect(),
            templates: plan.templates.iter().map(|_| group::Template::default()).collect(),
            // One for each template's own command, and the last for the app.
            reloads: (0..=plan.templates.len()).map(|_| reload::Reload::default()).collect(),
            handlers: plan.handlers.iter().map(|_| handler::Handler::default()).collect(),
            leftovers: Vec::new(),
            services: plan.services.iter().map(|_| service::Service::default()).collect(),
            left_by: 0,
            is_maintained: false,
            hook: None,
            app: app::App::default(),
            random: Random::new(seed),
            last_id: 0,
            tally: facts::Tally::default(),
            started: 0,
            refresh: None,
            is_handing_over: false,
            plan,
        }
    }

    /// The plan it decides for.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The keys a watch holds, for the driver's renders.
    pub fn snapshot(&self, watch: usize) -> Option<&Arc<Snapshot>> {
        self.watches.get(watch)?.snapshot.as_ref()
    }

    /// Takes in one event and says what to do.
    pub fn step(&mut self, now: Millis, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Start => self.on_start(now, out),
            Event::Data { watch, snapshot } => self.on_data(now, watch, snapshot, out),
            Event::Trouble { watch, text, retry } => self.on_trouble(now, watch, text, retry, out),
            Event::Recovered { watch } => self.on_recovered(now, watch, out),
            Event::Signal(n) => self.on_signal(now, n, out),
            Event::Rendered { group, results } => self.on_rendered(now, group, results, out),
            Event::Committed { group, results } => self.on_committed(now, group, results, out),
            Event::Restored { template, result } => self.on_restored(now, template, result, out),
            Event::CommandEnded { id, how } => {
                if !self.on_check_ended(now, id, &how, out)
                    && !self.on_hook_ended(now, id, &how, out)
                    && !self.on_handler_ended(now, id, &how, out)
                {
                    self.on_reload_ended(now, id, &how, out);
                }
            }
            Event::AppStarted => self.on_app_started(now),
            Event::AppStartFailed { code, text } => self.on_app_start_failed(now, code, &text, out),
            Event::ReloadSignalled(caught) => self.on_reload_signalled(now, caught, out),
            Event::AppEnded(ended) => self.on_app_ended(now, ended, out),
            Event::AppStopped(n) => self.on_app_stopped(n, out),
            Event::Childless => self.on_childless(now, out),
            Event::Word { service, word } => self.on_word(service, word, out),
            Event::Maintenance(is_on) => self.on_maintenance(now, is_on, out),
            Event::Reread => out.push(Action::Reread),
            Event::Unchanged => self.look_again(now),
            Event::Tick => {
                self.advance_groups(now, out);
                self.advance_reloads(now, out);
                self.advance_app(now, out);
                self.advance_handlers(now, out);
                self.advance_refresh(now, out);
            }
        }
    }

    /// When `Tick` is wanted next, at the latest. `None`: only an event can change anything.
    pub fn deadline(&self) -> Option<Millis> {
        let handlers = self.handler_deadline();
        let all = [self.group_deadline(), self.reload_deadline(), self.app_deadline(), handlers, self.refresh];
        all.into_iter().flatten().min()
    }

    #[inline(never)]
    fn on_start(&mut self, now: Millis, out: &mut Vec<Action>) {
        self.started = now;
        self.refresh = self.plan.refresh.filter(|_| !self.plan.once).map(|every| now.saturating_add(every));
        self.look_again(now);
        if let (Some(app), false) = (&self.plan.app, self.is_resumed()) {
            let mut text = String::from("main program and arguments to be run: [");
            text.push_str(&app.argv.join(" "));
            text.push(']');
            out.push(Action::Log(Level::Info, Voice::Supervisor, text));
        }
        for (level, text) in &self.plan.notes {
            out.push(Action::Log(*level, Voice::Confd, text.clone()));
        }
        for text in &self.plan.broken {
            out.push(Action::Log(Level::Error, Voice::Confd, text.clone()));
        }
    }

    /// Every file is compared with what it should hold.
    fn look_again(&mut self, now: Millis) {
        for group in &mut self.groups {
            group.changed(now);
        }
        for template in &mut self.templates {
            template.needed = true;
        }
    }

    fn advance_refresh(&mut self, now: Millis, out: &mut Vec<Action>) {
        if self.refresh.is_some_and(|at| at <= now) {
            self.refresh = self.plan.refresh.map(|every| now.saturating_add(every));
            out.push(Action::Reread);
        }
    }

    /// Begins nothing new from here on.
    pub fn hand_over(&mut self) {
        self.is_handing_over = true;
    }

    /// Takes over what the state before this one has begun: reloads that did not succeed, the app, what runs beside it, and
    /// of the services those that are as they were (`kept` says which of this plan's is which of the one before).
    pub fn resume(&mut self, now: Millis, mut before: State, kept: &[Option<usize>], out: &mut Vec<Action>) {
        let plan = self.plan.clone();
        let is_unfinished = |path: &std::path::Path| {
            let mut both = before.plan.templates.iter().zip(&before.reloads);
            both.any(|(t, r)| !r.is_done() && t.dest.path == path)
        };
        for (i, t) in plan.templates.iter().enumerate() {
            if t.reload.is_some() && is_unfinished(&t.dest.path) {
                self.want_template_reload(now, i);
            }
        }
        self.last_id = before.last_id;
        self.is_maintained = before.is_maintained;
        for (s, was) in self.services.iter_mut().zip(kept) {
            if let Some(found) = was.and_then(|i| before.services.get(i)) {
                s.clone_from(found);
            }
        }
        // Where files are all there is, and was, these come first, as at a start.
        let has_handlers = !self.plan.handlers.is_empty() || !before.plan.handlers.is_empty();
        if self.plan.app.is_some() || has_handlers || self.plan.templates.is_empty() {
            self.tally = std::mem::take(&mut before.tally);
            self.left_by = before.left_by;
            self.resume_app(now, &mut before);
            self.resume_handlers(now, &mut before, kept, out);
        }
    }

    fn new_id(&mut self) -> u32 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }
}

fn say(out: &mut Vec<Action>, level: Level, voice: Voice, text: std::fmt::Arguments) {
    out.push(Action::Log(level, voice, text.to_string()));
}

/// Milliseconds for people: `0.25 s`, `12 s`, `3 min`.
fn span(ms: Millis) -> String {
    if ms >= 120_000 {
        return (ms / 60_000).to_string() + " min";
    }
    let mut text = (ms / 1000).to_string();
    if ms < 10_000 {
        text.push('.');
        let hundredths = ms % 1000 / 10;
        if hundredths < 10 {
            text.push('0');
        }
        text.push_str(&hundredths.to_string());
    }
    text.push_str(" s");
    text
}
