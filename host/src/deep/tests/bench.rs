//! A host as far as deep checks go, with a clock that a test moves and a store that it breaks.

use crate::deep::store::Values;
use crate::deep::{DeepChecks, Machine, UsageStore};
use crate::probing::{Apart, Engine, EventSink, HealthChange, Subject, Target};
use extman_health::Moment;
use extman_health::monitor::Calls;
use extman_health::policy::{DeepPolicy, Policy};
use extman_model::clock;
use extman_model::latency::LatencyHistogram;
use extman_model::record::Record;
use extman_model::{CheckKind, CheckOutcome, ErrorKind, Health, Lifecycle, Report};
use extman_runtime::instance::{Answer, Asked};
use extman_runtime::lanes::{LaneContext, LaneObserver, Pool, PoolLimits, Work};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
pub const HOUR_MS: u64 = 3_600_000;

/// Is up by its cheap checks, and says what it is told to when it gets a deep check.
pub struct Fake {
    pub says: Mutex<CheckOutcome>,
    pub hangs: AtomicBool,
    pub asked: Mutex<Vec<(CheckKind, Duration)>>,
    /// Futures of deep checks that are there now.
    pub inside: Arc<AtomicU64>,
    /// What the store held of it when it was asked.
    pub kept: Mutex<Vec<Option<String>>>,
    store: Arc<Memory>,
    lanes: Pool,
}

pub fn said(health: Health) -> CheckOutcome {
    CheckOutcome::Answered {
        report: Some(Report {
            health: Some(health),
            text: Some("its words".to_owned()),
            ..Report::default()
        }),
    }
}

struct Inside(Arc<AtomicU64>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Target for Fake {
    fn lanes(&self) -> &Pool {
        &self.lanes
    }
    fn wedge_after(&self) -> Duration {
        LONG
    }
    fn has_check(&self) -> bool {
        true
    }
    fn check_on(&self, lane: &LaneContext<'_>, timeout: Duration, began: Moment) -> Option<Asked> {
        lane.run(began, began.after(timeout).after(LONG), |_| ())?;
        Some(Asked {
            answer: Answer::Other(Box::new(said(Health::Up))),
            ended: clock::monotonic(),
        })
    }
    fn check_apart(self: Arc<Self>, kind: CheckKind, timeout: Duration) -> Apart {
        self.asked.lock().unwrap().push((kind, timeout));
        self.kept.lock().unwrap().push(self.store.value("deep/of/a"));
        self.inside.fetch_add(1, SeqCst);
        let inside = Inside(self.inside.clone());
        Box::pin(async move {
            let _inside = inside;
            while self.hangs.load(SeqCst) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let says = self.says.lock().unwrap().clone();
            (says, Some(Duration::from_micros(7)))
        })
    }
    fn calls(&self) -> Calls {
        Calls::default()
    }
    fn errors(&self) -> Vec<(ErrorKind, u64)> {
        Vec::new()
    }
    fn take_latency(&self) -> LatencyHistogram {
        LatencyHistogram::default()
    }
}

#[derive(Default)]
pub struct Ears {
    pub changes: Mutex<Vec<HealthChange>>,
    pub panicked: Mutex<Vec<String>>,
}

impl EventSink for Ears {
    fn changed(&self, change: HealthChange) {
        self.changes.lock().unwrap().push(change);
    }
    fn panicked(&self, name: &str, _: u64, _: String) {
        self.panicked.lock().unwrap().push(name.to_owned());
    }
    fn stalled(&self, _: Duration) {}
    fn record(&self, _: &mut Vec<Record>) {}
    fn keeps_results(&self) -> bool {
        false
    }
}

struct Unobserved;

impl LaneObserver for Unobserved {
    fn lost(&self, _: &Work, _: Duration) {}
    fn returned_late(&self, _: &Work, _: Duration) {}
}

/// A usage store that a test breaks.
#[derive(Default)]
pub struct Memory {
    pub values: Mutex<BTreeMap<String, String>>,
    pub is_broken: AtomicBool,
    pub is_full: AtomicBool,
    pub lost: AtomicU64,
}

impl Memory {
    pub fn note_one(&self, key: &str, value: &str) {
        self.note(vec![(key.to_owned(), Some(value.to_owned()))]);
    }

    pub fn value(&self, key: &str) -> Option<String> {
        self.values.lock().unwrap().get(key).cloned()
    }
}

impl UsageStore for Memory {
    fn ready(&self) -> Result<(), String> {
        match self.is_broken.load(SeqCst) {
            true => Err("the disk is gone".to_owned()),
            false => Ok(()),
        }
    }
    fn read(&self, prefix: &str) -> Result<Vec<(String, String)>, String> {
        self.ready()?;
        let values = self.values.lock().unwrap();
        let of = values.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(of.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
    fn keep(&self, values: Values) -> Result<(), String> {
        self.ready()?;
        if self.is_full.load(SeqCst) {
            return Err("the disk is full".to_owned());
        }
        self.note(values);
        Ok(())
    }
    fn note(&self, values: Values) {
        let mut kept = self.values.lock().unwrap();
        for (key, value) in values {
            match value {
                Some(value) => kept.insert(key, value),
                None => kept.remove(&key),
            };
        }
    }
    fn times_lost(&self) -> u64 {
        self.lost.load(SeqCst)
    }
}

/// A host, as far as deep checks go: the instance `a`, wanted each hour, three times a day.
pub struct Bench {
    pub engine: Engine,
    pub deep: DeepChecks,
    pub store: Arc<Memory>,
    pub ears: Arc<Ears>,
    pub fake: Arc<Fake>,
    pub policy: DeepPolicy,
    pub maintenance: bool,
    booted_ms: Arc<AtomicU64>,
}

impl Bench {
    /// With `a` running and up.
    pub async fn start() -> Bench {
        Bench::on(Arc::default(), 1_000_000).await
    }

    /// On this store, so long after the machine was started.
    pub async fn on(store: Arc<Memory>, booted_ms: u64) -> Bench {
        let ears = Arc::new(Ears::default());
        let engine = Engine::start(ears.clone()).unwrap();
        let booted_ms = Arc::new(AtomicU64::new(booted_ms));
        let clock = booted_ms.clone();
        let machine = Machine {
            boot: "this run".to_owned(),
            since_boot: Box::new(move || Duration::from_millis(clock.load(SeqCst))),
        };
        let fake = Arc::new(Fake {
            lanes: Pool::new("t-deep", PoolLimits::default(), Arc::new(Unobserved)),
            says: Mutex::new(said(Health::Up)),
            hangs: AtomicBool::new(false),
            asked: Mutex::default(),
            inside: Arc::default(),
            kept: Mutex::default(),
            store: store.clone(),
        });
        let policy = DeepPolicy {
            every: Duration::from_millis(HOUR_MS),
            per_day: 3,
            ..DeepPolicy::default()
        };
        let deep = DeepChecks::start(engine.clone(), store.clone(), machine);
        let bench = Bench {
            engine,
            deep,
            store,
            ears,
            fake,
            policy,
            maintenance: false,
            booted_ms,
        };
        bench.runs(1);
        until("it is up", || bench.health() == Health::Up).await;
        bench
    }

    pub fn health(&self) -> Health {
        self.engine.view("a").unwrap().judged.health
    }

    /// A generation of `a` runs; none if that is 0.
    pub fn runs(&self, generation: u64) {
        let policy = Arc::new(Policy {
            interval: Duration::from_millis(20),
            recheck: Duration::from_millis(10),
            stale_intervals: 250,
            deep: Some(self.policy),
            ..Policy::default()
        });
        let subject = Subject {
            name: "a".into(),
            policy,
            lifecycle: if generation == 0 {
                Lifecycle::Draining
            } else {
                Lifecycle::Running
            },
            target: (generation > 0).then(|| (self.fake.clone() as _, generation)),
            maintenance: self.maintenance,
            suppressed_by: None,
        };
        self.deep.change(std::slice::from_ref(&subject), []);
        self.engine.change(vec![subject], []);
    }

    /// Time passes for this machine, and whoever waits looks.
    pub fn pass(&self, ms: u64) {
        self.booted_ms.fetch_add(ms, SeqCst);
        self.deep.inner.wake.notify_one();
    }

    pub fn booted_ms(&self) -> u64 {
        self.booted_ms.load(SeqCst)
    }

    pub fn times_asked(&self) -> usize {
        self.fake.asked.lock().unwrap().len()
    }
}

pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = clock::monotonic().after(LONG);
    while !holds() {
        assert!(clock::monotonic() < give_up, "it never came to be that {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
