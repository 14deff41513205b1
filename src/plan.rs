//! The one model every front door ends in: what to watch, what to render, what to run. Fully validated; nothing
//! behind it asks again where a setting came from. Times are milliseconds.

mod duty;

use std::borrow::Cow;
use std::path::PathBuf;

pub use duty::{ALWAYS, Catalog, Control, Handler, Hooks, Role, Run, Sensor, SensorKind, Service, UNLIMITED};

use crate::dest::Dest;
use crate::guard::Guard;
use crate::secret::Hidden;
use crate::template::Dialect;
use crate::template::scope::Scope;

/// Milliseconds, as a span or on the loop's monotonic clock.
pub type Millis = u64;

/// Everything pilotfish is asked to do.
pub struct Plan {
    /// Where keys come from.
    pub sources: Vec<Source>,
    /// The distinct queries: no two of one source overlap.
    pub watches: Vec<Watch>,
    /// The files to keep in step.
    pub templates: Vec<Template>,
    /// What templates of reconfig see by name; the n-th is of the n-th template, which has the n-th watch for itself.
    /// When its key is not there, its file stays as it is. Other doors have none.
    pub scopes: Vec<Scope>,
    /// A random time up to this before the n-th template's own reload; without one for it: at once.
    pub splays: Vec<Millis>,
    /// The app to supervise; without one pilotfish only keeps files in step.
    pub app: Option<App>,
    /// Variables with secrets that no command may see.
    pub env_remove: Vec<&'static str>,
    /// Variables that the app and every command get.
    pub env: Vec<(String, String)>,
    /// Where services are told of and found.
    pub catalog: Option<Catalog>,
    /// What the catalog is told of.
    pub services: Vec<Service>,
    /// What is run beside the app.
    pub handlers: Vec<Handler>,
    /// What is run at the turns of the app's life.
    pub hooks: Hooks,
    /// The metrics that handlers give.
    pub sensors: Vec<Sensor>,
    /// Where a running pilotfish can be asked and told.
    pub control: Control,
    /// USR1 takes all services out of the catalog, and the next one brings them back. Otherwise it is the app's.
    pub toggles_maintenance: bool,
    /// Without an app: who else is told of new files, and how.
    pub target: Option<Reload>,
    /// How changes are gathered.
    pub pace: Pace,
    /// Give up when the first render is not done after this long (`None`: never).
    pub start_timeout: Option<Millis>,
    /// Render everything once, then end.
    pub once: bool,
    /// Render and compare, show what would change, write nothing.
    pub noop: bool,
    /// Leave staged files that are not put in place where they are.
    pub keep_stage: bool,
    /// A template that does not compile concerns its own file alone; otherwise nothing starts.
    pub is_lenient: bool,
    /// The first time, groups go one after the other, each with its reloads: the check of a file may need those before it.
    pub in_turn: bool,
    /// Parts of the configuration that could not be read: said, and a failure with `once`; the rest runs.
    pub broken: Vec<String>,
    /// HUP means: read the configuration again. Otherwise it is the app's.
    pub rereads: bool,
    /// USR1 turns the log of each step on and off. Otherwise it is the app's.
    pub toggles_debug: bool,
    /// Read the configuration again this often.
    pub refresh: Option<Millis>,
    /// Says whether two readings of the configuration found the same.
    pub fingerprint: u64,
    /// Where the endpoints for health, readiness and metrics listen: `host:port`.
    pub telemetry: Option<String>,
    /// A source that fails for longer than this makes us unready (`None`: none does).
    pub max_outage: Option<Millis>,
    /// What is logged, and how.
    pub log: Log,
    /// What is worth saying at the start.
    pub notes: Vec<(Level, String)>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            sources: Vec::new(),
            watches: Vec::new(),
            templates: Vec::new(),
            scopes: Vec::new(),
            splays: Vec::new(),
            app: None,
            env_remove: Vec::new(),
            env: Vec::new(),
            catalog: None,
            services: Vec::new(),
            handlers: Vec::new(),
            hooks: Hooks::default(),
            sensors: Vec::new(),
            control: Control::None,
            toggles_maintenance: false,
            target: None,
            pace: Pace::default(),
            start_timeout: None,
            once: false,
            noop: false,
            keep_stage: false,
            is_lenient: false,
            in_turn: false,
            broken: Vec::new(),
            rereads: false,
            toggles_debug: false,
            refresh: None,
            fingerprint: 0,
            telemetry: None,
            max_outage: None,
            log: Log { format: LogFormat::Default, level: Level::Info, program: String::new(), is_stdout: false },
            notes: Vec::new(),
        }
    }
}

/// One place keys come from.
pub struct Source {
    /// As the user named it, without secrets; stands in messages.
    pub name: String,
    /// How to get at it.
    pub kind: SourceKind,
    /// A prefix that held keys and is empty now may really be empty; otherwise the last good keys are kept.
    pub allow_empty: bool,
}

/// The protocols.
#[derive(Clone)]
pub enum SourceKind {
    /// Consul's key-value store.
    Consul(Box<Consul>),
    /// etcd, by either of its two interfaces.
    Etcd(Etcd),
    /// ConfigMaps or Secrets of Kubernetes.
    Kubernetes(Box<Kubernetes>),
    /// A folder whose files are keys.
    Dir(PathBuf),
    /// The instances of services: the key `/NAME/ID` is `address:port`.
    Services(Catalog),
    /// The environment pilotfish was started with: `/a/b` is `A_B`.
    Env,
    /// YAML, JSON and TOML files, flattened to keys.
    Files {
        /// Files, and folders of files.
        paths: Vec<PathBuf>,
        /// Which files of folders count, by name: a pattern such as `*.yaml`.
        filter: String,
    },
}

/// How to reach Consul.
#[derive(Clone, Default)]
pub struct Consul {
    /// `http://host:port`, `https://host:port` or `unix:///path`, tried in turn.
    pub addresses: Vec<String>,
    /// For those with `https://`.
    pub tls: Tls,
    /// Where the token is.
    pub token: Secret,
    /// User and password of HTTP basic authentication.
    pub basic: Option<(String, Secret)>,
    /// `?dc=`; empty: the agent's own.
    pub datacenter: String,
    /// `X-Consul-Namespace`; empty: the token's default.
    pub namespace: String,
    /// Answers of any server may be used up to this age; `None`: only the leader's.
    pub max_stale: Option<Millis>,
    /// The longest a blocking query waits on the server.
    pub wait: Millis,
}

/// Where a pod finds the service account it was given.
pub const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/";

impl Kubernetes {
    /// What the objects are called in paths and rules.
    pub fn resource(&self) -> &'static str {
        if self.is_secret { "secrets" } else { "configmaps" }
    }

    /// What is watched, for people: `configmap shop/web`, `secrets of shop`, `configmaps of shop with app=web`.
    pub fn what(&self) -> String {
        let all = self.resource();
        if self.name.is_empty() {
            let with = if self.selector.is_empty() { "" } else { " with " };
            return crate::text::fill("% of %%%", &[all, &self.namespace, with, &self.selector]);
        }
        crate::text::fill("% %/%", &[all.strip_suffix('s').unwrap_or(all), &self.namespace, &self.name])
    }
}

impl SourceKind {
    /// Whether this source has keys in folders: what lies under `/a` is then `/a` and `/a/...`, but not `/ab`.
    pub fn is_tree(&self) -> bool {
        matches!(self, SourceKind::Etcd(_) | SourceKind::Services(_))
    }

    /// Whether it is read as a whole, whatever part of it is wanted: it is one watch.
    pub fn is_whole(&self) -> bool {
        matches!(self, SourceKind::Files { .. } | SourceKind::Kubernetes(_))
    }
}

/// In front of a name in the place of a server's address: its SRV records name the servers.
pub const SRV: &str = "srv://";
/// The same for servers that speak TLS.
pub const SRV_TLS: &str = "srv+https://";

/// Whether one of these servers is spoken to by TLS.
pub fn is_https(addresses: &[String]) -> bool {
    addresses.iter().any(|a| a.starts_with("https://") || a.starts_with(SRV_TLS))
}

/// How to reach etcd.
#[derive(Clone, Default)]
pub struct Etcd {
    /// `http://host:port`, `https://host:port` or `unix:///path`, tried in turn.
    pub endpoints: Vec<String>,
    /// For those with `https://`.
    pub tls: Tls,
    /// 2 or 3: the keys of the one are not those of the other.
    pub version: u8,
    /// User and password.
    pub basic: Option<(String, Secret)>,
    /// A server that is silent for this long is asked whether it is still there.
    pub wait: Millis,
}

/// How to reach the API server of Kubernetes, and what to ask it for.
#[derive(Clone, Default)]
pub struct Kubernetes {
    /// `https://host:port` or `http://host:port`.
    pub addresses: Vec<String>,
    /// What stands in front of each path, where several clusters share an address: empty, or `/clusters/a`.
    pub base: String,
    /// For those with `https://`.
    pub tls: Tls,
    /// Where the token is.
    pub token: Secret,
    /// User and password of HTTP basic authentication.
    pub basic: Option<(String, Secret)>,
    /// Where the objects are.
    pub namespace: String,
    /// They are Secrets; else ConfigMaps.
    pub is_secret: bool,
    /// The one object there is, whose keys are `/key`; empty: the keys of several are `/object/key` ...
    pub name: String,
    /// ... of those that have these labels, as kubectl's `--selector` has it; empty: of all.
    pub selector: String,
    /// The longest wait for news before the server is asked again.
    pub wait: Millis,
}

/// How servers whose address begins with `https://` are trusted, and what they are shown. All files are read again
/// when they change.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Who may have signed the server's certificate: files, and folders of files; none: those the system trusts.
    pub ca: Vec<Pem>,
    /// Our certificate, with those that lead to its issuer, and its key, for servers that ask for one.
    pub identity: Option<(Pem, Pem)>,
    /// The name the server's certificate must have, which the server is also told, in place of the address's.
    pub name: Option<String>,
    /// Any certificate will do. Said loudly at each start.
    pub insecure: bool,
}

/// Certificates or a key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// In this file.
    File(PathBuf),
    /// The text itself.
    Text(String),
}

/// A secret and where it comes from. A file is read again for each request, so it can rotate.
#[derive(Clone, Default)]
pub enum Secret {
    /// There is none.
    #[default]
    None,
    /// Given as it is.
    Text(Hidden),
    /// In this file, white space at its ends not counted.
    File(PathBuf),
}

impl Secret {
    /// Whether it is the same one, from the same place.
    pub fn is_same(&self, other: &Secret) -> bool {
        match (self, other) {
            (Secret::None, Secret::None) => true,
            (Secret::Text(a), Secret::Text(b)) => **a == **b,
            (Secret::File(a), Secret::File(b)) => a == b,
            _ => false,
        }
    }
}

/// What becomes of a key.
pub enum Change {
    /// It gets this value, for so many seconds (0: for ever).
    Set(Vec<u8>, u64),
    /// It goes, or with `true` it and all below it.
    Delete(bool),
}

/// One query to keep open.
pub struct Watch {
    /// Index into `Plan::sources`.
    pub source: usize,
    /// Every key that starts with this, with its leading `/`; `/` is everything. Of services: `/NAME`, or `/NAME?TAG` for
    /// those instances alone that have the tag.
    pub prefix: String,
}

/// A part of a watch, as one template sees it.
pub struct Input {
    /// Index into `Plan::watches`.
    pub watch: usize,
    /// The keys that start with this (when it is empty: all, and what else the watch brings) ...
    pub prefix: String,
    /// ... and the bytes in front that the template does not see.
    pub strip: usize,
}

impl Input {
    /// A key as the template sees it. Prefixes are plain text: `/ab` below `/a` is seen as `/b`.
    pub fn seen<'a>(&self, key: &'a str) -> Cow<'a, str> {
        match key.get(self.strip..) {
            Some(rest) if rest.starts_with('/') => Cow::Borrowed(rest),
            Some(rest) => Cow::Owned(["/", rest].concat()),
            None => Cow::Borrowed(key),
        }
    }
}

/// One file to keep in step.
pub struct Template {
    /// The template's own name, for errors.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Its language.
    pub dialect: Dialect,
    /// What it is rendered to.
    pub dest: Dest,
    /// What it sees.
    pub inputs: Vec<Input>,
    /// What must be there before it is rendered.
    pub guard: Guard,
    /// Must succeed before the new content is put in place; sees it as `{src}`.
    pub check: Option<Command>,
    /// Run after the new content is in place, beside the app's own reload.
    pub reload: Option<Reload>,
    /// Put the previous content back when the app does not bear the new one.
    pub rollback: bool,
    /// Templates of one group are applied all or none.
    pub group: usize,
    /// What it sees is not rendered: the destination is a folder, with a file for each key.
    pub tree: Option<Tree>,
}

/// How keys become the files of a folder.
pub struct Tree {
    /// One for each input of the template: files of a later one win.
    pub parts: Vec<Part>,
    /// The mode of folders.
    pub dir_mode: u32,
    /// The files are replaced all at once, by a link that changes places, as the kubelet does it; else one by one.
    pub is_swapped: bool,
}

/// How one input of a tree becomes files.
pub struct Part {
    /// The mode of its files.
    pub mode: u32,
    /// Keys are `/object/key`, and files are named by what follows the object's name.
    pub is_flat: bool,
}

/// A command that ends by itself.
#[derive(Clone)]
pub struct Command {
    /// Program and arguments; or, of all others than `Words`, one line.
    pub argv: Vec<String>,
    /// How these become what is run.
    pub form: Form,
    /// Its process group is killed after this long.
    pub timeout: Millis,
}

/// How a command is written. A line is for `/bin/sh -c`; where there is no shell it is split into words and run directly.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Words; `{src}` and `{dest}` stand for the file's paths.
    Words,
    /// A line with `{src}` and `{dest}`, or as confd writes them.
    Line,
    /// A line with `{{.src}}` and `{{.dest}}`, and nothing else in it means anything: confd's reload_cmd.
    Fields,
    /// A line that is a Go template over `.src` and `.dest`: confd's check_cmd.
    Go,
}

/// The app.
pub struct App {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// How it learns of new files.
    pub reload: Reload,
    /// What asks it to stop.
    pub stop_signal: i32,
    /// From that signal until its whole group is killed.
    pub stop_timeout: Millis,
    /// Whether it is started again when it ends by itself.
    pub restart: Restart,
    /// An app that ends, or whose reload fails, this soon after its files changed did not bear the change.
    pub probation: Millis,
    /// Variables with secrets that it must not see: those of the plan, but for what it is to see all the same.
    pub env_remove: Vec<&'static str>,
}

/// How the app learns of new files.
pub enum Reload {
    /// Not at all: it watches its files itself.
    None,
    /// By this signal.
    Signal(i32),
    /// By being stopped and started.
    Restart,
    /// By a command.
    Command(Command),
    /// By a request over HTTP.
    Request(Box<Request>),
    /// By a signal to processes that we did not start.
    Named(Named),
}

/// A request that says: read your files again.
pub struct Request {
    /// As it stands in messages, without anything that may be secret.
    pub shown: String,
    /// `http://host:port`, `https://host:port` or `unix:///path`.
    pub address: String,
    /// For one with `https://`.
    pub tls: Tls,
    /// What is asked for there, with its leading `/`.
    pub path: String,
    /// `POST` and the like.
    pub method: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// User and password of HTTP basic authentication.
    pub basic: Option<(String, Secret)>,
    /// A bearer's token.
    pub token: Secret,
    /// What is sent.
    pub body: String,
    /// The answers that mean success; none: each from 200 to 299.
    pub expect: Vec<u16>,
    /// How long one try may take.
    pub timeout: Millis,
    /// How many more tries there are before it has failed.
    pub retries: u32,
    /// The request is to Docker: what an answer means is known, and it says nothing of the files.
    pub is_docker: bool,
}

/// How long the app may take to show that it does not bear its new files, if not said.
pub const PROBATION: Millis = 5_000;
/// Between two tries of a request, in milliseconds.
pub const RETRY_PAUSE: Millis = 500;

/// A signal for the processes of a name.
pub struct Named {
    /// The signal.
    pub signal: i32,
    /// The name, as in /proc/PID/comm.
    pub name: String,
}

impl Reload {
    /// Whether it needs no app of ours: who is told runs elsewhere.
    pub fn is_elsewhere(&self) -> bool {
        self.limit().is_some()
    }

    /// How long it may take; `None` for what is over at once, or is the app's own affair.
    pub fn limit(&self) -> Option<Millis> {
        match self {
            Reload::None | Reload::Signal(_) | Reload::Restart => None,
            Reload::Command(c) => Some(c.timeout),
            Reload::Request(r) => {
                let tries = Millis::from(r.retries).saturating_add(1);
                Some(r.timeout.saturating_add(RETRY_PAUSE).saturating_mul(tries))
            }
            Reload::Named(_) => Some(RETRY_PAUSE),
        }
    }
}

impl Plan {
    /// Something worth saying at the start, with a word in place of each `%`.
    #[inline(never)]
    pub fn note(&mut self, level: Level, pattern: &str, words: &[&str]) {
        self.notes.push((level, crate::text::fill(pattern, words)));
    }

    /// Adds a template that has nothing but what every template has.
    #[inline(never)]
    pub fn template(&mut self, name: &str, text: String, dialect: Dialect, dest: &str) -> &mut Template {
        self.templates.push_mut(Template {
            name: name.to_string(),
            text,
            dialect,
            dest: Dest { path: PathBuf::from(dest), mode: None, uid: None, gid: None, make_dirs: false },
            inputs: Vec::new(),
            guard: Guard::default(),
            check: None,
            reload: None,
            rollback: false,
            group: 0,
            tree: None,
        })
    }

    /// Where a template's file goes, for people; empty when there is no such template.
    #[inline(never)]
    pub fn file(&self, i: usize) -> String {
        self.templates.get(i).map(|t| t.dest.path.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// How a template's own reload goes, or, with the number behind the last template, the app's.
    pub fn reload(&self, i: usize) -> Option<&Reload> {
        match (self.templates.get(i), &self.app) {
            (Some(t), _) => t.reload.as_ref(),
            (None, Some(app)) => Some(&app.reload),
            (None, None) => self.target.as_ref(),
        }
    }
}

/// Whether the app is started again when it ends by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// No: pilotfish ends with the app's code.
    Never,
    /// After a signal or a code other than 0.
    OnFailure,
    /// Always.
    Always,
}

/// How changes are gathered.
#[derive(Clone, Copy)]
pub struct Pace {
    /// Two applies are at least this far apart.
    pub gap: Millis,
    /// Wait until nothing changed for this long ...
    pub quiet: Millis,
    /// ... but not longer than this after the first change.
    pub max: Millis,
    /// Delay an app's reload by a random time up to this.
    pub splay: Millis,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { gap: 100, quiet: 0, max: 0, splay: 0 }
    }
}

/// What is logged, and how.
#[derive(Clone)]
pub struct Log {
    /// The shape of a line.
    pub format: LogFormat,
    /// The least important lines that are written.
    pub level: Level,
    /// What stands where confd prints its program's name.
    pub program: String,
    /// Lines go to standard output; else to standard error.
    pub is_stdout: bool,
}

/// The shape of a log line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// As confd-sidecar's users know it.
    Default,
    /// `time=... level=... msg="..."`.
    Text,
    /// One JSON object a line.
    Json,
    /// As Go's programs write it: date, time, text.
    Go,
    /// As logrus writes it for programs to read.
    Logrus,
    /// As logrus writes it as JSON.
    LogrusJson,
}

/// How important a line is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Each step.
    Debug,
    /// What happens.
    Info,
    /// What goes wrong and is being dealt with.
    Warning,
    /// What goes wrong and needs somebody.
    Error,
    /// What ends it all.
    Fatal,
}

impl Level {
    /// The word confd prints.
    pub fn name(self) -> &'static str {
        match self {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
            Level::Fatal => "FATAL",
        }
    }
}

/// Reads `250ms`, `10s`, `5m`, `1h`, or a bare number of seconds (`1.5` too).
pub fn parse_duration(text: &str) -> Option<Millis> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..)?;
    let scale: u64 = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(part.bytes()).all(|b| b.is_ascii_digit()) || part.len() > 3 {
        return None;
    }
    let mut thousandths = 0;
    for i in 0..3 {
        thousandths = thousandths * 10 + u64::from(part.as_bytes().get(i).map_or(0, |b| b - b'0'));
    }
    whole.parse::<u64>().ok()?.checked_mul(scale)?.checked_add(thousandths * scale / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, want) in [
            ("250ms", Some(250)),
            ("10s", Some(10_000)),
            ("2", Some(2_000)),
            ("1.5s", Some(1_500)),
            ("0.25", Some(250)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("0", Some(0)),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1d", None),
            ("1.2345s", None),
            ("99999999999999999999s", None),
            ("9999999999999999999s", None),
        ] {
            assert_eq!(parse_duration(text), want, "{text}");
        }
    }
}
