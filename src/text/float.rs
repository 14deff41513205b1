//! Writes floating-point numbers the way Go's strconv does. The only place in the crate where a template's float
//! becomes text (`decimal` reads them); it never decides width, sign flags or padding.

use crate::sys::meter;
use std::cmp::Ordering;

/// More digits than any f64 has: what follows them is zero.
const EXACT: usize = 800;

/// Long numbers side by side, their lowest 32 bits first, with room for what becomes of them.
pub(super) type Long = [[u32; 5]];
/// The number is `REST / ONE`; halfway to its neighbours are `BELOW` less and `ABOVE` more.
pub(super) const REST: usize = 0;
const BELOW: usize = 1;
const ABOVE: usize = 2;
pub(super) const ONE: usize = 3;
pub(super) const ZERO: usize = 4;

/// Multiplies these numbers, and adds.
#[inline(never)]
pub(super) fn multiply(n: &mut Long, these: std::ops::Range<usize>, by: u64, add: u64) {
    for this in these {
        let mut carry = add;
        for limb in n.iter_mut().filter_map(|row| row.get_mut(this)) {
            carry += u64::from(*limb) * by;
            *limb = carry as u32;
            carry >>= 32;
        }
    }
}

/// How `a + b` stands to `c`; with `take`, `c` is taken from `a` at the same time.
#[inline(never)]
pub(super) fn order(n: &mut Long, a: usize, b: usize, c: usize, take: bool) -> Ordering {
    let (mut carry, mut rest) = (0_i64, 0);
    for row in n {
        let limb = |at: usize| i64::from(row.get(at).copied().unwrap_or(0));
        carry += limb(a) + limb(b) - limb(c);
        rest |= carry as u32;
        if let (true, Some(limb)) = (take, row.get_mut(a)) {
            *limb = carry as u32;
        }
        carry >>= 32;
    }
    carry.cmp(&0).then(rest.cmp(&0))
}

/// The decimal digits of `f` (positive, finite) and the exponent of the first: `d.ddd` times ten to that power.
/// `count`: round to so many digits, half to even (zeros at the end may be left out); else the fewest that read back as
/// the same number, and of those the nearest. Steele and White's way with long numbers: core's printers do it faster
/// and are 9,000 bytes.
#[inline(never)]
fn digits(f: f64, count: Option<usize>) -> (Vec<u8>, i64) {
    let most = count.unwrap_or(EXACT).clamp(1, EXACT);
    let mut d = Vec::new();
    let bits = f.to_bits();
    let (mut mantissa, mut exp) = (bits & ((1 << 52) - 1), (bits >> 52) as i64);
    if bits == 0 {
        return (vec![b'0'], 0);
    }
    // The neighbour below a power of two is half as far away as the one above.
    let below = if mantissa == 0 && exp > 1 { 1 } else { 2 };
    if exp > 0 {
        mantissa |= 1 << 52;
        exp -= 1;
    }
    exp -= 1074;
    let mut n = vec![[0; 5]; (exp.unsigned_abs() as usize + 120) / 32];
    let borders = if count.is_none() { [below, 2] } else { [0, 0] };
    let [below, above] = borders;
    for (row, part) in n.iter_mut().zip([(mantissa << 2) as u32, (mantissa >> 30) as u32]) {
        *row = [part, 0, 0, 0, 0];
    }
    if let Some(row) = n.first_mut() {
        *row = [(mantissa << 2) as u32, below, above, 4, 0];
    }
    let mut left = exp.unsigned_abs();
    while left > 0 {
        let bits = left.min(31);
        multiply(&mut n, if exp > 0 { REST..ONE } else { ONE..ZERO }, 1 << bits, 0);
        left -= bits;
    }
    // Halfway reads back as the one whose last bit is even.
    let edge = if mantissa & 1 == 0 || count.is_some() { Ordering::Equal } else { Ordering::Greater };
    let mut point = 0;
    while order(&mut n, REST, ABOVE, ONE, false) >= edge {
        multiply(&mut n, ONE..ZERO, 10, 0);
        point += 1;
    }
    let (mut down, mut up);
    loop {
        multiply(&mut n, REST..ONE, 10, 0);
        up = order(&mut n, REST, ABOVE, ONE, false) >= edge;
        if d.is_empty() {
            point -= 1;
            if !up {
                continue;
            }
        }
        let mut c = b'0';
        while order(&mut n, REST, ZERO, ONE, false) != Ordering::Less {
            order(&mut n, REST, ZERO, ONE, true);
            c += 1;
        }
        d.push(c);
        down = order(&mut n, BELOW, ZERO, REST, false) >= edge;
        up = order(&mut n, REST, ABOVE, ONE, false) >= edge;
        if down || up || d.len() == most {
            break;
        }
    }
    // Numbers far from one and many digits are slow: 1e300 is some 50 us.
    meter::charge(n.len() * (n.len() + d.len()) / 2);
    let half = order(&mut n, REST, REST, ONE, false);
    let round = match count {
        None => up && (!down || half >= Ordering::Equal),
        Some(_) => half == Ordering::Greater || (half == Ordering::Equal && d.last().is_some_and(|c| c % 2 == 1)),
    };
    // All nines become a one and zeros.
    if round
        && d.iter_mut().rev().all(|c| {
            *c = if *c == b'9' { b'0' } else { *c + 1 };
            *c == b'0'
        })
    {
        if let Some(c) = d.first_mut() {
            *c = b'1';
        }
        point += 1;
    }
    (d, point)
}

fn digit(d: &[u8], at: i64) -> char {
    let c = usize::try_from(at).ok().and_then(|i| d.get(i)).copied().unwrap_or(b'0');
    char::from(c)
}

/// `%e`: `prec` digits after the point.
fn exponent_form(out: &mut String, d: &[u8], exp: i64, prec: usize, letter: char) {
    out.push(digit(d, 0));
    if prec > 0 {
        out.push('.');
        for i in 1..=prec {
            out.push(digit(d, i64::try_from(i).unwrap_or(i64::MAX)));
        }
    }
    out.push(letter);
    exponent(out, exp);
}

/// A sign and at least two digits.
fn exponent(out: &mut String, exp: i64) {
    out.push(if exp < 0 { '-' } else { '+' });
    let n = exp.unsigned_abs();
    if n < 10 {
        out.push('0');
    }
    out.push_str(&n.to_string());
}

/// `%f`: `prec` digits after the point.
fn plain_form(out: &mut String, d: &[u8], exp: i64, prec: usize) {
    if exp < 0 {
        out.push('0');
    }
    for i in 0..=exp {
        out.push(digit(d, i));
    }
    if prec > 0 {
        out.push('.');
        for i in 1..=i64::try_from(prec).unwrap_or(i64::MAX) {
            out.push(digit(d, exp.saturating_add(i)));
        }
    }
}

/// The digits of `f` rounded at `prec` places after the point.
fn rounded_at(f: f64, prec: usize) -> (Vec<u8>, i64) {
    let (_, exp) = digits(f, None);
    let wanted = exp.saturating_add(1).saturating_add(i64::try_from(prec).unwrap_or(i64::MAX));
    if wanted > 0 {
        return digits(f, Some(usize::try_from(wanted).unwrap_or(EXACT)));
    }
    // Everything stands behind the last place: it becomes 0, or 1 in the last place when it is above one half.
    let (d, _) = digits(f, Some(EXACT));
    let up = wanted == 0 && (digit(&d, 0) > '5' || (digit(&d, 0) == '5' && d.iter().skip(1).any(|c| *c != b'0')));
    if up { (vec![b'1'], exp.saturating_add(1)) } else { (vec![b'0'], 0) }
}

/// `f` by one of Go's verbs `e E f g G b x X`; `prec` `None` means as many digits as it takes.
pub fn fmt_float(f: f64, verb: u8, prec: Option<usize>) -> String {
    let mut out = String::new();
    if f.is_nan() {
        return String::from("NaN");
    }
    if f.is_infinite() {
        return String::from(if f < 0.0 { "-Inf" } else { "+Inf" });
    }
    if f.is_sign_negative() {
        out.push('-');
    }
    let f = f.abs();
    match verb {
        b'e' | b'E' => {
            let (d, exp) = digits(f, prec.map(|p| p.saturating_add(1)));
            exponent_form(&mut out, &d, exp, prec.unwrap_or(d.len().saturating_sub(1)), char::from(verb));
        }
        b'f' => match prec {
            Some(p) => {
                let (d, exp) = rounded_at(f, p);
                plain_form(&mut out, &d, exp, p);
            }
            None => {
                let (d, exp) = digits(f, None);
                plain_form(&mut out, &d, exp, places(&d, exp));
            }
        },
        b'b' | b'x' | b'X' => binary_form(&mut out, f, verb, prec),
        _ => {
            let (mut d, exp) = digits(f, prec.map(|p| p.max(1)));
            while prec.is_some() && d.len() > 1 && d.last() == Some(&b'0') {
                d.pop();
            }
            let len = i64::try_from(d.len()).unwrap_or(i64::MAX);
            // The shortest form turns to an exponent from 1e6 on, and below 1e-4.
            let mut limit = prec.map_or(6, |p| i64::try_from(p.max(1)).unwrap_or(i64::MAX));
            if prec.is_some() && limit > len && len > exp {
                limit = len;
            }
            if exp < -4 || exp >= limit {
                let letter = if verb == b'G' { 'E' } else { 'e' };
                exponent_form(&mut out, &d, exp, d.len().saturating_sub(1), letter);
            } else {
                plain_form(&mut out, &d, exp, places(&d, exp));
            }
        }
    }
    out
}

/// How many places after the point the digits need.
fn places(d: &[u8], exp: i64) -> usize {
    usize::try_from(i64::try_from(d.len()).unwrap_or(i64::MAX).saturating_sub(1).saturating_sub(exp)).unwrap_or(0)
}

/// `%b` (`4503599627370496p-52`) and `%x` (`0x1.8p+01`).
fn binary_form(out: &mut String, f: f64, verb: u8, prec: Option<usize>) {
    let bits = f.to_bits();
    let mut mantissa = bits & ((1 << 52) - 1);
    let mut exp = i64::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    if exp == 0 {
        exp = 1;
    } else {
        mantissa |= 1 << 52;
    }
    exp -= 1023;
    if verb == b'b' {
        out.push_str(&mantissa.to_string());
        out.push('p');
        exp -= 52;
        if exp >= 0 {
            out.push('+');
        }
        out.push_str(&exp.to_string());
        return;
    }
    if mantissa == 0 {
        exp = 0;
    }
    while mantissa != 0 && mantissa & (1 << 52) == 0 {
        mantissa <<= 1;
        exp -= 1;
    }
    let mut places = 13;
    match prec {
        Some(p) if p < 13 => {
            let shift = u32::try_from((13 - p) * 4).unwrap_or(0);
            let (cut, half) = (mantissa & ((1 << shift) - 1), 1_u64 << (shift - 1));
            mantissa >>= shift;
            if cut > half || (cut == half && mantissa & 1 == 1) {
                mantissa += 1;
            }
            mantissa <<= shift;
            if mantissa >> 53 != 0 {
                mantissa >>= 1;
                exp += 1;
            }
            places = p;
        }
        Some(p) => places = p,
        None => {
            while places > 0 && (mantissa >> ((13 - places) * 4)) & 15 == 0 {
                places -= 1;
            }
        }
    }
    out.push('0');
    out.push(char::from(verb));
    out.push(if mantissa >> 52 == 0 { '0' } else { '1' });
    if places > 0 {
        out.push('.');
        for i in 0..places {
            let nibble = if i < 13 { (mantissa >> ((12 - i) * 4)) & 15 } else { 0 };
            let c = char::from_digit(u32::try_from(nibble).unwrap_or(0), 16).unwrap_or('0');
            out.push(if verb == b'X' { c.to_ascii_uppercase() } else { c });
        }
    }
    out.push(if verb == b'X' { 'P' } else { 'p' });
    exponent(out, exp);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::{digits, fmt_float};

    /// The digits are those of core's printers, for all exponents, borders of powers of two and a run of others.
    #[test]
    fn digits_are_those_of_core() {
        let mut n = 88_172_645_463_325_252_u64;
        for i in 0..3_000_u64 {
            n ^= n << 13;
            n ^= n >> 7;
            n ^= n << 17;
            let bits = match i % 4 {
                0 => n >> 1,
                1 => (n % 2047) << 52 | (i % 3),
                2 => ((n % 1_000_000) as f64 / [1.0, 10.0, 1e3, 1e9][(n >> 40) as usize % 4]).to_bits(),
                _ => n >> (12 + i % 50),
            };
            let f = f64::from_bits(bits);
            if !f.is_finite() {
                continue;
            }
            for count in [None, Some(1 + (n >> 30) as usize % 25)] {
                let text = count.map_or(format!("{f:e}"), |c| format!("{:.*e}", c - 1, f));
                let (mantissa, exponent) = text.split_once('e').unwrap();
                let want = (mantissa.replace('.', "").into_bytes(), exponent.parse().unwrap());
                let (mut ours, point) = digits(f, count);
                ours.resize(want.0.len(), b'0');
                assert_eq!((ours, point), want, "{f:e} {count:?}");
            }
        }
    }

    #[test]
    fn floats_as_go_prints_them() {
        let cases: &[(f64, u8, Option<usize>, &str)] = &[
            (1.5, b'g', None, "1.5"),
            (65535.0, b'g', None, "65535"),
            (0.0, b'g', None, "0"),
            (123456789.0, b'g', None, "1.23456789e+08"),
            (999999.0, b'g', None, "999999"),
            (1e6, b'g', None, "1e+06"),
            (-0.0, b'g', None, "-0"),
            (0.0001, b'g', None, "0.0001"),
            (0.00001, b'g', None, "1e-05"),
            (100.0, b'g', Some(3), "100"),
            (1234.0, b'g', Some(3), "1.23e+03"),
            (0.1, b'g', Some(3), "0.1"),
            (3.0, b'e', Some(2), "3.00e+00"),
            (123456789.0, b'f', Some(0), "123456789"),
            (2.5, b'f', Some(0), "2"),
            (3.5, b'f', Some(0), "4"),
            (0.5, b'f', Some(0), "0"),
            (0.51, b'f', Some(0), "1"),
            (0.06, b'f', Some(1), "0.1"),
            (0.04, b'f', Some(1), "0.0"),
            (0.004, b'f', Some(1), "0.0"),
            (9.999, b'f', Some(2), "10.00"),
            (1e21, b'f', Some(1), "1000000000000000000000.0"),
            (-1.0, b'f', Some(3), "-1.000"),
            (f64::INFINITY, b'g', None, "+Inf"),
            (1.0, b'x', None, "0x1p+00"),
            (1.5, b'x', Some(3), "0x1.800p+00"),
            (1.0, b'b', None, "4503599627370496p-52"),
        ];
        for (f, verb, prec, want) in cases {
            assert_eq!(&fmt_float(*f, *verb, *prec), want, "{f} {}", char::from(*verb));
        }
    }
}
