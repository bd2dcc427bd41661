//! What is shown of a plugin, of a refused file, and of the host. What was not measured is absent.

use super::{
    BarredView, CallLimits, CheckKind, ConfigStatus, Crash, Digest, Health, HealthView, MaintenanceRow,
    MemoryBound, ProcessChange, Report, RolloutStatus, RolloutView, Verdict,
};
use crate::ErrorKind;
use extman_plugin_api::manifest::schema::Kind;
use semver::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// A file was found and its manifest read.
    Discovered,
    /// It passed inspection and trust.
    Verified,
    /// It is started as soon as what it requires is there.
    Waiting,
    /// It is being vetted, loaded, created and started.
    Starting,
    /// It serves.
    Running,
    /// It takes no new calls and finishes those under way.
    Draining,
    /// It was stopped.
    Stopped,
    /// It could not be started, or failed while it ran.
    Failed,
    /// It failed and will be started again after a while.
    Backoff,
    /// It is not started again until an operator says so.
    Quarantined,
    /// A call into it does not return.
    Wedged,
}

impl Lifecycle {
    /// The word used in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Lifecycle::Discovered => "discovered",
            Lifecycle::Verified => "verified",
            Lifecycle::Waiting => "waiting",
            Lifecycle::Starting => "starting",
            Lifecycle::Running => "running",
            Lifecycle::Draining => "draining",
            Lifecycle::Stopped => "stopped",
            Lifecycle::Failed => "failed",
            Lifecycle::Backoff => "backoff",
            Lifecycle::Quarantined => "quarantined",
            Lifecycle::Wedged => "wedged",
        }
    }
}

/// What an operator wants an instance to be, as long as its file is there. What it is stands in [`Lifecycle`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DesiredState {
    /// It is to run.
    #[default]
    Running,
    /// It is to be stopped, until somebody starts it or the host starts again.
    Stopped,
    /// It is to be stopped, over restarts of the host, until somebody enables it.
    Disabled,
}

impl DesiredState {
    /// The word used in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            DesiredState::Running => "running",
            DesiredState::Stopped => "stopped",
            DesiredState::Disabled => "disabled",
        }
    }
}

/// How an instance that failed, or lacks what it requires, comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayBack {
    /// When it is started again by itself, in milliseconds since the Unix epoch; absent if it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_try_unix_ms: Option<u64>,
    /// For people: what brings it back, by itself or by hand.
    pub text: String,
}

/// One instance, as shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginView {
    /// The instance's name: its address everywhere.
    pub name: String,
    /// The plugin's id.
    pub id: String,
    /// The plugin's version.
    pub version: Version,
    /// AI or general.
    pub kind: Kind,
    /// What sort of work.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub task: Option<String>,
    /// One sentence.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// What an operator wants it to be.
    #[serde(default)]
    pub desired: DesiredState,
    /// Whose being down is at the root of what it lacks of that which it requires: the name of an instance, or the id of a plugin that has
    /// none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub suppressed_by: Option<String>,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<String>,
    /// Whether what is configured for it is in force: extman.toml, with what was set by a command above it.
    #[serde(default = "yes")]
    pub config_in_sync: bool,
    /// Why it is not; the configuration before goes on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub config_fault: Option<String>,
    /// How it comes back, if it has failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub way_back: Option<WayBack>,
    /// How it is, and why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub health: Option<HealthView>,
    /// What the last check said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub check: Option<CheckView>,
    /// Calls so far, of all generations since the host started.
    pub calls: CallStats,
    /// What keeps calls from it for a while, as its latest ones failed or were slow; absent if nothing does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub breaker: Option<BreakerView>,
    /// How many calls it gets.
    #[serde(skip_serializing_if = "CallLimits::are_none", default)]
    pub limits: CallLimits,
    /// Calls and checks whose caller was answered by its deadline, and whose code has not come back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unreturned: Option<UnreturnedView>,
    /// Its capabilities.
    pub capabilities: Vec<CapabilityView>,
    /// SHA-256 of the library.
    pub digest: Digest,
    /// The file that it came from.
    #[serde(serialize_with = "crate::text::lossy_path")]
    pub origin: PathBuf,
    /// Which load of this process it runs in; absent while it is not loaded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub generation: Option<u64>,
    /// What became of its library when it was last unloaded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unload: Option<Verdict>,
    /// Which load that was: another one than `generation` if it runs again.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unload_generation: Option<u64>,
    /// The update that is under way, whose new version is judged beside the one that serves.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rollout: Option<RolloutView>,
    /// Builds of its plugin that are not tried again by themselves, as they were taken back or not taken.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub barred: Vec<BarredView>,
    /// What it changed of the process that all share, or what one of several did of which it is one.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub process_changes: Vec<ProcessChange>,
    /// Fields of the manifest that this host does not know.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub unknown_manifest_fields: BTreeMap<String, serde_json::Value>,
    /// What its manifest declares beyond the usual, by label: `update`, `unload`, `instances at most`, what it requires and touches.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub declared: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

/// A circuit breaker that is not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerView {
    /// Which calls it lets through.
    pub state: BreakerState,
    /// Milliseconds until it lets some through; absent if it does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u64>,
}

/// Which calls a circuit breaker lets through that is not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// None, where another instance serves.
    Open,
    /// A few, to see whether they succeed again.
    HalfOpen,
}

impl BreakerState {
    /// The word used in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }
}

/// Calls and checks that are inside a plugin though nobody waits for them any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreturnedView {
    /// How many.
    pub calls: usize,
    /// How long the first of them has been inside, in milliseconds.
    pub longest_ms: u64,
}

/// A capability as one instance offers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapabilityView {
    /// Its name.
    pub name: String,
    /// Version of its contract.
    pub version: Version,
    /// Whether it can answer in frames.
    pub streaming: bool,
    /// Models behind it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub models: Vec<String>,
}

/// A capability with those who offer it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapabilityOffer {
    /// Its name.
    pub name: String,
    /// Instances that serve it now, the one that is asked first at the front.
    pub instances: Vec<String>,
    /// Instances that offer it and do not serve now.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub not_serving: Vec<String>,
    /// JSON Schema of the input, as the first instance declares it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub input: Option<serde_json::Value>,
    /// JSON Schema of the output, as the first instance declares it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub output: Option<serde_json::Value>,
}

/// The last check of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckView {
    /// What was asked.
    pub kind: CheckKind,
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// What came of it.
    pub outcome: CheckOutcome,
    /// How long the plugin's code ran, in nanoseconds, measured by the host; absent if it did not return.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub took_ns: Option<u64>,
}

impl CheckView {
    /// What the plugin said of itself, if it said anything.
    pub fn health(&self) -> Option<Health> {
        match &self.outcome {
            CheckOutcome::Answered { report } => report.as_ref().and_then(|r| r.health),
            _ => None,
        }
    }
}

impl CheckOutcome {
    /// In a few words, for people: the plugin's own word, or why there is none.
    pub fn word(&self) -> &'static str {
        match self {
            CheckOutcome::Answered { report } => {
                let health = report.as_ref().and_then(|report| report.health);
                health.map_or("answered", |health| health.as_str())
            }
            CheckOutcome::Busy => "not asked, since it was busy",
            CheckOutcome::NotBegun => "not asked, since no lane of the host's was free",
            CheckOutcome::TimedOut => "no answer in time",
            CheckOutcome::Failed { kind, .. } => kind.as_str(),
        }
    }

    /// What the plugin said to it, if anything.
    pub fn text(&self) -> Option<&str> {
        match self {
            CheckOutcome::Answered { report } => report.as_ref()?.text.as_deref(),
            CheckOutcome::Failed { text, .. } => Some(text),
            CheckOutcome::Busy | CheckOutcome::NotBegun | CheckOutcome::TimedOut => None,
        }
    }
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum CheckOutcome {
    /// The call returned; the report is absent if the plugin says nothing of itself.
    Answered {
        /// The plugin's own word.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        report: Option<Report>,
    },
    /// It was not asked: its calls leave no room for a check, or another check is under way.
    Busy,
    /// No lane began it: its time was the host's, and nothing is known of the plugin.
    NotBegun,
    /// It did not answer in time.
    TimedOut,
    /// It could not answer.
    Failed {
        /// What sort of failure.
        kind: ErrorKind,
        /// What it said.
        text: String,
    },
}

/// Calls, counted by the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallStats {
    /// Calls that ended, well or not.
    pub total: u64,
    /// Failures by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub errors: BTreeMap<ErrorKind, u64>,
    /// The kind of the last failure that counts against the plugin.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_failure: Option<ErrorKind>,
    /// Calls under way.
    pub in_flight: u64,
    /// Mean time that the plugin's code ran, in nanoseconds; absent before the first call.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mean_ns: Option<u64>,
}

impl CallStats {
    /// Calls that failed by the plugin's fault: what counts everywhere. What callers have done wrong or given up is not among them.
    pub fn failed(&self) -> u64 {
        failed_of(&self.errors)
    }
}

/// Those failures that are not the callers' own.
pub fn failed_of(errors: &BTreeMap<ErrorKind, u64>) -> u64 {
    let of_plugin = errors.iter().filter(|(kind, _)| !kind.is_callers());
    of_plugin.map(|(_, count)| count).sum()
}

/// A file that is not a plugin for this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedView {
    /// Which file.
    #[serde(serialize_with = "crate::text::lossy_path")]
    pub path: PathBuf,
    /// A stable word for the reason.
    pub code: String,
    /// What is wrong and what to do.
    pub reason: String,
}

/// The host itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// The host's version.
    pub version: Version,
    /// The ABI's version, as `MAJOR.MINOR`.
    pub abi: String,
    /// The host's process id.
    pub pid: u32,
    /// When it started, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// Whether the first look at all directories is done: every plugin that is there is known. Some may still be starting.
    pub ready: bool,
    /// Instances by lifecycle.
    pub instances: BTreeMap<Lifecycle, usize>,
    /// Files that were refused.
    pub refused: Vec<RefusedView>,
    /// Libraries that stay in memory after their unload.
    pub resident: Vec<ResidentView>,
    /// Whether the host sees its plugins' threads and keys; without that it keeps libraries instead of closing them.
    pub unloads: bool,
    /// Directories that are watched.
    #[serde(serialize_with = "crate::text::lossy_paths")]
    pub directories: Vec<PathBuf>,
    /// Its configuration, and whether that is in force.
    #[serde(default)]
    pub config: ConfigStatus,
    /// Instances that are configured, and whose plugin is not there.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub missing: Vec<MissingView>,
    /// What plugins changed of the process that all share.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub process_changes: Vec<ProcessChange>,
    /// By what the memory of plugins is bounded while they are vetted; absent if none is vetted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vetting_memory: Option<MemoryBound>,
    /// What an operator should know of the host itself.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub warnings: Vec<String>,
    /// Instances in maintenance, by name.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub maintenance: Vec<MaintenanceRow>,
    /// Updates that are under way, by the instance's name.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub rollouts: Vec<RolloutStatus>,
    /// How earlier hosts on the same state directory were ended by signals, as this one found at its start; the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub crashes: Vec<Crash>,
    /// Why nobody would learn in whose code this host crashes; absent if that is noted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub crashes_not_noted: Option<String>,
}

/// An instance that is configured, and whose plugin is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingView {
    /// The instance's name.
    pub name: String,
    /// The plugin's id, as it is configured.
    pub plugin: String,
    /// What is missing and what to do.
    pub reason: String,
    /// Since when, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub since_unix_ms: u64,
}

impl std::fmt::Display for MissingView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

/// A library that stays in memory after its unload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResidentView {
    /// The plugin's id.
    pub id: String,
    /// The plugin's version.
    pub version: Version,
    /// Which load it was.
    pub generation: u64,
    /// Why it stays.
    pub verdict: Verdict,
}
