//! The autopilot pattern end to end: a real Consul, two nginx and a haproxy, each below a pilotfish of its own. The nginx
//! tell Consul of themselves, haproxy's file follows them; under load one nginx after the other is killed, put into
//! maintenance, ill, lost with its whole container, stopped, and comes back. haproxy follows within the TTL, and no request
//! is lost: there is always one nginx that could have answered it. That it does is haproxy's part too: it asks the other one
//! where nothing was answered yet, as one would have it in front of servers that come and go.

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

mod node;
#[path = "balancer/traffic.rs"]
mod traffic;
mod util;

use node::*;
use serde_json::json;
use std::time::{Duration, Instant};
use traffic::*;
use util::*;

const TTL: u64 = 3;
/// What a busy machine may need beside.
const SLACK: Duration = millis(1500);

const NGINX: &str = "daemon off;
worker_processes 1;
pid $D/nginx.pid;
error_log $D/error.log warn;
USER
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path $D/t1; proxy_temp_path $D/t2; fastcgi_temp_path $D/t3; uwsgi_temp_path $D/t4; scgi_temp_path $D/t5;
    server {
        listen ADDRESS;
        location = / { add_header X-Handler ADDRESS; return 200 ADDRESS; }
        location = /health { root $D/www; }
    }
}
";

const HAPROXY: &str = "global
    stats socket $D/stats.sock mode 600 level admin expose-fd listeners
defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout server 10s
    retries 3
    option redispatch 1
    retry-on all-retryable-errors
frontend all
    bind ADDRESS
    default_backend web
backend web
    balance roundrobin
{{range gets \"/web/*\"}}    server {{base .Key}} {{.Value}}
{{end}}";

/// What renders that file: the whole configuration where haproxy is the app, or what an onChange runs.
const RENDER: &str = "[catalog]
url = 'consul://CONSUL'
[source.up]
url = 'services:'
[[template]]
src = '$D/haproxy.tmpl'
dest = '$D/haproxy.cfg'
keys = ['/web']
check = ['HAPROXY', '-c', '-q', '-f', '{src}']
";

struct World {
    load: Load,
    front: Node,
    nginx: [Option<Node>; 2],
    consul: Consul,
    door: Door,
    reloads: usize,
}

/// An address of the third number's network of this Consul, whose other tests keep away.
fn at(consul: &Consul, last: u8) -> String {
    format!("{}.{last}", consul.ip().rsplit_once('.').unwrap().0)
}

fn address(consul: &Consul, i: usize) -> String {
    at(consul, 11 + i as u8) + ":8080"
}

/// A nginx below its pilotfish; well when /health is there.
fn start_nginx(door: Door, consul: &Consul, i: usize) -> Node {
    let address = address(consul, i);
    let (ip, _) = address.split_once(':').unwrap();
    let mut config = json!({"consul": consul.addr(), "stopTimeout": 5, "services": [{
        "name": "web", "port": 8080, "interfaces": [format!("static:{ip}")], "poll": 1, "ttl": TTL,
        "health": format!("http://{address}/health"), "timeout": "500ms"}]});
    if door == Door::Native {
        config["restart"] = json!("on-failure"); // ContainerPilot has no word for it
    }
    // SAFETY: plain system call.
    let user = if unsafe { libc::geteuid() } == 0 { "user root;" } else { "" };
    let conf = NGINX.replace("ADDRESS", &address).replace("USER", user);
    let setup = node(door, config).host(&format!("web{i}")).file("nginx.conf", &conf).file("www/health", "ok");
    let dir = setup.path().display().to_string();
    let nginx = server_bin("nginx").display().to_string();
    let words = [&nginx, "-p", &dir, "-e", &format!("{dir}/error.log"), "-c", &format!("{dir}/nginx.conf")];
    setup.app(&words).start()
}

/// haproxy below its pilotfish.
fn start_haproxy(door: Door, consul: &Consul) -> Node {
    let haproxy = server_bin("haproxy").display().to_string();
    let listen = at(consul, 20) + ":8080";
    let render = RENDER.replace("CONSUL", &consul.addr()).replace("HAPROXY", &haproxy);
    let setup = match door {
        Door::Native => node(door, json!({})).toml(&(render + "[app]\nreload = 'USR2'\n")).alone(),
        Door::ContainerPilot => {
            let tell = render + "reload = 'echo told >> $D/told; kill -USR2 $(cat $D/haproxy.pid)'\n";
            let run = format!("'{}' --once --control none --config $D/render.toml", pilotfish_bin().display());
            let config = json!({"consul": consul.addr(), "preStart": shell(&run.replace("render", "first")),
                "backends": [{"name": "web", "poll": 1, "onChange": shell(&run)}]});
            let first = tell.split("reload =").next().unwrap().to_string();
            node(door, config).file("render.toml", &tell).file("first.toml", &first)
        }
    };
    let dir = setup.path().display().to_string();
    let setup = setup.file("haproxy.tmpl", &HAPROXY.replace("ADDRESS", &listen));
    let words = [&haproxy, "-W", "-p", &format!("{dir}/haproxy.pid"), "-f", &format!("{dir}/haproxy.cfg")];
    setup.app(&words).start()
}

impl World {
    fn start(door: Door) -> World {
        let consul = Consul::start();
        let nginx = [0, 1].map(|i| Some(start_nginx(door, &consul, i)));
        for node in nginx.iter().flatten() {
            node.line("is registered");
        }
        let front = start_haproxy(door, &consul);
        let listen = at(&consul, 20) + ":8080";
        wait_until(WAIT, "haproxy's first answer", || match http("GET", &listen, "/", &[], b"") {
            Ok(reply) => (reply.status == 200).then_some(()),
            Err(_) => front.proc.exited().map(|_| front.proc.fail("haproxy does not run")),
        });
        // A young app is not signalled.
        wait_until(WAIT, "haproxy's second second", || (front.proc.started().elapsed() > millis(1500)).then_some(()));
        let load = Load::start(&listen, 4);
        load.wait(50);
        let world = World { load, front, nginx, consul, door, reloads: 0 };
        world.check_load("at the start");
        world
    }
    fn at(&self, i: usize) -> String {
        address(&self.consul, i)
    }
    fn node(&self, i: usize) -> &Node {
        self.nginx[i].as_ref().unwrap()
    }
    /// The servers of haproxy's file.
    fn servers(&self) -> Vec<String> {
        let text = self.front.dir.read("haproxy.cfg");
        let mut all: Vec<String> = text
            .lines()
            .filter(|l| l.starts_with("    server "))
            .map(|l| l.rsplit(' ').next().unwrap().to_string())
            .collect();
        all.sort();
        all
    }
    /// How often haproxy was told.
    fn told(&self) -> usize {
        match self.door {
            Door::Native => self.front.count("reloading main program now"),
            Door::ContainerPilot => {
                std::fs::read_to_string(self.front.dir.join("told")).unwrap_or_default().lines().count()
            }
        }
    }
    /// haproxy has these servers, and was told, before `limit` is over since `from`.
    #[track_caller]
    fn told_of(&mut self, what: &str, from: Instant, limit: Duration, servers: &[usize]) {
        let mut wanted: Vec<String> = servers.iter().map(|i| self.at(*i)).collect();
        wanted.sort();
        self.reloads += 1;
        while self.servers() != wanted || self.told() < self.reloads {
            self.check(
                from.elapsed() < WAIT,
                &format!("{what}: haproxy should have {wanted:?}, not {:?}", self.servers()),
            );
            std::thread::sleep(millis(5));
        }
        let took = from.elapsed();
        println!("{:?}: {what}: followed after {took:?}, {} requests so far", self.door, self.load.asked());
        self.check(took < limit, &format!("{what}: haproxy followed after {took:?}"));
    }
    /// The same, and afterwards those answer and no others.
    #[track_caller]
    fn follows(&mut self, what: &str, from: Instant, limit: Duration, servers: &[usize]) {
        self.told_of(what, from, limit, servers);
        // The old worker may finish what it has: then there is a time without an answer of who is gone, and with some of each
        // that is there.
        let answers = |w: &World| [0, 1].map(|i| w.load.answers_of(&w.at(i)));
        let until = Instant::now() + WAIT;
        loop {
            let before = answers(self);
            self.load.wait(40);
            let now = answers(self);
            if [0, 1].iter().all(|i| (now[*i] > before[*i]) == servers.contains(i)) {
                break;
            }
            self.check(Instant::now() < until, &format!("{what}: not the right ones answer: {before:?} {now:?}"));
        }
        self.check_load(what);
        self.check(
            self.told() == self.reloads,
            &format!("{what}: haproxy was told {} times, not {}", self.told(), self.reloads),
        );
    }
    fn check_load(&self, what: &str) {
        self.check(self.load.failures().is_empty(), &format!("{what}: requests were lost"));
    }
    #[track_caller]
    fn check(&self, holds: bool, what: &str) {
        if !holds {
            let failures = self.load.failures();
            let mut report = format!(
                "{:?}: {what}\n{} requests, {} failed: {:?}\n{}",
                self.door,
                self.load.asked(),
                failures.len(),
                &failures[..failures.len().min(20)],
                self.front.proc.report()
            );
            for node in self.nginx.iter().flatten() {
                let log = std::fs::read_to_string(node.dir.join("error.log")).unwrap_or_default();
                report.push_str(&format!("{}{log}\n", node.proc.report()));
            }
            panic!("{report}");
        }
    }
    /// nginx's processes end as by a lack of memory: all at once, the master first.
    fn kill_nginx(&self, i: usize) {
        let pid: i32 = self.node(i).dir.read("nginx.pid").trim().parse().unwrap();
        let workers = children_of(pid);
        self.check(!workers.is_empty(), "nginx should have a worker");
        for pid in [pid].into_iter().chain(workers.iter().map(|w| w.pid)) {
            // SAFETY: plain system call.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
    fn set_health(&self, i: usize, is_well: bool) {
        let dir = &self.node(i).dir;
        match is_well {
            true => drop(dir.write("www/health", "ok")),
            false => std::fs::remove_file(dir.join("www/health")).unwrap(),
        }
    }
    fn start_again(&mut self, i: usize) -> Instant {
        self.nginx[i] = None;
        self.nginx[i] = Some(start_nginx(self.door, &self.consul, i));
        Instant::now()
    }
}

fn autopilot(door: Door) {
    let mut w = World::start(door);
    let ttl = secs(TTL) + SLACK;
    // Nothing here waits for a TTL but what a health check or nobody tells of.
    let at_once = secs(TTL).min(secs(2));

    let from = Instant::now();
    w.kill_nginx(0);
    let from = match door {
        // Its supervisor starts it again.
        Door::Native => {
            w.told_of("nginx killed", from, at_once, &[1]);
            w.node(0).line("starting it again");
            from
        }
        // Its supervisor ends with its code, and whoever runs containers starts it again.
        Door::ContainerPilot => {
            w.follows("nginx killed", from, at_once, &[1]);
            w.node(0).ends(137, from);
            w.start_again(0)
        }
    };
    w.follows("nginx back", from, ttl, &[0, 1]);

    let from = Instant::now();
    w.node(1).maintain(true);
    w.follows("maintenance", from, at_once, &[0]);
    let from = Instant::now();
    w.node(1).maintain(false);
    w.follows("maintenance over", from, ttl, &[0, 1]);

    let from = Instant::now();
    w.set_health(0, false);
    w.follows("ill", from, ttl, &[1]);
    let from = Instant::now();
    w.set_health(0, true);
    w.follows("well", from, ttl, &[0, 1]);

    // The whole container at once: nobody is left to say so.
    let from = Instant::now();
    w.node(1).signal(libc::SIGSTOP); // it must not see its app's end
    w.kill_nginx(1);
    w.node(1).signal(libc::SIGKILL);
    w.follows("lost", from, ttl, &[0]);
    let from = w.start_again(1);
    w.follows("a new one", from, ttl, &[0, 1]);

    let from = Instant::now();
    w.node(0).signal(libc::SIGTERM);
    w.follows("stopped", from, at_once, &[1]);
    w.node(0).ends(0, from);
    let from = w.start_again(0);
    w.follows("started", from, ttl, &[0, 1]);

    w.load.stop();
    w.check_load("at the end");
    println!(
        "{door:?}: {} requests, {} of them by nginx 0, {} by nginx 1, {} reloads",
        w.load.asked(),
        w.load.answers_of(&w.at(0)),
        w.load.answers_of(&w.at(1)),
        w.told()
    );
    for node in w.nginx.iter().flatten() {
        node.stop(0);
    }
    assert!(services(&w.consul).is_empty(), "nothing should be left in Consul");
    let from = Instant::now();
    w.front.signal(libc::SIGTERM);
    let exit = w.front.proc.wait_exit(WAIT);
    w.check(matches!(exit, Exit::Code(0 | 143)), "haproxy ends as it does after TERM");
    w.check(from.elapsed() < GRACE && w.front.rest().is_empty(), "nothing is left behind");
}

#[test]
fn haproxy_follows_two_nginx_by_pilotfish_toml() {
    autopilot(Door::Native);
}

#[test]
fn haproxy_follows_two_nginx_by_containerpilot_and_on_change() {
    autopilot(Door::ContainerPilot);
}
