//! confd's backend `file`: a tree of ten resources on YAML, JSON and TOML files in each of confd's modes and with each key
//! of a resource, and what happens when the files change the way editors and Kubernetes change them.
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

mod site;
mod util;

use std::os::unix::fs::MetadataExt;

use site::Site;
use util::*;

const YAML: &str = "\
# the site
app:
  name: shop
  port: 8080
  ratio: 0.5
  debug: false
  motd: |
    hello
    world
upstreams:
  - host: 10.0.0.1
    weight: 3
  - {host: 10.0.0.2, weight: 1}
";
const JSON: &str =
    r#"{"db": {"host": "db1", "replicas": ["r1", "r2"], "big": 12345678901, "off": null}, "app": {"port": 9090}}"#;
const TOML: &str = "[limits]\nconnections = 512\n\n[[hosts]]\nname = \"a\"\n\n[[hosts]]\nname = \"b\"\n";

/// The folder of sources, ten resources, and the arguments that name the files.
fn tree() -> (Site, Vec<String>) {
    let site = Site::new();
    site.dir.write("data/a.yaml", YAML);
    site.dir.write("data/b.json", JSON);
    site.dir.write("data/c.toml", TOML);
    site.dir.write("data/notes.txt", "no: [source");
    let ran = site.dir.join("ran").display().to_string();
    // SAFETY: plain system calls.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let resources: [(&str, &str, String); 10] = [
        ("name", "{{getv \"/app/name\"}}:{{getv \"/app/port\"}}", "keys = [\"/app\"]".into()),
        ("scalars", "{{getv \"/app/ratio\"}} {{getv \"/app/debug\"}} {{getv \"/db/big\"}}", "keys = [\"/app\", \"/db\"]".into()),
        ("block", "{{getv \"/app/motd\"}}", "keys = [\"/app/motd\"]".into()),
        ("lists", "{{range lsdir \"/upstreams\"}}{{getv (printf \"/upstreams/%s/host\" .)}};{{end}}", "keys = [\"/upstreams\"]".into()),
        ("gets", "{{range gets \"/db/replicas/*\"}}{{.Key}}={{.Value}} {{end}}", "keys = [\"/db\"]".into()),
        ("null", "{{exists \"/db/off\"}} {{exists \"/db/host\"}}", "keys = [\"/db\"]".into()),
        ("toml", "{{getv \"/limits/connections\"}} {{range lsdir \"/hosts\"}}{{.}}{{end}}", "keys = [\"/limits\", \"/hosts\"]".into()),
        ("prefixed", "{{getv \"/host\"}} {{base (index (gets \"/*\") 0).Key}}", "keys = [\"/host\"]\nprefix = \"/db\"".into()),
        (
            "owned",
            "{{getv \"/name\"}}",
            format!("keys = [\"/name\"]\nprefix = \"/app\"\nmode = \"0600\"\nuid = {uid}\ngid = {gid}\nmake_dirs = true"),
        ),
        (
            "checked",
            "{{getv \"/app/name\"}}",
            format!(
                "keys = [\"/app\"]\ncheck_cmd = \"grep -q shop {{{{.src}}}}\"\nreload_cmd = \"echo {{{{.dest}}}} >> {ran}\"
check_timeout = \"5s\"\nreload_timeout = \"5s\"\nmin_keys = 2\nrequire = [\"/app/name\"]"
            ),
        ),
    ];
    for (name, template, more) in resources {
        site.resource(name, template, &more);
    }
    let file = |name: &str| site.dir.join("data").join(name).display().to_string();
    let args = ["-backend", "file", "-file", &[file("a.yaml"), file("b.json")].join(","), "-file", &file("c.toml")];
    let args = args.map(str::to_string).to_vec();
    (site, args)
}

const WANT: [(&str, &str); 10] = [
    ("name", "shop:9090"),
    ("scalars", "0.5 false 12345678901"),
    ("block", "hello\nworld\n"),
    ("lists", "10.0.0.1;10.0.0.2;"),
    ("gets", "/db/replicas/0=r1 /db/replicas/1=r2 "),
    ("null", "false true"),
    ("toml", "512 01"),
    ("prefixed", "db1 host"),
    ("owned", "shop"),
    ("checked", "shop"),
];

fn run(site: &Site, args: &[String], more: &[&str]) -> Cmd {
    let all: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
    site.confd(&all)
}

fn all_there(site: &Site) {
    for (name, want) in WANT {
        wait_file(site.out(name), want, secs(20));
    }
}

#[test]
fn ten_resources_in_each_mode() {
    let (site, args) = tree();
    // Nothing is written, and each change is shown.
    let p = run(&site, &args, &["-noop"]).run(secs(30));
    p.expect_exit(Exit::Code(0), secs(1));
    assert_eq!(site.dir.names("out"), Vec::<String>::new());
    p.check(p.lines_matching("WARNING Noop mode enabled.").len() == 10, "each file is said");
    p.check(p.stdout().contains("+shop:9090"), "and shown");

    let p = run(&site, &args, &["-onetime", "-sync-only"]).run(secs(30));
    p.expect_exit(Exit::Code(0), secs(1));
    all_there(&site);
    p.check(!site.dir.join("ran").exists(), "no command ran");
    let files = format!("{}/a.yaml, {0}/b.json, {0}/c.toml", site.dir.join("data").display());
    p.check(p.stderr().contains("INFO Backend set to file"), "the backend is named");
    p.check(p.stderr().contains(&format!("INFO Backend source(s) set to {files}")), "the files are named");
    assert_eq!(std::fs::metadata(site.out("owned")).unwrap().mode() & 0o7777, 0o600);

    let p = run(&site, &args, &["-onetime"]).run(secs(30));
    p.expect_exit(Exit::Code(0), secs(1));
    p.check(p.lines_matching("has been updated").is_empty(), "nothing changed");
    p.check(!site.dir.join("ran").exists(), "so no command ran");

    // A file that is edited in place, and one that is replaced.
    let p = run(&site, &args, &["-watch"]).spawn();
    p.wait_line("Starting confd", secs(10));
    site.dir.write("data/a.yaml", YAML.replace("name: shop", "name: shop2"));
    wait_file(site.out("checked"), "shop2", secs(10));
    wait_file(site.out("owned"), "shop2", secs(10));
    site.dir.write("data/new", JSON.replace("9090", "9191"));
    std::fs::rename(site.dir.join("data/new"), site.dir.join("data/b.json")).unwrap();
    wait_file(site.out("name"), "shop2:9191", secs(10));
    wait_file(site.dir.join("ran"), &format!("{}\n", site.out("checked").display()), secs(10));
    // What the check refuses stays away.
    site.dir.write("data/a.yaml", YAML.replace("name: shop", "name: barn"));
    p.wait_line("Config check failed: exit status 1", secs(10));
    wait_file(site.out("name"), "barn:9191", secs(10));
    assert_eq!(site.read("checked"), "shop2");
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));

    // By interval: the folder of resources is read again; the files are watched in any case.
    let p = run(&site, &args, &["-interval=1"]).spawn();
    site.dir.write("data/a.yaml", YAML.replace("name: shop", "name: shop3"));
    wait_file(site.out("checked"), "shop3", secs(10));
    site.resource("eleventh", "{{getv \"/db/host\"}}", "keys = [\"/db\"]");
    wait_file(site.out("eleventh"), "db1", secs(10));
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));

    // Staged files that are not put in place can be kept.
    site.dir.write("data/a.yaml", YAML);
    let p = run(&site, &args, &["-noop", "-keep-stage-file"]).run(secs(30));
    p.expect_exit(Exit::Code(0), secs(1));
    let kept = site.dir.names("out").into_iter().filter(|n| n.starts_with('.')).count();
    p.check(kept >= 3, &format!("{kept} staged files were kept"));
}

#[test]
fn a_broken_file_keeps_everything_as_it_was() {
    let (site, args) = tree();
    let p = run(&site, &args, &["-watch"]).spawn();
    all_there(&site);
    site.dir.write("data/b.json", "{\"db\": {\"password\": \"hunter2\" \"host\": 1}}");
    p.wait_line("b.json:1:", secs(10));
    p.check(p.lines_matching("ERROR").len() == 1, "one file, ten resources: it is said once");
    p.check(!p.stderr().contains("hunter2"), "the file's content is nobody's business");
    std::fs::remove_file(site.dir.join("data/c.toml")).unwrap();
    site.dir.write("data/b.json", JSON.replace("db1", "db2"));
    p.wait_line("c.toml: ", secs(20));
    assert_eq!(site.read("prefixed"), "db1 host");
    site.dir.write("data/c.toml", TOML.replace("512", "1024"));
    wait_file(site.out("prefixed"), "db2 host", secs(40));
    wait_file(site.out("toml"), "1024 01", secs(10));
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));

    for (arg, want) in [("", "no file is named"), ("-filter=[", "the filter [ is no pattern")] {
        let more: Vec<&str> = ["-onetime", "-backend", "file", arg].into_iter().filter(|a| !a.is_empty()).collect();
        let p = site.confd(&more).run(secs(20));
        p.expect_exit(Exit::Code(1), secs(1));
        p.check(p.stderr().contains(want), want);
    }
    site.dir.write("data/c.toml", "x = [");
    let p = run(&site, &args, &["-onetime"]).run(secs(30));
    p.expect_exit(Exit::Code(1), secs(1));
}

#[test]
fn a_configmap_s_folder_is_followed_through_every_swap() {
    let site = Site::new();
    let swap = |n: u32| {
        let dir = format!("vol/..{n}");
        site.dir.write(format!("{dir}/site.yaml"), format!("site: {{n: {n}}}\n"));
        site.dir.write(format!("{dir}/other.conf"), "never: read\n");
        let tmp = site.dir.join("vol/..data_tmp");
        std::os::unix::fs::symlink(format!("..{n}"), &tmp).unwrap();
        std::fs::rename(&tmp, site.dir.join("vol/..data")).unwrap();
    };
    swap(1);
    for name in ["site.yaml", "other.conf"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), site.dir.join("vol").join(name)).unwrap();
    }
    site.resource("r", "{{range gets \"/*/*\"}}{{.Key}}={{.Value}}{{end}}", "keys = [\"/\"]");
    let (vol, file) = (site.dir.join("vol"), site.dir.join("vol/site.yaml"));
    for (path, filter) in [(&vol, "*.yaml"), (&file, "*")] {
        // The file's settings say the rest.
        let toml =
            format!("backend = \"file\"\nfile = [\"{}\"]\nfilter = \"{filter}\"\nwatch = true\n", path.display());
        let toml = site.dir.write("confd.toml", toml).display().to_string();
        let p = site.confd(&["-config-file", &toml]).spawn();
        for n in 2..8 {
            swap(n);
            wait_file(site.out("r"), &format!("/site/n={n}"), secs(10));
        }
        p.signal(libc::SIGTERM);
        p.expect_exit(Exit::Code(0), secs(10));
    }
}

#[test]
fn the_sidecar_and_pilotfish_toml_have_files_too() {
    let site = Site::new();
    let file = site.dir.write("data/a.yaml", YAML).display().to_string();
    let out = site.out("f").display().to_string();
    let p = pilotfish()
        .args(["--once", "true"])
        .env("CONFD_BACKEND", "file")
        .env("CONFD_FILE", &file)
        .env("CONFD_CONFDFILE", format!("r.toml\n[template]\nsrc = 't'\ndest = '{out}'\nkeys = ['/app']\n"))
        .env("CONFD_TEMPLATE", "t\n{{getv \"/app/name\"}}")
        .run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    assert_eq!(site.read("f"), "shop");
    let toml = format!(
        "[source.s]\nurl = 'file:{file}'\n[[template]]\ntext = '{{{{ getv(\"/port\") }}}}'\ndest = '{out}'\nprefix = '/app'\n"
    );
    let toml = site.dir.write("p.toml", toml).display().to_string();
    let p = pilotfish().args(["--once", "--config", &toml]).run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    assert_eq!(site.read("f"), "8080");
    let folder = format!("file:{}", site.dir.join("data").display());
    site.dir.write("t.upon", "{{ getv(\"/app/debug\") }}");
    let template = format!("{}:{out}", site.dir.join("t.upon").display());
    let p = pilotfish().args(["--once", "--source", &folder, "--template", &template]).run(secs(20));
    p.expect_exit(Exit::Code(0), secs(1));
    assert_eq!(site.read("f"), "false");
}
