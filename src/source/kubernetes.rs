//! ConfigMaps and Secrets as the API server of Kubernetes shows them: the paths of requests, objects as keys, lists and
//! events, and what a refusal means. Pure: it asks nobody. What an object holds beside its data (managedFields,
//! annotations) is never kept, and a key is never cleaned: what a name such as `../x` may do is decided by who uses it.

pub mod watch;

use std::sync::Arc;

use super::consul::encode_into;
use super::etcd;
use crate::base64;
use crate::formats::json;
use crate::plan::Kubernetes;
use crate::store::Entry;
use crate::text::fill;
use crate::value::Value;

/// Objects of one page: each may have a MiB, and an answer not more than 64.
const LIMIT: &str = "&limit=50";

/// What may be done about a failure, beside trying again later.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing.
    Plain,
    /// Ask again: the token's file may hold a newer one.
    Token,
    /// List again: the version to go on from is too old, or of another history.
    History,
}

/// Why there are no objects, in words, and what may be done.
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

/// A text inside of `metadata`; empty when it is not there.
fn meta<'a>(object: &'a Value, name: &str) -> &'a str {
    field(object, "metadata").and_then(|m| field(m, name)).and_then(Value::as_str).unwrap_or("")
}

/// The path of a request. One object is asked for by a field selector: then a rule that names it suffices.
#[inline(never)]
fn path(k: &Kubernetes, tail: &[&str]) -> String {
    let mut p = [&*k.base, "/api/v1/namespaces/"].concat();
    encode_into(&mut p, &k.namespace, false);
    p.push('/');
    p.push_str(k.resource());
    let (by, value) =
        if k.name.is_empty() { ("?labelSelector=", &k.selector) } else { ("?fieldSelector=metadata.name%3D", &k.name) };
    p.push_str(by);
    encode_into(&mut p, value, false);
    for part in tail {
        p.push_str(part);
    }
    p
}

fn list_path(k: &Kubernetes, next: &str) -> String {
    let mut token = String::new();
    encode_into(&mut token, next, false);
    path(k, &[LIMIT, if next.is_empty() { "" } else { "&continue=" }, &token])
}

fn watch_path(k: &Kubernetes, version: &str, seconds: u64) -> String {
    let mut from = String::new();
    encode_into(&mut from, version, false);
    let seconds = seconds.to_string();
    path(k, &["&watch=1&allowWatchBookmarks=true&resourceVersion=", &from, "&timeoutSeconds=", &seconds])
}

/// The failure that an answer means. `words` are its own, fit for a message.
#[inline(never)]
fn refusal(k: &Kubernetes, status: u16, words: &str) -> Fail {
    let is_history = status == 410 || words.starts_with("Too large resource version");
    let (kind, hint) = match status {
        401 => (Kind::Token, " (is the token or certificate right?)".to_string()),
        403 => {
            let names = if k.name.is_empty() { "" } else { ", resourceNames: " };
            let rule = [k.resource(), names, &k.name, &k.namespace];
            (Kind::Plain, fill(" (it needs a rule with resources: %%%, verbs: list, watch in the namespace %)", &rule))
        }
        _ if is_history => (Kind::History, String::new()),
        _ => (Kind::Plain, String::new()),
    };
    Fail { kind, text: fill("% %%", &[&status.to_string(), words, &hint]).replace("  ", " ") }
}

/// The sentence in an answer that is a Status.
fn sentence(body: &[u8]) -> Option<String> {
    let v = json::parse_each(std::str::from_utf8(body).ok()?, "", &mut |_| false).ok()?;
    field(&v, "message").and_then(Value::as_str).map(str::to_string)
}

fn no_answer(why: &str) -> String {
    fill("the answer is none of Kubernetes': %", &[why])
}

/// Objects as keys.
#[derive(Default)]
struct Objects {
    entries: Vec<Entry>,
    /// The one object that has a name was there.
    is_there: bool,
}

impl Objects {
    /// Takes an object in, or (`is_gone`) out. `is_new`: none of its keys are in yet. What another server than the real one
    /// might send of other objects is nobody's.
    #[inline(never)]
    fn put(&mut self, k: &Kubernetes, object: &Value, is_gone: bool, is_new: bool) -> Result<(), String> {
        let name = meta(object, "name");
        let prefix = if k.name.is_empty() {
            ["/", name, "/"].concat()
        } else if name == k.name {
            self.is_there = !is_gone;
            "/".to_string()
        } else {
            return Ok(());
        };
        if !is_new {
            self.entries.retain(|e| !e.0.starts_with(&prefix));
        }
        if is_gone {
            return Ok(());
        }
        for (part, is_plain) in [("data", !k.is_secret), ("binaryData", false)] {
            for (key, value) in field(object, part).and_then(Value::as_map).into_iter().flatten() {
                let text = value.as_str().unwrap_or("");
                let value =
                    if is_plain { Some(Arc::from(text.as_bytes())) } else { base64::decode(text).map(Arc::from) };
                let Some(value) = value else {
                    return Err(fill("%: the value of % is no base64", &[name, key]));
                };
                self.entries.push((Arc::from([&*prefix, key].concat()), value));
            }
        }
        let bytes = self.entries.iter().map(|e| e.0.len() + e.1.len()).sum();
        etcd::check(self.entries.len(), bytes)
    }
}

/// Takes in one page of a list: the version it is of, and what names the next page (empty: there is none).
#[inline(never)]
fn page(k: &Kubernetes, body: &[u8], into: &mut Objects) -> Result<(String, String), String> {
    let text = std::str::from_utf8(body).map_err(|_| no_answer("it is no UTF-8"))?;
    let mut wrong = String::new();
    let read = json::parse_items(text, "items", &mut |item| {
        into.put(k, &item, false, true).map_err(|why| wrong = why).is_ok()
    });
    match read {
        _ if !wrong.is_empty() => Err(wrong),
        Ok(v) if !meta(&v, "resourceVersion").is_empty() => {
            Ok((meta(&v, "resourceVersion").to_string(), meta(&v, "continue").to_string()))
        }
        Ok(_) => Err(no_answer("it is no list")),
        Err(why) => Err(no_answer(&why)),
    }
}

/// Takes in one event of a watch: the version it brings, and whether the objects changed.
#[inline(never)]
fn event(k: &Kubernetes, line: &[u8], into: &mut Objects) -> Result<(String, bool), Fail> {
    let text = std::str::from_utf8(line).map_err(|_| no_answer("it is no UTF-8"))?;
    let v = json::parse(text).map_err(|why| no_answer(&why))?;
    let object = field(&v, "object").unwrap_or(&Value::Nil);
    let kind = field(&v, "type").and_then(Value::as_str).unwrap_or("");
    match kind {
        "ADDED" | "MODIFIED" | "DELETED" => into.put(k, object, kind == "DELETED", false)?,
        "BOOKMARK" => {}
        "ERROR" => {
            // Mostly 410, behind a status of 200: whatever it is, the stream has lost its place.
            let words = field(object, "message").and_then(Value::as_str).unwrap_or("the watch has failed");
            return Err(Fail { kind: Kind::History, text: super::http::words(words.as_bytes(), &[]) });
        }
        _ => return Err(no_answer("it is no event").into()),
    }
    let version = meta(object, "resourceVersion");
    if version.is_empty() {
        return Err(no_answer("an event has no resourceVersion").into());
    }
    Ok((version.to_string(), kind != "BOOKMARK"))
}

#[cfg(test)]
mod tests;
