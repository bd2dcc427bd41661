//! Deep checks: one synthetic request through the capability itself. They cost what a real request costs, so they are made only where an
//! operator wants them, one at a time in the whole host, and on a budget that outlives it.
//!
//! * [`Ledger`]: where it is written down what was spent; without it none is made;
//! * [`DeepChecks`]: makes them.
//!
//! When one is due, and whether it may be made, is decided in [`extman_health::deep`]; what a result means for an instance, in
//! [`extman_health::evaluate`].

mod desk;
mod ledger;
mod making;
#[cfg(test)]
mod tests;

pub use ledger::Ledger;

use crate::probing::{Engine, Subject};
use desk::Desk;
use extman_health::deep::Refused;
use extman_model::DeepView;
use extman_model::clock;
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
    ledger: Arc<dyn Ledger>,
    machine: Machine,
    desk: Mutex<Desk>,
    opening: tokio::sync::Mutex<()>,
    wake: Arc<Notify>,
    tasks: Handle,
}

/// The machine's own clock.
pub struct Machine {
    /// Which run of the machine this is; empty if that can't be told.
    pub boot: String,
    /// Time since it was started.
    pub since_boot: Box<dyn Fn() -> Duration + Send + Sync>,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let read = || {
            let run = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
            // In another time namespace the clock is another.
            let clock = std::fs::read_link("/proc/self/ns/time").unwrap_or_default();
            std::io::Result::Ok(format!("{} {}", run.trim(), clock.display()))
        };
        Machine {
            boot: read().unwrap_or_default(),
            since_boot: Box::new(clock::since_boot),
        }
    }
}

impl DeepChecks {
    /// Makes them for `engine`'s instances, as tasks of the async runtime that this is called in.
    ///
    /// # Panics
    /// Outside an async runtime.
    pub fn start(engine: Engine, ledger: Arc<dyn Ledger>, machine: Machine) -> Self {
        let wake = Arc::new(Notify::new());
        let inner = Arc::new(Inner {
            engine,
            ledger,
            machine,
            desk: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            wake: wake.clone(),
            tasks: Handle::current(),
        });
        inner.tasks.spawn(making::run(Arc::downgrade(&inner), wake));
        DeepChecks { inner }
    }

    /// These are all instances now. A check of one that no longer runs ends.
    pub fn change<'a>(&self, changed: &[Subject], removed: impl IntoIterator<Item = &'a Arc<str>>) {
        let booted_ms = self.inner.booted_ms();
        if self.inner.desk().change(booted_ms, changed, removed) {
            self.inner.wake.notify_one();
        }
    }

    /// Has one made now, on the same budget.
    ///
    /// # Errors
    /// It may not be made now, or could not be.
    pub async fn make_now(&self, name: &str) -> Result<(), Refused> {
        self.inner.make(name.into(), true).await
    }

    /// What is known of an instance's; `None` if none are configured.
    pub fn view(&self, name: &str) -> Option<DeepView> {
        let desk = self.inner.desk();
        if !desk.seats.contains_key(name) {
            return None;
        }
        desk.view(name, self.inner.booted_ms(), self.inner.ledger.ready().err())
    }
}

impl Inner {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
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
