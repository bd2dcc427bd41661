//! The JSON in which HTTP and the command line give every answer.

use super::{Command, ControlError};
use crate::{CallError, RolloutCommand};
use serde::{Deserialize, Serialize};

/// An answer with its version around it. A reader that finds another [`schema_version`](Self::schema_version) than it knows
/// must not go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Whether the command was done.
    pub ok: bool,
    /// Which command, as [`Command::word`] names it.
    pub command: String,
    /// What it brought; there if it was done, and where files were looked at of which some are refused.
    #[serde(skip_serializing_if = "Option::is_none", default = "nothing")]
    pub data: Option<T>,
    /// Why it was not done; there exactly if it was not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<Failure>,
    /// What the caller should know although it was done.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Version of the envelope: another one is written when a reader of this one would misread it.
pub const SCHEMA_VERSION: u32 = 1;

impl<T> Envelope<T> {
    /// It was done.
    pub fn done(command: impl Into<String>, data: T) -> Self {
        Envelope {
            schema_version: SCHEMA_VERSION,
            ok: true,
            command: command.into(),
            data: Some(data),
            error: None,
            warnings: Vec::new(),
        }
    }

    /// It was not done.
    pub fn failed(command: impl Into<String>, error: Failure) -> Self {
        Envelope {
            schema_version: SCHEMA_VERSION,
            ok: false,
            command: command.into(),
            data: None,
            error: Some(error),
            warnings: Vec::new(),
        }
    }
}

fn nothing<T>() -> Option<T> {
    None
}

/// Why a command was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable word: an [`ErrorKind`](crate::ErrorKind)'s, or one of the edge's own.
    pub kind: String,
    /// What happened and what to do, for people.
    pub text: String,
    /// Whether the same may succeed later; absent if nobody said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retryable: Option<bool>,
    /// Milliseconds to wait before trying again; absent if nobody said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u64>,
    /// Names that look like the one that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub similar: Vec<String>,
}

impl Failure {
    /// Of this kind, with this text.
    pub fn new(kind: impl Into<String>, text: impl Into<String>) -> Self {
        Failure {
            kind: kind.into(),
            text: text.into(),
            retryable: None,
            retry_after_ms: None,
            similar: Vec::new(),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Failure {
            retryable: error.retryable,
            retry_after_ms: error.retry_after_ms,
            ..Failure::new(error.kind.as_str(), error.text)
        }
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let text = error.to_string();
        match error {
            ControlError::NotFound { similar, .. } => Failure {
                similar,
                retryable: Some(false),
                ..Failure::new("not_found", text)
            },
            ControlError::Invalid(_) => Failure::new("invalid_input", text),
            ControlError::Conflict(_) => Failure::new("conflict", text),
            ControlError::NotYet { retry_after_ms, .. } => Failure {
                retryable: Some(true),
                retry_after_ms: Some(retry_after_ms),
                ..Failure::new("rate_limited", text)
            },
            ControlError::Failed(_) => Failure::new("failed", text),
            ControlError::Unavailable(_) => Failure::new("unavailable", text),
            ControlError::ShuttingDown => Failure {
                retryable: Some(true),
                ..Failure::new("shutting_down", text)
            },
        }
    }
}

impl Command {
    /// The word for the command in JSON, in routes and on the command line.
    pub fn word(&self) -> &'static str {
        match self {
            Command::Status => "status",
            Command::Plugins => "plugins",
            Command::Plugin { .. } => "plugin",
            Command::Capabilities => "capabilities",
            Command::Dependencies => "dependencies",
            Command::Health => "health",
            Command::PluginHealth { .. } => "plugin_health",
            Command::History { .. } => "history",
            Command::Uptime { .. } => "uptime",
            Command::Analyse { .. } => "analysis",
            Command::Events(_) => "events",
            Command::CheckNow { .. } => "check_now",
            Command::Load { .. } => "load",
            Command::Unload { .. } => "unload",
            Command::Restart { .. } => "restart",
            Command::Enable { .. } => "enable",
            Command::Disable { .. } => "disable",
            Command::Update { .. } => "update",
            Command::RollBack { .. } => "rollback",
            Command::Rollout { .. } => "rollout",
            Command::ChangeRollout { change, .. } => match change {
                RolloutCommand::Pause => "rollout_pause",
                RolloutCommand::Resume => "rollout_resume",
                RolloutCommand::Promote => "rollout_promote",
                RolloutCommand::Abort => "rollout_abort",
            },
            Command::Config { .. } | Command::ChangeConfig { .. } => "config",
            Command::ConfigDiff { .. } => "config_diff",
            Command::ConfigHistory { .. } => "config_history",
            Command::RollBackConfig { .. } => "config_rollback",
            Command::Maintenance { .. }
            | Command::StartMaintenance { .. }
            | Command::EndMaintenance { .. } => "maintenance",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_the_documented_one() {
        let done = serde_json::to_string(&Envelope::done("plugins", [1])).unwrap();
        assert_eq!(
            done,
            r#"{"schema_version":1,"ok":true,"command":"plugins","data":[1],"warnings":[]}"#
        );
        let missing = ControlError::NotFound {
            name: "emebd".into(),
            similar: vec!["embed".into()],
        };
        let failed: Envelope<()> = Envelope::failed("plugin", missing.into());
        assert_eq!(
            serde_json::to_string(&failed).unwrap(),
            concat!(
                r#"{"schema_version":1,"ok":false,"command":"plugin","error":{"kind":"not_found","#,
                r#""text":"there is no plugin named \"emebd\"; did you mean embed?","retryable":false,"#,
                r#""similar":["embed"]},"warnings":[]}"#
            )
        );
    }
}
