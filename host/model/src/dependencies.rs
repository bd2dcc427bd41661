//! Which version of each plugin is used, what it requires and who requires it, as shown.

use crate::Digest;
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What came of resolving the plugins that are there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DependenciesView {
    /// The plugins that can be used, one version of each id, by id.
    pub plugins: Vec<ResolvedPlugin>,
    /// Their ids by level: what one requires is in a level before its own. It is an order to be shown: an instance starts as
    /// soon as what it requires serves, whatever its level.
    pub start_order: Vec<Vec<String>>,
    /// The plugins that can't be used, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub left_out: Vec<LeftOut>,
    /// What an operator should know: an optional requirement that nothing fulfils, a file that is not what the lock says.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<String>,
}

/// One plugin that can be used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResolvedPlugin {
    /// The plugin's id.
    pub id: String,
    /// The version that is used.
    pub version: Version,
    /// SHA-256 of its library.
    pub digest: Digest,
    /// The file.
    #[serde(serialize_with = "crate::text::lossy_path")]
    pub origin: PathBuf,
    /// Versions that are there too, and are not used; the highest first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub other_versions: Vec<Version>,
    /// What it requires.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub requires: Vec<ResolvedRequirement>,
    /// Ids of the plugins that require it, or may use it where they require a capability.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub required_by: Vec<String>,
}

/// One `[[requires]]` of a plugin that can be used. Of `plugin` and `capability` one is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResolvedRequirement {
    /// The id that it names.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plugin: Option<String>,
    /// The capability that it names.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub capability: Option<String>,
    /// Versions that fit.
    pub version: VersionReq,
    /// Whether the plugin does without.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub optional: bool,
    /// Ids of the plugins that fulfil it; any one of them is enough. Empty only for an optional one.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub fulfilled_by: Vec<String>,
}

/// A plugin that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The plugin's id.
    pub id: String,
    /// Why.
    pub code: LeftOutCode,
    /// The same for people: at most 12 lines of 80 columns. Each line in the middle names the file of whoever wants something, the
    /// last one says what to do.
    pub reason: String,
}

/// Why a plugin can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftOutCode {
    /// What it requires is not there, or not in a version that fits.
    Unfulfilled,
    /// It and others want what can't be together.
    Conflict,
    /// It is one of several that wait for each other.
    Cycle,
    /// It is lower than what runs or is locked.
    Lower,
    /// It is a pre-release, and nobody asks for that.
    PreRelease,
    /// It is not what the lock says.
    NotLocked,
}

impl LeftOut {
    /// The reason in one line, for a list of many.
    pub fn in_one_line(&self) -> String {
        let mut text = String::new();
        let mut before = "";
        for line in self.reason.lines() {
            let separator = match (line.starts_with("    "), line.starts_with("  ")) {
                _ if text.is_empty() => "",
                _ if text.ends_with('.') => " ",
                (false, true) if before.starts_with("  ") => "; ",
                (false, false) if before.starts_with("  ") => ". ",
                _ => " ",
            };
            text.push_str(separator);
            text.push_str(line.trim_start());
            before = line;
        }
        text
    }
}

impl LeftOutCode {
    /// The word used in JSON and texts.
    pub fn as_str(self) -> &'static str {
        match self {
            LeftOutCode::Unfulfilled => "unfulfilled",
            LeftOutCode::Conflict => "conflict",
            LeftOutCode::Cycle => "cycle",
            LeftOutCode::Lower => "lower",
            LeftOutCode::PreRelease => "pre-release",
            LeftOutCode::NotLocked => "not-locked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_in_one_line_keeps_its_sentences_apart() {
        let left_out = LeftOut {
            id: "rank".to_owned(),
            code: LeftOutCode::Unfulfilled,
            reason: "rank can't be\n    used.\n  rank wants a\n    and b\n  there is no a\nAdd a.".to_owned(),
        };
        assert_eq!(
            left_out.in_one_line(),
            "rank can't be used. rank wants a and b; there is no a. Add a."
        );
    }
}
