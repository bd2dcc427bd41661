//! How plugins are, and how the host knows. What lives here:
//!
//! * [`policy`]: the numbers; [`schedule`]: when instances are asked (pure);
//! * [`evaluate`]: what all evidence together says (pure);
//! * [`course`]: both together, for one instance (pure);
//! * [`aggregate`]: from each to the whole, and its sentence (pure);
//! * [`components`]: how the host's own parts are (pure);
//! * [`deep`]: synthetic requests, on a budget;
//! * [`engine`]: who is asked, by whom, and who hears of it;
//! * [`record`]: what is written down of it: spans of one state, results, sums of a minute;
//! * [`history`]: where it is written down, and read again;
//! * [`analysis`]: what can be said from that (pure);
//! * [`report`]: all of it as it is told to whoever asks (plain data);
//! * [`simulate`]: whether all that is true, on plugins whose truth is known (pure).
//!
//! Nothing here changes an instance's life: that is the supervisor's.

pub mod aggregate;
pub mod analysis;
pub mod components;
pub mod course;
pub mod deep;
pub mod engine;
pub mod evaluate;
pub mod history;
pub mod policy;
pub mod record;
pub mod report;
pub mod schedule;
pub mod simulate;

/// A moment of the monotonic clock, as decisions take it, and durations as they reckon with them.
pub use crate::clock::{Monotonic as Moment, nanos};
