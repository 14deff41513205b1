//! README.md compared with the code: what exists is documented, what is documented exists, and the examples are read
//! by the real front door. What a table of the code does not give is looked up in the source text.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

use pilotfish::formats::yaml;
use pilotfish::front::flags::{self, Flag};
use pilotfish::front::reconfig::KEYS;
use pilotfish::front::{self, Invocation, World, config_controller, containerpilot, kv, options, probe, reconfig};
use pilotfish::plan::{Plan, SourceKind};
use pilotfish::store::{Snapshot, View};
use pilotfish::template::{Context, Dialect, Template, funcs};
use pilotfish::value::Value;
use pilotfish::{driver, error, telemetry};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

static README: &str = include_str!("../README.md");

/// Options of other programs that the page shows.
static FOREIGN: &[&str] = &["--from", "--unix-socket"];
/// Parts of messages that are not ours: of the C library.
static FOREIGN_WORDS: &[&str] = &["Connection refused", "No such file or directory"];

fn top(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn options() -> Vec<Flag> {
    let all = flags::all(options::HELP);
    assert!(all.len() > 20, "the help shows only {} options", all.len());
    all
}

/// Every file below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() { all.extend(files(&entry.path())) } else { all.push(entry.path()) }
    }
    all.sort();
    all
}

/// The text of every file below a folder.
fn text_of(dir: &str) -> String {
    files(&top(dir)).iter().filter_map(|f| fs::read_to_string(f).ok()).collect::<Vec<_>>().join("\n")
}

/// The whole words of capitals, digits and `_` that begin with `prefix` and go on.
fn variables(text: &str, prefix: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
    words.filter(|w| w.starts_with(prefix) && !w.ends_with('_')).map(str::to_string).collect()
}

/// The part of the page under a heading, up to the next one of its level or above.
fn section(heading: &str) -> String {
    let mut found = None;
    let mut lines = Vec::new();
    let mut in_code = false;
    for line in README.lines() {
        in_code ^= line.starts_with("```");
        let level = line.bytes().take_while(|b| *b == b'#').count();
        if !in_code && level > 0 {
            match found {
                None if line[level..].trim() == heading => found = Some(level),
                Some(mine) if level <= mine => break,
                _ => {}
            }
        } else if found.is_some() {
            lines.push(line);
        }
    }
    assert!(found.is_some(), "the page has no heading {heading}");
    lines.join("\n")
}

/// The rows of the tables in a text, without their heads.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut all = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let is_head = lines.get(i + 1).is_some_and(|next| next.starts_with("|--"));
        if !line.starts_with("| ") || is_head {
            continue;
        }
        let cells = line.replace("\\|", "\u{1}");
        let cells = cells.trim_matches('|').split('|').map(|c| c.trim().replace('\u{1}', "|"));
        all.push(cells.collect());
    }
    assert!(!all.is_empty(), "no table in: {text}");
    all
}

/// What stands in backquotes.
fn codes(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_string).collect()
}

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let start = format!("```{language}\n");
    README.split(&start).skip(1).map(|rest| rest[..rest.find("\n```").unwrap() + 1].to_string()).collect()
}

#[test]
fn every_option_has_a_row_and_every_row_an_option() {
    let rows = rows(&section("Options"));
    for o in options() {
        let usage = format!("--{} {}", o.name, o.value);
        let usage = usage.trim();
        let row = rows.iter().find(|r| codes(&r[0])[0] == usage).unwrap_or_else(|| panic!("no row for {usage}"));
        assert_eq!(codes(&row[1]).first().cloned(), o.variable(options::PREFIX), "{usage}");
        if o.letter != ' ' {
            assert_eq!(codes(&row[0])[1], format!("-{}", o.letter), "{usage}");
        }
    }
    assert_eq!(rows.len(), options().len());
}

#[test]
fn every_option_of_kv_both_ways() {
    let rows = rows(&section("Keys by hand"));
    for o in flags::all(kv::OWN) {
        let usage = format!("--{} {}", o.name, o.value);
        let row = rows.iter().find(|r| codes(&r[0])[0] == usage.trim()).unwrap_or_else(|| panic!("no row for {usage}"));
        assert_eq!(codes(&row[0]).get(1).cloned(), (o.letter != ' ').then(|| format!("-{}", o.letter)));
    }
    assert_eq!(rows.len(), flags::all(kv::OWN).len());
}

#[test]
fn every_option_of_health_and_probe_both_ways() {
    let rows: Vec<Vec<String>> = rows(&section("Health")).into_iter().filter(|r| r[0].starts_with("`--")).collect();
    let usages: Vec<String> = flags::all(probe::OWN).iter().map(|f| format!("--{} {}", f.name, f.value)).collect();
    assert_eq!(rows.iter().map(|r| codes(&r[0])[0].clone()).collect::<Vec<_>>(), usages);
}

#[test]
fn every_metric_and_every_path_both_ways() {
    let documented: Vec<String> = rows(&section("Metrics")).iter().map(|r| codes(&r[0])[0].clone()).collect();
    let mut known: Vec<String> = telemetry::COUNTERS
        .iter()
        .map(|(name, label, ..)| if label.is_empty() { (*name).to_string() } else { format!("{name}{{{label}}}") })
        .collect();
    known.dedup();
    known.extend(telemetry::TIMES.iter().map(|(name, ..)| (*name).to_string()));
    known.extend(telemetry::GAUGES.iter().map(|(name, _)| (*name).to_string()));
    let bare = |all: &[String]| all.iter().map(|n| n.split('{').next().unwrap().to_string()).collect::<Vec<_>>();
    assert_eq!(bare(&documented), bare(&known));
    for name in known.iter().filter(|n| n.contains('{')) {
        assert!(documented.contains(name), "{name} stands there without its label");
    }
    let shown = rows(&section("Health")).into_iter().filter(|r| r.len() == 3).map(|r| codes(&r[0])[0].clone());
    let code = fs::read_to_string(top("src/telemetry/mod.rs")).unwrap();
    let answered =
        code.lines().filter_map(|l| l.trim().strip_prefix('"')?.split_once("\" =>")).map(|(p, _)| p.to_string());
    assert_eq!(shown.collect::<Vec<_>>(), answered.collect::<Vec<_>>());
}

#[test]
fn every_request_of_the_control_socket_and_every_line_of_its_status() {
    let rows = rows(&section("Asking and telling"));
    let names: Vec<String> = rows.iter().flat_map(|r| codes(&r[0])).collect();
    let code = fs::read_to_string(top("src/telemetry/control.rs")).unwrap();
    let body = &code[code.find("pub fn answer").unwrap()..code.find("#[cfg(test)]").unwrap()];
    let paths: Vec<&str> =
        body.lines().filter_map(|l| l.trim().strip_prefix("\"/")?.split_once('"')).map(|(p, _)| p).collect();
    let shown: Vec<&str> = names.iter().filter_map(|n| n.split_once(" /")).map(|(_, p)| p).collect();
    assert_eq!((shown.as_slice(), paths.len()), (paths.as_slice(), 4));
    let mut lines: Vec<String> = body.split("line(out, \"").skip(1).map(|l| l[..l.find('"').unwrap()].into()).collect();
    let at = lines.iter().position(|l| l == "certificate ").unwrap();
    lines.splice(at..at, telemetry::control::COUNTED.split(',').map(str::to_string));
    let shown: Vec<String> = names.iter().filter(|n| !n.contains('/')).cloned().collect();
    // What goes on with a name has it in capitals there.
    let bare = |n: &String| n.trim_end_matches(|c: char| c.is_ascii_uppercase()).to_string();
    assert_eq!(shown.iter().map(bare).collect::<Vec<_>>(), lines);
}

#[test]
fn the_example_of_folders_of_files() {
    let all = blocks("toml");
    let block = all.iter().find(|b| b.contains("[[tree]]")).unwrap();
    let plan = enter(&home("tree"), vec![["--config=", block].concat()], &[]);
    assert_eq!(dests(&plan), ["/etc/prometheus/rules"]);
    assert!(plan.templates[0].tree.as_ref().is_some_and(|t| t.is_swapped && t.dir_mode == 0o755));
    assert_eq!((plan.telemetry.as_deref(), prefixes(&plan)), (Some("127.0.0.1:9100"), vec!["/prometheus/rules/"]));
    driver::check(&plan).unwrap();
}

#[test]
fn the_examples_of_services() {
    let all = blocks("toml");
    let balancer = all.iter().find(|b| b.contains("services:")).unwrap();
    let plan = enter(&home("balancer"), vec![["--config=", balancer].concat()], &[]);
    assert_eq!((dests(&plan), prefixes(&plan)), (vec!["/etc/haproxy/haproxy.cfg".into()], vec!["/api?v2", "/web"]));
    let keys = [("/api/b", "10.0.0.2:80"), ("/web/a", "10.0.0.1:80"), ("/web/c", "[fd00::1]:80")];
    let snapshot = Snapshot::new(keys.map(|(k, v)| (Arc::from(k), Arc::from(v.as_bytes()))).to_vec());
    let ctx = Context { store: View::new(&snapshot), env: &|_| None, max_output: 1 << 20 };
    let template = &plan.templates[0];
    let rendered = Template::compile("haproxy", &template.text, template.dialect).and_then(|t| t.render(&ctx));
    let out = String::from_utf8(rendered.unwrap_or_else(|e| panic!("{e}"))).unwrap();
    let servers: Vec<&str> = out.lines().map(str::trim).filter(|l| l.starts_with("server ")).collect();
    assert_eq!(servers, ["server a 10.0.0.1:80", "server c [fd00::1]:80", "server b 10.0.0.2:80"]);

    // A host with an address: the service's.
    let node = all.iter().find(|b| b.contains("[[service]]")).unwrap();
    let host = || front::Host {
        name: "node1".to_string(),
        addresses: vec![("eth0".to_string(), "10.0.0.9".parse().unwrap())],
        pid: 7,
    };
    let missing = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    let world = World { vars: &[], read: &missing, files: &|_| Ok(Vec::new()), host: &host };
    let read = front::read("pilotfish", &[["--config=", node].concat()], &world);
    let plan = match read {
        Ok(Invocation::Run(plan)) => plan,
        Ok(_) => panic!("nothing to run"),
        Err(e) => panic!("{e}"),
    };
    let service = &plan.services[0];
    assert_eq!((service.id.as_str(), service.address.as_str(), service.ttl), ("web-node1", "10.0.0.9", 15_000));
    let names: Vec<&str> = plan.handlers.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(names, ["health check of web", "task tidy", "sensor app_queue_length", "service:db"]);
    assert!(plan.hooks.pre_stop.is_some() && plan.app.as_ref().is_some_and(|a| a.stop_timeout == 4_000));
}

/// A value inside of maps.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |v, key| v.as_map()?.get(key))
}

fn texts(value: Option<&Value>) -> Vec<String> {
    value.and_then(Value::as_list).unwrap_or(&[]).iter().map(|v| v.as_str().unwrap().to_string()).collect()
}

#[test]
fn the_manifests_for_kubernetes() {
    for (file, root, wanted) in [
        ("prometheus.yaml", "/config", vec![("monitoring", "prometheus", false)]),
        ("nginx.yaml", "/config", vec![("web", "nginx", false), ("web", "site", true)]),
    ] {
        let path = top("scratch-image/examples/kubernetes").join(file);
        let all = yaml::parse(file, &fs::read_to_string(&path).unwrap()).unwrap();
        let kind = |kind: &str| all.iter().find(|d| at(d, "kind").and_then(Value::as_str) == Some(kind)).unwrap();
        let pod = at(kind("Deployment"), "spec.template.spec").unwrap();
        assert!(matches!(at(pod, "securityContext.runAsNonRoot"), Some(Value::Bool(true))), "{file}");
        let mut plans = Vec::new();
        for key in ["initContainers", "containers"] {
            for c in at(pod, key).and_then(Value::as_list).unwrap_or(&[]) {
                for (name, want) in [("allowPrivilegeEscalation", false), ("readOnlyRootFilesystem", true)] {
                    let found = at(c, "securityContext").and_then(|s| at(s, name));
                    assert!(matches!(found, Some(Value::Bool(b)) if *b == want), "{file}: {name}");
                }
                assert_eq!(texts(at(c, "securityContext.capabilities.drop")), ["ALL"], "{file}");
                let probe = texts(at(c, "startupProbe.exec.command"));
                if probe.is_empty() {
                    continue; // not ours
                }
                let mut vars: Vec<(String, String)> = at(c, "env")
                    .and_then(Value::as_list)
                    .unwrap()
                    .iter()
                    .map(|v| ["name", "value"].map(|k| at(v, k).and_then(Value::as_str).unwrap().to_string()).into())
                    .collect();
                vars.push(("KUBERNETES_SERVICE_HOST".to_string(), "10.0.0.1".to_string()));
                let missing = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
                let world = World {
                    vars: &vars,
                    read: &missing,
                    files: &|_| Ok(Vec::new()),
                    host: &pilotfish::front::Host::default,
                };
                assert_eq!(probe[0], "/pilotfish");
                let Ok(Invocation::Probe(asked)) = front::read("pilotfish", &probe[1..], &world) else {
                    panic!("{probe:?}")
                };
                assert_eq!((asked.address.as_str(), asked.path.as_str()), ("http://localhost:9100", "/startupz"));
                let args = texts(at(c, "args"));
                let Ok(Invocation::Run(plan)) = front::read("pilotfish", &args, &world) else {
                    panic!("{file}: {args:?}")
                };
                plans.push(plan);
            }
        }
        let [plan] = plans.as_slice() else { panic!("{file}: {} containers of ours", plans.len()) };
        driver::check(plan).unwrap();
        assert_eq!((dests(plan), plan.telemetry.as_deref()), (vec![root.to_string()], Some(":9100")));
        assert!(plan.templates[0].tree.as_ref().is_some_and(|t| t.is_swapped));
        // It may read what it is to read, and no more.
        let mut found = Vec::new();
        for source in &plan.sources {
            let SourceKind::Kubernetes(k) = &source.kind else { panic!("{file}: {}", source.name) };
            found.push((k.namespace.as_str(), k.name.as_str(), k.is_secret));
        }
        assert_eq!(found, wanted, "{file}");
        let rules: Vec<_> = at(kind("Role"), "rules").and_then(Value::as_list).unwrap().to_vec();
        assert_eq!(rules.len(), wanted.len());
        for (rule, (_, name, is_secret)) in rules.iter().zip(wanted) {
            assert_eq!(texts(at(rule, "resources")), [if is_secret { "secrets" } else { "configmaps" }]);
            assert_eq!(
                (texts(at(rule, "resourceNames")), texts(at(rule, "verbs"))),
                (vec![name.to_string()], vec!["list".to_string(), "watch".to_string()])
            );
        }
    }
}

#[test]
fn every_option_and_variable_named_exists() {
    let all: Vec<Flag> = [options::HELP, kv::OWN, probe::OWN, reconfig::HELP, config_controller::HELP]
        .into_iter()
        .flat_map(flags::all)
        .collect();
    for word in README.split(|c: char| !c.is_ascii_lowercase() && !"-.".contains(c)) {
        // A dot: an option of somebody else, such as Prometheus.
        let name = word.trim_end_matches('.');
        if name.len() < 3 || !name.starts_with("--") || name.starts_with("---") || name.contains('.') {
            continue;
        }
        let is_ours = all.iter().any(|f| f.name == &name[2..]);
        assert!(is_ours || FOREIGN.contains(&name), "the page names {name}, which is no option");
    }
    let mut known: BTreeSet<String> = options().iter().filter_map(|o| o.variable(options::PREFIX)).collect();
    known.extend(variables(&text_of("tests/util"), "PILOTFISH_"));
    known.extend(variables(&fs::read_to_string(top("build.sh")).unwrap(), "PILOTFISH_"));
    known.extend(variables(&fs::read_to_string(top("src/front/duties.rs")).unwrap(), "PILOTFISH_"));
    for name in variables(README, "PILOTFISH_") {
        assert!(known.contains(&name), "the page names {name}, which nothing reads");
    }
}

#[test]
fn every_variable_of_consul_and_confd() {
    let code = [text_of("src/front"), text_of("src/source")].concat();
    let section = section("Environment");
    for prefix in ["CONSUL_", "CONFD_", "ETCDCTL_"] {
        let known = variables(&code, prefix);
        assert!(known.len() > 4, "the scan found only {known:?}");
        let documented = variables(&section, prefix);
        for name in &known {
            let is_there = documented.contains(name) || name == "CONFD_TEMPLATE_x" || name == "CONFD_CONFDFILE_x";
            assert!(is_there, "{name} is not in the page's section Environment");
        }
        for name in variables(README, prefix) {
            // CONFD_PATH is part of what confd-sidecar's users set: the page says that it is not read.
            let base = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
            let of_confd = pilotfish::front::confd_flags().iter().any(|(flag, _)| {
                name.strip_prefix("CONFD_") == Some(flag.replace('-', "_").to_ascii_uppercase().as_str())
            });
            let is_read = known.contains(base) || of_confd || name == "CONFD_PATH";
            assert!(is_read, "the page names {name}, which nothing reads");
        }
    }
}

/// The `static NAME: Keys` tables of the front doors.
fn key_tables() -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    for part in text_of("src/front").split("\nstatic ").skip(1) {
        if let Some((name, rest)) = part.split_once(": Keys = \"") {
            let words = rest[..rest.find('"').unwrap()].split_whitespace().filter(|w| *w != "\\");
            all.push((name.to_string(), words.map(str::to_string).collect()));
        }
    }
    all
}

#[test]
fn every_key_of_the_files_both_ways() {
    let tables = key_tables();
    assert!(tables.len() >= 7, "the scan found only {} tables of keys", tables.len());
    for (name, keys) in tables {
        let heading = match name.as_str() {
            "TOP" => "Top",
            "SOURCE" => "[source.NAME]",
            "TEMPLATE" => "[[template]]",
            "APP" => "[app]",
            "RELOAD" => "[app.reload]",
            "SETTLE" => "[settle]",
            "LOG" => "[log]",
            "TREE" => "[[tree]]",
            "TELEMETRY" => "[telemetry]",
            "CATALOG" => "[catalog]",
            "SERVICE" => "[[service]]",
            "BACKEND" => "[[backend]]",
            "HOOKS" => "[hooks]",
            "TASK" => "[[task]]",
            "COPROCESS" => "[[coprocess]]",
            "SENSOR" => "[[sensor]]",
            "KEYS" => "Template resources",
            other => panic!("which section of the page is the table {other} of src/front?"),
        };
        let documented: BTreeSet<String> = rows(&section(heading)).iter().flat_map(|r| codes(&r[0])).collect();
        let keys: BTreeSet<String> = keys.into_iter().collect();
        assert_eq!(documented, keys, "section {heading} and the table {name}");
    }
}

#[test]
fn every_function_both_ways_with_its_arguments() {
    let rows = rows(&section("Functions"));
    for f in funcs::all() {
        let wanted = [f.name];
        let row = rows.iter().find(|r| codes(&r[0]) == wanted).unwrap_or_else(|| panic!("no row for {}", f.name));
        let (mut least, mut most, mut many) = (0, 0, false);
        for word in row[1].split_whitespace() {
            many |= word.contains("...");
            most += 1;
            least += usize::from(!word.starts_with('['));
        }
        assert_eq!(funcs::arity(f), (least, (!many).then_some(most)), "arguments of {}: {}", f.name, row[1]);
        assert!(row[2].len() > 3, "{} gives nothing", f.name);
    }
    for row in &rows {
        let name = &codes(&row[0])[0];
        assert!(funcs::find(name).is_some(), "there is no function {name}");
    }
}

#[test]
fn every_exit_code() {
    let documented: Vec<String> = rows(&section("Exit codes")).iter().map(|r| r[0].clone()).collect();
    let kinds = error_codes();
    assert!(kinds.len() >= 4, "the scan found only {kinds:?}");
    for code in kinds.iter().map(String::as_str).chain(["126", "127", "128 + n"]) {
        assert!(documented.iter().any(|d| d == code), "exit code {code} has no row");
    }
    assert!(documented.contains(&error::Error::usage("").exit_code().to_string()));
}

/// The numbers in `Error::exit_code`.
fn error_codes() -> Vec<String> {
    let text = fs::read_to_string(top("src/error.rs")).unwrap();
    let body =
        text.split("fn exit_code").nth(1).expect("src/error.rs has exit_code").split("\n    }\n").next().unwrap();
    let after = body.split("=> ").skip(1);
    after.map(|s| s.chars().take_while(char::is_ascii_digit).collect::<String>()).filter(|s| !s.is_empty()).collect()
}

#[test]
fn every_flag_of_confd_both_ways() {
    let mut documented = BTreeSet::new();
    for row in rows(&section("confd")).iter().filter(|r| r[0].starts_with("`-") && r.len() == 3) {
        let keys = codes(&row[1]);
        for (i, flag) in codes(&row[0]).iter().enumerate() {
            documented.insert((flag[1..].to_string(), keys.get(i).cloned().unwrap_or_default()));
        }
    }
    let known: BTreeSet<(String, String)> =
        pilotfish::front::confd_flags().iter().map(|(f, k)| ((*f).to_string(), (*k).to_string())).collect();
    assert_eq!(documented, known);
}

#[test]
fn every_flag_of_config_controller_both_ways() {
    let shown: Vec<String> = rows(&section("config-controller"))
        .iter()
        .filter(|r| r[0].starts_with("`--"))
        .flat_map(|r| codes(&r[0]))
        .collect();
    let known: Vec<String> = flags::all(config_controller::HELP).iter().map(|f| format!("--{}", f.name)).collect();
    assert_eq!(shown, known);
}

#[test]
fn every_flag_key_and_function_of_containerpilot_both_ways() {
    let all = rows(&section("ContainerPilot"));
    let (flags_shown, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|r| r[0].starts_with("`-"));
    let known: Vec<String> = flags::all(containerpilot::HELP).iter().map(|f| format!("-{}", f.name)).collect();
    assert_eq!(flags_shown.iter().flat_map(|r| codes(&r[0])).collect::<Vec<_>>(), known);
    let functions: Vec<String> = funcs::all_pilot().iter().map(|f| f.name.to_string()).collect();
    let (functions_shown, rest): (Vec<_>, Vec<_>) =
        rest.into_iter().filter(|r| r.len() == 3).partition(|r| functions.contains(&codes(&r[0])[0]));
    assert_eq!(functions_shown.iter().flat_map(|r| codes(&r[0])).collect::<Vec<_>>(), functions);
    let mut keys = BTreeSet::new();
    for (at, of) in containerpilot::KEYS {
        keys.extend(of.split(' ').map(|key| if at.is_empty() { key.to_string() } else { format!("{at}.{key}") }));
    }
    assert!(keys.len() > 50, "{keys:?}");
    assert_eq!(rest.iter().flat_map(|r| codes(&r[0])).collect::<BTreeSet<_>>(), keys);
}

#[test]
fn the_example_of_containerpilot() {
    let block = &blocks("json5")[0];
    let host = || front::Host {
        name: "h".to_string(),
        addresses: vec![("eth0".to_string(), "10.0.0.7".parse().unwrap())],
        pid: 1,
    };
    let read = |path: &Path| if path == Path::new("/c.json") { Ok(block.as_bytes().to_vec()) } else { fs::read(path) };
    let world = World { vars: &[], read: &read, files: &|_| Ok(Vec::new()), host: &host };
    let args = ["containerpilot", "-config", "file:///c.json", "/my-app"].map(str::to_string).to_vec();
    let Ok(Invocation::Run(plan)) = front::read("pilotfish", &args, &world) else { panic!("nothing to run") };
    driver::check(&plan).unwrap();
    let names: Vec<&str> = plan.handlers.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "health check of app",
            "onChange of db",
            "health check of containerpilot",
            "sensor app_queue_length",
            "service:db"
        ]
    );
    assert_eq!((plan.services.len(), plan.telemetry.as_deref()), (2, Some(":9090")));
}

#[test]
fn every_flag_key_and_method_of_reconfig_both_ways() {
    let section_rows = rows(&section("reconfig"));
    let first = |rows: &[Vec<String>]| rows.iter().flat_map(|r| codes(&r[0])).collect::<Vec<String>>();
    let (shown, rest): (Vec<_>, Vec<_>) = section_rows.into_iter().partition(|r| r[0].starts_with("`--"));
    let known: Vec<String> = flags::all(reconfig::HELP)
        .iter()
        .flat_map(|f| {
            let letter = (f.letter != ' ').then(|| format!("-{}", f.letter));
            std::iter::once(format!("--{}", f.name)).chain(letter)
        })
        .collect();
    assert_eq!(first(&shown), known);
    let keys: Vec<_> = rest.into_iter().filter(|r| KEYS.iter().any(|(k, _)| r[0] == format!("`{k}`"))).collect();
    assert_eq!(first(&keys), KEYS.iter().map(|(k, _)| (*k).to_string()).collect::<Vec<_>>());
    let methods: Vec<_> = rows(&section("ERB")).into_iter().filter(|r| r.len() == 3).collect();
    assert_eq!(first(&methods), pilotfish::template::erb::methods());
}

#[test]
fn the_example_of_reconfig() {
    let (json, erb) = (blocks("json"), blocks("erb"));
    let (json, erb) = (json.iter().find(|b| b.contains("altkeys")).unwrap(), &erb[0]);
    let home = home("reconfig");
    for (name, text) in [("conf.d/app.json", json), ("templates/app.conf.erb", erb)] {
        fs::create_dir_all(home.join(name).parent().unwrap()).unwrap();
        fs::write(home.join(name), text).unwrap();
    }
    let vars = [];
    let world = World {
        vars: &vars,
        read: &|p| fs::read(p),
        files: &|dir| Ok(files(dir)),
        host: &pilotfish::front::Host::default,
    };
    let args = ["reconfig", "-c", home.to_str().unwrap()].map(str::to_string).to_vec();
    let Ok(Invocation::Run(plan)) = front::read("pilotfish", &args, &world) else { panic!("nothing to run") };
    driver::check(&plan).unwrap();
    assert_eq!((dests(&plan), prefixes(&plan)), (vec!["/etc/app.conf".to_string()], vec!["/app"]));
    assert_eq!(plan.templates[0].check.as_ref().unwrap().argv, ["app -t {src}"]);
    let keys = [("/app/a", "10.0.0.1:80"), ("/app/b", "10.0.0.2:80"), ("0/limits/burst", "7")];
    let snapshot = Snapshot::new(keys.map(|(k, v)| (Arc::from(k), Arc::from(v.as_bytes()))).to_vec());
    let ctx = Context { store: View::new(&snapshot), env: &|_| None, max_output: 1 << 20 };
    let template = Template::compile_in("erb", erb, Dialect::Erb, plan.scopes.first()).unwrap();
    let out = String::from_utf8(template.render(&ctx).unwrap()).unwrap();
    assert_eq!(out, "# made from /app\nserver a 10.0.0.1;\nserver b 10.0.0.2;\nburst 7;\n");
}

#[test]
fn every_sub_command() {
    let words: Vec<&str> = pilotfish::front::WORDS.split(' ').collect();
    assert!(words.contains(&"check"), "{words:?}");
    let ways = [
        "Native",
        "confd",
        "confd-sidecar",
        "config-controller",
        "ContainerPilot",
        "reconfig",
        "Keys by hand",
        "Health",
        "Asking and telling",
    ]
    .map(section)
    .concat();
    for word in words {
        assert!(ways.contains(&format!("pilotfish {word}")), "the sub-command {word} is not on the page");
    }
}

#[test]
fn every_command_of_build_sh_both_ways() {
    let text = fs::read_to_string(top("build.sh")).unwrap();
    let entry = text.split("\ncase $command in").nth(1).expect("the commands at the end of build.sh");
    let mut commands = BTreeSet::new();
    for line in entry.lines().filter_map(|l| l.trim().split_once(") ")) {
        commands.extend(line.0.split(" | ").filter(|w| !w.starts_with(['-', '*'])).map(str::to_string));
    }
    assert!(commands.len() >= 9, "the scan found only {commands:?}");
    let section = section("Build and test");
    for command in &commands {
        assert!(section.contains(&format!("./build.sh {command}")), "./build.sh {command} is not on the page");
    }
    for rest in README.split("./build.sh ").skip(1) {
        let word: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
        assert!(commands.contains(&word), "the page names ./build.sh {word}");
    }
}

/// The fixed parts of a message: what stands between placeholders, which are single capitals, `x`, `y` and `...`, and
/// between colons, where messages are put together.
fn fixed_parts(message: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for word in message.replace("...", " X ").replace(": ", " X ").split_inclusive([' ', '\'', '"', '[', ']', ',', ';'])
    {
        let bare = word.trim_end_matches([' ', '\'', '"', '?', ';', ',', ':', ']']);
        if matches!(bare, "x" | "y") || (bare.len() == 1 && bare.chars().all(|c| c.is_ascii_uppercase())) {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push_str(word);
        }
    }
    let parts = parts.iter().map(|p| p.trim_matches([' ', '\'', '"', ':', ';', '[', ']', ',', '-']).to_string());
    parts.filter(|p| p.len() > 2).collect()
}

#[test]
fn messages_are_those_of_the_code() {
    assert_eq!(fixed_parts("giving up after T"), ["giving up after"]);
    assert_eq!(fixed_parts("X has md5sum A should be B"), ["has md5sum", "should be"]);
    let code = text_of("src");
    let (mut seen, mut unknown) = (0, Vec::new());
    for row in ["Troubleshooting", "Log"].iter().flat_map(|h| rows(&section(h))) {
        for message in codes(&row[0]) {
            for part in fixed_parts(&message) {
                let mut words = part;
                for foreign in FOREIGN_WORDS {
                    words = words.replace(foreign, "");
                }
                let words = words.trim_matches([' ', ';', ':']);
                seen += 1;
                if !code.contains(words) {
                    unknown.push(format!("{words}  (in: {message})"));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "no message of the code has:\n{}", unknown.join("\n"));
    assert!(seen > 30, "only {seen} messages were found on the page");
}

#[test]
fn links_and_layout_lead_somewhere() {
    let mut slugs = BTreeSet::new();
    for line in README.lines().filter(|l| l.starts_with('#')) {
        let slug = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        slugs.insert(slug.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect::<String>());
    }
    for link in README.split("](").skip(1).map(|rest| &rest[..rest.find(')').unwrap()]) {
        match link.strip_prefix('#') {
            Some(slug) => assert!(slugs.contains(slug), "no heading for #{slug}"),
            None => assert!(link.starts_with("https://") || top(link).exists(), "there is no {link}"),
        }
    }
    let layout = section("Layout");
    for entry in fs::read_dir(top("src")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        // A file beside its folder is one room; lib.rs is the list of rooms.
        let is_listed = layout.contains(name.trim_end_matches(".rs"));
        assert!(is_listed || name == "lib.rs", "src/{name} is not in the page's layout");
    }
    for line in layout.lines().filter_map(|l| l.strip_prefix("    ")) {
        let path = line.split([' ', ',']).next().unwrap();
        assert!(top(path).exists(), "there is no {path}");
    }
}

// --- the examples -------------------------------------------------------------------------------------------------

/// What the front door makes of a command line, where `home` is the working folder and the root.
fn enter(home: &Path, args: Vec<String>, vars: &[(String, String)]) -> Plan {
    let read = |path: &Path| -> std::io::Result<Vec<u8>> {
        if path == Path::new("/etc/passwd") {
            return Ok(b"www-data:x:33:33:::\n".to_vec());
        }
        fs::read(home.join(path.strip_prefix("/").unwrap_or(path)))
    };
    let world = World { vars, read: &read, files: &|_| Ok(Vec::new()), host: &pilotfish::front::Host::default };
    let said = args.join(" ");
    match front::read("pilotfish", &args, &world) {
        Ok(Invocation::Run(plan)) => {
            driver::check(&plan).unwrap_or_else(|e| panic!("pilotfish {said}: {e}"));
            *plan
        }
        Ok(_) => panic!("pilotfish {said}: nothing to run"),
        Err(e) => panic!("pilotfish {said}: {e}"),
    }
}

fn home(name: &str) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme").join(name);
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(&home).unwrap();
    home
}

/// Runs a block with a `pilotfish` that only notes its arguments and environment, then enters with these.
fn run_block(name: &str, block: &str) -> Plan {
    use std::os::unix::fs::PermissionsExt;
    let home = home(name);
    let bin = home.join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("pilotfish"), "#!/bin/sh\n{ printf '%s\\0' \"$#\" \"$@\"; env -0; } > \"$NOTE\"\n").unwrap();
    fs::set_permissions(bin.join("pilotfish"), fs::Permissions::from_mode(0o755)).unwrap();
    let note = home.join("note");
    let mut sh = Command::new("sh");
    sh.args(["-euc", block]).current_dir(&home).env_clear();
    sh.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).env("NOTE", &note);
    let done = sh.output().unwrap();
    assert!(done.status.success(), "{block}\n{}", String::from_utf8_lossy(&done.stderr));
    let noted =
        String::from_utf8(fs::read(&note).unwrap_or_else(|e| panic!("{block}\nno pilotfish ran: {e}"))).unwrap();
    let mut words = noted.split_terminator('\0');
    let count: usize = words.next().unwrap().parse().unwrap();
    let args: Vec<String> = words.by_ref().take(count).map(str::to_string).collect();
    let vars: Vec<(String, String)> =
        words.filter_map(|w| w.split_once('=')).map(|(n, v)| (n.to_string(), v.to_string())).collect();
    enter(&home, args, &vars)
}

/// The examples of a shell, found by a word in them.
fn example(word: &str) -> Plan {
    let all: Vec<String> = blocks("sh").into_iter().filter(|b| b.starts_with("# example\n")).collect();
    let mut found = all.iter().filter(|b| b.contains(word));
    let block = found.next().unwrap_or_else(|| panic!("no example with {word}"));
    assert!(found.next().is_none(), "several examples with {word}");
    run_block(word.trim_matches('/'), block)
}

fn argv(plan: &Plan) -> Vec<&str> {
    plan.app.as_ref().map_or_else(Vec::new, |a| a.argv.iter().map(String::as_str).collect())
}

fn dests(plan: &Plan) -> Vec<String> {
    plan.templates.iter().map(|t| t.dest.path.display().to_string()).collect()
}

fn prefixes(plan: &Plan) -> Vec<&str> {
    plan.watches.iter().map(|w| w.prefix.as_str()).collect()
}

#[test]
fn the_example_of_the_quick_start() {
    let plan = example("demo.sh");
    assert_eq!(argv(&plan), ["tests/apps/demo.sh", "app.conf"]);
    assert!(top("tests/apps/demo.sh").exists());
    assert_eq!(dests(&plan), ["app.conf"]);
    assert!(matches!(&plan.sources[0].kind, SourceKind::Dir(d) if d == Path::new("keys")));
}

#[test]
fn the_examples_of_the_native_way() {
    let plan = example("nginx.conf.tmpl");
    assert_eq!(argv(&plan)[0], "nginx");
    assert_eq!(dests(&plan), ["/etc/nginx/nginx.conf"]);
    assert_eq!(prefixes(&plan), ["/prod/"]);
    let plan = example("PILOTFISH_CONFIG");
    assert_eq!((argv(&plan), dests(&plan)), (vec!["sleep", "60"], vec!["/tmp/app.conf".to_string()]));
    assert!(matches!(plan.sources[0].kind, SourceKind::Env));
}

#[test]
fn the_example_of_the_load_balancer() {
    let plan = example("balancer.toml");
    assert_eq!((argv(&plan), dests(&plan)), (vec!["nginx", "-g", "daemon off;"], vec!["/etc/nginx/nginx.conf".into()]));
    assert_eq!(prefixes(&plan), ["/test"]);
    assert!(plan.templates[0].check.is_some() && matches!(&plan.sources[0].kind, SourceKind::Etcd(_)));
}

#[test]
fn the_example_of_confd_sidecar() {
    let plan = example("CONFD_TEMPLATE_1");
    assert_eq!(argv(&plan), ["prometheus", "--config.file=/tmp/prometheus/prometheus.yml"]);
    assert_eq!(dests(&plan), ["/tmp/prometheus/prometheus.yml"]);
    assert_eq!(prefixes(&plan), ["/prometheus/config/nodes"]);
    assert!(plan.notes.iter().any(|(_, text)| text == "Backend nodes set to 127.0.0.1:8500"));
}

#[test]
fn the_environment_of_marathon() {
    let mut all: Vec<String> = blocks("json");
    all.retain(|b| b.contains("\"env\""));
    assert_eq!(all.len(), 1);
    let json: serde_json::Value = serde_json::from_str(&all[0]).unwrap();
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_string();
    let args = json["args"].as_array().unwrap().iter().map(text).collect();
    let vars: Vec<_> = json["env"].as_object().unwrap().iter().map(|(n, v)| (n.clone(), text(v))).collect();
    let plan = enter(&home("marathon"), args, &vars);
    assert_eq!(argv(&plan), ["prometheus", "--config.file=/etc/prometheus/prometheus.yml"]);
    assert_eq!(prefixes(&plan), ["/prometheus/configfile"]);
    assert_eq!(plan.templates[0].text, "{{ getv \"/prometheus/configfile\" }}\n");
}

#[test]
fn the_example_of_pilotfish_toml() {
    let all = blocks("toml");
    assert_eq!(all.len(), 6);
    let home = home("toml");
    fs::write(home.join("pilotfish.toml"), &all[0]).unwrap();
    fs::write(home.join("nginx.conf.tmpl"), "{{getv \"/a\"}}").unwrap();
    let plan = enter(&home, vec!["--config".to_string(), "pilotfish.toml".to_string()], &[]);
    assert_eq!(argv(&plan), ["nginx", "-g", "daemon off;"]);
    assert_eq!(dests(&plan), ["/etc/nginx/nginx.conf", "/etc/motd"]);
    assert_eq!(plan.templates[0].dest.uid, Some(33));
    assert!(plan.templates[0].check.is_some() && plan.templates[1].reload.is_some());
    assert!(plan.templates[0].dialect == Dialect::Go && plan.templates[1].dialect == Dialect::Upon);
    assert_eq!((plan.pace.quiet, plan.pace.max, plan.start_timeout), (2_000, 20_000, Some(300_000)));
    // The one of TLS is a part.
    let more = "[[template]]\ntext = ''\ndest = '/x'\n";
    let tls = all.iter().find(|b| b.contains("consul+https")).unwrap();
    let plan = enter(&home, vec![["--config=", tls, more].concat()], &[]);
    let SourceKind::Consul(c) = &plan.sources[0].kind else { panic!("no Consul") };
    assert_eq!(c.addresses, ["https://10.0.0.5:8501"]);
    // The one of a mounted volume is whole; tests/kubernetes.rs runs it.
    let volume = all.iter().find(|b| b.contains("source.volume")).unwrap();
    let plan = enter(&home, vec![["--config=", volume].concat()], &[]);
    assert_eq!(dests(&plan), ["/tmp/seen"]);
    assert!(plan.app.is_none() && plan.target.as_ref().is_some_and(|t| t.is_elsewhere()));
    driver::check(&plan).unwrap();
    assert!(c.tls.ca.len() == 1 && c.tls.identity.is_some() && c.tls.name.as_deref() == Some("server.dc1.consul"));
}

#[test]
fn the_variables_of_the_dockerfile() {
    let all = blocks("dockerfile");
    let word = |start: &str| all[0].lines().find_map(|l| l.strip_prefix(start)).unwrap().to_string();
    let home = home("dockerfile");
    let vars: Vec<(String, String)> = all[0]
        .lines()
        .filter_map(|l| l.strip_prefix("ENV ")?.split_once('='))
        .map(|(n, v)| (n.to_string(), v.to_string()))
        .collect();
    fs::write(home.join("my-app.conf.upon"), "x").unwrap();
    let args: Vec<String> = serde_json::from_str(&word("CMD ")).unwrap();
    assert_eq!(dests(&enter(&home, args, &vars)), ["/my-app.conf"]);
}

#[test]
fn the_templates_render() {
    let keys = [
        ("/limits", "{\"burst\": 5}"),
        ("/name", "web"),
        ("/port", "8080"),
        ("/upstreams/a", "10.0.0.1:80"),
        ("/upstreams/b", "10.0.0.2:80"),
    ];
    let snapshot = Snapshot::new(keys.map(|(k, v)| (Arc::from(k), Arc::from(v.as_bytes()))).to_vec());
    for (language, dialect) in [("gotemplate", Dialect::Go), ("upon", Dialect::Upon)] {
        let all = blocks(language);
        assert_eq!(all.len(), 1, "{language}");
        let ctx = Context { store: View::new(&snapshot), env: &|_| None, max_output: 1 << 20 };
        let rendered = Template::compile(language, &all[0], dialect).and_then(|t| t.render(&ctx));
        let out = String::from_utf8(rendered.unwrap_or_else(|e| panic!("{e}"))).unwrap();
        let lines: Vec<&str> = out.lines().filter(|l| !l.is_empty()).collect();
        let want = [
            "listen 8080;",
            "name \"WEB\";",
            "# 0: /upstreams/a",
            "server 10.0.0.1:80;",
            "# 1: /upstreams/b",
            "server 10.0.0.2:80;",
            "burst 5;",
        ];
        assert_eq!(lines, want, "{language}\n{out}");
    }
}
