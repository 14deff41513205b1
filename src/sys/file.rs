//! The few file calls for which std has no words: flags of open(2), and whether a process still lives. What is
//! written where is `dest`'s to decide.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A new file that only we can read. Fails when the name is taken, also by a symlink (open(2): O_CREAT with O_EXCL).
pub fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Opens a device, FIFO or socket for writing at its end, without waiting for a reader.
pub fn open_special(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// Opens for reading, never following a symlink in the last part and never waiting for a FIFO's writer.
pub fn open_here(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

/// Whether the system says that this file or file system cannot be synced (fsync(2): EINVAL, EROFS), as opposed to
/// having tried and failed.
pub fn cannot_sync(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EROFS | libc::ENOSYS | libc::EOPNOTSUPP))
}

/// Whether a FIFO could not be opened because nobody has it open for reading (open(2): ENXIO).
pub fn has_no_reader(e: &io::Error) -> bool {
    e.raw_os_error() == Some(libc::ENXIO)
}

/// Whether a symlink may be followed as the kernel's fs.protected_symlinks has it (proc(5)): in a sticky folder that all
/// may write, only our own or the folder owner's.
pub fn may_follow(folder: &std::fs::Metadata, link: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    // SAFETY: geteuid cannot fail.
    let me = unsafe { libc::geteuid() };
    folder.mode() & 0o1002 != 0o1002 || link.uid() == me || link.uid() == folder.uid()
}

/// Whether a process of this id exists in our pid namespace, also one that we may not signal.
pub fn is_alive(pid: i32) -> bool {
    if pid <= 0 {
        return false;
    }
    // SAFETY: kill takes two integers and touches no memory of ours; signal 0 is only a check.
    let answer = unsafe { libc::kill(pid, 0) };
    answer == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}
