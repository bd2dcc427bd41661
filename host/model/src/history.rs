//! The status of the history itself.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The status of the history itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HistoryStatus {
    /// Whether it works.
    #[serde(flatten)]
    pub state: HistoryState,
    /// Its file; absent if there is no history.
    #[serde(serialize_with = "crate::text::lossy_path_given")]
    pub file: Option<PathBuf>,
    /// Size of the file with its log, in bytes.
    pub size_bytes: u64,
    /// Records that were written since the host began.
    pub written: u64,
    /// Records that were lost since the host began.
    pub dropped: Dropped,
    /// The earliest moment in the file, in milliseconds since the Unix epoch.
    pub oldest_unix_ms: Option<u64>,
    /// When something was last written.
    pub last_write_unix_ms: Option<u64>,
    /// Records that wait.
    pub queue_len: usize,
    /// Files that turned out to be broken and were set aside since the host began, under their new names.
    #[serde(serialize_with = "crate::text::lossy_paths")]
    pub set_aside: Vec<PathBuf>,
    /// Times that the file was gone, or another, and a new one was begun.
    pub replaced: u64,
    /// What had to go before its time, since the file would have grown over its limit.
    pub trimmed: Vec<Trimmed>,
    /// The instances may need more room than there is for as long as all is to be kept: how much, and what to do.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shortage: Option<String>,
}

/// Whether it works.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum HistoryState {
    /// It does.
    #[default]
    Working,
    /// It can't be written to now; this is tried again and again.
    Degraded {
        /// Why.
        why: String,
        /// Since when, in milliseconds since the Unix epoch.
        since_unix_ms: u64,
    },
    /// There is none until the host begins anew.
    Off {
        /// Why.
        why: String,
    },
}

/// Records that were lost, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Changes of state, and of the wall clock.
    pub transitions: u64,
    /// Results of checks.
    pub results: u64,
    /// Rollups of minutes.
    pub minutes: u64,
    /// New versions.
    pub releases: u64,
    /// Rows of the key-value table.
    pub key_values: u64,
}

impl Dropped {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.transitions + self.results + self.minutes + self.releases + self.key_values
    }
}

/// What went before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trimmed {
    /// What.
    pub what: Kept,
    /// Rows of the file that went.
    pub rows: u64,
}

/// What is kept, in the order in which it goes when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// Results of checks.
    Results,
    /// Rollups of minutes.
    Minutes,
    /// Rollups of hours.
    Hours,
    /// Rollups of days.
    Days,
    /// Spans that have ended.
    Spans,
}

/// How fine rollups are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// A minute each.
    Minute,
    /// An hour each.
    Hour,
    /// A day each.
    Day,
}

impl Resolution {
    /// From the finest.
    pub const ALL: [Resolution; 3] = [Resolution::Minute, Resolution::Hour, Resolution::Day];

    /// Length of a stretch, in milliseconds.
    pub fn len_ms(self) -> u64 {
        match self {
            Resolution::Minute => 60_000,
            Resolution::Hour => 60 * 60_000,
            Resolution::Day => 24 * 60 * 60_000,
        }
    }
}
