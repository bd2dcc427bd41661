//! Uptime and outages: by hand, held against SQL of the test's own, and what can't be said.

use super::{DAY, down, state, transition, up};
use crate::{HistoryFile, Range};
use extman_model::Health;
use extman_model::findings::Uptime;
use extman_model::record::{Record, SpanState};
use proptest::prelude::*;
use rusqlite::Connection;

fn file() -> (tempfile::TempDir, HistoryFile) {
    let dir = tempfile::tempdir().unwrap();
    let file = HistoryFile::open(&dir.path().join("history.db"), DAY).unwrap();
    (dir, file)
}

fn left_out() -> Option<SpanState> {
    down().map(|state| SpanState {
        left_out: true,
        ..state
    })
}

fn write(file: &mut HistoryFile, spans: &[(u64, Option<SpanState>)]) {
    let records: Vec<_> = spans
        .iter()
        .map(|(at, state)| Record::Transition(transition("a", DAY + at, *state)))
        .collect();
    file.write(&records, DAY + spans.last().unwrap().0).unwrap();
}

fn uptime(file: &HistoryFile, from: u64, to: u64) -> Uptime {
    let range = Range::new(DAY + from, DAY + to);
    file.reader()
        .uptimes(Some("a"), range)
        .unwrap()
        .remove("a")
        .unwrap()
}

fn number(connection: &Connection, sql: &str, from: u64, to: u64) -> u64 {
    let asked = [DAY + from, DAY + to].map(|at| at as i64);
    let found: i64 = connection.query_row(sql, asked, |row| row.get(0)).unwrap();
    found as u64
}

/// Up 1000–1300, down –1400, up –1600, unknown –1650, down –1670, unknown –1680, down –1700, degraded –1800, left out –1900, nothing
/// after. Outages: 100 (1300–1400) and 50 (1650–1700), so the mean is 75; operating between their starts: 200.
#[test]
fn uptime_of_a_day_is_that_by_hand() {
    let (_dir, mut file) = file();
    write(
        &mut file,
        &[
            (0, up()),
            (1300, down()),
            (1400, up()),
            (1600, state(Health::Unknown)),
            (1650, down()),
            (1670, state(Health::Unknown)),
            (1680, down()),
            (1700, state(Health::Degraded)),
            (1800, left_out()),
            (1900, None),
        ],
    );
    let found = uptime(&file, 1000, 2000);
    assert_eq!((found.up_ms, found.degraded_ms, found.down_ms), (500, 100, 140));
    assert_eq!((found.unknown_ms, found.left_out_ms), (60, 100));
    assert_eq!(found.coverage, Some(800.0 / 900.0));
    assert_eq!(found.known, Some(740.0 / 900.0));
    assert_eq!(found.uptime, Some(600.0 / 740.0));
    assert_eq!(
        (found.outages, found.mttr_ms, found.mtbf_ms),
        (2, Some(75), Some(200))
    );
    let longest = found.longest.unwrap();
    assert_eq!(
        (
            longest.from_unix_ms - DAY,
            longest.to_unix_ms - DAY,
            longest.running
        ),
        (1300, 1400, false)
    );
    assert_eq!(longest.cause, down().unwrap().cause);
    assert_eq!(found.since_last_ms, Some(300));
}

#[test]
fn uptime_over_26000_spans_is_that_of_other_sql() {
    let (_dir, mut file) = file();
    // Lengths that differ, and each state now and then.
    let mut at = 0;
    let spans: Vec<(u64, Option<SpanState>)> = (0..26_000_u64)
        .map(|n| {
            let state = match n % 13 {
                3 | 8 => down(),
                5 => state(Health::Degraded),
                9 => state(Health::Unknown),
                11 => left_out(),
                _ => up().map(|state| SpanState {
                    cause: if n % 2 == 0 {
                        state.cause
                    } else {
                        extman_model::Cause::CallsSucceed
                    },
                    ..state
                }),
            };
            let from = at;
            at += 1_000 + n * 7_919 % 60_000;
            (from, state)
        })
        .chain([(0, None)])
        .collect();
    let mut spans = spans;
    spans.last_mut().unwrap().0 = at;
    write(&mut file, &spans);
    let (from, to) = (1_234_567, at - 7_654_321);
    let found = uptime(&file, from, to);
    // Each span with the one that follows it, by a join and not by a window.
    let other = Connection::open(file.path()).unwrap();
    let sum = |which: &str| -> u64 {
        let sql = format!(
            "SELECT coalesce(sum(CASE WHEN to_ms > ?2 THEN ?2 ELSE to_ms END - CASE WHEN from_ms < ?1 THEN ?1 ELSE from_ms END), 0)
             FROM state_span, state WHERE state_span.state = state.id AND to_ms > ?1 AND from_ms < ?2 AND {which}"
        );
        number(&other, &sql, from, to)
    };
    let of = |health: &str| sum(&format!("left_out = 0 AND health = '{health}'"));
    assert_eq!(
        [
            found.up_ms,
            found.degraded_ms,
            found.down_ms,
            found.unknown_ms,
            found.left_out_ms
        ],
        [
            of("up"),
            of("degraded"),
            of("down"),
            of("unknown"),
            sum("left_out = 1")
        ]
    );
    assert_eq!(
        found.up_ms + found.degraded_ms + found.down_ms + found.unknown_ms + found.left_out_ms,
        to - from
    );
    // No two spans of down follow one another here, so each is an outage.
    let sql = "SELECT count(*) FROM state_span, state WHERE state_span.state = state.id AND to_ms > ?1 AND from_ms < ?2
        AND left_out = 0 AND health = 'down'";
    let outages = number(&other, sql, from, to);
    assert!(outages > 3_900);
    assert_eq!(
        (found.outages, found.mttr_ms),
        (outages, Some(found.down_ms / outages))
    );
}

#[test]
fn what_cannot_be_said_is_absent() {
    let (_dir, mut file) = file();
    write(&mut file, &[(1000, left_out()), (5000, down()), (6000, down())]);
    let nothing = uptime(&file, 0, 900);
    assert_eq!((nothing.coverage, nothing.uptime), (None, None));
    assert_eq!(
        (
            nothing.mttr_ms,
            nothing.mtbf_ms,
            nothing.longest,
            nothing.since_last_ms
        ),
        (None, None, None, None)
    );
    assert_eq!(uptime(&file, 2000, 3000).coverage, None);
    let still = uptime(&file, 5500, 7000);
    assert!(still.longest.unwrap().running);
    assert_eq!(
        (still.mttr_ms, still.since_last_ms, still.down_ms),
        (None, Some(0), 1500)
    );
    let range = Range::new(DAY, DAY + 1000);
    assert!(file.reader().uptimes(Some("nobody"), range).unwrap().is_empty());
}

#[test]
fn uptime_of_1200_instances_that_are_checked_once_a_day_has_each_whole() {
    const HOUR: u64 = 3_600_000;
    let (_dir, mut file) = file();
    // One span each and no minute: nobody is checked within the range, and the spans go on.
    let names: Vec<String> = (0..1_200).map(|n| format!("plugin-{n:04}")).collect();
    let records: Vec<_> = names
        .iter()
        .map(|name| Record::Transition(transition(name, DAY, up())))
        .collect();
    file.write(&records, DAY).unwrap();
    let range = Range::new(DAY + HOUR, DAY + 24 * HOUR);
    let found = file.reader().uptimes(None, range).unwrap();
    assert!(found.keys().eq(&names), "{} of {}", found.len(), names.len());
    assert!(
        found
            .values()
            .all(|one| (one.up_ms, one.known) == (23 * HOUR, Some(1.0)))
    );
}

#[test]
fn uptime_of_one_instance_reads_no_spans_of_others() {
    let (_dir, file) = file();
    let other = Connection::open(file.path()).unwrap();
    let plan = format!("EXPLAIN QUERY PLAN {}", crate::uptime::UPTIMES);
    let mut plan = other.prepare(&plan).unwrap();
    let steps = plan.query_map((0, 1, 1), |row| row.get::<_, String>("detail"));
    let steps: Vec<String> = steps.unwrap().map(Result::unwrap).collect();
    let of_spans: Vec<_> = steps.iter().filter(|step| step.contains("state_span")).collect();
    assert!(
        of_spans.len() >= 2 && of_spans.iter().all(|step| step.contains("instance=?")),
        "{steps:#?}"
    );
}

#[test]
fn uptime_counts_from_when_anything_is_known() {
    let (_dir, mut file) = file();
    write(&mut file, &[(90_000, up()), (100_000, up())]);
    let found = uptime(&file, 0, 100_000);
    assert_eq!((found.range.from_unix_ms - DAY, found.known), (90_000, Some(1.0)));
}

proptest! {
    /// The same by walking along the spans.
    #[test]
    fn outages_are_those_of_a_walk_along_the_spans(
        lengths in prop::collection::vec((0..50_u64, 0..5_usize), 1..60), from in 0..300_u64, length in 1..1500_u64
    ) {
        let (_dir, mut file) = file();
        let states = [up(), state(Health::Degraded), down(), state(Health::Unknown), left_out()];
        let (mut at, mut spans) = (0, Vec::new());
        for (length, number) in &lengths {
            spans.push((at, states[*number]));
            at += length;
        }
        spans.push((at, None));
        write(&mut file, &spans);
        let to = from + length;
        let (mut outages, mut down_ms, mut is_down) = (0_u64, 0, false);
        let (mut starts, mut operating) = (0_u64, 0);
        let mut until_last = 0;
        for pair in spans.windows(2) {
            let (a, b) = (pair[0].0.max(from), pair[1].0.min(to));
            if a >= b {
                continue;
            }
            let state = pair[0].1.unwrap();
            match state.health {
                _ if state.left_out => is_down = false,
                Health::Down => {
                    if !is_down {
                        outages += 1;
                        starts += 1;
                        until_last = operating;
                    }
                    is_down = true;
                    down_ms += b - a;
                }
                Health::Unknown => {}
                _ => {
                    is_down = false;
                    operating += if starts > 0 { b - a } else { 0 };
                }
            }
        }
        let range = Range::new(DAY + from, DAY + to);
        let found = file.reader().uptimes(Some("a"), range).unwrap().remove("a");
        let Some(found) = found else {
            prop_assert_eq!((outages, down_ms), (0, 0));
            return Ok(());
        };
        prop_assert_eq!((found.outages, found.down_ms), (outages, down_ms));
        prop_assert_eq!(found.mtbf_ms, (outages > 1).then(|| until_last / (outages - 1)));
        prop_assert_eq!(found.since_last_ms.is_some(), outages > 0);
        prop_assert!(!is_down || found.since_last_ms == Some(0));
    }
}
