//! What becomes of what is written down when the wall clock is set. No span may lie in the future, none may claim time that never was, and
//! none may lose time that was; the sums of minutes go with the spans.
//!
//! * Set back: the clock was ahead, and since when is not known: all that it told of since the host began, or since it last
//!   leapt ahead, moves back with it: spans, deep checks, versions, and minutes by whole minutes. Where spans would reach into an earlier host's
//!   time, that stands. Minutes that are too many to be moved stay, also where sums of hours
//!   would have to be made anew without theirs, and it is noted that they did. Single results stay.
//! * Set ahead, as after a sleep of the machine: what lies between was not observed, so spans that go on end there and begin anew.

use super::claims::Claims;
use super::minutes;
use super::spans::OpenSpans;
use super::time::{self, MINUTE_MS};
use extman_model::record::ClockStep;
use rusqlite::{Connection, Transaction};

/// What is known of the clock that tells of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// The newest rows of before it may have been another.
    span: i64,
    deep: i64,
    release: i64,
    /// Since then, as it shows.
    from_ms: u64,
    /// It was set: no moment is later than it shows.
    pub(super) was_set: bool,
    /// What an earlier host has told of times that have not come.
    pub(super) claims: Option<Claims>,
}

impl Clock {
    /// A host begins, or a clock that leapt ahead goes on.
    pub(super) fn begin(connection: &Connection, now_ms: u64) -> rusqlite::Result<Clock> {
        let newest = |table: &str| {
            let sql = format!("SELECT coalesce(max(id), 0) FROM {table}");
            connection.query_row(&sql, [], |row| row.get(0))
        };
        Ok(Clock {
            span: newest("state_span")?,
            deep: newest("deep_check")?,
            release: newest("release")?,
            from_ms: now_ms,
            was_set: false,
            claims: None,
        })
    }

    /// Moves what has to be moved.
    pub(super) fn set(
        &mut self,
        transaction: &Transaction<'_>,
        step: ClockStep,
        spans: &mut OpenSpans,
    ) -> rusqlite::Result<()> {
        let mut moved = true;
        if step.by_ms < 0 {
            moved = self.back(transaction, step)?;
        } else {
            let left_ms = step.to_unix_ms.saturating_add_signed(-step.by_ms);
            if let Some(claims) = self.claims.take() {
                self.claims = claims.leap(transaction, left_ms, step.to_unix_ms)?;
            }
            let before = Clock::begin(transaction, step.to_unix_ms)?;
            ahead(transaction, step, spans)?;
            *self = Clock {
                claims: self.claims,
                ..before
            };
        }
        self.was_set = true;
        transaction
            .prepare_cached("INSERT INTO clock_step (at_ms, by_ms, found, moved) VALUES (?1, ?2, 0, ?3)")?
            .execute((time::stored(step.to_unix_ms), step.by_ms, moved))?;
        *spans = OpenSpans::read(transaction)?;
        Ok(())
    }

    fn back(&mut self, transaction: &Transaction<'_>, step: ClockStep) -> rusqlite::Result<bool> {
        if let Some(claims) = &mut self.claims {
            claims.back(step.to_unix_ms);
        }
        self.spans_back(transaction, step.by_ms)?;
        for (sql, since) in [
            (
                "UPDATE deep_check SET at_ms = max(at_ms + ?2, 0) WHERE id > ?1",
                self.deep,
            ),
            (
                "UPDATE release SET at_ms = max(at_ms + ?2, 0) WHERE id > ?1",
                self.release,
            ),
        ] {
            transaction.prepare_cached(sql)?.execute((since, step.by_ms))?;
        }
        let shown_ms = step.to_unix_ms.saturating_add_signed(-step.by_ms);
        let minutes = self.from_ms / MINUTE_MS..=shown_ms / MINUTE_MS;
        // To the nearest: half a minute is as near as minutes can be.
        let half = MINUTE_MS as i64 / 2;
        let by = (step.by_ms - half) / MINUTE_MS as i64;
        self.from_ms = self.from_ms.saturating_add_signed(step.by_ms);
        minutes::shift(transaction, minutes, by, step.to_unix_ms / MINUTE_MS)
    }

    fn spans_back(&self, transaction: &Transaction<'_>, by_ms: i64) -> rusqlite::Result<()> {
        let since = self.span;
        let (claimed, claimed_from) = Claims::limits(self.claims.as_ref());
        let mut touched = transaction
            .prepare_cached("SELECT DISTINCT instance FROM state_span WHERE id > ?1 OR to_ms IS NULL")?;
        let instances: Vec<u32> = touched
            .query_map([since], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let mut floor = transaction.prepare_cached(
            "SELECT coalesce(max(to_ms), 0) FROM state_span WHERE instance = ?1 AND id <= ?2 AND to_ms IS NOT NULL
             AND (id > ?3 OR to_ms <= ?4)",
        )?;
        let mut shift = transaction.prepare_cached(
            "UPDATE state_span SET from_ms = max(from_ms + ?3, ?4), to_ms = max(to_ms + ?3, ?4)
             WHERE instance = ?1 AND (id > ?2 OR to_ms IS NULL)",
        )?;
        for instance in instances {
            let floor: i64 = floor.query_row((instance, since, claimed, claimed_from), |row| row.get(0))?;
            shift.execute((instance, since, by_ms, floor))?;
        }
        Ok(())
    }
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
