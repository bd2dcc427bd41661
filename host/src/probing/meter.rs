//! Processor time of the minutes that are over. Measuring takes a while for each thread of a library, so it is not done under the
//! engine's lock nor by the lanes that ask: the rows wait here, and go on when they are measured, in the order in which they came.

use super::outbox::EventSink;
use super::target::Target;
use extman_model::record::{MinuteRow, Record};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::AcqRel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is to be written down, gathered under the engine's lock.
#[derive(Default)]
pub(super) struct Records {
    pub ready: Vec<Record>,
    unmeasured: Vec<Unmeasured>,
}

enum Unmeasured {
    /// A minute is over, in which this one ran in the end.
    Minute(Box<MinuteRow>, Option<Arc<dyn Target>>),
    /// This one is another one's from here on, or nobody's.
    Changed(Arc<str>, Arc<dyn Target>),
}

impl Records {
    pub(super) fn push(&mut self, record: Record) {
        self.ready.push(record);
    }

    /// A minute is over, and the processor time of `target` up to now is in it.
    pub(super) fn push_unmeasured(&mut self, row: MinuteRow, target: Option<Arc<dyn Target>>) {
        let row = Unmeasured::Minute(Box::new(row), target);
        self.unmeasured.push(row);
    }

    /// What `target` has used up to now is in the minute of `instance` that is under way.
    pub(super) fn push_change(&mut self, instance: Arc<str>, target: Arc<dyn Target>) {
        self.unmeasured.push(Unmeasured::Changed(instance, target));
    }
}

/// Measures, one after the other.
#[derive(Default)]
pub(super) struct Meter {
    waiting: Mutex<VecDeque<Unmeasured>>,
    /// Held by whoever measures.
    earlier: Mutex<Earlier>,
    /// Somebody has been told to measure and has not begun.
    called: AtomicBool,
}

/// What generations that are gone have used in the minute under way; `None` if it is not known.
type Earlier = HashMap<Arc<str>, Option<u64>>;

impl Meter {
    /// Takes over what is to be measured later. `true` if somebody is to be told to [`settle`](Self::settle) it.
    #[inline]
    pub(super) fn take(&self, records: &mut Records) -> bool {
        !records.unmeasured.is_empty() && {
            self.add(records);
            !self.called.swap(true, AcqRel)
        }
    }

    /// Measures what is to be measured, here and now.
    pub(super) fn settle_all(&self, records: &mut Records, sink: &dyn EventSink) {
        if !records.unmeasured.is_empty() {
            self.add(records);
            self.settle(sink);
        }
    }

    fn add(&self, records: &mut Records) {
        lock(&self.waiting).extend(records.unmeasured.drain(..));
    }

    /// Measures all that waits, and has it written down. When it comes back, what was taken over before is written down.
    pub(super) fn settle(&self, sink: &dyn EventSink) {
        let mut earlier = lock(&self.earlier);
        // Whoever comes with more from here on calls somebody again.
        self.called.swap(false, AcqRel);
        while let Some(next) = self.next() {
            if let Some(row) = measure(next, &mut earlier) {
                sink.record(&mut vec![Record::Minute(row)]);
            }
        }
    }

    fn next(&self) -> Option<Unmeasured> {
        lock(&self.waiting).pop_front()
    }
}

fn measure(next: Unmeasured, earlier: &mut Earlier) -> Option<Box<MinuteRow>> {
    match next {
        Unmeasured::Changed(instance, target) => {
            let used = target.take_cpu();
            let sum = earlier.entry(instance).or_insert(Some(0));
            *sum = sum.zip(used).map(|(sum, used)| sum.saturating_add(used));
            None
        }
        Unmeasured::Minute(mut row, target) => {
            // Taken in any case: what comes next is of the next minute.
            let used = target.map(|target| target.take_cpu());
            row.rollup.cpu_ns = match (earlier.remove(&row.instance), used) {
                (None, used) => used.flatten(),
                (Some(earlier), None) => earlier,
                (Some(earlier), Some(used)) => earlier.zip(used).map(|(a, b)| a.saturating_add(b)),
            };
            Some(row)
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
