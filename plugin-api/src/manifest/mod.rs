//! The manifest: what a plugin says of itself before any of its code runs.
//!
//! Authors write `plugin.toml` beside their `Cargo.toml`; [`export_plugin!`](crate::export_plugin) embeds it in a
//! [frame]. The [schema] and its reader are behind the feature `manifest`, for hosts and tools: no TOML parser is linked
//! into a plugin. A plugin in C gets its frame from [`c_source`].

pub mod at_compile_time;
#[cfg(feature = "manifest")]
mod c_source;
pub mod frame;
#[cfg(feature = "manifest")]
mod placeholders;
#[cfg(feature = "manifest")]
mod relations;
#[cfg(feature = "manifest")]
pub mod schema;

#[cfg(feature = "manifest")]
pub use c_source::{C_HEADER, c_source};
#[cfg(feature = "manifest")]
pub use schema::ManifestError;
