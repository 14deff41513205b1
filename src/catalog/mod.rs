//! Telling a catalog of our services: one thread for each, which registers it, says at each sign of life that it is well, and
//! takes it out. It decides how that is said and tried again; when, the state does.

use std::os::fd::RawFd;

use crate::error::Result;
use crate::plan::{Catalog, Service};

/// What became of a wish.
pub enum Word {
    /// The catalog has it, and knows that it is well; it did not before.
    Registered,
    /// The catalog has it no longer, or gave no answer in time.
    Left,
    /// The catalog cannot be told: why. Said once for each outage.
    Failed(String),
    /// It can be told again.
    Recovered,
}

/// One service's thread.
pub struct Keeper {}

impl Keeper {
    /// Starts it; nothing is told yet. `wake` is the writing end of the loop's self-pipe.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn start(_catalog: &Catalog, _service: &Service, _wake: RawFd) -> Result<Keeper> {
        Ok(Keeper {})
    }

    /// It is well now: registers it if the catalog does not have it, and says so.
    pub fn pass(&self) {}

    /// It is to be told of no longer. What is on its way is cut off, unless it registers.
    pub fn leave(&self) {}

    /// What happened since the last call.
    pub fn news(&self) -> Vec<Word> {
        Vec::new()
    }
}
