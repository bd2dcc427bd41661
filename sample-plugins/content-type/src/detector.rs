//! The detector: network and rules together, loaded from a folder.

use crate::features;
use crate::network::{Network, WeightError};
use crate::onnx::{self, OnnxError};
use crate::rules::{Mode, Reason, Rules, RulesError};
use serde::Serialize;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The network's file.
pub const NETWORK_FILE: &str = "model.onnx";
/// The network's configuration.
pub const CONFIG_FILE: &str = "config.min.json";
/// What is known of each label.
pub const KNOWLEDGE_FILE: &str = "content_types_kb.min.json";
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Says which type of file some bytes are.
pub struct Detector {
    network: Network,
    rules: Rules,
    mode: Mode,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer<'a> {
    /// Short name.
    pub label: &'a str,
    /// Media type.
    pub mime_type: &'a str,
    /// Such as `code` or `image`.
    pub group: &'a str,
    /// For people.
    pub description: &'a str,
    /// Usual ends of file names.
    pub extensions: &'a [String],
    /// Whether it is text.
    pub is_text: bool,
    /// How sure the network is of its own label; 1 where it was not asked.
    pub score: f64,
    /// What the network said, where the answer is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overwritten: Option<Overwritten<'a>>,
}

/// What the network said, and why it was not answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overwritten<'a> {
    /// The network's label.
    pub label: &'a str,
    /// Why another one is answered.
    pub reason: Reason,
}

/// Why the detector can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is missing or can't be read.
    #[error(
        "{path} can't be read: {source}. Set `model_dir` to a folder with {NETWORK_FILE}, {CONFIG_FILE} and \
         {KNOWLEDGE_FILE}; `cargo xtask models` fetches them into target/models/magika",
        path = path.display()
    )]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is too large to be the right one.
    #[error(
        "{path} has more than {FILE_BYTES_MAX} bytes, so it is not what it should be; fetch it anew with \
         `cargo xtask models`",
        path = path.display()
    )]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// A file is not what it should be.
    #[error("{path}: {source}; fetch it anew with `cargo xtask models`", path = path.display())]
    Wrong {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Detector {
    /// Loads the three files of a folder.
    ///
    /// # Errors
    /// One is missing, or is not what it should be.
    pub fn load(folder: &Path, mode: Mode) -> Result<Self, LoadError> {
        let network_path = folder.join(NETWORK_FILE);
        let config_path = folder.join(CONFIG_FILE);
        let network = read(&network_path)?;
        let config = read(&config_path)?;
        let knowledge = read(&folder.join(KNOWLEDGE_FILE))?;
        let rules = Rules::read(&config, &knowledge).map_err(|e: RulesError| wrong(&config_path, e))?;
        let constants = onnx::constants(&network).map_err(|e: OnnxError| wrong(&network_path, e))?;
        let network = Network::new(&constants).map_err(|e: WeightError| wrong(&network_path, e))?;
        Ok(Detector { network, rules, mode })
    }

    /// Says which type of file these bytes are.
    pub fn detect(&self, file: &[u8]) -> Answer<'_> {
        match features::tokens(&self.rules.window, file) {
            None => self.answer(self.rules.of_few_bytes(file), 1.0, None),
            Some(tokens) => {
                let scores = self.network.scores(&tokens);
                let (said, score) = self.rules.best(&scores);
                let (label, reason) = self.rules.decide(said, score, self.mode);
                self.answer(
                    label,
                    score,
                    reason.map(|reason| Overwritten { label: said, reason }),
                )
            }
        }
    }

    fn answer<'a>(&'a self, label: &'a str, score: f64, overwritten: Option<Overwritten<'a>>) -> Answer<'a> {
        let known = self
            .rules
            .describe(label)
            .expect("every label that is answered was checked at load");
        Answer {
            label,
            mime_type: &known.mime_type,
            group: &known.group,
            description: &known.description,
            extensions: &known.extensions,
            is_text: known.is_text,
            score,
            overwritten,
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let unreadable = |source| LoadError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let read = file
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(LoadError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

fn wrong(path: &Path, source: impl std::error::Error + Send + Sync + 'static) -> LoadError {
    LoadError::Wrong {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let text = Detector::load(dir.path(), Mode::default())
            .err()
            .unwrap()
            .to_string();
        assert!(
            text.contains("model.onnx") && text.contains("cargo xtask models"),
            "{text}"
        );
    }

    #[test]
    fn a_wrong_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for name in [NETWORK_FILE, CONFIG_FILE, KNOWLEDGE_FILE] {
            std::fs::write(dir.path().join(name), "{}").unwrap();
        }
        let text = Detector::load(dir.path(), Mode::default())
            .err()
            .unwrap()
            .to_string();
        assert!(
            text.contains("config.min.json: it is not as expected: missing field"),
            "{text}"
        );
    }
}
