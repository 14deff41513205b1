//! How soon others hear of a new instance: from its registration in Consul to the first deed of on_change's process, beside a
//! bare client whose blocking query of the same service is answered. `./build.sh bench registered` prints the figures;
//! nothing here passes or fails by time.
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

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use util::*;

const INSTANCES: usize = 200;

fn main() {
    let consul = Consul::start();
    let dir = TempDir::new();
    let fifo = dir.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // Open at both ends, so that nobody waits for the other.
    let mut deeds = BufReader::new(OpenOptions::new().read(true).write(true).open(&fifo).unwrap());
    let toml = format!(
        "[catalog]\nurl = \"consul://{}\"\n[[backend]]\nname = \"web\"\non_change = \"echo >'{}'\"\n",
        consul.addr(),
        fifo.display()
    );
    let pf = pilotfish().env("PILOTFISH_CONFIG", toml).spawn();
    let (tell, heard) = mpsc::channel();
    let addr = consul.addr();
    let bare = std::thread::spawn(move || bare_client(&addr, &tell));
    let (_, first) = heard.recv_timeout(secs(30)).unwrap();
    assert_eq!(first, 0, "no instance yet");
    let mut line = String::new();
    register(&consul, 1);
    deeds.read_line(&mut line).unwrap();
    while heard.recv_timeout(secs(30)).unwrap().1 != 1 {}

    let (mut bare_times, mut times, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for port in 2..=INSTANCES + 1 {
        // Further apart than the 100 ms in which changes are gathered, as instances come.
        std::thread::sleep(millis(130));
        let begin = Instant::now();
        let writer = {
            let addr = consul.addr();
            std::thread::spawn(move || register_at(&addr, port))
        };
        deeds.read_line(&mut line).unwrap();
        let seen = begin.elapsed();
        writer.join().unwrap();
        let answered = loop {
            let (at, newest) = heard.recv_timeout(secs(30)).unwrap();
            if newest == port {
                break at - begin;
            }
        };
        bare_times.push(answered);
        times.push(seen);
        ratios.push(seen.as_secs_f64() / answered.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    let shell = {
        let mut all: Vec<Duration> = (0..50).map(|_| shell_alone()).collect();
        all.sort();
        all[25]
    };
    println!(
        "registered -> bare blocking query {:.2} ms, registered -> on_change's process {:.2} ms (medians of {INSTANCES}), ratio {:.2} (median), {:.2} (90th); the shell alone takes {:.2} ms",
        ms(median(bare_times)),
        ms(median(times)),
        ratios[INSTANCES / 2],
        ratios[INSTANCES * 9 / 10],
        ms(shell)
    );
    pf.signal(libc::SIGTERM);
    pf.expect_exit(Exit::Code(0), secs(20));
    drop(heard);
    register(&consul, 0); // wakes the bare client, which finds nobody listening
    bare.join().unwrap();
}

/// The one instance, at another port each time: that is a change, and the answer stays as long as it is.
fn register(consul: &Consul, port: usize) {
    register_at(&consul.addr(), port);
}

fn register_at(addr: &str, port: usize) {
    let body = format!(r#"{{"ID":"web","Name":"web","Address":"127.0.0.9","Port":{port}}}"#);
    let reply = http("PUT", addr, "/v1/agent/service/register", &[], body.as_bytes()).unwrap();
    assert_eq!(reply.status, 200);
}

/// From the start of a shell to its first deed.
fn shell_alone() -> Duration {
    let begin = Instant::now();
    let mut shell = Command::new("/bin/sh").args(["-c", "echo"]).stdout(Stdio::piped()).spawn().unwrap();
    shell.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    let took = begin.elapsed();
    shell.wait().unwrap();
    took
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1000.0
}

/// A blocking query in a loop over one connection, and nothing else: when it was answered, and the instance's port.
fn bare_client(addr: &str, tell: &mpsc::Sender<(Instant, usize)>) {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut index = 0;
    loop {
        let request =
            format!("GET /v1/health/service/web?passing&index={index}&wait=60s HTTP/1.1\r\nHost: {addr}\r\n\r\n");
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
        let at = Instant::now();
        let all: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let port = all[0]["Service"]["Port"].as_u64().unwrap_or(0) as usize;
        if tell.send((at, port)).is_err() {
            return;
        }
    }
}
