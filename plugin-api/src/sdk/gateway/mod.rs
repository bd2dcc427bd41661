//! The boundary: the functions that the host calls.
//!
//! Each does the same four things: check the pointers, refuse if the instance has panicked before, run the author's code
//! under a catch, and turn the result into a status and a text. No panic leaves it, not even one out of the drop of a panic's
//! payload. All of the SDK's unsafe code is in this folder, but for the allocator's.
#![allow(unsafe_code)]

mod entry;
mod guard;
pub mod host;
pub mod incoming;
mod outgoing;
mod root;
mod submit;
mod tables;

pub use root::{ROOT_SYMBOL, constructed, prefix, root};
pub use tables::{Export, async_table, capability_table, extension, health_table, lifecycle_table, module};
