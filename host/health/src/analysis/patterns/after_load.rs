//! Failures that come after many calls.
//!
//! The mean calls a minute in the five minutes before each outage are compared with those of all other stretches of five minutes in
//! which nothing was down, by the test of Mann and Whitney (1947; normal approximation with ties and continuity correction, one-sided).
//! How great the difference is: the probability of superiority, U/(n₁n₂) (Vargha and Delaney, 2000, whose A = 0.71 is a large
//! effect). Load that follows the hour of the day, and failures that do for another reason, come together as well.

use super::P_MAX;
use crate::analysis::statistics::{median, normal_tail};
use crate::analysis::trend::ranks;
use extman_model::findings::{AfterLoad, Outage};
use std::collections::{BTreeMap, BTreeSet};

/// Fewest outages with known load before them.
pub const OUTAGES_MIN: usize = 5;
/// Most outages that are looked at: of more, the latest.
pub const OUTAGES_MAX: usize = 1_000;
/// Fewest other stretches.
pub const OTHERS_MIN: usize = 20;
/// Most minutes that are looked at, about a month: of more, the latest.
pub const MINUTES_MAX: usize = 45_000;
/// The least probability of superiority.
pub const SUPERIORITY_MIN: f64 = 0.71;

const MINUTE_MS: u64 = 60_000;
/// Minutes in a stretch, and how many of them must be known.
const STRETCH: u64 = 5;
const KNOWN_MIN: usize = 3;

/// Compares the load before outages with that of other times, both in any order. `loads` are calls by the beginning of the minute in which
/// they ended, in milliseconds since the Unix epoch. `None` if outages don't come after load, or too
/// little is known to tell. An outage within five minutes of another one's end says nothing of load and is left out.
pub fn after_load(loads: &[(u64, u64)], outages: &[Outage]) -> Option<AfterLoad> {
    let minutes: BTreeMap<u64, u64> = loads
        .iter()
        .map(|(from_unix_ms, calls)| (from_unix_ms / MINUTE_MS, *calls))
        .collect();
    let minutes: BTreeMap<u64, u64> = minutes.into_iter().rev().take(MINUTES_MAX).collect();
    let mut outages = outages.to_vec();
    outages.sort_by_key(|outage| outage.from_unix_ms);
    let outages = &outages[outages.len().saturating_sub(OUTAGES_MAX)..];
    let down: BTreeSet<u64> = outages
        .iter()
        .flat_map(|outage| {
            let (from, to) = (outage.from_unix_ms / MINUTE_MS, outage.to_unix_ms / MINUTE_MS);
            minutes
                .range(from..=to.max(from))
                .map(|(minute, _)| *minute)
                .collect::<Vec<_>>()
        })
        .collect();
    let rate = |from: u64| {
        let stretch = from..from + STRETCH;
        let known: Vec<f64> = minutes
            .range(stretch.clone())
            .map(|(_, calls)| *calls as f64)
            .collect();
        let usable = known.len() >= KNOWN_MIN && down.range(stretch).next().is_none();
        usable.then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    let starts = outages
        .iter()
        .filter_map(|outage| (outage.from_unix_ms / MINUTE_MS).checked_sub(STRETCH));
    let starts: BTreeSet<u64> = starts.filter(|start| rate(*start).is_some()).collect();
    let before: Vec<f64> = starts.iter().filter_map(|start| rate(*start)).collect();
    let stretches: BTreeSet<u64> = minutes.keys().map(|minute| minute / STRETCH * STRETCH).collect();
    let apart = |from: &u64| {
        starts
            .range(from.saturating_sub(STRETCH - 1)..from + STRETCH)
            .next()
            .is_none()
    };
    let others: Vec<f64> = stretches.into_iter().filter(apart).filter_map(rate).collect();
    if before.len() < OUTAGES_MIN || others.len() < OTHERS_MIN {
        return None;
    }
    let (u, p) = mann_whitney(&before, &others)?;
    let superiority = u / (before.len() as f64 * others.len() as f64);
    (p < P_MAX && superiority >= SUPERIORITY_MIN).then_some(AfterLoad {
        outages: before.len(),
        others: others.len(),
        before_calls_per_minute: median(before.iter().copied())?,
        other_calls_per_minute: median(others.iter().copied())?,
        superiority,
        p,
    })
}

/// U of the first sample, and the one-sided probability of such or a greater one if both are alike. `None` if one is empty.
pub fn mann_whitney(first: &[f64], second: &[f64]) -> Option<(f64, f64)> {
    if first.is_empty() || second.is_empty() {
        return None;
    }
    let both: Vec<f64> = first.iter().chain(second).copied().collect();
    let ranked = ranks(&both);
    let (a, b) = (first.len() as f64, second.len() as f64);
    let n = a + b;
    let u = ranked[..first.len()].iter().sum::<f64>() - a * (a + 1.0) / 2.0;
    let mut sorted = both;
    sorted.sort_unstable_by(f64::total_cmp);
    let ties: f64 = sorted
        .chunk_by(|x, y| x == y)
        .map(|group| group.len() as f64)
        .map(|ties| ties.powi(3) - ties)
        .sum();
    let variance = a * b / 12.0 * (n + 1.0 - ties / (n * (n - 1.0)));
    if variance <= 0.0 {
        return Some((u, 1.0));
    }
    Some((u, normal_tail((u - a * b / 2.0 - 0.5) / variance.sqrt())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::Cause;
    use proptest::prelude::*;

    /// scipy 1.17, `mannwhitneyu(.., method='asymptotic', alternative='greater')`; the first are the samples of its documentation.
    #[test]
    fn tests_as_scipy_has_them() {
        let (u, p) = mann_whitney(&[19.0, 22.0, 16.0, 29.0, 24.0], &[20.0, 11.0, 17.0, 12.0]).unwrap();
        assert_eq!(u, 17.0);
        assert!((p - 0.055_673_443_266_570_206).abs() < 1e-12, "{p}");
        let tied = [1.0, 2.0, 5.0, 5.0, 7.0, 3.0, 4.0, 4.0];
        let (u, p) = mann_whitney(&[5.0, 7.0, 7.0, 9.0, 12.0, 7.0], &tied).unwrap();
        assert_eq!(u, 44.5);
        assert!((p - 0.004_324_423_037_158_183).abs() < 1e-12, "{p}");
        assert_eq!(mann_whitney(&[1.0; 4], &[1.0; 4]), Some((8.0, 1.0)));
        assert_eq!(mann_whitney(&[], &[1.0]), None);
    }

    fn outage(from_minute: u64, to_minute: u64) -> Outage {
        Outage {
            from_unix_ms: from_minute * MINUTE_MS,
            to_unix_ms: to_minute * MINUTE_MS,
            cause: Cause::CallsFail,
            running: false,
        }
    }

    /// So many calls in each minute of ten hours.
    fn loads(calls: impl Fn(u64) -> u64) -> Vec<(u64, u64)> {
        (0..600)
            .map(|minute| (minute * MINUTE_MS, calls(minute)))
            .collect()
    }

    #[test]
    fn outages_after_a_rush_are_told_of() {
        let outages: Vec<_> = (1..=8).map(|n| outage(n * 60, n * 60 + 7)).collect();
        let rush = loads(|minute| if minute % 60 >= 55 { 500 } else { 10 + minute % 3 });
        let found = after_load(&rush, &outages).unwrap();
        assert_eq!((found.outages, found.before_calls_per_minute), (8, 500.0));
        // Of 120 stretches, one is before each outage and two are in it.
        assert_eq!(found.others, 96);
        assert!(
            found.superiority > 0.95 && found.p < 1e-4 && found.other_calls_per_minute < 13.0,
            "{found:?}"
        );
        let elsewhere = loads(|minute| {
            if minute % 60 / 5 == 6 {
                500
            } else {
                10 + minute % 3
            }
        });
        assert_eq!(after_load(&elsewhere, &outages), None);
        assert!(serde_json::to_value(found).unwrap()["p"].is_number());
    }

    /// Two calls more before each of 29 outages: superiority 0.68 with p near 0.003, which is more than chance and not much.
    #[test]
    fn a_small_difference_is_not_told_of() {
        let outages: Vec<_> = (1..30).map(|n| outage(n * 20, n * 20 + 1)).collect();
        let little = |more: u64| {
            loads(move |minute| match minute / 5 % 4 {
                3 => minute / 20 % 10 + more,
                _ => minute / 5 % 10,
            })
        };
        assert_eq!(after_load(&little(2), &outages), None);
        assert!(after_load(&little(4), &outages).is_some());
    }

    #[test]
    fn too_little_says_nothing() {
        let rush = loads(|minute| if minute % 60 >= 55 { 500 } else { 10 });
        assert_eq!(after_load(&rush, &[]), None);
        let few: Vec<_> = (1..=4).map(|n| outage(n * 60, n * 60 + 7)).collect();
        assert_eq!(after_load(&rush, &few), None);
        // Five, of which one follows the end of another at once.
        let close: Vec<_> = few.into_iter().chain([outage(70, 75)]).collect();
        assert_eq!(after_load(&rush, &close), None);
    }

    proptest! {
        #[test]
        fn anything_gives_numbers(loads: Vec<(u64, u64)>, outages: Vec<(u64, u64)>) {
            let outages: Vec<_> = outages
                .into_iter()
                .map(|(from, to)| Outage { from_unix_ms: from, to_unix_ms: to, ..outage(0, 0) })
                .collect();
            prop_assert!(after_load(&loads, &outages).is_none_or(|found| found.p < P_MAX));
        }

        #[test]
        fn u_counts_the_pairs_that_are_greater(a in prop::collection::vec(0..20_u32, 1..20), b in prop::collection::vec(0..20_u32, 1..20)) {
            let (a, b): (Vec<f64>, Vec<f64>) = (a.into_iter().map(f64::from).collect(), b.into_iter().map(f64::from).collect());
            let pairs = a.iter().flat_map(|x| b.iter().map(move |y| if x > y { 1.0 } else if x == y { 0.5 } else { 0.0 }));
            let (u, p) = mann_whitney(&a, &b).unwrap();
            prop_assert!((u - pairs.sum::<f64>()).abs() < 1e-9 && (0.0..=1.0).contains(&p));
        }
    }
}
