//! `pthread_exit` in an entry of a plugin, which would end a thread of the host.
//!
//! The host's frames below the entry can't be unwound by it: that ends the process. So the thread stands still for good instead, which
//! the host knows how to treat: as a call that does not return. A thread that a plugin made itself ends as it asks to.

use super::acts::note;
use super::fork::is_forked_child;
use super::real::Real;
use crate::loader::is_in_entry;
use extman_model::ProcessPart;
use libc::c_void;
use std::sync::OnceLock;
use std::time::Duration;

static OR_ELSE: OnceLock<fn()> = OnceLock::new();

/// What is run on a thread of the host that a plugin would have ended, before it stands still. For a process that can't go on then.
pub(crate) fn on_thread_end(run: fn()) {
    let _ = OR_ELSE.set(run);
}

/// Ends the calling thread, if it is not the host's.
///
/// # Safety
/// As `pthread_exit(3)`.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_exit(value: *mut c_void) -> ! {
    static REAL: Real<unsafe extern "C-unwind" fn(*mut c_void) -> !> = Real::new(c"pthread_exit");
    if is_in_entry() && !is_forked_child() {
        note(ProcessPart::Threads);
        if let Some(run) = OR_ELSE.get() {
            run();
        }
        stand_still();
    }
    match REAL.get() {
        // SAFETY: the caller's contract.
        Some(real) => unsafe { real(value) },
        None => stand_still(),
    }
}

fn stand_still() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// The name that the executable defines here, with the address that libraries bind to.
pub(super) fn name() -> (&'static str, *const c_void) {
    ("pthread_exit", pthread_exit as *const c_void)
}
