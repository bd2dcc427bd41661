//! How an instance is: the word, why, and on what evidence.

use super::record::CheckCounts;
use super::{Connection, DeepView, ErrorKind, Health, Lifecycle, Maintenance, Part, WayBack};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Why an instance is held to be as it is: what decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "code", content = "of", rename_all = "snake_case")]
pub enum Cause {
    /// It answers its checks and says that it is well.
    Answers,
    /// Its calls succeed; it has no checks of its own.
    CallsSucceed,
    /// Nothing has been asked yet.
    NotChecked,
    /// It is configured, and its plugin is not there.
    Missing,
    /// It is in a state of its life in which it can't serve.
    Lifecycle(Lifecycle),
    /// Something that it requires is down.
    DependencyDown,
    /// It does not answer its checks in time.
    CheckTimesOut,
    /// Its checks fail.
    CheckFails(ErrorKind),
    /// It says that it is down.
    SaysDown,
    /// It says that it is degraded.
    SaysDegraded,
    /// It says that it does not know.
    SaysUnknown,
    /// Its deep checks are not answered in time.
    DeepTimesOut,
    /// Its deep checks fail.
    DeepFails(ErrorKind),
    /// In its deep checks it finds that it is down.
    DeepSaysDown,
    /// In its deep checks it finds that it is degraded.
    DeepSaysDegraded,
    /// Its calls fail, as many of them as make it down or degraded.
    CallsFail,
    /// Its checks fail while its calls succeed.
    ChecksFailCallsSucceed,
    /// Its checks say that it is well while its calls fail.
    ChecksSucceedCallsFail,
    /// Its heap is near the most that it means to use.
    HeapNearLimit,
    /// There has been no result for several intervals.
    Stale,
    /// The host itself did not run in time, so nothing can be said of its plugins.
    HostStarved,
}

impl Cause {
    /// The stable word used in JSON, metrics and the history.
    pub fn code(self) -> &'static str {
        match self {
            Cause::Answers => "answers",
            Cause::CallsSucceed => "calls_succeed",
            Cause::NotChecked => "not_checked",
            Cause::Missing => "missing",
            Cause::Lifecycle(_) => "lifecycle",
            Cause::DependencyDown => "dependency_down",
            Cause::CheckTimesOut => "check_times_out",
            Cause::CheckFails(_) => "check_fails",
            Cause::SaysDown => "says_down",
            Cause::SaysDegraded => "says_degraded",
            Cause::SaysUnknown => "says_unknown",
            Cause::DeepTimesOut => "deep_times_out",
            Cause::DeepFails(_) => "deep_fails",
            Cause::DeepSaysDown => "deep_says_down",
            Cause::DeepSaysDegraded => "deep_says_degraded",
            Cause::CallsFail => "calls_fail",
            Cause::ChecksFailCallsSucceed => "checks_fail_calls_succeed",
            Cause::ChecksSucceedCallsFail => "checks_succeed_calls_fail",
            Cause::HeapNearLimit => "heap_near_limit",
            Cause::Stale => "stale",
            Cause::HostStarved => "host_starved",
        }
    }
}

impl Cause {
    /// Whether deep checks decided.
    pub fn is_deep(self) -> bool {
        matches!(
            self,
            Cause::DeepTimesOut | Cause::DeepFails(_) | Cause::DeepSaysDown | Cause::DeepSaysDegraded
        )
    }

    /// Whether calls that fail decided.
    pub fn is_by_calls(self) -> bool {
        matches!(self, Cause::CallsFail | Cause::ChecksSucceedCallsFail)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Answers => f.write_str("answers its checks"),
            Cause::CallsSucceed => f.write_str("its calls succeed"),
            Cause::NotChecked => f.write_str("not checked yet"),
            Cause::Missing => f.write_str("its plugin is not there"),
            Cause::Lifecycle(state) => f.write_str(state.as_str()),
            Cause::DependencyDown => f.write_str("what it requires is down"),
            Cause::CheckTimesOut => f.write_str("does not answer its checks in time"),
            Cause::CheckFails(kind) => write!(f, "its checks fail: {kind}"),
            Cause::SaysDown => f.write_str("says that it is down"),
            Cause::SaysDegraded => f.write_str("says that it is degraded"),
            Cause::SaysUnknown => f.write_str("says that it does not know"),
            Cause::DeepTimesOut => f.write_str("does not answer its deep checks in time"),
            Cause::DeepFails(kind) => write!(f, "its deep checks fail: {kind}"),
            Cause::DeepSaysDown => f.write_str("a deep check finds that it is down"),
            Cause::DeepSaysDegraded => f.write_str("a deep check finds that it is degraded"),
            Cause::CallsFail => f.write_str("its calls fail"),
            Cause::ChecksFailCallsSucceed => f.write_str("its checks fail while its calls succeed"),
            Cause::ChecksSucceedCallsFail => f.write_str("its checks succeed while its calls fail"),
            Cause::HeapNearLimit => f.write_str("its heap is near its limit"),
            Cause::Stale => f.write_str("no result for several intervals"),
            Cause::HostStarved => f.write_str("the host itself did not run in time"),
        }
    }
}

/// What else is to be known of a health, beside its word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthFlags {
    /// There has been no result for several intervals.
    #[serde(skip_serializing_if = "is_false")]
    pub stale: bool,
    /// It changes too often to be believed.
    #[serde(skip_serializing_if = "is_false")]
    pub flapping: bool,
    /// Its calls leave no room for a check: it works.
    #[serde(skip_serializing_if = "is_false")]
    pub busy: bool,
    /// An operator works on it: it is left out of every sum.
    #[serde(skip_serializing_if = "is_false")]
    pub maintenance: bool,
    /// Something that it requires is down.
    #[serde(skip_serializing_if = "is_false")]
    pub suppressed: bool,
    /// The last results say otherwise, too few of them yet.
    #[serde(skip_serializing_if = "is_false")]
    pub soft: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// What an instance is held to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The word.
    pub health: Health,
    /// What decided.
    pub cause: Cause,
    /// What else is to be known.
    #[serde(flatten)]
    pub flags: HealthFlags,
}

/// How an instance is, as shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthView {
    /// The word, what decided, and what else is to be known.
    #[serde(flatten)]
    pub judged: Judgement,
    /// The same for people, with the plugin's own words.
    pub reason: String,
    /// Since when it has had this word, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// It counts in no sum: it is stopped or in maintenance.
    pub left_out: bool,
    /// Its maintenance, if an operator works on it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub in_maintenance: Option<Box<Maintenance>>,
    /// How it comes back, if it has failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub way_back: Option<Box<WayBack>>,
    /// Failed checks in a row.
    pub failed_checks: u8,
    /// Its checks since the host knows it.
    #[serde(default)]
    pub checks: CheckCounts,
    /// Weighted share of changes among its last states, in thousandths.
    pub flapping_permille: u16,
    /// Since when it goes up and down, in milliseconds since the Unix epoch; absent if it does not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub flapping_since_unix_ms: Option<u64>,
    /// Milliseconds until it is asked next; absent while it is being asked, or is not asked at all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_check_ms: Option<u64>,
    /// Named parts, as its last report with parts told them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub parts: Vec<Part>,
    /// The connection that it keeps, as its last report told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connection: Option<ConnectionView>,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// What one would look for among the figures, and why it is not there.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub not_measured: Vec<NotMeasured>,
    /// Its deep checks, if any are configured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deep: Option<Box<DeepView>>,
}

/// A plugin's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionView {
    /// How it stands.
    pub state: Connection,
    /// Since when the host knows it so, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
}

/// One measured figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// Which; a stable word.
    pub name: Cow<'static, str>,
    /// How much.
    pub value: u64,
    /// Of what.
    pub unit: Unit,
    /// Who measured it.
    pub source: Source,
    /// So many instances share it, and how much of it is whose is not known. Absent if it is this one's alone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shared_by: Option<u64>,
    /// What it leaves out, or what it is a share of.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<Cow<'static, str>>,
}

impl Figure {
    /// A figure of one instance alone.
    pub fn new(name: impl Into<Cow<'static, str>>, value: u64, unit: Unit, source: Source) -> Self {
        Figure {
            name: name.into(),
            value,
            unit,
            source,
            shared_by: None,
            note: None,
        }
    }

    /// The same, which so many instances share.
    #[must_use]
    pub fn shared_by(mut self, instances: usize) -> Self {
        self.shared_by = (instances > 1).then_some(instances as u64);
        self
    }

    /// The same, with what is to be known of it.
    #[must_use]
    pub fn note(mut self, note: &'static str) -> Self {
        self.note = Some(Cow::Borrowed(note));
        self
    }
}

/// A figure that there is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotMeasured {
    /// Which; the word that the figure would have.
    pub name: Cow<'static, str>,
    /// Why not.
    pub why: Cow<'static, str>,
}

impl NotMeasured {
    /// This one, for this reason.
    pub fn new(name: &'static str, why: &'static str) -> Self {
        NotMeasured {
            name: Cow::Borrowed(name),
            why: Cow::Borrowed(why),
        }
    }
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Things.
    Count,
    /// Nanoseconds.
    Ns,
    /// Milliseconds.
    Ms,
    /// Bytes.
    Bytes,
    /// Thousandths of another figure.
    Permille,
}

/// Who measured a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The host, from outside.
    Host,
    /// Our code inside the plugin.
    Sdk,
    /// The plugin's own word.
    Plugin,
}
