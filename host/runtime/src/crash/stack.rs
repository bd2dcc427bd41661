//! What a thread needs to run a handler of a fault: a stack, as its own may be used up, and that the signal is not blocked.

use super::handler::SIGNALS;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::*};

/// Room for several handlers at a time, with everything that a processor saves.
const BYTES: usize = 64 * 1024;
/// Below it, what is written goes nowhere.
const GUARD: usize = 4096;

static ENABLED: AtomicBool = AtomicBool::new(false);

/// From here on threads get one.
pub(super) fn enable() {
    ENABLED.store(true, Release);
}

/// The stack of one thread, which gives it back: dropped on another one it would be unmapped in use.
pub(crate) struct AlternateStack(*mut libc::c_void);

impl AlternateStack {
    /// Gives this thread one, unless none is needed or the system refuses it. Allocates nothing from Rust and takes no lock.
    pub fn begin() -> AlternateStack {
        if !ENABLED.load(Acquire) {
            return AlternateStack(ptr::null_mut());
        }
        let (access, kind) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: asks for fresh memory; a failure is handled. The lowest page of it is made inaccessible, and nothing lies there.
        let mapped = unsafe {
            let mapped = libc::mmap(ptr::null_mut(), GUARD + BYTES, access, kind, -1, 0);
            if mapped == libc::MAP_FAILED {
                return AlternateStack(ptr::null_mut());
            }
            libc::mprotect(mapped, GUARD, libc::PROT_NONE);
            mapped
        };
        let stack = libc::stack_t {
            ss_sp: mapped.wrapping_byte_add(GUARD),
            ss_flags: 0,
            ss_size: BYTES,
        };
        // SAFETY: this memory is the thread's until it is dropped.
        unsafe { libc::sigaltstack(&stack, ptr::null_mut()) };
        AlternateStack(mapped)
    }

    /// As [`begin`](Self::begin), for a thread that a plugin made: libraries often block all signals on theirs, and a fault that is blocked
    /// ends the process past every handler.
    pub fn begin_on_a_plugins_thread() -> AlternateStack {
        if ENABLED.load(Acquire) {
            let mut faults = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
            // SAFETY: fills a local set, and unblocks that on this thread.
            unsafe {
                libc::sigemptyset(faults.as_mut_ptr());
                for signal in SIGNALS {
                    libc::sigaddset(faults.as_mut_ptr(), signal);
                }
                libc::pthread_sigmask(libc::SIG_UNBLOCK, faults.as_ptr(), ptr::null_mut());
            }
        }
        AlternateStack::begin()
    }

    /// As a number, for who can't keep the value; made into the value again by [`from_address`](Self::from_address).
    pub fn into_address(self) -> usize {
        std::mem::ManuallyDrop::new(self).0.expose_provenance()
    }

    /// From [`into_address`](Self::into_address), once, on the same thread.
    pub fn from_address(address: usize) -> AlternateStack {
        AlternateStack(ptr::with_exposed_provenance_mut(address))
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        if self.0.is_null() {
            return;
        }
        let mut now = std::mem::MaybeUninit::<libc::stack_t>::zeroed();
        // SAFETY: asks for the thread's stack, and takes it away if it is this one, which is then nobody's and is unmapped.
        unsafe {
            if libc::sigaltstack(ptr::null(), now.as_mut_ptr()) == 0 {
                let mut now = now.assume_init();
                if now.ss_sp == self.0.wrapping_byte_add(GUARD) {
                    now.ss_flags = libc::SS_DISABLE;
                    libc::sigaltstack(&now, ptr::null_mut());
                }
            }
            libc::munmap(self.0, GUARD + BYTES);
        }
    }
}
