//! What is written is read back, by whoever asks for any part of it.

use super::{DAY, SOON, check, down, failed, minute, now, states, transition, up};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use crate::{History, HistoryConfig, HistoryFile, HistoryState, Range, Retention};
use extman_model::history::Resolution;
use extman_model::record::{KeyValueRow, Record, ReleaseRow, SpanState, StateTransition};
use extman_model::{Cause, Digest, ErrorKind};
use std::path::Path;

fn open(dir: &Path) -> HistoryFile {
    HistoryFile::open(&dir.join("history.db"), DAY).unwrap()
}

#[test]
fn state_for_another_reason_is_a_span_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(dir.path());
    let told = |second: u64, text: Option<&str>| {
        Record::Transition(StateTransition {
            text: text.map(str::to_owned),
            ..transition("a", DAY + second * 1000, down())
        })
    };
    let records = [
        told(1, Some("suppressed by store")),
        told(2, None),
        told(3, Some("suppressed by store")),
        told(4, Some("suppressed by disk")),
    ];
    file.write(&records, DAY + 9000).unwrap();
    let spans = file
        .reader()
        .spans("a", Range::new(0, u64::MAX), 10)
        .unwrap()
        .rows;
    let seen: Vec<_> = spans
        .iter()
        .map(|span| (span.from_unix_ms - DAY, span.text.as_deref().unwrap()))
        .collect();
    assert_eq!(
        seen,
        [(1000, "suppressed by store"), (4000, "suppressed by disk")]
    );
    let uptime = &file.reader().uptimes(None, Range::new(DAY, DAY + 9000)).unwrap()["a"];
    assert_eq!(uptime.outages, 1, "{uptime:?}");
}

#[test]
fn transition_ends_one_span_and_begins_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(dir.path());
    let failing = SpanState {
        cause: Cause::CheckFails(ErrorKind::Unavailable),
        ..down().unwrap()
    };
    let words = "é".repeat(1000);
    let turns = [
        transition("a", DAY, up()),
        StateTransition {
            text: Some(words.clone()),
            ..transition("a", DAY + 1000, Some(failing))
        },
        // The same again: the span goes on.
        transition("a", DAY + 2000, Some(failing)),
        // The clock was set back.
        transition("a", DAY + 500, up()),
        transition("a", DAY + 5000, None),
        transition("b", DAY, up()),
    ];
    file.write(&turns.map(Record::Transition), DAY + 6000).unwrap();
    let reader = file.reader();
    let spans = reader.spans("a", Range::new(0, u64::MAX), 10_000).unwrap().rows;
    let times: Vec<_> = spans
        .iter()
        .map(|span| (span.from_unix_ms, span.to_unix_ms))
        .collect();
    let s = |n: u64| DAY + n * 1000;
    assert_eq!(
        times,
        [(s(0), Some(s(1))), (s(1), Some(s(1))), (s(1), Some(s(5)))]
    );
    assert_eq!(spans[1].state, failing);
    assert_eq!(spans[1].text.as_deref(), Some(&words[..1024]));
    let within = |from, to| {
        reader
            .spans("a", Range::new(s(from), s(to)), 10_000)
            .unwrap()
            .rows
            .len()
    };
    assert_eq!((within(2, 3), within(0, 1), within(5, 9)), (1, 1, 0));
    let states = states(&reader, "b", Range::new(s(1), s(100)), s(6));
    assert_eq!(states.up, 5000);
    assert!(
        reader
            .spans("nobody", Range::new(0, u64::MAX), 10_000)
            .unwrap()
            .rows
            .is_empty()
    );
}

#[test]
fn question_gets_rollups_as_fine_as_there_is_room_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(dir.path());
    let end = DAY + 40 * DAY_MS;
    let hourly = (0..40 * 24).map(|hour| Record::Minute(Box::new(minute("a", DAY + hour * HOUR_MS, 60_000))));
    file.write(&hourly.collect::<Vec<_>>(), end).unwrap();
    while file.fold(end).unwrap() {}
    let last_minutes = (0..40).map(|n| Record::Minute(Box::new(minute("a", end + n * MINUTE_MS, 1000))));
    file.write(&last_minutes.collect::<Vec<_>>(), end + 40 * MINUTE_MS)
        .unwrap();

    let reader = file.reader();
    let end = end + 40 * MINUTE_MS;
    let ask = |days| {
        reader
            .rollups("a", Range::last(days * DAY_MS, end), None)
            .unwrap()
    };
    for (days, resolution, up) in [
        (1, Resolution::Minute, 23 * 60_000 + 40_000),
        (39, Resolution::Hour, 39 * 24 * 60_000 + 40_000),
        (400, Resolution::Day, 40 * 24 * 60_000 + 40_000),
    ] {
        let rollups = ask(days);
        assert_eq!((rollups.resolution, rollups.more), (resolution, false), "{days}");
        let sum: u64 = rollups.rows.iter().map(|row| row.states.up).sum();
        assert_eq!(sum, up, "{days} days");
    }
    // Once the minutes are gone, the hours answer for that time.
    let keep = crate::Retention::default();
    while file.expire(&keep, end).unwrap() {}
    let old = Range::new(DAY + DAY_MS, DAY + 2 * DAY_MS);
    let rollups = reader.rollups("a", old, None).unwrap();
    assert_eq!((rollups.resolution, rollups.rows.len()), (Resolution::Hour, 24));
    assert!(
        reader
            .rollups("a", old, Some(Resolution::Minute))
            .unwrap()
            .rows
            .is_empty()
    );
    // Too long a range is cut to its newest part.
    let all = Range::new(0, u64::MAX);
    let rollups = reader.rollups("a", all, Some(Resolution::Minute)).unwrap();
    assert!(rollups.more && rollups.rows.last().unwrap().from_unix_ms == end - MINUTE_MS);
}

#[test]
fn releases_and_key_values_outlive_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let release = |at_unix_ms, version: &str| ReleaseRow {
        instance: "a".into(),
        at_unix_ms,
        version: version.parse().unwrap(),
        digest: Digest::new([7; 32]),
    };
    let word = |key: &str, value: Option<&str>| KeyValueRow {
        key: key.into(),
        at_unix_ms: DAY,
        value: value.map(str::to_owned),
    };
    let records = [
        Record::Release(release(DAY, "1.0.0")),
        Record::Release(release(DAY + 1, "1.1.0-rc.1")),
        Record::KeyValue(word("deep/a", Some("3"))),
        Record::KeyValue(word("deep/b", Some("1"))),
        Record::KeyValue(word("deep/a", Some("4"))),
        Record::KeyValue(word("deep/b", None)),
        Record::KeyValue(word("other", Some("x"))),
    ];
    open(dir.path()).write(&records, DAY + 1).unwrap();
    let mut file = open(dir.path());
    let reader = file.reader();
    let releases = reader.releases("a").unwrap().rows;
    assert_eq!(releases, [release(DAY, "1.0.0"), release(DAY + 1, "1.1.0-rc.1")]);
    // Also where a clock has leapt: what is spent is spent.
    while file.expire(&Retention::default(), DAY + 10_000 * DAY_MS).unwrap() {}
    assert_eq!(reader.key_values("deep/").unwrap(), [word("deep/a", Some("4"))]);
}

#[test]
fn the_thread_writes_what_it_is_given_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let config = HistoryConfig {
        file: dir.path().join("deeper/still/history.db"),
        ..HistoryConfig::default()
    };
    let (history, begin) = (History::start(&config).unwrap(), now());
    for n in 0..500 {
        assert!(history.record(check(failed("a", begin + n))));
    }
    assert!(history.flush(SOON));
    let status = history.status();
    assert_eq!(
        (&status.state, status.written, status.queue_len),
        (&HistoryState::Working, 500, 0)
    );
    assert!(status.size_bytes > 0 && status.last_write_unix_ms.is_some() && status.dropped.total() == 0);
    let all = Range::new(0, u64::MAX);
    assert_eq!(
        history.reader().unwrap().checks("a", all, 1000).unwrap().rows[0].times,
        500
    );
    // Whatever waits at the end is written.
    assert!(history.record(Record::Transition(transition("a", DAY, up()))));
    assert!(history.close(SOON));
    assert_eq!(
        history
            .reader()
            .unwrap()
            .spans("a", all, 10_000)
            .unwrap()
            .rows
            .len(),
        1
    );
    assert!(!history.record(Record::Transition(transition("a", DAY, None))));

    let off = History::off("a reason");
    assert!(!off.record(Record::Transition(transition("a", DAY, up()))));
    assert!(off.reader().unwrap_err().to_string().contains("a reason"));
    assert!(off.status().dropped.transitions == 1 && off.close(SOON));
    let disabled = HistoryConfig {
        enabled: false,
        ..config
    };
    let state = History::start(&disabled).unwrap().status().state;
    assert!(matches!(state, HistoryState::Off { .. }), "{state:?}");
}
