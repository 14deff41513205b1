//! ContainerPilot's own functions, whose last argument is the text, so that it can be piped in. Those that are not here
//! are confd's.

use super::regex::Regex;
use super::{Func, builtin, check_bytes, f, fail, strings, text, text_arg};
use crate::error::Result;
use crate::template::Context;
use crate::value::Value;

/// What is another than the function of its name elsewhere.
pub static TABLE: &[Func] = &[
    f("index", b"aa*", index, 0),
    f("join", b"sS", turned, b'j'),
    f("regexReplaceAll", b"sss", regex_replace_all, 0),
    f("replaceAll", b"sss", turned, b'r'),
    f("split", b"ss", turned, b's'),
];

/// What is not there is empty.
fn index(ctx: &Context, args: &[Value], op: u8) -> Result<Value> {
    let found = builtin::index(ctx, args, op)?;
    Ok(if matches!(found, Value::Nil) { Value::str("") } else { found })
}

/// The same function as elsewhere, with its arguments in the other order. There is nothing to split in a text of white
/// space, and what surrounds a text does not count.
fn turned(ctx: &Context, args: &[Value], op: u8) -> Result<Value> {
    let (Some(first), Some(last)) = (args.first(), args.last()) else { return Ok(Value::Nil) };
    match op {
        b'j' => text::join(ctx, &[last.clone(), first.clone()], 0),
        b'r' => {
            let to = args.get(1).unwrap_or(first);
            text::replace(ctx, &[last.clone(), first.clone(), to.clone(), Value::Int(-1)], 0)
        }
        _ => match text_arg(args, 1).trim() {
            "" => Ok(strings(Vec::new())),
            bare => text::split(ctx, &[Value::str(bare), first.clone()], 0),
        },
    }
}

/// Each match of the first argument in the third replaced by the second.
fn regex_replace_all(_: &Context, args: &[Value], _: u8) -> Result<Value> {
    match Regex::new(text_arg(args, 0)) {
        Ok(regex) => {
            let made = regex.replace_all(text_arg(args, 2), text_arg(args, 1));
            check_bytes(made.len())?;
            Ok(Value::str(&made))
        }
        Err(why) => fail("%", &[&why]),
    }
}
