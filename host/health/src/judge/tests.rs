//! The judge as a whole: what it says of updates that are told interval by interval.

use super::*;

const TEN: Duration = Duration::from_secs(10);

/// A side with so many calls, of which so many fail, and the others take 1 to 20 ms, multiplied with a factor.
fn side(calls: u64, failed: u64, factor: f64) -> Side {
    let well = calls.saturating_sub(failed);
    let ms = (0..well).map(|at| factor * (1.0 + 19.0 * (at * 7 % 20) as f64 / 19.0));
    Side {
        calls: Failures { failed, of: calls },
        latencies: LatencyHistogram::of(ms.map(|ms| Duration::from_secs_f64(ms / 1e3))),
        checks: Some(Failures { failed: 0, of: 1 }),
        heap_bytes: Some(64 << 20),
        ..Side::default()
    }
}

/// A judge that has seen ten minutes of the baseline, in its first step.
fn judge() -> Judge {
    let mut judge = Judge::new(JudgePolicy::default());
    for _ in 0..60 {
        judge.observe(TEN, &Side::default(), &side(100, 0, 1.0));
    }
    judge.begin_step(Aim::Widen);
    judge
}

fn observe(judge: &mut Judge, intervals: usize, candidate: &Side, baseline: &Side) {
    for _ in 0..intervals {
        judge.observe(TEN, candidate, baseline);
    }
}

fn measure(verdict: &Verdict) -> Option<Measure> {
    match verdict {
        Verdict::Worse(finding) => Some(finding.measure),
        _ => None,
    }
}

#[test]
fn silence_is_no_evidence_and_what_is_lacking_is_said() {
    let mut judge = judge();
    assert_eq!(
        judge.verdict().to_string(),
        "not enough evidence: 50 more calls of it have to end (0 of 50 have); 50 more calls of the version before have to end (0 of 50 have)"
    );
    observe(&mut judge, 10_000, &Side::default(), &Side::default());
    assert!(matches!(judge.verdict(), Verdict::NotEnough(_)));
    observe(&mut judge, 3, &side(4, 0, 1.0), &side(76, 0, 1.0));
    assert_eq!(
        judge.verdict().to_string(),
        "not enough evidence: 38 more calls of it have to end (12 of 50 have)"
    );
    observe(&mut judge, 10, &side(4, 0, 1.0), &side(76, 0, 1.0));
    assert_eq!(judge.verdict(), Verdict::Good);
    // What comes next needs more.
    judge.begin_step(Aim::Switch);
    let Verdict::NotEnough(lacks) = judge.verdict() else {
        panic!("{}", judge.verdict());
    };
    assert_eq!(lacks[2..], [Lack::ErrorsUndecided { difference: 0.05 }]);
    observe(&mut judge, 10, &side(25, 0, 1.0), &side(75, 0, 1.0));
    assert_eq!(judge.verdict(), Verdict::Good);
    judge.begin_step(Aim::Settle);
    observe(&mut judge, 5, &side(100, 0, 1.0), &Side::default());
    assert_eq!(
        judge.verdict().to_string(),
        "not enough evidence: 256 more calls of it have to end (802 of 1,058 have); 17 more samples of its heap have to be taken (28 of 45 are)"
    );
    observe(&mut judge, 20, &side(100, 0, 1.0), &Side::default());
    assert_eq!(judge.verdict(), Verdict::Good);
}

#[test]
fn each_measure_alone_makes_worse_and_is_told_in_a_sentence() {
    let well = side(75, 0, 1.0);
    let after = |intervals, candidate: &Side, baseline: &Side| {
        let mut judge = judge();
        observe(&mut judge, intervals, candidate, baseline);
        judge.verdict()
    };
    let errors = after(5, &side(25, 3, 1.0), &well);
    assert_eq!(measure(&errors), Some(Measure::Errors));
    assert_eq!(
        errors.to_string(),
        "worse: 12.0 % of 125 calls failed, none of 375 of the version before"
    );
    let latency = after(60, &side(25, 0, 1.5), &well);
    assert_eq!(measure(&latency), Some(Measure::Latency));
    let text = latency.to_string();
    assert!(
        text.starts_with("worse: the median call takes 1") && text.ends_with(" ms of the version before"),
        "{text}"
    );
    let mut ill = side(25, 0, 1.0);
    ill.checks = Some(Failures { failed: 1, of: 1 });
    let checks = after(20, &ill, &well);
    assert_eq!(
        checks.to_string(),
        "worse: 100.0 % of 20 checks failed, none of 20 of the version before"
    );
    let mut unchecked = Judge::new(JudgePolicy::default());
    let without = Side {
        checks: None,
        ..well.clone()
    };
    observe(&mut unchecked, 20, &ill, &without);
    assert_eq!(
        unchecked.verdict().to_string(),
        "worse: 100.0 % of 20 checks failed, and the version before has no check"
    );
    let mut large = side(25, 0, 1.0);
    large.heap_bytes = Some(128 << 20);
    assert_eq!(
        after(60, &large, &well).to_string(),
        "worse: its heap is never below 128.0 MiB; the version before had 64.0 MiB at most"
    );
    let mut panics = side(25, 1, 1.0);
    panics.panics = 1;
    assert_eq!(
        after(1, &panics, &well).to_string(),
        "worse: 4.0 % of 25 calls panicked, none of the version before"
    );
}

#[test]
fn panic_counts_alone_only_where_the_old_version_has_none() {
    let mut panicking = side(75, 1, 1.0);
    panicking.panics = 1;
    let mut judge = judge();
    judge.observe(TEN, &side(25, 0, 1.0), &panicking);
    let mut new = side(25, 1, 1.0);
    new.panics = 1;
    judge.observe(TEN, &new, &side(75, 0, 1.0));
    assert_eq!(measure(&judge.verdict()), None);
    observe(&mut judge, 10, &new, &side(75, 0, 1.0));
    assert_eq!(measure(&judge.verdict()), Some(Measure::Panics));
}

#[test]
fn what_hits_both_makes_nobody_worse_however_bad_it_is() {
    let mut judge = judge();
    for interval in 0..200 {
        let bad = interval % 5 == 0;
        let (failed, factor) = if bad { (10, 8.0) } else { (0, 1.0) };
        judge.observe(TEN, &side(25, failed, factor), &side(75, failed * 3, factor));
        assert_eq!(measure(&judge.verdict()), None, "{interval}");
    }
    assert_eq!(judge.verdict(), Verdict::Good);
}

#[test]
fn version_that_becomes_bad_in_a_later_step_is_found() {
    let mut judge = judge();
    observe(&mut judge, 3_000, &side(25, 0, 1.0), &side(75, 0, 1.0));
    assert_eq!(judge.verdict(), Verdict::Good);
    judge.begin_step(Aim::Switch);
    observe(&mut judge, 20, &side(50, 5, 1.0), &side(50, 0, 1.0));
    assert_eq!(measure(&judge.verdict()), Some(Measure::Errors));
}

#[test]
fn version_that_can_t_bear_all_calls_is_found_in_probation() {
    for (failed, factor, found) in [(10, 1.0, Measure::Errors), (0, 3.0, Measure::Latency)] {
        let mut judge = judge();
        observe(&mut judge, 40, &side(25, 0, 1.0), &side(75, 0, 1.0));
        judge.begin_step(Aim::Settle);
        observe(&mut judge, 30, &side(100, 0, 1.0), &Side::default());
        assert_eq!(judge.verdict(), Verdict::Good);
        observe(&mut judge, 400, &side(100, failed, factor), &Side::default());
        assert_eq!(measure(&judge.verdict()), Some(found));
    }
}

/// A judge of a candidate of which so many mirrored calls have failed, pair by pair with the baseline's.
fn mirrored(pairs: u64, candidate_failed: u64, baseline_failed: u64, factor: f64) -> Judge {
    let mut judge = Judge::new(JudgePolicy::default());
    for _ in 0..pairs / 10 {
        let failed = |failed: u64| failed * 10 / pairs;
        let of_candidate = side(10, failed(candidate_failed), factor);
        let of_baseline = side(10, failed(baseline_failed), 1.0);
        // What else the baseline is called for is faster.
        let both = (&Side::default(), &side(750, 0, 0.01));
        judge.observe_mirrored(TEN, both, (&of_candidate, &of_baseline));
    }
    judge
}

#[test]
fn mirrored_calls_make_worse_as_others_do() {
    assert_eq!(
        mirrored(20, 20, 0, 1.0).verdict().to_string(),
        "worse: 100.0 % of 20 calls failed, none of 20 of the version before"
    );
    let slower = mirrored(400, 0, 0, 2.0).verdict();
    assert_eq!(measure(&slower), Some(Measure::Latency), "{slower}");
    let mut panics = side(10, 1, 1.0);
    panics.panics = 1;
    let mut judge = Judge::new(JudgePolicy::default());
    let both = (&Side::default(), &side(75, 0, 1.0));
    judge.observe_mirrored(TEN, both, (&panics, &side(10, 0, 1.0)));
    assert_eq!(
        judge.verdict().to_string(),
        "worse: 10.0 % of 10 calls panicked, none of the version before"
    );
    // What fails in both is the input's fault.
    assert_eq!(measure(&mirrored(400, 400, 400, 1.0).verdict()), None);
    // And what is as fast as before is not slow beside other calls.
    assert_eq!(measure(&mirrored(4_000, 0, 0, 1.0).verdict()), None);
    // Evidence goes on in the steps.
    let mut judge = mirrored(10, 5, 0, 1.0);
    assert_eq!(measure(&judge.verdict()), None);
    judge.begin_step(Aim::Widen);
    observe(&mut judge, 4, &side(10, 5, 1.0), &side(90, 0, 1.0));
    assert_eq!(measure(&judge.verdict()), Some(Measure::Errors));
}

#[test]
fn mirrored_calls_make_nothing_good() {
    let after = |pairs| {
        let mut judge = mirrored(pairs, 0, 0, 1.0);
        for aim in [Aim::Widen, Aim::Switch] {
            judge.begin_step(aim);
            observe(&mut judge, 1, &side(60, 0, 1.0), &side(60, 0, 1.0));
        }
        judge
    };
    let (mut without, mut with) = (after(0), after(10_000));
    let Verdict::NotEnough(lacks) = with.verdict() else {
        panic!("{}", with.verdict());
    };
    assert_eq!(Verdict::NotEnough(lacks), without.verdict());
    for judge in [&mut without, &mut with] {
        judge.begin_step(Aim::Settle);
    }
    let calls = |judge: &Judge| judge.lacks().find(|lack| matches!(lack, Lack::Calls { .. }));
    assert_eq!(calls(&with), calls(&without));
}

#[test]
fn looking_changes_nothing() {
    let (mut watched, mut unwatched) = (judge(), judge());
    for _ in 0..50 {
        watched.observe(TEN, &side(5, 0, 1.2), &side(95, 1, 1.0));
        unwatched.observe(TEN, &side(5, 0, 1.2), &side(95, 1, 1.0));
        for _ in 0..3 {
            let _ = watched.verdict();
        }
    }
    assert_eq!(watched.verdict(), unwatched.verdict());
}

#[test]
fn verdicts_are_json() {
    let lacking = serde_json::to_value(Verdict::NotEnough(vec![Lack::Leans(Measure::Errors)])).unwrap();
    assert_eq!(
        lacking.to_string(),
        r#"{"because":[{"leans":"errors"}],"verdict":"not_enough"}"#
    );
    let mut judge = judge();
    observe(&mut judge, 5, &side(25, 3, 1.0), &side(75, 0, 1.0));
    let worse = serde_json::to_value(judge.verdict()).unwrap();
    assert_eq!(worse["because"]["measure"], "errors");
    assert_eq!(
        worse["because"]["evidence"]["failures"]["candidate"]["failed"],
        15
    );
    assert_eq!(serde_json::to_value(Verdict::Good).unwrap()["verdict"], "good");
}

#[test]
fn defaults_lie_within_their_bounds() {
    for (name, value, least, most) in JudgePolicy::default().bounds() {
        assert!((least..=most).contains(&value), "{name}");
    }
    // ln 0.005 / ln(1 − 1/200) is 1057.01.
    assert_eq!(JudgePolicy::default().calls_without_panic(), 1_058);
}
