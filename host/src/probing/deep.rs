//! The engine's part in deep checks: who may be asked, and what a result does to the one that was. When they are made, and whether,
//! is decided elsewhere: see [`deep`](crate::deep).

use super::instance::cut;
use super::results::word;
use super::{Engine, Target};
use extman_health::monitor::deep_counts;
use extman_model::record::{CheckRow, ResultWord};
use extman_model::{CheckKind, CheckOutcome, Health, Lifecycle};
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
        let scheduler = self.scheduler();
        let (instance, hot) = scheduler.instance(scheduler.find(name)?)?;
        let monitor = &instance.monitor;
        if monitor.lifecycle() != Lifecycle::Running {
            return None;
        }
        Some(Candidate {
            target: hot.target.clone()?,
            generation: monitor.generation(),
            is_worth_it: monitor.judged().health.serves() && !monitor.is_excluded(),
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
        let at @ (now, _) = super::now();
        self.decide(|scheduler, out| {
            let number = scheduler.find(name)?;
            let monitor = &scheduler.instance(number)?.0.monitor;
            if monitor.generation() != generation || monitor.lifecycle() != Lifecycle::Running {
                return None;
            }
            let result = result(outcome, host_late);
            let (counted, text) = (deep_counts(result), outcome.text());
            scheduler.with(number, at, |instance, hot| {
                out.record_result(CheckRow {
                    instance: instance.name.clone(),
                    at_unix_ms: asked.at_unix_ms,
                    last_unix_ms: asked.at_unix_ms,
                    times: 1,
                    kind: CheckKind::Deep,
                    result: word(outcome),
                    counted,
                    took_ns: asked.took_ns,
                    text: text.map(str::to_owned),
                });
                if counted {
                    instance.set_deep_words(text.map(|text| cut(text).into()));
                }
                instance.judge(hot, at, out, |instance, policy, out| {
                    instance.monitor.deep_ended(now, generation, result, policy);
                    out.note_panic(&instance.name, generation, outcome);
                });
                DeepEnded {
                    counted,
                    failed: instance.monitor.failed_deep(),
                }
            })
        })
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
    use extman_model::ErrorKind;

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
