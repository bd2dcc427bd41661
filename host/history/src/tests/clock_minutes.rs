//! Sums of minutes, deep checks and versions under a clock that is set; and a file that tells of times that have not come.

use super::{DAY, deep, down, minute, turn, up};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use crate::{HistoryFile, Range};
use extman_model::history::Resolution;
use extman_model::record::{ClockStep, Record, StateMs};
use proptest::prelude::*;
use std::path::Path;

const ALL: Range = Range {
    from_unix_ms: 0,
    to_unix_ms: u64::MAX,
};

fn step(by_ms: i64, to_unix_ms: u64) -> Record {
    Record::ClockStep(ClockStep { by_ms, to_unix_ms })
}

fn up_minute(at: u64) -> Record {
    Record::Minute(Box::new(minute("a", at, 60_000)))
}

fn open(path: &Path, now: u64) -> HistoryFile {
    HistoryFile::open(path, now).unwrap()
}

/// Each stretch's number since the day began, and its time up.
fn sums(file: &HistoryFile, resolution: Resolution) -> Vec<(u64, u64)> {
    let rows = file.reader().rollups("a", ALL, Some(resolution)).unwrap().rows;
    rows.iter()
        .map(|row| ((row.from_unix_ms - DAY) / resolution.len_ms(), row.states.up))
        .collect()
}

fn fold(file: &mut HistoryFile, now: u64) {
    while file.fold(now).unwrap() {}
}

#[test]
fn minutes_go_back_with_the_spans_folded_or_not_and_what_is_summed_of_them_too() {
    let dir = tempfile::tempdir().unwrap();
    let begin = DAY + 10 * HOUR_MS;
    let mut file = open(&dir.path().join("history.db"), begin);
    file.write(&[Record::Turn(turn("a", begin, up()))], begin)
        .unwrap();
    // Two hours and a half; the first two are folded.
    let end = begin + 150 * MINUTE_MS;
    for at in (begin..end).step_by(MINUTE_MS as usize) {
        file.write(&[up_minute(at)], at + MINUTE_MS).unwrap();
    }
    fold(&mut file, end);
    file.write(&[Record::Deep(Box::new(deep("a", end - 7)))], end)
        .unwrap();
    // A day, three hours and twenty seconds back: to the day before.
    let by = DAY_MS + 3 * HOUR_MS + 20_000;
    let now = end - by;
    // One that was under way is told of by the clock as it was.
    file.write(&[step(-(by as i64), now), up_minute(end)], now)
        .unwrap();
    fold(&mut file, now);
    let reader = file.reader();
    let minutes = reader.rollups("a", ALL, Some(Resolution::Minute)).unwrap().rows;
    let sum: u64 = minutes.iter().map(|row| row.states.up).sum();
    assert_eq!(sum, 151 * MINUTE_MS, "none is lost or doubled");
    assert_eq!(minutes[0].from_unix_ms, begin - DAY_MS - 3 * HOUR_MS);
    assert!(
        minutes.iter().all(|row| row.from_unix_ms <= now),
        "none lies in the future"
    );
    let first = reader.spans("a", ALL).unwrap().rows[0].from_unix_ms;
    assert!(first.abs_diff(minutes[0].from_unix_ms) <= MINUTE_MS / 2);
    assert_eq!(
        reader.deep_checks("a", ALL, 9).unwrap().rows[0].at_unix_ms,
        end - 7 - by
    );
    for resolution in [Resolution::Hour, Resolution::Day] {
        let rows = reader.rollups("a", ALL, Some(resolution)).unwrap().rows;
        assert_eq!(
            rows.iter().map(|row| row.states.up).sum::<u64>(),
            sum,
            "{resolution:?}"
        );
        assert!(
            rows.iter().all(|row| row.from_unix_ms <= now),
            "{resolution:?}: {rows:?}"
        );
    }
}

#[test]
fn hours_whose_minutes_are_no_longer_kept_lose_nothing_and_hold_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let mut file = open(&path, DAY);
    let end = DAY + 4 * HOUR_MS;
    for at in (DAY..end).step_by(MINUTE_MS as usize) {
        file.write(&[up_minute(at)], at + MINUTE_MS).unwrap();
    }
    fold(&mut file, end);
    // As they expire: the sums of the hour stay.
    let other = rusqlite::Connection::open(&path).unwrap();
    let gone = "DELETE FROM rollup_minute WHERE slot = (SELECT min(slot) FROM rollup_minute)";
    assert_eq!(other.execute(gone, []).unwrap(), 1);
    let before = sums(&file, Resolution::Hour);
    assert_eq!(before.len(), 4);
    let mut now = end;
    for _ in 0..2 {
        now -= HOUR_MS;
        file.write(&[step(-(HOUR_MS as i64), now)], now).unwrap();
    }
    fold(&mut file, now);
    assert_eq!(sums(&file, Resolution::Hour), before);
    let steps = file.reader().clock_steps(ALL).unwrap();
    assert!(
        steps.len() == 2 && steps.iter().all(|step| !step.moved),
        "{steps:?}"
    );
}

#[test]
fn what_was_told_before_the_clock_leapt_ahead_stays_when_it_is_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(&dir.path().join("history.db"), DAY);
    let write = |file: &mut HistoryFile, record, now| file.write(&[record], now).unwrap();
    write(&mut file, up_minute(DAY), DAY + MINUTE_MS);
    let ahead = DAY + MINUTE_MS + 5 * HOUR_MS;
    write(&mut file, step(5 * HOUR_MS as i64, ahead), ahead);
    write(&mut file, up_minute(ahead), ahead + MINUTE_MS);
    let back = DAY + 2 * MINUTE_MS;
    write(&mut file, step(-(5 * HOUR_MS as i64), back), back);
    assert_eq!(sums(&file, Resolution::Minute), [(0, 60_000), (1, 60_000)]);
}

#[test]
fn a_step_of_seconds_moves_no_minute() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(&dir.path().join("history.db"), DAY);
    file.write(&[up_minute(DAY), up_minute(DAY + MINUTE_MS)], DAY + 2 * MINUTE_MS)
        .unwrap();
    let now = DAY + 2 * MINUTE_MS - 3_000;
    file.write(&[step(-3_000, now)], now).unwrap();
    assert_eq!(sums(&file, Resolution::Minute), [(0, 60_000), (1, 60_000)]);
}

/// A host whose clock is two hours ahead writes five hours and ends; the clock is corrected, and at once the next host begins.
fn corrected_while_down(path: &Path) -> (HistoryFile, u64) {
    let mut file = open(path, DAY);
    file.write(&[Record::Turn(turn("a", DAY, up()))], DAY).unwrap();
    let end = DAY + 5 * HOUR_MS;
    for at in (DAY..end).step_by(MINUTE_MS as usize) {
        file.write(&[up_minute(at)], at + MINUTE_MS).unwrap();
    }
    file.write(&[Record::Turn(turn("a", end, None))], end).unwrap();
    fold(&mut file, end + HOUR_MS);
    drop(file);
    let now = DAY + 3 * HOUR_MS;
    (open(path, now), now)
}

fn states(file: &HistoryFile, to: u64) -> StateMs {
    file.reader().states("a", Range::new(DAY, to), to).unwrap()
}

#[test]
fn what_is_claimed_of_times_that_have_not_come_gives_way_to_what_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (mut file, begin) = corrected_while_down(&dir.path().join("history.db"));
    file.write(&[Record::Turn(turn("a", begin, down()))], begin)
        .unwrap();
    let now = begin + HOUR_MS / 2;
    for at in (begin..now).step_by(MINUTE_MS as usize) {
        let mut seen = minute("a", at, 0);
        seen.sums.states.down = MINUTE_MS;
        file.write(&[Record::Minute(Box::new(seen))], at + MINUTE_MS)
            .unwrap();
    }
    let known = states(&file, now);
    assert_eq!(
        (known.up, known.down),
        (3 * HOUR_MS, HOUR_MS / 2),
        "seen from its first moment on"
    );
    let spans = file.reader().spans("a", Range::new(DAY, now)).unwrap().rows;
    assert_eq!(spans.last().unwrap().from_unix_ms, begin);
    let minutes = file
        .reader()
        .rollups("a", Range::new(DAY, now), Some(Resolution::Minute))
        .unwrap()
        .rows;
    let whole = |row: &&extman_model::record::Rollup| row.from_unix_ms > begin && row.from_unix_ms < now;
    let seen: Vec<_> = minutes.iter().filter(whole).collect();
    assert_eq!(seen.len(), 29);
    assert!(
        seen.iter()
            .all(|row| (row.states.up, row.states.down) == (0, MINUTE_MS)),
        "{seen:?}"
    );
    // When all that was claimed has come, nothing of it is left.
    let later = DAY + 6 * HOUR_MS;
    for at in (now..later).step_by(10 * MINUTE_MS as usize) {
        file.write(&[], at).unwrap();
    }
    file.write(&[Record::Turn(turn("a", later, None))], later)
        .unwrap();
    let known = states(&file, later);
    assert_eq!((known.up, known.down), (3 * HOUR_MS, 3 * HOUR_MS));
}

#[test]
fn a_clock_that_is_behind_when_the_host_begins_costs_nothing_that_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let mut file = open(&path, DAY);
    file.write(&[Record::Turn(turn("a", DAY, up()))], DAY).unwrap();
    file.write(&[up_minute(DAY + HOUR_MS)], DAY + 2 * HOUR_MS)
        .unwrap();
    file.write(
        &[Record::Turn(turn("a", DAY + 2 * HOUR_MS, None))],
        DAY + 2 * HOUR_MS,
    )
    .unwrap();
    drop(file);
    // No battery: the year is 1970, until somebody asks the network.
    let mut file = open(&path, 5_000);
    file.write(&[Record::Turn(turn("a", 6_000, down()))], 6_000)
        .unwrap();
    let now = DAY + 3 * HOUR_MS;
    file.write(&[step((now - 16_000) as i64, now)], now).unwrap();
    file.write(&[Record::Turn(turn("a", now + 1_000, None))], now + 1_000)
        .unwrap();
    let known = states(&file, now + 1_000);
    assert_eq!((known.up, known.down), (2 * HOUR_MS, 1_000));
    assert_eq!(sums(&file, Resolution::Minute), [(60, 60_000)]);
}

proptest! {
    #[test]
    fn whatever_the_clock_does_minutes_are_neither_lost_nor_doubled(
        changes in prop::collection::vec((1..90_u64, -9_000_000..9_000_000_i64, any::<bool>()), 1..10)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let begin = DAY + 100 * HOUR_MS;
        let mut file = open(&dir.path().join("history.db"), begin);
        let (mut wall, mut passed, mut set_ahead) = (begin, 0, false);
        for (minutes, by, folds) in changes {
            for _ in 0..minutes {
                let from = wall / MINUTE_MS * MINUTE_MS;
                wall += MINUTE_MS;
                passed += MINUTE_MS;
                file.write(&[up_minute(from)], wall).unwrap();
            }
            if folds {
                fold(&mut file, wall);
            }
            if by.unsigned_abs() >= 2_000 {
                // What was told before a leap ahead stands, as spans do.
                set_ahead |= by > 0;
                wall = wall.saturating_add_signed(by);
                file.write(&[step(by, wall)], wall).unwrap();
            }
            for resolution in Resolution::ALL {
                let rows = file.reader().rollups("a", ALL, Some(resolution)).unwrap().rows;
                prop_assert_eq!(rows.iter().map(|row| row.states.up).sum::<u64>(), passed, "{:?}", resolution);
                prop_assert!(set_ahead || rows.iter().all(|row| row.from_unix_ms <= wall), "{:?} in the future", resolution);
            }
        }
    }
}
