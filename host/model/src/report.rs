//! What a plugin says of its health, as the host read it. What was not measured is absent.

use serde::{Deserialize, Serialize};

/// Health in four words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Able to serve.
    Up,
    /// Able to serve, worse than usual.
    Degraded,
    /// Not known.
    Unknown,
    /// Not able to serve.
    Down,
}

impl Health {
    /// The word used in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Up => "up",
            Health::Degraded => "degraded",
            Health::Unknown => "unknown",
            Health::Down => "down",
        }
    }

    /// Whether it is known to do its work.
    pub fn serves(self) -> bool {
        matches!(self, Health::Up | Health::Degraded)
    }
}

/// What a check asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// Does the call return?
    Liveness,
    /// Can it serve now?
    Readiness,
    /// One synthetic request.
    Deep,
}

/// State of the connection that a plugin keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    /// The plugin keeps none.
    None,
    /// Being made.
    Connecting,
    /// Made.
    Connected,
    /// Lost or refused.
    Broken,
}

impl Connection {
    /// The word used in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Connection::None => "none",
            Connection::Connecting => "connecting",
            Connection::Connected => "connected",
            Connection::Broken => "broken",
        }
    }
}

/// The plugin's own word. Heap figures are counted by the SDK inside the plugin; all others are the plugin's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How it feels.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub health: Option<Health>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// State of its connection.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connection: Option<Connection>,
    /// Last round trip over it, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connection_rtt_ns: Option<u64>,
    /// How long it has been in that state, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connection_age_ms: Option<u64>,
    /// Work waiting inside.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub queue_depth: Option<u64>,
    /// How much may wait.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub queue_capacity: Option<u64>,
    /// Work under way inside.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub in_flight: Option<u64>,
    /// Rust heap in use, in bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub heap_bytes: Option<u64>,
    /// The most that was in use, in bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub heap_peak_bytes: Option<u64>,
    /// The most that the plugin means to use, in bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub heap_limit_bytes: Option<u64>,
    /// Named parts.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub parts: Vec<Part>,
}

/// One named part of a check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Which.
    pub name: String,
    /// How it is.
    pub health: Health,
    /// What was seen.
    pub message: String,
    /// How long it took, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub duration_ns: Option<u64>,
    /// A figure that belongs to it; the name says which, and its unit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value: Option<f64>,
}

/// How important a log record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something may fail soon.
    Warn,
    /// For operators.
    Info,
    /// For developers.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The word used in configurations and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// How far a call or a step of the lifecycle is, as the plugin tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Units of whatever the plugin counts.
    pub done: u64,
    /// All of them; absent if that is not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub total: Option<u64>,
    /// What it is doing; may be empty.
    pub text: String,
}
