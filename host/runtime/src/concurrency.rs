//! Who may be inside one instance, and who is: a limit on calls at a time, the threads that are in its plugin's code, and its closing.
//!
//! All of it is one word, so that a call is refused by whoever closes or frees the instance, or is seen by them.

use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use crate::sync::{Condvar, Mutex, wait_while};
use std::ops::Deref;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How many calls may be inside an instance at a time, and who is.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    limit: u64,
    /// Three counts, and `CLOSED`, `SEALED` and `FREED`.
    word: AtomicU64,
    waiting: AtomicUsize,
    /// Whether a job was passed over since the last look.
    wanted: AtomicBool,
    lock: Mutex<()>,
    left: Condvar,
}

/// The right to one of the places; leaving is dropping it.
#[derive(Debug)]
pub struct Permit<G: Deref<Target = ConcurrencyLimit> = Arc<ConcurrencyLimit>> {
    concurrency: G,
    /// What it added to the word; 0 once it has left.
    place: u64,
}

/// A thread is in the plugin's code until this is dropped.
#[derive(Debug)]
pub(crate) struct Inside<'a>(&'a ConcurrencyLimit);

/// Places that are taken.
const PLACES: u64 = (1 << 20) - 1;
const ONE_PLACE: u64 = 1;
/// Threads in the plugin's code: calls, checks and lifecycle steps. There are no more than calls have tokens.
const THREADS: u64 = ((1 << 21) - 1) << THREADS_AT;
const THREADS_AT: u32 = 20;
const ONE_THREAD: u64 = 1 << THREADS_AT;
/// Those of the places that nobody else counts.
const UNCOUNTED: u64 = ((1 << 20) - 1) << UNCOUNTED_AT;
const UNCOUNTED_AT: u32 = 41;
/// A call on its own thread: it has a place, is in the plugin's code, and is in no other account.
const ONE_ATTACHED: u64 = ONE_PLACE | ONE_THREAD | 1 << UNCOUNTED_AT;
/// No more calls are let in that no other account tells of.
const CLOSED: u64 = 1 << 61;
/// No more calls and checks are let in.
const SEALED: u64 = 1 << 62;
/// Nothing is let in: the instance is gone.
const FREED: u64 = 1 << 63;

impl ConcurrencyLimit {
    /// A limit of this many at a time, at least one.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(ConcurrencyLimit {
            limit: (limit.max(1) as u64).min(PLACES),
            word: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            wanted: AtomicBool::new(false),
            lock: Mutex::new(()),
            left: Condvar::new(),
        })
    }

    /// Takes a place if there is one.
    pub fn try_enter(self: &Arc<Self>) -> Option<Permit> {
        self.take(ONE_PLACE, 0).then(|| Permit {
            concurrency: self.clone(),
            place: ONE_PLACE,
        })
    }

    /// Takes a place if there is one and nobody has closed, for a call on the caller's own thread that enters the plugin's code at once and
    /// is in no other account: [`uncounted`](Self::uncounted) tells of it.
    #[inline]
    pub fn try_enter_attached(&self) -> Option<Permit<&ConcurrencyLimit>> {
        self.take(ONE_ATTACHED, CLOSED | SEALED | FREED).then(|| Permit {
            concurrency: self,
            place: ONE_ATTACHED,
        })
    }

    /// Takes a place if there is one; else whoever leaves without asking for the next job learns that one waits.
    pub(crate) fn try_enter_or_wait_outside(self: &Arc<Self>) -> Option<Permit> {
        self.try_enter().or_else(|| {
            self.wanted.store(true, SeqCst);
            // Again: the last one may have left between the look and the note.
            self.try_enter()
        })
    }

    /// Takes a place once there is one, or gives up. For threads of an embedder; lanes never wait here.
    pub fn enter_within(&self, patience: Duration) -> Option<Permit<&ConcurrencyLimit>> {
        let permit = || Permit {
            concurrency: self,
            place: ONE_PLACE,
        };
        if self.take(ONE_PLACE, 0) {
            return Some(permit());
        }
        // Before the next look at the place: who leaves either sees this or has left before that look.
        self.waiting.fetch_add(1, SeqCst);
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = false;
        let no_room = |(): &mut ()| {
            taken = self.take(ONE_PLACE, 0);
            !taken
        };
        drop(wait_while(&self.left, guard, patience, no_room));
        self.waiting.fetch_sub(1, SeqCst);
        taken.then(permit)
    }

    #[inline]
    fn take(&self, place: u64, barred: u64) -> bool {
        let room = |now: u64| {
            let enters = now & PLACES < self.limit && now & barred == 0;
            enters.then_some(now + place)
        };
        self.word.fetch_update(SeqCst, SeqCst, room).is_ok()
    }

    #[inline]
    fn give_back(&self, place: u64) {
        self.word.fetch_sub(place, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            // Under the lock, or a waiter between its look and its sleep would miss it.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.left.notify_one();
        }
    }

    /// How many places are taken.
    pub fn taken(&self) -> usize {
        (self.word.load(Acquire) & PLACES) as usize
    }

    /// How many of them are in no other account.
    pub fn uncounted(&self) -> usize {
        ((self.word.load(SeqCst) & UNCOUNTED) >> UNCOUNTED_AT) as usize
    }

    /// Lets no call in any more that no other account tells of; whoever has another account asks [`is_closed`](Self::is_closed) once it is
    /// in that.
    pub fn close(&self) {
        self.word.fetch_or(CLOSED, SeqCst);
    }

    /// Whether somebody has closed.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.word.load(SeqCst) & CLOSED != 0
    }

    /// A call or a check enters the plugin's code. `None` once it is sealed.
    #[inline]
    pub(crate) fn enter(&self) -> Option<Inside<'_>> {
        self.enter_unless(SEALED | FREED)
    }

    /// A lifecycle step enters the plugin's code. `None` once it is freed.
    pub(crate) fn enter_step(&self) -> Option<Inside<'_>> {
        self.enter_unless(FREED)
    }

    #[inline]
    fn enter_unless(&self, barred: u64) -> Option<Inside<'_>> {
        let before = self.word.fetch_add(ONE_THREAD, AcqRel);
        // Dropped at once if it is barred.
        let inside = Inside(self);
        (before & barred == 0).then_some(inside)
    }

    /// Threads that are in the plugin's code.
    pub(crate) fn inside(&self) -> usize {
        threads(self.word.load(Acquire))
    }

    /// Lets no more calls and checks in; lifecycle steps still are.
    pub(crate) fn seal(&self) {
        self.word.fetch_or(SEALED, AcqRel);
    }

    /// Lets nothing in any more, if nobody is inside. Whether it was this call that did so.
    ///
    /// # Errors
    /// So many threads are inside.
    pub(crate) fn free(&self) -> Result<bool, usize> {
        let freed = self.word.fetch_update(AcqRel, Acquire, |now| {
            (now & THREADS == 0 && now & FREED == 0).then_some(now | FREED)
        });
        match freed {
            Ok(_) => Ok(true),
            Err(now) if now & FREED != 0 => Ok(false),
            Err(now) => Err(threads(now)),
        }
    }

    /// How many places there are.
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

impl Permit<&ConcurrencyLimit> {
    /// Whether it holds its call inside the instance of this limit.
    #[inline]
    pub(crate) fn is_inside(&self, of: &ConcurrencyLimit) -> bool {
        self.place == ONE_ATTACHED && std::ptr::eq(self.concurrency, of)
    }
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.word.fetch_sub(ONE_THREAD, AcqRel);
    }
}

fn threads(word: u64) -> usize {
    ((word & THREADS) >> THREADS_AT) as usize
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
            concurrency.try_enter_attached().unwrap(),
        );
        assert_eq!((concurrency.taken(), concurrency.uncounted()), (2, 1));
        assert!(concurrency.try_enter_attached().is_none());
        drop(counted);
        assert_eq!((concurrency.taken(), concurrency.uncounted()), (1, 1));
        assert!(!uncounted.leave());
        assert_eq!((concurrency.taken(), concurrency.uncounted()), (0, 0));
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
        assert_eq!(concurrency.taken(), 0);
    }

    #[test]
    fn instance_is_freed_once_nobody_is_inside_and_lets_nothing_in_then() {
        let concurrency = ConcurrencyLimit::new(2);
        let (attached, step) = (concurrency.try_enter_attached(), concurrency.enter_step());
        assert_eq!((concurrency.inside(), concurrency.free()), (2, Err(2)));
        drop(attached);
        concurrency.seal();
        assert!(concurrency.try_enter_attached().is_none() && concurrency.enter().is_none());
        assert!(concurrency.enter_step().is_some());
        assert_eq!(concurrency.free(), Err(1));
        drop(step);
        assert_eq!((concurrency.free(), concurrency.free()), (Ok(true), Ok(false)));
        assert!(concurrency.enter_step().is_none());
        assert_eq!(concurrency.inside(), 0);
    }
}
