//! The host's own paths, ready to be called: an instance behind its lanes, and a bound handle without them.

use crate::plugins::Taken;
use extman_model::{LogLevel, Progress, Report, RequestExtras, clock};
use extman_runtime::crash::{self, Identity};
use extman_runtime::instance::{Call, Instance, InstanceSettings};
use extman_runtime::lanes::{LaneObserver, PoolLimits, Work};
use extman_runtime::loader::{
    CallContext, Input, Interposition, Library, Listener, Making, OutputLimits, PluginInstance, SealedImage,
    Step, interposition,
};
use extman_runtime::module::{Module, ModuleBudgets};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// A runtime on the calling thread.
///
/// # Panics
/// The system gives no event queue.
pub fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A runtime with two workers.
///
/// # Panics
/// The system gives no threads.
pub fn runtime_of_two() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Loads a plugin.
///
/// # Panics
/// It is refused, or the host's thread functions are not in place, without which it would not be unloaded.
pub async fn module(taken: &Taken) -> Arc<Module> {
    assert_eq!(interposition(), Interposition::Active);
    let (limits, budgets) = (PoolLimits::default(), ModuleBudgets::default());
    Module::open(&taken.plugin, "bench", Arc::new(Silent), limits, budgets)
        .await
        .expect("the plugin is loaded")
}

/// Loads a plugin and starts an instance of it.
///
/// # Panics
/// It is refused.
pub async fn instance(taken: &Taken) -> Instance {
    create(module(taken).await, "bench").await
}

/// Loads a plugin and starts many instances of it.
///
/// # Panics
/// It is refused.
pub async fn instances(taken: &Taken, count: usize) -> Vec<Instance> {
    let module = module(taken).await;
    let mut made = Vec::with_capacity(count);
    for number in 0..count {
        made.push(create(module.clone(), &format!("plugin-{number}")).await);
    }
    made
}

/// Has a module make an instance, and starts it.
///
/// # Panics
/// It is refused.
pub async fn create(module: Arc<Module>, name: &str) -> Instance {
    let settings = InstanceSettings::default();
    let made = Instance::create(module, name, "{}", Arc::new(Silent), settings).await;
    let instance = made.expect("an instance");
    instance.step(Step::Start).await.expect("the instance starts");
    instance
}

/// The checked handle of an instance, without lanes. It stays loaded.
///
/// # Panics
/// The plugin is refused.
pub fn bound(taken: &Taken) -> Arc<PluginInstance> {
    bound_many(taken, 1).remove(0)
}

/// Checked handles of so many instances of one library, as [`bound`].
///
/// # Panics
/// The plugin is refused.
pub fn bound_many(taken: &Taken, count: usize) -> Vec<Arc<PluginInstance>> {
    let library = Library::open(sealed(taken), true, Default::default(), Default::default());
    let library = library.expect("the plugin is loaded");
    let library = Arc::new(library);
    (0..count).map(|_| bound_to(library.clone())).collect()
}

/// As [`bound`], of a library that the process's crash journal lists.
///
/// # Panics
/// The plugin is refused.
pub fn bound_and_noted(taken: &Taken) -> Arc<PluginInstance> {
    let verified = taken.plugin.verified();
    let manifest = verified.manifest();
    let identity = Identity {
        id: &manifest.plugin.id,
        version: &manifest.plugin.version.to_string(),
        digest: verified.digest(),
    };
    let capabilities = manifest.capabilities.iter();
    let listed = crash::library(identity, capabilities.map(|capability| capability.name.as_str()));
    let library =
        Library::open(sealed(taken), true, Default::default(), listed).expect("the plugin is loaded");
    bound_to(Arc::new(library))
}

fn bound_to(library: Arc<Library>) -> Arc<PluginInstance> {
    let making = Making {
        name: "bench",
        config: "{}",
        ..Making::default()
    };
    let context = CallContext::acquire().expect("a context");
    let open = || context.open(None, None, OutputLimits::default());
    let bound = PluginInstance::create(library, making, open(), Arc::new(Silent)).expect("an instance");
    bound.step(Step::Start, open()).expect("the instance starts");
    bound
}

/// One call through an instance's checked handle, in an open context that is closed after it; what was written.
///
/// # Panics
/// The call fails.
#[inline]
pub fn checked_call(bound: &PluginInstance, context: &CallContext, capability: &str, body: &[u8]) -> Vec<u8> {
    let deadline = clock::monotonic().after(Duration::from_secs(30));
    let token = context.open(Some(deadline), None, OutputLimits::default());
    let input = Input {
        capability: black_box(capability),
        content_type: "application/json",
        body,
        stream: false,
        extras: &RequestExtras::NONE,
    };
    let returned = bound.invoke(token, input);
    assert!(returned.result.is_ok());
    context.close().body
}

/// The plugin's bytes in sealed memory.
///
/// # Panics
/// The store is gone.
pub fn sealed(taken: &Taken) -> SealedImage {
    let verified = taken.plugin.verified();
    let stored = verified.open().expect("the stored copy");
    SealedImage::of_stored(&stored, "extman-bench", verified.digest()).expect("the stored copy")
}

/// The plugin's bytes in sealed memory, hashed though nobody has changed them.
///
/// # Panics
/// The store is gone.
pub fn sealed_and_hashed(taken: &Taken) -> SealedImage {
    let verified = taken.plugin.verified();
    let stored = verified.open().expect("the stored copy");
    SealedImage::copy(stored.file(), "extman-bench", verified.digest()).expect("the stored copy")
}

/// A call as a caller makes it.
pub fn call(capability: &str, body: &[u8]) -> Call {
    Call {
        capability: capability.to_owned(),
        content_type: "application/json".to_owned(),
        body: body.to_vec(),
        timeout: None,
        extras: RequestExtras::NONE,
        chain: None,
    }
}

/// Hears everything and says nothing.
pub struct Silent;

impl Listener for Silent {
    fn log(&self, _: LogLevel, _: &str, _: &str, _: &str) {}
    fn keeps(&self, _: LogLevel) -> bool {
        true
    }

    fn progress(&self, _: Progress) {}

    fn health(&self, _: Report) {}
}

impl LaneObserver for Silent {
    fn lost(&self, _: &Work, _: Duration) {}
    fn returned_late(&self, _: &Work, _: Duration) {}
}
