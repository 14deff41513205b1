//! Telling a catalog of our services: one thread for each, which registers it, says at each sign of life that it is well, and
//! takes it out. It decides how that is said and tried again; when, the state does.
//!
//! Of several Consul agents each keeps a catalog of its own: the service stays with the one that has it, until that fails
//! twice in a row, and leaves all that may have it.

mod consul;
mod course;
mod etcd;

use std::cell::Cell;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::course::{BRIDGE, Course, LEAVE, Next, REGISTER, Wish};
use crate::error::{Error, Result};
use crate::formats::json;
use crate::plan::{Catalog, Millis, Service, Tls};
use crate::source::http::Server;
use crate::source::turns::Turns;
use crate::source::{News, STACK, Stop};
use crate::sys;
use crate::sys::host::clock;
use crate::text::fill;
use crate::value::Value;

/// What became of a wish.
pub enum Word {
    /// The catalog has it, and knows that it is well; it did not before.
    Registered,
    /// The catalog has it no longer; or, `false`, gave no answer in time.
    Left(bool),
    /// The catalog cannot be told: why. Said once for each outage.
    Failed(String),
    /// It can be told again.
    Recovered,
}

/// One service's thread. Dropped, it ends at once and tells the catalog nothing.
pub struct Keeper {
    shared: Arc<Shared>,
}

/// What the loop and the thread share.
struct Shared {
    mail: Mutex<Mail>,
    /// Cuts off what the thread waits for. Written to with `mail` locked, and only when `Phase` allows it.
    stop: Arc<Stop>,
    wake: RawFd,
}

/// What lies between them.
struct Mail {
    /// The newest one, until the thread takes it.
    wish: Option<Wish>,
    phase: Phase,
    is_ended: bool,
    words: Vec<Word>,
}

/// What the thread does, and what may cut that off (the end may, always).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing: any wish.
    Waiting,
    /// Says that the service is well, or rests before the next try: a leave.
    Passing,
    /// Registers, which the server may do later whether we wait for it or not; or leaves. Nothing.
    Busy,
}

/// What a server is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Register,
    Pass,
    Leave,
}

/// Why it was not told.
enum Fail {
    /// It knows nothing of the service.
    Unknown,
    /// It has what should be made.
    Known,
    /// It did nothing: why.
    Refused(String),
    /// Nobody knows whether it did it: why.
    Lost(String),
}

impl From<String> for Fail {
    fn from(why: String) -> Fail {
        Fail::Lost(why)
    }
}

impl Fail {
    fn into_text(self) -> String {
        match self {
            Fail::Unknown => "it forgot the service at once".to_string(),
            Fail::Known => "it is there already".to_string(),
            Fail::Refused(why) | Fail::Lost(why) => why,
        }
    }
}

impl Shared {
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wish(&self, wish: Wish, cuts: &[Phase]) {
        let mut mail = self.mail();
        mail.wish = Some(wish);
        if cuts.contains(&mail.phase) {
            self.stop.now();
        }
    }

    /// Puts words into the mail, unless it is over.
    fn say(&self, words: Vec<Word>) {
        let mut mail = self.mail();
        if !words.is_empty() && !mail.is_ended {
            mail.words.extend(words);
            sys::pipe::wake(self.wake);
        }
    }
}

impl Keeper {
    /// Starts it; nothing is told yet. `wake` is the writing end of the loop's self-pipe, which must outlive the thread.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn start(catalog: &Catalog, service: &Service, wake: RawFd) -> Result<Keeper> {
        let mail = Mail { wish: None, phase: Phase::Passing, is_ended: false, words: Vec::new() };
        let shared = Arc::new(Shared { mail: Mutex::new(mail), stop: Stop::new()?, wake });
        let (ours, catalog, service) = (shared.clone(), catalog.clone(), service.clone());
        let work = move || run(&ours, &catalog, &service);
        sys::thread::start(STACK, Box::new(work)).map_err(|e| Error::io("start a thread for a service", &e))?;
        Ok(Keeper { shared })
    }

    /// It is well now: registers it if the catalog does not have it, and says so.
    pub fn pass(&self) {
        self.shared.wish(Wish::Pass(clock()), &[Phase::Waiting]);
    }

    /// It is to be told of no longer. What is on its way is cut off, unless it registers.
    pub fn leave(&self) {
        self.shared.wish(Wish::Leave(clock()), &[Phase::Waiting, Phase::Passing]);
    }

    /// What happened since the last call.
    pub fn news(&self) -> Vec<Word> {
        std::mem::take(&mut self.shared.mail().words)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.mail().is_ended = true;
        self.shared.stop.now();
    }
}

/// One request with its whole answer, before `until` (by `clock`).
fn ask(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, String)],
    body: &[u8],
    until: Millis,
) -> std::result::Result<(u16, Vec<u8>), String> {
    let stream = server.call(method, path, headers, body, until.saturating_sub(clock()))?;
    Ok((stream.status, stream.rest(until.saturating_sub(clock()))?))
}

/// Text as it is in JSON.
#[inline(never)]
fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    // Text always has a JSON form.
    let _ = json::write(&mut out, &Value::str(text), None);
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the service is, or may be.
struct Home {
    /// An agent's address; empty: the cluster.
    name: String,
    /// It took the registration.
    is_sure: bool,
}

/// The thread's own.
struct Worker<'a> {
    shared: &'a Shared,
    catalog: &'a Catalog,
    service: &'a Service,
    turns: Turns<'a>,
    /// Whoever looks up the servers has nothing new to say.
    is_heard: &'a Cell<bool>,
    lease: Option<etcd::Lease<'a>>,
    /// See `etcd::tell2`.
    is_flat: bool,
    course: Course,
    homes: Vec<Home>,
    /// The server whose turn it is failed once, and is asked once more.
    is_suspect: bool,
}

#[inline(never)]
fn run(shared: &Shared, catalog: &Catalog, service: &Service) {
    let (addresses, tls, _) = servers(catalog);
    // That servers fail is told by other words; that their names cannot be looked up is heard here alone.
    let is_heard = Cell::new(true);
    let say = |news| {
        if let News::Trouble(why, _) = news
            && !is_heard.replace(true)
        {
            shared.say(vec![Word::Failed(why)]);
        }
    };
    let lease = match catalog {
        Catalog::Etcd(e, prefix) if e.version != 2 => {
            Some(etcd::Lease::new(crate::source::etcd::watch::Client::new(e, &shared.stop), prefix, service))
        }
        Catalog::Etcd(..) | Catalog::Consul(_) => None,
    };
    let mut w = Worker {
        shared,
        catalog,
        service,
        turns: Turns::new((addresses, tls), ["", ""], &shared.stop, &say),
        is_heard: &is_heard,
        lease,
        is_flat: false,
        course: Course::new(service.ttl),
        homes: Vec::new(),
        is_suspect: false,
    };
    while w.turn() {}
}

/// Addresses and TLS of a catalog, and what it is called.
fn servers(catalog: &Catalog) -> (&[String], &Tls, &'static str) {
    match catalog {
        Catalog::Consul(c) => (&c.addresses, &c.tls, "Consul"),
        Catalog::Etcd(e, _) => (&e.endpoints, &e.tls, "etcd"),
    }
}

impl Worker<'_> {
    /// One look at the mail and what follows from it; false: it is over.
    fn turn(&mut self) -> bool {
        let mut mail = self.shared.mail();
        if mail.is_ended {
            return false;
        }
        self.shared.stop.again();
        if let Some(wish) = mail.wish.take() {
            self.course.wish(wish);
        }
        let next = self.course.next(clock());
        mail.phase = match next {
            Next::Wait(None) => Phase::Waiting,
            Next::Wait(_) | Next::Pass => Phase::Passing,
            Next::Leave(_) => Phase::Busy,
        };
        drop(mail);
        match next {
            Next::Wait(limit) => {
                sys::pipe::wait_readable(self.shared.stop.fd(), limit);
            }
            Next::Pass => self.pass(),
            Next::Leave(asked) => self.leave(asked),
        }
        true
    }

    /// Goes on to another phase, unless it is over or a leave is wished.
    fn enter(&self, phase: Phase) -> bool {
        let mut mail = self.shared.mail();
        let goes = !mail.is_ended && !matches!(mail.wish, Some(Wish::Leave(_)));
        if goes {
            mail.phase = phase;
        }
        goes
    }

    fn tell(&mut self, what: What, server: &Server, until: Millis) -> std::result::Result<(), Fail> {
        let s = self.service;
        match (self.catalog, &mut self.lease) {
            (Catalog::Consul(c), _) => consul::tell(c, s, what, server, until),
            (Catalog::Etcd(..), Some(lease)) => lease.tell(what, server, until),
            (Catalog::Etcd(e, prefix), None) => etcd::tell2((e, prefix, &mut self.is_flat), s, what, server, until),
        }
    }

    /// What a server's catalog is called: a cluster of etcd has one for all.
    fn home(&self, server: &Server) -> String {
        if let Catalog::Consul(_) = self.catalog { server.name.clone() } else { String::new() }
    }

    /// Says that the service is well, at the server whose turn it is.
    #[inline(never)]
    fn pass(&mut self) {
        self.is_heard.set(self.course.is_down);
        let server = self.turns.server();
        self.course.is_down = self.is_heard.replace(true);
        let Some(server) = server else { return };
        if self.course.next(clock()) != Next::Pass {
            return;
        }
        let home = self.home(&server);
        let mut is_new = false;
        let done = if self.homes.iter().any(|h| h.name == home) {
            self.tell(What::Pass, &server, self.course.until(clock()))
        } else {
            Err(Fail::Unknown)
        };
        let done = match done {
            Err(Fail::Unknown) => {
                is_new = true;
                self.course.is_told = false;
                self.register(&server, &home)
            }
            done => done.map(|()| true),
        };
        let mut words = Vec::new();
        match done {
            Ok(false) => return,
            Ok(true) => {
                self.turns.worked();
                self.is_suspect = false;
                self.homes.iter_mut().filter(|h| h.name == home).for_each(|h| h.is_sure = true);
                self.course.passed(is_new, &mut words);
            }
            // What was cut off is no failure.
            Err(_) if !self.enter(Phase::Passing) => return,
            Err(fail) => self.failed(&server, &fail.into_text(), &mut words),
        }
        self.shared.say(words);
    }

    /// Registers the service at a server, and says that it is well; false: a leave came in between.
    #[inline(never)]
    fn register(&mut self, server: &Server, home: &str) -> std::result::Result<bool, Fail> {
        if !self.enter(Phase::Busy) {
            return Ok(false);
        }
        let made = self.tell(What::Register, server, clock().saturating_add(REGISTER));
        self.homes.retain(|h| h.name != home);
        if matches!(made, Ok(()) | Err(Fail::Lost(_))) {
            self.homes.push(Home { name: home.to_string(), is_sure: made.is_ok() });
        }
        let goes = self.enter(Phase::Passing);
        made?;
        if goes {
            self.tell(What::Pass, server, self.course.until(clock()))?;
        }
        Ok(goes)
    }

    #[inline(never)]
    fn failed(&mut self, server: &Server, why: &str, words: &mut Vec<Word>) {
        let (addresses, _, name) = servers(self.catalog);
        let id = &self.service.id;
        // Elsewhere it would be there twice: an agent that has it is asked once more before another one.
        let is_home = matches!(self.catalog, Catalog::Consul(_)) && self.homes.iter().any(|h| h.name == server.name);
        let pause = if is_home && addresses.len() > 1 && !self.is_suspect {
            self.is_suspect = true;
            Some(course::AGAIN)
        } else {
            self.is_suspect = false;
            self.turns.failed(why)
        };
        self.course.failed(clock(), pause.unwrap_or(0));
        if pause.is_some() && !self.is_suspect {
            let text = if self.course.is_told {
                fill("cannot tell % at % that % is well: %", &[name, &server.name, id, why])
            } else {
                fill("cannot register % in % at %: %", &[id, name, &server.name, why])
            };
            self.course.outage(text, words);
        }
    }

    /// Takes the service out everywhere it may be, within `LEAVE` of when that was asked.
    #[inline(never)]
    fn leave(&mut self, asked: Millis) {
        let (addresses, tls, name) = servers(self.catalog);
        let until = asked.saturating_add(LEAVE);
        let is_asked = !self.homes.is_empty();
        // All members of a cluster are one home.
        let rounds = if let Catalog::Consul(_) = self.catalog { 1 } else { addresses.len() };
        let (mut pause, mut round, mut why) = (course::AGAIN, 0, None);
        loop {
            let mut left = std::mem::take(&mut self.homes);
            // The newest first.
            while let Some(home) = left.pop() {
                let server = if home.name.is_empty() {
                    self.turns.server()
                } else {
                    Some(Rc::new(Server::new(&home.name, tls, &self.shared.stop)))
                };
                let Some(server) = server else { return };
                let now = clock();
                let shares = (left.len() + 1) * rounds.saturating_sub(round).max(1);
                let share = until.saturating_sub(now) / shares as u64;
                let fail = match self.tell(What::Leave, &server, now.saturating_add(share)) {
                    Ok(()) | Err(Fail::Unknown) => continue,
                    Err(fail) => fail.into_text(),
                };
                if home.name.is_empty() {
                    self.turns.turn();
                }
                why = Some(fill("cannot deregister % from % at %: %", &[&self.service.id, name, &server.name, &fail]));
                self.homes.insert(0, home);
            }
            round += 1;
            let now = clock();
            let is_late = now >= until || now >= asked.saturating_add(BRIDGE) && round >= rounds;
            let is_done = !self.homes.iter().any(|h| h.is_sure);
            if is_done || is_late {
                let mut words = Vec::new();
                self.course.left(is_asked && self.homes.is_empty(), why.filter(|_| !is_done), &mut words);
                return self.shared.say(words);
            }
            // Readable only when it is over.
            if self.shared.stop.sleep(pause) {
                return;
            }
            pause = pause.saturating_mul(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::Service;

    /// What the unit tests tell of.
    pub fn service() -> Service {
        Service {
            id: "app-H".to_string(),
            name: "app".to_string(),
            address: "10.0.0.1".to_string(),
            port: 80,
            tags: vec!["t1".to_string()],
            ttl: 4_000,
            notes: String::new(),
            enable_tag_override: false,
            deregister_after: String::new(),
        }
    }
}
