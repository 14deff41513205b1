//! Whom we trust and who we are, as each way in says it: CAs, certificate and key, the server's name, user and password;
//! and the variables with secrets that children must not see. Files are named here and read elsewhere, at each use.

use std::path::PathBuf;

use super::options::Options;
use super::table::{Document, Table};
use super::{World, list};
use crate::error::{Error, Kind, Result};
pub use crate::plan::is_https;
use crate::plan::{Catalog, Pem, Plan, Secret, SourceKind, Tls};
use crate::secret::Hidden;
use crate::text::fill;

/// What a way in calls the CAs, the certificate, its key, and the server's name.
type Names = [&'static str; 4];

/// The keys of pilotfish.toml for this, those of TLS first; options have the same names with dashes.
static TLS_KEYS: [&str; 5] = ["ca", "cert", "key", "server_name", "insecure"];
static CONSUL: Names = ["CONSUL_CACERT", "CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY", "CONSUL_TLS_SERVER_NAME"];
/// As etcdctl calls them, of etcd's second interface and of the third.
static ETCD: [Names; 2] = [
    ["ETCDCTL_CA_FILE", "ETCDCTL_CERT_FILE", "ETCDCTL_KEY_FILE", ""],
    ["ETCDCTL_CACERT", "ETCDCTL_CERT", "ETCDCTL_KEY", ""],
];
/// confd's flags.
pub static CONFD: Names = ["client-ca-keys", "client-cert", "client-key", ""];
/// reconfig's.
pub static RECONFIG: Names = ["ssl_cafile", "ssl_cert", "ssl_key", ""];

/// Certificate and key as they were said, beside their names.
type Pair = [(&'static str, Option<Pem>); 2];

/// Adds what was said. A certificate without its key, or a key without its certificate, is wrong: the name that is
/// there, and the one that is missing.
#[inline(never)]
fn add(tls: &mut Tls, ca: Vec<Pem>, pair: Pair, name: Option<&str>) -> std::result::Result<(), [&'static str; 2]> {
    if !ca.is_empty() {
        tls.ca = ca;
    }
    if let Some(name) = name {
        tls.name = Some(name.to_string());
    }
    let [(cert, cert_pem), (key, key_pem)] = pair;
    match (cert_pem, key_pem) {
        (Some(cert), Some(key)) => tls.identity = Some((cert, key)),
        (Some(_), None) => return Err([cert, key]),
        (None, Some(_)) => return Err([key, cert]),
        (None, None) => {}
    }
    Ok(())
}

fn file(path: &str) -> Pem {
    Pem::File(PathBuf::from(path))
}

/// A path has no such line in it.
fn file_or_text(text: &str) -> Pem {
    if text.contains("-----BEGIN ") { Pem::Text(text.to_string()) } else { file(text) }
}

fn unpaired(dash: &str, [given, missing]: [&str; 2]) -> Error {
    Error::filled(Kind::Config, "%% needs %% beside it", &[dash, given, dash, missing])
}

/// Adds what flags say. `dash` stands in front of their names in an error.
///
/// # Errors
/// `Kind::Config`: a certificate without its key, or the other way round.
#[inline(never)]
pub fn add_flags<'a>(
    tls: &mut Tls,
    dash: &str,
    names: &Names,
    get: &dyn Fn(&'static str) -> Option<&'a str>,
) -> Result<()> {
    let [ca, cert, key, name] = *names;
    let pem = |name| get(name).map(file);
    let ca = pem(ca).into_iter().collect();
    add(tls, ca, [(cert, pem(cert)), (key, pem(key))], get(name)).map_err(|pair| unpaired(dash, pair))
}

/// Adds what Consul's own variables say.
///
/// # Errors
/// As `add_flags`.
#[inline(never)]
pub fn add_consul(tls: &mut Tls, world: &World) -> Result<()> {
    // Consul looks at the folder only where there is no file.
    let folder = |name: &str| if name == CONSUL[0] { world.var("CONSUL_CAPATH") } else { None };
    add_flags(tls, "", &CONSUL, &|name| world.var(name).or_else(|| folder(name)))?;
    tls.insecure = world.var("CONSUL_HTTP_SSL_VERIFY").and_then(super::settings::go_bool) == Some(false);
    Ok(())
}

/// Adds what etcdctl's variables say, and gives its user and password.
///
/// # Errors
/// As `add_flags`.
#[inline(never)]
pub fn add_etcd(tls: &mut Tls, world: &World) -> Result<Option<(String, Secret)>> {
    for names in &ETCD {
        add_flags(tls, "", names, &|name| world.var(name))?;
    }
    tls.insecure = world.var("ETCDCTL_INSECURE_SKIP_TLS_VERIFY").and_then(super::settings::go_bool) == Some(true);
    let (user, password) = (world.var("ETCDCTL_USER"), world.var("ETCDCTL_PASSWORD"));
    // With a password of its own the user's name may have a colon.
    Ok(both(user, password).or_else(|| user.and_then(pair)))
}

/// Adds what a table of pilotfish.toml and the options say, which is for `https://` alone: where it has no effect it
/// would be missed.
///
/// # Errors
/// `Kind::Usage` for the options; what is wrong with the table is kept there.
#[inline(never)]
pub fn add_table(tls: &mut Tls, is_https: bool, t: &Table, options: Option<&Options>) -> Result<()> {
    let option = |key: &str| key.replace('_', "-");
    let typed = |key: &str| options.is_some_and(|o| o.is_set(&option(key)));
    if !is_https {
        for key in TLS_KEYS {
            let text = "is for TLS: the URL must say https, as in consul+https://, etcd+https:// or https://";
            if t.has(key) {
                t.wrong(key, text);
            } else if typed(key) {
                return Err(Error::filled(Kind::Usage, "--% %", &[&option(key), text]));
            }
        }
        return Ok(());
    }
    tls.insecure = t.bool("insecure", tls.insecure) || typed("insecure");
    let [ca, cert, key, name, _] = TLS_KEYS;
    let one = |key: &str| options.and_then(|o| o.get(&option(key))).or_else(|| t.str(key)).filter(|v| !v.is_empty());
    let mut all = Vec::new();
    if typed(ca) {
        for path in options.map(|o| o.all(ca)).unwrap_or_default() {
            all.push(file_or_text(path));
        }
    } else {
        for path in t.strs(ca).unwrap_or_default() {
            all.push(file_or_text(&path));
        }
    }
    let pair = [cert, key].map(|key| (key, one(key).map(file_or_text)));
    if let Err([given, missing]) = add(tls, all, pair, one(name)) {
        if !t.has(given) {
            return Err(unpaired("--", [given, missing]));
        }
        t.wrong(given, &fill("needs `%` beside it", &[missing]));
    }
    Ok(())
}

/// Adds what the options alone say.
///
/// # Errors
/// As `add_table`.
pub fn add_options(tls: &mut Tls, is_https: bool, options: Option<&Options>) -> Result<()> {
    match options {
        Some(_) => add_table(tls, is_https, &Document::parse("", "")?.root(), options),
        None => Ok(()),
    }
}

/// A secret given as it is.
#[inline(never)]
pub fn text(secret: &str) -> Secret {
    Secret::Text(Hidden::new(secret.to_string()))
}

/// User and password, if there are both.
#[inline(never)]
pub fn both(user: Option<&str>, password: Option<&str>) -> Option<(String, Secret)> {
    Some((user?.to_string(), text(password?)))
}

/// `user:password`.
pub fn pair(words: &str) -> Option<(String, Secret)> {
    let (user, password) = words.split_once(':')?;
    both(Some(user), Some(password))
}

/// `token`, or `token_file`, of a table.
#[inline(never)]
pub fn token(t: &Table) -> Option<Secret> {
    let given = t.str("token").map(text);
    t.str("token_file").map(|path| Secret::File(PathBuf::from(path))).or(given)
}

/// `username` with `password` or `password_file`, of a table.
#[inline(never)]
pub fn basic(t: &Table) -> Option<(String, Secret)> {
    let given = t.str("password").map(text);
    let password = t.str("password_file").map(|path| Secret::File(PathBuf::from(path))).or(given);
    let user = t.str("username");
    if user.is_some() != password.is_some() {
        let (key, why) = match user {
            Some(_) => ("username", "needs `password` or `password_file` beside it"),
            None if t.has("password") => ("password", "needs `username` beside it"),
            None => ("password_file", "needs `username` beside it"),
        };
        t.wrong(key, why);
    }
    Some((user?.to_string(), password?))
}

/// Variables that hold secrets: of the native way in, of confd's ways in, of Consul, of etcd.
pub static OWN: &str = "PILOTFISH_TOKEN PILOTFISH_CONFIG PILOTFISH_KEY";
/// Of confd's ways in.
pub static OF_CONFD: &str = "CONFD_AUTH_TOKEN CONFD_PASSWORD";
const OF_CONSUL: &str = "CONSUL_HTTP_TOKEN CONSUL_HTTP_AUTH";
const OF_ETCD: &str = "ETCDCTL_USER ETCDCTL_PASSWORD";

/// The variables that children may see all the same, as a table and the options name them.
#[inline(never)]
pub fn passed(t: Option<&Table>, options: Option<&Options>) -> String {
    let mut all = String::new();
    let mut add = |names: &str| {
        all.push_str(names);
        all.push(',');
    };
    if let Some(t) = t {
        t.strs("pass_env").unwrap_or_default().iter().for_each(|names| add(names));
    }
    if let Some(options) = options {
        options.all("pass-env").iter().for_each(|names| add(names));
    }
    all
}

/// Keeps the variables with secrets that this plan uses from its children: those of its way in and of its sources. What is
/// passed, to all or to the app alone, was named by the user.
#[inline(never)]
pub fn hide(plan: &mut Plan, ways: &[&'static str], pass: &str, pass_app: &str) {
    let mut all = ways.to_vec();
    for source in &plan.sources {
        match source.kind {
            SourceKind::Consul(_) => all.push(OF_CONSUL),
            SourceKind::Etcd(_) => all.push(OF_ETCD),
            SourceKind::Services(_) => {} // of the catalog
            SourceKind::Kubernetes(_) | SourceKind::Dir(_) | SourceKind::Env | SourceKind::Files { .. } => {}
        }
    }
    match plan.catalog {
        Some(Catalog::Consul(_)) => all.push(OF_CONSUL),
        Some(Catalog::Etcd(..)) => all.push(OF_ETCD),
        None => {}
    }
    let (pass, pass_app) = (list(pass), list(pass_app));
    for names in all {
        for name in names.split(' ').filter(|name| !pass.contains(name)) {
            plan.env_remove.push(name);
            if let Some(app) = &mut plan.app
                && !pass_app.contains(&name)
            {
                app.env_remove.push(name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
