//! How much of a range instances could serve, and how their outages were: SQL over all spans, however many.
//!
//! Terms after IEC 60050-192:2015: up time and down time (192-02), mean time to restoration (192-07-23), mean operating time
//! between failures (192-05-13). Degraded counts as operating: it serves, worse than usual.

use super::time;
use extman_model::Cause;
use extman_model::findings::{Outage, Uptime};
use extman_model::record::{Range, StateMs};
use rusqlite::{Connection, Row};
use std::collections::BTreeMap;

/// The parts of spans in a range: `instance`, `id`, from `a` to `b`, the state's number and one word for it. ?1 and ?2 are the range, ?3 an
/// instance or NULL for all. Where two runs overlap, the later one counts.
const PIECES: &str = "WITH piece AS (
    SELECT instance, state_span.id AS id, state, max(state_span.from_ms, ?1) AS a,
        min(coalesce(to_ms, ?2), coalesce(cut_ms, ?2), ?2) AS b, CASE WHEN left_out THEN 'left_out' ELSE health END AS word
    FROM state_span LEFT JOIN host_run ON host_run.id = run JOIN state ON state.id = state
    WHERE state_span.from_ms < ?2 AND (?3 IS NULL OR instance = ?3))";

/// Each part of a span that lies in the range, with the word of its state.
pub(super) fn pieces(
    connection: &Connection,
    instance: u32,
    range: Range,
    mut each: impl FnMut(Range, &str),
) -> rusqlite::Result<()> {
    let mut select =
        connection.prepare_cached(&format!("{PIECES} SELECT a, b, word FROM piece WHERE a < b"))?;
    let mut found = select.query(asked(range, Some(instance)))?;
    while let Some(row) = found.next()? {
        let part = Range::new(time::moment(row.get(0)?), time::moment(row.get(1)?));
        each(part, row.get_ref(2)?.as_str()?);
    }
    Ok(())
}

fn asked(range: Range, instance: Option<u32>) -> (i64, i64, Option<u32>) {
    (
        time::stored(range.from_unix_ms),
        time::stored(range.to_unix_ms),
        instance,
    )
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

const STATES: &str = "SELECT instance, word, sum(b - a) FROM piece WHERE a < b GROUP BY instance, word";

/// An outage is a maximal run of down: whatever comes next but unknown ends it. `ended`: whether something did; `operating`: time up or
/// degraded from its start to the next one's.
const OUTAGES: &str = ",
    known AS (SELECT *, lag(word) OVER in_order AS before FROM piece WHERE a < b AND word != 'unknown'
        WINDOW in_order AS (PARTITION BY instance ORDER BY a, id)),
    numbered AS (SELECT *, sum(word = 'down' AND before IS NOT 'down') OVER in_order AS number FROM known
        WINDOW in_order AS (PARTITION BY instance ORDER BY a, id)),
    outage (instance, number, a, b, ended, operating, first_state) AS (SELECT instance, number, min(a),
        max(CASE word WHEN 'down' THEN b END), max(word != 'down'),
        sum(CASE WHEN word IN ('up', 'degraded') THEN b - a ELSE 0 END),
        max(CASE WHEN word = 'down' AND before IS NOT 'down' THEN state END)
    FROM numbered WHERE number > 0 GROUP BY instance, number)
    SELECT outage.*, cause, cause_of FROM outage JOIN state ON state.id = first_state ORDER BY instance, number";

const FIRST: &str =
    "SELECT instance, min(from_ms) FROM state_span WHERE ?1 IS NULL OR instance = ?1 GROUP BY instance";

/// By the number of the instance. The range of each begins where anything is known of it.
pub(super) fn uptimes(
    connection: &Connection,
    instance: Option<u32>,
    range: Range,
) -> rusqlite::Result<BTreeMap<u32, Uptime>> {
    let mut uptimes = BTreeMap::new();
    let mut first = connection.prepare_cached(FIRST)?;
    let mut found = first.query([instance])?;
    while let Some(row) = found.next()? {
        let from_unix_ms =
            time::moment(row.get(1)?).clamp(range.from_unix_ms, range.to_unix_ms.max(range.from_unix_ms));
        let uptime = unknown(Range {
            from_unix_ms,
            ..range
        });
        uptimes.insert(row.get(0)?, uptime);
    }
    let asked = asked(range, instance);
    let mut states = connection.prepare_cached(&format!("{PIECES} {STATES}"))?;
    let mut found = states.query(asked)?;
    let mut times = BTreeMap::<u32, StateMs>::new();
    while let Some(row) = found.next()? {
        let times = times.entry(row.get(0)?).or_default();
        *of_word(times, row.get_ref(1)?.as_str()?) += time::moment(row.get(2)?);
    }
    let mut outages = connection.prepare_cached(&format!("{PIECES} {OUTAGES}"))?;
    let mut found = outages.query(asked)?;
    let mut totals = BTreeMap::<u32, OutageTotals>::new();
    while let Some(row) = found.next()? {
        totals.entry(row.get(0)?).or_default().add(row)?;
    }
    for (instance, uptime) in &mut uptimes {
        share_out(uptime, times.remove(instance).unwrap_or_default());
        if let Some(totals) = totals.remove(instance) {
            totals.fill(uptime);
        }
    }
    Ok(uptimes)
}

/// Of one that nothing is known of.
pub(super) fn unknown(range: Range) -> Uptime {
    let mut uptime = Uptime {
        range,
        up_ms: 0,
        degraded_ms: 0,
        down_ms: 0,
        unknown_ms: 0,
        left_out_ms: 0,
        coverage: None,
        known: None,
        uptime: None,
        outages: 0,
        mttr_ms: None,
        mtbf_ms: None,
        longest: None,
        since_last_ms: None,
    };
    share_out(&mut uptime, StateMs::default());
    uptime
}

fn share_out(uptime: &mut Uptime, times: StateMs) {
    (uptime.up_ms, uptime.degraded_ms, uptime.down_ms) = (times.up, times.degraded, times.down);
    (uptime.unknown_ms, uptime.left_out_ms) = (times.unknown, times.left_out);
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let known_ms = uptime.up_ms + uptime.degraded_ms + uptime.down_ms;
    let asked_ms = uptime.range.length_ms().saturating_sub(uptime.left_out_ms);
    uptime.coverage = share(known_ms + uptime.unknown_ms, asked_ms);
    uptime.known = share(known_ms, asked_ms);
    uptime.uptime = share(uptime.up_ms + uptime.degraded_ms, known_ms);
}

#[derive(Default)]
struct OutageTotals {
    count: u64,
    ended: u64,
    ended_ms: u64,
    /// From the first start to the last one.
    operating_ms: u64,
    operating_since_last_ms: u64,
    longest: Option<Outage>,
    last: Option<Outage>,
}

impl OutageTotals {
    fn add(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        let (cause, of): (String, String) = (row.get(7)?, row.get(8)?);
        let ended: bool = row.get(4)?;
        let outage = Outage {
            from_unix_ms: time::moment(row.get(2)?),
            to_unix_ms: time::moment(row.get(3)?),
            // Words of another version: nobody here knows what it was.
            cause: super::words::cause_of(&cause, &of).unwrap_or(Cause::NotChecked),
            running: !ended,
        };
        self.count += 1;
        self.ended += u64::from(ended);
        self.ended_ms += if ended { outage.length_ms() } else { 0 };
        self.operating_ms += self.operating_since_last_ms;
        self.operating_since_last_ms = time::moment(row.get(5)?);
        if self
            .longest
            .is_none_or(|longest| longest.length_ms() < outage.length_ms())
        {
            self.longest = Some(outage);
        }
        self.last = Some(outage);
        Ok(())
    }

    fn fill(self, uptime: &mut Uptime) {
        uptime.outages = self.count;
        uptime.mttr_ms = self.ended_ms.checked_div(self.ended);
        uptime.mtbf_ms = self.operating_ms.checked_div(self.count - 1);
        uptime.longest = self.longest;
        uptime.since_last_ms = self.last.map(|last| match last.running {
            true => 0,
            false => uptime.range.to_unix_ms.saturating_sub(last.to_unix_ms),
        });
    }
}
