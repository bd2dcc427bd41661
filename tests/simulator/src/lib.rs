//! Plugins of which the truth is known, on a clock that is moved by hand: is what is said of them true, and how soon? Pure.
//!
//! ```text
//!   world      the host's pauses        nature     how a plugin is while it is well, and its heap
//!   fault      what befalls it          plugin     all of that, asked and called by the engine's rules
//!   drive      wheel and monitors, event by event, as the engine drives them; deep: deep checks and their quota, kept over restarts
//!   judge      what is said against what is true, within `bounds` ──▶ report
//!   update     apart from all that: updates to the same build and to worse ones, rolled out and judged
//! ```
//!
//! Each plugin's chance comes from the seed and its number alone, and plugins share nothing but the world: so a shard can be run by
//! anybody, and one plugin by itself goes the same way as among all.
//!
//! What is simulated is the part that decides: monitor and wheel, the whole. Threads, lanes and the engine's locks are not.

mod bounds;
mod deep;
mod drive;
mod fault;
mod heap;
mod instance;
mod judge;
mod nature;
mod plugin;
mod random;
mod report;
mod summary;
mod systems;
mod update;
mod world;

pub use drive::run_shard;
pub use fault::{Fault, KINDS, Kind};
pub use report::{Report, Tally, Violation, Wrong};
pub use summary::{KindSummary, Summary};
pub use update::{End, Ends, Regression, update};
pub use world::{Pause, World};

use extman_health::policy::Policy;

/// Simulated nanoseconds since the beginning.
pub type Time = u64;

/// One second.
pub const SECOND: Time = 1_000_000_000;
/// One minute.
pub const MINUTE: Time = 60 * SECOND;
/// One hour.
pub const HOUR: Time = 60 * MINUTE;
/// One day.
pub const DAY: Time = 24 * HOUR;

/// Plugins that share a wheel. However many threads there are, this stays.
pub const SHARD: u32 = 64;

/// What is to be simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Where all chance comes from.
    pub seed: u64,
    /// How many plugins.
    pub plugins: u32,
    /// For how long.
    pub length: Time,
    /// By which numbers they are asked and judged.
    pub policy: Policy,
    /// Nothing befalls them: noise alone.
    pub healthy: bool,
    /// Only this one, with its events.
    pub only: Option<u32>,
}

impl Scenario {
    /// So many plugins for so long, by the default policy.
    pub fn new(seed: u64, plugins: u32, length: Time) -> Self {
        Scenario {
            seed,
            plugins,
            length,
            policy: Policy::default(),
            healthy: false,
            only: None,
        }
    }

    /// How many shards there are to run.
    pub fn shards(&self) -> u32 {
        self.plugins.div_ceil(SHARD)
    }

    /// The host that they share.
    pub fn world(&self) -> World {
        World::new(self.seed, self.length)
    }

    /// All shards, one after the other.
    pub fn run(&self) -> Report {
        let world = self.world();
        let mut report = Report::default();
        for shard in 0..self.shards() {
            report.add(run_shard(self, &world, shard));
        }
        report
    }
}

#[cfg(test)]
mod tests;
