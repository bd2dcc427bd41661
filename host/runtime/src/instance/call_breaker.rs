//! An instance's circuit breaker, as threads share it: a call of an instance whose breaker is closed reads one word and writes nothing.

use crate::sync::lock;
use extman_health::breaker::{Admission, Breaker, BreakerPermit, BreakerPolicy, CallEnd};
use extman_model::clock::{self, Monotonic};
use extman_model::{BreakerState, BreakerView};
use std::num::NonZeroU64;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The breaker of one instance, and a word of it.
#[derive(Debug)]
pub struct CallBreaker {
    /// Its epoch while it is closed, else 0. Written with the lock held; nothing else is read by what it says.
    closed_epoch: AtomicU64,
    /// Made by the first call that fails or is slow, which most instances of thousands never have.
    breaker: Mutex<Option<Box<Breaker>>>,
    seed: u64,
    is_published_open: AtomicBool,
}

/// What a breaker became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerChange {
    /// No call goes there until this moment: calls have failed, or one that was to show whether they succeed again.
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
            is_published_open: AtomicBool::new(false),
        }
    }

    /// Whether the last event of it said that it is open.
    pub(crate) fn is_published_open(&self) -> bool {
        self.is_published_open.load(Relaxed)
    }

    pub(crate) fn set_published_open(&self, is_open: bool) {
        self.is_published_open.store(is_open, Relaxed);
    }

    /// What a call takes along while it is closed; `None` if it is not.
    #[inline]
    pub fn closed_permit(&self) -> Option<BreakerPermit> {
        NonZeroU64::new(self.closed_epoch.load(Relaxed)).map(BreakerPermit::closed)
    }

    /// Whether calls go there without a lease.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closed_epoch.load(Relaxed) != 0
    }

    /// A permit; or when at the latest there may be one. It opens again where a call that had one did not come back in time.
    pub fn admit(
        &self,
        now: Monotonic,
        policy: &BreakerPolicy,
    ) -> (Result<BreakerPermit, Monotonic>, Option<BreakerChange>) {
        let (admission, change) = self.with(|breaker| breaker.admit(now, policy));
        let permit = match admission {
            Admission::Admitted(permit) => Ok(permit),
            Admission::Refused { retry_at } => Err(retry_at),
        };
        (permit, change)
    }

    /// A call that went there with this permit has ended. `calls` have ended by now, this one among them.
    pub fn ended(
        &self,
        permit: BreakerPermit,
        end: CallEnd,
        calls: u64,
        now: Monotonic,
        policy: &BreakerPolicy,
    ) -> Option<BreakerChange> {
        self.with(|breaker| breaker.ended(permit, end, calls, now, policy))
            .1
    }

    /// A call that went there with this permit says nothing of the instance.
    pub fn give_back(&self, permit: BreakerPermit, now: Monotonic) {
        self.with(|breaker| breaker.give_back(permit, now));
    }

    /// Its calls have failed by the account of its health: none goes there for a while.
    pub fn trip(&self, now: Monotonic, policy: &BreakerPolicy) -> Option<BreakerChange> {
        self.with(|breaker| breaker.trip(now, policy)).1
    }

    /// It is well by its health: calls are tried at once.
    pub fn check_was_good(&self) {
        // One that is closed has nothing to try.
        if !self.is_closed() {
            self.with(Breaker::check_was_good);
        }
    }

    /// Until when no call goes there; `None` where some do.
    pub(crate) fn open_until(&self) -> Option<Monotonic> {
        lock(&self.breaker).as_ref()?.open_until()
    }

    /// As it is shown; `None` while it is closed.
    pub fn view(&self, now: Monotonic) -> Option<BreakerView> {
        let until = {
            let made = lock(&self.breaker);
            made.as_ref().filter(|breaker| !breaker.is_closed())?.open_until()
        };
        let left = until.map(|until| until.since(now)).filter(|left| !left.is_zero());
        Some(BreakerView {
            // Whoever comes once its time is over finds it half-open.
            state: match left {
                Some(_) => BreakerState::Open,
                None => BreakerState::HalfOpen,
            },
            retry_after_ms: left.map(clock::millis_up),
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Breaker) -> T) -> (T, Option<BreakerChange>) {
        let mut made = lock(&self.breaker);
        let breaker = made.get_or_insert_with(|| Box::new(Breaker::new(self.seed)));
        let (was_closed, was_until) = (breaker.is_closed(), breaker.open_until());
        let value = change(breaker);
        let epoch = breaker.closed_epoch();
        self.closed_epoch.store(epoch.map_or(0, NonZeroU64::get), Relaxed);
        let change = match (was_closed, breaker.open_until()) {
            (_, Some(until)) if was_until != Some(until) => Some(BreakerChange::Opened(until)),
            (false, _) if epoch.is_some() => Some(BreakerChange::Closed),
            _ => None,
        };
        (value, change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_opening_is_a_change_also_after_a_trial_that_failed_or_did_not_come_back() {
        let (breaker, policy) = (CallBreaker::new(1), BreakerPolicy::default());
        let until = |change: Option<BreakerChange>, now: Monotonic| match change {
            Some(BreakerChange::Opened(until)) if until > now => until,
            other => panic!("{other:?}"),
        };
        let begin = Monotonic::from_nanos(1);
        let first = until(breaker.trip(begin, &policy), begin);
        assert_eq!(breaker.trip(begin, &policy), None, "it is open");
        let (permit, change) = breaker.admit(first, &policy);
        assert_eq!(change, None, "it is half-open");
        let failed = breaker.ended(permit.unwrap(), CallEnd::Failed, 1, first, &policy);
        let second = until(failed, first);
        assert!(second.since(first) > first.since(begin));
        breaker.admit(second, &policy).0.unwrap();
        let late = second.after(policy.lease);
        let (permit, change) = breaker.admit(late, &policy);
        assert_eq!(permit, Err(until(change, late)));
        let shown = breaker.view(late).map(|view| view.state);
        assert_eq!(shown, Some(BreakerState::Open));
    }
}
