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
//! A deadline is the caller's affair: it is answered, and the lane goes on. Only `wedge_after` later does the watchdog
//! declare the lane lost. Before a library is closed, every lane that ran its code is replaced and joined. Nothing here
//! knows what a call means.

mod attached;
mod cpu;
mod gate;
mod job;
mod joining;
mod lane;
mod pool;
mod rounds;
mod tally;
mod watchdog;

pub use attached::{Attached, AttachedThreads};
pub use gate::{Gate, Pass};
pub use lane::{LaneObserver, Phase, Work, lost_lanes};
pub use pool::{Pool, PoolLimits, Refused};
pub use rounds::{RoundLanes, Rounds, Station};
pub use tally::Tally;
pub use watchdog::{looked_at, stood_still};
