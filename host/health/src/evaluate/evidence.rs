//! What is learned of an instance. Pure.

use extman_model::record::ResultWord;
use extman_model::{Health, Lifecycle};

/// Something that was learned of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// Where it is in its life, and which generation of it.
    Life {
        /// The state.
        state: Lifecycle,
        /// Which load of its library; results of another one say nothing any more.
        generation: u64,
    },
    /// A check has ended.
    Checked {
        /// The generation that was asked.
        generation: u64,
        /// What came of it.
        result: ResultWord,
    },
    /// It tells of itself without being asked.
    Told {
        /// The generation that speaks.
        generation: u64,
        /// What it says.
        health: Health,
    },
    /// Calls since the last such evidence.
    Called {
        /// The generation that was called.
        generation: u64,
        /// Calls that succeeded.
        succeeded: u32,
        /// Calls that failed and count against it.
        failed: u32,
        /// Whether this ends a window.
        window_ends: bool,
    },
    /// A deep check has ended.
    Deep {
        /// The generation that was asked.
        generation: u64,
        /// What came of it.
        result: ResultWord,
    },
    /// It tells how much heap it has in use, and the most that it means to use.
    Heap {
        /// The generation that speaks.
        generation: u64,
        /// In use, in bytes.
        bytes: u64,
        /// The most, in bytes.
        limit: u64,
    },
    /// Nothing but time has passed.
    Waited {
        /// How often a result is due now.
        interval: std::time::Duration,
    },
    /// The host did not run in time.
    Starved,
    /// An operator begins or ends work on it.
    Maintenance(bool),
}
