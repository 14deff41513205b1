//! Writes floating-point numbers the way Go's strconv does. The only place in the crate where a template's float
//! becomes text; it never decides width, sign flags or padding.

/// More digits than any f64 has: asking core for more only costs time (and it refuses past 65,535).
const EXACT: usize = 800;

/// The decimal digits of `f` (positive, finite) and the exponent of the first: `d.ddd` times ten to that power.
/// `count`: round to so many digits, else the fewest that read back as the same number.
fn digits(f: f64, count: Option<usize>) -> (Vec<u8>, i64) {
    let text = match count {
        Some(n) => format!("{:.*e}", n.clamp(1, EXACT) - 1, f),
        None => format!("{f:e}"),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.bytes().filter(|c| *c != b'.').collect(), exponent.parse().unwrap_or(0))
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
    use super::fmt_float;

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
