//! Stretches of time and the numbers that they have in the file.

use extman_model::history::Resolution;

/// The year 9999: what claims to be later is written down as this.
const LATEST_MS: u64 = 253_402_300_799_999;
pub(super) const MINUTE_MS: u64 = 60_000;
pub(super) const HOUR_MS: u64 = 60 * MINUTE_MS;
pub(super) const DAY_MS: u64 = 24 * HOUR_MS;

/// How a resolution is stored.
pub(super) trait Stored {
    /// Length of what stands in one row.
    fn row_ms(self) -> u64;
    /// The table that holds the rows.
    fn table(self) -> &'static str;
}

impl Stored for Resolution {
    fn row_ms(self) -> u64 {
        match self {
            Resolution::Minute => HOUR_MS,
            Resolution::Hour => DAY_MS,
            Resolution::Day => 32 * DAY_MS,
        }
    }

    fn table(self) -> &'static str {
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
