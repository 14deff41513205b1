//! The functions over text and integers: Go's strings, strconv and escapes as templates use them.

use super::{check_bytes, check_items, fail, int_arg, strings, text_arg};
use crate::error::Result;
use crate::sys::meter;
use crate::template::Context;
use crate::template::go::fmt;
use crate::text::{self, path};
use crate::value::Value;
use crate::{base64, case, sha};
use std::sync::Arc;

#[inline(never)]
fn made(bytes: &[u8]) -> Result<Value> {
    check_bytes(bytes.len())?;
    Ok(Value::from_bytes(&Arc::from(""), bytes))
}

/// The bytes of an argument that may be any text, even one that is no UTF-8.
fn any_text(v: Option<&Value>) -> Result<&[u8]> {
    match v {
        Some(v) => match v.as_bytes() {
            Some(b) => Ok(b),
            None => fail("wrong type for value; expected string; got %", &[fmt::type_name(v)]),
        },
        None => Ok(&[]),
    }
}

/// Of two integers: sum, difference, product, quotient (towards zero) or rest (with the sign of the first). They wrap
/// as Go's int does.
pub fn arithmetic(_: &Context, args: &[Value], op: u8) -> Result<Value> {
    let (a, b) = (int_arg(args, 0), int_arg(args, 1));
    if b == 0 && matches!(op, b'/' | b'%') {
        return fail("runtime error: integer divide by zero", &[]);
    }
    Ok(Value::Int(match op {
        b'+' => a.wrapping_add(b),
        b'-' => a.wrapping_sub(b),
        b'*' => a.wrapping_mul(b),
        b'/' => a.wrapping_div(b),
        _ => a.wrapping_rem(b),
    }))
}

/// One text from one text: without the second argument at its end or start, the last word of a path, all but that, in
/// Go's lower or upper case (character by character, so a letter without a single capital stays), in Go's double
/// quotes, in single quotes.
pub fn edit(_: &Context, args: &[Value], op: u8) -> Result<Value> {
    let (s, part) = (text_arg(args, 0), text_arg(args, 1));
    meter::charge(s.len() / 8);
    let made = match op {
        b'$' => return Ok(Value::str(s.strip_suffix(part).unwrap_or(s))),
        b'^' => return Ok(Value::str(s.strip_prefix(part).unwrap_or(s))),
        b'/' => return Ok(Value::str(path::base(s))),
        b'd' => path::dir(s),
        b'l' => case::lower(s),
        b'u' => case::upper(s),
        b'"' => text::quoted(s),
        _ => ["'", s, "'"].concat(),
    };
    Ok(Value::str(&made))
}

/// A decimal integer.
pub fn atoi(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    let s = text_arg(args, 0);
    if let Ok(n) = s.parse::<i64>() {
        return Ok(Value::Int(n));
    }
    let digits = s.strip_prefix(['+', '-']).unwrap_or(s);
    let number = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
    let why = if number { ": value out of range" } else { ": invalid syntax" };
    fail("strconv.Atoi: parsing the text%", &[why]) // which may be a secret
}

/// One of Go's words for true and false.
pub fn parse_bool(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    let mut words = "1 t T true TRUE True 0 f F false FALSE False".split(' ');
    match words.position(|w| w == text_arg(args, 0)) {
        Some(at) => Ok(Value::Bool(at < 6)),
        None => fail("strconv.ParseBool: parsing the text: invalid syntax", &[]), // which may be a secret
    }
}

/// Whether the second argument is in the first.
pub fn contains(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    Ok(Value::Bool(text_arg(args, 0).contains(text_arg(args, 1))))
}

/// The first argument cut at each of the second; at each character when that is empty.
pub fn split(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    let (s, by) = (text_arg(args, 0), text_arg(args, 1));
    let mut list = Vec::new();
    if by.is_empty() {
        for c in s.chars() {
            check_items(list.len() + 1)?;
            list.push(Value::str(c.encode_utf8(&mut [0; 4])));
        }
    } else {
        for part in s.split(by) {
            check_items(list.len() + 1)?;
            list.push(Value::str(part));
        }
    }
    Ok(strings(list))
}

/// The strings of a list with the second argument between them.
pub fn join(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    let mut out = Vec::new();
    let list = args.first().and_then(Value::as_list).unwrap_or(&[]);
    meter::charge(list.len() / 4);
    for (i, v) in list.iter().enumerate() {
        if i > 0 {
            text::put(&mut out, text_arg(args, 1).as_bytes());
        }
        text::put(&mut out, v.as_bytes().unwrap_or(&[]));
        check_bytes(out.len())?;
    }
    made(&out)
}

/// The first `n` of `old` replaced by `new`; all when `n` is negative.
pub fn replace(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    let (s, old, new) = (text_arg(args, 0), text_arg(args, 1), text_arg(args, 2));
    let mut left = usize::try_from(int_arg(args, 3)).unwrap_or(usize::MAX);
    let mut out = String::new();
    let mut rest = s;
    while left > 0 {
        left -= 1;
        meter::charge(1);
        // An empty `old` stands before each character and at the end.
        let first = out.is_empty() && rest.len() == s.len();
        let at = match (old.is_empty(), first) {
            (true, true) => Some(0),
            (true, false) => rest.chars().next().map(char::len_utf8),
            _ => rest.find(old),
        };
        let Some(at) = at else { break };
        out.push_str(rest.get(..at).unwrap_or(""));
        out.push_str(new);
        check_bytes(out.len())?;
        rest = rest.get(at + old.len()..).unwrap_or("");
        if first && old.is_empty() && new.is_empty() {
            return Ok(Value::str(s));
        }
    }
    out.push_str(rest);
    Ok(Value::str(&out))
}

/// The second argument as often as the first says.
pub fn repeat(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    let s = text_arg(args, 1);
    let Ok(n) = usize::try_from(int_arg(args, 0)) else {
        return fail("strings: negative Repeat count", &[]);
    };
    check_bytes(s.len().saturating_mul(n))?;
    Ok(Value::str(&if s.is_empty() { String::new() } else { s.repeat(n) }))
}

/// Spaces before each line; `nindent`: and a line end before all.
pub fn indent(_: &Context, args: &[Value], op: u8) -> Result<Value> {
    let s = text_arg(args, 1);
    let Ok(n) = usize::try_from(int_arg(args, 0)) else {
        return fail("strings: negative Repeat count", &[]);
    };
    let lines = s.bytes().filter(|b| *b == b'\n').count() + 1;
    check_bytes(n.saturating_mul(lines).saturating_add(s.len()))?;
    let pad = " ".repeat(n);
    let mut out = String::from(if op == b'n' { "\n" } else { "" });
    for (i, line) in s.split('\n').enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if !s.is_empty() {
            out.push_str(&pad);
        }
        out.push_str(line);
    }
    Ok(Value::str(&out))
}

/// Go's Sprint or Sprintln.
pub fn print(_: &Context, args: &[Value], op: u8) -> Result<Value> {
    let mut out = Vec::new();
    fmt::print(&mut out, args, op == b'n');
    made(&out)
}

/// Go's Sprintf.
pub fn printf(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    let mut out = Vec::new();
    let whole = fmt::printf(&mut out, text_arg(args, 0).as_bytes(), args.get(1..).unwrap_or(&[]));
    check_bytes(if whole { out.len() } else { usize::MAX })?;
    made(&out)
}

/// What the escapes work on: the arguments as an action prints them.
fn printed(args: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    let shown: Vec<Value> =
        args.iter().map(|v| if matches!(v, Value::Nil) { Value::str("<no value>") } else { v.clone() }).collect();
    fmt::print(&mut out, &shown, false);
    out
}

/// For HTML text and attributes, or for the query of a URL.
pub fn escape(_: &Context, args: &[Value], op: u8) -> Result<Value> {
    let mut out = Vec::new();
    for b in printed(args) {
        let s: &[u8] = match (op, b) {
            (b'h', 0) => "\u{fffd}".as_bytes(),
            (b'h', b'"') => b"&#34;",
            (b'h', b'\'') => b"&#39;",
            (b'h', b'&') => b"&amp;",
            (b'h', b'<') => b"&lt;",
            (b'h', b'>') => b"&gt;",
            (b'u', b' ') => b"+",
            (b'h', _) | (_, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~') => &[b],
            _ => {
                out.push(b'%');
                text::hex(&mut out, u32::from(b), 2, true);
                &[]
            }
        };
        text::put(&mut out, s);
    }
    made(&out)
}

/// For a string of JavaScript.
pub fn js(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    let mut out = Vec::new();
    let text = printed(args);
    let mut at = 0;
    while let Some((c, size)) = text.get(at..).and_then(text::decode) {
        match c {
            '\\' | '\'' | '"' => {
                out.push(b'\\');
                text::put(&mut out, text.get(at..at + size).unwrap_or(&[]));
            }
            '<' | '>' | '&' | '=' | '\0'..=' ' if c != ' ' => {
                text::put(&mut out, b"\\u");
                text::hex(&mut out, u32::from(c), 4, true);
            }
            _ if c.is_ascii() || text::is_print(c) => text::put(&mut out, text.get(at..at + size).unwrap_or(&[])),
            _ => {
                text::put(&mut out, b"\\u");
                let width = if u32::from(c) > 0xffff { 5 } else { 4 };
                text::hex(&mut out, u32::from(c), width, true);
            }
        }
        at += size;
    }
    made(&out)
}

/// Standard base64, padded; takes bytes that are no text.
pub fn base64_encode(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    made(base64::encode(any_text(args.first())?).as_bytes())
}

/// Standard base64, padded; line ends are passed over.
pub fn base64_decode(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    match base64::read(text_arg(args, 0), false) {
        Ok(data) => made(&data),
        Err(at) => fail("illegal base64 data at input byte %", &[&at.to_string()]),
    }
}

/// The SHA-256 of a text, in hexadecimal.
pub fn sha256sum(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    let mut out = Vec::new();
    for byte in sha::digest(sha::Kind::Sha256, &[any_text(args.first())?]).bytes() {
        text::hex(&mut out, u32::from(*byte), 2, false);
    }
    made(&out)
}
