//! Magika's rules around the network: its configuration, what is known of each label, and which label is answered.

use crate::features::Window;
use crate::network::{LABELS, TOKENS};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The label of nothing.
pub const EMPTY: &str = "empty";
/// The label of text that is nothing in particular.
pub const TEXT: &str = "txt";
/// The label of bytes that are nothing in particular.
pub const UNKNOWN: &str = "unknown";

/// How sure the network must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// As sure as the label's own threshold says.
    #[default]
    HighConfidence,
    /// As sure as the common threshold says.
    MediumConfidence,
    /// Its answer is taken in any case.
    BestGuess,
}

/// Why the answer is another label than the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was not sure enough.
    LowConfidence,
    /// That label is always answered as another one.
    OverwriteMap,
}

/// What is known of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType {
    /// Media type.
    pub mime_type: String,
    /// Such as `code` or `image`.
    pub group: String,
    /// For people.
    pub description: String,
    /// Usual ends of file names.
    pub extensions: Vec<String>,
    /// Whether it is text.
    pub is_text: bool,
}

/// The network's configuration and the knowledge base.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What the network sees of a file.
    pub window: Window,
    labels: Vec<String>,
    medium_confidence_threshold: f64,
    thresholds: HashMap<String, f64>,
    overwrite_map: HashMap<String, String>,
    types: HashMap<String, ContentType>,
}

/// Why the two files can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// One is not JSON of the expected shape.
    #[error("it is not as expected: {0}")]
    Json(#[from] serde_json::Error),
    /// The configuration is of another network.
    #[error("it belongs to another network: {0}")]
    OtherNetwork(String),
    /// A label is not described.
    #[error("label {0:?} of the network is not in the knowledge base; the files are of different versions")]
    NotDescribed(String),
}

#[derive(Deserialize)]
struct NetworkConfig {
    #[serde(flatten)]
    window: Window,
    target_labels_space: Vec<String>,
    medium_confidence_threshold: f64,
    thresholds: HashMap<String, f64>,
    overwrite_map: HashMap<String, String>,
    version_major: u32,
}

#[derive(Deserialize)]
struct Described {
    mime_type: Option<String>,
    group: Option<String>,
    description: Option<String>,
    extensions: Vec<String>,
    is_text: bool,
}

impl Rules {
    /// From `config.min.json` and `content_types_kb.min.json`.
    ///
    /// # Errors
    /// One of them is not as expected, or they don't fit each other or the network.
    pub fn read(config: &[u8], knowledge: &[u8]) -> Result<Self, RulesError> {
        let config: NetworkConfig = serde_json::from_slice(config)?;
        let described: HashMap<String, Described> = serde_json::from_slice(knowledge)?;
        check(&config)?;
        let types: HashMap<String, ContentType> = described
            .into_iter()
            .map(|(label, d)| (label.clone(), with_defaults(label, d)))
            .collect();
        let answered = config
            .target_labels_space
            .iter()
            .chain(config.overwrite_map.values());
        let fixed = [EMPTY, TEXT, UNKNOWN];
        if let Some(label) = answered
            .map(String::as_str)
            .chain(fixed)
            .find(|label| !types.contains_key(*label))
        {
            return Err(RulesError::NotDescribed(label.to_owned()));
        }
        Ok(Rules {
            window: config.window,
            labels: config.target_labels_space,
            medium_confidence_threshold: config.medium_confidence_threshold,
            thresholds: config.thresholds,
            overwrite_map: config.overwrite_map,
            types,
        })
    }

    /// The label with the highest of the network's scores, and that score.
    pub fn best(&self, scores: &[f32]) -> (&str, f64) {
        let mut best = 0;
        for (at, score) in scores.iter().enumerate().take(self.labels.len()) {
            if *score > scores[best] {
                best = at;
            }
        }
        (
            &self.labels[best],
            scores.get(best).copied().map_or(0.0, f64::from),
        )
    }

    /// Which label is answered when the network says `label` with this score.
    pub fn decide<'a>(&'a self, label: &'a str, score: f64, mode: Mode) -> (&'a str, Option<Reason>) {
        let mapped = self.overwrite_map.get(label).map_or(label, String::as_str);
        let threshold = match mode {
            Mode::HighConfidence => *self
                .thresholds
                .get(label)
                .unwrap_or(&self.medium_confidence_threshold),
            Mode::MediumConfidence => self.medium_confidence_threshold,
            Mode::BestGuess => f64::NEG_INFINITY,
        };
        if score >= threshold {
            return (mapped, (mapped != label).then_some(Reason::OverwriteMap));
        }
        let is_text = self.types.get(mapped).is_some_and(|known| known.is_text);
        let general = if is_text { TEXT } else { UNKNOWN };
        (general, (general != label).then_some(Reason::LowConfidence))
    }

    /// The label of a file with too few bytes for the network, from its first block.
    pub fn of_few_bytes(&self, file: &[u8]) -> &'static str {
        let block = &file[..file.len().min(self.window.block_size)];
        if file.is_empty() {
            EMPTY
        } else if std::str::from_utf8(block).is_ok() {
            TEXT
        } else {
            UNKNOWN
        }
    }

    /// What is known of a label that was answered.
    pub fn describe(&self, label: &str) -> Option<&ContentType> {
        self.types.get(label)
    }
}

fn check(config: &NetworkConfig) -> Result<(), RulesError> {
    let Window {
        beg_size,
        mid_size,
        end_size,
        block_size,
        min_file_size_for_dl,
        ..
    } = config.window;
    let facts = [
        (config.version_major == 3, "its major version is not 3"),
        (
            beg_size.checked_add(end_size) == Some(TOKENS),
            "it does not see 2048 tokens",
        ),
        (
            mid_size == 0 && !config.window.use_inputs_at_offsets,
            "it sees more than beginning and end",
        ),
        (
            beg_size < block_size && end_size < block_size,
            "its block is smaller than what it sees",
        ),
        (block_size <= 1 << 20, "its block is larger than 1 MiB"),
        (
            (1..=beg_size).contains(&min_file_size_for_dl),
            "its smallest file is larger than what it sees",
        ),
        (
            config.target_labels_space.len() == LABELS,
            "it does not have 214 labels",
        ),
    ];
    match facts.iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, what)) => Err(RulesError::OtherNetwork((*what).to_owned())),
    }
}

fn with_defaults(label: String, described: Described) -> ContentType {
    let mime_type = if described.is_text {
        "text/plain"
    } else {
        "application/octet-stream"
    };
    ContentType {
        mime_type: described.mime_type.unwrap_or_else(|| mime_type.to_owned()),
        group: described.group.unwrap_or_else(|| UNKNOWN.to_owned()),
        description: described.description.unwrap_or(label),
        extensions: described.extensions,
        is_text: described.is_text,
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
