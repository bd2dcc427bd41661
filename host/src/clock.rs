//! The only place that reads a clock.
//!
//! Decisions take time as an argument; whoever asks them reads it here.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Monotonic nanoseconds since some moment in this process; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(u64);

impl Monotonic {
    /// Nanoseconds since the process's own zero.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// From nanoseconds since the process's own zero.
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
    Monotonic(START.elapsed().as_nanos() as u64 + 1)
}

/// The wall clock.
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Milliseconds since the Unix epoch; 0 before it.
pub fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
