//! The judge of an update: is the new version, the *candidate*, worse than the one before it, the *baseline*?
//!
//! ```text
//!   observe: an interval, both sides ─┬─▶ rates      errors, checks, panics ─┐ each an e-process, stratum by stratum:
//!                                     ├─▶ latency    ranks, the slowest     ─┤ what hits both sides cancels out
//!                                     ├─▶ heap       trend and level        ─┼─▶ verdict: good, worse and why, or what is lacking
//!                                     └─▶ record     blocks, once the candidate serves all ┘
//! ```
//!
//! * **Worse** needs two things: a difference above the policy's lower bound, and evidence that chance makes with a probability of `false_worse` in
//!   the whole update, however often somebody looks (`e_process`).
//! * **Good** needs evidence too: that a difference above the upper bound is excluded. What is asked for grows with what is at stake ([`Aim`]).
//! * Whatever is neither is **not enough evidence**, with what is lacking. Silence is no evidence, for or against.
//! * **Mirrored calls** were made of both versions, and only the baseline's answer was given to anybody. They are evidence against the candidate and
//!   never for it: good are the calls that it answered itself.
//!
//! The one thing that needs no statistics is a panic: where the baseline has had none, one is enough.
//!
//! Pure, and of bounded size: an update may go on for days.

mod e_process;
mod heap;
mod latency;
mod policy;
mod rates;
mod record;
mod verdict;

pub use heap::HeapFinding;
pub use latency::Slower;
pub use policy::JudgePolicy;
pub use rates::Failures;
pub use verdict::{Evidence, Finding, Lack, Measure, Verdict};

use extman_model::latency::LatencyHistogram;
use heap::Heaps;
use latency::Latencies;
use rates::{Both, Rates};
use record::{Record, RecordFinding};
use std::time::Duration;

/// What a side did in an interval.
#[derive(Debug, Clone, Default)]
pub struct Side {
    /// Calls that ended and say something of the plugin: callers' mistakes, cancellations and the host's own queue are left out.
    pub calls: Failures,
    /// How long those took that succeeded.
    pub latencies: LatencyHistogram,
    /// How many of the calls panicked.
    pub panics: u64,
    /// Checks that had a result; none where the version has no check.
    pub checks: Option<Failures>,
    /// Heap in use, where it was measured in the interval.
    pub heap_bytes: Option<u64>,
}

/// What a good verdict would lead to: the more there is at stake, the more has to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aim {
    /// The candidate gets a larger share of the calls: enough calls, and nothing leans towards worse.
    Widen,
    /// It gets all calls: what can't be borne is excluded for errors and latency as well.
    Switch,
    /// The baseline is let go. The candidate serves all calls meanwhile, and is compared with what is written down of the baseline; so many calls have
    /// gone well that one panic in `panics_max` is excluded.
    Settle,
}

/// Judges one update, from its beginning to its end.
#[derive(Debug, Clone)]
pub struct Judge {
    policy: JudgePolicy,
    aim: Aim,
    errors: Rates,
    checks: Rates,
    panics: Rates,
    latencies: Latencies,
    heaps: Heaps,
    record: Record,
    /// Whether the baseline has a check.
    is_baseline_checked: bool,
    /// Calls of each side in this step.
    step: (u64, u64),
    /// Calls of the candidate in all.
    candidate_calls: u64,
    /// Panics of each side in all.
    panicked: (u64, u64),
    /// Calls that were made of both.
    mirrored: u64,
    /// There were some since the last step began.
    is_mirroring: bool,
}

impl Judge {
    /// Before the update. Intervals that are observed now, without a candidate, are the baseline's record: the more there are, the more can be told later.
    pub fn new(policy: JudgePolicy) -> Self {
        Judge {
            policy,
            aim: Aim::Widen,
            errors: Rates::new(Some(policy.errors_max)),
            checks: Rates::new(None),
            panics: Rates::new(None),
            latencies: Latencies::new(),
            heaps: Heaps::default(),
            record: Record::default(),
            is_baseline_checked: false,
            step: (0, 0),
            candidate_calls: 0,
            panicked: (0, 0),
            mirrored: 0,
            is_mirroring: false,
        }
    }

    /// The candidate has another share of the calls from here on, with this aim.
    pub fn begin_step(&mut self, aim: Aim) {
        self.aim = aim;
        self.step = (0, 0);
        self.errors.begin_step();
        self.checks.begin_step();
        self.panics.begin_step();
        self.latencies.begin_step(&self.policy);
        if std::mem::take(&mut self.is_mirroring) {
            self.errors.forget_what_is_bearable();
            self.latencies.forget_what_is_bearable();
        }
    }

    /// What both sides did in an interval that lasted so long. Intervals in which the host itself stood still are left out.
    pub fn observe(&mut self, lasted: Duration, candidate: &Side, baseline: &Side) {
        self.observe_states(lasted, candidate, baseline);
        self.candidate_calls = self.candidate_calls.saturating_add(candidate.calls.of);
        self.count_panics(candidate, baseline);
        self.step.0 = self.step.0.saturating_add(candidate.calls.of);
        self.step.1 = self.step.1.saturating_add(baseline.calls.of);
        if self.aim == Aim::Settle {
            // The baseline ends what it had begun: that is no comparison.
            let (calls, latencies) = (candidate.calls, &candidate.latencies);
            return self
                .record
                .observe_candidate(lasted, calls, latencies, &self.policy);
        }
        self.record
            .observe_baseline(lasted, baseline.calls, &baseline.latencies);
        self.compare(candidate, baseline);
    }

    /// The same of an interval before the first step, and what came in it of calls that were made of both: `mirrored`, the candidate's side of them and
    /// the baseline's. Of each pair of calls one is the candidate's; what both have in common, the input above all, makes no evidence, since one call is
    /// taken of each run of two, as `e_process` has it.
    pub fn observe_mirrored(
        &mut self,
        lasted: Duration,
        (candidate, baseline): (&Side, &Side),
        mirrored: (&Side, &Side),
    ) {
        self.observe_states(lasted, candidate, baseline);
        self.record
            .observe_baseline(lasted, baseline.calls, &baseline.latencies);
        let (candidate, baseline) = mirrored;
        self.is_mirroring = true;
        self.mirrored = self.mirrored.saturating_add(candidate.calls.of);
        self.count_panics(candidate, baseline);
        self.compare(candidate, baseline);
    }

    /// How they are, whatever they are called for.
    fn observe_states(&mut self, lasted: Duration, candidate: &Side, baseline: &Side) {
        self.is_baseline_checked |= baseline.checks.is_some();
        self.checks.observe(checks(candidate, baseline));
        let (candidate, baseline) = (candidate.heap_bytes, baseline.heap_bytes);
        self.heaps.observe(lasted, candidate, baseline, &self.policy);
    }

    fn count_panics(&mut self, candidate: &Side, baseline: &Side) {
        self.panicked.0 = self.panicked.0.saturating_add(candidate.panics);
        self.panicked.1 = self.panicked.1.saturating_add(baseline.panics);
    }

    /// What both did in the same time.
    fn compare(&mut self, candidate: &Side, baseline: &Side) {
        let both = |of: fn(&Side) -> Failures| Both {
            candidate: of(candidate),
            baseline: of(baseline),
        };
        self.errors.observe(both(|side| side.calls));
        self.panics.observe(both(|side| Failures {
            failed: side.panics,
            of: side.calls.of,
        }));
        self.latencies
            .observe(&candidate.latencies, &baseline.latencies, &self.policy);
    }

    /// What all that was observed comes to.
    pub fn verdict(&self) -> Verdict {
        if let Some(finding) = self.finding() {
            return Verdict::Worse(finding);
        }
        let lacks: Vec<Lack> = self.lacks().collect();
        if lacks.is_empty() {
            Verdict::Good
        } else {
            Verdict::NotEnough(lacks)
        }
    }

    fn finding(&self) -> Option<Finding> {
        let (policy, needed) = (&self.policy, self.policy.log_worse());
        let worse = |rates: &Rates, difference| rates.worse(needed, difference);
        let panics = match self.panicked {
            (0, _) => None,
            (failed, 0) => {
                let of = self.candidate_calls.saturating_add(self.mirrored).max(failed);
                Some((Failures { failed, of }, Failures::default()))
            }
            _ => worse(&self.panics, 0.0),
        };
        let found = |measure| {
            move |(candidate, baseline)| Finding {
                measure,
                evidence: Evidence::Failures { candidate, baseline },
            }
        };
        let slower = |measure| {
            move |slower| Finding {
                measure,
                evidence: Evidence::Slower(slower),
            }
        };
        panics
            .map(found(Measure::Panics))
            .or_else(|| worse(&self.errors, policy.errors_min).map(found(Measure::Errors)))
            .or_else(|| {
                let (candidate, baseline) = worse(&self.checks, policy.checks_min)?;
                let baseline = self.is_baseline_checked.then_some(baseline);
                Some(found(Measure::Checks)((candidate, baseline.unwrap_or_default())))
            })
            .or_else(|| self.latencies.worse(needed).map(slower(Measure::Latency)))
            .or_else(|| {
                self.heaps.worse().map(|finding| Finding {
                    measure: Measure::Heap,
                    evidence: Evidence::Heap(finding),
                })
            })
            .or_else(|| {
                self.record.worse().map(|worse| match worse {
                    RecordFinding::Errors(candidate, baseline) => {
                        found(Measure::Errors)((candidate, baseline))
                    }
                    RecordFinding::Latency(of) => slower(Measure::Latency)(of),
                })
            })
    }

    fn lacks(&self) -> impl Iterator<Item = Lack> {
        let (policy, aim) = (&self.policy, self.aim);
        let (candidate, baseline) = self.step;
        let few = |seen, needed, of_candidate| {
            (seen < needed).then_some(Lack::Calls {
                of_candidate,
                seen,
                needed,
            })
        };
        let calls = match aim {
            Aim::Settle => {
                let in_all = few(self.candidate_calls, policy.calls_without_panic(), true);
                [in_all.or(few(candidate, policy.calls_min, true)), None]
            }
            Aim::Widen | Aim::Switch => [
                few(candidate, policy.calls_min, true),
                few(baseline, policy.calls_min, false),
            ],
        };
        let needed = policy.log_good();
        let undecided = [
            (!self.errors.is_bearable(needed)).then_some(Lack::ErrorsUndecided {
                difference: policy.errors_max,
            }),
            (!self.latencies.is_bearable(needed)).then_some(Lack::LatencyUndecided {
                factor: policy.latency_max,
            }),
        ];
        let undecided = undecided
            .into_iter()
            .flatten()
            .filter(move |_| aim == Aim::Switch);
        let lean = [
            (Measure::Errors, self.errors.leans() || self.record.leans()),
            (Measure::Checks, self.checks.leans()),
            (Measure::Panics, self.panics.leans()),
            (Measure::Latency, self.latencies.leans()),
            (Measure::Heap, self.heaps.leans()),
        ];
        let heap = (aim == Aim::Settle).then(|| self.heaps.lack(policy)).flatten();
        calls
            .into_iter()
            .flatten()
            .chain(undecided)
            .chain(
                lean.into_iter()
                    .filter(|(_, leans)| *leans)
                    .map(|(measure, _)| Lack::Leans(measure)),
            )
            .chain(heap)
    }
}

/// A version without a check fails none: it counts as if it had been asked as often as the other, and been well.
fn checks(candidate: &Side, baseline: &Side) -> Both {
    let candidate = candidate.checks.unwrap_or_default();
    let well = Failures {
        failed: 0,
        of: candidate.of,
    };
    Both {
        candidate,
        baseline: baseline.checks.unwrap_or(well),
    }
}

#[cfg(test)]
mod tests;
