//! What pilotfish.toml has beside files and the app, from its tables to the plan: services, who is told when others come
//! and go, hooks, tasks, coprocesses, sensors, and what is waited for. It runs nothing and asks nobody.

use super::options::Options;
use super::sources::{instances, is_made_of, is_service, services};
use super::table::{Keys, Table};
use super::{Host, World, check, interfaces, native};
use crate::plan::{
    ALWAYS, Command, Handler, Hooks, Millis, Plan, Role, Run, Sensor, SensorKind, Service, UNLIMITED, Watch,
};
use crate::text::{fill, group};
use crate::value::Value;

/// Between two checks, if that is not said.
const INTERVAL: Millis = 10_000;
/// Between two looks at what is waited for, and how long one may take.
const WAIT: (Millis, Millis) = (1_000, 5_000);
/// How long the hooks at the end may take, if that is not said, and how long the app waits for a catalog that is slow to
/// hear. So much less time does the app get: all is over before the platform's patience is.
const LEAVE: Millis = 1_000;
const PRE_STOP: Millis = 3_000;
const POST_STOP: Millis = 1_000;

static SERVICE: Keys = "\
    name port id address interfaces tags interval ttl health health_timeout notes enable_tag_override deregister_after";
static BACKEND: Keys = "name tag on_change timeout";
static HOOKS: Keys = "pre_start pre_start_timeout pre_stop pre_stop_timeout post_stop post_stop_timeout";
static TASK: Keys = "name command interval timeout";
static COPROCESS: Keys = "name command restarts";
static SENSOR: Keys = "name help type interval check timeout";

/// What all tables are read with.
struct Around<'a> {
    root: &'a Table<'a>,
    options: &'a Options,
    world: &'a World<'a>,
    host: Host,
}

/// Adds what a table says.
type Add = fn(&mut Plan, &Table, &Around);

/// The lists of tables, their keys, and what they add.
static LISTS: [(&str, Keys, Add); 5] = [
    ("service", SERVICE, service),
    ("backend", BACKEND, backend),
    ("task", TASK, task),
    ("coprocess", COPROCESS, coprocess),
    ("sensor", SENSOR, sensor),
];

/// Adds all of it to the plan, whose templates have their watches already and whose app is known.
#[inline(never)]
pub fn read(plan: &mut Plan, root: &Table, options: &Options, world: &World) {
    let around = Around { root, options, world, host: (world.host)() };
    for (key, keys, add) in LISTS {
        for t in root.tables(key) {
            if plan.catalog.is_none() && matches!(key, "service" | "backend") {
                root.wrong(key, "needs to know where services are: [catalog] with its `url`, or --catalog URL");
            }
            t.only(keys);
            add(plan, &t, &around);
        }
    }
    hooks(plan, root, options);
    wait_for(plan, root, world);
    if let Some(control) = root.parsed("control", super::options::control)
        && !options.is_set("control")
    {
        plan.control = control;
    }
    if !plan.services.is_empty() || !plan.handlers.is_empty() || has_hooks(&plan.hooks) {
        environment(plan, &around.host);
    }
}

fn task(plan: &mut Plan, t: &Table, _: &Around) {
    let poll = span(t, "interval", None);
    let run = required(t, "command", span(t, "timeout", Some(poll)));
    add_named(plan, t, "task ", run, Role::Task, (poll, poll));
}

fn coprocess(plan: &mut Plan, t: &Table, _: &Around) {
    let run = required(t, "command", UNLIMITED);
    add_named(plan, t, "coprocess ", run, Role::Coprocess(restarts(t)), (0, 0));
}

/// With `once` there is no app to do it for.
pub fn leave_out(plan: &mut Plan) {
    let is_read = |watch: usize| plan.templates.iter().any(|t| t.inputs.iter().any(|i| i.watch == watch));
    // Those of templates come first.
    let end = (0..plan.watches.len()).find(|w| !is_read(*w)).unwrap_or(plan.watches.len());
    plan.watches.truncate(end);
    plan.services.clear();
    plan.handlers.clear();
    plan.sensors.clear();
    plan.hooks = Hooks::default();
}

fn has_hooks(hooks: &Hooks) -> bool {
    hooks.pre_start.is_some() || hooks.pre_stop.is_some() || hooks.post_stop.is_some()
}

/// What children find in their environment: who we are, and the address of each service.
#[inline(never)]
fn environment(plan: &mut Plan, host: &Host) {
    plan.env.push(("PILOTFISH_PID".to_string(), host.pid.to_string()));
    for s in &plan.services {
        let name = variable("PILOTFISH_", &s.name);
        // Of several of one name, the first.
        if !plan.env.iter().any(|(n, _)| *n == name) {
            plan.env.push((name, s.address.clone()));
        }
    }
}

/// What a service's address is called in the environment.
#[inline(never)]
pub fn variable(prefix: &str, service: &str) -> String {
    let mut name = prefix.to_string();
    for c in service.chars() {
        name.push(if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    }
    name.push_str("_IP");
    name
}

/// A time that is not nothing.
#[inline(never)]
fn span(t: &Table, key: &str, usual: Option<Millis>) -> Millis {
    match (t.time(key), usual) {
        (Some(0), _) => t.wrong(key, "must be longer than nothing"),
        (Some(time), _) => return time,
        (None, Some(usual)) => return usual,
        (None, None) => t.wrong(key, "is missing"),
    }
    INTERVAL
}

/// A command that must be there.
#[inline(never)]
fn required(t: &Table, key: &str, timeout: Millis) -> Run {
    if !t.has(key) {
        t.wrong(key, "is missing");
    }
    native::command(t, key, timeout).map_or(Run::Nothing, Run::Command)
}

/// What a text or a list of words asks for: a URL, or a command.
#[inline(never)]
fn run(t: &Table, key: &str, value: &Value, timeout: Millis, world: &World) -> Run {
    if let Some(text) = value.as_str() {
        match check::read(text, "", timeout, world) {
            Ok(Some(run)) => return run,
            Ok(None) => {}
            Err(e) => t.wrong(key, &["is no check: ", e.text.trim_start()].concat()),
        }
    }
    native::command_of(t, key, value, timeout).map_or(Run::Nothing, Run::Command)
}

/// Adds a handler; its first time is so long after the app's start.
#[inline(never)]
fn add(plan: &mut Plan, name: String, run: Run, role: Role, (first, poll): (Millis, Millis)) -> bool {
    let is_new = !plan.handlers.iter().any(|h| h.name == name);
    plan.handlers.push(Handler { name, run, role, poll, first });
    is_new
}

/// The same by the name of a table. Without one it is called by its number.
#[inline(never)]
fn add_named(plan: &mut Plan, t: &Table, what: &str, run: Run, role: Role, times: (Millis, Millis)) {
    let mut name = t.str("name").unwrap_or("").to_string();
    if name.is_empty() {
        let same = plan.handlers.iter().filter(|h| h.name.starts_with(what)).count();
        name = same.saturating_add(1).to_string();
    }
    if !add(plan, [what, &name].concat(), run, role, times) {
        t.wrong("name", "is another one's name already");
    }
}

#[inline(never)]
fn service(plan: &mut Plan, t: &Table, around: &Around) {
    let host = &around.host;
    let name = t.required("name");
    if !is_service(name) {
        t.wrong("name", "must be made of letters, digits, `-`, `_` and `.`, with one of the first two in front");
    }
    let id = t.str("id").filter(|id| !id.is_empty()).map_or_else(|| [name, "-", &host.name].concat(), str::to_string);
    if plan.services.iter().any(|s| s.id == id) {
        let key = if t.has("id") { "id" } else { "name" };
        t.wrong(key, &fill("gives another service's id, %: each needs an `id` of its own", &[&id]));
    }
    let port = t.id("port").and_then(|n| u16::try_from(n).ok()).unwrap_or(0);
    if port == 0 {
        t.wrong("port", "must be there, a number from 1 to 65535");
    }
    let poll = span(t, "interval", Some(INTERVAL));
    let ttl = t.time("ttl").unwrap_or_else(|| poll.saturating_mul(3).div_ceil(1000).saturating_mul(1000));
    if ttl < poll || !ttl.is_multiple_of(1000) {
        t.wrong("ttl", "must be whole seconds, and not less than `interval`");
    }
    let timeout = span(t, "health_timeout", Some(poll));
    let run = t.get("health").map_or(Run::Nothing, |health| run(t, "health", health, timeout, around.world));
    let what = ["health check of ", if t.has("id") { &id } else { name }].concat();
    let role = Role::Health(plan.services.len());
    add(plan, what, run, role, (0, poll));
    plan.services.push(Service {
        id,
        name: name.to_string(),
        address: address(t, host),
        port,
        tags: t.strs("tags").unwrap_or_default(),
        ttl,
        notes: t.str("notes").unwrap_or("").to_string(),
        enable_tag_override: t.bool("enable_tag_override", false),
        deregister_after: t.str("deregister_after").unwrap_or("").to_string(),
    });
}

/// Where a service is found: at its `address`, or at the first of its `interfaces` that has one.
#[inline(never)]
fn address(t: &Table, host: &Host) -> String {
    let specs = t.strs("interfaces");
    if let Some(said) = t.str("address") {
        if specs.is_some() {
            t.wrong("address", "and `interfaces` are two ways to say where it is: only one of them counts");
        }
        if !is_made_of(said, b"-_.") && said.parse::<std::net::IpAddr>().is_err() {
            t.wrong("address", "must be an address or a name, without a port or brackets");
        }
        return said.to_string();
    }
    let specs = specs.unwrap_or_else(|| ["eth0:inet", "inet"].map(str::to_string).to_vec());
    match interfaces::pick(&specs, host) {
        Ok(ip) => ip.to_string(),
        Err(e) => {
            let key = if t.has("interfaces") { "interfaces" } else { "address" };
            t.wrong(key, &["cannot be found: ", &e.text.replace('\n', "; ")].concat());
            String::new()
        }
    }
}

#[inline(never)]
fn backend(plan: &mut Plan, t: &Table, _: &Around) {
    let mut text = t.required("name").to_string();
    if let Some(tag) = t.str("tag") {
        text.push('?');
        text.push_str(tag);
    }
    let run = required(t, "on_change", span(t, "timeout", Some(UNLIMITED)));
    let Some(watch) = watch(plan, t, "name", &text) else { return };
    if !add(plan, ["on_change of ", &text].concat(), run, Role::Change(watch), (0, 0)) {
        t.wrong("name", "and `tag` are another backend's already");
    }
}

/// The watch of a service's instances, made where there is none.
#[inline(never)]
fn watch(plan: &mut Plan, t: &Table, key: &str, text: &str) -> Option<usize> {
    let prefix = match instances(text) {
        Ok(prefix) => prefix,
        Err(want) => {
            t.wrong(key, &["must be ", want].concat());
            return None;
        }
    };
    let Some(source) = services(plan) else {
        t.wrong(key, "needs a [catalog] with its `url`, or --catalog URL");
        return None;
    };
    let found = plan.watches.iter().position(|w| w.source == source && w.prefix == prefix);
    Some(found.unwrap_or_else(|| {
        plan.watches.push(Watch { source, prefix });
        plan.watches.len().saturating_sub(1)
    }))
}

#[inline(never)]
fn hooks(plan: &mut Plan, root: &Table, options: &Options) {
    let t = root.table("hooks");
    t.only(HOOKS);
    plan.hooks.pre_start = hook(&t, "pre_start", UNLIMITED);
    plan.hooks.pre_stop = hook(&t, "pre_stop", PRE_STOP);
    plan.hooks.post_stop = hook(&t, "post_stop", POST_STOP);
    let is_said = root.table("app").has("stop_timeout") || options.is_set("stop-timeout");
    if let Some(app) = plan.app.as_mut().filter(|_| !is_said) {
        for (is_there, time) in [
            (!plan.services.is_empty(), LEAVE),
            (plan.hooks.pre_stop.is_some(), PRE_STOP),
            (plan.hooks.post_stop.is_some(), POST_STOP),
        ] {
            app.stop_timeout = app.stop_timeout.saturating_sub(if is_there { time } else { 0 });
        }
    }
}

#[inline(never)]
fn hook(t: &Table, key: &str, usual: Millis) -> Option<Command> {
    native::command(t, key, span(t, &[key, "_timeout"].concat(), Some(usual)))
}

/// How often a coprocess is started again.
#[inline(never)]
fn restarts(t: &Table) -> u32 {
    match t.get("restarts") {
        None => 0,
        Some(Value::Str(word)) if **word == *"never" => 0,
        Some(Value::Str(word)) if **word == *"always" => ALWAYS,
        Some(Value::Int(n)) if u32::try_from(*n).is_ok_and(|n| n < ALWAYS) => t.id("restarts").unwrap_or(0),
        Some(_) => {
            t.wrong("restarts", "must be a number, \"never\" or \"always\"");
            0
        }
    }
}

/// What becomes of a sensor's value, by its word.
pub fn kind(text: &str) -> super::options::Read<SensorKind> {
    match group(text, "counter, gauge, histogram, summary") {
        0 => Ok(SensorKind::Counter),
        1 => Ok(SensorKind::Gauge),
        2 => Ok(SensorKind::Histogram),
        3 => Ok(SensorKind::Summary),
        _ => Err("counter, gauge, histogram or summary"),
    }
}

#[inline(never)]
fn sensor(plan: &mut Plan, t: &Table, around: &Around) {
    let name = t.required("name");
    let is_number = name.starts_with(|c: char| c.is_ascii_digit());
    if !is_made_of(name, b"_:") || is_number || name.starts_with("pilotfish_") {
        t.wrong(
            "name",
            "must be a metric's: letters, digits and `_`, no digit in front, and not pilotfish_, which are ours",
        );
    }
    t.required("type");
    let kind = t.parsed("type", kind).unwrap_or(SensorKind::Gauge);
    if !around.root.table("telemetry").has("listen") && !around.options.is_set("listen") {
        t.wrong("name", "is shown to nobody: `listen` of [telemetry], or --listen, says where /metrics is");
    }
    let poll = span(t, "interval", None);
    let run = required(t, "check", span(t, "timeout", Some(poll)));
    let role = Role::Sensor(plan.sensors.len());
    add_named(plan, t, "sensor ", run, role, (0, poll));
    plan.sensors.push(Sensor { name: name.to_string(), help: t.str("help").unwrap_or("").to_string(), kind });
}

#[inline(never)]
fn wait_for(plan: &mut Plan, root: &Table, world: &World) {
    const KEY: &str = "wait_for";
    let Some(value) = root.get(KEY) else { return };
    for one in value.as_list().unwrap_or(std::slice::from_ref(value)) {
        let text = super::table::texts(one).unwrap_or_default().join(" ");
        let run = match one.as_str().and_then(|text| text.strip_prefix("service:")) {
            Some(name) => watch(plan, root, KEY, name).map_or(Run::Nothing, Run::Instances),
            None => run(root, KEY, one, WAIT.1, world),
        };
        let name = if let Run::Request(r) = &run { r.shown.clone() } else { text }; // without what may be secret
        add(plan, name, run, Role::Wait, (0, WAIT.0));
    }
}

#[cfg(test)]
mod tests;
