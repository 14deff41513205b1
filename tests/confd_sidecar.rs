//! confd-sidecar's users set variables and put pilotfish in its place: its README's two examples with a real Consul
//! and a real Prometheus, the ways in, the variables, the log lines, and changes that come while the app starts.

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

use std::path::Path;
use util::*;

/// The variables of the README's first example. Only CONFD_NODE differs: it names the test's own Consul.
const README_CONFDFILE: &str = "prometheus.toml
[template]
src = \"prometheus.yml.tmpl\"
dest = \"/tmp/prometheus/prometheus.yml\"
keys = [\"/prometheus/config/nodes\"]
";
const README_TEMPLATE: &str = "prometheus.yml.tmpl
global:
    scrape_interval:     15s
    evaluation_interval: 15s
scrape_configs:
    - job_name: \"prometheus\"
    static_configs:
        - targets: [\"localhost:9090\"]
    - job_name: \"node\"
    static_configs:
        - targets: {{ getv \"/prometheus/config/nodes\" }}
";
/// The variables of its Marathon example, with JSON's `\n` as the line ends that arrive.
const MARATHON_CONFDFILE: &str = "prometheus.toml
[template]
src = \"prometheus.yml.tmpl\"
dest = \"/etc/prometheus/prometheus.yml\"
keys = [\"/prometheus/configfile\"]
";
const MARATHON_TEMPLATE: &str = "prometheus.yml.tmpl\n{{ getv \"/prometheus/configfile\" }}\n";

const WAIT: std::time::Duration = secs(40);

/// What the README's template gives; `gap` stands before `static_configs`.
fn prometheus_yml(gap: &str, nodes: &str) -> String {
    format!(
        "global:\n    scrape_interval:     15s\n    evaluation_interval: 15s\nscrape_configs:\n    \
         - job_name: \"prometheus\"\n    {gap}static_configs:\n        - targets: [\"localhost:9090\"]\n    \
         - job_name: \"node\"\n    {gap}static_configs:\n        - targets: {nodes}\n"
    )
}

/// A machine for the examples: /tmp and /etc are `world`'s own, `confd-sidecar` and `prometheus` are in PATH, and
/// confd-sidecar is PID 1, as in the container that the examples are made for.
fn in_container(world: &TempDir, consul: &Consul, args: &[&str]) -> Cmd {
    for name in ["tmp/bin/confd-sidecar", "tmp/bin/prometheus"] {
        world.write(name, "");
    }
    world.mkdir("etc");
    let script = "mount --bind \"$PILOTFISH\" \"$WORLD/tmp/bin/confd-sidecar\" &&
        mount --bind \"$PROMETHEUS\" \"$WORLD/tmp/bin/prometheus\" && mount --bind \"$WORLD/etc\" /etc &&
        mount --rbind \"$WORLD/tmp\" /tmp && cd /tmp && unset PILOTFISH PROMETHEUS WORLD &&
        PATH=/tmp/bin:$PATH && exec confd-sidecar prometheus \"$@\"";
    in_pid_namespace(None, "/bin/sh")
        .args(["-c", script, "sh"])
        .args(args)
        .env("PILOTFISH", pilotfish_bin())
        .env("PROMETHEUS", std::fs::canonicalize(server_bin("prometheus")).unwrap())
        .env("WORLD", world.path())
        .env("CONFD_BACKEND", "consul")
        .env("CONFD_NODE", consul.addr())
}

/// The addresses that Prometheus scrapes for the job "node", as its API says.
fn node_targets(port: u16) -> Vec<String> {
    let Ok(reply) = http("GET", &format!("127.0.0.1:{port}"), "/api/v1/targets", &[], b"") else { return Vec::new() };
    let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let all = json["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
    let mut found: Vec<String> = all
        .iter()
        .filter(|t| t["labels"]["job"] == "node")
        .filter_map(|t| t["labels"]["instance"].as_str().map(str::to_string))
        .collect();
    found.sort();
    found
}

const RELOADED: &str = "Completed loading of configuration file";

#[test]
fn the_readme_example_runs_with_a_real_consul_and_prometheus() {
    // As the README has it, `static_configs` stands as far left as the list it belongs into: no YAML reader takes
    // that (see the next test). Two more spaces are the only change to the value.
    let template = README_TEMPLATE.replace("    static_configs", "      static_configs");
    let consul = Consul::start();
    consul.put("prometheus/config/nodes", "[\"127.0.0.1:9\"]");
    let (world, port) = (TempDir::new(), free_port());
    world.write("tmp/prometheus", "somebody's file");
    let proc = in_container(
        &world,
        &consul,
        &[
            "--config.file=/tmp/prometheus/prometheus.yml",
            "--storage.tsdb.path=/tmp/data",
            &format!("--web.listen-address=127.0.0.1:{port}"),
        ],
    )
    .env("CONFD_CONFDIR", "/tmp/confd")
    .env("CONFD_CONFDFILE_1", README_CONFDFILE)
    .env("CONFD_TEMPLATE_1", &template)
    .spawn();

    // The README relies on a folder that is not there: it is made, as soon as nothing stands in its way.
    let line = proc.wait_line("/tmp/prometheus/prometheus.yml: Not a directory", WAIT);
    proc.check(line.text.contains("ERROR cannot write "), "it should be an error");
    proc.check(proc.lines_matching("starting main program now").is_empty(), "the app started without its file");
    std::fs::remove_file(world.join("tmp/prometheus")).unwrap();
    proc.wait_line("Target config /tmp/prometheus/prometheus.yml has been updated", WAIT);
    proc.wait_line("supervisor[1]: starting main program now", WAIT);
    proc.wait_line(RELOADED, WAIT);
    wait_until(WAIT, "the first target", || (node_targets(port) == ["127.0.0.1:9"]).then_some(()));
    assert_eq!(world.read("tmp/prometheus/prometheus.yml"), prometheus_yml("  ", "[\"127.0.0.1:9\"]"));
    proc.check(proc.lines_matching("cannot write").len() == 1, "the same failure should be said once");

    consul.put("prometheus/config/nodes", "[\"127.0.0.1:9\", \"127.0.0.1:10\"]");
    proc.wait_nth_line(2, "Target config /tmp/prometheus/prometheus.yml has been updated", WAIT);
    proc.wait_line("supervisor[1]: reloading main program now", WAIT);
    proc.wait_nth_line(2, RELOADED, WAIT);
    wait_until(WAIT, "both targets", || (node_targets(port) == ["127.0.0.1:10", "127.0.0.1:9"]).then_some(()));
    assert_eq!(
        world.read("tmp/prometheus/prometheus.yml"),
        prometheus_yml("  ", "[\"127.0.0.1:9\", \"127.0.0.1:10\"]")
    );
    proc.check(proc.lines_matching("reloading main program now").len() == 1, "one change should be one reload");
    // Nothing was put into the folder of confd's files.
    assert_eq!(world.names("tmp"), ["bin", "data", "prometheus"]);
    assert_eq!(world.names("tmp/prometheus"), ["prometheus.yml"]);

    proc.signal_inner(libc::SIGTERM);
    proc.wait_line("See you next time!", WAIT); // Prometheus's own last words
    proc.expect_exit(Exit::Code(0), WAIT);
}

#[test]
fn the_readme_values_render_word_for_word() {
    let consul = Consul::start();
    consul.put("prometheus/config/nodes", "[\"node1:9100\"]");
    let world = TempDir::new();
    let args = ["--config.file=/tmp/prometheus/prometheus.yml", "--storage.tsdb.path=/tmp/data"];
    let proc = in_container(&world, &consul, &args)
        .env("CONFD_CONFDIR", "/tmp/confd")
        .env("CONFD_CONFDFILE_1", README_CONFDFILE)
        .env("CONFD_TEMPLATE_1", README_TEMPLATE)
        .spawn();
    // Prometheus gets the file and does not like the README's YAML; its exit code is passed on.
    proc.wait_line("did not find expected '-' indicator", WAIT);
    proc.expect_exit(Exit::Code(2), WAIT);
    assert_eq!(world.read("tmp/prometheus/prometheus.yml"), prometheus_yml("", "[\"node1:9100\"]"));
}

#[test]
fn the_marathon_example_runs_with_a_real_consul_and_prometheus() {
    let consul = Consul::start();
    let config =
        |target: &str| format!("scrape_configs:\n- job_name: node\n  static_configs:\n  - targets: ['{target}']\n");
    consul.put("prometheus/configfile", config("127.0.0.1:9"));
    let (world, port) = (TempDir::new(), free_port());
    world.mkdir("etc/prometheus");
    let proc = in_container(
        &world,
        &consul,
        &[
            "--config.file=/etc/prometheus/prometheus.yml",
            "--storage.tsdb.path=/tmp/data",
            &format!("--web.listen-address=127.0.0.1:{port}"),
        ],
    )
    .env("CONFD_TEMPLATE_1", MARATHON_TEMPLATE)
    .env("CONFD_CONFDFILE_1", MARATHON_CONFDFILE)
    .env("CONFD_PATH", "/bin/confd") // there is none: it is not looked for
    .env("CONFD_CONFDIR", "/etc/confd")
    .spawn();
    // Go catches HUP from its first moment and ends Prometheus by it until Prometheus has asked for it.
    proc.wait_line("starting main program now", WAIT);
    consul.put("prometheus/configfile", config("127.0.0.1:10"));
    proc.wait_nth_line(2, RELOADED, WAIT);
    assert_eq!(world.read("etc/prometheus/prometheus.yml"), config("127.0.0.1:10") + "\n");
    wait_until(WAIT, "the new target", || (node_targets(port) == ["127.0.0.1:10"]).then_some(()));
    consul.put("prometheus/configfile", config("127.0.0.1:11"));
    proc.wait_nth_line(3, RELOADED, WAIT);
    wait_until(WAIT, "the newest target", || (node_targets(port) == ["127.0.0.1:11"]).then_some(()));
    proc.signal_inner(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), WAIT);
}

/// One template resource with one key, `/app/name`, rendered to `dest`.
fn resource(name: &str, dest: &Path, key: &str) -> (String, String) {
    (
        format!("{name}.toml\n[template]\nsrc = '{name}.tmpl'\ndest = '{}'\nkeys = ['{key}']\n", dest.display()),
        format!("{name}.tmpl\n{name} is {{{{ getv \"{key}\" }}}}\n"),
    )
}

/// `cmd` with the variables of one resource and the probe that shows the file.
fn with_resource(cmd: Cmd, consul: &Consul, dest: &Path) -> Cmd {
    let (confdfile, template) = resource("a", dest, "/app/name");
    cmd.arg(static_app())
        .arg("config")
        .arg(dest)
        .env("CONFD_BACKEND", "consul")
        .env("CONFD_NODE", consul.addr())
        .env("CONFD_CONFDIR", dest.with_file_name("no-such-folder"))
        .env("CONFD_CONFDFILE_a", confdfile)
        .env("CONFD_TEMPLATE_a", template)
}

#[test]
fn every_way_in_leads_to_the_same() {
    let consul = Consul::start();
    consul.put("app/name", "one");
    let dir = TempDir::new();
    let link = dir.join("links/confd-sidecar");
    dir.mkdir("links");
    std::os::unix::fs::symlink(pilotfish_bin(), &link).unwrap();
    let copy = dir.join("confd-sidecar");
    std::fs::copy(pilotfish_bin(), &copy).unwrap();
    let ways: Vec<(&str, Cmd)> = vec![
        ("first word", pilotfish().arg("confd-sidecar")),
        ("symlink", Cmd::new(&link)),
        ("copy", Cmd::new(&copy)),
        ("by name in PATH", Cmd::new("confd-sidecar").env("PATH", dir.path())),
        ("variables alone", pilotfish()),
        ("after a double dash", pilotfish().args(["confd-sidecar", "--"])),
    ];
    let mut running = Vec::new();
    for (i, (way, cmd)) in ways.into_iter().enumerate() {
        let dest = dir.join(format!("out-{i}"));
        running.push((way, with_resource(cmd, &consul, &dest).spawn(), dest));
    }
    for (_, proc, dest) in &running {
        proc.wait_line("config: a is one\\n", WAIT);
        wait_file(dest, "a is one\n", WAIT);
    }
    consul.put("app/name", "two");
    for (way, proc, _) in &running {
        proc.wait_line("config: a is two\\n", WAIT);
        proc.check(proc.lines_matching("config: ").len() == 2, &format!("{way}: one change should be one HUP"));
        proc.signal(libc::SIGTERM);
        proc.wait_line("term", WAIT);
        proc.expect_exit(Exit::Code(0), WAIT);
    }
    // The native options choose the native way, whatever CONFD_* says.
    let dest = dir.join("native");
    let template = dir.write("native.tmpl", "native {{getv \"/app/name\"}}\n");
    let proc = with_resource(
        pilotfish().arg(format!("--source=consul://{}", consul.addr())).arg(format!(
            "--template={}:{}",
            template.display(),
            dest.display()
        )),
        &consul,
        &dest,
    )
    .spawn();
    proc.wait_line("config: native two\\n", WAIT);
}

#[test]
fn the_folder_s_own_files_are_merged_with_the_variables() {
    let consul = Consul::start();
    consul.put("app/b", "B");
    consul.put("app/c", "C");
    consul.put("app/d", "D");
    let dir = TempDir::new();
    let dest = |name: &str| dir.join(name);
    // `b` and its template from the folder, `c` from variables, `d` in both: the variable wins; `e`'s resource from the
    // folder uses a template of a variable, and only files that end in .toml count.
    let (b_file, b_template) = resource("b", &dest("out-b"), "/app/b");
    let (c_file, c_template) = resource("c", &dest("out-c"), "/app/c");
    let (d_file, d_template) = resource("d", &dest("out-d"), "/app/d");
    let body = |text: &str| text.split_once('\n').unwrap().1.to_string();
    dir.write("confd/conf.d/b.toml", body(&b_file));
    dir.write("confd/templates/b.tmpl", body(&b_template));
    dir.write("confd/conf.d/d.toml", "[template]\nthis = 'is never read'\n");
    dir.write("confd/templates/d.tmpl", "nor is this");
    dir.write(
        "confd/conf.d/sub/e.toml",
        format!("[template]\nsrc='c.tmpl'\ndest='{}'\nkeys=['/app']\n", dest("out-e").display()),
    );
    dir.write("confd/conf.d/f.toml.disabled", "rubbish");
    let proc = pilotfish()
        .arg("confd-sidecar")
        .arg(static_app())
        .arg("wait")
        .env("CONFD_NODE", consul.addr()) // consul is the default backend
        .env("CONFD_CONFDIR", dir.join("confd"))
        .env("CONFD_CONFDFILE", &c_file)
        .env("CONFD_TEMPLATE", &c_template)
        .env("CONFD_CONFDFILE_some_name", &d_file)
        .env("CONFD_TEMPLATE_2", &d_template)
        .spawn();
    proc.wait_line("ready pid=", WAIT);
    for (name, want) in [("out-b", "b is B\n"), ("out-c", "c is C\n"), ("out-d", "d is D\n"), ("out-e", "c is C\n")] {
        assert_eq!(dir.read(name), want, "{name}\n{}", proc.report());
    }
    // One reload for all that change together, and nothing was written into the folder.
    consul.put("app/b", "B2");
    wait_file(dest("out-b"), "b is B2\n", WAIT);
    proc.wait_line("signal 1", WAIT);
    assert_eq!(dir.names("confd/conf.d"), ["b.toml", "d.toml", "f.toml.disabled", "sub"]);
    assert_eq!(dir.names("confd/templates"), ["b.tmpl", "d.tmpl"]);
}

#[test]
fn the_prefix_of_the_variable_stands_in_front_of_the_keys() {
    let consul = Consul::start();
    consul.put("app/name", "without");
    consul.put("prod/app/name", "one");
    let dir = TempDir::new();
    let dest = dir.join("out");
    let proc = with_resource(pilotfish(), &consul, &dest).env("CONFD_PREFIX", "/prod").spawn();
    proc.wait_line("config: a is one\\n", WAIT);
    consul.put("app/name", "no");
    consul.put("prod/app/name", "two");
    proc.wait_line("config: a is two\\n", WAIT);
    proc.check(proc.lines_matching("config: ").len() == 2, "the key outside of the prefix is nobody's business");
}

#[test]
fn the_reload_signal_can_be_chosen_and_so_can_a_restart() {
    let consul = Consul::start();
    consul.put("app/name", "one");
    let dir = TempDir::new();
    let variable = "CONFD_SIDECAR_RELOAD_SIGNAL";
    let start = |name: &str, cmd: Cmd| with_resource(cmd, &consul, &dir.join(name)).spawn();
    let by_variable = start("a", pilotfish().env(variable, "USR1"));
    let by_number = start("b", pilotfish().env(variable, "12"));
    let by_option = start("c", pilotfish().arg("--reload-signal=SIGUSR2").env(variable, "USR1")); // the option wins
    let restarted = start("d", pilotfish().env(variable, "restart"));
    let restarted_too = start("e", pilotfish().arg("--reload=restart"));
    for proc in [&by_variable, &by_number, &by_option, &restarted, &restarted_too] {
        proc.wait_line("config: a is one\\n", WAIT);
    }
    consul.put("app/name", "two");
    by_variable.wait_line("signal 10", WAIT);
    by_number.wait_line("signal 12", WAIT);
    by_option.wait_line("signal 12", WAIT);
    by_option.check(by_option.lines_matching("signal 10").is_empty(), "the option should win over the variable");
    for proc in [&restarted, &restarted_too] {
        proc.wait_line("term", WAIT);
        let line = proc.wait_line("config: a is two\\n", WAIT).text;
        let pid = |text: &str| text.rsplit_once("pid=").unwrap().1.to_string();
        proc.check(pid(&line) != pid(&proc.wait_line("config: a is one", WAIT).text), "it should be a new process");
        proc.check(proc.exited().is_none(), "pilotfish goes on");
    }
    let proc = start("f", pilotfish().env(variable, "NOPE"));
    proc.expect_exit(Exit::Code(64), WAIT);
    assert_eq!(
        proc.stderr(),
        "pilotfish: CONFD_SIDECAR_RELOAD_SIGNAL NOPE: expected a signal such as HUP, restart, none, http://..., docker://NAME or signal:HUP@NAME\n"
    );
}

/// Whether `text` has the shape of `pattern`, where `9` is any digit.
fn has_shape(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(t, p)| if p == b'9' { t.is_ascii_digit() } else { t == p })
}

#[test]
fn the_log_reads_as_confd_sidecar_s_users_know_it() {
    let consul = Consul::start();
    consul.put("app/name", "one");
    let dir = TempDir::new();
    let dest = dir.write("out", "old");
    let proc = with_resource(pilotfish(), &consul, &dest).spawn();
    proc.wait_line("config: a is one\\n", WAIT);
    consul.put("app/name", "two");
    proc.wait_line("config: a is two\\n", WAIT);
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), WAIT);

    let (path, pid) = (dest.display().to_string(), proc.pid());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_string();
    let program = pilotfish_bin().display().to_string();
    let confd = |text: &str| format!(" {host} {program}[{pid}]: INFO {text}");
    let supervisor = |text: &str| format!(" supervisor[{pid}]: {text}");
    let app = static_app().display().to_string();
    // md5 of "old", "a is one\n" and "a is two\n", as md5sum(1) gives them.
    let sums = ["149603e6c03516362a8da23f624db945", &md5("a is one\n"), &md5("a is two\n")].map(str::to_string);
    let wanted = [
        supervisor(&format!("main program and arguments to be run: [{app} config {path}]")),
        confd("Backend set to consul"),
        confd("Starting confd"),
        confd(&format!("Backend nodes set to {}", consul.addr())),
        confd(&format!("{path} has md5sum {} should be {}", sums[0], sums[1])),
        confd(&format!("Target config {path} out of sync")),
        confd(&format!("Target config {path} has been updated")),
        supervisor("starting main program now"),
        confd(&format!("{path} has md5sum {} should be {}", sums[1], sums[2])),
        confd(&format!("Target config {path} out of sync")),
        confd(&format!("Target config {path} has been updated")),
        supervisor("reloading main program now"),
    ];
    let lines: Vec<String> = proc.stderr().lines().map(str::to_string).collect();
    for (i, want) in wanted.iter().enumerate() {
        let Some(line) = lines.get(i) else { proc.fail(&format!("line {i} is missing: {want}")) };
        let shape = if want.starts_with(" supervisor") { "9999/99/99 99:99:99" } else { "9999-99-99T99:99:99Z" };
        let stamp = line.strip_suffix(want.as_str()).unwrap_or("");
        proc.check(has_shape(stamp, shape), &format!("line {i} should be {shape}{want}"));
    }
    // The supervisor's date is today's, in UTC as confd's.
    let day = |i: usize| lines[i][..10].replace('/', "-");
    assert!(day(0) == day(1) || day(4) == day(3), "the two dates differ: {} {}", day(0), day(1));
}

fn md5(text: &str) -> String {
    let dir = TempDir::new();
    let file = dir.write("f", text);
    let proc = Cmd::new("md5sum").arg(file).run(secs(10));
    proc.stdout().split_whitespace().next().unwrap().to_string()
}

#[test]
fn other_log_formats_parse_and_the_level_is_obeyed() {
    let consul = Consul::start();
    consul.put("app/name", "one");
    let dir = TempDir::new();
    let run = |name: &str, args: &[&str], env: (&str, &str)| {
        let dest = dir.write(name, "a \"quoted\" file\n");
        let proc = with_resource(pilotfish().args(args).env(env.0, env.1), &consul, &dest).spawn();
        proc.wait_line("config: a is one\\n", WAIT);
        proc.signal(libc::SIGTERM);
        proc.expect_exit(Exit::Code(0), WAIT);
        proc
    };
    let none = ("UNUSED", "");

    let proc = run("dest \"j\\son\"", &["--log-format=json"], none);
    let mut said = Vec::new();
    for line in proc.stderr().lines() {
        let Ok(json) = serde_json::from_str::<serde_json::Value>(line) else {
            proc.fail(&format!("this is no JSON: {line}"))
        };
        assert_eq!(json.as_object().unwrap().len(), 3, "{line}");
        assert!(has_shape(json["time"].as_str().unwrap(), "9999-99-99T99:99:99Z"), "{line}");
        assert_eq!(json["level"], "info", "{line}");
        said.push(json["msg"].as_str().unwrap().to_string());
    }
    let dest = dir.join("dest \"j\\son\"").display().to_string();
    for want in [format!("Target config {dest} has been updated"), "starting main program now".to_string()] {
        proc.check(said.contains(&want), &format!("{want:?} should have been said"));
    }

    let proc = run("text", &["--log-format", "text"], none);
    for line in proc.stderr().lines() {
        let (stamp, rest) = line.strip_prefix("time=").and_then(|l| l.split_once(' ')).unwrap_or_default();
        let msg = rest.strip_prefix("level=info msg=").unwrap_or_default();
        let whole =
            has_shape(stamp, "9999-99-99T99:99:99Z") && msg.len() > 2 && msg.starts_with('"') && msg.ends_with('"');
        proc.check(whole, &format!("this is no key=value line: {line}"));
    }

    let proc = run("error", &["--log-level=error"], none);
    assert_eq!(proc.stderr(), "", "nothing went wrong");
    let proc = run("variable", &[], ("CONFD_LOG_LEVEL", "warn"));
    assert_eq!(proc.stderr(), "", "nothing went wrong");
    let proc = run("option", &["--log-level=info"], ("CONFD_LOG_LEVEL", "error"));
    proc.check(proc.stderr().contains("has been updated"), "the option should win over the variable");
    let proc = run("debug", &[], ("PILOTFISH_LOG_LEVEL", "debug"));
    proc.check(proc.stderr().contains("main program has pid "), "debug says each step");
}

#[test]
fn without_a_program_or_with_an_unknown_backend_the_usage_is_said() {
    let dir = TempDir::new();
    let link = dir.join("confd-sidecar");
    std::os::unix::fs::symlink(pilotfish_bin(), &link).unwrap();
    let usage = "pilotfish: confd-sidecar: no program to run; usage: confd-sidecar [OPTIONS] PROGRAM [ARGS...], \
                 see pilotfish --help\n";
    for cmd in [Cmd::new(&link), pilotfish().arg("confd-sidecar"), pilotfish().env("CONFD_BACKEND", "consul")] {
        let proc = cmd.run(WAIT);
        proc.expect_exit(Exit::Code(64), WAIT);
        assert_eq!(proc.stderr(), usage);
    }
    let proc = pilotfish().args(["confd-sidecar", "true"]).env("CONFD_BACKEND", "zookeeper").run(WAIT);
    proc.expect_exit(Exit::Code(64), WAIT);
    assert_eq!(
        proc.stderr(),
        "pilotfish: the backend zookeeper is not in this version; there are consul, env, etcd, etcdv3 and file\n",
        "it should name what there is"
    );
    let proc = pilotfish().args(["confd-sidecar", "true"]).env("CONFD_CONFDFILE_1", "\n[template]\n").run(WAIT);
    proc.expect_exit(Exit::Code(78), WAIT);
    assert_eq!(proc.stderr(), "pilotfish: CONFD_CONFDFILE_1: its first line must be a file name\n");
    let proc = pilotfish()
        .args(["confd-sidecar", "true"])
        .env("CONFD_CONFDFILE_1", "x.toml\n[template]\nsrc = 'x.tmpl'\ndest = '/nowhere/x'\nkeys = ['/x']\n")
        .env("CONFD_CONFDIR", dir.path())
        .run(WAIT);
    proc.expect_exit(Exit::Code(78), WAIT);
    let path = dir.join("templates/x.tmpl");
    assert_eq!(
        proc.stderr(),
        format!(
            "pilotfish: cannot read the template {}: No such file or directory (and no CONFD_TEMPLATE* is named x.tmpl)\n",
            path.display()
        )
    );
}

#[test]
fn a_change_while_the_app_is_still_starting_is_neither_lost_nor_deadly() {
    let consul = Consul::start();
    consul.put("app/name", "one");
    let dir = TempDir::new();
    let dest = dir.join("out");
    let (confdfile, template) = resource("a", &dest, "/app/name");
    let fifo = dir.join("go");
    assert_eq!(Cmd::new("mkfifo").arg(&fifo).run(secs(10)).exited(), Some(Exit::Code(0)));
    let app = "cat \"$OUT\"; echo is up; read -r word <\"$GO\"; trap 'echo hup; cat \"$OUT\"' HUP; echo listening
        while :; do sleep 0.02; done";
    let proc = pilotfish()
        .args(["confd-sidecar", "sh"])
        .arg(dir.write("app.sh", app))
        .env("OUT", &dest)
        .env("GO", &fifo)
        .env("CONFD_NODE", consul.addr())
        .env("CONFD_CONFDFILE_1", confdfile)
        .env("CONFD_TEMPLATE_1", template)
        .spawn();
    proc.wait_line("is up", WAIT);
    proc.wait_line("a is one", WAIT);
    consul.put("app/name", "two");
    proc.wait_nth_line(2, "has been updated", WAIT);
    // HUP would end the shell as it is now.
    proc.check(proc.lines_matching("hup").is_empty() && proc.exited().is_none(), "the app was not ready for HUP");
    std::fs::write(&fifo, "go\n").unwrap();
    proc.wait_line("listening", WAIT);
    proc.wait_line("hup", WAIT);
    proc.wait_line("a is two", WAIT);
    consul.put("app/name", "three");
    proc.wait_line("a is three", WAIT);
    let hups = proc.stdout().lines().filter(|l| *l == "hup").count();
    proc.check(hups == 2, "two changes after the start should be two HUPs");
}
