//! Base64 (RFC 4648, standard alphabet with padding), both ways. Consul and etcd carry values in it.

static ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Encodes with padding.
pub fn encode(data: &[u8]) -> String {
    let mut text = String::with_capacity(data.len().div_ceil(3) * 4);
    for chunk in data.chunks(3) {
        let mut bits: u32 = 0;
        for i in 0..3 {
            bits = bits << 8 | u32::from(chunk.get(i).copied().unwrap_or(0));
        }
        for i in 0..4 {
            let six = (bits >> (18 - 6 * i)) & 63;
            let letter = ALPHABET.get(six as usize).copied().unwrap_or(b'=');
            text.push(if i <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// Decodes; `None` when the text is no base64, also when bits are left over that no encoder sets.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    read(text, true).ok()
}

/// Decodes. Line ends are skipped, as Go's decoder does; `strict`: bits that are left over are 0, which Go does not ask.
///
/// # Errors
/// Where the text is no base64, in bytes.
#[inline(never)]
pub fn read(text: &str, strict: bool) -> Result<Vec<u8>, usize> {
    let mut data = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count, mut pads) = (0u32, 0u32, 0u32);
    for (at, b) in text.bytes().enumerate() {
        // Not by a search in the alphabet: every value of Consul and etcd goes through here.
        let six = match b {
            b'A'..=b'Z' => Some(b - b'A'),
            b'a'..=b'z' => Some(b - b'a' + 26),
            b'0'..=b'9' => Some(b - b'0' + 52),
            b'+' => Some(62),
            b'/' => Some(63),
            _ => None,
        };
        match six {
            Some(six) if pads == 0 => {
                bits = bits << 6 | u32::from(six);
                count = (count + 1) % 4;
                if count != 1 {
                    let held = (4 - count) % 4 * 2;
                    data.push((bits >> held) as u8);
                    bits &= (1 << held) - 1;
                }
            }
            None if matches!(b, b'\r' | b'\n') => {}
            None if b == b'=' && count >= 2 && count + pads < 4 => pads += 1,
            _ => return Err(at),
        }
    }
    if matches!((count, pads), (0, _) | (2, 2) | (3, 1)) && !(strict && bits != 0) { Ok(data) } else { Err(text.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4648_vectors_both_ways() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(encode(plain.as_bytes()), coded);
            assert_eq!(decode(coded).as_deref(), Some(plain.as_bytes()), "{coded}");
        }
        for bad in ["Zg", "Zg=", "Z===", "Zg==Zg==", "Zh==", "Z!==", "====", "Zg==="] {
            assert_eq!(decode(bad), None, "{bad}");
        }
        for (text, want) in
            [("Zh==", Ok(&b"f"[..])), ("Zm9vZ", Err(5)), ("Zg==Z", Err(4)), ("Z!==", Err(1)), ("Zg=", Err(3))]
        {
            assert_eq!(read(text, false).as_deref().map_err(|at| *at), want, "{text}");
        }
        assert_eq!(decode("Zm9v\r\nYmFy").as_deref(), Some(&b"foobar"[..]));
    }
}
