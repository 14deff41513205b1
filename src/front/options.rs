//! The options as typed: one table from which parsing, environment variables, help and the documentation test come.
//! Flags win over `PILOTFISH_*` variables; what neither says is left to the configuration file and the defaults.

use super::World;
use crate::error::{Error, Result};
use crate::plan::{Level, LogFormat, Millis, Restart, parse_duration};
use crate::sys::signal;
use crate::template::Dialect;

/// One option.
pub struct Opt {
    /// Its name, without the dashes. `PILOTFISH_` and the name in capitals is its variable.
    pub name: &'static str,
    /// Its letter, or a space.
    pub letter: char,
    /// What stands for its value in the help; empty for a switch.
    pub value: &'static str,
    /// What it does.
    pub help: &'static str,
}

impl Opt {
    /// Its environment variable. Those that only print have none: an image may use such a name for itself.
    pub fn variable(&self) -> Option<String> {
        let name = self.name.replace('-', "_").to_ascii_uppercase();
        (!matches!(self.name, "version" | "help")).then(|| ["PILOTFISH_", &name].concat())
    }
}

/// An option, with a space for a letter it has not, and no value for a switch.
pub const fn opt(name: &'static str, letter: char, value: &'static str, help: &'static str) -> Opt {
    Opt { name, letter, value, help }
}

/// Every option there is.
pub static OPTIONS: &[Opt] = &[
    opt("config", 'c', "FILE", "read pilotfish.toml; PILOTFISH_CONFIG may also hold its whole text"),
    opt(
        "source",
        's',
        "URL",
        "where keys come from: consul://host:port/prefix, etcd://host:port/prefix, dir:/folder, env:, ...",
    ),
    opt("template", 't', "SRC:DEST", "render the template file SRC to DEST (repeatable)"),
    opt("dialect", ' ', "go|upon", "the language of --template files; default: go for *.tmpl, else upon"),
    opt("token", ' ', "TOKEN", "the source's token; better in CONSUL_HTTP_TOKEN or a file"),
    opt("token-file", ' ', "FILE", "read the token from FILE before each request"),
    opt("allow-empty", ' ', "", "let all keys of a prefix vanish; default: keep the last good ones"),
    opt("wait", ' ', "TIME", "longest wait of a blocking query, longest silence of a stream; default 60s"),
    opt("max-stale", ' ', "TIME", "accept answers of followers up to this age; default: the leader's only"),
    opt("once", ' ', "", "render everything once, then end"),
    opt("make-dirs", ' ', "", "create missing folders of destinations"),
    opt(
        "reload",
        'r',
        "HOW",
        "how the app learns of new files: a signal (default HUP), restart, none, http://..., docker://...",
    ),
    opt("reload-signal", ' ', "SIGNAL", "the same as --reload SIGNAL"),
    opt("stop-signal", ' ', "SIGNAL", "what asks the app to stop; default TERM"),
    opt("stop-timeout", ' ', "TIME", "the app's group is killed this long after it was asked; default 8s"),
    opt("restart", ' ', "WHEN", "start the app again when it ends: never (default), on-failure, always"),
    opt("start-timeout", ' ', "TIME", "give up when the first render is not done by then; default: never"),
    opt("settle", ' ', "QUIET[,MAX]", "apply a change when none came for QUIET, at the latest after MAX"),
    opt("splay", ' ', "TIME", "delay each reload by a random time up to this"),
    opt("log-format", ' ', "FORMAT", "default, text or json"),
    opt("log-level", ' ', "LEVEL", "debug, info (default), warning or error"),
    opt("version", 'V', "", "print the version"),
    opt("help", 'h', "", "print this"),
];

/// The options as typed, and the program to run.
pub struct Options {
    given: Vec<(&'static str, String)>,
    /// Program and arguments.
    pub program: Vec<String>,
}

/// What is wrong with an option, in lexopt's words: its own printer can say more, and what shows any name of a file is
/// 1,000 bytes.
#[inline(never)]
fn wrong(e: &lexopt::Error) -> String {
    match e {
        lexopt::Error::MissingValue { option: Some(option) } => ["missing argument for option '", option, "'"].concat(),
        lexopt::Error::UnexpectedOption(option) => ["invalid option '", option, "'"].concat(),
        lexopt::Error::UnexpectedValue { option, value } => {
            format!("unexpected argument for option '{option}': {:?}", value.to_string_lossy())
        }
        _ => String::from("unexpected argument"),
    }
}

impl Options {
    /// Reads `args` up to the first word that is no option, then fills in from the environment. With `own`, which come
    /// before those of the table, words may stand anywhere.
    ///
    /// # Errors
    /// `Kind::Usage`: an option that does not exist, or one without its value.
    #[inline(never)]
    pub fn read(args: Vec<String>, world: &World, own: &'static [Opt]) -> Result<Options> {
        let mut given: Vec<(&'static str, String)> = Vec::new();
        let mut program = Vec::new();
        let mut parser = lexopt::Parser::from_args(args);
        let usage = |e: lexopt::Error| Error::usage([&wrong(&e), "; see pilotfish --help"].concat());
        while let Some(arg) = parser.next().map_err(usage)? {
            let found = match &arg {
                lexopt::Arg::Long(name) => own.iter().chain(OPTIONS).find(|o| o.name == *name),
                lexopt::Arg::Short(c) => own.iter().chain(OPTIONS).find(|o| o.letter == *c && *c != ' '),
                lexopt::Arg::Value(first) => {
                    program.push(first.to_string_lossy().into_owned());
                    if !own.is_empty() {
                        continue;
                    }
                    for word in parser.raw_args().map_err(usage)? {
                        program.push(word.to_string_lossy().into_owned());
                    }
                    break;
                }
            };
            let Some(o) = found else {
                return Err(usage(arg.unexpected()));
            };
            let value = if o.value.is_empty() {
                "true".to_string()
            } else {
                parser.value().map_err(usage)?.to_string_lossy().into_owned()
            };
            given.push((o.name, value));
        }
        for o in OPTIONS {
            let Some(variable) = o.variable() else { continue };
            let Some(value) = world.var(&variable) else { continue };
            if !given.iter().any(|(n, _)| *n == o.name) && (!o.value.is_empty() || is_yes(value)) {
                // Several templates in one variable: one a line.
                let many = if o.name == "template" { value.lines().collect() } else { vec![value] };
                given.extend(many.into_iter().filter(|v| !v.trim().is_empty()).map(|v| (o.name, v.to_string())));
            }
        }
        let options = Options { given, program };
        options.check()?;
        Ok(options)
    }

    /// A value that is wrong is said, whether this plan has a use for it or not. What stands for a value in the help
    /// says how it is read.
    fn check(&self) -> Result<()> {
        for o in OPTIONS.iter().chain(super::kv::OWN) {
            for text in self.all(o.name) {
                let wrong = match o.value {
                    _ if o.name == "reload-signal" => None, // restart and none are taken here too
                    "TIME" => time(text).err(),
                    "SIGNAL" => signal_number(text).err(),
                    "WHEN" => restart(text).err(),
                    "FORMAT" => log_format(text).err(),
                    "LEVEL" => log_level(text).err(),
                    "QUIET[,MAX]" => settle(text).err(),
                    "go|upon" => dialect(text).err(),
                    _ => None,
                };
                if let Some(want) = wrong {
                    return Err(Error::usage(format!("--{} {text}: expected {want}", o.name)));
                }
            }
        }
        Ok(())
    }

    /// Whether the option was given.
    pub fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Its value; of several the last.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given.iter().rev().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// All its values.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.given.iter().filter(move |(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// Its value read by `read`, of which is known already that it can.
    pub fn parsed<T>(&self, name: &str, read: fn(&str) -> Read<T>) -> Option<T> {
        read(self.get(name)?).ok()
    }
}

fn is_yes(value: &str) -> bool {
    !matches!(value.to_ascii_lowercase().as_str(), "0" | "false" | "no" | "off")
}

/// A value, or what was expected instead.
pub type Read<T> = std::result::Result<T, &'static str>;

/// A span of time.
pub fn time(text: &str) -> Read<Millis> {
    parse_duration(text).ok_or("a time such as 500ms, 10s or 5m")
}

/// A span of quiet, and the longest to wait for it: ten times as long where that is not said.
pub fn settle(text: &str) -> Read<(Millis, Millis)> {
    let (quiet, max) = text.split_once(',').unwrap_or((text, ""));
    let quiet = time(quiet)?;
    Ok((quiet, if max.is_empty() { quiet.saturating_mul(10) } else { time(max)? }))
}

/// A template's language.
pub fn dialect(text: &str) -> Read<Dialect> {
    match text {
        "go" => Ok(Dialect::Go),
        "upon" => Ok(Dialect::Upon),
        _ => Err("\"go\" or \"upon\""),
    }
}

/// A signal's number.
pub fn signal_number(text: &str) -> Read<i32> {
    signal::number(text).ok_or("a signal's name or number, such as HUP or 1")
}

/// A restart policy.
pub fn restart(text: &str) -> Read<Restart> {
    match text {
        "never" => Ok(Restart::Never),
        "on-failure" => Ok(Restart::OnFailure),
        "always" => Ok(Restart::Always),
        _ => Err("never, on-failure or always"),
    }
}

/// A log format.
pub fn log_format(text: &str) -> Read<LogFormat> {
    match text {
        "default" => Ok(LogFormat::Default),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("default, text or json"),
    }
}

/// A log level, in the words of confd and others.
pub fn log_level(text: &str) -> Read<Level> {
    match text.to_ascii_lowercase().as_str() {
        "debug" | "trace" => Ok(Level::Debug),
        "info" | "notice" => Ok(Level::Info),
        "warn" | "warning" => Ok(Level::Warning),
        "error" | "fatal" | "panic" => Ok(Level::Error),
        _ => Err("debug, info, warning or error"),
    }
}

/// The help, as `--help` prints it.
pub fn help() -> String {
    let mut text = String::from(HEAD);
    for o in OPTIONS {
        let mut left = String::from(if o.letter == ' ' { "     " } else { " -" });
        if o.letter != ' ' {
            left.push(o.letter);
            left.push_str(", ");
        }
        left.push_str(" --");
        left.push_str(o.name);
        if !o.value.is_empty() {
            left.push(' ');
            left.push_str(o.value);
        }
        while left.len() < 28 {
            left.push(' ');
        }
        text.push_str(&left);
        text.push(' ');
        text.push_str(o.help);
        text.push('\n');
    }
    text.push_str(TAIL);
    text
}

static HEAD: &str = "\
pilotfish keeps an app's config files in step with Consul or a folder of keys, and runs the app.

Usage: pilotfish [OPTIONS] [--] PROGRAM [ARGS...]       render, run PROGRAM, reload it on changes
       pilotfish [OPTIONS]                              only keep the files in step
       pilotfish check [OPTIONS]                        validate everything, touch nothing
       pilotfish confd-sidecar [OPTIONS] PROGRAM [ARGS...]   as confd-sidecar, by its CONFD_* variables
       pilotfish confd [FLAGS]                          as confd, with its flags, files and variables
       pilotfish kv get|ls|set|del|watch [OPTIONS] KEY  a source's keys by hand

Each option may also come from the environment: --stop-timeout is PILOTFISH_STOP_TIMEOUT.

";

static TAIL: &str = "
Exit codes: the program's own, 128+n when signal n ended it, 126 or 127 when it cannot be run;
64 usage, 69 given up waiting, 78 bad configuration, 1 anything else.
";
