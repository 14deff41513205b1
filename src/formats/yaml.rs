//! YAML into `Value`: a small reader of our own, because the library readers cost five times its bytes. It decides what
//! is YAML and which words are numbers or truth values (as Go's yaml.v2 has it, which confd reads with); it never
//! decides what a key means.
//!
//! Taken: block and flow collections, every scalar style, comments, several documents, anchors with aliases, `<<`, the
//! tags of the core schema and !!binary. JSON is read too. Not taken, each with an error that says so: keys that are no
//! scalar, tags of one's own. More lenient than YAML 1.2: flow collections and quoted text may stand at any
//! indentation, as in libyaml. Dates come out as text, and keys as they are written.

mod block;
mod flow;
mod resolve;
mod scalar;

use super::error_at;
use crate::error::{Error, Result};
use crate::map::Map;
use crate::value::Value;

/// Most levels of collections inside one another.
const DEPTH: usize = 100;
/// Most values that aliases may copy: a few of them in a row can name more than any memory holds.
const COPIES: usize = 1_000_000;

/// A scalar as it is written: a key, or what a value is made of.
struct Scalar {
    at: usize,
    text: String,
    plain: bool,
}

/// What may stand before a node.
#[derive(Default)]
struct Props<'a> {
    /// Where the first of them stands, and where its line begins.
    at: usize,
    line: usize,
    tag: Option<&'a str>,
    anchor: Option<&'a str>,
}

impl Props<'_> {
    fn is_set(&self) -> bool {
        self.tag.or(self.anchor).is_some()
    }
}

struct Parser<'a> {
    name: &'a str,
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Where the line begins that `at` is on.
    line: usize,
    anchors: Map,
    copies: usize,
}

/// Reads the documents of `text`: none when there is nothing but comments. `name` (a path, as a rule) stands in errors.
///
/// # Errors
/// `Kind::Config` with file, line, column and the line itself, when the text is no YAML or more of it than is read here.
pub fn parse(name: &str, text: &str) -> Result<Vec<Value>> {
    let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut p = Parser { name, text, bytes: text.as_bytes(), at, line: at, anchors: Map::new(), copies: 0 };
    if let Some(at) = p.bytes.iter().position(|b| *b < b' ' && !is_blank(*b) && !is_break(*b)) {
        return Err(p.fail(at, "a control character is not allowed here: only escaped in double quotes"));
    }
    let mut docs = Vec::new();
    let mut is_directed = false;
    loop {
        p.gap(false)?;
        let is_marked = p.is_marker();
        let is_end = is_marked && p.peek() == Some(b'.');
        if is_directed && (!is_marked || is_end) && p.peek() != Some(b'%') {
            return Err(p.fail(p.at, "expected `---` after a line that begins with `%`"));
        }
        is_directed = p.at == p.line && p.peek() == Some(b'%');
        if p.peek().is_none() {
            return Ok(docs);
        }
        // %YAML and %TAG say nothing that is needed: a tag that is not known is an error anyway.
        if is_directed {
            p.take(|b| !is_break(b));
            continue;
        }
        if is_marked {
            p.at += 3;
        }
        if is_end {
            p.gap(false)?;
            if p.peek().is_some() && !p.is_fresh() {
                return Err(p.misplaced());
            }
            continue;
        }
        p.anchors = Map::new();
        docs.push(p.node(None, 0, !is_marked)?);
        p.gap(false)?;
        if p.peek().is_some() && !p.is_marker() {
            return Err(p.misplaced());
        }
    }
}

impl<'a> Parser<'a> {
    #[cold]
    fn fail(&self, at: usize, message: &str) -> Error {
        error_at(self.name, self.text, at, message)
    }

    #[cold]
    fn too_deep(&self) -> Error {
        self.fail(self.at, "more than 100 levels")
    }

    /// Something stands where an entry or a document should have ended.
    #[cold]
    fn misplaced(&self) -> Error {
        let message = if self.is_fresh() {
            "wrong indentation: expected that of a line above, or a key and its value"
        } else {
            match self.peek() {
                Some(b':') => "a key must be plain or quoted text on one line",
                _ => "expected the end of the line",
            }
        };
        self.fail(self.at, message)
    }

    fn byte(&self, offset: usize) -> Option<u8> {
        self.bytes.get(self.at + offset).copied()
    }

    fn peek(&self) -> Option<u8> {
        self.byte(0)
    }

    /// Skips to the first byte that is not `ok`, and gives what was skipped.
    fn take(&mut self, ok: fn(u8) -> bool) -> &'a str {
        let from = self.at;
        while self.peek().is_some_and(ok) {
            self.at += 1;
        }
        self.text.get(from..self.at).unwrap_or("")
    }

    fn newline(&mut self) -> bool {
        let from = self.at;
        if self.peek() == Some(b'\r') {
            self.at += 1;
        }
        if self.peek() == Some(b'\n') {
            self.at += 1;
        }
        if self.at > from {
            self.line = self.at;
        }
        self.at > from
    }

    /// Whether the byte at `offset` is space, a line's end or the text's end.
    fn ends(&self, offset: usize) -> bool {
        self.byte(offset).is_none_or(|b| is_blank(b) || is_break(b))
    }

    /// Whether `---` or `...` begins the line here.
    fn is_marker(&self) -> bool {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        self.at == self.line && (rest.starts_with(b"---") || rest.starts_with(b"...")) && self.ends(3)
    }

    /// Whether nothing but spaces stands before this on its line.
    fn is_fresh(&self) -> bool {
        self.bytes.get(self.line..self.at).unwrap_or(&[]).iter().all(|b| *b == b' ')
    }

    fn column(&self) -> usize {
        self.at.saturating_sub(self.line)
    }

    /// Skips space, comments and line ends, to what comes next. Tabs may stand before it in a flow collection only.
    fn gap(&mut self, flow: bool) -> Result<()> {
        loop {
            self.take(is_blank);
            if self.peek() == Some(b'#') {
                self.take(|b| !is_break(b));
            }
            let end = self.at;
            if self.newline() {
                continue;
            }
            let indent = self.bytes.get(self.line..end).unwrap_or(&[]);
            if !flow && self.peek().is_some() && indent.contains(&b'\t') && indent.iter().all(|b| is_blank(*b)) {
                let tab = indent.iter().position(|b| *b == b'\t').unwrap_or(0);
                return Err(self.fail(self.line + tab, "a tab cannot indent: expected spaces"));
            }
            return Ok(());
        }
    }

    /// Reads a tag or an anchor into `props`, when one stands here.
    fn property(&mut self, props: &mut Props<'a>) -> Result<bool> {
        let at = self.at;
        if !props.is_set() {
            (props.at, props.line) = (at, self.line);
        }
        let is_tag = self.peek() == Some(b'!');
        let old = match self.peek() {
            Some(b'!') => &mut props.tag,
            Some(b'&') => &mut props.anchor,
            _ => return Ok(false),
        };
        self.at += 1;
        let rest = self.take(if is_tag { is_word } else { is_name });
        if rest.starts_with('<') {
            self.take(|b| b != b'>' && !is_break(b));
            self.at += usize::from(self.peek() == Some(b'>'));
        }
        let whole = self.text.get(at..self.at).unwrap_or("");
        if old.replace(if is_tag { whole } else { rest }).is_some() || !is_tag && rest.is_empty() {
            return Err(self.fail(at, "expected one `!tag` and one `&anchor` with a name at most"));
        }
        if !self.ends(0) && !matches!(self.peek(), Some(b',' | b']' | b'}')) {
            return Err(self.fail(self.at, "expected a space"));
        }
        Ok(true)
    }

    /// `*name`: the value that was anchored, once more.
    fn alias(&mut self, depth: usize) -> Result<Value> {
        let at = self.at;
        self.at += 1;
        let name = self.take(is_name);
        let Some(value) = self.anchors.get(name).cloned() else {
            return Err(self.fail(at, "expected the name of an `&anchor` above"));
        };
        match weigh(&value, depth, &mut self.copies) {
            true => Ok(value),
            false => Err(self.fail(at, "aliases copy more than 1000000 values, or go deeper than 100 levels")),
        }
    }

    /// A collection with what stood before it.
    fn collected(&mut self, props: &Props, value: Value) -> Result<Value> {
        match (props.tag.map(short_tag), &value) {
            (None, _) | (Some("" | "map"), Value::Map(_)) | (Some("" | "seq"), Value::List(_)) => {}
            _ => return Err(self.bad_tag(props)),
        }
        Ok(self.anchored(props, value))
    }

    /// A scalar with what stood before it; a key's text stays as it is written.
    fn finish(&mut self, props: &Props, scalar: &Scalar) -> Result<Value> {
        let value = match props.tag {
            None if scalar.plain => resolve::plain(&scalar.text),
            None => Value::str(&scalar.text),
            Some(tag) => match resolve::tagged(short_tag(tag), &scalar.text) {
                Some(value) => value,
                None => return Err(self.bad_tag(props)),
            },
        };
        Ok(self.anchored(props, value))
    }

    fn anchored(&mut self, props: &Props, value: Value) -> Value {
        if let Some(name) = props.anchor {
            self.anchors.insert(name.to_string(), value.clone());
        }
        value
    }

    #[cold]
    fn bad_tag(&self, props: &Props) -> Error {
        self.fail(
            props.at,
            "this tag is not supported, or does not fit its value (known: !!str !!int !!float !!bool !!null !!binary \
             !!timestamp !!map !!seq)",
        )
    }

    /// Puts an entry into a map, or what `<<` is to merge into it aside.
    fn put(&self, map: &mut Map, merged: &mut Value, key: Scalar, value: Value) -> Result<()> {
        let is_merge = key.plain && key.text == "<<";
        // Of equal keys the last counts, as in yaml.v2; a map that is merged twice is nobody's wish.
        if is_merge && !matches!(merged, Value::Nil) {
            let mut text = String::from("`");
            text.push_str(&key.text);
            text.push_str("` is already in this map");
            return Err(self.fail(key.at, &text));
        }
        match value {
            Value::Map(_) | Value::List(_) if is_merge => *merged = value,
            _ if is_merge => return Err(self.fail(key.at, "expected `<<: *anchor` of a map, or a list of such")),
            _ => map.insert(key.text, value),
        }
        Ok(())
    }
}

/// Takes the entries that `<<` merges into a map: its own come first, then those of the first one merged.
#[inline(never)]
fn merge(map: &mut Map, merged: &Value) {
    for one in merged.as_list().unwrap_or(&[]) {
        if let Value::Map(_) = one {
            merge(map, one);
        }
    }
    let Some(from) = merged.as_map() else { return };
    for (key, value) in from {
        if !map.contains_key(key) {
            map.insert(key.clone(), value.clone());
        }
    }
}

/// Counts what is in a value. False past a limit.
fn weigh(value: &Value, depth: usize, copies: &mut usize) -> bool {
    *copies += 1;
    if depth > DEPTH || *copies > COPIES {
        return false;
    }
    let depth = depth + 1;
    match value {
        Value::List(list) => list.items.iter().all(|v| weigh(v, depth, copies)),
        Value::Map(map) => map.values().all(|v| weigh(v, depth, copies)),
        _ => true,
    }
}

/// `!!str` and `!<tag:yaml.org,2002:str>` as `str`, `!` as nothing; others as they are.
fn short_tag(tag: &str) -> &str {
    let long = || tag.strip_prefix("!<tag:yaml.org,2002:")?.strip_suffix('>');
    match tag.strip_prefix("!!").or_else(long) {
        Some(short) => short,
        None if tag == "!" => "",
        None => tag,
    }
}

fn is_blank(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

fn is_break(b: u8) -> bool {
    b == b'\n' || b == b'\r'
}

fn is_flow(b: u8) -> bool {
    matches!(b, b',' | b'[' | b']' | b'{' | b'}')
}

/// What the names of anchors are made of, as in libyaml.
fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}

/// What tags are made of.
fn is_word(b: u8) -> bool {
    !is_blank(b) && !is_break(b) && !is_flow(b)
}

#[cfg(test)]
mod tests;
