//! confd's way in: its flags in Go's style, its CONFD_* variables, its confd.toml, its folder of template resources, and
//! its modes. Flags win over variables, variables over confd.toml, confd.toml over defaults.

use std::path::{Path, PathBuf};

use super::backend::Backend;
use super::draft::{Draft, assemble, same_destination};
use super::table::Table;
use super::{Invocation, World, options, resource};
use crate::error::{Error, Kind, Result};
use crate::formats::toml::{self, Doc};
use crate::plan::{Level, Log, LogFormat, Plan};
use crate::value::Value;

/// A flag, its kind (`b` a switch, `s` one value, `m` several) and its key in confd.toml.
struct Flag {
    name: &'static str,
    kind: u8,
    key: &'static str,
    help: &'static str,
}

const fn flag(name: &'static str, kind: u8, key: &'static str, help: &'static str) -> Flag {
    Flag { name, kind, key, help }
}

static FLAGS: &[Flag] = &[
    flag("auth-token", b's', "auth_token", "the backend's token"),
    flag("backend", b's', "backend", "consul, env or file (default etcd)"),
    flag("basic-auth", b'b', "basic_auth", "use -username and -password"),
    flag("client-ca-keys", b's', "client_cakeys", "CA file; needs TLS, which this version has not"),
    flag("client-cert", b's', "client_cert", "certificate file; needs TLS"),
    flag("client-insecure", b'b', "client_insecure", "needs TLS"),
    flag("client-key", b's', "client_key", "key file; needs TLS"),
    flag("confdir", b's', "confdir", "the folder of conf.d and templates (default /etc/confd)"),
    flag("config-file", b's', "", "the configuration file (default /etc/confd/confd.toml)"),
    flag("file", b'm', "file", "the backend file's YAML, JSON or TOML files, or folders of them"),
    flag("filter", b's', "filter", "which files of folders, by name (default *)"),
    flag("interval", b's', "interval", "seconds between two readings of conf.d (default 600)"),
    flag("keep-stage-file", b'b', "keep_stage_file", "keep staged files"),
    flag("log-level", b's', "log-level", "debug, info (default), warn, error"),
    flag("node", b'm', "nodes", "the backend's addresses"),
    flag("noop", b'b', "noop", "show what would change, write nothing"),
    flag("onetime", b'b', "", "run once and end"),
    flag("password", b's', "password", "for basic authentication"),
    flag("prefix", b's', "prefix", "in front of all keys"),
    flag("scheme", b's', "scheme", "http (default)"),
    flag("srv-domain", b's', "srv_domain", "needs etcd, which this version has not"),
    flag("srv-record", b's', "srv_record", "needs etcd"),
    flag("sync-only", b'b', "sync-only", "run no check_cmd and no reload_cmd"),
    flag("username", b's', "username", "for basic authentication"),
    flag("version", b'b', "", "print the version"),
    flag("watch", b'b', "watch", "watch for changes (which happens in any case)"),
];

/// Names and keys of all flags.
pub fn names() -> Vec<(&'static str, &'static str)> {
    FLAGS.iter().map(|f| (f.name, f.key)).collect()
}

/// What was said, by flags, variables and confd.toml.
struct Settings<'a> {
    flags: Vec<(&'static str, String)>,
    world: &'a World<'a>,
    file: Option<(String, Doc)>,
}

/// Reads the command line behind `confd`.
///
/// # Errors
/// `Kind::Flag` for the command line, in Go's words; `Kind::Usage` and `Kind::Config` for what it names.
pub fn read(argv0: &str, args: Vec<String>, world: &World) -> Result<Invocation> {
    let mut settings = Settings { flags: flags(args)?, world, file: None };
    if settings.is_on("help")? {
        return Ok(Invocation::Print(usage()));
    }
    if settings.is_on("version")? {
        let version = env!("CARGO_PKG_VERSION");
        return Ok(Invocation::Print(format!("confd 0.16.0 (pilotfish {version})\n")));
    }
    settings.read_file()?;
    Ok(Invocation::Run(Box::new(plan(argv0, &settings)?)))
}

#[inline(never)]
fn plan(argv0: &str, s: &Settings) -> Result<Plan> {
    let once = s.is_on("onetime")?;
    let name = s.one("backend")?.unwrap_or_else(|| "etcd".to_string());
    for tls in ["client-ca-keys", "client-cert", "client-key"] {
        if s.one(tls)?.is_some() {
            return Err(Error::config(format!("-{tls}: this version speaks no TLS")));
        }
    }
    for srv in ["srv-domain", "srv-record"] {
        if s.one(srv)?.is_some() {
            return Err(Error::config(format!("-{srv} is for etcd, which this version has not")));
        }
    }
    let scheme = s.one("scheme")?.unwrap_or_else(|| "http".to_string());
    let backend = Backend {
        name: &name,
        nodes: s.many("node")?,
        scheme: &scheme,
        basic: s.one("username")?.zip(s.one("password")?),
        token: s.one("auth-token")?,
        files: s.many("file")?,
        filter: s.one("filter")?,
    };
    let (source, mut notes) = backend.source(false, s.world, &|_| Ok(()))?;
    let dir = PathBuf::from(s.one("confdir")?.unwrap_or_else(|| "/etc/confd".to_string()));
    let (mut drafts, mut broken) = resources(&dir, &s.one("prefix")?.unwrap_or_default(), &name, s.world);
    while let Some((later, why)) = same_destination(&drafts) {
        drafts.remove(later);
        broken.push(why);
    }
    if drafts.is_empty() && broken.is_empty() {
        notes.push((Level::Warning, format!("Found no templates in {}/conf.d", dir.display())));
    }
    let (watches, mut templates) = assemble(drafts);
    for (i, t) in templates.iter_mut().enumerate() {
        t.group = i; // each for itself
        if s.is_on("sync-only")? {
            (t.check, t.reload) = (None, None);
        }
    }
    let interval: u64 = match s.one("interval")? {
        None => 600,
        Some(text) => text.parse().map_err(|_| bad_value(&text, "interval"))?,
    };
    let level = s.one("log-level")?.unwrap_or_else(|| "info".to_string());
    let level = options::log_level(&level).map_err(|_| Error::usage(format!("not a valid log level: \"{level}\"")))?;
    let noop = s.is_on("noop")?;
    Ok(Plan {
        // Without any template confd ends; the rest of a broken folder may be mended while we run.
        once: once || (noop && !s.is_on("watch")?) || (templates.is_empty() && broken.is_empty()),
        sources: vec![source],
        watches,
        templates,
        noop,
        keep_stage: s.is_on("keep-stage-file")?,
        is_lenient: true,
        broken,
        rereads: true,
        refresh: if s.is_on("watch")? { None } else { Some(std::cmp::max(interval, 1).saturating_mul(1000)) },
        log: Log { format: LogFormat::Default, level, program: argv0.to_string() },
        notes,
        ..Plan::default()
    })
}

/// The folder's template resources; those that cannot be read, in words, beside the others.
fn resources(dir: &Path, prefix: &str, backend: &str, world: &World) -> (Vec<Draft>, Vec<String>) {
    let (mut drafts, mut broken) = (Vec::new(), Vec::new());
    let text_of = |src: &str| world.text(&dir.join("templates").join(src.trim_start_matches('/')), "the template");
    for path in (world.files)(&dir.join("conf.d")) {
        let name = path.display().to_string();
        if !name.ends_with(".toml") {
            continue;
        }
        let text = world.text(&path, "the template resource");
        match text.and_then(|text| resource::read(&name, &text, prefix, world, false, &text_of)) {
            Ok(mut draft) => {
                Backend::spell(backend, &mut draft);
                drafts.push(draft);
            }
            Err(e) => broken.push(e.into_text()),
        }
    }
    (drafts, broken)
}

/// Go's flag syntax: `-x`, `--x`, `-x=v`, `-x v`; a switch takes its value only behind `=`; `--` ends the flags.
fn flags(args: Vec<String>) -> Result<Vec<(&'static str, String)>> {
    let mut given = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let Some(word) = arg.strip_prefix('-') else { break };
        let word = word.strip_prefix('-').unwrap_or(word);
        if word.is_empty() {
            break;
        }
        if word.starts_with(['-', '=']) {
            return Err(bad_flag(format!("bad flag syntax: {arg}")));
        }
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (word, None),
        };
        if matches!(name, "h" | "help") {
            given.push(("help", "true".to_string()));
            continue;
        }
        let Some(f) = FLAGS.iter().find(|f| f.name == name) else {
            return Err(bad_flag(format!("flag provided but not defined: -{name}")));
        };
        let value = match (f.kind, value) {
            (b'b', None) => "true".to_string(),
            (b'b', Some(v)) if go_bool(&v).is_none() => {
                return Err(bad_flag(format!("invalid boolean value \"{v}\" for -{name}: parse error")));
            }
            (_, Some(v)) => v,
            (_, None) => match args.next() {
                Some(v) => v,
                None => return Err(bad_flag(format!("flag needs an argument: -{name}"))),
            },
        };
        if name == "interval" && value.parse::<u32>().is_err() {
            return Err(bad_value(&value, name));
        }
        given.push((f.name, value));
    }
    Ok(given)
}

fn bad_value(value: &str, name: &str) -> Error {
    bad_flag(format!("invalid value \"{value}\" for flag -{name}: parse error"))
}

fn bad_flag(why: String) -> Error {
    Error::new(Kind::Flag, [&why, "\n", &usage()].concat())
}

fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn usage() -> String {
    let mut text = String::from("Usage of confd:\n");
    for f in FLAGS {
        text.push_str("  -");
        text.push_str(f.name);
        text.push_str(if f.kind == b'b' { "\n    \t" } else { " value\n    \t" });
        text.push_str(f.help);
        text.push('\n');
    }
    text
}

impl Settings<'_> {
    /// Reads confd.toml: the one that was named, or the usual one if it is there.
    fn read_file(&mut self) -> Result<()> {
        let named = self.one("config-file")?;
        let path = named.clone().unwrap_or_else(|| "/etc/confd/confd.toml".to_string());
        let path = Path::new(&path);
        if named.is_none() && (self.world.read)(path).is_err() {
            return Ok(());
        }
        let (name, text) = (path.display().to_string(), self.world.text(path, "the configuration")?);
        let doc = toml::parse(&name, &text)?;
        let known: Vec<&str> = FLAGS.iter().map(|f| f.key).filter(|k| !k.is_empty()).collect();
        Table::root(&name, &doc).only(&known)?;
        self.file = Some((name, doc));
        Ok(())
    }

    fn key(&self, name: &str) -> Option<(Table<'_>, &'static str)> {
        let (file, doc) = self.file.as_ref()?;
        let key = FLAGS.iter().find(|f| f.name == name)?.key;
        (!key.is_empty()).then(|| (Table::root(file, doc), key))
    }

    fn variable(&self, name: &str) -> Option<&str> {
        // Many an image says CONFD_VERSION for itself.
        if matches!(name, "version" | "help") {
            return None;
        }
        // confd's own variable for the CA file has a name of its own.
        let old = if name == "client-ca-keys" { self.world.var("CONFD_CLIENT_CAKEYS") } else { None };
        let upper = name.replace('-', "_").to_ascii_uppercase();
        old.or_else(|| self.world.var(&["CONFD_", &upper].concat()))
    }

    /// All values of a flag, from where it was said first.
    fn many(&self, name: &str) -> Result<Vec<String>> {
        let flags: Vec<String> = self.flags.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.clone()).collect();
        if !flags.is_empty() {
            return Ok(flags);
        }
        if let Some(v) = self.variable(name) {
            return Ok(vec![v.to_string()]);
        }
        match self.key(name) {
            Some((t, key)) => match t.get(key) {
                Some(Value::Int(n)) => Ok(vec![n.to_string()]),
                Some(Value::Bool(b)) => Ok(vec![b.to_string()]),
                _ => Ok(t.strs(key)?.unwrap_or_default()),
            },
            None => Ok(Vec::new()),
        }
    }

    fn one(&self, name: &str) -> Result<Option<String>> {
        Ok(self.many(name)?.pop().filter(|v| !v.is_empty()))
    }

    fn is_on(&self, name: &str) -> Result<bool> {
        match self.one(name)? {
            None => Ok(false),
            Some(v) => go_bool(&v).ok_or_else(|| bad_value(&v, name)),
        }
    }
}
