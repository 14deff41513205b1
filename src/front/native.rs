//! The native way in: options, `PILOTFISH_*` variables and pilotfish.toml. Flags win over variables, variables over the
//! file, the file over defaults.

use std::path::{Path, PathBuf};

use super::draft::{Draft, assemble, same_destination};
use super::options::Options;
use super::table::Table;
use super::{
    World, consul_address, consul_from_environment, consul_source, file_source, join, list, options, resource,
};
use crate::error::{Error, Result};
use crate::formats::toml;
use crate::guard::Guard;
use crate::plan::{
    App, Command, Consul, Level, Log, LogFormat, Millis, Pace, Plan, Reload, Restart, Secret, Source, SourceKind,
    Template,
};
use crate::template::Dialect;

/// Time from asking the app to stop until its group is killed: below the 10 s that platforms give, with a second
/// left to sweep.
const STOP: Millis = 8_000;
/// How long the app may take to show that it does not bear its new files.
const PROBATION: Millis = 5_000;
const CHECK: Millis = 30_000;
const RELOAD: Millis = 60_000;

static TOP: &[&str] = &["source", "template", "app", "settle", "splay", "start_timeout", "once", "log"];
static SOURCE: &[&str] = &[
    "url",
    "token",
    "token_file",
    "username",
    "password",
    "datacenter",
    "namespace",
    "max_stale",
    "wait",
    "allow_empty",
    "filter",
];
static TEMPLATE: &[&str] = &[
    "src",
    "text",
    "name",
    "dest",
    "source",
    "keys",
    "prefix",
    "dialect",
    "mode",
    "uid",
    "gid",
    "owner",
    "group",
    "make_dirs",
    "check",
    "rollback",
    "check_timeout",
    "reload",
    "reload_timeout",
    "min_keys",
    "require",
];
static APP: &[&str] = &["command", "reload", "reload_timeout", "stop_signal", "stop_timeout", "restart", "probation"];
static SETTLE: &[&str] = &["quiet", "max"];
static LOG: &[&str] = &["format", "level"];

/// The plan.
///
/// # Errors
/// `Kind::Usage` for the command line, `Kind::Config` for what it names.
#[inline(never)]
pub fn plan(argv0: &str, options: &Options, world: &World) -> Result<Plan> {
    let (file, text) = config(options, world)?;
    let doc = toml::parse(&file, &text)?;
    let root = Table::root(&file, &doc);
    root.only(TOP)?;

    let mut sources: Vec<NamedSource> = Vec::new();
    if let Some(t) = root.table("source")? {
        for name in t.keys() {
            if let Some(s) = t.table(name)? {
                sources.push(source(name, &s, options, world)?);
            }
        }
    }
    if let Some(url) = options.get("source") {
        // On the command line there is one source; it takes the place of those in the file.
        let doc = toml::parse("", "")?;
        let none = Table::root("", &doc);
        let shown = url.rsplit('@').next().unwrap_or(url); // a password may stand before it
        let wrong = |why: String| Error::usage(format!("--source {shown}: {why}"));
        sources = vec![build_source("", url, &none, options, world).map_err(|e| wrong(e.into_text()))?];
    }
    let mut drafts = Vec::new();
    for t in root.tables("template")? {
        drafts.push(template(&t, &sources, options, world)?);
    }
    for given in options.all("template") {
        drafts.push(template_option(given, &sources, options, world)?);
    }
    if let Some((_, why)) = same_destination(&drafts) {
        return Err(Error::config(why));
    }
    let (watches, templates) = assemble(drafts);
    let app_table = root.table("app")?;
    let app = app(options, app_table.as_ref())?;
    if templates.is_empty() && app.is_none() {
        let text = "nothing to do: no --template, no [[template]] and no program; see pilotfish --help";
        return Err(Error::usage(text));
    }
    let mut pace = pace(options)?;
    if let (Some(t), None) = (root.table("settle")?, options.get("settle")) {
        t.only(SETTLE)?;
        pace.quiet = t.time("quiet")?.unwrap_or(0);
        pace.max = t.time("max")?.unwrap_or(pace.quiet.saturating_mul(10));
    }
    if let (Some(splay), None) = (root.time("splay")?, options.get("splay")) {
        pace.splay = splay;
    }
    let mut log = log(argv0, options)?;
    if let Some(t) = root.table("log")? {
        t.only(LOG)?;
        if let (Some(format), None) = (t.parsed("format", options::log_format)?, options.get("log-format")) {
            log.format = format;
        }
        if let (Some(level), None) = (t.parsed("level", options::log_level)?, options.get("log-level")) {
            log.level = level;
        }
    }
    let start_timeout = match options.parsed("start-timeout", options::time)? {
        None => root.time("start_timeout")?,
        given => given,
    };
    let once = options.is_set("once") || options::yes(root.bool("once")?);
    Ok(Plan {
        sources: sources.into_iter().map(|s| s.source).collect(),
        watches,
        templates,
        app: if once { None } else { app },
        pace,
        start_timeout,
        once,
        log,
        ..Plan::default()
    })
}

/// The configuration's name and text: a file, or the text itself in PILOTFISH_CONFIG.
fn config(options: &Options, world: &World) -> Result<(String, String)> {
    match options.get("config") {
        None => Ok((String::new(), String::new())),
        // A path has no line ends and no `=`.
        Some(text) if text.contains(['\n', '=']) => Ok(("PILOTFISH_CONFIG".to_string(), text.to_string())),
        Some(path) => Ok((path.to_string(), world.text(Path::new(path), "the configuration")?)),
    }
}

struct NamedSource {
    name: String,
    source: Source,
    /// What its URL says behind the address: keys are below it.
    prefix: String,
}

#[inline(never)]
fn source(name: &str, t: &Table, options: &Options, world: &World) -> Result<NamedSource> {
    t.only(SOURCE)?;
    let url = t.required("url")?;
    build_source(name, url, t, options, world).map_err(|e| t.error("url", &["is no source: ", &e.text].concat()))
}

fn build_source(name: &str, url: &str, t: &Table, options: &Options, world: &World) -> Result<NamedSource> {
    let allow_empty = options.is_set("allow-empty") || options::yes(t.bool("allow_empty")?);
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    let mut prefix = "/".to_string();
    let source = match scheme {
        "consul" | "consul+http" | "consul+unix" => {
            let mut c = consul_from_environment(world)?;
            if scheme == "consul+unix" {
                c.addresses = vec![format!("unix:{rest}")];
            } else {
                let rest = rest.strip_prefix("//").unwrap_or(rest);
                let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
                prefix = join(path, "");
                if !hosts.is_empty() {
                    c.addresses = list(hosts).map(|h| consul_address(h, "http")).collect::<Result<Vec<_>>>()?;
                }
            }
            if let Some(token) = t.str("token")? {
                c.token = Secret::Text(token.to_string());
            }
            if let Some(file) = t.str("token_file")? {
                c.token = Secret::File(PathBuf::from(file));
            }
            if let (Some(user), Some(password)) = (t.str("username")?, t.str("password")?) {
                c.basic = Some((user.to_string(), password.to_string()));
            }
            c.datacenter = t.str("datacenter")?.unwrap_or("").to_string();
            if let Some(namespace) = t.str("namespace")? {
                c.namespace = namespace.to_string();
            }
            c.max_stale = t.time("max_stale")?;
            if let Some(wait) = t.time("wait")? {
                c.wait = wait;
            }
            consul_options(&mut c, options)?;
            consul_source(c, allow_empty)
        }
        "consul+https" => {
            return Err(Error::config("this version speaks no TLS; use consul:// or consul+unix://"));
        }
        "dir" if !rest.is_empty() => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            let name = format!("folder {path}");
            Source { name, kind: SourceKind::Dir(PathBuf::from(path)), allow_empty }
        }
        "file" => file_source(rest.strip_prefix("//").unwrap_or(rest), t.str("filter")?, allow_empty)?,
        "env" => {
            prefix = join(rest, "");
            Source { name: "the environment".to_string(), kind: SourceKind::Env, allow_empty }
        }
        _ => {
            return Err(Error::config(
                "expected consul://host:port/prefix, consul+unix:///path, dir:/folder, file:/a.yaml,/b.json or env:"
                    .to_string(),
            ));
        }
    };
    Ok(NamedSource { name: name.to_string(), source, prefix })
}

/// The options that say how to talk to Consul, over what is known already.
pub fn consul_options(c: &mut Consul, options: &Options) -> Result<()> {
    if let Some(token) = options.get("token") {
        c.token = Secret::Text(token.to_string());
    }
    if let Some(file) = options.get("token-file") {
        c.token = Secret::File(PathBuf::from(file));
    }
    if let Some(wait) = options.parsed("wait", options::time)? {
        c.wait = wait;
    }
    c.wait = c.wait.clamp(100, 60_000); // a restored Consul is noticed when the wait is over: a minute at most
    if let Some(age) = options.parsed("max-stale", options::time)? {
        c.max_stale = Some(age);
    }
    Ok(())
}

fn dialect_of(name: &str) -> Dialect {
    if name.ends_with(".tmpl") { Dialect::Go } else { Dialect::Upon }
}

fn dialect(text: &str) -> std::result::Result<Dialect, &'static str> {
    match text {
        "go" => Ok(Dialect::Go),
        "upon" => Ok(Dialect::Upon),
        _ => Err("\"go\" or \"upon\""),
    }
}

#[inline(never)]
fn template(t: &Table, sources: &[NamedSource], options: &Options, world: &World) -> Result<Draft> {
    t.only(TEMPLATE)?;
    let dest = t.required("dest")?;
    let (name, text) = match (t.str("src")?, t.str("text")?) {
        (Some(src), None) => (src.to_string(), world.text(Path::new(src), "the template")?),
        (None, Some(text)) => (t.str("name")?.unwrap_or(dest).to_string(), text.to_string()),
        _ => return Err(t.error("src", "or `text` must be there, and only one of them")),
    };
    let source = match t.str("source")? {
        Some(wanted) => match sources.iter().position(|s| s.name == wanted) {
            Some(i) => i,
            None => return Err(t.error("source", &["names no [source.", wanted, "]"].concat())),
        },
        None if sources.len() > 1 => return Err(t.error("source", "must say which of the sources it is")),
        None => 0,
    };
    let base = sources.get(source).map_or("/", |s| s.prefix.as_str());
    let hidden = join(base, t.str("prefix")?.unwrap_or(""));
    let keys = t.strs("keys")?.unwrap_or_else(|| vec!["/".to_string()]);
    let wants = if sources.is_empty() { Vec::new() } else { keys.iter().map(|k| below(&hidden, k)).collect() };
    let command = |key: &str, time: &str, default: Millis| -> Result<Option<Command>> {
        let timeout = t.time(time)?.unwrap_or(default);
        command(t, key, timeout)
    };
    let make_dirs = options.is_set("make-dirs") || options::yes(t.bool("make_dirs")?);
    let dialect = t.parsed("dialect", dialect)?.unwrap_or_else(|| dialect_of(&name));
    let template = Template {
        dialect,
        name,
        text,
        dest: resource::destination(t, dest, world, make_dirs)?,
        inputs: Vec::new(),
        guard: resource::guard(t)?,
        check: command("check", "check_timeout", CHECK)?,
        reload: command("reload", "reload_timeout", RELOAD)?,
        rollback: options::yes(t.bool("rollback")?),
        group: 0,
    };
    Ok(Draft { template, source, wants, hidden })
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
fn command(t: &Table, key: &str, timeout: Millis) -> Result<Option<Command>> {
    match t.strs(key)? {
        None => Ok(None),
        Some(words) if words.iter().all(|w| w.trim().is_empty()) => Err(t.error(key, "is empty")),
        Some(words) => match t.get(key).and_then(crate::value::Value::as_str) {
            Some(text) => Ok(Some(resource::line(text, timeout))),
            None => Ok(Some(Command { argv: words, is_line: false, timeout })),
        },
    }
}

#[inline(never)]
fn template_option(given: &str, sources: &[NamedSource], options: &Options, world: &World) -> Result<Draft> {
    let Some((src, dest)) = given.split_once(':').filter(|(s, d)| !s.is_empty() && !d.is_empty()) else {
        return Err(Error::usage(format!("--template {given}: expected SRC:DEST")));
    };
    let hidden = sources.first().map_or("/", |s| s.prefix.as_str()).to_string();
    let dialect = options.parsed("dialect", dialect)?.unwrap_or_else(|| dialect_of(src));
    let template = Template {
        name: src.to_string(),
        text: world.text(Path::new(src), "the template")?,
        dialect,
        dest: crate::dest::Dest {
            path: PathBuf::from(dest),
            mode: None,
            uid: None,
            gid: None,
            make_dirs: options.is_set("make-dirs"),
        },
        inputs: Vec::new(),
        guard: Guard::default(),
        check: None,
        reload: None,
        rollback: false,
        group: 0,
    };
    let wants = if sources.is_empty() { Vec::new() } else { vec![below(&hidden, "/")] };
    Ok(Draft { template, source: 0, wants, hidden })
}

/// How the app learns of new files, from one word.
#[inline(never)]
pub fn reload_how(text: &str, what: &str) -> Result<Reload> {
    match text {
        "restart" => Ok(Reload::Restart),
        "none" => Ok(Reload::None),
        signal => match options::signal_number(signal) {
            Ok(n) => Ok(Reload::Signal(n)),
            Err(_) => {
                let want = ": expected a signal such as HUP, restart or none";
                Err(Error::usage(format!("{what} {signal}{want}")))
            }
        },
    }
}

/// The app, if there is a program to run.
pub fn app(options: &Options, t: Option<&Table>) -> Result<Option<App>> {
    let mut app = App {
        argv: options.program.clone(),
        reload: Reload::Signal(1),
        stop_signal: 15,
        stop_timeout: STOP,
        restart: Restart::Never,
        probation: PROBATION,
        env_remove: vec!["PILOTFISH_TOKEN".to_string(), "PILOTFISH_CONFIG".to_string()],
    };
    if let Some(t) = t {
        t.only(APP)?;
        if app.argv.is_empty() {
            app.argv = match command(t, "command", 0)? {
                Some(c) => c.words(true),
                None => return Err(t.error("command", "is missing, and no program is on the command line")),
            };
        }
        if t.get("reload").is_some_and(|v| v.as_list().is_some()) {
            let timeout = t.time("reload_timeout")?.unwrap_or(RELOAD);
            app.reload = command(t, "reload", timeout)?.map_or(Reload::None, Reload::Command);
        } else if let Some(how) = t.str("reload")? {
            app.reload = reload_how(how, "reload").map_err(|e| t.error("reload", &e.text))?;
        }
        app.stop_signal = t.parsed("stop_signal", options::signal_number)?.unwrap_or(app.stop_signal);
        app.stop_timeout = t.time("stop_timeout")?.unwrap_or(app.stop_timeout);
        app.restart = t.parsed("restart", options::restart)?.unwrap_or(app.restart);
        app.probation = t.time("probation")?.unwrap_or(app.probation);
    }
    if app.argv.is_empty() {
        return Ok(None);
    }
    if let Some(how) = options.get("reload-signal") {
        app.reload = reload_how(how, "--reload-signal")?;
    }
    if let Some(how) = options.get("reload") {
        app.reload = reload_how(how, "--reload")?;
    }
    app.stop_signal = options.parsed("stop-signal", options::signal_number)?.unwrap_or(app.stop_signal);
    app.stop_timeout = options.parsed("stop-timeout", options::time)?.unwrap_or(app.stop_timeout);
    app.restart = options.parsed("restart", options::restart)?.unwrap_or(app.restart);
    Ok(Some(app))
}

/// How changes are gathered, as far as the options say.
pub fn pace(options: &Options) -> Result<Pace> {
    let mut pace = Pace::default();
    if let Some(text) = options.get("settle") {
        let (quiet, max) = text.split_once(',').unwrap_or((text, ""));
        let wrong = |want| Error::usage(format!("--settle {text}: expected {want}"));
        pace.quiet = options::time(quiet).map_err(wrong)?;
        pace.max = if max.is_empty() { pace.quiet.saturating_mul(10) } else { options::time(max).map_err(wrong)? };
    }
    pace.splay = options.parsed("splay", options::time)?.unwrap_or(0);
    Ok(pace)
}

/// What is logged, as far as the options say.
#[inline(never)]
pub fn log(argv0: &str, options: &Options) -> Result<Log> {
    Ok(Log {
        format: options.parsed("log-format", options::log_format)?.unwrap_or(LogFormat::Default),
        level: options.parsed("log-level", options::log_level)?.unwrap_or(Level::Info),
        program: argv0.to_string(),
    })
}
