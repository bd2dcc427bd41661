//! What the host counts of an instance's calls.

use super::tally::Sums;
use crate::model::{CallError, CallStats, ErrorKind};
use crate::sketch::{Recorder, Sketch};
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::Duration;

/// Counters, one set an instance.
#[derive(Debug, Default)]
pub struct Accounts {
    /// Calls that began, but for those that were abandoned.
    begun: AtomicU64,
    ended: AtomicU64,
    returned: AtomicU64,
    ran_ns: AtomicU64,
    /// Failures that count against the plugin.
    blamed: AtomicU64,
    errors: [AtomicU64; KINDS.len()],
    latency: Recorder,
}

/// How many calls there were, for whoever judges by them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Calls whose caller was answered.
    pub ended: u64,
    /// Those of them that failed and count against the plugin.
    pub blamed: u64,
    /// Calls whose code came back.
    pub returned: u64,
}

const KINDS: [ErrorKind; 12] = [
    ErrorKind::InvalidInput,
    ErrorKind::Unavailable,
    ErrorKind::RateLimited,
    ErrorKind::Configuration,
    ErrorKind::Internal,
    ErrorKind::Cancelled,
    ErrorKind::DeadlineExceeded,
    ErrorKind::Unsupported,
    ErrorKind::Exhausted,
    ErrorKind::Panicked,
    ErrorKind::NotFound,
    ErrorKind::NotServing,
];

/// A call under way. Dropped without an end it was never answered, and does not count.
pub struct Counted<'a>(&'a Accounts);

impl Accounts {
    /// A call begins.
    pub fn begin(&self) -> Counted<'_> {
        self.begun.fetch_add(1, SeqCst);
        Counted(self)
    }

    /// The plugin's code came back after `ran`, whether or not somebody still waits for it.
    pub fn returned(&self, ran: Duration) {
        self.returned.fetch_add(1, Relaxed);
        self.ran_ns.fetch_add(ran.as_nanos() as u64, Relaxed);
        self.latency.record(ran);
    }

    /// How many calls there were.
    pub fn counts(&self) -> CallCounts {
        // In this order: never more failures than calls.
        let blamed = self.blamed.load(SeqCst);
        CallCounts {
            ended: self.ended.load(SeqCst),
            blamed,
            returned: self.returned.load(Relaxed),
        }
    }

    /// How long the plugin's code ran in calls, since the last time that somebody took this.
    pub fn take_latency(&self) -> Sketch {
        self.latency.drain()
    }

    /// The same, left where it is.
    pub fn latency(&self) -> Sketch {
        self.latency.peek()
    }

    /// Failures so far, by kind.
    pub fn errors(&self) -> impl Iterator<Item = (ErrorKind, u64)> {
        let counts = KINDS.iter().zip(&self.errors);
        counts.map(|(kind, count)| (*kind, count.load(Relaxed)))
    }

    /// Calls under way.
    pub fn in_flight(&self) -> u64 {
        // In this order: none that is under way is missed, and zero is the truth.
        let ended = self.ended.load(SeqCst);
        self.begun.load(SeqCst).saturating_sub(ended)
    }

    /// All of it.
    pub fn stats(&self) -> CallStats {
        let mut sums = Sums::default();
        self.add_to(&mut sums);
        sums.stats()
    }

    /// Adds all of it to others'.
    pub(super) fn add_to(&self, sums: &mut Sums) {
        sums.ended += self.ended.load(Relaxed);
        sums.returned += self.returned.load(Relaxed);
        sums.ran_ns += self.ran_ns.load(Relaxed);
        sums.in_flight += self.in_flight();
        for (kind, count) in KINDS.iter().zip(&self.errors) {
            let count = count.load(Relaxed);
            if count > 0 {
                *sums.errors.entry(*kind).or_default() += count;
            }
        }
    }
}

impl Counted<'_> {
    /// The caller is answered.
    pub fn end(self, failure: Option<&CallError>) {
        let accounts = self.0;
        std::mem::forget(self);
        if let Some(failure) = failure
            && let Some(at) = KINDS.iter().position(|kind| *kind == failure.kind)
        {
            accounts.errors[at].fetch_add(1, Relaxed);
            if !failure.kind.is_callers() {
                accounts.blamed.fetch_add(1, SeqCst);
            }
        }
        accounts.ended.fetch_add(1, SeqCst);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.begun.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_under_way_until_it_ends_or_is_abandoned() {
        let accounts = Accounts::default();
        let (first, second) = (accounts.begin(), accounts.begin());
        assert_eq!((accounts.in_flight(), accounts.stats().total), (2, 0));
        first.end(Some(&CallError::new(ErrorKind::Internal, "")));
        assert_eq!((accounts.in_flight(), accounts.stats().total), (1, 1));
        drop(second);
        assert_eq!((accounts.in_flight(), accounts.stats().total), (0, 1));
        accounts.begin().end(None);
        let stats = accounts.stats();
        assert_eq!((stats.in_flight, stats.total, stats.mean_ns), (0, 2, None));
        assert_eq!(stats.errors.get(&ErrorKind::Internal), Some(&1));
    }
}
