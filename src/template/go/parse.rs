//! Reads tokens into a tree, with Go's rules and Go's words for what is wrong. It knows variables and functions by
//! name; it computes nothing.

use std::sync::Arc;

use super::lex::{Item, Tok, lex};
use super::node::{self, Arm, Is, Pipe, Tree, tree};
use super::number;
use crate::error::{Error, Result};
use crate::template::funcs::Func;
use crate::text;
use crate::value::Value;

/// Control structures and parentheses nest no deeper.
const DEEPEST: usize = 100;

/// Templates by name. There are few: they are searched one by one.
pub type Defined = Vec<(String, Vec<Tree>)>;

/// A function by its name.
pub type Find = fn(&str) -> Option<&'static Func>;

/// Parses `text` into the templates it defines, itself among them as `name`.
///
/// # Errors
/// `template: NAME:LINE: what is wrong`, and the line itself.
pub fn parse(name: &str, text: &str, find: Find) -> Result<Defined> {
    let (items, lex_error) = lex(text);
    let mut p = Parser {
        name,
        text,
        find,
        items,
        lex_error,
        at: 0,
        seen: 0,
        vars: vec![Box::from("$")],
        ranges: 0,
        depth: 0,
        action: None,
        defined: Vec::new(),
        last: Item { tok: Tok::Eof, from: text.len(), to: text.len() },
        is_else: false,
    };
    p.top()?;
    Ok(p.defined)
}

struct Parser<'a> {
    name: &'a str,
    text: &'a str,
    find: Find,
    items: Vec<Item>,
    lex_error: String,
    /// The next token.
    at: usize,
    /// The furthest token that was looked at: errors name its line, as Go's do.
    seen: usize,
    vars: Vec<Box<str>>,
    ranges: usize,
    depth: usize,
    /// Where the action began that is being read.
    action: Option<usize>,
    defined: Defined,
    last: Item,
    /// Whether the list that ended last did so by `{{else}}`, not by `{{end}}`.
    is_else: bool,
}

impl<'a> Parser<'a> {
    #[inline(never)]
    fn next(&mut self) -> Item {
        self.seen = self.seen.max(self.at);
        let item = self.items.get(self.at).copied().unwrap_or(self.last);
        self.at += 1;
        item
    }
    fn backup(&mut self) {
        self.at = self.at.saturating_sub(1);
    }
    #[inline(never)]
    fn peek(&mut self) -> Item {
        let item = self.next();
        self.backup();
        item
    }
    #[inline(never)]
    fn next_solid(&mut self) -> Item {
        loop {
            let item = self.next();
            if item.tok != Tok::Space {
                return item;
            }
        }
    }
    #[inline(never)]
    fn peek_solid(&mut self) -> Item {
        let item = self.next_solid();
        self.backup();
        item
    }
    #[inline(never)]
    fn word(&self, item: Item) -> &'a str {
        self.text.get(item.from..item.to).unwrap_or("")
    }
    fn line(&self, pos: usize) -> usize {
        self.text.bytes().take(pos).filter(|b| *b == b'\n').count() + 1
    }

    /// An error at the furthest token.
    #[inline(never)]
    fn error(&self, why: &str) -> Error {
        let pos = self.items.get(self.seen).unwrap_or(&self.last).from;
        let mut s = String::from("template: ");
        s.push_str(self.name);
        s.push(':');
        s.push_str(&self.line(pos).to_string());
        s.push_str(": ");
        s.push_str(why);
        super::show_line(&mut s, self.text, pos);
        Error::config(s)
    }
    fn fail<T>(&self, pattern: &str, words: &[&str]) -> Result<T> {
        Err(self.failure(pattern, words))
    }
    fn unexpected<T>(&self, item: Item, context: &str) -> Result<T> {
        Err(self.misplaced(item, context))
    }
    // Out of line, so that each message costs a call.
    #[inline(never)]
    fn failure(&self, pattern: &str, words: &[&str]) -> Error {
        self.error(&text::fill(pattern, words))
    }
    #[inline(never)]
    fn misplaced(&self, item: Item, context: &str) -> Error {
        if item.tok == Tok::Error {
            let mut why = self.lex_error.clone();
            if let Some(action) = self.action.filter(|a| self.line(*a) != self.line(item.from)) {
                // "unclosed action" needs no second "action".
                why.push_str(if why.ends_with(" action") { " started at " } else { " in action started at " });
                why.push_str(self.name);
                why.push(':');
                why.push_str(&self.line(action).to_string());
            }
            return self.error(&why);
        }
        let word = self.word(item);
        let shown = if item.tok == Tok::Eof {
            String::from("EOF")
        } else if item.is_keyword() {
            ["<", word, ">"].concat()
        } else if word.len() > 10 {
            let cut = word.char_indices().nth(10).map_or(word.len(), |c| c.0);
            [&text::quoted(word.get(..cut).unwrap_or("")), "..."].concat()
        } else {
            text::quoted(word)
        };
        self.failure("unexpected % in %", &[&shown, context])
    }
    #[inline(never)]
    fn expect(&mut self, tok: Tok, context: &str) -> Result<Item> {
        let item = self.next_solid();
        if item.tok == tok { Ok(item) } else { self.unexpected(item, context) }
    }

    fn define(&mut self, name: &str, list: Vec<Tree>) -> Result<()> {
        match self.defined.iter_mut().find(|d| d.0 == name) {
            None => self.defined.push((name.to_string(), list)),
            Some(old) if node::is_empty(&old.1) => old.1 = list,
            Some(_) if node::is_empty(&list) => {}
            Some(_) => return self.fail("template: multiple definition of template %", &[&text::quoted(name)]),
        }
        Ok(())
    }

    fn top(&mut self) -> Result<()> {
        let mut root = Vec::new();
        loop {
            let item = self.peek();
            match item.tok {
                Tok::Eof => return self.define(self.name, root),
                Tok::LeftDelim => {
                    let start = self.at;
                    self.next();
                    if self.next_solid().tok == Tok::Define {
                        self.definition()?;
                        continue;
                    }
                    self.at = start;
                }
                _ => {}
            }
            match self.text_or_action()? {
                Some(node) => root.push(node),
                None if self.is_else => return self.fail("unexpected {{else}}", &[]),
                None => return self.fail("unexpected {{end}}", &[]),
            }
        }
    }

    /// `{{define "name"}}`: the keyword is past.
    fn definition(&mut self) -> Result<()> {
        let context = "define clause";
        let item = self.next_solid();
        let name = self.template_name(item, context)?;
        self.expect(Tok::RightDelim, context)?;
        self.body(&name, context)
    }

    /// The list of a definition, which has variables of its own.
    fn body(&mut self, name: &str, context: &str) -> Result<()> {
        let vars = std::mem::replace(&mut self.vars, vec![Box::from("$")]);
        let ranges = std::mem::take(&mut self.ranges);
        let mut list = Vec::new();
        self.list(&mut list)?;
        if self.is_else {
            return self.fail("unexpected {{else}} in %", &[context]);
        }
        self.vars = vars;
        self.ranges = ranges;
        self.define(name, list)
    }

    /// Nodes up to an `{{end}}` or `{{else}}`; `is_else` says which.
    #[inline(never)]
    fn list(&mut self, list: &mut Vec<Tree>) -> Result<()> {
        if self.depth >= DEEPEST {
            return self.fail("nested deeper than 100 levels", &[]);
        }
        self.depth += 1;
        while self.peek_solid().tok != Tok::Eof {
            match self.text_or_action()? {
                Some(node) => list.push(node),
                None => {
                    self.depth -= 1;
                    return Ok(());
                }
            }
        }
        self.fail("unexpected EOF", &[])
    }

    /// A node, or nothing where a list ends.
    #[inline(never)]
    fn text_or_action(&mut self) -> Result<Option<Tree>> {
        let item = self.next_solid();
        match item.tok {
            Tok::Text => Ok(Some(tree(item.from, Is::Text(Box::from(self.word(item)))))),
            Tok::LeftDelim => {
                self.action = Some(item.from);
                let node = self.action()?;
                self.action = None;
                Ok(node)
            }
            _ => self.unexpected(item, "input"),
        }
    }

    fn action(&mut self) -> Result<Option<Tree>> {
        let item = self.next_solid();
        let pos = item.from;
        Ok(Some(match item.tok {
            Tok::Block => self.block(pos)?,
            Tok::Break | Tok::Continue => {
                let end = self.next_solid();
                let what = if item.tok == Tok::Break { "{{break}}" } else { "{{continue}}" };
                if end.tok != Tok::RightDelim {
                    return self.unexpected(end, what);
                }
                if self.ranges == 0 {
                    return self.fail("% outside {{range}}", &[what]);
                }
                tree(pos, if item.tok == Tok::Break { Is::Break } else { Is::Continue })
            }
            Tok::Else | Tok::End => {
                self.is_else = item.tok == Tok::Else;
                // "else if" and "else with" go on in the control structure they belong to.
                if !self.is_else {
                    self.expect(Tok::RightDelim, "end")?;
                } else if !matches!(self.peek_solid().tok, Tok::If | Tok::With) {
                    self.expect(Tok::RightDelim, "else")?;
                }
                return Ok(None);
            }
            Tok::If | Tok::With => self.choice(pos, item.tok)?,
            Tok::Range => self.range(pos)?,
            Tok::Template => {
                let name_item = self.next_solid();
                let name = self.template_name(name_item, "template clause")?;
                let mut pipe = None;
                if self.next_solid().tok != Tok::RightDelim {
                    self.backup();
                    pipe = Some(self.pipeline("template clause", Tok::RightDelim)?);
                }
                tree(name_item.from, Is::Template(name, pipe))
            }
            _ => {
                self.backup();
                let pos = self.peek().from;
                let pipe = self.pipeline("command", Tok::RightDelim)?;
                tree(pos, Is::Action(pipe))
            }
        }))
    }

    /// `if` or `with`, with any number of `else if` or `else with`.
    #[inline(never)]
    fn choice(&mut self, pos: usize, kind: Tok) -> Result<Tree> {
        let context = if kind == Tok::If { "if" } else { "with" };
        let vars = self.vars.len();
        let mut arms = Vec::new();
        loop {
            let pipe = self.pipeline(context, Tok::RightDelim)?;
            let mut list = Vec::new();
            self.list(&mut list)?;
            arms.push(Arm { pipe, list });
            if !self.is_else || self.peek_solid().tok != kind {
                break;
            }
            self.next_solid();
        }
        let otherwise = self.otherwise()?;
        self.vars.truncate(vars);
        Ok(tree(pos, Is::Choice(kind == Tok::With, arms, otherwise)))
    }

    /// What stands behind an `{{else}}`, if that ended the list before.
    #[inline(never)]
    fn otherwise(&mut self) -> Result<Option<Vec<Tree>>> {
        if !self.is_else {
            return Ok(None);
        }
        let mut list = Vec::new();
        self.list(&mut list)?;
        if self.is_else {
            return self.fail("expected end; found {{else}}", &[]);
        }
        Ok(Some(list))
    }

    fn range(&mut self, pos: usize) -> Result<Tree> {
        let vars = self.vars.len();
        let pipe = self.pipeline("range", Tok::RightDelim)?;
        self.ranges += 1;
        let mut list = Vec::new();
        self.list(&mut list)?;
        self.ranges -= 1;
        let otherwise = self.otherwise()?;
        self.vars.truncate(vars);
        Ok(tree(pos, Is::Range(Box::new(Arm { pipe, list }), otherwise)))
    }

    /// `{{block "name" pipeline}}`: a definition and its use in one.
    fn block(&mut self, pos: usize) -> Result<Tree> {
        let context = "block clause";
        let item = self.next_solid();
        let name = self.template_name(item, context)?;
        let pipe = self.pipeline(context, Tok::RightDelim)?;
        self.body(&name, context)?;
        Ok(tree(pos, Is::Template(name, Some(pipe))))
    }

    #[inline(never)]
    fn template_name(&mut self, item: Item, context: &str) -> Result<Box<str>> {
        if !matches!(item.tok, Tok::Str | Tok::RawString) {
            return self.unexpected(item, context);
        }
        match number::unquote(self.word(item)) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into()),
            Err(why) => self.fail("%", &[&why]),
        }
    }

    fn pipeline(&mut self, context: &str, end: Tok) -> Result<Tree> {
        let pos = self.peek_solid().from;
        let mut pipe = Pipe { assign: false, vars: Vec::new(), commands: Vec::new() };
        while self.peek_solid().tok == Tok::Variable {
            let var = self.next_solid();
            let start = self.at - 1;
            let after = self.next_solid();
            match after.tok {
                Tok::Assign | Tok::Declare => {
                    pipe.assign = after.tok == Tok::Assign;
                    self.declare(&mut pipe, var);
                    break;
                }
                Tok::Char if self.word(after) == "," => {
                    self.declare(&mut pipe, var);
                    if context != "range" || pipe.vars.len() > 1 {
                        return self.fail("too many declarations in %", &[context]);
                    }
                    if !matches!(self.peek_solid().tok, Tok::Variable | Tok::RightDelim | Tok::RightParen) {
                        return self.fail("range can only initialize variables", &[]);
                    }
                }
                _ => {
                    self.at = start;
                    break;
                }
            }
        }
        loop {
            let item = self.next_solid();
            if item.tok == end {
                break;
            }
            match item.tok {
                Tok::Bool
                | Tok::CharConstant
                | Tok::Complex
                | Tok::Dot
                | Tok::Field
                | Tok::Identifier
                | Tok::Number
                | Tok::Nil
                | Tok::RawString
                | Tok::Str
                | Tok::Variable
                | Tok::LeftParen => {
                    self.backup();
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(item, context),
            }
        }
        if pipe.commands.is_empty() {
            return self.fail("missing value for %", &[context]);
        }
        for (i, command) in pipe.commands.iter().enumerate().skip(1) {
            let Is::Command(args) = &command.is else { continue };
            if matches!(
                args.first().map(|a| &a.is),
                Some(Is::Bool(_) | Is::Dot | Is::Nil | Is::Number(..) | Is::Str(..))
            ) {
                return self.fail("non executable command in pipeline stage %", &[&(i + 1).to_string()]);
            }
        }
        Ok(tree(pos, Is::Pipe(pipe)))
    }

    fn declare(&mut self, pipe: &mut Pipe, var: Item) {
        let name = self.word(var);
        pipe.vars.push(Box::from(name));
        self.vars.push(Box::from(name));
    }

    #[inline(never)]
    fn command(&mut self) -> Result<Tree> {
        let pos = self.peek_solid().from;
        let mut args = Vec::new();
        loop {
            self.peek_solid();
            while self.peek().tok == Tok::Space {
                self.next();
            }
            if let Some(operand) = self.operand()? {
                args.push(operand);
            }
            let item = self.next();
            match item.tok {
                Tok::Space => {}
                Tok::RightDelim | Tok::RightParen => {
                    self.backup();
                    break;
                }
                Tok::Pipe => break,
                _ => return self.unexpected(item, "operand"),
            }
        }
        if args.is_empty() {
            return self.fail("empty command", &[]);
        }
        Ok(tree(pos, Is::Command(args)))
    }

    #[inline(never)]
    fn operand(&mut self) -> Result<Option<Tree>> {
        let Some(mut node) = self.term()? else { return Ok(None) };
        let pos = self.peek().from;
        let mut names: Vec<Box<str>> = Vec::new();
        while self.peek().tok == Tok::Field {
            let item = self.next();
            names.push(Box::from(self.word(item).get(1..).unwrap_or("")));
        }
        if names.is_empty() {
            return Ok(Some(node));
        }
        match &mut node.is {
            Is::Field(have) | Is::Variable(have) => {
                have.extend(names);
                node.pos = pos;
                Ok(Some(node))
            }
            Is::Bool(_) | Is::Str(..) | Is::Number(..) | Is::Nil | Is::Dot => {
                let mut text = String::new();
                node::write(&mut text, &node);
                self.fail("unexpected . after term %", &[&text::quoted(&text)])
            }
            _ => Ok(Some(tree(pos, Is::Chain(node, names)))),
        }
    }

    #[inline(never)]
    fn term(&mut self) -> Result<Option<Tree>> {
        let item = self.next_solid();
        let word = self.word(item);
        let is = match item.tok {
            Tok::Identifier => match (self.find)(word) {
                Some(f) => Is::Function(f),
                None => return self.fail("function % not defined", &[&text::quoted(word)]),
            },
            Tok::Dot => Is::Dot,
            Tok::Nil => Is::Nil,
            Tok::Variable => {
                if !self.vars.iter().any(|v| &**v == word) {
                    return self.fail("undefined variable %", &[&text::quoted(word)]);
                }
                Is::Variable(vec![Box::from(word)])
            }
            Tok::Field => Is::Field(vec![Box::from(word.get(1..).unwrap_or(""))]),
            Tok::Bool => Is::Bool(word == "true"),
            Tok::CharConstant | Tok::Number | Tok::Complex => {
                let read = if item.tok == Tok::CharConstant { number::character(word) } else { number::number(word) };
                match read {
                    Ok(n) => Is::Number(Box::from(word), n),
                    Err(why) => return self.fail("%", &[&why]),
                }
            }
            Tok::LeftParen => {
                if self.depth >= DEEPEST {
                    return self.fail("max expression depth exceeded", &[]);
                }
                self.depth += 1;
                let pipe = self.pipeline("parenthesized pipeline", Tok::RightParen)?;
                self.depth -= 1;
                return Ok(Some(pipe));
            }
            Tok::Str | Tok::RawString => match number::unquote(word) {
                Ok(bytes) => Is::Str(Box::from(word), Value::from_bytes(&Arc::from(""), &bytes)),
                Err(why) => return self.fail("%", &[&why]),
            },
            _ => {
                self.backup();
                return Ok(None);
            }
        };
        Ok(Some(tree(item.from, is)))
    }
}
