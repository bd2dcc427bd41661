//! Lanes: threads of the host's own, and the only ones on which plugin code runs.
//!
//! ```text
//!            submit                    take                       return
//!   caller ─────────▶ queue (bounded) ──────▶ lane: runs inline ──────────▶ reply
//!                                               │ not back long after its deadline
//!                                               ▼
//!                                             lost: its instance is wedged, another lane takes its place
//! ```
//!
//! Every lane belongs to one library: its calls, its checks and its steps run on its lanes and on no other's. So a check that hangs
//! pins nobody else, what a plugin leaves of its thread's state reaches nobody else, and before a library is closed its own lanes
//! alone are joined. A deadline is the caller's affair: it is answered, and the lane goes on. Only `wedge_after` later does the
//! watchdog declare the lane lost. Nothing here knows what a call means.

mod attached;
mod call_counter;
mod concurrency;
mod cpu;
mod job;
mod joining;
mod lane;
mod occupancy;
mod pool;
mod watchdog;

pub use attached::{Attached, AttachedThreads};
pub use call_counter::CallCounter;
pub use concurrency::{ConcurrencyLimit, Permit};
pub use job::Priority;
pub use lane::{CheckBatch, LaneContext, LaneObserver, Phase, Work, lost_lanes};
pub use pool::{Pool, PoolLimits, Refused};
pub use watchdog::{looked_at, start as start_watchdog, stood_still};
