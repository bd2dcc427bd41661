//! Minutes of hours that have ended become rows of an hour, and are summed into their hour and their day. A minute of an hour that was folded
//! already is folded once more, into the same rows: an hour is what its minutes are, and a day what its hours are.

use super::Store;
use crate::rollup::{self, Precision, Row};
use crate::sql::{self, execute, find};
use crate::time::{self, HOUR_MS, MINUTE_MS};
use extman_model::history::Resolution;
use extman_model::record::Rollup;
use rusqlite::{Connection, TransactionBehavior, params};
use std::collections::BTreeMap;

/// An hour is folded so long after its end: its last minutes are under way until then.
const GRACE_MS: u64 = 2 * MINUTE_MS;

/// Takes the minutes of an hour out of their table, of the first 256 instances that have any: some ten milliseconds.
const TAKE: &str = "WITH RECURSIVE place (minute) AS (SELECT ?1 * 60 UNION ALL SELECT minute + 1 FROM place WHERE minute < ?1 * 60 + 59),
    first (instance) AS MATERIALIZED (SELECT min((SELECT min(instance) FROM minute_open AS open WHERE open.minute = place.minute)) FROM place)
    DELETE FROM minute_open WHERE minute IN (SELECT minute FROM place)
        AND instance >= (SELECT instance FROM first) AND instance < (SELECT instance FROM first) + 256
    RETURNING instance, minute, sums, (SELECT cut_ms FROM host_run WHERE id = run)";

impl Store {
    /// Folds a bounded part of what can be folded; whether there is more.
    pub(crate) fn fold(&mut self, now_ms: u64) -> rusqlite::Result<bool> {
        let settled_ms = time::bounded(now_ms).saturating_sub(GRACE_MS);
        let first: Option<(Option<u64>,)> =
            find(&self.connection, "SELECT min(minute) / 60 FROM minute_open", [])?;
        let hour = first.and_then(|first| first.0);
        let Some(hour) = hour.filter(|hour| *hour < settled_ms / HOUR_MS) else {
            return Ok(false);
        };
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (instance, minutes) in take_hour(&transaction, hour)? {
            fold_hour(&transaction, hour, instance, self.run, minutes)?;
        }
        transaction.commit()?;
        Ok(true)
    }
}

fn take_hour(connection: &Connection, hour: u64) -> rusqlite::Result<BTreeMap<u32, Row>> {
    let mut rows: BTreeMap<u32, Row> = BTreeMap::new();
    sql::all(connection, TAKE, [hour], |row| {
        let (instance, minute): (u32, u64) = (row.get(0)?, row.get(1)?);
        let bytes = row.get_ref(2)?.as_blob()?;
        let mut minutes = rollup::decode(bytes, minute * MINUTE_MS, MINUTE_MS, row.get(3)?);
        if let Some(rollup) = minutes.remove(&0) {
            rows.entry(instance).or_default().insert(minute % 60, rollup);
        }
        Ok(())
    })?;
    Ok(rows)
}

fn fold_hour(connection: &Connection, hour: u64, instance: u32, run: i64, new: Row) -> rusqlite::Result<()> {
    let (day, place) = (hour / 24, hour % 24);
    let mut minutes = get(connection, Resolution::Minute, hour, instance)?;
    let are_kept = !minutes.is_empty();
    for (place, minute) in new {
        rollup::add(&mut minutes, place, minute);
    }
    let mut hours = get(connection, Resolution::Hour, day, instance)?;
    let mut hour_sum = sum(&minutes);
    if let Some(before) = hours.get(&place).filter(|_| !are_kept) {
        hour_sum.add(before);
    }
    hours.insert(place, hour_sum);
    let mut days = get(connection, Resolution::Day, day / 32, instance)?;
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

fn get(connection: &Connection, of: Resolution, number: u64, instance: u32) -> rusqlite::Result<Row> {
    let (table, row_ms) = time::table(of);
    let sql = format!("SELECT sums, cut_ms FROM {table} LEFT JOIN host_run ON id = run WHERE slot = ?1");
    let found: Option<(Vec<u8>, Option<u64>)> = find(connection, &sql, [time::slot(number, instance)])?;
    Ok(found.map_or_else(Row::new, |(bytes, cut_ms)| {
        rollup::decode(&bytes, number * row_ms, of.len_ms(), cut_ms)
    }))
}
