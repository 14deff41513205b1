//! SRV records (RFC 2782): the query, the answer, and the order in which servers are to be tried. Names are absolute;
//! no search list is used. The message goes out in `ask`; an answer that is not to our question, or no DNS, is an
//! error and never an empty list. Addresses of hosts are looked up in `hosts`, by the same query and reading.

mod ask;
mod hosts;

use crate::backoff::Random;
use crate::error::{Error, Result};
use crate::sys::host;

pub use hosts::lookup;

/// One server that offers a service.
#[derive(Clone, PartialEq, Eq)]
pub struct Srv {
    /// Its name, with a dot at its end; `.` alone: the service is not offered here.
    pub target: String,
    /// Its port.
    pub port: u16,
    /// The lowest is tried first.
    pub priority: u16,
    /// Its share among those of one priority.
    pub weight: u16,
}

/// The length of a message's head (RFC 1035, 4.1.1).
const HEAD: usize = 12;
/// The type of these records.
const SRV: u8 = 33;

/// Looks up `_service._proto.name`, or `name` alone where both are empty. In the order in which to try them; empty when
/// there is no such name.
///
/// # Errors
/// `Kind::Config` for what is no name, `Kind::Transient` when there is no answer or a bad one.
pub fn lookup_srv(service: &str, proto: &str, name: &str) -> Result<Vec<Srv>> {
    if service.is_empty() && proto.is_empty() {
        return servers(name);
    }
    servers(&["_", service, "._", proto, ".", name].concat())
}

/// The servers of a record such as `_etcd-client._tcp.example.com`, each as `host:port`, in the order in which to try
/// them.
///
/// # Errors
/// As `lookup_srv`, and when there is none.
pub fn srv_endpoints(record: &str) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for s in servers(record)? {
        let host = s.target.trim_end_matches('.');
        if !host.is_empty() {
            all.push([host, ":", &s.port.to_string()].concat());
        }
    }
    if all.is_empty() { Err(Error::transient(cannot(record, "there are none"))) } else { Ok(all) }
}

fn cannot(name: &str, why: &str) -> String {
    ["cannot look up the SRV records of ", name, ": ", why].concat()
}

#[inline(never)]
fn servers(name: &str) -> Result<Vec<Srv>> {
    let seed = host::random();
    let Some(query) = query(seed as u16, name, SRV) else {
        return Err(Error::config(cannot(name, "it is no name of a host or service")));
    };
    let answers = ask::ask(&ask::Conf::read(), std::slice::from_ref(&query));
    let why = match answers.first().filter(|a| !a.is_empty()) {
        None => "no answer from the name servers in /etc/resolv.conf",
        Some(answer) => match decode(answer, &query) {
            Ok(found) => return Ok(order(found, &mut Random::new(seed))),
            Err(why) => why,
        },
    };
    Err(Error::transient(cannot(name, why)))
}

/// The question for records of a type; `None` for what is no name.
fn query(id: u16, name: &str, kind: u8) -> Option<Vec<u8>> {
    let mut q = Vec::new();
    q.extend(id.to_be_bytes());
    q.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]); // recursion desired, one question
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        if label.is_empty() || !label.bytes().all(is_plain) {
            return None;
        }
        q.push(u8::try_from(label.len()).ok().filter(|n| *n < 64)?);
        q.extend(label.as_bytes());
    }
    q.extend([0, 0, kind, 0, 1]); // the class IN
    (q.len() <= HEAD + 255 + 4).then_some(q)
}

/// What names of hosts and services are made of. Nothing else gets from a name server into a file.
fn is_plain(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')
}

/// Two bytes as a number.
fn pair(m: &[u8], at: usize) -> Option<usize> {
    match m.get(at..)? {
        [a, b, ..] => Some(usize::from(*a) << 8 | usize::from(*b)),
        _ => None,
    }
}

fn decode(m: &[u8], query: &[u8]) -> std::result::Result<Vec<Srv>, &'static str> {
    let mut all = Vec::new();
    for (data, _) in records(m, query)? {
        let number = |i| pair(m, data + i).map(|n| n as u16);
        let (Some(priority), Some(weight), Some(port), Some(target)) =
            (number(0), number(2), number(4), name(m, data + 6))
        else {
            return Err(GARBLED);
        };
        all.push(Srv { target, port, priority, weight });
    }
    Ok(all)
}

const GARBLED: &str = "the answer is garbled";

/// Where the data of the records of the type asked for begins and ends, in an answer to this query; none when the
/// server says that there is no such name.
#[inline(never)]
fn records(m: &[u8], query: &[u8]) -> std::result::Result<Vec<(usize, usize)>, &'static str> {
    let question = query.get(HEAD..).unwrap_or(&[]);
    // Letters of either case are one (RFC 4343); the lengths in between are below 64, where there are no letters.
    let echoed = m.get(HEAD..HEAD + question.len()).is_some_and(|q| q.eq_ignore_ascii_case(question));
    let flags = pair(m, 2).unwrap_or(0);
    if m.get(..2) != query.get(..2) || flags & 0x8000 == 0 || pair(m, 4) != Some(1) || !echoed {
        return Err("the answer is not to the question");
    }
    match flags & 15 {
        0 => {}
        3 => return Ok(Vec::new()),
        _ => return Err("the name server refuses"),
    }
    if flags & 0x200 != 0 {
        return Err("the answer is cut off");
    }
    walk(m, HEAD + question.len(), question.get(question.len().saturating_sub(4)..).unwrap_or(&[])).ok_or(GARBLED)
}

fn walk(m: &[u8], mut at: usize, kind: &[u8]) -> Option<Vec<(usize, usize)>> {
    let mut all = Vec::new();
    for _ in 0..pair(m, 6)? {
        let head = name_end(m, at)?;
        let data = head.checked_add(10)?;
        let end = data.checked_add(pair(m, head + 8)?)?;
        m.get(data..end)?;
        // Others may stand beside them: a CNAME that leads to them, signatures.
        if m.get(head..head + 4)? == kind {
            all.push((data, end));
        }
        at = end;
    }
    Some(all)
}

/// Where what stands behind a name begins.
fn name_end(m: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *m.get(at)? {
            0 => return Some(at + 1),
            n if n < 64 => at += 1 + usize::from(n),
            n if n >= 192 => return Some(at + 2),
            _ => return None,
        }
    }
}

/// The name that stands there, parts of it perhaps further in front (RFC 1035, 4.1.4). Each jump goes to before where the last
/// one went, so it ends.
fn name(m: &[u8], mut at: usize) -> Option<String> {
    let mut text = String::new();
    let mut before = at;
    loop {
        match *m.get(at)? {
            0 => break,
            n if n < 64 => {
                let label = m.get(at + 1..at + 1 + usize::from(n))?;
                if !label.iter().all(|b| is_plain(*b)) || text.len() + label.len() > 254 {
                    return None;
                }
                text.extend(label.iter().map(|b| char::from(*b)));
                text.push('.');
                at += 1 + usize::from(n);
            }
            n if n >= 192 => {
                at = pair(m, at)? & 0x3FFF;
                if at >= before {
                    return None;
                }
                before = at;
            }
            _ => return None,
        }
    }
    if text.is_empty() {
        text.push('.');
    }
    Some(text)
}

/// In the order of RFC 2782: by priority, and by chance among equals, as their weights say. One without weight has a very
/// small chance beside others, and its share where none has any.
fn order(mut rest: Vec<Srv>, random: &mut Random) -> Vec<Srv> {
    let share = |s: &Srv| u64::from(s.weight) * 256 + 1;
    let mut all = Vec::new();
    while let Some(first) = rest.iter().map(|s| s.priority).min() {
        let total = rest.iter().filter(|s| s.priority == first).map(share).sum();
        let mut left = random.below(total);
        let found = rest.iter().position(|s| {
            let is_it = s.priority == first && left < share(s);
            if s.priority == first {
                left = left.wrapping_sub(share(s));
            }
            is_it
        });
        let Some(i) = found else { break };
        all.push(rest.remove(i));
    }
    all
}

#[cfg(test)]
mod tests;
