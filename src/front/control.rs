//! The command lines of `pilotfish status`, `pilotfish maintenance` and `pilotfish reload`: what a running pilotfish is asked
//! or told, and where. Its own socket is named by the same option and variable as for pilotfish itself.

use super::World;
use super::options::{self, Options, time};
use super::probe::OWN;
use crate::control::Call;
use crate::error::{Error, Result};
use crate::plan::Control;
use crate::text::is_one_of;

/// Reads the words behind `status`, `maintenance` or `reload`.
///
/// # Errors
/// `Kind::Usage`: there are others.
#[inline(never)]
pub fn read(door: &str, args: &[String], world: &World) -> Result<Box<Call>> {
    let options = Options::read(args, world, OWN)?;
    let mut path = ["/", door].concat();
    for word in &options.program {
        path.push('/');
        path.push_str(word);
    }
    if !is_one_of(&path, "/status /reload /maintenance/on /maintenance/off") {
        return Err(Error::usage("usage: pilotfish status|reload|maintenance on|maintenance off [--control PATH]"));
    }
    let method = if door == "status" { "GET" } else { "POST" };
    let at = options.parsed("control", options::control).unwrap_or(Control::Usual);
    Ok(Box::new(Call { method, path, at, limit: options.parsed("timeout", time).unwrap_or(5_000) }))
}

/// Where pilotfish itself can be asked, as it was said: in place of a program that had no such thing, nothing else is made.
pub fn said(options: &Options) -> Control {
    options.parsed("control", options::control).unwrap_or(Control::None)
}

/// The same; when nothing was said, at the usual place where it is PID 1 of a container.
pub fn socket(options: &Options, world: &World) -> Control {
    let is_unsaid = !options.is_set("control");
    if is_unsaid && (world.host)().pid == 1 { Control::Usual } else { said(options) }
}

#[cfg(test)]
mod tests {
    use super::super::{Host, Invocation};
    use super::*;

    fn name(at: &Control) -> &str {
        match at {
            Control::None => "none",
            Control::Usual => "usual",
            Control::At(path) => path,
        }
    }

    /// What the front makes of these words and this value of PILOTFISH_CONTROL, as this process.
    fn enter(words: &[&str], variable: &str, pid: u32) -> String {
        let vars = [("PILOTFISH_CONTROL".to_string(), variable.to_string())];
        let missing = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        let host = || Host { pid, ..Host::default() };
        let world = World { vars: &vars, read: &missing, files: &|_| Ok(Vec::new()), host: &host };
        let words: Vec<String> = words.iter().map(|w| (*w).to_string()).collect();
        match super::super::read("pilotfish", &words, &world) {
            Ok(Invocation::Run(plan)) => name(&plan.control).to_string(),
            Ok(Invocation::Control(call)) => {
                [call.method, &call.path, name(&call.at), &call.limit.to_string()].join(" ")
            }
            Ok(_) => "something else".to_string(),
            Err(e) => [&e.exit_code().to_string(), " ", &e.text].concat(),
        }
    }

    #[test]
    fn what_is_asked_of_whom() {
        for (words, variable, want) in [
            (&["status"][..], "", "GET /status usual 5000"),
            (&["reload"], "/a/b", "POST /reload /a/b 5000"),
            (&["maintenance", "on"], "", "POST /maintenance/on usual 5000"),
            (&["maintenance", "off", "--control", "/x"], "/a/b", "POST /maintenance/off /x 5000"),
            (&["maintenance", "--control=./x", "on"], "", "POST /maintenance/on ./x 5000"),
            (&["status", "--timeout", "1s"], "usual", "GET /status usual 1000"),
            (&["status"], "none", "GET /status none 5000"),
        ] {
            assert_eq!(enter(words, variable, 7), want, "{words:?}");
        }
        for words in [
            &["status", "now"][..],
            &["reload", "on"],
            &["maintenance"],
            &["maintenance", "maybe"],
            &["maintenance", "on", "off"],
            &["status", "--control", "usually"],
            &["status", "--control="],
            &["status", "--nonsense"],
        ] {
            assert!(enter(words, "", 7).starts_with("64 "), "{words:?}: {}", enter(words, "", 7));
        }
    }

    #[test]
    fn where_it_can_be_asked_itself() {
        let native = &["--config=[[template]]\ntext = 'a'\ndest = '/x'\n[source.e]\nurl = 'env:'\n"][..];
        for (words, variable, pid, want) in [
            (native, "", 7, "none"),
            (native, "", 1, "usual"),
            (native, "none", 1, "none"),
            (native, "/a/b", 1, "/a/b"),
            (native, "usual", 7, "usual"),
            (&["confd", "-backend=env"], "/a/b", 7, "/a/b"),
            (&["confd", "-backend=env"], "", 1, "none"),
            (&["confd", "-backend=env"], "usual", 1, "usual"),
        ] {
            assert_eq!(enter(words, variable, pid), want, "{words:?} {variable} {pid}");
        }
        assert_eq!(enter(&[&["--control", "/c"], native].concat(), "/a/b", 1), "/c");
    }
}
