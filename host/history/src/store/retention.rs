//! What is old goes, and what is oldest goes first when the file would grow too large. Every step is bounded and a transaction of
//! its own, so nobody waits long.

use super::Store;
use crate::config::{HistoryConfig, Retention};
use crate::time::{self, Stored};
use extman_model::history::Resolution;
use extman_model::history::{Kept, Trimmed};

/// Rows that go in one transaction.
const ROWS_AT_ONCE: i64 = 2000;
/// Pages that are given back at once.
const PAGES_AT_ONCE: i64 = 512;

/// How much is kept.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) retention: Retention,
    pub(crate) size_max: u64,
}

impl Limits {
    pub(crate) fn of(config: &HistoryConfig) -> Self {
        Limits {
            retention: config.retention.clone(),
            size_max: config.size_max(),
        }
    }
}

impl Store {
    /// Removes a bounded part of what is older than it is to be kept; whether there may be more.
    pub(crate) fn expire(&mut self, keep: &Retention, now_ms: u64) -> rusqlite::Result<bool> {
        let before = |kept_ms: u64| time::bounded(now_ms).saturating_sub(kept_ms);
        let rows = |resolution: Resolution, kept_ms| {
            let slot = time::slot(before(kept_ms) / resolution.row_ms(), 0);
            (resolution.table(), slot)
        };
        let mut more = false;
        for (table, slot) in [
            rows(Resolution::Minute, keep.minute_ms()),
            rows(Resolution::Hour, keep.hour_ms()),
            rows(Resolution::Day, keep.day_ms()),
        ] {
            more |= self.remove(&first_slots(table, "slot < ?2"), slot)? >= ROWS_AT_ONCE as u64;
        }
        for (deep, kept_ms) in [(false, keep.result_ms()), (true, keep.hour_ms())] {
            more |= self.remove(&checks(deep), time::stored(before(kept_ms)))? >= ROWS_AT_ONCE as u64;
        }
        let before = time::stored(before(keep.span_ms()));
        for sql in [
            SPANS,
            "DELETE FROM release WHERE id IN (SELECT id FROM release WHERE at_ms < ?2 AND EXISTS
             (SELECT 1 FROM release AS newer WHERE newer.instance = release.instance AND newer.at_ms > release.at_ms)
             LIMIT ?1)",
            "DELETE FROM clock_step WHERE id IN (SELECT id FROM clock_step WHERE at_ms < ?2 LIMIT ?1)",
            "DELETE FROM host_run WHERE id IN (SELECT id FROM host_run WHERE alive_ms < ?2 LIMIT ?1)
             AND id < (SELECT max(id) FROM host_run)",
        ] {
            more |= self.remove(sql, before)? >= ROWS_AT_ONCE as u64;
        }
        Ok(more)
    }

    /// If the file holds more than it may: the first rows of what goes first.
    pub(crate) fn trim(&mut self, size_max: u64) -> rusqlite::Result<Option<Trimmed>> {
        let (pages, free, page_size) = self.pages()?;
        if (pages - free).saturating_mul(page_size) <= size_max {
            return Ok(None);
        }
        let open_minutes = "DELETE FROM minute_open WHERE (minute, instance) IN
            (SELECT minute, instance FROM minute_open WHERE minute < ?2 ORDER BY minute, instance LIMIT ?1)";
        for (what, sql) in [
            (Kept::Results, checks(false)),
            (Kept::Results, checks(true)),
            (Kept::Minutes, first_slots("rollup_minute", "slot < ?2")),
            (Kept::Minutes, open_minutes.to_owned()),
            (Kept::Hours, first_slots("rollup_hour", "slot < ?2")),
            (Kept::Days, first_slots("rollup_day", "slot < ?2")),
            (Kept::Spans, SPANS.to_owned()),
        ] {
            let rows = self.remove(&sql, i64::MAX)?;
            if rows > 0 {
                return Ok(Some(Trimmed { what, rows }));
            }
        }
        Ok(None)
    }

    /// Gives some pages back to the file system if an eighth of them is free; whether there are more.
    pub(crate) fn shrink(&mut self) -> rusqlite::Result<bool> {
        let (pages, free, _) = self.pages()?;
        if free < 64 || free.saturating_mul(8) < pages {
            return Ok(false);
        }
        let mut statement = self
            .connection
            .prepare_cached(&format!("PRAGMA incremental_vacuum({PAGES_AT_ONCE})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        drop(rows);
        // Until then the file keeps its length.
        self.connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        Ok(true)
    }

    /// No file grows far over its limit, not even before something could be trimmed.
    pub(crate) fn wall(&self, size_max: u64) -> rusqlite::Result<()> {
        let (_, _, page_size) = self.pages()?;
        let pages = size_max.saturating_add(size_max / 4) / page_size.max(1);
        let pages = i64::try_from(pages)
            .unwrap_or(i64::MAX)
            .min(i64::from(u32::MAX - 1));
        self.connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
    }

    fn pages(&self) -> rusqlite::Result<(u64, u64, u64)> {
        let number = |name| {
            self.connection
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
                .map(time::moment)
        };
        Ok((
            number("page_count")?,
            number("freelist_count")?,
            number("page_size")?,
        ))
    }

    fn remove(&mut self, sql: &str, before: i64) -> rusqlite::Result<u64> {
        let removed = self
            .connection
            .prepare_cached(sql)?
            .execute([ROWS_AT_ONCE, before])?;
        Ok(removed as u64)
    }
}

/// Of the first rows those that are old: rows stand in the order in which they came.
const SPANS: &str = "DELETE FROM state_span WHERE id IN (SELECT id FROM
    (SELECT id, to_ms FROM state_span WHERE to_ms IS NOT NULL ORDER BY id LIMIT ?1) WHERE to_ms < ?2)";

fn checks(deep: bool) -> String {
    format!(
        "DELETE FROM check_result WHERE id IN (SELECT id FROM
         (SELECT id, at_ms FROM check_result WHERE deep = {deep} ORDER BY id LIMIT ?1) WHERE at_ms < ?2)"
    )
}

fn first_slots(table: &str, which: &str) -> String {
    format!(
        "DELETE FROM {table} WHERE slot IN (SELECT slot FROM {table} WHERE {which} ORDER BY slot LIMIT ?1)"
    )
}
