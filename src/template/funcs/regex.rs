//! Regular expressions as Go's regexp (RE2) has them, for `regexReplaceAll`: classes, groups, alternatives, repetitions, lazy
//! ones too, anchors, and the flags i, m and s. A small program is made of the expression and run over the text once, all ways
//! at a time, so that none takes more than its length times the text's. There are no names of groups, no classes by name.

mod parse;

use crate::sys::meter;

/// A compiled expression.
pub struct Regex {
    steps: Vec<Step>,
    /// Ranges of characters, to which steps point.
    ranges: Vec<(char, char)>,
    /// Groups, the whole included.
    groups: usize,
}

/// One step: what it is, and two numbers. Where it leads is counted from itself, so that steps can be copied.
#[derive(Clone, Copy)]
struct Step(Op, isize, isize);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    /// A character in one of these ranges, from the first number to the second.
    Class,
    /// A character in none of them.
    Other,
    /// On at the first number; where that leads nowhere, at the second.
    Split,
    /// On at the first number.
    Jump,
    /// The place goes into this slot: two for each group.
    Save,
    Start,
    End,
    LineStart,
    LineEnd,
    Word,
    NoWord,
    Match,
}

/// Where the groups are in a match; those that are in none are `NONE`.
type Slots = Vec<usize>;
const NONE: usize = usize::MAX;

impl Regex {
    /// Compiles it.
    ///
    /// # Errors
    /// What is wrong with it, in Go's words.
    pub fn new(text: &str) -> Result<Regex, String> {
        parse::parse(text)
    }

    /// The text with each match replaced: `$1` and `${1}` are groups, `$$` is a dollar.
    #[inline(never)]
    pub fn replace_all(&self, text: &str, with: &str) -> String {
        let mut out = String::new();
        let (mut done, mut from) = (0, 0);
        // A text that grows too long is refused by who called.
        while from <= text.len() && out.len() <= crate::text::LARGEST {
            let slots = self.find(text, from);
            let [start, end, ..] = slots[..] else { break };
            out.push_str(text.get(done..start).unwrap_or(""));
            // Nothing, right behind a match, is none.
            if end > done || start == 0 {
                expand(&mut out, with, text, &slots);
            }
            done = end;
            let next = text.get(from..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
            from = if end > from { end } else { from + next };
        }
        out.push_str(text.get(done..).unwrap_or(""));
        out
    }

    /// The first match from `from` on: of several that begin there the one that the expression prefers; empty where there is
    /// none.
    #[inline(never)]
    fn find(&self, text: &str, from: usize) -> Slots {
        let mut found = Vec::new();
        let mut now: Vec<(usize, Slots)> = Vec::new();
        // Where each step was looked at last.
        let mut seen = vec![NONE; self.steps.len()];
        let mut at = from;
        loop {
            if found.is_empty() {
                self.follow(&mut now, &mut seen, (0, vec![NONE; self.groups * 2]), text, at);
            } else if now.is_empty() {
                return found;
            }
            meter::charge(now.len() / 8 + 1);
            let c = text.get(at..).and_then(|rest| rest.chars().next());
            let after = at + c.map_or(1, char::len_utf8);
            for (at_step, slots) in std::mem::take(&mut now) {
                let Some(Step(op, from, to)) = self.steps.get(at_step) else { continue };
                if *op == Op::Match {
                    found = slots;
                    break; // what comes behind it is preferred less
                }
                let ranges = self.ranges.get(*from as usize..*to as usize).unwrap_or(&[]);
                if c.is_some_and(|c| is_in(ranges, c) == (*op == Op::Class)) {
                    self.follow(&mut now, &mut seen, (at_step + 1, slots), text, after);
                }
            }
            if c.is_none() {
                return found;
            }
            at = after;
        }
    }

    /// Adds the steps that take a character, from one on, in the order of preference, each once.
    #[inline(never)]
    fn follow(&self, list: &mut Vec<(usize, Slots)>, seen: &mut [usize], first: (usize, Slots), text: &str, at: usize) {
        let mut left = vec![first];
        while let Some((i, mut slots)) = left.pop() {
            match seen.get_mut(i) {
                Some(last) if *last != at => *last = at,
                _ => continue,
            }
            let Some(Step(op, a, b)) = self.steps.get(i).copied() else { continue };
            let mut next = i + 1;
            match op {
                Op::Class | Op::Other | Op::Match => {
                    list.push((i, slots));
                    continue;
                }
                Op::Split => {
                    left.push((i.wrapping_add_signed(b), slots.clone()));
                    next = i.wrapping_add_signed(a);
                }
                Op::Jump => next = i.wrapping_add_signed(a),
                Op::Save => {
                    if let Some(slot) = slots.get_mut(a as usize) {
                        *slot = at;
                    }
                }
                _ if !is_at(op, text, at) => continue,
                _ => {}
            }
            left.push((next, slots));
        }
    }
}

/// Appends what takes a match's place.
#[inline(never)]
fn expand(out: &mut String, with: &str, text: &str, slots: &[usize]) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = with;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let bare = after.get(..after.find(|c| !is_part(c)).unwrap_or(after.len())).unwrap_or("");
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, behind) = braced.unwrap_or((bare, after.get(bare.len()..).unwrap_or("")));
        if name.is_empty() || !name.chars().all(is_part) {
            // Nobody's name: the dollar is one.
            out.push('$');
            rest = after.strip_prefix('$').unwrap_or(after);
            continue;
        }
        let slot = name.parse::<usize>().unwrap_or(NONE).saturating_mul(2);
        if let Some([start, end]) = slots.get(slot..slot.saturating_add(2)) {
            out.push_str(text.get(*start..*end).unwrap_or(""));
        }
        rest = behind;
    }
    out.push_str(rest);
}

fn is_in(ranges: &[(char, char)], c: char) -> bool {
    ranges.iter().any(|(from, to)| (*from..=*to).contains(&c))
}

#[inline(never)]
fn is_at(op: Op, text: &str, at: usize) -> bool {
    let before = text.get(..at).and_then(|t| t.chars().next_back());
    let after = text.get(at..).and_then(|t| t.chars().next());
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    match op {
        Op::Start => before.is_none(),
        Op::End => after.is_none(),
        Op::LineStart => matches!(before, None | Some('\n')),
        Op::LineEnd => matches!(after, None | Some('\n')),
        _ => (is_word(before) != is_word(after)) == (op == Op::Word),
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
            ("(?i)heLLo", "HEllO", "x", "x"),
            ("(?i)[a-c]+", "xABCabcx", "-", "x-x"),
            ("[^a-c]", "abcd", "x", "abcx"),
            ("[]a]", "]a[", "x", "xx["),
            ("[a\\]-]", "a]-b", "x", "xxxb"),
            ("[\\d.]+", "v1.2.3", "x", "vx"),
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
            ("\\.", "a.b", "-", "a-b"),
            ("é+", "caféé", "e", "cafe"),
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
            ("(", "missing closing )"),
            (")", "unexpected )"),
            ("a)", "unexpected )"),
            ("[a", "missing closing ]"),
            ("[", "missing closing ]"),
            ("[a-", "missing closing ]"),
            ("*a", "missing argument to repetition operator"),
            ("a|*", "missing argument to repetition operator"),
            ("a**", "invalid nested repetition operator"),
            ("[b-a]", "invalid character class range"),
            ("[a-\\d]", "invalid character class range"),
            ("[[:alpha:]]", "invalid character class range"),
            ("(?=a)", "invalid or unsupported Perl syntax"),
            ("(?P<n>a)", "invalid or unsupported Perl syntax"),
            ("\\1", "invalid escape sequence"),
            ("\\pL", "invalid escape sequence"),
            ("\\", "trailing backslash at end of expression"),
            ("a{2000}", "invalid repeat count"),
            ("a{3,2}", "invalid repeat count"),
            ("(a{1000}){1000}", "expression too large"),
        ] {
            let why = Regex::new(re).err().unwrap_or_default();
            assert_eq!(why, format!("error parsing regexp: {want}: `{re}`"));
        }
        assert!(Regex::new(&"(".repeat(10_000)).is_err());
        assert!(Regex::new(&"a|".repeat(10_000)).is_err());
        assert!(Regex::new(&"a".repeat(20_000)).is_err());
    }
}
