//! What the judge holds against whom: each case one that a simulation of 1,000 plugins over 30 days came upon.

use super::super::random::Chance;
use super::super::{DAY, MINUTE, SECOND, Scenario};
use super::*;
use extman_model::ErrorKind;

const UP: (Health, Cause) = (Health::Up, Cause::Answers);
const BY_CALLS: (Health, Cause) = (Health::Down, Cause::ChecksSucceedCallsFail);
const BY_CHECKS: (Health, Cause) = (Health::Down, Cause::CheckFails(ErrorKind::Internal));
const LOST_SIGHT: (Health, Cause) = (Health::Unknown, Cause::HostStarved);
const DEEP_FAILS: (Health, Cause) = (Health::Degraded, Cause::DeepFails(ErrorKind::Unavailable));

/// What was said of a plugin, when: and since when its calls, or its deep checks, failed by then.
type Said = (Time, (Health, Cause), Failing);

fn fault(kind: Kind, from: Time, to: Time, called: bool) -> Fault {
    Fault {
        called,
        ..Fault::new(kind, from, to, &mut Chance::new(1, 1))
    }
}

/// What the judge finds wrong, of a plugin that these faults befall and that is called all day.
fn wrong(faults: &[Fault], said: &[Said]) -> Vec<Wrong> {
    wrong_of(&Nature::quiet(0.01), faults, said)
}

fn wrong_of(nature: &Nature, faults: &[Fault], said: &[Said]) -> Vec<Wrong> {
    let world = World::steady();
    let bounds = Bounds::new(&Scenario::new(1, 1, DAY).policy);
    let mut judge = Judge::new(0, faults, nature, &world, &bounds);
    let mut report = Report::default();
    for (at, (health, cause), failing) in said {
        let judged = Judgement {
            health: *health,
            cause: *cause,
            flags: HealthFlags::default(),
        };
        judge.changed(*at, judged, *failing, &mut report);
    }
    judge.finish(DAY, &mut report);
    report
        .violations
        .iter()
        .map(|violation| violation.wrong)
        .collect()
}

fn calls_since(at: Time) -> Failing {
    Failing {
        calls_since: Some(at),
        ..Failing::default()
    }
}

fn deep_since(at: Time) -> Failing {
    Failing {
        deep_since: Some(at),
        ..Failing::default()
    }
}

const NOT: Failing = Failing {
    calls_since: None,
    deep_since: None,
};
const HOURS: Time = 60 * MINUTE;

#[test]
fn one_that_was_down_when_the_host_stood_still_and_is_found_so_again_is_no_false_down() {
    let flaps = [fault(Kind::Flapping, HOURS, 2 * HOURS, true)];
    // Nobody calls it any more, and the next call that fails begins another run.
    let again = calls_since(4 * HOURS);
    let said = [
        (MINUTE, UP, NOT),
        (HOURS + 10 * MINUTE, BY_CALLS, calls_since(HOURS)),
        (4 * HOURS, LOST_SIGHT, NOT),
        (4 * HOURS + SECOND, BY_CALLS, again),
        (5 * HOURS, UP, NOT),
    ];
    assert_eq!(wrong(&flaps, &said), []);
}

#[test]
fn one_that_was_up_when_the_host_stood_still_and_is_found_down_is_a_false_down() {
    let said = [
        (MINUTE, UP, NOT),
        (4 * HOURS, LOST_SIGHT, NOT),
        (4 * HOURS + SECOND, BY_CALLS, calls_since(4 * HOURS)),
        (5 * HOURS, UP, NOT),
    ];
    assert_eq!(wrong(&[], &said), [Wrong::FalseDown]);
}

#[test]
fn one_that_is_down_by_calls_from_before_a_fault_in_which_nobody_calls_recovers_from_it_with_its_checks() {
    let faults = [
        fault(Kind::Flapping, HOURS, 2 * HOURS, true),
        fault(Kind::HangReturns, 4 * HOURS, 4 * HOURS + 5 * SECOND, false),
    ];
    let said = [
        (MINUTE, UP, NOT),
        (HOURS + 10 * MINUTE, BY_CALLS, calls_since(HOURS)),
        (6 * HOURS, UP, NOT),
    ];
    assert_eq!(wrong(&faults, &said), []);
    // Its callers would go on, but it is not called at this time of the day.
    let at_night = [
        faults[0],
        Fault {
            called: true,
            ..faults[1]
        },
    ];
    let by_day = Nature::quiet(0.01).called_for(3 * HOURS);
    assert_eq!(wrong_of(&by_day, &at_night, &said[..2]), []);
    assert_eq!(
        wrong(&at_night, &said[..2]),
        [Wrong::SlowRecovery],
        "somebody calls it"
    );
    let seen = fault(Kind::CheckError, 4 * HOURS, 5 * HOURS, false);
    let said = [
        (MINUTE, UP, NOT),
        (HOURS + 10 * MINUTE, BY_CALLS, calls_since(HOURS)),
        (4 * HOURS + MINUTE, BY_CHECKS, calls_since(HOURS)),
        (5 * HOURS + MINUTE, BY_CALLS, calls_since(HOURS)),
        (7 * HOURS, UP, NOT),
    ];
    assert_eq!(wrong(&[faults[0], seen], &said), []);
}

#[test]
fn one_whose_checks_made_it_down_and_that_stays_so_after_the_fault_recovers_too_slowly() {
    let faults = [fault(Kind::CheckError, 4 * HOURS, 5 * HOURS, false)];
    let said = [
        (MINUTE, UP, NOT),
        (4 * HOURS + MINUTE, BY_CHECKS, NOT),
        (7 * HOURS, UP, NOT),
    ];
    assert_eq!(wrong(&faults, &said), [Wrong::SlowRecovery]);
}

#[test]
fn deep_checks_that_fail_in_a_row_that_began_in_a_hang_are_no_false_alarm_and_others_are() {
    let hangs = [fault(Kind::HangStays, 4 * HOURS, 4 * HOURS + MINUTE, false)];
    let said = |since| {
        let confirmed = 4 * HOURS + 6 * MINUTE;
        [
            (MINUTE, UP, NOT),
            (confirmed, DEEP_FAILS, deep_since(since)),
            (confirmed + 6 * MINUTE, UP, NOT),
        ]
    };
    let alarms = |since| {
        let wrong = wrong(&hangs, &said(since));
        wrong
            .into_iter()
            .filter(|wrong| *wrong == Wrong::FalseAlarm)
            .count()
    };
    assert_eq!(alarms(4 * HOURS + 59 * SECOND), 0, "the first fell upon the hang");
    assert_eq!(alarms(4 * HOURS - 10 * MINUTE), 1, "the first failed before it");
    assert_eq!(alarms(4 * HOURS + 6 * MINUTE), 1, "none fell upon it");
}
