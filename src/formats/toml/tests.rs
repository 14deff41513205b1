//! The reader on what configs hold; the conformance suite is in tests/toml_conformance.rs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]

use super::*;

/// A value as text, with its types visible.
fn show(v: &Value) -> String {
    match v {
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Float(f) => format!("{f}f"),
        Value::Str(s) => format!("{s:?}"),
        Value::List(l) => format!("[{}]", l.items.iter().map(show).collect::<Vec<_>>().join(",")),
        Value::Map(m) => {
            format!("{{{}}}", m.iter().map(|(k, v)| format!("{k}={}", show(v))).collect::<Vec<_>>().join(","))
        }
        _ => "?".to_string(),
    }
}

#[test]
fn reads_what_configs_hold() {
    let cases = [
        ("", "{}"),
        ("\u{feff}a = 1", "{a=1}"),
        ("a = 1\r\n# c\r\nb = 'x\\n'\r\n", r#"{a=1,b="x\\n"}"#),
        ("a.b . \"c d\" = +1_000", "{a={b={c d=1000}}}"),
        ("a = [ 1, # one\n 2,\n]", "{a=[1,2]}"),
        ("a = {b = 1, c.d = [[]]}", "{a={b=1,c={d=[[]]}}}"),
        ("[[t]]\na=1\n[t.u]\nb=2\n[[t]]\n", "{t=[{a=1,u={b=2}},{}]}"),
        ("a = 0x_f", "!"),
        ("a = 0xdead_beef\nb=0o17\nc=0b11", "{a=3735928559,b=15,c=3}"),
        ("a = -9223372036854775808", "{a=-9223372036854775808}"),
        ("a = 9223372036854775808", "!"),
        ("a = 0x8000000000000000", "!"),
        ("a = -1.5e+1\nb=6.0E-1\nc = -inf", "{a=-15f,b=0.6f,c=-inff}"),
        ("a = 1.\n", "!"),
        ("a = 2024-02-29 07:32:00.5+01:30", r#"{a="2024-02-29 07:32:00.5+01:30"}"#),
        ("a = 2024-02-29 # day", r#"{a="2024-02-29"}"#),
        ("a = 2023-02-29", "!"),
        ("a = 24:00:00", "!"),
        (r#"a = "\t\u00e9\U0001F600\\""#, r#"{a="\té😀\\"}"#),
        (r#"a = "\ud800""#, "!"),
        ("a = \"\"\"\nx \\\n\n   y\"\"\"\"\"", r#"{a="x y\"\""}"#),
        ("a = \"\"\"\"\"\"\nb = ''''''", r#"{a="",b=""}"#),
        ("a = '''it's '' \\'''", r#"{a="it's '' \\"}"#),
        ("a = 'x\ny'", "!"),
        ("a = 1 b = 2", "!"),
        ("a = 1\rb = 2", "!"),
        ("a = 'x\u{1}'", "!"),
        ("# \u{7f}", "!"),
        ("a.b = 1\na.c = 2\n[a.d]\n", "{a={b=1,c=2,d={}}}"),
        ("a.b = 1\n[a]\n", "!"),
        ("[a.b]\n[a]\nb.c = 1", "!"),
        ("a = {}\n[a.b]", "!"),
        ("a = {}\na.b = 1", "!"),
        ("a = []\n[[a]]", "!"),
        ("[a]\n[[a]]", "!"),
        ("[a.b]\n[[a]]", "!"),
        ("[a]\n[a]", "!"),
        ("a = {b = 1,}", "!"),
    ];
    for (text, want) in cases {
        let got = match parse("f", text) {
            Ok(doc) => show(&doc.root),
            Err(_) => "!".to_string(),
        };
        assert_eq!(got, want, "{text:?}");
    }
}

#[test]
fn errors_say_where_and_what() {
    let cases = [
        ("a = 1\nb = nope\n", "f.toml:2:5: expected a value"),
        ("a 1", "f.toml:1:3: expected `=`"),
        ("[a\n", "f.toml:1:3: expected `.` or `]`"),
        ("[[a]\n", "f.toml:1:5: expected `.` or `]]`"),
        ("a = 'x", "f.toml:1:5: this text has no closing quote"),
        ("a = [1 2]", "f.toml:1:8: expected `,` or `]`"),
        ("a = 1\nb = 2\na = 3", "f.toml:3:1: `a` is already defined on line 1"),
        ("\n[a]\n\n[a]", "f.toml:4:2: `a` is already defined on line 2"),
        ("é = 1", "f.toml:1:1: expected a key"),
        ("a = \"é\\q\"", "f.toml:1:7: expected an escape"),
        ("a = 99999999999999999999", "f.toml:1:5: expected an integer from"),
    ];
    for (text, want) in cases {
        let got = parse("f.toml", text).err().unwrap().into_text();
        assert!(got.starts_with(want), "{text:?} gave {got}");
    }
}

#[test]
fn lines_of_paths() {
    let text =
        "a = 1\n\n[[t]]\ndest = 'x'\n[[t]]\nl = [\n 1,\n 2 ]\n[x.\"y.z\"]\nk.m = {n = 1}\nz = '''\n\n'''\nlast = 0\n";
    let doc = parse("f", text).unwrap();
    let cases = [
        ("", Some(1)),
        ("a", Some(1)),
        ("t", Some(3)),
        ("t.0.dest", Some(4)),
        ("t.1", Some(5)),
        ("t.1.l", Some(6)),
        ("t.1.l.1", Some(8)),
        ("x.y.z", Some(9)),
        ("x.y.z.k.m.n", Some(10)),
        ("x.y.z.last", Some(14)),
        ("t.2", None),
        ("a.b", None),
        ("x.y", None),
    ];
    for (path, want) in cases {
        assert_eq!(doc.line(path), want, "{path}");
    }
}

#[test]
fn depth_is_bounded() {
    let n = 100_000;
    for text in [
        format!("a = {}", "[".repeat(n)),
        format!("a = {}", "{a=".repeat(n)),
        format!("a{} = 1", ".a".repeat(n)),
        format!("[a{}]", ".a".repeat(n)),
        format!("[a{}]\nb = {}1", ".a".repeat(60), "[".repeat(60)),
    ] {
        let e = parse("f", &text).err().unwrap().into_text();
        assert!(e.contains("100 levels"), "{e}");
    }
    assert!(parse("f", &format!("a = {}{}", "[".repeat(90), "]".repeat(90))).is_ok());
}

#[test]
fn any_cut_of_a_document_is_answered() {
    let text = "[[a.'b']]\nc = {d = [1, 0x2, 1e3, 07:00:00], e = \"\\u00e9\\n\"}\nf = '''é\\\n'''\n";
    for (from, _) in text.char_indices() {
        for (to, _) in text.char_indices() {
            if from <= to {
                let _ = parse("f", &text[from..to]);
            }
        }
    }
    assert!(parse("f", text).is_ok());
}
