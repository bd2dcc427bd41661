//! ExtManager as a library.

#![deny(unsafe_code)]

pub mod clock;
pub mod control;
pub mod model;
pub mod runtime;
