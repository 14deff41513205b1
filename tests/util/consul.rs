//! Real Consul servers, each on a loopback address of its own with the default ports, so that tests run beside each
//! other: single nodes, clusters, and the accidents that happen to them.

use super::{Cmd, Proc, Reply, TempDir, http, millis, secs, server_bin, wait_until};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A Consul server. It is killed, and its data removed, when dropped.
pub struct Consul {
    ip: String,
    /// A token for the helper's own calls, when `acl` is on.
    pub token: Option<String>,
    dir: TempDir,
    proc: Option<Proc>,
    /// Holds the address against other test processes.
    _claim: TcpListener,
}

/// A /24 of 127.0.0.0/8 that no other test uses; `claim` is a listener on its .1.
pub(super) fn claim_net() -> (String, TcpListener) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..2000 {
        let n = std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let net = format!("127.{}.{}", 16 + n / 250 % 230, n % 250);
        if let Ok(claim) = TcpListener::bind(format!("{net}.1:8499")) {
            return (net, claim);
        }
    }
    panic!("no free loopback address for Consul");
}

impl Consul {
    /// One server that leads itself, ready to read and write.
    pub fn start() -> Consul {
        Consul::start_with(json!({}))
    }
    /// The same with more configuration: what the JSON says wins (e.g. `{"acl": {"enabled": true, ...}}`). With
    /// ACLs on, `acl.tokens.master` becomes `token`. `$IP` in it stands for the server's address.
    pub fn start_with(config: Value) -> Consul {
        let (net, claim) = claim_net();
        let mut consul = Consul::prepare(format!("{net}.1"), claim, json!({"bootstrap": true}), config);
        consul.launch();
        consul.wait_ready(secs(20));
        consul
    }
    /// `n` servers of one cluster, with a leader, ready.
    pub fn cluster(n: usize) -> Cluster {
        Consul::cluster_with(n, &|_| json!({}))
    }
    /// The same, each with more configuration, made for its address.
    pub fn cluster_with(n: usize, config: &dyn Fn(&str) -> Value) -> Cluster {
        let (net, claim) = claim_net();
        let all: Vec<String> = (1..=n).map(|i| format!("{net}.{i}")).collect();
        let mut nodes = Vec::new();
        for ip in &all {
            let claim = if nodes.is_empty() { claim.try_clone().unwrap() } else { claim_ip(ip) };
            let role = json!({"bootstrap_expect": n, "retry_join": all, "retry_interval": "200ms"});
            nodes.push(Consul::prepare(ip.clone(), claim, role, config(ip)));
        }
        for node in &mut nodes {
            node.launch();
        }
        for node in &nodes {
            node.wait_ready(secs(30));
        }
        Cluster { nodes }
    }

    fn prepare(ip: String, claim: TcpListener, role: Value, config: Value) -> Consul {
        let dir = TempDir::new();
        let base = json!({
            "server": true, "node_name": ip.replace('.', "-"), "bind_addr": ip, "client_addr": ip,
            "data_dir": dir.join("data").display().to_string(), "log_level": "WARN",
            "ports": {"dns": -1, "serf_wan": -1, "grpc": -1},
            // Without a leader a read is held for 7 s by default before it is refused.
            "performance": {"raft_multiplier": 1, "rpc_hold_timeout": "2s"}, "leave_on_terminate": false,
            "disable_update_check": true, "disable_remote_exec": true, "enable_script_checks": false,
            // More than one test's worth of blocking queries from one address.
            "limits": {"http_max_conns_per_client": 2000},
        });
        let token = config.pointer("/acl/tokens/master").and_then(Value::as_str).map(str::to_string);
        dir.write("conf/1-base.json", base.to_string());
        dir.write("conf/2-role.json", role.to_string());
        dir.write("conf/3-test.json", config.to_string().replace("$IP", &ip));
        Consul { ip, token, dir, proc: None, _claim: claim }
    }

    fn launch(&mut self) {
        let cmd = Cmd::new(server_bin("consul")).args(["agent", "-config-dir"]).arg(self.dir.join("conf"));
        self.proc = Some(cmd.cwd(self.dir.path()).spawn());
    }

    /// Waits until there is a leader and a write is taken.
    pub fn wait_ready(&self, deadline: Duration) {
        let start = std::time::Instant::now();
        loop {
            // A consistent read is only answered when a leader has confirmed itself.
            let ready = self.try_call("GET", "/v1/kv/?keys&consistent&separator=/", b"");
            if matches!(&ready, Ok(r) if r.status == 200 || r.status == 404) {
                return;
            }
            if start.elapsed() >= deadline {
                self.proc().fail(&format!("Consul was not ready within {deadline:?}; it said {ready:?}"));
            }
            std::thread::sleep(millis(20));
        }
    }

    /// host:port of its HTTP API.
    pub fn addr(&self) -> String {
        format!("{}:8500", self.ip)
    }
    /// Its address without the port.
    pub fn ip(&self) -> &str {
        &self.ip
    }
    /// Its process, for signals and logs.
    pub fn proc(&self) -> &Proc {
        self.proc.as_ref().expect("a running Consul")
    }
    /// Any call of its HTTP API.
    pub fn try_call(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<Reply> {
        let token = self.token.as_ref().map(|t| format!("X-Consul-Token: {t}"));
        let headers: Vec<&str> = token.iter().map(String::as_str).collect();
        http(method, &self.addr(), path, &headers, body)
    }
    /// A call that must be answered with 200.
    pub fn call(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        match self.try_call(method, path, body) {
            Ok(reply) if reply.status == 200 => reply,
            other => self.proc().fail(&format!("{method} {path}: {other:?}")),
        }
    }
    /// Writes a key.
    pub fn put(&self, key: &str, value: impl AsRef<[u8]>) {
        let reply = self.call("PUT", &kv_path(key, ""), value.as_ref());
        assert_eq!(reply.text().trim(), "true", "Consul did not take the key {key}");
    }
    /// Tries to write a key; says whether it was taken.
    pub fn try_put(&self, key: &str, value: impl AsRef<[u8]>) -> bool {
        matches!(self.try_call("PUT", &kv_path(key, ""), value.as_ref()), Ok(r) if r.status == 200)
    }
    /// Removes a key.
    pub fn delete(&self, key: &str) {
        self.call("DELETE", &kv_path(key, ""), b"");
    }
    /// Removes every key that begins with this.
    pub fn delete_tree(&self, prefix: &str) {
        self.call("DELETE", &kv_path(prefix, "?recurse"), b"");
    }
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        match self.try_call("GET", &kv_path(key, "?raw"), b"") {
            Ok(reply) if reply.status == 200 => Some(reply.body),
            Ok(reply) if reply.status == 404 => None,
            other => self.proc().fail(&format!("cannot read the key {key}: {other:?}")),
        }
    }
    /// The address (ip:8300) of the leader as this node sees it; none while there is none.
    pub fn leader(&self) -> Option<String> {
        let reply = self.try_call("GET", "/v1/status/leader", b"").ok()?;
        let text = reply.text().trim().trim_matches('"').to_string();
        (reply.status == 200 && !text.is_empty()).then_some(text)
    }
    /// Whether this node leads.
    pub fn leads(&self) -> bool {
        self.leader().is_some_and(|l| l == format!("{}:8300", self.ip))
    }
    /// The snapshot of all its data.
    pub fn snapshot_save(&self) -> Vec<u8> {
        self.call("GET", "/v1/snapshot", b"").body
    }
    /// Puts back a snapshot.
    pub fn snapshot_restore(&self, snapshot: &[u8]) {
        self.call("PUT", "/v1/snapshot", snapshot);
    }

    /// Kills it at once; its data stays.
    pub fn kill9(&mut self) {
        if let Some(proc) = self.proc.take() {
            proc.signal(libc::SIGKILL);
            proc.wait_exit(secs(5));
        }
    }
    /// Freezes it: connections are taken by the kernel, nothing is answered.
    pub fn stop(&self) {
        self.proc().signal(libc::SIGSTOP);
    }
    /// Lets it go on.
    pub fn cont(&self) {
        self.proc().signal(libc::SIGCONT);
    }
    /// Starts it again (killing it first if it runs) with the data it had, and waits until it is ready.
    pub fn restart(&mut self) {
        self.start_again();
        self.wait_ready(secs(30));
    }
    /// Starts it again without waiting, for a cluster that has no majority yet.
    pub fn start_again(&mut self) {
        self.kill9();
        self.launch();
    }
    /// Starts it again with no data at all, and waits until it is ready.
    pub fn restart_wiped(&mut self) {
        self.kill9();
        std::fs::remove_dir_all(self.dir.join("data")).unwrap();
        self.launch();
        self.wait_ready(secs(30));
    }
}

pub(super) fn claim_ip(ip: &str) -> TcpListener {
    wait_until(secs(5), "a loopback address for Consul", || TcpListener::bind(format!("{ip}:8499")).ok())
}

/// A key as a path: what is not plain is escaped, the slashes stay.
fn kv_path(key: &str, query: &str) -> String {
    let mut path = String::from("/v1/kv/");
    for byte in key.trim_start_matches('/').bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => path.push(byte as char),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path + query
}

/// Several servers of one cluster.
pub struct Cluster {
    pub nodes: Vec<Consul>,
}

impl Cluster {
    /// Which of the nodes leads (asked of all that run), waiting for an election to end.
    pub fn leader(&self) -> usize {
        wait_until(secs(20), "a Consul leader", || {
            self.nodes.iter().position(|n| n.proc.is_some() && n.leads() && n.try_put("pilotfish-test-leader", b"x"))
        })
    }
    /// One of the nodes that run and do not lead.
    pub fn follower(&self) -> usize {
        let leader = self.leader();
        (0..self.nodes.len()).find(|i| *i != leader && self.nodes[*i].proc.is_some()).expect("a follower")
    }
    /// Writes a key by any node that takes it, waiting for an election to end.
    pub fn put(&self, key: &str, value: impl AsRef<[u8]>) {
        wait_until(secs(20), "a Consul node that takes a write", || {
            self.nodes.iter().find(|n| n.proc.is_some() && n.try_put(key, value.as_ref())).map(|_| ())
        });
    }
    /// Addresses of all nodes, host:port.
    pub fn addrs(&self) -> Vec<String> {
        self.nodes.iter().map(Consul::addr).collect()
    }
}
