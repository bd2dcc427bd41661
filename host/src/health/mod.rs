//! How plugins are, and how the host knows. What lives here:
//!
//! * [`policy`]: the numbers; [`evaluate`]: what all evidence together says (pure); [`flap`]: what changes too often;
//! * [`record`]: what is written down of it: spans of one state, results, sums of a minute;
//!
//! Nothing here changes an instance's life: that is the supervisor's.

pub mod evaluate;
pub mod flap;
pub mod policy;
pub mod record;

/// A moment of the monotonic clock, as decisions take it.
pub use crate::clock::Monotonic as Moment;
