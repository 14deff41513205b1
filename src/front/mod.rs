//! The ways in: argv, environment and files become a `Plan`, or something to print. Pure but for the `World` passed
//! in. The door is chosen by the name pilotfish is called by, by the first word, or by the environment.

mod backend;
pub mod check;
mod confd;
mod confd_sidecar;
pub mod config_controller;
pub mod containerpilot;
pub mod control;
mod draft;
mod duties;
pub mod flags;
pub mod help;
mod identity;
pub mod interfaces;
mod kube;
pub mod kv;
mod native;
pub mod options;
pub mod probe;
pub mod reconfig;
mod reload;
mod resource;
mod settings;
mod sources;
mod table;

use core::net::IpAddr; // the number, not the network
use std::path::{Path, PathBuf};

use crate::control::Call;
use crate::error::{Error, Kind, Result};
use crate::kv::Query;
use crate::plan::{Consul, Etcd, Plan, Request, SRV, SRV_TLS, Secret, Source, SourceKind};
use crate::text::is_one_of;
use help::Help;
use options::Options;

/// What a door may look at.
pub struct World<'a> {
    /// The environment.
    pub vars: &'a [(String, String)],
    /// Reads a file.
    pub read: &'a dyn Fn(&Path) -> std::io::Result<Vec<u8>>,
    /// All files below a folder, sorted.
    pub files: &'a dyn Fn(&Path) -> std::io::Result<Vec<PathBuf>>,
    /// What the host says of itself.
    pub host: &'a dyn Fn() -> Host,
}

/// The host, as far as services are known by it.
#[derive(Default)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// The names of its network interfaces with their addresses, in no order.
    pub addresses: Vec<(String, IpAddr)>,
    /// Our process's number.
    pub pid: u32,
}

impl World<'_> {
    /// An environment variable that is set and not empty.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// A file's text.
    ///
    /// # Errors
    /// It cannot be read or is no UTF-8: `Kind::Config`, naming it and what it is for.
    pub fn text(&self, path: &Path, what: &str) -> Result<String> {
        let name = path.display().to_string();
        let fail = |why: &str| Error::filled(Kind::Config, "cannot read % %: %", &[what, &name, why]);
        let bytes = (self.read)(path).map_err(|e| fail(&crate::error::os_text(&e)))?;
        String::from_utf8(bytes).map_err(|_| fail("it is no UTF-8 text"))
    }
}

impl World<'_> {
    /// Whether there is such a folder: all that can be told is that it cannot be read as a file.
    #[inline(never)]
    pub fn is_folder(&self, path: &Path) -> bool {
        (self.read)(path).is_err_and(|e| e.kind() == std::io::ErrorKind::IsADirectory)
    }

    /// The files of a folder that need not be there.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn folder(&self, dir: &Path) -> Result<Vec<PathBuf>> {
        match (self.files)(dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                let (name, why) = (dir.display().to_string(), crate::error::os_text(&e));
                Err(Error::filled(Kind::Config, "cannot read the folder %: %", &[&name, &why]))
            }
            found => Ok(found.unwrap_or_default()),
        }
    }
}

/// What the command line asks for.
pub enum Invocation {
    /// Run this plan.
    Run(Box<Plan>),
    /// Say that the plan is good, and end.
    Check(Box<Plan>),
    /// Print this and end with code 0.
    Print(&'static str),
    /// The same with a text that was made.
    Show(String),
    /// Read or change keys by hand.
    Kv(Box<Query>),
    /// Ask a server how it is.
    Probe(Box<Request>),
    /// Ask or tell a running pilotfish.
    Control(Box<Call>),
}

/// What the program may be called to be another one.
static NAMES: &str = "confd-sidecar confd config-controller containerpilot reconfig reconfig.rb";

/// The first words that make it another one, or have a meaning of their own.
pub static WORDS: &str = "\
    confd-sidecar confd config-controller containerpilot reconfig check health help kv maintenance probe reload status";

/// Reads the command line (without the program's own name in `args`).
///
/// # Errors
/// `Kind::Usage` for the command line, `Kind::Config` for everything it names; whole sentences.
pub fn read(argv0: &str, args: &[String], world: &World) -> Result<Invocation> {
    let called = argv0.rsplit('/').next().unwrap_or(argv0);
    let (door, args) = match args.split_first() {
        _ if is_one_of(called, NAMES) => (called, args),
        Some((first, rest)) if is_one_of(first, WORDS) => (first.as_str(), rest),
        _ => ("", args),
    };
    if door == "help" {
        return Ok(Invocation::Print(help::text(Help::Pilotfish)));
    }
    let mut plan = Box::<Plan>::default();
    plan.log.program = argv0.to_string();
    if door == "kv" {
        return Ok(Invocation::Kv(kv::read(args, plan, world)?));
    }
    if door == "health" || door == "probe" {
        return Ok(Invocation::Probe(probe::read(door, args, world)?));
    }
    if is_one_of(door, "maintenance reload status") {
        return Ok(Invocation::Control(control::read(door, args, world)?));
    }
    if door == "containerpilot" {
        let options = Options::read(&[], world, "")?;
        plan.telemetry = options.parsed("listen", options::listen);
        let shown = containerpilot::read(args, &mut plan, world)?;
        if options.is_set("control") {
            plan.control = control::said(&options);
        }
        return Ok(shown.map_or_else(|| Invocation::Run(plan), Invocation::Show));
    }
    if door == "confd" || door == "config-controller" || door.starts_with("reconfig") {
        let read = match door {
            "confd" => confd::read,
            "config-controller" => config_controller::read,
            _ => reconfig::read,
        };
        let options = Options::read(&[], world, "")?;
        plan.telemetry = options.parsed("listen", options::listen);
        plan.control = control::said(&options);
        return Ok(read(args, &mut plan, world)?.map_or_else(|| Invocation::Run(plan), Invocation::Print));
    }
    let options = Options::read(args, world, "")?;
    if options.is_set("help") {
        return Ok(Invocation::Print(help::text(Help::Pilotfish)));
    }
    if options.is_set("version") {
        return Ok(Invocation::Print(concat!("pilotfish ", env!("CARGO_PKG_VERSION"), "\n")));
    }
    // confd-sidecar's users may set nothing but its variables and put pilotfish in its place.
    let has_confd = world.vars.iter().any(|(n, _)| confd_sidecar::is_mine(n));
    let has_native = ["config", "source", "template"].iter().any(|o| options.is_set(o));
    if door == "confd-sidecar" || (has_confd && !has_native) {
        plan.control = control::said(&options);
        confd_sidecar::plan(&options, &mut plan, world)?;
    } else {
        plan.control = control::socket(&options, world);
        native::plan(&options, &mut plan, world)?;
    }
    Ok(if door == "check" { Invocation::Check(plan) } else { Invocation::Run(plan) })
}

/// confd's flags with their keys in confd.toml (empty: none), for the test of the documentation.
pub fn confd_flags() -> Vec<(&'static str, String)> {
    settings::names()
}

/// What stands in each address list: `a,b` or `a b`.
#[inline(never)]
fn list(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    for part in text.split([',', ' ', '\n']) {
        if !part.trim().is_empty() {
            all.push(part.trim());
        }
    }
    all
}

/// Consul at these hosts. Its own variables are for everything the configuration does not say: address, scheme, token,
/// namespace, TLS.
#[inline(never)]
fn consul_at(hosts: &str, scheme: Option<&str>, world: &World) -> Result<Box<Consul>> {
    let mut c = Box::<Consul>::default();
    c.wait = 60_000;
    let is_tls = world.var("CONSUL_HTTP_SSL").and_then(settings::go_bool) == Some(true);
    let scheme = scheme.unwrap_or(if is_tls { "https" } else { "http" });
    let address = world.var("CONSUL_HTTP_ADDR").unwrap_or("127.0.0.1:8500");
    c.addresses = consul_addresses(if list(hosts).is_empty() { address } else { hosts }, scheme)?;
    if c.addresses.is_empty() {
        return Err(Error::config("CONSUL_HTTP_ADDR holds no address"));
    }
    identity::add_consul(&mut c.tls, world)?;
    if let Some(t) = world.var("CONSUL_HTTP_TOKEN") {
        c.token = identity::text(t);
    } else if let Some(f) = world.var("CONSUL_HTTP_TOKEN_FILE") {
        c.token = Secret::File(PathBuf::from(f));
    }
    c.basic = world.var("CONSUL_HTTP_AUTH").and_then(identity::pair);
    c.namespace = world.var("CONSUL_NAMESPACE").unwrap_or("").to_string();
    Ok(c)
}

/// A list of `host:port`, `http://host:port`, `https://host:port` or `unix:///path`, as Consul's own programs take it.
fn consul_addresses(hosts: &str, scheme: &str) -> Result<Vec<String>> {
    addresses("Consul", ":8500", hosts, scheme)
}

/// The addresses of a list, each of which must be good.
#[inline(never)]
fn addresses(server: &str, port: &str, hosts: &str, scheme: &str) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for host in list(hosts) {
        all.push(server_address(server, port, host, scheme)?);
    }
    Ok(all)
}

/// The addresses of a list of etcd's servers, each of which must be good.
fn etcd_addresses(hosts: &str, scheme: &str) -> Result<Vec<String>> {
    addresses("etcd", ":2379", hosts, scheme)
}

/// Adds an etcd, with its name for messages.
#[inline(never)]
fn add_etcd(plan: &mut Plan, etcd: Etcd, allow_empty: bool) {
    let name = ["etcd at ", &etcd.endpoints.join(", ")].concat();
    plan.sources.push(Source { name, kind: SourceKind::Etcd(etcd), allow_empty });
}

/// What stands for the servers of an SRV record.
fn srv_address(record: &str, scheme: &str) -> String {
    [if scheme == "https" { SRV_TLS } else { SRV }, record].concat()
}

/// A DNS SRV record that names the servers, or what confd makes of a domain alone.
#[inline(never)]
fn srv_record(record: Option<&str>, domain: Option<&str>, service: &str) -> Option<String> {
    let of_domain = |d: &str| ["_", service, "._tcp.", d.trim_end_matches('.'), "."].concat();
    record.map(str::to_string).or_else(|| domain.map(of_domain))
}

/// The address of a server, as a URL. `port` is for an address without one.
fn server_address(server: &str, port: &str, text: &str, scheme: &str) -> Result<String> {
    if ["unix://", SRV, SRV_TLS].iter().any(|s| text.starts_with(s)) {
        return Ok(text.to_string());
    }
    let is_url = text.contains("://");
    let (scheme, rest) = text.split_once("://").unwrap_or((scheme, text));
    let is_tls = scheme == "https";
    let rest = rest.trim_end_matches('/');
    // A password in the address is no way in, and no text for a log.
    let shown = rest.rsplit('@').next().unwrap_or(rest);
    let wrong = |why: &str| Err(Error::filled(Kind::Config, "cannot use % at %://%: %", &[server, scheme, shown, why]));
    match scheme {
        "http" | "https" | "tcp" if rest.contains('@') => {
            wrong("the user and the password have settings of their own: username, password")
        }
        "http" | "https" | "tcp" if !rest.is_empty() && !rest.contains(['/', '?', '#', '@']) => {
            let bare = rest.rsplit(']').next().unwrap_or(rest);
            let port = match bare.rsplit_once(':') {
                // As everybody's URLs have it, Consul's own programs' too; and where Consul itself listens.
                None if is_tls && is_url => ":443",
                None if is_tls && port == ":8500" => ":8501",
                None => port,
                Some((_, given)) if given.parse::<u16>().is_ok() => "",
                Some(_) => return wrong("its port is no number"),
            };
            Ok([if is_tls { "https://" } else { "http://" }, rest, port].concat())
        }
        _ => wrong("expected host:port, http://host:port, https://host:port or unix:///path"),
    }
}

/// Adds a Consul, with its name for messages.
#[inline(never)]
fn add_consul(plan: &mut Plan, consul: Box<Consul>, allow_empty: bool) {
    let name = ["Consul at ", &consul.addresses.join(", ")].concat();
    plan.sources.push(Source { name, kind: SourceKind::Consul(consul), allow_empty });
}

/// Adds the environment.
#[inline(never)]
fn add_environment(plan: &mut Plan, allow_empty: bool) {
    plan.sources.push(Source { name: "the environment".to_string(), kind: SourceKind::Env, allow_empty });
}

/// Adds files, from `a,b`; no pattern means all of a folder's files. Gives their names.
#[inline(never)]
fn add_files(plan: &mut Plan, paths: &str, filter: Option<&str>, allow_empty: bool) -> Result<String> {
    let filter = filter.unwrap_or("*").to_string();
    if crate::text::path::compile(&filter).is_none() {
        return Err(Error::filled(Kind::Config, "the filter % is no pattern such as *.yaml", &[&filter]));
    }
    // No blanks here: they may stand in a path.
    let paths: Vec<&str> = paths.split(',').filter(|p| !p.is_empty()).collect();
    if paths.is_empty() {
        return Err(Error::config("no file is named"));
    }
    let names = paths.join(", ");
    let paths = paths.into_iter().map(PathBuf::from).collect();
    let kind = SourceKind::Files { paths, filter };
    plan.sources.push(Source { name: ["files ", &names].concat(), kind, allow_empty });
    Ok(names)
}

/// Joins as Go's path.Join does, with a leading `/`.
#[inline(never)]
fn join(prefix: &str, key: &str) -> String {
    crate::store::clean(&[prefix, "/", key].concat())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn joins_like_go() {
        for (p, k, want) in [
            ("", "/a", "/a"),
            ("/", "a", "/a"),
            ("/p/", "/a/b/", "/p/a/b"),
            ("p", "", "/p"),
            ("", "", "/"),
            ("/p", "../q", "/q"),
            ("/", "/", "/"),
        ] {
            assert_eq!(join(p, k), want, "{p} {k}");
        }
    }

    #[test]
    fn consul_addresses() {
        for (text, want) in [
            ("localhost:8500", Some("http://localhost:8500")),
            ("localhost", Some("http://localhost:8500")),
            ("http://h:1/", Some("http://h:1")),
            ("[::1]:8500", Some("http://[::1]:8500")),
            ("[::1]", Some("http://[::1]:8500")),
            ("unix:///run/consul.sock", Some("unix:///run/consul.sock")),
            ("https://h:1", Some("https://h:1")),
            ("https://h/", Some("https://h:443")),
            ("https://[::1]", Some("https://[::1]:443")),
            ("ftp://h", None),
            ("http://", None),
            ("h:1/path", None),
            ("http://user:pw@h:1", None),
            ("https:", None),
            ("h:99999", None),
        ] {
            let got = super::consul_addresses(text, "http").ok().map(|a| a.concat());
            assert_eq!(got.as_deref(), want, "{text}");
        }
        assert_eq!(super::consul_addresses("h:1,g", "https").unwrap(), ["https://h:1", "https://g:8501"]);
        assert_eq!(super::etcd_addresses("h,http://g", "https").unwrap(), ["https://h:2379", "http://g:2379"]);
        assert!(super::consul_addresses("h:1", "ftp").is_err());
    }
}
