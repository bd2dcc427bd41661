//! Single results as bytes: a batch of all instances, and those of one.

use super::bytes::{Malformed, put, put_signed, take, take_signed};
use super::words;
use extman_model::record::ResultWord;

/// A result without its instance's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultPoint {
    /// When it was asked, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// What came of it.
    pub result: ResultWord,
    /// How long the plugin's code ran, in nanoseconds.
    pub took_ns: Option<u64>,
    /// Round trip over the plugin's connection, in nanoseconds.
    pub connection_rtt_ns: Option<u64>,
    /// Heap in use, in bytes.
    pub heap_bytes: Option<u64>,
}

/// Many instances' results, each with its instance's number.
pub(super) fn encode_batch(from_ms: u64, results: &[(u32, ResultPoint)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(results.len() * 9);
    for (instance, point) in results {
        put(&mut bytes, u64::from(*instance));
        put_point(&mut bytes, from_ms, point);
    }
    bytes
}

/// Calls with each; of what is malformed, the part before.
pub(super) fn decode_batch(from_ms: u64, mut bytes: &[u8], mut each: impl FnMut(u32, ResultPoint)) {
    let bytes = &mut bytes;
    while !bytes.is_empty() {
        let Some(instance) = take(bytes).ok().and_then(|number| u32::try_from(number).ok()) else {
            return;
        };
        let Ok(point) = take_point(bytes, from_ms) else {
            return;
        };
        each(instance, point);
    }
}

/// One instance's results, in the order of time.
pub(super) fn encode_points(from_ms: u64, points: &[ResultPoint]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(points.len() * 8);
    let mut before = from_ms;
    for point in points {
        put_point(&mut bytes, before, point);
        before = point.at_unix_ms;
    }
    bytes
}

pub(super) fn decode_points(from_ms: u64, mut bytes: &[u8]) -> Vec<ResultPoint> {
    let mut points = Vec::new();
    let (bytes, mut before) = (&mut bytes, from_ms);
    while !bytes.is_empty() {
        let Ok(point) = take_point(bytes, before) else {
            break;
        };
        before = point.at_unix_ms;
        points.push(point);
    }
    points
}

/// Bits above the result's code, for what follows.
const TOOK: u8 = 1 << 5;
const RTT: u8 = 1 << 6;
const HEAP: u8 = 1 << 7;

fn put_point(bytes: &mut Vec<u8>, before_ms: u64, point: &ResultPoint) {
    put_signed(bytes, point.at_unix_ms.wrapping_sub(before_ms) as i64);
    let figures = [
        (TOOK, point.took_ns),
        (RTT, point.connection_rtt_ns),
        (HEAP, point.heap_bytes),
    ];
    let mut head = words::result_code(point.result);
    for (bit, figure) in figures {
        head |= if figure.is_some() { bit } else { 0 };
    }
    bytes.push(head);
    figures
        .iter()
        .filter_map(|(_, figure)| *figure)
        .for_each(|figure| put(bytes, figure));
}

fn take_point(bytes: &mut &[u8], before_ms: u64) -> Result<ResultPoint, Malformed> {
    let at_unix_ms = before_ms.wrapping_add(take_signed(bytes)? as u64);
    let (head, rest) = bytes.split_first().ok_or(Malformed)?;
    *bytes = rest;
    let mut figure = |bit| (head & bit != 0).then(|| take(bytes)).transpose();
    Ok(ResultPoint {
        at_unix_ms,
        took_ns: figure(TOOK)?,
        connection_rtt_ns: figure(RTT)?,
        heap_bytes: figure(HEAP)?,
        result: words::result_word(head & (TOOK - 1)).ok_or(Malformed)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::any_point;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn results_are_read_back(from: u64, batch in prop::collection::vec((any::<u32>(), any_point()), 0..40)) {
            let mut read = Vec::new();
            decode_batch(from, &encode_batch(from, &batch), |instance, point| read.push((instance, point)));
            prop_assert_eq!(&read, &batch);
            let points: Vec<_> = batch.into_iter().map(|(_, point)| point).collect();
            prop_assert_eq!(decode_points(from, &encode_points(from, &points)), points);
        }

        #[test]
        fn any_bytes_are_read_as_far_as_they_go(bytes: Vec<u8>) {
            decode_batch(1, &bytes, |_, _| {});
            let _ = decode_points(1, &bytes);
        }
    }
}
