//! What the outcomes of real calls say of an instance. Pure.
//!
//! Two things are looked at, and the worse one decides:
//!
//! * the rate: the share of failures in a window of a minute that slides. From a tenth on the instance is degraded; where it stays at half or more for
//!   `fall` windows, it is down. A window with fewer calls than `calls_min` has no rate.
//! * the run: failures in a row without a success, unless the rate says that most calls succeed. Three make the instance degraded, however rare
//!   calls are. Five make it down, as long as they are evidence of the present: where nobody has called for so long that the instance counts as
//!   idle, those before count for degraded alone. So a failure by chance, hours after four of a fault that is over, makes nobody down.
//!
//! Only a call changes either: an instance does not get well by being called less. Where its checks failed too and succeed again, what calls said
//! before is forgotten.

use super::hysteresis::{Hysteresis, Thresholds};
use crate::policy::{CallPolicy, Policy};
use crate::{Moment, nanos};
use extman_model::Health;
use extman_model::record::Outcome;

/// Failures in a row that make an instance degraded.
const RUN_DEGRADED: u32 = 3;
/// Failures in a row that make it down, of the present.
const RUN_DOWN: u32 = 5;
/// The window slides by this part of itself.
const SLOTS: usize = 6;

/// Calls so far, as the host counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Calls whose caller was answered.
    pub ended: u64,
    /// Those of them that failed and count against the plugin.
    pub blamed: u64,
    /// Those of them that say nothing of the plugin: the caller's mistake, cancelled, or the host's own time.
    pub excused: u64,
    /// Calls whose code came back.
    pub returned: u64,
    /// The last calls that failed and count against the plugin, in a row without a success.
    pub failed_run: u32,
}

impl Calls {
    /// Calls that succeeded.
    pub fn succeeded(&self) -> u64 {
        self.ended
            .saturating_sub(self.blamed)
            .saturating_sub(self.excused)
    }
}

/// Outcomes of calls. Only an instance that is called has it.
#[derive(Debug, Clone, Default)]
pub(super) struct CallEvidence {
    slots: [Slot; SLOTS],
    /// The number of the newest slot, and where it stands.
    newest: u64,
    rate: Hysteresis,
    /// The level by runs.
    run: RunLevel,
    failed_run: u32,
    /// Of these, those from before the instance was idle.
    old_run: u32,
    failed_at: Option<Moment>,
    succeeded_run: u32,
    succeeded_at: Option<Moment>,
    /// When the rate was taken last, and what it was.
    sampled: Option<(Moment, Outcome)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    succeeded: u32,
    failed: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum RunLevel {
    #[default]
    Up,
    Degraded,
    Down,
}

impl CallEvidence {
    /// Takes calls that have ended since the last time, and how many failed in a row at the end.
    pub fn observe(&mut self, now: Moment, succeeded: u64, failed: u64, failed_run: u32, policy: &Policy) {
        self.slide(now, &policy.calls);
        let number = |calls| u32::try_from(calls).unwrap_or(u32::MAX);
        let slot = &mut self.slots[self.newest as usize % SLOTS];
        slot.succeeded = slot.succeeded.saturating_add(number(succeeded));
        slot.failed = slot.failed.saturating_add(number(failed));
        if succeeded > 0 {
            self.succeeded_at = Some(now);
            self.old_run = 0;
        }
        if failed > 0 {
            let before = self.failed_at.replace(now);
            if before.is_some_and(|at| now.since(at) > policy.idle_after.max(policy.calls.window)) {
                self.old_run = failed_run.saturating_sub(number(failed));
            }
        }
        self.failed_run = failed_run;
        self.old_run = self.old_run.min(failed_run);
        self.succeeded_run = match (failed, failed_run) {
            (0, _) => self.succeeded_run.saturating_add(number(succeeded)),
            // How many of them came after the last failure is not known: as many as if the failures lay evenly among them.
            (_, 0) => number(succeeded / (failed + 1)).max(1),
            _ => 0,
        };
        self.observe_run(policy);
        self.observe_rate(now, policy);
    }

    /// What the calls say; unknown until they say anything.
    pub fn level(&self) -> Health {
        match (self.run, self.rate.level()) {
            (RunLevel::Down, _) | (_, Health::Down) => Health::Down,
            (RunLevel::Degraded, _) => Health::Degraded,
            (RunLevel::Up, level) => level,
        }
    }

    /// When a call was last known to have succeeded, unless calls fail otherwise.
    pub fn speaks_for_it_at(&self, policy: &Policy) -> Option<Moment> {
        let window = self.window();
        let mostly =
            window.calls < u64::from(policy.calls.calls_min) || !window.reaches(policy.calls.down_permille);
        self.succeeded_at
            .filter(|_| mostly && self.failed_run < RUN_DEGRADED && self.level() != Health::Down)
    }

    fn slide(&mut self, now: Moment, policy: &CallPolicy) {
        let slot = (nanos(policy.window) / SLOTS as u64).max(1);
        let number = now.as_nanos() / slot;
        let passed = number.saturating_sub(self.newest).min(SLOTS as u64);
        for step in 1..=passed {
            self.slots[(number - passed + step) as usize % SLOTS] = Slot::default();
        }
        self.newest = self.newest.max(number);
    }

    /// All calls of the window.
    fn window(&self) -> Window {
        let sum = |of: fn(&Slot) -> u32| self.slots.iter().map(|slot| u64::from(of(slot))).sum::<u64>();
        let failed = sum(|slot| slot.failed);
        Window {
            calls: sum(|slot| slot.succeeded) + failed,
            failed,
        }
    }

    fn observe_run(&mut self, policy: &Policy) {
        let window = self.window();
        let by_run = match (self.failed_run, self.failed_run - self.old_run) {
            (_, RUN_DOWN..) if window.reaches(policy.calls.down_permille) => RunLevel::Down,
            (RUN_DEGRADED.., _) if window.reaches(policy.calls.degraded_permille) => RunLevel::Degraded,
            _ => RunLevel::Up,
        };
        self.run = if self.succeeded_run >= u32::from(policy.rise.max(1)) {
            by_run
        } else {
            self.run.max(by_run)
        };
    }

    /// Takes the rate once a window, and at once where it is worse than the last time.
    fn observe_rate(&mut self, now: Moment, policy: &Policy) {
        let Some(outcome) = self.rate_of_window(policy) else {
            return;
        };
        let severity = |outcome| match outcome {
            Outcome::Bad => 2,
            Outcome::Fair => 1,
            _ => 0,
        };
        let due = self.sampled.is_none_or(|(at, last)| {
            now.since(at) >= policy.calls.window || severity(outcome) > severity(last)
        });
        if due {
            self.sampled = Some((now, outcome));
            let thresholds = Thresholds {
                fall: policy.fall,
                fall_fair: 1,
                rise: policy.rise,
            };
            self.rate.observe(outcome, thresholds);
        }
    }

    fn rate_of_window(&self, policy: &Policy) -> Option<Outcome> {
        let window = self.window();
        let calls_min = u64::from(policy.calls.calls_min.max(1));
        if window.calls < calls_min {
            // Too few for a rate; but so many that succeeded, one after the other, show that it is well.
            return (u64::from(self.succeeded_run) >= calls_min).then_some(Outcome::Good);
        }
        // One failure is no rate: of five calls it would be a fifth.
        Some(if window.reaches(policy.calls.down_permille) {
            Outcome::Bad
        } else if window.failed >= 2 && window.reaches(policy.calls.degraded_permille) {
            Outcome::Fair
        } else {
            Outcome::Good
        })
    }
}

/// The calls of a window.
struct Window {
    calls: u64,
    failed: u64,
}

impl Window {
    /// Whether the share of failures is at least so many thousandths.
    fn reaches(&self, permille: u16) -> bool {
        self.failed > 0 && self.failed * 1000 >= self.calls * u64::from(permille)
    }
}
