//! Regular expressions as Go's regexp (RE2) has them, for `regexReplaceAll`: a small program is made of the expression and run
//! over the text once, all ways at a time, so that no expression takes more than its length times the text's. There are no
//! look-arounds and no back references, as in RE2, and no classes of Unicode (`\pL`).

use crate::sys::meter;
use crate::text::fill;

/// Groups nest no deeper.
const DEEPEST: usize = 100;
/// Steps of a program.
const LONGEST: usize = 10_000;
/// Most repetitions that a `{n,m}` may ask for.
const MOST: usize = 1_000;

/// A compiled expression.
pub struct Regex {
    steps: Vec<Step>,
    /// The names of groups, empty for those without; the first is the whole.
    names: Vec<String>,
}

enum Step {
    /// A character of a class: of its ranges, or (`true`) any other.
    Class(Vec<(char, char)>, bool),
    /// On at the first; where that leads nowhere, at the second.
    Split(usize, usize),
    Jump(usize),
    /// The place goes into this slot: two for each group.
    Save(usize),
    At(Place),
    Match,
}

/// Places in a text, which have no length.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    End,
    LineStart,
    LineEnd,
    Word,
    NoWord,
}

type Read<T> = Result<T, String>;

/// Where the groups are in a match.
type Slots = Vec<Option<usize>>;

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
static WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];

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

impl Regex {
    /// Compiles it.
    ///
    /// # Errors
    /// What is wrong with it, in Go's words.
    pub fn new(text: &str) -> Result<Regex, String> {
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

    /// The text with each match replaced: `$1`, `${1}` and `${name}` are groups, `$$` is a dollar.
    #[inline(never)]
    pub fn replace_all(&self, text: &str, with: &str) -> String {
        let mut out = String::new();
        let (mut done, mut from) = (0, 0);
        while from <= text.len() {
            let Some(slots) = self.find(text, from) else { break };
            let slot = |n: usize| slots.get(n).copied().flatten();
            let (start, end) = (slot(0).unwrap_or(from), slot(1).unwrap_or(from));
            out.push_str(text.get(done..start).unwrap_or(""));
            // Nothing, right behind a match, is none.
            if end > done || start == 0 {
                self.expand(&mut out, with, &|n| text.get(slot(2 * n)?..slot(2 * n + 1)?));
            }
            done = end;
            let next = text.get(from..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
            from = if end > from { end } else { from + next };
            if out.len() > crate::text::LARGEST {
                break; // who called sees its length
            }
        }
        out.push_str(text.get(done..).unwrap_or(""));
        out
    }

    #[inline(never)]
    fn expand<'t>(&self, out: &mut String, with: &str, group: &dyn Fn(usize) -> Option<&'t str>) {
        let mut rest = with;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            let bare = after.get(..after.find(|c| !is_part(c)).unwrap_or(after.len())).unwrap_or("");
            let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let (name, behind) = match braced {
                Some((name, behind)) => (name, behind),
                None => (bare, after.get(bare.len()..).unwrap_or("")),
            };
            if let Some(behind) = after.strip_prefix('$') {
                out.push('$');
                rest = behind;
                continue;
            }
            rest = behind;
            if name.is_empty() || !name.chars().all(is_part) {
                // Nobody's name: the dollar is one.
                out.push('$');
                rest = after;
                continue;
            }
            let number = name.parse().ok().or_else(|| self.names.iter().position(|n| n == name));
            out.push_str(number.and_then(group).unwrap_or(""));
        }
        out.push_str(rest);
    }

    /// The first match from `from` on: of several that begin there the one that the expression prefers.
    #[inline(never)]
    fn find(&self, text: &str, from: usize) -> Option<Slots> {
        let mut found = None;
        let (mut now, mut next) = (Vec::new(), Vec::new());
        // Where each step was looked at last, counted so that none is at the begin.
        let mut seen = vec![usize::MAX; self.steps.len()];
        let mut at = from;
        loop {
            if found.is_none() {
                self.follow(&mut now, &mut seen, 0, vec![None; self.names.len() * 2], text, at);
            }
            if now.is_empty() && found.is_some() {
                return found;
            }
            meter::charge(now.len() / 8 + 1);
            let c = text.get(at..).and_then(|rest| rest.chars().next());
            let after = at + c.map_or(1, char::len_utf8);
            for (step, slots) in now.drain(..) {
                match self.steps.get(step) {
                    Some(Step::Match) => {
                        found = Some(slots);
                        break; // what comes behind it is preferred less
                    }
                    Some(Step::Class(ranges, is_other)) if c.is_some_and(|c| is_in(ranges, c) != *is_other) => {
                        self.follow(&mut next, &mut seen, step + 1, slots, text, after);
                    }
                    _ => {}
                }
            }
            if c.is_none() {
                return found;
            }
            std::mem::swap(&mut now, &mut next);
            next.clear();
            at = after;
        }
    }

    /// Adds the steps that take a character, from one on, in the order of preference, each once.
    fn follow(
        &self,
        list: &mut Vec<(usize, Slots)>,
        seen: &mut [usize],
        step: usize,
        slots: Slots,
        text: &str,
        at: usize,
    ) {
        let mut left = vec![(step, slots)];
        while let Some((step, mut slots)) = left.pop() {
            match seen.get_mut(step) {
                Some(last) if *last != at => *last = at,
                _ => continue,
            }
            match self.steps.get(step) {
                Some(Step::Jump(to)) => left.push((*to, slots)),
                Some(Step::Split(first, second)) => {
                    left.push((*second, slots.clone()));
                    left.push((*first, slots));
                }
                Some(Step::Save(slot)) => {
                    if let Some(slot) = slots.get_mut(*slot) {
                        *slot = Some(at);
                    }
                    left.push((step + 1, slots));
                }
                Some(Step::At(place)) if is_at(*place, text, at) => left.push((step + 1, slots)),
                Some(Step::Class(..) | Step::Match) => list.push((step, slots)),
                Some(Step::At(_)) | None => {}
            }
        }
    }
}

fn is_in(ranges: &[(char, char)], c: char) -> bool {
    ranges.iter().any(|(from, to)| (*from..=*to).contains(&c))
}

fn is_at(place: Place, text: &str, at: usize) -> bool {
    let before = text.get(..at).and_then(|t| t.chars().next_back());
    let after = text.get(at..).and_then(|t| t.chars().next());
    let is_word = |c: Option<char>| c.is_some_and(|c| is_in(WORD, c));
    match place {
        Place::Start => before.is_none(),
        Place::End => after.is_none(),
        Place::LineStart => matches!(before, None | Some('\n')),
        Place::LineEnd => matches!(after, None | Some('\n')),
        Place::Word => is_word(before) != is_word(after),
        Place::NoWord => is_word(before) == is_word(after),
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn replaced(re: &str, text: &str, with: &str) -> String {
        match Regex::new(re) {
            Ok(re) => re.replace_all(text, with),
            Err(why) => why,
        }
    }

    /// What Go's regexp says for the same.
    #[test]
    fn as_in_go() {
        for (re, text, with, want) in [
            ("a", "banana", "x", "bxnxnx"),
            ("", "abc", "-", "-a-b-c-"),
            ("a*", "baaac", "x", "xbxcx"),
            ("a+?", "aaa", "x", "xxx"),
            ("a*?", "aa", "x", "xaxax"),
            ("(a)(b)?", "abac", "<$1|$2>", "<a|b><a|>c"),
            ("(?P<first>\\w+) (?<second>\\w+)", "hello world", "${second}, $first!", "world, hello!"),
            ("(\\w)(\\w)", "abcd", "$2$1x$$", "b$d$"),
            ("b", "abc", "$0$0", "abbc"),
            ("b", "abc", "${0}1", "ab1c"),
            ("b", "abc", "$", "a$c"),
            ("b", "abc", "${x", "a${xc"),
            ("b", "abc", "$x", "ac"),
            ("^|$", "a\nb", "|", "|a\nb|"),
            ("(?m)^|$", "a\nb", "|", "|a|\n|b|"),
            (".", "a\nb", "x", "x\nx"),
            ("(?s).", "a\nb", "x", "xxx"),
            ("(?s:.)b.", "a\nb\n", "x", "a\nb\n"),
            ("(?i)héLLo", "HÉllO", "x", "x"),
            ("(?i)[a-c]+", "xABCabcx", "-", "x-x"),
            ("(?i)a(?-i)b", "Ab AB", "x", "x AB"),
            ("[^a-c]", "abcd", "x", "abcx"),
            ("[]a]", "]a[", "x", "xx["),
            ("[a\\]-]", "a]-b", "x", "xxxb"),
            ("[\\d.]+", "v1.2.3", "x", "vx"),
            ("[[:alpha:]]+", "ab12", "x", "x12"),
            ("[[:^alpha:]]+", "ab12", "x", "abx"),
            ("\\D+", "12ab34", "-", "12-34"),
            ("\\s+", "a \t\n b", " ", "a b"),
            ("\\S", "a b", "x", "x x"),
            ("\\bfoo\\b", "foo foobar", "x", "x foobar"),
            ("\\Boo", "foo oo", "x", "fx oo"),
            ("a{2}", "aaaaa", "x", "xxa"),
            ("a{2,}", "aaaaa", "x", "x"),
            ("a{1,2}", "aaa", "x", "xx"),
            ("a{,2}", "a{,2}", "x", "x"),
            ("a{x}", "a{x}", "x", "x"),
            ("(ab|a)(c|bcd)", "abcd", "<$1,$2>", "<ab,c>d"),
            ("a|b|c|", "abcd", "x", "xxxdx"),
            ("(a|ab)(c|bcd)(d*)", "abcd", "<$1,$2,$3>", "<a,bcd,>"),
            ("(a*)*", "b", "x", "xbx"),
            ("(a+)*b", "aab", "<$1>", "<aa>"),
            ("\\x41\\x{42}", "xAB", "-", "x-"),
            ("\\.", "a.b", "-", "a-b"),
            ("é+", "caféé", "e", "cafe"),
            ("(?U)a+", "aaa", "x", "xxx"),
            ("\\Aa|b\\z", "aabb", "x", "xabx"),
            ("^[^/]*://([^:/]+).*$", "http://db:5432/x", "$1", "db"),
            ("(x+x+)+y", &"x".repeat(200), "-", &"x".repeat(200)),
        ] {
            assert_eq!(replaced(re, text, with), want, "{re} on {text}");
        }
    }

    #[test]
    fn expressions_that_are_none() {
        for (re, want) in [
            ("(", "missing closing ): `(`"),
            (")", "unexpected ): `)`"),
            ("a)", "unexpected ): `a)`"),
            ("[a", "missing closing ]: `[a`"),
            ("*a", "missing argument to repetition operator: `*`"),
            ("a**", "invalid nested repetition operator: `a**`"),
            ("[b-a]", "invalid character class range: `b-a`"),
            ("[[:none:]]", "invalid character class range: `[:none:]`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("\\1", "invalid escape sequence: `\\1`"),
            ("\\pL", "invalid escape sequence: `\\p`"),
            ("\\xzz", "invalid escape sequence: `\\x`"),
            ("\\", "trailing backslash at end of expression: ``"),
            ("a{2000}", "invalid repeat count: `{2000}`"),
            ("a{3,2}", "invalid repeat count: `{3,2}`"),
            ("(?P<n", "invalid named capture: `(?P<n`"),
            ("(?P<n>a)(?P<n>b)", "invalid named capture: `(?P<n>`"),
            ("(a{1000}){1000}", "expression too large: `(a{1000}){1000}`"),
        ] {
            let why = Regex::new(re).err().unwrap_or_default();
            assert_eq!(why, format!("error parsing regexp: {want}"), "{re}");
        }
        assert!(Regex::new(&"(".repeat(10_000)).is_err());
        assert!(Regex::new(&"a|".repeat(10_000)).is_err());
    }
}
