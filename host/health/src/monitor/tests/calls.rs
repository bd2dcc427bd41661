//! What calls and heaps do to the health of an instance whose checks succeed.

use super::*;

#[test]
fn calls_alone_make_it_degraded_and_down() {
    let mut monitor = running();
    let mut calls = Calls::default();
    let mut seen = Vec::new();
    while monitor.judged().health != Health::Down {
        let due = monitor.due().unwrap();
        calls.ended += 5;
        calls.blamed += 4;
        calls.returned += 5;
        monitor.poll(due, calls, true, false, &policy());
        monitor.answered(due, answer(GOOD, QUICK, false), calls, &policy());
        let judged = monitor.judged();
        if seen.last() != Some(&judged.health) {
            seen.push(judged.health);
        }
        assert!(ms(due) < 200_000);
    }
    assert_eq!(seen, [Health::Degraded, Health::Down]);
    assert_eq!(monitor.judged().cause, Cause::ChecksSucceedCallsFail);
}

/// An instance that is called twice each second, and says that it is well whenever it is asked.
struct Called {
    monitor: Monitor,
    calls: Calls,
    counted: Moment,
}

impl Called {
    fn new() -> Self {
        Called {
            monitor: running(),
            calls: Calls::default(),
            counted: at(0),
        }
    }

    /// It is asked once more. Gives when.
    fn check(&mut self, calls_fail: bool) -> Moment {
        let due = self.monitor.due().unwrap();
        let ended = due.since(self.counted).as_secs() * 2;
        self.counted = self.counted.after(Duration::from_millis(ended * 500));
        self.calls.ended += ended;
        self.calls.returned += ended;
        self.calls.blamed += if calls_fail { ended } else { 0 };
        self.calls.failed_run = if calls_fail {
            self.calls.failed_run + ended as u32
        } else {
            0
        };
        let poll = self.monitor.poll(due, self.calls, true, false, &policy());
        assert!(matches!(poll, Poll::Ask { .. }), "{poll:?}");
        let good = answer(GOOD, QUICK, false);
        self.monitor.answered(due, good, self.calls, &policy());
        due
    }

    fn health(&self) -> Health {
        self.monitor.judged().health
    }
}

#[test]
fn one_that_is_down_by_its_calls_alone_is_asked_as_often_as_any_and_up_after_two_good_windows() {
    let mut called = Called::new();
    let mut before = called.check(true);
    for _ in 0..60 {
        let now = called.check(true);
        assert_eq!(now.since(before), Duration::from_secs(10));
        before = now;
    }
    assert_eq!(called.health(), Health::Down);
    let well = before;
    while called.health() == Health::Down {
        before = called.check(false);
    }
    // The window that the last failures are in, two good ones, and the look that finds them over.
    let took = before.since(well);
    assert!(took <= Duration::from_secs(3 * 60 + 10), "{took:?}");
    assert_eq!(called.health(), Health::Up);
}

#[test]
fn once_its_checks_fail_too_it_is_asked_ever_more_seldom_from_the_first() {
    let mut called = Called::new();
    (0..60).for_each(|_| _ = called.check(true));
    let bad = ResultWord::Failed(extman_model::ErrorKind::Internal);
    let mut gaps = Vec::new();
    let mut before = called.monitor.due().unwrap();
    for _ in 0..7 {
        called.calls.ended += 20;
        called.calls.blamed += 20;
        called.calls.failed_run += 20;
        let poll = called.monitor.poll(before, called.calls, true, false, &policy());
        assert!(matches!(poll, Poll::Ask { .. }), "{poll:?}");
        let failed = answer(bad, QUICK, false);
        called.monitor.answered(before, failed, called.calls, &policy());
        let due = called.monitor.due().unwrap();
        gaps.push(due.since(before).as_secs());
        before = due;
    }
    assert_eq!(gaps, [2, 2, 10, 20, 40, 60, 60]);
}

#[test]
fn an_idle_one_whose_heap_comes_near_its_limit_is_asked_as_often_as_any_from_then_on() {
    let mut monitor = running();
    let near = |bytes| extman_model::Report {
        heap_bytes: Some(bytes),
        heap_limit_bytes: Some(1000),
        ..extman_model::Report::default()
    };
    let mut last = ask(&mut monitor, GOOD, 1);
    while monitor.interval() < policy().idle_interval {
        monitor.reported(last, 1, &near(100), &policy());
        last = ask(&mut monitor, GOOD, 1);
    }
    while monitor.judged().health == Health::Up {
        monitor.reported(last, 1, &near(950), &policy());
        if monitor.judged().health == Health::Up {
            last = ask(&mut monitor, GOOD, 1);
        }
    }
    assert_eq!(monitor.judged().cause, Cause::HeapNearLimit);
    assert_eq!(monitor.due().unwrap().since(last), policy().interval);
}
