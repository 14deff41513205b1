//! Reads a template of the native dialect into the tree that `exec` walks: text, tags, blocks, expressions. It decides
//! what is a template and says where one is not; it checks names of functions and numbers of arguments, bounds how deep
//! anything nests, and evaluates nothing.

use super::lex::{Lexer, Token};
use crate::error::Result;
use crate::template::funcs::{self, Func};
use crate::template::go::time::METHODS;
use crate::text::decimal;
use crate::value::Value;

/// Most levels of blocks: reading, rendering and freeing them walks down.
const DEPTH: usize = 100;

/// The function of this name, or the method of times: Go's `t.Format "2006"` is `Format(t, "2006")` here.
pub fn find(name: &str) -> Option<&'static Func> {
    funcs::find(name).or_else(|| METHODS.iter().find(|m| m.name == name))
}

/// What a template is made of.
pub enum Node {
    /// Plain text: from here to there in the template.
    Text(usize, usize),
    /// `{{ value }}`
    Print(Expr),
    /// `{% if %}`, each `{% else if %}`, and what stands behind `{% else %}`.
    If(Vec<Arm>, Vec<Node>),
    /// `{% for %}`
    For(Box<Loop>),
    /// `{% with value as name %}`
    With(Expr, String, Vec<Node>),
}

/// A condition, whether it stands behind a `not`, and what it guards.
pub struct Arm {
    /// What is asked.
    pub condition: Expr,
    /// It must be false.
    pub not: bool,
    /// What follows then.
    pub body: Vec<Node>,
}

/// A loop.
pub struct Loop {
    /// The names of its variables: one for a list, two for a map; and where each stands.
    pub names: Vec<(String, usize)>,
    /// What it goes over.
    pub over: Expr,
    /// What stands in it.
    pub body: Vec<Node>,
    /// The bytes of that.
    pub length: usize,
}

/// A value to be.
pub struct Expr {
    /// Where it begins.
    pub at: usize,
    /// What it is.
    pub is: Is,
}

/// What an expression is.
pub enum Is {
    /// A literal.
    Value(Value),
    /// A variable and its members.
    Path(Vec<Member>),
    /// A call, a filter, or a literal list or map, with what it is made from.
    Call(&'static Func, Call, Vec<Expr>),
}

/// How a function is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `f(x)`, whose name stands here.
    Plain(usize),
    /// `x | f`
    Filter(usize),
    /// `[x]` or `{"k": x}`
    Literal,
}

/// A step of a path.
pub struct Member {
    /// Where it begins.
    pub at: usize,
    /// `?.`: nothing, when there is no such member.
    pub is_optional: bool,
    /// Which member.
    pub key: Key,
}

/// The key of a member.
pub enum Key {
    /// A field.
    Name(String),
    /// An element.
    Index(usize),
}

/// What ends a list of nodes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The end of the template.
    Text,
    Else,
    ElseIf,
    If,
    For,
    With,
}

/// An open block.
struct Block {
    end: End,
    at: usize,
    /// How many levels it counts: an `else if` is one more.
    levels: usize,
    has_else: bool,
}

struct Parser<'t> {
    lex: Lexer<'t>,
    blocks: Vec<Block>,
}

/// Reads `text`; `name` stands in errors.
///
/// # Errors
/// `Kind::Config`: it is no template, calls an unknown function or one with a wrong number of arguments, or nests too
/// deep.
pub fn parse(name: &str, text: &str) -> Result<Vec<Node>> {
    let mut p = Parser { lex: Lexer::new(name, text), blocks: Vec::new() };
    Ok(p.nodes()?.0)
}

impl<'t> Parser<'t> {
    fn fail<T>(&self, at: usize, pattern: &str, words: &[&str]) -> Result<T> {
        Err(self.lex.error(at, pattern, words))
    }

    /// Everything up to the tag that ends the innermost block; which one that is, and where it begins.
    #[inline(never)]
    fn nodes(&mut self) -> Result<(Vec<Node>, End, usize)> {
        let mut nodes = Vec::new();
        loop {
            let (from, to) = self.lex.plain();
            if from < to {
                nodes.push(Node::Text(from, to));
            }
            let (tag, begin) = self.lex.open();
            match tag {
                0 => {
                    let Some(block) = self.blocks.first() else { return Ok((nodes, End::Text, begin)) };
                    let name = match block.end {
                        End::For => "for",
                        End::With => "with",
                        _ => "if",
                    };
                    return self.fail(block.at, "unclosed `%` block", &[name]);
                }
                b'#' => self.lex.comment()?,
                b'{' => {
                    let value = self.filtered()?;
                    self.lex.expect(b'E')?;
                    nodes.push(Node::Print(value));
                }
                _ => {
                    let end = self.block(begin, &mut nodes)?;
                    if end != End::Text {
                        return Ok((nodes, end, begin));
                    }
                }
            }
        }
    }

    /// A `{% %}` tag and, when it opens a block, all of that. Else what it ends.
    #[inline(never)]
    fn block(&mut self, begin: usize, nodes: &mut Vec<Node>) -> Result<End> {
        let word = self.lex.expect(b'k')?;
        let (end, name) = match word.text {
            "if" => {
                nodes.push(self.choice(begin, word.at)?);
                return Ok(End::Text);
            }
            "for" => {
                nodes.push(self.range(begin, word.at)?);
                return Ok(End::Text);
            }
            "with" => {
                self.enter(End::With, begin, word.at)?;
                let value = self.filtered()?;
                self.keyword("as")?;
                let name = self.lex.expect(b'i')?.text.to_string();
                self.lex.expect(b'E')?;
                nodes.push(Node::With(value, name, self.nodes()?.0));
                return Ok(End::Text);
            }
            "else" if self.lex.is_word("if")? => (End::ElseIf, "else if"),
            "else" => (End::Else, word.text),
            "endif" => (End::If, word.text),
            "endfor" => (End::For, word.text),
            "endwith" => (End::With, word.text),
            _ => return self.fail(word.at, "unexpected keyword `%`", &[word.text]),
        };
        if end != End::ElseIf {
            self.lex.expect(b'E')?;
        }
        let fits = self.blocks.last_mut().is_some_and(|open| match end {
            End::ElseIf if open.end == End::If && !open.has_else => {
                open.levels += 1;
                true
            }
            End::Else if open.end == End::If => !std::mem::replace(&mut open.has_else, true),
            _ => open.end == end,
        });
        if !fits {
            return self.fail(begin, "unexpected `%` block", &[name]);
        }
        match end {
            End::ElseIf => self.check_depth(word.at)?,
            End::Else => {}
            _ => {
                self.blocks.pop();
            }
        }
        Ok(end)
    }

    fn enter(&mut self, end: End, begin: usize, at: usize) -> Result<()> {
        self.blocks.push(Block { end, at: begin, levels: 1, has_else: false });
        self.check_depth(at)
    }

    fn check_depth(&self, at: usize) -> Result<()> {
        if self.blocks.iter().fold(0, |n: usize, block| n.saturating_add(block.levels)) > DEPTH {
            return self.fail(at, "more than 100 levels of blocks (an else if is one more level)", &[]);
        }
        Ok(())
    }

    /// All of an `if` behind the word.
    fn choice(&mut self, begin: usize, at: usize) -> Result<Node> {
        self.enter(End::If, begin, at)?;
        let mut arms = Vec::new();
        loop {
            let not = self.lex.is_word("not")?;
            let condition = self.filtered()?;
            self.lex.expect(b'E')?;
            let (body, end, _) = self.nodes()?;
            arms.push(Arm { condition, not, body });
            match end {
                End::ElseIf => {}
                End::Else => return Ok(Node::If(arms, self.nodes()?.0)),
                _ => return Ok(Node::If(arms, Vec::new())),
            }
        }
    }

    /// All of a `for` behind the word.
    fn range(&mut self, begin: usize, at: usize) -> Result<Node> {
        self.enter(End::For, begin, at)?;
        let mut names = Vec::new();
        loop {
            let name = self.lex.expect(b'i')?;
            names.push((name.text.to_string(), name.at));
            if names.len() == 2 || !self.lex.is(b',')? {
                break;
            }
        }
        self.keyword("in")?;
        let over = self.filtered()?;
        self.lex.expect(b'E')?;
        let (body, _, end) = self.nodes()?;
        Ok(Node::For(Box::new(Loop { names, over, body, length: end.saturating_sub(at) })))
    }

    fn keyword(&mut self, wanted: &str) -> Result<()> {
        let word = self.lex.expect(b'k')?;
        if word.text == wanted {
            return Ok(());
        }
        self.fail(word.at, "expected keyword `%`, found keyword `%`", &[wanted, word.text])
    }

    /// A value and what is done with it: `x | f: y | g`.
    #[inline(never)]
    fn filtered(&mut self) -> Result<Expr> {
        let mut value = self.value()?;
        while self.lex.is(b'|')? {
            let word = self.lex.expect(b'i')?;
            let callee = self.function(&word)?;
            let at = value.at;
            let mut args = vec![value];
            if self.lex.is(b':')? {
                self.items(&mut args, 0)?;
            }
            self.check(callee, &word, args.len())?;
            value = Expr { at, is: Is::Call(callee, Call::Filter(word.at), args) };
        }
        Ok(value)
    }

    /// Values between commas, up to a closing bracket or (`close` 0) what may follow a filter.
    #[inline(never)]
    fn items(&mut self, items: &mut Vec<Expr>, close: u8) -> Result<()> {
        loop {
            let next = self.lex.peek()?;
            let ends = match next.kind {
                b'E' | b'|' | b')' if close == 0 => true,
                b'k' => close == 0 && next.text == "as",
                kind => kind == close,
            };
            if ends {
                break;
            }
            if close == b'}' {
                items.push(self.text()?);
                self.lex.expect(b':')?;
            }
            items.push(self.value()?);
            if !self.lex.is(b',')? {
                break;
            }
        }
        if close != 0 {
            self.lex.expect(close)?;
        }
        Ok(())
    }

    fn text(&mut self) -> Result<Expr> {
        let at = self.lex.expect(b'"')?.at;
        Ok(Expr { at, is: Is::Value(Value::str(&self.lex.value)) })
    }

    /// A value without filters.
    #[inline(never)]
    fn value(&mut self) -> Result<Expr> {
        let first = self.lex.peek()?;
        if first.kind == b'"' {
            return self.text();
        }
        self.lex.next()?;
        let is = match first.kind {
            b'k' => match first.text {
                "true" | "false" => Is::Value(Value::Bool(first.text == "true")),
                word => return self.fail(first.at, "unexpected keyword `%`", &[word]),
            },
            b'0' => Is::Value(self.number(&first, false)?),
            b'+' | b'-' => {
                let number = self.lex.expect(b'0')?;
                Is::Value(self.number(&number, first.kind == b'-')?)
            }
            b'i' if self.lex.is(b'(')? => {
                self.lex.is_call();
                let callee = self.function(&first)?;
                let mut args = Vec::new();
                self.items(&mut args, b')')?;
                self.check(callee, &first, args.len())?;
                Is::Call(callee, Call::Plain(first.at), args)
            }
            b'i' => {
                let key = Key::Name(first.text.to_string());
                self.path(Member { at: first.at, is_optional: false, key })?
            }
            b'.' | b'?' => {
                let first = self.member(&first)?;
                self.path(first)?
            }
            b'(' => {
                let value = self.filtered()?;
                self.lex.expect(b')')?;
                return Ok(value);
            }
            b'[' | b'{' => {
                let (callee, close) = if first.kind == b'[' { ("list", b']') } else { ("map", b'}') };
                let mut items = Vec::new();
                self.items(&mut items, close)?;
                let Some(callee) = find(callee) else { return self.unexpected(&first) };
                Is::Call(callee, Call::Literal, items)
            }
            _ => return self.unexpected(&first),
        };
        Ok(Expr { at: first.at, is })
    }

    fn unexpected<T>(&self, token: &Token) -> Result<T> {
        self.lex.unexpected(token, "expression")
    }

    fn path(&mut self, first: Member) -> Result<Is> {
        let mut path = vec![first];
        loop {
            let next = self.lex.peek()?;
            if !matches!(next.kind, b'.' | b'?') {
                return Ok(Is::Path(path));
            }
            self.lex.next()?;
            path.push(self.member(&next)?);
        }
    }

    /// What stands behind a dot.
    fn member(&mut self, dot: &Token) -> Result<Member> {
        let word = self.lex.next()?;
        let key = match word.kind {
            b'i' => Key::Name(word.text.to_string()),
            b'#' => match word.text.parse() {
                Ok(n) => Key::Index(n),
                Err(_) => return self.fail(word.at, "base 10 literal out of range for unsigned 64-bit integer", &[]),
            },
            _ => return self.lex.unexpected(&word, "identifier or index"),
        };
        Ok(Member { at: dot.at, is_optional: dot.kind == b'?', key })
    }

    /// An integer in base 2, 8, 10 or 16, with underscores anywhere, or else a fraction.
    #[inline(never)]
    fn number(&self, token: &Token, is_negative: bool) -> Result<Value> {
        let (radix, base, skip) = match token.text.get(..2) {
            Some("0b") => (2, "2", 2),
            Some("0o") => (8, "8", 2),
            Some("0x") => (16, "16", 2),
            _ => (10, "10", 0),
        };
        let (mut value, mut wrong) = (Some(0_i64), None);
        for (i, c) in token.text.char_indices().skip(skip).filter(|(_, c)| *c != '_') {
            let Some(digit) = c.to_digit(radix) else {
                wrong = Some(i);
                break;
            };
            let digit = if is_negative { -i64::from(digit) } else { i64::from(digit) };
            value = value.and_then(|n| n.checked_mul(i64::from(radix))?.checked_add(digit));
        }
        if let (Some(n), None) = (value, wrong) {
            return Ok(Value::Int(n));
        }
        if let Some(n) = decimal::read(token.text) {
            return Ok(Value::Float(if is_negative { -n } else { n }));
        }
        match wrong {
            _ if token.text.contains(['.', '-', '+']) => self.fail(token.at, "invalid float literal", &[]),
            Some(i) => self.fail(token.at + i, "invalid digit for base % literal", &[base]),
            None => self.fail(token.at, "base % literal out of range for 64-bit integer", &[base]),
        }
    }

    #[inline(never)]
    fn function(&self, word: &Token) -> Result<&'static Func> {
        if let Some(callee) = find(word.text) {
            return Ok(callee);
        }
        let near = funcs::all().iter().map(|f| (distance(word.text, f.name), f.name)).min();
        match near {
            Some((d, name)) if d <= 2 && d < word.text.len() => {
                self.fail(word.at, "there is no function %; did you mean %?", &[word.text, name])
            }
            _ => self.fail(word.at, "there is no function %", &[word.text]),
        }
    }

    #[inline(never)]
    fn check(&self, callee: &Func, word: &Token, given: usize) -> Result<()> {
        let (least, most) = funcs::arity(callee);
        if given >= least && most.is_none_or(|most| given <= most) {
            return Ok(());
        }
        let mut text = least.to_string();
        match most {
            None => text.push_str(" or more"),
            Some(most) if most > least => {
                text.push_str(" to ");
                text.push_str(&most.to_string());
            }
            Some(_) => {}
        }
        let plural = if most.unwrap_or(least) == 1 { "" } else { "s" };
        let words = [callee.name, &text, plural, &given.to_string()];
        self.fail(word.at, "%: takes % argument%, not %", &words)
    }
}

/// How many letters must be added, dropped or changed to get from one name to the other; case does not count.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (y, cell) in b.bytes().zip(row.iter_mut().skip(1)) {
            let change = corner.saturating_add(usize::from(!x.eq_ignore_ascii_case(&y)));
            corner = *cell;
            left = change.min(left + 1).min(corner + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}
