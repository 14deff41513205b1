//! The only room with unsafe code: thin, typed wrappers over libc. It decides nothing.

pub mod file;
pub mod folder;
pub mod host;
pub mod inotify;
pub mod meter;
pub mod pipe;
pub mod process;
pub mod signal;
pub mod socket;
pub mod terminal;
pub mod thread;
pub mod wipe;
