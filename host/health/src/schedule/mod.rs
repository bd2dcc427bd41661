//! When instances are asked, and how long they have for an answer. Pure.

mod cadence;
mod round_trip;
mod wheel;

pub use cadence::{GATHERED, INTERVAL_MIN, Situation, gathered, interval, jittered, phase, seed};
pub use round_trip::RoundTrip;
pub use wheel::{Tick, Wheel};
