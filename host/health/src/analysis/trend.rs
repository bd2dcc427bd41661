//! Whether a series rises or falls, and how fast, without assuming anything of its distribution.
//!
//! The slope is Theil's (1950) with Sen's (1968) confidence interval; whether it is more than chance is tested after Mann (1945)
//! and Kendall (1975), with the variance corrected for autocorrelation after Hamed and Rao (1998) where that is asked for. All are
//! O(n²) in points, so that of more than [`POINTS_MAX`] points evenly spaced ones are taken.

use super::statistics::{median, normal_tail};

/// Most points that are calculated with.
pub const POINTS_MAX: usize = 1_440;
/// Fewest points of a Mann–Kendall test: the normal approximation is good from 10 on (Kendall, 1975).
pub const TEST_POINTS_MIN: usize = 10;

/// Φ⁻¹(0.975).
const Z_95: f64 = 1.959_963_984_540_054;

/// A line through points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// The median of the slopes of all pairs of points, in units of y per unit of x.
    pub slope: f64,
    /// Lower end of the slope's 95 % confidence interval.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// Median y − slope · median x: the line's value at x = 0.
    pub intercept: f64,
    /// How many points were calculated with.
    pub points: usize,
}

/// The Theil–Sen line through finite points (x, y). Pairs with equal x have no slope. `None` if there is no pair left.
pub fn theil_sen(points: &[(f64, f64)]) -> Option<Line> {
    let finite = points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
    let points = thinned(&finite.copied().collect::<Vec<_>>());
    let mut slopes = Vec::with_capacity(points.len() * points.len().saturating_sub(1) / 2);
    for (at, (x, y)) in points.iter().enumerate() {
        for (later_x, later_y) in &points[at + 1..] {
            let slope = (later_y - y) / (later_x - x);
            if later_x != x && slope.is_finite() {
                slopes.push(slope);
            }
        }
    }
    let slope = median(slopes.iter().copied())?;
    let (xs, ys): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    let intercept = median(ys.iter().copied())? - slope * median(xs.iter().copied())?;
    // Of the slopes in order, those at (N ∓ z·σ)/2; σ² is that of Kendall's S with ties in both.
    let ties = tie_sum(&xs) + tie_sum(&ys);
    let variance = (kendall_term(points.len()) - ties).max(0.0) / 18.0;
    let reach = Z_95 * variance.sqrt();
    let rank = |rank: f64| (rank.round_ties_even().max(0.0) as usize).min(slopes.len() - 1);
    let low = rank((slopes.len() as f64 - reach) / 2.0 - 1.0);
    let high = rank((slopes.len() as f64 + reach) / 2.0);
    let low = *slopes.select_nth_unstable_by(low, f64::total_cmp).1;
    let high = *slopes.select_nth_unstable_by(high, f64::total_cmp).1;
    intercept.is_finite().then_some(Line {
        slope,
        low,
        high,
        intercept,
        points: points.len(),
    })
}

/// What a Mann–Kendall test found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MannKendall {
    /// Pairs that rise less pairs that fall.
    pub s: i64,
    /// Variance of `s` if there is no trend, corrected for ties, and for autocorrelation if that was asked for.
    pub variance: f64,
    /// Standardised `s`, with continuity correction.
    pub z: f64,
    /// Two-sided probability of such a `z` if there is no trend.
    pub p: f64,
    /// Kendall's tau-a: `s` over the number of pairs; within −1 to 1.
    pub tau: f64,
    /// How many points were calculated with.
    pub points: usize,
}

/// Tests values in order of time for a trend; `None` with fewer than [`TEST_POINTS_MIN`] finite ones. Those close in time are alike, as in
/// memory over hours: the variance is multiplied with Hamed and Rao's factor from the autocorrelation of the detrended ranks, at the lags where it is significant at 5 %. Unlike theirs, the factor
/// never goes below 1, so that this test finds less than the plain one, never more. Gaps in time count as none.
pub fn mann_kendall_autocorrelated(values: &[f64]) -> Option<MannKendall> {
    let values = usable(values)?;
    let line = theil_sen(
        &(0..)
            .map(f64::from)
            .zip(values.iter().copied())
            .collect::<Vec<_>>(),
    )?;
    let detrended: Vec<f64> = (0..)
        .map(f64::from)
        .zip(&values)
        .map(|(x, y)| y - line.slope * x)
        .collect();
    Some(test(&values, variance_factor(&ranks(&detrended)).max(1.0)))
}

fn usable(values: &[f64]) -> Option<Vec<f64>> {
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    (finite.len() >= TEST_POINTS_MIN).then(|| thinned(&finite))
}

/// As if they were independent, but for this factor of the variance.
fn test(values: &[f64], factor: f64) -> MannKendall {
    let n = values.len();
    let mut s = 0_i64;
    for (at, value) in values.iter().enumerate() {
        for later in &values[at + 1..] {
            s += i64::from(later > value) - i64::from(later < value);
        }
    }
    let variance = (kendall_term(n) - tie_sum(values)).max(0.0) / 18.0 * factor;
    let z = if variance > 0.0 {
        (s - s.signum()) as f64 / variance.sqrt()
    } else {
        0.0
    };
    MannKendall {
        s,
        variance,
        z,
        p: (2.0 * normal_tail(z.abs())).min(1.0),
        tau: s as f64 / (n * (n - 1) / 2) as f64,
        points: n,
    }
}

/// n(n−1)(2n+5).
fn kendall_term(n: usize) -> f64 {
    let n = n as f64;
    n * (n - 1.0) * (2.0 * n + 5.0)
}

/// The sum of [`kendall_term`] over groups of equal values.
fn tie_sum(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
        .chunk_by(|a, b| a == b)
        .map(|group| kendall_term(group.len()))
        .sum()
}

/// Ranks from 1 on; equal values share the mean of theirs.
pub(super) fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for group in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let mean = before as f64 + (group.len() + 1) as f64 / 2.0;
        group.iter().for_each(|at| ranks[*at] = mean);
        before += group.len();
    }
    ranks
}

/// 1 + 2/(n(n−1)(n−2)) · Σ (n−i)(n−i−1)(n−i−2)·ρ(i) over the lags i with |ρ(i)| > z/√n.
fn variance_factor(ranks: &[f64]) -> f64 {
    let n = ranks.len() as f64;
    let mean = ranks.iter().sum::<f64>() / n;
    let covariance = |lag: usize| -> f64 {
        let pairs = ranks.iter().zip(&ranks[lag..]);
        pairs.map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    let own = covariance(0);
    if own <= 0.0 {
        return 1.0;
    }
    let mut sum = 0.0;
    for lag in 1..ranks.len() {
        let correlation = covariance(lag) / own;
        if correlation.abs() > Z_95 / n.sqrt() {
            let left = n - lag as f64;
            sum += left * (left - 1.0) * (left - 2.0) * correlation;
        }
    }
    1.0 + 2.0 / (n * (n - 1.0) * (n - 2.0)) * sum
}

/// At most [`POINTS_MAX`] of them, evenly spaced, the first among them.
fn thinned<T: Copy>(points: &[T]) -> Vec<T> {
    let kept = points.len().min(POINTS_MAX);
    (0..kept).map(|at| points[at * points.len() / kept]).collect()
}

#[cfg(test)]
#[path = "trend_tests.rs"]
pub(super) mod tests;
