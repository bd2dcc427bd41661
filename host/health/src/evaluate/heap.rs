//! Heap against the most that a plugin means to use. Pure.
//!
//! ```text
//!            fall times running at 90 % or more
//!   well ──────────────────────────────────────▶ near
//!        ◀──────────────────────────────────────
//!            rise times running under 80 %
//! ```
//!
//! The first figure of a generation decides alone. In between nothing changes: a heap that swings about one bound does not make its plugin swing.

use super::track::{Thresholds, Track, Word};
use crate::policy::Policy;
use extman_model::Health;

/// Thousandths of the limit from which on the heap is near it.
const NEAR_PERMILLE: u64 = 900;
/// Thousandths of the limit below which it is not.
const WELL_PERMILLE: u64 = 800;

/// Whether the heap is near its limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeapTrack(Track);

impl HeapTrack {
    /// So much is in use, of so much. Without a limit, what was known of it is forgotten.
    pub fn observe(&mut self, bytes: u64, limit: u64, policy: &Policy) {
        let Some(permille) = (u128::from(bytes) * 1000).checked_div(u128::from(limit)) else {
            *self = HeapTrack::default();
            return;
        };
        let word = if permille >= u128::from(NEAR_PERMILLE) {
            Word::Fair
        } else if permille < u128::from(WELL_PERMILLE) {
            Word::Good
        } else {
            Word::Unsure
        };
        self.0.observe(
            word,
            Thresholds {
                fall: policy.fall,
                fall_fair: policy.fall,
                rise: policy.rise,
            },
        );
    }

    /// Whether a heap well within its limit, or none, leaves it as it is.
    pub(super) fn is_quiet(&self) -> bool {
        *self == HeapTrack::default() || self.0.level() == Health::Up && !self.0.is_soft()
    }

    /// So many times the heap was well within its limit.
    pub(super) fn take_good(&mut self, count: u32) {
        self.0.take_good(count);
    }

    /// Whether so much of so much is well within.
    #[inline]
    pub(crate) fn is_well(bytes: u64, limit: u64) -> bool {
        let permille = (u128::from(bytes) * 1000).checked_div(u128::from(limit));
        permille.is_some_and(|permille| permille < u128::from(WELL_PERMILLE))
    }

    /// Whether it is.
    pub fn is_near(&self) -> bool {
        self.0.level() == Health::Degraded
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Evaluation, Evidence};
    use super::*;
    use crate::Moment;
    use extman_model::record::ResultWord;
    use extman_model::{Cause, Lifecycle};
    use proptest::prelude::*;

    fn near_after(shares: &[u64]) -> Vec<bool> {
        let (mut heap, policy) = (HeapTrack::default(), Policy::default());
        let observed = shares.iter().map(|share| {
            heap.observe(*share, 1000, &policy);
            heap.is_near()
        });
        observed.collect()
    }

    #[test]
    fn who_names_no_limit_any_more_is_near_none() {
        let (mut heap, policy) = (HeapTrack::default(), Policy::default());
        heap.observe(950, 1000, &policy);
        assert!(heap.is_near());
        heap.observe(950, 0, &policy);
        assert_eq!(heap, HeapTrack::default());
    }

    #[test]
    fn near_and_well_need_their_runs_and_between_them_nothing_changes() {
        for (shares, expected) in [
            (&[100, 950, 950][..], false),
            (&[100, 950, 950, 950], true),
            (&[950], true),
            (&[850, 850], false),
            (&[100, 950, 950, 850, 950, 950], false),
            (&[100, 900, 900, 900], true),
            (&[100, 899, 899, 899, 899], false),
            (&[950, 950, 950, 850, 850, 850], true),
            (&[950, 950, 950, 799], true),
            (&[950, 950, 950, 799, 850, 799], true),
            (&[950, 950, 950, 799, 799], false),
            (&[950, 950, 950, 799, 799, 950], false),
            (&[100, 2000, 2000, 2000], true),
        ] {
            assert_eq!(near_after(shares).last(), Some(&expected), "{shares:?}");
        }
    }

    fn heap(generation: u64, permille: u64) -> Evidence {
        Evidence::Heap {
            generation,
            bytes: permille,
            limit: 1000,
        }
    }

    /// A running instance of generation 1, after these.
    fn after(evidence: &[Evidence]) -> Evaluation {
        let at = |second: usize| Moment::from_nanos(second as u64 * 1_000_000_000);
        let mut evaluation = Evaluation::new(at(0));
        let live = [life(Lifecycle::Running, 1)];
        for (second, evidence) in live.iter().chain(evidence).enumerate() {
            evaluation.take(at(second), *evidence, &Policy::default());
        }
        evaluation
    }

    fn life(state: Lifecycle, generation: u64) -> Evidence {
        Evidence::Life { state, generation }
    }

    fn checked(result: ResultWord) -> Evidence {
        Evidence::Checked {
            generation: 1,
            result,
        }
    }

    #[test]
    fn near_its_limit_who_is_well_is_degraded_and_who_is_worse_stays_so() {
        let said = |health| checked(ResultWord::Said(Some(health)));
        let failing = Evidence::Called {
            generation: 1,
            succeeded: 0,
            failed: 10,
            window_ends: true,
        };
        let near = [heap(1, 950); 3];
        for (before, expected) in [
            (&[said(Health::Up)][..], (Health::Degraded, Cause::HeapNearLimit)),
            (&[], (Health::Unknown, Cause::NotChecked)),
            (
                &[said(Health::Degraded); 3],
                (Health::Degraded, Cause::SaysDegraded),
            ),
            (&[said(Health::Down); 3], (Health::Down, Cause::SaysDown)),
            (
                &[checked(ResultWord::TimedOut); 3],
                (Health::Down, Cause::CheckTimesOut),
            ),
            (
                &[said(Health::Up), said(Health::Unknown)],
                (Health::Unknown, Cause::SaysUnknown),
            ),
            (&[failing; 3], (Health::Down, Cause::CallsFail)),
            (
                &[said(Health::Up), Evidence::Starved],
                (Health::Unknown, Cause::HostStarved),
            ),
            (
                &[life(Lifecycle::Wedged, 1)],
                (Health::Down, Cause::Lifecycle(Lifecycle::Wedged)),
            ),
        ] {
            for evidence in [[before, &near].concat(), [&near, before].concat()] {
                let judged = after(&evidence).judged();
                assert_eq!((judged.health, judged.cause), expected, "{evidence:?}");
            }
        }
    }

    #[test]
    fn it_is_never_down_for_that_alone_and_well_again_with_its_heap_or_its_next_generation() {
        let up = checked(ResultWord::Said(Some(Health::Up)));
        let full = [&[up][..], &[heap(1, 5000); 100]].concat();
        assert_eq!(after(&full).judged().health, Health::Degraded);
        let shrunk = [&full[..], &[heap(1, 100); 2]].concat();
        assert_eq!(after(&shrunk).judged().cause, Cause::Answers);
        let another = [&full[..], &[life(Lifecycle::Running, 2)]].concat();
        assert_eq!(after(&another).judged().cause, Cause::NotChecked);
        let stale = [&[up][..], &[heap(7, 950); 3]].concat();
        assert_eq!(
            after(&stale).judged().health,
            Health::Up,
            "another generation's heap"
        );
    }

    #[test]
    fn without_a_limit_nothing_is_said() {
        let (mut heap, policy) = (HeapTrack::default(), Policy::default());
        (0..10).for_each(|_| heap.observe(u64::MAX, 0, &policy));
        assert!(!heap.is_near());
    }

    proptest! {
        #[test]
        fn what_stays_between_the_bounds_never_changes_anything(before in 0..2_u64, swings in prop::collection::vec(800..900_u64, 1..40)) {
            let mut shares = vec![before * 1000; 3];
            shares.extend(&swings);
            let near = near_after(&shares);
            prop_assert_eq!(near[2], near[near.len() - 1]);
        }
    }
}
