//! The engine's part in deep checks: who may be asked, and what a result does to the one that was. When they are made, and whether,
//! is decided elsewhere: see [`deep`](crate::deep).

use super::answers::{announce, word};
use super::out::Out;
use super::place::{DeepSaid, Place};
use super::{Engine, Target, wall_ms};
use extman_health::Moment;
use extman_health::evaluate::deep_counts;
use extman_model::clock;
use extman_model::record::{CheckRow, Record, ResultWord};
use extman_model::{CheckKind, CheckOutcome, ErrorKind, Health, Lifecycle};
use std::sync::Arc;

/// One that may be asked.
pub struct Candidate {
    /// The running instance.
    pub target: Arc<dyn Target>,
    /// The generation of its library.
    pub generation: u64,
    /// Whether it is worth its cost: it serves as far as is known, and nobody works on it.
    pub is_worth_it: bool,
}

/// When one was asked, and how long its code ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// In milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// In nanoseconds; absent if it did not return.
    pub took_ns: Option<u64>,
}

/// What a deep check came to for the one that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeepEnded {
    /// Whether it was evidence.
    pub counted: bool,
    /// Failed ones in a row.
    pub failed: u8,
}

impl Engine {
    /// An instance, if it runs.
    pub fn candidate(&self, name: &str) -> Option<Candidate> {
        let shard = self.shard();
        let (place, _) = shard.place(shard.find(name)?)?;
        let evaluation = place.course.evaluation();
        if evaluation.life() != Lifecycle::Running {
            return None;
        }
        let serves = matches!(evaluation.judged().health, Health::Up | Health::Degraded);
        Some(Candidate {
            target: place.target.clone()?,
            generation: evaluation.generation(),
            is_worth_it: serves && !evaluation.is_left_out(),
        })
    }

    /// A deep check has ended that was begun at `asked`. `host_late`: the host itself stood still meanwhile. `None` if that generation is
    /// gone.
    pub fn deep_ended(
        &self,
        name: &str,
        generation: u64,
        outcome: &CheckOutcome,
        asked: Asked,
        host_late: bool,
    ) -> Option<DeepEnded> {
        let (now, unix_ms, mut out) = (clock::monotonic(), wall_ms(), self.out());
        let ended = {
            let mut shard = self.shard();
            let number = shard.find(name)?;
            let (place, _) = shard.place(number)?;
            let evaluation = place.course.evaluation();
            if evaluation.generation() != generation || evaluation.life() != Lifecycle::Running {
                return None;
            }
            shard.with(number, now, unix_ms, |place, _| {
                take_in(
                    place,
                    generation,
                    (outcome, asked, host_late),
                    (now, unix_ms),
                    &mut out,
                )
            })?
        };
        self.tell(out);
        Some(ended)
    }
}

fn take_in(
    place: &mut Place,
    generation: u64,
    (outcome, asked, host_late): (&CheckOutcome, Asked, bool),
    (now, unix_ms): (Moment, u64),
    out: &mut Out,
) -> DeepEnded {
    let evaluation = place.course.evaluation();
    let (was, left_out) = (evaluation.judged(), evaluation.is_left_out());
    let (result, policy) = (result(outcome, host_late), place.policy.clone());
    let counted = deep_counts(result);
    if out.keeps_results {
        out.records.push(Record::Check(Box::new(CheckRow {
            instance: place.name.clone(),
            at_unix_ms: asked.at_unix_ms,
            last_unix_ms: asked.at_unix_ms,
            times: 1,
            kind: CheckKind::Deep,
            result: word(outcome),
            counted,
            took_ns: asked.took_ns,
            text: outcome.text().map(str::to_owned),
        })));
    }
    if counted {
        let text = outcome.text().map(str::to_owned);
        place.deep = Some(Box::new(DeepSaid { text }));
    }
    place.pass(now, unix_ms, was, left_out, &mut out.records);
    let changed = place.course.deep_ended(now, generation, result, &policy);
    if changed.is_some() {
        announce(place, was, unix_ms, out);
    }
    if let CheckOutcome::Failed {
        kind: ErrorKind::Panicked,
        text,
    } = outcome
    {
        out.panicked.push((place.name.clone(), generation, text.clone()));
    }
    DeepEnded {
        counted,
        failed: place.course.evaluation().failed_deep(),
    }
}

/// A starved host fails requests, and never has one succeed.
fn result(outcome: &CheckOutcome, host_late: bool) -> ResultWord {
    match word(outcome) {
        good @ ResultWord::Said(None | Some(Health::Up)) => good,
        _ if host_late => ResultWord::HostLate,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_while_the_host_stands_still_says_nothing() {
        let failed = CheckOutcome::Failed {
            kind: ErrorKind::Unavailable,
            text: String::new(),
        };
        for outcome in [CheckOutcome::TimedOut, failed] {
            assert_eq!(result(&outcome, true), ResultWord::HostLate);
            assert_ne!(result(&outcome, false), ResultWord::HostLate);
        }
        let good = CheckOutcome::Answered { report: None };
        assert_eq!(result(&good, true), ResultWord::Said(None));
    }
}
