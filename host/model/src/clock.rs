//! The only place that reads a clock.
//!
//! Decisions take time as an argument; whoever asks them reads it here.

use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Monotonic nanoseconds since some moment before this process; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(u64);

impl Monotonic {
    /// Nanoseconds since the clock's own zero.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// From nanoseconds since the clock's own zero.
    pub const fn from_nanos(nanos: u64) -> Self {
        Monotonic(nanos)
    }

    /// Time from `earlier` to this; zero if it is later.
    #[inline]
    pub const fn since(self, earlier: Monotonic) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// [`since`](Self::since) in nanoseconds.
    #[inline]
    pub const fn nanos_since(self, earlier: Monotonic) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This plus a duration.
    #[inline]
    pub const fn after(self, duration: Duration) -> Monotonic {
        Monotonic(self.0.saturating_add(nanos(duration)))
    }
}

/// A duration in nanoseconds, at most what a `u64` holds: 584 years.
#[inline]
pub const fn nanos(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(duration.subsec_nanos() as u64)
}

/// The monotonic clock.
#[inline]
pub fn monotonic() -> Monotonic {
    from(clock_gettime(ClockId::Monotonic))
}

/// How far the kernel's coarse clock may be behind: it moves with the timer tick, which comes every 1 to 10 ms.
const COARSE_BEHIND: Duration = Duration::from_millis(20);

/// Whether a moment has come: as exactly as [`monotonic`] tells, but while the moment is far ahead at a tenth of the cost. It is seen
/// late only if the kernel's timer tick was held up for longer than 20 ms, and then by no more than that.
#[inline]
pub fn has_come(moment: Monotonic) -> bool {
    let at_most = from(clock_gettime(ClockId::MonotonicCoarse)).after(COARSE_BEHIND);
    at_most >= moment && monotonic() >= moment
}

#[inline]
fn from(time: Timespec) -> Monotonic {
    Monotonic(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64 + 1)
}

/// The wall clock.
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Time since the machine was started, with that in which it slept: the same for every process.
pub fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Milliseconds since the Unix epoch; 0 before it.
pub fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Whole milliseconds, rounded down.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whole milliseconds, rounded up: whoever comes back after so many is not too early.
pub fn millis_up(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_comes_and_never_too_early() {
        assert!(has_come(Monotonic::from_nanos(1)));
        assert!(!has_come(Monotonic::from_nanos(u64::MAX)));
        assert!(!has_come(monotonic().after(Duration::from_secs(3600))));
        for ahead in [0, 1, 5, 19, 20, 21, 30].map(Duration::from_millis) {
            let moment = monotonic().after(ahead);
            while !has_come(moment) {
                std::hint::spin_loop();
            }
            assert!(monotonic() >= moment, "{ahead:?}");
        }
    }
}
