//! The embedder: tokens, model and pool together, loaded from a folder.

use crate::bert::{Bert, DIMENSIONS};
use crate::pool::Pool;
use crate::tokens::tokens;
use crate::weights::{Weights, WeightsError};
use crate::wordpiece::{Vocabulary, VocabularyError};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The weights' file.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// The vocabulary's file.
pub const VOCABULARY_FILE: &str = "vocab.txt";
const VOCABULARY_BYTES_MAX: u64 = 1 << 20;

/// Turns texts into vectors.
pub struct Embedder {
    vocabulary: Vocabulary,
    bert: Bert,
    batch_size: usize,
    pool: Pool,
}

/// What became of some texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// One vector for each text, in the texts' order: [`DIMENSIONS`] numbers of length one.
    pub embeddings: Vec<Vec<f32>>,
    /// Tokens that the model read, without those that fill batches.
    pub tokens: usize,
}

/// Why the embedder can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is missing or can't be read.
    #[error(
        "{path} can't be read: {source}. Set `model_dir` to a folder with {WEIGHTS_FILE} and {VOCABULARY_FILE}; \
         `cargo xtask models` fetches them into target/models/all-minilm-l6-v2",
        path = path.display()
    )]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The weights are not this model's.
    #[error("{path}: {source}; fetch it anew with `cargo xtask models`", path = path.display())]
    Weights {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: WeightsError,
    },
    /// The vocabulary is not this model's.
    #[error("{path}: {source}; fetch it anew with `cargo xtask models`", path = path.display())]
    Vocabulary {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: VocabularyError,
    },
    /// The system gives no threads.
    #[error(
        "{threads} threads can't be started: {source}. Set `threads` lower, or raise the process's limit"
    )]
    Threads {
        /// How many were wanted.
        threads: usize,
        /// Why not.
        source: rayon::ThreadPoolBuildError,
    },
}

/// Why texts could not be embedded.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The caller's wish.
    #[error("cancelled")]
    Cancelled,
    /// A text has nothing to embed.
    #[error("text {0} (counted from 0) is blank; give at least one word")]
    Blank(usize),
    /// candle failed.
    #[error("the model failed: {0}")]
    Model(#[from] candle_core::Error),
}

impl Embedder {
    /// Loads the two files of a folder. Only this many texts go through the network together.
    ///
    /// # Errors
    /// A file is missing or is not this model's, or the system gives no threads.
    pub fn load(folder: &Path, threads: usize, batch_size: usize) -> Result<Self, LoadError> {
        let vocabulary = vocabulary(&folder.join(VOCABULARY_FILE))?;
        let pool = Pool::new(threads).map_err(|source| LoadError::Threads { threads, source })?;
        let path = folder.join(WEIGHTS_FILE);
        let file = File::open(&path).map_err(unreadable(&path))?;
        let bert = pool
            .run(|| Bert::read(&mut Weights::open(file)?))
            .map_err(|source| LoadError::Weights { path, source })?;
        Ok(Embedder {
            vocabulary,
            bert,
            batch_size: batch_size.max(1),
            pool,
        })
    }

    /// Embeds texts. `cancelled` is asked before each batch.
    ///
    /// # Errors
    /// A text is blank, or `cancelled` said yes.
    pub fn embed(&self, texts: &[&str], cancelled: &dyn Fn() -> bool) -> Result<Embedded, EmbedError> {
        let all: Vec<Vec<u32>> = texts.iter().map(|text| tokens(&self.vocabulary, text)).collect();
        if let Some(blank) = all.iter().position(|tokens| tokens.len() <= 2) {
            return Err(EmbedError::Blank(blank));
        }
        // Texts of like length together, so that little is computed for nothing.
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by_key(|at| all[*at].len());
        let mut embeddings = vec![Vec::new(); all.len()];
        for batch in order.chunks(self.batch_size) {
            if cancelled() {
                return Err(EmbedError::Cancelled);
            }
            let (ids, mask) = self.filled(batch.iter().map(|at| &all[*at]));
            let found = self.pool.run(|| self.bert.embed(&ids, &mask))?;
            for (at, embedding) in batch.iter().zip(found) {
                embeddings[*at] = embedding;
            }
        }
        debug_assert!(embeddings.iter().all(|e| e.len() == DIMENSIONS));
        Ok(Embedded {
            embeddings,
            tokens: all.iter().map(Vec::len).sum(),
        })
    }

    /// The tokens of a text.
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        tokens(&self.vocabulary, text)
    }

    fn filled<'a>(
        &self,
        batch: impl Iterator<Item = &'a Vec<u32>> + Clone,
    ) -> (Vec<Vec<u32>>, Vec<Vec<f32>>) {
        let longest = batch.clone().map(Vec::len).max().unwrap_or(0);
        batch
            .map(|tokens| {
                let mut ids = tokens.clone();
                ids.resize(longest, self.vocabulary.padding);
                let mut mask = vec![1.0; tokens.len()];
                mask.resize(longest, 0.0);
                (ids, mask)
            })
            .unzip()
    }
}

fn vocabulary(path: &Path) -> Result<Vocabulary, LoadError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(VOCABULARY_BYTES_MAX).read_to_string(&mut text))
        .map_err(unreadable(path))?;
    Vocabulary::read(&text).map_err(|source| LoadError::Vocabulary {
        path: path.to_owned(),
        source,
    })
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> LoadError {
    let path = path.to_owned();
    move |source| LoadError::Unreadable { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let text = Embedder::load(dir.path(), 1, 1).err().unwrap().to_string();
        assert!(
            text.contains("vocab.txt") && text.contains("cargo xtask models"),
            "{text}"
        );
    }

    #[test]
    fn wrong_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(VOCABULARY_FILE), "a\n").unwrap();
        let text = Embedder::load(dir.path(), 1, 1).err().unwrap().to_string();
        assert!(text.contains("vocab.txt: it has 1 lines"), "{text}");
    }
}
