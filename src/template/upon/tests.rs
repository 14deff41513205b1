use std::sync::Arc;

use super::*;
use crate::error::Kind;
use crate::store::{Snapshot, View};
use crate::template::funcs;

fn store() -> Snapshot {
    let all: &[(&str, &[u8])] = &[
        ("/bin", b"\xff\x00\xfe"),
        ("/empty", b""),
        (
            "/json",
            b"{\"name\": \"x\", \"port\": 8080, \"ratio\": 0.5, \"on\": true, \"no\": null, \"list\": [1, \"a\"]}",
        ),
        ("/name", "café".as_bytes()),
        ("/svc/port", b"8080"),
        ("/test/a", b"10.0.0.1"),
        ("/test/b", b"10.0.0.2"),
    ];
    Snapshot::new(all.iter().map(|(k, v)| (Arc::from(*k), Arc::from(*v))).collect())
}

fn run(text: &str, max_output: usize) -> Result<String> {
    let snapshot = store();
    let env = |name: &str| (name == "HOME").then(|| "/root".to_string());
    let ctx = Context { store: View::new(&snapshot), env: &env, max_output };
    let program = Program::compile("t", text)?;
    program.render(&ctx).map(|bytes| String::from_utf8(bytes).unwrap())
}

fn shared<T: Send + Sync>() {}

#[test]
fn a_program_goes_to_any_thread() {
    shared::<Program>();
}

#[test]
fn renders() {
    let cases = [
        // calls and filters, with and without what is optional
        ("{{ getv(\"/svc/port\") }}", "8080"),
        ("{{getv(\"/svc/port\",\"80\")}}", "8080"),
        ("{{ getv(\"/nope\", \"80\") }}", "80"),
        ("{{ getv (\n \"/svc/port\"\n) }}", "8080"),
        ("{{ \"/svc/port\" | getv }}", "8080"),
        ("{{ \"/nope\" | getv: \"80\" }}", "80"),
        ("{{ \"/nope\" | getv : \"abc\" | toUpper }}", "ABC"),
        ("{{ getv(\"/nope\", \"a\") | toUpper }}", "A"),
        ("{{ toUpper(getv(\"/nope\", toUpper((\"b\" | toUpper)))) }}", "B"),
        ("{{ getv(\"/test/a\",) }}", "10.0.0.1"),
        // what was made for Go's pipelines takes the piped value last
        ("{{ \"\" | default: \"d\" }}{{ \"v\" | default: \"d\" }}{{ default(\"d\", \"\") }}", "dvd"),
        ("{{ \"ab\" | repeat: 2 }}{{ \"a\" | indent: 2 }}{{ true | ternary: \"y\", \"n\" }}", "abab  ay"),
        ("{{ \"a-b\" | replace: \"-\", \"+\", -1 }}", "a+b"),
        ("{% for s in getvs(\"/test/*\") %}server {{ s }};{% endfor %}", "server 10.0.0.1;server 10.0.0.2;"),
        ("{% if exists(\"/svc/port\") %}y{% else %}n{% endif %}", "y"),
        ("{% if not exists(\"/svc/port\") %}y{% else if exists(\"/x\") %}z{% else %}n{% endif %}", "n"),
        ("{% if exists(\"/x\") %}y{% else if exists(\"/empty\") %}z{% else %}n{% endif %}", "z"),
        ("{% with getv(\"/svc/port\") | toUpper as p %}{{ p }}{{ p | toUpper }}{% endwith %}", "80808080"),
        ("{% with \"/svc/port\" | getv: \"1\" as p %}{{ p }}{% endwith %}", "8080"),
        ("{% for s in ([\"/svc/port\", \"x\"]) %}{{ getv(s, \"-\") }}{{ loop.index }} {% endfor %}", "80800 -1 "),
        ("{% for k, v in {\"a\": {\"b\": getv(\"/svc/port\")}} %}{{ k }}={{ v.b }}{% endfor %}", "a=8080"),
        ("{% for a in [-1, 2] %}{{ a }}{% for b in [ 3 ] %}{{ b }}{% endfor %}{% endfor %}", "-1323"),
        // pairs
        (
            "{% for p in gets(\"/test/*\") %}{{ p.key }}={{ p.Value }} {% endfor %}",
            "/test/a=10.0.0.1 /test/b=10.0.0.2 ",
        ),
        // what values look like
        ("{{ 1 }} {{ -2 }} {{ 0.5 }} {{ true }} {{ \"a\\tb\" }}", "1 -2 0.5 true a\tb"),
        (
            "{% with json(getv(\"/json\")) as j %}{{ j.port }} {{ j.ratio }} {{ j.on }}[{{ j.no }}]{{ j.list.1 }}{% endwith %}",
            "8080 0.5 true[]a",
        ),
        ("{% with json(getv(\"/json\")) as j %}{{ j?.nope }}{% if ?.q %}1{% endif %}{% endwith %}", ""),
        // a field that a loop's variable may not have
        ("{% for x in [{\"a\": 1}, {}] %}{{ x?.a }}{% if x?.b.c %}{% else %};{% endif %}{% endfor %}", "1;;"),
        ("{% for k, v in {\"a\": {}} %}{{ k }}{{ v?.b }}{% endfor %}", "a"),
        // values that are no text
        ("{{ base64Encode(getv(\"/bin\")) }}", "/wD+"),
        ("{{ getv(\"/bin\") | base64Encode }}", "/wD+"),
        ("{% with getv(\"/bin\") as b %}{{ b | base64Encode }}{{ base64Encode(b) }}{% endwith %}", "/wD+/wD+"),
        ("{% if eq(len(getv(\"/bin\")), 3) %}y{% endif %}{{ len(getvs(\"/*\")) }}", "y4"),
        // what Go has operators or methods for
        ("{% if and(eq(getv(\"/svc/port\"), \"8080\", \"x\"), not(exists(\"/x\"))) %}y{% endif %}", "y"),
        (
            "{% if not(exists(\"/x\")) %}y{% endif %}{% if (not(exists(\"/x\"))) %}y{% endif %}{{ exists(\"/x\") | not }}",
            "yytrue",
        ),
        (
            "{{ or(\"\", 0, \"z\") }}{{ index({\"a\": [1, 2]}, \"a\", 1) }}{{ printf(\"%05d|%s\", 42, \"x\") }}",
            "z200042|x",
        ),
        (
            "{% with json(getv(\"/json\")) as j %}{{ eq(j.port, 8080) }}{{ lt(j.ratio, 1) }}{{ gt(2, 1) }}{% endwith %}",
            "truetruetrue",
        ),
        ("{% for n in seq(1, 3) %}{{ n }}{% if not loop.last %},{% endif %}{% endfor %}", "1,2,3"),
        ("{{ join(split(\"a,b\", \",\"), \"+\") }}{{ join([\"c\", \"d\"], \"+\") }}{{ join([], \"+\") }}", "a+bc+d"),
        ("{% for p in gets(\"/test/*\") | sortKVByLength %}{{ p.key }}{% endfor %}", "/test/a/test/b"),
        ("{% for s in getvs(\"/test/*\") | reverse %}{{ s }} {% endfor %}", "10.0.0.2 10.0.0.1 "),
        (
            "{% with datetime() as t %}{{ eq((t | Format: \"2006\"), printf(\"%d\", Year(t))) }}{{ eq(print(t), String(t)) }}{% endwith %}",
            "truetrue",
        ),
        (
            "{% if datetime() | IsZero %}{% else %}y{% endif %}{% if eq(print(Month(datetime())), \"x\") %}{% else %}y{% endif %}",
            "yy",
        ),
        ("{{ toJson({\"a\": [1, true, \"x\"]}) }}{{ getenv(\"HOME\") }}", "{\"a\":[1,true,\"x\"]}/root"),
        // braces in plain text, which upon alone takes for tags
        ("{\"a\":{\"b\":{{ 1 }}}}", "{\"a\":{\"b\":1}}"),
        ("a }} b %} c #} d }", "a }} b %} c #} d }"),
        ("{%if true%}}{%endif%}}}", "}}}"),
        ("x {{- \"a\" -}} }} {{- \"b\" }}", "xa}}b"),
        ("{{ \"}}\" }}{{ \"%} {{\" }}", "}}%} {{"),
        // comments keep the white space round them unless they say otherwise
        ("a\n{# {{ nope( \n }} #}\n  b", "a\n\n  b"),
        ("a {#- c -#} b", "ab"),
        ("a {#- c #} b", "a b"),
        ("{##}{#-#} {{1 -}} \n 2{{-3}}", "123"),
        // texts
        ("{{ \"a\\\\\" }}{{ replace(\"a\\\\b\", \"\\\\\", \"/\", -1) }}{{ \"\\\"\\\\\\\"\" }}", "a\\a/b\"\\\""),
        ("{{ \"é{#\" }}é{{ getv(\"/name\") }}", "é{#écafé"),
        ("", ""),
        ("no tag {", "no tag {"),
    ];
    for (text, want) in cases {
        let got = run(text, 1 << 20).unwrap_or_else(|e| format!("error: {e}"));
        assert_eq!(got, want, "{text}");
    }
}

#[test]
fn errors_show_the_place_as_written() {
    let cases = [
        // found while compiling
        (
            "a\n{{ gettv(\"/k\") }}",
            "t:2:4: there is no function gettv; did you mean getv?\n 2 | {{ gettv(\"/k\") }}\n   |    ^",
        ),
        ("{{ 1 | zzzzzzzz }}", "t:1:8: there is no function zzzzzzzz\n 1 | {{ 1 | zzzzzzzz }}\n   |        ^"),
        ("{{ toUpper(\"a\", \"b\") }}", "t:1:4: toUpper: takes 1 argument, not 2"),
        ("{{ toUpper() }}", "t:1:4: toUpper: takes 1 argument, not 0"),
        ("{{ \"a\" | toUpper: \"b\" }}", "t:1:10: toUpper: takes 1 argument, not 2"),
        ("{{ getv() }}", "t:1:4: getv: takes 1 "),
        ("{{ getv \"/k\" }}", "t:1:4: a function is called with parentheses: getv(...)"),
        ("{{ toUpper(\"a\" | toUpper) }}", "t:1:16: put parentheses round a value with a filter: (value | filter)"),
        ("é é é\n{{ getv(\"/k\" }}", "t:2:8: this bracket is not closed before the end of the tag"),
        ("{{ getv(\"/k\")) }}", "t:1:14: no bracket is open that this one closes"),
        ("{{ [1) }}", "t:1:6: no bracket is open that this one closes"),
        ("a {{ 1", "t:1:3: this tag has no end"),
        ("a {{ 1 {{ 2 }}", "t:1:3: this tag is not closed before the next one"),
        ("a {# 1", "t:1:3: this comment has no end: #} is missing"),
        ("a {{ \"1 }}\n\"", "t:1:6: this text has no end on its line: \" is missing"),
        ("a {{ \"\\d\" }}", "t:1:7: a backslash in a text stands before n, r, t, \" or another backslash"),
        ("{{ 'a' }}", "t:1:4: this character cannot stand here"),
        ("{% include \"x\" %}", "t:1:4: include is not available: a template is one file"),
        ("{{ __c.0 }}", "t:1:4: names that begin with two underscores are taken"),
        // found by upon
        ("é}} {# #}\n{% if true %}\n", "t:2:1: unclosed `if` block\n 2 | {% if true %}\n   | ^"),
        ("ééééé\n{{ toUpper(\"ééé\") }} {{ 1 2 }}\n", "t:2:27: expected end expression, found number"),
        ("}} {{ toUpper(\"a\") getv(\"/k\") }}", "t:1:20: expected end expression, found identifier"),
        ("{% endif %}", "t:1:1: unexpected `endif` block"),
        // found while rendering
        ("{{ nope }}", "t:1:4: there is no variable nope\n 1 | {{ nope }}\n   |    ^"),
        ("{% for x in [1] %}{{ y?.a }}{% endfor %}", "t:1:22: there is no variable y"),
        (
            "éé{{ \"é\" }} {{ getv }}éé",
            "t:1:16: there is no variable getv; the function of this name is called with parentheses: getv()",
        ),
        ("{{ getv(1) }}", "t:1:4: getv: argument 1 must be text, not a number"),
        ("{{ [1] | toUpper }}", "t:1:10: toUpper: argument 1 must be text, not a list"),
        ("{{ join([1], \",\") }}", "t:1:4: join: argument 1 must be a list of texts, not a list"),
        ("{{ getvs(\"/test/*\") }}", "t:1:4: a list cannot be printed: loop over it, or use join or toJson"),
        ("{{ {} }}", "t:1:4: a map cannot be printed: loop over it, or name one of its fields"),
        ("{{ 1 }}\n {{ getv(\"/bin\") }}", "t:2:5: the value of /bin is not UTF-8 text: use base64Encode"),
        ("{{ getv(\"/bin\") | toUpper }}", "t:1:19: toUpper: the value of /bin is not UTF-8 text: use base64Encode"),
        ("{% for a in 1 %}{% endfor %}", "t:1:13: expected iterable, but expression evaluated to integer"),
    ];
    for (text, want) in cases {
        let e = match run(text, 1 << 20) {
            Ok(got) => panic!("{text}: rendered {got}"),
            Err(e) => e,
        };
        assert!(e.text.starts_with(want), "{text}\n  got: {}\n want: {want}", e.text);
        assert!(e.kind == Kind::Config, "{text}");
    }
}

/// What calls no function is upon's own language: the crate gives the same, and the same errors at the same places.
#[test]
fn the_language_is_upons() {
    // Lists of numbers in parentheses: upon takes a number behind `in` for that of a member.
    let json = "{% with {\"a\": 1, \"b\": [2, \"x\", {\"c\": 0.5}], \"e\": {}, \"f\": []} as m %}";
    let cases = [
        "{{ 1 }} {{ -2 }} {{+3}} {{ - 4 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_000 }} {{ 0.5 }} {{ 1.5e3 }} {{ 2E-1 }}",
        "{{ 9223372036854775807 }} {{ -9223372036854775808 }} {{ 9223372036854775808 }} {{ 1e400 }} {{ 0x }}",
        "{{ \"a\\tb\\n\\r\\\"\" }}{{ true }}{{ false }}{{ ((1)) }}{{ (\"x\") }}",
        " a {{- 1 -}} b {{ 2 -}} \t\n c {{- 3 }} d \u{a0}{{- 4 }}",
        "{% if 0 %}a{% else if \"\" %}b{% else if not 1 %}c{% else if [] %}d{% else if {} %}e{% else %}f{% endif %}",
        "{% if not m %}x{% endif %}{% if 0.0 %}y{% endif %}{% if -1 %}z{% endif %}",
        "{% for x in ([1, \"b\", [3]]) %}{{ loop.index }}{{ loop.first }}{{ loop.last }};{% endfor %}",
        "{% for k, v in {\"b\": 1, \"a\": 2, \"b\": 3} %}{{ k }}={{ v }}{% if not loop.last %}, {% endif %}{% endfor %}",
        "{% for x in ([[1, 2], [3]]) %}{% for y in x -%} {{ y }}{{ loop.index }} {%- endfor %}{{ loop.index }}{% endfor %}",
        "{% for x in ([1]) %}{% with 2 as x %}{{ x }}{% endwith %}{{ x }}{% for x in ([3]) %}{{ x }}{% endfor %}{{ x }}{% endfor %}",
        "{{ m.a }}{{ m.b.0 }}{{ m.b.2.c }}{{ .m.b.1 }}{{ m . a }}{{ m?.z }}{{ m?.z.y.0 }}{{ m.b?.9 }}{{ ?.m.a }}",
        "{{ m.z }}",
        "{{ m.b.3 }}",
        "{{ m.b.x }}",
        "{{ m.0 }}",
        "{{ m.a.0 }}",
        "{{ m.a.b }}",
        "{{ m?.a.b }}",
        "{{ m.e.q.r }}",
        "{% for x in m %}{% endfor %}",
        "{% for x, y in m.b %}{% endfor %}",
        "{% for x in m.a %}{% endfor %}",
        "{% for x in \"text\" %}{% endfor %}",
        "{% for k, v in m %}{{ k.a }}{% endfor %}",
        "{% for x in ([1]) %}{{ loop.nope }}{% endfor %}",
        "{% for x in ([1]) %}{{ loop?.nope }}{% endfor %}",
        "{{ 1 2 }}",
        "{{ 1, }}",
        "{{ }}",
        "{{ if }}",
        "{{ [1 2] }}",
        "{{ {1: 2} }}",
        "{{ {\"a\" 2} }}",
        "{{ m. }}",
        "{{ m.if }}",
        "{{ . }}",
        "{{ + }}",
        "{{ m.99999999999999999999 }}",
        "{{ 0b12 }}",
        "{{ 0xFFFFFFFFFFFFFFFFF }}",
        "{{ 1.5.5 }}",
        "{{ 12ab }}",
        "{% %}",
        "{% nope %}",
        "{% in %}",
        "{% if %}{% endif %}",
        "{% if 1 2 %}{% endif %}",
        "{% for in ([1]) %}{% endfor %}",
        "{% for x [1] %}{% endfor %}",
        "{% for x as [1] %}{% endfor %}",
        "{% for x, in ([1]) %}{% endfor %}",
        "{% with 1 %}{% endwith %}",
        "{% with 1 as 2 %}{% endwith %}",
        "{% else %}",
        "{% else if 1 %}",
        "{% endfor %}",
        "{% if 1 %}{% endfor %}",
        "{% if 1 %}{% else %}{% else %}{% endif %}",
        "{% if 1 %}{% else %}{% else if 1 %}{% endif %}",
        "{% for x in ([1]) %}{% else %}{% endfor %}",
        "{% if 1 %}{% for x in ([1]) %}",
        "{% if 1 %}{% else %}{% with 1 as x %}{% endwith %}",
    ];
    let mut engine = ::upon::Engine::new();
    engine.set_default_formatter(&|f, v| match v {
        ::upon::Value::List(_) | ::upon::Value::Map(_) => Err("no".into()),
        v => ::upon::fmt::default(f, v),
    });
    let mut wrong = Vec::new();
    for text in cases {
        // The library tells a place only in the long form of its message, `--> NAME:LINE:COLUMN`.
        let text = &[json, text, "{% endwith %}"].concat();
        let theirs =
            engine.compile(text.as_str()).and_then(|t| t.render_from(&engine, &::upon::Value::None).to_string());
        let theirs = theirs.map_err(|e| {
            let (short, long) = (e.to_string(), format!("{e:#}"));
            let place = long.split_once("--> <anonymous>:").and_then(|(_, rest)| rest.split_once('\n')).unwrap().0;
            format!("t:{place}: {}", short.split_once(": ").unwrap().1)
        });
        let ours = run(text, 1 << 20).map_err(|e| e.into_text().lines().next().unwrap().to_string());
        if ours != theirs {
            wrong.push(format!("{text}\n   ours: {ours:?}\n theirs: {theirs:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Names are names to upon too, and every function can be called in both forms.
#[test]
fn every_function_is_within_reach() {
    for func in funcs::all().iter().filter(|f| f.name != "include") {
        let least = funcs::arity(func).0;
        let call = format!("{{{{ {}({}) }}}}", func.name, vec!["1"; least].join(", "));
        Program::compile("t", &call).unwrap();
        if least > 0 {
            let colon = if least > 1 { ": " } else { "" };
            let filter = format!("{{{{ 1 | {}{colon}{} }}}}", func.name, vec!["1"; least - 1].join(", "));
            Program::compile("t", &filter).unwrap();
        }
    }
}

#[test]
fn a_missing_key_keeps_its_kind() {
    for text in
        ["x {{ getv(\"/nope\") }}", "x {{ toUpper((\"/nope\" | getv)) }}", "x {% if \"/nope\" | getv %}{% endif %}"]
    {
        let e = run(text, 1 << 20).err().unwrap();
        assert!(e.kind == Kind::MissingKey, "{e}");
        assert!(e.text.starts_with("t:1:") && e.text.contains("/nope") && e.text.contains("\n 1 | x {"), "{e}");
    }
}

#[test]
fn the_output_is_bounded() {
    assert_eq!(run("{{ \"12345\" }}67", 7).unwrap(), "1234567");
    let e = run("{{ \"12345\" }}67", 6).err().unwrap();
    assert_eq!(e.text, "t: the output is larger than 6 bytes");
}

#[test]
fn nesting_is_bounded() {
    let deep = |open: &str, n: usize, middle: &str, close: &str| {
        run(&[open.repeat(n).as_str(), middle, close.repeat(n).as_str()].concat(), 1 << 20)
    };
    let within = |n: usize| {
        let inner = ["(".repeat(n), "1".to_string(), ")".repeat(n)].concat();
        run(&format!("{{{{ {inner} }}}}"), 1 << 20)
    };
    assert_eq!(within(99).unwrap(), "1");
    assert!(within(100_000).err().unwrap().text.contains("more than 100 levels of brackets"));
    assert_eq!(deep("{% if true %}", 100, "1", "{% endif %}").unwrap(), "1");
    assert!(deep("{% if true %}", 101, "1", "{% endif %}").is_err());
    assert!(deep("{% else if true %}", 100_000, "1", "").is_err());
    let chain = ["{% if false %}", &"{% else if false %}".repeat(101), "{% endif %}"].concat();
    assert!(run(&chain, 9).err().unwrap().text.contains("more than 100 levels of blocks"));
    let filters = ["{{ \"a\"", &" | toUpper".repeat(101), " }}"].concat();
    assert!(run(&filters, 9).err().unwrap().text.contains("more than 100 filters"));
    let fine = "{% if true %}1{% else if true %}{% endif %}".repeat(300);
    assert_eq!(run(&fine, 1 << 20).unwrap().len(), 300);
}

/// What costs time or memory without printing anything: an error, sooner or later, and not too much of either.
#[test]
fn work_that_never_ends_is_an_error() {
    let steps = "more than 50,000,000 steps: does it end?";
    let memory = "the render holds more than 256 MiB: does something grow without end?";
    let nested = |open: &str, n: usize, close: &str| [open.repeat(n), close.repeat(n)].concat();
    let large = "the list would have more than 1,000,000 elements, also those inside it";
    let cases = [
        (nested("{% for a in [1, 2, 3, 4, 5, 6, 7, 8] -%}\n{% if a %}{% endif %}", 20, "{% endfor %}"), "", steps),
        (nested("{% for a, b in {\"a\": 1, \"b\": 2, \"c\": 3} -%} ", 15, "{% endfor %}"), "1:", steps),
        (nested("{% for a in seq(1, 1000) %}", 3, "{% for b in gets(\"/*\") %}{% endfor %}{% endfor %}"), "1:", steps),
        (
            ["{% for a in seq(1, 100000) %}", "{% if repeat(1000000, \"a\") %}{% endif %}", "{% endfor %}"].concat(),
            "1:36",
            steps,
        ),
        // Each of these texts is one more.
        (nested("{% with repeat(1000000, \"a\") as l %}", 40, "{% endwith %}"), "1:", memory),
        (["{{ len([", &nested("repeat(1000000, \"a\"),", 40, ""), "]) }}"].concat(), "1:", memory),
        (
            ["{% with {\"a\": [", &nested("repeat(1000000, \"a\"),", 40, ""), "]} as m %}{% endwith %}"].concat(),
            "1:",
            memory,
        ),
        // Lists in lists, which whoever walks them would never have done.
        (
            nested("{% with [l, l, l, l, l, l, l, l] as l %}", 20, "{% endwith %}").replacen(
                "[l, l, l, l, l, l, l, l]",
                "[1]",
                1,
            ),
            "1:",
            large,
        ),
        (
            nested("{% with [?.l, ?.l, ?.l, ?.l] as l %}", 20, "{% endwith %}").replacen(
                "[?.l, ?.l, ?.l, ?.l]",
                "[1]",
                1,
            ),
            "1:",
            large,
        ),
    ];
    for (text, place, want) in cases {
        let e = run(&text, 100).err().unwrap_or_else(|| panic!("no error: {text}"));
        let first = e.text.lines().next().unwrap();
        assert!(first.starts_with(&["t:", place].concat()) && first.ends_with(want), "{text}\n{}", e.text);
    }
}

/// What a variable holds is held once, however often it is read.
#[test]
fn copies_share_what_they_hold() {
    let nested = |open: &str, n: usize, close: &str| [open.repeat(n), close.repeat(n)].concat();
    let long = "{% with repeat(1000000, \"a\") as l %}";
    let all = "l, ".repeat(60);
    for (text, want) in [
        (
            [
                "{% with seq(1, 100000) as l %}",
                "{% for a in seq(1, 10000) %}{% if l %}{% endif %}{% endfor %}",
                "{% endwith %}",
            ]
            .concat(),
            "",
        ),
        (
            [long, "{% with {\"a\": l, \"b\": [", &all, "]} as m %}{{ len(m.b) }}{% endwith %}{% endwith %}"].concat(),
            "60",
        ),
        ([long, "{{ len([", &all, "]) }}{% endwith %}"].concat(), "60"),
        ([long, &nested("{% with l as m %}", 90, "{% endwith %}"), "{% endwith %}"].concat(), ""),
    ] {
        assert_eq!(run(&text, 100).unwrap_or_else(|e| format!("error: {e}")), want, "{text}");
    }
}

#[test]
fn loops_and_reads_are_what_they_were() {
    for (text, want) in [
        ("{% for a in [1, 2] -%}  {{ a }}{% endfor %}", "12"),
        ("{% for a in [1, 2] %}  {{ a }}{% endfor %}", "  1  2"),
        ("{% for a in [1, 2] %}}{{ a }}{% endfor %}", "}1}2"),
        ("{% for a in [1, 2] -%}  }{{- a }}{% endfor %}", "}1}2"),
        ("{% for a in [1, 2] %}{# #}{%- for b in [a, a] -%} {{ b -}} {% endfor %}{% endfor %}", "1122"),
        ("{% for a in [] %}x{% endfor %}y", "y"),
        ("{% for a, b in {\"x\": {\"y\": [7]}} %}{{ a }}{{ b.y.0 }}{{ b?.y.0 | print }}{% endfor %}", "x77"),
        ("{% with {\"x\": [[5]]} as as_ %}{{ as_ . x . 0 . 0 }}{{ [as_.x.0.0, as_?.q] | len }}{% endwith %}", "52"),
        ("{% for a in [3] %}{% if loop.first %}{{ loop.index }}{% endif %}{% if not a %}n{% endif %}{% endfor %}", "0"),
        ("{% if ?.nope %}y{% else %}n{% endif %}{{ ?.nope }}", "n"),
        ("{% for in_ in [1] %}{{ in_ }}{% with in_ as for_ %}{{ for_ }}{% endwith %}{% endfor %}", "11"),
    ] {
        assert_eq!(run(text, 1 << 20).unwrap_or_else(|e| format!("error: {e}")), want, "{text}");
    }
}

/// Whatever the text, nothing panics: pieces in every order up to three, in three surroundings.
#[test]
fn no_sequence_of_pieces_panics() {
    let pieces = [
        "{{", "}}", "{%", "%}", "{#", "#}", "-", " ", "\"", "\\", "exists", "(", ")", "[", "]", "{", "}", "|", ":",
        ",", ".", "?", "1", "é", "if", "as", "not", "for", "in", "else", "endif", "\n", "0x", "e",
    ];
    let n = pieces.len();
    for i in 0..n * n * n {
        let text: String = [i / (n * n), i / n % n, i % n].map(|j| pieces[j]).concat();
        for text in
            [&text, &["{{ ", &text, " }}é"].concat(), &["é{% for a in ", &text, " %}{{ a }}{% endfor %}"].concat()]
        {
            let _ = run(text, 100);
        }
    }
}
