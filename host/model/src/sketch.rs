//! A sketch of how long things took: quantiles with a bounded relative error, mergeable, small on disk. A leaf: any room may use it.
//!
//! Log-linear buckets of the `histogram` crate: 32 for each power of two, so a quantile is at most 1/32 (3.2 %) above the true
//! value. Values from 2⁴² ns (73 minutes) on count as the largest bucket.

use histogram::{AtomicHistogram32, Config, SparseHistogram};
use std::sync::OnceLock;
use std::time::Duration;

const GROUPING_POWER: u8 = 5;
const MAX_VALUE_POWER: u8 = 42;
const VALUE_MAX: u64 = (1 << MAX_VALUE_POWER) - 1;
/// First byte of an encoded sketch; another one for other parameters.
const FORMAT: u8 = 1;
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
    pub fn drain(&self) -> Sketch {
        self.0
            .get()
            .map_or_else(Sketch::default, |inner| Sketch::from_dense(&inner.drain()))
    }

    /// What was counted since the last [`drain`](Self::drain), left where it is.
    pub fn peek(&self) -> Sketch {
        self.0
            .get()
            .map_or_else(Sketch::default, |inner| Sketch::from_dense(&inner.load()))
    }
}

/// Counted durations.
#[derive(Debug, Clone, PartialEq)]
pub struct Sketch(SparseHistogram);

impl Default for Sketch {
    fn default() -> Self {
        Sketch(SparseHistogram::with_config(&config()))
    }
}

/// Why bytes are not a sketch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a sketch of durations: {0}")]
pub struct SketchError(&'static str);

impl Sketch {
    fn from_dense(dense: &histogram::Histogram32) -> Self {
        let mut sketch = SparseParts::default();
        for (index, count) in dense
            .as_slice()
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            sketch.push(index as u32, u64::from(*count));
        }
        sketch.build()
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

    /// The duration that this share of all does not exceed; `q` within 0 to 1. At most 1/32 above the true one. `None` without
    /// durations or for another `q`.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let result = self.0.quantile(q).ok()??;
        let (_, bucket) = result.entries().iter().next()?;
        Some(Duration::from_nanos(bucket.end()))
    }

    /// All durations of both. Counts that no longer fit stay at their greatest.
    #[must_use]
    pub fn merged(&self, other: &Sketch) -> Sketch {
        if let Ok(sum) = self.0.checked_add(&other.0) {
            return Sketch(sum);
        }
        let mut parts = SparseParts::default();
        let pairs = |sketch: &Sketch| -> Vec<(u32, u64)> {
            sketch
                .0
                .index()
                .iter()
                .copied()
                .zip(sketch.0.count().iter().copied())
                .collect()
        };
        let mut counts = std::collections::BTreeMap::new();
        for (index, count) in pairs(self).into_iter().chain(pairs(other)) {
            let sum: &mut u64 = counts.entry(index).or_default();
            *sum = sum.saturating_add(count);
        }
        counts
            .into_iter()
            .for_each(|(index, count)| parts.push(index, count));
        parts.build()
    }

    /// As bytes, to be read back by [`decode`](Self::decode): a format byte, then for each bucket in use the distance from
    /// the one before and its count, as LEB128.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        let mut before = 0;
        for (index, count) in self.0.index().iter().zip(self.0.count()) {
            put(&mut bytes, u64::from(index - before));
            put(&mut bytes, *count);
            before = *index;
        }
        bytes
    }

    /// From bytes.
    ///
    /// # Errors
    /// They are of another format, cut, or not well formed.
    pub fn decode(bytes: &[u8]) -> Result<Sketch, SketchError> {
        let Some((&FORMAT, mut rest)) = bytes.split_first() else {
            return Err(SketchError("it does not begin with the format 1"));
        };
        let mut parts = SparseParts::default();
        let mut at = 0_u64;
        while !rest.is_empty() {
            at = at.saturating_add(take(&mut rest)?);
            let count = take(&mut rest)?;
            let known = parts.index.last().is_none_or(|last| u64::from(*last) < at);
            if at >= BUCKETS_MAX as u64 || !known || count == 0 {
                return Err(SketchError("a bucket is out of range, empty, or not in order"));
            }
            parts.push(at as u32, count);
        }
        Ok(parts.build())
    }
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
    fn build(self) -> Sketch {
        SparseHistogram::from_parts(config(), self.index, self.count)
            .map_or_else(|_| Sketch::default(), Sketch)
    }
}

fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take(bytes: &mut &[u8]) -> Result<u64, SketchError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(SketchError("it is cut"))?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(SketchError("a number is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_are_near_and_never_below() {
        let sketch = Sketch::of((1..=1000).map(Duration::from_micros));
        for (q, true_us) in [(0.5, 500), (0.95, 950), (0.99, 990), (1.0, 1000)] {
            let told = sketch.quantile(q).unwrap().as_nanos() as f64;
            let truth = f64::from(true_us) * 1000.0;
            assert!(
                told >= truth && told <= truth * (1.0 + 1.0 / 32.0) + 1.0,
                "{q}: {told}"
            );
        }
        assert_eq!(sketch.count(), 1000);
        assert_eq!(Sketch::default().quantile(0.5), None);
        assert_eq!(sketch.quantile(1.5), None);
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
            prop_assert_eq!(Sketch::of(nanos(&a)).merged(&Sketch::of(nanos(&b))), Sketch::of(both));
        }

        #[test]
        fn what_is_encoded_is_read_back(nanos: Vec<u64>) {
            let sketch = Sketch::of(nanos.into_iter().map(Duration::from_nanos));
            prop_assert_eq!(Sketch::decode(&sketch.encode()), Ok(sketch));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(sketch) = Sketch::decode(&bytes) {
                prop_assert_eq!(Sketch::decode(&sketch.encode()), Ok(sketch));
            }
        }
    }
}
