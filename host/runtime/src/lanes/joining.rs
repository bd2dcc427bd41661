//! Waiting for one thread's end, from as many threads as want to know of it.

use crate::loader;
use crate::sync::{lock, wait_while};
use extman_model::clock;
use std::sync::{Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A thread that is waited for. Its handle is one waiter's at a time: the others must not take that for its end.
#[derive(Debug, Default)]
pub(super) struct Joining {
    thread: Mutex<Thread>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum Thread {
    /// There is none: it is gone, or has not been made.
    #[default]
    Gone,
    Runs(JoinHandle<()>),
    /// Somebody waits for it.
    Awaited,
}

impl Joining {
    /// This is the thread.
    pub(super) fn begin(&self, thread: JoinHandle<()>) {
        *lock(&self.thread) = Thread::Runs(thread);
    }

    /// Waits until the thread is gone, its thread-local destructors included. `false` if it is not within `patience`.
    pub(super) fn join_within(&self, patience: Duration) -> bool {
        let give_up = clock::monotonic().after(patience);
        let others = |thread: &mut Thread| matches!(thread, Thread::Awaited);
        let mut now = wait_while(&self.changed, lock(&self.thread), patience, others);
        let thread = match std::mem::replace(&mut *now, Thread::Awaited) {
            Thread::Runs(thread) => thread,
            Thread::Awaited => return false,
            Thread::Gone => {
                *now = Thread::Gone;
                return true;
            }
        };
        drop(now);
        let joined = loader::join_within(thread, give_up.since(clock::monotonic()));
        let gone = joined.is_ok();
        *lock(&self.thread) = joined.err().map_or(Thread::Gone, Thread::Runs);
        self.changed.notify_all();
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_thread_that_somebody_waits_for_is_not_gone() {
        let joining = Arc::new(Joining::default());
        assert!(joining.join_within(Duration::ZERO), "there is none yet");
        let (release, held) = channel::<()>();
        joining.begin(std::thread::spawn(move || {
            let _ = held.recv();
        }));
        let first = std::thread::spawn({
            let joining = joining.clone();
            move || joining.join_within(LONG)
        });
        while !matches!(&*lock(&joining.thread), Thread::Awaited) {
            std::thread::yield_now();
        }
        assert!(!joining.join_within(Duration::ZERO), "it runs");
        drop(release);
        assert!(joining.join_within(LONG));
        assert!(first.join().unwrap());
    }
}
