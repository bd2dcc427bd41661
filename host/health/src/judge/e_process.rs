//! Evidence that may be looked at again and again.
//!
//! An *e-process* is a number that begins at 1 and of which no strategy of looking can make much by chance: as long as the hypothesis that it
//! is against is true, the probability that it *ever* reaches 1/α is at most α (Ville, 1939; Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics
//! and safe anytime-valid inference", Statistical Science 38, 2023). So there is no number of looks to plan and none to correct for.
//!
//! It is a product over strata. A *stratum* is a stretch of time in which N calls were made, n of them by the candidate. Which ones those were is chosen by
//! [`Share`](crate::rollout::Share), and not by the calls. If the candidate is as the baseline, each call would have had the same score wherever it went,
//! so that the sum S of the candidate's scores is that of n calls taken out of N, whatever the scores are: heavy tails, bursts that hit both, load that
//! rises, and calls that depend on each other change nothing. For each tilt λ the stratum's factor is
//!
//! ```text
//!   exp(λ·S) / M(λ),   where M(λ) is at least the mean of exp(λ·S) over all choices.
//! ```
//!
//! What is taken without replacement has no greater mean of a convex function than what is taken with it (Hoeffding, "Probability inequalities for sums of
//! bounded random variables", JASA 58, 1963, theorem 4), so that with the mean over all N scores s
//!
//! ```text
//!   M(λ) = mean(exp(λ·s))ⁿ          or, by the calls that the baseline had,          M(λ) = exp(λ·Σs) · mean(exp(−λ·s))ᴺ⁻ⁿ.
//! ```
//!
//! The same holds where one call is taken from each run of equally many, as `Share` does: the product of the runs' means is at most the power
//! of the mean of all. Several tilts, each with the same part of the stake, are a mixture (Robbins, "Statistical methods related to the law of the iterated logarithm", 1970).
//!
//! Part of the stake is put down anew with each [`begin`](EProcess::begin), so that a candidate that was good for long and then is not is found out as well:
//! 1/2, 1/6, 1/12 …, all together 1.

/// Stakes that are put down, at most.
const STAKES_MAX: usize = 16;

/// An e-process, mixed over tilts λ and over when it began.
#[derive(Debug, Clone)]
pub(super) struct EProcess<const TILTS: usize> {
    tilts: [f64; TILTS],
    /// For each stake the logarithm of what has become of it, by tilt.
    stakes: Vec<[f64; TILTS]>,
}

impl<const TILTS: usize> EProcess<TILTS> {
    pub fn new(tilts: [f64; TILTS]) -> Self {
        EProcess {
            tilts,
            stakes: vec![[0.0; TILTS]],
        }
    }

    /// Puts down another part of the stake, for what begins now.
    pub fn begin(&mut self) {
        if self.stakes.len() < STAKES_MAX {
            self.stakes.push([0.0; TILTS]);
        }
    }

    /// One more stratum: for a tilt, the logarithm of its factor.
    pub fn push(&mut self, log_factor: impl Fn(f64) -> f64) {
        let factors = self.tilts.map(log_factor);
        for stake in &mut self.stakes {
            for (log, factor) in stake.iter_mut().zip(factors) {
                *log += factor;
            }
        }
    }

    /// The logarithm of its value: log Σᵢ 1/(i(i+1)) · mean over tilts.
    pub fn log_value(&self) -> f64 {
        let shares = self.stakes.iter().enumerate().flat_map(|(at, stake)| {
            let share = 1.0 / ((at + 1) * (at + 2) * TILTS) as f64;
            stake.iter().map(move |log| log + share.ln())
        });
        log_sum(shares)
    }
}

/// log Σ exp(x), without overflow.
pub(super) fn log_sum(logs: impl Iterator<Item = f64> + Clone) -> f64 {
    let greatest = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    if greatest.is_finite() {
        greatest + logs.map(|log| (log - greatest).exp()).sum::<f64>().ln()
    } else {
        greatest
    }
}

/// Calls of one stratum that have one score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scored {
    pub score: f64,
    pub candidate: u64,
    pub baseline: u64,
}

/// The logarithm of a stratum's factor: λ·S − log M(λ), with the smaller of both M.
pub(super) fn log_factor(pool: &[Scored], tilt: f64) -> f64 {
    let all = |scored: &Scored| (scored.candidate + scored.baseline) as f64;
    let sum = |of: &dyn Fn(&Scored) -> f64| pool.iter().map(of).sum::<f64>();
    let calls = sum(&all);
    let candidate = sum(&|scored| scored.candidate as f64);
    if candidate == 0.0 || candidate == calls {
        return 0.0;
    }
    let log_mean = |tilt: f64| (sum(&|scored| all(scored) * (tilt * scored.score).exp()) / calls).ln();
    let of_candidate = tilt * sum(&|scored| scored.candidate as f64 * scored.score);
    let of_all = tilt * sum(&|scored| all(scored) * scored.score);
    let by_candidate = candidate * log_mean(tilt);
    let by_baseline = of_all + (calls - candidate) * log_mean(-tilt);
    of_candidate - by_candidate.min(by_baseline)
}

/// Scores by rank: of N values in order the mean of (rank − ½)/N over those that are equal. `values`: each with how many of the candidate's
/// and of the baseline's calls have it.
pub(super) fn ranked(mut values: Vec<(f64, u64, u64)>) -> Vec<Scored> {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    values.dedup_by(|later, kept| {
        let equal = later.0 == kept.0;
        if equal {
            kept.1 += later.1;
            kept.2 += later.2;
        }
        equal
    });
    let calls: u64 = values
        .iter()
        .map(|(_, candidate, baseline)| candidate + baseline)
        .sum();
    let mut below = 0;
    values
        .into_iter()
        .map(|(_, candidate, baseline)| {
            let middle = below as f64 + (candidate + baseline) as f64 / 2.0;
            below += candidate + baseline;
            Scored {
                score: middle / calls as f64,
                candidate,
                baseline,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
