//! Templates as confd's users have them: tests/data/real-templates/NAME holds a template, the keys it reads, perhaps
//! its environment, and what Go's text/template with confd's functions makes of it. Each is rendered through the
//! library, and all of them once as a confd tree by the program on a real Consul. Some also come in upon
//! (template.upon), with the same outcome.
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

mod util;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use pilotfish::store::{Snapshot, View};
use pilotfish::template::{Context, Dialect, Template};
use util::*;

struct Sample {
    name: String,
    go: String,
    upon: Option<String>,
    store: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
    expected: String,
}

fn samples() -> Vec<Sample> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/real-templates");
    let mut samples = Vec::new();
    for entry in std::fs::read_dir(&home).unwrap() {
        let dir = entry.unwrap().path();
        let read = |name: &str| std::fs::read_to_string(dir.join(name));
        let must = |name: &str| read(name).unwrap_or_else(|e| panic!("cannot read {}/{name}: {e}", dir.display()));
        samples.push(Sample {
            name: dir.file_name().unwrap().to_str().unwrap().to_string(),
            go: must("template.tmpl"),
            upon: read("template.upon").ok(),
            store: serde_json::from_str(&must("store.json")).unwrap(),
            env: serde_json::from_str(&read("env.json").unwrap_or("{}".to_string())).unwrap(),
            expected: must("expected"),
        });
    }
    samples.sort_by(|a, b| a.name.cmp(&b.name));
    samples
}

/// The first line that differs, with what surrounds it.
fn difference(got: &str, want: &str) -> String {
    let (got_lines, want_lines): (Vec<&str>, Vec<&str>) = (got.split('\n').collect(), want.split('\n').collect());
    let same = got_lines.iter().zip(&want_lines).take_while(|(a, b)| a == b).count();
    format!("line {}:\n  got  {:?}\n  want {:?}\n{got}", same + 1, got_lines.get(same), want_lines.get(same))
}

#[test]
fn rendered_by_the_library() {
    let samples = samples();
    let (mut wrong, mut renders) = (Vec::new(), 0);
    for s in &samples {
        let entries = s.store.iter().map(|(k, v)| (Arc::from(k.as_str()), Arc::from(v.as_bytes())));
        let snapshot = Snapshot::new(entries.collect());
        let env = |name: &str| s.env.get(name).cloned();
        let texts = [("template.tmpl", Some(&s.go), Dialect::Go), ("template.upon", s.upon.as_ref(), Dialect::Upon)];
        for (file, text, dialect) in texts {
            let Some(text) = text else { continue };
            let context = Context { store: View::new(&snapshot), env: &env, max_output: 1 << 20 };
            let got = Template::compile(file, text, dialect).and_then(|t| t.render(&context));
            renders += 1;
            match got.map(|bytes| String::from_utf8(bytes).unwrap()) {
                Ok(got) if got == s.expected => {}
                Ok(got) => wrong.push(format!("{}/{file}, {}", s.name, difference(&got, &s.expected))),
                Err(e) => wrong.push(format!("{}/{file}: {e}", s.name)),
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {renders} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    let in_upon = samples.iter().filter(|s| s.upon.is_some()).count();
    assert!(samples.len() >= 20 && in_upon >= 5, "{} samples, {in_upon} of them in upon", samples.len());
}

#[test]
fn rendered_as_a_confd_tree_on_a_real_consul() {
    let consul = Consul::start();
    let dir = TempDir::new();
    let samples = samples();
    dir.mkdir("out");
    let confdir = dir.mkdir("etc").display().to_string();
    let node = consul.addr();
    let mut confd = pilotfish().args(["confd", "-onetime", "-backend", "consul", "-node", &node, "-confdir", &confdir]);
    for s in &samples {
        for (key, value) in &s.store {
            consul.put(&format!("real/{}/tree{key}", s.name), value);
        }
        for (name, value) in &s.env {
            confd = confd.env(name, value);
        }
        dir.write(format!("etc/templates/{}.tmpl", s.name), &s.go);
        let dest = dir.join("out").join(&s.name);
        let resource = format!(
            "[template]\nsrc = \"{0}.tmpl\"\ndest = \"{1}\"\nprefix = \"/real/{0}/tree\"\nkeys = [\"/\"]\n",
            s.name,
            dest.display()
        );
        dir.write(format!("etc/conf.d/{}.toml", s.name), resource);
    }
    let once = confd.run(secs(60));
    once.expect_exit(Exit::Code(0), secs(1));
    for s in &samples {
        let got = dir.read(format!("out/{}", s.name));
        once.check(got == s.expected, &format!("{}, {}", s.name, difference(&got, &s.expected)));
    }
    assert_eq!(dir.names("out").len(), samples.len(), "a file for each and nothing else");
}
