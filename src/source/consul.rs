//! Consul's key-value store by blocking queries. Pure: the request's path, the decoded answer, the next index and
//! the pace of requests. Beside it, the loop that asks. The rules for the index are those of Consul's
//! documentation of blocking queries (a lower index means start again; an index below 1 is no index).

use std::sync::Arc;
use std::time::Instant;

use super::http::Reply;
use super::turns::Turns;
use super::{News, Stop};
use crate::base64;
use crate::formats::json;
use crate::plan::{Consul, Millis};
use crate::secret::{Headers, bare};
use crate::store::{self, Entry, Snapshot};
use crate::text::fill;
use crate::value::Value;

/// Most bytes a value may have.
pub(super) const MAX_VALUE: usize = 16 << 20;
/// Most keys under one prefix.
pub(super) const MAX_KEYS: usize = 1_000_000;
/// Two requests begin at least this far apart, so that a prefix that changes all the time costs ten a second.
pub(super) const GAP: Millis = 100;
/// The same while answers come at once and bring nothing new: an absent prefix wakes on any write of the
/// cluster, and an index of 0 never blocks.
const WIDEST_GAP: Millis = 1_000;
/// The pause after news, in milliseconds.
pub(super) const AFTER_NEWS: Millis = 2;
/// What a server may take beyond the wait it was asked for: wait/16 of its own jitter, and its RPC time-out.
const GRACE: Millis = 10_000;
/// The header that names Consul Enterprise's namespace.
const NAMESPACE: &str = "x-consul-namespace";

/// Where the keys under a prefix are read.
fn keys(prefix: &str) -> String {
    let mut p = String::from("/v1/kv/");
    encode_into(&mut p, prefix.trim_start_matches('/'), true);
    p.push_str("?recurse");
    p
}

/// The path and query of one request for what `first`, which has a query, names.
fn path(c: &Consul, first: &str, index: u64, wait: Millis) -> String {
    let mut p = first.to_string();
    if index > 0 {
        p.push_str("&index=");
        p.push_str(&index.to_string());
        p.push_str("&wait=");
        p.push_str(&wait.to_string());
        p.push_str("ms");
    }
    if !c.datacenter.is_empty() {
        p.push_str("&dc=");
        encode_into(&mut p, &c.datacenter, false);
    }
    if c.max_stale.is_some() {
        p.push_str("&stale");
    }
    p
}

/// Appends a piece of a URL, escaped; `slash`: slashes stay.
pub(crate) fn encode_into(out: &mut String, text: &str, slash: bool) {
    for b in text.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(b)),
            b'/' if slash => out.push('/'),
            _ => {
                out.push('%');
                for four in [b >> 4, b & 15] {
                    out.push(char::from(if four < 10 { b'0' + four } else { b'A' + four - 10 }));
                }
            }
        }
    }
}

/// The index to ask with next, after an answer that carried `got`.
fn next_index(asked: u64, got: Option<u64>) -> u64 {
    let got = got.unwrap_or(0).max(1);
    if got < asked { 0 } else { got }
}

/// Keeps requests apart: `GAP` from begin to begin, wider while early answers bring nothing new.
pub(super) struct Pace {
    gap: Millis,
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace { gap: GAP }
    }

    /// How long to wait before the next request, after one that took `took` and was (not) `early` or `new`.
    pub(super) fn after(&mut self, took: Millis, is_early: bool, is_new: bool) -> Millis {
        self.gap = if is_early && !is_new { (self.gap * 2).min(WIDEST_GAP) } else { GAP };
        self.gap.saturating_sub(took)
    }
}

/// Reads an answer's body: the keys with a `/` in front, sorted.
///
/// # Errors
/// Not the JSON of a list of keys, a value that is no base64, or a limit passed: names the key where it can.
#[inline(never)]
pub fn decode(body: &[u8]) -> Result<Snapshot, String> {
    const NO_LIST: &str = "the answer is no list of keys";
    let text = std::str::from_utf8(body).map_err(|_| format!("{NO_LIST}: it is no UTF-8"))?;
    let mut entries = Vec::new();
    let (mut unclean, mut wrong) = (Vec::new(), None);
    let read = json::each(text, &mut |item| {
        let field = |name: &str| item.as_map().and_then(|m| m.get(name));
        let found = match (field("Key").and_then(Value::as_str), field("Value")) {
            (Some(key), Some(Value::Str(value))) => entry(key, value, entries.len()),
            (Some(key), Some(Value::Nil)) => entry(key, "", entries.len()), // a key without a value
            _ => return false,
        };
        match found {
            // A "folder" of Consul's pages is a key that ends in `/`: `up/` is `/up` here, unless there is one.
            Ok((entry, true)) => entries.push(entry),
            Ok((entry, false)) => unclean.push(entry),
            Err(why) => wrong = Some(why),
        }
        wrong.is_none()
    });
    match (wrong, read) {
        (Some(why), _) => Err(why),
        (None, Ok(true)) => {
            unclean.append(&mut entries); // of equal keys the last wins
            Ok(Snapshot::new(unclean))
        }
        (None, Ok(false)) => Err(NO_LIST.to_string()),
        (None, Err(why)) => Err(format!("{NO_LIST}: {why}")),
    }
}

/// The entry, and whether its key is spelt as templates know it.
fn entry(key: &str, value: &str, before: usize) -> Result<(Entry, bool), String> {
    let wrong = |why: &str| format!("key {key}: {why}");
    let data = base64::decode(value).ok_or_else(|| wrong("its value is no base64"))?;
    if data.len() > MAX_VALUE {
        return Err(wrong("its value is larger than 16 MiB"));
    }
    if before >= MAX_KEYS {
        return Err(wrong("more than 1000000 keys"));
    }
    let clean = store::clean(key);
    let is_clean = clean.strip_prefix('/') == Some(key);
    Ok(((Arc::from(clean), Arc::from(data)), is_clean))
}

/// What reads an answer's body.
pub(super) type Decode<'a> = &'a dyn Fn(&[u8]) -> Result<Snapshot, String>;

/// What one request came to.
struct Answer {
    index: Option<u64>,
    snapshot: Snapshot,
}

/// What a refusal says, without the secrets that were sent; `hint`: what stands behind a 403.
#[inline(never)]
pub(crate) fn refusal(status: u16, body: &[u8], sent: &[(&str, String)], hint: &str) -> String {
    let secrets: Vec<&str> = sent.iter().filter(|h| h.0 != NAMESPACE).map(|h| bare(&h.1)).collect();
    let words = super::http::words(body, &secrets);
    fill("% %%", &[&status.to_string(), &words, if status == 403 { hint } else { "" }]).trim_end().to_string()
}

#[inline(never)]
fn read(c: &Consul, decode: Decode, sent: &[(&str, String)], reply: &Reply) -> Result<Answer, String> {
    let index: Option<u64> = reply.header("x-consul-index").and_then(|v| v.parse().ok());
    match reply.status {
        200 => {}
        // Consul names its index there too; what does not is no Consul.
        404 if index.is_some() => return Ok(Answer { index, snapshot: Snapshot::default() }), // no key under this prefix
        status => {
            return Err(refusal(status, &reply.body, sent, " (is the token right, and may it read this prefix?)"));
        }
    }
    if let Some(most) = c.max_stale {
        let age = reply.header("x-consul-lastcontact").and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        if age > most {
            return Err(format!("the answer is {age} ms old, more than max_stale allows"));
        }
    }
    Ok(Answer { index, snapshot: decode(&reply.body)? })
}

#[inline(never)]
pub(crate) fn headers(c: &Consul) -> Result<Headers<'_>, String> {
    let mut all = Headers::default();
    all.push_secret("x-consul-token", "", &c.token)?;
    all.push_basic(&c.basic)?;
    if !c.namespace.is_empty() {
        all.push(NAMESPACE, c.namespace.clone());
    }
    Ok(all)
}

/// Watches a prefix until `stop`.
pub fn watch(c: &Consul, prefix: &str, stop: &Stop, say: &dyn Fn(News)) {
    follow(c, prefix, (&keys(prefix), &decode), stop, say);
}

/// Watches by blocking queries what is read at `first`, a path with a query, and understood by `decode`.
#[inline(never)]
pub(super) fn follow(c: &Consul, prefix: &str, (first, decode): (&str, Decode), stop: &Stop, say: &dyn Fn(News)) {
    let mut turns = Turns::new((&c.addresses, &c.tls), [prefix, "Consul"], stop, say);
    let mut pace = Pace::new();
    let (mut index, mut pause) = (0, 0);
    while !stop.sleep(pause) {
        let Some(server) = turns.server() else { return };
        let wait = turns.shorten(c.wait);
        let begin = Instant::now();
        let limit = if index > 0 { wait + wait / 16 + GRACE } else { GRACE };
        let answer = headers(c).and_then(|sent| {
            let reply = server.get(&path(c, first, index, wait), &sent, limit, c.wait.max(GRACE))?;
            read(c, decode, &sent, &reply)
        });
        match answer {
            Ok(answer) => {
                let took = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
                let is_new = turns.hand(answer.snapshot);
                // A long poll that was answered before its time brings news, or wakes without need.
                pause = pace.after(took, index == 0 || took < wait, is_new);
                index = next_index(index, answer.index);
                if is_new {
                    // The loop comes first: asking again wakes the server, which may take its processor.
                    pause = pause.max(AFTER_NEWS);
                }
                turns.recovered();
                turns.worked();
            }
            Err(why) => {
                index = 0; // the next answer must come at once, to say that all is well again
                pause = turns.failed(&why).unwrap_or(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn request_paths() {
        let mut c = Consul::default();
        let path = |c: &Consul, prefix: &str, index, wait| path(c, &keys(prefix), index, wait);
        assert_eq!(path(&c, "/", 0, 60_000), "/v1/kv/?recurse");
        assert_eq!(path(&c, "/a/b c", 7, 60_000), "/v1/kv/a/b%20c?recurse&index=7&wait=60000ms");
        c.datacenter = "dc/1".to_string();
        c.max_stale = Some(5);
        assert_eq!(path(&c, "/é", 0, 1), "/v1/kv/%C3%A9?recurse&dc=dc%2F1&stale");
    }

    #[test]
    fn index_rules() {
        // (asked with, header) -> next
        for (asked, got, want) in [
            (0, Some(12), 12),
            (12, Some(13), 13),
            (12, Some(12), 12),
            (12, Some(5), 0), // restored: start again
            (12, Some(0), 0),
            (12, None, 0),
            (0, Some(0), 1), // never 0 twice: that would not block
            (0, None, 1),
            (1, Some(1), 1),
        ] {
            assert_eq!(next_index(asked, got), want, "asked {asked}, got {got:?}");
        }
    }

    #[test]
    fn pace_bounds_requests() {
        let mut p = Pace { gap: GAP };
        assert_eq!(p.after(60_000, false, false), 0, "a full wait");
        assert_eq!(p.after(5_000, true, true), 0, "news after 5 s: ask again at once");
        assert_eq!(p.after(3, true, true), 97, "news on news: ten a second");
        let waits: Vec<Millis> = (0..5).map(|_| p.after(0, true, false)).collect();
        assert_eq!(waits, [200, 400, 800, 1000, 1000], "woken for nothing");
        assert_eq!(p.after(0, true, true), 100, "news resets");
    }

    #[test]
    fn answers_decode() {
        let body = br#"[{"LockIndex":0,"Key":"app/b","Flags":0,"Value":"djE=","CreateIndex":11,"ModifyIndex":11},
                        {"Key":"app/a","Value":null},{"Key":"app/\u00e9","Value":""}]"#;
        let s = decode(body).unwrap();
        let all: Vec<(&str, &[u8])> = s.entries().iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(all, [("/app/a", &b""[..]), ("/app/b", b"v1"), ("/app/é", b"")]);
        let body = br#"[{"Key":"up","Value":"eA=="},{"Key":"up/","Value":null},{"Key":"d/","Value":null},
                        {"Key":"d//x","Value":"eQ=="}]"#;
        let s = decode(body).unwrap();
        let all: Vec<(&str, &[u8])> = s.entries().iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(all, [("/d", &b""[..]), ("/d/x", b"y"), ("/up", b"x")]);
        for (bad, want) in [
            (&br#"[{"Key":"k","Value":"!"}]"#[..], "key k: its value is no base64"),
            (br#"{"a":1}"#, "no list of keys"),
            (br#"[{"Key":"k","#, "no list of keys"),
            (br#"[] x"#, "no list of keys"),
            (b"", "no list of keys"),
        ] {
            let text = decode(bad).err().unwrap();
            assert!(text.contains(want), "{text}");
        }
    }
}
