//! Which of the host's addresses a service is told of by: specifications such as `eth0`, `eth1[1]`, `10.0.0.0/8`, `inet` or
//! `static:10.1.2.3`, in the order of preference, as ContainerPilot has them. It looks at no host by itself.

use std::cmp::Ordering;
use std::net::IpAddr;

use super::Host;
use crate::error::{Error, Kind, Result};
use crate::text::fill;

/// What is tried when nothing is specified.
const USUAL: &str = "eth0:inet";

/// What one specification means.
enum Spec<'a> {
    /// This address, whatever the host has.
    Static(IpAddr),
    /// The first one of IPv4, or of IPv6 (`true`), of an interface; without a name of any, but for the loopback's.
    Family(Option<&'a str>, bool),
    /// The n-th one of an interface.
    Index(&'a str, usize),
    /// The first one of a network: its address, and the bits that count.
    Network(IpAddr, u32),
}

/// The address for the first specification that matches; addresses are tried by the names of their interfaces, and of one
/// interface by their bytes. Without any specification: the first of IPv4 of eth0.
///
/// # Errors
/// `Kind::Config`: a specification that is none, or no address for any.
#[inline(never)]
pub fn pick(specs: &[String], host: &Host) -> Result<IpAddr> {
    let usual = [USUAL.to_string()];
    let specs = if specs.is_empty() { &usual } else { specs };
    for text in specs {
        parse(text)?;
    }
    let sorted = sorted(host);
    for text in specs {
        let spec = parse(text)?;
        if let Spec::Static(ip) = spec {
            return Ok(ip);
        }
        let (mut of, mut index) = ("", 0);
        for (name, ip) in &sorted {
            index = if of == *name { index + 1 } else { 0 };
            of = name;
            if is_match(&spec, name, index, *ip) {
                return Ok(*ip);
            }
        }
    }
    let mut there = String::new();
    for (name, ip) in &sorted {
        there.push_str(&fill(" %:%", &[name, &ip.to_string()]));
    }
    let text = "None of the interface specifications were able to match\nSpecifications: [%]\nInterfaces IPs: [%]";
    Err(Error::filled(Kind::Config, text, &[&specs.join(" "), there.trim_start()]))
}

/// The host's addresses in order. Bytes are those of IPv6, where an address of IPv4 has zeros in front.
#[inline(never)]
fn sorted(host: &Host) -> Vec<(&str, IpAddr)> {
    let mut all: Vec<(&str, IpAddr)> = Vec::new();
    for (name, ip) in &host.addresses {
        let is_before = |e: &(&str, IpAddr)| match e.0.cmp(name) {
            Ordering::Equal => wide(e.1) <= wide(*ip),
            other => other == Ordering::Less,
        };
        let at = all.partition_point(is_before);
        all.insert(at, (name, *ip));
    }
    all
}

fn wide(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

#[inline(never)]
fn is_match(spec: &Spec, name: &str, index: usize, ip: IpAddr) -> bool {
    match spec {
        Spec::Static(_) => false,
        Spec::Family(of, is_six) => {
            let is_there = of.map_or(!ip.is_loopback(), |of| of == name);
            is_there && *is_six == ip.is_ipv6()
        }
        Spec::Index(of, n) => *of == name && *n == index,
        Spec::Network(net, bits) => {
            // Both are looked at as IPv6.
            let differs = wide(*net) ^ wide(ip);
            let behind = if net.is_ipv4() { 32 - bits } else { 128 - bits };
            net.is_ipv4() == ip.is_ipv4() && differs.checked_shr(behind).unwrap_or(0) == 0
        }
    }
}

#[inline(never)]
fn parse(text: &str) -> Result<Spec<'_>> {
    let wrong = || Err(Error::filled(Kind::Config, "Unable to parse interface spec: %", &[text]));
    match text {
        "inet" => return Ok(Spec::Family(None, false)),
        "inet6" => return Ok(Spec::Family(None, true)),
        _ => {}
    }
    if let Some(ip) = text.strip_prefix("static:") {
        let none = |_| Error::filled(Kind::Config, "Unable to parse static ip % in %", &[ip, text]);
        return ip.parse().map(Spec::Static).map_err(none);
    }
    if let Some((net, bits)) = text.split_once('/') {
        let most = if net.contains(':') { 128 } else { 32 };
        let is_number = bits.bytes().all(|b| b.is_ascii_digit());
        let bits = bits.parse().ok().filter(|bits| is_number && *bits <= most);
        return match (net.parse(), bits) {
            (Ok(net), Some(bits)) => Ok(Spec::Network(net, bits)),
            _ => wrong(),
        };
    }
    let (name, of) = text.split_at_checked(text.find(['[', ':']).unwrap_or(text.len())).unwrap_or((text, ""));
    let spec = match of {
        "" | ":inet" => Spec::Family(Some(name), false),
        ":inet6" => Spec::Family(Some(name), true),
        _ => match of.strip_prefix('[').and_then(|of| of.strip_suffix(']')) {
            // More than there is memory for is more than there are addresses.
            Some(n) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => {
                Spec::Index(name, n.parse().unwrap_or(usize::MAX))
            }
            _ => return wrong(),
        },
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    // 127.0.0.1 names no interface.
    let is_address = name.contains('.') && name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if name.is_empty() || is_address || !name.chars().all(is_name) { wrong() } else { Ok(spec) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn host(all: &[(&str, &str)]) -> Host {
        let addresses = all.iter().map(|(name, ip)| ((*name).to_string(), ip.parse().unwrap())).collect();
        Host { addresses, ..Host::default() }
    }

    #[test]
    fn the_first_that_matches() {
        // Not in the order they are tried in.
        let host = host(&[
            ("lo", "127.0.0.1"),
            ("lo", "::1"),
            ("eth1", "10.0.0.200"),
            ("eth0", "192.168.1.100"),
            ("eth0", "10.2.0.1"),
            ("eth2", "fdc6:238c:c4bc::1"),
            ("eth2", "10.1.0.200"),
            ("eth1", "10.0.0.100"),
            ("br-lan.7", "fe80::1"),
            ("br-lan.7", "172.16.0.9"),
        ]);
        for (specs, want) in [
            (&[][..], "10.2.0.1"),
            (&["eth0"], "10.2.0.1"),
            (&["eth0:inet"], "10.2.0.1"),
            (&["eth0[0]"], "10.2.0.1"),
            (&["eth0[1]"], "192.168.1.100"),
            (&["eth1[1]"], "10.0.0.200"),
            (&["eth2[1]"], "fdc6:238c:c4bc::1"),
            (&["lo[0]"], "::1"),
            (&["lo[1]"], "127.0.0.1"),
            (&["lo"], "127.0.0.1"),
            (&["lo:inet6"], "::1"),
            (&["10.0.0.0/8"], "10.2.0.1"),
            (&["10.0.0.0/16"], "10.0.0.100"),
            (&["10.0.0.200/32"], "10.0.0.200"),
            (&["10.0.0.77/24"], "10.0.0.100"),
            (&["0.0.0.0/0"], "172.16.0.9"),
            (&["::/0"], "fe80::1"),
            (&["fdc6:238c:c4bc::/48"], "fdc6:238c:c4bc::1"),
            (&["::1/128"], "::1"),
            (&["eth2:inet6"], "fdc6:238c:c4bc::1"),
            (&["inet"], "172.16.0.9"),
            (&["inet6"], "fe80::1"),
            (&["br-lan.7"], "172.16.0.9"),
            (&["br-lan.7[1]"], "fe80::1"),
            (&["br-lan.7:inet6"], "fe80::1"),
            (&["static:192.168.1.99"], "192.168.1.99"),
            (&["static:2001:db8::7"], "2001:db8::7"),
            (&["eth9", "eth0[2]", "172.17.0.0/16", "eth0:inet6", "eth1", "static:1.2.3.4"], "10.0.0.100"),
            (&["eth9", "static:1.2.3.4", "eth1"], "1.2.3.4"),
        ] {
            let specs: Vec<String> = specs.iter().map(ToString::to_string).collect();
            assert_eq!(pick(&specs, &host).unwrap().to_string(), want, "{specs:?}");
        }
    }

    #[test]
    fn the_table_of_the_documentation() {
        let host = host(&[
            ("eth0", "10.2.0.1"),
            ("eth0", "192.168.1.100"),
            ("eth1", "10.0.0.100"),
            ("eth1", "10.0.0.200"),
            ("eth2", "10.1.0.200"),
            ("eth2", "fdc6:238c:c4bc::1"),
            ("lo", "::1"),
            ("lo", "127.0.0.1"),
        ]);
        for (spec, want) in [("inet", "10.2.0.1"), ("inet6", "fdc6:238c:c4bc::1")] {
            assert_eq!(pick(&[spec.to_string()], &host).unwrap().to_string(), want);
        }
        let e = pick(&["eth7".to_string(), "lo[2]".to_string(), "10.3.0.0/16".to_string()], &host).err().unwrap();
        assert_eq!(
            e.text,
            "None of the interface specifications were able to match\nSpecifications: [eth7 lo[2] 10.3.0.0/16]\n\
             Interfaces IPs: [eth0:10.2.0.1 eth0:192.168.1.100 eth1:10.0.0.100 eth1:10.0.0.200 eth2:10.1.0.200 \
             eth2:fdc6:238c:c4bc::1 lo:::1 lo:127.0.0.1]"
        );
        let e = pick(&[], &Host::default()).err().unwrap();
        assert!(e.text.contains("[eth0:inet]"), "{e}");
    }

    #[test]
    fn specifications_that_are_none() {
        for spec in [
            "eth0:inet5",
            "127.0.0.1",
            "127.0.0.1:inet",
            "",
            "[1]",
            "eth0[]",
            "eth0[a]",
            "eth0[-1]",
            "eth0[+1]",
            "eth0[1",
            "eth0:",
            ":inet",
            "eth 0",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "fe80::/129",
            "fe80::",
            "eth0/8",
            "é",
        ] {
            let e = pick(&["inet".to_string(), spec.to_string()], &Host::default()).err().unwrap();
            assert_eq!(e.text, format!("Unable to parse interface spec: {spec}"));
        }
        for spec in ["static:", "static:123", "static:eth0", "static:1.2.3.4/8"] {
            let e = pick(&[spec.to_string()], &Host::default()).err().unwrap();
            assert!(e.text.starts_with("Unable to parse static ip "), "{e}");
        }
        let e = pick(&["eth0[99999999999999999999999]".to_string()], &Host::default()).err().unwrap();
        assert!(e.text.starts_with("None of"), "{e}");
    }
}
