//! The long steps: from a verified plugin to a running instance, and back.

use super::spec::InstanceConfig;
use crate::clock;
use crate::intake::{Panics, VerifiedPlugin};
use crate::model::{CallError, Digest, ResidentReason, Verdict};
use crate::runtime::instance::Instance;
use crate::runtime::lanes::PoolLimits;
use crate::runtime::loader::{Listener, Step};
use crate::runtime::module::{Module, ModuleBudgets, SharedLanes};
use crate::runtime::vetting::{Vetting, VettingError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// What the steps need.
pub struct Means {
    /// Lets plugins pass.
    pub vetting: Vetting,
    /// Lanes for checks.
    pub shared: SharedLanes,
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
}

/// Why an instance was not started.
#[derive(Debug)]
pub struct NotStarted {
    /// What happened.
    pub cause: String,
    /// Whether trying again will not help.
    pub refused: bool,
    /// What became of the library, if it was loaded.
    pub unload: Option<(u64, Verdict)>,
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
    listener: Arc<dyn Listener>,
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
                let opened = Module::open(&vetted, means.shared.clone(), means.pool, means.budgets).await;
                let module = opened.map_err(NotStarted::failed)?;
                modules.insert(digest, module.clone());
                module
            }
        };
        module.join();
        module
    };
    let stop_budget = settings.stop_budget;
    let name = config.instance_name();
    let made = Instance::create(module.clone(), name, &merged, listener, settings).await;
    let instance = match made {
        Ok(instance) => Arc::new(instance),
        Err(error) => {
            let unload = release(means, module).await;
            return Err(NotStarted {
                unload,
                ..NotStarted::failed(format!("create failed: {error}"))
            });
        }
    };
    let running = Running {
        instance,
        module,
        stop_budget,
    };
    match running.instance.step(Step::Start).await {
        Ok(()) => Ok(running),
        Err(error) => {
            // It never started, so there is nothing to drain or stop.
            running.instance.close();
            let unload = free(means, running).await;
            Err(NotStarted {
                unload,
                ..NotStarted::failed(format!("start failed: {error}"))
            })
        }
    }
}

/// Drains, stops and frees an instance; the last one of its module has the library unloaded. `None` if others still use it.
pub async fn stop(means: &Means, running: Running) -> Option<(u64, Verdict)> {
    let (instance, patience) = (&running.instance, running.stop_budget);
    instance.close();
    if let Err(error) = instance.step(Step::Drain).await {
        note(instance, "drain", &error);
    }
    // Neither `stop` nor `destroy` may overlap a call, and a call whose caller was answered by deadline may still be inside.
    if quiet_within(instance, patience).await
        && let Err(error) = instance.step(Step::Stop).await
    {
        note(instance, "stop", &error);
    }
    free(means, running).await
}

/// Frees an instance that is stopped or was never started, once nothing is inside.
async fn free(means: &Means, running: Running) -> Option<(u64, Verdict)> {
    let Running {
        instance,
        module,
        stop_budget,
    } = running;
    let (reason, text) = if !quiet_within(&instance, stop_budget).await {
        let text = format!(
            "{} calls into {} have not returned",
            instance.inside(),
            instance.name()
        );
        (ResidentReason::WedgedCall, text)
    } else if let Err(error) = instance.destroy().await {
        note(&instance, "destroy", &error);
        (ResidentReason::InstanceAlive, error.text)
    } else {
        drop(instance);
        return release(means, module).await;
    };
    // It goes on being used by them, so nobody leaves it; but new instances get a generation of their own.
    means.no_longer_share(&module).await;
    Some((module.generation(), Verdict::resident(reason, text)))
}

fn note(instance: &Instance, step: &str, error: &CallError) {
    tracing::warn!(plugin = instance.name(), step, error = %error, "stopping goes on");
}

/// Lets no more calls and checks in, and waits until none is under way or inside. `false` if one still is.
async fn quiet_within(instance: &Instance, patience: Duration) -> bool {
    let give_up = clock::monotonic().after(patience);
    // Those that were let in and have not come to a lane yet.
    while instance.accounts().in_flight() > 0 && clock::monotonic() < give_up {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    instance.seal();
    let mut pause = Duration::from_micros(200);
    while instance.accounts().in_flight() > 0 || instance.inside() > 0 {
        if clock::monotonic() >= give_up {
            return false;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    true
}

/// Gives a module back; the last one to do so has it unloaded.
async fn release(means: &Means, module: Arc<Module>) -> Option<(u64, Verdict)> {
    {
        let mut modules = means.modules.lock().await;
        if !module.leave() {
            return None;
        }
        forget(&mut modules, &module);
    }
    let generation = module.generation();
    let verdict = module.unload(means.budgets).await;
    Some((generation, verdict))
}

impl Means {
    async fn no_longer_share(&self, module: &Module) {
        forget(&mut *self.modules.lock().await, module);
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
