//! What the judge is told to look for, and how sure it has to be.

use serde::{Deserialize, Serialize};

/// When a new version is worse, and what has to be excluded before it is good.
///
/// Two bounds stand for each measure. Below the lower one a difference is a trifle: nothing is worse for it, however certain. From the upper one on
/// it can't be borne: a version is good only once such a difference is excluded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JudgePolicy {
    /// Calls of each version that a step needs to say anything. Default: 50.
    pub calls_min: u64,
    /// How much more of the calls have to fail at least: a difference of shares. Default: 0.01.
    pub errors_min: f64,
    /// How much more that fails can't be borne. Default: 0.05.
    pub errors_max: f64,
    /// How many times as long calls have to take at least. Default: 1.2.
    pub latency_min: f64,
    /// How many times as long can't be borne. Default: 1.5.
    pub latency_max: f64,
    /// Microseconds by which calls have to take longer at least, besides: a version that gets few calls has less of its code and data in the
    /// processor's caches. Default: 50.
    pub latency_trifle_us: u64,
    /// How much more of the checks have to fail at least: a difference of shares. Default: 0.1.
    pub checks_min: f64,
    /// How many times the greatest heap of the version before one that goes on growing has to have reached. Default: 1.1.
    pub heap_growing: f64,
    /// How many times that heap can't be borne, whether it grows or not. Default: 1.5.
    pub heap_max: f64,
    /// One panic in so many calls can't be borne. Default: 200.
    pub panics_max: u32,
    /// The probability that a version that is as the one before is called worse in the whole of an update, at most. Default: 0.005.
    pub false_worse: f64,
    /// The probability that a difference that can't be borne is excluded in spite of being there, at most, for each measure. Default: 0.005.
    pub false_good: f64,
}

impl Default for JudgePolicy {
    fn default() -> Self {
        JudgePolicy {
            calls_min: 50,
            errors_min: 0.01,
            errors_max: 0.05,
            latency_min: 1.2,
            latency_max: 1.5,
            latency_trifle_us: 50,
            checks_min: 0.1,
            heap_growing: 1.1,
            heap_max: 1.5,
            panics_max: 200,
            false_worse: 0.005,
            false_good: 0.005,
        }
    }
}

impl JudgePolicy {
    /// Each value with its name and its bounds.
    pub fn bounds(self) -> impl Iterator<Item = (&'static str, f64, f64, f64)> {
        [
            ("calls_min", self.calls_min as f64, 1.0, 1e6),
            ("errors_min", self.errors_min, 0.0, 0.5),
            ("errors_max", self.errors_max, 0.001, 0.9),
            ("latency_min", self.latency_min, 1.0, 10.0),
            ("latency_max", self.latency_max, 1.1, 100.0),
            ("latency_trifle_us", self.latency_trifle_us as f64, 0.0, 1e7),
            ("checks_min", self.checks_min, 0.0, 0.9),
            ("heap_growing", self.heap_growing, 1.0, 10.0),
            ("heap_max", self.heap_max, 1.0, 100.0),
            ("panics_max", f64::from(self.panics_max), 1.0, 1e6),
            ("false_worse", self.false_worse, 1e-9, 0.2),
            ("false_good", self.false_good, 1e-9, 0.2),
        ]
        .into_iter()
    }

    /// How long a call of the candidate is held to take, in nanoseconds, where `factor` times as long and a trifle are no difference.
    pub(super) fn scaled(self, nanos: f64, factor: f64) -> f64 {
        (nanos - self.latency_trifle_us as f64 * 1e3) / factor
    }

    /// The logarithm of what an e-process has to reach, so that of [`MEASURES`] of them one is false no more often than it may be.
    pub(super) fn log_worse(self) -> f64 {
        (MEASURES / self.false_worse).ln()
    }

    /// The logarithm of what one against a difference that can't be borne has to reach.
    pub(super) fn log_good(self) -> f64 {
        -self.false_good.ln()
    }

    /// Calls without a panic that exclude one in [`panics_max`](Self::panics_max): ln β / ln(1 − 1/n).
    pub(super) fn calls_without_panic(self) -> u64 {
        let rate = 1.0 / f64::from(self.panics_max.max(2));
        (self.false_good.ln() / (-rate).ln_1p()).ceil() as u64
    }
}

/// What may be found worse, each by evidence of its own: errors, latency, checks, heap, panics, and whatever all calls show afterwards.
pub(super) const MEASURES: f64 = 6.0;
/// From here on the evidence leans so far towards worse that the version is not called good: ten to one.
pub(super) const LOG_LEANS: f64 = std::f64::consts::LN_10;
/// The like for a probability.
pub(super) const P_LEANS: f64 = 0.05;
