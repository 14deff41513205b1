//! Arguments of functions and methods: how many there may be, and whether each fits its parameter, by Go's rules of
//! assignment. It calls methods of times; functions are called by `exec`.

use super::exec::State;
use super::node::{Is, Node, Tree};
use super::{fmt, time};
use crate::error::{Error, Result};
use crate::map::Map;
use crate::sys::meter;
use crate::template::funcs::{Func, arity, fits, param};
use crate::value::{Elem, Value};

/// A value's method of this name, if it has one.
pub fn method_of(value: &Value, name: &str) -> Option<&'static Func> {
    let method = time::METHODS.iter().find(|m| m.name == name)?;
    match value {
        Value::Time(_) => Some(method),
        Value::Named(..) if name == "String" => Some(method),
        _ => None,
    }
}

/// The Go type of a parameter.
pub fn type_of(param: u8) -> &'static str {
    match param {
        b's' => "string",
        b'i' => "int",
        b'f' => "float64",
        b'b' => "bool",
        b'S' => "[]string",
        b'L' => "[]interface {}",
        b'M' => "map[string]interface {}",
        b't' => "time.Time",
        _ => "interface {}",
    }
}

/// The error for a value that is no text where text is needed.
pub fn not_text(key: &str) -> Error {
    let mut s = String::from("cannot use the value of ");
    s.push_str(if key.is_empty() { "this argument" } else { key });
    s.push_str(" as text: it is not UTF-8 (base64Encode takes it)");
    Error::config(s)
}

impl<'p> State<'p, '_> {
    /// Evaluates the arguments of `f`; `on` is a method's receiver, `last` comes from the pipeline.
    pub fn arguments(
        &mut self,
        dot: &Value,
        f: &Func,
        on: Option<&Value>,
        args: &'p [Tree],
        last: &mut Option<Value>,
    ) -> Result<Vec<Value>> {
        let mut values: Vec<Value> = on.into_iter().cloned().collect();
        let own = values.len();
        let count = own + args.len() + usize::from(last.is_some());
        let (least, most) = arity(f);
        if count < least || most.is_some_and(|most| count > most) {
            // Of those that may come any number of times, Go does not count the one from the pipeline.
            let (at_least, want, got) = match most {
                None => ("at least ", least, args.len()),
                Some(most) => ("", most - own, count - own),
            };
            let (want, got) = (want.to_string(), got.to_string());
            return self.fail("wrong number of args for %: want %% got %", &[f.name, at_least, &want, &got]);
        }
        for arg in args {
            let value = self.argument(dot, param(f, values.len()), arg)?;
            values.push(value);
        }
        if let Some(value) = last.take() {
            let value = self.fit(value, param(f, values.len()))?;
            values.push(value);
        }
        Ok(values)
    }

    /// One argument for a parameter.
    pub fn argument(&mut self, dot: &Value, param: u8, node: &'p Node) -> Result<Value> {
        self.at(node);
        meter::charge(1);
        let value = match &node.is {
            Is::Dot => dot.clone(),
            Is::Nil => {
                if matches!(param, b'a' | b'S' | b'L' | b'M') {
                    return self.fit(Value::Nil, param);
                }
                return self.fail("cannot assign nil to %", &[type_of(param)]);
            }
            Is::Field(_) | Is::Variable(_) | Is::Function(_) | Is::Chain(..) => {
                self.term(dot, node, node, &[], &mut None)?
            }
            Is::Pipe(_) => self.pipeline(dot, node)?,
            Is::Bool(_) | Is::Str(..) | Is::Number(..) => return self.literal(dot, param, node),
            _ => return self.fail("can't handle the argument", &[]),
        };
        self.fit(value, param)
    }

    /// A literal takes the type of its parameter, when it can.
    fn literal(&mut self, dot: &Value, param: u8, node: &'p Node) -> Result<Value> {
        let want = match (param, &node.is) {
            (b'i', Is::Number(_, n)) => match n.int {
                Some(i) => return Ok(Value::Int(i)),
                None => "integer",
            },
            (b'f', Is::Number(_, n)) => return Ok(Value::Float(n.float)),
            (b'a', _) => return self.constant(dot, node),
            (b's', Is::Str(..)) => {
                let value = self.constant(dot, node)?;
                return self.fit(value, param);
            }
            (b'b', Is::Bool(b)) => return Ok(Value::Bool(*b)),
            (b's', _) => "string",
            (b'b', _) => "bool",
            (b'i', _) => "integer",
            (b'f', _) => "float",
            _ => "",
        };
        let mut text = String::new();
        super::node::write(&mut text, node);
        if want.is_empty() {
            return self.fail("can't handle % for arg of type %", &[&text, type_of(param)]);
        }
        self.fail("expected %; found %", &[want, &text])
    }

    /// The value, when it may be assigned to the parameter.
    fn fit(&mut self, value: Value, param: u8) -> Result<Value> {
        let good = match (param, &value) {
            (b'S', Value::List(l)) => l.elem == Elem::Str,
            (b's', Value::Bytes(b)) => {
                let why = not_text(&b.key).into_text();
                return self.fail("%", &[&why]);
            }
            (b'S', Value::Nil) => return Ok(Value::typed_list(Elem::Str, Vec::new())),
            (b'L', Value::Nil) => return Ok(Value::list(Vec::new())),
            (b'M', Value::Nil) => return Ok(Value::map(Map::new())),
            (_, Value::Nil) if param != b'a' => return self.fail("invalid value; expected %", &[type_of(param)]),
            _ => fits(param, &value),
        };
        if good {
            return Ok(value);
        }
        self.fail("wrong type for value; expected %; got %", &[type_of(param), fmt::type_name(&value)])
    }
}
