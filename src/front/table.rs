//! Reading a TOML table by hand: typed look-ups whose errors name file, line and key, and a check that no key is left
//! over. It knows no meaning of any key.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::formats::toml::Doc;
use crate::plan::{Millis, parse_duration};
use crate::value::Value;

/// A table of a document.
#[derive(Clone)]
pub struct Table<'a> {
    file: &'a str,
    doc: &'a Doc,
    /// Where it is: `template.0`.
    path: String,
    map: &'a BTreeMap<String, Value>,
}

static EMPTY: BTreeMap<String, Value> = BTreeMap::new();

impl<'a> Table<'a> {
    /// The document's top.
    pub fn root(file: &'a str, doc: &'a Doc) -> Table<'a> {
        Table { file, doc, path: String::new(), map: doc.root.as_map().unwrap_or(&EMPTY) }
    }

    fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }

    /// An error at a key: `FILE:LINE: key: message`.
    pub fn error(&self, key: &str, message: &str) -> Error {
        let line = self.doc.line(&self.at(key)).or_else(|| self.doc.line(&self.path));
        let line = line.map_or(String::new(), |n| format!(":{n}"));
        Error::config(format!("{}{line}: `{}` {message}", self.file, self.at(key)))
    }

    /// Every key must be one of these.
    ///
    /// # Errors
    /// Names the first that is not, and what there is.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        match self.map.keys().find(|k| !known.contains(&k.as_str())) {
            None => Ok(()),
            Some(k) => Err(self.error(k, &["is no key here; there are ", &known.join(", ")].concat())),
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key)
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.map.keys().map(String::as_str)
    }

    /// Text.
    ///
    /// # Errors
    /// It is something else.
    pub fn str(&self, key: &str) -> Result<Option<&'a str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Str(s)) => Ok(Some(s)),
            Some(_) => Err(self.error(key, "must be text in quotes")),
        }
    }

    /// Text that must be there and not be empty.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn required(&self, key: &str) -> Result<&'a str> {
        match self.str(key)? {
            Some(s) if !s.is_empty() => Ok(s),
            _ => Err(self.error(key, "is missing")),
        }
    }

    /// A list of texts; one text is a list of one.
    ///
    /// # Errors
    /// It is something else.
    pub fn strs(&self, key: &str) -> Result<Option<Vec<String>>> {
        let wrong = || self.error(key, "must be a list of texts");
        match self.get(key) {
            None => Ok(None),
            Some(Value::Str(s)) => Ok(Some(vec![s.to_string()])),
            Some(v) => {
                let mut all = Vec::new();
                for item in v.as_list().ok_or_else(wrong)? {
                    all.push(item.as_str().ok_or_else(wrong)?.to_string());
                }
                Ok(Some(all))
            }
        }
    }

    /// true or false.
    ///
    /// # Errors
    /// It is something else.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(b)) => Ok(Some(*b)),
            Some(_) => Err(self.error(key, "must be true or false")),
        }
    }

    /// A number from 0 to 4294967295 (a user's or group's id).
    ///
    /// # Errors
    /// It is something else.
    pub fn id(&self, key: &str) -> Result<Option<u32>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Int(n)) if u32::try_from(*n).is_ok() => Ok(u32::try_from(*n).ok()),
            Some(_) => Err(self.error(key, "must be a number")),
        }
    }

    /// A time: text such as "10s", or a number of seconds.
    ///
    /// # Errors
    /// It is something else.
    pub fn time(&self, key: &str) -> Result<Option<Millis>> {
        let found = match self.get(key) {
            None => return Ok(None),
            Some(Value::Str(s)) => parse_duration(s),
            Some(Value::Int(n)) => u64::try_from(*n).ok().and_then(|n| n.checked_mul(1000)),
            Some(_) => None,
        };
        match found {
            Some(ms) => Ok(Some(ms)),
            None => Err(self.error(key, "must be a time such as \"500ms\", \"10s\" or a number of seconds")),
        }
    }

    /// A word read by `read`, which says what was expected when it cannot.
    ///
    /// # Errors
    /// It is something else.
    pub fn parsed<T>(&self, key: &str, read: fn(&str) -> std::result::Result<T, &'static str>) -> Result<Option<T>> {
        match self.str(key)? {
            None => Ok(None),
            Some(s) => read(s).map(Some).map_err(|want| self.error(key, &["must be ", want].concat())),
        }
    }

    /// A table inside; `None` when it is not there.
    ///
    /// # Errors
    /// It is no table.
    pub fn table(&self, key: &str) -> Result<Option<Table<'a>>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Map(map)) => Ok(Some(Table { path: self.at(key), map, ..*self })),
            Some(_) => Err(self.error(key, "must be a table")),
        }
    }

    /// A list of tables inside.
    ///
    /// # Errors
    /// It is something else.
    pub fn tables(&self, key: &str) -> Result<Vec<Table<'a>>> {
        let wrong = || self.error(key, "must be a list of tables, [[...]]");
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for (i, item) in value.as_list().ok_or_else(wrong)?.iter().enumerate() {
            let path = format!("{}.{i}", self.at(key));
            all.push(Table { path, map: item.as_map().ok_or_else(wrong)?, ..*self });
        }
        Ok(all)
    }
}
