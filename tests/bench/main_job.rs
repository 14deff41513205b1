//! What the main job costs, as ratios against something run beside it: change-to-file latency against a bare client
//! that only receives the blocking query's answer; start-up against tini starting the same app; idle memory.
//! `./build.sh bench main_job` prints the figures; nothing here passes or fails by time.
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

#[path = "../util/mod.rs"]
mod util;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use util::*;

fn main() {
    println!("binary: {} ({} bytes)", pilotfish_bin().display(), std::fs::metadata(pilotfish_bin()).unwrap().len());
    latency();
    start();
    memory();
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1000.0
}

/// One put, one value: when did the bare client hear of it, when was it in the file?
fn latency() {
    const PUTS: usize = 200;
    let consul = Consul::start();
    consul.put("bench/value", "0");
    let dir = TempDir::new();
    let template = dir.write("t.tmpl", "{{getv \"/bench/value\"}}");
    // Two destinations: on the disk (where fsync costs what the disk costs) and in memory.
    for (name, dest) in
        [("disk", dir.join("out")), ("memory", Path::new("/dev/shm").join(format!("pf-bench-{}", std::process::id())))]
    {
        let pf = pilotfish()
            .args(["--source", &format!("consul://{}", consul.addr())])
            .args(["--template", &format!("{}:{}", template.display(), dest.display())])
            .spawn();
        let (tell, heard) = mpsc::channel();
        let addr = consul.addr();
        let bare = std::thread::spawn(move || bare_client(&addr, &tell));
        let (_, mut last) = heard.recv_timeout(secs(30)).unwrap();
        wait_until(secs(30), "the first render", || std::fs::read_to_string(&dest).ok().filter(|c| *c == last));
        let moves = Moves::new(dest.parent().unwrap());
        let (mut bare_times, mut file_times, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for i in 1..=PUTS {
            // Further apart than the 100 ms in which changes are gathered, as people change keys.
            let begin = Instant::now() + Duration::from_millis(110);
            while Instant::now() < begin {
                std::thread::yield_now();
            }
            last = format!("{name}{i}");
            let put = Instant::now();
            let writer = {
                let (addr, value) = (consul.addr(), last.clone());
                std::thread::spawn(move || http("PUT", &addr, "/v1/kv/bench/value", &[], value.as_bytes()).unwrap())
            };
            let seen = loop {
                moves.next();
                let now = Instant::now();
                if std::fs::read(&dest).is_ok_and(|c| c == last.as_bytes()) {
                    break now;
                }
            };
            writer.join().unwrap();
            let answered = loop {
                let (at, value) = heard.recv_timeout(secs(30)).unwrap();
                if value == last {
                    break at;
                }
            };
            bare_times.push(answered - put);
            file_times.push(seen - put);
            ratios.push((seen - put).as_secs_f64() / (answered - put).as_secs_f64());
        }
        ratios.sort_by(f64::total_cmp);
        println!(
            "latency ({name}): put -> bare client {:.2} ms, put -> file {:.2} ms (medians of {PUTS}), ratio {:.2} (median), {:.2} (90th)",
            ms(median(bare_times)),
            ms(median(file_times)),
            ratios[PUTS / 2],
            ratios[PUTS * 9 / 10]
        );
        pf.signal(libc::SIGTERM);
        pf.wait_exit(secs(20));
        drop(heard);
        consul.put("bench/value", "end"); // wakes the bare client, which finds nobody listening
        bare.join().unwrap();
        let _ = std::fs::remove_file(&dest);
        consul.put("bench/value", "0");
    }
}

/// Waits for renames into a folder, as a program that watches its configuration does.
struct Moves(i32);

impl Moves {
    fn new(folder: &Path) -> Moves {
        let path = std::ffi::CString::new(folder.to_str().unwrap()).unwrap();
        unsafe {
            let fd = libc::inotify_init1(libc::IN_CLOEXEC);
            assert!(libc::inotify_add_watch(fd, path.as_ptr(), libc::IN_MOVED_TO) >= 0);
            Moves(fd)
        }
    }
    fn next(&self) {
        let mut buf = [0u8; 4096];
        assert!(unsafe { libc::read(self.0, buf.as_mut_ptr().cast(), buf.len()) } > 0);
    }
}

impl Drop for Moves {
    fn drop(&mut self) {
        unsafe { libc::close(self.0) };
    }
}

/// A blocking query in a loop over one connection, and nothing else.
fn bare_client(addr: &str, tell: &mpsc::Sender<(Instant, String)>) {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut index = 0;
    loop {
        let request = format!("GET /v1/kv/bench/value?raw&index={index}&wait=60s HTTP/1.1\r\nHost: {addr}\r\n\r\n");
        (&stream).write_all(request.as_bytes()).unwrap();
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            let lower = line.trim().to_ascii_lowercase();
            if lower.is_empty() {
                break;
            }
            if let Some(n) = lower.strip_prefix("content-length: ") {
                length = n.parse().unwrap();
            }
            if let Some(n) = lower.strip_prefix("x-consul-index: ") {
                index = n.parse::<u64>().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        if tell.send((Instant::now(), String::from_utf8(body).unwrap())).is_err() {
            return;
        }
    }
}

/// From the start of the supervisor to the end of an app that ends at once, pilotfish and tini in turn.
fn start() {
    const RUNS: usize = 300;
    let dir = TempDir::new();
    let keys = dir.mkdir("keys");
    std::fs::write(keys.join("k"), "v").unwrap();
    let template = dir.write("t.tmpl", "{{getv \"/k\"}}");
    let dest = dir.join("out");
    let app = static_app();
    let run = |program: &Path, args: &[String]| {
        let begin = Instant::now();
        let mut c = Command::new(program);
        c.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = c.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut byte = [0];
        let n = out.read(&mut byte).unwrap(); // the app's first byte
        let took = begin.elapsed();
        child.wait().unwrap();
        assert_eq!(n, 1, "{} {args:?} printed nothing", program.display());
        took
    };
    let app_args = [app.display().to_string(), "args".to_string()];
    let with = |own: &[String]| [own, &app_args].concat();
    let render: Vec<String> = ["--source", &format!("dir:{}", keys.display()), "--template"]
        .iter()
        .map(|s| (*s).to_string())
        .chain([format!("{}:{}", template.display(), dest.display()), "--".to_string()])
        .collect();
    let tini = server_bin("tini");
    let (mut t, mut p, mut r) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        t.push(run(&tini, &with(&["--".to_string()])));
        p.push(run(&pilotfish_bin(), &with(&["--".to_string()])));
        r.push(run(&pilotfish_bin(), &with(&render)));
    }
    let (t, p, r) = (median(t), median(p), median(r));
    println!(
        "start to the app's first byte: tini {:.2} ms, pilotfish {:.2} ms (ratio {:.2}), with a render from a folder {:.2} ms (ratio {:.2}); medians of {RUNS}",
        ms(t),
        ms(p),
        ms(p) / ms(t),
        ms(r),
        ms(r) / ms(t)
    );
}

/// Resident memory after the first render, with one watch on Consul and an app that sleeps.
fn memory() {
    let consul = Consul::start();
    consul.put("bench/value", "1");
    let dir = TempDir::new();
    let template = dir.write("t.tmpl", "{{getv \"/bench/value\"}}");
    let pf = pilotfish()
        .args(["--source", &format!("consul://{}", consul.addr())])
        .args(["--template", &format!("{}:{}", template.display(), dir.join("out").display())])
        .args(["--", static_app().to_str().unwrap(), "wait"])
        .spawn();
    pf.wait_line("ready", secs(30));
    consul.put("bench/value", "2");
    wait_file(dir.join("out"), "2", secs(10));
    let status = std::fs::read_to_string(format!("/proc/{}/status", pf.pid())).unwrap();
    let of = |name: &str| status.lines().find(|l| l.starts_with(name)).unwrap_or("").to_string();
    println!(
        "idle with one Consul watch: RSS {:.2} MB; {} {}",
        rss_of(pf.pid()) as f64 / 1e6,
        of("RssAnon"),
        of("RssFile")
    );
}
