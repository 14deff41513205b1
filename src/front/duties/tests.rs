#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::front::{self, Invocation};
use crate::plan::{Catalog, Form, Secret, SourceKind};

const CATALOG: &str = "[catalog]\nurl = 'consul://h:1'\n";
const APP: &str = "[app]\ncommand = ['x']\n";

fn host() -> Host {
    let addresses = [("lo", "127.0.0.1"), ("wlan0", "10.0.0.9"), ("eth1", "fd00::1")];
    let addresses = addresses.map(|(name, ip)| (name.to_string(), ip.parse().unwrap())).to_vec();
    Host { name: "node1".to_string(), addresses, pid: 77 }
}

/// What a pilotfish.toml of these tables says, or what is wrong with it.
fn plan_of(tables: &[&str], args: &[&str]) -> Result<Plan, String> {
    let missing = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let world = World { vars: &[], read: &missing, files: &|_| Ok(Vec::new()), host: &host };
    let mut all = vec![["--config=", &tables.concat()].concat()];
    all.extend(args.iter().map(ToString::to_string));
    match front::read("pilotfish", &all, &world) {
        Ok(Invocation::Run(plan)) => Ok(*plan),
        Ok(_) => Err("nothing to run".to_string()),
        Err(e) => Err(e.into_text()),
    }
}

fn shown(c: &Command) -> String {
    let sign = if c.form == Form::Line { '$' } else { '!' };
    let limit = if c.timeout == UNLIMITED { "ever".to_string() } else { c.timeout.to_string() };
    format!("{sign} {} for {limit}", c.argv.join(" "))
}

fn run_shown(run: &Run) -> String {
    match run {
        Run::Nothing => "nothing".to_string(),
        Run::Command(c) => shown(c),
        Run::Request(r) => format!("{} {} for {}", r.method, r.shown, r.timeout),
        Run::Tcp(host, limit) => format!("tcp {host} for {limit}"),
        Run::Instances(watch) => format!("instances {watch}"),
    }
}

fn role_shown(role: Role) -> String {
    match role {
        Role::Health(n) => format!("health {n}"),
        Role::Sensor(n) => format!("sensor {n}"),
        Role::Task => "task".to_string(),
        Role::Change(n) => format!("change {n}"),
        Role::Coprocess(ALWAYS) => "coprocess always".to_string(),
        Role::Coprocess(n) => format!("coprocess {n}"),
        Role::Wait => "wait".to_string(),
    }
}

/// Each handler in a line.
fn handlers(tables: &[&str]) -> Vec<String> {
    let plan = plan_of(tables, &[]).unwrap_or_else(|e| panic!("{tables:?}\n{e}"));
    let line =
        |h: &Handler| format!("{}: {}: {}, {} then {}", h.name, role_shown(h.role), run_shown(&h.run), h.first, h.poll);
    plan.handlers.iter().map(line).collect()
}

fn service_line(s: &Service) -> String {
    let own = if s.enable_tag_override { " own" } else { "" };
    format!(
        "{} {} {} {} [{}] {} {:?} {:?}{own}",
        s.id,
        s.name,
        s.address,
        s.port,
        s.tags.join(","),
        s.ttl,
        s.notes,
        s.deregister_after
    )
}

#[test]
fn services() {
    for (table, service, handler) in [
        (
            "name = 'web'\nport = 80\n",
            "web-node1 web 10.0.0.9 80 [] 30000 \"\" \"\"",
            "health check of web: health 0: nothing, 0 then 10000",
        ),
        (
            "name = 'web'\nport = 80\ninterval = '1500ms'\nhealth = 'test -e {up}'\ninterfaces = 'eth1:inet6'\n",
            "web-node1 web fd00::1 80 [] 5000 \"\" \"\"",
            "health check of web: health 0: $ test -e {up} for 1500, 0 then 1500",
        ),
        (
            "name = 'web'\nid = 'a b'\nport = 65535\nttl = '10s'\ntags = ['x', 'y']\nnotes = 'n'\naddress = '::1'\n\
             health = ['a', 'b']\nhealth_timeout = '20s'\nenable_tag_override = true\nderegister_after = '10m'\n",
            "a b web ::1 65535 [x,y] 10000 \"n\" \"10m\" own",
            "health check of a b: health 0: ! a b for 20000, 0 then 10000",
        ),
        (
            "name = 'w.e-b_2'\nport = 80\naddress = 'h.example'\nhealth = 'http://localhost/h?k=v'\n",
            "w.e-b_2-node1 w.e-b_2 h.example 80 [] 30000 \"\" \"\"",
            "health check of w.e-b_2: health 0: GET http://localhost/h for 10000, 0 then 10000",
        ),
        (
            "name = 'db'\nport = 5432\nhealth = 'tcp://localhost:5432'\nhealth_timeout = '1s'\ninterfaces = ['eth7', 'inet']\n",
            "db-node1 db 10.0.0.9 5432 [] 30000 \"\" \"\"",
            "health check of db: health 0: tcp localhost:5432 for 1000, 0 then 10000",
        ),
    ] {
        let table = ["[[service]]\n", table].concat();
        let plan = plan_of(&[CATALOG, &table], &[]).unwrap_or_else(|e| panic!("{table}\n{e}"));
        assert_eq!(plan.services.iter().map(service_line).collect::<Vec<_>>(), [service], "{table}");
        assert_eq!(handlers(&[CATALOG, &table]), [handler], "{table}");
    }
}

#[test]
fn what_is_run_beside_the_app() {
    for (tables, want) in [
        (
            "[[backend]]\nname = 'db'\non_change = 'reload'\n[[backend]]\nname = 'db'\ntag = 'a/b'\non_change = ['r', 's']\ntimeout = '9s'\n",
            vec![
                "on_change of db: change 0: $ reload for ever, 0 then 0",
                "on_change of db?a/b: change 1: ! r s for 9000, 0 then 0",
            ],
        ),
        (
            "[[task]]\ncommand = 'a'\ninterval = '5s'\n[[task]]\nname = 'tidy'\ncommand = ['b']\ninterval = 60\ntimeout = '1s'\n\
             [[task]]\ncommand = 'c'\ninterval = '1ms'\n",
            vec![
                "task 1: task: $ a for 5000, 5000 then 5000",
                "task tidy: task: ! b for 1000, 60000 then 60000",
                "task 3: task: $ c for 1, 1 then 1",
            ],
        ),
        (
            "[[coprocess]]\ncommand = 'a'\n[[coprocess]]\ncommand = 'b'\nrestarts = 3\n\
             [[coprocess]]\nname = 'log'\ncommand = ['c']\nrestarts = 'always'\n[[coprocess]]\ncommand = 'd'\nrestarts = 'never'\n",
            vec![
                "coprocess 1: coprocess 0: $ a for ever, 0 then 0",
                "coprocess 2: coprocess 3: $ b for ever, 0 then 0",
                "coprocess log: coprocess always: ! c for ever, 0 then 0",
                "coprocess 4: coprocess 0: $ d for ever, 0 then 0",
            ],
        ),
        (
            "[telemetry]\nlisten = ':1'\n[[sensor]]\nname = 'app_free'\ntype = 'gauge'\ninterval = '2s'\ncheck = 'df'\n\
             [[sensor]]\nname = 'n'\ntype = 'summary'\ninterval = '2s'\ntimeout = '1s'\ncheck = ['x']\nhelp = 'N.'\n",
            vec![
                "sensor app_free: sensor 0: $ df for 2000, 0 then 2000",
                "sensor n: sensor 1: ! x for 1000, 0 then 2000",
            ],
        ),
    ] {
        assert_eq!(handlers(&[CATALOG, tables]), want);
    }
    let waits = "wait_for = ['tcp://db:5432', 'http://x/health?token=t', 'service:db', 'service:db?a', ['test', '-e', '/x'], 'test -e /y']\n";
    assert_eq!(
        handlers(&[waits, CATALOG, "[[backend]]\nname = 'db'\ntag = 'a'\non_change = 'x'\n"]),
        [
            "on_change of db?a: change 0: $ x for ever, 0 then 0",
            "tcp://db:5432: wait: tcp db:5432 for 5000, 0 then 1000",
            "http://x/health: wait: GET http://x/health for 5000, 0 then 1000",
            "service:db: wait: instances 1, 0 then 1000",
            "service:db?a: wait: instances 0, 0 then 1000",
            "test -e /x: wait: ! test -e /x for 5000, 0 then 1000",
            "test -e /y: wait: $ test -e /y for 5000, 0 then 1000",
        ]
    );
    assert_eq!(
        handlers(&["wait_for = 'tcp://[::1]:1'\n", APP]),
        ["tcp://[::1]:1: wait: tcp [::1]:1 for 5000, 0 then 1000"]
    );
}

#[test]
fn catalogs() {
    let service = "[[service]]\nname = 'web'\nport = 80\n";
    for (tables, args, want) in [
        (CATALOG, &[][..], "Consul http://h:1 token -"),
        ("[catalog]\nurl = 'consul+https://h'\ntoken = 't'\n", &[], "Consul https://h:8501 token t"),
        ("[catalog]\nurl = 'etcd://h:1'\n", &[], "etcd3 http://h:1 /containerpilot"),
        ("[catalog]\nurl = 'etcd2://h:1/a/b/'\n", &[], "etcd2 http://h:1 /a/b"),
        ("", &["--catalog=consul://g:2"], "Consul http://g:2 token -"),
        ("[catalog]\nurl = 'consul://h'\ntoken = 't'\n", &["--catalog=consul://g:2"], "Consul http://g:2 token -"),
    ] {
        let plan = plan_of(&[tables, service], args).unwrap_or_else(|e| panic!("{tables}\n{e}"));
        let found = match plan.catalog.unwrap() {
            Catalog::Consul(c) => {
                let token = if let Secret::Text(t) = &c.token { t } else { "-" };
                format!("Consul {} token {token}", c.addresses.join(","))
            }
            Catalog::Etcd(e, prefix) => format!("etcd{} {} {prefix}", e.version, e.endpoints.join(",")),
        };
        assert_eq!(found, want, "{tables} {args:?}");
        assert!(plan.sources.is_empty() && plan.watches.is_empty());
    }
}

#[test]
fn services_as_a_source() {
    let base = "[source.up]\nurl = 'services:'\n[[template]]\ntext = ''\ndest = '/d'\n";
    let more = "keys = ['/web', 'db?a/../b']\n[[backend]]\nname = 'web'\non_change = 'x'\n[[backend]]\nname = 'web'\ntag = 't'\non_change = 'x'\n";
    let plan = plan_of(&[CATALOG, base, more], &[]).unwrap();
    let watches: Vec<_> = plan.watches.iter().map(|w| (w.source, w.prefix.as_str())).collect();
    assert_eq!(watches, [(0, "/db?a/../b"), (0, "/web"), (0, "/web?t")]);
    let inputs: Vec<_> = plan.templates[0].inputs.iter().map(|i| (i.watch, i.prefix.as_str(), i.strip)).collect();
    assert_eq!(inputs, [(1, "/web", 0), (0, "/db", 0)], "keys do not have the tag");
    let found: Vec<_> = plan.handlers.iter().map(|h| role_shown(h.role)).collect();
    assert_eq!(found, ["change 1", "change 2"], "a query is shared");
    assert_eq!((plan.sources.len(), plan.sources[0].name.as_str()), (1, "services of Consul at http://h:1"));
    assert!(plan.sources[0].allow_empty && matches!(plan.sources[0].kind, SourceKind::Services(_)));
    assert_eq!(
        plan.env_remove,
        ["PILOTFISH_TOKEN", "PILOTFISH_CONFIG", "PILOTFISH_KEY", "CONSUL_HTTP_TOKEN", "CONSUL_HTTP_AUTH"]
    );
    // Other sources stay as they are.
    let plan =
        plan_of(&[CATALOG, "[source.kv]\nurl = 'consul://h:1'\n[[template]]\ntext = ''\ndest = '/d'\nwait = 1\n"], &[]);
    assert!(plan.err().unwrap().contains("`template.0.wait` is no key here"));
    let by_option =
        plan_of(&["[[template]]\ntext = ''\ndest = '/d'\nkeys = 'web'\n"], &["-sservices:", "--catalog=etcd://h:1"]);
    assert_eq!(by_option.unwrap().sources[0].name, "services of etcd at http://h:1");
}

#[test]
fn hooks_and_what_is_left_for_the_app() {
    let plan = plan_of(&[APP, "[hooks]\npre_start = 'a'\npre_stop = ['b', 'c']\npost_stop = 'd'\n"], &[]).unwrap();
    let hooks = [&plan.hooks.pre_start, &plan.hooks.pre_stop, &plan.hooks.post_stop];
    assert_eq!(hooks.map(|c| shown(c.as_ref().unwrap())), ["$ a for ever", "! b c for 3000", "$ d for 1000"]);
    assert_eq!(plan.env, [("PILOTFISH_PID".to_string(), "77".to_string())]);
    for (tables, args, want) in [
        ("", &[][..], 8_000),
        ("[hooks]\npre_start = 'a'\n", &[], 8_000),
        ("[hooks]\npre_stop = 'a'\npre_stop_timeout = '20s'\n", &[], 5_000),
        ("[hooks]\npost_stop = 'a'\n", &[], 7_000),
        ("[hooks]\npre_stop = 'a'\npost_stop = 'a'\n", &[], 4_000),
        ("[hooks]\npre_stop = 'a'\n", &["--stop-timeout=8"], 8_000),
        ("[catalog]\nurl = 'etcd://h'\n[[service]]\nname = 'a'\nport = 1\n[hooks]\npre_stop = 'a'\n", &[], 4_000),
    ] {
        assert_eq!(plan_of(&[APP, tables], args).unwrap().app.unwrap().stop_timeout, want, "{tables}");
    }
    let said = ["[app]\ncommand = 'x'\nstop_timeout = 60\n", "[hooks]\npre_stop = 'a'\n"];
    assert_eq!(plan_of(&said, &[]).unwrap().app.unwrap().stop_timeout, 60_000);
}

#[test]
fn the_environment_of_children() {
    assert!(plan_of(&[APP], &[]).unwrap().env.is_empty());
    let tables =
        "[[service]]\nname = 'my-app.x'\nport = 1\n[[service]]\nname = 'my-app.x'\nid = 'b'\nport = 2\naddress = 'h'\n";
    let env = plan_of(&[CATALOG, tables], &[]).unwrap().env;
    let env: Vec<_> = env.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(env, [("PILOTFISH_PID", "77"), ("PILOTFISH_MY_APP_X_IP", "10.0.0.9")]);
}

#[test]
fn with_once_there_are_files_alone() {
    let tables = "once = true\nwait_for = 'service:a'\n[source.up]\nurl = 'services:'\n[[template]]\ntext = ''\ndest = '/d'\nkeys = 'web'\n\
                  [[service]]\nname = 'x'\nport = 1\n[[backend]]\nname = 'db'\non_change = 'x'\n[hooks]\npre_start = 'x'\n";
    let plan = plan_of(&[tables, CATALOG], &[]).unwrap();
    assert!(plan.services.is_empty() && plan.handlers.is_empty() && plan.hooks.pre_start.is_none());
    assert_eq!(plan.watches.len(), 1);
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let service = |more: &str| [CATALOG, "[[service]]\nname = 'web'\nport = 80\n", more].concat();
    let sensor =
        |more: &str| ["[telemetry]\nlisten = ':1'\n[[sensor]]\nname = 'a'\ninterval = 1\ncheck = 'x'\n", more].concat();
    let keys =
        |keys: &str| [CATALOG, "[source.up]\nurl = 'services:'\n[[template]]\ntext = ''\ndest = '/d'\n", keys].concat();
    for (text, want) in [
        ("[[service]]\nname = 'web'\nport = 80\n".to_string(), "PILOTFISH_CONFIG:1: `service` needs to know where services are: [catalog]"),
        ("[[backend]]\nname = 'web'\non_change = 'x'\n".to_string(), "PILOTFISH_CONFIG:1: `backend` needs to know"),
        (["wait_for = 'service:x'\n", APP].concat(), "PILOTFISH_CONFIG:1: `wait_for` needs a [catalog]"),
        ("[source.up]\nurl = 'services:'\n".to_string(), "PILOTFISH_CONFIG:2: `source.up.url` is no source: no [catalog] and no --catalog says"),
        ("[catalog]\nurl = 'consul://h:1/p'\n".to_string(), "PILOTFISH_CONFIG:2: `catalog.url` is no catalog: services are in consul://host:port"),
        ("[catalog]\nurl = 'env:'\n".to_string(), "`catalog.url` is no catalog: services are in"),
        ("[catalog]\nurl = 'services:'\n".to_string(), "`catalog.url` is no catalog: no [catalog]"),
        ("[catalog]\nx = 1\n".to_string(), "PILOTFISH_CONFIG:2: `catalog.x` is no key here"),
        ("[catalog]\ntoken = 'x'\n".to_string(), "`catalog.url` is missing"),
        (service("nam = 1\n"), "PILOTFISH_CONFIG:6: `service.0.nam` is no key here; there are name, port, id"),
        (service("[[service]]\nname = 'web'\nport = 81\n"), "PILOTFISH_CONFIG:7: `service.1.name` gives another service's id, web-node1: each needs"),
        (service("[[service]]\nname = 'b'\nid = 'web-node1'\nport = 81\n"), "PILOTFISH_CONFIG:8: `service.1.id` gives another"),
        (service("interval = '10s'\nttl = '9s'\n"), "PILOTFISH_CONFIG:7: `service.0.ttl` must be whole seconds, and not less"),
        (service("ttl = '10500ms'\n"), "`service.0.ttl` must be whole seconds"),
        (service("interval = 0\n"), "`service.0.interval` must be longer than nothing"),
        (service("health = []\n"), "`service.0.health` is empty"),
        (service("health = 5\n"), "`service.0.health` must be a list of texts"),
        (service("health = 'tcp://h'\n"), "PILOTFISH_CONFIG:6: `service.0.health` is no check: tcp://h: expected tcp://HOST:PORT"),
        (service("address = 'h:80'\n"), "`service.0.address` must be an address or a name"),
        (service("address = 'h'\ninterfaces = 'inet'\n"), "`service.0.address` and `interfaces` are two ways"),
        (service("interfaces = 'eth7'\n"), "PILOTFISH_CONFIG:6: `service.0.interfaces` cannot be found: None of the interface"),
        (service("interfaces = '127.0.0.1'\n"), "Unable to parse interface spec: 127.0.0.1"),
        ([CATALOG, "[[service]]\nname = '-a'\nport = 1\n"].concat(), "PILOTFISH_CONFIG:4: `service.0.name` must be made of letters"),
        ([CATALOG, "[[service]]\nname = 'a/b'\nport = 1\n"].concat(), "`service.0.name` must be made of letters"),
        ([CATALOG, "[[service]]\nname = 'a'\n"].concat(), "`service.0.port` must be there, a number from 1 to 65535"),
        ([CATALOG, "[[service]]\nname = 'a'\nport = 65536\n"].concat(), "`service.0.port` must be there"),
        ([CATALOG, "[[backend]]\nname = 'a'\n"].concat(), "`backend.0.on_change` is missing"),
        ([CATALOG, "[[backend]]\nname = 'a b'\non_change = 'x'\n"].concat(), "`backend.0.name` must be the name of a service"),
        ([CATALOG, "[[backend]]\nname = 'a'\ntag = ''\non_change = 'x'\n"].concat(), "`backend.0.name` must be the name of a service"),
        ([CATALOG, "[[backend]]\nname = 'a'\non_change = 'x'\n[[backend]]\nname = 'a'\non_change = 'y'\n"].concat(), "PILOTFISH_CONFIG:7: `backend.1.name` and `tag` are another backend's already"),
        ("[[task]]\ncommand = 'x'\n".to_string(), "`task.0.interval` is missing"),
        ("[[task]]\ninterval = 1\n".to_string(), "`task.0.command` is missing"),
        ("[[task]]\ncommand = 'x'\ninterval = 1\nname = 'a'\n[[task]]\ncommand = 'x'\ninterval = 1\nname = 'a'\n".to_string(), "PILOTFISH_CONFIG:8: `task.1.name` is another one's name already"),
        ("[[coprocess]]\ncommand = 'x'\nrestarts = -1\n".to_string(), "PILOTFISH_CONFIG:3: `coprocess.0.restarts` must be a number, \"never\" or \"always\""),
        ("[[coprocess]]\ncommand = 'x'\nrestarts = 4294967295\n".to_string(), "`coprocess.0.restarts` must be a number"),
        ("[[coprocess]]\ncommand = 'x'\nrestarts = 'often'\n".to_string(), "`coprocess.0.restarts` must be a number"),
        (sensor(""), "`sensor.0.type` is missing"),
        (sensor("type = 'meter'\n"), "PILOTFISH_CONFIG:7: `sensor.0.type` must be counter, gauge, histogram or summary"),
        (sensor("type = 'gauge'\n[[sensor]]\nname = 'a'\ninterval = 1\ncheck = 'x'\ntype = 'gauge'\n"), "`sensor.1.name` is another one's name already"),
        ("[[sensor]]\nname = 'a'\ninterval = 1\ncheck = 'x'\ntype = 'gauge'\n".to_string(), "`sensor.0.name` is shown to nobody"),
        ("[telemetry]\nlisten = ':1'\n[[sensor]]\nname = '1a'\ninterval = 1\ncheck = 'x'\ntype = 'gauge'\n".to_string(), "`sensor.0.name` must be a metric's"),
        ("[telemetry]\nlisten = ':1'\n[[sensor]]\nname = 'pilotfish_ready'\ninterval = 1\ncheck = 'x'\ntype = 'gauge'\n".to_string(), "`sensor.0.name` must be a metric's"),
        (["wait_for = 'service:/'\n", CATALOG].concat(), "PILOTFISH_CONFIG:1: `wait_for` must be the name of a service, as in /web"),
        (["wait_for = ['http://']\n", APP].concat(), "`wait_for` is no check: http://: expected http://HOST"),
        (["wait_for = [[]]\n", APP].concat(), "`wait_for` is empty"),
        (["wait_for = [3]\n", APP].concat(), "`wait_for` must be a list of texts"),
        (["[hooks]\npre_stop = ''\n", APP].concat(), "PILOTFISH_CONFIG:2: `hooks.pre_stop` is empty"),
        (["[hooks]\npre_stop = 'x'\npre_stop_timeout = 0\n", APP].concat(), "`hooks.pre_stop_timeout` must be longer than nothing"),
        (["[hooks]\nstop = 'x'\n", APP].concat(), "`hooks.stop` is no key here"),
        (keys(""), "PILOTFISH_CONFIG:5: `template.0.keys` must each be the name of a service, as in /web, or /web?tag"),
        (keys("keys = ['/']\n"), "PILOTFISH_CONFIG:8: `template.0.keys` must each be the name of a service"),
        (keys("keys = ['/web/x']\n"), "`template.0.keys` must each be"),
        (keys("keys = ['/web?']\n"), "`template.0.keys` must each be"),
        (keys("keys = ['/web']\nprefix = '/x'\n"), "`template.0.prefix` is not for services"),
        ([CATALOG, "[source.up]\nurl = 'services:'\n[[tree]]\ndest = '/d'\n"].concat(), "`tree.0.source` has services, which are no files"),
    ] {
        let found = plan_of(&[&text], &[]).err().unwrap_or_else(|| panic!("nothing is wrong with\n{text}"));
        assert!(found.contains(want), "{text}\n{found}\nwanted {want}");
    }
    for (args, want) in [
        (&["--catalog=x"][..], "--catalog x: expected consul://"),
        (&["--catalog=consul://u:p@h"], "--catalog h: cannot use Consul at http://h"),
        (&["--source=services:"], "--source services:: no [catalog] and no --catalog says"),
    ] {
        let found = plan_of(&[APP], args).err().unwrap_or_else(|| panic!("nothing is wrong with {args:?}"));
        assert!(found.contains(want), "{found}\nwanted {want}");
    }
}
