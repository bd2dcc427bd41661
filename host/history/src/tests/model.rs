//! Whatever the clock does and in whatever order things come: the file holds what a simple model in memory holds.

use super::{DAY, check, down, failed, minute, state, states, transition, up};
use crate::time::{HOUR_MS, MINUTE_MS};
use crate::{HistoryFile, Range};
use extman_model::Health;
use extman_model::history::Resolution;
use extman_model::record::{Record, SpanState, StateMs};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
enum Step {
    /// The wall clock goes on, or is set back.
    Clock(i64),
    Turn(u8, u8),
    /// So many minutes before or after now, with so many milliseconds up.
    Minute(u8, i64, u64),
    Check(u8),
    Fold,
    /// The host dies and another one begins.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (-200_000..900_000_i64).prop_map(Step::Clock),
        1 => (-8_000_000..20_000_000_i64).prop_map(Step::Clock),
        4 => (0..3_u8, 0..5_u8).prop_map(|(instance, state)| Step::Turn(instance, state)),
        4 => (0..3_u8, -200..1_i64, 0..60_001_u64).prop_map(|(i, at, up)| Step::Minute(i, at, up)),
        2 => (0..3_u8).prop_map(Step::Check),
        2 => Just(Step::Fold),
        1 => Just(Step::Restart),
    ]
}

fn state_of(number: u8) -> Option<SpanState> {
    match number {
        0 => None,
        1 => up(),
        2 => down(),
        3 => state(Health::Degraded),
        _ => up().map(|state| SpanState {
            left_out: true,
            ..state
        }),
    }
}

#[derive(Debug, Default)]
struct Model {
    spans: BTreeMap<String, Vec<(u64, Option<u64>, SpanState)>>,
    minutes: BTreeMap<(String, u64), u64>,
    checks: BTreeMap<String, u64>,
}

impl Model {
    fn transition(&mut self, name: &str, at: u64, state: Option<SpanState>) {
        let spans = self.spans.entry(name.to_owned()).or_default();
        let at = spans
            .last()
            .map_or(at, |(from, to, _)| at.max(to.unwrap_or(*from)));
        if let Some((_, to @ None, old)) = spans.last_mut() {
            if Some(*old) == state {
                return;
            }
            *to = Some(at);
        }
        spans.extend(state.map(|state| (at, None, state)));
    }

    /// The last moment that anything is told of.
    fn latest(&self) -> u64 {
        let spans = self.spans.values().flatten();
        let ends = spans.map(|(from, to, _)| to.unwrap_or(*from));
        let minutes = self.minutes.keys().map(|(_, at)| *at);
        ends.chain(minutes).max().unwrap_or(0)
    }

    fn restart(&mut self, alive: u64) {
        for (from, to, _) in self.spans.values_mut().flatten() {
            *to = Some(to.unwrap_or(alive.max(*from)));
        }
    }
}

const ALL: Range = Range {
    from_unix_ms: 0,
    to_unix_ms: u64::MAX,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn nothing_is_lost_or_doubled(steps in prop::collection::vec(step(), 1..120)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.db");
        // Ahead of the day's beginning, so that a clock that is set back stays within two days.
        let (mut now, mut alive) = (DAY + 10 * HOUR_MS, DAY + 10 * HOUR_MS);
        let (mut file, mut model) = (HistoryFile::open(&path, now).unwrap(), Model::default());
        for step in steps {
            let name = |number: u8| format!("plugin-{number}");
            let record = match step {
                Step::Clock(by) => {
                    now = now.saturating_add_signed(by).clamp(DAY, DAY + 20 * HOUR_MS);
                    continue;
                }
                Step::Fold => {
                    while file.fold(now).unwrap() {}
                    continue;
                }
                Step::Restart => {
                    drop(file);
                    model.restart(alive);
                    // What is told of times that have not come gives way: that is another test's.
                    now = now.max(model.latest()).max(alive);
                    file = HistoryFile::open(&path, now).unwrap();
                    alive = alive.max(now);
                    continue;
                }
                Step::Turn(instance, state) => {
                    model.transition(&name(instance), now, state_of(state));
                    Record::Transition(transition(&name(instance), now, state_of(state)))
                }
                Step::Minute(instance, offset, up) => {
                    let at = (now / MINUTE_MS).saturating_add_signed(offset) * MINUTE_MS;
                    *model.minutes.entry((name(instance), at)).or_default() += 6;
                    Record::Minute(Box::new(minute(&name(instance), at, up)))
                }
                Step::Check(instance) => {
                    *model.checks.entry(name(instance)).or_default() += 1;
                    check(failed(&name(instance), now))
                }
            };
            file.write(&[record], now).unwrap();
            alive = alive.max(now);
        }
        let reader = file.reader();
        for name in ["plugin-0", "plugin-1", "plugin-2"] {
            let spans = reader.spans(name, ALL, 10_000).unwrap();
            let read: Vec<_> = spans.rows.iter().map(|row| (row.from_unix_ms, row.to_unix_ms, row.state)).collect();
            let expected = model.spans.remove(name).unwrap_or_default();
            prop_assert_eq!(&read, &expected);
            for pair in read.windows(2) {
                prop_assert!(pair[0].1.is_some_and(|to| pair[0].0 <= to && to <= pair[1].0), "{:?}", pair);
            }
            let end = DAY + 24 * HOUR_MS;
            prop_assert_eq!(states(&reader, name, ALL, end), sum(&expected, end));

            let of_this: BTreeMap<u64, u64> =
                model.minutes.iter().filter(|((of, _), _)| of == name).map(|((_, at), checks)| (*at, *checks)).collect();
            for resolution in Resolution::ALL {
                let mut expected = BTreeMap::<u64, u64>::new();
                of_this.iter().for_each(|(at, checks)| *expected.entry(at - at % resolution.len_ms()).or_default() += checks);
                let range = Range::new(DAY - 4 * HOUR_MS, DAY + 21 * HOUR_MS);
                let rollups = reader.rollups(name, range, Some(resolution)).unwrap();
                let read: BTreeMap<_, _> = rollups.rows.iter().filter(|row| row.checks > 0).map(|row| (row.from_unix_ms, row.checks)).collect();
                prop_assert_eq!((resolution, read), (resolution, expected));
            }

            let checks = reader.checks(name, ALL, 10_000).unwrap().rows;
            let times: u64 = checks.iter().map(|check| check.times).sum();
            prop_assert_eq!(times, model.checks.remove(name).unwrap_or_default());
        }
    }
}

fn sum(spans: &[(u64, Option<u64>, SpanState)], end: u64) -> StateMs {
    let mut sum = StateMs::default();
    for (from, to, state) in spans {
        let part = match state {
            SpanState { left_out: true, .. } => &mut sum.left_out,
            SpanState {
                health: Health::Up, ..
            } => &mut sum.up,
            SpanState {
                health: Health::Down, ..
            } => &mut sum.down,
            _ => &mut sum.degraded,
        };
        *part += to.unwrap_or(end) - from;
    }
    sum
}
