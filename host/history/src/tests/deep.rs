//! Deep checks have rows of their own.

use super::{DAY, deep, result};
use crate::time::{DAY_MS, HOUR_MS};
use crate::{HistoryFile, Range, Retention};
use extman_model::record::{DeepRow, Record, ResultWord};

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
fn they_are_read_back_in_order_and_are_no_single_results_and_in_no_sum() {
    let (_dir, mut file) = file();
    let silent = DeepRow {
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
    let mut records: Vec<_> = rows
        .iter()
        .cloned()
        .map(|row| Record::Deep(Box::new(row)))
        .collect();
    records.push(Record::Result(result("a", DAY)));
    file.write(&records, DAY + 3 * HOUR_MS).unwrap();
    while file.fold(DAY + 3 * HOUR_MS).unwrap() {}
    let reader = file.reader();
    let of_a = [rows[0].clone(), rows[1].clone(), rows[3].clone()];
    let found = reader.deep_checks("a", ALL, 10).unwrap();
    assert_eq!((&found.rows[..], found.more), (&of_a[..], false));
    let found = reader.deep_checks("a", ALL, 2).unwrap();
    assert_eq!((&found.rows[..], found.more), (&of_a[1..], true));
    let first = Range::new(DAY, DAY + HOUR_MS);
    assert_eq!(reader.deep_checks("a", first, 10).unwrap().rows, of_a[..1]);
    assert_eq!(reader.results("a", ALL, 10).unwrap().rows.len(), 1);
    assert!(reader.rollups("a", ALL, None).unwrap().rows.is_empty());
    assert!(reader.deep_checks("nobody", ALL, 10).unwrap().rows.is_empty());
}

#[test]
fn they_go_when_they_are_old_and_their_words_are_cut() {
    let (_dir, mut file) = file();
    let long = DeepRow {
        text: Some("é".repeat(2000)),
        ..deep("a", DAY + 99 * DAY_MS)
    };
    let records = [deep("a", DAY), long].map(|row| Record::Deep(Box::new(row)));
    let now = DAY + 100 * DAY_MS;
    file.write(&records, now).unwrap();
    while file.expire(&Retention::default(), now).unwrap() {}
    let left = file.reader().deep_checks("a", ALL, 10).unwrap().rows;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].text.as_ref().unwrap().len(), 1024);
}
