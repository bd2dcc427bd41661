//! What is written down, read beside the writer: it never waits for that, nor that for it. Every answer is of one moment.
//!
//! A reader waits for the disk: from async code, call it where blocking is allowed. The last batch may not be written yet.

mod rollups;

pub use rollups::Rollups;

use super::error::{self, HistoryError};
use super::sql::{self, find};
use super::time::bounded;
use super::{open, uptime, words};
use extman_model::findings::Uptime;
use extman_model::record::{CheckRow, ClockRow, KeyValueRow, Range, ReleaseRow, SpanRow, StateMs};
use extman_model::{CheckKind, Digest};
use rusqlite::{Connection, OpenFlags, Params, Row, params};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most rows of an answer whose length nobody has asked for.
const ROWS_MAX: usize = 10_000;

/// Reads the file that stood there when it was opened.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
    /// For the writer, which looks through a file that turns out to be broken, and sets it aside.
    is_suspect: Arc<AtomicBool>,
}

/// An answer of limited length.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounded<T> {
    /// In the order of time. If there are too many, the newest.
    pub rows: Vec<T>,
    /// There are earlier ones in the range that found no room.
    pub more: bool,
}

impl Reader {
    pub(super) fn open(path: PathBuf, is_suspect: Arc<AtomicBool>) -> Result<Self, HistoryError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Ok(Reader {
            connection: open::connect(&path, flags).map_err(error::database(&path, "read"))?,
            path,
            is_suspect,
        })
    }

    /// How much of a range an instance could serve, or each that anything is known of: by all of their spans. One that goes on counts
    /// until the range's end. Where nothing is known before, the range of the answer begins later.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn uptimes(
        &self,
        instance: Option<&str>,
        range: Range,
    ) -> Result<BTreeMap<String, Uptime>, HistoryError> {
        self.ask(
            |file| match instance.map(|name| number(file, name)).transpose()? {
                Some(None) => Ok(BTreeMap::new()),
                number => uptime::uptimes(file, number.flatten(), range),
            },
        )
    }

    /// The uptime of one that nothing is known of.
    pub fn unknown(range: Range) -> Uptime {
        uptime::of_states(range, StateMs::default())
    }

    /// The spans that lie in a range at least in part, whole, at most `limit`.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn spans(
        &self,
        instance: &str,
        range: Range,
        limit: usize,
    ) -> Result<Bounded<SpanRow>, HistoryError> {
        // Where two runs overlap, the later one counts: the earlier span is cut off. Spans follow one another, so the first in the range is
        // the last that begins before it.
        let sql = format!(
            "SELECT span.from_ms AS a, CASE WHEN cut_ms < coalesce(to_ms, cut_ms + 1) THEN cut_ms ELSE to_ms END AS b, text, cut, {}
             FROM instance JOIN state_span AS span ON instance = instance.id LEFT JOIN host_run AS run ON run.id = span.run
             JOIN state ON state.id = state
             WHERE name = ?1 AND span.from_ms < ?4 AND coalesce(span.from_ms < cut_ms, 1) AND coalesce(b > ?3, 1)
             AND span.from_ms >= coalesce((SELECT s.from_ms FROM state_span AS s LEFT JOIN host_run AS r ON r.id = s.run
                 WHERE s.instance = instance.id AND s.from_ms <= ?3 AND coalesce(s.from_ms < r.cut_ms, 1)
                 ORDER BY s.from_ms DESC LIMIT 1), 0)
             ORDER BY span.from_ms DESC, span.id DESC LIMIT ?2",
            words::STATE
        );
        self.newest(&sql, (instance, limit, range), |row| {
            // Words of another version are passed over: that time counts as not observed.
            let Some(state) = words::state(row)? else {
                return Ok(None);
            };
            Ok(Some(SpanRow {
                from_unix_ms: row.get("a")?,
                to_unix_ms: row.get("b")?,
                state,
                text: row.get("text")?,
                cut: row.get("cut")?,
            }))
        })
    }

    /// The versions that served, at most 10,000.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn releases(&self, instance: &str) -> Result<Bounded<ReleaseRow>, HistoryError> {
        let sql = "SELECT at_ms, version, digest FROM release JOIN instance ON instance.id = instance WHERE name = ?1
            AND at_ms >= ?3 AND at_ms < ?4 ORDER BY at_ms DESC, release.id DESC LIMIT ?2";
        let all = Range::new(0, u64::MAX);
        self.newest(sql, (instance, ROWS_MAX, all), |row| {
            let (version, digest): (String, String) = (row.get(1)?, row.get(2)?);
            let (Ok(version), Ok(digest)) = (version.parse(), digest.parse::<Digest>()) else {
                return Ok(None);
            };
            Ok(Some(ReleaseRow {
                instance: instance.into(),
                at_unix_ms: row.get(0)?,
                version,
                digest,
            }))
        })
    }

    /// The newest checks within a range that were not good, and deep ones, at most `limit`.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn checks(
        &self,
        instance: &str,
        range: Range,
        limit: usize,
    ) -> Result<Bounded<CheckRow>, HistoryError> {
        let sql = "SELECT at_ms, last_ms, times, deep, result, counted, took_ns, text FROM check_result JOIN instance ON instance.id = instance
            WHERE name = ?1 AND last_ms >= ?3 AND at_ms < ?4 ORDER BY at_ms DESC, check_result.id DESC LIMIT ?2";
        self.newest(sql, (instance, limit, range), |row| {
            // Words of another version are passed over.
            let Some(result) = words::result_word(row.get("result")?) else {
                return Ok(None);
            };
            let is_deep: bool = row.get("deep")?;
            Ok(Some(CheckRow {
                instance: instance.into(),
                at_unix_ms: row.get("at_ms")?,
                last_unix_ms: row.get("last_ms")?,
                times: row.get("times")?,
                kind: if is_deep {
                    CheckKind::Deep
                } else {
                    CheckKind::Readiness
                },
                result,
                counted: row.get("counted")?,
                took_ns: row.get("took_ns")?,
                text: row.get("text")?,
            }))
        })
    }

    /// When the wall clock was set within a range, at most the last 100 times.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn clock_steps(&self, range: Range) -> Result<Vec<ClockRow>, HistoryError> {
        let sql = "SELECT at_ms, by_ms, found FROM (SELECT * FROM clock_step WHERE at_ms >= ?1 AND at_ms < ?2 ORDER BY id DESC LIMIT 100)
            ORDER BY id";
        let asked = [bounded(range.from_unix_ms), bounded(range.to_unix_ms)];
        self.rows(sql, asked, |row| {
            Ok(ClockRow {
                at_unix_ms: row.get(0)?,
                by_ms: row.get(1)?,
                found: row.get(2)?,
            })
        })
    }

    /// The values whose keys begin so, at most 100,000.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn key_values(&self, prefix: &str) -> Result<Vec<KeyValueRow>, HistoryError> {
        let sql = "SELECT key, at_ms, value FROM key_value WHERE key >= ?1 AND substr(key, 1, length(?1)) = ?1 ORDER BY key LIMIT 100000";
        self.rows(sql, [prefix], |row| {
            Ok(KeyValueRow {
                key: row.get::<_, String>(0)?.into(),
                at_unix_ms: row.get(1)?,
                value: row.get(2)?,
            })
        })
    }

    /// The rows of an instance (?1) in a range (from ?3 to ?4), of which `sql` gives the newest ?2, the newest first.
    fn newest<T>(
        &self,
        sql: &str,
        (instance, limit, range): (&str, usize, Range),
        read: impl Fn(&Row<'_>) -> rusqlite::Result<Option<T>>,
    ) -> Result<Bounded<T>, HistoryError> {
        let (from_ms, to_ms) = (bounded(range.from_unix_ms), bounded(range.to_unix_ms));
        let asked = params![instance, limit as u64 + 1, from_ms, to_ms];
        let mut rows = self.rows(sql, asked, read)?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok(Bounded {
            rows: rows.into_iter().rev().flatten().collect(),
            more,
        })
    }

    fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, HistoryError> {
        self.ask(|file| sql::all(file, sql, params, read))
    }

    /// Asks within one transaction, so that folding is seen whole or not at all.
    fn ask<T>(&self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, HistoryError> {
        let transaction = self.connection.unchecked_transaction();
        let answer = transaction.and_then(|transaction| question(&transaction));
        answer
            .map_err(error::database(&self.path, "read"))
            .inspect_err(|error| {
                self.is_suspect.fetch_or(error.is_corrupt(), Ordering::Relaxed);
            })
    }
}

/// The number of a name, if the file has it.
fn number(file: &Connection, name: &str) -> rusqlite::Result<Option<u32>> {
    let found: Option<(u32,)> = find(file, "SELECT id FROM instance WHERE name = ?1", [name])?;
    Ok(found.map(|found| found.0))
}
