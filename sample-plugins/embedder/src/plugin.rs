//! The plugin: configuration, state, health, and the one capability.

use crate::bert::DIMENSIONS;
use crate::embedder::{EmbedError, Embedder, LoadError};
use extman_plugin_api::prelude::*;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

const MODEL: &str = "all-MiniLM-L6-v2";
const THREADS_MAX: usize = 16;
const THREADS_MAX_UNASKED: usize = 4;
const BATCH_SIZE_MAX: usize = 32;
const TEXTS_MAX: usize = 256;

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder with the model's files.
    pub model_dir: PathBuf,
    /// Threads that compute. Without it as many as there are processors, but at most 4.
    pub threads: Option<usize>,
    /// Texts that go through the network together.
    #[serde(default = "batch_size")]
    pub batch_size: usize,
}

fn batch_size() -> usize {
    8
}

/// One instance.
pub struct SentenceEmbedder {
    config: Config,
    embedder: RwLock<Option<Arc<Embedder>>>,
}

impl SentenceEmbedder {
    /// With this configuration; nothing is loaded yet.
    ///
    /// # Errors
    /// A value is out of its range.
    pub fn new(config: Config) -> Result<Self> {
        if config.model_dir.as_os_str().is_empty() {
            return Err(Error::configuration(
                "`model_dir` is empty; name the folder with the model, such as target/models/all-minilm-l6-v2",
            ));
        }
        for (name, value, most) in [
            ("threads", config.threads.unwrap_or(1), THREADS_MAX),
            ("batch_size", config.batch_size, BATCH_SIZE_MAX),
        ] {
            if !(1..=most).contains(&value) {
                return Err(Error::configuration(format_args!(
                    "`{name}` is {value}; give 1 to {most}"
                )));
            }
        }
        Ok(SentenceEmbedder {
            config,
            embedder: RwLock::new(None),
        })
    }

    /// Loads the model and starts its threads.
    ///
    /// # Errors
    /// The model can't be read, is not one, or its threads can't be started.
    pub fn load(&self) -> Result<()> {
        let embedder = Embedder::load(&self.config.model_dir, self.threads(), self.config.batch_size)
            .map_err(|e| match e {
                LoadError::Unreadable { .. } => Error::unavailable(e),
                LoadError::Threads { .. } => Error::exhausted(e),
                LoadError::Weights { .. } | LoadError::Vocabulary { .. } => Error::configuration(e),
            })?;
        self.set(Some(Arc::new(embedder)));
        Ok(())
    }

    /// Lets the model go; its threads have ended when this returns.
    pub fn unload(&self) {
        self.set(None);
    }

    /// The loaded embedder.
    ///
    /// # Errors
    /// The instance is not started.
    pub fn embedder(&self) -> Result<Arc<Embedder>> {
        self.loaded()
            .ok_or_else(|| Error::unavailable("the model is not loaded; start the instance first"))
    }

    fn loaded(&self) -> Option<Arc<Embedder>> {
        self.embedder
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    fn set(&self, embedder: Option<Arc<Embedder>>) {
        // What was there is dropped, and its threads joined, after the lock is free again.
        let before = {
            let mut place = self
                .embedder
                .write()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            std::mem::replace(&mut *place, embedder)
        };
        drop(before);
    }

    fn threads(&self) -> usize {
        self.config.threads.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS_MAX_UNASKED))
        })
    }
}

impl Plugin for SentenceEmbedder {
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
        let Some(embedder) = self.loaded() else {
            probe.part("model loaded", Health::Down, "not started")?;
            probe.explain("the model is not loaded");
            return Ok(Health::Down);
        };
        probe.part("model loaded", Health::Up, MODEL)?;
        if probe.kind() == CheckKind::Readiness {
            return Ok(Health::Up);
        }
        let sense = makes_sense(&embedder)?;
        let health = if sense { Health::Up } else { Health::Down };
        probe.part("like texts are near", health, "")?;
        if !sense {
            probe.explain("texts that mean alike are not nearer to each other than others");
        }
        Ok(health)
    }

    fn stop(&self, _: &Step) -> Result<()> {
        self.unload();
        Ok(())
    }
}

fn makes_sense(embedder: &Embedder) -> Result<bool> {
    let texts = ["a cat sleeps", "a kitten is asleep", "the price of oil"];
    let found = embedder.embed(&texts, &|| false).map_err(refused)?.embeddings;
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    Ok(near(&found[0], &found[1]) > near(&found[0], &found[2]))
}

/// `text.embed`.
pub struct TextEmbed;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input<'a> {
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    texts: Option<Vec<Cow<'a, str>>>,
}

#[derive(Serialize)]
struct Answer<'a> {
    model: &'static str,
    dimensions: usize,
    embeddings: &'a [Vec<f32>],
}

impl Capability for TextEmbed {
    type Plugin = SentenceEmbedder;
    const NAME: &'static str = "text.embed";

    fn invoke(plugin: &SentenceEmbedder, call: &mut Call<'_>) -> Result<()> {
        let texts = texts(call.json()?)?;
        let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        let found = plugin
            .embedder()?
            .embed(&texts, &|| call.cancelled())
            .map_err(refused)?;
        call.usage(Usage {
            tokens_in: Some(found.tokens as u64),
            ..Usage::default()
        });
        call.reply_json(&Answer {
            model: MODEL,
            dimensions: DIMENSIONS,
            embeddings: &found.embeddings,
        })
    }
}

export_plugin!(SentenceEmbedder, capabilities: [TextEmbed]);

fn texts(input: Input<'_>) -> Result<Vec<Cow<'_, str>>> {
    let texts = match (input.text, input.texts) {
        (Some(text), None) => vec![text],
        (None, Some(texts)) => texts,
        _ => {
            return Err(Error::invalid_input(
                "give either `text` (one) or `texts` (a list), and not both",
            ));
        }
    };
    match texts.len() {
        0 => Err(Error::invalid_input("`texts` is empty; give at least one text")),
        1..=TEXTS_MAX => Ok(texts),
        n => Err(Error::invalid_input(format_args!(
            "`texts` has {n} texts; give at most {TEXTS_MAX} in one call"
        ))),
    }
}

fn refused(error: EmbedError) -> Error {
    match error {
        EmbedError::Cancelled => Error::cancelled(),
        EmbedError::Blank(_) => Error::invalid_input(error),
        EmbedError::Model(_) => Error::internal(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Vec<String>> {
        let input = serde_json::from_str(json).map_err(Error::invalid_input)?;
        Ok(texts(input)?.into_iter().map(Cow::into_owned).collect())
    }

    #[test]
    fn one_text_or_many_but_not_both_and_not_too_many() {
        assert_eq!(read(r#"{"text": "a\n"}"#).unwrap(), ["a\n"]);
        assert_eq!(read(r#"{"texts": ["a", "b"]}"#).unwrap(), ["a", "b"]);
        let many = serde_json::json!({ "texts": vec!["a"; TEXTS_MAX + 1] }).to_string();
        for bad in [
            "{}",
            r#"{"text": "a", "texts": []}"#,
            r#"{"texts": []}"#,
            r#"{"txt": "a"}"#,
            "[]",
            &many,
        ] {
            assert_eq!(
                read(bad).unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "{bad:.40}"
            );
        }
    }

    #[test]
    fn a_configuration_out_of_range_is_refused() {
        let plugin = |json: serde_json::Value| SentenceEmbedder::new(serde_json::from_value(json).unwrap());
        for (name, value) in [
            ("threads", 0),
            ("threads", 17),
            ("batch_size", 0),
            ("batch_size", 33),
        ] {
            let error = plugin(serde_json::json!({ "model_dir": "x", name: value }))
                .err()
                .unwrap();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.text().contains(name), "{error}");
        }
        let fine = plugin(serde_json::json!({ "model_dir": "/nonexistent" })).unwrap();
        assert_eq!(fine.embedder().err().unwrap().kind(), ErrorKind::Unavailable);
        let error = fine.load().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.text().contains("/nonexistent/vocab.txt"), "{error}");
    }
}
