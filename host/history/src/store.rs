//! The open file: records go in, one transaction a batch. It reads no clock; old rows are dealt with in `fold` and `retention`.

mod fold;
mod retention;
mod run;

use super::rollup::{self, Precision};
use super::sql::{self, execute, value};
use super::time::{self, HOUR_MS, MINUTE_MS};
use super::words;
use extman_model::CheckKind;
use extman_model::record::{
    CheckRow, ClockStep, KeyValueRow, MinuteRow, Record, ReleaseRow, Rollup, SpanState, StateTransition,
};
use rusqlite::{Connection, OptionalExtension, Result, Row, Transaction, params};
use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

const NAME_MAX: usize = 256;
const TEXT_MAX: usize = 1024;
const VALUE_MAX: usize = 8 * 1024;

/// The open file.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) connection: Connection,
    cache: Cache,
    /// The run that is under way.
    run: i64,
}

/// What would otherwise be looked up in the file for each record.
#[derive(Debug, Default)]
struct Cache {
    instances: HashMap<Arc<str>, u32>,
    states: HashMap<SpanState, i64>,
    /// Spans that go on: row, beginning and state. Those that are missing are looked up.
    open_spans: HashMap<u32, (i64, u64, i64)>,
    /// The last check of an instance that was not good, by its row's number.
    bad_checks: HashMap<u32, (i64, CheckRow)>,
}

impl Store {
    /// Of a connection to a file of the newest version. `resumed`: the run of the same host, which goes on, so that spans without an end
    /// are its own; otherwise they were cut, and end when their host was last known to live.
    pub(super) fn new(mut connection: Connection, now_ms: u64, resumed: Option<i64>) -> Result<Self> {
        let transaction = connection.transaction()?;
        let run = match resumed {
            Some(run) => run,
            None => {
                transaction.execute(
                    "UPDATE state_span SET cut = 1, to_ms =
                     max(from_ms, coalesce((SELECT alive_ms FROM host_run WHERE id = run), 0)) WHERE to_ms IS NULL",
                    [],
                )?;
                run::first(&transaction, time::bounded(now_ms))?
            }
        };
        transaction.commit()?;
        Ok(Store {
            connection,
            cache: Cache::default(),
            run,
        })
    }

    /// Writes a batch, all of it or nothing, and that the host lives.
    pub(super) fn write(&mut self, records: &[Record], now_ms: u64) -> Result<()> {
        // What is spent of a budget must outlive the machine's fall as well.
        let is_durable = records.iter().any(|record| matches!(record, Record::KeyValue(_)));
        let synchronous = if is_durable { "FULL" } else { "NORMAL" };
        self.connection.pragma_update(None, "synchronous", synchronous)?;
        let transaction = self.connection.transaction()?;
        let mut batch = Batch {
            transaction: &transaction,
            // If the transaction fails, it is gone: it would be ahead of the file.
            cache: mem::take(&mut self.cache),
            run: self.run,
            latest_ms: latest(records, now_ms),
            minutes: Vec::new(),
        };
        run::advance(&transaction, batch.run, batch.latest_ms)?;
        for (number, record) in records.iter().enumerate() {
            match record {
                Record::Transition(row) => batch.transition(row)?,
                Record::Minute(row) => batch.minute(row)?,
                Record::Check(row) => batch.check(row)?,
                Record::Release(row) => batch.release(row)?,
                Record::KeyValue(row) => batch.key_value(row)?,
                Record::ClockStep(step) => batch.step(*step, latest(&records[number + 1..], now_ms))?,
            }
        }
        batch.write_minutes()?;
        let Batch { cache, run, .. } = batch;
        transaction.commit()?;
        (self.cache, self.run) = (cache, run);
        Ok(())
    }

    /// For the next one of the same file and host.
    pub(super) fn run(&self) -> i64 {
        self.run
    }

    /// The earliest moment that it knows of.
    pub(super) fn oldest_ms(&self) -> Result<Option<u64>> {
        let sql = "SELECT min(at) FROM (SELECT (SELECT from_ms FROM state_span ORDER BY id LIMIT 1) AS at
            UNION ALL SELECT (SELECT min(slot) >> 32 FROM minute_open) * 60000
            UNION ALL SELECT (SELECT min(slot) FROM rollup_hour) / (1 << 32) * 86400000)";
        value(&self.connection, sql, [])
    }
}

/// What claims to be later than this, before the clock was next set, happened then.
fn latest(records: &[Record], now_ms: u64) -> u64 {
    let step = records.iter().find_map(|record| match record {
        Record::ClockStep(step) => Some(step.left_unix_ms()),
        _ => None,
    });
    time::bounded(step.unwrap_or(now_ms))
}

/// A batch on its way into the file.
struct Batch<'a> {
    transaction: &'a Transaction<'a>,
    cache: Cache,
    run: i64,
    /// Nothing happened later.
    latest_ms: u64,
    /// By minute and instance.
    minutes: Vec<(u64, u32, &'a Rollup)>,
}

impl<'a> Batch<'a> {
    fn clamped(&self, at_unix_ms: u64) -> u64 {
        at_unix_ms.min(self.latest_ms)
    }

    /// The spans of an instance follow one another: none overlaps another of the same run or ends before it begins.
    fn transition(&mut self, new: &StateTransition) -> Result<()> {
        let instance = self.instance(&new.instance)?;
        let text = new.text.as_deref().map(|text| cut(text, TEXT_MAX));
        let state = new.state.map(|state| self.state(&state)).transpose()?;
        let mut at = self.clamped(new.at_unix_ms);
        match self.open_span(instance)? {
            // The same state again, for the same reason as far as is told: the span goes on.
            Some((span, _, open)) if state == Some(open) && !self.is_news(span, text)? => return Ok(()),
            Some((span, from_ms, _)) => {
                at = at.max(from_ms);
                let sql = "UPDATE state_span SET to_ms = ?1 WHERE id = ?2";
                execute(self.transaction, sql, params![at, span])?;
                self.cache.open_spans.remove(&instance);
            }
            None => at = at.max(self.last_end(instance)?),
        }
        match state {
            Some(state) => self.begin(instance, at, state, text),
            None => Ok(()),
        }
    }

    /// Whether these words are others than those of a span.
    fn is_news(&self, span: i64, text: Option<&str>) -> Result<bool> {
        let sql = "SELECT text IS NOT ?2 FROM state_span WHERE id = ?1";
        Ok(text.is_some() && value(self.transaction, sql, params![span, text])?.unwrap_or(false))
    }

    fn open_span(&self, instance: u32) -> Result<Option<(i64, u64, i64)>> {
        if let Some(open) = self.cache.open_spans.get(&instance) {
            return Ok(Some(*open));
        }
        let sql = "SELECT id, from_ms, state FROM state_span WHERE instance = ?1 AND to_ms IS NULL";
        let mut statement = self.transaction.prepare_cached(sql)?;
        statement.query_row([instance], |row| row.try_into()).optional()
    }

    fn begin(&mut self, instance: u32, at_ms: u64, state: i64, text: Option<&str>) -> Result<()> {
        let sql = "INSERT INTO state_span (instance, run, from_ms, state, text) VALUES (?1, ?2, ?3, ?4, ?5)";
        let columns = params![instance, self.run, at_ms, state, text];
        execute(self.transaction, sql, columns)?;
        let open = (self.transaction.last_insert_rowid(), at_ms, state);
        self.cache.open_spans.insert(instance, open);
        Ok(())
    }

    /// When the last span ends that counts. It may be a little ahead: the clock was set back by less than is noted.
    fn last_end(&self, instance: u32) -> Result<u64> {
        let sql = "SELECT min(to_ms, coalesce(cut_ms, to_ms)) FROM state_span LEFT JOIN host_run ON host_run.id = run
            WHERE instance = ?1 AND to_ms IS NOT NULL AND (cut_ms IS NULL OR state_span.from_ms < cut_ms)
            ORDER BY state_span.from_ms DESC, state_span.id DESC LIMIT 1";
        Ok(value(self.transaction, sql, [instance])?.unwrap_or(0))
    }

    /// The wall clock was set: spans that go on end where it was and begin anew where it is, as another run. Nothing that is
    /// written is moved; where the earlier run overlaps the new one, the new one counts. Nothing before the next step is later than `latest_ms`.
    fn step(&mut self, step: ClockStep, latest_ms: u64) -> Result<()> {
        // The minutes before it are dated by the clock as it was.
        self.write_minutes()?;
        let (left_ms, to_ms) = (time::bounded(step.left_unix_ms()), time::bounded(step.to_unix_ms));
        run::advance(self.transaction, self.run, left_ms)?;
        self.run = run::begin(self.transaction, to_ms)?;
        let end = "UPDATE state_span SET to_ms = max(from_ms, ?1) WHERE to_ms IS NULL RETURNING instance, state, text";
        let read = |row: &Row<'_>| row.try_into();
        let ended: Vec<(u32, i64, Option<String>)> = sql::all(self.transaction, end, [left_ms], read)?;
        for (instance, state, text) in ended {
            self.begin(instance, to_ms, state, text.as_deref())?;
        }
        run::note_step(self.transaction, to_ms, step.by_ms, false)?;
        self.latest_ms = latest_ms;
        run::advance(self.transaction, self.run, latest_ms)
    }

    fn state(&mut self, state: &SpanState) -> Result<i64> {
        if let Some(number) = self.cache.states.get(state) {
            return Ok(*number);
        }
        let columns = words::STATE;
        // An update of nothing gives the number of the row that is there.
        let sql = format!(
            "INSERT INTO state ({columns}) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET left_out = left_out RETURNING id"
        );
        let words = params![
            state.lifecycle.as_str(),
            state.health.as_str(),
            state.cause.code(),
            words::cause_of(state.cause),
            state.left_out
        ];
        let number = self.transaction.query_row(&sql, words, |row| row.get(0))?;
        self.cache.states.insert(*state, number);
        Ok(number)
    }

    fn instance(&mut self, name: &Arc<str>) -> Result<u32> {
        if let Some(number) = self.cache.instances.get(name) {
            return Ok(*number);
        }
        let sql =
            "INSERT INTO instance (name) VALUES (?1) ON CONFLICT DO UPDATE SET name = name RETURNING id";
        let mut statement = self.transaction.prepare_cached(sql)?;
        let number = statement.query_row([cut(name, NAME_MAX)], |row| row.get(0))?;
        self.cache.instances.insert(name.clone(), number);
        Ok(number)
    }

    fn minute(&mut self, row: &'a MinuteRow) -> Result<()> {
        let minute = self.clamped(row.rollup.from_unix_ms) / MINUTE_MS;
        let instance = self.instance(&row.instance)?;
        self.minutes.push((minute, instance, &row.rollup));
        Ok(())
    }

    fn write_minutes(&mut self) -> Result<()> {
        let mut minutes = mem::take(&mut self.minutes);
        // In the order of the table, so that they are written at its end.
        minutes.sort_by_key(|(minute, instance, _)| (*minute, *instance));
        let sql = "INSERT INTO minute_open (slot, run, sums) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        let mut insert = self.transaction.prepare_cached(sql)?;
        for (minute, instance, rollup) in minutes {
            let bytes = rollup::encode([(0, rollup)], Precision::Full);
            let slot = time::slot(minute, instance);
            if insert.execute(params![slot, self.run, bytes])? == 0 {
                self.add_to_minute(minute, instance, rollup)?;
            }
        }
        Ok(())
    }

    /// The rest of a minute in which the instance, the host or the clock began anew. What was told of it before a later run came to it
    /// does not count.
    fn add_to_minute(&self, minute: u64, instance: u32, rest: &Rollup) -> Result<()> {
        // As `Overlaps::counts` of the minute's first moment, with the run that is under way taken as going on: of one row, so that no list is made
        // for it.
        let there = "SELECT sums FROM minute_open WHERE slot = ?1 AND NOT EXISTS
            (SELECT 1 FROM host_run WHERE id > run AND from_ms <= ?2 AND (alive_ms > ?2 OR id = ?3))";
        let mut sum = rest.clone();
        let mut statement = self.transaction.prepare_cached(there)?;
        let (slot, begin_ms) = (time::slot(minute, instance), minute * MINUTE_MS);
        let before = statement.query_row(params![slot, begin_ms, self.run], |row| {
            Ok(rollup::decode(row.get_ref(0)?.as_blob()?, begin_ms, MINUTE_MS).remove(&0))
        });
        if let Some(before) = before.optional()?.flatten() {
            sum.add(&before);
        }
        let sql = "UPDATE minute_open SET run = ?2, sums = ?3 WHERE slot = ?1";
        let bytes = rollup::encode([(0, &sum)], Precision::Full);
        execute(self.transaction, sql, params![slot, self.run, bytes])
    }

    /// The same as the last time, within the same hour, is counted and not written again; deep checks are few and stand one by one.
    fn check(&mut self, row: &CheckRow) -> Result<()> {
        let instance = self.instance(&row.instance)?;
        let (at_ms, is_deep) = (self.clamped(row.at_unix_ms), row.kind == CheckKind::Deep);
        let is_again = |last: &CheckRow| {
            let first_ms = last.at_unix_ms;
            !is_deep
                && (last.result, &last.text) == (row.result, &row.text)
                && (first_ms..first_ms + HOUR_MS).contains(&at_ms)
        };
        if let Some((number, last)) = self.cache.bad_checks.get(&instance)
            && is_again(last)
        {
            let sql = "UPDATE check_result SET times = times + 1, last_ms = ?1 WHERE id = ?2";
            let mut again = self.transaction.prepare_cached(sql)?;
            // If there was no room for it, its row is gone.
            if again.execute(params![at_ms, number])? > 0 {
                return Ok(());
            }
        }
        let sql =
            "INSERT INTO check_result (instance, at_ms, last_ms, times, deep, result, counted, took_ns, text)
            VALUES (?1, ?2, ?2, 1, ?3, ?4, ?5, ?6, ?7)";
        let result = words::result_code(row.result);
        let took_ns = row.took_ns.map(|ns| ns.min(i64::MAX as u64));
        let text = row.text.as_deref().map(|text| cut(text, TEXT_MAX));
        let columns = params![instance, at_ms, is_deep, result, row.counted, took_ns, text];
        execute(self.transaction, sql, columns)?;
        if !is_deep {
            let mut last = row.clone();
            last.at_unix_ms = at_ms;
            let number = self.transaction.last_insert_rowid();
            self.cache.bad_checks.insert(instance, (number, last));
        }
        Ok(())
    }

    fn release(&mut self, row: &ReleaseRow) -> Result<()> {
        let instance = self.instance(&row.instance)?;
        let at_ms = self.clamped(row.at_unix_ms);
        let (version, digest) = (row.version.to_string(), row.digest.to_string());
        let sql = "INSERT INTO release (instance, at_ms, version, digest) VALUES (?1, ?2, ?3, ?4)";
        execute(self.transaction, sql, params![instance, at_ms, version, digest])
    }

    fn key_value(&self, row: &KeyValueRow) -> Result<()> {
        let key = cut(&row.key, NAME_MAX);
        let at_ms = time::bounded(row.at_unix_ms);
        let Some(value) = row.value.as_deref() else {
            return execute(self.transaction, "DELETE FROM key_value WHERE key = ?1", [key]);
        };
        let sql = "INSERT OR REPLACE INTO key_value (key, at_ms, value) VALUES (?1, ?2, ?3)";
        execute(self.transaction, sql, params![key, at_ms, cut(value, VALUE_MAX)])
    }
}

fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
