//! A call that begins, is cancelled, ends; and who is at its output.

use crate::call_words::{CallState, Cancelled, OutputLock};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread;
use std::sync::Arc;

#[test]
fn call_that_is_cancelled_as_it_begins_runs_only_if_the_caller_is_told_so() {
    loom::model(|| {
        let call = Arc::new(CallState::new());
        call.open(1);
        let lane = thread::spawn({
            let call = call.clone();
            move || {
                let runs = call.begin(1);
                call.close(1);
                runs
            }
        });
        let was = call.cancel(1);
        let runs = lane.join().unwrap();
        match was {
            Cancelled::BeforeItBegan => assert!(!runs),
            Cancelled::Running => assert!(runs),
            Cancelled::Ended => assert!(runs, "it ended without having begun"),
        }
    });
}

#[test]
fn call_that_two_cancel_never_begins_after_either_was_told_so() {
    loom::model(|| {
        let call = Arc::new(CallState::new());
        call.open(1);
        let cancels = || {
            let call = call.clone();
            thread::spawn(move || call.cancel(1))
        };
        let (one, other) = (cancels(), cancels());
        let runs = call.begin(1);
        let was = [one.join().unwrap(), other.join().unwrap()];
        assert_eq!(runs, !was.contains(&Cancelled::BeforeItBegan));
        assert!(call.is_cancelled(1));
    });
}

#[test]
fn late_cancellation_reaches_no_later_call_of_the_same_slot() {
    loom::model(|| {
        let call = Arc::new(CallState::new());
        call.open(1);
        assert!(call.begin(1));
        let caller = thread::spawn({
            let call = call.clone();
            move || call.cancel(1)
        });
        call.close(1);
        call.open(3);
        let was = caller.join().unwrap();
        assert!(!call.is_cancelled(3), "it was {was:?}");
        assert!(call.begin(3));
    });
}

/// Writes under the token of `generation`. Whether it was taken.
fn write(lock: &OutputLock, output: &UnsafeCell<()>, written: &AtomicUsize, generation: u64) -> bool {
    let Some(_held) = lock.lock(generation) else {
        return false;
    };
    // The model fails where two are at it at once, or one does not see what the other has done.
    let _at_it = output.get_mut();
    written.store(written.load(Relaxed) + 1, Relaxed);
    true
}

#[test]
fn output_has_one_writer_at_a_time_and_none_after_the_end() {
    loom::model(|| {
        let shared = Arc::new((OutputLock::new(), UnsafeCell::new(()), AtomicUsize::new(0)));
        shared.0.open(1);
        let writer = thread::spawn({
            let shared = shared.clone();
            move || usize::from(write(&shared.0, &shared.1, &shared.2, 1))
        });
        let own = usize::from(write(&shared.0, &shared.1, &shared.2, 1));
        let at_the_end = {
            let mut held = shared.0.lock(1).expect("only the owner ends it");
            held.close();
            shared.2.load(Relaxed)
        };
        // The owner uses it alone between two calls, without the lock.
        drop(shared.1.get_mut());
        shared.0.open(3);
        assert!(write(&shared.0, &shared.1, &shared.2, 3));
        let taken = own + writer.join().unwrap();
        assert_eq!(at_the_end, taken);
        assert_eq!(shared.2.load(Relaxed), taken + 1);
    });
}

#[test]
fn call_that_was_handed_over_is_ended_by_one_of_two() {
    loom::model(|| {
        let shared = Arc::new((CallState::new(), OutputLock::new()));
        shared.0.open(1);
        assert!(shared.0.begin(1));
        shared.1.open(1);
        let ends = || {
            let shared = shared.clone();
            thread::spawn(move || {
                let Some(mut held) = shared.1.lock(1) else {
                    return false;
                };
                shared.0.close(held.generation());
                held.close();
                true
            })
        };
        let (completes, gives_up) = (ends(), ends());
        let ended = [completes.join().unwrap(), gives_up.join().unwrap()];
        assert_eq!(ended.iter().filter(|ended| **ended).count(), 1);
        assert_eq!(shared.0.cancel(1), Cancelled::Ended);
    });
}
