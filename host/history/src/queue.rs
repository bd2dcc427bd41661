//! What waits to be written. Whoever puts something in never waits for the disk: what finds no room is counted and lost.

use extman_model::clock;
use extman_model::history::Dropped;
use extman_model::record::Record;
use std::mem;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The bounded queue between the host and the thread that writes.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// For the writer: enough has come, or somebody waits.
    wake: Condvar,
    /// For those who wait for the writer's end.
    ended: Condvar,
    max: usize,
}

/// What the writer is to do.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) records: Vec<Record>,
    /// Those who wait until the records are written, and are told whether they were.
    pub(super) flushes: Vec<SyncSender<bool>>,
    pub(super) closing: bool,
}

#[derive(Debug, Default)]
struct Inner {
    work: Work,
    has_ended: bool,
    dropped: Dropped,
}

impl Queue {
    pub(super) fn new(max: usize) -> Self {
        Queue {
            inner: Mutex::default(),
            wake: Condvar::new(),
            ended: Condvar::new(),
            max,
        }
    }

    /// Whether there was room. The last quarter is for what is rare and matters most: results may fill half of it, minutes three quarters.
    pub(super) fn try_send(&self, record: Record) -> bool {
        let room = match record {
            Record::Check(_) => self.max / 2,
            Record::Minute(_) => self.max / 4 * 3,
            _ => self.max,
        };
        let mut inner = self.lock();
        let waiting = inner.work.records.len();
        if waiting >= room || inner.has_ended {
            count(&mut inner.dropped, &record);
            return false;
        }
        inner.work.records.push(record);
        if waiting + 1 == self.max / 4 {
            self.wake.notify_one();
        }
        true
    }

    /// Waits so long, or until a quarter is full or somebody wants it, and takes everything. With `hold`, records stay where they are.
    pub(super) fn take(&self, at_most: Duration, hold: bool) -> Work {
        let end = clock::monotonic().after(at_most);
        let mut inner = self.lock();
        loop {
            let (left, work) = (end.since(clock::monotonic()), &inner.work);
            let is_wanted = !work.flushes.is_empty() || work.closing;
            if is_wanted || left.is_zero() || (!hold && work.records.len() >= self.max / 4) {
                break;
            }
            (inner, _) = self
                .wake
                .wait_timeout(inner, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let work = &mut inner.work;
        Work {
            records: if hold {
                Vec::new()
            } else {
                mem::take(&mut work.records)
            },
            flushes: mem::take(&mut work.flushes),
            closing: work.closing,
        }
    }

    /// The writer has ended: nothing is taken any more. What still waits, or is given back unwritten, is lost.
    pub(super) fn end(&self, unwritten: &[Record]) {
        let mut inner = self.lock();
        inner.has_ended = true;
        let work = mem::take(&mut inner.work);
        for record in work.records.iter().chain(unwritten) {
            count(&mut inner.dropped, record);
        }
        self.ended.notify_all();
    }

    /// Has everything written that waits now; whether it was, in time.
    pub(super) fn flush(&self, budget: Duration) -> bool {
        let (sender, done) = sync_channel(1);
        let mut inner = self.lock();
        if inner.has_ended {
            return false;
        }
        inner.work.flushes.push(sender);
        drop(inner);
        self.wake.notify_one();
        done.recv_timeout(budget).unwrap_or(false)
    }

    /// Tells the writer to end; whether it did, in time.
    pub(super) fn close(&self, budget: Duration) -> bool {
        let mut inner = self.lock();
        inner.work.closing = true;
        self.wake.notify_one();
        let waited = self
            .ended
            .wait_timeout_while(inner, budget, |inner| !inner.has_ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.has_ended
    }

    pub(super) fn dropped(&self) -> Dropped {
        self.lock().dropped
    }

    pub(super) fn len(&self) -> usize {
        self.lock().work.records.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(dropped: &mut Dropped, record: &Record) {
    *match record {
        Record::Transition(_) | Record::ClockStep(_) => &mut dropped.transitions,
        Record::Check(_) => &mut dropped.results,
        Record::Minute(_) => &mut dropped.minutes,
        Record::Release(_) => &mut dropped.releases,
        Record::KeyValue(_) => &mut dropped.key_values,
    } += 1;
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
        assert!(!queue.flush(Duration::from_secs(60)) && queue.close(Duration::from_secs(60)));
        assert_eq!(queue.dropped().transitions, 3);
    }
}
