//! The part of ERB that reconfig's templates are written in, as Erubis and Ruby have it. pilotfish is no Ruby: exactly
//! the forms that the README lists are understood, and any other is refused when the template is compiled, with its
//! line. This file holds the two ends; `tags` cuts the text, `parse` reads expressions into the steps of `op`, `exec` runs
//! them, `ruby` is what Ruby's classes do.
//!
//! A hash is a list of pairs, so that it keeps its order: `Elem::Pairs` when it is in key order (then a look-up is a
//! binary search), `Elem::Pair` when it is in the order of a JSON text.

mod exec;
mod op;
mod parse;
mod ruby;
mod tags;

use crate::error::Result;
use crate::template::Context;
use crate::template::scope::Scope;

/// A compiled template.
pub struct Program {
    name: String,
    text: String,
    scope: Scope,
    ops: op::Ops,
}

/// The names of all methods, for the test of the documentation.
pub fn methods() -> Vec<&'static str> {
    ruby::METHODS.iter().map(|m| m.name).collect()
}

impl Program {
    /// Compiles `text`; `name` stands in errors.
    ///
    /// # Errors
    /// `Kind::Config`, with line, column and the line itself, at the first form that is not understood.
    pub fn compile(name: &str, text: &str, scope: &Scope) -> Result<Program> {
        let ops = tags::compile(name, text, &scope.pattern)?;
        Ok(Program { name: name.to_string(), text: text.to_string(), scope: scope.clone(), ops })
    }

    /// Renders.
    ///
    /// # Errors
    /// `Kind::MissingKey` when the watched key is not there; `Kind::Config` when a value has no such method, or at a
    /// limit.
    pub fn render(&self, ctx: &Context) -> Result<Vec<u8>> {
        exec::run(self, ctx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests;
