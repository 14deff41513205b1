//! confd's way in: its settings, its folder of template resources, and its modes, each resource for itself.

use std::path::{Path, PathBuf};

use super::draft::{same_destination, wire};
use super::help::{self, Help};
use super::resource::{self, Resources};
use super::settings::Settings;
use super::{World, backend, identity, options};
use crate::error::{Error, Kind, Result};
use crate::plan::{Level, Plan};

/// Reads the command line behind `confd` into the plan, or gives what to print.
///
/// # Errors
/// `Kind::Flag` for the command line, in Go's words; `Kind::Usage` and `Kind::Config` for what it names.
pub fn read(args: &[String], plan: &mut Plan, world: &World) -> Result<Option<&'static str>> {
    // Whatever is wrong, confd's code for it is 1.
    read_all(args, plan, world).map_err(|mut e| {
        if e.kind == Kind::Config {
            e.kind = Kind::Fatal;
        }
        e
    })
}

#[inline(never)]
fn read_all(args: &[String], plan: &mut Plan, world: &World) -> Result<Option<&'static str>> {
    let mut settings = Settings::of_flags(args, world)?;
    if settings.is_on("help") {
        return Ok(Some(help::text(Help::Confd)));
    }
    if settings.is_on("version") {
        return Ok(Some(concat!("confd 0.16.0 (pilotfish ", env!("CARGO_PKG_VERSION"), ")\n")));
    }
    settings.read_file()?;
    fill(plan, &settings)?;
    Ok(None)
}

#[inline(never)]
fn fill(plan: &mut Plan, s: &Settings) -> Result<()> {
    let name = s.or("backend", "etcd");
    backend::add_source(plan, name, s, s.is_on("allow-empty"), None)?;
    s.add_notes(&mut plan.notes);
    identity::hide(plan, &[identity::OF_CONFD], &s.many("pass-env").join(","), "");
    let dir = PathBuf::from(s.or("confdir", "/etc/confd"));
    let is_missing = !s.world.is_folder(&dir);
    let files = if is_missing { Vec::new() } else { s.world.folder(&dir.join("conf.d"))? };
    resources(plan, &dir, files, name, s);
    while let Some((later, why)) = same_destination(&plan.templates) {
        plan.templates.remove(later);
        plan.broken.push(why);
    }
    let is_empty = plan.templates.is_empty() && plan.broken.is_empty();
    let shown = dir.display().to_string();
    if is_missing {
        let text = "Cannot load template resources: confdir '%' does not exist";
        plan.note(Level::Warning, text, &[&shown]);
    } else if is_empty {
        plan.note(Level::Warning, "Found no templates in %/conf.d", &[&shown]);
    }
    wire(plan);
    let (sync_only, noop, watch) = (s.is_on("sync-only"), s.is_on("noop"), s.is_on("watch"));
    for (i, t) in plan.templates.iter_mut().enumerate() {
        t.group = i; // each for itself
        if sync_only {
            (t.check, t.reload) = (None, None);
        }
    }
    let level = s.or("log-level", "info");
    match options::log_level(level) {
        Ok(level) => plan.log.level = level,
        Err(_) => s.wrong(Error::filled(Kind::Usage, "not a valid log level: \"%\"", &[level])),
    }
    let interval = s.number("interval", 600).max(1).saturating_mul(1000);
    plan.noop = noop;
    // Without any template confd ends; the rest of a broken folder may be mended while we run.
    plan.once = s.is_on("onetime") || (noop && !watch) || is_empty;
    plan.keep_stage = s.is_on("keep-stage-file");
    (plan.is_lenient, plan.in_turn, plan.rereads) = (true, true, true);
    plan.refresh = if watch { None } else { Some(interval) };
    s.verdict()
}

/// The folder's template resources; those that cannot be read, in words, beside the others.
#[inline(never)]
fn resources(plan: &mut Plan, dir: &Path, files: Vec<PathBuf>, backend: &str, s: &Settings) {
    let text_of = |src: &str| {
        let path = dir.join("templates").join(src.trim_start_matches('/'));
        match (s.world.read)(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::filled(Kind::Config, "Missing template: %", &[&path.to_string_lossy()]))
            }
            _ => s.world.text(&path, "the template"),
        }
    };
    let prefix = s.or("prefix", "");
    let all = Resources { backend, prefix, world: s.world, make_dirs: false, is_strict: false, template: &text_of };
    for path in files {
        let name = path.display().to_string();
        if !name.ends_with(".toml") {
            continue;
        }
        let text = s.world.text(&path, "the template resource");
        if let Err(e) = text.and_then(|text| resource::read(plan, &all, &name, &text)) {
            plan.broken.push(e.into_text());
        }
    }
}
