//! A call that is made in another one, while that is cancelled.

use crate::call_words::CallState;
use crate::stop::Stop;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, Ordering::SeqCst};
use loom::thread;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

fn waker() -> (Arc<Woken>, Waker) {
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    (woken.clone(), woken.into())
}

#[test]
fn wait_that_is_ended_as_it_begins_sees_so_or_is_woken() {
    loom::model(|| {
        let stop = Arc::new(Stop::new());
        let ends = thread::spawn({
            let stop = stop.clone();
            move || stop.set()
        });
        let (woken, waker) = waker();
        let sees = stop.poll(&Context::from_waker(&waker));
        ends.join().unwrap();
        assert!(sees || woken.0.load(SeqCst));
        assert!(stop.poll(&Context::from_waker(&waker)));
    });
}

/// As `loader/chain.rs` and `loader/outgoing.rs` have it: whoever cancels changes the outer call's word and then looks for what is under way in
/// it; whoever begins a call in it is listed first and then looks at the word.
#[test]
fn call_that_begins_in_one_that_is_cancelled_is_ended() {
    loom::model(|| {
        let outer = Arc::new(CallState::new());
        outer.open(1);
        assert!(outer.begin(1));
        let under_way: Arc<Mutex<Option<Arc<Stop>>>> = Arc::new(Mutex::new(None));
        let cancels = thread::spawn({
            let (outer, under_way) = (outer.clone(), under_way.clone());
            move || {
                outer.cancel(1);
                let found = under_way.lock().unwrap().clone();
                if let Some(stop) = found {
                    stop.set();
                }
            }
        });
        let stop = Arc::new(Stop::new());
        *under_way.lock().unwrap() = Some(stop.clone());
        if outer.is_cancelled(1) {
            stop.set();
        }
        cancels.join().unwrap();
        assert!(stop.is_set());
    });
}
