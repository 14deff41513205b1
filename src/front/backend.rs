//! confd's backends, as confd and confd-sidecar name them: from names, nodes and credentials to a source.

use super::options::Options;
use super::settings::Settings;
use super::{
    add_consul, add_environment, add_etcd, add_files, consul_at, etcd_addresses, identity, list, sources, srv_address,
    srv_record,
};
use crate::error::{Error, Kind, Result};
use crate::plan::{Etcd, Level, Plan, Tls};
use crate::text::{group, is_one_of};

/// Adds the source that confd's settings speak of, and what confd says of it. The options may say more.
///
/// # Errors
/// `Kind::Usage` for a backend that is not there, `Kind::Config` for a node that is none.
#[inline(never)]
pub fn add_source(
    plan: &mut Plan,
    name: &str,
    s: &Settings,
    allow_empty: bool,
    options: Option<&Options>,
) -> Result<()> {
    plan.note(Level::Info, "Backend set to %", &[name]);
    plan.note(Level::Info, "Starting confd", &[]);
    let (mut nodes, mut scheme) = (s.many("node").join(","), s.one("scheme"));
    let has_files = identity::CONFD.iter().any(|name| s.one(name).is_some());
    if name.starts_with("etcd") && has_files {
        scheme = Some("https"); // as for etcd's own client: who names a certificate means TLS
    }
    if let Some(record) = srv_record(s.one("srv-record"), s.one("srv-domain"), name)
        && !is_one_of(name, "env file")
    {
        plan.note(Level::Info, "SRV record set to %", &[&record]);
        nodes = srv_address(&record, scheme.unwrap_or("http"));
    }
    let mut shown = String::new();
    if is_one_of(name, "consul etcd etcdv3") && s.one("username").is_some() != s.one("password").is_some() {
        plan.note(Level::Warning, "a user without a password, or a password without a user, counts for nothing", &[]);
    }
    match group(name, "consul, etcd etcdv3, env, file") {
        0 => {
            let mut c = consul_at(&nodes, scheme, s.world)?;
            if let Some(token) = s.one("auth-token") {
                c.token = identity::text(token);
            }
            c.basic = identity::both(s.one("username"), s.one("password")).or(c.basic.take());
            add_tls(plan, &mut c.tls, &c.addresses, s, options)?;
            if let Some(options) = options {
                sources::consul_options(&mut c, options);
            }
            for address in &c.addresses {
                shown.push_str(if shown.is_empty() { "" } else { ", " });
                shown.push_str(address.strip_prefix("http://").unwrap_or(address));
            }
            add_consul(plan, c, allow_empty);
        }
        1 => {
            let (version, default) = if name == "etcd" { (2, "http://127.0.0.1:4001") } else { (3, "127.0.0.1:2379") };
            if list(&nodes).is_empty() {
                nodes = s.world.var("ETCDCTL_PEERS").unwrap_or(default).to_string();
            }
            let endpoints = etcd_addresses(&nodes, scheme.unwrap_or("http"))?;
            let wait = options.map_or(60_000, |options| sources::wait(options, 60_000));
            let mut etcd = Etcd { endpoints, version, wait, ..Etcd::default() };
            let known = identity::add_etcd(&mut etcd.tls, s.world)?;
            etcd.basic = identity::both(s.one("username"), s.one("password")).or(known);
            add_tls(plan, &mut etcd.tls, &etcd.endpoints, s, options)?;
            add_etcd(plan, etcd, allow_empty);
            shown = list(&nodes).join(", ");
        }
        2 => add_environment(plan, allow_empty),
        3 => {
            shown = add_files(plan, &s.many("file").join(","), s.one("filter"), allow_empty)
                .map_err(|e| Error::filled(Kind::Config, "the backend file: %; see -file (CONFD_FILE)", &[&e.text]))?;
        }
        _ => {
            let text = "the backend % is not in this version; there are consul, env, etcd, etcdv3 and file";
            return Err(Error::filled(Kind::Usage, text, &[name]));
        }
    }
    let what = if name == "file" { "source(s)" } else { "nodes" };
    plan.note(Level::Info, "Backend % set to %", &[what, &shown]);
    Ok(())
}

/// What flags, and then options, say of TLS.
#[inline(never)]
fn add_tls(
    plan: &mut Plan,
    tls: &mut Tls,
    addresses: &[String],
    s: &Settings,
    options: Option<&Options>,
) -> Result<()> {
    let (is_https, is_insecure) = (identity::is_https(addresses), s.is_on("client-insecure"));
    if !is_https && (is_insecure || identity::CONFD.iter().any(|name| s.one(name).is_some())) {
        let text = "no node is https://: the -client- settings count for nothing; see -scheme";
        plan.note(Level::Warning, text, &[]);
    }
    tls.insecure |= is_insecure;
    identity::add_flags(tls, "-", &identity::CONFD, &|name| s.one(name))?;
    identity::add_options(tls, is_https, options)
}

/// Spells a prefix as this backend has it: the environment knows no capitals and no `_` in keys.
pub fn spelled(backend: &str, prefix: String) -> String {
    if backend == "env" { crate::case::lower(&prefix).replace('_', "/") } else { prefix }
}
