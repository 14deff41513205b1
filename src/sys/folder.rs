//! A folder held open, and what can be done to the entries in it: each call takes one name, and none follows a symlink
//! there, so that nobody who may write in the folder leads us out of it between a look and a write. What is written, and
//! where, is `dest`'s to decide.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A folder.
pub struct Folder(pub File);

/// An answer of a system call.
fn checked(rc: libc::c_int) -> io::Result<libc::c_int> {
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(rc) }
}

fn name(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::ErrorKind::InvalidFilename.into())
}

impl Folder {
    /// The folder at a path, through whatever symlinks lead to it.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(path: &Path) -> io::Result<Folder> {
        OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path).map(Folder)
    }

    #[inline(never)]
    fn open_at(&self, entry: &str, flags: libc::c_int) -> io::Result<File> {
        let entry = name(entry)?;
        let flags = flags | libc::O_CLOEXEC | libc::O_NOFOLLOW;
        let only_us: libc::c_uint = 0o600;
        // SAFETY: a null-terminated string that lives through the call; the descriptor is new and owned by nobody else.
        unsafe {
            let fd = checked(libc::openat(self.0.as_raw_fd(), entry.as_ptr(), flags, only_us))?;
            Ok(File::from_raw_fd(fd))
        }
    }

    /// A folder in it.
    ///
    /// # Errors
    /// As open(2); `NotADirectory` for a symlink, wherever it leads.
    pub fn folder(&self, entry: &str) -> io::Result<Folder> {
        self.open_at(entry, libc::O_RDONLY | libc::O_DIRECTORY).map(Folder)
    }

    /// A file in it, for reading; the writer of a FIFO is not waited for.
    ///
    /// # Errors
    /// As open(2), for a symlink, too.
    pub fn file(&self, entry: &str) -> io::Result<File> {
        self.open_at(entry, libc::O_RDONLY | libc::O_NONBLOCK)
    }

    /// A new file in it that only we can read.
    ///
    /// # Errors
    /// As open(2); there is an entry of this name.
    pub fn create(&self, entry: &str) -> io::Result<File> {
        self.open_at(entry, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL)
    }

    /// A new folder in it that only we can enter.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn make(&self, entry: &str) -> io::Result<()> {
        let entry = name(entry)?;
        // SAFETY: a null-terminated string that lives through the call.
        checked(unsafe { libc::mkdirat(self.0.as_raw_fd(), entry.as_ptr(), 0o700) }).map(drop)
    }

    /// A new symlink in it.
    ///
    /// # Errors
    /// As symlink(2).
    pub fn link(&self, entry: &str, to: &str) -> io::Result<()> {
        let (entry, to) = (name(entry)?, name(to)?);
        // SAFETY: null-terminated strings that live through the call.
        checked(unsafe { libc::symlinkat(to.as_ptr(), self.0.as_raw_fd(), entry.as_ptr()) }).map(drop)
    }

    /// Where a symlink in it leads; nothing for what is none.
    pub fn link_of(&self, entry: &str) -> Option<String> {
        let entry = name(entry).ok()?;
        let mut buffer = vec![0; 4096];
        let (fd, size) = (self.0.as_raw_fd(), buffer.len());
        // SAFETY: a null-terminated string and valid memory of that length, which live through the call.
        let n = unsafe { libc::readlinkat(fd, entry.as_ptr(), buffer.as_mut_ptr().cast(), size) };
        buffer.truncate(usize::try_from(n).ok()?);
        String::from_utf8(buffer).ok()
    }

    /// Renames an entry of it to one of another folder, in place of what has that name there.
    ///
    /// # Errors
    /// As rename(2).
    pub fn rename(&self, entry: &str, folder: &Folder, new: &str) -> io::Result<()> {
        let (entry, new) = (name(entry)?, name(new)?);
        let (from, to) = (self.0.as_raw_fd(), folder.0.as_raw_fd());
        // SAFETY: null-terminated strings that live through the call.
        checked(unsafe { libc::renameat(from, entry.as_ptr(), to, new.as_ptr()) }).map(drop)
    }

    /// Removes an entry: a folder, which must be empty, or anything else.
    ///
    /// # Errors
    /// As unlink(2) and rmdir(2).
    pub fn remove(&self, entry: &str, is_folder: bool) -> io::Result<()> {
        let entry = name(entry)?;
        let flags = if is_folder { libc::AT_REMOVEDIR } else { 0 };
        // SAFETY: a null-terminated string that lives through the call.
        checked(unsafe { libc::unlinkat(self.0.as_raw_fd(), entry.as_ptr(), flags) }).map(drop)
    }
}
