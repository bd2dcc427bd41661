//! What is known of an instance's deep checks: synthetic requests that cost what a real one costs.

use super::CheckView;
use serde::{Deserialize, Serialize};

/// An instance's deep checks, as shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeepView {
    /// Milliseconds between two of them.
    pub every_ms: u64,
    /// Milliseconds within which one has to answer.
    pub timeout_ms: u64,
    /// How many are made within any 24 hours, at most.
    pub per_day: u32,
    /// How many of them are left now.
    pub left: u32,
    /// Milliseconds until the next one is due; absent while none will be.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_ms: Option<u64>,
    /// One is under way.
    pub under_way: bool,
    /// Failed ones in a row, since the instance was started.
    pub failed: u8,
    /// Why none is made although they are configured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub obstacle: Option<String>,
    /// What the last one came to; it may be of an earlier run of the host.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last: Option<DeepResult>,
}

/// What one check came to, or several one after the other that came to the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeepResult {
    /// When, what, and how long the plugin's code ran.
    pub check: CheckView,
    /// Whether it is evidence: not if the instance was not asked, the host itself did not run in time, or the plugin does not know.
    pub counted: bool,
    /// How often.
    #[serde(skip_serializing_if = "is_one", default = "one")]
    pub times: u64,
    /// When the last of them was asked, in milliseconds since the Unix epoch; absent for one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_unix_ms: Option<u64>,
}

fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_one(times: &u64) -> bool {
    *times == 1
}
