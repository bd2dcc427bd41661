//! How calls of each instance went in the last five minutes: what one wants to know of one that is called now.

use extman_model::clock::nanos;
use extman_model::latency::LatencyHistogram;
use extman_model::record::{MinuteRow, Record};
use extman_model::{Figure, Source, Unit, failed_of};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Whole minutes that are kept, beside the one that goes on.
const MINUTES: usize = 4;
const MINUTE_MS: u64 = 60_000;

/// The last minutes by instance; those without calls are not kept.
#[derive(Default)]
pub(super) struct RecentCalls(Mutex<HashMap<Arc<str>, VecDeque<Minute>>>);

/// A whole minute, the newest last.
struct Minute {
    from_unix_ms: u64,
    latency: LatencyHistogram,
    calls: u64,
    failed: u64,
}

impl RecentCalls {
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
        let sums = &minute.rollup;
        let from = sums.from_unix_ms;
        if sums.latency.is_empty() && sums.calls == 0 {
            // It was not called: what is too old goes, and in time the instance with it.
            if let Some(kept) = all.get_mut(&minute.instance) {
                kept.retain(|one| is_recent(one.from_unix_ms, from));
                if kept.is_empty() {
                    all.remove(&minute.instance);
                }
            }
            return;
        }
        let kept = all.entry(minute.instance.clone()).or_default();
        kept.retain(|one| is_recent(one.from_unix_ms, from));
        if kept.len() == MINUTES {
            kept.pop_front();
        }
        kept.push_back(Minute {
            from_unix_ms: from,
            latency: sums.latency.clone(),
            calls: sums.calls,
            failed: failed_of(&sums.errors),
        });
    }

    /// Of an instance: the p95 with what has come since its last whole minute, and how many calls of whole minutes there were and failed.
    pub(super) fn figures(&self, name: &str, since: &LatencyHistogram, now_unix_ms: u64) -> Vec<Figure> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.get(name).into_iter().flatten();
        let recent: Vec<&Minute> = kept
            .filter(|one| is_recent(one.from_unix_ms, now_unix_ms))
            .collect();
        let latency = recent
            .iter()
            .fold(since.clone(), |sum, one| sum.merged(&one.latency));
        let figure =
            |name, value, unit| Figure::new(name, value, unit, Source::Host).note("of the last five minutes");
        let p95 = latency.quantile(0.95).map(nanos);
        let p95 = p95.map(|p95| figure("call_p95_5min", p95, Unit::Ns));
        let sum = |of: fn(&Minute) -> u64| recent.iter().map(|one| of(one)).sum();
        let counts = [
            figure("calls_5min", sum(|one| one.calls), Unit::Count),
            figure("calls_failed_5min", sum(|one| one.failed), Unit::Count),
        ];
        let counts = counts.into_iter().filter(|_| !recent.is_empty());
        p95.into_iter().chain(counts).collect()
    }
}

fn is_recent(from_unix_ms: u64, now_unix_ms: u64) -> bool {
    now_unix_ms.saturating_sub(from_unix_ms) <= (MINUTES as u64 + 1) * MINUTE_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::ErrorKind;
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
        let recent = RecentCalls::default();
        recent.add(&minute(1, &[100; 20]));
        let now = |at: u64| {
            recent.figures(
                "lang",
                &LatencyHistogram::of([Duration::from_millis(1)]),
                at * MINUTE_MS,
            )
        };
        let is_about = |figures: Vec<Figure>, ms: u64| {
            let ns = figures.first().expect("there are calls").value;
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
        assert_eq!(recent.figures("lang", &LatencyHistogram::of([]), 0), []);
    }

    #[test]
    fn failures_of_the_plugin_in_whole_minutes_are_counted() {
        let recent = RecentCalls::default();
        let mut failing = minute(1, &[1; 20]);
        failing.rollup.errors = [(ErrorKind::Exhausted, 7), (ErrorKind::InvalidInput, 3)].into();
        recent.add(&failing);
        recent.add(&minute(2, &[1; 5]));
        let of = |at: u64| {
            let figures = recent
                .figures("lang", &LatencyHistogram::of([]), at * MINUTE_MS)
                .into_iter();
            let counts = figures.filter(|figure| figure.unit == Unit::Count);
            counts.map(|figure| figure.value).collect::<Vec<_>>()
        };
        assert_eq!(of(3), [25, 7]);
        assert_eq!(of(7), [5, 0]);
        assert_eq!(of(20), Vec::<u64>::new());
    }
}
