//! TOML 1.0 into `Value`: a small reader of our own, because the library readers cost several times its bytes. It
//! decides what is TOML and which redefinitions are not allowed; it never decides what a key means. Date-times come
//! out as text, checked for shape and range. Conformance: tests/toml_conformance.rs runs the toml-test cases.

mod scalar;

use super::error_at;
use crate::error::{Error, Result};
use crate::map::Map;
use crate::value::Value;

/// Most levels of tables and arrays inside one another.
const DEPTH: usize = 100;

/// A read document.
pub struct Doc {
    /// The top table, a `Value::Map`.
    pub root: Value,
    nodes: Vec<Node>,
}

/// A value with the line its key (or, in an array, itself) begins on.
pub(super) struct Node {
    pub(super) line: u32,
    pub(super) kind: Kind,
}

/// Members are indices into the list of all nodes. A table's are `Value::Int`s in the map type that values have
/// anyway, so that the code of a map exists once.
pub(super) enum Kind {
    Leaf(Value),
    /// `[1, 2]`: closed.
    Array(Vec<usize>),
    /// `[[x]]`: grows, never empty.
    Tables(Vec<usize>),
    Table(How, Map),
}

/// How a table came to be: that decides who may still add to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Named on the way by `[a.b]`, which implies `a`: may still be defined once, by its own header.
    Implied,
    /// By its own header.
    Header,
    /// By a dotted key: grows by dotted keys of the same section and by headers of sub-tables.
    Dotted,
    /// `{ }`: closed.
    Inline,
}

/// One part of a dotted key, and where it stands.
struct Part {
    at: usize,
    name: String,
}

struct Parser<'a> {
    name: &'a str,
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// A position and its line: lines are asked for in ascending order.
    mark: (usize, u32),
    /// The first is the top table.
    nodes: Vec<Node>,
}

/// Reads `text`; `name` (a path, as a rule) stands in errors.
///
/// # Errors
/// `Kind::Config` with file, line, column and the line itself, when the text is not TOML 1.0.
pub fn parse(name: &str, text: &str) -> Result<Doc> {
    let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut p = Parser { name, text, bytes: text.as_bytes(), at, mark: (0, 1), nodes: Vec::new() };
    p.node(1, Kind::Table(How::Header, Map::new()));
    let mut section = 0;
    let mut depth = 0;
    loop {
        p.gap()?;
        match p.peek() {
            None => break,
            Some(b'[') => {
                p.at += 1;
                let many = p.eat(b'[');
                let path = p.path()?;
                if !p.eat(b']') || many && !p.eat(b']') {
                    return Err(p.fail(p.at, if many { "expected `.` or `]]`" } else { "expected `.` or `]`" }));
                }
                depth = path.len();
                section = p.open(&path, many)?;
            }
            Some(_) => p.pair(section, depth)?,
        }
        p.line_end()?;
    }
    Ok(Doc::of(p.nodes))
}

impl Doc {
    /// Of all its values; the first is the top.
    pub(super) fn of(nodes: Vec<Node>) -> Doc {
        Doc { root: to_value(&nodes, 0), nodes }
    }

    /// The line that defined what stands at a dotted path (`"template.0.dest"`: arrays by index), counted from 1.
    pub fn line(&self, path: &str) -> Option<u32> {
        let mut node = 0;
        let mut rest = path;
        while !rest.is_empty() {
            let mut end = rest.find('.').unwrap_or(rest.len());
            loop {
                if let Some(next) = member(&self.nodes, node, rest.get(..end)?) {
                    node = next;
                    break;
                }
                // A quoted key may hold dots itself: try a longer one.
                let from = end.checked_add(1)?;
                end = match rest.get(from..)?.find('.') {
                    Some(more) => from.checked_add(more)?,
                    None => rest.len(),
                };
            }
            rest = rest.get(end..)?;
            rest = rest.strip_prefix('.').unwrap_or(rest);
        }
        self.nodes.get(node).map(|n| n.line)
    }
}

/// The member of a table by its key, or of an array by its index.
fn member(nodes: &[Node], at: usize, name: &str) -> Option<usize> {
    match &nodes.get(at)?.kind {
        Kind::Leaf(_) => None,
        Kind::Array(items) | Kind::Tables(items) => items.get(name.parse::<usize>().ok()?).copied(),
        Kind::Table(_, map) => index(map.get(name)?),
    }
}

fn index(value: &Value) -> Option<usize> {
    match value {
        Value::Int(i) => usize::try_from(*i).ok(),
        _ => None,
    }
}

/// As deep as the nodes are nested, which `DEPTH` bounds.
fn to_value(nodes: &[Node], at: usize) -> Value {
    match nodes.get(at).map(|n| &n.kind) {
        None => Value::Nil,
        Some(Kind::Leaf(v)) => v.clone(),
        Some(Kind::Array(items) | Kind::Tables(items)) => {
            let mut list = Vec::with_capacity(items.len());
            for item in items {
                list.push(to_value(nodes, *item));
            }
            Value::list(list)
        }
        Some(Kind::Table(_, map)) => {
            let mut out = Map::new();
            for (key, node) in map {
                if let Some(node) = index(node) {
                    out.insert(key.clone(), to_value(nodes, node));
                }
            }
            Value::map(out)
        }
    }
}

impl Parser<'_> {
    #[cold]
    fn fail(&self, at: usize, message: &str) -> Error {
        error_at(self.name, self.text, at, message)
    }

    /// The key was used before, in a way that does not allow this.
    #[cold]
    fn taken(&self, part: &Part, node: usize, why: &str) -> Error {
        let mut text = String::from("`");
        text.push_str(&part.name);
        text.push_str("` is already defined on line ");
        text.push_str(&self.nodes.get(node).map_or(0, |n| n.line).to_string());
        text.push_str(why);
        self.fail(part.at, &text)
    }

    fn node(&mut self, line: u32, kind: Kind) -> usize {
        self.nodes.push(Node { line, kind });
        self.nodes.len().saturating_sub(1)
    }

    /// Puts a new node into a table.
    fn put(&mut self, table: usize, name: &str, line: u32, kind: Kind) -> usize {
        let node = self.node(line, kind);
        if let Some(Node { kind: Kind::Table(_, map), .. }) = self.nodes.get_mut(table) {
            map.insert(name.to_string(), Value::Int(node as i64));
        }
        node
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Skips to the first byte that is not `ok`, and gives what was skipped.
    fn take(&mut self, ok: fn(u8) -> bool) -> &str {
        let from = self.at;
        while self.peek().is_some_and(ok) {
            self.at += 1;
        }
        self.text.get(from..self.at).unwrap_or("")
    }

    fn line(&mut self, at: usize) -> u32 {
        let passed = self.bytes.get(self.mark.0..at).unwrap_or(&[]);
        let newlines = passed.iter().filter(|b| **b == b'\n').count();
        self.mark = (self.mark.0.max(at), self.mark.1 + newlines as u32);
        self.mark.1
    }

    fn blank(&mut self) {
        self.take(|b| b == b' ' || b == b'\t');
    }

    fn newline(&mut self) -> bool {
        if self.peek() == Some(b'\r') && self.bytes.get(self.at + 1) == Some(&b'\n') {
            self.at += 1;
        }
        self.eat(b'\n')
    }

    fn comment(&mut self) {
        if self.peek() == Some(b'#') {
            self.take(|b| b == b'\t' || !is_control(b));
        }
    }

    /// Space, comments and line ends.
    fn gap(&mut self) -> Result<()> {
        loop {
            self.blank();
            self.comment();
            if !self.newline() {
                return match self.peek() {
                    Some(b) if is_control(b) => Err(self.fail(self.at, "a control character is not allowed here")),
                    _ => Ok(()),
                };
            }
        }
    }

    fn line_end(&mut self) -> Result<()> {
        self.blank();
        self.comment();
        if self.newline() || self.peek().is_none() {
            return Ok(());
        }
        Err(self.fail(self.at, "expected the end of the line"))
    }

    /// A key of one or more parts, and the space around it.
    fn path(&mut self) -> Result<Vec<Part>> {
        let mut path = Vec::new();
        loop {
            self.blank();
            let at = self.at;
            let name = match self.peek() {
                Some(b'"' | b'\'') => self.string(false)?,
                _ => self.take(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-').to_string(),
            };
            if self.at == at {
                return Err(self.fail(at, "expected a key: letters, digits, `_` and `-`, or text in quotes"));
            }
            path.push(Part { at, name });
            if path.len() > DEPTH {
                return Err(self.fail(at, "more than 100 levels"));
            }
            self.blank();
            if !self.eat(b'.') {
                return Ok(path);
            }
        }
    }

    /// The table that a header names.
    fn open(&mut self, path: &[Part], many: bool) -> Result<usize> {
        let mut at = 0;
        for (i, part) in path.iter().enumerate() {
            let last = i + 1 == path.len();
            let line = self.line(part.at);
            let next = match member(&self.nodes, at, &part.name) {
                Some(next) => next,
                None if last && many => self.put(at, &part.name, line, Kind::Tables(Vec::new())),
                None => self.put(at, &part.name, line, Kind::Table(How::Implied, Map::new())),
            };
            if last && many {
                at = self.node(line, Kind::Table(How::Header, Map::new()));
            }
            match self.nodes.get_mut(next).map(|n| &mut n.kind) {
                Some(Kind::Tables(items)) if last && many => items.push(at),
                Some(Kind::Tables(items)) if !last => at = items.last().copied().unwrap_or(0),
                Some(Kind::Tables(_)) => {
                    return Err(self.taken(part, next, " as an array of tables: expected `[[` here"));
                }
                Some(Kind::Table(how, _)) if !(last && many) && *how != How::Inline => {
                    if last && *how != How::Implied {
                        return Err(self.taken(part, next, ": a table is defined only once"));
                    }
                    if last {
                        *how = How::Header;
                    }
                    at = next;
                }
                _ => return Err(self.taken(part, next, ", and cannot be extended by this header")),
            }
        }
        Ok(at)
    }

    /// `key = value` into `table`, which stands `depth` levels deep.
    fn pair(&mut self, table: usize, depth: usize) -> Result<()> {
        let path = self.path()?;
        if !self.eat(b'=') {
            return Err(self.fail(self.at, "expected `=` after the key"));
        }
        self.blank();
        let mut at = table;
        let last = path.len().saturating_sub(1);
        for (i, part) in path.iter().enumerate() {
            let line = self.line(part.at);
            let old = member(&self.nodes, at, &part.name);
            at = match old {
                Some(old) if i == last => return Err(self.taken(part, old, ": a key is defined only once")),
                None if i == last => {
                    let kind = self.value(depth + path.len())?;
                    self.put(at, &part.name, line, kind)
                }
                Some(old) => match self.nodes.get(old).map(|n| &n.kind) {
                    Some(Kind::Table(How::Dotted, _)) => old,
                    _ => return Err(self.taken(part, old, ", and cannot be extended by a dotted key")),
                },
                None => self.put(at, &part.name, line, Kind::Table(How::Dotted, Map::new())),
            };
        }
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Kind> {
        if depth > DEPTH {
            return Err(self.fail(self.at, "more than 100 levels"));
        }
        Ok(match self.peek() {
            Some(b'"' | b'\'') => Kind::Leaf(Value::str(&self.string(true)?)),
            Some(b'[') => Kind::Array(self.array(depth)?),
            Some(b'{') => self.inline(depth)?,
            _ => Kind::Leaf(self.scalar()?),
        })
    }

    fn array(&mut self, depth: usize) -> Result<Vec<usize>> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.gap()?;
            if self.eat(b']') {
                return Ok(items);
            }
            let line = self.line(self.at);
            let kind = self.value(depth + 1)?;
            items.push(self.node(line, kind));
            self.gap()?;
            if !self.eat(b',') && self.peek() != Some(b']') {
                return Err(self.fail(self.at, "expected `,` or `]` after a value in an array"));
            }
        }
    }

    /// TOML 1.0: on one line, and no comma after the last pair.
    fn inline(&mut self, depth: usize) -> Result<Kind> {
        self.at += 1;
        // A node of its own, so that its pairs find it; the caller puts what it holds where it belongs.
        let table = self.node(0, Kind::Table(How::Inline, Map::new()));
        self.blank();
        while !self.eat(b'}') {
            self.pair(table, depth)?;
            self.blank();
            let comma = self.eat(b',');
            self.blank();
            if comma == (self.peek() == Some(b'}')) {
                return Err(self.fail(self.at, "expected `,` or `}` on this line: an inline table is one line"));
            }
        }
        let none = Kind::Leaf(Value::Nil);
        Ok(self.nodes.get_mut(table).map_or(Kind::Leaf(Value::Nil), |n| std::mem::replace(&mut n.kind, none)))
    }

    /// Text in quotes; three of them only where `multi_ok`.
    fn string(&mut self, multi_ok: bool) -> Result<String> {
        let start = self.at;
        let quote = self.peek().unwrap_or(b'"');
        let multi = self.quotes(quote, 3) == 3;
        if multi && !multi_ok {
            return Err(self.fail(start, "a key cannot be multi-line text: expected one quote"));
        }
        self.at += if multi { 3 } else { 1 };
        if multi {
            self.newline(); // right after the opening quotes it is not part of the text
        }
        let ordinary: fn(u8) -> bool = match quote {
            b'"' => |b| b == b'\t' || !(is_control(b) || b == b'"' || b == b'\\'),
            _ => |b| b == b'\t' || !(is_control(b) || b == b'\''),
        };
        let mut out = String::new();
        loop {
            out.push_str(self.take(ordinary));
            let from = self.at;
            match self.peek() {
                None => return Err(self.fail(start, "this text has no closing quote")),
                Some(b'\\') => self.escape(&mut out, multi)?,
                Some(b) if b == quote => {
                    let closing = if multi { 3 } else { 1 };
                    // Two quotes may stand right before the closing three.
                    let n = self.quotes(quote, if multi { 5 } else { 1 });
                    let content = if n < closing { n } else { n.saturating_sub(closing) };
                    for _ in 0..content {
                        out.push(quote as char);
                    }
                    self.at += n;
                    if n >= closing {
                        return Ok(out);
                    }
                }
                Some(_) if self.newline() => {
                    if !multi {
                        return Err(self.fail(start, "this text has no closing quote on its line"));
                    }
                    out.push_str(self.text.get(from..self.at).unwrap_or(""));
                }
                Some(_) => {
                    return Err(self.fail(from, "a control character in text: expected an escape such as \\u0000"));
                }
            }
        }
    }

    /// How many quotes stand here, at most `most`.
    fn quotes(&self, quote: u8, most: usize) -> usize {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        rest.iter().take(most).take_while(|b| **b == quote).count()
    }

    fn escape(&mut self, out: &mut String, multi: bool) -> Result<()> {
        let at = self.at;
        self.at += 1;
        let c = self.peek().unwrap_or(0);
        if multi && matches!(c, b' ' | b'\t' | b'\r' | b'\n') {
            self.blank();
            if !self.newline() {
                return Err(self.fail(at, "expected an escape, or nothing but space up to the end of the line"));
            }
            loop {
                self.blank();
                if !self.newline() {
                    return Ok(());
                }
            }
        }
        self.at += 1;
        out.push(match c {
            b'b' => '\u{8}',
            b't' => '\t',
            b'n' => '\n',
            b'f' => '\u{c}',
            b'r' => '\r',
            b'"' | b'\\' => c as char,
            b'u' | b'U' => {
                let digits = if c == b'u' { 4 } else { 8 };
                let from = self.at;
                self.at = from + digits;
                let hex = self.text.get(from..self.at).unwrap_or("");
                let code = match hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                    true => u32::from_str_radix(hex, 16).ok(),
                    false => None,
                };
                match code.and_then(char::from_u32) {
                    Some(c) => c,
                    None => {
                        return Err(self.fail(at, "expected \\uXXXX or \\UXXXXXXXX: hex digits of a Unicode character"));
                    }
                }
            }
            _ => return Err(self.fail(at, "expected an escape: \\b \\t \\n \\f \\r \\\" \\\\ \\uXXXX \\UXXXXXXXX")),
        });
        Ok(())
    }

    /// true, false, a number or a date-time.
    fn scalar(&mut self) -> Result<Value> {
        let from = self.at;
        self.take(is_scalar);
        // Between date and time a space may stand for the `T`.
        if self.at.saturating_sub(from) == 10 && self.peek() == Some(b' ') {
            let digit = self.bytes.get(self.at + 1).is_some_and(u8::is_ascii_digit);
            if digit && self.bytes.get(from + 4) == Some(&b'-') {
                self.at += 1;
                self.take(is_scalar);
            }
        }
        let token = self.text.get(from..self.at).unwrap_or("");
        let bytes = token.as_bytes();
        match token {
            "" => Err(self.fail(from, "expected a value: text in quotes, a number, true, false, a date, `[` or `{`")),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ if bytes.get(2) == Some(&b':')
                || bytes.get(4) == Some(&b'-') && bytes.iter().take(4).all(u8::is_ascii_digit) =>
            {
                match scalar::is_date_time(bytes) {
                    true => Ok(Value::str(token)),
                    false => Err(self.fail(from, "expected a date or time such as 2006-01-02T15:04:05Z")),
                }
            }
            _ => match scalar::number(token) {
                Ok(value) => Ok(value),
                Err(message) => Err(self.fail(from, message)),
            },
        }
    }
}

fn is_control(b: u8) -> bool {
    b < 0x20 || b == 0x7f
}

fn is_scalar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'_' | b'.' | b':')
}

#[cfg(test)]
mod tests;
