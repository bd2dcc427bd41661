//! What the judge says, in figures and in sentences.

use super::heap::HeapFinding;
use super::latency::Slower;
use super::rates::Failures;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// What the judge says of a new version.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "verdict", content = "because", rename_all = "snake_case")]
pub enum Verdict {
    /// What the step aims at may come: nothing is worse, and what can't be borne is excluded as far as that aim asks for it.
    Good,
    /// It is worse than the version before.
    Worse(Finding),
    /// Nothing can be said yet. What is lacking; never empty.
    NotEnough(Vec<Lack>),
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Calls that fail.
    Errors,
    /// How long calls take.
    Latency,
    /// Checks that fail.
    Checks,
    /// Heap in use.
    Heap,
    /// Calls that panic.
    Panics,
}

/// In what the new version is worse.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Finding {
    /// What was compared.
    pub measure: Measure,
    /// The figures.
    pub evidence: Evidence,
}

/// The figures of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Of errors, checks and panics.
    Failures {
        /// The new version's.
        candidate: Failures,
        /// Those of the version before, in the same time or, once the new one serves all calls, before.
        baseline: Failures,
    },
    /// Of latency.
    Slower(Slower),
    /// Of the heap.
    Heap(HeapFinding),
}

/// What is lacking for a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// Calls.
    Calls {
        /// Of the new version, or of the one before it.
        of_candidate: bool,
        /// So many there were.
        seen: u64,
        /// So many are needed.
        needed: u64,
    },
    /// Samples of the heap.
    HeapSamples {
        /// So many there were.
        seen: u64,
        /// So many are needed.
        needed: u64,
    },
    /// Evidence that a difference that can't be borne is not there.
    Undecided(Measure),
    /// Evidence that what looks worse so far is chance.
    Leans(Measure),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Good => f.write_str("good"),
            Verdict::Worse(finding) => write!(f, "worse: {finding}"),
            Verdict::NotEnough(lacks) => {
                f.write_str("not enough evidence: ")?;
                lacks.iter().enumerate().try_for_each(|(at, lack)| {
                    let comma = if at == 0 { "" } else { "; " };
                    write!(f, "{comma}{lack}")
                })
            }
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Measure::Errors => "errors",
            Measure::Latency => "latency",
            Measure::Checks => "checks",
            Measure::Heap => "heap",
            Measure::Panics => "panics",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.measure, self.evidence) {
            (measure, Evidence::Failures { candidate, baseline }) => {
                let (what, how) = match measure {
                    Measure::Checks => ("checks", "failed"),
                    Measure::Panics => ("calls", "panicked"),
                    _ => ("calls", "failed"),
                };
                write!(f, "{} of {} {what} {how}", candidate.failed, candidate.of)?;
                write!(f, " ({})", percent(candidate))?;
                if baseline.of == 0 {
                    return f.write_str("; none of the version before");
                }
                let (failed, of) = (baseline.failed, baseline.of);
                write!(
                    f,
                    "; of the version before {failed} of {of} ({})",
                    percent(baseline)
                )
            }
            (_, Evidence::Slower(slower)) => {
                let (candidate, baseline) = (slower.candidate, slower.baseline);
                let factor = candidate.as_secs_f64() / baseline.as_secs_f64().max(1e-9);
                let calls = if slower.quantile == 0.5 {
                    "the median call takes".to_owned()
                } else {
                    format!("{:.0} % of calls take up to", slower.quantile * 100.0)
                };
                write!(f, "{calls} {}, ", in_time(candidate))?;
                write!(
                    f,
                    "{factor:.2} times the {} of the version before",
                    in_time(baseline)
                )
            }
            (
                _,
                Evidence::Heap(HeapFinding::Growing {
                    bytes_per_hour,
                    bytes,
                    baseline,
                }),
            ) => write!(
                f,
                "its heap goes on growing by {} an hour and is at {}; the version before had {} at most",
                mebibytes(bytes_per_hour),
                mebibytes(bytes as f64),
                mebibytes(baseline as f64)
            ),
            (_, Evidence::Heap(HeapFinding::Larger { bytes, baseline })) => write!(
                f,
                "its heap is never below {}; the version before had {} at most",
                mebibytes(bytes as f64),
                mebibytes(baseline as f64)
            ),
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::Calls {
                of_candidate,
                seen,
                needed,
            } => {
                let whose = if *of_candidate {
                    ""
                } else {
                    " of the version before"
                };
                write!(f, "{seen} of {needed} calls{whose}")
            }
            Lack::HeapSamples { seen, needed } => write!(f, "{seen} of {needed} samples of its heap"),
            Lack::Undecided(measure) => write!(f, "more calls have to show that its {measure} can be borne"),
            Lack::Leans(measure) => write!(f, "its {measure} may be worse, or that is chance"),
        }
    }
}

fn percent(failures: Failures) -> String {
    format!("{:.1} %", failures.share() * 100.0)
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

fn in_time(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds @ 1.0.. => format!("{seconds:.2} s"),
        seconds @ 1e-3.. => format!("{:.2} ms", seconds * 1e3),
        seconds => format!("{:.1} µs", seconds * 1e6),
    }
}
