//! How long one instance's silence is borne, and when it counts. Pure.
//!
//! ```text
//!   asked ──── its own time ────▶ counts ──── the greatest time ────▶ counts again, each time that it would be due
//!      └── the host stands still: that long more, and its own time anew, once for each check
//! ```

use crate::Moment;
use std::time::Duration;

/// What is waited for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Patience {
    /// When it was asked, and when that is too late; until it answers.
    under_way: Option<(Moment, Moment)>,
    /// That it did not answer in time has been said.
    given_up: bool,
    /// It has got more time since the host stood still.
    excused: bool,
    /// When the check was asked that has not come back since, and what that was before the last one was asked.
    silent_since: Option<Moment>,
    silent_before: Option<Moment>,
}

impl Patience {
    /// It is asked, and has this long.
    pub fn ask(&mut self, now: Moment, timeout: Duration) {
        self.under_way = Some((now, now.after(timeout)));
        (self.given_up, self.excused) = (false, false);
        self.silent_before = self.silent_since;
        self.silent_since = Some(now);
    }

    pub fn is_waiting(&self) -> bool {
        self.under_way.is_some()
    }

    pub fn asked_at(&self) -> Option<Moment> {
        self.under_way.map(|(at, _)| at)
    }

    /// When an answer is too late, unless that has been said.
    pub fn too_late_at(&self) -> Option<Moment> {
        self.under_way
            .filter(|_| !self.given_up)
            .map(|(_, too_late)| too_late)
    }

    /// That it did not answer in time is said now.
    pub fn give_up(&mut self) {
        self.given_up = true;
    }

    /// When silence counts as a failed check: at the check's own time first, then once the greatest time is over too.
    pub fn counts_at(&self, greatest: Duration) -> Option<Moment> {
        let (_, own) = self.under_way?;
        Some(if self.given_up {
            own.max(self.hopeless_at(greatest))
        } else {
            own
        })
    }

    /// When the greatest time is over for the check that has not come back.
    pub fn hopeless_at(&self, greatest: Duration) -> Moment {
        self.silent_since
            .map_or(Moment::from_nanos(0), |at| at.after(greatest))
    }

    /// The host stood still: what is under way gets that time, and its own anew.
    pub fn excuse(&mut self, now: Moment, stall: Duration, timeout: Duration) {
        if let Some((_, too_late)) = &mut self.under_way {
            *too_late = too_late.after(stall).max(now.after(timeout));
            self.excused = true;
        }
        self.silent_since = self.silent_since.map(|at| at.after(stall));
    }

    pub fn is_excused(&self) -> bool {
        self.excused
    }

    /// What was asked has ended. Gives when that was too late, and whether it has been said.
    pub fn end(&mut self) -> Option<(Moment, bool)> {
        let (_, too_late) = self.under_way.take()?;
        Some((too_late, std::mem::take(&mut self.given_up)))
    }

    /// It was not asked after all: the check before has not come back yet.
    pub fn was_refused(&mut self) {
        self.silent_since = self.silent_before.or(self.silent_since);
    }

    /// Since it was waited for last, it was asked and has answered in time.
    pub fn was_quiet(&mut self) {
        (self.given_up, self.excused) = (false, false);
        (self.silent_since, self.silent_before) = (None, None);
    }

    /// Something of it came back.
    pub fn heard(&mut self) {
        self.silent_since = None;
    }
}
