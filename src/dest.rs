//! Destination files: at every instant complete old or complete new content, with owner and mode right before it
//! becomes visible. It decides how one file is compared, staged, swapped, put back and tidied up after; never whether
//! or when. Symlinks are followed to the file they name; devices and FIFOs are written straight.

pub mod set;
mod temp;
pub mod tree;

use crate::error::{Error, Result, os_text};
use crate::md5::{self, Md5};
use crate::sys::file;
use crate::sys::pipe::write_patiently;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use temp::{Temp, folder_of};

pub use temp::clean_leftovers;

/// Symlinks followed before they count as a loop, as in Linux (path_resolution(7)).
const LINKS: usize = 40;
/// A file that is written in place is kept in memory meanwhile: none bigger than this, in bytes.
const IN_PLACE_MOST: u64 = 256 << 20;
/// How long a FIFO's or terminal's reader may keep us waiting.
const READER_PATIENCE: Duration = Duration::from_secs(1);

/// A file to be written, as configured.
#[derive(Clone)]
pub struct Dest {
    /// Where; symlinks are followed.
    pub path: PathBuf,
    /// Permission bits. Unset: the existing file's, else 0644.
    pub mode: Option<u32>,
    /// Owner. Unset: the existing file's, else ours.
    pub uid: Option<u32>,
    /// Group. Unset: the existing file's, else ours.
    pub gid: Option<u32>,
    /// Whether missing folders are made (0755).
    pub make_dirs: bool,
}

/// How a destination stands to new content.
pub enum Compared {
    /// Content, owner, group and mode are as they should be.
    Same,
    /// What differs: one sentence each, in confd's words where it has some.
    Differs(Vec<String>),
}

/// New content, complete and out of sight. Dropped without a commit, it leaves nothing behind.
pub struct Staged {
    /// As configured: for messages.
    name: String,
    target: PathBuf,
    want: Want,
    how: How,
    /// Empty when a temporary file in the target's folder holds it.
    content: Vec<u8>,
    temp: Option<Temp>,
    owner_kept: bool,
}

/// What a commit came to.
pub struct Committed {
    /// The file is a mount point or its folder takes no file, so it was overwritten in place: worth saying once.
    pub in_place: bool,
    /// False: the existing file's owner or group could not be kept (we are not root), it is ours now.
    pub owner_kept: bool,
}

/// A file's previous content, to be put back if the new one turns out bad.
pub struct Saved {
    content: Vec<u8>,
    mode: u32,
    uid: u32,
    gid: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Rename,
    InPlace,
    Special,
}

/// Mode and owner the file shall have; `must_*`: configured, so failing to set it is an error.
struct Want {
    mode: u32,
    uid: Option<u32>,
    gid: Option<u32>,
    must_uid: bool,
    must_gid: bool,
}

/// Where a destination's symlinks lead.
struct Place {
    path: PathBuf,
    /// A device, FIFO, socket or something under /proc.
    special: bool,
    found: Option<Metadata>,
}

/// How `content` differs from what is there.
///
/// # Errors
/// The destination is a folder (`Kind::Config`), or it cannot be looked at (`Kind::Transient`).
#[inline(never)]
pub fn compare(dest: &Dest, content: &[u8]) -> Result<Compared> {
    let place = resolve(dest)?;
    let name = dest.path.to_string_lossy();
    let say = |words: &[&str]| {
        let mut text = String::from(&*name);
        for word in words {
            text.push_str(word);
        }
        text
    };
    if place.special {
        return Ok(Compared::Differs(vec![say(&[" is no regular file and is written each time"])]));
    }
    let Some(found) = place.found else { return Ok(Compared::Differs(vec![say(&[" does not exist"])])) };
    let want = want(dest, Some(&found));
    let mut reasons = Vec::new();
    for (what, has, should) in [(" has UID ", found.uid(), want.uid), (" has GID ", found.gid(), want.gid)] {
        if let Some(should) = should.filter(|id| *id != has) {
            reasons.push(say(&[what, &has.to_string(), " should be ", &should.to_string()]));
        }
    }
    let has = found.mode() & 0o7777;
    if has != want.mode {
        reasons.push(say(&[" has mode ", &mode_text(has), " should be ", &mode_text(want.mode)]));
    }
    match file::open_here(&place.path).and_then(|mut f| sum_if_other(&mut f, content)) {
        Ok(None) => {}
        Ok(Some(sum)) => reasons.push(say(&[" has md5sum ", &sum, " should be ", &md5::hex(content)])),
        // It can still be replaced.
        Err(e) => reasons.push(say(&[" cannot be read: ", &os_text(&e)])),
    }
    Ok(if reasons.is_empty() { Compared::Same } else { Compared::Differs(reasons) })
}

/// Writes `content` where nobody looks yet: a temporary file in the target's own folder with its final owner and
/// mode; or, where that folder takes no file but the file itself can be written, in memory.
///
/// # Errors
/// `Kind::Transient` naming the file and the cause (disk full, permission, no folder); `Kind::Config` for a folder.
#[inline(never)]
pub fn stage(dest: &Dest, content: &[u8]) -> Result<Staged> {
    let place = resolve(dest)?;
    let want = want(dest, place.found.as_ref());
    stage_as(dest, place, want, content)
}

fn stage_as(dest: &Dest, place: Place, want: Want, content: &[u8]) -> Result<Staged> {
    let name = dest.path.to_string_lossy().into_owned();
    let target = place.path;
    let mut staged =
        Staged { name, target, want, how: How::Special, content: Vec::new(), temp: None, owner_kept: true };
    if place.special {
        staged.content = content.to_vec();
        return Ok(staged);
    }
    let mut made = temp::create(folder_of(&staged.target), &staged.target);
    if made.as_ref().is_err_and(|e| e.kind() == ErrorKind::NotFound) && dest.make_dirs {
        make_dirs(folder_of(&staged.target)).map_err(|e| staged.error("make the folder of ", &e, ""))?;
        made = temp::create(folder_of(&staged.target), &staged.target);
    }
    match made {
        Ok((mut file, temp)) => {
            staged.how = How::Rename;
            staged.temp = Some(temp);
            file.write_all(content).map_err(|e| staged.error("write ", &e, ""))?;
            staged.owner_kept = own(&file, &staged.want).map_err(|e| staged.owner_error(&e))?;
            // After the owner: a change of owner clears the set-id bits (chown(2)).
            file.set_permissions(Permissions::from_mode(staged.want.mode))
                .and_then(|()| sync(&file))
                .map_err(|e| staged.error("write ", &e, ""))?;
            Ok(staged)
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {
            Err(staged.error("write ", &e, ": its folder does not exist; create it or set make_dirs = true"))
        }
        Err(e) => {
            let closed = matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem);
            if closed && OpenOptions::new().write(true).open(&staged.target).is_ok() {
                staged.how = How::InPlace;
                staged.content = content.to_vec();
                return Ok(staged);
            }
            Err(staged.error("write ", &e, ""))
        }
    }
}

impl Staged {
    /// A file that holds the new content, for check commands. Where the content is staged in memory, it is written
    /// to the first folder of $TMPDIR, /dev/shm and /tmp that takes it, readable to us alone.
    ///
    /// # Errors
    /// No such folder: says what to do.
    pub fn path(&mut self) -> Result<&Path> {
        if self.temp.is_none() {
            self.temp = Some(self.beside()?);
        }
        Ok(self.temp.as_ref().map_or(Path::new(""), |t| &t.path))
    }

    fn beside(&self) -> Result<Temp> {
        let mut cause = io::Error::from(ErrorKind::NotFound);
        for folder in temp::fallback_folders() {
            match temp::create(&folder, &self.target) {
                Ok((mut file, temp)) => match file.write_all(&self.content) {
                    Ok(()) => return Ok(temp),
                    Err(e) => cause = e,
                },
                // A folder that is there says more than one that is not.
                Err(e) if e.kind() != ErrorKind::NotFound => cause = e,
                Err(_) => {}
            }
        }
        Err(self.error("stage ", &cause, " (for its check command: set TMPDIR to a folder that can be written)"))
    }

    /// Makes the new content visible at once, by rename; a mount point is overwritten in place instead, and restored
    /// when that fails (but not when we are killed at that very moment: nothing can be atomic there). Synced to disk,
    /// with its folder.
    ///
    /// # Errors
    /// `Kind::Transient`; the old content is still there.
    #[inline(never)]
    pub fn commit(mut self) -> Result<Committed> {
        match self.how {
            How::Special => {
                write_special(&self.target, &self.content).map_err(|e| {
                    let note = if file::has_no_reader(&e) { ": nobody reads from it" } else { "" };
                    self.error("write ", &e, note)
                })?;
                return Ok(Committed { in_place: false, owner_kept: true });
            }
            How::Rename => {
                let Some(mut temp) = self.temp.take() else { return self.in_place() };
                match fs::rename(&temp.path, &self.target) {
                    Ok(()) => {
                        temp.path.clear(); // nothing to remove any more
                        // What is visible is complete either way; a folder that we cannot open is not worth an error.
                        if let Ok(folder) = File::open(folder_of(&self.target)) {
                            let _ = folder.sync_all();
                        }
                        return Ok(Committed { in_place: false, owner_kept: self.owner_kept });
                    }
                    // rename(2): a mount point is busy, or on another file system.
                    Err(e) if matches!(e.kind(), ErrorKind::ResourceBusy | ErrorKind::CrossesDevices) => {
                        self.content = fs::read(&temp.path).map_err(|e| self.error("read back ", &e, ""))?;
                    }
                    Err(e) => return Err(self.error("write ", &e, "")),
                }
            }
            How::InPlace => {}
        }
        self.in_place()
    }

    /// Leaves the staged file where it is, and says where (confd's -keep-stage-file). The next start removes it.
    pub fn keep(self) -> Option<PathBuf> {
        self.temp.map(|mut temp| std::mem::take(&mut temp.path))
    }

    fn in_place(&self) -> Result<Committed> {
        let open = OpenOptions::new().read(true).write(true).open(&self.target);
        let read = open.and_then(|mut file| {
            let found = file.metadata()?;
            if found.len() > IN_PLACE_MOST {
                return Err(ErrorKind::FileTooLarge.into());
            }
            let mut old = Vec::new();
            file.read_to_end(&mut old)?;
            Ok((file, found, old))
        });
        let (mut file, found, old) = read.map_err(|e| self.error("write ", &e, " (in place)"))?;
        let mode = found.mode() & 0o7777;

        let written = self.overwrite(&mut file, mode);
        let Err(cause) = written else { return Ok(Committed { in_place: true, owner_kept: true }) };
        let back = replace(&mut file, &old)
            .and_then(|()| fchown(&file, Some(found.uid()), Some(found.gid())).or_else(unless_denied))
            .and_then(|()| set_mode(&file, mode));
        Err(match back {
            Ok(()) => self.error("write ", &cause, " (in place; its old content was put back)"),
            Err(e) => {
                let mut note = String::from(" (in place; and its old content could not be put back: ");
                note.push_str(&os_text(&e));
                note.push(')');
                self.error("write ", &cause, &note)
            }
        })
    }

    /// Owner and the stricter of both modes before the content, so that nobody reads what is not for them.
    fn overwrite(&self, file: &mut File, mode: u32) -> io::Result<()> {
        own(file, &self.want)?;
        set_mode(file, mode & self.want.mode)?;
        replace(file, &self.content)?;
        set_mode(file, self.want.mode)
    }

    #[cold]
    fn error(&self, verb: &str, cause: &io::Error, note: &str) -> Error {
        let mut what = String::from(verb);
        what.push_str(&self.name);
        let mut e = Error::io(&what, cause);
        e.text.push_str(note);
        e
    }

    #[cold]
    fn owner_error(&self, cause: &io::Error) -> Error {
        self.error("set the owner of ", cause, "; run pilotfish as root, or leave uid and gid out")
    }
}

/// What is there now, for a later `restore`. `None`: there is no file (or it is a device).
///
/// # Errors
/// `Kind::Transient` when it cannot be read.
pub fn read_for_rollback(dest: &Dest) -> Result<Option<Saved>> {
    let place = resolve(dest)?;
    let (Some(found), false) = (place.found, place.special) else { return Ok(None) };
    match fs::read(&place.path) {
        Ok(content) => Ok(Some(Saved { content, mode: found.mode() & 0o7777, uid: found.uid(), gid: found.gid() })),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_error("read ", &dest.path, &e)),
    }
}

/// Puts `saved` back, content, mode and owner, as atomically as it was replaced.
///
/// # Errors
/// As `stage` and `commit`.
#[inline(never)]
pub fn restore(dest: &Dest, saved: &Saved) -> Result<Committed> {
    let place = resolve(dest)?;
    // Where the owner had to be given up on the way there, it cannot be had on the way back.
    let want = Want { mode: saved.mode, uid: Some(saved.uid), gid: Some(saved.gid), must_uid: false, must_gid: false };
    stage_as(dest, place, want, &saved.content)?.commit()
}

fn want(dest: &Dest, found: Option<&Metadata>) -> Want {
    Want {
        mode: dest.mode.or(found.map(MetadataExt::mode)).unwrap_or(0o644) & 0o7777,
        uid: dest.uid.or(found.map(MetadataExt::uid)),
        gid: dest.gid.or(found.map(MetadataExt::gid)),
        must_uid: dest.uid.is_some(),
        must_gid: dest.gid.is_some(),
    }
}

#[cold]
fn io_error(verb: &str, path: &Path, cause: &io::Error) -> Error {
    let mut what = String::from(verb);
    what.push_str(&path.to_string_lossy());
    Error::io(&what, cause)
}

/// Follows the symlinks in the path's last part; the kernel follows those before it. A dangling one leads to the file
/// that is to be made.
fn resolve(dest: &Dest) -> Result<Place> {
    let mut path = dest.path.clone();
    for _ in 0..=LINKS {
        // Links under /proc/PID/fd do not lead where they say (proc(5)).
        let bytes = path.as_os_str().as_bytes();
        if bytes.starts_with(b"/proc/") || bytes.starts_with(b"/dev/fd/") {
            return Ok(Place { path, special: true, found: None });
        }
        let found = match fs::symlink_metadata(&path) {
            Ok(found) => Some(found),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(io_error("write ", &dest.path, &e)),
        };
        match &found {
            Some(m) if m.is_symlink() => {
                if fs::metadata(folder_of(&path)).is_ok_and(|folder| !file::may_follow(&folder, m)) {
                    let cause = io::Error::from(ErrorKind::PermissionDenied);
                    let mut e = io_error("write ", &dest.path, &cause);
                    e.text.push_str(": a symlink of another user in a folder that all may write");
                    return Err(e);
                }
                let link = fs::read_link(&path).map_err(|e| io_error("write ", &dest.path, &e))?;
                path = folder_of(&path).join(link);
                continue;
            }
            Some(m) if !m.is_dir() => return Ok(Place { special: !m.is_file(), path, found }),
            None if temp::names_a_file(&path) => return Ok(Place { path, special: false, found }),
            _ => {}
        }
        let mut text = String::from("cannot write ");
        text.push_str(&dest.path.to_string_lossy());
        text.push_str(": it is a folder; dest must name a file");
        return Err(Error::config(text));
    }
    Err(Error::transient({
        let mut text = String::from("cannot write ");
        text.push_str(&dest.path.to_string_lossy());
        text.push_str(": more than 40 symlinks lead on from it");
        text
    }))
}

/// The file's MD5 when its content is another.
fn sum_if_other(file: &mut File, content: &[u8]) -> io::Result<Option<String>> {
    let mut buffer = vec![0; 16384];
    let mut rest = content;
    let mut same = file.metadata()?.len() == content.len() as u64;
    while same {
        let n = file.read(&mut buffer)?;
        let piece = buffer.get(..n).unwrap_or(&[]);
        match rest.strip_prefix(piece) {
            Some(_) if n == 0 => return Ok(if rest.is_empty() { None } else { Some(sum(file, &mut buffer)?) }),
            Some(tail) => rest = tail,
            None => same = false,
        }
    }
    Ok(Some(sum(file, &mut buffer)?))
}

fn sum(file: &mut File, buffer: &mut [u8]) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut sum = Md5::default();
    loop {
        let n = file.read(buffer)?;
        if n == 0 {
            return Ok(sum.finish());
        }
        sum.update(buffer.get(..n).unwrap_or(&[]));
    }
}

/// A mode as Go prints it, for confd's log: `-rw-r--r--`; set-id and sticky bits as leading letters.
fn mode_text(mode: u32) -> String {
    let mut text = String::new();
    for (bit, letter) in [(0o4000, 'u'), (0o2000, 'g'), (0o1000, 't')] {
        if mode & bit != 0 {
            text.push(letter);
        }
    }
    if text.is_empty() {
        text.push('-');
    }
    for (i, letter) in "rwxrwxrwx".chars().enumerate() {
        text.push(if mode & (0o400 >> i) != 0 { letter } else { '-' });
    }
    text
}

/// Gives `file` its owner. False: one that was only to be kept could not be.
fn own(file: &File, want: &Want) -> io::Result<bool> {
    let has = file.metadata()?;
    let mut kept = true;
    let uid = want.uid.filter(|id| *id != has.uid());
    let gid = want.gid.filter(|id| *id != has.gid());
    // The group first: once the file is not ours, we may not change it any more.
    for (uid, gid, must) in [(None, gid, want.must_gid), (uid, None, want.must_uid)] {
        if uid.is_none() && gid.is_none() {
            continue;
        }
        match fchown(file, uid, gid) {
            Ok(()) => {}
            Err(e) if must => return Err(e),
            Err(_) => kept = false,
        }
    }
    Ok(kept)
}

fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    // Only when needed: a file that we may write but do not own refuses it.
    if file.metadata()?.mode() & 0o7777 == mode {
        return Ok(());
    }
    file.set_permissions(Permissions::from_mode(mode))
}

fn unless_denied(e: io::Error) -> io::Result<()> {
    if e.kind() == ErrorKind::PermissionDenied { Ok(()) } else { Err(e) }
}

/// The shorter length last: until then the old blocks stay ours, should they have to be written again.
fn replace(file: &mut File, content: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(content)?;
    file.set_len(content.len() as u64)?;
    sync(file)
}

fn sync(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(e) if !file::cannot_sync(&e) => Err(e),
        _ => Ok(()),
    }
}

/// A device, FIFO or the like is written straight. Whoever reads it may be slow or away, so not for long.
fn write_special(path: &Path, content: &[u8]) -> io::Result<()> {
    // Our own output: through the same descriptor, so that a redirected file keeps one position.
    let patience = u64::try_from(READER_PATIENCE.as_millis()).unwrap_or(1_000);
    match path.as_os_str().as_bytes() {
        b"/proc/self/fd/1" | b"/dev/fd/1" => return write_patiently(1, content, patience),
        b"/proc/self/fd/2" | b"/dev/fd/2" => return write_patiently(2, content, patience),
        _ => {}
    }
    let mut file = file::open_special(path)?;
    let until = Instant::now().checked_add(READER_PATIENCE);
    let mut rest = content;
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => rest = rest.get(n..).unwrap_or(&[]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock && until.is_some_and(|t| Instant::now() < t) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Makes `folder` and those above it that are missing, 0755 whatever the umask: the app has to get through.
fn make_dirs(folder: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    for part in folder.ancestors() {
        if part.as_os_str().is_empty() || part.exists() {
            break;
        }
        missing.push(part);
    }
    for part in missing.iter().rev() {
        match fs::DirBuilder::new().mode(0o755).create(part) {
            Ok(()) => fs::set_permissions(part, Permissions::from_mode(0o755))?,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
