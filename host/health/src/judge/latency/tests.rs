use super::*;
use proptest::prelude::*;

const NEEDED: f64 = 7.0;

/// Durations in microseconds as lognormal as quantiles can be: so many, around a median, with this deviation of the logarithm.
fn spread(calls: u32, median_us: f64, deviation: f64) -> LatencyHistogram {
    // The logistic distribution's quantiles, with the deviation of the normal one.
    let of = |at: u32| {
        let p = (f64::from(at) + 0.5) / f64::from(calls);
        median_us * (deviation * 0.551 * (p / (1.0 - p)).ln()).exp()
    };
    LatencyHistogram::of((0..calls).map(|at| Duration::from_secs_f64(of(at) / 1e6)))
}

fn judged(strata: usize, candidate: &LatencyHistogram, baseline: &LatencyHistogram) -> Latencies {
    let mut latencies = Latencies::new();
    for _ in 0..strata {
        latencies.observe(candidate, baseline, &JudgePolicy::default());
    }
    latencies
}

#[test]
fn half_as_long_again_is_found_and_told() {
    let latencies = judged(60, &spread(20, 1_500.0, 0.8), &spread(60, 1_000.0, 0.8));
    let slower = latencies.worse(NEEDED).unwrap();
    let factor = slower.candidate.as_secs_f64() / slower.baseline.as_secs_f64();
    assert!((factor - 1.5).abs() < 0.1, "{slower:?}");
    assert!(!latencies.is_bearable(4.6));
}

#[test]
fn a_sixth_longer_is_a_trifle_however_many_calls_there_are() {
    let latencies = judged(3_000, &spread(200, 1_170.0, 0.5), &spread(600, 1_000.0, 0.5));
    assert_eq!(latencies.worse(NEEDED), None);
    assert!(!latencies.leans());
    assert!(latencies.is_bearable(4.6));
}

/// All calls of each side fall into one bucket, and the two buckets are neighbours: in order, the candidate's are all the slower ones.
#[test]
fn width_of_a_bucket_is_no_evidence() {
    let one = |us| LatencyHistogram::of([Duration::from_micros(us); 50]);
    let policy = JudgePolicy {
        latency_min: 1.0,
        ..JudgePolicy::default()
    };
    let (baseline, candidate) = (one(1_000), one(1_020));
    let bucket = |histogram: &LatencyHistogram| histogram.buckets().next().unwrap().0;
    assert_eq!(*bucket(&candidate).start(), bucket(&baseline).end() + 1);
    let mut latencies = Latencies::new();
    for _ in 0..100 {
        latencies.observe(&baseline, &baseline, &policy);
    }
    assert_eq!(latencies.worse(NEEDED), None);
    let twice = judged(20, &one(2_000), &baseline);
    assert!(twice.worse(NEEDED).is_some());
}

/// One call in twelve takes twenty times as long; the median is the same.
#[test]
fn tail_that_grows_is_found_though_the_median_stays() {
    let tailed = spread(55, 1_000.0, 0.3).merged(&spread(5, 20_000.0, 0.3));
    let latencies = judged(60, &tailed, &spread(180, 1_000.0, 0.3));
    let slower = latencies.worse(NEEDED).unwrap();
    assert_eq!(slower.quantile, 0.95);
    assert!(slower.candidate > slower.baseline * 5, "{slower:?}");
}

/// In each other stratum everything takes ten times as long, and the candidate has more of its calls then.
#[test]
fn what_both_have_to_bear_is_held_against_nobody() {
    let mut latencies = Latencies::new();
    let policy = JudgePolicy::default();
    for _ in 0..100 {
        latencies.observe(&spread(5, 1_000.0, 0.5), &spread(95, 1_000.0, 0.5), &policy);
        latencies.begin_step(&policy);
        latencies.observe(&spread(50, 10_000.0, 0.5), &spread(50, 10_000.0, 0.5), &policy);
        latencies.begin_step(&policy);
    }
    let median = |histogram: &LatencyHistogram| histogram.quantile(0.5).unwrap();
    assert!(median(&latencies.seen.candidate) > median(&latencies.seen.baseline) * 3);
    assert_eq!(latencies.worse(NEEDED), None);
}

#[test]
fn twentieth_is_the_slowest_also_where_many_are_equal() {
    let ranks = ranked((0..40).map(|at| (f64::from(at), 1, 1)).collect());
    let tail: u64 = slowest(&ranks)
        .iter()
        .filter(|s| s.score == 1.0)
        .map(|s| s.candidate)
        .sum();
    assert_eq!(tail, 2);
    let equal = ranked(vec![(1.0, 10, 10)]);
    assert_eq!(log_factor(&slowest(&equal), 1.4), 0.0);
}

proptest! {
    #[test]
    fn any_durations_give_numbers(strata in prop::collection::vec((prop::collection::vec(any::<u64>(), 0..20), prop::collection::vec(any::<u64>(), 0..20)), 0..10)) {
        let mut latencies = Latencies::new();
        let of = |nanos: Vec<u64>| LatencyHistogram::of(nanos.into_iter().map(Duration::from_nanos));
        for (candidate, baseline) in strata {
            latencies.observe(&of(candidate), &of(baseline), &JudgePolicy::default());
            prop_assert!(!latencies.log_value().is_nan() && !latencies.bearable.log_value().is_nan());
        }
    }
}
