//! Every state with every evidence.

mod properties;

use super::*;
use std::time::Duration;

const S: u64 = 1_000_000_000;

fn at(seconds: u64) -> Moment {
    Moment::from_nanos((1000 + seconds) * S)
}

fn running() -> Evaluation {
    let mut new = Evaluation::new(at(0));
    new.take(at(0), life(Lifecycle::Running, 1), &Policy::default());
    new
}

fn life(state: Lifecycle, generation: u64) -> Evidence {
    Evidence::Life { state, generation }
}

fn checked(result: ResultWord) -> Evidence {
    Evidence::Checked {
        generation: 1,
        result,
    }
}

fn said(health: Health) -> Evidence {
    checked(ResultWord::Said(Some(health)))
}

fn window(succeeded: u32, failed: u32) -> Evidence {
    Evidence::Called {
        generation: 1,
        succeeded,
        failed,
        window_ends: true,
    }
}

fn waited() -> Evidence {
    Evidence::Waited {
        interval: Duration::from_secs(10),
    }
}

/// What comes of these, a second apart.
fn after(evidence: &[Evidence]) -> Judgement {
    let mut evaluation = running();
    for (second, evidence) in evidence.iter().enumerate() {
        evaluation.take(at(second as u64 + 1), *evidence, &Policy::default());
    }
    evaluation.judged()
}

const BAD: ResultWord = ResultWord::TimedOut;
const GOOD: ResultWord = ResultWord::Said(Some(Health::Up));

#[test]
fn evidence_and_what_it_comes_to() {
    use Health::{Degraded, Down, Unknown, Up};
    let (good, bad) = (checked(GOOD), checked(BAD));
    let silent = checked(ResultWord::Said(None));
    let failing = checked(ResultWord::Failed(ErrorKind::Internal));
    let limited = checked(ResultWord::Failed(ErrorKind::RateLimited));
    let cases: &[(&[Evidence], Health, Cause)] = &[
        (&[], Unknown, Cause::NotChecked),
        (&[good], Up, Cause::Answers),
        (&[silent], Up, Cause::Answers),
        (&[bad, bad], Unknown, Cause::NotChecked),
        (&[bad, bad, bad], Down, Cause::CheckTimesOut),
        (&[good, bad, bad], Up, Cause::Answers),
        (&[good, bad, bad, good, bad, bad], Up, Cause::Answers),
        (&[good, bad, bad, bad], Down, Cause::CheckTimesOut),
        (
            &[good, bad, bad, failing],
            Down,
            Cause::CheckFails(ErrorKind::Internal),
        ),
        (&[bad, bad, bad, good], Down, Cause::CheckTimesOut),
        (&[bad, bad, bad, good, good], Up, Cause::Answers),
        (&[said(Degraded)], Degraded, Cause::SaysDegraded),
        (&[good, said(Degraded), said(Degraded)], Up, Cause::Answers),
        (
            &[good, said(Degraded), said(Degraded), said(Degraded)],
            Degraded,
            Cause::SaysDegraded,
        ),
        (&[limited], Degraded, Cause::CheckFails(ErrorKind::RateLimited)),
        (&[good, said(Down), said(Down), said(Down)], Down, Cause::SaysDown),
        (&[good, said(Unknown)], Unknown, Cause::SaysUnknown),
        (&[good, said(Unknown), good], Up, Cause::Answers),
        (&[bad, bad, bad, said(Unknown)], Down, Cause::CheckTimesOut),
        // What is nobody's fault is nobody's failure.
        (
            &[
                good,
                checked(ResultWord::HostLate),
                checked(ResultWord::HostLate),
                checked(ResultWord::HostLate),
            ],
            Up,
            Cause::Answers,
        ),
        (
            &[good, bad, bad, checked(ResultWord::HostLate)],
            Up,
            Cause::Answers,
        ),
        (&[good, checked(ResultWord::Busy)], Up, Cause::Answers),
        (
            &[good, checked(ResultWord::Failed(ErrorKind::Cancelled))],
            Up,
            Cause::Answers,
        ),
        // Calls.
        (&[good, window(95, 5)], Up, Cause::Answers),
        (&[good, window(90, 10)], Degraded, Cause::ChecksSucceedCallsFail),
        (&[good, window(3, 1)], Up, Cause::Answers),
        (&[good, window(2, 2), window(0, 4)], Up, Cause::Answers),
        (&[good, window(0, 9)], Degraded, Cause::ChecksSucceedCallsFail),
        (
            &[good, window(0, 9), window(0, 9)],
            Degraded,
            Cause::ChecksSucceedCallsFail,
        ),
        (
            &[good, window(0, 9), window(0, 9), window(0, 9)],
            Down,
            Cause::ChecksSucceedCallsFail,
        ),
        (
            &[window(0, 9), window(0, 9), window(0, 9)],
            Down,
            Cause::CallsFail,
        ),
        (&[window(9, 0)], Up, Cause::CallsSucceed),
        (
            &[good, window(0, 9), window(0, 9), window(9, 1), window(0, 9)],
            Degraded,
            Cause::ChecksSucceedCallsFail,
        ),
        (
            &[good, window(0, 9), window(9, 0)],
            Degraded,
            Cause::ChecksSucceedCallsFail,
        ),
        (
            &[good, window(0, 9), window(9, 0), window(9, 0)],
            Up,
            Cause::Answers,
        ),
        (
            &[good, window(0, 9), window(0, 0)],
            Degraded,
            Cause::ChecksSucceedCallsFail,
        ),
        (
            &[good, window(0, 9), window(0, 0), window(0, 0)],
            Up,
            Cause::Answers,
        ),
        // Both against each other.
        (
            &[good, window(9, 0), bad, bad, bad],
            Degraded,
            Cause::ChecksFailCallsSucceed,
        ),
        (&[good, window(0, 9), bad, bad, bad], Down, Cause::CheckTimesOut),
        // Doubt.
        (&[good, Evidence::Starved], Unknown, Cause::HostStarved),
        (&[good, Evidence::Starved, good], Up, Cause::Answers),
        (&[good, Evidence::Starved, bad], Up, Cause::Answers),
        (&[good, waited()], Up, Cause::Answers),
        // Life.
        (
            &[good, life(Lifecycle::Wedged, 1)],
            Down,
            Cause::Lifecycle(Lifecycle::Wedged),
        ),
        (
            &[good, life(Lifecycle::Failed, 1), good, good],
            Down,
            Cause::Lifecycle(Lifecycle::Failed),
        ),
        (
            &[good, life(Lifecycle::Stopped, 1)],
            Unknown,
            Cause::Lifecycle(Lifecycle::Stopped),
        ),
        (
            &[bad, bad, bad, life(Lifecycle::Running, 2)],
            Unknown,
            Cause::NotChecked,
        ),
        (
            &[bad, bad, bad, life(Lifecycle::Running, 1)],
            Down,
            Cause::CheckTimesOut,
        ),
        (&[good, Evidence::Maintenance(true)], Up, Cause::Answers),
        (
            &[
                good,
                Evidence::Told {
                    generation: 1,
                    health: Degraded,
                },
            ],
            Up,
            Cause::Answers,
        ),
    ];
    for (evidence, health, cause) in cases {
        let judged = after(evidence);
        assert_eq!((judged.health, judged.cause), (*health, *cause), "{evidence:?}");
    }
}

#[test]
fn every_life_with_every_evidence() {
    use Lifecycle as L;
    let states = [
        L::Discovered,
        L::Verified,
        L::Starting,
        L::Running,
        L::Draining,
        L::Stopped,
        L::Failed,
        L::Backoff,
        L::Quarantined,
        L::Wedged,
    ];
    let evidence = [
        checked(GOOD),
        checked(BAD),
        said(Health::Degraded),
        checked(ResultWord::Busy),
        checked(ResultWord::HostLate),
        window(9, 0),
        window(0, 9),
        waited(),
        Evidence::Starved,
        Evidence::Maintenance(true),
        Evidence::Told {
            generation: 1,
            health: Health::Down,
        },
    ];
    for state in states {
        for seen in evidence {
            let mut evaluation = Evaluation::new(at(0));
            evaluation.take(at(1), life(state, 1), &Policy::default());
            for second in 2..9 {
                evaluation.take(at(second * 60), seen, &Policy::default());
            }
            let judged = evaluation.judged();
            let down_by_life = matches!(state, L::Wedged | L::Failed | L::Backoff | L::Quarantined);
            if down_by_life {
                assert_eq!(
                    (judged.health, judged.cause),
                    (Health::Down, Cause::Lifecycle(state)),
                    "{state:?} {seen:?}"
                );
            } else if state != L::Running {
                assert_eq!(
                    (judged.health, judged.cause),
                    (Health::Unknown, Cause::Lifecycle(state)),
                    "{state:?} {seen:?}"
                );
            }
            assert_eq!(judged.flags.maintenance, seen == Evidence::Maintenance(true));
            let out = evaluation.is_left_out();
            assert_eq!(
                out,
                judged.flags.maintenance
                    || matches!(state, L::Stopped | L::Draining | L::Discovered | L::Verified)
            );
        }
    }
}

#[test]
fn no_result_for_three_intervals_is_unknown_and_the_next_result_says_again() {
    let mut evaluation = running();
    let policy = Policy::default();
    evaluation.take(at(1), checked(GOOD), &policy);
    assert_eq!(evaluation.take(at(31), waited(), &policy), None);
    assert!(evaluation.take(at(32), waited(), &policy).is_some());
    let judged = evaluation.judged();
    assert_eq!(
        (judged.health, judged.cause, judged.flags.stale),
        (Health::Unknown, Cause::Stale, true)
    );
    assert_eq!(evaluation.since(), at(32));
    evaluation.take(at(40), checked(GOOD), &policy);
    assert_eq!(evaluation.judged().health, Health::Up);
    assert!(!evaluation.judged().flags.stale);
}

#[test]
fn a_busy_one_is_up_and_busy_for_as_long_as_it_is() {
    let mut evaluation = running();
    let policy = Policy::default();
    evaluation.take(at(1), checked(GOOD), &policy);
    for second in (10..600).step_by(10) {
        evaluation.take(at(second), checked(ResultWord::Busy), &policy);
        evaluation.take(at(second + 5), waited(), &policy);
        let judged = evaluation.judged();
        assert_eq!((judged.health, judged.flags.busy), (Health::Up, true));
    }
}

/// Checks that fail from second 50 on; calls that succeed at these seconds. Gives the cause at each check.
fn causes(calls: &[u64], checks: &[u64]) -> Vec<Cause> {
    let mut evaluation = running();
    let policy = Policy::default();
    let mut causes = Vec::new();
    for second in 1..=*checks.last().unwrap() {
        if calls.contains(&second) {
            evaluation.take(at(second), window(9, 0), &policy);
        }
        let before = evaluation.judged().health;
        if checks.contains(&second) {
            evaluation.take(at(second), checked(BAD), &policy);
            causes.push(evaluation.judged().cause);
        } else {
            evaluation.take(at(second), waited(), &policy);
            let fell = before != Health::Down && evaluation.judged().health == Health::Down;
            assert!(!fell, "down by time alone, in second {second}");
        }
    }
    causes
}

#[test]
fn successes_from_before_the_silence_speak_for_it_no_longer_than_an_interval() {
    use Cause::{CallsSucceed, CheckTimesOut, ChecksFailCallsSucceed};
    // It hung right after a call: the third failure is within an interval of it, the fourth is not.
    assert_eq!(
        causes(&[49], &[50, 52, 54, 64]),
        [CallsSucceed, CallsSucceed, ChecksFailCallsSucceed, CheckTimesOut]
    );
    // Long before: nothing speaks for it.
    assert_eq!(causes(&[30], &[50, 52, 54])[2], CheckTimesOut);
    // Calls that go on succeeding do.
    let often: Vec<u64> = (1..200).step_by(15).collect();
    let after = causes(&often, &[50, 52, 54, 64, 74, 84, 94, 104]);
    assert!(
        after[2..].iter().all(|cause| *cause == ChecksFailCallsSucceed),
        "{after:?}"
    );
}

#[test]
fn one_failed_call_is_no_rate() {
    let good = checked(GOOD);
    assert_eq!(after(&[good, window(4, 1)]).health, Health::Up);
    assert_eq!(after(&[good, window(4, 2)]).health, Health::Degraded);
    // Nor does one at the beginning of a window make calls fail that go on succeeding.
    let bad = checked(BAD);
    let fails_first = Evidence::Called {
        generation: 1,
        succeeded: 1,
        failed: 1,
        window_ends: false,
    };
    assert_eq!(
        after(&[good, window(9, 0), fails_first, bad, bad, bad]).cause,
        Cause::ChecksFailCallsSucceed
    );
}

#[test]
fn the_reason_is_the_one_that_belongs_to_the_word() {
    let (good, bad) = (checked(GOOD), checked(BAD));
    let fair = said(Health::Degraded);
    assert_eq!(after(&[good, bad, bad, bad, fair]).cause, Cause::CheckTimesOut);
    assert_eq!(after(&[good, fair, fair, fair, bad]).cause, Cause::SaysDegraded);
}

#[test]
fn a_change_that_is_not_yet_believed_is_soft() {
    assert!(after(&[checked(GOOD), checked(BAD)]).flags.soft);
    assert!(!after(&[checked(GOOD), checked(BAD), checked(GOOD)]).flags.soft);
    assert!(
        after(&[checked(BAD), checked(BAD), checked(BAD), checked(GOOD)])
            .flags
            .soft
    );
}

#[test]
fn it_is_small() {
    assert!(size_of::<Evaluation>() <= 160, "{}", size_of::<Evaluation>());
}
