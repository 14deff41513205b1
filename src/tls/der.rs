//! The little of DER (X.690) that private keys and signatures need: one element after the other, in its one allowed
//! encoding. It reads no certificates (webpki does) and copies nothing.

/// The tag of an INTEGER.
pub const INTEGER: u8 = 0x02;
/// The tag of an OCTET STRING.
pub const OCTETS: u8 = 0x04;
/// The tag of an OBJECT IDENTIFIER.
pub const OID: u8 = 0x06;
/// The tag of a SEQUENCE.
pub const SEQUENCE: u8 = 0x30;

/// What is left to be read.
#[derive(Clone, Copy)]
pub struct Der<'a>(pub &'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and its content, which is shorter than 65,536 bytes: the private half of an RSA key of
    /// 8,192 bits takes 4,700.
    pub fn element(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, mut rest) = rest.split_first()?;
        let mut length = usize::from(*first);
        if length >= 0x80 {
            let (bytes, after) = rest.split_at_checked(length & 0x7f)?;
            length = match *bytes {
                [a] if a >= 0x80 => usize::from(a),
                [a, b] if a != 0 => usize::from(a) << 8 | usize::from(b),
                _ => return None, // no length at all, one that has a shorter form, or one out of all proportion
            };
            rest = after;
        }
        // A tag of several bytes: nothing here has one.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    /// The content of the next element, which has this tag.
    pub fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.element().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    /// The next element, an INTEGER of zero or more, without leading zeros.
    pub fn unsigned(&mut self) -> Option<&'a [u8]> {
        match self.expect(INTEGER)? {
            [0] => Some(&[]),
            [0, rest @ ..] => Some(rest).filter(|r| r.first().is_some_and(|first| *first >= 0x80)),
            content => Some(content).filter(|c| c.first().is_some_and(|first| *first < 0x80)),
        }
    }

    /// Nothing must follow.
    pub fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// The content of the one element that `bytes` are.
pub fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let mut der = Der(bytes);
    let content = der.expect(tag)?;
    der.end()?;
    Some(content)
}

/// Appends an element. Its content is shorter than 65,536 bytes.
pub fn write(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    let [.., high, low] = content.len().to_be_bytes();
    out.push(tag);
    match (high, low) {
        (0, 0..0x80) => out.push(low),
        (0, _) => out.extend([0x81, low]),
        _ => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(content);
}

/// Appends an INTEGER of zero or more; `bytes` may have leading zeros.
pub fn write_unsigned(out: &mut Vec<u8>, bytes: &[u8]) {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    let mut content = Vec::with_capacity(bytes.len().saturating_add(1));
    let number = bytes.get(zeros..).unwrap_or_default();
    if number.first().is_none_or(|b| *b >= 0x80) {
        content.push(0);
    }
    content.extend_from_slice(number);
    write(out, INTEGER, &content);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_encoding_is_read() {
        for (bytes, want) in [
            (&b"\x04\x01a"[..], Some(&b"a"[..])),
            (b"\x04\x00", Some(b"")),
            (b"", None),
            (b"\x04", None),
            (b"\x04\x02a", None),
            (b"\x04\x01ab", None),
            (b"\x03\x01a", None),
            (b"\x1f\x01a", None),
            (b"\x04\x80a\0\0", None),
            (b"\x04\x81\x01a", None),
            (b"\x04\x82\x00\x01a", None),
            (b"\x04\x83\x00\x00\x01a", None),
            (b"\x04\xff", None),
        ] {
            assert_eq!(only(bytes, OCTETS), want, "{bytes:x?}");
        }
        for length in [0, 1, 127, 128, 255, 256, 65535] {
            let content = vec![7; length];
            let mut bytes = Vec::new();
            write(&mut bytes, OCTETS, &content);
            assert_eq!(only(&bytes, OCTETS), Some(&content[..]), "{length}");
            bytes.pop();
            assert_eq!(only(&bytes, OCTETS), None, "{length}");
        }
    }

    #[test]
    fn integers_are_unsigned_and_short() {
        for (bytes, want) in [
            (&b"\x02\x01\x00"[..], Some(&b""[..])),
            (b"\x02\x01\x7f", Some(b"\x7f")),
            (b"\x02\x02\x00\x80", Some(b"\x80")),
            (b"\x02\x00", None),
            (b"\x02\x01\x80", None),
            (b"\x02\x02\x00\x7f", None),
            (b"\x02\x02\x00\x00", None),
            (b"\x02\x02\xff\x80", None),
        ] {
            assert_eq!(Der(bytes).unsigned(), want, "{bytes:x?}");
        }
        for number in [&b""[..], b"\x01", b"\x80", b"\x01\x02", b"\xff\xff"] {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            write_unsigned(&mut a, number);
            write_unsigned(&mut b, &[&[0, 0], number].concat());
            assert_eq!(Der(&a).unsigned(), Some(number));
            assert_eq!(a, b);
        }
    }
}
