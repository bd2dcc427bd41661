//! The words that the runtime's threads share, in all orders of their steps: each module is the runtime's own source, made of a model's
//! atomics.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release -p extman-loom --target-dir target/loom
//! ```
#![cfg(loom)]
#![allow(dead_code, reason = "what no order of steps depends on is not called here")]

#[path = "../../../host/runtime/src/process_guard/activity.rs"]
mod activity;
#[path = "../../../host/runtime/src/loader/call_words.rs"]
mod call_words;
#[path = "../../../host/runtime/src/lanes/concurrency.rs"]
mod concurrency;
#[path = "../../../host/runtime/src/lanes/occupancy.rs"]
mod occupancy;
#[path = "../../../host/runtime/src/loader/stop.rs"]
mod stop;

#[cfg(test)]
mod calls;
#[cfg(test)]
mod entering;
#[cfg(test)]
mod lanes;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod nested;
mod sync;
