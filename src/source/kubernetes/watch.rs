//! The loop that follows objects of Kubernetes: a list, then the watch from its version on. A stream that ended (each does,
//! after `timeoutSeconds`) goes on behind the last version that came whole, bookmarks included; what cannot be gone on from
//! is listed again, and only what is different by then is news. After an outage everything is listed again: the cluster may
//! have been restored meanwhile, and a version of its other history could be met with silence.
//!
//! A connection that is dead and says nothing is given up soon after the server should have ended the stream.

use std::time::Instant;

use super::super::consul::GAP;
use super::super::http::{self, Server, Stream};
use super::super::turns::Turns;
use super::super::{News, Stop};
use super::{Fail, Kind, Objects};
use crate::plan::{Kubernetes, Millis};
use crate::secret::{AUTHORIZATION, Headers};
use crate::store::Snapshot;
use crate::text::fill;

/// How long a server may take to answer, and to end a stream after its time.
const GRACE: Millis = 10_000;
/// A stream that lived this long did work: its end is no failure.
const LIVED: u128 = 1_000;
/// More pages than a million objects have.
const PAGES: u32 = 20_000;

/// What is known of the objects.
struct Watcher<'a> {
    k: &'a Kubernetes,
    what: &'a str,
    allow_empty: bool,
    turns: Turns<'a>,
    /// Up to where they are known; empty: not at all.
    version: String,
    objects: Objects,
    /// They changed since they were handed over.
    is_dirty: bool,
    /// It was told that the object is not there.
    is_missing: bool,
    /// It was there once.
    was_there: bool,
    /// When keys were handed over last.
    published: Instant,
    /// When the stream that works was asked for.
    since: Option<Instant>,
}

/// Watches the objects until `stop`.
#[inline(never)]
pub fn watch(k: &Kubernetes, allow_empty: bool, stop: &Stop, say: &dyn Fn(News)) {
    let what = &k.what();
    let mut w = Watcher {
        k,
        what,
        allow_empty,
        turns: Turns::new((&k.addresses, &k.tls), [what, "Kubernetes"], stop, say),
        version: String::new(),
        objects: Objects::default(),
        is_dirty: false,
        is_missing: false,
        was_there: false,
        published: Instant::now(),
        since: None,
    };
    let (mut used, mut pause) = (0, 0);
    while !stop.sleep(pause) {
        pause = 0;
        let Some(server) = w.turns.server() else { return };
        w.since = None;
        let Err(fail) = w.follow(&server);
        if w.is_dirty {
            w.publish();
        }
        if w.since.is_some_and(|s| s.elapsed().as_millis() >= LIVED) {
            used = 0;
            w.turns.worked();
            if fail.kind == Kind::Plain {
                w.turns.turn();
                continue;
            }
        }
        let remedy = match fail.kind {
            Kind::Plain => 0,
            Kind::Token => 1,
            Kind::History => {
                w.version.clear();
                2
            }
        };
        // Each remedy is tried at once, but only once until a stream has worked again.
        if used & remedy != remedy {
            used |= remedy;
            continue;
        }
        if let Some(p) = w.turns.failed(&fail.text) {
            w.version.clear();
            w.is_missing = false;
            pause = p;
        }
    }
}

/// A function that only ever returns an error.
enum Never {}

impl Watcher<'_> {
    /// Follows the objects at one server until something fails.
    #[inline(never)]
    fn follow(&mut self, server: &Server) -> Result<Never, Fail> {
        if self.version.is_empty() {
            self.list(server)?;
            self.publish();
        }
        let seconds = (self.turns.shorten(self.k.wait) / 1000).max(2);
        let begin = Instant::now();
        let mut stream = self.call(server, &super::watch_path(self.k, &self.version, seconds))?;
        self.since = Some(begin);
        if !self.is_missing {
            self.turns.recovered();
        }
        let time = seconds.saturating_mul(1000).saturating_add(GRACE);
        loop {
            let limit = if self.is_dirty {
                GAP.saturating_sub(since(self.published))
            } else {
                time.saturating_sub(since(begin))
            };
            match stream.line(limit)? {
                Some(line) => {
                    let (version, is_dirty) = super::event(self.k, &line, &mut self.objects)?;
                    self.version = version;
                    self.is_dirty |= is_dirty;
                }
                None if self.is_dirty => self.publish(),
                None => {
                    // It may have lost its way for a long time.
                    self.since = None;
                    return Err("the stream did not end in time".to_string().into());
                }
            }
        }
    }

    /// Reads all objects at one version, page by page.
    #[inline(never)]
    fn list(&mut self, server: &Server) -> Result<(), Fail> {
        let (mut objects, mut next) = (Objects::default(), String::new());
        for _ in 0..PAGES {
            let body = self.call(server, &super::list_path(self.k, &next))?.rest(self.k.wait.max(GRACE))?;
            let (version, more) = super::page(self.k, &body, &mut objects)?;
            if more.is_empty() {
                (self.objects, self.version) = (objects, version);
                return Ok(());
            }
            next = more;
        }
        Err("its pages do not end".to_string().into())
    }

    /// Hands the keys over if they are others than before, or tells that there is no such object.
    #[inline(never)]
    fn publish(&mut self) {
        self.is_dirty = false;
        self.published = Instant::now();
        if self.k.name.is_empty() || self.objects.is_there || self.allow_empty {
            self.was_there = true;
            self.is_missing = false;
            if !self.turns.hand(Snapshot::new(self.objects.entries.clone())) {
                self.turns.recovered();
            }
        } else if !std::mem::replace(&mut self.is_missing, true) {
            let pattern =
                if self.was_there { "% is gone: keeping its last content" } else { "% does not exist: waiting for it" };
            self.turns.missing(fill(pattern, &[self.what]));
        }
    }

    /// One request that must be answered with 200.
    #[inline(never)]
    fn call<'s>(&self, server: &'s Server, path: &str) -> Result<Stream<'s>, Fail> {
        let mut headers = Headers::default();
        headers.push("accept", "application/json".to_string());
        headers.push_secret(AUTHORIZATION, "Bearer ", &self.k.token)?;
        headers.push_basic(&self.k.basic)?;
        let stream = server.call("GET", path, &headers, &[], GRACE)?;
        let status = stream.status;
        if status == 200 {
            return Ok(stream);
        }
        let body = stream.rest(GRACE)?;
        let said = super::sentence(&body).map_or(body, String::into_bytes);
        let secrets: Vec<&str> = headers.iter().skip(1).map(|h| h.1.as_str()).collect();
        Err(super::refusal(self.k, status, &http::words(&said, &secrets)))
    }
}

fn since(begin: Instant) -> Millis {
    u64::try_from(begin.elapsed().as_millis()).unwrap_or(Millis::MAX)
}
