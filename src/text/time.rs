//! Points in time as Go's time package prints them: calendar and layouts, in UTC only (a scratch image holds no time
//! zone data). It never reads the clock.

use crate::value::{Named, Time};

/// Months from January.
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Days from Sunday.
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A date and a time of day.
pub struct Civil {
    /// Year.
    pub year: i64,
    /// 1 is January.
    pub month: i64,
    /// Day.
    pub day: i64,
    /// Hour.
    pub hour: i64,
    /// Minute.
    pub minute: i64,
    /// Second.
    pub second: i64,
    /// 0 is Sunday.
    pub weekday: i64,
    /// 1 is the first of January.
    pub yearday: i64,
}

/// Days since 1970-01-01 of a date of the Gregorian calendar; a month outside 1 to 12 carries into the year.
pub fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let months = year.saturating_mul(12).saturating_add(month.saturating_sub(1));
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    let y = if month <= 2 { year.saturating_sub(1) } else { year };
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5;
    let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era.saturating_mul(146_097).saturating_add(days - 719_468).saturating_add(day.saturating_sub(1))
}

/// What the calendar and the clock show.
pub fn civil(t: Time) -> Civil {
    let (days, rest) = (t.secs.div_euclid(86_400), t.secs.rem_euclid(86_400));
    let z = days + 719_468;
    let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Civil {
        year,
        month,
        day,
        hour: rest / 3_600,
        minute: rest / 60 % 60,
        second: rest % 60,
        weekday: (days + 4).rem_euclid(7),
        yearday: days - days_of(year, 1, 1) + 1,
    }
}

/// The name behind a month or a day of the week.
pub fn name(of: Named, n: i64) -> String {
    let (table, at, word): (&[&str], i64, &str) = match of {
        Named::Month => (&MONTHS, n.wrapping_sub(1), "%!Month("),
        Named::Weekday => (&DAYS, n, "%!Weekday("),
    };
    match usize::try_from(at).ok().and_then(|i| table.get(i)) {
        Some(s) => (*s).to_string(),
        None => {
            let mut s = String::from(word);
            s.push_str(&n.to_string());
            s.push(')');
            s
        }
    }
}

/// What Go prints for a time.
pub fn text(t: Time) -> String {
    format(t, "2006-01-02 15:04:05.999999999 -0700 MST")
}

/// Appends `n` with leading zeros up to `width`.
fn padded(out: &mut String, n: i64, width: usize, pad: char) {
    let text = n.unsigned_abs().to_string();
    if n < 0 {
        out.push('-');
    }
    for _ in text.len()..width {
        out.push(pad);
    }
    out.push_str(&text);
}

/// The words of a layout that can be told by their start alone, longest first where one starts another. The second
/// field says what to write.
static WORDS: &[(&str, u8)] = &[
    ("January", b'B'),
    ("Jan", b'b'),
    ("Monday", b'A'),
    ("Mon", b'a'),
    ("MST", b'Z'),
    ("2006", b'Y'),
    ("002", b'J'),
    ("__2", b'K'),
    ("_2006", b'_'),
    ("_2", b'e'),
    ("01", b'm'),
    ("02", b'd'),
    ("03", b'I'),
    ("04", b'M'),
    ("05", b'S'),
    ("06", b'y'),
    ("15", b'H'),
    ("1", b'n'),
    ("2", b'D'),
    ("3", b'i'),
    ("4", b'N'),
    ("5", b's'),
    ("PM", b'P'),
    ("pm", b'p'),
    ("-07:00:00", b'2'),
    ("-07:00", b'1'),
    ("-070000", b'3'),
    ("-0700", b'0'),
    ("-07", b'4'),
    ("Z07:00:00", b'U'),
    ("Z07:00", b'U'),
    ("Z070000", b'U'),
    ("Z0700", b'U'),
    ("Z07", b'U'),
];

/// A time by a layout in Go's terms ("2006-01-02 15:04:05").
pub fn format(t: Time, layout: &str) -> String {
    let c = civil(t);
    let mut out = String::with_capacity(layout.len() + 10);
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        if let Some(len) = fraction(rest) {
            write_fraction(&mut out, t.nanos, rest.get(..len).unwrap_or(""));
            rest = rest.get(len..).unwrap_or("");
            continue;
        }
        let word = WORDS.iter().find(|(w, _)| rest.starts_with(w));
        let after = |w: &str| rest.get(w.len()..).unwrap_or("");
        match word {
            // "Jan" and "Mon" are no words of the layout inside a longer word ("Month").
            Some((w, b'b' | b'a')) if after(w).starts_with(|x: char| x.is_ascii_lowercase()) => {
                out.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or("");
            }
            Some((w, what)) => {
                write_word(&mut out, &c, *what);
                rest = after(w);
            }
            None => {
                out.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or("");
            }
        }
    }
    out
}

fn write_word(out: &mut String, c: &Civil, what: u8) {
    let twelve = if c.hour % 12 == 0 { 12 } else { c.hour % 12 };
    match what {
        b'B' => out.push_str(&name(Named::Month, c.month)),
        b'b' => out.push_str(name(Named::Month, c.month).get(..3).unwrap_or("")),
        b'A' => out.push_str(&name(Named::Weekday, c.weekday)),
        b'a' => out.push_str(name(Named::Weekday, c.weekday).get(..3).unwrap_or("")),
        b'Z' => out.push_str("UTC"),
        b'Y' => padded(out, c.year, 4, '0'),
        b'_' => {
            out.push('_');
            padded(out, c.year, 4, '0');
        }
        b'y' => padded(out, c.year.rem_euclid(100), 2, '0'),
        b'J' => padded(out, c.yearday, 3, '0'),
        b'K' => padded(out, c.yearday, 3, ' '),
        b'm' => padded(out, c.month, 2, '0'),
        b'n' => padded(out, c.month, 1, '0'),
        b'd' => padded(out, c.day, 2, '0'),
        b'e' => padded(out, c.day, 2, ' '),
        b'D' => padded(out, c.day, 1, '0'),
        b'H' => padded(out, c.hour, 2, '0'),
        b'I' => padded(out, twelve, 2, '0'),
        b'i' => padded(out, twelve, 1, '0'),
        b'M' => padded(out, c.minute, 2, '0'),
        b'N' => padded(out, c.minute, 1, '0'),
        b'S' => padded(out, c.second, 2, '0'),
        b's' => padded(out, c.second, 1, '0'),
        b'P' => out.push_str(if c.hour >= 12 { "PM" } else { "AM" }),
        b'p' => out.push_str(if c.hour >= 12 { "pm" } else { "am" }),
        b'0' => out.push_str("+0000"),
        b'1' => out.push_str("+00:00"),
        b'2' => out.push_str("+00:00:00"),
        b'3' => out.push_str("+000000"),
        b'4' => out.push_str("+00"),
        _ => out.push('Z'),
    }
}

/// How long a fraction of a second at the start of `s` is: a point or comma, then only 0s or only 9s, then no digit.
fn fraction(s: &str) -> Option<usize> {
    let b = s.as_bytes();
    if !matches!(b.first(), Some(b'.' | b',')) {
        return None;
    }
    let kind = *b.get(1)?;
    if kind != b'0' && kind != b'9' {
        return None;
    }
    let n = b.iter().skip(1).take_while(|c| **c == kind).count();
    match b.get(n + 1) {
        Some(c) if c.is_ascii_digit() => None,
        _ => Some(n + 1),
    }
}

fn write_fraction(out: &mut String, nanos: u32, pattern: &str) {
    let mut all = String::new();
    padded(&mut all, i64::from(nanos), 9, '0');
    let n = (pattern.len() - 1).min(9);
    let mut shown = all.get(..n).unwrap_or("");
    if pattern.ends_with('9') {
        shown = shown.trim_end_matches('0');
        if shown.is_empty() {
            return;
        }
    }
    out.push_str(pattern.get(..1).unwrap_or("."));
    out.push_str(shown);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        let t = Time { secs: 1_700_000_009, nanos: 120_000_000 }; // 2023-11-14 22:13:29.12 UTC, a Tuesday
        let cases: &[(&str, &str)] = &[
            ("2006-01-02T15:04:05Z07:00", "2023-11-14T22:13:29Z"),
            ("Mon Jan _2 15:04:05 MST 2006", "Tue Nov 14 22:13:29 UTC 2023"),
            ("Monday, 02-Jan-06 3:04PM", "Tuesday, 14-Nov-23 10:13PM"),
            ("15:04:05.000", "22:13:29.120"),
            ("15:04:05.999999", "22:13:29.12"),
            ("05,000", "29,120"),
            ("2006 002", "2023 318"),
            ("-0700 -07:00", "+0000 +00:00"),
            ("1/2/06 4 5 pm", "11/14/23 13 29 pm"),
            ("Month: January", "Month: November"),
            ("v2006.01", "v2023.11"),
        ];
        for (layout, want) in cases {
            assert_eq!(&format(t, layout), want, "{layout}");
        }
        assert_eq!(text(t), "2023-11-14 22:13:29.12 +0000 UTC");
        assert_eq!(format(Time { secs: -1, nanos: 0 }, "2006-01-02 15:04:05"), "1969-12-31 23:59:59");
        assert_eq!(format(Time { secs: 951_782_400, nanos: 0 }, "2006-01-02 Mon 002"), "2000-02-29 Tue 060");
    }
}
