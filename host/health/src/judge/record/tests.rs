use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Twenty minutes of the old version, and then so many of the new one: how many of a thousand calls fail in each, and how long the calls take.
fn judged(minutes: u64, failed: impl Fn(u64) -> u64, takes_ms: impl Fn(u64) -> u64) -> Record {
    let mut record = Record::default();
    let latencies = |ms: u64| LatencyHistogram::of((1..100).map(|at| Duration::from_micros(ms * at * 20)));
    let calls = |failed| Failures { failed, of: 1_000 };
    for minute in 0..20 {
        // In one minute a third fails, in another one everything takes five times as long.
        let (failed, slower) = (
            if minute == 7 { 333 } else { minute % 4 },
            if minute == 12 { 5 } else { 1 },
        );
        record.observe_baseline(MINUTE, calls(failed), &latencies((10 + minute % 3) * slower));
    }
    for minute in 0..minutes {
        let (calls, latencies) = (calls(failed(minute)), latencies(takes_ms(minute)));
        record.observe_candidate(MINUTE, calls, &latencies, &JudgePolicy::default());
    }
    record
}

#[test]
fn what_lasts_is_found_and_a_bad_spell_is_not() {
    let usual = |minute: u64| minute % 4;
    let takes = |minute: u64| 10 + minute % 3;
    assert_eq!(judged(60, usual, takes).worse(), None);
    let Some(RecordFinding::Errors(candidate, baseline)) = judged(30, |_| 80, takes).worse() else {
        panic!("8 % are not found");
    };
    assert!(candidate.share() > 0.07 && baseline.share() < 0.02);
    let Some(RecordFinding::Latency(slower)) = judged(30, usual, |minute| 20 + minute % 3).worse() else {
        panic!("twice as long is not found");
    };
    assert!(slower.candidate > slower.baseline * 3 / 2, "{slower:?}");
    // All of a third of the minutes is lost.
    let spell = judged(30, |minute| if minute % 3 == 0 { 900 } else { 1 }, takes);
    assert_eq!((spell.worse(), spell.leans()), (None, false));
    // A day's load: a third longer, all the time.
    let load = judged(60, usual, |minute| 13 + minute % 4);
    assert_eq!((load.worse(), load.leans()), (None, false));
}

/// scipy 1.17: `mannwhitneyu(a, b, alternative="greater", method="asymptotic").pvalue`.
#[test]
fn probability_is_mann_and_whitneys() {
    let blocks = |failures: &[u64]| {
        let mut blocks = Blocks::default();
        for failed in failures {
            let calls = Failures {
                failed: *failed,
                of: 1_000,
            };
            blocks.push(MINUTE, calls, &LatencyHistogram::default());
        }
        blocks
    };
    let (a, b) = (blocks(&[3, 5, 5, 8, 13, 30]), blocks(&[1, 2, 5, 6, 8, 8, 9, 20]));
    let p = p_value(&a, &b, |block, _| Some(block.calls.share()));
    assert!((p - 0.37235445041602466).abs() < 1e-9, "{p}");
    let equal = blocks(&[1; 10]);
    assert_eq!(p_value(&equal, &equal, |block, _| Some(block.calls.share())), 1.0);
    assert_eq!(p_value(&equal, &equal, |_, _| None), 1.0);
}

#[test]
fn few_blocks_say_nothing_and_many_take_bounded_room() {
    assert_eq!(judged(9, |_| 1_000, |_| 1_000).worse(), None);
    let mut record = judged(1_000, |_| 1, |_| 10);
    assert_eq!(record.candidate.done.len(), BLOCKS_MAX);
    assert!(record.looks < 20);
    // A block waits for its calls.
    for _ in 0..19 {
        record.observe_baseline(
            MINUTE,
            Failures { failed: 0, of: 1 },
            &LatencyHistogram::default(),
        );
    }
    assert_eq!(record.baseline.number, 20);
    record.observe_baseline(
        MINUTE,
        Failures { failed: 0, of: 1 },
        &LatencyHistogram::default(),
    );
    assert_eq!(record.baseline.number, 21);
}
