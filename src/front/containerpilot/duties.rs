//! The services ContainerPilot's configuration tells others of, those it waits for, and what it runs beside the app: health
//! checks, onChange, tasks, coprocesses, sensors.

use super::fields::{bool_of, command, failed, int, millis, only, shown, texts};
use super::{BACKEND, COPROCESS, EXTRAS, SENSOR, SERVICE, TASK, TELEMETRY};
use crate::front::duties::{kind, variable};
use crate::front::sources::{is_made_of, is_service, services_within};
use crate::front::table::Table;
use crate::front::{Host, World, check, interfaces};
use crate::plan::{ALWAYS, Command, Form, Handler, Level, Millis, Plan, Role, Run, Sensor, Service, UNLIMITED, Watch};
use crate::text::fill;
use crate::value::Value;

/// A dependency is looked for this often, and a look takes no longer than this; a command has longer.
const WAIT: Millis = 1_000;
const WAIT_URL: Millis = 5_000;
const WAIT_COMMAND: Millis = 60_000;

/// Of the service that telemetry is.
const BEAT: Millis = 5_000;
const TTL: Millis = 15_000;

/// Adds one thing of a list.
type Add = fn(&mut Plan, &Table, &World, &Host);

/// The lists of the configuration, with their tables' keys.
static LISTS: &[(&str, &str, Add)] = &[
    ("services", SERVICE, service),
    ("backends", BACKEND, backend),
    ("tasks", TASK, task),
    ("coprocesses", COPROCESS, coprocess),
];

/// Adds everything. What is wrong is kept in the document.
#[inline(never)]
pub fn add(plan: &mut Plan, root: &Table, world: &World, host: &Host) {
    for (key, keys, add) in LISTS {
        add_list(plan, root, (key, keys, *add), world, host);
    }
    if root.has("telemetry") {
        telemetry(plan, &root.table("telemetry"), world, host);
    }
    wait_for(plan, root, world);
}

#[inline(never)]
fn add_list(plan: &mut Plan, t: &Table, (key, keys, add): (&str, &str, Add), world: &World, host: &Host) {
    for t in t.tables(key) {
        only(&t, keys);
        add(plan, &t, world, host);
    }
}

/// One more handler, under a name of its own.
#[inline(never)]
fn handler(plan: &mut Plan, kind: &str, name: &str, run: Run, role: Role, poll: Millis) {
    let mut name = [kind, name].concat();
    let mut n = 1;
    let whole = name.clone();
    while plan.handlers.iter().any(|h| h.name == name) {
        n += 1;
        name = fill("% #%", &[&whole, &n.to_string()]);
    }
    // What is done again and again is done the first time when its time has come.
    plan.handlers.push(Handler { name, run, role, poll, first: if role == Role::Wait { 0 } else { poll } });
}

/// A number above zero, in milliseconds where it is a time.
#[inline(never)]
fn above_zero(t: &Table, key: &str, what: &str, of: fn(&Table, &str) -> Option<u64>) -> u64 {
    let found = of(t, key).unwrap_or(0);
    if found == 0 {
        failed(t, key, "`%` must be > 0 in %", &[key, what]);
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
        failed(t, "port", "`port` must be at most 65535 in %", &[what]);
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
            failed(t, "interfaces", "%", &[&e.text]);
            String::new()
        }
    };
    plan.env.push((variable("CONTAINERPILOT_", name), address.clone()));
    let id = [name, "-", &host.name].concat();
    if plan.services.iter().any(|s| s.id == id) {
        plan.note(Level::Warning, "two services are called %: others see only one of them", &[&id]);
    }
    plan.services.push(Service {
        id,
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
fn service(plan: &mut Plan, t: &Table, world: &World, host: &Host) {
    let name = t.str("name").unwrap_or("");
    let is_word = name.len() > 1 && name.starts_with(|c: char| c.is_ascii_lowercase()) && is_made_of(name, b"-");
    if name.is_empty() {
        failed(t, "name", "service must have a `name`", &[]);
    } else if !is_word {
        let text = "service names must be alphanumeric with dashes to comply with service discovery: a small letter, \
                    then letters, digits and dashes; not %";
        failed(t, "name", text, &[name]);
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
    let text = t.get("health").and_then(Value::as_str).unwrap_or("");
    let run = asked(t, "health", text, timeout, world);
    let run = run.or_else(|| command(t, "health", &what, timeout).map(Run::Command));
    announce(plan, t, name, port, ttl, host);
    let extras = t.table("consul");
    only(&extras, EXTRAS);
    let after = extras.str("deregisterCriticalServiceAfter").unwrap_or("");
    if !after.is_empty() {
        millis(&extras, "deregisterCriticalServiceAfter");
    }
    if let Some(service) = plan.services.last_mut() {
        service.enable_tag_override = bool_of(&extras, "enableTagOverride");
        service.deregister_after = after.to_string();
    }
    let role = Role::Health(plan.services.len().saturating_sub(1));
    handler(plan, "health check of ", name, run.unwrap_or(Run::Nothing), role, poll);
}

/// What a URL asks; `None` where the text is none. What is wrong with it is kept.
#[inline(never)]
fn asked(t: &Table, key: &str, text: &str, timeout: Millis, world: &World) -> Option<Run> {
    match check::read(text, key, timeout, world) {
        Ok(found) => found,
        Err(e) => {
            failed(t, key, "%", &[&e.text]);
            Some(Run::Nothing)
        }
    }
}

/// The watch of a service's instances; `name` may have a `?` and a tag behind it. One source for each longest wait.
#[inline(never)]
fn watch(plan: &mut Plan, name: &str, wait: Millis) -> usize {
    let Some(source) = services_within(plan, Some(wait.clamp(1_000, 60_000))) else { return 0 };
    let prefix = ["/", name].concat();
    let is_it = |w: &Watch| w.source == source && w.prefix == prefix;
    plan.watches.iter().position(is_it).unwrap_or_else(|| {
        plan.watches.push(Watch { source, prefix });
        plan.watches.len() - 1
    })
}

#[inline(never)]
fn backend(plan: &mut Plan, t: &Table, _: &World, _: &Host) {
    let name = t.str("name").unwrap_or("");
    if name.is_empty() {
        failed(t, "name", "backend must have a `name`", &[]);
    } else if !is_service(name) {
        t.wrong("name", "is no name of a service");
    }
    let what = ["backend ", name].concat();
    let Some(run) = command(t, "onChange", &what, limit(t, UNLIMITED)) else {
        return failed(t, "onChange", "`onChange` is required in %", &[&what]);
    };
    let poll = above_zero(t, "poll", &what, millis);
    let tag = t.str("tag").unwrap_or("");
    let whole = if tag.is_empty() { name.to_string() } else { [name, "?", tag].concat() };
    let role = Role::Change(watch(plan, &whole, poll));
    handler(plan, "onChange of ", &whole, Run::Command(run), role, 0);
}

/// Adds a command under the name of the key `name`, or its own words.
#[inline(never)]
fn named(plan: &mut Plan, t: &Table, what: &str, timeout: Millis, role: Role, poll: Millis) {
    let Some(run) = command(t, "command", what, timeout) else {
        return failed(t, "command", "% did not provide a command", &[what]);
    };
    let name = t.str("name").filter(|n| !n.is_empty()).map_or_else(|| run.argv.join(" "), str::to_string);
    let kind = if role == Role::Task { "task " } else { "coprocess " };
    handler(plan, kind, &name, Run::Command(run), role, poll);
}

#[inline(never)]
fn task(plan: &mut Plan, t: &Table, _: &World, _: &Host) {
    let poll = millis(t, "frequency");
    let said = t.get("frequency").map(shown).unwrap_or_default();
    match poll {
        Some(0) => failed(t, "frequency", "frequency '%' cannot be less than 1ms", &[&said]),
        None => failed(t, "frequency", "Unable to parse frequency '%': a time such as 10s is needed", &[&said]),
        Some(poll) => named(plan, t, "Task", limit(t, poll), Role::Task, poll),
    }
}

#[inline(never)]
fn coprocess(plan: &mut Plan, t: &Table, _: &World, _: &Host) {
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
        let text = "Invalid 'restarts' field \"%\": accepts positive integers, \"unlimited\" or \"never\"";
        return failed(t, "restarts", text, &[&said]);
    };
    named(plan, t, "Coprocess", UNLIMITED, Role::Coprocess(times), 0);
}

#[inline(never)]
fn telemetry(plan: &mut Plan, t: &Table, world: &World, host: &Host) {
    const NAME: &str = "containerpilot";
    only(t, TELEMETRY);
    let port = port_of(t, "telemetry", number(t, "port").filter(|p| *p > 0).unwrap_or(9090));
    plan.telemetry = Some([":", &port.to_string()].concat());
    announce(plan, t, NAME, port, TTL, host);
    let role = Role::Health(plan.services.len().saturating_sub(1));
    handler(plan, "health check of ", NAME, Run::Nothing, role, BEAT);
    add_list(plan, t, ("sensors", SENSOR, sensor), world, host);
}

#[inline(never)]
fn sensor(plan: &mut Plan, t: &Table, _: &World, _: &Host) {
    let mut name = String::new();
    for key in ["namespace", "subsystem", "name"] {
        let part = t.str(key).unwrap_or("");
        name.push_str(if name.is_empty() || part.is_empty() { "" } else { "_" });
        name.push_str(part);
    }
    if !is_made_of(&name, b"_:")
        || name.starts_with(|c: char| c.is_ascii_digit())
        || t.str("name").is_none_or(str::is_empty)
    {
        return failed(t, "name", "\"%\" is not a valid metric name", &[&name]);
    }
    if name.starts_with("pilotfish_") {
        return failed(t, "name", "the metrics pilotfish_... are pilotfish's own", &[]);
    }
    if plan.sensors.iter().any(|s| s.name == name) {
        return failed(t, "name", "duplicate metrics collector registration attempted: %", &[&name]);
    }
    let Ok(kind) = kind(t.str("type").unwrap_or("")) else {
        return failed(t, "type", "Invalid sensor type: %", &[t.str("type").unwrap_or("")]);
    };
    let what = ["sensor ", &name].concat();
    let poll = above_zero(t, "poll", &what, millis);
    let Some(run) = command(t, "check", &what, limit(t, poll)) else {
        return failed(t, "check", "`check` is required in %", &[&what]);
    };
    let role = Role::Sensor(plan.sensors.len());
    plan.sensors.push(Sensor { name, help: t.str("help").unwrap_or("").to_string(), kind });
    handler(plan, "", &what, Run::Command(run), role, poll);
}

/// What must be there before the app is started.
#[inline(never)]
fn wait_for(plan: &mut Plan, root: &Table, world: &World) {
    const KEY: &str = "wait_for";
    for text in texts(root, KEY).unwrap_or_default() {
        let text = text.trim();
        let name = text.strip_prefix("service:");
        let run = match (name, asked(root, KEY, text, WAIT_URL, world)) {
            (Some(name), _) if is_service(name.split('?').next().unwrap_or("")) => {
                Run::Instances(watch(plan, name, 60_000))
            }
            (None, Some(run)) => run,
            (None, None) if !text.is_empty() => Run::Command(Command {
                argv: text.split(' ').map(str::to_string).collect(),
                form: Form::Words,
                timeout: WAIT_COMMAND,
            }),
            _ => return failed(root, KEY, "`wait_for` names no service, URL or command: %", &[text]),
        };
        // What stands behind a ? of a URL may be secret.
        let shown = if let Run::Request(r) = &run { r.shown.clone() } else { text.to_string() };
        handler(plan, "", &shown, run, Role::Wait, WAIT);
    }
}
