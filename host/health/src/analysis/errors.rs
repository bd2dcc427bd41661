//! Which kinds of failure matter.

use extman_model::ErrorKind;
use extman_model::findings::{KindShare, Pareto};
use std::collections::BTreeMap;

/// The share of all failures that the vital few make up.
pub const VITAL_SHARE: f64 = 0.80;

/// Orders failures by how many there are of each kind.
pub fn pareto(counts: &BTreeMap<ErrorKind, u64>) -> Pareto {
    let mut ordered: Vec<(ErrorKind, u64)> = counts
        .iter()
        .map(|(kind, count)| (*kind, *count))
        .filter(|(_, count)| *count > 0)
        .collect();
    ordered.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let all: u128 = ordered.iter().map(|(_, count)| u128::from(*count)).sum();
    let mut before = 0_u128;
    let kinds = ordered.into_iter().map(|(kind, count)| {
        let vital = before as f64 / (all as f64) < VITAL_SHARE;
        before += u128::from(count);
        KindShare {
            kind,
            count,
            share: count as f64 / all as f64,
            cumulative: before as f64 / all as f64,
            vital,
            callers: kind.is_callers(),
        }
    });
    Pareto {
        kinds: kinds.collect(),
        total: u64::try_from(all).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorKind::{Cancelled, Internal, Panicked, RateLimited, Unavailable};
    use proptest::prelude::*;

    /// By hand: 50 + 31 of 100 are 81 %, so that two kinds are the vital few; 50 alone are not.
    #[test]
    fn the_vital_few_come_first() {
        let counts = [
            (Internal, 4),
            (Unavailable, 50),
            (Panicked, 0),
            (RateLimited, 31),
            (Cancelled, 15),
        ]
        .into();
        let found = pareto(&counts);
        let told: Vec<_> = found
            .kinds
            .iter()
            .map(|k| (k.kind, k.share, k.cumulative, k.vital, k.callers))
            .collect();
        assert_eq!(
            told,
            [
                (Unavailable, 0.50, 0.50, true, false),
                (RateLimited, 0.31, 0.81, true, false),
                (Cancelled, 0.15, 0.96, false, true),
                (Internal, 0.04, 1.00, false, false),
            ]
        );
        assert_eq!(found.total, 100);
        assert_eq!(pareto(&BTreeMap::new()), Pareto::default());
        assert_eq!(
            serde_json::to_value(&found).unwrap()["kinds"][0]["kind"],
            "unavailable"
        );
    }

    proptest! {
        #[test]
        fn shares_add_up(counts in prop::array::uniform4(any::<u64>())) {
            let kinds = [Internal, Unavailable, Cancelled, Panicked];
            let found = pareto(&kinds.into_iter().zip(counts).collect());
            let sum: f64 = found.kinds.iter().map(|k| k.share).sum();
            prop_assert!(found.kinds.is_empty() || (sum - 1.0).abs() < 1e-9);
            prop_assert!(found.kinds.is_sorted_by(|a, b| a.count >= b.count && a.vital >= b.vital));
            prop_assert!(found.kinds.last().is_none_or(|last| (last.cumulative - 1.0).abs() < 1e-9));
            let before_last = found.kinds.iter().take_while(|k| k.vital).collect::<Vec<_>>();
            prop_assert!(before_last.last().is_none_or(|last| last.cumulative >= VITAL_SHARE));
        }
    }
}
