//! Regular expressions as Go's regexp (RE2) has them, for `regexReplaceAll`: a small program is made of the expression and run
//! over the text once, all ways at a time, so that no expression takes more than its length times the text's. There are no
//! look-arounds and no back references, as in RE2, and no classes of Unicode (`\pL`).

mod parse;

use crate::sys::meter;
use parse::WORD;

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

/// Where the groups are in a match.
type Slots = Vec<Option<usize>>;

impl Regex {
    /// Compiles it.
    ///
    /// # Errors
    /// What is wrong with it, in Go's words.
    pub fn new(text: &str) -> Result<Regex, String> {
        parse::parse(text)
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
