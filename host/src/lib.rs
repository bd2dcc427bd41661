//! ExtManager as a library.

#![deny(unsafe_code)]

pub mod clock;
pub mod control;
pub mod intake;
pub mod model;
pub mod runtime;
