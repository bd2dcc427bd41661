//! Rollups of one instance: those of whole hours, the minutes of hours that go on, and the time in each state by the spans.

use super::{HistoryError, Reader};
use crate::store;
use crate::time::{self, MINUTE_MS, Stored};
use crate::{rollup, uptime};
use extman_model::history::Resolution;
use extman_model::record::{Range, Rollup, StateMs};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;

/// Most stretches of one answer.
const ROLLUPS_MAX: u64 = 1500;

/// Rollups of one instance in the order of time. A stretch without anything has no row.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollups {
    /// How fine they are.
    pub resolution: Resolution,
    /// The stretches that lie in the range at least in part, whole.
    pub rows: Vec<Rollup>,
    /// The range was too long: these are its newest 1500 stretches.
    pub more: bool,
}

impl Reader {
    /// Rollups within a range, at most 1500. Without a resolution: the finest that the range has room for and that is still kept.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn rollups(
        &self,
        instance: &str,
        range: Range,
        resolution: Option<Resolution>,
    ) -> Result<Rollups, HistoryError> {
        self.ask(|file| {
            let resolution = match resolution {
                Some(resolution) => resolution,
                None => choose(file, range)?,
            };
            let (range, more) = shortened(file, range, resolution)?;
            let mut rows = BTreeMap::new();
            if let Some(number) = store::instance(file, instance)? {
                add_folded(file, number, range, resolution, &mut rows)?;
                add_open(file, number, range, resolution, &mut rows)?;
                set_states(file, number, range, resolution, &mut rows)?;
            }
            Ok(Rollups {
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
        if range.length_ms() > ROLLUPS_MAX * fine.len_ms() {
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
    let sql = format!("SELECT min(slot), max(slot) FROM {}", resolution.table());
    let ends: (Option<i64>, Option<i64>) = file
        .prepare_cached(&sql)?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let ms = resolution.row_ms();
    Ok(ends
        .0
        .zip(ends.1)
        .map(|(first, last)| (time::row_of(first) * ms, (time::row_of(last) + 1) * ms)))
}

/// The part of a range that anything is known of, as far as there is room, from the beginning of a stretch on.
fn shortened(file: &Connection, range: Range, resolution: Resolution) -> rusqlite::Result<(Range, bool)> {
    let length = resolution.len_ms();
    let last = |sql: &str| -> rusqlite::Result<u64> {
        let found: Option<i64> = file.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(found.map_or(0, time::moment))
    };
    let open_end = (last("SELECT max(minute) + 1 FROM minute_open")?).saturating_mul(MINUTE_MS);
    let alive = last("SELECT max(alive_ms) FROM host_run")?;
    let known_end = ends_of(file, resolution)?
        .map_or(0, |(_, end)| end)
        .max(open_end)
        .max(alive);
    let to = range.to_unix_ms.min(known_end);
    let from = range.from_unix_ms / length * length;
    let earliest = to.saturating_sub(ROLLUPS_MAX * length).next_multiple_of(length);
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
    let sql = format!("SELECT run, sums FROM {} WHERE slot = ?1", resolution.table());
    let mut select = file.prepare_cached(&sql)?;
    for row in range.from_unix_ms / row_ms..range.to_unix_ms.div_ceil(row_ms) {
        let found: Option<(i64, Vec<u8>)> = select
            .query_row([time::slot(row, number)], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((run, bytes)) = found {
            let rollups = store::read_row(file, (run, &bytes), row * row_ms, length)?.into_values();
            rows.extend(
                rollups
                    .filter(|rollup| range.holds(rollup.from_unix_ms))
                    .map(|rollup| (rollup.from_unix_ms, rollup)),
            );
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
        file.prepare_cached("SELECT run, sums FROM minute_open WHERE minute = ?1 AND instance = ?2")?;
    let mut at = (range.from_unix_ms / MINUTE_MS) as i64;
    while let Some(minute) = next.query_row([at, end], |row| row.get::<_, i64>(0)).optional()? {
        at = minute + 1;
        let found: Option<(i64, Vec<u8>)> = select
            .query_row(params![minute, number], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((run, bytes)) = found else { continue };
        let from_ms = time::moment(minute) * MINUTE_MS;
        for minute in store::read_row(file, (run, &bytes), from_ms, MINUTE_MS)?.into_values() {
            let from_unix_ms = from_ms / length * length;
            rollup::add(
                rows,
                from_unix_ms,
                &Rollup {
                    from_unix_ms,
                    ..minute
                },
            );
        }
    }
    Ok(())
}

/// Spans cover all observed time, also where minutes are rare. Where spans are no longer kept, the rollup's own times stay; but where the
/// clock was set, minutes may have put into one bucket what spans have in another, so that spans alone count there.
fn set_states(
    file: &Connection,
    number: u32,
    range: Range,
    resolution: Resolution,
    rows: &mut Rows,
) -> rusqlite::Result<()> {
    let length = resolution.len_ms();
    let mut states = BTreeMap::<u64, StateMs>::new();
    uptime::pieces(file, number, range, |part, word| {
        let mut at = part.from_unix_ms;
        while at < part.to_unix_ms {
            let from = at / length * length;
            let end = (from + length).min(part.to_unix_ms);
            *uptime::of_word(states.entry(from).or_default(), word) += end - at;
            at = end;
        }
    })?;
    let set = where_the_clock_was_set(file, range)?;
    for (from_unix_ms, states) in states {
        let bucket = Range::new(from_unix_ms, from_unix_ms + length);
        let was_set = set.iter().any(|at_unix_ms| bucket.holds(*at_unix_ms));
        let row = rows.entry(from_unix_ms).or_insert_with(|| Rollup {
            from_unix_ms,
            ..Rollup::default()
        });
        if was_set || states.total() >= row.states.total() {
            row.states = states;
        }
    }
    Ok(())
}

/// What the clock showed before and after it was set, where that touches a range.
fn where_the_clock_was_set(file: &Connection, range: Range) -> rusqlite::Result<Vec<u64>> {
    let mut steps = file.prepare_cached(
        "SELECT at_ms, at_ms - by_ms FROM clock_step WHERE max(at_ms, at_ms - by_ms) >= ?1 AND min(at_ms, at_ms - by_ms) < ?2",
    )?;
    let found = steps.query_map(
        [time::stored(range.from_unix_ms), time::stored(range.to_unix_ms)],
        |row| Ok([row.get(0)?, row.get(1)?]),
    )?;
    let moments: Vec<[i64; 2]> = found.collect::<rusqlite::Result<_>>()?;
    Ok(moments.into_iter().flatten().map(time::moment).collect())
}
