//! What the benches measure with: plugins ready to be loaded, and the least that each way of calling could cost.
//!
//! The benches themselves are in `benches/`, one file for each act: `probe`, `call`, `load`, `intake` and so on. A row's name says
//! what it is; `cargo xtask bench-table` makes BENCHMARKS.md of what criterion has kept.

pub mod engine;
pub mod figures;
pub mod fixture;
pub mod history;
pub mod hop;
pub mod paced;
pub mod plugins;
pub mod raw;
pub mod timing;
