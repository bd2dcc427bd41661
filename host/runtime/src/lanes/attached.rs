//! Threads of an embedder that call plugins themselves, at the cost of a call instead of two thread hops.
//!
//! The price: such a thread can't be given up when a call hangs, and a library whose code ran on it stays in memory until the
//! thread ends, since its thread-locals may be the library's.

use super::call_counter::CallCounter;
use crate::loader::{CallContext, KeepsAttached, is_gone, start_ticks, thread_name};
use crate::sync::lock;
use std::cell::{Cell, Ref, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// A guard: while it lives, this thread may call plugins inline.
pub struct Attached {
    context: CallContext,
    ran: RefCell<HashSet<u64>>,
    ran_last: Cell<u64>,
    counters: RefCell<Vec<(u64, Arc<CallCounter>)>>,
    // It belongs to this thread, and makes this so.
    _keeps: KeepsAttached,
}

impl Attached {
    /// Attaches the current thread.
    ///
    /// # Errors
    /// All contexts are taken.
    pub fn new() -> Result<Self, std::io::Error> {
        let context = CallContext::acquire().ok_or_else(|| {
            std::io::Error::other("no more threads can be attached: too many calls are in flight")
        })?;
        Ok(Attached {
            context,
            ran: RefCell::default(),
            ran_last: Cell::new(0),
            counters: RefCell::default(),
            _keeps: KeepsAttached::begin(),
        })
    }

    /// The thread's context.
    pub fn context(&self) -> &CallContext {
        &self.context
    }

    /// This thread's own counter in the metrics of this number, which `make` makes at first.
    #[inline]
    pub fn counter(&self, metrics: u64, make: impl FnOnce() -> Arc<CallCounter>) -> Ref<'_, CallCounter> {
        let is_first =
            |known: &[(u64, Arc<CallCounter>)]| known.first().is_some_and(|first| first.0 == metrics);
        if !is_first(&self.counters.borrow()) {
            self.put_first(metrics, make);
        }
        Ref::map(self.counters.borrow(), |known| &*known[0].1)
    }

    #[cold]
    fn put_first(&self, metrics: u64, make: impl FnOnce() -> Arc<CallCounter>) {
        let mut known = self.counters.borrow_mut();
        match known.iter().position(|(number, _)| *number == metrics) {
            Some(at) => known.swap(0, at),
            None => {
                // Those of instances that are gone have no other holder.
                known.retain(|(_, counter)| Arc::strong_count(counter) > 1);
                known.insert(0, (metrics, make()));
            }
        }
    }

    /// Notes that code of `generation` runs here.
    #[inline]
    pub fn note(&self, generation: u64, threads: &AttachedThreads) {
        // Generations start at 1.
        if self.ran_last.replace(generation) != generation && self.ran.borrow_mut().insert(generation) {
            threads.add();
        }
    }
}

/// The attached threads that ran one module's code.
#[derive(Debug, Default)]
pub struct AttachedThreads {
    started: Mutex<HashMap<i32, Option<u64>>>,
}

impl AttachedThreads {
    fn add(&self) {
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        let mut threads = lock(&self.started);
        threads.insert(tid, start_ticks(tid));
    }

    /// Names one that is still alive.
    pub fn living(&self) -> Option<String> {
        let mut threads = lock(&self.started);
        // What could not be looked at, then or now, lives as long as there is a thread of that number.
        threads.retain(|tid, since| match (start_ticks(*tid), *since) {
            (Some(now), Some(since)) => now == since,
            _ => !is_gone(*tid),
        });
        threads.keys().next().map(|tid| thread_name(*tid))
    }
}
