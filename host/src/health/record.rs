//! What is written down: spans of one state, single results, sums of a minute. Plain data that the engine makes, the history keeps
//! and the analysis reads.

use crate::model::{Cause, ErrorKind, Health, Lifecycle};
use crate::sketch::Sketch;
use semver::Version;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a span is a span of; when one of these changes, the next span begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
pub struct Turn {
    /// The instance.
    pub instance: Arc<str>,
    /// From when on, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The new state; `None` when the instance is forgotten, or the host ends in good order.
    pub state: Option<SpanState>,
    /// For people: the plugin's own words, an error's text. At most 1 KiB is kept.
    pub text: Option<String>,
}

/// What one check came to.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultRow {
    /// The instance.
    pub instance: Arc<str>,
    /// When it was asked, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// What came of it.
    pub result: ResultWord,
    /// How long the plugin's code ran, in nanoseconds; absent if it did not return.
    pub took_ns: Option<u64>,
    /// Round trip over the plugin's connection, in nanoseconds, by its own word.
    pub connection_rtt_ns: Option<u64>,
    /// Heap in use, in bytes, as our code inside the plugin counted it.
    pub heap_bytes: Option<u64>,
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
    /// Checks that failed or timed out.
    pub checks_failed: u64,
    /// Calls that ended, well or not.
    pub calls: u64,
    /// Failures by kind.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// How long the plugin's code ran in calls.
    pub latency: Sketch,
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
    /// Its sums.
    pub sums: Rollup,
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
    pub digest: crate::model::Digest,
}

/// Anything that is written down.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A new state.
    Turn(Turn),
    /// A check's result.
    Result(ResultRow),
    /// A minute's sums.
    Minute(Box<MinuteRow>),
    /// A new version.
    Release(ReleaseRow),
}
