//! How long to wait for the answer to a check, from how long answers took: the retransmission timer of TCP (RFC 6298), fed with answers that
//! came, late ones too, and doubled each time that none came in time. Pure.

use crate::nanos;
use std::time::Duration;

/// An estimate of the round trip, and the time-out that follows from it. Small, since there are many.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CheckTimeout {
    /// Smoothed round trip, in microseconds; 0 before the first.
    smoothed_us: f32,
    /// Its mean deviation, in microseconds.
    deviation_us: f32,
    /// Times in a row that no answer came in time.
    unanswered: u8,
}

/// RFC 6298's α and β.
const ALPHA: f32 = 1.0 / 8.0;
const BETA: f32 = 1.0 / 4.0;

impl CheckTimeout {
    /// One more answer took this long.
    #[inline]
    pub fn observe(&mut self, took: Duration) {
        // Under a nanosecond nothing is measured; so 0 stays "none yet".
        let took = (nanos(took) as f32 / 1e3).max(1e-3);
        self.unanswered = 0;
        if self.smoothed_us == 0.0 {
            (self.smoothed_us, self.deviation_us) = (took, took / 2.0);
            return;
        }
        self.deviation_us += BETA * ((self.smoothed_us - took).abs() - self.deviation_us);
        self.smoothed_us += ALPHA * (took - self.smoothed_us);
    }

    /// No answer came in time: the next one gets twice as long, as in the RFC's section 5.5.
    pub fn timed_out(&mut self) {
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// Smoothed round trip; `None` before the first answer.
    pub fn smoothed(&self) -> Option<Duration> {
        (self.smoothed_us > 0.0).then(|| Duration::from_secs_f32(self.smoothed_us / 1e6))
    }

    /// How long to wait for the next answer: SRTT + 4·RTTVAR, and at least half as long again as SRTT, doubled for each time that none came,
    /// within bounds; the greater bound before the first answer.
    #[inline]
    pub fn timeout(&self, bounds: (Duration, Duration)) -> Duration {
        let (least, most) = bounds;
        if self.smoothed_us == 0.0 {
            return most.max(least);
        }
        // A conversion to whole microseconds is a single instruction, one to a `Duration` is fifty.
        let margin = (4.0 * self.deviation_us).max(self.smoothed_us / 2.0);
        let wait = Duration::from_micros((self.smoothed_us + margin) as u64).max(least);
        if self.unanswered == 0 {
            return wait.min(most).max(least);
        }
        let doubled = 1_u32.checked_shl(self.unanswered.into()).unwrap_or(u32::MAX);
        wait.saturating_mul(doubled).min(most).max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

    #[test]
    fn the_first_answers_as_the_rfc_says() {
        let mut timeout = CheckTimeout::default();
        assert_eq!(timeout.timeout(BOUNDS), BOUNDS.1);
        timeout.observe(Duration::from_millis(400));
        // SRTT = R, RTTVAR = R/2: 400 + 4 · 200.
        assert!(near(timeout.timeout(BOUNDS), 1200.0), "{timeout:?}");
        timeout.observe(Duration::from_millis(800));
        // RTTVAR = 3/4 · 200 + 1/4 · 400 = 250; SRTT = 7/8 · 400 + 1/8 · 800 = 450: 450 + 4 · 250.
        assert!(near(timeout.timeout(BOUNDS), 1450.0), "{timeout:?}");
        assert!(near(timeout.smoothed().unwrap(), 450.0));
    }

    #[test]
    fn answers_that_always_take_as_long_leave_room_for_one_that_takes_longer() {
        let mut timeout = CheckTimeout::default();
        (0..100).for_each(|_| timeout.observe(Duration::from_millis(500)));
        assert!(near(timeout.timeout(BOUNDS), 750.0), "{timeout:?}");
    }

    fn near(duration: Duration, ms: f32) -> bool {
        (duration.as_secs_f32() * 1e3 - ms).abs() < 0.1
    }

    #[test]
    fn bounds_hold() {
        let mut quick = CheckTimeout::default();
        let mut slow = CheckTimeout::default();
        for _ in 0..100 {
            quick.observe(Duration::ZERO);
            slow.observe(Duration::from_secs(3600));
        }
        assert_eq!((quick.timeout(BOUNDS), slow.timeout(BOUNDS)), BOUNDS);
        assert!(slow.smoothed().unwrap() > Duration::from_secs(3500));
        // Bounds the wrong way round: the lower one holds.
        assert_eq!(slow.timeout((BOUNDS.1, BOUNDS.0)), BOUNDS.1);
    }

    #[test]
    fn the_wait_doubles_until_an_answer_comes() {
        let mut timeout = CheckTimeout::default();
        timeout.observe(Duration::from_millis(1));
        let mut waits = Vec::new();
        for _ in 0..6 {
            waits.push(timeout.timeout(BOUNDS).as_millis());
            timeout.timed_out();
        }
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 5000]);
        (0..300).for_each(|_| timeout.timed_out());
        assert_eq!(timeout.timeout(BOUNDS), BOUNDS.1);
        timeout.observe(Duration::from_millis(1));
        assert_eq!(timeout.timeout(BOUNDS), BOUNDS.0);
    }

    #[test]
    fn twelve_bytes() {
        assert_eq!(size_of::<CheckTimeout>(), 12);
    }
}
