//! Text as Go has it: characters in bytes that may be no UTF-8, hexadecimal digits, quoting. Floats, times and paths
//! have files of their own. It decides what text looks like, never where it goes.

pub mod decimal;
pub mod float;
pub mod path;
pub mod time;

/// The pattern with a word in place of each `%`. A message made so costs the code that lists its words, no more.
#[inline(never)]
pub fn fill(pattern: &str, words: &[&str]) -> String {
    let mut out = String::new();
    let mut words = words.iter();
    for (i, piece) in pattern.split('%').enumerate() {
        if i > 0 {
            out.push_str(words.next().unwrap_or(&""));
        }
        out.push_str(piece);
    }
    out
}

/// In which group of words a word is, from 0 on; behind the last, where it is in none. A comma and a space stand between
/// groups, a space between words. Of many words to be told apart, none costs a comparison of its own.
#[inline(never)]
pub fn group(word: &str, groups: &str) -> usize {
    let mut n = 0;
    for group in groups.split(", ") {
        if group.split(' ').any(|w| w == word) {
            break;
        }
        n += 1;
    }
    n
}

/// Whether a word is one of these, with a space between.
pub fn is_one_of(word: &str, words: &str) -> bool {
    group(word, words) == 0
}

/// A text that is made and grows beyond this is cut; who made it sees that by its length and says so.
pub const LARGEST: usize = if cfg!(any(test, fuzzing)) { 1 << 20 } else { 64 << 20 };

/// Appends bytes. Out of line: each call of `extend_from_slice` would be copied in whole.
#[inline(never)]
pub fn put(out: &mut Vec<u8>, b: &[u8]) {
    out.extend_from_slice(b);
}

/// Appends a character.
#[inline(never)]
pub fn push_char(out: &mut Vec<u8>, c: char) {
    put(out, c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// The first character of `b` and its length; a byte that starts none counts as U+FFFD, as in Go.
#[inline(never)]
pub fn decode(b: &[u8]) -> Option<(char, usize)> {
    let first = *b.first()?;
    let len = match first {
        0..0x80 => return Some((char::from(first), 1)),
        0xc2..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf5 => 4,
        _ => return Some((char::REPLACEMENT_CHARACTER, 1)),
    };
    match b.get(..len).and_then(|s| std::str::from_utf8(s).ok()).and_then(|s| s.chars().next()) {
        Some(c) => Some((c, len)),
        None => Some((char::REPLACEMENT_CHARACTER, 1)),
    }
}

/// `U+0041`.
pub fn unicode(out: &mut Vec<u8>, n: i64, width: usize) {
    put(out, b"U+");
    let mut digits = Vec::new();
    let mut left = n.cast_unsigned();
    while left > 0 {
        hex(&mut digits, u32::try_from(left & 15).unwrap_or(0), 1, true);
        left >>= 4;
    }
    out.resize(out.len() + width.saturating_sub(digits.len()), b'0');
    digits.reverse();
    put(out, &digits);
}

/// The lowest `width` hexadecimal digits of `n`.
#[inline(never)]
pub fn hex(out: &mut Vec<u8>, n: u32, width: u32, upper: bool) {
    for i in (0..width).rev() {
        let c = char::from_digit((n >> (4 * i)) & 15, 16).unwrap_or('0');
        out.push(if upper { c.to_ascii_uppercase() } else { c } as u8);
    }
}

/// Whether Go would print the character as it is. By ranges, not by Unicode's tables: those weigh more than they give.
pub fn is_print(c: char) -> bool {
    !matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{a0}' | '\u{ad}' | '\u{1680}' | '\u{180e}' | '\u{2000}'..='\u{200f}'
        | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{3000}' | '\u{e000}'..='\u{f8ff}'
        | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..)
}

/// What stands behind a backslash for the characters 7 to 13.
pub const ESCAPES: &str = "abtnvfr";

/// Appends Go's quoted form.
pub fn quote(out: &mut Vec<u8>, b: &[u8], mark: char, ascii: bool) {
    push_char(out, mark);
    let mut at = 0;
    while let Some((c, size)) = b.get(at..).and_then(decode) {
        let byte = b.get(at).copied().unwrap_or(0);
        at += size;
        if c == char::REPLACEMENT_CHARACTER && size == 1 {
            put(out, b"\\x");
            hex(out, u32::from(byte), 2, false);
            continue;
        }
        let short = match c {
            '\x07'..='\x0d' => ESCAPES.as_bytes().get(usize::from(byte - 7)).map_or(c, |e| char::from(*e)),
            '\\' => '\\',
            _ if c == mark => c,
            _ if is_print(c) && (!ascii || c.is_ascii()) => {
                push_char(out, c);
                continue;
            }
            _ => {
                let n = u32::from(c);
                let (letter, width) = if n < 0x80 {
                    (b'x', 2)
                } else if n < 0x10000 {
                    (b'u', 4)
                } else {
                    (b'U', 8)
                };
                out.push(b'\\');
                out.push(letter);
                hex(out, n, width, false);
                continue;
            }
        };
        out.push(b'\\');
        push_char(out, short);
    }
    push_char(out, mark);
}

/// `%q` as text, for messages.
pub fn quoted(s: &str) -> String {
    let mut out = Vec::new();
    quote(&mut out, s.as_bytes(), '"', false);
    String::from_utf8_lossy(&out).into_owned()
}
