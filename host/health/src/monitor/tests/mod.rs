//! A monitor from check to check.

mod calls;
mod confirmation;
mod evidence;
mod properties;
mod table;

use super::*;
use std::time::Duration;

const MS: u64 = 1_000_000;

fn at(ms: u64) -> Moment {
    Moment::from_nanos((1_000_000 + ms) * MS)
}

fn policy() -> Policy {
    Policy {
        jitter_permille: 0,
        ..Policy::default()
    }
}

const GOOD: ResultWord = ResultWord::Said(Some(Health::Up));
const QUICK: Option<Duration> = Some(Duration::from_micros(1));

fn running() -> Monitor {
    let mut monitor = Monitor::new("a", at(0));
    monitor.enter(at(0), Lifecycle::Running, 1, Calls::default(), &policy());
    monitor
}

fn answer(result: ResultWord, took: Option<Duration>, host_late: bool) -> Answer {
    Answer {
        generation: 1,
        result,
        took,
        host_late,
    }
}

fn ms(moment: Moment) -> u64 {
    moment.as_nanos() / MS - 1_000_000
}

/// Asks when it is due, and has it answer `took_ms` later.
fn ask(monitor: &mut Monitor, result: ResultWord, took_ms: u64) -> Moment {
    let due = monitor.due().unwrap();
    let poll = monitor.poll(due, Calls::default(), true, false, &policy());
    assert!(matches!(poll, Poll::Ask { .. }), "{poll:?}");
    let then = due.after(Duration::from_millis(took_ms));
    let took = Some(Duration::from_millis(took_ms));
    monitor.answered(then, answer(result, took, false), Calls::default(), &policy());
    due
}

#[test]
fn a_well_one_is_asked_each_interval_and_soon_after_a_doubt() {
    let mut monitor = running();
    assert!(ms(monitor.due().unwrap()) < 500);
    let first = ask(&mut monitor, GOOD, 1);
    let second = ask(&mut monitor, GOOD, 1);
    assert_eq!(second.since(first), Duration::from_secs(10));
    let doubt = ask(
        &mut monitor,
        ResultWord::Failed(extman_model::ErrorKind::Internal),
        0,
    );
    let recheck = ask(&mut monitor, GOOD, 0);
    assert_eq!(recheck.since(doubt), Duration::from_secs(2));
    assert_eq!(monitor.judged().health, Health::Up);
}

#[test]
fn one_that_is_down_is_asked_ever_more_seldom() {
    let mut monitor = running();
    let bad = ResultWord::Failed(extman_model::ErrorKind::Internal);
    let mut asked: Vec<Moment> = (0..9).map(|_| ask(&mut monitor, bad, 0)).collect();
    let gaps: Vec<u64> = asked.windows(2).map(|w| w[1].since(w[0]).as_secs()).collect();
    assert_eq!(gaps, [2, 2, 5, 10, 20, 40, 60, 60]);
    asked.clear();
    ask(&mut monitor, GOOD, 0);
    let back = ask(&mut monitor, GOOD, 0);
    assert_eq!(monitor.due().unwrap().since(back), Duration::from_secs(10));
}

#[test]
fn what_does_not_answer_fails_at_its_time_at_the_greatest_and_each_time_that_it_would_be_due() {
    let mut monitor = running();
    ask(&mut monitor, GOOD, 1);
    let due = monitor.due().unwrap();
    monitor.poll(due, Calls::default(), true, false, &policy());
    let too_late = monitor.deadline().unwrap();
    assert_eq!(too_late.since(due), Duration::from_millis(250));
    assert!(!monitor.check_deadline(due, false, &policy()));
    assert!(monitor.check_deadline(too_late, false, &policy()));
    assert!(!monitor.check_deadline(too_late, false, &policy()));
    let (mut failed, mut at) = (1, vec![250]);
    while monitor.judged().health != Health::Down {
        let next = monitor.due().unwrap();
        let poll = monitor.poll(next, Calls::default(), true, false, &policy());
        let counts = monitor.failed_checks() > failed;
        assert_eq!(poll, if counts { Poll::Overdue } else { Poll::Pending });
        if counts {
            failed += 1;
            at.push(next.since(due).as_millis());
        }
    }
    assert_eq!(at, [250, 5000, 7000]);
    assert_eq!(monitor.judged().cause, Cause::CheckTimesOut);
    // Its answer comes after all, and was counted; so it is asked again soon.
    let late = monitor.due().unwrap();
    let ended = monitor.answered(
        late,
        answer(GOOD, Some(Duration::from_secs(9)), false),
        Calls::default(),
        &policy(),
    );
    assert_eq!(ended, None);
    assert!(monitor.due().unwrap().since(late) <= policy().recheck);
    ask(&mut monitor, GOOD, 1);
    ask(&mut monitor, GOOD, 1);
    assert_eq!(monitor.judged().health, Health::Up);
}

#[test]
fn one_slow_answer_is_one_failed_check_and_a_lesson() {
    let mut monitor = running();
    ask(&mut monitor, GOOD, 1);
    let due = monitor.due().unwrap();
    monitor.poll(due, Calls::default(), true, false, &policy());
    let too_late = monitor.deadline().unwrap();
    monitor.check_deadline(too_late, false, &policy());
    let back = due.after(Duration::from_millis(4500));
    while monitor.due().unwrap() < back {
        let next = monitor.due().unwrap();
        monitor.poll(next, Calls::default(), true, false, &policy());
    }
    assert_eq!(monitor.failed_checks(), 1);
    let took = Some(Duration::from_millis(4500));
    monitor.answered(back, answer(GOOD, took, false), Calls::default(), &policy());
    // From now on it may take that long.
    for _ in 0..3 {
        ask(&mut monitor, GOOD, 4500);
        assert_eq!(monitor.failed_checks(), 0);
    }
}

/// Asks apart; no answer comes in time. Gives the failed checks then.
fn ask_in_vain(monitor: &mut Monitor) -> u8 {
    let due = monitor.due().unwrap();
    let poll = monitor.poll(due, Calls::default(), true, false, &policy());
    let Poll::Ask { timeout, .. } = poll else {
        panic!("{poll:?}");
    };
    let timed_out = answer(ResultWord::TimedOut, None, false);
    monitor.answered(due.after(timeout), timed_out, Calls::default(), &policy());
    monitor.failed_checks()
}

#[test]
fn the_check_that_decides_has_the_greatest_time() {
    let mut monitor = running();
    ask(&mut monitor, GOOD, 1);
    let timeout = |monitor: &Monitor| match monitor.clone().poll(
        monitor.due().unwrap(),
        Calls::default(),
        true,
        false,
        &policy(),
    ) {
        Poll::Ask { timeout, .. } => timeout.as_millis(),
        other => panic!("{other:?}"),
    };
    let mut timeouts = vec![timeout(&monitor)];
    for failed in 1..=3 {
        assert_eq!(ask_in_vain(&mut monitor), failed);
        timeouts.push(timeout(&monitor));
    }
    // The last one is of one that is down: it is waited for as long as for any.
    assert_eq!(timeouts, [250, 500, 5000, 5000]);
}

#[test]
fn what_hangs_hangs_on_after_the_host_stood_still() {
    let mut monitor = running();
    ask(&mut monitor, GOOD, 1);
    let due = monitor.due().unwrap();
    monitor.poll(due, Calls::default(), true, false, &policy());
    let then = due.after(Duration::from_secs(30));
    monitor.host_stalled(then, Duration::from_secs(30), &policy());
    assert!(!monitor.check_deadline(then, true, &policy()));
    // It has its time anew, once; that the host was late is no news any more.
    let too_late = monitor.deadline().unwrap();
    assert_eq!(too_late.since(then), Duration::from_millis(250));
    assert!(monitor.check_deadline(too_late, true, &policy()));
    while monitor.judged().health != Health::Down {
        let next = monitor.due().unwrap();
        assert!(next.since(then) < Duration::from_secs(20));
        monitor.poll(next, Calls::default(), true, true, &policy());
    }
}

#[test]
fn a_recheck_that_may_take_longer_than_three_of_its_intervals_is_not_stale() {
    let mut monitor = running();
    ask(&mut monitor, GOOD, 1);
    ask_in_vain(&mut monitor);
    assert_eq!(ask_in_vain(&mut monitor), 2);
    let due = monitor.due().unwrap();
    monitor.poll(due, Calls::default(), true, false, &policy());
    let seen = monitor.judged_at(due.after(Duration::from_millis(4999)), false, &policy());
    assert_eq!(seen.health, Health::Up);
}

#[test]
fn while_the_host_stood_still_nobody_fails() {
    let mut monitor = running();
    ask(&mut monitor, GOOD, 1);
    let due = monitor.due().unwrap();
    monitor.poll(due, Calls::default(), true, false, &policy());
    let then = due.after(Duration::from_secs(30));
    assert!(!monitor.check_deadline(then, true, &policy()));
    let mut again = monitor.clone();
    let poll = again.poll(then, Calls::default(), true, true, &policy());
    assert_eq!((poll, again.failed_checks()), (Poll::Pending, 0));
    monitor.host_stalled(then, Duration::from_secs(30), &policy());
    assert_eq!(monitor.judged().cause, Cause::HostStarved);
    let mut late = monitor.clone();
    let no_answer = answer(ResultWord::TimedOut, None, true);
    let ended = late.answered(then, no_answer, Calls::default(), &policy());
    assert_eq!(ended, Some(ResultWord::HostLate));
    // An answer is an answer; but how long it took says nothing.
    let waits = monitor.timeout().timeout(policy().timeout);
    let took = Some(Duration::from_secs(30));
    let ended = monitor.answered(then, answer(GOOD, took, true), Calls::default(), &policy());
    assert_eq!(ended, Some(GOOD));
    assert_eq!(monitor.timeout().timeout(policy().timeout), waits);
    ask(&mut monitor, GOOD, 1);
    assert_eq!(monitor.judged().health, Health::Up);
    // A short one is nobody's business.
    let judged = monitor.judged();
    monitor.host_stalled(then, Duration::from_secs(1), &policy());
    assert_eq!(monitor.judged(), judged);
}

#[test]
fn after_a_long_pause_it_comes_back_to_its_own_grid() {
    let mut monitor = running();
    let first = ask(&mut monitor, GOOD, 1);
    let later = monitor.due().unwrap().after(Duration::from_secs(34));
    monitor.poll(later, Calls::default(), true, false, &policy());
    monitor.answered(later, answer(GOOD, QUICK, false), Calls::default(), &policy());
    assert_eq!(monitor.due().unwrap().since(first), Duration::from_secs(50));
}

#[test]
fn a_call_that_came_back_is_as_good_as_a_check_of_one_that_says_nothing() {
    let mut monitor = running();
    let called = Calls {
        ended: 1,
        returned: 1,
        ..Calls::default()
    };
    let due = monitor.due().unwrap();
    assert_eq!(monitor.poll(due, called, false, false, &policy()), Poll::Heard);
    assert_eq!(monitor.judged().cause, Cause::Answers);
    let due = monitor.due().unwrap();
    assert!(matches!(
        monitor.poll(due, called, false, false, &policy()),
        Poll::Ask { .. }
    ));
    // Never for one that has something to say.
    let mut monitor = running();
    let due = monitor.due().unwrap();
    assert!(matches!(
        monitor.poll(due, called, true, false, &policy()),
        Poll::Ask { .. }
    ));
}

#[test]
fn results_of_another_generation_count_for_nothing() {
    let mut monitor = running();
    let due = monitor.due().unwrap();
    monitor.poll(due, Calls::default(), true, false, &policy());
    monitor.enter(due, Lifecycle::Running, 2, Calls::default(), &policy());
    let ended = monitor.answered(
        due,
        answer(ResultWord::TimedOut, None, false),
        Calls::default(),
        &policy(),
    );
    assert_eq!(ended, None);
    assert_eq!(monitor.asked_at(), None);
    assert_eq!(monitor.failed_checks(), 0);
}

/// The next version of it runs, and the one before served until then.
fn update(monitor: &mut Monitor, generation: u64) {
    let at = monitor.due().unwrap();
    monitor.enter(at, Lifecycle::Running, generation, Calls::default(), &policy());
    let due = monitor.due().unwrap();
    assert!(due.since(at) <= Duration::from_millis(500), "it is asked soon");
}

/// What the check of a generation comes to.
fn checked(monitor: &mut Monitor, generation: u64, result: ResultWord) -> Health {
    let due = monitor.due().unwrap();
    monitor.poll(due, Calls::default(), true, false, &policy());
    let answer = Answer {
        generation,
        ..answer(result, QUICK, false)
    };
    monitor.answered(due, answer, Calls::default(), &policy());
    monitor.judged().health
}

#[test]
fn update_of_one_that_is_up_leaves_it_up_until_checks_of_the_new_version_decide() {
    let bad = ResultWord::Failed(extman_model::ErrorKind::Internal);
    let mut monitor = running();
    ask(&mut monitor, GOOD, 1);
    let since = monitor.since();
    update(&mut monitor, 2);
    assert_eq!(monitor.judged().cause, Cause::Answers);
    assert_eq!(checked(&mut monitor, 2, GOOD), Health::Up);
    assert_eq!(monitor.since(), since, "nothing has changed for its callers");
    update(&mut monitor, 3);
    let fails = (0..policy().fall).map(|_| checked(&mut monitor, 3, bad));
    assert_eq!(fails.collect::<Vec<_>>(), [Health::Up, Health::Up, Health::Down]);
    update(&mut monitor, 4);
    assert_eq!(
        monitor.judged().health,
        Health::Unknown,
        "the new one may be mended or not"
    );
}

#[test]
fn one_that_was_stopped_is_unknown_when_it_runs_again() {
    let mut monitor = running();
    ask(&mut monitor, GOOD, 1);
    let at = monitor.due().unwrap();
    for (lifecycle, generation) in [(Lifecycle::Starting, 1), (Lifecycle::Running, 2)] {
        monitor.enter(at, lifecycle, generation, Calls::default(), &policy());
    }
    assert_eq!(monitor.judged().health, Health::Unknown);
}

#[test]
fn one_that_fails_each_time_that_it_is_started_is_down_since_it_failed_first() {
    use Lifecycle::{Backoff, Running, Starting, Stopped};
    let mut monitor = running();
    ask(&mut monitor, GOOD, 1);
    let mut enter = |second: u64, lifecycle| {
        monitor.enter(at(second * 1000), lifecycle, second, Calls::default(), &policy());
        (monitor.judged().health, ms(monitor.since()) / 1000)
    };
    assert_eq!(enter(20, Backoff), (Health::Down, 20));
    assert_eq!(enter(25, Starting), (Health::Unknown, 25));
    assert_eq!(enter(26, Running), (Health::Unknown, 25));
    assert_eq!(enter(27, Backoff), (Health::Down, 20));
    assert_eq!(enter(40, Stopped).0, Health::Unknown);
    assert_eq!(enter(90, Starting).0, Health::Unknown);
    assert_eq!(
        enter(91, Backoff),
        (Health::Down, 91),
        "an operator had stopped it"
    );
}

#[test]
fn an_idle_one_is_asked_once_a_minute_until_it_is_called() {
    let mut monitor = running();
    while ms(monitor.due().unwrap()) < 700_000 {
        ask(&mut monitor, GOOD, 0);
    }
    assert_eq!(monitor.interval(), Duration::from_secs(60));
    let due = monitor.due().unwrap();
    let called = Calls {
        ended: 1,
        returned: 1,
        ..Calls::default()
    };
    monitor.poll(due, called, true, false, &policy());
    monitor.answered(due, answer(GOOD, QUICK, false), called, &policy());
    assert_eq!(monitor.interval(), Duration::from_secs(10));
}

#[test]
fn instance_that_answered_slowly_is_a_suspect_until_it_answers_quickly() {
    let mut monitor = running();
    assert!(!monitor.is_suspect());
    ask(&mut monitor, GOOD, 100);
    assert!(monitor.is_suspect());
    ask(&mut monitor, GOOD, 1);
    assert!(!monitor.is_suspect());
}

#[test]
fn what_nobody_has_looked_at_is_not_shown_as_well() {
    let mut monitor = running();
    let first = ask(&mut monitor, GOOD, 0);
    let policy = policy();
    assert_eq!(
        monitor
            .judged_at(first.after(Duration::from_secs(20)), false, &policy)
            .health,
        Health::Up
    );
    let weeks = first.after(Duration::from_secs(3_000_000));
    assert_eq!(monitor.judged_at(weeks, false, &policy).cause, Cause::HostStarved);
}

#[test]
fn it_is_small() {
    assert!(size_of::<Monitor>() <= 320, "{}", size_of::<Monitor>());
}
