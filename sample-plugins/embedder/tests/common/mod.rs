//! What the tests share: where the model is, and an instance of the plugin made from it.

use embedder::SentenceEmbedder;
use std::path::{Path, PathBuf};

/// The folder that `cargo xtask models` fills.
pub fn models() -> PathBuf {
    let folder = match std::env::var_os("EXTMAN_MODELS") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/models"),
    };
    for needed in ["all-minilm-l6-v2/model.safetensors", "venv/whole.txt"] {
        let path = folder.join(needed);
        assert!(
            path.exists(),
            "{} is not there; run `cargo xtask models` first",
            path.display()
        );
    }
    folder
}

/// An instance that is created but not started.
pub fn instance(threads: usize, batch_size: usize) -> SentenceEmbedder {
    let config = serde_json::json!({
        "model_dir": models().join("all-minilm-l6-v2"),
        "threads": threads,
        "batch_size": batch_size,
    });
    SentenceEmbedder::new(serde_json::from_value(config).unwrap()).unwrap()
}
