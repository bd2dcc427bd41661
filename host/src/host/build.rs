//! Building a host: the parts, wired.

use super::components::{Components, keep_looking};
use super::event_log::EventLog;
use super::health::{HostSink, Subjects};
use super::maintenance::{self, Maintenances, Publisher};
use super::process::ProcessChanges;
use super::recent::RecentCalls;
use super::{Host, Inner, tasks};
use crate::config::{Config, ConfigError};
use crate::deep::{DeepChecks, Machine};
use crate::probing::Engine;
use extman_history::{History, HistoryConfig};
use extman_intake::StoreError;
use extman_model::Event;
use extman_model::ProbeSettings;
use extman_model::clock;
use extman_model::vital::Vital;
use extman_runtime::arrivals::Arrivals;
use extman_runtime::lanes::LaneObserver;
use extman_runtime::module::ModuleBudgets;
use extman_runtime::registry::Registry;
use extman_runtime::supervisor::{Events, InstanceConfig, Requests, Services, Supervisor};
use extman_runtime::vetting::Vetting;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, broadcast};

const EVENTS_KEPT: usize = 4096;
/// Questions to the history that are answered at the same time: they wait for the disk, and calculate.
const READS_MAX: usize = 2;

/// Why a host could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A value of the configuration can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No thread could be started to ask plugins how they are.
    #[error("no thread can be started: {0}; has the process, its user or its container reached a limit?")]
    NoThread(std::io::Error),
}

/// Builds a [`Host`].
#[derive(Debug, Clone)]
pub struct HostBuilder {
    config: Config,
    dirs: Vec<PathBuf>,
}

impl Default for HostBuilder {
    /// Every default but two: nothing is written down of how plugins are, and instances have no folders of their own, unless a
    /// configuration, or [`history_file`](HostBuilder::history_file) and [`state_dir`](HostBuilder::state_dir), say where.
    fn default() -> Self {
        let mut config = Config::default();
        config.history.enabled = false;
        config.state.dir = None;
        HostBuilder {
            config,
            dirs: Vec::new(),
        }
    }
}

impl HostBuilder {
    /// With this configuration instead of the default.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Looks for plugins here. Replaces the configured directories; may be called several times.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dirs.push(dir.into());
        self
    }

    /// Keeps the host's own copies here.
    pub fn store_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.config.intake.store.dir = dir.into();
        self
    }

    /// Has each instance keep what is its own in folders under this directory.
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.config.state.dir = Some(dir.into());
        self
    }

    /// Writes down here how plugins are.
    pub fn history_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.config.history.file = file.into();
        self.config.history.enabled = true;
        self
    }

    /// One more use of a plugin.
    pub fn instance(mut self, instance: InstanceConfig) -> Self {
        self.config.instances.push(instance);
        self
    }

    /// Whether plugins are vetted in a child process before they are loaded. Without it, a plugin that crashes takes the host
    /// with it.
    pub fn vetting(mut self, enabled: bool) -> Self {
        self.config.vetting.enabled = enabled;
        self
    }

    /// Starts the host. Returns before plugins are loaded: see [`Host::wait_ready`].
    ///
    /// # Errors
    /// The configuration can't be used, or the store.
    ///
    /// # Panics
    /// Outside a tokio runtime with time and I/O.
    pub async fn build(self) -> Result<Host, BuildError> {
        Ok(self.build_and_listen().await?.0)
    }

    /// As [`build`](Self::build), for who must not miss the first event: what is wrong with a directory is told at once.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn build_and_listen(mut self) -> Result<(Host, broadcast::Receiver<Event>), BuildError> {
        if !self.dirs.is_empty() {
            self.config.intake.discovery.dirs = self.dirs;
        }
        self.config.validate()?;
        let mut config = self.config;
        // Before any plugin runs: one that changes the working directory changes nothing of what the host reads and writes.
        config.make_paths_absolute();
        let arrivals = Arrivals::new(config.intake.clone())?;
        let components = Components::new(&config, arrivals.store_outcome());
        let (requests, received) = Requests::channel();
        let registry = Arc::new(Registry::new(config.routing.all_down));
        let events = Events::new(EVENTS_KEPT);
        let listening = events.listen();
        let process = ProcessChanges::listen(events.clone());
        let event_log = EventLog::start(events.listen());
        let vetting = Vetting::new(config.vetting.clone(), config.intake.store.dir.join("vetting"));
        let mut warnings: Vec<String> = vetting.warning().into_iter().collect();
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let vetting_memory = vetting.memory_bound();
        let history = Arc::new(start_history(&config.history, &mut warnings));
        let sink = HostSink {
            events: events.clone(),
            requests: requests.clone(),
            history: history.clone(),
            recent: Arc::new(RecentCalls::default()),
            registry: registry.clone(),
        };
        let recent = sink.recent.clone();
        let probing = start_probing(sink, config.probe)?;
        let supervisor = supervisor(&config, vetting, &registry, &events, &requests);
        tokio::spawn(Vital::essential("the supervisor").watch(supervisor.run(received)));
        let names = config.instances.iter().map(|one| one.instance_name().to_owned());
        let inner = Inner {
            // Of two of one name the first counts.
            configured: names.zip(0..).collect::<Vec<_>>().into_iter().rev().collect(),
            directories: config.intake.discovery.dirs.clone(),
            config,
            registry,
            requests,
            events,
            look: Arc::new(Notify::new()),
            ending: Arc::new(AtomicBool::new(false)),
            started_unix_ms: clock::unix_ms(clock::wall()),
            vetting_memory,
            warnings,
            engine: probing.engine,
            deep: probing.deep,
            history,
            components,
            process,
            event_log,
            inputs: Default::default(),
            recent,
            maintenances: probing.maintenances,
            publisher: probing.publisher,
            reading: Arc::new(Semaphore::new(READS_MAX)),
        };
        let inner = Arc::new(inner);
        start_tasks(&inner, arrivals, probing.is_taken_in);
        Ok((Host { inner }, listening))
    }
}

fn supervisor(
    config: &Config,
    vetting: Vetting,
    registry: &Arc<Registry>,
    events: &Events,
    requests: &Requests,
) -> Supervisor {
    let observer: Arc<dyn LaneObserver> = Arc::new(requests.clone());
    let services = Services {
        vetting,
        observer,
        pool: config.lanes.limits(),
        budgets: ModuleBudgets::default(),
        state_dir: config.state.dir.clone(),
        modules: Default::default(),
    };
    Supervisor::new(
        config.instances.clone(),
        Arc::new(services),
        registry.clone(),
        events.clone(),
        requests.clone(),
    )
    .with_lock(config.lock.clone())
}

/// What goes on beside the supervisor for as long as the host is there.
fn start_tasks(inner: &Arc<Inner>, arrivals: Arrivals, is_taken_in: bool) {
    let looking = tasks::look(
        arrivals,
        inner.config.intake.clone(),
        inner.requests.clone(),
        inner.look.clone(),
        inner.ending.clone(),
    );
    tokio::spawn(Vital::part("the look at plugin directories").watch(looking));
    inner.components.look(&inner.engine);
    let every = Duration::from_millis(inner.config.health.components_every_ms);
    let looking = keep_looking(Arc::downgrade(inner), every);
    tokio::spawn(Vital::part("the look at the host's own parts").watch(looking));
    let watching = maintenance::watch(Arc::downgrade(inner), is_taken_in);
    tokio::spawn(Vital::part("the watch over maintenance").watch(watching));
    tokio::spawn(prune_when_ready(Arc::downgrade(inner)));
}

/// Only then: what a host uses it holds a lock on, and it does not know what it uses before the first look.
async fn prune_when_ready(host: Weak<Inner>) {
    while host.upgrade().is_some_and(|inner| !inner.registry.is_ready()) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let Some(config) = host.upgrade().map(|inner| inner.config.clone()) else {
        return;
    };
    let _ = tokio::task::spawn_blocking(move || crate::store::prune_at_start(&config)).await;
}

/// Without a history the host runs all the same, and says why there is none.
fn start_history(config: &HistoryConfig, warnings: &mut Vec<String>) -> History {
    History::start(config).unwrap_or_else(|error| {
        let text = format!("nothing is written down of how plugins are: {error}");
        tracing::warn!("{text}");
        warnings.push(text);
        History::off(error.to_string())
    })
}

/// What knows how instances are.
struct Probing {
    engine: Engine,
    deep: DeepChecks,
    publisher: Arc<Publisher>,
    maintenances: Arc<Maintenances>,
    /// Whether the maintenance that an earlier host kept could be read.
    is_taken_in: bool,
}

/// The engine hears of every instance as soon as it is known, and of what a plugin tells unasked.
fn start_probing(sink: HostSink, settings: ProbeSettings) -> Result<Probing, BuildError> {
    let (events, history, registry) = (sink.events.clone(), sink.history.clone(), sink.registry.clone());
    let maintenances = Arc::new(Maintenances::default());
    let is_taken_in = maintenance::take_in(&maintenances, &history).is_some();
    let engine = Engine::start(Arc::new(sink)).map_err(BuildError::NoThread)?;
    let deep = DeepChecks::start(engine.clone(), history.clone(), Machine::this());
    let publisher = Arc::new(Publisher::new(
        Subjects::new(settings),
        &registry,
        engine.clone(),
        deep.clone(),
        maintenances.clone(),
    ));
    let published = publisher.clone();
    registry.on_publish(move |change| published.publish(change, &history));
    let told = engine.clone();
    events.on_told(move |name, generation, health| told.pushed(name, generation, health));
    Ok(Probing {
        engine,
        deep,
        publisher,
        maintenances,
        is_taken_in,
    })
}
