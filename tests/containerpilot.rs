//! ContainerPilot's door against a real Consul and a real etcd: what is told of services and when, what others' coming and
//! going calls for, hooks and the end, configurations and new ones; and, in the files of containerpilot/, the configuration
//! of the original's own page. What is said of requests is seen by a recorder in front of the real server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    unsafe_code,
    missing_docs,
    dead_code
)]

mod util;

#[path = "containerpilot/backends.rs"]
mod backends;
#[path = "containerpilot/config.rs"]
mod config;
#[path = "containerpilot/ending.rs"]
mod ending;
#[path = "containerpilot/etcd.rs"]
mod etcd;
#[path = "containerpilot/jobs.rs"]
mod jobs;
#[path = "containerpilot/page.rs"]
mod page;
#[path = "containerpilot/reload.rs"]
mod reload;
#[path = "containerpilot/services.rs"]
mod services;

use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use util::*;

const WAIT: Duration = secs(40);

/// A real Consul behind a recorder, and a folder for configurations and scripts.
struct World {
    dir: TempDir,
    seen: FakeHttp,
    consul: Consul,
}

impl World {
    fn new() -> World {
        let consul = Consul::start();
        World { dir: TempDir::new(), seen: recorder(consul.addr(), |_| None), consul }
    }
    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
    /// Writes a file as a whole.
    fn set(&self, name: &str, content: &str) {
        let aside = self.dir.write(format!(".{name}"), content);
        std::fs::rename(aside, self.dir.join(name)).unwrap();
    }
    fn remove(&self, name: &str) {
        std::fs::remove_file(self.dir.join(name)).unwrap();
    }
    /// Writes the configuration: the recorder is its Consul, if it names none, and `$D` is the world's folder.
    fn write(&self, config: &Value) {
        let mut config = config.clone();
        if config.get("consul").is_none() && config.get("etcd").is_none() {
            config["consul"] = json!(self.seen.addr());
        }
        self.set("app.json", &config.to_string().replace("$D", &self.dir.path().display().to_string()));
    }
    fn cmd(&self, config: &Value) -> Cmd {
        self.write(config);
        pilotfish().args(["containerpilot", "-config", &format!("file://{}", self.path("app.json"))])
    }
    /// Starts it with the static app, which says what it hears.
    fn start(&self, config: &Value, app: &[&str]) -> Proc {
        self.cmd(config).arg(static_app()).args(app).spawn()
    }
    /// The requests that tell the catalog something.
    fn told(&self) -> Vec<Request> {
        self.seen.requests().into_iter().filter(|r| r.method == "PUT" || r.method == "DELETE").collect()
    }
    /// Those of them that are such.
    fn told_of(&self, pattern: &str) -> Vec<Request> {
        self.told().into_iter().filter(|r| r.path.contains(pattern)).collect()
    }
    /// Waits for the `n`th such request.
    fn wait_told(&self, proc: &Proc, pattern: &str, n: usize) -> Request {
        let start = Instant::now();
        loop {
            if let Some(found) = self.told_of(pattern).into_iter().nth(n - 1) {
                return found;
            }
            if start.elapsed() > WAIT {
                proc.fail(&format!("no request {n} with {pattern}, only {}", self.shown()));
            }
            std::thread::sleep(millis(5));
        }
    }
    fn shown(&self) -> String {
        let mut text = String::new();
        for r in self.seen.requests() {
            text.push_str(&format!("\n  {} {} {}", r.method, r.path, String::from_utf8_lossy(&r.body)));
        }
        text
    }
    /// What Consul's agent knows of a service.
    fn service(&self, id: &str) -> Option<Value> {
        self.consul.call("GET", "/v1/agent/services", b"").json().get(id).cloned()
    }
    /// What it knows of a check; `Null` if nothing.
    fn check(&self, id: &str) -> Value {
        self.consul.call("GET", "/v1/agent/checks", b"").json()[id].clone()
    }
    fn wait_status(&self, proc: &Proc, id: &str, status: &str) {
        let start = Instant::now();
        while self.check(id)["Status"] != status {
            if start.elapsed() > WAIT {
                proc.fail(&format!("{id} should be {status}, is {}", self.check(id)));
            }
            std::thread::sleep(millis(10));
        }
    }
    /// Tells Consul of an instance of somebody else's service, with a check that is as said.
    fn join(&self, name: &str, id: &str, port: u16, tags: &[&str], status: &str) {
        let body = json!({"ID": id, "Name": name, "Address": "10.9.8.7", "Port": port, "Tags": tags,
            "Check": {"CheckID": id, "TTL": "600s", "Status": status}});
        self.consul.call("PUT", "/v1/agent/service/register", body.to_string().as_bytes());
    }
    fn leave(&self, id: &str) {
        self.consul.call("PUT", &format!("/v1/agent/service/deregister/{id}"), b"");
    }
    /// The lines of a file that a script adds to; none if it is not there.
    fn lines(&self, name: &str) -> Vec<String> {
        std::fs::read_to_string(self.dir.join(name)).unwrap_or_default().lines().map(str::to_string).collect()
    }
    fn wait_lines(&self, proc: &Proc, name: &str, n: usize) {
        let start = Instant::now();
        while self.lines(name).len() < n {
            if start.elapsed() > WAIT {
                proc.fail(&format!("{name} should have {n} lines, has {:?}", self.lines(name)));
            }
            std::thread::sleep(millis(5));
        }
    }
}

/// The host's name, which every id ends with.
fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_string()
}

/// This instance's id of a service.
fn id(name: &str) -> String {
    format!("{name}-{}", host())
}

/// The clock of others: a process that runs so long. What should not happen meanwhile would have.
fn while_others_live(time: Duration) {
    Cmd::new("sleep").arg(time.as_secs_f64().to_string()).run(time + WAIT).expect_exit(Exit::Code(0), WAIT);
}

/// A service that is asked for quickly; `more` are its other fields.
fn service(name: &str, more: Value) -> Value {
    let mut all = json!({"name": name, "port": 8000, "poll": 0.2, "ttl": 3, "interfaces": "static:10.1.2.3"});
    for (key, value) in more.as_object().unwrap() {
        all[key.as_str()] = value.clone();
    }
    all
}

/// Ends it and expects the code.
fn end(proc: &Proc, code: i32) {
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(code), WAIT);
}

/// Where the process is to be that has said `NAME pid=N`.
fn pid_in(line: &str) -> i32 {
    line.rsplit("pid=").next().unwrap().trim().parse().unwrap()
}

fn is_alive(pid: i32) -> bool {
    processes().iter().any(|p| p.pid == pid && p.state != 'Z')
}

fn file_url(path: PathBuf) -> String {
    format!("file://{}", path.display())
}
