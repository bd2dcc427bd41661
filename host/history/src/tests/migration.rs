//! Files of earlier versions, as text: today's host brings them to its own, and goes on writing them.

use super::{DAY, transition};
use crate::time::{HOUR_MS, MINUTE_MS};
use crate::{HistoryFile, Range};
use extman_model::history::Resolution;
use extman_model::record::Record;
use extman_model::{Cause, ErrorKind, Health};
use rusqlite::Connection;

/// Written by version 1 and never changed since.
const V1: &str = include_str!("v1.sql");

#[test]
fn a_file_of_version_1_is_read_and_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(V1).unwrap();
    drop(old);

    let mut file = HistoryFile::open(&path, DAY + 3 * HOUR_MS).unwrap();
    file.write(
        &[
            Record::Transition(transition("chat", DAY + 3 * HOUR_MS, super::up())),
            super::check(super::deep("chat", DAY + 3 * HOUR_MS)),
        ],
        DAY + 3 * HOUR_MS,
    )
    .unwrap();
    while file.fold(DAY + 3 * HOUR_MS).unwrap() {}
    let reader = file.reader();
    let all = Range::new(0, u64::MAX);
    let spans = reader.spans("chat", all, 10_000).unwrap().rows;
    let seen: Vec<_> = spans
        .iter()
        .map(|s| {
            (
                s.from_unix_ms - DAY,
                s.to_unix_ms.map(|to| to - DAY),
                s.state.health,
                s.cut,
            )
        })
        .collect();
    let expected = [
        (0, Some(60_000), Health::Up, false),
        // The host of version 1 was last known to live then.
        (60_000, Some(90_000), Health::Down, true),
        (3 * HOUR_MS, None, Health::Up, false),
    ];
    assert_eq!(seen, expected);
    assert_eq!(spans[1].state.cause, Cause::CheckFails(ErrorKind::Unavailable));
    assert_eq!(spans[1].text.as_deref(), Some("no route to the model"));
    let minutes = reader
        .rollups("chat", all, Some(Resolution::Minute))
        .unwrap()
        .rows;
    let ups: Vec<_> = minutes
        .iter()
        .map(|row| ((row.from_unix_ms - DAY) / MINUTE_MS, row.states.up))
        .collect();
    assert_eq!(ups, [(0, 60_000), (1, 59_000)]);
    assert_eq!(
        (minutes[1].states.down, minutes[1].errors[&ErrorKind::Unavailable]),
        (1000, 2)
    );
    assert_eq!(
        reader.rollups("chat", all, Some(Resolution::Hour)).unwrap().rows[0]
            .states
            .up,
        119_000
    );
    assert_eq!(
        reader.releases("chat").unwrap().rows[0].version.to_string(),
        "1.2.3"
    );
    let deep = reader.checks("chat", all, 10).unwrap().rows;
    assert_eq!(deep, [super::deep("chat", DAY + 3 * HOUR_MS)]);
    assert_eq!(reader.key_values("").unwrap()[0].value.as_deref(), Some("5"));
}

/// What version 2 has that version 1 has not, with a row each.
const V2: &str = "
    PRAGMA user_version = 2;
    CREATE TABLE deep_check (id INTEGER PRIMARY KEY, instance INTEGER NOT NULL, at_ms INTEGER NOT NULL, result INTEGER NOT NULL,
        counted INTEGER NOT NULL, took_ns INTEGER, text TEXT) STRICT;
    CREATE INDEX deep_check_by_instance ON deep_check (instance, at_ms);
    CREATE INDEX deep_check_by_time ON deep_check (at_ms);
    CREATE TABLE clock_step (id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, by_ms INTEGER NOT NULL, found INTEGER NOT NULL,
        moved INTEGER NOT NULL) STRICT;
    INSERT INTO deep_check VALUES (1, 1, 1790035201000, 9, 1, 12345, 'no credit');
    INSERT INTO clock_step VALUES (1, 1790035202000, -3600000, 0, 1);
    INSERT INTO state_span VALUES (3, 1, 1790035200000 + 7200000, 1790035200000 + 10800000, 'running', 'up', 'answers', NULL, 0, 0, NULL);";

#[test]
fn file_of_version_2_is_brought_to_this_version_once_and_its_future_rows_hold_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(V1).unwrap();
    old.execute_batch(V2).unwrap();
    old.execute("UPDATE host_run SET alive_ms = 1790035200000 + 10800000", [])
        .unwrap();
    drop(old);
    // The host that wrote it had a clock that was ahead by an hour.
    let now = DAY + 2 * HOUR_MS + HOUR_MS / 2;
    let mut file = HistoryFile::open(&path, DAY + 2 * HOUR_MS).unwrap();
    let transition = transition("chat", DAY + 2 * HOUR_MS, super::down());
    file.write(&[Record::Transition(transition)], now).unwrap();
    let all = Range::new(0, u64::MAX);
    let reader = file.reader();
    let deep = reader.checks("chat", all, 10).unwrap().rows;
    assert_eq!(deep, [super::deep("chat", DAY + 1000)]);
    let steps = reader.clock_steps(all).unwrap();
    let steps: Vec<_> = steps.iter().map(|step| (step.by_ms, step.found)).collect();
    assert_eq!(steps, [(-(HOUR_MS as i64), false), (-(HOUR_MS as i64), true)]);
    let last = reader.spans("chat", all, 10).unwrap().rows.pop().unwrap();
    assert_eq!(
        (last.from_unix_ms - DAY, last.to_unix_ms, last.state.health),
        (2 * HOUR_MS, None, Health::Down)
    );
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'old_%' OR name LIKE 'result%' OR name IN ('deep_check', 'ledger')";
    let left: i64 = Connection::open(&path)
        .unwrap()
        .query_row(tables, [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
    drop(file);
    assert_eq!(
        HistoryFile::open(&path, now)
            .unwrap()
            .reader()
            .checks("chat", all, 10)
            .unwrap()
            .rows
            .len(),
        1
    );
}

#[test]
fn open_minutes_of_version_3_are_there_afterwards_but_for_those_that_have_no_number() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../schema_v3.sql")).unwrap();
    let minute = DAY / MINUTE_MS;
    // Two minutes with 59 s up, and one of the year 9999, which was the last that could be written.
    let rest = format!(
        "PRAGMA user_version = 3; PRAGMA application_id = {}; INSERT INTO instance VALUES (1, 'chat');
         INSERT INTO host_run VALUES (1, {DAY}, {}, NULL);
         INSERT INTO minute_open SELECT minute, 1, 1, X'908002F09907' FROM
         (SELECT {minute} AS minute UNION SELECT {minute} + 1 UNION SELECT 4223371679);",
        0x4578_744d,
        DAY + 2 * MINUTE_MS,
    );
    old.execute_batch(&rest).unwrap();
    drop(old);
    let mut file = HistoryFile::open(&path, DAY + 3 * MINUTE_MS).unwrap();
    let minutes = |file: &HistoryFile| {
        let all = Range::new(0, u64::MAX);
        let minutes = file.reader().rollups("chat", all, Some(Resolution::Minute));
        let minutes = minutes.unwrap().rows.into_iter();
        minutes
            .map(|row| (row.from_unix_ms - DAY, row.states.up))
            .collect::<Vec<_>>()
    };
    let expected = [(0, 59_000), (MINUTE_MS, 59_000)];
    assert_eq!(minutes(&file), expected);
    let rows = |table: &str| {
        let count = format!("SELECT count(*) FROM {table}");
        let file = Connection::open(&path).unwrap();
        file.query_row(&count, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!((rows("minute_open"), rows("rollup_minute")), (2, 0));
    while file.fold(DAY + 2 * HOUR_MS).unwrap() {}
    assert_eq!((rows("minute_open"), rows("rollup_minute")), (0, 1));
    assert_eq!(minutes(&file), expected);
}
