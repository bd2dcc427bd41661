//! ExtManager as a library.

pub mod intake;
pub mod model;
