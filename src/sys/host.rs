//! What the host says of itself: its name, randomness, our own process.
#![allow(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr};

/// The host's name, or `localhost` where it has none.
pub fn name() -> String {
    let mut buf = [0u8; 256];
    // SAFETY: the buffer is valid for its length; the last byte stays zero.
    let rc = unsafe { libc::gethostname(buf.as_mut_ptr().cast(), buf.len() - 1) };
    let end = buf.iter().position(|b| *b == 0).unwrap_or(buf.len());
    match buf.get(..end) {
        Some(name) if rc == 0 && !name.is_empty() => String::from_utf8_lossy(name).into_owned(),
        _ => "localhost".to_string(),
    }
}

/// Our user's number: the one that files we make belong to.
pub fn user() -> u32 {
    // SAFETY: geteuid cannot fail.
    unsafe { libc::geteuid() }
}

/// The names of the network interfaces that are up, with their addresses, as the kernel lists them.
#[inline(never)]
pub fn addresses() -> Vec<(String, IpAddr)> {
    let mut all = Vec::new();
    let mut list = std::ptr::null_mut();
    // SAFETY: fills the pointer with a list that is freed below; its names and addresses live as long as it.
    unsafe {
        if libc::getifaddrs(&raw mut list) != 0 {
            return all;
        }
        let mut at = list;
        while let Some(one) = at.as_ref() {
            at = one.ifa_next;
            let is_up = one.ifa_flags & libc::IFF_UP as u32 != 0;
            let Some(address) = one.ifa_addr.as_ref().filter(|_| is_up) else { continue };
            let ip = match i32::from(address.sa_family) {
                libc::AF_INET => {
                    let v4 = &*one.ifa_addr.cast::<libc::sockaddr_in>();
                    IpAddr::from(v4.sin_addr.s_addr.to_ne_bytes())
                }
                libc::AF_INET6 => IpAddr::from((*one.ifa_addr.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr),
                _ => continue,
            };
            all.push((std::ffi::CStr::from_ptr(one.ifa_name).to_string_lossy().into_owned(), ip));
        }
        libc::freeifaddrs(list);
    }
    all
}

/// The default gateway of IPv4, which in a container mostly is its host; `None` where there is none or no /proc.
pub fn gateway() -> Option<Ipv4Addr> {
    default_route(&std::fs::read_to_string("/proc/net/route").ok()?)
}

/// The route to everywhere by a gateway; of several the kernel lists the one with the least metric first. Fields
/// (net/ipv4/fib_trie.c): interface, destination, gateway, flags, references, uses, metric, mask; addresses in
/// hexadecimal, as the memory holds them.
#[inline(never)]
fn default_route(table: &str) -> Option<Ipv4Addr> {
    for line in table.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        if let [_, "00000000", gateway, "0003", _, _, _, "00000000", ..] = fields[..] {
            return u32::from_str_radix(gateway, 16).ok().map(|ip| Ipv4Addr::from(ip.to_ne_bytes()));
        }
    }
    None
}

/// Random bits for jitter and names of temporary files; not for secrets.
pub fn random() -> u64 {
    let mut bits: u64 = 0;
    // SAFETY: eight valid bytes. GRND_NONBLOCK: a young host must not hold up the app's start.
    let n = unsafe { libc::getrandom((&raw mut bits).cast(), 8, libc::GRND_NONBLOCK) };
    if n == 8 {
        return bits;
    }
    let t = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    t.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(std::process::id())
}

/// Milliseconds on the clock that nobody sets.
pub fn clock() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid timespec; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    (now.tv_sec as u64).wrapping_mul(1_000).wrapping_add(now.tv_nsec as u64 / 1_000_000)
}

/// Fills `out` with random bytes fit for keys; waits until the kernel has some, once after the host's boot. `false` where
/// the kernel has no getrandom(2) or a sandbox forbids it.
pub fn fill_random(out: &mut [u8]) -> bool {
    // Up to 256 bytes come whole and are not interrupted (getrandom(2), NOTES); the loop is for what may be longer.
    let mut left = out;
    while !left.is_empty() {
        // SAFETY: the pointer is valid for the length.
        let n = unsafe { libc::getrandom(left.as_mut_ptr().cast(), left.len(), 0) };
        match usize::try_from(n) {
            Ok(n) => left = left.get_mut(n..).unwrap_or_default(),
            Err(_) if std::io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Makes sure that descriptors 0, 1 and 2 are taken, so that nothing we open later lands there. Works without
/// /dev/null: an empty pipe reads as the end and swallows what is written.
pub fn occupy_standard_descriptors() {
    for fd in 0..3 {
        // SAFETY: F_GETFD only asks.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1 {
            continue;
        }
        // The lowest free descriptor is given out, so this open lands on `fd` itself.
        // SAFETY: a constant, null-terminated path.
        let got = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
        if got == -1 {
            let mut pair = [-1, -1];
            // SAFETY: pipe2 fills two integers; the end that is not needed is closed or kept out of the way below.
            unsafe {
                if libc::pipe2(pair.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) == 0 {
                    let [r, w] = pair;
                    if fd == 0 {
                        libc::close(w);
                    } else {
                        // The writing end goes to `fd`; without a reader a write gives EPIPE, which log lines shrug off.
                        libc::dup3(w, fd, libc::O_CLOEXEC);
                        if r != fd {
                            libc::close(r);
                        }
                        if w != fd {
                            libc::close(w);
                        }
                    }
                }
            }
        }
    }
}

/// The words of the command line, from C's main. Rust's own start-up is not used: it aborts when a standard
/// descriptor is closed and there is no /dev/null.
///
/// # Safety
/// `argv` holds `argc` pointers to null-terminated strings, as C's main promises.
pub unsafe fn arguments(argc: libc::c_int, argv: *const *const libc::c_char) -> Vec<std::ffi::OsString> {
    use std::os::unix::ffi::OsStringExt;
    let mut words = Vec::new();
    for i in 0..usize::try_from(argc).unwrap_or(0) {
        // SAFETY: i < argc, and each element is a null-terminated string.
        let word = unsafe {
            let p = *argv.add(i);
            if p.is_null() {
                break;
            }
            std::ffi::CStr::from_ptr(p)
        };
        words.push(std::ffi::OsString::from_vec(word.to_bytes().to_vec()));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_that_of_the_best_default_route() {
        let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
        let as_hex = |ip: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(ip));
        let (one, two) = (as_hex([172, 17, 0, 1]), as_hex([10, 0, 0, 138]));
        let net = as_hex([172, 17, 0, 0]);
        let lines = [
            format!("eth0\t{net}\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"),
            format!("eth0\t00000000\t{one}\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"),
            format!("wlan0\t00000000\t{two}\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"),
            format!("eth1\t00000000\t{two}\t0002\t0\t0\t0\t00000000\t0\t0\t0\n"), // down
            format!("eth2\t00000000\t{two}\t0003\t0\t0\t0\t000000FF\t0\t0\t0\n"), // 0.0.0.0/8
            "ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n".to_string(), // no gateway
        ];
        let table = [head, &lines.concat()].concat();
        assert_eq!(default_route(&table), Some(Ipv4Addr::new(172, 17, 0, 1)));
        assert_eq!(default_route(&lines[2]), Some(Ipv4Addr::new(10, 0, 0, 138)));
        for none in ["", head, &lines[0], &lines[3], &lines[4], &lines[5], "a b c d", "eth0\t00000000\txyz\t0003\n"] {
            assert_eq!(default_route(none), None, "{none}");
        }
    }
}
