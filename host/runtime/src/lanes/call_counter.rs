//! How often code came back and how long it ran: one set of counters for many threads, or one for a thread of its own.

use extman_model::clock::nanos;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counters that anybody may read at any time. What a call adds to them is added here and nowhere else.
#[derive(Debug, Default)]
pub struct CallCounter {
    returned: AtomicU64,
    ran_ns: AtomicU64,
}

impl CallCounter {
    /// Adds one; any thread may.
    pub fn add(&self, ran: Duration) {
        self.returned.fetch_add(1, Relaxed);
        self.ran_ns.fetch_add(nanos(ran), Relaxed);
    }

    /// Adds one, on the only thread that ever adds here: without a locked instruction.
    #[inline]
    pub fn add_alone(&self, ran: Duration) {
        let more =
            |counter: &AtomicU64, by: u64| counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
        more(&self.returned, 1);
        more(&self.ran_ns, nanos(ran));
    }

    /// Adds what another one has counted; any thread may.
    pub fn take_over(&self, other: &CallCounter) {
        self.returned.fetch_add(other.returned(), Relaxed);
        self.ran_ns.fetch_add(other.ran_ns(), Relaxed);
    }

    /// How often code came back.
    pub fn returned(&self) -> u64 {
        self.returned.load(Relaxed)
    }

    /// How long it ran in all.
    pub fn ran_ns(&self) -> u64 {
        self.ran_ns.load(Relaxed)
    }
}
