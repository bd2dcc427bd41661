use super::*;

const MIB: u64 = 1 << 20;
const TEN: Duration = Duration::from_secs(10);

/// A baseline that has 64 MiB and up to 8 more between two collections, and a candidate, for so many samples.
fn judged(samples: u64, candidate: impl Fn(u64) -> u64) -> Heaps {
    let mut heaps = Heaps::default();
    let baseline = |at: u64| Some((64 + at * 5 % 8) * MIB);
    for at in 0..60 {
        heaps.observe(TEN, None, baseline(at), &JudgePolicy::default());
    }
    for at in 0..samples {
        heaps.observe(TEN, Some(candidate(at)), baseline(at), &JudgePolicy::default());
    }
    heaps
}

#[test]
fn heap_that_goes_on_growing_past_the_old_one_is_found_with_its_rate() {
    // 0.2 MiB each ten seconds, 72 MiB an hour.
    let leak = |at: u64| (60 + at * 5 % 8) * MIB + at * MIB / 5;
    assert_eq!(judged(60, leak).worse(), None, "it is not above the old one");
    let heaps = judged(180, leak);
    let Some(HeapFinding::Growing {
        bytes_per_hour,
        bytes,
        baseline,
    }) = heaps.worse()
    else {
        panic!("{:?}", heaps.worse());
    };
    assert!(
        (bytes_per_hour / MIB as f64 - 72.0).abs() < 10.0,
        "{bytes_per_hour}"
    );
    assert!(
        bytes > baseline && (64 * MIB..72 * MIB).contains(&baseline),
        "{bytes} {baseline}"
    );
}

#[test]
fn cache_that_fills_and_heap_that_wanders_are_no_leak() {
    let filling = |at: u64| (40 + at * 5 % 8) * MIB + 24 * MIB * at / (at + 20);
    let heaps = judged(400, filling);
    assert_eq!((heaps.worse(), heaps.leans()), (None, false));
    // A larger cache, which is full after a third of the time: above the old one, and no longer growing.
    let larger = |at: u64| (64 + at * 5 % 8) * MIB + 16 * MIB.min(at * MIB);
    assert_eq!(judged(400, larger).worse(), None);
    let wandering = |at: u64| (70 + at * 7919 % 13 + at / 40 % 3 * 4) * MIB;
    assert_eq!(judged(400, wandering).worse(), None);
}

#[test]
fn heap_that_is_half_as_much_again_is_found_and_peaks_are_not() {
    let heaps = judged(60, |at| (120 + at * 5 % 8) * MIB);
    assert!(
        matches!(heaps.worse(), Some(HeapFinding::Larger { bytes, .. }) if bytes == 120 * MIB),
        "{:?}",
        heaps.worse()
    );
    let peaks = |at: u64| if at.is_multiple_of(3) { 64 * MIB } else { 500 * MIB };
    assert_eq!(judged(200, peaks).worse(), None);
    let few = |at: u64| 64 * 1024 + at;
    let mut small = Heaps::default();
    for at in 0..200 {
        small.observe(TEN, Some(few(at) * 2), Some(few(0)), &JudgePolicy::default());
    }
    assert_eq!(small.worse(), None, "less than a mebibyte is no leak yet");
}

/// Both are below the old version's 66 MiB: one is a leak of 72 MiB an hour, the other a cache that fills.
#[test]
fn heap_that_may_grow_to_what_can_t_be_borne_is_not_good_yet() {
    let leak = |at: u64| (40 + at * 5 % 8) * MIB + at * MIB / 5;
    for samples in [45, 90, 120] {
        let heaps = judged(samples, leak);
        let Some(Lack::HeapMayGrow {
            bytes,
            bytes_per_hour,
            most,
        }) = heaps.lack(&JudgePolicy::default())
        else {
            panic!("{samples}: {:?}", heaps.lack(&JudgePolicy::default()));
        };
        assert_eq!(heaps.worse(), None);
        assert!(
            (40 * MIB..71 * MIB).contains(&bytes) && most == 99 * MIB,
            "{bytes} {most}"
        );
        assert!(
            (72.0..150.0).contains(&(bytes_per_hour / MIB as f64)),
            "{bytes_per_hour}"
        );
    }
    let filling = |at: u64| (40 + at * 5 % 8) * MIB + 24 * MIB * at / (at + 20);
    assert!(judged(45, filling).lack(&JudgePolicy::default()).is_some());
    assert_eq!(judged(180, filling).lack(&JudgePolicy::default()), None);
    // Larger, and as large as it will be.
    let larger = |at: u64| (80 + at * 5 % 8) * MIB;
    assert_eq!(judged(180, larger).lack(&JudgePolicy::default()), None);
}

#[test]
fn heaps_that_are_not_measured_lack_nothing_and_few_samples_are_told() {
    let mut heaps = Heaps::default();
    for _ in 0..100 {
        heaps.observe(TEN, None, None, &JudgePolicy::default());
    }
    assert_eq!((heaps.worse(), heaps.lack(&JudgePolicy::default())), (None, None));
    heaps.observe(TEN, Some(1), None, &JudgePolicy::default());
    assert_eq!(
        heaps.lack(&JudgePolicy::default()),
        Some(Lack::HeapSamples { seen: 1, needed: 45 })
    );
}

#[test]
fn whatever_is_observed_takes_bounded_room() {
    let heaps = judged(100_000, |at| (60 + at % 9) * MIB);
    assert!(heaps.blocks.minima.len() < BLOCKS_MAX);
    assert!(heaps.looks < 40);
    assert_eq!(heaps.worse(), None);
}

#[test]
fn growth_is_told_by_the_hour_however_seldom_a_heap_is_measured() {
    let mut heaps = Heaps::default();
    // Looked at each second, measured each tenth: 0.2 MiB more each time, 72 MiB an hour.
    let leak = |at: u64| (60 + at * 5 % 8) * MIB + at * MIB / 5;
    for at in 0..1800_u64 {
        let measured = |bytes: u64| at.is_multiple_of(10).then_some(bytes);
        heaps.observe(
            Duration::from_secs(1),
            measured(leak(at / 10)),
            measured((64 + at / 10 * 5 % 8) * MIB),
            &JudgePolicy::default(),
        );
    }
    let Some(HeapFinding::Growing { bytes_per_hour, .. }) = heaps.worse() else {
        panic!("{:?}", heaps.worse());
    };
    assert!(
        (bytes_per_hour / MIB as f64 - 72.0).abs() < 10.0,
        "{bytes_per_hour}"
    );
}
