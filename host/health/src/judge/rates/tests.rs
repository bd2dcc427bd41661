use super::*;
use proptest::prelude::*;

fn both(failed: u64, of: u64, baseline_failed: u64, baseline_of: u64) -> Both {
    Both {
        candidate: Failures { failed, of },
        baseline: Failures {
            failed: baseline_failed,
            of: baseline_of,
        },
    }
}

/// scipy 1.17: `log(binom.pmf(x, F, q) / binom.pmf(x, F, p))` with p = n/N and q = pω/(1 − p + pω). The exact test, with the mean of ω^X over `hypergeom`, has
/// 7.8085, 0.4534 and 5.6746: never less.
#[test]
fn factor_of_rare_failures_is_that_of_the_conditional_test() {
    for (seen, tilt, factor) in [
        (both(3, 5, 0, 95), 3.466, 7.589_222_773_892_041_5),
        (both(1, 5, 4, 95), 0.693, 0.449_119_260_467_508_4),
        (both(7, 50, 2, 150), 2.079, 5.451_481_711_864_289),
    ] {
        let told = log_factor_of_failures(seen, tilt);
        assert!((told - factor).abs() < 1e-9, "{told} for {factor}");
    }
}

proptest! {
    /// Mean over all that can be, with the probabilities of the hypergeometric distribution by Pascal's triangle.
    #[test]
    fn mean_factor_over_all_choices_is_at_most_one(candidate in 1..20_u64, baseline in 1..20_u64, failed in 0..40_u64, tilt in 0.1..4.2_f64) {
        let calls = candidate + baseline;
        let failed = failed.min(calls);
        let choose = |n: u64, k: u64| if k > n { 0.0 } else { (0..k).fold(1.0, |ways, at| ways * (n - at) as f64 / (at + 1) as f64) };
        let mean: f64 = (0..=failed.min(candidate))
            .filter(|x| failed - x <= baseline)
            .map(|x| {
                let probability = choose(failed, x) * choose(calls - failed, candidate - x) / choose(calls, candidate);
                probability * log_factor_of_failures(both(x, candidate, failed - x, baseline), tilt).exp()
            })
            .sum();
        prop_assert!(mean <= 1.0 + 1e-9, "{mean}");
    }

    #[test]
    fn any_counts_give_numbers(counts in prop::collection::vec((0..5_000_u64, 0..5_000_u64, 0..5_000_u64, 0..5_000_u64), 0..30)) {
        let mut rates = Rates::new(Some(0.05));
        for (a, b, c, d) in counts {
            rates.observe(both(a.min(b), b, c.min(d), d));
            prop_assert!(!rates.worse.log_value().is_nan() && !rates.bearable.unwrap().log_value.is_nan());
        }
    }
}

/// (10·400 − 5·100)/500 + (30·50 − 10·200)/250 over 80 + 40, by hand: 5/120.
#[test]
fn difference_is_mantel_and_haenszels() {
    let mut comparison = Comparison::default();
    comparison.add(both(10, 100, 5, 400));
    comparison.add(both(30, 200, 10, 50));
    assert!((comparison.difference() - 5.0 / 120.0).abs() < 1e-12);
    assert_eq!(Comparison::default().difference(), 0.0);
}

/// The candidate gets a twentieth of the calls while all is well, and half of them while a third of all calls fail: of all its calls far more failed.
#[test]
fn what_both_had_to_bear_is_held_against_nobody() {
    let mut rates = Rates::new(Some(0.05));
    for _ in 0..50 {
        rates.observe(both(0, 10, 0, 190));
    }
    rates.begin_step();
    for _ in 0..50 {
        rates.observe(both(33, 100, 33, 100));
    }
    let whole = rates.whole.both;
    assert!(
        whole.candidate.share() > 3.0 * whole.baseline.share() / 2.0,
        "{whole:?}"
    );
    assert!(rates.whole.difference() < 0.001);
    assert_eq!(rates.worse(7.0, 0.01), None);
    assert!(!rates.leans());
}

#[test]
fn trifle_is_not_worse_however_certain_and_a_plain_difference_is() {
    let mut trifle = Rates::new(None);
    let mut plain = Rates::new(None);
    for _ in 0..1_000 {
        trifle.observe(both(12, 1_000, 6, 1_000));
        plain.observe(both(12, 200, 6, 1_000));
    }
    assert!(trifle.worse.log_value() > 50.0);
    assert_eq!(trifle.worse(7.0, 0.01), None);
    let (candidate, baseline) = plain.worse(7.0, 0.01).unwrap();
    assert_eq!((candidate.failed, candidate.of), (12_000, 200_000));
    assert_eq!(baseline.failed, 6_000);
}

#[test]
fn five_percent_more_are_excluded_by_about_a_hundred_calls_and_not_while_they_are_there() {
    let calls = |failed: u64| {
        let mut rates = Rates::new(Some(0.05));
        let needed = (1..=2_000).find(|n| {
            rates.observe(both(if failed > 0 && n % failed == 0 { 1 } else { 0 }, 5, 0, 95));
            rates.is_bearable(100_f64.ln())
        });
        needed.map(|strata| strata * 5)
    };
    let well = calls(0).unwrap();
    assert!((100..150).contains(&well), "{well}");
    // One in twenty fails: one in each fourth stratum of five.
    assert_eq!(calls(4), None);
}

#[test]
fn open_stratum_of_a_step_does_not_go_on_in_the_next() {
    let mut rates = Rates::new(None);
    rates.observe(both(2, 4, 0, 76));
    rates.begin_step();
    assert_eq!((rates.open.candidate.of, rates.whole.both.candidate.of), (0, 4));
    rates.observe(both(1, 1, 0, 0));
    rates.begin_step();
    assert_eq!(rates.whole.both.candidate.of, 4, "nothing to compare it with");
}
