//! What a plan has beside files and the app: the services it tells others of, the ones it finds, and what is run at its
//! times: hooks, health checks, sensors, tasks, coprocesses, and what others' coming and going calls for.

use super::{Command, Consul, Etcd, Millis, Request, Secret};

/// No time limit.
pub const UNLIMITED: Millis = Millis::MAX;
/// Another run for each end of a coprocess.
pub const ALWAYS: u32 = u32::MAX;

/// Where services are told of and found.
#[derive(Clone)]
pub enum Catalog {
    /// Consul's agent.
    Consul(Box<Consul>),
    /// Keys of etcd below a prefix (`/containerpilot`), which has its leading `/` and none at its end.
    Etcd(Box<Etcd>, String),
}

/// A service that others are told of as long as it is well.
#[derive(Clone, PartialEq, Eq)]
pub struct Service {
    /// What this instance is called.
    pub id: String,
    /// What the service is called, as others look for it.
    pub name: String,
    /// Where it is found: an address without brackets.
    pub address: String,
    /// At this port.
    pub port: u16,
    /// Words that others may choose by.
    pub tags: Vec<String>,
    /// How long it counts as well after it was found so: whole seconds.
    pub ttl: Millis,
    /// What stands beside the check in the catalog.
    pub notes: String,
    /// Tags may be changed in the catalog, and stay so.
    pub enable_tag_override: bool,
    /// The catalog forgets it when it was not well for this long, as Consul writes it (`10m`); empty: never.
    pub deregister_after: String,
}

/// Something that is run, again and again or when something happens; never twice at a time.
pub struct Handler {
    /// For messages, and to know it again in another reading of the configuration: `health check of app`.
    pub name: String,
    /// What is done.
    pub run: Run,
    /// Why.
    pub role: Role,
    /// Between two begins, for what is run again and again.
    pub poll: Millis,
    /// From the app's start to the first time.
    pub first: Millis,
}

/// What a handler does.
pub enum Run {
    /// Nothing, and that always works.
    Nothing,
    /// Runs a command, whose lines are logged. Works when it ends with 0.
    Command(Command),
    /// Asks by HTTP. Works when the answer is a wanted one.
    Request(Box<Request>),
    /// Connects to `host:port` (IPv6 in brackets), within so many milliseconds.
    Tcp(String, Millis),
    /// Looks whether a watch of services (index into `Plan::watches`) has an instance.
    Instances(usize),
}

/// Why a handler is run, and when.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Each `poll`: whether this service (index into `Plan::services`) is well.
    Health(usize),
    /// Each `poll`: what it prints is observed by this sensor (index into `Plan::sensors`).
    Sensor(usize),
    /// Each `poll`.
    Task,
    /// When the instances of a watch of services (index into `Plan::watches`) are others than before; at the start, if
    /// there are any.
    Change(usize),
    /// Beside the app: before it is started, and as often again when it ends (`ALWAYS`: each time).
    Coprocess(u32),
    /// Must work before the app is started: each `poll`, until it has worked once.
    Wait,
}

/// What is run at the turns of the app's life.
#[derive(Clone, Default)]
pub struct Hooks {
    /// Before the app is started, when its files are in place; a code other than 0 ends pilotfish with it.
    pub pre_start: Option<Command>,
    /// Before the app is asked to stop; it is awaited, and what it says does not matter.
    pub pre_stop: Option<Command>,
    /// When the app has ended; a code other than 0 is ours in place of the app's.
    pub post_stop: Option<Command>,
}

/// A metric whose values a handler gives.
#[derive(Clone, PartialEq, Eq)]
pub struct Sensor {
    /// Its whole name: `namespace_subsystem_name`.
    pub name: String,
    /// What it is, in a sentence.
    pub help: String,
    /// What becomes of a value.
    pub kind: SensorKind,
}

/// What becomes of a sensor's value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SensorKind {
    /// It is added.
    Counter,
    /// It takes the place of the one before.
    Gauge,
    /// It is counted in buckets.
    Histogram,
    /// Quantiles are kept of it.
    Summary,
}

/// Where a running pilotfish can be asked and told: a unix socket.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Control {
    /// Nowhere.
    #[default]
    None,
    /// Where `pilotfish status` looks for it.
    Usual,
    /// At this path.
    At(String),
}

impl Catalog {
    /// Whether this is the same catalog, spoken to in the same way.
    pub fn is_same(&self, other: &Catalog) -> bool {
        match (self, other) {
            (Catalog::Consul(a), Catalog::Consul(b)) => {
                a.addresses == b.addresses
                    && a.tls == b.tls
                    && a.token.is_same(&b.token)
                    && a.datacenter == b.datacenter
                    && a.namespace == b.namespace
                    && same_user(&a.basic, &b.basic)
            }
            (Catalog::Etcd(a, x), Catalog::Etcd(b, y)) => {
                a.endpoints == b.endpoints
                    && a.tls == b.tls
                    && a.version == b.version
                    && x == y
                    && same_user(&a.basic, &b.basic)
            }
            _ => false,
        }
    }
}

fn same_user(a: &Option<(String, Secret)>, b: &Option<(String, Secret)>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.0 == b.0 && a.1.is_same(&b.1),
        _ => false,
    }
}

impl Run {
    /// How long it may take.
    pub fn limit(&self) -> Millis {
        match self {
            Run::Nothing | Run::Instances(_) => UNLIMITED,
            Run::Command(c) => c.timeout,
            Run::Request(r) => r.timeout,
            Run::Tcp(_, timeout) => *timeout,
        }
    }
}
