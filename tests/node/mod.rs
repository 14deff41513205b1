//! A supervised node in front of a catalog, by either front door: one configuration, in ContainerPilot's words, which is
//! told to pilotfish as a ContainerPilot file or as the pilotfish.toml that means the same.

use crate::util::*;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How the configuration comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    Native,
    ContainerPilot,
}

pub const DOORS: [Door; 2] = [Door::Native, Door::ContainerPilot];

pub const WAIT: Duration = secs(40);
/// What platforms give between TERM and KILL.
pub const GRACE: Duration = secs(10);

/// A node to be.
pub struct Setup {
    door: Door,
    dir: TempDir,
    config: Value,
    toml: String,
    app: Vec<String>,
    host: Option<String>,
    is_pid_1: bool,
}

/// A running one. The fields end in this order.
pub struct Node {
    pub door: Door,
    pub proc: Proc,
    pub dir: TempDir,
    toml: String,
    mark: String,
    is_pid_1: bool,
}

/// A node with this configuration; its app only waits for TERM, and ends with 0. `$D` in the configuration is its folder.
pub fn node(door: Door, config: Value) -> Setup {
    let app = [static_app().display().to_string(), "wait".to_string()].to_vec();
    Setup { door, dir: TempDir::new(), config, toml: String::new(), app, host: None, is_pid_1: false }
}

/// A command as both doors take it word by word: a text for the shell.
pub fn shell(script: &str) -> Value {
    serde_json::json!(["sh", "-c", script])
}

impl Setup {
    /// Another app.
    pub fn app(mut self, words: &[&str]) -> Setup {
        self.app = words.iter().map(|w| (*w).to_string()).collect();
        self
    }
    /// More of pilotfish.toml, for what ContainerPilot's file has no words for; it stands in front of all tables.
    pub fn toml(mut self, text: &str) -> Setup {
        assert_eq!(self.door, Door::Native);
        self.toml = text.to_string();
        self
    }
    /// With that pilotfish.toml alone.
    pub fn alone(mut self) -> Setup {
        self.config = Value::Null;
        self
    }
    /// The name of its host: several nodes that share an agent differ by it.
    pub fn host(mut self, name: &str) -> Setup {
        self.host = Some(name.to_string());
        self
    }
    /// As the first process of a namespace.
    pub fn pid_1(mut self) -> Setup {
        self.is_pid_1 = true;
        self
    }
    /// A file in its folder.
    pub fn file(self, name: &str, text: &str) -> Setup {
        let text = text.replace("$D", &self.dir.path().display().to_string());
        self.dir.write(name, text);
        self
    }
    /// Its folder, before it runs.
    pub fn path(&self) -> PathBuf {
        self.dir.path().to_path_buf()
    }

    pub fn start(self) -> Node {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut words = vec![pilotfish_bin().display().to_string()];
        words.extend(match self.door {
            Door::Native => vec!["--config".to_string(), self.dir.join("p.toml").display().to_string()],
            Door::ContainerPilot => {
                let file = format!("file://{}", self.dir.join("cp.json").display());
                vec!["containerpilot".to_string(), "-config".to_string(), file]
            }
        });
        words.extend(self.app);
        let cmd = match (self.is_pid_1, &self.host) {
            (true, _) => in_pid_namespace(None, &words[0]).args(&words[1..]),
            (false, None) => Cmd::new(&words[0]).args(&words[1..]),
            (false, Some(name)) => {
                let mut cmd = Cmd::new("unshare").arg("--uts");
                // SAFETY: plain system call.
                if unsafe { libc::geteuid() } != 0 {
                    cmd = cmd.args(["--user", "--map-root-user"]);
                }
                cmd.args(["--", "sh", "-c", "hostname \"$0\" && exec \"$@\"", name]).args(&words)
            }
        };
        write(&self.dir, self.door, &self.config, &self.toml);
        let cmd = cmd.env("NODE_MARK", &mark).env("PILOTFISH_CONTROL", self.dir.join("control").display().to_string());
        Node {
            door: self.door,
            proc: cmd.cwd(self.dir.path()).spawn(),
            dir: self.dir,
            toml: self.toml,
            mark,
            is_pid_1: self.is_pid_1,
        }
    }
}

fn write(dir: &TempDir, door: Door, config: &Value, toml: &str) {
    let (name, text) = match door {
        Door::Native => ("p.toml", [toml, "\n", &native(config)].concat()),
        Door::ContainerPilot => ("cp.json", config.to_string()),
    };
    dir.write(name, text.replace("$D", &dir.path().display().to_string()));
}

impl Node {
    /// Writes another configuration and has it read.
    pub fn reload(&self, config: &Value) {
        write(&self.dir, self.door, config, &self.toml);
        self.read_again();
    }
    /// Writes a file that is none, and has it read.
    pub fn reload_text(&self, text: &str) {
        self.dir.write(if self.door == Door::Native { "p.toml" } else { "cp.json" }, text);
        self.read_again();
    }
    fn read_again(&self) {
        match self.door {
            Door::Native => drop(self.tell(&["reload"])),
            Door::ContainerPilot => self.signal(libc::SIGHUP),
        }
    }
    /// Begins or ends maintenance.
    pub fn maintain(&self, is_on: bool) {
        match self.door {
            Door::Native => {
                let done = self.tell(&["maintenance", if is_on { "on" } else { "off" }]);
                done.check(done.exited() == Some(Exit::Code(0)), "maintenance should be taken");
            }
            Door::ContainerPilot => self.signal(libc::SIGUSR1),
        }
    }
    fn tell(&self, words: &[&str]) -> Proc {
        pilotfish().args(words).arg("--control").arg(self.dir.join("control")).run(WAIT)
    }
    pub fn signal(&self, number: i32) {
        if self.is_pid_1 { self.proc.signal_inner(number) } else { self.proc.signal(number) }
    }
    pub fn line(&self, pattern: &str) -> Line {
        self.proc.wait_line(pattern, WAIT)
    }
    pub fn count(&self, pattern: &str) -> usize {
        self.proc.lines_matching(pattern).len()
    }
    #[track_caller]
    pub fn check(&self, holds: bool, what: &str) {
        self.proc.check(holds, &format!("{:?}: {what}", self.door));
    }
    /// What it, or something it started, has left running.
    pub fn rest(&self) -> Vec<Row> {
        let mark = format!("NODE_MARK={}", self.mark);
        let is_ours = |pid: i32| {
            let all = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            all.split(|b| *b == 0).any(|v| v == mark.as_bytes())
        };
        processes().into_iter().filter(|p| p.state != 'Z' && is_ours(p.pid)).collect()
    }
    /// Waits for its end: with this code, within the grace of platforms since `from`, and nothing left running.
    #[track_caller]
    pub fn ends(&self, code: i32, from: Instant) -> Duration {
        self.proc.expect_exit(Exit::Code(code), WAIT);
        let took = from.elapsed();
        self.check(took < GRACE, &format!("the end took {took:?}"));
        let rest = self.rest();
        self.check(rest.is_empty(), &format!("it left {rest:?}"));
        took
    }
    /// TERM, and its end.
    #[track_caller]
    pub fn stop(&self, code: i32) -> Duration {
        let from = Instant::now();
        self.signal(libc::SIGTERM);
        self.ends(code, from)
    }
}

/// The pilotfish.toml of a ContainerPilot file.
fn native(config: &Value) -> String {
    if config.is_null() {
        return String::new();
    }
    // JSON's texts, numbers and lists of them are TOML's.
    let of = |v: &Value, key: &str| v.get(key).cloned().unwrap_or(Value::Null);
    let line = |name: &str, v: Value| if v.is_null() { String::new() } else { format!("{name} = {v}\n") };
    let time = |name: &str, v: Value| if v.is_null() { String::new() } else { format!("{name} = \"{v}s\"\n") };
    let each = |key: &str| config.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut out = String::new();
    if let Some(address) = config["consul"].as_str() {
        out.push_str(&format!("[catalog]\nurl = \"consul://{address}\"\n"));
    }
    for s in each("services") {
        out.push_str("[[service]]\n");
        for key in ["name", "port", "tags", "health"] {
            out.push_str(&line(key, of(&s, key)));
        }
        out.push_str(&time("interval", of(&s, "poll")));
        out.push_str(&time("ttl", of(&s, "ttl")));
        out.push_str(&line("health_timeout", of(&s, "timeout")));
        let address = s["interfaces"][0].as_str().unwrap().strip_prefix("static:").unwrap();
        out.push_str(&format!("address = \"{address}\"\n"));
    }
    for b in each("backends") {
        out.push_str("[[backend]]\n");
        out.push_str(&line("name", of(&b, "name")));
        out.push_str(&line("on_change", of(&b, "onChange")));
        out.push_str(&line("timeout", of(&b, "timeout")));
    }
    for t in each("tasks") {
        out.push_str("[[task]]\n");
        for key in ["name", "command", "timeout"] {
            out.push_str(&line(key, of(&t, key)));
        }
        out.push_str(&line("interval", of(&t, "frequency")));
    }
    for c in each("coprocesses") {
        out.push_str("[[coprocess]]\n");
        for key in ["name", "command", "restarts"] {
            out.push_str(&line(key, of(&c, key)));
        }
    }
    out.push_str("[hooks]\npre_stop_timeout = \"1h\"\npost_stop_timeout = \"1h\"\n");
    for (theirs, ours) in [("preStart", "pre_start"), ("preStop", "pre_stop"), ("postStop", "post_stop")] {
        out.push_str(&line(ours, of(config, theirs)));
    }
    out.push_str("[app]\n");
    out.push_str(&time("stop_timeout", of(config, "stopTimeout")));
    out.push_str(&line("restart", of(config, "restart")));
    out
}

/// The services that Consul's agent has now, by id.
pub fn services(consul: &Consul) -> Vec<String> {
    let all = consul.call("GET", "/v1/agent/services", b"").json();
    all.as_object().unwrap().keys().cloned().collect()
}

/// Waits until the agent has as many services.
#[track_caller]
pub fn wait_services(consul: &Consul, n: usize) {
    wait_until(WAIT, &format!("{n} services"), || (services(consul).len() == n).then_some(()));
}

/// The addresses of the instances of a service that are well.
pub fn passing(consul: &Consul, name: &str) -> Vec<String> {
    let all = consul.call("GET", &format!("/v1/health/service/{name}?passing"), b"").json();
    let one = |e: &Value| format!("{}:{}", e["Service"]["Address"].as_str().unwrap(), e["Service"]["Port"]);
    let mut all: Vec<String> = all.as_array().unwrap().iter().map(one).collect();
    all.sort();
    all
}
