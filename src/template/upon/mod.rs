//! The native dialect: the `upon` engine over the common table of functions. A template is rewritten (see `scan`),
//! compiled once and rendered often. It decides what values look like when they are printed and how errors read; the
//! functions themselves, and what upon's blocks mean, are decided elsewhere. `include` is not available.
//!
//! As in upon: nothing prints as an empty text, lists and maps cannot be printed, nothing is escaped.

mod convert;
mod scan;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use ::upon::fmt::Formatter;
use ::upon::{Engine, Value as Theirs, ValueAccess, ValueAccessOp, ValueMember};

use crate::error::{Error, Result};
use crate::formats::error_at;
use crate::map::Map;
use crate::sys::meter;
use crate::template::Context;
use crate::template::budget::Budget;
use crate::template::scope::{Keys, Scope};
use crate::text::{fill, float};
use crate::value::Value;
use convert::Closed;
use scan::{Scan, What};

/// The functions whose subject is their last argument, as they were made for Go's pipelines: a filter puts the piped
/// value there, so that `x | default: "y"` means what it says.
const SUBJECT_LAST: [&str; 6] = ["default", "indent", "nindent", "printf", "repeat", "ternary"];

/// A compiled template.
pub struct Program {
    name: String,
    text: String,
    scan: Scan,
    template: ::upon::Template<'static>,
    scope: Option<Scope>,
}

/// The arguments of the call that comes next. One per render: upon's functions must be `'static` and shareable.
type Aside = Arc<Mutex<Call>>;

/// A call on its way: see `scan` for its three steps.
#[derive(Default)]
struct Call {
    head: Theirs,
    rest: Theirs,
    /// The look-up was made: what comes next is the last step.
    is_done: bool,
}

impl Program {
    /// Compiles `text`; `name` stands in errors.
    ///
    /// # Errors
    /// `Kind::Config`, with line, column and the line itself, when `text` is no template, names an unknown function or
    /// gives one too few or too many arguments.
    pub fn compile(name: &str, text: &str) -> Result<Program> {
        let mut scan = scan::rewrite(name, text)?;
        let source = std::mem::take(&mut scan.text);
        let mut engine = Engine::new();
        engine.set_default_formatter(&print);
        match engine.compile(source.clone()) {
            Ok(template) => Ok(Program { name: name.to_string(), text: text.to_string(), scan, template, scope: None }),
            Err(e) => Err(place(name, text, &scan, &source, &e)),
        }
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
        let aside = Aside::default();
        let budget = Budget::new();
        let engine = engine(&aside);
        let failed = RefCell::new(None);
        let closed = Closed::new(ctx);
        let names = names(self.scope.as_ref(), ctx, &closed)?;
        let mut out = Output { bytes: Vec::new(), most: ctx.max_output, is_full: false };
        let look = |path: &[ValueMember]| match path {
            [
                ValueMember { access: ValueAccess::Key(scan::CALLS), .. },
                ValueMember { access: ValueAccess::Index(n), .. },
            ] => self.call(ctx, *n, &aside, &closed, &budget).map_err(|e| {
                failed.replace(Some((*n, e)));
                String::new()
            }),
            [ValueMember { access: ValueAccess::Key(name), .. }, rest @ ..] if names.iter().any(|(n, _)| n == name) => {
                follow(names.iter().find(|(n, _)| n == name).map(|(_, v)| v), rest)
            }
            // `{% if ?.name %}` asks whether there is such a name.
            [ValueMember { op: ValueAccessOp::Optional, .. }, ..] => Ok(Theirs::None),
            // upon comes here for `x?.name` too, when x is the variable of a loop and has no such field.
            [ValueMember { access: ValueAccess::Key(name), .. }, rest @ ..]
                if rest.iter().any(|m| m.op == ValueAccessOp::Optional)
                    && self.scan.loops.iter().any(|n| n == name) =>
            {
                Ok(Theirs::None)
            }
            [ValueMember { access: ValueAccess::Key(name), .. }, ..] => Err(unknown(name)),
            _ => Err("not found".to_string()),
        };
        let done = self.template.render_from_fn(&engine, look).to_writer(&mut out);
        let Err(e) = done else { return Ok(out.bytes) };
        if let Some((n, e)) = failed.take() {
            let at = self.scan.sites.get(n).map_or(0, |site| site.at);
            return Err(Error::new(e.kind, error_at(&self.name, &self.text, at, &e.text).into_text()));
        }
        if out.is_full {
            let mut text = self.name.clone();
            text.push_str(": the output is larger than ");
            text.push_str(&ctx.max_output.to_string());
            text.push_str(" bytes");
            return Err(Error::config(text));
        }
        Err(place(&self.name, &self.text, &self.scan, self.template.source(), &e))
    }

    /// Call `n` of the template, with the arguments that were put aside.
    #[inline(never)]
    fn call(&self, ctx: &Context, n: usize, aside: &Aside, closed: &Closed, budget: &Budget) -> Result<Theirs> {
        let within = || budget.exceeded().map_or(Ok(()), |why| Err(Error::config(why)));
        let (callee, is_filter) = match self.scan.sites.get(n).map(|site| &site.what) {
            Some(What::Call(callee)) => (callee, false),
            Some(What::Filter(callee)) => (callee, true),
            Some(What::Text(text)) => return Ok(Theirs::String(text.clone())),
            Some(What::Turn(bytes)) => {
                // What stands in a loop costs by its length, as it may call nothing.
                meter::charge(1 + bytes / 16);
                return within().map(|()| Theirs::None);
            }
            Some(What::Read) => {
                aside.lock().unwrap_or_else(PoisonError::into_inner).is_done = true;
                return within().map(|()| Theirs::None);
            }
            None => return Ok(Theirs::None),
        };
        let mut done = Call { is_done: true, ..Call::default() };
        std::mem::swap(&mut done, &mut *aside.lock().unwrap_or_else(PoisonError::into_inner));
        let deep = || Error::config(fill("%: a value is nested more than 100 levels deep", &[callee.name]));
        let mut args = Vec::new();
        if is_filter {
            args.push(convert::from_upon(&done.head, closed, 0).ok_or_else(deep)?);
        }
        if let Theirs::List(list) = &done.rest {
            for value in list {
                args.push(convert::from_upon(value, closed, 0).ok_or_else(deep)?);
            }
        }
        if is_filter && SUBJECT_LAST.contains(&callee.name) {
            args.rotate_left(1);
        }
        convert::fit(callee, &mut args).map_err(Error::config)?;
        callee.charge(&args);
        within()?;
        let result = callee.run(ctx, &args)?;
        // What is not needed any more makes room for the copy.
        drop(args);
        drop(done);
        let result = convert::into_upon(&result, closed, 0).ok_or_else(deep)?;
        within().map(|()| result)
    }
}

fn engine(aside: &Aside) -> Engine<'static> {
    let mut engine = Engine::new();
    // Before the engine is handed to anything: so nothing refers to upon's own formatter, which brings core's floats.
    engine.set_default_formatter(&print);
    let aside = aside.clone();
    engine.add_function(scan::STEP, move |head: Theirs, rest: Theirs| {
        let mut call = aside.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut call.is_done) {
            return rest;
        }
        (call.head, call.rest) = (head, rest);
        Theirs::None
    });
    engine
}

/// How a value is printed.
fn print(f: &mut Formatter<'_>, value: &Theirs) -> ::upon::fmt::Result {
    match value {
        Theirs::None => Ok(()),
        Theirs::Bool(b) => Ok(f.write_str(if *b { "true" } else { "false" })?),
        Theirs::Integer(n) => Ok(f.write_str(&n.to_string())?),
        // As Rust prints them, infinity has its own word and no sign.
        Theirs::Float(n) if n.is_infinite() => Ok(f.write_str(if *n > 0.0 { "inf" } else { "-inf" })?),
        Theirs::Float(n) => Ok(f.write_str(&float::fmt_float(*n, b'f', None))?),
        Theirs::String(s) => Ok(f.write_str(s)?),
        Theirs::List(_) => Err("a list cannot be printed: loop over it, or use join or toJson".into()),
        Theirs::Map(_) => match convert::shown(value) {
            Some(Ok(text)) => Ok(f.write_str(text)?),
            Some(Err(key)) => Err(convert::not_text(key).into()),
            None => Err("a map cannot be printed: loop over it, or name one of its fields".into()),
        },
    }
}

/// The variables of a template of reconfig.
#[inline(never)]
fn names(scope: Option<&Scope>, ctx: &Context, closed: &Closed) -> Result<Vec<(&'static str, Theirs)>> {
    let mut all = Vec::new();
    let Some(scope) = scope else { return Ok(all) };
    let (data, beside) = scope.read(ctx)?;
    let mut alt = Map::new();
    for ((name, _), keys) in scope.alt.iter().zip(beside) {
        alt.insert(name.clone(), map(keys));
    }
    for (name, value) in [("data", map(data)), ("altdata", Value::map(alt)), ("watched", Value::str(&scope.key))] {
        all.push((name, convert::into_upon(&value, closed, 0).unwrap_or(Theirs::None)));
    }
    Ok(all)
}

#[inline(never)]
fn map(keys: Keys) -> Value {
    let mut map = Map::new();
    for (key, value) in keys {
        map.insert(key.to_string(), value);
    }
    Value::map(map)
}

/// Follows `.a.b` from a variable.
fn follow(from: Option<&Theirs>, path: &[ValueMember]) -> std::result::Result<Theirs, String> {
    let mut value = from;
    for member in path {
        value = match (value, &member.access) {
            (Some(Theirs::Map(map)), ValueAccess::Key(key)) => map.get(*key),
            _ => None,
        };
        if value.is_none() && member.op != ValueAccessOp::Optional {
            return Err("not found".to_string());
        }
    }
    Ok(value.cloned().unwrap_or(Theirs::None))
}

fn unknown(name: &str) -> String {
    let mut text = String::from("there is no variable ");
    text.push_str(name);
    if scan::find(name).is_some() {
        text.push_str("; the function of this name is called with parentheses: ");
        text.push_str(name);
        text.push_str("()");
    }
    text
}

/// An error of upon's, at its place in the template as written. upon tells the place only in the long form of its
/// message, `--> NAME:LINE:COLUMN`.
fn place(name: &str, text: &str, scan: &Scan, source: &str, e: &::upon::Error) -> Error {
    let short = e.to_string();
    // "invalid syntax: ", "render error: ": the file and the line say as much.
    let message = short.split_once(": ").map_or(short.as_str(), |(_, rest)| rest);
    let mut long = String::new();
    let _ = write!(long, "{e:#}");
    let mut numbers = long
        .split_once("--> <anonymous>:")
        .and_then(|(_, rest)| rest.split_once('\n'))
        .map_or("", |(place, _)| place)
        .split(':')
        .map(|n| n.parse::<usize>().unwrap_or(1).saturating_sub(1));
    let (Some(line), Some(column)) = (numbers.next(), numbers.next()) else {
        let mut text = String::from(name);
        text.push_str(": ");
        text.push_str(message);
        return Error::config(text);
    };
    error_at(name, text, scan.origin(offset(source, line, column)), message)
}

/// The byte offset that upon turned into this line and column (from 0): it takes every character for one byte.
fn offset(source: &str, line: usize, column: usize) -> usize {
    let before = source.split('\n').take(line).map(|l| l.chars().count() + 1);
    before.fold(column, usize::saturating_add)
}

/// Collects what upon writes, up to a limit.
struct Output {
    bytes: Vec<u8>,
    most: usize,
    is_full: bool,
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.most.saturating_sub(self.bytes.len()) {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests;
