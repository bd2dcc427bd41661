//! The only place that reads a clock.
//!
//! Decisions take time as an argument; whoever asks them reads it here.

use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Monotonic nanoseconds since some moment before this process; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    pub const fn since(self, earlier: Monotonic) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This plus a duration.
    pub fn after(self, duration: Duration) -> Monotonic {
        Monotonic(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// The monotonic clock.
#[inline]
pub fn monotonic() -> Monotonic {
    from(clock_gettime(ClockId::Monotonic))
}

/// How far the kernel's coarse clock may be behind: it moves with the timer tick, which comes every 1 to 10 ms.
const COARSE_BEHIND: Duration = Duration::from_millis(20);

/// Whether a moment has come, to the nanosecond; but for a moment that is far ahead at a tenth of what reading the clock costs.
#[inline]
pub fn has_come(moment: Monotonic) -> bool {
    let at_most = from(clock_gettime(ClockId::MonotonicCoarse)).after(COARSE_BEHIND);
    at_most >= moment && monotonic() >= moment
}

fn from(time: Timespec) -> Monotonic {
    Monotonic(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64 + 1)
}

/// The wall clock.
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Milliseconds since the Unix epoch; 0 before it.
pub fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_comes_exactly_when_the_clock_says_so() {
        for ahead in [0, 1, 5, 19, 20, 21, 30].map(Duration::from_millis) {
            let moment = monotonic().after(ahead);
            loop {
                let before = monotonic();
                let come = has_come(moment);
                let after = monotonic();
                assert!(!come || after >= moment, "{ahead:?}: too early");
                assert!(come || before < moment, "{ahead:?}: too late");
                if come {
                    break;
                }
            }
        }
    }
}
