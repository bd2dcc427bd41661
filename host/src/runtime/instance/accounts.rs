//! What the host counts of an instance's calls.

use super::tally::Sums;
use crate::model::{CallError, CallStats, ErrorKind};
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::Duration;

/// Counters, one set an instance.
#[derive(Debug, Default)]
pub struct Accounts {
    ended: AtomicU64,
    returned: AtomicU64,
    ran_ns: AtomicU64,
    in_flight: AtomicU64,
    errors: [AtomicU64; KINDS.len()],
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

/// A call under way; ending it is dropping it.
pub struct Counted<'a>(&'a Accounts);

impl Accounts {
    /// A call begins.
    pub fn begin(&self) -> Counted<'_> {
        self.in_flight.fetch_add(1, SeqCst);
        Counted(self)
    }

    /// The plugin's code came back after `ran`.
    pub fn returned(&self, ran: Duration) {
        self.returned.fetch_add(1, Relaxed);
        self.ran_ns.fetch_add(ran.as_nanos() as u64, Relaxed);
    }

    /// The caller has been answered.
    pub fn ended(&self, failure: Option<&CallError>) {
        self.ended.fetch_add(1, Relaxed);
        if let Some(failure) = failure
            && let Some(at) = KINDS.iter().position(|kind| *kind == failure.kind)
        {
            self.errors[at].fetch_add(1, Relaxed);
        }
    }

    /// Calls under way.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(SeqCst)
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

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, SeqCst);
    }
}
