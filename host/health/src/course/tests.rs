//! A course from check to check.

mod called;
mod doubted;

use super::*;
use extman_model::Cause;

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

fn running() -> Course {
    let mut course = Course::new("a", at(0));
    course.live(at(0), Lifecycle::Running, 1, Calls::default(), &policy());
    course
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
fn ask(course: &mut Course, result: ResultWord, took_ms: u64) -> Moment {
    let due = course.due().unwrap();
    let (begin, _) = course.begin(due, Calls::default(), true, false, &policy());
    assert!(matches!(begin, Begin::Ask { .. }), "{begin:?}");
    let then = due.after(Duration::from_millis(took_ms));
    let took = Some(Duration::from_millis(took_ms));
    course.ended(then, answer(result, took, false), Calls::default(), &policy());
    due
}

#[test]
fn a_well_one_is_asked_each_interval_and_soon_after_a_doubt() {
    let mut course = running();
    assert!(ms(course.due().unwrap()) < 500);
    let first = ask(&mut course, GOOD, 1);
    let second = ask(&mut course, GOOD, 1);
    assert_eq!(second.since(first), Duration::from_secs(10));
    let doubt = ask(
        &mut course,
        ResultWord::Failed(extman_model::ErrorKind::Internal),
        0,
    );
    let recheck = ask(&mut course, GOOD, 0);
    assert_eq!(recheck.since(doubt), Duration::from_secs(2));
    assert_eq!(course.evaluation().judged().health, Health::Up);
}

#[test]
fn one_that_is_down_is_asked_ever_more_seldom() {
    let mut course = running();
    let bad = ResultWord::Failed(extman_model::ErrorKind::Internal);
    let mut asked: Vec<Moment> = (0..9).map(|_| ask(&mut course, bad, 0)).collect();
    let gaps: Vec<u64> = asked.windows(2).map(|w| w[1].since(w[0]).as_secs()).collect();
    assert_eq!(gaps, [2, 2, 5, 10, 20, 40, 60, 60]);
    asked.clear();
    ask(&mut course, GOOD, 0);
    let back = ask(&mut course, GOOD, 0);
    assert_eq!(course.due().unwrap().since(back), Duration::from_secs(10));
}

#[test]
fn what_does_not_answer_fails_at_its_time_at_the_greatest_and_each_time_that_it_would_be_due() {
    let mut course = running();
    ask(&mut course, GOOD, 1);
    let due = course.due().unwrap();
    course.begin(due, Calls::default(), true, false, &policy());
    let too_late = course.too_late_at().unwrap();
    assert_eq!(too_late.since(due), Duration::from_millis(250));
    assert_eq!(course.look(due, false, &policy()).counted, None);
    assert_eq!(
        course.look(too_late, false, &policy()).counted,
        Some(ResultWord::TimedOut)
    );
    assert_eq!(course.look(too_late, false, &policy()).counted, None);
    let (mut failed, mut at) = (1, vec![250]);
    while course.evaluation().judged().health != Health::Down {
        let next = course.due().unwrap();
        let (begin, _) = course.begin(next, Calls::default(), true, false, &policy());
        assert_eq!(begin, Begin::StillAsked);
        if course.evaluation().failed_checks() > failed {
            failed += 1;
            at.push(next.since(due).as_millis());
        }
    }
    assert_eq!(at, [250, 5000, 7000]);
    assert_eq!(course.evaluation().judged().cause, Cause::CheckTimesOut);
    // Its answer comes after all, and was counted; so it is asked again soon.
    let late = course.due().unwrap();
    let ended = course.ended(
        late,
        answer(GOOD, Some(Duration::from_secs(9)), false),
        Calls::default(),
        &policy(),
    );
    assert_eq!((ended.counted, ended.changed), (None, None));
    assert!(course.due().unwrap().since(late) <= policy().recheck);
    ask(&mut course, GOOD, 1);
    ask(&mut course, GOOD, 1);
    assert_eq!(course.evaluation().judged().health, Health::Up);
}

#[test]
fn one_slow_answer_is_one_failed_check_and_a_lesson() {
    let mut course = running();
    ask(&mut course, GOOD, 1);
    let due = course.due().unwrap();
    course.begin(due, Calls::default(), true, false, &policy());
    let too_late = course.too_late_at().unwrap();
    course.look(too_late, false, &policy());
    let back = due.after(Duration::from_millis(4500));
    while course.due().unwrap() < back {
        let next = course.due().unwrap();
        course.begin(next, Calls::default(), true, false, &policy());
    }
    assert_eq!(course.evaluation().failed_checks(), 1);
    let took = Some(Duration::from_millis(4500));
    course.ended(back, answer(GOOD, took, false), Calls::default(), &policy());
    // From now on it may take that long.
    for _ in 0..3 {
        ask(&mut course, GOOD, 4500);
        assert_eq!(course.evaluation().failed_checks(), 0);
    }
}

/// Asks apart; no answer comes in time. Gives the failed checks then.
fn ask_in_vain(course: &mut Course) -> u8 {
    let due = course.due().unwrap();
    let (begin, _) = course.begin(due, Calls::default(), true, false, &policy());
    let Begin::Ask { timeout, .. } = begin else {
        panic!("{begin:?}");
    };
    let timed_out = answer(ResultWord::TimedOut, None, false);
    course.ended(due.after(timeout), timed_out, Calls::default(), &policy());
    course.evaluation().failed_checks()
}

#[test]
fn the_check_that_decides_has_the_greatest_time() {
    let mut course = running();
    ask(&mut course, GOOD, 1);
    let timeout = |course: &Course| match course
        .clone()
        .begin(course.due().unwrap(), Calls::default(), true, false, &policy())
        .0
    {
        Begin::Ask { timeout, .. } => timeout.as_millis(),
        other => panic!("{other:?}"),
    };
    let mut timeouts = vec![timeout(&course)];
    for failed in 1..=3 {
        assert_eq!(ask_in_vain(&mut course), failed);
        timeouts.push(timeout(&course));
    }
    // The last one is of one that is down: it is waited for as long as for any.
    assert_eq!(timeouts, [250, 500, 5000, 5000]);
}

#[test]
fn one_that_is_still_in_its_last_check_fails_again_only_after_the_greatest_time() {
    let mut course = running();
    ask(&mut course, GOOD, 1);
    let first = course.due().unwrap();
    assert_eq!(ask_in_vain(&mut course), 1);
    let mut failed_at = Vec::new();
    for _ in 0..20 {
        let due = course.due().unwrap();
        course.begin(due, Calls::default(), true, false, &policy());
        let before = course.evaluation().failed_checks();
        // It is refused at once.
        let refused = answer(ResultWord::TimedOut, None, false);
        course.ended(due, refused, Calls::default(), &policy());
        if course.evaluation().failed_checks() > before {
            failed_at.push(due.since(first).as_millis());
        }
        if failed_at.len() == 2 {
            break;
        }
    }
    assert_eq!(failed_at, [5000, 7000]);
    assert_eq!(course.evaluation().judged().health, Health::Down);
}

#[test]
fn what_hangs_hangs_on_after_the_host_stood_still() {
    let mut course = running();
    ask(&mut course, GOOD, 1);
    let due = course.due().unwrap();
    course.begin(due, Calls::default(), true, false, &policy());
    let then = due.after(Duration::from_secs(30));
    course.stood_still(then, Duration::from_secs(30), &policy());
    assert_eq!(course.look(then, true, &policy()).counted, None);
    // It has its time anew, once; that the host was late is no news any more.
    let too_late = course.too_late_at().unwrap();
    assert_eq!(too_late.since(then), Duration::from_millis(250));
    assert_eq!(
        course.look(too_late, true, &policy()).counted,
        Some(ResultWord::TimedOut)
    );
    while course.evaluation().judged().health != Health::Down {
        let next = course.due().unwrap();
        assert!(next.since(then) < Duration::from_secs(20));
        course.begin(next, Calls::default(), true, true, &policy());
    }
}

#[test]
fn a_recheck_that_may_take_longer_than_three_of_its_intervals_is_not_stale() {
    let mut course = running();
    ask(&mut course, GOOD, 1);
    ask_in_vain(&mut course);
    assert_eq!(ask_in_vain(&mut course), 2);
    let due = course.due().unwrap();
    course.begin(due, Calls::default(), true, false, &policy());
    let seen = course.as_seen_at(due.after(Duration::from_millis(4999)), &policy());
    assert_eq!(seen.health, Health::Up);
}

#[test]
fn while_the_host_stood_still_nobody_fails() {
    let mut course = running();
    ask(&mut course, GOOD, 1);
    let due = course.due().unwrap();
    course.begin(due, Calls::default(), true, false, &policy());
    let then = due.after(Duration::from_secs(30));
    assert_eq!(course.look(then, true, &policy()).counted, None);
    let mut again = course.clone();
    let (begin, _) = again.begin(then, Calls::default(), true, true, &policy());
    assert_eq!(
        (begin, again.evaluation().failed_checks()),
        (Begin::StillAsked, 0)
    );
    let starved = course.stood_still(then, Duration::from_secs(30), &policy());
    assert!(starved.is_some());
    assert_eq!(course.evaluation().judged().cause, Cause::HostStarved);
    let mut late = course.clone();
    let no_answer = answer(ResultWord::TimedOut, None, true);
    let ended = late.ended(then, no_answer, Calls::default(), &policy());
    assert_eq!(ended.counted, Some(ResultWord::HostLate));
    // An answer is an answer; but how long it took says nothing.
    let waits = course.round_trip().timeout(policy().timeout);
    let took = Some(Duration::from_secs(30));
    let ended = course.ended(then, answer(GOOD, took, true), Calls::default(), &policy());
    assert_eq!(ended.counted, Some(GOOD));
    assert_eq!(course.round_trip().timeout(policy().timeout), waits);
    ask(&mut course, GOOD, 1);
    assert_eq!(course.evaluation().judged().health, Health::Up);
    // A short one is nobody's business.
    assert_eq!(course.stood_still(then, Duration::from_secs(1), &policy()), None);
}

#[test]
fn after_a_long_pause_it_comes_back_to_its_own_grid() {
    let mut course = running();
    let first = ask(&mut course, GOOD, 1);
    let later = course.due().unwrap().after(Duration::from_secs(34));
    course.begin(later, Calls::default(), true, false, &policy());
    course.ended(later, answer(GOOD, QUICK, false), Calls::default(), &policy());
    assert_eq!(course.due().unwrap().since(first), Duration::from_secs(50));
}

#[test]
fn a_call_that_came_back_is_as_good_as_a_check_of_one_that_says_nothing() {
    let mut course = running();
    let called = Calls {
        ended: 1,
        blamed: 0,
        returned: 1,
    };
    let due = course.due().unwrap();
    assert_eq!(course.begin(due, called, false, false, &policy()).0, Begin::Seen);
    assert_eq!(course.evaluation().judged().cause, Cause::Answers);
    let due = course.due().unwrap();
    assert!(matches!(
        course.begin(due, called, false, false, &policy()).0,
        Begin::Ask { .. }
    ));
    // Never for one that has something to say.
    let mut course = running();
    let due = course.due().unwrap();
    assert!(matches!(
        course.begin(due, called, true, false, &policy()).0,
        Begin::Ask { .. }
    ));
}

#[test]
fn results_of_another_generation_count_for_nothing() {
    let mut course = running();
    let due = course.due().unwrap();
    course.begin(due, Calls::default(), true, false, &policy());
    course.live(due, Lifecycle::Running, 2, Calls::default(), &policy());
    let ended = course.ended(
        due,
        answer(ResultWord::TimedOut, None, false),
        Calls::default(),
        &policy(),
    );
    assert_eq!(ended.counted, None);
    assert_eq!(course.asked_at(), None);
    assert_eq!(course.evaluation().failed_checks(), 0);
}

#[test]
fn an_idle_one_is_asked_once_a_minute_until_it_is_called() {
    let mut course = running();
    while ms(course.due().unwrap()) < 700_000 {
        ask(&mut course, GOOD, 0);
    }
    assert_eq!(course.interval(), Duration::from_secs(60));
    let due = course.due().unwrap();
    let called = Calls {
        ended: 1,
        blamed: 0,
        returned: 1,
    };
    course.begin(due, called, true, false, &policy());
    course.ended(due, answer(GOOD, QUICK, false), called, &policy());
    assert_eq!(course.interval(), Duration::from_secs(10));
}

#[test]
fn a_suspect_is_asked_apart() {
    let mut course = running();
    ask(&mut course, GOOD, 100);
    let due = course.due().unwrap();
    assert!(matches!(
        course.begin(due, Calls::default(), true, false, &policy()).0,
        Begin::Ask { apart: true, .. }
    ));
    course.ended(due, answer(GOOD, QUICK, false), Calls::default(), &policy());
    let due = course.due().unwrap();
    assert!(matches!(
        course.begin(due, Calls::default(), true, false, &policy()).0,
        Begin::Ask { apart: false, .. }
    ));
}

#[test]
fn what_nobody_has_looked_at_is_not_shown_as_well() {
    let mut course = running();
    let first = ask(&mut course, GOOD, 0);
    let policy = policy();
    assert_eq!(
        course
            .as_seen_at(first.after(Duration::from_secs(20)), &policy)
            .health,
        Health::Up
    );
    let weeks = first.after(Duration::from_secs(3_000_000));
    assert_eq!(course.as_seen_at(weeks, &policy).cause, Cause::Stale);
}

#[test]
fn it_is_small() {
    assert!(size_of::<Course>() <= 320, "{}", size_of::<Course>());
}
