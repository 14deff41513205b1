//! Runs a compiled template. It decides what runs and what is printed, and bounds both; what values do is `ruby`'s.

use std::sync::Arc;

use super::op::{Is, Op};
use super::{Program, ruby};
use crate::error::{Error, Result};
use crate::formats::{error_at, json};
use crate::template::Context;
use crate::template::budget::Budget;
use crate::template::funcs;
use crate::template::scope::Keys;
use crate::value::{Elem, Pair, Value};

/// A render that takes more steps than this never ends.
const MOST_STEPS: usize = if cfg!(test) { 4_000_000 } else { 50_000_000 };

/// Arrays that are built nest no deeper.
const DEEPEST: usize = 100;

/// A loop that runs.
struct Loop {
    over: Value,
    /// How many elements it has had.
    done: usize,
    /// How many variables it has.
    width: usize,
}

/// Renders.
///
/// # Errors
/// See `Program::render`.
#[inline(never)]
pub fn run(program: &Program, ctx: &Context) -> Result<Vec<u8>> {
    let (data, alt) = program.scope.read(ctx)?;
    let mut named = Vec::new();
    for ((name, _), keys) in program.scope.alt.iter().zip(alt) {
        named.push((Arc::from(name.as_str()), hash(Elem::Pairs, keys)));
    }
    let names = [hash(Elem::Pairs, data), hash(Elem::Pair, named), Value::str(&program.scope.key)];
    let (mut out, mut at) = (Vec::new(), 0);
    let place = |at: u32, why: &str| error_at(&program.name, &program.text, at as usize, why);
    let (mut stack, mut variables, mut loops): (Vec<Value>, Vec<Value>, Vec<Loop>) = Default::default();
    let mut steps = 0usize;
    let budget = Budget::new();
    while let Some(op) = program.ops.ops.get(at) {
        at += 1;
        steps = steps.saturating_add(1);
        let n = op.n as usize;
        let value = match op.is {
            Is::Constant => program.ops.constants.get(n),
            Is::Variable => variables.get(n),
            Is::Name => names.get(n),
            _ => None,
        };
        let mut made = value.cloned();
        match op.is {
            Is::Constant | Is::Variable | Is::Name => {}
            Is::Text => text(&mut out, program.text.get(op.at as usize..n).unwrap_or("")),
            Is::Print => ruby::to_s(&mut out, &pop(&mut stack)),
            Is::Jump => at = n,
            Is::If | Is::Unless => {
                if ruby::truth(&pop(&mut stack)) == matches!(op.is, Is::Unless) {
                    at = n;
                }
            }
            Is::And | Is::Or => {
                let last = pop(&mut stack);
                if ruby::truth(&last) == matches!(op.is, Is::Or) {
                    made = Some(last);
                    at = n;
                }
            }
            Is::Each => {
                let over = pop(&mut stack);
                if over.as_list().is_none() {
                    return Err(place(op.at, &[ruby::class(&over), " has no method each"].concat()));
                }
                loops.push(Loop { over, done: 0, width: n });
            }
            Is::Next => {
                let Some(this) = loops.last_mut() else { break };
                if this.done > 0 {
                    variables.truncate(variables.len().saturating_sub(this.width));
                }
                match this.over.as_list().and_then(|l| l.get(this.done)) {
                    None => {
                        at = n;
                        loops.pop();
                    }
                    Some(item) => {
                        this.done += 1;
                        let (first, second) = ruby::two(item, this.width == 1);
                        variables.push(first);
                        variables.extend(second);
                    }
                }
            }
            _ => {
                let value = compute(op, &mut stack, &mut steps).map_err(|why| place(op.at, &why))?;
                // What is made new takes time and memory.
                if matches!(op.is, Is::Method | Is::Pretty) {
                    steps = steps.saturating_add(ruby::cost(&value));
                }
                made = Some(value);
            }
        }
        stack.extend(made);
        if steps > MOST_STEPS {
            return Err(place(op.at, "more than 50,000,000 steps: does it end?"));
        }
        if let Some(why) = budget.exceeded() {
            return Err(place(op.at, why));
        }
        if out.len() > ctx.max_output {
            let most = ctx.max_output.to_string();
            return Err(Error::config([&program.name, ": the output is larger than ", &most, " bytes"].concat()));
        }
    }
    Ok(out)
}

#[inline(never)]
fn hash(order: Elem, keys: Keys) -> Value {
    let pairs = keys.into_iter().map(|(key, value)| Value::Pair(Arc::new(Pair { key, value }))).collect();
    Value::typed_list(order, pairs)
}

/// Erubis puts text into a program, where Ruby reads every line end as a line feed.
#[inline(never)]
fn text(out: &mut Vec<u8>, text: &str) {
    for line in text.split_inclusive('\n') {
        out.extend_from_slice(line.strip_suffix("\r\n").unwrap_or(line).as_bytes());
        if line.ends_with("\r\n") {
            out.push(b'\n');
        }
    }
}

#[inline(never)]
fn pop(stack: &mut Vec<Value>) -> Value {
    stack.pop().unwrap_or(Value::Nil)
}

/// What a step makes of the topmost values.
#[inline(never)]
fn compute(op: &Op, stack: &mut Vec<Value>, steps: &mut usize) -> ruby::Answer {
    let n = op.n as usize;
    let count = match op.is {
        Is::List => n,
        Is::Method => n >> 8,
        Is::Parse | Is::Pretty | Is::Not => 0,
        _ => 1,
    };
    let args = stack.split_off(stack.len().saturating_sub(count));
    if matches!(op.is, Is::List) {
        // All that walks values down relies on it.
        let list = Value::list(args);
        return if funcs::deeper_than(&list, DEEPEST) {
            Err("arrays nest more than 100 levels deep".into())
        } else {
            Ok(list)
        };
    }
    let value = pop(stack);
    let first = args.first().unwrap_or(&Value::Nil);
    match op.is {
        Is::Not => Ok(Value::Bool(!ruby::truth(&value))),
        Is::Index => {
            *steps = steps.saturating_add(ruby::look_cost(&value));
            ruby::index(&value, first)
        }
        Is::Compare => {
            *steps = steps.saturating_add(ruby::cost(&value));
            ruby::operator(op.n as u8, &value, first).map(Value::Bool)
        }
        Is::Parse => {
            *steps = steps.saturating_add(ruby::cost(&value));
            let Some(text) = value.as_str() else {
                return Err(["JSON.parse takes a string, not ", ruby::class(&value)].concat());
            };
            json::parse_in_order(text).map_err(|e| ["JSON.parse: ", &e].concat())
        }
        Is::Pretty => {
            let mut out = Vec::new();
            ruby::pretty(&mut out, &value, 0).map_err(|e| ["JSON.pretty_generate: ", &e].concat())?;
            ruby::string(out)
        }
        _ => {
            let Some(method) = ruby::METHODS.get(n & 255) else { return Ok(Value::Nil) };
            if !method.is_cheap() {
                *steps = steps.saturating_add(ruby::cost(&value));
            }
            ruby::call(method, &value, &args)
        }
    }
}
