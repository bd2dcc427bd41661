//! Stretches of time and the numbers that they have in the file.

use serde::{Deserialize, Serialize};

/// The year 9999: what claims to be later is written down as this.
const LATEST_MS: u64 = 253_402_300_799_999;
pub(super) const MINUTE_MS: u64 = 60_000;
pub(super) const HOUR_MS: u64 = 60 * MINUTE_MS;
pub(super) const DAY_MS: u64 = 24 * HOUR_MS;
/// Single results of an instance stand together for so long.
pub(super) const RESULTS_MS: u64 = 10 * MINUTE_MS;

/// How fine sums are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// A minute each.
    Minute,
    /// An hour each.
    Hour,
    /// A day each.
    Day,
}

impl Resolution {
    /// From the finest.
    pub const ALL: [Resolution; 3] = [Resolution::Minute, Resolution::Hour, Resolution::Day];

    /// Length of a stretch, in milliseconds.
    pub fn len_ms(self) -> u64 {
        match self {
            Resolution::Minute => MINUTE_MS,
            Resolution::Hour => HOUR_MS,
            Resolution::Day => DAY_MS,
        }
    }

    /// Length of what stands in one row.
    pub(super) fn row_ms(self) -> u64 {
        match self {
            Resolution::Minute => HOUR_MS,
            Resolution::Hour => DAY_MS,
            Resolution::Day => 32 * DAY_MS,
        }
    }

    pub(super) fn table(self) -> &'static str {
        match self {
            Resolution::Minute => "rollup_minute",
            Resolution::Hour => "rollup_hour",
            Resolution::Day => "rollup_day",
        }
    }
}

/// A moment as a number that SQLite holds.
pub(super) fn stored(unix_ms: u64) -> i64 {
    unix_ms.min(LATEST_MS) as i64
}

/// A moment that any of the file's numbers can be made of.
pub(super) fn bounded(unix_ms: u64) -> u64 {
    unix_ms.min(LATEST_MS)
}

/// A moment as it was before it was stored.
pub(super) fn moment(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

/// Where a row of an instance stands. Its longer stretch goes first, so rows come in the order of time.
pub(super) fn slot(row: u64, instance: u32) -> i64 {
    (row << 32 | u64::from(instance)) as i64
}

/// The longer stretch of a slot.
pub(super) fn row_of(slot: i64) -> u64 {
    slot as u64 >> 32
}
