//! What the benches measure with: plugins ready to be loaded, and the least that each way of calling could cost.
//!
//! The benches themselves are in `benches/`, one file for each act: `probe`, `call`, `load`, `intake`, `history`. A row's name says
//! what it is; `cargo xtask bench-table` makes BENCHMARKS.md of what criterion has kept.

pub mod fixture;
pub mod hop;
pub mod plugins;
pub mod raw;
pub mod timing;
