//! The host's own parts, looked at every few seconds: whoever asks how they are is told what was seen then.

mod measure;

use super::{Host, Inner};
use crate::config::Config;
use crate::probing::Engine;
use arc_swap::ArcSwap;
use extman_health::components::{self, LanesSeen, Limits};
use extman_intake::StoreOutcome;
use extman_model::clock::{self, Monotonic};
use extman_model::latency::LatencyHistogram;
use extman_model::vital::deaths;
use extman_model::{Component, Health};
use extman_runtime::lanes::{looked_at, lost_lanes};
use extman_runtime::process_guard;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// How long each stretch is over which lateness is told.
const LAG: Duration = Duration::from_secs(60);
/// Looks that may be missed until nothing is known any more.
const MISSED_MAX: u32 = 3;

/// What looks, and what it saw last.
pub(super) struct Components {
    store: StoreOutcome,
    places: Vec<(&'static str, PathBuf)>,
    limits: ArcSwap<Limits>,
    every_ms: AtomicU64,
    last: ArcSwap<Looked>,
    /// How the history was last, and since when.
    history: Mutex<Option<(Health, u64)>>,
}

/// One look.
struct Looked {
    at: Monotonic,
    parts: Vec<Component>,
    lag: Lag,
}

/// How late checks began in the last whole stretch, and when that ended.
#[derive(Clone)]
struct Lag {
    last: LatencyHistogram,
    taken_at: Monotonic,
}

impl Lag {
    fn new(now: Monotonic) -> Self {
        Lag {
            last: LatencyHistogram::default(),
            taken_at: now,
        }
    }

    /// If a stretch is over, what `take` gives is the last one.
    fn pass(&self, now: Monotonic, take: impl FnOnce() -> LatencyHistogram) -> Self {
        if now.since(self.taken_at) < LAG {
            return self.clone();
        }
        Lag {
            last: take(),
            taken_at: now,
        }
    }

    /// 99 of 100 were not later, in the last stretch and since then.
    fn p99(&self, since_then: &LatencyHistogram) -> Option<Duration> {
        self.last.merged(since_then).quantile(0.99)
    }
}

impl Components {
    /// Nobody has looked yet.
    pub(super) fn new(config: &Config, store: StoreOutcome) -> Self {
        let mut places = vec![("store", config.intake.store.dir.clone())];
        let file = &config.history.file;
        if let Some(dir) = file.parent().filter(|_| config.history.enabled) {
            let here = PathBuf::from(".");
            let dir = if dir.as_os_str().is_empty() {
                here
            } else {
                dir.to_owned()
            };
            places.push(("history", dir));
        }
        let now = clock::monotonic();
        Components {
            store,
            places,
            limits: ArcSwap::from_pointee(config.health.limits()),
            every_ms: AtomicU64::new(config.health.components_every_ms),
            history: Mutex::default(),
            last: ArcSwap::from_pointee(Looked {
                at: now,
                parts: Vec::new(),
                lag: Lag::new(now),
            }),
        }
    }

    /// From here on these limits and this time between two looks are configured.
    pub(super) fn set_limits(&self, config: &Config) {
        self.limits.store(Arc::new(config.health.limits()));
        self.every_ms
            .store(config.health.components_every_ms, Ordering::Relaxed);
    }

    fn every(&self) -> Duration {
        Duration::from_millis(self.every_ms.load(Ordering::Relaxed))
    }

    /// Looks. It asks the disks, so not on one of the async runtime's own threads.
    pub(super) fn look(&self, engine: &Engine) {
        // What calls and threads of plugins changed since the last step of one.
        process_guard::compare_now();
        engine.stand_in_for_dead_thread();
        let (before, now) = (self.last.load_full(), clock::monotonic());
        let lag = before.lag.pass(now, || engine.take_lag());
        let lanes = LanesSeen {
            watchdog: looked_at().map(|at| now.since(at)),
            lost: lost_lanes(),
            // Those that no lane has begun yet are late too.
            lag_p99: lag.p99(&engine.lag()).max(engine.longest_wait()),
        };
        let limits = self.limits.load();
        let mut parts = vec![
            components::store(self.store.failure()),
            components::lanes(&lanes, &limits),
            components::disk(&measure::spaces(&self.places), &limits),
            components::memory(&measure::memory(), &limits),
            components::descriptors(&measure::descriptors(), &limits),
            components::log(&measure::log(), &limits),
            components::threads(&deaths().iter().map(|death| death.name).collect::<Vec<_>>()),
        ];
        for part in &mut parts {
            since(part, &before.parts);
        }
        let at = clock::monotonic();
        self.last.store(Arc::new(Looked { at, parts, lag }));
    }

    /// What was seen last; unknown if that is long ago.
    pub(super) fn told(&self, now: Monotonic) -> Vec<Component> {
        let last = self.last.load();
        let (age, patience) = (now.since(last.at), self.every() * MISSED_MAX);
        let aged = |part: &Component| components::aged(part.clone(), age, patience);
        last.parts.iter().map(aged).collect()
    }

    /// How late checks began in the last whole minute and since then.
    pub(super) fn lag(&self, engine: &Engine) -> Option<Duration> {
        self.last.load().lag.p99(&engine.lag())
    }
}

/// Keeps the moment since when it is so, and tells the log of a change.
fn since(part: &mut Component, before: &[Component]) {
    let was = before.iter().find(|other| other.name == part.name);
    part.since_unix_ms = match was {
        Some(was) if was.health == part.health => was.since_unix_ms,
        _ => clock::unix_ms(clock::wall()),
    };
    if was.map_or(Health::Up, |was| was.health) == part.health || part.left_out {
        return;
    }
    let (name, reason) = (&part.name, &part.reason);
    match part.health {
        Health::Up => tracing::info!(component = %name, %reason, "a part of the host is up again"),
        health => tracing::warn!(component = %name, %reason, "a part of the host is {}", health.as_str()),
    }
}

/// Looks again and again, until the host ends.
pub(super) async fn keep_looking(host: Weak<Inner>) {
    loop {
        let Some(every) = host.upgrade().map(|host| host.components.every()) else {
            return;
        };
        tokio::time::sleep(every).await;
        let Some(host) = host.upgrade().filter(|host| !host.ending.load(Ordering::Acquire)) else {
            return;
        };
        // A disk that does not answer holds up this look, and what was seen before it grows old.
        host.history_part();
        let looked = tokio::task::spawn_blocking(move || host.components.look(&host.engine));
        if looked.await.is_err() {
            return;
        }
    }
}

impl Inner {
    /// The history, as it tells of itself at any time.
    fn history_part(&self) -> Component {
        let mut part = components::history(&self.history.state());
        let mut last = self
            .components
            .history
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let since = match *last {
            Some((health, since)) if health == part.health => since,
            Some(_) if part.since_unix_ms == 0 => clock::unix_ms(clock::wall()),
            None if part.since_unix_ms == 0 => self.started_unix_ms,
            _ => part.since_unix_ms,
        };
        (*last, part.since_unix_ms) = (Some((part.health, since)), since);
        part
    }
}

impl Host {
    /// The host's own parts, as they were when somebody looked last, and the history. Asks nobody.
    pub fn components(&self) -> Vec<Component> {
        let mut parts = self.inner.components.told(clock::monotonic());
        parts.push(self.inner.history_part());
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_told_of_the_last_whole_minute_and_since_and_then_forgotten() {
        let at = |seconds: u64| Monotonic::from_nanos((1 + seconds) * 1_000_000_000);
        let late = |ms: u64| LatencyHistogram::of([Duration::from_millis(ms)]);
        let none = LatencyHistogram::default;
        let first = Lag::new(at(0));
        assert_eq!(first.p99(&none()), None, "no figure is made up");
        let first = first.pass(at(59), || panic!("it is not over"));
        assert!(first.p99(&late(8)) >= Some(Duration::from_millis(8)));
        let second = first.pass(at(60), || late(50));
        assert!(second.p99(&none()) >= Some(Duration::from_millis(50)));
        assert!(second.p99(&late(70)) >= Some(Duration::from_millis(70)));
        let third = second.pass(at(121), || late(1));
        assert!(third.p99(&none()) < Some(Duration::from_millis(2)));
    }
}
