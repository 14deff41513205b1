//! confd's settings by its own names: its flags in Go's style, a CONFD_* variable for each, and confd.toml. Flags win over
//! variables, variables over confd.toml. What a setting means is decided elsewhere; the first thing that is wrong is kept
//! and said by `verdict`.

use std::cell::Cell;
use std::path::Path;

use super::World;
use super::table::Document;
use crate::error::{Error, Kind, Result};
use crate::plan::Level;
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

/// Flags of confd for backends that are not here: taken with their value, which says nothing.
static FOREIGN: &[&str] =
    &["app-id", "auth-type", "path", "role-id", "secret-id", "secret-keyring", "separator", "table", "user-id"];

static FLAGS: &[Flag] = &[
    flag("allow-empty", b'b', "allow_empty", "let all keys of a prefix vanish; by default the last good ones stay"),
    flag("auth-token", b's', "auth_token", "the backend's token"),
    flag("backend", b's', "backend", "consul, env, etcd (the default), etcdv3 or file"),
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
    flag("srv-domain", b's', "srv_domain", "the nodes are those of the DNS SRV record _BACKEND._tcp.DOMAIN"),
    flag("srv-record", b's', "srv_record", "the nodes are those of this DNS SRV record"),
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
pub struct Settings<'a> {
    flags: Vec<(&'static str, String)>,
    /// Where variables and files come from.
    pub world: &'a World<'a>,
    file: Option<Document>,
    wrong: Cell<Option<Error>>,
}

impl<'a> Settings<'a> {
    /// Variables alone.
    pub fn of_variables(world: &'a World<'a>) -> Settings<'a> {
        Settings { flags: Vec::new(), world, file: None, wrong: Cell::new(None) }
    }

    /// Flags and variables.
    ///
    /// # Errors
    /// `Kind::Flag`, in Go's words.
    pub fn of_flags(args: Vec<String>, world: &'a World<'a>) -> Result<Settings<'a>> {
        Ok(Settings { flags: flags(args)?, ..Settings::of_variables(world) })
    }

    /// Adds confd.toml: the one that was named, or the usual one. Where there is none, there is nothing to add.
    ///
    /// # Errors
    /// It cannot be read, or is no TOML.
    pub fn read_file(&mut self) -> Result<()> {
        let path = self.or("config-file", "/etc/confd/confd.toml");
        let path = Path::new(&path);
        if (self.world.read)(path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
            return Ok(());
        }
        let (name, text) = (path.display().to_string(), self.world.text(path, "the configuration")?);
        self.file = Some(Document::parse_as_go(&name, &text)?);
        Ok(())
    }

    /// What is in confd.toml and means nothing, as for confd.
    pub fn notes(&self) -> Vec<(Level, String)> {
        let known: Vec<&str> = FLAGS.iter().map(|f| f.key).filter(|k| !k.is_empty()).collect();
        self.file.as_ref().map_or(Vec::new(), |file| file.root().strangers(&known))
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
    #[inline(never)]
    pub fn many(&self, name: &str) -> Vec<String> {
        let flags: Vec<String> = self.flags.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.clone()).collect();
        if !flags.is_empty() {
            return flags;
        }
        if let Some(v) = self.variable(name) {
            return vec![v.to_string()];
        }
        let key = FLAGS.iter().find(|f| f.name == name).map_or("", |f| f.key);
        match &self.file {
            Some(file) if !key.is_empty() => match file.root().get(key) {
                Some(Value::Int(n)) => vec![n.to_string()],
                Some(Value::Bool(b)) => vec![if *b { "true" } else { "false" }.to_string()],
                _ => file.root().strs(key).unwrap_or_default(),
            },
            _ => Vec::new(),
        }
    }

    /// The last value, unless it is empty.
    pub fn one(&self, name: &str) -> Option<String> {
        self.many(name).pop().filter(|v| !v.is_empty())
    }

    /// The last value, or a default where it is empty or not said.
    pub fn or(&self, name: &str, default: &str) -> String {
        self.one(name).unwrap_or_else(|| default.to_string())
    }

    /// A switch.
    #[inline(never)]
    pub fn is_on(&self, name: &str) -> bool {
        let Some(v) = self.one(name) else { return false };
        go_bool(&v).unwrap_or_else(|| {
            self.wrong(bad_value(&v, name));
            false
        })
    }

    /// A whole number.
    pub fn number(&self, name: &str, default: u64) -> u64 {
        let Some(v) = self.one(name) else { return default };
        v.parse().unwrap_or_else(|_| {
            self.wrong(bad_value(&v, name));
            default
        })
    }

    /// Something is wrong; what was wrong before it counts.
    pub fn wrong(&self, e: Error) {
        let first = self.wrong.take().unwrap_or(e);
        self.wrong.set(Some(first));
    }

    /// Whether all was well with what was asked for so far.
    ///
    /// # Errors
    /// The first thing that was wrong.
    pub fn verdict(&self) -> Result<()> {
        if let Some(file) = &self.file {
            file.verdict()?;
        }
        self.wrong.take().map_or(Ok(()), Err)
    }
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
        if FOREIGN.contains(&name) {
            if value.is_none() && args.next().is_none() {
                return Err(bad_flag(format!("flag needs an argument: -{name}")));
            }
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

/// The help, as Go prints it.
pub fn usage() -> String {
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
