//! How plugins are, and how the host knows. What lives here:
//!
//! * [`record`]: what is written down of it: spans of one state, results, sums of a minute;
//! * [`history`]: where it is written down, and read again;
//!
//! Nothing here changes an instance's life: that is the supervisor's.

pub mod history;
pub mod record;
