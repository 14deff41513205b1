//! Real etcd servers, each on a loopback address of its own with the default ports: single nodes, clusters, both
//! interfaces, and the accidents that happen to them. It speaks v3 by the JSON gateway, as the program under test does,
//! but with a client of its own.

use super::consul::{claim_ip, claim_net};
use super::{Cmd, Proc, Reply, TempDir, base64, http, millis, secs, server_bin, wait_until};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// An etcd server. It is killed, and its data removed, when dropped.
pub struct Etcd {
    ip: String,
    program: &'static str,
    args: Vec<String>,
    dir: TempDir,
    proc: Option<Proc>,
    /// User and password for the helper's own calls, when authentication is on; and the token they gave.
    root: Option<(String, String)>,
    token: Mutex<String>,
    _claim: TcpListener,
}

impl Etcd {
    /// One node of etcd 3.4, ready.
    pub fn start() -> Etcd {
        Etcd::start_as("etcd", &[])
    }
    /// One node of this program (`etcd`: 3.4, `etcd35`) with more arguments; `$IP` in them is its address.
    pub fn start_as(program: &'static str, args: &[&str]) -> Etcd {
        Etcd::cluster_as(program, 1, args).remove(0)
    }
    /// `n` nodes of one cluster of etcd 3.4, ready.
    pub fn cluster(n: usize) -> Vec<Etcd> {
        Etcd::cluster_as("etcd", n, &[])
    }
    /// The same of this program.
    pub fn cluster_as(program: &'static str, n: usize, more: &[&str]) -> Vec<Etcd> {
        Etcd::cluster_with(program, n, &|ip| more.iter().map(|a| a.replace("$IP", ip)).collect())
    }
    /// The same, each with more arguments, made for its address.
    pub fn cluster_with(program: &'static str, n: usize, more: &dyn Fn(&str) -> Vec<String>) -> Vec<Etcd> {
        let (net, claim) = claim_net();
        let ips: Vec<String> = (1..=n).map(|i| format!("{net}.{i}")).collect();
        let peers: Vec<String> = ips.iter().map(|ip| format!("{ip}=http://{ip}:2380")).collect();
        let mut nodes = Vec::new();
        for ip in &ips {
            let claim = if nodes.is_empty() { claim.try_clone().unwrap() } else { claim_ip(ip) };
            let (client, peer) = (format!("http://{ip}:2379"), format!("http://{ip}:2380"));
            let mut args: Vec<String> = Vec::new();
            for (name, value) in [
                ("name", ip),
                ("listen-client-urls", &client),
                ("advertise-client-urls", &client),
                ("listen-peer-urls", &peer),
                ("initial-advertise-peer-urls", &peer),
                ("initial-cluster", &peers.join(",")),
                ("heartbeat-interval", &"50".to_string()),
                ("election-timeout", &"500".to_string()),
                ("enable-v2", &"true".to_string()),
            ] {
                args.push(format!("--{name}={value}"));
            }
            args.extend(more(ip));
            let (ip, dir, token) = (ip.clone(), TempDir::new(), Mutex::default());
            nodes.push(Etcd { ip, program, args, dir, proc: None, root: None, token, _claim: claim });
        }
        nodes.iter_mut().for_each(Etcd::launch);
        nodes.iter().for_each(|n| n.wait_ready(secs(30)));
        nodes
    }

    fn launch(&mut self) {
        let cmd = Cmd::new(server_bin(self.program)).args(&self.args).arg("--data-dir").arg(self.dir.join("data"));
        self.proc = Some(cmd.cwd(self.dir.path()).spawn());
    }
    /// Waits until a read that needs a majority is answered.
    pub fn wait_ready(&self, deadline: Duration) {
        let start = Instant::now();
        loop {
            let last = self.try_call("kv/range", &json!({"key": base64(b"ready")}));
            if matches!(&last, Ok(r) if r.status == 200) {
                return;
            }
            if start.elapsed() >= deadline {
                self.proc().fail(&format!("etcd was not ready within {deadline:?}; it said {last:?}"));
            }
            std::thread::sleep(millis(20));
        }
    }

    /// host:port of its clients' side.
    pub fn addr(&self) -> String {
        format!("{}:2379", self.ip)
    }
    /// Its address without the port.
    pub fn ip(&self) -> &str {
        &self.ip
    }
    /// Its process.
    pub fn proc(&self) -> &Proc {
        self.proc.as_ref().expect("a running etcd")
    }
    /// Any call of the gateway, by its path behind /v3/.
    pub fn try_call(&self, path: &str, body: &Value) -> std::io::Result<Reply> {
        for _ in 0..2 {
            let is_new = self.token.lock().unwrap().is_empty();
            if let (Some((name, password)), true) = (&self.root, is_new) {
                let body = json!({"name": name, "password": password}).to_string();
                let reply = http("POST", &self.addr(), "/v3/auth/authenticate", &[], body.as_bytes())?;
                if let Some(token) = reply.json()["token"].as_str() {
                    *self.token.lock().unwrap() = token.to_string();
                }
            }
            let header = format!("Authorization: {}", self.token.lock().unwrap());
            let headers: &[&str] = if self.root.is_some() { &[&header] } else { &[] };
            let reply = http("POST", &self.addr(), &format!("/v3/{path}"), headers, body.to_string().as_bytes())?;
            if reply.status != 401 {
                return Ok(reply);
            }
            self.token.lock().unwrap().clear();
        }
        Err(std::io::ErrorKind::PermissionDenied.into())
    }
    /// A call that must be answered with 200.
    pub fn call(&self, path: &str, body: Value) -> Value {
        match self.try_call(path, &body) {
            Ok(reply) if reply.status == 200 => reply.json(),
            other => self.proc().fail(&format!("{path} {body}: {other:?}")),
        }
    }
    /// Writes a key.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.call("kv/put", put(key.as_ref(), value.as_ref()));
    }
    /// Tries to write a key; says whether it was taken.
    pub fn try_put(&self, key: &str, value: impl AsRef<[u8]>) -> bool {
        matches!(self.try_call("kv/put", &put(key.as_ref(), value.as_ref())), Ok(r) if r.status == 200)
    }
    /// Writes several keys in one transaction.
    pub fn put_all(&self, keys: &[(&str, &str)]) {
        let puts: Vec<Value> =
            keys.iter().map(|(k, v)| json!({"request_put": put(k.as_bytes(), v.as_bytes())})).collect();
        self.call("kv/txn", json!({"success": puts}));
    }
    /// Removes a key.
    pub fn delete(&self, key: &str) {
        self.call("kv/deleterange", json!({"key": base64(key.as_bytes())}));
    }
    /// Removes every key that begins with this.
    pub fn delete_all(&self, prefix: &str) {
        let mut end = prefix.as_bytes().to_vec();
        *end.last_mut().unwrap() += 1;
        self.call("kv/deleterange", json!({"key": base64(prefix.as_bytes()), "range_end": base64(&end)}));
    }
    /// The revision it is at.
    pub fn revision(&self) -> u64 {
        let v = self.call("kv/range", json!({"key": base64(b"ready")}));
        v["header"]["revision"].as_str().unwrap().parse().unwrap()
    }
    /// Forgets all revisions before the newest.
    pub fn compact(&self) {
        self.call("kv/compaction", json!({"revision": self.revision().to_string(), "physical": true}));
    }
    /// Turns authentication on: root, and a user `u` with this password who may read these intervals.
    pub fn enable_auth(&mut self, password: &str, may_read: &[(&str, &str)]) {
        self.call("auth/user/add", json!({"name": "root", "password": "rootpw"}));
        self.call("auth/role/add", json!({"name": "root"}));
        self.call("auth/user/grant", json!({"user": "root", "role": "root"}));
        self.call("auth/user/add", json!({"name": "u", "password": password}));
        self.call("auth/role/add", json!({"name": "r"}));
        self.call("auth/user/grant", json!({"user": "u", "role": "r"}));
        for (key, end) in may_read {
            let perm = json!({"permType": "READ", "key": base64(key.as_bytes()), "range_end": base64(end.as_bytes())});
            self.call("auth/role/grant", json!({"name": "r", "perm": perm}));
        }
        self.call("auth/enable", json!({}));
        self.root = Some(("root".into(), "rootpw".into()));
    }

    /// Any call of v2, by its path behind /v2; `form` as a form's fields.
    pub fn v2(&self, method: &str, path: &str, form: &str) -> Reply {
        let headers = ["Content-Type: application/x-www-form-urlencoded"];
        match http(method, &self.addr(), &format!("/v2{path}"), &headers, form.as_bytes()) {
            Ok(reply) if reply.status < 300 => reply,
            other => self.proc().fail(&format!("{method} {path} {form}: {other:?}")),
        }
    }
    /// Writes a key of v2.
    pub fn put2(&self, key: &str, value: &str) {
        self.v2("PUT", &format!("/keys{key}"), &format!("value={value}"));
    }

    /// Kills it at once; its data stays.
    pub fn kill9(&mut self) {
        if let Some(proc) = self.proc.take() {
            proc.signal(libc::SIGKILL);
            proc.wait_exit(secs(5));
        }
    }
    /// Freezes it.
    pub fn stop(&self) {
        self.proc().signal(libc::SIGSTOP);
    }
    /// Lets it go on.
    pub fn cont(&self) {
        self.proc().signal(libc::SIGCONT);
    }
    /// Starts it again with the data it had, and waits until it is ready.
    pub fn restart(&mut self) {
        self.start_again();
        self.wait_ready(secs(30));
    }
    /// Starts it again without waiting.
    pub fn start_again(&mut self) {
        self.kill9();
        self.launch();
    }
    /// Starts it again with no data at all, as another cluster if `token` says so, and waits until it is ready.
    pub fn restart_wiped(&mut self, token: &str) {
        self.kill9();
        std::fs::remove_dir_all(self.dir.join("data")).unwrap();
        self.args.push(format!("--initial-cluster-token={token}"));
        self.launch();
        self.wait_ready(secs(30));
    }
}

fn put(key: &[u8], value: &[u8]) -> Value {
    json!({"key": base64(key), "value": base64(value)})
}

/// Writes a key by any of the nodes that takes it.
pub fn etcd_put(nodes: &[Etcd], key: &str, value: &str) {
    wait_until(secs(30), "an etcd node that takes a write", || {
        nodes.iter().find(|n| n.proc.is_some() && n.try_put(key, value)).map(|_| ())
    });
}
