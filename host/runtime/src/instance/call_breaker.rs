//! An instance's circuit breaker, as threads share it: a call of an instance whose breaker is closed reads one word and writes nothing.

use crate::sync::lock;
use extman_health::breaker::{Admission, Breaker, BreakerPermit, BreakerPolicy, CallEnd};
use extman_model::clock::{self, Monotonic};
use extman_model::{BreakerState, BreakerView};
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
    /// What the last event of it said: until when it is open, in nanoseconds; 0 if that it is closed, or if there was none.
    published: AtomicU64,
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
            published: AtomicU64::new(0),
        }
    }

    /// What is so now and was not published yet. It counts as published from here on. One caller at a time.
    pub(crate) fn take_news(&self, now: Monotonic) -> Option<BreakerChange> {
        let until = {
            let made = lock(&self.breaker);
            match made
                .as_ref()
                .map(|breaker| (breaker.is_closed(), breaker.open_until()))
            {
                None | Some((true, _)) => 0,
                Some((false, Some(until))) if until > now => until.nanos_since(Monotonic::from_nanos(0)),
                // Half-open: it is neither open nor closed, and soon one of them.
                Some((false, _)) => return None,
            }
        };
        let is_news = self.published.swap(until, Relaxed) != until;
        is_news.then(|| match until {
            0 => BreakerChange::Closed,
            until => BreakerChange::Opened(Monotonic::from_nanos(until)),
        })
    }

    /// It keeps nobody from anything any more. Whether the last event of it said that it is open.
    pub(crate) fn take_end(&self) -> bool {
        self.published.swap(0, Relaxed) != 0
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

    /// A permit; or when at the latest there may be one. And whether it has opened: that is so where a call that had one did not come back in time.
    pub fn admit(&self, now: Monotonic, policy: &BreakerPolicy) -> (Result<BreakerPermit, Monotonic>, bool) {
        let (admission, change) = self.with(|breaker| breaker.admit(now, policy));
        let permit = match admission {
            Admission::Admitted(permit) => Ok(permit),
            Admission::Refused { retry_at } => Err(retry_at),
        };
        (permit, change)
    }

    /// A call that went there with this permit has ended. `calls` have ended by now, this one among them. Whether it has opened or closed by that.
    pub fn ended(
        &self,
        permit: BreakerPermit,
        end: CallEnd,
        calls: u64,
        now: Monotonic,
        policy: &BreakerPolicy,
    ) -> bool {
        self.with(|breaker| breaker.ended(permit, end, calls, now, policy))
            .1
    }

    /// A call that went there with this permit says nothing of the instance.
    pub fn give_back(&self, permit: BreakerPermit, now: Monotonic) {
        self.with(|breaker| breaker.give_back(permit, now));
    }

    /// Its calls have failed by the account of its health: none goes there for a while. Whether it has opened by that.
    pub fn trip(&self, now: Monotonic, policy: &BreakerPolicy) -> bool {
        self.with(|breaker| breaker.trip(now, policy)).1
    }

    /// It is well by its health: calls are tried at once.
    pub fn check_was_good(&self) {
        // One that is closed has nothing to try.
        if !self.is_closed() {
            self.with(Breaker::check_was_good);
        }
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

    /// And whether it has opened or closed by that.
    fn with<T>(&self, change: impl FnOnce(&mut Breaker) -> T) -> (T, bool) {
        let mut made = lock(&self.breaker);
        let breaker = made.get_or_insert_with(|| Box::new(Breaker::new(self.seed)));
        let (was_closed, was_until) = (breaker.is_closed(), breaker.open_until());
        let value = change(breaker);
        let epoch = breaker.closed_epoch();
        self.closed_epoch.store(epoch.map_or(0, NonZeroU64::get), Relaxed);
        let until = breaker.open_until();
        let has_opened = until.is_some() && was_until != until;
        (value, has_opened || !was_closed && epoch.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_opening_is_news_also_after_a_trial_that_failed_or_did_not_come_back_and_news_once() {
        let (breaker, policy) = (CallBreaker::new(1), BreakerPolicy::default());
        let until = |now: Monotonic| match breaker.take_news(now) {
            Some(BreakerChange::Opened(until)) if until > now => until,
            other => panic!("{other:?}"),
        };
        let begin = Monotonic::from_nanos(1);
        assert!(breaker.trip(begin, &policy));
        let first = until(begin);
        assert!(!breaker.trip(begin, &policy), "it is open");
        assert_eq!(breaker.take_news(begin), None);
        let (permit, has_opened) = breaker.admit(first, &policy);
        assert_eq!(
            (has_opened, breaker.take_news(first)),
            (false, None),
            "it is half-open"
        );
        assert!(breaker.ended(permit.unwrap(), CallEnd::Failed, 1, first, &policy));
        let second = until(first);
        assert!(second.since(first) > first.since(begin));
        breaker.admit(second, &policy).0.unwrap();
        let late = second.after(policy.lease);
        let (permit, has_opened) = breaker.admit(late, &policy);
        assert!(has_opened);
        assert_eq!(permit, Err(until(late)));
        let shown = breaker.view(late).map(|view| view.state);
        assert_eq!(shown, Some(BreakerState::Open));
        assert!(breaker.take_end() && !breaker.take_end());
    }

    #[test]
    fn news_is_what_is_so_when_it_is_taken_and_not_what_was_meanwhile() {
        let (breaker, policy) = (CallBreaker::new(1), BreakerPolicy::default());
        let begin = Monotonic::from_nanos(1);
        breaker.trip(begin, &policy);
        let first = breaker.view(begin).and_then(|view| view.retry_after_ms).unwrap();
        let mut now = begin.after(std::time::Duration::from_millis(first));
        // It closes again before anybody has taken the news that it had opened.
        while !breaker.is_closed() {
            let permit = breaker.admit(now, &policy).0.unwrap();
            breaker.ended(permit, CallEnd::Well, 1, now, &policy);
            now = now.after(std::time::Duration::from_millis(1));
        }
        assert_eq!(breaker.take_news(now), None);
        // Whose time is over is half-open for whoever comes, though nobody has come yet.
        breaker.trip(now, &policy);
        let long_after = now.after(std::time::Duration::from_secs(3600));
        assert_eq!(breaker.take_news(long_after), None);
    }
}
