//! Log lines: one write(2) to standard error each (or to standard output), in the shape people know from confd and
//! confd-sidecar, from Go's log, as key=value text, or as JSON. A closed or full log pipe never stops anything. It decides no wording.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::plan::{Level, Log, LogFormat};
use crate::state::Voice;
use crate::sys::pipe::{is_writable, write_patiently};
use crate::text::quoted;

/// Writes log lines.
pub struct Logger {
    log: Log,
    host: String,
    pid: String,
    /// Lines that could not be written since the last one that could.
    lost: Cell<u32>,
}

/// A reader of the log that keeps up within this many milliseconds loses nothing; one that does not is waited for
/// once, and then no longer: the app must not suffer from its log.
const PATIENCE: u64 = 200;

impl Logger {
    /// For this process.
    pub fn new(log: Log) -> Logger {
        let pid = std::process::id().to_string();
        Logger { log, host: crate::sys::host::name(), pid, lost: Cell::new(0) }
    }

    /// Turns the log of each step on, or off again, and says so.
    pub fn toggle_debug(&mut self) {
        let is_on = self.log.level == Level::Debug;
        self.log.level = if is_on { Level::Info } else { Level::Debug };
        self.line(Level::Info, Voice::Confd, if is_on { "debug is off" } else { "debug is on" });
    }

    /// Writes one line, if its level is wanted.
    pub fn line(&self, level: Level, voice: Voice, text: &str) {
        if level < self.log.level {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let lost = self.lost.get();
        let patience = if lost == 0 { PATIENCE } else { 0 };
        let fd = if self.log.is_stdout { 1 } else { 2 };
        if !is_writable(fd, patience) {
            self.lost.set(lost.saturating_add(1));
            return;
        }
        if lost > 0 {
            self.lost.set(0);
            let text = [&lost.to_string(), " log lines were lost: nobody read them"].concat();
            let line = self.shape(now, Level::Warning, Voice::Supervisor, &text);
            let _ = write_patiently(fd, line.as_bytes(), patience);
        }
        let line = self.shape(now, level, voice, text);
        let _ = write_patiently(fd, line.as_bytes(), patience);
    }

    fn shape(&self, now: u64, level: Level, voice: Voice, text: &str) -> String {
        let mut l = String::with_capacity(text.len() + 64);
        let word = level.name().to_ascii_lowercase();
        match (self.log.format, voice) {
            (LogFormat::Go, _) => {
                push_time(&mut l, now, "/ ", " ");
                push_one_line(&mut l, text);
            }
            (LogFormat::Default, Voice::Supervisor) => {
                push_time(&mut l, now, "/ ", "");
                l.push_str(" supervisor[");
                l.push_str(&self.pid);
                l.push_str("]: ");
                push_one_line(&mut l, text);
            }
            (LogFormat::Default, Voice::Confd) => {
                push_time(&mut l, now, "-T", "Z");
                for part in [" ", &self.host, " ", &self.log.program, "[", &self.pid, "]: ", level.name(), " "] {
                    l.push_str(part);
                }
                push_one_line(&mut l, text);
            }
            (LogFormat::Text, _) => {
                l.push_str("time=");
                push_time(&mut l, now, "-T", "Z");
                l.push_str(" level=");
                l.push_str(&word);
                l.push_str(" msg=");
                push_quoted(&mut l, text);
            }
            (LogFormat::Logrus, _) => {
                l.push_str("time=\"");
                push_time(&mut l, now, "-T", "Z");
                l.push_str("\" level=");
                l.push_str(&word);
                l.push_str(" msg=");
                let text = text.trim_end();
                // Quoted where it must be, and as Go does it.
                let is_bare = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
                l.push_str(&if is_bare { text.to_string() } else { quoted(text) });
            }
            (LogFormat::Json, _) => {
                l.push_str("{\"time\":\"");
                push_time(&mut l, now, "-T", "Z");
                l.push_str("\",\"level\":\"");
                l.push_str(&word);
                l.push_str("\",\"msg\":");
                push_quoted(&mut l, text);
                l.push('}');
            }
            (LogFormat::LogrusJson, _) => {
                l.push_str("{\"level\":\"");
                l.push_str(&word);
                l.push_str("\",\"msg\":");
                push_quoted(&mut l, text);
                l.push_str(",\"time\":\"");
                push_time(&mut l, now, "-T", "Z");
                l.push_str("\"}");
            }
        }
        l.push('\n');
        l
    }
}

/// `2017/03/10 14:23:46` or `2017-03-10T14:23:46Z`, in UTC: `marks` are the separator of the date and the one
/// between date and time.
fn push_time(out: &mut String, unix: u64, marks: &str, end: &str) {
    let (date_mark, time_mark) = marks.split_at_checked(1).unwrap_or(("-", "T"));
    let (year, month, day) = date(unix / 86_400);
    let s = unix % 86_400;
    push_number(out, year, 4);
    for (mark, n) in [(date_mark, month), (date_mark, day), (time_mark, s / 3600), (":", s / 60 % 60), (":", s % 60)] {
        out.push_str(mark);
        push_number(out, n, 2);
    }
    out.push_str(end);
}

fn push_number(out: &mut String, n: u64, width: usize) {
    let digits = n.to_string();
    for _ in digits.len()..width {
        out.push('0');
    }
    out.push_str(&digits);
}

/// Year, month and day of a day counted from 1970-01-01 (the Gregorian calendar's 400-year cycle of 146,097 days,
/// with years that begin in March, so that the leap day is their last).
fn date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// A log line is one line: the further lines of a message (the source line an error shows) are set in.
fn push_one_line(out: &mut String, text: &str) {
    for (i, line) in text.trim_end().split('\n').enumerate() {
        if i > 0 {
            out.push_str("\n    ");
        }
        out.push_str(line);
    }
}

/// In double quotes, escaped as JSON wants it.
fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.trim_end().chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 32 => {
                out.push_str("\\u00");
                for four in [u32::from(c) >> 4, u32::from(c) & 15] {
                    out.push(char::from_digit(four, 16).unwrap_or('0'));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let logger = |format| Logger {
            log: Log { format, level: Level::Info, program: "/bin/confd".to_string(), is_stdout: false },
            host: "h".to_string(),
            pid: "12".to_string(),
            lost: Cell::new(0),
        };
        let at = 1_489_155_826; // 2017-03-10 14:23:46 UTC
        let text = "a \"b\"\n  ^";
        for (format, voice, want) in [
            (LogFormat::Default, Voice::Supervisor, "2017/03/10 14:23:46 supervisor[12]: a \"b\"\n      ^\n"),
            (LogFormat::Default, Voice::Confd, "2017-03-10T14:23:46Z h /bin/confd[12]: INFO a \"b\"\n      ^\n"),
            (LogFormat::Text, Voice::Confd, "time=2017-03-10T14:23:46Z level=info msg=\"a \\\"b\\\"\\n  ^\"\n"),
            (
                LogFormat::Json,
                Voice::Confd,
                "{\"time\":\"2017-03-10T14:23:46Z\",\"level\":\"info\",\"msg\":\"a \\\"b\\\"\\n  ^\"}\n",
            ),
            (LogFormat::Go, Voice::Supervisor, "2017/03/10 14:23:46 a \"b\"\n      ^\n"),
            (LogFormat::Go, Voice::Confd, "2017/03/10 14:23:46 a \"b\"\n      ^\n"),
            (
                LogFormat::Logrus,
                Voice::Supervisor,
                "time=\"2017-03-10T14:23:46Z\" level=info msg=\"a \\\"b\\\"\\n  ^\"\n",
            ),
            (
                LogFormat::LogrusJson,
                Voice::Supervisor,
                "{\"level\":\"info\",\"msg\":\"a \\\"b\\\"\\n  ^\",\"time\":\"2017-03-10T14:23:46Z\"}\n",
            ),
        ] {
            assert_eq!(logger(format).shape(at, Level::Info, voice, text), want);
        }
        for (text, want) in
            [("a-b.2\n", "a-b.2"), ("a_b", "\"a_b\""), ("/x", "\"/x\""), ("\u{e9}\u{1}", "\"\u{e9}\\x01\"")]
        {
            let line = logger(LogFormat::Logrus).shape(at, Level::Warning, Voice::Confd, text);
            assert_eq!(line, format!("time=\"2017-03-10T14:23:46Z\" level=warning msg={want}\n"));
        }
    }

    #[test]
    fn dates() {
        for (unix, want) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            let mut text = String::new();
            push_time(&mut text, unix, "-T", "Z");
            assert_eq!(text, want);
        }
    }
}
