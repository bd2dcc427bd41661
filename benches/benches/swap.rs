//! What an update costs those who call meanwhile: two thousand calls a second, in stretches in which one version serves and in stretches in which two
//! versions take each other's place; and how soon a version that is worse gets no call any more.

use extman::config::Config;
use extman::control::Invocation;
use extman::{Host, InstanceConfig};
use extman_benches::figures::{Asked, Figure};
use extman_benches::{fixture, plugins};
use extman_model::{RequestExtras, RolloutCommand, RolloutPhase, UpdatePolicy, UpdateTo, What};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinHandle;

const GROUP: &str = "2,000 calls a second, updates back and forth";
const ID: &str = "bench-plugin";
const CALLS_PER_SECOND: u64 = 2_000;
const CALLERS: usize = 8;
/// Stretches of each kind, by turns.
const STRETCHES: usize = 10;
/// Updates in a stretch.
const SWAPS: usize = 10;
/// How often a version is taken back.
const TAKEN_BACK: usize = 50;
const LIMIT: Duration = Duration::from_secs(60);

fn main() {
    let asked = Asked::from_args();
    let library = plugins::build(ID);
    let mut swapped = None;
    let mut swapped = |asked: &Asked, through: usize| {
        let both = swapped.get_or_insert_with(|| fixture::runtime_of_two().block_on(swaps(asked, &library)));
        std::mem::take(&mut both[through])
    };
    asked.row(GROUP, "while one version serves", |asked| swapped(asked, 0));
    asked.row(GROUP, "while versions are swapped", |asked| swapped(asked, 1));
    asked.row(GROUP, "a version whose calls fail", |asked| {
        fixture::runtime_of_two().block_on(taken_back(asked, &library))
    });
}

/// A call that has ended, and how.
struct Call {
    began: Instant,
    ended: Instant,
    failed: bool,
}

/// A host with several versions of a plugin, and callers on schedule.
struct Called {
    host: Host,
    calls: Arc<Calls>,
    callers: Vec<JoinHandle<()>>,
    _folder: TempDir,
}

struct Calls {
    began: Instant,
    begun: AtomicU64,
    ends: AtomicBool,
    ended: Mutex<Vec<Call>>,
}

impl Calls {
    async fn on_schedule(self: Arc<Self>, host: Host) {
        while !self.ends.load(Relaxed) {
            let due = Duration::from_micros(self.begun.fetch_add(1, Relaxed) * 1_000_000 / CALLS_PER_SECOND);
            tokio::time::sleep_until((self.began + due).into()).await;
            let began = Instant::now();
            let answer = host.invoke_raw(invocation()).await;
            let call = Call {
                began,
                ended: Instant::now(),
                failed: answer.is_err(),
            };
            self.ended
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(call);
        }
    }

    fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn invocation() -> Invocation {
    Invocation {
        capability: "bench.stamp".to_owned(),
        instance: None,
        content_type: "application/json".to_owned(),
        body: b"{}".to_vec(),
        timeout: None,
        extras: RequestExtras::NONE,
    }
}

/// Puts a version there, made of the library by its bytes.
fn put(library: &Path, folder: &Path, version: &str, state: &str) {
    let mut bytes = std::fs::read(library).expect("the library is read");
    let changes = [
        (
            "version = \"1.0.0\"".to_owned(),
            format!("version = \"{version}\""),
        ),
        ("by 1.0.0 well".to_owned(), format!("by {version} {state}")),
    ];
    for (old, new) in changes {
        for at in 0..=bytes.len() - old.len() {
            if bytes[at..].starts_with(old.as_bytes()) {
                bytes[at..at + old.len()].copy_from_slice(new.as_bytes());
            }
        }
    }
    std::fs::write(folder.join(format!("lib{version}.so")), bytes).expect("the library is written");
}

impl Called {
    async fn begin(library: &Path, second: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("plugins")).expect("a folder for plugins");
        put(library, &at("plugins"), "1.0.0", "well");
        let mut config = Config::default();
        (config.history.enabled, config.vetting.enabled) = (false, false);
        config.state.dir = Some(at("state"));
        config.intake.discovery.dirs = vec![at("plugins")];
        config.intake.discovery.settle_ms = 10;
        config.intake.store.dir = at("store");
        config.intake.trust.allow_world_writable = true;
        // A judge who is content with the calls of a moment: how long steps last is not the subject.
        let rollout = &mut config.rollout;
        (rollout.canary_percent, rollout.step_ms, rollout.probation_ms) = (vec![25], 50, 50);
        let judge = &mut rollout.judge;
        (judge.calls_min, judge.errors_max, judge.latency_trifle_us) = (20, 0.3, 1_000_000);
        (judge.latency_min, judge.latency_max) = (10.0, 10.0);
        config.instances = vec![InstanceConfig {
            update: UpdatePolicy::Manual,
            ..InstanceConfig::default_for(ID)
        }];
        let host = Host::builder().config(config).build().await.expect("a host");
        host.wait_ready().await;
        put(library, &at("plugins"), "1.1.0", second);
        let mut events = host.events();
        host.look_now();
        let is_there = async {
            while !matches!(events.recv().await, Ok(event) if matches!(event.what, What::UpdateAvailable { .. }))
            {
            }
        };
        tokio::time::timeout(LIMIT, is_there)
            .await
            .expect("the other version is seen");
        let calls = Arc::new(Calls {
            began: Instant::now(),
            begun: AtomicU64::default(),
            ends: AtomicBool::default(),
            ended: Mutex::default(),
        });
        let caller = |_| tokio::spawn(calls.clone().on_schedule(host.clone()));
        Called {
            callers: (0..CALLERS).map(caller).collect(),
            host,
            calls,
            _folder: folder,
        }
    }

    async fn update(&self, version: &str) {
        let to = UpdateTo::Version(version.parse().expect("a version"));
        self.host.update(ID, to).await.expect("it has started");
    }

    /// Until the update is over, or where this is.
    async fn until(&self, what: &str, is_there: impl Fn(Option<RolloutPhase>) -> bool) {
        let give_up = Instant::now() + LIMIT;
        loop {
            let view = self.host.plugin(ID).expect("it is known");
            if is_there(view.rollout.map(|rollout| rollout.phase)) {
                return;
            }
            assert!(Instant::now() < give_up, "not within {LIMIT:?}: {what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn swap(&self, version: &str) {
        self.update(version).await;
        let serves = |phase| matches!(phase, None | Some(RolloutPhase::Probation));
        self.until("it serves all calls", serves).await;
        self.host
            .rollout(ID, RolloutCommand::Promote)
            .await
            .expect("it is promoted");
        self.until("the other one is unloaded", |phase| phase.is_none())
            .await;
        let view = self.host.plugin(ID).expect("it is known");
        assert_eq!(view.version.to_string(), version);
    }

    async fn end(self) {
        self.calls.ends.store(true, Relaxed);
        for caller in self.callers {
            caller.await.expect("it ends");
        }
        for (name, verdict) in self.host.shutdown().await {
            assert!(verdict.is_unmapped(), "{name}: {verdict}");
        }
    }
}

/// The same calls in both kinds of stretches.
async fn swaps(asked: &Asked, library: &Path) -> [Vec<Figure>; 2] {
    let called = Called::begin(library, "well").await;
    let stretches = if asked.measures() { STRETCHES } else { 1 };
    let (mut without, mut through) = (Vec::new(), Vec::new());
    let (mut during, mut after) = (0, 0);
    // What is taken once is taken.
    called.swap("1.1.0").await;
    called.swap("1.0.0").await;
    let before = resident_bytes();
    for _ in 0..stretches {
        called.calls.take();
        let began = Instant::now();
        for _ in 0..SWAPS / 2 {
            called.swap("1.1.0").await;
            during = during.max(resident_bytes());
            called.swap("1.0.0").await;
        }
        let lasted = began.elapsed();
        through.extend(called.calls.take());
        after = resident_bytes();
        tokio::time::sleep(lasted).await;
        without.extend(called.calls.take());
    }
    called.end().await;
    let bytes = |now: u64| now.saturating_sub(before) as f64;
    let swaps = (stretches * SWAPS) as f64;
    let mut swapped = figures(&through);
    swapped.extend([
        ("updates", swaps),
        ("more resident bytes during", bytes(during)),
        ("more resident bytes after", bytes(after)),
    ]);
    [figures(&without), swapped]
}

fn figures(calls: &[Call]) -> Vec<Figure> {
    let lasted = calls
        .iter()
        .map(|call| (call.ended - call.began).as_secs_f64() * 1e6);
    let lasted = sorted(lasted);
    let failed = calls.iter().filter(|call| call.failed).count();
    vec![
        ("µs a call, p50", quantile(&lasted, 0.5)),
        ("µs a call, p99", quantile(&lasted, 0.99)),
        ("µs a call, max", quantile(&lasted, 1.0)),
        ("calls", lasted.len() as f64),
        ("calls failed", failed as f64),
    ]
}

/// A version whose calls fail gets its share of them until the judge has seen enough, again and again. Only its calls fail, so that the last one that fails
/// is the last one that it got.
async fn taken_back(asked: &Asked, library: &Path) -> Vec<Figure> {
    let called = Called::begin(library, "ill.").await;
    let mut events = called.host.events();
    let (mut to_verdict, mut to_last) = (Vec::new(), Vec::new());
    for _ in 0..if asked.measures() { TAKEN_BACK } else { 1 } {
        called.calls.take();
        called.update("1.1.0").await;
        let verdict = async {
            loop {
                let event = events.recv().await.expect("events are heard");
                let retires = |phase: RolloutPhase| phase == RolloutPhase::Retiring;
                if matches!(event.what, What::RolloutMoved { phase, .. } if retires(phase)) {
                    return Instant::now();
                }
            }
        };
        let verdict = tokio::time::timeout(LIMIT, verdict).await.expect("a verdict");
        called.until("it is unloaded", |phase| phase.is_none()).await;
        let calls = called.calls.take();
        let failed: Vec<&Call> = calls.iter().filter(|call| call.failed).collect();
        let first = failed
            .iter()
            .map(|call| call.ended)
            .min()
            .expect("some have failed");
        let last = failed
            .iter()
            .map(|call| call.ended)
            .max()
            .expect("some have failed");
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        to_verdict.push(ms(verdict.saturating_duration_since(first)));
        to_last.push(ms(last.saturating_duration_since(verdict)));
    }
    called.end().await;
    let (to_verdict, to_last) = (sorted(to_verdict.into_iter()), sorted(to_last.into_iter()));
    vec![
        (
            "ms from its first failed call to the verdict, p50",
            quantile(&to_verdict, 0.5),
        ),
        ("ms from verdict to its last call, p50", quantile(&to_last, 0.5)),
        ("ms from verdict to its last call, p99", quantile(&to_last, 0.99)),
        ("ms from verdict to its last call, max", quantile(&to_last, 1.0)),
        ("times taken back", to_last.len() as f64),
    ]
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Of values in order, by the nearest rank.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Resident memory of this process (proc_pid_status(5)).
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.expect("the kernel tells the resident size") * 1024
}
