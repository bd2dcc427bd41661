//! A wall clock that is set: spans move with it, lose no time and claim none that never was.

use super::{DAY, down, turn, up};
use crate::{HistoryFile, Range};
use extman_model::record::{ClockStep, Record, StateMs};
use proptest::prelude::*;

const HOUR: u64 = 3_600_000;

fn step(by_ms: i64, to_unix_ms: u64) -> Record {
    Record::ClockStep(ClockStep { by_ms, to_unix_ms })
}

fn file() -> (tempfile::TempDir, HistoryFile) {
    let dir = tempfile::tempdir().unwrap();
    let file = HistoryFile::open(&dir.path().join("history.db"), DAY).unwrap();
    (dir, file)
}

/// From and until when it was in which health; the last may go on.
fn spans(file: &HistoryFile, instance: &str) -> Vec<(u64, Option<u64>, &'static str)> {
    let all = Range::new(0, u64::MAX);
    let rows = file.reader().spans(instance, all).unwrap().rows;
    rows.iter()
        .map(|row| {
            (
                row.from_unix_ms - DAY,
                row.to_unix_ms.map(|to| to - DAY),
                row.state.health.as_str(),
            )
        })
        .collect()
}

fn states(file: &HistoryFile, now: u64) -> StateMs {
    file.reader().states("a", Range::new(0, now), now).unwrap()
}

#[test]
fn set_back_everything_since_the_host_began_moves_back() {
    let (_dir, mut file) = file();
    let before = [
        Record::Turn(turn("old", DAY + HOUR, up())),
        Record::Turn(turn("old", DAY + 2 * HOUR, None)),
        Record::Turn(turn("a", DAY + 2 * HOUR, up())),
        Record::Turn(turn("a", DAY + 3 * HOUR, down())),
    ];
    file.write(&before, DAY + 3 * HOUR).unwrap();
    // At half past three it is half past two. A turn with the old clock's time comes late: it can't be later than now.
    let now = DAY + 2 * HOUR + HOUR / 2;
    let after = [
        step(-(HOUR as i64), now),
        Record::Turn(turn("a", now + HOUR, up())),
    ];
    file.write(&after, now).unwrap();
    assert_eq!(
        spans(&file, "a"),
        [
            (HOUR, Some(2 * HOUR), "up"),
            (2 * HOUR, Some(2 * HOUR + HOUR / 2), "down"),
            (2 * HOUR + HOUR / 2, None, "up"),
        ]
    );
    let states = states(&file, now + 1000);
    assert_eq!((states.up, states.down), (HOUR + 1000, HOUR / 2));
}

#[test]
fn set_ahead_what_lies_between_was_not_observed_and_set_back_it_is_as_it_was() {
    let (_dir, mut file) = file();
    file.write(&[Record::Turn(turn("a", DAY, up()))], DAY).unwrap();
    let ahead = DAY + HOUR + 5 * HOUR;
    file.write(&[step(5 * HOUR as i64, ahead)], ahead).unwrap();
    assert_eq!(spans(&file, "a"), [(0, Some(HOUR), "up"), (6 * HOUR, None, "up")]);
    assert_eq!(states(&file, ahead + 7).up, HOUR + 7);
    let back = DAY + 2 * HOUR;
    file.write(&[step(-5 * HOUR as i64, back)], back).unwrap();
    assert_eq!(spans(&file, "a"), [(0, Some(HOUR), "up"), (HOUR, None, "up")]);
    assert_eq!(states(&file, back).up, 2 * HOUR);
}

#[test]
fn an_earlier_hosts_time_stands() {
    let (dir, mut file) = file();
    let earlier = [
        Record::Turn(turn("a", DAY, up())),
        Record::Turn(turn("a", DAY + HOUR, None)),
    ];
    file.write(&earlier, DAY + HOUR).unwrap();
    drop(file);
    let mut file = HistoryFile::open(&dir.path().join("history.db"), DAY + HOUR).unwrap();
    let begin = DAY + HOUR + 60_000;
    file.write(&[Record::Turn(turn("a", begin, down()))], begin)
        .unwrap();
    let now = DAY + HOUR / 2;
    file.write(&[step(-(HOUR as i64), now)], now).unwrap();
    assert_eq!(spans(&file, "a"), [(0, Some(HOUR), "up"), (HOUR, None, "down")]);
}

#[test]
fn what_was_held_up_by_an_earlier_span_claims_nothing_when_the_clock_goes_ahead() {
    let (_dir, mut file) = file();
    let write = |file: &mut HistoryFile, record, now| file.write(&[record], now).unwrap();
    write(&mut file, Record::Turn(turn("a", DAY + HOUR, up())), DAY + HOUR);
    let mut now = DAY + HOUR + 1 + 2 * HOUR;
    write(&mut file, step(2 * HOUR as i64, now), now);
    now -= 3 * HOUR;
    write(&mut file, step(-3 * HOUR as i64, now), now);
    write(&mut file, Record::Turn(turn("a", now, down())), now);
    now += 5 * HOUR;
    write(&mut file, step(5 * HOUR as i64, now), now);
    let known = states(&file, now);
    assert_eq!((known.up, known.down), (1, 0));
}

/// Back, or ahead.
fn any_step() -> impl Strategy<Value = i64> {
    let most = 3 * HOUR as i64;
    prop_oneof![-most..-2_000, 2_000..most]
}

proptest! {
    #[test]
    fn time_is_neither_doubled_nor_spans_overlap_and_setting_back_alone_loses_none(
        changes in prop::collection::vec((1..2 * HOUR, prop::option::of(any_step())), 1..12)
    ) {
        let (_dir, mut file) = file();
        // Early enough that no clock is ever set to before the first day.
        let begin = DAY + 100 * HOUR;
        let (mut wall, mut passed) = (begin, 0);
        let mut set_ahead = false;
        file.write(&[Record::Turn(turn("a", wall, up()))], wall).unwrap();
        for (number, (ms, by)) in changes.into_iter().enumerate() {
            passed += ms;
            wall += ms;
            if let Some(by) = by {
                set_ahead |= by > 0;
                wall = wall.saturating_add_signed(by);
                file.write(&[step(by, wall)], wall).unwrap();
            }
            let state = if number % 2 == 0 { down() } else { up() };
            file.write(&[Record::Turn(turn("a", wall, state))], wall).unwrap();
            let states = states(&file, wall);
            let sum = states.up + states.down;
            prop_assert!(sum <= passed, "{sum} of {passed}");
            prop_assert!(set_ahead || sum == passed, "{sum} of {passed}");
            let spans = spans(&file, "a");
            let follow = spans.windows(2).all(|two| two[0].1.is_some_and(|to| to <= two[1].0));
            prop_assert!(follow && spans.iter().all(|span| span.1.unwrap_or(u64::MAX) >= span.0), "{spans:?}");
        }
    }
}
