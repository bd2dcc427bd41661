//! What the host counts of an instance's calls.

use super::call_totals::Sums;
use super::in_process::RunningChecks;
use crate::lanes::{Attached, CallCounter, ConcurrencyLimit};
use crate::sync::lock;
use extman_model::latency::{LatencyHistogram, Recorder};
use extman_model::{CallError, CallStats, ErrorKind};
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

/// Counters, one set an instance.
#[derive(Debug)]
pub struct CallMetrics {
    number: u64,
    /// Calls that began, but for those that were abandoned.
    begun: AtomicU64,
    ended: AtomicU64,
    on_lanes: CallCounter,
    /// Failures that count against the plugin, and how many of them came last without a success between.
    blamed: AtomicU64,
    failed_run: AtomicU32,
    /// Failures that say nothing of the plugin.
    excused: AtomicU64,
    failure_watch: OnceLock<FailureWatch>,
    /// The check under way, and the deep one. Beside what each check reads: they are at hand together.
    pub(super) checks: RunningChecks,
    /// In the order of [`ErrorKind::ALL`]; made at the first failure, which most instances of thousands never have.
    errors: OnceLock<Box<[AtomicU64; ErrorKind::ALL.len()]>>,
    /// Place in [`ErrorKind::ALL`] of the last failure that counts against the plugin; beyond its end before there is one.
    last_failure: AtomicUsize,
    latency: Recorder,
    concurrency: Arc<ConcurrencyLimit>,
    /// Made when an attached thread first calls: before, nobody need look at what they counted.
    attached: OnceLock<Box<Mutex<AttachedCounters>>>,
}

/// Attached threads count for themselves: a call on one costs little more than what its counting would.
#[derive(Debug, Default)]
struct AttachedCounters {
    of_threads: Vec<Arc<CallCounter>>,
    /// Of threads that are no longer attached.
    of_gone: CallCounter,
}

/// How many calls there were, for whoever judges by them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Calls whose caller was answered.
    pub ended: u64,
    /// Those of them that failed and count against the plugin.
    pub blamed: u64,
    /// Those of them that failed and say nothing of the plugin: the caller's mistake, cancelled, what another plugin met that this one had
    /// called, or time that the host's queue, a slow reader or another plugin took.
    pub excused: u64,
    /// Calls whose code came back.
    pub returned: u64,
    /// The last calls that count against the plugin, in a row without a success.
    pub failed_run: u32,
}

/// Hears that calls have failed that count against their plugin, and looks at the counts then. Called where the call ends, so it must not wait.
pub trait FailedCalls: Send + Sync {
    /// A call of the instance of this number has failed.
    fn failed(&self, number: u32);
}

/// Who hears of failed calls: of one, until it has looked.
struct FailureWatch {
    sink: Weak<dyn FailedCalls>,
    number: u32,
    is_noted: AtomicBool,
}

impl std::fmt::Debug for FailureWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FailureWatch")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// A call under way. Dropped without an end it was never answered: it does not count if it was not let in, and was cancelled otherwise. That
/// the plugin is told is the work of `PendingCall`.
pub struct InFlightGuard<'a> {
    metrics: &'a CallMetrics,
    is_let_in: bool,
}

impl CallMetrics {
    /// The metrics of an instance whose calls go through this limit.
    pub fn new(concurrency: Arc<ConcurrencyLimit>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        CallMetrics {
            number: NEXT.fetch_add(1, Relaxed),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            on_lanes: CallCounter::default(),
            blamed: AtomicU64::new(0),
            failed_run: AtomicU32::new(0),
            excused: AtomicU64::new(0),
            failure_watch: OnceLock::new(),
            checks: RunningChecks::default(),
            errors: OnceLock::new(),
            last_failure: AtomicUsize::new(usize::MAX),
            latency: Recorder::default(),
            concurrency,
            attached: OnceLock::new(),
        }
    }

    /// A call begins that goes to a lane, or that waits at the limit.
    pub fn begin(&self) -> InFlightGuard<'_> {
        self.begun.fetch_add(1, SeqCst);
        InFlightGuard {
            metrics: self,
            is_let_in: false,
        }
    }

    /// The plugin's code came back to a lane after `ran`, whether or not somebody still waits for it.
    pub fn returned(&self, ran: Duration) {
        // In this order: whoever sees the call counted finds how long it ran.
        self.latency.record(ran);
        self.on_lanes.add(ran);
    }

    /// A call on an attached thread ended; its code ran for `ran`. A failure says nothing of the plugin if it `is_excused`.
    #[inline]
    pub fn ended_attached(
        &self,
        attached: &Attached,
        failure: Option<&CallError>,
        is_excused: bool,
        ran: Duration,
    ) {
        let is_blamed = self.count(failure, is_excused);
        self.latency.record(ran);
        attached
            .counter(self.number, || self.new_counter())
            .add_alone(ran);
        if is_blamed {
            self.note_failure();
        }
    }

    /// Has somebody hear when a call fails that counts against the plugin. The first one that asks for it does.
    pub fn watch_failures(&self, sink: Weak<dyn FailedCalls>, number: u32) {
        let _ = self.failure_watch.set(FailureWatch {
            sink,
            number,
            is_noted: AtomicBool::new(false),
        });
    }

    /// Whoever heard of a failed call has looked, and hears of the next one.
    #[inline]
    pub fn rearm_failures(&self) {
        if let Some(watch) = self.failure_watch.get() {
            watch.is_noted.store(false, Relaxed);
        }
    }

    #[cold]
    fn note_failure(&self) {
        if let Some(watch) = self.failure_watch.get()
            && !watch.is_noted.swap(true, Relaxed)
            && let Some(sink) = watch.sink.upgrade()
        {
            sink.failed(watch.number);
        }
    }

    /// How many calls there were.
    #[inline]
    pub fn counts(&self) -> CallCounts {
        // In this order: never more failures than calls.
        let (blamed, excused) = (self.blamed.load(SeqCst), self.excused.load(SeqCst));
        let (ended, attached) = (self.ended.load(SeqCst), self.of_attached().returned());
        CallCounts {
            ended: ended + attached,
            blamed,
            excused,
            failed_run: self.failed_run.load(Relaxed),
            returned: self.on_lanes.returned() + attached,
        }
    }

    /// How long the plugin's code ran in calls, since the last time that somebody took this.
    pub fn take_latency(&self) -> LatencyHistogram {
        self.latency.drain()
    }

    /// The same, left where it is.
    pub fn latency(&self) -> LatencyHistogram {
        self.latency.peek()
    }

    /// Failures so far, by kind.
    pub fn errors(&self) -> impl Iterator<Item = (ErrorKind, u64)> {
        let counts = ErrorKind::ALL
            .iter()
            .zip(self.errors.get().into_iter().flat_map(|all| all.iter()));
        counts.map(|(kind, count)| (*kind, count.load(Relaxed)))
    }

    /// Calls under way.
    pub fn in_flight(&self) -> u64 {
        // In this order: none that is under way is missed, and zero is the truth.
        let ended = self.ended.load(SeqCst);
        self.begun.load(SeqCst).saturating_sub(ended) + self.concurrency.uncounted() as u64
    }

    /// All of it.
    pub fn stats(&self) -> CallStats {
        let mut sums = Sums::default();
        self.add_to(&mut sums);
        sums.stats()
    }

    /// Adds all of it to others'.
    pub(super) fn add_to(&self, sums: &mut Sums) {
        let attached = self.of_attached();
        sums.ended += self.ended.load(Relaxed) + attached.returned();
        sums.returned += self.on_lanes.returned() + attached.returned();
        sums.ran_ns += self.on_lanes.ran_ns() + attached.ran_ns();
        sums.in_flight += self.in_flight();
        for (kind, count) in self.errors().filter(|(_, count)| *count > 0) {
            *sums.errors.entry(kind).or_default() += count;
        }
        let last = ErrorKind::ALL.get(self.last_failure.load(Relaxed));
        sums.last_failure = last.copied().or(sums.last_failure);
    }

    /// Whether a call ended on an attached thread.
    pub(super) fn was_attached(&self) -> bool {
        self.of_attached().returned() > 0
    }

    /// All that attached threads have counted.
    #[inline]
    fn of_attached(&self) -> CallCounter {
        let sum = CallCounter::default();
        let Some(counters) = self.attached.get() else {
            return sum;
        };
        let counters = lock(counters);
        sum.take_over(&counters.of_gone);
        counters
            .of_threads
            .iter()
            .for_each(|counter| sum.take_over(counter));
        sum
    }

    /// Whether the failure counts against the plugin. `is_excused`: it does not, whatever its kind.
    #[inline]
    fn count(&self, failure: Option<&CallError>, is_excused: bool) -> bool {
        let Some(failure) = failure else {
            // Mostly it is 0, and what is not written stays in every core's cache.
            if self.failed_run.load(Relaxed) != 0 {
                self.failed_run.store(0, Relaxed);
            }
            return false;
        };
        let at = ErrorKind::ALL.iter().position(|kind| *kind == failure.kind);
        if let Some(at) = at {
            self.errors.get_or_init(Box::default)[at].fetch_add(1, Relaxed);
        }
        if is_excused || failure.kind.is_callers() {
            self.excused.fetch_add(1, SeqCst);
            return false;
        }
        self.last_failure.store(at.unwrap_or(usize::MAX), Relaxed);
        self.failed_run.fetch_add(1, Relaxed);
        self.blamed.fetch_add(1, SeqCst);
        true
    }

    /// For a thread that has not called this instance yet.
    fn new_counter(&self) -> Arc<CallCounter> {
        let mut counters = lock(self.attached.get_or_init(Box::default));
        let AttachedCounters { of_threads, of_gone } = &mut *counters;
        of_threads.retain_mut(|counter| match Arc::get_mut(counter) {
            Some(counter) => {
                of_gone.take_over(counter);
                false
            }
            None => true,
        });
        let counter = Arc::<CallCounter>::default();
        of_threads.push(counter.clone());
        counter
    }
}

impl InFlightGuard<'_> {
    /// From here on the call counts, however it ends.
    pub fn let_in(mut self) -> Self {
        self.is_let_in = true;
        self
    }

    /// The caller is answered; a failure says nothing of the plugin if it `is_excused`.
    pub fn end(self, failure: Option<&CallError>, is_excused: bool) {
        self.count(failure, is_excused);
        std::mem::forget(self);
    }

    fn count(&self, failure: Option<&CallError>, is_excused: bool) {
        let is_blamed = self.metrics.count(failure, is_excused);
        self.metrics.ended.fetch_add(1, SeqCst);
        if is_blamed {
            self.metrics.note_failure();
        }
    }
}

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        if self.is_let_in {
            let cancelled = CallError::new(ErrorKind::Cancelled, "the caller has gone away");
            self.count(Some(&cancelled), false);
        } else {
            self.metrics.begun.fetch_sub(1, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: Duration = Duration::from_nanos(1);

    #[test]
    fn a_call_is_under_way_until_it_ends_or_is_abandoned() {
        let metrics = CallMetrics::new(ConcurrencyLimit::new(1));
        let (first, second) = (metrics.begin(), metrics.begin());
        assert_eq!((metrics.in_flight(), metrics.stats().total), (2, 0));
        first.end(Some(&CallError::new(ErrorKind::Internal, "")), false);
        assert_eq!((metrics.in_flight(), metrics.stats().total), (1, 1));
        drop(second);
        assert_eq!((metrics.in_flight(), metrics.stats().total), (0, 1));
        metrics.begin().end(None, false);
        let stats = metrics.stats();
        assert_eq!((stats.in_flight, stats.total, stats.mean_ns), (0, 2, None));
        assert_eq!(stats.errors.get(&ErrorKind::Internal), Some(&1));
    }

    #[test]
    fn excused_failures_and_callers_mistakes_count_against_nobody() {
        let metrics = CallMetrics::new(ConcurrencyLimit::new(1));
        let error = |kind| CallError::new(kind, "");
        metrics.begin().end(Some(&error(ErrorKind::InvalidInput)), false);
        metrics
            .begin()
            .end(Some(&error(ErrorKind::DeadlineExceeded)), true);
        metrics.begin().end(Some(&error(ErrorKind::Internal)), false);
        metrics.begin().end(Some(&error(ErrorKind::Internal)), false);
        let counts = metrics.counts();
        assert_eq!(
            (counts.ended, counts.blamed, counts.excused, counts.failed_run),
            (4, 2, 2, 2)
        );
        metrics.begin().end(Some(&error(ErrorKind::Cancelled)), false);
        assert_eq!(metrics.counts().failed_run, 2, "no success came between");
        assert_eq!(metrics.stats().last_failure, Some(ErrorKind::Internal));
        metrics.begin().end(Some(&error(ErrorKind::Exhausted)), false);
        assert_eq!(metrics.stats().last_failure, Some(ErrorKind::Exhausted));
        metrics.begin().end(None, false);
        assert_eq!(metrics.counts().failed_run, 0);
        assert_eq!(metrics.stats().errors[&ErrorKind::DeadlineExceeded], 1);
    }

    #[test]
    fn failed_call_is_heard_of_once_until_somebody_has_looked() {
        #[derive(Default)]
        struct Heard(Mutex<Vec<u32>>);
        impl FailedCalls for Heard {
            fn failed(&self, number: u32) {
                self.0.lock().unwrap().push(number);
            }
        }
        let (metrics, heard) = (
            CallMetrics::new(ConcurrencyLimit::new(1)),
            Arc::new(Heard::default()),
        );
        let weak = Arc::downgrade(&heard);
        metrics.watch_failures(weak, 7);
        let fail = |kind| metrics.begin().end(Some(&CallError::new(kind, "")), false);
        fail(ErrorKind::InvalidInput);
        assert!(heard.0.lock().unwrap().is_empty());
        fail(ErrorKind::Internal);
        fail(ErrorKind::Internal);
        assert_eq!(*heard.0.lock().unwrap(), [7]);
        metrics.rearm_failures();
        fail(ErrorKind::Internal);
        assert_eq!(*heard.0.lock().unwrap(), [7, 7]);
    }

    #[test]
    fn what_attached_threads_count_stays_when_they_go_and_takes_no_more_room() {
        let (one, other) = (
            CallMetrics::new(ConcurrencyLimit::new(1)),
            CallMetrics::new(ConcurrencyLimit::new(1)),
        );
        for round in 1..=3 {
            let attached = Attached::new().unwrap();
            one.ended_attached(&attached, None, false, 2 * NS);
            other.ended_attached(
                &attached,
                Some(&CallError::new(ErrorKind::Internal, "")),
                false,
                NS,
            );
            one.ended_attached(&attached, None, false, 4 * NS);
            assert_eq!((one.stats().total, one.stats().mean_ns), (2 * round, Some(3)));
            assert_eq!((other.stats().total, other.stats().mean_ns), (round, Some(1)));
            assert_eq!(other.stats().errors.get(&ErrorKind::Internal), Some(&round));
        }
        one.returned(9 * NS);
        assert_eq!((one.stats().total, one.stats().mean_ns), (6, Some(27 / 7)));
        assert_eq!(lock(one.attached.get().unwrap()).of_threads.len(), 1);
    }
}
