//! ExtManager as a library.

pub mod model;
