//! What is configured, where each value comes from, whether it is in force, and who changed it when.

use crate::text::lossy_path_given;
use crate::{FieldFault, PlacedFault};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The configuration of a host, as shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// The file; absent where the host has none.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "lossy_path_given",
        default
    )]
    pub file: Option<PathBuf>,
    /// Whether all that is configured is in force: in the file, and above it by commands.
    pub in_sync: bool,
    /// Since when something can't be used, in milliseconds since the Unix epoch; absent where all can.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since_unix_ms: Option<u64>,
    /// What can't be used. Where the file as a whole can't be, what it said before is in force.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub faults: Vec<PlacedFault>,
    /// Instances that go on with the configuration before, by name.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub not_taken: Vec<String>,
    /// Fields that are otherwise than when the host started, and hold from its next start on.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub needs_restart: Vec<String>,
}

impl ConfigStatus {
    /// Whether something of it can't be used. What only waits for the next start is not wrong.
    pub fn is_wrong(&self) -> bool {
        !(self.faults.is_empty() && self.not_taken.is_empty())
    }
}

/// Where a value comes from. A later one goes before an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigOrigin {
    /// The plugin's manifest.
    Manifest,
    /// The host's configuration: `extman.toml`, or what an embedder gave.
    File,
    /// A command.
    Set,
}

impl ConfigOrigin {
    /// The word used in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            ConfigOrigin::Manifest => "manifest",
            ConfigOrigin::File => "file",
            ConfigOrigin::Set => "set",
        }
    }
}

/// A value that is given for an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigField {
    /// Its path in the `[[instance]]`, such as `config.size` or `probe.interval_ms`.
    pub field: String,
    /// The value. A secret is shown as where it lies.
    pub value: Value,
    /// Where it comes from.
    pub origin: ConfigOrigin,
}

/// What is configured for an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigAnswer {
    /// The instance.
    pub name: String,
    /// The plugin's id.
    pub plugin: String,
    /// Whether all of it is in force.
    pub in_sync: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fault: Option<String>,
    /// What is given; all else has its default.
    pub fields: Vec<ConfigField>,
}

/// A value that is not the same everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigDifference {
    /// Its path in the `[[instance]]`.
    pub field: String,
    /// What the host's configuration says, if it says anything.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<Value>,
    /// What is configured, with what was set by commands.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub configured: Option<Value>,
    /// What is in force; absent, too, where the instance is not there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub in_force: Option<Value>,
}

/// What is to be changed of an instance's configuration, all of it or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigChangeAsked {
    /// Values by their paths in the `[[instance]]`, such as `config.size`.
    #[serde(default)]
    pub set: BTreeMap<String, Value>,
    /// Paths of values that were set and are to be what the host's configuration says.
    #[serde(default)]
    pub unset: Vec<String>,
    /// Who asks, in their own words. Default: `api`.
    #[serde(default)]
    pub who: Option<String>,
}

/// One change of an instance's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// Which: they are numbered over all instances.
    pub number: u64,
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// Who, as they said themselves; the file's path where it was changed.
    pub who: String,
    /// By which way.
    pub by: ConfigChangeBy,
    /// Why it was not taken, if it was not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub not_taken: Option<String>,
    /// What.
    pub fields: Vec<ConfigFieldChange>,
}

/// The way by which a configuration is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigChangeBy {
    /// `extman.toml` was changed.
    File,
    /// Values were set or unset.
    Command,
    /// An earlier configuration was brought back.
    Rollback,
}

impl ConfigChangeBy {
    /// The word used in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            ConfigChangeBy::File => "file",
            ConfigChangeBy::Command => "command",
            ConfigChangeBy::Rollback => "rollback",
        }
    }
}

/// A value before and after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFieldChange {
    /// Its path in the `[[instance]]`.
    pub field: String,
    /// Absent where it was not given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<Value>,
    /// Absent where it is given no longer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after: Option<Value>,
}

impl PlacedFault {
    /// Of a file, without a line.
    pub fn of_file(file: impl Into<PathBuf>, fault: FieldFault) -> Self {
        PlacedFault {
            file: file.into(),
            line: None,
            column: None,
            fault,
        }
    }
}
