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

/// The server and who we are there: by the kubeconfig that is named, else KUBECONFIG, else as a pod, else by the one of
/// people.
///
/// # Errors
/// There is none of these, or what is wrong with it.
#[inline(never)]
pub fn access(kubeconfig: Option<&str>, world: &World) -> Result<Kubernetes> {
    if let Some(path) = kubeconfig.or(world.var("KUBECONFIG")) {
        return by_file(Path::new(path), world);
    }
    if world.var("KUBERNETES_SERVICE_HOST").is_some() {
        return by_account(world);
    }
    match world.var("HOME") {
        Some(home) => by_file(&Path::new(home).join(".kube/config"), world),
        None => by_account(world),
    }
}

/// The server's address, which must be good.
fn address(url: &str) -> Result<String> {
    server_address("Kubernetes", ":80", url, "")
}

/// As a pod: by its service account.
///
/// # Errors
/// It is none.
#[inline(never)]
pub fn by_account(world: &World) -> Result<Kubernetes> {
    let Some(host) = world.var("KUBERNETES_SERVICE_HOST") else {
        let text = "cannot reach Kubernetes: KUBERNETES_SERVICE_HOST is not set, so this is no pod; name a kubeconfig \
                    (--kubeconfig FILE)";
        return Err(Error::config(text));
    };
    let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
    let port = world.var("KUBERNETES_SERVICE_PORT").unwrap_or("443");
    let address = ["https://", open, host, close, ":", port].concat();
    let file = |name: &str| PathBuf::from([ACCOUNT, name].concat());
    let mut k = Kubernetes { token: Secret::File(file("token")), ..Kubernetes::default() };
    k.addresses.push(self::address(&address)?);
    k.tls.ca.push(Pem::File(file("ca.crt")));
    k.namespace = match world.text(&file("namespace"), "the namespace") {
        Ok(text) => text.trim().to_string(),
        Err(_) => DEFAULT.to_string(),
    };
    Ok(k)
}

/// A kubeconfig.
struct Config<'a> {
    path: &'a Path,
    name: String,
    root: Value,
}

fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    get(v, key).and_then(Value::as_str).unwrap_or("")
}

fn get<'a>(v: &'a Value, key: &str) -> Option<&'a Value> {
    v.as_map()?.get(key)
}

impl Config<'_> {
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
    fn file(&self, name: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(name)
    }

    /// A certificate or a key: `KEY-data` holds it, `KEY` names its file.
    #[inline(never)]
    fn pem(&self, v: &Value, key: &str) -> Result<Option<Pem>> {
        let data = [key, "-data"].concat();
        let coded = text(v, &data);
        if !coded.is_empty() {
            let plain = base64::read(coded.trim(), false).ok().and_then(|b| String::from_utf8(b).ok());
            let plain = plain.ok_or_else(|| self.wrong("% is no base64 of PEM", &[&data]))?;
            return Ok(Some(Pem::Text(plain)));
        }
        Ok(Some(text(v, key)).filter(|f| !f.is_empty()).map(|f| Pem::File(self.file(f))))
    }
}

/// By a kubeconfig: its current context.
#[inline(never)]
fn by_file(path: &Path, world: &World) -> Result<Kubernetes> {
    let source = world.text(path, "the kubeconfig")?;
    let name = path.display().to_string();
    let mut c = Config { path, name, root: Value::Nil };
    if source.trim_start().starts_with('{') {
        c.root = json::parse(&source).map_err(|why| c.wrong("%", &[&why]))?;
    } else {
        // The line itself may hold a token.
        let first = |e: Error| c.wrong("%", &[e.text.lines().next().unwrap_or("")]);
        let mut all = yaml::parse(&c.name, &source).map_err(first)?;
        c.root = all.pop().unwrap_or(Value::Nil);
    }
    let context = c.named("context", text(&c.root, "current-context"))?;
    let cluster = c.named("cluster", text(context, "cluster"))?;
    let mut k = Kubernetes { namespace: DEFAULT.to_string(), ..Kubernetes::default() };
    let server = text(cluster, "server");
    let (scheme, rest) = server.split_once("://").unwrap_or(("https", server));
    let (host, base) = rest.split_once('/').unwrap_or((rest, ""));
    k.addresses.push(address(&[scheme, "://", host].concat())?);
    let base = base.trim_end_matches('/');
    if !base.is_empty() {
        k.base = ["/", base].concat();
    }
    k.tls.ca.extend(c.pem(cluster, "certificate-authority")?);
    k.tls.insecure = matches!(get(cluster, "insecure-skip-tls-verify"), Some(Value::Bool(true)));
    k.tls.name = Some(text(cluster, "tls-server-name").to_string()).filter(|n| !n.is_empty());
    if !text(context, "namespace").is_empty() {
        k.namespace = text(context, "namespace").to_string();
    }
    if !text(context, "user").is_empty() {
        let user = c.named("user", text(context, "user"))?;
        for way in ["exec", "auth-provider"] {
            if get(user, way).is_some() {
                let what =
                    "the user % logs in by %, which needs a program; give it a token, a tokenFile or a certificate";
                return Err(c.wrong(what, &[text(context, "user"), way]));
            }
        }
        k.tls.identity = match (c.pem(user, "client-certificate")?, c.pem(user, "client-key")?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(c.wrong("a client-certificate needs a client-key, and the other way round", &[])),
        };
        let (token, file) = (text(user, "token"), text(user, "tokenFile"));
        if !file.is_empty() {
            k.token = Secret::File(c.file(file));
        } else if !token.is_empty() {
            k.token = identity::text(token);
        }
        k.basic = identity::both(Some(text(user, "username")).filter(|n| !n.is_empty()), Some(text(user, "password")));
    }
    Ok(k)
}

/// What a URL names behind `k8s://`: namespace, whether Secrets, name, labels.
#[inline(never)]
pub fn objects(k: &mut Kubernetes, rest: &str) -> Result<()> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let labels = query.strip_prefix("selector=");
    let parts: Vec<&str> = path.split('/').collect();
    let (namespace, kind, name) = match (parts.as_slice(), labels, query) {
        ([namespace, kind, name], None, "") if !name.is_empty() => (*namespace, *kind, *name),
        ([namespace, kind], Some(_), _) => (*namespace, *kind, ""),
        _ => return Err(Error::config(["expected ", ADDRESS].concat())),
    };
    k.is_secret = match kind {
        "configmap" | "configmaps" => false,
        "secret" | "secrets" => true,
        _ => return Err(Error::config(["expected ", ADDRESS].concat())),
    };
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
pub fn add(plan: &mut Plan, k: Kubernetes, allow_empty: bool) -> usize {
    let name = [&k.what(), " of Kubernetes"].concat();
    plan.sources.push(Source { name, kind: SourceKind::Kubernetes(Box::new(k)), allow_empty });
    plan.sources.len() - 1
}

#[cfg(test)]
mod tests;
