//! What an instance's heap does to it.

use super::Course;
use crate::Moment;
use crate::evaluate::Evidence;
use crate::policy::Policy;
use extman_model::{Judgement, Report};

impl Course {
    /// Its report tells of its heap, or not.
    pub fn reported(
        &mut self,
        now: Moment,
        generation: u64,
        report: &Report,
        policy: &Policy,
    ) -> Option<Judgement> {
        let (bytes, limit) = match (report.heap_bytes, report.heap_limit_bytes) {
            (Some(bytes), Some(limit)) => (bytes, limit),
            _ if self.evaluation.knows_heap() => (0, 0),
            _ => return None,
        };
        let heap = Evidence::Heap {
            generation,
            bytes,
            limit,
        };
        let changed = self.evaluation.take(now, heap, policy);
        if changed.is_some() && !self.patience.is_waiting() {
            // Its next check was set by how it was held to be before.
            self.due = self.due.min(now.after(policy.interval));
        }
        changed
    }
}
