//! Who may be inside an instance: places that are taken and given back, those who wait for one, and an instance that closes.

use crate::concurrency::{ConcurrencyLimit, Permit};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use loom::thread;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn one_place_is_taken_by_one_at_a_time() {
    loom::model(|| {
        let concurrency = ConcurrencyLimit::new(1);
        let inside = Arc::new(AtomicUsize::new(0));
        let enters = || {
            let (concurrency, inside) = (concurrency.clone(), inside.clone());
            thread::spawn(move || {
                let Some(permit) = concurrency.try_enter_uncounted() else {
                    return;
                };
                assert_eq!(inside.fetch_add(1, Relaxed), 0);
                inside.fetch_sub(1, Relaxed);
                drop(permit);
            })
        };
        let (one, other) = (enters(), enters());
        one.join().unwrap();
        other.join().unwrap();
        assert_eq!((concurrency.inside(), concurrency.uncounted()), (0, 0));
    });
}

#[test]
fn call_of_an_instance_that_closes_is_refused_or_waited_for() {
    loom::model(|| {
        let concurrency = ConcurrencyLimit::new(2);
        let (closing, inside) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let call = thread::spawn({
            let (concurrency, closing, inside) = (concurrency.clone(), closing.clone(), inside.clone());
            move || {
                let permit = concurrency.try_enter_uncounted().expect("there is room");
                if !closing.load(SeqCst) {
                    inside.store(true, Relaxed);
                    inside.store(false, Relaxed);
                }
                drop(permit);
            }
        });
        closing.store(true, SeqCst);
        if concurrency.uncounted() == 0 {
            assert!(!inside.load(Relaxed));
            call.join().unwrap();
            assert!(!inside.load(Relaxed));
        } else {
            call.join().unwrap();
        }
    });
}

#[test]
fn call_that_waits_for_a_place_gets_the_one_that_is_given_back() {
    loom::model(|| {
        let concurrency = ConcurrencyLimit::new(1);
        let permit = concurrency.try_enter().expect("there is room");
        let waiter = thread::spawn({
            let concurrency = concurrency.clone();
            // The model knows no time: a wake that is missed is a deadlock.
            move || concurrency.enter_within(Duration::MAX).is_some()
        });
        drop(permit);
        assert!(waiter.join().unwrap());
        assert_eq!(concurrency.inside(), 0);
    });
}

#[test]
fn job_that_finds_no_place_is_run_or_told_of_by_who_leaves() {
    loom::model(|| {
        let concurrency = ConcurrencyLimit::new(1);
        let permit = concurrency.try_enter().expect("there is room");
        let leaver = thread::spawn(move || Permit::leave(permit));
        let runs = concurrency.try_enter_or_wait_outside().is_some();
        let told = leaver.join().unwrap();
        assert!(runs || told, "nobody looks at the job again");
    });
}
