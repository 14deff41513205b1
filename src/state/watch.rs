//! What the sources said: the keys each watch holds, and whether it is in trouble. Trouble is said once when it
//! begins and once when it ends; of files also when its reason changes, as each is somebody's to mend. Last good keys are never dropped here.

use std::sync::Arc;

use super::facts::Count;
use super::{Action, State, Voice, say, span};
use crate::plan::{Level, Millis, SourceKind};
use crate::store::Snapshot;

/// One watch.
#[derive(Default)]
pub struct Watch {
    /// The last good keys; `None` until the first answer.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Since when it fails, and how.
    pub trouble: Option<(Millis, String)>,
    /// It works, but what it is asked for is not there.
    pub is_missing: bool,
    /// The source says there is nothing where there was something, and we kept what we had.
    emptied: bool,
}

impl State {
    #[inline(never)]
    pub(super) fn on_data(&mut self, now: Millis, watch: usize, new: Arc<Snapshot>, out: &mut Vec<Action>) {
        self.on_recovered(now, watch, out);
        self.tally.count(now, Count::Syncs);
        let plan = self.plan.clone();
        let (Some(w), Some(p)) = (self.watches.get_mut(watch), plan.watches.get(watch)) else { return };
        let source = plan.sources.get(p.source);
        let had_keys = w.snapshot.as_ref().is_some_and(|s| !s.is_empty());
        if new.is_empty() && had_keys && !source.is_some_and(|s| s.allow_empty) {
            // An access rule lost looks just like this (Consul answers 404 or an empty list).
            if !w.emptied {
                w.emptied = true;
                let name = source.map_or("", |s| s.name.as_str());
                let why = " are gone: keeping the last good ones (allow_empty lets them go)";
                say(out, Level::Warning, Voice::Confd, format_args!("all keys under {} of {name}{why}", p.prefix));
            }
            return;
        }
        if std::mem::take(&mut w.emptied) {
            let name = source.map_or("", |s| s.name.as_str());
            say(out, Level::Info, Voice::Confd, format_args!("the keys under {} of {name} are back", p.prefix));
        }
        let old = w.snapshot.replace(new.clone());
        let changed = old.as_ref().map(|old| old.changed(&new));
        self.look_at_instances(watch);
        for (t, template) in self.templates.iter_mut().zip(&plan.templates) {
            let touched = template.inputs.iter().filter(|i| i.watch == watch).any(|input| match &changed {
                None => true,
                Some(keys) => keys
                    .iter()
                    .any(|key| key.starts_with(&input.prefix) && (t.rendering || t.reads.touches(&input.seen(key)))),
            });
            if touched {
                t.needed = true;
                t.refused = false;
                if let Some(g) = self.groups.get_mut(template.group) {
                    g.changed(now);
                }
            }
        }
    }

    #[inline(never)]
    pub(super) fn on_trouble(&mut self, now: Millis, watch: usize, text: String, retry: Millis, out: &mut Vec<Action>) {
        let Some(w) = self.watches.get_mut(watch) else { return };
        let source = self.plan.watches.get(watch).and_then(|w| self.plan.sources.get(w.source));
        let is_local = source.is_some_and(|s| matches!(s.kind, SourceKind::Dir(_) | SourceKind::Files { .. }));
        let was_missing = std::mem::replace(&mut w.is_missing, retry == 0);
        let is_other = |said: &str| w.is_missing != was_missing || (is_local && said != text);
        let is_news = w.trouble.as_ref().is_none_or(|(_, said)| is_other(said));
        let level = match (is_news, retry) {
            (false, _) => Level::Debug,
            (true, 0) => Level::Warning,
            (true, _) => Level::Error,
        };
        let next = if self.plan.once || retry == 0 { String::new() } else { ["; next try in ", &span(retry)].concat() };
        say(out, level, Voice::Confd, format_args!("{text}{next}"));
        let since = w.trouble.take().map_or(now, |(since, _)| since);
        w.trouble = Some((since, text));
        if self.plan.once && w.snapshot.is_none() {
            // Those that need it have had their try; the others go on.
            for (i, group) in self.groups.iter_mut().enumerate() {
                let mut inputs = self.plan.templates.iter().filter(|t| t.group == i).flat_map(|t| &t.inputs);
                if inputs.any(|input| input.watch == watch) {
                    group.give_up();
                }
            }
        }
    }

    #[inline(never)]
    pub(super) fn on_recovered(&mut self, now: Millis, watch: usize, out: &mut Vec<Action>) {
        let Some((since, _)) = self.watches.get_mut(watch).and_then(|w| w.trouble.take()) else { return };
        if let Some(w) = self.watches.get_mut(watch) {
            w.is_missing = false;
        }
        let source = self.plan.watches.get(watch).and_then(|w| self.plan.sources.get(w.source));
        let name = source.map_or("", |s| s.name.as_str());
        let after = span(now.saturating_sub(since));
        say(out, Level::Info, Voice::Confd, format_args!("{name} answers again after {after}"));
    }

    /// The sources that have not given their keys yet, for messages.
    pub(super) fn silent_sources(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for (w, p) in self.watches.iter().zip(&self.plan.watches) {
            if let (None, Some(source)) = (&w.snapshot, self.plan.sources.get(p.source))
                && !names.contains(&source.name.as_str())
            {
                names.push(&source.name);
            }
        }
        names
    }
}
