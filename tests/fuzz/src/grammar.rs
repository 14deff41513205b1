//! Templates made out of bytes: each byte chooses what comes next, so that a small change of the input is a small
//! change of the template, and what is made mostly compiles. Nothing here looks up names of hosts.

use pilotfish::template::Dialect;
use pilotfish::template::funcs::{Func, all};

/// Bytes that choose; zeros when there are no more.
pub struct Bytes<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    /// From the first one on.
    pub fn new(data: &'a [u8]) -> Bytes<'a> {
        Bytes { data, at: 0 }
    }
    /// The next one.
    pub fn next(&mut self) -> u8 {
        let b = self.data.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        b
    }
    /// One of `n`.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.next()) % n
    }
    /// Whether all are used.
    pub fn is_done(&self) -> bool {
        self.at >= self.data.len()
    }
    /// The next few as they are.
    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let from = self.at.min(self.data.len());
        let to = (from + n).min(self.data.len());
        self.at = to;
        &self.data[from..to]
    }
}

const TEXTS: &[&str] = &[
    "",
    "a",
    "/x",
    "/t/*",
    "/t",
    "/",
    "/*/*",
    "/[a-t]/?",
    "/nope",
    "/bin",
    "/j",
    "/ja",
    "/lines",
    "/n",
    "/name",
    "[",
    "/t/d/..",
    ",",
    "%d",
    "%5.2f|%-5s|%+q",
    "%[2]*.[1]*f",
    "%#v %T",
    "%x %X % x",
    "%U %#U %c %t %e %g",
    "%099999d",
    "2006-01-02T15:04:05.999Z07:00 Mon Jan _2 PM .000",
    "{\"a\":[1,null,{\"b\":2.5e-3}]}",
    "[[[]]]",
    "YWJj",
    "true",
    "12",
    "-9223372036854775808",
    "1e400",
    "\u{e9}\u{1f600}\u{2028}",
    "\0",
    "\"\\'`",
    "<&>",
    "\n\n",
    "Name",
    "....//..//",
    "t1",
    "HOME",
    "\u{130}\u{df}\u{1c5}",
];
const NUMBERS: &[&str] =
    &["0", "1", "-1", "2", "3", "10", "64", "1000", "65536", "1000000", "9223372036854775807", "-9223372036854775808"];
const FLOATS: &[&str] = &["0.0", "1.5", "-2.25", "1e21", "1e-7", "123456789.0", "1e308", "5e-324"];
const NAMES: &[&str] = &["a", "b", "c"];
const FIELDS: &[&str] = &["Key", "Value", "n", "l", "o", "a", "k", "name"];
const METHODS: &[(&str, &str)] = &[
    ("Format", "s"),
    ("AddDate", "iii"),
    ("Add", "i"),
    ("Year", ""),
    ("Month", ""),
    ("Weekday", ""),
    ("YearDay", ""),
    ("Unix", ""),
    ("UnixNano", ""),
    ("String", ""),
    ("After", "t"),
    ("Equal", "t"),
    ("IsZero", ""),
];

/// Makes templates.
pub struct Maker<'a> {
    /// What chooses.
    pub bytes: Bytes<'a>,
    dialect: Dialect,
    depth: usize,
    /// Only what both dialects have: no variables, no literal lists and maps.
    common: bool,
}

/// The template that `data` stands for, and the bytes of the key `/x`; `None` when `data` is itself a template.
pub fn template(data: &[u8], dialect: Dialect) -> Option<(String, Vec<u8>)> {
    let (first, rest) = data.split_first()?;
    if *first > 7 {
        return None;
    }
    let mut maker = Maker::new(rest, dialect);
    let n = maker.bytes.below(16);
    let own = maker.bytes.take(n).to_vec();
    let mut out = String::new();
    if maker.is_go() && *first & 1 == 1 {
        for name in ["t1", "t2"] {
            out.push_str(&format!("{{{{define \"{name}\"}}}}"));
            maker.block(&mut out);
            out.push_str("{{end}}");
        }
    }
    while !maker.bytes.is_done() && out.len() < 20_000 {
        maker.statement(&mut out);
    }
    Some((out, own))
}

impl<'a> Maker<'a> {
    /// Out of these bytes.
    pub fn new(data: &'a [u8], dialect: Dialect) -> Maker<'a> {
        Maker { bytes: Bytes::new(data), dialect, depth: 0, common: false }
    }
    /// The same, of what means the same in both dialects.
    pub fn common(data: &'a [u8], dialect: Dialect) -> Maker<'a> {
        Maker { common: true, ..Maker::new(data, dialect) }
    }
    fn is_go(&self) -> bool {
        self.dialect == Dialect::Go
    }
    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.bytes.below(of.len())]
    }

    fn block(&mut self, out: &mut String) {
        for _ in 0..self.bytes.below(4) {
            self.statement(out);
        }
    }

    /// One action or text.
    pub fn statement(&mut self, out: &mut String) {
        if self.depth > 6 || out.len() > 20_000 {
            out.push('.');
            return;
        }
        self.depth += 1;
        let (go, which) = (self.is_go(), self.bytes.below(16));
        let (open, close) = match self.bytes.below(8) {
            1 => ("- ", ""),
            2 => ("", " -"),
            3 => ("- ", " -"),
            _ => ("", ""),
        };
        // {{ for Go's actions and for what is printed, {% for upon's blocks.
        let tag = |block: bool, text: &str| match (go, block) {
            (false, true) => format!("{{%{open}{text}{close}%}}"),
            _ => format!("{{{{{open}{text}{close}}}}}"),
        };
        let end = |word: &str| if go { "{{end}}".to_string() } else { format!("{{% end{word} %}}") };
        let name = self.one(NAMES);
        match which {
            0 => out.push_str(self.one(&["text", " \n ", "}", "{", "\u{e9}", "%}", "\t", "#}"])),
            1 => out.push_str(if go { "{{/* c */}}" } else { "{#- c #}" }),
            2..=5 => {
                let e = self.expression(b'a');
                out.push_str(&tag(false, &format!(" {e} ")));
            }
            6..=7 => {
                let e = self.expression(b'a');
                let not = if go { "" } else { self.one(&["", "not "]) };
                out.push_str(&tag(true, &format!(" if {not}{e}")));
                self.block(out);
                if self.bytes.below(2) == 1 {
                    let e = self.expression(b'a');
                    out.push_str(&tag(true, &format!(" else if {e}")));
                    self.block(out);
                }
                if self.bytes.below(2) == 1 {
                    out.push_str(&tag(true, " else"));
                    self.block(out);
                }
                out.push_str(&end("if"));
            }
            8..=10 => {
                let kind = self.one(&[b'S', b'L', b'M', b'L', b'a']);
                let e = self.expression(kind);
                let two = self.bytes.below(3) == 1;
                let other = self.one(NAMES);
                let text = match (go, two) {
                    (true, true) => format!(" range ${name}, ${other} := {e}"),
                    (true, false) if self.bytes.below(2) == 1 => format!(" range ${name} := {e}"),
                    (true, false) => format!(" range {e}"),
                    (false, _) if kind == b'M' || two => format!(" for {name}, {other} in {e}"),
                    (false, _) => format!(" for {name} in {e}"),
                };
                out.push_str(&tag(true, &text));
                self.block(out);
                if go && self.bytes.below(4) == 1 {
                    out.push_str(self.one(&["{{break}}", "{{continue}}", "{{else}}"]));
                }
                out.push_str(&end("for"));
            }
            11..=12 => {
                let e = self.expression(b'a');
                let text = match (go, self.bytes.below(2)) {
                    (true, 0) => format!(" with {e}"),
                    (true, _) => format!(" with ${name} := {e}"),
                    (false, _) => format!(" with {e} as {name}"),
                };
                out.push_str(&tag(true, &text));
                self.block(out);
                out.push_str(&end("with"));
            }
            13 if go => {
                let e = self.expression(b'a');
                let how = self.one(&[":=", ":=", "="]);
                out.push_str(&tag(false, &format!("${name} {how} {e}")));
            }
            14 if go => {
                let which = self.one(&["t1", "t2"]);
                let e = self.expression(b'a');
                out.push_str(&tag(false, &format!("template \"{which}\" {e}")));
            }
            _ => {
                let f = self.function();
                let e = self.call(f);
                out.push_str(&tag(false, &format!(" {e} ")));
            }
        }
        self.depth -= 1;
    }

    /// Any function but those that ask a name server.
    fn function(&mut self) -> &'static Func {
        let f = self.one(&all().iter().collect::<Vec<_>>());
        if f.name.starts_with("lookup") { &all()[0] } else { f }
    }

    /// A value of this type, mostly.
    pub fn expression(&mut self, kind: u8) -> String {
        let kind = if self.bytes.next() > 240 { b'a' } else { kind };
        if self.depth > 9 || self.bytes.is_done() {
            return self.literal(kind);
        }
        self.depth += 1;
        let go = self.is_go();
        let made = match self.bytes.below(8) {
            0..=2 => self.literal(kind),
            3 if self.common => self.literal(kind),
            3 => {
                let (name, field) = (self.one(NAMES), self.one(FIELDS));
                match (go, self.bytes.below(6)) {
                    (true, 0) => ".".to_string(),
                    (true, 1) => format!(".{field}"),
                    (true, 2) => format!("${name}.{field}"),
                    (true, _) => format!("${name}"),
                    (false, 0) => format!("{name}.{field}"),
                    (false, 1) => format!("{name}?.{field}.0"),
                    (false, 2) => self.one(&["loop.index", "loop.last", "loop", "?.a"]).to_string(),
                    (false, _) => name.to_string(),
                }
            }
            4 if !self.common => {
                let (head, f) = (self.expression(b'a'), self.function());
                let args = self.arguments(f, 1);
                match (go, args.is_empty()) {
                    (true, _) => format!("({head} | {} {})", f.name, args.join(" ")),
                    (false, true) => format!("({head} | {})", f.name),
                    (false, false) => format!("({head} | {}: {})", f.name, args.join(", ")),
                }
            }
            5 => {
                let (method, sig) = self.one(METHODS);
                let args: Vec<String> = sig.bytes().map(|k| self.expression(k)).collect();
                if go {
                    format!("(datetime.{method} {})", args.join(" "))
                } else {
                    let all: Vec<String> = std::iter::once("datetime()".to_string()).chain(args).collect();
                    format!("{method}({})", all.join(", "))
                }
            }
            _ => {
                let names: &[&str] = match kind {
                    b'i' => &["add", "sub", "mul", "div", "mod", "len", "atoi"],
                    b'S' => &["getvs", "split", "keys", "ls", "lsdir", "sortByLength", "reverse"],
                    b'L' => &["gets", "list", "seq", "jsonArray", "append", "reverse", "slice"],
                    b'M' => &["dict", "map", "json"],
                    b'b' => &["eq", "not", "exists", "contains", "empty", "lt", "parseBool"],
                    b's' => &["print", "printf", "replace", "join", "repeat", "toJson", "getv", "html", "toUpper"],
                    _ => &["index", "slice", "getv", "fromJson", "default", "or", "and", "include", "base64Decode"],
                };
                let name = self.one(names);
                let f = all().iter().find(|f| f.name == name).unwrap();
                self.call(f)
            }
        };
        self.depth -= 1;
        made
    }

    /// A call with arguments that mostly fit.
    pub fn call(&mut self, f: &Func) -> String {
        let args = self.arguments(f, 0);
        self.written(f.name, args)
    }

    fn written(&self, name: &str, args: Vec<String>) -> String {
        if !self.is_go() {
            format!("{name}({})", args.join(", "))
        } else if args.is_empty() {
            format!("({name})")
        } else {
            format!("({name} {})", args.join(" "))
        }
    }

    /// The arguments of `f` but the last `without`.
    fn arguments(&mut self, f: &Func, without: usize) -> Vec<String> {
        let mut kinds = Vec::new();
        for c in f.sig.into_iter().filter(|c| *c != 0) {
            match c {
                b'?' => {
                    if self.bytes.below(2) == 0 {
                        kinds.pop();
                    }
                }
                b'*' => {
                    let kind = kinds.pop().unwrap_or(b'a');
                    kinds.extend(std::iter::repeat_n(kind, self.bytes.below(5)));
                }
                c => kinds.push(c),
            }
        }
        kinds.truncate(kinds.len().saturating_sub(without));
        kinds.into_iter().map(|k| self.expression(k)).collect()
    }

    /// A constant, or a list or map of such.
    pub fn literal(&mut self, kind: u8) -> String {
        let go = self.is_go();
        match kind {
            b'i' => match self.bytes.below(20) {
                n if n < NUMBERS.len() => NUMBERS[n].to_string(),
                _ => (i64::from(self.bytes.next()) - 100).to_string(),
            },
            b'f' => self.one(FLOATS).to_string(),
            b'b' => self.one(&["true", "false"]).to_string(),
            b't' => if go { "datetime" } else { "datetime()" }.to_string(),
            b's' => self.text(),
            b'S' => {
                let which = self.bytes.below(3);
                if which == 0 {
                    return self.written("getvs", vec!["\"/t/*\"".to_string()]);
                }
                let (a, b) = (self.text(), self.text());
                if which == 1 && !go && !self.common {
                    format!("[{a}, {b}]")
                } else {
                    self.written("split", vec![a, b])
                }
            }
            b'L' => match self.bytes.below(4) {
                0 => {
                    let n = self.bytes.below(20).to_string();
                    self.written("seq", vec!["1".to_string(), n])
                }
                1 => self.written("gets", vec!["\"/t/*\"".to_string()]),
                which => {
                    let (a, b) = (self.literal(b'i'), self.text());
                    if which == 2 && !go && !self.common {
                        format!("[{a}, {b}]")
                    } else {
                        self.written("list", vec![a, b])
                    }
                }
            },
            b'M' => {
                let (which, key) = (self.bytes.below(3), self.one(&["\"a\"", "\"n\"", "\"k\""]).to_string());
                if which == 0 {
                    let text = self.written("getv", vec!["\"/j\"".to_string()]);
                    return self.written("json", vec![text]);
                }
                let value = self.literal(b'i');
                if which == 1 && !go && !self.common {
                    format!("{{{key}: {value}}}")
                } else {
                    self.written("dict", vec![key, value])
                }
            }
            _ => {
                let kind = self.one(b"ssifbSLMsi");
                match self.bytes.next() {
                    250.. if go && !self.common => "nil".to_string(),
                    240.. => if go { "(getv \"/x\")" } else { "getv(\"/x\")" }.to_string(),
                    _ => self.literal(kind),
                }
            }
        }
    }

    /// A text in quotes.
    fn text(&mut self) -> String {
        let own;
        let bytes: &[u8] = match self.bytes.below(64) {
            n if n < TEXTS.len() => TEXTS[n].as_bytes(),
            _ => {
                let n = self.bytes.below(12);
                own = self.bytes.take(n);
                own
            }
        };
        let lossy = String::from_utf8_lossy(bytes);
        let bytes = if self.common { lossy.as_bytes() } else { bytes };
        let mut out = String::from("\"");
        if self.is_go() {
            for b in bytes {
                match b {
                    b'"' | b'\\' => out.push_str(&format!("\\{}", *b as char)),
                    b' '..=b'~' => out.push(*b as char),
                    _ => out.push_str(&format!("\\x{b:02x}")),
                }
            }
        } else {
            for c in lossy.chars() {
                match c {
                    '"' | '\\' => out.extend(['\\', c]),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    _ => out.push(c),
                }
            }
        }
        out.push('"');
        out
    }
}
