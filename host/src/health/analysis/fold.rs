//! Minutes into hours and days. Folding is a sum: in any order, in any groups, in one step or several, it comes to the same.

use crate::health::nanos;
use crate::health::record::Rollup;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Length of an hour's stretch.
pub const HOUR_MS: u64 = 3_600_000;
/// Length of a day's stretch, in UTC.
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// A sum of rollups, and how much of it was measured.
///
/// `sums.cpu_ns` is the sum of those parts that measured it; the counters here say of how many calls, and how many parts, that is.
/// Parts without calls are no gap. Sums that no longer fit stay at their greatest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Folded {
    /// The sums. `from_unix_ms` is that of the earliest part, until it is put into a stretch.
    pub sums: Rollup,
    /// How many rollups it is made of.
    pub parts: u64,
    /// Those of them with processor time.
    pub cpu_parts: u64,
    /// Calls in those.
    pub cpu_calls: u64,
    /// Those of them with heap in use.
    pub heap_parts: u64,
}

impl Folded {
    /// Of one rollup.
    pub fn of(rollup: &Rollup) -> Folded {
        let has_cpu = rollup.cpu_ns.is_some();
        Folded {
            sums: rollup.clone(),
            parts: 1,
            cpu_parts: u64::from(has_cpu),
            cpu_calls: if has_cpu { rollup.calls } else { 0 },
            heap_parts: u64::from(rollup.heap_bytes.is_some()),
        }
    }

    /// The sum of both. The default is its zero.
    #[must_use]
    pub fn merged(&self, other: &Folded) -> Folded {
        let from_unix_ms = match (self.parts, other.parts) {
            (0, _) => other.sums.from_unix_ms,
            (_, 0) => self.sums.from_unix_ms,
            _ => self.sums.from_unix_ms.min(other.sums.from_unix_ms),
        };
        let mut sums = self.sums.clone();
        sums.from_unix_ms = from_unix_ms;
        sums.add(&other.sums);
        Folded {
            sums,
            parts: self.parts.saturating_add(other.parts),
            cpu_parts: self.cpu_parts.saturating_add(other.cpu_parts),
            cpu_calls: self.cpu_calls.saturating_add(other.cpu_calls),
            heap_parts: self.heap_parts.saturating_add(other.heap_parts),
        }
    }

    /// The share of calls whose processor time was measured, within 0 to 1; absent without calls.
    pub fn cpu_coverage(&self) -> Option<f64> {
        (self.sums.calls > 0).then(|| self.cpu_calls as f64 / self.sums.calls as f64)
    }

    /// What people look at.
    pub fn summary(&self) -> Summary {
        let quantile = |q| self.sums.latency.quantile(q).map(nanos);
        Summary {
            from_unix_ms: self.sums.from_unix_ms,
            parts: self.parts,
            calls: self.sums.calls,
            failures: sum(self.sums.errors.values()),
            blamed: sum(self
                .sums
                .errors
                .iter()
                .filter(|(kind, _)| !kind.is_callers())
                .map(|(_, count)| count)),
            p50_ns: quantile(0.50),
            p95_ns: quantile(0.95),
            p99_ns: quantile(0.99),
            heap_min_bytes: self.sums.heap_bytes.map(|(least, _)| least),
            heap_max_bytes: self.sums.heap_bytes.map(|(_, most)| most),
            cpu_ns: self.sums.cpu_ns,
            cpu_coverage: self.cpu_coverage(),
        }
    }
}

/// A stretch in a few figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// When the stretch begins, in milliseconds since the Unix epoch.
    pub from_unix_ms: u64,
    /// How many rollups it is made of.
    pub parts: u64,
    /// Calls that ended, well or not.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that failed and count against the plugin.
    pub blamed: u64,
    /// Median time of a call, in nanoseconds; absent without calls, as are the next two.
    pub p50_ns: Option<u64>,
    /// The time that 95 % of calls did not exceed.
    pub p95_ns: Option<u64>,
    /// The time that 99 % of calls did not exceed.
    pub p99_ns: Option<u64>,
    /// Least heap that was seen, in bytes; absent if nobody counted it.
    pub heap_min_bytes: Option<u64>,
    /// Most heap that was seen.
    pub heap_max_bytes: Option<u64>,
    /// Processor time of the parts that measured it, in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// The share of calls whose processor time that is.
    pub cpu_coverage: Option<f64>,
}

/// The sums of each stretch of this length that has any, in order. A stretch begins at a multiple of its length; a length of 0 counts
/// as 1. Two rollups of the same minute, as after a restart of the host within it, are both counted.
pub fn fold<'a>(rollups: impl IntoIterator<Item = &'a Rollup>, length_ms: u64) -> Vec<Folded> {
    regroup(rollups.into_iter().map(Folded::of), length_ms)
}

/// The same of what is folded already: hours into days.
pub fn regroup(parts: impl IntoIterator<Item = Folded>, length_ms: u64) -> Vec<Folded> {
    let mut stretches: BTreeMap<u64, Folded> = BTreeMap::new();
    for part in parts {
        let from = part.sums.from_unix_ms - part.sums.from_unix_ms % length_ms.max(1);
        let stretch = stretches.entry(from).or_default();
        *stretch = stretch.merged(&part);
    }
    let placed = stretches.into_iter().map(|(from_unix_ms, mut stretch)| {
        stretch.sums.from_unix_ms = from_unix_ms;
        stretch
    });
    placed.collect()
}

fn sum<'a>(counts: impl Iterator<Item = &'a u64>) -> u64 {
    counts.fold(0, |sum, count| sum.saturating_add(*count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::record::StateMs;
    use crate::model::ErrorKind;
    use crate::sketch::Sketch;
    use proptest::prelude::*;
    use std::time::Duration;

    const MINUTE_MS: u64 = 60_000;

    fn minute(at: u64) -> Rollup {
        Rollup {
            from_unix_ms: at * MINUTE_MS,
            states: StateMs {
                up: 50_000,
                down: 10_000,
                ..StateMs::default()
            },
            checks: 6,
            checks_failed: 1,
            calls: 10,
            errors: [(ErrorKind::Internal, 1), (ErrorKind::Cancelled, 2)].into(),
            latency: Sketch::of((1..=10).map(|n| Duration::from_millis(n + at))),
            heap_bytes: Some((100 - at, 200 + at)),
            cpu_ns: at.is_multiple_of(2).then_some(1_000),
        }
    }

    #[test]
    fn an_hour_is_the_sum_of_its_minutes() {
        let minutes: Vec<_> = (0..90).map(minute).collect();
        let hours = fold(&minutes, HOUR_MS);
        assert_eq!(
            hours
                .iter()
                .map(|h| (h.sums.from_unix_ms, h.parts))
                .collect::<Vec<_>>(),
            [(0, 60), (HOUR_MS, 30)]
        );
        let first = &hours[0];
        assert_eq!(
            (first.sums.states.up, first.sums.states.down),
            (3_000_000, 600_000)
        );
        assert_eq!(
            (first.sums.checks, first.sums.checks_failed, first.sums.calls),
            (360, 60, 600)
        );
        assert_eq!(first.sums.heap_bytes, Some((41, 259)));
        assert_eq!(
            (first.sums.cpu_ns, first.cpu_parts, first.cpu_coverage()),
            (Some(30_000), 30, Some(0.5))
        );
        assert_eq!(first.sums.latency.count(), 600);
        let summary = first.summary();
        assert_eq!((summary.failures, summary.blamed), (180, 60));
        assert!(
            summary.p50_ns.unwrap() > 30_000_000 && summary.p99_ns > summary.p95_ns,
            "{summary:?}"
        );
        assert!(serde_json::to_value(summary).unwrap()["cpu_coverage"].is_number());
    }

    #[test]
    fn what_nobody_measured_is_absent() {
        let bare = Rollup {
            cpu_ns: None,
            heap_bytes: None,
            calls: 0,
            ..minute(3)
        };
        let folded = &fold([&bare, &bare], 0)[0];
        assert_eq!(
            (folded.sums.cpu_ns, folded.sums.heap_bytes, folded.cpu_coverage()),
            (None, None, None)
        );
        assert_eq!(fold([], DAY_MS), []);
        assert_eq!(Folded::default().summary().p50_ns, None);
    }

    fn any_rollup() -> impl Strategy<Value = Rollup> {
        let count = || prop_oneof![0..1_000_u64, Just(u64::MAX)];
        let errors = prop::collection::btree_map(
            prop_oneof![
                Just(ErrorKind::Internal),
                Just(ErrorKind::Cancelled),
                Just(ErrorKind::Unavailable)
            ],
            count(),
            0..3,
        );
        let heap = prop::option::of((count(), count()));
        let measured = (
            errors,
            heap,
            prop::option::of(count()),
            prop::collection::vec(any::<u32>(), 0..5),
        );
        let sums = (0..4 * 24 * 60_u64, prop::array::uniform8(count()));
        (sums, measured).prop_map(|((at, n), (errors, heap_bytes, cpu_ns, nanos))| Rollup {
            from_unix_ms: at * MINUTE_MS,
            states: StateMs {
                up: n[0],
                degraded: n[1],
                down: n[2],
                unknown: n[3],
                left_out: n[4],
            },
            checks: n[5],
            checks_failed: n[6],
            calls: n[7],
            errors,
            latency: Sketch::of(nanos.into_iter().map(|n| Duration::from_nanos(u64::from(n)))),
            heap_bytes,
            cpu_ns,
        })
    }

    proptest! {
        #[test]
        fn a_sum_is_the_same_from_both_sides(a in any_rollup(), b in any_rollup()) {
            let (a, b) = (Folded::of(&a), Folded::of(&b));
            prop_assert_eq!(a.merged(&b), b.merged(&a));
            prop_assert_eq!(&a.merged(&Folded::default()), &a);
        }

        #[test]
        fn in_any_order_and_grouping_it_is_the_same(rollups in prop::collection::vec(any_rollup(), 0..30), cut in 0..30_usize) {
            let days = fold(&rollups, DAY_MS);
            prop_assert_eq!(&days, &regroup(fold(&rollups, HOUR_MS), DAY_MS));
            prop_assert_eq!(&days, &fold(rollups.iter().rev(), DAY_MS));
            let (a, b) = rollups.split_at(cut.min(rollups.len()));
            let apart = fold(a, DAY_MS).into_iter().chain(fold(b, DAY_MS));
            prop_assert_eq!(&days, &regroup(apart, DAY_MS));
            prop_assert_eq!(days.iter().map(|day| day.parts).sum::<u64>(), rollups.len() as u64);
        }
    }
}
