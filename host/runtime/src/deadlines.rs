//! Waking callers at their deadlines, all of them from one thread.
//!
//! Why not the async runtime's timers: nearly every call is answered long before its deadline, and a timer that is set and taken
//! back for each wakes the runtime's event loop each time, which costs more than the call. This thread sleeps until the earliest
//! deadline that it knew of; a later one need not wake it, and one that is taken back does not either.

use super::sync::{lock, start_vital};
use extman_model::clock::{self, Monotonic};
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, Once, PoisonError};
use std::task::{Context, Poll, Waker};

/// A moment that one caller waits for.
#[derive(Debug)]
pub(super) struct Deadline {
    at: Monotonic,
    /// Its place among those that are waited for, once it is there.
    place: Option<u64>,
}

impl Deadline {
    pub(super) fn new(at: Monotonic) -> Self {
        Deadline { at, place: None }
    }

    /// Ready once the moment has come; until then the task is woken when it does.
    ///
    /// # Errors
    /// No thread could be started to wake it.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<std::io::Result<()>> {
        if clock::has_come(self.at) {
            return Poll::Ready(Ok(()));
        }
        let mut waiting = lock(&WAITING);
        if !waiting.has_thread {
            if let Err(error) = start() {
                return Poll::Ready(Err(error));
            }
            waiting.has_thread = true;
        }
        let place = *self.place.get_or_insert_with(|| {
            waiting.places += 1;
            waiting.places
        });
        waiting.wakers.insert((self.at, place), context.waker().clone());
        if waiting.looks_at.is_none_or(|looks_at| self.at < looks_at) {
            waiting.looks_at = Some(self.at);
            EARLIER.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let waker = lock(&WAITING).wakers.remove(&(self.at, place));
            // Outside the lock: it may be the last thing that holds a task.
            drop(waker);
        }
    }
}

#[derive(Default)]
struct Waiting {
    wakers: BTreeMap<(Monotonic, u64), Waker>,
    places: u64,
    has_thread: bool,
    /// When the thread looks again; not later than the earliest of those that wait.
    looks_at: Option<Monotonic>,
}

static WAITING: Mutex<Waiting> = Mutex::new(Waiting {
    wakers: BTreeMap::new(),
    places: 0,
    has_thread: false,
    looks_at: None,
});
static EARLIER: Condvar = Condvar::new();

/// Starts the thread, if it does not run yet: before anything runs on a lane.
pub(super) fn make_ready() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut waiting = lock(&WAITING);
        // Where it fails it is tried again by whoever waits first, who is told.
        waiting.has_thread = start().is_ok();
    });
}

fn start() -> std::io::Result<()> {
    let begin = || {
        // Waking a task asks for this thread's place in the async runtime: it has one from here on.
        let _ = tokio::runtime::Handle::try_current();
        let _ = std::thread::current();
    };
    start_vital(
        "extman-deadlines",
        "the clock of deadlines",
        begin,
        wake_at_deadlines,
    )
}

fn wake_at_deadlines() {
    let mut waiting = lock(&WAITING);
    loop {
        let now = clock::monotonic();
        let mut due = Vec::new();
        while let Some(first) = waiting.wakers.first_entry()
            && first.key().0 <= now
        {
            due.push(first.remove());
        }
        if !due.is_empty() {
            drop(waiting);
            due.into_iter().for_each(Waker::wake);
            waiting = lock(&WAITING);
            continue;
        }
        waiting.looks_at = waiting.wakers.first_key_value().map(|((at, _), _)| *at);
        waiting = match waiting.looks_at {
            None => EARLIER.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            Some(at) => {
                EARLIER
                    .wait_timeout(waiting, at.since(now))
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    async fn reached(mut deadline: Deadline) {
        let reached = poll_fn(|context| deadline.poll(context));
        let generous = Duration::from_secs(120);
        tokio::time::timeout(generous, reached).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn each_is_woken_and_none_too_early() {
        let start = clock::monotonic();
        // The second is earlier than what the thread sleeps for by then, and the first does not matter to it.
        let far = tokio::spawn(reached(Deadline::new(start.after(Duration::from_secs(3600)))));
        for ahead in [40, 5, 0, 60].map(Duration::from_millis) {
            let at = clock::monotonic().after(ahead);
            reached(Deadline::new(at)).await;
            assert!(clock::monotonic() >= at);
        }
        assert!(!far.is_finished());
        far.abort();
        let _ = far.await;
        assert!(
            !lock(&WAITING)
                .wakers
                .keys()
                .any(|(at, _)| *at > start.after(Duration::from_secs(3000)))
        );
    }
}
