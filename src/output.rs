//! What commands print, on its way into the log, line by line, or kept for a sensor. It waits for nobody and decides no
//! wording.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A line is cut after so many bytes.
const LINE: usize = 4 << 10;
/// Most that is kept for a sensor: a number is shorter.
const KEPT: usize = 64 << 10;
/// Most that is read in one turn of the loop.
const TURN: usize = 16 << 10;

/// One command's.
pub struct Output {
    /// The id of its command.
    pub id: u32,
    /// In front of each line; empty: nothing. Without one the text is kept.
    name: Option<String>,
    /// Until no more will come.
    file: Option<File>,
    text: Vec<u8>,
    /// Its command has ended: what is not kept any more is what it left behind that still writes.
    pub is_over: bool,
}

impl Output {
    /// `from` does not block. With a name its lines are logged, else all is kept.
    pub fn new(id: u32, from: OwnedFd, name: Option<String>) -> Output {
        Output { id, name, file: Some(File::from(from)), text: Vec::new(), is_over: false }
    }

    /// What to wait on, as long as something may come: the end would be there again and again.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// Reads what has come; false when no more will come.
    #[inline(never)]
    pub fn turn(&mut self, say: &mut dyn FnMut(&str)) -> bool {
        let mut piece = [0; 4 << 10];
        for _ in 0..TURN / piece.len() {
            let Some(file) = &mut self.file else { return false };
            match file.read(&mut piece) {
                Ok(0) => {
                    self.file = None;
                    self.flush(say);
                    return false;
                }
                Ok(n) => self.take(piece.get(..n).unwrap_or(&[]), say),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }

    fn take(&mut self, bytes: &[u8], say: &mut dyn FnMut(&str)) {
        for b in bytes {
            if self.name.is_none() {
                if self.text.len() < KEPT {
                    self.text.push(*b);
                }
            } else if *b == b'\n' {
                self.flush(say);
            } else {
                if self.text.len() >= LINE {
                    self.flush(say);
                }
                self.text.push(*b);
            }
        }
    }

    /// What has come of a line that has no end yet is one, too.
    pub fn flush(&mut self, say: &mut dyn FnMut(&str)) {
        let Some(name) = &self.name else { return };
        let line = std::mem::take(&mut self.text);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            return;
        }
        say(&if name.is_empty() { line.to_string() } else { [name, ": ", line].concat() });
    }

    /// Whether somebody will ask for all of it.
    pub fn is_kept(&self) -> bool {
        self.name.is_none()
    }

    /// All that was kept.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sys::pipe;
    use std::io::Write;

    #[test]
    fn lines_are_said_as_they_end_and_long_ones_in_pieces() {
        let (read, write) = pipe::output().unwrap();
        let mut write = File::from(write);
        let mut output = Output::new(1, read, Some("task x".to_string()));
        let mut said: Vec<String> = Vec::new();
        let mut say = |line: &str| said.push(line.to_string());
        write.write_all(b"one\r\n\ntwo\nthr").unwrap();
        assert!(output.turn(&mut say));
        write.write_all(&[&b"ee\n"[..], &[b'x'; LINE + 3]].concat()).unwrap();
        assert!(output.turn(&mut say));
        drop(write);
        assert!(!output.turn(&mut say));
        let long = ["task x: ", &"x".repeat(LINE)].concat();
        assert_eq!(said, ["task x: one", "task x: two", "task x: three", &*long, "task x: xxx"]);
    }

    #[test]
    fn what_a_sensor_prints_is_kept() {
        let (read, write) = pipe::output().unwrap();
        let mut output = Output::new(1, read, None);
        File::from(write).write_all(b" 1.5\n").unwrap();
        assert!(!output.turn(&mut |_| {}));
        assert_eq!(output.text(), " 1.5\n");
        assert!(output.fd().is_none(), "a command that goes on in silence would keep the loop from its rest");
        assert!(!output.turn(&mut |_| {}));
        assert_eq!(output.text(), " 1.5\n");
    }
}
