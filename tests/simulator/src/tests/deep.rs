//! The budget of deep checks in whole simulations, and what heaps do.

use super::super::drive;
use super::super::nature::Nature;
use super::super::random::Chance;
use super::super::world::Restart;
use super::*;
use extman_health::policy::DeepPolicy;
use std::time::Duration;

/// Quick plugins of which deep checks are wanted each 5 minutes, so many a day.
fn wanted(per_day: u32, plugins: u32) -> Vec<(u32, drive::Made)> {
    let made = |number: u32| {
        let deep = Some(DeepPolicy {
            every: DeepPolicy::EVERY_MIN,
            per_day,
            ..DeepPolicy::default()
        });
        let mut nature = Nature::quiet(1.0);
        nature.deep = deep;
        (number, (nature, Vec::new(), Chance::new(1, u64::from(number))))
    };
    (0..plugins).map(made).collect()
}

/// A host that begins anew so often, each third time with its machine.
fn crashing(every: Time, until: Time) -> World {
    let restarts = (1..until / every).map(|n| Restart {
        at: n * every,
        of_machine: n % 3 == 0,
        of_disk: false,
    });
    World {
        restarts: restarts.collect(),
        ..World::new(1, until)
    }
}

#[test]
fn the_budget_is_used_and_never_exceeded() {
    for (per_day, days) in [(1, 3), (5, 3), (288, 1)] {
        let scenario = Scenario::new(1, 4, days * DAY);
        let report = drive::run(&scenario, &World::steady(), wanted(per_day, 4));
        let most = 4 * u64::from(per_day) * days;
        assert_eq!(
            (report.deep_beyond, report.failures()),
            (0, 0),
            "{:?}",
            report.violations
        );
        assert!(report.deep_checks <= most, "{} of {most}", report.deep_checks);
        // Some of each day's are lost to waiting for the others' and for operators' own.
        assert!(
            report.deep_checks * 10 >= most * 8,
            "{} of {most}",
            report.deep_checks
        );
    }
}

#[test]
fn no_crash_loop_of_the_host_or_its_machine_gives_anybody_more() {
    for every in [7 * MINUTE, 40 * MINUTE, 5 * HOUR] {
        let scenario = Scenario::new(1, 2, 2 * DAY);
        let report = drive::run(&scenario, &crashing(every, scenario.length), wanted(6, 2));
        assert_eq!(report.deep_beyond, 0, "{:?}", report.violations);
        assert!(report.deep_checks > 2, "{} each {every}", report.deep_checks);
        assert!(report.deep_spent > 0, "nobody has asked for more than there is");
    }
}

#[test]
fn a_host_that_forgets_what_it_spent_is_found_out() {
    let scenario = Scenario::new(1, 2, DAY);
    let mut world = crashing(5 * HOUR, scenario.length);
    for restart in &mut world.restarts {
        restart.of_disk = true;
    }
    let report = drive::run(&scenario, &world, wanted(5, 2));
    assert!(report.deep_beyond > 0);
    assert_eq!(report.violations[0].wrong, Wrong::Budget);
    assert!(report.failures() >= report.deep_beyond);
}

#[test]
fn one_that_fails_deep_is_degraded_for_that_and_never_down() {
    let lasts = 2 * HOUR;
    let made = wanted(288, 8)
        .into_iter()
        .map(|(number, (nature, _, mut chance))| {
            let fault = Fault::new(Kind::DeepFails, HOUR, HOUR + lasts, &mut chance);
            (number, (nature, vec![fault], chance))
        });
    let scenario = Scenario::new(1, 8, 5 * HOUR);
    let report = drive::run(&scenario, &World::steady(), made.collect());
    assert_eq!(report.failures(), 0, "{:?}", report.violations);
    let tally = &report.kinds[&Kind::DeepFails];
    assert_eq!(
        (tally.must, tally.detections_ms.len(), tally.recoveries_ms.len()),
        (8, 8, 8)
    );
    let words: Vec<_> = report.judged_ms.keys().map(|(health, _)| *health).collect();
    assert!(
        !words.contains(&"down") && words.contains(&"degraded"),
        "{words:?}"
    );
    let deep: u64 = report
        .judged_ms
        .iter()
        .filter(|((_, cause), _)| cause.starts_with("deep_"))
        .map(|(_, ms)| ms)
        .sum();
    assert!(
        Duration::from_millis(deep) > Duration::from_secs(8 * 3600),
        "{:?}",
        report.judged_ms
    );
}
