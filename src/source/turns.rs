//! What all sources with several servers have in common: the servers take turns, a round in which all fail is one
//! failure with a pause behind it, and of what works only news are told. An address `srv://RECORD` stands for what DNS
//! says of it, asked again after each round in which all failed. It knows no protocol.

use std::sync::Arc;

use super::http::Server;
use super::{News, Stop};
use crate::backoff::{Backoff, Random};
use crate::dns;
use crate::error::Result;
use crate::plan::Millis;
use crate::store::Snapshot;
use crate::text::fill;

/// The servers of a source as one watch sees them.
pub struct Turns<'a> {
    addresses: &'a [String],
    stop: &'a Stop,
    /// Those of whom we have heard, so that none is made twice.
    known: Vec<(String, Arc<Server>)>,
    /// Whose turns they are; empty: to be found out.
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
    pub fn new(addresses: &'a [String], names: [&'a str; 2], stop: &'a Stop, say: &'a dyn Fn(News)) -> Turns<'a> {
        let (known, servers) = (Vec::new(), Vec::new());
        let random = Random::new(crate::sys::host::random());
        let backoff = Backoff::default();
        Turns {
            addresses,
            stop,
            known,
            servers,
            at: 0,
            tried: 0,
            backoff,
            random,
            names,
            say,
            last: None,
            is_down: false,
        }
    }

    /// Whose turn it is. `None`: all is stopped.
    #[inline(never)]
    pub fn server(&mut self) -> Option<Arc<Server>> {
        while self.servers.is_empty() {
            if let Err(e) = self.find() {
                let [prefix, source] = self.names;
                let pause = self.trouble(fill("cannot read % from %: %", &[prefix, source, &e.text]));
                if self.stop.sleep(pause) {
                    return None;
                }
            }
        }
        self.servers.get(self.at).cloned()
    }

    /// Finds out who the servers are.
    fn find(&mut self) -> Result<()> {
        let mut found = Vec::new();
        for address in self.addresses {
            match address.strip_prefix("srv://") {
                None => found.push(address.clone()),
                Some(record) => found.extend(dns::srv_endpoints(record)?.iter().map(|e| ["http://", e].concat())),
            }
        }
        self.at = 0;
        for address in found {
            let server = match self.known.iter().find(|(known, _)| *known == address) {
                Some((_, server)) => server.clone(),
                None => {
                    let server = Arc::new(Server::new(&address, self.stop));
                    self.known.push((address, server.clone()));
                    server
                }
            };
            self.servers.push(server);
        }
        Ok(())
    }

    fn trouble(&mut self, text: String) -> Millis {
        self.is_down = true;
        let pause = self.backoff.failed(&mut self.random);
        (self.say)(News::Trouble(text, pause));
        pause
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
        if self.addresses.iter().any(|a| a.starts_with("srv://")) {
            self.servers.clear();
        }
        Some(self.trouble(text))
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
