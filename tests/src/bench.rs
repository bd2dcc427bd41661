//! A host for one test: a store of its own, the real intake, modules and instances, and ears for all that they say.

use extman::probing::{Engine, EventSink, HealthChange};
use extman_intake::{DiscoveryConfig, Store, TrustConfig, VerifiedPlugin, find, inspect, verify};
use extman_model::record::Record;
use extman_model::{CallError, LogLevel, Progress, Report, RequestExtras};
use extman_runtime::instance::{Call, Instance, InstanceSettings};
use extman_runtime::lanes::{LaneObserver, Phase, PoolLimits, Work};
use extman_runtime::loader::{Listener, Step};
use extman_runtime::module::{LoadError, Module, ModuleBudgets, NotLoaded};
use extman_runtime::vetting::{Vetting, VettingConfig};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// A host for one test.
pub struct Bench {
    folder: tempfile::TempDir,
    store: Store,
    /// What lanes and plugins said.
    pub heard: Arc<Heard>,
}

impl Default for Bench {
    fn default() -> Self {
        Bench::new()
    }
}

impl Bench {
    /// With an empty store.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path().join("store")).expect("a store");
        let heard = Arc::new(Heard::default());
        Bench { folder, store, heard }
    }

    /// A folder for files of the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Takes a library the whole way through intake.
    pub fn verified(&self, library: &Path) -> VerifiedPlugin {
        let found = find(library, &DiscoveryConfig::default()).expect("a library");
        let stored = self.store.take(&found).expect("stored");
        let inspected = inspect(stored).unwrap_or_else(|refused| panic!("{refused}"));
        // Who may write to the build's folder is not the subject here.
        let trust = TrustConfig {
            allow_world_writable: true,
            ..TrustConfig::default()
        };
        verify(inspected, &trust).unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// Loads a library that was not vetted.
    pub async fn load(
        &self,
        plugin: VerifiedPlugin,
        limits: PoolLimits,
        budgets: ModuleBudgets,
    ) -> Arc<Module> {
        let opened = self.try_load(plugin, limits, budgets).await;
        opened.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Loads a library that was not vetted, if the loader takes it.
    ///
    /// # Errors
    /// It does not.
    pub async fn try_load(
        &self,
        plugin: VerifiedPlugin,
        limits: PoolLimits,
        budgets: ModuleBudgets,
    ) -> Result<Arc<Module>, LoadError> {
        let opened = self.open(plugin, "tested", limits, budgets).await;
        opened.map_err(|not_loaded| not_loaded.error)
    }

    /// Loads a library that was not vetted, for this instance.
    ///
    /// # Errors
    /// The loader does not take it; with what stays in memory all the same.
    pub async fn open(
        &self,
        plugin: VerifiedPlugin,
        asked_by: &str,
        limits: PoolLimits,
        budgets: ModuleBudgets,
    ) -> Result<Arc<Module>, NotLoaded> {
        let config = VettingConfig {
            enabled: false,
            ..VettingConfig::default()
        };
        let vetting = Vetting::new(config, self.folder.path().join("vetting"));
        let vetted = vetting
            .vet(plugin, "{}", SystemTime::now())
            .await
            .expect("vetting is off");
        Module::open(&vetted, asked_by, self.heard.clone(), limits, budgets).await
    }

    /// Loads a library with the usual limits.
    pub async fn module(&self, library: &Path) -> Arc<Module> {
        let verified = self.verified(library);
        self.load(verified, PoolLimits::default(), ModuleBudgets::default())
            .await
    }

    /// Makes an instance and does not start it.
    ///
    /// # Errors
    /// What the plugin says.
    pub async fn created(
        &self,
        module: &Arc<Module>,
        config: &str,
        settings: InstanceSettings,
    ) -> Result<Instance, CallError> {
        Instance::create(module.clone(), "tested", config, self.heard.clone(), settings).await
    }

    /// Makes an instance and starts it.
    pub async fn started(&self, module: &Arc<Module>, config: &str, settings: InstanceSettings) -> Instance {
        let instance = self.created(module, config, settings).await.expect("create");
        instance.step(Step::Start).await.expect("start");
        instance
    }

    /// An engine that asks instances, and that nobody hears. To be called in an async runtime.
    pub fn engine(&self) -> Engine {
        Engine::start(Arc::new(Unheard)).expect("a thread")
    }

    /// Stops and destroys an instance and unloads its module.
    pub async fn finished(&self, instance: Instance, module: Arc<Module>) -> extman_model::Verdict {
        instance.step(Step::Stop).await.expect("stop");
        instance.destroy().await.expect("destroy");
        drop(instance);
        module.unload(ModuleBudgets::default()).await
    }
}

/// Hears nothing of what the engine says.
struct Unheard;

impl EventSink for Unheard {
    fn changed(&self, _: HealthChange) {}
    fn panicked(&self, _: &str, _: u64, _: String) {}
    fn stalled(&self, _: Duration) {}
    fn record(&self, _: &mut Vec<Record>) {}
    fn keeps_results(&self) -> bool {
        false
    }
}

/// A call of a capability with a JSON body.
pub fn call(capability: &str, body: impl Into<Vec<u8>>) -> Call {
    Call {
        capability: capability.to_owned(),
        content_type: "application/json".to_owned(),
        body: body.into(),
        timeout: None,
        extras: RequestExtras::NONE,
        chain: None,
    }
}

/// What lanes and plugins said.
#[derive(Default)]
pub struct Heard {
    lost: Mutex<Vec<(Phase, String)>>,
    late: Mutex<Vec<(Phase, String)>>,
    logs: Mutex<Vec<String>>,
    reports: Mutex<Vec<Report>>,
    progress: Mutex<Vec<Progress>>,
}

impl Heard {
    /// Phases in which lanes were lost.
    pub fn lost(&self) -> Vec<Phase> {
        lock(&self.lost).iter().map(|(phase, _)| *phase).collect()
    }

    /// For whom lost lanes worked.
    pub fn lost_of(&self) -> Vec<String> {
        lock(&self.lost).iter().map(|(_, whose)| whose.clone()).collect()
    }

    /// Phases from which lost lanes came back.
    pub fn late(&self) -> Vec<Phase> {
        lock(&self.late).iter().map(|(phase, _)| *phase).collect()
    }

    /// For whom lost lanes that came back worked.
    pub fn late_of(&self) -> Vec<String> {
        lock(&self.late).iter().map(|(_, whose)| whose.clone()).collect()
    }

    /// Texts of log records.
    pub fn logs(&self) -> Vec<String> {
        lock(&self.logs).clone()
    }

    /// How far calls and steps said that they were.
    pub fn progress(&self) -> Vec<Progress> {
        lock(&self.progress).clone()
    }

    /// Pushed reports.
    pub fn reports(&self) -> Vec<Report> {
        lock(&self.reports).clone()
    }
}

impl LaneObserver for Heard {
    fn lost(&self, work: &Work, _: Duration) {
        lock(&self.lost).push((work.phase, work.subject.to_string()));
    }

    fn returned_late(&self, work: &Work, _: Duration) {
        lock(&self.late).push((work.phase, work.subject.to_string()));
    }
}

impl Listener for Heard {
    fn log(&self, _: LogLevel, _: &str, text: &str, _: &str) {
        lock(&self.logs).push(text.to_owned());
    }

    fn keeps(&self, _: LogLevel) -> bool {
        true
    }

    fn progress(&self, progress: Progress) {
        lock(&self.progress).push(progress);
    }

    fn health(&self, report: Report) {
        lock(&self.reports).push(report);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
