//! Points in time as Go's time package prints them: calendar and layouts, in UTC only (a scratch image holds no time
//! zone data). It never reads the clock.

use crate::sys::meter;
use crate::value::{Named, Time};

// Tables are texts cut at their spaces: a list of texts costs 24 bytes for each of them.
/// Months from January.
static MONTHS: &str = "January February March April May June July August September October November December";
/// Days from Sunday.
static DAYS: &str = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday";

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
    let (table, at, word) = match of {
        Named::Month => (MONTHS, n.wrapping_sub(1), "%!Month("),
        Named::Weekday => (DAYS, n, "%!Weekday("),
    };
    match usize::try_from(at).ok().and_then(|i| table.split(' ').nth(i)) {
        Some(s) => s.to_string(),
        None => [word, &n.to_string(), ")"].concat(),
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

/// The words of a layout that can be told by their start alone, longest first where one starts another, and what to
/// write for each: `>` a text, a digit that many digits of a field, or else see `write_word`.
static WORDS: &str = "January=B Jan=b Monday=A Mon=a MST=>UTC 2006=4y 002=3j __2=3j _2006=_ _2=2d 01=2m 02=2d 03=2I 04=2M \
    05=2S 06=2Y 15=2H 1=1m 2=1d 3=1I 4=1M 5=1S PM=P pm=p -07:00:00=>+00:00:00 -07:00=>+00:00 -070000=>+000000 \
    -0700=>+0000 -07=>+00 Z07:00:00=>Z Z07:00=>Z Z070000=>Z Z0700=>Z Z07=>Z";

/// A time by a layout in Go's terms ("2006-01-02 15:04:05").
pub fn format(t: Time, layout: &str) -> String {
    let c = civil(t);
    let mut out = String::with_capacity(layout.len() + 10);
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        let mut len = first.len_utf8();
        meter::charge(16); // every word is compared
        if meter::is_spent() {
            break;
        }
        if let Some(fraction) = fraction(rest) {
            len = fraction;
            write_fraction(&mut out, t.nanos, rest.get(..len).unwrap_or(""));
        } else {
            let mut words = WORDS.split(' ').filter_map(|w| w.split_once('='));
            let after = |w: &str| rest.get(w.len()..).unwrap_or("");
            match words.find(|(w, _)| rest.starts_with(w)) {
                // "Jan" and "Mon" are no words of the layout inside a longer word ("Month").
                Some((w, "b" | "a")) if after(w).starts_with(|x: char| x.is_ascii_lowercase()) => out.push(first),
                Some((w, what)) => {
                    len = w.len();
                    write_word(&mut out, &c, w, what);
                }
                None => out.push(first),
            }
        }
        rest = rest.get(len..).unwrap_or("");
    }
    out
}

fn write_word(out: &mut String, c: &Civil, word: &str, what: &str) {
    let bytes = what.as_bytes();
    let first = bytes.first().copied().unwrap_or(0);
    let (of, n) = if matches!(first, b'B' | b'b') { (Named::Month, c.month) } else { (Named::Weekday, c.weekday) };
    match first {
        b'>' => out.push_str(what.get(1..).unwrap_or("")),
        b'B' | b'A' => out.push_str(&name(of, n)),
        b'b' | b'a' => out.push_str(name(of, n).get(..3).unwrap_or("")),
        b'P' => out.push_str(if c.hour >= 12 { "PM" } else { "AM" }),
        b'p' => out.push_str(if c.hour >= 12 { "pm" } else { "am" }),
        b'_' => {
            out.push('_');
            padded(out, c.year, 4, '0');
        }
        _ => {
            let n = match bytes.get(1) {
                Some(b'y') => c.year,
                Some(b'Y') => c.year.rem_euclid(100),
                Some(b'j') => c.yearday,
                Some(b'm') => c.month,
                Some(b'd') => c.day,
                Some(b'H') => c.hour,
                Some(b'I') => (c.hour + 11) % 12 + 1,
                Some(b'M') => c.minute,
                _ => c.second,
            };
            padded(out, n, usize::from(first.wrapping_sub(b'0')), if word.starts_with('_') { ' ' } else { '0' });
        }
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
