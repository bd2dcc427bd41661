//! What the repository generates and builds for itself. The commands of `cargo xtask` are here as functions, so that
//! tests use the same code.

pub mod bench_table;
pub mod demo;
pub mod dist;
pub mod header;
pub mod judge_trial;
pub mod models;
pub mod plugins;
pub mod simulate;

use std::path::{Path, PathBuf};

/// The workspace's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in the workspace's folder")
        .to_path_buf()
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}
