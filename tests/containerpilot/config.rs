//! What the configuration says, seen in what is run: templates, numbers, commands, addresses, the log. What is wrong with one
//! is tests/containerpilot_config.rs's.

use super::*;

/// Runs the static app with these arguments to its end, with the configuration as a text; no catalog is needed for that.
fn run(config: &str, app: &[&str], envs: &[(&str, &str)]) -> Proc {
    let mut cmd = pilotfish().args(["containerpilot", "-config", config]).arg(static_app()).args(app);
    for (name, value) in envs {
        cmd = cmd.env(name, value);
    }
    cmd.run(WAIT)
}

#[test]
fn templates_reach_the_commands_and_the_apps_arguments() {
    let config = r#"{
        // JSON as people write it,
        consul: 'localhost:1',
        preStart: ["echo", "a={{.URL}}", "b={{ .NONE }}", "c={{ .NONE | default "d" }}", "{{ .LIST | split "," | join "+" }}",],
        postStop: "echo {{ replaceAll "," " " .LIST }}  end",
    }"#;
    let envs = [("URL", "tcp://db:5432?x=1&y=2"), ("LIST", "x,y")];
    let proc = run(
        config,
        &["args", "{{ .URL }}", "{{.NONE}}", "plain {{ .LIST }}", "--flag={{ .NONE | default \"7\" }}"],
        &envs,
    );
    proc.expect_exit(Exit::Code(0), WAIT);
    proc.wait_line("a=tcp://db:5432?x=1&y=2 b= c=d x+y", WAIT);
    // A text is cut at each single space: echo puts one between its five arguments, of which one is empty.
    proc.wait_line("x y  end", WAIT);
    let args: Vec<String> =
        proc.lines().iter().filter_map(|l| l.text.strip_prefix("arg ").map(str::to_string)).collect();
    assert_eq!(args, ["tcp://db:5432?x=1&y=2", "", "plain x,y", "--flag=7"], "{}", proc.report());
    // What is no template of ours is somebody else's.
    let proc = run(config, &["args", "{{ .Names", "{{.URL}}"], &envs);
    proc.wait_line("arg {{ .Names", WAIT);
}

#[test]
fn an_array_is_verbatim_and_numbers_may_stand_in_quotes() {
    let w = World::new();
    let config = json!({
        "preStart": ["echo", "a  b", "'c d'", "$HOME", ""],
        "stopTimeout": "5",
        "services": [{"name": "app", "port": "8000", "poll": "1", "ttl": "4", "interfaces": ["static:10.1.2.3"]}],
        "backends": [{"name": "up", "poll": "1", "onChange": "echo changed"}],
        "telemetry": {"port": free_port().to_string(), "interfaces": "static:10.1.2.3",
            "sensors": [{"name": "s", "help": "h", "type": "gauge", "poll": "1", "check": "echo 1"}]},
    });
    let proc = w.start(&config, &["wait"]);
    proc.wait_line("a  b 'c d' $HOME", WAIT);
    w.wait_status(&proc, &id("app"), "passing");
    let app = w.service(&id("app")).unwrap();
    assert_eq!((&app["Port"], &app["Address"]), (&json!(8000), &json!("10.1.2.3")));
    end(&proc, 0);
}

#[test]
fn an_address_is_the_first_that_matches() {
    // A host of its own, with the table of the original's documentation.
    let set_up = "set -e\nip link set lo up\n\
                  for i in 0 1 2; do ip link add eth$i type veth peer name far$i; ip link set eth$i up; ip link set far$i up; done\n\
                  ip link add br-a.1 type veth peer name far3; ip link set br-a.1 up; ip link set far3 up\n\
                  for a in 192.168.1.100/24 10.2.0.1/24; do ip addr add $a dev eth0; done\n\
                  for a in 10.0.0.200/24 10.0.0.100/24; do ip addr add $a dev eth1; done\n\
                  ip addr add 10.1.0.200/24 dev eth2\n\
                  ip -6 addr add fdc6:238c:c4bc::1/48 dev eth2 nodad\n\
                  ip addr add 172.16.9.9/24 dev br-a.1\n\
                  for i in eth0 eth1 eth2 far0 far1 far2 far3 br-a.1; do ip -6 addr flush dev $i scope link; done\n\
                  for spec in \"$@\"; do\n\
                  echo \"spec $spec\"\n\
                  \"$PILOTFISH\" containerpilot -config \"{consul: 'c:1', services: [{name: 'app', port: 1, poll: 1, ttl: 3 $spec}]}\" \"$PROBE\" env || echo \"code $?\"\n\
                  done";
    let cases = [
        ("", "10.2.0.1"),
        (", interfaces: 'eth0'", "10.2.0.1"),
        (", interfaces: ['eth0:inet']", "10.2.0.1"),
        (", interfaces: 'eth0[1]'", "192.168.1.100"),
        (", interfaces: 'eth1'", "10.0.0.100"),
        (", interfaces: 'eth1[1]'", "10.0.0.200"),
        (", interfaces: '10.0.0.0/8'", "10.2.0.1"),
        (", interfaces: '10.0.0.0/16'", "10.0.0.100"),
        (", interfaces: '192.168.0.0/16'", "192.168.1.100"),
        (", interfaces: 'fdc6:238c:c4bc::/48'", "fdc6:238c:c4bc::1"),
        (", interfaces: 'eth2:inet'", "10.1.0.200"),
        (", interfaces: 'eth2:inet6'", "fdc6:238c:c4bc::1"),
        (", interfaces: 'inet6'", "fdc6:238c:c4bc::1"),
        (", interfaces: ['eth7', 'eth0[9]', 'eth1:inet6', '10.1.0.0/16', 'eth0']", "10.1.0.200"),
        (", interfaces: 'br-a.1'", "172.16.9.9"),
        (", interfaces: 'br-a.1:inet'", "172.16.9.9"),
        (", interfaces: 'br-a.1[0]'", "172.16.9.9"),
        (", interfaces: 'static:1.2.3.4'", "1.2.3.4"),
        (", interfaces: ['eth7', 'static:1.2.3.4']", "1.2.3.4"),
        (", interfaces: 'lo'", "127.0.0.1"),
        // `inet` is no loopback's: here the bridge's is the first by its name.
        (", interfaces: 'inet'", "172.16.9.9"),
        (", interfaces: 'eth7'", "None of the interface specifications were able to match"),
        (", interfaces: 'eth0[2]'", "None of the interface specifications were able to match"),
        (", interfaces: 'eth0:inet5'", "Unable to parse interface spec: eth0:inet5"),
        (", interfaces: ['eth0', '127.0.0.1']", "Unable to parse interface spec: 127.0.0.1"),
    ];
    let mut cmd = Cmd::new("unshare").args(["--mount", "--net"]);
    // SAFETY: plain system call.
    if unsafe { libc::geteuid() } != 0 {
        cmd = cmd.args(["--user", "--map-root-user"]);
    }
    let proc = cmd
        .args(["sh", "-c", set_up, "sh"])
        .args(cases.map(|(spec, _)| spec))
        .env("PILOTFISH", pilotfish_bin())
        .env("PROBE", static_app())
        .run(WAIT);
    proc.expect_exit(Exit::Code(0), WAIT);
    let said = [proc.stdout(), proc.stderr()].concat();
    let parts: Vec<String> = proc.stdout().split("spec ").skip(1).map(str::to_string).collect();
    assert_eq!(parts.len(), cases.len(), "{said}");
    for ((spec, want), part) in cases.iter().zip(parts) {
        if want.contains(' ') {
            assert!(part.contains("code 1") && proc.stderr().contains(want), "{spec}: {part}\n{said}");
        } else {
            assert!(part.contains(&format!("env CONTAINERPILOT_APP_IP={want}\n")), "{spec}: {want}\n{part}");
        }
    }
}

#[test]
fn the_log_has_three_forms_two_places_and_levels() {
    let config = |logging: &str| {
        format!(
            "{{consul: '127.0.0.1:1', preStart: ['printf', 'say \"this\"'], services: [{{name: 'app', port: 1, poll: 1, ttl: 3, interfaces: 'static:1.2.3.4'}}], {logging}}}"
        )
    };
    let digits = |text: &str| -> String { text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect() };
    let find = |proc: &Proc, stream: Stream, text: &str| -> String {
        match proc.lines().into_iter().find(|l| l.stream == stream && l.text.contains(text)) {
            Some(line) => line.text,
            None => proc.fail(&format!("no line with {text} there")),
        }
    };
    for logging in
        ["", "logging: {}", "logging: {level: 'INFO', format: 'default', output: 'stdout'}", "logging: {level: 'info'}"]
    {
        let proc = run(&config(logging), &["exit", "0"], &[]);
        assert_eq!(digits(&find(&proc, Stream::Out, "say")), "0000/00/00 00:00:00 say \"this\"");
        proc.check(proc.stderr().is_empty(), "nothing belongs there");
    }
    // As logrus has them: RFC 3339 with the zone, in quotes; the keys of JSON by their names.
    let zone = |text: String| text.replace("00Z", "00+00:00");
    let proc = run(&config("logging: {format: 'text', output: 'stderr'}"), &["exit", "0"], &[]);
    let line = zone(digits(&find(&proc, Stream::Err, "say")));
    assert_eq!(line, "time=\"0000-00-00T00:00:00+00:00\" level=info msg=\"say \\\"this\\\"\"");
    proc.check(proc.stdout().is_empty(), "nothing belongs there");
    let proc = run(&config("logging: {format: 'json'}"), &["exit", "0"], &[]);
    let line = zone(digits(&find(&proc, Stream::Out, "say")));
    assert_eq!(line, "{\"level\":\"info\",\"msg\":\"say \\\"this\\\"\",\"time\":\"0000-00-00T00:00:00+00:00\"}");
    for line in proc.lines() {
        let v: Value = serde_json::from_str(&line.text).unwrap_or_else(|e| proc.fail(&format!("{e}: {}", line.text)));
        assert!(v["level"].is_string() && v["msg"].is_string() && v["time"].is_string(), "{v}");
    }
    // Levels.
    let count = |level: &str, code: &str| {
        let proc = run(&config(&format!("logging: {{level: '{level}'}}")), &["exit", code], &[]);
        proc.lines().len()
    };
    let counts = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL", "PANIC"].map(|l| count(l, "0"));
    assert!(counts[0] > counts[1] && counts[1] > counts[2], "{counts:?}");
    assert_eq!(counts[2..], [0, 0, 0, 0], "{counts:?}");
    for (logging, want) in [
        ("logging: {level: 'loud'}", "Unknown log level 'loud'"),
        ("logging: {format: 'xml'}", "Unknown log format 'xml'"),
        ("logging: {output: 'file'}", "Unknown output type 'file'"),
    ] {
        let proc = run(&config(logging), &["exit", "0"], &[]);
        proc.expect_exit(Exit::Code(1), WAIT);
        proc.check(proc.stderr().contains(want), want);
    }
}

#[test]
fn the_app_prints_as_it_is() {
    let proc = run("{consul: 'c:1', preStart: 'echo hook'}", &["args", "x"], &[]);
    assert!(proc.stdout().lines().any(|l| l == "arg x"), "{}", proc.report());
    assert!(proc.stdout().lines().any(|l| l.ends_with(" hook") && l.len() == 24), "{}", proc.report());
    // By the variable alone.
    let cmd = pilotfish().arg("containerpilot").arg(static_app()).args(["exit", "4"]);
    cmd.env("CONTAINERPILOT", "{\"consul\": \"c:1\"}").run(WAIT).expect_exit(Exit::Code(4), WAIT);
    let dir = TempDir::new();
    let file = dir.write("a.json", "{\"consul\": \"c:1\"}");
    for said in [file_url(file.clone()), file.display().to_string()] {
        let cmd = pilotfish().arg("containerpilot").arg(static_app()).args(["exit", "4"]);
        cmd.env("CONTAINERPILOT", said).run(WAIT).expect_exit(Exit::Code(4), WAIT);
    }
}

#[test]
fn numbers_that_make_no_sense_are_said() {
    for (rest, want) in [
        ("services: [{name: 'app', port: 1, ttl: 3, interfaces: 'lo'}]", "`poll` must be > 0 in service app"),
        ("services: [{name: 'app', port: 1, poll: 0, ttl: 3, interfaces: 'lo'}]", "`poll` must be > 0 in service app"),
        ("services: [{name: 'app', port: 1, poll: 1, interfaces: 'lo'}]", "`ttl` must be > 0 in service app"),
        ("services: [{name: 'app', poll: 1, ttl: 3, interfaces: 'lo'}]", "`port` must be > 0 in service app"),
        ("services: [{port: 1, poll: 1, ttl: 3, interfaces: 'lo'}]", "must have a `name`"),
        ("backends: [{name: 'up', poll: 1}]", "`onChange` is required in backend up"),
        ("backends: [{name: 'up', onChange: 'true'}]", "`poll` must be > 0 in backend up"),
        ("backends: [{poll: 1, onChange: 'true'}]", "must have a `name`"),
        (
            "telemetry: {interfaces: 'lo', sensors: [{name: 'a', help: 'h', type: 'foo', poll: 1, check: 'true'}]}",
            "Invalid sensor type: foo",
        ),
        ("backend: []", "backend"),
        ("telemetry: {interfaces: 'lo', prot: 1}", "prot"),
        ("services: [{name: 'app', port: 'x', poll: 1, ttl: 3, interfaces: 'lo'}]", "port"),
        ("stopTimeout: 'long'", "stopTimeout"),
        ("preStart: [[1]]", "preStart"),
    ] {
        let proc = run(&format!("{{consul: 'c:1', {rest}}}"), &["wait"], &[]);
        proc.expect_exit(Exit::Code(1), WAIT);
        proc.check(proc.stderr().contains(want), want);
        proc.check(proc.lines_matching("ready").is_empty(), "the app should not be started");
    }
}
