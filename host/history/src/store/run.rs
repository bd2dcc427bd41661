//! Stretches in which one host observed by one clock: rows of `host_run`. A host that begins and a wall clock that is set each begin one.
//!
//! Rows are never moved when the clock is set. Every span and rollup names its run, and where two runs overlap the later
//! one counts: the earlier one is cut where the later one began. So a clock that was ahead costs the time that it was ahead, and a file
//! with future rows holds up nothing: they are there until that time comes and somebody sees how it really is.

use crate::time;
use rusqlite::{Connection, OptionalExtension, Transaction};

/// An earlier host that is ahead by less may have been stopped a moment ago.
const AHEAD_MIN_MS: u64 = 2_000;

/// The stretch that is under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    id: i64,
    from_ms: u64,
    /// An earlier run has rows of later times.
    is_contested: bool,
}

impl Run {
    /// A host begins. If an earlier one has future rows, it is noted by how much.
    pub(super) fn first(transaction: &Transaction<'_>, now_ms: u64) -> rusqlite::Result<Run> {
        let latest: Option<i64> =
            transaction.query_row("SELECT max(alive_ms) FROM host_run", [], |row| row.get(0))?;
        let ahead_ms = latest.map_or(0, time::moment).saturating_sub(now_ms);
        if ahead_ms >= AHEAD_MIN_MS {
            note_step(
                transaction,
                now_ms,
                -i64::try_from(ahead_ms).unwrap_or(i64::MAX),
                true,
            )?;
            tracing::warn!(
                ahead_ms,
                "the history has future rows: the clock was ahead when an earlier host wrote it, or is behind now; \
                 what this host sees takes its place"
            );
        }
        Run::begin(transaction, now_ms)
    }

    pub(super) fn begin(transaction: &Transaction<'_>, from_ms: u64) -> rusqlite::Result<Run> {
        let from = time::stored(from_ms);
        transaction.execute("INSERT INTO host_run (from_ms, alive_ms) VALUES (?1, ?1)", [from])?;
        let id = transaction.last_insert_rowid();
        let mut contested =
            transaction.prepare_cached("SELECT 1 FROM host_run WHERE id < ?1 AND alive_ms > ?2 LIMIT 1")?;
        let is_contested = contested.exists([id, from])?;
        let run = Run {
            id,
            from_ms,
            is_contested,
        };
        run.advance(transaction, from_ms)?;
        Ok(run)
    }

    pub(super) fn id(&self) -> i64 {
        self.id
    }

    /// The host lives, and has come to that moment: where earlier runs overlap this one, they are cut.
    pub(super) fn advance(&self, transaction: &Transaction<'_>, now_ms: u64) -> rusqlite::Result<()> {
        let (from, now) = (time::stored(self.from_ms), time::stored(now_ms));
        transaction
            .prepare_cached("UPDATE host_run SET alive_ms = max(alive_ms, ?1) WHERE id = ?2")?
            .execute([now, self.id])?;
        if self.is_contested {
            transaction
                .prepare_cached(
                    "UPDATE host_run SET cut_ms = ?1 WHERE id < ?2 AND alive_ms > ?1 AND from_ms < ?3
                     AND coalesce(cut_ms > ?1, 1)",
                )?
                .execute([from, self.id, now])?;
        }
        Ok(())
    }
}

pub(super) fn note_step(
    transaction: &Transaction<'_>,
    at_ms: u64,
    by_ms: i64,
    found: bool,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO clock_step (at_ms, by_ms, found) VALUES (?1, ?2, ?3)")?
        .execute((time::stored(at_ms), by_ms, found))?;
    Ok(())
}

/// From when on the rows of a run do not count.
pub(super) fn cut_ms(connection: &Connection, run: i64) -> rusqlite::Result<Option<u64>> {
    let cut: Option<Option<i64>> = connection
        .prepare_cached("SELECT cut_ms FROM host_run WHERE id = ?1")?
        .query_row([run], |row| row.get(0))
        .optional()?;
    Ok(cut.flatten().map(time::moment))
}

/// Whether a run's row of a stretch that begins then counts.
pub(super) fn counts(connection: &Connection, run: i64, from_ms: u64) -> rusqlite::Result<bool> {
    Ok(cut_ms(connection, run)?.is_none_or(|cut_ms| from_ms < cut_ms))
}
