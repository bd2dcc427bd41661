//! Rollups of one instance: those of whole hours, the minutes of hours that go on, and the time in each state by the spans.

use super::{HistoryError, Reader, number};
use crate::overlap::Overlaps;
use crate::sql::{self, value};
use crate::time::{self, MINUTE_MS, bounded};
use crate::{rollup, uptime};
use extman_model::history::Resolution;
use extman_model::record::{Range, Rollup, StateMs};
use rusqlite::{Connection, Result, Row, params};
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
    ) -> std::result::Result<Rollups, HistoryError> {
        self.ask(|file| {
            let resolution = match resolution {
                Some(resolution) => resolution,
                None => choose(file, range)?,
            };
            let (range, more) = shortened(file, range, resolution)?;
            let mut rows = BTreeMap::new();
            if let Some(number) = number(file, instance)? {
                add_rows(file, number, range, resolution, &mut rows)?;
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

fn choose(file: &Connection, range: Range) -> Result<Resolution> {
    // When the first row begins.
    let first = |(table, row_ms): (&str, u64)| -> Result<Option<u64>> {
        let sql = format!("SELECT min(slot) / (1 << 32) * {row_ms} FROM {table}");
        value(file, &sql, [])
    };
    for pair in Resolution::ALL.windows(2) {
        let (fine, coarse) = (pair[0], time::table(pair[1]));
        if range.length_ms() > ROLLUPS_MAX * fine.len_ms() {
            continue;
        }
        let first_ms = first(time::table(fine))?.unwrap_or(u64::MAX);
        // Rows of the coarser one begin earlier in any case, by less than a row.
        let lacks = first(coarse)?.is_some_and(|coarse_ms| coarse_ms + coarse.1 <= first_ms);
        if !lacks || range.from_unix_ms >= first_ms {
            return Ok(fine);
        }
    }
    Ok(Resolution::Day)
}

/// The part of a range that anything is known of, as far as there is room, from the beginning of a stretch on.
fn shortened(file: &Connection, range: Range, resolution: Resolution) -> Result<(Range, bool)> {
    let length = resolution.len_ms();
    let sql = "SELECT max(max(alive_ms), coalesce((SELECT (max(slot) >> 32) + 1 FROM minute_open) * 60000, 0)) FROM host_run";
    let known_ms = value(file, sql, [])?.unwrap_or(0);
    let to = range.to_unix_ms.min(known_ms);
    let from = range.from_unix_ms / length * length;
    let earliest = to.saturating_sub(ROLLUPS_MAX * length).next_multiple_of(length);
    Ok((Range::new(from.max(earliest), to), from < earliest))
}

type Rows = BTreeMap<u64, Rollup>;

fn add_rows(file: &Connection, number: u32, range: Range, of: Resolution, rows: &mut Rows) -> Result<()> {
    let length = of.len_ms();
    let overlaps = Overlaps::read(file)?;
    let mut add = |row: &Row<'_>, row_ms: u64, rollup_ms: u64| {
        let begin_ms = row.get::<_, u64>(0)? * row_ms;
        let run = row.get(2)?;
        for mut rollup in rollup::decode(row.get_ref(1)?.as_blob()?, begin_ms, rollup_ms).into_values() {
            if !overlaps.counts(run, rollup.from_unix_ms, rollup_ms) {
                continue;
            }
            rollup.from_unix_ms -= rollup.from_unix_ms % length;
            if range.holds(rollup.from_unix_ms) {
                rollup::add(rows, rollup.from_unix_ms, rollup);
            }
        }
        Ok(())
    };
    let (table, row_ms) = time::table(of);
    let folded = format!(
        "WITH RECURSIVE place (row) AS (SELECT ?1 UNION ALL SELECT row + 1 FROM place WHERE row + 1 < ?2)
         SELECT row, sums, run FROM place JOIN {table} ON slot = (row << 32) + ?3"
    );
    let asked = params![
        range.from_unix_ms / row_ms,
        range.to_unix_ms.div_ceil(row_ms),
        number
    ];
    sql::all(file, &folded, asked, |row| add(row, row_ms, length))?;
    // From each minute that anybody has to the next. The last stretch counts whole.
    let open = "WITH RECURSIVE place (row) AS (SELECT min(slot) >> 32 FROM minute_open WHERE slot >= ?1 << 32
            UNION ALL SELECT (SELECT min(slot) >> 32 FROM minute_open WHERE slot >= (row + 1) << 32) FROM place WHERE row < ?2)
        SELECT row, sums, run FROM place JOIN minute_open ON slot = (row << 32) + ?3";
    let end = range.to_unix_ms.next_multiple_of(length) / MINUTE_MS;
    let asked = params![range.from_unix_ms / MINUTE_MS, end, number];
    sql::all(file, open, asked, |row| add(row, MINUTE_MS, MINUTE_MS))?;
    Ok(())
}

/// Spans cover all observed time, also where minutes are rare. Where spans are no longer kept, the rollup's own times stay; but where the
/// clock was set, minutes may have put into one bucket what spans have in another, so that spans alone count there.
fn set_states(file: &Connection, number: u32, range: Range, of: Resolution, rows: &mut Rows) -> Result<()> {
    let length = of.len_ms();
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
        let row = rows.entry(from_unix_ms).or_default();
        row.from_unix_ms = from_unix_ms;
        if was_set || states.total() >= row.states.total() {
            row.states = states;
        }
    }
    Ok(())
}

/// What the clock showed before and after it was set, where that touches a range.
fn where_the_clock_was_set(file: &Connection, range: Range) -> Result<Vec<u64>> {
    let sql = "WITH shown (a, b) AS (SELECT at_ms, max(at_ms - by_ms, 0) FROM clock_step)
        SELECT a, b FROM shown WHERE max(a, b) >= ?1 AND min(a, b) < ?2";
    let asked = [bounded(range.from_unix_ms), bounded(range.to_unix_ms)];
    let found: Vec<[u64; 2]> = sql::all(file, sql, asked, |row| Ok([row.get(0)?, row.get(1)?]))?;
    Ok(found.into_iter().flatten().collect())
}
