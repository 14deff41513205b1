//! Flags, as all doors read them. A door's help is its table: what it shows is what is read. What is typed or said by
//! variables becomes a list of names and values; it knows the meaning of none.

use crate::error::{Error, Result};
use crate::text::fill;

/// A flag, as a help text shows it.
pub struct Flag {
    /// Its name, without the dashes.
    pub name: &'static str,
    /// Its letter, or a space.
    pub letter: char,
    /// What stands for its value; empty for a switch.
    pub value: &'static str,
}

impl Flag {
    /// Its environment variable. Those that only print have none: an image may use such a name for itself.
    pub fn variable(&self, prefix: &str) -> Option<String> {
        let name = self.name.replace('-', "_").to_ascii_uppercase();
        (!matches!(self.name, "version" | "help")).then(|| [prefix, &name].concat())
    }
}

/// The flags that a help text shows, each at the begin of a line: `-l, --name VALUE  what it does`, without a letter or a
/// value where there is none. Go's flags have one dash and no letter.
#[inline(never)]
pub fn all(help: &'static str) -> Vec<Flag> {
    let mut found = Vec::new();
    for line in help.split('\n') {
        let Some(words) = line.trim_start().strip_prefix('-') else { continue };
        let (letter, rest) = match words.split_once(", ") {
            Some((letter, rest)) if letter.len() == 1 => (letter, rest),
            _ => (" ", words),
        };
        let rest = rest.trim_start_matches(['-', ' ']);
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let value = rest.split(' ').next().unwrap_or("");
        found.push(Flag { name, letter: letter.chars().next().unwrap_or(' '), value });
    }
    found
}

/// What was said: names and values, in order.
#[derive(Default)]
pub struct Given {
    all: Vec<(&'static str, String)>,
}

impl Given {
    /// One more.
    #[inline(never)]
    pub fn push(&mut self, name: &'static str, value: String) {
        self.all.push((name, value));
    }

    /// The value of a flag; of several the last.
    #[inline(never)]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all.iter().rev().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// All values of a flag.
    #[inline(never)]
    pub fn every(&self, name: &str) -> Vec<&str> {
        self.all.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.as_str()).collect()
    }

    /// The first one whose name begins so.
    pub fn first(&self, begin: &str) -> Option<&'static str> {
        self.all.iter().map(|(n, _)| *n).find(|n| n.starts_with(begin))
    }

    /// Whether it was said.
    #[inline(never)]
    pub fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// Where words may stand that are no flags.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// Behind all flags: the first and what follows it are a program's.
    Last,
    /// Anywhere.
    Anywhere,
    /// Anywhere, and the names of flags may be cut short where they stay clear.
    AnywhereCut,
}

/// Reads a command line: `--name value`, `--name=value`, `-l value`, `-lvalue`, `-l=value`; switches share a dash; behind
/// `--` are words alone. Of two flags of one letter the later one has it. `program` is whose help a message names.
///
/// # Errors
/// `Kind::Usage`: a flag that does not exist, one without its value, or a switch with one.
#[inline(never)]
pub fn read(args: &[String], flags: &[Flag], kind: Words, program: &str) -> Result<(Given, Vec<String>)> {
    let wrong = |pattern: &str, words: [&str; 2]| {
        Err(Error::usage([&fill(pattern, &words), "; see ", program, " --help"].concat()))
    };
    let (mut given, mut words) = (Given::default(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let (dash, mut rest) = match (arg.strip_prefix("--"), arg.strip_prefix('-')) {
            (Some(rest), _) => ("--", rest),
            (None, Some(rest)) => ("-", rest),
            (None, None) => ("", ""),
        };
        if rest.is_empty() {
            if dash != "--" {
                words.push(arg.clone());
            }
            if dash == "--" || kind == Words::Last {
                words.extend_from_slice(args.as_slice());
                break;
            }
            continue;
        }
        let is_long = dash == "--";
        while !rest.is_empty() {
            let end = if is_long { rest.find('=') } else { rest.chars().next().map(char::len_utf8) };
            let (name, behind) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, ""));
            let is_it =
                |f: &&Flag| if is_long { f.name == name } else { f.letter != ' ' && name.starts_with(f.letter) };
            let mut found = flags.iter().rev().find(is_it);
            if found.is_none() && is_long && kind == Words::AnywhereCut {
                let mut like = flags.iter().filter(|f| f.name.starts_with(name));
                found = like.next();
                if like.next().is_some() {
                    return wrong("ambiguous option: %%", [dash, name]);
                }
            }
            let Some(f) = found else { return wrong("invalid option '%%'", [dash, name]) };
            let value = behind.strip_prefix('=');
            let value = if f.value.is_empty() {
                if let Some(value) = value {
                    let value = crate::text::quoted(value);
                    return wrong("unexpected argument for option '%': %", [&[dash, name].concat(), &value]);
                }
                rest = behind;
                "true"
            } else {
                rest = "";
                match value.or(Some(behind).filter(|b| !b.is_empty())) {
                    Some(value) => value,
                    None => match args.next() {
                        Some(value) => value,
                        None => return wrong("missing argument for option '%%'", [dash, name]),
                    },
                }
            };
            given.push(f.name, value.to_string());
        }
    }
    Ok((given, words))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HELP: &str = "\
Usage: x [--] y
 -a,  --all            a switch --so -b, --x
 -v,  --value WHAT -e  one with a value
      --also X the last one
  -go value
      \tin Go's way
end
";

    /// The same by lexopt, which this does as.
    fn by_lexopt(args: &[&str], flags: &[Flag], kind: Words) -> std::result::Result<String, String> {
        let mut out = String::new();
        let mut parser = lexopt::Parser::from_args(args);
        let usage = |e: lexopt::Error| format!("{e}; see x --help");
        while let Some(arg) = parser.next().map_err(usage)? {
            let found = match &arg {
                lexopt::Arg::Short(c) => flags.iter().find(|f| f.letter == *c && *c != ' '),
                lexopt::Arg::Long(name) => {
                    let exact = flags.iter().find(|f| f.name == *name);
                    let mut like = flags.iter().filter(|f| f.name.starts_with(name));
                    match (exact, like.next(), like.next()) {
                        (None, _, _) if kind != Words::AnywhereCut => None,
                        (None, Some(_), Some(_)) => return Err(format!("ambiguous option: --{name}; see x --help")),
                        (exact, first, _) => exact.or(first),
                    }
                }
                lexopt::Arg::Value(word) => {
                    out.push_str(&format!(" word {}", word.to_str().unwrap()));
                    if kind == Words::Last {
                        for word in parser.raw_args().map_err(usage)? {
                            out.push_str(&format!(" word {}", word.to_str().unwrap()));
                        }
                    }
                    continue;
                }
            };
            let Some(f) = found else { return Err(usage(arg.unexpected())) };
            let value = if f.value.is_empty() { "true".into() } else { parser.value().map_err(usage)? };
            out = format!("{}={} {out}", f.name, value.to_str().unwrap());
        }
        Ok(out)
    }

    #[test]
    fn a_help_is_a_table() {
        let found = all(HELP);
        let found: Vec<_> = found.iter().map(|f| (f.name, f.letter, f.value)).collect();
        assert_eq!(found, [("all", 'a', ""), ("value", 'v', "WHAT"), ("also", ' ', "X"), ("go", ' ', "value")]);
    }

    #[test]
    fn every_short_command_line_is_read_as_lexopt_reads_it() {
        let words = [
            "--all",
            "--all=",
            "--value",
            "--value=x",
            "--also",
            "--al",
            "--va=é",
            "--no",
            "--=",
            "-a",
            "-av",
            "-aé",
            "-v",
            "-v=",
            "-vx=y",
            "-a=1",
            "-=",
            "-",
            "--",
            "",
            "w",
            "-- ",
            "- ",
        ];
        let flags = all(HELP);
        let mut lines: Vec<Vec<&str>> = vec![vec![]];
        let mut seen = 0;
        while let Some(line) = lines.pop() {
            for kind in [Words::Last, Words::Anywhere, Words::AnywhereCut] {
                let args: Vec<String> = line.iter().map(|w| (*w).to_string()).collect();
                let got = read(&args, &flags, kind, "x").map_err(Error::into_text).map(|(given, words)| {
                    let words: String = words.iter().map(|w| format!(" word {w}")).collect();
                    given.all.iter().rev().map(|(n, v)| format!("{n}={v} ")).collect::<String>() + &words
                });
                assert_eq!(got, by_lexopt(&line, &flags, kind), "{line:?}");
                seen += 1;
            }
            if line.len() < 3 {
                lines.extend(words.iter().map(|w| line.iter().chain([w]).copied().collect()));
            }
        }
        assert!(seen > 30_000, "{seen}");
    }
}
