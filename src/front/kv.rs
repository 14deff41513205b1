//! The command line of `pilotfish kv`: what to do with which key of which source. The source is named as for templates.

use std::sync::Arc;

use super::options::{Options, time};
use super::{World, join, native};
use crate::error::{Error, Result};
use crate::kv::{Query, Verb};
use crate::plan::Change;
use crate::plan::{Input, Plan, SourceKind, Watch};

/// Its own options; those that name a source are the program's.
pub static OWN: &str = "\
 -r,  --recursive            with all that is below the key
      --ttl TIME             of set: the key goes by itself after so long; etcd only
      --json                 print JSON
";

const USAGE: &str = "pilotfish kv get|ls|watch|del [-r] [--json] --source URL KEY, or kv set [--ttl TIME] KEY VALUE";

/// Reads the words behind `kv`.
///
/// # Errors
/// `Kind::Usage` for the words, `Kind::Config` for what they name.
#[inline(never)]
pub fn read(args: &[String], mut plan: Box<Plan>, world: &World) -> Result<Box<Query>> {
    let wrong = |why: &str| Error::usage([why, "; usage: ", USAGE].concat());
    let options = Options::read(args, world, OWN)?;
    let is_recursive = options.is_set("recursive");
    let word = |n: usize| options.program.get(n).map(String::as_str);
    let mut key = word(1);
    let mut most = 2;
    let verb = match word(0).unwrap_or("") {
        "get" => Verb::Get,
        "ls" => {
            key = key.or(Some("/"));
            Verb::List
        }
        "watch" => Verb::Watch,
        "del" => Verb::Change(Change::Delete(is_recursive)),
        "set" => {
            most = 3;
            let value = match word(2) {
                None => return Err(wrong("a value is missing")),
                Some(v) => v.as_bytes().to_vec(),
            };
            let ttl = options.parsed("ttl", time);
            if ttl == Some(0) {
                return Err(wrong("--ttl 0: the key would be gone at once"));
            }
            Verb::Change(Change::Set(value, ttl.unwrap_or(0).div_ceil(1000)))
        }
        "" => return Err(wrong("nothing to do")),
        other => return Err(wrong(&["there is no kv ", other].concat())),
    };
    let Some(key) = key else { return Err(wrong("a key is missing")) };
    if options.program.len() > most {
        return Err(wrong("there are too many words"));
    }
    if options.is_set("ttl") && !matches!(verb, Verb::Change(Change::Set(..))) {
        return Err(wrong("--ttl is for kv set"));
    }
    if join("", key) == "/" && matches!(verb, Verb::Change(_)) {
        return Err(wrong("/ is no key"));
    }
    let prefix = native::only_source(&options, &mut plan, world)?;
    let key = join(&prefix, key);
    let is_whole = plan.sources.first().is_some_and(|s| s.kind.is_whole());
    let mut watched = if is_whole { "/" } else { key.as_str() };
    if plan.sources.first().is_some_and(|s| matches!(s.kind, SourceKind::Services(_))) {
        // Each service is a query of its own.
        let end = key.bytes().skip(1).position(|b| b == b'/').map_or(key.len(), |at| at.saturating_add(1));
        watched = key
            .get(..end)
            .filter(|name| *name != "/")
            .ok_or_else(|| wrong("the KEY must begin with a service: /web"))?;
    }
    plan.watches.push(Watch { source: 0, prefix: watched.to_string() });
    let strip = if prefix == "/" { 0 } else { prefix.len() };
    let shown = Input { watch: 0, prefix, strip };
    Ok(Box::new(Query { plan: Arc::from(plan), key, shown, verb, is_recursive, is_json: options.is_set("json") }))
}
