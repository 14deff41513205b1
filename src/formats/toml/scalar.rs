//! TOML's numbers and date-times: which spellings are allowed, and a number's value. Text in, verdict out.

use crate::text::decimal;
use crate::value::Value;

fn unsigned(token: &str) -> &str {
    match token.as_bytes() {
        [b'+' | b'-', ..] => token.get(1..).unwrap_or(""),
        _ => token,
    }
}

/// Digits of a radix with single underscores between them.
fn is_digits(s: &str, radix: u32) -> bool {
    let mut after_digit = false;
    for b in s.bytes() {
        let digit = (b as char).is_digit(radix);
        if !(digit || b == b'_' && after_digit) {
            return false;
        }
        after_digit = digit;
    }
    after_digit
}

/// The number that `token` spells, or what was expected instead.
pub(super) fn number(token: &str) -> std::result::Result<Value, &'static str> {
    const EXPECTED: &str = "expected a value: text needs quotes; a number has no spare zeros or underscores";
    const RANGE: &str = "expected an integer from -9223372036854775808 to 9223372036854775807";
    let body = unsigned(token);
    match body {
        "inf" => return Ok(Value::Float(if token.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY })),
        "nan" => return Ok(Value::Float(f64::NAN)),
        _ => {}
    }
    let plain: String = token.chars().filter(|c| *c != '_').collect();
    let radix = match token.as_bytes() {
        [b'0', b'x', ..] => 16,
        [b'0', b'o', ..] => 8,
        [b'0', b'b', ..] => 2,
        _ => 10,
    };
    if radix != 10 {
        if !is_digits(token.get(2..).unwrap_or(""), radix) {
            return Err("expected digits after 0x, 0o or 0b");
        }
        return i64::from_str_radix(plain.get(2..).unwrap_or(""), radix).map(Value::Int).map_err(|_| RANGE);
    }
    let (mantissa, exponent) = match body.bytes().position(|b| b | 0x20 == b'e') {
        Some(at) => (body.get(..at).unwrap_or(""), body.get((at + 1)..)),
        None => (body, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let spare_zero = whole.len() > 1 && whole.starts_with('0');
    if !is_digits(whole, 10) || spare_zero || fraction.is_some_and(|f| !is_digits(f, 10)) {
        return Err(EXPECTED);
    }
    if let Some(exponent) = exponent {
        if !is_digits(unsigned(exponent), 10) {
            return Err(EXPECTED);
        }
    } else if fraction.is_none() {
        return plain.parse().map(Value::Int).map_err(|_| RANGE);
    }
    decimal::read(&plain).map(Value::Float).ok_or(EXPECTED)
}

/// Reads `digits` digits off the front when their number is within `low..=high`.
fn digits(bytes: &[u8], digits: usize, low: u32, high: u32) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_at_checked(digits)?;
    let mut n: u32 = 0;
    for b in head {
        n = n.checked_mul(10)?.checked_add((*b as char).to_digit(10)?)?;
    }
    (low <= n && n <= high).then_some((n, rest))
}

/// What follows this byte.
fn after(bytes: &[u8], byte: u8) -> Option<&[u8]> {
    bytes.strip_prefix(&[byte])
}

/// Whether this is a date-time with or without offset, a date, or a time.
pub(super) fn is_date_time(bytes: &[u8]) -> bool {
    let Some(rest) = date(bytes) else { return time(bytes).is_some_and(<[u8]>::is_empty) };
    let rest = match rest {
        [] => return true,
        [b'T' | b't' | b' ', rest @ ..] => rest,
        _ => return false,
    };
    match time(rest) {
        Some([] | [b'Z' | b'z']) => true,
        Some([b'+' | b'-', zone @ ..]) => hour_minute(zone).is_some_and(<[u8]>::is_empty),
        _ => false,
    }
}

fn date(bytes: &[u8]) -> Option<&[u8]> {
    let (year, rest) = digits(bytes, 4, 0, 9999)?;
    let (month, rest) = digits(after(rest, b'-')?, 2, 1, 12)?;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    Some(digits(after(rest, b'-')?, 2, 1, days)?.1)
}

fn hour_minute(bytes: &[u8]) -> Option<&[u8]> {
    let (_, rest) = digits(bytes, 2, 0, 23)?;
    Some(digits(after(rest, b':')?, 2, 0, 59)?.1)
}

fn time(bytes: &[u8]) -> Option<&[u8]> {
    // 60 is a leap second (RFC 3339, section 5.7).
    let (_, rest) = digits(after(hour_minute(bytes)?, b':')?, 2, 0, 60)?;
    let Some(fraction) = after(rest, b'.') else { return Some(rest) };
    let n = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
    if n == 0 { None } else { fraction.get(n..) }
}
