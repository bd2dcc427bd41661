//! The only part of the host that runs plugin code.

pub mod lanes;
pub mod loader;
