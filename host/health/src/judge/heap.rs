//! Whether the candidate's heap is more than the baseline's ever was.
//!
//! Two things are found. *It goes on growing*: the least heap of each block of time rises after the warm-up by the test of Mann and Kendall with Hamed and
//! Rao's variance for series that are alike from one moment to the next ([`trend`](crate::analysis::trend)), it rises still in the later half of the time by the
//! confidence interval of Theil's and Sen's slope, and it has passed the greatest of the baseline's record by a factor. A cache that fills stays below
//! that, since the baseline's is full. *It is larger*: all through the later half of the time each least heap is above a greater factor.
//!
//! *Good* it is once its growth, if it grows, can't be what will not be borne: at the upper end of the confidence interval of its slope it stays below
//! `heap_max` times that greatest for [`AHEAD`] more. A leak that a plugin with few calls has is far below the old version's heap for long, and looks
//! like a cache that fills; time tells them apart, since a cache levels off and a leak comes to be above.
//!
//! A trend is looked for at lengths that grow by a quarter each time; the k-th look may err with α/(k(k+1)), all together with α (alpha spending: Lan and
//! DeMets, Biometrika 70, 1983). The baseline's record is the whole, the time before the update included: so it has been under the load
//! that the candidate will come to bear.

use super::policy::{JudgePolicy, MEASURES, P_LEANS};
use super::verdict::Lack;
use crate::analysis::trend::{Line, mann_kendall_autocorrelated, theil_sen};
use std::time::Duration;

/// So many samples make a block at first.
const BLOCK: usize = 3;
/// Where there are so many blocks, each two become one.
const BLOCKS_MAX: usize = 64;
/// The first look is at so many samples.
const FIRST_LOOK: usize = 45;
/// So far ahead a heap that still grows is followed. What takes longer is left to [`leak`](crate::analysis::leak), which goes on looking after the update.
const AHEAD: Duration = Duration::from_secs(2 * 3_600);
/// What is less than this above the baseline's is no leak yet.
const MORE_MIN: u64 = 1 << 20;

/// Heaps of both sides.
#[derive(Debug, Clone, Default)]
pub(super) struct Heaps {
    baseline: Greatest,
    blocks: Blocks,
    /// How long the candidate's heap has not been measured.
    since_sample: Duration,
    looks: u32,
    next_look: usize,
    found: Option<HeapFinding>,
    leans: bool,
}

/// What is wrong with a heap.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(tag = "heap", rename_all = "snake_case")]
pub enum HeapFinding {
    /// It goes on growing.
    Growing {
        /// Bytes more, each hour.
        bytes_per_hour: f64,
        /// What it has come to.
        bytes: u64,
        /// The most that the version before has had.
        baseline: u64,
    },
    /// It is larger.
    Larger {
        /// The least of it in the later half of the time.
        bytes: u64,
        /// The most that the version before has had.
        baseline: u64,
    },
}

impl Heaps {
    pub fn observe(
        &mut self,
        lasted: Duration,
        candidate: Option<u64>,
        baseline: Option<u64>,
        policy: &JudgePolicy,
    ) {
        if let Some(bytes) = baseline {
            self.baseline.push(bytes);
        }
        // What comes before the first one is no part of any.
        self.since_sample = match self.blocks.samples {
            0 => lasted,
            _ => self.since_sample + lasted,
        };
        if let Some(bytes) = candidate {
            self.blocks.push(std::mem::take(&mut self.since_sample), bytes);
        }
        if self.blocks.samples >= self.next_look.max(FIRST_LOOK) {
            self.next_look = self.blocks.samples + self.blocks.samples / 4;
            self.look(policy);
        }
    }

    pub fn worse(&self) -> Option<HeapFinding> {
        self.found
    }

    pub fn leans(&self) -> bool {
        self.leans
    }

    /// What keeps it from being good, where it is measured: it has not been looked at yet, or it grows and may come to what can't be borne.
    pub fn lack(&self, policy: &JudgePolicy) -> Option<Lack> {
        let (seen, needed) = (self.blocks.samples as u64, FIRST_LOOK as u64);
        if seen == 0 {
            return None;
        }
        if seen < needed {
            return Some(Lack::HeapSamples { seen, needed });
        }
        let greatest = self.baseline.greatest()?;
        let line = later_line(&self.blocks.minima)?;
        let now = line.intercept + line.slope * (line.points as f64 - 1.0);
        let bytes_per_hour = line.high * self.blocks.per_hour();
        let ahead = now + bytes_per_hour * AHEAD.as_secs_f64() / 3_600.0;
        let most = bound(greatest, policy.heap_max);
        (bytes_per_hour > 0.0 && ahead > most).then_some(Lack::HeapMayGrow {
            bytes: now.max(0.0) as u64,
            bytes_per_hour,
            most: most as u64,
        })
    }

    fn look(&mut self, policy: &JudgePolicy) {
        let Some(greatest) = self.baseline.greatest() else {
            return;
        };
        self.looks += 1;
        let alpha = policy.false_worse / MEASURES / f64::from(self.looks * (self.looks + 1));
        let minima = &self.blocks.minima;
        let later = &minima[minima.len() / 2..];
        let least = later.iter().copied().min().unwrap_or(0);
        let last = &minima[minima.len() - minima.len() / 4..];
        let last = last.iter().copied().min().unwrap_or(0);
        if least as f64 > bound(greatest, policy.heap_max) {
            self.found.get_or_insert(HeapFinding::Larger {
                bytes: least,
                baseline: greatest,
            });
        }
        self.leans = false;
        if last as f64 <= bound(greatest, policy.heap_growing) {
            return;
        }
        // What the first third of the time brings is its warm-up.
        let warm = minima[minima.len() / 3..].iter().map(|bytes| *bytes as f64);
        let warm: Vec<f64> = warm.collect();
        let rise = mann_kendall_autocorrelated(&warm).filter(|found| found.s > 0);
        let line = later_line(minima).filter(|line| line.low > 0.0);
        let (Some(rise), Some(line)) = (rise, line) else {
            return;
        };
        let p = rise.p / 2.0;
        self.leans = p <= P_LEANS;
        if p <= alpha {
            self.found.get_or_insert(HeapFinding::Growing {
                bytes_per_hour: line.slope * self.blocks.per_hour(),
                bytes: last,
                baseline: greatest,
            });
        }
    }
}

/// What is above this is more than the greatest heap of the baseline by this factor, and by enough to speak of.
fn bound(greatest: u64, factor: f64) -> f64 {
    (greatest as f64 * factor).max(greatest.saturating_add(MORE_MIN) as f64)
}

/// The line through the later half of the blocks, in bytes a block.
fn later_line(minima: &[u64]) -> Option<Line> {
    let later = minima[minima.len() / 2..].iter().map(|bytes| *bytes as f64);
    theil_sen(&(0..).map(f64::from).zip(later).collect::<Vec<_>>())
}

/// The least heap of each block of samples, in blocks that become longer.
#[derive(Debug, Clone, Default)]
struct Blocks {
    minima: Vec<u64>,
    /// Samples a block, as a power of two of [`BLOCK`].
    doubled: u32,
    open: Option<u64>,
    in_open: usize,
    samples: usize,
    lasted: Duration,
}

impl Blocks {
    fn push(&mut self, lasted: Duration, bytes: u64) {
        self.samples += 1;
        self.lasted += lasted;
        self.open = Some(self.open.map_or(bytes, |least| least.min(bytes)));
        self.in_open += 1;
        if self.in_open < BLOCK << self.doubled {
            return;
        }
        self.in_open = 0;
        self.minima.extend(self.open.take());
        if self.minima.len() == BLOCKS_MAX {
            self.minima = self.minima.chunks(2).map(|two| two[0].min(two[1])).collect();
            self.doubled += 1;
        }
    }

    fn per_hour(&self) -> f64 {
        let block = self.lasted.as_secs_f64() / self.samples as f64 * (BLOCK << self.doubled) as f64;
        if block > 0.0 { 3600.0 / block } else { 0.0 }
    }
}

/// The greatest of what was least in each three samples: one peak does not raise it.
#[derive(Debug, Clone, Default)]
struct Greatest {
    open: Option<u64>,
    in_open: usize,
    greatest: Option<u64>,
}

impl Greatest {
    fn push(&mut self, bytes: u64) {
        self.open = Some(self.open.map_or(bytes, |least| least.min(bytes)));
        self.in_open += 1;
        if self.in_open == BLOCK {
            self.greatest = self.greatest.max(self.open.take());
            self.in_open = 0;
        }
    }

    fn greatest(&self) -> Option<u64> {
        self.greatest.or(self.open)
    }
}

#[cfg(test)]
mod tests;
