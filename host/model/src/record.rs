//! What is written down: spans of one state, checks that were not good, rollups of a minute. Plain data that the engine makes, the history keeps
//! and the analysis reads.

use crate::latency::LatencyHistogram;
use crate::{Cause, CheckKind, ErrorKind, Health, Lifecycle};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// From a moment (included) to another (not included), in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// From when on.
    pub from_unix_ms: u64,
    /// Until when.
    pub to_unix_ms: u64,
}

impl Range {
    /// From a moment to another.
    pub fn new(from_unix_ms: u64, to_unix_ms: u64) -> Self {
        Range {
            from_unix_ms,
            to_unix_ms,
        }
    }

    /// The time before a moment.
    pub fn last(length_ms: u64, now_unix_ms: u64) -> Self {
        Range::new(now_unix_ms.saturating_sub(length_ms), now_unix_ms)
    }

    /// Its length in milliseconds; 0 if it ends before it begins.
    pub fn length_ms(self) -> u64 {
        self.to_unix_ms.saturating_sub(self.from_unix_ms)
    }

    /// Whether a moment lies in it.
    pub fn holds(self, at_unix_ms: u64) -> bool {
        (self.from_unix_ms..self.to_unix_ms).contains(&at_unix_ms)
    }
}

/// What a span is a span of; when one of these changes, the next span begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanState {
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// How it is.
    pub health: Health,
    /// What decided that.
    pub cause: Cause,
    /// An operator works on it, or has stopped it: this time counts for nothing.
    pub left_out: bool,
}

/// An instance is in another state from here on.
#[derive(Debug, Clone, PartialEq)]
pub struct StateTransition {
    /// The instance.
    pub instance: Arc<str>,
    /// From when on, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The new state; `None` when the instance is forgotten, or the host ends in good order.
    pub state: Option<SpanState>,
    /// For people: the plugin's own words, an error's text. At most 1 KiB is kept.
    pub text: Option<String>,
}

/// What one check came to: a deep one, or another that was not good. Good ones are counted in the minutes alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRow {
    /// The instance.
    pub instance: Arc<str>,
    /// When it was asked, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// When the same last came of it; [`at_unix_ms`](Self::at_unix_ms) for one check.
    pub last_unix_ms: u64,
    /// How often, one after the other; 1 for one check.
    pub times: u64,
    /// What was asked.
    pub kind: CheckKind,
    /// What came of it.
    pub result: ResultWord,
    /// Whether it was evidence.
    pub counted: bool,
    /// How long the plugin's code ran, in nanoseconds; absent if it did not return.
    pub took_ns: Option<u64>,
    /// The plugin's own words, or its error's. At most 1 KiB is kept.
    pub text: Option<String>,
}

/// A check's result in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultWord {
    /// It answered, and said this of itself; `None` if it says nothing.
    Said(Option<Health>),
    /// It did not answer in time.
    TimedOut,
    /// It could not answer.
    Failed(ErrorKind),
    /// Its calls left no room.
    Busy,
    /// The host was late, so the result says nothing of the plugin.
    HostLate,
}

/// Milliseconds in each state. What is missing to the whole was not observed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateMs {
    /// Up.
    pub up: u64,
    /// Degraded.
    pub degraded: u64,
    /// Down.
    pub down: u64,
    /// Not known.
    pub unknown: u64,
    /// In maintenance, or stopped by an operator.
    pub left_out: u64,
}

/// What one instance did in one stretch of time: a minute, an hour, a day.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rollup {
    /// When the stretch begins, in milliseconds since the Unix epoch, a multiple of its length.
    pub from_unix_ms: u64,
    /// Time in each state.
    pub states: StateMs,
    /// Checks that had a result.
    pub checks: u64,
    /// Those of them that count towards down, as in [`CheckCounts::failed`].
    pub checks_failed: u64,
    /// Calls that ended, well or not.
    pub calls: u64,
    /// Failures by kind.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// How long the plugin's code ran in calls.
    pub latency: LatencyHistogram,
    /// Least and most heap that was seen, in bytes; absent if nobody counted it.
    pub heap_bytes: Option<(u64, u64)>,
    /// Processor time, in nanoseconds; absent if it was not measured.
    pub cpu_ns: Option<u64>,
}

/// A minute of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct MinuteRow {
    /// The instance.
    pub instance: Arc<str>,
    /// What it did in it.
    pub rollup: Rollup,
}

/// Another version of a plugin serves from here on.
#[derive(Debug, Clone, PartialEq)]
pub struct ReleaseRow {
    /// The instance.
    pub instance: Arc<str>,
    /// From when on, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The version.
    pub version: Version,
    /// SHA-256 of the library.
    pub digest: crate::Digest,
}

/// A value that the host must find again after a restart, such as what is spent of a budget. It goes only when whoever wrote it has it
/// forgotten: a wall clock that leaps must not give a budget anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValueRow {
    /// Its key, at most 256 bytes; what stood there before is replaced.
    pub key: Arc<str>,
    /// When it was decided, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// At most 8 KiB; `None` to forget it.
    pub value: Option<String>,
}

/// The wall clock was set, or went on while the machine slept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStep {
    /// By so many milliseconds: ahead, or back if that is negative.
    pub by_ms: i64,
    /// What it showed after that, in milliseconds since the Unix epoch.
    pub to_unix_ms: u64,
}

/// A step of the clock as it was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockRow {
    /// What it showed after that, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// By how much: ahead, or back if that is negative.
    pub by_ms: i64,
    /// A host that began found it so much behind what was written down before; when it was set, and by how much, nobody saw.
    pub found: bool,
}

/// A span as it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanRow {
    /// From when on, in milliseconds since the Unix epoch.
    pub from_unix_ms: u64,
    /// Until when; `None` while it goes on.
    pub to_unix_ms: Option<u64>,
    /// Of what.
    pub state: SpanState,
    /// For people: what the plugin or an error said.
    pub text: Option<String>,
    /// The host did not see its end: it ended without telling, and this is when it was last known to live.
    pub cut: bool,
}

/// Anything that is written down.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A new state.
    Transition(StateTransition),
    /// A check that was not good, or a deep one.
    Check(Box<CheckRow>),
    /// What one did in a minute.
    Minute(Box<MinuteRow>),
    /// A new version.
    Release(ReleaseRow),
    /// A value to be found again.
    KeyValue(KeyValueRow),
    /// What was told before this was told by another clock.
    ClockStep(ClockStep),
}

impl ClockStep {
    /// What it would show without the step, in milliseconds since the Unix epoch.
    pub fn left_unix_ms(&self) -> u64 {
        self.to_unix_ms.saturating_add_signed(self.by_ms.saturating_neg())
    }
}

/// Checks, as they are counted everywhere: in the figures of an instance, of the host, and in the history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckCounts {
    /// Checks that had a result.
    pub checks: u64,
    /// Those of them that count towards down: the plugin failed them, did not answer in time, or said that it is down.
    pub failed: u64,
    /// Those of them that were not answered in time.
    pub timed_out: u64,
    /// Checks that were due and had no result: calls left no room or showed enough, or the host's own time went by.
    pub skipped: u64,
}

impl CheckCounts {
    /// Counts one more.
    pub fn count(&mut self, result: ResultWord) {
        match result.outcome() {
            Outcome::Skipped => self.skipped += 1,
            outcome => {
                self.checks += 1;
                self.failed += u64::from(outcome == Outcome::Bad);
                self.timed_out += u64::from(result == ResultWord::TimedOut);
            }
        }
    }
}

/// What a check's result is evidence of. Verdicts and counts rest on this one mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Good,
    /// It serves, worse than usual.
    Fair,
    /// It does not serve: the check has failed.
    Bad,
    /// It answers, and says that it does not know.
    Unsure,
    /// Nothing: the check was not made, or the host's own time went by.
    Skipped,
}

impl ResultWord {
    /// What it is evidence of.
    pub fn outcome(self) -> Outcome {
        match self {
            ResultWord::Said(None | Some(Health::Up)) | ResultWord::Failed(ErrorKind::Unsupported) => {
                Outcome::Good
            }
            ResultWord::Said(Some(Health::Degraded)) | ResultWord::Failed(ErrorKind::RateLimited) => {
                Outcome::Fair
            }
            ResultWord::Said(Some(Health::Unknown)) => Outcome::Unsure,
            ResultWord::Busy
            | ResultWord::HostLate
            | ResultWord::Failed(ErrorKind::Cancelled | ErrorKind::NotServing) => Outcome::Skipped,
            ResultWord::Said(Some(Health::Down)) | ResultWord::TimedOut | ResultWord::Failed(_) => {
                Outcome::Bad
            }
        }
    }

    /// Whether it says that the instance is well, or nothing against it.
    pub fn is_good(self) -> bool {
        matches!(self, ResultWord::Said(None | Some(Health::Up)))
    }
}

impl StateMs {
    /// All of it.
    pub fn total(&self) -> u64 {
        [self.up, self.degraded, self.down, self.unknown, self.left_out]
            .iter()
            .fold(0, |sum, part| sum.saturating_add(*part))
    }

    /// Adds another stretch's time; sums that no longer fit stay at their greatest.
    pub fn add(&mut self, other: &StateMs) {
        for (sum, more) in [
            (&mut self.up, other.up),
            (&mut self.degraded, other.degraded),
            (&mut self.down, other.down),
            (&mut self.unknown, other.unknown),
            (&mut self.left_out, other.left_out),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

impl Rollup {
    /// Adds what another stretch holds. Where it begins stays as it is; sums that no longer fit stay at their greatest.
    pub fn add(&mut self, other: &Rollup) {
        self.states.add(&other.states);
        self.checks = self.checks.saturating_add(other.checks);
        self.checks_failed = self.checks_failed.saturating_add(other.checks_failed);
        self.calls = self.calls.saturating_add(other.calls);
        for (kind, count) in &other.errors {
            let sum = self.errors.entry(*kind).or_default();
            *sum = sum.saturating_add(*count);
        }
        if !other.latency.is_empty() {
            self.latency = self.latency.merged(&other.latency);
        }
        self.heap_bytes = match (self.heap_bytes, other.heap_bytes) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        self.cpu_ns = match (self.cpu_ns, other.cpu_ns) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn check_that_says_down_has_failed_and_one_that_was_not_made_has_no_result() {
        let mut counts = CheckCounts::default();
        for result in [
            ResultWord::Said(Some(Health::Up)),
            ResultWord::Said(Some(Health::Degraded)),
            ResultWord::Said(Some(Health::Unknown)),
            ResultWord::Said(Some(Health::Down)),
            ResultWord::TimedOut,
            ResultWord::Failed(ErrorKind::Internal),
            ResultWord::Failed(ErrorKind::RateLimited),
            ResultWord::Busy,
            ResultWord::HostLate,
        ] {
            counts.count(result);
        }
        let expected = CheckCounts {
            checks: 7,
            failed: 3,
            timed_out: 1,
            skipped: 2,
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn adding_sums_what_is_counted_and_widens_what_is_bounded() {
        let one = Rollup {
            from_unix_ms: 60_000,
            states: StateMs {
                up: 59_000,
                down: 1_000,
                ..StateMs::default()
            },
            checks: 6,
            checks_failed: 1,
            calls: u64::MAX,
            errors: BTreeMap::from([(ErrorKind::Internal, 2)]),
            latency: LatencyHistogram::of([Duration::from_millis(1)]),
            heap_bytes: Some((10, 20)),
            cpu_ns: None,
        };
        let mut sum = Rollup {
            from_unix_ms: 0,
            heap_bytes: Some((15, 40)),
            cpu_ns: Some(7),
            errors: BTreeMap::from([(ErrorKind::Panicked, 1)]),
            ..Rollup::default()
        };
        sum.add(&one);
        sum.add(&one);
        assert_eq!(
            (sum.from_unix_ms, sum.states.up, sum.states.down),
            (0, 118_000, 2_000)
        );
        assert_eq!((sum.checks, sum.checks_failed, sum.calls), (12, 2, u64::MAX));
        let errors = [(ErrorKind::Internal, 4), (ErrorKind::Panicked, 1)];
        assert_eq!(sum.errors, BTreeMap::from(errors));
        assert_eq!(sum.latency.count(), 2);
        assert_eq!((sum.heap_bytes, sum.cpu_ns), (Some((10, 40)), Some(7)));
    }
}
