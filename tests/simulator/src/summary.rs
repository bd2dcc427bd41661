//! A report in figures, for people and as JSON. Pure.

use super::report::{Report, Tally, Violation};
use super::{KINDS, SECOND, Scenario};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// A report's figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Where chance came from.
    pub seed: u64,
    /// How many plugins.
    pub plugins: u32,
    /// For how long, in simulated seconds.
    pub simulated_s: u64,
    /// Checks that were asked for.
    pub checks: u64,
    /// Judgements that changed.
    pub changes: u64,
    /// Down while nothing was wrong.
    pub false_downs: u64,
    /// Degraded while nothing was wrong.
    pub false_degraded: u64,
    /// Degraded for deep checks or a heap with which nothing was wrong.
    pub false_alarms: u64,
    /// Deep checks that were made.
    pub deep_checks: u64,
    /// Those of them that failed.
    pub deep_failed: u64,
    /// Those that may not have been made: too soon, or beyond the budget.
    pub deep_beyond: u64,
    /// Times that the budget was all that one waited for.
    pub deep_spent: u64,
    /// By sort of fault, those that occurred.
    pub kinds: BTreeMap<&'static str, KindSummary>,
    /// Verdicts on small systems that were compared with the truth.
    pub verdicts: u64,
    /// Those that were wrong.
    pub verdicts_wrong: u64,
    /// Those that noise made degraded.
    pub verdicts_noisy: u64,
    /// Simulated milliseconds by word and reason.
    pub judged_ms: BTreeMap<String, u64>,
    /// The first of what is wrong.
    pub violations: Vec<Violation>,
}

/// Figures of one sort of fault. Times are in milliseconds; absent if there is nothing to measure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "as in `Tally`")]
pub struct KindSummary {
    pub faults: u64,
    pub must: u64,
    pub seen: u64,
    pub missed: u64,
    pub late: u64,
    pub wrong_causes: u64,
    pub slow_recoveries: u64,
    pub lost_sight: u64,
    pub flapped: u64,
    pub bound_ms: u64,
    pub detection_p50_ms: Option<u64>,
    pub detection_p99_ms: Option<u64>,
    pub detection_max_ms: Option<u64>,
    pub recovery_p50_ms: Option<u64>,
    pub recovery_p99_ms: Option<u64>,
    pub recovery_max_ms: Option<u64>,
}

impl Summary {
    /// Of what came of a scenario.
    pub fn new(scenario: &Scenario, report: &Report) -> Self {
        let kinds = KINDS
            .iter()
            .filter_map(|kind| Some((kind.as_str(), figures(report.kinds.get(kind)?))));
        let judged = report.judged_ms.iter();
        Summary {
            seed: scenario.seed,
            plugins: scenario.plugins,
            simulated_s: scenario.length / SECOND,
            checks: report.checks,
            changes: report.changes,
            false_downs: report.false_downs,
            false_degraded: report.false_degraded,
            false_alarms: report.false_alarms,
            deep_checks: report.deep_checks,
            deep_failed: report.deep_failed,
            deep_beyond: report.deep_beyond,
            deep_spent: report.deep_spent,
            kinds: kinds.collect(),
            verdicts: report.verdicts,
            verdicts_wrong: report.verdicts_wrong,
            verdicts_noisy: report.verdicts_noisy,
            judged_ms: judged
                .map(|((health, cause), ms)| (format!("{health}: {cause}"), *ms))
                .collect(),
            violations: report.violations.clone(),
        }
    }
}

fn figures(tally: &Tally) -> KindSummary {
    let (detections, recoveries) = (sorted(&tally.detections_ms), sorted(&tally.recoveries_ms));
    KindSummary {
        faults: tally.faults,
        must: tally.must,
        seen: detections.len() as u64,
        missed: tally.missed,
        late: tally.late,
        wrong_causes: tally.wrong_causes,
        slow_recoveries: tally.slow,
        lost_sight: tally.lost_sight,
        flapped: tally.flapped,
        bound_ms: tally.bound_ms_max,
        detection_p50_ms: permille(&detections, 500),
        detection_p99_ms: permille(&detections, 990),
        detection_max_ms: detections.last().copied(),
        recovery_p50_ms: permille(&recoveries, 500),
        recovery_p99_ms: permille(&recoveries, 990),
        recovery_max_ms: recoveries.last().copied(),
    }
}

fn sorted(values: &[u64]) -> Vec<u64> {
    let mut values = values.to_vec();
    values.sort_unstable();
    values
}

/// The value that this share of all does not exceed.
fn permille(sorted: &[u64], share: usize) -> Option<u64> {
    let rank = (sorted.len() * share).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.simulated_s as f64 / 86_400.0;
        writeln!(
            f,
            "seed {}: {} plugins for {days:.1} days, {} checks, {} changes of judgement",
            self.seed, self.plugins, self.checks, self.changes
        )?;
        writeln!(
            f,
            "deep checks {}, {} failed, {} too soon or beyond the budget, {} waited for the budget; false alarms of deep checks and heaps {}",
            self.deep_checks, self.deep_failed, self.deep_beyond, self.deep_spent, self.false_alarms
        )?;
        writeln!(
            f,
            "false downs {}, falsely degraded {}; verdicts on systems: {} compared, {} wrong, {} degraded by noise",
            self.false_downs, self.false_degraded, self.verdicts, self.verdicts_wrong, self.verdicts_noisy
        )?;
        if !self.kinds.is_empty() {
            writeln!(
                f,
                "{:<26}{:>8}{:>8}{:>8}{:>7}{:>6}{:>7}{:>6}{:>6}{:>8}  seen after s: p50, p99, max (bound)   well after s: p50, p99, max",
                "fault", "faults", "lasted", "seen", "missed", "late", "cause", "slow", "lost", "flapped"
            )?;
        }
        for (kind, k) in &self.kinds {
            writeln!(
                f,
                "{kind:<26}{:>8}{:>8}{:>8}{:>7}{:>6}{:>7}{:>6}{:>6}{:>8}  {:>10} {:>10} {:>10} {:>12}   {:>10} {:>10} {:>10}",
                k.faults,
                k.must,
                k.seen,
                k.missed,
                k.late,
                k.wrong_causes,
                k.slow_recoveries,
                k.lost_sight,
                k.flapped,
                seconds(k.detection_p50_ms),
                seconds(k.detection_p99_ms),
                seconds(k.detection_max_ms),
                format!("({})", seconds(Some(k.bound_ms))),
                seconds(k.recovery_p50_ms),
                seconds(k.recovery_p99_ms),
                seconds(k.recovery_max_ms),
            )?;
        }
        let all: u64 = self.judged_ms.values().sum();
        for (what, ms) in &self.judged_ms {
            writeln!(f, "  {what:<40}{:>9.4} %", *ms as f64 * 100.0 / all.max(1) as f64)?;
        }
        for violation in &self.violations {
            let Violation {
                plugin,
                at_ms,
                wrong,
                fault,
                fault_from_ms,
                judged,
                cause,
                ..
            } = violation;
            let fault = fault.map_or("no fault".to_owned(), |fault| {
                format!("{} since {} s", fault.as_str(), seconds(*fault_from_ms))
            });
            writeln!(
                f,
                "  {wrong:?}: plugin {plugin} at {} s, {fault}; judged {judged:?}{}",
                seconds(Some(*at_ms)),
                cause.map_or_else(String::new, |cause| format!(": {cause}"))
            )?;
        }
        Ok(())
    }
}

fn seconds(ms: Option<u64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| format!("{}.{:03}", ms / 1000, ms % 1000))
}
