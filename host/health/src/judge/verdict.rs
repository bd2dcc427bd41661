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

/// What is lacking for a verdict, and so what has to come for one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
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
    /// Evidence that so much more of its calls, a difference of shares, does not fail.
    ErrorsUndecided {
        /// From 0 to 1.
        difference: f64,
    },
    /// Evidence that its calls do not take so many times as long.
    LatencyUndecided {
        /// Above 1.
        factor: f64,
    },
    /// Evidence that its heap does not go on growing to what can't be borne.
    HeapMayGrow {
        /// What it has come to.
        bytes: u64,
        /// So much more each hour, at most: the upper end of a confidence interval.
        bytes_per_hour: f64,
        /// Below this it has to stay.
        most: u64,
    },
    /// Evidence that what looks worse so far is chance.
    Leans(Measure),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Good => f.write_str("good: no worse than the version before"),
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

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.measure, self.evidence) {
            (measure, Evidence::Failures { candidate, baseline }) => {
                let (noun, how) = match measure {
                    Measure::Checks => ("check", "failed"),
                    Measure::Panics => ("call", "panicked"),
                    _ => ("call", "failed"),
                };
                write!(f, "{} {how}, ", share(candidate, noun))?;
                match (measure, baseline.of) {
                    (Measure::Checks, 0) => f.write_str("and the version before has no check"),
                    (_, 0) => f.write_str("none of the version before"),
                    _ => write!(f, "{} of the version before", share(baseline, "")),
                }
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
                let of = if *of_candidate { "it" } else { "the version before" };
                let more = counted(needed.saturating_sub(*seen), "more call");
                let have = have(needed.saturating_sub(*seen));
                write!(
                    f,
                    "{more} of {of} {have} to end ({} of {} have)",
                    grouped(*seen),
                    grouped(*needed)
                )
            }
            Lack::HeapSamples { seen, needed } => {
                let more = counted(needed.saturating_sub(*seen), "more sample");
                let have = have(needed.saturating_sub(*seen));
                write!(
                    f,
                    "{more} of its heap {have} to be taken ({seen} of {needed} are)"
                )
            }
            Lack::ErrorsUndecided { difference } => write!(
                f,
                "more calls have to show that less than {} % more of them fail than before",
                (difference * 1e3).round() / 10.0
            ),
            Lack::LatencyUndecided { factor } => write!(
                f,
                "more calls have to show that they take less than {factor} times as long as before"
            ),
            Lack::HeapMayGrow {
                bytes,
                bytes_per_hour,
                most,
            } => write!(
                f,
                "its heap is at {} and may be growing by up to {} an hour: time has to show that it stays below {}",
                mebibytes(*bytes as f64),
                mebibytes(*bytes_per_hour),
                mebibytes(*most as f64)
            ),
            Lack::Leans(measure) => {
                let (so_far, more) = match measure {
                    Measure::Errors => ("more of its calls fail", "more calls have"),
                    Measure::Latency => ("its calls take longer", "more calls have"),
                    Measure::Checks => ("more of its checks fail", "more checks have"),
                    Measure::Panics => ("more of its calls panic", "more calls have"),
                    Measure::Heap => ("its heap grows beyond that of the version before", "time has"),
                };
                write!(f, "so far {so_far}, and {more} to tell whether that is chance")
            }
        }
    }
}

/// What share of how many: `6.1 % of 412 calls`, or `none of 4,020`; without a noun where that was said already.
fn share(failures: Failures, noun: &str) -> String {
    let of = match noun {
        "" => grouped(failures.of),
        noun => counted(failures.of, noun),
    };
    match failures.failed {
        0 => format!("none of {of}"),
        _ => format!("{} of {of}", percent(failures.share())),
    }
}

/// With one decimal, or as many as a rare thing needs.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        0.1.. => format!("{percent:.1} %"),
        0.001.. => format!("{percent:.3} %"),
        _ => "less than 0.001 %".to_owned(),
    }
}

fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

fn have(number: u64) -> &'static str {
    if number == 1 { "has" } else { "have" }
}

/// With a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Each thing that may be lacking says what has to come, in figures.
    #[test]
    fn what_is_lacking_says_what_has_to_come() {
        let calls = |of_candidate, seen, needed| Lack::Calls {
            of_candidate,
            seen,
            needed,
        };
        let grows = Lack::HeapMayGrow {
            bytes: 70 << 20,
            bytes_per_hour: 80.25 * f64::from(1 << 20),
            most: 117 << 20,
        };
        for (lack, sentence) in [
            (
                calls(true, 12, 50),
                "38 more calls of it have to end (12 of 50 have)",
            ),
            (
                calls(true, 49, 50),
                "1 more call of it has to end (49 of 50 have)",
            ),
            (
                calls(true, 50, 1_919),
                "1,869 more calls of it have to end (50 of 1,919 have)",
            ),
            (
                calls(false, 0, 50),
                "50 more calls of the version before have to end (0 of 50 have)",
            ),
            (
                Lack::HeapSamples { seen: 28, needed: 45 },
                "17 more samples of its heap have to be taken (28 of 45 are)",
            ),
            (
                Lack::ErrorsUndecided { difference: 0.05 },
                "more calls have to show that less than 5 % more of them fail than before",
            ),
            (
                Lack::LatencyUndecided { factor: 1.5 },
                "more calls have to show that they take less than 1.5 times as long as before",
            ),
            (
                grows,
                "its heap is at 70.0 MiB and may be growing by up to 80.2 MiB an hour: time has to show that it stays below 117.0 MiB",
            ),
            (
                Lack::Leans(Measure::Errors),
                "so far more of its calls fail, and more calls have to tell whether that is chance",
            ),
            (
                Lack::Leans(Measure::Latency),
                "so far its calls take longer, and more calls have to tell whether that is chance",
            ),
            (
                Lack::Leans(Measure::Checks),
                "so far more of its checks fail, and more checks have to tell whether that is chance",
            ),
            (
                Lack::Leans(Measure::Panics),
                "so far more of its calls panic, and more calls have to tell whether that is chance",
            ),
            (
                Lack::Leans(Measure::Heap),
                "so far its heap grows beyond that of the version before, and time has to tell whether that is chance",
            ),
        ] {
            assert_eq!(lack.to_string(), sentence);
        }
        assert_eq!(
            Verdict::NotEnough(vec![calls(true, 12, 50), calls(false, 4, 50)]).to_string(),
            "not enough evidence: 38 more calls of it have to end (12 of 50 have); 46 more calls of the version before have to end (4 of 50 have)"
        );
    }

    #[test]
    fn what_is_worse_is_told_with_the_figures_of_both() {
        let of = |measure, failed, of, baseline_failed, baseline_of| Finding {
            measure,
            evidence: Evidence::Failures {
                candidate: Failures { failed, of },
                baseline: Failures {
                    failed: baseline_failed,
                    of: baseline_of,
                },
            },
        };
        let slower = |quantile, candidate, baseline| Finding {
            measure: Measure::Latency,
            evidence: Evidence::Slower(Slower {
                quantile,
                candidate: Duration::from_micros(candidate),
                baseline: Duration::from_micros(baseline),
            }),
        };
        let heap = |heap| Finding {
            measure: Measure::Heap,
            evidence: Evidence::Heap(heap),
        };
        for (finding, sentence) in [
            (
                of(Measure::Errors, 25, 412, 8, 4_020),
                "6.1 % of 412 calls failed, 0.2 % of 4,020 of the version before",
            ),
            (
                of(Measure::Errors, 412, 412, 1, 1_234_567),
                "100.0 % of 412 calls failed, less than 0.001 % of 1,234,567 of the version before",
            ),
            (
                of(Measure::Checks, 20, 20, 0, 20),
                "100.0 % of 20 checks failed, none of 20 of the version before",
            ),
            (
                of(Measure::Panics, 1, 3_000, 0, 0),
                "0.033 % of 3,000 calls panicked, none of the version before",
            ),
            (
                of(Measure::Panics, 1, 1, 0, 0),
                "100.0 % of 1 call panicked, none of the version before",
            ),
            (
                slower(0.5, 14_200, 9_470),
                "the median call takes 14.20 ms, 1.50 times the 9.47 ms of the version before",
            ),
            (
                slower(0.95, 2_000_000, 900),
                "95 % of calls take up to 2.00 s, 2222.22 times the 900.0 µs of the version before",
            ),
            (
                heap(HeapFinding::Growing {
                    bytes_per_hour: 72.0 * f64::from(1 << 20),
                    bytes: 95 << 20,
                    baseline: 71 << 20,
                }),
                "its heap goes on growing by 72.0 MiB an hour and is at 95.0 MiB; the version before had 71.0 MiB at most",
            ),
            (
                heap(HeapFinding::Larger {
                    bytes: 128 << 20,
                    baseline: 64 << 20,
                }),
                "its heap is never below 128.0 MiB; the version before had 64.0 MiB at most",
            ),
        ] {
            assert_eq!(finding.to_string(), sentence);
            assert_eq!(Verdict::Worse(finding).to_string(), format!("worse: {sentence}"));
        }
        assert_eq!(
            Verdict::Good.to_string(),
            "good: no worse than the version before"
        );
    }
}
