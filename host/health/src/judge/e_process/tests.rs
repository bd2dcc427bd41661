use super::*;
use crate::rollout::Share;
use proptest::prelude::*;

/// Numbers from 0 to under 1 that come out the same each time.
fn units(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn pool(scores: &[f64], is_candidate: impl Fn(usize) -> bool) -> Vec<Scored> {
    let scored = scores.iter().enumerate().map(|(at, score)| Scored {
        score: *score,
        candidate: u64::from(is_candidate(at)),
        baseline: u64::from(!is_candidate(at)),
    });
    scored.collect()
}

/// scipy 1.17: `mannwhitneyu(a, b).statistic` is U = 19 for these, and the sum of the candidate's scores (U + n(n + 1)/2 − n/2)/N.
#[test]
fn ranks_are_those_of_mann_and_whitney() {
    let a = [3.0, 5.0, 5.0, 8.0, 13.0].map(|value| (value, 1, 0));
    let b = [1.0, 2.0, 5.0, 6.0, 8.0, 8.0, 9.0, 20.0].map(|value| (value, 0, 1));
    let ranks = ranked(a.into_iter().chain(b).collect());
    let sum: f64 = ranks.iter().map(|s| s.candidate as f64 * s.score).sum();
    assert!((sum - (19.0 + 15.0 - 2.5) / 13.0).abs() < 1e-12, "{sum}");
    assert_eq!(ranks.len(), 9, "equal values have one rank");
}

proptest! {
    /// The mean over all choices of n out of N, one by one, is at most 1: so the product over strata is no e-process by approximation alone.
    #[test]
    fn no_choice_of_calls_makes_anything_of_it_on_average(
        scores in prop::collection::vec(prop_oneof![Just(0.0), Just(1.0), 0.0..1.0_f64], 2..10),
        taken in 1..9_u32,
        tilt in 0.1..4.0_f64,
    ) {
        let calls = scores.len() as u32;
        prop_assume!(taken < calls);
        let choices: Vec<u32> = (0..1_u32 << calls).filter(|choice| choice.count_ones() == taken).collect();
        let factor = |choice: &u32| log_factor(&pool(&scores, |at| choice >> at & 1 == 1), tilt).exp();
        let mean = choices.iter().map(factor).sum::<f64>() / choices.len() as f64;
        prop_assert!(mean <= 1.0 + 1e-9, "{mean}");
    }

    /// One of each run of equal length, as the rollout's share has it.
    #[test]
    fn nor_does_one_of_each_run(
        scores in prop::collection::vec(prop_oneof![Just(0.0), Just(1.0), 0.0..1.0_f64], 9..=9),
        tilt in 0.1..4.0_f64,
    ) {
        let mut mean = 0.0;
        for (a, b, c) in (0..27).map(|n| (n / 9, 3 + n / 3 % 3, 6 + n % 3)) {
            mean += log_factor(&pool(&scores, |at| [a, b, c].contains(&at)), tilt).exp() / 27.0;
        }
        prop_assert!(mean <= 1.0 + 1e-9, "{mean}");
    }
}

#[test]
fn worse_scores_multiply_it_and_one_sided_strata_leave_it() {
    let scores: Vec<f64> = (0..20).map(f64::from).map(|at| at / 20.0).collect();
    assert!(log_factor(&pool(&scores, |at| at >= 15), 2.0) > 1.0);
    assert!(log_factor(&pool(&scores, |at| at < 5), 2.0) < -1.0);
    assert_eq!(log_factor(&pool(&scores, |_| true), 2.0), 0.0);
    assert_eq!(log_factor(&pool(&scores, |_| false), 2.0), 0.0);
    assert_eq!(log_factor(&[], 2.0), 0.0);
    let mut process = EProcess::new([1.0, 2.0]);
    assert!(process.log_value() <= 0.0);
    for _ in 0..100 {
        process.push(|tilt| tilt);
    }
    // Half of the stake on the first beginning, half of that on each tilt: ln(e¹⁰⁰/4 + e²⁰⁰/4).
    assert!((process.log_value() - (200.0 - 4_f64.ln())).abs() < 1e-9);
    assert_eq!(log_sum([f64::NEG_INFINITY; 2].into_iter()), f64::NEG_INFINITY);
}

/// A plugin that was good for long and then is not is found out by what was staked later.
#[test]
fn later_stakes_are_not_weighed_down_by_what_was_before() {
    let mut process = EProcess::new([1.0]);
    for _ in 0..1_000 {
        process.push(|_| -1.0);
    }
    process.begin();
    for _ in 0..20 {
        process.push(|_| 1.0);
    }
    assert!((process.log_value() - (20.0 - 6_f64.ln())).abs() < 1e-6);
    for _ in 0..1_000 {
        process.begin();
    }
    assert_eq!(process.stakes.len(), STAKES_MAX);
    let staked: f64 = (1..=STAKES_MAX).map(|at| 1.0 / (at * (at + 1)) as f64).sum();
    assert!(staked <= 1.0);
}

/// Looked at after each stratum, in a series in which neighbouring calls are alike and one in ten is a thousand times as long: in 300 runs
/// of which each has 100 looks, it reaches 20 in no more than a twentieth.
#[test]
fn however_often_one_looks_chance_makes_little_of_it() {
    const RUNS: u64 = 300;
    let mut reached = 0;
    for run in 0..RUNS {
        let mut unit = units(run + 1);
        let (mut process, mut level, mut call) = (EProcess::new([0.35, 0.7, 1.4, 2.8]), 0.0, run * 977);
        let crossed = (0..100).any(|_| {
            let values = (0..40).map(|_| {
                level = 0.95 * level + unit() - 0.5;
                let value = if unit() < 0.1 { 1e3 } else { 1.0 } * level.exp();
                call += 1;
                let is_candidate = Share::percent(25).takes(call);
                (value, u64::from(is_candidate), u64::from(!is_candidate))
            });
            let ranks = ranked(values.collect());
            process.push(|tilt| log_factor(&ranks, tilt));
            process.log_value() >= 20_f64.ln()
        });
        reached += u64::from(crossed);
    }
    assert!(reached <= RUNS / 20, "{reached} of {RUNS}");
}
