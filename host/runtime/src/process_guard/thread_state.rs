//! What belongs to a thread of the host while plugin code runs on it: the signal mask and the float mode.

use extman_model::ProcessPart;

/// As the calling thread has it.
#[derive(Clone, Copy)]
pub(super) struct ThreadState {
    mask: libc::sigset_t,
    float: u32,
}

impl ThreadState {
    pub(super) fn of_this_thread() -> Self {
        let mut mask = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: with a null new mask this only writes the old one.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr()) };
        ThreadState {
            // SAFETY: written by the call; zeroed before.
            mask: unsafe { mask.assume_init() },
            float: float_mode(),
        }
    }

    /// Puts back on this thread what plugin code has changed since, and says what that was.
    pub(super) fn put_back(&self) -> Vec<(ProcessPart, &'static str)> {
        let now = ThreadState::of_this_thread();
        let is_member = |set: &libc::sigset_t, signal| {
            // SAFETY: reads a set that is written.
            unsafe { libc::sigismember(set, signal) == 1 }
        };
        let mut changed = Vec::new();
        if (1..=64).any(|signal| is_member(&self.mask, signal) != is_member(&now.mask, signal)) {
            // SAFETY: a set that was read from this thread.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.mask, std::ptr::null_mut()) };
            changed.push((
                ProcessPart::SignalMask,
                "changed the signal mask of the host's thread",
            ));
        }
        if self.float != now.float {
            set_float_mode(self.float);
            changed.push((
                ProcessPart::FloatMode,
                "changed the float mode of the host's thread",
            ));
        }
        changed
    }
}

/// Bits of MXCSR that tell what has happened, and not how it is calculated.
const FLAGS: u32 = 0x3f;

fn float_mode() -> u32 {
    let mut mode = 0_u32;
    // SAFETY: stores the register to a local; changes nothing.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &mut mode, options(nostack)) };
    mode & !FLAGS
}

fn set_float_mode(mode: u32) {
    // SAFETY: a value that was read from the register, with the flags cleared: back to what the compiler takes for granted.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &mode, options(nostack, readonly)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mask_of_a_thread_is_put_back_and_named() {
        let before = ThreadState::of_this_thread();
        let changed = || -> Vec<_> { before.put_back().into_iter().map(|(part, _)| part).collect() };
        assert_eq!(changed(), []);
        let mut all = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: fills a local set, and blocks it on this thread.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), std::ptr::null_mut());
        }
        assert_eq!(changed(), [ProcessPart::SignalMask]);
        assert_eq!(changed(), []);
    }

    #[test]
    fn float_mode_of_a_thread_is_put_back_and_named() {
        let before = ThreadState::of_this_thread();
        // Flush to zero, denormals are zero.
        set_float_mode(before.float | 0x8040);
        assert_eq!(before.put_back()[0].0, ProcessPart::FloatMode);
        assert_eq!(float_mode(), before.float);
    }
}
