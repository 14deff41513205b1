//! pilotfish on Consul keys as the Consul tests start it: one source, templates whose text stands in the
//! configuration, a folder of its own, debug lines on. It decides nothing about what is right.

use crate::util::*;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Long enough for a busy machine; nothing takes this long.
pub const LONG: Duration = secs(40);

/// A pilotfish to be.
pub struct Setup {
    dir: TempDir,
    top: String,
    source: String,
    files: String,
    args: Vec<String>,
    envs: Vec<(String, String)>,
    app: Option<String>,
}

impl Setup {
    /// With one source: `consul://host:port/prefix`.
    pub fn new(url: &str) -> Setup {
        Setup {
            dir: TempDir::new(),
            top: String::new(),
            source: format!("[source.kv]\nurl = {}\n", text(url)),
            files: String::new(),
            args: vec!["--log-level".into(), "debug".into()],
            envs: Vec::new(),
            app: None,
        }
    }
    /// Of a server at host:port.
    pub fn at(addr: &str) -> Setup {
        Setup::new(&format!("consul://{addr}"))
    }
    /// A line more in the source's table.
    pub fn source(mut self, line: &str) -> Setup {
        let _ = writeln!(self.source, "{line}");
        self
    }
    /// A Go template rendered to this file of its folder.
    pub fn file(self, name: &str, keys: &[&str], template: &str) -> Setup {
        self.template(name, "go", keys, template)
    }
    /// A template of this dialect.
    pub fn template(mut self, name: &str, dialect: &str, keys: &[&str], template: &str) -> Setup {
        let dest = self.path(name).display().to_string();
        let keys: Vec<String> = keys.iter().map(|k| text(k)).collect();
        let _ = writeln!(
            self.files,
            "[[template]]\nname = {}\ndialect = '{dialect}'\nkeys = [{}]\ndest = {}\ntext = {}",
            text(&format!("{name}.t")),
            keys.join(", "),
            text(&dest),
            text(template)
        );
        self
    }
    pub fn args(mut self, args: &[&str]) -> Setup {
        self.args.extend(args.iter().map(|a| a.to_string()));
        self
    }
    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.envs.push((name.into(), value.into()));
        self
    }
    /// The probe shows this file at its start and at each HUP.
    pub fn app(mut self, file: &str) -> Setup {
        self.app = Some(file.into());
        self
    }
    /// Where a file of its folder is, or will be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join("out").join(name)
    }
    /// Starts it.
    pub fn spawn(self) -> Fish {
        self.dir.mkdir("out");
        let toml = [self.top.as_str(), &self.source, &self.files].join("\n");
        let config = self.dir.write("pilotfish.toml", toml);
        let mut cmd = pilotfish().arg("--config").arg(&config).args(&self.args);
        if let Some(file) = &self.app {
            cmd = cmd.arg("--").arg(static_app()).arg("config").arg(self.path(file));
        }
        for (name, value) in &self.envs {
            cmd = cmd.env(name, value);
        }
        Fish { dir: self.dir, proc: cmd.spawn() }
    }
}

/// A TOML text; JSON's escapes are TOML's too.
fn text(t: &str) -> String {
    serde_json::to_string(t).unwrap()
}

/// A running pilotfish.
pub struct Fish {
    pub dir: TempDir,
    pub proc: Proc,
}

impl Fish {
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join("out").join(name)
    }
    /// What a file holds now; none while it is not there.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.path(name)).ok()
    }
    pub fn text(&self, name: &str) -> Option<String> {
        self.bytes(name).map(|b| String::from_utf8_lossy(&b).into_owned())
    }
    /// Waits until the file holds exactly this; gives the time it was seen.
    pub fn wait(&self, name: &str, content: impl AsRef<[u8]>) -> Instant {
        self.wait_for(name, content, LONG)
    }
    pub fn wait_for(&self, name: &str, content: impl AsRef<[u8]>, deadline: Duration) -> Instant {
        let (start, content) = (Instant::now(), content.as_ref());
        loop {
            let now = self.bytes(name);
            if now.as_deref() == Some(content) {
                return Instant::now();
            }
            if start.elapsed() > deadline {
                let short = |b: &[u8]| String::from_utf8_lossy(b).chars().take(300).collect::<String>();
                let held = now.map_or("nothing".to_string(), |b| format!("{:?}", short(&b)));
                self.proc.fail(&format!("{name} holds {held} after {deadline:?}, not {:?}", short(content)));
            }
            std::thread::sleep(millis(1));
        }
    }
    /// The file holds this now.
    #[track_caller]
    pub fn holds(&self, name: &str, content: &str) {
        let now = self.text(name);
        self.proc.check(now.as_deref() == Some(content), &format!("{name} holds {now:?}, not {content:?}"));
    }
    /// How many lines hold this.
    pub fn count(&self, pattern: &str) -> usize {
        self.proc.lines_matching(pattern).len()
    }
    /// How often the file was rendered.
    pub fn renders(&self, name: &str) -> usize {
        let path = self.path(name).display().to_string();
        self.count(&format!("{path} in sync")) + self.count(&format!("{path} out of sync"))
    }
    /// The file was rendered so often, and no more. It is there before the line that says so is read.
    pub fn expect_renders(&self, name: &str, times: usize, why: &str) {
        wait_until(secs(20), "the line of a rendered file", || (self.renders(name) >= times).then_some(()));
        self.check(self.renders(name) == times, why);
    }
    /// How often the app looked at its file after its start.
    pub fn reloads(&self) -> usize {
        self.count("config: ").saturating_sub(1)
    }
    /// How many outages were said to begin, and to end.
    pub fn outages(&self) -> (usize, usize) {
        (self.count("ERROR cannot read"), self.count(" answers again after "))
    }
    /// Waits until an outage is said and gives the line.
    pub fn wait_outage(&self, n: usize) -> Line {
        self.proc.wait_nth_line(n, "ERROR cannot read", LONG)
    }
    /// Waits until the end of an outage is said.
    pub fn wait_recovery(&self, n: usize) -> Line {
        self.proc.wait_nth_line(n, " answers again after ", LONG)
    }
    #[track_caller]
    pub fn check(&self, holds: bool, what: &str) {
        self.proc.check(holds, what);
    }
    /// Ends it; it must end well.
    pub fn end(&self) {
        self.proc.signal(libc::SIGTERM);
        self.proc.expect_exit(Exit::Code(0), secs(20));
    }
}
