//! TLS for the sources; not here yet: whoever asks for it is told so.

use std::io::{self, Read, Write};

/// What a session reads from and writes to.
pub trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// How one server is trusted.
pub struct Context;

/// One connection's TLS.
pub struct Session(());

impl Context {
    /// As the plan says.
    pub fn new(_: &crate::plan::Tls) -> Context {
        Context
    }
    /// Whether the files are those of the last session.
    pub fn is_fresh(&self) -> bool {
        true
    }
    /// A session with this host.
    ///
    /// # Errors
    /// Why there can be none, in words.
    pub fn session(&self, _host: &str) -> Result<Session, String> {
        Err("this version speaks no TLS".to_string())
    }
    /// An error in words, if it is one of TLS.
    pub fn why(&self, _host: &str, _e: &io::Error) -> Option<String> {
        None
    }
}

impl Session {
    /// Makes sure who the server is.
    ///
    /// # Errors
    /// As `Context::why` says.
    pub fn handshake(&mut self, _wire: &mut dyn Wire) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Reads what there is.
    ///
    /// # Errors
    /// As `Context::why` says.
    pub fn read(&mut self, wire: &mut dyn Wire, into: &mut [u8]) -> io::Result<usize> {
        wire.read(into)
    }
    /// Writes all.
    ///
    /// # Errors
    /// As `Context::why` says.
    pub fn write(&mut self, wire: &mut dyn Wire, bytes: &[u8]) -> io::Result<()> {
        wire.write_all(bytes)
    }
    /// Says that nothing more comes.
    pub fn close(&mut self, _wire: &mut dyn Wire) {}
}
