//! A real kube-apiserver with an etcd of its own, on a loopback address, as strict as a real cluster: TLS, RBAC, tokens of
//! service accounts, client certificates. Tests talk to it by `openssl s_client`: nothing of pilotfish's own is used to
//! judge it.

use super::consul::claim_net;
use super::{Ask, Cert, Cmd, Etcd, Pki, Proc, Reply, TempDir, millis, secs, server_bin, wait_until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// A cluster's API. It is killed, and its data removed, when dropped.
pub struct Kube {
    ip: String,
    pub pki: Pki,
    /// Signed the server's certificate.
    pub ca: Cert,
    pub etcd: Etcd,
    args: Vec<String>,
    proc: Mutex<Option<Proc>>,
    line: Mutex<Option<HttpsLine>>,
    pub dir: TempDir,
    _claim: TcpListener,
}

/// The token that may do everything.
const ADMIN: &str = "the-admins-token";

/// The program: where KUBEBUILDER_ASSETS says, else where tests/servers.sh put it.
fn program() -> PathBuf {
    match std::env::var_os("KUBEBUILDER_ASSETS") {
        Some(folder) if !folder.is_empty() => Path::new(&folder).join("kube-apiserver"),
        _ => server_bin("kube-apiserver"),
    }
}

impl Kube {
    /// One that no other test disturbs.
    pub fn start() -> Kube {
        let (net, claim) = claim_net();
        let (ip, pki, dir) = (format!("{net}.1"), Pki::new(), TempDir::new());
        let ca = pki.root(&Ask::authority("cluster"));
        let server = pki.issue(&ca, &Ask::server(&format!("IP:{ip},IP:127.0.0.1,DNS:kubernetes.default.svc")));
        let accounts = pki.root(&Ask::authority("accounts"));
        let etcd = Etcd::start();
        let tokens = dir.write("tokens.csv", format!("{ADMIN},admin,1,\"system:masters\"\n"));
        let mut args = Vec::new();
        for (name, value) in [
            ("etcd-servers", format!("http://{}", etcd.addr())),
            ("etcd-compaction-interval", "0".into()),
            ("bind-address", ip.clone()),
            ("secure-port", "6443".into()),
            // Only told to others; a loopback address is refused here.
            ("advertise-address", "10.255.0.1".into()),
            ("endpoint-reconciler-type", "none".into()),
            ("tls-cert-file", server.cert().into()),
            ("tls-private-key-file", server.key().into()),
            ("client-ca-file", ca.cert().into()),
            ("token-auth-file", tokens.display().to_string()),
            ("authorization-mode", "RBAC".into()),
            ("service-account-issuer", "https://kubernetes.default.svc".into()),
            ("service-account-signing-key-file", accounts.key().into()),
            ("service-account-key-file", accounts.cert().into()),
            ("service-cluster-ip-range", "10.0.0.0/24".into()),
            ("cert-dir", dir.mkdir("certs").display().to_string()),
        ] {
            args.push(format!("--{name}={value}"));
        }
        let (proc, line) = (Mutex::default(), Mutex::default());
        let kube = Kube { ip, pki, ca, etcd, args, proc, line, dir, _claim: claim };
        kube.launch();
        kube
    }
    /// One for all tests of this process that do no harm to it.
    pub fn shared() -> Arc<Kube> {
        static ONE: Mutex<Weak<Kube>> = Mutex::new(Weak::new());
        let mut one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        one.upgrade().unwrap_or_else(|| {
            let kube = Arc::new(Kube::start());
            *one = Arc::downgrade(&kube);
            kube
        })
    }

    fn launch(&self) {
        let proc = Cmd::new(program()).args(&self.args).cwd(self.dir.path()).spawn();
        *self.proc.lock().unwrap() = Some(proc);
        wait_until(secs(120), "a kube-apiserver that is ready", || {
            if let Some(proc) = &*self.proc.lock().unwrap() {
                proc.check(proc.exited().is_none(), "kube-apiserver ended");
            }
            self.try_call("GET", "/readyz", &Value::Null).ok().filter(|r| r.status == 200)
        });
        wait_until(secs(60), "the namespace default", || {
            self.try_call("GET", "/api/v1/namespaces/default", &Value::Null).ok().filter(|r| r.status == 200)
        });
    }
    /// Kills it at once; what etcd holds stays.
    pub fn kill9(&self) {
        self.line.lock().unwrap().take();
        if let Some(proc) = self.proc.lock().unwrap().take() {
            proc.signal(libc::SIGKILL);
            proc.wait_exit(secs(5));
        }
    }
    /// Starts it again, and waits until it is ready.
    pub fn restart(&self) {
        self.launch();
    }
    /// Freezes it, or lets it go on.
    pub fn freeze(&self, is_on: bool) {
        let signal = if is_on { libc::SIGSTOP } else { libc::SIGCONT };
        self.proc.lock().unwrap().as_ref().unwrap().signal(signal);
    }

    /// host:port.
    pub fn addr(&self) -> String {
        format!("{}:6443", self.ip)
    }
    /// Any call as the admin; null: without a body.
    pub fn try_call(&self, method: &str, path: &str, body: &Value) -> Result<Reply> {
        self.call_as(ADMIN, method, path, body)
    }
    /// Any call with this token.
    pub fn call_as(&self, token: &str, method: &str, path: &str, body: &Value) -> Result<Reply> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.addr(),
            body.len()
        );
        let mut line = self.line.lock().unwrap();
        // A connection of before may be gone.
        for is_last in [false, true] {
            let one = match line.take() {
                Some(one) => one,
                None => HttpsLine::open(&self.addr(), self.ca.cert())?,
            };
            match one.ask(head.as_bytes()) {
                Ok((one, reply)) => {
                    *line = Some(one);
                    return Ok(reply);
                }
                Err(e) if is_last => return Err(e),
                Err(_) => {}
            }
        }
        Err(ErrorKind::NotConnected.into())
    }
    /// A call that must succeed.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: Value) -> Value {
        match self.try_call(method, path, &body) {
            Ok(reply) if reply.status < 300 => reply.json(),
            other => panic!("{method} {path}: {other:?}"),
        }
    }

    /// A namespace of its own for a test, with a service account `app` that may do nothing yet.
    pub fn namespace(&self) -> String {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let name = format!("ns{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.call("POST", "/api/v1/namespaces", json!({"metadata": {"name": name}}));
        self.call("POST", &format!("/api/v1/namespaces/{name}/serviceaccounts"), json!({"metadata": {"name": "app"}}));
        name
    }
    /// The service account `app` may list and watch these objects and no others; no name: all.
    pub fn allow(&self, ns: &str, resource: &str, names: &[&str]) {
        let mut rule = json!({"apiGroups": [""], "resources": [resource], "verbs": ["list", "watch"]});
        if !names.is_empty() {
            rule["resourceNames"] = json!(names);
        }
        let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}");
        let name = format!("{resource}-{}", names.join("-"));
        self.call("POST", &format!("{rbac}/roles"), json!({"metadata": {"name": name}, "rules": [rule]}));
        self.call(
            "POST",
            &format!("{rbac}/rolebindings"),
            json!({"metadata": {"name": name},
                "subjects": [{"kind": "ServiceAccount", "name": "app", "namespace": ns}],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}}),
        );
    }
    /// Takes back what `allow` gave.
    pub fn forbid(&self, ns: &str, resource: &str, names: &[&str]) {
        let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}");
        self.call("DELETE", &format!("{rbac}/rolebindings/{resource}-{}", names.join("-")), Value::Null);
        self.call("DELETE", &format!("{rbac}/roles/{resource}-{}", names.join("-")), Value::Null);
    }
    /// A token of the service account `app`, good for as long as the Secret `bound` is there.
    pub fn token(&self, ns: &str, bound: &str) -> String {
        let secret = self.put(ns, "secrets", bound, json!({}));
        let spec = json!({"expirationSeconds": 3600, "audiences": ["https://kubernetes.default.svc"],
            "boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": bound, "uid": secret["metadata"]["uid"]}});
        let path = format!("/api/v1/namespaces/{ns}/serviceaccounts/app/token");
        let made = self.call("POST", &path, json!({"spec": spec}));
        made["status"]["token"].as_str().unwrap().to_string()
    }
    /// Whether the server takes this token.
    pub fn takes(&self, token: &str) -> bool {
        self.call_as(token, "GET", "/version/none", &Value::Null).unwrap().status != 401
    }

    /// Creates an object of `configmaps` or `secrets`, or puts it in place of the one there is.
    #[track_caller]
    pub fn put(&self, ns: &str, resource: &str, name: &str, body: Value) -> Value {
        let mut body = body;
        body["metadata"]["name"] = json!(name);
        let all = format!("/api/v1/namespaces/{ns}/{resource}");
        match self.try_call("PUT", &format!("{all}/{name}"), &body) {
            Ok(reply) if reply.status < 300 => reply.json(),
            Ok(reply) if reply.status == 404 => self.call("POST", &all, body),
            other => panic!("cannot put {resource} {ns}/{name}: {other:?}"),
        }
    }
    /// A ConfigMap of this data.
    #[track_caller]
    pub fn map(&self, ns: &str, name: &str, data: Value) {
        self.put(ns, "configmaps", name, json!({"data": data}));
    }
    #[track_caller]
    pub fn delete(&self, ns: &str, resource: &str, name: &str) {
        self.call("DELETE", &format!("/api/v1/namespaces/{ns}/{resource}/{name}"), Value::Null);
    }

    /// The sum of the server's own counter `name` over the labels that have all of `parts`. It begins anew with each start.
    pub fn metric(&self, name: &str, parts: &[&str]) -> u64 {
        let text = self.try_call("GET", "/metrics", &Value::Null).unwrap().text();
        let lines = text.lines().filter(|l| l.starts_with(&format!("{name}{{")) && parts.iter().all(|p| l.contains(p)));
        lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }

    /// A kubeconfig as kubectl writes it; `user` is what its user has, a line each.
    pub fn kubeconfig(&self, name: &str, ns: &str, server: &str, user: &[String]) -> PathBuf {
        let mut text = format!(
            "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority: {}\n    server: https://{server}\n  \
             name: test\ncontexts:\n- context:\n    cluster: test\n    namespace: {ns}\n    user: me\n  name: here\n\
             current-context: here\nkind: Config\npreferences: {{}}\nusers:\n- name: me\n  user:\n",
            self.ca.cert()
        );
        for line in user {
            text.push_str(&format!("    {line}\n"));
        }
        self.dir.write(name, text)
    }
}

/// A connection that is kept: `openssl s_client`.
struct HttpsLine {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl HttpsLine {
    fn open(addr: &str, ca: &str) -> Result<HttpsLine> {
        // What connects to nobody would be told by openssl in many words.
        TcpStream::connect(addr)?;
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", "-connect", addr, "-CAfile", ca])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let out = BufReader::new(child.stdout.take().unwrap());
        Ok(HttpsLine { child, out })
    }

    fn ask(mut self, request: &[u8]) -> Result<(HttpsLine, Reply)> {
        self.child.stdin.as_mut().unwrap().write_all(request)?;
        let cut = || Error::from(ErrorKind::UnexpectedEof);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.out.read_line(&mut line)? == 0 {
                return Err(cut());
            }
            if line.trim_end().is_empty() {
                break;
            }
            lines.push(line.trim_end().to_string());
        }
        let status = lines.first().and_then(|l| l.split(' ').nth(1)?.parse().ok()).ok_or_else(cut)?;
        let headers: Vec<(String, String)> = lines
            .iter()
            .filter_map(|l| l.split_once(':'))
            .map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_string()))
            .collect();
        let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let mut body = Vec::new();
        if header("transfer-encoding") == Some("chunked") {
            loop {
                let mut line = String::new();
                self.out.read_line(&mut line)?;
                let size = usize::from_str_radix(line.trim(), 16).map_err(|_| cut())?;
                let at = body.len();
                body.resize(at + size + 2, 0);
                self.out.read_exact(&mut body[at..])?;
                body.truncate(at + size);
                if size == 0 {
                    break;
                }
            }
        } else {
            body.resize(header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0), 0);
            self.out.read_exact(&mut body)?;
        }
        Ok((self, Reply { status, headers, body }))
    }
}

impl Drop for HttpsLine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A wire between two sides that can be held: then what either says, its end included, does not reach the other.
pub struct Wire {
    address: SocketAddr,
    held: Arc<AtomicBool>,
    both: Arc<Mutex<Vec<(TcpStream, TcpStream)>>>,
}

impl Wire {
    /// To this address.
    pub fn to(address: &str) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Wire { address: listener.local_addr().unwrap(), held: Arc::default(), both: Arc::default() };
        let (to, held, both) = (address.to_string(), wire.held.clone(), wire.both.clone());
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let Ok(near) = near else { continue };
                let Ok(far) = TcpStream::connect(&to) else { continue };
                both.lock().unwrap().push((near.try_clone().unwrap(), far.try_clone().unwrap()));
                pump(near.try_clone().unwrap(), far.try_clone().unwrap(), held.clone());
                pump(far, near, held.clone());
            }
        });
        wire
    }
    /// host:port.
    pub fn addr(&self) -> String {
        self.address.to_string()
    }
    /// Holds it, or lets go.
    pub fn hold(&self, is_on: bool) {
        self.held.store(is_on, Ordering::SeqCst);
    }
    /// Cuts all connections there are.
    pub fn cut(&self) {
        for (near, far) in self.both.lock().unwrap().drain(..) {
            let _ = near.shutdown(std::net::Shutdown::Both);
            let _ = far.shutdown(std::net::Shutdown::Both);
        }
    }
    /// How many connections were made since the last cut.
    pub fn count(&self) -> usize {
        self.both.lock().unwrap().len()
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, held: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        loop {
            let n = from.read(&mut buffer).unwrap_or(0);
            while held.load(Ordering::SeqCst) {
                std::thread::sleep(millis(2));
            }
            if n == 0 || to.write_all(&buffer[..n]).is_err() {
                let _ = to.shutdown(std::net::Shutdown::Write);
                return;
            }
        }
    });
}
