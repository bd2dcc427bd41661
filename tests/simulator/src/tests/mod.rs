//! Whole simulations, small ones: the great ones run by `cargo xtask simulate`.

mod deep;
mod kinds;

use super::*;

fn healthy(seed: u64, plugins: u32) -> Scenario {
    Scenario {
        healthy: true,
        ..Scenario::new(seed, plugins, 4 * HOUR)
    }
}

#[test]
fn noise_alone_makes_nobody_down() {
    for seed in 1..=10 {
        let report = healthy(seed, 64).run();
        assert!(report.checks > 10_000, "{}", report.checks);
        assert_eq!(
            (report.false_downs, report.false_alarms, report.violations),
            (0, 0, Vec::new()),
            "seed {seed}"
        );
    }
}

#[test]
fn who_believes_every_failed_check_is_found_out() {
    let mut scenario = healthy(1, 128);
    scenario.policy.fall = 1;
    let report = scenario.run();
    assert!(report.false_downs > 3, "{}", report.false_downs);
    assert!(report.failures() >= report.false_downs);
    let violation = &report.violations[0];
    assert_eq!((violation.wrong, violation.fault), (Wrong::FalseDown, None));
}

#[test]
fn what_befalls_them_is_seen_in_time_and_for_its_reason() {
    let scenario = Scenario::new(7, 192, 8 * HOUR);
    let report = scenario.run();
    assert!(report.kinds.values().map(|tally| tally.must).sum::<u64>() > 20);
    assert!(report.verdicts > 0);
    assert_eq!(report.failures(), 0, "{}", Summary::new(&scenario, &report));
}

#[test]
fn the_same_seed_gives_the_same_report_whoever_runs_it() {
    let mut scenario = Scenario::new(3, 160, 3 * HOUR);
    // So that there are violations to compare.
    scenario.policy.fall = 1;
    let world = scenario.world();
    let one_after_the_other = scenario.run();
    let mut reports: Vec<Report> = std::thread::scope(|scope| {
        let run = |shard| {
            let (scenario, world) = (&scenario, &world);
            scope.spawn(move || run_shard(scenario, world, shard))
        };
        let running: Vec<_> = (0..scenario.shards()).rev().map(run).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    reports.reverse();
    let mut together = Report::default();
    reports.into_iter().for_each(|report| together.add(report));
    assert_eq!(one_after_the_other, together);
    assert!(!together.violations.is_empty());
    let text = |report| serde_json::to_string(&Summary::new(&scenario, report)).unwrap();
    assert_eq!(text(&one_after_the_other), text(&together));
    scenario.seed = 4;
    assert_ne!(scenario.run(), together);
}

#[test]
fn one_alone_goes_the_same_way_as_among_all() {
    let mut scenario = Scenario::new(3, 64, 4 * HOUR);
    scenario.policy.fall = 1;
    let all = scenario.run().violations;
    let plugin = all[0].plugin;
    scenario.only = Some(plugin);
    let alone = scenario.run();
    let of_it: Vec<_> = all
        .into_iter()
        .filter(|violation| violation.plugin == plugin)
        .collect();
    assert_eq!(alone.violations[..of_it.len()], of_it);
    assert!(!alone.trace.is_empty());
}

#[test]
fn the_wall_clock_changes_nothing_but_what_it_shows() {
    let mut scenario = Scenario::new(5, 64, 6 * HOUR);
    scenario.policy.fall = 1;
    let world = scenario.world();
    let steady = World {
        pauses: world.pauses.clone(),
        ..World::steady()
    };
    let set_by_an_hour = World {
        pauses: world.pauses,
        ..World::stepping(HOUR, -3_600_000)
    };
    let mut reports = [steady, set_by_an_hour].map(|world| run_shard(&scenario, &world, 0));
    assert_ne!(reports[0].violations, reports[1].violations);
    for report in &mut reports {
        report
            .violations
            .iter_mut()
            .for_each(|violation| violation.wall_ms = 0);
    }
    assert_eq!(reports[0], reports[1]);
}
