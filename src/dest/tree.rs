//! A folder kept in step with a set of files: what differs is staged in a hidden folder inside of it, and put in place
//! file by file, or all at once by a link that changes places, as the kubelet does it in a volume. It decides how; never
//! whether or when. Nothing below the folder is reached through a symlink, whoever may have planted one.
//!
//! | name | what it is |
//! |---|---|
//! | `..pilotfish` | the names we gave, a NUL behind each, folders with a `/`: what may be removed again |
//! | `..pilotfish-*` | what is staged, and the content that `..data` leads to |
//! | `..data` | of a swapped folder: leads to the content; `a` leads to `..data/a` |
//!
//! `..pilotfish` of a swapped folder stands in the content itself. Elsewhere it names a file before there is one, and until
//! there is none: whatever is killed at whatever moment, the next start knows what is ours.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::set::{Item, Set, flaw, folders_of};
use super::{Dest, Want, make_dirs, own, sum_if_other, sync};
use crate::error::{Error, Result};
use crate::plan::Tree;
use crate::sys::folder::Folder;
use crate::sys::host;
use crate::text::{fill, hex, quoted};

/// The list of what is ours.
const LIST: &str = "..pilotfish";
/// In front of what is staged.
const STAGE: &str = "..pilotfish-";
/// Leads to the content of a swapped folder.
const DATA: &str = "..data";
/// Most bytes of a list.
const LIST_MOST: u64 = 64 << 20;
/// So many names stand in a message.
const NAMED: usize = 8;

/// The folder, and how what we make in it shall be.
struct Site {
    path: PathBuf,
    root: Folder,
    want: Want,
    is_swapped: bool,
}

/// New files, complete and out of sight. Dropped without a commit, they leave nothing behind.
pub struct Staged {
    site: Site,
    /// The staged folder's name; empty once there is nothing to remove.
    stage: String,
    /// What `..data` led to.
    live: Option<String>,
    /// All names there shall be, ...
    names: Vec<String>,
    /// ... those that differ ...
    fresh: Vec<String>,
    /// ... and, of a swapped folder, what stands in it for them.
    tops: Vec<String>,
    /// What is ours, and what will be.
    old: Vec<String>,
    new: Vec<String>,
    /// Links of ours that nothing stands for any more.
    stale: Vec<String>,
}

impl Site {
    #[inline(never)]
    fn open(dest: &Dest, tree: &Tree) -> Result<Site> {
        let name = dest.path.to_string_lossy();
        let mut root = Folder::open(&dest.path);
        if root.as_ref().is_err_and(|e| e.kind() == ErrorKind::NotFound) && dest.make_dirs {
            root = make_dirs(&dest.path).and_then(|()| Folder::open(&dest.path));
        }
        let root = root.map_err(|e| {
            let note = if e.kind() == ErrorKind::NotFound { "; create it or set make_dirs = true" } else { "" };
            let mut e = Error::io(&fill("open the folder %", &[&name]), &e);
            e.text.push_str(note);
            e
        })?;
        let (uid, gid) = (dest.uid, dest.gid);
        let want = Want { mode: tree.dir_mode, uid, gid, must_uid: true, must_gid: true };
        Ok(Site { path: dest.path.clone(), root, want, is_swapped: tree.is_swapped })
    }

    #[cold]
    fn error(&self, verb: &str, name: &str, cause: &io::Error) -> Error {
        let mut e = Error::io(&fill("% %/%", &[verb, &self.path.to_string_lossy(), name]), cause);
        // open(2) with O_NOFOLLOW: a symlink is no folder.
        if cause.kind() == ErrorKind::NotADirectory {
            e.text.push_str(" (a file or a symlink that is not ours is in the way)");
        }
        e
    }

    fn own(&self, file: &File, mode: u32) -> io::Result<()> {
        own(file, &self.want)?;
        file.set_permissions(Permissions::from_mode(mode))
    }

    /// What `..data` leads to, if that is ours.
    fn live(&self) -> Result<Option<String>> {
        match self.root.link_of(DATA) {
            Some(link) if link.starts_with(STAGE) && !link.contains('/') => Ok(Some(link)),
            Some(_) => {
                let text = "cannot write the folder %: its ..data is somebody else's; name another folder";
                Err(Error::config(fill(text, &[&self.path.to_string_lossy()])))
            }
            None => Ok(None),
        }
    }

    /// Where the files are: in the folder, or in what `..data` leads to.
    fn area(&self, live: Option<&str>) -> Option<Folder> {
        if self.is_swapped { self.root.folder(live?).ok() } else { self.root.0.try_clone().ok().map(Folder) }
    }

    /// Whether a file is not as it shall be.
    #[inline(never)]
    fn differs(&self, area: &Folder, item: &Item) -> bool {
        let look = || -> io::Result<bool> {
            let (folder, leaf) = walk(area, &item.name, None)?;
            let mut file = folder.file(leaf)?;
            let found = file.metadata()?;
            let is_same = found.is_file()
                && found.mode() & 0o7777 == item.mode
                && self.want.uid.is_none_or(|id| id == found.uid())
                && self.want.gid.is_none_or(|id| id == found.gid());
            Ok(!is_same || sum_if_other(&mut file, &item.bytes)?.is_some())
        };
        look().unwrap_or(true)
    }

    /// Writes the list of what is ours, as atomically as all else.
    #[inline(never)]
    fn write_list(&self, area: &Folder, list: &[String]) -> Result<()> {
        let temp = [STAGE, "list"].concat();
        let mut text = Vec::new();
        for line in list {
            text.extend_from_slice(line.as_bytes());
            text.push(0);
        }
        let write = || {
            let _ = area.remove(&temp, false);
            let mut file = area.create(&temp)?;
            file.write_all(&text)?;
            sync(&file)?;
            area.rename(&temp, area, LIST)
        };
        write().map_err(|e| self.error("write", LIST, &e))
    }

    /// Removes those of these names of ours that are meant; who has put something else in their place keeps it.
    #[inline(never)]
    fn remove(&self, names: &[String], is_meant: &dyn Fn(&str) -> bool) -> Result<()> {
        // What is in a folder comes before the folder itself.
        for line in names.iter().rev().filter(|n| is_meant(n)) {
            let bare = line.trim_end_matches('/');
            let Ok((folder, leaf)) = walk(&self.root, bare, None) else { continue };
            match folder.remove(leaf, line.ends_with('/')) {
                Err(e) if line == bare && !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => {
                    return Err(self.error("remove", bare, &e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes what was staged here, by whomever, but for what is kept.
    #[inline(never)]
    fn tidy(&self, keep: [Option<&str>; 2]) {
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_kept = name.to_str().is_none_or(|n| !n.starts_with(STAGE) || keep.contains(&Some(n)));
            if !is_kept && fs::remove_file(entry.path()).is_err() {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// The folder that holds a name below `base`, and the name's last part. With a site the folders are made.
#[inline(never)]
fn walk<'n>(base: &Folder, name: &'n str, make: Option<&Site>) -> io::Result<(Folder, &'n str)> {
    let mut at = Folder(base.0.try_clone()?);
    let (folders, leaf) = name.rsplit_once('/').unwrap_or(("", name));
    for part in folders.split('/').filter(|p| !p.is_empty()) {
        at = match (at.folder(part), make) {
            (Err(e), Some(site)) if e.kind() == ErrorKind::NotFound => {
                at.make(part)?;
                let made = at.folder(part)?;
                site.own(&made.0, site.want.mode)?;
                made
            }
            (found, _) => found?,
        };
    }
    Ok((at, leaf))
}

/// The names that are ours. What could not be ours is passed over, whoever wrote it there.
#[inline(never)]
fn listed(area: &Folder) -> Vec<String> {
    let mut text = Vec::new();
    if let Ok(file) = area.file(LIST) {
        let _ = file.take(LIST_MOST).read_to_end(&mut text);
    }
    let mut all = Vec::new();
    for line in text.split(|b| *b == 0) {
        if let Ok(line) = std::str::from_utf8(line)
            && flaw(line.strip_suffix('/').unwrap_or(line)).is_none()
        {
            insert(&mut all, line);
        }
    }
    all
}

/// Puts a name into a sorted list; false when it was there.
#[inline(never)]
fn insert(list: &mut Vec<String>, name: &str) -> bool {
    let at = list.binary_search_by(|n| n.as_str().cmp(name));
    if let Err(at) = at {
        list.insert(at, name.to_string());
    }
    at.is_err()
}

fn has(list: &[String], name: &str) -> bool {
    list.binary_search_by(|n| n.as_str().cmp(name)).is_ok()
}

/// What stands in one list and not in the other.
fn without(list: &[String], other: &[String]) -> Vec<String> {
    list.iter().filter(|n| !has(other, n)).cloned().collect()
}

/// Syncs the folders that hold these names; those that cannot be are as good as they are.
#[inline(never)]
fn sync_folders(base: &Folder, names: &[String]) {
    let mut all = Vec::new();
    for folder in names.iter().flat_map(|n| folders_of(n)) {
        insert(&mut all, folder);
    }
    for name in &all {
        if let Ok(folder) = walk(base, name, None).and_then(|(folder, leaf)| folder.folder(leaf)) {
            let _ = folder.0.sync_all();
        }
    }
    let _ = base.0.sync_all();
}

/// Compares the folder with the files it shall have and writes what differs where nobody looks yet; with `is_whole` all of
/// them. Nothing differs: nothing is written, and there is nothing to commit. Gives what differs, in words.
///
/// # Errors
/// `Kind::Transient` naming the file and the cause; `Kind::Config` for a folder that is somebody else's.
#[inline(never)]
pub fn stage(dest: &Dest, tree: &Tree, set: &Set, is_whole: bool) -> Result<Option<(Staged, String)>> {
    let site = Site::open(dest, tree)?;
    let live = site.live()?;
    let area = site.area(live.as_deref());
    let mut staged = Staged {
        old: area.as_ref().map(listed).unwrap_or_default(),
        names: set.items.iter().map(|i| i.name.clone()).collect(),
        fresh: Vec::new(),
        tops: Vec::new(),
        new: Vec::new(),
        stale: Vec::new(),
        stage: String::new(),
        live,
        site,
    };
    for item in &set.items {
        if area.as_ref().is_none_or(|area| staged.site.differs(area, item)) {
            staged.fresh.push(item.name.clone());
        }
    }
    let is_linked = staged.look();
    let Staged { site, live, fresh, old, new, stale, .. } = &staged;
    let gone = without(old, new);
    if fresh.is_empty() && gone.is_empty() && stale.is_empty() && is_linked && site.is_swapped == live.is_some() {
        // What was there already, as it should be, is ours from now on.
        if old != new && !site.is_swapped {
            site.write_list(&site.root, new)?;
        }
        return Ok(None);
    }
    let reason = words(&site.path, fresh, &gone);
    let is_whole = is_whole || site.is_swapped;
    staged.write(set, is_whole)?;
    Ok(Some((staged, reason)))
}

/// What differs: `PATH: new or changed: a, b; gone: c`.
#[inline(never)]
fn words(path: &Path, fresh: &[String], gone: &[String]) -> String {
    let mut text = path.to_string_lossy().into_owned();
    let mut mark = ": ";
    for (what, names) in [("new or changed: ", fresh), ("gone: ", gone)] {
        if names.is_empty() {
            continue;
        }
        let mut list = names.get(..names.len().min(NAMED)).unwrap_or(names).join(", ");
        if list.contains(char::is_control) {
            list = quoted(&list);
        }
        if names.len() > NAMED {
            list.push_str(&fill(" and % more", &[&(names.len() - NAMED).to_string()]));
        }
        for part in [mark, what, &list] {
            text.push_str(part);
        }
        mark = "; ";
    }
    if mark == ": " {
        text.push_str(" is laid out in another way");
    }
    text
}

impl Staged {
    /// Looks at the names there are: which will be ours, which links lead nowhere. Whether all links are as they shall be.
    #[inline(never)]
    fn look(&mut self) -> bool {
        let Staged { site, names, tops, old, new, stale, live, .. } = self;
        let mut folders = Vec::new();
        for name in names.iter() {
            insert(new, name);
            insert(tops, name.split('/').next().unwrap_or(name));
            for folder in folders_of(name) {
                if !insert(&mut folders, folder) {
                    continue;
                }
                // A folder that was there before us stays when the last file has gone.
                let line = [folder, "/"].concat();
                let found = || walk(&site.root, folder, None).and_then(|(at, leaf)| at.folder(leaf));
                if site.is_swapped || has(old, &line) || found().is_err() {
                    insert(new, &line);
                }
            }
        }
        if !site.is_swapped {
            tops.clear();
        }
        if live.is_some() {
            for entry in fs::read_dir(&site.path).into_iter().flatten().flatten() {
                if let Some(name) = entry.file_name().to_str()
                    && site.is_link(name)
                    && !has(tops, name)
                {
                    insert(stale, name);
                }
            }
        }
        // A list from the time before the links may name what is somebody else's by now.
        tops.iter().all(|top| site.is_link(top)) && (!site.is_swapped || site.root.file(LIST).is_err())
    }

    #[inline(never)]
    fn write(&mut self, set: &Set, is_whole: bool) -> Result<()> {
        let mut random = Vec::new();
        for shift in [0, 32] {
            hex(&mut random, (host::random() >> shift) as u32, 8, false);
        }
        let stage = [STAGE, &String::from_utf8_lossy(&random)].concat();
        let site = &self.site;
        // Without its random name: the same failure is the same message, which is said once.
        let fail = |e: &io::Error| Error::io(&fill("write in the folder %", &[&site.path.to_string_lossy()]), e);
        site.root.make(&stage).map_err(|e| fail(&e))?;
        self.stage.clone_from(&stage);
        let base = site.root.folder(&stage).map_err(|e| fail(&e))?;
        for item in set.items.iter().filter(|i| is_whole || has(&self.fresh, &i.name)) {
            let write = || {
                let (folder, leaf) = walk(&base, &item.name, Some(site))?;
                let mut file = folder.create(leaf)?;
                file.write_all(&item.bytes)?;
                site.own(&file, item.mode)?;
                sync(&file)
            };
            write().map_err(|e| site.error("write", &item.name, &e))?;
        }
        if site.is_swapped {
            site.write_list(&base, &self.new)?;
            site.own(&base.0, site.want.mode).map_err(|e| fail(&e))?;
            sync_folders(&base, &self.names);
        }
        Ok(())
    }

    /// The staged folder, for a check.
    pub fn path(&self) -> PathBuf {
        self.site.path.join(&self.stage)
    }

    /// Makes the new files visible, and those that are no longer wanted vanish.
    ///
    /// # Errors
    /// `Kind::Transient`: each file is still complete, old or new, and a later commit finishes it.
    #[inline(never)]
    pub fn commit(mut self) -> Result<()> {
        // Who reads the content of before may go on until there is another.
        let (before, now) = if self.site.is_swapped {
            (self.live.take(), self.swap()?)
        } else {
            self.place()?;
            (None, self.stage.clone())
        };
        self.site.tidy([before.as_deref(), Some(&now)]);
        Ok(())
    }

    /// Whether a name of ours is in the way of a file or of a folder that is needed.
    fn is_in_way(&self, line: &str) -> bool {
        let bare = line.trim_end_matches('/');
        let below = [bare, "/"].concat();
        let at = self.names.partition_point(|n| *n < below);
        has(&self.names, bare)
            || folders_of(bare).any(|folder| has(&self.names, folder))
            || (line == bare && self.names.get(at).is_some_and(|n| n.starts_with(&below)))
    }

    /// File by file.
    #[inline(never)]
    fn place(&mut self) -> Result<()> {
        let Staged { site, old, new, .. } = &*self;
        let mut all = old.clone();
        for name in new {
            insert(&mut all, name);
        }
        if all != *old {
            site.write_list(&site.root, &all)?;
        }
        let mut gone = without(old, new);
        for name in self.stale.iter().filter(|n| !has(&self.names, n)) {
            insert(&mut gone, name);
        }
        site.remove(&gone, &|n| self.is_in_way(n))?;
        let base = site.root.folder(&self.stage).map_err(|e| site.error("write", &self.stage, &e))?;
        for name in &self.fresh {
            let rename = || {
                let (from, leaf) = walk(&base, name, None)?;
                from.rename(leaf, &walk(&site.root, name, Some(site))?.0, leaf)
            };
            rename().map_err(|e| site.error("write", name, &e))?;
        }
        sync_folders(&site.root, &self.fresh);
        site.remove(&gone, &|_| true)?;
        if self.live.is_some() {
            let _ = site.root.remove(DATA, false);
        }
        sync_folders(&site.root, &gone);
        if all != *new { site.write_list(&site.root, new) } else { Ok(()) }
    }

    /// All at once. Gives the name of what is live now.
    #[inline(never)]
    fn swap(&mut self) -> Result<String> {
        let site = &self.site;
        // Of the time when it was written file by file.
        let before = listed(&site.root);
        site.relink(DATA, &self.stage)?;
        let now = std::mem::take(&mut self.stage);
        let _ = site.root.0.sync_all();
        site.remove(&before, &|n| !has(&self.tops, n))?;
        for top in self.tops.iter().filter(|top| !site.is_link(top)) {
            site.relink(top, &[DATA, "/", top].concat())?;
        }
        site.remove(&self.stale, &|_| true)?;
        let _ = site.root.remove(LIST, false);
        let _ = site.root.0.sync_all();
        Ok(now)
    }
}

impl Site {
    /// Whether it is a link of ours: `a` leads to `..data/a`.
    fn is_link(&self, name: &str) -> bool {
        self.root.link_of(name).is_some_and(|to| to.strip_prefix("..data/") == Some(name))
    }

    /// A link in place of what has its name.
    fn relink(&self, name: &str, to: &str) -> Result<()> {
        let temp = [STAGE, "link"].concat();
        let _ = self.root.remove(&temp, false);
        let link = self.root.link(&temp, to).and_then(|()| self.root.rename(&temp, &self.root, name));
        link.map_err(|e| self.error("write", name, &e))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.stage.is_empty() {
            let _ = fs::remove_dir_all(self.site.path.join(&self.stage));
        }
    }
}

/// The files of ours that are there now, for a rollback. `None`: there is none.
#[inline(never)]
pub fn read(dest: &Dest, tree: &Tree) -> Option<Set> {
    let site = Site::open(dest, tree).ok()?;
    let live = site.live().ok()?;
    let area = site.area(live.as_deref())?;
    let mut set = Set::default();
    for name in listed(&area) {
        let Ok((folder, leaf)) = walk(&area, &name, None) else { continue };
        // A folder has no name behind its `/`, so it cannot be opened.
        let Ok(mut file) = folder.file(leaf) else { continue };
        let mut bytes = Vec::new();
        if let (Ok(found), Ok(_)) = (file.metadata(), file.read_to_end(&mut bytes)) {
            set.items.push(Item { name, mode: found.mode() & 0o7777, bytes: Arc::from(bytes) });
        }
    }
    (!set.items.is_empty()).then_some(set)
}

/// Puts these files back.
///
/// # Errors
/// As `stage` and `commit`.
pub fn restore(dest: &Dest, tree: &Tree, set: &Set) -> Result<()> {
    stage(dest, tree, set, false)?.map_or(Ok(()), |(staged, _)| staged.commit())
}

/// Removes what killed processes left staged in the folder. Called before this process has staged anything there.
pub fn clean_leftovers(dest: &Dest, tree: &Tree) {
    let tree = Tree { parts: Vec::new(), ..*tree };
    if let Ok(site) = Site::open(&Dest { make_dirs: false, ..dest.clone() }, &tree)
        && let Ok(live) = site.live()
    {
        site.tidy([live.as_deref(), None]);
    }
}

#[cfg(test)]
mod tests;
