//! The driver's way with files: what is rendered, staged, put in place and put back, as the state says.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Driver, MAX_RENDER, RENDER_STACK};
use crate::dest::set::Set;
use crate::dest::{self, tree};
use crate::diff;
use crate::error::{Error, Kind, Result};
use crate::plan::{self, Level};
use crate::source::Render;
use crate::state::{Committed, Event, Outcome, Rendered, Voice};
use crate::store::{Reads, Snapshot, View};
use crate::sys::pipe::write_patiently;
use crate::sys::thread;
use crate::template::{Context, Template};

/// New content on its way to its place.
pub(super) enum Staged {
    File(dest::Staged),
    Tree(tree::Staged),
}

impl Staged {
    pub(super) fn path(&mut self) -> Result<PathBuf> {
        match self {
            Staged::File(file) => file.path().map(PathBuf::from),
            Staged::Tree(tree) => Ok(tree.path()),
        }
    }

    pub(super) fn keep(self) -> Option<PathBuf> {
        match self {
            Staged::File(file) => file.keep(),
            Staged::Tree(_) => None,
        }
    }
}

/// What was in place before.
pub(super) enum Saved {
    File(dest::Saved),
    Tree(Set),
}

impl Driver<'_> {
    pub(super) fn take_staged(&mut self, t: usize) -> Option<Staged> {
        self.staged.get_mut(t).and_then(Option::take)
    }

    /// Renders a group here, or on a thread of its own when a template looks up names: the loop waits for no
    /// name server.
    #[inline(never)]
    pub(super) fn render(&mut self, group: usize, templates: &[usize]) {
        let plans = &self.plan.templates;
        let blocks = templates.iter().filter_map(|t| plans.get(*t)).any(|p| p.text.contains("lookup"));
        let views: Vec<(usize, Arc<Snapshot>)> =
            templates.iter().filter_map(|t| Some((*t, self.visible(plans.get(*t)?)))).collect();
        let compiled = self.templates.clone();
        if !blocks {
            self.stage_all(group, render_all(plans, &compiled, &views));
            return;
        }
        let post = self.post.clone();
        let plan = self.plan.clone();
        let work = Box::new(move || post.put_renders(group, render_all(&plan.templates, &compiled, &views)));
        if let Err(e) = thread::start(RENDER_STACK, work) {
            let error = Error::io("start a thread for a render", &e);
            let fail = |t: &usize| Render { template: *t, reads: Reads::default(), content: Err(error.clone()) };
            self.stage_all(group, templates.iter().map(fail).collect());
        }
    }

    #[inline(never)]
    pub(super) fn stage_all(&mut self, group: usize, renders: Vec<Render>) {
        let mut results = Vec::new();
        for r in renders {
            let mut refused = Vec::new();
            let staged = r.content.and_then(|content| self.stage(r.template, &content, &mut refused));
            let outcome = staged.unwrap_or_else(Outcome::Failed);
            results.push(Rendered { template: r.template, reads: r.reads, refused, outcome });
        }
        self.events.push_back(Event::Rendered { group, results });
    }

    #[inline(never)]
    fn stage(&mut self, t: usize, content: &[u8], refused: &mut Vec<String>) -> Result<Outcome> {
        let Some(plan) = self.plan.templates.get(t) else { return Err(Error::fatal("no such template")) };
        if let Some(tree) = &plan.tree {
            let set = self.set(plan, tree)?;
            let staged = tree::stage(&plan.dest, tree, &set, plan.check.is_some())?;
            *refused = set.refused;
            return Ok(match (staged, self.staged.get_mut(t)) {
                (Some((staged, reason)), Some(slot)) => {
                    *slot = Some(Staged::Tree(staged));
                    Outcome::Staged(vec![reason])
                }
                _ => Outcome::Same,
            });
        }
        match dest::compare(&plan.dest, content)? {
            dest::Compared::Same => {
                self.keep_stage(plan, content)?;
                Ok(Outcome::Same)
            }
            dest::Compared::Differs(reasons) if self.plan.noop => {
                self.keep_stage(plan, content)?;
                let old = std::fs::read(&plan.dest.path).unwrap_or_default();
                let path = plan.dest.path.to_string_lossy();
                let diff = diff::unified(&old, content, &path, &path);
                if write_patiently(1, diff.as_bytes(), 2_000).is_err() {
                    self.logger.line(Level::Warning, Voice::Confd, "the diff could not be written: nobody reads it");
                }
                Ok(Outcome::Shown(reasons))
            }
            dest::Compared::Differs(reasons) => {
                let staged = dest::stage(&plan.dest, content)?;
                if let Some(slot) = self.staged.get_mut(t) {
                    *slot = Some(Staged::File(staged));
                }
                Ok(Outcome::Staged(reasons))
            }
        }
    }

    /// Content that is not put in place is left where its user can look at it, if he asked.
    fn keep_stage(&self, plan: &plan::Template, content: &[u8]) -> Result<()> {
        if self.plan.keep_stage
            && let Some(path) = dest::stage(&plan.dest, content)?.keep()
        {
            self.say_kept(&path);
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn say_kept(&self, path: &std::path::Path) {
        self.logger.line(Level::Info, Voice::Confd, &["Keeping staged file: ", &path.to_string_lossy()].concat());
    }

    /// The keys as this template sees them.
    #[inline(never)]
    fn visible(&self, template: &plan::Template) -> Arc<Snapshot> {
        if let [only] = template.inputs.as_slice() {
            let watch = self.plan.watches.get(only.watch);
            let whole = only.prefix.is_empty() || watch.is_some_and(|w| w.prefix == only.prefix);
            if let (0, true, Some(s)) = (only.strip, whole, self.state.snapshot(only.watch)) {
                return s.clone();
            }
        }
        let mut entries = Vec::new();
        for input in &template.inputs {
            let Some(snapshot) = self.state.snapshot(input.watch) else { continue };
            let source = self.plan.watches.get(input.watch).and_then(|w| self.plan.sources.get(w.source));
            let is_tree = source.is_some_and(|s| s.kind.is_tree());
            for (key, value) in snapshot.under(&input.prefix) {
                if is_tree && !crate::store::is_under(&input.prefix, key) {
                    continue;
                }
                let key = if input.strip == 0 { key.clone() } else { Arc::from(&*input.seen(key)) };
                entries.push((key, value.clone()));
            }
        }
        Arc::new(Snapshot::new(entries))
    }

    /// The files a folder shall have.
    #[inline(never)]
    fn set(&self, template: &plan::Template, tree: &plan::Tree) -> Result<Set> {
        let mut set = Set::default();
        for (input, part) in template.inputs.iter().zip(&tree.parts) {
            let Some(snapshot) = self.state.snapshot(input.watch) else { continue };
            for (key, value) in snapshot.under(&input.prefix) {
                set.add(&input.seen(key), part.is_flat, part.mode, value);
            }
        }
        set.settle();
        if set.bytes() > MAX_RENDER {
            let path = template.dest.path.to_string_lossy();
            return Err(Error::filled(
                Kind::Config,
                "cannot write the folder %: its files have more than 64 MiB",
                &[&path],
            ));
        }
        Ok(set)
    }

    #[inline(never)]
    pub(super) fn commit(&mut self, t: usize, keep: bool) -> Committed {
        if let (Some(plan), Some(slot), false) =
            (self.plan.templates.get(t).filter(|p| p.rollback), self.saved.get_mut(t), keep)
        {
            // A file that cannot be read, or is not there, is one that cannot be rolled back.
            *slot = match &plan.tree {
                None => dest::read_for_rollback(&plan.dest).ok().flatten().map(Saved::File),
                Some(tree) => tree::read(&plan.dest, tree).map(Saved::Tree),
            };
        }
        let result = match self.take_staged(t) {
            Some(Staged::File(staged)) => staged.commit().map(|c| c.in_place),
            Some(Staged::Tree(staged)) => staged.commit().map(|()| false),
            None => Err(Error::fatal("nothing is staged")),
        };
        Committed { template: t, result }
    }

    #[inline(never)]
    pub(super) fn restore(&mut self, t: usize) -> Result<()> {
        match (self.plan.templates.get(t), self.saved.get_mut(t).and_then(Option::take)) {
            (Some(plan), Some(Saved::File(saved))) => dest::restore(&plan.dest, &saved).map(drop),
            (Some(plan::Template { dest, tree: Some(tree), .. }), Some(Saved::Tree(set))) => {
                tree::restore(dest, tree, &set)
            }
            _ => Err(Error::transient("there was no previous content")),
        }
    }
}

/// Renders templates, each with the keys it sees; on whatever thread.
#[inline(never)]
fn render_all(
    plans: &[plan::Template],
    templates: &[Result<Template>],
    views: &[(usize, Arc<Snapshot>)],
) -> Vec<Render> {
    let mut all = Vec::new();
    for (t, view) in views {
        let template = match templates.get(*t) {
            Some(Ok(template)) => template,
            Some(Err(e)) => {
                all.push(Render { template: *t, reads: Reads::default(), content: Err(e.clone()) });
                continue;
            }
            None => continue,
        };
        let env = |name: &str| std::env::var(name).ok();
        let context = Context { store: View::new(view), env: &env, max_output: MAX_RENDER };
        let guard = plans.get(*t).map_or(Ok(()), |p| {
            if p.tree.is_some() {
                context.store.under("/"); // each key is a file
            }
            p.guard.check(&context.store)
        });
        let content = guard.and_then(|()| template.render(&context));
        all.push(Render { template: *t, reads: context.store.into_reads(), content });
    }
    all
}
