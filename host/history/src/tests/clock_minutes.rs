//! Rollups and checks under a clock that is set, and a file with future rows.

use super::{DAY, check, deep, down, minute, step, transition, up};
use crate::time::{HOUR_MS, MINUTE_MS};
use crate::{HistoryFile, Range};
use extman_model::history::Resolution;
use extman_model::record::{Record, StateMs};
use proptest::prelude::*;
use std::path::Path;

const ALL: Range = Range {
    from_unix_ms: 0,
    to_unix_ms: u64::MAX,
};

fn up_minute(at: u64) -> Record {
    Record::Minute(Box::new(minute("a", at, 60_000)))
}

fn open(path: &Path, now: u64) -> HistoryFile {
    HistoryFile::open(path, now).unwrap()
}

/// Each stretch's number since the day began, and its time up, of those with checks.
fn rollups(file: &HistoryFile, resolution: Resolution) -> Vec<(u64, u64)> {
    let rows = file.reader().rollups("a", ALL, Some(resolution)).unwrap().rows;
    rows.iter()
        .filter(|row| row.checks > 0)
        .map(|row| ((row.from_unix_ms - DAY) / resolution.len_ms(), row.states.up))
        .collect()
}

fn fold(file: &mut HistoryFile, now: u64) {
    while file.fold(now).unwrap() {}
}

/// Minutes from a moment up to another, up all the time, each written when it ends.
fn write_minutes(file: &mut HistoryFile, from: u64, to: u64) {
    for at in (from..to).step_by(MINUTE_MS as usize) {
        file.write(&[up_minute(at)], at + MINUTE_MS).unwrap();
    }
}

#[test]
fn minutes_of_a_clock_that_was_ahead_give_way_to_those_that_are_seen_after_it_was_set_back() {
    for folds_first in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let begin = DAY + 10 * HOUR_MS;
        let mut file = open(&dir.path().join("history.db"), begin);
        let end = begin + 4 * HOUR_MS;
        write_minutes(&mut file, begin, end);
        if folds_first {
            fold(&mut file, end + HOUR_MS);
        }
        file.write(&[check(deep("a", end - 7))], end).unwrap();
        // One that was under way is told of by the clock as it was.
        let now = end - 90 * MINUTE_MS;
        file.write(&[step(-90 * MINUTE_MS as i64, now), up_minute(end)], now)
            .unwrap();
        let count = |file: &HistoryFile| {
            let rows = file
                .reader()
                .rollups("a", ALL, Some(Resolution::Minute))
                .unwrap()
                .rows;
            let up: u64 = rows.iter().map(|row| row.states.up).sum();
            (
                rows.len() as u64,
                up / MINUTE_MS,
                rows.last().unwrap().from_unix_ms,
            )
        };
        assert_eq!(
            count(&file),
            (151, 151, now),
            "nothing that counts lies in the future"
        );
        write_minutes(&mut file, now + MINUTE_MS, end);
        fold(&mut file, end + HOUR_MS);
        assert_eq!(count(&file), (240, 240, end - MINUTE_MS));
        for (resolution, stretches) in [(Resolution::Hour, 4), (Resolution::Day, 1)] {
            let all = rollups(&file, resolution);
            let up: u64 = all.iter().map(|(_, up)| up).sum();
            assert_eq!(
                (all.len(), up),
                (stretches, 4 * HOUR_MS),
                "{resolution:?}, {folds_first}"
            );
        }
        let steps = file.reader().clock_steps(ALL).unwrap();
        assert_eq!(
            (steps.len(), steps[0].found, steps[0].at_unix_ms),
            (1, false, now)
        );
        // What happened stays where it was told.
        assert_eq!(
            file.reader().checks("a", ALL, 9).unwrap().rows[0].at_unix_ms,
            end - 7
        );
    }
}

#[test]
fn hours_whose_minutes_are_no_longer_kept_lose_nothing_and_hold_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let mut file = open(&path, DAY);
    let end = DAY + 4 * HOUR_MS;
    write_minutes(&mut file, DAY, end);
    fold(&mut file, end + HOUR_MS);
    // As they expire: the sums of the hour stay.
    let other = rusqlite::Connection::open(&path).unwrap();
    let gone = "DELETE FROM rollup_minute WHERE slot = (SELECT min(slot) FROM rollup_minute)";
    assert_eq!(other.execute(gone, []).unwrap(), 1);
    let before = rollups(&file, Resolution::Hour);
    assert_eq!(before.len(), 4);
    let mut now = end;
    for hours in [3, 2] {
        now -= HOUR_MS;
        file.write(&[step(-(HOUR_MS as i64), now)], now).unwrap();
        assert_eq!(rollups(&file, Resolution::Hour), before[..hours]);
    }
    write_minutes(&mut file, now, end);
    // A minute that comes late to an hour without minutes is added to it.
    file.write(&[up_minute(DAY)], end).unwrap();
    fold(&mut file, end + HOUR_MS);
    let mut expected = before;
    expected[0].1 += MINUTE_MS;
    assert_eq!(rollups(&file, Resolution::Hour), expected);
}

#[test]
fn minutes_before_the_clock_leapt_ahead_stay_when_it_is_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(&dir.path().join("history.db"), DAY);
    let write = |file: &mut HistoryFile, record, now| file.write(&[record], now).unwrap();
    write(&mut file, up_minute(DAY), DAY + MINUTE_MS);
    let ahead = DAY + MINUTE_MS + 5 * HOUR_MS;
    write(&mut file, step(5 * HOUR_MS as i64, ahead), ahead);
    write(&mut file, up_minute(ahead), ahead + MINUTE_MS);
    let back = DAY + 2 * MINUTE_MS;
    write(&mut file, step(-(5 * HOUR_MS as i64), back), back);
    assert_eq!(rollups(&file, Resolution::Minute)[0], (0, 60_000));
    // Once its time has come, and somebody has seen it, what the clock claimed of it is gone.
    file.write(&[], ahead + HOUR_MS).unwrap();
    assert_eq!(rollups(&file, Resolution::Minute), [(0, 60_000)]);
}

#[test]
fn a_step_of_seconds_moves_no_minute() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(&dir.path().join("history.db"), DAY);
    file.write(&[up_minute(DAY), up_minute(DAY + MINUTE_MS)], DAY + 2 * MINUTE_MS)
        .unwrap();
    let now = DAY + 2 * MINUTE_MS - 3_000;
    file.write(&[step(-3_000, now)], now).unwrap();
    assert_eq!(rollups(&file, Resolution::Minute), [(0, 60_000), (1, 60_000)]);
}

/// A host whose clock is two hours ahead writes five hours and ends; the clock is corrected, and at once the next host begins.
fn corrected_while_down(path: &Path) -> (HistoryFile, u64) {
    let mut file = open(path, DAY);
    file.write(&[Record::Transition(transition("a", DAY, up()))], DAY)
        .unwrap();
    let end = DAY + 5 * HOUR_MS;
    for at in (DAY..end).step_by(MINUTE_MS as usize) {
        file.write(&[up_minute(at)], at + MINUTE_MS).unwrap();
    }
    file.write(&[Record::Transition(transition("a", end, None))], end)
        .unwrap();
    fold(&mut file, end + HOUR_MS);
    drop(file);
    let now = DAY + 3 * HOUR_MS;
    (open(path, now), now)
}

fn states(file: &HistoryFile, to: u64) -> StateMs {
    super::states(&file.reader(), "a", Range::new(DAY, to), to)
}

#[test]
fn future_rows_give_way_to_what_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (mut file, begin) = corrected_while_down(&dir.path().join("history.db"));
    file.write(&[Record::Transition(transition("a", begin, down()))], begin)
        .unwrap();
    let now = begin + HOUR_MS / 2;
    for at in (begin..now).step_by(MINUTE_MS as usize) {
        let mut seen = minute("a", at, 0);
        seen.rollup.states.down = MINUTE_MS;
        file.write(&[Record::Minute(Box::new(seen))], at + MINUTE_MS)
            .unwrap();
    }
    let known = states(&file, now);
    assert_eq!(
        (known.up, known.down),
        (3 * HOUR_MS, HOUR_MS / 2),
        "seen from its first moment on"
    );
    let spans = file
        .reader()
        .spans("a", Range::new(DAY, now), 10_000)
        .unwrap()
        .rows;
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
    file.write(&[Record::Transition(transition("a", later, None))], later)
        .unwrap();
    let known = states(&file, later);
    assert_eq!((known.up, known.down), (3 * HOUR_MS, 3 * HOUR_MS));
}

#[test]
fn a_clock_that_is_behind_when_the_host_begins_costs_nothing_that_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let mut file = open(&path, DAY);
    file.write(&[Record::Transition(transition("a", DAY, up()))], DAY)
        .unwrap();
    file.write(&[up_minute(DAY + HOUR_MS)], DAY + 2 * HOUR_MS)
        .unwrap();
    file.write(
        &[Record::Transition(transition("a", DAY + 2 * HOUR_MS, None))],
        DAY + 2 * HOUR_MS,
    )
    .unwrap();
    drop(file);
    // No battery: the year is 1970, until somebody asks the network.
    let mut file = open(&path, 5_000);
    file.write(&[Record::Transition(transition("a", 6_000, down()))], 6_000)
        .unwrap();
    let now = DAY + 3 * HOUR_MS;
    file.write(&[step((now - 16_000) as i64, now)], now).unwrap();
    file.write(
        &[Record::Transition(transition("a", now + 1_000, None))],
        now + 1_000,
    )
    .unwrap();
    let known = states(&file, now + 1_000);
    assert_eq!((known.up, known.down), (2 * HOUR_MS, 1_000));
    assert_eq!(rollups(&file, Resolution::Minute), [(60, 60_000)]);
}

proptest! {
    #[test]
    fn no_minute_counts_twice_whatever_the_clock_does(
        changes in prop::collection::vec((1..90_u64, -5_000_000..5_000_000_i64, any::<bool>()), 1..8)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let begin = DAY + 30 * HOUR_MS;
        let mut file = open(&dir.path().join("history.db"), begin);
        let (mut wall, mut passed, mut latest, mut steps) = (begin, 0, begin, 0);
        for (minutes, by, folds) in changes {
            for _ in 0..minutes {
                let from = wall / MINUTE_MS * MINUTE_MS;
                wall += MINUTE_MS;
                passed += MINUTE_MS;
                file.write(&[up_minute(from)], wall).unwrap();
            }
            latest = latest.max(wall);
            if folds {
                fold(&mut file, wall);
            }
            if by.unsigned_abs() >= 2_000 {
                steps += 1;
                wall = wall.saturating_add_signed(by);
                file.write(&[step(by, wall)], wall).unwrap();
            }
            for resolution in Resolution::ALL {
                let up: u64 = rollups(&file, resolution).iter().map(|(_, up)| up).sum();
                prop_assert!(up <= passed, "{:?}: {} of {}", resolution, up, passed);
            }
        }
        // Until everything has been seen by the last clock.
        while wall < latest + HOUR_MS {
            let from = wall / MINUTE_MS * MINUTE_MS;
            wall += MINUTE_MS;
            passed += MINUTE_MS;
            file.write(&[up_minute(from)], wall).unwrap();
        }
        fold(&mut file, wall + 2 * HOUR_MS);
        let all = Resolution::ALL.map(|resolution| rollups(&file, resolution));
        let up = all.each_ref().map(|rows| rows.iter().map(|(_, up)| up).sum::<u64>());
        // An hour in which the clock was set is as it was summed, until something more is seen of it.
        prop_assert!(up[0] <= up[1] && up[0] <= up[2] && up.iter().all(|up| *up <= passed), "{:?} of {}", up, passed);
        prop_assert!(steps > 0 || up == [passed; 3]);
        // A minute in which the clock was set is told of by both.
        prop_assert!(all[0].iter().all(|(_, up)| *up <= MINUTE_MS * (steps + 1)));
    }
}
