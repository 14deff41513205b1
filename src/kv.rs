//! `pilotfish kv`: a source's keys for people and scripts, by the same sources that templates read. It reads all that is
//! asked for at once, changes one key or tree, or tells of each change until it is ended.

use std::io::{Read, Write};
use std::sync::Arc;

use crate::base64;
use crate::error::{Error, Kind, Result};
use crate::formats::json;
use crate::map::Map;
use crate::plan::Change;
use crate::plan::{Input, Plan};
use crate::source::change;
use crate::source::{self, News, Post, Stop};
use crate::store::Snapshot;
use crate::sys::pipe::Pipe;
use crate::text::fill;
use crate::value::Value;

/// What is to be done.
pub enum Verb {
    /// Print a value, or with `is_recursive` all keys with their values.
    Get,
    /// Print the names one level below, or with `is_recursive` all keys.
    List,
    /// Print each change.
    Watch,
    /// Change the key.
    Change(Change),
}

/// A command of `pilotfish kv`.
pub struct Query {
    /// One source and one watch, which covers the key.
    pub plan: Arc<Plan>,
    /// The key, as the source has it and as people see it.
    pub key: String,
    /// How keys are shown.
    pub shown: Input,
    /// What to do.
    pub verb: Verb,
    /// With all that is below the key.
    pub is_recursive: bool,
    /// Print JSON.
    pub is_json: bool,
}

/// Does it, and gives the exit code.
///
/// # Errors
/// `Kind::Transient` when the source does not answer, `Kind::Fatal` for what it cannot do or has not.
#[inline(never)]
pub fn run(q: &Query) -> Result<i32> {
    let pipe = Pipe::new().map_err(|e| Error::io("make a pipe", &e))?;
    let (post, stop) = (Post::new(pipe.writer()), Stop::new()?);
    if let (Verb::Change(Change::Set(value, ttl)), Some(source)) = (&q.verb, q.plan.sources.first()) {
        let mut value = value.clone();
        if value == b"-" {
            value.clear();
            let read = std::io::stdin().read_to_end(&mut value);
            read.map_err(|e| Error::fatal(Error::io("read the value from standard input", &e).into_text()))?;
        }
        return change::make(source, &q.key, &Change::Set(value, *ttl), &stop).map(|()| 0);
    }
    source::start(&q.plan, &post, &stop)?;
    let mut last: Option<Arc<Snapshot>> = None;
    let mut is_down = false;
    loop {
        pipe.wait(None);
        pipe.drain();
        for (_, news) in post.take() {
            if is_down && !matches!(news, News::Trouble(..) | News::Note(_)) {
                is_down = false;
                say("the source answers again");
            }
            match (news, &q.verb, &last) {
                (News::Data(new), Verb::Watch, Some(old)) => {
                    for key in old.changed(&new).into_iter().filter(|key| q.is_meant(key)) {
                        q.tell(key, &new)?;
                    }
                    last = Some(new);
                }
                (News::Data(new), Verb::Watch, None) => last = Some(new),
                (News::Data(all), _, _) => {
                    q.answer(&all, &stop)?;
                    return Ok(0);
                }
                // Said once when it begins and once when it ends.
                (News::Trouble(text, _), Verb::Watch, _) => {
                    if !std::mem::replace(&mut is_down, true) {
                        say(&text);
                    }
                }
                (News::Trouble(text, _), _, _) => return Err(Error::transient(text)),
                (News::Recovered, _, _) => {}
                (News::Note(text), _, _) => say(&text),
            }
        }
    }
}

impl Query {
    fn is_below(&self, key: &str) -> bool {
        key.strip_prefix(self.key.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
    }

    fn is_meant(&self, key: &str) -> bool {
        key == self.key || (self.is_recursive && self.is_below(key))
    }

    fn missing(&self) -> Error {
        let name = self.plan.sources.first().map_or("", |s| s.name.as_str());
        Error::filled(Kind::Fatal, "there is no key % in %", &[&self.shown.seen(&self.key), name])
    }

    #[inline(never)]
    fn answer(&self, all: &Snapshot, stop: &Stop) -> Result<()> {
        let here = all.get(&self.key).map(|(key, value)| (&**key, &**value));
        let mut below = Vec::new();
        for (key, value) in all.under(&self.key) {
            if self.is_below(key) {
                below.push((&**key, &**value));
            }
        }
        let folder = |why: &str| Error::filled(Kind::Fatal, "% is a folder: %", &[&self.shown.seen(&self.key), why]);
        match &self.verb {
            Verb::Get if self.is_recursive || self.is_json => {
                let mut found: Vec<(&str, &[u8])> = here.into_iter().collect();
                if self.is_recursive {
                    found.append(&mut below);
                }
                if found.is_empty() && !(self.is_recursive && self.key == "/") {
                    return Err(self.missing());
                }
                let mut out = Vec::new();
                let mut map = Map::new();
                for (key, value) in found {
                    if self.is_json {
                        put(&mut map, &self.shown.seen(key), shape(value));
                    } else {
                        self.line(&mut out, key, value);
                    }
                }
                if self.is_json { print_json(&Value::map(map), Some(0)) } else { print(&out) }
            }
            Verb::Get => match here {
                Some((_, value)) => print(&[value, &b"\n"[..]].concat()),
                None if !below.is_empty() => Err(folder("say -r, or kv ls")),
                None => Err(self.missing()),
            },
            Verb::List => {
                // In order, as the keys are: of keys that share a name only the first gives it.
                let mut names: Vec<String> = Vec::new();
                let own = if self.key == "/" { 1 } else { self.key.len().saturating_add(1) };
                for (key, _) in below {
                    let rest = key.get(own..).unwrap_or("");
                    let end = rest.find('/').filter(|_| !self.is_recursive);
                    let name = key.get(..own.saturating_add(end.map_or(rest.len(), |e| e + 1))).unwrap_or(key);
                    let name = self.shown.seen(name).into_owned();
                    if names.last() != Some(&name) {
                        names.push(name);
                    }
                }
                if here.is_none() && names.is_empty() && self.key != "/" {
                    return Err(self.missing());
                }
                if self.is_json {
                    return print_json(&Value::list(names.iter().map(|n| Value::str(n)).collect()), Some(0));
                }
                names.push(String::new());
                print(names.join("\n").as_bytes())
            }
            Verb::Change(change) => {
                if let Change::Delete(_) = change {
                    if here.is_none() && below.is_empty() {
                        return Err(self.missing());
                    }
                    if here.is_none() && !self.is_recursive {
                        return Err(folder("say -r"));
                    }
                }
                let Some(source) = self.plan.sources.first() else { return Err(self.missing()) };
                change::make(source, &self.key, change, stop)
            }
            Verb::Watch => Ok(()),
        }
    }

    /// `key=value`, a line.
    #[inline(never)]
    fn line(&self, out: &mut Vec<u8>, key: &str, value: &[u8]) {
        for part in [self.shown.seen(key).as_bytes(), b"=", value, b"\n"] {
            out.extend_from_slice(part);
        }
    }

    /// One change.
    #[inline(never)]
    fn tell(&self, key: &str, new: &Snapshot) -> Result<()> {
        let value = new.get(key).map(|(_, value)| value);
        if self.is_json {
            let mut map = Map::new();
            put(&mut map, "action", Value::str(if value.is_some() { "set" } else { "del" }));
            put(&mut map, "key", Value::str(&self.shown.seen(key)));
            if let Some(value) = value {
                put(&mut map, "value", shape(value));
            }
            return print_json(&Value::map(map), None);
        }
        let mut out = Vec::new();
        match value {
            Some(value) => {
                out.extend_from_slice(b"set ");
                self.line(&mut out, key, value);
            }
            None => out.extend_from_slice(fill("del %\n", &[&self.shown.seen(key)]).as_bytes()),
        }
        print(&out)
    }
}

#[inline(never)]
fn put(map: &mut Map, key: &str, value: Value) {
    map.insert(key.to_string(), value);
}

/// A value for JSON: text, or `{"base64": ...}` where it is none.
fn shape(value: &[u8]) -> Value {
    match std::str::from_utf8(value) {
        Ok(text) => Value::str(text),
        Err(_) => {
            let mut map = Map::new();
            put(&mut map, "base64", Value::str(&base64::encode(value)));
            Value::map(map)
        }
    }
}

fn print_json(value: &Value, indent: Option<usize>) -> Result<()> {
    let mut out = Vec::new();
    json::write(&mut out, value, indent).map_err(Error::fatal)?;
    out.push(b'\n');
    print(&out)
}

fn print(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout();
    let done = out.write_all(bytes).and_then(|()| out.flush());
    done.map_err(|e| Error::fatal(Error::io("write to standard output", &e).into_text()))
}

fn say(text: &str) {
    let _ = std::io::stderr().write_all(fill("pilotfish: %\n", &[text]).as_bytes());
}
