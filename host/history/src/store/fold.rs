//! Minutes of hours that have ended become rows of an hour, and are summed into their hour and their day. A minute of an hour that was folded
//! already is folded once more, into the same rows: an hour is what its minutes are, and a day what its hours are.

use super::{Store, read_row, run};
use crate::rollup::{self, Precision, Row};
use crate::time::{self, HOUR_MS, MINUTE_MS, Stored};
use extman_model::history::Resolution;
use extman_model::record::Rollup;
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};
use std::collections::BTreeMap;

/// An hour is folded so long after its end: its last minutes are under way until then.
const GRACE_MS: u64 = 2 * MINUTE_MS;
/// Instances in one transaction: some ten milliseconds.
const INSTANCES_AT_ONCE: u32 = 256;

impl Store {
    /// Folds a bounded part of what can be folded; whether there is more.
    pub(crate) fn fold(&mut self, now_ms: u64) -> rusqlite::Result<bool> {
        let settled_ms = time::bounded(now_ms).saturating_sub(GRACE_MS);
        let first: Option<i64> = self
            .connection
            .prepare_cached("SELECT minute FROM minute_open ORDER BY minute LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?;
        let Some(hour) = first.map(|minute| time::moment(minute) / 60) else {
            return Ok(false);
        };
        if hour >= settled_ms / HOUR_MS {
            return Ok(false);
        }
        let run = self.run.id();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (instance, minutes) in take_hour(&transaction, hour)? {
            fold_hour(&transaction, hour, instance, run, &minutes)?;
        }
        transaction.commit()?;
        Ok(true)
    }
}

/// The minutes of an hour of the first instances that have any, taken out of their table.
fn take_hour(transaction: &Transaction<'_>, hour: u64) -> rusqlite::Result<BTreeMap<u32, Row>> {
    let minutes = (hour * 60) as i64..(hour * 60 + 60) as i64;
    let mut first_of = transaction
        .prepare_cached("SELECT instance FROM minute_open WHERE minute = ?1 ORDER BY instance LIMIT 1")?;
    let mut first: Option<u32> = None;
    for minute in minutes.clone() {
        let of_minute: Option<u32> = first_of.query_row([minute], |row| row.get(0)).optional()?;
        first = first.into_iter().chain(of_minute).min();
    }
    let mut rows: BTreeMap<u32, Row> = BTreeMap::new();
    let Some(first) = first else { return Ok(rows) };
    let end = i64::from(first) + i64::from(INSTANCES_AT_ONCE);
    let mut select = transaction.prepare_cached(
        "SELECT instance, run, sums FROM minute_open WHERE minute = ?1 AND instance >= ?2 AND instance < ?3",
    )?;
    let mut delete = transaction
        .prepare_cached("DELETE FROM minute_open WHERE minute = ?1 AND instance >= ?2 AND instance < ?3")?;
    for minute in minutes {
        let (key, begin_ms) = ((minute, first, end), minute as u64 * MINUTE_MS);
        let mut found = select.query(key)?;
        while let Some(row) = found.next()? {
            if run::counts(transaction, row.get(1)?, begin_ms)?
                && let Some(rollup) =
                    rollup::decode(row.get_ref(2)?.as_blob()?, begin_ms, MINUTE_MS).remove(&0)
            {
                let minutes = rows.entry(row.get(0)?).or_default();
                minutes.insert(minute as u64 - hour * 60, rollup);
            }
        }
        drop(found);
        delete.execute(key)?;
    }
    Ok(rows)
}

fn fold_hour(
    transaction: &Transaction<'_>,
    hour: u64,
    instance: u32,
    run: i64,
    new: &Row,
) -> rusqlite::Result<()> {
    let (day, place) = (hour / 24, hour % 24);
    let mut minutes = get(transaction, Resolution::Minute, hour, instance)?;
    let are_there = !minutes.is_empty();
    new.iter()
        .for_each(|(place, minute)| rollup::add(&mut minutes, *place, minute));
    let mut hours = get(transaction, Resolution::Hour, day, instance)?;
    let mut sum = sum(&minutes);
    if let Some(before) = hours.get(&place).filter(|_| !are_there) {
        // Its minutes are no longer kept.
        sum.add(before);
    }
    hours.insert(place, sum);
    let mut days = get(transaction, Resolution::Day, day / 32, instance)?;
    days.insert(day % 32, self::sum(&hours));
    for (resolution, number, row) in [
        (Resolution::Minute, hour, &minutes),
        (Resolution::Hour, day, &hours),
        (Resolution::Day, day / 32, &days),
    ] {
        let sql = format!(
            "INSERT OR REPLACE INTO {} (slot, run, sums) VALUES (?1, ?2, ?3)",
            resolution.table()
        );
        let sums = rollup::encode(row, Precision::ByCount);
        transaction
            .prepare_cached(&sql)?
            .execute(params![time::slot(number, instance), run, sums])?;
    }
    Ok(())
}

fn sum(row: &Row) -> Rollup {
    let mut sum = Rollup::default();
    row.values().for_each(|part| sum.add(part));
    sum
}

fn get(transaction: &Transaction<'_>, of: Resolution, number: u64, instance: u32) -> rusqlite::Result<Row> {
    let sql = format!("SELECT run, sums FROM {} WHERE slot = ?1", of.table());
    let found: Option<(i64, Vec<u8>)> = transaction
        .prepare_cached(&sql)?
        .query_row([time::slot(number, instance)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    match found {
        Some((run, sums)) => read_row(transaction, (run, &sums), number * of.row_ms(), of.len_ms()),
        None => Ok(Row::new()),
    }
}
