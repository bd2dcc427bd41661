//! Pairs of instances that fail together more often than chance.
//!
//! If the failures of one had nothing to do with the other's, a failure would have one of the other's within a window around it with
//! the probability q: the share of the range that lies within a window of the other's failures. The number of those that do is then
//! binomial, and its upper tail is the p of the pair. It is calculated from both sides and the greater p counts, times the number of
//! pairs that were tried (Bonferroni; Dunn, 1961). Lift (Brin, Motwani, Ullman and Tsur, 1997) is observed over expected.

use super::P_MAX;
use crate::analysis::statistics::binomial_tail;
use extman_model::findings::CoFailing;
use extman_model::record::Range;

/// Most instances that are compared: of more, those with the most failures.
pub const INSTANCES_MAX: usize = 50;
/// Most failures of each: of more, the latest.
pub const ONSETS_MAX: usize = 1_000;
/// Most pairs that are told of, those with the least p first.
pub const PAIRS_MAX: usize = 20;
/// Fewest failures that must have come together.
pub const TOGETHER_MIN: u64 = 3;

/// An instance, and when it began to fail, in milliseconds since the Unix epoch and in any order, from
/// [`onsets`](crate::analysis::timeline::onsets).
pub type Onsets<'a> = (&'a str, Vec<u64>);

/// The pairs that fail together, within `window_ms` of each other. `range` is the time in which both were watched; failures outside
/// of it don't count. What takes the whole host down makes all pairs fail together, and is left out by whoever asks.
pub fn co_failing(instances: &[Onsets<'_>], range: Range, window_ms: u64) -> Vec<CoFailing> {
    let mut watched: Vec<(&str, Vec<u64>)> = instances
        .iter()
        .map(|(instance, starts)| (*instance, bursts(starts, range, window_ms)))
        .filter(|(_, starts)| starts.len() as u64 >= TOGETHER_MIN)
        .collect();
    watched.sort_by(|a, b| (b.1.len(), a.0).cmp(&(a.1.len(), b.0)));
    watched.truncate(INSTANCES_MAX);
    let pairs = watched.len() * watched.len().saturating_sub(1) / 2;
    let mut found = Vec::new();
    for (at, (first, starts)) in watched.iter().enumerate() {
        for (second, others) in &watched[at + 1..] {
            let (here, there) = (
                side(starts, others, range, window_ms),
                side(others, starts, range, window_ms),
            );
            let pair = CoFailing {
                first: (*first).to_owned(),
                second: (*second).to_owned(),
                first_failures: starts.len() as u64,
                second_failures: others.len() as u64,
                together: here.near.min(there.near),
                lift: here.lift.min(there.lift),
                p: (here.p.max(there.p) * pairs as f64).min(1.0),
                lag_ms: here.lag_ms,
            };
            if pair.together >= TOGETHER_MIN && pair.p < P_MAX && pair.lift > 1.0 {
                found.push(pair);
            }
        }
    }
    found.sort_by(|a, b| a.p.total_cmp(&b.p).then(b.together.cmp(&a.together)));
    found.truncate(PAIRS_MAX);
    found
}

/// The starts within the range, in order; of those that follow one within a window, only the first.
fn bursts(starts: &[u64], range: Range, window_ms: u64) -> Vec<u64> {
    let mut ordered: Vec<u64> = starts.iter().copied().filter(|at| range.holds(*at)).collect();
    ordered.sort_unstable();
    ordered.dedup_by(|later, kept| *later - *kept <= window_ms);
    ordered.split_off(ordered.len().saturating_sub(ONSETS_MAX))
}

struct Side {
    near: u64,
    lift: f64,
    p: f64,
    lag_ms: i64,
}

/// How many of `starts` have one of `others` near.
fn side(starts: &[u64], others: &[u64], range: Range, window_ms: u64) -> Side {
    let mut lags: Vec<i64> = starts
        .iter()
        .filter_map(|at| nearest(*at, others, window_ms))
        .collect();
    lags.sort_unstable();
    let near = lags.len() as u64;
    let covered = covered_ms(others, range, window_ms) as f64 / range.length_ms().max(1) as f64;
    let expected = covered * starts.len() as f64;
    Side {
        near,
        lift: if expected > 0.0 {
            near as f64 / expected
        } else {
            0.0
        },
        p: binomial_tail(near, starts.len() as u64, covered),
        lag_ms: lags.get(lags.len() / 2).copied().unwrap_or(0),
    }
}

/// The nearest of `others` less `at`, if it is within the window.
fn nearest(at: u64, others: &[u64], window_ms: u64) -> Option<i64> {
    let after = others.partition_point(|other| *other < at);
    let around = [after.checked_sub(1), Some(after)]
        .into_iter()
        .flatten()
        .filter_map(|n| others.get(n));
    let nearest = around.min_by_key(|other| other.abs_diff(at))?;
    let lag = i64::try_from(nearest.abs_diff(at)).unwrap_or(i64::MAX);
    (nearest.abs_diff(at) <= window_ms).then_some(if *nearest < at { -lag } else { lag })
}

/// How much of the range lies within a window of one of these, which are in order.
fn covered_ms(starts: &[u64], range: Range, window_ms: u64) -> u64 {
    let (mut covered, mut until) = (0, range.from_unix_ms);
    for at in starts {
        let from = at.saturating_sub(window_ms).max(until);
        let to = at.saturating_add(window_ms).min(range.to_unix_ms);
        covered += to.saturating_sub(from);
        until = until.max(to);
    }
    covered
}

#[cfg(test)]
mod tests {
    use super::super::super::charts::tests::normal_deviates;
    use super::*;
    use proptest::prelude::*;

    const DAY: Range = Range {
        from_unix_ms: 0,
        to_unix_ms: 86_400_000,
    };
    const WINDOW: u64 = 30_000;

    fn of(instance: &str, at_unix_ms: impl IntoIterator<Item = u64>) -> Onsets<'_> {
        (instance, at_unix_ms.into_iter().collect())
    }

    /// Moments without an order, the same each time for a seed.
    fn scattered(seed: u64, count: usize) -> Vec<u64> {
        let deviates = normal_deviates(seed).map(|z| (z.abs() * 1e12) as u64 % DAY.to_unix_ms);
        deviates.skip(10).take(count).collect()
    }

    /// 5 failures an hour apart, of which 4 have one of the other's 10 s later; the other has 6. In a day of 86,400 s with windows
    /// of ±30 s: q = 6·60/86400 = 1/240 and 5·60/86400 = 1/288. scipy 1.17: `binom.sf(3, 5, 1/240)` = 1.5020174254115225e-09,
    /// `binom.sf(3, 6, 1/288)` = 2.168229974773489e-09. Lift: 4/(5/240) = 192, 4/(6/288) = 192.
    #[test]
    fn a_pair_by_hand() {
        const HOUR: u64 = 3_600_000;
        let first = (1..=5).map(|n| n * HOUR);
        let second = (1..=4).map(|n| n * HOUR + 10_000).chain([10 * HOUR, 11 * HOUR]);
        let found = co_failing(&[of("a", first.clone()), of("b", second.clone())], DAY, WINDOW);
        assert_eq!(found.len(), 1);
        let pair = &found[0];
        // The one with more failures stands first.
        assert_eq!((pair.first.as_str(), pair.second.as_str()), ("b", "a"));
        assert_eq!(
            (pair.first_failures, pair.second_failures, pair.together),
            (6, 5, 4)
        );
        assert!((pair.lift - 192.0).abs() < 1e-9, "{}", pair.lift);
        assert!((pair.p / BY_SCIPY - 1.0).abs() < 1e-9, "{}", pair.p);
        assert_eq!(pair.lag_ms, -10_000);
        // A third one makes three pairs to try.
        let third = of("c", [12, 13, 14].map(|n| n * HOUR));
        let of_three = co_failing(&[of("a", first), of("b", second), third], DAY, WINDOW);
        assert!((of_three[0].p / BY_SCIPY - 3.0).abs() < 1e-9 && of_three.len() == 1);
        assert!(serde_json::to_value(pair).unwrap()["lift"].is_number());
    }
    const BY_SCIPY: f64 = 2.168_229_974_773_489e-9;

    #[test]
    fn those_that_have_nothing_to_do_with_each_other_are_no_pair() {
        let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        let many: Vec<_> = (0..20)
            .map(|n| of(&names[n as usize], scattered(n * 7_919 + 1, 40)))
            .collect();
        assert_eq!(co_failing(&many, DAY, WINDOW), []);
        let one_burst = [of("a", [5, 6, 7, 8, 9]), of("b", [5, 6, 7, 8, 9])];
        assert_eq!(co_failing(&one_burst, DAY, WINDOW), []);
        assert_eq!(co_failing(&[], DAY, WINDOW), []);
    }

    #[test]
    fn of_many_the_most_frequent_are_compared() {
        let same = scattered(3, 100);
        let names: Vec<String> = (0..80).map(|n| n.to_string()).collect();
        let many: Vec<_> = names.iter().map(|name| of(name, same.iter().copied())).collect();
        assert_eq!(co_failing(&many, DAY, WINDOW).len(), PAIRS_MAX);
    }

    proptest! {
        #[test]
        fn any_moments_give_probabilities(a: Vec<u64>, b: Vec<u64>, from: u64, to: u64, window: u64) {
            let range = Range { from_unix_ms: from, to_unix_ms: to };
            for pair in co_failing(&[of("a", a), of("b", b)], range, window) {
                prop_assert!((0.0..P_MAX).contains(&pair.p) && pair.lift.is_finite());
            }
        }

        #[test]
        fn what_is_covered_is_the_union(starts in prop::collection::vec(0..100_u64, 0..10), window in 0..20_u64) {
            let mut starts = starts;
            starts.sort_unstable();
            let range = Range { from_unix_ms: 10, to_unix_ms: 90 };
            let naive = (10..90_u64).filter(|ms| starts.iter().any(|s| s.saturating_sub(window) <= *ms && *ms < s + window));
            prop_assert_eq!(covered_ms(&starts, range, window), naive.count() as u64);
        }
    }
}
