//! Where keys come from. Each watch is a worker thread that blocks (on a query or on inotify) and hands whole
//! snapshots to the loop; the loop knows no protocol. A worker never decides what a failure means for the app.

#[cfg(test)]
mod bed;
pub mod change;
pub mod consul;
pub mod dir;
pub mod etcd;
pub mod etcd2;
pub mod file;
pub mod http;
pub mod kubernetes;
mod notice;
pub mod services;
pub mod turns;

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::plan::{Millis, Plan, SourceKind};
use crate::store::{Reads, Snapshot};
use crate::sys;
use crate::sys::pipe::Pipe;

/// What a worker has to say.
pub enum News {
    /// The keys are these now. Also says that the source works.
    Data(Arc<Snapshot>),
    /// The source failed; it is tried again after so many milliseconds (0: it works, but what it is asked for is not there).
    Trouble(String, Millis),
    /// The source works; its keys are as they were.
    Recovered,
    /// Something somebody should know, and that is no trouble yet.
    Note(String),
}

/// One template rendered: what it read and what came of it.
pub struct Render {
    /// Index into `Plan::templates`.
    pub template: usize,
    /// What it looked at.
    pub reads: Reads,
    /// The content.
    pub content: Result<Vec<u8>>,
}

/// Ends all workers of a plan: those that sleep wake up, those that talk are cut off.
pub struct Stop {
    pipe: Arc<Pipe>,
}

impl Stop {
    /// Nothing is stopped yet.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn new() -> Result<Arc<Stop>> {
        let pipe = Pipe::new().map_err(|e| Error::io("make a pipe", &e))?;
        Ok(Arc::new(Stop { pipe: Arc::new(pipe) }))
    }

    /// Readable once all is stopped.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.reader()
    }

    /// Sleeps for so many milliseconds, or until all is stopped: true then.
    pub fn sleep(&self, ms: Millis) -> bool {
        sys::pipe::wait_readable(self.fd(), Some(ms))
    }

    /// Stops all.
    pub fn now(&self) {
        self.pipe.wake();
    }

    /// What comes from now on is not stopped.
    pub fn again(&self) {
        self.pipe.drain();
    }
}

/// What came of a request, as `Event::CommandEnded` says it.
pub type Done = std::result::Result<sys::process::Ended, String>;
/// That, and the request's id.
pub type Answer = (u32, Done);

/// Where requests leave their answers for the loop: those of one plan may still be under way when the next one rules.
pub struct Answers {
    all: Mutex<Vec<Answer>>,
    wake: RawFd,
}

impl Answers {
    /// `wake` is the writing end of the loop's self-pipe, which must outlive the requests.
    pub fn new(wake: RawFd) -> Arc<Answers> {
        Arc::new(Answers { all: Mutex::default(), wake })
    }

    /// Leaves what came of a request and wakes the loop.
    pub fn put(&self, answer: Answer) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
        sys::pipe::wake(self.wake);
    }

    /// The answers that came since the last call.
    pub fn take(&self) -> Vec<Answer> {
        std::mem::take(&mut *self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where workers put their news for the loop.
pub struct Post {
    news: Mutex<Vec<(usize, News)>>,
    renders: Mutex<Vec<(usize, Vec<Render>)>>,
    wake: RawFd,
}

impl Post {
    /// `wake` is the writing end of the loop's self-pipe, which must outlive the workers.
    pub fn new(wake: RawFd) -> Arc<Post> {
        Arc::new(Post { news: Mutex::default(), renders: Mutex::default(), wake })
    }

    /// Leaves news of a watch and wakes the loop. Newer keys take the place of older ones nobody has fetched.
    pub fn put(&self, watch: usize, news: News) {
        let mut all = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(news, News::Data(_)) {
            all.retain(|(w, n)| *w != watch || !matches!(n, News::Data(_)));
        }
        all.push((watch, news));
        drop(all);
        sys::pipe::wake(self.wake);
    }

    /// Leaves the renders of a group and wakes the loop.
    pub fn put_renders(&self, group: usize, renders: Vec<Render>) {
        self.renders.lock().unwrap_or_else(PoisonError::into_inner).push((group, renders));
        sys::pipe::wake(self.wake);
    }

    /// The renders that came since the last call.
    pub fn take_renders(&self) -> Vec<(usize, Vec<Render>)> {
        std::mem::take(&mut *self.renders.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything that came since the last call, in order.
    pub fn take(&self) -> Vec<(usize, News)> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// rustls needs more than 48 KiB; a default of 2 MiB would be nothing but address space spent.
pub const STACK: usize = 256 << 10;

/// Starts one worker for each watch of the plan.
///
/// # Errors
/// The system has no room for another thread.
pub fn start(plan: &Arc<Plan>, post: &Arc<Post>, stop: &Arc<Stop>) -> Result<()> {
    for w in 0..plan.watches.len() {
        let (plan, post, stop) = (plan.clone(), post.clone(), stop.clone());
        let worker = move || {
            let Some(watch) = plan.watches.get(w) else { return };
            let Some(source) = plan.sources.get(watch.source) else { return };
            let say = |news| post.put(w, news);
            match &source.kind {
                SourceKind::Consul(c) => consul::watch(c, &watch.prefix, &stop, &say),
                SourceKind::Etcd(e) if e.version == 2 => {
                    etcd2::watch(e, &watch.prefix, plan.scopes.get(w), &stop, &say)
                }
                SourceKind::Etcd(e) => etcd::watch::watch(e, &watch.prefix, &stop, &say),
                SourceKind::Kubernetes(k) => kubernetes::watch::watch(k, source.allow_empty, &stop, &say),
                SourceKind::Dir(root) => {
                    let mut readers = plan.templates.iter().filter(|t| t.inputs.iter().any(|i| i.watch == w));
                    let is_exact = !plan.templates.is_empty() && readers.all(|t| t.tree.is_some());
                    dir::watch(root, &watch.prefix, is_exact, Some(stop.fd()), &say);
                }
                SourceKind::Files { paths, filter } => {
                    file::watch(paths, filter, &watch.prefix, Some(stop.fd()), &say);
                }
                SourceKind::Services(catalog) => services::watch(catalog, &watch.prefix, &stop, &say),
                SourceKind::Env => say(News::Data(Arc::new(environment(&watch.prefix)))),
            }
        };
        sys::thread::start(STACK, Box::new(worker)).map_err(|e| Error::io("start a thread for a watch", &e))?;
    }
    Ok(())
}

/// The environment as keys, as confd's env backend maps them: lower case, each `_` a `/`.
fn environment(prefix: &str) -> Snapshot {
    let asked = crate::case::upper(prefix.trim_start_matches('/')).replace('/', "_");
    let mut entries = Vec::new();
    for (name, value) in std::env::vars_os() {
        use std::os::unix::ffi::OsStrExt;
        let Some(name) = name.to_str() else { continue };
        // confd asks for a key in capitals.
        if !name.starts_with(&asked) {
            continue;
        }
        let mut key = String::from("/");
        key.push_str(&crate::case::lower(name).replace('_', "/"));
        let key = crate::store::clean(&key);
        if key.starts_with(prefix) {
            entries.push((Arc::from(key), Arc::from(value.as_bytes())));
        }
    }
    Snapshot::new(entries)
}
