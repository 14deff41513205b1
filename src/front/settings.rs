//! confd's settings by its own names: its flags in Go's style, a CONFD_* variable for each, and confd.toml. Flags win over
//! variables, variables over confd.toml. What a setting means is decided elsewhere; the first thing that is wrong is kept
//! and said by `verdict`.

use std::cell::Cell;
use std::path::Path;

use super::World;
use super::flags::{self, Given};
use super::help::{self, Help};
use super::table::Document;
use crate::error::{Error, Kind, Result};
use crate::plan::Level;
use crate::text::{fill, group};
use crate::value::Value;

/// The help, as Go prints it. Every flag there is stands in it.
pub const HELP: &str = "\
Usage of confd:
  -allow-empty
    \tlet all keys of a prefix vanish; by default the last good ones stay
  -auth-token value
    \tthe backend's token
  -backend value
    \tconsul, env, etcd (the default), etcdv3 or file
  -basic-auth
    \tuse -username and -password
  -client-ca-keys value
    \tPEM file of the CAs that sign servers' certificates (default: those the system trusts)
  -client-cert value
    \tPEM file of our certificate, for servers that ask for one
  -client-insecure
    \taccept any certificate: for tests only
  -client-key value
    \tPEM file of our certificate's key
  -confdir value
    \tthe folder of conf.d and templates (default /etc/confd)
  -config-file value
    \tthe configuration file (default /etc/confd/confd.toml)
  -file value
    \tthe backend file's YAML, JSON or TOML files, or folders of them
  -filter value
    \twhich files of folders, by name (default *)
  -interval value
    \tseconds between two readings of conf.d (default 600)
  -keep-stage-file
    \tkeep staged files
  -log-level value
    \tdebug, info (default), warn, error
  -node value
    \tthe backend's addresses
  -noop
    \tshow what would change, write nothing
  -onetime
    \trun once and end
  -pass-env value
    \tvariables with secrets that commands may see all the same
  -password value
    \tfor basic authentication
  -prefix value
    \tin front of all keys
  -scheme value
    \thttp (default) or https, for nodes without one
  -srv-domain value
    \tthe nodes are those of the DNS SRV record _BACKEND._tcp.DOMAIN
  -srv-record value
    \tthe nodes are those of this DNS SRV record
  -sync-only
    \trun no check_cmd and no reload_cmd
  -username value
    \tfor basic authentication
  -version
    \tprint the version
  -watch
    \twatch for changes (which happens in any case)
";

/// Flags of confd for backends that are not here: taken with their value, which says nothing.
static FOREIGN: &str = "app-id auth-type path role-id secret-id secret-keyring separator table user-id";

/// Names of all flags, with their keys in confd.toml (empty: none).
pub fn names() -> Vec<(&'static str, String)> {
    flags::all(help::text(Help::Confd)).iter().map(|f| (f.name, key_of(f.name))).collect()
}

/// The key of a flag in confd.toml, empty where it has none.
#[inline(never)]
fn key_of(name: &str) -> String {
    match group(name, "config-file onetime version, client-ca-keys, node, log-level sync-only") {
        0 => String::new(),
        1 => "client_cakeys".to_string(),
        2 => "nodes".to_string(),
        3 => name.to_string(),
        _ => name.replace('-', "_"),
    }
}

/// What was said, by flags, variables and confd.toml.
pub struct Settings<'a> {
    /// By flags, else by variables, else by a confd.toml where it could be read.
    given: Given,
    /// Where variables and files come from.
    pub world: &'a World<'a>,
    file: Option<Document>,
    wrong: Cell<Option<Error>>,
}

impl<'a> Settings<'a> {
    /// Variables alone.
    pub fn of_variables(world: &'a World<'a>) -> Settings<'a> {
        Settings::new(Given::default(), world)
    }

    /// Flags and variables.
    ///
    /// # Errors
    /// `Kind::Flag`, in Go's words.
    pub fn of_flags(args: &[String], world: &'a World<'a>) -> Result<Settings<'a>> {
        Ok(Settings::new(typed(args, help::text(Help::Confd), FOREIGN)?.0, world))
    }

    #[inline(never)]
    fn new(mut given: Given, world: &'a World<'a>) -> Settings<'a> {
        for f in flags::all(help::text(Help::Confd)) {
            let mut value = f.variable("CONFD_").and_then(|variable| world.var(&variable));
            if f.name == "client-ca-keys" {
                value = world.var("CONFD_CLIENT_CAKEYS").or(value); // confd's own name for it
            }
            if let Some(value) = value.filter(|_| !given.is_set(f.name)) {
                given.push(f.name, value.to_string());
            }
        }
        Settings { given, world, file: None, wrong: Cell::new(None) }
    }

    /// Adds confd.toml: the one that was named, or the usual one. Where there is none, there is nothing to add.
    ///
    /// # Errors
    /// It cannot be read, or is no TOML.
    pub fn read_file(&mut self) -> Result<()> {
        let path = Path::new(self.or("config-file", "/etc/confd/confd.toml"));
        if (self.world.read)(path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
            return Ok(());
        }
        let (name, text) = (path.display().to_string(), self.world.text(path, "the configuration")?);
        let file = Document::parse_as_go(&name, &text)?;
        let root = file.root();
        for (name, key) in names() {
            let values = match root.get(&key) {
                _ if key.is_empty() || self.given.is_set(name) => continue,
                Some(Value::Int(n)) => vec![n.to_string()],
                Some(Value::Bool(b)) => vec![if *b { "true" } else { "false" }.to_string()],
                _ => root.texts(&key).unwrap_or_default(),
            };
            for value in values {
                self.given.push(name, value);
            }
        }
        self.file = Some(file);
        Ok(())
    }

    /// Tells of what is in confd.toml and means nothing, as for confd.
    pub fn add_notes(&self, notes: &mut Vec<(Level, String)>) {
        let Some(file) = &self.file else { return };
        let mut known = String::new();
        for (_, key) in names() {
            known.push_str(if known.is_empty() || key.is_empty() { "" } else { " " });
            known.push_str(&key);
        }
        file.root().strangers(&known, notes);
    }

    /// All values of a flag, from where it was said first. One in confd.toml that is none is wrong once it is asked for.
    #[inline(never)]
    pub fn many(&self, name: &str) -> Vec<&str> {
        let all = self.given.every(name);
        if let Some(file) = &self.file
            && all.is_empty()
        {
            let key = key_of(name);
            let _ = if key.is_empty() { None } else { file.root().strs(&key) };
        }
        all
    }

    /// The last value, unless it is empty.
    #[inline(never)]
    pub fn one(&self, name: &str) -> Option<&str> {
        self.many(name).pop().filter(|v| !v.is_empty())
    }

    /// The last value, or a default where it is empty or not said.
    pub fn or<'s>(&'s self, name: &str, default: &'s str) -> &'s str {
        self.one(name).unwrap_or(default)
    }

    /// A switch.
    #[inline(never)]
    pub fn is_on(&self, name: &str) -> bool {
        let Some(v) = self.one(name) else { return false };
        go_bool(v).unwrap_or_else(|| {
            self.wrong(bad_value(v, name));
            false
        })
    }

    /// A whole number.
    pub fn number(&self, name: &str, default: u64) -> u64 {
        let Some(v) = self.one(name) else { return default };
        v.parse().unwrap_or_else(|_| {
            self.wrong(bad_value(v, name));
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

const NEEDS: &str = "flag needs an argument: -%";

/// Go's flag syntax: `-x`, `--x`, `-x=v`, `-x v`; a switch takes its value only behind `=`; `--` ends the flags. `help`
/// shows all there are, but for those of `foreign`, which say nothing: taken with their value, or, with a `?` behind them,
/// switches. Gives what stands behind them, too.
///
/// # Errors
/// `Kind::Flag`, in Go's words.
#[inline(never)]
pub fn typed<'a>(args: &'a [String], help: &'static str, foreign: &str) -> Result<(Given, &'a [String])> {
    let mut given = Given::default();
    let known = flags::all(help);
    let bad_flag = |pattern: &str, words: &[&str]| bad_flag(pattern, words, help);
    let mut args = args.iter();
    loop {
        let rest = args.as_slice();
        let Some(arg) = args.next() else { return Ok((given, rest)) };
        let Some(word) = arg.strip_prefix('-') else { return Ok((given, rest)) };
        let word = word.strip_prefix('-').unwrap_or(word);
        if word.is_empty() {
            return Ok((given, args.as_slice()));
        }
        if word.starts_with(['-', '=']) {
            return Err(bad_flag("bad flag syntax: %", &[arg]));
        }
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        if matches!(name, "h" | "help") {
            given.push("help", "true".to_string());
            continue;
        }
        if let Some(f) = foreign.split(' ').find(|f| f.trim_end_matches('?') == name) {
            if value.is_none() && f == name && args.next().is_none() {
                return Err(bad_flag(NEEDS, &[name]));
            }
            continue;
        }
        let Some(f) = known.iter().find(|f| f.name == name) else {
            return Err(bad_flag("flag provided but not defined: -%", &[name]));
        };
        let value = match (f.value, value) {
            ("", None) => "true",
            ("", Some(v)) if go_bool(v).is_none() => {
                return Err(bad_flag("invalid boolean value \"%\" for -%: parse error", &[v, name]));
            }
            (_, Some(v)) => v,
            (_, None) => match args.next() {
                Some(v) => v,
                None => return Err(bad_flag(NEEDS, &[name])),
            },
        };
        if name == "interval" && value.parse::<u32>().is_err() {
            return Err(bad_value(value, name));
        }
        given.push(f.name, value.to_string());
    }
}

fn bad_value(value: &str, name: &str) -> Error {
    bad_flag("invalid value \"%\" for flag -%: parse error", &[value, name], help::text(Help::Confd))
}

#[inline(never)]
fn bad_flag(pattern: &str, words: &[&str], help: &str) -> Error {
    Error::new(Kind::Flag, [&fill(pattern, words), "\n", help].concat())
}

/// true or false, as Go's programs write them.
pub fn go_bool(text: &str) -> Option<bool> {
    match group(text, "1 t T true TRUE True, 0 f F false FALSE False") {
        0 => Some(true),
        1 => Some(false),
        _ => None,
    }
}
