//! What all sources with several servers have in common: the servers take turns, a round in which all fail is one
//! failure with a pause behind it, and of what works only news are told. Where DNS names them, it is asked at first and
//! after each such round. It knows no protocol.

use std::rc::Rc;
use std::sync::Arc;

use super::http::Server;
use super::{News, Stop};
use crate::backoff::{Backoff, Random};
use crate::dns;
use crate::error::Result;
use crate::plan::{Millis, SRV, SRV_TLS, Tls};
use crate::store::Snapshot;
use crate::text::fill;

/// The servers of a source as one watch sees them.
pub struct Turns<'a> {
    /// As they were given: servers, and names of SRV records that name servers.
    addresses: &'a [String],
    tls: &'a Tls,
    /// What the names stand for, sorted.
    known: Vec<String>,
    /// The names are to be looked up.
    is_stale: bool,
    stop: &'a Stop,
    servers: Vec<Rc<Server>>,
    at: usize,
    /// Servers that failed in this round.
    tried: usize,
    backoff: Backoff,
    random: Random,
    /// The prefix, and what the source is called.
    names: [&'a str; 2],
    say: &'a dyn Fn(News),
    last: Option<Arc<Snapshot>>,
    /// Trouble was told, and not its end.
    is_down: bool,
}

impl<'a> Turns<'a> {
    /// All servers, the first one's turn. `names`: the prefix, and what the source is called.
    #[inline(never)]
    pub fn new(
        (addresses, tls): (&'a [String], &'a Tls),
        names: [&'a str; 2],
        stop: &'a Stop,
        say: &'a dyn Fn(News),
    ) -> Turns<'a> {
        let random = Random::new(crate::sys::host::random());
        let (known, servers, backoff) = (Vec::new(), Vec::new(), Backoff::default());
        let (at, tried, last, is_down) = (0, 0, None, false);
        let is_stale = true;
        Turns { addresses, tls, known, is_stale, stop, servers, at, tried, backoff, random, names, say, last, is_down }
    }

    /// Whose turn it is. Waits until the names of servers can be looked up; nobody's when all is stopped.
    #[inline(never)]
    pub fn server(&mut self) -> Option<Rc<Server>> {
        while self.is_stale {
            match self.look_up() {
                // Those of before may do.
                Err(why) if self.servers.is_empty() => {
                    self.is_down = true;
                    let pause = self.backoff.failed(&mut self.random);
                    (self.say)(News::Trouble(why.into_text(), pause));
                    if self.stop.sleep(pause) {
                        return None;
                    }
                }
                _ => self.is_stale = false,
            }
        }
        self.servers.get(self.at).cloned()
    }

    fn look_up(&mut self) -> Result<()> {
        let mut found = Vec::new();
        for address in self.addresses {
            let (scheme, record) = match (address.strip_prefix(SRV), address.strip_prefix(SRV_TLS)) {
                (Some(record), _) => ("http://", record),
                (None, Some(record)) => ("https://", record),
                (None, None) => {
                    found.push(address.clone());
                    continue;
                }
            };
            for server in dns::srv_endpoints(record)? {
                found.push([scheme, &server].concat());
            }
        }
        let mut sorted = found.clone();
        sorted.sort_unstable();
        if sorted != self.known {
            self.servers = found.iter().map(|a| Rc::new(Server::new(a, self.tls, self.stop))).collect();
            (self.known, self.at) = (sorted, 0);
        }
        Ok(())
    }

    /// The next one's turn.
    pub fn turn(&mut self) {
        self.at = (self.at + 1) % self.servers.len().max(1);
    }

    /// A wait less up to its sixteenth, so that a fleet does not ask in step.
    pub fn shorten(&mut self, wait: Millis) -> Millis {
        wait.saturating_sub(self.random.below(wait / 16 + 1))
    }

    /// The server failed: the next one's turn. Some pause, and a word of it, when that was the last of a round.
    #[inline(never)]
    pub fn failed(&mut self, why: &str) -> Option<Millis> {
        self.tell();
        let [prefix, source] = self.names;
        let name = self.servers.get(self.at).map_or("", |s| s.name.as_str());
        let text = fill("cannot read % from % at %: %", &[prefix, source, name, why]);
        self.turn();
        self.tried += 1;
        if self.tried < self.servers.len() {
            return None;
        }
        self.tried = 0;
        self.is_down = true;
        self.is_stale = true;
        let pause = self.backoff.failed(&mut self.random);
        (self.say)(News::Trouble(text, pause));
        Some(pause)
    }

    /// All is well with the servers, but what they are asked for is not there.
    pub fn missing(&mut self, text: String) {
        self.recovered();
        self.is_down = true;
        (self.say)(News::Trouble(text, 0));
    }

    /// The server did what it should: the next failure is a first one.
    pub fn worked(&mut self) {
        self.tell();
        self.tried = 0;
        self.backoff.succeeded();
    }

    /// Says what its connections gave to think about, be they good or not.
    #[inline(never)]
    fn tell(&mut self) {
        for note in self.servers.get(self.at).map(|s| s.notes()).unwrap_or_default() {
            (self.say)(News::Note(note));
        }
    }

    /// All is well, whether there are news or not.
    pub fn recovered(&mut self) {
        if std::mem::take(&mut self.is_down) {
            (self.say)(News::Recovered);
        }
    }

    /// Hands the keys over if they are others than before: true then, and all is well.
    #[inline(never)]
    pub fn hand(&mut self, snapshot: Snapshot) -> bool {
        if self.last.as_ref().is_some_and(|l| l.same(&snapshot)) {
            return false;
        }
        let snapshot = Arc::new(snapshot);
        self.last = Some(snapshot.clone());
        self.is_down = false;
        (self.say)(News::Data(snapshot));
        true
    }
}
