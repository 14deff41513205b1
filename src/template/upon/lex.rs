//! Cuts a template of the native dialect into plain text and the words of its tags, and keeps count of brackets. It
//! decides where text ends and what a character may mean; what the words say together is read in `parse`.

use crate::error::{Error, Result};
use crate::formats::error_at;
use crate::text::fill;

/// Most levels of brackets and most filters of one tag: reading, computing and freeing them walks down.
const DEPTH: usize = 100;
const NO_END: &str = "this tag has no end";
const NOT_CLOSED: &str = "this tag is not closed before the next one";
const KEYWORDS: &str = " if not else endif for in endfor with as endwith true false ";

/// A word of a tag: what it is, where it begins and what is written there. `kind` is the character itself for `( ) [ ] {
/// } , : | . + -`, `?` for `?.`, `k` a keyword, `i` a name, `0` a number, `#` the number of a member, `"` a text, `E` the
/// end of the tag.
#[derive(Clone, Copy)]
pub struct Token<'t> {
    pub kind: u8,
    pub at: usize,
    pub text: &'t str,
}

/// An open bracket.
struct Bracket {
    close: u8,
    at: usize,
    /// It holds the arguments of a call.
    is_call: bool,
}

pub struct Lexer<'t> {
    name: &'t str,
    text: &'t str,
    at: usize,
    /// Where the tag begins, and whether it is `{{` or `{%`.
    begin: usize,
    tag: u8,
    brackets: Vec<Bracket>,
    pipes: usize,
    /// The last tag ended in `-`: white space behind it goes.
    trims: bool,
    /// What was looked at already.
    next: Option<Token<'t>>,
    /// What stood before.
    last: Token<'t>,
    /// The last text.
    pub value: String,
}

impl<'t> Lexer<'t> {
    pub fn new(name: &'t str, text: &'t str) -> Lexer<'t> {
        Lexer {
            name,
            text,
            at: 0,
            begin: 0,
            tag: 0,
            brackets: Vec::new(),
            pipes: 0,
            trims: false,
            next: None,
            last: Token { kind: 0, at: 0, text: "" },
            value: String::new(),
        }
    }

    #[inline(never)]
    pub fn error(&self, at: usize, pattern: &str, words: &[&str]) -> Error {
        error_at(self.name, self.text, at, &fill(pattern, words))
    }

    fn fail<T>(&self, at: usize, message: &str) -> Result<T> {
        Err(self.error(at, message, &[]))
    }

    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }

    /// What ends the tag.
    fn end(&self) -> &'static str {
        if self.tag == b'{' { "}}" } else { "%}" }
    }

    fn rest(&self, at: usize) -> &'t str {
        self.text.get(at..).unwrap_or("")
    }

    /// Plain text up to the next tag or the end: from where to where, without what the tags at its ends trim.
    #[inline(never)]
    pub fn plain(&mut self) -> (usize, usize) {
        let (mut from, mut to) = (self.at, self.at);
        while to < self.text.len() && !(self.byte(to) == b'{' && matches!(self.byte(to + 1), b'{' | b'%' | b'#')) {
            to += 1;
        }
        self.at = to;
        let text = self.text.get(from..to).unwrap_or("");
        if std::mem::take(&mut self.trims) {
            from = to - text.trim_start().len();
        }
        if self.byte(to + 2) == b'-' {
            to = to.min(from.max(to - (text.len() - text.trim_end().len())));
        }
        (from, to)
    }

    /// Begins the tag that stands here: `{`, `%`, or `#` for a comment; 0 at the end of the text. And where.
    pub fn open(&mut self) -> (u8, usize) {
        self.begin = self.at;
        self.tag = self.byte(self.at + 1);
        if self.at >= self.text.len() {
            return (0, self.at);
        }
        self.at += if self.byte(self.at + 2) == b'-' && self.tag != b'#' { 3 } else { 2 };
        self.pipes = 0;
        self.last.kind = 0;
        (self.tag, self.begin)
    }

    /// Passes over the comment that begins here. White space round it stays unless it says otherwise.
    pub fn comment(&mut self) -> Result<()> {
        let Some((body, _)) = self.rest(self.at).split_once("#}") else {
            return self.fail(self.begin, "this comment has no end: #} is missing");
        };
        self.trims = body.ends_with('-');
        self.at += body.len() + 2;
        Ok(())
    }

    /// The next word; it stays the next one.
    pub fn peek(&mut self) -> Result<Token<'t>> {
        let token = match self.next {
            Some(token) => token,
            None => self.lex()?,
        };
        self.next = Some(token);
        Ok(token)
    }

    /// The next word.
    pub fn next(&mut self) -> Result<Token<'t>> {
        let token = self.peek()?;
        self.next = None;
        Ok(token)
    }

    /// Passes over the next word if it is of this kind.
    #[inline(never)]
    pub fn is(&mut self, kind: u8) -> Result<bool> {
        let is = self.peek()?.kind == kind;
        if is {
            self.next = None;
        }
        Ok(is)
    }

    /// Passes over the next word if it is this keyword.
    #[inline(never)]
    pub fn is_word(&mut self, word: &str) -> Result<bool> {
        let token = self.peek()?;
        Ok(token.text == word && self.is(b'k')?)
    }

    /// The next word, which has to be of this kind.
    ///
    /// # Errors
    /// It is not.
    pub fn expect(&mut self, kind: u8) -> Result<Token<'t>> {
        let token = self.next()?;
        if token.kind == kind { Ok(token) } else { self.unexpected(&token, self.human(kind)) }
    }

    /// An error: something else should stand here, or the tag should have ended before.
    #[inline(never)]
    pub fn unexpected<T>(&self, token: &Token, wanted: &str) -> Result<T> {
        let mut at = token.at;
        while !self.rest(at).starts_with(self.end()) {
            if at >= self.text.len() {
                return self.fail(self.begin, NO_END);
            }
            if self.byte(at) == b'{' && matches!(self.byte(at + 1), b'{' | b'%') {
                return self.fail(self.begin, NOT_CLOSED);
            }
            at += 1;
        }
        Err(self.error(token.at, "expected %, found %", &[wanted, self.human(token.kind)]))
    }

    fn human(&self, kind: u8) -> &'static str {
        match kind {
            b'(' => "open parenthesis",
            b')' => "close parenthesis",
            b'[' => "open bracket",
            b']' => "close bracket",
            b'{' => "open brace",
            b'}' => "close brace",
            b',' => "comma",
            b':' => "colon",
            b'|' => "pipe",
            b'.' => "member access operator",
            b'?' => "optional member access operator",
            b'+' => "plus",
            b'-' => "minus",
            b'k' => "keyword",
            b'i' => "identifier",
            b'0' => "number",
            b'#' => "index",
            b'"' => "string",
            _ if self.tag == b'{' => "end expression",
            _ => "end block",
        }
    }

    /// What is in the innermost bracket is the arguments of a call.
    pub fn is_call(&mut self) {
        if let Some(bracket) = self.brackets.last_mut() {
            bracket.is_call = true;
        }
    }

    /// The first position from `at` on that holds no white space.
    fn space(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\t' | b'\r' | b'\n') {
            at += 1;
        }
        at
    }

    #[inline(never)]
    fn lex(&mut self) -> Result<Token<'t>> {
        let at = self.space(self.at);
        let (c, next) = (self.byte(at), self.byte(at + 1));
        let innermost = self.brackets.last().map_or(0, |b| b.close);
        let dash = usize::from(c == b'-');
        let (kind, length) = if self.rest(at + dash).starts_with(self.end()) && (dash == 1 || innermost != b'}') {
            if let Some(bracket) = self.brackets.last() {
                return self.fail(bracket.at, "this bracket is not closed before the end of the tag");
            }
            self.trims = dash == 1;
            (b'E', dash + 2)
        } else {
            match c {
                b'(' | b'[' | b'{' => {
                    if c == b'{' && matches!(next, b'{' | b'%' | b'#') {
                        return self.fail(self.begin, NOT_CLOSED);
                    }
                    if self.brackets.len() >= DEPTH {
                        return self.fail(at, "more than 100 levels of brackets");
                    }
                    let close = if c == b'(' { b')' } else { c + 2 };
                    self.brackets.push(Bracket { close, at, is_call: false });
                    (c, 1)
                }
                b')' | b']' | b'}' => {
                    if innermost != c {
                        return self.fail(at, "no bracket is open that this one closes");
                    }
                    self.brackets.pop();
                    (c, 1)
                }
                b'|' => {
                    if self.brackets.last().is_some_and(|b| b.close != b')' || b.is_call) {
                        return self.fail(at, "put parentheses round a value with a filter: (value | filter)");
                    }
                    self.pipes += 1;
                    if self.pipes > DEPTH {
                        return self.fail(at, "more than 100 filters in one tag");
                    }
                    (c, 1)
                }
                b',' | b':' | b'.' | b'+' | b'-' => (c, 1),
                b'?' if next == b'.' => (c, 2),
                b'?' => return self.fail(at, "unexpected character"),
                b'"' => (c, self.quoted(at)?),
                b'0'..=b'9' => self.number(at),
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word(at)?,
                0 if at >= self.text.len() => return self.fail(self.begin, NO_END),
                _ => return self.fail(at, "this character cannot stand here"),
            }
        };
        self.at = at + length;
        let token = Token { kind, at, text: self.text.get(at..self.at).unwrap_or("") };
        self.last = token;
        Ok(token)
    }

    /// A number, or that of a member.
    fn number(&self, at: usize) -> (u8, usize) {
        let is_index = matches!(self.last.kind, b'.' | b'?');
        let mut to = at;
        loop {
            let c = self.byte(to);
            let sign = matches!(c, b'+' | b'-') && matches!(self.byte(to.wrapping_sub(1)), b'e' | b'E');
            if !(c.is_ascii_digit() || !is_index && (c.is_ascii_alphabetic() || matches!(c, b'_' | b'.') || sign)) {
                return (if is_index { b'#' } else { b'0' }, to - at);
            }
            to += 1;
        }
    }

    /// A keyword or a name.
    #[inline(never)]
    fn word(&self, at: usize) -> Result<(u8, usize)> {
        let mut to = at;
        while self.byte(to).is_ascii_alphanumeric() || self.byte(to) == b'_' {
            to += 1;
        }
        let word = self.text.get(at..to).unwrap_or("");
        let after = self.byte(self.space(to));
        let is_keyword = match word {
            _ if self.last.kind == b'|' => false,
            // `not(x)` is a function, but behind `if`, where it is the same.
            "not" => self.last.text == "if" || after != b'(',
            _ => KEYWORDS.split(' ').any(|k| k == word),
        };
        if !matches!(self.last.kind, b'|' | b'.' | b'?') {
            if word == "include" {
                return self.fail(at, "include is not available: a template is one file");
            }
            if word.starts_with("__") {
                return self.fail(at, "names that begin with two underscores are taken");
            }
            if !is_keyword && after == b'"' {
                // As it is written in Go's templates.
                return Err(self.error(at, "a function is called with parentheses: %(...)", &[word]));
            }
        }
        Ok((if is_keyword { b'k' } else { b'i' }, to - at))
    }

    /// A text, of which `value` becomes what it stands for; its length as written.
    #[inline(never)]
    fn quoted(&mut self, at: usize) -> Result<usize> {
        let mut value = String::new();
        let mut chars = self.rest(at + 1).char_indices();
        loop {
            let (i, c) = chars.next().unwrap_or((0, '\n'));
            value.push(match c {
                '"' => {
                    self.value = value;
                    return Ok(i + 2);
                }
                '\r' | '\n' => return self.fail(at, "this text has no end on its line: \" is missing"),
                '\\' => match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, 'r')) => '\r',
                    Some((_, 't')) => '\t',
                    Some((_, c @ ('"' | '\\'))) => c,
                    _ => {
                        let text = "a backslash in a text stands before n, r, t, \" or another backslash";
                        return self.fail(at + 1 + i, text);
                    }
                },
                c => c,
            });
        }
    }
}
