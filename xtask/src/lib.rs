//! The repository's own commands, one module each; `main.rs` only reads the command line.

pub mod models;
