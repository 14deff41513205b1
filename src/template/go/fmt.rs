//! Go's fmt: the verbs of printf, print's rule of spaces, and what a value looks like. It decides text only; it never
//! looks at the store. Results are bytes, because a value of a key may be no text.

use crate::sys::meter;
use crate::text::{LARGEST, decode, float, hex, is_print, push_char, put, quote, time, unicode};
use crate::value::{Elem, Named, Value};

/// A width or precision above this is refused, as in Go.
const WIDEST: i64 = 1_000_000;

/// The Go type of a value.
pub fn type_name(v: &Value) -> &'static str {
    match v {
        Value::Nil => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float64",
        Value::Str(_) | Value::Bytes(_) => "string",
        Value::List(l) => match l.elem {
            Elem::Any => "[]interface {}",
            Elem::Str => "[]string",
            Elem::Int => "[]int",
            Elem::Pair => "[]memkv.KVPair",
            Elem::Pairs => "memkv.KVPairs",
        },
        Value::Map(_) => "map[string]interface {}",
        Value::Pair(_) => "memkv.KVPair",
        Value::Time(_) => "time.Time",
        Value::Named(Named::Month, _) => "time.Month",
        Value::Named(Named::Weekday, _) => "time.Weekday",
    }
}

/// Appends a value as `%v` prints it.
pub fn display(out: &mut Vec<u8>, v: &Value) {
    let mut p = Printer { out, f: Flags::default() };
    p.value(v, 'v', true);
}

/// Go's Sprint (a space between operands when neither is a string), or Sprintln.
pub fn print(out: &mut Vec<u8>, args: &[Value], line: bool) {
    let mut after_text = true;
    for (i, v) in args.iter().enumerate() {
        let is_text = v.as_bytes().is_some();
        if i > 0 && (line || (!is_text && !after_text)) {
            out.push(b' ');
        }
        after_text = is_text;
        display(out, v);
    }
    if line {
        out.push(b'\n');
    }
}

#[derive(Clone, Copy, Default)]
struct Flags {
    wid: Option<usize>,
    prec: Option<usize>,
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    plus_v: bool,
    sharp_v: bool,
}

struct Printer<'a> {
    out: &'a mut Vec<u8>,
    f: Flags,
}

/// Reads a number at `*at`. `None`: no digit; an overlong one ends the format, as in Go.
fn number(format: &[u8], at: &mut usize) -> Option<i64> {
    let mut n: Option<i64> = None;
    while let Some(c @ b'0'..=b'9') = format.get(*at) {
        let next = n.unwrap_or(0) * 10 + i64::from(c - b'0');
        if next > WIDEST {
            *at = format.len();
            return None;
        }
        n = Some(next);
        *at += 1;
    }
    n
}

/// The state of one format: which argument comes next, and whether an index was used.
struct Cursor {
    at: usize,
    arg: usize,
    good: bool,
    reordered: bool,
    after_index: bool,
}

impl Cursor {
    /// Reads `[n]`, if it is there.
    fn index(&mut self, format: &[u8], count: usize) {
        if format.get(self.at) != Some(&b'[') {
            return;
        }
        self.reordered = true;
        let Some(len) = format.iter().skip(self.at).position(|c| *c == b']') else {
            self.good = false;
            self.at += 1;
            return;
        };
        let end = self.at + len;
        let mut i = self.at + 1;
        let n = number(format.get(..end).unwrap_or(&[]), &mut i);
        self.at = end + 1;
        match n.and_then(|n| usize::try_from(n).ok()) {
            Some(n) if i == end && n >= 1 && n <= count => {
                self.arg = n - 1;
                self.after_index = true;
            }
            _ => self.good = false,
        }
    }
    /// The integer argument that a `*` takes.
    fn star(&mut self, args: &[Value]) -> Option<i64> {
        self.at += 1;
        self.after_index = false;
        let v = args.get(self.arg);
        if v.is_some() {
            self.arg += 1;
        }
        match v {
            Some(Value::Int(n) | Value::Named(_, n)) if n.unsigned_abs() <= WIDEST.unsigned_abs() => Some(*n),
            _ => None,
        }
    }
}

/// Go's Sprintf. `false`: the result outgrew its limit and is cut.
pub fn printf(out: &mut Vec<u8>, format: &[u8], args: &[Value]) -> bool {
    let mut c = Cursor { at: 0, arg: 0, good: true, reordered: false, after_index: false };
    while let Some(rest) = format.get(c.at..).filter(|r| !r.is_empty()) {
        if meter::is_spent() {
            break;
        }
        if out.len() > LARGEST {
            return false;
        }
        let text = rest.iter().position(|b| *b == b'%').unwrap_or(rest.len());
        put(out, rest.get(..text).unwrap_or(&[]));
        c.at += text + 1;
        if text == rest.len() {
            break;
        }
        let mut p = Printer { out, f: Flags::default() };
        one_verb(&mut p, format, args, &mut c);
    }
    if !c.reordered && c.arg < args.len() {
        put(out, b"%!(EXTRA ");
        let mut p = Printer { out, f: Flags::default() };
        for (i, v) in args.iter().skip(c.arg).enumerate() {
            if i > 0 {
                put(p.out, b", ");
            }
            p.typed(v);
        }
        out.push(b')');
    }
    out.len() <= LARGEST
}

/// One verb; `c.at` stands behind its `%`.
fn one_verb(p: &mut Printer, format: &[u8], args: &[Value], c: &mut Cursor) {
    c.good = true;
    c.after_index = false;
    while let Some(b) = format.get(c.at) {
        match b {
            b'#' => p.f.sharp = true,
            b'0' => p.f.zero = true,
            b'+' => p.f.plus = true,
            b'-' => p.f.minus = true,
            b' ' => p.f.space = true,
            _ => break,
        }
        c.at += 1;
    }
    c.index(format, args.len());
    if format.get(c.at) == Some(&b'*') {
        match c.star(args) {
            Some(n) => {
                p.f.minus |= n < 0;
                p.f.wid = usize::try_from(n.unsigned_abs()).ok();
            }
            None => put(p.out, b"%!(BADWIDTH)"),
        }
    } else if let Some(n) = number(format, &mut c.at) {
        p.f.wid = usize::try_from(n).ok();
        c.good &= !c.after_index;
    }
    // Zeros never stand on the right.
    p.f.zero &= !p.f.minus;
    if format.get(c.at) == Some(&b'.') {
        c.at += 1;
        c.good &= !c.after_index;
        c.index(format, args.len());
        if format.get(c.at) == Some(&b'*') {
            match c.star(args).and_then(|n| usize::try_from(n).ok()) {
                None => put(p.out, b"%!(BADPREC)"),
                prec => p.f.prec = prec,
            }
        } else {
            p.f.prec = usize::try_from(number(format, &mut c.at).unwrap_or(0)).ok();
        }
    }
    if !c.after_index {
        c.index(format, args.len());
    }
    let rest = format.get(c.at..).unwrap_or(&[]);
    let Some((verb, size)) = decode(rest) else {
        put(p.out, b"%!(NOVERB)");
        return;
    };
    c.at += size;
    if verb == '%' {
        p.out.push(b'%');
    } else if !c.good {
        p.complain(verb, "(BADINDEX)");
    } else if let Some(v) = args.get(c.arg) {
        c.arg += 1;
        if verb == 'v' {
            p.f.sharp_v = std::mem::take(&mut p.f.sharp);
            p.f.plus_v = std::mem::take(&mut p.f.plus);
        }
        p.argument(v, verb);
    } else {
        p.complain(verb, "(MISSING)");
    }
}

fn rune_count(b: &[u8]) -> usize {
    let (mut n, mut at) = (0, 0);
    while let Some((_, size)) = b.get(at..).and_then(decode) {
        n += 1;
        at += size;
    }
    n
}

impl Printer<'_> {
    fn complain(&mut self, verb: char, what: &str) {
        put(self.out, b"%!");
        push_char(self.out, verb);
        put(self.out, what.as_bytes());
    }
    /// `type=value`, or `<nil>`.
    fn typed(&mut self, v: &Value) {
        if !matches!(v, Value::Nil) {
            put(self.out, type_name(v).as_bytes());
            self.out.push(b'=');
        }
        self.value(v, 'v', true);
    }
    fn bad_verb(&mut self, v: &Value, verb: char) {
        self.complain(verb, "(");
        self.typed(v);
        self.out.push(b')');
    }
    fn argument(&mut self, v: &Value, verb: char) {
        match verb {
            'T' => self.text(type_name(v).as_bytes(), 's'),
            'p' => self.bad_verb(v, 'p'),
            _ => self.value(v, verb, true),
        }
    }
    fn value(&mut self, v: &Value, verb: char, top: bool) {
        meter::charge(1);
        // A short list may hold a long text often, or have a wide verb.
        if self.out.len() > LARGEST || meter::is_spent() {
            return;
        }
        match v {
            Value::Nil => match verb {
                'v' if top => self.pad(b"<nil>"),
                _ if top => self.complain(verb, "(<nil>)"),
                // Within a list or a map, Go pads nothing that is nil.
                'v' if self.f.sharp_v => put(self.out, b"interface {}(nil)"),
                _ => put(self.out, b"<nil>"),
            },
            Value::Bool(b) if matches!(verb, 't' | 'v') => self.pad(if *b { b"true" } else { b"false" }),
            Value::Int(n) if int_verb(verb) => self.int(*n, verb),
            Value::Float(f) if "vbgGxXfFeE".contains(verb) => self.float(*f, verb),
            Value::Str(_) | Value::Bytes(_) if text_verb(verb) => self.text(v.as_bytes().unwrap_or(&[]), verb),
            Value::Time(t) if text_verb(verb) => self.text(time::text(*t).as_bytes(), verb),
            Value::Named(_, n) if self.f.sharp_v && verb == 'v' => self.int(*n, 'd'),
            Value::Named(of, n) if text_verb(verb) => self.text(time::name(*of, *n).as_bytes(), verb),
            Value::Named(_, n) if int_verb(verb) => self.int(*n, verb),
            Value::List(l) => {
                self.open(v, b'[', b'{');
                for (i, e) in l.items.iter().enumerate() {
                    self.separate(i);
                    self.value(e, verb, false);
                }
                self.close(b']');
            }
            Value::Map(m) => {
                if !self.f.sharp_v {
                    put(self.out, b"map");
                }
                self.open(v, b'[', b'{');
                for (i, (k, e)) in m.iter().enumerate() {
                    self.separate(i);
                    if text_verb(verb) {
                        self.text(k.as_bytes(), verb);
                    } else {
                        self.bad_verb(&Value::str(k), verb);
                    }
                    self.out.push(b':');
                    self.value(e, verb, false);
                }
                self.close(b']');
            }
            Value::Pair(p) => {
                let named = self.f.plus_v || self.f.sharp_v;
                self.open(v, b'{', b'{');
                if named {
                    put(self.out, b"Key:");
                }
                self.value(&Value::Str(p.key.clone()), verb, false);
                self.separate(1);
                if named {
                    put(self.out, b"Value:");
                }
                self.value(&p.value, verb, false);
                self.close(b'}');
            }
            _ => self.bad_verb(v, verb),
        }
    }
    fn open(&mut self, v: &Value, plain: u8, sharp: u8) {
        if self.f.sharp_v {
            put(self.out, type_name(v).as_bytes());
        }
        self.out.push(if self.f.sharp_v { sharp } else { plain });
    }
    fn close(&mut self, plain: u8) {
        self.out.push(if self.f.sharp_v { b'}' } else { plain });
    }
    fn separate(&mut self, i: usize) {
        if i > 0 {
            put(self.out, if self.f.sharp_v { b", " } else { b" " });
        }
    }
    /// Writes `b` at the wanted width, counted in characters.
    #[inline(never)]
    fn pad(&mut self, b: &[u8]) {
        let fill = self.f.wid.map_or(0, |w| w.saturating_sub(rune_count(b)));
        let with = if self.f.zero { b'0' } else { b' ' };
        if !self.f.minus {
            self.out.resize(self.out.len() + fill, with);
        }
        put(self.out, b);
        if self.f.minus {
            self.out.resize(self.out.len() + fill, with);
        }
    }
    fn text(&mut self, b: &[u8], verb: char) {
        meter::charge(b.len() / 16);
        let mut b = b;
        if let (Some(prec), false) = (self.f.prec, matches!(verb, 'x' | 'X')) {
            let mut at = 0;
            for _ in 0..prec {
                at += b.get(at..).and_then(decode).map_or(0, |d| d.1);
            }
            b = b.get(..at).unwrap_or(b);
        }
        let mut s = Vec::new();
        match verb {
            'q' if self.f.sharp && !b.contains(&b'`') && can_backquote(b) => {
                s.push(b'`');
                put(&mut s, b);
                s.push(b'`');
            }
            'q' => quote(&mut s, b, '"', self.f.plus),
            'v' if self.f.sharp_v => quote(&mut s, b, '"', false),
            'x' | 'X' => {
                let b = b.get(..self.f.prec.unwrap_or(b.len())).unwrap_or(b);
                for (i, c) in b.iter().enumerate() {
                    if i > 0 && self.f.space {
                        s.push(b' ');
                    }
                    if self.f.sharp && (i == 0 || self.f.space) {
                        s.push(b'0');
                        s.push(if verb == 'X' { b'X' } else { b'x' });
                    }
                    hex(&mut s, u32::from(*c), 2, verb == 'X');
                }
            }
            _ => return self.pad(b),
        }
        self.pad(&s);
    }
    fn int(&mut self, n: i64, verb: char) {
        let rune = u32::try_from(n).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
        let mut s = Vec::new();
        let base = match verb {
            'b' => 2,
            'o' | 'O' => 8,
            'x' | 'X' => 16,
            'c' => {
                push_char(&mut s, rune);
                return self.pad(&s);
            }
            'q' => {
                let mut one = Vec::new();
                push_char(&mut one, rune);
                quote(&mut s, &one, '\'', self.f.plus);
                return self.pad(&s);
            }
            'U' => {
                unicode(&mut s, n, self.f.prec.unwrap_or(4).max(4));
                if self.f.sharp && n >= 0 && is_print(rune) {
                    put(&mut s, b" '");
                    push_char(&mut s, rune);
                    s.push(b'\'');
                }
                self.f.zero = false;
                return self.pad(&s);
            }
            _ => 10,
        };
        let signed = n < 0 || self.f.plus || self.f.space;
        let mut least = self.f.prec.unwrap_or(0);
        if self.f.prec.is_none() && self.f.zero {
            least = self.f.wid.unwrap_or(0).saturating_sub(usize::from(signed));
        }
        if self.f.prec != Some(0) || n != 0 {
            let mut left = n.unsigned_abs();
            while left > 0 || s.is_empty() {
                let c = char::from_digit(u32::try_from(left % base).unwrap_or(0), 16).unwrap_or('0');
                s.push(if verb == 'X' { c.to_ascii_uppercase() } else { c } as u8);
                left /= base;
            }
            while s.len() < least {
                s.push(b'0');
            }
            match (verb, self.f.sharp) {
                ('b', true) => put(&mut s, b"b0"),
                ('o', true) if s.last() != Some(&b'0') => s.push(b'0'),
                ('x', true) => put(&mut s, b"x0"),
                ('X', true) => put(&mut s, b"X0"),
                ('O', _) => put(&mut s, b"o0"),
                _ => {}
            }
            if n < 0 {
                s.push(b'-');
            } else if self.f.plus {
                s.push(b'+');
            } else if self.f.space {
                s.push(b' ');
            }
            s.reverse();
        }
        let zero = std::mem::take(&mut self.f.zero);
        self.pad(&s);
        self.f.zero = zero;
    }
    fn float(&mut self, f: f64, verb: char) {
        let (letter, prec) = match verb {
            'v' => (b'g', None),
            'F' => (b'f', Some(6)),
            'f' | 'e' | 'E' => (verb as u8, Some(6)),
            _ => (verb as u8, None),
        };
        let text = float::fmt_float(f, letter, self.f.prec.or(prec));
        meter::charge(text.len() / 8);
        let digits = text.trim_start_matches(['+', '-']).as_bytes();
        let sign: &[u8] = match text.as_bytes().first() {
            Some(b'-') => b"-",
            Some(b'+') if self.f.plus || (text == "+Inf" && self.f.space) => b"+",
            Some(b'+') => b"",
            _ if self.f.plus => b"+",
            _ if self.f.space => b" ",
            _ => b"",
        };
        let zero = self.f.zero;
        self.f.zero = zero && f.is_finite();
        if self.f.zero && !sign.is_empty() {
            put(self.out, sign);
            self.f.wid = self.f.wid.map(|w| w.saturating_sub(1));
            self.pad(digits);
            self.f.wid = self.f.wid.map(|w| w + 1);
        } else {
            self.pad(&[sign, digits].concat());
        }
        self.f.zero = zero;
    }
}

fn text_verb(verb: char) -> bool {
    matches!(verb, 'v' | 's' | 'q' | 'x' | 'X')
}

fn int_verb(verb: char) -> bool {
    matches!(verb, 'v' | 'd' | 'b' | 'o' | 'O' | 'x' | 'X' | 'c' | 'q' | 'U')
}

fn can_backquote(b: &[u8]) -> bool {
    std::str::from_utf8(b).is_ok_and(|s| s.chars().all(|c| (c >= ' ' || c == '\t') && c != '\x7f' && c != '\u{feff}'))
}
