//! The command lines of `pilotfish health` and `pilotfish probe`: whom to ask. They are for images that have no shell and no
//! curl: Docker's HEALTHCHECK, exec probes of Kubernetes.

use super::options::{Options, time};
use super::{World, check, native};
use crate::error::{Error, Result};
use crate::plan::Request;
use crate::telemetry::server;

/// Their own options.
pub static OWN: &str = "\
      --timeout TIME         wait so long for an answer; default 5s
";

/// The path that is asked for when none is named.
const READY: &str = "/readyz";

/// Reads the words behind `health` or `probe`. A request without a path: whether a connection can be made is all.
///
/// # Errors
/// `Kind::Usage` for the words, `Kind::Config` for what they name.
#[inline(never)]
pub fn read(door: &str, args: &[String], world: &World) -> Result<Box<Request>> {
    let options = Options::read(args, world, OWN)?;
    let is_health = door == "health";
    let wrong = || {
        let usage = "pilotfish probe http://HOST:PORT/PATH|https://HOST:PORT/PATH|tcp://HOST:PORT";
        Error::usage(["usage: ", if is_health { "pilotfish health [URL|/PATH]" } else { usage }].concat())
    };
    let word = options.program.first().map(String::as_str);
    if options.program.len() > 1 || (word.is_none() && !is_health) {
        return Err(wrong());
    }
    let url = match word {
        Some(url) if !(is_health && url.starts_with('/')) => url.to_string(),
        path => ["http://", &ours(&options, world)?, path.unwrap_or(READY)].concat(),
    };
    let Some(mut r) = check::request(&url, door, world)? else {
        return Err(wrong());
    };
    check::add_tls(&mut r, Some(&options), world)?;
    r.timeout = options.parsed("timeout", time).unwrap_or(5_000);
    Ok(r)
}

/// Where pilotfish itself listens: who listens everywhere listens on this machine, too.
#[inline(never)]
fn ours(options: &Options, world: &World) -> Result<String> {
    let Some(found) = native::listens(options, world)? else {
        let text =
            "where does pilotfish listen? say pilotfish health URL, or set PILOTFISH_LISTEN as for pilotfish itself";
        return Err(Error::usage(text));
    };
    let is_open = server::addresses(&found).is_some_and(|all| all.iter().any(|a| a.ip().is_unspecified()));
    let port = found.rsplit(':').next().unwrap_or("");
    Ok(if is_open { ["localhost:", port].concat() } else { found })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(door: &str, args: &[&str], vars: &[(&str, &str)]) -> std::result::Result<String, String> {
        let vars: Vec<(String, String)> = vars.iter().map(|(n, v)| ((*n).to_string(), (*v).to_string())).collect();
        let missing = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        let world =
            World { vars: &vars, read: &missing, files: &|_| Ok(Vec::new()), host: &crate::front::Host::default };
        let args: Vec<String> = args.iter().map(|a| (*a).to_string()).collect();
        let r = read(door, &args, &world).map_err(|e| e.text.clone())?;
        Ok([&r.address, " ", &r.path, " ", &r.timeout.to_string()].concat())
    }

    #[test]
    fn whom_to_ask() {
        let listen = |at| [("PILOTFISH_LISTEN", at)];
        let toml = [("PILOTFISH_CONFIG", "[telemetry]\nlisten = \"127.0.0.1:7\"")];
        for (door, args, vars, want) in [
            ("health", &[][..], &listen(":80")[..], "http://localhost:80 /readyz 5000"),
            ("health", &[], &listen("0.0.0.0:80"), "http://localhost:80 /readyz 5000"),
            ("health", &[], &listen("10.1.2.3:80"), "http://10.1.2.3:80 /readyz 5000"),
            ("health", &["/startupz"], &listen("[::1]:80"), "http://[::1]:80 /startupz 5000"),
            ("health", &["--timeout", "2s", "http://h:1/x"], &[], "http://h:1 /x 2000"),
            ("health", &[], &toml, "http://127.0.0.1:7 /readyz 5000"),
            ("health", &["--listen", ":9"], &toml, "http://localhost:9 /readyz 5000"),
            ("probe", &["tcp://h:1", "--timeout=1s"], &[], "http://h:1  1000"),
            ("probe", &["http://h:1"], &[], "http://h:1 / 5000"),
        ] {
            assert_eq!(asked(door, args, vars).as_deref(), Ok(want), "{door} {args:?}");
        }
        for (door, args) in [
            ("health", &[][..]),
            ("health", &["/readyz"]),
            ("health", &["http://h:1/", "http://h:2/"]),
            ("probe", &[]),
            ("probe", &["/readyz"]),
            ("probe", &["docker://x"]),
            ("probe", &["signal:HUP@x"]),
            ("probe", &["tcp://h:x"]),
        ] {
            assert!(asked(door, args, &[]).is_err(), "{door} {args:?}");
        }
    }
}
