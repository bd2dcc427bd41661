//! What `create` has made and nobody has taken yet.

use crate::lanes::{Pool, Priority, Work};
use crate::loader::{CallContext, OutputLimits, PluginInstance};
use std::mem::ManuallyDrop;
use std::sync::Arc;

/// An instance that nobody has taken yet. One that was made too late is freed on a lane of its library, whoever drops it.
pub(super) struct DestroyOnDrop(Option<(Arc<PluginInstance>, Pool, Work)>);

impl DestroyOnDrop {
    /// It is freed on a lane of `home`, as this work.
    pub(super) fn new(plugin: Arc<PluginInstance>, home: Pool, freeing: Work) -> Self {
        DestroyOnDrop(Some((plugin, home, freeing)))
    }

    pub(super) fn claim(mut self) -> Arc<PluginInstance> {
        // Held from `new` until here.
        self.0.take().expect("claimed once").0
    }
}

impl Drop for DestroyOnDrop {
    fn drop(&mut self) {
        let Some((plugin, home, freeing)) = self.0.take() else {
            return;
        };
        let deadline = freeing.deadline;
        // Where no lane takes it, it is kept, and with it its library.
        let plugin = ManuallyDrop::new(plugin);
        let Some(context) = CallContext::acquire() else {
            tracing::warn!(
                "an instance that came too late is not freed, since too many calls are in flight: its library stays"
            );
            return;
        };
        let free = move || {
            let plugin = ManuallyDrop::into_inner(plugin);
            let call = context.open(Some(deadline), None, OutputLimits::default());
            if let Err(not_destroyed) = plugin.destroy(call) {
                tracing::warn!(
                    ?not_destroyed,
                    "an instance that came too late is not freed as it should be"
                );
            }
        };
        if let Err(refused) = home.submit(freeing, Priority::Step, free, drop) {
            tracing::warn!(%refused, "an instance that came too late is not freed: its library stays");
        }
    }
}
