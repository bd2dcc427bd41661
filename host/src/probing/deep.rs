//! The engine's part in deep checks: who may be asked, and what a result does to the one that was. When they are made, and whether,
//! is decided elsewhere: see [`deep`](crate::deep).

use super::instance::{DeepSaid, MonitoredInstance};
use super::outbox::Outbox;
use super::results::word;
use super::{Engine, Target, wall_ms};
use extman_health::Moment;
use extman_health::monitor::deep_counts;
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
        let scheduler = self.scheduler();
        let (instance, _) = scheduler.instance(scheduler.find(name)?)?;
        let monitor = &instance.monitor;
        if monitor.lifecycle() != Lifecycle::Running {
            return None;
        }
        let serves = matches!(monitor.judged().health, Health::Up | Health::Degraded);
        Some(Candidate {
            target: instance.target.clone()?,
            generation: monitor.generation(),
            is_worth_it: serves && !monitor.is_excluded(),
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
        let (now, unix_ms) = (clock::monotonic(), wall_ms());
        self.decide(|scheduler, out| {
            let number = scheduler.find(name)?;
            let (instance, _) = scheduler.instance(number)?;
            let monitor = &instance.monitor;
            if monitor.generation() != generation || monitor.lifecycle() != Lifecycle::Running {
                return None;
            }
            scheduler.with(number, now, unix_ms, |instance, _| {
                let said = (outcome, asked, host_late);
                take_in(instance, generation, said, (now, unix_ms), out)
            })
        })
    }
}

fn take_in(
    instance: &mut MonitoredInstance,
    generation: u64,
    (outcome, asked, host_late): (&CheckOutcome, Asked, bool),
    (now, unix_ms): (Moment, u64),
    out: &mut Outbox,
) -> DeepEnded {
    let result = result(outcome, host_late);
    let counted = deep_counts(result);
    if out.keeps_results {
        out.records.push(Record::Check(Box::new(CheckRow {
            instance: instance.name.clone(),
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
        instance.deep = Some(Box::new(DeepSaid { text }));
    }
    instance.judge((now, unix_ms), out, |monitor, policy| {
        monitor.deep_ended(now, generation, result, policy)
    });
    if let CheckOutcome::Failed {
        kind: ErrorKind::Panicked,
        text,
    } = outcome
    {
        out.panicked
            .push((instance.name.clone(), generation, text.clone()));
    }
    DeepEnded {
        counted,
        failed: instance.monitor.failed_deep(),
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
