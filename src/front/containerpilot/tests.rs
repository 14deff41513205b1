#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
use super::*;
use crate::front::Host;
use crate::plan::{ALWAYS, Role, Run, SensorKind, SourceKind};

/// The configuration that stands in its own documentation.
const SAMPLE: &str = r#"{
  "consul": "consul:8500",
  "onStart": "/opt/containerpilot/onStart-script.sh {{.ENV_VAR_NAME}}",
  "logging": {
    "level": "INFO",
    "format": "default",
    "output": "stdout"
  },
  "stopTimeout": 5,
  "preStop": "/opt/containerpilot/preStop-script.sh",
  "postStop": "/opt/containerpilot/postStop-script.sh",
  "services": [
    {
      "name": "app",
      "port": 80,
      "health": [
        "/usr/bin/curl",
        "--fail",
        "-s",
        "http://localhost/app"
      ],
      "interfaces": [
        "eth0",
        "eth1[1]",
        "192.168.0.0/16",
        "2001:db8::/64",
        "eth2:inet",
        "eth2:inet6",
        "inet",
        "inet6"
      ],
      "poll": 10,
      "ttl": 30,
      "tags": ["tag1"]
    }
  ],
  "backends": [
    {
      "name": "nginx",
      "poll": 30,
      "onChange": "/opt/containerpilot/reload-app.sh"
    },
    {
      "name": "app",
      "poll": 10,
      "onChange": "/opt/containerpilot/reload-app.sh"
    }
  ],
  "telemetry": {
    "port": 9090,
    "sensors": [
       {
        "name": "metric_id",
        "help": "help text",
        "type": "counter",
        "poll": 5,
        "check": ["/bin/sensor.sh"]
      }
    ]
  }
}"#;

struct Read {
    plan: Plan,
    printed: Option<String>,
}

fn enter(args: &[&str], vars: &[(&str, &str)]) -> std::result::Result<Read, (Kind, String)> {
    let vars: Vec<(String, String)> = vars.iter().map(|(n, v)| ((*n).to_string(), (*v).to_string())).collect();
    let read = |path: &Path| match path.to_str() {
        Some("/app.json") => Ok(SAMPLE.as_bytes().to_vec()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    let host = || Host {
        name: "H".to_string(),
        addresses: vec![
            ("lo".to_string(), "127.0.0.1".parse().unwrap()),
            ("eth0".to_string(), "10.0.0.7".parse().unwrap()),
            ("eth0".to_string(), "fd00::7".parse().unwrap()),
        ],
        pid: 42,
    };
    let world = World { vars: &vars, read: &read, files: &|_| Ok(Vec::new()), host: &host };
    let args: Vec<String> = args.iter().map(|a| (*a).to_string()).collect();
    let mut plan = Plan::default();
    match super::read(&args, &mut plan, &world) {
        Ok(printed) => Ok(Read { plan, printed }),
        Err(e) => Err((e.kind, e.text.clone())),
    }
}

fn plan(config: &str) -> Plan {
    enter(&["-config", config, "app"], &[]).map_err(|e| e.1).unwrap().plan
}

fn wrong(config: &str) -> String {
    let (kind, text) = enter(&["-config", config], &[]).err().unwrap_or((Kind::Usage, "it is good".to_string()));
    assert!(kind == Kind::Fatal, "{config}: {text}");
    text
}

fn argv(c: Option<&crate::plan::Command>) -> String {
    c.map(|c| format!("{} {}", c.argv.join("|"), if c.timeout == UNLIMITED { 0 } else { c.timeout }))
        .unwrap_or_default()
}

fn handlers(plan: &Plan) -> Vec<String> {
    let mut all = Vec::new();
    for h in &plan.handlers {
        let role = match h.role {
            Role::Health(i) => format!("health {i}"),
            Role::Sensor(i) => format!("sensor {i}"),
            Role::Task => "task".to_string(),
            Role::Change(i) => format!("change {}", plan.watches[i].prefix),
            Role::Coprocess(ALWAYS) => "coprocess always".to_string(),
            Role::Coprocess(n) => format!("coprocess {n}"),
            Role::Wait => "wait".to_string(),
        };
        let run = match &h.run {
            Run::Nothing => "nothing".to_string(),
            Run::Command(c) => argv(Some(c)),
            Run::Request(r) => format!("{} {} {}", r.method, r.shown, r.timeout),
            Run::Tcp(host, ms) => format!("tcp {host} {ms}"),
            Run::Instances(i) => format!("instances {}", plan.watches[*i].prefix),
        };
        all.push(format!("{}: {role} {run}; {}", h.name, h.poll));
    }
    all
}

#[test]
fn the_sample_of_its_documentation() {
    let p = enter(&["-config", "file:///app.json", "app", "--x"], &[("ENV_VAR_NAME", "a=b")])
        .map_err(|e| e.1)
        .unwrap()
        .plan;
    let Some(Catalog::Consul(c)) = &p.catalog else { panic!("no Consul") };
    assert_eq!(c.addresses, ["http://consul:8500"]);
    assert_eq!(argv(p.hooks.pre_start.as_ref()), "/opt/containerpilot/onStart-script.sh|a=b 0");
    assert_eq!(argv(p.hooks.pre_stop.as_ref()), "/opt/containerpilot/preStop-script.sh 0");
    assert_eq!(argv(p.hooks.post_stop.as_ref()), "/opt/containerpilot/postStop-script.sh 0");
    assert_eq!(
        handlers(&p),
        [
            "health check of app: health 0 /usr/bin/curl|--fail|-s|http://localhost/app 10000; 10000",
            "onChange of nginx: change /nginx /opt/containerpilot/reload-app.sh 0; 0",
            "onChange of app: change /app /opt/containerpilot/reload-app.sh 0; 0",
            "health check of containerpilot: health 1 nothing; 5000",
            "sensor metric_id: sensor 0 /bin/sensor.sh 5000; 5000",
        ]
    );
    let s = &p.services[0];
    assert_eq!((&*s.id, &*s.name, &*s.address, s.port, s.ttl), ("app-H", "app", "10.0.0.7", 80, 30_000));
    assert_eq!((&*s.notes, s.tags.join(",").as_str()), ("TTL for app set by containerpilot", "tag1"));
    let s = &p.services[1];
    assert_eq!((&*s.id, s.port, s.ttl), ("containerpilot-H", 9090, 15_000));
    assert!(p.sensors[0].kind == SensorKind::Counter && p.sensors[0].help == "help text");
    assert_eq!(p.telemetry.as_deref(), Some(":9090"));
    let app = p.app.as_ref().unwrap();
    assert_eq!((app.argv.join(" ").as_str(), app.stop_signal, app.stop_timeout), ("app --x", 15, 5_000));
    assert!(matches!(app.reload, Reload::None) && app.restart == Restart::Never);
    assert!(p.log.format == LogFormat::Go && p.log.is_stdout && p.log.level == Level::Info);
    assert!(p.rereads && p.toggles_maintenance && p.control == Control::Usual);
    assert!(p.notes.iter().any(|n| n.1.contains("onStart")), "the note on onStart");
    let waits: Vec<u64> = p
        .sources
        .iter()
        .map(|s| match &s.kind {
            SourceKind::Services(Catalog::Consul(c)) => c.wait,
            _ => 0,
        })
        .collect();
    assert_eq!(waits, [30_000, 10_000]);
    let env: Vec<String> = p.env.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(
        env,
        ["CONTAINERPILOT_PID=42", "CONTAINERPILOT_APP_IP=10.0.0.7", "CONTAINERPILOT_CONTAINERPILOT_IP=10.0.0.7"]
    );
}

#[test]
fn where_the_configuration_comes_from() {
    let inline = "{consul: 'c', /* as people write */ \"onStart\": '/x {{.A}}',}";
    for (args, vars) in [
        (&["-config", inline][..], &[("A", "1")][..]),
        (&["--config", inline], &[("A", "1")]),
        (&["-config", inline, "--"], &[("A", "1")]),
        (&[], &[("A", "1"), ("CONTAINERPILOT", inline)]),
    ] {
        let p = enter(args, vars).map_err(|e| e.1).unwrap().plan;
        assert_eq!(argv(p.hooks.pre_start.as_ref()), "/x|1 0", "{args:?}");
        assert!(p.app.is_none());
    }
    for (args, vars) in [
        (&["-config=file:///app.json"][..], &[][..]),
        (&["-config", "/app.json"], &[]),
        (&[], &[("CONTAINERPILOT", "file:///app.json")]),
        (&[], &[("CONTAINERPILOT", "/app.json")]),
        (&["--config=/app.json"], &[("CONTAINERPILOT", "{}")]),
    ] {
        assert_eq!(enter(args, vars).map_err(|e| e.1).unwrap().plan.services.len(), 2, "{args:?}");
    }
    for (args, kind, want) in [
        (&[][..], Kind::Fatal, "-config flag is required"),
        (&["app"], Kind::Fatal, "-config flag is required"),
        (
            &["-config", "file:///none.json"],
            Kind::Fatal,
            "Could not read config file: cannot read the configuration /none.json",
        ),
        (&["-config"], Kind::Flag, "flag needs an argument: -config"),
        (&["-nope"], Kind::Flag, "flag provided but not defined: -nope"),
        (&["-config", "{{.A"], Kind::Fatal, "Could not apply template to config: template: -config:1: "),
    ] {
        let (is, text) = enter(args, &[]).err().unwrap();
        assert!(is == kind && text.starts_with(want), "{args:?}: {text}");
    }
    let printed = |args: &[&str]| enter(args, &[("A", "1")]).map_err(|e| e.1).unwrap().printed.unwrap();
    assert_eq!(printed(&["-template", "-config", inline]), inline.replace("{{.A}}", "1"));
    assert!(printed(&["-version"]).starts_with("Version: 2.7.8 (pilotfish "));
    assert_eq!(printed(&["-help"]), HELP);
}

#[test]
fn arguments_are_templates() {
    let vars = [("FOO", "bar")];
    let config = "{consul: 'c', services: [{name: 'db-1', port: 1, poll: 1, ttl: 3}]}";
    let run = |words: &[&str]| {
        let args = [&["-config", config][..], words].concat();
        let p = enter(&args, &vars).map_err(|e| e.1).unwrap().plan;
        (p.app.unwrap().argv.join("|"), p.notes.len())
    };
    assert_eq!(
        run(&["app", "{{ .FOO }}", "{{.NO}}", "{{.CONTAINERPILOT_DB_1_IP}}"]),
        ("app|bar||10.0.0.7".to_string(), 0)
    );
    // One that is none leaves all as they are.
    assert_eq!(run(&["app", "{{ .FOO }}", "{{ nope }}"]), ("app|{{ .FOO }}|{{ nope }}".to_string(), 1));
}

#[test]
fn all_there_is() {
    let p = plan(
        "{CONSUL: {address: 'c:1', scheme: 'https', token: 's3cr'}, preStart: ['/a b', '-n', 5, true],
        stopTimeout: '-1', logging: {level: 'PANIC', format: 'json', output: 'stderr'}, control: '/run/p.sock',
        services: [
            {Name: 'web-1', port: '80', poll: '2', ttl: 4.2, health: 'http://localhost/x', timeout: '500ms', interfaces: 'lo',
             tags: 'a', consul: {enableTagOverride: true, deregisterCriticalServiceAfter: '10m'}},
            {name: 'db', port: 5432, poll: 0.5, ttl: 3, health: 'tcp://localhost:5432', interfaces: ['static:9.9.9.9']},
            {name: 'job', port: 1, poll: 1, ttl: 3, health: '/bin/x  y', timeout: 0},
            {name: 'six', port: 1, poll: 1, ttl: 3, health: null, interfaces: ['eth9', 'inet6']},
        ],
        backends: [
            {name: 'db', poll: 1, onChange: 'x', tag: 'main', timeout: '3s'},
            {name: 'db', poll: 1, onChange: 'x', tag: 'main'},
            {name: 'db', poll: 90, onChange: ['y']},
        ],
        tasks: [{command: 't a', frequency: '1500ms'}, {name: 'T', command: ['t'], frequency: 2, timeout: '1s'}],
        coprocesses: [
            {command: 'c'}, {command: 'c', restarts: 2}, {command: 'c', restarts: 'unlimited'}, {name: 'n', command: 'c', restarts: 1.7},
            {command: 'd', restarts: 'never'}, {command: 'e', restarts: '3'},
        ],
        telemetry: {sensors: [
            {namespace: 'a', subsystem: 'b', name: 'c', type: 'gauge', poll: 1, check: 'x', timeout: '2s'},
            {name: 'h', type: 'histogram', poll: 1, check: 'x'}, {subsystem: 's', name: 'q', type: 'summary', poll: 1, check: 'x'},
        ]},
        wait_for: ['http://db:1/?k=v', 'tcp://db:2', 'service:db', 'service:db?main', '/bin/ready now'],
        }",
    );
    let Some(Catalog::Consul(c)) = &p.catalog else { panic!("no Consul") };
    assert_eq!(c.addresses, ["https://c:1"]);
    assert!(matches!(&c.token, Secret::Text(t) if &**t == "s3cr"));
    assert_eq!(argv(p.hooks.pre_start.as_ref()), "/a b|-n|5|true 0");
    let app = p.app.as_ref().unwrap();
    assert_eq!((app.stop_signal, app.stop_timeout), (9, 0));
    assert!(p.log.level == Level::Fatal && p.log.format == LogFormat::LogrusJson && !p.log.is_stdout);
    assert!(p.control == Control::At("/run/p.sock".to_string()));
    let s = &p.services[0];
    assert_eq!((&*s.address, s.port, s.ttl, s.tags.join(",").as_str()), ("127.0.0.1", 80, 5_000, "a"));
    assert!(s.enable_tag_override && s.deregister_after == "10m");
    let addresses: Vec<&str> = p.services.iter().map(|s| s.address.as_str()).collect();
    assert_eq!(addresses, ["127.0.0.1", "9.9.9.9", "10.0.0.7", "fd00::7", "10.0.0.7"]);
    assert_eq!(
        handlers(&p),
        [
            "health check of web-1: health 0 GET http://localhost/x 500; 2000",
            "health check of db: health 1 tcp localhost:5432 500; 500",
            "health check of job: health 2 /bin/x||y 0; 1000",
            "health check of six: health 3 nothing; 1000",
            "onChange of db?main: change /db?main x 3000; 0",
            "onChange of db?main #2: change /db?main x 0; 0",
            "onChange of db: change /db y 0; 0",
            "task t a: task t|a 1500; 1500",
            "task T: task t 1000; 2000",
            "coprocess c: coprocess 0 c 0; 0",
            "coprocess c #2: coprocess 2 c 0; 0",
            "coprocess c #3: coprocess always c 0; 0",
            "coprocess n: coprocess 1 c 0; 0",
            "coprocess d: coprocess 0 d 0; 0",
            "coprocess e: coprocess 3 e 0; 0",
            "health check of containerpilot: health 4 nothing; 5000",
            "sensor a_b_c: sensor 0 x 2000; 1000",
            "sensor h: sensor 1 x 1000; 1000",
            "sensor s_q: sensor 2 x 1000; 1000",
            "http://db:1/: wait GET http://db:1/ 5000; 1000",
            "tcp://db:2: wait tcp db:2 5000; 1000",
            "service:db: wait instances /db; 1000",
            "service:db?main: wait instances /db?main; 1000",
            "/bin/ready now: wait /bin/ready|now 60000; 1000",
        ]
    );
    // One source for each longest wait, one watch for each name and tag of it.
    let watches: Vec<String> = p.watches.iter().map(|w| format!("{} {}", w.source, w.prefix)).collect();
    assert_eq!(watches, ["0 /db?main", "1 /db", "1 /db?main"]);
    assert!(p.sources.iter().all(|s| s.allow_empty));
    let names: Vec<&str> = p.env.iter().map(|e| e.0.as_str()).collect();
    assert!(names.contains(&"CONTAINERPILOT_WEB_1_IP"), "{names:?}");
}

#[test]
fn backends_of_discovery() {
    let etcd = |config: &str| match plan(config).catalog {
        Some(Catalog::Etcd(e, prefix)) => format!("{} {} {prefix}", e.endpoints.join(","), e.version),
        _ => "no etcd".to_string(),
    };
    assert_eq!(etcd("{etcd: {endpoints: ['http://a:4001', 'b']}}"), "http://a:4001,http://b:2379 2 /containerpilot");
    assert_eq!(etcd("{etcd: {endpoints: 'a:1', prefix: 'x/y/', version: 3}}"), "http://a:1 3 /x/y");
    let token = |config: &str, vars: &[(&str, &str)]| {
        let p = enter(&["-config", config], vars).map_err(|e| e.1).unwrap().plan;
        match p.catalog {
            Some(Catalog::Consul(c)) => match &c.token {
                Secret::None => "none".to_string(),
                Secret::Text(t) => t.to_string(),
                Secret::File(path) => path.display().to_string(),
            },
            _ => "no Consul".to_string(),
        }
    };
    let set = [("CONSUL_HTTP_TOKEN", "v")];
    assert_eq!(token("{consul: 'c'}", &[]), "none");
    assert_eq!(token("{consul: 'c'}", &set), "v");
    assert_eq!(token("{consul: {address: 'c', token: 't'}}", &[]), "t");
    assert_eq!(token("{consul: {address: 'c', token: 't'}}", &set), "v");
    assert_eq!(token("{consul: {address: 'c', token_file: '/t'}}", &[]), "/t");
    assert!(plan("{consul: 'c', control: false}").control == Control::None);
}

#[test]
fn what_is_wrong_is_said_in_the_originals_words() {
    let with = |more: &str| format!("{{consul: 'c',\n {more}}}");
    let service = |more: &str| format!("{{consul: 'c',\n services: [{{name: 'app', {more}}}]}}");
    let sensor = |more: &str| format!("{{consul: 'c', telemetry: {{sensors: [{{{more}}}]}}}}");
    for (config, want) in [
        ("{}".to_string(), "No discovery backend defined"),
        ("{\"consul\": null}".to_string(), "No discovery backend defined"),
        ("{consul: 'c', etcd: {}}".to_string(), "More than one discovery backend defined"),
        ("{etcd: {}}".to_string(), "Must provide etcd endpoints"),
        ("{etcd: {endpoints: []}}".to_string(), "Must provide etcd endpoints"),
        ("{etcd: {endpoints: 'a', version: 4}}".to_string(), "must be 2 or 3"),
        ("{consul: 5}".to_string(), "Unexpected Consul config structure"),
        ("{consul: 'ftp://x'}".to_string(), "cannot use Consul at ftp://x"),
        ("{\n  \"consul\": \"c\"\n  \"x\": 1}".to_string(), "Parse error at line:col [3:3]: "),
        (with("nope: 1, none: 2"), "-config:2: Unknown config keys: none, nope; there are consul, "),
        (service("port: 1, poll: 1, ttl: 1, helth: 'x'"), "-config:2: Unknown config keys: helth"),
        (service("port: 1, ttl: 1"), "`poll` must be > 0 in service app"),
        (service("port: 1, poll: 0, ttl: 1"), "-config:2: `poll` must be > 0 in service app"),
        (service("port: 1, poll: -5, ttl: 1"), "`poll` must be > 0 in service app"),
        (service("port: 1, poll: '0', ttl: 1"), "`poll` must be > 0 in service app"),
        (service("port: 1, poll: 'x', ttl: 1"), "`services.0.poll` must be a time"),
        (service("port: 1, poll: 1"), "`ttl` must be > 0 in service app"),
        (service("poll: 1, ttl: 1"), "`port` must be > 0 in service app"),
        (service("port: 70000, poll: 1, ttl: 1"), "`port` must be at most 65535 in service app"),
        (service("port: 1, poll: 1, ttl: 1, timeout: 'x'"), "`services.0.timeout` must be a time"),
        (service("port: 1, poll: 1, ttl: 1, health: 5"), "Could not parse `health` in service app"),
        (service("port: 1, poll: 1, ttl: 1, health: 'tcp://x'"), "health tcp://x: expected tcp://HOST:PORT"),
        (service("port: 1, poll: 1, ttl: 1, interfaces: 'eth0:inet5'"), "Unable to parse interface spec: eth0:inet5"),
        (service("port: 1, poll: 1, ttl: 1, interfaces: ['127.0.0.1']"), "Unable to parse interface spec: 127.0.0.1"),
        (
            service("port: 1, poll: 1, ttl: 1, interfaces: ['eth5']"),
            "None of the interface specifications were able to match",
        ),
        (service("port: 1, poll: 1, ttl: 1, interfaces: 5"), "`interfaces` must be a string or an array"),
        (service("port: 1, poll: 1, ttl: 1, consul: {x: 1}"), "Unknown config keys: x"),
        (service("port: 1, poll: 1, ttl: 1, consul: {deregisterCriticalServiceAfter: 'x'}"), "must be a time"),
        (with("services: [{port: 1, poll: 1, ttl: 1}]"), "service must have a `name`"),
        (with("services: [{name: 'a_b', port: 1, poll: 1, ttl: 1}]"), "service names must be alphanumeric with dashes"),
        (with("services: {}"), "`services` must be a list"),
        (with("backends: [{poll: 1, onChange: 'x'}]"), "backend must have a `name`"),
        (with("backends: [{name: 'b', poll: 1}]"), "`onChange` is required in backend b"),
        (with("backends: [{name: 'b', poll: 1, onChange: ''}]"), "`onChange` is required in backend b"),
        (with("backends: [{name: 'b', poll: 1, onChange: 5}]"), "Could not parse `onChange` in backend b"),
        (with("backends: [{name: 'b', onChange: 'x'}]"), "`poll` must be > 0 in backend b"),
        (with("backends: [{name: 'a/b', onChange: 'x', poll: 1}]"), "is no name of a service"),
        (with("tasks: [{frequency: '1s'}]"), "Task did not provide a command"),
        (with("tasks: [{command: 'x'}]"), "Unable to parse frequency ''"),
        (with("tasks: [{command: 'x', frequency: 'often'}]"), "must be a time"),
        (with("tasks: [{command: 'x', frequency: '0.5ms'}]"), "frequency '0.5ms' cannot be less than 1ms"),
        (with("coprocesses: [{name: 'x'}]"), "Coprocess did not provide a command"),
        (
            with("coprocesses: [{command: 'x', restarts: -1}]"),
            "Invalid 'restarts' field \"-1\": accepts positive integers, \"unlimited\" or \"never\"",
        ),
        (with("coprocesses: [{command: 'x', restarts: 'always'}]"), "Invalid 'restarts' field \"always\""),
        (with("coprocesses: [{command: 'x', restarts: true}]"), "Invalid 'restarts' field \"true\""),
        (sensor("name: 'a', type: 'foo', poll: 1, check: 'x'"), "Invalid sensor type: foo"),
        (sensor("name: 'a', poll: 1, check: 'x'"), "Invalid sensor type: "),
        (sensor("name: 'a-b', type: 'gauge', poll: 1, check: 'x'"), "\"a-b\" is not a valid metric name"),
        (sensor("type: 'gauge', poll: 1, check: 'x'"), "\"\" is not a valid metric name"),
        (sensor("name: 'a', type: 'gauge', check: 'x'"), "`poll` must be > 0 in sensor a"),
        (sensor("name: 'a', type: 'gauge', poll: 1"), "`check` is required in sensor a"),
        (
            sensor(
                "name: 'a_b', type: 'gauge', poll: 1, check: 'x'}, {namespace: 'a', name: 'b', type: 'gauge', poll: 1, check: 'x'",
            ),
            "duplicate metrics collector registration attempted: a_b",
        ),
        (with("telemetry: {port: 99999}"), "`port` must be at most 65535 in telemetry"),
        (with("logging: {level: 'loud'}"), "Unknown log level 'loud'"),
        (with("logging: {format: 'xml'}"), "Unknown log format 'xml'"),
        (with("logging: {output: 'file'}"), "Unknown output type 'file'"),
        (with("preStart: {}"), "Could not parse `preStart`"),
        (with("stopTimeout: 'soon'"), "`stopTimeout` must be a time"),
        (with("control: 5"), "`control` must be the path of a socket"),
        (with("wait_for: ['service:']"), "names no service"),
        (with("wait_for: ['tcp://db']"), "-config:2: wait_for tcp://db: expected tcp://HOST:PORT"),
    ] {
        let text = wrong(&config);
        assert!(text.contains(want), "{config}\nsays: {text}\nwant: {want}");
    }
}

#[test]
fn times_and_notes() {
    for (said, want) in [("0", 5_000), ("7", 7_000), ("'7'", 7_000), ("'1m'", 60_000), ("0.25", 250), ("null", 5_000)] {
        assert_eq!(plan(&format!("{{consul: 'c', stopTimeout: {said}}}")).app.unwrap().stop_timeout, want, "{said}");
    }
    let p = plan(
        "{consul: 'c', services: [{name: 'ab', port: 1, poll: 5, ttl: 5}, {name: 'ab', port: 2, poll: 1, ttl: 5}]}",
    );
    let notes: Vec<&str> = p.notes.iter().map(|n| n.1.as_str()).collect();
    assert!(notes[0].contains("the ttl of service ab is not longer"), "{notes:?}");
    assert!(notes[1].contains("two services are called ab-H"), "{notes:?}");
}
