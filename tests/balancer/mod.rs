//! The CoreOS article's load balancer: nginx in a root of its own with the article's template, a real etcd with the
//! article's keys, four backends, clients, and a watcher that keeps every configuration that was ever in place.

mod image;
mod traffic;

pub use image::*;
pub use traffic::*;

use crate::util::*;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

pub const WAIT: Duration = secs(60);

/// How pilotfish and nginx stand to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// pilotfish is PID 1 and nginx its app.
    Above,
    /// nginx is PID 1 of its container, and pilotfish joined its processes.
    Beside,
}

/// All of it, running. The fields end in this order.
pub struct World {
    pub load: Load,
    watcher: Watcher,
    pub fish: Proc,
    /// nginx's container, when pilotfish is not PID 1 of it.
    pub nginx: Option<Proc>,
    /// nginx's master.
    pub master: i32,
    pub backends: Vec<Backend>,
    pub etcd: Etcd,
    pub root: TempDir,
    /// The article's template, with an address of this test to listen on.
    template: String,
    /// Changes of etcd so far.
    pub changes: usize,
}

impl World {
    /// With the first `n` of four backends running and registered, under load.
    pub fn start(way: Way, n: usize) -> World {
        let etcd = Etcd::start();
        let ip = etcd.addr().rsplit_once(':').unwrap().0.to_string();
        let net = ip.rsplit_once('.').unwrap().0;
        let listen = format!("{net}.80:8080");
        let template = TEMPLATE.replace("server_name ", &format!("listen {listen};\n        server_name "));
        assert_ne!(template, TEMPLATE);
        let root = image(&[(pilotfish_bin(), "pilotfish")]);
        root.write(SRC, &template);
        let mut backends: Vec<Backend> = (1..=4).map(|i| Backend::new(format!("{net}.{}:800{i}", 100 + i))).collect();
        for (i, b) in backends.iter_mut().enumerate().take(n) {
            b.start();
            etcd.put2(&key(i), &b.address);
        }
        let app = match way {
            Way::Above => "command = ['/usr/sbin/nginx', '-g', 'daemon off;']\nreload = 'HUP'\nstop_signal = 'QUIT'\n",
            Way::Beside => "reload = 'signal:HUP@nginx'\n",
        };
        let toml = format!(
            "[source.etcd]\nurl = 'etcd2://{}'\n[[template]]\nsrc = '/{SRC}'\ndest = '/{CONF}'\nkeys = ['/test']\n\
             check = ['/usr/sbin/nginx', '-t', '-q', '-c', '{{src}}']\n[app]\n{app}",
            etcd.addr()
        );
        root.write("etc/pilotfish.toml", toml);
        let args = ["--config", "/etc/pilotfish.toml"];
        let (fish, nginx, master) = match way {
            Way::Above => {
                let fish = in_pid_namespace(Some(root.path()), "/pilotfish").args(args).spawn();
                let master = master_of(fish.inner_pid());
                (fish, None, master)
            }
            Way::Beside => {
                // nginx does not start without a configuration.
                let first = in_pid_namespace(Some(root.path()), "/pilotfish").args(args).args(["--once", "-r", "none"]);
                first.run(WAIT).expect_exit(Exit::Code(0), WAIT);
                let nginx = in_pid_namespace(Some(root.path()), "/usr/sbin/nginx").args(["-g", "daemon off;"]).spawn();
                let master = master_of(nginx.pid());
                // It is not signalled in its first second, and here each signal is counted.
                wait_until(WAIT, "nginx's second second", || (nginx.started().elapsed() > millis(1500)).then_some(()));
                (beside(master, "/pilotfish").args(args).spawn(), Some(nginx), master)
            }
        };
        wait_until(WAIT, "nginx's first answer", || http("GET", &listen, "/", &[], b"").ok());
        let (load, watcher) = (Load::start(&listen, 3), Watcher::start(root.join(CONF)));
        World { load, watcher, fish, nginx, master, backends, etcd, root, template, changes: 0 }
    }

    /// Writes its address, which is `address` with more for nginx behind it or not.
    pub fn register(&mut self, i: usize, form: &str) {
        let text = format!("value={}{form}", self.backends[i].address);
        self.etcd.v2("PUT", &format!("/keys{}", key(i)), &text);
        self.changes += 1;
    }
    /// Removes its key.
    pub fn deregister(&mut self, i: usize) {
        self.etcd.v2("DELETE", &format!("/keys{}", key(i)), "");
        self.changes += 1;
    }
    /// What nginx's file should hold when these are registered.
    pub fn conf(&self, backends: &[usize]) -> String {
        let mut servers: Vec<String> = backends.iter().map(|i| self.backends[*i].address.clone()).collect();
        servers.sort(); // as `getvs` does
        rendered(&self.template, &servers)
    }
    /// Waits until this holds; fails with all there is to know.
    #[track_caller]
    pub fn wait(&self, what: &str, holds: impl Fn(&World) -> bool) {
        let until = Instant::now() + WAIT;
        while !holds(self) {
            self.check(Instant::now() < until, &format!("waited {WAIT:?} in vain for {what}"));
            sleep(millis(5));
        }
    }
    /// Waits until the file holds what it should with these.
    #[track_caller]
    pub fn wait_conf(&self, backends: &[usize]) {
        let conf = self.conf(backends);
        self.wait(&conf, |w| w.root.read(CONF) == conf);
    }
    /// Waits until one generation of nginx is left, and none of these workers.
    #[track_caller]
    pub fn wait_one_worker(&self, old: &[i32]) {
        let is_new = |all: &[i32]| all.len() == 1 && !old.contains(&all[0]);
        self.wait("nginx's old workers to end", |w| is_new(&workers_of(w.master)));
    }
    /// nginx's complaints.
    pub fn errors(&self) -> String {
        errors_of(&self.root)
    }
    /// The lines that say that nginx was told.
    pub fn reloads(&self) -> usize {
        let what = if self.nginx.is_some() { "reloading nginx now" } else { "reloading main program now" };
        self.fish.lines_matching(what).len()
    }
    /// Fails with all there is to know unless `holds`.
    #[track_caller]
    pub fn check(&self, holds: bool, what: &str) {
        if !holds {
            let failures = self.load.failures();
            let some = &failures[..failures.len().min(20)];
            panic!(
                "{what}\n{} requests, {} of them failed: {some:?}\nnginx: {}\n{}",
                self.load.asked(),
                failures.len(),
                self.errors(),
                self.fish.report()
            );
        }
    }
    /// Not one request may have failed.
    #[track_caller]
    pub fn check_load(&self) {
        self.check(self.load.failures().is_empty(), "requests failed");
    }

    /// Ends the load, then pilotfish and nginx; looks at all that must be true afterwards.
    pub fn finish(mut self) {
        self.load.stop();
        self.check_load();
        self.fish.signal_inner(libc::SIGTERM);
        self.fish.expect_exit(Exit::Code(0), WAIT);
        if let Some(nginx) = &self.nginx {
            nginx.check(nginx.exited().is_none(), "nginx is not ours to stop");
            nginx.signal_inner(libc::SIGQUIT);
            nginx.expect_exit(Exit::Code(0), WAIT);
        }
        for bad in ["reload failed", "Config check failed", "cannot "] {
            self.check(self.fish.lines_matching(bad).is_empty(), bad);
        }
        let (reloads, updates) = (self.reloads(), self.fish.lines_matching("has been updated").len());
        self.check(reloads <= self.changes, &format!("{reloads} reloads for {} changes", self.changes));
        // Who runs elsewhere is told at the start too, of the file that is there.
        let told = updates + usize::from(self.nginx.is_some());
        self.check(reloads <= told, &format!("{reloads} reloads for {updates} files"));
        // Every file that was ever in place, not only those that pilotfish says it has checked.
        let (seen, all) = self.watcher.stop();
        self.check(seen <= updates + 1, &format!("{seen} files seen, {updates} put in place"));
        self.check(seen * 2 >= updates, &format!("only {seen} files of {updates} were seen: the watcher sleeps"));
        for text in &all {
            self.root.write("etc/nginx/kept", text);
            let test = in_root(self.root.path(), "/usr/sbin/nginx").args(["-t", "-q", "-c", "/etc/nginx/kept"]);
            let test = test.run(WAIT);
            test.check(test.exited() == Some(Exit::Code(0)), &format!("nginx would not take:\n{text}"));
        }
        println!(
            "{} requests, {} changes, {updates} files put in place, {seen} seen, {} different, {reloads} reloads",
            self.load.asked(),
            self.changes,
            all.len()
        );
    }
}

fn key(i: usize) -> String {
    format!("/test/apache-800{}", i + 1)
}

/// Looks at a file all the time and keeps what it saw.
struct Watcher {
    seen: Arc<Mutex<(usize, Vec<String>)>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    fn start(file: PathBuf) -> Watcher {
        let (seen, is_over) = (Arc::new(Mutex::new((0, Vec::new()))), Arc::new(AtomicBool::new(false)));
        let (all, over) = (Arc::clone(&seen), Arc::clone(&is_over));
        let thread = spawn(move || {
            let mut last = String::new();
            while !over.load(SeqCst) {
                let now = std::fs::read_to_string(&file).expect("the file is always there");
                if now != last {
                    let mut all = all.lock().unwrap();
                    all.0 += 1;
                    if !all.1.contains(&now) {
                        all.1.push(now.clone());
                    }
                    last = now;
                }
                sleep(millis(5));
            }
        });
        Watcher { seen, is_over, thread: Some(thread) }
    }
    /// How often it was another one, and each different one.
    fn stop(&mut self) -> (usize, Vec<String>) {
        self.is_over.store(true, SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
    }
}
