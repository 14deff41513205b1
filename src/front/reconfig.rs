//! reconfig's way in: its flags in the style of Ruby's OptionParser, and its folder of JSON files, each of which binds a
//! key of etcd to a template and a target. It looks at no key; templates and targets are files of their own, and a
//! JSON file that is wrong concerns nobody else.

use std::path::{Path, PathBuf};

use super::flags::{self, Words};
use super::help::{self, Help};
use super::{World, add_etcd, etcd_addresses, identity, srv_address};
use crate::error::{Error, Kind, Result};
use crate::formats::json;
use crate::plan::{Command, Etcd, Form, Input, Level, Millis, Plan, Reload, Watch, parse_duration};
use crate::secret::Hidden;
use crate::template::Dialect;
use crate::template::scope::Scope;
use crate::text::fill;
use crate::value::Value;

/// A check that takes longer is killed. reconfig has no limit.
const CHECK: Millis = 30_000;
/// A reload command that takes longer is killed.
const RELOAD: Millis = 60_000;
/// The longest a request waits for a change.
const WAIT: Millis = 60_000;

/// The help, as `--help` prints it. Every flag there is stands in it.
pub const HELP: &str = "\
Usage: reconfig (options)
    -c, --cfgdir CFGDIR              the folder of conf.d and templates; default /etc/reconfig
    -d, --debug                      log each step
    -h, --help                       print this
        --host ETCDHOST              etcd's host; default 127.0.0.1
    -n, --notreally                  show changes, write nothing
    -o, --onetime                    run once and end
        --port PORT                  etcd's port; default 4001
    -p, --prefix PREFIX              in front of all keys; must begin with /
        --srv SRV-RECORD             etcd's servers by a DNS SRV record, instead of host and port
    -s, --ssl                        speak TLS
        --ssl_cafile FILE            PEM file of the CAs that sign etcd's certificates; default: those the system trusts
        --ssl_cert FILE              PEM file of our certificate
        --ssl_key FILE               PEM file of its key, not encrypted
        --ssl_passphrase PASSPHRASE  taken for nothing: an encrypted key cannot be read
        --version                    print the version
";

/// The keys of a JSON file, and what they must be: `r` text that must be there, `s` text, `b` true or false, `o` names
/// with keys, `t` a time.
pub static KEYS: &[(&str, u8)] = &[
    ("id", b's'),
    ("key", b'r'),
    ("source", b'r'),
    ("target", b'r'),
    ("recursive", b'b'),
    ("pattern", b's'),
    ("altkeys", b'o'),
    ("checkcmd", b's'),
    ("reloadcmd", b's'),
    ("splay", b't'),
];

/// Reads the command line behind `reconfig` into the plan, or gives what to print.
///
/// # Errors
/// `Kind::Usage` for the command line, `Kind::Fatal` where a folder is missing, `Kind::Config` for what is not in this
/// version.
#[inline(never)]
pub fn read(args: &[String], plan: &mut Plan, world: &World) -> Result<Option<&'static str>> {
    let (given, words) = flags::read(args, &flags::all(help::text(Help::Reconfig)), Words::AnywhereCut, "reconfig")?;
    let get = |name: &str| given.get(name);
    let is_set = |name: &str| given.is_set(name);
    if is_set("help") {
        return Ok(Some(help::text(Help::Reconfig)));
    }
    if is_set("version") {
        return Ok(Some(concat!("reconfig (pilotfish ", env!("CARGO_PKG_VERSION"), ")\n")));
    }
    let (prefix, port) = (get("prefix").unwrap_or(""), get("port").unwrap_or("4001"));
    if !prefix.is_empty() && !prefix.starts_with('/') {
        return Err(Error::filled(Kind::Usage, "--prefix %: it must begin with /", &[prefix]));
    }
    if port.parse::<u16>().is_err() {
        return Err(Error::filled(Kind::Usage, "--port %: expected a number up to 65535", &[port]));
    }
    for file in ["ssl_cafile", "ssl_cert", "ssl_key"] {
        let Some(path) = get(file) else { continue };
        let text = Hidden::new(world.text(Path::new(path), &fill("the file of --%", &[file]))?);
        // "BEGIN ENCRYPTED PRIVATE KEY", or "Proc-Type: 4,ENCRYPTED" in a key of OpenSSL's older form.
        if text.contains("ENCRYPTED") {
            let text = "cannot use the key % of --%: it is encrypted; decrypt it with: openssl pkey -in % -out NEW.key";
            return Err(Error::filled(Kind::Config, text, &[path, file, path]));
        }
    }
    let mut etcd = Etcd { version: 2, wait: WAIT, ..Etcd::default() };
    identity::add_flags(&mut etcd.tls, "--", &identity::RECONFIG, &|name| given.get(name))?;
    let scheme = if is_set("ssl") { "https" } else { "http" };
    if let (false, Some(name)) = (is_set("ssl"), given.first("ssl_")) {
        plan.note(Level::Warning, "--% counts for nothing without --ssl", &[name]);
    }
    let host = get("host").unwrap_or("127.0.0.1");
    if host.contains("://") || host.matches(':').count() == 1 {
        let want = "--host %: expected a name or an address alone; the port is said by --port";
        return Err(Error::filled(Kind::Usage, want, &[host]));
    }
    let pattern = if host.contains(':') && !host.starts_with('[') { "[%]:%" } else { "%:%" };
    etcd.endpoints = etcd_addresses(&fill(pattern, &[host, port]), scheme)?;
    if let Some(record) = get("srv") {
        etcd.endpoints = vec![srv_address(record, scheme)];
    }
    add_etcd(plan, etcd, false);
    if let (Some(record), Some(source)) = (get("srv"), plan.sources.last_mut()) {
        source.name = fill("etcd by the SRV record %", &[record]);
    }
    let dir = PathBuf::from(get("cfgdir").unwrap_or("/etc/reconfig"));
    for folder in [dir.clone(), dir.join("conf.d"), dir.join("templates")] {
        if !world.is_folder(&folder) {
            let name = folder.display().to_string();
            return Err(Error::filled(Kind::Fatal, "Missing config dirs: there is no folder %", &[&name]));
        }
    }
    plan.once = is_set("onetime");
    plan.noop = is_set("notreally");
    (plan.is_lenient, plan.rereads, plan.toggles_debug) = (true, true, true);
    if is_set("debug") {
        plan.log.level = Level::Debug;
    }
    for word in words {
        plan.note(Level::Warning, "the word % means nothing here", &[&word]);
    }
    Found { plan, prefix, dir: &dir, world }.all()?;
    Ok(None)
}

/// What the folder holds, as far as it is read.
struct Found<'a> {
    plan: &'a mut Plan,
    prefix: &'a str,
    dir: &'a Path,
    world: &'a World<'a>,
}

impl Found<'_> {
    /// Reads every JSON file; what is wrong with one is kept in words.
    #[inline(never)]
    fn all(&mut self) -> Result<()> {
        let folder = self.dir.join("conf.d");
        for path in self.world.folder(&folder)? {
            let name = path.display().to_string();
            let is_hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
            if path.parent() != Some(&folder) || !name.ends_with(".json") || is_hidden {
                continue;
            }
            let text = self.world.text(&path, "the configuration");
            if let Err(e) = text.and_then(|text| self.one(&name, &text)) {
                self.plan.broken.push(fill("%: this file is skipped", &[&e.text]));
            }
        }
        if self.plan.templates.is_empty() && self.plan.broken.is_empty() {
            self.plan.note(Level::Warning, "there is no JSON file in %", &[&folder.display().to_string()]);
        }
        Ok(())
    }

    #[inline(never)]
    fn one(&mut self, file: &str, text: &str) -> Result<()> {
        let error = |pattern: &str, words: [&str; 2]| Error::config([file, &fill(pattern, &words)].concat());
        let root = json::parse_in_order(text).map_err(|e| error(" is no JSON: %", [&e, ""]))?;
        let all = pairs(&root).ok_or_else(|| error(": there is no JSON object in it", ["", ""]))?;
        // What is wrong first.
        let mut fault = ("", "");
        for (key, value) in &all {
            match KEYS.iter().find(|(k, _)| k == key) {
                Some((_, kind)) if fault.1.is_empty() => fault = (key, fault_of(*kind, value)),
                Some(_) => {}
                None => {
                    let mut text = fill("%: `%` means nothing here; there are", &[file, key]);
                    for (known, _) in KEYS {
                        text.push(' ');
                        text.push_str(known);
                    }
                    self.plan.notes.push((Level::Warning, text));
                }
            }
        }
        let mut check = |is_wrong: bool, key, why| keep_first(&mut fault, is_wrong, key, why);
        let get = |key: &str| field(&all, key);
        let text = |key: &str| text_of(&all, key);
        for (key, kind) in KEYS {
            check(*kind == b'r' && text(key).is_empty(), key, "is missing");
        }
        let (key, source, target) = (text("key"), text("source"), text("target"));
        check(!key.starts_with('/'), "key", "must begin with /");
        let key = squeeze(&[self.prefix, key].concat());
        let pattern = if text("pattern").is_empty() { "<% %>" } else { text("pattern") };
        let (open, close) = pattern.split_once(' ').unwrap_or(("", ""));
        let is_odd = open.is_empty() || close.is_empty() || close.contains(' ');
        check(is_odd, "pattern", "must be what opens and what closes a tag, with a space between");
        let mut alt = Vec::new();
        for (name, key) in pairs(get("altkeys")).unwrap_or_default() {
            alt.push((name.to_string(), squeeze(key.as_str().unwrap_or(""))));
        }
        let is_taken = self.plan.templates.iter().any(|t| t.dest.path == Path::new(target));
        check(is_taken, "target", "is the target of another file already");
        check(self.plan.scopes.iter().any(|s| s.key == key), "key", "is the key of another file already");
        if !fault.1.is_empty() {
            return Err(error(": `%` %", [fault.0, fault.1]));
        }
        let template = self.dir.join("templates").join(source.trim_start_matches('/'));
        let body = self.world.text(&template, "the template").map_err(|e| error(": %", [&e.text, ""]))?;
        let id = if text("id").is_empty() { file } else { text("id") };
        self.plan.note(Level::Debug, "%: % makes % by %", &[id, &key, target, source]);
        // Each has a query for itself, which fetches the alternative keys, too.
        let watch = self.plan.watches.len();
        self.plan.watches.push(Watch { source: 0, prefix: key.clone() });
        let dialect = if source.ends_with(".upon") { Dialect::Upon } else { Dialect::Erb };
        let one = self.plan.template(&template.display().to_string(), body, dialect, target);
        one.inputs.push(Input { watch, prefix: String::new(), strip: 0 });
        one.check = command(staged(text("checkcmd"), target), Form::Line, CHECK);
        one.reload = command(text("reloadcmd").to_string(), Form::Fields, RELOAD).map(Reload::Command);
        one.group = watch;
        let pattern = (open.to_string(), close.to_string());
        let is_tree = matches!(get("recursive"), Value::Bool(true));
        self.plan.scopes.push(Scope { key, is_tree, alt, pattern });
        self.plan.splays.push(time(get("splay")).unwrap_or(0));
        Ok(())
    }
}

#[inline(never)]
fn keep_first(fault: &mut (&str, &str), is_wrong: bool, key: &'static str, why: &'static str) {
    if is_wrong && fault.1.is_empty() {
        *fault = (key, why);
    }
}

type Fields<'a> = Vec<(&'a str, &'a Value)>;

#[inline(never)]
fn field<'a>(all: &Fields<'a>, key: &str) -> &'a Value {
    all.iter().find(|(k, _)| *k == key).map_or(&Value::Nil, |(_, v)| *v)
}

#[inline(never)]
fn text_of<'a>(all: &Fields<'a>, key: &str) -> &'a str {
    field(all, key).as_str().unwrap_or("")
}

/// Why a value is none for its key, or nothing. `null` is as good as no such key.
#[inline(never)]
fn fault_of(kind: u8, v: &Value) -> &'static str {
    match (kind, v) {
        (_, Value::Nil) | (b'r' | b's', Value::Str(_)) | (b'b', Value::Bool(_)) => "",
        (b'r' | b's', _) => "must be text in quotes",
        (b'b', _) => "must be true or false",
        (b'o', _) => match pairs(v) {
            None => "must be an object",
            Some(all) if all.iter().all(|(_, key)| key.as_str().is_some_and(|k| k.starts_with('/'))) => "",
            Some(_) => "must be names with keys, which begin with /",
        },
        _ if time(v).is_some() => "",
        _ => "must be a number of seconds",
    }
}

fn time(v: &Value) -> Option<Millis> {
    match v {
        Value::Int(n) => u64::try_from(*n).ok().and_then(|n| n.checked_mul(1000)),
        Value::Float(f) if (0.0..1e9).contains(f) => Some((f * 1000.0) as Millis),
        v => v.as_str().and_then(parse_duration),
    }
}

#[inline(never)]
fn command(line: String, form: Form, timeout: Millis) -> Option<Command> {
    (!line.trim().is_empty()).then(|| Command { argv: vec![line], form, timeout })
}

/// The fields of an object, in order.
#[inline(never)]
fn pairs(v: &Value) -> Option<Fields<'_>> {
    let Value::List(list) = v else { return None };
    if list.elem != crate::value::Elem::Pair {
        return None;
    }
    let mut all = Vec::new();
    for item in &list.items {
        if let Value::Pair(p) = item {
            all.push((&*p.key, &p.value));
        }
    }
    Some(all)
}

/// Without doubled slashes, and without one at the end.
fn squeeze(key: &str) -> String {
    let mut out = String::new();
    for part in key.split('/').filter(|p| !p.is_empty()) {
        out.push('/');
        out.push_str(part);
    }
    if out.is_empty() { "/".to_string() } else { out }
}

/// A command line that names the target looks at the staged file instead, wherever the whole path stands: the target
/// itself still has its old content then.
fn staged(line: &str, target: &str) -> String {
    let is_path = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '~');
    let mut out = String::new();
    let (mut rest, mut last) = (line, "");
    while let Some((before, behind)) = rest.split_once(target) {
        let front = if before.is_empty() { last } else { before };
        let is_part = front.ends_with(is_path) || behind.starts_with(is_path);
        out.push_str(before);
        out.push_str(if is_part { target } else { "{src}" });
        (rest, last) = (behind, target);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::plan::{Pem, SourceKind};
    use std::io::ErrorKind;

    /// A cfgdir `/c` with these files in conf.d and a template `t.erb`.
    fn enter(args: &[&str], files: &[(&str, &str)]) -> std::result::Result<Plan, String> {
        let all: Vec<(PathBuf, &str)> = files.iter().map(|(n, t)| (Path::new("/c/conf.d").join(n), *t)).collect();
        let read = |path: &Path| match path.to_str().unwrap() {
            "/c" | "/c/conf.d" | "/c/templates" | "/no" | "/no/conf.d" => Err(ErrorKind::IsADirectory.into()),
            "/c/templates/t.erb" | "/c/templates/t.upon" | "/ca.pem" | "/key.pem" => Ok(b"text".to_vec()),
            "/locked.pem" => Ok(b"-----BEGIN ENCRYPTED PRIVATE KEY-----".to_vec()),
            _ => match all.iter().find(|(p, _)| p == path) {
                Some((_, text)) => Ok(text.as_bytes().to_vec()),
                None => Err(ErrorKind::NotFound.into()),
            },
        };
        let list = |_: &Path| Ok(all.iter().map(|(p, _)| p.clone()).collect());
        let world = World { vars: &[], read: &read, files: &list, host: &crate::front::Host::default };
        let args: Vec<String> = args.iter().map(|a| (*a).to_string()).collect();
        let mut plan = Plan::default();
        match super::read(&args, &mut plan, &world).map_err(Error::into_text)? {
            None => Ok(plan),
            Some(text) => Err(text.to_string()),
        }
    }

    const A: &str = r#"{"key": "/a", "source": "t.erb", "target": "/tmp/a"}"#;

    #[test]
    fn the_command_line_is_as_in_ruby() {
        let one = [("a.json", A)];
        let plan = enter(&["-c", "/c"], &one).unwrap();
        let SourceKind::Etcd(e) = &plan.sources[0].kind else { panic!("no etcd") };
        assert_eq!((e.endpoints.clone(), e.version), (vec!["http://127.0.0.1:4001".to_string()], 2));
        assert!(!plan.once && !plan.noop && plan.log.level == Level::Info && plan.is_lenient && plan.rereads);
        let plan = enter(&["-doc/c", "--ho=h", "--port", "2379", "--not", "-p", "/p//q/"], &one).unwrap();
        assert!(plan.once && plan.noop && plan.log.level == Level::Debug);
        assert_eq!(plan.sources[0].name, "etcd at http://h:2379");
        assert_eq!(plan.watches[0].prefix, "/p/q/a");
        let plan = enter(&["--host", "::1", "--cfg", "/c", "word"], &one).unwrap();
        assert_eq!(plan.sources[0].name, "etcd at http://[::1]:4001");
        assert!(plan.notes.iter().any(|(_, n)| n == "the word word means nothing here"));
        let plan = enter(&["--srv", "_etcd._tcp.x", "-c/c"], &one).unwrap();
        let SourceKind::Etcd(e) = &plan.sources[0].kind else { panic!("no etcd") };
        assert_eq!(e.endpoints, ["srv://_etcd._tcp.x"]);
        let plan = enter(&["--srv", "_etcd._tcp.x", "-c/c", "-s"], &one).unwrap();
        let SourceKind::Etcd(e) = &plan.sources[0].kind else { panic!("no etcd") };
        assert_eq!(e.endpoints, ["srv+https://_etcd._tcp.x"]);
        let files = ["--ssl_cafile", "/ca.pem", "--ssl_cert", "/ca.pem", "--ssl_key", "/key.pem", "-c/c"];
        let plan = enter(&files, &one).unwrap();
        assert_eq!(plan.sources[0].name, "etcd at http://127.0.0.1:4001");
        assert!(plan.notes.iter().any(|(_, n)| n == "--ssl_cafile counts for nothing without --ssl"));
        let plan = enter(&[&files[..], &["-s", "--ssl_passphrase", "x"]].concat(), &one).unwrap();
        let SourceKind::Etcd(e) = &plan.sources[0].kind else { panic!("no etcd") };
        let file = |path: &str| Pem::File(PathBuf::from(path));
        assert_eq!(e.endpoints, ["https://127.0.0.1:4001"]);
        assert!(e.tls.ca == [file("/ca.pem")] && e.tls.identity == Some((file("/ca.pem"), file("/key.pem"))));
        assert!(!e.tls.insecure && plan.env_remove.is_empty());
        assert!(enter(&["-h"], &[]).err().unwrap().starts_with("Usage: reconfig (options)\n    -c, --cfgdir CFGDIR"));
        assert!(enter(&["--ver"], &[]).err().unwrap().starts_with("reconfig (pilotfish "));
        for (args, want) in [
            (&["--h"][..], "ambiguous option: --h"),
            (&["--ssl_c", "x"], "ambiguous option: --ssl_c"),
            (&["--nope"], "invalid option '--nope'"),
            (&["-x"], "invalid option '-x'"),
            (&["-p"], "missing argument"),
            (&["-p", "x"], "--prefix x: it must begin with /"),
            (&["--port", "x"], "--port x: expected a number"),
            (&["--ssl", "--ssl_cert", "/ca.pem"], "--ssl_cert needs --ssl_key beside it"),
            (&["--ssl_key", "/key.pem"], "--ssl_key needs --ssl_cert beside it"),
            (
                &["--ssl_key", "/locked.pem", "--ssl_passphrase", "s3cr3t"],
                "cannot use the key /locked.pem of --ssl_key: it is encrypted; decrypt it with: openssl pkey -in /lock",
            ),
            (&["--ssl_key", "/none"], "cannot read the file of --ssl_key /none"),
            (&["-c", "/none"], "Missing config dirs: there is no folder /none"),
            (&["-c", "/no"], "Missing config dirs: there is no folder /no/templates"),
            (&["--host", "a/b"], "cannot use etcd at http://a/b"),
        ] {
            let e = enter(args, &one).err().unwrap();
            assert!(e.contains(want), "{args:?}: {e}\nwanted {want}");
        }
    }

    #[test]
    fn a_file_binds_a_key_to_a_template_and_a_target() {
        let text = r##"{"id": "x", "key": "//a//b/", "source": "/t.erb", "target": "/tmp/a", "recursive": true,
            "pattern": "#% %#", "altkeys": {"z": "/1//2", "a": "/3/"}, "checkcmd": "v -f /tmp/a /tmp/a.d {src}",
            "reloadcmd": "r", "splay": 2}"##;
        let more = r#"{"key": "/u", "source": "t.upon", "target": "/tmp/u", "splay": "250ms", "mode": 1}"#;
        let plan = enter(&["-c/c", "-p/p"], &[("a.json", text), ("u.json", more), ("no.txt", "x"), ("d/e.json", A)]);
        let plan = plan.unwrap();
        assert_eq!((plan.templates.len(), plan.broken.len(), plan.watches.len()), (2, 0, 2));
        let (t, s) = (&plan.templates[0], &plan.scopes[0]);
        assert_eq!((s.key.as_str(), s.is_tree, plan.splays[0]), ("/p/a/b", true, 2000));
        assert_eq!(s.pattern, ("#%".to_string(), "%#".to_string()));
        assert_eq!(s.alt, [("z".to_string(), "/1/2".to_string()), ("a".to_string(), "/3".to_string())]);
        assert_eq!(t.check.as_ref().unwrap().argv, ["v -f {src} /tmp/a.d {src}"]);
        assert!(matches!(&t.reload, Some(Reload::Command(c)) if c.argv == ["r"]));
        assert!(t.dialect == Dialect::Erb && t.name == "/c/templates/t.erb" && t.group == 0);
        let (t, s) = (&plan.templates[1], &plan.scopes[1]);
        assert!(t.dialect == Dialect::Upon && t.check.is_none() && !s.is_tree && t.group == 1);
        assert_eq!((plan.splays[1], t.inputs[0].watch), (250, 1));
        let note = "/c/conf.d/u.json: `mode` means nothing here; there are id key source target";
        assert!(plan.notes.iter().any(|(_, n)| n.starts_with(note)));
    }

    #[test]
    fn a_bad_file_is_skipped_and_the_others_run() {
        let with = |more: &str| A.replacen('{', &["{", more, ", "].concat(), 1).replace("/a\"", "/x\"");
        for (text, want) in [
            ("{".to_string(), " is no JSON: unexpected end of JSON input"),
            ("[]".to_string(), ": there is no JSON object in it"),
            ("{}".to_string(), ": `key` is missing"),
            (r#"{"key": "a", "source": "t.erb", "target": "/t"}"#.to_string(), ": `key` must begin with /"),
            (r#"{"key": "/k", "source": "no.erb", "target": "/t"}"#.to_string(), ": cannot read the template /c/temp"),
            (A.replace("/tmp/a", "/tmp/b"), ": `key` is the key of another file already"),
            (A.replace("/a\", \"s", "/b\", \"s"), ": `target` is the target of another file already"),
            (with("\"recursive\": \"true\""), ": `recursive` must be true or false"),
            (with("\"pattern\": \"<%\""), ": `pattern` must be what opens and what closes a tag"),
            (with("\"pattern\": 1"), ": `pattern` must be text in quotes"),
            (with("\"altkeys\": {\"a\": \"k\"}"), ": `altkeys` must be names with keys"),
            (with("\"altkeys\": []"), ": `altkeys` must be an object"),
            (with("\"splay\": -1"), ": `splay` must be a number of seconds"),
        ] {
            let files = [("a.json", A), ("b.json", text.as_str())];
            let plan = enter(&["-c", "/c"], &files).unwrap();
            assert_eq!(plan.templates.len(), 1, "{text}");
            let [said] = plan.broken.as_slice() else { panic!("{text}: {:?}", plan.broken) };
            let is_good =
                said.starts_with(&["/c/conf.d/b.json", want].concat()) && said.ends_with("this file is skipped");
            assert!(is_good, "{said}\nwanted {want}");
        }
    }

    #[test]
    fn checks_look_at_the_staged_file() {
        for (line, want) in [
            ("v -f /t/a.conf", "v -f {src}"),
            ("v '/t/a.conf' --x=/t/a.conf;", "v '{src}' --x={src};"),
            ("v /t/a.conf.d /x/t/a.conf", "v /t/a.conf.d /x/t/a.conf"),
            ("v {src}", "v {src}"),
        ] {
            assert_eq!(staged(line, "/t/a.conf"), want);
        }
    }
}
