//! How long things took, counted in buckets: quantiles with a bounded relative error, mergeable, small on disk. A leaf: any room may use it.
//!
//! Log-linear buckets of the `histogram` crate: 32 for each power of two, so a quantile is at most 1/32 (3.2 %) above the true
//! value. Values from 2⁴² ns (73 minutes) on count as the largest bucket.

use crate::leb128::{put, take};
use histogram::{AtomicHistogram32, Config, SparseHistogram};
use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::time::Duration;

const GROUPING_POWER: u8 = 5;
const MAX_VALUE_POWER: u8 = 42;
const VALUE_MAX: u64 = (1 << MAX_VALUE_POWER) - 1;
/// First byte of a histogram as older hosts wrote it: a number for each distance and each count.
const UNPACKED: u8 = 1;
/// First byte of an encoded histogram, less the bits of an index that were dropped.
const PACKED: u8 = 0x10;
/// So many fine buckets are one power of two.
const DROPPED_BITS_MAX: u32 = GROUPING_POWER as u32;
const BUCKETS_MAX: usize = (MAX_VALUE_POWER - GROUPING_POWER + 1) as usize * (1 << GROUPING_POWER);

fn config() -> Config {
    // Both are constants within the bounds that it checks.
    Config::new(GROUPING_POWER, MAX_VALUE_POWER).expect("constant parameters")
}

/// Counts durations from any thread. Its 5 KB are taken at the first one.
#[derive(Debug, Default)]
pub struct Recorder(OnceLock<Box<AtomicHistogram32>>);

impl Recorder {
    /// One more duration.
    #[inline]
    pub fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).min(VALUE_MAX);
        let inner = self
            .0
            .get_or_init(|| Box::new(AtomicHistogram32::with_config(&config())));
        // Below VALUE_MAX it has a bucket.
        let _ = inner.increment(nanos);
    }

    /// What was counted since the last time; none of it is counted twice or lost.
    pub fn drain(&self) -> LatencyHistogram {
        self.0.get().map_or_else(LatencyHistogram::default, |inner| {
            LatencyHistogram::from_dense(&inner.drain())
        })
    }

    /// What was counted since the last [`drain`](Self::drain), left where it is.
    pub fn peek(&self) -> LatencyHistogram {
        self.0.get().map_or_else(LatencyHistogram::default, |inner| {
            LatencyHistogram::from_dense(&inner.load())
        })
    }
}

/// Counted durations.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyHistogram(SparseHistogram);

impl Default for LatencyHistogram {
    fn default() -> Self {
        LatencyHistogram(SparseHistogram::with_config(&config()))
    }
}

/// Why bytes are not a histogram.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a histogram of durations: {0}")]
pub struct LatencyError(&'static str);

impl LatencyHistogram {
    fn from_dense(dense: &histogram::Histogram32) -> Self {
        let mut histogram = SparseParts::default();
        for (index, count) in dense
            .as_slice()
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            histogram.push(index as u32, u64::from(*count));
        }
        histogram.build()
    }

    /// Of these durations.
    pub fn of(durations: impl IntoIterator<Item = Duration>) -> Self {
        let recorder = Recorder::default();
        durations.into_iter().for_each(|took| recorder.record(took));
        recorder.drain()
    }

    /// How many durations.
    pub fn count(&self) -> u64 {
        self.0
            .count()
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The buckets in use, the shortest durations first: the shortest and the longest duration that a bucket counts, in nanoseconds, and
    /// how many.
    pub fn buckets(&self) -> impl Iterator<Item = (RangeInclusive<u64>, u64)> + '_ {
        self.0.iter().map(|bucket| (bucket.range(), bucket.count()))
    }

    /// The duration that this share of all does not exceed; `q` within 0 to 1. At most 1/32 above the true one. `None` without
    /// durations or for another `q`.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let result = self.0.quantile(q).ok()??;
        let (_, bucket) = result.entries().iter().next()?;
        Some(Duration::from_nanos(bucket.end()))
    }

    /// What was counted since `earlier`, of one that goes on being counted. One that was drained meanwhile has less in some bucket: then it is all
    /// that was counted since that.
    #[must_use]
    pub fn since(&self, earlier: &LatencyHistogram) -> LatencyHistogram {
        let before: std::collections::HashMap<u32, u64> = earlier.pairs().collect();
        let now: std::collections::HashMap<u32, u64> = self.pairs().collect();
        let was_drained = before
            .iter()
            .any(|(index, count)| now.get(index).is_none_or(|now| now < count));
        if was_drained {
            return self.clone();
        }
        let mut parts = SparseParts::default();
        for (index, count) in self.pairs() {
            let new = count - before.get(&index).copied().unwrap_or(0);
            if new > 0 {
                parts.push(index, new);
            }
        }
        parts.build()
    }

    fn pairs(&self) -> impl Iterator<Item = (u32, u64)> {
        let counts = self.0.count().iter().copied();
        self.0.index().iter().copied().zip(counts)
    }

    /// All durations of both. Counts that no longer fit stay at their greatest.
    #[must_use]
    pub fn merged(&self, other: &LatencyHistogram) -> LatencyHistogram {
        if let Ok(sum) = self.0.checked_add(&other.0) {
            return LatencyHistogram(sum);
        }
        let mut parts = SparseParts::default();
        let mut counts = std::collections::BTreeMap::new();
        for (index, count) in self.pairs().chain(other.pairs()) {
            let sum: &mut u64 = counts.entry(index).or_default();
            *sum = sum.saturating_add(count);
        }
        counts
            .into_iter()
            .for_each(|(index, count)| parts.push(index, count));
        parts.build()
    }

    /// As bytes, to be read back by [`decode`](Self::decode). `dropped_bits`, at most 5: 2 to the power of that of neighbouring buckets become
    /// one, and quantiles are its upper end. A format byte; then for each bucket in use one byte with the distance from the one before
    /// in 2 bits and the count in 6, or 0 for what has no room there and follows as LEB128.
    pub fn encode(&self, dropped_bits: u32) -> Vec<u8> {
        let dropped_bits = dropped_bits.min(DROPPED_BITS_MAX);
        let mut buckets: Vec<(u32, u64)> = Vec::with_capacity(self.0.len());
        for (index, count) in self.0.index().iter().zip(self.0.count()) {
            match buckets.last_mut().filter(|last| last.0 == index >> dropped_bits) {
                Some(last) => last.1 = last.1.saturating_add(*count),
                None => buckets.push((index >> dropped_bits, *count)),
            }
        }
        let mut bytes = vec![PACKED + dropped_bits as u8];
        let mut before = 0;
        for (index, count) in buckets {
            let gap = index - before;
            let short_gap = if gap <= 3 { gap as u8 } else { 0 };
            let short_count = if count <= 63 { count as u8 } else { 0 };
            bytes.push(short_gap << 6 | short_count);
            if short_gap == 0 {
                put(&mut bytes, u64::from(gap));
            }
            if short_count == 0 {
                put(&mut bytes, count);
            }
            before = index;
        }
        bytes
    }

    /// From bytes, also those that older hosts wrote.
    ///
    /// # Errors
    /// They are of another format, cut, or not well formed.
    pub fn decode(bytes: &[u8]) -> Result<LatencyHistogram, LatencyError> {
        const PACKED_MAX: u8 = PACKED + DROPPED_BITS_MAX as u8;
        let (dropped_bits, mut rest) = match bytes.split_first() {
            Some((&UNPACKED, rest)) => (None, rest),
            Some((format @ PACKED..=PACKED_MAX, rest)) => (Some(format - PACKED), rest),
            _ => return Err(LatencyError("it begins with no known format")),
        };
        let mut parts = SparseParts::default();
        let (mut at, shift) = (0_u64, dropped_bits.unwrap_or(0));
        while !rest.is_empty() {
            let (gap, count) = match dropped_bits {
                None => (number(&mut rest)?, number(&mut rest)?),
                Some(_) => take_packed(&mut rest)?,
            };
            at = at.saturating_add(gap);
            if at >= (BUCKETS_MAX as u64) >> shift || (gap == 0 && !parts.index.is_empty()) || count == 0 {
                return Err(LatencyError("a bucket is out of range, empty, or not in order"));
            }
            // The last of those that became one: no quantile is below the true one.
            parts.push(((at as u32 + 1) << shift) - 1, count);
        }
        Ok(parts.build())
    }
}

fn take_packed(bytes: &mut &[u8]) -> Result<(u64, u64), LatencyError> {
    let (byte, rest) = bytes.split_first().ok_or(LatencyError("it is cut"))?;
    *bytes = rest;
    let mut short_or_long = |short: u8| match short {
        0 => number(bytes),
        short => Ok(u64::from(short)),
    };
    Ok((short_or_long(byte >> 6)?, short_or_long(byte & 0x3f)?))
}

fn number(bytes: &mut &[u8]) -> Result<u64, LatencyError> {
    take(bytes).ok_or(LatencyError("a number is cut or too long"))
}

#[derive(Default)]
struct SparseParts {
    index: Vec<u32>,
    count: Vec<u64>,
}

impl SparseParts {
    fn push(&mut self, index: u32, count: u64) {
        self.index.push(index);
        self.count.push(count);
    }

    /// Indices are in order and within the bounds wherever this is called.
    fn build(self) -> LatencyHistogram {
        SparseHistogram::from_parts(config(), self.index, self.count)
            .map_or_else(|_| LatencyHistogram::default(), LatencyHistogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_are_near_and_never_below() {
        let histogram = LatencyHistogram::of((1..=1000).map(Duration::from_micros));
        for (q, true_us) in [(0.5, 500), (0.95, 950), (0.99, 990), (1.0, 1000)] {
            let told = histogram.quantile(q).unwrap().as_nanos() as f64;
            let truth = f64::from(true_us) * 1000.0;
            assert!(
                told >= truth && told <= truth * (1.0 + 1.0 / 32.0) + 1.0,
                "{q}: {told}"
            );
        }
        assert_eq!(histogram.count(), 1000);
        assert_eq!(LatencyHistogram::default().quantile(0.5), None);
        assert_eq!(histogram.quantile(1.5), None);
    }

    #[test]
    fn buckets_are_in_order_and_hold_what_was_counted() {
        let histogram = LatencyHistogram::of([900, 1, 2, 2].map(Duration::from_micros));
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!(
            buckets.iter().map(|(_, count)| *count).collect::<Vec<_>>(),
            [1, 2, 1]
        );
        for ((range, _), us) in buckets.iter().zip([1, 2, 900]) {
            assert!(range.contains(&(us * 1_000)), "{range:?}");
            assert!(range.end() - range.start() <= us * 1_000 / 32, "{range:?}");
        }
    }

    #[test]
    fn histogram_of_an_older_host_is_read() {
        let histogram = LatencyHistogram::of([1, 2, 2, 900].map(Duration::from_micros));
        let mut bytes = vec![UNPACKED];
        let mut before = 0;
        for (index, count) in histogram.0.index().iter().zip(histogram.0.count()) {
            put(&mut bytes, u64::from(index - before));
            put(&mut bytes, *count);
            before = *index;
        }
        assert_eq!(LatencyHistogram::decode(&bytes), Ok(histogram));
    }

    #[test]
    fn difference_is_what_came_since_and_after_a_drain_all_that_is_there() {
        let recorder = Recorder::default();
        let ms = Duration::from_millis;
        [ms(1), ms(2)].into_iter().for_each(|took| recorder.record(took));
        let earlier = recorder.peek();
        assert!(earlier.since(&earlier).is_empty());
        [ms(2), ms(3)].into_iter().for_each(|took| recorder.record(took));
        assert_eq!(
            recorder.peek().since(&earlier),
            LatencyHistogram::of([ms(2), ms(3)])
        );
        recorder.drain();
        recorder.record(ms(3));
        assert_eq!(recorder.peek().since(&earlier), LatencyHistogram::of([ms(3)]));
    }

    #[test]
    fn what_was_drained_is_not_counted_again() {
        let recorder = Recorder::default();
        assert!(recorder.drain().is_empty());
        recorder.record(Duration::from_millis(1));
        recorder.record(Duration::MAX);
        assert_eq!(recorder.peek().count(), 2);
        assert_eq!(recorder.drain().count(), 2);
        assert_eq!(recorder.drain().count(), 0);
    }

    proptest! {
        #[test]
        fn merging_is_counting_both(a: Vec<u32>, b: Vec<u32>) {
            let nanos = |v: &[u32]| v.iter().map(|n| Duration::from_nanos(u64::from(*n))).collect::<Vec<_>>();
            let both: Vec<_> = nanos(&a).into_iter().chain(nanos(&b)).collect();
            prop_assert_eq!(LatencyHistogram::of(nanos(&a)).merged(&LatencyHistogram::of(nanos(&b))), LatencyHistogram::of(both));
        }

        #[test]
        fn what_is_encoded_is_read_back(nanos: Vec<u64>) {
            let histogram = LatencyHistogram::of(nanos.into_iter().map(Duration::from_nanos));
            prop_assert_eq!(LatencyHistogram::decode(&histogram.encode(0)), Ok(histogram));
        }

        #[test]
        fn coarse_histogram_counts_the_same_and_is_near_and_never_below(nanos in prop::collection::vec(64..1_u64 << 41, 1..50), bits in 0..4_u32) {
            let histogram = LatencyHistogram::of(nanos.into_iter().map(Duration::from_nanos));
            let coarse = LatencyHistogram::decode(&histogram.encode(bits)).unwrap();
            prop_assert_eq!(coarse.count(), histogram.count());
            for q in [0.0, 0.5, 1.0] {
                let (fine, coarse) = (histogram.quantile(q).unwrap().as_nanos(), coarse.quantile(q).unwrap().as_nanos());
                prop_assert!(coarse >= fine && (coarse - fine) * 32 <= fine << bits, "{fine} {coarse}");
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(histogram) = LatencyHistogram::decode(&bytes) {
                prop_assert_eq!(LatencyHistogram::decode(&histogram.encode(0)), Ok(histogram));
            }
        }
    }
}
