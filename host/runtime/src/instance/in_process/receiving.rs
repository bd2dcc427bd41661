//! Lanes on which a plugin receives answers to calls that it has made and of which none of its threads waits.

use crate::lanes::{ConcurrencyLimit, Pool, Priority, Refused, Work};
use crate::loader::{NoLane, PluginInstance, ReceivingLanes, Submitted};
use extman_plugin_api::manifest::schema::ThreadModel;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Has `plugin` receive on lanes of `pool`: at once where its code may overlap its calls, and in turn with them where it may not. One receiver
/// may take `budget`.
pub(super) fn on_lanes(
    plugin: &Arc<PluginInstance>,
    pool: &Pool,
    (threads, concurrency): (ThreadModel, &Arc<ConcurrencyLimit>),
    work: Work,
    budget: Duration,
) {
    plugin.receive_on(Box::new(Lanes {
        plugin: Arc::downgrade(plugin),
        pool: pool.clone(),
        threads,
        concurrency: concurrency.clone(),
        work,
        budget,
    }));
}

struct Lanes {
    /// Weak: the plugin has this.
    plugin: Weak<PluginInstance>,
    pool: Pool,
    threads: ThreadModel,
    concurrency: Arc<ConcurrencyLimit>,
    /// What a lane is in while it receives; the deadline is set anew for each answer.
    work: Work,
    budget: Duration,
}

impl ReceivingLanes for Lanes {
    fn run(&self, call: Arc<Submitted>) -> Result<(), NoLane> {
        let plugin = self.plugin.upgrade().ok_or(NoLane::AnyMore)?;
        let work = self.work.anew(self.budget);
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
