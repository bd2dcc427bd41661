//! A file of version 1 or 2 becomes one of version 3, once, in one transaction. Single results go: nobody reads them.

use super::rollup::{self, Malformed, Precision, Row, take};
use super::time::{self, DAY_MS, HOUR_MS, MINUTE_MS};
use super::words;
use extman_model::record::{Rollup, StateMs};
use extman_model::sketch::Sketch;
use rusqlite::{Connection, Transaction, params};

/// The tables of version 2 that version 1 has not.
const V2: &str = "
    CREATE TABLE deep_check (id INTEGER PRIMARY KEY, instance INTEGER NOT NULL, at_ms INTEGER NOT NULL, result INTEGER NOT NULL,
        counted INTEGER NOT NULL, took_ns INTEGER, text TEXT) STRICT;
    CREATE TABLE clock_step (id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, by_ms INTEGER NOT NULL, found INTEGER NOT NULL,
        moved INTEGER NOT NULL) STRICT;";

const SET_ASIDE: &str = "
    ALTER TABLE host_run ADD COLUMN cut_ms INTEGER;
    ALTER TABLE clock_step DROP COLUMN moved;
    ALTER TABLE ledger RENAME TO key_value;
    DROP INDEX state_span_by_instance; DROP INDEX state_span_open; DROP INDEX state_span_ended;
    ALTER TABLE state_span RENAME TO old_span;
    ALTER TABLE minute_open RENAME TO old_open;
    ALTER TABLE rollup_minute RENAME TO old_minute;
    ALTER TABLE rollup_hour RENAME TO old_hour;
    ALTER TABLE rollup_day RENAME TO old_day;
    DROP TABLE result; DROP TABLE result_batch;";

const COPY: &str = "
    INSERT OR IGNORE INTO state (lifecycle, health, cause, cause_of, left_out)
        SELECT DISTINCT lifecycle, health, cause, coalesce(cause_of, ''), left_out FROM old_span;
    INSERT INTO state_span (id, instance, run, from_ms, to_ms, state, cut, text)
        SELECT id, instance,
            coalesce((SELECT h.id FROM host_run AS h WHERE h.from_ms <= old_span.from_ms ORDER BY h.id DESC LIMIT 1), 0),
            from_ms, to_ms,
            (SELECT s.id FROM state AS s WHERE s.lifecycle = old_span.lifecycle AND s.health = old_span.health
                AND s.cause = old_span.cause AND s.cause_of = coalesce(old_span.cause_of, '') AND s.left_out = old_span.left_out),
            cut, text
        FROM old_span;
    INSERT INTO check_result (instance, at_ms, last_ms, times, deep, result, counted, took_ns, text)
        SELECT instance, at_ms, at_ms, 1, 1, result, counted, took_ns, text FROM deep_check ORDER BY id;
    DROP TABLE old_span; DROP TABLE old_open; DROP TABLE old_minute; DROP TABLE old_hour; DROP TABLE old_day; DROP TABLE deep_check;";

pub(super) fn to_v3(transaction: &Transaction<'_>, from_version: i64, v3: &str) -> rusqlite::Result<()> {
    if from_version < 2 {
        transaction.execute_batch(V2)?;
    }
    transaction.execute_batch(SET_ASIDE)?;
    transaction.execute_batch(v3)?;
    let open =
        "INSERT INTO minute_open (minute, instance, run, sums) VALUES (?1 >> 32, ?1 & 0xffffffff, ?2, ?3)";
    let select_open = "SELECT minute << 32 | instance AS slot, sums FROM old_open ORDER BY minute, instance";
    rollups(transaction, select_open, open, MINUTE_MS, |bytes| {
        Ok(Row::from([(0, rollup_v2(bytes)?)]))
    })?;
    for (name, row_ms) in [("minute", HOUR_MS), ("hour", DAY_MS), ("day", 32 * DAY_MS)] {
        let select = format!("SELECT slot, sums FROM old_{name} ORDER BY slot");
        let insert = format!("INSERT INTO rollup_{name} (slot, run, sums) VALUES (?1, ?2, ?3)");
        rollups(transaction, &select, &insert, row_ms, |bytes| Ok(row_v2(bytes)))?;
    }
    transaction.execute_batch(COPY)
}

/// Every row is read in the old form and written in the new one, as of the run that was under way when it begins.
fn rollups(
    connection: &Connection,
    select: &str,
    insert: &str,
    row_ms: u64,
    read: impl Fn(&[u8]) -> Result<Row, Malformed>,
) -> rusqlite::Result<()> {
    let mut run = connection.prepare(
        "SELECT coalesce((SELECT id FROM host_run WHERE from_ms < ?1 ORDER BY id DESC LIMIT 1), 0)",
    )?;
    let (mut select, mut insert) = (connection.prepare(select)?, connection.prepare(insert)?);
    let mut found = select.query([])?;
    while let Some(row) = found.next()? {
        let slot: i64 = row.get(0)?;
        let Ok(rollups) = read(row.get_ref(1)?.as_blob()?) else {
            tracing::warn!(
                slot,
                "rollups of an older history can't be read and are passed over"
            );
            continue;
        };
        let end_ms = (time::row_of(slot) + 1).saturating_mul(row_ms);
        let run: i64 = run.query_row([time::stored(end_ms)], |row| row.get(0))?;
        insert.execute(params![slot, run, rollup::encode(&rollups, Precision::ByCount)])?;
    }
    Ok(())
}

/// Each stretch with its place and length before it; of what is malformed, the part before.
fn row_v2(mut bytes: &[u8]) -> Row {
    let mut row = Row::new();
    let bytes = &mut bytes;
    while let (Ok(place), Ok(sums)) = (take(bytes), take_all(bytes)) {
        if let Ok(rollup) = rollup_v2(sums) {
            rollup::add(&mut row, place, &rollup);
        }
    }
    row
}

/// A bit for each of eight numbers, then for errors, latencies, heap and processor time.
fn rollup_v2(mut bytes: &[u8]) -> Result<Rollup, Malformed> {
    let bytes = &mut bytes;
    let has = take(bytes)?;
    if has >> 12 != 0 {
        return Err(Malformed);
    }
    let mut numbers = [0; 8];
    for (bit, number) in numbers.iter_mut().enumerate() {
        if has >> bit & 1 == 1 {
            *number = take(bytes)?;
        }
    }
    let [
        up,
        degraded,
        down,
        unknown,
        left_out,
        checks,
        checks_failed,
        calls,
    ] = numbers;
    let states = StateMs {
        up,
        degraded,
        down,
        unknown,
        left_out,
    };
    let mut rollup = Rollup {
        states,
        checks,
        checks_failed,
        calls,
        ..Rollup::default()
    };
    if has >> 8 & 1 == 1 {
        for _ in 0..take(bytes)? {
            let kind = words::error_kind(take(bytes)?).ok_or(Malformed)?;
            rollup.errors.insert(kind, take(bytes)?);
        }
    }
    if has >> 9 & 1 == 1 {
        rollup.latency = Sketch::decode(take_all(bytes)?).map_err(|_| Malformed)?;
    }
    if has >> 10 & 1 == 1 {
        let least = take(bytes)?;
        rollup.heap_bytes = Some((least, least.saturating_add(take(bytes)?)));
    }
    if has >> 11 & 1 == 1 {
        rollup.cpu_ns = Some(take(bytes)?);
    }
    Ok(rollup)
}

fn take_all<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(take(bytes)?).map_err(|_| Malformed)?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
    *bytes = rest;
    Ok(taken)
}
