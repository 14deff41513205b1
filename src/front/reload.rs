//! What `reload` may say, from text or a table to a `Reload`: a signal, a restart, a command, a request over HTTP, a
//! container of Docker, processes by their name. Nothing is asked for here; what can be known to be wrong is refused.

use super::table::{Keys, Table};
use super::{World, identity, native, options};
use std::path::PathBuf;

use crate::error::{Error, Kind, Result};
use crate::plan::{Millis, Named, Pem, Reload, Request, Secret, Tls};
use crate::sys::signal;
use crate::value::Value;

/// A command that takes longer is killed.
const COMMAND: Millis = 60_000;
/// A try of a request that takes longer is given up.
const REQUEST: Millis = 10_000;
/// Where Docker listens.
const DOCKER: &str = "unix:///var/run/docker.sock";

const KEY: &str = "reload";
static RELOAD: Keys = "\
    url method headers body expect timeout retries username password password_file token token_file ca cert key \
    server_name insecure";
const POST: &str = "POST";
const METHODS: &str = "POST, GET, PUT, PATCH, DELETE";

/// How the app learns of new files, from one word. `what` stands in front of the word in an error.
#[inline(never)]
pub fn how(text: &str, what: &str, world: &World) -> Result<Reload> {
    match text {
        "restart" => return Ok(Reload::Restart),
        "none" => return Ok(Reload::None),
        _ => {}
    }
    if let Some(reload) = elsewhere(text, what, world)? {
        return Ok(reload);
    }
    match options::signal_number(text) {
        Ok(n) => Ok(Reload::Signal(n)),
        Err(_) => {
            let want = "expected a signal such as HUP, restart, none, http://..., docker://NAME or signal:HUP@NAME";
            Err(wrong(what, text, want))
        }
    }
}

/// What `reload` says in a table of pilotfish.toml: for the app a word or a list, for a template (`is_own`) a list or a
/// line for the shell; for both what tells somebody elsewhere.
#[inline(never)]
pub fn read(t: &Table, is_own: bool, world: &World) -> Option<Reload> {
    let timeout = t.time("reload_timeout");
    let found = match t.get(KEY)? {
        Value::Map(_) => return request_table(&t.table(KEY), world),
        Value::Str(text) if is_own => elsewhere(text, KEY, world),
        Value::Str(text) => how(text, KEY, world).map(Some),
        _ => Ok(None),
    };
    let mut reload = match found {
        Ok(Some(reload)) => reload,
        Ok(None) => Reload::Command(native::command(t, KEY, COMMAND)?),
        Err(e) => {
            t.wrong(KEY, &e.text);
            return None;
        }
    };
    match (&mut reload, timeout) {
        (Reload::Command(c), Some(ms)) => c.timeout = ms,
        (Reload::Request(r), Some(ms)) => r.timeout = ms,
        _ => {}
    }
    Some(reload)
}

#[inline(never)]
fn wrong(what: &str, text: &str, why: &str) -> Error {
    Error::filled(Kind::Usage, "% %: %", &[what, text, why])
}

/// A reload of somebody elsewhere, if the text is the beginning of one.
#[inline(never)]
pub fn elsewhere(text: &str, what: &str, world: &World) -> Result<Option<Reload>> {
    let (scheme, rest) = text.split_once(':').unwrap_or(("", ""));
    let fail = |text: &str, why: &str| Err(wrong(what, text, why));
    match scheme {
        "http" | "https" => match request(text) {
            Ok(r) => Ok(Some(Reload::Request(r))),
            Err(why) => fail(shown(text), why),
        },
        "signal" => match rest.split_once('@') {
            Some((signal, name)) if !name.is_empty() && !name.contains('/') => match options::signal_number(signal) {
                Ok(signal) => Ok(Some(Reload::Named(Named { signal, name: name.to_string() }))),
                Err(want) => fail(text, &["expected ", want].concat()),
            },
            _ => fail(text, "expected signal:HUP@NAME with a process's name, as in /proc/PID/comm"),
        },
        "docker" => {
            let rest = rest.trim_start_matches('/');
            let (name, query) = rest.split_once('?').unwrap_or((rest, "signal=HUP"));
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(is_name) {
                return fail(text, "expected docker://NAME?signal=HUP with a container's name or id");
            }
            let signal = query.strip_prefix("signal=").map(options::signal_number);
            let Some(Ok(signal)) = signal else {
                return fail(text, "behind the ? expected signal= and a signal's name or number, such as HUP or 1");
            };
            let signal = signal::name(signal);
            let address = world.var("DOCKER_HOST").unwrap_or(DOCKER);
            let is_tls = world.var("DOCKER_TLS_VERIFY").is_some();
            let address = match address.split_once("://") {
                Some(("unix", path)) if path.starts_with('/') => Ok(address.to_string()),
                Some(("tcp", host)) => {
                    let host = host.trim_end_matches('/');
                    let has_port = host.rsplit(']').next().unwrap_or(host).contains(':');
                    let (scheme, port) = if is_tls { ("https://", ":2376") } else { ("http://", ":2375") };
                    request(&[scheme, host, if has_port { "" } else { port }].concat()).map(|r| r.address)
                }
                _ => Err("expected unix:///path or tcp://host:port"),
            }
            .map_err(|why| Error::filled(Kind::Config, "DOCKER_HOST %: %", &[shown(address), why]))?;
            let shown = ["docker://", name, "?signal=", &signal].concat();
            let mut r = post(shown, address, ["/containers/", name, "/kill?signal=", &signal].concat());
            r.is_docker = true;
            if is_tls {
                // Where Docker's own client looks, and what it calls them.
                let (folder, behind) = match world.var("DOCKER_CERT_PATH") {
                    Some(folder) => (folder, "/"),
                    None => (world.var("HOME").unwrap_or(""), "/.docker/"),
                };
                let [ca, cert, key] =
                    ["ca.pem", "cert.pem", "key.pem"].map(|n| Pem::File(PathBuf::from([folder, behind, n].concat())));
                r.tls.ca = vec![ca];
                r.tls.identity = Some((cert, key));
            }
            Ok(Some(Reload::Request(r)))
        }
        _ => Ok(None),
    }
}

/// A POST of nothing.
#[inline(never)]
fn post(shown: String, address: String, path: String) -> Box<Request> {
    Box::new(Request {
        shown,
        address,
        tls: Tls::default(),
        path,
        method: POST.to_string(),
        headers: Vec::new(),
        basic: None,
        token: Secret::None,
        body: String::new(),
        expect: Vec::new(),
        timeout: REQUEST,
        retries: 0,
        is_docker: false,
    })
}

/// A URL without what may be secret in it: what stands before an `@` or behind a `?`.
fn shown(url: &str) -> &str {
    let url = url.split('?').next().unwrap_or(url);
    url.rsplit('@').next().unwrap_or(url)
}

#[inline(never)]
fn request(url: &str) -> std::result::Result<Box<Request>, &'static str> {
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if host.contains('@') {
        return Err("a user and a password belong into `username` and `password` of a table, see [app.reload]");
    }
    let port = host.rsplit(']').next().unwrap_or(host).rsplit_once(':');
    let bare = port.map_or(host, |(_, p)| host.strip_suffix(p).and_then(|h| h.strip_suffix(':')).unwrap_or(""));
    let is_six = bare.starts_with('[');
    if bare.is_empty() || is_six != bare.ends_with(']') || is_six != bare.contains(':') {
        return Err("expected http://HOST:PORT/PATH or https://HOST:PORT/PATH");
    }
    if port.is_some_and(|(_, p)| p.parse::<u16>().is_err()) {
        return Err("its port is no number");
    }
    if rest.contains('#') || !rest.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b)) {
        return Err("a character in it must be escaped as %XX");
    }
    let path = if path.starts_with('/') { path.to_string() } else { ["/", path].concat() };
    let address = [scheme, "://", host].concat();
    Ok(post([POST, " ", &address, shown(&path)].concat(), address, path))
}

/// Whether there is such a method; the request has it then.
#[inline(never)]
fn set_method(r: &mut Request, method: &str) -> bool {
    r.shown = [method, r.shown.strip_prefix(POST).unwrap_or(&r.shown)].concat();
    r.method = method.to_string();
    METHODS.split(", ").any(|m| m == method)
}

/// A request by a URL and a method in any case (empty: POST). `what` stands in front of them in an error.
///
/// # Errors
/// What is wrong with either.
pub fn by_http(url: &str, method: &str, what: &str, world: &World) -> Result<Box<Request>> {
    let Some(Reload::Request(mut r)) = elsewhere(url, what, world)? else {
        return Err(wrong(what, shown(url), "expected http://HOST:PORT/PATH"));
    };
    if !method.is_empty() && !set_method(&mut r, &method.to_ascii_uppercase()) {
        return Err(wrong(what, method, &["the method must be one of ", METHODS].concat()));
    }
    Ok(r)
}

#[inline(never)]
fn request_table(t: &Table, world: &World) -> Option<Reload> {
    t.only(RELOAD);
    let url = t.required("url");
    let mut r = match elsewhere(url, "url", world) {
        Ok(Some(Reload::Request(r))) => r,
        Ok(_) => {
            t.wrong("url", "must begin with http://, https:// or docker://");
            return None;
        }
        Err(e) => {
            t.wrong("url", &e.text);
            return None;
        }
    };
    r.timeout = t.time("timeout").unwrap_or(r.timeout);
    if r.timeout == 0 {
        t.wrong("timeout", "must be longer than nothing");
    }
    r.retries = t.id("retries").unwrap_or(0);
    if r.retries > 10 {
        t.wrong("retries", "must be at most 10");
    }
    if r.is_docker {
        t.only("url timeout retries");
    }
    if let Some(method) = t.str("method")
        && !set_method(&mut r, method)
    {
        t.wrong("method", &["must be one of ", METHODS].concat());
    }
    r.body = t.str("body").unwrap_or("").to_string();
    r.basic = identity::basic(t);
    r.token = identity::token(t).unwrap_or_default();
    if r.basic.is_some() && !matches!(r.token, Secret::None) {
        t.wrong("username", "and `token` are two ways to say who asks: only one can be sent");
    }
    if !r.is_docker
        && let Err(e) = identity::add_table(&mut r.tls, r.address.starts_with("https://"), t, None)
    {
        t.document().wrong(e);
    }
    let headers = t.table("headers");
    for name in headers.keys() {
        let value = headers.str(name).unwrap_or("");
        let is_word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if ["content-length", "transfer-encoding", "connection"].iter().any(|n| n.eq_ignore_ascii_case(name)) {
            headers.wrong(name, "is written by pilotfish itself");
        }
        // A value that breaks the line would be headers of its own.
        if !is_word || name.is_empty() || !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            headers.wrong(name, "is no header: a name of letters and dashes, a text without line ends");
        }
        r.headers.push((name.to_string(), value.to_string()));
    }
    let one = t.get("expect").map(std::slice::from_ref);
    for status in t.get("expect").and_then(Value::as_list).or(one).unwrap_or(&[]) {
        match status {
            Value::Int(n @ 100..=599) => r.expect.push(*n as u16),
            _ => t.wrong("expect", "must be a status such as 200, or a list of them"),
        }
    }
    Some(Reload::Request(r))
}
