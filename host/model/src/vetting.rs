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
    /// Whether the library may be loaded.
    pub fn passed(&self) -> bool {
        self.refusal.is_none()
    }

    /// Whether what was seen lies in the bytes: they crash, hang, panic or can't be opened. What a plugin says against its
    /// configuration or its surroundings does not.
    pub fn blames_bytes(&self) -> bool {
        let Some(refusal) = &self.refusal else {
            return false;
        };
        let said = self
            .steps
            .iter()
            .find(|step| step.phase == refusal.phase)
            .and_then(|step| step.error.as_ref());
        match (&refusal.why, refusal.phase) {
            (
                VettingFailure::Refused { .. },
                VettingPhase::Create | VettingPhase::Start | VettingPhase::Check,
            ) => said.is_none_or(|error| error.kind == ErrorKind::Panicked),
            _ => true,
        }
    }
}

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
    /// The plugin or the loader said no.
    Refused {
        /// What was said.
        text: String,
    },
}

impl fmt::Display for VettingRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
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
                    "the plugin hung in {} and was killed after {limit_ms} ms",
                    self.phase
                )
            }
            VettingFailure::Refused { text } => write!(f, "{} failed: {text}", self.phase),
        }
    }
}
