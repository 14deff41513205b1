//! What is run beside the app, each at its times and never twice at once: health checks, sensors and tasks again and again
//! while the app runs; what others' coming and going calls for, when it does; coprocesses as often as they may; and what
//! must work before the app is started.

use super::app::Phase;
use super::group::failure;
use super::reload::Running;
use super::{Action, Job, State, Voice, say, span};
use crate::backoff::Backoff;
use crate::plan::{self, ALWAYS, Level, Millis, Role, Run, UNLIMITED};
use crate::sys::process::Ended;
use crate::text::put;

/// One of the plan's handlers.
#[derive(Default)]
pub struct Handler {
    /// When it is to be run next; `None`: not by time.
    due: Option<Millis>,
    running: Option<Running>,
    /// When it began.
    since: Millis,
    /// Of a change: what the watch held when it was looked at last, and that it should run.
    seen: Vec<u8>,
    is_wanted: bool,
    /// Of a coprocess: how often it has been started.
    starts: u32,
    /// Of a wait: it has worked.
    is_met: bool,
    backoff: Backoff,
    said: Option<String>,
}

/// A coprocess that ran this long before it ended is not in a crash loop.
const SETTLED: Millis = 10_000;
/// What belongs to an old configuration has this long between TERM and KILL.
const GRACE: Millis = 5_000;
const TERM: i32 = 15;

impl State {
    /// Whether the app runs, or there is none and all has begun: what is run again and again, runs.
    fn is_up(&self) -> bool {
        matches!(self.app.phase, Phase::Running) && !self.is_maintained
    }

    /// The app runs now: the times of what is run again and again begin.
    pub(super) fn set_out(&mut self, now: Millis) {
        for (h, p) in self.handlers.iter_mut().zip(&self.plan.handlers) {
            if matches!(p.role, Role::Health(_) | Role::Sensor(_) | Role::Task) {
                h.due = Some(now.saturating_add(p.first));
            }
        }
    }

    /// What runs beside the app begins before it.
    pub(super) fn set_out_coprocesses(&mut self, now: Millis) {
        for (h, p) in self.handlers.iter_mut().zip(&self.plan.handlers) {
            if matches!(p.role, Role::Coprocess(_)) && h.starts == 0 {
                h.due = Some(now);
            }
        }
    }

    /// What has to work before the app is started, and has not, for people; `None`: nothing.
    pub(super) fn awaited(&self) -> Option<&str> {
        let mut both = self.handlers.iter().zip(&self.plan.handlers);
        both.find(|(h, p)| p.role == Role::Wait && !h.is_met).map(|(_, p)| p.name.as_str())
    }

    /// The instances a watch of services has now.
    pub(super) fn instances(&self, watch: usize) -> usize {
        self.snapshot(watch).map_or(0, |s| s.len())
    }

    /// When a handler may begin; `None`: no reason for it, or it runs.
    fn handler_due(&self, h: &Handler, p: &plan::Handler) -> Option<Millis> {
        // One that begins while another configuration waits for its turn goes on under that one.
        if h.running.is_some() {
            return None;
        }
        match p.role {
            Role::Health(_) | Role::Sensor(_) | Role::Task => h.due.filter(|_| self.is_up()),
            Role::Coprocess(_) => h.due,
            // Files that follow the same services come first: what is run now may read them.
            Role::Change(_) => Some(0).filter(|_| h.is_wanted && self.is_up() && self.files_are_settled()),
            Role::Wait if h.is_met || !matches!(self.app.phase, Phase::Waiting) => None,
            Role::Wait => match p.run {
                Run::Instances(watch) => Some(0).filter(|_| self.instances(watch) > 0),
                _ => Some(h.due.unwrap_or(0)),
            },
        }
    }

    pub(super) fn handler_deadline(&self) -> Option<Millis> {
        if self.is_ending() {
            return None;
        }
        let mut earliest: Option<Millis> = None;
        for (h, p) in self.handlers.iter().zip(&self.plan.handlers) {
            let at = match &h.running {
                Some(r) if r.killed || r.deadline == UNLIMITED => None,
                Some(r) => Some(r.deadline),
                None => self.handler_due(h, p),
            };
            earliest = earliest.into_iter().chain(at).min();
        }
        let old = self.leftovers.iter().filter(|r| !r.killed).map(|r| r.deadline).filter(|at| *at != UNLIMITED);
        earliest.into_iter().chain(old).min()
    }

    #[inline(never)]
    pub(super) fn advance_handlers(&mut self, now: Millis, out: &mut Vec<Action>) {
        if self.is_ending() {
            return;
        }
        for r in &mut self.leftovers {
            r.give_up(now, out);
        }
        let plan = self.plan.clone();
        for (i, p) in plan.handlers.iter().enumerate() {
            let Some(h) = self.handlers.get_mut(i) else { continue };
            if let Some(r) = &mut h.running {
                r.give_up(now, out);
                continue;
            }
            let Some(h) = self.handlers.get(i) else { continue };
            if self.handler_due(h, p).is_some_and(|at| at <= now) {
                self.begin(now, i, p, out);
            }
        }
    }

    #[inline(never)]
    fn begin(&mut self, now: Millis, i: usize, p: &plan::Handler, out: &mut Vec<Action>) {
        let id = self.new_id();
        let Some(h) = self.handlers.get_mut(i) else { return };
        h.is_wanted = false; // a change from here on wants another run
        h.since = now;
        h.starts = h.starts.saturating_add(1);
        h.due = match p.role {
            Role::Coprocess(_) | Role::Change(_) | Role::Wait => None,
            _ => Some(now.saturating_add(p.poll)),
        };
        if matches!(p.run, Run::Nothing | Run::Instances(_)) {
            return self.handled(now, i, p, Ok(()), out);
        }
        let limit = p.run.limit();
        h.running = Some(Running { id, deadline: now.saturating_add(limit), killed: false });
        out.push(Action::Run { id, job: Job::Handler(i) });
    }

    /// A command or request ended; false when it was none of these.
    #[inline(never)]
    pub(super) fn on_handler_ended(
        &mut self,
        now: Millis,
        id: u32,
        how: &Result<Ended, String>,
        out: &mut Vec<Action>,
    ) -> bool {
        self.leftovers.retain(|r| r.id != id);
        let is_it = |h: &Handler| h.running.as_ref().is_some_and(|r| r.id == id);
        let Some(i) = self.handlers.iter().position(is_it) else { return false };
        let plan = self.plan.clone();
        let (Some(h), Some(p)) = (self.handlers.get_mut(i), plan.handlers.get(i)) else { return false };
        let killed = h.running.take().is_some_and(|r| r.killed);
        let why = match (&p.run, how) {
            (Run::Request(_), Ok(Ended::Exit(status))) if *status != 0 && !killed => {
                Some(format!("it answers {status}"))
            }
            _ => failure(how, killed),
        };
        let is_sensor = matches!(p.role, Role::Sensor(_));
        if let (Role::Sensor(sensor), None) = (p.role, &why) {
            out.push(Action::Observe { id, sensor });
        }
        if is_sensor && why.is_some() {
            out.push(Action::Forget(id));
        }
        self.handled(now, i, p, why.map_or(Ok(()), Err), out);
        true
    }

    /// What came of a handler: `Err` says why it did not work.
    #[inline(never)]
    fn handled(&mut self, now: Millis, i: usize, p: &plan::Handler, how: Result<(), String>, out: &mut Vec<Action>) {
        if self.is_ending() {
            return; // whatever became of it, it was told to end
        }
        if let Role::Health(service) = p.role {
            // An app that is gone is not well, whatever its check found; nor does one that began before the app was
            // started again say anything of this one.
            let age = self.handlers.get(i).map_or(0, |h| now.saturating_sub(h.since));
            if self.is_up() && age <= self.app_age(now) {
                self.on_health(service, how, out);
            }
            return;
        }
        if let Role::Coprocess(restarts) = p.role {
            return self.on_coprocess_ended(now, i, p, how, restarts, out);
        }
        let Some(h) = self.handlers.get_mut(i) else { return };
        match how {
            Ok(()) => {
                if p.role == Role::Wait {
                    h.is_met = true;
                    say(out, Level::Info, Voice::Supervisor, format_args!("{} is there", p.name));
                } else if h.said.is_some() {
                    say(out, Level::Info, Voice::Supervisor, format_args!("{} works again", p.name));
                }
                h.said = None;
            }
            Err(why) => {
                if p.role == Role::Wait {
                    h.due = Some(now.saturating_add(p.poll));
                }
                // What runs again and again says what is new; each change is news.
                let is_old = h.said.as_ref() == Some(&why) && !matches!(p.role, Role::Change(_));
                let level = if is_old { Level::Debug } else { Level::Warning };
                let verb = if p.role == Role::Wait { "is not there yet" } else { "failed" };
                say(out, level, Voice::Supervisor, format_args!("{} {verb}: {why}", p.name));
                h.said = Some(why);
            }
        }
    }

    #[inline(never)]
    fn on_coprocess_ended(
        &mut self,
        now: Millis,
        i: usize,
        p: &plan::Handler,
        how: Result<(), String>,
        restarts: u32,
        out: &mut Vec<Action>,
    ) {
        let Some(h) = self.handlers.get_mut(i) else { return };
        let how = how.map_or_else(|why| why, |()| "exit status 0".to_string());
        if restarts != ALWAYS && h.starts > restarts {
            say(out, Level::Info, Voice::Supervisor, format_args!("{} ended: {how}", p.name));
            return;
        }
        if now.saturating_sub(h.since) >= SETTLED {
            h.backoff.succeeded();
        }
        let wait = h.backoff.failed(&mut self.random);
        h.due = Some(now.saturating_add(wait));
        let next = span(wait);
        say(
            out,
            Level::Warning,
            Voice::Supervisor,
            format_args!("{} ended: {how}; starting it again in {next}", p.name),
        );
    }

    /// The instances of a watch may be others now: whoever wants to know is run.
    #[inline(never)]
    pub(super) fn look_at_instances(&mut self, watch: usize) {
        // What stands in a snapshot stands there by its key; the same values may have others.
        let mut values: Vec<&[u8]> = Vec::new();
        for (_, value) in self.snapshot(watch).into_iter().flat_map(|s| s.entries()) {
            let at = values.partition_point(|v| *v < &**value);
            values.insert(at, value);
        }
        let mut now = Vec::new();
        for value in values {
            put(&mut now, value);
            now.push(0);
        }
        for (h, p) in self.handlers.iter_mut().zip(&self.plan.handlers) {
            if p.role == Role::Change(watch) && h.seen != now {
                h.seen.clone_from(&now);
                h.is_wanted = true;
            }
        }
    }

    /// Takes over what still runs and is known of the handlers of the state before: those of the same name and kind. The
    /// rest may end by itself, but what would never end is ended.
    pub(super) fn resume_handlers(
        &mut self,
        now: Millis,
        before: &mut State,
        kept: &[Option<usize>],
        out: &mut Vec<Action>,
    ) {
        self.leftovers = std::mem::take(&mut before.leftovers);
        let (mine, theirs) = (self.plan.clone(), before.plan.clone());
        let mut is_taken = vec![false; mine.handlers.len()];
        for (i, old) in theirs.handlers.iter().enumerate() {
            let Some(was) = before.handlers.get_mut(i).map(std::mem::take) else { continue };
            let fits = |p: &plan::Handler| p.name == old.name && same_role(&mine, p, &theirs, old);
            let mut all = self.handlers.iter_mut().zip(&mine.handlers).zip(&mut is_taken);
            match all.find(|((_, p), is_taken)| !**is_taken && fits(p)) {
                Some(((h, p), is_taken)) => {
                    *is_taken = true;
                    *h = was;
                    // Where its times are new, or what it is about, it begins now.
                    let is_about_another = matches!(p.role, Role::Health(s) if !matches!(kept.get(s), Some(Some(_))));
                    if h.due.is_some() && (p.poll != old.poll || is_about_another) {
                        h.due = Some(now.saturating_add(p.first));
                    }
                }
                None => {
                    if let Some(mut r) = was.running {
                        if matches!(old.role, Role::Coprocess(_)) {
                            out.push(Action::SignalCommand(r.id, TERM));
                            r.deadline = now.saturating_add(GRACE);
                        }
                        self.leftovers.push(r);
                    }
                }
            }
        }
        if !self.is_resumed() {
            return; // all has its beginning before it
        }
        for (h, p) in self.handlers.iter_mut().zip(&mine.handlers) {
            let is_new = h.due.is_none() && h.running.is_none();
            match p.role {
                Role::Health(_) | Role::Sensor(_) | Role::Task if is_new => h.due = Some(now.saturating_add(p.first)),
                Role::Coprocess(_) if is_new && h.starts == 0 => h.due = Some(now),
                Role::Wait => h.is_met = true, // the app was started long ago
                _ => {}
            }
        }
    }
}

/// Whether two handlers of the same name mean the same thing. What runs for long must also be the same command.
fn same_role(mine: &plan::Plan, a: &plan::Handler, theirs: &plan::Plan, b: &plan::Handler) -> bool {
    let words = |run: &Run| if let Run::Command(c) = run { c.argv.clone() } else { Vec::new() };
    match (a.role, b.role) {
        (Role::Health(_), Role::Health(_))
        | (Role::Sensor(_), Role::Sensor(_))
        | (Role::Task, Role::Task)
        | (Role::Wait, Role::Wait) => true,
        (Role::Coprocess(_), Role::Coprocess(_)) => words(&a.run) == words(&b.run),
        (Role::Change(x), Role::Change(y)) => {
            let prefix = |plan: &plan::Plan, w: usize| plan.watches.get(w).map(|w| w.prefix.clone());
            prefix(mine, x) == prefix(theirs, y)
        }
        _ => false,
    }
}
