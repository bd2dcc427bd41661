//! Whether the candidate's calls take longer than those that the baseline serves in the same time.
//!
//! What is tested is not "longer", but "more than [`latency_min`](super::JudgePolicy::latency_min) times as long": the candidate's durations are divided by
//! that first, and a trifle is taken off, so that a smaller difference is evidence for the candidate, however many calls there are. Then all calls of a stratum are ordered.
//! Two scores are staked on, half of the stake each, and their mean is an e-process too:
//!
//! * the rank, as in the test of Wilcoxon (1945): the whole distribution has moved;
//! * being among the slowest twentieth: a few calls take much longer, which ranks hardly show.
//!
//! A duration is known as its bucket. The candidate's count as the shortest that fall into it and the baseline's as the longest, so that what a
//! bucket's width (1/32) could have done is never held against the candidate.

use super::e_process::{EProcess, Scored, log_factor, log_sum, ranked};
use super::policy::{JudgePolicy, LOG_LEANS};
use extman_model::latency::LatencyHistogram;
use std::time::Duration;

/// A stratum needs so many calls of each.
const STRATUM_MIN: u64 = 5;
/// The best tilt is about 12 times the distance of the mean rank from ½: from a thirtieth to a quarter.
const TILTS: [f64; 4] = [0.35, 0.7, 1.4, 2.8];
/// The part of the calls that are the slowest.
const TAIL: f64 = 0.05;

/// Durations of both sides, compared stratum by stratum.
#[derive(Debug, Clone)]
pub(super) struct Latencies {
    open: Pair,
    seen: Pair,
    rank: EProcess<4>,
    tail: EProcess<4>,
    /// Against what can't be borne.
    bearable: EProcess<4>,
}

/// Durations of the candidate and of the baseline.
#[derive(Debug, Clone, Default)]
struct Pair {
    candidate: LatencyHistogram,
    baseline: LatencyHistogram,
}

/// How long calls take: of this share of them none takes longer.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Slower {
    /// 0.5 or 0.95.
    pub quantile: f64,
    /// The new version's.
    pub candidate: Duration,
    /// That of the one before it.
    pub baseline: Duration,
}

impl Latencies {
    pub fn new() -> Self {
        Latencies {
            open: Pair::default(),
            seen: Pair::default(),
            rank: EProcess::new(TILTS),
            tail: EProcess::new(TILTS),
            bearable: EProcess::new(TILTS),
        }
    }

    /// Another share of the calls from here on.
    pub fn begin_step(&mut self, policy: &JudgePolicy) {
        self.close(policy);
        self.rank.begin();
        self.tail.begin();
        self.bearable.begin();
    }

    pub fn observe(
        &mut self,
        candidate: &LatencyHistogram,
        baseline: &LatencyHistogram,
        policy: &JudgePolicy,
    ) {
        self.open = self.open.merged(candidate, baseline);
        if self.open.candidate.count() >= STRATUM_MIN && self.open.baseline.count() >= STRATUM_MIN {
            self.close(policy);
        }
    }

    fn close(&mut self, policy: &JudgePolicy) {
        let pair = std::mem::take(&mut self.open);
        if pair.candidate.is_empty() || pair.baseline.is_empty() {
            return;
        }
        let ranks = pair.ranked_in_favour(policy);
        let tail = slowest(&ranks);
        self.rank.push(|tilt| log_factor(&ranks, tilt));
        self.tail.push(|tilt| log_factor(&tail, tilt));
        let against = pair.ranked_against(policy);
        self.bearable.push(|tilt| log_factor(&against, tilt));
        self.seen = self.seen.merged(&pair.candidate, &pair.baseline);
    }

    /// The figures, if calls take more than the least factor longer, and that is no chance.
    pub fn worse(&self, log_needed: f64) -> Option<Slower> {
        let (rank, tail) = (self.rank.log_value(), self.tail.log_value());
        (self.log_value() >= log_needed).then(|| {
            let quantile = if rank >= log_needed.min(tail) { 0.5 } else { 0.95 };
            let of = |seen: &LatencyHistogram| seen.quantile(quantile).unwrap_or_default();
            Slower {
                quantile,
                candidate: of(&self.seen.candidate),
                baseline: of(&self.seen.baseline),
            }
        })
    }

    pub fn leans(&self) -> bool {
        self.log_value() >= LOG_LEANS
    }

    /// What was observed so far excludes nothing.
    pub fn forget_what_is_bearable(&mut self) {
        self.bearable = EProcess::new(TILTS);
    }

    /// Whether what can't be borne is excluded.
    pub fn is_bearable(&self, log_needed: f64) -> bool {
        self.bearable.log_value() >= log_needed
    }

    fn log_value(&self) -> f64 {
        log_sum([self.rank.log_value(), self.tail.log_value()].into_iter()) - 2_f64.ln()
    }
}

impl Pair {
    fn merged(&self, candidate: &LatencyHistogram, baseline: &LatencyHistogram) -> Pair {
        Pair {
            candidate: self.candidate.merged(candidate),
            baseline: self.baseline.merged(baseline),
        }
    }

    /// Ranks of all calls once the candidate's are scaled down by the least difference; whatever a bucket leaves open is taken in its favour.
    fn ranked_in_favour(&self, policy: &JudgePolicy) -> Vec<Scored> {
        let candidate = self.candidate.buckets();
        let baseline = self.baseline.buckets();
        let candidate = candidate
            .map(|(range, count)| (policy.scaled(*range.start() as f64, policy.latency_min), count, 0));
        ranked(
            candidate
                .chain(baseline.map(|(range, count)| (*range.end() as f64, 0, count)))
                .collect(),
        )
    }

    /// The like with the sides exchanged: the more the baseline's calls take longer than the candidate's scaled down by what can't be borne, the more
    /// speaks against the candidate taking so long. What a bucket leaves open is taken against the candidate.
    fn ranked_against(&self, policy: &JudgePolicy) -> Vec<Scored> {
        let candidate = self.candidate.buckets();
        let baseline = self.baseline.buckets();
        let candidate = candidate
            .map(|(range, count)| (policy.scaled(*range.end() as f64, policy.latency_max), 0, count));
        ranked(
            candidate
                .chain(baseline.map(|(range, count)| (*range.start() as f64, count, 0)))
                .collect(),
        )
    }
}

/// Score 1 for the slowest, from the rank on above which there is no more than a twentieth.
fn slowest(ranks: &[Scored]) -> Vec<Scored> {
    let bound = ranks
        .iter()
        .rev()
        .find(|scored| scored.score < 1.0 - TAIL)
        .map_or(f64::NEG_INFINITY, |scored| scored.score);
    ranks
        .iter()
        .map(|scored| Scored {
            score: f64::from(u8::from(scored.score > bound)),
            ..*scored
        })
        .collect()
}

#[cfg(test)]
mod tests;
