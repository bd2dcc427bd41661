//! The long step from a verified plugin to a running instance: vet, load, create, start. `stop` undoes it.

use super::blueprint::Blueprint;
use super::calls::{CallRouter, Caller};
use super::events::Events;
use super::handover::{self, NotHandedOver, Predecessor};
use super::listener::InstanceListener;
use super::secrets::{ResolvedConfig, Secrets};
use super::stage::StateNotTaken;
use super::stop::{self, PendingUnload, Unload};
use crate::instance::{Instance, InstanceFolders};
use crate::lanes::{LaneObserver, PoolLimits};
use crate::loader::Step;
use crate::module::{Module, ModuleBudgets, NotLoaded};
use crate::sync::lock;
use crate::vetting::{TrialConfig, VettedPlugin, Vetting, VettingError};
use extman_intake::{Panics, VerifiedPlugin};
use extman_model::clock;
use extman_model::{Digest, What};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::OnceCell;

/// What starting and stopping need.
pub struct Services {
    /// Vets plugins before they are loaded.
    pub vetting: Vetting,
    /// Is told of lost lanes.
    pub observer: Arc<dyn LaneObserver>,
    /// Limits of each module's lanes.
    pub pool: PoolLimits,
    /// Time limits for loading and unloading.
    pub budgets: ModuleBudgets,
    /// The directory for the instances' own folders; without it they have none.
    pub state_dir: Option<PathBuf>,
    /// Modules that new instances of the same library share.
    pub modules: SharedModules,
    /// Serves calls that instances make of each other.
    pub calls: Arc<dyn CallRouter>,
}

/// A running instance with its module.
pub struct Running {
    /// What it was made from.
    pub made_from: Blueprint,
    /// The instance.
    pub instance: Arc<Instance>,
    /// The module behind it.
    pub module: Arc<Module>,
    /// The secrets that the instance was handed.
    pub secrets: Arc<Secrets>,
    /// Time limit of each step of stopping it.
    pub stop_budget: Duration,
    /// What is to be told of the state that it was handed, if it is new.
    pub inherited: Option<What>,
}

/// Why an instance was not started.
pub struct NotStarted {
    /// Why, for people.
    pub cause: String,
    /// What has to change before another try can succeed, if something has.
    pub hopeless: Option<Hopeless>,
    /// What became of the library, if it was loaded.
    pub unload: Option<Unload>,
    /// It was not started as it could not be handed the state of what served before.
    pub state: Option<StateNotTaken>,
    /// The generation before, if that panicked when its state was taken, and the panic's text.
    pub panicked: Option<(u64, String)>,
}

/// What has to change before a start can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hopeless {
    /// The library's bytes.
    Bytes,
    /// The instance's configuration.
    Configuration,
}

impl NotStarted {
    fn failed(cause: impl ToString) -> Self {
        NotStarted {
            cause: cause.to_string(),
            hopeless: None,
            unload: None,
            state: None,
            panicked: None,
        }
    }

    fn hopeless(hopeless: Hopeless, cause: impl ToString) -> Self {
        NotStarted {
            hopeless: Some(hopeless),
            ..NotStarted::failed(cause)
        }
    }
}

/// Why a plugin may not run in this process, whatever vetting says.
pub fn unfit(plugin: &VerifiedPlugin) -> Option<&'static str> {
    let aborts = plugin
        .facts()
        .build
        .as_ref()
        .is_some_and(|build| build.panics == Panics::Abort);
    aborts.then_some(
        "it was built with panic = \"abort\", so a panic in it would end this process; build it with panic = \"unwind\"",
    )
}

/// Vets, loads, creates and starts an instance, with its predecessor's state. `serving`: the generation that serves meanwhile, whose module the new
/// one must not share.
pub(super) async fn start(
    services: &Services,
    blueprint: Blueprint,
    name: Arc<str>,
    (serving, predecessor): (Option<u64>, Predecessor),
    events: Events,
) -> Result<Running, NotStarted> {
    let resolved = resolve(&blueprint).await?;
    let started = start_with(
        services,
        blueprint,
        &resolved,
        name,
        (serving, predecessor),
        events,
    );
    started.await.map_err(|not| NotStarted {
        cause: resolved.redact(not.cause),
        ..not
    })
}

async fn start_with(
    services: &Services,
    blueprint: Blueprint,
    resolved: &ResolvedConfig,
    name: Arc<str>,
    (serving, predecessor): (Option<u64>, Predecessor),
    events: Events,
) -> Result<Running, NotStarted> {
    let Blueprint { plugin, config } = &blueprint;
    let mut settings = config.settings(plugin.manifest());
    let secrets = Arc::new(Secrets::default());
    secrets.add(resolved);
    settings.secrets = secrets.clone();
    let state = services.state_dir.as_deref();
    settings.folders = state.map(|state| InstanceFolders::under(state, &name).into());
    let vetted = vet(services, &blueprint, resolved).await?;
    let module = services.modules.join(services, &vetted, &name, serving).await?;
    let stop_budget = settings.stop_budget;
    let caller = Caller {
        name: name.clone(),
        generation: module.generation(),
        plugin: plugin.clone(),
    };
    let listener = InstanceListener::new(caller, &services.calls, events, secrets.clone());
    let listener = Arc::new(listener);
    let made = Instance::create(module.clone(), &name, resolved.expose(), listener, settings).await;
    let instance = match made {
        Ok(instance) => Arc::new(instance),
        Err(error) => {
            let freed = stop::free(services, PendingUnload::not_created(module)).await;
            return Err(NotStarted {
                unload: freed.unload,
                ..NotStarted::failed(format!("create failed: {error}"))
            });
        }
    };
    let mut running = Running {
        made_from: blueprint,
        instance,
        module,
        secrets,
        stop_budget,
        inherited: None,
    };
    let not = match handover::inherit(predecessor, &running).await {
        Ok(inheritance) => match running.instance.step(Step::Start).await {
            Ok(()) => {
                running.inherited = inheritance.event(&running);
                return Ok(running);
            }
            Err(error) => NotStarted::failed(format!("start failed: {error}")),
        },
        Err(NotHandedOver { cause, why, panicked }) => NotStarted {
            state: Some(why),
            panicked,
            ..NotStarted::failed(cause)
        },
    };
    running.instance.close();
    let freed = stop::free(services, PendingUnload::not_started(running)).await;
    let complaints = freed.complaints.iter();
    let cause = complaints.fold(not.cause, |cause, complaint| format!("{cause}; {complaint}"));
    Err(NotStarted {
        cause,
        unload: freed.unload,
        ..not
    })
}

/// Vets the bytes with this configuration.
pub(super) async fn vet(
    services: &Services,
    blueprint: &Blueprint,
    config: &ResolvedConfig,
) -> Result<VettedPlugin, NotStarted> {
    let trial = TrialConfig {
        startup: blueprint.config.start_budget_ms.map(Duration::from_millis),
        ..config.into()
    };
    let vetted = services
        .vetting
        .vet(blueprint.plugin.clone(), trial, clock::wall());
    vetted.await.map_err(not_vetted)
}

/// The configuration that the plugin gets, unless it is plain without running the plugin that a start would fail.
pub(super) async fn resolve(blueprint: &Blueprint) -> Result<ResolvedConfig, NotStarted> {
    if let Some(reason) = unfit(&blueprint.plugin) {
        return Err(NotStarted::hopeless(Hopeless::Bytes, reason));
    }
    let Blueprint { plugin, config } = blueprint.clone();
    // It reads files, which would block a thread of the async runtime.
    let resolved = tokio::task::spawn_blocking(move || config.resolve(plugin.manifest())).await;
    let misfit = match resolved {
        Ok(Ok(resolved)) => return Ok(resolved),
        Ok(Err(misfit)) => misfit,
        Err(error) => return Err(NotStarted::failed(error)),
    };
    let text = format!(
        "{misfit}; give a config that fits in the [[instance]] with plugin = {:?} and the name {:?}, or add one",
        blueprint.config.plugin,
        blueprint.config.instance_name()
    );
    Err(NotStarted::hopeless(Hopeless::Configuration, text))
}

/// Modules by digest. While one is being opened, only those that want the same library wait for it.
#[derive(Default)]
pub struct SharedModules(Mutex<HashMap<Digest, Arc<OnceCell<Arc<Module>>>>>);

impl SharedModules {
    /// The module of a library, with one more instance that uses it. Not the one of the generation `serving`: two generations of one instance in one
    /// module could not be told apart.
    async fn join(
        &self,
        services: &Services,
        vetted: &VettedPlugin,
        name: &str,
        serving: Option<u64>,
    ) -> Result<Arc<Module>, NotStarted> {
        let digest = vetted.verified().digest();
        let open = || {
            Module::open(
                vetted,
                name,
                services.observer.clone(),
                services.pool,
                services.budgets,
            )
        };
        loop {
            let cell = self.by_digest().entry(digest).or_default().clone();
            let opened = cell.get_or_try_init(open).await.cloned();
            let mut modules = self.by_digest();
            // Its last instance may have left it meanwhile: then it is being unloaded.
            let shared = modules
                .get(&digest)
                .is_some_and(|known| Arc::ptr_eq(known, &cell));
            match opened {
                Ok(module) if serving == Some(module.generation()) => forget(&mut modules, &module),
                Ok(module) if shared => {
                    module.join();
                    return Ok(module);
                }
                Ok(_) => {}
                Err(error) => {
                    if shared && Arc::strong_count(&cell) == 2 {
                        modules.remove(&digest);
                    }
                    return Err(not_loaded(error));
                }
            }
        }
    }

    /// New instances of the same library load it anew.
    pub(super) fn no_longer_share(&self, module: &Module) {
        forget(&mut self.by_digest(), module);
    }

    /// One instance less uses a module. `true` if that was the last.
    pub(super) fn leave(&self, module: &Module) -> bool {
        let mut modules = self.by_digest();
        let last = module.leave();
        if last {
            forget(&mut modules, module);
        }
        last
    }

    fn by_digest(&self) -> MutexGuard<'_, HashMap<Digest, Arc<OnceCell<Arc<Module>>>>> {
        lock(&self.0)
    }
}

/// New instances no longer share this module.
fn forget(modules: &mut HashMap<Digest, Arc<OnceCell<Arc<Module>>>>, module: &Module) {
    let known = modules.get(&module.digest()).and_then(|cell| cell.get());
    if known.is_some_and(|known| known.generation() == module.generation()) {
        modules.remove(&module.digest());
    }
}

fn not_vetted(error: VettingError) -> NotStarted {
    match &error {
        VettingError::Refused { report, .. } if report.blames_bytes() => {
            NotStarted::hopeless(Hopeless::Bytes, error)
        }
        VettingError::Crashed(_) => NotStarted::hopeless(Hopeless::Bytes, error),
        _ => NotStarted::failed(error),
    }
}

fn not_loaded(not_loaded: NotLoaded) -> NotStarted {
    let unload = not_loaded
        .left
        .map(|(module, verdict)| PendingUnload::not_loaded(module).with_verdict(verdict));
    NotStarted {
        unload,
        ..NotStarted::failed(not_loaded.error)
    }
}
