//! Sums of one instance: what was folded, and the minutes that are not yet.

use super::{HistoryError, Reader};
use crate::sums;
use crate::time::{self, MINUTE_MS, Stored};
use extman_model::history::Resolution;
use extman_model::record::{Range, Rollup};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;

/// Most stretches of one answer.
const SUMS_MAX: u64 = 1500;

/// Sums of one instance in the order of time. A stretch without anything has no row.
#[derive(Debug, Clone, PartialEq)]
pub struct Sums {
    /// How fine they are.
    pub resolution: Resolution,
    /// The stretches that lie in the range at least in part, whole.
    pub rows: Vec<Rollup>,
    /// The range was too long: these are its newest 1500 stretches.
    pub more: bool,
}

impl Reader {
    /// Sums within a range, at most 1500. Without a resolution: the finest that the range has room for and that is still kept.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn rollups(
        &self,
        instance: &str,
        range: Range,
        resolution: Option<Resolution>,
    ) -> Result<Sums, HistoryError> {
        self.ask(|file| {
            let resolution = match resolution {
                Some(resolution) => resolution,
                None => choose(file, range)?,
            };
            let (range, more) = shortened(file, range, resolution)?;
            let mut rows = BTreeMap::new();
            if let Some(number) = super::store::instance(file, instance)? {
                add_folded(file, number, range, resolution, &mut rows)?;
                add_open(file, number, range, resolution, &mut rows)?;
            }
            Ok(Sums {
                resolution,
                rows: rows.into_values().collect(),
                more,
            })
        })
    }
}

fn choose(file: &Connection, range: Range) -> rusqlite::Result<Resolution> {
    for pair in Resolution::ALL.windows(2) {
        let (fine, coarse) = (pair[0], pair[1]);
        if range.length_ms() > SUMS_MAX * fine.len_ms() {
            continue;
        }
        let lacks = match (ends_of(file, fine)?, ends_of(file, coarse)?) {
            // Rows of the coarser one begin earlier in any case, by less than a row.
            (Some((first, _)), Some((coarse_first, _))) => {
                range.from_unix_ms < first && coarse_first + coarse.row_ms() <= first
            }
            (None, Some(_)) => true,
            _ => false,
        };
        if !lacks {
            return Ok(fine);
        }
    }
    Ok(Resolution::Day)
}

/// When the first row begins, and the last one ends.
fn ends_of(file: &Connection, resolution: Resolution) -> rusqlite::Result<Option<(u64, u64)>> {
    let end = |order: &str| -> rusqlite::Result<Option<u64>> {
        let sql = format!(
            "SELECT slot FROM {} ORDER BY slot {order} LIMIT 1",
            resolution.table()
        );
        let slot = file
            .prepare_cached(&sql)?
            .query_row([], |row| row.get(0))
            .optional()?;
        Ok(slot.map(time::row_of))
    };
    let ms = resolution.row_ms();
    Ok(end("ASC")?
        .zip(end("DESC")?)
        .map(|(first, last)| (first * ms, (last + 1) * ms)))
}

/// The part of a range that anything is known of, as far as there is room, from the beginning of a stretch on.
fn shortened(file: &Connection, range: Range, resolution: Resolution) -> rusqlite::Result<(Range, bool)> {
    let length = resolution.len_ms();
    let last_minute: Option<i64> = file
        .prepare_cached("SELECT minute FROM minute_open ORDER BY minute DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let open_end = last_minute.map_or(0, |minute| (time::moment(minute) + 1) * MINUTE_MS);
    let known_end = ends_of(file, resolution)?.map_or(0, |(_, end)| end).max(open_end);
    let to = range.to_unix_ms.min(known_end);
    let from = range.from_unix_ms / length * length;
    let earliest = to.saturating_sub(SUMS_MAX * length).next_multiple_of(length);
    Ok((Range::new(from.max(earliest), to), from < earliest))
}

type Rows = BTreeMap<u64, Rollup>;

fn add_folded(
    file: &Connection,
    number: u32,
    range: Range,
    resolution: Resolution,
    rows: &mut Rows,
) -> rusqlite::Result<()> {
    let (length, row_ms) = (resolution.len_ms(), resolution.row_ms());
    let sql = format!("SELECT sums FROM {} WHERE slot = ?1", resolution.table());
    let mut select = file.prepare_cached(&sql)?;
    for row in range.from_unix_ms / row_ms..range.to_unix_ms.div_ceil(row_ms) {
        let found: Option<Vec<u8>> = select
            .query_row([time::slot(row, number)], |row| row.get(0))
            .optional()?;
        for (place, bytes) in sums::decode_row(&found.unwrap_or_default()) {
            let from = row * row_ms + place.min(row_ms / length) * length;
            if range.from_unix_ms <= from && from < range.to_unix_ms {
                add(rows, from, &bytes);
            }
        }
    }
    Ok(())
}

fn add_open(
    file: &Connection,
    number: u32,
    range: Range,
    resolution: Resolution,
    rows: &mut Rows,
) -> rusqlite::Result<()> {
    let length = resolution.len_ms();
    // The last stretch counts whole.
    let end = (range.to_unix_ms.next_multiple_of(length) / MINUTE_MS) as i64;
    let mut next = file.prepare_cached(
        "SELECT minute FROM minute_open WHERE minute >= ?1 AND minute < ?2 ORDER BY minute LIMIT 1",
    )?;
    let mut select =
        file.prepare_cached("SELECT sums FROM minute_open WHERE minute = ?1 AND instance = ?2")?;
    let mut at = (range.from_unix_ms / MINUTE_MS) as i64;
    while let Some(minute) = next.query_row([at, end], |row| row.get::<_, i64>(0)).optional()? {
        at = minute + 1;
        let found: Option<Vec<u8>> = select
            .query_row(params![minute, number], |row| row.get(0))
            .optional()?;
        if let Some(bytes) = found {
            let from_ms = time::moment(minute) * MINUTE_MS;
            add(rows, from_ms / length * length, &bytes);
        }
    }
    Ok(())
}

fn add(rows: &mut Rows, from_unix_ms: u64, bytes: &[u8]) {
    let Ok(sums) = sums::decode(from_unix_ms, bytes) else {
        tracing::warn!(
            from_unix_ms,
            "sums in the history can't be read and are passed over"
        );
        return;
    };
    rows.entry(from_unix_ms)
        .and_modify(|there| there.add(&sums))
        .or_insert(sums);
}
