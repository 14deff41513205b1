//! The reader on what people write. The expectations of the table are libyaml's, but for numbers (Go's).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]

use super::*;
use crate::backoff::Random;

/// A value as text, with its types visible.
fn show(v: &Value) -> String {
    match v {
        Value::Nil => "null".to_string(),
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Float(f) => format!("{f}f"),
        Value::Str(s) => format!("\"{}\"", s.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")),
        Value::List(l) => format!("[{}]", l.items.iter().map(show).collect::<Vec<_>>().join(",")),
        Value::Map(m) => {
            format!("{{{}}}", m.iter().map(|(k, v)| format!("{k}={}", show(v))).collect::<Vec<_>>().join(","))
        }
        Value::Bytes(b) => format!("{:?}", b.data),
        _ => "?".to_string(),
    }
}

fn read(text: &str) -> String {
    match parse("f", text) {
        Ok(docs) => docs.iter().map(show).collect::<Vec<_>>().join(" "),
        Err(e) => e.into_text(),
    }
}

const GOOD: &[(&str, &str)] = &[
    ("plain: one\n  two\n  three\n\n  four\nnext: x\n", r#"{next="x",plain="one two three\nfour"}"#),
    ("---\na: 1\n...\n---\nb: 2\n---\n- c\n...\n", r#"{a=1} {b=2} ["c"]"#),
    ("? a\n: 1\n? b\n? c d\n: - x\n  - y\n'q': 1\n\"dq\" : 2\n", r#"{a=1,b=null,c d=["x",true],dq=2,q=1}"#),
    ("{\n\t\"a\": [\n\t\t1,\n\t\t2\n\t]\n}\n", "{a=[1,2]}"),
    ("[a: b, c : d, \"e\":f, ? x : y, ? z]\n", r#"[{a="b"},{c="d"},{e="f"},{x=true},{z=null}]"#),
    ("a:\n- 1\n-   b: 2\n    c: 3\n-\n  d: 4\nb:\n  - 5\n", "{a=[1,{b=2,c=3},{d=4}],b=[5]}"),
    ("a:\n  b:\n    c:\n      d: e\n  f: g\nh: i\n", r#"{a={b={c={d="e"}},f="g"},h="i"}"#),
    ("- a\n b\n", r#"["a b"]"#),
    ("- - - a\n    - b\n  - c\n- d\n", r#"[[["a","b"],"c"],"d"]"#),
    ("a:   \n  b\nc:\n\n\n  d\n", r#"{a="b",c="d"}"#),
    ("a: # comment\n  b: c # x\n# y\n  # z\n  d: e\n", r#"{a={b="c",d="e"}}"#),
    ("a: |  # comment\n  x # no comment\nb: >- # c\n  y\n", r#"{a="x # no comment\n",b="y"}"#),
    ("a: |\n  x\n# comment\nb: 1\n", r#"{a="x\n",b=1}"#),
    ("a: |\n\n\n  x\nb: |\n\n\nc: |+\n\n\nd: x\n", r#"{a="\n\nx\n",b="",c="\n\n",d="x"}"#),
    ("a: >\n  x\n  \n  y\n   \n  z\n", r#"{a="x\ny\n \nz\n"}"#),
    ("- |\n a\n- >\n b\n-   |\n  c\n", r#"["a\n","b\n","c\n"]"#),
    ("a: >2\n    x\n    y\n  z\n", r#"{a="  x\n  y\nz\n"}"#),
    ("a: |-\nb: >\nc: |+\n", r#"{a="",b="",c=""}"#),
    ("a: |\n", r#"{a=""}"#),
    ("a: |", r#"{a=""}"#),
    ("a: >", r#"{a=""}"#),
    ("a: ''", r#"{a=""}"#),
    ("''", r#""""#),
    (r#""""#, r#""""#),
    ("~", "null"),
    ("", ""),
    ("# only\n", ""),
    ("\n\n", ""),
    ("---\n", "null"),
    ("---", "null"),
    ("--- # c\n", "null"),
    ("---a\n", r#""---a""#),
    ("----\n", r#""----""#),
    ("-a\n", r#""-a""#),
    ("- \n", "[null]"),
    ("-\n", "[null]"),
    ("-", "[null]"),
    ("?", "{=null}"),
    ("? \n", "{=null}"),
    ("a:", "{a=null}"),
    ("a :", "{a=null}"),
    ("a : b", r#"{a="b"}"#),
    ("a:b", r#""a:b""#),
    ("a :b", r#""a :b""#),
    ("a: :b", r#"{a=":b"}"#),
    ("a: b #c", r#"{a="b"}"#),
    ("a: b#c", r#"{a="b#c"}"#),
    ("a: 'b'#c", r#"{a="b"}"#),
    ("a: [b]#c", r#"{a=["b"]}"#),
    (r#"a: "b" #c"#, r#"{a="b"}"#),
    ("a: --\n", r#"{a="--"}"#),
    ("a: -1\n", "{a=-1}"),
    ("[a: ]", "[{a=null}]"),
    ("{a: }", "{a=null}"),
    ("{a}", "{a=null}"),
    ("{a, b: c}", r#"{a=null,b="c"}"#),
    ("{a: b, }", r#"{a="b"}"#),
    ("[a,]", r#"["a"]"#),
    ("[ ]", "[]"),
    ("{ }", "{}"),
    ("[\n]", "[]"),
    ("{\n}", "{}"),
    ("{a:1}", "{a:1=null}"),
    (r#"{"a":1}"#, "{a=1}"),
    ("{'a':1}", "{a=1}"),
    ("[a b, c\n d]", r#"["a b","c d"]"#),
    ("[a\n\n b]", r#"["a\nb"]"#),
    ("{a b: c\n d}", r#"{a b="c d"}"#),
    ("[a #c\n]", r#"["a"]"#),
    ("[a#c\n]", r#"["a#c"]"#),
    ("[#c\n a]", r#"["a"]"#),
    ("{a: &x 1, b: *x}", "{a=1,b=1}"),
    ("[&x a, *x, *x ]", r#"["a","a","a"]"#),
    ("[!!str 1, !!int 2]", r#"["1",2]"#),
    ("{? a : b}", r#"{a="b"}"#),
    ("{? a}", "{a=null}"),
    ("a: 1\n---\nb: 2\n", "{a=1} {b=2}"),
    ("a: 1\n...\n", "{a=1}"),
    ("a: 1\nb: 2\na: 3\n", "{a=3,b=2}"),
    ("{a: 1, a: 2}", "{a=2}"),
    ("%YAML 1.2\n---\na: 1\n", "{a=1}"),
    ("a\n---\nb", r#""a" "b""#),
    ("|\n a\n---\nb", r#""a\n" "b""#),
    ("  a: 1\n  b: 2\n", "{a=1,b=2}"),
    (" - a\n - b\n", r#"["a","b"]"#),
    ("a: x\ty\n", "{a=\"x\ty\"}"),
    ("a:\tb\n", r#"{a="b"}"#),
    ("a: b\t\n", r#"{a="b"}"#),
    ("a: b\t# c\n", r#"{a="b"}"#),
    ("a: b\n \t \nc: d\n", r#"{a="b",c="d"}"#),
    ("a: b\n \tc\n", r#"{a="b c"}"#),
    ("a: \"b\n\tc\"\n", r#"{a="b c"}"#),
    ("[a,\n\tb]\n", r#"["a","b"]"#),
    ("a: [\n\tb]\n", r#"{a=["b"]}"#),
    ("a: \"\\\n  b\"\n", r#"{a="b"}"#),
    ("a: \"b\\\n\n  c\"\n", r#"{a="b\nc"}"#),
    ("a: \"b  \n\n  c\"\n", r#"{a="b\nc"}"#),
    ("a: \"b\\t\n  c\"\n", "{a=\"b\t c\"}"),
    ("a: \"b \\\n  \\ c\"\n", r#"{a="b  c"}"#),
    ("a: '\n b\n '\n", r#"{a=" b "}"#),
    ("a: \"\n\"\n", r#"{a=" "}"#),
    ("a: '\n\n'\n", r#"{a="\n"}"#),
    ("\"a\\\n\"", r#""a""#),
    ("é: ü\n日本: 語\n", r#"{é="ü",日本="語"}"#),
    ("a: \u{a0}x\n", "{a=\"\u{a0}x\"}"),
    ("\u{feff}a: b\n", r#"{a="b"}"#),
    ("a: b\r\nc: d\r\n", r#"{a="b",c="d"}"#),
    ("a: |\r\n  x\r\n  y\r\nb: 'q\r\n  r'\r\n", r#"{a="x\ny\n",b="q r"}"#),
    ("a: b\rc: d\r", r#"{a="b",c="d"}"#),
    ("- !!map\n  a: b\n- !!seq\n  - c\n- &x\n  d: e\n- *x\n- &y f\n", r#"[{a="b"},["c"],{d="e"},{d="e"},"f"]"#),
    ("&x a: b\n", r#"{a="b"}"#),
    ("!!str a: b\n", r#"{a="b"}"#),
    ("a: &x\nb: *x\n", "{a=null,b=null}"),
    ("- &x\n- *x\n", "[null,null]"),
    ("&x\n- a\n", r#"["a"]"#),
    ("!!map\na: b\n", r#"{a="b"}"#),
    ("--- !!map\na: b\n", r#"{a="b"}"#),
    ("--- &x\na: b\n", r#"{a="b"}"#),
    ("---\n a: b\n", r#"{a="b"}"#),
    ("a: !!str\n  b\n", r#"{a="b"}"#),
    ("a: &x\n  - b\n", r#"{a=["b"]}"#),
    ("a: &x\n- b\n", r#"{a=["b"]}"#),
    ("a: !!seq\n- b\n", r#"{a=["b"]}"#),
    ("a: &x b\n c\n", r#"{a="b c"}"#),
    ("a: b\n  - c\n", r#"{a="b - c"}"#),
    ("a:\n- b\n - c\n", r#"{a=["b - c"]}"#),
    ("a: >\n b\n c\n  d\n e\n", r#"{a="b c\n d\ne\n"}"#),
    ("a: >\n  b\n\n\n  c\n", r#"{a="b\n\nc\n"}"#),
    ("a: >\n\n  b\n", r#"{a="\nb\n"}"#),
    ("a: >\n  b\n\n   c\n\n  d\n", r#"{a="b\n\n c\n\nd\n"}"#),
    ("a: |1\n  b\n", r#"{a=" b\n"}"#),
    ("a: |+1\n  b\n\n", r#"{a=" b\n\n"}"#),
    ("a: |1-\n  b\n\n", r#"{a=" b"}"#),
    ("- |1\n  a\n", r#"[" a\n"]"#),
    ("- - |1\n   a\n", r#"[["a\n"]]"#),
    ("--- |1\n  a\n", r#"" a\n""#),
    ("a: |\n x\ny: z\n", r#"{a="x\n",y="z"}"#),
    ("a: |\n b\n  # c\n # d\n# e\n", r#"{a="b\n # c\n# d\n"}"#),
    ("- a: 1\n  b: 2\n- a: 3\n  b: 4\n", "[{a=1,b=2},{a=3,b=4}]"),
    ("- a:\n  - b\n  c: d\n", r#"[{a=["b"],c="d"}]"#),
    ("- a:\n    - b\n  c: d\n", r#"[{a=["b"],c="d"}]"#),
    ("-   a\n-   b\n", r#"["a","b"]"#),
    ("- - - - a\n", r#"[[[["a"]]]]"#),
    ("a:  b\nc:   d\n", r#"{a="b",c="d"}"#),
    ("a: b   \n", r#"{a="b"}"#),
    ("a: [b,c,d]\n", r#"{a=["b","c","d"]}"#),
    ("a: [b , c]\n", r#"{a=["b","c"]}"#),
    ("a: {b:c}\n", "{a={b:c=null}}"),
    ("a: b, c\n", r#"{a="b, c"}"#),
    ("a: b]\n", r#"{a="b]"}"#),
    ("a: b}c\n", r#"{a="b}c"}"#),
    ("a: x [y]\n", r#"{a="x [y]"}"#),
    ("a: \"b: c\"\n", r#"{a="b: c"}"#),
    ("a: 'b: c'\n", r#"{a="b: c"}"#),
    ("a: ! b\n", r#"{a="b"}"#),
    ("a: !\n", r#"{a=""}"#),
    ("a: '12'\n", r#"{a="12"}"#),
    ("<<: {a: 1}\nb: 2\n", "{a=1,b=2}"),
    ("<<: [{a: 1}, {a: 2, c: 3}]\n", "{a=1,c=3}"),
    ("'<<': 1\n", "{<<=1}"),
    ("[0, 1, -1, +1, 0x1F, 0o17, 0777, 08, 0b101, 1_000, 1__0, 0x_f]", "[0,1,-1,1,31,15,511,8f,5,1000,10,15]"),
    ("[1.5, -1.5e3, .5, 5., 1e3, 1E-3, +.5, 1_0.5, 0.1e+1]", "[1.5f,-1500f,0.5f,5f,1000f,0.001f,0.5f,10.5f,1f]"),
    ("[null, Null, ~, NULL, nULL, '', ]", r#"[null,null,null,null,"nULL",""]"#),
    ("a: !!str 12\nb: !!int \"12\"\nc: !!float 3\nd: !!binary aGVsbG8=\n", r#"{a="12",b=12,c=3f,d="hello"}"#),
    ("a: !!bool 'true'\nb: !!null ''\nc: !!map {a: b}\nd: !!seq [x]\n", r#"{a=true,b=null,c={a="b"},d=["x"]}"#),
    ("a: ! 'x'\nb: !<tag:yaml.org,2002:str> 5\nc: !!str\n", r#"{a="x",b="5",c=""}"#),
    ("? |\n  a\n: b\n", "{a\n=\"b\"}"),
    (r#"{"a":[1,{"b":"c\n"}],"d":"e\/"}"#, r#"{a=[1,{b="c\n"}],d="e/"}"#),
];

const K8S: &str = r#"apiVersion: v1
kind: ConfigMap
metadata:
  name: app
  namespace: default
  labels:
    app.kubernetes.io/name: web
  creationTimestamp: "2024-01-02T03:04:05Z"
data:
  nginx.conf: |
    server {
      listen 80;
      location / { return 200 "ok"; }
    }

  empty: ""
  single: 'it''s'
  folded: >-
    one
    two

    three
      deep
    four
"#;

const COMPOSE: &str = r#"version: '3'
services:
  web:
    image: "nginx:1.25"
    ports: ["80:80", 443:443]
    command: ["nginx", "-g", "daemon off;"]
    environment:
      - A=1
      - B=x y
"#;

#[test]
fn reads_what_people_write() {
    for (text, want) in GOOD {
        assert_eq!(read(text), *want, "{text:?}");
    }
}

#[test]
fn whole_files() {
    let want = [
        r#"{apiVersion="v1",data={empty="",folded="one two\nthree\n  deep\nfour","#,
        r#"nginx.conf="server {\n  listen 80;\n  location / { return 200 \"ok\"; }\n}\n",single="it's"},"#,
        r#"kind="ConfigMap",metadata={creationTimestamp="2024-01-02T03:04:05Z","#,
        r#"labels={app.kubernetes.io/name="web"},name="app",namespace="default"}}"#,
    ];
    assert_eq!(read(K8S), want.concat());
    let want = [
        r#"{services={web={command=["nginx","-g","daemon off;"],environment=["A=1","B=x y"],"#,
        r#"image="nginx:1.25",ports=["80:80","443:443"]}},version="3"}"#,
    ];
    assert_eq!(read(COMPOSE), want.concat());
    assert_eq!(read(&COMPOSE.replace('\n', "\r\n")), want.concat());
}

#[test]
fn errors_say_where_and_what() {
    let cases = [
        ("a: b\n c: d\n", "f:2:3: a key must be on one line"),
        ("a: b: c\n", "f:1:4: a map cannot begin here"),
        ("a:\n\tb: c\n", "f:2:1: a tab cannot indent"),
        ("- a\nb: c\n", "f:2:1: wrong indentation"),
        ("a:\n  - b\n c: d\n", "f:3:2: wrong indentation"),
        ("x:\n  [a, b", "f:2:3: this `[` or `{` is never closed"),
        ("a: 'x\n", "f:1:4: this text has no closing quote"),
        ("'a\n---\nb'", "f:1:1: this text has no closing quote in its document"),
        ("a: \"é\\q\"", "f:1:6: expected an escape"),
        ("a: \"\\ud83d\"", "f:1:5: expected an escape"),
        ("a: @x\n", "f:1:4: plain text cannot begin like this"),
        ("a: *no\n", "f:1:4: expected the name of an `&anchor` above"),
        ("a: &\n", "f:1:4: expected one `!tag` and one `&anchor`"),
        ("a: |x\n b\n", "f:1:5: expected the text on the lines below"),
        ("a: |-+\n b\n", "f:1:4: expected at most one digit"),
        ("a: [b]]\n", "f:1:7: expected the end of the line"),
        ("a: - b\n", "f:1:4: a list or map cannot begin here"),
        ("? [a]\n: b\n", "f:1:3: a key that is a list or a map is not supported"),
        ("[a]: b\n", "f:1:4: a key must be plain or quoted text"),
        ("{[a]: b}\n", "f:1:2: a key that is a list, a map or an alias"),
        ("{,}", "f:1:2: expected a value before `,`"),
        ("{a: 'b'c}", "f:1:8: expected `,` or the closing"),
        ("[1\n<<: ]", "f:2:3: expected `,` or the closing"),
        ("a: !foo b\n", "f:1:4: this tag is not supported"),
        ("a: !!int b\n", "f:1:4: this tag is not supported, or does not fit"),
        ("a: !!map [b]\n", "f:1:4: this tag is not supported, or does not fit"),
        ("<<: x\n", "f:1:1: expected `<<: *anchor`"),
        ("% a\nb: c\n", "f:2:1: expected `---`"),
        ("a: \u{1}", "f:1:4: a control character"),
    ];
    for (text, want) in cases {
        let got = parse("f", text).err().unwrap().into_text();
        assert!(got.starts_with(want), "{text:?} gave {got}");
    }
}

#[test]
fn depth_and_copies_are_bounded() {
    let n = 100_000;
    for text in ["[".repeat(n), "{a: ".repeat(n), "- ".repeat(n), "[a: ".repeat(n), "? ".repeat(n)] {
        assert!(parse("f", &text).is_err(), "{}", &text[..10]);
    }
    let lines: String = (0..200).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    assert!(read(&lines).contains("more than 100 levels"));
    assert!(parse("f", &format!("{}{}", "[".repeat(90), "]".repeat(90))).is_ok());
    let mut bombs = String::from("a0: &a0 [x]\n");
    let mut deep = String::from("b0: &b0 [x]\n");
    for i in 1..200 {
        let old = i - 1;
        bombs.push_str(&format!("a{i}: &a{i} [*a{old}, *a{old}, *a{old}]\n"));
        deep.push_str(&format!("b{i}: &b{i} [*b{old}]\n"));
    }
    assert!(read(&bombs).contains("aliases copy more than"));
    assert!(read(&deep).contains("deeper than 100 levels"));
}

/// Whatever is done to a document, it is read or refused, and an error names a place.
#[test]
fn any_mutation_is_answered() {
    let parts = [
        "\n", "  ", "- ", "? ", ": ", ":", " #", "[", "]", "{", "}", ",", "\"", "'", "|\n", ">-\n", "&a ", "*a",
        "!!str ", "---\n", "...\n", "\t", "\\", "\r", "<<: ", "é", "%",
    ];
    let mut random = Random::new(7);
    let mut pick = |n: usize| usize::try_from(random.below(u64::try_from(n).unwrap())).unwrap();
    let mut read = 0;
    for _ in 0..20_000 {
        let source = match pick(8) {
            0 => K8S,
            1 => COMPOSE,
            _ => GOOD[pick(GOOD.len())].0,
        };
        let mut chars: Vec<char> = source.chars().collect();
        for _ in 0..1 + pick(3) {
            let at = pick(chars.len() + 1);
            match pick(3) {
                0 => drop(chars.splice(at..at, parts[pick(parts.len())].chars())),
                1 => drop(chars.drain(at..(at + 1 + pick(4)).min(chars.len()))),
                _ => chars.truncate(at),
            }
        }
        let text: String = chars.into_iter().collect();
        match parse("f", &text) {
            Ok(_) => read += 1,
            Err(e) => assert!(e.text.starts_with("f:"), "{text:?} gave {e}"),
        }
    }
    assert!((4_000..18_000).contains(&read), "{read} were read");
}
