//! What real confds and Go's text/template print, as tables of facts: store, template, output or first line of error.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::Program;
use crate::store::{Snapshot, View};
use crate::template::Context;
use std::sync::Arc;

type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str, Result<&'static str, &'static str>);

fn snapshot(store: &[(&str, &str)]) -> Snapshot {
    Snapshot::new(store.iter().map(|(k, v)| (Arc::from(*k), Arc::from(v.as_bytes()))).collect())
}

fn render_of(snapshot: &Snapshot, template: &str, max_output: usize) -> crate::error::Result<Vec<u8>> {
    let env = |name: &str| (name == "HOME").then(|| String::from("/root"));
    let ctx = Context { store: View::new(snapshot), env: &env, max_output };
    Program::compile("t.tmpl", template)?.render(&ctx, &crate::value::Value::Nil)
}

fn check(cases: &[Case]) {
    let mut wrong = String::new();
    for (name, store, template, want) in cases {
        let got = match render_of(&snapshot(store), template, 64 << 20) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(e) => Err(e.text.lines().next().unwrap_or("").to_string()),
        };
        if got.as_ref().map(String::as_str).map_err(String::as_str) != *want {
            wrong.push_str(&format!("{name}: {template}\n   got {got:?}\n  want {want:?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Printed by a real confd.
#[rustfmt::skip]
static CONFD: &[Case] = &[
    ("getv-simple", &[("/svc/port", "9090")], "port = {{getv \"/svc/port\"}}\n", Ok("port = 9090\n")),
    ("getv-default-ignored-when-present", &[("/svc/port", "9090")], "{{getv \"/svc/port\" \"77\"}}", Ok("9090")),
    ("getv-directory-is-error", &[("/svc/port", "9090")], "{{getv \"/svc\"}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <getv \"/svc\">: error calling getv: key does not exist: /svc")),
    ("get-pair-fields", &[("/a/b/c", "v1")], "{{with get \"/a/b/c\"}}{{.Key}}={{.Value}} base={{base .Key}}{{end}}", Ok("/a/b/c=v1 base=c")),
    ("exists-true-false", &[("/k", "")], "{{if exists \"/k\"}}yes{{end}}{{if not (exists \"/z\")}} no{{end}} {{exists \"/k\"}} {{exists \"/z\"}}", Ok("yes no true false")),
    ("gets-star-does-not-cross-slash", &[("/u/a", "1"), ("/u/d/b", "2"), ("/u", "0")], "{{range gets \"/u/*\"}}{{.Key}} {{end}}|{{range gets \"/u/*/*\"}}{{.Key}} {{end}}", Ok("/u/a |/u/d/b ")),
    ("gets-no-match-range-else", &[("/u/a", "1")], "{{range gets \"/none/*\"}}x{{else}}empty{{end}}", Ok("empty")),
    ("gets-middle-wildcard", &[("/svc/a/port", "1"), ("/svc/b/port", "2"), ("/svc/b/host", "h")], "{{range gets \"/svc/*/port\"}}{{.Key}}={{.Value}};{{end}}", Ok("/svc/a/port=1;/svc/b/port=2;")),
    ("getvs-keeps-duplicates", &[("/u/1", "a"), ("/u/2", "b"), ("/u/3", "a")], "{{range getvs \"/u/*\"}}{{.}},{{end}}", Ok("a,a,b,")),
    ("getvs-print-slice", &[("/u/a", "1"), ("/u/b", "x y")], "{{getvs \"/u/*\"}}", Ok("[1 x y]")),
    ("ls-missing-is-empty", &[("/d/k1", "1")], "{{len (ls \"/zip\")}}{{range ls \"/zip\"}}x{{else}} none{{end}}", Ok("0 none")),
    ("lsdir-only-dirs", &[("/d/leaf", "1"), ("/d/b/x", "1"), ("/d/a/y/z", "1"), ("/database/q/r", "1")], "{{range lsdir \"/d\"}}{{.}} {{end}}", Ok("a b ")),
    ("base-and-dir", &[], "{{base \"/a/b/c\"}} {{dir \"/a/b/c\"}} {{base \"/\"}} {{dir \"/a\"}} {{base \"\"}} {{dir \"\"}}", Ok("c /a/b / / . .")),
    ("index-out-of-range-is-error", &[], "{{index (split \"a:b\" \":\") 2}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <index (split \"a:b\" \":\") 2>: error calling index: reflect: slice index out of range")),
    ("contains-replace-trimsuffix", &[], "{{contains \"haystack\" \"yst\"}} {{replace \"a-b-c\" \"-\" \"_\" -1}} {{replace \"a-b-c\" \"-\" \"_\" 1}} {{trimSuffix \"name.tmpl\" \".tmpl\"}} {{trimSuffix \"name\" \".x\"}}", Ok("true a_b_c a_b-c name name")),
    ("parsebool", &[("/f", "false")], "{{if parseBool (getv \"/f\")}}on{{else}}off{{end}} {{parseBool \"1\"}} {{parseBool \"F\"}}", Ok("off true false")),
    ("arithmetic-truncates-toward-zero", &[], "{{div -7 2}} {{mod -7 2}}", Ok("-3 -1")),
    ("seq-inclusive", &[], "{{range seq 3 6}}{{.}} {{end}}{{seq 1 3}} {{seq 3 1}}", Ok("3 4 5 6 [1 2 3] []")),
    ("map-index", &[], "{{$m := map \"name\" \"es\" \"port\" 9200}}{{index $m \"name\"}}/{{index $m \"port\"}}/{{$m.name}}", Ok("es/9200/es")),
    ("reverse-strings", &[("/z/1", "a"), ("/z/2", "b"), ("/z/3", "c")], "{{range reverse (getvs \"/z/*\")}}{{.}} {{end}}", Ok("c b a ")),
    ("sort-by-length", &[("/z/1", "ccc"), ("/z/2", "a"), ("/z/3", "bb")], "{{range sortByLength (getvs \"/z/*\")}}{{.}} {{end}}", Ok("a bb ccc ")),
    ("datetime-method", &[], "{{gt (datetime).Year 2000}} {{if (datetime.Format \"2006\")}}ok{{end}}", Ok("true ok")),
    ("file-exists", &[], "{{fileExists \"/\"}} {{fileExists \"/no/such/file\"}}", Ok("true false")),
    ("json-nested-index", &[("/j", "{\"pets\":[{\"name\":\"x\"},{\"name\":\"y\"}],\"a-b\":\"dash\",\"o\":{\"p\":\"q\"}}")], "{{$d := json (getv \"/j\")}}{{(index $d.pets 1).name}} {{index $d \"a-b\"}} {{$d.o.p}}", Ok("y dash q")),
    ("json-big-number-is-float", &[("/j", "{\"n\":65535,\"big\":123456789,\"f\":1.50}")], "{{$d := json (getv \"/j\")}}{{$d.n}} {{$d.big}} {{$d.f}} {{printf \"%.0f\" $d.big}}", Ok("65535 1.23456789e+08 1.5 123456789")),
    ("json-array-given-to-json-is-error", &[], "{{json \"[1]\"}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <json \"[1]\">: error calling json: json: cannot unmarshal array into Go value of type map[string]interface {}")),
    ("json-number-eq-int-literal-is-error", &[("/j", "{\"n\":1}")], "{{if eq (json (getv \"/j\")).n 1}}y{{end}}", Err("template: t.tmpl:1:5: executing \"t.tmpl\" at <eq (json (getv \"/j\")).n 1>: error calling eq: incompatible types for comparison")),
    ("json-array-objects-mixed", &[("/j", "[{\"name\":\"n1\"},{\"name\":\"n2\"}]")], "{{range jsonArray (getv \"/j\")}}{{.name}} {{end}}{{jsonArray \"[1,2.5,true,null,\\\"s\\\"]\"}}", Ok("n1 n2 [1 2.5 true <nil> s]")),
    ("pipelines", &[("/a", "val")], "{{getv \"/a\" | toUpper | printf \"%s-%s\" \"x\"}} {{\"q\" | printf \"%q\"}}", Ok("x-VAL \"q\"")),
    ("comma-separated-first-flag", &[("/t/1", "x"), ("/t/2", "y"), ("/t/3", "z")], "{{range $i, $e := getvs \"/t/*\"}}{{if $i}},{{end}}{{$e}}{{end}}", Ok("x,y,z")),
    ("variable-shadowing", &[], "{{$x := \"outer\"}}{{if true}}{{$x := \"inner\"}}{{$x}}{{end}} {{$x}}", Ok("inner outer")),
    ("and-or-return-values", &[], "{{or \"\" \"b\" \"c\"}} {{and \"a\" \"b\"}} {{and \"\" \"b\"}}| {{or (getv \"/k\" \"\") \"fallback\"}}", Ok("b b | fallback")),
    ("with-else", &[("/j", "1")], "{{with getv \"/k\" \"\"}}has {{.}}{{else}}none{{end}} {{with $v := getv \"/j\"}}{{$v}}{{end}}", Ok("none 1")),
    ("define-block-template", &[], "{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" \"a\"}}{{block \"b\" \"z\"}}({{.}}){{end}}", Ok("<a>(z)")),
    ("printf-wrong-verb", &[], "{{printf \"%d %s\" \"x\" 1}} {{printf \"%s\"}} {{printf \"a\" \"b\"}}", Ok("%!d(string=x) %!s(int=1) %!s(MISSING) a%!(EXTRA string=b)")),
    ("raw-string-and-escapes", &[], "{{`raw \"q\" {{x}}`}} {{\"tab\\tq\\\"\\u00e9\"}} {{'a'}}", Ok("raw \"q\" {{x}} tab\tq\"é 97")),
    ("break-continue", &[], "{{range seq 1 9}}{{if eq . 3}}{{continue}}{{end}}{{if gt . 5}}{{break}}{{end}}{{.}}{{end}}", Ok("1245")),
    ("unclosed-action-is-error", &[], "x {{getv \"/a\"", Err("template: t.tmpl:1: unclosed action")),
    ("wrong-arg-count-is-error", &[], "{{toUpper \"a\" \"b\"}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <toUpper>: wrong number of args for toUpper: want 1 got 2")),
    ("error-midway-writes-nothing", &[("/a", "1")], "start {{getv \"/missing\"}} end", Err("template: t.tmpl:1:8: executing \"t.tmpl\" at <getv \"/missing\">: error calling getv: key does not exist: /missing")),
    ("shell-braces-untouched", &[], "${VAR} $host { } }} {a} %s\n", Ok("${VAR} $host { } }} {a} %s\n")),
    ("prefix-is-stripped", &[("/db/host", "h"), ("/db/port", "1")], "{{getv \"/db/host\"}} {{range gets \"/db/*\"}}{{.Key}} {{end}}", Ok("h /db/host /db/port ")),
    ("keys-union", &[("/db/host", "h"), ("/other/k", "1")], "{{getv \"/db/host\"}}{{getv \"/other/k\"}}", Ok("h1")),
];

#[test]
fn what_confd_printed() {
    check(CONFD);
}

const J: &[(&str, &str)] =
    &[("/j", r#"{"a":{"b":"c","n":null,"t":true},"l":[1,"x",null,{"k":"v"}],"f":2.5,"e":[],"m":{}}"#)];

/// Go's text/template.
#[rustfmt::skip]
static LANGUAGE: &[Case] = &[
    // Lexer.
    ("trim both", &[], "a \n {{- 3 -}} \n b", Ok("a3b")),
    ("minus is no trim", &[], "a {{-3}} b", Ok("a -3 b")),
    ("trim newline marker", &[], "a {{-\n3\n-}} b", Ok("a3b")),
    ("comment", &[], "a{{/* x */}}b{{- /* y */ -}} c", Ok("abc")),
    ("comment trim", &[], "a {{- /* y */}} c", Ok("a c")),
    ("comment over lines", &[], "a{{/*\n\n*/}}b", Ok("ab")),
    ("unclosed comment", &[], "a{{/* x", Err("template: t.tmpl:1: unclosed comment")),
    ("comment not closing", &[], "a{{/* x */ 3}}", Err("template: t.tmpl:1: comment ends before closing delimiter")),
    ("newlines in action", &[], "{{ $x \n := \n 1 \n }}{{$x}}", Ok("1")),
    ("raw string", &[], "{{`a\nb`}}", Ok("a\nb")),
    ("numbers", &[], "{{0x10}} {{0b11}} {{0o17}} {{017}} {{1_000}} {{1e3}} {{1.5}} {{.5}} {{'x'}} {{'\\n'}} {{+3}} {{0x1p4}}",
        Ok("16 3 15 15 1000 1000 1.5 0.5 120 10 3 16")),
    ("big float", &[], "{{1e6}} {{123456789.0}} {{0.00001}}", Ok("1e+06 1.23456789e+08 1e-05")),
    ("overflow", &[], "{{18446744073709551615}}",
        Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <18446744073709551615>: 18446744073709551615 overflows int")),
    ("bad number", &[], "{{3k}}", Err("template: t.tmpl:1: bad number syntax: \"3k\"")),
    ("unterminated string", &[], "{{\"x}}", Err("template: t.tmpl:1: unterminated quoted string")),
    ("unterminated raw", &[], "{{`x}}", Err("template: t.tmpl:1: unterminated raw quoted string")),
    ("unterminated char", &[], "{{'x}}", Err("template: t.tmpl:1: unterminated character constant")),
    ("bad char const", &[], "{{'xx'}}", Err("template: t.tmpl:1: malformed character constant: 'xx'")),
    ("bad escape", &[], "{{\"\\q\"}}", Err("template: t.tmpl:1: invalid syntax")),
    ("bad character", &[], "{{$x!2}}", Err("template: t.tmpl:1: bad character U+0021 '!'")),
    ("unrecognized", &[], "{{\u{1}}}", Err("template: t.tmpl:1: unrecognized character in action: U+0001")),
    ("left paren", &[], "{{(3}}", Err("template: t.tmpl:1: unclosed left paren")),
    ("right paren", &[], "{{3)}}", Err("template: t.tmpl:1: unexpected right paren")),
    ("unclosed over lines", &[], "x\n{{getv\n\"/a\"\n", Err("template: t.tmpl:4: unclosed action started at t.tmpl:2")),
    ("expected :=", &[], "{{1 : 3}}", Err("template: t.tmpl:1: expected :=")),
    // Parser.
    ("empty action", &[], "{{}}", Err("template: t.tmpl:1: missing value for command")),
    ("undefined variable", &[], "{{$x}}", Err("template: t.tmpl:1: undefined variable \"$x\"")),
    ("variable after end", &[], "{{with $x := 4}}{{end}}{{$x}}", Err("template: t.tmpl:1: undefined variable \"$x\"")),
    ("variable not in define", &[], "{{$x := 1}}{{define \"t\"}}{{$x}}{{end}}", Err("template: t.tmpl:1: undefined variable \"$x\"")),
    ("undefined function", &[], "a\n{{nofunc 1}}", Err("template: t.tmpl:2: function \"nofunc\" not defined")),
    ("unexpected end", &[], "{{end}}", Err("template: t.tmpl:1: unexpected {{end}}")),
    ("unexpected else", &[], "{{else}}", Err("template: t.tmpl:1: unexpected {{else}}")),
    ("two elses", &[], "{{if 1}}1{{else}}2{{else}}3{{end}}", Err("template: t.tmpl:1: expected end; found {{else}}")),
    ("missing end", &[], "{{if 1}}", Err("template: t.tmpl:1: unexpected EOF")),
    ("unexpected in operand", &[], "{{printf 3, 4}}", Err("template: t.tmpl:1: unexpected \",\" in operand")),
    ("adjacent", &[], "{{printf 3`x`}}", Err("template: t.tmpl:1: unexpected \"`x`\" in operand")),
    ("long token", &[], "{{printf 3`0123456789012`}}", Err("template: t.tmpl:1: unexpected \"`012345678\"... in operand")),
    ("keyword", &[], "{{if end}}", Err("template: t.tmpl:1: unexpected <end> in if")),
    ("dot after literal", &[], "{{true.E}}", Err("template: t.tmpl:1: unexpected . after term \"true\"")),
    ("wrong pipeline", &[], "{{12|.}}", Err("template: t.tmpl:1: non executable command in pipeline stage 2")),
    ("empty parens", &[], "{{printf \"%d\" ( ) }}", Err("template: t.tmpl:1: missing value for parenthesized pipeline")),
    ("break outside", &[], "{{break}}", Err("template: t.tmpl:1: {{break}} outside {{range}}")),
    ("continue in else", &[], "{{range 1}}{{else}}{{continue}}{{end}}", Err("template: t.tmpl:1: {{continue}} outside {{range}}")),
    ("too many vars", &[], "{{range $a, $b, $c := 3}}{{end}}", Err("template: t.tmpl:1: too many declarations in range")),
    ("multi outside range", &[], "{{with $a, $b := 3}}{{end}}", Err("template: t.tmpl:1: too many declarations in with")),
    ("range only vars", &[], "{{range $a, 3}}{{end}}", Err("template: t.tmpl:1: range can only initialize variables")),
    ("empty command", &[], "{{1 | }}", Ok("1")),
    ("template needs name", &[], "{{template .x}}", Err("template: t.tmpl:1: unexpected \".x\" in template clause")),
    ("redefinition", &[], "{{define \"a\"}}1{{end}}{{define \"a\"}}2{{end}}",
        Err("template: t.tmpl:1: template: multiple definition of template \"a\"")),
    ("empty redefinition", &[], "{{define \"a\"}} {{end}}{{define \"a\"}}2{{end}}{{template \"a\"}}", Ok("2")),
    ("define nested", &[], "{{if 1}}{{define \"a\"}}{{end}}{{end}}", Err("template: t.tmpl:1: unexpected <define> in command")),
    ("else with", &[], "{{with \"\"}}a{{else with \"b\"}}<{{.}}>{{else}}c{{end}}", Ok("<b>")),
    ("else if", &[], "{{if 0}}a{{else if \"\"}}b{{else if 2}}c{{else}}d{{end}}", Ok("c")),
    ("else if scope", &[], "{{if $x := 0}}a{{else if eq $x 0}}b{{$x}}{{end}}", Ok("b0")),
    ("if else with", &[], "{{if 0}}{{else with 1}}{{end}}{{end}}", Err("template: t.tmpl:1: unexpected <with> in input")),
    ("parens deep", &[], "{{((((1))))}}", Ok("1")),
    // Scope and assignment.
    ("assign outer", &[], "{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", Ok("2")),
    ("assign in range", &[], "{{$s := 0}}{{range seq 1 4}}{{$s = add $s .}}{{end}}{{$s}}", Ok("10")),
    ("declared in if persists to end", &[], "{{if true}}{{$y := 3}}{{$y}}{{end}}", Ok("3")),
    ("dollar is root", &[], "{{with 3}}{{$}}{{end}}", Ok("<no value>")),
    ("dollar in template", &[], "{{define \"t\"}}{{range seq 1 2}}{{$}}{{end}}{{end}}{{template \"t\" \"x\"}}", Ok("xx")),
    ("range assigns", &[], "{{$i := 9}}{{$v := 9}}{{range $i, $v = split \"a,b\" \",\"}}{{end}}{{$i}}{{$v}}", Ok("1b")),
    ("range one var", &[], "{{range $x := split \"a,b\" \",\"}}{{$x}}{{.}}{{end}}", Ok("aabb")),
    ("declaration prints nothing", &[], "{{$x := \"v\"}}|{{$x = \"w\"}}|{{$x}}", Ok("||w")),
    // Control.
    ("range int", &[], "{{range 3}}{{.}}{{end}}{{range $i := 2}}{{$i}}{{end}}{{range 0}}x{{else}}none{{end}}", Ok("01201none")),
    ("range map", &[], "{{range $k, $v := map \"b\" 1 \"a\" 2}}{{$k}}={{$v}};{{end}}", Ok("a=2;b=1;")),
    ("range nil", J, "{{range (json (getv \"/j\")).a.n}}x{{else}}e{{end}}", Ok("e")),
    ("range missing", J, "{{range (json (getv \"/j\")).zip}}x{{else}}e{{end}}", Ok("e")),
    ("range string", &[], "{{range \"abc\"}}{{end}}",
        Err("template: t.tmpl:1:8: executing \"t.tmpl\" at <\"abc\">: range can't iterate over string")),
    ("range float", &[], "{{range 1.5}}{{end}}", Err("template: t.tmpl:1:8: executing \"t.tmpl\" at <1.5>: range can't iterate over float64")),
    ("break inner only", &[], "{{range seq 1 3}}{{$a := .}}{{range seq 1 3}}{{if eq . 2}}{{break}}{{end}}{{$a}}{{.}} {{end}}{{end}}", Ok("11 21 31 ")),
    ("break in if in with", &[], "{{range seq 1 5}}{{with .}}{{if gt . 2}}{{break}}{{end}}{{.}}{{end}}{{end}}", Ok("12")),
    ("template without dot", &[], "{{define \"t\"}}{{.}}{{end}}{{template \"t\"}}", Ok("<no value>")),
    ("template not defined", &[], "{{template \"x\" 3}}",
        Err("template: t.tmpl:1:11: executing \"t.tmpl\" at <{{template \"x\" 3}}>: template \"x\" not defined")),
    ("recursion", &[], "{{define \"f\"}}{{.}}{{if gt . 0}}{{template \"f\" (sub . 1)}}{{end}}{{end}}{{template \"f\" 5}}", Ok("543210")),
    ("endless recursion", &[], "{{define \"f\"}}{{template \"f\"}}{{end}}{{template \"f\"}}",
        Err("template: t.tmpl:1:25: executing \"f\" at <{{template \"f\"}}>: exceeded maximum template depth (100)")),
    ("define used before", &[], "{{template \"t\"}}{{define \"t\"}}x{{end}}", Ok("x")),
    ("include", &[], "{{define \"t\"}}a\n{{.}}{{end}}{{include \"t\" 3 | indent 2}}", Ok("  a\n  3")),
    // Values and fields.
    ("no value", J, "{{.}} {{.x}} {{(json (getv \"/j\")).zip}} {{(json (getv \"/j\")).zip.zap}} {{(json (getv \"/j\")).a.n}}",
        Ok("<no value> <no value> <no value> <no value> <no value>")),
    ("nil printing", J, "{{print nil}} {{printf \"%v\" .x}} {{printf \"%s\" nil}} {{printf \"%d\" nil}} {{(json (getv \"/j\")).l}}",
        Ok("<nil> <nil> %!s(<nil>) %!d(<nil>) [1 x <nil> map[k:v]]")),
    ("nil command", &[], "{{nil}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <nil>: nil is not a command")),
    ("field of nil value", J, "{{(json (getv \"/j\")).a.n.x}}",
        Err("template: t.tmpl:1:14: executing \"t.tmpl\" at <\"/j\">: nil pointer evaluating interface {}.x")),
    ("field of string", &[], "{{\"x\" | len}} {{with \"x\"}}{{.Y}}{{end}}",
        Err("template: t.tmpl:1:28: executing \"t.tmpl\" at <.Y>: can't evaluate field Y in type string")),
    ("field of element", J, "{{(json (getv \"/j\")).f.g}}",
        Err("template: t.tmpl:1:14: executing \"t.tmpl\" at <\"/j\">: can't evaluate field g in type interface {}")),
    ("pair", &[("/k", "v")], "{{get \"/k\"}} {{(get \"/k\").Key}} {{printf \"%+v %#v %T\" (get \"/k\") (get \"/k\") (get \"/k\")}} {{gets \"/*\"}}",
        Ok("{/k v} /k {Key:/k Value:v} memkv.KVPair{Key:\"/k\", Value:\"v\"} memkv.KVPair [{/k v}]")),
    ("pair wrong field", &[("/k", "v")], "{{(get \"/k\").Name}}",
        Err("template: t.tmpl:1:7: executing \"t.tmpl\" at <\"/k\">: can't evaluate field Name in type memkv.KVPair")),
    ("map printing", &[], "{{map \"b\" 1 \"a\" \"x y\"}} {{map}}", Ok("map[a:x y b:1] map[]")),
    ("argument to constant", &[], "{{3 4}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <3>: can't give argument to non-function 3")),
    ("argument to variable", &[], "{{$x := 1}}{{$x 2}}", Err("template: t.tmpl:1:13: executing \"t.tmpl\" at <$x>: can't give argument to non-function $x")),
    ("map field args", &[], "{{$m := map \"a\" 1}}{{$m.a 3}}", Err("template: t.tmpl:1:23: executing \"t.tmpl\" at <$m.a>: a is not a method but has arguments")),
    ("assign to nil", &[], "{{toUpper nil}}", Err("template: t.tmpl:1:10: executing \"t.tmpl\" at <nil>: cannot assign nil to string")),
    ("invalid value", &[], "{{toUpper .x}}", Err("template: t.tmpl:1:10: executing \"t.tmpl\" at <.x>: invalid value; expected string")),
    ("expected string", &[], "{{toUpper 3}}", Err("template: t.tmpl:1:10: executing \"t.tmpl\" at <3>: expected string; found 3")),
    ("expected integer", &[], "{{add 1 \"x\"}}", Err("template: t.tmpl:1:8: executing \"t.tmpl\" at <\"x\">: expected integer; found \"x\"")),
    ("float constant as int", &[], "{{add 1.0 2}}", Ok("3")),
    ("wrong type", &[], "{{toUpper (add 1 2)}}", Err("template: t.tmpl:1:17: executing \"t.tmpl\" at <2>: wrong type for value; expected string; got int")),
    ("wrong type list", &[("/j", "[1]")], "{{join (jsonArray (getv \"/j\")) \",\"}}",
        Err("template: t.tmpl:1:24: executing \"t.tmpl\" at <\"/j\">: wrong type for value; expected []string; got []interface {}")),
    ("too few", &[], "{{split \"a\"}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <split>: wrong number of args for split: want 2 got 1")),
    ("too few variadic", &[], "{{getv}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <getv>: wrong number of args for getv: want at least 1 got 0")),
    ("location on later line", &[], "a\nbc {{getv \"/x\"}}", Err("template: t.tmpl:2:5: executing \"t.tmpl\" at <getv \"/x\">: error calling getv: key does not exist: /x")),
    ("location in define", &[], "{{define \"d\"}}{{getv \"/x\"}}{{end}}{{template \"d\"}}",
        Err("template: t.tmpl:1:16: executing \"d\" at <getv \"/x\">: error calling getv: key does not exist: /x")),
    ("pipe node text", &[], "{{$x := getv \"/x\" | toUpper}}",
        Err("template: t.tmpl:1:8: executing \"t.tmpl\" at <getv \"/x\">: error calling getv: key does not exist: /x")),
    // Logic and comparison.
    ("short circuit", &[], "{{and false (getv \"/x\")}} {{or 1 (getv \"/x\")}} {{1 | and 2}} {{0 | or 0}} {{not 0}}", Ok("false 1 1 0 true")),
    ("eq many", &[], "{{eq 1 2 3 1}} {{eq \"a\" \"b\"}} {{ne 1 2}} {{eq true true}} {{eq 1.5 1.5}}", Ok("true false true true true")),
    ("eq nil", &[], "{{eq .x nil}} {{eq nil 1}} {{eq \"\" .x}}", Ok("true false false")),
    ("eq incompatible", &[], "{{eq 1 \"1\"}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <eq 1 \"1\">: error calling eq: incompatible types for comparison")),
    ("eq one", &[], "{{eq 1}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <eq 1>: error calling eq: missing argument for comparison")),
    ("lt bool", &[], "{{lt true false}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <lt true false>: error calling lt: invalid type for comparison")),
    ("order", &[], "{{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 2 2}} {{lt \"a\" \"b\"}} {{gt 1.5 1.0}}", Ok("true true false true true true")),
    // index, slice, len.
    ("index deep", J, "{{$d := json (getv \"/j\")}}{{index $d \"l\" 3 \"k\"}} {{index $d \"zip\"}} {{len $d}} {{len (index $d \"l\")}} {{index \"abc\" 1}}", Ok("v <no value> 5 4 98")),
    ("index wrong", &[], "{{index (map \"a\" 1) 3}}",
        Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <index (map \"a\" 1) 3>: error calling index: value has type int; should be string")),
    ("index far", &[], "{{index (split \"a\" \",\") 5}}",
        Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <index (split \"a\" \",\") 5>: error calling index: index out of range: 5")),
    ("index nil", &[], "{{index .x 1}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <index .x 1>: error calling index: index of untyped nil")),
    ("slice", &[], "{{slice \"abcd\" 1 3}} {{slice (seq 1 5) 2}} {{slice \"ab\"}}", Ok("bc [3 4 5] ab")),
    ("slice wrong", &[], "{{slice \"abc\" 2 1}}",
        Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <slice \"abc\" 2 1>: error calling slice: invalid slice index: 2 > 1")),
    ("len of int", &[], "{{len 3}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <len 3>: error calling len: len of type int")),
    ("call", &[], "{{call 3}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <call 3>: error calling call: non-function of type int")),
    // print, escapes.
    ("print", &[], "{{print 1 2 \"a\" 3 \"b\" \"c\" true nil}}|{{println 1 \"a\"}}|{{print}}", Ok("1 2a3bctrue <nil>|1 a\n|")),
    ("html", &[], "{{html \"<a href='x'>&\\\"\"}} {{js \"it's <b>=\\n\\u00e9\"}} {{urlquery \"a b&c/é\"}}",
        Ok("&lt;a href=&#39;x&#39;&gt;&amp;&#34; it\\'s \\u003Cb\\u003E\\u003D\\u000Aé a+b%26c%2F%C3%A9")),
];

#[test]
fn what_the_language_says() {
    check(LANGUAGE);
}

/// Go's printf.
#[rustfmt::skip]
static PRINTF: &[Case] = &[
    ("ints", &[], "{{printf \"%d|%5d|%-5d|%05d|%+d|% d|%x|%X|%#x|%o|%#o|%O|%b|%c|%q|%U|%#U\" 42 42 42 42 42 42 255 255 255 8 8 8 5 65 65 65 0x1F600}}",
        Ok("42|   42|42   |00042|+42| 42|ff|FF|0xff|10|010|0o10|101|A|'A'|U+0041|U+1F600 '😀'")),
    ("negative", &[], "{{printf \"%05d|%x|%.3d|%+.2d|%8.3d|\" -42 -255 7 7 -7}}", Ok("-0042|-ff|007|+07|    -007|")),
    ("floats", &[], "{{printf \"%f|%.2f|%8.2f|%-8.2f|%08.2f|%+.1f|%e|%E|%g|%G|%v|%6.3v\" 3.14159 3.14159 3.14159 3.14159 3.14159 3.14159 1500.0 1500.0 1e21 1e-7 2.0 3.14159}}",
        Ok("3.141590|3.14|    3.14|3.14    |00003.14|+3.1|1.500000e+03|1.500000E+03|1e+21|1E-07|2|  3.14")),
    ("strings", &[], "{{printf \"%s|%5s|%-5s|%.2s|%q|%x|%X|% x|%#x|%#q|%+q|%5q\" \"abc\" \"ab\" \"ab\" \"abc\" \"a\\\"b\" \"hi\" \"hi\" \"hi\" \"hi\" \"a\" \"é\" \"a\"}}",
        Ok("abc|   ab|ab   |ab|\"a\\\"b\"|6869|6869|68 69|0x6869|`a`|\"\\u00e9\"|  \"a\"")),
    ("bools", &[], "{{printf \"%t %v %5t %q\" true false true true}}", Ok("true false  true %!q(bool=true)")),
    ("types", &[], "{{printf \"%T %T %T %T %T %T %T %T\" 1 1.5 \"a\" true nil (split \"a\" \",\") (seq 1 2) (map)}}",
        Ok("int float64 string bool <nil> []string []int map[string]interface {}")),
    ("lists", &[], "{{printf \"%v %d %s %q %03d %x\" (seq 1 2) (seq 1 2) (split \"a,b\" \",\") (split \"a,b\" \",\") (seq 1 2) (split \"a,b\" \",\")}}",
        Ok("[1 2] [1 2] [a b] [\"a\" \"b\"] [001 002] [61 62]")),
    ("sharp v", &[], "{{printf \"%#v %#v %#v %#v %#v\" \"a\" 1 (split \"a,b\" \",\") (map \"k\" nil) 1.0}}",
        Ok("\"a\" 1 []string{\"a\", \"b\"} map[string]interface {}{\"k\":interface {}(nil)} 1")),
    ("wrong verbs", &[], "{{printf \"%d %s %z %t\" \"x\" 1 2 \"y\"}}", Ok("%!d(string=x) %!s(int=1) %!z(int=2) %!t(string=y)")),
    ("wrong in list", &[], "{{printf \"%d\" (split \"a\" \",\")}}", Ok("[%!d(string=a)]")),
    ("missing", &[], "{{printf \"%s %d\" \"a\"}} {{printf \"%!\"}} {{printf \"%\"}} {{printf \"100%%\"}}", Ok("a %!d(MISSING) %!!(MISSING) %!(NOVERB) 100%")),
    ("extra", &[], "{{printf \"x\" 1 \"a\" nil}} {{printf \"%d\" 1 2}}", Ok("x%!(EXTRA int=1, string=a, <nil>) 1%!(EXTRA int=2)")),
    ("star", &[], "{{printf \"%*d|%-*d|%.*f|%*d|%.*d\" 5 1 5 1 2 3.14159 \"x\" 1 \"y\" 1}}", Ok("    1|1    |3.14|%!(BADWIDTH)1|%!(BADPREC)1")),
    ("index", &[], "{{printf \"%[2]d %[1]d|%[1]q|%[3]d|%[x]d\" 1 2}}", Ok("2 1|'\\x01'|%!d(BADINDEX)|%!d(BADINDEX)")),
    ("unicode width", &[], "{{printf \"%4s|%-4s|\" \"é\" \"é\"}}", Ok("   é|é   |")),
    ("verb p", &[], "{{printf \"%p\" 1}}", Ok("%!p(int=1)")),
    ("wide char", &[], "{{printf \"%c%c\" 233 0x4e16}}", Ok("é世")),
    ("month", &[], "{{printf \"%v %d\" (datetime.AddDate 0 0 0).Month (datetime).YearDay | len | lt 3}}", Ok("true")),
];

#[test]
fn what_printf_says() {
    check(PRINTF);
}

/// The functions of confd and of its fork.
#[rustfmt::skip]
static FUNCTIONS: &[Case] = &[
    ("ls", &[("/d/k1", "1"), ("/d/b/x", "1"), ("/d", "0"), ("/database", "1"), ("/e", "1")],
        "{{ls \"/d\"}} {{ls \"/d/\"}} {{ls \"/d/k1\"}} {{ls \"/\"}} {{ls \"d\"}} {{ls \"\"}} {{lsdir \"/\"}} {{lsdir \"/d/\"}}", Ok("[b d k1] [b k1] [k1] [d database e] [] [] [] [b]")),
    ("gets sorted by key", &[("/u/b", "1"), ("/u/a", "2")], "{{range gets \"/u/*\"}}{{base .Key}}={{.Value}} {{end}}", Ok("a=2 b=1 ")),
    ("getvs sorted by value", &[("/u/b", "1"), ("/u/a", "2")], "{{range getvs \"/u/*\"}}{{.}} {{end}}", Ok("1 2 ")),
    ("glob class", &[("/u/a", "1"), ("/u/b", "2"), ("/u/c", "3")], "{{getvs \"/u/[ab]\"}} {{getvs \"/u/?\"}} {{getvs \"/u/a\"}}", Ok("[1 2] [1 2 3] [1]")),
    ("bad glob", &[("/u/a", "1")], "{{gets \"/u/[\"}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <gets \"/u/[\">: error calling gets: syntax error in pattern")),
    ("get missing", &[], "{{get \"/x\"}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <get \"/x\">: error calling get: key does not exist: /x")),
    ("getv empty beats default", &[("/e", "")], "<{{getv \"/e\" \"d\"}}> {{getv \"/z\" \"d\"}}", Ok("<> d")),
    ("strings", &[], "{{toUpper \"aß\"}} {{toLower \"AÉ\"}} {{contains \"abc\" \"b\"}} {{trimPrefix \"ab\" \"a\"}} {{repeat 3 \"ab\"}} {{split \"abc\" \"\"}} {{join (split \"a,b\" \",\") \"-\"}}",
        Ok("Aß aé true b ababab [a b c] a-b")),
    ("replace", &[], "{{replace \"aaa\" \"a\" \"b\" 2}} {{replace \"ab\" \"\" \"-\" -1}} {{replace \"ab\" \"\" \"-\" 2}} {{replace \"x\" \"y\" \"z\" -1}} {{replace \"aa\" \"a\" \"\" 0}}",
        Ok("bba -a-b- -a-b x aa")),
    ("numbers", &[], "{{add 1 2}} {{sub 1 2}} {{mul 3 4}} {{div 7 2}} {{mod 7 3}} {{atoi \"12\"}} {{atoi \"-3\" | add 1}}", Ok("3 -1 12 3 1 12 -2")),
    ("div by zero", &[], "{{div 1 0}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <div 1 0>: error calling div: runtime error: integer divide by zero")),
    ("atoi", &[], "{{atoi \"x\"}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <atoi \"x\">: error calling atoi: strconv.Atoi: parsing the text: invalid syntax")),
    ("atoi big", &[], "{{atoi \"99999999999999999999\"}}",
        Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <atoi \"99999999999999999999\">: error calling atoi: strconv.Atoi: parsing the text: value out of range")),
    ("parseBool", &[], "{{parseBool \"yes\"}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <parseBool \"yes\">: error calling parseBool: strconv.ParseBool: parsing the text: invalid syntax")),
    ("base64", &[], "{{base64Encode \"hello\"}} {{base64Decode \"aGVsbG8=\"}} {{base64Encode \"a\"}} {{base64Encode \"ab\"}} {{base64Decode \"YWI=\"}}{{base64Decode \"YQ==\"}}{{base64Decode \"\"}}", Ok("aGVsbG8= hello YQ== YWI= aba")),
    ("base64 bad", &[], "{{base64Decode \"a$b\"}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <base64Decode \"a$b\">: error calling base64Decode: illegal base64 data at input byte 1")),
    ("map odd", &[], "{{map \"a\"}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <map \"a\">: error calling map: invalid map call")),
    ("map key", &[], "{{map 1 2}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <map 1 2>: error calling map: map keys must be strings")),
    ("getenv", &[], "{{getenv \"HOME\"}} {{getenv \"NONE\"}}| {{getenv \"NONE\" \"d\"}}", Ok("/root | d")),
    ("seq", &[], "{{len (seq 1 1000000)}} {{seq -1 1}}", Ok("1000000 [-1 0 1]")),
    ("seq too long", &[], "{{seq 1 1000000000}}",
        Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <seq 1 1000000000>: error calling seq: the list would have more than 1,000,000 elements")),
    ("repeat too long", &[], "{{repeat 1000000000 \"x\"}}",
        Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <repeat 1000000000 \"x\">: error calling repeat: the text would have more than 64 MiB")),
    ("reverse", &[("/b", "1"), ("/aa", "2")], "{{reverse (split \"a,b\" \",\")}} {{reverse (gets \"/*\")}} {{reverse (sortKVByLength (gets \"/*\"))}} {{sortByLength (split \"bb,a,cc\" \",\")}}",
        Ok("[b a] [{/aa 2} {/b 1}] [{/aa 2} {/b 1}] [a bb cc]")),
    ("json", J, "{{toJson (json (getv \"/j\"))}} {{toJson \"<a>\"}} {{(fromJson \"[1]\") | toJson}}",
        Ok("{\"a\":{\"b\":\"c\",\"n\":null,\"t\":true},\"e\":[],\"f\":2.5,\"l\":[1,\"x\",null,{\"k\":\"v\"}],\"m\":{}} \"\\u003ca\\u003e\" [1]")),
    ("pretty", &[], "{{toPrettyJson (map \"a\" (list 1 \"b\"))}}", Ok("{\n  \"a\": [\n    1,\n    \"b\"\n  ]\n}")),
    ("json bad", &[], "{{json \"{x\"}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <json \"{x\">: error calling json: invalid character 'x' looking for beginning of object key string")),
    ("jsonArray object", &[], "{{jsonArray \"{}\"}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <jsonArray \"{}\">: error calling jsonArray: json: cannot unmarshal object into Go value of type []interface {}")),
    ("fork", &[], "{{default \"d\" \"\"}} {{default \"d\" \"x\"}} {{ternary 1 2 true}} {{true | ternary \"y\" \"n\"}} {{coalesce \"\" 0 \"z\"}} {{empty \"\"}} {{quote \"a\\nb\"}} {{squote \"a\"}}", Ok("d x 1 y z true \"a\\nb\" 'a'")),
    ("fork lists", &[], "{{$m := dict \"b\" 1 \"a\" 2}}{{keys $m}} {{values $m}} {{hasKey $m \"a\"}} {{hasKey $m \"z\"}} {{append (list 1) 2}} {{nindent 2 \"a\\nb\"}}", Ok("[a b] [2 1] true false [1 2] \n  a\n  b")),
    ("sha256", &[], "{{sha256sum \"abc\"}} {{sha256sum \"\"}}",
        Ok("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")),
    ("srv", &[], "{{lookupSRV \"a\" \"tcp\" \"c d\"}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <lookupSRV \"a\" \"tcp\" \"c d\">: error calling lookupSRV: cannot look up the SRV records of _a._tcp.c d: it is no name of a host or service")),
    ("time", &[], "{{$t := datetime}}{{$t.Equal $t}} {{$t.Before ($t.AddDate 0 1 0)}} {{($t.AddDate 1 0 0).After $t}} {{eq ($t.Format \"2006\") (printf \"%d\" $t.Year)}} {{$t.UTC.Equal $t.Local}}", Ok("true true true true true")),
    ("time field", &[], "{{datetime.Nope}}", Err("template: t.tmpl:1:2: executing \"t.tmpl\" at <datetime>: can't evaluate field Nope in type time.Time")),
    ("raw bytes", &[], "{{base64Decode \"/w==\" | len}} {{base64Decode \"/w==\" | base64Encode}}", Ok("1 /w==")),
];

#[test]
fn what_the_functions_say() {
    check(FUNCTIONS);
}

#[test]
fn an_error_shows_its_line_and_column() {
    let s = snapshot(&[]);
    let e = render_of(&s, "a\n\tb {{getv \"/x\"}} c\nd", 100).err().unwrap();
    assert!(e.kind == crate::error::Kind::MissingKey);
    assert_eq!(e.text.split_once('\n').unwrap().1, "  2 | \tb {{getv \"/x\"}} c\n    | \t    ^");
    let e = render_of(&s, "x {{nofunc}}", 100).err().unwrap();
    assert!(e.kind == crate::error::Kind::Config);
    assert_eq!(e.text.split_once('\n').unwrap().1, "  1 | x {{nofunc}}\n    |     ^");
}

#[test]
fn limits_end_a_render() {
    let s = snapshot(&[]);
    let text = |t: &str, max| match render_of(&s, t, max) {
        Ok(out) => format!("{} bytes", out.len()),
        Err(e) => e.text.lines().next().unwrap().to_string(),
    };
    assert!(text("{{range 1000}}xxxxxxxxxx{{end}}", 5_000).ends_with("the output is larger than 5000 bytes"));
    assert!(text("{{range 1000000000}}{{end}}", 100).ends_with("more than 50,000,000 steps: does it end?"));
    assert!(text(&"{{if 1}}".repeat(200), 100).ends_with("nested deeper than 100 levels"));
    assert!(text(&["{{", &"(".repeat(5000), "1"].concat(), 100).ends_with("max expression depth exceeded"));
    let elses = ["{{if 0}}", &"{{else if 0}}".repeat(10_000), "{{else}}x{{end}}"].concat();
    assert_eq!(text(&elses, 100), "1 bytes");
    let deep = "{{$x := list 1}}{{range seq 1 200}}{{$x = list $x}}{{end}}";
    assert!(text(deep, 100).ends_with("lists and maps nest deeper than 100 levels"));
    assert!(
        text("{{$s := \"x\"}}{{range seq 1 40}}{{$s = print $s $s $s $s $s $s $s $s}}{{end}}", 100)
            .ends_with("more than 64 MiB")
    );
    // Deep in every way at once: an error, not the end of the stack.
    let parens = ["(".repeat(90), String::from("include \"f\" 1"), ")".repeat(90)].concat();
    let all = ["{{define \"f\"}}{{", &parens, "}}{{end}}{{template \"f\"}}"].concat();
    assert!(text(&all, 100).ends_with("nested too deeply"), "{}", text(&all, 100));
}

#[test]
fn an_error_does_not_show_all_of_a_key_without_end() {
    let s = snapshot(&[]);
    let e = render_of(&s, "{{getv (repeat 100000 \"/k\")}}", 100).err().unwrap();
    assert!(e.kind == crate::error::Kind::MissingKey);
    assert!(e.text.contains("key does not exist: /k/k") && e.text.len() < 2000, "{} bytes", e.text.len());
}

/// What costs time or memory without printing anything: an error, sooner or later, and not too much of either.
#[test]
fn work_that_never_ends_is_an_error() {
    let keys: Vec<(String, String)> = (0..1000).map(|i| (format!("/k/{i}"), "v".repeat(100))).collect();
    let pairs: Vec<(&str, &str)> = keys.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let s = snapshot(&pairs);
    let steps = "more than 50,000,000 steps: does it end?";
    let memory = "the render holds more than 256 MiB: does something grow without end?";
    let long = "{{$b := repeat 500000 \"a\"}}";
    let list = "{{$l := split (repeat 99999 \",\") \",\"}}";
    let doubled = "{{$x := list 1}}{{range 14}}{{$x = list $x $x}}{{end}}";
    let cases: &[(&[&str], &str)] = &[
        (&["{{range seq 1 100000}}{{range seq 1 100000}}{{end}}{{end}}"], steps),
        (&["{{range 1000000000}}{{$x := seq 1 100000}}{{end}}"], steps),
        // Twice at each of fifty levels.
        (
            &[
                "{{define \"a\"}}{{if lt (len .) 50}}{{template \"a\" (print . \"x\")}}{{template \"a\" (print . \"x\")}}\
                 {{end}}{{end}}{{template \"a\" \"\"}}",
            ],
            steps,
        ),
        // Looks at many keys.
        (&["{{range 1000000000}}{{$x := gets \"/k/*\"}}{{end}}"], steps),
        (&["{{range 1000000000}}{{$x := getvs \"/k/*z\"}}{{end}}"], steps),
        (&["{{range 1000000000}}{{$x := ls \"/k\"}}{{end}}"], steps),
        (&["{{range 1000000000}}{{$x := lsdir \"/k\"}}{{end}}"], steps),
        // Long texts.
        (&["{{range 1000000000}}{{$x := repeat 1000000 \"a\"}}{{end}}"], steps),
        (&["{{range 1000000000}}{{$x := printf \"%1000000d\" 1}}{{end}}"], steps),
        (&["{{range 1000000000}}{{$x := printf \"%g\" 1e30}}{{end}}"], steps),
        // One call is enough.
        (&["{{$x := printf (repeat 140000 \"%[1]g\") 1e120}}"], steps),
        // One inside the other: all are begun before the first one is done.
        (&[long, "{{", &"(datetime.Format ".repeat(90), "$b", &")".repeat(90), "}}"], steps),
        (&[long, "{{range 1000000000}}{{$x := contains $b \"b\"}}{{end}}"], steps),
        (&["{{$s := \"a\"}}{{range 100}}{{$s = replace $s \"a\" \"aaaaaaaaaa\" -1}}{{end}}"], "more than 64 MiB"),
        (&["{{printf \"%1000000d\" (seq 1 1000000)}}"], "more than 64 MiB"),
        (&[long, "{{toJson (list $b $b $b $b $b $b $b $b $b $b $b $b $b $b $b $b $b $b)}}"], "more than 64 MiB"),
        (&[long, "{{print (list $b $b $b $b $b $b $b $b $b $b $b $b $b $b $b $b $b $b)}}"], "more than 64 MiB"),
        // Long lists, and short ones that are long inside.
        (&[list, "{{range 1000000000}}{{$x := join $l \"\"}}{{end}}"], steps),
        (&[list, "{{range 1000000000}}{{$x := sortByLength $l}}{{end}}"], steps),
        (&["{{$x := list 1}}{{range 50}}{{$x = list $x $x}}{{end}}"], "1,000,000 elements, also those inside it"),
        (
            &["{{$x := map \"a\" 1}}{{range 50}}{{$x = map \"a\" $x \"b\" $x}}{{end}}"],
            "1,000,000 elements, also those inside it",
        ),
        (&[doubled, "{{range 1000000000}}{{$y := append $x 1}}{{end}}"], steps),
        (&[doubled, "{{range 1000000000}}{{$y := toJson $x}}{{end}}"], steps),
        // What is kept.
        (&["{{define \"a\"}}{{$x := repeat 1000000 \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}"], memory),
        (&["{{define \"a\"}}{{$x := seq 1 100000}}{{template \"a\"}}{{end}}{{template \"a\"}}"], memory),
    ];
    for (parts, want) in cases {
        let template = parts.concat();
        let e = render_of(&s, &template, 100).err().unwrap();
        let first = e.text.lines().next().unwrap();
        assert!(first.starts_with("template: t") && first.ends_with(want), "{template}\n{first}");
    }
}

/// What is long but ends is no error.
#[test]
fn much_work_that_ends_is_done() {
    let keys: Vec<(String, String)> = (0..1000).map(|i| (format!("/k/{i}"), "v".repeat(100))).collect();
    let pairs: Vec<(&str, &str)> = keys.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let s = snapshot(&pairs);
    for template in [
        "{{$l := getvs \"/k/*\"}}{{range $i, $v := $l}}{{if lt $i (sub (len $l) 1)}}{{$v}},{{end}}{{end}}",
        "{{range gets \"/k/*\"}}{{range gets (printf \"%s*\" .Key)}}{{.Value}}{{end}}{{end}}",
        "{{$s := \"\"}}{{range gets \"/k/*\"}}{{$s = print $s .Value}}{{end}}{{$s}}",
        "{{$l := list}}{{range gets \"/k/*\"}}{{$l = append $l .Value}}{{end}}{{range $l}}{{.}}{{end}}",
    ] {
        let out = render_of(&s, template, 1 << 20).unwrap_or_else(|e| panic!("{template}: {e}"));
        assert!(out.len() > 99_000, "{template}: {} bytes", out.len());
    }
}

#[test]
fn reads_are_recorded() {
    let s = snapshot(&[("/a/x", "1"), ("/b/y/z", "2"), ("/c", "3")]);
    let env = |_: &str| None;
    for (template, touched, untouched) in [
        ("{{getv \"/c\"}}", "/c", "/c/d"),
        ("{{exists \"/zip\"}}", "/zip", "/zap"),
        ("{{gets \"/a/*\"}}", "/a/new", "/b/y/z"),
        ("{{getvs \"/b/*/z\"}}", "/b/new/z", "/a/x"),
        ("{{ls \"/b\"}}", "/b/new", "/bc"),
        ("{{ls \"/b\"}}", "/b", "/c"),
        ("{{lsdir \"/b\"}}", "/b/q/r", "/bc"),
        ("{{getv \"/nope\"}}", "/nope", "/c"),
    ] {
        let ctx = Context { store: View::new(&s), env: &env, max_output: 1000 };
        let _ = Program::compile("t", template).unwrap().render(&ctx, &crate::value::Value::Nil);
        let reads = ctx.store.into_reads();
        assert!(reads.touches(touched), "{template} {touched}");
        assert!(!reads.touches(untouched), "{template} {untouched}");
    }
}

#[test]
fn values_that_are_no_text() {
    let s =
        Snapshot::new(vec![(Arc::from("/b"), Arc::from(&b"\xff\x00a"[..])), (Arc::from("/t"), Arc::from(&b"t"[..]))]);
    let out = |t: &str| render_of(&s, t, 1000).map_err(|e| e.text.lines().next().unwrap().to_string());
    assert_eq!(out("<{{getv \"/b\"}}>").unwrap(), b"<\xff\x00a>");
    assert_eq!(out("{{len (getv \"/b\")}} {{getv \"/b\" | base64Encode}}").unwrap(), b"3 /wBh");
    assert_eq!(out("{{printf \"%s|%q\" (getv \"/b\") (getv \"/b\")}}").unwrap(), b"\xff\x00a|\"\\xff\\x00a\"");
    assert_eq!(out("{{range getvs \"/*\"}}{{.}},{{end}}").unwrap(), b"t,\xff\x00a,");
    assert_eq!(
        out("{{eq (getv \"/b\") (getv \"/b\")}}{{with get \"/b\"}}{{.Value}}{{end}}").unwrap(),
        b"true\xff\x00a"
    );
    let e = out("{{toUpper (getv \"/b\")}}").err().unwrap();
    assert!(e.ends_with("cannot use the value of /b as text: it is not UTF-8 (base64Encode takes it)"), "{e}");
}

#[test]
fn a_program_can_go_to_another_thread() {
    fn check<T: Send + Sync>() {}
    check::<Program>();
}
