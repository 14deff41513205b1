//! The black-box test bed: real processes, real servers, and waiting that has a deadline. It decides nothing about
//! pilotfish; it starts things, watches what they print, and says everything it knows when an expectation fails.
//!
//! A test file begins with
//! `#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice,
//! unsafe_code, missing_docs, dead_code)]` and `mod util;`.

#![allow(unused_imports)] // each test file uses its own part

mod consul;
mod etcd;
mod fake;
mod http;
mod kube;
mod process;
mod recorder;
mod scratch;
mod tls;

pub use consul::{Cluster, Consul};
pub use etcd::{Etcd, etcd_put};
pub use fake::{Answer, FakeHttp, Request, base64};
pub use http::{Reply, http};
pub use kube::{Kube, Wire};
pub use process::{Cmd, Exit, Line, Proc, Row, Stream, children_of, open_fds, processes, rss_of};
pub use recorder::recorder;
pub use scratch::{carry_emulator, empty_root, in_pid_namespace, static_app};
pub use tls::{Ask, Cert, DAY, Form, Key, OVER_TLS, Pki, TlsServer, day};

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// `n` seconds.
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// `n` milliseconds.
pub const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The program under test: the one PILOTFISH_BIN names (build.sh: the release binary), else what cargo just built.
pub fn pilotfish_bin() -> PathBuf {
    match std::env::var_os("PILOTFISH_BIN") {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => PathBuf::from(env!("CARGO_BIN_EXE_pilotfish")),
    }
}

/// Where the program under test and its emulator are, when it is one of another processor (./build.sh test-aarch64), and
/// PILOTFISH_BIN the program that starts both (tests/apps/emulated.rs).
pub fn emulated() -> Option<PathBuf> {
    std::env::var_os("PILOTFISH_EMULATED").filter(|home| !home.is_empty()).map(PathBuf::from)
}

/// The last signal there is; or that an emulator hands on: qemu keeps real-time ones for itself, and moves the others.
pub fn last_signal() -> i32 {
    if emulated().is_some() { 31 } else { 64 }
}

/// The bytes that an emulator holds beside the program's own: itself, and what it has translated.
pub fn emulator_memory() -> u64 {
    if emulated().is_some() { 16 << 20 } else { 0 }
}

/// A command that runs the program under test in a clean environment.
pub fn pilotfish() -> Cmd {
    Cmd::new(pilotfish_bin())
}

/// The path of a real server (`consul`, `prometheus`, `nginx`, `haproxy`, `tini`, `etcd`, `etcd35`, `kube-apiserver`). A missing one fails the test: a
/// skipped test proves nothing.
pub fn server_bin(name: &str) -> PathBuf {
    let home = match std::env::var_os("PILOTFISH_SERVERS") {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers"),
    };
    let path = home.join("bin").join(name);
    assert!(path.exists(), "the server {name} is not in {}: run ./build.sh servers {name}", home.display());
    path
}

/// A port of 127.0.0.1 that nothing listened on a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Looks every few milliseconds until `look` gives something, and panics naming `what` at the deadline.
pub fn wait_until<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} in vain for {what}");
        sleep(millis(5));
    }
}

/// Waits until the file holds exactly this.
pub fn wait_file(path: impl AsRef<Path>, content: &str, deadline: Duration) {
    let path = path.as_ref();
    let mut last = None;
    let start = Instant::now();
    while start.elapsed() < deadline {
        last = std::fs::read(path).ok();
        if last.as_deref() == Some(content.as_bytes()) {
            return;
        }
        sleep(millis(5));
    }
    match last {
        None => panic!("{} is not there after {deadline:?}; wanted:\n{content}", path.display()),
        Some(bytes) => panic!(
            "{} is not as wanted after {deadline:?}; it holds:\n{}\nwanted:\n{content}",
            path.display(),
            String::from_utf8_lossy(&bytes)
        ),
    }
}

/// A folder of its own, removed with all it holds when dropped, unless PILOTFISH_KEEP is set.
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// A new, empty folder.
    pub fn new() -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pilotfish-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        TempDir { path }
    }
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// The path of a file in it; nothing is created.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
    /// Writes a file, with the folders it needs, and gives its path.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }
    /// What a file in it holds.
    pub fn read(&self, name: impl AsRef<Path>) -> String {
        let path = self.path.join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
    }
    /// Makes a folder in it.
    pub fn mkdir(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }
    /// Names in one of its folders (`""` for itself), sorted: to see that nothing was left behind.
    pub fn names(&self, folder: impl AsRef<Path>) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path.join(folder))
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if std::env::var_os("PILOTFISH_KEEP").is_some() {
            eprintln!("kept: {}", self.path.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
