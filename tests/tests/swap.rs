//! Updates back and forth between two versions of a plugin that is called two thousand times a second, in one process: no call fails, none is
//! answered by the version that does not serve, each old generation is unmapped, and memory is flat.
//!
//! The client is bounded ([`CALLERS`] at once) and has a schedule: a call is due every half a millisecond, and what the callers are behind with is
//! made up for. An update begins only once they are up to date. They call the host as a library, since a client by HTTP and the host together
//! do not come to two thousand calls a second on two cores without optimisation.
//!
//! Each plugin is updated in both ways: judged, and at once. Of the judged ones most are promoted in their probation, which would take
//! seconds each: so long it takes to tell whether a heap grows.
//!
//! `EXTMAN_SWAPS` sets how many updates there are in each way; by default 12.

use extman::config::Config;
use extman::control::Invocation;
use extman::{Host, InstanceConfig};
use extman_model::{
    Event, PluginView, ProbeSettings, RequestExtras, RolloutCommand, RolloutPhase, UpdatePolicy, UpdateTo,
    What,
};
use extman_tests::{build, until_async};
use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::Receiver;
use tokio::task::JoinHandle;

const SWAPS_DEFAULT: u32 = 12;
const CALLS_PER_SECOND: u64 = 2_000;
const CALLERS: u64 = 16;
/// So many calls are answered by each version before the next update, at least.
const ANSWERS_MIN: u64 = 40;
/// Of so many judged updates one is left to the judge until its end.
const SETTLED_BY_JUDGE: u32 = 20;
/// So many calls may be due and not begun where the callers count as up to date: the least time for which a task sleeps is a millisecond.
const BEHIND_MAX: u64 = 2 * CALLERS;
/// All of the updates after the warm-up may not leave more, of 200. The language detector leaves 12 KiB with each of its generations: tables in
/// statics of `whatlang`, which nobody frees.
const GROWTH_BYTES_MAX: u64 = 4 << 20;

fn swaps() -> u32 {
    let asked = std::env::var("EXTMAN_SWAPS").ok();
    asked.map_or(SWAPS_DEFAULT, |n| n.parse().expect("a number of updates"))
}

/// A plugin, and how another version is made of its library.
struct Subject {
    package: &'static str,
    capability: &'static str,
    input: &'static str,
    /// What stands in the answer of 1.0.0 and in the library, and what 1.1.0 has in its place.
    answers: [&'static str; 2],
}

const LANG_DETECT: Subject = Subject {
    package: "lang-detect",
    capability: "text.detect-language",
    input: "{\"text\": \"Bonjour tout le monde\"}",
    answers: ["Latin", "LATIN"],
};
const REACTOR: Subject = Subject {
    package: "reactor",
    capability: "reactor.version",
    input: "{}",
    answers: ["by\": \"1.0.0", "by\": \"1.1.0"],
};
const VERSIONS: [&str; 2] = ["1.0.0", "1.1.0"];

impl Subject {
    /// Puts both versions into this folder.
    fn put(&self, folder: &Path) {
        let bytes = std::fs::read(build::plugin(self.package)).expect("the library is read");
        std::fs::write(folder.join("first.so"), &bytes).expect("the library is written");
        let versions = VERSIONS.map(|version| format!("version = \"{version}\""));
        let bytes = replaced(bytes, [&versions[0], &versions[1]]);
        let bytes = replaced(bytes, self.answers);
        std::fs::write(folder.join("second.so"), bytes).expect("the library is written");
    }
}

/// The bytes with each `old` replaced by a `new` of the same length.
fn replaced(mut bytes: Vec<u8>, [old, new]: [&str; 2]) -> Vec<u8> {
    let (old, new) = (old.as_bytes(), new.as_bytes());
    let found: Vec<usize> = (0..=bytes.len() - old.len())
        .filter(|at| bytes[*at..].starts_with(old))
        .collect();
    assert!(
        !found.is_empty(),
        "{:?} is in the library",
        String::from_utf8_lossy(old)
    );
    for at in found {
        bytes[at..at + old.len()].copy_from_slice(new);
    }
    bytes
}

/// What the callers know and count.
struct Load {
    subject: &'static Subject,
    began: Instant,
    /// Calls that were begun.
    begun: AtomicU64,
    ends: AtomicBool,
    /// How often that has changed, and which version has to answer; none in particular while an update is under way.
    serving: Mutex<(u64, Option<usize>)>,
    answered: [AtomicU64; 2],
    failed: Mutex<Vec<String>>,
    wrong: AtomicU64,
}

impl Load {
    fn due(&self) -> u64 {
        (self.began.elapsed().as_micros() * u128::from(CALLS_PER_SECOND) / 1_000_000) as u64
    }

    fn serving(&self) -> (u64, Option<usize>) {
        *self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on this version has to answer what is begun; none in particular while an update is under way.
    fn serves(&self, version: Option<usize>) {
        let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        *serving = (serving.0 + 1, version);
    }

    async fn call_on_schedule(self: Arc<Self>, host: Host) {
        while !self.ends.load(SeqCst) {
            let due = Duration::from_micros(self.begun.fetch_add(1, SeqCst) * 1_000_000 / CALLS_PER_SECOND);
            tokio::time::sleep_until((self.began + due).into()).await;
            let before = self.serving();
            let answered = ask(&host, self.subject).await;
            let by = answered.and_then(|answer| {
                let by = self.subject.answers.iter().position(|one| answer.contains(one));
                by.ok_or(answer)
            });
            match by {
                Ok(by) => {
                    self.answered[by].fetch_add(1, SeqCst);
                    let is_wrong = before.1.is_some_and(|version| version != by);
                    // What an update began meanwhile has done is no fault.
                    if is_wrong && before == self.serving() {
                        self.wrong.fetch_add(1, SeqCst);
                    }
                }
                Err(text) => self
                    .failed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(text),
            }
        }
    }
}

async fn ask(host: &Host, subject: &Subject) -> Result<String, String> {
    let invocation = Invocation {
        capability: subject.capability.to_owned(),
        instance: None,
        content_type: "application/json".to_owned(),
        body: subject.input.as_bytes().to_vec(),
        timeout: None,
        extras: RequestExtras::NONE,
    };
    let invoked = host.invoke_raw(invocation).await;
    let invoked = invoked.map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&invoked.reply.body).into_owned())
}

/// A host whose plugin is called on schedule.
struct Swapping {
    host: Host,
    events: Receiver<Event>,
    load: Arc<Load>,
    callers: Vec<JoinHandle<()>>,
    unmapped: HashSet<u64>,
}

fn config(folder: &Path, subject: &Subject, judged: bool) -> Config {
    let mut config = Config::default();
    config.intake.discovery.dirs = vec![folder.join("plugins")];
    config.intake.store.dir = folder.join("store");
    (config.state.dir, config.history.enabled, config.vetting.enabled) = (None, false, false);
    let rollout = &mut config.rollout;
    (rollout.enabled, rollout.canary_percent) = (judged, vec![25]);
    (rollout.step_ms, rollout.probation_ms) = (50, 50);
    // How much evidence there has to be is not the subject, and how long calls take on a machine with this load is none.
    let judge = &mut rollout.judge;
    (judge.calls_min, judge.panics_max, judge.errors_max) = (20, 10, 0.3);
    (judge.latency_min, judge.latency_max, judge.latency_trifle_us) = (10.0, 10.0, 1_000_000);
    let probe = ProbeSettings {
        interval_ms: Some(50),
        timeout_ms: Some(5_000),
        ..ProbeSettings::default()
    };
    config.instances = vec![InstanceConfig {
        probe,
        update: UpdatePolicy::Manual,
        ..InstanceConfig::default_for(subject.package)
    }];
    config
}

impl Swapping {
    async fn begin(folder: &Path, subject: &'static Subject, judged: bool) -> Self {
        std::fs::create_dir(folder.join("plugins")).expect("a folder for plugins");
        subject.put(&folder.join("plugins"));
        let builder = Host::builder().config(config(folder, subject, judged));
        let (host, events) = builder.build_and_listen().await.expect("a host");
        host.wait_ready().await;
        let load = Arc::new(Load {
            subject,
            began: Instant::now(),
            begun: AtomicU64::default(),
            ends: AtomicBool::default(),
            serving: Mutex::default(),
            answered: Default::default(),
            failed: Mutex::default(),
            wrong: AtomicU64::default(),
        });
        let caller = |_| tokio::spawn(load.clone().call_on_schedule(host.clone()));
        let callers = (0..CALLERS).map(caller).collect();
        let swapping = Swapping {
            host,
            events,
            load,
            callers,
            unmapped: HashSet::new(),
        };
        swapping.load.serves(Some(swapping.version()));
        swapping
    }

    fn view(&self) -> PluginView {
        self.host.plugin(self.load.subject.package).expect("it is known")
    }

    /// Which of both versions serves.
    fn version(&self) -> usize {
        let version = self.view().version.to_string();
        let known = VERSIONS.iter().position(|known| *known == version);
        known.unwrap_or_else(|| panic!("{version} is none of both"))
    }

    fn hear(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            match event.what {
                What::Unloaded {
                    generation, verdict, ..
                } => {
                    assert!(verdict.is_unmapped(), "generation {generation}: {verdict}");
                    self.unmapped.insert(generation);
                }
                What::TakenBack { why, .. } => panic!("it is taken back: {why}"),
                _ => {}
            }
        }
    }

    /// One update to the other version, under the whole load, until the old one is unmapped.
    async fn swap(&mut self, promoted: bool) {
        let old = self.view().generation.expect("it serves");
        let to = 1 - self.version();
        until_async("the callers are up to date", || {
            self.load.due() <= self.load.begun.load(SeqCst) + BEHIND_MAX
        })
        .await;
        self.load.serves(None);
        let version = VERSIONS[to].parse().expect("a version");
        let name = self.load.subject.package;
        let update = self.host.update(name, UpdateTo::Version(version)).await;
        update.unwrap_or_else(|error| panic!("{error}"));
        until_async("the new version serves all calls", || {
            let view = self.view();
            let is_switched = |phase| matches!(phase, RolloutPhase::Probation | RolloutPhase::Retiring);
            let is_switched = view.rollout.is_none_or(|rollout| is_switched(rollout.phase));
            is_switched && view.version.to_string() == VERSIONS[to]
        })
        .await;
        self.load.serves(Some(to));
        let answered = || self.load.answered[to].load(SeqCst);
        let before = answered();
        until_async("the new version has answered some", || {
            answered() >= before + ANSWERS_MIN
        })
        .await;
        if promoted {
            let promoted = self.host.rollout(name, RolloutCommand::Promote).await;
            // Where the judge was faster, it is retiring already.
            let phase = self.view().rollout.map(|rollout| rollout.phase);
            assert!(
                promoted.is_ok() || phase != Some(RolloutPhase::Probation),
                "{promoted:?}"
            );
        }
        until_async("the old version is unmapped", || {
            self.hear();
            self.unmapped.contains(&old) && self.view().rollout.is_none()
        })
        .await;
        until_async("one library is mapped", || mapped().len() == 1).await;
    }
}

/// The inodes of sealed copies that are mapped with their code (proc_pid_maps(5)).
fn mapped() -> HashSet<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the maps are read");
    let code = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (permissions, inode, file) = (fields.nth(1)?, fields.nth(2)?, fields.next()?);
        (permissions.contains('x') && file.starts_with("/memfd:extman-")).then(|| inode.to_owned())
    };
    maps.lines().filter_map(code).collect()
}

/// Resident memory of this process (proc_pid_status(5)).
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status is read");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.expect("the kernel tells the resident size") * 1024
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .expect("the descriptors are read")
        .count()
}

/// Tests of one process, whose memory is looked at: one after the other.
fn alone() -> impl Drop {
    static ONE: OnceLock<Mutex<()>> = OnceLock::new();
    let one = ONE.get_or_init(Mutex::default);
    one.lock().unwrap_or_else(PoisonError::into_inner)
}

fn swapped(subject: &'static Subject, judged: bool) {
    let _alone = alone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime
        .expect("a runtime")
        .block_on(swap_under_load(subject, judged));
}

async fn swap_under_load(subject: &'static Subject, judged: bool) {
    let swaps = swaps();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut swapping = Swapping::begin(folder.path(), subject, judged).await;
    let (mut resident, open) = (Vec::new(), descriptors());
    for swap in 0..swaps {
        swapping.swap(judged && swap % SETTLED_BY_JUDGE != 0).await;
        resident.push(resident_bytes());
        // A copy in sealed memory is in nobody's resident size: it goes when its descriptor does.
        until_async("as few descriptors are open as before", || descriptors() <= open).await;
    }
    let Swapping {
        host,
        load,
        callers,
        unmapped,
        ..
    } = swapping;
    let took = load.began.elapsed();
    load.ends.store(true, SeqCst);
    for caller in callers {
        caller.await.expect("it ends");
    }
    for (name, verdict) in host.shutdown().await {
        assert!(verdict.is_unmapped(), "{name}: {verdict}");
    }
    // Whatever is taken once has been taken after a quarter of the updates.
    let (warm_up, later) = resident.split_at(resident.len() / 4);
    let most = |bytes: &[u64]| bytes.iter().copied().max().expect("there were updates");
    let growth = most(later).saturating_sub(most(warm_up));
    let answered = load.answered.each_ref().map(|count| count.load(SeqCst));
    println!(
        "{}, {}: {swaps} updates in {:.1} s, {answered:?} calls, {growth} bytes of growth after {} updates, {} in the end",
        subject.package,
        if judged { "judged" } else { "at once" },
        took.as_secs_f64(),
        warm_up.len(),
        resident[resident.len() - 1]
    );
    let failed = load.failed.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(
        failed.is_empty(),
        "{} calls failed: {:?}",
        failed.len(),
        failed.first()
    );
    assert_eq!(
        load.wrong.load(SeqCst),
        0,
        "calls were answered by the version that does not serve"
    );
    assert_eq!(unmapped.len() as u32, swaps);
    assert_eq!(mapped(), HashSet::new());
    assert!(
        growth < GROWTH_BYTES_MAX,
        "{growth} bytes of growth: {resident:?}"
    );
}

#[test]
fn language_detector_that_is_judged() {
    swapped(&LANG_DETECT, true);
}

#[test]
fn language_detector_that_is_replaced_at_once() {
    swapped(&LANG_DETECT, false);
}

#[test]
fn plugin_with_tokio_that_is_judged() {
    swapped(&REACTOR, true);
}

#[test]
fn plugin_with_tokio_that_is_replaced_at_once() {
    swapped(&REACTOR, false);
}
