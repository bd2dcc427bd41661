//! What calls, silence and a pushed word are evidence of.

use super::*;
use extman_model::ErrorKind;

/// So many calls have ended, and so many of them have failed, the last ones.
fn calls(ended: u64, failed: u64) -> Calls {
    Calls {
        ended,
        blamed: failed,
        returned: ended,
        failed_run: failed as u32,
        ..Calls::default()
    }
}

/// Its check succeeds at its due time; so many calls have ended and failed by then.
fn good_check(monitor: &mut Monitor, calls: Calls) -> Moment {
    let due = monitor.due().unwrap();
    monitor.poll(due, calls, true, false, &policy());
    monitor.answered(due, answer(GOOD, QUICK, false), calls, &policy());
    due
}

fn health(monitor: &Monitor) -> (Health, Cause) {
    let judged = monitor.judged();
    (judged.health, judged.cause)
}

#[test]
fn every_call_failing_below_the_least_rate_is_degraded_after_three_and_down_after_five() {
    let mut monitor = running();
    good_check(&mut monitor, calls(0, 0));
    let mut seen = Vec::new();
    for failed in 1..=31 {
        // One call in fifty seconds.
        let last = monitor.due().unwrap().after(Duration::from_secs(40));
        while monitor.due().unwrap() < last {
            good_check(&mut monitor, calls(failed, failed));
        }
        seen.push(health(&monitor).0);
    }
    assert_eq!(
        seen[..5],
        [
            Health::Up,
            Health::Up,
            Health::Degraded,
            Health::Degraded,
            Health::Down
        ]
    );
    assert!(seen[5..].iter().all(|health| *health == Health::Down), "{seen:?}");
}

/// Its checks succeed for so long, and nobody calls it.
fn idle_for(monitor: &mut Monitor, long: Duration, calls: Calls) {
    let until = monitor.due().unwrap().after(long);
    while monitor.due().unwrap() < until {
        good_check(monitor, calls);
    }
}

const HOURS: Duration = Duration::from_secs(3 * 3600);

#[test]
fn fifth_failure_in_a_row_that_comes_hours_after_four_makes_nobody_down_and_four_more_of_its_own_time_do() {
    let mut monitor = running();
    good_check(&mut monitor, calls(0, 0));
    good_check(&mut monitor, calls(4, 4));
    assert_eq!(health(&monitor).0, Health::Degraded);
    idle_for(&mut monitor, HOURS, calls(4, 4));
    for failed in 5..=8 {
        good_check(&mut monitor, calls(failed, failed));
        assert_eq!(health(&monitor).0, Health::Degraded, "{failed}");
    }
    good_check(&mut monitor, calls(9, 9));
    assert_eq!(health(&monitor).0, Health::Down);
}

#[test]
fn failures_hours_apart_with_no_success_between_make_it_degraded_and_never_down() {
    let mut monitor = running();
    good_check(&mut monitor, calls(0, 0));
    for failed in 1..=12 {
        idle_for(&mut monitor, HOURS, calls(failed - 1, failed - 1));
        good_check(&mut monitor, calls(failed, failed));
        let expected = if failed < 3 { Health::Up } else { Health::Degraded };
        assert_eq!(health(&monitor).0, expected, "{failed}");
    }
}

#[test]
fn down_by_calls_stays_when_nobody_calls_any_more() {
    let mut monitor = running();
    good_check(&mut monitor, calls(0, 0));
    good_check(&mut monitor, calls(9, 9));
    let ended = calls(9, 9);
    for _ in 0..200 {
        good_check(&mut monitor, ended);
    }
    assert_eq!(health(&monitor), (Health::Down, Cause::ChecksSucceedCallsFail));
}

#[test]
fn failures_on_both_sides_of_a_full_minute_are_one_window() {
    let mut monitor = running();
    good_check(&mut monitor, calls(0, 0));
    while monitor.due().unwrap() < at(60_000) {
        good_check(&mut monitor, calls(0, 0));
    }
    let no_run = |calls| Calls {
        failed_run: 0,
        ..calls
    };
    good_check(&mut monitor, no_run(calls(3, 2)));
    assert_eq!(health(&monitor).0, Health::Up);
    good_check(&mut monitor, no_run(calls(6, 4)));
    assert_eq!(
        health(&monitor),
        (Health::Degraded, Cause::ChecksSucceedCallsFail)
    );
}

#[test]
fn time_out_of_a_stale_one_leaves_it_unknown() {
    let mut monitor = running();
    let last = ask(&mut monitor, GOOD, 1);
    let stale = last.after(Duration::from_secs(60));
    let poll = monitor.poll(stale, Calls::default(), true, false, &policy());
    let Poll::Ask { timeout, .. } = poll else {
        panic!("{poll:?}")
    };
    assert_eq!(health(&monitor).0, Health::Unknown);
    let mut seen = Vec::new();
    monitor.check_deadline(stale.after(timeout), false, &policy());
    while health(&monitor).0 != Health::Down {
        seen.push(health(&monitor));
        let due = monitor.due().unwrap();
        monitor.poll(due, Calls::default(), true, false, &policy());
    }
    seen.dedup();
    assert_eq!(seen, [(Health::Unknown, Cause::CheckTimesOut)]);
}

#[test]
fn one_that_has_never_answered_is_unknown_for_that() {
    let mut monitor = running();
    ask_in_vain(&mut monitor);
    assert_eq!(health(&monitor), (Health::Unknown, Cause::CheckTimesOut));
}

#[test]
fn pushed_word_holds_where_the_check_says_nothing() {
    for silent in [ResultWord::Said(None), ResultWord::Failed(ErrorKind::Unsupported)] {
        pushed_word_holds(silent);
    }
}

fn pushed_word_holds(silent: ResultWord) {
    let mut monitor = running();
    ask(&mut monitor, silent, 1);
    let now = monitor.due().unwrap();
    monitor.pushed(now, 1, Health::Down, &policy());
    let soon = now.after(policy().recheck * 3);
    while monitor.due().unwrap() < soon {
        ask(&mut monitor, silent, 1);
    }
    assert_eq!(health(&monitor), (Health::Down, Cause::SaysDown));
    let now = monitor.due().unwrap();
    monitor.pushed(now, 1, Health::Up, &policy());
    ask(&mut monitor, silent, 1);
    assert_eq!(health(&monitor), (Health::Up, Cause::Answers));
}

#[test]
fn cancelled_calls_and_callers_mistakes_speak_for_nobody() {
    let mut monitor = running();
    ask(&mut monitor, GOOD, 1);
    // Calls end all the while, each by its caller; the plugin's checks fail.
    let mut ended = 0;
    let bad = ResultWord::Failed(ErrorKind::Internal);
    while monitor.failed_checks() < 3 {
        let due = monitor.due().unwrap();
        ended += 3;
        let calls = Calls {
            excused: ended,
            ..calls(ended, 0)
        };
        monitor.poll(due, calls, true, false, &policy());
        monitor.answered(due, answer(bad, QUICK, false), calls, &policy());
    }
    assert_eq!(
        health(&monitor),
        (Health::Down, Cause::CheckFails(ErrorKind::Internal))
    );
}

#[test]
fn calls_that_failed_with_the_checks_are_forgotten_once_these_succeed() {
    let mut monitor = running();
    let bad = ResultWord::Failed(ErrorKind::Internal);
    good_check(&mut monitor, calls(0, 0));
    for failed in [2, 4, 6] {
        let due = monitor.due().unwrap();
        monitor.poll(due, calls(failed, failed), true, false, &policy());
        monitor.answered(due, answer(bad, QUICK, false), calls(failed, failed), &policy());
    }
    assert_eq!(health(&monitor).0, Health::Down);
    good_check(&mut monitor, calls(6, 6));
    let last = good_check(&mut monitor, calls(6, 6));
    assert_eq!(health(&monitor), (Health::Up, Cause::Answers));
    let mut then = last;
    for (failed, expected) in [
        (7, Health::Up),
        (9, Health::Degraded),
        (10, Health::Degraded),
        (11, Health::Down),
    ] {
        then = then.after(Duration::from_secs(70));
        monitor.called(then, 1, calls(failed, failed), &policy());
        assert_eq!(health(&monitor).0, expected, "{failed}");
    }
}

#[test]
fn one_that_is_called_often_is_well_again_though_now_and_then_a_call_fails() {
    let mut monitor = running();
    good_check(&mut monitor, calls(9, 9));
    assert_eq!(health(&monitor).0, Health::Down);
    let mut more = calls(9, 9);
    let since = monitor.due().unwrap();
    while health(&monitor).0 != Health::Up {
        // One in a hundred fails, and never the last one.
        more.ended += 100;
        more.blamed += 1;
        more.failed_run = 0;
        let due = good_check(&mut monitor, more);
        assert!(
            due.since(since) < Duration::from_secs(200),
            "{:?}",
            health(&monitor)
        );
    }
}
