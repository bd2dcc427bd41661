//! Answers that take longer than usual make nobody down together with one check that fails for no reason. Pure.

use super::Course;
use crate::policy::Policy;
use extman_model::Health;
use extman_model::record::ResultWord;

impl Course {
    /// Whether the check that would decide that it is down is to be confirmed first: it failed, and all failed checks before it did no more
    /// than take longer than usual. Then it stands for one of those.
    pub(super) fn is_doubted(&mut self, result: ResultWord, policy: &Policy) -> bool {
        let failed = self.evaluation.failed_checks();
        let hasty = std::mem::take(&mut self.hasty);
        if failed == 0 {
            self.hasty_run = 0;
        }
        if result == ResultWord::TimedOut {
            self.hasty_run = self.hasty_run.saturating_add(u8::from(hasty));
            return false;
        }
        let fails = matches!(
            result,
            ResultWord::Failed(_) | ResultWord::Said(Some(Health::Down))
        );
        let decides = failed.saturating_add(1) == policy.fall && !self.evaluation.fails_checks();
        let doubted = fails && decides && failed > 0 && self.hasty_run >= failed;
        if doubted {
            self.hasty_run -= 1;
        }
        doubted
    }
}
