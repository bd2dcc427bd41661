//! The update of one instance while it is under way, and what an operator may want of it.

use crate::{Digest, Lifecycle, PluginView};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where an update is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutPhase {
    /// The new version is loaded and started beside the old one.
    Loading,
    /// It has started, and gets ready.
    WarmingUp,
    /// It gets a share of the calls.
    Canary,
    /// It gets all calls; the old version is still loaded, to go back to.
    Probation,
    /// One of the two is drained and unloaded.
    Retiring,
}

impl RolloutPhase {
    /// The word used in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            RolloutPhase::Loading => "loading",
            RolloutPhase::WarmingUp => "warming_up",
            RolloutPhase::Canary => "canary",
            RolloutPhase::Probation => "probation",
            RolloutPhase::Retiring => "retiring",
        }
    }
}

/// What the judge says of the new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JudgeSays {
    /// What comes next may come.
    Good,
    /// It is worse than the old one.
    Worse,
    /// Not enough evidence: what is lacking stands beside it.
    NotEnough,
}

/// An update that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutView {
    /// Where it is.
    pub phase: RolloutPhase,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// The version that served before.
    pub from: Version,
    /// The version that is to take its place.
    pub to: Version,
    /// Which bytes that is.
    pub digest: Digest,
    /// The share of the calls that the new version gets, in percent.
    pub percent: u8,
    /// An operator has it paused.
    pub paused: bool,
    /// Milliseconds until the step's time is over, the least that it lasts; absent where it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub due_ms: Option<u64>,
    /// What the judge says; absent where there is nothing to judge yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub judgement: Option<JudgeSays>,
    /// Why, a sentence each: what is worse, or what evidence is lacking.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub because: Vec<String>,
    /// What came of mirrored calls; absent where none are mirrored.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mirrored: Option<MirroredView>,
}

/// Calls that were made a second time, on a new version that got none yet, once the old one had answered them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirroredView {
    /// How many were compared.
    pub compared: u64,
    /// So many were wanted.
    pub wanted: u64,
    /// Those of them of which the new version's answer was another one: its status, its content type or its bytes, JSON by its values.
    pub different: u64,
    /// Those of them that the new version has failed.
    pub failed: u64,
    /// The capability of one that was answered otherwise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub different_capability: Option<String>,
    /// Further ones that say nothing of the new version: it had no room, what it had called failed, or it called what a mirrored call may not.
    pub uncompared: u64,
}

impl fmt::Display for MirroredView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} mirrored calls compared", self.compared, self.wanted)?;
        match (self.compared, self.different, &self.different_capability) {
            (0, ..) => {}
            (_, 0, _) => f.write_str(", all answered as before")?,
            (_, different, Some(capability)) => {
                write!(f, ", {different} answered otherwise, one of them of {capability}")?;
            }
            (_, different, None) => write!(f, ", {different} answered otherwise")?,
        }
        if self.failed > 0 {
            write!(f, ", {} failed", self.failed)?;
        }
        if self.uncompared > 0 {
            write!(f, "; {} more say nothing of it", self.uncompared)?;
        }
        Ok(())
    }
}

/// A build of the plugin that is not tried again by itself for an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarredView {
    /// Which version it says it is.
    pub version: Version,
    /// Which bytes that is.
    pub digest: Digest,
    /// Why it was taken back.
    pub reason: String,
    /// When, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
}

/// How one instance's updates stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// The instance's name.
    pub name: String,
    /// The version that serves, most calls or all; or else that would.
    pub version: Version,
    /// Which bytes that is.
    pub digest: Digest,
    /// Whether it serves.
    #[serde(default = "yes")]
    pub serves: bool,
    /// The update that is under way.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rollout: Option<RolloutView>,
    /// What is not tried again until an operator asks for it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub barred: Vec<BarredView>,
}

impl From<&PluginView> for RolloutStatus {
    fn from(plugin: &PluginView) -> Self {
        RolloutStatus {
            name: plugin.name.clone(),
            version: plugin.version.clone(),
            digest: plugin.digest,
            serves: plugin.lifecycle == Lifecycle::Running,
            rollout: plugin.rollout.clone(),
            barred: plugin.barred.clone(),
        }
    }
}

fn yes() -> bool {
    true
}

/// What an operator may want of an update that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutCommand {
    /// No further step until it is resumed. What is worse is taken back all the same.
    Pause,
    /// On with it.
    Resume,
    /// All calls to the new version at once; in probation, let go of the old one. Also without evidence.
    Promote,
    /// Back to the old version.
    Abort,
}

/// To which version an instance is to be updated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateTo {
    /// The newest that lies in the directories.
    Newest,
    /// This version, which lies in the directories.
    Version(Version),
    /// This file, on the host's machine.
    File(std::path::PathBuf),
}

/// Whether a version that comes into a directory is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdatePolicy {
    /// By itself.
    #[default]
    Auto,
    /// When an operator asks for it.
    Manual,
    /// Not even then, unless the version or the file is named.
    Pinned,
}
