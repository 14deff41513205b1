//! Kubeconfigs and service accounts as they are read, apart from any server.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use std::io::ErrorKind;

const CONFIG: &str = "\
apiVersion: v1
kind: Config
current-context: b
contexts:
- name: a
  context: {cluster: plain, user: nobody}
- name: b
  context:
    cluster: full
    user: me
    namespace: shop
- name: c
  context: {cluster: full, user: other}
- name: d
  context: {cluster: none, user: me}
- name: e
  context: {cluster: plain}
clusters:
- name: full
  cluster:
    certificate-authority-data: LS0tCg==
    certificate-authority: ignored.pem
    server: https://[::1]:6443/k8s/clusters/c-1/
    tls-server-name: kubernetes
- name: plain
  cluster:
    server: http://127.0.0.1:8001
    insecure-skip-tls-verify: true
users:
- name: me
  user:
    client-certificate: certs/me.pem
    client-key: /abs/me.key
    token: s3cret
    tokenFile: token
    username: u
    password: p
- name: other
  user: {token: s3cret}
- name: nobody
  user: {}
";

/// What is read of this text as `/home/me/.kube/config`, by these variables.
fn enter(text: &str, vars: &[(&str, &str)], option: Option<&str>) -> std::result::Result<Kubernetes, String> {
    let vars: Vec<(String, String)> = vars.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    let read = |path: &Path| match path.to_str().unwrap() {
        "/home/me/.kube/config" | "kc" => Ok(text.as_bytes().to_vec()),
        "/var/run/secrets/kubernetes.io/serviceaccount/namespace" => Ok(b"shop\n".to_vec()),
        _ => Err(ErrorKind::NotFound.into()),
    };
    let list = |_: &Path| Err(ErrorKind::NotFound.into());
    let mut k = Kubernetes::default();
    let world = World { vars: &vars, read: &read, files: &list, host: &crate::front::Host::default };
    access(&mut k, option, &world).map(|()| k).map_err(Error::into_text)
}

fn home(text: &str) -> std::result::Result<Kubernetes, String> {
    enter(text, &[("HOME", "/home/me")], None)
}

fn file(pem: &Pem) -> &str {
    match pem {
        Pem::File(path) => path.to_str().unwrap(),
        Pem::Text(text) => text,
    }
}

fn secret(secret: &Secret) -> String {
    match secret {
        Secret::None => String::new(),
        Secret::Text(text) => text.to_string(),
        Secret::File(path) => path.display().to_string(),
    }
}

#[test]
fn a_context_names_a_cluster_a_user_and_a_namespace() {
    let k = home(CONFIG).unwrap();
    assert_eq!(k.addresses, ["https://[::1]:6443"]);
    assert_eq!((k.base.as_str(), k.namespace.as_str()), ("/k8s/clusters/c-1", "shop"));
    assert_eq!(k.tls.ca.iter().map(file).collect::<Vec<_>>(), ["---\n"]);
    assert_eq!(k.tls.name.as_deref(), Some("kubernetes"));
    let (cert, key) = k.tls.identity.unwrap();
    assert_eq!((file(&cert), file(&key)), ("/home/me/.kube/certs/me.pem", "/abs/me.key"));
    assert_eq!(secret(&k.token), "/home/me/.kube/token");
    let (user, password) = k.basic.unwrap();
    assert_eq!((user.as_str(), secret(&password).as_str()), ("u", "p"));
    assert!(!k.tls.insecure);

    let k = home(&CONFIG.replace("current-context: b", "current-context: a")).unwrap();
    assert_eq!(
        (k.addresses[0].as_str(), k.base.as_str(), k.namespace.as_str()),
        ("http://127.0.0.1:8001", "", "default")
    );
    assert!(k.tls.insecure && k.tls.name.is_none() && k.tls.ca.is_empty() && k.basic.is_none());
    let k = home(&CONFIG.replace("current-context: b", "current-context: c")).unwrap();
    assert!(k.tls.identity.is_none() && secret(&k.token) == "s3cret");
    assert!(home(&CONFIG.replace("current-context: b", "current-context: e")).is_ok());
}

#[test]
fn what_is_wrong_with_a_kubeconfig_is_said_without_its_secrets() {
    let at = |name: &str| format!("the kubeconfig /home/me/.kube/config: {name}");
    for (from, to, want) in [
        ("current-context: b", "current-context: d", "there is no cluster none"),
        ("current-context: b", "current-context: x", "there is no context x"),
        ("current-context: b\n", "", "there is no context "),
        ("name: me\n  user", "name: you\n  user", "there is no user me"),
        ("    client-key: /abs/me.key\n", "", "a client-certificate needs a client-key"),
        ("LS0tCg==", "LS0!", "certificate-authority-data is no base64 of PEM"),
        ("LS0tCg==", "/w==", "certificate-authority-data is no base64 of PEM"),
        ("token: s3cret", "exec: {command: x}", "the user me logs in by exec"),
        ("token: s3cret", "token: \"s3cret", "/home/me/.kube/config:"),
    ] {
        let why = home(&CONFIG.replacen(from, to, 1)).err().unwrap();
        assert!(why.starts_with(&at("")) && why.contains(want) && !why.contains("s3cret"), "{why}\nwanted {want}");
    }
    for text in ["", "[]", "a", "{}"] {
        assert!(home(text).err().unwrap().contains("there is no context"), "{text}");
    }
    for text in ["{", "{\"users\": s3cret"] {
        let why = home(text).err().unwrap();
        assert!(why.starts_with(&at("")) && !why.contains("s3cret"), "{why}");
    }
    for server in ["ftp://h", "https://", "https://user:pw@h", "https://h:x"] {
        let why = home(&CONFIG.replace("https://[::1]:6443/k8s/clusters/c-1/", server)).err().unwrap();
        assert!(why.contains("cannot use Kubernetes at") && !why.contains("pw"), "{why}");
    }
    assert_eq!(enter("", &[], Some("gone")).err().unwrap(), "cannot read the kubeconfig gone: entity not found");
}

#[test]
fn the_nearest_way_in_is_taken() {
    let pod = [("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("KUBERNETES_SERVICE_PORT", "443"), ("HOME", "/home/me")];
    let k = enter(CONFIG, &pod, None).unwrap();
    assert_eq!((k.addresses[0].as_str(), k.namespace.as_str()), ("https://10.0.0.1:443", "shop"));
    assert_eq!(secret(&k.token), "/var/run/secrets/kubernetes.io/serviceaccount/token");
    assert_eq!(k.tls.ca.iter().map(file).collect::<Vec<_>>(), ["/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"]);
    let k = enter(CONFIG, &[("KUBERNETES_SERVICE_HOST", "fd00::1")], None).unwrap();
    assert_eq!(k.addresses[0], "https://[fd00::1]:443");
    for (server, want) in [("http://h", "http://h:80"), ("https://h/", "https://h:443"), ("h", "https://h:443")] {
        let k = home(&CONFIG.replace("https://[::1]:6443/k8s/clusters/c-1/", server)).unwrap();
        assert_eq!((k.addresses[0].as_str(), k.base.as_str()), (want, ""));
    }
    // A kubeconfig that is named comes first, an option before the variable.
    let named = [pod[0], ("KUBECONFIG", "kc")];
    assert_eq!(enter(CONFIG, &named, None).unwrap().addresses[0], "https://[::1]:6443");
    assert!(enter(CONFIG, &named, Some("gone")).is_err());
    let empty = [("HOME", "/home/new")];
    assert!(enter(CONFIG, &empty, None).err().unwrap().contains("name a kubeconfig (--kubeconfig FILE)"));
    assert!(enter(CONFIG, &[], None).err().unwrap().contains("name a kubeconfig (--kubeconfig FILE)"));
}

#[test]
fn urls_name_objects() {
    let read = |rest: &str| {
        let mut k = Kubernetes { namespace: "own".to_string(), ..Kubernetes::default() };
        objects(&mut k, rest).map(|()| k.what()).map_err(Error::into_text)
    };
    for (rest, want) in [
        ("shop/configmap/web", "configmap shop/web"),
        ("/configmap/web.d", "configmap own/web.d"),
        ("shop/secret/db", "secret shop/db"),
        ("shop/secrets?selector=app=x,tier!=y", "secrets of shop with app=x,tier!=y"),
        ("/configmaps?selector=", "configmaps of own"),
    ] {
        assert_eq!(read(rest).unwrap(), want, "{rest}");
    }
    for rest in [
        "",
        "shop",
        "shop/configmap",
        "shop/configmap/",
        "shop/configmap/a/b",
        "shop/pod/a",
        "shop/configmap/a?selector=x",
        "shop/configmap?x=y",
        "shop/configmap/a?x",
    ] {
        assert!(read(rest).err().unwrap().starts_with("expected k8s://"), "{rest}");
    }
    for rest in ["shop/configmap/Web", "sh%op/configmap/web", "shop/configmap/we b", "s_p/secret/a"] {
        assert!(read(rest).err().unwrap().contains("is no name of Kubernetes'"), "{rest}");
    }
}
