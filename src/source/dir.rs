//! A folder as a source: every regular file below it is a key, its content the value. `walk`
//! decides which files count, `notice` when the folder is looked at again; nothing is ever written there, and what a
//! change means is decided elsewhere.
//!
//! A key is the file's path below the folder with a leading `/`. One newline at a value's end (`\n` or `\r\n`) is not
//! part of it (but for folders of files, which are copies to the last byte): people write keys with echo. Names that begin with a dot are passed over, so a Kubernetes volume works
//! as it is mounted: its visible names are symlinks through `..data`. Symlinks to files and folders are followed.
//! File systems that other machines change (NFS) send no events; there only what happens here is seen.

pub(super) mod walk;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use crate::source::{News, notice};
use crate::sys::inotify::Inotify;

use walk::Walk;
pub use walk::load;

/// Watches the folder until `stop` becomes readable (`None`: for ever). `is_exact`: a newline at a value's end stays.
pub fn watch(root: &Path, prefix: &str, is_exact: bool, stop: Option<BorrowedFd<'_>>, say: &dyn Fn(News)) {
    watch_with(root, prefix, is_exact, stop, say, Inotify::new);
}

/// Watches the folder until `stop` becomes readable.
fn watch_with(
    root: &Path,
    prefix: &str,
    is_exact: bool,
    stop: Option<BorrowedFd<'_>>,
    say: &dyn Fn(News),
    open: fn() -> io::Result<Inotify>,
) {
    notice::watch(root, stop, say, open, &|look| {
        look.watch_way(root);
        let mut walk = Walk::new(prefix, look);
        walk.is_exact = is_exact;
        walk.run(root)
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
