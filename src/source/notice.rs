//! When files that are a source are looked at again: inotify wakes us, changes are let come to rest, a look that was
//! disturbed is thrown away, and where nothing can be watched we look every second. What is looked at, and which
//! folders are to be watched for it, the caller's look decides; what a change means is decided elsewhere.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::backoff::{Backoff, Random};
use crate::error::{Result, os_text};
use crate::plan::Millis;
use crate::source::News;
use crate::store::Snapshot;
use crate::sys::host;
use crate::sys::inotify::{Inotify, Woken, wait};

/// Files written together arrive together: a change is taken up after this much quiet ...
const QUIET: Millis = 5;
/// ... or at the latest after this long.
const LATEST: Millis = 50;
/// How many looks in a row may be thrown away because something changed meanwhile.
const DISTURBED: usize = 20;
/// How many times in a row the parents of something missing may turn up.
const ROUNDS: usize = 32;
/// The least rest between two looks that fail, in milliseconds: a busy folder above something missing wakes us often.
const REST: Millis = 50;
/// How often to look where there is no inotify, in milliseconds, give or take a quarter.
const POLL: Millis = 1000;

/// One look: what it wants watched, and what came of that.
#[derive(Default)]
pub struct Look<'a> {
    eyes: Option<&'a Inotify>,
    /// Why not everything is watched.
    blinded: Option<io::Error>,
    /// What had to be there and is not.
    pub missing: Option<PathBuf>,
}

impl Look<'_> {
    /// Watches a folder's own entries, or a file. Before it is read: what changes after that is seen.
    pub fn watch(&mut self, path: &Path) {
        let armed = self.eyes.map_or(Ok(()), |eyes| eyes.watch(path));
        self.note(armed);
    }

    /// Watches the way to `root`: a folder or symlink in it may be replaced. Before any `watch`, whose wider interest
    /// in the same folder it would end (inotify_add_watch(2)).
    pub fn watch_way(&mut self, root: &Path) {
        let Some(eyes) = self.eyes else { return };
        // As it is written, and as it is without symlinks.
        let real = fs::canonicalize(root).unwrap_or_default();
        for at in root.ancestors().chain(real.ancestors()).filter(|at| !at.as_os_str().is_empty()) {
            self.note(eyes.watch_self(at));
        }
    }

    /// Notes why a watch failed, unless what was to be watched is gone or will fail to be read anyway.
    fn note(&mut self, armed: io::Result<()>) {
        if let Err(e) = armed
            && !is_gone(&e)
            && e.kind() != ErrorKind::PermissionDenied
        {
            self.blinded = Some(e);
        }
    }
}

/// It was there a moment ago.
pub fn is_gone(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::StaleNetworkFileHandle)
}

/// Looks whenever something may have changed, until `stop` becomes readable. The keys are told when they differ from
/// the last ones told; trouble is told each time, with the wait before the next look. `name` stands in a message.
pub fn watch(
    name: &Path,
    stop: Option<BorrowedFd<'_>>,
    say: &dyn Fn(News),
    open: fn() -> io::Result<Inotify>,
    look: &dyn Fn(&mut Look) -> Result<Snapshot>,
) {
    let mut random = Random::new(host::random());
    let mut backoff = Backoff::default();
    let mut last: Option<Arc<Snapshot>> = None;
    let mut is_blind = false;
    let mut disturbed = 0;
    loop {
        let begin = Instant::now();
        // Everything is armed anew for each look, and each folder before it is read: what changes after that is seen.
        let (eyes, mut blinded) = match open() {
            Ok(eyes) => (Some(eyes), None),
            Err(e) => (None, Some(e)),
        };
        let mut seen = Look { eyes: eyes.as_ref(), ..Look::default() };
        let found = look(&mut seen);
        // What changed while we looked may be half old and half new. Somebody who never rests is not waited for.
        if let Some(eyes) = &eyes
            && disturbed < DISTURBED
            && wait(stop, Some(eyes.as_fd()), Some(0)) == Woken::Ready
        {
            disturbed = disturbed.saturating_add(1);
            if gather(eyes, stop) {
                return;
            }
            continue;
        }
        disturbed = 0;
        blinded = blinded.or(seen.blinded.take());
        let is_trouble = backoff.is_failing();
        let was_blind = std::mem::replace(&mut is_blind, blinded.is_some());
        let mut pause = is_blind.then(|| POLL - POLL / 4 + random.below(POLL / 2));
        match found {
            Ok(snapshot) => {
                backoff.succeeded();
                if last.as_ref().is_none_or(|l| !l.same(&snapshot)) {
                    let snapshot = Arc::new(snapshot);
                    last = Some(snapshot.clone());
                    say(News::Data(snapshot));
                } else if is_trouble {
                    say(News::Recovered);
                }
            }
            Err(e) => {
                let retry = backoff.failed(&mut random);
                let missing = seen.missing.as_deref();
                let is_back = missing.zip(eyes.as_ref()).is_some_and(|(root, eyes)| watch_above(eyes, root));
                pause = Some(if is_back { 0 } else { pause.map_or(retry, |p| p.min(retry)) });
                say(News::Trouble(e.into_text(), retry));
            }
        }
        // After the keys: they can be read, if not at once.
        if let Some(e) = &blinded
            && !was_blind
        {
            let mut text = String::from("cannot watch ");
            text.push_str(&name.to_string_lossy());
            text.push_str(": ");
            text.push_str(&os_text(e));
            text.push_str("; looking every second instead (see the limits in /proc/sys/fs/inotify)");
            say(News::Trouble(text, POLL));
            if !backoff.is_failing() {
                say(News::Recovered);
            }
        }
        // A large folder that changes all the time may cost half of one processor, not all of it.
        let took = Millis::try_from(begin.elapsed().as_millis()).unwrap_or(POLL).min(POLL);
        let rest = if backoff.is_failing() { took.max(REST) } else { took };
        let woken = match wait(stop, None, Some(rest)) {
            Woken::Stop => Woken::Stop,
            _ => wait(stop, eyes.as_ref().map(AsFd::as_fd), pause),
        };
        match (woken, &eyes) {
            (Woken::Stop, _) => return,
            (Woken::Ready, Some(eyes)) => {
                if gather(eyes, stop) {
                    return;
                }
            }
            (Woken::Ready | Woken::Timeout, _) => {}
        }
    }
}

/// Lets changes come to rest. True when it is time to stop.
fn gather(eyes: &Inotify, stop: Option<BorrowedFd<'_>>) -> bool {
    let begin = Instant::now();
    let mut unfinished = 0;
    loop {
        unfinished = eyes.drain(unfinished);
        let past = Millis::try_from(begin.elapsed().as_millis()).unwrap_or(LATEST);
        let left = LATEST.saturating_sub(past);
        let quiet = if unfinished > 0 { left } else { left.min(QUIET) };
        match wait(stop, Some(eyes.as_fd()), Some(quiet)) {
            Woken::Stop => return true,
            Woken::Ready if left > 0 => {}
            Woken::Ready | Woken::Timeout => return false,
        }
    }
}

/// Watches the nearest folder above what is missing, to see it appear. True when it is there already.
fn watch_above(eyes: &Inotify, root: &Path) -> bool {
    // Each round is for a folder that appeared while we looked; after some rounds the next retry must do.
    for _ in 0..ROUNDS {
        let mut at = root;
        if eyes.watch(at).is_ok() {
            return true;
        }
        let below = loop {
            let below = at;
            at = match below.parent() {
                Some(up) if up.as_os_str().is_empty() => Path::new("."),
                Some(up) => up,
                None => return false,
            };
            if eyes.watch(at).is_ok() {
                break below;
            }
            if at == Path::new(".") {
                return false;
            }
        };
        if fs::symlink_metadata(below).is_err() {
            return false;
        }
    }
    false
}
