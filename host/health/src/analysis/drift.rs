//! Whether an instance is slower, or uses more, than the version of its plugin before it: figures of the new version on control
//! charts whose centre and width are those of the old one.
//!
//! A figure is one minute's or hour's p95 of latency, or its heap; more is worse. The centre is the old figures' median and σ is
//! 1.4826 times their median absolute deviation, so that single bad minutes don't widen the charts. It is at least 10 % of the
//! centre, since a shift by less is not told of. Standardised figures are cut at ±4: one wild one must neither signal nor hide a shift.
//!
//! It has drifted if, at the last figure, the EWMA is outside of its limits *and* the CUSUM is above its own on the same side, *and*
//! the shift has lasted for 20 figures, *and* the median since it began differs by 10 % or more: charts alone find, in enough
//! minutes, any difference however small, and figures of neighbouring minutes are alike, so that they swing out more often than
//! independent ones. Of 3,000 simulated pairs of 300 figures each, alike, of each sort a drift was found in none of independent normal
//! figures, in 1.1 % of lognormal ones (σ = 0.5), in 1.7 % of normal ones with an autocorrelation of 0.5, and in 9.5 % of lognormal
//! ones with 0.8: where figures are as alike as that, hours serve better than minutes.

use super::Sample;
use super::charts::{Cusum, Ewma};
use super::statistics::{median, robust_sigma};
use extman_model::findings::{Comparison, Drift};

/// Fewest figures of the version before.
pub const BASELINE_MIN: usize = 30;
/// Fewest figures of this version.
pub const CURRENT_MIN: usize = 20;
/// Fewest figures since a shift began.
pub const SHIFT_MIN: usize = 20;
/// Most figures of either: a week of minutes. Of more, the latest.
pub const FIGURES_MAX: usize = 10_080;
/// The least difference of medians, as a share of the old one.
pub const EFFECT_MIN: f64 = 0.10;

const Z_MAX: f64 = 4.0;

/// Compares figures of this version, in any order, with those of the version before.
pub fn drift(baseline: &[u64], current: &[Sample]) -> Drift {
    let baseline: Vec<f64> = latest(baseline).iter().map(|value| *value as f64).collect();
    let mut ordered = current.to_vec();
    ordered.sort_by_key(|sample| sample.at_unix_ms);
    let current = latest(&ordered);
    let enough = baseline.len() >= BASELINE_MIN && current.len() >= CURRENT_MIN;
    let (Some(center), Some(spread), true) =
        (median(baseline.iter().copied()), robust_sigma(&baseline), enough)
    else {
        return Drift::NotEnough {
            baseline: baseline.len(),
            baseline_needed: BASELINE_MIN,
            current: current.len(),
            current_needed: CURRENT_MIN,
        };
    };
    let sigma = spread.max(center * EFFECT_MIN).max(1.0);
    let (mut cusum, mut ewma) = (Cusum::default(), Ewma::default());
    for sample in current {
        let z = ((sample.value as f64 - center) / sigma).clamp(-Z_MAX, Z_MAX);
        cusum.push(z);
        ewma.push(z);
    }
    let compare = |figures: usize, shifted: bool| {
        let those = &current[current.len() - figures..];
        let now = median(those.iter().map(|sample| sample.value as f64)).unwrap_or(center);
        Comparison {
            baseline: center,
            sigma,
            current: now,
            ratio: (center > 0.0).then(|| now / center),
            since_unix_ms: those.first().filter(|_| shifted).map(|sample| sample.at_unix_ms),
            baseline_figures: baseline.len(),
            current_figures: current.len(),
        }
    };
    if cusum.above > Cusum::H && cusum.above_for >= SHIFT_MIN && ewma.value > ewma.limit() {
        let found = compare(cusum.above_for, true);
        if found.current >= center * (1.0 + EFFECT_MIN) {
            return Drift::Worse(found);
        }
    }
    if cusum.below > Cusum::H && cusum.below_for >= SHIFT_MIN && ewma.value < -ewma.limit() {
        let found = compare(cusum.below_for, true);
        if found.current <= center * (1.0 - EFFECT_MIN) {
            return Drift::Better(found);
        }
    }
    Drift::None(compare(current.len(), false))
}

fn latest<T>(figures: &[T]) -> &[T] {
    &figures[figures.len().saturating_sub(FIGURES_MAX)..]
}

#[cfg(test)]
mod tests {
    use super::super::charts::tests::normal_deviates;
    use super::*;
    use proptest::prelude::*;

    /// N(1000, 50), so many of them.
    fn usual(figures: usize, seed: u64) -> Vec<u64> {
        let deviates = normal_deviates(seed).take(figures);
        deviates.map(|z| (1000.0 + 50.0 * z) as u64).collect()
    }

    /// A figure a minute from 0 on.
    fn minutes(values: impl IntoIterator<Item = u64>) -> Vec<Sample> {
        let at = (0..).step_by(60_000);
        at.zip(values)
            .map(|(at_unix_ms, value)| Sample { at_unix_ms, value })
            .collect()
    }

    #[test]
    fn a_shift_is_found_dated_and_measured() {
        let mut values = usual(200, 5);
        values[100..].iter_mut().for_each(|value| *value += 200);
        let Drift::Worse(found) = drift(&usual(500, 3), &minutes(values)) else {
            panic!("not worse");
        };
        let since = found.since_unix_ms.unwrap() / 60_000;
        assert!((98..=101).contains(&since), "{since}");
        assert!((found.ratio.unwrap() - 1.2).abs() < 0.03, "{found:?}");
        // The deviation of 50 is below 10 %.
        assert_eq!(found.sigma, found.baseline / 10.0);
        assert_eq!((found.baseline_figures, found.current_figures), (500, 200));
    }

    #[test]
    fn less_is_better() {
        let better = usual(100, 5).into_iter().map(|value| value - 200);
        let found = drift(&usual(500, 3), &minutes(better));
        assert!(
            matches!(found, Drift::Better(c) if c.since_unix_ms == Some(0)),
            "{found:?}"
        );
        assert_eq!(serde_json::to_value(found).unwrap()["finding"], "better");
    }

    #[test]
    fn what_is_as_before_over_young_or_a_trifle_is_no_drift() {
        let baseline = usual(500, 3);
        let same = drift(&baseline, &minutes(usual(1_000, 9)));
        assert!(
            matches!(same, Drift::None(c) if c.since_unix_ms.is_none()),
            "{same:?}"
        );
        let mut recovered = usual(400, 5);
        recovered[100..300].iter_mut().for_each(|value| *value += 400);
        assert!(matches!(drift(&baseline, &minutes(recovered)), Drift::None(_)));
        // Half a σ, 2.5 %, for long enough that a chart alone would find it.
        let trifle = usual(5_000, 5).into_iter().map(|value| value + 50);
        assert!(matches!(drift(&baseline, &minutes(trifle)), Drift::None(_)));
        // It ended eight figures ago.
        let mut over = usual(108, 5);
        over[50..100].iter_mut().for_each(|value| *value += 400);
        assert!(matches!(drift(&baseline, &minutes(over)), Drift::None(_)));
        // Every third figure is far above, and the median is not.
        let mut spiky = usual(100, 5);
        spiky.iter_mut().step_by(3).for_each(|value| *value *= 10);
        assert!(matches!(drift(&baseline, &minutes(spiky)), Drift::None(_)));
        // It began ten figures ago.
        let mut young = usual(60, 5);
        young[50..].iter_mut().for_each(|value| *value += 400);
        assert!(matches!(drift(&baseline, &minutes(young)), Drift::None(_)));
        let mut outlier = usual(60, 5);
        outlier[59] = u64::MAX;
        assert!(matches!(drift(&baseline, &minutes(outlier)), Drift::None(_)));
    }

    #[test]
    fn what_was_before_neither_hides_nor_dates_a_shift() {
        let baseline = usual(500, 3);
        let mut wild: Vec<_> = usual(100, 5).into_iter().map(|value| value - 300).collect();
        wild[80] = u64::MAX;
        assert!(matches!(drift(&baseline, &minutes(wild)), Drift::Better(_)));
        let mut again = usual(400, 5);
        again[100..300].iter_mut().for_each(|value| *value += 400);
        again[350..].iter_mut().for_each(|value| *value += 400);
        let found = drift(&baseline, &minutes(again));
        assert!(
            matches!(found, Drift::Worse(c) if c.since_unix_ms.unwrap() / 60_000 >= 345),
            "{found:?}"
        );
        // A step by 3 %, and then by 100 %: the second is the shift.
        let steps = [3_300; 60].into_iter().chain([6_400; 40]);
        let found = drift(&[3_200; 30], &minutes(steps));
        assert!(
            matches!(found, Drift::Worse(c) if c.since_unix_ms == Some(60 * 60_000)),
            "{found:?}"
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        let found = drift(&[5; 29], &minutes([5; 21]));
        assert_eq!(
            found,
            Drift::NotEnough {
                baseline: 29,
                baseline_needed: 30,
                current: 21,
                current_needed: 20
            }
        );
        // All equal: the next bucket of a histogram is no drift, twice as much is.
        assert!(matches!(
            drift(&[3_200; 30], &minutes([3_300; 40])),
            Drift::None(_)
        ));
        assert!(matches!(
            drift(&[3_200; 30], &minutes([6_400; 40])),
            Drift::Worse(_)
        ));
        assert!(matches!(drift(&[0; 30], &minutes([0; 40])), Drift::None(_)));
    }

    proptest! {
        #[test]
        fn any_figures_give_numbers(
            baseline in prop::collection::vec(any::<u64>(), 0..60),
            current in prop::collection::vec((any::<u64>(), any::<u64>()), 0..60),
        ) {
            let current: Vec<_> = current.iter().map(|(at, value)| Sample { at_unix_ms: *at, value: *value }).collect();
            match drift(&baseline, &current) {
                Drift::NotEnough { .. } => {}
                Drift::None(c) | Drift::Worse(c) | Drift::Better(c) => {
                    prop_assert!(c.baseline.is_finite() && c.current.is_finite() && c.sigma > 0.0);
                    prop_assert!(c.ratio.is_none_or(f64::is_finite));
                }
            }
        }
    }
}
