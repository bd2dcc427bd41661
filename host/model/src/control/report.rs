//! Answers about health and history. Plain data: nothing here decides anything.

use crate::clock::nanos;
pub use crate::findings::{AfterLoad, CoFailing, Drift, Leak, Pareto, Periodic, Uptime};
pub use crate::history::{HistoryState, HistoryStatus, Resolution};
pub use crate::record::Range;
use crate::record::{CheckRow, ClockRow, ReleaseRow, ResultWord, Rollup, SpanRow};
use crate::{
    BarredView, BreakerView, Cause, CheckOutcome, CheckView, Component, ConfigStatus, Crash, DeepResult,
    Digest, ErrorKind, Health, HealthView, Lifecycle, Maintenance, Report, RolloutView,
};
pub use crate::{Group, Overall};
use extman_plugin_api::manifest::schema::Kind;
use semver::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How everything is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthAnswer {
    /// One word, one sentence, and the groups behind it.
    pub overall: Overall,
    /// Each instance, by name.
    pub plugins: Vec<PluginHealth>,
    /// How the history itself is.
    pub history: HistoryStatus,
    /// The host's own parts, by name; the history is one of them.
    #[serde(default)]
    pub components: Vec<Component>,
    /// How hosts were ended by signals in the last [`CRASHES_TOLD_MS`], the newest first. They change no verdict.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub crashes: Vec<Crash>,
    /// The configuration, where something of it is wrong and what was before goes on. It changes no verdict.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub config: Option<ConfigStatus>,
    /// The host's own asking.
    pub host: HostHealth,
}

/// So long a crash is told of beside how all is now: whoever is on call next is to hear of it, however often the host was started since.
pub const CRASHES_TOLD_MS: u64 = 24 * 3_600_000;

/// So long it is told that an update was taken back, for the same reason.
pub const TAKEN_BACK_TOLD_MS: u64 = CRASHES_TOLD_MS;

/// How one instance is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginHealth {
    /// The instance's name.
    pub name: String,
    /// The plugin's id.
    pub id: String,
    /// AI or general.
    pub kind: Kind,
    /// Whether its failure is the whole's.
    pub required: bool,
    /// Whether others do its work while it does not: each of its capabilities, or enough of its redundant set.
    pub covered: bool,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// How it is, and why.
    pub health: HealthView,
    /// Its last hard states, the newest last; at most 21.
    pub recent: Vec<Health>,
    /// How long its code ran in the last checks that came back, in nanoseconds, the newest last; at most 16.
    pub checks_ns: Vec<u64>,
    /// The policy in effect; only in the answer about one instance.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub policy: Option<Box<PolicyView>>,
    /// The update that is under way.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rollout: Option<RolloutView>,
    /// The version of it that was taken back last, if that was in the last [`TAKEN_BACK_TOLD_MS`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub taken_back: Option<BarredView>,
    /// What keeps calls from it for a while, as its latest ones failed or were slow; absent if nothing does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub breaker: Option<BreakerView>,
    /// The outcome of a probe; only in the answer to one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub probe: Option<ProbeEnd>,
}

/// The outcome of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum ProbeEnd {
    /// The check has a result.
    Ended,
    /// The check has no result so far and goes on; the answer holds what was known before.
    NoResult {
        /// How long it was waited for, in milliseconds.
        waited_ms: u64,
    },
    /// The instance stopped running meanwhile.
    Left {
        /// Where it is in its life.
        lifecycle: Lifecycle,
    },
}

/// The policy by which an instance is checked and judged: from its configuration, its manifest and the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyView {
    /// Milliseconds between two checks of an instance that is well.
    pub interval_ms: u64,
    /// Milliseconds between two checks of an idle one.
    pub idle_interval_ms: u64,
    /// Least milliseconds within which a check answers; the time follows how long answers took.
    pub timeout_min_ms: u64,
    /// Most milliseconds within which a check answers.
    pub timeout_max_ms: u64,
    /// Failed checks in a row that make it down.
    pub fall: u8,
    /// Good checks in a row that make it up again.
    pub rise: u8,
    /// Intervals without a result after which nothing is known.
    pub stale_intervals: u8,
    /// Milliseconds over which calls are counted.
    pub window_ms: u64,
    /// Calls that a window needs to say anything.
    pub window_calls_min: u32,
    /// Failures in thousandths from which on a window is degraded.
    pub degraded_permille: u16,
    /// Failures in thousandths from which on a window is bad.
    pub down_permille: u16,
    /// Milliseconds between two deep checks; absent if none are made.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deep_every_ms: Option<u64>,
}

/// Whether the host is ready: the first look is done, and each plugin that is required serves, or others do its work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// What keeps it from that, by name: at most [`REASONS_MAX`]. None while it is ready.
    pub reasons: Vec<String>,
    /// How many more reasons there are.
    pub more: usize,
}

/// Reasons that are told of a host that is not ready.
pub const REASONS_MAX: usize = 16;

impl Readiness {
    /// Not ready, for this reason alone.
    pub fn not_for(reason: &str) -> Self {
        Readiness {
            reasons: vec![reason.to_owned()],
            more: 0,
        }
    }

    /// Whether nothing keeps it from that.
    pub fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// How everything is, in words alone.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthSummary {
    /// One word, one sentence, and the groups behind it.
    pub overall: Overall,
    /// Each instance.
    pub plugins: Vec<PluginWord>,
    /// The host's own parts; the history is one of them.
    pub components: Vec<Component>,
    /// Whether the history works.
    pub history: HistoryState,
    /// How hosts were ended by signals in the last [`CRASHES_TOLD_MS`], the newest first.
    pub crashes: Vec<Crash>,
}

/// How one instance is, in words alone.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginWord {
    /// The instance's name.
    pub name: String,
    /// Where it belongs.
    pub group: Group,
    /// How it is.
    pub health: Health,
    /// Why; absent of one that is up.
    pub reason: Option<String>,
    /// It counts in no sum.
    pub left_out: bool,
    /// An operator works on it.
    pub in_maintenance: Option<Box<Maintenance>>,
}

/// The host's own asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostHealth {
    /// Checks that had a result since it started.
    pub checks: u64,
    /// Those of them that failed, timed out, or said that the plugin is down.
    #[serde(default)]
    pub checks_failed: u64,
    /// Those of them that were not answered in time.
    #[serde(default)]
    pub checks_timed_out: u64,
    /// Checks that were due and had no result: calls left no room or showed enough, or the host's own time went by.
    #[serde(default)]
    pub checks_skipped: u64,
    /// Times that the host itself stood still.
    pub stalls: u64,
    /// 99 of 100 checks began no later than this after they were due, in nanoseconds, in the last whole minute and since; absent if there
    /// were none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lag_p99_ns: Option<u64>,
}

/// How an instance was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryAnswer {
    /// The instance.
    pub name: String,
    /// What was asked.
    pub range: Range,
    /// How fine the rollups are.
    pub resolution: Resolution,
    /// Rollups, in the order of time. A stretch without anything has none.
    pub rollups: Vec<RollupView>,
    /// Its states, in the order of time.
    pub spans: Vec<SpanView>,
    /// Its deep checks and those of the others that were not good, in the order of time; the good ones are in the rollups. At most 1000.
    #[serde(default)]
    pub checks: Vec<DeepResult>,
    /// The versions that served, in the order of time.
    pub releases: Vec<ReleaseView>,
    /// When the wall clock was set, in the order of time: times before that may not be what they seem.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub clock: Vec<ClockStepView>,
    /// How hosts were ended by signals in its code, in the order of time.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub crashes: Vec<Crash>,
    /// There is more in the range than found room; this is the newest of it.
    pub more: bool,
}

/// The wall clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStepView {
    /// What it showed after that, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// By how much: ahead, or back if that is negative.
    pub by_ms: i64,
    /// A host that began found it so much behind what was written down before; when it was set, and by how much, nobody saw.
    pub found: bool,
}

impl From<ClockRow> for ClockStepView {
    fn from(row: ClockRow) -> Self {
        ClockStepView {
            at_unix_ms: row.at_unix_ms,
            by_ms: row.by_ms,
            found: row.found,
        }
    }
}

/// The rollup of one stretch of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RollupView {
    /// When it begins, in milliseconds since the Unix epoch.
    pub from_unix_ms: u64,
    /// Milliseconds up.
    pub up_ms: u64,
    /// Milliseconds degraded.
    pub degraded_ms: u64,
    /// Milliseconds down.
    pub down_ms: u64,
    /// Milliseconds that nobody knew of.
    pub unknown_ms: u64,
    /// Milliseconds in maintenance or stopped by an operator.
    pub left_out_ms: u64,
    /// Checks that had a result.
    pub checks: u64,
    /// Those of them that failed, timed out, or said that the plugin is down.
    pub checks_failed: u64,
    /// Calls that ended.
    pub calls: u64,
    /// Failures by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub errors: BTreeMap<ErrorKind, u64>,
    /// Half of the calls ran no longer than this, in nanoseconds; absent without calls, as the next two.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p50_ns: Option<u64>,
    /// 95 of 100 calls ran no longer than this.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p95_ns: Option<u64>,
    /// 99 of 100 calls ran no longer than this.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p99_ns: Option<u64>,
    /// Least heap that was seen, in bytes; absent if nobody counted it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub heap_min_bytes: Option<u64>,
    /// Most heap that was seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub heap_max_bytes: Option<u64>,
    /// Processor time, in nanoseconds; absent if it was not measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cpu_ns: Option<u64>,
}

impl From<&Rollup> for RollupView {
    fn from(rollup: &Rollup) -> Self {
        let quantile = |q| rollup.latency.quantile(q).map(nanos);
        RollupView {
            from_unix_ms: rollup.from_unix_ms,
            up_ms: rollup.states.up,
            degraded_ms: rollup.states.degraded,
            down_ms: rollup.states.down,
            unknown_ms: rollup.states.unknown,
            left_out_ms: rollup.states.left_out,
            checks: rollup.checks,
            checks_failed: rollup.checks_failed,
            calls: rollup.calls,
            errors: rollup.errors.clone(),
            p50_ns: quantile(0.5),
            p95_ns: quantile(0.95),
            p99_ns: quantile(0.99),
            heap_min_bytes: rollup.heap_bytes.map(|(least, _)| least),
            heap_max_bytes: rollup.heap_bytes.map(|(_, most)| most),
            cpu_ns: rollup.cpu_ns,
        }
    }
}

/// A stretch of one state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpanView {
    /// From when on, in milliseconds since the Unix epoch.
    pub from_unix_ms: u64,
    /// Until when; absent while it goes on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to_unix_ms: Option<u64>,
    /// Where it was in its life.
    pub lifecycle: Lifecycle,
    /// How it was.
    pub health: Health,
    /// What decided that.
    pub cause: Cause,
    /// This time counts for nothing.
    pub left_out: bool,
    /// What the plugin or an error said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// The host ended without closing the span; this is when it was last known to live.
    pub cut: bool,
}

impl From<SpanRow> for SpanView {
    fn from(row: SpanRow) -> Self {
        SpanView {
            from_unix_ms: row.from_unix_ms,
            to_unix_ms: row.to_unix_ms,
            lifecycle: row.state.lifecycle,
            health: row.state.health,
            cause: row.state.cause,
            left_out: row.state.left_out,
            text: row.text,
            cut: row.cut,
        }
    }
}

/// A stored check as the result that it was.
pub fn check_result(row: CheckRow) -> DeepResult {
    let (text, kept) = (row.text.clone(), row.text);
    let outcome = match row.result {
        ResultWord::Said(health) => CheckOutcome::Answered {
            report: (health.is_some() || text.is_some()).then(|| Report {
                health,
                text,
                ..Report::default()
            }),
        },
        ResultWord::Busy => CheckOutcome::Busy,
        ResultWord::HostLate => CheckOutcome::NotBegun,
        ResultWord::TimedOut => CheckOutcome::TimedOut,
        ResultWord::Failed(kind) => CheckOutcome::Failed {
            kind,
            text: kept.unwrap_or_default(),
        },
    };
    DeepResult {
        check: CheckView {
            kind: row.kind,
            at_unix_ms: row.at_unix_ms,
            outcome,
            took_ns: row.took_ns,
        },
        counted: row.counted,
        times: row.times,
        last_unix_ms: (row.times > 1).then_some(row.last_unix_ms),
    }
}

/// A version that served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseView {
    /// From when on, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The version.
    pub version: Version,
    /// SHA-256 of the library.
    pub digest: Digest,
}

impl From<ReleaseRow> for ReleaseView {
    fn from(row: ReleaseRow) -> Self {
        ReleaseView {
            at_unix_ms: row.at_unix_ms,
            version: row.version,
            digest: row.digest,
        }
    }
}

/// How much of a range an instance could serve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UptimeRow {
    /// The instance.
    pub name: String,
    /// Times, shares and outages.
    pub uptime: Uptime,
}

/// What was looked for: found out, or what is missing for that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Finding<T> {
    /// It could be looked at.
    Found {
        /// What came of it.
        found: T,
    },
    /// It could not.
    Missing {
        /// What it would need.
        missing: String,
    },
}

impl<T> Finding<T> {
    /// It needs something that is not there.
    pub fn missing(what: impl Into<String>) -> Self {
        Finding::Missing { missing: what.into() }
    }
}

/// What can be said of an instance from its history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnalysisAnswer {
    /// The instance.
    pub name: String,
    /// What was asked.
    pub range: Range,
    /// Times, shares and outages.
    pub uptime: Uptime,
    /// Whether its state changes too often to be believed.
    pub flapping: Finding<Flapping>,
    /// Its calls' p95 against the version before.
    pub latency: Finding<Drift>,
    /// Its heap against the version before.
    pub heap: Finding<Drift>,
    /// Whether its heap only grows; only looked for where that was asked.
    pub leak: Finding<Leak>,
    /// Its failures by kind.
    pub errors: Pareto,
    /// Failures at a regular interval; nothing if there is none, or too few failures.
    pub periodic: Option<Periodic>,
    /// Failures after many calls.
    pub after_load: Finding<Option<AfterLoad>>,
    /// Instances that fail together with it; only looked for where that was asked.
    pub co_failing: Finding<Vec<CoFailing>>,
}

/// How often a state changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flapping {
    /// Whether it flaps.
    pub flapping: bool,
    /// Weighted share of changes among the last states, in thousandths.
    pub permille: u16,
}
