//! The only part of the host that runs plugin code.

pub mod instance;
pub mod lanes;
pub mod loader;
pub mod module;
mod ticket;
pub mod vetting;
