//! From a URL, the keys of a table and options to a source or a catalog. What is asked of either is decided elsewhere; no
//! server is asked here.

use std::path::PathBuf;

use super::options::Options;
use super::table::{Document, Keys, Table};
use super::{
    World, add_consul, add_environment, add_etcd, add_files, consul_at, etcd_addresses, identity, join, kube, options,
    srv_address, srv_record,
};
use crate::error::{Error, Kind, Result};
use crate::plan::{Catalog, Consul, Etcd, Millis, Plan, Secret, Source, SourceKind};
use crate::text::group;

/// Where services are when etcd's URL does not say: where ContainerPilot has them.
const SERVICES: &str = "/containerpilot";

static SOURCE: Keys = "\
    url token token_file username password password_file datacenter namespace max_stale wait allow_empty filter \
    srv_record srv_domain ca cert key server_name insecure kubeconfig";
static CATALOG: Keys = "\
    url token token_file username password password_file datacenter namespace max_stale wait srv_record srv_domain ca \
    cert key server_name insecure";

/// What the n-th source is called, and the prefix of its keys.
pub struct Name {
    /// Its name in the file; empty on the command line.
    pub name: String,
    /// What its URL says behind the address: keys are below it.
    pub prefix: String,
}

/// Adds the sources, of the file or of the command line.
///
/// # Errors
/// One that is none.
#[inline(never)]
pub fn sources(plan: &mut Plan, root: &Table, options: &Options, world: &World) -> Result<Vec<Name>> {
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
        let found = source(plan, url, &none.root(), options, world);
        let prefix = found.map_err(|e| at_option("source", url, &e))?;
        names = vec![Name { name: String::new(), prefix }];
    }
    Ok(names)
}

/// Reads where services are told of and found, if that is said.
///
/// # Errors
/// It is no such place.
#[inline(never)]
pub fn catalog(plan: &mut Plan, root: &Table, options: &Options, world: &World) -> Result<()> {
    let none = Document::parse("", "")?;
    let mut t = root.table("catalog");
    t.only(CATALOG);
    let said = options.get("catalog");
    let url = match said {
        Some(url) => {
            t = none.root(); // as of a source: what the file says is for another one
            url
        }
        None if root.has("catalog") => t.required("url"),
        None => return Ok(()),
    };
    t.document().verdict()?;
    let prefix = source(plan, url, &t, options, world);
    t.document().verdict()?;
    let wrong = |e: &Error| match said {
        Some(url) => at_option("catalog", url, e),
        None => t.error("url", &["is no catalog: ", &e.text].concat()),
    };
    let mut prefix = prefix.map_err(|e| wrong(&e))?;
    let is_bare = prefix == "/";
    if is_bare {
        prefix = SERVICES.to_string();
    }
    plan.catalog = match plan.sources.pop().map(|s| s.kind) {
        Some(SourceKind::Consul(c)) if is_bare => Some(Catalog::Consul(c)),
        Some(SourceKind::Etcd(e)) => Some(Catalog::Etcd(Box::new(e), prefix)),
        _ => None,
    };
    if plan.catalog.is_none() {
        return Err(wrong(&Error::config(
            "services are in consul://host:port, consul+https://host:port, consul+unix:///path, etcd://host:port/prefix, \
             etcd+https://host:port/prefix, etcd2://host:port/prefix or etcd2+https://host:port/prefix",
        )));
    }
    Ok(())
}

/// An error of an option that takes a URL.
fn at_option(name: &str, url: &str, e: &Error) -> Error {
    let shown = url.rsplit('@').next().unwrap_or(url); // a password may stand before it
    Error::filled(Kind::Usage, "--% %: %", &[name, shown, &e.text])
}

/// The source of services' instances, made where there is none; `None` without a catalog.
pub fn services(plan: &mut Plan) -> Option<usize> {
    services_within(plan, None)
}

/// The same with this longest wait.
#[inline(never)]
pub fn services_within(plan: &mut Plan, wait: Option<Millis>) -> Option<usize> {
    let is_it = |s: &Source| match &s.kind {
        SourceKind::Services(Catalog::Consul(c)) => wait.is_none_or(|wait| c.wait == wait),
        SourceKind::Services(Catalog::Etcd(e, _)) => wait.is_none_or(|wait| e.wait == wait),
        _ => false,
    };
    let found = plan.sources.iter().position(is_it);
    if found.is_some() {
        return found;
    }
    let mut catalog = plan.catalog.clone()?;
    let (what, addresses, slot) = match &mut catalog {
        Catalog::Consul(c) => ("services of Consul at ", &c.addresses, &mut c.wait),
        Catalog::Etcd(e, _) => ("services of etcd at ", &e.endpoints, &mut e.wait),
    };
    *slot = wait.unwrap_or(*slot);
    let name = [what, &addresses.join(", ")].concat();
    // No instances is an answer.
    plan.sources.push(Source { name, kind: SourceKind::Services(catalog), allow_empty: true });
    Some(plan.sources.len().saturating_sub(1))
}

/// What is watched of a service: `/NAME`, or `/NAME?TAG` for those instances that have the tag.
///
/// # Errors
/// It names none, in words.
#[inline(never)]
pub fn instances(text: &str) -> options::Read<String> {
    let bare = text.strip_prefix('/').unwrap_or(text);
    let (name, tag) = bare.split_once('?').unwrap_or((bare, ""));
    if !is_service(name) || (tag.is_empty() && bare.contains('?')) {
        return Err("the name of a service, as in /web, or /web?tag for those with a tag");
    }
    Ok(["/", bare].concat())
}

/// Whether a service may be called so: it stands in URLs, in keys and in the names of variables.
pub fn is_service(name: &str) -> bool {
    is_made_of(name, b"-_.") && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// Whether there is nothing in it but letters, digits and these; and something.
#[inline(never)]
pub fn is_made_of(text: &str, also: &[u8]) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b))
}

/// Adds a source, and gives the prefix of its keys.
#[inline(never)]
fn source(plan: &mut Plan, url: &str, t: &Table, options: &Options, world: &World) -> Result<String> {
    let allow_empty = t.bool("allow_empty", false) || options.is_set("allow-empty");
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    let bare = rest.strip_prefix("//").unwrap_or(rest);
    let mut prefix = "/".to_string();
    let protocol = if scheme.ends_with("+https") { "https" } else { "http" };
    let service = match group(scheme, "etcd+https etcd2+https, etcd etcd2") {
        0 => "etcd-client-ssl", // as etcd's own clients have it
        1 => "etcd-client",
        _ => "consul",
    };
    let srv = srv_record(t.str("srv_record"), t.str("srv_domain"), service).map(|r| srv_address(&r, protocol));
    let kinds =
        "consul consul+http consul+unix consul+https, etcd etcd2 etcd+https etcd2+https, dir, file, k8s, services, env";
    match group(scheme, kinds) {
        0 => {
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
        1 => {
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
        2 if !rest.is_empty() => {
            let name = ["folder ", bare].concat();
            plan.sources.push(Source { name, kind: SourceKind::Dir(PathBuf::from(bare)), allow_empty });
        }
        3 => {
            add_files(plan, bare, t.str("filter"), allow_empty)?;
        }
        4 => {
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
        5 if bare.is_empty() => {
            if services(plan).is_none() {
                return Err(Error::config("no [catalog] and no --catalog says where services are"));
            }
        }
        6 => {
            prefix = join(rest, "");
            add_environment(plan, allow_empty);
        }
        _ => {
            let want = "expected consul://host:port/prefix, consul+https://host:port/prefix, consul+unix:///path, \
                        etcd://host:port/prefix, etcd+https://host:port/prefix, etcd2://host:port/prefix, \
                        etcd2+https://host:port/prefix, k8s://namespace/configmap/name, dir:/folder, file:/a.yaml,/b.json, \
                        services: or env:";
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
