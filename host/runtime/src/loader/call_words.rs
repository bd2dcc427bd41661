//! The two words of a call's context: how far the call has come, and who is at its output.
//!
//! ```text
//!   CallState    closed ──open──▶ waiting ──begin──▶ running ──close──▶ closed, in the next generation
//!                                    └──cancel──▶ cancelled: `begin` refuses it
//!   OutputLock   closed ──open──▶ free ◀──lock, drop──▶ held ──close──▶ closed
//! ```
//!
//! Both hold the generation, which is odd while a call is open: under the token of a call that has ended neither can be moved. Cancelling
//! is one change of the first word and waits for nobody, also while somebody holds the output.

use crate::sync::atomic::{AtomicU64, Ordering::*};
use crate::sync::pause;

/// How far a call has come.
#[derive(Debug)]
pub(crate) struct CallState(AtomicU64);

/// What a call was in when it was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// It had not begun, and does not begin any more.
    BeforeItBegan,
    /// Its code was running.
    Running,
    /// It had ended: nothing was changed.
    Ended,
}

const RUNNING: u64 = 1;
const CANCELLED: u64 = 2;
const FLAG_BITS: u32 = 2;

impl CallState {
    pub(crate) fn new() -> Self {
        CallState(AtomicU64::new(0))
    }

    /// A call is open that waits for [`begin`](Self::begin). By its owner alone.
    #[inline]
    pub(crate) fn open_waiting(&self, generation: u64) {
        self.0.store(generation << FLAG_BITS, Release);
    }

    /// A call is open and has begun. By its owner alone.
    #[inline]
    pub(crate) fn open_running(&self, generation: u64) {
        self.0.store(generation << FLAG_BITS | RUNNING, Release);
    }

    /// The call begins. `false` if it was cancelled before: then it is not to run.
    pub(crate) fn begin(&self, generation: u64) -> bool {
        let waiting = generation << FLAG_BITS;
        let begun = self
            .0
            .compare_exchange(waiting, waiting | RUNNING, AcqRel, Acquire);
        begun.is_ok()
    }

    /// The call is to stop. Any thread may ask, at any time.
    pub(crate) fn cancel(&self, generation: u64) -> Cancelled {
        let mut now = self.0.load(Acquire);
        loop {
            if now >> FLAG_BITS != generation {
                return Cancelled::Ended;
            }
            match self
                .0
                .compare_exchange_weak(now, now | CANCELLED, AcqRel, Acquire)
            {
                Ok(_) if now & RUNNING == 0 => return Cancelled::BeforeItBegan,
                Ok(_) => return Cancelled::Running,
                Err(changed) => now = changed,
            }
        }
    }

    /// Whether the call was cancelled; also if it has ended.
    #[inline]
    pub(crate) fn is_cancelled(&self, generation: u64) -> bool {
        let now = self.0.load(Acquire);
        now >> FLAG_BITS != generation || now & CANCELLED != 0
    }

    /// The call of `generation` has ended. By its owner alone: a cancellation that meets this was too late.
    #[inline]
    pub(crate) fn close(&self, generation: u64) {
        self.0.store((generation + 1) << FLAG_BITS, Release);
    }
}

/// Who is at a call's output.
#[derive(Debug)]
pub(crate) struct OutputLock(AtomicU64);

const HELD: u64 = 1;

impl OutputLock {
    pub(crate) fn new() -> Self {
        OutputLock(AtomicU64::new(0))
    }

    /// The last generation that was open, or that is.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.0.load(Acquire) >> 1
    }

    /// The call of `generation` has an output. By its owner alone, while no call is open.
    #[inline]
    pub(crate) fn open(&self, generation: u64) {
        self.0.store(generation << 1, Release);
    }

    /// Gets hold of the output of a call; `None` once that has ended.
    #[inline]
    pub(crate) fn lock(&self, generation: u64) -> Option<Held<'_>> {
        let free = generation << 1;
        let mut looks = 0;
        loop {
            match self.0.compare_exchange(free, free | HELD, Acquire, Relaxed) {
                Ok(_) => {
                    return Some(Held {
                        lock: self,
                        unlocked: free,
                    });
                }
                Err(now) if now & !HELD != free => return None,
                Err(_) => pause(&mut looks),
            }
        }
    }
}

/// The output is held. It is for a copy between the host's own buffers at most, never while anybody is waited for.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    lock: &'a OutputLock,
    unlocked: u64,
}

impl Held<'_> {
    /// Of the call whose output is held.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.unlocked >> 1
    }

    /// Nobody gets hold of this call's output any more once this is dropped.
    #[inline]
    pub(crate) fn close(&mut self) {
        self.unlocked = ((self.unlocked >> 1) + 1) << 1;
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        self.lock.0.store(self.unlocked, Release);
    }
}
