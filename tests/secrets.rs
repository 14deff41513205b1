//! Secrets: children do not inherit them unless they are to, files of them are read at each use, and what is careless
//! (files that others may read, a server trusted blindly) is said at each start. With real children, files and servers.
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

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use util::*;

const WAIT: Duration = secs(40);
const SECRET: &str = "s3cr3t-0123456789";

/// A check and a reload that write their environment to files in the working folder, as lines of TOML.
const COMMANDS: [&str; 2] = ["env > new; mv new checked", "env > new; mv new reloaded"];

/// The names of the variables that hold the secret, of `env`'s lines, sorted.
fn holders(text: &str) -> Vec<String> {
    let mut all: Vec<String> = text
        .lines()
        .filter(|l| l.contains(SECRET))
        .filter_map(|l| l.split_once('='))
        .map(|(n, _)| n.to_string())
        .collect();
    all.sort();
    all
}

/// Each variable of these holds the secret.
fn with(cmd: Cmd, names: &[&str]) -> Cmd {
    names.iter().fold(cmd, |cmd, name| cmd.env(name, format!("{SECRET}:{SECRET}")))
}

/// An app that writes its environment and stays.
const APP: [&str; 3] = ["sh", "-c", "env > seen.new; mv seen.new seen; exec sleep 600"];

/// What the check, the reload and the app have seen of the secret. Each writes at its own time.
fn seen(dir: &TempDir, proc: &Proc) -> [Vec<String>; 3] {
    ["checked", "reloaded", "seen"].map(|file| {
        let read = || std::fs::read_to_string(dir.join(file)).ok();
        let start = std::time::Instant::now();
        loop {
            match read() {
                Some(text) => return holders(&text),
                None if start.elapsed() > WAIT => proc.fail(&format!("{file} was not written")),
                None => std::thread::sleep(millis(5)),
            }
        }
    })
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_string()).collect()
}

#[test]
fn children_see_no_secret_of_ours_but_what_is_passed() {
    let consul = Consul::start();
    consul.put("app/v", "1");
    let mine = [
        "CONSUL_HTTP_TOKEN",
        "CONSUL_HTTP_AUTH",
        "PILOTFISH_TOKEN",
        "CONFD_AUTH_TOKEN",
        "CONFD_PASSWORD",
        "CONFD_USERNAME",
        "ETCDCTL_PASSWORD",
        "APP_SECRET",
    ];
    // What is nobody's business of this way in and of Consul is the app's own.
    for (way, pass, hidden) in [
        ("native", "", &mine[..3]),
        ("native", "CONSUL_HTTP_TOKEN, PILOTFISH_TOKEN", &["CONSUL_HTTP_AUTH"]),
        ("confd-sidecar", "", &mine[..5]),
        ("confd-sidecar", "CONSUL_HTTP_TOKEN CONFD_PASSWORD", &mine[1..4]),
        ("confd", "", &["CONSUL_HTTP_TOKEN", "CONSUL_HTTP_AUTH", "CONFD_AUTH_TOKEN", "CONFD_PASSWORD"]),
        ("confd", "CONSUL_HTTP_AUTH", &["CONSUL_HTTP_TOKEN", "CONFD_AUTH_TOKEN", "CONFD_PASSWORD"]),
    ] {
        let dir = TempDir::new();
        let out = dir.join("out").display().to_string();
        let [check, reload] = COMMANDS;
        let resource = format!(
            "[template]\nsrc = 't.tmpl'\ndest = '{out}'\nkeys = ['/app']\ncheck_cmd = '{check}'\nreload_cmd = '{reload}'\n"
        );
        let cmd = with(pilotfish().cwd(dir.path()), &mine);
        let cmd = match way {
            "native" => {
                let toml = format!(
                    "[source.kv]\nurl = 'consul://{}/app'\n[[template]]\ntext = '{{{{ getv(\"/v\") }}}}'\n\
                     dest = '{out}'\ncheck = '{check}'\nreload = '{reload}'\n",
                    consul.addr()
                );
                let file = dir.write("p.toml", toml);
                let cmd = cmd.arg("--config").arg(file).env("PILOTFISH_PASS_ENV", pass);
                cmd.args(APP)
            }
            "confd-sidecar" => {
                let cmd = cmd.env("CONFD_BACKEND", "consul").env("CONFD_NODE", consul.addr());
                let cmd = cmd.env("CONFD_CONFDIR", dir.path()).env("CONFD_CONFDFILE", format!("t.toml\n{resource}"));
                let cmd = cmd.env("CONFD_TEMPLATE", "t.tmpl\n{{getv \"/app/v\"}}").env("PILOTFISH_PASS_ENV", pass);
                cmd.arg("confd-sidecar").args(APP)
            }
            _ => {
                dir.write("conf.d/t.toml", &resource);
                dir.write("templates/t.tmpl", "{{getv \"/app/v\"}}");
                let cmd = cmd.args(["confd", "-onetime", "-backend=consul", "-node", &consul.addr()]);
                cmd.arg("-confdir").arg(dir.path()).env("CONFD_PASS_ENV", pass)
            }
        };
        let cmd = if way == "confd" {
            dir.write("seen", "");
            cmd
        } else {
            cmd
        };
        let proc = cmd.spawn();
        let mut want = owned(&mine);
        want.retain(|n| !hidden.contains(&n.as_str()));
        want.sort();
        let app = if way == "confd" { Vec::new() } else { want.clone() }; // confd runs none
        assert_eq!(seen(&dir, &proc), [want.clone(), want, app], "{way}, passed: {pass}\n{}", proc.report());
        wait_file(dir.join("out"), "1", WAIT);
        proc.signal(libc::SIGTERM);
        proc.wait_exit(WAIT);
        proc.check(!(proc.stderr() + &proc.stdout()).contains(SECRET), "no line should show the secret");
    }
}

#[test]
fn the_app_alone_may_be_passed_a_variable() {
    let dir = TempDir::new();
    dir.write("keys/a", "1");
    let [check, reload] = COMMANDS;
    let toml = format!(
        "pass_env = ['PILOTFISH_KEY']\n[source.kv]\nurl = 'dir:{}'\n[[template]]\ntext = 'x'\ndest = '{}'\n\
         check = '{check}'\nreload = '{reload}'\n[app]\ncommand = {APP:?}\npass_env = ['PILOTFISH_TOKEN']\n# {SECRET}\n",
        dir.join("keys").display(),
        dir.join("out").display(),
    );
    let vars = ["PILOTFISH_TOKEN", "PILOTFISH_KEY", "CONSUL_HTTP_TOKEN"];
    let proc = with(pilotfish().cwd(dir.path()), &vars).env("PILOTFISH_CONFIG", toml).spawn();
    // Consul's is the app's own where no source is Consul; PILOTFISH_CONFIG holds the whole configuration.
    let commands = owned(&["CONSUL_HTTP_TOKEN", "PILOTFISH_KEY"]);
    let app = owned(&["CONSUL_HTTP_TOKEN", "PILOTFISH_KEY", "PILOTFISH_TOKEN"]);
    assert_eq!(seen(&dir, &proc), [commands.clone(), commands, app], "{}", proc.report());
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn files_with_secrets_that_others_may_read_are_said_once() {
    let dir = TempDir::new();
    let (token, key) = (dir.write("token", SECRET), dir.write("key.pem", SECRET));
    let password = dir.write("password", SECRET);
    let out = dir.join("out");
    let url = format!("consul+https://127.0.0.1:{}", free_port());
    let toml = format!(
        "[source.a]\nurl = '{url}'\ntoken_file = '{token}'\ncert = '{key}'\nkey = '{key}'\nusername = 'u'\n\
         password_file = '{password}'\n[source.b]\nurl = '{url}'\ntoken_file = '{token}'\n\
         [[template]]\nsource = 'a'\ntext = 'x'\ndest = '{out}'\n\
         [app.reload]\nurl = 'http://127.0.0.1:1/'\ntoken_file = '{token}'\n",
        token = token.display(),
        key = key.display(),
        password = password.display(),
        out = out.display(),
    );
    let line =
        |path: &Path| format!("others may read the file {p}, which holds a secret: chmod o-r {p}", p = path.display());
    for (modes, said) in [([0o644, 0o604, 0o666], true), ([0o640, 0o600, 0o440], false)] {
        let files = [&token, &key, &password];
        files.iter().zip(modes).for_each(|(path, m)| mode(path, m));
        let run = pilotfish().arg("--once").env("PILOTFISH_CONFIG", &toml).run(WAIT);
        let check = pilotfish().arg("check").env("PILOTFISH_CONFIG", &toml).run(WAIT);
        // The key is none.
        check.expect_exit(Exit::Code(78), WAIT);
        let kv = pilotfish().args(["kv", "ls", "--source", &url, "--token-file"]).arg(&token).run(WAIT);
        for path in files {
            for proc in [&run, &check, &kv] {
                let count = proc.lines_matching(&line(path)).len();
                let is_meant = said && (path == &token || !std::ptr::eq(proc, &kv));
                proc.check(count == usize::from(is_meant), &format!("{} with {modes:?}", path.display()));
                proc.check(!(proc.stderr() + &proc.stdout()).contains(SECRET), "the secret is shown");
            }
        }
        run.check(!said || run.stderr().contains("WARNING others may read"), "it is a warning");
    }
}

#[test]
fn insecure_is_said_at_each_start() {
    let port = free_port();
    let https = format!("https://127.0.0.1:{port}");
    let text =
        |name: &str| format!("INSECURE: the certificate of {name} is not looked at; whoever answers there is believed");
    let toml = |more: &str| format!("{more}\n[[template]]\ntext = 'x'\ndest = '/nowhere/x'\n");
    let consul = text(&format!("Consul at {https}"));
    let etcd = text(&format!("etcd at {https}"));
    let named = |scheme: &str| format!("[source.a]\nurl = '{scheme}+{https}'\ninsecure = true\n");
    let reload = toml(&format!("[app.reload]\nurl = '{https}/r?x'\ninsecure = true\n"));
    let base = || pilotfish().arg("--once");
    for (cmd, line) in [
        (base().env("PILOTFISH_CONFIG", toml(&named("consul"))), &consul),
        (base().env("PILOTFISH_CONFIG", toml(&named("etcd2"))), &etcd),
        (base().env("PILOTFISH_CONFIG", reload), &text(&format!("POST {https}/r"))),
        (pilotfish().args(["kv", "ls", "--insecure", "-s", &format!("etcd+{https}")]), &etcd),
        (
            pilotfish()
                .args(["kv", "ls", "-s", "consul:"])
                .env("CONSUL_HTTP_ADDR", &https)
                .env("CONSUL_HTTP_SSL_VERIFY", "0"),
            &consul,
        ),
        (
            pilotfish()
                .args(["confd", "-onetime", "-client-insecure", "-node", &https])
                .arg("-confdir")
                .arg("/nowhere"),
            &etcd,
        ),
        (
            pilotfish()
                .args(["confd-sidecar", "--once", "true"])
                .env("CONFD_CLIENT_INSECURE", "true")
                .env("CONFD_NODE", &https),
            &consul,
        ),
    ] {
        let proc = cmd.run(WAIT);
        proc.check(proc.lines_matching(line).len() == 1, line);
    }
    let quiet = base().env("PILOTFISH_CONFIG", toml(&named("consul").replace("true", "false"))).run(WAIT);
    quiet.check(!quiet.stderr().contains("INSECURE"), "it is not insecure");
    // Without TLS there is no certificate that could be looked at.
    let plain = pilotfish().args(["confd", "-onetime", "-client-insecure", "-confdir", "/nowhere"]);
    let plain = plain.args(["-node", &format!("http://127.0.0.1:{port}")]).run(WAIT);
    plain.check(!plain.stderr().contains("INSECURE"), "it is not about certificates");
    plain.check(plain.stderr().contains("no node is https://"), "it says that TLS is not spoken");
}

#[test]
fn a_password_file_is_read_at_each_use() {
    // A proxy in front of Consul that wants a password; so does no Consul by itself.
    let server = FakeHttp::start(|r| {
        let wanted = format!("Basic {}", base64(b"me:second"));
        if r.header("authorization") != Some(&wanted) {
            return Answer::reply(401, &[], format!("not with {}", r.header("authorization").unwrap_or("nothing")));
        }
        let news = Answer::consul_kv(7, &[("v", "1")]);
        if r.query("index").is_some() { news.after(secs(60)) } else { news }
    });
    let dir = TempDir::new();
    let file = dir.join("password");
    let toml = format!(
        "[source.kv]\nurl = 'consul://{}'\nusername = 'me'\npassword_file = '{}'\n[[template]]\ndest = '{}'\n\
         text = '{{{{ getv(\"/v\") }}}}'\n",
        server.addr(),
        file.display(),
        dir.join("out").display(),
    );
    let proc = pilotfish().arg("--log-level=debug").env("PILOTFISH_CONFIG", toml).spawn();
    proc.wait_line(&format!("cannot read the password file {}: No such file or directory", file.display()), WAIT);
    dir.write("password", "first\n");
    proc.wait_line("401 not with Basic ***", WAIT);
    dir.write("password", " second\n");
    wait_file(dir.join("out"), "1", WAIT);
    proc.check(!proc.stderr().contains(&base64(b"me:first")), "the password is shown");
}

#[test]
fn a_reload_sends_the_token_that_its_file_holds_now() {
    let server = FakeHttp::start(|r| match r.header("authorization") {
        Some("Bearer second") => Answer::reply(200, &[], ""),
        _ => Answer::reply(403, &[], ""),
    });
    let dir = TempDir::new();
    dir.write("keys/a", "1");
    let file = dir.write("token", "first\n");
    mode(&file, 0o600);
    let toml = format!(
        "[source.kv]\nurl = 'dir:{}'\n[[template]]\ntext = 'x'\ndest = '{}'\n\
         [app]\nreload = {{ url = 'http://{}/r', token_file = '{}' }}\n",
        dir.join("keys").display(),
        dir.join("out").display(),
        server.addr(),
        file.display(),
    );
    let proc = pilotfish().arg("--log-level=debug").env("PILOTFISH_CONFIG", toml).spawn();
    proc.wait_line("/r answers 403", WAIT);
    std::fs::remove_file(&file).unwrap();
    proc.wait_line(&format!("cannot read the token file {}: No such file or directory", file.display()), WAIT);
    dir.write("token", "second\n");
    proc.wait_line("the reload that failed has succeeded now", WAIT);
    let last = server.requests().pop().unwrap();
    assert_eq!((last.method.as_str(), last.header("authorization")), ("POST", Some("Bearer second")));

    // Basic authentication, with the password in the configuration.
    let server = FakeHttp::start(|_| Answer::reply(200, &[], ""));
    let toml = format!(
        "[source.kv]\nurl = 'dir:{}'\n[[template]]\ntext = 'y'\ndest = '{}'\n\
         [app]\nreload = {{ url = 'http://{}/r', username = 'u', password = '{SECRET}' }}\n",
        dir.join("keys").display(),
        dir.join("out").display(),
        server.addr(),
    );
    let proc = pilotfish().env("PILOTFISH_CONFIG", toml).spawn();
    let request = wait_until(WAIT, "the request", || server.requests().pop());
    assert_eq!(
        request.header("authorization"),
        Some(format!("Basic {}", base64(format!("u:{SECRET}").as_bytes())).as_str())
    );
    proc.signal(libc::SIGTERM);
    proc.expect_exit(Exit::Code(0), WAIT);
    proc.check(!proc.stderr().contains(SECRET), "the password is shown");
}

/// Whether these bytes are anywhere in what a process has written to.
fn memory_holds(pid: i32, bytes: &[u8]) -> bool {
    use std::os::unix::fs::FileExt;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    maps.lines().filter(|l| l.contains(" rw")).any(|line| {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let at = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let mut part = vec![0; (at(to) - at(from)) as usize];
        // Some of it cannot be read, such as a guard page.
        memory.read_exact_at(&mut part, at(from)).is_ok() && part.windows(bytes.len()).any(|w| w == bytes)
    })
}

#[test]
fn a_token_that_was_replaced_is_nowhere_in_memory() {
    let server = FakeHttp::start(|r| {
        let number = if r.header("x-consul-token") == Some("second") { 2 } else { 1 };
        let news = Answer::consul_kv(number, &[("v", &number.to_string())]);
        match r.query("index") {
            Some("2") => news.after(secs(60)),
            Some(_) => news.after(millis(200)),
            None => news,
        }
    });
    let dir = TempDir::new();
    let file = dir.write("token", SECRET);
    mode(&file, 0o600);
    let toml = format!(
        "[source.kv]\nurl = 'consul://{}'\ntoken_file = '{}'\n[[template]]\ndest = '{}'\n\
         text = '{{{{ getv(\"/v\") }}}} {SECRET}'\n",
        server.addr(),
        file.display(),
        dir.join("out").display(),
    );
    // The test finds what is there: a secret of the configuration itself stays.
    let proc = pilotfish().arg("-c").arg(dir.write("p.toml", &toml)).spawn();
    wait_file(dir.join("out"), &format!("1 {SECRET}"), WAIT);
    proc.check(memory_holds(proc.pid(), SECRET.as_bytes()), "the search should find what is in a template");
    drop(proc);
    let proc = pilotfish().arg("-c").arg(dir.write("p.toml", toml.replace(&format!(" {SECRET}"), ""))).spawn();
    wait_file(dir.join("out"), "1", WAIT);
    dir.write("new", "second");
    std::fs::rename(dir.join("new"), &file).unwrap();
    wait_file(dir.join("out"), "2", WAIT);
    // The request that hangs now is one with the second token.
    wait_until(WAIT, "a long poll", || server.requests().iter().any(|r| r.query("index") == Some("2")).then_some(()));
    proc.check(!memory_holds(proc.pid(), SECRET.as_bytes()), "the first token is still in memory");
}
