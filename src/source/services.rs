//! The instances of a service, as its catalog lists those that are well: one key each, `/NAME/ID`, whose value is
//! `address:port`. It decides what of the catalog is an instance; how it is asked and watched is that of the sources of keys.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::consul::{self, MAX_KEYS, encode_into};
use super::{News, Stop, etcd, etcd2};
use crate::formats::json;
use crate::plan::{Catalog, Consul};
use crate::store::{Entry, Snapshot};
use crate::text::fill;
use crate::value::Value;

/// Watches the instances of `/NAME` (or `/NAME?TAG`) until `stop`. etcd's catalog has no tags: there it is all instances.
pub fn watch(catalog: &Catalog, prefix: &str, stop: &Stop, say: &dyn Fn(News)) {
    let (folder, tag) = prefix.split_once('?').unwrap_or((prefix, ""));
    match catalog {
        Catalog::Consul(c) => at_consul(c, prefix, (folder, tag), stop, say),
        Catalog::Etcd(e, root) => {
            let root = [root, folder].concat();
            let seen = Seen {
                root: &root,
                folder,
                last: RefCell::default(),
                is_down: Cell::new(false),
                is_broken: Cell::new(false),
                say,
            };
            let hear = |news| seen.hear(news);
            if e.version == 2 {
                etcd2::watch(e, &root, None, stop, &hear);
            } else {
                etcd::watch::watch(e, &root, stop, &hear);
            }
        }
    }
}

fn at_consul(c: &Consul, prefix: &str, (folder, tag): (&str, &str), stop: &Stop, say: &dyn Fn(News)) {
    let mut first = String::from("/v1/health/service/");
    encode_into(&mut first, folder.trim_start_matches('/'), false);
    first.push_str("?passing=1");
    if !tag.is_empty() {
        first.push_str("&tag=");
        encode_into(&mut first, tag, false);
    }
    consul::follow(c, prefix, (&first, &|body| healthy(body, folder)), stop, say);
}

/// Reads Consul's list of healthy instances. Where two have the same id, they are of different nodes, whose names are added.
fn healthy(body: &[u8], folder: &str) -> Result<Snapshot, String> {
    const NO_LIST: &str = "the answer is no list of instances";
    let text = std::str::from_utf8(body).map_err(|_| NO_LIST)?;
    let mut has_nodes = false;
    loop {
        let mut found = Vec::new();
        let read = json::each(text, &mut |item| {
            let part = |name| item.as_map().and_then(|m| m.get(name)).unwrap_or(&Value::Nil);
            let (node, service) = (part("Node"), part("Service"));
            let (id, mut address) = (word(service, "ID"), word(service, "Address"));
            if address.is_empty() {
                address = word(node, "Address");
            }
            let (at, node) = if has_nodes { ("@", word(node, "Node")) } else { ("", "") };
            add(&mut found, &[folder, "/", id, at, node], address, port(service, "Port"));
            !id.is_empty() && found.len() <= MAX_KEYS
        });
        match read {
            Ok(true) => {}
            Ok(false) => return Err(NO_LIST.to_string()),
            Err(why) => return Err(fill("%: %", &[NO_LIST, &why])),
        }
        let count = found.len();
        let found = Snapshot::new(found);
        if has_nodes || found.len() == count {
            return Ok(found);
        }
        has_nodes = true;
    }
}

/// Adds an instance, if it has an address: false if it has none, or no port.
#[inline(never)]
fn add(entries: &mut Vec<Entry>, key: &[&str], address: &str, port: Option<u16>) -> bool {
    let Some(port) = port.filter(|_| !address.is_empty()) else { return false };
    let (open, close) = if address.contains(':') && !address.starts_with('[') { ("[", "]") } else { ("", "") };
    let place = [open, address, close, ":", &port.to_string()].concat();
    entries.push((Arc::from(key.concat()), Arc::from(place.as_bytes())));
    true
}

/// Text of a map; empty where there is none.
fn word<'a>(v: &'a Value, name: &str) -> &'a str {
    v.as_map().and_then(|m| m.get(name)).and_then(Value::as_str).unwrap_or("")
}

fn port(v: &Value, name: &str) -> Option<u16> {
    match v.as_map()?.get(name)? {
        // Only a whole number is itself again.
        Value::Float(n) if f64::from(*n as u16) == *n => Some(*n as u16),
        _ => None,
    }
}

/// What is seen of a service in etcd.
struct Seen<'a> {
    /// Where its keys are ...
    root: &'a str,
    /// ... and what they are called here.
    folder: &'a str,
    last: RefCell<Option<Arc<Snapshot>>>,
    /// Trouble was told, and not its end.
    is_down: Cell<bool>,
    /// It was told of a key that should be an instance and is none.
    is_broken: Cell<bool>,
    say: &'a dyn Fn(News),
}

impl Seen<'_> {
    /// News of the keys become news of instances.
    fn hear(&self, news: News) {
        match news {
            News::Data(keys) => {
                let found = self.instances(&keys);
                let was_down = self.is_down.replace(false);
                let mut last = self.last.borrow_mut();
                if last.as_ref().is_none_or(|l| !l.same(&found)) {
                    let found = Arc::new(found);
                    *last = Some(found.clone());
                    (self.say)(News::Data(found));
                } else if was_down {
                    (self.say)(News::Recovered);
                }
            }
            other => {
                self.is_down
                    .set(matches!(other, News::Trouble(..)) || matches!(other, News::Note(_)) && self.is_down.get());
                (self.say)(other);
            }
        }
    }

    /// An instance is a folder with a key `service`; that there is what is none, is told once.
    #[inline(never)]
    fn instances(&self, keys: &Snapshot) -> Snapshot {
        let (mut entries, mut broken) = (Vec::new(), None);
        for (key, value) in keys.entries() {
            let inner = key.strip_prefix(self.root).and_then(|k| k.strip_suffix("/service"));
            let Some(id) = inner.filter(|id| id.rfind('/') == Some(0)) else { continue };
            let text = String::from_utf8_lossy(value);
            let v = json::parse_each(&text, "", &mut |_| false).unwrap_or(Value::Nil);
            if !add(&mut entries, &[self.folder, id], word(&v, "address"), port(&v, "port")) {
                broken = Some(key);
            }
        }
        if let (Some(key), false) = (broken, self.is_broken.replace(broken.is_some())) {
            let text = "the key % of etcd is no instance of a service and left out: it needs \"address\" and \"port\"";
            (self.say)(News::Note(fill(text, &[key])));
        }
        Snapshot::new(entries)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn line(s: &Snapshot) -> String {
        crate::source::bed::line(s)
    }

    #[test]
    fn consuls_lists_decode() {
        let all = |body: &str| healthy(body.as_bytes(), "/app").map(|s| line(&s));
        let one = |node: &str, id: &str, address: &str, port: &str| {
            format!(
                r#"{{"Node":{{"Node":"{node}","Address":"10.0.0.9"}},"Service":{{"ID":"{id}","Address":"{address}","Port":{port}}},"Checks":[]}}"#
            )
        };
        assert_eq!(all("[]").unwrap(), "");
        assert_eq!(all(&format!("[{}]", one("n2", "b", "10.0.0.2", "80"))).unwrap(), "app/b=10.0.0.2:80");
        let list = [one("n2", "b", "10.0.0.2", "80"), one("n1", "a", "", "0"), one("n1", "b", "fd00::1", "65535")];
        let want = "app/a@n1=10.0.0.9:0 app/b@n1=[fd00::1]:65535 app/b@n2=10.0.0.2:80";
        assert_eq!(all(&format!("[{}]", list.join(","))).unwrap(), want);
        for bad in ["{}", "", "[1]", r#"[{"Node":{}}]"#, r#"[{"Service":{"ID":""}}]"#, "[] x"] {
            let why = all(bad).err().unwrap();
            assert!(why.starts_with("the answer is no list of instances"), "{bad}: {why}");
        }
    }

    #[test]
    fn etcds_keys_become_instances() {
        let told = RefCell::new(Vec::new());
        let say = |news| {
            told.borrow_mut().push(match news {
                News::Data(s) => line(&s),
                News::Trouble(..) => "trouble".to_string(),
                News::Recovered => "recovered".to_string(),
                News::Note(text) => text,
            });
        };
        let seen = Seen {
            root: "/cp/app",
            folder: "/app",
            last: RefCell::default(),
            is_down: Cell::new(false),
            is_broken: Cell::new(false),
            say: &say,
        };
        let data = |pairs: &[(&str, &str)]| {
            let all = pairs.iter().map(|(k, v)| (Arc::from(*k), Arc::from(v.as_bytes()))).collect();
            seen.hear(News::Data(Arc::new(Snapshot::new(all))));
            std::mem::take(&mut *told.borrow_mut())
        };
        let (a, b) = (r#"{"id":"a","name":"app","address":"10.0.0.1","port":80}"#, r#"{"address":"fd00::1","port":1}"#);
        let good =
            [("/cp/app/a/service", a), ("/cp/app/b/service", b), ("/cp/app/plain", a), ("/cp/app/a/b/service", a)];
        assert_eq!(data(&good), ["app/a=10.0.0.1:80 app/b=[fd00::1]:1"]);
        assert!(data(&good).is_empty(), "nothing new");
        // What is broken is told once for as long as it stays so.
        for broken in
            ["", "{", r#"{"address":"x"}"#, r#"{"address":"x","port":1.5}"#, r#"{"address":"x","port":65536}"#]
        {
            let mut keys = good;
            keys[1].1 = broken;
            let said = data(&keys);
            assert!(
                said.len() == 2 && said[0].starts_with("the key /cp/app/b/service of etcd is no instance"),
                "{broken}"
            );
            assert_eq!(said[1], "app/a=10.0.0.1:80");
            keys[2].1 = "";
            assert!(data(&keys).is_empty(), "told once: {broken}");
            assert_eq!(data(&good).len(), 1);
        }
        seen.hear(News::Trouble(String::new(), 0));
        seen.hear(News::Note("n".to_string()));
        assert_eq!(data(&good), ["trouble", "n", "recovered"]);
        assert!(data(&good).is_empty());
    }
}
