//! How many calls may be inside one instance at a time.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A counting gate.
#[derive(Debug)]
pub struct Gate {
    limit: usize,
    inside: AtomicUsize,
    waiting: AtomicUsize,
    /// Whether a job was passed over since the last look.
    wanted: AtomicBool,
    lock: Mutex<()>,
    left: Condvar,
}

/// The right to be inside; leaving is dropping it.
#[derive(Debug)]
pub struct Pass<G: Deref<Target = Gate> = Arc<Gate>> {
    gate: G,
    inside: bool,
}

impl Gate {
    /// A gate for this many at a time, at least one.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Gate {
            limit: limit.max(1),
            inside: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            wanted: AtomicBool::new(false),
            lock: Mutex::new(()),
            left: Condvar::new(),
        })
    }

    /// Enters if there is room.
    pub fn try_enter(self: &Arc<Self>) -> Option<Pass> {
        self.take_place().then(|| Pass {
            gate: self.clone(),
            inside: true,
        })
    }

    /// Enters if there is room; else whoever leaves without asking for the next job learns that one waits.
    pub(super) fn try_enter_or_wait_outside(self: &Arc<Self>) -> Option<Pass> {
        self.try_enter().or_else(|| {
            self.wanted.store(true, SeqCst);
            // Again: the last one may have left between the look and the note.
            self.try_enter()
        })
    }

    /// Enters once there is room, or gives up. For threads of an embedder; lanes never wait here.
    pub fn enter_within(&self, patience: Duration) -> Option<Pass<&Gate>> {
        (self.take_place() || self.wait_for_place(patience)).then_some(Pass {
            gate: self,
            inside: true,
        })
    }

    #[cold]
    fn wait_for_place(&self, patience: Duration) -> bool {
        // Before the next look at the place: who leaves either sees this or has left before that look.
        self.waiting.fetch_add(1, SeqCst);
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = false;
        let no_room = |(): &mut ()| {
            taken = self.take_place();
            !taken
        };
        let waited = self.left.wait_timeout_while(guard, patience, no_room);
        drop(waited);
        self.waiting.fetch_sub(1, SeqCst);
        taken
    }

    fn take_place(&self) -> bool {
        let room = |inside: usize| (inside < self.limit).then_some(inside + 1);
        self.inside.fetch_update(SeqCst, SeqCst, room).is_ok()
    }

    fn give_place_back(&self) {
        self.inside.fetch_sub(1, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            // Under the lock, or a waiter between its look and its sleep would miss it.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.left.notify_one();
        }
    }

    /// How many are inside.
    pub fn inside(&self) -> usize {
        self.inside.load(Acquire)
    }

    /// How many may be.
    pub fn limit(&self) -> usize {
        self.limit
    }
}

impl<G: Deref<Target = Gate>> Pass<G> {
    /// Leaves, and says whether a job was passed over for want of room. Who is not a lane, and so does not look for the next
    /// job itself, then nudges the pool.
    pub fn leave(mut self) -> bool {
        self.gate.give_place_back();
        self.inside = false;
        self.gate.wanted.load(SeqCst) && self.gate.wanted.swap(false, SeqCst)
    }
}

impl<G: Deref<Target = Gate>> Drop for Pass<G> {
    fn drop(&mut self) {
        if self.inside {
            self.gate.give_place_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_in_as_many_as_the_limit() {
        let gate = Gate::new(2);
        let (a, _b) = (gate.try_enter().unwrap(), gate.try_enter().unwrap());
        assert!(gate.try_enter().is_none());
        assert!(gate.enter_within(Duration::from_millis(1)).is_none());
        drop(a);
        assert!(gate.try_enter().is_some());
    }

    #[test]
    fn leaving_tells_of_a_job_that_was_passed_over() {
        let gate = Gate::new(1);
        assert!(!gate.try_enter().unwrap().leave());
        let pass = gate.try_enter().unwrap();
        assert!(gate.try_enter_or_wait_outside().is_none());
        assert!(pass.leave());
        assert!(!gate.try_enter().unwrap().leave());
    }

    #[test]
    fn a_waiter_enters_when_one_leaves() {
        let gate = Gate::new(1);
        let pass = gate.try_enter().unwrap();
        let waiter = std::thread::spawn({
            let gate = gate.clone();
            move || gate.enter_within(Duration::from_secs(60)).is_some()
        });
        drop(pass);
        assert!(waiter.join().unwrap());
        assert_eq!(gate.inside(), 0);
    }
}
