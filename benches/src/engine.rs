//! The host's probe engine with many instances, and a stopwatch on each of its probes.

use crate::fixture::{self, Silent};
use crate::plugins::Taken;
use extman::probing::{Apart, Engine, EventSink, HealthChange, Subject, Target};
use extman_health::monitor::Calls;
use extman_health::policy::Policy;
use extman_model::clock::{self, Monotonic};
use extman_model::latency::LatencyHistogram;
use extman_model::record::Record;
use extman_model::{CheckKind, CheckOutcome, ErrorKind, Figures, Health, Lifecycle, Report};
use extman_runtime::instance::{Answer, Asked, Instance};
use extman_runtime::lanes::{LaneContext, Pool, PoolLimits};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::runtime::Runtime;

/// An engine without instances, which has this runtime do what takes time.
///
/// # Panics
/// No thread could be started.
pub fn start(runtime: &Runtime) -> Engine {
    let _inside = runtime.enter();
    Engine::start(Arc::new(Deaf)).expect("a thread")
}

/// Has the engine ask these, numbered from 0, all by one policy, as the host does where nothing else is configured.
pub fn subjects(targets: Vec<Arc<dyn Target>>, policy: Policy) -> Vec<Subject> {
    let policy = Arc::new(policy);
    targets
        .into_iter()
        .enumerate()
        .map(move |(number, target)| Subject {
            name: format!("plugin-{number}").into(),
            policy: policy.clone(),
            lifecycle: Lifecycle::Running,
            target: Some((target, 1)),
            maintenance: false,
            suppressed_by: None,
        })
        .collect()
}

/// Ends it.
pub fn end(engine: &Engine) {
    engine.shutdown();
}

/// Asked this often, and never given up on a machine that is busy.
pub fn every(interval: Duration) -> Policy {
    Policy {
        interval,
        recheck: interval,
        timeout: (Duration::from_secs(5), Duration::from_secs(5)),
        stale_intervals: 250,
        ..Policy::default()
    }
}

/// Instances of `bench-plugin`, all of one module.
///
/// # Panics
/// The plugin is refused.
pub async fn instances(taken: &Taken, count: usize) -> Vec<Arc<dyn Target>> {
    let made = fixture::instances(taken, count).await;
    made.into_iter()
        .map(|instance: Instance| Arc::new(instance) as Arc<dyn Target>)
        .collect()
}

/// What fills a report as an instance does, without a library behind it.
pub fn stand_ins(count: usize) -> Vec<Arc<dyn Target>> {
    stand_ins_of(count, 1)
}

/// The same, spread over so many libraries, each of which has lanes of its own.
pub fn stand_ins_of(count: usize, libraries: usize) -> Vec<Arc<dyn Target>> {
    stand_ins_that_take(Duration::ZERO, count, libraries)
}

/// The same, whose checks take so long.
pub fn stand_ins_that_take(takes: Duration, count: usize, libraries: usize) -> Vec<Arc<dyn Target>> {
    let lanes = |_| Pool::new("stand-ins", PoolLimits::default(), Arc::new(Silent));
    let lanes: Vec<Pool> = (0..libraries).map(lanes).collect();
    let stand_in = |number: usize| StandIn {
        lanes: lanes[number % libraries].clone(),
        takes,
        number: number as u64,
    };
    (0..count)
        .map(|number| Arc::new(stand_in(number)) as Arc<dyn Target>)
        .collect()
}

/// A lane that sleeps or waits for a core is away for longer.
const PAUSE: Duration = Duration::from_micros(50);

/// Sums what probes cost that follow on each other without a pause: from the answer of one to the answer of the next.
#[derive(Default)]
pub struct Stopwatch {
    probes: AtomicU64,
    nanos: AtomicU64,
    ended: AtomicU64,
}

impl Stopwatch {
    /// Puts a stopwatch on each.
    pub fn on(self: &Arc<Self>, targets: Vec<Arc<dyn Target>>) -> Vec<Arc<dyn Target>> {
        let watched = |target| Watched {
            target,
            watch: self.clone(),
        };
        targets
            .into_iter()
            .map(|target| Arc::new(watched(target)) as Arc<dyn Target>)
            .collect()
    }

    /// Waits until so many more were asked; the mean of one.
    pub fn mean_of(&self, probes: u64) -> Duration {
        let (before, nanos) = (self.probes.load(Relaxed), self.nanos.load(Relaxed));
        loop {
            // Long enough that whoever doubles the number of probes as long as that is quick stops soon.
            std::thread::sleep(Duration::from_millis(50));
            let more = self.probes.load(Relaxed) - before;
            if more >= probes {
                return Duration::from_nanos((self.nanos.load(Relaxed) - nanos) / more);
            }
        }
    }

    fn note(&self, began: Monotonic, ended: Monotonic) {
        // One lane works at a time, so nothing is lost by not adding atomically. What the engine does between two groups is in it.
        let before = Monotonic::from_nanos(self.ended.load(Relaxed));
        if began.since(before) < PAUSE {
            self.probes.store(self.probes.load(Relaxed) + 1, Relaxed);
            let nanos = ended.since(before).as_nanos() as u64;
            self.nanos.store(self.nanos.load(Relaxed) + nanos, Relaxed);
        }
        self.ended.store(ended.as_nanos(), Relaxed);
    }
}

struct Watched {
    target: Arc<dyn Target>,
    watch: Arc<Stopwatch>,
}

impl Target for Watched {
    fn lanes(&self) -> &Pool {
        self.target.lanes()
    }
    fn wedge_after(&self) -> Duration {
        self.target.wedge_after()
    }
    fn has_check(&self) -> bool {
        self.target.has_check()
    }
    fn warm(&self) {
        self.target.warm();
    }
    fn check_on(&self, lane: &LaneContext<'_>, timeout: Duration, began: Monotonic) -> Option<Asked> {
        let asked = self.target.check_on(lane, timeout, began);
        if let Some(asked) = &asked {
            self.watch.note(began, asked.ended);
        }
        asked
    }
    fn check_apart(self: Arc<Self>, kind: CheckKind, timeout: Duration) -> Apart {
        self.target.clone().check_apart(kind, timeout)
    }
    fn calls(&self) -> Calls {
        self.target.calls()
    }
    fn errors(&self) -> Vec<(ErrorKind, u64)> {
        self.target.errors()
    }
    fn take_latency(&self) -> LatencyHistogram {
        self.target.take_latency()
    }
}

struct StandIn {
    lanes: Pool,
    takes: Duration,
    number: u64,
}

impl StandIn {
    fn figures(&self) -> Figures {
        let report = Report {
            health: Some(Health::Up),
            heap_bytes: Some(self.number),
            queue_depth: Some(0),
            in_flight: Some(0),
            ..Report::default()
        };
        Figures::of(&report).unwrap_or_default()
    }
}

impl Target for StandIn {
    fn lanes(&self) -> &Pool {
        &self.lanes
    }
    fn wedge_after(&self) -> Duration {
        Duration::from_secs(30)
    }
    fn has_check(&self) -> bool {
        true
    }
    fn warm(&self) {
        std::hint::black_box(self.number);
    }
    fn check_on(&self, lane: &LaneContext<'_>, timeout: Duration, began: Monotonic) -> Option<Asked> {
        let lost_at = began.after(timeout).after(timeout);
        let figures = lane.run(began, lost_at, |_| {
            if !self.takes.is_zero() {
                std::thread::sleep(self.takes);
            }
            self.figures()
        })?;
        Some(Asked {
            answer: Answer::Figures(Some(figures)),
            ended: clock::monotonic(),
        })
    }
    fn check_apart(self: Arc<Self>, _: CheckKind, _: Duration) -> Apart {
        let report = Some(self.figures().report());
        Box::pin(async move { (CheckOutcome::Answered { report }, Some(Duration::from_nanos(100))) })
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

/// Hears everything and keeps nothing.
struct Deaf;

impl EventSink for Deaf {
    fn changed(&self, _: HealthChange) {}
    fn panicked(&self, _: &str, _: u64, _: String) {}
    fn stalled(&self, _: Duration) {}
    fn record(&self, _: &mut Vec<Record>) {}
    fn keeps_results(&self) -> bool {
        true
    }
}
