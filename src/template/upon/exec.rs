//! Walks a template's tree and writes its output, by upon's rules of truth, scope and members. It decides what runs in
//! which order, what values look like when they are printed and what an error says; the functions come from elsewhere.

use super::parse::{self, Call, Expr, Is, Key, Loop, Member, Node};
use super::{Program, fit};
use crate::error::{Error, Kind, Result};
use crate::formats::error_at;
use crate::map::Map;
use crate::sys::meter;
use crate::template::Context;
use crate::template::budget::Budget;
use crate::template::funcs::{self, Func, truth};
use crate::template::scope::{Keys, Scope};
use crate::text::{fill, float};
use crate::value::Value;

/// The functions whose subject is their last argument, as they were made for Go's pipelines: a filter puts the piped
/// value there, so that `x | default: "y"` means what it says.
const SUBJECT_LAST: [&str; 6] = ["default", "indent", "nindent", "printf", "repeat", "ternary"];

/// Renders.
#[inline(never)]
pub fn run(program: &Program, ctx: &Context) -> Result<Vec<u8>> {
    let budget = Budget::new();
    let names = names(program.scope.as_ref(), ctx)?;
    let mut s = State { program, ctx, out: Vec::new(), locals: Vec::new(), names, budget };
    s.walk(&program.nodes)?;
    Ok(s.out)
}

/// A variable of a block.
struct Local<'p> {
    name: &'p str,
    value: Value,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Value,
    /// A key of a map that a loop goes over.
    Key,
    /// `loop`: the value is its index, and whether this turn is the last.
    Loop(bool),
}

/// One render.
struct State<'p, 'c> {
    program: &'p Program,
    ctx: &'c Context<'c>,
    out: Vec<u8>,
    locals: Vec<Local<'p>>,
    names: Vec<(&'static str, Value)>,
    budget: Budget,
}

impl<'p> State<'p, '_> {
    #[inline(never)]
    fn error(&self, kind: Kind, at: usize, text: &str) -> Error {
        Error::new(kind, error_at(&self.program.name, &self.program.text, at, text).into_text())
    }

    #[inline(never)]
    fn fail<T>(&self, at: usize, pattern: &str, words: &[&str]) -> Result<T> {
        Err(self.error(Kind::Config, at, &fill(pattern, words)))
    }

    fn check(&self, at: usize) -> Result<()> {
        match self.budget.exceeded() {
            Some(why) => self.fail(at, why, &[]),
            None => Ok(()),
        }
    }

    #[inline(never)]
    fn write(&mut self, text: &str) -> Result<()> {
        if text.len() > self.ctx.max_output.saturating_sub(self.out.len()) {
            let words = [self.program.name.as_str(), &self.ctx.max_output.to_string()];
            return Err(Error::filled(Kind::Config, "%: the output is larger than % bytes", &words));
        }
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    #[inline(never)]
    fn walk(&mut self, nodes: &'p [Node]) -> Result<()> {
        for node in nodes {
            match node {
                Node::Text(from, to) => self.write(self.program.text.get(*from..*to).unwrap_or(""))?,
                Node::Print(value) => self.print(value)?,
                Node::If(arms, otherwise) => {
                    let mut body = otherwise;
                    for arm in arms {
                        if is_true(&self.value(&arm.condition)?) != arm.not {
                            body = &arm.body;
                            break;
                        }
                    }
                    self.walk(body)?;
                }
                Node::For(over) => self.range(over)?,
                Node::With(value, name, body) => {
                    let value = self.value(value)?;
                    self.locals.push(Local { name, value, what: What::Value });
                    self.walk(body)?;
                    self.locals.pop();
                }
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn range(&mut self, it: &'p Loop) -> Result<()> {
        let over = self.value(&it.over)?;
        let pair = match &over {
            Value::Pair(p) => Some(fields(&p.key, &p.value)),
            _ => None,
        };
        let map = pair.as_ref().or(over.as_map());
        let [(first, at), rest @ ..] = &it.names[..] else { return Ok(()) };
        let last = match (&over, map, rest) {
            (Value::List(l), ..) if rest.is_empty() => l.items.len(),
            (Value::List(_), ..) => return self.fail(*at, "cannot unpack list item into two variables", &[]),
            (_, Some(_), []) => return self.fail(*at, "cannot unpack map item into one variable", &[]),
            (_, Some(map), _) => map.len(),
            (other, ..) => {
                let what = human(other);
                return self.fail(it.over.at, "expected iterable, but expression evaluated to %", &[what]);
            }
        };
        let mut entries = map.unwrap_or(Map::EMPTY).iter();
        let mark = self.locals.len();
        for i in 0..last {
            let mut push = |name: &'p str, value, what| self.locals.push(Local { name, value, what });
            match (&over, entries.next(), rest.first()) {
                (Value::List(l), ..) => push(first, l.items.get(i).cloned().unwrap_or(Value::Nil), What::Value),
                (_, Some((key, value)), Some((second, _))) => {
                    push(second, value.clone(), What::Value);
                    push(first, Value::str(key), What::Key);
                }
                _ => {}
            }
            push("loop", Value::Int(i64::try_from(i).unwrap_or(i64::MAX)), What::Loop(i + 1 == last));
            // What stands in a loop costs by its length, as it may call nothing.
            meter::charge(1 + it.length / 16);
            self.check(*at)?;
            self.walk(&it.body)?;
            self.locals.truncate(mark);
        }
        Ok(())
    }

    #[inline(never)]
    fn print(&mut self, it: &Expr) -> Result<()> {
        let value = self.value(it)?;
        let text = match &value {
            Value::Nil => return Ok(()),
            Value::Str(s) => return self.write(s),
            Value::Bool(b) => return self.write(if *b { "true" } else { "false" }),
            Value::Int(n) => n.to_string(),
            // As Rust prints them, infinity has its own word and no sign.
            Value::Float(n) if n.is_infinite() => return self.write(if *n > 0.0 { "inf" } else { "-inf" }),
            Value::Float(n) => float::fmt_float(*n, b'f', None),
            Value::List(_) => {
                return self.fail(it.at, "a list cannot be printed: loop over it, or use join or toJson", &[]);
            }
            Value::Map(_) | Value::Pair(_) => {
                return self.fail(it.at, "a map cannot be printed: loop over it, or name one of its fields", &[]);
            }
            Value::Bytes(b) => return self.fail(it.at, fit::NOT_TEXT, &[&b.key]),
            Value::Time(_) | Value::Named(..) => {
                let text = funcs::find("print").and_then(|f| (f.call)(self.ctx, &[value], f.op).ok());
                return self.write(text.as_ref().and_then(Value::as_str).unwrap_or(""));
            }
        };
        self.write(&text)
    }

    fn value(&mut self, it: &Expr) -> Result<Value> {
        match &it.is {
            Is::Value(value) => Ok(value.clone()),
            Is::Path(path) => self.read(path),
            Is::Call(callee, how, args) => self.call(it.at, callee, *how, args),
        }
    }

    #[inline(never)]
    fn call(&mut self, at: usize, callee: &'static Func, how: Call, from: &[Expr]) -> Result<Value> {
        let mut args = Vec::with_capacity(from.len());
        for arg in from {
            args.push(self.value(arg)?);
        }
        let at = match how {
            Call::Literal => at,
            Call::Plain(at) | Call::Filter(at) => {
                if matches!(how, Call::Filter(_)) && SUBJECT_LAST.contains(&callee.name) {
                    args.rotate_left(1);
                }
                if let Err(why) = fit::fit(callee, &mut args) {
                    return Err(self.error(Kind::Config, at, &why)); // it may hold a %
                }
                callee.charge(&args);
                at
            }
        };
        self.check(at)?;
        match callee.run(self.ctx, &args) {
            Ok(value) => self.check(at).map(|()| value),
            Err(e) => Err(self.error(e.kind, at, &e.text)),
        }
    }

    /// A variable, or what its members lead to.
    #[inline(never)]
    fn read(&mut self, path: &[Member]) -> Result<Value> {
        let [first, rest @ ..] = path else { return Ok(Value::Nil) };
        let Key::Name(name) = &first.key else {
            return if first.is_optional { Ok(Value::Nil) } else { self.fail(first.at, "not found", &[]) };
        };
        let local = self.locals.iter().rev().find(|l| l.name == name);
        let mut value = match local {
            Some(Local { what: What::Loop(is_last), value: Value::Int(index), .. }) => {
                match rest {
                    [Member { key: Key::Name(key), .. }] if key == "index" => return Ok(Value::Int(*index)),
                    [Member { key: Key::Name(key), .. }] if key == "first" => return Ok(Value::Bool(*index == 0)),
                    [Member { key: Key::Name(key), .. }] if key == "last" => return Ok(Value::Bool(*is_last)),
                    _ => {}
                }
                let mut map = Map::new();
                for (key, value) in [
                    ("index", Value::Int(*index)),
                    ("first", Value::Bool(*index == 0)),
                    ("last", Value::Bool(*is_last)),
                ] {
                    map.insert(key.to_string(), value);
                }
                Value::map(map)
            }
            Some(Local { what: What::Key, .. }) if !rest.is_empty() => {
                return self.fail(rest.first().map_or(0, |m| m.at), "cannot index into string", &[]);
            }
            Some(local) => local.value.clone(),
            None => match self.names.iter().find(|(n, _)| n == name) {
                Some((_, value)) => value.clone(),
                // `{% if ?.name %}` asks whether there is such a name.
                None if first.is_optional => return Ok(Value::Nil),
                None if parse::find(name).is_some() => {
                    let why = "there is no variable %; the function of this name is called with parentheses: %()";
                    return self.fail(first.at, why, &[name, name]);
                }
                None => return self.fail(first.at, "there is no variable %", &[name]),
            },
        };
        for member in rest {
            match self.member(&value, member)? {
                Some(next) => value = next,
                None => return Ok(Value::Nil),
            }
        }
        Ok(value)
    }

    /// A member; nothing where it is optional and not there.
    #[inline(never)]
    fn member(&self, of: &Value, it: &Member) -> Result<Option<Value>> {
        let found = match (of, &it.key) {
            (Value::List(l), Key::Index(i)) => l.items.get(*i).cloned(),
            (Value::Map(m), Key::Name(key)) => m.get(key).cloned(),
            (Value::Pair(p), Key::Name(key)) => match key.as_str() {
                "key" | "Key" => Some(Value::Str(p.key.clone())),
                "value" | "Value" => Some(p.value.clone()),
                _ => None,
            },
            (Value::Bytes(_) | Value::Time(_) | Value::Named(..), Key::Name(_)) => None,
            (_, Key::Index(_)) => return self.fail(it.at, "% does not support integer-based access", &[human(of)]),
            (_, Key::Name(_)) => return self.fail(it.at, "% does not support key-based access", &[human(of)]),
        };
        match (&found, of) {
            (None, Value::List(l)) if !it.is_optional => {
                self.fail(it.at, "index out of bounds, the length is %", &[&l.items.len().to_string()])
            }
            (None, _) if !it.is_optional => self.fail(it.at, "not found in map", &[]),
            _ => Ok(found),
        }
    }
}

/// upon's truth: not nothing, zero or empty.
fn is_true(value: &Value) -> bool {
    matches!(value, Value::Named(..)) || truth(value)
}

/// upon's word for a type.
fn human(value: &Value) -> &'static str {
    match value {
        Value::Nil => "none",
        Value::Bool(_) => "bool",
        Value::Int(_) => "integer",
        Value::Float(_) => "float",
        Value::Str(_) => "string",
        Value::List(_) => "list",
        _ => "map",
    }
}

/// A key with its value as a map, for who goes over it.
fn fields(key: &str, value: &Value) -> Map {
    let mut map = Map::new();
    for (k, v) in [("Key", "Value"), ("key", "value")] {
        map.insert(k.to_string(), Value::str(key));
        map.insert(v.to_string(), value.clone());
    }
    map
}

/// The variables of a template of reconfig.
#[inline(never)]
fn names(scope: Option<&Scope>, ctx: &Context) -> Result<Vec<(&'static str, Value)>> {
    let Some(scope) = scope else { return Ok(Vec::new()) };
    let (data, beside) = scope.read(ctx)?;
    let mut alt = Map::new();
    for ((name, _), keys) in scope.alt.iter().zip(beside) {
        alt.insert(name.clone(), map(keys));
    }
    Ok(vec![("data", map(data)), ("altdata", Value::map(alt)), ("watched", Value::str(&scope.key))])
}

#[inline(never)]
fn map(keys: Keys) -> Value {
    let mut map = Map::new();
    for (key, value) in keys {
        map.insert(key.to_string(), value);
    }
    Value::map(map)
}
