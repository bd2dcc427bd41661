//! Minutes of hours that have ended become rows of an hour, and are summed into their hour and their day. A minute of an hour that was folded
//! already is folded once more, into the same rows: an hour is what its minutes are, and a day what its hours are.

use super::Store;
use crate::overlap::Overlaps;
use crate::rollup::{self, Precision, Row};
use crate::sql::{self, execute, value};
use crate::time::{self, HOUR_MS, MINUTE_MS};
use extman_model::history::Resolution;
use extman_model::record::Rollup;
use rusqlite::{Connection, OptionalExtension, Result, params};
use std::collections::BTreeMap;

/// An hour is folded so long after its end: its last minutes are under way until then.
const GRACE_MS: u64 = 2 * MINUTE_MS;
/// Instances in one transaction: some ten milliseconds.
const INSTANCES_AT_ONCE: u64 = 256;

/// The first instance that has a minute of the hour ?1.
const FIRST: &str = "WITH RECURSIVE place (minute) AS (SELECT ?1 * 60 UNION ALL SELECT minute + 1 FROM place WHERE minute < ?1 * 60 + 59)
    SELECT min((SELECT min(slot) & 0xffffffff FROM minute_open WHERE slot >= minute << 32 AND slot < (minute + 1) << 32)) FROM place";
const SELECT: &str = "SELECT slot & 0xffffffff, sums, run FROM minute_open WHERE slot >= ?1 AND slot < ?2";
const DELETE: &str = "DELETE FROM minute_open WHERE slot >= ?1 AND slot < ?2";

impl Store {
    /// Folds a bounded part of what can be folded; whether there is more.
    pub(crate) fn fold(&mut self, now_ms: u64) -> Result<bool> {
        let settled_ms = time::bounded(now_ms).saturating_sub(GRACE_MS);
        let first = value::<u64>(&self.connection, "SELECT min(slot) >> 32 FROM minute_open", [])?;
        let Some(hour) = first
            .map(|minute| minute / 60)
            .filter(|hour| *hour < settled_ms / HOUR_MS)
        else {
            return Ok(false);
        };
        let transaction = self.connection.transaction()?;
        let overlaps = Overlaps::with_future(&transaction)?;
        for (instance, minutes) in take_hour(&transaction, &overlaps, hour)? {
            fold_hour(&transaction, &overlaps, hour, instance, self.run, minutes)?;
        }
        transaction.commit()?;
        Ok(true)
    }
}

/// The minutes of an hour of the first instances that have any, taken out of their table.
fn take_hour(connection: &Connection, overlaps: &Overlaps, hour: u64) -> Result<BTreeMap<u32, Row>> {
    let mut rows: BTreeMap<u32, Row> = BTreeMap::new();
    let first = value::<u32>(connection, FIRST, [hour])?.unwrap_or(0);
    for minute in hour * 60..hour * 60 + 60 {
        let begin = time::slot(minute, first);
        let slots = [begin, (begin + INSTANCES_AT_ONCE).min(time::slot(minute + 1, 0))];
        sql::all(connection, SELECT, slots, |row| {
            let (bytes, run) = (row.get_ref(1)?.as_blob()?, row.get(2)?);
            let found = rollup::decode(bytes, minute * MINUTE_MS, MINUTE_MS).remove(&0);
            if let Some(rollup) = found.filter(|_| overlaps.counts(run, minute * MINUTE_MS, MINUTE_MS)) {
                rows.entry(row.get(0)?).or_default().insert(minute % 60, rollup);
            }
            Ok(())
        })?;
        execute(connection, DELETE, slots)?;
    }
    Ok(rows)
}

fn fold_hour(
    connection: &Connection,
    overlaps: &Overlaps,
    hour: u64,
    instance: u32,
    run: i64,
    new: Row,
) -> Result<()> {
    let (day, place) = (hour / 24, hour % 24);
    let get = |of, number| get(connection, overlaps, of, number, instance);
    let minutes = get(Resolution::Minute, hour)?;
    let are_kept = minutes.is_some();
    let mut minutes = minutes.unwrap_or_default();
    for (place, minute) in new {
        rollup::add(&mut minutes, place, minute);
    }
    let mut hours = get(Resolution::Hour, day)?.unwrap_or_default();
    let mut hour_sum = sum(&minutes);
    if let Some(before) = hours.get(&place).filter(|_| !are_kept) {
        hour_sum.add(before);
    }
    hours.insert(place, hour_sum);
    let mut days = get(Resolution::Day, day / 32)?.unwrap_or_default();
    days.insert(day % 32, sum(&hours));
    for (resolution, number, row) in [
        (Resolution::Minute, hour, &minutes),
        (Resolution::Hour, day, &hours),
        (Resolution::Day, day / 32, &days),
    ] {
        let (table, _) = time::table(resolution);
        let sql = format!("INSERT OR REPLACE INTO {table} (slot, run, sums) VALUES (?1, ?2, ?3)");
        let bytes = rollup::encode(rollup::places(row), Precision::ByCount);
        execute(
            connection,
            &sql,
            params![time::slot(number, instance), run, bytes],
        )?;
    }
    Ok(())
}

fn sum(row: &Row) -> Rollup {
    let mut sum = Rollup::default();
    row.values().for_each(|part| sum.add(part));
    sum
}

/// What counts of a row, if there is one.
fn get(
    connection: &Connection,
    overlaps: &Overlaps,
    of: Resolution,
    number: u64,
    instance: u32,
) -> Result<Option<Row>> {
    let (table, row_ms) = time::table(of);
    let sql = format!("SELECT sums, run FROM {table} WHERE slot = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let row = statement.query_row([time::slot(number, instance)], |row| {
        let (bytes, run) = (row.get_ref(0)?.as_blob()?, row.get(1)?);
        let mut row = rollup::decode(bytes, number * row_ms, of.len_ms());
        row.retain(|_, rollup| overlaps.counts(run, rollup.from_unix_ms, of.len_ms()));
        Ok(row)
    });
    row.optional()
}
