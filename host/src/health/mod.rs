//! How plugins are, and how the host knows. What lives here:
//!
//! * [`policy`]: the numbers; [`schedule`]: when instances are asked (pure);
//! * [`evaluate`]: what all evidence together says (pure); [`flap`]: what changes too often;
//! * [`course`]: both together, for one instance (pure);
//! * [`aggregate`]: from each to the whole, and its sentence (pure);
//! * [`record`]: what is written down of it: spans of one state, results, sums of a minute;
//! * [`simulate`]: whether all that is true, on plugins whose truth is known (pure).
//!
//! Nothing here changes an instance's life: that is the supervisor's.

pub mod aggregate;
pub mod course;
pub mod evaluate;
pub mod flap;
pub mod policy;
pub mod record;
pub mod schedule;
pub mod simulate;

/// A moment of the monotonic clock, as decisions take it.
pub use crate::clock::Monotonic as Moment;
