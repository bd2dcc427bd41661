//! What can be said of an instance from what was written down of it. Every file here is pure: it takes plain series, and the
//! moment or the range that is asked about, and gives back a result that can be serialised.
//!
//! * [`timeline`]: spans as they were, clipped and without overlaps; outages;
//! * [`flapping`]: whether the state changes too often to be believed;
//! * [`statistics`]: medians and tails of distributions;
//! * [`trend`]: slopes and whether they are more than chance; [`leak`]: a heap that only grows;
//! * [`drift`]: latency or heap against the version before, with the charts in [`charts`];
//! * [`errors`]: which kinds of failure matter;
//! * [`patterns`]: failures together, at a regular interval, after load.
//!
//! Inputs are bounded: each function says what it keeps of a longer one. No result holds a NaN or an infinite number. Where too
//! little is known, a result is absent or says what is missing. Reading the history and deciding on alerts are not done here.

pub mod charts;
pub mod drift;
pub mod errors;
pub mod flapping;
pub mod leak;
pub mod patterns;
pub mod statistics;
pub mod timeline;
pub mod trend;

/// A figure at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Sample {
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The figure, in the unit of its series.
    pub value: u64,
}
