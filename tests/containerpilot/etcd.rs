//! etcd as the catalog: the folders of its second interface, as the original has them, and leases of the third.

use super::*;

/// A real etcd behind a recorder.
struct Keys {
    etcd: Etcd,
    seen: FakeHttp,
}

impl Keys {
    fn new() -> Keys {
        let etcd = Etcd::start();
        Keys { seen: recorder(etcd.addr(), |_| None), etcd }
    }
    /// The answer to a read of the second interface, whatever its status.
    fn get(&self, key: &str) -> Reply {
        http("GET", &self.etcd.addr(), &format!("/v2/keys{key}?recursive=true"), &[], b"").unwrap()
    }
    fn is_there(&self, key: &str) -> bool {
        self.get(key).status == 200
    }
    fn wait(&self, proc: &Proc, key: &str, there: bool) {
        let start = Instant::now();
        while self.is_there(key) != there {
            if start.elapsed() > WAIT {
                proc.fail(&format!(
                    "{key} should {}be there: {}",
                    if there { "" } else { "not " },
                    self.get("/").text()
                ));
            }
            std::thread::sleep(millis(10));
        }
    }
    /// Somebody else's instance.
    fn join(&self, folder: &str, port: u16, ttl: Option<u32>) {
        let ttl = ttl.map_or(String::new(), |t| format!("&ttl={t}"));
        self.etcd.v2("PUT", &format!("/keys{folder}?dir=true{ttl}"), "");
        let value = format!(
            "%7B%22id%22%3A%22x%22%2C%22name%22%3A%22up%22%2C%22address%22%3A%2210.0.0.1%22%2C%22port%22%3A{port}%7D"
        );
        self.etcd.v2("PUT", &format!("/keys{folder}/service"), &format!("value={value}"));
    }
    fn writes(&self) -> Vec<Request> {
        self.seen.requests().into_iter().filter(|r| r.method != "GET").collect()
    }
}

fn shown(requests: &[Request]) -> String {
    requests.iter().map(|r| format!("\n{} {}", r.method, r.path)).collect()
}

fn folder(w: &TempDir) -> impl Fn(&str) -> String {
    let path = w.path().to_path_buf();
    move |name| path.join(name).display().to_string()
}

fn start(dir: &TempDir, config: &Value, app: &[&str]) -> Proc {
    let text = config.to_string().replace("$D", &dir.path().display().to_string());
    pilotfish().args(["containerpilot", "-config", &text]).arg(static_app()).args(app).spawn()
}

#[test]
fn folders_of_the_second_interface_live_as_long_as_they_are_well() {
    let (k, dir) = (Keys::new(), TempDir::new());
    let path = folder(&dir);
    let config = json!({
        "etcd": {"endpoints": format!("http://{}", k.seen.addr())},
        "services": [service("app", json!({"health": ["test", "!", "-e", path("ill")]}))],
    });
    let proc = start(&dir, &config, &["wait"]);
    let key = format!("/containerpilot/app/{}", id("app"));
    k.wait(&proc, &format!("{key}/service"), true);
    let reply = k.get(&key).json();
    let (node, service) = (&reply["node"], &reply["node"]["nodes"][0]);
    assert!(node["dir"] == true && (1..=3).contains(&node["ttl"].as_i64().unwrap()), "{reply}");
    assert_eq!(service["key"], format!("{key}/service"));
    let value: Value = serde_json::from_str(service["value"].as_str().unwrap()).unwrap();
    assert_eq!(value, json!({"id": id("app"), "name": "app", "address": "10.1.2.3", "port": 8000}));
    // One folder with a time to live, then its content, then beats.
    wait_until(WAIT, "some beats", || (k.writes().len() >= 6).then_some(()));
    let writes = k.writes();
    assert_eq!(writes[0].path, format!("/v2/keys{key}?dir=true&ttl=3"), "{}", shown(&writes));
    let values = writes.iter().filter(|r| r.path.starts_with(&format!("/v2/keys{key}/service"))).count();
    let beats = writes.iter().filter(|r| r.path == format!("/v2/keys{key}?dir=true&prevExist=true&ttl=3")).count();
    assert_eq!((values, beats), (1, writes.len() - 2), "{}", shown(&writes));
    assert!(writes.iter().all(|r| r.method == "PUT"));
    let is_same = |k: &Keys| k.get(&key).json()["node"]["createdIndex"] == node["createdIndex"];
    assert!(is_same(&k), "it is kept alive, not made anew");
    // Ill: nobody deletes it, it runs out; well: it is back.
    dir.write("ill", "");
    k.wait(&proc, &key, false);
    assert!(k.writes().iter().all(|r| r.method == "PUT"));
    std::fs::remove_file(dir.join("ill")).unwrap();
    k.wait(&proc, &format!("{key}/service"), true);
    // Deleted from outside: back.
    k.etcd.v2("DELETE", &format!("/keys{key}?recursive=true"), "");
    k.wait(&proc, &format!("{key}/service"), true);
    // Maintenance, and back.
    proc.signal(libc::SIGUSR1);
    k.wait(&proc, &key, false);
    while_others_live(millis(800));
    assert!(!k.is_there(&key));
    proc.signal(libc::SIGUSR1);
    k.wait(&proc, &format!("{key}/service"), true);
    end(&proc, 0);
    assert!(!k.is_there(&key));
    let last = k.writes().pop().unwrap();
    assert_eq!((last.method.as_str(), last.path), ("DELETE", format!("/v2/keys{key}?recursive=true")));
}

#[test]
fn another_prefix_and_a_member_that_is_dead() {
    let (k, dir) = (Keys::new(), TempDir::new());
    let dead = format!("http://127.0.0.1:{}", free_port());
    for prefix in ["/some/where", "some/where/"] {
        let etcd = json!({"endpoints": [dead, format!("http://{}", k.seen.addr())], "prefix": prefix});
        let proc = start(&dir, &json!({"etcd": etcd, "services": [service("app", json!({}))]}), &["wait"]);
        let key = format!("/some/where/app/{}", id("app"));
        k.wait(&proc, &format!("{key}/service"), true);
        end(&proc, 0);
        assert!(!k.is_there(&key), "{}", proc.report());
    }
}

#[test]
fn instances_of_the_second_interface_are_folders() {
    let (k, dir) = (Keys::new(), TempDir::new());
    let to = |file: &str| json!(["sh", "-c", format!("echo run >> $D/{file}")]);
    let config = json!({
        "etcd": {"endpoints": [format!("http://{}", k.seen.addr())]},
        "backends": [{"name": "up", "poll": 1, "onChange": to("runs")}, {"name": "later", "poll": 1, "onChange": to("later")}],
    });
    let proc = start(&dir, &config, &["wait"]);
    proc.wait_line("ready pid=", WAIT);
    let lines = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default().lines().count();
    let wait = |name: &str, n: usize| {
        wait_until(WAIT, &format!("{n} lines in {name}"), || (lines(name) >= n).then_some(()));
    };
    let later = std::cell::Cell::new(0);
    let settle = || {
        later.set(later.get() + 1);
        k.join(&format!("/containerpilot/later/l{}", later.get()), 1000 + later.get() as u16, None);
        wait("later", later.get());
        while_others_live(millis(300));
    };
    // A key that is missing is nobody.
    settle();
    assert_eq!(lines("runs"), 0, "{}", proc.report());
    k.join("/containerpilot/up/up1", 81, None);
    wait("runs", 1);
    // A plain key is no instance.
    k.etcd.put2("/containerpilot/up/plain", "x");
    settle();
    assert_eq!(lines("runs"), 1, "{}", proc.report());
    k.join("/containerpilot/up/up2", 82, Some(2));
    wait("runs", 2);
    // It runs out.
    wait("runs", 3);
    k.etcd.v2("DELETE", "/keys/containerpilot/up?recursive=true", "");
    wait("runs", 4);
    settle();
    assert_eq!(lines("runs"), 4, "{}", proc.report());
    assert!(
        k.seen
            .requests()
            .iter()
            .any(|r| { r.path.starts_with("/v2/keys/containerpilot/up?") && r.query("recursive") == Some("true") })
    );
    end(&proc, 0);
}

#[test]
fn one_node_finds_another_and_leases_of_the_third_interface_do_the_same() {
    for version in [2, 3] {
        let (k, dir) = (Keys::new(), TempDir::new());
        let etcd = json!({"endpoints": k.etcd.addr(), "version": version});
        let config = json!({
            "etcd": etcd,
            "backends": [{"name": "app", "poll": 1, "onChange": ["sh", "-c", "echo run >> $D/runs"]}],
        });
        let watcher = start(&dir, &config, &["wait"]);
        watcher.wait_line("ready pid=", WAIT);
        let lines = || std::fs::read_to_string(dir.join("runs")).unwrap_or_default().lines().count();
        let wait = |n: usize| {
            let start = Instant::now();
            while lines() < n {
                watcher.check(start.elapsed() < WAIT, &format!("version {version}: run {n} should come"));
                std::thread::sleep(millis(5));
            }
        };
        let config = json!({"etcd": etcd, "services": [service("app", json!({}))]});
        let node = start(&dir, &config, &["wait"]);
        wait(1);
        // It beats: nothing changes for longer than its time to live.
        while_others_live(millis(4000));
        assert_eq!(lines(), 1, "{}\n{}", watcher.report(), node.report());
        // Killed with all it has: its time runs out.
        drop(node);
        wait(2);
        let node = start(&dir, &config, &["wait"]);
        wait(3);
        end(&node, 0);
        wait(4);
        if version == 3 {
            let node = start(&dir, &config, &["wait"]);
            wait(5);
            // All leases are revoked: it takes a new one.
            let leases = k.etcd.call("lease/leases", json!({}));
            for lease in leases["leases"].as_array().unwrap() {
                k.etcd.call("lease/revoke", json!({"ID": lease["ID"]}));
            }
            wait(7);
            end(&node, 0);
            wait(8);
            let left = k.etcd.call("lease/leases", json!({}));
            assert!(left.get("leases").is_none(), "no lease should be left: {left}");
        }
        end(&watcher, 0);
    }
}
