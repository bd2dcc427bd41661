//! How many calls an instance gets.

use serde::{Deserialize, Serialize};
use std::fmt;

/// `limits` of an `[[instance]]`: calls beyond them go to another instance that has the capability, where one serves, else they are refused as
/// `rate_limited`, with when to try again. They hold for new calls as soon as they are read, without a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallLimits {
    /// Calls a second, on average. Default: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_per_s: Option<u64>,
    /// Calls at once after a pause, where `calls_per_s` is set. Default: as many as that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// Calls whose callers wait for them, also for a lane. One whose caller is over its time counts no more, though the plugin's code may still be in
    /// it: how many of those there may be is what `concurrency_max` says. Default: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight_max: Option<u64>,
}

impl CallLimits {
    /// Whether any number of calls is let through.
    pub fn are_none(&self) -> bool {
        self.calls_per_s.is_none() && self.in_flight_max.is_none()
    }

    /// Each field that is set, with its bounds.
    pub fn bounds(&self) -> impl Iterator<Item = (&'static str, u64, u64, u64)> {
        let all = [
            ("calls_per_s", self.calls_per_s),
            ("burst", self.burst),
            ("in_flight_max", self.in_flight_max),
        ];
        let set = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
        set.map(|(name, value)| (name, value, 1, 1_000_000))
    }
}

impl fmt::Display for CallLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.calls_per_s.map(|rate| {
            let burst = self.burst.unwrap_or(rate);
            format!("{rate} calls/s, {burst} at once after a pause")
        });
        let in_flight = self.in_flight_max.map(|max| format!("{max} under way"));
        let parts: Vec<String> = rate.into_iter().chain(in_flight).collect();
        match parts.is_empty() {
            true => f.write_str("none"),
            false => write!(f, "at most {}", parts.join(", ")),
        }
    }
}
