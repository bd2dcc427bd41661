//! What is told of an evaluation. Pure.

use super::{Evaluation, Flap};
use crate::Moment;
use extman_model::{Health, Judgement, Lifecycle};

impl Evaluation {
    /// How it is held to be.
    pub fn judged(&self) -> Judgement {
        self.judged
    }

    /// Since when it has had this word.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// When a result was taken in last.
    pub(crate) fn fresh_at(&self) -> Moment {
        self.fresh_at
    }

    /// Where it is in its life.
    pub fn life(&self) -> Lifecycle {
        self.life
    }

    /// Which load of its library counts.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How often it changes, weighted: see [`Flap`].
    pub fn flap(&self) -> Flap {
        self.flap
    }

    /// Failed checks in a row.
    pub fn failed_checks(&self) -> u8 {
        self.checks.bad_run()
    }

    /// Whether its checks alone would have it down.
    pub fn fails_checks(&self) -> bool {
        self.checks.level() == Health::Down
    }

    /// Whether anything is known of its heap against a limit.
    pub fn knows_heap(&self) -> bool {
        self.heap != super::HeapTrack::default()
    }

    /// Failed deep checks in a row.
    pub fn failed_deep(&self) -> u8 {
        self.deep.failed()
    }

    /// Whether it counts for nothing in any sum.
    pub fn is_left_out(&self) -> bool {
        use Lifecycle as L;
        self.maintenance || matches!(self.life, L::Stopped | L::Draining | L::Discovered | L::Verified)
    }
}
