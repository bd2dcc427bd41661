//! What came of vetting a library in a child process.

use super::{CallError, ErrorKind, ProcessChange, Report, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// How far vetting goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VettingDepth {
    /// Map it, run its constructors, check its tables, unmap it.
    Open,
    /// And make an instance.
    Create,
    /// And start it, ask it how it is, and stop it.
    #[default]
    Probe,
}

/// By what the memory of a plugin is bounded while it is vetted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryBound {
    /// The system: the plugin's processes are in a control group of their own.
    ControlGroup,
    /// The host, which adds up what they have in use again and again.
    Measured,
}

impl fmt::Display for MemoryBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MemoryBound::ControlGroup => "a control group",
            MemoryBound::Measured => "measurements every 10 ms (no control group was delegated to the host)",
        })
    }
}

/// A step of vetting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VettingPhase {
    /// The worker process itself.
    Worker,
    /// Mapping it: its constructors.
    Open,
    /// `create`.
    Create,
    /// `start`.
    Start,
    /// `check`.
    Check,
    /// `drain`.
    Drain,
    /// `stop`.
    Stop,
    /// `destroy`.
    Destroy,
    /// Unmapping it: its finalisers.
    Close,
}

impl VettingPhase {
    /// The phase in which a step of this name runs.
    pub fn named(step: &str) -> Self {
        match step {
            "load" => VettingPhase::Open,
            "start" => VettingPhase::Start,
            "drain" => VettingPhase::Drain,
            "stop" => VettingPhase::Stop,
            "destroy" => VettingPhase::Destroy,
            "unload" => VettingPhase::Close,
            _ => VettingPhase::Create,
        }
    }
}

impl fmt::Display for VettingPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VettingPhase::Worker => "the worker's start",
            VettingPhase::Open => "open (constructors)",
            VettingPhase::Create => "create",
            VettingPhase::Start => "start",
            VettingPhase::Check => "check",
            VettingPhase::Drain => "drain",
            VettingPhase::Stop => "stop",
            VettingPhase::Destroy => "destroy",
            VettingPhase::Close => "close (finalisers)",
        })
    }
}

/// What vetting saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VettingReport {
    /// How far it went.
    pub depth: VettingDepth,
    /// The steps that ended, in order.
    pub steps: Vec<VettingStep>,
    /// Why the library is refused; absent if it passed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refusal: Option<VettingRefusal>,
    /// What the plugin said of itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub report: Option<Report>,
    /// What it changed of the child's process.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub process_changes: Vec<ProcessChange>,
    /// Whether it could be unloaded in the child.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unload: Option<Verdict>,
    /// Processes that the plugin left behind in the child, by name. They were ended.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub left_processes: Vec<String>,
    /// Last lines that the child wrote to its standard error.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub stderr_tail: String,
}

/// A library that was vetted by hand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckedFile {
    /// What vetting saw.
    #[serde(flatten)]
    pub report: VettingReport,
    /// Fields of the manifest that this host does not know.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub unknown_manifest_fields: BTreeMap<String, serde_json::Value>,
}

impl VettingReport {
    /// Of a vetting that has just begun.
    pub fn new(depth: VettingDepth) -> Self {
        VettingReport {
            depth,
            steps: Vec::new(),
            refusal: None,
            report: None,
            process_changes: Vec::new(),
            unload: None,
            left_processes: Vec::new(),
            stderr_tail: String::new(),
        }
    }

    /// Whether the library may be loaded.
    pub fn passed(&self) -> bool {
        self.refusal.is_none()
    }

    /// What an operator should know though it is no reason to refuse.
    pub fn notes(&self) -> Vec<String> {
        let left = &self.left_processes;
        if left.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "it left processes running ({}), which were ended; in a host they would stay after the plugin is gone",
            left.join(", ")
        )]
    }

    /// Whether what was seen is explained by the bytes: they crash, end the process, panic or have malformed tables. What a plugin
    /// says against its configuration or its surroundings does not, nor what the host's limits or somebody's signal has ended: that
    /// may be otherwise next time.
    pub fn blames_bytes(&self) -> bool {
        let Some(refusal) = &self.refusal else {
            return false;
        };
        let said = self
            .steps
            .iter()
            .find(|step| step.phase == refusal.phase)
            .and_then(|step| step.error.as_ref());
        let kind = said.map(|error| error.kind);
        match &refusal.why {
            VettingFailure::Signal { name, .. } => FAULT_SIGNALS.contains(&name.as_str()),
            VettingFailure::Exited { .. } => true,
            VettingFailure::TimedOut { .. } | VettingFailure::OverMemory { .. } => false,
            VettingFailure::Refused { .. } => match refusal.phase {
                VettingPhase::Worker => false,
                VettingPhase::Open => kind != Some(ErrorKind::Unavailable),
                VettingPhase::Destroy | VettingPhase::Close => true,
                _ => kind.is_none_or(|kind| kind == ErrorKind::Panicked),
            },
        }
    }
}

/// Signals that a process brings upon itself.
const FAULT_SIGNALS: [&str; 7] = [
    "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP",
];

/// A step that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VettingStep {
    /// Which.
    pub phase: VettingPhase,
    /// How long it took, in nanoseconds, measured in the child.
    pub took_ns: u64,
    /// What the plugin said against it; absent if it was fine.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<CallError>,
}

/// Why a library is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VettingRefusal {
    /// In which step.
    pub phase: VettingPhase,
    /// What happened.
    pub why: VettingFailure,
}

/// What happened to the child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "failure", rename_all = "snake_case")]
pub enum VettingFailure {
    /// It was killed by a signal: a crash, or an abort.
    Signal {
        /// Number of the signal.
        number: i32,
        /// Its name.
        name: String,
    },
    /// It exited by itself before it was done.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// It did not come to an end in time and was killed.
    TimedOut {
        /// How long it was given, in milliseconds.
        limit_ms: u64,
    },
    /// It had more memory in use than the host allows and was killed.
    OverMemory {
        /// How much that was, in bytes.
        used_bytes: u64,
        /// The host's limit, in bytes.
        limit_bytes: u64,
    },
    /// The plugin or the loader said no.
    Refused {
        /// What was said.
        text: String,
    },
}

impl fmt::Display for VettingRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            VettingFailure::Signal { number: 9, .. } => {
                write!(
                    f,
                    "somebody killed the plugin's vetting in {}: the system may have run out of memory; its log tells",
                    self.phase
                )
            }
            VettingFailure::Signal { number, name } => {
                write!(
                    f,
                    "the plugin died in {} with signal {number} ({name})",
                    self.phase
                )
            }
            VettingFailure::Exited { code } => {
                write!(
                    f,
                    "the plugin ended the process in {} with exit code {code}",
                    self.phase
                )
            }
            VettingFailure::TimedOut { limit_ms } => {
                write!(
                    f,
                    "the plugin had not come back from {} when the {limit_ms} ms for its vetting were over; if it needs longer, \
                     raise vetting.timeout_ms, start_budget_ms in an [[instance]] of it, or startup_ms under [probe] of its manifest",
                    self.phase
                )
            }
            VettingFailure::OverMemory {
                used_bytes,
                limit_bytes,
            } => {
                write!(
                    f,
                    "the plugin had {used_bytes} bytes of memory in use in {}, over the limit of {limit_bytes}; if it needs that \
                     much, raise vetting.memory_bytes_max",
                    self.phase
                )
            }
            VettingFailure::Refused { text } => write!(f, "{} failed: {text}", self.phase),
        }
    }
}
