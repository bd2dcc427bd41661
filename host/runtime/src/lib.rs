//! The only part of the host that runs plugin code.
//!
//! Written for Linux on x86_64. What is particular to the processor: the registers in `crash::handler`, the float mode in
//! `process_guard::thread_state`, and a prefetch in `loader::plugin_instance`.

pub mod crash;
mod deadlines;
pub mod durable;
mod free_numbers;
pub mod instance;
pub mod lanes;
pub mod loader;
pub mod module;
mod pending_call;
pub mod process_guard;
pub mod registry;
pub mod supervisor;
mod sync;
mod token_bucket;
pub mod vetting;
