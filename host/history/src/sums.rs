//! Rollups as bytes: one of them, and many of one instance in a row.

use super::bytes::{Malformed, put, put_all, take, take_all};
use super::words;
use extman_model::record::{Rollup, StateMs};
use extman_model::sketch::Sketch;
use std::collections::BTreeMap;

/// Which fields follow, one bit each from the lowest: the five states, checks, checks failed, calls, then these.
const ERRORS: u64 = 1 << 8;
const LATENCY: u64 = 1 << 9;
const HEAP: u64 = 1 << 10;
const CPU: u64 = 1 << 11;
const KNOWN: u64 = (1 << 12) - 1;

/// A rollup without its time. What is zero or absent takes no byte.
pub(super) fn encode(sums: &Rollup) -> Vec<u8> {
    let states = &sums.states;
    let numbers = [
        states.up,
        states.degraded,
        states.down,
        states.unknown,
        states.left_out,
        sums.checks,
        sums.checks_failed,
        sums.calls,
    ];
    let mut has = 0;
    for (bit, number) in numbers.iter().enumerate() {
        has |= u64::from(*number > 0) << bit;
    }
    for (bit, there) in [
        (ERRORS, !sums.errors.is_empty()),
        (LATENCY, !sums.latency.is_empty()),
        (HEAP, sums.heap_bytes.is_some()),
        (CPU, sums.cpu_ns.is_some()),
    ] {
        has |= if there { bit } else { 0 };
    }
    let mut bytes = Vec::with_capacity(16);
    put(&mut bytes, has);
    numbers
        .iter()
        .filter(|number| **number > 0)
        .for_each(|number| put(&mut bytes, *number));
    if has & ERRORS != 0 {
        put(&mut bytes, sums.errors.len() as u64);
        for (kind, count) in &sums.errors {
            put(&mut bytes, u64::from(words::error_code(*kind)));
            put(&mut bytes, *count);
        }
    }
    if has & LATENCY != 0 {
        put_all(&mut bytes, &sums.latency.encode());
    }
    if let Some((least, most)) = sums.heap_bytes {
        put(&mut bytes, least);
        put(&mut bytes, most.saturating_sub(least));
    }
    if let Some(cpu) = sums.cpu_ns {
        put(&mut bytes, cpu);
    }
    bytes
}

/// The rollup that begins then.
pub(super) fn decode(from_unix_ms: u64, mut bytes: &[u8]) -> Result<Rollup, Malformed> {
    let bytes = &mut bytes;
    let has = take(bytes)?;
    if has & !KNOWN != 0 {
        return Err(Malformed);
    }
    let mut numbers = [0; 8];
    for (bit, number) in numbers.iter_mut().enumerate() {
        if has >> bit & 1 == 1 {
            *number = take(bytes)?;
        }
    }
    let [
        up,
        degraded,
        down,
        unknown,
        left_out,
        checks,
        checks_failed,
        calls,
    ] = numbers;
    let mut errors = BTreeMap::new();
    if has & ERRORS != 0 {
        for _ in 0..take(bytes)? {
            let kind = words::error_kind(take(bytes)?).ok_or(Malformed)?;
            errors.insert(kind, take(bytes)?);
        }
    }
    let mut latency = Sketch::default();
    if has & LATENCY != 0 {
        latency = Sketch::decode(take_all(bytes)?).map_err(|_| Malformed)?;
    }
    let mut heap_bytes = None;
    if has & HEAP != 0 {
        let least = take(bytes)?;
        heap_bytes = Some((least, least.saturating_add(take(bytes)?)));
    }
    let cpu_ns = (has & CPU != 0).then(|| take(bytes)).transpose()?;
    Ok(Rollup {
        from_unix_ms,
        states: StateMs {
            up,
            degraded,
            down,
            unknown,
            left_out,
        },
        checks,
        checks_failed,
        calls,
        errors,
        latency,
        heap_bytes,
        cpu_ns,
    })
}

/// Several stretches of one instance: where each stands in the longer one, and its bytes.
pub(super) type Row = BTreeMap<u64, Vec<u8>>;

pub(super) fn encode_row(row: &Row) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(row.values().map(|sums| sums.len() + 3).sum());
    for (place, sums) in row {
        put(&mut bytes, *place);
        put_all(&mut bytes, sums);
    }
    bytes
}

/// Of what is malformed, the part before.
pub(super) fn decode_row(mut bytes: &[u8]) -> Row {
    let mut row = Row::new();
    let bytes = &mut bytes;
    while !bytes.is_empty() {
        let Ok(place) = take(bytes) else { break };
        let Ok(sums) = take_all(bytes) else { break };
        row.insert(place, sums.to_vec());
    }
    row
}

/// Adds to what stands at a place.
pub(super) fn add_to_row(row: &mut Row, place: u64, sums: &[u8]) -> Result<(), Malformed> {
    let Some(there) = row.get_mut(&place) else {
        row.insert(place, sums.to_vec());
        return Ok(());
    };
    let mut sum = decode(0, there)?;
    sum.add(&decode(0, sums)?);
    *there = encode(&sum);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::any_rollup;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_are_read_back(sums in any_rollup()) {
            prop_assert_eq!(decode(sums.from_unix_ms, &encode(&sums)), Ok(sums));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = decode(0, &bytes);
            let row = decode_row(&bytes);
            prop_assert_eq!(decode_row(&encode_row(&row)), row);
        }

        #[test]
        fn rows_add_up_in_any_order(a in any_rollup(), b in any_rollup()) {
            let (mut one, mut other) = (Row::new(), Row::new());
            for (row, parts) in [(&mut one, [&a, &b]), (&mut other, [&b, &a])] {
                parts.iter().for_each(|part| add_to_row(row, 7, &encode(part)).unwrap());
            }
            prop_assert_eq!(&one, &other);
            let mut sum = a.clone();
            sum.add(&b);
            prop_assert_eq!(decode(a.from_unix_ms, &one[&7]), Ok(sum));
        }
    }

    #[test]
    fn an_idle_minute_takes_a_few_bytes() {
        let mut minute = Rollup::default();
        minute.states.up = 60_000;
        minute.checks = 6;
        assert!(encode(&minute).len() <= 6, "{}", encode(&minute).len());
    }
}
