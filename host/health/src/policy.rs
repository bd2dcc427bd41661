//! The numbers by which an instance is scheduled and judged, resolved for one instance. Pure.

use extman_model::ProbeSettings;
use extman_plugin_api::manifest::schema::ProbeHints;
use std::time::Duration;

/// How often an instance is asked, and what makes it up, degraded or down.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeepPolicy {
    /// Between two of them; never under [`DeepPolicy::EVERY_MIN`].
    pub every: Duration,
    /// How many within any 24 hours.
    pub per_day: u32,
    /// Within which one has to answer.
    pub timeout: Duration,
    /// Whether the plugin answers them, by its manifest: if not, none is made, and the operator is told.
    pub answered: bool,
}

impl Default for DeepPolicy {
    fn default() -> Self {
        DeepPolicy {
            every: Duration::from_secs(3600),
            per_day: 24,
            timeout: Duration::from_secs(30),
            answered: true,
        }
    }
}

impl DeepPolicy {
    /// No synthetic request follows another sooner.
    pub const EVERY_MIN: Duration = Duration::from_secs(300);
}

impl Policy {
    /// From what is configured for the instance, what its manifest hints at below that, and what is configured for all below
    /// that.
    pub fn resolve(own: ProbeSettings, hints: &ProbeHints, all: ProbeSettings) -> Policy {
        // One line for all is for those that answer deep checks; who names an instance is told if that does not.
        let answered = hints.deep;
        let deep_is_meant = own.deep_every_ms.is_some() || answered;
        let hints = ProbeSettings {
            interval_ms: hints.interval_ms,
            timeout_ms: hints.timeout_ms,
            ..ProbeSettings::default()
        };
        let set = own.over(hints).over(all);
        let usual = Policy::default();
        let ms = |value: Option<u64>, usual: Duration| value.map_or(usual, Duration::from_millis);
        let permille =
            |percent: Option<u8>, usual: u16| percent.map_or(usual, |percent| u16::from(percent) * 10);
        let timeout_max = ms(set.timeout_ms, usual.timeout.1);
        let usual_deep = DeepPolicy::default();
        let deep = set
            .deep_every_ms
            .filter(|_| deep_is_meant)
            .map(|every| DeepPolicy {
                every: Duration::from_millis(every).max(DeepPolicy::EVERY_MIN),
                per_day: set.deep_per_day.unwrap_or(usual_deep.per_day),
                timeout: ms(set.deep_timeout_ms, usual_deep.timeout),
                answered,
            });
        Policy {
            interval: ms(set.interval_ms, usual.interval),
            jitter_permille: permille(set.jitter_percent, usual.jitter_permille),
            recheck: ms(set.recheck_ms, usual.recheck),
            down_backoff: (
                ms(set.backoff_min_ms, usual.down_backoff.0),
                ms(set.backoff_max_ms, usual.down_backoff.1),
            ),
            idle_after: ms(set.idle_after_ms, usual.idle_after),
            idle_interval: ms(set.idle_interval_ms, usual.idle_interval),
            timeout: (
                ms(set.timeout_min_ms, usual.timeout.0).min(timeout_max),
                timeout_max,
            ),
            fall: set.fall.unwrap_or(usual.fall),
            rise: set.rise.unwrap_or(usual.rise),
            stale_intervals: set.stale_intervals.unwrap_or(usual.stale_intervals),
            calls: CallPolicy {
                window: ms(set.window_ms, usual.calls.window),
                calls_min: set.window_calls_min.unwrap_or(usual.calls.calls_min),
                degraded_permille: permille(set.degraded_percent, usual.calls.degraded_permille),
                down_permille: permille(set.down_percent, usual.calls.down_permille),
            },
            deep,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instance_wins_over_the_manifest_and_that_over_the_rest() {
        let with = |interval_ms| ProbeSettings {
            interval_ms,
            ..ProbeSettings::default()
        };
        let hints = |interval_ms| ProbeHints {
            interval_ms,
            ..ProbeHints::default()
        };
        for (own, hint, all, expected) in [
            (Some(1), Some(2), Some(3), 1),
            (None, Some(2), Some(3), 2),
            (None, None, Some(3), 3),
            (None, None, None, 10_000),
        ] {
            let policy = Policy::resolve(with(own), &hints(hint), with(all));
            assert_eq!(policy.interval, Duration::from_millis(expected));
        }
        let nothing = ProbeSettings::default();
        assert_eq!(
            Policy::resolve(nothing, &ProbeHints::default(), nothing),
            Policy::default()
        );
    }

    #[test]
    fn deep_checks_are_wanted_where_somebody_says_so_and_the_plugin_answers_them() {
        let with = |deep_every_ms| ProbeSettings {
            deep_every_ms,
            ..ProbeSettings::default()
        };
        let hints = |deep| ProbeHints {
            deep,
            ..ProbeHints::default()
        };
        for (own, deep, all, expected) in [
            (None, true, None, None),
            (None, false, Some(400_000), None),
            (None, true, Some(400_000), Some((400, true))),
            (Some(500_000), true, Some(400_000), Some((500, true))),
            (Some(500_000), false, None, Some((500, false))),
            (Some(1), true, None, Some((300, true))),
        ] {
            let policy = Policy::resolve(with(own), &hints(deep), with(all)).deep;
            let seen = policy.map(|deep| (deep.every.as_secs(), deep.answered));
            assert_eq!(seen, expected, "{own:?} {deep} {all:?}");
        }
    }

    #[test]
    fn a_short_timeout_moves_the_lower_bound_too() {
        let short = ProbeSettings {
            timeout_ms: Some(50),
            ..ProbeSettings::default()
        };
        let policy = Policy::resolve(short, &ProbeHints::default(), ProbeSettings::default());
        assert_eq!(
            policy.timeout,
            (Duration::from_millis(50), Duration::from_millis(50))
        );
    }
}
