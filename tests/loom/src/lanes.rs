//! A lane that comes back from a plugin while the watchdog gives it up.

use crate::occupancy::Occupancy;
use loom::sync::atomic::{AtomicBool, Ordering::*};
use loom::thread;
use std::sync::Arc;

#[test]
fn lane_that_comes_back_as_it_is_given_up_does_one_or_the_other() {
    loom::model(|| {
        let (lane, reported) = (Arc::new(Occupancy::new()), Arc::new(AtomicBool::new(false)));
        lane.enter(10, 20);
        let watchdog = thread::spawn({
            let (lane, reported) = (lane.clone(), reported.clone());
            move || {
                if let Some((began, _)) = lane.overdue(21) {
                    lane.lose(began, || reported.store(true, Relaxed));
                }
            }
        });
        let was_lost = lane.leave().is_err();
        if was_lost {
            lane.leave_lost();
            assert!(reported.load(Relaxed), "its return is told before its loss");
        }
        watchdog.join().unwrap();
        assert_eq!(reported.load(Relaxed), was_lost);
        assert_eq!(lane.is_lost(), was_lost);
        assert_eq!(lane.began(), None);
    });
}

#[test]
fn lane_is_not_given_up_in_its_next_call_for_the_one_before() {
    loom::model(|| {
        let lane = Arc::new(Occupancy::new());
        lane.enter(10, 20);
        let watchdog = thread::spawn({
            let lane = lane.clone();
            move || {
                let Some((began, lost_at)) = lane.overdue(21) else {
                    return;
                };
                // It may be the next call that is seen, and when the one before was to be lost.
                let lost = Arc::new(AtomicBool::new(false));
                lane.lose(began, || lost.store(true, Relaxed));
                assert!(
                    !lost.load(Relaxed) || (began, lost_at) == (10, 20),
                    "{began} by {lost_at}"
                );
            }
        });
        if lane.leave().is_ok() {
            lane.enter(15, 100);
            assert_eq!(lane.leave(), Ok(()));
        } else {
            lane.leave_lost();
        }
        watchdog.join().unwrap();
    });
}
