//! What is old goes, and what is oldest goes first when the file would grow too large. Every step is bounded and a transaction of
//! its own, so nobody waits long.

use super::Store;
use crate::config::Retention;
use crate::time::{self, HOUR_MS};
use extman_model::history::{Kept, Resolution, Trimmed};
use rusqlite::Result;

/// Rows that are looked at in one transaction.
const ROWS_AT_ONCE: usize = 2000;

/// Which rows go, from the first on: the table and its key in the order of time, what must hold of a row, and what in it must be small.
type Rows = [&'static str; 4];
const CHECKS: Rows = ["check_result", "id", "NOT deep", "at_ms"];
const DEEP_CHECKS: Rows = ["check_result", "id", "deep", "at_ms"];
const MINUTES: Rows = ["rollup_minute", "slot", "1", "slot"];
const OPEN_MINUTES: Rows = ["minute_open", "slot", "1", "slot"];
const HOURS: Rows = ["rollup_hour", "slot", "1", "slot"];
const DAYS: Rows = ["rollup_day", "slot", "1", "slot"];
const SPANS: Rows = ["state_span", "id", "to_ms IS NOT NULL", "to_ms"];
/// The version that serves now stays.
const RELEASES: Rows = [
    "release",
    "id",
    "EXISTS (SELECT 1 FROM release AS newer WHERE newer.instance = release.instance AND newer.at_ms > release.at_ms)",
    "at_ms",
];
const STEPS: Rows = ["clock_step", "id", "1", "at_ms"];
const RUNS: Rows = [
    "host_run",
    "id",
    "id < (SELECT max(id) FROM host_run)",
    "alive_ms",
];

impl Store {
    /// Removes a bounded part of what is older than it is to be kept; whether there may be more.
    pub(crate) fn expire(&mut self, keep: &Retention, now_ms: u64) -> Result<bool> {
        let before = |hours: u64| time::bounded(now_ms).saturating_sub(hours.saturating_mul(HOUR_MS));
        let before_days = |days: u64| before(days.saturating_mul(24));
        let slot = |of, days| time::slot(before_days(days) / time::table(of).1, 0);
        let before_spans = before_days(keep.span_days);
        let mut more = false;
        for (rows, before) in [
            (MINUTES, slot(Resolution::Minute, keep.minute_days)),
            (HOURS, slot(Resolution::Hour, keep.hour_days)),
            (DAYS, slot(Resolution::Day, keep.day_days)),
            (CHECKS, before(keep.result_hours)),
            (DEEP_CHECKS, before_days(keep.hour_days)),
            (SPANS, before_spans),
            (RELEASES, before_spans),
            (STEPS, before_spans),
            (RUNS, before_spans),
        ] {
            more |= self.remove(rows, before)? >= ROWS_AT_ONCE;
        }
        Ok(more)
    }

    /// If the file holds more than it may: the first rows of what goes first.
    pub(crate) fn trim(&mut self, size_max: u64) -> Result<Option<Trimmed>> {
        let (pages, free, page_size) = self.pages()?;
        if (pages - free).saturating_mul(page_size) <= size_max {
            return Ok(None);
        }
        for (what, rows) in [
            (Kept::Results, CHECKS),
            (Kept::Results, DEEP_CHECKS),
            (Kept::Minutes, MINUTES),
            (Kept::Minutes, OPEN_MINUTES),
            (Kept::Hours, HOURS),
            (Kept::Days, DAYS),
            (Kept::Spans, SPANS),
        ] {
            let rows = self.remove(rows, i64::MAX as u64)? as u64;
            if rows > 0 {
                return Ok(Some(Trimmed { what, rows }));
            }
        }
        Ok(None)
    }

    /// Gives some pages back to the file system if an eighth of them is free; whether there are more.
    pub(crate) fn shrink(&mut self) -> Result<bool> {
        let (pages, free, _) = self.pages()?;
        if free < 64 || free.saturating_mul(8) < pages {
            return Ok(false);
        }
        let mut statement = self.connection.prepare_cached("PRAGMA incremental_vacuum(512)")?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        // Until then the file keeps its length.
        self.connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)")?;
        Ok(true)
    }

    /// No file grows far over its limit, not even before something could be trimmed.
    pub(crate) fn limit_pages(&self, size_max: u64) -> Result<()> {
        let (_, _, page_size) = self.pages()?;
        let pages = size_max.saturating_add(size_max / 4) / page_size.max(1);
        let pages = pages.min(u64::from(u32::MAX - 1));
        self.connection
            .execute_batch(&format!("PRAGMA max_page_count = {pages}"))
    }

    /// How many there are, how many of them are free, and their size.
    fn pages(&self) -> Result<(u64, u64, u64)> {
        let sql = "SELECT page_count, freelist_count, page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.query_row([], |row| row.try_into())
    }

    fn remove(&mut self, [table, key, which, old]: Rows, before: u64) -> Result<usize> {
        let sql = format!(
            "DELETE FROM {table} WHERE {key} IN (SELECT key FROM
             (SELECT {key} AS key, {old} AS old FROM {table} WHERE {which} ORDER BY {key} LIMIT ?1) WHERE old < ?2)"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        statement.execute([ROWS_AT_ONCE as u64, before])
    }
}
