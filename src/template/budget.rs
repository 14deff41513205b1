//! What one render may cost: work and memory, both counted by `sys::meter`. It decides when a render has had enough;
//! the dialects ask it at every step that a loop repeats.

use crate::sys::meter;
use crate::value::Value;

/// Most steps of one render: some seconds. Tests and fuzz targets want their answer sooner.
const MOST_WORK: u64 = if cfg!(fuzzing) {
    100_000
} else if cfg!(test) {
    8_000_000
} else {
    50_000_000
};
/// Most bytes that one render holds, its output included. One function may take half as much more until it is noticed.
const MOST_MEMORY: usize = if cfg!(test) { 32 << 20 } else { 256 << 20 };

/// What a render has left. When it is dropped, the thread may work on without end.
pub struct Budget {
    held: usize,
}

impl Budget {
    /// Of a render that begins now, on this thread.
    pub fn new() -> Budget {
        meter::limit(Some(MOST_WORK));
        Budget { held: meter::held() }
    }
    /// Why the render must end here, if it must. Asked once more at the very end: what was cut short is no result.
    #[inline(never)]
    pub fn exceeded(&self) -> Option<&'static str> {
        if meter::is_spent() {
            return Some("more than 50,000,000 steps: does it end?");
        }
        let held = meter::held().wrapping_sub(self.held);
        // A render that gave back more than it took has wrapped.
        if held > MOST_MEMORY && held < usize::MAX / 2 {
            return Some("the render holds more than 256 MiB: does something grow without end?");
        }
        None
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        meter::limit(None);
    }
}

/// Charges the texts among a function's arguments: most functions look at each byte. Not its lists: what walks them
/// charges for that, as `len` in a loop over a long list is nothing unusual.
#[inline(never)]
pub fn charge(values: &[Value]) {
    for v in values {
        meter::charge(1 + v.as_bytes().map_or(0, |b| b.len() / 32));
    }
}
