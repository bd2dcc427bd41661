//! The numbers by which an instance is scheduled and judged, resolved for one instance. Pure.

use std::time::Duration;

/// How often an instance is asked, and what makes it up, degraded or down.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Between two checks of an instance that is well.
    pub interval: Duration,
    /// How far a check may move from its time, each cycle anew, in thousandths of the interval.
    pub jitter_permille: u16,
    /// Until the next check after a result that says otherwise than before.
    pub recheck: Duration,
    /// Between two checks of an instance that is down: the first, doubled each time up to the second.
    pub down_backoff: (Duration, Duration),
    /// Without calls for this long, it counts as idle.
    pub idle_after: Duration,
    /// Between two checks of an idle instance.
    pub idle_interval: Duration,
    /// Bounds of the time within which a check has to answer.
    pub timeout: (Duration, Duration),
    /// Failed checks in a row that make it down.
    pub fall: u8,
    /// Good checks in a row that make it up again.
    pub rise: u8,
    /// Intervals without a result after which nothing is known.
    pub stale_intervals: u8,
    /// What calls say.
    pub calls: CallPolicy,
    /// Synthetic requests, if the operator wants them.
    pub deep: Option<DeepPolicy>,
}

/// What makes calls evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallPolicy {
    /// The stretch over which calls are counted.
    pub window: Duration,
    /// Calls that a window needs to say anything.
    pub calls_min: u32,
    /// Failures in thousandths from which on a window is degraded.
    pub degraded_permille: u16,
    /// Failures in thousandths from which on a window is bad; `fall` of them running make it down.
    pub down_permille: u16,
}

/// Synthetic requests: they cost what a real one costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeepPolicy {
    /// Between two of them; never under [`DeepPolicy::EVERY_MIN`].
    pub every: Duration,
    /// How many a day (UTC).
    pub per_day: u32,
}

impl DeepPolicy {
    /// No synthetic request follows another sooner.
    pub const EVERY_MIN: Duration = Duration::from_secs(300);
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            interval: Duration::from_secs(10),
            jitter_permille: 100,
            recheck: Duration::from_secs(2),
            down_backoff: (Duration::from_secs(5), Duration::from_secs(60)),
            idle_after: Duration::from_secs(600),
            idle_interval: Duration::from_secs(60),
            timeout: (Duration::from_millis(250), Duration::from_secs(5)),
            fall: 3,
            rise: 2,
            stale_intervals: 3,
            calls: CallPolicy::default(),
            deep: None,
        }
    }
}

impl Default for CallPolicy {
    fn default() -> Self {
        CallPolicy {
            window: Duration::from_secs(60),
            calls_min: 5,
            degraded_permille: 100,
            down_permille: 500,
        }
    }
}
