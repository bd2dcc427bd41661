//! Stretches in which one host observed by one clock: rows of `host_run`. A host that begins and a wall clock that is set each begin one.
//!
//! Rows are never moved when the clock is set. Every span and rollup names its run, and where two runs overlap the later
//! one counts: of spans, the earlier run's are cut where the later one began; of rollups, see `overlap.rs`. So a clock that was ahead costs the time that it was ahead, and a file
//! with future rows holds up nothing: they are there until that time comes and somebody sees how it really is.

use crate::sql::{execute, value};
use rusqlite::{Connection, Result, params};

/// An earlier host that is ahead by less may have been stopped a moment ago.
const AHEAD_MIN_MS: u64 = 2_000;

/// A host begins. If an earlier one has future rows, it is noted by how much.
pub(super) fn first(connection: &Connection, now_ms: u64) -> Result<i64> {
    let latest_ms = value(connection, "SELECT max(alive_ms) FROM host_run", [])?.unwrap_or(0);
    let ahead_ms = u64::saturating_sub(latest_ms, now_ms);
    if ahead_ms >= AHEAD_MIN_MS {
        note_step(connection, now_ms, -(ahead_ms as i64), true)?;
        tracing::warn!(
            ahead_ms,
            "the history has future rows: the clock was ahead when an earlier host wrote it, or is behind now; \
             what this host sees takes its place"
        );
    }
    begin(connection, now_ms)
}

pub(super) fn begin(connection: &Connection, from_ms: u64) -> Result<i64> {
    let sql = "INSERT INTO host_run (from_ms, alive_ms) VALUES (?1, ?1)";
    execute(connection, sql, [from_ms])?;
    let run = connection.last_insert_rowid();
    advance(connection, run, from_ms)?;
    Ok(run)
}

/// The host lives, and has come to that moment: where earlier runs overlap this one, they are cut.
pub(super) fn advance(connection: &Connection, run: i64, now_ms: u64) -> Result<()> {
    let alive = "UPDATE host_run SET alive_ms = max(alive_ms, ?1) WHERE id = ?2";
    execute(connection, alive, params![now_ms, run])?;
    let cut = "UPDATE host_run SET cut_ms = this.from_ms FROM (SELECT from_ms FROM host_run WHERE id = ?2) AS this
        WHERE id < ?2 AND alive_ms > this.from_ms AND host_run.from_ms < ?1 AND coalesce(cut_ms > this.from_ms, 1)";
    execute(connection, cut, params![now_ms, run])
}

pub(super) fn note_step(connection: &Connection, at_ms: u64, by_ms: i64, found: bool) -> Result<()> {
    let sql = "INSERT INTO clock_step (at_ms, by_ms, found) VALUES (?1, ?2, ?3)";
    execute(connection, sql, params![at_ms, by_ms, found])
}
