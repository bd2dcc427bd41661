//! Deep checks have a row each; others that were not good have one for as long as the same comes of them.

use super::{DAY, check, deep, failed};
use crate::time::{DAY_MS, HOUR_MS};
use crate::{HistoryFile, Range, Retention};
use extman_model::record::{CheckRow, ResultWord};

const ALL: Range = Range {
    from_unix_ms: 0,
    to_unix_ms: u64::MAX,
};

fn file() -> (tempfile::TempDir, HistoryFile) {
    let dir = tempfile::tempdir().unwrap();
    let file = HistoryFile::open(&dir.path().join("history.db"), DAY).unwrap();
    (dir, file)
}

#[test]
fn deep_checks_are_read_back_in_order_and_are_in_no_rollup() {
    let (_dir, mut file) = file();
    let silent = CheckRow {
        result: ResultWord::TimedOut,
        counted: false,
        took_ns: None,
        text: None,
        ..deep("a", DAY + HOUR_MS)
    };
    let rows = [
        deep("a", DAY),
        silent,
        deep("b", DAY),
        deep("a", DAY + 2 * HOUR_MS),
    ];
    let records: Vec<_> = rows.iter().cloned().map(check).collect();
    file.write(&records, DAY + 3 * HOUR_MS).unwrap();
    while file.fold(DAY + 3 * HOUR_MS).unwrap() {}
    let reader = file.reader();
    let of_a = [rows[0].clone(), rows[1].clone(), rows[3].clone()];
    let found = reader.checks("a", ALL, 10).unwrap();
    assert_eq!((&found.rows[..], found.more), (&of_a[..], false));
    let found = reader.checks("a", ALL, 2).unwrap();
    assert_eq!((&found.rows[..], found.more), (&of_a[1..], true));
    let first = Range::new(DAY, DAY + HOUR_MS);
    assert_eq!(reader.checks("a", first, 10).unwrap().rows, of_a[..1]);
    assert!(reader.rollups("a", ALL, None).unwrap().rows.is_empty());
    assert!(reader.checks("nobody", ALL, 10).unwrap().rows.is_empty());
}

#[test]
fn old_checks_go_and_long_words_are_cut() {
    let (_dir, mut file) = file();
    let long = CheckRow {
        text: Some("é".repeat(2000)),
        ..deep("a", DAY + 99 * DAY_MS)
    };
    let records = [deep("a", DAY), long].map(check);
    let now = DAY + 100 * DAY_MS;
    file.write(&records, now).unwrap();
    while file.expire(&Retention::default(), now).unwrap() {}
    let left = file.reader().checks("a", ALL, 10).unwrap().rows;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].text.as_ref().unwrap().len(), 1024);
}

#[test]
fn checks_that_fail_alike_are_one_row_until_something_else_or_an_hour_comes() {
    let (_dir, mut file) = file();
    let other = CheckRow {
        text: Some("no route".to_owned()),
        ..failed("a", DAY + 60_000)
    };
    let mut records: Vec<_> = (0..6).map(|n| check(failed("a", DAY + n * 10_000))).collect();
    records.extend([
        check(other),
        check(failed("b", DAY)),
        check(failed("a", DAY + 70_000)),
    ]);
    records.push(check(failed("a", DAY + 70_000 + HOUR_MS)));
    file.write(&records[..4], DAY + 30_000).unwrap();
    file.write(&records[4..], DAY + 2 * HOUR_MS).unwrap();
    let rows = file.reader().checks("a", ALL, 10).unwrap().rows;
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.at_unix_ms - DAY, row.last_unix_ms - DAY, row.times))
        .collect();
    let again = 70_000 + HOUR_MS;
    assert_eq!(
        told,
        [
            (0, 50_000, 6),
            (60_000, 60_000, 1),
            (70_000, 70_000, 1),
            (again, again, 1)
        ]
    );
    assert_eq!(rows[1].text.as_deref(), Some("no route"));
    // A range that begins in the middle has it.
    let middle = Range::new(DAY + 20_000, DAY + 55_000);
    assert_eq!(file.reader().checks("a", middle, 10).unwrap().rows.len(), 1);
}

#[test]
fn check_that_fails_again_after_its_row_has_gone_has_a_new_row() {
    let (_dir, mut file) = file();
    file.write(&[check(failed("a", DAY))], DAY).unwrap();
    // As when the file has reached its limit.
    let other = rusqlite::Connection::open(file.path()).unwrap();
    assert_eq!(other.execute("DELETE FROM check_result", []).unwrap(), 1);
    let again = failed("a", DAY + 10_000);
    file.write(&[check(again.clone())], DAY + 10_000).unwrap();
    assert_eq!(file.reader().checks("a", ALL, 10).unwrap().rows, [again]);
}

#[test]
fn failed_checks_are_kept_for_less_long_than_deep_ones() {
    let (_dir, mut file) = file();
    let now = DAY + 10 * DAY_MS;
    file.write(
        &[
            check(failed("a", DAY)),
            check(deep("a", DAY)),
            check(failed("a", now)),
        ],
        now,
    )
    .unwrap();
    while file.expire(&Retention::default(), now).unwrap() {}
    let left = file.reader().checks("a", ALL, 10).unwrap().rows;
    assert_eq!(left, [deep("a", DAY), failed("a", now)]);
}
