//! Temporary files of a destination: how they are named, how a live one is told from a leftover, and how leftovers go.
//! A live one is locked by its process (the lock ends with it, also by kill -9, and holds across pid namespaces).

use super::{Dest, resolve};
use crate::sys::{file, host};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most bytes of the base name in a temporary name, so that the whole fits into 255.
const BASE_MOST: usize = 200;
/// A process locks its file right after making it; past this age an unlocked one is left over, whoever has its pid now.
const LOCK_GRACE: Duration = Duration::from_secs(60);

/// A temporary file. It is removed when dropped, unless its path was taken away.
pub(super) struct Temp {
    pub(super) path: PathBuf,
    /// Holds the lock. A descriptor for reading: a script can be run from it (execve(2): ETXTBSY).
    _lock: Option<File>,
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The folder that holds `path`.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

/// Whether a path can name a file: not `/`, `..`, or anything with a slash at its end.
pub(super) fn names_a_file(path: &Path) -> bool {
    let end = path.as_os_str().as_bytes();
    path.file_name().is_some() && !end.ends_with(b"/") && !end.ends_with(b"/.")
}

/// Where a staged file can go that cannot stand beside its target.
pub(super) fn fallback_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(folder) = std::env::var_os("TMPDIR").filter(|f| !f.is_empty()) {
        folders.push(PathBuf::from(folder));
    }
    folders.push(PathBuf::from("/dev/shm"));
    folders.push(PathBuf::from("/tmp"));
    folders
}

/// What the temporary names of `target` begin with: `.<base>.pilotfish-`.
fn prefix(target: &Path) -> Vec<u8> {
    let base = target.file_name().unwrap_or(OsStr::new("")).as_bytes();
    let mut name = vec![b'.'];
    name.extend_from_slice(base.get(..BASE_MOST).unwrap_or(base));
    name.extend_from_slice(b".pilotfish-");
    name
}

/// Makes a temporary file for `target` in `folder`, that only we can read.
pub(super) fn create(folder: &Path, target: &Path) -> io::Result<(File, Temp)> {
    let mut tries = 0;
    loop {
        let mut name = prefix(target);
        name.extend_from_slice(std::process::id().to_string().as_bytes());
        name.push(b'-');
        let random = host::random();
        for shift in (0..64).step_by(4) {
            let digit = (random >> shift & 15) as u32;
            name.push(char::from_digit(digit, 16).unwrap_or('0') as u8);
        }
        let path = folder.join(OsString::from_vec(name));
        match file::create_private(&path) {
            Ok(made) => {
                let lock = file::open_here(&path).ok().filter(|f| f.try_lock().is_ok());
                return Ok((made, Temp { path, _lock: lock }));
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists && tries < 100 => tries += 1,
            Err(e) => return Err(e),
        }
    }
}

/// Removes what killed processes left of this very destination, and gives the number. Called before this process has
/// staged anything. Files of a live process stay.
pub fn clean_leftovers(dest: &Dest) -> usize {
    let Ok(place) = resolve(dest) else { return 0 };
    let mut folders = fallback_folders();
    if !place.special {
        folders.push(folder_of(&place.path).to_path_buf());
    }
    let prefix = prefix(&place.path);
    let mut removed = 0;
    for folder in folders {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(pid) = name.as_bytes().strip_prefix(prefix.as_slice()).and_then(pid_of) else { continue };
            let path = entry.path();
            if is_leftover(&path, pid) && fs::remove_file(&path).is_ok() {
                removed += 1;
            }
        }
    }
    removed
}

/// The pid in `<pid>-<16 hex digits>`.
fn pid_of(rest: &[u8]) -> Option<i32> {
    let (pid, random) = std::str::from_utf8(rest).ok()?.split_once('-')?;
    let ours = random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit());
    if ours && pid.bytes().all(|b| b.is_ascii_digit()) { pid.parse().ok() } else { None }
}

fn is_leftover(path: &Path, pid: i32) -> bool {
    // Our own pid: we have staged nothing yet, so a process before us had it (always 1 in a container).
    let maker_lives = i64::from(pid) != i64::from(std::process::id()) && file::is_alive(pid);
    let Ok(file) = file::open_here(path) else { return !maker_lives };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => false,
        // A file system without locks: the pid must do.
        Err(TryLockError::Error(_)) => !maker_lives,
        Ok(()) => {
            let age = file.metadata().and_then(|m| m.modified()).map(|t| t.elapsed().unwrap_or_default());
            !maker_lives || age.is_ok_and(|age| age > LOCK_GRACE)
        }
    }
}
