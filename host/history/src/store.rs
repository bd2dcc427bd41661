//! The open file: records go in, one transaction a batch. It reads no clock; old rows are dealt with in `fold` and `retention`.

mod fold;
mod retention;
mod run;

pub(super) use retention::Limits;
pub(super) use run::Run;

use super::rollup::{self, Precision, Row};
use super::time::{self, HOUR_MS, MINUTE_MS};
use super::{schema, words};
use extman_model::CheckKind;
use extman_model::record::{
    CheckRow, ClockStep, KeyValueRow, MinuteRow, Record, ReleaseRow, ResultWord, SpanState, StateTransition,
};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

const NAME_MAX: usize = 256;
const TEXT_MAX: usize = 1024;
const VALUE_MAX: usize = 8 * 1024;

/// The open file.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) connection: Connection,
    cache: Cache,
    /// Since a transaction failed, the cache may be ahead of the file.
    stale: bool,
    run: Run,
}

/// What would otherwise be looked up in the file for each record.
#[derive(Debug, Default)]
struct Cache {
    instances: HashMap<Arc<str>, u32>,
    states: HashMap<SpanState, i64>,
    open: HashMap<u32, OpenSpan>,
    bad: HashMap<u32, BadCheck>,
}

/// A span that goes on.
#[derive(Debug)]
struct OpenSpan {
    row: i64,
    name: Arc<str>,
    from_ms: u64,
    /// `None` for words that this host does not know.
    state: Option<SpanState>,
    text: Option<String>,
}

/// The last check of an instance that was not good.
#[derive(Debug)]
struct BadCheck {
    row: i64,
    first_ms: u64,
    result: ResultWord,
    text: Option<String>,
}

impl Store {
    /// Of a connection to a file of the newest version. `resumed`: the same host goes on, so that spans without an end are its
    /// own; otherwise they were cut, and end when their host was last known to live.
    pub(super) fn new(
        mut connection: Connection,
        now_ms: u64,
        resumed: Option<Run>,
    ) -> rusqlite::Result<Self> {
        connection.set_prepared_statement_cache_capacity(64);
        let run = match resumed {
            Some(run) => run,
            None => {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                transaction.execute(
                    "UPDATE state_span SET cut = 1, to_ms =
                     max(from_ms, coalesce((SELECT alive_ms FROM host_run WHERE id = run), 0)) WHERE to_ms IS NULL",
                    [],
                )?;
                let run = Run::first(&transaction, now_ms)?;
                transaction.commit()?;
                run
            }
        };
        Ok(Store {
            connection,
            cache: Cache::default(),
            stale: true,
            run,
        })
    }

    /// Writes a batch, all of it or nothing, and that the host lives.
    pub(super) fn write(&mut self, records: &[Record], now_ms: u64) -> rusqlite::Result<()> {
        if self.stale {
            self.cache = Cache::read(&self.connection)?;
        }
        // Until the commit.
        self.stale = true;
        // What is spent of a budget must outlive the machine's fall as well.
        let is_durable = records.iter().any(|record| matches!(record, Record::KeyValue(_)));
        if is_durable {
            synchronous(&self.connection, true)?;
        }
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut batch = Batch {
            transaction: &transaction,
            cache: &mut self.cache,
            run: self.run,
            latest_ms: latest(records, now_ms),
            minutes: Vec::new(),
        };
        batch.run.advance(&transaction, batch.latest_ms)?;
        for (number, record) in records.iter().enumerate() {
            batch.take(record)?;
            if let Record::ClockStep(step) = record {
                batch.step(*step)?;
                batch.latest_ms = latest(&records[number + 1..], now_ms);
            }
        }
        batch.write_minutes()?;
        batch.run.advance(&transaction, now_ms)?;
        let run = batch.run;
        transaction.commit()?;
        self.run = run;
        self.stale = false;
        if is_durable {
            synchronous(&self.connection, false)?;
        }
        Ok(())
    }

    /// Instances whose spans go on.
    pub(super) fn instances(&self) -> usize {
        self.cache.open.len()
    }

    /// For the next one of the same file and host.
    pub(super) fn run(&self) -> Run {
        self.run
    }

    /// The spans that go on, so that they can be begun in another file.
    pub(super) fn open_spans(&self) -> Vec<StateTransition> {
        let transition = |open: &OpenSpan| StateTransition {
            instance: open.name.clone(),
            at_unix_ms: open.from_ms,
            state: open.state,
            text: open.text.clone(),
        };
        self.cache.open.values().map(transition).collect()
    }

    /// The earliest moment that it knows of.
    pub(super) fn oldest_ms(&self) -> rusqlite::Result<Option<u64>> {
        let first = |sql: &str, unit_ms: u64| {
            let mut statement = self.connection.prepare_cached(sql)?;
            let found: Option<i64> = statement.query_row([], |row| row.get(0)).optional()?;
            Ok(found.map(|found| time::moment(found).saturating_mul(unit_ms)))
        };
        let found: [rusqlite::Result<Option<u64>>; 3] = [
            first("SELECT from_ms FROM state_span ORDER BY id LIMIT 1", 1),
            first(
                "SELECT minute FROM minute_open ORDER BY minute LIMIT 1",
                MINUTE_MS,
            ),
            first(
                "SELECT slot >> 32 FROM rollup_hour ORDER BY slot LIMIT 1",
                time::DAY_MS,
            ),
        ];
        let found = found.into_iter().collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(found.into_iter().flatten().min())
    }
}

/// What claims to be later than this, before the clock was next set, happened then.
fn latest(records: &[Record], now_ms: u64) -> u64 {
    let step = records.iter().find_map(|record| match record {
        Record::ClockStep(step) => Some(step.left_unix_ms()),
        _ => None,
    });
    step.unwrap_or(now_ms)
}

impl Cache {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare(&format!(
            "SELECT instance, state_span.id, name, from_ms, text, {STATE_COLUMNS} FROM state_span
             JOIN instance ON instance.id = instance JOIN state ON state.id = state WHERE to_ms IS NULL"
        ))?;
        let rows = statement.query_map([], |row| {
            let open = OpenSpan {
                row: row.get(1)?,
                name: row.get::<_, String>(2)?.into(),
                from_ms: time::moment(row.get(3)?),
                text: row.get(4)?,
                state: read_state(row, 5)?,
            };
            Ok((row.get(0)?, open))
        })?;
        Ok(Cache {
            open: rows.collect::<rusqlite::Result<_>>()?,
            ..Cache::default()
        })
    }
}

/// A batch on its way into the file.
struct Batch<'a> {
    transaction: &'a Transaction<'a>,
    cache: &'a mut Cache,
    run: Run,
    /// Nothing happened later.
    latest_ms: u64,
    minutes: Vec<(u64, u32, Row)>,
}

impl Batch<'_> {
    fn take(&mut self, record: &Record) -> rusqlite::Result<()> {
        match record {
            Record::Transition(row) => self.transition(row),
            Record::Minute(row) => self.minute(row),
            Record::Check(row) => self.check(row),
            Record::Release(row) => self.release(row),
            Record::KeyValue(row) => self.key_value(row),
            // The minutes before it are dated by the clock as it was.
            Record::ClockStep(_) => self.write_minutes(),
        }
    }

    fn clamped(&self, at_unix_ms: u64) -> u64 {
        time::bounded(at_unix_ms.min(self.latest_ms))
    }

    /// The spans of an instance follow one another: none overlaps another of the same run or ends before it begins.
    fn transition(&mut self, new: &StateTransition) -> rusqlite::Result<()> {
        let instance = self.instance(&new.instance)?;
        let text = new.text.as_deref().map(cut_text);
        let open = self.cache.open.get_mut(&instance);
        if let (Some(open), Some(_)) = (&open, new.state)
            && open.state == new.state
        {
            return self.go_on(instance, text);
        }
        let at = self.clamped(new.at_unix_ms);
        let at = match self.cache.open.remove(&instance) {
            Some(open) => {
                let at = at.max(open.from_ms);
                self.transaction
                    .prepare_cached("UPDATE state_span SET to_ms = ?1 WHERE id = ?2")?
                    .execute([time::stored(at), open.row])?;
                at
            }
            None => at.max(self.last_end(instance)?),
        };
        let Some(state) = new.state else { return Ok(()) };
        let number = self.state(&state)?;
        let row = self.begin(instance, at, number, text)?;
        let open = OpenSpan {
            row,
            name: new.instance.clone(),
            from_ms: at,
            state: Some(state),
            text: text.map(str::to_owned),
        };
        self.cache.open.insert(instance, open);
        Ok(())
    }

    /// The same state again: the span goes on, and the newest words stand in it.
    fn go_on(&mut self, instance: u32, text: Option<&str>) -> rusqlite::Result<()> {
        let open = self.cache.open.get_mut(&instance);
        let (Some(open), Some(text)) = (open, text) else {
            return Ok(());
        };
        if open.text.as_deref() != Some(text) {
            self.transaction
                .prepare_cached("UPDATE state_span SET text = ?1 WHERE id = ?2")?
                .execute(params![text, open.row])?;
            open.text = Some(text.to_owned());
        }
        Ok(())
    }

    fn begin(&self, instance: u32, at_ms: u64, state: i64, text: Option<&str>) -> rusqlite::Result<i64> {
        self.transaction
            .prepare_cached(
                "INSERT INTO state_span (instance, run, from_ms, state, text) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![instance, self.run.id(), time::stored(at_ms), state, text])?;
        Ok(self.transaction.last_insert_rowid())
    }

    /// When the last span ends that counts. It may be a little ahead: the clock was set back by less than is noted.
    fn last_end(&self, instance: u32) -> rusqlite::Result<u64> {
        let end: Option<i64> = self
            .transaction
            .prepare_cached(
                "SELECT min(to_ms, coalesce(cut_ms, to_ms)) FROM state_span LEFT JOIN host_run ON host_run.id = run
                 WHERE instance = ?1 AND to_ms IS NOT NULL AND (cut_ms IS NULL OR state_span.from_ms < cut_ms)
                 ORDER BY state_span.from_ms DESC, state_span.id DESC LIMIT 1",
            )?
            .query_row([instance], |row| row.get(0))
            .optional()?;
        Ok(end.map_or(0, time::moment))
    }

    /// The wall clock was set: spans that go on end where it was and begin anew where it is, as another run. Nothing that is
    /// written is moved; where the earlier run overlaps the new one, the new one counts.
    fn step(&mut self, step: ClockStep) -> rusqlite::Result<()> {
        let (left_ms, to_ms) = (step.left_unix_ms(), time::bounded(step.to_unix_ms));
        self.run.advance(self.transaction, left_ms)?;
        self.run = Run::begin(self.transaction, to_ms)?;
        let mut open = std::mem::take(&mut self.cache.open);
        for (instance, span) in &mut open {
            self.transaction
                .prepare_cached("UPDATE state_span SET to_ms = max(from_ms, ?1) WHERE id = ?2")?
                .execute((time::stored(left_ms), span.row))?;
            self.transaction
                .prepare_cached(
                    "INSERT INTO state_span (instance, run, from_ms, state, text)
                     SELECT ?1, ?2, ?3, state, text FROM state_span WHERE id = ?4",
                )?
                .execute((instance, self.run.id(), time::stored(to_ms), span.row))?;
            (span.row, span.from_ms) = (self.transaction.last_insert_rowid(), to_ms);
        }
        self.cache.open = open;
        run::note_step(self.transaction, to_ms, step.by_ms, false)
    }

    fn state(&mut self, state: &SpanState) -> rusqlite::Result<i64> {
        if let Some(number) = self.cache.states.get(state) {
            return Ok(*number);
        }
        let words = words::words(state);
        let words = (&words.0, &words.1, &words.2, &words.3, words.4);
        self.transaction
            .prepare_cached(&format!(
                "INSERT INTO state ({STATE_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING"
            ))?
            .execute(words)?;
        let number = self
            .transaction
            .prepare_cached(
                "SELECT id FROM state WHERE lifecycle = ?1 AND health = ?2 AND cause = ?3 AND cause_of = ?4 AND left_out = ?5",
            )?
            .query_row(words, |row| row.get(0))?;
        self.cache.states.insert(*state, number);
        Ok(number)
    }

    fn instance(&mut self, name: &Arc<str>) -> rusqlite::Result<u32> {
        if let Some(number) = self.cache.instances.get(name) {
            return Ok(*number);
        }
        let short = cut(name, NAME_MAX);
        self.transaction
            .prepare_cached("INSERT INTO instance (name) VALUES (?1) ON CONFLICT DO NOTHING")?
            .execute([short])?;
        let number = instance(self.transaction, short)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        self.cache.instances.insert(name.clone(), number);
        Ok(number)
    }

    fn minute(&mut self, row: &MinuteRow) -> rusqlite::Result<()> {
        let minute = self.clamped(row.sums.from_unix_ms) / MINUTE_MS;
        let instance = self.instance(&row.instance)?;
        self.minutes
            .push((minute, instance, Row::from([(0, row.sums.clone())])));
        Ok(())
    }

    fn write_minutes(&mut self) -> rusqlite::Result<()> {
        let mut minutes = std::mem::take(&mut self.minutes);
        // In the order of the table, so that they are written at its end.
        minutes.sort_by_key(|(minute, instance, _)| (*minute, *instance));
        for (minute, instance, mut new) in minutes {
            let key = (minute as i64, instance);
            let there: Option<(i64, Vec<u8>)> = self
                .transaction
                .prepare_cached("SELECT run, sums FROM minute_open WHERE minute = ?1 AND instance = ?2")?
                .query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            // The rest of a minute in which the instance, the host or the clock began anew.
            if let Some((run, sums)) = there
                && run::counts(self.transaction, run, minute * MINUTE_MS)?
                && let Some(before) = rollup::decode(&sums, 0, MINUTE_MS).get(&0)
            {
                rollup::add(&mut new, 0, before);
            }
            let sums = rollup::encode(&new, Precision::Full);
            self.transaction
                .prepare_cached("INSERT OR REPLACE INTO minute_open (minute, instance, run, sums) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![key.0, key.1, self.run.id(), sums])?;
        }
        Ok(())
    }

    /// The same as the last time, within the same hour, is counted and not written again; deep checks are few and stand one by one.
    fn check(&mut self, row: &CheckRow) -> rusqlite::Result<()> {
        let instance = self.instance(&row.instance)?;
        let (at_ms, deep) = (self.clamped(row.at_unix_ms), row.kind == CheckKind::Deep);
        let text = row.text.as_deref().map(cut_text);
        let last = self.cache.bad.get(&instance).filter(|last| {
            !deep
                && last.result == row.result
                && last.text.as_deref() == text
                && (last.first_ms..last.first_ms + HOUR_MS).contains(&at_ms)
        });
        if let Some(last) = last {
            self.transaction
                .prepare_cached("UPDATE check_result SET times = times + 1, last_ms = ?1 WHERE id = ?2")?
                .execute([time::stored(at_ms), last.row])?;
            return Ok(());
        }
        self.transaction
            .prepare_cached(
                "INSERT INTO check_result (instance, at_ms, last_ms, times, deep, result, counted, took_ns, text)
                 VALUES (?1, ?2, ?2, 1, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                instance,
                time::stored(at_ms),
                deep,
                words::result_code(row.result),
                row.counted,
                row.took_ns.map(|ns| i64::try_from(ns).unwrap_or(i64::MAX)),
                text
            ])?;
        if !deep {
            let bad = BadCheck {
                row: self.transaction.last_insert_rowid(),
                first_ms: at_ms,
                result: row.result,
                text: text.map(str::to_owned),
            };
            self.cache.bad.insert(instance, bad);
        }
        Ok(())
    }

    fn release(&mut self, row: &ReleaseRow) -> rusqlite::Result<()> {
        let instance = self.instance(&row.instance)?;
        let (version, digest) = (row.version.to_string(), row.digest.to_string());
        self.transaction
            .prepare_cached("INSERT INTO release (instance, at_ms, version, digest) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                instance,
                time::stored(self.clamped(row.at_unix_ms)),
                version,
                digest
            ])?;
        Ok(())
    }

    fn key_value(&self, row: &KeyValueRow) -> rusqlite::Result<()> {
        let key = cut(&row.key, NAME_MAX);
        let Some(value) = row.value.as_deref().map(|value| cut(value, VALUE_MAX)) else {
            self.transaction
                .prepare_cached("DELETE FROM key_value WHERE key = ?1")?
                .execute([key])?;
            return Ok(());
        };
        self.transaction
            .prepare_cached("INSERT OR REPLACE INTO key_value (key, at_ms, value) VALUES (?1, ?2, ?3)")?
            .execute(params![key, time::stored(row.at_unix_ms), value])?;
        Ok(())
    }
}

/// The columns of `state` that [`read_state`] reads, in their order.
pub(super) const STATE_COLUMNS: &str = "lifecycle, health, cause, cause_of, left_out";

/// A state whose words begin at this column; `None` for words that this host does not know.
pub(super) fn read_state(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Option<SpanState>> {
    Ok(words::state((
        row.get(first)?,
        row.get(first + 1)?,
        row.get(first + 2)?,
        row.get(first + 3)?,
        row.get(first + 4)?,
    )))
}

/// The number of a name, if the file has it.
pub(super) fn instance(connection: &Connection, name: &str) -> rusqlite::Result<Option<u32>> {
    connection
        .prepare_cached("SELECT id FROM instance WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// The rollups of a row that count, and their resolution's begin and length. Where two runs overlap, the later one counts.
pub(super) fn read_row(
    connection: &Connection,
    (run, bytes): (i64, &[u8]),
    begin_ms: u64,
    length_ms: u64,
) -> rusqlite::Result<Row> {
    let mut row = rollup::decode(bytes, begin_ms, length_ms);
    if let Some(cut_ms) = run::cut_ms(connection, run)? {
        row.retain(|_, rollup| rollup.from_unix_ms < cut_ms);
    }
    Ok(row)
}

fn cut_text(text: &str) -> &str {
    cut(text, TEXT_MAX)
}

fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// A file's database.
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
