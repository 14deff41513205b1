//! The services ContainerPilot's configuration tells others of, those it waits for, and what it runs beside the app: health
//! checks, onChange, tasks, coprocesses, sensors.

use super::fields::{bool_of, command, failed, int, millis, nanos, only, shown, texts};
use super::{BACKEND, COPROCESS, EXTRAS, SENSOR, SERVICE, TASK, TELEMETRY};
use crate::error::{Error, Result};
use crate::front::table::Table;
use crate::front::{Host, World, check, interfaces};
use crate::plan::{
    ALWAYS, Catalog, Command, Form, Handler, Level, Millis, Plan, Role, Run, Sensor, SensorKind, Service, Source,
    SourceKind, UNLIMITED, Watch,
};
use crate::value::Value;

/// A dependency is looked for this often, and a look takes no longer than this; a command has longer.
const WAIT: Millis = 1_000;
const WAIT_URL: Millis = 5_000;
const WAIT_COMMAND: Millis = 60_000;

/// Of the service that telemetry is.
const BEAT: Millis = 5_000;
const TTL: Millis = 15_000;

/// Adds everything.
///
/// # Errors
/// What is wrong; or it is kept in the document.
pub fn add(plan: &mut Plan, root: &Table, world: &World, host: &Host) -> Result<()> {
    for t in root.tables("services") {
        service(plan, &t, world, host)?;
    }
    for t in root.tables("backends") {
        backend(plan, &t)?;
    }
    for t in root.tables("tasks") {
        task(plan, &t);
    }
    for t in root.tables("coprocesses") {
        coprocess(plan, &t);
    }
    if root.has("telemetry") {
        telemetry(plan, &root.table("telemetry"), host)?;
    }
    wait_for(plan, root, world)?;
    for i in 1..plan.services.len() {
        let (before, rest) = plan.services.split_at(i);
        if let Some(again) = rest.first().filter(|s| before.iter().any(|b| b.id == s.id)) {
            let id = again.id.clone();
            plan.note(Level::Warning, "two services are called %: others see only one of them", &[&id]);
        }
    }
    root.document().verdict()
}

/// One more handler, under a name of its own.
#[inline(never)]
fn handler(plan: &mut Plan, name: String, run: Run, role: Role, poll: Millis) {
    let mut own = name.clone();
    let mut n = 1;
    while plan.handlers.iter().any(|h| h.name == own) {
        n += 1;
        own = [&name, " #", &n.to_string()].concat();
    }
    // What is done again and again is done the first time when its time has come.
    plan.handlers.push(Handler { name: own, run, role, poll, first: if role == Role::Wait { 0 } else { poll } });
}

/// A number above zero, in milliseconds where it is a time.
#[inline(never)]
fn above_zero(t: &Table, key: &str, what: &str, of: fn(&Table, &str) -> Option<u64>) -> u64 {
    let found = of(t, key).unwrap_or(0);
    if found == 0 {
        failed(t, key, &["`", key, "` must be > 0 in ", what].concat());
    }
    found
}

fn number(t: &Table, key: &str) -> Option<u64> {
    int(t, key).map(|n| u64::try_from(n).unwrap_or(0))
}

/// How long something may take: 0 is for ever.
#[inline(never)]
fn limit(t: &Table, default: Millis) -> Millis {
    match millis(t, "timeout") {
        Some(0) => UNLIMITED,
        found => found.unwrap_or(default),
    }
}

#[inline(never)]
fn port_of(t: &Table, what: &str, found: u64) -> u16 {
    u16::try_from(found).unwrap_or_else(|_| {
        failed(t, "port", &["`port` must be at most 65535 in ", what].concat());
        0
    })
}

/// Tells of one more service.
#[inline(never)]
fn announce(plan: &mut Plan, t: &Table, name: &str, port: u16, ttl: Millis, host: &Host) {
    let specs = texts(t, "interfaces").unwrap_or_default();
    let address = match interfaces::pick(&specs, host) {
        Ok(ip) => ip.to_string(),
        Err(e) => {
            failed(t, "interfaces", &e.text);
            String::new()
        }
    };
    let is_word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let variable: String = name.chars().map(is_word).collect();
    plan.env.push((["CONTAINERPILOT_", &variable, "_IP"].concat(), address.clone()));
    plan.services.push(Service {
        id: [name, "-", &host.name].concat(),
        name: name.to_string(),
        address,
        port,
        tags: texts(t, "tags").unwrap_or_default(),
        ttl,
        notes: ["TTL for ", name, " set by containerpilot"].concat(),
        enable_tag_override: false,
        deregister_after: String::new(),
    });
}

#[inline(never)]
fn service(plan: &mut Plan, t: &Table, world: &World, host: &Host) -> Result<()> {
    only(t, SERVICE);
    let name = t.str("name").unwrap_or("");
    let mut chars = name.chars();
    let is_word = chars.next().is_some_and(|c| c.is_ascii_lowercase())
        && chars.clone().next().is_some()
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '-');
    if name.is_empty() {
        failed(t, "name", "service must have a `name`");
    } else if !is_word {
        let text = "service names must be alphanumeric with dashes to comply with service discovery: a small letter, \
                    then letters, digits and dashes; not ";
        failed(t, "name", &[text, name].concat());
    }
    let what = ["service ", name].concat();
    let poll = above_zero(t, "poll", &what, millis);
    // Consul knows whole seconds.
    let ttl = above_zero(t, "ttl", &what, millis).div_ceil(1_000).saturating_mul(1_000);
    let port = above_zero(t, "port", &what, number);
    let port = port_of(t, &what, port);
    if ttl <= poll {
        let text = "the ttl of service % is not longer than its poll: between two checks it may count as not well";
        plan.note(Level::Warning, text, &[name]);
    }
    let timeout = limit(t, poll);
    let run = match t.get("health").and_then(Value::as_str) {
        Some(text) => check::read(text, "`health`", timeout, world).map_err(|e| placed(t, "health", &e))?,
        None => None,
    };
    let run = run.or_else(|| command(t, "health", &[" in ", &what].concat(), timeout).map(Run::Command));
    announce(plan, t, name, port, ttl, host);
    let extras = t.table("consul");
    only(&extras, EXTRAS);
    let after = extras.str("deregisterCriticalServiceAfter").unwrap_or("");
    if !after.is_empty() {
        nanos(&extras, "deregisterCriticalServiceAfter");
    }
    if let Some(service) = plan.services.last_mut() {
        service.enable_tag_override = bool_of(&extras, "enableTagOverride");
        service.deregister_after = after.to_string();
    }
    let role = Role::Health(plan.services.len().saturating_sub(1));
    handler(plan, ["health check of ", name].concat(), run.unwrap_or(Run::Nothing), role, poll);
    Ok(())
}

/// An error at a key.
fn placed(t: &Table, key: &str, e: &Error) -> Error {
    Error::config([&t.place(key), &*e.text].concat())
}

/// The watch of a service's instances; `name` may have a `?` and a tag behind it. One source for each longest wait.
#[inline(never)]
fn watch(plan: &mut Plan, name: &str, wait: Millis) -> usize {
    let wait = wait.clamp(1_000, 60_000);
    let Some(mut catalog) = plan.catalog.clone() else { return 0 };
    let (of, servers, slot) = match &mut catalog {
        Catalog::Consul(c) => ("services of Consul at ", &c.addresses, &mut c.wait),
        Catalog::Etcd(e, _) => ("services of etcd at ", &e.endpoints, &mut e.wait),
    };
    *slot = wait;
    let shown = [of, &servers.join(", ")].concat();
    let has_wait = |s: &Source| match &s.kind {
        SourceKind::Services(Catalog::Consul(c)) => c.wait == wait,
        SourceKind::Services(Catalog::Etcd(e, _)) => e.wait == wait,
        _ => false,
    };
    let source = plan.sources.iter().position(has_wait).unwrap_or_else(|| {
        plan.sources.push(Source { name: shown, kind: SourceKind::Services(catalog), allow_empty: true });
        plan.sources.len() - 1
    });
    let prefix = ["/", name].concat();
    let is_it = |w: &Watch| w.source == source && w.prefix == prefix;
    plan.watches.iter().position(is_it).unwrap_or_else(|| {
        plan.watches.push(Watch { source, prefix });
        plan.watches.len() - 1
    })
}

/// A service's name must fit into a path; a tag stands behind a `?`.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '?' | '#'))
}

#[inline(never)]
fn backend(plan: &mut Plan, t: &Table) -> Result<()> {
    only(t, BACKEND);
    let name = t.str("name").unwrap_or("");
    if name.is_empty() {
        failed(t, "name", "backend must have a `name`");
    } else if !is_name(name) {
        t.wrong("name", "is no name of a service");
    }
    let what = ["backend ", name].concat();
    let Some(run) = command(t, "onChange", &[" in ", &what].concat(), limit(t, UNLIMITED)) else {
        failed(t, "onChange", &["`onChange` is required in ", &what].concat());
        return Ok(());
    };
    let poll = above_zero(t, "poll", &what, millis);
    let tag = t.str("tag").unwrap_or("");
    let whole = if tag.is_empty() { name.to_string() } else { [name, "?", tag].concat() };
    let role = Role::Change(watch(plan, &whole, poll));
    handler(plan, ["onChange of ", &whole].concat(), Run::Command(run), role, 0);
    Ok(())
}

/// A command with its name: that of the key `name`, or its own words.
#[inline(never)]
fn named(t: &Table, what: &str, timeout: Millis) -> Option<(String, Run)> {
    let Some(run) = command(t, "command", "", timeout) else {
        failed(t, "command", &[what, " did not provide a command"].concat());
        return None;
    };
    let name = t.str("name").filter(|n| !n.is_empty()).map_or_else(|| run.argv.join(" "), str::to_string);
    Some(([&what.to_ascii_lowercase(), " ", &name].concat(), Run::Command(run)))
}

#[inline(never)]
fn task(plan: &mut Plan, t: &Table) {
    only(t, TASK);
    let poll = match nanos(t, "frequency") {
        Some(n) if n >= 1_000_000 => n.div_ceil(1_000_000),
        found => {
            let said = t.get("frequency").map(shown).unwrap_or_default();
            let why = if found.is_some() { "' cannot be less than 1ms" } else { "': a time such as 10s is needed" };
            failed(t, "frequency", &["Unable to parse frequency '", &said, why].concat());
            return;
        }
    };
    if let Some((name, run)) = named(t, "Task", limit(t, poll)) {
        handler(plan, name, run, Role::Task, poll);
    }
}

#[inline(never)]
fn coprocess(plan: &mut Plan, t: &Table) {
    only(t, COPROCESS);
    let times = match t.get("restarts") {
        None => Some(0),
        Some(Value::Str(word)) if &**word == "unlimited" => Some(ALWAYS),
        Some(Value::Str(word)) if &**word == "never" => Some(0),
        Some(Value::Str(word)) => word.parse().ok(),
        Some(Value::Int(n)) => u32::try_from(*n).ok(),
        Some(Value::Float(f)) if *f >= 0.0 => Some(*f as u32),
        Some(_) => None,
    };
    let Some(times) = times else {
        let said = t.get("restarts").map(shown).unwrap_or_default();
        let text = ["Invalid 'restarts' field \"", &said, "\": accepts positive integers, \"unlimited\" or \"never\""];
        return failed(t, "restarts", &text.concat());
    };
    if let Some((name, run)) = named(t, "Coprocess", UNLIMITED) {
        handler(plan, name, run, Role::Coprocess(times), 0);
    }
}

#[inline(never)]
fn telemetry(plan: &mut Plan, t: &Table, host: &Host) -> Result<()> {
    const NAME: &str = "containerpilot";
    only(t, TELEMETRY);
    let port = port_of(t, "telemetry", number(t, "port").filter(|p| *p > 0).unwrap_or(9090));
    plan.telemetry = Some([":", &port.to_string()].concat());
    announce(plan, t, NAME, port, TTL, host);
    let role = Role::Health(plan.services.len().saturating_sub(1));
    handler(plan, ["health check of ", NAME].concat(), Run::Nothing, role, BEAT);
    for t in t.tables("sensors") {
        sensor(plan, &t);
    }
    Ok(())
}

#[inline(never)]
fn sensor(plan: &mut Plan, t: &Table) {
    only(t, SENSOR);
    let mut name = String::new();
    for key in ["namespace", "subsystem", "name"] {
        let part = t.str(key).unwrap_or("");
        name.push_str(if name.is_empty() || part.is_empty() { "" } else { "_" });
        name.push_str(part);
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    if !name.chars().all(is_part)
        || name.starts_with(|c: char| c.is_ascii_digit())
        || t.str("name").is_none_or(str::is_empty)
    {
        return failed(t, "name", &["\"", &name, "\" is not a valid metric name"].concat());
    }
    if plan.sensors.iter().any(|s| s.name == name) {
        return failed(t, "name", &["duplicate metrics collector registration attempted: ", &name].concat());
    }
    let kind = match t.str("type").unwrap_or("") {
        "counter" => SensorKind::Counter,
        "gauge" => SensorKind::Gauge,
        "histogram" => SensorKind::Histogram,
        "summary" => SensorKind::Summary,
        other => return failed(t, "type", &["Invalid sensor type: ", other].concat()),
    };
    let what = ["sensor ", &name].concat();
    let poll = above_zero(t, "poll", &what, millis);
    let Some(run) = command(t, "check", &[" in ", &what].concat(), limit(t, poll)) else {
        return failed(t, "check", &["`check` is required in ", &what].concat());
    };
    let role = Role::Sensor(plan.sensors.len());
    plan.sensors.push(Sensor { name, help: t.str("help").unwrap_or("").to_string(), kind });
    handler(plan, what, Run::Command(run), role, poll);
}

/// What must be there before the app is started.
#[inline(never)]
fn wait_for(plan: &mut Plan, root: &Table, world: &World) -> Result<()> {
    const KEY: &str = "wait_for";
    for text in texts(root, KEY).unwrap_or_default() {
        let text = text.trim();
        let run = match text.strip_prefix("service:") {
            Some(name) if is_name(name.split('?').next().unwrap_or("")) => Run::Instances(watch(plan, name, 60_000)),
            _ => match check::read(text, KEY, WAIT_URL, world).map_err(|e| placed(root, KEY, &e))? {
                Some(run) => run,
                None if text.is_empty() || text.starts_with("service:") => {
                    failed(root, KEY, &["`wait_for` names no service, URL or command: ", text].concat());
                    continue;
                }
                None => {
                    let argv = text.split(' ').map(str::to_string).collect();
                    Run::Command(Command { argv, form: Form::Words, timeout: WAIT_COMMAND })
                }
            },
        };
        // What stands behind a ? of a URL may be secret.
        let shown = if let Run::Request(r) = &run { r.shown.clone() } else { text.to_string() };
        handler(plan, ["wait for ", &shown].concat(), run, Role::Wait, WAIT);
    }
    Ok(())
}
