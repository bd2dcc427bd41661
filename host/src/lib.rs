//! ExtManager as a library.

#![deny(unsafe_code)]

pub mod clock;
pub mod control;
#[cfg(feature = "http")]
pub mod http;
pub mod intake;
pub mod model;
pub mod runtime;
