//! An evaluation that one more good check changes nothing of but its counters. Pure.

use super::{Cause, Doubt, Evaluation, Health, Lifecycle};
use crate::Moment;
use crate::policy::Policy;

impl Evaluation {
    /// Whether a good check leaves the judgement as it is: it is up because it answers, nothing says otherwise, and nothing is doubted.
    pub(crate) fn is_quiet(&self) -> bool {
        let judged = &self.judged;
        let flags = judged.flags;
        self.life == Lifecycle::Running
            && (judged.health, judged.cause) == (Health::Up, Cause::Answers)
            && !(flags.stale || flags.flapping || flags.busy || flags.maintenance || flags.soft)
            && !self.busy
            && self.doubt == Doubt::None
            && self.checks.level() == Health::Up
            && !self.checks.is_soft()
            && self.flap.is_up_now()
            && self.heap.is_quiet()
    }

    /// So many good checks have come since; the last at `now`, each with its heap well within its limit if it tells of one.
    pub(crate) fn take_good(&mut self, now: Moment, count: u32, policy: &Policy) {
        self.fresh_at = now;
        self.checks.take_good(count);
        self.flap.push_up(count);
        if self.heap != super::HeapTrack::default() {
            self.heap.take_good(count);
        }
        debug_assert_eq!(self.judgement(self.decide(policy)), self.judged);
    }
}
