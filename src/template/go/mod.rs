//! Go's text/template: a program is compiled once and rendered often. This file holds the two ends; `lex`, `parse`
//! and `node` make the tree, `exec` and `args` walk it, `fmt`, `number` and `time` are Go's ways with
//! values.

mod args;
mod exec;
pub mod fmt;
mod lex;
mod node;
mod number;
mod parse;
pub mod time;

use crate::error::Result;
use crate::template::{Context, funcs};
use crate::value::Value;

/// A compiled template: itself and what it defines, by name.
pub struct Program {
    name: String,
    text: String,
    defined: parse::Defined,
    /// A field that is not there is empty text; else it is nil, which is printed as `<no value>`.
    is_zero: bool,
}

impl Program {
    /// Compiles `text`; `name` stands in errors.
    ///
    /// # Errors
    /// When `text` is no template, or names an unknown function or variable.
    pub fn compile(name: &str, text: &str) -> Result<Program> {
        let defined = parse::parse(name, text, funcs::find)?;
        Ok(Program { name: name.to_string(), text: text.to_string(), defined, is_zero: false })
    }

    /// The same for ContainerPilot's configuration: with its functions, and what is not in the environment is empty.
    ///
    /// # Errors
    /// As `compile`.
    pub fn compile_pilot(name: &str, text: &str) -> Result<Program> {
        let defined = parse::parse(name, text, funcs::find_pilot)?;
        Ok(Program { name: name.to_string(), text: text.to_string(), defined, is_zero: true })
    }

    /// Renders; `root` is the first dot, nil for confd's templates.
    ///
    /// # Errors
    /// `Kind::MissingKey` when a key is missing; else what the function, the types or a limit say.
    pub fn render(&self, ctx: &Context, root: &Value) -> Result<Vec<u8>> {
        exec::run(self, ctx, root)
    }
}

/// Appends the line of `text` that holds the byte `pos`, with its number, and a mark under the column.
pub fn show_line(out: &mut String, text: &str, pos: usize) {
    let before = text.get(..pos).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    let line = text.get(start..).unwrap_or("").lines().next().unwrap_or("");
    let number = (before.bytes().filter(|b| *b == b'\n').count() + 1).to_string();
    out.push_str("\n  ");
    out.push_str(&number);
    out.push_str(" | ");
    out.extend(line.chars().take(200));
    out.push_str("\n  ");
    out.extend(number.chars().map(|_| ' '));
    out.push_str(" | ");
    // Tabs stay tabs, so that the mark stands under its column.
    out.extend(before.get(start..).unwrap_or("").chars().take(200).map(|c| if c == '\t' { c } else { ' ' }));
    out.push('^');
}

#[cfg(test)]
mod tests;
