//! confd's way in: its settings, its folder of template resources, and its modes, each resource for itself.

use std::path::{Path, PathBuf};

use super::draft::{Draft, assemble, same_destination};
use super::settings::{self, Settings};
use super::{Invocation, World, backend, options, resource};
use crate::error::{Error, Result};
use crate::plan::{Level, Log, LogFormat, Plan};

/// Reads the command line behind `confd`.
///
/// # Errors
/// `Kind::Flag` for the command line, in Go's words; `Kind::Usage` and `Kind::Config` for what it names.
pub fn read(argv0: &str, args: Vec<String>, world: &World) -> Result<Invocation> {
    let mut settings = Settings::of_flags(args, world)?;
    if settings.is_on("help") {
        return Ok(Invocation::Print(settings::usage()));
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
    for srv in ["srv-domain", "srv-record"] {
        if s.one(srv).is_some() {
            return Err(Error::config(format!("-{srv} is for etcd, which this version has not")));
        }
    }
    let (source, mut notes) = backend::source(&name, s, false, &|_| ())?;
    let dir = PathBuf::from(s.or("confdir", "/etc/confd"));
    let (mut drafts, mut broken) = resources(&dir, &s.or("prefix", ""), &name, s.world);
    while let Some((later, why)) = same_destination(&drafts) {
        drafts.remove(later);
        broken.push(why);
    }
    if drafts.is_empty() && broken.is_empty() {
        notes.push((Level::Warning, format!("Found no templates in {}/conf.d", dir.display())));
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
    let level = options::log_level(&level).unwrap_or_else(|_| {
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
fn resources(dir: &Path, prefix: &str, source: &str, world: &World) -> (Vec<Draft>, Vec<String>) {
    let (mut drafts, mut broken) = (Vec::new(), Vec::new());
    let text_of = |src: &str| world.text(&dir.join("templates").join(src.trim_start_matches('/')), "the template");
    for path in (world.files)(&dir.join("conf.d")) {
        let name = path.display().to_string();
        if !name.ends_with(".toml") {
            continue;
        }
        let text = world.text(&path, "the template resource");
        match text.and_then(|text| resource::read(&name, &text, prefix, world, false, &text_of)) {
            Ok(mut draft) => {
                backend::spell(source, &mut draft);
                drafts.push(draft);
            }
            Err(e) => broken.push(e.into_text()),
        }
    }
    (drafts, broken)
}
