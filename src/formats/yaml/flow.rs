//! Flow collections of YAML: `[a, b]` and `{a: b}`, over as many lines as they like. JSON's are such.

use super::{DEPTH, Parser, Props, Scalar, merge};
use crate::error::Result;
use crate::map::Map;
use crate::value::Value;

impl Parser<'_> {
    /// The collection that begins here.
    pub(super) fn flow(&mut self, depth: usize) -> Result<Value> {
        if depth > DEPTH {
            return Err(self.too_deep());
        }
        let start = self.at;
        let is_map = self.peek() == Some(b'{');
        let close = if is_map { b'}' } else { b']' };
        let depth = depth + 1;
        let mut items = Vec::new();
        let mut map = Map::new();
        let mut merged = Value::Nil;
        self.at += 1;
        loop {
            self.gap(true)?;
            match self.peek() {
                Some(b) if b == close => {
                    self.at += 1;
                    merge(&mut map, &merged);
                    return Ok(if is_map { Value::map(map) } else { Value::list(items) });
                }
                Some(b',') => return Err(self.fail(self.at, "expected a value before `,`")),
                _ => {}
            }
            let is_asked = self.peek() == Some(b'?') && self.ends(1);
            if is_asked {
                self.at += 1;
                self.gap(true)?;
            }
            let (at, line) = (self.at, self.line);
            let (value, key) = self.flow_node(depth)?;
            self.gap(true)?;
            // A key in quotes needs no space after its `:`.
            let near = is_map || is_asked || line == self.line;
            let is_pair =
                near && self.peek() == Some(b':') && (self.ends_key(true) || key.as_ref().is_none_or(|k| !k.plain));
            if is_map || is_pair || is_asked {
                let Some(key) = key else {
                    return Err(self.fail(at, "a key that is a list, a map or an alias is not supported"));
                };
                let mut value = Value::Nil;
                if is_pair {
                    self.at += 1;
                    self.gap(true)?;
                    value = self.flow_node(depth)?.0;
                }
                self.put(&mut map, &mut merged, key, value)?;
                if !is_map {
                    merge(&mut map, &std::mem::replace(&mut merged, Value::Nil));
                    items.push(Value::map(std::mem::take(&mut map)));
                }
            } else {
                items.push(value);
            }
            self.gap(true)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b) if b == close => {}
                None => return Err(self.fail(start, "this `[` or `{` is never closed")),
                _ if self.is_marker() => return Err(self.fail(start, "this `[` or `{` is never closed")),
                _ => return Err(self.fail(self.at, "expected `,` or the closing `]` or `}`")),
            }
        }
    }

    /// A value, perhaps an empty one, and what it is as a key when it can be one.
    fn flow_node(&mut self, depth: usize) -> Result<(Value, Option<Scalar>)> {
        let mut props = Props::default();
        while self.property(&mut props)? {
            self.gap(true)?;
        }
        let value = match self.peek() {
            Some(b'[' | b'{') => self.flow(depth)?,
            Some(b'*') => self.alias(depth)?,
            _ => {
                let is_empty = matches!(self.peek(), None | Some(b',' | b']' | b'}')) || self.ends_key(true);
                let scalar = match is_empty {
                    true => Scalar { at: self.at, text: String::new(), plain: true },
                    false => self.scalar(0, true)?,
                };
                return Ok((self.finish(&props, &scalar)?, Some(scalar)));
            }
        };
        Ok((self.collected(&props, value)?, None))
    }
}
