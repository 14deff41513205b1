//! From a regular expression to the steps that find it, with Go's words for what is wrong.

use super::{Place, Regex, Step};
use crate::text::fill;

/// Groups nest no deeper.
const DEEPEST: usize = 100;
/// Steps of a program.
const LONGEST: usize = 10_000;
/// Most repetitions that a `{n,m}` may ask for.
const MOST: usize = 1_000;

type Read<T> = Result<T, String>;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    steps: Vec<Step>,
    names: Vec<String>,
    flags: Flags,
}

#[derive(Clone, Copy)]
struct Flags {
    any_case: bool,
    many_lines: bool,
    dot_is_all: bool,
    is_lazy: bool,
}

static DIGIT: &[(char, char)] = &[('0', '9')];
static SPACE: &[(char, char)] = &[('\t', '\n'), ('\u{c}', '\r'), (' ', ' ')];
/// What a word is made of.
pub static WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];

/// Classes with a name of their own: `[[:alpha:]]`.
static NAMED: &[(&str, &[(char, char)])] = &[
    ("alnum", &[('0', '9'), ('A', 'Z'), ('a', 'z')]),
    ("alpha", &[('A', 'Z'), ('a', 'z')]),
    ("ascii", &[('\0', '\u{7f}')]),
    ("blank", &[('\t', '\t'), (' ', ' ')]),
    ("cntrl", &[('\0', '\u{1f}'), ('\u{7f}', '\u{7f}')]),
    ("digit", DIGIT),
    ("graph", &[('!', '~')]),
    ("lower", &[('a', 'z')]),
    ("print", &[(' ', '~')]),
    ("punct", &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
    ("space", &[('\t', '\r'), (' ', ' ')]),
    ("upper", &[('A', 'Z')]),
    ("word", WORD),
    ("xdigit", &[('0', '9'), ('A', 'F'), ('a', 'f')]),
];

/// Compiles it.
///
/// # Errors
/// What is wrong with it, in Go's words.
pub fn parse(text: &str) -> Read<Regex> {
    let flags = Flags { any_case: false, many_lines: false, dot_is_all: false, is_lazy: false };
    let mut p = Parser { text, at: 0, steps: vec![Step::Save(0)], names: vec![String::new()], flags };
    p.choice(0)?;
    if p.peek().is_some() {
        return p.fail("unexpected )", p.text);
    }
    p.add(Step::Save(1))?;
    p.add(Step::Match)?;
    Ok(Regex { steps: p.steps, names: p.names })
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, word: &str) -> bool {
        let is_there = self.rest().starts_with(word);
        self.at += if is_there { word.len() } else { 0 };
        is_there
    }

    #[inline(never)]
    fn fail<T>(&self, why: &str, what: &str) -> Read<T> {
        Err(fill("error parsing regexp: %: `%`", &[why, what]))
    }

    fn add(&mut self, step: Step) -> Read<()> {
        if self.steps.len() >= LONGEST {
            return self.fail("expression too large", self.text);
        }
        self.steps.push(step);
        Ok(())
    }

    /// Makes room for a step before others.
    fn insert(&mut self, at: usize, step: Step) -> Read<()> {
        self.add(Step::Match)?;
        self.steps.pop();
        let steps = self.steps.split_off(at);
        self.steps.push(step);
        self.steps.extend(steps.into_iter().map(|s| moved(&s, at, 1)));
        Ok(())
    }

    /// `a|b`, up to a `)` or the end.
    fn choice(&mut self, depth: usize) -> Read<()> {
        if depth > DEEPEST {
            return self.fail("expression nests too deeply", self.text);
        }
        let mut jumps = Vec::new();
        loop {
            let start = self.steps.len();
            self.sequence(depth)?;
            if !self.eat("|") {
                break;
            }
            self.insert(start, Step::Jump(0))?;
            jumps.push(self.steps.len());
            self.add(Step::Jump(0))?;
            self.patch(start, Step::Split(start + 1, self.steps.len()));
        }
        for jump in jumps {
            self.patch(jump, Step::Jump(self.steps.len()));
        }
        Ok(())
    }

    fn patch(&mut self, at: usize, step: Step) {
        if let Some(slot) = self.steps.get_mut(at) {
            *slot = step;
        }
    }

    fn sequence(&mut self, depth: usize) -> Read<()> {
        while let Some(c) = self.peek() {
            if matches!(c, '|' | ')') {
                break;
            }
            let start = self.steps.len();
            let from = self.at;
            self.atom(depth)?;
            // Flags alone are nothing that may come again.
            if self.steps.len() > start {
                self.repeats(start, from)?;
            }
        }
        Ok(())
    }

    /// What stands behind an atom: how often it may come.
    #[inline(never)]
    fn repeats(&mut self, start: usize, from: usize) -> Read<()> {
        let mut count = 0;
        loop {
            let at = self.at;
            let (least, most) = match self.peek() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => match braces(self.rest()) {
                    Some((len, least, most)) => {
                        self.at += len - 1;
                        (least, most)
                    }
                    None => return Ok(()),
                },
                _ => return Ok(()),
            };
            self.at += 1;
            let operator = self.text.get(at..self.at).unwrap_or("");
            if least > MOST || most.is_some_and(|most| most > MOST || most < least) {
                return self.fail("invalid repeat count", operator);
            }
            count += 1;
            if count > 1 {
                return self.fail("invalid nested repetition operator", self.text.get(from..self.at).unwrap_or(""));
            }
            let is_lazy = self.eat("?") != self.flags.is_lazy;
            self.repeat(start, least, most, is_lazy)?;
        }
    }

    /// The steps from `start` on, so often.
    fn repeat(&mut self, start: usize, least: usize, most: Option<usize>, is_lazy: bool) -> Read<()> {
        let split =
            |to: usize, else_to: usize| if is_lazy { Step::Split(else_to, to) } else { Step::Split(to, else_to) };
        let unit: Vec<Step> = self.steps.split_off(start);
        let len = unit.len();
        let again = |p: &mut Self| -> Read<()> {
            let at = p.steps.len();
            for step in &unit {
                p.add(match step {
                    Step::Jump(to) => Step::Jump(to - start + at),
                    Step::Split(a, b) => Step::Split(a - start + at, b - start + at),
                    other => moved(other, usize::MAX, 0),
                })?;
            }
            Ok(())
        };
        for _ in 0..least {
            again(self)?;
        }
        match most {
            // x* is a loop in front of which one may leave it.
            None => {
                let head = self.steps.len();
                self.add(split(head + 1, head + len + 2))?;
                again(self)?;
                self.add(Step::Jump(head))?;
            }
            Some(most) => {
                let end = self.steps.len() + (most - least) * (len + 1);
                for _ in least..most {
                    let head = self.steps.len();
                    self.add(split(head + 1, end))?;
                    again(self)?;
                }
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn atom(&mut self, depth: usize) -> Read<()> {
        let from = self.at;
        let Some(c) = self.next() else { return Ok(()) };
        let Flags { many_lines, dot_is_all, .. } = self.flags;
        match c {
            '(' => self.group(depth, from),
            '[' => self.class(from),
            '.' if dot_is_all => self.add(Step::Class(Vec::new(), true)),
            '.' => self.add(Step::Class(vec![('\n', '\n')], true)),
            '^' => self.add(Step::At(if many_lines { Place::LineStart } else { Place::Start })),
            '$' => self.add(Step::At(if many_lines { Place::LineEnd } else { Place::End })),
            '*' | '+' | '?' => {
                let operator = c.to_string();
                self.fail("missing argument to repetition operator", &operator)
            }
            '\\' => {
                let place = match self.peek() {
                    Some('A') => Some(Place::Start),
                    Some('z') => Some(Place::End),
                    Some('b') => Some(Place::Word),
                    Some('B') => Some(Place::NoWord),
                    _ => None,
                };
                if let Some(place) = place {
                    self.at += 1;
                    return self.add(Step::At(place));
                }
                let mut ranges = Vec::new();
                match self.escape(&mut ranges)? {
                    Some(c) => self.literal(c),
                    None => self.ranges(ranges, false),
                }
            }
            _ => self.literal(c),
        }
    }

    fn literal(&mut self, c: char) -> Read<()> {
        self.ranges(vec![(c, c)], false)
    }

    fn ranges(&mut self, mut ranges: Vec<(char, char)>, is_other: bool) -> Read<()> {
        if self.flags.any_case {
            for i in 0..ranges.len() {
                let Some((from, to)) = ranges.get(i).copied() else { break };
                // Letters of ASCII by their range, others one by one where they stand alone.
                for (low, other) in [('a', 'A'), ('A', 'a')] {
                    let (a, z) = (from.max(low), to.min(shifted('z', 'a', low)));
                    if a <= z {
                        ranges.push((shifted(a, low, other), shifted(z, low, other)));
                    }
                }
                if from == to && !from.is_ascii() {
                    let text = String::from(from);
                    for other in [crate::case::lower(&text), crate::case::upper(&text)] {
                        ranges.extend(other.chars().next().map(|c| (c, c)));
                    }
                }
            }
        }
        self.add(Step::Class(ranges, is_other))
    }

    /// What follows a backslash: a character, or a class, whose ranges are added.
    #[inline(never)]
    fn escape(&mut self, ranges: &mut Vec<(char, char)>) -> Read<Option<char>> {
        let from = self.at - 1;
        let Some(c) = self.next() else { return self.fail("trailing backslash at end of expression", "") };
        let (class, is_other) = match c {
            'd' | 'D' => (DIGIT, c == 'D'),
            's' | 'S' => (SPACE, c == 'S'),
            'w' | 'W' => (WORD, c == 'W'),
            _ => (&[][..], false),
        };
        if !class.is_empty() {
            add_class(ranges, class, is_other);
            return Ok(None);
        }
        let found = match c {
            'a' => Some('\u{7}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            'x' => {
                let digits = if self.eat("{") {
                    let end = self.rest().find('}').unwrap_or(0);
                    let digits = self.rest().get(..end).unwrap_or("").to_string();
                    self.at += end + 1;
                    digits
                } else {
                    let digits: String = self.rest().chars().take(2).filter(char::is_ascii_hexdigit).collect();
                    self.at += digits.len();
                    digits
                };
                let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
                u32::from_str_radix(&digits, 16).ok().filter(|_| is_hex).and_then(char::from_u32)
            }
            _ if c.is_ascii_punctuation() => Some(c),
            _ => None,
        };
        match found {
            Some(c) => Ok(Some(c)),
            None => {
                let at = self.at.min(self.text.len());
                self.fail("invalid escape sequence", self.text.get(from..at).unwrap_or(""))
            }
        }
    }

    #[inline(never)]
    fn group(&mut self, depth: usize, from: usize) -> Read<()> {
        let flags = self.flags;
        let mut slot = None;
        if self.eat("?P<") || self.eat("?<") {
            let Some((name, _)) = self.rest().split_once('>') else {
                return self.fail("invalid named capture", self.text.get(from..).unwrap_or(""));
            };
            let name = name.to_string();
            let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !is_name || self.names.contains(&name) {
                return self.fail("invalid named capture", self.text.get(from..=self.at + name.len()).unwrap_or(""));
            }
            self.at += name.len() + 1;
            slot = Some(self.names.len());
            self.names.push(name);
        } else if self.eat("?") {
            let mut is_on = true;
            loop {
                match self.next() {
                    Some('i') => self.flags.any_case = is_on,
                    Some('m') => self.flags.many_lines = is_on,
                    Some('s') => self.flags.dot_is_all = is_on,
                    Some('U') => self.flags.is_lazy = is_on,
                    Some('-') if is_on => is_on = false,
                    Some(':') => break,
                    // To the end of the group it stands in.
                    Some(')') => return Ok(()),
                    _ => {
                        let at = self.at.min(self.text.len());
                        return self.fail("invalid or unsupported Perl syntax", self.text.get(from..at).unwrap_or(""));
                    }
                }
            }
        } else {
            slot = Some(self.names.len());
            self.names.push(String::new());
        }
        if let Some(slot) = slot {
            self.add(Step::Save(slot * 2))?;
        }
        self.choice(depth + 1)?;
        if !self.eat(")") {
            return self.fail("missing closing )", self.text);
        }
        if let Some(slot) = slot {
            self.add(Step::Save(slot * 2 + 1))?;
        }
        self.flags = flags;
        Ok(())
    }

    #[inline(never)]
    fn class(&mut self, from: usize) -> Read<()> {
        let mut ranges = Vec::new();
        let is_other = self.eat("^");
        let mut is_first = true;
        loop {
            if !is_first && self.eat("]") {
                return self.ranges(ranges, is_other);
            }
            is_first = false;
            if let Some((name, _)) = self.rest().strip_prefix("[:").and_then(|r| r.split_once(":]")) {
                let len = name.len() + 4;
                let bare = name.trim_start_matches('^');
                let Some((_, class)) = NAMED.iter().find(|n| n.0 == bare) else {
                    let shown = self.rest().get(..len).unwrap_or("").to_string();
                    return self.fail("invalid character class range", &shown);
                };
                add_class(&mut ranges, class, bare != name);
                self.at += len;
                continue;
            }
            let start = self.at;
            let Some(low) = self.one(&mut ranges, from)? else { continue };
            let mut high = low;
            if self.rest().starts_with('-') && !self.rest().starts_with("-]") {
                self.at += 1;
                let Some(c) = self.one(&mut ranges, from)? else { continue };
                high = c;
            }
            if high < low {
                return self.fail("invalid character class range", self.text.get(start..self.at).unwrap_or(""));
            }
            ranges.push((low, high));
        }
    }

    /// One character of a class, if it is one: a class in it is added.
    fn one(&mut self, ranges: &mut Vec<(char, char)>, from: usize) -> Read<Option<char>> {
        match self.next() {
            None => self.fail("missing closing ]", self.text.get(from..).unwrap_or("")),
            Some('\\') => self.escape(ranges),
            Some(c) => Ok(Some(c)),
        }
    }
}

/// A step that stands elsewhere now: what it points to behind `from` is so much further.
fn moved(step: &Step, from: usize, by: usize) -> Step {
    let to = |n: usize| if n >= from { n + by } else { n };
    match step {
        Step::Class(ranges, is_other) => Step::Class(ranges.clone(), *is_other),
        Step::Split(a, b) => Step::Split(to(*a), to(*b)),
        Step::Jump(n) => Step::Jump(to(*n)),
        Step::Save(n) => Step::Save(*n),
        Step::At(place) => Step::At(*place),
        Step::Match => Step::Match,
    }
}

/// The letter of another case.
fn shifted(c: char, from: char, to: char) -> char {
    char::from_u32((c as u32).wrapping_sub(from as u32).wrapping_add(to as u32)).unwrap_or(c)
}

/// Adds a class, or all that is not of it.
#[inline(never)]
fn add_class(ranges: &mut Vec<(char, char)>, class: &[(char, char)], is_other: bool) {
    if !is_other {
        ranges.extend_from_slice(class);
        return;
    }
    let mut from = '\0';
    for (low, high) in class {
        if from < *low {
            ranges.push((from, shifted(*low, '\u{1}', '\0')));
        }
        from = shifted(*high, '\0', '\u{1}');
    }
    ranges.push((from, char::MAX));
}

/// `{n}`, `{n,}` or `{n,m}`: its length, the least and the most.
fn braces(text: &str) -> Option<(usize, usize, Option<usize>)> {
    let inner = text.strip_prefix('{')?.split_once('}')?.0;
    let number = |t: &str| if t.bytes().all(|b| b.is_ascii_digit()) { t.parse::<usize>().ok() } else { None };
    let (least, most) = match inner.split_once(',') {
        None => (number(inner)?, Some(number(inner)?)),
        Some((least, "")) => (number(least)?, None),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
    };
    Some((inner.len() + 2, least, most))
}
