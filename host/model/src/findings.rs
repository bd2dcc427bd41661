//! Findings of the analysis of a history, as answers carry them. The formulas are in `extman-health`.

use crate::record::Range;
use crate::{Cause, ErrorKind};
use serde::{Deserialize, Serialize};

/// What `drift` found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Drift {
    /// One of the versions has too few figures.
    NotEnough {
        /// Figures of the version before.
        baseline: usize,
        /// How many of them are needed.
        baseline_needed: usize,
        /// Figures of this version.
        current: usize,
        /// How many of them are needed.
        current_needed: usize,
    },
    /// As before.
    None(Comparison),
    /// More than before.
    Worse(Comparison),
    /// Less than before.
    Better(Comparison),
}

/// Two versions beside each other, in the unit of the figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Median of the version before.
    pub baseline: f64,
    /// What counts as its standard deviation.
    pub sigma: f64,
    /// Median of this version, since the shift began, or of all its figures if there is none.
    pub current: f64,
    /// `current` / `baseline`; absent if that is zero.
    pub ratio: Option<f64>,
    /// When the shift began, by the CUSUM, in milliseconds since the Unix epoch; absent if there is none.
    pub since_unix_ms: Option<u64>,
    /// Figures of the version before.
    pub baseline_figures: usize,
    /// Figures of this version.
    pub current_figures: usize,
}

/// Failures by kind, the most frequent first: Pareto's diagram (Juran, Quality Control Handbook, 1951).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pareto {
    /// All failures.
    pub total: u64,
    /// Those kinds that occurred; of equally frequent ones the order is that of the kinds.
    pub kinds: Vec<KindShare>,
}

/// One kind among all failures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KindShare {
    /// The kind.
    pub kind: ErrorKind,
    /// How many.
    pub count: u64,
    /// Its share of all, within 0 to 1.
    pub share: f64,
    /// The share of this kind and all before it.
    pub cumulative: f64,
    /// One of the fewest kinds that make up 80 % of all.
    pub vital: bool,
    /// The caller is to blame, so that it does not count against the plugin.
    pub callers: bool,
}

/// What `leak` found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Leak {
    /// Too few hours since the warm-up.
    NotEnough {
        /// Hours with a figure.
        hours: usize,
        /// Hours that are needed.
        hours_needed: usize,
    },
    /// No sign of a leak.
    NotSuspected(Growth),
    /// It only grows.
    Suspected {
        /// How.
        #[serde(flatten)]
        growth: Growth,
        /// When it reaches its limit if it goes on like this, in milliseconds since the Unix epoch; absent without a limit, or if
        /// that is more than `HORIZON_MS` away.
        exhausted_unix_ms: Option<u64>,
    },
}

/// How hourly minima of a heap went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// Start of the first hour, in milliseconds since the Unix epoch.
    pub from_unix_ms: u64,
    /// Start of the last hour, in milliseconds since the Unix epoch.
    pub to_unix_ms: u64,
    /// Hours with a figure.
    pub hours: usize,
    /// Theil–Sen slope, in bytes an hour.
    pub bytes_per_hour: f64,
    /// Lower end of its 95 % confidence interval; it takes hours as independent.
    pub bytes_per_hour_low: f64,
    /// Upper end of it.
    pub bytes_per_hour_high: f64,
    /// What the line gains from the first hour to the last, as a share of where it begins.
    pub growth: f64,
    /// Two-sided probability of such a trend by chance, corrected for autocorrelation.
    pub p: f64,
}

/// Load before outages, and otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AfterLoad {
    /// Outages with known load before them.
    pub outages: usize,
    /// Stretches that they were compared with.
    pub others: usize,
    /// Median of calls a minute in the five minutes before an outage.
    pub before_calls_per_minute: f64,
    /// Median of calls a minute otherwise.
    pub other_calls_per_minute: f64,
    /// Probability that the load before an outage is greater than at another time; ties count half.
    pub superiority: f64,
    /// One-sided probability of such a difference by chance.
    pub p: f64,
}

/// Two instances that fail together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoFailing {
    /// One of them.
    pub first: String,
    /// The other.
    pub second: String,
    /// Failures of the first, those within a window of each other counted once.
    pub first_failures: u64,
    /// The same of the second.
    pub second_failures: u64,
    /// Failures of one that have one of the other's near; the less of both sides.
    pub together: u64,
    /// Observed over expected by chance; the less of both sides.
    pub lift: f64,
    /// Probability of as many by chance, for all pairs that were tried.
    pub p: f64,
    /// Median of the second's start less the first's, in milliseconds: above zero if the first is the first to fail.
    pub lag_ms: i64,
}

/// An interval at which failures come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Periodic {
    /// The interval, in milliseconds.
    pub period_ms: u64,
    /// How sharp it is: length of the mean vector, 1 if every start is on its beat.
    pub strength: f64,
    /// Probability of such a strength by chance, for all periods that were tried.
    pub p: f64,
    /// Starts that were looked at.
    pub starts: usize,
    /// Beats from the first to the last start.
    pub beats: u64,
    /// How many of these have a start.
    pub beats_met: usize,
    /// When the next one is due after the last start, in milliseconds since the Unix epoch.
    pub next_unix_ms: u64,
}

/// Times in each state, and outages. Times are in milliseconds; shares are within 0 to 1; what can't be said is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Uptime {
    /// What was asked; if nothing is known before, from when on anything is.
    pub range: Range,
    /// Time up.
    pub up_ms: u64,
    /// Time degraded.
    pub degraded_ms: u64,
    /// Time down.
    pub down_ms: u64,
    /// Time for which it is written down that nobody knew.
    pub unknown_ms: u64,
    /// Time in maintenance or stopped by an operator; it is in no share.
    pub left_out_ms: u64,
    /// (up + degraded + down + unknown) / (length of the range − left out): how much of it is written down. Absent if all of it is
    /// left out.
    pub coverage: Option<f64>,
    /// (up + degraded + down) / (length of the range − left out): how much of it the uptime rests on.
    pub known: Option<f64>,
    /// (up + degraded) / (up + degraded + down). Absent if it was never known.
    pub uptime: Option<f64>,
    /// How many outages, one that began before the range among them.
    pub outages: u64,
    /// Mean time to restoration: mean length of the outages that ended within the range. One that began before it counts with
    /// its part within. Absent without such.
    pub mttr_ms: Option<u64>,
    /// Mean operating time between failures: the mean, over each outage and the next, of the time up or degraded between their
    /// starts. Absent with fewer than two outages.
    pub mtbf_ms: Option<u64>,
    /// The longest outage, the earliest of several.
    pub longest: Option<Outage>,
    /// From the end of the last outage to the range's end; 0 while it runs. Absent without outages.
    pub since_last_ms: Option<u64>,
}

/// A maximal run of down. Time that is unknown or was not observed between two spans of down does not split it: nobody saw it
/// recover. Time that is left out does, and ends it: from there on an operator had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// When it began, in milliseconds since the Unix epoch; the start of the range if it was down before.
    pub from_unix_ms: u64,
    /// The end of the last time that it was seen down.
    pub to_unix_ms: u64,
    /// What decided that it was down, at first.
    pub cause: Cause,
    /// Nobody has seen it recover within the range.
    pub running: bool,
}

impl Outage {
    /// From its start to the last time that it was seen down, in milliseconds.
    pub fn length_ms(&self) -> u64 {
        self.to_unix_ms.saturating_sub(self.from_unix_ms)
    }
}
