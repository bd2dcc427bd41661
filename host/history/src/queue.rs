//! What waits to be written. Whoever puts something in never waits for the disk: what finds no room is counted and lost.

use extman_model::clock;
use extman_model::history::Dropped;
use extman_model::record::Record;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The bounded queue between the host and the thread that writes.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// For the writer: enough has come, or somebody waits.
    wake: Condvar,
    /// For those who wait until all is written.
    settled: Condvar,
    max: usize,
    /// By kind: transitions and steps of the clock, results of checks, minutes, releases, values.
    dropped: [AtomicU64; 5],
}

#[derive(Debug, Default)]
struct Inner {
    records: Vec<Record>,
    /// Flushes asked for, done, and the last one that wrote everything.
    asked: u64,
    done: u64,
    good: u64,
    closing: bool,
    ended: bool,
}

/// What the writer is to do.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) records: Vec<Record>,
    /// The last flush that was asked for before.
    pub(super) flush: u64,
    /// Somebody waits for it.
    pub(super) urgent: bool,
    pub(super) closing: bool,
}

impl Queue {
    pub(super) fn new(max: usize) -> Self {
        Queue {
            inner: Mutex::default(),
            wake: Condvar::new(),
            settled: Condvar::new(),
            max,
            dropped: Default::default(),
        }
    }

    /// Whether there was room. The last quarter is for what is rare and matters most: results may fill half of it, minutes three quarters.
    pub(super) fn try_send(&self, record: Record) -> bool {
        let kind = kind(&record);
        let room = match record {
            Record::Check(_) => self.max / 2,
            Record::Minute(_) => self.max / 4 * 3,
            _ => self.max,
        };
        let mut inner = self.lock();
        if inner.records.len() >= room || inner.ended {
            self.dropped[kind].fetch_add(1, Ordering::Relaxed);
            return false;
        }
        inner.records.push(record);
        if inner.records.len() == self.max / 4 {
            self.wake.notify_one();
        }
        true
    }

    /// Waits so long, or until a quarter is full or somebody wants it, and takes everything. With `hold`, what waits stays where it
    /// is.
    pub(super) fn take(&self, at_most: Duration, hold: bool) -> Work {
        let end = clock::monotonic().after(at_most);
        let mut inner = self.lock();
        loop {
            let left = end.since(clock::monotonic());
            let wanted = inner.asked > inner.done || inner.closing;
            if wanted || left.is_zero() || (!hold && inner.records.len() >= self.max / 4) {
                break;
            }
            (inner, _) = self
                .wake
                .wait_timeout(inner, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Work {
            records: if hold {
                Vec::new()
            } else {
                mem::take(&mut inner.records)
            },
            flush: inner.asked,
            urgent: inner.asked > inner.done || inner.closing,
            closing: inner.closing,
        }
    }

    /// The flushes up to this one are done; whether all was written.
    pub(super) fn done(&self, flush: u64, good: bool) {
        let mut inner = self.lock();
        inner.done = flush;
        if good {
            inner.good = flush;
        }
        self.settled.notify_all();
    }

    /// The writer has ended: nothing is taken any more. What still waits is lost.
    pub(super) fn end(&self, unwritten: &[Record]) {
        let mut inner = self.lock();
        inner.ended = true;
        inner.done = inner.asked;
        let left = mem::take(&mut inner.records);
        drop(inner);
        self.count_dropped(left.iter().chain(unwritten));
        self.settled.notify_all();
    }

    /// Has everything written that waits now; whether it was, in time.
    pub(super) fn flush(&self, budget: Duration) -> bool {
        let mut inner = self.lock();
        inner.asked += 1;
        let mine = inner.asked;
        self.wake.notify_one();
        inner = self.wait(inner, budget, |inner| inner.done >= mine || inner.ended);
        inner.good >= mine
    }

    /// Tells the writer to end.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_one();
    }

    /// Waits until the writer has ended; whether it did, in time.
    pub(super) fn wait_ended(&self, budget: Duration) -> bool {
        self.wait(self.lock(), budget, |inner| inner.ended).ended
    }

    pub(super) fn count_dropped<'a>(&self, records: impl Iterator<Item = &'a Record>) {
        for record in records {
            self.dropped[kind(record)].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn dropped(&self) -> Dropped {
        let [transitions, results, minutes, releases, key_values] =
            [0, 1, 2, 3, 4].map(|kind| self.dropped[kind].load(Ordering::Relaxed));
        Dropped {
            transitions,
            results,
            minutes,
            releases,
            key_values,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().records.len()
    }

    fn wait<'a>(
        &self,
        inner: MutexGuard<'a, Inner>,
        budget: Duration,
        until: impl Fn(&Inner) -> bool,
    ) -> MutexGuard<'a, Inner> {
        self.settled
            .wait_timeout_while(inner, budget, |inner| !until(inner))
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kind(record: &Record) -> usize {
    match record {
        Record::Transition(_) | Record::ClockStep(_) => 0,
        Record::Check(_) => 1,
        Record::Minute(_) => 2,
        Record::Release(_) => 3,
        Record::KeyValue(_) => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{failed, minute, transition};

    #[test]
    fn what_matters_most_has_room_when_the_rest_has_none() {
        let queue = Queue::new(16);
        let sent = |record: fn(u64) -> Record| (0..40).filter(|at| queue.try_send(record(*at))).count();
        assert_eq!(sent(|at| Record::Check(Box::new(failed("a", at)))), 8);
        assert_eq!(sent(|at| Record::Minute(Box::new(minute("a", at, 1)))), 4);
        assert_eq!(sent(|at| Record::Transition(transition("a", at, None))), 4);
        let dropped = queue.dropped();
        assert_eq!(
            (dropped.results, dropped.minutes, dropped.transitions),
            (32, 36, 36)
        );
        assert_eq!((dropped.total(), queue.len()), (104, 16));
        assert_eq!(queue.take(Duration::ZERO, false).records.len(), 16);
        assert!(queue.try_send(Record::Check(Box::new(failed("a", 1)))));
    }

    #[test]
    fn after_the_end_nobody_waits_and_everything_is_counted() {
        let queue = Queue::new(16);
        assert!(queue.try_send(Record::Transition(transition("a", 1, None))));
        queue.end(&[Record::Transition(transition("b", 1, None))]);
        assert!(!queue.try_send(Record::Transition(transition("a", 1, None))));
        assert!(!queue.flush(Duration::from_secs(60)) && queue.wait_ended(Duration::from_secs(60)));
        assert_eq!(queue.dropped().transitions, 3);
    }
}
