//! Holds an instance's [`CallLimits`]: a rate, and how many callers may wait. The limits are given at each call, so that new ones hold at once.

use super::Instance;
use crate::sync::lock;
use crate::token_bucket::TokenBucket;
use extman_model::clock::{self, Monotonic};
use extman_model::{CallError, CallLimits, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What has been let through of one instance's calls.
#[derive(Debug, Default)]
pub(super) struct CallLimiter {
    /// Made at the first call that a rate is set for.
    bucket: Mutex<Option<TokenBucket>>,
    /// Calls whose callers wait. Not [`CallMetrics::in_flight`](super::CallMetrics::in_flight): calls of a new version that is tried count here
    /// for the old one, whose limits hold.
    in_flight: AtomicU64,
}

/// Why a call is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limited {
    /// As many a second were as may, and the next one may be at this moment.
    Rate(u64, Monotonic),
    /// As many callers wait as may.
    InFlight(u64),
}

impl CallLimiter {
    fn enter(&self, limits: &CallLimits, now: Monotonic) -> Result<(), Limited> {
        let max = limits.in_flight_max.unwrap_or(u64::MAX);
        let one_more = |in_flight| (in_flight < max).then(|| in_flight + 1);
        if self.in_flight.fetch_update(Relaxed, Relaxed, one_more).is_err() {
            return Err(Limited::InFlight(max));
        }
        self.take_token(limits, now).inspect_err(|_| self.leave())
    }

    fn take_token(&self, limits: &CallLimits, now: Monotonic) -> Result<(), Limited> {
        let Some(rate) = limits.calls_per_s else {
            return Ok(());
        };
        let burst = limits.burst.unwrap_or(rate);
        let mut bucket = lock(&self.bucket);
        let bucket = bucket.get_or_insert_with(|| TokenBucket::new(burst, now));
        match bucket.take(rate, burst, now) {
            true => Ok(()),
            false => Err(Limited::Rate(rate, bucket.next_at(rate))),
        }
    }

    fn leave(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }
}

/// A call that the limits let through. Dropped once nobody waits for its answer, though the plugin's code may still be in it.
pub struct LimitedCall(Arc<Instance>);

impl LimitedCall {
    /// Of this instance, if these limits allow one more.
    ///
    /// # Errors
    /// They do not: `rate_limited`, with when to try again, as far as that is known.
    pub fn begin(instance: &Arc<Instance>, limits: &CallLimits, now: Monotonic) -> Result<Self, CallError> {
        let limited = match instance.limiter.enter(limits, now) {
            Ok(()) => return Ok(LimitedCall(instance.clone())),
            Err(limited) => limited,
        };
        let name = instance.name();
        let (text, after) = match limited {
            Limited::Rate(rate, at) => {
                let text = format!("{name} gets {rate} calls a second (limits.calls_per_s)");
                (text, Some(at.since(now)))
            }
            Limited::InFlight(max) => {
                let text = format!("{max} callers wait for calls of {name} (limits.in_flight_max)");
                // One of them ends by then, if it is like those before.
                let mean_ns = instance.call_metrics().stats().mean_ns;
                (text, mean_ns.map(Duration::from_nanos))
            }
        };
        Err(CallError {
            retryable: Some(true),
            retry_after_ms: after.map(|after| clock::millis_up(after).max(1)),
            ..CallError::new(ErrorKind::RateLimited, text)
        })
    }

    /// Whether it is one of this instance's.
    pub(crate) fn is_of(&self, instance: &Arc<Instance>) -> bool {
        Arc::ptr_eq(&self.0, instance)
    }
}

impl Drop for LimitedCall {
    fn drop(&mut self) {
        self.0.limiter.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_nanos(1).after(Duration::from_millis(ms))
    }

    #[test]
    fn rate_and_number_under_way_are_held_each_for_itself() {
        let limiter = CallLimiter::default();
        let limits = CallLimits {
            calls_per_s: Some(10),
            burst: Some(3),
            in_flight_max: Some(2),
        };
        assert_eq!(limiter.enter(&limits, at(0)), Ok(()));
        assert_eq!(limiter.enter(&limits, at(0)), Ok(()));
        assert_eq!(limiter.enter(&limits, at(0)), Err(Limited::InFlight(2)));
        limiter.leave();
        assert_eq!(limiter.enter(&limits, at(0)), Ok(()), "that took no token");
        limiter.leave();
        assert_eq!(limiter.enter(&limits, at(40)), Err(Limited::Rate(10, at(100))));
        assert_eq!(
            limiter.enter(&limits, at(100)),
            Ok(()),
            "that one is not under way"
        );
    }

    #[test]
    fn other_limits_hold_from_the_next_call_on() {
        let limiter = CallLimiter::default();
        let one = CallLimits {
            in_flight_max: Some(1),
            ..CallLimits::default()
        };
        limiter.enter(&one, at(0)).unwrap();
        assert!(limiter.enter(&one, at(0)).is_err());
        let two = CallLimits {
            in_flight_max: Some(2),
            ..CallLimits::default()
        };
        assert_eq!(limiter.enter(&two, at(0)), Ok(()));
        assert_eq!(limiter.enter(&CallLimits::default(), at(0)), Ok(()));
    }
}
