//! The only part of the host that runs plugin code.

pub mod crash;
mod deadlines;
pub mod durable;
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
