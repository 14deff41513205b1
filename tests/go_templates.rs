//! Go's text/template beside ours: tests/data/go-templates.json holds templates with what Go 1.19 made of them, with
//! confd's functions over one store. Where Go fails, so do we, with an error that names the template.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    unsafe_code,
    missing_docs,
    dead_code
)]

use std::sync::Arc;

use pilotfish::base64;
use pilotfish::store::{Snapshot, View};
use pilotfish::template::{Context, Dialect, Template};
use serde_json::Value;

/// What differs on purpose, with the reason.
const NOT_ALIKE: &[(&str, &str)] = &[
    ("{{range 3}}x{{end}}", "Go 1.22 ranges over numbers"),
    ("{{with 0}}a{{else with 1}}b{{end}}", "Go 1.23 has `else with`"),
    (r"{{0x1p4}} {{'a'}} {{'\n'}} {{'\u00e9'}} {{'é'}} {{1i}}", "complex numbers are refused"),
    (
        r#"{{printf "%T" (json "{}")}} {{printf "%T" (jsonArray "[]")}} {{printf "%T" nil}} {{printf "%T" (gets "/u/*")}}"#,
        "confd's type is memkv.KVPairs",
    ),
    (r##"{{printf "%#v" (get "/a")}}"##, "confd's type is memkv.KVPair"),
    (r#"{{lsdir "/svc"}} {{ls "/svc"}} {{ls "/svc/"}} {{lsdir "/"}}"#, "confd's lsdir of / lists nothing"),
    (
        r#"{{datetime.Unix | printf "%T"}} {{(datetime.AddDate 1 0 0).Year | printf "%T"}}"#,
        "there is one kind of integer: Unix is an int, not an int64",
    ),
    (
        r#"{{$a := split "3,1,2" ","}}{{$b := reverse $a}}{{$a}}{{$b}}"#,
        "confd's reverse changes its argument; here values never change",
    ),
    (r#"{{printf "\xff"}}"#, "a format that is no UTF-8 is refused"),
    (r#"{{printf "%G %.3g %.10g %#g" 1e-10 1234.5678 0.1 1.0}}"#, "the # of floats is not there"),
    (
        r#"{{datetime.UTC.Location}} {{datetime.UTC.Format "MST -0700 Z07:00"}}"#,
        "times have no Location: they are in UTC",
    ),
];

fn render(template: &str, store: &Snapshot) -> Result<Vec<u8>, String> {
    let compiled = Template::compile("t.tmpl", template, Dialect::Go).map_err(|e| e.text.clone())?;
    let context = Context { store: View::new(store), env: &|_| None, max_output: 1 << 20 };
    compiled.render(&context).map_err(|e| e.text.clone())
}

#[test]
fn what_go_makes_of_templates() {
    let data: Value = serde_json::from_str(include_str!("data/go-templates.json")).unwrap();
    let entry = |(k, v): (&String, &Value)| (Arc::from(k.as_str()), Arc::from(v.as_str().unwrap().as_bytes()));
    let store = Snapshot::new(data["store"].as_object().unwrap().iter().map(entry).collect());
    let mut wrong = Vec::new();
    let cases = data["cases"].as_array().unwrap();
    for case in cases {
        let template = case["template"].as_str().unwrap();
        if NOT_ALIKE.iter().any(|(t, _)| *t == template) {
            continue;
        }
        let ours = render(template, &store);
        let want = case["output"].as_str().map(|s| s.as_bytes().to_vec());
        let want = want.or_else(|| case["base64"].as_str().map(|s| base64::decode(s).unwrap()));
        let fits = match (&ours, &want) {
            (Ok(ours), Some(want)) => ours == want,
            (Err(why), None) => why.contains("t.tmpl"),
            _ => false,
        };
        if !fits {
            let shown = ours.map(|o| String::from_utf8_lossy(&o).into_owned());
            wrong.push(format!("{template:?}\n  Go:   {:?} {:?}\n  ours: {shown:?}", case["output"], case["error"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() > 1290);
    for (template, why) in NOT_ALIKE {
        assert!(cases.iter().any(|c| c["template"] == *template), "there is no case {template} ({why})");
    }
}
