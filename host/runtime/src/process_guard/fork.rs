//! A child process that a plugin forked is not the host: it has one thread, and every lock as it was at that moment.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::*};

static IS_FORKED_CHILD: AtomicBool = AtomicBool::new(false);

/// From here on, a forked child knows that it is one.
pub(super) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler stores to an atomic and does nothing else, which is allowed in a forked child.
        unsafe { libc::pthread_atfork(None, None, Some(note_child)) };
    });
}

unsafe extern "C" fn note_child() {
    IS_FORKED_CHILD.store(true, Relaxed);
}

/// Whether this process is a child that was forked from the host and has not executed another program.
pub(super) fn is_forked_child() -> bool {
    IS_FORKED_CHILD.load(Relaxed)
}

/// Ends this process if it is a forked child: plugin code has come back into the host's code, and the host runs in the parent.
#[inline]
pub(crate) fn end_if_forked() {
    if is_forked_child() {
        end();
    }
}

#[cold]
fn end() -> ! {
    const TEXT: &[u8] =
        b"extman: a child process that a plugin forked came back into the host's code; it ends\n";
    // SAFETY: writes a constant to a descriptor; both calls are allowed in a forked child. Nothing can be done if it fails.
    unsafe {
        libc::write(libc::STDERR_FILENO, TEXT.as_ptr().cast(), TEXT.len());
        libc::_exit(0)
    }
}
