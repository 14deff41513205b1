//! confd-sidecar's way in: template resources and templates from CONFD_* variables, merged with the folder's own
//! files where it has any; a program to run and to send HUP. Nothing is written to the folder.

use std::path::{Path, PathBuf};

use super::draft::{assemble, same_destination};
use super::options::Options;
use super::settings::Settings;
use super::{World, backend, native, options, resource};
use crate::error::{Error, Result};
use crate::plan::{Consul, Level, Plan};

/// Whether a variable is one that confd-sidecar's users set.
pub fn is_mine(name: &str) -> bool {
    name.starts_with("CONFD_CONFDFILE") || name.starts_with("CONFD_TEMPLATE") || name == "CONFD_BACKEND"
}

/// The plan.
///
/// # Errors
/// `Kind::Usage` without a program, `Kind::Config` for what the variables and files hold.
#[inline(never)]
pub fn plan(argv0: &str, options: &Options, world: &World) -> Result<Plan> {
    if options.program.is_empty() {
        return Err(Error::usage(
            "confd-sidecar: no program to run; usage: confd-sidecar [OPTIONS] PROGRAM [ARGS...], see pilotfish --help",
        ));
    }
    for name in ["config", "source", "template", "dialect"] {
        if options.get(name).is_some() {
            let why = "is of the native way in; confd-sidecar takes its templates from CONFD_* variables";
            return Err(Error::usage(format!("--{name} {why}")));
        }
    }
    let settings = Settings::of_variables(world);
    let name = settings.or("backend", "consul");
    let consul = |c: &mut Consul| native::consul_options(c, options);
    let (source, mut notes) = backend::source(name, &settings, options.is_set("allow-empty"), &consul)?;

    let dir = PathBuf::from(settings.or("confdir", "/etc/confd"));
    let resources = named(world, "CONFD_CONFDFILE")?;
    let templates = named(world, "CONFD_TEMPLATE")?;
    let mut files: Vec<(String, String)> = Vec::new();
    for path in world.folder(&dir.join("conf.d"))? {
        let name = path.file_name().map_or(String::new(), |n| n.to_string_lossy().into_owned());
        if name.ends_with(".toml") && !resources.iter().any(|(n, _)| *n == name) {
            files.push((path.display().to_string(), world.text(&path, "the template resource")?));
        }
    }
    files.extend(resources);
    let text_of = |src: &str| match templates.iter().find(|(name, _)| plain(name) == plain(src)) {
        Some((_, text)) => Ok(text.clone()),
        None => world
            .text(&dir.join("templates").join(plain(src)), "the template")
            .map_err(|e| Error::config(format!("{e} (and no CONFD_TEMPLATE* is named {src})"))),
    };
    let prefix = settings.or("prefix", "");
    let mut drafts = Vec::new();
    // Folders are made unless a resource forbids it: in an empty image nobody else can.
    for (file, text) in &files {
        let mut draft = resource::read(file, text, prefix, world, true, &text_of, None)?;
        backend::spell(name, &mut draft);
        drafts.push(draft);
    }
    if drafts.is_empty() {
        let text = ["no template resource in CONFD_CONFDFILE* nor in ", &dir.display().to_string(), "/conf.d"];
        notes.push((Level::Warning, text.concat()));
    }
    if let Some((_, why)) = same_destination(&drafts) {
        return Err(Error::config(why));
    }
    for (name, _) in &templates {
        if !drafts.iter().any(|d| plain(&d.template.name) == plain(name)) {
            notes.push((Level::Warning, format!("the template {name} of a CONFD_TEMPLATE* is used by no resource")));
        }
    }
    let sources = vec![source];
    let (watches, mut templates) = assemble(drafts, &sources);
    if options.is_set("make-dirs") {
        templates.iter_mut().for_each(|t| t.dest.make_dirs = true);
    }
    let (app, target) = native::app(options, None, world)?;
    let mut plan = Plan {
        sources,
        watches,
        templates,
        app: app.filter(|_| !options.is_set("once")),
        target,
        once: options.is_set("once"),
        notes,
        ..Plan::default()
    };
    if let Some(level) = settings.one("log-level") {
        let wrong = |want| Error::usage(format!("CONFD_LOG_LEVEL={level}: expected {want}"));
        plan.log.level = options::log_level(level).map_err(wrong)?;
    }
    native::common(&mut plan, argv0, options);
    let reload =
        match (options.get("reload").or(options.get("reload-signal")), world.var("CONFD_SIDECAR_RELOAD_SIGNAL")) {
            (None, Some(how)) => Some(super::reload::how(how, "CONFD_SIDECAR_RELOAD_SIGNAL", world)?),
            _ => None,
        };
    match (&mut plan.app, reload) {
        (Some(app), Some(reload)) => app.reload = reload,
        (None, Some(reload)) if reload.is_elsewhere() && options.program.is_empty() => plan.target = Some(reload),
        _ => {}
    }
    Ok(plan)
}

/// A template's name as a path below its folder.
fn plain(name: &str) -> &str {
    name.trim_start_matches("./").trim_start_matches('/')
}

/// The named texts of `VARIABLE` and `VARIABLE_x`, in the variables' order: the first line is the name.
fn named(world: &World, base: &str) -> Result<Vec<(String, String)>> {
    let mut mine: Vec<&(String, String)> = world
        .vars
        .iter()
        .filter(|(n, _)| n.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')))
        .collect();
    mine.sort();
    let mut all: Vec<(String, String)> = Vec::new();
    for (variable, value) in mine {
        if !value.contains('\n') && value.contains("\\n") {
            let why = "it has no line ends but \\n as two characters; they must be real line ends";
            return Err(Error::config(format!("{variable}: {why}")));
        }
        let (name, text) = value.split_once('\n').unwrap_or((value, ""));
        let name = name.trim();
        if name.is_empty() || Path::new(name).file_name().is_none() {
            return Err(Error::config(format!("{variable}: its first line must be a file name")));
        }
        if all.iter().any(|(n, _)| plain(n) == plain(name)) {
            return Err(Error::config(format!("{variable}: another {} has the name {name} already", base)));
        }
        all.push((name.to_string(), text.trim_end_matches('\r').to_string()));
    }
    Ok(all)
}
