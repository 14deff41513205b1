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
                broken: RefCell::default(),
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

/// Reads Consul's list of healthy instances. Two of the same id are of different nodes: the later one's name is added.
fn healthy(body: &[u8], folder: &str) -> Result<Snapshot, String> {
    const NO_LIST: &str = "the answer is no list of instances";
    let text = std::str::from_utf8(body).map_err(|_| fill("%: it is no UTF-8", &[NO_LIST]))?;
    let mut found: Vec<(String, String, String)> = Vec::new();
    let read = json::each(text, &mut |item| {
        let part = |name| item.as_map().and_then(|m| m.get(name));
        let node = part("Node").map_or("", |n| word(n, "Node"));
        let Some(service) = part("Service") else { return false };
        let address = match word(service, "Address") {
            "" => part("Node").map_or("", |n| word(n, "Address")),
            address => address,
        };
        let (id, port) = (word(service, "ID"), port(service));
        if !id.is_empty() && !address.is_empty() && found.len() < MAX_KEYS {
            found.push(([folder, "/", id].concat(), node.to_string(), place(address, port.unwrap_or(0))));
        }
        !id.is_empty()
    });
    match read {
        Ok(true) => {}
        Ok(false) => return Err(NO_LIST.to_string()),
        Err(why) => return Err(fill("%: %", &[NO_LIST, &why])),
    }
    found.sort_unstable();
    let (mut entries, mut last): (Vec<Entry>, &str) = (Vec::new(), "");
    for (key, node, place) in &found {
        let own = if key == last { Arc::from([key, "@", node].concat()) } else { Arc::from(key.as_str()) };
        entries.push((own, Arc::from(place.as_bytes())));
        last = key;
    }
    Ok(Snapshot::new(entries))
}

/// Text of a map; empty where there is none.
fn word<'a>(v: &'a Value, name: &str) -> &'a str {
    v.as_map().and_then(|m| m.get(name)).and_then(Value::as_str).unwrap_or("")
}

fn port(v: &Value) -> Option<u16> {
    match v.as_map()?.get("port").or(v.as_map()?.get("Port"))? {
        // Only a whole number is itself again.
        Value::Float(n) if f64::from(*n as u16) == *n => Some(*n as u16),
        _ => None,
    }
}

/// `address:port`.
fn place(address: &str, port: u16) -> String {
    let (open, close) = if address.contains(':') && !address.starts_with('[') { ("[", "]") } else { ("", "") };
    [open, address, close, ":", &port.to_string()].concat()
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
    /// Keys of which it was told that they are no instances.
    broken: RefCell<Vec<Arc<str>>>,
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

    /// An instance is a folder with a key `service`; what is none is told once.
    #[inline(never)]
    fn instances(&self, keys: &Snapshot) -> Snapshot {
        let (mut entries, mut broken) = (Vec::new(), Vec::new());
        for (key, value) in keys.entries() {
            let inner = key.strip_prefix(self.root).and_then(|k| k.strip_prefix('/')?.strip_suffix("/service"));
            let Some(id) = inner.filter(|id| !id.contains('/')) else { continue };
            match instance(value) {
                Some(place) => entries.push((Arc::from([self.folder, "/", id].concat()), Arc::from(place.as_bytes()))),
                None => broken.push(key.clone()),
            }
        }
        let mut known = self.broken.borrow_mut();
        for key in broken.iter().filter(|k| known.binary_search(k).is_err()) {
            let text =
                "the key % of etcd is no instance of a service and left out: it needs \"address\" and \"port\" as JSON";
            (self.say)(News::Note(fill(text, &[key])));
        }
        *known = broken;
        Snapshot::new(entries)
    }
}

/// Where an instance is, as its key in etcd says it.
fn instance(value: &[u8]) -> Option<String> {
    let v = json::parse_each(std::str::from_utf8(value).ok()?, "", &mut |_| false).ok()?;
    let address = word(&v, "address");
    if address.is_empty() { None } else { Some(place(address, port(&v)?)) }
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
        let list = [one("n2", "b", "10.0.0.2", "80"), one("n1", "a", "", "0"), one("n1", "b", "fd00::1", "65535")];
        let want = "app/a=10.0.0.9:0 app/b=[fd00::1]:65535 app/b@n2=10.0.0.2:80";
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
            broken: RefCell::default(),
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
