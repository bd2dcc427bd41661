//! What a module has used: processor time of its own lanes and of the threads that its library made. It is measured when somebody
//! asks, from outside; no call and no check pays for it.
//!
//! What is not in it: calls on an embedder's own threads, which run other code too.

use super::{Held, Module};
use crate::loader::{OwnThreads, Unattributed};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};

/// What a module has used since it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// Processor time of its lanes, in nanoseconds.
    pub lanes_ns: u64,
    /// Its library's own threads, or why it is not known which they are.
    pub threads: Result<OwnThreads, Unattributed>,
    /// Instances that share it.
    pub instances: usize,
}

/// What has to be remembered from one look to the next.
#[derive(Debug, Default)]
pub(super) struct CpuAccount {
    /// Of lanes whose pool is gone.
    past_ns: AtomicU64,
    /// What was told last: a thread that just ends is in neither sum for a moment, and time never goes back.
    lanes_ns: AtomicU64,
    threads_ns: AtomicU64,
    /// What was handed out by [`Module::take_cpu`] up to now.
    taken_ns: AtomicU64,
    /// Since then, more than one instance had a share in it for a time, or it could not be measured.
    shared: AtomicBool,
}

impl Module {
    /// What it has used since it was loaded.
    pub fn used(&self) -> Used {
        // Before the pools: one that goes meanwhile is not counted twice.
        let past_ns = self.used.past_ns.load(Acquire);
        let lanes_ns = past_ns + self.pools().iter().map(|pool| pool.cpu_ns()).sum::<u64>();
        // Under the lock and not with a share of the library: whoever unloads it must find it alone.
        let threads = match &*self.held() {
            Held::Loaded(library) => library.own_threads(),
            Held::Opening | Held::Mapped(_) | Held::Closing(_) | Held::Closed(_) => {
                Err(Unattributed::NotLoaded)
            }
        };
        let threads = threads.map(|threads| OwnThreads {
            cpu_ns: rising(&self.used.threads_ns, threads.cpu_ns),
            ..threads
        });
        Used {
            lanes_ns: rising(&self.used.lanes_ns, lanes_ns),
            threads,
            instances: self.users.load(Acquire),
        }
    }

    /// Processor time since somebody asked for it last, in nanoseconds: all of it is of one instance. `None` if more of them share
    /// it, since it is not known whose it is, or if it is not known which threads are its library's.
    pub fn take_cpu(&self) -> Option<u64> {
        if self.users.load(Acquire) != 1 {
            // Nothing is measured for it: there may be thousands of them, and each asks.
            self.used.shared.store(true, Release);
            return None;
        }
        let used = self.used();
        let Ok(threads) = used.threads else {
            // What is measured next would be of more than the time from here on.
            self.used.shared.store(true, Release);
            return None;
        };
        let now = used.lanes_ns + threads.cpu_ns;
        let before = self.used.taken_ns.fetch_max(now, AcqRel);
        let shared = self.used.shared.swap(false, AcqRel);
        (!shared).then(|| now.saturating_sub(before))
    }
}

impl CpuAccount {
    /// One more instance has a share in it from here on.
    pub(super) fn share(&self) {
        self.shared.store(true, Release);
    }

    /// A pool is gone, and its lanes have used this much.
    pub(super) fn keep(&self, cpu_ns: u64) {
        self.past_ns.fetch_add(cpu_ns, AcqRel);
    }
}

fn rising(told: &AtomicU64, now: u64) -> u64 {
    told.fetch_max(now, AcqRel).max(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_never_goes_back() {
        let told = AtomicU64::new(0);
        assert_eq!([7, 3, 8].map(|now| rising(&told, now)), [7, 7, 8]);
    }
}
