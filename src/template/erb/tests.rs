//! What tests/erb_templates.rs cannot ask Ruby: errors, limits, values that are no text.

use std::sync::Arc;

use super::*;
use crate::error::Kind;
use crate::store::{Snapshot, View};

fn run(text: &str, keys: &[(&str, &[u8])], most: usize) -> Result<String> {
    let all = keys.iter().map(|(k, v)| (Arc::from(*k), Arc::from(*v))).collect();
    let snapshot = Snapshot::new(all);
    let ctx = Context { store: View::new(&snapshot), env: &|_| None, max_output: most };
    let pattern = ("<%".to_string(), "%>".to_string());
    let scope = Scope { key: "/k".into(), is_tree: true, alt: Vec::new(), pattern };
    Program::compile("t.erb", text, &scope)?.render(&ctx).map(|b| String::from_utf8_lossy(&b).into_owned())
}

fn fails(text: &str, want: &str) {
    let e = run(text, &[("/k/a", b"1"), ("/k/bin", b"\xff\xfe")], 1000).map_err(|e| e.text.clone()).unwrap_err();
    assert!(e.contains(want), "{text:?}: {e}\nwanted {want}");
}

#[test]
fn what_is_not_understood_is_named_with_its_line() {
    let e = run("a\n<% @reconfig[\"data\"].each_with_index do |x, i| %>\n", &[], 1).err().unwrap();
    assert!(e.kind == Kind::Config);
    let want = "t.erb:2:21: cannot understand `.each_with_index`: it is not in the part of ERB that pilotfish knows \
                (see its README)\n 2 | <% @reconfig[\"data\"].each_with_index do |x, i| %>\n   |                     ^";
    assert_eq!(e.text, want);
    for (text, form) in [
        ("<%= 1 + 2 %>", "+"),
        ("<%= x %>", "x"),
        ("<%= \"a#{1}\" %>", "#{"),
        ("<%= \"\\x41\" %>", "\\x"),
        ("<%= 1 <= 2 %>", "<="),
        ("<%= 1 === 2 %>", "==="),
        ("<%= \"a\" =~ /b/ %>", "=~"),
        ("<%= \"a\"&.size %>", "&.size"),
        ("<%= @x %>", "@x"),
        ("<%= @reconfig[:data] %>", ":data"),
        ("<%= @reconfig.data %>", "@reconfig"),
        ("<%= [].map { |x| x } %>", ".map"),
        ("<% x = 1 %>", "x"),
        ("<% [].each { |x| %><% } %>", "{"),
        ("<% [].each do %><% end %>", "this tag ends too early"),
        ("<% [].each do |X| %><% end %>", "X"),
        ("<% [].each do |a, b, c| %><% end %>", ","),
        ("<% if 1 then %><% end %>", "then"),
        ("<% puts 1 %>", "puts"),
        ("<%- if 1 %><% end %>", "<%-"),
        ("<% if 1 -%><% end %>", "-%>"),
        ("<%% x %>", "<%%"),
        ("<%== 1 %>", "<%="),
        ("<%= JSON.generate(1) %>", "JSON.generate"),
        ("<%= 1_000 %>", "1_000"),
        ("<%= 99999999999999999999 %>", "99999999999999999999"),
        ("<%= \"a\".sub(/b/, \"\") %>", "/"),
        ("<%= 1 ? 2 : 3 %>", "?"),
        ("<%= %>", "this tag ends too early"),
    ] {
        let form = if form.contains(' ') { form.to_string() } else { ["cannot understand `", form, "`"].concat() };
        fails(text, &form);
    }
}

#[test]
fn what_else_is_wrong_with_a_template() {
    for (text, want) in [
        ("a\n<% if 1 %>\nb", "t.erb:2:4: this block has no end"),
        ("<% end %> x", "end without a block"),
        ("<% else %>", "else without an if"),
        ("<% if 1 %><% else %><% else %><% end %>", "else cannot stand here"),
        ("<% unless 1 %><% elsif 1 %><% end %>", "elsif cannot stand here"),
        ("<%= 1", "t.erb:1:1: this tag is not closed by %>"),
        ("<%= \"a %>", "this string is not closed"),
        ("<%= @reconfig[\"dta\"] %>", "@reconfig has \"data\", \"altdata\" and \"watched\""),
        ("<% \"a\" %>", "a statement must be if, elsif, else, unless, end or X.each do |v|"),
        ("<%= \"a\".split(\"b\", 2) %>", ".split does not take so many arguments"),
        ("<%= [].first(2) %>", ".first does not take so many arguments"),
    ] {
        fails(text, want);
    }
    // A sample of reconfig's README has one `end` too many behind all the rest.
    assert_eq!(run("a<% end %>\n \n", &[("/k", b"")], 10).unwrap(), "a\n \n");
}

#[test]
fn what_goes_wrong_with_values() {
    for (text, want) in [
        ("x\n<%= @reconfig[\"data\"][\"/none\"].split(\",\") %>", "t.erb:2:31: nil has no method split"),
        ("<% @reconfig[\"data\"][\"/none\"].each do |x| %><% end %>", "nil has no method each"),
        ("<%= nil[1] %>", "nil has no []"),
        ("<%= \"a\".keys %>", "a string has no method keys"),
        ("<%= [1, \"a\"].sort %>", "a number cannot be sorted with a string"),
        ("<%= 1 < \"a\" %>", "a number cannot be compared with a string"),
        ("<%= nil < 1 %>", "nil cannot be compared with a number"),
        ("<%= \"a\".gsub(1, \"a\") %>", "gsub takes a string, not a number"),
        ("<%= [1][\"a\"] %>", "an array cannot be indexed with a string"),
        (
            "<%= JSON.parse(@reconfig[\"data\"][\"/k/bin\"]) %>",
            "JSON.parse takes a string, not a value that is no UTF-8",
        ),
        ("<%= JSON.parse(\"{\") %>", "JSON.parse: unexpected end of JSON input"),
        ("<%= JSON.parse(\"99999999999999999999\") %>", "JSON.parse: an integer has more than 64 bits"),
        ("<%= JSON.pretty_generate(@reconfig[\"data\"]) %>", "the value of /k/bin is not UTF-8 text"),
        ("<%= [@reconfig[\"data\"][\"/k/bin\"]].join(\"\") %>", "no UTF-8 text cannot be part of a string"),
        ("<%= \"99999999999999999999\".to_i %>", "the number has more than 64 bits"),
    ] {
        fails(text, want);
    }
    let out = run("<%= @reconfig[\"data\"][\"/k/bin\"] %>", &[("/k/bin", b"\xff\x00")], 10).unwrap();
    assert_eq!(out, "\u{fffd}\0", "a value goes through as it is");
}

#[test]
fn a_missing_key_is_waited_for() {
    let e = run("x", &[("/kk", b"1")], 10).err().unwrap();
    assert!(e.kind == Kind::MissingKey && e.text == "key does not exist: /k", "{e}");
}

#[test]
fn work_and_depth_are_bounded() {
    let all = "[1,2,3,4,5,6,7,8,9,0]";
    let loops = |n: usize| {
        let open = format!("<% {all}.each do |x| %>").repeat(n);
        format!("{open}{}", "<% end %>".repeat(n))
    };
    assert_eq!(run(&loops(3), &[("/k", b"")], 10).unwrap(), "");
    fails(&loops(7), "more than 50,000,000 steps");
    fails(&"<% if 1 %>".repeat(101), "blocks nest more than 100 levels deep");
    fails(&["<%= ", &"(".repeat(100_000)].concat(), "not closed");
    fails(&["<%= ", &"(".repeat(100_000), " %>"].concat(), "nests more than 100 levels deep");
    fails(&["<%= ", &"!".repeat(100_000), "1 %>"].concat(), "nests more than 100 levels deep");
    fails(&["<%= ", &"[".repeat(100_000), " %>"].concat(), "nests more than 100 levels deep");
    fails(&["<%= ", &"JSON.parse(".repeat(100_000), " %>"].concat(), "nests more than 100 levels deep");
    let deep = |inner: &str| ["<% [", &"[".repeat(40), inner, &"]".repeat(40), "].each do |x| %>"].concat();
    let text = [deep(""), deep("x"), deep("x"), "<% end %>".repeat(3)].concat();
    fails(&text, "arrays nest more than 100 levels deep");
    fails(&["<%= \"", &"x".repeat(2000), "\" %>"].concat(), "the output is larger than 1000 bytes");
}

#[test]
fn long_chains_are_no_deep_ones() {
    let text = ["<%= 1", &".to_s".repeat(50_000), " %>"].concat();
    assert_eq!(run(&text, &[("/k", b"")], 10).unwrap(), "1");
    let text = ["<%= 1", &" && 1".repeat(50_000), &" || 1".repeat(50_000), " %>"].concat();
    assert_eq!(run(&text, &[("/k", b"")], 10).unwrap(), "1");
}

#[test]
fn a_large_tree_is_looked_up_quickly() {
    let names: Vec<String> = (0..100_000).map(|i| format!("/k/{i:06}")).collect();
    let keys: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &b"v"[..])).collect();
    let text = "<% @reconfig[\"data\"].keys.sort.each do |x| %>\n<%= @reconfig[\"data\"][x] %>\n<% end %>\n";
    assert_eq!(run(text, &keys, 1 << 20).unwrap().len(), 200_000);
}
