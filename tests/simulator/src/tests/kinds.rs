//! Each sort of fault by itself.

use super::super::bounds::Bounds;
use super::super::drive;
use super::super::nature::Nature;
use super::super::random::Chance;
use super::*;

const BEGINS: Time = 5 * MINUTE;

/// One fault of a kind on a quick plugin without noise, beginning at twenty moments of its schedule; in this world.
fn befalls(kind: Kind, calls_per_second: f64, lasts: Time, world: &World) -> Report {
    let scenario = Scenario::new(1, 20, BEGINS + lasts + 20 * MINUTE);
    let made = |number: u32| {
        let mut chance = Chance::new(1, u64::from(number));
        let from = BEGINS + Time::from(number) * 700 * SECOND / 1000;
        let fault = Fault::new(kind, from, from + lasts, &mut chance);
        (number, (Nature::quiet(calls_per_second), vec![fault], chance))
    };
    drive::run(&scenario, world, (0..20).map(made).collect())
}

fn is_right(kind: Kind, calls_per_second: f64, report: &Report) {
    let tally = &report.kinds[&kind];
    let what = format!(
        "{kind:?} at {calls_per_second} calls a second: {tally:?} {:?}",
        report.violations
    );
    assert_eq!(report.failures(), 0, "{what}");
    assert_eq!(tally.faults, 20, "{what}");
    match kind.expected() {
        Some(_) => {
            let nature = Nature::quiet(calls_per_second);
            let bound = Bounds::new(&Scenario::new(1, 1, DAY).policy).detection(kind, &nature);
            assert_eq!(tally.detections_ms.len(), 20, "{what}");
            assert_eq!(tally.recoveries_ms.len(), 20, "{what}");
            assert!(
                tally.detections_ms.iter().all(|ms| *ms <= bound / 1_000_000),
                "{what}"
            );
        }
        None if kind == Kind::Flapping => {}
        None => assert!(
            !report.judged_ms.keys().any(|(health, _)| *health == "down"),
            "{what}"
        ),
    }
}

#[test]
fn each_is_seen_within_its_bound_and_for_its_reason() {
    let world = World::steady();
    for kind in KINDS {
        let lasts = match kind {
            Kind::HangReturns => 29 * SECOND,
            Kind::DeepFails => 45 * MINUTE,
            _ => 10 * MINUTE,
        };
        let calls: &[f64] = match kind {
            Kind::HangReturns => &[0.0],
            Kind::HangInCalls
            | Kind::CallsFail1
            | Kind::CallsFail20
            | Kind::CallsFail80
            | Kind::ChecksFailCallsSucceed => &[2.0],
            _ => &[0.0, 2.0],
        };
        for calls in calls {
            is_right(kind, *calls, &befalls(kind, *calls, lasts, &world));
        }
    }
}

#[test]
fn what_begins_while_the_host_stands_still_is_seen_after() {
    let pause = |from: Time, to: Time| Pause {
        from: BEGINS + from * SECOND,
        to: BEGINS + to * SECOND,
    };
    let world = World {
        pauses: vec![pause(3, 43), pause(50, 52)],
        ..World::steady()
    };
    for kind in [
        Kind::HangStays,
        Kind::Crash,
        Kind::SaysDown,
        Kind::CheckError,
        Kind::SlowOver,
    ] {
        let report = befalls(kind, 0.0, 10 * MINUTE, &world);
        assert_eq!(report.failures(), 0, "{kind:?}: {:?}", report.violations);
        assert_eq!(report.kinds[&kind].must, 20);
    }
}

#[test]
fn one_that_flaps_is_said_to() {
    let report = befalls(Kind::Flapping, 0.0, HOUR, &World::steady());
    assert!(report.kinds[&Kind::Flapping].flapped > 0, "{:?}", report.kinds);
}
