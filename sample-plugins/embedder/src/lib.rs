//! Texts to vectors, with the sentence transformer all-MiniLM-L6-v2, computed by candle.
//!
//! Everything that is started is ended: candle computes on rayon, so it is only ever called inside a pool of the instance's own
//! ([`pool`]), whose threads are joined when the instance goes.

pub mod bert;
pub mod embedder;
mod gelu;
mod plugin;
pub mod pool;
pub mod tokens;
pub mod weights;
pub mod wordpiece;

pub use embedder::{Embedded, Embedder, LoadError};
pub use plugin::{Config, SentenceEmbedder, TextEmbed};
