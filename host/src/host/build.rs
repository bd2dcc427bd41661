//! Building a host: the parts, wired.

use super::answer_cache::AnswerCache;
use super::components::{Components, keep_looking};
use super::configuration::{self, Configuration, Current};
use super::crashes;
use super::disabled::Disabled;
use super::event_log::EventLog;
use super::health::{HostSink, Subjects};
use super::maintenance::{self, Maintenances, Publisher};
use super::nested::Router;
use super::process::ProcessChanges;
use super::recent::RecentCalls;
use super::{Host, Inner, tasks};
use crate::config::{Config, ConfigError, ConfigSource};
use crate::deep::{DeepChecks, Machine};
use crate::probing::Engine;
use extman_history::{History, HistoryConfig};
use extman_intake::{Arrivals, StoreError, VerifiedPlugin};
use extman_model::ProbeSettings;
use extman_model::clock;
use extman_model::vital::Vital;
use extman_model::{Event, What};
use extman_runtime::crash::Crashes;
use extman_runtime::instance::BreakerChange;
use extman_runtime::lanes::LaneObserver;
use extman_runtime::module::ModuleBudgets;
use extman_runtime::registry::Registry;
use extman_runtime::supervisor::{Barred, Chosen, Events, InstanceConfig, Requests, Services, Supervisor};
use extman_runtime::vetting::Vetting;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, broadcast, watch};

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
    /// Which instances are disabled can't be read, and one of them must not be started.
    #[error(
        "{}: which instances are disabled can't be read: {why}; mend the file, or remove it and disable them again: without it all are \
         started",
        .file.display()
    )]
    Disabled {
        /// The file that says so.
        file: PathBuf,
        /// Why it can't be read.
        why: String,
    },
    /// Which builds are barred or chosen can't be read, and another one must not be started.
    #[error("{0}")]
    Kept(String),
    /// What commands have set can't be read.
    #[error(
        "{}: what was set by `extman config set` can't be read: {why}; mend the file, or remove it: without it, what the configuration says \
         holds",
        .file.display()
    )]
    Set {
        /// The file that says so.
        file: PathBuf,
        /// Why it can't be read.
        why: String,
    },
    /// No thread could be started to ask plugins how they are.
    #[error("no thread can be started: {0}; has the process, its user or its container reached a limit?")]
    NoThread(std::io::Error),
}

/// Builds a [`Host`].
#[derive(Debug, Clone)]
pub struct HostBuilder {
    config: Config,
    dirs: Vec<PathBuf>,
    notes_crashes: bool,
    source: Option<ConfigSource>,
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
            notes_crashes: false,
            source: None,
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

    /// Whether new versions are judged beside the one that serves, and get its calls step by step. Without it, a version that has started takes its
    /// place at once.
    pub fn rollouts(mut self, enabled: bool) -> Self {
        self.config.rollout.enabled = enabled;
        self
    }

    /// Has the process note in whose code it crashes, under the state directory, and the next host there tell it and do what `[crash]` says.
    /// For that the process gets handlers of SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT, which call those that were there before: so this is for
    /// the program to decide. Its first host that asks for it says where.
    pub fn note_crashes(mut self) -> Self {
        self.notes_crashes = true;
        self
    }

    /// Has the configuration read again, in this way, whenever its file changes, or the file of a secret that it refers to. For a configuration
    /// that was read from a file ([`Config::text`]).
    pub fn rereads_config(mut self, source: ConfigSource) -> Self {
        self.source = Some(source);
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
    pub async fn build_and_listen(self) -> Result<(Host, broadcast::Receiver<Event>), BuildError> {
        let (notes_crashes, source) = (self.notes_crashes, self.source.clone());
        let configuration = Configuration::start(self.checked_config()?, source)?;
        let current = configuration.current();
        let config = &current.config;
        let (crashes, crashes_not_noted) = crashes::start(config, notes_crashes);
        let arrivals = Arrivals::new(config.intake.clone())?;
        let disabled = Disabled::read(config.state.dir.as_deref())?;
        let barred = Barred::read(config.state.dir.as_deref()).map_err(BuildError::Kept)?;
        let good = barred
            .good()
            .filter_map(|(name, digest)| Some((name.to_owned(), arrivals.kept(digest)?)));
        let good = good.collect();
        let chosen = Chosen::read(config.state.dir.as_deref(), |digest| arrivals.kept(digest));
        let chosen = chosen.map_err(BuildError::Kept)?;
        let components = Components::new(config, arrivals.store_outcome());
        let (requests, received) = Requests::channel();
        let registry = Arc::new(Registry::new(config.routing.clone()));
        let events = Events::new(EVENTS_KEPT);
        let listening = events.listen();
        let process = ProcessChanges::listen(events.clone());
        let event_log = EventLog::start(events.listen());
        let (vetting, mut warnings) = start_vetting(config, &crashes);
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
        let router = Arc::new(Router::new());
        let supervisor = supervisor(
            &current,
            vetting,
            &registry,
            (&events, &requests, &router),
            (disabled.names(), barred, good, chosen),
        );
        tokio::spawn(Vital::essential("the supervisor").watch(supervisor.run(received)));
        let inner = Inner {
            intake: watch::Sender::new(config.intake.clone()),
            configuration,
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
            answers: AnswerCache::new(),
            inputs: Default::default(),
            recent,
            maintenances: probing.maintenances,
            publisher: probing.publisher,
            disabled,
            reading: Arc::new(Semaphore::new(READS_MAX)),
            crashes,
            crashes_not_noted,
        };
        let inner = Arc::new(inner);
        router.serve_by(&inner);
        tell_crashes(&inner.crashes, &inner.events);
        start_tasks(&inner, arrivals, probing.is_taken_in);
        Ok((Host { inner }, listening))
    }

    /// The configuration that holds, with paths that no longer depend on the working directory.
    fn checked_config(self) -> Result<Config, BuildError> {
        let mut config = self.config;
        if !self.dirs.is_empty() {
            config.intake.discovery.dirs = self.dirs;
        }
        config.validate()?;
        // Before any plugin runs: one that changes the working directory changes nothing of what the host reads and writes.
        config.make_paths_absolute();
        Ok(config)
    }
}

/// Vetting, and what it can't do here.
fn start_vetting(config: &Config, crashes: &Arc<Crashes>) -> (Vetting, Vec<String>) {
    let vetting = Vetting::new(config.vetting.clone(), config.intake.store.dir.join("vetting"))
        .with_crashes(crashes.clone());
    let warnings: Vec<String> = vetting.warning().into_iter().collect();
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    (vetting, warnings)
}

fn supervisor(
    current: &Current,
    vetting: Vetting,
    registry: &Arc<Registry>,
    (events, requests, router): (&Events, &Requests, &Arc<Router>),
    (disabled, barred, good, chosen): (Vec<String>, Barred, Vec<(String, VerifiedPlugin)>, Chosen),
) -> Supervisor {
    let config = &current.config;
    let observer: Arc<dyn LaneObserver> = Arc::new(requests.clone());
    let services = Services {
        vetting,
        observer,
        pool: config.lanes.limits(),
        budgets: ModuleBudgets::default(),
        state_dir: config.state.dir.clone(),
        modules: Default::default(),
        calls: router.clone(),
    };
    Supervisor::new(
        current.configured(),
        Arc::new(services),
        registry.clone(),
        events.clone(),
        requests.clone(),
    )
    .with_lock(config.lock.clone())
    .with_policies(config.policies())
    .with_barred(barred, good)
    .with_chosen(chosen)
    .with_disabled(disabled)
}

/// What earlier hosts left, told before anything that this one does.
fn tell_crashes(crashes: &Crashes, events: &Events) {
    for crash in crashes.found() {
        events.publish(What::HostCrashed(crash.clone()));
    }
}

/// What goes on beside the supervisor for as long as the host is there.
fn start_tasks(inner: &Arc<Inner>, arrivals: Arrivals, is_taken_in: bool) {
    let looking = tasks::look(
        arrivals,
        inner.intake.subscribe(),
        inner.requests.clone(),
        inner.look.clone(),
        inner.ending.clone(),
    );
    tokio::spawn(Vital::part("the look at plugin directories").watch(looking));
    inner.components.look(&inner.engine);
    let looking = keep_looking(Arc::downgrade(inner));
    tokio::spawn(Vital::part("the look at the host's own parts").watch(looking));
    let watching = configuration::watch(Arc::downgrade(inner));
    tokio::spawn(Vital::part("the watch over the configuration").watch(watching));
    let watching = maintenance::watch(Arc::downgrade(inner), is_taken_in);
    tokio::spawn(Vital::part("the watch over maintenance").watch(watching));
    tokio::spawn(prune_when_ready(Arc::downgrade(inner)));
}

/// Only then: what a host uses it holds a lock on, and it does not know what it uses before the first look.
async fn prune_when_ready(host: Weak<Inner>) {
    while host.upgrade().is_some_and(|inner| !inner.registry.is_ready()) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let Some(config) = host.upgrade().map(|inner| inner.current().config.clone()) else {
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
    let breakers = events.clone();
    registry.on_breaker(move |name, change| {
        let name = name.to_owned();
        breakers.publish(match change {
            BreakerChange::Opened(until) => What::BreakerOpened {
                name,
                for_ms: clock::millis_up(until.since(clock::monotonic())),
            },
            BreakerChange::Closed => What::BreakerClosed { name },
        });
    });
    let checked = engine.clone();
    events.on_pushed_health(move |name, generation, health| checked.pushed(name, generation, health));
    Ok(Probing {
        engine,
        deep,
        publisher,
        maintenances,
        is_taken_in,
    })
}
