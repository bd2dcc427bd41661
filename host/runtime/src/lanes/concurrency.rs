//! How many calls may be inside one instance at a time.

use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use crate::sync::{Condvar, Mutex, wait_while};
use std::ops::Deref;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How many may be inside at a time, and how many are.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    limit: u64,
    /// How many are inside; in the upper half, how many of these only this counts; and `CLOSED`. One word: a call that only this counts is
    /// refused by whoever closes, or seen.
    inside: AtomicU64,
    waiting: AtomicUsize,
    /// Whether a job was passed over since the last look.
    wanted: AtomicBool,
    lock: Mutex<()>,
    left: Condvar,
}

/// The right to be inside; leaving is dropping it.
#[derive(Debug)]
pub struct Permit<G: Deref<Target = ConcurrencyLimit> = Arc<ConcurrencyLimit>> {
    concurrency: G,
    /// What it added to the word of the limit; 0 once it has left.
    place: u64,
}

const ONE: u64 = 1;
const ONE_UNCOUNTED: u64 = 1 << 32 | ONE;
const COUNT: u64 = u32::MAX as u64;
const CLOSED: u64 = 1 << 63;

impl ConcurrencyLimit {
    /// A limit of this many at a time, at least one.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(ConcurrencyLimit {
            limit: (limit.max(1) as u64).min(COUNT),
            inside: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            wanted: AtomicBool::new(false),
            lock: Mutex::new(()),
            left: Condvar::new(),
        })
    }

    /// Enters if there is room.
    pub fn try_enter(self: &Arc<Self>) -> Option<Permit> {
        self.take(ONE, 0).then(|| Permit {
            concurrency: self.clone(),
            place: ONE,
        })
    }

    /// Enters if there is room and nobody has closed, for a call that is counted nowhere but here: [`uncounted`](Self::uncounted) has it.
    #[inline]
    pub fn try_enter_uncounted(&self) -> Option<Permit<&ConcurrencyLimit>> {
        self.take(ONE_UNCOUNTED, CLOSED).then(|| Permit {
            concurrency: self,
            place: ONE_UNCOUNTED,
        })
    }

    /// Enters if there is room; else whoever leaves without asking for the next job learns that one waits.
    pub(super) fn try_enter_or_wait_outside(self: &Arc<Self>) -> Option<Permit> {
        self.try_enter().or_else(|| {
            self.wanted.store(true, SeqCst);
            // Again: the last one may have left between the look and the note.
            self.try_enter()
        })
    }

    /// Enters once there is room, or gives up. For threads of an embedder; lanes never wait here.
    pub fn enter_within(&self, patience: Duration) -> Option<Permit<&ConcurrencyLimit>> {
        let permit = || Permit {
            concurrency: self,
            place: ONE,
        };
        if self.take(ONE, 0) {
            return Some(permit());
        }
        // Before the next look at the place: who leaves either sees this or has left before that look.
        self.waiting.fetch_add(1, SeqCst);
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = false;
        let no_room = |(): &mut ()| {
            taken = self.take(ONE, 0);
            !taken
        };
        drop(wait_while(&self.left, guard, patience, no_room));
        self.waiting.fetch_sub(1, SeqCst);
        taken.then(permit)
    }

    #[inline]
    fn take(&self, place: u64, barred: u64) -> bool {
        let room = |inside: u64| {
            let enters = inside & COUNT < self.limit && inside & barred == 0;
            enters.then_some(inside + place)
        };
        self.inside.fetch_update(SeqCst, SeqCst, room).is_ok()
    }

    #[inline]
    fn give_back(&self, place: u64) {
        self.inside.fetch_sub(place, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            // Under the lock, or a waiter between its look and its sleep would miss it.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.left.notify_one();
        }
    }

    /// How many are inside.
    pub fn inside(&self) -> usize {
        (self.inside.load(Acquire) & COUNT) as usize
    }

    /// How many of them are counted nowhere but here.
    pub fn uncounted(&self) -> usize {
        ((self.inside.load(SeqCst) & !CLOSED) >> 32) as usize
    }

    /// Lets no call in any more that is counted nowhere but here. A call that the instance counts itself asks
    /// [`is_closed`](Self::is_closed) once that is done.
    pub fn close(&self) {
        self.inside.fetch_or(CLOSED, SeqCst);
    }

    /// Undoes [`close`](Self::close).
    pub fn reopen(&self) {
        self.inside.fetch_and(!CLOSED, SeqCst);
    }

    /// Whether somebody has closed.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.inside.load(SeqCst) & CLOSED != 0
    }

    /// How many may be.
    pub fn limit(&self) -> usize {
        self.limit as usize
    }
}

impl<G: Deref<Target = ConcurrencyLimit>> Permit<G> {
    /// Leaves, and says whether a job was passed over for want of room. Who is not a lane, and so does not look for the next
    /// job itself, then nudges the pool.
    #[inline]
    pub fn leave(mut self) -> bool {
        self.concurrency.give_back(std::mem::take(&mut self.place));
        self.concurrency.wanted.load(SeqCst) && self.concurrency.wanted.swap(false, SeqCst)
    }
}

impl<G: Deref<Target = ConcurrencyLimit>> Drop for Permit<G> {
    fn drop(&mut self) {
        if self.place != 0 {
            self.concurrency.give_back(self.place);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn lets_in_as_many_as_the_limit() {
        let concurrency = ConcurrencyLimit::new(2);
        let (a, _b) = (concurrency.try_enter().unwrap(), concurrency.try_enter().unwrap());
        assert!(concurrency.try_enter().is_none());
        assert!(concurrency.enter_within(Duration::from_millis(1)).is_none());
        drop(a);
        assert!(concurrency.try_enter().is_some());
    }

    #[test]
    fn who_is_in_no_other_account_is_told_apart_and_takes_a_place_all_the_same() {
        let concurrency = ConcurrencyLimit::new(2);
        let (counted, uncounted) = (
            concurrency.try_enter().unwrap(),
            concurrency.try_enter_uncounted().unwrap(),
        );
        assert_eq!((concurrency.inside(), concurrency.uncounted()), (2, 1));
        assert!(concurrency.try_enter_uncounted().is_none());
        drop(counted);
        assert_eq!((concurrency.inside(), concurrency.uncounted()), (1, 1));
        assert!(!uncounted.leave());
        assert_eq!((concurrency.inside(), concurrency.uncounted()), (0, 0));
    }

    #[test]
    fn leaving_tells_of_a_job_that_was_passed_over() {
        let concurrency = ConcurrencyLimit::new(1);
        assert!(!concurrency.try_enter().unwrap().leave());
        let permit = concurrency.try_enter().unwrap();
        assert!(concurrency.try_enter_or_wait_outside().is_none());
        assert!(permit.leave());
        assert!(!concurrency.try_enter().unwrap().leave());
    }

    #[test]
    fn a_waiter_enters_when_one_leaves() {
        let concurrency = ConcurrencyLimit::new(1);
        let permit = concurrency.try_enter().unwrap();
        let waiter = std::thread::spawn({
            let concurrency = concurrency.clone();
            move || concurrency.enter_within(Duration::from_secs(60)).is_some()
        });
        drop(permit);
        assert!(waiter.join().unwrap());
        assert_eq!(concurrency.inside(), 0);
    }
}
