//! Taking minutes out again, wherever they stand by now, and putting them where they belong. What holds sums of them is summed anew, so
//! that minutes, hours and days go on to agree.

use super::add_minute;
use crate::sums::{self, Row};
use crate::time::{self, Stored};
use extman_model::history::Resolution;
use extman_model::record::Rollup;
use rusqlite::{OptionalExtension, Transaction, params};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Minutes of instances that are moved in one go: a second or so.
const MOVED_MAX: i64 = 100_000;

/// A minute of an instance: its number, the instance's, its sums.
type Minute = (u64, u32, Vec<u8>);

/// Moves minutes by so many, none to after the `latest`; `false` if they are too many and stay.
pub(super) fn shift(
    transaction: &Transaction<'_>,
    minutes: RangeInclusive<u64>,
    by: i64,
    latest: u64,
) -> rusqlite::Result<bool> {
    let minutes = match by {
        0 => (*minutes.start()).max(latest + 1)..=*minutes.end(),
        _ => minutes,
    };
    if minutes.is_empty() {
        return Ok(true);
    }
    if count(transaction, &minutes)? > MOVED_MAX
        || is_without_minutes(transaction, &minutes)?
        || is_without_minutes(transaction, &moved(&minutes, by))?
    {
        return Ok(false);
    }
    let mut taken = take(transaction, minutes)?;
    // In the order of the table.
    taken.sort_by_key(|(minute, instance, _)| (*minute, *instance));
    for (minute, instance, sums) in taken {
        add_minute(
            transaction,
            minute.saturating_add_signed(by).min(latest),
            instance,
            &sums,
        )?;
    }
    Ok(true)
}

/// Takes minutes out.
pub(super) fn take(
    transaction: &Transaction<'_>,
    minutes: RangeInclusive<u64>,
) -> rusqlite::Result<Vec<Minute>> {
    let ends = (*minutes.start() as i64, *minutes.end() as i64);
    let mut select = transaction.prepare_cached(
        "SELECT minute, instance, sums FROM minute_open WHERE minute >= ?1 AND minute <= ?2",
    )?;
    let open = select.query_map(ends, |row| {
        Ok((time::moment(row.get(0)?), row.get(1)?, row.get::<_, Vec<u8>>(2)?))
    })?;
    let mut taken = open.collect::<rusqlite::Result<Vec<Minute>>>()?;
    transaction
        .prepare_cached("DELETE FROM minute_open WHERE minute >= ?1 AND minute <= ?2")?
        .execute(ends)?;
    let mut days = BTreeSet::new();
    for (hour, instance, bytes) in folded(transaction, &minutes)? {
        let row = sums::decode_row(&bytes);
        let is_in = |place: &u64| *place < 60 && minutes.contains(&(hour * 60 + place));
        let (out, stay): (Row, Row) = row.into_iter().partition(|(place, _)| is_in(place));
        if out.is_empty() {
            continue;
        }
        put(transaction, Resolution::Minute, hour, instance, &stay)?;
        replace(
            transaction,
            Resolution::Hour,
            hour / 24,
            hour % 24,
            instance,
            &stay,
        )?;
        days.insert((hour / 24, instance));
        taken.extend(
            out.into_iter()
                .map(|(place, sums)| (hour * 60 + place, instance, sums)),
        );
    }
    for (day, instance) in days {
        let hours = get(transaction, Resolution::Hour, day, instance)?;
        replace(transaction, Resolution::Day, day / 32, day % 32, instance, &hours)?;
    }
    Ok(taken)
}

/// Where these minutes go.
fn moved(minutes: &RangeInclusive<u64>, by: i64) -> RangeInclusive<u64> {
    minutes.start().saturating_add_signed(by)..=minutes.end().saturating_add_signed(by)
}

/// Whether there are sums of hours whose minutes are no longer kept: they can't be summed anew.
fn is_without_minutes(
    transaction: &Transaction<'_>,
    minutes: &RangeInclusive<u64>,
) -> rusqlite::Result<bool> {
    let days = (minutes.start() / 60 / 24, minutes.end() / 60 / 24);
    let mut select =
        transaction.prepare_cached("SELECT slot, sums FROM rollup_hour WHERE slot >= ?1 AND slot < ?2")?;
    let mut rows = select.query((time::slot(days.0, 0), time::slot(days.1 + 1, 0)))?;
    let mut there = transaction.prepare_cached("SELECT 1 FROM rollup_minute WHERE slot = ?1")?;
    while let Some(row) = rows.next()? {
        let slot: i64 = row.get(0)?;
        let (day, instance) = (time::row_of(slot), slot as u32);
        for place in sums::decode_row(&row.get::<_, Vec<u8>>(1)?).into_keys() {
            let hour = day * 24 + place;
            let is_in = place < 24 && hour >= minutes.start() / 60 && hour <= minutes.end() / 60;
            if is_in && !there.exists([time::slot(hour, instance)])? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn count(transaction: &Transaction<'_>, minutes: &RangeInclusive<u64>) -> rusqlite::Result<i64> {
    // No further than to what is too many.
    let open: i64 = transaction
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM minute_open WHERE minute >= ?1 AND minute <= ?2 LIMIT ?3)",
        )?
        .query_row(
            (*minutes.start() as i64, *minutes.end() as i64, MOVED_MAX + 1),
            |row| row.get(0),
        )?;
    let (from, until) = slots(minutes);
    let folded: i64 = transaction
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM rollup_minute WHERE slot >= ?1 AND slot < ?2 LIMIT ?3)",
        )?
        .query_row((from, until, MOVED_MAX / 60 + 1), |row| row.get(0))?;
    Ok(open.saturating_add(folded.saturating_mul(60)))
}

/// Rows of whole hours that may hold some of these minutes.
fn folded(transaction: &Transaction<'_>, minutes: &RangeInclusive<u64>) -> rusqlite::Result<Vec<Minute>> {
    let mut select =
        transaction.prepare_cached("SELECT slot, sums FROM rollup_minute WHERE slot >= ?1 AND slot < ?2")?;
    let rows = select.query_map(slots(minutes), |row| {
        let slot: i64 = row.get(0)?;
        Ok((time::row_of(slot), slot as u32, row.get::<_, Vec<u8>>(1)?))
    })?;
    rows.collect()
}

fn slots(minutes: &RangeInclusive<u64>) -> (i64, i64) {
    (
        time::slot(minutes.start() / 60, 0),
        time::slot(minutes.end() / 60 + 1, 0),
    )
}

/// One stretch of a longer row is the sum of these from now on, and is not there if there are none.
fn replace(
    transaction: &Transaction<'_>,
    resolution: Resolution,
    number: u64,
    place: u64,
    instance: u32,
    parts: &Row,
) -> rusqlite::Result<()> {
    let mut row = get(transaction, resolution, number, instance)?;
    row.remove(&place);
    let mut sum = Rollup::default();
    parts
        .values()
        .filter_map(|part| sums::decode(0, part).ok())
        .for_each(|part| sum.add(&part));
    if !parts.is_empty() {
        row.insert(place, sums::encode(&sum));
    }
    put(transaction, resolution, number, instance, &row)
}

fn get(transaction: &Transaction<'_>, of: Resolution, number: u64, instance: u32) -> rusqlite::Result<Row> {
    let sql = format!("SELECT sums FROM {} WHERE slot = ?1", of.table());
    let found: Option<Vec<u8>> = transaction
        .prepare_cached(&sql)?
        .query_row([time::slot(number, instance)], |row| row.get(0))
        .optional()?;
    Ok(found.map_or_else(Row::new, |bytes| sums::decode_row(&bytes)))
}

fn put(
    transaction: &Transaction<'_>,
    of: Resolution,
    number: u64,
    instance: u32,
    row: &Row,
) -> rusqlite::Result<()> {
    let (table, slot) = (of.table(), time::slot(number, instance));
    if row.is_empty() {
        transaction
            .prepare_cached(&format!("DELETE FROM {table} WHERE slot = ?1"))?
            .execute([slot])?;
        return Ok(());
    }
    transaction
        .prepare_cached(&format!(
            "INSERT OR REPLACE INTO {table} (slot, sums) VALUES (?1, ?2)"
        ))?
        .execute(params![slot, sums::encode_row(row)])?;
    Ok(())
}
