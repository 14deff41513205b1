//! confd-sidecar's way in: template resources and templates from CONFD_* variables, merged with the folder's own
//! files where it has any; a program to run and to send HUP. Nothing is written to the folder.

use std::path::{Path, PathBuf};

use super::draft::{same_destination, wire};
use super::options::Options;
use super::resource::{self, Resources};
use super::settings::Settings;
use super::{World, backend, identity, native, options};
use crate::error::{Error, Kind, Result};
use crate::plan::{Level, Plan};
use crate::text::fill;

/// How the program learns of new files, where no option says it.
const SIGNAL: &str = "CONFD_SIDECAR_RELOAD_SIGNAL";

/// Whether a variable is one that confd-sidecar's users set.
pub fn is_mine(name: &str) -> bool {
    name.starts_with("CONFD_CONFDFILE") || name.starts_with("CONFD_TEMPLATE") || name == "CONFD_BACKEND"
}

/// Fills the plan.
///
/// # Errors
/// `Kind::Usage` without a program, `Kind::Config` for what the variables and files hold.
#[inline(never)]
pub fn plan(options: &Options, plan: &mut Plan, world: &World) -> Result<()> {
    if options.program.is_empty() {
        return Err(Error::usage(
            "confd-sidecar: no program to run; usage: confd-sidecar [OPTIONS] PROGRAM [ARGS...], see pilotfish --help",
        ));
    }
    for name in ["config", "source", "template", "dialect"] {
        if options.get(name).is_some() {
            let text = "--% is of the native way in; confd-sidecar takes its templates from CONFD_* variables";
            return Err(Error::filled(Kind::Usage, text, &[name]));
        }
    }
    let settings = Settings::of_variables(world);
    let name = settings.or("backend", "consul");
    backend::add_source(plan, name, &settings, options.is_set("allow-empty"), Some(options))?;

    let dir = PathBuf::from(settings.or("confdir", "/etc/confd"));
    let resources = named(world, "CONFD_CONFDFILE")?;
    let templates = named(world, "CONFD_TEMPLATE")?;
    let text_of = |src: &str| match templates.iter().find(|(name, _)| plain(name) == plain(src)) {
        Some((_, text)) => Ok(text.clone()),
        None => world
            .text(&dir.join("templates").join(plain(src)), "the template")
            .map_err(|e| Error::filled(Kind::Config, "% (and no CONFD_TEMPLATE* is named %)", &[&e.text, src])),
    };
    let prefix = settings.or("prefix", "");
    // Folders are made unless a resource forbids it: in an empty image nobody else can.
    let all = Resources { backend: name, prefix, world, make_dirs: true, is_strict: true, template: &text_of };
    for path in world.folder(&dir.join("conf.d"))? {
        let file = path.file_name().unwrap_or_default();
        let is_named = |(name, _): &(String, String)| file == name.as_str();
        if file.as_encoded_bytes().ends_with(b".toml") && !resources.iter().any(is_named) {
            resource::read(plan, &all, &path.display().to_string(), &world.text(&path, "the template resource")?)?;
        }
    }
    for (file, text) in &resources {
        resource::read(plan, &all, file, text)?;
    }
    if plan.templates.is_empty() {
        let text = "no template resource in CONFD_CONFDFILE* nor in %/conf.d";
        plan.note(Level::Warning, text, &[&dir.display().to_string()]);
    }
    if let Some((_, why)) = same_destination(&plan.templates) {
        return Err(Error::config(why));
    }
    for (name, _) in &templates {
        if !plan.templates.iter().any(|t| plain(&t.name) == plain(name)) {
            plan.note(Level::Warning, "the template % of a CONFD_TEMPLATE* is used by no resource", &[name]);
        }
    }
    wire(plan);
    if options.is_set("make-dirs") {
        plan.templates.iter_mut().for_each(|t| t.dest.make_dirs = true);
    }
    native::add_app(plan, options, None, world)?;
    identity::hide(plan, &[identity::OWN, identity::OF_CONFD], &identity::passed(None, Some(options)), "");
    plan.once = options.is_set("once");
    if plan.once {
        plan.app = None;
    }
    if let Some(level) = settings.one("log-level") {
        let wrong = |want| Error::filled(Kind::Usage, "CONFD_LOG_LEVEL=%: expected %", &[level, want]);
        plan.log.level = options::log_level(level).map_err(wrong)?;
    }
    native::common(plan, options);
    let is_typed = options.is_set("reload") || options.is_set("reload-signal");
    if let Some(how) = world.var(SIGNAL).filter(|_| !is_typed) {
        let reload = super::reload::how(how, SIGNAL, world)?;
        match &mut plan.app {
            Some(app) => app.reload = reload,
            None if reload.is_elsewhere() && options.program.is_empty() => plan.target = Some(reload),
            None => {}
        }
    }
    Ok(())
}

/// A template's name as a path below its folder.
fn plain(name: &str) -> &str {
    name.trim_start_matches("./").trim_start_matches('/')
}

/// The named texts of `VARIABLE` and `VARIABLE_x`, in the variables' order: the first line is the name.
fn named(world: &World, base: &str) -> Result<Vec<(String, String)>> {
    let mut mine: Vec<&(String, String)> = Vec::new();
    for variable in world.vars {
        if variable.0.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')) {
            let at = mine.partition_point(|m| *m < variable);
            mine.insert(at, variable); // in order
        }
    }
    let mut all: Vec<(String, String)> = Vec::new();
    for (variable, value) in mine {
        let wrong = |pattern, words| Err(Error::config([variable, ": ", &fill(pattern, words)].concat()));
        if !value.contains('\n') && value.contains("\\n") {
            return wrong("it has no line ends but \\n as two characters; they must be real line ends", &[]);
        }
        let (name, text) = value.split_once('\n').unwrap_or((value, ""));
        let name = name.trim();
        if name.is_empty() || Path::new(name).file_name().is_none() {
            return wrong("its first line must be a file name", &[]);
        }
        if all.iter().any(|(n, _)| plain(n) == plain(name)) {
            return wrong("another % has the name % already", &[base, name]);
        }
        all.push((name.to_string(), text.trim_end_matches('\r').to_string()));
    }
    Ok(all)
}
