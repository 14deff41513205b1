//! Where the API server of Kubernetes is and who we are there: by a kubeconfig, or as a pod finds it. What is watched there
//! is decided elsewhere. It reads no key and no certificate, but for those that stand in the kubeconfig itself.

use std::path::{Path, PathBuf};

use super::{World, identity, server_address};
use crate::base64;
use crate::error::{Error, Kind, Result};
use crate::formats::{json, yaml};
use crate::plan::{ACCOUNT, Kubernetes, Pem, Plan, Secret, Source, SourceKind};
use crate::text::fill;
use crate::value::Value;

/// The namespace where none is named.
pub const DEFAULT: &str = "default";
const ADDRESS: &str = "k8s://NAMESPACE/configmap/NAME, k8s://NAMESPACE/secret/NAME or \
                       k8s://NAMESPACE/configmap?selector=LABELS";

/// Of which nothing is known yet.
#[inline(never)]
pub fn unknown() -> Box<Kubernetes> {
    Box::default()
}

/// The server and who we are there: by the kubeconfig that is named, else KUBECONFIG, else as a pod, else by the one of
/// people.
///
/// # Errors
/// There is none of these, or what is wrong with it.
#[inline(never)]
pub fn access(k: &mut Kubernetes, kubeconfig: Option<&str>, world: &World) -> Result<()> {
    let is_pod = world.var("KUBERNETES_SERVICE_HOST").is_some();
    match (kubeconfig.or(world.var("KUBECONFIG")), world.var("HOME")) {
        (Some(path), _) => by_file(k, Path::new(path), world),
        (None, Some(home)) if !is_pod => {
            let path = Path::new(home).join(".kube/config");
            // Nobody has named it: where there is none, what is missing is a name.
            match (world.read)(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => by_account(k, world),
                _ => by_file(k, &path, world),
            }
        }
        _ => by_account(k, world),
    }
}

/// As a pod: by its service account.
///
/// # Errors
/// It is none.
#[inline(never)]
pub fn by_account(k: &mut Kubernetes, world: &World) -> Result<()> {
    let Some(host) = world.var("KUBERNETES_SERVICE_HOST") else {
        let text = "cannot reach Kubernetes: KUBERNETES_SERVICE_HOST is not set, so this is no pod; name a kubeconfig \
                    (--kubeconfig FILE)";
        return Err(Error::config(text));
    };
    let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
    let port = world.var("KUBERNETES_SERVICE_PORT").unwrap_or("443");
    k.addresses.push(["https://", open, host, close, ":", port].concat());
    let file = |name: &str| PathBuf::from([ACCOUNT, name].concat());
    k.token = Secret::File(file("token"));
    k.tls.ca.push(Pem::File(file("ca.crt")));
    let namespace = world.text(&file("namespace"), "");
    k.namespace = namespace.as_deref().unwrap_or(DEFAULT).trim().to_string();
    Ok(())
}

/// A kubeconfig.
struct Config<'a> {
    path: &'a Path,
    name: String,
    root: Value,
}

fn get<'a>(v: &'a Value, key: &str) -> Option<&'a Value> {
    v.as_map()?.get(key)
}

/// A text; empty where there is none.
#[inline(never)]
fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    get(v, key).and_then(Value::as_str).unwrap_or("")
}

impl Config<'_> {
    #[inline(never)]
    fn wrong(&self, pattern: &str, words: &[&str]) -> Error {
        Error::config(["the kubeconfig ", &self.name, ": ", &fill(pattern, words)].concat())
    }

    /// What a name stands for: in the list of `key`s, whose elements have a `name` and a `key`.
    #[inline(never)]
    fn named(&self, key: &str, name: &str) -> Result<&Value> {
        let all = get(&self.root, &[key, "s"].concat()).and_then(Value::as_list).unwrap_or(&[]);
        let found = all.iter().find(|v| text(v, "name") == name).and_then(|v| get(v, key));
        found.ok_or_else(|| self.wrong("there is no % %", &[key, name]))
    }

    /// A file that is named there: relative to the kubeconfig itself.
    #[inline(never)]
    fn file(&self, name: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(name)
    }

    /// A certificate or a key: `KEY-data` holds it, `KEY` names its file.
    #[inline(never)]
    fn pem(&self, v: &Value, key: &str) -> Result<Option<Pem>> {
        let data = [key, "-data"].concat();
        let (coded, file) = (text(v, &data), text(v, key));
        if coded.is_empty() {
            return Ok((!file.is_empty()).then(|| Pem::File(self.file(file))));
        }
        let plain = base64::read(coded, false).ok().and_then(|b| String::from_utf8(b).ok());
        plain.map(|text| Some(Pem::Text(text))).ok_or_else(|| self.wrong("% is no base64 of PEM", &[&data]))
    }

    /// What its current context says.
    #[inline(never)]
    fn current(&self, k: &mut Kubernetes) -> Result<()> {
        let context = self.named("context", text(&self.root, "current-context"))?;
        let cluster = self.named("cluster", text(context, "cluster"))?;
        let server = text(cluster, "server");
        // Behind the address, the paths of several clusters.
        let host = server.find("://").map_or(0, |at| at + 3);
        let path = server.get(host..).and_then(|rest| rest.find('/')).map_or(server.len(), |at| host + at);
        let (address, base) = server.split_at_checked(path).unwrap_or((server, ""));
        let port = if server.starts_with("http:") { ":80" } else { ":443" };
        k.addresses.push(server_address("Kubernetes", port, address, "https")?);
        k.base = base.trim_end_matches('/').to_string();
        k.tls.ca.extend(self.pem(cluster, "certificate-authority")?);
        k.tls.insecure = matches!(get(cluster, "insecure-skip-tls-verify"), Some(Value::Bool(true)));
        let name = text(cluster, "tls-server-name");
        k.tls.name = (!name.is_empty()).then(|| name.to_string());
        let namespace = text(context, "namespace");
        k.namespace = if namespace.is_empty() { DEFAULT } else { namespace }.to_string();
        match text(context, "user") {
            "" => Ok(()),
            name => self.user(k, name),
        }
    }

    #[inline(never)]
    fn user(&self, k: &mut Kubernetes, name: &str) -> Result<()> {
        let user = self.named("user", name)?;
        for way in ["exec", "auth-provider"] {
            if get(user, way).is_some() {
                let what =
                    "the user % logs in by %, which needs a program; give it a token, a tokenFile or a certificate";
                return Err(self.wrong(what, &[name, way]));
            }
        }
        k.tls.identity = match (self.pem(user, "client-certificate")?, self.pem(user, "client-key")?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(self.wrong("a client-certificate needs a client-key, and the other way round", &[])),
        };
        let (token, file) = (text(user, "token"), text(user, "tokenFile"));
        if !file.is_empty() {
            k.token = Secret::File(self.file(file));
        } else if !token.is_empty() {
            k.token = identity::text(token);
        }
        let name = text(user, "username");
        k.basic = identity::both((!name.is_empty()).then_some(name), Some(text(user, "password")));
        Ok(())
    }
}

/// By a kubeconfig: its current context.
#[inline(never)]
fn by_file(k: &mut Kubernetes, path: &Path, world: &World) -> Result<()> {
    let source = world.text(path, "the kubeconfig")?;
    let mut c = Config { path, name: path.display().to_string(), root: Value::Nil };
    let read = if source.trim_start().starts_with('{') {
        json::parse(&source).map(|root| vec![root])
    } else {
        yaml::parse(&c.name, &source).map_err(Error::into_text)
    };
    // The line itself may hold a token.
    let mut all = read.map_err(|why| c.wrong("%", &[why.lines().next().unwrap_or("")]))?;
    c.root = all.pop().unwrap_or(Value::Nil);
    c.current(k)
}

/// What a URL names behind `k8s://`: namespace, whether Secrets, name, labels.
#[inline(never)]
pub fn objects(k: &mut Kubernetes, rest: &str) -> Result<()> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (namespace, path) = path.split_once('/').unwrap_or((path, ""));
    let (kind, name) = path.split_once('/').unwrap_or((path, ""));
    let labels = query.strip_prefix("selector=");
    k.is_secret = matches!(kind, "secret" | "secrets");
    let is_known = k.is_secret || matches!(kind, "configmap" | "configmaps");
    // Either a name or labels.
    if !is_known || name.is_empty() != labels.is_some() || name.contains('/') || query.is_empty() == labels.is_some() {
        return Err(Error::config(["expected ", ADDRESS].concat()));
    }
    k.selector = labels.unwrap_or("").to_string();
    set(k, namespace, name)
}

/// Sets the namespace, unless it is empty, and the name of the object.
///
/// # Errors
/// What could be no name of Kubernetes'.
pub fn set(k: &mut Kubernetes, namespace: &str, name: &str) -> Result<()> {
    for part in [namespace, name] {
        let is_good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
        if !part.bytes().all(is_good) || part.len() > 253 {
            let text = "% is no name of Kubernetes': these are of small letters, digits, - and .";
            return Err(Error::filled(Kind::Config, text, &[part]));
        }
    }
    if !namespace.is_empty() {
        k.namespace = namespace.to_string();
    }
    k.name = name.to_string();
    Ok(())
}

/// Adds the source, with its name for messages; gives its number.
#[inline(never)]
pub fn add(plan: &mut Plan, k: Box<Kubernetes>, allow_empty: bool) -> usize {
    let name = [&k.what(), " of Kubernetes"].concat();
    plan.sources.push(Source { name, kind: SourceKind::Kubernetes(k), allow_empty });
    plan.sources.len() - 1
}

#[cfg(test)]
mod tests;
