#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;

const NAME: &str = "_kv._tcp.example.com";

fn q() -> Vec<u8> {
    query(0x1234, NAME, SRV).unwrap()
}

/// An answer to `q` with these flags and records, each put together by hand.
fn answer(flags: u16, records: &[&[u8]]) -> Vec<u8> {
    let mut m = q();
    m[2..4].copy_from_slice(&flags.to_be_bytes());
    m[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
    for r in records {
        m.extend(*r);
    }
    m
}

/// A record of the question's name with this type and data.
fn record(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut r = vec![0xC0, 12, 0, kind, 0, 1, 0, 0, 0, 60];
    r.extend((data.len() as u16).to_be_bytes());
    r.extend(data);
    r
}

fn srv(priority: u16, weight: u16, port: u16, target: &[u8]) -> Vec<u8> {
    let numbers = [priority.to_be_bytes(), weight.to_be_bytes(), port.to_be_bytes()].concat();
    record(33, &[&numbers, target].concat())
}

fn shown(found: std::result::Result<Vec<Srv>, &'static str>) -> String {
    match found {
        Err(why) => why.to_string(),
        Ok(all) => {
            let one = |s: &Srv| format!("{}:{} {}/{}", s.target, s.port, s.priority, s.weight);
            all.iter().map(one).collect::<Vec<_>>().join(" ")
        }
    }
}

#[test]
fn the_question_is_as_in_the_rfc() {
    let want = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03_kv\x04_tcp\x07example\x03com\0\0\x21\0\x01";
    assert_eq!(q(), want);
    assert_eq!(query(0x1234, "_kv._tcp.example.com.", SRV).unwrap(), want);
    let long = |n: usize| vec!["a".repeat(49); n].join(".");
    for bad in ["", ".", "a..b", ".a", "a b", "a\n", "ä.b", &"a".repeat(64), &(long(5) + ".abcdef")] {
        assert!(query(1, bad, SRV).is_none(), "{bad}");
    }
    for good in ["a", &"a".repeat(63), &(long(5) + ".abc"), "_x-y._tcp.a1"] {
        assert!(query(1, good, SRV).is_some(), "{good}");
    }
}

#[test]
fn answers_are_read_with_and_without_compression() {
    let plain = srv(1, 2, 80, b"\x03web\x07example\x03org\0");
    let short = srv(10, 0, 443, b"\x02db\xC0\x15"); // 0x15: "example.com" of the question
    let root = srv(0, 0, 0, b"\0");
    let cname = record(5, b"\x01x\xC0\x15");
    let found = decode(&answer(0x8180, &[&cname, &plain, &short, &root]), &q());
    assert_eq!(shown(found), "web.example.org.:80 1/2 db.example.com.:443 10/0 .:0 0/0");
    let mut upper = answer(0x8180, &[&plain]);
    upper[13..16].make_ascii_uppercase();
    assert_eq!(shown(decode(&upper, &q())), "web.example.org.:80 1/2");
    assert_eq!(shown(decode(&answer(0x8180, &[]), &q())), "");
    assert_eq!(shown(decode(&answer(0x8183, &[]), &q())), "", "there is no such name");
}

#[test]
fn what_is_no_answer_is_an_error() {
    let good = srv(1, 2, 80, b"\x03web\x07example\x03org\0");
    let not_ours = "the answer is not to the question";
    for (m, want) in [
        (answer(0x0180, &[&good]), not_ours), // a question
        (answer(0x8182, &[]), "the name server refuses"),
        (answer(0x8185, &[]), "the name server refuses"),
        (answer(0x8380, &[&good]), "the answer is cut off"),
        (answer(0x8180, &[&good[..good.len() - 1]]), "the answer is garbled"),
        (answer(0x8180, &[&srv(1, 2, 80, b"\x03w b\0")]), "the answer is garbled"),
        (answer(0x8180, &[&srv(1, 2, 80, b"\x03w\nb\0")]), "the answer is garbled"),
        (answer(0x8180, &[&srv(1, 2, 80, b"\x83web\0")]), "the answer is garbled"),
        (answer(0x8180, &[&record(33, b"\0\x01\0")]), "the answer is garbled"),
        (Vec::new(), not_ours),
        (q()[..20].to_vec(), not_ours),
    ] {
        assert_eq!(shown(decode(&m, &q())), want);
    }
    let mut other = answer(0x8180, &[&good]);
    other[1] ^= 1;
    assert_eq!(shown(decode(&other, &q())), not_ours, "another id");
    let mut other = answer(0x8180, &[&good]);
    other[14] = b'x';
    assert_eq!(shown(decode(&other, &q())), not_ours, "another name");
}

#[test]
fn names_that_lead_in_circles_end() {
    let start = answer(0x8180, &[]).len() as u16;
    let here = start + 12 + 6; // where the target of the first record stands
    let to = |at: u16| (0xC000 | at).to_be_bytes();
    for target in [to(here).to_vec(), to(here + 2).to_vec(), [&b"\x01a"[..], &to(here)].concat(), vec![0xFF, 0xFF]] {
        let m = answer(0x8180, &[&srv(1, 2, 80, &target)]);
        assert_eq!(shown(decode(&m, &q())), "the answer is garbled", "{target:?}");
    }
    // Two that lead to each other: the second leads back, but the first leads forth.
    let m = answer(0x8180, &[&srv(1, 2, 80, &to(here + 20)), &srv(1, 2, 80, &to(here))]);
    assert_eq!(shown(decode(&m, &q())), "the answer is garbled");
    // A name that grows at each jump is bounded by the longest there may be.
    let mut chain = answer(0x8180, &[]);
    let mut at = chain.len();
    chain.extend([&b"\x3f"[..], &[b'a'; 63], b"\0"].concat());
    for _ in 0..10 {
        let next = chain.len();
        chain.extend([&b"\x3f"[..], &[b'a'; 63], &to(at as u16)].concat());
        at = next;
    }
    assert!(name(&chain, at).is_none());
}

/// Whatever comes, reading it ends and does not panic.
#[test]
fn rubbish_is_borne() {
    let whole = answer(0x8180, &[&srv(1, 2, 80, b"\x02db\xC0\x15"), &srv(3, 4, 81, b"\x03web\x07example\x03org\0")]);
    for cut in 0..=whole.len() {
        let _ = decode(&whole[..cut], &q());
    }
    let mut random = Random::new(42);
    for _ in 0..200_000 {
        let mut m = whole.clone();
        for _ in 0..1 + random.below(4) {
            let at = random.below(m.len() as u64) as usize;
            m[at] = random.below(256) as u8;
        }
        let _ = decode(&m, &q());
    }
}

fn list(all: &[(u16, u16)]) -> Vec<Srv> {
    let one = |(i, (priority, weight)): (usize, &(u16, u16))| Srv {
        target: i.to_string(),
        port: 1,
        priority: *priority,
        weight: *weight,
    };
    all.iter().enumerate().map(one).collect()
}

#[test]
fn priorities_come_in_order_and_none_is_lost() {
    let mut random = Random::new(7);
    for _ in 0..1000 {
        let all = order(list(&[(20, 5), (10, 0), (10, 60), (5, 0), (20, 0), (10, 40), (5, 0)]), &mut random);
        let mut seen: Vec<u16> = all.iter().map(|s| s.priority).collect();
        assert_eq!(seen, [5, 5, 10, 10, 10, 20, 20]);
        seen = all.iter().map(|s| s.target.parse().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6]);
    }
    assert!(order(Vec::new(), &mut random).is_empty());
}

/// How often each comes first, of 100,000.
fn first(all: &[(u16, u16)]) -> Vec<u32> {
    let mut random = Random::new(2782);
    let mut count = vec![0; all.len()];
    for _ in 0..100_000 {
        count[order(list(all), &mut random)[0].target.parse::<usize>().unwrap()] += 1;
    }
    count
}

#[test]
fn weights_are_shares() {
    let near = |got: &[u32], want: &[u32]| {
        let close = got.iter().zip(want).all(|(g, w)| g.abs_diff(*w) < 1_000);
        assert!(close && got.len() == want.len(), "{got:?}, not {want:?}");
    };
    near(&first(&[(1, 10), (1, 30), (1, 60)]), &[10_000, 30_000, 60_000]);
    near(&first(&[(1, 1), (1, 3)]), &[25_000, 75_000]);
    near(&first(&[(1, 0), (1, 0), (1, 0), (1, 0)]), &[25_000; 4]);
    near(&first(&[(1, 0), (1, 99), (2, 500)]), &[0, 100_000, 0]);
    let none = first(&[(1, 0), (1, 1)])[0];
    assert!((100..1_000).contains(&none), "a very small chance, but one: {none}");
    near(&first(&[(1, 65_535), (1, 65_535)]), &[50_000; 2]);
}
