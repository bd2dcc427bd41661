//! The plugin: configuration, state, health, and the one capability.

use crate::detector::{Detector, LoadError};
use crate::rules::Mode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use extman_plugin_api::prelude::*;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder with the model's files.
    pub model_dir: PathBuf,
    /// How sure the network must be.
    #[serde(default)]
    pub mode: Mode,
}

/// One instance.
pub struct ContentType {
    config: Config,
    detector: RwLock<Option<Arc<Detector>>>,
}

impl ContentType {
    /// With this configuration; nothing is loaded yet.
    ///
    /// # Errors
    /// The configuration names no folder.
    pub fn new(config: Config) -> Result<Self> {
        if config.model_dir.as_os_str().is_empty() {
            return Err(Error::configuration(
                "`model_dir` is empty; name the folder with the model, such as target/models/magika",
            ));
        }
        Ok(ContentType {
            config,
            detector: RwLock::new(None),
        })
    }

    /// The loaded detector.
    ///
    /// # Errors
    /// The instance is not started.
    pub fn detector(&self) -> Result<Arc<Detector>> {
        self.loaded()
            .ok_or_else(|| Error::unavailable("the model is not loaded; start the instance first"))
    }

    /// Loads the model.
    fn load(&self) -> Result<()> {
        let detector = Detector::load(&self.config.model_dir, self.config.mode).map_err(|e| match e {
            LoadError::Unreadable { .. } => Error::unavailable(e),
            other => Error::configuration(other),
        })?;
        self.set(Some(Arc::new(detector)));
        Ok(())
    }

    fn loaded(&self) -> Option<Arc<Detector>> {
        self.detector
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    fn set(&self, detector: Option<Arc<Detector>>) {
        *self
            .detector
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = detector;
    }
}

impl Plugin for ContentType {
    fn create(create: &Create<'_>) -> Result<Self> {
        Self::new(create.config()?)
    }

    fn start(&self, _: &Step) -> Result<()> {
        self.load()
    }

    fn check(&self, probe: &mut Probe<'_>) -> Result<Health> {
        if probe.kind() == CheckKind::Liveness {
            return Ok(Health::Up);
        }
        let Some(detector) = self.loaded() else {
            probe.part("model loaded", Health::Down, "not started")?;
            probe.explain("the model is not loaded");
            return Ok(Health::Down);
        };
        probe.part("model loaded", Health::Up, "")?;
        if probe.kind() == CheckKind::Readiness {
            return Ok(Health::Up);
        }
        let label = detector.detect(KNOWN_FILE).label;
        let health = if label == KNOWN_LABEL {
            Health::Up
        } else {
            Health::Down
        };
        probe.part("known file recognised", health, label)?;
        if health == Health::Down {
            probe.explain(format_args!("a known {KNOWN_LABEL} file is taken for {label}"));
        }
        Ok(health)
    }

    fn stop(&self, _: &Step) -> Result<()> {
        self.set(None);
        Ok(())
    }
}

/// Shown to the network by deep checks.
const KNOWN_FILE: &[u8] = b"#!/usr/bin/env python3\nimport sys\n\n\ndef main():\n    print(sys.argv)\n\n\nif __name__ == \"__main__\":\n    main()\n";
const KNOWN_LABEL: &str = "python";

/// `content.detect-type`.
pub struct DetectType;

impl Capability for DetectType {
    type Plugin = ContentType;
    const NAME: &'static str = "content.detect-type";

    fn invoke(plugin: &ContentType, call: &mut Call<'_>) -> Result<()> {
        let detector = plugin.detector()?;
        let answer = if is_json(call.content_type()) {
            detector.detect(&decode(call.input())?)
        } else {
            detector.detect(call.input())
        };
        call.reply_json(&answer)
    }
}

export_plugin!(ContentType, capabilities: [DetectType]);

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn decode(json: &[u8]) -> Result<Vec<u8>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input<'a> {
        #[serde(borrow)]
        base64: std::borrow::Cow<'a, str>,
    }
    let input: Input<'_> = serde_json::from_slice(json).map_err(|e| {
        Error::invalid_input(format_args!(
            "the input is not {{\"base64\": \"…\"}}: {e}; to have a JSON file detected, send it as application/octet-stream"
        ))
    })?;
    STANDARD
        .decode(input.base64.as_bytes())
        .map_err(|e| Error::invalid_input(format_args!("`base64` is not standard base64: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_by_its_media_type() {
        for json in ["application/json", "Application/JSON; charset=utf-8"] {
            assert!(is_json(json), "{json}");
        }
        for raw in ["", "application/octet-stream", "text/plain", "application/jsonl"] {
            assert!(!is_json(raw), "{raw}");
        }
    }

    #[test]
    fn base64_is_decoded_and_anything_else_is_the_callers_mistake() {
        assert_eq!(decode(br#"{"base64": "aGk="}"#).unwrap(), b"hi");
        assert_eq!(decode(br#"{"base64": ""}"#).unwrap(), b"");
        for bad in [
            &br#"{"base64": "aGk"}"#[..],
            br#"{"base64": 1}"#,
            br#"{"b": ""}"#,
            b"[1]",
            b"",
            b"\xff",
        ] {
            assert_eq!(decode(bad).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn create_loads_nothing_and_load_says_what_is_missing() {
        let config = |dir: &str| serde_json::from_value(serde_json::json!({ "model_dir": dir })).unwrap();
        let plugin = ContentType::new(config("/nonexistent")).unwrap();
        assert_eq!(plugin.detector().err().unwrap().kind(), ErrorKind::Unavailable);
        let error = plugin.load().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.text().contains("/nonexistent/model.onnx"), "{error}");
        assert_eq!(
            ContentType::new(config("")).err().unwrap().kind(),
            ErrorKind::Configuration
        );
    }
}
