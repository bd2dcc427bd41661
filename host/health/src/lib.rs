//! Decides how plugins are. Everything here is pure: it takes the time and the evidence, and returns decisions; it reads no clock, starts
//! no thread and does no I/O.
//!
//! * [`policy`]: the numbers by which an instance is checked and judged;
//! * [`monitor`]: the state machine of one instance: evidence in, a verdict and the next check out;
//! * [`wheel`]: which of many instances are due;
//! * [`aggregate`]: from each to the whole, and its sentence;
//! * [`components`]: how the host's own parts are;
//! * [`deep`]: the quota of synthetic requests;
//! * [`breaker`]: whether calls go to a candidate that has failed;
//! * [`judge`]: whether a new version of a plugin is worse than the one before it;
//! * [`rollout`]: the steps by which it takes that one's place, and the way back;
//! * [`analysis`]: what can be said from the history.
//!
//! Who asks plugins, and when, is in the `extman` crate; what is written down, in `extman-history`.
#![forbid(unsafe_code)]

pub mod aggregate;
pub mod analysis;
pub mod breaker;
pub mod components;
pub mod deep;
pub mod judge;
pub mod monitor;
pub mod policy;
pub mod rollout;
pub mod wheel;

/// A moment of the monotonic clock, as decisions take it, and durations as they reckon with them.
pub use extman_model::clock::{Monotonic as Moment, nanos};
