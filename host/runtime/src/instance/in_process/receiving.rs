//! Lanes on which a plugin receives answers to calls that it has made and of which none of its threads waits.

use crate::lanes::{ConcurrencyLimit, Phase, Pool, Priority, Refused, Work};
use crate::loader::{NoLane, PluginInstance, ReceivingLanes, Submitted};
use extman_model::clock::{self, nanos};
use extman_plugin_api::manifest::schema::ThreadModel;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What a lane is told of a receiver.
pub(super) struct Receiving {
    pub generation: u64,
    pub wedge_after: Duration,
    /// What one receiver may take.
    pub budget: Duration,
}

/// Has `plugin` receive on lanes of `pool`: at once where its code may overlap its calls, and in turn with them where it may not.
pub(super) fn on_lanes(
    plugin: &Arc<PluginInstance>,
    pool: &Pool,
    (threads, concurrency): (ThreadModel, &Arc<ConcurrencyLimit>),
    receiving: &Receiving,
) {
    plugin.receive_on(Box::new(Lanes {
        plugin: Arc::downgrade(plugin),
        pool: pool.clone(),
        threads,
        concurrency: concurrency.clone(),
        generation: receiving.generation,
        wedge_after_ns: nanos(receiving.wedge_after),
        budget_ns: nanos(receiving.budget),
    }));
}

/// Small: each instance has one, though few ever call.
struct Lanes {
    /// Weak: the plugin has this.
    plugin: Weak<PluginInstance>,
    pool: Pool,
    threads: ThreadModel,
    concurrency: Arc<ConcurrencyLimit>,
    generation: u64,
    wedge_after_ns: u64,
    budget_ns: u64,
}

pub(super) const LANES_BYTES: usize = size_of::<Lanes>();

impl ReceivingLanes for Lanes {
    fn run(&self, call: Arc<Submitted>) -> Result<(), NoLane> {
        let plugin = self.plugin.upgrade().ok_or(NoLane::AnyMore)?;
        let work = Work {
            subject: plugin.name().clone(),
            generation: self.generation,
            phase: Phase::Invoke,
            capability: None,
            deadline: clock::monotonic().after(Duration::from_nanos(self.budget_ns)),
            wedge_after: Duration::from_nanos(self.wedge_after_ns),
        };
        let priority = match self.threads {
            ThreadModel::Many => Priority::Step,
            ThreadModel::Serial => Priority::Call(Some(self.concurrency.clone())),
            ThreadModel::Affine => Priority::Call(None),
        };
        let receives = call.clone();
        let receive = move || plugin.receive(|| receives.receive());
        let taken = self.pool.submit(work, priority, receive, move |()| call.leave());
        taken.map_err(|refused| match refused {
            Refused::QueueFull(_) | Refused::NoThread(_) => NoLane::Now,
            Refused::TooManyLost(_) | Refused::ThreadLost | Refused::Closing => NoLane::AnyMore,
        })
    }
}
