//! How much of a range instances could serve, and how their outages were: SQL over all spans, however many.
//!
//! Terms after IEC 60050-192:2015: up time and down time (192-02), mean time to restoration (192-07-23), mean operating time
//! between failures (192-05-13). Degraded counts as operating: it serves, worse than usual.

use super::sql;
use super::time::bounded;
use super::words;
use extman_model::Cause;
use extman_model::findings::{Outage, Uptime};
use extman_model::record::{Range, StateMs};
use rusqlite::{Connection, Row, params};
use std::collections::BTreeMap;

const PIECES: &str = concat!(include_str!("piece.sql"), "SELECT a, b, word FROM piece");
const UPTIMES: &str = concat!(include_str!("piece.sql"), include_str!("uptime.sql"));

/// Each part of an instance's span that lies in the range, with the word of its state.
pub(super) fn pieces(
    connection: &Connection,
    instance: u32,
    range: Range,
    mut each: impl FnMut(Range, &str),
) -> rusqlite::Result<()> {
    let asked = params![bounded(range.from_unix_ms), bounded(range.to_unix_ms), instance];
    sql::all(connection, PIECES, asked, |row| {
        each(Range::new(row.get(0)?, row.get(1)?), row.get_ref(2)?.as_str()?);
        Ok(())
    })?;
    Ok(())
}

/// The time in the state of that word.
pub(super) fn of_word<'a>(states: &'a mut StateMs, word: &str) -> &'a mut u64 {
    match word {
        "up" => &mut states.up,
        "degraded" => &mut states.degraded,
        "down" => &mut states.down,
        "left_out" => &mut states.left_out,
        _ => &mut states.unknown,
    }
}

/// By the instance's name. The range of each begins where anything is known of it.
pub(super) fn uptimes(
    connection: &Connection,
    instance: Option<u32>,
    range: Range,
) -> rusqlite::Result<BTreeMap<String, Uptime>> {
    let asked = params![bounded(range.from_unix_ms), bounded(range.to_unix_ms), instance];
    let read = |row: &Row<'_>| Ok((row.get("name")?, uptime(row, range)?));
    Ok(sql::all(connection, UPTIMES, asked, read)?.into_iter().collect())
}

fn uptime(row: &Row<'_>, mut range: Range) -> rusqlite::Result<Uptime> {
    let known_from: u64 = row.get("from_ms")?;
    let latest = range.to_unix_ms.max(range.from_unix_ms);
    range.from_unix_ms = known_from.clamp(range.from_unix_ms, latest);
    let ms = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<u64>>(column)?.unwrap_or(0));
    let states = StateMs {
        up: ms("up")?,
        degraded: ms("degraded")?,
        down: ms("down")?,
        unknown: ms("unknown")?,
        left_out: ms("left_out_ms")?,
    };
    let mut uptime = of_states(range, states);
    uptime.outages = ms("outages")?;
    if uptime.outages > 0 {
        (uptime.mttr_ms, uptime.mtbf_ms) = (row.get("mttr")?, row.get("mtbf")?);
        uptime.since_last_ms = row.get("since_last")?;
        uptime.longest = Some(Outage {
            from_unix_ms: row.get("a")?,
            to_unix_ms: row.get("b")?,
            // Words of another version: nobody here knows what it was.
            cause: words::cause(row)?.unwrap_or(Cause::NotChecked),
            running: !row.get::<_, bool>("has_ended")?,
        });
    }
    Ok(uptime)
}

/// Of so much time in each state, without outages.
pub(super) fn of_states(range: Range, states: StateMs) -> Uptime {
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let known_ms = states.up + states.degraded + states.down;
    let asked_ms = range.length_ms().saturating_sub(states.left_out);
    Uptime {
        range,
        up_ms: states.up,
        degraded_ms: states.degraded,
        down_ms: states.down,
        unknown_ms: states.unknown,
        left_out_ms: states.left_out,
        coverage: share(known_ms + states.unknown, asked_ms),
        known: share(known_ms, asked_ms),
        uptime: share(states.up + states.degraded, known_ms),
        outages: 0,
        mttr_ms: None,
        mtbf_ms: None,
        longest: None,
        since_last_ms: None,
    }
}
