//! ContainerPilot's way in: its flags, its configuration (JSON5 that is a Go template over the environment), and its app. What
//! stands at the top of the configuration is read here; services and what is run beside the app in `duties`.

mod duties;
mod fields;
#[cfg(test)]
mod tests;

use std::path::Path;

use self::fields::{command, failed, int, is_negative, millis, only, texts};
use super::help::{self, Help};
use super::settings::typed;
use super::table::{Document, Table};
use super::{World, consul_at, etcd_addresses, identity, join};
use crate::error::{Error, Kind, Result};
use crate::plan::{
    App, Catalog, Consul, Control, Etcd, Level, LogFormat, Millis, PROBATION, Plan, Reload, Restart, Secret, UNLIMITED,
};
use crate::template::over_environment;
use crate::text::group;
use crate::value::Value;

/// The help, as Go prints it. Every flag there is stands in it.
pub const HELP: &str = "\
Usage of containerpilot: [FLAGS] [PROGRAM [ARGS...]]
  -config value
    \tfile:///PATH or the configuration itself (default: what CONTAINERPILOT says)
  -template
    \tprint the configuration as its template makes it, and end
  -version
    \tprint the version
";

/// What it is called in errors where no file has it.
const INLINE: &str = "-config";
const VARIABLE: &str = "CONTAINERPILOT";

// The keys that each table may have, with a space between.
static TOP: &str = "\
    consul etcd onStart preStart preStop postStop stopTimeout logging services backends telemetry tasks coprocesses \
    wait_for control";
static CONSUL: &str = "address scheme token token_file";
static ETCD: &str = "endpoints prefix version";
static LOGGING: &str = "level format output";
static SERVICE: &str = "name port poll ttl health interfaces tags timeout consul";
static EXTRAS: &str = "enableTagOverride deregisterCriticalServiceAfter";
static BACKEND: &str = "name poll onChange tag timeout";
static TASK: &str = "name command frequency timeout";
static COPROCESS: &str = "name command restarts";
static TELEMETRY: &str = "port interfaces tags sensors";
static SENSOR: &str = "namespace subsystem name help type poll check timeout";

/// Where each table of the configuration is, with its keys, for the test of the documentation.
pub static KEYS: &[(&str, &str)] = &[
    ("", TOP),
    ("consul", CONSUL),
    ("etcd", ETCD),
    ("logging", LOGGING),
    ("services[]", SERVICE),
    ("services[].consul", EXTRAS),
    ("backends[]", BACKEND),
    ("tasks[]", TASK),
    ("coprocesses[]", COPROCESS),
    ("telemetry", TELEMETRY),
    ("telemetry.sensors[]", SENSOR),
];

/// Without `stopTimeout`.
const STOP: Millis = 5_000;

/// Reads the command line behind `containerpilot` into the plan, or gives what to print.
///
/// # Errors
/// `Kind::Flag` for the command line, in Go's words; `Kind::Fatal` for what it names: whatever is wrong with it, the
/// original's code is 1.
pub fn read(args: &[String], plan: &mut Plan, world: &World) -> Result<Option<String>> {
    read_all(args, plan, world).map_err(|mut e| {
        if e.kind != Kind::Flag {
            e.kind = Kind::Fatal;
        }
        e
    })
}

#[inline(never)]
fn read_all(args: &[String], plan: &mut Plan, world: &World) -> Result<Option<String>> {
    let (given, program) = typed(args, help::text(Help::Containerpilot), "")?;
    if given.is_set("help") {
        return Ok(Some(help::text(Help::Containerpilot).to_string()));
    }
    if given.is_set("version") {
        let text = concat!("Version: 2.7.8 (pilotfish ", env!("CARGO_PKG_VERSION"), ")\n");
        return Ok(Some(text.to_string()));
    }
    let host = (world.host)();
    plan.env.push(("CONTAINERPILOT_PID".to_string(), host.pid.to_string()));
    let (name, text) = configuration(given.get("config").unwrap_or(""), plan, world)?;
    if given.is_set("template") {
        return Ok(Some(text));
    }
    let document = Document::parse_json(&name, &text)?;
    fill(plan, &document.root(), world, &host)?;
    document.verdict()?;
    add_program(plan, program, world);
    Ok(None)
}

/// The configuration as its template makes it, behind what it is called in errors.
#[inline(never)]
fn configuration(said: &str, plan: &Plan, world: &World) -> Result<(String, String)> {
    let (mut name, said) = if said.is_empty() { (VARIABLE, world.var(VARIABLE).unwrap_or("")) } else { (INLINE, said) };
    if said.is_empty() {
        return Err(Error::config("-config flag is required: say -config file:///PATH, or set CONTAINERPILOT"));
    }
    let read;
    let path = said.strip_prefix("file://").unwrap_or(said);
    let mut text = said;
    if path.len() < said.len() || !said.contains('{') {
        let found = world.text(Path::new(path), "the configuration");
        read = found.map_err(|e| in_front("Could not read config file: ", e))?;
        (name, text) = (path, &read);
    }
    let made = over_environment(name, text, world.vars, &plan.env);
    let made = made.map_err(|e| in_front("Could not apply template to config: ", e))?;
    Ok((name.to_string(), made))
}

#[inline(never)]
fn in_front(words: &str, mut e: Error) -> Error {
    e.text.insert_str(0, words);
    e
}

#[inline(never)]
fn fill(plan: &mut Plan, root: &Table, world: &World, host: &super::Host) -> Result<()> {
    only(root, TOP);
    root.document().verdict()?;
    let catalog = match (root.get("consul"), root.get("etcd")) {
        (None, None) => Err(Error::config("No discovery backend defined")),
        (Some(_), Some(_)) => Err(Error::config("More than one discovery backend defined")),
        (Some(said), None) => consul(root, said, world).map(Catalog::Consul),
        (None, Some(_)) => etcd(&root.table("etcd"), world),
    };
    plan.catalog = Some(catalog.map_err(|e| in_front(&root.place("consul etcd"), e))?);
    logging(plan, &root.table("logging"));
    root.document().verdict()?;
    if root.has("onStart") {
        plan.note(Level::Warning, "the option onStart is deprecated: use preStart instead", &[]);
    }
    let hook = |key: &str| command(root, key, "the configuration", UNLIMITED);
    plan.hooks.pre_start = hook("preStart").or_else(|| hook("onStart"));
    plan.hooks.pre_stop = hook("preStop");
    plan.hooks.post_stop = hook("postStop");
    (plan.rereads, plan.toggles_maintenance) = (true, true);
    plan.control = match root.get("control") {
        None | Some(Value::Bool(true)) => Control::Usual,
        Some(Value::Str(path)) if path.starts_with(['/', '.']) => Control::At(path.to_string()),
        said => {
            if !matches!(said, Some(Value::Bool(false))) {
                root.wrong("control", "must be the path of a socket, or false");
            }
            Control::None
        }
    };
    // The app is not known yet; its end is.
    let timeout = millis(root, "stopTimeout").filter(|ms| *ms > 0).unwrap_or(STOP);
    let (stop_signal, stop_timeout) = if is_negative(root, "stopTimeout") { (9, 0) } else { (15, timeout) };
    plan.app = Some(App {
        argv: Vec::new(),
        reload: Reload::None,
        stop_signal,
        stop_timeout,
        restart: Restart::Never,
        probation: PROBATION,
        env_remove: Vec::new(),
    });
    duties::add(plan, root, world, host);
    Ok(())
}

/// The app: its arguments are templates, too. What is none stays as it is, as it may be somebody else's template.
#[inline(never)]
fn add_program(plan: &mut Plan, program: &[String], world: &World) {
    let mut argv = Vec::new();
    for arg in program {
        match over_environment("argument", arg, world.vars, &plan.env) {
            Ok(made) => argv.push(made),
            Err(e) => {
                plan.note(Level::Warning, "Unable to render command arguments template: %", &[&e.text]);
                argv = program.to_vec();
                break;
            }
        }
    }
    match &mut plan.app {
        Some(app) if !argv.is_empty() => app.argv = argv,
        app => *app = None,
    }
}

#[inline(never)]
fn consul(root: &Table, said: &Value, world: &World) -> Result<Box<Consul>> {
    if let Some(address) = said.as_str() {
        return consul_at(address, Some("http"), world);
    }
    if said.as_map().is_none() {
        return Err(Error::config("Unexpected Consul config structure. Expected a string or map"));
    }
    let t = root.table("consul");
    only(&t, CONSUL);
    let scheme = t.str("scheme").filter(|s| !s.is_empty());
    let mut c = consul_at(t.str("address").unwrap_or(""), scheme, world)?;
    // As in the original, the variable wins.
    if matches!(c.token, Secret::None)
        && let Some(token) = identity::token(&t)
    {
        c.token = token;
    }
    Ok(c)
}

#[inline(never)]
fn etcd(t: &Table, world: &World) -> Result<Catalog> {
    only(t, ETCD);
    let endpoints = texts(t, "endpoints").unwrap_or_default().join(",");
    let endpoints = etcd_addresses(&endpoints, "http")?;
    if endpoints.is_empty() {
        return Err(Error::config("Must provide etcd endpoints"));
    }
    let version = match int(t, "version") {
        None | Some(2) => 2,
        Some(3) => 3,
        Some(_) => return Err(t.error("version", "must be 2 or 3")),
    };
    let mut etcd = Box::new(Etcd { endpoints, version, wait: 60_000, ..Etcd::default() });
    etcd.basic = identity::add_etcd(&mut etcd.tls, world)?;
    let prefix = t.str("prefix").filter(|p| !p.is_empty()).unwrap_or("/containerpilot");
    Ok(Catalog::Etcd(etcd, join(prefix, "").trim_end_matches('/').to_string()))
}

#[inline(never)]
fn logging(plan: &mut Plan, t: &Table) {
    only(t, LOGGING);
    // Which of these it is; `usual` where it is not said.
    let word = |key: &str, words: &str, usual: &str| {
        let said = t.str(key).filter(|said| !said.is_empty());
        group(&said.unwrap_or(usual).to_ascii_lowercase(), words)
    };
    let wrong = |key: &str, text: &str| failed(t, key, text, &[t.str(key).unwrap_or("")]);
    plan.log.level = match word("level", "debug, info, warn warning, error, fatal panic", "info") {
        0 => Level::Debug,
        1 => Level::Info,
        2 => Level::Warning,
        3 => Level::Error,
        4 => Level::Fatal,
        _ => {
            wrong("level", "Unknown log level '%'");
            Level::Info
        }
    };
    plan.log.format = match word("format", "text, json, default", "default") {
        0 => LogFormat::Logrus,
        1 => LogFormat::LogrusJson,
        n => {
            if n > 2 {
                wrong("format", "Unknown log format '%'");
            }
            LogFormat::Go
        }
    };
    let output = word("output", "stderr, stdout", "stdout");
    plan.log.is_stdout = output > 0;
    if output > 1 {
        wrong("output", "Unknown output type '%'");
    }
}
