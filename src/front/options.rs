//! The options as typed: the help is the table from which parsing, variables and the documentation test come.
//! Flags win over `PILOTFISH_*` variables; what neither says is left to the configuration file and the defaults.

use super::World;
use super::flags::{self, Given, Words};
use super::help::{self, Help};
use crate::error::{Error, Result};
use crate::plan::{Control, Level, LogFormat, Millis, Restart, parse_duration};
use crate::sys::signal;
use crate::template::Dialect;
use crate::text::{fill, group};

/// The help, as `--help` prints it. Every option there is stands in it.
pub const HELP: &str = "\
pilotfish keeps an app's config files in step with Consul or a folder of keys, and runs the app.

Usage: pilotfish [OPTIONS] [--] PROGRAM [ARGS...]       render, run PROGRAM, reload it on changes
       pilotfish [OPTIONS]                              only keep the files in step
       pilotfish check [OPTIONS]                        validate everything, touch nothing
       pilotfish confd-sidecar [OPTIONS] PROGRAM [ARGS...]   as confd-sidecar, by its CONFD_* variables
       pilotfish confd [FLAGS]                          as confd, with its flags, files and variables
       pilotfish config-controller [FLAGS] [-- PROGRAM [ARGS...]]   as config-controller, for ConfigMaps
       pilotfish containerpilot [FLAGS] [PROGRAM [ARGS...]]   as ContainerPilot 2, with its configuration
       pilotfish kv get|ls|set|del|watch [OPTIONS] KEY  a source's keys by hand
       pilotfish health [URL|/PATH]                     exit with 0 when pilotfish is ready
       pilotfish probe URL                              exit with 0 when http://, https:// or tcp:// answers
       pilotfish status                                 how a running pilotfish is; exit with 0 when it is ready
       pilotfish maintenance on|off                     take its services out of the catalog, or put them back
       pilotfish reload                                 have it read its configuration again

Each option may also come from the environment: --stop-timeout is PILOTFISH_STOP_TIMEOUT.

 -c,  --config FILE          read pilotfish.toml; PILOTFISH_CONFIG may also hold its whole text
 -s,  --source URL           where keys come from: consul://host:port/prefix, etcd://host:port/prefix, k8s://namespace/configmap/name,
                             dir:/folder, env:, ...
      --catalog URL          where services are told of and found: consul://host:port, etcd://host:port/prefix, ...
      --kubeconfig FILE      of k8s://: the cluster and who we are there; default KUBECONFIG, a pod's own, ~/.kube/config
 -t,  --template SRC:DEST    render the template file SRC to DEST (repeatable)
      --dialect go|upon      the language of --template files; default: go for *.tmpl, else upon
      --token TOKEN          the source's token; better in CONSUL_HTTP_TOKEN or a file
      --token-file FILE      read the token from FILE before each request
      --ca FILE              who may sign servers' certificates, PEM, a file or folder (repeatable); default: the system's
      --cert FILE            our certificate for servers that ask for one, PEM, with --key
      --key FILE             its key, PEM
      --server-name NAME     the name servers' certificates must have; default: the host of the URL
      --insecure             accept any certificate: for tests only
      --pass-env NAMES       variables with secrets that children may see all the same
      --allow-empty          let all keys of a prefix vanish; default: keep the last good ones
      --wait TIME            longest wait of a blocking query, longest silence of a stream; default 60s
      --max-stale TIME       accept answers of followers up to this age; default: the leader's only
      --once                 render everything once, then end
      --make-dirs            create missing folders of destinations
 -r,  --reload HOW           how the app learns of new files: a signal (default HUP), restart, none, http://..., docker://...
      --reload-signal SIGNAL the same as --reload SIGNAL
      --stop-signal SIGNAL   what asks the app to stop; default TERM
      --stop-timeout TIME    the app's group is killed this long after it was asked; default 8s
      --restart WHEN         start the app again when it ends: never (default), on-failure, always
      --start-timeout TIME   give up when the first render is not done by then; default: never
      --settle QUIET[,MAX]   apply a change when none came for QUIET, at the latest after MAX
      --splay TIME           delay each reload by a random time up to this
      --listen HOST:PORT     answer /healthz, /startupz, /readyz and /metrics there; default: nowhere
      --control PATH         the unix socket where it can be asked and told, usual or none; default: usual for PID 1, else none
      --log-format FORMAT    default, text or json
      --log-level LEVEL      debug, info (default), warning or error
 -V,  --version              print the version
 -h,  --help                 print this

Exit codes: the program's own, 128+n when signal n ended it, 126 or 127 when it cannot be run;
64 usage, 69 given up waiting, 78 bad configuration, 1 anything else.
";

/// In front of an option's name in capitals: its variable.
pub const PREFIX: &str = "PILOTFISH_";

/// The options as typed, and the program to run.
pub struct Options {
    given: Given,
    /// Program and arguments.
    pub program: Vec<String>,
}

impl Options {
    /// Reads `args` up to the first word that is no option, then fills in from the environment. With `own`, the help of
    /// more options, which come before the others, words may stand anywhere.
    ///
    /// # Errors
    /// `Kind::Usage`: an option that does not exist, one without its value, or a value that is none.
    #[inline(never)]
    pub fn read(args: &[String], world: &World, own: &'static str) -> Result<Options> {
        let mut flags = flags::all(help::text(Help::Pilotfish));
        let common = flags.len();
        flags.extend(flags::all(own));
        let words = if own.is_empty() { Words::Last } else { Words::Anywhere };
        let (mut given, program) = flags::read(args, &flags, words, "pilotfish")?;
        for f in flags.iter().take(common) {
            let Some(variable) = f.variable(PREFIX) else { continue };
            let Some(value) = world.var(&variable) else { continue };
            if given.is_set(f.name) || (f.value.is_empty() && !is_yes(value)) {
                continue;
            }
            // Several templates in one variable: one a line.
            let is_list = f.name == "template";
            for line in value.split(if is_list { '\n' } else { '\0' }).filter(|v| !v.trim().is_empty()) {
                let whole = line.strip_suffix('\r').filter(|_| is_list).unwrap_or(line);
                given.push(f.name, whole.to_string());
            }
        }
        // A value that is wrong is said, whether this plan has a use for it or not. What stands for a value in the help
        // says how it is read.
        for f in &flags {
            for text in given.every(f.name) {
                let wrong =
                    match group(f.value, "TIME, SIGNAL, WHEN, FORMAT, LEVEL, QUIET[,MAX], HOST:PORT, PATH, go|upon") {
                        _ if f.name == "reload-signal" => None, // restart and none are taken here too
                        0 => time(text).err(),
                        1 => signal_number(text).err(),
                        2 => restart(text).err(),
                        3 => log_format(text).err(),
                        4 => log_level(text).err(),
                        5 => settle(text).err(),
                        6 => listen(text).err(),
                        7 => control(text).err(),
                        8 => dialect(text).err(),
                        _ => None,
                    };
                if let Some(want) = wrong {
                    return Err(Error::usage(fill("--% %: expected %", &[f.name, text, want])));
                }
            }
        }
        Ok(Options { given, program })
    }

    /// Whether the option was given.
    pub fn is_set(&self, name: &str) -> bool {
        self.given.is_set(name)
    }

    /// Its value; of several the last.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given.get(name)
    }

    /// All its values.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.given.every(name)
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
#[inline(never)]
pub fn time(text: &str) -> Read<Millis> {
    parse_duration(text).ok_or("a time such as 500ms, 10s or 5m")
}

/// A span of quiet, and the longest to wait for it: ten times as long where that is not said.
#[inline(never)]
pub fn settle(text: &str) -> Read<(Millis, Millis)> {
    let (quiet, max) = text.split_once(',').unwrap_or((text, ""));
    let quiet = time(quiet)?;
    Ok((quiet, if max.is_empty() { quiet.saturating_mul(10) } else { time(max)? }))
}

/// Where to listen.
#[inline(never)]
pub fn listen(text: &str) -> Read<String> {
    let found = crate::telemetry::server::addresses(text);
    found.map(|_| text.to_string()).ok_or("HOST:PORT with an address as the host, or :PORT")
}

/// Where it can be asked and told.
#[inline(never)]
pub fn control(text: &str) -> Read<Control> {
    match text {
        "none" => Ok(Control::None),
        "usual" => Ok(Control::Usual),
        _ if text.contains('/') => Ok(Control::At(text.to_string())),
        _ => Err("a path with a / in it, usual or none"),
    }
}

/// A file's mode.
#[inline(never)]
pub fn mode(text: &str) -> Read<u32> {
    let octal = u32::from_str_radix(text.trim_start_matches("0o"), 8);
    octal.ok().filter(|m| *m <= 0o7777).ok_or("an octal mode such as 0640")
}

/// A template's language.
#[inline(never)]
pub fn dialect(text: &str) -> Read<Dialect> {
    match text {
        "go" => Ok(Dialect::Go),
        "upon" => Ok(Dialect::Upon),
        _ => Err("\"go\" or \"upon\""),
    }
}

/// A signal's number.
#[inline(never)]
pub fn signal_number(text: &str) -> Read<i32> {
    signal::number(text).ok_or("a signal's name or number, such as HUP or 1")
}

/// A restart policy.
#[inline(never)]
pub fn restart(text: &str) -> Read<Restart> {
    match text {
        "never" => Ok(Restart::Never),
        "on-failure" => Ok(Restart::OnFailure),
        "always" => Ok(Restart::Always),
        _ => Err("never, on-failure or always"),
    }
}

/// A log format.
#[inline(never)]
pub fn log_format(text: &str) -> Read<LogFormat> {
    match text {
        "default" => Ok(LogFormat::Default),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("default, text or json"),
    }
}

/// A log level, in the words of confd and others.
#[inline(never)]
pub fn log_level(text: &str) -> Read<Level> {
    match group(&text.to_ascii_lowercase(), "debug trace, info notice, warn warning, error fatal panic") {
        0 => Ok(Level::Debug),
        1 => Ok(Level::Info),
        2 => Ok(Level::Warning),
        3 => Ok(Level::Error),
        _ => Err("debug, info, warning or error"),
    }
}
