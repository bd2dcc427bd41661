//! A child process that a plugin forked is not the host: it has one thread, and every lock as it was at that moment.

use crate::loader::CodeOwner;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::*};

static IS_FORKED_CHILD: AtomicBool = AtomicBool::new(false);
/// Whose code forked, as far as that is known.
static FORKED_BY: AtomicU64 = AtomicU64::new(0);
/// In memory that children share with the host: whose code forked one that came back into the host's code, and 1 more; 0 if none did.
static CAME_BACK: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());

/// From here on, a forked child knows that it is one.
pub(super) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let (access, kind) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
        );
        // SAFETY: asks for fresh memory, all zeros; a failure is handled.
        let shared = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<AtomicU64>(), access, kind, -1, 0) };
        if shared != libc::MAP_FAILED {
            CAME_BACK.store(shared.cast(), Release);
        }
        // SAFETY: the handler stores to atomics and does nothing else, which is allowed in a forked child.
        unsafe { libc::pthread_atfork(None, None, Some(note_child)) };
    });
}

unsafe extern "C" fn note_child() {
    FORKED_BY.store(CodeOwner::here().number(), Relaxed);
    IS_FORKED_CHILD.store(true, Relaxed);
}

/// Whether this process is a child that was forked from the host and has not executed another program.
pub(super) fn is_forked_child() -> bool {
    IS_FORKED_CHILD.load(Relaxed)
}

/// Whose code forked the last child that came back into the host's code since the last time, and was ended.
pub(super) fn take_came_back() -> Option<CodeOwner> {
    let by = came_back()?.swap(0, AcqRel);
    (by > 0).then(|| CodeOwner::from_number(by - 1))
}

fn came_back() -> Option<&'static AtomicU64> {
    // SAFETY: null, or the number that `watch` mapped for good.
    unsafe { CAME_BACK.load(Acquire).as_ref() }
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
    if let Some(by) = came_back() {
        by.store(FORKED_BY.load(Relaxed) + 1, Release);
    }
    const TEXT: &[u8] =
        b"extman: a child process that a plugin forked came back into the host's code; it ends\n";
    // SAFETY: writes a constant to a descriptor; both calls are allowed in a forked child. Nothing can be done if it fails.
    unsafe {
        libc::write(libc::STDERR_FILENO, TEXT.as_ptr().cast(), TEXT.len());
        libc::_exit(0)
    }
}
