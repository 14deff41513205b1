//! The hooks at the turns of the app's life, and the way out: first the catalog hears that our services are gone, so that
//! nobody comes any more, then `pre_stop` runs to its end, then the app is asked to stop; behind its end comes `post_stop`.

use super::app::Phase;
use super::group::failure;
use super::reload::Running;
use super::{Action, Hook, Job, State, Voice, say};
use crate::plan::{Command, Level, Millis, UNLIMITED};
use crate::sys::process::Ended;

/// How long the app may stay unasked for a catalog that is slow to hear: the rest of that goes on beside its end.
const PATIENCE: Millis = 1_000;

impl Running {
    /// Ends it when its time is over.
    pub(super) fn give_up(&mut self, now: Millis, out: &mut Vec<Action>) {
        if !self.killed && self.deadline <= now && self.deadline != UNLIMITED {
            self.killed = true;
            out.push(Action::KillCommand(self.id));
        }
    }
}

impl State {
    fn hook(&self, which: Hook) -> Option<&Command> {
        let hooks = &self.plan.hooks;
        let found = match which {
            Hook::PreStart => &hooks.pre_start,
            Hook::PreStop => &hooks.pre_stop,
            Hook::PostStop => &hooks.post_stop,
        };
        found.as_ref()
    }

    /// Runs a hook; false when there is none.
    pub(super) fn run_hook(&mut self, now: Millis, which: Hook, out: &mut Vec<Action>) -> bool {
        let Some(limit) = self.hook(which).map(|c| c.timeout) else { return false };
        let id = self.new_id();
        self.hook = Some((which, Running { id, deadline: now.saturating_add(limit), killed: false }));
        say(out, Level::Debug, Voice::Supervisor, format_args!("running {}", which.name()));
        out.push(Action::Run { id, job: Job::Hook(which) });
        true
    }

    pub(super) fn hook_deadline(&self) -> Option<Millis> {
        let (_, r) = self.hook.as_ref()?;
        Some(r.deadline).filter(|at| !r.killed && *at != UNLIMITED)
    }

    /// A hook that is still running has had its time, as somebody is in a hurry.
    pub(super) fn hurry_hook(&mut self, out: &mut Vec<Action>) {
        if let Some((_, r)) = &mut self.hook
            && !std::mem::replace(&mut r.killed, true)
        {
            out.push(Action::KillCommand(r.id));
        }
    }

    #[inline(never)]
    pub(super) fn on_hook_ended(
        &mut self,
        now: Millis,
        id: u32,
        how: &Result<Ended, String>,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some((which, r)) = self.hook.take_if(|(_, r)| r.id == id) else { return false };
        let why = failure(how, r.killed);
        if let (Some(why), false) = (&why, matches!(self.app.phase, Phase::Sweeping { .. })) {
            say(out, Level::Error, Voice::Supervisor, format_args!("{} failed: {why}", which.name()));
        }
        let code = match how {
            Ok(Ended::Stopped(_)) | Err(_) => 127,
            Ok(ended) => ended.code(),
        };
        match (which, &self.app.phase) {
            (Hook::PreStart, Phase::Preparing) if why.is_none() => self.launch(now, out),
            (Hook::PreStart, Phase::Preparing) => self.finish(now, code.max(1), out),
            (Hook::PreStop, Phase::Parting { .. }) => self.advance_parting(now, out),
            (Hook::PostStop, Phase::Closing { code: of_app }) => {
                // What was cut off says nothing.
                let code = if code == 0 || r.killed { *of_app } else { code };
                self.sweep(now, code, out);
            }
            _ => {}
        }
        true
    }

    /// Begins the end of an app that runs: `signal` will ask it to stop.
    pub(super) fn part(&mut self, now: Millis, signal: i32, out: &mut Vec<Action>) {
        let killed = matches!(self.app.phase, Phase::Restarting { killed: true, .. });
        self.leave_all(now, out);
        let until = now.saturating_add(PATIENCE);
        self.app.phase = Phase::Parting { signal, until, killed, is_hooked: false, ended: None };
        self.advance_parting(now, out);
    }

    pub(super) fn advance_parting(&mut self, now: Millis, out: &mut Vec<Action>) {
        if let Some((_, r)) = &mut self.hook {
            return r.give_up(now, out);
        }
        let Phase::Parting { signal, until, killed, is_hooked, ended } = self.app.phase else { return };
        if !is_hooked && self.is_leaving(now) && now < until {
            return;
        }
        if !is_hooked {
            if let Phase::Parting { is_hooked, .. } = &mut self.app.phase {
                *is_hooked = true;
            }
            if self.run_hook(now, Hook::PreStop, out) {
                return;
            }
        }
        match (&self.plan.app, ended) {
            (None, _) => self.finish(now, 0, out), // a daemon that was asked to end did its job
            (Some(_), Some(code)) => self.finish(now, code, out),
            (Some(app), None) => {
                self.app.phase = Phase::Stopping { deadline: now.saturating_add(app.stop_timeout), killed };
                out.push(Action::SignalApp(signal));
            }
        }
    }
}
