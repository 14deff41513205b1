//! Reads a decimal number as the nearest f64, halfway to the even one. Short numbers, which is nearly all there are, take
//! one exact multiplication; others go through the long numbers that `float` prints with. core reads all of them fast and
//! is 14,000 bytes, most of it a table. It knows no infinity, no NaN, no underscores and no white space.

use super::float::{Long, ONE, REST, ZERO, multiply, order};
use crate::sys::meter;
use std::cmp::Ordering;

/// Digits behind these only say whether there is anything more: no f64 lies halfway to the next at so many.
const MOST: usize = 800;

/// `[+-] digits [. digits] [e [+-] digits]`, with a digit on one side of the point at least. `None`: it is not that. What
/// is too large is infinite.
#[inline(never)]
pub fn read(text: &str) -> Option<f64> {
    let (sign, rest) = match text.as_bytes() {
        [b'-', rest @ ..] => (-1.0, rest),
        [b'+', rest @ ..] | rest => (1.0, rest),
    };
    let mut digits = Vec::new();
    let (mut point, mut any, mut exponent) = (None, false, 0_i64);
    let mut left = rest.iter();
    while let Some(c) = left.next() {
        match c {
            b'0'..=b'9' => {
                any = true;
                if digits.len() < MOST {
                    // Zeros in front say nothing.
                    if *c != b'0' || !digits.is_empty() {
                        digits.push(c - b'0');
                    }
                    exponent -= i64::from(point.is_some());
                } else {
                    exponent += i64::from(point.is_none());
                    if let (true, Some(last)) = (*c != b'0', digits.last_mut()) {
                        *last |= 1;
                    }
                }
            }
            b'.' if point.is_none() => point = Some(()),
            b'e' | b'E' => {
                let given = std::str::from_utf8(left.as_slice()).ok()?;
                let unsigned = given.strip_prefix(['+', '-']).unwrap_or(given);
                if unsigned.is_empty() || !unsigned.bytes().all(|c| c.is_ascii_digit()) {
                    return None;
                }
                // More than an i32 holds is beyond everything, whatever stands before it.
                let far = if given.starts_with('-') { i32::MIN } else { i32::MAX };
                exponent = exponent.saturating_add(i64::from(given.parse().unwrap_or(far)));
                break;
            }
            _ => return None,
        }
    }
    any.then(|| sign * nearest(&digits, exponent))
}

/// The f64 nearest to these digits times ten to that power.
fn nearest(digits: &[u8], exponent: i64) -> f64 {
    if digits.len() < 16 && (-22..=22).contains(&exponent) {
        let whole = digits.iter().fold(0_i64, |n, d| n * 10 + i64::from(*d)) as f64;
        let power = (0..exponent.unsigned_abs()).fold(1.0, |p, _| p * 10.0);
        // All three are exact, so the result is rounded once.
        return if exponent < 0 { whole / power } else { whole * power };
    }
    let first = exponent.saturating_add(digits.len() as i64);
    if digits.is_empty() || first < -330 {
        return 0.0;
    }
    if first > 310 {
        return f64::INFINITY;
    }
    // Some more than the bits of the longest of both, four for each decimal digit.
    let mut n =
        vec![[0; 5]; digits.len().max(exponent.unsigned_abs() as usize + 20) / 8 + exponent.max(0) as usize / 8 + 4];
    meter::charge(n.len() * (n.len() + 16));
    for digit in digits {
        multiply(&mut n, REST..REST + 1, 10, u64::from(*digit));
    }
    multiply(&mut n, ONE..ONE + 1, 0, 1);
    let by = if exponent < 0 { ONE } else { REST };
    for _ in 0..exponent.unsigned_abs() {
        multiply(&mut n, by..by + 1, 10, 0);
    }
    // The number is REST / ONE times two to this; then the quotient is made one half or more, below one.
    let mut two = 0;
    let less = |n: &mut Long| order(n, REST, ZERO, ONE, false) == Ordering::Less;
    while !less(&mut n) {
        multiply(&mut n, ONE..ONE + 1, 1 << 31, 0);
        two += 31;
    }
    while less(&mut n) {
        multiply(&mut n, REST..REST + 1, 1 << 31, 0);
        two -= 31;
    }
    while !less(&mut n) {
        multiply(&mut n, ONE..ONE + 1, 2, 0);
        two += 1;
    }
    // The smallest numbers have fewer bits.
    let bits = (two + 1074).min(53);
    let mut mantissa = 0_u64;
    for _ in 0..bits {
        multiply(&mut n, REST..REST + 1, 2, 0);
        let one = order(&mut n, REST, ZERO, ONE, false) != Ordering::Less;
        if one {
            order(&mut n, REST, ZERO, ONE, true);
        }
        mantissa = mantissa << 1 | u64::from(one);
    }
    let up = match order(&mut n, REST, REST, ONE, false) {
        Ordering::Less => 0,
        Ordering::Equal => mantissa & 1,
        Ordering::Greater => 1,
    };
    if bits < 0 {
        return 0.0;
    }
    // A carry out of the mantissa makes the exponent one more, as it should.
    let exponent = if bits < 53 { 0 } else { (two + 1021) as u64 };
    let all = (exponent << 52).wrapping_add(mantissa + up);
    if all >= f64::INFINITY.to_bits() { f64::INFINITY } else { f64::from_bits(all) }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn numbers_are_those_of_core() {
        let mut n = 88_172_645_463_325_252_u64;
        let mut next = |most: u64| {
            n ^= n << 13;
            n ^= n >> 7;
            n ^= n << 17;
            (n >> 11) % most
        };
        let same = |text: &str| {
            let want: Option<f64> = text.parse().ok();
            assert_eq!(read(text).map(f64::to_bits), want.map(f64::to_bits), "{text}");
        };
        for _ in 0..4_000 {
            let most = if next(4) == 0 { 900 } else { 25 };
            let digits = 1 + next(most);
            let mut text: String = (0..digits).map(|_| char::from(b'0' + next(10) as u8)).collect();
            text.insert(next(digits + 1) as usize, '.');
            if next(2) == 0 {
                text.push_str(&format!("e{}", next(700) as i64 - 350));
            }
            same(&text);
        }
        // All that a number can be, and what lies halfway between two.
        for i in 0..600_u64 {
            let bits = match i % 4 {
                0 => next(u64::MAX >> 1) << 10 >> 1,
                1 => next(2047) << 52 | (i % 3),
                2 => next(1 << 52),
                _ => next(1 << 20),
            };
            let f = f64::from_bits(bits);
            if !f.is_finite() {
                continue;
            }
            same(&format!("{f}"));
            same(&format!("-{f:e}"));
            let above = f64::from_bits(bits + 1);
            let (a, b) = (format!("{f:.1080}"), format!("{above:.1080}"));
            let half = middle(&a, &b);
            same(&half);
            same(&(half.clone() + "1"));
            same(&half.replace("5000", "4999"));
        }
    }

    /// Halfway between two decimal numbers of the same form.
    fn middle(a: &str, b: &str) -> String {
        let digit = |c: char| c.to_digit(10).unwrap_or(0);
        let long = a.len().max(b.len());
        let (a, b) = (format!("{a:0>long$}"), format!("{b:0>long$}"));
        let mut sum = Vec::new();
        let mut carry = 0;
        for (x, y) in a.chars().rev().zip(b.chars().rev()) {
            if x == '.' {
                sum.push(None);
                continue;
            }
            let s = digit(x) + digit(y) + carry;
            carry = s / 10;
            sum.push(Some(s % 10));
        }
        let mut out = String::new();
        let mut rest = carry;
        for d in sum.into_iter().rev() {
            match d {
                None => out.push('.'),
                Some(d) => {
                    out.push(char::from_digit((rest * 10 + d) / 2, 10).unwrap_or('?'));
                    rest = d % 2;
                }
            }
        }
        out.push(if rest == 1 { '5' } else { '0' });
        out
    }

    #[test]
    fn the_edges() {
        let same = |text: &str| {
            let want: Option<f64> = text.parse().ok();
            assert_eq!(read(text).map(f64::to_bits), want.map(f64::to_bits), "{text}");
        };
        for text in [
            "0",
            "-0",
            "+0.0",
            ".5",
            "5.",
            "1e5",
            "1E+5",
            "1e-5",
            "0e999999999999999999999",
            "1e999999999999999999999",
            "1e-999999999999999999999",
            "-1e400",
            "1e309",
            "1.7976931348623157e308",
            "1.7976931348623158e308",
            "1.7976931348623159e308",
            "4.9e-324",
            "2.4703282292062327e-324",
            "2.4703282292062328e-324",
            "2e-324",
            "3e-324",
            "2.2250738585072011e-308",
            "2.2250738585072014e-308",
            "9007199254740993",
            "9007199254740992.9999",
            "123456789012345678901234567890",
            "0.000000000000000000000000000000000001",
            "1e22",
            "1e23",
            "8.5e15",
            "1e-22",
            "",
            ".",
            "-",
            "+",
            "e5",
            ".e5",
            "1e",
            "1e+",
            "1e-",
            "1.2.3",
            "+-1",
            "1e5e5",
            "1e1.5",
            "0x10",
            "1_0",
            " 1",
            "1 ",
            "1f",
        ] {
            same(text);
        }
        for n in [300, 799, 800, 801, 5_000, 100_000] {
            same(&["1", &"0".repeat(n), "e-", &n.to_string()].concat());
            same(&["0.", &"0".repeat(n), "1e", &n.to_string()].concat());
            same(&["9007199254740993", ".", &"0".repeat(n), "1"].concat());
            same(&["9007199254740993", ".", &"0".repeat(n)].concat());
            same(&["1.", &"9".repeat(n)].concat());
        }
        for none in ["inf", "nan", "infinity", "NaN", "-inf"] {
            assert!(read(none).is_none(), "{none}");
        }
    }
}
