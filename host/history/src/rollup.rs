//! Rollups of one instance as the bytes of a row, for the writer and the reader: each is the difference from the one before, and equal
//! ones in a row are one with a count. Numbers are LEB128, differences zigzag.

use super::words;
use extman_model::ErrorKind;
use extman_model::latency::LatencyHistogram;
use extman_model::leb128::{put, take};
use extman_model::record::{Rollup, StateMs};
use std::collections::BTreeMap;

/// Several stretches of one instance, by their place in the longer stretch that the row stands for.
pub(super) type Row = BTreeMap<u64, Rollup>;

/// No row has as many places: 60 minutes, 24 hours, 32 days.
const PLACES_MAX: u64 = 64;
const FIELDS: usize = 11;
// What follows a head, one bit each. What changes often comes first, so that most heads are one byte.
const GAP: u64 = 1;
const RUN: u64 = 1 << 1;
const LATENCY: u64 = 1 << 2;
const FIRST_FIELD: usize = 3;
const ERRORS: u64 = 1 << (FIRST_FIELD + FIELDS);
/// Of a row's first head: processor times are [`rounded`] in this row. Rows that were written before that was so have it not.
const ROUNDED: u64 = ERRORS << 1;
const KNOWN: u64 = (ROUNDED << 1) - 1;

/// Whether latencies are kept as they came. Otherwise few of them are kept more coarsely: with fewer than a hundred, chance moves a
/// quantile further than the width of a bucket does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    Full,
    ByCount,
}

impl Precision {
    fn dropped_bits(self, latency: &LatencyHistogram) -> u32 {
        match (self, latency.count()) {
            (Precision::ByCount, ..100) => 3,
            (Precision::ByCount, ..1000) => 2,
            _ => 0,
        }
    }
}

/// The rollups of a row with their places, to be encoded.
pub(super) fn places(row: &Row) -> impl Iterator<Item = (u64, &Rollup)> {
    row.iter().map(|(place, rollup)| (*place, rollup))
}

pub(super) fn encode<'a>(row: impl IntoIterator<Item = (u64, &'a Rollup)>, precision: Precision) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut before, mut next) = ([0; FIELDS], 0);
    let mut rest = row.into_iter().peekable();
    while let Some((place, rollup)) = rest.next() {
        let now = numbers(rollup);
        let is_next = |(at, other): &(u64, &Rollup), more| *at == place + more + 1 && is_same(rollup, other);
        let mut more = 0;
        while rest.next_if(|next| is_next(next, more)).is_some() {
            more += 1;
        }
        let mut head = if bytes.is_empty() { ROUNDED } else { 0 };
        for (bit, is_there) in [
            (GAP, place > next),
            (RUN, more > 0),
            (LATENCY, !rollup.latency.is_empty()),
            (ERRORS, !rollup.errors.is_empty()),
        ] {
            head |= if is_there { bit } else { 0 };
        }
        for field in 0..FIELDS {
            head |= u64::from(now[field] != before[field]) << (FIRST_FIELD + field);
        }
        put(&mut bytes, head);
        for number in [place - next, more].into_iter().filter(|number| *number > 0) {
            put(&mut bytes, number);
        }
        let changed = now.iter().zip(&before).filter(|(now, before)| now != before);
        changed.for_each(|(now, before)| put_signed(&mut bytes, now.wrapping_sub(*before) as i64));
        put_lists(&mut bytes, rollup, precision);
        (before, next) = (now, place + more + 1);
    }
    bytes
}

fn put_lists(bytes: &mut Vec<u8>, rollup: &Rollup, precision: Precision) {
    if !rollup.latency.is_empty() {
        let latency = rollup.latency.encode(precision.dropped_bits(&rollup.latency));
        put(bytes, latency.len() as u64);
        bytes.extend_from_slice(&latency);
    }
    if !rollup.errors.is_empty() {
        put(bytes, rollup.errors.len() as u64);
        for (kind, count) in &rollup.errors {
            put(bytes, *kind as u64);
            put(bytes, *count);
        }
    }
}

/// The rollups of a row that begins at that moment, `length_ms` each. Of what is malformed, the part before.
pub(super) fn decode(mut bytes: &[u8], begin_ms: u64, length_ms: u64) -> Row {
    let mut row = Row::new();
    let mut decoder = Decoder::default();
    while !bytes.is_empty() {
        if decoder.take_run(&mut bytes, &mut row).is_none() {
            tracing::warn!(
                begin_ms,
                "a part of the history's rollups can't be read and is passed over"
            );
            break;
        }
    }
    for (place, rollup) in &mut row {
        rollup.from_unix_ms = begin_ms + place * length_ms;
    }
    row
}

/// What the runs of a row are differences from.
#[derive(Default)]
struct Decoder {
    numbers: [u64; FIELDS],
    next: u64,
    is_rounded: bool,
}

impl Decoder {
    fn take_run(&mut self, bytes: &mut &[u8], row: &mut Row) -> Option<()> {
        let head = take(bytes).filter(|head| head & !KNOWN == 0)?;
        self.is_rounded |= head & ROUNDED != 0;
        let mut number = |bit| if head & bit != 0 { take(bytes) } else { Some(0) };
        let (gap, more) = (number(GAP)?, number(RUN)?);
        for (field, number) in self.numbers.iter_mut().enumerate() {
            if head >> (FIRST_FIELD + field) & 1 == 1 {
                *number = number.wrapping_add(take_signed(bytes)? as u64);
            }
        }
        let mut rollup = of_numbers(self.numbers, self.is_rounded)?;
        if head & LATENCY != 0 {
            rollup.latency = take_latency(bytes)?;
        }
        if head & ERRORS != 0 {
            rollup.errors = take_errors(bytes)?;
        }
        let first = self.next.saturating_add(gap);
        let end = first.saturating_add(more).saturating_add(1);
        if end > PLACES_MAX {
            return None;
        }
        row.extend((first..end).map(|place| (place, rollup.clone())));
        self.next = end;
        Some(())
    }
}

fn is_same(one: &Rollup, other: &Rollup) -> bool {
    numbers(one) == numbers(other) && one.errors == other.errors && one.latency == other.latency
}

/// The numbers, those that change often first. What may be absent is one more than it is, or 0.
fn numbers(rollup: &Rollup) -> [u64; FIELDS] {
    let states = &rollup.states;
    let (least, most) = rollup.heap_bytes.unwrap_or_default();
    [
        rollup.checks,
        states.up,
        rollup.calls,
        rollup.cpu_ns.map_or(0, |ns| rounded(ns) + 1),
        rollup.heap_bytes.map_or(0, |_| least.saturating_add(1)),
        most.saturating_sub(least),
        rollup.checks_failed,
        states.degraded,
        states.down,
        states.unknown,
        states.left_out,
    ]
}

pub(super) fn of_numbers(numbers: [u64; FIELDS], is_rounded: bool) -> Option<Rollup> {
    let [checks, up, calls, cpu, least, more, checks_failed, rest @ ..] = numbers;
    let [degraded, down, unknown, left_out] = rest;
    let mut rollup = Rollup {
        checks,
        checks_failed,
        calls,
        ..Rollup::default()
    };
    rollup.states = StateMs {
        up,
        degraded,
        down,
        unknown,
        left_out,
    };
    let heap = least.checked_sub(1);
    rollup.heap_bytes = heap.map(|least| (least, least.saturating_add(more)));
    rollup.cpu_ns = match cpu.checked_sub(1) {
        Some(number) if is_rounded => Some(of_rounded(number)?),
        exact => exact,
    };
    Some(rollup)
}

/// As many bytes as the number before them says.
pub(super) fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take(bytes)?).ok()?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

pub(super) fn take_latency(bytes: &mut &[u8]) -> Option<LatencyHistogram> {
    LatencyHistogram::decode(take_bytes(bytes)?).ok()
}

pub(super) fn take_errors(bytes: &mut &[u8]) -> Option<BTreeMap<ErrorKind, u64>> {
    let count = take(bytes)?;
    (0..count)
        .map(|_| Some((words::error_kind(take(bytes)?)?, take(bytes)?)))
        .collect()
}

/// Significant bits of a processor time: within a thousandth of it. The rest is chance, and most of what a busy minute would take.
const SIGNIFICANT: u32 = 10;

/// A number that is near for times that are near: above it, the exponent; in the last nine bits, what follows the first.
fn rounded(ns: u64) -> u64 {
    match (u64::BITS - ns.leading_zeros()).saturating_sub(SIGNIFICANT) {
        0 => ns,
        shift => (u64::from(shift) << (SIGNIFICANT - 1)) + (ns.saturating_add(1 << (shift - 1)) >> shift),
    }
}

fn of_rounded(number: u64) -> Option<u64> {
    let first = 1 << (SIGNIFICANT - 1);
    match (number / first).saturating_sub(1) {
        0 => Some(number),
        shift if shift <= u64::from(u64::BITS - SIGNIFICANT) => Some((number % first + first) << shift),
        _ => None,
    }
}

/// Adds to what stands at a place.
pub(super) fn add(row: &mut Row, place: u64, rollup: Rollup) {
    row.entry(place)
        .and_modify(|sum| sum.add(&rollup))
        .or_insert(rollup);
}

/// 0, -1, 1, -2, 2 … become 0, 1, 2, 3, 4 …
fn put_signed(bytes: &mut Vec<u8>, value: i64) {
    put(bytes, ((value << 1) ^ (value >> 63)) as u64);
}

fn take_signed(bytes: &mut &[u8]) -> Option<i64> {
    let value = take(bytes)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{DAY, any_rollup};
    use crate::time::MINUTE_MS;
    use proptest::prelude::*;

    /// As it is read back.
    fn begun(mut row: Row) -> Row {
        for (place, rollup) in &mut row {
            rollup.cpu_ns = rollup.cpu_ns.map(|ns| of_rounded(rounded(ns)).unwrap());
            rollup.from_unix_ms = DAY + place * MINUTE_MS;
        }
        row
    }

    proptest! {
        #[test]
        fn row_is_read_back(row in prop::collection::btree_map(0..60_u64, any_rollup(), 0..8), repeated in 0..20_u64) {
            let mut row = row;
            if let Some(rollup) = row.values().next().cloned() {
                row.extend((40..40 + repeated).map(|place| (place, rollup.clone())));
            }
            let row = begun(row);
            prop_assert_eq!(decode(&encode(places(&row), Precision::Full), DAY, MINUTE_MS), row);
        }

        #[test]
        fn processor_time_is_within_a_thousandth_and_rounded_once(ns: u64) {
            let read = of_rounded(rounded(ns)).unwrap();
            prop_assert!(read.abs_diff(ns) <= ns / 1000, "{ns} {read}");
            prop_assert_eq!(rounded(read), rounded(ns));
        }

        #[test]
        fn any_bytes_are_read_as_far_as_they_go(bytes: Vec<u8>) {
            let row = begun(decode(&bytes, DAY, MINUTE_MS));
            prop_assert_eq!(decode(&encode(places(&row), Precision::Full), DAY, MINUTE_MS), row);
        }

        #[test]
        fn coarse_latencies_lose_no_call_and_no_quantile_is_below_the_true_one_or_a_quarter_above(
            nanos in prop::collection::vec(1_000..1_000_000_000_u64, 1..90)
        ) {
            let latency = LatencyHistogram::of(nanos.into_iter().map(std::time::Duration::from_nanos));
            let row = Row::from([(7, Rollup { latency: latency.clone(), ..Rollup::default() })]);
            let read = decode(&encode(places(&row), Precision::ByCount), 0, MINUTE_MS).remove(&7).unwrap().latency;
            prop_assert_eq!(read.count(), latency.count());
            for q in [0.0, 0.5, 0.95, 1.0] {
                let (kept, fine) = (read.quantile(q).unwrap(), latency.quantile(q).unwrap());
                prop_assert!(kept >= fine && kept.as_nanos() as f64 <= fine.as_nanos() as f64 * 1.25, "{kept:?} {fine:?}");
            }
        }
    }

    #[test]
    fn row_that_was_written_before_times_were_rounded_is_read_exactly() {
        let mut bytes = Vec::new();
        put(&mut bytes, 1 << (FIRST_FIELD + 3));
        put_signed(&mut bytes, 20_001);
        let row = decode(&bytes, 0, MINUTE_MS);
        assert_eq!(row[&0].cpu_ns, Some(20_000));
    }

    #[test]
    fn equal_minutes_of_an_hour_take_a_few_bytes() {
        let minute = Rollup {
            states: StateMs {
                up: 60_000,
                ..StateMs::default()
            },
            checks: 6,
            heap_bytes: Some((40 << 20, 41 << 20)),
            ..Rollup::default()
        };
        let hour: Row = (0..60).map(|place| (place, minute.clone())).collect();
        let bytes = encode(places(&hour), Precision::ByCount);
        assert!(bytes.len() <= 16, "{}", bytes.len());
    }
}
