//! Medians, and tails of distributions: what the other analyses calculate with.

use std::f64::consts::{PI, SQRT_2};

/// What a median absolute deviation is multiplied with, so that it is the standard deviation of a normal distribution:
/// 1/Φ⁻¹(3/4) (Hampel, 1974).
const MAD_TO_SIGMA: f64 = 1.482_602_218_505_602;

/// The median of the finite values; the mean of the two in the middle if their number is even. O(n).
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    let lower = if even {
        below.iter().copied().fold(f64::MIN, f64::max)
    } else {
        upper
    };
    Some(lower.midpoint(upper))
}

/// A standard deviation that outliers don't move: 1.4826 times the median absolute deviation from the median, of the finite
/// values.
pub fn robust_sigma(values: &[f64]) -> Option<f64> {
    let center = median(values.iter().copied())?;
    median(values.iter().map(|value| (value - center).abs())).map(|mad| mad * MAD_TO_SIGMA)
}

/// The probability that a standard normal variable is greater than `z`: Abramowitz and Stegun (1964), 7.1.6 near the middle and
/// the continued fraction 7.1.14 in the tail. NaN counts as 0, the middle.
pub fn normal_tail(z: f64) -> f64 {
    let x = z.abs() / SQRT_2;
    let tail = if x < 2.0 {
        (1.0 - erf_by_series(x)) / 2.0
    } else {
        erfc_by_fraction(x) / 2.0
    };
    match z {
        _ if z.is_nan() => 0.5,
        _ if z < 0.0 => 1.0 - tail,
        _ => tail,
    }
}

fn erf_by_series(x: f64) -> f64 {
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term > sum * 1e-17 {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}

fn erfc_by_fraction(x: f64) -> f64 {
    let below = (1..=100).rev().fold(x, |below, n| x + f64::from(n) / 2.0 / below);
    (-x * x).exp() / PI.sqrt() / below
}

/// The natural logarithm of n!: exact sums for small n, else Stirling's series (Abramowitz and Stegun, 6.1.41).
pub fn ln_factorial(n: u64) -> f64 {
    if n < 16 {
        return (2..=n).map(|k| (k as f64).ln()).sum();
    }
    let x = n as f64 + 1.0;
    (x - 0.5) * x.ln() - x + (2.0 * PI).ln() / 2.0 + 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3))
        + 1.0 / (1260.0 * x.powi(5))
}

/// The probability of at least `hits` in `trials` that each succeed with `probability`: the upper tail of the binomial
/// distribution, summed term by term. O(trials).
pub fn binomial_tail(hits: u64, trials: u64, probability: f64) -> f64 {
    if hits == 0 || probability >= 1.0 {
        return if hits <= trials { 1.0 } else { 0.0 };
    }
    if hits > trials || probability.is_nan() || probability <= 0.0 {
        return 0.0;
    }
    let (yes, no) = (probability.ln(), (-probability).ln_1p());
    let term = |k: u64| {
        let ways = ln_factorial(trials) - ln_factorial(k) - ln_factorial(trials - k);
        (ways + k as f64 * yes + (trials - k) as f64 * no).exp()
    };
    (hits..=trials).map(term).sum::<f64>().min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(told: f64, truth: f64, relative: f64) {
        assert!(
            (told - truth).abs() <= truth.abs() * relative + 1e-300,
            "{told} is not {truth}"
        );
    }

    /// numpy 2.4, scipy 1.17: `np.median`, `stats.median_abs_deviation(x, scale='normal')`.
    #[test]
    fn medians_as_numpy_has_them() {
        let values = [21.0, 2.0, 8.0, 3.0, 13.0, 5.0];
        assert_eq!(median(values), Some(6.5));
        near(robust_sigma(&values).unwrap(), 5.930_408_874_022_408, 1e-14);
        assert_eq!(median([3.0, f64::NAN, 1.0, 2.0, f64::INFINITY]), Some(2.0));
        assert_eq!((median([]), robust_sigma(&[])), (None, None));
        assert_eq!(median([f64::MAX, f64::MAX]), Some(f64::MAX));
        let least = f64::from_bits(1);
        assert_eq!(median([least]), Some(least));
    }

    /// scipy 1.17: `stats.norm.sf(z)`.
    #[test]
    fn normal_tails_as_scipy_has_them() {
        for (z, tail) in [
            (0.0, 0.5),
            (0.5, 0.308_537_538_725_986_9),
            (1.0, 0.158_655_253_931_457_07),
            (1.959_963_984_540_054, 0.025),
            (2.575_829_303_548_900_4, 0.005),
            (3.0, 0.001_349_898_031_630_093_3),
            (5.0, 2.866_515_718_791_933e-7),
            (8.0, 6.220_960_574_271_74e-16),
        ] {
            near(normal_tail(z), tail, 1e-11);
            near(normal_tail(-z), 1.0 - tail, 1e-14);
        }
        assert_eq!(normal_tail(f64::INFINITY), 0.0);
        assert_eq!(normal_tail(f64::NAN), 0.5);
    }

    /// scipy 1.17: `special.gammaln(n + 1)`, `stats.binom.sf(k - 1, n, q)`.
    #[test]
    fn factorials_and_binomial_tails_as_scipy_has_them() {
        near(ln_factorial(10), 15.104_412_573_075_516, 1e-14);
        near(ln_factorial(20), 42.335_616_460_753_485, 1e-14);
        near(ln_factorial(100_000), 1_051_299.221_899_121_8, 1e-14);
        near(binomial_tail(3, 10, 0.1), 0.070_190_826_4, 1e-10);
        near(binomial_tail(5, 20, 0.01), 1.367_798_632_893_410_7e-6, 1e-10);
        near(binomial_tail(500, 1000, 0.5), 0.512_612_509_089_180_2, 1e-10);
        near(binomial_tail(1, 5, 0.3), 0.831_93, 1e-10);
        assert_eq!((binomial_tail(0, 0, 0.5), binomial_tail(1, 0, 0.5)), (1.0, 0.0));
        assert_eq!((binomial_tail(2, 3, 0.0), binomial_tail(2, 3, 1.0)), (0.0, 1.0));
    }

    proptest! {
        #[test]
        fn the_median_is_the_middle_of_the_sorted(mut values in prop::collection::vec(-1e6..1e6_f64, 1..50)) {
            let told = median(values.iter().copied()).unwrap();
            values.sort_by(f64::total_cmp);
            let n = values.len();
            let middle = (values[(n - 1) / 2] + values[n / 2]) / 2.0;
            prop_assert!((told - middle).abs() < 1e-6);
        }

        #[test]
        fn tails_are_probabilities(z: f64, hits in 0..300_u64, trials in 0..300_u64, q: f64) {
            prop_assert!((0.0..=1.0).contains(&normal_tail(z)));
            prop_assert!((0.0..=1.0).contains(&binomial_tail(hits, trials, q)));
        }
    }
}
