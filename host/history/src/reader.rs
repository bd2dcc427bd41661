//! What is written down, read beside the writer: it never waits for that, nor that for it. Every answer is bounded and of one moment.
//!
//! A reader waits for the disk: from async code, call it where blocking is allowed. The last second may not be written yet.

mod deep;
#[cfg(test)]
mod points;
mod sums;

pub use sums::Sums;

use super::error::{self, HistoryError};
use super::open::{self, Identity};
use super::store::{self, STATE_COLUMNS, state_words};
use super::time;
use super::words;
use extman_model::Digest;
#[cfg(test)]
use extman_model::Health;
#[cfg(test)]
use extman_model::record::StateMs;
use extman_model::record::{ClockRow, LedgerRow, Range, ReleaseRow, SpanRow};
use rusqlite::{Connection, OpenFlags, Transaction, params};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most rows of one answer, other than sums.
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

    /// The names of all instances that anything is known of, at most 100,000.
    ///
    /// # Errors
    /// The file can't be read.
    #[cfg(test)]
    pub(crate) fn instances(&self) -> Result<Vec<String>, HistoryError> {
        self.ask(|file| {
            file.prepare_cached("SELECT name FROM instance ORDER BY name LIMIT ?1")?
                .query_map([NAMES_MAX as i64], |row| row.get(0))?
                .collect()
        })
    }

    /// The spans that lie in a range at least in part, whole, at most 10,000.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn spans(&self, instance: &str, range: Range) -> Result<Bounded<SpanRow>, HistoryError> {
        self.ask_of(instance, |file, number| {
            let mut statement = file.prepare_cached(&format!(
                "SELECT from_ms, to_ms, text, cut, {STATE_COLUMNS} FROM state_span
                 WHERE instance = ?1 AND from_ms < ?2 ORDER BY from_ms DESC, id DESC"
            ))?;
            let mut found = statement.query(params![number, time::stored(range.to_unix_ms)])?;
            let (mut rows, mut more) = (Vec::new(), false);
            while let Some(row) = found.next()? {
                let to: Option<u64> = row.get::<_, Option<i64>>(1)?.map(time::moment);
                // They follow one another: whatever is further back ends no later.
                if to.is_some_and(|to| to <= range.from_unix_ms) {
                    break;
                }
                more = rows.len() >= ROWS_MAX;
                if more {
                    break;
                }
                // Words of another version are passed over: that time counts as not observed.
                if let Some(state) = words::state(&state_words(row, 4)?) {
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
        .map(|answer| answer.unwrap_or_else(Bounded::none))
    }

    /// How long it was in each state within a range, by its spans; one that goes on counts until `now_unix_ms`. What is missing to
    /// the range's length was not observed.
    ///
    /// # Errors
    /// The file can't be read.
    #[cfg(test)]
    pub(crate) fn states(
        &self,
        instance: &str,
        range: Range,
        now_unix_ms: u64,
    ) -> Result<StateMs, HistoryError> {
        let answer = self.ask_of(instance, |file, number| {
            let mut statement = file.prepare_cached(
                "SELECT left_out, health, sum(max(0, min(coalesce(to_ms, ?4), ?3) - max(from_ms, ?2)))
                 FROM state_span WHERE instance = ?1 AND from_ms < ?3 GROUP BY left_out, health",
            )?;
            let (from, to) = (time::stored(range.from_unix_ms), time::stored(range.to_unix_ms));
            let mut found = statement.query(params![number, from, to, time::stored(now_unix_ms)])?;
            let mut states = StateMs::default();
            while let Some(row) = found.next()? {
                let is = |health: Health| {
                    row.get_ref(1)
                        .is_ok_and(|word| word.as_str() == Ok(health.as_str()))
                };
                let sum = match row.get(0)? {
                    true => &mut states.left_out,
                    false if is(Health::Up) => &mut states.up,
                    false if is(Health::Degraded) => &mut states.degraded,
                    false if is(Health::Down) => &mut states.down,
                    false => &mut states.unknown,
                };
                *sum += time::moment(row.get(2)?);
            }
            Ok(states)
        })?;
        Ok(answer.unwrap_or_default())
    }

    /// The versions that served, at most 10,000.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn releases(&self, instance: &str) -> Result<Bounded<ReleaseRow>, HistoryError> {
        self.ask_of(instance, |file, number| {
            let mut statement = file.prepare_cached(
                "SELECT at_ms, version, digest FROM release WHERE instance = ?1 ORDER BY at_ms DESC, id DESC LIMIT ?2",
            )?;
            let found = statement.query_map(params![number, ROWS_MAX as i64 + 1], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            })?;
            let mut rows = found.collect::<rusqlite::Result<Vec<_>>>()?;
            let more = rows.len() > ROWS_MAX;
            rows.truncate(ROWS_MAX);
            let release = |(at, version, digest): (i64, String, String)| {
                Some(ReleaseRow {
                    instance: instance.into(),
                    at_unix_ms: time::moment(at),
                    version: version.parse().ok()?,
                    digest: digest.parse::<Digest>().ok()?,
                })
            };
            let rows = rows.into_iter().rev().filter_map(release).collect();
            Ok(Bounded { rows, more })
        })
        .map(|answer| answer.unwrap_or_else(Bounded::none))
    }

    /// When hosts ran within a range, at most 10,000 times; what lies between was not observed. The last one may be running still: its
    /// end is when it was last written that it lives.
    ///
    /// # Errors
    /// The file can't be read.
    #[cfg(test)]
    pub(crate) fn host_runs(&self, range: Range) -> Result<Vec<Range>, HistoryError> {
        self.ask(|file| {
            let mut statement = file.prepare_cached(
                "SELECT from_ms, max(from_ms, alive_ms) FROM host_run WHERE from_ms < ?2 AND alive_ms >= ?1 ORDER BY id LIMIT ?3",
            )?;
            let (from, to) = (time::stored(range.from_unix_ms), time::stored(range.to_unix_ms));
            let found = statement.query_map(params![from, to, ROWS_MAX as i64], |row| {
                Ok(Range::new(time::moment(row.get(0)?), time::moment(row.get(1)?)))
            })?;
            found.collect()
        })
    }

    /// When the wall clock was set within a range, at most the last 100 times.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn clock_steps(&self, range: Range) -> Result<Vec<ClockRow>, HistoryError> {
        self.ask(|file| {
            let mut statement = file.prepare_cached(
                "SELECT at_ms, by_ms, found, moved FROM clock_step WHERE at_ms >= ?1 AND at_ms < ?2 ORDER BY id DESC LIMIT 100",
            )?;
            let (from, to) = (time::stored(range.from_unix_ms), time::stored(range.to_unix_ms));
            let found = statement.query_map([from, to], |row| {
                Ok(ClockRow {
                    at_unix_ms: time::moment(row.get(0)?),
                    by_ms: row.get(1)?,
                    found: row.get(2)?,
                    moved: row.get(3)?,
                })
            })?;
            let mut rows = found.collect::<rusqlite::Result<Vec<_>>>()?;
            rows.reverse();
            Ok(rows)
        })
    }

    /// The words of the ledger whose names begin so, at most 100,000.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn ledger(&self, prefix: &str) -> Result<Vec<LedgerRow>, HistoryError> {
        self.ask(|file| {
            let mut statement = file.prepare_cached(
                "SELECT key, at_ms, value FROM ledger WHERE key >= ?1 AND substr(key, 1, length(?1)) = ?1 ORDER BY key LIMIT ?2",
            )?;
            let found = statement.query_map(params![prefix, NAMES_MAX as i64], |row| {
                Ok(LedgerRow {
                    key: row.get::<_, String>(0)?.into(),
                    at_unix_ms: time::moment(row.get(1)?),
                    value: row.get(2)?,
                })
            })?;
            found.collect()
        })
    }

    /// Asks about one instance; `None` if nothing is known of it.
    fn ask_of<T>(
        &self,
        instance: &str,
        question: impl FnOnce(&Transaction<'_>, u32) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, HistoryError> {
        self.ask(|file| {
            store::instance(file, instance)?
                .map(|number| question(file, number))
                .transpose()
        })
    }

    /// Asks within one transaction, so that folding is seen whole or not at all.
    fn ask<T>(
        &self,
        question: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, HistoryError> {
        let reading = error::database(&self.path, "read");
        let identity = open::identity(&self.path)?;
        let (identity, connection) = match self.idle_connection(identity) {
            Some(connection) => (identity, connection),
            None => {
                let connection = self.connect().map_err(&reading);
                let connection = connection.inspect_err(|error| self.tell(error))?;
                (identity, connection)
            }
        };
        let answer = connection
            .unchecked_transaction()
            .and_then(|transaction| question(&transaction))
            .map_err(reading)
            .inspect_err(|error| self.tell(error))?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push((identity, connection));
        }
        Ok(answer)
    }

    /// The writer looks through a file that turns out to be broken, and sets it aside.
    fn tell(&self, error: &HistoryError) {
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

impl<T> Bounded<T> {
    fn none() -> Self {
        Bounded {
            rows: Vec::new(),
            more: false,
        }
    }
}
