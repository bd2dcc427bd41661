//! A token bucket: how often something may be done, with a burst. Pure: it is told the time.

use extman_model::clock::{Monotonic, nanos};
use std::time::Duration;

/// In how many parts a token is reckoned: where one comes a second, one part a nanosecond, so that nothing of any time or rate is lost.
const PARTS: u64 = 1_000_000_000;

/// Tokens that are there, and since when more of them have come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenBucket {
    parts: u64,
    filled: Monotonic,
}

impl TokenBucket {
    /// With so many tokens.
    pub fn new(tokens: u64, now: Monotonic) -> Self {
        TokenBucket {
            parts: tokens.saturating_mul(PARTS),
            filled: now,
        }
    }

    /// Adds this share of so many tokens, in percent, up to `burst` tokens in all.
    pub fn add_percent(&mut self, of: u64, percent: u64, burst: u64) {
        let more = of.saturating_mul(percent).saturating_mul(PARTS / 100);
        self.parts = self.parts.saturating_add(more).min(burst.saturating_mul(PARTS));
    }

    /// Takes a token, where `per_second` come each second and `burst` are kept at most. `false` if there is none.
    pub fn take(&mut self, per_second: u64, burst: u64, now: Monotonic) -> bool {
        let passed = u128::from(nanos(now.since(self.filled)));
        let parts = u128::from(self.parts) + passed * u128::from(per_second);
        let parts = parts.min(u128::from(burst.saturating_mul(PARTS)));
        // Of two threads the one that looked first at the time may come second.
        self.filled = self.filled.max(now);
        self.parts = u64::try_from(parts).unwrap_or(u64::MAX);
        let left = self.parts.checked_sub(PARTS);
        self.parts = left.unwrap_or(self.parts);
        left.is_some()
    }

    /// When there is a token for whoever found none, where `per_second` come each second: a moment of the past if there is one.
    pub fn next_at(&self, per_second: u64) -> Monotonic {
        let wait = PARTS.saturating_sub(self.parts).div_ceil(per_second.max(1));
        self.filled.after(Duration::from_nanos(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_nanos(1).after(Duration::from_millis(ms))
    }

    #[test]
    fn burst_is_taken_at_once_and_then_one_at_its_time() {
        let mut bucket = TokenBucket::new(3, at(0));
        let taken = (0..5).filter(|_| bucket.take(10, 3, at(0))).count();
        assert_eq!(taken, 3);
        // A tenth of a second each, however often somebody looks.
        let taken = [0, 40, 99, 100, 140, 199, 200].map(|ms| bucket.take(10, 3, at(ms)));
        assert_eq!(taken, [false, false, false, true, false, false, true]);
        // No more than the burst is kept.
        let taken = (0..9).filter(|_| bucket.take(10, 3, at(60_000))).count();
        assert_eq!(taken, 3);
    }

    #[test]
    fn rate_is_kept_however_often_somebody_looks() {
        let (mut bucket, end) = (TokenBucket::new(1, at(0)), at(100_000));
        let (mut now, mut taken) = (at(0), 0);
        while now < end {
            taken += u32::from(bucket.take(1, 1, now));
            now = now.after(Duration::from_nanos(10_999));
        }
        assert_eq!(taken, 100);
    }

    #[test]
    fn time_counts_once_though_who_looked_earlier_comes_later() {
        let mut bucket = TokenBucket::new(1, at(1000));
        let taken = [1000, 500, 1500, 2000].map(|ms| bucket.take(1, 1, at(ms)));
        assert_eq!(taken, [true, false, false, true]);
    }

    proptest! {
        #[test]
        fn who_found_no_token_finds_one_when_it_was_told_and_not_before(per_second in 1_u64..5_000, ns in 0_u64..10_000_000) {
            let mut bucket = TokenBucket::new(1, at(0));
            prop_assert!(bucket.take(per_second, 1, at(0)));
            let now = at(0).after(Duration::from_nanos(ns));
            let taken = bucket.take(per_second, 1, now);
            let next = bucket.next_at(per_second);
            let before = Monotonic::from_nanos(next.as_nanos() - 1);
            if !taken {
                prop_assert!(next > now);
            }
            prop_assert!(!bucket.clone().take(per_second, 1, before));
            prop_assert!(bucket.take(per_second, 1, next));
        }
    }

    #[test]
    fn share_of_what_is_done_is_added_up_to_the_burst() {
        let mut bucket = TokenBucket::new(0, at(0));
        bucket.add_percent(5, 10, 2);
        assert!(!bucket.take(0, 2, at(0)), "half a token");
        bucket.add_percent(5, 10, 2);
        assert!(bucket.take(0, 2, at(0)));
        bucket.add_percent(1_000_000, 10, 2);
        assert_eq!((0..9).filter(|_| bucket.take(0, 2, at(0))).count(), 2);
    }
}
