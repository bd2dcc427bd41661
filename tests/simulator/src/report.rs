//! What came of a simulation. Pure.

use super::Time;
use super::fault::Kind;
use extman_model::{Cause, Health, Judgement};
use serde::Serialize;
use std::collections::BTreeMap;

/// Violations that are kept; the others are only counted.
const VIOLATIONS_MAX: usize = 100;

/// What is wrong with a judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// Down, and nothing is wrong with it.
    FalseDown,
    /// Not seen although it lasted.
    Missed,
    /// Seen after its time.
    Late,
    /// Down for a reason that is not this fault's.
    Cause,
    /// Well, and not held to be so in time.
    SlowRecovery,
    /// Degraded for its deep checks or its heap, and nothing is wrong with them.
    FalseAlarm,
    /// A deep check that may not have been made: too soon after the last, or beyond the budget.
    Budget,
    /// Systems that were judged otherwise than their members' truth says.
    Verdict,
}

/// One wrong judgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which plugin; of a system the first.
    pub plugin: u32,
    /// When, in simulated milliseconds.
    pub at_ms: u64,
    /// What the wall clock showed then.
    pub wall_ms: i64,
    /// What is wrong.
    pub wrong: Wrong,
    /// The fault in question.
    pub fault: Option<Kind>,
    /// When it began.
    pub fault_from_ms: Option<u64>,
    /// When it ended.
    pub fault_to_ms: Option<u64>,
    /// What was judged.
    pub judged: Health,
    /// Why; a whole system has no single cause.
    pub cause: Option<Cause>,
}

/// Everything about one sort of fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many there were.
    pub faults: u64,
    /// Those that lasted longer than it may take to see them.
    pub must: u64,
    /// Those of these that nobody saw.
    pub missed: u64,
    /// Those that were seen too late.
    pub late: u64,
    /// Judgements with a reason that is not the fault's.
    pub wrong_causes: u64,
    /// Those that were over and not held to be in time.
    pub slow: u64,
    /// Times that it was held to be better while the fault went on.
    pub lost_sight: u64,
    /// Those during which it was said to flap.
    pub flapped: u64,
    /// The longest time that any of them may take to be seen, without pauses of the host.
    pub bound_ms_max: u64,
    /// How long each took to be seen.
    pub detections_ms: Vec<u64>,
    /// How long each took to be held to be over.
    pub recoveries_ms: Vec<u64>,
}

/// What came of some plugins, or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Checks that were asked for.
    pub checks: u64,
    /// Those that were not needed, or found the one before still under way.
    pub not_asked: u64,
    /// Judgements that changed.
    pub changes: u64,
    /// Down while nothing was wrong.
    pub false_downs: u64,
    /// Degraded while nothing was wrong.
    pub false_degraded: u64,
    /// Degraded for deep checks or a heap with which nothing is wrong.
    pub false_alarms: u64,
    /// Deep checks that were made.
    pub deep_checks: u64,
    /// Those of them that failed.
    pub deep_failed: u64,
    /// Those that may not have been made.
    pub deep_beyond: u64,
    /// Times that a deep check waited for nothing but its budget.
    pub deep_spent: u64,
    /// Systems whose verdict was compared.
    pub verdicts: u64,
    /// Those that were wrong.
    pub verdicts_wrong: u64,
    /// Those that noise made degraded.
    pub verdicts_noisy: u64,
    /// By sort of fault.
    pub kinds: BTreeMap<Kind, Tally>,
    /// Simulated milliseconds by word and reason.
    pub judged_ms: BTreeMap<(&'static str, &'static str), u64>,
    /// The first of what is wrong.
    pub violations: Vec<Violation>,
    /// One plugin's events, if they were asked for.
    pub trace: Vec<String>,
}

impl Report {
    /// The tally of a sort of fault.
    pub fn kind(&mut self, kind: Kind) -> &mut Tally {
        self.kinds.entry(kind).or_default()
    }

    /// Time goes by.
    pub fn pass(&mut self, judged: Judgement, time: Time) {
        let entry = self.judged_ms.entry((word(judged.health), judged.cause.code()));
        // Rounded down each time, the same way each time.
        *entry.or_default() += time / 1_000_000;
    }

    /// Something is wrong.
    pub fn violation(&mut self, violation: Violation) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        }
    }

    /// Adds what came of later plugins. In another order the same comes out but for which violations are kept.
    pub fn add(&mut self, other: Report) {
        self.checks += other.checks;
        self.not_asked += other.not_asked;
        self.changes += other.changes;
        self.false_downs += other.false_downs;
        self.false_degraded += other.false_degraded;
        self.false_alarms += other.false_alarms;
        self.deep_checks += other.deep_checks;
        self.deep_failed += other.deep_failed;
        self.deep_beyond += other.deep_beyond;
        self.deep_spent += other.deep_spent;
        self.verdicts += other.verdicts;
        self.verdicts_wrong += other.verdicts_wrong;
        self.verdicts_noisy += other.verdicts_noisy;
        for (kind, tally) in other.kinds {
            let sum = self.kind(kind);
            sum.faults += tally.faults;
            sum.must += tally.must;
            sum.missed += tally.missed;
            sum.late += tally.late;
            sum.wrong_causes += tally.wrong_causes;
            sum.slow += tally.slow;
            sum.lost_sight += tally.lost_sight;
            sum.flapped += tally.flapped;
            sum.bound_ms_max = sum.bound_ms_max.max(tally.bound_ms_max);
            sum.detections_ms.extend(tally.detections_ms);
            sum.recoveries_ms.extend(tally.recoveries_ms);
        }
        for (what, ms) in other.judged_ms {
            *self.judged_ms.entry(what).or_default() += ms;
        }
        other
            .violations
            .into_iter()
            .for_each(|violation| self.violation(violation));
        self.trace.extend(other.trace);
    }

    /// Faults that were not seen, or too late, or for another reason.
    pub fn failures(&self) -> u64 {
        let of_kind = |tally: &Tally| tally.missed + tally.late + tally.wrong_causes + tally.slow;
        self.false_downs
            + self.false_alarms
            + self.deep_beyond
            + self.verdicts_wrong
            + self.kinds.values().map(of_kind).sum::<u64>()
    }

    /// Time judged unknown, in simulated milliseconds.
    pub fn unknown_ms(&self) -> u64 {
        let unknown = self
            .judged_ms
            .iter()
            .filter(|((health, _), _)| *health == "unknown");
        unknown.map(|(_, ms)| ms).sum()
    }
}

fn word(health: Health) -> &'static str {
    match health {
        Health::Up => "up",
        Health::Degraded => "degraded",
        Health::Down => "down",
        Health::Unknown => "unknown",
    }
}
