//! Intake, from files on a disk to verified plugins, on real libraries that the C compiler makes here and now.
#![cfg(target_os = "linux")]

#[path = "intake/foreign.rs"]
mod foreign;
#[path = "intake/malformed.rs"]
mod malformed;
#[path = "intake/mutations.rs"]
mod mutations;
#[path = "intake/pipeline.rs"]
mod pipeline;
#[path = "intake/sample.rs"]
mod sample;
