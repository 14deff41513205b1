//! SRV records and addresses seen from outside: pilotfish with a resolv.conf of its own, which names a server that says
//! what the test wants, over UDP and TCP. Port 53 needs root, or a system whose unprivileged ports begin below it.
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

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use util::*;

/// What a question gets, given the question and whether it came over TCP.
type Say = Arc<Mutex<dyn FnMut(&[u8], bool) -> Vec<Vec<u8>> + Send>>;

/// A name server on port 53 of an address of its own; it ends with the test.
struct Dns {
    ip: String,
    stop: Arc<AtomicBool>,
    /// How many questions came by UDP and by TCP.
    asked: Arc<[AtomicUsize; 2]>,
}

impl Dns {
    fn start(say: impl FnMut(&[u8], bool) -> Vec<Vec<u8>> + Send + 'static) -> Dns {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let say: Say = Arc::new(Mutex::new(say));
        let (ip, udp, tcp) = wait_until(secs(20), "an address with a free port 53 (it needs root)", || {
            let n = std::process::id().wrapping_mul(13).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
            let ip = format!("127.{}.{}.53", 1 + n / 250 % 14, n % 250);
            let udp = UdpSocket::bind((ip.as_str(), 53)).ok()?;
            Some((ip.clone(), udp, TcpListener::bind((ip.as_str(), 53)).ok()?))
        });
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new([const { AtomicUsize::new(0) }; 2]));
        udp.set_read_timeout(Some(millis(50))).unwrap();
        let (stopped, count, answer) = (stop.clone(), asked.clone(), say.clone());
        std::thread::spawn(move || {
            let mut buf = [0; 2048];
            while !stopped.load(Ordering::SeqCst) {
                let Ok((n, from)) = udp.recv_from(&mut buf) else { continue };
                count[0].fetch_add(1, Ordering::SeqCst);
                for reply in (answer.lock().unwrap())(&buf[..n], false) {
                    udp.send_to(&reply, from).unwrap();
                }
            }
        });
        let (stopped, count) = (stop.clone(), asked.clone());
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let mut length = [0; 2];
                if stream.read_exact(&mut length).is_err() {
                    continue;
                }
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut query).unwrap();
                count[1].fetch_add(1, Ordering::SeqCst);
                for reply in (say.lock().unwrap())(&query, true) {
                    stream.write_all(&[&(reply.len() as u16).to_be_bytes(), &reply[..]].concat()).unwrap();
                }
            }
        });
        Dns { ip, stop, asked }
    }
    fn asked(&self) -> (usize, usize) {
        (self.asked[0].load(Ordering::SeqCst), self.asked[1].load(Ordering::SeqCst))
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = std::net::TcpStream::connect((self.ip.as_str(), 53));
    }
}

/// The name that was asked for.
fn asked_name(query: &[u8]) -> String {
    let (name, kind) = question(query);
    assert_eq!(kind, 33, "SRV");
    name
}

/// The name that was asked for and the type of its records.
fn question(query: &[u8]) -> (String, u8) {
    let (mut at, mut text) = (12, String::new());
    while query[at] != 0 {
        let n = usize::from(query[at]);
        text.push_str(std::str::from_utf8(&query[at + 1..at + 1 + n]).unwrap());
        text.push('.');
        at += n + 1;
    }
    assert_eq!((query[at + 1], &query[at + 3..]), (0, &[0, 1][..]), "IN");
    (text, query[at + 2])
}

/// An answer with these flags and these records: type and data.
fn records(query: &[u8], flags: u16, all: &[(u8, &[u8])]) -> Vec<u8> {
    let mut m = query.to_vec();
    m[2..4].copy_from_slice(&flags.to_be_bytes());
    m[6..8].copy_from_slice(&(all.len() as u16).to_be_bytes());
    for (kind, data) in all {
        m.extend([0xC0, 12, 0, *kind, 0, 1, 0, 0, 0, 60]);
        m.extend((data.len() as u16).to_be_bytes());
        m.extend(*data);
    }
    m
}

/// An answer with these flags and these servers: priority, weight, port, labels of the target.
fn answer(query: &[u8], flags: u16, servers: &[(u16, u16, u16, &str)]) -> Vec<u8> {
    let mut m = query.to_vec();
    m[2..4].copy_from_slice(&flags.to_be_bytes());
    m[6..8].copy_from_slice(&(servers.len() as u16).to_be_bytes());
    for (priority, weight, port, target) in servers {
        let mut data = [priority.to_be_bytes(), weight.to_be_bytes(), port.to_be_bytes()].concat();
        for label in target.split('.') {
            data.push(label.len() as u8);
            data.extend(label.as_bytes());
        }
        data.push(0);
        m.extend([0xC0, 12, 0, 33, 0, 1, 0, 0, 0, 60]);
        m.extend((data.len() as u16).to_be_bytes());
        m.extend(data);
    }
    m
}

const OK: u16 = 0x8180;
const CUT: u16 = 0x8380;
const NO_SUCH_NAME: u16 = 0x8183;
const REFUSED: u16 = 0x8185;

/// A template that shows what it finds, in Go's language and in upon, and pilotfish with this resolv.conf.
struct Bed {
    dir: TempDir,
}

const GO: &str = r#"{{range lookupSRV "mail" "tcp" "example.com"}}{{.Target}}:{{.Port}} {{.Priority}}/{{.Weight}}
{{end}}"#;
const UPON: &str = r#"{% for s in lookupSRV("mail", "tcp", "example.com.") %}{{ s.Target }}:{{ s.Port }} {{ s.Priority }}/{{ s.Weight }}
{% endfor %}"#;

impl Bed {
    fn new(resolv_conf: &str) -> Bed {
        let dir = TempDir::new();
        dir.write("resolv.conf", resolv_conf);
        dir.write("a.tmpl", GO);
        dir.write("b.upon", UPON);
        Bed { dir }
    }
    fn of(dns: &Dns) -> Bed {
        Bed::new(&format!("nameserver {}\n", dns.ip))
    }
    /// Both templates, with more options.
    fn pilotfish(&self) -> Cmd {
        let mut cmd = Cmd::new("unshare").arg("--mount");
        // SAFETY: plain system call.
        if unsafe { libc::geteuid() } != 0 {
            cmd = cmd.args(["--user", "--map-root-user"]);
        }
        let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        cmd =
            cmd.args(["sh", "-c", script]).arg(self.dir.join("resolv.conf")).arg(pilotfish_bin()).cwd(self.dir.path());
        cmd.args(["-t", "a.tmpl:a", "-t", "b.upon:b"])
    }
    fn once(&self) -> Proc {
        self.pilotfish().arg("--once").run(secs(30))
    }
}

#[test]
fn the_servers_of_a_service_are_listed_as_confd_lists_them() {
    let dns = Dns::start(|q, _| {
        assert_eq!(asked_name(q), "_mail._tcp.example.com.");
        vec![answer(
            q,
            OK,
            &[(20, 0, 25, "b.example.com"), (10, 5, 2525, "a.example.com"), (10, 5, 25, "a.example.com")],
        )]
    });
    let bed = Bed::of(&dns);
    let proc = bed.once();
    proc.expect_exit(Exit::Code(0), secs(5));
    let want = "a.example.com.:25 10/5\na.example.com.:2525 10/5\nb.example.com.:25 20/0\n";
    assert_eq!(bed.dir.read("a"), want, "{}", proc.report());
    assert_eq!(bed.dir.read("b"), want, "{}", proc.report());
}

#[test]
fn no_such_name_is_an_empty_list() {
    let dns = Dns::start(|q, _| vec![answer(q, NO_SUCH_NAME, &[])]);
    let bed = Bed::of(&dns);
    bed.once().expect_exit(Exit::Code(0), secs(5));
    assert_eq!((bed.dir.read("a"), bed.dir.read("b")), (String::new(), String::new()));
}

#[test]
fn an_answer_that_is_cut_off_is_fetched_over_tcp() {
    let many: Vec<String> = (0..200).map(|i| format!("server-{i:03}.example.com")).collect();
    let dns = Dns::start(move |q, tcp| match tcp {
        false => vec![answer(q, CUT, &[(1, 1, 1, "partial.example.com")])],
        true => {
            let all: Vec<(u16, u16, u16, &str)> = many.iter().map(|n| (1, 1, 25, n.as_str())).collect();
            vec![answer(q, OK, &all)]
        }
    });
    let bed = Bed::of(&dns);
    let proc = bed.once();
    proc.expect_exit(Exit::Code(0), secs(5));
    let want: String = (0..200).map(|i| format!("server-{i:03}.example.com.:25 1/1\n")).collect();
    assert_eq!(bed.dir.read("a"), want, "{}", proc.report());
    assert_eq!(dns.asked().1, 2, "one question of each template came over TCP");
}

#[test]
fn answers_that_are_not_ours_are_passed_over() {
    let dns = Dns::start(|q, _| {
        let good = answer(q, OK, &[(1, 1, 25, "good.example.com")]);
        let mut other = answer(q, OK, &[(1, 1, 25, "evil.example.com")]);
        other[0] ^= 0x55; // the id
        vec![b"x".to_vec(), other, answer(q, REFUSED, &[]), good]
    });
    let bed = Bed::of(&dns);
    bed.once().expect_exit(Exit::Code(0), secs(10));
    assert_eq!(bed.dir.read("a"), "good.example.com.:25 1/1\n");
}

#[test]
fn without_a_good_answer_the_file_stays_and_the_reason_is_said() {
    let looping = |q: &[u8]| {
        let mut m = answer(q, OK, &[(1, 1, 25, "x")]);
        let at = m.len() - 3; // the target: a name that is itself
        m.splice(at.., (0xC000 | at as u16).to_be_bytes());
        let length = m.len() - 10; // two bytes of the target instead of three
        m[length..length + 2].copy_from_slice(&8u16.to_be_bytes());
        m
    };
    type Maker = Box<dyn Fn(&[u8]) -> Vec<Vec<u8>> + Send>;
    let cases: Vec<(Maker, &str)> = vec![
        (Box::new(move |q| vec![looping(q)]), "the answer is garbled"),
        (Box::new(|q| vec![answer(q, OK, &[(1, 1, 25, "a b")])]), "the answer is garbled"),
        (
            Box::new(|q| vec![answer(&[&q[..15], b"X", &q[16..]].concat(), OK, &[])]),
            "the answer is not to the question",
        ),
        (
            Box::new(|q| vec![[&q[..2], &[0x81, 0x80, 0, 1, 0, 9, 0, 0, 0, 0]].concat()]),
            "the answer is not to the question",
        ),
        (Box::new(|_| Vec::new()), "no answer from the name servers in /etc/resolv.conf"),
    ];
    for (say, why) in cases {
        let dns = Dns::start(move |q, _| say(q));
        let bed = Bed::new(&format!("nameserver {}\noptions timeout:1 attempts:2\n", dns.ip));
        bed.dir.write("a", "old");
        let begin = Instant::now();
        let proc = bed.once();
        let took = begin.elapsed();
        proc.expect_exit(Exit::Code(1), secs(5));
        let text = format!("cannot look up the SRV records of _mail._tcp.example.com: {why}");
        proc.check(proc.stderr().contains(&text), &text);
        proc.check(took < secs(8), &format!("the time-out is a second for each template, not {took:?}"));
        assert_eq!(bed.dir.read("a"), "old");
        assert!(dns.asked().0 > 0);
    }
}

const A: u8 = 1;
const AAAA: u8 = 28;
const SIX: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

/// What a template makes of the addresses of `host`, all and by version, with this resolv.conf and this server.
fn addresses(host: &str, options: &str, dns: &Dns) -> (String, Proc) {
    let bed = Bed::new(&format!("nameserver {}\n{options}", dns.ip));
    let list = |f: &str| format!("{{{{range {f} \"{host}\"}}}}{{{{.}}}} {{{{end}}}}");
    bed.dir.write("a.tmpl", ["lookupIP", "lookupIPV4", "lookupIPV6"].map(list).join("/ "));
    bed.dir.write("b.upon", "");
    let proc = bed.once();
    proc.expect_exit(Exit::Code(0), secs(5));
    (bed.dir.read("a"), proc)
}

#[test]
fn a_host_has_the_addresses_of_both_kinds_of_records() {
    let dns = Dns::start(|q, _| {
        let (name, kind) = question(q);
        assert_eq!(name, "web.example.com.");
        // The first record says that the name is another's; what a question did not ask for is none of ours.
        let alias: (u8, &[u8]) = (5, b"\x01x\xC0\x10");
        let all: &[(u8, &[u8])] = match kind {
            A => &[alias, (A, &[10, 0, 0, 7]), (A, &[10, 0, 0, 1]), (AAAA, &[9; 16])],
            AAAA => &[alias, (AAAA, &SIX), (A, &[9; 4])],
            _ => panic!("asked for type {kind}"),
        };
        vec![records(q, OK, all)]
    });
    let (got, proc) = addresses("web.example.com", "", &dns);
    let want = "10.0.0.1 10.0.0.7 2001:db8::7 / 10.0.0.1 10.0.0.7 / 2001:db8::7 ";
    proc.check(got == want, &format!("{got:?} is not {want:?}"));
}

#[test]
fn a_short_name_is_looked_for_below_the_domains_of_resolv_conf() {
    let names = Arc::new(Mutex::new(Vec::new()));
    let seen = names.clone();
    let dns = Dns::start(move |q, _| {
        let (name, kind) = question(q);
        let there = name == "web.b.example.";
        if kind == A {
            seen.lock().unwrap().push(name);
        }
        vec![match (there, kind) {
            (true, A) => records(q, OK, &[(A, &[10, 0, 0, 7])]),
            (true, _) => records(q, OK, &[]),
            _ => records(q, NO_SUCH_NAME, &[]),
        }]
    });
    let (got, proc) = addresses("web", "search a.example b.example c.example\n", &dns);
    proc.check(got == "10.0.0.7 / 10.0.0.7 / ", &got);
    let (got, proc) = addresses("web.b.example", "search a.example\noptions ndots:3\n", &dns);
    proc.check(got == "10.0.0.7 / 10.0.0.7 / ", &got);
    let (got, proc) = addresses("no.such.name", "search a.example\n", &dns);
    proc.check(got == "/ / ", &got);
    let each = |names: &[&str]| names.iter().cycle().take(3 * names.len()).map(|n| n.to_string()).collect::<Vec<_>>();
    let want = [
        each(&["web.a.example.", "web.b.example."]),
        each(&["web.b.example.a.example.", "web.b.example."]),
        each(&["no.such.name."]),
    ];
    assert_eq!(*names.lock().unwrap(), want.concat());
}

#[test]
fn addresses_come_over_tcp_and_from_the_server_that_answers() {
    let dns = Dns::start(|q, tcp| match (question(q).1, tcp) {
        (A, false) => vec![records(q, CUT, &[(A, &[10, 0, 0, 9])])],
        (A, true) => vec![records(q, OK, &[(A, &[10, 0, 0, 7]), (A, &[10, 0, 0, 9])])],
        _ => vec![records(q, OK, &[])],
    });
    let silent = Dns::start(|_, _| Vec::new());
    let begin = Instant::now();
    let (got, proc) = addresses("web.x", &format!("nameserver {}\noptions timeout:60\n", silent.ip), &dns);
    proc.check(got == "10.0.0.7 10.0.0.9 / 10.0.0.7 10.0.0.9 / ", &got);
    assert!(silent.asked().0 >= 6, "both servers are asked at once");
    proc.check(begin.elapsed() < secs(20), "the one that is silent is not waited for");
}

#[test]
fn a_server_that_fails_is_asked_again_and_one_of_ipv6_may_stand_beside_it() {
    let mut failures = 0;
    let dns = Dns::start(move |q, _| {
        failures += 1;
        match (failures < 3, question(q).1) {
            (true, _) => vec![records(q, 0x8182, &[])],
            (_, A) => vec![records(q, OK, &[(A, &[10, 0, 0, 7])])],
            _ => vec![records(q, OK, &[])],
        }
    });
    let begin = Instant::now();
    let (got, proc) = addresses("web.x", "nameserver ::1\noptions timeout:60 attempts:1\n", &dns);
    proc.check(got == "10.0.0.7 / 10.0.0.7 / ", &got);
    proc.check(begin.elapsed() < secs(20), "a failure is not the end of the question");
}

#[test]
fn a_name_server_that_comes_back_is_asked_again() {
    let mut questions = 0;
    let dns = Dns::start(move |q, _| {
        questions += 1;
        if questions < 3 { Vec::new() } else { vec![answer(q, OK, &[(1, 1, 25, "late.example.com")])] }
    });
    let bed = Bed::new(&format!("nameserver {}\noptions timeout:1 attempts:1\n", dns.ip));
    let proc = bed.pilotfish().args(["--", "sleep", "60"]).spawn();
    wait_until(secs(20), "the first question", || (dns.asked().0 > 0).then_some(()));
    proc.wait_line("no answer from the name servers", secs(20));
    wait_file(bed.dir.join("a"), "late.example.com.:25 1/1\n", secs(30));
    wait_file(bed.dir.join("b"), "late.example.com.:25 1/1\n", secs(30));
    proc.wait_line("starting main program now", secs(20));
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(143), secs(20));
}

#[test]
fn a_stop_does_not_wait_for_a_name_server() {
    let dns = Dns::start(|_, _| Vec::new());
    let bed = Bed::new(&format!("nameserver {}\noptions timeout:60 attempts:1\n", dns.ip));
    let proc = bed.pilotfish().args(["--", "sleep", "60"]).spawn();
    wait_until(secs(20), "the first question", || (dns.asked().0 > 0).then_some(()));
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(143), secs(10));
}

#[test]
fn servers_are_found_by_their_records_and_asked_for_again_when_all_fail() {
    let consul = Consul::start();
    consul.put("v", "by consul");
    let etcd = Etcd::start();
    etcd.put("/v", "by etcd");
    let port = |addr: String| addr.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let (consul_port, etcd_port) = (port(consul.addr()), port(etcd.addr()));
    let (hosts, dead) = ([consul.addr(), etcd.addr()], free_port());
    // Names of hosts are /etc/hosts' business.
    let ip = |addr: &str| addr.rsplit_once(':').unwrap().0.trim_start_matches("http://").to_string();
    let mut asked = 0;
    let dns = Dns::start(move |q, _| match asked_name(q).as_str() {
        "_consul._tcp.example.com." => {
            asked += 1;
            let dead = (1, 1, dead, "consul.test");
            let all = [(9, 1, consul_port, "consul.test"), dead];
            vec![answer(q, OK, if asked == 1 { &all[1..] } else { &all })]
        }
        "_etcd-client._tcp.example.com." => vec![answer(q, OK, &[(1, 1, etcd_port, "etcd.test")])],
        name => panic!("asked for {name}"),
    });
    let bed = Bed::of(&dns);
    bed.dir.write("hosts", format!("{} consul.test\n{} etcd.test\n", ip(&hosts[0]), ip(&hosts[1])));
    let out = bed.dir.join("out").display().to_string();
    bed.dir.write("etc/conf.d/r.toml", format!("[template]\nsrc='r'\ndest='{out}'\nkeys=['/v']\n"));
    bed.dir.write("etc/templates/r", "{{getv \"/v\"}}");
    bed.dir.write(
        "p.toml",
        "[source.e]\nurl='etcd:///'\nsrv_domain='example.com.'\n[[template]]\ntext='{{ getv(\"/v\") }}'\ndest='out2'\n",
    );
    let run = |args: &[&str]| {
        let mut cmd = Cmd::new("unshare").arg("--mount");
        // SAFETY: plain system call.
        if unsafe { libc::geteuid() } != 0 {
            cmd = cmd.args(["--user", "--map-root-user"]);
        }
        let script = "mount --bind resolv.conf /etc/resolv.conf && mount --bind hosts /etc/hosts && exec \"$@\"";
        cmd.args(["sh", "-c", script, "sh"]).arg(pilotfish_bin()).args(args).cwd(bed.dir.path()).spawn()
    };
    let p = run(&["confd", "-watch", "-backend", "consul", "-srv-domain", "example.com", "-confdir", "etc"]);
    p.wait_line("INFO SRV record set to _consul._tcp.example.com.", secs(20));
    p.wait_line("next try in", secs(20)); // the dead one is all there is at first
    wait_file(bed.dir.join("out"), "by consul", secs(30));
    consul.put("v", "again");
    wait_file(bed.dir.join("out"), "again", secs(30));
    p.signal(libc::SIGTERM);
    p.expect_exit(Exit::Code(0), secs(10));

    let p = run(&["--config", "p.toml", "--once"]);
    p.expect_exit(Exit::Code(0), secs(20));
    assert_eq!(bed.dir.read("out2"), "by etcd");
}
