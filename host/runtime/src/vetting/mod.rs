//! A library's first load happens in a throwaway process: what crashes or hangs there never reaches this one.
//!
//! ```text
//! Vetting (host) ── starts ──► guard: runs no plugin code, measures memory, ends whatever descends from
//!        ▲                       │      the worker, says how it ended
//!        │ lines                 ▼
//!        └──────────────────── worker: loads the sealed bytes and says what gets done, step by step
//! ```
//!
//! Results are kept by `VettingKey`: what passed is not vetted again, what was refused for what its bytes do is not tried again until
//! the refusal expires or is released by hand. Of one key one vetting is under way at a time; whoever comes meanwhile has its result.
//! Only this module makes a [`VettedPlugin`], which is what the in-process loader takes.

mod cache;
mod child;
mod guard;
mod key;
mod memory;
mod protocol;
pub mod worker;

use super::crash::{Crashes, Standing};
use super::loader::{SealError, SealedImage};
use super::sync::lock;
use crate::supervisor::ResolvedConfig;
use cache::VettingCache;
use child::Limits;
use extman_intake::{Sdk, VerifiedPlugin};
use extman_model::{Digest, MemoryBound, VettingDepth, VettingPhase, VettingReport};
use key::{Trial, VettingKey};
use protocol::Order;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::sync::{OnceCell, Semaphore, watch};

/// A verified plugin that may be loaded into this process.
#[derive(Debug, Clone)]
pub struct VettedPlugin(VerifiedPlugin);

impl VettedPlugin {
    /// The plugin.
    pub fn verified(&self) -> &VerifiedPlugin {
        &self.0
    }
}

/// `[vetting]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VettingConfig {
    /// Whether plugins are vetted before they are loaded. Default: true.
    pub enabled: bool,
    /// How far: `open`, `create` or `probe`. A plugin that requires configuration which is not given is only opened.
    pub depth: VettingDepth,
    /// Milliseconds for all of it. A plugin whose manifest or instance asks for a longer start-up has that. Default: 60000.
    pub timeout_ms: u64,
    /// Bytes of memory that the plugin's processes may have in use; address space that is only reserved, and files that are only
    /// mapped, don't count. Bounded by a control group where the host was given one to divide. Default: 8 GiB.
    pub memory_bytes_max: u64,
    /// Seconds after which a refusal is forgotten. Default: one day.
    pub refusal_expires_s: u64,
    /// The worker program. Default: `extman-worker` beside the running program.
    pub worker: Option<PathBuf>,
}

impl Default for VettingConfig {
    fn default() -> Self {
        VettingConfig {
            enabled: true,
            depth: VettingDepth::Probe,
            timeout_ms: 60_000,
            memory_bytes_max: 8 << 30,
            refusal_expires_s: 24 * 60 * 60,
            worker: None,
        }
    }
}

/// Why a plugin was not vetted, or not passed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VettingError {
    /// It was tried and refused, now or before.
    #[error("{}{}", .report.refusal.as_ref().map_or_else(String::new, ToString::to_string), seen_before(*.remembered))]
    Refused {
        /// What was seen.
        report: Box<VettingReport>,
        /// Whether that was in an earlier try.
        remembered: bool,
    },
    /// Hosts crashed in its code.
    #[error("{0}")]
    Crashed(String),
    /// There is no worker program.
    #[error(
        "there is no worker program at {path}, so the plugin can't be vetted: put extman-worker there, name one by \
         vetting.worker, or switch vetting off (vetting.enabled = false) and take the risk",
        path = .0.display()
    )]
    NoWorker(PathBuf),
    /// The bytes could not be sealed.
    #[error(transparent)]
    Seal(Arc<SealError>),
    /// Starting or talking to the worker failed. Says nothing of the plugin.
    #[error("the vetting worker failed: {0}{more}", more = crate::process_guard::remedy(.0))]
    Worker(Arc<std::io::Error>),
    /// The host ends.
    #[error("the host is ending, so the plugin's vetting was broken off")]
    HostEnds,
}

impl From<SealError> for VettingError {
    fn from(error: SealError) -> Self {
        VettingError::Seal(Arc::new(error))
    }
}

impl From<std::io::Error> for VettingError {
    fn from(error: std::io::Error) -> Self {
        VettingError::Worker(Arc::new(error))
    }
}

fn seen_before(remembered: bool) -> &'static str {
    if remembered {
        " (seen in an earlier try; `extman load` or `extman vet --forget FILE` has it tried again)"
    } else {
        ""
    }
}

/// What a plugin is tried with.
#[derive(Clone, Copy)]
pub struct TrialConfig<'a> {
    /// The configuration that an instance would get, as JSON.
    pub config: &'a str,
    /// The start-up time that an instance would get, where one is given.
    pub startup: Option<Duration>,
    /// The same with the secrets in it, which are redacted in what was seen.
    pub secrets: Option<&'a ResolvedConfig>,
}

impl<'a> From<&'a str> for TrialConfig<'a> {
    fn from(config: &'a str) -> Self {
        TrialConfig {
            config,
            startup: None,
            secrets: None,
        }
    }
}

/// Vets plugins.
#[derive(Debug)]
pub struct Vetting {
    config: VettingConfig,
    cache: VettingCache,
    in_flight: Mutex<HashMap<VettingKey, Arc<InFlight>>>,
    at_once: Semaphore,
    host_ends: watch::Sender<bool>,
    crashes: Arc<Crashes>,
}

/// One vetting, and all who wait for it.
#[derive(Debug)]
struct InFlight {
    result: OnceCell<Result<VettingReport, VettingError>>,
    phase: watch::Sender<VettingPhase>,
}

impl Vetting {
    /// With results kept in the directory `cache`. As many are under way at a time as there are processors.
    pub fn new(config: VettingConfig, cache: impl Into<PathBuf>) -> Self {
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        Vetting {
            config,
            cache: VettingCache::new(cache.into()),
            in_flight: Mutex::default(),
            at_once: Semaphore::new(at_once),
            host_ends: watch::Sender::new(false),
            crashes: Arc::new(Crashes::none()),
        }
    }

    /// Refuses, or vets anew, libraries in whose code hosts crashed.
    pub fn with_crashes(mut self, crashes: Arc<Crashes>) -> Self {
        self.crashes = crashes;
        self
    }

    /// Lets a plugin pass, or says why not.
    ///
    /// # Errors
    /// It was refused, or could not be tried.
    pub async fn vet(
        &self,
        plugin: VerifiedPlugin,
        trial: impl Into<TrialConfig<'_>>,
        now: SystemTime,
    ) -> Result<VettedPlugin, VettingError> {
        match self.crashes.standing(plugin.digest()) {
            Standing::Quarantined(why) => return Err(VettingError::Crashed(why)),
            // Whatever was seen before, and at the deepest depth that its configuration allows.
            Standing::ToBeVetted => {
                let report = self.try_now(&plugin, trial.into(), VettingDepth::Probe).await?;
                let vetted = passed(plugin, report, false)?;
                self.crashes.passed(vetted.verified().digest());
                return Ok(vetted);
            }
            Standing::Clear => {}
        }
        if !self.config.enabled {
            return Ok(VettedPlugin(plugin));
        }
        let worker = self.worker()?;
        let trial = self.trial(&plugin, trial.into(), &worker, self.config.depth);
        let key = VettingKey::of(&trial, &self.config);
        let (report, remembered) = match self.remembered(&key, now) {
            Some(report) => (report, true),
            None => (self.once(&key, &trial, now).await?, false),
        };
        passed(plugin, report, remembered)
    }

    /// Tries a plugin in throwaway processes, whatever was seen before, and keeps nothing.
    ///
    /// # Errors
    /// It could not be tried.
    pub async fn try_out(
        &self,
        plugin: &VerifiedPlugin,
        trial: impl Into<TrialConfig<'_>>,
    ) -> Result<VettingReport, VettingError> {
        self.try_now(plugin, trial.into(), self.config.depth).await
    }

    async fn try_now(
        &self,
        plugin: &VerifiedPlugin,
        trial: TrialConfig<'_>,
        depth: VettingDepth,
    ) -> Result<VettingReport, VettingError> {
        let worker = self.worker()?;
        let trial = self.trial(plugin, trial, &worker, depth);
        self.run(&trial, &watch::Sender::new(VettingPhase::Worker)).await
    }

    /// The step in which a plugin's vetting is, if one is under way.
    pub fn phase(&self, digest: Digest) -> Option<VettingPhase> {
        let in_flight = lock(&self.in_flight);
        let of = in_flight.iter().find(|(key, _)| key.digest() == digest);
        of.map(|(_, vetting)| *vetting.phase.borrow())
    }

    /// Breaks off what is under way, and lets nothing begin any more.
    pub fn end(&self) {
        self.host_ends.send_replace(true);
    }

    /// What an operator should know: that nothing new can be vetted, though what was seen before still counts.
    pub fn warning(&self) -> Option<String> {
        let error = self.worker().err().filter(|_| self.config.enabled)?;
        Some(format!(
            "{error}. Until then no plugin is started: what was vetted was so by that program"
        ))
    }

    /// By what the memory of plugins is bounded while they are vetted; `None` if none is vetted.
    pub fn memory_bound(&self) -> Option<MemoryBound> {
        self.config.enabled.then(memory::memory_bound)
    }

    /// Forgets what was seen of a plugin. `false` if there was nothing.
    pub fn release(&self, digest: Digest) -> bool {
        self.cache.release(digest, false)
    }

    /// Forgets that a plugin was refused, or that hosts crashed in its code; that it passed is kept. `false` if there was neither.
    pub fn release_refusal(&self, digest: Digest) -> bool {
        let (refused, crashed) = (self.cache.release(digest, true), self.crashes.release(digest));
        refused || crashed
    }

    fn remembered(&self, key: &VettingKey, now: SystemTime) -> Option<VettingReport> {
        let expires = Duration::from_secs(self.config.refusal_expires_s);
        self.cache.look_up(key, now, expires)
    }

    /// The one vetting of a key that is under way, begun here if there is none.
    async fn once(
        &self,
        key: &VettingKey,
        trial: &Trial<'_>,
        now: SystemTime,
    ) -> Result<VettingReport, VettingError> {
        let in_flight = {
            let mut all = lock(&self.in_flight);
            let begin = || {
                Arc::new(InFlight {
                    result: OnceCell::new(),
                    phase: watch::Sender::new(VettingPhase::Worker),
                })
            };
            all.entry(key.clone()).or_insert_with(begin).clone()
        };
        // If whoever vets is dropped, the next one who waits begins anew.
        let result = in_flight
            .result
            .get_or_init(|| self.vet_now(key, trial, now, &in_flight.phase));
        let result = result.await.clone();
        let mut all = lock(&self.in_flight);
        if all.get(key).is_some_and(|known| Arc::ptr_eq(known, &in_flight)) {
            all.remove(key);
        }
        result
    }

    async fn vet_now(
        &self,
        key: &VettingKey,
        trial: &Trial<'_>,
        now: SystemTime,
        phase: &watch::Sender<VettingPhase>,
    ) -> Result<VettingReport, VettingError> {
        // Another one may have ended between the look-up before and this one's beginning.
        if let Some(report) = self.remembered(key, now) {
            return Ok(report);
        }
        let report = self.run(trial, phase).await?;
        for note in report.notes() {
            tracing::warn!(plugin = %trial.plugin.manifest().plugin.id, "vetting: {note}");
        }
        // What lies in the configuration, the surroundings or the limits may be otherwise next time.
        if report.passed() || report.blames_bytes() {
            self.cache.enter(key, now, &report);
        }
        Ok(report)
    }

    async fn run(
        &self,
        trial: &Trial<'_>,
        phase: &watch::Sender<VettingPhase>,
    ) -> Result<VettingReport, VettingError> {
        let mut host_ends = self.host_ends.subscribe();
        let permit = tokio::select! {
            permit = self.at_once.acquire() => permit,
            _ = host_ends.wait_for(|ends| *ends) => return Err(VettingError::HostEnds),
        };
        // The semaphore is never closed.
        let _permit = permit.map_err(std::io::Error::other)?;
        let (plugin, digest) = (trial.plugin, trial.plugin.digest());
        let stored = plugin.open()?;
        // It copies and hashes a whole file, so not on one of the async runtime's own threads.
        let sealed =
            tokio::task::spawn_blocking(move || SealedImage::of_stored(&stored, "extman-vetting", digest));
        let sealed = sealed.await.map_err(std::io::Error::other)??;
        let own = trial_folders();
        let order = Order {
            digest,
            rust: is_rust(plugin),
            symbols: plugin.manifest().plugin.symbols,
            name: plugin.manifest().plugin.id.clone(),
            config: trial.config.to_owned(),
            resource_dir: plugin.origin().parent().and_then(Path::to_str).map(str::to_owned),
            own_dirs: own.as_ref().map(|(_, own)| own.clone()),
            stack_bytes: plugin.manifest().threads.stack_bytes,
            depth: trial.depth,
        };
        let limits = Limits {
            time: trial.limit,
            memory_bytes: self.config.memory_bytes_max,
        };
        let report = child::run(trial.worker, order, sealed.share()?, limits, phase, host_ends).await?;
        Ok(match trial.secrets {
            Some(config) => config.redact_vetting(report),
            None => report,
        })
    }

    fn trial<'a>(
        &self,
        plugin: &'a VerifiedPlugin,
        with: TrialConfig<'a>,
        worker: &'a Path,
        depth: VettingDepth,
    ) -> Trial<'a> {
        let declared = plugin.manifest().probe.startup_ms.map(Duration::from_millis);
        let startup = with.startup.or(declared).unwrap_or_default();
        Trial {
            plugin,
            config: with.config,
            depth: possible_depth(plugin, with.config, depth),
            limit: startup.max(Duration::from_millis(self.config.timeout_ms)),
            worker,
            secrets: with.secrets,
        }
    }

    fn worker(&self) -> Result<PathBuf, VettingError> {
        let worker = match &self.config.worker {
            Some(worker) => worker.clone(),
            None => beside_this_program()?,
        };
        if worker.is_file() {
            Ok(worker)
        } else {
            Err(VettingError::NoWorker(worker))
        }
    }
}

fn passed(
    plugin: VerifiedPlugin,
    report: VettingReport,
    remembered: bool,
) -> Result<VettedPlugin, VettingError> {
    if report.passed() {
        return Ok(VettedPlugin(plugin));
    }
    let report = Box::new(report);
    Err(VettingError::Refused { report, remembered })
}

/// What is asked for, unless required configuration is not given.
fn possible_depth(plugin: &VerifiedPlugin, config: &str, asked: VettingDepth) -> VettingDepth {
    let given: serde_json::Value = serde_json::from_str(config).unwrap_or_default();
    let lacks = |key: &String| given.get(key).is_none();
    if plugin.manifest().config.required.iter().any(lacks) {
        VettingDepth::Open
    } else {
        asked
    }
}

/// Folders for the time of one trial, as an instance has them of its own: for data and for a cache. They go, with everything that was put
/// there, when the first is dropped. `None` where the system gives none: then the plugin has none either.
fn trial_folders() -> Option<(TempDir, [PathBuf; 2])> {
    let private = Permissions::from_mode(0o700);
    let mut folder = tempfile::Builder::new();
    let folder = folder
        .prefix("extman-vetting-")
        .permissions(private)
        .tempdir()
        .ok()?;
    let own = ["data", "cache"].map(|name| folder.path().join(name));
    own.iter().try_for_each(std::fs::create_dir).ok()?;
    Some((folder, own))
}

/// `extman-worker` beside the running program; for a test or an example, beside its folder.
fn beside_this_program() -> std::io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let name = format!("extman-worker{}", std::env::consts::EXE_SUFFIX);
    let beside = program.with_file_name(&name);
    let above = program
        .parent()
        .and_then(|dir| dir.parent())
        .map(|dir| dir.join(&name));
    Ok(match above {
        Some(above) if !beside.is_file() && above.is_file() => above,
        _ => beside,
    })
}

/// Whether a plugin was made with the Rust SDK.
pub fn is_rust(plugin: &VerifiedPlugin) -> bool {
    plugin
        .facts()
        .build
        .as_ref()
        .is_some_and(|build| build.sdk == Sdk::Rust)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_a_trial_are_its_own_and_go_with_all_that_was_put_there() {
        let (folder, [data, cache]) = trial_folders().unwrap();
        let (_other, [others, _]) = trial_folders().unwrap();
        assert_ne!(data, others);
        let mode = folder.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        std::fs::create_dir(data.join("models")).unwrap();
        std::fs::write(data.join("models/one"), "weights").unwrap();
        std::fs::write(cache.join("index"), "made anew").unwrap();
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists() && others.exists());
    }
}
