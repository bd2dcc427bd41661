//! How plugins are, and how the host knows. What lives here:
//!
//! * [`record`]: what is written down of it: spans of one state, results, sums of a minute;
//! * [`analysis`]: what can be said from that; pure;
//!
//! Nothing here changes an instance's life: that is the supervisor's.

pub mod analysis;
pub mod record;
