//! The functions over paths; what a path means is `text::path`'s.

use super::text_arg;
use crate::error::Result;
use crate::template::Context;
use crate::text::path;
use crate::value::Value;

/// The last word of a path.
pub fn base_of(_: &Context, args: &[Value]) -> Result<Value> {
    Ok(Value::str(path::base(text_arg(args, 0))))
}

/// All but the last word of a path.
pub fn dir_of(_: &Context, args: &[Value]) -> Result<Value> {
    Ok(Value::str(&path::dir(text_arg(args, 0))))
}
