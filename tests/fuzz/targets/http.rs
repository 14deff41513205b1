//! source/http/answer.rs: no bytes crash it, it reads the same in whatever pieces they come, gives no more than it was
//! given, and its bodies are those that a plain reader finds in the whole answer.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pilotfish::source::http::answer::{self, Body, MOST};

/// What a body came to: its bytes, how many were used of those that came, and whether it is whole; `None`: no HTTP.
type Read = Option<(Vec<u8>, usize, bool)>;

/// Reads a body in pieces of these sizes, over and over.
fn read(mut body: Body, raw: &[u8], sizes: &[u8]) -> Read {
    let (mut out, mut used) = (Vec::new(), 0);
    let mut sizes = sizes.iter().cycle();
    // As a connection does: what came and was not used stays.
    let mut end = 0;
    while end < raw.len() {
        let step = 1 + usize::from(*sizes.next()?);
        end = raw.len().min(end + step);
        used += body.decode(&raw[used..end], &mut out).ok()?;
        assert!(used == end || body.is_done(), "bytes are left: {used} of {end}");
    }
    Some((out, used, body.is_done()))
}

/// The body of a head that was read, looked up in the whole of it.
fn plain(head: &[(String, String)], is_bare: bool, raw: &[u8]) -> Read {
    let all =
        |name: &str| head.iter().filter(|h| h.0.eq_ignore_ascii_case(name)).map(|h| h.1.as_str()).collect::<Vec<_>>();
    if is_bare {
        return Some((Vec::new(), 0, true));
    }
    if !all("transfer-encoding").is_empty() {
        return chunks(raw);
    }
    match all("content-length").first() {
        None => Some((raw.to_vec(), raw.len(), false)),
        Some(said) => {
            let length: u64 = said.split(',').next().unwrap().trim().parse().unwrap();
            let n = raw.len().min(usize::try_from(length).unwrap());
            Some((raw[..n].to_vec(), n, n as u64 == length))
        }
    }
}

fn chunks(raw: &[u8]) -> Read {
    let (mut out, mut at) = (Vec::new(), 0);
    loop {
        let Some(end) = raw[at..].iter().position(|b| *b == b'\n') else { return part(&raw[at..], out, raw.len()) };
        let line = raw[at..at + end].strip_suffix(b"\r")?;
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let said = u64::from_str_radix(std::str::from_utf8(&line[..digits]).unwrap(), 16).ok()?;
        let behind = line[digits..].iter().position(|b| !b" \t".contains(b)).map(|n| line[digits + n]);
        if behind.is_some_and(|b| b != b';') || line.contains(&b'\r') {
            return None;
        }
        at += end + 1;
        if said == 0 {
            break;
        }
        let n = (raw.len() - at).min(usize::try_from(said).unwrap());
        out.extend_from_slice(&raw[at..at + n]);
        at += n;
        match raw[at..] {
            [] | [b'\r'] => return Some((out, raw.len(), false)),
            [b'\r', b'\n', ..] => at += 2,
            _ => return None,
        }
    }
    loop {
        match raw[at..] {
            [] | [b'\r'] => return Some((out, raw.len(), false)),
            [b'\r', b'\n', ..] => return Some((out, at + 2, true)),
            [b'\n', ..] => return Some((out, at + 1, true)),
            [b'\r', ..] => return None,
            _ => match raw[at..].iter().position(|b| *b == b'\n') {
                None => return Some((out, raw.len(), false)),
                Some(end) => at += end + 1,
            },
        }
    }
}

/// A chunk's first line that is not whole: whether it can become one.
fn part(line: &[u8], out: Vec<u8>, used: usize) -> Read {
    let line = line.strip_suffix(b"\r").filter(|l| !l.is_empty()).unwrap_or(line);
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let text = std::str::from_utf8(&line[..digits]).unwrap();
    if !line.is_empty() && u64::from_str_radix(text, 16).is_err() {
        return None;
    }
    let behind = line[digits..].iter().position(|b| !b" \t".contains(b)).map(|n| line[digits + n]);
    if behind.is_some_and(|b| b != b';') || line.contains(&b'\r') {
        return None;
    }
    Some((out, used, false))
}

fuzz_target!(init: pilotfish_fuzz::limit_memory(), |data: &[u8]| -> Corpus {
    // The sizes of the pieces, and the answer.
    let Some((&[method, size, other], raw)) = data.split_first_chunk::<3>() else { return Corpus::Reject };
    let method = ["GET", "HEAD", "POST"][usize::from(method) % 3];
    let head = answer::head(raw, method);
    // Half of a head is none, and never another one.
    let whole = match &head {
        Ok(Some((_, used))) => *used,
        _ => raw.len(),
    };
    for end in (0..whole).step_by(1 + usize::from(size)) {
        match answer::head(&raw[..end], method) {
            Ok(None) => {}
            Ok(Some(_)) => panic!("a head of {end} bytes is said to have {whole}"),
            Err(_) => assert!(head.is_err(), "refused after {end} bytes of {whole}"),
        }
    }
    let Ok(Some((head, used))) = head else { return Corpus::Keep };
    assert!(used <= raw.len() && used <= MOST && (100..=999).contains(&head.status) && head.headers.len() <= 100);
    let is_bare = method == "HEAD" || matches!(head.status, 100..=199 | 204 | 304);
    let body = &raw[used..];
    let again = || answer::head(raw, method).ok().flatten().unwrap().0.body;
    let one = read(head.body, body, &[255]);
    assert!(one == read(again(), body, &[size, other]) && one == read(again(), body, &[0]), "the pieces matter");
    let want = if again().is_done() { Some((Vec::new(), 0, true)) } else { plain(&head.headers, is_bare, body) };
    assert!(one == want, "not what a plain reader finds: {one:?}, {want:?}");
    if is_bare {
        assert!(again().is_done());
    }
    pilotfish_fuzz::check_memory();
    Corpus::Keep
});
