//! From a regular expression to the steps that find it, with Go's words for what is wrong.

use super::{Op, Regex, Step};

/// Groups nest no deeper.
const DEEPEST: usize = 100;
/// Steps of a program.
const LONGEST: usize = 10_000;
/// Most repetitions that a `{n,m}` may ask for.
const MOST: usize = 1_000;

const DIGIT: &[(char, char)] = &[('0', '9')];
const SPACE: &[(char, char)] = &[('\t', '\n'), ('\u{c}', '\r'), (' ', ' ')];
const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];

struct Parser<'a> {
    rest: std::str::Chars<'a>,
    made: Regex,
    /// What the flags `i`, `m` and `s` say.
    flags: [bool; 3],
}

/// Why it is no expression.
type Read<T> = Result<T, &'static str>;

/// Compiles it.
///
/// # Errors
/// What is wrong with it, in Go's words.
#[inline(never)]
pub fn parse(text: &str) -> Result<Regex, String> {
    let made = Regex { steps: Vec::new(), ranges: Vec::new(), groups: 1 };
    let mut p = Parser { rest: text.chars(), made, flags: [false; 3] };
    let why = match p.group(0, 0) {
        Ok(()) if p.rest.as_str().is_empty() => {
            p.add(Op::Match, 0, 0);
            return Ok(p.made);
        }
        Ok(()) => "unexpected )",
        Err(why) => why,
    };
    Err(crate::text::fill("error parsing regexp: %: `%`", &[why, text]))
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn eat(&mut self, c: char) -> bool {
        let is_it = self.peek() == Some(c);
        if is_it {
            self.rest.next();
        }
        is_it
    }

    #[inline(never)]
    fn add(&mut self, op: Op, a: isize, b: isize) {
        self.made.steps.push(Step(op, a, b));
    }

    fn here(&self) -> usize {
        self.made.steps.len()
    }

    /// Alternatives up to a `)` or the end, with what keeps them in their slots.
    #[inline(never)]
    fn group(&mut self, depth: usize, slot: isize) -> Read<()> {
        let flags = self.flags;
        self.add(Op::Save, slot, 0);
        let mut jumps = Vec::new();
        loop {
            let start = self.here();
            while self.peek().is_some_and(|c| !matches!(c, '|' | ')')) {
                let atom = self.here();
                self.atom(depth)?;
                // Flags alone are nothing that may come again.
                if self.here() > atom {
                    self.repeats(atom)?;
                }
            }
            if !self.eat('|') {
                break;
            }
            let len = self.here() - start;
            self.made.steps.insert(start, Step(Op::Split, 1, len as isize + 2));
            jumps.push(self.here());
            self.add(Op::Jump, 0, 0);
        }
        let end = self.here();
        for jump in jumps {
            if let Some(step) = self.made.steps.get_mut(jump) {
                step.1 = (end - jump) as isize;
            }
        }
        self.add(Op::Save, slot + 1, 0);
        self.flags = flags;
        Ok(())
    }

    /// What stands behind an atom: how often it may come.
    #[inline(never)]
    fn repeats(&mut self, start: usize) -> Read<()> {
        let (least, most) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => match braces(self.rest.as_str()) {
                Some((least, most)) => {
                    while self.peek().is_some_and(|c| c != '}') {
                        self.rest.next();
                    }
                    (least, most)
                }
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        self.rest.next();
        if least.max(most.unwrap_or(least)) > MOST || most.is_some_and(|most| most < least) {
            return Err("invalid repeat count");
        }
        let is_lazy = self.eat('?');
        if matches!(self.peek(), Some('*' | '+' | '?')) {
            return Err("invalid nested repetition operator");
        }
        let unit = self.made.steps.split_off(start);
        let len = unit.len() + 1;
        if start + len * (most.unwrap_or(least) + 1) > LONGEST {
            return Err("expression too large");
        }
        for _ in 0..least {
            self.made.steps.extend_from_slice(&unit);
        }
        // One that may be left out has a way around it, and all behind it.
        let others = most.map_or(1, |most| most - least);
        for i in 0..others {
            let around = ((others - i) * len + usize::from(most.is_none())) as isize;
            let (a, b) = if is_lazy { (around, 1) } else { (1, around) };
            self.add(Op::Split, a, b);
            self.made.steps.extend_from_slice(&unit);
        }
        if most.is_none() {
            self.add(Op::Jump, -(len as isize), 0);
        }
        Ok(())
    }

    #[inline(never)]
    fn atom(&mut self, depth: usize) -> Read<()> {
        let Some(c) = self.rest.next() else { return Ok(()) };
        let [_, many_lines, dot_is_all] = self.flags;
        let from = self.made.ranges.len();
        let mut op = Op::Class;
        let place = match (c, self.peek()) {
            ('^', _) if many_lines => Op::LineStart,
            ('^', _) => Op::Start,
            ('$', _) if many_lines => Op::LineEnd,
            ('$', _) => Op::End,
            ('\\', Some('A')) => Op::Start,
            ('\\', Some('z')) => Op::End,
            ('\\', Some('b')) => Op::Word,
            ('\\', Some('B')) => Op::NoWord,
            _ => Op::Match,
        };
        if place != Op::Match {
            if c == '\\' {
                self.rest.next();
            }
            self.add(place, 0, 0);
            return Ok(());
        }
        match c {
            '(' => {
                let flags = self.flags;
                let mut slot = self.made.groups * 2;
                if self.eat('?') {
                    slot = super::NONE / 4; // nobody's
                    loop {
                        match self.rest.next() {
                            Some(':') => break,
                            // To the end of the group it stands in.
                            Some(')') => return Ok(()),
                            Some('i') => self.flags[0] = true,
                            Some('m') => self.flags[1] = true,
                            Some('s') => self.flags[2] = true,
                            _ => return Err("invalid or unsupported Perl syntax"),
                        }
                    }
                } else {
                    self.made.groups += 1;
                }
                if depth >= DEEPEST {
                    return Err("expression nests too deeply");
                }
                self.group(depth + 1, slot as isize)?;
                self.flags = flags;
                return if self.eat(')') { Ok(()) } else { Err("missing closing )") };
            }
            '[' => {
                if self.eat('^') {
                    op = Op::Other;
                }
                let mut is_first = true;
                while is_first || !self.eat(']') {
                    is_first = false;
                    self.range()?;
                }
            }
            '.' => {
                op = Op::Other;
                if !dot_is_all {
                    self.made.ranges.push(('\n', '\n'));
                }
            }
            '*' | '+' | '?' => return Err("missing argument to repetition operator"),
            _ => {
                if let Some(c) = self.one(c)? {
                    self.made.ranges.push((c, c));
                }
            }
        }
        let to = self.made.ranges.len();
        if self.flags[0] {
            self.fold(from, to);
        }
        if self.here() > LONGEST {
            return Err("expression too large");
        }
        self.add(op, from as isize, self.made.ranges.len() as isize);
        Ok(())
    }

    /// Small letters are capitals, too, and the other way round, where they are in ranges of their own kind.
    #[inline(never)]
    fn fold(&mut self, from: usize, to: usize) {
        for i in from..to {
            let Some((low, high)) = self.made.ranges.get(i).copied() else { break };
            let pairs = [
                (low.to_ascii_lowercase(), high.to_ascii_lowercase()),
                (low.to_ascii_uppercase(), high.to_ascii_uppercase()),
            ];
            if low.is_ascii_alphabetic() && high.is_ascii_alphabetic() {
                self.made.ranges.extend_from_slice(&pairs);
            }
        }
    }

    /// A character of a class, or a range of them.
    #[inline(never)]
    fn range(&mut self) -> Read<()> {
        const OPEN: &str = "missing closing ]";
        if self.rest.as_str().starts_with("[:") {
            return Err("invalid character class range");
        }
        let c = self.rest.next().ok_or(OPEN)?;
        let Some(low) = self.one(c)? else { return Ok(()) };
        let mut high = low;
        let rest = self.rest.as_str();
        if rest.starts_with('-') && !rest.starts_with("-]") {
            self.rest.next();
            let c = self.rest.next().ok_or(OPEN)?;
            match self.one(c)? {
                Some(c) if c >= low => high = c,
                _ => return Err("invalid character class range"),
            }
        }
        self.made.ranges.push((low, high));
        Ok(())
    }

    /// The character this stands for; of a class by letter, whose ranges are added, there is none.
    #[inline(never)]
    fn one(&mut self, c: char) -> Read<Option<char>> {
        if c != '\\' {
            return Ok(Some(c));
        }
        let Some(c) = self.rest.next() else { return Err("trailing backslash at end of expression") };
        let class = match c.to_ascii_lowercase() {
            'd' => DIGIT,
            's' => SPACE,
            'w' => WORD,
            _ => &[],
        };
        if class.is_empty() {
            return match c {
                'n' => Ok(Some('\n')),
                'r' => Ok(Some('\r')),
                't' => Ok(Some('\t')),
                _ if c.is_ascii_punctuation() => Ok(Some(c)),
                _ => Err("invalid escape sequence"),
            };
        }
        let mut from = '\0';
        for (low, high) in class {
            let (before, behind) = (char::from(*low as u8 - 1), char::from(*high as u8 + 1));
            self.made.ranges.push(if c.is_ascii_uppercase() { (from, before) } else { (*low, *high) });
            from = behind;
        }
        if c.is_ascii_uppercase() {
            self.made.ranges.push((from, char::MAX));
        }
        Ok(None)
    }
}

/// `{n}`, `{n,}` or `{n,m}`: the least and the most.
fn braces(text: &str) -> Option<(usize, Option<usize>)> {
    let (inner, _) = text.strip_prefix('{')?.split_once('}')?;
    let (least, most) = inner.split_once(',').unwrap_or((inner, inner));
    let number = |t: &str| t.parse::<u16>().ok().filter(|_| !t.starts_with('+')).map(usize::from);
    Some((number(least)?, if most.is_empty() { None } else { Some(number(most)?) }))
}
