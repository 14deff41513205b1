//! The app's life and the end of pilotfish: start when every file is in place, restart where asked, forward
//! signals, stop within the stop time-out, sweep what the app left behind, and give its exit code.
//!
//! | phase | the app | ends by |
//! |---|---|---|
//! | Waiting | not started: files, or what it needs, are missing | the first render of everything |
//! | Preparing | not started: `pre_start` runs | its end |
//! | Starting | being started | the driver's answer |
//! | Running | runs | its end, a stop, a restart |
//! | Restarting | was asked to stop, to be started again | its end, KILL after the stop time-out |
//! | Resting | ended; starts again after a back-off | time |
//! | Parting | runs; the catalog is told, then `pre_stop` runs | its end |
//! | Stopping | was asked to stop for good | its end, KILL after the stop time-out |
//! | Closing | ended; `post_stop` runs | its end |
//! | Sweeping | ended; what it left is being ended | no child left, KILL, a last deadline |
//! | Lingering | ended; the catalog is still being told | its answer, a last deadline |
//! | Ended | - | - |

use super::facts::Count;
use super::{Action, Hook, State, Voice, say, span};
use crate::backoff::Backoff;
use crate::plan::{Level, Millis, Restart};
use crate::sys::process::Ended;

/// The app's part of the state.
#[derive(Default)]
pub struct App {
    pub(super) phase: Phase,
    /// When it was started last; with 0 it never was.
    since: Millis,
    /// It was started, or, where there is none, its time has come.
    was_up: bool,
    backoff: Backoff,
    said_waiting: bool,
}

#[derive(Default)]
pub(super) enum Phase {
    #[default]
    Waiting,
    Preparing,
    Starting,
    Running,
    Restarting {
        deadline: Millis,
        killed: bool,
    },
    Resting {
        until: Millis,
    },
    Parting {
        /// What will ask the app to stop.
        signal: i32,
        /// The catalog has until then to hear of it.
        until: Millis,
        /// The app has been killed already.
        killed: bool,
        /// `pre_stop` has begun, or there is none.
        is_hooked: bool,
        /// The app ended by itself meanwhile.
        ended: Option<i32>,
    },
    Stopping {
        deadline: Millis,
        killed: bool,
    },
    Closing {
        code: i32,
    },
    Sweeping {
        deadline: Millis,
        killed: bool,
        code: i32,
    },
    Lingering {
        code: i32,
    },
    Ended,
}

const HUP: i32 = 1;
const TERM: i32 = 15;
const KILL: i32 = 9;
const INT: i32 = 2;
const QUIT: i32 = 3;
const USR1: i32 = 10;
const CHLD: i32 = 17;
const TSTP: i32 = 20;
const TTIN: i32 = 21;
const TTOU: i32 = 22;
const XCPU: i32 = 24;
const XFSZ: i32 = 25;

/// What the app leaves behind has this long between TERM and KILL.
const SWEEP: Millis = 1_000;
/// After KILL, the kernel has this long to hand over the last of them.
const LAST: Millis = 500;
/// An app that ran this long before it ended is not in a crash loop.
const SETTLED: Millis = 10_000;
/// Say what we wait for when the first render takes longer than this.
const PATIENCE: Millis = 1_000;

#[cfg(test)]
impl App {
    /// As if the wait had been said already.
    pub(super) fn said_waiting_for_tests(&mut self) {
        self.said_waiting = true;
    }
}

impl State {
    /// Whether pilotfish is on its way out: no new work begins.
    pub fn is_ending(&self) -> bool {
        use Phase::{Closing, Ended, Lingering, Parting, Stopping, Sweeping};
        let phase = &self.app.phase;
        matches!(phase, Parting { .. } | Stopping { .. } | Closing { .. } | Sweeping { .. } | Lingering { .. } | Ended)
    }

    pub(super) fn app_runs(&self) -> bool {
        matches!(self.app.phase, Phase::Running | Phase::Starting)
    }

    /// How long the app has run.
    pub(super) fn app_age(&self, now: Millis) -> Millis {
        now.saturating_sub(self.app.since)
    }

    pub(super) fn app_deadline(&self) -> Option<Millis> {
        match &self.app.phase {
            Phase::Waiting => {
                let done = self.groups.iter().all(|g| g.is_done) && self.awaited().is_none();
                let give_up = self.plan.start_timeout.filter(|_| !done).map(|t| self.started.saturating_add(t));
                let say = (!self.app.said_waiting).then(|| self.started.saturating_add(PATIENCE));
                give_up.into_iter().chain(say).min()
            }
            Phase::Resting { until } => Some(*until),
            Phase::Restarting { deadline, killed: false }
            | Phase::Stopping { deadline, .. }
            | Phase::Sweeping { deadline, .. } => Some(*deadline),
            Phase::Preparing | Phase::Closing { .. } => self.hook_deadline(),
            Phase::Parting { .. } if self.hook.is_some() => self.hook_deadline(),
            Phase::Parting { until, .. } => Some(*until),
            Phase::Lingering { .. } => Some(self.left_by),
            Phase::Restarting { killed: true, .. } | Phase::Starting | Phase::Running | Phase::Ended => None,
        }
    }

    #[inline(never)]
    pub(super) fn advance_app(&mut self, now: Millis, out: &mut Vec<Action>) {
        match &mut self.app.phase {
            Phase::Waiting => self.advance_waiting(now, out),
            Phase::Preparing | Phase::Closing { .. } => {
                if let Some((_, r)) = &mut self.hook {
                    r.give_up(now, out);
                }
            }
            Phase::Parting { .. } => self.advance_parting(now, out),
            Phase::Lingering { code } => {
                let code = *code;
                self.linger(now, code, out);
            }
            Phase::Resting { until } if *until <= now => self.start_app(out),
            Phase::Restarting { deadline, killed } | Phase::Stopping { deadline, killed }
                if !*killed && *deadline <= now =>
            {
                *killed = true;
                *deadline = now.saturating_add(LAST);
                say(
                    out,
                    Level::Warning,
                    Voice::Supervisor,
                    format_args!("main program did not stop in time: killing it"),
                );
                out.push(Action::SignalGroup(KILL));
            }
            // Not even KILL ended it in time: it hangs in the kernel, or is not ours to signal.
            Phase::Stopping { deadline, killed: true } if *deadline <= now => {
                let deadline = now.saturating_add(LAST);
                self.app.phase = Phase::Sweeping { deadline, killed: true, code: 128 + KILL };
                out.push(Action::SignalRest(KILL));
            }
            Phase::Sweeping { deadline, killed: false, code } if *deadline <= now => {
                let code = *code;
                self.app.phase = Phase::Sweeping { deadline: now.saturating_add(LAST), killed: true, code };
                out.push(Action::SignalRest(KILL));
            }
            Phase::Sweeping { deadline, killed: true, code } if *deadline <= now => {
                let code = *code;
                self.linger(now, code, out);
            }
            Phase::Resting { .. }
            | Phase::Restarting { .. }
            | Phase::Stopping { .. }
            | Phase::Sweeping { .. }
            | Phase::Starting
            | Phase::Running
            | Phase::Ended => {}
        }
    }

    #[inline(never)]
    fn advance_waiting(&mut self, now: Millis, out: &mut Vec<Action>) {
        let done = self.groups.iter().all(|g| g.is_done) && (self.plan.once || self.awaited().is_none());
        if self.plan.once {
            let tried = self.groups.iter().all(|g| (g.is_done || g.is_failing) && g.is_idle());
            if tried && self.reloads_are_tried() {
                let failed = !done
                    || !self.plan.broken.is_empty()
                    || self.reload_is_failing()
                    || self.groups.iter().any(|g| g.is_failing);
                if let (true, Some(why)) = (failed && self.plan.is_lenient, self.last_failure()) {
                    out.push(Action::Log(Level::Fatal, Voice::Confd, why.to_string()));
                }
                self.finish(now, i32::from(failed), out);
                return;
            }
        } else if done {
            self.app.phase = Phase::Preparing;
            if !self.run_hook(now, Hook::PreStart, out) {
                self.launch(now, out);
            }
            return;
        }
        if !done && self.plan.start_timeout.is_some_and(|t| self.started.saturating_add(t) <= now) {
            let missing = self.missing();
            let after = span(now.saturating_sub(self.started));
            say(out, Level::Error, Voice::Supervisor, format_args!("giving up after {after}: {missing}"));
            self.finish(now, 69, out);
        } else if !self.app.said_waiting && self.started.saturating_add(PATIENCE) <= now {
            self.app.said_waiting = true;
            // A template that failed has said so, with the key it misses.
            if !self.silent_sources().is_empty() || self.awaited().is_some() {
                let missing = self.missing();
                say(
                    out,
                    Level::Info,
                    Voice::Supervisor,
                    format_args!("waiting for the first configuration: {missing}"),
                );
            }
        }
    }

    /// All that was to be done before is done.
    pub(super) fn launch(&mut self, now: Millis, out: &mut Vec<Action>) {
        self.set_out_coprocesses(now);
        if self.plan.app.is_some() {
            say(out, Level::Info, Voice::Supervisor, format_args!("starting main program now"));
            self.start_app(out);
        } else {
            self.app.phase = Phase::Running; // nothing to run: keeping files in step is all
            self.app.was_up = true;
            self.set_out(now);
        }
    }

    fn start_app(&mut self, out: &mut Vec<Action>) {
        self.app.phase = Phase::Starting;
        out.push(Action::StartApp);
    }

    pub(super) fn on_app_started(&mut self, now: Millis) {
        self.app.since = now;
        self.app.was_up = true;
        self.tally.count(now, Count::Starts);
        self.forget_app_reload();
        if matches!(self.app.phase, Phase::Starting) {
            self.app.phase = Phase::Running;
            self.set_out(now);
        }
    }

    #[inline(never)]
    pub(super) fn on_app_start_failed(&mut self, now: Millis, code: i32, text: &str, out: &mut Vec<Action>) {
        let name = self.plan.app.as_ref().and_then(|a| a.argv.first()).cloned().unwrap_or_default();
        if self.is_ending() {
            return self.finish(now, code.max(1), out);
        }
        let may_pass = code == 0 || self.plan.app.as_ref().is_some_and(|a| a.restart != Restart::Never);
        if may_pass {
            let wait = self.app.backoff.failed(&mut self.random);
            let next = span(wait);
            say(out, Level::Error, Voice::Supervisor, format_args!("cannot run {name}: {text}; next try in {next}"));
            self.app.phase = Phase::Resting { until: now.saturating_add(wait) };
        } else {
            say(out, Level::Error, Voice::Supervisor, format_args!("cannot run {name}: {text}"));
            self.finish(now, code, out);
        }
    }

    /// Asks the app to stop, to be started again.
    pub(super) fn restart_app(&mut self, now: Millis, out: &mut Vec<Action>) {
        let (Some(app), Phase::Running) = (&self.plan.app, &self.app.phase) else { return };
        out.push(Action::SignalApp(app.stop_signal));
        self.leave_all(now, out);
        let Some(app) = &self.plan.app else { return };
        self.app.phase = Phase::Restarting { deadline: now.saturating_add(app.stop_timeout), killed: false };
    }

    #[inline(never)]
    pub(super) fn on_app_ended(&mut self, now: Millis, ended: Ended, out: &mut Vec<Action>) {
        match self.app.phase {
            Phase::Running | Phase::Starting => {}
            Phase::Restarting { .. } => {
                out.push(Action::SignalGroup(TERM)); // what it left would hold its ports
                self.start_app(out);
                return;
            }
            Phase::Parting { ended: ref mut at, .. } => {
                say(out, Level::Info, Voice::Supervisor, format_args!("main program ended: {}", words(ended)));
                *at = Some(ended.code());
                return;
            }
            Phase::Stopping { .. } => {
                say(out, Level::Info, Voice::Supervisor, format_args!("main program ended: {}", words(ended)));
                self.finish(now, ended.code(), out);
                return;
            }
            _ => return,
        }
        self.forget_app_reload();
        self.leave_all(now, out);
        let restart = self.plan.app.as_ref().map_or(Restart::Never, |a| a.restart);
        let how = words(ended);
        if self.roll_back(now, &["main program ended (", &how, ")"].concat(), out) {
            self.start_app(out);
            return;
        }
        let again = match restart {
            Restart::Never => false,
            Restart::OnFailure => ended != Ended::Exit(0),
            Restart::Always => true,
        };
        if !again {
            say(out, Level::Info, Voice::Supervisor, format_args!("main program ended: {how}"));
            self.finish(now, ended.code(), out);
            return;
        }
        if self.app_age(now) >= SETTLED {
            self.app.backoff.succeeded();
        }
        let wait = self.app.backoff.failed(&mut self.random);
        let next = span(wait);
        let level = Level::Warning;
        say(out, level, Voice::Supervisor, format_args!("main program ended: {how}; starting it again in {next}"));
        self.app.phase = Phase::Resting { until: now.saturating_add(wait) };
    }

    pub(super) fn on_app_stopped(&mut self, signal: i32, out: &mut Vec<Action>) {
        // SIGSTOP was sent on purpose by somebody; the others come from the terminal.
        if matches!(signal, TSTP | TTIN | TTOU) && matches!(self.app.phase, Phase::Running) {
            out.push(Action::Suspend);
        }
    }

    #[inline(never)]
    pub(super) fn on_signal(&mut self, now: Millis, n: i32, out: &mut Vec<Action>) {
        match n {
            // CHLD is the driver's; a stop from the terminal is no business of a supervisor; XCPU and XFSZ are our
            // own limits, not the app's.
            CHLD | TTIN | TTOU | XCPU | XFSZ => {}
            TERM | INT => self.on_stop(now, n, out),
            HUP if self.plan.rereads => out.push(Action::Reread),
            USR1 if self.plan.toggles_debug => out.push(Action::ToggleDebug),
            USR1 if self.plan.toggles_maintenance => self.on_maintenance(now, !self.is_maintained, out),
            QUIT if self.plan.app.is_none() || !self.has_process() => self.on_stop(now, n, out),
            _ => {
                if self.has_process() {
                    out.push(Action::SignalApp(n));
                }
            }
        }
    }

    /// Whether there is a process of the app that a signal can go to.
    fn has_process(&self) -> bool {
        self.plan.app.is_some()
            && matches!(
                self.app.phase,
                Phase::Starting
                    | Phase::Running
                    | Phase::Restarting { .. }
                    | Phase::Parting { ended: None, .. }
                    | Phase::Stopping { .. }
            )
    }

    #[inline(never)]
    fn on_stop(&mut self, now: Millis, n: i32, out: &mut Vec<Action>) {
        let app = self.plan.app.as_ref();
        // Where maintenance has its signal, as in ContainerPilot, INT means TERM.
        let signal = app.filter(|_| n == TERM || self.plan.toggles_maintenance).map_or(n, |app| app.stop_signal);
        match self.app.phase {
            Phase::Running | Phase::Starting | Phase::Restarting { .. } => self.part(now, signal, out),
            Phase::Parting { .. } | Phase::Closing { .. } => self.hurry_hook(out),
            Phase::Stopping { .. } => out.push(Action::SignalApp(signal)), // again: harmless, and some apps hurry
            // A daemon that was asked to end did its job; one run that was cut off did not.
            Phase::Waiting | Phase::Preparing | Phase::Resting { .. } => {
                let code = if app.is_some() || self.plan.once { 128 + n } else { 0 };
                self.finish(now, code, out);
            }
            Phase::Sweeping { .. } | Phase::Lingering { .. } | Phase::Ended => {}
        }
    }

    /// The app is gone: nobody is to look for it, its last hook runs, and then `code` ends it all.
    pub(super) fn finish(&mut self, now: Millis, code: i32, out: &mut Vec<Action>) {
        use Phase::{Closing, Ended, Lingering, Sweeping};
        if matches!(self.app.phase, Closing { .. } | Sweeping { .. } | Lingering { .. } | Ended) {
            return;
        }
        self.leave_all(now, out);
        // One that hangs is not waited for: its group is swept with the rest.
        self.hook = None;
        self.app.phase = Closing { code };
        if !(self.app.was_up && self.run_hook(now, Hook::PostStop, out)) {
            self.sweep(now, code, out);
        }
    }

    /// Ends what is left of processes.
    pub(super) fn sweep(&mut self, now: Millis, code: i32, out: &mut Vec<Action>) {
        self.app.phase = Phase::Sweeping { deadline: now.saturating_add(SWEEP), killed: false, code };
        out.push(Action::SignalRest(TERM));
    }

    /// No process is left: ends when the catalog has heard it, too.
    #[inline(never)]
    fn linger(&mut self, now: Millis, code: i32, out: &mut Vec<Action>) {
        if self.is_leaving(now) {
            self.app.phase = Phase::Lingering { code };
            return;
        }
        self.app.phase = Phase::Ended;
        out.push(Action::Exit(code));
    }

    #[inline(never)]
    pub(super) fn on_childless(&mut self, now: Millis, out: &mut Vec<Action>) {
        if let Phase::Sweeping { code, .. } = self.app.phase {
            self.linger(now, code, out);
        }
    }

    /// Whether another state may take over: nothing is under way that only this one knows.
    pub fn may_hand_over(&self) -> bool {
        let is_steady = matches!(self.app.phase, Phase::Waiting | Phase::Running | Phase::Resting { .. });
        is_steady && self.groups_rest() && self.reloads_rest()
    }

    /// Takes over the app as it is.
    pub(super) fn resume_app(&mut self, now: Millis, before: &mut State) {
        self.app = std::mem::take(&mut before.app);
        if self.plan.app.is_some() && before.plan.app.is_none() {
            self.app.phase = Phase::Waiting; // there is one to start now
        }
        // It may not have been told of its newest files.
        if before.reloads.last().is_some_and(|r| !r.is_done()) {
            self.want_app_reload(now);
        }
    }

    /// Whether the app, or what stands in its place, was started before this state was.
    pub(super) fn is_resumed(&self) -> bool {
        !matches!(self.app.phase, Phase::Waiting)
    }
}

/// How a process ended, in words.
fn words(ended: Ended) -> String {
    match ended {
        Ended::Exit(n) => format!("exit status {n}"),
        Ended::Signal(n) | Ended::Stopped(n) => format!("signal {n}"),
    }
}
