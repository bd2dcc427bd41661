//! Plain data that every part of the host speaks: no I/O, no clock, nothing of the other modules.

mod digest;

pub use digest::Digest;
