//! Stretches of time and the numbers that they have in the file.

use extman_model::history::Resolution;

/// The end of the year 5999, whose minutes' [`slot`]s SQLite still holds: what claims to be later is written down as this.
const LATEST_MS: u64 = 127_174_492_799_999;
pub(super) const MINUTE_MS: u64 = 60_000;
const _: () = assert!(LATEST_MS / MINUTE_MS + 1 < 1 << 31);
pub(super) const HOUR_MS: u64 = 60 * MINUTE_MS;
pub(super) const DAY_MS: u64 = 24 * HOUR_MS;

/// The table that holds the rollups of a resolution, and the length of what stands in one of its rows.
pub(super) fn table(resolution: Resolution) -> (&'static str, u64) {
    match resolution {
        Resolution::Minute => ("rollup_minute", HOUR_MS),
        Resolution::Hour => ("rollup_hour", DAY_MS),
        Resolution::Day => ("rollup_day", 32 * DAY_MS),
    }
}

/// A moment that SQLite holds, and that any of the file's numbers can be made of.
pub(super) fn bounded(unix_ms: u64) -> u64 {
    unix_ms.min(LATEST_MS)
}

/// Where a row of an instance stands. Its longer stretch goes first, so rows come in the order of time.
pub(super) fn slot(row: u64, instance: u32) -> u64 {
    row << 32 | u64::from(instance)
}
