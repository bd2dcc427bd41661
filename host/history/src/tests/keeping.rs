//! What is old goes; what is oldest goes first when the file would grow too large; the file gets smaller.

use super::{DAY, SOON, check, failed, minute, now, transition, up};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use crate::{History, HistoryConfig, HistoryFile, HistoryState, Range, Retention};
use extman_model::history::{Kept, Resolution};
use extman_model::record::{CheckRow, Record};

const ALL: Range = Range {
    from_unix_ms: 0,
    to_unix_ms: u64::MAX,
};

#[test]
fn each_kind_is_kept_for_its_own_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = HistoryFile::open(&dir.path().join("history.db"), DAY).unwrap();
    let mut records = Vec::new();
    for day in 0..120 {
        let at = DAY + day * DAY_MS;
        records.push(Record::Minute(Box::new(minute("a", at, 60_000))));
        records.push(check(failed("a", at)));
        let state = if day % 2 == 0 { up() } else { super::down() };
        records.push(Record::Transition(transition("a", at, state)));
    }
    // In batches, as they would have come: a batch is folded as one.
    for batch in records.chunks(3) {
        file.write(batch, DAY + 120 * DAY_MS).unwrap();
    }
    let now = DAY + 120 * DAY_MS;
    while file.fold(now).unwrap() {}
    let keep = Retention {
        result_hours: 48,
        minute_days: 10,
        hour_days: 20,
        day_days: 64,
        span_days: 30,
    };
    while file.expire(&keep, now).unwrap() {}
    let reader = file.reader();
    assert_eq!(reader.checks("a", ALL, 1000).unwrap().rows.len(), 2);
    let rows = |range, resolution| {
        let mut rows = reader.rollups("a", range, resolution).unwrap().rows;
        // The others are of spans alone.
        rows.retain(|row| row.checks > 0);
        rows
    };
    let first = |resolution| (rows(ALL, Some(resolution))[0].from_unix_ms - DAY) / DAY_MS;
    let fifteen = rows(Range::last(15 * DAY_MS, now), None);
    assert_eq!((first(Resolution::Hour), fifteen.len()), (100, 15));
    // Days stand 32 in a row, and go with their row.
    assert!(
        (24..=56).contains(&first(Resolution::Day)),
        "{}",
        first(Resolution::Day)
    );
    let range = Range::new(now - 12 * DAY_MS, now - 11 * DAY_MS);
    assert!(rows(range, Some(Resolution::Minute)).is_empty());
    let spans = reader.spans("a", ALL, 10_000).unwrap().rows;
    assert_eq!((spans.len(), spans.last().unwrap().to_unix_ms), (31, None));
}

#[test]
fn at_its_limit_results_go_first_and_room_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let config = HistoryConfig {
        file: dir.path().join("history.db"),
        size_max_mib: 4,
        ..HistoryConfig::default()
    };
    let names: Vec<String> = (0..200).map(|n| format!("plugin-{n}")).collect();
    // More than there is room for, written without a limit.
    let begin = now() / HOUR_MS * HOUR_MS - 5 * HOUR_MS;
    let mut file = HistoryFile::open(&config.file, begin).unwrap();
    let large = |name: &str, at| CheckRow {
        text: Some(format!("{at} {}", "é".repeat(400))),
        ..failed(name, at)
    };
    for n in 0..60 {
        let at = begin + n * 1000;
        let batch: Vec<_> = names.iter().map(|name| check(large(name, at))).collect();
        file.write(&batch, at).unwrap();
    }
    for name in &names {
        let minutes = (0..60).map(|n| minute(name, begin + n * MINUTE_MS, 60_000));
        let minutes: Vec<_> = minutes.map(|row| Record::Minute(Box::new(row))).collect();
        file.write(&minutes, begin + HOUR_MS).unwrap();
    }
    while file.fold(begin + 2 * HOUR_MS).unwrap() {}
    let before = file.size_bytes();
    drop(file);

    let history = History::start(&config).unwrap();
    let mut at = begin + 3 * HOUR_MS;
    let is_small = || {
        at += 1000;
        history.record(check(failed("plugin-1", at)));
        assert!(history.flush(SOON));
        let status = history.status();
        !status.trimmed.is_empty() && std::fs::metadata(&config.file).unwrap().len() < 5 << 20
    };
    assert!(
        std::iter::repeat_with(is_small).take(200).any(|small| small),
        "{:?}",
        history.status()
    );
    let status = history.status();
    assert_eq!(status.state, HistoryState::Working);
    assert!(status.size_bytes < before && status.trimmed.iter().all(|trimmed| trimmed.what == Kept::Results));
    let hour = history
        .reader()
        .unwrap()
        .rollups("plugin-7", Range::new(begin, begin + HOUR_MS), None)
        .unwrap();
    assert_eq!(hour.rows.len(), 60);
}
