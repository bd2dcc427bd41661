//! What instances have written down, made up for measurements.

use extman_model::latency::LatencyHistogram;
use extman_model::record::{
    CheckRow, MinuteRow, Record, ResultWord, Rollup, SpanState, StateMs, StateTransition,
};
use extman_model::{Cause, CheckKind, Health, Lifecycle};
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

/// A minute of an instance, up all the time; `busy` with 60 calls. Checks come by a jittered interval, so that now and then there is one
/// less or more, and no two busy minutes use the same time.
pub fn minute(name: &Arc<str>, from_unix_ms: u64, busy: bool) -> Record {
    let number = from_unix_ms / MINUTE_MS;
    let varied = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let mut rollup = Rollup {
        from_unix_ms,
        states: StateMs {
            up: MINUTE_MS,
            ..StateMs::default()
        },
        checks: match varied % 8 {
            0 => 5,
            1 => 7,
            _ => 6,
        },
        heap_bytes: Some((40 << 20, 41 << 20)),
        ..Rollup::default()
    };
    if busy {
        rollup.calls = 60;
        rollup.cpu_ns = Some(120_000_000 + varied % 10_000_000);
        let took = |n: u64| Duration::from_micros(1500 + 40 * n + varied % 500);
        rollup.latency = LatencyHistogram::of((1..=60).map(took));
    }
    Record::Minute(Box::new(MinuteRow {
        instance: name.clone(),
        rollup,
    }))
}

/// A check that failed.
pub fn failed(name: &Arc<str>, at_unix_ms: u64) -> Record {
    Record::Check(Box::new(CheckRow {
        instance: name.clone(),
        at_unix_ms,
        last_unix_ms: at_unix_ms,
        times: 1,
        kind: CheckKind::Readiness,
        result: ResultWord::Said(Some(Health::Down)),
        counted: true,
        took_ns: Some(12_345),
        text: Some("no route to the model".to_owned()),
    }))
}

/// From here on it is up, or says that it is down.
pub fn transition(name: &Arc<str>, at_unix_ms: u64, is_up: bool) -> Record {
    let (health, cause) = if is_up {
        (Health::Up, Cause::Answers)
    } else {
        (Health::Down, Cause::SaysDown)
    };
    Record::Transition(StateTransition {
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
