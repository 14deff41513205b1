//! What a render costs, as ratios against the same bytes written by hand in Rust: a haproxy configuration of 1,000
//! backends out of JSON values, and up to 200,000 keys in several ways, in both languages. And how that grows: twice the
//! keys should take twice the time, so the time per key stays where it was. `./build.sh bench render` prints the
//! figures; nothing here passes or fails by time, but what is rendered is compared. glibc's allocator, which the release
//! does not have, lets the figures of the larger heaps waver; for the musl target they are steady.
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

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use pilotfish::store::{Reads, Snapshot, View};
use pilotfish::template::{Context, Dialect, Template};
use serde_json::Value;

fn main() {
    haproxy(1_000);
    println!();
    keys();
    println!();
    long_templates();
    println!();
    touches();
}

fn snapshot(pairs: Vec<(String, String)>) -> Snapshot {
    Snapshot::new(pairs.into_iter().map(|(k, v)| (Arc::from(k.as_str()), Arc::from(v.as_bytes()))).collect())
}

/// The processor time of the shortest of a few runs: what else the machine does only ever adds.
fn fastest(runs: usize, mut f: impl FnMut()) -> Duration {
    (0..runs)
        .map(|_| {
            let begin = spent();
            f();
            spent() - begin
        })
        .min()
        .unwrap()
}

/// The processor time of this thread.
fn spent() -> Duration {
    let mut at = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut at) }, 0);
    Duration::new(at.tv_sec as u64, at.tv_nsec as u32)
}

fn compile(text: &str, dialect: Dialect) -> Template {
    Template::compile("bench", text, dialect).unwrap_or_else(|e| panic!("{e}"))
}

fn render(template: &Template, store: &Snapshot) -> (Vec<u8>, Reads) {
    let context = Context { store: View::new(store), env: &|_| None, max_output: 64 << 20 };
    let out = template.render(&context).unwrap_or_else(|e| panic!("{e}"));
    (out, context.store.into_reads())
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1000.0
}

// --- haproxy ---------------------------------------------------------------------------------------------------------

fn haproxy(backends: usize) {
    let mut pairs = vec![("/frontend/port".to_string(), "80".to_string())];
    for i in 0..backends {
        let app = format!("/apps/app-{i:05}");
        let config = format!(r#"{{"hosts": ["a{i}.example.com", "b{i}.example.com"], "check": "/healthz"}}"#);
        pairs.push((format!("{app}/config"), config));
        for k in 0..4 {
            let server = format!(r#"{{"host": "10.{}.{}.{k}", "port": 8080, "weight": 100}}"#, i / 250, i % 250);
            pairs.push((format!("{app}/servers/s{k}"), server));
        }
    }
    let store = snapshot(pairs);
    let go = compile(include_str!("../data/real-templates/haproxy/template.tmpl"), Dialect::Go);
    let upon = compile(include_str!("../data/real-templates/haproxy/template.upon"), Dialect::Upon);
    let want = haproxy_by_hand(&store);
    for (name, template) in [("Go", &go), ("upon", &upon)] {
        let got = render(template, &store).0;
        assert!(got == want.as_bytes(), "{name} differs:\n{}", String::from_utf8_lossy(&got));
    }
    let hand = fastest(20, || drop(black_box(haproxy_by_hand(&store))));
    println!(
        "haproxy with {backends} backends of 4 servers, {} keys of JSON, {} KB out",
        store.len(),
        want.len() / 1000
    );
    println!("  by hand (Rust, serde_json)  {:>9.2} ms", ms(hand));
    for (name, template) in [("Go", &go), ("upon", &upon)] {
        let took = fastest(20, || drop(black_box(render(template, &store))));
        let ratio = took.as_secs_f64() / hand.as_secs_f64();
        println!("  {name:<27} {:>9.2} ms  ratio {ratio:.1}", ms(took));
    }
}

/// What the template says, in Rust.
fn haproxy_by_hand(store: &Snapshot) -> String {
    let text = |key: &str| std::str::from_utf8(&store.get(key).unwrap().1).unwrap();
    let json = |key: &str| serde_json::from_str::<Value>(text(key)).unwrap();
    let mut apps: Vec<&str> = store.under("/apps/").iter().map(|e| e.0.split('/').nth(2).unwrap()).collect();
    apps.dedup();
    let mut s = String::from("global\n    daemon\n    maxconn 2000\n\ndefaults\n    mode http\n\nfrontend http-in\n");
    write!(s, "    bind *:{}", text("/frontend/port")).unwrap();
    for app in &apps {
        for host in json(&format!("/apps/{app}/config"))["hosts"].as_array().unwrap() {
            write!(s, "\n    acl host_{app} hdr(host) -i {}", host.as_str().unwrap()).unwrap();
        }
        write!(s, "\n    use_backend {app} if host_{app}").unwrap();
    }
    s.push('\n');
    for app in &apps {
        let config = json(&format!("/apps/{app}/config"));
        write!(s, "\nbackend {app}\n    balance {}", config["balance"].as_str().unwrap_or("roundrobin")).unwrap();
        write!(s, "\n    option httpchk GET {}", config["check"].as_str().unwrap()).unwrap();
        for (key, value) in store.under(&format!("/apps/{app}/servers/")) {
            let server = serde_json::from_slice::<Value>(value).unwrap();
            let (name, host) = (key.rsplit('/').next().unwrap(), server["host"].as_str().unwrap());
            let (port, weight) = (&server["port"], &server["weight"]);
            write!(s, "\n    server {name} {host}:{port} weight {weight} check").unwrap();
        }
        s.push('\n');
    }
    s.push('\n');
    s
}

// --- many keys -------------------------------------------------------------------------------------------------------

/// A way to read all keys `/all/dNNNNN/a|b|c`: its name and the template in both languages.
const WAYS: &[(&str, &str, &str)] = &[
    (
        "gets over all",
        "{{range gets \"/all/*/*\"}}{{.Key}} {{.Value}}\n{{end}}",
        "{% for p in gets(\"/all/*/*\") %}{{ p.key }} {{ p.value }}\n{% endfor %}",
    ),
    (
        "getvs over all",
        "{{range getvs \"/all/*/*\"}}{{.}}\n{{end}}",
        "{% for v in getvs(\"/all/*/*\") %}{{ v }}\n{% endfor %}",
    ),
    (
        "getv in a loop",
        "{{range $d := lsdir \"/all\"}}{{range $k := ls (printf \"/all/%s\" $d)}}/all/{{$d}}/{{$k}} {{getv (printf \"/all/%s/%s\" $d $k)}}\n{{end}}{{end}}",
        "{% for d in lsdir(\"/all\") %}{% for k in ls(printf(\"/all/%s\", d)) %}/all/{{ d }}/{{ k }} {{ getv(printf(\"/all/%s/%s\", d, k)) }}\n{% endfor %}{% endfor %}",
    ),
    (
        "gets in a loop",
        "{{range lsdir \"/all\"}}{{range gets (printf \"/all/%s/*\" .)}}{{.Key}} {{.Value}}\n{{end}}{{end}}",
        "{% for d in lsdir(\"/all\") %}{% for p in gets(printf(\"/all/%s/*\", d)) %}{{ p.key }} {{ p.value }}\n{% endfor %}{% endfor %}",
    ),
    ("ls of one folder", "{{range ls \"/flat\"}}{{.}}\n{{end}}", "{% for k in ls(\"/flat\") %}{{ k }}\n{% endfor %}"),
    (
        "one list in JSON",
        "{{range $i, $e := jsonArray (getv \"/list\")}}{{$e.n}} {{$e.v}}\n{{end}}",
        "{% for e in jsonArray(getv(\"/list\")) %}{{ e.n }} {{ e.v }}\n{% endfor %}",
    ),
];

fn many(n: usize) -> Snapshot {
    let mut pairs = Vec::new();
    let mut list = Vec::new();
    for i in 0..n {
        // The values are not in the order of the keys, so that getvs has something to sort.
        let value = format!("value-{:08x}", (i as u32).wrapping_mul(2_654_435_761));
        pairs.push((format!("/all/d{:05}/{}", i / 3, ["a", "b", "c"][i % 3]), value.clone()));
        pairs.push((format!("/flat/k{i:06}"), String::new()));
        list.push(format!(r#"{{"n":"e{i:06}","v":"{value}"}}"#));
    }
    pairs.push(("/list".to_string(), format!("[{}]", list.join(","))));
    snapshot(pairs)
}

/// The same by hand.
fn by_hand(way: usize, store: &Snapshot) -> Vec<u8> {
    let mut out = Vec::new();
    let mut line = |a: &[u8], b: &[u8]| {
        out.extend_from_slice(a);
        if !b.is_empty() {
            out.push(b' ');
            out.extend_from_slice(b);
        }
        out.push(b'\n');
    };
    match way {
        0 | 2 | 3 => store.under("/all/").iter().for_each(|(k, v)| line(k.as_bytes(), v)),
        1 => {
            let mut values: Vec<&[u8]> = store.under("/all/").iter().map(|e| &*e.1).collect();
            values.sort();
            values.iter().for_each(|v| line(v, b""));
        }
        4 => store.under("/flat/").iter().for_each(|(k, _)| line(&k.as_bytes()[6..], b"")),
        _ => {
            let list: Value = serde_json::from_slice(&store.get("/list").unwrap().1).unwrap();
            for e in list.as_array().unwrap() {
                line(e["n"].as_str().unwrap().as_bytes(), e["v"].as_str().unwrap().as_bytes());
            }
        }
    }
    out
}

fn keys() {
    const SIZES: [usize; 3] = [50_000, 100_000, 200_000];
    let stores = SIZES.map(many);
    println!(
        "ns per key, by number of keys; growth: how many times as long a key takes at {}; ratio: to by hand",
        SIZES[2]
    );
    println!("{:<18} {:<8} {:>8} {:>8} {:>8}  growth  ratio", "", "", SIZES[0], SIZES[1], SIZES[2]);
    for (way, (name, go, upon)) in WAYS.iter().enumerate() {
        let mut hand = 0.0;
        for who in ["by hand", "Go", "upon"] {
            let template = match who {
                "Go" => Some(compile(go, Dialect::Go)),
                "upon" => Some(compile(upon, Dialect::Upon)),
                _ => None,
            };
            let mut per_key = [0.0; SIZES.len()];
            for ((store, n), per_key) in stores.iter().zip(SIZES).zip(&mut per_key) {
                let took = match &template {
                    None => fastest(5, || drop(black_box(by_hand(way, store)))),
                    Some(template) => {
                        assert!(render(template, store).0 == by_hand(way, store), "{name} in {who} differs");
                        fastest(5, || drop(black_box(render(template, store))))
                    }
                };
                *per_key = took.as_secs_f64() * 1e9 / n as f64;
            }
            let [a, b, c] = per_key;
            if template.is_none() {
                hand = b;
            }
            println!("{name:<18} {who:<8} {a:>8.0} {b:>8.0} {c:>8.0}  {:>6.2} {:>6.1}", c / a, b / hand);
        }
    }
}

/// Templates of many lines: compiled, and rendered.
fn long_templates() {
    println!("ns per line of a template of 5,000, 10,000 and 20,000 lines, each a text, a condition and a call");
    let store = many(3);
    for (name, dialect, line) in [
        ("Go", Dialect::Go, "é {{if exists \"/none\"}}a{{else}}b{{end}} {{getv \"/all/d00000/a\" | toUpper}}\n"),
        (
            "upon",
            Dialect::Upon,
            "é {% if exists(\"/none\") %}a{% else %}b{% endif %} {{ getv(\"/all/d00000/a\") | toUpper }}\n",
        ),
    ] {
        let (mut compiled, mut rendered) = (String::new(), String::new());
        for n in [5_000, 10_000, 20_000] {
            let text = line.repeat(n);
            let took = fastest(3, || drop(black_box(compile(&text, dialect))));
            write!(compiled, " {:>8.0}", took.as_secs_f64() * 1e9 / n as f64).unwrap();
            let template = compile(&text, dialect);
            let took = fastest(3, || drop(black_box(render(&template, &store))));
            write!(rendered, " {:>8.0}", took.as_secs_f64() * 1e9 / n as f64).unwrap();
        }
        println!("{name:<8} to compile{compiled}   to render{rendered}");
    }
}

/// What a change of every key costs that the template did not read, when it read as many: it must find that nothing it
/// read has changed.
fn touches() {
    println!("ns to see that a changed key was not read, after a render that read as many ways");
    for (name, go, _) in &WAYS[2..4] {
        let mut line = format!("{name:<18}");
        for n in [12_500, 25_000, 50_000] {
            let store = many(n);
            let (_, reads) = render(&compile(go, Dialect::Go), &store);
            let others: Vec<&str> = store.under("/flat/").iter().map(|e| &*e.0).collect();
            let took = fastest(3, || assert!(!others.iter().any(|key| reads.touches(key))));
            write!(line, " {:>8.0}", took.as_secs_f64() * 1e9 / n as f64).unwrap();
        }
        println!("{line}   (12,500, 25,000 and 50,000 keys)");
    }
}
