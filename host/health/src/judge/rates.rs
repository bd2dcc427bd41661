//! Whether more of what the candidate does fails than of what the baseline does in the same time: calls, checks, panics.

use super::e_process::{EProcess, Scored, log_factor};
use super::policy::LOG_LEANS;

/// A stratum needs so many of each.
const STRATUM_MIN: u64 = 5;
/// ln ω for the ratios of failures ω that are staked on.
const TILTS: [f64; 6] = [0.693, 1.386, 2.079, 2.773, 3.466, 4.159];

/// So many of so many failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Failures {
    /// How many failed.
    pub failed: u64,
    /// Of how many.
    pub of: u64,
}

impl Failures {
    /// The share that failed; 0 of none.
    pub fn share(self) -> f64 {
        if self.of == 0 {
            0.0
        } else {
            self.failed as f64 / self.of as f64
        }
    }

    pub(super) fn add(&mut self, other: Failures) {
        self.of = self.of.saturating_add(other.of);
        self.failed = self.failed.saturating_add(other.failed.min(other.of));
    }
}

/// One stretch of time, both sides.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Both {
    pub candidate: Failures,
    pub baseline: Failures,
}

impl Both {
    fn add(&mut self, other: Both) {
        self.candidate.add(other.candidate);
        self.baseline.add(other.baseline);
    }
}

/// Rates of failure, compared stratum by stratum.
#[derive(Debug, Clone)]
pub(super) struct Rates {
    open: Both,
    worse: EProcess<6>,
    /// Against a difference that can't be borne; none where nobody asks.
    bearable: Option<Bearable>,
    whole: Comparison,
    step: Comparison,
}

impl Rates {
    /// `intolerable`: the difference of shares that can't be borne and is to be excluded.
    pub fn new(intolerable: Option<f64>) -> Self {
        Rates {
            open: Both::default(),
            worse: EProcess::new(TILTS),
            bearable: intolerable.map(Bearable::new),
            whole: Comparison::default(),
            step: Comparison::default(),
        }
    }

    /// Another share of the calls from here on.
    pub fn begin_step(&mut self) {
        self.close();
        self.worse.begin();
        self.step = Comparison::default();
    }

    pub fn observe(&mut self, both: Both) {
        self.open.add(both);
        if self.open.candidate.of >= STRATUM_MIN && self.open.baseline.of >= STRATUM_MIN {
            self.close();
        }
    }

    fn close(&mut self) {
        let both = std::mem::take(&mut self.open);
        if both.candidate.of == 0 || both.baseline.of == 0 {
            return;
        }
        self.worse.push(|tilt| log_factor_of_failures(both, tilt));
        if let Some(bearable) = &mut self.bearable {
            bearable.push(both);
        }
        self.whole.add(both);
        self.step.add(both);
    }

    /// The figures, if the candidate's failures are more by at least `difference` and that is no chance: in the whole time, or else in this step.
    pub fn worse(&self, log_needed: f64, difference: f64) -> Option<(Failures, Failures)> {
        let shows = self.worse.log_value() >= log_needed;
        [&self.whole, &self.step]
            .into_iter()
            .find(|seen| shows && seen.difference() >= difference.max(f64::MIN_POSITIVE))
            .map(|seen| (seen.both.candidate, seen.both.baseline))
    }

    /// Whether so much speaks for worse that nobody should say good.
    pub fn leans(&self) -> bool {
        self.worse.log_value() >= LOG_LEANS
    }

    /// What was observed so far excludes no difference.
    pub fn forget_what_is_bearable(&mut self) {
        self.bearable = self.bearable.map(|bearable| Bearable::new(bearable.difference));
    }

    /// Whether a difference that can't be borne is excluded.
    pub fn is_bearable(&self, log_needed: f64) -> bool {
        self.bearable
            .as_ref()
            .is_none_or(|bearable| bearable.log_value >= log_needed)
    }
}

/// The logarithm of a stratum's factor for x failures of the candidate, F of all, n of N calls: λ·x − log M(λ). That of the scores 0 and 1 has
/// two forms of M; two more come from seeing it the other way round, which the same theorem allows: F failures, each of which falls on one of the candidate's
/// calls with probability n/N; and so with what did not fail. The least of the four is taken; where failures are rare it is the
/// third, and the factor is that of the conditional test of two rates (Przyborowski and Wilenski, Biometrika 31, 1940).
fn log_factor_of_failures(both: Both, tilt: f64) -> f64 {
    let (candidate, baseline) = (both.candidate, both.baseline);
    let pool = [
        Scored {
            score: 1.0,
            candidate: candidate.failed,
            baseline: baseline.failed,
        },
        Scored {
            score: 0.0,
            candidate: candidate.of - candidate.failed,
            baseline: baseline.of - baseline.failed,
        },
    ];
    let (failed, calls) = (
        (candidate.failed + baseline.failed) as f64,
        (candidate.of + baseline.of) as f64,
    );
    let of_candidate = candidate.of as f64;
    let share = of_candidate / calls;
    let by_failures = failed * (share * tilt.exp_m1()).ln_1p();
    let by_successes = tilt * of_candidate + (calls - failed) * (share * (-tilt).exp_m1()).ln_1p();
    let other_way_round = tilt * candidate.failed as f64 - by_failures.min(by_successes);
    log_factor(&pool, tilt).max(other_way_round)
}

/// Mantel and Haenszel's difference of rates, Σ (xᵢ·mᵢ − yᵢ·nᵢ)/Nᵢ / Σ nᵢ·mᵢ/Nᵢ with x of n calls of the candidate and y of m of the baseline
/// (Greenland and Robins, Biometrics 41, 1985): what both had to bear in a stratum cancels out, whatever share of the calls the candidate had then.
#[derive(Debug, Clone, Copy, Default)]
struct Comparison {
    both: Both,
    more: f64,
    weight: f64,
}

impl Comparison {
    fn add(&mut self, both: Both) {
        self.both.add(both);
        let [x, n, y, m] = [
            both.candidate.failed,
            both.candidate.of,
            both.baseline.failed,
            both.baseline.of,
        ]
        .map(|count| count as f64);
        self.more += (x * m - y * n) / (n + m);
        self.weight += n * m / (n + m);
    }

    fn difference(&self) -> f64 {
        if self.weight > 0.0 {
            self.more / self.weight
        } else {
            0.0
        }
    }
}

/// Evidence against "at least τ more of the candidate's calls fail than of the baseline's": in each stratum the likelihood ratio of a quarter of τ more
/// against τ more than what the baseline's failures certainly show, two standard errors below their share. Where most strata have no failure of the baseline,
/// this is Wald's test of τ against τ/4 (Annals of Mathematical Statistics 16, 1945), and strata in which the baseline fails too are held against nobody.
#[derive(Debug, Clone, Copy)]
struct Bearable {
    difference: f64,
    log_value: f64,
}

impl Bearable {
    fn new(difference: f64) -> Self {
        Bearable {
            difference,
            log_value: 0.0,
        }
    }

    fn push(&mut self, both: Both) {
        let share = both.baseline.share();
        let error = (share * (1.0 - share) / both.baseline.of as f64).sqrt();
        let certain = (share - 2.0 * error).max(0.0);
        let unbearable = (certain + self.difference).min(0.99);
        let fine = unbearable - 0.75 * self.difference;
        let failed = both.candidate.failed as f64;
        let succeeded = both.candidate.of as f64 - failed;
        self.log_value +=
            failed * (fine / unbearable).ln() + succeeded * ((1.0 - fine) / (1.0 - unbearable)).ln();
    }
}

#[cfg(test)]
mod tests;
