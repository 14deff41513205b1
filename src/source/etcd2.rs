//! etcd's first interface, v2: a tree of keys over HTTP. A waiting request only tells that something happened; what is
//! there is then read anew, by quorum, and the next wait begins behind that answer's index. So nothing is lost whatever
//! happened in between (etcd keeps 1,000 events), an expired or removed folder needs no rule of its own, and a burst
//! costs one read for each 100 ms. A wait that ends without news is a reason to read, too: that finds a cluster that
//! was made anew, and a member that is frozen.

use std::sync::Arc;
use std::time::Instant;

use super::consul::{self, AFTER_NEWS, MAX_KEYS, MAX_VALUE, Pace};
use super::http::{self, Reply};
use super::turns::Turns;
use super::{News, Stop};
use crate::formats::json;
use crate::plan::{Etcd, Millis};
use crate::secret::{Headers, bare};
use crate::store::{self, Snapshot, is_under};
use crate::template::scope::{self, Scope};
use crate::text::fill;
use crate::value::Value;

/// How long a server may take to answer: etcd itself gives up a read by quorum after 7 s.
const GRACE: Millis = 10_000;

/// The path and query of a read, or of a wait for what comes after `index`.
fn path(prefix: &str, index: Option<u64>) -> String {
    let mut p = String::from("/v2/keys");
    consul::encode_into(&mut p, prefix.trim_end_matches('/'), true);
    p.push_str("?recursive=true");
    match index {
        None => p.push_str("&sorted=true&quorum=true"),
        Some(index) => {
            p.push_str("&wait=true&waitIndex=");
            p.push_str(&index.saturating_add(1).to_string());
        }
    }
    p
}

/// Reads an answer's body: every key that is no folder.
///
/// # Errors
/// Not etcd's JSON, or a limit passed.
pub fn decode(body: &[u8], prefix: &str) -> Result<Snapshot, String> {
    let no_tree = |why: &str| fill("the answer is no tree of keys: %", &[why]);
    let text = std::str::from_utf8(body).map_err(|_| no_tree("it is no UTF-8"))?;
    let mut entries = Vec::new();
    let mut wrong = String::new();
    let mut take = |node: &Value| {
        let field = |name: &str| node.as_map()?.get(name)?.as_str();
        if let (Some(key), Some(value)) = (field("key"), field("value")) {
            if value.len() > MAX_VALUE {
                wrong = fill("key %: its value is larger than 16 MiB", &[key]);
            } else if entries.len() >= MAX_KEYS {
                wrong = "there are more than 1000000 keys".to_string();
            }
            let key = store::clean(key);
            if is_under(prefix, &key) {
                entries.push((Arc::from(key), Arc::from(value.as_bytes())));
            }
        }
        wrong.is_empty()
    };
    let read = json::parse_each(text, "nodes", &mut |node| take(&node));
    if let Ok(v) = &read {
        // The prefix itself may be a key.
        match v.as_map().and_then(|m| m.get("node")) {
            Some(node) => take(node),
            None => return Err(no_tree("it has no node")),
        };
    }
    match read {
        _ if !wrong.is_empty() => Err(wrong),
        Ok(_) => Ok(Snapshot::new(entries)),
        Err(why) => Err(no_tree(&why)),
    }
}

/// The index and the keys of a read.
fn answer(reply: &Reply, prefix: &str, secret: &str) -> Result<(u64, Snapshot), String> {
    let index: Option<u64> = reply.header("x-etcd-index").and_then(|v| v.parse().ok());
    match (reply.status, index) {
        (200, Some(index)) => Ok((index, decode(&reply.body, prefix)?)),
        (200, None) => Err("the answer names no index: it is none of etcd's".to_string()),
        // No such key; or what would be above it is no folder (errorCode 104).
        (404, Some(index)) => Ok((index, Snapshot::default())),
        (400, Some(index)) if reply.body.starts_with(br#"{"errorCode":104"#) => Ok((index, Snapshot::default())),
        (status, _) => Err(refusal(status, &reply.body, secret)),
    }
}

/// What a refusal says, without the secret that was sent.
#[inline(never)]
pub(crate) fn refusal(status: u16, body: &[u8], secret: &str) -> String {
    let hint = match status {
        401 | 403 => " (are user and password right, and may the user do this?)",
        404 => " (etcd 3.4 and 3.5 speak v2 with --enable-v2 only, later ones never; v3 is another backend)",
        _ => "",
    };
    fill("% %%", &[&status.to_string(), &http::words(body, &[secret]), hint])
}

/// What stands beside the watched keys for a template of reconfig: see `template::scope`.
#[inline(never)]
fn beside(
    scope: &Scope,
    ask: &dyn Fn(&str) -> Result<Reply, String>,
    main: &Snapshot,
    secret: &str,
) -> Result<Snapshot, String> {
    let mut entries = main.entries().to_vec();
    entries.push((Arc::from(""), Arc::from(&b""[..])));
    for (n, (_, key)) in scope.alt.iter().enumerate() {
        let (_, found) = answer(&ask(key)?, key, secret)?;
        for (key, value) in found.entries() {
            entries.push((Arc::from(scope::beside(n, key)), value.clone()));
        }
    }
    Ok(Snapshot::new(entries))
}

/// Watches a prefix until `stop`. With a scope, its alternative keys are read as often as something happens to the
/// watched ones (also when a value is set that was there), and then only.
#[inline(never)]
pub fn watch(etcd: &Etcd, prefix: &str, scope: Option<&Scope>, stop: &Stop, say: &dyn Fn(News)) {
    let mut turns = Turns::new((&etcd.endpoints, &etcd.tls), [prefix, "etcd"], stop, say);
    let mut pace = Pace::new();
    let mut pause = 0;
    // Of a watch with a scope: the watched keys, and whether something has happened to them since.
    let (mut last, mut is_woken): (Option<Snapshot>, bool) = (None, true);
    while !stop.sleep(pause) {
        let Some(server) = turns.server() else { return };
        let begin = Instant::now();
        let mut sent = Headers::default();
        let read = sent.push_basic(&etcd.basic);
        // What a proxy may show of what it was asked.
        let secret = sent.first().map_or("", |(_, value)| bare(value));
        let ask = |key: &str| server.get(&path(key, None), &sent, GRACE, etcd.wait.max(GRACE));
        let read = read.and_then(|()| ask(prefix)).and_then(|reply| {
            let (index, main) = answer(&reply, prefix, secret)?;
            let Some(scope) = scope else { return Ok((index, Some(main))) };
            if !is_woken && last.as_ref().is_some_and(|l| l.same(&main)) {
                return Ok((index, None));
            }
            // Where the watched key is not there, nothing is.
            let is_there = reply.status == 200;
            let whole = if is_there { beside(scope, &ask, &main, secret)? } else { Snapshot::default() };
            last = Some(main);
            Ok((index, Some(whole)))
        });
        match read {
            Ok((index, found)) => {
                let is_new = found.is_some_and(|found| turns.hand(found));
                if is_new {
                    stop.sleep(AFTER_NEWS); // the loop comes first
                }
                turns.recovered();
                turns.worked();
                // However it ends, what it brings is read anew; what is wrong with the server shows then.
                let wait = turns.shorten(etcd.wait);
                let woken = server.get(&path(prefix, Some(index)), &sent, wait, wait);
                is_woken = woken.is_ok_and(|r| r.status == 200 && !r.body.is_empty());
                let took = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
                pause = pace.after(took, took < wait, is_new);
            }
            Err(why) => pause = turns.failed(&why).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn trees_decode() {
        let all = |body: &str, prefix: &str| {
            let s = decode(body.as_bytes(), prefix)?;
            let pairs = s.entries().iter().map(|(k, v)| format!("{k}={}", String::from_utf8_lossy(v)));
            Ok::<_, String>(pairs.collect::<Vec<_>>().join(" "))
        };
        let tree = r#"{"action":"get","node":{"key":"/d","dir":true,"nodes":[{"key":"/d/a","value":"1"},
            {"key":"/d/b","dir":true,"nodes":[{"key":"/d/b/c","value":"2"}]},{"key":"/d/e","dir":true}]}}"#;
        assert_eq!(all(tree, "/d").unwrap(), "/d/a=1 /d/b/c=2");
        assert_eq!(all(r#"{"node":{"key":"/d/a","value":"1"}}"#, "/d/a").unwrap(), "/d/a=1");
        assert_eq!(all(r#"{"node":{"key":"/d","value":"1"}}"#, "/d/").unwrap(), "");
        assert!(all("[]", "/").is_err() && all("{", "/").is_err());
        assert_eq!(path("/a b/", None), "/v2/keys/a%20b?recursive=true&sorted=true&quorum=true");
        assert_eq!(path("/", Some(7)), "/v2/keys?recursive=true&wait=true&waitIndex=8");
    }
}
