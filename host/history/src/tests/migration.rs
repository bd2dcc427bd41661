//! A file of the first version, as text: today's host reads it, and goes on writing it.

use super::{DAY, turn};
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
            Record::Turn(turn("chat", DAY + 3 * HOUR_MS, super::up())),
            Record::Deep(Box::new(super::deep("chat", DAY + 3 * HOUR_MS))),
        ],
        DAY + 3 * HOUR_MS,
    )
    .unwrap();
    while file.fold(DAY + 3 * HOUR_MS).unwrap() {}
    let reader = file.reader();
    let all = Range::new(0, u64::MAX);
    let spans = reader.spans("chat", all).unwrap().rows;
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
    let results = reader.results("chat", all, 10).unwrap().rows;
    assert_eq!(
        (results.len(), results[0].at_unix_ms, results[0].took_ns),
        (2, DAY + 1000, Some(300))
    );
    assert_eq!(
        reader.releases("chat").unwrap().rows[0].version.to_string(),
        "1.2.3"
    );
    let deep = reader.deep_checks("chat", all, 10).unwrap().rows;
    assert_eq!(deep, [super::deep("chat", DAY + 3 * HOUR_MS)]);
    assert_eq!(reader.ledger("").unwrap()[0].value.as_deref(), Some("5"));
}
