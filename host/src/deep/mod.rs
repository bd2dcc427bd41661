//! Deep checks: one synthetic request through the capability itself. Each costs what a real request costs, so they are made only where an
//! operator wants them, one at a time in the whole host, and on a quota that outlives it.
//!
//! ```text
//!   wanted ──every──▶ due ──begin: counted on the disk──▶ in flight, one at a time ──end──▶ wanted
//!                                                            a first failure is confirmed soon
//! ```
//!
//! * [`DeepChecks`]: makes them;
//! * [`UsageStore`]: where it is written down that one was begun; without it none is made.
//!
//! The quota is [`extman_health::deep`]; what a result means for an instance is decided in [`extman_health::monitor`].

mod run;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub use store::UsageStore;

use crate::probing::{Engine, Subject};
use extman_health::deep::OverQuota;
use extman_model::DeepView;
use extman_model::clock;
use extman_model::vital::Vital;
use state::DeepCheckState;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// Makes deep checks. Cheap to clone; it goes on until every clone is gone.
#[derive(Clone)]
pub struct DeepChecks {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    store: Arc<dyn UsageStore>,
    machine: Machine,
    state: Mutex<DeepCheckState>,
    loading: tokio::sync::Mutex<()>,
    wake: Arc<Notify>,
}

/// The machine's own clock.
pub struct Machine {
    /// Which boot of the machine this is; empty if that can't be told.
    pub boot: String,
    /// Time since that boot.
    pub since_boot: Box<dyn Fn() -> Duration + Send + Sync>,
}

/// Why a deep check was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody has configured any.
    #[error(
        "{0}: no deep checks are configured; each is a request that costs what a real one costs, so set deep_every_ms first: \
         under [probe] for all, or under probe in an [[instance]] of this name"
    )]
    NotWanted(Arc<str>),
    /// Something speaks against any of this instance.
    #[error("{0}: no deep check is made: {1}")]
    Obstacle(Arc<str>, String),
    /// It does not run.
    #[error("{0} does not run, and only a running plugin can be asked")]
    NotRunning(Arc<str>),
    /// One is in flight, of this instance.
    #[error("a deep check of {0} is under way, and the host makes one at a time; wait for its end")]
    InFlight(Arc<str>),
    /// The quota has no room for one now.
    #[error("{0}: {1}")]
    OverQuota(Arc<str>, OverQuota),
    /// That it is begun can't be written down.
    #[error("{0}: no deep check is made, since what it costs could not be kept in the history: {1}")]
    NotKept(Arc<str>, String),
    /// The instance stopped meanwhile, or the host ends.
    #[error("{0} stopped before its deep check had ended")]
    Stopped(Arc<str>),
}

impl Refused {
    /// How long to wait until one is allowed, if time alone allows it.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Refused::OverQuota(_, OverQuota::TooSoon { wait_ms } | OverQuota::Spent { wait_ms, .. }) => {
                Some(*wait_ms)
            }
            _ => None,
        }
    }
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let read = || {
            let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
            // In another time namespace the clock is another.
            let clock = std::fs::read_link("/proc/self/ns/time").unwrap_or_default();
            std::io::Result::Ok(format!("{} {}", boot.trim(), clock.display()))
        };
        Machine {
            boot: read().unwrap_or_default(),
            since_boot: Box::new(clock::since_boot),
        }
    }
}

impl DeepChecks {
    /// Makes them for `engine`'s instances, in a task of the async runtime that this is called in.
    ///
    /// # Panics
    /// Outside an async runtime.
    pub fn start(engine: Engine, store: Arc<dyn UsageStore>, machine: Machine) -> Self {
        let wake = Arc::new(Notify::new());
        let inner = Arc::new(Inner {
            engine,
            store,
            machine,
            state: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
            wake: wake.clone(),
        });
        let run = run::run(Arc::downgrade(&inner), wake);
        Handle::current().spawn(Vital::part("the making of deep checks").watch(run));
        DeepChecks { inner }
    }

    /// These instances are new or otherwise than before, and those are gone. A check of one that no longer runs ends.
    pub fn change<'a>(&self, changed: &[Subject], removed: impl IntoIterator<Item = &'a Arc<str>>) {
        let booted_ms = self.inner.booted_ms();
        if self.inner.state().change(booted_ms, changed, removed) {
            self.inner.wake.notify_one();
        }
    }

    /// Has one made now, on the same quota. It ends early, and counts, if it is not awaited to its end.
    ///
    /// # Errors
    /// It may not be made now, or could not be.
    pub async fn make_now(&self, name: &str) -> Result<(), Refused> {
        self.inner.make(&name.into(), true).await
    }

    /// What is known of an instance's; `None` if none are configured.
    pub fn view(&self, name: &str) -> Option<DeepView> {
        let inner = &self.inner;
        let state = inner.state();
        // Only of who is wanted is the store asked.
        state.targets.get(name)?.policy?;
        state.view(name, inner.booted_ms(), inner.store.ready().err())
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, DeepCheckState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn booted_ms(&self) -> u64 {
        u64::try_from((self.machine.since_boot)().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}
