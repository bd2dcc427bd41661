//! Expected numbers: scipy 1.17 (`stats.theilslopes(y, t, 0.95)`) and pymannkendall 1.4 (`original_test`,
//! `hamed_rao_modification_test`), on the series as they stand here.

use super::*;
use proptest::prelude::*;

const RISING: [f64; 15] = [
    2.1, 2.3, 1.9, 2.6, 2.8, 2.6, 3.1, 2.9, 3.3, 3.1, 3.6, 3.4, 3.9, 3.3, 4.1,
];
/// A daily wave on a slope.
const WAVE: [f64; 24] = [
    10.0, 10.8, 11.3, 11.1, 10.4, 9.9, 10.2, 11.0, 11.9, 12.3, 12.0, 11.4, 11.0, 11.2, 12.1, 12.9, 13.2,
    12.8, 12.1, 11.8, 12.0, 12.9, 13.7, 14.1,
];
/// x(t) = 0.7·x(t−1) + a normal deviate (`numpy.random.default_rng(7)`), rounded to 0.01: no trend, but memory.
pub(in super::super) const WANDERING: [f64; 60] = [
    0.0, 0.3, -0.06, -0.93, -1.11, -1.77, -1.18, 0.51, -0.14, -0.72, -0.01, 0.35, 0.35, -0.69, -0.51, 0.34,
    -1.11, -1.23, -2.76, -3.22, -4.1, -3.11, -3.44, -2.14, -1.34, -1.12, -3.3, -2.85, -2.04, -1.31, -2.45,
    -2.19, -2.51, -2.57, -0.74, -1.33, -0.96, 0.21, -0.44, -0.42, -0.18, -0.06, -1.27, -0.81, 0.79, -0.99,
    0.17, 0.24, -0.47, 1.67, 1.93, 0.15, 0.18, 0.7, 0.3, 0.89, 0.56, 1.06, 2.18, 0.85,
];

fn near(told: f64, truth: f64) {
    assert!(
        (told - truth).abs() <= truth.abs() * 1e-9 + 1e-12,
        "{told} is not {truth}"
    );
}

/// The test that takes values as independent.
fn mann_kendall(values: &[f64]) -> Option<MannKendall> {
    Some(test(&usable(values)?, 1.0))
}

fn numbered(values: &[f64]) -> Vec<(f64, f64)> {
    (0..).map(f64::from).zip(values.iter().copied()).collect()
}

#[test]
fn slopes_as_scipy_has_them() {
    let line = theil_sen(&numbered(&RISING)).unwrap();
    near(line.slope, 0.1375);
    near(line.intercept, 2.1375);
    near(line.low, 0.1);
    near(line.high, 0.166_666_666_666_666_63);
    let times = [0.0, 1.0, 2.0, 4.0, 5.0, 5.0, 9.0, 12.0, 13.0, 20.0];
    let values = [5.0, 4.0, 7.0, 9.0, 8.0, 12.0, 15.0, 14.0, 14.0, 30.0];
    let line = theil_sen(&times.into_iter().zip(values).collect::<Vec<_>>()).unwrap();
    near(line.slope, 1.0);
    near(line.intercept, 5.5);
    near(line.low, 0.625);
    near(line.high, 1.375);
}

#[test]
fn tests_as_pymannkendall_has_them() {
    let found = mann_kendall(&RISING).unwrap();
    assert_eq!(found.s, 84);
    near(found.variance, 405.333_333_333_333_3);
    near(found.z, 4.122_606_961_364_949);
    near(found.p, 3.746_085_696_354_484e-5);
    near(found.tau, 0.8);
    let tied = [5.0, 5.0, 5.0, 4.0, 4.0, 6.0, 6.0, 6.0, 6.0, 7.0, 3.0, 2.0];
    let found = mann_kendall(&tied).unwrap();
    assert_eq!(found.s, 2);
    near(found.variance, 199.333_333_333_333_34);
    near(found.z, 0.070_828_824_697_482_85);
    near(found.p, 0.943_533_990_638_812_3);
}

#[test]
fn memory_without_a_trend_is_told_from_a_trend() {
    let plain = mann_kendall(&WANDERING).unwrap();
    assert_eq!(plain.s, 488);
    near(plain.p, 0.001_894_420_521_458_606_3);
    let corrected = mann_kendall_autocorrelated(&WANDERING).unwrap();
    near(corrected.variance, 106_904.064_629_670_93);
    near(corrected.z, 1.489_470_315_159_615);
    near(corrected.p, 0.136_363_564_569_488_5);
    // Hamed and Rao's own factor is below 1 here (1165.15 / 1621.33), and is not taken.
    let wave = mann_kendall_autocorrelated(&WAVE).unwrap();
    near(wave.variance, 1_621.333_333_333_333_3);
    near(
        variance_factor(&ranks(&detrended(&WAVE))),
        1_165.147_349_487_311_4 / 1_621.333_333_333_333_3,
    );
}

fn detrended(values: &[f64]) -> Vec<f64> {
    let slope = theil_sen(&numbered(values)).unwrap().slope;
    numbered(values).iter().map(|(x, y)| y - slope * x).collect()
}

#[test]
fn what_has_no_trend_has_none() {
    assert_eq!(theil_sen(&[]), None);
    assert_eq!(theil_sen(&[(1.0, 2.0)]), None);
    assert_eq!(theil_sen(&[(1.0, 2.0), (1.0, 9.0)]), None);
    assert_eq!(mann_kendall(&[1.0; 9]), None);
    let flat = mann_kendall_autocorrelated(&[7.0; 20]).unwrap();
    assert_eq!((flat.s, flat.z, flat.p), (0, 0.0, 1.0));
    assert_eq!(
        theil_sen(&[(f64::NAN, 1.0), (0.0, f64::INFINITY), (1.0, 1.0)]),
        None
    );
}

#[test]
fn a_long_series_is_thinned() {
    let long: Vec<f64> = (0..10_000).map(f64::from).collect();
    let line = theil_sen(&numbered(&long)).unwrap();
    assert_eq!(
        (line.points, line.slope, line.low, line.high),
        (POINTS_MAX, 1.0, 1.0, 1.0)
    );
    assert_eq!(mann_kendall(&long).unwrap().points, POINTS_MAX);
}

proptest! {
    #[test]
    fn the_line_of_a_line_is_that_line(slope in -1e3..1e3_f64, start in -1e6..1e6_f64, n in 2..60_usize) {
        let points: Vec<_> = (0..n).map(|x| (x as f64, start + slope * x as f64)).collect();
        let line = theil_sen(&points).unwrap();
        prop_assert!((line.slope - slope).abs() < 1e-6 && (line.intercept - start).abs() < 1e-3);
    }

    #[test]
    fn any_numbers_give_numbers(points: Vec<(f64, f64)>) {
        if let Some(line) = theil_sen(&points) {
            prop_assert!([line.slope, line.low, line.high, line.intercept].iter().all(|v| v.is_finite()));
            prop_assert!(line.low <= line.slope && line.slope <= line.high);
        }
        let values: Vec<f64> = points.iter().map(|(_, y)| *y).collect();
        for found in [mann_kendall(&values), mann_kendall_autocorrelated(&values)].into_iter().flatten() {
            prop_assert!((0.0..=1.0).contains(&found.p) && found.z.is_finite() && found.tau.abs() <= 1.0);
        }
    }

    #[test]
    fn reversed_it_is_the_opposite(values in prop::collection::vec(-100..100_i32, 10..40)) {
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let reversed: Vec<f64> = values.iter().rev().copied().collect();
        let (there, back) = (mann_kendall(&values).unwrap(), mann_kendall(&reversed).unwrap());
        prop_assert_eq!((there.s, there.z), (-back.s, -back.z));
        prop_assert_eq!(there.p, back.p);
    }
}
