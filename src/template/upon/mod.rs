//! The native dialect: the language of the `upon` engine over the common table of functions. A template is compiled once
//! and rendered often. This file holds the two ends; `lex` and `parse` make the tree, `exec` walks it, `fit` makes
//! arguments fit the functions. `include` is not available.
//!
//! As in upon: nothing prints as an empty text, lists and maps cannot be printed, nothing is escaped.

mod exec;
mod fit;
mod lex;
mod parse;

use crate::error::Result;
use crate::template::Context;
use crate::template::scope::Scope;

/// A compiled template.
pub struct Program {
    name: String,
    text: String,
    nodes: Vec<parse::Node>,
    scope: Option<Scope>,
}

impl Program {
    /// Compiles `text`; `name` stands in errors.
    ///
    /// # Errors
    /// `Kind::Config`, with line, column and the line itself, when `text` is no template, names an unknown function or
    /// gives one too few or too many arguments.
    pub fn compile(name: &str, text: &str) -> Result<Program> {
        let nodes = parse::parse(name, text)?;
        Ok(Program { name: name.to_string(), text: text.to_string(), nodes, scope: None })
    }

    /// The same with these names.
    pub fn with(self, scope: &Scope) -> Program {
        Program { scope: Some(scope.clone()), ..self }
    }

    /// Renders.
    ///
    /// # Errors
    /// `Kind::MissingKey` when a function says so, `Kind::Config` for what the template does wrong or a render larger
    /// than `ctx.max_output`.
    pub fn render(&self, ctx: &Context) -> Result<Vec<u8>> {
        exec::run(self, ctx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests;
