//! What a plugin is like while it is well: how fast it answers, how often it is called, and the noise in both. Pure.

use super::heap::Heap;
use super::random::Chance;
use super::{DAY, HOUR, MINUTE, SECOND, Time};
use extman_health::policy::DeepPolicy;
use std::time::Duration;

/// After a check that failed for no reason, the next that does comes no sooner: these are single failures.
const FAILURES_APART: Time = 2 * MINUTE;

/// Nobody is well whose answers take longer than any may: a bit under the greatest timeout, in nanoseconds.
const ANSWER_MAX: f64 = 4.4e9;

/// One plugin's ways.
#[derive(Debug, Clone)]
pub struct Nature {
    /// Median of its answers' round trip, in nanoseconds.
    rtt_median: f64,
    /// Spread of the round trip's logarithm.
    rtt_sigma: f64,
    /// How likely an answer takes much longer.
    spike: f64,
    /// How likely a check fails for no reason.
    failure: f64,
    /// Calls in a second, while it is called at all.
    pub calls_per_second: f64,
    /// How likely a call fails although all is well.
    pub call_failure: f64,
    /// It is called for this long each day.
    called_for: Time,
    called_from: Time,
    /// It has something to say of itself.
    pub has_check: bool,
    /// It tells of a change without being asked.
    pub tells: bool,
    /// It tells of its heap and the most that it means to use.
    pub heap: Option<Heap>,
    /// Its operator wants deep checks of it.
    pub deep: Option<DeepPolicy>,
    not_before: Time,
}

/// Deep checks that find room in a day beside those that are due: confirmations, and those that an operator asks for.
const DEEP_SPARE: u64 = 20;

impl Nature {
    /// Any plugin's.
    pub fn any(chance: &mut Chance) -> Self {
        let rtt_ms = match chance.unit() {
            u if u < 0.80 => chance.log_between(0.001, 20.0),
            u if u < 0.95 => chance.log_between(20.0, 200.0),
            _ => chance.log_between(200.0, 1000.0),
        };
        let per_minute = match chance.unit() {
            u if u < 0.20 => 0.0,
            u if u < 0.30 => chance.log_between(0.02, 1.0),
            u if u < 0.55 => chance.between(3.0, 10.0),
            u if u < 0.85 => chance.log_between(30.0, 120.0),
            _ => chance.log_between(120.0, 3000.0),
        };
        Nature {
            rtt_median: rtt_ms * 1e6,
            rtt_sigma: chance.between(0.05, 0.6),
            spike: chance.log_between(1e-5, 1e-3),
            failure: chance.log_between(1e-5, 2e-3),
            calls_per_second: per_minute / 60.0,
            call_failure: chance.between(0.0, 0.02),
            called_for: if chance.happens(0.3) { 10 * HOUR } else { DAY },
            called_from: (chance.unit() * DAY as f64) as Time,
            has_check: chance.happens(0.85),
            tells: chance.happens(0.3),
            heap: chance.happens(0.4).then(|| Heap::any(chance)),
            deep: chance.happens(0.25).then(|| deep(chance)),
            not_before: 0,
        }
    }

    /// A quick plugin without any noise, called so often.
    #[cfg(test)]
    pub fn quiet(calls_per_second: f64) -> Self {
        Nature {
            rtt_median: 1e6,
            rtt_sigma: 0.0,
            spike: 0.0,
            failure: 0.0,
            calls_per_second,
            call_failure: 0.0,
            called_for: DAY,
            called_from: 0,
            has_check: true,
            tells: false,
            heap: Some(Heap::steady(300.0)),
            deep: Some(DeepPolicy {
                every: DeepPolicy::EVERY_MIN,
                per_day: 288,
                ..DeepPolicy::default()
            }),
            not_before: 0,
        }
    }

    /// Called for this long from the beginning of each day on.
    #[cfg(test)]
    pub fn called_for(self, called_for: Time) -> Self {
        Nature { called_for, ..self }
    }

    /// How long its next answer takes.
    #[inline]
    pub fn round_trip(&self, chance: &mut Chance) -> Time {
        let usual = self.rtt_median * (self.rtt_sigma * chance.normal()).exp();
        let spike = if chance.happens(self.spike) {
            chance.log_between(0.05, 3.0) * SECOND as f64
        } else {
            0.0
        };
        (usual + spike).min(ANSWER_MAX) as Time
    }

    /// Whether a check fails now for no reason.
    #[inline]
    pub fn fails_for_no_reason(&mut self, now: Time, chance: &mut Chance) -> bool {
        let fails = chance.happens(self.failure) && now >= self.not_before;
        if fails {
            self.not_before = now + FAILURES_APART;
        }
        fails
    }

    /// Calls in a second at this time of its day.
    #[inline]
    pub fn rate(&self, at: Time) -> f64 {
        if self.called_for < DAY && (at + self.called_from) % DAY >= self.called_for {
            return 0.0;
        }
        self.calls_per_second
    }

    /// Whether it may count as idle at some time.
    pub fn may_be_idle(&self) -> bool {
        self.called_for < DAY || self.calls_per_second * 600.0 < 40.0
    }

    /// Whether it is called so often that neither a window of calls nor an interval without one is ever a matter of chance.
    pub fn is_called_often(&self) -> bool {
        self.calls_per_second >= 2.0 && self.called_for == DAY
    }
}

/// How often deep checks are wanted: mostly with room to spare in the budget, else on a budget that is soon spent.
fn deep(chance: &mut Chance) -> DeepPolicy {
    let every = chance.log_between(300.0, 6.0 * 3600.0);
    let spare = (86_400.0 / every).ceil() as u64 + DEEP_SPARE;
    let scarce = 1 + chance.bits() % 6;
    let per_day = if chance.happens(0.75) {
        spare.min(288)
    } else {
        scarce
    };
    DeepPolicy {
        every: Duration::from_secs_f64(every),
        per_day: per_day as u32,
        ..DeepPolicy::default()
    }
}

/// Whether a budget never keeps what is due from being made.
pub(super) fn has_room(policy: &DeepPolicy) -> bool {
    let due = (86_400.0 / policy.every.as_secs_f64()).ceil() as u64;
    u64::from(policy.per_day) >= (due + DEEP_SPARE).min(288)
}
