//! Rewrites a template so that upon can run it: upon's functions have a fixed number of arguments and cannot see the
//! render's keys, so each call becomes a function twice round a variable that stands for the call. It also
//! mends what upon's lexer gets wrong (braces in plain text, comments that eat white space, text that ends in a
//! backslash) and bounds what upon recurses over. It checks names and numbers of arguments; it evaluates nothing.
//!
//! `f(x, y)` becomes `__a(__a(0,[x, y]),__c.N)` and `x | f: y` becomes `x | __a:[y]|__a:__c.N`: upon evaluates from
//! left to right, so the first `__a` puts the arguments aside, the look-up of `__c.N` is call N, and the second `__a`
//! gives its result. One function for both, as each has its own copy of upon's way to arguments.
//!
//! upon copies a value whenever a variable is read and knows no bound, so each such read `x.y` becomes
//! `__a(__c.N,x.y)`, and each loop begins with a `{{__c.N}}` that prints nothing: there the render's budget is asked.

use crate::error::{Error, Result};
use crate::formats::error_at;
use crate::template::funcs::{self, Func};
use crate::template::go::time::METHODS;

/// Puts arguments aside the first time, gives its second argument the next.
pub const STEP: &str = "__a";
/// The variable whose members are the calls.
pub const CALLS: &str = "__c";

/// Most levels of brackets, of filters in one tag, and of blocks: upon's compiler recurses over them.
const DEPTH: usize = 100;

/// The function of this name, or the method of times: Go's `t.Format "2006"` is `Format(t, "2006")` here.
pub fn find(name: &str) -> Option<&'static Func> {
    funcs::find(name).or_else(|| METHODS.iter().find(|m| m.name == name))
}

/// What a member of `CALLS` stands for.
pub enum What {
    /// `f(x)`
    Call(&'static Func),
    /// `x | f`
    Filter(&'static Func),
    /// A text upon's lexer cannot read.
    Text(String),
    /// One more turn of a loop whose body has so many bytes.
    Turn(usize),
    /// A read of a variable follows.
    Read,
}

/// One place in the template.
pub struct Site {
    /// Byte offset in the template as written.
    pub at: usize,
    /// What stands there.
    pub what: What,
}

/// The rewritten template and the way back.
pub struct Scan {
    /// What upon compiles.
    pub text: String,
    /// The members of `CALLS`.
    pub sites: Vec<Site>,
    /// The variables of `for` blocks: of a map, that of the value.
    pub loops: Vec<String>,
    marks: Vec<(usize, usize)>,
}

impl Scan {
    /// Where byte `at` of the rewritten text came from.
    pub fn origin(&self, at: usize) -> usize {
        let next = self.marks.partition_point(|m| m.0 <= at);
        let Some((new, old)) = next.checked_sub(1).and_then(|i| self.marks.get(i)) else { return at };
        let limit = self.marks.get(next).map_or(usize::MAX, |m| m.1);
        (old + at.saturating_sub(*new)).min(limit)
    }
}

/// Rewrites `text`; `name` stands in errors.
///
/// # Errors
/// `Kind::Config`: a tag, comment, bracket or text that is not closed, an unknown function, a wrong number of
/// arguments, or deeper nesting than upon can stand.
pub fn rewrite(name: &str, text: &str) -> Result<Scan> {
    let mut s = Scanner {
        name,
        text,
        at: 0,
        scan: Scan { text: String::with_capacity(text.len()), sites: Vec::new(), loops: Vec::new(), marks: Vec::new() },
        blocks: Vec::new(),
        in_path: false,
        is_read: false,
        declares: false,
    };
    s.plain()?;
    let out = &mut s.scan.text;
    // upon counts columns in characters but compares them with byte offsets; with this comment at the end it cannot
    // run past the last line, and `offset` in the parent module can turn its numbers back.
    let surplus = out.len().saturating_sub(out.chars().count());
    if surplus > 0 {
        out.push_str("{#");
        out.extend(std::iter::repeat_n(' ', surplus));
        out.push_str("#}");
    }
    Ok(s.scan)
}

/// An open bracket, or (`close` 0) the tag itself.
struct Frame {
    close: u8,
    at: usize,
    /// The call whose arguments stand here.
    call: Option<usize>,
    /// The filter whose arguments stand here, and whether its colon was seen.
    filter: Option<(usize, bool)>,
    commas: usize,
    /// Nothing since the bracket or the last comma.
    pending: bool,
}

impl Frame {
    fn new(close: u8, at: usize, call: Option<usize>) -> Frame {
        Frame { close, at, call, filter: None, commas: 0, pending: true }
    }
    fn count(&self) -> usize {
        self.commas + usize::from(!self.pending)
    }
}

/// An open block.
struct Block {
    /// How many levels it nests in upon (an `else if` is one more).
    levels: usize,
    /// Of a loop: where its body begins, and the site of its turns.
    turn: Option<(usize, usize)>,
}

/// What stood before a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Start,
    Dot,
    Pipe,
    If,
    Else,
    Other,
}

struct Scanner<'a> {
    name: &'a str,
    text: &'a str,
    at: usize,
    scan: Scan,
    blocks: Vec<Block>,
    /// upon takes the next digits for a member's number: it does so from any name to the next of `(|,:`, also in
    /// `{% for x in [1, 2] %}`.
    in_path: bool,
    /// A read of a variable is open: its path goes on, or a parenthesis has to close it.
    is_read: bool,
    /// What follows are names of new variables: behind `for` and `as`.
    declares: bool,
}

impl Scanner<'_> {
    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }
    fn has(&self, at: usize, what: &str) -> bool {
        self.text.as_bytes().get(at..).is_some_and(|rest| rest.starts_with(what.as_bytes()))
    }
    fn error(&self, at: usize, message: &str) -> Error {
        error_at(self.name, self.text, at, message)
    }
    fn mark(&mut self) {
        let out = self.scan.text.len();
        let straight = self
            .scan
            .marks
            .last()
            .map_or(self.at == out, |(new, old)| out.checked_sub(*new).is_some_and(|d| old + d == self.at));
        if !straight {
            self.scan.marks.push((out, self.at));
        }
    }
    /// Copies up to `to`.
    fn copy(&mut self, to: usize) {
        if to > self.at {
            self.mark();
            self.scan.text.push_str(self.text.get(self.at..to).unwrap_or(""));
            self.at = to;
        }
    }
    /// Writes `what` in place of everything up to `to`.
    fn emit(&mut self, what: &str, to: usize) {
        self.scan.marks.push((self.scan.text.len(), self.at));
        self.scan.text.push_str(what);
        self.at = to;
    }
    /// The first position from `at` on that holds no white space.
    fn skip_space(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\t' | b'\r' | b'\n') {
            at += 1;
        }
        at
    }
    fn skip_word(&self, mut at: usize) -> usize {
        while self.byte(at).is_ascii_alphanumeric() || self.byte(at) == b'_' {
            at += 1;
        }
        at
    }

    /// Text outside tags. upon takes `}}`, `%}` and `#}` there for the end of a tag, and also a `}` right behind a tag.
    fn plain(&mut self) -> Result<()> {
        let (mut p, mut start) = (0, 0);
        while p < self.text.len() {
            let next = p + 1;
            match (self.byte(p), self.byte(next)) {
                (b'{', b'{' | b'%') => {
                    self.copy(p);
                    self.tag()?;
                    (p, start) = (self.at, self.at);
                }
                (b'{', b'#') => {
                    self.copy(p);
                    self.comment()?;
                    (p, start) = (self.at, self.at);
                }
                (b'}', _) if p == start || matches!(self.byte(p.wrapping_sub(1)), b'}' | b'%' | b'#') => {
                    self.copy(p);
                    self.emit("{{\"}\"}}", next);
                    (p, start) = (next, next);
                }
                _ => p = next,
            }
        }
        self.copy(p);
        Ok(())
    }

    /// A comment becomes an empty text: upon would eat the white space behind it.
    fn comment(&mut self) -> Result<()> {
        let begin = self.at;
        let body = begin + 2;
        let Some(len) = self.text.get(body..).and_then(|rest| rest.find("#}")) else {
            return Err(self.error(begin, "this comment has no end: #} is missing"));
        };
        let body = self.text.get(body..body + len).unwrap_or("");
        let end = begin + len + 4;
        self.emit(if body.starts_with('-') { "{{-\"\"" } else { "{{\"\"" }, end);
        self.scan.text.push_str(if body.ends_with('-') { "-}}" } else { "}}" });
        Ok(())
    }

    fn tag(&mut self) -> Result<()> {
        let begin = self.at;
        let is_block = self.byte(begin + 1) == b'%';
        let (end, trim_end) = if is_block { ("%}", "-%}") } else { ("}}", "-}}") };
        let mut at = begin + 2;
        if self.byte(at) == b'-' {
            at += 1;
        }
        self.copy(at);
        let mut frames = vec![Frame::new(0, begin, None)];
        let mut before = Before::Start;
        let mut pipes = 0usize;
        self.in_path = false;
        self.declares = false;
        loop {
            self.copy(self.skip_space(self.at));
            let at = self.at;
            let next = at + 1;
            let c = self.byte(at);
            if self.is_read && before != Before::Dot && !matches!(c, b'.' | b'?') {
                self.is_read = false;
                self.emit(")", at);
            }
            let Some(frame) = frames.last_mut() else { return Ok(()) };
            let in_brace = frame.close == b'}';
            if self.has(at, trim_end) || (self.has(at, end) && !in_brace) {
                if frame.close != 0 {
                    return Err(self.error(frame.at, "this bracket is not closed before the end of the tag"));
                }
                self.end_filter(frame)?;
                let to = at + if c == b'-' { 3 } else { 2 };
                // The space keeps upon from reading the `-` of `1 -}}` as part of the number.
                self.emit(" ", at);
                self.copy(to);
                self.turn(begin, c == b'-');
                return Ok(());
            }
            if c != b',' && c != frame.close {
                frame.pending = frame.pending && c == b':';
            }
            let was = before;
            before = Before::Other;
            if matches!(c, b'(' | b'|' | b',' | b':') {
                self.in_path = false;
            }
            match c {
                0 if at >= self.text.len() => {
                    return Err(self.error(begin, "this tag has no end"));
                }
                b'"' => self.quoted()?,
                b'(' | b'[' | b'{' => {
                    if c == b'{' && matches!(self.byte(next), b'{' | b'%' | b'#') {
                        return Err(self.error(begin, "this tag is not closed before the next one"));
                    }
                    let close = if c == b'(' { b')' } else { c + 2 };
                    self.open(&mut frames, Frame::new(close, at, None))?;
                    self.copy(next);
                }
                b')' | b']' | b'}' => {
                    if frame.close != c {
                        return Err(self.error(at, "no bracket is open that this one closes"));
                    }
                    self.end_filter(frame)?;
                    match frame.call {
                        Some(site) => {
                            self.check(site, frame.count())?;
                            self.emit("]),", next);
                            self.member(site);
                            self.scan.text.push(')');
                        }
                        // A space, so that upon does not read two closing braces as the end of the tag.
                        None if c == b'}' => self.emit("} ", next),
                        None => self.copy(next),
                    }
                    frames.pop();
                }
                b',' => {
                    frame.commas += 1;
                    frame.pending = true;
                    self.copy(next);
                }
                b':' => match &mut frame.filter {
                    Some((_, colon)) if !*colon => {
                        *colon = true;
                        self.emit(":[", next);
                    }
                    _ => self.copy(next),
                },
                b'|' => {
                    if !matches!(frame.close, 0 | b')') || frame.call.is_some() {
                        return Err(self.error(at, "put parentheses round a value with a filter: (value | filter)"));
                    }
                    pipes += 1;
                    if pipes > DEPTH {
                        return Err(self.error(at, "more than 100 filters in one tag"));
                    }
                    self.end_filter(frame)?;
                    self.copy(next);
                    before = Before::Pipe;
                }
                b'.' => {
                    self.copy(next);
                    before = Before::Dot;
                }
                b'?' => {
                    if !self.is_read {
                        self.read();
                    }
                    self.copy(next);
                    before = was;
                }
                b'+' | b'-' | b'0'..=b'9' => self.number(was == Before::Dot),
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => before = self.word(&mut frames, was, is_block)?,
                _ => return Err(self.error(at, "this character cannot stand here")),
            }
        }
    }

    fn open(&self, frames: &mut Vec<Frame>, frame: Frame) -> Result<()> {
        if frames.len() > DEPTH {
            return Err(self.error(frame.at, "more than 100 levels of brackets"));
        }
        frames.push(frame);
        Ok(())
    }

    /// A number with its sign, or the number of a member. Parentheses make upon read it as a number.
    fn number(&mut self, is_index: bool) {
        let wrap = self.in_path && !is_index;
        if wrap {
            self.emit("(", self.at);
        }
        if matches!(self.byte(self.at), b'+' | b'-') {
            self.copy(self.skip_space(self.at + 1));
        }
        let mut to = self.at;
        loop {
            let c = self.byte(to);
            let sign = matches!(c, b'+' | b'-') && matches!(self.byte(to.wrapping_sub(1)), b'e' | b'E');
            if !(c.is_ascii_digit() || !is_index && (c.is_ascii_alphabetic() || matches!(c, b'_' | b'.') || sign)) {
                break;
            }
            to += 1;
        }
        self.copy(to);
        if wrap {
            self.emit(")", self.at);
        }
    }

    /// A text. upon takes `\"` for a quote also where the backslash itself is quoted: `"a\\"`.
    fn quoted(&mut self) -> Result<()> {
        let begin = self.at;
        let mut value = String::new();
        let mut rest = self.text.get((begin + 1)..).unwrap_or("").char_indices();
        let mut quoted_last = false;
        loop {
            let Some((i, c)) = rest.next().filter(|(_, c)| !matches!(c, '\r' | '\n')) else {
                return Err(self.error(begin, "this text has no end on its line: \" is missing"));
            };
            let here = begin + 1 + i;
            match c {
                '"' => {
                    let to = here + 1;
                    if quoted_last {
                        self.emit("", to);
                        let site = self.site(begin, What::Text(value));
                        self.member(site);
                    } else {
                        self.copy(to);
                    }
                    return Ok(());
                }
                '\\' => {
                    let c = match rest.next() {
                        Some((_, 'n')) => '\n',
                        Some((_, 'r')) => '\r',
                        Some((_, 't')) => '\t',
                        Some((_, c @ ('"' | '\\'))) => c,
                        _ => {
                            let text = "a backslash in a text stands before n, r, t, \" or another backslash";
                            return Err(self.error(here, text));
                        }
                    };
                    value.push(c);
                    quoted_last = c == '\\';
                }
                c => {
                    value.push(c);
                    quoted_last = false;
                }
            }
        }
    }

    /// A name: a keyword, a member, a function or a variable.
    fn word(&mut self, frames: &mut Vec<Frame>, before: Before, is_block: bool) -> Result<Before> {
        let begin = self.at;
        let to = self.skip_word(begin);
        let word = self.text.get(begin..to).unwrap_or("");
        if before == Before::Dot {
            self.copy(to);
            return Ok(Before::Other);
        }
        let Some(frame) = frames.last_mut() else { return Ok(Before::Other) };
        if before == Before::Pipe {
            let site = self.site(begin, What::Filter(self.function(begin, word)?));
            frame.filter = Some((site, false));
            (frame.commas, frame.pending) = (0, true);
            self.emit(STEP, to);
            return Ok(Before::Other);
        }
        let after = self.skip_space(to);
        let is_call = self.byte(after) == b'(';
        if is_block && frame.close == 0 {
            self.nest(word, before)?;
        }
        let is_keyword = match word {
            "not" => before == Before::If || !is_call,
            "as" | "if" | "else" | "endif" | "for" | "in" | "endfor" | "with" | "endwith" | "include" | "true"
            | "false" => true,
            _ => false,
        };
        if word == "as" {
            self.end_filter(frame)?;
        }
        if word == "in" {
            let head = self.text.get(..begin).unwrap_or("").trim_end();
            let name = head.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or("");
            self.scan.loops.push(name.to_string());
        }
        if word == "include" {
            return Err(self.error(begin, "include is not available: a template is one file"));
        }
        if word.starts_with("__") {
            return Err(self.error(begin, "names that begin with two underscores are taken"));
        }
        if !is_keyword && self.byte(after) == b'"' {
            // As it is written in Go's templates.
            let mut text = String::from("a function is called with parentheses: ");
            text.push_str(word);
            text.push_str("(...)");
            return Err(self.error(begin, &text));
        }
        if is_call && !is_keyword {
            let site = self.site(begin, What::Call(self.function(begin, word)?));
            self.open(frames, Frame::new(b')', after, Some(site)))?;
            self.emit("__a(__a(0,[", after + 1);
            self.in_path = false;
            return Ok(Before::Other);
        }
        if is_block && frame.close == 0 {
            self.declares = matches!(word, "for" | "as") || self.declares && word != "in";
        }
        if !is_keyword && !self.is_read {
            self.read();
        }
        self.copy(to);
        self.in_path |= !is_keyword;
        Ok(match word {
            "if" => Before::If,
            "else" => Before::Else,
            _ => Before::Other,
        })
    }

    /// Keeps count of the blocks. That they match is upon's business.
    fn nest(&mut self, word: &str, before: Before) -> Result<()> {
        match (word, before) {
            ("for", Before::Start) => {
                let site = self.site(self.at, What::Turn(0));
                self.blocks.push(Block { levels: 1, turn: Some((self.at, site)) });
            }
            ("if" | "with", Before::Start) => self.blocks.push(Block { levels: 1, turn: None }),
            ("if", Before::Else) => {
                if let Some(block) = self.blocks.last_mut() {
                    block.levels += 1;
                }
            }
            ("endif" | "endfor" | "endwith", Before::Start) => {
                let turn = self.blocks.pop().and_then(|block| block.turn);
                if let Some((from, site)) = turn
                    && let Some(Site { what: What::Turn(bytes), .. }) = self.scan.sites.get_mut(site)
                {
                    *bytes = self.at.saturating_sub(from);
                }
            }
            _ => return Ok(()),
        }
        if self.blocks.iter().fold(0, |n: usize, block| n + block.levels) > DEPTH {
            return Err(self.error(self.at, "more than 100 levels of blocks (an else if is one more level)"));
        }
        Ok(())
    }

    /// Behind the tag that begins at `begin`: when it opened a loop, what each turn begins with. It trims what the tag
    /// would have trimmed.
    fn turn(&mut self, begin: usize, trims: bool) {
        let Some(Block { turn: Some((from, site)), .. }) = self.blocks.last() else { return };
        let site = *site;
        if *from < begin {
            return;
        }
        self.emit("{{", self.at);
        self.member(site);
        self.scan.text.push_str(if trims { " -}}" } else { " }}" });
    }

    /// Begins a read of a variable here.
    fn read(&mut self) {
        if !self.declares {
            self.emit(STEP, self.at);
            self.scan.text.push('(');
            let site = self.site(self.at, What::Read);
            self.member(site);
            self.scan.text.push(',');
            self.is_read = true;
        }
    }

    fn site(&mut self, at: usize, what: What) -> usize {
        self.scan.sites.push(Site { at, what });
        self.scan.sites.len().saturating_sub(1)
    }

    fn member(&mut self, site: usize) {
        self.scan.text.push_str(CALLS);
        self.scan.text.push('.');
        self.scan.text.push_str(&site.to_string());
        self.in_path = true;
    }

    fn end_filter(&mut self, frame: &mut Frame) -> Result<()> {
        if let Some((site, colon)) = frame.filter.take() {
            let given = if colon { frame.count() } else { 0 };
            self.check(site, given + 1)?;
            self.emit(if colon { "]|__a:" } else { ":[]|__a:" }, self.at);
            self.member(site);
        }
        Ok(())
    }

    fn function(&self, at: usize, word: &str) -> Result<&'static Func> {
        if let Some(callee) = find(word) {
            return Ok(callee);
        }
        let mut text = String::from("there is no function ");
        text.push_str(word);
        let near = funcs::all().iter().map(|f| (distance(word, f.name), f.name)).min();
        if let Some((d, name)) = near
            && d <= 2
            && d < word.len()
        {
            text.push_str("; did you mean ");
            text.push_str(name);
            text.push('?');
        }
        Err(self.error(at, &text))
    }

    fn check(&self, site: usize, given: usize) -> Result<()> {
        let Some(Site { at, what: What::Call(callee) | What::Filter(callee) }) = self.scan.sites.get(site) else {
            return Ok(());
        };
        let (least, most) = funcs::arity(callee);
        if given >= least && most.is_none_or(|most| given <= most) {
            return Ok(());
        }
        let mut text = String::from(callee.name);
        text.push_str(": takes ");
        text.push_str(&least.to_string());
        match most {
            None => text.push_str(" or more"),
            Some(most) if most > least => {
                text.push_str(" to ");
                text.push_str(&most.to_string());
            }
            Some(_) => {}
        }
        text.push_str(if most.unwrap_or(least) == 1 { " argument, not " } else { " arguments, not " });
        text.push_str(&given.to_string());
        Err(self.error(*at, &text))
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
