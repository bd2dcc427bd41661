//! The long step from a verified plugin to a running instance. The way back is in `ending`.

use super::ending::{self, Remains, Unload};
use super::listener::InstanceListener;
use super::spec::InstanceConfig;
use crate::instance::Instance;
use crate::lanes::{LaneObserver, PoolLimits};
use crate::loader::Step;
use crate::module::{Module, ModuleBudgets, NotLoaded};
use crate::vetting::{Vetting, VettingError};
use extman_intake::{Panics, VerifiedPlugin};
use extman_model::Digest;
use extman_model::clock;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// What the steps need.
pub struct Means {
    /// Lets plugins pass.
    pub vetting: Vetting,
    /// Hears of lost lanes.
    pub observer: Arc<dyn LaneObserver>,
    /// Call lanes of each module.
    pub pool: PoolLimits,
    /// Time for loading and unloading.
    pub budgets: ModuleBudgets,
    /// Modules that new instances of the same library may share, by digest.
    pub modules: Mutex<HashMap<Digest, Arc<Module>>>,
}

/// A running instance with its module.
#[derive(Clone)]
pub struct Running {
    /// The instance.
    pub instance: Arc<Instance>,
    /// The module behind it.
    pub module: Arc<Module>,
    /// Time for stopping it.
    pub stop_budget: Duration,
    /// Hears what it says unasked.
    pub(super) listener: Arc<InstanceListener>,
}

/// Why an instance was not started.
pub struct NotStarted {
    /// What happened.
    pub cause: String,
    /// Whether trying again will not help.
    pub refused: bool,
    /// What became of the library, if it was loaded.
    pub unload: Option<Unload>,
}

impl NotStarted {
    fn failed(cause: impl ToString) -> Self {
        NotStarted {
            cause: cause.to_string(),
            refused: false,
            unload: None,
        }
    }
}

/// Why a plugin can't be run in this process, whatever vetting says.
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

/// Vets, loads, creates and starts.
pub async fn start(
    means: &Means,
    config: &InstanceConfig,
    plugin: VerifiedPlugin,
    listener: Arc<InstanceListener>,
) -> Result<Running, NotStarted> {
    let manifest = plugin.manifest();
    let lacking = config.lacking(manifest);
    if !lacking.is_empty() {
        let text = format!(
            "it needs configuration that is not given: {}; add an [[instance]] with plugin = {:?} and these under config",
            lacking.join(", "),
            config.plugin
        );
        return Err(NotStarted::failed(text));
    }
    if let Some(misfit) = config.misfit(manifest) {
        let text = format!(
            "{misfit}; mend the config of the [[instance]] {:?} and start the host again",
            config.instance_name()
        );
        return Err(NotStarted::failed(text));
    }
    if let Some(reason) = unfit(&plugin) {
        return Err(NotStarted {
            refused: true,
            ..NotStarted::failed(reason)
        });
    }
    let merged = config.merged(manifest);
    let settings = config.settings(manifest);
    let vetted = means
        .vetting
        .vet(plugin, &merged, clock::wall())
        .await
        .map_err(|error| NotStarted {
            refused: matches!(&error, VettingError::Refused { report, .. } if report.blames_bytes()),
            ..NotStarted::failed(error)
        })?;
    let module = {
        // Held while loading: a second instance of the same library waits for it and shares it.
        let mut modules = means.modules.lock().await;
        let digest = vetted.verified().digest();
        let module = match modules.get(&digest) {
            Some(module) => module.clone(),
            None => {
                let (name, observer) = (config.instance_name(), means.observer.clone());
                let opened = Module::open(&vetted, name, observer, means.pool, means.budgets).await;
                let module = opened.map_err(not_loaded)?;
                modules.insert(digest, module.clone());
                module
            }
        };
        module.join();
        module
    };
    let stop_budget = settings.stop_budget;
    let name = config.instance_name();
    listener.of_generation(module.generation());
    let made = Instance::create(module.clone(), name, &merged, listener.clone(), settings).await;
    let instance = match made {
        Ok(instance) => Arc::new(instance),
        Err(error) => {
            let ended = ending::end(means, Remains::of_module(module)).await;
            return Err(NotStarted {
                unload: ended.unload,
                ..NotStarted::failed(format!("create failed: {error}"))
            });
        }
    };
    let running = Running {
        instance,
        module,
        stop_budget,
        listener,
    };
    match running.instance.step(Step::Start).await {
        Ok(()) => Ok(running),
        Err(error) => {
            running.instance.close();
            let ended = ending::end(means, Remains::never_started(running)).await;
            let mut cause = format!("start failed: {error}");
            for complaint in &ended.complaints {
                cause.push_str(&format!("; {complaint}"));
            }
            Err(NotStarted {
                unload: ended.unload,
                ..NotStarted::failed(cause)
            })
        }
    }
}

fn not_loaded(not_loaded: NotLoaded) -> NotStarted {
    let unload = not_loaded
        .left
        .map(|(module, verdict)| Remains::never_loaded(module).kept(verdict));
    NotStarted {
        unload,
        ..NotStarted::failed(not_loaded.error)
    }
}

impl Means {
    /// New instances of the same library get a generation of their own.
    pub(super) async fn no_longer_share(&self, module: &Module) {
        forget(&mut *self.modules.lock().await, module);
    }

    /// One instance less uses a module. `true` if that was the last.
    pub(super) async fn leave(&self, module: &Module) -> bool {
        let mut modules = self.modules.lock().await;
        let last = module.leave();
        if last {
            forget(&mut modules, module);
        }
        last
    }
}

fn forget(modules: &mut HashMap<Digest, Arc<Module>>, module: &Module) {
    if modules
        .get(&module.digest())
        .is_some_and(|known| known.generation() == module.generation())
    {
        modules.remove(&module.digest());
    }
}
