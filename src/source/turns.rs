//! What all sources with several servers have in common: the servers take turns, a round in which all fail is one
//! failure with a pause behind it, and of what works only news are told. It knows no protocol.

use std::sync::Arc;

use super::http::Server;
use super::{News, Stop};
use crate::backoff::{Backoff, Random};
use crate::plan::Millis;
use crate::store::Snapshot;
use crate::text::fill;

/// The servers of a source as one watch sees them.
pub struct Turns<'a> {
    servers: Vec<Arc<Server>>,
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
    pub fn new(addresses: &[String], names: [&'a str; 2], stop: &Stop, say: &'a dyn Fn(News)) -> Turns<'a> {
        let servers = addresses.iter().map(|a| Arc::new(Server::new(a, stop))).collect();
        let random = Random::new(crate::sys::host::random());
        let backoff = Backoff::default();
        Turns { servers, at: 0, tried: 0, backoff, random, names, say, last: None, is_down: false }
    }

    /// Whose turn it is.
    pub fn server(&self) -> Option<Arc<Server>> {
        self.servers.get(self.at).cloned()
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
        let pause = self.backoff.failed(&mut self.random);
        (self.say)(News::Trouble(text, pause));
        Some(pause)
    }

    /// The server did what it should: the next failure is a first one.
    pub fn worked(&mut self) {
        self.tried = 0;
        self.backoff.succeeded();
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
