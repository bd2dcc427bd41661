//! Whether a heap only grows: a leak is suspected where the hourly minima after a warm-up rise (Theil–Sen), by 10 % or more over
//! the time that is looked at, and more than chance would make them (Mann–Kendall, p < 0.01).
//!
//! Minima, since what a plugin frees again within the hour is no leak. Neighbouring hours are alike, which a plain test takes for a
//! trend: the variance is corrected for that (Hamed and Rao, 1998). A heap that rose once and stays is no leak either: the slope of
//! the later half must be above zero as well.
//!
//! Of 200 simulated heaps without a leak (mean 1000, steps of σ = 30 an hour, 24 to 168 hours), none was suspected with independent
//! hours, at most 2.5 % with an autocorrelation of 0.7, 6.5 % with 0.9. A heap that wanders without returning to anything is taken for
//! a leak in a fifth of cases: over that time it does grow. A leak beneath a daily cycle shows from the third day on at the earliest.

use super::Sample;
use super::trend::{Line, mann_kendall_autocorrelated, theil_sen};
use extman_model::findings::{Growth, Leak};
use std::collections::BTreeMap;

/// How long after its start nothing is looked at: caches fill, pools are made.
pub const WARM_UP_MS: u64 = HOUR_MS;
/// Fewest hours with a figure.
pub const HOURS_MIN: usize = 12;
/// Most samples that are looked at: of more, the latest.
pub const SAMPLES_MAX: usize = 100_000;
/// The two-sided probability below which a rise is more than chance.
pub const P_MAX: f64 = 0.01;
/// The least growth over the time that is looked at.
pub const GROWTH_MIN: f64 = 0.10;
/// How far ahead exhaustion is projected: beyond a year, a line through days says nothing.
pub const HORIZON_MS: u64 = 365 * 24 * HOUR_MS;

const HOUR_MS: u64 = 3_600_000;

/// Looks at samples of heap in use, in bytes, in any order. Those before `started_unix_ms`, the last start of the instance, and in
/// its warm-up are left out. `limit_bytes` is what it may use.
pub fn leak(samples: &[Sample], started_unix_ms: u64, limit_bytes: Option<u64>) -> Leak {
    let minima = hourly_minima(samples, started_unix_ms.saturating_add(WARM_UP_MS));
    let not_enough = Leak::NotEnough {
        hours: minima.len(),
        hours_needed: HOURS_MIN,
    };
    let (Some((first, _)), Some((last, _))) = (minima.first().copied(), minima.last().copied()) else {
        return not_enough;
    };
    if minima.len() < HOURS_MIN {
        return not_enough;
    }
    let points: Vec<(f64, f64)> = minima
        .iter()
        .map(|(hour, bytes)| ((hour - first) as f64, *bytes as f64))
        .collect();
    let values: Vec<f64> = points.iter().map(|(_, bytes)| *bytes).collect();
    let later_half = theil_sen(&points[points.len() / 2..]);
    let (Some(line), Some(later), Some(test)) = (
        theil_sen(&points),
        later_half,
        mann_kendall_autocorrelated(&values),
    ) else {
        return not_enough;
    };
    let growth = Growth {
        from_unix_ms: first * HOUR_MS,
        to_unix_ms: last * HOUR_MS,
        hours: minima.len(),
        bytes_per_hour: line.slope,
        bytes_per_hour_low: line.low,
        bytes_per_hour_high: line.high,
        growth: line.slope * (last - first) as f64 / line.intercept.max(1.0),
        p: test.p,
    };
    if test.p < P_MAX && line.slope > 0.0 && later.slope > 0.0 && growth.growth >= GROWTH_MIN {
        let exhausted_unix_ms = limit_bytes.and_then(|limit| exhausted(&line, first, last, limit));
        Leak::Suspected {
            growth,
            exhausted_unix_ms,
        }
    } else {
        Leak::NotSuspected(growth)
    }
}

/// When a rising line reaches a limit; the last hour if it is there already.
fn exhausted(line: &Line, first: u64, last: u64, limit_bytes: u64) -> Option<u64> {
    let now = line.intercept + line.slope * (last - first) as f64;
    let hours = ((limit_bytes as f64 - now) / line.slope).max(0.0);
    let ms = hours * HOUR_MS as f64;
    (ms <= HORIZON_MS as f64).then(|| (last * HOUR_MS).saturating_add(ms as u64))
}

/// The least figure of each hour of the epoch that has one, in order.
fn hourly_minima(samples: &[Sample], from_unix_ms: u64) -> Vec<(u64, u64)> {
    let mut kept: Vec<Sample> = samples
        .iter()
        .filter(|s| s.at_unix_ms >= from_unix_ms)
        .copied()
        .collect();
    kept.sort_unstable_by_key(|sample| sample.at_unix_ms);
    let mut minima = BTreeMap::new();
    for sample in &kept[kept.len().saturating_sub(SAMPLES_MAX)..] {
        let least: &mut u64 = minima.entry(sample.at_unix_ms / HOUR_MS).or_insert(sample.value);
        *least = sample.value.min(*least);
    }
    minima.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::trend::tests::WANDERING;
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;
    const START: u64 = 1_700_000_000_000 / HOUR_MS * HOUR_MS;

    /// Four samples an hour for so many hours from the start on; the least of an hour is what `heap` says.
    fn samples(hours: u64, heap: impl Fn(u64) -> u64) -> Vec<Sample> {
        let quarters = (0..hours * 4).map(|quarter| Sample {
            at_unix_ms: START + quarter * HOUR_MS / 4,
            value: heap(quarter / 4) + quarter % 4 * 50 * MIB,
        });
        quarters.collect()
    }

    /// 100 MiB and one more each hour: after the warm-up it is at 101 MiB, after 24 hours at 124, and reaches 200 MiB after 100.
    #[test]
    fn what_only_grows_is_suspected_and_its_end_projected() {
        let found = leak(&samples(25, |hour| (100 + hour) * MIB), START, Some(200 * MIB));
        let Leak::Suspected {
            growth,
            exhausted_unix_ms,
        } = found
        else {
            panic!("{found:?}");
        };
        assert_eq!((growth.hours, growth.bytes_per_hour), (24, MIB as f64));
        assert!(
            (growth.growth - 23.0 / 101.0).abs() < 1e-12 && growth.p < 1e-6,
            "{growth:?}"
        );
        assert_eq!(exhausted_unix_ms, Some(START + 100 * HOUR_MS));
        let json = serde_json::to_value(found).unwrap();
        assert_eq!(
            (&json["finding"], &json["hours"]),
            (&"suspected".into(), &24.into())
        );
    }

    #[test]
    fn an_end_that_is_not_in_sight_is_absent() {
        for limit in [None, Some(u64::MAX)] {
            let found = leak(&samples(25, |hour| (100 + hour) * MIB), START, limit);
            assert!(
                matches!(
                    found,
                    Leak::Suspected {
                        exhausted_unix_ms: None,
                        ..
                    }
                ),
                "{found:?}"
            );
        }
        let over = leak(&samples(25, |hour| (100 + hour) * MIB), START, Some(MIB));
        let Leak::Suspected {
            exhausted_unix_ms,
            growth,
        } = over
        else {
            panic!("{over:?}");
        };
        assert_eq!(exhausted_unix_ms, Some(growth.to_unix_ms));
    }

    fn not_suspected(found: Leak) -> Growth {
        match found {
            Leak::NotSuspected(growth) => growth,
            _ => panic!("{found:?}"),
        }
    }

    #[test]
    fn what_wanders_steps_or_grows_a_little_is_not() {
        let wandering = |hour: u64| (200.0 + 40.0 * WANDERING[hour as usize]) as u64 * MIB;
        assert!(not_suspected(leak(&samples(60, wandering), START, None)).p > P_MAX);
        let step = |hour: u64| if hour < 12 { 100 * MIB } else { 200 * MIB };
        not_suspected(leak(&samples(25, step), START, None));
        // It fills for 21 hours and gives a little back in the next 15.
        let filled = |hour: u64| {
            let after = hour.saturating_sub(1);
            let back = after.saturating_sub(21);
            (1_000 + 20 * after.min(21) - back % 2 - back / 4) * MIB
        };
        assert!(not_suspected(leak(&samples(37, filled), START, None)).p < P_MAX);
        let little = not_suspected(leak(&samples(25, |hour| 1000 * MIB + hour * MIB), START, None));
        assert!(little.p < P_MAX && little.growth < GROWTH_MIN, "{little:?}");
        not_suspected(leak(&samples(25, |hour| (200 - hour) * MIB), START, None));
        assert_eq!(
            not_suspected(leak(&samples(25, |_| MIB), START, None)).bytes_per_hour,
            0.0
        );
    }

    /// Filling a cache in the warm-up, and the run before the last start, are not looked at.
    #[test]
    fn what_was_before_the_warm_up_does_not_count() {
        let heap = |hour: u64| if hour < 13 { (1 + hour) * MIB } else { 500 * MIB };
        let found = leak(&samples(40, heap), START + 12 * HOUR_MS, None);
        assert_eq!(not_suspected(found).hours, 27);
        let few = leak(&samples(12, |hour| hour * MIB), START, None);
        assert_eq!(
            few,
            Leak::NotEnough {
                hours: 11,
                hours_needed: 12
            }
        );
        assert_eq!(
            leak(&[], u64::MAX, None),
            Leak::NotEnough {
                hours: 0,
                hours_needed: 12
            }
        );
    }

    proptest! {
        #[test]
        fn any_samples_give_numbers(pairs in prop::collection::vec((any::<u64>(), any::<u64>()), 0..60), limit: Option<u64>) {
            let samples: Vec<_> = pairs.iter().map(|(at, value)| Sample { at_unix_ms: *at, value: *value }).collect();
            match leak(&samples, 0, limit) {
                Leak::NotEnough { .. } => {}
                Leak::NotSuspected(growth) | Leak::Suspected { growth, .. } => {
                    prop_assert!(growth.growth.is_finite() && growth.bytes_per_hour.is_finite() && growth.p.is_finite());
                }
            }
        }
    }
}
