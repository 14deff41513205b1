//! Reading a TOML or JSON5 document by hand: typed look-ups by key. The first thing that is wrong (a key nobody knows, a value of
//! another kind) is kept with its file and line, and said by `verdict`; look-ups go on with a default, so that their callers
//! read straight through. It knows no meaning of any key.

use crate::map::Map;
use std::cell::Cell;

use crate::error::{Error, Result};
use crate::formats::json5;
use crate::formats::toml::{self, Doc};
use crate::plan::{Level, Millis, parse_duration};
use crate::value::Value;

/// The keys that a table may have, with a space between.
pub type Keys = &'static str;

/// A document, and the first thing that is wrong with it.
pub struct Document {
    name: String,
    doc: Doc,
    wrong: Cell<Option<Error>>,
    /// Keys are found whatever their case, as Go's programs have it.
    any_case: bool,
}

/// A table of a document.
#[derive(Clone)]
pub struct Table<'a> {
    document: &'a Document,
    /// Where it is: `template.0`.
    path: String,
    map: &'a Map,
}

impl Document {
    /// Reads it; `name` stands in errors.
    ///
    /// # Errors
    /// It is no TOML.
    pub fn parse(name: &str, text: &str) -> Result<Document> {
        Ok(Document { name: name.to_string(), doc: toml::parse(name, text)?, wrong: Cell::new(None), any_case: false })
    }

    /// Reads it; its keys may be written in capitals.
    ///
    /// # Errors
    /// It is no TOML.
    pub fn parse_as_go(name: &str, text: &str) -> Result<Document> {
        Ok(Document { any_case: true, ..Document::parse(name, text)? })
    }

    /// Reads JSON5; its keys may be written in capitals, as Go's programs have it.
    ///
    /// # Errors
    /// It is no JSON5.
    pub fn parse_json(name: &str, text: &str) -> Result<Document> {
        Ok(Document { name: name.to_string(), doc: json5::parse(text)?, wrong: Cell::new(None), any_case: true })
    }

    /// The document's top.
    pub fn root(&self) -> Table<'_> {
        Table { document: self, path: String::new(), map: self.doc.root.as_map().unwrap_or(Map::EMPTY) }
    }

    /// Whether all was well with what was looked up so far.
    ///
    /// # Errors
    /// The first thing that was wrong.
    pub fn verdict(&self) -> Result<()> {
        self.wrong.take().map_or(Ok(()), Err)
    }

    /// Something is wrong; what was wrong before it counts.
    pub fn wrong(&self, e: Error) {
        let first = self.wrong.take().unwrap_or(e);
        self.wrong.set(Some(first));
    }
}

/// A list of texts, or a text, if the value is one.
#[inline(never)]
pub fn texts(value: &Value) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for item in value.as_list().unwrap_or(std::slice::from_ref(value)) {
        all.push(item.as_str()?.to_string());
    }
    Some(all)
}

impl<'a> Table<'a> {
    fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }

    /// The document it is of.
    pub fn document(&self) -> &'a Document {
        self.document
    }

    /// An error at a key: `FILE:LINE: key: message`.
    #[inline(never)]
    pub fn error(&self, key: &str, message: &str) -> Error {
        let key = self.entry(key).map_or(key, |(key, _)| key);
        Error::config(format!("{}`{}` {message}", self.place(key), self.at(key)))
    }

    /// Where a key stands, in front of a message: `FILE:LINE: `.
    #[inline(never)]
    pub fn place(&self, key: &str) -> String {
        let Document { name, doc, .. } = self.document;
        let key = self.entry(key).map_or(key, |(key, _)| key);
        let line = doc.line(&self.at(key)).or_else(|| doc.line(&self.path));
        let line = line.map_or(String::new(), |n| format!(":{n}"));
        [name, &line, ": "].concat()
    }

    /// Something is wrong at a key.
    #[inline(never)]
    pub fn wrong(&self, key: &str, message: &str) {
        self.document.wrong(self.error(key, message));
    }

    /// Every key must be one of these.
    #[inline(never)]
    pub fn only(&self, known: &str) {
        for k in self.map.keys() {
            if !known.split(' ').any(|n| n == k) {
                return self.wrong(k, &["is no key here; there are ", &known.replace(' ', ", ")].concat());
            }
        }
    }

    /// Tells of the keys that are none of these.
    pub fn strangers(&self, known: &str, notes: &mut Vec<(Level, String)>) {
        for k in self.map.keys() {
            if !known.split(' ').any(|n| n.eq_ignore_ascii_case(k)) {
                let text = ["is no key here and counts for nothing; there are ", &known.replace(' ', ", ")].concat();
                notes.push((Level::Warning, self.error(k, &text).into_text()));
            }
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.entry(key).map(|(_, value)| value)
    }

    /// A key as it is written, and its value.
    fn entry(&self, key: &str) -> Option<(&'a str, &'a Value)> {
        let any_case = self.document.any_case && !self.map.contains_key(key);
        let is_it = |k: &String| if any_case { k.eq_ignore_ascii_case(key) } else { k == key };
        self.map.iter().find(|(k, _)| is_it(k)).map(|(k, v)| (k.as_str(), v))
    }

    /// Whether it has the key.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.map.keys().map(String::as_str)
    }

    /// Text.
    #[inline(never)]
    pub fn str(&self, key: &str) -> Option<&'a str> {
        let value = self.get(key)?;
        if value.as_str().is_none() {
            self.wrong(key, "must be text in quotes");
        }
        value.as_str()
    }

    /// Text that must be there and not be empty.
    pub fn required(&self, key: &str) -> &'a str {
        let text = self.str(key).unwrap_or("");
        if text.is_empty() {
            self.wrong(key, "is missing");
        }
        text
    }

    /// A list of texts; one text is a list of one.
    #[inline(never)]
    pub fn strs(&self, key: &str) -> Option<Vec<String>> {
        self.get(key)?;
        let all = self.texts(key);
        if all.is_none() {
            self.wrong(key, "must be a list of texts");
        }
        Some(all.unwrap_or_default())
    }

    /// A list of texts, or a text, if it is one.
    pub fn texts(&self, key: &str) -> Option<Vec<String>> {
        texts(self.get(key)?)
    }

    /// true or false.
    #[inline(never)]
    pub fn bool(&self, key: &str, default: bool) -> bool {
        match self.get(key) {
            None => default,
            Some(Value::Bool(b)) => *b,
            Some(_) => {
                self.wrong(key, "must be true or false");
                default
            }
        }
    }

    /// A number from 0 to 4294967295 (a user's or group's id).
    #[inline(never)]
    pub fn id(&self, key: &str) -> Option<u32> {
        let id = match self.get(key)? {
            Value::Int(-1) if self.document.any_case => return None, // confd's word for "not said"
            Value::Int(n) => u32::try_from(*n).ok(),
            _ => None,
        };
        if id.is_none() {
            self.wrong(key, "must be a number");
        }
        id
    }

    /// A time: text such as "10s", or a number of seconds.
    #[inline(never)]
    pub fn time(&self, key: &str) -> Option<Millis> {
        let found = match self.get(key)? {
            Value::Str(s) => parse_duration(s),
            Value::Int(n) => u64::try_from(*n).ok().and_then(|n| n.checked_mul(1000)),
            _ => None,
        };
        if found.is_none() {
            self.wrong(key, "must be a time such as \"500ms\", \"10s\" or a number of seconds");
        }
        found
    }

    /// A word read by `read`, which says what was expected when it cannot.
    pub fn parsed<T>(&self, key: &str, read: fn(&str) -> std::result::Result<T, &'static str>) -> Option<T> {
        match read(self.str(key)?) {
            Ok(found) => Some(found),
            Err(want) => {
                self.must_be(key, want);
                None
            }
        }
    }

    #[inline(never)]
    fn must_be(&self, key: &str, want: &str) {
        self.wrong(key, &["must be ", want].concat());
    }

    /// A table inside; one without keys when it is not there.
    #[inline(never)]
    pub fn table(&self, key: &str) -> Table<'a> {
        let map = match self.get(key) {
            None => Map::EMPTY,
            Some(value) => value.as_map().unwrap_or_else(|| {
                self.wrong(key, "must be a table");
                Map::EMPTY
            }),
        };
        let key = self.entry(key).map_or(key, |(key, _)| key);
        Table { document: self.document, path: self.at(key), map }
    }

    /// A list of tables inside.
    #[inline(never)]
    pub fn tables(&self, key: &str) -> Vec<Table<'a>> {
        let mut all = Vec::new();
        let Some(value) = self.get(key) else { return all };
        let items = value.as_list().unwrap_or_default();
        for (i, item) in items.iter().enumerate() {
            if let Some(map) = item.as_map() {
                all.push(Table { document: self.document, path: format!("{}.{i}", self.at(key)), map });
            }
        }
        if value.as_list().is_none() || all.len() != items.len() {
            self.wrong(key, "must be a list of tables: [[...]] in TOML, [{...}] in JSON");
        }
        all
    }
}
