//! How things are, for those who ask from outside: what was counted, when it was done last, and why we are not ready. It
//! decides what counts as ready, and changes nothing.

use super::app::Phase;
use super::{Millis, State};
use crate::plan::SourceKind;

/// What is counted.
#[derive(Clone, Copy)]
pub enum Count {
    /// Keys came.
    Syncs,
    /// A file or folder was rendered.
    Renders,
    /// It could not be rendered or staged.
    RenderFailures,
    /// A check refused it.
    CheckFailures,
    /// It was put in place.
    Updates,
    /// Somebody was told of new files.
    Reloads,
    /// That failed.
    ReloadFailures,
    /// What was there before was put back.
    Rollbacks,
    /// The app was started.
    Starts,
}

/// How many there are.
pub const COUNTS: usize = 9;

/// What is remembered for this.
#[derive(Clone, Default)]
pub struct Tally {
    /// By `Count`.
    pub counts: [u64; COUNTS],
    /// When each was counted last.
    pub last: [Option<Millis>; COUNTS],
}

/// A source, as seen from outside.
pub struct SourceFact {
    /// Its name for people.
    pub name: String,
    /// No watch of it is in trouble, and each has had its keys.
    pub is_up: bool,
    /// How many keys it gave.
    pub keys: usize,
}

/// How things are.
pub struct Facts {
    /// Why we are not ready, in one line; `None`: we are.
    pub unready: Option<String>,
    /// Why we have not started yet: files are missing.
    pub unstarted: Option<String>,
    /// What was counted.
    pub tally: Tally,
    /// In the order of the plan.
    pub sources: Vec<SourceFact>,
    /// The app runs; `None`: there is none to run.
    pub app_runs: Option<bool>,
    /// The ids of our services, with how each is: `passing`, `failing`, `not registered`, `in maintenance`.
    pub services: Vec<(String, &'static str)>,
    /// The services of others that are watched (`NAME` or `NAME?TAG`), with how many instances each has.
    pub instances: Vec<(String, usize)>,
    /// Our services were taken out of the catalog because somebody asked for it.
    pub is_maintained: bool,
    /// Whose certificates are in use, and when they end, in seconds since 1970. Who asks adds them.
    pub certificates: Vec<(String, i64)>,
}

impl Tally {
    /// Counts one more.
    pub(super) fn count(&mut self, now: Millis, what: Count) {
        let Tally { counts, last } = self;
        if let (Some(n), Some(at)) = (counts.get_mut(what as usize), last.get_mut(what as usize)) {
            *n = n.saturating_add(1);
            *at = Some(now);
        }
    }
}

impl State {
    /// Why not every file was in place once.
    fn unstarted(&self) -> Option<String> {
        match self.app.phase {
            Phase::Waiting => Some(["waiting for the first configuration: ", &self.missing()].concat()),
            Phase::Preparing => Some("pre_start runs".to_string()),
            _ => None,
        }
    }

    /// Why what runs is not what it should be.
    #[inline(never)]
    fn unready(&self, now: Millis) -> Option<String> {
        if let Some(why) = self.unstarted() {
            return Some(why);
        }
        let phase = match self.app.phase {
            Phase::Waiting | Phase::Preparing | Phase::Running => None,
            Phase::Starting | Phase::Restarting { .. } => Some("main program is being started"),
            Phase::Resting { .. } => Some("main program ended and will be started again"),
            _ => Some("stopping"),
        };
        if let Some(why) = phase {
            return Some(why.to_string());
        }
        if let Some(why) = self.plan.broken.first().or(self.templates.iter().find_map(|t| t.flaws.first())) {
            return Some(why.clone());
        }
        for (g, group) in self.groups.iter().enumerate() {
            if group.is_failing {
                let mut both = self.templates.iter().zip(&self.plan.templates);
                let said = both.find_map(|(t, p)| t.said.clone().filter(|_| p.group == g));
                return said.or_else(|| Some("the newest content was refused and rolled back".to_string()));
            }
        }
        if self.reload_is_failing() {
            return self.failed_reloads().next().map(str::to_string);
        }
        let most = self.plan.max_outage.unwrap_or(Millis::MAX);
        let is_long = |since: &Millis| now.saturating_sub(*since) > most;
        self.watches
            .iter()
            .find_map(|w| w.trouble.clone().filter(|(since, _)| w.is_missing || is_long(since)))
            .map(|t| t.1)
    }

    /// How things are.
    #[inline(never)]
    pub fn facts(&self, now: Millis) -> Facts {
        let mut sources = Vec::new();
        for (i, source) in self.plan.sources.iter().enumerate() {
            let mut fact = SourceFact { name: source.name.clone(), is_up: true, keys: 0 };
            for (w, _) in self.watches.iter().zip(&self.plan.watches).filter(|(_, p)| p.source == i) {
                fact.is_up &= w.snapshot.is_some() && w.trouble.is_none();
                fact.keys += w.snapshot.as_ref().map_or(0, |s| s.len());
            }
            sources.push(fact);
        }
        let mut services = Vec::new();
        for (s, p) in self.services.iter().zip(&self.plan.services) {
            let how = match s {
                _ if self.is_maintained => "in maintenance",
                s if s.is_passing => "passing",
                s if s.is_told => "failing",
                _ => "not registered",
            };
            services.push((p.id.clone(), how));
        }
        let mut instances = Vec::new();
        for (w, p) in self.plan.watches.iter().enumerate() {
            let source = self.plan.sources.get(p.source);
            if source.is_some_and(|s| matches!(s.kind, SourceKind::Services(_))) {
                instances.push((p.prefix.trim_start_matches('/').to_string(), self.instances(w)));
            }
        }
        let line = |why: String| why.lines().next().unwrap_or("").to_string();
        Facts {
            unready: self.unready(now).map(line),
            unstarted: self.unstarted().map(line),
            tally: self.tally.clone(),
            sources,
            app_runs: self.plan.app.as_ref().map(|_| matches!(self.app.phase, Phase::Running)),
            services,
            instances,
            is_maintained: self.is_maintained,
            certificates: Vec::new(),
        }
    }
}
