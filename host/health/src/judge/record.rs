//! Whether the candidate is worse, now that it serves all calls, than what is written down of the baseline.
//!
//! The two are not of one time any more, so what befalls the whole machine can't be told from what the candidate does. Therefore what is compared
//! are not calls but blocks of time, and only a difference that can't be borne counts. A bad minute is one block, however many calls fail in it.
//!
//! The candidate's blocks are ranked among the baseline's, after their figure is made better by that difference, and tested as by Mann and Whitney ("On a
//! test of whether one of two random variables is stochastically larger than the other", Annals of Mathematical Statistics 18, 1947). It is looked at as
//! the candidate's blocks become half as many again; the k-th look may err with α/(k(k+1)).

use super::e_process::ranked;
use super::latency::Slower;
use super::policy::{JudgePolicy, MEASURES, P_LEANS};
use super::rates::Failures;
use crate::analysis::statistics::normal_tail;
use extman_model::latency::LatencyHistogram;
use std::collections::VecDeque;
use std::time::Duration;

/// A block lasts so long at least.
const BLOCK: Duration = Duration::from_secs(30);
/// A block needs so many calls.
const CALLS_MIN: u64 = 20;
/// Blocks of each side for the first look.
const FIRST_LOOK: usize = 10;
/// Blocks of a side that are kept: the latest.
const BLOCKS_MAX: usize = 60;

/// One stretch of time of one side.
#[derive(Debug, Clone, Default)]
struct Block {
    lasted: Duration,
    calls: Failures,
    latencies: LatencyHistogram,
}

/// Blocks of one side.
#[derive(Debug, Clone, Default)]
struct Blocks {
    open: Block,
    done: VecDeque<Block>,
    number: usize,
}

/// Blocks of both sides.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    baseline: Blocks,
    candidate: Blocks,
    looks: u32,
    next_look: usize,
    found: Option<RecordFinding>,
    leans: bool,
}

/// What is worse than what is written down of the version before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum RecordFinding {
    Errors(Failures, Failures),
    Latency(Slower),
}

impl Record {
    pub fn observe_baseline(&mut self, lasted: Duration, calls: Failures, latencies: &LatencyHistogram) {
        self.baseline.push(lasted, calls, latencies);
    }

    pub fn observe_candidate(
        &mut self,
        lasted: Duration,
        calls: Failures,
        latencies: &LatencyHistogram,
        policy: &JudgePolicy,
    ) {
        self.candidate.push(lasted, calls, latencies);
        let enough = self.baseline.done.len() >= FIRST_LOOK;
        if enough && self.candidate.number >= self.next_look.max(FIRST_LOOK) {
            self.next_look = self.candidate.number + self.candidate.number / 2;
            self.look(policy);
        }
    }

    pub fn worse(&self) -> Option<RecordFinding> {
        self.found
    }

    pub fn leans(&self) -> bool {
        self.leans
    }

    fn look(&mut self, policy: &JudgePolicy) {
        self.looks += 1;
        // Errors and latency: half of it each.
        let alpha = policy.false_worse / MEASURES / 2.0 / f64::from(self.looks * (self.looks + 1));
        let (candidate, baseline) = (&self.candidate, &self.baseline);
        let errors = p_value(candidate, baseline, |block, is_candidate| {
            let allowed = if is_candidate { policy.errors_max } else { 0.0 };
            Some(block.calls.share() - allowed)
        });
        let latency = p_value(candidate, baseline, |block, is_candidate| {
            let median = block.latencies.quantile(0.5)?.as_nanos() as f64;
            Some(if is_candidate {
                policy.scaled(median, policy.latency_max)
            } else {
                median
            })
        });
        self.leans = errors.min(latency) <= P_LEANS;
        if errors <= alpha {
            let (candidate, baseline) = (candidate.all(), baseline.all());
            self.found
                .get_or_insert(RecordFinding::Errors(candidate.calls, baseline.calls));
        } else if latency <= alpha {
            let median = |blocks: &Blocks| blocks.all().latencies.quantile(0.5).unwrap_or_default();
            let slower = Slower {
                quantile: 0.5,
                candidate: median(candidate),
                baseline: median(baseline),
            };
            self.found.get_or_insert(RecordFinding::Latency(slower));
        }
    }
}

/// The probability that the candidate's blocks rank as high by chance: of U = Σ ranks − n(n + 1)/2, with its mean nm/2 and its variance
/// nm/12 · (N + 1 − Σ(t³ − t)/(N(N − 1))), t blocks of one figure, and a correction for continuity.
fn p_value(candidate: &Blocks, baseline: &Blocks, figure: impl Fn(&Block, bool) -> Option<f64>) -> f64 {
    let of_candidate = candidate.done.iter().filter_map(|block| figure(block, true));
    let of_baseline = baseline.done.iter().filter_map(|block| figure(block, false));
    let pool = ranked(
        of_candidate
            .map(|value| (value, 1, 0))
            .chain(of_baseline.map(|value| (value, 0, 1)))
            .collect(),
    );
    let sum = |of: &dyn Fn(f64, f64, f64) -> f64| -> f64 {
        let counts = pool
            .iter()
            .map(|s| (s.score, s.candidate as f64, s.baseline as f64));
        counts.map(|(score, n, m)| of(score, n, m)).sum()
    };
    let (n, m) = (sum(&|_, n, _| n), sum(&|_, _, m| m));
    let all = n + m;
    let u = sum(&|score, n, _| n * (score * all + 0.5)) - n * (n + 1.0) / 2.0;
    let ties = sum(&|_, n, m| (n + m).powi(3) - (n + m)) / (all * (all - 1.0));
    let variance = n * m / 12.0 * (all + 1.0 - ties);
    if variance > 0.0 {
        normal_tail((u - n * m / 2.0 - 0.5) / variance.sqrt())
    } else {
        1.0
    }
}

impl Blocks {
    fn push(&mut self, lasted: Duration, calls: Failures, latencies: &LatencyHistogram) {
        self.open.lasted += lasted;
        self.open.calls.add(calls);
        self.open.latencies = self.open.latencies.merged(latencies);
        if self.open.lasted < BLOCK || self.open.calls.of < CALLS_MIN {
            return;
        }
        if self.done.len() == BLOCKS_MAX {
            self.done.pop_front();
        }
        self.done.push_back(std::mem::take(&mut self.open));
        self.number += 1;
    }

    /// All that is kept, as one.
    fn all(&self) -> Block {
        self.done.iter().fold(Block::default(), |mut all, block| {
            all.lasted += block.lasted;
            all.calls.add(block.calls);
            all.latencies = all.latencies.merged(&block.latencies);
            all
        })
    }
}

#[cfg(test)]
mod tests;
