//! Single results of one instance, for tests: those that stand by instance, and the batches that came last.

use super::{Bounded, HistoryError, ROWS_MAX, Reader};
use crate::results::{self, ResultPoint};
use crate::time::{self, RESULTS_MS};
use extman_model::record::Range;
use rusqlite::{Connection, OptionalExtension};

impl Reader {
    /// The newest results within a range, at most `limit` and 10,000.
    ///
    /// # Errors
    /// The file can't be read.
    pub(crate) fn results(
        &self,
        instance: &str,
        range: Range,
        limit: usize,
    ) -> Result<Bounded<ResultPoint>, HistoryError> {
        let limit = limit.min(ROWS_MAX);
        self.ask_of(instance, |file, number| {
            let mut rows = batches(file, number, range)?;
            rows.extend(by_instance(file, number, range, limit + 1)?);
            rows.sort_by_key(|point| point.at_unix_ms);
            let more = rows.len() > limit;
            rows.drain(..rows.len().saturating_sub(limit));
            Ok(Bounded { rows, more })
        })
        .map(|answer| answer.unwrap_or_else(Bounded::none))
    }
}

fn batches(file: &Connection, number: u32, range: Range) -> rusqlite::Result<Vec<ResultPoint>> {
    let mut statement = file.prepare_cached(
        "SELECT from_ms, results FROM result_batch WHERE to_ms >= ?1 AND from_ms < ?2 ORDER BY id",
    )?;
    let mut found = statement.query([time::stored(range.from_unix_ms), time::stored(range.to_unix_ms)])?;
    let mut points = Vec::new();
    while let Some(row) = found.next()? {
        let blob = row.get_ref(1)?.as_blob()?;
        results::decode_batch(time::moment(row.get(0)?), blob, |instance, point| {
            if instance == number && is_in(&point, range) {
                points.push(point);
            }
        });
    }
    Ok(points)
}

/// From the newest, until there are enough.
fn by_instance(
    file: &Connection,
    number: u32,
    range: Range,
    enough: usize,
) -> rusqlite::Result<Vec<ResultPoint>> {
    let row_at = |order: &str| -> rusqlite::Result<Option<u64>> {
        let sql = format!("SELECT slot FROM result ORDER BY slot {order} LIMIT 1");
        let slot = file
            .prepare_cached(&sql)?
            .query_row([], |row| row.get(0))
            .optional()?;
        Ok(slot.map(time::row_of))
    };
    let (Some(first), Some(last)) = (row_at("ASC")?, row_at("DESC")?) else {
        return Ok(Vec::new());
    };
    let first = first.max(range.from_unix_ms / RESULTS_MS);
    let end = (last + 1).min(range.to_unix_ms.div_ceil(RESULTS_MS));
    let mut select = file.prepare_cached("SELECT results FROM result WHERE slot = ?1")?;
    let mut points = Vec::new();
    for row in (first..end).rev() {
        let found: Option<Vec<u8>> = select
            .query_row([time::slot(row, number)], |row| row.get(0))
            .optional()?;
        let of_row = results::decode_points(row * RESULTS_MS, &found.unwrap_or_default());
        points.extend(of_row.into_iter().filter(|point| is_in(point, range)));
        if points.len() >= enough {
            break;
        }
    }
    Ok(points)
}

fn is_in(point: &ResultPoint, range: Range) -> bool {
    (range.from_unix_ms..range.to_unix_ms).contains(&point.at_unix_ms)
}
