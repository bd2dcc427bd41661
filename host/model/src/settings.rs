//! How an instance is asked and judged, as people write it.

use serde::{Deserialize, Serialize};

/// How often an instance is asked how it is, and what makes it up, degraded or down. What is not given comes from the plugin's
/// manifest, and what is not there from the defaults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeSettings {
    /// Milliseconds between two checks of an instance that is well. Default: 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// By how much each check may move from its time, in percent of the interval, at most 50. Default: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_percent: Option<u8>,
    /// Milliseconds until the next check after a result that says otherwise than before. Default: 2000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recheck_ms: Option<u64>,
    /// Milliseconds between the first two checks of an instance that is down; doubled each time. Default: 5000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_min_ms: Option<u64>,
    /// Milliseconds between two checks of an instance that is down, at most. Default: 60000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_max_ms: Option<u64>,
    /// Milliseconds without a call after which an instance is idle. Default: 600000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_after_ms: Option<u64>,
    /// Milliseconds between two checks of an idle instance. Default: 60000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_interval_ms: Option<u64>,
    /// Milliseconds within which a check answers, at least: the time follows how long answers took. Default: 250.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_min_ms: Option<u64>,
    /// Milliseconds within which a check answers, at most. Default: 5000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Failed checks in a row that make it down. Default: 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fall: Option<u8>,
    /// Good checks in a row that make it up again. Default: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rise: Option<u8>,
    /// Intervals without a result after which nothing is known. Default: 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_intervals: Option<u8>,
    /// Milliseconds over which calls are counted. Default: 60000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
    /// Calls that a window needs to say anything. Default: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_calls_min: Option<u32>,
    /// Percent of failures from which on a window is degraded. Default: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded_percent: Option<u8>,
    /// Percent of failures from which on a window is bad. Default: 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_percent: Option<u8>,
    /// Milliseconds between two deep checks, each a synthetic request that costs what a real one costs; at least 300000. Given for an
    /// instance, its plugin must answer deep checks, as its manifest tells; given in `[probe]`, it is for those plugins that do.
    /// Default: none are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deep_every_ms: Option<u64>,
    /// Deep checks within any 24 hours, at most. Default: 24.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deep_per_day: Option<u32>,
    /// Milliseconds within which a deep check answers. Default: 30000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deep_timeout_ms: Option<u64>,
}

impl ProbeSettings {
    /// These, and `below` where they are silent.
    #[must_use]
    pub fn over(self, below: ProbeSettings) -> ProbeSettings {
        ProbeSettings {
            interval_ms: self.interval_ms.or(below.interval_ms),
            jitter_percent: self.jitter_percent.or(below.jitter_percent),
            recheck_ms: self.recheck_ms.or(below.recheck_ms),
            backoff_min_ms: self.backoff_min_ms.or(below.backoff_min_ms),
            backoff_max_ms: self.backoff_max_ms.or(below.backoff_max_ms),
            idle_after_ms: self.idle_after_ms.or(below.idle_after_ms),
            idle_interval_ms: self.idle_interval_ms.or(below.idle_interval_ms),
            timeout_min_ms: self.timeout_min_ms.or(below.timeout_min_ms),
            timeout_ms: self.timeout_ms.or(below.timeout_ms),
            fall: self.fall.or(below.fall),
            rise: self.rise.or(below.rise),
            stale_intervals: self.stale_intervals.or(below.stale_intervals),
            window_ms: self.window_ms.or(below.window_ms),
            window_calls_min: self.window_calls_min.or(below.window_calls_min),
            degraded_percent: self.degraded_percent.or(below.degraded_percent),
            down_percent: self.down_percent.or(below.down_percent),
            deep_every_ms: self.deep_every_ms.or(below.deep_every_ms),
            deep_per_day: self.deep_per_day.or(below.deep_per_day),
            deep_timeout_ms: self.deep_timeout_ms.or(below.deep_timeout_ms),
        }
    }

    /// Each value that is given, with its name and its bounds.
    pub fn bounds(&self) -> impl Iterator<Item = (&'static str, u64, u64, u64)> {
        const DAY_MS: u64 = 86_400_000;
        let all = [
            ("interval_ms", self.interval_ms, 10, DAY_MS),
            ("jitter_percent", self.jitter_percent.map(u64::from), 0, 50),
            ("recheck_ms", self.recheck_ms, 10, DAY_MS),
            ("backoff_min_ms", self.backoff_min_ms, 10, DAY_MS),
            ("backoff_max_ms", self.backoff_max_ms, 10, DAY_MS),
            ("idle_after_ms", self.idle_after_ms, 0, 365 * DAY_MS),
            ("idle_interval_ms", self.idle_interval_ms, 10, DAY_MS),
            ("timeout_min_ms", self.timeout_min_ms, 1, 600_000),
            ("timeout_ms", self.timeout_ms, 1, 600_000),
            ("fall", self.fall.map(u64::from), 1, 100),
            ("rise", self.rise.map(u64::from), 1, 100),
            ("stale_intervals", self.stale_intervals.map(u64::from), 2, 100),
            ("window_ms", self.window_ms, 100, DAY_MS),
            (
                "window_calls_min",
                self.window_calls_min.map(u64::from),
                1,
                1_000_000,
            ),
            ("degraded_percent", self.degraded_percent.map(u64::from), 1, 100),
            ("down_percent", self.down_percent.map(u64::from), 1, 100),
            ("deep_every_ms", self.deep_every_ms, 300_000, 365 * DAY_MS),
            ("deep_per_day", self.deep_per_day.map(u64::from), 1, 288),
            ("deep_timeout_ms", self.deep_timeout_ms, 100, 300_000),
        ];
        all.into_iter()
            .filter_map(|(name, value, min, max)| Some((name, value?, min, max)))
    }
}

/// What it means for the whole when an instance is down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criticality {
    /// The whole is down, unless somebody else does its work.
    Required,
    /// The whole is degraded.
    #[default]
    Optional,
}
