//! Block collections of YAML: what a line's indentation and its first characters make of it.

use super::{DEPTH, Parser, Props, Scalar, is_blank, merge};
use crate::error::Result;
use crate::map::Map;
use crate::value::Value;

impl Parser<'_> {
    /// A value below `parent` (the column of the collection it is in). `compact`: a collection may begin on this line
    /// already, as after `- `; without it, a list may stand in the parent's own column, as after `key:`.
    pub(super) fn node(&mut self, parent: Option<usize>, depth: usize, compact: bool) -> Result<Value> {
        if depth > DEPTH {
            return Err(self.too_deep());
        }
        let min = parent.map_or(0, |n| n + 1);
        let line = self.line;
        let (mut outer, mut props) = (Props::default(), Props::default());
        loop {
            self.gap(false)?;
            // What stands on a line before that of a key belongs to the map.
            if props.is_set() && props.line != self.line && !outer.is_set() {
                outer = std::mem::take(&mut props);
            }
            let is_list = self.peek() == Some(b'-') && self.ends(1);
            let least = if is_list && !compact { parent.unwrap_or(0) } else { min };
            if self.peek().is_none() || self.is_marker() || self.line != line && self.column() < least {
                let empty = Scalar { at: self.at, text: String::new(), plain: true };
                return self.finish(if props.is_set() { &props } else { &outer }, &empty);
            }
            if !self.property(&mut props)? {
                break;
            }
        }
        let start = if props.is_set() { props.at } else { self.at };
        let column = start.saturating_sub(self.line);
        let may_begin = compact || self.line != line;
        let is_sign = self.ends(1);
        if matches!(self.peek(), Some(b'-' | b'?')) && is_sign {
            if !may_begin || props.is_set() {
                return Err(self.fail(self.at, "a list or map cannot begin here: expected it on a line of its own"));
            }
            let value = match self.peek() {
                Some(b'-') => self.list(column, depth)?,
                _ => self.map(column, None, depth)?,
            };
            return self.collected(&outer, value);
        }
        let begin = self.line;
        let mut scalar = None;
        let mut value = Value::Nil;
        match self.peek() {
            Some(b'|' | b'>') => scalar = Some(self.block_scalar(parent)?),
            Some(b'[' | b'{') => value = self.flow(depth)?,
            Some(b'*') => value = self.alias(depth)?,
            _ => {
                let found = self.scalar(min, false)?;
                if begin == self.line && self.ends_key(false) {
                    if !may_begin {
                        let message =
                            "a map cannot begin here: expected it on a line of its own; text with `: ` needs quotes";
                        return Err(self.fail(found.at, message));
                    }
                    self.finish(&props, &found)?;
                    let value = self.map(column, Some(found), depth)?;
                    return self.collected(&outer, value);
                }
                scalar = Some(found);
            }
        }
        if outer.is_set() {
            if props.is_set() {
                return Err(self.fail(props.at, "expected all that stands before a value on one line"));
            }
            props = outer;
        }
        match scalar {
            Some(scalar) => self.finish(&props, &scalar),
            None => self.collected(&props, value),
        }
    }

    fn list(&mut self, column: usize, depth: usize) -> Result<Value> {
        let mut items = Vec::new();
        loop {
            self.at += 1;
            items.push(self.node(Some(column), depth + 1, true)?);
            if !self.goes_on(column)? || self.peek() != Some(b'-') || !self.ends(1) {
                return Ok(Value::list(items));
            }
        }
    }

    /// A map whose first key may have been read.
    fn map(&mut self, column: usize, first: Option<Scalar>, depth: usize) -> Result<Value> {
        let mut map = Map::new();
        let mut merged = Value::Nil;
        let mut first = first;
        loop {
            let is_asked = first.is_none() && self.peek() == Some(b'?') && self.ends(1);
            if is_asked {
                self.at += 1;
                self.gap(false)?;
                if matches!(self.peek(), Some(b'[' | b'{')) || self.peek() == Some(b'-') && self.ends(1) {
                    return Err(self.fail(self.at, "a key that is a list or a map is not supported"));
                }
            }
            let key = match first.take() {
                Some(key) => key,
                None => {
                    let mut props = Props::default();
                    while self.property(&mut props)? {
                        self.take(is_blank);
                    }
                    let begin = self.line;
                    let is_block = is_asked && matches!(self.peek(), Some(b'|' | b'>'));
                    let key = match is_block {
                        true => self.block_scalar(Some(column))?,
                        false => self.scalar(column + 1, false)?,
                    };
                    let is_key = is_block || (is_asked || begin == self.line) && is_asked != self.ends_key(false);
                    if !is_key {
                        return Err(self.fail(key.at, "expected a key, plain or quoted text on one line, and `:`"));
                    }
                    self.finish(&props, &key)?;
                    key
                }
            };
            let value = if !is_asked || self.goes_on(column)? && self.peek() == Some(b':') && self.ends(1) {
                self.take(is_blank);
                self.at += 1;
                self.node(Some(column), depth + 1, is_asked)?
            } else {
                Value::Nil
            };
            self.put(&mut map, &mut merged, key, value)?;
            if !self.goes_on(column)? {
                merge(&mut map, &merged);
                return Ok(Value::map(map));
            }
        }
    }

    /// Goes to what comes next. True when it is one more entry of the collection in this column.
    fn goes_on(&mut self, column: usize) -> Result<bool> {
        self.gap(false)?;
        if self.peek().is_none() || self.is_marker() {
            return Ok(false);
        }
        match self.is_fresh() && self.column() <= column {
            true => Ok(self.column() == column),
            false => Err(self.misplaced()),
        }
    }
}
