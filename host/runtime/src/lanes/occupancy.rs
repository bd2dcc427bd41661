//! Whether a lane is inside plugin code, and whether it was given up there: the words that the lane and the watchdog share.
//!
//! Coming back and being given up are one change of one word each, so that a lane does one or the other.

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering::*};

/// Times are in nanoseconds, and never 0.
#[derive(Debug)]
pub(super) struct Occupancy {
    /// When plugin code began to run, or 0 while none does; and `LOST`.
    state: AtomicU64,
    /// When the lane is lost if the code that began has not come back. Written before `state`.
    lost_at: AtomicU64,
    /// Held while the loss is reported: the lane does not report its return before.
    reporting: Mutex<()>,
}

const LOST: u64 = 1 << 63;

impl Occupancy {
    pub(super) fn new() -> Self {
        Occupancy {
            state: AtomicU64::new(0),
            lost_at: AtomicU64::new(u64::MAX),
            reporting: Mutex::new(()),
        }
    }

    /// Plugin code begins to run.
    #[inline]
    pub(super) fn enter(&self, began: u64, lost_at: u64) {
        self.lost_at.store(lost_at, Relaxed);
        self.state.store(began, Release);
    }

    /// Plugin code has come back. If the lane was lost meanwhile, the result is when the code began, and
    /// [`leave_lost`](Self::leave_lost) is to follow.
    #[inline]
    pub(super) fn leave(&self) -> Result<(), u64> {
        let began = self.state.load(Relaxed) & !LOST;
        let left = self.state.compare_exchange(began, 0, AcqRel, Acquire);
        left.map(drop).map_err(|_| began)
    }

    /// Waits until the loss is reported. The lane stays lost.
    pub(super) fn leave_lost(&self) {
        drop(self.reporting.lock());
        self.state.store(LOST, Release);
    }

    /// Declares the lane lost and reports that, if it is still in what it was in since `began`.
    pub(super) fn lose(&self, began: u64, report: impl FnOnce()) {
        let _reporting = self.reporting.lock();
        let lost = self.state.compare_exchange(began, began | LOST, AcqRel, Acquire);
        if lost.is_ok() {
            report();
        }
    }

    /// The lane goes on after it was lost.
    pub(super) fn go_on(&self) {
        self.state.fetch_and(!LOST, AcqRel);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.state.load(Acquire) & LOST != 0
    }

    /// Since when the lane is in plugin code.
    pub(super) fn began(&self) -> Option<u64> {
        let began = self.state.load(Acquire) & !LOST;
        (began > 0).then_some(began)
    }

    /// When the code began for which the lane was to be lost before `now`, and when it was to be lost; `None` also once it is.
    pub(super) fn overdue(&self, now: u64) -> Option<(u64, u64)> {
        let began = self.state.load(Acquire);
        if began == 0 || began & LOST != 0 {
            return None;
        }
        let lost_at = self.lost_at.load(Relaxed);
        (now > lost_at).then_some((began, lost_at))
    }
}
