//! How calls of each instance went in the last five minutes, and how long they usually took in the hour before: what one wants to know of
//! one that is called now.

use extman_model::clock::nanos;
use extman_model::latency::LatencyHistogram;
use extman_model::record::{MinuteRow, Record};
use extman_model::{Figure, Source, Unit, failed_of};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Whole minutes that are kept, beside the one that goes on.
const MINUTES: usize = 4;
const MINUTE_MS: u64 = 60_000;
/// Minutes before those of which it is kept how long calls took.
const MINUTES_BEFORE: usize = 60;
/// Fewer minutes say nothing of what is usual.
const USUAL_MINUTES_MIN: usize = 3;
/// Fewer calls say nothing of how long they take in a minute.
const CALLS_MIN: u64 = 5;

/// The last minutes by instance; those without calls are not kept.
#[derive(Default)]
pub(super) struct RecentCalls(Mutex<HashMap<Arc<str>, Minutes>>);

/// Of one instance, the newest last.
#[derive(Default)]
struct Minutes {
    recent: VecDeque<Minute>,
    /// The number of each minute before those, and the p95 of its calls in microseconds.
    before: VecDeque<(u32, u32)>,
}

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
                kept.age(from);
                if kept.recent.is_empty() && kept.before.is_empty() {
                    all.remove(&minute.instance);
                }
            }
            return;
        }
        let kept = all.entry(minute.instance.clone()).or_default();
        kept.age(from);
        if kept.recent.len() == MINUTES
            && let Some(oldest) = kept.recent.pop_front()
        {
            kept.put_before(&oldest);
        }
        kept.recent.push_back(Minute {
            from_unix_ms: from,
            latency: sums.latency.clone(),
            calls: sums.calls,
            failed: failed_of(&sums.errors),
        });
    }

    /// Of an instance: the p95 with what has come since its last whole minute, how many calls of whole minutes there were and failed, and the p95
    /// that was usual before.
    pub(super) fn figures(&self, name: &str, since: &LatencyHistogram, now_unix_ms: u64) -> Vec<Figure> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.get(name);
        let recent: Vec<&Minute> = kept
            .into_iter()
            .flat_map(|kept| &kept.recent)
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
        let usual = kept.and_then(|kept| kept.usual_p95_ns(now_unix_ms));
        let usual = usual.map(|ns| {
            let figure = Figure::new("call_p95_usual", ns, Unit::Ns, Source::Host);
            figure.note("the median of minutes of the hour before the last five")
        });
        p95.into_iter().chain(counts).chain(usual).collect()
    }
}

impl Minutes {
    /// What is too old for one goes to the other, or altogether.
    fn age(&mut self, now_unix_ms: u64) {
        while let Some(oldest) = self
            .recent
            .pop_front_if(|one| !is_recent(one.from_unix_ms, now_unix_ms))
        {
            self.put_before(&oldest);
        }
        self.before.retain(|(number, _)| is_before(*number, now_unix_ms));
    }

    fn put_before(&mut self, minute: &Minute) {
        if self.before.len() == MINUTES_BEFORE {
            self.before.pop_front();
        }
        let p95 = minute
            .latency
            .quantile(0.95)
            .filter(|_| minute.calls >= CALLS_MIN);
        let (number, micros) = (minute.from_unix_ms / MINUTE_MS, p95.map(|p95| p95.as_micros()));
        let micros = micros.map(|micros| u32::try_from(micros).unwrap_or(u32::MAX));
        self.before.extend(micros.map(|micros| (number as u32, micros)));
    }

    /// The p95 of a minute of which half of the others were quicker: some slow minutes hide nothing.
    fn usual_p95_ns(&self, now_unix_ms: u64) -> Option<u64> {
        let before = self
            .before
            .iter()
            .filter(|(number, _)| is_before(*number, now_unix_ms));
        let mut all: Vec<u32> = before.map(|(_, micros)| *micros).collect();
        if all.len() < USUAL_MINUTES_MIN {
            return None;
        }
        let middle = (all.len() - 1) / 2;
        Some(u64::from(*all.select_nth_unstable(middle).1) * 1000)
    }
}

fn is_before(number: u32, now_unix_ms: u64) -> bool {
    now_unix_ms.saturating_sub(u64::from(number) * MINUTE_MS)
        <= (MINUTES + 1 + MINUTES_BEFORE) as u64 * MINUTE_MS
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
        // What was usual is kept for an hour more.
        recent.add(&minute(66, &[]));
        assert!(!recent.0.lock().unwrap().is_empty());
        recent.add(&minute(67, &[]));
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

    #[test]
    fn usual_p95_is_that_of_the_hour_before_however_slow_the_last_minutes_were() {
        let recent = RecentCalls::default();
        let usual = |at: u64| {
            let figures = recent.figures("lang", &LatencyHistogram::default(), at * MINUTE_MS);
            let usual = figures.iter().find(|figure| figure.name == "call_p95_usual");
            usual.map(|figure| figure.value / 1_000_000)
        };
        for at in 1..=20 {
            recent.add(&minute(at, &[3; 20]));
        }
        assert_eq!(usual(21), Some(3));
        for at in 21..=35 {
            recent.add(&minute(at, &[600; 20]));
        }
        assert_eq!(usual(36), Some(3), "it has been slow for a quarter of an hour");
        recent.add(&minute(36, &[]));
        assert_eq!(usual(36), Some(3), "a minute without calls takes nothing away");
        assert_eq!(usual(120), None, "nobody has called it for an hour");
        recent.add(&minute(120, &[]));
        assert!(recent.0.lock().unwrap().is_empty());
    }

    #[test]
    fn few_minutes_and_minutes_of_few_calls_say_nothing_of_what_is_usual() {
        let recent = RecentCalls::default();
        for at in 1..=20 {
            recent.add(&minute(at, &[3; 4]));
        }
        let figures = |at: u64| recent.figures("lang", &LatencyHistogram::default(), at * MINUTE_MS);
        let has_usual = |at: u64| figures(at).iter().any(|figure| figure.name == "call_p95_usual");
        assert!(!has_usual(21));
        for at in 21..=26 {
            recent.add(&minute(at, &[3; 20]));
        }
        assert!(!has_usual(27), "two whole minutes before the last ones");
        recent.add(&minute(27, &[3; 20]));
        assert!(has_usual(28));
    }
}
