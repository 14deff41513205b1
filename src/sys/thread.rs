//! Worker threads: a small stack of their own and every signal blocked, so that signals reach the loop alone. By
//! hand rather than by std's Builder, whose book-keeping (names, hand-back of results, guard pages) costs 6,000 bytes.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;

/// What a thread runs.
type Work = Box<dyn FnOnce() + Send>;

extern "C" fn run(work: *mut c_void) -> *mut c_void {
    // SAFETY: the pointer is the box that `start` leaked for this thread alone.
    let work = unsafe { Box::from_raw(work.cast::<Work>()) };
    work();
    std::ptr::null_mut()
}

/// Starts a detached thread with so many bytes of stack; it ends with the process, if not before.
///
/// # Errors
/// The system has no room for another thread.
pub fn start(stack: usize, work: Work) -> io::Result<()> {
    let work: *mut Work = Box::into_raw(Box::new(work));
    let mask = super::signal::block_all(); // a new thread inherits the mask
    // SAFETY: the attributes live until the thread is made; the box is taken back if there is no thread.
    let rc = unsafe {
        let mut attr: libc::pthread_attr_t = std::mem::zeroed();
        libc::pthread_attr_init(&mut attr);
        libc::pthread_attr_setstacksize(&mut attr, stack);
        libc::pthread_attr_setdetachstate(&mut attr, libc::PTHREAD_CREATE_DETACHED);
        let mut id: libc::pthread_t = std::mem::zeroed();
        let rc = libc::pthread_create(&mut id, &attr, run, work.cast());
        libc::pthread_attr_destroy(&mut attr);
        if rc != 0 {
            drop(Box::from_raw(work));
        }
        rc
    };
    mask.restore();
    if rc == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(rc)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_runs_its_work() {
        let (tell, told) = std::sync::mpsc::channel();
        assert!(start(256 << 10, Box::new(move || tell.send(7).unwrap_or(()))).is_ok());
        assert_eq!(told.recv_timeout(std::time::Duration::from_secs(10)), Ok(7));
    }
}
