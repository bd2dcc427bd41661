//! What the tests of the whole host share: plugins that are built for them, a host to put them in, and waiting without sleeping
//! for a fixed time. The tests themselves are in `tests/`.

#![forbid(unsafe_code)]

pub mod bench;
pub mod beside;
pub mod build;
pub mod late;
pub mod published;
pub mod scenario;
pub mod served;
pub mod until;

pub use bench::{Bench, Heard, call};
pub use until::{until, until_async};
