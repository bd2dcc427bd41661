//! Answers that took longer than usual, and then a check that failed.

use super::*;
use extman_model::ErrorKind;

const BAD: ResultWord = ResultWord::Failed(ErrorKind::Unavailable);

/// Its answers take 20 ms; then two take longer than its own time.
fn slow_twice() -> Monitor {
    let mut monitor = running();
    (0..20).for_each(|_| _ = ask(&mut monitor, GOOD, 20));
    for _ in 0..2 {
        let due = monitor.due().unwrap();
        let poll = monitor.poll(due, Calls::default(), true, false, &policy());
        let Poll::Ask { timeout, .. } = poll else {
            panic!("{poll:?}")
        };
        assert!(timeout < policy().timeout.1);
        let late = answer(ResultWord::TimedOut, None, false);
        monitor.answered(due.after(timeout), late, Calls::default(), &policy());
    }
    assert_eq!(monitor.failed_checks(), 2);
    monitor
}

#[test]
fn one_failure_after_answers_that_took_long_is_confirmed_before_it_is_down() {
    let mut monitor = slow_twice();
    let first = ask(&mut monitor, BAD, 0);
    assert_eq!(monitor.judged().health, Health::Up);
    let mut well = monitor.clone();
    ask(&mut well, GOOD, 20);
    assert_eq!((well.judged().health, well.failed_checks()), (Health::Up, 0));
    let second = ask(&mut monitor, BAD, 0);
    assert_eq!(second.since(first), policy().recheck);
    assert_eq!(monitor.judged().health, Health::Down);
}

#[test]
fn one_that_does_not_answer_in_the_greatest_time_either_is_down_at_once() {
    let mut monitor = slow_twice();
    let due = monitor.due().unwrap();
    let poll = monitor.poll(due, Calls::default(), true, false, &policy());
    let Poll::Ask { timeout, .. } = poll else {
        panic!("{poll:?}")
    };
    assert_eq!(timeout, policy().timeout.1);
    let late = answer(ResultWord::TimedOut, None, false);
    monitor.answered(due.after(timeout), late, Calls::default(), &policy());
    assert_eq!(monitor.judged().health, Health::Down);
}
