//! What is old goes; what is oldest goes first when the file would grow too large; the file gets smaller.

use super::{DAY, SOON, check, failed, minute, now, transition, up};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use crate::{History, HistoryConfig, HistoryFile, HistoryState, Range, Retention};
use extman_model::history::{Kept, Resolution};
use extman_model::latency::LatencyHistogram;
use extman_model::record::{CheckRow, MinuteRow, Record};
use rusqlite::Connection;

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

/// A minute as a host writes it: checks come by a jittered interval, and of 60 calls no two minutes have the same latencies.
fn minute_of_a_day(instance: &str, number: u64, is_busy: bool) -> MinuteRow {
    let varied = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let mut row = minute(instance, DAY + number * MINUTE_MS, MINUTE_MS);
    row.rollup.checks = [5, 7, 6, 6, 6, 6, 6, 6][(varied % 8) as usize];
    row.rollup.heap_bytes = Some((40 << 20, 41 << 20));
    if is_busy {
        row.rollup.calls = 60;
        row.rollup.cpu_ns = Some(120_000_000 + varied % 10_000_000);
        let took = |n: u64| std::time::Duration::from_micros(1500 + 40 * n + varied % 500);
        row.rollup.latency = LatencyHistogram::of((1..=60).map(took));
    }
    row
}

/// Bytes of an instance in a file of a day; and without the room that the last hour's minutes have left for the next one's.
fn bytes_a_day(is_busy: bool) -> [u64; 2] {
    const COUNT: u64 = 100;
    let dir = tempfile::tempdir().unwrap();
    let mut file = HistoryFile::open(&dir.path().join("history.db"), DAY).unwrap();
    let other = Connection::open(file.path()).unwrap();
    let number = |name: &str| -> u64 {
        let found: i64 = other.pragma_query_value(None, name, |row| row.get(0)).unwrap();
        found as u64
    };
    let empty = number("page_count");
    let names: Vec<String> = (0..COUNT).map(|n| format!("plugin-{n:05}")).collect();
    for number in 0..24 * 60 {
        let mut records: Vec<Record> = Vec::new();
        for name in &names {
            if number == 0 {
                records.push(Record::Transition(transition(name, DAY, up())));
            }
            records.push(Record::Minute(Box::new(minute_of_a_day(name, number, is_busy))));
        }
        file.write(&records, DAY + (number + 1) * MINUTE_MS).unwrap();
        while file.fold(DAY + (number + 1) * MINUTE_MS).unwrap() {}
    }
    while file.fold(DAY + 25 * HOUR_MS).unwrap() {}
    let (pages, free) = (number("page_count") - empty, number("freelist_count"));
    [pages, pages - free].map(|pages| pages * number("page_size") / COUNT)
}

/// 10,000 instances: at most 250 MiB a day if each is called every minute, at most 100 if they idle; and no more than the host reckons with
/// when it tells that there is too little room.
#[test]
fn day_of_an_instance_takes_no_more_bytes_than_are_promised() {
    let ([busy, busy_kept], [idle, _]) = (bytes_a_day(true), bytes_a_day(false));
    assert!(busy * 10_000 <= 250 << 20, "{busy} bytes");
    assert!(idle * 10_000 <= 100 << 20, "{idle} bytes");
    let reckoned = crate::config::MINUTES_BYTES + crate::config::HOURS_BYTES + crate::config::DAYS_BYTES;
    assert!(
        busy_kept <= reckoned,
        "{busy_kept} bytes, reckoned with {reckoned}"
    );
    println!(
        "bytes of an instance in a file of a day: {busy} if it is called every minute, {idle} if it idles"
    );
}
