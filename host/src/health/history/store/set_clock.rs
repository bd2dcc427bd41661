//! What becomes of spans when the wall clock is set. No span may lie in the future, none may claim time that never was, and none may
//! lose time that was.
//!
//! * Set back: the clock was ahead, and since when is not known: the spans that it told of since the host began, or since it last
//!   leapt ahead, move back with it. Where they would reach into an earlier host's time, that stands.
//! * Set ahead, as after a sleep of the machine: what lies between was not observed, so spans that go on end there and begin anew.

use super::spans::OpenSpans;
use super::time;
use crate::health::record::ClockStep;
use rusqlite::{Connection, Transaction};

/// The newest span that is older than what the clock tells of in one go.
pub(super) fn newest(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT coalesce(max(id), 0) FROM state_span", [], |row| {
        row.get(0)
    })
}

/// Moves what has to be moved. `since` is the newest span of before that the clock may have been another.
pub(super) fn set_clock(
    transaction: &Transaction<'_>,
    step: ClockStep,
    since: &mut i64,
    spans: &mut OpenSpans,
) -> rusqlite::Result<()> {
    if step.by_ms < 0 {
        back(transaction, step.by_ms, *since)?;
    } else {
        let before = newest(transaction)?;
        ahead(transaction, step, spans)?;
        *since = before;
    }
    *spans = OpenSpans::read(transaction)?;
    Ok(())
}

fn back(transaction: &Transaction<'_>, by_ms: i64, since: i64) -> rusqlite::Result<()> {
    let mut touched = transaction
        .prepare_cached("SELECT DISTINCT instance FROM state_span WHERE id > ?1 OR to_ms IS NULL")?;
    let instances: Vec<u32> = touched
        .query_map([since], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut floor = transaction.prepare_cached(
        "SELECT coalesce(max(to_ms), 0) FROM state_span WHERE instance = ?1 AND id <= ?2 AND to_ms IS NOT NULL",
    )?;
    let mut shift = transaction.prepare_cached(
        "UPDATE state_span SET from_ms = max(from_ms + ?3, ?4), to_ms = max(to_ms + ?3, ?4)
         WHERE instance = ?1 AND (id > ?2 OR to_ms IS NULL)",
    )?;
    for instance in instances {
        let floor: i64 = floor.query_row((instance, since), |row| row.get(0))?;
        shift.execute((instance, since, by_ms, floor))?;
    }
    Ok(())
}

fn ahead(transaction: &Transaction<'_>, step: ClockStep, spans: &OpenSpans) -> rusqlite::Result<()> {
    let left = time::stored(step.to_unix_ms.saturating_add_signed(-step.by_ms));
    let to = time::stored(step.to_unix_ms);
    // One that was held where an earlier one ends, while the clock showed less, is told of from here on.
    let mut end = transaction
        .prepare_cached("UPDATE state_span SET to_ms = max(from_ms, ?2) WHERE id = ?1 AND from_ms < ?3")?;
    let mut anew = transaction.prepare_cached(
        "INSERT INTO state_span (instance, from_ms, lifecycle, health, cause, cause_of, left_out, text)
         SELECT instance, ?2, lifecycle, health, cause, cause_of, left_out, text FROM state_span WHERE id = ?1",
    )?;
    for row in spans.rows() {
        // One that begins later was told by the clock as it is now.
        if end.execute((row, left, to))? == 1 {
            anew.execute((row, to))?;
        }
    }
    Ok(())
}
