//! etcd v3 as its JSON gateway speaks it: the bodies of requests, the decoded answers and stream messages, and what a
//! refusal means. Pure: it asks nobody. Two things are peculiar to etcd and settled here. Keys under `/a` are `/a` and
//! `/a/...`, as confd has it; etcd itself knows intervals only, so what lies between (`/a-b`) is left out. And what
//! went wrong is told by the same sentences in three shapes (an answer's body, a stream's last message, the reason of a
//! canceled watch) with codes that differ between versions, so the sentences are what counts.

pub mod watch;

use std::sync::Arc;

use super::consul::{MAX_KEYS, MAX_VALUE};
use crate::base64;
use crate::formats::json;
use crate::store::{self, Entry, Snapshot};
use crate::text::fill;
use crate::value::Value;

/// Most bytes that the keys and values of one prefix may have together.
const MAX_BYTES: usize = 64 << 20;

/// Where in which history an answer stands.
#[derive(Clone, Copy, Default)]
struct Head {
    cluster: u64,
    term: u64,
    revision: u64,
}

impl Head {
    /// Whether this can be the same history, no earlier than `before`. A member that lags looks like a new history; a
    /// cluster that was made anew from the same settings has the same id, but begins with a low term and revision.
    fn follows(self, before: Head) -> bool {
        self.cluster == before.cluster && self.term >= before.term && self.revision >= before.revision
    }
}

/// What may be done about a failure, beside trying the next endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing.
    Plain,
    /// Authenticate: there is no token, or members that were restarted do not know it any more.
    Token,
    /// Ask for `/a/...` without `/a` itself: that is what `role grant --prefix /a/` allows.
    Denied,
    /// Ask under the other path: /v3 is of etcd 3.4 and later, /v3beta of 3.3.
    Gateway,
    /// Read everything again: the revision is compacted, or of another history.
    History,
}

/// Why there are no keys, in words, and what may be done.
struct Fail {
    kind: Kind,
    text: String,
}

impl From<String> for Fail {
    fn from(text: String) -> Fail {
        Fail { kind: Kind::Plain, text }
    }
}

fn field<'a>(v: &'a Value, name: &str) -> Option<&'a Value> {
    v.as_map()?.get(name)
}

/// A number; the gateway writes them as text and leaves out what is 0.
fn number(v: &Value, name: &str) -> u64 {
    field(v, name).and_then(Value::as_str).and_then(|s| s.parse().ok()).unwrap_or(0)
}

fn is_true(v: &Value, name: &str) -> bool {
    matches!(field(v, name), Some(Value::Bool(true)))
}

fn head(v: &Value) -> Head {
    let get = |name| field(v, "header").map_or(0, |h| number(h, name));
    Head { cluster: get("cluster_id"), term: get("raft_term"), revision: get("revision") }
}

/// The failure that etcd's own words mean.
fn refusal(status: u16, words: &str) -> Fail {
    let has = |part: &str| words.contains(part);
    let (kind, hint) = if status == 401 || has("invalid auth token") || has("auth store is old") {
        (Kind::Token, "")
    } else if has("user name is empty") {
        (Kind::Token, " (it wants a user and a password)")
    } else if status == 403 || has("permission denied") {
        (Kind::Denied, " (may the user read this prefix?)")
    } else if has("has been compacted") || has("future revision") {
        (Kind::History, "")
    } else if status == 404 {
        (Kind::Gateway, " (is it etcd 3.3 or later with its JSON gateway?)")
    } else {
        (Kind::Plain, "")
    };
    let status = if status == 0 { String::new() } else { status.to_string() };
    Fail { kind, text: fill("% %%", &[&status, words, hint]).trim_start().to_string() }
}

/// The sentence in an answer that is a refusal: its `message`, that of its `error`, or all of it.
fn sentence(body: &[u8]) -> Option<String> {
    let v = json::parse_each(std::str::from_utf8(body).ok()?, "", &mut |_| false).ok()?;
    let inner = field(&v, "error").filter(|e| e.as_map().is_some()).unwrap_or(&v);
    field(inner, "message").or(field(inner, "error")).and_then(Value::as_str).map(str::to_string)
}

/// What to ask for: all that may lie under `prefix`, or with `is_narrow` all but the key `prefix` itself.
fn interval(prefix: &str, is_narrow: bool) -> (String, String) {
    let bare = prefix.trim_end_matches('/'); // `/` is everything that begins with a slash
    let start = if is_narrow || prefix.ends_with('/') { "/" } else { "" };
    // `0` comes right after `/`.
    ([bare, start].concat(), [bare, "0"].concat())
}

/// A body with an interval of keys and a revision in it.
#[inline(never)]
fn body(pattern: &str, start: &[u8], end: &str, revision: u64) -> String {
    fill(pattern, &[&base64::encode(start), &base64::encode(end.as_bytes()), &revision.to_string()])
}

/// The body of a request for one page, from `start` on. `revision` 0: the newest; a probe is only to hear from the server.
fn range_body(start: &[u8], end: &str, revision: u64, is_probe: bool) -> String {
    let pattern = if is_probe {
        r#"{"key":"%","range_end":"%","revision":"%","limit":"1","keys_only":true}"#
    } else {
        r#"{"key":"%","range_end":"%","revision":"%","limit":"1000"}"#
    };
    body(pattern, start, end, revision)
}

/// The body of a request to watch from `revision` on. Fragments keep a message small when a transaction, or all that was
/// missed, is large; etcd 3.3 (`is_beta`) does not know them.
fn watch_body(start: &str, end: &str, revision: u64, is_beta: bool) -> String {
    let pattern = if is_beta {
        r#"{"create_request":{"key":"%","range_end":"%","start_revision":"%","progress_notify":true}}"#
    } else {
        r#"{"create_request":{"key":"%","range_end":"%","start_revision":"%","progress_notify":true,"fragment":true}}"#
    };
    body(pattern, start.as_bytes(), end, revision)
}

/// The body of a request for a token.
fn authenticate_body(user: &str, password: &str) -> String {
    let mut b = b"{\"name\":".to_vec();
    // Text always has a JSON form.
    let _ = json::write(&mut b, &Value::str(user), None);
    b.extend_from_slice(b",\"password\":");
    let _ = json::write(&mut b, &Value::str(password), None);
    b.push(b'}');
    String::from_utf8_lossy(&b).into_owned()
}

/// Keys as they come, within the limits.
#[derive(Default)]
struct Load {
    entries: Vec<Entry>,
    bytes: usize,
    /// The last key, of this prefix or not.
    last: Vec<u8>,
    /// The highest revision of an event.
    newest: u64,
}

impl Load {
    /// Takes a key of a page, or (`gone`: what stands for no value) of an event. A key that is no UTF-8 is nobody's: no
    /// template can name it.
    fn add(&mut self, kv: &Value, prefix: &str, gone: Option<&Arc<[u8]>>) -> Result<(), String> {
        let text = |name| field(kv, name).and_then(Value::as_str);
        let key = text("key").and_then(base64::decode).ok_or("a key is no base64")?;
        self.newest = self.newest.max(number(kv, "mod_revision"));
        if let Ok(name) = std::str::from_utf8(&key)
            && store::is_under(prefix, name)
        {
            let value = match (gone, text("value").unwrap_or("")) {
                (Some(gone), _) => gone.clone(),
                (None, text) => {
                    Arc::from(base64::decode(text).ok_or_else(|| fill("key %: its value is no base64", &[name]))?)
                }
            };
            if value.len() > MAX_VALUE {
                return Err(fill("key %: its value is larger than 16 MiB", &[name]));
            }
            self.bytes += key.len() + value.len();
            self.entries.push((Arc::from(name), value));
            check(self.entries.len(), self.bytes)?;
        }
        self.last = key;
        Ok(())
    }
}

/// What one prefix may hold.
pub(super) fn check(keys: usize, bytes: usize) -> Result<(), String> {
    if keys > MAX_KEYS {
        return Err("there are more than 1000000 keys".to_string());
    }
    if bytes > MAX_BYTES {
        return Err("the keys and values are larger than 64 MiB".to_string());
    }
    Ok(())
}

/// Reads a body whose keys, or events of keys, go into `load` one by one.
#[inline(never)]
fn read(body: &[u8], list: &str, prefix: &str, load: &mut Load, gone: &Arc<[u8]>) -> Result<Value, String> {
    let no_answer = |why: &str| fill("the answer is none of etcd's: %", &[why]);
    let text = std::str::from_utf8(body).map_err(|_| no_answer("it is no UTF-8"))?;
    let mut wrong = String::new();
    let read = json::parse_each(text, list, &mut |item| {
        let is_gone = field(&item, "type").and_then(Value::as_str) == Some("DELETE");
        let kv = field(&item, "kv").unwrap_or(&item);
        load.add(kv, prefix, is_gone.then_some(gone)).map_err(|why| wrong = why).is_ok()
    });
    match read {
        _ if !wrong.is_empty() => Err(wrong),
        Ok(v) if v.as_map().is_some() => Ok(v),
        Ok(_) => Err(no_answer("it is no object")),
        Err(why) => Err(no_answer(&why)),
    }
}

/// Takes in one page; says where it stands and whether there are more.
fn page(body: &[u8], prefix: &str, load: &mut Load, gone: &Arc<[u8]>) -> Result<(Head, bool), String> {
    let v = read(body, "kvs", prefix, load, gone)?;
    let head = head(&v);
    if head.revision == 0 {
        return Err("the answer names no revision: it is none of etcd's".to_string());
    }
    Ok((head, is_true(&v, "more")))
}

/// One message of a watch, but for its events.
struct Message {
    head: Head,
    is_created: bool,
    /// More of the same revision follows.
    is_part: bool,
}

/// Takes in one message of a watch.
fn message(line: &[u8], prefix: &str, load: &mut Load, gone: &Arc<[u8]>) -> Result<Message, Fail> {
    let v = read(line, "events", prefix, load, gone)?;
    let Some(result) = field(&v, "result") else {
        let words = sentence(line).unwrap_or_else(|| "the stream holds what is none of etcd's".to_string());
        return Err(refusal(0, &super::http::words(words.as_bytes(), &[])));
    };
    if is_true(result, "canceled") {
        if number(result, "compact_revision") > 0 {
            return Err(Fail { kind: Kind::History, text: "the revision to go on from is compacted".to_string() });
        }
        let reason = field(result, "cancel_reason").and_then(Value::as_str).unwrap_or("the watch was canceled");
        let reason = reason.split_once("desc = ").map_or(reason, |(_, desc)| desc);
        return Err(refusal(0, &super::http::words(reason.as_bytes(), &[])));
    }
    Ok(Message { head: head(result), is_created: is_true(result, "created"), is_part: is_true(result, "fragment") })
}

/// The keys after these events; of equal keys the last one counts.
fn apply(old: &Snapshot, mut events: Vec<Entry>, gone: &Arc<[u8]>) -> Result<Snapshot, String> {
    let mut entries = old.entries().to_vec();
    entries.append(&mut events);
    let all = Snapshot::new(entries);
    let (mut left, mut bytes) = (Vec::new(), 0usize);
    for e in all.entries().iter().filter(|e| !Arc::ptr_eq(&e.1, gone)) {
        bytes = bytes.saturating_add(e.0.len() + e.1.len());
        left.push(e.clone());
    }
    check(left.len(), bytes)?;
    Ok(Snapshot::new(left))
}

/// The keys as templates know them: `/a//b/` is `/a/b` there, unless that exists too.
fn cleaned(raw: &Snapshot) -> Snapshot {
    let is_clean = |k: &str| !(k.contains("//") || k.contains("/.") || k.ends_with('/'));
    let odd = raw.entries().iter().filter(|e| !is_clean(&e.0));
    let mut entries: Vec<Entry> = odd.map(|e| (Arc::from(store::clean(&e.0)), e.1.clone())).collect();
    if entries.is_empty() {
        return raw.clone();
    }
    // Of equal keys the last wins.
    entries.extend(raw.entries().iter().filter(|e| is_clean(&e.0)).cloned());
    Snapshot::new(entries)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn gone() -> Arc<[u8]> {
        Arc::from(&b"gone"[..])
    }

    fn keys(entries: &[Entry]) -> String {
        let texts = entries.iter().map(|(k, v)| format!("{k}={}", String::from_utf8_lossy(v)));
        texts.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn prefixes_are_whole_parts() {
        for (prefix, key, want) in [
            ("/a", "/a", true),
            ("/a", "/a/b", true),
            ("/a", "/ab", false),
            ("/a", "/a-b", false),
            ("/a/", "/a/b", true),
            ("/a/", "/a", false),
            ("/", "/x", true),
            ("/", "x", false),
        ] {
            assert_eq!(store::is_under(prefix, key), want, "{prefix} {key}");
        }
        let both = |p, narrow| interval(p, narrow);
        assert_eq!(both("/a", false), ("/a".to_string(), "/a0".to_string()));
        assert_eq!(both("/a", true), ("/a/".to_string(), "/a0".to_string()));
        assert_eq!(both("/a/", false), ("/a/".to_string(), "/a0".to_string()));
        assert_eq!(both("/", false), ("/".to_string(), "0".to_string()));
    }

    #[test]
    fn bodies() {
        let key = r#""key":"L2E=","range_end":"L2Ew""#;
        assert_eq!(range_body(b"/a", "/a0", 7, false), fill(r#"{%,"revision":"7","limit":"1000"}"#, &[key]));
        let probe = fill(r#"{%,"revision":"0","limit":"1","keys_only":true}"#, &[key]);
        assert_eq!(range_body(b"/a", "/a0", 0, true), probe);
        for (is_beta, more) in [(true, ""), (false, r#","fragment":true"#)] {
            let want = r#"{"create_request":{%,"start_revision":"8","progress_notify":true%}}"#;
            assert_eq!(watch_body("/a", "/a0", 8, is_beta), fill(want, &[key, more]));
        }
        assert_eq!(authenticate_body("u\"", "p\\"), r#"{"name":"u\"","password":"p\\"}"#);
    }

    #[test]
    fn histories_follow_or_do_not() {
        let known = Head { cluster: 1, term: 5, revision: 100 };
        for (cluster, term, revision, want) in
            [(1, 5, 100, true), (1, 6, 200, true), (1, 5, 99, false), (1, 4, 200, false), (2, 6, 200, false)]
        {
            assert_eq!(Head { cluster, term, revision }.follows(known), want, "{cluster} {term} {revision}");
        }
    }

    #[test]
    fn pages_and_messages_of_both_versions_decode() {
        let mut load = Load::default();
        let body = br#"{"header":{"cluster_id":"13739757754996333790", "revision":"3", "raft_term":"2"},
            "kvs":[{"key":"L2E=","mod_revision":"2","value":"djE="},{"key":"L2Fi","value":"djE="},{"key":"L2EvYg=="}],
            "more":true,"count":"9"}"#;
        let (head, more) = page(body, "/a", &mut load, &gone()).unwrap();
        assert_eq!((head.cluster, head.term, head.revision, more), (13_739_757_754_996_333_790, 2, 3, true));
        assert_eq!(keys(&load.entries), "/a=v1 /a/b=");
        assert_eq!((&*load.last, load.newest), (&b"/a/b"[..], 2));

        let (gone, mut load) = (gone(), Load::default());
        let line = br#"{"result":{"header":{"revision":"9"},"events":[{"kv":{"key":"L2EvYg==","mod_revision":"8",
            "value":"eA=="}},{"type":"DELETE","kv":{"key":"L2E=","mod_revision":"9"}}]}}"#;
        let m = message(line, "/a", &mut load, &gone).ok().unwrap();
        assert!(!m.is_created && !m.is_part && load.newest == 9);
        let old =
            Snapshot::new(vec![(Arc::from("/a"), Arc::from(&b"1"[..])), (Arc::from("/a/z"), Arc::from(&b"2"[..]))]);
        assert_eq!(keys(apply(&old, load.entries, &gone).unwrap().entries()), "/a/b=x /a/z=2");
    }

    #[test]
    fn refusals_in_all_their_shapes() {
        let said = |status, body: &str| refusal(status, &sentence(body.as_bytes()).unwrap());
        for (status, body, kind, text) in [
            (
                401,
                r#"{"error":"etcdserver: invalid auth token","code":16}"#,
                Kind::Token,
                "401 etcdserver: invalid auth token",
            ),
            (
                400,
                r#"{"code":3,"message":"etcdserver: revision of auth store is old"}"#,
                Kind::Token,
                "400 etcdserver: revision",
            ),
            (403, r#"{"code":7, "message":"etcdserver: permission denied"}"#, Kind::Denied, "may the user read"),
            (
                400,
                r#"{"code":11,"message":"etcdserver: mvcc: required revision has been compacted"}"#,
                Kind::History,
                "400",
            ),
            (
                0,
                r#"{"error":{"grpc_code":14,"message":"etcdserver: no leader"}}"#,
                Kind::Plain,
                "etcdserver: no leader",
            ),
            (404, r#"{"code":5,"message":"Not Found"}"#, Kind::Gateway, "404 Not Found"),
        ] {
            let fail = said(status, body);
            assert!(fail.kind == kind && fail.text.contains(text), "{}", fail.text);
        }
        assert!(sentence(b"Not Found").is_none());
    }

    #[test]
    fn odd_keys_give_way_to_clean_ones() {
        let raw = |pairs: &[(&str, &str)]| {
            Snapshot::new(pairs.iter().map(|(k, v)| (Arc::from(*k), Arc::from(v.as_bytes()))).collect())
        };
        let s = cleaned(&raw(&[("/a//b", "odd"), ("/a/b", "clean"), ("/c/", "folder"), ("/d/.e", "dot")]));
        assert_eq!(keys(s.entries()), "/a/b=clean /c=folder /d/.e=dot");
    }
}
