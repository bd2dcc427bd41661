//! Rollups as versions 1 and 2 wrote them, for the scripts that bring a file to version 3.

use super::rollup::{self, Precision, Row};
use extman_model::leb128::take;
use extman_model::record::Rollup;
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

/// Adds the functions that `migrate_v2_copy.sql` calls. Of what is malformed, the part before is kept, or nothing of a single rollup.
pub(super) fn add_functions(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("rollup_of_v2", 1, flags, |context| {
        let found = rollup(context.get_raw(0).as_blob()?);
        Ok(found.map(|rollup| rollup::encode([(0, &rollup)], Precision::Full)))
    })?;
    connection.create_scalar_function("row_of_v2", 1, flags, |context| {
        let row = row(context.get_raw(0).as_blob()?);
        Ok(rollup::encode(rollup::places(&row), Precision::ByCount))
    })
}

/// Each stretch with its place and length before it.
fn row(mut bytes: &[u8]) -> Row {
    let mut row = Row::new();
    while let (Some(place), Some(sums)) = (take(&mut bytes), rollup::take_bytes(&mut bytes)) {
        if let Some(rollup) = rollup(sums) {
            rollup::add(&mut row, place, rollup);
        }
    }
    row
}

/// A bit for each of eight numbers, then for errors, latencies, heap and processor time.
fn rollup(mut bytes: &[u8]) -> Option<Rollup> {
    let bytes = &mut bytes;
    let has = take(bytes)?;
    let is_there = |bit: u32| has >> bit & 1 == 1;
    if has >> 12 != 0 {
        return None;
    }
    let mut numbers = [0; 8];
    for (bit, number) in (0..).zip(&mut numbers) {
        *number = if is_there(bit) { take(bytes)? } else { 0 };
    }
    let [up, degraded, down, unknown, left_out, checks, failed, calls] = numbers;
    let mut rollup = rollup::of_numbers(
        [
            checks, up, calls, 0, 0, 0, failed, degraded, down, unknown, left_out,
        ],
        false,
    )?;
    if is_there(8) {
        rollup.errors = rollup::take_errors(bytes)?;
    }
    if is_there(9) {
        rollup.latency = rollup::take_latency(bytes)?;
    }
    if is_there(10) {
        let least = take(bytes)?;
        rollup.heap_bytes = Some((least, least.saturating_add(take(bytes)?)));
    }
    if is_there(11) {
        rollup.cpu_ns = Some(take(bytes)?);
    }
    Some(rollup)
}
