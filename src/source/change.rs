//! Changing a key of a source by hand, once: what `pilotfish kv set` and `kv del` ask for. Each server is tried in turn;
//! nothing is asked again later. What may be changed, and whether the key is there, is decided by who calls.

use std::path::Path;

use super::consul::{self, encode_into};
use super::etcd;
use super::http::{Server, words};
use super::turns::Turns;
use super::{News, Stop};
use crate::dest::{self, Dest};
use crate::error::{Error, Result, os_text};
use crate::plan::{Change, Consul, Etcd, Millis, Source, SourceKind, Tls};
use crate::secret::{Headers, bare};
use crate::text::fill;

/// How long a server may take: a write waits for the quorum.
const LIMIT: Millis = 10_000;

/// Makes the change at a key, given in full with its leading `/`.
///
/// # Errors
/// Why it was not made, as the last server asked says it; or the source takes no changes.
pub fn make(source: &Source, key: &str, change: &Change, stop: &Stop) -> Result<()> {
    let made = match &source.kind {
        SourceKind::Consul(c) => at_consul(c, key, change, stop),
        SourceKind::Etcd(e) if e.version == 2 => at_etcd2(e, key, change, stop),
        SourceKind::Etcd(e) => etcd::watch::change(e, key, change, stop),
        SourceKind::Dir(root) => in_folder(root, key, change),
        SourceKind::Files { .. } | SourceKind::Kubernetes(_) | SourceKind::Services(_) | SourceKind::Env => {
            Err("it can only be read".to_string())
        }
    };
    made.map_err(|why| Error::fatal(fill("cannot change % of %: %", &[key, &source.name, &why])))
}

/// Asks each server in turn until one says yes.
#[inline(never)]
fn ask_all(
    servers: (&[String], &Tls),
    stop: &Stop,
    ask: &dyn Fn(&Server) -> std::result::Result<(), String>,
) -> std::result::Result<(), String> {
    let silent = |_: News| {};
    let mut turns = Turns::new(servers, ["", ""], stop, &silent);
    loop {
        let Some(server) = turns.server() else { return Err("stopped".to_string()) };
        match ask(&server) {
            Ok(()) => return Ok(()),
            Err(why) => {
                if turns.failed(&why).is_some() {
                    return Err(fill("%: %", &[&server.name, &why]));
                }
            }
        }
    }
}

/// One request that must be answered with a status below 300.
#[inline(never)]
fn ask(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, String)],
    body: &[u8],
) -> std::result::Result<(), String> {
    let (status, body) = server.ask(method, path, headers, body, LIMIT)?;
    if (200..300).contains(&status) {
        return Ok(());
    }
    let secrets: Vec<&str> = headers.iter().map(|(_, value)| bare(value)).collect();
    Err(fill("% %", &[&status.to_string(), &words(&body, &secrets)]))
}

fn at_consul(c: &Consul, key: &str, change: &Change, stop: &Stop) -> std::result::Result<(), String> {
    let path = |behind: &str| {
        let mut p = String::from("/v1/kv/");
        encode_into(&mut p, [key.trim_start_matches('/'), behind].concat().trim_start_matches('/'), true);
        p.push('?');
        if !c.datacenter.is_empty() {
            p.push_str("dc=");
            encode_into(&mut p, &c.datacenter, false);
        }
        p
    };
    ask_all((&c.addresses, &c.tls), stop, &|server| {
        let headers = consul::headers(c)?;
        match change {
            Change::Set(_, 1..) => Err("Consul's keys have no time to live".to_string()),
            Change::Set(value, _) => ask(server, "PUT", &path(""), &headers, value),
            Change::Delete(all) => {
                ask(server, "DELETE", &path(""), &headers, &[])?;
                // A "folder" of Consul's pages is shown without the `/` at its end.
                ask(server, "DELETE", &path("/"), &headers, &[])?;
                if *all { ask(server, "DELETE", &[&path("/"), "&recurse"].concat(), &headers, &[]) } else { Ok(()) }
            }
        }
    })
}

fn at_etcd2(e: &Etcd, key: &str, change: &Change, stop: &Stop) -> std::result::Result<(), String> {
    let mut path = String::from("/v2/keys");
    encode_into(&mut path, key, true);
    let mut headers = Headers::default();
    headers.push("content-type", "application/x-www-form-urlencoded".to_string());
    headers.push_basic(&e.basic)?;
    ask_all((&e.endpoints, &e.tls), stop, &|server| match change {
        Change::Set(value, ttl) => {
            let Ok(value) = std::str::from_utf8(value) else {
                return Err("etcd's v2 keeps no values that are no UTF-8".to_string());
            };
            let mut form = String::from("value=");
            encode_into(&mut form, value, false);
            if *ttl > 0 {
                form.push_str("&ttl=");
                form.push_str(&ttl.to_string());
            }
            ask(server, "PUT", &path, &headers, form.as_bytes())
        }
        Change::Delete(all) => {
            let path = if *all { [&path, "?recursive=true"].concat() } else { path.clone() };
            ask(server, "DELETE", &path, &headers, &[])
        }
    })
}

fn in_folder(root: &Path, key: &str, change: &Change) -> std::result::Result<(), String> {
    if key.split('/').any(|part| part.starts_with('.')) {
        return Err("names that begin with a dot are no keys of a folder".to_string());
    }
    let path = root.join(key.trim_start_matches('/'));
    match change {
        Change::Set(_, 1..) => Err("files have no time to live".to_string()),
        Change::Set(value, _) => {
            let dest = Dest { path, mode: None, uid: None, gid: None, make_dirs: true };
            dest::stage(&dest, value).and_then(dest::Staged::commit).map(drop).map_err(Error::into_text)
        }
        Change::Delete(all) => {
            let gone = if *all && path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            gone.map_err(|e| os_text(&e))
        }
    }
}
