//! The configuration of the original's own page as it stands there, as PID 1 of a container: the paths it names hold
//! stand-ins for its scripts, `consul` is a name in /etc/hosts, and eth0 an interface of the namespace.

use super::*;
use std::os::unix::fs::PermissionsExt;

const CONFIG: &str = include_str!("page.json");
const ADDRESS: &str = "10.7.7.7";

/// What is done inside before the program is started, and after it. Its arguments are the program's.
const INSIDE: &str = r#"set -e
ip link set lo up
ip link add eth0 type veth peer name far0
ip addr add 10.7.7.7/24 dev eth0
ip link set eth0 up; ip link set far0 up
mount -t tmpfs none /opt
cp -r "$HERE/opt/containerpilot" /opt/containerpilot
cp /etc/hosts "$HERE/hosts"
echo '127.0.0.1 consul' >> "$HERE/hosts"
mount --bind "$HERE/hosts" /etc/hosts
mount -t overlay overlay -o "lowerdir=$HERE/bin:/usr/bin" /usr/bin
"$CONSUL" agent -dev -log-level=err -bind=127.0.0.1 -client=127.0.0.1 > "$HERE/consul.log" 2>&1 &
code=0
unshare --pid --fork --kill-child --mount-proc "$@" || code=$?
echo "ended with $code"
while ! test -e "$HERE/over"; do sleep 0.05; done
"#;

struct Container {
    dir: TempDir,
    proc: Proc,
}

impl Container {
    fn start() -> Container {
        let dir = TempDir::new();
        let script = |name: &str, text: &str| {
            let path = dir.write(name, format!("#!/bin/sh\n{text}\n"));
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        dir.write("opt/containerpilot/app.json", CONFIG);
        for name in ["onStart-script.sh", "preStop-script.sh", "postStop-script.sh", "reload-app.sh"] {
            script(&format!("opt/containerpilot/{name}"), &format!("echo \"{name} $*;\""));
        }
        script("bin/sensor.sh", "echo ' 2.5 '");
        script("bin/curl", &format!("echo \"$*\" >> '{}'", dir.join("asked").display()));
        let app = dir.write("config", "x").display().to_string();
        let mut cmd = Cmd::new("unshare").args(["--mount", "--net"]);
        // SAFETY: plain system call.
        if unsafe { libc::geteuid() } != 0 {
            cmd = cmd.args(["--user", "--map-root-user"]);
        }
        let proc = cmd
            .args(["sh", "-c", INSIDE, "sh"])
            .arg(pilotfish_bin())
            .args(["containerpilot", "-config", "file:///opt/containerpilot/app.json"])
            .arg(static_app())
            .args(["config", &app, "7"])
            .env("HERE", dir.path())
            .env("CONSUL", server_bin("consul"))
            .env("ENV_VAR_NAME", "from-env=1")
            .spawn();
        Container { dir, proc }
    }
    /// The process that is PID 1 inside.
    fn first(&self) -> i32 {
        let all = processes();
        let of = |parent: i32| all.iter().filter(move |p| p.parent == parent);
        let unshare = of(self.proc.pid()).find(|p| p.name == "unshare").expect("unshare inside");
        of(unshare.pid).next().expect("pilotfish").pid
    }
    fn signal(&self, number: i32) {
        // SAFETY: plain system call.
        unsafe { libc::kill(self.first(), number) };
    }
    /// What is answered inside.
    fn ask(&self, method: &str, port: u16, path: &str, body: &str) -> String {
        let text = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{port} || exit 0\nprintf '%s {path} HTTP/1.0\\r\\nContent-Length: {}\\r\\n\\r\\n%s' {method} '{body}' >&3\ncat <&3",
            body.len()
        );
        let mut cmd = Cmd::new("nsenter").arg("-t").arg(self.proc.pid().to_string()).arg("-n");
        // SAFETY: plain system call.
        if unsafe { libc::geteuid() } != 0 {
            cmd = cmd.args(["-U", "--preserve-credentials"]);
        }
        let proc = cmd.args(["bash", "-c", &text]).run(WAIT);
        proc.stdout()
    }
    fn consul(&self, path: &str) -> Value {
        let text = self.ask("GET", 8500, path, "");
        text.find('\n')
            .and_then(|_| text.split_once("\n\n"))
            .and_then(|(_, b)| serde_json::from_str(b).ok())
            .unwrap_or_default()
    }
}

#[test]
fn the_configuration_of_the_page_runs_as_it_is() {
    let c = Container::start();
    let started = c.proc.wait_line("onStart-script.sh from-env=1;", WAIT).at;
    c.proc.wait_line("config: x", WAIT);
    // The sensor, and the endpoint as a service.
    let metric = |at_least: f64| {
        wait_until(WAIT, "the sensor", || {
            let text = c.ask("GET", 9090, "/metrics", "");
            let value: f64 = text.lines().find_map(|l| l.strip_prefix("metric_id "))?.trim().parse().ok()?;
            assert!(text.contains("# HELP metric_id help text") && text.contains("# TYPE metric_id counter"), "{text}");
            (value >= at_least).then_some(value)
        })
    };
    assert_eq!(metric(2.5) % 2.5, 0.0);
    let own = |name: &str| wait_until(WAIT, name, || c.consul("/v1/agent/services").get(id(name)).cloned());
    let me = own("containerpilot");
    assert_eq!((&me["Address"], &me["Port"]), (&json!(ADDRESS), &json!(9090)));
    let app = own("app");
    c.proc.check(started.elapsed() >= secs(9), "nothing should be told before the first poll");
    assert_eq!((&app["Service"], &app["Address"], &app["Port"]), (&json!("app"), &json!(ADDRESS), &json!(80)));
    assert_eq!(app["Tags"], json!(["tag1"]));
    let check = c.consul("/v1/agent/checks")[id("app")].clone();
    assert_eq!((&check["Status"], &check["Type"]), (&json!("passing"), &json!("ttl")));
    assert!(c.dir.read("asked").starts_with("--fail -s http://localhost/app\n"));
    // It is a backend of itself; and then there is an nginx.
    c.proc.wait_nth_line(1, "reload-app.sh ;", WAIT);
    let nginx = r#"{"ID":"n1","Name":"nginx","Address":"10.0.0.1","Port":80}"#;
    c.ask("PUT", 8500, "/v1/agent/service/register", nginx);
    c.proc.wait_nth_line(2, "reload-app.sh ;", WAIT);
    // The same once more changes nothing.
    let value = metric(5.0);
    c.signal(libc::SIGHUP);
    assert!(metric(value + 2.5) > value);
    assert!(c.consul("/v1/agent/services").get(id("app")).is_some());
    c.signal(libc::SIGUSR1);
    wait_until(WAIT, "maintenance", || (c.consul("/v1/agent/services").as_object()?.len() == 1).then_some(()));
    c.signal(libc::SIGUSR1);
    own("containerpilot");
    c.signal(libc::SIGTERM);
    c.proc.wait_line("ended with 7", WAIT);
    let lines = c.proc.lines();
    let at = |text: &str| lines.iter().position(|l| l.text.contains(text)).unwrap_or_else(|| c.proc.fail(text));
    c.proc.check(
        at("preStop-script.sh ;") < at("postStop-script.sh ;") && at("term") < at("postStop-script.sh ;"),
        "the order",
    );
    assert_eq!(c.consul("/v1/agent/services").as_object().map(|m| m.len()), Some(1), "only nginx is left");
    for (text, times) in
        [("onStart-script.sh", 1), ("reload-app.sh", 2), ("preStop-script.sh", 1), ("postStop-script.sh", 1)]
    {
        let said = lines.iter().filter(|l| l.text.contains(text)).count();
        c.proc.check(said >= times && (said == times || text == "reload-app.sh"), &format!("{text}: {said} times"));
    }
    // Its log is as Go's.
    let line = &lines[at("onStart-script.sh")].text;
    let (date, rest) = line.split_at(20);
    let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!((shape.as_str(), rest), ("0000/00/00 00:00:00 ", "onStart-script.sh from-env=1;"));
    c.dir.write("over", "");
    c.proc.expect_exit(Exit::Code(0), WAIT);
}
