//! Configuration formats into `Value`, and the one shape of an error in a text: file, line, column, the line itself
//! and a caret. What a key means is decided elsewhere; nothing here reads a file.

pub mod json;
pub mod json5;
pub mod toml;
pub mod yaml;

use crate::error::Error;

/// Most characters of a source line that an error shows.
const SHOWN: usize = 120;

/// A `Kind::Config` error at byte `offset` of `text`: `NAME:LINE:COL: message`, the source line with its number, and a
/// caret under the column. Columns count characters from 1.
pub fn error_at(name: &str, text: &str, offset: usize, message: &str) -> Error {
    let (mut line, mut column, mut start) = (1usize, 0usize, 0usize);
    for (at, c) in text.char_indices() {
        if at >= offset {
            break;
        }
        match c {
            '\n' => (line, column, start) = (line + 1, 0, at + 1),
            '\u{feff}' if at == 0 => start = c.len_utf8(),
            _ => column += 1,
        }
    }
    let line = line.to_string();
    let mut out = String::from(name);
    for part in [":", &line, ":", &(column + 1).to_string(), ": ", message, "\n ", &line, " | "] {
        out.push_str(part);
    }
    let shown = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or("");
    if holds_secret(shown, false) || holds_secret(opening_line(text.get(..start).unwrap_or("")), true) {
        out.push_str("(not shown: it may hold a secret)");
        return Error::config(out);
    }
    // A long line is cut to what stands around the column.
    let skip = if column < SHOWN { 0 } else { column.saturating_sub(SHOWN / 2) };
    for (at, c) in text.get(start..).unwrap_or("").chars().enumerate() {
        if matches!(c, '\n' | '\r') || at >= skip + SHOWN {
            break;
        }
        if at >= skip {
            // A tab or another control character would move the caret (or the terminal).
            out.push(if c.is_control() { ' ' } else { c });
        }
    }
    out.push_str("\n ");
    for _ in line.bytes() {
        out.push(' ');
    }
    out.push_str(" | ");
    for _ in skip..column {
        out.push(' ');
    }
    out.push('^');
    Error::config(out)
}

/// The line on which a text of several lines begins that has not ended in `before`; empty when there is none.
fn opening_line(before: &str) -> &str {
    let (mut marks, mut last) = (0usize, 0);
    for mark in ["\"\"\"", "'''"] {
        for (at, _) in before.match_indices(mark) {
            marks = marks.wrapping_add(1);
            last = last.max(at);
        }
    }
    if marks.is_multiple_of(2) {
        return "";
    }
    before.get(..last).unwrap_or("").rsplit('\n').next().unwrap_or("")
}

/// Whether a line of configuration sets something that no log may show. `is_open`: to a text that goes on behind it.
fn holds_secret(line: &str, is_open: bool) -> bool {
    // Up to the last `=`: an inline table has more than one key on its line.
    let Some((keys, value)) = line.rsplit_once('=').filter(|_| !line.contains("{{")) else { return false };
    let keys = keys.to_ascii_lowercase();
    // A key of TLS is a secret where it is no file's name.
    let value = value.trim_start();
    let is_text =
        is_open || value.starts_with(['\'', '"']) && !value.trim_start_matches(['\'', '"']).starts_with(['/', '.']);
    let mut words = keys.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '"' | '\''));
    let has_key = is_text && words.any(|word| word == "key");
    has_key || names_secret(&keys)
}

/// Whether a line that is not made of keys and values may hold a secret: in JSON all may stand on one.
#[inline(never)]
pub fn may_hold_secret(line: &str) -> bool {
    let low = line.to_ascii_lowercase();
    low.contains('@') || names_secret(&low) // a URL may have a password in front of an @
}

fn names_secret(low: &str) -> bool {
    ["token", "password", "secret", "authorization"].iter().any(|word| low.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_at_shows_line_and_column() {
        let cases = [
            ("a = 1\nb = = 2\n", 10, "f:2:5: m\n 2 | b = = 2\n   |     ^"),
            ("a", 0, "f:1:1: m\n 1 | a\n   | ^"),
            ("", 7, "f:1:1: m\n 1 | \n   | ^"),
            ("x\r\n\tü = é!\r\n", 11, "f:2:7: m\n 2 |  ü = é!\n   |       ^"),
            ("\u{feff}k", 3, "f:1:1: m\n 1 | k\n   | ^"),
            ("ab\n", 3, "f:2:1: m\n 2 | \n   | ^"),
            ("a = 1\ntoken = \"s3cr\n", 16, "f:2:11: m\n 2 | (not shown: it may hold a secret)"),
            ("a = { token = 's3cr', b = , }", 26, "f:1:27: m\n 1 | (not shown: it may hold a secret)"),
            ("key = '''\nMIIE'\n", 15, "f:2:6: m\n 2 | (not shown: it may hold a secret)"),
            ("keys = ['a'\nb = ,", 16, "f:2:5: m\n 2 | b = ,\n   |     ^"),
            ("token = '''\ns3cr", 14, "f:2:3: m\n 2 | (not shown: it may hold a secret)"),
            ("token = '''\ns3cr'''\nb = ,", 24, "f:3:5: m\n 3 | b = ,\n   |     ^"),
        ];
        for (text, offset, want) in cases {
            assert_eq!(error_at("f", text, offset, "m").text, want, "{text:?} at {offset}");
        }
    }

    #[test]
    fn error_at_cuts_long_lines() {
        let text = "x".repeat(500) + "!" + &"y".repeat(500);
        let e = error_at("f", &text, 500, "m").into_text();
        let lines: Vec<&str> = e.lines().collect();
        let (source, caret) = (lines.get(1).unwrap_or(&""), lines.get(2).unwrap_or(&""));
        assert!(source.len() < 140, "{e}");
        assert!(source.contains('!'), "{e}");
        assert_eq!(source.find('!'), caret.find('^'), "{e}");
    }
}
