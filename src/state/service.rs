//! Our services: told of while their health checks pass and the app runs, and taken out of the catalog when they are to be
//! found no longer: at the end, in maintenance, and when the app is gone. It decides when the catalog is told what; how
//! that is done and tried again is the keeper's.

use super::{Action, State, Voice, say};
use crate::catalog::Word;
use crate::plan::{Level, Millis};

/// One service.
#[derive(Clone, Default)]
pub struct Service {
    /// Its last check passed.
    pub is_passing: bool,
    /// The catalog was told, and not that it is gone.
    pub is_told: bool,
    /// It is being taken out.
    pub is_leaving: bool,
    /// The failure of its check that was said last.
    said: Option<String>,
}

/// The keeper gives up a deregistration after 8 seconds; nobody waits much longer for its word.
const LEAVING: Millis = 8_500;

/// What is said of a service that has left, or, where that is not sure, may have.
pub fn left(id: &str, is_sure: bool) -> (Level, String) {
    let (level, how) =
        if is_sure { (Level::Info, " is deregistered") } else { (Level::Warning, " may still be in the catalog") };
    (level, [id, how].concat())
}

impl State {
    /// What came of a health check: `Err` says why it failed.
    #[inline(never)]
    pub(super) fn on_health(&mut self, i: usize, how: Result<(), String>, out: &mut Vec<Action>) {
        let plan = self.plan.clone();
        let (Some(s), Some(p)) = (self.services.get_mut(i), plan.services.get(i)) else { return };
        match how {
            Ok(()) => {
                if !std::mem::replace(&mut s.is_passing, true) {
                    say(out, Level::Info, Voice::Supervisor, format_args!("service {} is well", p.id));
                }
                s.said = None;
                s.is_told = true;
                out.push(Action::Pass(i));
            }
            // Nothing is sent: the catalog finds out when the time to live is over, and one bad check is no end.
            Err(why) => {
                let is_new = std::mem::replace(&mut s.is_passing, false) || s.said.as_ref() != Some(&why);
                let level = if is_new { Level::Warning } else { Level::Debug };
                say(out, level, Voice::Supervisor, format_args!("service {} is not well: {why}", p.id));
                s.said = Some(why);
            }
        }
    }

    #[inline(never)]
    pub(super) fn on_word(&mut self, i: usize, word: Word, out: &mut Vec<Action>) {
        let plan = self.plan.clone();
        let (Some(s), Some(p)) = (self.services.get_mut(i), plan.services.get(i)) else { return };
        let (level, text) = match word {
            Word::Registered => (Level::Info, [&p.id, " is registered"].concat()),
            Word::Left(is_sure) => {
                s.is_leaving = false;
                left(&p.id, is_sure)
            }
            Word::Failed(why) => (Level::Error, why),
            Word::Recovered => (Level::Info, ["the catalog takes news of ", &p.id, " again"].concat()),
        };
        out.push(Action::Log(level, Voice::Supervisor, text));
    }

    /// Has all services taken out of the catalog.
    pub(super) fn leave_all(&mut self, now: Millis, out: &mut Vec<Action>) {
        for (i, s) in self.services.iter_mut().enumerate() {
            s.is_passing = false;
            if std::mem::take(&mut s.is_told) {
                s.is_leaving = true;
                self.left_by = now.saturating_add(LEAVING);
                out.push(Action::Leave(i));
            }
        }
    }

    /// Whether the catalog is still being told that a service is gone, and may yet be.
    pub(super) fn is_leaving(&self, now: Millis) -> bool {
        self.left_by > now && self.services.iter().any(|s| s.is_leaving)
    }

    /// Takes all services out, or lets them come back with their next check; what is run again and again rests in between.
    #[inline(never)]
    pub(super) fn on_maintenance(&mut self, now: Millis, is_on: bool, out: &mut Vec<Action>) {
        if self.is_maintained == is_on || self.is_ending() {
            return;
        }
        self.is_maintained = is_on;
        let text = if is_on { "maintenance begins: services are deregistered" } else { "maintenance is over" };
        say(out, Level::Info, Voice::Supervisor, format_args!("{text}"));
        if is_on {
            self.leave_all(now, out);
        } else {
            self.set_out(now);
        }
    }
}
