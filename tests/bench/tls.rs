//! What TLS costs beside the same without it: the time of one whole call (`openssl s_client` beside it, for what a
//! handshake costs others), resident memory with 1, 10 and 50 watches of one Consul, and a change's way to the file.
//! `./build.sh bench tls` prints the figures; nothing here passes or fails by time.
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

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use util::*;

fn main() {
    println!("binary: {} ({} bytes)", pilotfish_bin().display(), std::fs::metadata(pilotfish_bin()).unwrap().len());
    let (pki, files) = (Pki::new(), TempDir::new());
    let root = pki.root(&Ask::authority("root"));
    let mut cluster = Consul::cluster_with(1, &|ip| {
        let cert = pki.issue(&root, &Ask::server(&format!("IP:{ip}")));
        json!({"ports": {"https": 8501}, "cert_file": cert.cert, "key_file": cert.key})
    });
    let consul = cluster.nodes.remove(0);
    // Names of one length: a watch of `/w1` would serve `/w11` too.
    for i in 10..60 {
        consul.put(&format!("w{i}/v"), "0");
    }
    let plain = format!("consul://{}", consul.addr());
    let sealed = format!("consul+https://{}:8501", consul.ip());
    let ca = ["--ca", root.cert()];
    calls(&pki, &root, &plain, &sealed);
    memory(&consul, &files, &plain, &sealed, &ca);
    latency(&consul, &files, &plain, &sealed, &ca);
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1000.0
}

/// The time of a command from its start to its end.
fn run(program: &std::path::Path, args: &[&str]) -> Duration {
    let begin = Instant::now();
    let mut c = Command::new(program);
    let status = c.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    let took = begin.elapsed();
    assert!(status.success(), "{} {args:?}: {status}", program.display());
    took
}

/// `kv get` without and with TLS in turn, then what the handshake is with other keys.
fn calls(pki: &Pki, root: &Cert, plain: &str, sealed: &str) {
    const RUNS: usize = 100;
    let (pilotfish, openssl) = (pilotfish_bin(), std::path::PathBuf::from("openssl"));
    let get = |source: &str, more: &[&str]| {
        run(&pilotfish, &[&["kv", "get", "/w10/v", "--source", source][..], more].concat())
    };
    let ca = ["--ca", root.cert()];
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        without.push(get(plain, &[]));
        with.push(get(sealed, &ca));
    }
    let (without, with) = (median(without), median(with));
    println!(
        "one call of Consul, from start to end: plain {:.2} ms, TLS {:.2} ms (ratio {:.2}; {:.2} ms more); medians of {RUNS}",
        ms(without),
        ms(with),
        ms(with) / ms(without),
        ms(with) - ms(without)
    );
    for (name, key, me) in [
        ("P-256", Key::P256, None),
        ("RSA 2048", Key::Rsa, None),
        ("P-256, client P-256", Key::P256, Some(Key::P256)),
        ("P-256, client RSA 2048", Key::P256, Some(Key::Rsa)),
    ] {
        let server = pki.issue(root, &Ask::server("IP:127.0.0.1").key(key));
        let me = me.map(|key| pki.issue(root, &Ask::client("me").key(key)));
        let verify: &[&str] = if me.is_some() { &["-Verify", "1", "-CAfile", root.cert()] } else { &[] };
        let server = TlsServer::start(&server, verify);
        let identity = |names: [&'static str; 2]| {
            me.iter().flat_map(|me| [names[0], me.cert(), names[1], me.key()].map(str::to_string)).collect::<Vec<_>>()
        };
        let (ours, theirs) = (identity(["--cert", "--key"]), identity(["-cert", "-key"]));
        let connect = format!("127.0.0.1:{}", server.port);
        let source = server.source();
        let mut ours_args = vec!["kv", "get", "/app/v", "--source", &source, "--ca", root.cert()];
        ours_args.extend(ours.iter().map(String::as_str));
        let mut their_args = vec!["s_client", "-connect", &connect, "-CAfile", root.cert()];
        their_args.extend(theirs.iter().map(String::as_str));
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            a.push(run(&pilotfish, &ours_args));
            b.push(run(&openssl, &their_args));
        }
        let (a, b) = (median(a), median(b));
        println!(
            "openssl s_server with {name}: pilotfish kv get {:.2} ms, openssl s_client {:.2} ms (ratio {:.2})",
            ms(a),
            ms(b),
            ms(a) / ms(b)
        );
    }
}

/// Watches of so many prefixes, each with a file: resident memory when all have been rendered and one has changed.
fn memory(consul: &Consul, files: &TempDir, plain: &str, sealed: &str, ca: &[&str]) {
    for n in [1, 10, 50] {
        let mut figures = Vec::new();
        for (name, source, more) in [("plain", plain, &[][..]), ("tls", sealed, ca)] {
            let mut text = format!("[source.kv]\nurl = {}\n", json!(source));
            for i in 10..10 + n {
                let dest = files.join(format!("{name}-{n}-{i}"));
                text.push_str(&format!(
                    "[[template]]\nname = \"t{i}\"\ndialect = \"go\"\nkeys = [\"/w{i}\"]\ndest = {}\ntext = '{{{{getv \"/w{i}/v\"}}}}'\n",
                    json!(dest)
                ));
            }
            let config = files.write(format!("{name}-{n}.toml"), text);
            let begin = Instant::now();
            let pf = pilotfish().arg("--config").arg(&config).args(more).spawn();
            let last = |i: usize| files.join(format!("{name}-{n}-{i}"));
            (10..10 + n).for_each(|i| wait_file(last(i), "0", secs(60)));
            let first = begin.elapsed();
            consul.put("w10/v", "1");
            wait_file(last(10), "1", secs(60));
            let status = std::fs::read_to_string(format!("/proc/{}/status", pf.pid())).unwrap();
            let peak = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or("").replace(['\t', ' '], "");
            figures.push((rss_of(pf.pid()) as f64 / 1e6, first, peak));
            pf.signal(libc::SIGTERM);
            pf.wait_exit(secs(30));
            consul.put("w10/v", "0");
        }
        let ((a, a_first, a_peak), (b, b_first, b_peak)) = (&figures[0], &figures[1]);
        println!(
            "{n} watches: RSS plain {a:.2} MB, TLS {b:.2} MB (ratio {:.2}; {:.0} KB more for each); {a_peak}, {b_peak}; \
             all files after {:.0} ms and {:.0} ms (ratio {:.2})",
            b / a,
            (b - a) * 1000.0 / f64::from(n as u32),
            ms(*a_first),
            ms(*b_first),
            ms(*b_first) / ms(*a_first)
        );
    }
}

/// A put until it is in the file, over one open connection.
fn latency(consul: &Consul, files: &TempDir, plain: &str, sealed: &str, ca: &[&str]) {
    const PUTS: usize = 100;
    let template = files.write("t.tmpl", "{{getv \"/w11/v\"}}");
    let mut medians = Vec::new();
    for (name, source, more) in [("plain", plain, &[][..]), ("tls", sealed, ca)] {
        let dest = files.join(format!("latency-{name}"));
        let pf = pilotfish()
            .args(["--source", source, "--template", &format!("{}:{}", template.display(), dest.display())])
            .args(more)
            .spawn();
        wait_until(secs(30), "the first render", || std::fs::read(&dest).ok());
        let mut times = Vec::new();
        for i in 0..PUTS {
            // Further apart than the 100 ms in which changes are gathered.
            let begin = Instant::now() + millis(110);
            while Instant::now() < begin {
                std::thread::yield_now();
            }
            let value = format!("{name}{i}");
            let put = Instant::now();
            consul.put("w11/v", &value);
            while std::fs::read(&dest).ok().as_deref() != Some(value.as_bytes()) {
                std::thread::yield_now();
            }
            times.push(put.elapsed());
        }
        medians.push(median(times));
        pf.signal(libc::SIGTERM);
        pf.wait_exit(secs(30));
    }
    println!(
        "put -> file: plain {:.2} ms, TLS {:.2} ms (ratio {:.2}); medians of {PUTS}",
        ms(medians[0]),
        ms(medians[1]),
        ms(medians[1]) / ms(medians[0])
    );
}
