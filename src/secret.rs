//! Tokens and passwords on their way from a file or a setting into a request, wiped behind them. Where they are is in
//! the plan; here they are read, at each use, so that a file can rotate. Beside it, what a plan should be warned of: files with
//! secrets that others may read, and servers that are trusted blindly. No secret stands in any message.

use std::io::Read;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::base64;
use crate::error::{Error, Kind, os_text};
use crate::plan::{ACCOUNT, Catalog, Level, Pem, Plan, Reload, Run, Secret, SourceKind, Tls, is_https};
use crate::sys::wipe::wipe;
use crate::text::fill;
use crate::tls::Context;

/// Most bytes of a file that holds a secret: a token of any kind is far below.
const MAX: u64 = 64 << 10;
const TOKEN: &str = "token";
const PASSWORD: &str = "password";
/// The header that says who asks.
pub const AUTHORIZATION: &str = "authorization";

/// Text that is overwritten when it is dropped.
#[derive(Clone, Default)]
pub struct Hidden(String);

impl Hidden {
    /// This text, which is to be the only copy.
    pub fn new(text: String) -> Hidden {
        Hidden(text)
    }
}

impl Deref for Hidden {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        wipe(&mut std::mem::take(&mut self.0).into_bytes());
    }
}

/// Bytes that are overwritten when they are dropped. Growing leaves a copy behind: they are to have room from the begin.
pub struct Wiped(pub Vec<u8>);

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Headers of a request, whose values are overwritten when they are dropped.
#[derive(Default)]
pub struct Headers<'a>(Vec<(&'a str, String)>);

impl<'a> Headers<'a> {
    /// One more.
    pub fn push(&mut self, name: &'a str, value: String) {
        self.0.push((name, value));
    }

    /// A secret behind a word (`Bearer `), if there is one.
    ///
    /// # Errors
    /// Its file cannot be read, or it is nothing that a header may hold.
    #[inline(never)]
    pub fn push_secret(&mut self, name: &'a str, word: &str, secret: &Secret) -> Result<(), String> {
        let text = read(secret, TOKEN)?;
        if !text.is_empty() {
            self.push(name, [word, &text].concat());
        }
        Ok(())
    }

    /// User and password of HTTP basic authentication, if there are any.
    ///
    /// # Errors
    /// The password's file cannot be read, or it holds no password.
    #[inline(never)]
    pub fn push_basic(&mut self, basic: &Option<(String, Secret)>) -> Result<(), String> {
        if let Some((user, password)) = basic {
            let both = Hidden([user, ":", &*read(password, PASSWORD)?].concat());
            let coded = Hidden(base64::encode(both.as_bytes()));
            self.push(AUTHORIZATION, ["Basic ", &coded].concat());
        }
        Ok(())
    }
}

impl<'a> Deref for Headers<'a> {
    type Target = [(&'a str, String)];
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Headers<'_> {
    fn drop(&mut self) {
        for (_, value) in self.0.drain(..) {
            wipe(&mut value.into_bytes());
        }
    }
}

/// What is secret of a header's value, wherever it may be shown again.
pub fn bare(value: &str) -> &str {
    value.strip_prefix("Basic ").unwrap_or(value)
}

/// What the secret is now; empty where there is none. `what` it is stands in errors.
///
/// # Errors
/// Its file cannot be read, or it is a token that no header may hold.
#[inline(never)]
pub fn read(secret: &Secret, what: &str) -> Result<Hidden, String> {
    let text = match secret {
        Secret::None => Hidden::default(),
        Secret::Text(text) => text.clone(),
        Secret::File(path) => {
            let found = file(path);
            found.map_err(|why| fill("cannot read the % file %: %", &[what, &path.to_string_lossy(), &why]))?
        }
    };
    // Without its token a request is one of nobody's, who may see some of the keys: a file that is being written anew would
    // make others vanish.
    if let (Secret::File(path), true) = (secret, text.is_empty()) {
        return Err(fill("the % file % is empty", &[what, &path.to_string_lossy()]));
    }
    // A line end in it would begin another header. A password goes in base64.
    if what == TOKEN && text.bytes().any(|b| !(b' '..=b'~').contains(&b)) {
        return Err("the token has a character that no HTTP header may hold".to_string());
    }
    Ok(text)
}

/// A file's text without the white space at its ends.
fn file(path: &Path) -> Result<Hidden, String> {
    // With room for all, so that growing leaves no copy behind.
    let mut text = Hidden(String::with_capacity(MAX as usize + 64));
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX + 1).read_to_string(&mut text.0));
    match read {
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => Err("it is no UTF-8 text".to_string()),
        Err(e) => Err(os_text(&e)),
        Ok(n) if n as u64 > MAX => Err("it is larger than 64 KiB".to_string()),
        Ok(_) => Ok(Hidden(text.trim().to_string())),
    }
}

/// What is asked of each server: its name, its addresses, and with what it is spoken to.
type Ask<'a> = &'a mut dyn FnMut(&str, &[String], &Tls, &Secret, &Option<(String, Secret)>);

/// Goes through all servers of a plan.
#[inline(never)]
fn each(plan: &Plan, ask: Ask) {
    for source in &plan.sources {
        match &source.kind {
            SourceKind::Consul(c) => ask(&source.name, &c.addresses, &c.tls, &c.token, &c.basic),
            SourceKind::Etcd(e) => ask(&source.name, &e.endpoints, &e.tls, &Secret::None, &e.basic),
            SourceKind::Kubernetes(k) => {
                // The kubelet writes its tokens so that each user of a pod may read them.
                let is_pods = matches!(&k.token, Secret::File(path) if path.starts_with(ACCOUNT));
                let token = if is_pods { &Secret::None } else { &k.token };
                ask(&source.name, &k.addresses, &k.tls, token, &k.basic);
            }
            SourceKind::Services(catalog) => of_catalog(catalog, &source.name, ask),
            SourceKind::Dir(_) | SourceKind::Env | SourceKind::Files { .. } => {}
        }
    }
    if let Some(catalog) = &plan.catalog {
        of_catalog(catalog, "the catalog", ask);
    }
    for handler in &plan.handlers {
        if let Run::Request(r) = &handler.run {
            ask(&r.shown, std::slice::from_ref(&r.address), &r.tls, &r.token, &r.basic);
        }
    }
    for i in 0..=plan.templates.len() {
        if let Some(Reload::Request(r)) = plan.reload(i) {
            ask(&r.shown, std::slice::from_ref(&r.address), &r.tls, &r.token, &r.basic);
        }
    }
}

fn of_catalog(catalog: &Catalog, name: &str, ask: Ask) {
    match catalog {
        Catalog::Consul(c) => ask(name, &c.addresses, &c.tls, &c.token, &c.basic),
        Catalog::Etcd(e, _) => ask(name, &e.endpoints, &e.tls, &Secret::None, &e.basic),
    }
}

/// Adds to the plan's notes what should be known at each start: who is trusted blindly, and which files with secrets
/// others may read.
#[inline(never)]
pub fn warn(plan: &mut Plan) {
    let mut all = Warnings { blind: Vec::new(), files: Vec::new() };
    each(plan, &mut |name, addresses, tls, token, basic| all.look(name, addresses, tls, token, basic));
    for name in all.blind {
        let text = "INSECURE: the certificate of % is not looked at; whoever answers there is believed";
        plan.note(Level::Warning, text, &[&name]);
    }
    for path in all.files {
        let path = path.to_string_lossy();
        plan.note(Level::Warning, "others may read the file %, which holds a secret: chmod o-r %", &[&path, &path]);
    }
}

/// Reads each file of a token, a password, a certificate or a key once. What is not there may come before it is needed, as
/// secrets do that are mounted: that is told, and what else its server is spoken to with is not looked at.
///
/// # Errors
/// `Kind::Config`: one of them cannot be used.
#[inline(never)]
pub fn check(plan: &Plan) -> Result<Vec<String>, Error> {
    let (mut wrong, mut gone) = (None, Vec::new());
    each(plan, &mut |name, addresses, tls, token, basic| {
        let password = basic.as_ref().map_or(&Secret::None, |(_, password)| password);
        let pems = tls.identity.iter().flat_map(|(cert, key)| [cert, key]).chain(&tls.ca);
        let pems = pems.filter_map(|pem| if let Pem::File(path) = pem { Some(path) } else { None });
        let secrets = [token, password].into_iter();
        let secrets = secrets.filter_map(|secret| if let Secret::File(path) = secret { Some(path) } else { None });
        if let Some(path) = pems.chain(secrets).find(|path| !path.exists()) {
            gone.push(fill("% needs the file %, which is not there", &[name, &path.to_string_lossy()]));
            return;
        }
        let tls = if is_https(addresses) { Context::new(tls).check() } else { Ok(()) };
        let all = tls.and_then(|()| read(token, TOKEN)).and_then(|_| read(password, PASSWORD));
        if let (Err(why), None) = (all, &wrong) {
            wrong = Some(Error::filled(Kind::Config, "cannot use %: %", &[name, &why]));
        }
    });
    wrong.map_or(Ok(gone), Err)
}

struct Warnings {
    blind: Vec<String>,
    files: Vec<PathBuf>,
}

impl Warnings {
    #[inline(never)]
    fn look(&mut self, name: &str, addresses: &[String], tls: &Tls, token: &Secret, basic: &Option<(String, Secret)>) {
        if tls.insecure && is_https(addresses) && !self.blind.iter().any(|n| n == name) {
            self.blind.push(name.to_string());
        }
        if let Some((_, Pem::File(key))) = &tls.identity {
            self.file(key);
        }
        for secret in [Some(token), basic.as_ref().map(|(_, password)| password)] {
            if let Some(Secret::File(path)) = secret {
                self.file(path);
            }
        }
    }

    fn file(&mut self, path: &Path) {
        let is_open = std::fs::metadata(path).is_ok_and(|m| m.mode() & 0o004 != 0);
        if is_open && !self.files.iter().any(|f| f == path) {
            self.files.push(path.to_path_buf());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn secrets_come_from_text_and_files() {
        let dir = std::env::temp_dir().join(format!("pilotfish-secret-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("token");
        let at = |bytes: &[u8], what: &str| {
            std::fs::write(&path, bytes).unwrap();
            read(&Secret::File(path.clone()), what).map(|t| t.to_string())
        };
        assert_eq!(at(b" s3cr3t\r\n", "token").unwrap(), "s3cr3t");
        assert_eq!(at("pässword\n".as_bytes(), "password").unwrap(), "pässword");
        for (bytes, what, why) in [
            (&b"a\nb"[..], "token", "the token has a character that no HTTP header may hold"),
            ("ä".as_bytes(), "token", "the token has a character that no HTTP header may hold"),
            (b"\xff", "token", "it is no UTF-8 text"),
            (&[b'x'; 70_000], "token", "it is larger than 64 KiB"),
            (b" \n", "token", "/token is empty"),
        ] {
            let e = at(bytes, what).err().unwrap();
            assert!(e.ends_with(why), "{e}\nwanted {why}");
        }
        std::fs::remove_file(&path).unwrap();
        let gone = read(&Secret::File(path.clone()), "password").err().unwrap();
        assert_eq!(gone, format!("cannot read the password file {}: No such file or directory", path.display()));
        std::fs::remove_dir(&dir).unwrap();
        let mut headers = Headers::default();
        headers.push_secret("x", "Bearer ", &Secret::None).unwrap();
        headers.push_secret("y", "Bearer ", &Secret::Text(Hidden::new("t".to_string()))).unwrap();
        headers.push_basic(&Some(("u".to_string(), Secret::Text(Hidden::new("p".to_string()))))).unwrap();
        let all: Vec<String> = headers.iter().map(|(n, v)| format!("{n}: {v}")).collect();
        assert_eq!(all, ["y: Bearer t", "authorization: Basic dTpw"]);
    }
}
