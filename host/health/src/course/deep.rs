//! What a deep check tells of one instance. It is not among those that are due here, and moves none of them. Pure.

use super::Course;
use crate::Moment;
use crate::evaluate::Evidence;
use crate::policy::Policy;
use extman_model::Judgement;
use extman_model::record::ResultWord;

impl Course {
    /// A deep check of this generation has ended.
    pub fn deep_ended(
        &mut self,
        now: Moment,
        generation: u64,
        result: ResultWord,
        policy: &Policy,
    ) -> Option<Judgement> {
        self.evaluation
            .take(now, Evidence::Deep { generation, result }, policy)
    }
}
