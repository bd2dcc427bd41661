//! What a lane's thread has used of the processor: read from outside while it runs, handed on by itself when it ends. Nothing of it
//! is done for each job.

use crate::loader;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::*};

/// One lane's.
#[derive(Debug, Default)]
pub(super) struct LaneCpu {
    /// The thread's kernel id; 0 before it runs and once it has handed on what it used.
    tid: AtomicI32,
    /// What was read last: if plugin code ended the thread, nothing can be read any more.
    seen_ns: AtomicU64,
}

impl LaneCpu {
    /// On the lane's thread, first of all.
    pub(super) fn begin(&self) {
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        self.tid.store(tid, Release);
    }

    /// On the lane's thread, last of all.
    pub(super) fn end(&self, used: &AtomicU64) {
        // In this order: whoever reads meanwhile misses it rather than counting it twice.
        self.tid.store(0, Release);
        used.fetch_add(loader::cpu_of_this_thread(), AcqRel);
    }

    pub(super) fn read(&self) -> u64 {
        match self.tid.load(Acquire) {
            0 => 0,
            tid => {
                let now = loader::cpu_of(tid).unwrap_or(0);
                self.seen_ns.fetch_max(now, AcqRel).max(now)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_is_read_from_outside_and_handed_on_once() {
        let (cpu, used) = (LaneCpu::default(), AtomicU64::new(5));
        assert_eq!(cpu.read(), 0);
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    cpu.begin();
                    while cpu.read() < 2_000_000 {
                        std::hint::black_box(0);
                    }
                    cpu.end(&used);
                })
                .join()
                .unwrap();
        });
        assert_eq!(cpu.read(), 0);
        assert!(used.load(Acquire) >= 2_000_005);
    }
}
