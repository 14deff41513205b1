//! The native way in: options, `PILOTFISH_*` variables and pilotfish.toml. Flags win over variables, variables over the
//! file, the file over defaults.

use std::path::{Path, PathBuf};

use super::draft::{same_destination, want, wire};
use super::options::Options;
use super::table::{Document, Keys, Table};
use super::{
    World, add_consul, add_environment, add_etcd, add_files, consul_at, etcd_addresses, identity, join, kube, options,
    reload, resource, srv_address, srv_record,
};
use crate::error::{Error, Kind, Result};
use crate::plan::{
    App, Command, Consul, Etcd, Form, Input, Level, LogFormat, Millis, PROBATION, Part, Plan, Reload, Restart, Secret,
    Source, SourceKind, Template, Tree,
};
use crate::template::Dialect;

/// Time from asking the app to stop until its group is killed: below the 10 s that platforms give, with a second
/// left to sweep.
const STOP: Millis = 8_000;
const CHECK: Millis = 30_000;

static TOP: Keys = "source template tree app settle splay start_timeout once log telemetry pass_env";
static SOURCE: Keys = "\
    url token token_file username password password_file datacenter namespace max_stale wait allow_empty filter \
    srv_record srv_domain ca cert key server_name insecure kubeconfig";
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

    let names = sources(plan, &root, options, world)?;
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
    let pass = identity::passed(Some(&root), Some(options));
    identity::hide(plan, &[identity::OWN], &pass, &identity::passed(Some(&app), None));
    if plan.templates.is_empty() && plan.app.is_none() {
        document.verdict()?;
        let text = "nothing to do: no --template, no [[template]] and no program; see pilotfish --help";
        return Err(Error::usage(text));
    }
    if plan.once {
        plan.app = None;
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

/// What the n-th source is called, and the prefix of its keys.
struct Name {
    name: String,
    /// What its URL says behind the address: keys are below it.
    prefix: String,
}

/// Adds the sources, of the file or of the command line.
#[inline(never)]
fn sources(plan: &mut Plan, root: &Table, options: &Options, world: &World) -> Result<Vec<Name>> {
    let mut names = Vec::new();
    let table = root.table("source");
    for name in table.keys() {
        let t = table.table(name);
        t.only(SOURCE);
        let url = t.required("url");
        t.document().verdict()?;
        let prefix = source(plan, url, &t, options, world);
        t.document().verdict()?;
        let prefix = prefix.map_err(|e| t.error("url", &["is no source: ", &e.text].concat()))?;
        names.push(Name { name: name.to_string(), prefix });
    }
    if let Some(url) = options.get("source") {
        // On the command line there is one source; it takes the place of those in the file.
        plan.sources.clear();
        let none = Document::parse("", "")?;
        let shown = url.rsplit('@').next().unwrap_or(url); // a password may stand before it
        let wrong = |e: Error| Error::filled(Kind::Usage, "--source %: %", &[shown, &e.text]);
        let prefix = source(plan, url, &none.root(), options, world).map_err(wrong)?;
        names = vec![Name { name: String::new(), prefix }];
    }
    Ok(names)
}

/// Adds the one source there is, and gives the prefix of its keys.
///
/// # Errors
/// There is none, or several; or what is wrong with it.
#[inline(never)]
pub fn only_source(options: &Options, plan: &mut Plan, world: &World) -> Result<String> {
    let document = config(options, world)?;
    let mut all = sources(plan, &document.root(), options, world)?;
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

/// Adds a source, and gives the prefix of its keys.
#[inline(never)]
fn source(plan: &mut Plan, url: &str, t: &Table, options: &Options, world: &World) -> Result<String> {
    let allow_empty = t.bool("allow_empty", false) || options.is_set("allow-empty");
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    let bare = rest.strip_prefix("//").unwrap_or(rest);
    let mut prefix = "/".to_string();
    let protocol = if scheme.ends_with("+https") { "https" } else { "http" };
    let service = match scheme {
        "etcd+https" | "etcd2+https" => "etcd-client-ssl", // as etcd's own clients have it
        "etcd" | "etcd2" => "etcd-client",
        _ => "consul",
    };
    let srv = srv_record(t.str("srv_record"), t.str("srv_domain"), service).map(|r| srv_address(&r, protocol));
    match scheme {
        "consul" | "consul+http" | "consul+unix" | "consul+https" => {
            let (mut hosts, mut path) = bare.split_once('/').unwrap_or((bare, ""));
            if scheme == "consul+unix" {
                (hosts, path) = ("", "");
            }
            prefix = join(path, "");
            // The variables say how the server of theirs is spoken to, unless the URL does.
            let is_theirs = protocol == "http" && hosts.is_empty();
            let mut c = consul_at(srv.as_deref().unwrap_or(hosts), (!is_theirs).then_some(protocol), world)?;
            if scheme == "consul+unix" {
                c.addresses = vec![["unix:", rest].concat()];
            }
            if let Some(token) = identity::token(t) {
                c.token = token;
            }
            c.basic = identity::basic(t).or(c.basic.take());
            identity::add_table(&mut c.tls, identity::is_https(&c.addresses), t, Some(options))?;
            c.datacenter = t.str("datacenter").unwrap_or("").to_string();
            if let Some(namespace) = t.str("namespace") {
                c.namespace = namespace.to_string();
            }
            c.max_stale = t.time("max_stale");
            c.wait = t.time("wait").unwrap_or(c.wait);
            consul_options(&mut c, options);
            add_consul(plan, c, allow_empty);
        }
        "etcd" | "etcd2" | "etcd+https" | "etcd2+https" => {
            let (mut hosts, path) = bare.split_once('/').unwrap_or((bare, ""));
            prefix = join(path, "");
            if hosts.is_empty() {
                hosts = world.var("ETCDCTL_ENDPOINTS").unwrap_or("127.0.0.1:2379");
            }
            let endpoints = etcd_addresses(srv.as_deref().unwrap_or(hosts), protocol)?;
            let version = if scheme.starts_with("etcd2") { 2 } else { 3 };
            let wait = wait(options, t.time("wait").unwrap_or(60_000));
            let mut etcd = Etcd { endpoints, version, wait, ..Etcd::default() };
            let known = identity::add_etcd(&mut etcd.tls, world)?;
            etcd.basic = identity::basic(t).or(known);
            identity::add_table(&mut etcd.tls, identity::is_https(&etcd.endpoints), t, Some(options))?;
            add_etcd(plan, etcd, allow_empty);
        }
        "dir" if !rest.is_empty() => {
            let name = ["folder ", bare].concat();
            plan.sources.push(Source { name, kind: SourceKind::Dir(PathBuf::from(bare)), allow_empty });
        }
        "file" => {
            add_files(plan, bare, t.str("filter"), allow_empty)?;
        }
        "k8s" => {
            let mut k = kube::unknown();
            kube::access(&mut k, options.get("kubeconfig").or(t.str("kubeconfig")), world)?;
            kube::objects(&mut k, bare)?;
            let file = options.get("token-file").map(|path| Secret::File(PathBuf::from(path)));
            if let Some(token) = file.or(options.get("token").map(identity::text)).or(identity::token(t)) {
                k.token = token;
            }
            k.basic = identity::basic(t).or(k.basic.take());
            identity::add_table(&mut k.tls, identity::is_https(&k.addresses), t, Some(options))?;
            k.wait = wait(options, t.time("wait").unwrap_or(60_000));
            kube::add(plan, k, allow_empty);
        }
        "env" => {
            prefix = join(rest, "");
            add_environment(plan, allow_empty);
        }
        _ => {
            let want = "expected consul://host:port/prefix, consul+https://host:port/prefix, consul+unix:///path, \
                        etcd://host:port/prefix, etcd+https://host:port/prefix, etcd2://host:port/prefix, \
                        etcd2+https://host:port/prefix, k8s://namespace/configmap/name, dir:/folder, file:/a.yaml,/b.json or env:";
            return Err(Error::config(want));
        }
    }
    Ok(prefix)
}

/// The options that say how to talk to Consul, over what is known already.
pub fn consul_options(c: &mut Consul, options: &Options) {
    if let Some(token) = options.get("token") {
        c.token = identity::text(token);
    }
    if let Some(file) = options.get("token-file") {
        c.token = Secret::File(PathBuf::from(file));
    }
    c.wait = wait(options, c.wait);
    c.max_stale = options.parsed("max-stale", options::time).or(c.max_stale);
}

/// The longest wait: as the option says, or as is said already.
pub fn wait(options: &Options, said: Millis) -> Millis {
    // A restored Consul is noticed when the wait is over: a minute at most.
    options.parsed("wait", options::time).unwrap_or(said).clamp(100, 60_000)
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
    let one = plan.template(&name, text, dialect, dest);
    if !sources.is_empty() {
        for key in &keys {
            one.inputs.push(want(source, &hidden, below(&hidden, key)));
        }
    }
    resource::common(t, one, world, false);
    own_commands(t, one, world);
    one.dest.make_dirs |= options.is_set("make-dirs");
    t.document().verdict()
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
    let words = t.strs(key)?;
    if words.iter().all(|w| w.trim().is_empty()) {
        t.wrong(key, "is empty");
    }
    match t.get(key).and_then(crate::value::Value::as_str) {
        Some(_) => Some(Command { argv: words, form: Form::Line, timeout }),
        None => Some(Command { argv: words, form: Form::Words, timeout }),
    }
}

#[inline(never)]
fn template_option(plan: &mut Plan, given: &str, sources: &[Name], options: &Options, world: &World) -> Result<()> {
    let Some((src, dest)) = given.split_once(':').filter(|(s, d)| !s.is_empty() && !d.is_empty()) else {
        return Err(Error::filled(Kind::Usage, "--template %: expected SRC:DEST", &[given]));
    };
    let text = world.text(Path::new(src), "the template")?;
    let dialect = options.parsed("dialect", options::dialect).unwrap_or_else(|| dialect_of(src));
    let one = plan.template(src, text, dialect, dest);
    one.dest.make_dirs = options.is_set("make-dirs");
    if let Some(source) = sources.first() {
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
