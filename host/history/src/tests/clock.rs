//! A wall clock that is set: nothing that is written moves, the step is noted, and no time counts twice.

use super::{DAY, down, step, transition, up};
use crate::{HistoryFile, Range};
use extman_model::record::{Record, StateMs};
use proptest::prelude::*;

const HOUR: u64 = 3_600_000;

fn file() -> (tempfile::TempDir, HistoryFile) {
    let dir = tempfile::tempdir().unwrap();
    let file = HistoryFile::open(&dir.path().join("history.db"), DAY).unwrap();
    (dir, file)
}

/// From and until when it was in which health; the last may go on.
fn spans(file: &HistoryFile, instance: &str) -> Vec<(u64, Option<u64>, &'static str)> {
    let all = Range::new(0, u64::MAX);
    let rows = file.reader().spans(instance, all, 10_000).unwrap().rows;
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
    super::states(&file.reader(), "a", Range::new(0, now), now)
}

#[test]
fn clock_set_back_cuts_future_rows_and_new_ones_stand_there() {
    let (_dir, mut file) = file();
    let before = [
        Record::Transition(transition("old", DAY + HOUR, up())),
        Record::Transition(transition("old", DAY + 2 * HOUR, None)),
        Record::Transition(transition("a", DAY + 2 * HOUR, up())),
        Record::Transition(transition("a", DAY + 3 * HOUR, down())),
    ];
    file.write(&before, DAY + 3 * HOUR).unwrap();
    // At half past three it is half past two.
    let now = DAY + 2 * HOUR + HOUR / 2;
    file.write(&[step(-(HOUR as i64), now)], now).unwrap();
    assert_eq!(
        spans(&file, "a"),
        [
            (2 * HOUR, Some(2 * HOUR + HOUR / 2), "up"),
            (2 * HOUR + HOUR / 2, None, "down")
        ]
    );
    // A transition with the old clock's time comes late: it can't be later than now.
    let later = now + HOUR / 4;
    file.write(&[Record::Transition(transition("a", now + HOUR, up()))], later)
        .unwrap();
    let states = states(&file, later + 1000);
    assert_eq!((states.up, states.down), (HOUR / 2 + 1000, HOUR / 4));
    assert_eq!(spans(&file, "old"), [(HOUR, Some(2 * HOUR), "up")]);
    let steps = file.reader().clock_steps(Range::new(0, later)).unwrap();
    assert_eq!(
        (steps.len(), steps[0].by_ms, steps[0].at_unix_ms),
        (1, -(HOUR as i64), now)
    );
    // The rows themselves stand as they were written.
    let other = rusqlite::Connection::open(file.path()).unwrap();
    let kept = "SELECT count(*) FROM state_span WHERE from_ms = ?1 AND to_ms = ?2";
    let (from, to) = ((DAY + 3 * HOUR) as i64, (DAY + 3 * HOUR + HOUR / 2) as i64);
    assert_eq!(
        other.query_row(kept, [from, to], |row| row.get::<_, i64>(0)),
        Ok(1)
    );
}

#[test]
fn clock_set_ahead_leaves_a_gap_and_set_back_again_it_costs_only_the_time_that_was_ahead() {
    let (_dir, mut file) = file();
    file.write(&[Record::Transition(transition("a", DAY, up()))], DAY)
        .unwrap();
    let ahead = DAY + HOUR + 5 * HOUR;
    file.write(&[step(5 * HOUR as i64, ahead)], ahead).unwrap();
    assert_eq!(spans(&file, "a"), [(0, Some(HOUR), "up"), (6 * HOUR, None, "up")]);
    assert_eq!(states(&file, ahead + 7).up, HOUR + 7);
    // An hour later it is two o'clock.
    let back = DAY + 2 * HOUR;
    file.write(&[step(-5 * HOUR as i64, back)], back).unwrap();
    assert_eq!(states(&file, back + 9).up, HOUR + 9);
    // Once the time has come that it told of, only what was seen counts.
    file.write(&[], DAY + 8 * HOUR).unwrap();
    assert_eq!(spans(&file, "a"), [(0, Some(HOUR), "up"), (2 * HOUR, None, "up")]);
    assert_eq!(states(&file, DAY + 8 * HOUR).up, 7 * HOUR);
}

#[test]
fn time_of_an_earlier_host_gives_way_where_the_next_ones_clock_is_set_back_into_it() {
    let (dir, mut file) = file();
    let earlier = [
        Record::Transition(transition("a", DAY, up())),
        Record::Transition(transition("a", DAY + HOUR, None)),
    ];
    file.write(&earlier, DAY + HOUR).unwrap();
    drop(file);
    let mut file = HistoryFile::open(&dir.path().join("history.db"), DAY + HOUR).unwrap();
    let begin = DAY + HOUR + 60_000;
    file.write(&[Record::Transition(transition("a", begin, down()))], begin)
        .unwrap();
    let now = DAY + HOUR / 2;
    file.write(&[step(-(HOUR as i64), now)], now).unwrap();
    file.write(&[], DAY + 3 * HOUR).unwrap();
    assert_eq!(
        spans(&file, "a"),
        [(0, Some(HOUR / 2), "up"), (HOUR / 2, None, "down")]
    );
}

#[test]
fn what_was_held_up_by_an_earlier_span_claims_nothing_when_the_clock_goes_ahead() {
    let (_dir, mut file) = file();
    let write = |file: &mut HistoryFile, record, now| file.write(&[record], now).unwrap();
    write(
        &mut file,
        Record::Transition(transition("a", DAY + HOUR, up())),
        DAY + HOUR,
    );
    let mut now = DAY + HOUR + 1 + 2 * HOUR;
    write(&mut file, step(2 * HOUR as i64, now), now);
    now -= 3 * HOUR;
    write(&mut file, step(-3 * HOUR as i64, now), now);
    write(&mut file, Record::Transition(transition("a", now, down())), now);
    now += 5 * HOUR;
    write(&mut file, step(5 * HOUR as i64, now), now);
    let known = states(&file, now);
    // The hour in which it was up lies behind where the clock was set back to, and counts no longer.
    assert_eq!((known.up, known.down), (0, 0));
}

/// Back, or ahead.
fn any_step() -> impl Strategy<Value = i64> {
    let most = 3 * HOUR as i64;
    prop_oneof![-most..-2_000, 2_000..most]
}

proptest! {
    #[test]
    fn no_time_counts_twice_and_no_spans_overlap_whatever_the_clock_does(
        changes in prop::collection::vec((1..2 * HOUR, prop::option::of(any_step())), 1..12)
    ) {
        let (_dir, mut file) = file();
        // Early enough that no clock is ever set to before the first day.
        let begin = DAY + 100 * HOUR;
        let (mut wall, mut passed) = (begin, 0);
        let (mut was_set, mut since) = (false, 0);
        file.write(&[Record::Transition(transition("a", wall, up()))], wall).unwrap();
        for (number, (ms, by)) in changes.into_iter().enumerate() {
            passed += ms;
            since += ms;
            wall += ms;
            if let Some(by) = by {
                (was_set, since) = (true, 0);
                wall = wall.saturating_add_signed(by);
                file.write(&[step(by, wall)], wall).unwrap();
            }
            let state = if number % 2 == 0 { down() } else { up() };
            file.write(&[Record::Transition(transition("a", wall, state))], wall).unwrap();
            let states = states(&file, wall);
            let sum = states.up + states.down;
            prop_assert!(sum <= passed, "{sum} of {passed}");
            prop_assert!(was_set || sum == passed, "{sum} of {passed}");
            prop_assert!(sum >= since, "{sum}, of which {since} since the clock was last set");
            let mut spans = spans(&file, "a");
            spans.retain(|span| span.0 < wall - DAY);
            let follow = spans.windows(2).all(|two| two[0].1.is_some_and(|to| to <= two[1].0));
            prop_assert!(follow && spans.iter().all(|span| span.1.unwrap_or(u64::MAX) >= span.0), "{spans:?}");
        }
    }
}
