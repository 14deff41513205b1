//! The world of a FROM-scratch container, without a container engine: a static app, an empty root folder, and a
//! process namespace in which the program is PID 1.

use super::{Cmd, TempDir};
use std::ffi::OsStr;
use std::fs::{OpenOptions, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The static app of tests/apps/probe.rs (its head lists what it can do), built on first use.
pub fn static_app() -> PathBuf {
    static APP: OnceLock<PathBuf> = OnceLock::new();
    APP.get_or_init(build_app).clone()
}

fn build_app() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps/probe.rs");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(dir).unwrap();
    let app = dir.join("probe");
    // Test processes may want it at the same time: the first builds it. The lock ends with the file.
    let lock = OpenOptions::new().create(true).append(true).open(dir.join("probe.lock")).unwrap();
    // SAFETY: plain system call on a descriptor that is open.
    assert_eq!(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) }, 0);
    let made = |p: &Path| std::fs::metadata(p).and_then(|m| m.modified()).ok();
    if made(&app).is_some_and(|built| Some(built) > made(&source)) {
        return app;
    }
    let new = dir.join("probe.new");
    let mut said = String::new();
    // musl links by itself; a machine without that target may have a static C library of its own.
    for target in [target_with("musl"), target_with("gnu")] {
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.args(["--edition", "2024", "-O", "-Cpanic=abort", "-Cstrip=symbols", "-Ctarget-feature=+crt-static"]);
        rustc.args(["--crate-name", "probe", "--target", &target]).arg("-o").arg(&new).arg(&source);
        let done = rustc.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("rustc can be run");
        if done.status.success() {
            std::fs::rename(&new, &app).unwrap();
            return app;
        }
        said.push_str(&String::from_utf8_lossy(&done.stderr));
    }
    panic!("cannot build {} (rustup target add {}):\n{said}", source.display(), target_with("musl"));
}

fn target_with(libc: &str) -> String {
    format!("{}-unknown-linux-{libc}", std::env::consts::ARCH)
}

/// A folder to be the root: nothing in it but these files, each (from, path inside, without the first slash).
pub fn empty_root(files: &[(&Path, &str)]) -> TempDir {
    let root = TempDir::new();
    for (from, to) in files {
        let to = root.join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, &to).unwrap_or_else(|e| panic!("cannot copy {}: {e}", from.display()));
        std::fs::set_permissions(&to, Permissions::from_mode(0o755)).unwrap();
    }
    root
}

/// `program` as PID 1 of a process namespace of its own, in `root` if one is given (then it is a path inside it).
/// /proc shows that namespace; a root has a /proc only if it has a folder for it. The `Proc` is `unshare`, which waits
/// and ends as the program does: signals go to the program by `Proc::signal_inner`.
pub fn in_pid_namespace(root: Option<&Path>, program: impl AsRef<OsStr>) -> Cmd {
    let mut cmd = Cmd::new("unshare").args(["--pid", "--mount", "--fork", "--kill-child"]);
    // SAFETY: plain system call.
    if unsafe { libc::geteuid() } != 0 {
        cmd = cmd.args(["--user", "--map-root-user"]);
    }
    if root.is_none_or(|r| r.join("proc").is_dir()) {
        cmd = cmd.arg("--mount-proc");
    }
    if let Some(root) = root {
        carry_emulator(root);
        let mut option = std::ffi::OsString::from("--root=");
        option.push(root);
        cmd = cmd.arg(option).arg("--wd=/");
    }
    cmd.arg("--").arg(program)
}

/// Puts what an emulated program needs into a root that it is to run in, under the same names; else nothing.
pub fn carry_emulator(root: &Path) {
    for file in super::emulated().iter().flat_map(|home| std::fs::read_dir(home).unwrap().flatten()) {
        let to = root.join(file.path().strip_prefix("/").unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(file.path(), to).unwrap();
    }
}
