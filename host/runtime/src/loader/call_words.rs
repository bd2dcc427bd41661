//! The two words of a call's context: how far the call has come, and who is at its output.
//!
//! ```text
//!   CallState    none ──open──▶ waiting ──begin──▶ running ──close──▶ none
//!                                  └──cancel──▶ cancelled: `begin` refuses it
//!   OutputLock   closed ──open──▶ free ◀──lock, drop──▶ held ──close──▶ closed, in the next generation
//! ```
//!
//! Both hold the generation, which is odd while a call is open: under the token of a call that has ended neither can be moved. Cancelling
//! is one change of the first word and waits for nobody, also while somebody holds the output. A call that nobody can cancel, on an
//! attached thread or among a lane's checks, does not touch the first word.

use crate::sync::atomic::{AtomicU64, Ordering::*};
use crate::sync::pause;

/// How far a call has come that can be cancelled.
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

const NONE: u64 = 0;
const RUNNING: u64 = 1;
const CANCELLED: u64 = 2;
const FLAG_BITS: u32 = 2;

impl CallState {
    pub(crate) fn new() -> Self {
        CallState(AtomicU64::new(NONE))
    }

    /// A call is open that waits for [`begin`](Self::begin). By its owner alone, and while there is none.
    pub(crate) fn open(&self, generation: u64) {
        self.0.swap(generation << FLAG_BITS, AcqRel);
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
        let is_open = |now: u64| (now >> FLAG_BITS == generation).then_some(now | CANCELLED);
        match self.0.fetch_update(AcqRel, Acquire, is_open) {
            Ok(was) if was & RUNNING == 0 => Cancelled::BeforeItBegan,
            Ok(_) => Cancelled::Running,
            Err(_) => Cancelled::Ended,
        }
    }

    /// Whether the call was cancelled.
    #[inline]
    pub(crate) fn is_cancelled(&self, generation: u64) -> bool {
        let now = self.0.load(Acquire);
        now >> FLAG_BITS == generation && now & CANCELLED != 0
    }

    /// The call has ended. By its owner alone: a cancellation that comes later changes nothing.
    #[inline]
    pub(crate) fn close(&self, generation: u64) {
        if self.0.load(Relaxed) >> FLAG_BITS == generation {
            self.0.swap(NONE, AcqRel);
        }
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
