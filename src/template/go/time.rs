//! The methods of Go's time.Time that templates may call: fields, arithmetic, layouts. It never reads the clock.

use crate::error::{Error, Result};
use crate::text::time::{civil, days_of, format, text};
use crate::value::{Named, Time, Value};

/// The methods a template may call, with their parameters as in the table of functions (`t`: a time).
pub static METHODS: &[(&str, &str)] = &[
    ("Add", "i"),
    ("AddDate", "iii"),
    ("After", "t"),
    ("Before", "t"),
    ("Day", ""),
    ("Equal", "t"),
    ("Format", "s"),
    ("Hour", ""),
    ("IsZero", ""),
    ("Local", ""),
    ("Minute", ""),
    ("Month", ""),
    ("Nanosecond", ""),
    ("Second", ""),
    ("String", ""),
    ("UTC", ""),
    ("Unix", ""),
    ("UnixMicro", ""),
    ("UnixMilli", ""),
    ("UnixNano", ""),
    ("Weekday", ""),
    ("Year", ""),
    ("YearDay", ""),
];

/// Calls a method of a time. `args` fit `METHODS`.
///
/// # Errors
/// When a result does not fit.
pub fn call(t: Time, method: &str, args: &[Value]) -> Result<Value> {
    let int = |at: usize| match args.get(at) {
        Some(Value::Int(n)) => *n,
        _ => 0,
    };
    let other = match args.first() {
        Some(Value::Time(o)) => *o,
        _ => t,
    };
    let c = civil(t);
    Ok(match method {
        "Add" => {
            let nanos = i64::from(t.nanos) + int(0).rem_euclid(1_000_000_000);
            let secs = t.secs.checked_add(int(0).div_euclid(1_000_000_000)).ok_or_else(too_far)?;
            Value::Time(Time {
                secs: secs.checked_add(nanos / 1_000_000_000).ok_or_else(too_far)?,
                nanos: u32::try_from(nanos % 1_000_000_000).unwrap_or(0),
            })
        }
        "AddDate" => {
            let limit = 1_000_000;
            if [int(0), int(1), int(2)].iter().any(|n| n.unsigned_abs() > limit) || c.year.unsigned_abs() > limit {
                return Err(too_far());
            }
            let days = days_of(c.year + int(0), c.month + int(1), c.day).saturating_add(int(2));
            let secs = days.checked_mul(86_400).and_then(|s| s.checked_add(t.secs.rem_euclid(86_400)));
            Value::Time(Time { secs: secs.ok_or_else(too_far)?, nanos: t.nanos })
        }
        "After" => Value::Bool(t > other),
        "Before" => Value::Bool(t < other),
        "Equal" => Value::Bool(t == other),
        "IsZero" => Value::Bool(t.nanos == 0 && t.secs == days_of(1, 1, 1).saturating_mul(86_400)),
        "Format" => Value::str(&format(t, args.first().and_then(Value::as_str).unwrap_or(""))),
        "String" => Value::str(&text(t)),
        "Day" => Value::Int(c.day),
        "Hour" => Value::Int(c.hour),
        "Minute" => Value::Int(c.minute),
        "Second" => Value::Int(c.second),
        "Nanosecond" => Value::Int(i64::from(t.nanos)),
        "Year" => Value::Int(c.year),
        "YearDay" => Value::Int(c.yearday),
        "Month" => Value::Named(Named::Month, c.month),
        "Weekday" => Value::Named(Named::Weekday, c.weekday),
        "Unix" => Value::Int(t.secs),
        "UnixMilli" => Value::Int(t.secs.wrapping_mul(1_000).wrapping_add(i64::from(t.nanos / 1_000_000))),
        "UnixMicro" => Value::Int(t.secs.wrapping_mul(1_000_000).wrapping_add(i64::from(t.nanos / 1_000))),
        "UnixNano" => Value::Int(t.secs.wrapping_mul(1_000_000_000).wrapping_add(i64::from(t.nanos))),
        // "UTC" and "Local": there is one time zone.
        _ => Value::Time(t),
    })
}

fn too_far() -> Error {
    Error::config("the result is outside the time.Time range")
}
