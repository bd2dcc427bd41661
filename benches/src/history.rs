//! What instances have written down, made up for measurements.

use extman_model::record::{MinuteRow, Record, ResultRow, ResultWord, Rollup, SpanState, StateMs, Turn};
use extman_model::sketch::Sketch;
use extman_model::{Cause, Health, Lifecycle};
use std::sync::Arc;
use std::time::Duration;

/// A minute in milliseconds.
pub const MINUTE_MS: u64 = 60_000;
/// An hour in milliseconds.
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
/// A day in milliseconds.
pub const DAY_MS: u64 = 24 * HOUR_MS;
/// When a day began.
pub const BEGIN_MS: u64 = 20_000 * DAY_MS;

/// A minute of an instance, up all the time; `busy` with 60 calls.
pub fn minute(name: &Arc<str>, from_unix_ms: u64, busy: bool) -> Record {
    let mut sums = Rollup {
        from_unix_ms,
        states: StateMs {
            up: MINUTE_MS,
            ..StateMs::default()
        },
        checks: 6,
        heap_bytes: Some((40 << 20, 41 << 20)),
        ..Rollup::default()
    };
    if busy {
        sums.calls = 60;
        sums.cpu_ns = Some(120_000_000);
        sums.latency = Sketch::of((1..=60).map(|n| Duration::from_micros(1500 + 40 * n)));
    }
    Record::Minute(Box::new(MinuteRow {
        instance: name.clone(),
        sums,
    }))
}

/// What one check came to.
pub fn result(name: &Arc<str>, at_unix_ms: u64) -> Record {
    Record::Result(ResultRow {
        instance: name.clone(),
        at_unix_ms,
        result: ResultWord::Said(Some(Health::Up)),
        took_ns: Some(12_345),
        connection_rtt_ns: None,
        heap_bytes: Some(40 << 20),
    })
}

/// From here on it is up, or says that it is down.
pub fn turn(name: &Arc<str>, at_unix_ms: u64, is_up: bool) -> Record {
    let (health, cause) = if is_up {
        (Health::Up, Cause::Answers)
    } else {
        (Health::Down, Cause::SaysDown)
    };
    Record::Turn(Turn {
        instance: name.clone(),
        at_unix_ms,
        state: Some(SpanState {
            lifecycle: Lifecycle::Running,
            health,
            cause,
            left_out: false,
        }),
        text: None,
    })
}
