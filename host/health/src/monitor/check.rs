//! One check, from its beginning to its answer, and when silence counts as a failure. Pure.
//!
//! ```text
//!            begin                  own time over: it counts as failed
//!   Idle ────────────▶ Pending ───────────────────────────────────────▶ Overdue ──┐ greatest time over: it counts
//!    ▲                    │ answer                                        │  ▲      │ again, each time that the next
//!    └────────────────────┴───────────────────────────────────────────────┘  └──────┘ check would be due
//! ```
//!
//! While the host stands still no time passes for a check: it gets that time back, and its own time anew, once.

use crate::Moment;
use std::time::Duration;

/// How far the check of one instance is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum CheckState {
    /// No check is under way.
    #[default]
    Idle,
    /// The plugin is asked, and its own time is not over.
    Pending(Asked),
    /// The plugin has not answered in its own time, and that has counted.
    Overdue(Asked),
}

/// When the plugin was asked, and how long it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub at: Moment,
    /// Its own time ends, which follows how long answers took.
    pub deadline: Moment,
    /// The greatest time ends that any check has.
    hopeless_at: Moment,
    /// Its own time is shorter than the greatest.
    pub fast: bool,
    /// It has got time since the host stood still.
    excused: bool,
}

impl CheckState {
    pub fn begin(now: Moment, timeout: Duration, greatest: Duration) -> Self {
        CheckState::Pending(Asked {
            at: now,
            deadline: now.after(timeout),
            hopeless_at: now.after(greatest),
            fast: timeout < greatest,
            excused: false,
        })
    }

    pub fn is_idle(&self) -> bool {
        matches!(self, CheckState::Idle)
    }

    pub fn asked(&self) -> Option<Asked> {
        match self {
            CheckState::Idle => None,
            CheckState::Pending(asked) | CheckState::Overdue(asked) => Some(*asked),
        }
    }

    /// When silence counts as a failed check next.
    pub fn counts_at(&self) -> Option<Moment> {
        match self {
            CheckState::Idle => None,
            CheckState::Pending(asked) => Some(asked.deadline),
            CheckState::Overdue(asked) => Some(asked.deadline.max(asked.hopeless_at)),
        }
    }

    /// Silence has counted. Gives whether the check had less than the greatest time.
    pub fn count_silence(&mut self) -> bool {
        match *self {
            CheckState::Pending(asked) => {
                *self = CheckState::Overdue(asked);
                asked.fast
            }
            CheckState::Idle | CheckState::Overdue(_) => false,
        }
    }

    /// The host stood still for `stall`; the check has `timeout` from now on.
    pub fn excuse(&mut self, now: Moment, stall: Duration, timeout: Duration) {
        if let CheckState::Pending(asked) | CheckState::Overdue(asked) = self {
            asked.deadline = asked.deadline.after(stall).max(now.after(timeout));
            asked.hopeless_at = asked.hopeless_at.after(stall);
            asked.excused = true;
        }
    }

    /// That the host was late is news once for each check: then it has its own time anew.
    pub fn excuse_once(&mut self, now: Moment, timeout: Duration) {
        if self.asked().is_some_and(|asked| !asked.excused) {
            self.excuse(now, Duration::ZERO, timeout);
        }
    }
}
