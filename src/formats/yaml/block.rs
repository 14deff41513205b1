//! Block collections of YAML: what a line's indentation and its first characters make of it.

use super::{DEPTH, Map, Parser, Props, Scalar, merge};
use crate::error::Result;
use crate::value::Value;

impl Parser<'_> {
    /// A value below `parent` (the column of the collection it is in). `compact`: a collection may begin on this line
    /// already, as after `- `; without it, a list may stand in the parent's own column, as after `key:`.
    pub(super) fn node(&mut self, parent: Option<usize>, depth: usize, compact: bool) -> Result<Value> {
        if depth > DEPTH {
            return Err(self.fail(self.at, "more than 100 levels"));
        }
        let min = parent.map_or(0, |n| n.saturating_add(1));
        let line = self.line;
        let mut props = Props::default();
        loop {
            self.gap(false)?;
            let below = self.line != line;
            let is_list = self.peek() == Some(b'-') && self.ends(1);
            let least = if is_list && !compact { parent.unwrap_or(0) } else { min };
            if self.peek().is_none() || self.is_marker() || below && self.column() < least {
                return self.finish(&props, &Scalar { at: self.at, text: String::new(), plain: true });
            }
            if !self.property(&mut props)? {
                break;
            }
        }
        // What stands before a key on its line belongs to the key.
        let same_line = props.at > 0 && props.line == self.line;
        let start = if same_line { props.first } else { self.at };
        let column = start.saturating_sub(self.line);
        let may_begin = compact || self.line != line;
        match self.peek() {
            Some(b'-' | b'?') if self.ends(1) => {
                if !may_begin || same_line {
                    return Err(self.fail(self.at, "a list or map cannot begin here: expected it on a line of its own"));
                }
                let value = match self.peek() {
                    Some(b'-') => self.list(column, depth)?,
                    _ => self.map(column, None, depth)?,
                };
                self.collected(&props, value)
            }
            Some(b'|' | b'>') => {
                let scalar = self.block_scalar(parent)?;
                self.finish(&props, &scalar)
            }
            Some(b'*') => self.alias(&props, depth),
            Some(b'[' | b'{') => {
                let value = self.flow(depth)?;
                self.collected(&props, value)
            }
            _ => {
                let begin = self.line;
                let scalar = self.scalar(min, false)?;
                if begin != self.line || !self.ends_key(false) {
                    return self.finish(&props, &scalar);
                }
                if !may_begin {
                    return Err(self.fail(
                        scalar.at,
                        "a map cannot begin here: expected it on a line of its own, or quotes around text with `: `",
                    ));
                }
                let outer = if same_line { Props::default() } else { props };
                todo!()
            }
        }
    }
}
