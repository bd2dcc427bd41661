//! Maintenance of an instance: an operator works on it, so that it is checked and shown, and counts in no sum.

use serde::{Deserialize, Serialize};

/// Why and for how long an instance is in maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// Who put it there.
    pub by: MaintenanceSource,
    /// Since when, in milliseconds since the Unix epoch; absent if the configuration says so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since_unix_ms: Option<u64>,
    /// When it ends by itself; absent if the configuration says so, since that has no end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until_unix_ms: Option<u64>,
    /// Why, in the operator's words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// Who put an instance into maintenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaintenanceSource {
    /// `maintenance = true` in its `[[instance]]`.
    Configuration,
    /// A command while the host runs.
    Operator,
}

impl Maintenance {
    /// What `maintenance = true` in an `[[instance]]` says.
    pub const CONFIGURED: Maintenance = Maintenance {
        by: MaintenanceSource::Configuration,
        since_unix_ms: None,
        until_unix_ms: None,
        reason: None,
    };
}

/// One instance that is in maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceRow {
    /// The instance's name.
    pub name: String,
    /// Why and for how long.
    #[serde(flatten)]
    pub maintenance: Maintenance,
}

/// Maintenance as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceAsked {
    /// For how long, in milliseconds; at most [`MaintenanceAsked::FOR_MS_MAX`].
    pub for_ms: u64,
    /// Why: one line of at most [`MaintenanceAsked::REASON_BYTES_MAX`] bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

impl MaintenanceAsked {
    /// Nothing is in maintenance for longer than 31 days without being asked for again.
    pub const FOR_MS_MAX: u64 = 31 * 86_400_000;
    /// Longest reason.
    pub const REASON_BYTES_MAX: usize = 256;

    /// Checks the values.
    ///
    /// # Errors
    /// One is out of its range; the text says which and what is within.
    pub fn validate(&self) -> Result<(), String> {
        if !(1_000..=Self::FOR_MS_MAX).contains(&self.for_ms) {
            return Err(format!(
                "maintenance for {} ms is outside 1s to 31d; give a duration within that range",
                self.for_ms
            ));
        }
        let is_line = |reason: &str| {
            reason.len() <= Self::REASON_BYTES_MAX && !reason.is_empty() && !reason.contains(char::is_control)
        };
        if self.reason.as_deref().is_some_and(|reason| !is_line(reason)) {
            return Err(format!(
                "the reason of maintenance is to be one line of 1 to {} bytes",
                Self::REASON_BYTES_MAX
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maintenance_out_of_its_range_is_refused_by_name() {
        let asked = |for_ms, reason: &str| MaintenanceAsked {
            for_ms,
            reason: Some(reason.to_owned()),
        };
        assert_eq!(asked(3_600_000, "new model").validate(), Ok(()));
        for (for_ms, reason, part) in [
            (999, "a", "outside 1s to 31d"),
            (MaintenanceAsked::FOR_MS_MAX + 1, "a", "outside 1s to 31d"),
            (1_000, "", "one line"),
            (1_000, "a\nb", "one line"),
            (1_000, &*"a".repeat(257), "one line"),
        ] {
            let text = asked(for_ms, reason).validate().unwrap_err();
            assert!(text.contains(part), "{text}");
        }
    }
}
