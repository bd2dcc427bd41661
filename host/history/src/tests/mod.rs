//! What the tests share: records, and a place for a file.

mod checks;
mod clock;
mod clock_minutes;
mod crash;
mod failures;
mod keeping;
mod migration;
mod model;
mod uptime;
mod writing;

use super::words::error_kind;
use crate::{Range, Reader};
use extman_model::latency::LatencyHistogram;
use extman_model::record::{
    CheckRow, ClockStep, MinuteRow, Record, ResultWord, Rollup, SpanState, StateMs, StateTransition,
};
use extman_model::{Cause, CheckKind, ErrorKind, Health, Lifecycle};
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

pub(super) fn transition(instance: &str, at_unix_ms: u64, state: Option<SpanState>) -> StateTransition {
    StateTransition {
        instance: instance.into(),
        at_unix_ms,
        state,
        text: None,
    }
}

/// A check that failed.
pub(super) fn failed(instance: &str, at_unix_ms: u64) -> CheckRow {
    CheckRow {
        instance: instance.into(),
        at_unix_ms,
        last_unix_ms: at_unix_ms,
        times: 1,
        kind: CheckKind::Readiness,
        result: ResultWord::Failed(ErrorKind::Unavailable),
        counted: true,
        took_ns: Some(12_345),
        text: Some("no credit".to_owned()),
    }
}

pub(super) fn deep(instance: &str, at_unix_ms: u64) -> CheckRow {
    CheckRow {
        kind: CheckKind::Deep,
        ..failed(instance, at_unix_ms)
    }
}

pub(super) fn check(row: CheckRow) -> Record {
    Record::Check(Box::new(row))
}

pub(super) fn step(by_ms: i64, to_unix_ms: u64) -> Record {
    Record::ClockStep(ClockStep { by_ms, to_unix_ms })
}

/// How long it was in each state within a range; what goes on counts until `now`.
pub(super) fn states(reader: &Reader, instance: &str, range: Range, now: u64) -> StateMs {
    let range = Range::new(range.from_unix_ms, range.to_unix_ms.min(now));
    let uptime = reader.uptimes(Some(instance), range).unwrap().remove(instance);
    uptime.map_or_else(StateMs::default, |uptime| StateMs {
        up: uptime.up_ms,
        degraded: uptime.degraded_ms,
        down: uptime.down_ms,
        unknown: uptime.unknown_ms,
        left_out: uptime.left_out_ms,
    })
}

/// A minute that was up for so many milliseconds.
pub(super) fn minute(instance: &str, from_unix_ms: u64, up: u64) -> MinuteRow {
    MinuteRow {
        instance: instance.into(),
        rollup: Rollup {
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
            latency: LatencyHistogram::of(nanos.into_iter().map(Duration::from_nanos)),
            heap_bytes: heap.map(|(least, more)| (least, least + more)),
            cpu_ns: cpu.map(u64::from),
        }
    })
}
