//! Minutes of hours that have ended become rows of many minutes, and are added to their hour and their day; results likewise come to
//! stand by instance. Folding moves and adds: nothing is counted twice or lost, in whatever order minutes arrive, and a minute
//! of an hour that was folded already is folded once more, into the same rows.

use super::Store;
use crate::results::{self, ResultPoint};
use crate::sums::{self, Row};
use crate::time::{self, HOUR_MS, MINUTE_MS, RESULTS_MS, Stored};
use extman_model::history::Resolution;
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// An hour is folded so long after its end: its last minutes are under way until then.
const GRACE_MS: u64 = 2 * MINUTE_MS;
/// Instances in one transaction: some ten milliseconds.
const INSTANCES_AT_ONCE: u32 = 256;
/// Bytes of results in one transaction, and most batches.
const BYTES_AT_ONCE: usize = 4 << 20;
const BATCHES_AT_ONCE: usize = 2000;

impl Store {
    /// Folds a bounded part of what can be folded; whether there is more.
    pub(crate) fn fold(&mut self, now_ms: u64) -> rusqlite::Result<bool> {
        let settled_ms = time::bounded(now_ms).saturating_sub(GRACE_MS);
        let minutes = self.fold_minutes(settled_ms)?;
        Ok(self.fold_results(settled_ms)? || minutes)
    }

    fn fold_minutes(&mut self, settled_ms: u64) -> rusqlite::Result<bool> {
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
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (instance, minutes) in take_hour(&transaction, hour)? {
            fold_hour(&transaction, hour, instance, &minutes)?;
        }
        transaction.commit()?;
        Ok(true)
    }

    fn fold_results(&mut self, settled_ms: u64) -> rusqlite::Result<bool> {
        let running = settled_ms / RESULTS_MS * RESULTS_MS;
        // What is far ahead was written while the clock was wrong, and will not come to its end soon.
        let running = time::stored(running)..=time::stored(settled_ms + HOUR_MS);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let points = take_batches(&transaction, &running)?;
        let any = !points.is_empty();
        for ((row, instance), points) in points {
            add_points(&transaction, row, instance, points)?;
        }
        transaction.commit()?;
        Ok(any)
    }
}

/// The minutes of an hour of the first instances that have any, taken out of their table.
fn take_hour(transaction: &Transaction<'_>, hour: u64) -> rusqlite::Result<BTreeMap<u32, Row>> {
    let minutes = || (hour * 60..hour * 60 + 60).map(|minute| minute as i64);
    let mut first_of = transaction
        .prepare_cached("SELECT instance FROM minute_open WHERE minute = ?1 ORDER BY instance LIMIT 1")?;
    let mut first: Option<u32> = None;
    for minute in minutes() {
        let of_minute: Option<u32> = first_of.query_row([minute], |row| row.get(0)).optional()?;
        first = first.into_iter().chain(of_minute).min();
    }
    let Some(first) = first else {
        return Ok(BTreeMap::new());
    };
    let end = i64::from(first) + i64::from(INSTANCES_AT_ONCE);
    let mut rows: BTreeMap<u32, Row> = BTreeMap::new();
    let mut select = transaction.prepare_cached(
        "SELECT instance, sums FROM minute_open WHERE minute = ?1 AND instance >= ?2 AND instance < ?3",
    )?;
    let mut delete = transaction
        .prepare_cached("DELETE FROM minute_open WHERE minute = ?1 AND instance >= ?2 AND instance < ?3")?;
    for minute in minutes() {
        let key = (minute, first, end);
        let mut found = select.query(key)?;
        while let Some(row) = found.next()? {
            let place = minute as u64 - hour * 60;
            rows.entry(row.get(0)?).or_default().insert(place, row.get(1)?);
        }
        drop(found);
        delete.execute(key)?;
    }
    Ok(rows)
}

fn fold_hour(transaction: &Transaction<'_>, hour: u64, instance: u32, minutes: &Row) -> rusqlite::Result<()> {
    add_row(transaction, Resolution::Minute, hour, instance, minutes)?;
    let mut sum = extman_model::record::Rollup::default();
    for minute in minutes.values() {
        match sums::decode(0, minute) {
            Ok(minute) => sum.add(&minute),
            Err(error) => {
                tracing::warn!(instance, hour, %error, "the sums of a minute in the history are lost")
            }
        }
    }
    let (sum, day) = (sums::encode(&sum), hour / 24);
    add_row(
        transaction,
        Resolution::Hour,
        day,
        instance,
        &Row::from([(hour % 24, sum.clone())]),
    )?;
    add_row(
        transaction,
        Resolution::Day,
        day / 32,
        instance,
        &Row::from([(day % 32, sum)]),
    )
}

/// Adds stretches to the row that they stand in.
fn add_row(
    transaction: &Transaction<'_>,
    resolution: Resolution,
    row: u64,
    instance: u32,
    new: &Row,
) -> rusqlite::Result<()> {
    let (table, slot) = (resolution.table(), time::slot(row, instance));
    let there: Option<Vec<u8>> = transaction
        .prepare_cached(&format!("SELECT sums FROM {table} WHERE slot = ?1"))?
        .query_row([slot], |row| row.get(0))
        .optional()?;
    let encoded = match there {
        None => sums::encode_row(new),
        Some(there) => {
            let mut sum = sums::decode_row(&there);
            for (place, sums) in new {
                if let Err(error) = sums::add_to_row(&mut sum, *place, sums) {
                    tracing::warn!(table, slot, %error, "sums in the history are lost");
                }
            }
            sums::encode_row(&sum)
        }
    };
    transaction
        .prepare_cached(&format!(
            "INSERT OR REPLACE INTO {table} (slot, sums) VALUES (?1, ?2)"
        ))?
        .execute(params![slot, encoded])?;
    Ok(())
}

type Points = BTreeMap<(u64, u32), Vec<ResultPoint>>;

/// The results of the first batches, by where they will stand, taken out of their table.
fn take_batches(transaction: &Transaction<'_>, running: &RangeInclusive<i64>) -> rusqlite::Result<Points> {
    let mut select = transaction
        .prepare_cached("SELECT id, from_ms, to_ms, results FROM result_batch ORDER BY id LIMIT ?1")?;
    let mut delete = transaction.prepare_cached("DELETE FROM result_batch WHERE id = ?1")?;
    let mut batches = select.query([BATCHES_AT_ONCE as i64])?;
    let (mut points, mut bytes, mut ids) = (Points::new(), 0, Vec::new());
    while let Some(batch) = batches.next()? {
        if running.contains(&batch.get::<_, i64>(2)?) {
            continue;
        }
        let blob = batch.get_ref(3)?.as_blob()?;
        results::decode_batch(time::moment(batch.get(1)?), blob, |instance, point| {
            let row = point.at_unix_ms / RESULTS_MS;
            points.entry((row, instance)).or_default().push(point);
        });
        ids.push(batch.get::<_, i64>(0)?);
        bytes += blob.len();
        if bytes >= BYTES_AT_ONCE {
            break;
        }
    }
    drop(batches);
    for id in ids {
        delete.execute([id])?;
    }
    Ok(points)
}

fn add_points(
    transaction: &Transaction<'_>,
    row: u64,
    instance: u32,
    new: Vec<ResultPoint>,
) -> rusqlite::Result<()> {
    let (slot, from_ms) = (time::slot(row, instance), row * RESULTS_MS);
    let there: Option<Vec<u8>> = transaction
        .prepare_cached("SELECT results FROM result WHERE slot = ?1")?
        .query_row([slot], |row| row.get(0))
        .optional()?;
    let mut points = there.map_or_else(Vec::new, |there| results::decode_points(from_ms, &there));
    points.extend(new);
    points.sort_by_key(|point| point.at_unix_ms);
    transaction
        .prepare_cached("INSERT OR REPLACE INTO result (slot, results) VALUES (?1, ?2)")?
        .execute(params![slot, results::encode_points(from_ms, &points)])?;
    Ok(())
}
