//! confd's way in: its settings, its folder of template resources, and its modes, each resource for itself.

use std::path::{Path, PathBuf};

use super::draft::{Draft, assemble, same_destination};
use super::settings::{self, Settings};
use super::{Invocation, World, backend, options, resource};
use crate::error::{Error, Kind, Result};
use crate::plan::{Level, Log, LogFormat, Plan};

/// Reads the command line behind `confd`.
///
/// # Errors
/// `Kind::Flag` for the command line, in Go's words; `Kind::Usage` and `Kind::Config` for what it names.
pub fn read(argv0: &str, args: Vec<String>, world: &World) -> Result<Invocation> {
    // Whatever is wrong, confd's code for it is 1.
    read_all(argv0, args, world).map_err(|mut e| {
        if e.kind == Kind::Config {
            e.kind = Kind::Fatal;
        }
        e
    })
}

fn read_all(argv0: &str, args: Vec<String>, world: &World) -> Result<Invocation> {
    let mut settings = Settings::of_flags(args, world)?;
    if settings.is_on("help") {
        return Ok(Invocation::Print(settings::HELP.to_string()));
    }
    if settings.is_on("version") {
        let version = env!("CARGO_PKG_VERSION");
        return Ok(Invocation::Print(format!("confd 0.16.0 (pilotfish {version})\n")));
    }
    settings.read_file()?;
    Ok(Invocation::Run(Box::new(plan(argv0, &settings)?)))
}

#[inline(never)]
fn plan(argv0: &str, s: &Settings) -> Result<Plan> {
    let name = s.or("backend", "etcd");
    for tls in ["client-ca-keys", "client-cert", "client-key"] {
        if s.one(tls).is_some() {
            return Err(Error::config(format!("-{tls}: this version speaks no TLS")));
        }
    }
    let (source, mut notes) = backend::source(name, s, s.is_on("allow-empty"), &|_| ())?;
    notes.extend(s.notes());
    let dir = PathBuf::from(s.or("confdir", "/etc/confd"));
    let found = if s.world.is_folder(&dir) { Some(s.world.folder(&dir.join("conf.d"))?) } else { None };
    let is_missing = found.is_none();
    let files = found.unwrap_or_default();
    let (mut drafts, mut broken) = resources(&dir, files, s.or("prefix", ""), name, s.world, &mut notes);
    while let Some((later, why)) = same_destination(&drafts) {
        drafts.remove(later);
        broken.push(why);
    }
    let shown = dir.display().to_string();
    if is_missing {
        let parts = ["Cannot load template resources: confdir '", &shown, "' does not exist"];
        notes.push((Level::Warning, parts.concat()));
    } else if drafts.is_empty() && broken.is_empty() {
        notes.push((Level::Warning, ["Found no templates in ", &shown, "/conf.d"].concat()));
    }
    let sources = vec![source];
    let (watches, mut templates) = assemble(drafts, &sources);
    let (sync_only, noop, watch) = (s.is_on("sync-only"), s.is_on("noop"), s.is_on("watch"));
    for (i, t) in templates.iter_mut().enumerate() {
        t.group = i; // each for itself
        if sync_only {
            (t.check, t.reload) = (None, None);
        }
    }
    let level = s.or("log-level", "info");
    let level = options::log_level(level).unwrap_or_else(|_| {
        s.wrong(Error::usage(format!("not a valid log level: \"{level}\"")));
        Level::Info
    });
    let interval = s.number("interval", 600).max(1).saturating_mul(1000);
    let plan = Plan {
        // Without any template confd ends; the rest of a broken folder may be mended while we run.
        once: s.is_on("onetime") || (noop && !watch) || (templates.is_empty() && broken.is_empty()),
        sources,
        watches,
        templates,
        noop,
        keep_stage: s.is_on("keep-stage-file"),
        is_lenient: true,
        in_turn: true,
        broken,
        rereads: true,
        refresh: if watch { None } else { Some(interval) },
        log: Log { format: LogFormat::Default, level, program: argv0.to_string() },
        notes,
        ..Plan::default()
    };
    s.verdict()?;
    Ok(plan)
}

/// The folder's template resources; those that cannot be read, in words, beside the others.
fn resources(
    dir: &Path,
    files: Vec<PathBuf>,
    prefix: &str,
    source: &str,
    world: &World,
    notes: &mut Vec<(Level, String)>,
) -> (Vec<Draft>, Vec<String>) {
    let (mut drafts, mut broken) = (Vec::new(), Vec::new());
    let text_of = |src: &str| {
        let path = dir.join("templates").join(src.trim_start_matches('/'));
        match (world.read)(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::config(["Missing template: ", &path.to_string_lossy()].concat()))
            }
            _ => world.text(&path, "the template"),
        }
    };
    for path in files {
        let name = path.display().to_string();
        if !name.ends_with(".toml") {
            continue;
        }
        let text = world.text(&path, "the template resource");
        match text.and_then(|text| resource::read(&name, &text, prefix, world, false, &text_of, Some(notes))) {
            Ok(mut draft) => {
                backend::spell(source, &mut draft);
                drafts.push(draft);
            }
            Err(e) => broken.push(e.into_text()),
        }
    }
    (drafts, broken)
}
