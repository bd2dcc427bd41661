//! What is written down, read beside the writer: it never waits for that, nor that for it. Every answer is of one moment.
//!
//! A reader waits for the disk: from async code, call it where blocking is allowed. The last batch may not be written yet.

mod rollups;

pub use rollups::Rollups;

use super::error::{self, HistoryError};
use super::open::{self, Identity};
use super::store::{self, STATE_COLUMNS, read_state};
use super::{time, uptime, words};
use extman_model::findings::Uptime;
use extman_model::record::{CheckRow, ClockRow, KeyValueRow, Range, ReleaseRow, SpanRow};
use extman_model::{CheckKind, Digest};
use rusqlite::{Connection, OpenFlags, Row, ToSql, Transaction, params};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most rows of an answer whose length nobody has asked for.
const ROWS_MAX: usize = 10_000;
const NAMES_MAX: usize = 100_000;
/// Connections that are kept open.
const IDLE_MAX: usize = 4;

/// Reads a history; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    path: PathBuf,
    /// For the writer: what was read is broken.
    suspect: Arc<AtomicBool>,
    idle: Arc<Mutex<Vec<(Identity, Connection)>>>,
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
    pub(super) fn new(path: PathBuf, suspect: Arc<AtomicBool>) -> Self {
        Reader {
            path,
            suspect,
            idle: Arc::default(),
        }
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
        self.ask(|file| {
            let number = match instance {
                Some(name) => match store::instance(file, name)? {
                    Some(number) => Some(number),
                    None => return Ok(BTreeMap::new()),
                },
                None => None,
            };
            let mut name = file.prepare_cached("SELECT name FROM instance WHERE id = ?1")?;
            let uptimes = uptime::uptimes(file, number, range)?.into_iter();
            uptimes
                .map(|(number, uptime)| Ok((name.query_row([number], |row| row.get(0))?, uptime)))
                .collect()
        })
    }

    /// The uptime of one that nothing is known of.
    pub fn unknown(range: Range) -> Uptime {
        uptime::unknown(range)
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
        self.ask_of(instance, |file, number| {
            // Where two runs overlap, the later one counts: the earlier span is cut off.
            let mut statement = file.prepare_cached(&format!(
                "SELECT state_span.from_ms, CASE WHEN cut_ms < coalesce(to_ms, cut_ms + 1) THEN cut_ms ELSE to_ms END, text, cut,
                 {STATE_COLUMNS} FROM state_span LEFT JOIN host_run ON host_run.id = run JOIN state ON state.id = state
                 WHERE instance = ?1 AND state_span.from_ms < ?2 AND coalesce(state_span.from_ms < cut_ms, 1)
                 ORDER BY state_span.from_ms DESC, state_span.id DESC"
            ))?;
            let mut found = statement.query(params![number, time::stored(range.to_unix_ms)])?;
            let (mut rows, mut more) = (Vec::new(), false);
            while let Some(row) = found.next()? {
                let to: Option<u64> = row.get::<_, Option<i64>>(1)?.map(time::moment);
                // They follow one another: whatever is further back ends no later.
                if to.is_some_and(|to| to <= range.from_unix_ms) {
                    break;
                }
                more = rows.len() >= limit;
                if more {
                    break;
                }
                // Words of another version are passed over: that time counts as not observed.
                if let Some(state) = read_state(row, 4)? {
                    rows.push(SpanRow {
                        from_unix_ms: time::moment(row.get(0)?),
                        to_unix_ms: to,
                        state,
                        text: row.get(2)?,
                        cut: row.get(3)?,
                    });
                }
            }
            rows.reverse();
            Ok(Bounded { rows, more })
        })
    }

    /// The versions that served, at most 10,000.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn releases(&self, instance: &str) -> Result<Bounded<ReleaseRow>, HistoryError> {
        let sql = "SELECT at_ms, version, digest FROM release WHERE instance = ?1 ORDER BY at_ms DESC, id DESC LIMIT ?2";
        self.newest(instance, ROWS_MAX, sql, &[], |row| {
            let (version, digest): (String, String) = (row.get(1)?, row.get(2)?);
            let (Ok(version), Ok(digest)) = (version.parse(), digest.parse::<Digest>()) else {
                return Ok(None);
            };
            Ok(Some(ReleaseRow {
                instance: instance.into(),
                at_unix_ms: time::moment(row.get(0)?),
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
        let (from, to) = (time::stored(range.from_unix_ms), time::stored(range.to_unix_ms));
        let sql = "SELECT at_ms, last_ms, times, deep, result, counted, took_ns, text FROM check_result
            WHERE instance = ?1 AND last_ms >= ?3 AND at_ms < ?4 ORDER BY at_ms DESC, id DESC LIMIT ?2";
        self.newest(instance, limit, sql, &[&from, &to], |row| {
            // Words of another version are passed over.
            let Some(result) = words::result_word(row.get(4)?) else {
                return Ok(None);
            };
            Ok(Some(CheckRow {
                instance: instance.into(),
                at_unix_ms: time::moment(row.get(0)?),
                last_unix_ms: time::moment(row.get(1)?),
                times: time::moment(row.get(2)?),
                kind: if row.get(3)? {
                    CheckKind::Deep
                } else {
                    CheckKind::Readiness
                },
                result,
                counted: row.get(5)?,
                took_ns: row.get::<_, Option<i64>>(6)?.map(time::moment),
                text: row.get(7)?,
            }))
        })
    }

    /// When the wall clock was set within a range, at most the last 100 times.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn clock_steps(&self, range: Range) -> Result<Vec<ClockRow>, HistoryError> {
        self.ask(|file| {
            let mut statement = file.prepare_cached(
                "SELECT at_ms, by_ms, found FROM clock_step WHERE at_ms >= ?1 AND at_ms < ?2 ORDER BY id DESC LIMIT 100",
            )?;
            let (from, to) = (time::stored(range.from_unix_ms), time::stored(range.to_unix_ms));
            let found = statement.query_map([from, to], |row| {
                Ok(ClockRow {
                    at_unix_ms: time::moment(row.get(0)?),
                    by_ms: row.get(1)?,
                    found: row.get(2)?,
                })
            })?;
            let mut rows = found.collect::<rusqlite::Result<Vec<_>>>()?;
            rows.reverse();
            Ok(rows)
        })
    }

    /// The values whose keys begin so, at most 100,000.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn key_values(&self, prefix: &str) -> Result<Vec<KeyValueRow>, HistoryError> {
        self.ask(|file| {
            let mut statement = file.prepare_cached(
                "SELECT key, at_ms, value FROM key_value WHERE key >= ?1 AND substr(key, 1, length(?1)) = ?1 ORDER BY key LIMIT ?2",
            )?;
            let found = statement.query_map(params![prefix, NAMES_MAX as i64], |row| {
                Ok(KeyValueRow {
                    key: row.get::<_, String>(0)?.into(),
                    at_unix_ms: time::moment(row.get(1)?),
                    value: row.get(2)?,
                })
            })?;
            found.collect()
        })
    }

    /// The newest rows, of which `sql` gives at most ?2, the newest first.
    fn newest<T>(
        &self,
        instance: &str,
        limit: usize,
        sql: &str,
        more: &[&dyn ToSql],
        read: impl Fn(&Row<'_>) -> rusqlite::Result<Option<T>>,
    ) -> Result<Bounded<T>, HistoryError> {
        self.ask_of(instance, |file, number| {
            let most = limit as i64 + 1;
            let asked: Vec<&dyn ToSql> = [&number as &dyn ToSql, &most]
                .into_iter()
                .chain(more.iter().copied())
                .collect();
            let mut statement = file.prepare_cached(sql)?;
            let found = statement.query_map(asked.as_slice(), &read)?;
            let mut rows = found.collect::<rusqlite::Result<Vec<_>>>()?;
            let more = rows.len() > limit;
            rows.truncate(limit);
            Ok(Bounded {
                rows: rows.into_iter().rev().flatten().collect(),
                more,
            })
        })
    }

    /// Asks about one instance.
    fn ask_of<T>(
        &self,
        instance: &str,
        question: impl FnOnce(&Transaction<'_>, u32) -> rusqlite::Result<Bounded<T>>,
    ) -> Result<Bounded<T>, HistoryError> {
        let nothing = Bounded {
            rows: Vec::new(),
            more: false,
        };
        self.ask(|file| match store::instance(file, instance)? {
            Some(number) => question(file, number),
            None => Ok(nothing),
        })
    }

    /// Asks within one transaction, so that folding is seen whole or not at all.
    fn ask<T>(
        &self,
        question: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, HistoryError> {
        let reading = error::database(&self.path, "read");
        let identity = open::identity(&self.path)?;
        let connection = match self.idle_connection(identity) {
            Some(connection) => connection,
            None => self
                .connect()
                .map_err(&reading)
                .inspect_err(|error| self.suspect(error))?,
        };
        let answer = connection
            .unchecked_transaction()
            .and_then(|transaction| question(&transaction))
            .map_err(reading)
            .inspect_err(|error| self.suspect(error))?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push((identity, connection));
        }
        Ok(answer)
    }

    /// The writer looks through a file that turns out to be broken, and sets it aside.
    fn suspect(&self, error: &HistoryError) {
        if error.is_corrupt() {
            self.suspect.store(true, Ordering::Relaxed);
        }
    }

    /// One to the file that stands there now; those to others are closed.
    fn idle_connection(&self, identity: Identity) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(of, _)| *of == identity);
        idle.pop().map(|(_, connection)| connection)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(Duration::from_secs(2))?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        Ok(connection)
    }
}
