//! The load balancer of the CoreOS article: nginx follows the keys below /test of etcd v2. First as the article has it,
//! word for word; then under load, with backends that come and go, with nginx as the app and beside it; then with a
//! backend that dies.
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

mod balancer;
mod util;

use balancer::*;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use util::*;

/// How long backends come and go, each way.
const CHANGES: Duration = secs(30);

// --- word for word ------------------------------------------------------------------------------------------------

/// What the article shows of the file.
const SHOWN: &str = "    upstream backend {
        
            server 172.17.8.101:8001;
        
            server 172.17.8.102:8002;
        
    }
";

/// The docker client of the article's image. It notes its words, and it does what the real one would: it signals the
/// container, which here is a process whose number the test has written down, or fails when there is none.
const DOCKER: &str = "#!/bin/sh
echo \"$*\" >> /docker.log
[ -e /nginx.service ] || { echo 'No such container: nginx.service' >&2; exit 1; }
read -r pid < /nginx.service
kill -s \"$3\" \"$pid\"
";

/// confd is pilotfish under that name, started by the last line of the article's Dockerfile; the resource and the
/// template are the article's files. confd's and nginx's container share one root here instead of one volume.
#[test]
fn the_article_word_for_word() {
    let etcd = Etcd::start_as("etcd", &["--listen-client-urls=http://$IP:2379,http://$IP:4001"]);
    let ip = etcd.addr().rsplit_once(':').unwrap().0.to_string();
    etcd.put2("/test/apache-8001", "172.17.8.101:8001");
    etcd.put2("/test/apache-8002", "172.17.8.102:8002");
    let root = image(&[(pilotfish_bin(), "usr/bin/confd"), ("/bin/sh".into(), "bin/sh")]);
    carry_emulator(root.path());
    root.write("etc/confd/conf.d/nginx.toml", RESOURCE);
    root.write(SRC, TEMPLATE);
    let docker = root.write("usr/bin/docker", DOCKER);
    std::fs::set_permissions(docker, std::fs::Permissions::from_mode(0o755)).unwrap();

    let line = "/usr/bin/confd -interval=60 -node=http://$COREOS_PRIVATE_IPV4:4001";
    let confd = in_root(root.path(), "/bin/sh").args(["-c", line]).env("COREOS_PRIVATE_IPV4", &ip).spawn();
    confd.wait_line("Target config /etc/nginx/nginx.conf has been updated", WAIT);
    let two: Vec<String> = ["172.17.8.101:8001", "172.17.8.102:8002"].map(String::from).into();
    let conf = root.read(CONF);
    assert_eq!(conf, rendered(TEMPLATE, &two));
    confd.check(conf.contains(SHOWN), &conf);
    // nginx's unit comes after confd's: there is no container yet, and that is tried again.
    confd.wait_line("the reload command of", WAIT);

    let nginx = in_own_net(root.path(), "/usr/sbin/nginx").args(["-g", "daemon off;"]).spawn();
    let master = master_of(nginx.pid());
    let first = workers_of(master);
    root.write("new", format!("{master}\n"));
    std::fs::rename(root.join("new"), root.join("nginx.service")).unwrap();
    confd.wait_line("has succeeded now", WAIT);
    let after = |old: &[i32]| {
        wait_until(WAIT, "nginx's new worker alone", || {
            Some(workers_of(master)).filter(|w| w.len() == 1 && !old.contains(&w[0]))
        })
    };
    let second = after(&first);
    let told = || root.read("docker.log").lines().count();
    let before = told();

    // A third unit comes; the first one goes.
    etcd.put2("/test/apache-8003", "172.17.8.103:8003");
    let three = [&two[..], &["172.17.8.103:8003".to_string()]].concat();
    wait_file(root.join(CONF), &rendered(TEMPLATE, &three), WAIT);
    let third = after(&second);
    etcd.v2("DELETE", "/keys/test/apache-8001", "");
    wait_file(root.join(CONF), &rendered(TEMPLATE, &three[1..]), WAIT);
    let fourth = after(&third);
    // What somebody edits by hand is put right at HUP.
    let pid = processes().into_iter().find(|p| p.session == confd.pid() && p.name == "confd").expect("confd").pid;
    root.write(CONF, "events {}\n");
    // SAFETY: plain system call.
    unsafe { libc::kill(pid, libc::SIGHUP) };
    wait_file(root.join(CONF), &rendered(TEMPLATE, &three[1..]), WAIT);
    after(&fourth);
    confd.check(told() == before + 3, &root.read("docker.log"));
    confd.check(root.read("docker.log").lines().all(|l| l == "kill -s HUP nginx.service"), "docker's words");
    assert_eq!(errors_of(&root), "");
    // SAFETY: plain system call.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    confd.expect_exit(Exit::Code(0), WAIT);
    nginx.signal_inner(libc::SIGQUIT);
    nginx.expect_exit(Exit::Code(0), WAIT);
    // Nothing is left beside the file.
    assert_eq!(root.names("etc/nginx"), ["conf.d", "mime.types", "nginx.conf"]);
}

// --- under load ---------------------------------------------------------------------------------------------------

/// The same numbers each time (xorshift).
struct Numbers(u32);

impl Numbers {
    /// One from `least` to `most`.
    fn from(&mut self, least: usize, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        least + self.0 as usize % (most - least + 1)
    }
}

/// Some of the backends that run are replaced by some that do not. The order in which no request can fail: the new ones
/// listen before they are registered; the old ones stop when no worker of nginx is left that knows them. Which is so when
/// one of the new ones, whose key was written last, has answered, and one generation of workers is left.
fn replace(world: &mut World, live: &mut Vec<usize>, numbers: &mut Numbers) {
    let mut down: Vec<usize> = (0..4).filter(|i| !live.contains(i)).collect();
    let comes = numbers.from(1, down.len());
    // One at least must be down at the end, to be the next one that comes.
    let goes = numbers.from((live.len() + comes).saturating_sub(3), live.len());
    let mut old = Vec::new();
    for _ in 0..goes {
        let i = live.swap_remove(numbers.from(0, live.len() - 1));
        world.deregister(i);
        old.push(i);
    }
    for _ in 0..comes {
        let i = down.swap_remove(numbers.from(0, down.len() - 1));
        world.backends[i].start();
        world.register(i, "");
        live.push(i);
    }
    let last = live[live.len() - 1];
    world.wait("an answer of the new backend", |w| w.backends[last].answered() > 0);
    world.wait_conf(live);
    world.wait_one_worker(&[]);
    old.iter().for_each(|i| world.backends[*i].stop());
}

/// All keys get a time to live and are not refreshed. An empty list of servers is no configuration: the last one stays.
fn expire(world: &mut World, live: &[usize]) {
    let mark = world.fish.mark();
    live.iter().for_each(|i| world.register(*i, "&ttl=1"));
    world.fish.wait_line_after(mark, "are gone: keeping the last good ones", WAIT);
    let left = world.etcd.v2("GET", "/keys/test", "").json();
    world.check(left["node"]["nodes"].as_array().is_none_or(Vec::is_empty), &left.to_string());
    world.changes += live.len();
    live.iter().for_each(|i| world.register(*i, ""));
}

/// Forty changes as fast as etcd takes them. `replace` must follow, and wait for the last of it.
fn burst(world: &mut World, live: &[usize]) {
    for n in 0..39 {
        world.register(live[0], &format!(" weight={}", 2 + n));
    }
    world.register(live[0], "");
}

fn come_and_go(way: Way) {
    let mut world = World::start(way, 3);
    let (mut live, mut numbers, begin) = (vec![0, 1, 2], Numbers(2015), Instant::now());
    let (mut steps, mut rounds) = (0, 0);
    while begin.elapsed() < CHANGES {
        for _ in 0..8 {
            replace(&mut world, &mut live, &mut numbers);
            world.check_load();
            steps += 1;
        }
        expire(&mut world, &live);
        replace(&mut world, &mut live, &mut numbers);
        let (start, before) = (Instant::now(), world.reloads());
        burst(&mut world, &live);
        replace(&mut world, &mut live, &mut numbers);
        let (took, reloads) = (start.elapsed().as_millis() as usize, world.reloads() - before);
        world.check(reloads <= took / 100 + 2, &format!("{reloads} reloads in {took} ms"));
        world.check_load();
        rounds += 1;
    }
    let took = begin.elapsed().as_millis() as usize;
    world.check(world.reloads() <= took / 100 + 1, "a reload each 100 ms at most");
    println!("{steps} steps, {rounds} rounds in {took} ms");
    world.check(world.reloads() >= steps, "each step is a reload");
    world.check(world.load.asked() >= 3_000, "a load");
    // Nobody was asked who was not there: nginx had nothing to make good.
    world.check(world.load.retried() == 0 && world.errors().is_empty(), "nginx was told in time");
    world.finish();
}

#[test]
fn backends_come_and_go_and_no_request_fails() {
    come_and_go(Way::Above);
}

#[test]
fn the_same_with_nginx_beside_us() {
    come_and_go(Way::Beside);
}

// --- death --------------------------------------------------------------------------------------------------------

/// A backend dies, and nobody takes its key away but etcd, as its time to live has passed (the article's own wish).
/// Until then nginx asks another one for each request that finds it dead (`proxy_next_upstream`, on by default): no
/// request fails, some were asked twice, and its log says so. Afterwards the file lacks it and nobody is asked twice.
#[test]
fn a_dead_backend_goes_with_its_key() {
    let mut world = World::start(Way::Above, 3);
    // What waits in the queue of a server that goes is reset, and nginx may find out by that.
    let refuses = ["Connection refused", "Connection reset by peer"];
    for (round, signs) in [&refuses[..], &["prematurely closed connection"]].into_iter().enumerate() {
        let (old, retried) = (workers_of(world.master), world.load.retried());
        world.register(2, "&ttl=3");
        if round == 0 {
            world.backends[2].stop()
        } else {
            world.backends[2].die_of_a_request()
        }
        let of_it = format!("upstream: \"http://{}/\"", world.backends[2].address);
        world.wait(&format!("nginx to find it dead: {signs:?}"), |w| {
            w.errors().lines().any(|l| signs.iter().any(|s| l.contains(s)) && l.contains(&of_it))
        });
        // Its key was there all the time that took.
        let left = world.etcd.v2("GET", "/keys/test/apache-8003", "").json();
        world.check(left["node"]["ttl"].as_u64() > Some(0), &left.to_string());
        world.changes += 1;
        world.wait_conf(&[0, 1]);
        // That is one change and one reload: a worker that is not of the old ones has read it.
        world.wait_one_worker(&old);
        world.check(world.load.retried() > retried, "some were asked twice");
        let (retried, errors) = (world.load.retried(), world.errors());
        world.load.wait(300);
        world.check(world.load.retried() == retried && world.errors() == errors, "nobody is asked twice any more");
        world.check_load();
        // It is started again.
        world.backends[2].start();
        world.register(2, "");
        world.wait("an answer of it", |w| w.backends[2].answered() > 0);
        world.wait_one_worker(&[]);
    }
    let reloads = world.reloads();
    world.check(reloads == 4, &format!("{reloads} reloads for four changes"));
    world.finish();
}
