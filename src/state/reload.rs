//! Telling the app, whoever stands in its place, or a template's own command, that files changed. One reload at a time; several changed files
//! are one reload; a failed one stays pending and is tried again with back-off until it succeeds.

use super::facts::Count;
use super::group::failure;
use super::{Action, Caught, Job, State, Voice, say};
use crate::backoff::Backoff;
use crate::plan::{self, Level, Millis};
use crate::sys::process::Ended;
use crate::text::fill;

/// One thing that can be told: a template's own, or (the last one) the app.
#[derive(Default)]
pub struct Reload {
    /// Files changed since the last one began; not before this time.
    wanted: Option<Millis>,
    running: Option<Running>,
    backoff: Backoff,
    said: Option<String>,
}

/// A command or a request under way.
pub(super) struct Running {
    /// 0: a signal on its way.
    pub id: u32,
    /// When it is killed.
    pub deadline: Millis,
    /// It was.
    pub killed: bool,
}

/// How long after its start the app may take to install a handler for its reload signal; the signal is sent
/// whatever it did after this.
const HANDLER_WAIT: Millis = 5_000;
/// Nothing is sent before the app has run this long: what confd-sidecar always waited. A handler is no proof: Go's
/// runtime catches every signal from its first moment, and ends the program at those it has not asked for yet
/// (os/signal). Prometheus asks some 100 ms after its start.
const YOUNG: Millis = 1_000;
/// How often to look for the handler.
const HANDLER_POLL: Millis = 20;

impl Reload {
    /// Nothing is wanted or running.
    pub(super) fn is_done(&self) -> bool {
        self.wanted.is_none() && self.running.is_none()
    }
}

impl State {
    fn app_index(&self) -> usize {
        self.reloads.len().saturating_sub(1)
    }

    /// A template's file changed: its command runs after its splay.
    pub(super) fn want_template_reload(&mut self, now: Millis, template: usize) {
        let at = match self.plan.splays.get(template) {
            None | Some(0) => 0,
            Some(most) => now.saturating_add(self.random.below(*most)),
        };
        if let Some(r) = self.reloads.get_mut(template) {
            r.wanted = Some(r.wanted.map_or(at, |before| before.min(at))); // many changes put nothing off
        }
    }

    /// The files of the app changed. An app that does not run reads them when it starts.
    pub(super) fn want_app_reload(&mut self, now: Millis) {
        let wants = match &self.plan.app {
            Some(app) => self.app_runs() && !matches!(app.reload, plan::Reload::None),
            None => self.plan.target.is_some(), // it runs elsewhere, already: the first files are news to it
        };
        if !wants {
            return;
        }
        let splay = match self.plan.pace.splay {
            0 => 0,
            most => self.random.below(most),
        };
        let at = now.saturating_add(splay);
        if let Some(r) = self.reloads.last_mut() {
            // Newer files may be what a reload that failed waits for.
            r.wanted = Some(r.wanted.map_or(at, |before| before.min(at)));
        }
    }

    /// Whether the app has not been told yet of the newest files.
    pub(super) fn app_reload_is_pending(&self) -> bool {
        self.reloads.last().is_some_and(|r| r.wanted.is_some())
    }

    /// The app is gone or fresh: it knows the newest files, or will.
    pub(super) fn forget_app_reload(&mut self) {
        if let Some(r) = self.reloads.last_mut() {
            r.wanted = None;
            r.backoff.succeeded();
            r.said = None;
            if r.running.as_ref().is_some_and(|r| r.id == 0) {
                r.running = None;
            }
        }
    }

    /// Whether none is under way.
    pub(super) fn reloads_rest(&self) -> bool {
        self.reloads.iter().all(|r| r.running.is_none())
    }

    /// Whether every reload that was wanted has ended, well or not.
    pub(super) fn reloads_are_tried(&self) -> bool {
        self.reloads.iter().all(|r| r.is_done() || (r.running.is_none() && r.backoff.is_failing()))
    }

    /// Whether every reload that was wanted has succeeded.
    #[cfg(test)]
    pub(super) fn reloads_are_done(&self) -> bool {
        self.reloads.iter().all(Reload::is_done)
    }

    /// Whether a template's reload is to come before others get their first turn: not one that failed once.
    pub(super) fn reload_is_in_front(&self, template: usize) -> bool {
        self.reloads.get(template).is_some_and(|r| !r.is_done() && !r.backoff.is_failing())
    }

    /// What is wrong with reloads.
    pub(super) fn failed_reloads(&self) -> impl Iterator<Item = &str> {
        self.reloads.iter().filter_map(|r| r.said.as_deref())
    }

    /// Whether a reload failed and waits to be tried again.
    pub(super) fn reload_is_failing(&self) -> bool {
        self.reloads.iter().any(|r| r.backoff.is_failing())
    }

    pub(super) fn reload_deadline(&self) -> Option<Millis> {
        if self.is_ending() {
            return None;
        }
        match self.reloads.iter().find_map(|r| r.running.as_ref()) {
            Some(r) if r.id == 0 || r.killed => None,
            Some(r) => Some(r.deadline),
            None if self.is_handing_over => None,
            None => self.reloads.iter().filter_map(|r| r.wanted).min(),
        }
    }

    #[inline(never)]
    pub(super) fn advance_reloads(&mut self, now: Millis, out: &mut Vec<Action>) {
        if self.is_ending() {
            return;
        }
        if let Some(r) = self.reloads.iter_mut().find_map(|r| r.running.as_mut()) {
            if r.id != 0 && !r.killed && r.deadline <= now {
                r.killed = true;
                out.push(Action::KillCommand(r.id));
            }
            return;
        }
        if self.is_handing_over {
            return;
        }
        let Some(i) = self.reloads.iter().position(|r| r.wanted.is_some_and(|at| at <= now)) else { return };
        let id = self.new_id();
        let plan = self.plan.clone();
        let is_app = i == self.app_index();
        let reload = plan.reload(i);
        match reload {
            Some(plan::Reload::Signal(signal)) if is_app => {
                let (signal, age) = (*signal, self.app_age(now));
                if age < YOUNG {
                    if let Some(r) = self.reloads.get_mut(i) {
                        r.wanted = Some(now.saturating_add(YOUNG - age));
                    }
                    return;
                }
                let force = age >= HANDLER_WAIT;
                self.mark_running(i, Running { id: 0, deadline: 0, killed: false });
                out.push(Action::ReloadSignal { signal, force });
                return;
            }
            Some(plan::Reload::Restart) if is_app => {
                self.mark_running(i, Running { id: 0, deadline: 0, killed: false });
                say(out, Level::Info, Voice::Supervisor, format_args!("restarting main program now"));
                self.restart_app(now, out);
                return;
            }
            _ => {}
        }
        let Some(limit) = reload.and_then(plan::Reload::limit) else {
            if let Some(r) = self.reloads.get_mut(i) {
                r.wanted = None;
            }
            return;
        };
        self.mark_running(i, Running { id, deadline: now.saturating_add(limit), killed: false });
        match reload {
            Some(plan::Reload::Request(r)) => {
                say(out, Level::Info, Voice::Supervisor, format_args!("reloading by {} now", r.shown));
            }
            Some(plan::Reload::Named(n)) => {
                say(out, Level::Info, Voice::Supervisor, format_args!("reloading {} now", n.name));
            }
            _ if is_app => say(out, Level::Info, Voice::Supervisor, format_args!("reloading main program now")),
            _ => {}
        }
        out.push(Action::Run { id, job: if is_app { Job::AppReload } else { Job::Reload(i) } });
    }

    fn mark_running(&mut self, i: usize, running: Running) {
        if let Some(r) = self.reloads.get_mut(i) {
            r.wanted = None; // a change from here on wants another one
            r.running = Some(running);
        }
    }

    #[inline(never)]
    pub(super) fn on_reload_signalled(&mut self, now: Millis, caught: Caught, out: &mut Vec<Action>) {
        if caught == Caught::Sent {
            self.tally.count(now, Count::Reloads);
        }
        let Some(r) = self.reloads.last_mut() else { return };
        r.running = None;
        match caught {
            Caught::Sent => say(out, Level::Info, Voice::Supervisor, format_args!("reloading main program now")),
            Caught::NotYet => r.wanted = Some(now.saturating_add(HANDLER_POLL)),
            Caught::Unknown => {
                // It had its second: that is all there is to go by.
                let signal = match self.plan.app.as_ref().map(|a| &a.reload) {
                    Some(plan::Reload::Signal(n)) => *n,
                    _ => return,
                };
                r.running = Some(Running { id: 0, deadline: 0, killed: false });
                out.push(Action::ReloadSignal { signal, force: true });
            }
        }
    }

    #[inline(never)]
    pub(super) fn on_reload_ended(&mut self, now: Millis, id: u32, how: &Result<Ended, String>, out: &mut Vec<Action>) {
        let Some(i) = self.reloads.iter().position(|r| r.running.as_ref().is_some_and(|r| r.id == id)) else { return };
        let is_app = i == self.app_index();
        let is_ending = self.is_ending();
        let Some(r) = self.reloads.get_mut(i) else { return };
        let killed = r.running.take().is_some_and(|r| r.killed);
        if is_ending {
            return; // whatever became of it, it was told to end
        }
        let plan = self.plan.clone();
        let reload = plan.reload(i);
        let is_good = !killed && *how == Ok(Ended::Exit(0));
        self.tally.count(now, if is_good { Count::Reloads } else { Count::ReloadFailures });
        // What went wrong, and whether it may be because of what the files hold now.
        let (failed, blames) = match (reload, how) {
            (Some(plan::Reload::Request(r)), Ok(Ended::Exit(status))) if *status != 0 && !killed => {
                (Some(format!("{} answers {status}", r.shown)), true)
            }
            (Some(plan::Reload::Request(_) | plan::Reload::Named(_)), _) => (failure(how, killed), false),
            _ => (failure(how, killed), true),
        };
        let Some(r) = self.reloads.get_mut(i) else { return };
        let Some(why) = failed else {
            if r.backoff.is_failing() {
                say(out, Level::Info, Voice::Supervisor, format_args!("the reload that failed has succeeded now"));
            }
            r.backoff.succeeded();
            r.said = None;
            return;
        };
        let what = match reload {
            Some(plan::Reload::Command(_)) => "the reload command",
            _ => "the reload",
        };
        if is_app && blames && self.roll_back(now, &[what, " failed (", &why, ")"].concat(), out) {
            self.want_app_reload(now); // with what is in place now
            return;
        }
        let Some(r) = self.reloads.get_mut(i) else { return };
        let wait = r.backoff.failed(&mut self.random);
        if r.wanted.is_none() {
            // Once is once.
            r.wanted = Some(if self.plan.once { Millis::MAX } else { now.saturating_add(wait) });
        }
        let of = if is_app { String::new() } else { [" of ", &plan.file(i)].concat() };
        let said = fill("%% failed: %", &[what, &of, &why]);
        let level = if r.said.as_ref() == Some(&said) { Level::Debug } else { Level::Error };
        let next = if self.plan.once { String::new() } else { ["; next try in ", &super::span(wait)].concat() };
        out.push(Action::Log(level, Voice::Confd, [&said, &*next].concat()));
        r.said = Some(said);
    }
}
