//! Render, check, commit: what turns changed keys into changed files. The templates of a group are applied all
//! or none. A change that comes while one is on its way is remembered and applied after it; two applies are
//! at least `pace.gap` apart. A failure leaves the last good files and is said when it changes.

use super::facts::Count;
use super::{Action, Committed, Job, Outcome, Rendered, State, Voice, say};
use crate::backoff::Backoff;
use crate::error::{Error, Kind};
use crate::plan::{Level, Millis};
use crate::store::Reads;
use crate::sys::process::Ended;

/// One template.
#[derive(Default)]
pub struct Template {
    /// Its content may differ from its file: render it at the next attempt.
    pub needed: bool,
    /// Its render is under way: what it reads is not known yet.
    pub rendering: bool,
    /// What its last render looked at.
    pub reads: Reads,
    /// The failure that was said last.
    pub said: Option<String>,
    /// New content is staged.
    staged: bool,
    /// Its check or the disk refused this content: it is not announced again at each try.
    pub refused: bool,
    /// That it is written in place was said.
    said_in_place: bool,
    /// Keys that make no file, and why.
    pub flaws: Vec<String>,
}

/// One group.
#[derive(Default)]
pub struct Group {
    phase: Phase,
    /// Since when there are changes that no attempt has taken up, and when the last one came.
    pending: Option<(Millis, Millis)>,
    last_attempt: Option<Millis>,
    /// A failure that may pass by itself is tried again then.
    retry: Option<Millis>,
    backoff: Backoff,
    /// The files that can be rolled back of what the app was told last, and until when it may show that it does not
    /// bear them.
    probation: Vec<(usize, Millis)>,
    /// All its files were in place once.
    pub is_done: bool,
    /// Its last attempt failed.
    pub is_failing: bool,
    /// Its first attempt is over, well or not.
    tried: bool,
    /// Some of its files are new, others failed to be: the app is told when all are in place.
    untold: bool,
}

#[derive(Default)]
enum Phase {
    #[default]
    Idle,
    Rendering,
    Checking {
        left: Vec<Check>,
        failed: bool,
    },
    Committing,
}

struct Check {
    id: u32,
    template: usize,
    deadline: Millis,
    killed: bool,
}

impl Group {
    /// `untold`: the app is to be told of its files even when they are as they should be.
    pub fn new(untold: bool) -> Group {
        Group { untold, ..Group::default() }
    }

    /// Something its templates depend on changed.
    pub fn changed(&mut self, now: Millis) {
        let first = self.pending.map_or(now, |(first, _)| first);
        self.pending = Some((first, now));
        self.retry = None;
    }

    /// There will be no attempt: what it needs cannot be had.
    pub fn give_up(&mut self) {
        self.pending = None;
        self.retry = None;
        self.is_failing = true;
        self.tried = true;
    }

    /// Whether nothing is under way or waiting.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle) && self.pending.is_none()
    }
}

impl State {
    /// Whether no group is being applied, or is about to be.
    pub(super) fn files_are_settled(&self) -> bool {
        let is_settled = |(g, group): (usize, &Group)| {
            matches!(group.phase, Phase::Idle) && !(group.pending.is_some() && self.is_ready(g))
        };
        self.groups.iter().enumerate().all(is_settled)
    }

    /// Whether no group is being applied.
    pub(super) fn groups_rest(&self) -> bool {
        self.groups.iter().all(|g| matches!(g.phase, Phase::Idle))
    }

    /// When the group's next attempt may begin; `None`: there is no reason for one.
    fn attempt_time(&self, group: &Group) -> Option<Millis> {
        if !matches!(group.phase, Phase::Idle) {
            return None;
        }
        let pace = &self.plan.pace;
        let mut at = match (group.pending, group.retry) {
            (Some((first, last)), _) if group.is_done && pace.quiet > 0 => {
                last.saturating_add(pace.quiet).min(first.saturating_add(pace.max.max(pace.quiet)))
            }
            (Some((first, _)), _) => first,
            (None, Some(retry)) => retry,
            (None, None) => return None,
        };
        if let Some(last) = group.last_attempt {
            at = at.max(last.saturating_add(pace.gap));
        }
        Some(at)
    }

    fn is_ready(&self, group: usize) -> bool {
        let inputs = || self.plan.templates.iter().filter(|t| t.group == group).flat_map(|t| &t.inputs);
        let has_keys = inputs().all(|i| self.snapshot(i.watch).is_some());
        let is_new = self.groups.get(group).is_some_and(|g| !g.tried);
        has_keys && !(self.plan.in_turn && is_new && (0..group).any(|before| self.is_in_front(before)))
    }

    /// Whether a group has not had its first turn. Who waits for a source in trouble, or for a reload that failed, lets
    /// the others pass.
    fn is_in_front(&self, group: usize) -> bool {
        let mut mine = self.plan.templates.iter().enumerate().filter(|(_, t)| t.group == group);
        if self.groups.get(group).is_some_and(|g| g.tried) {
            return mine.any(|(t, _)| self.reload_is_in_front(t));
        }
        let mut inputs = mine.flat_map(|(_, t)| &t.inputs).filter_map(|i| self.watches.get(i.watch));
        !inputs.any(|w| w.snapshot.is_none() && w.trouble.is_some())
    }

    pub(super) fn group_deadline(&self) -> Option<Millis> {
        if self.is_ending() {
            return None;
        }
        let mut earliest: Option<Millis> = None;
        for (g, group) in self.groups.iter().enumerate() {
            let at = match &group.phase {
                Phase::Idle if !self.is_handing_over && self.is_ready(g) => self.attempt_time(group),
                Phase::Checking { left, .. } => left.iter().filter(|c| !c.killed).map(|c| c.deadline).min(),
                Phase::Idle | Phase::Rendering | Phase::Committing => None,
            };
            earliest = earliest.into_iter().chain(at).min();
        }
        earliest
    }

    #[inline(never)]
    pub(super) fn advance_groups(&mut self, now: Millis, out: &mut Vec<Action>) {
        if self.is_ending() {
            return;
        }
        for g in 0..self.groups.len() {
            let due = self.groups.get(g).is_some_and(|group| self.attempt_time(group).is_some_and(|at| at <= now));
            let ready = due && !self.is_handing_over && self.is_ready(g);
            let Some(group) = self.groups.get_mut(g) else { continue };
            if let Phase::Checking { left, .. } = &mut group.phase {
                for check in left.iter_mut().filter(|c| !c.killed && c.deadline <= now) {
                    check.killed = true;
                    out.push(Action::KillCommand(check.id));
                }
            }
            if !ready {
                continue;
            }
            group.pending = None;
            group.retry = None;
            group.last_attempt = Some(now);
            let mut templates = Vec::new();
            for (t, (state, plan)) in self.templates.iter_mut().zip(&self.plan.templates).enumerate() {
                if plan.group == g && state.needed {
                    state.needed = false;
                    state.rendering = true;
                    templates.push(t);
                }
            }
            if templates.is_empty() {
                group.is_done = true;
                group.tried = true;
            } else {
                group.phase = Phase::Rendering;
                out.push(Action::Render { group: g, templates });
            }
        }
    }

    #[inline(never)]
    pub(super) fn on_rendered(&mut self, now: Millis, g: usize, results: Vec<Rendered>, out: &mut Vec<Action>) {
        let mut failed = false;
        let mut passing = true; // every failure may pass by itself
        for r in results {
            let is_good = !matches!(r.outcome, Outcome::Failed(_));
            self.tally.count(now, if is_good { Count::Renders } else { Count::RenderFailures });
            let Some(t) = self.templates.get_mut(r.template) else { continue };
            let path = &self.plan.file(r.template);
            t.reads = r.reads;
            t.rendering = false;
            t.staged = false;
            for text in r.refused.iter().filter(|text| !t.flaws.contains(text)) {
                out.push(Action::Log(Level::Error, Voice::Confd, text.clone()));
            }
            t.flaws = r.refused;
            match r.outcome {
                Outcome::Same => {
                    t.said = None;
                    if self.plan.noop {
                        say_noop(out, path);
                    } else {
                        say(out, Level::Debug, Voice::Confd, format_args!("Target config {path} in sync"));
                    }
                }
                Outcome::Staged(reasons) | Outcome::Shown(reasons) => {
                    t.staged = !self.plan.noop;
                    // Not again for each try of content that was refused.
                    let level = if t.refused { Level::Debug } else { Level::Info };
                    for reason in reasons {
                        out.push(Action::Log(level, Voice::Confd, reason));
                    }
                    if self.plan.noop {
                        say_noop(out, path);
                    } else {
                        say(out, level, Voice::Confd, format_args!("Target config {path} out of sync"));
                    }
                }
                // Its user asked for no more than that: the file stays as it is, and nothing has failed.
                Outcome::Failed(e) if e.kind == Kind::MissingKey && self.plan.scopes.get(r.template).is_some() => {
                    if t.said.as_deref() != Some(e.text.as_str()) {
                        say(out, Level::Warning, Voice::Confd, format_args!("{e}: {path} is not changed"));
                        t.said = Some(e.into_text());
                    }
                }
                Outcome::Failed(e) => {
                    failed = true;
                    t.needed = true;
                    passing &= e.kind == Kind::Transient;
                    if t.said.as_deref() != Some(e.text.as_str()) {
                        let waits = e.kind == Kind::MissingKey && !self.plan.once;
                        let level = if waits { Level::Warning } else { Level::Error };
                        let waits = if waits { "waiting: " } else { "" };
                        say(out, level, Voice::Confd, format_args!("{waits}{}", e.text));
                        t.said = Some(e.into_text());
                    }
                }
            }
        }
        if failed || self.is_ending() {
            self.give_up_attempt(now, g, passing, out);
            return;
        }
        let mut checks = Vec::new();
        let mut jobs = Vec::new();
        for t in self.staged(g) {
            if let Some(check) = self.plan.templates.get(t).and_then(|p| p.check.as_ref()) {
                let deadline = now.saturating_add(check.timeout);
                let id = self.new_id();
                checks.push(Check { id, template: t, deadline, killed: false });
                jobs.push(Action::Run { id, job: Job::Check(t) });
            }
        }
        if checks.is_empty() {
            self.commit(now, g, out);
            return;
        }
        if let Some(group) = self.groups.get_mut(g) {
            group.phase = Phase::Checking { left: checks, failed: false };
        }
        out.append(&mut jobs);
    }

    /// True when the command was a check.
    #[inline(never)]
    pub(super) fn on_check_ended(
        &mut self,
        now: Millis,
        id: u32,
        how: &Result<Ended, String>,
        out: &mut Vec<Action>,
    ) -> bool {
        let is_ending = self.is_ending();
        for g in 0..self.groups.len() {
            let Some(Phase::Checking { left, failed }) = self.groups.get_mut(g).map(|g| &mut g.phase) else { continue };
            let Some(at) = left.iter().position(|c| c.id == id) else { continue };
            let check = left.swap_remove(at);
            if let (Some(why), false) = (failure(how, check.killed), is_ending) {
                *failed = true;
                self.tally.count(now, Count::CheckFailures);
                let path = self.plan.file(check.template);
                let text = ["Config check failed: ", &why, ": ", &path, " is not changed"].concat();
                if let Some(t) = self.templates.get_mut(check.template) {
                    t.refused = true;
                    let level = if t.said.as_ref() == Some(&text) { Level::Debug } else { Level::Error };
                    out.push(Action::Log(level, Voice::Confd, text.clone()));
                    t.said = Some(text);
                }
            }
            if left.is_empty() {
                if *failed || is_ending {
                    self.give_up_attempt(now, g, true, out);
                } else {
                    self.commit(now, g, out);
                }
            }
            return true;
        }
        false
    }

    fn staged(&self, g: usize) -> Vec<usize> {
        let both = self.templates.iter().zip(&self.plan.templates).enumerate();
        both.filter(|(_, (t, p))| p.group == g && t.staged).map(|(i, _)| i).collect()
    }

    /// Nothing of this attempt is put in place. Everything staged is rendered again at the next one.
    fn give_up_attempt(&mut self, now: Millis, g: usize, passing: bool, out: &mut Vec<Action>) {
        let staged = self.staged(g);
        for t in &staged {
            if let Some(t) = self.templates.get_mut(*t) {
                t.staged = false;
                t.needed = true;
            }
        }
        if !staged.is_empty() {
            out.push(Action::Discard(staged));
        }
        let Some(group) = self.groups.get_mut(g) else { return };
        group.phase = Phase::Idle;
        group.is_failing = true;
        group.tried = true;
        let wait = group.backoff.failed(&mut self.random);
        group.retry = passing.then(|| now.saturating_add(wait));
        if self.plan.once {
            group.retry = None;
        }
    }

    fn commit(&mut self, now: Millis, g: usize, out: &mut Vec<Action>) {
        let untold = self.app_reload_is_pending();
        let templates = self.staged(g);
        let Some(group) = self.groups.get_mut(g) else { return };
        if templates.is_empty() {
            group.settled();
            self.tell_app(now, g);
            return;
        }
        group.phase = Phase::Committing;
        let mut keep = Vec::new();
        if untold {
            keep.extend(group.probation.iter().filter(|(_, until)| *until > now).map(|(t, _)| *t));
        }
        out.push(Action::Commit { group: g, templates, keep });
    }

    /// All files of the group are in place: the app is to learn of those that changed.
    fn tell_app(&mut self, now: Millis, g: usize) {
        if self.groups.get_mut(g).is_some_and(|group| std::mem::take(&mut group.untold)) {
            self.want_app_reload(now);
        }
    }

    #[inline(never)]
    pub(super) fn on_committed(&mut self, now: Millis, g: usize, results: Vec<Committed>, out: &mut Vec<Action>) {
        let mut failed = false;
        let mut any = false;
        let mut undo = Vec::new();
        for c in results {
            if c.result.is_ok() {
                self.tally.count(now, Count::Updates);
            }
            let (Some(t), Some(plan)) = (self.templates.get_mut(c.template), self.plan.templates.get(c.template))
            else {
                continue;
            };
            let path = self.plan.file(c.template);
            t.staged = false;
            match c.result {
                Ok(in_place) => {
                    any = true;
                    t.said = None;
                    if in_place {
                        let why = " is a mount point: written in place";
                        let level = if t.said_in_place { Level::Debug } else { Level::Info };
                        t.said_in_place = true;
                        say(out, level, Voice::Confd, format_args!("{path}{why}"));
                    }
                    say(out, Level::Info, Voice::Confd, format_args!("Target config {path} has been updated"));
                    if plan.rollback {
                        undo.push(c.template);
                    }
                    if plan.reload.is_some() {
                        self.want_template_reload(now, c.template);
                    }
                }
                Err(e) => {
                    failed = true;
                    t.needed = true;
                    t.refused = true;
                    if t.said.as_ref() != Some(&e.text) {
                        out.push(Action::Log(Level::Error, Voice::Confd, e.text.clone()));
                        t.said = Some(e.into_text());
                    }
                }
            }
        }
        let untold = self.app_reload_is_pending();
        if let Some(group) = self.groups.get_mut(g) {
            group.untold |= any;
        }
        if !failed {
            self.tell_app(now, g);
        }
        let probation = match &self.plan.app {
            Some(app) if self.app_runs() => Some(now.saturating_add(app.probation)),
            None if self.plan.target.is_some() => Some(now.saturating_add(crate::plan::PROBATION)),
            _ => None,
        };
        if let (Some(group), Some(until), false) = (self.groups.get_mut(g), probation, undo.is_empty()) {
            // What the app was told of before, it has borne until now.
            group.probation.retain(|(t, at)| untold && *at > now && !undo.contains(t));
            group.probation.extend(undo.iter().map(|t| (*t, until)));
        }
        if failed {
            self.give_up_attempt(now, g, true, out);
        } else if let Some(group) = self.groups.get_mut(g) {
            group.settled();
        }
    }

    /// The app did not bear its newest files: the previous ones come back, and the new content is not tried again
    /// until the data changes. False when nothing can be rolled back.
    pub(super) fn roll_back(&mut self, now: Millis, why: &str, out: &mut Vec<Action>) -> bool {
        let mut any = false;
        for group in &mut self.groups {
            let mut undo = Vec::new();
            undo.extend(group.probation.drain(..).filter(|(_, until)| *until > now).map(|(t, _)| t));
            if undo.is_empty() {
                continue;
            }
            any = true;
            group.is_failing = true;
            // Which of several files the app did not bear nobody knows: with the next change all are tried again, or
            // what was good among them would be lost.
            for t in undo.iter().filter(|_| undo.len() > 1) {
                if let Some(template) = self.templates.get_mut(*t) {
                    template.needed = true;
                }
            }
            out.push(Action::Restore(undo));
        }
        if any {
            let what = "the previous content is put back, and the new one is not tried again until the data changes";
            say(out, Level::Error, Voice::Supervisor, format_args!("{why} after its files changed: {what}"));
        }
        any
    }

    #[inline(never)]
    pub(super) fn on_restored(
        &mut self,
        now: Millis,
        template: usize,
        result: Result<(), Error>,
        out: &mut Vec<Action>,
    ) {
        let path = self.plan.file(template);
        if result.is_ok() {
            self.tally.count(now, Count::Rollbacks);
        }
        match result {
            Ok(()) => say(out, Level::Warning, Voice::Confd, format_args!("Target config {path} has been rolled back")),
            Err(e) => say(out, Level::Error, Voice::Confd, format_args!("cannot roll {path} back: {e}")),
        }
    }

    /// What keeps the app from starting, in words.
    pub(super) fn missing(&self) -> String {
        let silent = self.silent_sources();
        if !silent.is_empty() {
            // Why the first of them is silent says more than its name.
            let trouble = self.watches.iter().filter(|w| w.snapshot.is_none()).find_map(|w| w.trouble.as_ref());
            return match trouble {
                Some((_, text)) => text.clone(),
                None => format!("no answer from {}", silent.join(", ")),
            };
        }
        if let (Some(name), true) = (self.awaited(), self.groups.iter().all(|g| g.is_done)) {
            return [name, " is not there yet"].concat();
        }
        let mut texts: Vec<&str> = self.templates.iter().filter_map(|t| t.said.as_deref()).collect();
        texts.truncate(3);
        texts.join("; ")
    }

    /// What went wrong last, of all that is wrong.
    pub(super) fn last_failure(&self) -> Option<&str> {
        let sources = self.watches.iter().filter_map(|w| w.trouble.as_ref()).map(|(_, text)| text.as_str());
        let broken = self.plan.broken.iter().map(String::as_str).chain(sources);
        let failed = self.templates.iter().filter(|t| t.needed).filter_map(|t| t.said.as_deref());
        broken.chain(failed).chain(self.failed_reloads()).last()
    }
}

impl Group {
    fn settled(&mut self) {
        self.phase = Phase::Idle;
        self.is_done = true;
        self.tried = true;
        self.is_failing = false;
        self.backoff.succeeded();
    }
}

fn say_noop(out: &mut Vec<Action>, path: &str) {
    say(out, Level::Warning, Voice::Confd, format_args!("Noop mode enabled. {path} will not be modified"));
}

/// Why a command counts as failed, in words; `None` when it succeeded.
pub(super) fn failure(how: &Result<Ended, String>, killed: bool) -> Option<String> {
    match how {
        _ if killed => Some("timed out".to_string()),
        Ok(Ended::Exit(0)) => None,
        Ok(Ended::Exit(n)) => Some(format!("exit status {n}")),
        Ok(Ended::Signal(n) | Ended::Stopped(n)) => Some(format!("ended by signal {n}")),
        Err(text) => Some(text.clone()),
    }
}
