//! The addresses of a host: of an address itself, from /etc/hosts, or by A and AAAA records, with resolv.conf's list of
//! domains for short names; and the order in which to try them (RFC 6724, as far as it shows here). It connects to
//! nothing: whether there is a way to an address is asked of the kernel alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use super::ask::{self, Conf};
use super::{query, records};
use crate::sys::host;

/// The types A and AAAA.
const A: u8 = 1;
const AAAA: u8 = 28;
/// Most addresses of one host.
const MOST: usize = 48;

/// The addresses of `name`, in the order in which to try them; none when it has none, or nobody knows. May take as long
/// as resolv.conf's time-out for each name that is tried.
pub fn lookup(name: &str) -> Vec<IpAddr> {
    if let Ok(ip) = name.parse() {
        return vec![ip];
    }
    let mut found = listed(&std::fs::read("/etc/hosts").unwrap_or_default(), name);
    if found.is_empty() {
        found = search(&Conf::read(), name, &mut |conf, name| resolve(conf, name));
    }
    found.truncate(MOST);
    order(found)
}

/// What a file of hosts says: an address and its names on each line.
#[inline(never)]
fn listed(file: &[u8], name: &str) -> Vec<IpAddr> {
    let mut all = Vec::new();
    for line in file.split(|b| *b == b'\n') {
        let Some(Ok(line)) = line.split(|b| *b == b'#').next().map(str::from_utf8) else { continue };
        let mut words = line.split_ascii_whitespace();
        let ip: Option<IpAddr> = words.next().and_then(|ip| ip.parse().ok());
        if words.any(|word| word.eq_ignore_ascii_case(name)) {
            all.extend(ip);
        }
    }
    all
}

/// Asks for a name: a short one below each of the domains, until one of them is there, then as it stands.
fn search(conf: &Conf, name: &str, resolve: &mut dyn FnMut(&Conf, &str) -> Option<Vec<IpAddr>>) -> Vec<IpAddr> {
    let dots = name.bytes().filter(|b| *b == b'.').count();
    if dots < conf.ndots && !name.ends_with('.') {
        for domain in &conf.search {
            if let Some(found) = resolve(conf, &[name, ".", domain].concat()) {
                return found;
            }
        }
    }
    resolve(conf, name).unwrap_or_default()
}

/// The addresses of exactly this name. `None`: there is no such name. None at all: it has none, or nobody says.
fn resolve(conf: &Conf, name: &str) -> Option<Vec<IpAddr>> {
    let id = host::random();
    let four = query(id as u16, name, A)?;
    // Two questions at once are told apart by their numbers.
    let six = query(id as u16 ^ 1, name, AAAA)?;
    let questions = [four, six];
    let answers = ask::ask(conf, &questions);
    let mut all = Vec::new();
    for (question, m) in questions.iter().zip(&answers) {
        for (data, end) in records(m, question).unwrap_or_default() {
            let data = m.get(data..end).unwrap_or(&[]);
            if let Ok(ip) = <[u8; 4]>::try_from(data) {
                all.push(IpAddr::from(ip));
            } else if let Ok(ip) = <[u8; 16]>::try_from(data) {
                all.push(IpAddr::from(ip));
            }
        }
    }
    let is_unknown = all.is_empty() && answers.first().and_then(|m| m.get(3)).is_some_and(|b| b & 15 == 3);
    if is_unknown { None } else { Some(all) }
}

/// Those without a way to them last; then by RFC 6724's table of policies, IPv6 before IPv4, as they came among equals.
#[inline(never)]
fn order(all: Vec<IpAddr>) -> Vec<IpAddr> {
    if all.len() < 2 {
        return all;
    }
    let mut ranked: Vec<(u8, IpAddr)> = Vec::new();
    for ip in all {
        let rank = rank(ip);
        let at = ranked.partition_point(|(r, _)| *r <= rank);
        ranked.insert(at, (rank, ip));
    }
    ranked.into_iter().map(|(_, ip)| ip).collect()
}

/// The lowest is tried first. A datagram's socket that is connected sends nothing, but knows its way.
fn rank(ip: IpAddr) -> u8 {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let own = UdpSocket::bind((any, 0)).and_then(|s| s.connect((ip, 65_535)).and_then(|()| s.local_addr()));
    let (label, precedence) = policy(ip);
    match own {
        Err(_) => 200,
        Ok(own) if policy(own.ip()).0 != label => 150 - precedence,
        Ok(_) => 50 - precedence,
    }
}

/// Label and precedence of RFC 6724, 2.1.
fn policy(ip: IpAddr) -> (u8, u8) {
    let IpAddr::V6(six) = ip else { return (4, 35) };
    match six.segments() {
        _ if six.is_loopback() => (0, 50),
        [0x2002, ..] => (2, 30),
        [0x2001, 0, ..] => (5, 5),
        [0xFC00..=0xFDFF, ..] => (13, 3),
        _ => (1, 40),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ips(text: &str) -> Vec<IpAddr> {
        text.split_ascii_whitespace().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn an_address_is_its_own() {
        for ip in ["127.0.0.1", "::1", "255.255.255.255", "2001:db8::1"] {
            assert_eq!(lookup(ip), ips(ip));
        }
        assert_eq!(lookup(""), ips(""));
    }

    #[test]
    fn a_file_of_hosts_is_read_as_its_page_says() {
        let file = b"# 9.9.9.9 web\n10.0.0.1\tweb www.example # 9.9.9.8 db\n10.0.0.2 db\n\n10.0.0.3\n\xff bad\n\
            ::2 WEB\r\nx web\n10.0.0.4 webb # web\n10.0.0.5 b\xff web\n 10.0.0.6 \xc3\xbc.example";
        assert_eq!(listed(file, "web"), ips("10.0.0.1 ::2"));
        assert_eq!(listed(file, "Www.Example"), ips("10.0.0.1"));
        assert_eq!(listed(file, "db"), ips("10.0.0.2"));
        assert_eq!(listed(file, "\u{fc}.example"), ips("10.0.0.6"));
        for none in ["", "#", "10.0.0.1", "9.9.9.8", "we", "x", "bad"] {
            assert_eq!(listed(file, none), ips(""), "{none}");
        }
    }

    /// The names that are asked for, in order, until one is there or fails.
    fn asked(name: &str, conf: &str, there: &str) -> String {
        let mut all = Vec::new();
        let mut conf = conf.split_ascii_whitespace();
        let mut c = Conf::read();
        c.ndots = conf.next().unwrap().parse().unwrap();
        c.search = conf.map(str::to_string).collect();
        search(&c, name, &mut |_, name| {
            all.push(name.to_string());
            (name == there).then(Vec::new)
        });
        all.join(" ")
    }

    #[test]
    fn short_names_are_looked_for_below_the_domains() {
        assert_eq!(asked("web", "1 a.x b.x", ""), "web.a.x web.b.x web");
        assert_eq!(asked("web", "1 a.x b.x", "web.a.x"), "web.a.x");
        assert_eq!(asked("web", "1 a.x b.x", "web.b.x"), "web.a.x web.b.x");
        assert_eq!(asked("web.", "1 a.x b.x", ""), "web.");
        assert_eq!(asked("web.a", "1 a.x b.x", ""), "web.a");
        assert_eq!(asked("web.a", "5 a.x b.x", ""), "web.a.a.x web.a.b.x web.a");
        assert_eq!(asked("web", "0 a.x", ""), "web");
        assert_eq!(asked("web", "1", ""), "web");
    }

    #[test]
    fn addresses_with_a_way_come_first_and_of_them_the_better_ones() {
        // What this machine can reach is loopback; IPv6 it may not have at all.
        let all = order(ips("127.0.0.2 ::1 127.0.0.1"));
        let has_six = rank(Ipv6Addr::LOCALHOST.into()) < 200;
        assert_eq!(all, ips(if has_six { "::1 127.0.0.2 127.0.0.1" } else { "127.0.0.2 127.0.0.1 ::1" }));
        let table = ["::1", "2001:db8::1", "10.0.0.1", "2002::1", "2001::1", "fd00::1"];
        let found: Vec<u8> = table.iter().map(|ip| policy(ip.parse().unwrap()).1).collect();
        assert_eq!(found, [50, 40, 35, 30, 5, 3]);
    }
}
