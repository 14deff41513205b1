//! Reads the expressions inside of tags, straight from the text, with Ruby's rules for what binds how, into steps. It
//! knows the names of variables and methods; it computes nothing.

use std::sync::Arc;

use super::op::{Is, Ops};
use super::ruby::METHODS;
use crate::error::{Error, Result};
use crate::formats::error_at;
use crate::text::decimal;
use crate::value::Value;

/// Expressions nest no deeper.
const DEEPEST: usize = 100;

/// Reads one tag after another.
pub struct Parser<'a> {
    name: &'a str,
    text: &'a str,
    /// The next byte, and the end of the tag.
    at: usize,
    end: usize,
    depth: usize,
    variables: Vec<&'a str>,
    /// What was read.
    pub out: Ops,
}

fn is_word(c: u8) -> bool {
    c == b'_' || c.is_ascii_alphanumeric() || !c.is_ascii()
}

impl<'a> Parser<'a> {
    /// For this text.
    pub fn new(name: &'a str, text: &'a str) -> Parser<'a> {
        Parser { name, text, at: 0, end: 0, depth: 0, variables: Vec::new(), out: Ops::default() }
    }
    /// A part of the text.
    #[inline(never)]
    pub fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or("")
    }
    /// A byte of the text; 0 behind it.
    #[inline(never)]
    pub fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }
    /// Where this text comes next.
    pub fn find(&self, from: usize, what: &str) -> Option<usize> {
        super::ruby::find(self.text, what, from)
    }
    /// The error at this byte.
    #[inline(never)]
    pub fn fail(&self, at: usize, parts: &[&str]) -> Error {
        error_at(self.name, self.text, at, &parts.concat())
    }
    /// The error for a form that is none of ours.
    #[inline(never)]
    pub fn not_understood(&self, at: usize, form: &str) -> Error {
        if form.is_empty() {
            return self.fail(at, &["this tag ends too early"]);
        }
        let why = "`: it is not in the part of ERB that pilotfish knows (see its README)";
        self.fail(at, &["cannot understand `", form, why])
    }

    /// Begins the tag with this inside.
    pub fn enter(&mut self, from: usize, to: usize) {
        (self.at, self.end, self.depth) = (from, to, 0);
    }
    /// The next byte of the tag; 0 at its end.
    #[inline(never)]
    fn peek(&self) -> u8 {
        if self.at < self.end { self.byte(self.at) } else { 0 }
    }
    /// Where the next form begins.
    #[inline(never)]
    pub fn start(&mut self) -> usize {
        while matches!(self.peek(), b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
        self.at
    }
    /// Whether nothing is left.
    pub fn is_done(&mut self) -> bool {
        self.start() == self.end
    }
    /// Refuses what is left.
    #[inline(never)]
    pub fn done(&mut self) -> Result<()> {
        if self.is_done() { Ok(()) } else { Err(self.unknown(self.at)) }
    }
    /// Refuses the form that begins here.
    #[inline(never)]
    fn unknown(&self, at: usize) -> Error {
        let mut to = at;
        let byte = |at: usize| if at < self.end { self.byte(at) } else { b' ' };
        while to < at + 3 && !is_word(byte(to)) && !byte(to).is_ascii_whitespace() {
            to += 1;
        }
        // `.name`, `@name`, `:name` are one form; other signs stand for themselves.
        if matches!(self.slice(at, to), "" | "." | "@" | ":" | "&." | "$") {
            while is_word(byte(to)) || matches!(byte(to), b'?' | b'!') {
                to += 1;
            }
        }
        self.not_understood(at, self.slice(at, to))
    }
    /// Takes this sign if it comes next.
    #[inline(never)]
    fn take(&mut self, sign: &str) -> bool {
        self.start();
        let is_here = self.slice(self.at, self.end).starts_with(sign);
        if is_here {
            self.at += sign.len();
        }
        is_here
    }
    #[inline(never)]
    fn expect(&mut self, sign: &str) -> Result<()> {
        if self.take(sign) { Ok(()) } else { Err(self.unknown(self.at)) }
    }
    /// The next word, taken, or nothing.
    #[inline(never)]
    pub fn word(&mut self) -> &'a str {
        let from = self.start();
        if !self.peek().is_ascii_digit() {
            while is_word(self.peek()) {
                self.at += 1;
            }
        }
        self.slice(from, self.at)
    }
    /// Forgets a loop's variables at its end.
    pub fn forget(&mut self, n: usize) {
        self.variables.truncate(self.variables.len().saturating_sub(n));
    }

    /// `X.each do |v|`, `X.each do |k, v|`, from `at`: how many variables.
    pub fn each(&mut self, at: usize) -> Result<usize> {
        self.at = at;
        self.expression()?;
        if self.word() != "each" {
            return Err(self.fail(at, &["a statement must be if, elsif, else, unless, end or X.each do |v|"]));
        }
        let at = self.start();
        if self.word() != "do" {
            return Err(self.unknown(at));
        }
        self.expect("|")?;
        let mut n = 0;
        loop {
            let at = self.start();
            let name = self.word();
            if !name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') {
                return Err(self.unknown(at));
            }
            self.variables.push(name);
            n += 1;
            if n == 2 || !self.take(",") {
                break;
            }
        }
        self.expect("|")?;
        Ok(n)
    }

    /// One level down; `expression` and `unary` come up again by themselves.
    #[inline(never)]
    fn deeper(&mut self) -> Result<usize> {
        self.depth += 1;
        let at = self.start();
        if self.depth > DEEPEST { Err(self.fail(at, &["this nests more than 100 levels deep"])) } else { Ok(at) }
    }

    /// `X || Y`.
    pub fn expression(&mut self) -> Result<()> {
        self.deeper()?;
        self.logic(true)?;
        self.depth -= 1;
        Ok(())
    }

    /// `X || Y`, or within it `X && Y`, which binds tighter. What decides jumps behind the last.
    fn logic(&mut self, is_any: bool) -> Result<()> {
        let (sign, step) = if is_any { ("||", Is::Or) } else { ("&&", Is::And) };
        let mut steps = Vec::new();
        loop {
            if is_any {
                self.logic(false)?
            } else {
                self.compared(true)?
            }
            let at = self.at;
            if !self.take(sign) {
                break;
            }
            steps.push(self.out.add(at, step, 0));
        }
        for step in steps {
            self.out.land(step);
        }
        Ok(())
    }

    /// `X == Y`, or within it `X < Y`, which binds tighter.
    fn compared(&mut self, is_equality: bool) -> Result<()> {
        let at = self.start();
        if is_equality {
            self.compared(false)?
        } else {
            self.unary()?
        }
        let sign = self.start();
        let op = self.peek();
        let [second, third] = [1, 2].map(|n| if sign + n < self.end { self.byte(sign + n) } else { 0 });
        let is_known = match (op, second) {
            (b'=', b'=') if third == b'=' => return Err(self.unknown(sign)),
            (b'<' | b'>', b'=' | b'<' | b'>') => return Err(self.unknown(sign)),
            (b'=' | b'!', b'=') => is_equality,
            (b'<' | b'>', _) => !is_equality,
            _ => false,
        };
        if is_known {
            self.at += if is_equality { 2 } else { 1 };
            if is_equality {
                self.compared(false)?
            } else {
                self.unary()?
            }
            self.out.add(at, Is::Compare, usize::from(op));
        }
        Ok(())
    }

    fn unary(&mut self) -> Result<()> {
        let at = self.deeper()?;
        if self.peek() == b'!' && self.byte(at + 1) != b'=' {
            self.at += 1;
            self.unary()?;
            self.out.add(at, Is::Not, 0);
        } else {
            self.primary()?;
            while self.link()? {}
        }
        self.depth -= 1;
        Ok(())
    }

    /// `.method(Y)` or `[Y]`, if there is one.
    #[inline(never)]
    fn link(&mut self) -> Result<bool> {
        let at = self.start();
        if self.take("[") {
            self.expression()?;
            self.expect("]")?;
            self.out.add(at, Is::Index, 0);
            return Ok(true);
        }
        if !self.take(".") {
            return Ok(false);
        }
        let from = self.start();
        if self.word() == "each" {
            self.at = from;
            return Ok(false);
        }
        if matches!(self.peek(), b'?' | b'!') {
            self.at += 1;
        }
        let name = self.slice(from, self.at);
        let Some(i) = METHODS.iter().position(|m| m.name == name) else { return Err(self.unknown(at)) };
        let n = if self.peek() == b'(' { self.values("(", ")")? } else { 0 };
        if METHODS.get(i).is_some_and(|m| n < usize::from(m.least) || n > usize::from(m.most)) {
            return Err(self.fail(at, &[".", name, " does not take so many arguments"]));
        }
        self.out.add(at, Is::Method, i | n << 8);
        Ok(true)
    }

    /// `(X, Y)`: how many.
    #[inline(never)]
    fn values(&mut self, open: &str, close: &str) -> Result<usize> {
        self.expect(open)?;
        let mut n = 0;
        while n > 0 || !self.take(close) {
            self.expression()?;
            n += 1;
            if !self.take(",") {
                self.expect(close)?;
                break;
            }
        }
        Ok(n)
    }

    fn primary(&mut self) -> Result<()> {
        let at = self.start();
        match self.peek() {
            b'(' => {
                self.at += 1;
                self.expression()?;
                return self.expect(")");
            }
            b'[' => {
                let n = self.values("[", "]")?;
                self.out.add(at, Is::List, n);
            }
            b'"' | b'\'' => {
                let text = self.string()?;
                self.out.constant(at, Value::Str(Arc::from(text)));
            }
            b'0'..=b'9' | b'-' => self.number()?,
            b'@' => {
                self.at += 1;
                if self.word() != "reconfig" || self.peek() != b'[' {
                    return Err(self.unknown(at));
                }
                self.at += 1;
                self.start();
                let key = if matches!(self.peek(), b'"' | b'\'') { self.string()? } else { String::new() };
                self.expect("]")?;
                let Some(n) = ["data", "altdata", "watched"].iter().position(|name| *name == key) else {
                    return Err(self.fail(at, &["@reconfig has \"data\", \"altdata\" and \"watched\""]));
                };
                self.out.add(at, Is::Name, n);
            }
            _ => return self.name(at),
        }
        Ok(())
    }

    /// A word that stands for a value.
    #[inline(never)]
    fn name(&mut self, at: usize) -> Result<()> {
        let value = match self.word() {
            "nil" => Value::Nil,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "JSON" => {
                self.expect(".")?;
                let step = match self.word() {
                    "parse" => Is::Parse,
                    "pretty_generate" => Is::Pretty,
                    form => return Err(self.not_understood(at, &["JSON.", form].concat())),
                };
                self.expect("(")?;
                self.expression()?;
                self.expect(")")?;
                self.out.add(at, step, 0);
                return Ok(());
            }
            name => {
                let Some(n) = self.variables.iter().rposition(|v| *v == name) else { return Err(self.unknown(at)) };
                self.out.add(at, Is::Variable, n);
                return Ok(());
            }
        };
        self.out.constant(at, value);
        Ok(())
    }

    #[inline(never)]
    fn number(&mut self) -> Result<()> {
        let at = self.at;
        self.at += usize::from(self.peek() == b'-');
        let digits = self.at;
        let mut is_whole = true;
        loop {
            let next = self.byte(self.at + 1);
            match self.peek() {
                b'0'..=b'9' => {}
                b'.' if is_whole && next.is_ascii_digit() && self.at > digits => is_whole = false,
                _ => break,
            }
            self.at += 1;
        }
        let text = self.slice(at, self.at);
        let value = match is_whole {
            true => text.parse().ok().map(Value::Int),
            false => decimal::read(text).map(Value::Float),
        };
        // `010` is 8 in Ruby, `1e3` and `1_000` are numbers there.
        let is_octal = self.byte(digits) == b'0' && self.at > digits + 1 && is_whole;
        let is_odd = is_octal || is_word(self.peek());
        while is_word(self.peek()) {
            self.at += 1;
        }
        match value {
            Some(value) if !is_odd => {
                self.out.constant(at, value);
                Ok(())
            }
            _ => Err(self.not_understood(at, self.slice(at, self.at))),
        }
    }

    /// A string in quotes, with their rules.
    #[inline(never)]
    fn string(&mut self) -> Result<String> {
        let at = self.at;
        let mark = self.peek();
        let is_double = mark == b'"';
        let mut out = Vec::new();
        self.at += 1;
        while self.at < self.end {
            let c = self.peek();
            self.at += 1;
            let next = self.peek();
            if c == mark {
                return Ok(String::from_utf8_lossy(&out).into_owned());
            }
            if is_double && c == b'#' && matches!(next, b'{' | b'@' | b'$') {
                return Err(self.not_understood(self.at - 1, self.slice(self.at - 1, self.at + 1)));
            }
            if c != b'\\' || !(is_double || matches!(next, b'\\' | b'\'')) {
                out.push(c);
                continue;
            }
            out.push(match next {
                _ if !is_double => next,
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                b's' => b' ',
                b'e' => 0x1b,
                _ if next.is_ascii_alphanumeric() || next == b'\n' => {
                    return Err(self.not_understood(self.at - 1, self.slice(self.at - 1, self.at + 1)));
                }
                _ => next,
            });
            self.at += 1;
        }
        Err(self.fail(at, &["this string is not closed"]))
    }
}
