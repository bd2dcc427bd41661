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

use super::hysteresis::{Hysteresis, Thresholds};
use crate::policy::Policy;
use extman_model::Health;
use extman_model::record::Outcome;

/// Thousandths of the limit from which on the heap is near it.
const NEAR_PERMILLE: u64 = 900;
/// Thousandths of the limit below which it is not.
const WELL_PERMILLE: u64 = 800;

/// Whether the heap is near its limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct HeapEvidence(Hysteresis);

impl HeapEvidence {
    /// So much is in use, of so much. Without a limit, what was known of it is forgotten.
    pub fn observe(&mut self, bytes: u64, limit: u64, policy: &Policy) {
        let Some(permille) = (u128::from(bytes) * 1000).checked_div(u128::from(limit)) else {
            *self = HeapEvidence::default();
            return;
        };
        let outcome = if permille >= u128::from(NEAR_PERMILLE) {
            Outcome::Fair
        } else if permille < u128::from(WELL_PERMILLE) {
            Outcome::Good
        } else {
            Outcome::Unsure
        };
        self.0.observe(outcome, Thresholds::of_checks(policy));
    }

    /// Whether anything is known of a heap against its limit.
    pub fn is_known(&self) -> bool {
        *self != HeapEvidence::default()
    }

    /// Whether a heap well within its limit, or none, leaves it as it is.
    pub fn is_quiet(&self) -> bool {
        !self.is_known() || self.0.level() == Health::Up && !self.0.is_soft()
    }

    /// So many times the heap was well within its limit.
    pub fn observe_good(&mut self, count: u32) {
        self.0.observe_good(count);
    }

    /// Whether so much of so much is well within.
    #[inline]
    pub fn is_well(bytes: u64, limit: u64) -> bool {
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
    use super::*;
    use proptest::prelude::*;

    fn near_after(shares: &[u64]) -> Vec<bool> {
        let (mut heap, policy) = (HeapEvidence::default(), Policy::default());
        let observed = shares.iter().map(|share| {
            heap.observe(*share, 1000, &policy);
            heap.is_near()
        });
        observed.collect()
    }

    #[test]
    fn who_names_no_limit_any_more_is_near_none() {
        let (mut heap, policy) = (HeapEvidence::default(), Policy::default());
        heap.observe(950, 1000, &policy);
        assert!(heap.is_near());
        heap.observe(950, 0, &policy);
        assert_eq!(heap, HeapEvidence::default());
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

    #[test]
    fn without_a_limit_nothing_is_said() {
        let (mut heap, policy) = (HeapEvidence::default(), Policy::default());
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
