//! The loop that follows a prefix of etcd v3: all keys at one revision, then the stream of events from the next one on,
//! at one endpoint after the other. A stream that was cut goes on behind the last event that came whole. After a round
//! in which every endpoint failed everything is read again: meanwhile the cluster may have been made anew, and no
//! revision of the old one means anything in it.
//!
//! Silence proves nothing: etcd says something every ten minutes at most, and a frozen member keeps its connections. So
//! after the wait of a blocking query (60 s) one key's name is read, which takes a quorum; what keeps silent for another
//! ten seconds is given up. That also keeps a token alive that ends unless it is used (after five minutes).

use std::sync::Arc;
use std::time::Instant;

use super::super::consul::GAP;
use super::super::http::{self, Server, Stream};
use super::super::turns::Turns;
use super::super::{News, Stop};
use super::{Fail, Head, Kind, Load};
use crate::base64;
use crate::plan::Change;
use crate::plan::{Etcd, Millis};
use crate::secret::{self, Headers, Hidden};
use crate::store::{Entry, Snapshot};
use crate::sys::host::clock;
use crate::text::fill;
use crate::value::Value;

/// How long a server may take to answer: etcd itself gives up a read after 7 s.
const GRACE: Millis = 10_000;
/// A stream that lived this long did work: its end is no failure of the endpoint.
const LIVED: u128 = 1_000;

/// What is known of a prefix.
struct Watcher<'a> {
    etcd: &'a Etcd,
    prefix: &'a str,
    turns: Turns<'a>,
    token: Hidden,
    /// As it was when it was last sent.
    password: Hidden,
    is_beta: bool,
    is_narrow: bool,
    /// Up to where the keys are known; revision 0: not at all.
    at: Head,
    /// The keys as etcd spells them.
    raw: Snapshot,
    /// Events that came whole and are not in `raw` yet.
    events: Vec<Entry>,
    /// Stands for the value of a key that was removed.
    gone: Arc<[u8]>,
    /// When keys were handed over last.
    published: Instant,
    /// Since when the stream works.
    since: Option<Instant>,
    /// How long a server may take to answer.
    patience: Millis,
}

#[inline(never)]
fn watcher<'a>(etcd: &'a Etcd, prefix: &'a str, stop: &'a Stop, say: &'a dyn Fn(News)) -> Watcher<'a> {
    Watcher {
        etcd,
        prefix,
        turns: Turns::new((&etcd.endpoints, &etcd.tls), [prefix, "etcd"], stop, say),
        token: Hidden::default(),
        password: Hidden::default(),
        is_beta: false,
        is_narrow: false,
        at: Head::default(),
        raw: Snapshot::default(),
        events: Vec::new(),
        gone: Arc::from(&b"gone"[..]),
        published: Instant::now(),
        since: None,
        patience: GRACE,
    }
}

/// Who asks one thing at a time, with what it takes to be let in.
pub struct Client<'a>(Watcher<'a>);

impl<'a> Client<'a> {
    /// One that has asked nothing yet; calls end when `stop` says so.
    pub fn new(etcd: &'a Etcd, stop: &'a Stop) -> Client<'a> {
        Client(watcher(etcd, "", stop, &|_| {}))
    }

    #[inline(never)]
    fn change(&mut self, server: &Server, key: &str, change: &Change) -> Result<(), String> {
        let until = clock().saturating_add(GRACE);
        let mut words = [String::new(), base64::encode(key.as_bytes()), String::new(), "0".to_string()];
        match change {
            Change::Set(value, ttl) => {
                words[2] = base64::encode(value);
                if *ttl > 0 {
                    words[0] = ttl.to_string();
                    self.make(server, GRANT, &mut words, until)?;
                }
                self.make(server, PUT, &mut words, until)
            }
            Change::Delete(all) => {
                self.make(server, DELETE, &mut words, until)?;
                // A key that ends in `/` is shown without it.
                words[1] = base64::encode([key, "/"].concat().as_bytes());
                self.make(server, DELETE, &mut words, until)?;
                if *all {
                    let (from, to) = super::interval(key, true);
                    words[1] = base64::encode(from.as_bytes());
                    words[2] = base64::encode(to.as_bytes());
                    self.make(server, DELETE_ALL, &mut words, until)?;
                }
                Ok(())
            }
        }
    }

    /// Makes calls at this server, one after the other, before `until` (by `clock`). `words`: a time to live, a key, a
    /// value or the end of an interval, all but the first in base64; and a lease, which a call may set.
    ///
    /// # Errors
    /// Why one failed, in words; `NO_LEASE` also when its answer lacks what it must hold.
    #[inline(never)]
    pub fn make(
        &mut self,
        server: &Server,
        calls: &[Call],
        words: &mut [String; 4],
        until: Millis,
    ) -> Result<(), String> {
        for (path, pattern, first, must) in calls {
            let all = words.each_ref().map(String::as_str);
            let said = self.ask(server, path, &fill(pattern, all.get(*first..).unwrap_or(&[])), until)?;
            let found = super::number(super::field(&said, "result").unwrap_or(&said), must);
            if found == 0 && !must.is_empty() {
                return Err(NO_LEASE.to_string());
            }
            if *must == "ID" {
                words[3] = found.to_string();
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn ask(&mut self, server: &Server, path: &str, body: &str, until: Millis) -> Result<Value, String> {
        let mut used = 0;
        loop {
            self.0.patience = until.saturating_sub(clock());
            let asked = self.0.authenticate(server).and_then(|()| self.0.ask(server, path, body, self.0.patience));
            match asked {
                Ok(body) => {
                    let text = String::from_utf8_lossy(&body);
                    let read = crate::formats::json::parse_each(&text, "", &mut |_| false);
                    return read.map_err(|why| fill("the answer is none of etcd's: %", &[&why]));
                }
                // A lease is what is not there, no path; and no other interval helps here.
                Err(fail) if fail.kind == Kind::Denied || fail.text.contains(NO_LEASE) => return Err(fail.text),
                Err(fail) => {
                    let remedy = self.0.remedy(fail.kind);
                    if used & remedy == remedy {
                        return Err(fail.text);
                    }
                    used |= remedy;
                }
            }
        }
    }
}

/// What etcd says of a lease that has ended.
pub const NO_LEASE: &str = "lease not found";

/// Path and body of a call, with a `%` for each word from this one on, and the number its answer must hold, if any.
pub type Call = (&'static str, &'static str, usize, &'static str);

/// A lease is granted ...
pub const GRANT: &[Call] = &[("/lease/grant", r#"{"TTL":"%"}"#, 0, "ID")];
/// ... and a key is put that has it.
pub const PUT: &[Call] = &[("/kv/put", r#"{"key":"%","value":"%","lease":"%"}"#, 1, "")];
/// The lease is prolonged, and the key is still there: somebody may have removed that alone.
pub const KEEP: &[Call] = &[
    ("/lease/keepalive", LEASE, 3, "TTL"),
    ("/kv/range", r#"{"key":"%","count_only":true,"serializable":true}"#, 1, "count"),
];
/// The key goes ...
pub const DELETE: &[Call] = &[("/kv/deleterange", r#"{"key":"%"}"#, 1, "")];
/// ... and its lease, where etcd 3.3 has that, and later ones too.
pub const REVOKE: &[Call] = &[("/kv/lease/revoke", LEASE, 3, "")];
const DELETE_ALL: &[Call] = &[("/kv/deleterange", r#"{"key":"%","range_end":"%"}"#, 1, "")];
const LEASE: &str = r#"{"ID":"%"}"#;

/// Makes a change, once, at the first endpoint that takes it.
///
/// # Errors
/// Why none did, as the last one says it.
#[inline(never)]
pub fn change(etcd: &Etcd, key: &str, change: &Change, stop: &Stop) -> Result<(), String> {
    let mut client = Client::new(etcd, stop);
    loop {
        let Some(server) = client.0.turns.server() else { return Err("stopped".to_string()) };
        let Err(why) = client.change(&server, key, change) else { return Ok(()) };
        if client.0.turns.failed(&why).is_some() {
            return Err(why);
        }
    }
}

/// Watches a prefix until `stop`.
#[inline(never)]
pub fn watch(etcd: &Etcd, prefix: &str, stop: &Stop, say: &dyn Fn(News)) {
    let mut w = watcher(etcd, prefix, stop, say);
    let (mut used, mut pause) = (0, 0);
    while !stop.sleep(pause) {
        pause = 0;
        let Some(server) = w.turns.server() else { return };
        w.since = None;
        let Err(mut fail) = w.follow(&server);
        if let Err(other) = w.publish() {
            fail = other;
        }
        if w.since.is_some_and(|s| s.elapsed().as_millis() >= LIVED) {
            used = 0;
            w.turns.worked();
            if fail.kind == Kind::Plain {
                w.turns.turn();
                continue;
            }
        }
        // Each remedy is tried at once, but only once until a stream has worked again.
        let remedy = w.remedy(fail.kind);
        if used & remedy != remedy {
            used |= remedy;
            continue;
        }
        if let Some(p) = w.turns.failed(&fail.text) {
            w.at = Head::default();
            pause = p;
        }
    }
}

/// A function that only ever returns an error.
enum Never {}

impl Watcher<'_> {
    /// Changes what may help against such a failure. A bit of its own for each remedy; 0: there is none.
    fn remedy(&mut self, kind: Kind) -> u8 {
        match kind {
            Kind::Plain => 0,
            Kind::Token => {
                self.token = Hidden::default();
                u8::from(self.etcd.basic.is_some())
            }
            Kind::Denied => {
                self.is_narrow = !self.is_narrow;
                2
            }
            Kind::Gateway => {
                self.is_beta = !self.is_beta;
                4
            }
            Kind::History => {
                self.at = Head::default();
                8
            }
        }
    }

    /// Follows the prefix at one endpoint until something fails.
    #[inline(never)]
    fn follow(&mut self, server: &Server) -> Result<Never, Fail> {
        self.authenticate(server)?;
        let (start, end) = super::interval(self.prefix, self.is_narrow);
        let is_new = self.at.revision == 0;
        if is_new {
            self.read(server, &start, &end)?;
            self.publish()?;
        }
        let body = super::watch_body(&start, &end, self.at.revision.saturating_add(1), self.is_beta);
        let mut stream = self.call(server, "/watch", &body)?;
        let mut load = Load::default();
        let first = stream.line(GRACE)?.ok_or_else(|| "no answer in time".to_string())?;
        let first = super::message(&first, self.prefix, &mut load, &self.gone)?;
        if !first.is_created {
            return Err("the answer is no watch of etcd's".to_string().into());
        }
        // Right after a read, a lower revision is that of a member that lags: it will come to ours.
        let known = Head { revision: if is_new { 0 } else { self.at.revision }, ..self.at };
        self.is_same(first.head, known)?;
        self.since = Some(Instant::now());
        self.turns.recovered();
        let wait = self.turns.shorten(self.etcd.wait);
        loop {
            let since = u64::try_from(self.published.elapsed().as_millis()).unwrap_or(GAP);
            let limit = if self.events.is_empty() { wait } else { GAP.saturating_sub(since) };
            match stream.line(limit)? {
                Some(line) => {
                    let m = super::message(&line, self.prefix, &mut load, &self.gone)?;
                    if !m.is_part {
                        // Without events it says: nothing happened up to this revision.
                        let newest = if load.last.is_empty() { m.head.revision } else { load.newest };
                        self.at.revision = self.at.revision.max(newest);
                        self.events.append(&mut load.entries);
                        load = Load::default();
                    }
                }
                None if !self.events.is_empty() => self.publish()?,
                None => {
                    let since = self.since.take(); // what does not answer now is a failure, however long it lived
                    let body = super::range_body(start.as_bytes(), &end, 0, true);
                    let body = self.ask(server, "/kv/range", &body, GRACE)?;
                    let (head, _) = super::page(&body, self.prefix, &mut Load::default(), &self.gone)?;
                    self.is_same(head, self.at)?;
                    self.since = since;
                }
            }
        }
    }

    fn is_same(&mut self, head: Head, known: Head) -> Result<(), Fail> {
        if !head.follows(known) {
            return Err(Fail {
                kind: Kind::History,
                text: "it is another cluster, or an older state of it".to_string(),
            });
        }
        self.at.term = head.term;
        Ok(())
    }

    /// Reads all keys at one revision, page by page.
    #[inline(never)]
    fn read(&mut self, server: &Server, start: &str, end: &str) -> Result<(), Fail> {
        let mut load = Load::default();
        let mut at = Head::default();
        let mut from = start.as_bytes().to_vec();
        loop {
            let body = super::range_body(&from, end, at.revision, false);
            let body = self.ask(server, "/kv/range", &body, self.etcd.wait.max(GRACE))?;
            let (head, is_more) = super::page(&body, self.prefix, &mut load, &self.gone)?;
            if at.revision == 0 {
                at = head;
            }
            if !is_more {
                break;
            }
            if load.last < from {
                return Err("its pages do not go on".to_string().into());
            }
            from.clone_from(&load.last);
            from.push(0); // the very next key
        }
        self.events.clear();
        self.raw = Snapshot::new(load.entries);
        self.at = at;
        Ok(())
    }

    /// Takes in the events that came, and hands the keys over if they are others than before.
    #[inline(never)]
    fn publish(&mut self) -> Result<(), Fail> {
        if !self.events.is_empty() {
            let events = std::mem::take(&mut self.events);
            let applied = super::apply(&self.raw, events, &self.gone);
            self.raw = applied.inspect_err(|_| self.at = Head::default())?;
        }
        self.published = Instant::now();
        if self.at.revision > 0 {
            self.turns.hand(super::cleaned(&self.raw));
        }
        Ok(())
    }

    /// Gets a token if there is a user and none yet. An etcd without authentication says so, and needs none.
    #[inline(never)]
    fn authenticate(&mut self, server: &Server) -> Result<(), Fail> {
        let Some((user, password)) = &self.etcd.basic else { return Ok(()) };
        if !self.token.is_empty() {
            return Ok(());
        }
        self.password = secret::read(password, "password")?;
        let body = Hidden::new(super::authenticate_body(user, &self.password));
        let body = match self.call(server, "/auth/authenticate", &body) {
            Err(f) if f.text.contains("authentication is not enabled") => return Ok(()),
            Err(f) => return Err(Fail { text: ["cannot authenticate: ", &f.text].concat(), ..f }),
            Ok(stream) => stream.rest(self.patience)?,
        };
        let text = String::from_utf8_lossy(&body);
        let token = crate::formats::json::parse_each(&text, "", &mut |_| false).ok();
        let token = token.as_ref().and_then(|v| super::field(v, "token")?.as_str()).unwrap_or("");
        if token.is_empty() || token.bytes().any(|b| !(b'!'..=b'~').contains(&b)) {
            return Err("cannot authenticate: the answer holds no token".to_string().into());
        }
        self.token = Hidden::new(token.to_string());
        Ok(())
    }

    /// One call of the gateway that must be answered with 200. A server without a leader is to say so at once.
    #[inline(never)]
    fn call<'s>(&self, server: &'s Server, path: &str, body: &str) -> Result<Stream<'s>, Fail> {
        let mut headers = Headers::default();
        headers.push("content-type", "application/json".to_string());
        headers.push("grpc-metadata-hasleader", "true".to_string());
        if !self.token.is_empty() {
            headers.push("authorization", self.token.to_string());
        }
        let path = [if self.is_beta { "/v3beta" } else { "/v3" }, path].concat();
        let stream = server.post(&path, &headers, body, self.patience)?;
        let status = stream.status;
        if status == 200 {
            return Ok(stream);
        }
        let body = stream.rest(self.patience)?;
        let said = super::sentence(&body).map_or(body, String::into_bytes);
        Err(super::refusal(status, &http::words(&said, &[&self.token, &self.password])))
    }

    /// The same with its whole answer, which must be there within `wait` milliseconds more.
    #[inline(never)]
    fn ask(&self, server: &Server, path: &str, body: &str, wait: Millis) -> Result<Vec<u8>, Fail> {
        Ok(self.call(server, path, body)?.rest(wait)?)
    }
}
