//! The methods of Go's time.Time that templates may call: fields, arithmetic, layouts. It never reads the clock.

use crate::error::{Error, Result};
use crate::template::Context;
use crate::template::funcs::{Func, f, int_arg, text_arg};
use crate::text::time::{civil, days_of, format, name, text};
use crate::value::{Named, Time, Value};

/// The methods a template may call, their receiver first (`t`: a time).
pub static METHODS: &[Func] = &[
    f("Add", b"ti", call, b'+'),
    f("AddDate", b"tiii", call, b'd'),
    f("After", b"tt", call, b'>'),
    f("Before", b"tt", call, b'<'),
    f("Day", b"t", call, b'D'),
    f("Equal", b"tt", call, b'='),
    f("Format", b"ts", call, b'F'),
    f("Hour", b"t", call, b'H'),
    f("IsZero", b"t", call, b'Z'),
    f("Local", b"t", call, b'L'),
    f("Minute", b"t", call, b'M'),
    f("Month", b"t", call, b'm'),
    f("Nanosecond", b"t", call, b'N'),
    f("Second", b"t", call, b'S'),
    f("String", b"t", call, b's'),
    f("UTC", b"t", call, b'L'),
    f("Unix", b"t", call, b'U'),
    f("UnixMicro", b"t", call, b'u'),
    f("UnixMilli", b"t", call, b'l'),
    f("UnixNano", b"t", call, b'n'),
    f("Weekday", b"t", call, b'w'),
    f("Year", b"t", call, b'Y'),
    f("YearDay", b"t", call, b'y'),
];

/// Calls a method of a time, or the `String` of a month or a day of the week.
///
/// # Errors
/// When a result does not fit.
fn call(_: &Context, args: &[Value], op: u8) -> Result<Value> {
    let t = match args.first() {
        Some(Value::Time(t)) => *t,
        Some(Value::Named(of, n)) => return Ok(Value::str(&name(*of, *n))),
        _ => return Ok(Value::Nil),
    };
    let int = |at: usize| int_arg(args, at + 1);
    let other = match args.get(1) {
        Some(Value::Time(o)) => *o,
        _ => t,
    };
    let c = civil(t);
    Ok(match op {
        b'+' => {
            let nanos = i64::from(t.nanos) + int(0).rem_euclid(1_000_000_000);
            let secs = t.secs.checked_add(int(0).div_euclid(1_000_000_000)).ok_or_else(too_far)?;
            Value::Time(Time {
                secs: secs.checked_add(nanos / 1_000_000_000).ok_or_else(too_far)?,
                nanos: u32::try_from(nanos % 1_000_000_000).unwrap_or(0),
            })
        }
        b'd' => {
            let limit = 1_000_000;
            if [int(0), int(1), int(2)].iter().any(|n| n.unsigned_abs() > limit) || c.year.unsigned_abs() > limit {
                return Err(too_far());
            }
            let days = days_of(c.year + int(0), c.month + int(1), c.day).saturating_add(int(2));
            let secs = days.checked_mul(86_400).and_then(|s| s.checked_add(t.secs.rem_euclid(86_400)));
            Value::Time(Time { secs: secs.ok_or_else(too_far)?, nanos: t.nanos })
        }
        b'>' => Value::Bool(t > other),
        b'<' => Value::Bool(t < other),
        b'=' => Value::Bool(t == other),
        b'Z' => Value::Bool(t.nanos == 0 && t.secs == days_of(1, 1, 1).saturating_mul(86_400)),
        b'F' => Value::str(&format(t, text_arg(args, 1))),
        b's' => Value::str(&text(t)),
        b'D' => Value::Int(c.day),
        b'H' => Value::Int(c.hour),
        b'M' => Value::Int(c.minute),
        b'S' => Value::Int(c.second),
        b'N' => Value::Int(i64::from(t.nanos)),
        b'Y' => Value::Int(c.year),
        b'y' => Value::Int(c.yearday),
        b'm' => Value::Named(Named::Month, c.month),
        b'w' => Value::Named(Named::Weekday, c.weekday),
        b'U' => Value::Int(t.secs),
        b'l' => Value::Int(t.secs.wrapping_mul(1_000).wrapping_add(i64::from(t.nanos / 1_000_000))),
        b'u' => Value::Int(t.secs.wrapping_mul(1_000_000).wrapping_add(i64::from(t.nanos / 1_000))),
        b'n' => Value::Int(t.secs.wrapping_mul(1_000_000_000).wrapping_add(i64::from(t.nanos))),
        // "UTC" and "Local": there is one time zone.
        _ => Value::Time(t),
    })
}

fn too_far() -> Error {
    Error::config("the result is outside the time.Time range")
}
