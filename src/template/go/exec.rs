//! Walks a template's tree and writes its output, by Go's rules of truth, scope and fields. It decides what runs in
//! which order and what an error says; values and functions come from elsewhere.

use super::args::method_of;
use super::node::{self, Arm, Is, Node, Pipe, Tree};
use super::{Program, fmt};
use crate::error::{Error, Kind, Result};
use crate::map::Map;
use crate::sys::meter;
use crate::template::Context;
use crate::template::budget::Budget;
use crate::template::funcs::{Func, truth};
use crate::text;
use crate::value::Value;

/// Templates call templates no deeper.
const DEEPEST_CALL: usize = 100;
/// Lists and pipelines nest no deeper, over all templates: this bounds the stack.
const DEEPEST: usize = 400;

/// Renders the program, with `root` as its first dot.
pub fn run(program: &Program, ctx: &Context, root: &Value) -> Result<Vec<u8>> {
    let mut s = State {
        program,
        ctx,
        out: Vec::new(),
        vars: vec![("$", root.clone())],
        base: 0,
        node: None,
        template: &program.name,
        calls: 0,
        depth: 0,
        budget: Budget::new(),
        failed_at: None,
    };
    let top = program.defined.iter().find(|d| d.0 == program.name).map_or(&[][..], |d| &d.1);
    match s.walk_list(root, top).and_then(|_| s.step()) {
        Ok(_) => Ok(s.out),
        Err(mut e) => {
            if let Some(pos) = s.failed_at {
                super::show_line(&mut e.text, &program.text, pos);
            }
            Err(e)
        }
    }
}

/// What a list of nodes ends in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The next node.
    Next,
    /// The end of the range.
    Break,
    /// The next element of the range.
    Continue,
}

/// One render.
pub struct State<'p, 'c> {
    program: &'p Program,
    /// What functions see.
    pub ctx: &'c Context<'c>,
    out: Vec<u8>,
    vars: Vec<(&'p str, Value)>,
    /// Where the variables of the running template begin.
    base: usize,
    /// The node that an error names.
    node: Option<&'p Node>,
    template: &'p str,
    calls: usize,
    depth: usize,
    budget: Budget,
    failed_at: Option<usize>,
}

impl<'p> State<'p, '_> {
    /// Errors name this node from now on.
    pub fn at(&mut self, node: &'p Node) {
        self.node = Some(node);
    }

    /// An error at the current node, in Go's form.
    pub fn error(&mut self, kind: Kind, why: &str) -> Error {
        let mut s = String::from("template: ");
        s.push_str(&self.program.name);
        if let Some(node) = self.node {
            let before = self.program.text.get(..node.pos).unwrap_or("");
            let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
            let column = node.pos - before.rfind('\n').map_or(0, |i| i + 1);
            s.push(':');
            s.push_str(&line.to_string());
            s.push(':');
            s.push_str(&column.to_string());
            s.push_str(": executing ");
            s.push_str(&text::quoted(self.template));
            s.push_str(" at <");
            node::write(&mut s, node);
            s.push('>');
            self.failed_at = self.failed_at.or(Some(node.pos));
        }
        s.push_str(": ");
        s.push_str(why);
        Error::new(kind, s)
    }

    /// The same, from a pattern (see `text::fill`).
    pub fn fail<T>(&mut self, pattern: &str, words: &[&str]) -> Result<T> {
        Err(self.failure(pattern, words))
    }

    // Out of line, so that each message costs a call.
    #[inline(never)]
    fn failure(&mut self, pattern: &str, words: &[&str]) -> Error {
        self.error(Kind::Config, &text::fill(pattern, words))
    }

    fn step(&mut self) -> Result<()> {
        meter::charge(1);
        match self.budget.exceeded() {
            Some(why) => self.fail(why, &[]),
            None => Ok(()),
        }
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.fail("nested too deeply", &[]);
        }
        Ok(())
    }

    fn written(&mut self) -> Result<()> {
        if self.out.len() > self.ctx.max_output {
            let most = self.ctx.max_output.to_string();
            return self.fail("the output is larger than % bytes", &[&most]);
        }
        Ok(())
    }

    fn walk_list(&mut self, dot: &Value, list: &'p [Tree]) -> Result<Flow> {
        self.deeper()?;
        for node in list {
            let flow = self.walk(dot, node)?;
            if flow != Flow::Next {
                self.depth -= 1;
                return Ok(flow);
            }
        }
        self.depth -= 1;
        Ok(Flow::Next)
    }

    fn walk(&mut self, dot: &Value, node: &'p Node) -> Result<Flow> {
        self.at(node);
        self.step()?;
        match &node.is {
            Is::Text(text) => {
                self.out.extend_from_slice(text.as_bytes());
                self.written()?;
            }
            Is::Action(pipe) => {
                let value = self.pipeline(dot, pipe)?;
                if !matches!(&pipe.is, Is::Pipe(p) if !p.vars.is_empty()) {
                    self.at(node);
                    print_value(&mut self.out, &value);
                    self.written()?;
                }
            }
            Is::Choice(with, arms, otherwise) => {
                let mark = self.vars.len();
                let flow = self.choice(dot, *with, arms, otherwise.as_deref())?;
                self.vars.truncate(mark);
                return Ok(flow);
            }
            Is::Range(arm, otherwise) => {
                let mark = self.vars.len();
                let flow = self.range(dot, arm, otherwise.as_deref())?;
                self.vars.truncate(mark);
                return Ok(flow);
            }
            Is::Template(name, pipe) => self.call_template(dot, node, name, pipe.as_deref())?,
            Is::Break => return Ok(Flow::Break),
            Is::Continue => return Ok(Flow::Continue),
            _ => return self.fail("unknown node", &[]),
        }
        Ok(Flow::Next)
    }

    fn choice(&mut self, dot: &Value, with: bool, arms: &'p [Arm], otherwise: Option<&'p [Tree]>) -> Result<Flow> {
        for arm in arms {
            let value = self.pipeline(dot, &arm.pipe)?;
            if truth(&value) {
                return self.walk_list(if with { &value } else { dot }, &arm.list);
            }
        }
        match otherwise {
            Some(list) => self.walk_list(dot, list),
            None => Ok(Flow::Next),
        }
    }

    fn range(&mut self, dot: &Value, arm: &'p Arm, otherwise: Option<&'p [Tree]>) -> Result<Flow> {
        let Is::Pipe(pipe) = &arm.pipe.is else { return Ok(Flow::Next) };
        let over = self.pipeline(dot, &arm.pipe)?;
        let mark = self.vars.len();
        let mut entries = match &over {
            Value::Map(map) => map.iter(),
            _ => Map::EMPTY.iter(),
        };
        match &over {
            Value::Nil | Value::List(_) | Value::Map(_) => {}
            Value::Int(_) | Value::Named(..) if pipe.vars.len() <= 1 => {}
            _ => {
                let shown = fmt::type_name(&over); // the value may be a secret
                let is_int = matches!(over, Value::Int(_) | Value::Named(..));
                let pattern = if is_int {
                    "can't use % to iterate over more than one variable"
                } else {
                    "range can't iterate over %"
                };
                return self.fail(pattern, &[shown]);
            }
        }
        let mut any = false;
        for i in 0..i64::MAX {
            let (key, item) = match &over {
                Value::List(list) => match list.items.get(usize::try_from(i).unwrap_or(usize::MAX)) {
                    Some(item) => (Value::Int(i), item.clone()),
                    None => break,
                },
                Value::Int(n) | Value::Named(_, n) if i < *n => (Value::Int(i), Value::Int(i)),
                _ => match entries.next() {
                    Some((key, item)) => (Value::str(key), item.clone()),
                    None => break,
                },
            };
            any = true;
            if self.iteration(arm, pipe, &key, &item, mark)? == Flow::Break {
                break;
            }
        }
        match otherwise {
            Some(list) if !any => self.walk_list(dot, list),
            _ => Ok(Flow::Next),
        }
    }

    #[inline(never)]
    fn iteration(&mut self, arm: &'p Arm, pipe: &'p Pipe, key: &Value, item: &Value, mark: usize) -> Result<Flow> {
        self.step()?;
        for (i, name) in pipe.vars.iter().enumerate() {
            // One variable is the element, two are the key and the element.
            let value = if i + 1 < pipe.vars.len() { key } else { item }.clone();
            if pipe.assign {
                self.set(name, value)?;
            } else if let Some(slot) = self.vars.get_mut(mark + i - pipe.vars.len()) {
                slot.1 = value;
            }
        }
        let flow = self.walk_list(item, &arm.list)?;
        self.vars.truncate(mark);
        Ok(flow)
    }

    fn call_template(&mut self, dot: &Value, node: &'p Node, name: &str, pipe: Option<&'p Node>) -> Result<()> {
        let program = self.program;
        meter::charge(program.defined.len() / 32);
        let Some((name, list)) = program.defined.iter().find(|d| d.0 == name) else {
            return self.fail("template % not defined", &[&text::quoted(name)]);
        };
        if self.calls >= DEEPEST_CALL {
            return self.fail("exceeded maximum template depth (100)", &[]);
        }
        let value = match pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Value::Nil,
        };
        self.at(node);
        self.run_template(name, list, value)
    }

    fn run_template(&mut self, name: &'p str, list: &'p [Tree], dot: Value) -> Result<()> {
        let (base, template, mark) = (self.base, self.template, self.vars.len());
        self.vars.push(("$", dot.clone()));
        self.base = mark;
        self.template = name;
        self.calls += 1;
        self.walk_list(&dot, list)?;
        self.calls -= 1;
        self.template = template;
        self.base = base;
        self.vars.truncate(mark);
        Ok(())
    }

    /// `include`: what `{{template}}` would write, as a value.
    pub fn include(&mut self, name: &str, dot: Value) -> Result<Value> {
        let program = self.program;
        meter::charge(program.defined.len() / 32);
        let Some((name, list)) = program.defined.iter().find(|d| d.0 == name) else {
            return self.fail("error calling include: template not defined", &[]); // its name may be a value
        };
        if self.calls >= DEEPEST_CALL {
            return self.fail("exceeded maximum template depth (100)", &[]);
        }
        let outer = std::mem::take(&mut self.out);
        self.run_template(name, list, dot)?;
        let inner = std::mem::replace(&mut self.out, outer);
        Ok(Value::from_bytes(&std::sync::Arc::from(""), &inner))
    }

    fn set(&mut self, name: &str, value: Value) -> Result<()> {
        let base = self.base;
        meter::charge((self.vars.len() - base) / 32);
        for slot in self.vars.iter_mut().skip(base).rev() {
            if slot.0 == name {
                slot.1 = value;
                return Ok(());
            }
        }
        self.fail("undefined variable: %", &[name])
    }

    fn get(&mut self, name: &str) -> Result<Value> {
        meter::charge((self.vars.len() - self.base) / 32);
        match self.vars.iter().skip(self.base).rev().find(|v| v.0 == name) {
            Some((_, value)) => Ok(value.clone()),
            None => self.fail("undefined variable: %", &[name]),
        }
    }

    /// The value of a pipeline; what it declares stays on the stack of variables.
    pub fn pipeline(&mut self, dot: &Value, node: &'p Node) -> Result<Value> {
        self.at(node);
        let Is::Pipe(pipe) = &node.is else { return Ok(Value::Nil) };
        self.deeper()?;
        let mut value = None;
        for command in &pipe.commands {
            self.step()?;
            let next = self.command(dot, command, &mut value)?;
            value = Some(next);
        }
        let value = value.unwrap_or(Value::Nil);
        for name in &pipe.vars {
            if pipe.assign {
                self.set(name, value.clone())?;
            } else {
                self.vars.push((name, value.clone()));
            }
        }
        self.depth -= 1;
        Ok(value)
    }

    fn command(&mut self, dot: &Value, node: &'p Node, last: &mut Option<Value>) -> Result<Value> {
        let Is::Command(words) = &node.is else { return Ok(Value::Nil) };
        let Some((first, args)) = words.split_first() else { return Ok(Value::Nil) };
        match &first.is {
            Is::Field(_) | Is::Chain(..) | Is::Variable(_) | Is::Function(_) => self.term(dot, first, node, args, last),
            _ => {
                if !matches!(first.is, Is::Pipe(_)) {
                    self.at(first);
                }
                self.no_arguments(first, args, last.is_some())?;
                match &first.is {
                    Is::Pipe(_) => self.pipeline(dot, first),
                    Is::Nil => self.fail("nil is not a command", &[]),
                    _ => self.constant(dot, first),
                }
            }
        }
    }

    fn no_arguments(&mut self, first: &Node, args: &[Tree], last: bool) -> Result<()> {
        if args.is_empty() && !last {
            return Ok(());
        }
        let mut text = String::new();
        node::write(&mut text, first);
        self.fail("can't give argument to non-function %", &[&text])
    }

    /// A constant, or dot, where its type is free.
    pub fn constant(&mut self, dot: &Value, node: &'p Node) -> Result<Value> {
        self.at(node);
        Ok(match &node.is {
            Is::Dot => dot.clone(),
            Is::Bool(b) => Value::Bool(*b),
            Is::Str(_, value) => value.clone(),
            Is::Number(text, n) => {
                meter::charge(text.len() / 16);
                let hex = text.get(1..).is_some_and(|t| t.starts_with(['x', 'X'])) && !text.contains(['p', 'P']);
                if !hex && !text.starts_with('\'') && text.contains(['.', 'e', 'E', 'p', 'P']) {
                    Value::Float(n.float)
                } else {
                    match n.int {
                        Some(i) => Value::Int(i),
                        None => return self.fail("% overflows int", &[text]),
                    }
                }
            }
            _ => Value::Nil,
        })
    }

    /// A field, a variable, a chain or a function, with its arguments. `whole` is the command it leads, or itself.
    pub fn term(
        &mut self,
        dot: &Value,
        node: &'p Node,
        whole: &'p Node,
        args: &'p [Tree],
        last: &mut Option<Value>,
    ) -> Result<Value> {
        self.at(node);
        match &node.is {
            Is::Function(f) => self.function(dot, f, whole, args, last),
            Is::Field(names) => self.fields(dot, dot.clone(), node, names, args, last),
            Is::Variable(names) => {
                let Some((name, rest)) = names.split_first() else { return Ok(Value::Nil) };
                let value = self.get(name)?;
                if rest.is_empty() {
                    self.no_arguments(node, args, last.is_some())?;
                    return Ok(value);
                }
                self.fields(dot, value, node, rest, args, last)
            }
            Is::Chain(inner, names) => {
                let value = match &inner.is {
                    Is::Nil => {
                        let mut text = String::new();
                        node::write(&mut text, node);
                        return self.fail("indirection through explicit nil in %", &[&text]);
                    }
                    Is::Pipe(_) => self.pipeline(dot, inner)?,
                    _ => self.term(dot, inner, inner, &[], &mut None)?,
                };
                self.fields(dot, value, node, names, args, last)
            }
            _ => Ok(Value::Nil),
        }
    }

    /// Follows `.A.B.C` from `value`; only the last name may take arguments.
    fn fields(
        &mut self,
        dot: &Value,
        value: Value,
        node: &'p Node,
        names: &'p [Box<str>],
        args: &'p [Tree],
        last: &mut Option<Value>,
    ) -> Result<Value> {
        let mut value = value;
        let mut none = None;
        meter::charge(names.len() / 4);
        // Go knows an element of a map only as an interface, and says so.
        let mut in_map = false;
        for (i, name) in names.iter().enumerate() {
            let end = i + 1 == names.len();
            let (args, last) = if end { (args, &mut *last) } else { (&[][..], &mut none) };
            let has_args = !args.is_empty() || last.is_some();
            let next = match &value {
                Value::Nil if in_map => {
                    return self.fail("nil pointer evaluating interface {}.%", &[name]);
                }
                Value::Nil => Value::Nil,
                Value::Map(map) => {
                    if has_args {
                        return self.fail("% is not a method but has arguments", &[name]);
                    }
                    let found = map.get(name);
                    in_map = found.is_some();
                    let none = || if self.program.is_zero { Value::str("") } else { Value::Nil };
                    found.cloned().unwrap_or_else(none)
                }
                Value::Pair(pair) if &**name == "Key" || &**name == "Value" => {
                    if has_args {
                        return self.fail("% has arguments but cannot be invoked as function", &[name]);
                    }
                    in_map = false;
                    if &**name == "Key" { Value::Str(pair.key.clone()) } else { pair.value.clone() }
                }
                other => match method_of(other, name) {
                    Some(is) => {
                        in_map = false;
                        let values = self.arguments(dot, is, Some(other), args, last)?;
                        is.charge(&values);
                        self.step()?;
                        match is.run(self.ctx, &values) {
                            Ok(value) => value,
                            Err(e) => return Err(self.called(is, node, &e)),
                        }
                    }
                    None => {
                        let of = if in_map { "interface {}" } else { fmt::type_name(other) };
                        return self.fail("can't evaluate field % in type %", &[name, of]);
                    }
                },
            };
            value = next;
        }
        Ok(value)
    }

    fn function(
        &mut self,
        dot: &Value,
        f: &'static Func,
        whole: &'p Node,
        args: &'p [Tree],
        last: &mut Option<Value>,
    ) -> Result<Value> {
        if matches!(f.name, "and" | "or") {
            return self.and_or(dot, f, args, last);
        }
        let values = self.arguments(dot, f, None, args, last)?;
        if f.name == "include" {
            self.at(whole);
            let name = values.first().and_then(Value::as_str).unwrap_or("").to_string();
            return self.include(&name, values.get(1).cloned().unwrap_or(Value::Nil));
        }
        f.charge(&values);
        self.step()?;
        let result = f.run(self.ctx, &values);
        result.map_err(|e| self.called(f, whole, &e))
    }

    /// The error of a function or method.
    #[inline(never)]
    fn called(&mut self, f: &Func, node: &'p Node, e: &Error) -> Error {
        self.at(node);
        self.error(e.kind, &text::fill("error calling %: %", &[f.name, &e.text]))
    }

    /// `and`, `or`: the first argument that decides it; those behind it are not looked at.
    fn and_or(&mut self, dot: &Value, f: &Func, args: &'p [Tree], last: &mut Option<Value>) -> Result<Value> {
        if args.is_empty() && last.is_none() {
            return self.fail("wrong number of args for %: want at least 1 got 0", &[f.name]);
        }
        let mut value = Value::Nil;
        for arg in args {
            value = self.argument(dot, b'a', arg)?;
            if truth(&value) == (f.name == "or") {
                return Ok(value);
            }
        }
        Ok(last.take().unwrap_or(value))
    }
}

/// What an action prints.
fn print_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Nil => text::put(out, b"<no value>"),
        _ => fmt::display(out, value),
    }
}
