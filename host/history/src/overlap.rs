//! Runs that overlap: a clock that is set back, or was ahead when an earlier host wrote, comes to times of which earlier runs told already.
//! What a run tells of a time counts unless a later run came to that time.

use crate::sql;
use rusqlite::{Connection, Result};

/// The runs that began before an earlier one's end: each one's number, and its times.
pub(super) struct Overlaps(Vec<(i64, u64, u64)>);

impl Overlaps {
    /// For one that reads: what lies after the present run has not come yet, whatever an earlier clock told of it.
    pub(super) fn read(connection: &Connection) -> Result<Self> {
        Overlaps::of(connection, i64::MAX)
    }

    /// For one that writes: what has not come yet stays, since a clock that is behind will be set right.
    pub(super) fn with_future(connection: &Connection) -> Result<Self> {
        Overlaps::of(connection, 0)
    }

    fn of(connection: &Connection, present_end_ms: i64) -> Result<Self> {
        let later = "SELECT id, from_ms, CASE WHEN lead(id) OVER (ORDER BY id) THEN alive_ms ELSE max(alive_ms, ?1) END, before_ms
            FROM (SELECT *, max(alive_ms) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before_ms FROM host_run)";
        let sql = format!("SELECT * FROM ({later}) WHERE before_ms > from_ms");
        sql::all(connection, &sql, [present_end_ms], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .map(Overlaps)
    }

    /// Whether what a run tells of a stretch counts. A stretch of which a later run saw a part counts whole, until it is summed anew.
    pub(super) fn counts(&self, run: i64, from_ms: u64, length_ms: u64) -> bool {
        let covers = |&(later, first, end): &(i64, u64, u64)| {
            later > run && first <= from_ms && from_ms + length_ms <= end
        };
        !self.0.iter().any(covers)
    }
}
