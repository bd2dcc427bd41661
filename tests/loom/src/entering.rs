//! Code that enters an instance while that is sealed, and while it is destroyed.

use crate::activity::{Activity, Entering};
use loom::sync::atomic::{AtomicBool, Ordering::*};
use loom::thread;
use std::sync::Arc;

#[test]
fn nobody_is_inside_an_instance_that_is_destroyed() {
    for entering in [Entering::Call, Entering::Step] {
        loom::model(move || {
            let shared = Arc::new((Activity::default(), AtomicBool::new(false)));
            let enters = thread::spawn({
                let shared = shared.clone();
                move || {
                    let (activity, destroyed) = &*shared;
                    let entered = activity.enter(entering);
                    if entered {
                        assert!(!destroyed.load(Acquire));
                        activity.leave();
                    }
                    entered
                }
            });
            let (activity, destroyed) = &*shared;
            let closed = activity.close();
            if closed.is_ok() {
                destroyed.store(true, Release);
            }
            let entered = enters.join().unwrap();
            assert!(entered || closed.is_ok(), "refused though it was not closed");
            assert_eq!(activity.inside(), 0);
            assert_eq!(activity.close(), Ok(closed.is_err()), "it is closed once");
        });
    }
}

#[test]
fn instance_that_two_destroy_is_closed_by_one() {
    loom::model(|| {
        let activity = Arc::new(Activity::default());
        let closes = || {
            let activity = activity.clone();
            thread::spawn(move || activity.close().unwrap())
        };
        let (one, other) = (closes(), closes());
        assert_eq!(u8::from(one.join().unwrap()) + u8::from(other.join().unwrap()), 1);
        assert!(!activity.enter(Entering::Step));
    });
}

#[test]
fn sealed_instance_lets_steps_in_and_calls_no_more() {
    loom::model(|| {
        let activity = Arc::new(Activity::default());
        let enters = thread::spawn({
            let activity = activity.clone();
            move || {
                let entered = activity.enter(Entering::Call);
                if entered {
                    activity.leave();
                }
                entered
            }
        });
        activity.seal();
        assert!(!activity.enter(Entering::Call));
        assert!(activity.enter(Entering::Step));
        activity.leave();
        enters.join().unwrap();
        assert_eq!(activity.inside(), 0);
        assert_eq!(activity.close(), Ok(true));
    });
}
