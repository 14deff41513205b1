//! Scalars of YAML as text: plain, quoted, literal and folded, with their escapes and what becomes of line ends. What
//! the text means is decided in `resolve`.

use super::{Parser, Scalar, is_blank, is_break, is_flow};
use crate::error::Result;

impl<'a> Parser<'a> {
    /// A plain or quoted scalar. Plain text goes on in the next lines that are indented by `min` or more, unless it
    /// turns out to be a key.
    pub(super) fn scalar(&mut self, min: usize, flow: bool) -> Result<Scalar> {
        let at = self.at;
        if let Some(quote @ (b'"' | b'\'')) = self.peek() {
            return Ok(Scalar { at, text: self.quoted(quote)?, plain: false });
        }
        let after = self.byte(1).filter(|b| !(flow && is_flow(*b)));
        match self.peek() {
            Some(b'-' | b'?' | b':') if after.is_some() && !self.ends(1) => {}
            Some(
                b'-' | b'?' | b':' | b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>' | b'%'
                | b'@' | b'`',
            ) => return Err(self.fail(at, "plain text cannot begin like this: expected a value, or text in quotes")),
            _ => {}
        }
        let mut text = self.plain_line(flow).to_string();
        loop {
            let back = (self.at, self.line);
            self.take(is_blank);
            let breaks = if self.peek().is_some_and(is_break) { self.breaks() } else { 0 };
            let indent = self.bytes.get(self.line..self.at).unwrap_or(&[]).iter().take_while(|b| **b == b' ').count();
            let more = breaks > 0 && (flow || indent >= min) && !self.is_marker();
            let end = self.peek().is_none_or(|b| b == b'#' || flow && (is_flow(b) || b == b':' && self.ends_key(flow)));
            if !more || end {
                (self.at, self.line) = back;
                return Ok(Scalar { at, text, plain: true });
            }
            fold(&mut text, breaks);
            text.push_str(self.plain_line(flow));
            if !flow && self.ends_key(flow) {
                return Err(self.fail(
                    self.at,
                    "a key must be on one line: is this line indented too far, or does text with `: ` need quotes?",
                ));
            }
        }
    }

    /// Whether a `:` that ends a key comes next on this line.
    pub(super) fn ends_key(&self, flow: bool) -> bool {
        let blank = self.bytes.get(self.at..).unwrap_or(&[]).iter().take_while(|b| is_blank(**b)).count();
        let after = blank + 1;
        self.byte(blank) == Some(b':') && (self.ends(after) || flow && self.byte(after).is_some_and(is_flow))
    }

    /// Plain text up to the end of its line, without the space there.
    fn plain_line(&mut self, flow: bool) -> &'a str {
        let from = self.at;
        let mut end = from;
        while let Some(b) = self.peek() {
            let stop = match b {
                b'\n' | b'\r' => true,
                b':' => self.ends_key(flow),
                b'#' => self.at > end,
                _ => flow && is_flow(b),
            };
            if stop {
                break;
            }
            self.at += 1;
            if !is_blank(b) {
                end = self.at;
            }
        }
        self.at = end;
        self.text.get(from..end).unwrap_or("")
    }

    /// Skips line ends, empty lines and the space before the next text. Gives how many lines ended.
    fn breaks(&mut self) -> usize {
        let mut n = 0usize;
        while self.newline() {
            n += 1;
            if self.is_marker() {
                break;
            }
            self.take(is_blank);
        }
        n
    }

    fn quoted(&mut self, quote: u8) -> Result<String> {
        let start = self.at;
        self.at += 1;
        let mut out = String::new();
        // Space up to here was escaped, and stays at a line's end.
        let mut kept = 0;
        loop {
            match quote {
                b'"' => out.push_str(self.take(|b| !matches!(b, b'"' | b'\\' | b'\n' | b'\r'))),
                _ => out.push_str(self.take(|b| !matches!(b, b'\'' | b'\n' | b'\r'))),
            }
            match self.peek() {
                Some(b'\\') => {
                    self.escape(&mut out)?;
                    kept = out.len();
                }
                Some(b) if b == quote => {
                    self.at += 1;
                    if quote == b'"' || self.peek() != Some(quote) {
                        return Ok(out);
                    }
                    self.at += 1;
                    out.push('\'');
                }
                Some(_) => {
                    while out.len() > kept && out.ends_with([' ', '\t']) {
                        out.pop();
                    }
                    let n = self.breaks();
                    fold(&mut out, n);
                    if self.is_marker() {
                        return Err(self.fail(start, "this text has no closing quote in its document"));
                    }
                }
                None => return Err(self.fail(start, "this text has no closing quote")),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<()> {
        let at = self.at;
        self.at += 1;
        let c = self.peek().unwrap_or(0);
        if is_break(c) {
            // The line end does not count; empty lines after it do.
            for _ in 1..self.breaks() {
                out.push('\n');
            }
            return Ok(());
        }
        self.at += 1;
        let digits = match c {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            _ => 0,
        };
        let found = match c {
            b'0' => Some('\0'),
            b'a' => Some('\x07'),
            b'b' => Some('\x08'),
            b't' | b'\t' => Some('\t'),
            b'n' => Some('\n'),
            b'v' => Some('\x0b'),
            b'f' => Some('\x0c'),
            b'r' => Some('\r'),
            b'e' => Some('\x1b'),
            b' ' | b'"' | b'/' | b'\\' => Some(char::from(c)),
            b'N' => Some('\u{85}'),
            b'_' => Some('\u{a0}'),
            b'L' => Some('\u{2028}'),
            b'P' => Some('\u{2029}'),
            b'x' | b'u' | b'U' => {
                let mut code = self.hex(digits);
                // JSON writes a character past U+FFFF as two halves.
                if let Some(high @ 0xd800..0xdc00) = code
                    && self.text.get(self.at..).is_some_and(|rest| rest.starts_with("\\u"))
                {
                    self.at += 2;
                    code = match self.hex(4) {
                        Some(low @ 0xdc00..0xe000) => Some(0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff)),
                        _ => None,
                    };
                }
                code.and_then(char::from_u32)
            }
            _ => None,
        };
        match found {
            Some(c) => out.push(c),
            None => {
                return Err(self.fail(
                    at,
                    "expected an escape: \\0 \\a \\b \\t \\n \\v \\f \\r \\e \\\" \\/ \\\\ \\N \\_ \\L \\P \\xXX \\uXXXX \
                     \\UXXXXXXXX",
                ));
            }
        }
        Ok(())
    }

    /// The number in so many hex digits.
    fn hex(&mut self, digits: usize) -> Option<u32> {
        let mut code = 0u32;
        for _ in 0..digits {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16))?;
            code = code.checked_mul(16)?.checked_add(digit)?;
            self.at += 1;
        }
        Some(code)
    }

    /// Literal (`|`) or folded (`>`) text below `parent`.
    pub(super) fn block_scalar(&mut self, parent: Option<usize>) -> Result<Scalar> {
        let at = self.at;
        let folded = self.peek() == Some(b'>');
        self.at += 1;
        let header = self.take(|b| matches!(b, b'+' | b'-' | b'1'..=b'9'));
        let (mut digit, mut chomp) = (0, 0);
        for b in header.bytes() {
            match b {
                b'1'..=b'9' if digit == 0 => digit = usize::from(b - b'0'),
                b'+' | b'-' if chomp == 0 => chomp = b,
                _ => return Err(self.fail(at, "expected at most one digit and one of `+` and `-` after `|` or `>`")),
            }
        }
        let min = parent.map_or(0, |n| n + 1);
        // How far the text is indented: said, or found by its first line.
        let mut indent = (digit > 0).then(|| parent.unwrap_or(0).saturating_add(digit));
        let from = self.at;
        self.take(is_blank);
        if self.peek() == Some(b'#') && self.at > from {
            self.take(|b| !is_break(b));
        }
        if !self.newline() && self.peek().is_some() {
            return Err(self.fail(self.at, "expected the text on the lines below, indented"));
        }
        let mut text = String::new();
        let (mut breaks, mut was_deep) = (0usize, true);
        loop {
            while self.peek() == Some(b' ') && indent.is_none_or(|n| self.column() < n) {
                self.at += 1;
            }
            if self.peek().is_some_and(is_break) {
                self.newline();
                breaks += 1;
                continue;
            }
            let column = self.column();
            if self.peek().is_none() || column < indent.unwrap_or(min) || self.is_marker() {
                break;
            }
            indent = Some(column);
            // Lines that begin with space keep the line ends around them.
            let is_deep = self.peek().is_some_and(is_blank);
            match folded && !is_deep && !was_deep {
                true => fold(&mut text, breaks),
                false => push_breaks(&mut text, breaks),
            }
            was_deep = is_deep;
            text.push_str(self.take(|b| !is_break(b)));
            breaks = usize::from(self.newline());
        }
        match chomp {
            b'+' => push_breaks(&mut text, breaks),
            0 if !text.is_empty() => push_breaks(&mut text, breaks.min(1)),
            _ => {}
        }
        // The line that ends it is still to be read.
        if self.peek().is_some() {
            self.at = self.line;
        }
        Ok(Scalar { at, text, plain: false })
    }
}

/// One line end is a space; of more, the first does not count.
fn fold(out: &mut String, breaks: usize) {
    match breaks {
        0 => {}
        1 => out.push(' '),
        _ => push_breaks(out, breaks.saturating_sub(1)),
    }
}

fn push_breaks(out: &mut String, breaks: usize) {
    for _ in 0..breaks {
        out.push('\n');
    }
}
