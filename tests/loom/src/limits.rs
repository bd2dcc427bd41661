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

/// An instance closes and looks whether anybody is in an account, while a call begins.
fn closes_while_a_call_begins(enters: fn(&ConcurrencyLimit, &AtomicUsize, &AtomicBool)) {
    loom::model(move || {
        let concurrency = ConcurrencyLimit::new(2);
        let (begun, inside) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let call = thread::spawn({
            let (concurrency, begun, inside) = (concurrency.clone(), begun.clone(), inside.clone());
            move || enters(&concurrency, &begun, &inside)
        });
        concurrency.close();
        if begun.load(SeqCst) + concurrency.uncounted() == 0 {
            assert!(!inside.load(Relaxed), "it has ended, or is refused");
        }
        call.join().unwrap();
        assert!(concurrency.try_enter_uncounted().is_none());
    });
}

#[test]
fn call_that_no_other_account_tells_of_is_refused_or_seen_by_who_closes() {
    closes_while_a_call_begins(|concurrency, _, inside| {
        if let Some(_permit) = concurrency.try_enter_uncounted() {
            inside.store(true, Relaxed);
            inside.store(false, Relaxed);
        }
    });
}

#[test]
fn counted_call_is_refused_or_seen_by_who_closes() {
    closes_while_a_call_begins(|concurrency, begun, inside| {
        begun.fetch_add(1, SeqCst);
        if !concurrency.is_closed() {
            inside.store(true, Relaxed);
            inside.store(false, Relaxed);
        }
        begun.fetch_sub(1, SeqCst);
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
