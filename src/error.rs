//! The one error type. Its kind says what the caller does next and which exit code follows;
//! its text is whole: `cannot <verb> <object>: <cause>`, with the path or URL and what to do.

use std::fmt;

/// What the caller does with an error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command line is wrong: exit 64.
    Usage,
    /// confd's command line is wrong: exit 2, as Go's programs do.
    Flag,
    /// The configuration, a template or the data is wrong: exit 78 before the app runs, last good kept afterwards.
    Config,
    /// A template names a key that is not there (yet): wait for it.
    MissingKey,
    /// A server or a resource did not do its part this time: back off and try again.
    Transient,
    /// pilotfish itself cannot go on: exit 1.
    Fatal,
}

/// A kind and a whole sentence. One word wide, as it travels through nearly every function.
#[derive(Clone)]
pub struct Error(Box<Inner>);

/// What an error holds.
#[derive(Clone)]
pub struct Inner {
    /// What to do next.
    pub kind: Kind,
    /// What to tell a person. Never holds a secret.
    pub text: String,
}

impl std::ops::Deref for Error {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl std::ops::DerefMut for Error {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.0
    }
}

/// `Result` with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of this kind.
    pub fn new(kind: Kind, text: impl Into<String>) -> Error {
        Error::boxed(kind, text.into())
    }
    // Out of line, so that each `new` costs a call.
    #[inline(never)]
    fn boxed(kind: Kind, text: String) -> Error {
        Error(Box::new(Inner { kind, text }))
    }
    /// An error of this kind, with a word in place of each `%` of its sentence.
    #[inline(never)]
    pub fn filled(kind: Kind, pattern: &str, words: &[&str]) -> Error {
        Error::boxed(kind, crate::text::fill(pattern, words))
    }
    /// Its sentence alone.
    pub fn into_text(self) -> String {
        self.0.text
    }
    /// The command line is wrong.
    pub fn usage(text: impl Into<String>) -> Error {
        Error::new(Kind::Usage, text)
    }
    /// The configuration, a template or the data is wrong.
    pub fn config(text: impl Into<String>) -> Error {
        Error::new(Kind::Config, text)
    }
    /// It may work the next time.
    pub fn transient(text: impl Into<String>) -> Error {
        Error::new(Kind::Transient, text)
    }
    /// pilotfish cannot go on.
    pub fn fatal(text: impl Into<String>) -> Error {
        Error::new(Kind::Fatal, text)
    }
    /// "cannot `what`: `cause`", as a system call failed: transient.
    pub fn io(what: &str, cause: &std::io::Error) -> Error {
        let mut text = String::from("cannot ");
        text.push_str(what);
        text.push_str(": ");
        text.push_str(&os_text(cause));
        Error::transient(text)
    }
    /// The exit code that follows when this error ends the program.
    pub fn exit_code(&self) -> i32 {
        match self.kind {
            Kind::Usage => 64,
            Kind::Flag => 2,
            Kind::Config => 78,
            Kind::MissingKey | Kind::Transient => 69,
            Kind::Fatal => 1,
        }
    }
}

/// An I/O error as the C library words it, without Rust's "(os error N)".
pub fn os_text(e: &std::io::Error) -> String {
    let text = e.to_string();
    match text.find(" (os error") {
        Some(at) => text.get(..at).unwrap_or(&text).to_string(),
        None => text,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// By hand and short: a derived one costs bytes and says no more.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
