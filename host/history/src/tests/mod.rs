//! What the tests share: records, and a place for a file.

mod clock;
mod clock_minutes;
mod crash;
mod deep;
mod failures;
mod keeping;
mod migration;
mod model;
mod writing;

use super::results::ResultPoint;
use super::words::{error_kind, result_word};
use extman_model::record::{DeepRow, MinuteRow, ResultRow, ResultWord, Rollup, SpanState, StateMs, Turn};
use extman_model::sketch::Sketch;
use extman_model::{Cause, ErrorKind, Health, Lifecycle};
use proptest::prelude::*;
use std::time::Duration;

/// A moment in 2026 at which a day begins, UTC.
pub(super) const DAY: u64 = 1_790_035_200_000;
/// The wall clock, for what a running history keeps.
pub(super) fn now() -> u64 {
    extman_model::clock::unix_ms(extman_model::clock::wall())
}

/// Generous: for a machine that does ten other things.
pub(super) const SOON: Duration = Duration::from_secs(60);

pub(super) fn up() -> Option<SpanState> {
    state(Health::Up)
}

pub(super) fn down() -> Option<SpanState> {
    state(Health::Down)
}

pub(super) fn state(health: Health) -> Option<SpanState> {
    Some(SpanState {
        lifecycle: Lifecycle::Running,
        health,
        cause: Cause::Answers,
        left_out: false,
    })
}

pub(super) fn turn(instance: &str, at_unix_ms: u64, state: Option<SpanState>) -> Turn {
    Turn {
        instance: instance.into(),
        at_unix_ms,
        state,
        text: None,
    }
}

pub(super) fn result(instance: &str, at_unix_ms: u64) -> ResultRow {
    ResultRow {
        instance: instance.into(),
        at_unix_ms,
        result: ResultWord::Said(Some(Health::Up)),
        took_ns: Some(12_345),
        connection_rtt_ns: None,
        heap_bytes: None,
    }
}

pub(super) fn deep(instance: &str, at_unix_ms: u64) -> DeepRow {
    DeepRow {
        instance: instance.into(),
        at_unix_ms,
        result: ResultWord::Failed(ErrorKind::Unavailable),
        counted: true,
        took_ns: Some(12_345),
        text: Some("no credit".to_owned()),
    }
}

/// A minute that was up for so many milliseconds.
pub(super) fn minute(instance: &str, from_unix_ms: u64, up: u64) -> MinuteRow {
    MinuteRow {
        instance: instance.into(),
        sums: Rollup {
            from_unix_ms,
            states: StateMs {
                up,
                ..StateMs::default()
            },
            checks: 6,
            ..Rollup::default()
        },
    }
}

pub(super) fn any_rollup() -> impl Strategy<Value = Rollup> {
    let small = || prop_oneof![Just(0), 0..60_000_u64];
    let errors = prop::collection::btree_map(0..12_u64, 1..100_u64, 0..4);
    let heap = prop::option::of((0..1_u64 << 40, 0..1_u64 << 30));
    let nanos = prop::collection::vec(1..1_000_000_000_u64, 0..6);
    let states = [
        small(),
        small(),
        small(),
        small(),
        small(),
        small(),
        small(),
        small(),
    ];
    (states, errors, nanos, heap, prop::option::of(any::<u32>())).prop_map(|(n, errors, nanos, heap, cpu)| {
        Rollup {
            from_unix_ms: DAY,
            states: StateMs {
                up: n[0],
                degraded: n[1],
                down: n[2],
                unknown: n[3],
                left_out: n[4],
            },
            checks: n[5],
            checks_failed: n[6],
            calls: n[7],
            errors: errors
                .into_iter()
                .map(|(code, count)| (error_kind(code).unwrap(), count))
                .collect(),
            latency: Sketch::of(nanos.into_iter().map(Duration::from_nanos)),
            heap_bytes: heap.map(|(least, more)| (least, least + more)),
            cpu_ns: cpu.map(u64::from),
        }
    })
}

pub(super) fn any_point() -> impl Strategy<Value = ResultPoint> {
    let figure = || prop::option::of(any::<u64>());
    (any::<u64>(), 0..20_u8, figure(), figure(), figure()).prop_map(|(at_unix_ms, code, took, rtt, heap)| {
        ResultPoint {
            at_unix_ms,
            result: result_word(code).unwrap(),
            took_ns: took,
            connection_rtt_ns: rtt,
            heap_bytes: heap,
        }
    })
}
