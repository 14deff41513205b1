//! The driver's way with what it starts: the app, commands and requests, what they print, and the keepers of our services.

use std::os::fd::{AsFd, BorrowedFd};

use super::files::Staged;
use super::{Command, Driver};
use crate::catalog::{Keeper, Word};
use crate::error::{Error, Result};
use crate::output::Output;
use crate::plan::{self, Level, LogFormat, Millis, Plan, Role, Run};
use crate::request;
use crate::source::http::Server;
use crate::source::{self, Stop};
use crate::state::{Caught, Event, Hook, Job, Voice, left};
use crate::sys::host::clock;
use crate::sys::process::{self, Ended as ProcessEnded, Start};
use crate::sys::{pipe, signal, terminal, thread};

/// So many commands that have ended may have left something behind that still writes.
const MOST_LEFT: usize = 32;

/// How long a service of an older plan is awaited at the end, from its deregistration on: its keeper gives up before.
const LEAVING: Millis = 8_500;

impl Driver<'_> {
    #[inline(never)]
    pub(super) fn run_command(&mut self, id: u32, job: Job) {
        let (command, t) = match job {
            Job::Check(t) => (self.plan.templates.get(t).and_then(|p| p.check.as_ref()), Some(t)),
            Job::Handler(i) => return self.run_handler(id, i),
            Job::Hook(hook) => return self.run_hook(id, hook),
            Job::Reload(_) | Job::AppReload => {
                let t = if let Job::Reload(t) = job { Some(t) } else { None };
                let i = t.unwrap_or(self.plan.templates.len());
                match self.plan.reload(i) {
                    Some(plan::Reload::Command(c)) => (Some(c), t),
                    Some(plan::Reload::Request(_)) => {
                        let plan = self.plan.clone();
                        let work = move |stop: &Stop| match plan.reload(i) {
                            Some(plan::Reload::Request(r)) => request::send(r, stop),
                            _ => Err(String::new()),
                        };
                        return self.send_request(id, Box::new(work));
                    }
                    Some(plan::Reload::Named(n)) => {
                        let ours: Vec<i32> = self.kept.commands.iter().map(|c| c.pid).collect();
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
        let started = start_command(command, staged, dest, &self.plan, None);
        self.started(id, self.plan.app.is_some(), started);
    }

    #[inline(never)]
    fn started(&mut self, id: u32, is_swept: bool, how: Result<i32>) {
        match how {
            Ok(pid) => self.kept.commands.push(Command { pid, id, is_swept }),
            Err(e) => self.events.push_back(Event::CommandEnded { id, how: Err(e.into_text()) }),
        }
    }

    #[inline(never)]
    fn run_handler(&mut self, id: u32, i: usize) {
        let plan = self.plan.clone();
        let Some(handler) = plan.handlers.get(i) else { return };
        match &handler.run {
            Run::Command(command) => {
                let is_kept = matches!(handler.role, Role::Sensor(_));
                self.run_beside(id, command, (!is_kept).then_some(&handler.name));
            }
            Run::Request(_) => {
                let plan = plan.clone();
                let work = move |stop: &Stop| match plan.handlers.get(i).map(|h| &h.run) {
                    Some(Run::Request(r)) => request::send(r, stop),
                    _ => Err(String::new()),
                };
                self.send_request(id, Box::new(work));
            }
            Run::Tcp(address, limit) => {
                let (address, limit) = (["tcp://", address].concat(), *limit);
                let work = move |stop: &Stop| {
                    let server = Server::new(&address, &plan::Tls::default(), stop);
                    let reached = server.reach(limit).map(|()| ProcessEnded::Exit(0));
                    reached.map_err(|why| [&address, ": ", &*why].concat())
                };
                self.send_request(id, Box::new(work));
            }
            Run::Nothing | Run::Instances(_) => {}
        }
    }

    #[inline(never)]
    fn run_hook(&mut self, id: u32, hook: Hook) {
        let plan = self.plan.clone();
        let command = match hook {
            Hook::PreStart => &plan.hooks.pre_start,
            Hook::PreStop => &plan.hooks.pre_stop,
            Hook::PostStop => &plan.hooks.post_stop,
        };
        if let Some(command) = command {
            self.run_beside(id, command, Some(hook.name()));
        }
    }

    /// Starts a command whose lines are logged, under a name where lines have room for one; without a name what it prints on
    /// standard output is kept.
    #[inline(never)]
    fn run_beside(&mut self, id: u32, command: &plan::Command, name: Option<&str>) {
        // What a command left behind may write for ever; of many the oldest are given up. What has just ended has been
        // heard by now: before a new one begins, all that happened has been taken in.
        while self.kept.outputs.iter().filter(|o| o.is_over).count() > MOST_LEFT {
            let oldest = self.kept.outputs.iter().position(|o| o.is_over);
            oldest.map(|i| self.kept.outputs.remove(i));
        }
        let has_room = matches!(self.plan.log.format, LogFormat::Default | LogFormat::Text | LogFormat::Json);
        let name = name.map(|n| if has_room { n.to_string() } else { String::new() });
        let (read, write) = match pipe::output() {
            Ok(ends) => ends,
            Err(e) => return self.started(id, false, Err(Error::io("make a pipe", &e))),
        };
        let started = start_command(command, None, String::new(), &self.plan, Some((write.as_fd(), name.is_some())));
        if started.is_ok() {
            self.kept.outputs.push(Output::new(id, read, name));
        }
        self.started(id, false, started);
    }

    /// Takes in what commands have printed.
    #[inline(never)]
    pub(super) fn take_outputs(&mut self) {
        let logger = &self.logger;
        let mut say = |line: &str| logger.line(Level::Info, Voice::Supervisor, line);
        self.kept.outputs.retain_mut(|o| o.turn(&mut say) || o.is_kept());
    }

    /// A command has ended: what it has printed is there.
    #[inline(never)]
    pub(super) fn end_output(&mut self, id: u32) {
        let logger = &self.logger;
        let mut say = |line: &str| logger.line(Level::Info, Voice::Supervisor, line);
        for output in self.kept.outputs.iter_mut().filter(|o| o.id == id) {
            output.turn(&mut say);
            output.flush(&mut say);
            output.is_over = true;
        }
    }

    /// Gives a sensor what its command printed.
    #[inline(never)]
    pub(super) fn observe(&mut self, id: u32, sensor: usize) {
        let Some(i) = self.kept.outputs.iter().position(|o| o.id == id) else { return };
        let text = self.kept.outputs.remove(i).text();
        if let Err(why) = self.kept.meters.observe(sensor, &text, clock()) {
            let name = self.plan.sensors.get(sensor).map_or("", |s| s.name.as_str());
            self.logger.line(Level::Warning, Voice::Supervisor, &["sensor ", name, ": ", &why].concat());
        }
    }

    /// Does something on a thread of its own: the loop waits for no server.
    #[inline(never)]
    fn send_request(&mut self, id: u32, work: Box<dyn FnOnce(&Stop) -> source::Done + Send>) {
        let answers = self.kept.answers.clone();
        let started = Stop::new().and_then(|stop| {
            let held = stop.clone();
            let work = move || answers.put((id, work(&stop)));
            thread::start(source::STACK, Box::new(work)).map_err(|e| Error::io("start a thread for a request", &e))?;
            Ok(held)
        });
        match started {
            Ok(stop) => self.kept.requests.push((id, stop)),
            Err(e) => self.events.push_back(Event::CommandEnded { id, how: Err(e.into_text()) }),
        }
    }

    /// A request has its answer, or had its time; what comes after that is dropped.
    #[inline(never)]
    pub(super) fn end_request(&mut self, id: u32, how: source::Done) {
        if let Some(i) = self.kept.requests.iter().position(|(r, _)| *r == id) {
            self.kept.requests.swap_remove(i).1.now();
            self.events.push_back(Event::CommandEnded { id, how });
        }
    }

    /// Which services are as they were in the plan before, and where they stand there.
    #[inline(never)]
    pub(super) fn same_services(&self, before: Option<&Plan>) -> Vec<Option<usize>> {
        let (now, was) = (self.plan.catalog.as_ref(), before.and_then(|b| b.catalog.as_ref()));
        let is_same = now.zip(was).is_some_and(|(now, was)| now.is_same(was));
        let old = before.map_or(&[][..], |b| &b.services);
        let mut all = Vec::new();
        for s in &self.plan.services {
            // Two may be the same, and each has a keeper.
            let found = old.iter().enumerate().find(|(i, o)| *o == s && !all.contains(&Some(*i)));
            all.push(found.map(|(i, _)| i).filter(|_| is_same));
        }
        all
    }

    /// Gives each service its keeper; those of services that are no more, or are others now, take them out.
    ///
    /// # Errors
    /// The system has no room for a thread.
    #[inline(never)]
    pub(super) fn start_keepers(&mut self, before: Option<&Plan>, is_same: &[Option<usize>]) -> Result<()> {
        let mut old: Vec<Option<Keeper>> = self.kept.keepers.drain(..).map(Some).collect();
        for (service, same) in self.plan.services.iter().zip(is_same) {
            let Some(catalog) = &self.plan.catalog else { break };
            let kept = same.and_then(|i| old.get_mut(i)).and_then(Option::take);
            let keeper = kept.map_or_else(|| Keeper::start(catalog, service, self.kept.wake), Ok)?;
            self.kept.keepers.push(keeper);
        }
        for (keeper, service) in old.into_iter().zip(before.map_or(&[][..], |b| &b.services)) {
            if let Some(keeper) = keeper {
                keeper.leave();
                self.kept.part_by = clock().saturating_add(LEAVING);
                self.kept.parting.push((service.id.clone(), keeper));
            }
        }
        Ok(())
    }

    /// A service is well. One of its name that an older plan had goes first.
    #[inline(never)]
    pub(super) fn pass(&mut self, service: usize) {
        let id = self.plan.services.get(service).map(|s| &s.id);
        if self.kept.parting.iter().any(|(old, _)| Some(old) == id) {
            self.owed.push(service);
        } else if let Some(keeper) = self.kept.keepers.get(service) {
            keeper.pass();
        }
    }

    /// A service is to be found no longer.
    pub(super) fn leave(&mut self, service: usize) {
        self.owed.retain(|owed| *owed != service);
        if let Some(keeper) = self.kept.keepers.get(service) {
            keeper.leave();
        }
    }

    /// Takes in what keepers have to say.
    #[inline(never)]
    pub(super) fn take_words(&mut self) {
        for (service, keeper) in self.kept.keepers.iter().enumerate() {
            self.events.extend(keeper.news().into_iter().map(|word| Event::Word { service, word }));
        }
        let logger = &self.logger;
        self.kept.parting.retain(|(id, keeper)| {
            let mut is_there = true;
            for word in keeper.news() {
                match word {
                    Word::Left(is_sure) => {
                        is_there = false;
                        let (level, text) = left(id, is_sure);
                        logger.line(level, Voice::Supervisor, &text);
                    }
                    Word::Failed(why) => logger.line(Level::Error, Voice::Supervisor, &why),
                    Word::Registered | Word::Recovered => {}
                }
            }
            is_there
        });
        for service in std::mem::take(&mut self.owed) {
            self.pass(service);
        }
    }

    #[inline(never)]
    pub(super) fn start_app(&mut self) {
        let Some(app) = &self.plan.app else { return };
        let start = Start {
            argv: &app.argv,
            env: &self.plan.env,
            env_remove: &app.env_remove,
            is_app: true,
            foreground: self.is_foreground,
            output: None,
        };
        self.events.push_back(match process::start(&start) {
            Ok(pid) => {
                self.kept.app = Some(pid);
                self.kept.group = self.kept.app;
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
    pub(super) fn reload_signal(&mut self, n: i32, force: bool) {
        let Some(pid) = self.kept.app else { return }; // it ended: its event is on the way
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

    #[inline(never)]
    pub(super) fn suspend(&mut self) {
        if !self.is_foreground || std::process::id() == 1 {
            return;
        }
        terminal::take_back();
        terminal::suspend(); // returns when a shell continues us
        // The app gets its CONT below. Ours, passed on later, would undo a stop that was typed in between.
        signal::forget(libc::SIGCONT);
        if let Some(pid) = self.kept.app {
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
    plan: &Plan,
    output: Option<(BorrowedFd<'_>, bool)>,
) -> Result<i32> {
    let src = match staged {
        None => dest.clone(),
        Some(staged) => staged.path()?.to_string_lossy().into_owned(),
    };
    let argv = command.words(&src, &dest, std::path::Path::new("/bin/sh").exists())?;
    let (env, env_remove) = (&plan.env, &plan.env_remove);
    let start = Start { argv: &argv, env, env_remove, is_app: false, foreground: false, output };
    process::start(&start).map_err(|e| {
        let program = argv.first().map_or("", String::as_str);
        Error::transient(["cannot run ", program, ": ", &e.text].concat())
    })
}
