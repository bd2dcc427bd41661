//! Which kinds of failure matter, and how many came in a row.

use crate::health::record::{ResultRow, ResultWord};
use crate::model::ErrorKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The share of all failures that the vital few make up.
pub const VITAL_SHARE: f64 = 0.80;

/// Failures by kind, the most frequent first: Pareto's diagram (Juran, Quality Control Handbook, 1951).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pareto {
    /// All failures.
    pub total: u64,
    /// Those kinds that occurred; of equally frequent ones the order is that of the kinds.
    pub kinds: Vec<KindShare>,
}

/// One kind among all failures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KindShare {
    /// The kind.
    pub kind: ErrorKind,
    /// How many.
    pub count: u64,
    /// Its share of all, within 0 to 1.
    pub share: f64,
    /// The share of this kind and all before it.
    pub cumulative: f64,
    /// One of the fewest kinds that make up 80 % of all.
    pub vital: bool,
    /// The caller is to blame, so that it does not count against the plugin.
    pub callers: bool,
}

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

/// How a check or a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The failure; `None` if it went well.
    pub failure: Option<Failure>,
}

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What sort.
    pub kind: ErrorKind,
    /// Its text, if there is one.
    pub text: Option<String>,
}

impl Outcome {
    /// Of a check. `None` where the result says nothing of the plugin: its calls left no room, or the host was late.
    pub fn of_check(row: &ResultRow) -> Option<Outcome> {
        let kind = match row.result {
            ResultWord::Said(_) => None,
            ResultWord::TimedOut => Some(ErrorKind::DeadlineExceeded),
            ResultWord::Failed(kind) => Some(kind),
            ResultWord::Busy | ResultWord::HostLate => return None,
        };
        Some(Outcome {
            at_unix_ms: row.at_unix_ms,
            failure: kind.map(|kind| Failure { kind, text: None }),
        })
    }
}

/// Failures in a row, among outcomes in order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streaks {
    /// All outcomes.
    pub outcomes: u64,
    /// How many of them are failures.
    pub failures: u64,
    /// Failures since the last success, up to the last outcome.
    pub consecutive: u64,
    /// When the first of those was, in milliseconds since the Unix epoch; absent if the last outcome is a success.
    pub since_unix_ms: Option<u64>,
    /// Most failures in a row.
    pub longest: u64,
    /// The last failure; absent without one.
    pub last: Option<Outcome>,
}

/// Counts failures in a row. Outcomes may be in any order. O(n log n).
pub fn streaks(outcomes: &[Outcome]) -> Streaks {
    let mut ordered: Vec<&Outcome> = outcomes.iter().collect();
    ordered.sort_by_key(|outcome| outcome.at_unix_ms);
    let mut found = Streaks {
        outcomes: ordered.len() as u64,
        ..Streaks::default()
    };
    let mut last = None;
    for outcome in ordered {
        if outcome.failure.is_none() {
            (found.consecutive, found.since_unix_ms) = (0, None);
            continue;
        }
        found.failures += 1;
        found.consecutive += 1;
        found.since_unix_ms.get_or_insert(outcome.at_unix_ms);
        found.longest = found.longest.max(found.consecutive);
        last = Some(outcome);
    }
    found.last = last.cloned();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Health;
    use ErrorKind::{Cancelled, DeadlineExceeded, Internal, Panicked, RateLimited, Unavailable};
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

    fn outcome(at_unix_ms: u64, kind: Option<ErrorKind>) -> Outcome {
        let failure = kind.map(|kind| Failure {
            kind,
            text: Some(format!("at {at_unix_ms}")),
        });
        Outcome { at_unix_ms, failure }
    }

    #[test]
    fn failures_in_a_row_are_counted_to_the_last_outcome() {
        let mut outcomes = vec![
            outcome(10, Some(Internal)),
            outcome(20, Some(Internal)),
            outcome(30, Some(Internal)),
            outcome(40, None),
            outcome(50, Some(Unavailable)),
            outcome(60, Some(Panicked)),
        ];
        outcomes.reverse();
        let found = streaks(&outcomes);
        assert_eq!((found.outcomes, found.failures, found.longest), (6, 5, 3));
        assert_eq!((found.consecutive, found.since_unix_ms), (2, Some(50)));
        assert_eq!(found.last, Some(outcome(60, Some(Panicked))));
        outcomes.push(outcome(70, None));
        let after = streaks(&outcomes);
        assert_eq!((after.consecutive, after.since_unix_ms), (0, None));
        assert_eq!(after.last, found.last);
        assert_eq!(streaks(&[]), Streaks::default());
    }

    #[test]
    fn a_check_that_says_nothing_of_the_plugin_is_no_outcome() {
        let of = |result| {
            let row = ResultRow {
                instance: "a".into(),
                at_unix_ms: 5,
                result,
                took_ns: None,
                connection_rtt_ns: None,
                heap_bytes: None,
            };
            Outcome::of_check(&row).map(|outcome| outcome.failure.map(|failure| failure.kind))
        };
        assert_eq!(of(ResultWord::Busy), None);
        assert_eq!(of(ResultWord::HostLate), None);
        assert_eq!(of(ResultWord::Said(Some(Health::Down))), Some(None));
        assert_eq!(of(ResultWord::TimedOut), Some(Some(DeadlineExceeded)));
        assert_eq!(of(ResultWord::Failed(Internal)), Some(Some(Internal)));
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
