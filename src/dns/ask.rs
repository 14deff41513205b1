//! Questions to the name servers of /etc/resolv.conf and what they answer: all servers at once, tried again within the
//! time-out (resolv.conf(5): `options timeout:S attempts:N`; 5 s in all if not said), answers of others and with another
//! id dropped, TCP where an answer does not fit. It knows no record and no name.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// The port of name servers.
const PORT: u16 = 53;
/// What a datagram may hold. Longer answers come over TCP.
const ROOM: usize = 4800;

/// What /etc/resolv.conf says.
pub struct Conf {
    servers: Vec<SocketAddr>,
    /// The domains below which short names are looked for, in this order.
    pub search: Vec<String>,
    /// A name with so many dots is not short.
    pub ndots: usize,
    timeout: u32,
    attempts: u32,
}

impl Conf {
    /// As it is now. Without a file: a server on this host.
    pub fn read() -> Conf {
        Conf::parse(&std::fs::read("/etc/resolv.conf").unwrap_or_default())
    }

    #[inline(never)]
    fn parse(file: &[u8]) -> Conf {
        let mut conf = Conf { servers: Vec::new(), search: Vec::new(), ndots: 1, timeout: 5, attempts: 2 };
        for line in String::from_utf8_lossy(file).lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if conf.servers.len() < 3 => conf.servers.extend(words.next().and_then(server)),
                // The last of them counts.
                Some("search" | "domain") => conf.search = words.map(str::to_string).collect(),
                Some("options") => {
                    for word in words {
                        let Some((name, n)) = word.split_once(':') else { continue };
                        let Ok(n) = n.parse::<u32>() else { continue };
                        match name {
                            "ndots" => conf.ndots = n.min(15) as usize,
                            "timeout" => conf.timeout = n.clamp(1, 60),
                            "attempts" => conf.attempts = n.clamp(1, 10),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        if conf.servers.is_empty() {
            conf.servers.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        conf
    }
}

/// The address of a server: `fe80::1%eth0` too, as routers announce it.
fn server(word: &str) -> Option<SocketAddr> {
    let (ip, zone) = word.split_once('%').unwrap_or((word, "0"));
    let ip: IpAddr = ip.parse().ok()?;
    let scope = zone.parse().ok().or_else(|| {
        let number = std::fs::read_to_string(["/sys/class/net/", zone, "/ifindex"].concat()).ok()?;
        number.trim_end().parse().ok()
    });
    Some(match ip {
        IpAddr::V4(_) => (ip, PORT).into(),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, PORT, 0, scope.unwrap_or(0)).into(),
    })
}

/// What each question is answered; nothing where nobody answered it in time.
#[inline(never)]
pub fn ask(conf: &Conf, questions: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut answers = vec![Vec::new(); questions.len()];
    let mut servers = conf.servers.clone();
    // One socket for all: of IPv6 when a server needs it, and the others by mapped addresses.
    let six = servers.iter().any(SocketAddr::is_ipv6);
    let six = if six { UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).ok() } else { None };
    if six.is_some() {
        for server in &mut servers {
            if let IpAddr::V4(ip) = server.ip() {
                server.set_ip(IpAddr::V6(ip.to_ipv6_mapped()));
            }
        }
    }
    let Some(socket) = six.or_else(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()) else { return answers };
    let mut room = vec![0u8; ROOM];
    let begin = Instant::now();
    let each = Duration::from_secs(u64::from(conf.timeout)) / conf.attempts;
    let mut again = 2 * questions.len();
    for attempt in 1..=conf.attempts {
        for (question, answer) in questions.iter().zip(&answers) {
            if answer.is_empty() {
                for server in &servers {
                    let _ = socket.send_to(question, server);
                }
            }
        }
        let until = begin + each * attempt;
        while answers.iter().any(Vec::is_empty) {
            let Some(left) = left(until) else { break };
            let _ = socket.set_read_timeout(Some(left));
            let Ok((n, from)) = socket.recv_from(&mut room) else { continue };
            let Some(got) = room.get(..n).filter(|got| n >= 4 && servers.contains(&from) && !got.is_empty()) else {
                continue;
            };
            let open = questions.iter().zip(&mut answers).find(|(q, a)| a.is_empty() && q.get(..2) == got.get(..2));
            let Some((question, answer)) = open else { continue };
            match (got.get(3).map(|b| b & 15), got.get(2).map(|b| b & 2)) {
                (Some(0 | 3), Some(0)) => *answer = got.to_vec(),
                (Some(0 | 3), _) => *answer = by_tcp(&from, question, until).unwrap_or_default(),
                // A server that failed may do better at once; who refuses will not.
                (Some(2), _) if again > 0 => {
                    again -= 1;
                    let _ = socket.send_to(question, from);
                }
                _ => {}
            }
        }
    }
    answers
}

fn left(until: Instant) -> Option<Duration> {
    until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
}

/// The whole of an answer that was cut off. Both ways its length stands in front (RFC 1035, 4.2.2).
#[inline(never)]
fn by_tcp(server: &SocketAddr, question: &[u8], until: Instant) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(server, left(until)?).ok()?;
    let length = u16::try_from(question.len()).ok()?.to_be_bytes();
    stream.set_write_timeout(Some(left(until)?)).ok()?;
    stream.write_all(&[&length[..], question].concat()).ok()?;
    let mut got = Vec::new();
    let mut room = vec![0u8; ROOM];
    loop {
        if let Some(length) = super::pair(&got, 0)
            && let Some(answer) = got.get(2..2 + length)
        {
            return (answer.get(..2) == question.get(..2)).then(|| answer.to_vec());
        }
        stream.set_read_timeout(Some(left(until)?)).ok()?;
        let n = stream.read(&mut room).ok().filter(|n| *n > 0)?;
        got.extend_from_slice(room.get(..n)?);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_its_page_says() {
        let shown = |text: &str| {
            let c = Conf::parse(text.as_bytes());
            let servers: Vec<String> = c.servers.iter().map(SocketAddr::to_string).collect();
            format!("{} [{}] {} {} {}", servers.join(" "), c.search.join(" "), c.ndots, c.timeout, c.attempts)
        };
        assert_eq!(shown(""), "127.0.0.1:53 [] 1 5 2");
        let text = "# nameserver 9.9.9.9\n; x\nnameserver 10.0.0.1\n\tnameserver ::1 # ours\nnameserver x\n\
            domain old.example\nsearch a.example\tb.example\r\noptions ndots:5 timeout:1\noptions rotate attempts:3 edns0";
        assert_eq!(shown(text), "10.0.0.1:53 [::1]:53 [a.example b.example] 5 1 3");
        assert_eq!(shown("options ndots:99 timeout:0 attempts:999\n"), "127.0.0.1:53 [] 15 1 10");
        assert_eq!(shown("options ndots:x timeout: attempts:-1\nnameserver"), "127.0.0.1:53 [] 1 5 2");
        let many = "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n";
        assert_eq!(shown(many), "10.0.0.1:53 10.0.0.2:53 10.0.0.3:53 [] 1 5 2");
        let index = std::fs::read_to_string("/sys/class/net/lo/ifindex").unwrap();
        assert_eq!(shown("nameserver fe80::1%lo"), format!("[fe80::1%{}]:53 [] 1 5 2", index.trim()));
        assert_eq!(shown("nameserver fe80::1%7"), "[fe80::1%7]:53 [] 1 5 2");
        assert_eq!(Conf::parse(b"search \xff\nnameserver 10.0.0.1").servers.len(), 1);
    }
}
