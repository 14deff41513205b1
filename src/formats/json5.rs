//! JSON5 into the document that a table of settings is read from, with the line of each value: JSON as people write it, with
//! comments, commas at ends, bare keys, single quotes, `+1`, `.5` and `0x1f`. What is `null` counts as not there. Errors are
//! worded and shown as ContainerPilot shows them. It knows no meaning of any key.

use super::json;
use super::toml::{Doc, How, Kind, Node};
use crate::error::{Error, Result};
use crate::map::Map;
use crate::text::{decimal, fill};
use crate::value::Value;

/// Arrays and objects nest no deeper.
const DEEPEST: usize = 100;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// A position and its line: lines are asked for in ascending order.
    mark: (usize, u32),
    /// The first is the top.
    nodes: Vec<Node>,
}

/// What is wrong at the place where the parser stands.
type Read<T> = std::result::Result<T, String>;

/// Reads `text`, whose top is an object.
///
/// # Errors
/// `Kind::Config` with line and column, that line and the one before it, and a mark under the column.
pub fn parse(text: &str) -> Result<Doc> {
    let mut p = Parser { text, at: 0, mark: (0, 1), nodes: Vec::new() };
    match p.whole() {
        Ok(doc) => Ok(doc),
        Err(why) => Err(shown(text, p.at, &why)),
    }
}

/// The error at a byte of the text.
#[inline(never)]
fn shown(text: &str, at: usize, why: &str) -> Error {
    let is_end = at >= text.len();
    // The last line, where the text ends too early.
    let before = if is_end { text.trim_end_matches('\n') } else { text.get(..at).unwrap_or("") };
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + usize::from(!is_end);
    let line = before.split('\n').count();
    let mut out = fill("Parse error at line:col [%:%]: %\n", &[&line.to_string(), &column.to_string(), why]);
    for n in [line.saturating_sub(1), line] {
        let Some(source) = n.checked_sub(1).and_then(|n| text.split('\n').nth(n)) else { continue };
        let number = ["    ", &n.to_string()].concat();
        out.push_str(number.get(number.len() - 5..).unwrap_or(&number));
        out.push_str(": ");
        if super::may_hold_secret(source) {
            out.push_str("(not shown: it may hold a secret)");
        } else {
            // A control character would move the mark, or the terminal.
            out.extend(source.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }));
        }
        out.push('\n');
    }
    out.push_str(&"-".repeat(6 + column));
    out.push('^');
    Error::config(out)
}

fn ended<T>() -> Read<T> {
    Err("unexpected end of JSON input".to_string())
}

impl Parser<'_> {
    fn whole(&mut self) -> Read<Doc> {
        self.value(0)?;
        self.gap()?;
        if self.at < self.text.len() {
            return self.bad("after top-level value");
        }
        if !matches!(self.nodes.first(), Some(Node { kind: Kind::Table(..), .. })) {
            self.at = 0;
            return Err("the configuration is no object, {...}".to_string());
        }
        Ok(Doc::of(std::mem::take(&mut self.nodes)))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The byte that stands here does not belong there.
    #[inline(never)]
    fn bad<T>(&self, context: &str) -> Read<T> {
        self.peek().map_or_else(ended, |c| Err(json::invalid(c, context)))
    }

    fn char(&self) -> Option<char> {
        self.text.get(self.at..).and_then(|rest| rest.chars().next())
    }

    /// Passes over white space and comments.
    fn gap(&mut self) -> Read<()> {
        while let Some(c) = self.char() {
            let rest = self.text.get(self.at..).unwrap_or("");
            if c.is_whitespace() || c == '\u{feff}' {
                self.at += c.len_utf8();
            } else if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let Some(end) = rest.find("*/") else {
                    return Err("a comment /* has no end */".to_string());
                };
                self.at += end + 2;
            } else {
                break;
            }
        }
        Ok(())
    }

    fn node(&mut self, kind: Kind) -> usize {
        let passed = self.text.as_bytes().get(self.mark.0..self.at).unwrap_or(&[]);
        let line = passed.iter().filter(|b| **b == b'\n').count();
        self.mark = (self.at, self.mark.1.saturating_add(u32::try_from(line).unwrap_or(u32::MAX)));
        self.nodes.push(Node { line: self.mark.1, kind });
        self.nodes.len() - 1
    }

    fn leaf(&mut self, value: Value) -> usize {
        self.node(Kind::Leaf(value))
    }

    /// A value, as the index of its node; `null` has none.
    fn value(&mut self, depth: usize) -> Read<Option<usize>> {
        if depth > DEEPEST {
            return Err("exceeded max depth".to_string());
        }
        self.gap()?;
        let Some(c) = self.peek() else { return ended() };
        Ok(Some(match c {
            b'{' | b'[' => return self.inside(depth, c == b'{').map(Some),
            b'"' | b'\'' => {
                let start = self.at;
                let text = self.string(c)?;
                let end = std::mem::replace(&mut self.at, start);
                let node = self.leaf(Value::str(&text));
                self.at = end;
                node
            }
            _ => {
                let rest = self.text.get(self.at..).unwrap_or("");
                let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | '$');
                let word = rest.get(..rest.find(|c| !is_part(c)).unwrap_or(rest.len())).unwrap_or("");
                let value = match word {
                    "true" => Value::Bool(true),
                    "false" => Value::Bool(false),
                    "null" => {
                        self.at += word.len();
                        return Ok(None);
                    }
                    _ => match number(word) {
                        Some(value) => value,
                        None => return self.bad("looking for beginning of value"),
                    },
                };
                let node = self.leaf(value);
                self.at += word.len();
                node
            }
        }))
    }

    /// An object or an array.
    #[inline(never)]
    fn inside(&mut self, depth: usize, is_object: bool) -> Read<usize> {
        let node = self.leaf(Value::Nil);
        let (mut map, mut items) = (Map::new(), Vec::new());
        let end = if is_object { b'}' } else { b']' };
        self.at += 1;
        loop {
            self.gap()?;
            if self.peek() == Some(end) {
                break;
            }
            if is_object {
                let key = self.key()?;
                self.gap()?;
                if self.peek() != Some(b':') {
                    return self.bad("after object key");
                }
                self.at += 1;
                if let Some(value) = self.value(depth + 1)? {
                    map.insert(key, Value::Int(value as i64));
                }
            } else {
                items.extend(self.value(depth + 1)?);
            }
            self.gap()?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(c) if c == end => {}
                _ => return self.bad(if is_object { "after object key:value pair" } else { "after array element" }),
            }
        }
        self.at += 1;
        if let Some(node) = self.nodes.get_mut(node) {
            node.kind = if is_object { Kind::Table(How::Inline, map) } else { Kind::Array(items) };
        }
        Ok(node)
    }

    fn key(&mut self) -> Read<String> {
        let Some(c) = self.char() else { return ended() };
        match c {
            '"' | '\'' => self.string(c as u8),
            _ if c.is_alphabetic() || matches!(c, '_' | '$') => {
                let rest = self.text.get(self.at..).unwrap_or("");
                let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
                let word = rest.get(..rest.find(|c| !is_part(c)).unwrap_or(rest.len())).unwrap_or("");
                self.at += word.len();
                Ok(word.to_string())
            }
            _ => self.bad("looking for beginning of object key string"),
        }
    }

    fn string(&mut self, quote: u8) -> Read<String> {
        let mut out = String::new();
        self.at += 1;
        loop {
            let Some(c) = self.char() else { return ended() };
            match c {
                _ if c == char::from(quote) => {
                    self.at += 1;
                    return Ok(out);
                }
                '\n' | '\r' => return self.bad("in string literal"),
                '\\' => {
                    self.at += 1;
                    self.escape(&mut out)?;
                }
                _ => {
                    out.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
    }

    /// What follows a backslash.
    #[inline(never)]
    fn escape(&mut self, out: &mut String) -> Read<()> {
        let Some(c) = self.char() else { return ended() };
        let next = self.text.as_bytes().get(self.at + 1).copied().unwrap_or(0);
        let digits = match c {
            'x' => 2,
            'u' => 4,
            _ => 0,
        };
        if digits > 0 {
            self.at += 1;
            let mut code = self.hex(digits)?;
            if (0xd800..0xdc00).contains(&code) && self.text.get(self.at..).is_some_and(|r| r.starts_with("\\u")) {
                let back = self.at;
                self.at += 2;
                let low = self.hex(4)?;
                if (0xdc00..0xe000).contains(&low) {
                    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                } else {
                    self.at = back;
                }
            }
            out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            return Ok(());
        }
        match c {
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\u{b}'),
            '0' if !next.is_ascii_digit() => out.push('\0'),
            '0'..='9' => return self.bad("in string escape code"),
            // The line goes on.
            '\r' if next == b'\n' => self.at += 1,
            '\n' | '\r' | '\u{2028}' | '\u{2029}' => {}
            _ => out.push(c),
        }
        self.at += c.len_utf8();
        Ok(())
    }

    fn hex(&mut self, digits: usize) -> Read<u32> {
        let mut n = 0;
        for _ in 0..digits {
            let Some(digit) = self.peek().and_then(|c| char::from(c).to_digit(16)) else {
                return self.bad("in \\u hexadecimal character escape");
            };
            n = n * 16 + digit;
            self.at += 1;
        }
        Ok(n)
    }
}

/// A number: an integer where it is written as one and has room.
#[inline(never)]
fn number(word: &str) -> Option<Value> {
    let (sign, bare) = match word.as_bytes().first() {
        Some(b'-') => (-1, word.get(1..)?),
        Some(b'+') => (1, word.get(1..)?),
        _ => (1, word),
    };
    if let Some(digits) = bare.strip_prefix("0x").or(bare.strip_prefix("0X")) {
        let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        return i64::from_str_radix(digits, 16).ok().filter(|_| is_hex).map(|n| Value::Int(n * sign));
    }
    match bare {
        "Infinity" => return Some(Value::Float(f64::INFINITY * sign as f64)),
        "NaN" => return Some(Value::Float(f64::NAN)),
        _ => {}
    }
    let mut bytes = bare.bytes();
    let (first, second) = (bytes.next().unwrap_or(0), bytes.next().unwrap_or(0));
    // A zero in front would mean another base elsewhere.
    if !matches!(first, b'0'..=b'9' | b'.') || first == b'0' && second.is_ascii_digit() {
        return None;
    }
    word.parse().map(Value::Int).ok().or_else(|| decimal::read(word).map(Value::Float))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> String {
        let doc = match parse(text) {
            Ok(doc) => doc,
            Err(e) => return e.into_text(),
        };
        let mut out = Vec::new();
        match json::write(&mut out, &doc.root, None) {
            Ok(()) => String::from_utf8(out).unwrap(),
            Err(why) => why,
        }
    }

    #[test]
    fn what_people_write() {
        for (text, want) in [
            ("{}", "{}"),
            (" {\"a\": 1} \n", r#"{"a":1}"#),
            ("{a: 1, $b_2: [true, false, null,], c: {},}", r#"{"$b_2":[true,false],"a":1,"c":{}}"#),
            ("{'a': 'it\\'s \"x\"'}", r#"{"a":"it's \"x\""}"#),
            ("// c\n{/* a: 1 */ b: 2 // c\n}// end", r#"{"b":2}"#),
            ("{a: +1, b: .5, c: 5., d: -0x1F, e: 1e3, f: 12345678901234567890}", {
                r#"{"a":1,"b":0.5,"c":5,"d":-31,"e":1000,"f":12345678901234567000}"#
            }),
            ("{a: 1, a: 2}", r#"{"a":2}"#),
            ("{a: null}", "{}"),
            (r#"{"a": "\u00e9\x41\ud83d\ude00\ud83d-\n\t\/\q\0"}"#, "{\"a\":\"é\u{41}😀\u{fffd}-\\n\\t/q\\u0000\"}"),
            ("{a: 'one \\\ntwo \\\r\nthree'}", r#"{"a":"one two three"}"#),
            ("\u{feff}{\u{a0}é: 1}", r#"{"é":1}"#),
            ("{a: 'http://x/*y*/'}", r#"{"a":"http://x/*y*/"}"#),
        ] {
            assert_eq!(read(text), want, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_shown() {
        for (text, want) in [
            (
                "{\n  \"a\": 1\n  \"b\": 2\n}",
                "Parse error at line:col [3:3]: invalid character '\"' after object key:value pair\n    2:   \"a\": 1\n    \
                 3:   \"b\": 2\n---------^",
            ),
            ("{", "Parse error at line:col [1:1]: unexpected end of JSON input\n    1: {\n-------^"),
            (
                "{\n\"a\": [1,\n",
                "Parse error at line:col [2:8]: unexpected end of JSON input\n    1: {\n    2: \"a\": [1,\n--------------^",
            ),
            (
                "x",
                "Parse error at line:col [1:1]: invalid character 'x' looking for beginning of value\n    1: x\n-------^",
            ),
            ("[]", "Parse error at line:col [1:1]: the configuration is no object, {...}\n    1: []\n-------^"),
            (
                "{} x",
                "Parse error at line:col [1:4]: invalid character 'x' after top-level value\n    1: {} x\n----------^",
            ),
            (
                "{\"token\": s3cr}",
                "Parse error at line:col [1:11]: invalid character 's' looking for beginning of value\n    1: (not shown: it \
                 may hold a secret)\n-----------------^",
            ),
        ] {
            assert_eq!(read(text), want, "{text}");
        }
        for text in [
            "{a: 01}",
            "{a: 1 b: 2}",
            "{a}",
            "{,}",
            "{a: [,]}",
            "{a-b: 1}",
            "{1: 2}",
            "{a: 'x}",
            "{a: \"x\ny\"}",
            "{a: '\\1'}",
            "{a: '\\u12'}",
            "{a: --1}",
            "{a: 0x}",
            "{a: 0x+1}",
            "{a: 1e}",
            "{a: .}",
            "{a: yes}",
            "{a: 1} // c\n}",
            "{/* a: 1}",
            "{a: +}",
            "",
            "null",
            "{a: 0xffffffffffffffffff}",
            "{a: \"\\",
        ] {
            assert!(read(text).starts_with("Parse error"), "{text}: {}", read(text));
        }
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(parse(&format!("{{a: {}}}", deep(99))).is_ok());
        assert!(read(&format!("{{a: {}}}", deep(1000))).contains("max depth"));
        assert!(read(&"{a:".repeat(100_000)).contains("max depth"));
    }

    #[test]
    fn lines_of_values() {
        let doc = parse("{\n  a: 1,\n\n  b: [\n    'x', {\n     c: 'y \\\n z', d: 1 } ],\n  e: 5}").unwrap();
        for (path, line) in [("a", 2), ("b", 4), ("b.0", 5), ("b.1", 5), ("b.1.c", 6), ("b.1.d", 7), ("e", 8)] {
            assert_eq!(doc.line(path), Some(line), "{path}");
        }
    }
}
