//! An instance's circuit breaker, as threads share it: a call of an instance whose breaker is closed reads one word and writes nothing.

use crate::sync::lock;
use extman_health::breaker::{Admission, Breaker, BreakerPolicy, CallEnd, Permit};
use extman_model::clock::Monotonic;
use std::num::NonZeroU64;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The breaker of one instance, and a word of it.
#[derive(Debug)]
pub struct CallBreaker {
    /// Its epoch while it is closed, else 0. Written with the lock held; nothing else is read by what it says.
    closed_epoch: AtomicU64,
    /// Made by the first call that fails or is slow, which most instances of thousands never have.
    breaker: Mutex<Option<Box<Breaker>>>,
    seed: u64,
}

/// What a breaker became by the end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// No call goes there until this moment.
    Opened(Monotonic),
    /// Calls go there again.
    Closed,
}

impl CallBreaker {
    /// Closed; the seed sets when it tries again apart from others.
    pub fn new(seed: u64) -> Self {
        let epoch = Breaker::new(seed).closed_epoch();
        CallBreaker {
            closed_epoch: AtomicU64::new(epoch.map_or(0, NonZeroU64::get)),
            breaker: Mutex::new(None),
            seed,
        }
    }

    /// What a call takes along while it is closed; `None` if it is not.
    #[inline]
    pub fn closed_permit(&self) -> Option<Permit> {
        NonZeroU64::new(self.closed_epoch.load(Relaxed)).map(Permit::closed)
    }

    /// Whether calls go there without a lease.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closed_epoch.load(Relaxed) != 0
    }

    /// A permit, if there is one now.
    pub fn admit(&self, now: Monotonic, policy: &BreakerPolicy) -> Option<Permit> {
        match self.with(|breaker| breaker.admit(now, policy)).0 {
            Admission::Admitted(permit) => Some(permit),
            Admission::Refused { .. } => None,
        }
    }

    /// A call that went there with this permit has ended. `calls` have ended by now, this one among them.
    pub fn ended(
        &self,
        permit: Permit,
        end: CallEnd,
        calls: u64,
        now: Monotonic,
        policy: &BreakerPolicy,
    ) -> Option<Turned> {
        self.with(|breaker| breaker.ended(permit, end, calls, now, policy))
            .1
    }

    /// A call that went there with this permit says nothing of the instance.
    pub fn give_back(&self, permit: Permit, now: Monotonic) {
        self.with(|breaker| breaker.give_back(permit, now));
    }

    /// Its calls have failed by the account of its health: none goes there for a while.
    pub fn trip(&self, now: Monotonic, policy: &BreakerPolicy) -> Option<Turned> {
        self.with(|breaker| breaker.trip(now, policy)).1
    }

    /// It is well by its health: calls are tried at once.
    pub fn check_was_good(&self) {
        // One that is closed has nothing to try.
        if !self.is_closed() {
            self.with(Breaker::check_was_good);
        }
    }

    /// When at the latest the next call may go there; `None` if one may now.
    pub fn retry_at(&self) -> Option<Monotonic> {
        lock(&self.breaker).as_ref()?.retry_at()
    }

    fn with<T>(&self, change: impl FnOnce(&mut Breaker) -> T) -> (T, Option<Turned>) {
        let mut made = lock(&self.breaker);
        let breaker = made.get_or_insert_with(|| Box::new(Breaker::new(self.seed)));
        let was_closed = breaker.is_closed();
        let value = change(breaker);
        let epoch = breaker.closed_epoch();
        self.closed_epoch.store(epoch.map_or(0, NonZeroU64::get), Relaxed);
        let turned = match (was_closed, breaker.retry_at()) {
            (true, Some(until)) => Some(Turned::Opened(until)),
            (false, _) if epoch.is_some() => Some(Turned::Closed),
            _ => None,
        };
        (value, turned)
    }
}
