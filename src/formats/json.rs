//! JSON in and out as Go's encoding/json has it: every number is a float, errors in Go's words, the same escapes.
//! By hand rather than by serde_json, whose floats are the last digit off without a feature that costs more than this
//! file; and as one reader is enough, the sources read their answers with it too (serde_json beside it would be
//! 10,000 bytes). Tests compare it with serde_json. It never looks at files.

use crate::map::Map;
use crate::sys::meter;
use crate::text::{self, decimal, float, time};
use crate::value::{Elem, Pair, Time, Value};
use std::sync::Arc;

/// What a text is read into takes no more bytes: `[{"":0},{"":0}` takes some forty times its own.
const MOST_MEMORY: usize = if cfg!(test) { 32 << 20 } else { 192 << 20 };
/// Arrays and objects nest no deeper.
const DEEPEST: usize = 100;

/// Reads one JSON text.
///
/// # Errors
/// What is wrong, in the words of Go's encoding/json.
pub fn parse(text: &str) -> Result<Value, String> {
    whole(Parser {
        text: text.as_bytes(),
        at: 0,
        held: meter::held(),
        keeps: true,
        left: usize::MAX,
        list: "",
        take: None,
        in_order: false,
    })
}

/// As `parse`, for a large answer of a server that may wish us ill: the elements of each array that stands under the key
/// `list` are handed over one by one instead of kept (inner ones first; an empty array stands in their place), and what is
/// kept of anything else is little. `take` says whether to go on; when it says no, the error is empty.
///
/// # Errors
/// As `parse`; or more than a thousand values outside of `list` or in one of its elements.
pub fn parse_each(text: &str, list: &str, take: &mut dyn FnMut(Value) -> bool) -> Result<Value, String> {
    whole(Parser {
        text: text.as_bytes(),
        at: 0,
        held: meter::held(),
        keeps: false,
        left: FEW,
        list,
        take: Some(take),
        in_order: false,
    })
}

/// As `parse_each`, for elements with many values of their own, all of which may take as much as `parse` allows.
///
/// # Errors
/// As `parse`; empty when `take` says no.
pub fn parse_items(text: &str, list: &str, take: &mut dyn FnMut(Value) -> bool) -> Result<Value, String> {
    whole(Parser {
        text: text.as_bytes(),
        at: 0,
        held: meter::held(),
        keeps: true,
        left: usize::MAX,
        list,
        take: Some(take),
        in_order: false,
    })
}

/// The same as Ruby has it: an object is a list of pairs (`Elem::Pair`) in the order of the text, and a number without
/// fraction and exponent is an integer.
///
/// # Errors
/// As `parse`, and for an integer of more than 64 bits.
pub fn parse_in_order(text: &str) -> Result<Value, String> {
    whole(Parser {
        text: text.as_bytes(),
        at: 0,
        held: meter::held(),
        keeps: true,
        left: usize::MAX,
        list: "",
        take: None,
        in_order: true,
    })
}

#[inline(never)]
fn whole(mut p: Parser) -> Result<Value, String> {
    let value = p.value(0)?;
    match p.solid() {
        None => Ok(value),
        Some(c) => Err(p.bad(c, "after top-level value")),
    }
}

/// Reads a JSON array and hands its elements over one by one, so that a large answer is never held twice. `take` says
/// whether to go on. False: it said no, or the text is no array.
///
/// # Errors
/// As `parse`; or more than a thousand values in one element.
pub fn each(text: &str, take: &mut dyn FnMut(Value) -> bool) -> Result<bool, String> {
    let mut p = Parser {
        text: text.as_bytes(),
        at: 0,
        held: meter::held(),
        keeps: false,
        left: FEW,
        list: "",
        take: Some(take),
        in_order: false,
    };
    if p.solid().ok_or_else(ended)? != b'[' {
        return whole(p).map(|_| false);
    }
    if !p.items(0, None)? {
        return Ok(false);
    }
    p.solid().map_or(Ok(true), |c| Err(p.bad(c, "after top-level value")))
}

/// Values that `parse_each` keeps at a time: an object of eight bytes of text takes hundreds in memory.
const FEW: usize = 1_000;

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    /// What this thread held when it began.
    held: usize,
    /// Everything is kept until the end; else who takes the elements knows how much is too much.
    keeps: bool,
    /// Values that may still come.
    left: usize,
    /// `take` gets the elements of arrays under this key.
    list: &'a str,
    take: Option<&'a mut dyn FnMut(Value) -> bool>,
    /// See `parse_in_order`.
    in_order: bool,
}

fn ended() -> String {
    String::from("unexpected end of JSON input")
}

/// A byte that does not belong where it stands, in Go's words.
pub(super) fn invalid(c: u8, context: &str) -> String {
    let mut s = b"invalid character ".to_vec();
    match c {
        b'\'' => s.extend_from_slice(b"'\\''"),
        b'"' => s.extend_from_slice(b"'\"'"),
        _ => text::quote(&mut s, char::from(c).encode_utf8(&mut [0; 4]).as_bytes(), '\'', false),
    }
    s.push(b' ');
    s.extend_from_slice(context.as_bytes());
    String::from_utf8_lossy(&s).into_owned()
}

impl Parser<'_> {
    /// The next byte that is no space; it is not taken.
    fn solid(&mut self) -> Option<u8> {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                c => return c.copied(),
            }
        }
    }
    fn bad(&self, c: u8, context: &str) -> String {
        invalid(c, context)
    }
    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(String::from("exceeded max depth"));
        }
        let held = meter::held().wrapping_sub(self.held);
        if held > MOST_MEMORY && held < usize::MAX / 2 && self.keeps {
            return Err(String::from("what it says would take more than 192 MiB"));
        }
        self.left = self.left.checked_sub(1).ok_or("it holds too much")?;
        match self.solid().ok_or_else(ended)? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => Ok(Value::str(&self.string()?)),
            b't' => self.literal("true", Value::Bool(true)),
            b'f' => self.literal("false", Value::Bool(false)),
            b'n' => self.literal("null", Value::Nil),
            b'-' | b'0'..=b'9' => self.number(),
            c => Err(self.bad(c, "looking for beginning of value")),
        }
    }
    fn object(&mut self, depth: usize) -> Result<Value, String> {
        let mut map = Map::new();
        let mut order = Vec::new();
        self.at += 1;
        if self.solid() == Some(b'}') {
            self.at += 1;
            return Ok(self.finish(map, order));
        }
        loop {
            match self.solid().ok_or_else(ended)? {
                b'"' => {}
                c => return Err(self.bad(c, "looking for beginning of object key string")),
            }
            let key = self.string()?;
            match self.solid().ok_or_else(ended)? {
                b':' => self.at += 1,
                c => return Err(self.bad(c, "after object key")),
            }
            let hand = !key.is_empty() && key == self.list && self.solid() == Some(b'[');
            let value = if hand { self.hand(depth + 1)? } else { self.value(depth + 1)? };
            if self.in_order && !map.contains_key(&key) {
                order.push(key.clone());
            }
            map.insert(key, value);
            match self.solid().ok_or_else(ended)? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(self.finish(map, order));
                }
                c => return Err(self.bad(c, "after object key:value pair")),
            }
        }
    }
    /// An object from its fields, and from their order where that counts.
    #[inline(never)]
    fn finish(&self, map: Map, order: Vec<String>) -> Value {
        if !self.in_order {
            return Value::map(map);
        }
        let mut pairs = Vec::new();
        for key in order {
            let value = map.get(&key).cloned().unwrap_or(Value::Nil);
            pairs.push(Value::Pair(Arc::new(Pair { key: Arc::from(key), value })));
        }
        Value::typed_list(Elem::Pair, pairs)
    }
    fn array(&mut self, depth: usize) -> Result<Value, String> {
        let mut list = Vec::new();
        self.items(
            depth,
            Some(&mut |value| {
                list.push(value);
                true
            }),
        )?;
        Ok(Value::list(list))
    }
    /// An array whose elements are not kept but handed over.
    fn hand(&mut self, depth: usize) -> Result<Value, String> {
        if self.items(depth, None)? { Ok(Value::list(Vec::new())) } else { Err(String::new()) }
    }
    /// The elements of an array, one by one, to `take` or to who takes those of `list`. False: it said no.
    fn items(&mut self, depth: usize, mut take: Option<&mut dyn FnMut(Value) -> bool>) -> Result<bool, String> {
        self.at += 1;
        if self.solid() == Some(b']') {
            self.at += 1;
            return Ok(true);
        }
        loop {
            let value = self.value(depth + 1)?;
            let goes_on = match (&mut take, &mut self.take) {
                (Some(take), _) => take(value),
                (None, Some(take)) => {
                    if !self.keeps {
                        self.left = FEW;
                    }
                    take(value)
                }
                (None, None) => true,
            };
            if !goes_on {
                return Ok(false);
            }
            match self.solid().ok_or_else(ended)? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(true);
                }
                c => return Err(self.bad(c, "after array element")),
            }
        }
    }
    fn literal(&mut self, word: &str, value: Value) -> Result<Value, String> {
        for (i, want) in word.bytes().enumerate() {
            let c = *self.text.get(self.at).ok_or_else(ended)?;
            if c != want {
                let rest = word.get(i..=i).unwrap_or("");
                return Err(self.bad(c, &["in literal ", word, " (expecting '", rest, "')"].concat()));
            }
            self.at += 1;
        }
        Ok(value)
    }
    fn digits(&mut self, context: &str) -> Result<(), String> {
        match self.text.get(self.at) {
            Some(b'0'..=b'9') => {}
            Some(c) => return Err(self.bad(*c, context)),
            None => return Err(ended()),
        }
        while let Some(b'0'..=b'9') = self.text.get(self.at) {
            self.at += 1;
        }
        Ok(())
    }
    fn number(&mut self) -> Result<Value, String> {
        let from = self.at;
        if self.text.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        // A leading zero stands alone.
        if self.text.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits("in numeric literal")?;
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        let digits = self.text.get(from..self.at).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or("");
        if self.in_order && !digits.contains(['.', 'e', 'E']) {
            return digits.parse().map(Value::Int).map_err(|_| String::from("an integer has more than 64 bits"));
        }
        match decimal::read(digits) {
            Some(f) if f.is_finite() => Ok(Value::Float(f)),
            // Go names the number here; it may be a secret.
            _ => Err(String::from("json: cannot unmarshal number into Go value of type float64")),
        }
    }
    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut out: Vec<u8> = Vec::new();
        loop {
            let c = *self.text.get(self.at).ok_or_else(ended)?;
            self.at += 1;
            match c {
                b'"' => return Ok(String::from_utf8_lossy(&out).into_owned()),
                0..=0x1f => return Err(self.bad(c, "in string literal")),
                b'\\' => {
                    let e = *self.text.get(self.at).ok_or_else(ended)?;
                    self.at += 1;
                    out.push(match e {
                        b'"' | b'\\' | b'/' => e,
                        b'b' => 8,
                        b'f' => 12,
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'u' => {
                            let c = self.escaped()?;
                            text::put(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes());
                            continue;
                        }
                        _ => return Err(self.bad(e, "in string escape code")),
                    });
                }
                _ => out.push(c),
            }
        }
    }
    fn hex4(&mut self) -> Result<u32, String> {
        let mut n = 0;
        for _ in 0..4 {
            let c = *self.text.get(self.at).ok_or_else(ended)?;
            let Some(d) = char::from(c).to_digit(16) else {
                return Err(self.bad(c, "in \\u hexadecimal character escape"));
            };
            n = n * 16 + d;
            self.at += 1;
        }
        Ok(n)
    }
    /// The character of `\uXXXX`, with its second half where it has one; a half alone becomes U+FFFD.
    fn escaped(&mut self) -> Result<char, String> {
        let high = self.hex4()?;
        if (0xd800..0xdc00).contains(&high) && self.text.get(self.at..self.at + 2) == Some(b"\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let n = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(n).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }
}

/// Appends a value as Go's encoding/json writes it, `<`, `>` and `&` escaped. `indent`: two spaces a level, from this
/// level on.
///
/// # Errors
/// When a number has no JSON form, or the text grows beyond 64 MiB.
pub fn write(out: &mut Vec<u8>, v: &Value, indent: Option<usize>) -> Result<(), String> {
    meter::charge(1);
    if meter::is_spent() {
        return Ok(()); // the render ends with an error
    }
    // A short list may hold a long text often.
    if out.len() > text::LARGEST {
        return Err(String::from("the text would have more than 64 MiB"));
    }
    match v {
        Value::Nil => text::put(out, b"null"),
        Value::Bool(b) => text::put(out, if *b { b"true" } else { b"false" }),
        Value::Int(n) | Value::Named(_, n) => text::put(out, n.to_string().as_bytes()),
        Value::Float(f) => write_float(out, *f)?,
        Value::Str(_) | Value::Bytes(_) => write_text(out, v.as_bytes().unwrap_or(&[])),
        Value::Time(t) => write_text(out, rfc3339(*t).as_bytes()),
        Value::List(l) => {
            out.push(b'[');
            for (i, e) in l.items.iter().enumerate() {
                separate(out, i, indent);
                write(out, e, indent.map(|n| n + 1))?;
            }
            close(out, l.items.is_empty(), indent, b']');
        }
        Value::Map(m) => {
            out.push(b'{');
            for (i, (k, e)) in m.iter().enumerate() {
                separate(out, i, indent);
                field(out, k, e, indent)?;
            }
            close(out, m.is_empty(), indent, b'}');
        }
        Value::Pair(p) => {
            out.push(b'{');
            separate(out, 0, indent);
            field(out, "Key", &Value::Str(p.key.clone()), indent)?;
            separate(out, 1, indent);
            field(out, "Value", &p.value, indent)?;
            close(out, false, indent, b'}');
        }
    }
    Ok(())
}

fn rfc3339(t: Time) -> String {
    time::format(t, "2006-01-02T15:04:05.999999999Z07:00")
}

fn line(out: &mut Vec<u8>, level: usize) {
    out.push(b'\n');
    out.resize(out.len() + level * 2, b' ');
}

fn separate(out: &mut Vec<u8>, i: usize, indent: Option<usize>) {
    if i > 0 {
        out.push(b',');
    }
    if let Some(n) = indent {
        line(out, n + 1);
    }
}

fn close(out: &mut Vec<u8>, empty: bool, indent: Option<usize>, with: u8) {
    if let (Some(n), false) = (indent, empty) {
        line(out, n);
    }
    out.push(with);
}

fn field(out: &mut Vec<u8>, key: &str, v: &Value, indent: Option<usize>) -> Result<(), String> {
    write_text(out, key.as_bytes());
    out.push(b':');
    if indent.is_some() {
        out.push(b' ');
    }
    write(out, v, indent.map(|n| n + 1))
}

fn write_float(out: &mut Vec<u8>, f: f64) -> Result<(), String> {
    if !f.is_finite() {
        return Err(["json: unsupported value: ", &float::fmt_float(f, b'g', None)].concat());
    }
    let small = f != 0.0 && f.abs() < 1e-6;
    if !small && f.abs() < 1e21 {
        text::put(out, float::fmt_float(f, b'f', None).as_bytes());
        return Ok(());
    }
    // JSON's exponents have no leading zero.
    let text = float::fmt_float(f, b'e', None);
    text::put(out, text.replace("e-0", "e-").as_bytes());
    Ok(())
}

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut at = 0;
    while let Some((c, size)) = text.get(at..).and_then(text::decode) {
        match c {
            '"' | '\\' => {
                out.push(b'\\');
                out.push(c as u8);
            }
            '\n' => text::put(out, b"\\n"),
            '\r' => text::put(out, b"\\r"),
            '\t' => text::put(out, b"\\t"),
            '\x08' => text::put(out, b"\\b"),
            '\x0c' => text::put(out, b"\\f"),
            '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text::put(out, b"\\u");
                text::hex(out, u32::from(c), 4, false);
            }
            // A byte that is no UTF-8, as Go writes it.
            char::REPLACEMENT_CHARACTER if size == 1 => text::put(out, b"\\ufffd"),
            _ => text::put(out, text.get(at..at + size).unwrap_or(&[])),
        }
        at += size;
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn round(text: &str, indent: Option<usize>) -> String {
        match parse(text) {
            Ok(v) => {
                let mut out = Vec::new();
                match write(&mut out, &v, indent) {
                    Ok(()) => String::from_utf8_lossy(&out).into_owned(),
                    Err(e) => e,
                }
            }
            Err(e) => e,
        }
    }

    #[test]
    fn reads_and_writes_as_go_does() {
        let cases: &[(&str, &str)] = &[
            (r#" {"b":[1,2.50,true,null],"a":{}} "#, r#"{"a":{},"b":[1,2.5,true,null]}"#),
            (r#""<a href='x'>&\u00e9\ud83d\ude00\ud800""#, "\"\\u003ca href='x'\\u003e\\u0026é😀\u{fffd}\""),
            (r#""\b\f\n\/\"\u0001""#, r#""\b\f\n/\"\u0001""#),
            ("[1e21,1e20,1e-7,0.000001,-0]", "[1e+21,100000000000000000000,1e-7,0.000001,-0]"),
            ("", "unexpected end of JSON input"),
            ("[1,", "unexpected end of JSON input"),
            ("\"x", "unexpected end of JSON input"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("{x", "invalid character 'x' looking for beginning of object key string"),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (r#"{"a":1 2}"#, "invalid character '2' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("1 2", "invalid character '2' after top-level value"),
            ("01", "invalid character '1' after top-level value"),
            ("trux", "invalid character 'x' in literal true (expecting 'e')"),
            ("\"\n\"", "invalid character '\\n' in string literal"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("-x", "invalid character 'x' in numeric literal"),
        ];
        for (text, want) in cases {
            assert_eq!(&round(text, None), want, "{text}");
        }
        assert_eq!(round(r#"{"a":[1,{}],"b":[]}"#, Some(0)), "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}");
        assert_eq!(round(&"[".repeat(100_000), None), "exceeded max depth");
    }

    fn same(ours: &Value, theirs: &serde_json::Value) -> bool {
        match (ours, theirs) {
            (Value::Nil, serde_json::Value::Null) => true,
            (Value::Bool(a), serde_json::Value::Bool(b)) => a == b,
            // Its last digit may be off.
            (Value::Float(a), serde_json::Value::Number(b)) => {
                let b = b.as_f64().unwrap();
                (a - b).abs() <= a.abs() * 1e-15
            }
            (Value::Str(a), serde_json::Value::String(b)) => **a == **b,
            (Value::List(a), serde_json::Value::Array(b)) => {
                a.items.len() == b.len() && a.items.iter().zip(b).all(|(a, b)| same(a, b))
            }
            (Value::Map(a), serde_json::Value::Object(b)) => {
                a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|b| same(v, b)))
            }
            _ => false,
        }
    }

    /// Pieces in every order up to four: what serde_json takes we take, with the same result, and nothing else.
    #[test]
    fn it_takes_what_serde_json_takes() {
        let pieces = [
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            " ",
            "\n",
            "null",
            "true",
            "false",
            "0",
            "-",
            "12",
            ".5",
            "e3",
            "E+2",
            "-0",
            "01",
            "1.",
            "\"\"",
            "\"a\"",
            "\"\\u00e9\"",
            "\"\\n\"",
            "\"\\x\"",
            "\"",
            "\"\u{7f}é\"",
            "\"\t\"",
            "tru",
            "\"k\":1",
            "[[1]]",
            "{\"a\":[]}",
        ];
        let n = pieces.len();
        let mut taken = 0;
        for i in 0..n * n * n * n {
            let four = [i / (n * n * n), i / (n * n) % n, i / n % n, i % n];
            let text = four.map(|j| pieces[j]).concat();
            let (ours, theirs) = (parse(&text), serde_json::from_str::<serde_json::Value>(&text));
            match (&ours, &theirs) {
                (Ok(a), Ok(b)) => {
                    assert!(same(a, b), "{text}");
                    taken += 1;
                    let all = each(&text, &mut |_| true).unwrap();
                    assert_eq!(all, b.is_array(), "{text}");
                }
                (Err(_), Err(_)) => assert!(each(&text, &mut |_| true).is_err(), "{text}"),
                (a, b) => panic!("{text}: ours {}, theirs {}", a.is_ok(), b.is_ok()),
            }
        }
        assert!(taken > 1_000, "{taken}");
    }

    #[test]
    fn a_text_that_would_take_all_memory_is_refused() {
        let text = ["[", &"{\"\":[[]]},".repeat(300_000), "0]"].concat();
        assert_eq!(parse(&text).err().unwrap(), "what it says would take more than 192 MiB");
        // Handed over one by one, it takes none.
        assert_eq!(each(&text, &mut |_| true), Ok(true));
        assert!(parse(text.get(..300_000).unwrap()).err().unwrap().contains("unexpected end"));
    }

    #[test]
    fn halves_of_characters() {
        for (text, want) in [
            (r#""\ud83d\ude00""#, "\u{1f600}"),
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""\ude00x""#, "\u{fffd}x"),
            (r#""\ud83dx""#, "\u{fffd}x"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
        ] {
            assert_eq!(parse(text).unwrap().as_str(), Some(want), "{text}");
        }
    }
}
