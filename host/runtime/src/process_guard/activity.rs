//! Whether the host is inside an instance's code, and when it was last: one word that counts and bars, and a stamp.
//!
//! The stamp is the number of the comparison that comes next. So a comparison that finds a difference can tell the instances whose
//! code ran since the last one that would have seen it, and nobody has to count or to compare for the others.

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use std::sync::atomic::AtomicU64 as StaticU64;

/// Number of the next comparison.
static NEXT: StaticU64 = StaticU64::new(1);

/// Calls, checks and steps inside one instance.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// How many are inside, with [`SEALED`] and [`CLOSED`].
    inside: AtomicUsize,
    /// Number of the comparison that was next when code entered last; 0 if it never did.
    entered_before: AtomicU64,
}

/// What is in memory with its activity in it, beside what else each call and check of it reads.
pub(crate) trait Active: Send + Sync {
    fn activity(&self) -> &Activity;
}

/// Who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entering {
    /// A call or a check.
    Call,
    /// A step of the lifecycle.
    Step,
}

/// Nothing is let in.
const CLOSED: usize = 1 << (usize::BITS - 1);
/// Calls and checks are not let in.
const SEALED: usize = 1 << (usize::BITS - 2);

impl Activity {
    /// One more is inside, if it is let in.
    #[inline]
    pub fn enter(&self, entering: Entering) -> bool {
        let barred = match entering {
            Entering::Call => CLOSED | SEALED,
            Entering::Step => CLOSED,
        };
        if self.inside.fetch_add(1, AcqRel) & barred != 0 {
            self.leave();
            return false;
        }
        self.entered_before.store(NEXT.load(Relaxed), Relaxed);
        true
    }

    /// One less is inside.
    #[inline]
    pub fn leave(&self) {
        self.inside.fetch_sub(1, AcqRel);
    }

    /// How many are inside.
    pub fn inside(&self) -> usize {
        self.inside.load(Acquire) & !(CLOSED | SEALED)
    }

    /// Lets no more calls and checks in.
    pub fn seal(&self) {
        self.inside.fetch_or(SEALED, AcqRel);
    }

    /// Lets nothing in any more. `false` if it was closed before.
    ///
    /// # Errors
    /// So many are inside.
    pub fn close(&self) -> Result<bool, usize> {
        let mut now = self.inside.load(Acquire);
        loop {
            if now & CLOSED != 0 {
                return Ok(false);
            }
            if now & !SEALED != 0 {
                return Err(now & !SEALED);
            }
            match self.inside.compare_exchange(now, CLOSED, AcqRel, Acquire) {
                Ok(_) => return Ok(true),
                Err(changed) => now = changed,
            }
        }
    }

    /// Of an instance whose code has just run for the first time.
    pub fn of_new_instance() -> Self {
        Activity {
            entered_before: AtomicU64::new(next_comparison()),
            ..Activity::default()
        }
    }

    /// Whether code of the instance ran since what was then the next comparison, or runs now.
    pub(super) fn ran_since(&self, comparison: u64) -> bool {
        self.inside() > 0 || self.entered_before.load(Relaxed) >= comparison
    }
}

/// The number of the next comparison.
pub(super) fn next_comparison() -> u64 {
    NEXT.load(Relaxed)
}

/// A comparison was made: what enters from here on does so before the next one.
pub(super) fn compared() {
    NEXT.fetch_add(1, Relaxed);
}
