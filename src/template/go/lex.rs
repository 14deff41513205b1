//! Cuts a template into tokens, by the rules of Go's text/template: delimiters, trim markers, comments, quotes and
//! numbers. It decides where a token begins and ends, never what it means.

use crate::text;

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tok {
    /// The text is no template from here on; the lexer's `error` says why.
    Error,
    /// `true`, `false`.
    Bool,
    /// Some other printable ASCII character, such as a comma.
    Char,
    /// `'a'`.
    CharConstant,
    /// `=`.
    Assign,
    /// `:=`.
    Declare,
    /// The end of the template.
    Eof,
    /// `.name`.
    Field,
    /// A function's name.
    Identifier,
    /// `{{`, with its trim marker.
    LeftDelim,
    /// `(`.
    LeftParen,
    /// A number, as far as its first and last character say so.
    Number,
    /// `1+2i`.
    Complex,
    /// `|`.
    Pipe,
    /// A string in back quotes.
    RawString,
    /// `}}`, with its trim marker.
    RightDelim,
    /// `)`.
    RightParen,
    /// Space between arguments.
    Space,
    /// A string in double quotes.
    Str,
    /// Text outside of actions.
    Text,
    /// `$name` or `$`.
    Variable,
    /// `.` alone.
    Dot,
    /// A keyword, as are all below.
    Block,
    /// `break`.
    Break,
    /// `continue`.
    Continue,
    /// `define`.
    Define,
    /// `else`.
    Else,
    /// `end`.
    End,
    /// `if`.
    If,
    /// `nil`.
    Nil,
    /// `range`.
    Range,
    /// `template`.
    Template,
    /// `with`.
    With,
}

/// The keywords, and what each is: a list of texts would cost 24 bytes for each of them.
static KEYWORDS: &str = "block break continue define else end false if nil range template true with";
static KEYS: [Tok; 13] = [
    Tok::Block,
    Tok::Break,
    Tok::Continue,
    Tok::Define,
    Tok::Else,
    Tok::End,
    Tok::Bool,
    Tok::If,
    Tok::Nil,
    Tok::Range,
    Tok::Template,
    Tok::Bool,
    Tok::With,
];

/// A token: the bytes `from..to` of the text.
#[derive(Clone, Copy)]
pub struct Item {
    /// What it is.
    pub tok: Tok,
    /// Where it begins.
    pub from: usize,
    /// Where it ends.
    pub to: usize,
}

impl Item {
    /// Whether Go's messages show it as `<word>`.
    pub fn is_keyword(self) -> bool {
        self.tok as u8 >= Tok::Dot as u8
    }
}

/// All tokens of a text. The last is `Eof`, or `Error` with a message in the second field.
pub fn lex(text: &str) -> (Vec<Item>, String) {
    let mut l = Lexer { text, pos: 0, start: 0, parens: 0, items: Vec::new(), error: String::new() };
    while l.text_part() && l.action() {}
    (l.items, l.error)
}

struct Lexer<'a> {
    text: &'a str,
    pos: usize,
    start: usize,
    parens: usize,
    items: Vec<Item>,
    error: String,
}

fn is_space(c: Option<char>) -> bool {
    matches!(c, Some(' ' | '\t' | '\r' | '\n'))
}

fn is_word(c: Option<char>) -> bool {
    c.is_some_and(|c| c == '_' || c.is_ascii_alphanumeric() || (!c.is_ascii() && c.is_alphanumeric()))
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.pos..).unwrap_or("")
    }
    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }
    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.pos += c.map_or(0, char::len_utf8);
        c
    }
    fn emit(&mut self, tok: Tok) {
        self.items.push(Item { tok, from: self.start, to: self.pos });
        self.start = self.pos;
    }
    /// Ends the tokens with an error; gives `false`, for the caller to give on.
    fn fail(&mut self, why: &str) -> bool {
        self.error.push_str(why);
        self.emit(Tok::Error);
        false
    }
    /// The same for a message that ends in a character: `U+0021 '!'`.
    fn fail_at(&mut self, why: &str, c: Option<char>) -> bool {
        let mut out = why.as_bytes().to_vec();
        match c {
            Some(c) => {
                text::unicode(&mut out, i64::from(u32::from(c)), 4);
                if text::is_print(c) {
                    out.extend_from_slice(b" '");
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    out.push(b'\'');
                }
            }
            None => out.extend_from_slice(b"U+FFFFFFFFFFFFFFFF"),
        }
        self.fail(&String::from_utf8_lossy(&out))
    }
    /// How long the right delimiter here is, with its trim marker, and whether it has one.
    fn right_delim(&self) -> Option<(usize, bool)> {
        let rest = self.rest();
        if rest.starts_with("}}") {
            return Some((2, false));
        }
        if is_space(rest.chars().next()) && rest.get(1..).is_some_and(|r| r.starts_with("-}}")) {
            return Some((4, true));
        }
        None
    }

    /// Text up to the next action, and comments. `false` at the end.
    fn text_part(&mut self) -> bool {
        loop {
            let rest = self.rest();
            let Some(at) = rest.find("{{") else {
                self.pos = self.text.len();
                if self.pos > self.start {
                    self.emit(Tok::Text);
                }
                self.emit(Tok::Eof);
                return false;
            };
            let after = rest.get(at + 2..).unwrap_or("");
            let trim = after.starts_with('-') && is_space(after.chars().nth(1));
            let mut text = rest.get(..at).unwrap_or("");
            if trim {
                text = text.trim_end_matches(SPACES);
            }
            let delim = self.pos + at;
            self.pos += text.len();
            if self.pos > self.start {
                self.emit(Tok::Text);
            }
            self.start = delim;
            let marker = if trim { 2 } else { 0 };
            if !after.get(marker..).unwrap_or("").starts_with("/*") {
                self.pos = delim + 2;
                self.emit(Tok::LeftDelim);
                self.pos += marker;
                self.start = self.pos;
                self.parens = 0;
                return true;
            }
            self.pos = delim + 2 + marker;
            self.start = self.pos;
            let Some(end) = self.rest().get(2..).and_then(|r| r.find("*/")) else {
                return self.fail("unclosed comment");
            };
            self.pos += end + 4;
            let Some((len, trim)) = self.right_delim() else {
                return self.fail("comment ends before closing delimiter");
            };
            self.pos += len;
            if trim {
                self.skip_spaces();
            }
            self.start = self.pos;
        }
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.pos += rest.len() - rest.trim_start_matches(SPACES).len();
    }

    /// The inside of one action. `false` after an error.
    fn action(&mut self) -> bool {
        loop {
            if let Some((len, trim)) = self.right_delim() {
                if self.parens > 0 {
                    return self.fail("unclosed left paren");
                }
                self.pos += len - 2;
                self.start = self.pos;
                self.pos += 2;
                self.emit(Tok::RightDelim);
                if trim {
                    self.skip_spaces();
                    self.start = self.pos;
                }
                return true;
            }
            let c = self.next();
            let good = match c {
                None => self.fail("unclosed action"),
                Some(' ' | '\t' | '\r' | '\n') => {
                    // The space before a trim marker belongs to the marker.
                    while is_space(self.peek()) && self.right_delim().is_none() {
                        self.next();
                    }
                    self.emit(Tok::Space);
                    true
                }
                Some('=') => self.simple(Tok::Assign),
                Some(':') => {
                    if self.next() == Some('=') {
                        self.simple(Tok::Declare)
                    } else {
                        self.fail("expected :=")
                    }
                }
                Some('|') => self.simple(Tok::Pipe),
                Some('"') => self.quoted('"', Tok::Str, "unterminated quoted string"),
                Some('\'') => self.quoted('\'', Tok::CharConstant, "unterminated character constant"),
                Some('`') => match self.rest().find('`') {
                    Some(at) => {
                        self.pos += at + 1;
                        self.simple(Tok::RawString)
                    }
                    None => self.fail("unterminated raw quoted string"),
                },
                Some('$') => self.name(Tok::Variable),
                Some('.') if !self.peek().is_some_and(|c| c.is_ascii_digit()) => self.name(Tok::Field),
                Some('.' | '+' | '-' | '0'..='9') => {
                    self.pos = self.start;
                    self.number()
                }
                Some('(') => {
                    self.parens += 1;
                    self.simple(Tok::LeftParen)
                }
                Some(')') => {
                    if self.parens == 0 {
                        self.fail("unexpected right paren")
                    } else {
                        self.parens -= 1;
                        self.simple(Tok::RightParen)
                    }
                }
                Some(c) if is_word(Some(c)) => self.identifier(),
                Some('!'..='~') => self.simple(Tok::Char),
                Some(_) => self.fail_at("unrecognized character in action: ", c),
            };
            if !good {
                return false;
            }
        }
    }

    fn simple(&mut self, tok: Tok) -> bool {
        self.emit(tok);
        true
    }

    fn words(&mut self) {
        while is_word(self.peek()) {
            self.next();
        }
    }

    /// Whether a name may end here: `$x+2` is refused rather than misread.
    fn at_terminator(&self) -> bool {
        let c = self.peek();
        is_space(c) || matches!(c, None | Some('.' | ',' | '|' | ':' | ')' | '(')) || self.rest().starts_with("}}")
    }

    fn name(&mut self, tok: Tok) -> bool {
        let tok = if tok == Tok::Field && self.at_terminator() { Tok::Dot } else { tok };
        if tok != Tok::Dot {
            self.words();
        }
        if self.at_terminator() { self.simple(tok) } else { self.fail_at("bad character ", self.peek()) }
    }

    fn identifier(&mut self) -> bool {
        self.words();
        if !self.at_terminator() {
            return self.fail_at("bad character ", self.peek());
        }
        let word = self.text.get(self.start..self.pos).unwrap_or("");
        let tok =
            KEYWORDS.split(' ').position(|k| k == word).and_then(|at| KEYS.get(at)).copied().unwrap_or(Tok::Identifier);
        self.simple(tok)
    }

    fn quoted(&mut self, mark: char, tok: Tok, unclosed: &str) -> bool {
        loop {
            match self.next() {
                Some('\\') if !matches!(self.peek(), None | Some('\n')) => {
                    self.next();
                }
                None | Some('\\' | '\n') => return self.fail(unclosed),
                Some(c) if c == mark => return self.simple(tok),
                Some(_) => {}
            }
        }
    }

    fn accept(&mut self, set: &str) -> bool {
        let hit = self.peek().is_some_and(|c| set.contains(c));
        if hit {
            self.next();
        }
        hit
    }

    fn accept_run(&mut self, set: &str) {
        while self.accept(set) {}
    }

    fn number(&mut self) -> bool {
        let mut good = self.scan_number();
        let complex = good && matches!(self.peek(), Some('+' | '-'));
        if complex {
            good = self.scan_number() && self.text.as_bytes().get(self.pos - 1) == Some(&b'i');
        }
        if !good {
            let text = self.text.get(self.start..self.pos).unwrap_or("");
            let mut why = String::from("bad number syntax: ");
            why.push_str(&text::quoted(text));
            return self.fail(&why);
        }
        self.simple(if complex { Tok::Complex } else { Tok::Number })
    }

    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let exponent = match digits.len() {
            11 => "eE",
            23 => "pP",
            _ => "",
        };
        if self.accept(exponent) {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        self.accept("i");
        if is_word(self.peek()) {
            self.next();
            return false;
        }
        true
    }
}
