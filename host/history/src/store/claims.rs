//! What a file tells of a time that has not come: the clock was ahead when an earlier host wrote it, and was corrected while none ran. By how
//! much is not known, so nothing is moved. Nobody asks for times that have not come; when they do, what this host sees takes the
//! place of what was claimed of them.

use super::minutes;
use crate::time::{self, HOUR_MS, MINUTE_MS};
use rusqlite::{Transaction, params};

/// An earlier host that is ahead by less may have been stopped a moment ago.
const AHEAD_MIN_MS: u64 = 2_000;

/// What is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claims {
    /// Spans up to this one are an earlier host's.
    span: i64,
    /// Since then this host looks.
    since_ms: u64,
    /// Until then something is claimed.
    until_ms: u64,
    /// Minutes up to this one are this host's.
    minute: u64,
}

impl Claims {
    /// What an earlier host has told of times after `now_ms`, if anything. It is noted that the clock was found behind it.
    pub(super) fn find(transaction: &Transaction<'_>, now_ms: u64) -> rusqlite::Result<Option<Claims>> {
        let most = |sql: &str| -> rusqlite::Result<i64> {
            let found: Option<i64> = transaction.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
            Ok(found.unwrap_or(0))
        };
        let spans = time::moment(most("SELECT max(to_ms) FROM state_span WHERE to_ms IS NOT NULL")?);
        let open = time::moment(most("SELECT max(minute) FROM minute_open")?).saturating_mul(MINUTE_MS);
        // An hour is folded when it has ended.
        let hours = match most("SELECT max(slot) FROM rollup_minute")? {
            0 => 0,
            slot => time::row_of(slot) + 1,
        };
        let folded = hours * HOUR_MS;
        let until_ms = spans.max(open).max(folded);
        if until_ms < now_ms.saturating_add(AHEAD_MIN_MS) {
            return Ok(None);
        }
        // One that reaches over now is its own until now.
        let now = time::stored(now_ms);
        transaction.execute(
            "INSERT INTO state_span (instance, from_ms, to_ms, lifecycle, health, cause, cause_of, left_out, cut, text)
             SELECT instance, ?1, to_ms, lifecycle, health, cause, cause_of, left_out, cut, text FROM state_span
             WHERE from_ms < ?1 AND to_ms > ?1",
            [now],
        )?;
        transaction.execute(
            "UPDATE state_span SET to_ms = ?1 WHERE from_ms < ?1 AND to_ms > ?1",
            [now],
        )?;
        let ahead_ms = i64::try_from(until_ms - now_ms).unwrap_or(i64::MAX);
        transaction.execute(
            "INSERT INTO clock_step (at_ms, by_ms, found, moved) VALUES (?1, ?2, 1, 0)",
            params![now, -ahead_ms],
        )?;
        tracing::warn!(
            ahead_ms,
            "the history tells of times that have not come: the clock was ahead when an earlier host wrote it, or is behind now; what \
             this host sees takes its place as time goes by"
        );
        let span = transaction.query_row("SELECT coalesce(max(id), 0) FROM state_span", [], |row| {
            row.get(0)
        })?;
        Ok(Some(Claims {
            span,
            since_ms: now_ms,
            until_ms,
            minute: now_ms / MINUTE_MS,
        }))
    }

    /// Time has come to `now_ms`. `None` once nothing is claimed of what is yet to come.
    pub(super) fn give_way(
        mut self,
        transaction: &Transaction<'_>,
        now_ms: u64,
    ) -> rusqlite::Result<Option<Claims>> {
        let (since, now) = (time::stored(self.since_ms), time::stored(now_ms));
        if now > since {
            transaction
                // What begins after a moment ends after it: said twice, so that the index of ends is of use.
                .prepare_cached(
                    "DELETE FROM state_span WHERE id <= ?1 AND from_ms >= ?2 AND to_ms >= ?2 AND to_ms <= ?3",
                )?
                .execute((self.span, since, now))?;
            transaction
                .prepare_cached(
                    "UPDATE state_span SET from_ms = ?3 WHERE id <= ?1 AND from_ms >= ?2 AND from_ms < ?3 AND to_ms > ?3",
                )?
                .execute((self.span, since, now))?;
        }
        let minute = now_ms / MINUTE_MS;
        if minute > self.minute {
            minutes::take(
                transaction,
                self.minute + 1..=minute.min(self.until_ms / MINUTE_MS + 1),
            )?;
            self.minute = minute;
        }
        Ok((now_ms < self.until_ms).then_some(self))
    }

    /// The clock was set ahead: from `left_ms` to `to_ms` this host saw nothing, and nobody's claims are the better ones.
    pub(super) fn leap(
        self,
        transaction: &Transaction<'_>,
        left_ms: u64,
        to_ms: u64,
    ) -> rusqlite::Result<Option<Claims>> {
        let Some(mut left) = self.give_way(transaction, left_ms)? else {
            return Ok(None);
        };
        transaction.execute(
            "UPDATE state_span SET to_ms = ?2 WHERE id <= ?1 AND from_ms < ?2 AND to_ms > ?2",
            (left.span, time::stored(to_ms)),
        )?;
        (left.since_ms, left.minute) = (to_ms, to_ms / MINUTE_MS);
        Ok((to_ms < left.until_ms).then_some(left))
    }

    /// The clock was set back.
    pub(super) fn back(&mut self, to_ms: u64) {
        self.since_ms = self.since_ms.min(to_ms);
        self.minute = self.minute.min(to_ms / MINUTE_MS);
    }

    /// Spans up to this one that end after that moment are claims.
    pub(super) fn limits(this: Option<&Claims>) -> (i64, i64) {
        this.map_or((0, i64::MAX), |claims| {
            (claims.span, time::stored(claims.since_ms))
        })
    }
}
