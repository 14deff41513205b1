//! The functions that look outside: the clock, the environment, files, names of hosts. The look-ups of names may block
//! for as long as the resolver does; the design runs such renders on a worker.

use super::{distinct, text_arg};
use crate::error::Result;
use crate::map::Map;
use crate::sys::meter;
use crate::template::Context;
use crate::value::{Time, Value};
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in UTC: a scratch image holds no time zone data.
pub fn datetime(_: &Context, _: &[Value], _: u8) -> Result<Value> {
    meter::charge(LOOK / 2);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Value::Time(Time { secs: i64::try_from(now.as_secs()).unwrap_or(i64::MAX), nanos: now.subsec_nanos() }))
}

/// A variable of the environment, or the second argument when it is unset or empty.
pub fn getenv(ctx: &Context, args: &[Value], _: u8) -> Result<Value> {
    let found = (ctx.env)(text_arg(args, 0)).filter(|v| !v.is_empty());
    Ok(Value::str(found.as_deref().unwrap_or_else(|| text_arg(args, 1))))
}

/// What one look at a file costs, in steps; at a clock half as much, with what is made of it.
const LOOK: usize = 100;

/// Whether a file of this name exists; one that cannot be looked at does, as in confd.
pub fn file_exists(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    meter::charge(LOOK);
    let gone = std::fs::metadata(text_arg(args, 0)).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
    Ok(Value::Bool(!gone))
}

/// The host's name, as the kernel tells it.
pub fn hostname(_: &Context, _: &[Value], _: u8) -> Result<Value> {
    meter::charge(LOOK);
    Ok(Value::str(&crate::sys::host::name()))
}

/// The addresses of a host as sorted text; none when it has none. `wanted` 0 takes all, else 4 or 6 the version.
pub fn lookup(_: &Context, args: &[Value], wanted: u8) -> Result<Value> {
    let mut found = Vec::new();
    for ip in crate::dns::lookup(text_arg(args, 0)) {
        let kind = if ip.is_ipv4() { b'4' } else { b'6' };
        if wanted == b'0' || wanted == kind {
            found.push(Value::str(&ip.to_string()));
        }
    }
    Ok(distinct(found))
}

/// The servers of a service: a list of maps with Target, Port, Priority and Weight, sorted as confd sorts them, by the
/// text of all four. Empty when there is no such name; but an error, unlike in confd, when nobody knows: a name server
/// that is down must not empty a file.
pub fn lookup_srv(ctx: &Context, args: &[Value], _: u8) -> Result<Value> {
    let mut all = Map::new();
    for s in crate::dns::lookup_srv(text_arg(args, 0), text_arg(args, 1), text_arg(args, 2))? {
        let mut key = String::from(&s.target);
        let mut fields = vec![Value::str("Target"), Value::str(&s.target)];
        for (name, n) in [("Port", s.port), ("Priority", s.priority), ("Weight", s.weight)] {
            key.push_str(&n.to_string());
            fields.extend([Value::str(name), Value::Int(i64::from(n))]);
        }
        all.insert(key, super::data::map(ctx, &fields, 0)?);
    }
    super::data::entries(ctx, &[Value::map(all)], b'v')
}
