//! The open file: records go in, one transaction a batch. It reads no clock; what becomes of old rows is in `fold` and `retention`.

mod claims;
mod fold;
mod minutes;
mod retention;
mod set_clock;
mod spans;

pub(super) use retention::Limits;
pub(super) use set_clock::Clock;
pub(super) use spans::{STATE_COLUMNS, state_words};

use super::bytes::Malformed;
use super::results::{self, ResultPoint};
use super::time::{self, MINUTE_MS};
use super::{schema, sums, words};
use claims::Claims;
use extman_model::record::{DeepRow, LedgerRow, Record, ReleaseRow, Turn};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use spans::OpenSpans;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

const NAME_MAX: usize = 256;
const TEXT_MAX: usize = 1024;

/// The open file.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) connection: Connection,
    names: Names,
    spans: OpenSpans,
    /// Since a transaction failed, what is held here may be ahead of the file.
    stale: bool,
    run: i64,
    clock: Clock,
}

type Names = HashMap<Arc<str>, u32>;

impl Store {
    /// Of a connection to a file that is ours and of the newest version. `resumed`: the same host goes on, so that spans without an
    /// end are its own; otherwise they were cut, and end when a host was last known to live.
    pub(super) fn new(connection: Connection, now_ms: u64, resumed: bool) -> rusqlite::Result<Self> {
        connection.set_prepared_statement_cache_capacity(64);
        let clock = Clock::begin(&connection, now_ms)?;
        let mut store = Store {
            connection,
            names: Names::new(),
            spans: OpenSpans::default(),
            stale: true,
            run: 0,
            clock,
        };
        let transaction = store
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !resumed {
            spans::cut(&transaction)?;
            let claims = Claims::find(&transaction, now_ms)?;
            store.clock = Clock::begin(&transaction, now_ms)?;
            store.clock.claims = claims;
        }
        transaction.execute(
            "INSERT INTO host_run (from_ms, alive_ms) VALUES (?1, ?1)",
            [time::stored(now_ms)],
        )?;
        store.run = transaction.last_insert_rowid();
        transaction.commit()?;
        Ok(store)
    }

    /// Writes a batch, all of it or nothing, and that the host lives.
    pub(super) fn write(&mut self, records: &[Record], now_ms: u64) -> rusqlite::Result<()> {
        if self.stale {
            self.names.clear();
            self.spans = OpenSpans::read(&self.connection)?;
        }
        // Until the commit.
        self.stale = true;
        // What is spent of a budget must outlive the machine's fall as well.
        let is_durable = records.iter().any(|record| matches!(record, Record::Ledger(_)));
        if is_durable {
            synchronous(&self.connection, true)?;
        }
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut clock = self.clock;
        if let Some(claims) = clock.claims.take() {
            // A clock that is about to be told to have leapt has not come there by itself.
            let leaps = records
                .iter()
                .any(|record| matches!(record, Record::ClockStep(_)));
            clock.claims = match leaps {
                true => Some(claims),
                false => claims.give_way(&transaction, now_ms)?,
            };
        }
        let mut batch = Batch {
            transaction: &transaction,
            names: &mut self.names,
            latest_ms: if clock.was_set { now_ms } else { u64::MAX },
            minutes: Vec::new(),
            results: Vec::new(),
        };
        for record in records {
            match record {
                Record::Turn(turn) => {
                    batch.turn(turn, now_ms, &clock, &mut self.spans)?;
                }
                Record::ClockStep(step) => {
                    // The minutes before it were told by the clock as it was.
                    batch.write_minutes()?;
                    clock.set(&transaction, *step, &mut self.spans)?;
                    batch.latest_ms = now_ms;
                }
                other => batch.take(other)?,
            }
        }
        batch.finish()?;
        transaction
            .prepare_cached("UPDATE host_run SET alive_ms = ?1 WHERE id = ?2")?
            .execute([time::stored(now_ms), self.run])?;
        transaction.commit()?;
        self.clock = clock;
        self.stale = false;
        if is_durable {
            synchronous(&self.connection, false)?;
        }
        Ok(())
    }

    /// What it knows of the clock, for the next one of the same file and host.
    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// Goes on with what the one before knew of the clock.
    pub(super) fn resume_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// The spans that go on, so that they can be begun in another file.
    pub(super) fn turns(&self) -> Vec<Turn> {
        self.spans.turns()
    }

    /// The earliest moment that it knows of.
    pub(super) fn oldest_ms(&self) -> rusqlite::Result<Option<u64>> {
        let first = |sql: &str| {
            self.connection
                .prepare_cached(sql)?
                .query_row([], |row| row.get::<_, i64>(0))
                .optional()
        };
        let span = first("SELECT from_ms FROM state_span ORDER BY id LIMIT 1")?.map(time::moment);
        let minute = first("SELECT minute FROM minute_open ORDER BY minute LIMIT 1")?
            .map(|minute| time::moment(minute).saturating_mul(MINUTE_MS));
        let day = first("SELECT slot FROM rollup_hour ORDER BY slot LIMIT 1")?
            .map(|slot| time::row_of(slot) * time::DAY_MS);
        Ok([span, minute, day].into_iter().flatten().min())
    }
}

/// A batch on its way into the file.
struct Batch<'a> {
    transaction: &'a Transaction<'a>,
    names: &'a mut Names,
    /// What claims to be later happened then.
    latest_ms: u64,
    minutes: Vec<(u64, u32, Vec<u8>)>,
    results: Vec<(u32, ResultPoint)>,
}

impl Batch<'_> {
    fn turn(
        &mut self,
        turn: &Turn,
        now_ms: u64,
        clock: &Clock,
        spans: &mut OpenSpans,
    ) -> rusqlite::Result<()> {
        let instance = self.number(&turn.instance)?;
        let latest_ms = if clock.was_set { now_ms } else { u64::MAX };
        let claims = Claims::limits(clock.claims.as_ref());
        spans.turn(self.transaction, instance, turn, latest_ms, claims)
    }

    fn take(&mut self, record: &Record) -> rusqlite::Result<()> {
        match record {
            Record::Turn(_) | Record::ClockStep(_) => {}
            Record::Result(row) => {
                let point = ResultPoint {
                    at_unix_ms: time::bounded(row.at_unix_ms),
                    result: row.result,
                    took_ns: row.took_ns,
                    connection_rtt_ns: row.connection_rtt_ns,
                    heap_bytes: row.heap_bytes,
                };
                let instance = self.number(&row.instance)?;
                self.results.push((instance, point));
            }
            Record::Minute(row) => {
                // The minute that was under way when the clock was set back ends after that.
                let minute = time::bounded(row.sums.from_unix_ms.min(self.latest_ms)) / MINUTE_MS;
                let instance = self.number(&row.instance)?;
                self.minutes.push((minute, instance, sums::encode(&row.sums)));
            }
            Record::Deep(row) => self.deep(row)?,
            Record::Release(row) => self.release(row)?,
            Record::Ledger(row) => self.ledger(row)?,
        }
        Ok(())
    }

    fn write_minutes(&mut self) -> rusqlite::Result<()> {
        let mut minutes = std::mem::take(&mut self.minutes);
        // In the order of the table, so that they are written at its end.
        minutes.sort_by_key(|(minute, instance, _)| (*minute, *instance));
        for (minute, instance, sums) in &minutes {
            add_minute(self.transaction, *minute, *instance, sums)?;
        }
        Ok(())
    }

    fn finish(mut self) -> rusqlite::Result<()> {
        self.write_minutes()?;
        let times = || self.results.iter().map(|(_, point)| point.at_unix_ms);
        let (Some(from), Some(to)) = (times().min(), times().max()) else {
            return Ok(());
        };
        self.transaction
            .prepare_cached("INSERT INTO result_batch (from_ms, to_ms, results) VALUES (?1, ?2, ?3)")?
            .execute(params![
                time::stored(from),
                time::stored(to),
                results::encode_batch(from, &self.results)
            ])?;
        Ok(())
    }

    fn number(&mut self, name: &Arc<str>) -> rusqlite::Result<u32> {
        if let Some(number) = self.names.get(name) {
            return Ok(*number);
        }
        let short = &name[..name.floor_char_boundary(NAME_MAX)];
        self.transaction
            .prepare_cached("INSERT INTO instance (name) VALUES (?1) ON CONFLICT DO NOTHING")?
            .execute([short])?;
        let number = instance(self.transaction, short)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        self.names.insert(name.clone(), number);
        Ok(number)
    }

    fn deep(&mut self, row: &DeepRow) -> rusqlite::Result<()> {
        let instance = self.number(&row.instance)?;
        self.transaction
            .prepare_cached(
                "INSERT INTO deep_check (instance, at_ms, result, counted, took_ns, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                instance,
                time::stored(row.at_unix_ms.min(self.latest_ms)),
                words::result_code(row.result),
                row.counted,
                row.took_ns.map(|ns| i64::try_from(ns).unwrap_or(i64::MAX)),
                row.text.as_deref().map(cut_text)
            ])?;
        Ok(())
    }

    fn release(&mut self, row: &ReleaseRow) -> rusqlite::Result<()> {
        let instance = self.number(&row.instance)?;
        let digest = row.digest.to_string();
        self.transaction
            .prepare_cached("INSERT INTO release (instance, at_ms, version, digest) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                instance,
                time::stored(row.at_unix_ms),
                row.version.to_string(),
                digest
            ])?;
        Ok(())
    }

    fn ledger(&self, row: &LedgerRow) -> rusqlite::Result<()> {
        let key = &row.key[..row.key.floor_char_boundary(NAME_MAX)];
        let Some(value) = row.value.as_deref().map(cut_text) else {
            self.transaction
                .prepare_cached("DELETE FROM ledger WHERE key = ?1")?
                .execute([key])?;
            return Ok(());
        };
        self.transaction
            .prepare_cached("INSERT OR REPLACE INTO ledger (key, at_ms, value) VALUES (?1, ?2, ?3)")?
            .execute(params![key, time::stored(row.at_unix_ms), value])?;
        Ok(())
    }
}

/// The number of a name, if the file has it.
pub(super) fn instance(connection: &Connection, name: &str) -> rusqlite::Result<Option<u32>> {
    connection
        .prepare_cached("SELECT id FROM instance WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// A minute that is there already is added to: a clock that was set back comes by twice.
fn add_minute(transaction: &Transaction<'_>, minute: u64, instance: u32, new: &[u8]) -> rusqlite::Result<()> {
    let key = (minute as i64, instance);
    let inserted = transaction
        .prepare_cached(
            "INSERT INTO minute_open (minute, instance, sums) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?
        .execute(params![key.0, key.1, new])?;
    if inserted == 1 {
        return Ok(());
    }
    let there: Vec<u8> = transaction
        .prepare_cached("SELECT sums FROM minute_open WHERE minute = ?1 AND instance = ?2")?
        .query_row(key, |row| row.get(0))?;
    let sum = added(&there, new).unwrap_or_else(|Malformed| new.to_vec());
    transaction
        .prepare_cached("UPDATE minute_open SET sums = ?3 WHERE minute = ?1 AND instance = ?2")?
        .execute(params![key.0, key.1, sum])?;
    Ok(())
}

fn added(there: &[u8], new: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut sum = sums::decode(0, there)?;
    sum.add(&sums::decode(0, new)?);
    Ok(sums::encode(&sum))
}

fn cut_text(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_MAX)]
}

/// A file's database, brought to the newest version, with what a history needs of it.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(2))?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    if schema::owner(&connection)? == schema::Owner::Nobody {
        // Rows of an hour's minutes are some kilobytes: on smaller pages, much of each would stay empty.
        connection.pragma_update(None, "page_size", 8192)?;
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    Ok(connection)
}

/// Whether a batch is on the disk when it is written, or at the next checkpoint.
fn synchronous(connection: &Connection, at_once: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", if at_once { "FULL" } else { "NORMAL" })
}

/// Readers go on while a batch is written; a batch is on the disk at the next checkpoint, and whole or not there after a crash.
pub(super) fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    synchronous(connection, false)?;
    connection.pragma_update_and_check(None, "journal_size_limit", 16 << 20, |_| Ok(()))?;
    connection.pragma_update(None, "cache_size", -16_384)
}
