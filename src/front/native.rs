//! The native way in: options, `PILOTFISH_*` variables and pilotfish.toml. Flags win over variables, variables over the
//! file, the file over defaults.

use std::path::Path;

use super::draft::{same_destination, want, wire};
use super::options::Options;
use super::sources::{self, Name};
use super::table::{Document, Keys, Table};
use super::{World, duties, identity, join, options, reload, resource, table};
use crate::error::{Error, Kind, Result};
use crate::plan::{
    App, Command, Form, Input, Level, LogFormat, Millis, PROBATION, Part, Plan, Reload, Restart, SourceKind, Template,
    Tree,
};
use crate::template::Dialect;
use crate::value::Value;

/// Time from asking the app to stop until its group is killed: below the 10 s that platforms give, with a second
/// left to sweep.
const STOP: Millis = 8_000;
const CHECK: Millis = 30_000;

static TOP: Keys = "\
    source template tree app settle splay start_timeout once log telemetry pass_env catalog service backend hooks task \
    coprocess sensor wait_for control";
static TEMPLATE: Keys = "\
    src text name dest source keys prefix dialect mode uid gid owner group make_dirs check rollback \
    check_timeout reload reload_timeout min_keys require";
static TREE: Keys = "\
    dest source prefix mode dir_mode uid gid owner group make_dirs atomic flat check check_timeout rollback reload \
    reload_timeout min_keys require";
static APP: Keys = "command reload reload_timeout stop_signal stop_timeout restart probation pass_env";
static SETTLE: Keys = "quiet max";
static LOG: Keys = "format level";
static TELEMETRY: Keys = "listen max_outage";

/// Fills the plan.
///
/// # Errors
/// `Kind::Usage` for the command line, `Kind::Config` for what it names.
#[inline(never)]
pub fn plan(options: &Options, plan: &mut Plan, world: &World) -> Result<()> {
    let document = config(options, world)?;
    let root = document.root();
    root.only(TOP);

    sources::catalog(plan, &root, options, world)?;
    let names = sources::sources(plan, &root, options, world)?;
    for t in root.tables("template") {
        template(plan, &t, &names, options, world)?;
    }
    for t in root.tables("tree") {
        tree(plan, &t, &names, world)?;
    }
    for given in options.all("template") {
        template_option(plan, given, &names, options, world)?;
    }
    document.verdict()?;
    if let Some((_, why)) = same_destination(&plan.templates) {
        return Err(Error::config(why));
    }
    wire(plan);
    plan.once = options.is_set("once") || root.bool("once", false);
    plan.start_timeout = root.time("start_timeout");
    let app = root.table("app");
    add_app(plan, options, root.has("app").then_some(&app), world)?;
    duties::read(plan, &root, options, world);
    let pass = identity::passed(Some(&root), Some(options));
    identity::hide(plan, &[identity::OWN], &pass, &identity::passed(Some(&app), None));
    if plan.templates.is_empty() && plan.app.is_none() && plan.services.is_empty() && plan.handlers.is_empty() {
        document.verdict()?;
        let text = "nothing to do: no --template, no [[template]] and no program; see pilotfish --help";
        return Err(Error::usage(text));
    }
    if plan.once {
        plan.app = None;
        duties::leave_out(plan);
    }
    let t = root.table("settle");
    t.only(SETTLE);
    plan.pace.quiet = t.time("quiet").unwrap_or(0);
    plan.pace.max = t.time("max").unwrap_or(plan.pace.quiet.saturating_mul(10));
    plan.pace.splay = root.time("splay").unwrap_or(0);
    let t = root.table("log");
    t.only(LOG);
    plan.log.format = t.parsed("format", options::log_format).unwrap_or(LogFormat::Default);
    plan.log.level = t.parsed("level", options::log_level).unwrap_or(Level::Info);
    let t = root.table("telemetry");
    t.only(TELEMETRY);
    plan.telemetry = t.parsed("listen", options::listen).or(plan.telemetry.take());
    plan.max_outage = t.time("max_outage");
    common(plan, options);
    document.verdict()
}

/// Adds the one source there is, and gives the prefix of its keys.
///
/// # Errors
/// There is none, or several; or what is wrong with it.
#[inline(never)]
pub fn only_source(options: &Options, plan: &mut Plan, world: &World) -> Result<String> {
    let document = config(options, world)?;
    let root = document.root();
    sources::catalog(plan, &root, options, world)?;
    let mut all = sources::sources(plan, &root, options, world)?;
    document.verdict()?;
    match (all.pop(), all.pop()) {
        (Some(one), None) => Ok(one.prefix),
        _ => Err(Error::usage("say which source by --source URL (or PILOTFISH_SOURCE)")),
    }
}

/// Where the endpoints listen, if anywhere.
///
/// # Errors
/// The configuration cannot be read.
#[inline(never)]
pub fn listens(options: &Options, world: &World) -> Result<Option<String>> {
    if let Some(found) = options.parsed("listen", options::listen) {
        return Ok(Some(found));
    }
    let document = config(options, world)?;
    let found = document.root().table("telemetry").parsed("listen", options::listen);
    document.verdict().map(|()| found)
}

/// What the options say of any plan, over what it says already.
pub fn common(plan: &mut Plan, options: &Options) {
    if let Some((quiet, max)) = options.parsed("settle", options::settle) {
        (plan.pace.quiet, plan.pace.max) = (quiet, max);
    }
    plan.pace.splay = options.parsed("splay", options::time).unwrap_or(plan.pace.splay);
    plan.start_timeout = options.parsed("start-timeout", options::time).or(plan.start_timeout);
    plan.telemetry = options.parsed("listen", options::listen).or(plan.telemetry.take());
    plan.log.format = options.parsed("log-format", options::log_format).unwrap_or(plan.log.format);
    plan.log.level = options.parsed("log-level", options::log_level).unwrap_or(plan.log.level);
}

/// The configuration: a file, or the text itself in PILOTFISH_CONFIG; an empty one where there is none.
#[inline(never)]
fn config(options: &Options, world: &World) -> Result<Document> {
    match options.get("config") {
        None => Document::parse("", ""),
        // A path has no line ends and no `=`.
        Some(text) if text.contains(['\n', '=']) => Document::parse("PILOTFISH_CONFIG", text),
        Some(path) => Document::parse(path, &world.text(Path::new(path), "the configuration")?),
    }
}

fn dialect_of(name: &str) -> Dialect {
    if name.ends_with(".tmpl") { Dialect::Go } else { Dialect::Upon }
}

#[inline(never)]
fn template(plan: &mut Plan, t: &Table, sources: &[Name], options: &Options, world: &World) -> Result<()> {
    t.only(TEMPLATE);
    let dest = t.required("dest");
    let (src, text) = (t.str("src"), t.str("text"));
    if src.is_some() == text.is_some() {
        t.wrong("src", "or `text` must be there, and only one of them");
    }
    t.document().verdict()?;
    let (name, text) = match src {
        Some(src) => (src.to_string(), world.text(Path::new(src), "the template")?),
        None => (t.str("name").unwrap_or(dest).to_string(), text.unwrap_or("").to_string()),
    };
    let source = source_of(t, t.str("source"), sources);
    let base = sources.get(source).map_or("/", |s| s.prefix.as_str());
    let hidden = join(base, t.str("prefix").unwrap_or(""));
    let keys = t.strs("keys").unwrap_or_else(|| vec!["/".to_string()]);
    let dialect = t.parsed("dialect", options::dialect).unwrap_or_else(|| dialect_of(&name));
    let is_services = is_services(plan, source);
    if is_services && t.has("prefix") {
        t.wrong("prefix", "is not for services: `keys` name them");
    }
    let one = plan.template(&name, text, dialect, dest);
    for key in &keys {
        if is_services {
            match sources::instances(key) {
                Ok(watched) => one.inputs.push(want(source, "/", watched)),
                Err(want) => t.wrong("keys", &["must each be ", want].concat()),
            }
        } else if !sources.is_empty() {
            one.inputs.push(want(source, &hidden, below(&hidden, key)));
        }
    }
    resource::common(t, one, world, false);
    own_commands(t, one, world);
    one.dest.make_dirs |= options.is_set("make-dirs");
    t.document().verdict()
}

fn is_services(plan: &Plan, source: usize) -> bool {
    plan.sources.get(source).is_some_and(|s| matches!(s.kind, SourceKind::Services(_)))
}

/// The source of this name, or the only one.
#[inline(never)]
fn source_of(t: &Table, name: Option<&str>, sources: &[Name]) -> usize {
    let found = match name {
        Some(wanted) => sources.iter().position(|s| s.name == wanted),
        None => (sources.len() < 2).then_some(0),
    };
    found.unwrap_or_else(|| {
        let none = name.map(|wanted| ["names no [source.", wanted, "]"].concat());
        t.wrong("source", none.as_deref().unwrap_or("must say which of the sources it is"));
        0
    })
}

/// Adds a folder with a file for each key.
#[inline(never)]
fn tree(plan: &mut Plan, t: &Table, sources: &[Name], world: &World) -> Result<()> {
    t.only(TREE);
    let dest = t.required("dest");
    let mut inputs = Vec::new();
    let names = t.strs("source");
    let names: Vec<Option<&str>> = names.as_ref().map_or(vec![None], |all| all.iter().map(|n| Some(&**n)).collect());
    for name in names {
        let source = source_of(t, name, sources);
        let Some(Name { prefix, .. }) = sources.get(source) else {
            t.wrong("source", "is missing: there is no [source.NAME]");
            break;
        };
        if is_services(plan, source) {
            t.wrong("source", "has services, which are no files: a [[template]] makes one of them");
        }
        let hidden = join(prefix, t.str("prefix").unwrap_or(""));
        inputs.push(want(source, &hidden, below(&hidden, "/")));
    }
    let is_secret = |i: &Input| {
        let source = plan.sources.get(i.watch).map(|s| &s.kind);
        matches!(source, Some(SourceKind::Kubernetes(k)) if k.is_secret)
    };
    let modes: Vec<u32> = inputs.iter().map(|i| if is_secret(i) { 0o600 } else { 0o644 }).collect();
    let one = plan.template(dest, String::new(), Dialect::Go, dest);
    one.inputs = inputs;
    resource::common(t, one, world, true);
    let is_flat = t.bool("flat", false);
    let said = one.dest.mode;
    let part = |mode: u32| Part { mode: said.unwrap_or(mode), is_flat };
    one.tree = Some(Tree {
        parts: modes.into_iter().map(part).collect(),
        dir_mode: t.parsed("dir_mode", options::mode).unwrap_or(0o755),
        is_swapped: t.bool("atomic", false),
    });
    own_commands(t, one, world);
    t.document().verdict()
}

/// What is run for a file or a folder alone.
#[inline(never)]
fn own_commands(t: &Table, one: &mut Template, world: &World) {
    one.check = command(t, "check", t.time("check_timeout").unwrap_or(CHECK));
    one.reload = reload::read(t, true, world);
    one.rollback = t.bool("rollback", false);
}

/// Everything below a prefix ends in `/`, so that `/prod` does not fetch `/production` too.
#[inline(never)]
fn below(hidden: &str, key: &str) -> String {
    let mut prefix = join(hidden, key);
    if prefix != "/" && matches!(key, "" | "/") {
        prefix.push('/');
    }
    prefix
}

/// A command: a list of words is run as it is, a text goes to the shell where there is one.
#[inline(never)]
pub fn command(t: &Table, key: &str, timeout: Millis) -> Option<Command> {
    t.get(key).and_then(|value| command_of(t, key, value, timeout))
}

/// A command that is this value of a key, or a part of it.
#[inline(never)]
pub fn command_of(t: &Table, key: &str, value: &Value, timeout: Millis) -> Option<Command> {
    let Some(argv) = table::texts(value) else {
        t.wrong(key, "must be a list of texts");
        return None;
    };
    if argv.iter().all(|w| w.trim().is_empty()) {
        t.wrong(key, "is empty");
    }
    let form = if value.as_str().is_some() { Form::Line } else { Form::Words };
    Some(Command { argv, form, timeout })
}

#[inline(never)]
fn template_option(plan: &mut Plan, given: &str, sources: &[Name], options: &Options, world: &World) -> Result<()> {
    let Some((src, dest)) = given.split_once(':').filter(|(s, d)| !s.is_empty() && !d.is_empty()) else {
        return Err(Error::filled(Kind::Usage, "--template %: expected SRC:DEST", &[given]));
    };
    let text = world.text(Path::new(src), "the template")?;
    let dialect = options.parsed("dialect", options::dialect).unwrap_or_else(|| dialect_of(src));
    let is_services = is_services(plan, 0);
    let one = plan.template(src, text, dialect, dest);
    one.dest.make_dirs = options.is_set("make-dirs");
    if let Some(source) = sources.first() {
        if is_services {
            let text = "--template %: services are named by `keys` of a [[template]]; there is no option for them";
            return Err(Error::filled(Kind::Usage, text, &[given]));
        }
        one.inputs.push(want(0, &source.prefix, below(&source.prefix, "/")));
    }
    Ok(())
}

/// Adds the app, if there is a program to run; without one, who is told of new files, if that is somebody elsewhere.
///
/// # Errors
/// `Kind::Usage` for the options; what is wrong with the table is kept there.
#[inline(never)]
pub fn add_app(plan: &mut Plan, options: &Options, t: Option<&Table>, world: &World) -> Result<()> {
    let app = plan.app.insert(App {
        argv: options.program.clone(),
        reload: Reload::Signal(1),
        stop_signal: 15,
        stop_timeout: STOP,
        restart: Restart::Never,
        probation: PROBATION,
        env_remove: Vec::new(),
    });
    if let Some(t) = t {
        t.only(APP);
        if let Some(reload) = reload::read(t, false, world) {
            app.reload = reload;
        }
        if app.argv.is_empty() {
            match command(t, "command", 0) {
                Some(c) => app.argv = c.words("{src}", "{dest}", true)?,
                None if app.reload.is_elsewhere() => {}
                None => t.wrong("command", "is missing, and no program is on the command line"),
            }
        }
        app.stop_signal = t.parsed("stop_signal", options::signal_number).unwrap_or(app.stop_signal);
        app.stop_timeout = t.time("stop_timeout").unwrap_or(app.stop_timeout);
        app.restart = t.parsed("restart", options::restart).unwrap_or(app.restart);
        app.probation = t.time("probation").unwrap_or(app.probation);
    }
    for option in ["reload-signal", "reload"] {
        if let Some(how) = options.get(option) {
            app.reload = reload::how(how, &["--", option].concat(), world)?;
        }
    }
    app.stop_signal = options.parsed("stop-signal", options::signal_number).unwrap_or(app.stop_signal);
    app.stop_timeout = options.parsed("stop-timeout", options::time).unwrap_or(app.stop_timeout);
    app.restart = options.parsed("restart", options::restart).unwrap_or(app.restart);
    if app.argv.is_empty() {
        plan.target = plan.app.take().map(|app| app.reload).filter(Reload::is_elsewhere);
    }
    Ok(())
}
