//! Reads Go's literals: numbers in all their bases, character constants and quoted strings. It never decides which
//! type a number gets; it only says which ones it fits.

use crate::text::{self, ESCAPES, decimal};

/// A number as an untyped constant: every type it fits.
#[derive(Clone, Copy)]
pub struct Number {
    /// Its value when it fits an int.
    pub int: Option<i64>,
    /// Its value as a float; every number has one.
    pub float: f64,
}

/// Underscores may stand between digits, or between a base's prefix and a digit. `hex`: letters are digits.
fn underscores_good(digits: &str, based: bool, hex: bool) -> bool {
    let mut before = if based { '0' } else { '!' };
    for c in digits.chars() {
        let digit = c.is_ascii_digit() || (hex && c.is_ascii_hexdigit());
        match (c, before) {
            ('_', '0') => before = '_',
            ('_', _) => return false,
            (_, '_') if !digit => return false,
            _ => before = if digit { '0' } else { '!' },
        }
    }
    before != '_'
}

/// The base a literal is written in, and its digits.
fn split_base(s: &str) -> (u64, &str) {
    let low = s.get(..2).unwrap_or("").to_ascii_lowercase();
    let base = match low.as_str() {
        "0x" => 16,
        "0b" => 2,
        "0o" => 8,
        _ if s.len() > 1 && s.starts_with('0') => return (8, s.get(1..).unwrap_or("")),
        _ => return (10, s),
    };
    (base, s.get(2..).unwrap_or(""))
}

fn magnitude(s: &str) -> Option<u64> {
    let (base, digits) = split_base(s);
    if digits.is_empty() || !underscores_good(digits, base != 10, base == 16) {
        return None;
    }
    let mut n: u64 = 0;
    for c in digits.chars().filter(|c| *c != '_') {
        let d = c.to_digit(u32::try_from(base).unwrap_or(10))?;
        n = n.checked_mul(base)?.checked_add(u64::from(d))?;
    }
    Some(n)
}

/// `0x1.8p4` without its sign.
fn hex_float(s: &str) -> Option<f64> {
    let (mantissa, exp) = s.split_once(['p', 'P'])?;
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut f = 0.0;
    let mut any = false;
    let mut scale: i32 = 0;
    for (i, digits) in [whole, part].into_iter().enumerate() {
        for c in digits.chars().filter(|c| *c != '_') {
            f = f * 16.0 + f64::from(c.to_digit(16)?);
            any = true;
            scale -= if i == 1 { 4 } else { 0 };
        }
    }
    let exp: i32 = exp.replace('_', "").parse().ok()?;
    any.then(|| f * 2.0_f64.powi(exp.saturating_add(scale)))
}

fn float(s: &str) -> Option<f64> {
    let (negative, s) = sign(s);
    let hex = s.starts_with("0x") || s.starts_with("0X");
    let digits = if hex { s.get(2..).unwrap_or("") } else { s };
    if !underscores_good(digits, hex, hex) || !digits.bytes().any(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    let f = if hex { hex_float(digits)? } else { decimal::read(&digits.replace('_', ""))? };
    if f.is_infinite() {
        return None;
    }
    Some(if negative { -f } else { f })
}

fn sign(s: &str) -> (bool, &str) {
    match s.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, s.strip_prefix('+').unwrap_or(s)),
    }
}

/// Whether `f` is a whole number that an i64 holds.
#[allow(clippy::cast_possible_truncation)] // within the range that was just checked
fn whole(f: f64) -> Option<i64> {
    let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&f);
    (fits && f.fract() == 0.0).then_some(f as i64)
}

/// Reads a number token.
///
/// # Errors
/// Go's words for what is wrong with it.
pub fn number(text: &str) -> Result<Number, String> {
    if text.ends_with('i') && !text.starts_with("0x") {
        return Err(said("complex numbers are not supported: ", text));
    }
    let (negative, digits) = sign(text);
    if let Some(n) = magnitude(digits) {
        let int = if negative { 0_i64.checked_sub_unsigned(n) } else { i64::try_from(n).ok() };
        if int.is_some() || !negative {
            #[allow(clippy::cast_precision_loss)] // as Go converts
            let f = int.map_or(n as f64, |i| i as f64);
            return Ok(Number { int, float: f });
        }
    }
    match float(text) {
        Some(_) if !text.contains(['.', 'e', 'E', 'p', 'P']) => Err(said("integer overflow: ", text)),
        Some(f) => Ok(Number { int: whole(f), float: f }),
        None => Err(said("illegal number syntax: ", text)),
    }
}

fn said(what: &str, text: &str) -> String {
    let mut s = String::from(what);
    s.push_str(&text::quoted(text));
    s
}

/// Reads a character constant, quotes included.
///
/// # Errors
/// Go's words for what is wrong with it.
pub fn character(text: &str) -> Result<Number, String> {
    let inner = text.get(1..).unwrap_or("");
    let mut chars = inner.chars();
    let mut out = Vec::new();
    let n = match chars.next() {
        Some('\\') => {
            let n = escape(&mut chars, '\'', &mut out).ok_or("invalid syntax")?;
            i64::from(n)
        }
        Some(c) if c != '\'' => i64::from(u32::from(c)),
        _ => return Err(String::from("invalid syntax")),
    };
    if chars.as_str() != "'" {
        let mut s = String::from("malformed character constant: ");
        s.push_str(text);
        return Err(s);
    }
    #[allow(clippy::cast_precision_loss)] // below 2^32
    Ok(Number { int: Some(n), float: n as f64 })
}

/// Reads what follows a backslash, appends its bytes and gives its number. `None`: no such escape.
fn escape(chars: &mut std::str::Chars, mark: char, out: &mut Vec<u8>) -> Option<u32> {
    let c = chars.next()?;
    let (n, byte) = match c {
        '\\' => (92, true),
        '0'..='7' => (digits(chars, c.to_digit(8)?, 8, 2)?, true),
        'x' => (digits(chars, 0, 16, 2)?, true),
        'u' => (digits(chars, 0, 16, 4)?, false),
        'U' => (digits(chars, 0, 16, 8)?, false),
        _ if c == mark => (u32::from(c), true),
        _ => (7 + u32::try_from(ESCAPES.find(c)?).ok()?, true),
    };
    if byte {
        out.push(u8::try_from(n).ok()?);
    } else {
        out.extend_from_slice(char::from_u32(n)?.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(n)
}

/// `n` and so many digits more.
#[inline(never)]
fn digits(chars: &mut std::str::Chars, n: u32, base: u32, count: usize) -> Option<u32> {
    let mut n = n;
    for _ in 0..count {
        n = n.checked_mul(base)?.checked_add(chars.next()?.to_digit(base)?)?;
    }
    Some(n)
}

/// The bytes of a string token, quotes included.
///
/// # Errors
/// Go's words for a bad escape.
pub fn unquote(text: &str) -> Result<Vec<u8>, String> {
    let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or("");
    if text.starts_with('`') {
        return Ok(inner.bytes().filter(|b| *b != b'\r').collect());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            escape(&mut chars, '"', &mut out).ok_or("invalid syntax")?;
        } else {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn numbers_fit_the_types_go_says() {
        // text, int, float
        let cases: &[(&str, Option<i64>, f64)] = &[
            ("0", Some(0), 0.0),
            ("-0", Some(0), 0.0),
            ("7_3", Some(73), 73.0),
            ("0b10_010_01", Some(73), 73.0),
            ("073", Some(59), 59.0),
            ("0o73", Some(59), 59.0),
            ("0X7_3", Some(115), 115.0),
            ("+73", Some(73), 73.0),
            ("1e9", Some(1_000_000_000), 1e9),
            ("-1.2", None, -1.2),
            ("1e1_9", None, 1e19),
            ("0x_1p4", Some(16), 16.0),
            ("0x_1p-4", None, 0.0625),
            (".5", None, 0.5),
            ("0xef", Some(239), 239.0),
            ("-9223372036854775808", Some(i64::MIN), -9_223_372_036_854_775_808.0),
            ("18446744073709551615", None, 1.8446744073709552e19),
        ];
        for (text, int, float) in cases {
            let n = number(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((n.int, n.float), (*int, *float), "{text}");
        }
        for text in ["+-2", "0x123.", "1e", "0x", "1__0", "_1", "1_", "089", "99999999999999999999", "4i", "."] {
            assert!(number(text).is_err(), "{text}");
        }
        assert_eq!(number("089").err().unwrap(), "integer overflow: \"089\"");
    }

    #[test]
    fn characters_and_strings() {
        for (text, n) in [("'a'", 97), (r"'\n'", 10), (r"'\''", 39), (r"'\xFF'", 255), ("'パ'", 0x30d1)] {
            assert_eq!(character(text).unwrap().int, Some(n), "{text}");
        }
        for text in ["''", "'xx'", r"'\q'", r#"'\"'"#] {
            assert!(character(text).is_err(), "{text}");
        }
        assert_eq!(unquote(r#""a\t\"\u00e9\101\xff""#).unwrap(), b"a\t\"\xc3\xa9A\xff");
        assert_eq!(unquote("`a\r\\n`").unwrap(), b"a\\n");
        assert!(unquote(r#""\'""#).is_err());
    }
}
