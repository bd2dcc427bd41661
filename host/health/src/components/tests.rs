//! Each part at each of its bounds, with limits of the tests' own.

use super::*;
use Health::{Degraded, Down, Unknown, Up};

const LIMITS: Limits = Limits {
    disk_free: (100, 10),
    memory_permille: (800, 900),
    descriptors_permille: (800, 950),
    log_quiet: Duration::from_secs(300),
    watchdog: (Duration::from_millis(100), Duration::from_millis(500)),
    lag: Duration::from_millis(20),
    lost: 3,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn lanes_are_as_good_as_their_watchdog_and_their_lag() {
    let seen = |watchdog: Option<u64>, lost, lag: Option<u64>| LanesSeen {
        watchdog: watchdog.map(ms),
        lost,
        lag_p99: lag.map(ms),
    };
    for (seen, expected, said) in [
        (seen(Some(100), 2, Some(20)), Up, "in time"),
        (seen(Some(0), 0, None), Up, "in time"),
        (seen(Some(101), 0, None), Degraded, "has not looked for 101 ms"),
        (seen(Some(501), 0, None), Down, "not noticed"),
        (seen(None, 0, None), Down, "no watchdog"),
        (seen(Some(0), 0, Some(21)), Degraded, "21 ms late"),
        (seen(Some(0), 3, None), Degraded, "3 lanes are lost"),
        (seen(Some(501), 3, Some(21)), Down, "not noticed"),
    ] {
        let part = lanes(&seen, &LIMITS);
        assert_eq!(part.health, expected, "{seen:?}");
        assert!(part.reason.contains(said), "{part:?}");
        let lag = part.figures.iter().find(|figure| figure.name == "lag_p99");
        assert_eq!(
            lag.is_some(),
            seen.lag_p99.is_some(),
            "no figure is made up: {part:?}"
        );
    }
}

#[test]
fn a_disk_is_as_full_as_the_fullest() {
    let space = |of: &'static str, bytes: Result<(u64, u64), String>| Space {
        of: of.into(),
        path: "/there".into(),
        bytes,
    };
    let disks = |store, history| {
        disk(
            &[space("store", Ok((store, 1000))), space("history", history)],
            &LIMITS,
        )
    };
    for (store, history, expected, said) in [
        (100, Ok((100, 1000)), Up, "store at /there"),
        (99, Ok((100, 1000)), Degraded, "store"),
        (100, Ok((10, 1000)), Degraded, "history"),
        (100, Ok((9, 1000)), Down, "history"),
        (100, Err("it is gone".to_owned()), Unknown, "it is gone"),
        (9, Err("it is gone".to_owned()), Down, "store"),
    ] {
        let part = disks(store, history);
        assert_eq!(part.health, expected, "{part:?}");
        assert!(part.reason.contains(said), "{part:?}");
    }
    let names: Vec<_> = disks(5, Err(String::new()))
        .figures
        .into_iter()
        .map(|f| f.name)
        .collect();
    assert_eq!(names, ["store_free", "store_size"]);
    assert!(disk(&[], &LIMITS).left_out);
}

#[test]
fn memory_is_held_against_what_the_host_may_use_or_not_told() {
    let seen = |resident, allowed, machine| MemorySeen {
        resident,
        allowed,
        machine,
    };
    for (seen, expected, said) in [
        (seen(Some(799), None, Some(1000)), Up, "the machine has"),
        (seen(Some(800), None, Some(1000)), Degraded, "the machine has"),
        (seen(Some(900), None, Some(1000)), Down, "the machine has"),
        (seen(Some(450), Some(500), Some(1000)), Down, "control group"),
        (seen(Some(450), Some(u64::MAX), Some(1000)), Up, "the machine has"),
        (seen(Some(450), Some(0), Some(1000)), Up, "the machine has"),
    ] {
        let part = memory(&seen, &LIMITS);
        assert_eq!((part.health, part.left_out), (expected, false), "{seen:?}");
        assert!(part.reason.contains(said), "{part:?}");
    }
    for missing in [seen(None, None, Some(1000)), seen(Some(1), Some(2), None)] {
        let part = memory(&missing, &LIMITS);
        assert_eq!((part.health, part.left_out), (Unknown, true));
        assert_eq!(part.figures, [], "no figure is made up");
    }
}

#[test]
fn what_nobody_looked_at_is_unknown() {
    let well = || store(None);
    assert_eq!(aged(well(), ms(30), ms(30)), well());
    let old = aged(well(), ms(31_000), ms(30_000));
    assert_eq!(old.health, Unknown);
    assert!(old.reason.contains("31 s"), "{old:?}");
    assert_eq!(store(Some("full".to_owned())).health, Down);
}

#[test]
fn descriptors_near_their_limit_are_degraded_then_down_with_the_remedy() {
    let of = |open: Option<u64>, allowed: Option<u64>| {
        let part = descriptors(&DescriptorsSeen { open, allowed }, &Limits::default());
        (part.health, part.left_out, part.reason)
    };
    assert_eq!(of(Some(799), Some(1000)).0, Health::Up);
    assert_eq!(of(Some(800), Some(1000)).0, Health::Degraded);
    let (health, _, reason) = of(Some(950), Some(1000));
    assert_eq!(health, Health::Down);
    assert!(
        reason.contains("950") && reason.contains("LimitNOFILE"),
        "{reason}"
    );
    assert!(of(None, Some(1)).1 && of(Some(1), None).1, "nothing is made up");
}

#[test]
fn log_is_degraded_while_lines_are_lost_and_up_again_when_none_was_for_long() {
    let of = |seconds| {
        let seen = Some((
            3,
            Duration::from_secs(seconds),
            "No space left on device".to_owned(),
        ));
        log(&seen, &Limits::default())
    };
    assert_eq!(log(&None, &Limits::default()).health, Health::Up);
    assert_eq!(of(10).health, Health::Degraded);
    assert!(
        of(10).reason.contains("3 by now: No space left"),
        "{}",
        of(10).reason
    );
    assert_eq!(of(300).health, Health::Up);
}

#[test]
fn thread_that_died_is_named_and_down() {
    assert_eq!(threads(&[]).health, Health::Up);
    let part = threads(&["the supervisor"]);
    assert_eq!(part.health, Health::Down);
    assert!(part.reason.contains("the supervisor"), "{}", part.reason);
}
