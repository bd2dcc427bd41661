//! How long calls took in the last five minutes, of each instance: what one wants to know of one that is called now.

use extman_model::clock::nanos;
use extman_model::latency::LatencyHistogram;
use extman_model::record::{MinuteRow, Record};
use extman_model::{Figure, Source, Unit};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Whole minutes that are kept, beside the one that goes on.
const MINUTES: usize = 4;
const MINUTE_MS: u64 = 60_000;

/// The latencies of the last minutes by instance; those without calls are not kept.
#[derive(Default)]
pub(super) struct RecentLatency(Mutex<HashMap<Arc<str>, Minutes>>);

/// When each began, in milliseconds since the Unix epoch, and its latencies; the newest last.
type Minutes = VecDeque<(u64, LatencyHistogram)>;

impl RecentLatency {
    /// Notes the minutes among what is to be written down.
    pub(super) fn note(&self, records: &[Record]) {
        for record in records {
            if let Record::Minute(minute) = record {
                self.add(minute);
            }
        }
    }

    fn add(&self, minute: &MinuteRow) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = minute.rollup.from_unix_ms;
        if minute.rollup.latency.is_empty() {
            // It was not called: what is too old goes, and in time the instance with it.
            if let Some(kept) = all.get_mut(&minute.instance) {
                kept.retain(|(at, _)| is_recent(*at, from));
                if kept.is_empty() {
                    all.remove(&minute.instance);
                }
            }
            return;
        }
        let kept = all.entry(minute.instance.clone()).or_default();
        kept.retain(|(at, _)| is_recent(*at, from));
        if kept.len() == MINUTES {
            kept.pop_front();
        }
        kept.push_back((from, minute.rollup.latency.clone()));
    }

    /// Of an instance, with what has come since its last whole minute.
    pub(super) fn p95(&self, name: &str, since: &LatencyHistogram, now_unix_ms: u64) -> Option<Figure> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.get(name).into_iter().flatten();
        let recent = kept.filter(|(at, _)| is_recent(*at, now_unix_ms));
        let latency = recent.fold(since.clone(), |sum, (_, minute)| sum.merged(minute));
        let p95 = nanos(latency.quantile(0.95)?);
        Some(Figure::new("call_p95_5min", p95, Unit::Ns, Source::Host).note("of the last five minutes"))
    }
}

fn is_recent(from_unix_ms: u64, now_unix_ms: u64) -> bool {
    now_unix_ms.saturating_sub(from_unix_ms) <= (MINUTES as u64 + 1) * MINUTE_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::record::{Rollup, StateMs};
    use std::time::Duration;

    fn minute(at: u64, ms: &[u64]) -> MinuteRow {
        MinuteRow {
            instance: "lang".into(),
            rollup: Rollup {
                from_unix_ms: at * MINUTE_MS,
                states: StateMs::default(),
                checks: 0,
                checks_failed: 0,
                calls: ms.len() as u64,
                errors: Default::default(),
                latency: LatencyHistogram::of(ms.iter().map(|ms| Duration::from_millis(*ms))),
                heap_bytes: None,
                cpu_ns: None,
            },
        }
    }

    #[test]
    fn slow_calls_of_four_minutes_ago_count_and_older_ones_do_not() {
        let recent = RecentLatency::default();
        recent.add(&minute(1, &[100; 20]));
        let now = |at: u64| {
            recent.p95(
                "lang",
                &LatencyHistogram::of([Duration::from_millis(1)]),
                at * MINUTE_MS,
            )
        };
        let is_about = |figure: Option<Figure>, ms: u64| {
            let ns = figure.expect("there are calls").value;
            assert!(
                (ms * 980_000..ms * 1_020_000).contains(&ns),
                "{ns} ns is not about {ms} ms"
            );
        };
        is_about(now(5), 100);
        is_about(now(9), 1);
        for at in 2..=6 {
            recent.add(&minute(at, &[2]));
        }
        is_about(now(6), 2);
        recent.add(&minute(20, &[]));
        assert!(recent.0.lock().unwrap().is_empty());
        assert_eq!(recent.p95("lang", &LatencyHistogram::of([]), 0), None);
    }
}
