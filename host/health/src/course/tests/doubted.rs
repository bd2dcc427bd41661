//! Answers that took longer than usual, and then a check that failed.

use super::*;
use extman_model::ErrorKind;

const BAD: ResultWord = ResultWord::Failed(ErrorKind::Unavailable);

/// Its answers take 20 ms; then two take longer than its own time.
fn slow_twice() -> Course {
    let mut course = running();
    (0..20).for_each(|_| _ = ask(&mut course, GOOD, 20));
    for _ in 0..2 {
        let due = course.due().unwrap();
        let (begin, _) = course.begin(due, Calls::default(), true, false, &policy());
        let Begin::Ask { timeout, .. } = begin else {
            panic!("{begin:?}")
        };
        assert!(timeout < policy().timeout.1);
        let late = answer(ResultWord::TimedOut, None, false);
        course.ended(due.after(timeout), late, Calls::default(), &policy());
    }
    assert_eq!(course.evaluation().failed_checks(), 2);
    course
}

#[test]
fn one_failure_after_answers_that_took_long_is_confirmed_before_it_is_down() {
    let mut course = slow_twice();
    let first = ask(&mut course, BAD, 0);
    assert_eq!(course.evaluation().judged().health, Health::Up);
    let mut well = course.clone();
    ask(&mut well, GOOD, 20);
    assert_eq!(
        (
            well.evaluation().judged().health,
            well.evaluation().failed_checks()
        ),
        (Health::Up, 0)
    );
    let second = ask(&mut course, BAD, 0);
    assert_eq!(second.since(first), policy().recheck);
    assert_eq!(course.evaluation().judged().health, Health::Down);
}

#[test]
fn one_that_does_not_answer_in_the_greatest_time_either_is_down_at_once() {
    let mut course = slow_twice();
    let due = course.due().unwrap();
    let (begin, _) = course.begin(due, Calls::default(), true, false, &policy());
    let Begin::Ask { timeout, .. } = begin else {
        panic!("{begin:?}")
    };
    assert_eq!(timeout, policy().timeout.1);
    let late = answer(ResultWord::TimedOut, None, false);
    course.ended(due.after(timeout), late, Calls::default(), &policy());
    assert_eq!(course.evaluation().judged().health, Health::Down);
}
