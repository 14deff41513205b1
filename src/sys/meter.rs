//! What a thread allocates: how much it holds at this moment, and how much work it has done, in steps. Renders are
//! bounded by both, so that a template that never ends or grows without end is an error and not the end of the program.
//! It only counts; what is too much is decided elsewhere.
//!
//! As the global allocator it sees also what libraries allocate, and work that allocates nothing is charged by hand.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// One step is one allocation, or so many bytes of one: about what a step of a template costs.
const STEP: u64 = 256;

struct Meter {
    held: Cell<usize>,
    /// In 1/256 steps.
    work: Cell<u64>,
    /// Where it is enough.
    limit: Cell<u64>,
}

thread_local! {
    // Nothing to drop and nothing to run first: it may be used at any time of a thread's life.
    static METER: Meter = const { Meter { held: Cell::new(0), work: Cell::new(0), limit: Cell::new(u64::MAX) } };
}

/// Bytes that this thread has allocated and not freed. It wraps where a thread frees what others allocated: only the
/// difference of two readings says something.
pub fn held() -> usize {
    METER.with(|m| m.held.get())
}

/// Sets how many steps more this thread may do; `None`: any number.
pub fn limit(steps: Option<u64>) {
    METER.with(|m| m.limit.set(steps.map_or(u64::MAX, |n| m.work.get().saturating_add(n.saturating_mul(STEP)))));
}

/// Whether it has done more than that. Long loops look here and stop half-way; who set the limit says so then.
#[inline(never)]
pub fn is_spent() -> bool {
    METER.with(|m| m.work.get() > m.limit.get())
}

/// Counts work that allocates nothing.
#[inline(never)]
pub fn charge(steps: usize) {
    METER.with(|m| m.work.set(m.work.get().wrapping_add((steps as u64).wrapping_mul(STEP))));
}

/// One block more, or one that grew from `old` bytes to `new`.
fn count(old: usize, new: usize) {
    METER.with(|m| {
        m.held.set(m.held.get().wrapping_sub(old).wrapping_add(new));
        m.work.set(m.work.get().wrapping_add(STEP + new.saturating_sub(old) as u64));
    });
}

/// The system's allocator, counted.
struct Counted;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

// SAFETY: everything is handed to the system's allocator as it comes; counting allocates nothing and cannot fail.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size());
        // SAFETY: the caller's promise is the system allocator's condition; also below.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        METER.with(|m| m.held.set(m.held.get().wrapping_sub(layout.size())));
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), size);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_holds_and_does_is_counted() {
        let work = || METER.with(|m| m.work.get() / STEP);
        let (before, work_before) = (held(), work());
        let mut block: Vec<u8> = Vec::with_capacity(1 << 20);
        assert_eq!(held().wrapping_sub(before), 1 << 20);
        assert!((4097..4100).contains(&(work() - work_before)), "{}", work() - work_before);
        block.reserve_exact(2 << 20);
        assert_eq!(held().wrapping_sub(before), 2 << 20);
        std::thread::spawn(|| drop(vec![0_u8; 1 << 20])).join().unwrap_or(());
        drop(block);
        // What the thread's handle took and gave back is none of a megabyte.
        assert!(held().wrapping_sub(before).wrapping_add(1 << 16) < 1 << 17);
        let work_before = work();
        charge(10);
        assert_eq!(work() - work_before, 10);
        limit(Some(10));
        charge(10);
        assert!(!is_spent());
        charge(1);
        assert!(is_spent());
        limit(None);
        assert!(!is_spent());
    }
}
