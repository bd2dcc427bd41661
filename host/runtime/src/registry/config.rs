//! `[routing]`: which of those that have a capability serves a call.

use extman_health::breaker::BreakerPolicy;
use extman_model::FieldFault;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// `[routing]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoutingConfig {
    /// What becomes of a call where all who could serve it are down, or failed their latest calls: `least_bad` (the first that runs is called
    /// all the same), or `fail` (it fails at once; but one that failed its calls is tried again after a while). Default: `least_bad`, since a
    /// verdict may be wrong.
    pub all_down: AllDown,
    /// Retries of a capability, in percent of all calls of the instances that have it, at most, and one a second beside that; 0 makes none. A call is retried by another
    /// instance, and only where the manifest says `idempotent = true` of the capability. Default: 10.
    pub retry_percent: u8,
    /// When calls are kept from an instance that fails them.
    pub breaker: BreakerConfig,
    /// Answers that are kept for when nobody serves.
    pub cache: CacheConfig,
}

impl Default for RoutingConfig {
    fn default() -> Self {
        RoutingConfig {
            all_down: AllDown::default(),
            retry_percent: 10,
            breaker: BreakerConfig::default(),
            cache: CacheConfig::default(),
        }
    }
}

/// `[routing.cache]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// For each capability whose answers are kept, by its name, after how many milliseconds one is no longer given. A call that nobody serves is
    /// answered as the same call was before, and the reply says so, with its age: where the call ends as `not_serving`, `unavailable`,
    /// `deadline_exceeded` or `panicked`, or as `exhausted` since nobody has room, and as long as the build that gave the answer is the first choice
    /// with the same configuration. Only what the manifest declares `idempotent = true`, from the first choice and not from its new version while
    /// that is tried; and neither streams nor calls of an instance by its name, from plugins or from attached threads. Default: none are kept.
    pub max_age_ms: BTreeMap<String, u64>,
    /// Bytes of all answers that are kept, with what was asked and what keeping them takes. Those that were used least recently are left out first. Default: 16777216.
    pub bytes_max: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        CacheConfig {
            max_age_ms: BTreeMap::new(),
            bytes_max: 16 << 20,
        }
    }
}

/// `[routing.breaker]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// Whether calls are kept from an instance as soon as many of its latest calls failed or were slow. Without it they are once its health is
    /// down by its calls. Default: true.
    pub enabled: bool,
    /// The latest calls that are looked at. Default: 20.
    pub window_calls: u64,
    /// Fewer calls than so many say nothing. Default: 5.
    pub calls_min: u64,
    /// Percent of them that failed, from which on no call goes there. Default: 50.
    pub failed_percent: u8,
    /// Percent of them that were slow, from which on no call goes there. Default: 80.
    pub slow_percent: u8,
    /// Milliseconds from which on a call is slow, streams apart. Default: none is.
    pub slow_ms: Option<u64>,
    /// Milliseconds until calls are tried again, for the first time; doubled each time that they fail, and less by up to a quarter, so that
    /// not all come at once. Default: 5000.
    pub open_ms: u64,
    /// Milliseconds until calls are tried again, at most. Default: 60000.
    pub open_max_ms: u64,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        let policy = BreakerPolicy::default();
        BreakerConfig {
            enabled: true,
            window_calls: policy.window_calls as u64,
            calls_min: policy.calls_min as u64,
            failed_percent: (policy.failed_permille / 10) as u8,
            slow_percent: (policy.slow_permille / 10) as u8,
            slow_ms: None,
            open_ms: policy.open_first.as_millis() as u64,
            open_max_ms: policy.open_max.as_millis() as u64,
        }
    }
}

/// What becomes of a call where all who could serve it are down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllDown {
    /// It fails at once and reaches no plugin; but an instance whose calls failed is tried again after a while.
    Fail,
    /// The first that runs is called all the same: a verdict may be wrong.
    #[default]
    LeastBad,
}

impl RoutingConfig {
    /// Values that are out of their ranges, or don't fit together.
    pub fn faults(&self) -> Vec<FieldFault> {
        let breaker = &self.breaker;
        let mut faults: Vec<_> = FieldFault::out_of_range([
            ("routing.retry_percent", self.retry_percent.into(), 0, 100),
            ("routing.breaker.window_calls", breaker.window_calls, 1, 1000),
            ("routing.breaker.calls_min", breaker.calls_min, 1, 1000),
            (
                "routing.breaker.failed_percent",
                breaker.failed_percent.into(),
                1,
                100,
            ),
            (
                "routing.breaker.slow_percent",
                breaker.slow_percent.into(),
                1,
                100,
            ),
            ("routing.breaker.slow_ms", breaker.slow_ms.unwrap_or(1), 1, DAY_MS),
            ("routing.breaker.open_ms", breaker.open_ms, 10, DAY_MS),
            ("routing.breaker.open_max_ms", breaker.open_max_ms, 10, DAY_MS),
            ("routing.cache.bytes_max", self.cache.bytes_max, 1024, 1 << 40),
        ])
        .collect();
        for (capability, ms) in &self.cache.max_age_ms {
            if !(1..=YEAR_MS).contains(ms) {
                let goes_on = format!("is {ms}, outside 1 to {YEAR_MS}; set it within that range");
                let field = format!("routing.cache.max_age_ms.{capability}");
                faults.push(FieldFault::new(field, goes_on));
            }
        }
        for (field, lower, other, upper) in [
            (
                "routing.breaker.calls_min",
                breaker.calls_min,
                "window_calls",
                breaker.window_calls,
            ),
            (
                "routing.breaker.open_ms",
                breaker.open_ms,
                "open_max_ms",
                breaker.open_max_ms,
            ),
        ] {
            if lower > upper {
                let goes_on =
                    format!("is {lower} and {other} is {upper}; set it to that at most, or raise that");
                faults.push(FieldFault::new(field, goes_on));
            }
        }
        faults
    }

    /// What a breaker goes by.
    pub(super) fn breaker_policy(&self) -> BreakerPolicy {
        let breaker = &self.breaker;
        BreakerPolicy {
            window_calls: breaker.window_calls as usize,
            // Without it no number of failed calls is enough.
            calls_min: match breaker.enabled {
                true => breaker.calls_min as usize,
                false => usize::MAX,
            },
            failed_permille: usize::from(breaker.failed_percent) * 10,
            slow_permille: usize::from(breaker.slow_percent) * 10,
            open_first: Duration::from_millis(breaker.open_ms),
            open_max: Duration::from_millis(breaker.open_max_ms),
            ..BreakerPolicy::default()
        }
    }

    /// From how long on a call is slow.
    pub(super) fn slow(&self) -> Duration {
        self.breaker.slow_ms.map_or(Duration::MAX, Duration::from_millis)
    }
}

const DAY_MS: u64 = 86_400_000;
const YEAR_MS: u64 = 366 * DAY_MS;
