//! The roots of containers without a container engine: programs with the libraries they need, and the folders and files
//! of nginx's image. What runs in one sees nothing else, so paths can stay as the article has them.

use crate::util::*;
use std::path::{Path, PathBuf};

/// The article's template and resource, byte by byte.
pub static TEMPLATE: &str = include_str!("../data/coreos/nginx.conf.tmpl");
pub static RESOURCE: &str = include_str!("../data/coreos/nginx.toml");

/// Where confd's image has the template; nginx's configuration; its log.
pub const SRC: &str = "etc/confd/templates/nginx.conf.tmpl";
pub const CONF: &str = "etc/nginx/nginx.conf";
const ERRORS: &str = "var/log/nginx/error.log";

/// A root with nginx as its image has it, and these programs: (from, path inside).
pub fn image(programs: &[(PathBuf, &str)]) -> TempDir {
    let nginx = server_bin("nginx");
    let mut files = vec![(nginx.clone(), "usr/sbin/nginx".to_string())];
    files.extend(programs.iter().map(|(from, to)| (from.clone(), to.to_string())));
    for from in files.iter().map(|(from, _)| from.clone()).collect::<Vec<_>>() {
        files.extend(libraries(&from));
    }
    let files: Vec<(&Path, &str)> = files.iter().map(|(from, to)| (from.as_path(), to.as_str())).collect();
    let root = empty_root(&files);
    // Its package is unpacked in a folder: usr/sbin/nginx, etc/nginx.
    let package = std::fs::canonicalize(nginx).unwrap().ancestors().nth(3).unwrap().to_path_buf();
    root.write("etc/nginx/mime.types", std::fs::read(package.join("etc/nginx/mime.types")).unwrap());
    // The user's number is root's: a user namespace may hold no other.
    root.write("etc/passwd", "root:x:0:0::/:\nnginx:x:0:0::/:\n");
    root.write("etc/group", "root:x:0:\nnginx:x:0:\n");
    for dir in ["proc", "etc/nginx/conf.d", "var/log/nginx", "var/lib/nginx", "var/run"] {
        root.mkdir(dir);
    }
    root
}

/// What the loader needs for a program (ldd(1)), with the paths inside; nothing for a static one.
fn libraries(program: &Path) -> Vec<(PathBuf, String)> {
    let ldd = Cmd::new("ldd").arg(program).run(secs(20)).stdout();
    let paths = ldd.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':'));
    paths.map(|path| (path.into(), path[1..].to_string())).collect()
}

/// What the template of the article makes of these servers: a line for each where the loop was.
pub fn rendered(template: &str, servers: &[String]) -> String {
    let (head, rest) = template.split_once("{{range getvs \"/test/*\"}}").expect("the loop of the article");
    let (_, tail) = rest.split_once("{{end}}").unwrap();
    let lines: String = servers.iter().map(|s| format!("\n            server {s};\n        ")).collect();
    [head, &lines, tail].concat()
}

/// nginx's master among the children of a process, once it has a worker.
pub fn master_of(parent: i32) -> i32 {
    wait_until(secs(30), "nginx's master with a worker", || {
        let title = |pid| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let all = children_of(parent).into_iter().map(|p| p.pid);
        all.into_iter().find(|pid| title(*pid).contains("master process") && !workers_of(*pid).is_empty())
    })
}

/// nginx's complaints. Only root may set the groups of its workers.
pub fn errors_of(root: &TempDir) -> String {
    let all = std::fs::read_to_string(root.join(ERRORS)).unwrap_or_default();
    all.lines().filter(|l| is_root() || !l.contains("initgroups(")).map(|l| format!("{l}\n")).collect()
}

/// The processes nginx's master has started that have not ended, those that finish their last requests too.
pub fn workers_of(master: i32) -> Vec<i32> {
    children_of(master).into_iter().filter(|p| p.state != 'Z').map(|p| p.pid).collect()
}

/// A program in a root with processes, mounts and a network of its own: nothing reaches it, and any port is free.
pub fn in_own_net(root: &Path, program: &str) -> Cmd {
    let mut cmd = Cmd::new("unshare").args(["--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]);
    if !is_root() {
        cmd = cmd.args(["--user", "--map-root-user"]);
    }
    cmd.arg(format!("--root={}", root.display())).args(["--wd=/", "--", program])
}

/// A program in a root, which shares all else with us: a container with the host's processes and network.
pub fn in_root(root: &Path, program: &str) -> Cmd {
    let mut cmd = Cmd::new("unshare");
    if !is_root() {
        cmd = cmd.args(["--user", "--map-root-user"]);
    }
    cmd.arg(format!("--root={}", root.display())).args(["--wd=/", "--", program])
}

/// A program beside the one that `in_pid_namespace` has started as this process: the same root and processes.
pub fn beside(pid: i32, program: &str) -> Cmd {
    let mut cmd = Cmd::new("nsenter").arg(format!("--target={pid}")).args(["--pid", "--mount", "--root"]);
    if !is_root() {
        cmd = cmd.args(["--user", "--preserve-credentials"]);
    }
    cmd.args(["--wd=/", "--", program]).cwd("/")
}

fn is_root() -> bool {
    // SAFETY: plain system call.
    unsafe { libc::geteuid() == 0 }
}
