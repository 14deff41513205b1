//! Whom a URL asks whether somebody is well: `http://`, `https://` or `tcp://`, so that an image needs no curl. It reads the
//! text; asking is done elsewhere.

use super::options::Options;
use super::table::Document;
use super::{World, identity, reload};
use crate::error::{Error, Kind, Result};
use crate::plan::{Millis, Reload, Request, Run};

const TCP: &str = "tcp://";
/// No check takes longer, whatever is said.
const LONGEST: Millis = 86_400_000;

/// What is done when the text is the beginning of a URL, within `timeout`; else it is a command, and there is nothing.
/// `what` stands in front of the text in an error.
///
/// # Errors
/// `Kind::Usage`: what is wrong with the URL.
#[inline(never)]
pub fn read(text: &str, what: &str, timeout: Millis, world: &World) -> Result<Option<Run>> {
    let timeout = timeout.min(LONGEST);
    if let Some(host) = text.strip_prefix(TCP) {
        let is_whole = host.bytes().any(|b| b == b':') && !host.ends_with(']') && !host.contains('/');
        return match request(text, what, world)? {
            Some(r) if is_whole => {
                let host = r.address.split("//").nth(1).unwrap_or("").to_string();
                Ok(Some(Run::Tcp(host, timeout)))
            }
            _ => Err(Error::filled(Kind::Usage, "% %: expected tcp://HOST:PORT", &[what, text])),
        };
    }
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Ok(None);
    }
    let Some(mut r) = request(text, what, world)? else { return Ok(None) };
    r.timeout = timeout;
    add_tls(&mut r, None, world)?;
    Ok(Some(Run::Request(r)))
}

/// A GET of a URL; of `tcp://`, whose path is empty, a connection alone.
///
/// # Errors
/// As `read`.
#[inline(never)]
pub fn request(url: &str, what: &str, world: &World) -> Result<Option<Box<Request>>> {
    let is_bare = url.starts_with(TCP);
    let found = reload::elsewhere(&url.replacen(TCP, "http://", 1), what, world);
    let found = found.map_err(|mut e| {
        if is_bare {
            e.text = e.text.replacen("http://", TCP, 1);
        }
        e
    })?;
    let Some(Reload::Request(mut r)) = found else { return Ok(None) };
    if r.is_docker {
        return Ok(None);
    }
    r.method = "GET".to_string();
    r.shown = r.shown.split(' ').next_back().unwrap_or("").to_string();
    if is_bare {
        r.path.clear();
    }
    Ok(Some(r))
}

/// Whom an `https://` trusts, and who we are: as the options and their variables say.
///
/// # Errors
/// `Kind::Usage`: a certificate without its key, or the other way round.
#[inline(never)]
pub fn add_tls(r: &mut Request, options: Option<&Options>, world: &World) -> Result<()> {
    if !r.address.starts_with("https://") {
        return Ok(());
    }
    match options {
        Some(options) => identity::add_table(&mut r.tls, true, &Document::parse("", "")?.root(), Some(options)),
        None => add_tls(r, Some(&Options::read(&[], world, "")?), world),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn said(text: &str) -> String {
        let vars = [("PILOTFISH_CA".to_string(), "/ca.pem".to_string())];
        let missing = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        let world =
            World { vars: &vars, read: &missing, files: &|_| Ok(Vec::new()), host: &crate::front::Host::default };
        match read(text, "health", 700, &world) {
            Ok(None) => "a command".to_string(),
            Ok(Some(Run::Tcp(host, limit))) => format!("tcp {host} {limit}"),
            Ok(Some(Run::Request(r))) => {
                format!("{} {} {} {} {} ca {}", r.shown, r.method, r.address, r.path, r.timeout, r.tls.ca.len())
            }
            Ok(Some(_)) => "?".to_string(),
            Err(e) => e.into_text(),
        }
    }

    #[test]
    fn urls_and_commands() {
        for (text, want) in [
            ("/bin/true", "a command"),
            ("http:", "a command"),
            ("docker://x", "a command"),
            ("signal:HUP@x", "a command"),
            ("curl http://localhost/", "a command"),
            ("tcp://localhost:5432", "tcp localhost:5432 700"),
            ("tcp://[::1]:1", "tcp [::1]:1 700"),
            ("http://localhost/app?k=v", "http://localhost/app GET http://localhost /app?k=v 700 ca 0"),
            ("https://h:8443", "https://h:8443/ GET https://h:8443 / 700 ca 1"),
            ("tcp://localhost", "health tcp://localhost: expected tcp://HOST:PORT"),
            ("tcp://[::1]", "health tcp://[::1]: expected tcp://HOST:PORT"),
            ("tcp://h:1/x", "health tcp://h:1/x: expected tcp://HOST:PORT"),
            ("tcp://h:x", "health tcp://h:x: its port is no number"),
            ("http://", "health http://: expected http://HOST:PORT/PATH or https://HOST:PORT/PATH"),
            ("http://a b/", "health http://a b/: a character in it must be escaped as %XX"),
        ] {
            assert_eq!(said(text), want, "{text}");
        }
    }
}
